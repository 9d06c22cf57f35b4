//! `filter.patterns_file`, read and checked.

use std::{fs::File, io::Read as _, path::Path};

use tidegate_core::bots::{Pattern, PatternError, parse_patterns};

/// Largest file, in bytes; far above any real one.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most wrong lines that are told of at once.
const MAX_TOLD: usize = 20;

/// The patterns in a file.
///
/// # Errors
/// If it cannot be read: why; if lines of it cannot be used: each of them.
pub(crate) fn read(path: &Path) -> Result<Vec<Pattern>, Vec<String>> {
    let shown = path.display();
    let fail = |why: String| vec![format!("filter.patterns_file: {shown} cannot be read: {why}")];
    let mut bytes = Vec::new();
    // One byte more than allowed tells that it is too large, for pipes as well.
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(fail("it is larger than 4 MiB".into()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        fail(format!("it is not UTF-8 (line {})", 1 + valid.iter().filter(|byte| **byte == b'\n').count()))
    })?;
    parse(&text)
        .map_err(|wrong| wrong.iter().map(|line| format!("filter.patterns_file: {shown}: {line}")).collect())
}

/// Parses a file's text; of wrong lines all are told.
fn parse(text: &str) -> Result<Vec<Pattern>, Vec<PatternError>> {
    // Some editors begin every file with a byte order mark, which would become part of the first pattern.
    let mut text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    let mut wrong = Vec::new();
    loop {
        match parse_patterns(&text) {
            Ok(patterns) if wrong.is_empty() => return Ok(patterns),
            Ok(_) => return Err(wrong),
            Err(error) => {
                let line = if let PatternError::Line { line, .. } = error { line } else { 0 };
                wrong.push(error);
                if line == 0 || wrong.len() == MAX_TOLD {
                    return Err(wrong);
                }
                // Looked at again without it, to find the next.
                let rest: Vec<&str> =
                    text.lines().enumerate().map(|(i, kept)| if i + 1 == line { "" } else { kept }).collect();
                text = rest.join("\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_pattern() {
        let patterns = parse("\u{feff}acme-probe\r\nother\r\n").unwrap();
        assert_eq!(
            patterns.iter().map(|pattern| pattern.regex.as_str()).collect::<Vec<_>>(),
            ["acme-probe", "other"]
        );
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number() {
        let wrong = parse("good\n(\n\n[nonsense]\n*\nfine\n").unwrap_err();
        let lines: Vec<usize> = wrong
            .iter()
            .map(|error| if let PatternError::Line { line, .. } = error { *line } else { 0 })
            .collect();
        assert_eq!(lines, [2, 4, 5]);
    }

    #[test]
    fn a_file_that_is_missing_or_no_text_is_told_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let missing = read(&dir.path().join("none.txt")).unwrap_err();
        assert!(missing[0].contains("none.txt cannot be read"), "{missing:?}");
        let path = dir.path().join("latin1.txt");
        std::fs::write(&path, b"bot\n\xe4\n").unwrap();
        assert!(read(&path).unwrap_err()[0].contains("not UTF-8 (line 2)"));
    }
}
