//! Whatever is in the file: an answer, never a panic.

use proptest::prelude::*;
use tidegate_config::{Source, default_toml, resolve};

fn answer(text: &str, overrides: Vec<String>) {
    match resolve(&Source::new("t.toml", text, overrides), &|name| (name.len() < 3).then(|| name.to_owned()))
    {
        Ok(resolved) => drop((resolved.to_toml(), resolved.to_json())),
        Err(problems) => {
            assert!(!problems.to_string().is_empty());
            assert!(problems.iter().all(|problem| !problem.message.is_empty()));
        }
    }
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}", set in ".{0,60}") {
        answer(&text, vec![set]);
    }

    #[test]
    fn text_that_is_almost_toml_gets_an_answer(
        lines in prop::collection::vec("[a-z.]{1,12} ?= ?['\"\\[{$0-9a-zä\t}\\]]{0,12}", 0..8),
    ) {
        answer(&lines.join("\n"), lines);
    }

    #[test]
    fn a_damaged_default_file_gets_an_answer(at in 0..8_000_usize, cut in 0..40_usize, put in "\\PC{0,6}") {
        let mut text = default_toml();
        let start = text.floor_char_boundary(at);
        let end = text.floor_char_boundary((start + cut).min(text.len()));
        text.replace_range(start..end.max(start), &put);
        answer(&text, Vec::new());
    }
}
