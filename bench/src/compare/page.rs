//! `docs/benchmarks.md`: text by people around figures by this program.

use std::{fs, path::Path};

use super::{plot, report::Report};
use crate::Error;

const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Writes the figures into the page, and the plot beside it.
pub(super) fn write(docs: &Path, report: &Report) -> Result<(), Error> {
    let path = docs.join("benchmarks.md");
    let page = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let page = replace(&page, &report.markdown()).ok_or_else(|| {
        format!("{} has no place for the figures; put back {BEGIN:?} and {END:?}", path.display())
    })?;
    fs::write(&path, page)?;
    fs::write(docs.join("benchmarks.svg"), plot::svg(report))?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// The page with another text between its markers.
fn replace(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes_and_writing_twice_is_writing_once() {
        let page = format!("# Title\n\n{BEGIN}old\n{END}\nmore\n");
        let once = replace(&page, "new\n").unwrap();
        assert_eq!(once, format!("# Title\n\n{BEGIN}\nnew\n\n{END}\nmore\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
        assert_eq!(replace("no markers", "new"), None);
    }
}
