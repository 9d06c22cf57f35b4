//! A machine that looks for many texts in one pass over another.

use std::collections::VecDeque;

/// Looks for many needles at once, without regard to case (Aho and Corasick, 1975, with all failures worked out
/// beforehand: one step a byte, whatever it looks for). The crate `aho-corasick` takes half as many instructions again
/// for the short texts that user agents are.
#[derive(Debug, Clone)]
pub(super) struct Needles {
    /// By the byte: its column. Those of no needle share the first.
    columns: [u8; 256],
    /// By the row that a state begins at plus the column: the row of the next state, with [`IS_FOUND`] if needles end
    /// there.
    rows: Vec<u32>,
    /// By the number of the state: the needles that end there.
    found: Vec<Vec<u32>>,
    width: usize,
}

/// Most bytes of needles, which then take some 16 MiB. The built-in list has far less.
pub(super) const MAX_NEEDLE_BYTES: usize = 64 << 10;

const IS_FOUND: u32 = 1 << 31;

impl Needles {
    /// A machine for needles in lower case, none of them empty, of at most [`MAX_NEEDLE_BYTES`] together.
    pub(super) fn new(needles: &[Vec<u8>]) -> Self {
        let (columns, width) = columns(needles);
        let mut machine = Self { columns, rows: vec![0; width], found: vec![Vec::new()], width };
        for (number, needle) in (0..).zip(needles) {
            machine.insert(number, needle);
        }
        machine.work_out_failures();
        for next in &mut machine.rows {
            if !machine.found[*next as usize / width].is_empty() {
                *next |= IS_FOUND;
            }
        }
        machine
    }

    /// Calls `found` with the number of each needle that stands in `text`.
    pub(super) fn each(&self, text: &[u8], mut found: impl FnMut(usize)) {
        let mut row = 0;
        for byte in text {
            row = self.rows[row as usize + usize::from(self.columns[usize::from(*byte)])];
            if row & IS_FOUND != 0 {
                row &= !IS_FOUND;
                self.found[row as usize / self.width].iter().for_each(|number| found(*number as usize));
            }
        }
    }

    fn insert(&mut self, number: u32, needle: &[u8]) {
        let mut row = 0;
        for byte in needle {
            let step = row + usize::from(self.columns[usize::from(*byte)]);
            if self.rows[step] == 0 {
                self.rows[step] = self.rows.len() as u32;
                self.rows.resize(self.rows.len() + self.width, 0);
                self.found.push(Vec::new());
            }
            row = self.rows[step] as usize;
        }
        self.found[row / self.width].push(number);
    }

    /// Where a state knows no way on, it goes where the longest end of its text would go that begins a needle too.
    fn work_out_failures(&mut self) {
        let mut failures = vec![0; self.found.len()];
        let mut queue = VecDeque::from([0]);
        while let Some(row) = queue.pop_front() {
            let failure: usize = failures[row / self.width];
            for column in 0..self.width {
                let next = self.rows[row + column] as usize;
                // The first state fails to itself, so what follows it fails to it.
                let instead = if row == 0 { 0 } else { self.rows[failure + column] };
                if next == 0 {
                    self.rows[row + column] = instead;
                    continue;
                }
                failures[next / self.width] = instead as usize;
                let ends_as_well = self.found[instead as usize / self.width].clone();
                self.found[next / self.width].extend(ends_as_well);
                queue.push_back(next);
            }
        }
    }
}

/// The column of each byte, and how many there are. Letters in upper case share that of the lower case.
fn columns(needles: &[Vec<u8>]) -> ([u8; 256], usize) {
    let mut columns = [0; 256];
    let mut width = 1;
    for byte in needles.iter().flatten() {
        let column = &mut columns[usize::from(*byte)];
        if *column == 0 {
            // Upper case never stands in a needle, so there are at most 230.
            *column = width;
            width += 1;
        }
    }
    for upper in b'A'..=b'Z' {
        columns[usize::from(upper)] = columns[usize::from(upper.to_ascii_lowercase())];
    }
    (columns, usize::from(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needles: &[&str], text: &str) -> Vec<usize> {
        let mut found = Vec::new();
        let needles: Vec<Vec<u8>> = needles.iter().map(|needle| needle.as_bytes().to_vec()).collect();
        Needles::new(&needles).each(text.as_bytes(), |number| found.push(number));
        found.sort_unstable();
        found
    }

    #[test]
    fn all_needles_are_found_also_within_and_across_each_other_and_in_upper_case() {
        let needles = ["he", "she", "his", "hers", "ushe", "e", "xyz"];
        assert_eq!(found(&needles, "USHERS"), [0, 1, 3, 4, 5]);
        assert_eq!(found(&needles, "shis he"), [0, 2, 5]);
        assert_eq!(found(&["aab", "ab"], "aaab"), [0, 1]);
        assert_eq!(found(&["a", "a"], "A"), [0, 1]);
    }

    #[test]
    fn without_needles_or_text_nothing_is_found() {
        assert_eq!(found(&[], "text"), [0; 0]);
        assert_eq!(found(&["a"], ""), [0; 0]);
        assert_eq!(found(&["a"], "\u{e9}-b"), [0; 0]);
    }

    #[test]
    fn a_plain_search_finds_the_same() {
        let needles = ["ab", "ba", "abb", "bab", "aaa", "c", "bcb", "cab"];
        for number in 0..3_u32.pow(8) {
            let text: String =
                (0..8).map(|at| char::from(b'a' + (number / 3_u32.pow(at) % 3) as u8)).collect();
            let expected: Vec<usize> = (0..needles.len()).filter(|at| text.contains(needles[*at])).collect();
            let mut found = found(&needles, &text);
            found.dedup();
            assert_eq!(found, expected, "{text}");
        }
    }
}
