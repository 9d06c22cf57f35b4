//! `docs/benchmarks.md`: text by people around figures by this program.

use std::{fs, path::Path};

use super::{figures::markdown, plot, report::Report};
use crate::Error;

const END: &str = "<!-- end of figures -->\n";

/// The benchmark's figures and its plot.
pub(super) fn write(docs: &Path, report: &Report) -> Result<(), Error> {
    write_section(docs, "cargo xtask bench", &report.markdown())?;
    if let Some(flink) = report.flink(markdown) {
        write_section(docs, "cargo xtask bench --flink", &flink)?;
    }
    fs::write(docs.join("benchmarks.svg"), plot::svg(report))?;
    Ok(())
}

/// Writes what `command` measured to its place in the page.
pub(super) fn write_section(docs: &Path, command: &str, text: &str) -> Result<(), Error> {
    let path = docs.join("benchmarks.md");
    let page = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let begin = begin(command);
    let page = replace(&page, &begin, text).ok_or_else(|| {
        format!("{} has no place for the figures; put back {begin:?} and {END:?}", path.display())
    })?;
    fs::write(&path, page)?;
    eprintln!("written: {}", path.display());
    Ok(())
}

fn begin(command: &str) -> String {
    format!("<!-- figures: written by `{command}` -->\n")
}

/// The page with another text between its markers.
fn replace(page: &str, begin: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes_and_writing_twice_is_writing_once() {
        let (first, second) = (begin("first"), begin("second"));
        let page = format!("# Title\n\n{first}old\n{END}\nmore\n\n{second}old\n{END}");
        let once = replace(&page, &first, "new\n").unwrap();
        assert_eq!(once, format!("# Title\n\n{first}\nnew\n\n{END}\nmore\n\n{second}old\n{END}"));
        assert_eq!(replace(&once, &first, "new\n").unwrap(), once);
        assert_eq!(replace("no markers", &first, "new"), None);
    }
}
