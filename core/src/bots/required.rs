//! What has to stand in a user agent for a pattern to match it.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Repetition, literal::Extractor};

/// Texts of which one stands, in upper or lower case, in whatever a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Required {
    /// In lower case. Never empty, and none of them is.
    pub(super) texts: Vec<Vec<u8>>,
    /// Whether the pattern matches wherever one of them stands.
    pub(super) is_exact: bool,
}

/// Most texts for one pattern, and the largest set of characters that is written out: all letters.
const MAX_TEXTS: usize = 64;
const MAX_CLASS: usize = 26;

/// The needles of a pattern, which was parsed without regard to case. None if it can match without any certain text,
/// as `[a-z]+[0-9]` can.
pub(super) fn required(pattern: &Hir) -> Option<Required> {
    let mut is_exact = true;
    let folded = fold(pattern, &mut is_exact);
    let mut texts = find(&folded)?;
    is_exact &= matches!(folded.kind(), HirKind::Literal(_));
    texts.sort_by_key(|text| (text.len(), text.clone()));
    let mut shortest: Vec<Vec<u8>> = Vec::new();
    for text in texts {
        if !shortest.iter().any(|known| memchr::memmem::find(&text, known).is_some()) {
            shortest.push(text);
        }
    }
    Some(Required { texts: shortest, is_exact })
}

/// The pattern in lower case. `is_exact` becomes false where case does matter.
fn fold(pattern: &Hir, is_exact: &mut bool) -> Hir {
    match pattern.kind() {
        HirKind::Class(Class::Bytes(class)) => {
            // What stands for one letter, as nearly all classes do here, becomes a literal.
            let bytes = class.iter().flat_map(|range| range.start()..=range.end());
            let lower = bytes.map(|byte| byte.to_ascii_lowercase());
            Hir::class(Class::Bytes(ClassBytes::new(lower.map(|byte| ClassBytesRange::new(byte, byte)))))
        }
        HirKind::Literal(literal) => {
            *is_exact &= !literal.0.iter().any(u8::is_ascii_alphabetic);
            Hir::literal(literal.0.to_ascii_lowercase())
        }
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            sub: Box::new(fold(&repetition.sub, is_exact)),
            ..repetition.clone()
        }),
        HirKind::Capture(capture) => fold(&capture.sub, is_exact),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(|part| fold(part, is_exact)).collect()),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(|part| fold(part, is_exact)).collect())
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Unicode(_)) => pattern.clone(),
    }
}

/// What most browsers say. A text that stands here as well would tell nothing.
const COMMON: &[u8] = b"mozilla/5.0 (windows nt 10.0; win64; x64; rv:0) applewebkit/537.36 (khtml, like gecko) version/0 \
    chrome/0 mobile safari/537.36 edg/0 gecko/20100101 firefox/0 (macintosh; intel mac os x 10_15_7) (linux; android 10; \
    k) (iphone; cpu iphone os 0 like mac os x) samsungbrowser/ (x11; linux x86_64) opr/0 (compatible; msie 0; trident/7.0; \
    like gecko (ipad; cpu os; wv) mobile/15e148 crios/";

/// The best of the texts that can be named: those whose shortest is longest, and rather such as browsers do not have.
fn find(pattern: &Hir) -> Option<Vec<Vec<u8>>> {
    let within = match pattern.kind() {
        HirKind::Repetition(repetition) if repetition.min > 0 => find(&repetition.sub),
        HirKind::Concat(parts) => {
            let from = (1..parts.len()).filter_map(|first| begins(&Hir::concat(parts[first..].to_vec())));
            from.chain(parts.iter().filter_map(find)).reduce(better)
        }
        HirKind::Alternation(parts) => parts
            .iter()
            .map(find)
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.concat())
            .filter(|texts| texts.len() <= MAX_TEXTS),
        _ => None,
    };
    begins(pattern).into_iter().chain(within).reduce(better)
}

/// The texts that whatever matches begins with.
fn begins(pattern: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut extractor = Extractor::new();
    extractor.limit_total(MAX_TEXTS).limit_class(MAX_CLASS);
    let found = extractor.extract(pattern);
    let texts = found.literals()?.iter().map(|literal| literal.as_bytes().to_ascii_lowercase());
    let texts: Vec<_> = texts.collect();
    // One letter of many would stand in every user agent.
    let shortest = if texts.len() == 1 { 1 } else { 2 };
    (!texts.is_empty() && texts.iter().all(|text| text.len() >= shortest)).then_some(texts)
}

fn better(one: Vec<Vec<u8>>, other: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let is_common = |text: &Vec<u8>| memchr::memmem::find(COMMON, text).is_some();
    let worth = |texts: &[Vec<u8>]| (!texts.iter().any(is_common), texts.iter().map(Vec::len).min());
    if worth(&other) > worth(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::patterns::check, *};

    fn texts(pattern: &str) -> Option<(Vec<String>, bool)> {
        let required = required(&check(pattern).unwrap().unwrap())?;
        let texts = required.texts.into_iter().map(|text| String::from_utf8(text).unwrap());
        Some((texts.collect(), required.is_exact))
    }

    #[test]
    fn a_literal_is_its_own_text_and_all_that_it_takes() {
        for (pattern, text) in [("GPTBot", "gptbot"), (r"you\.com", "you.com"), ("(?:a)(b)[cC]1", "abc1")] {
            assert_eq!(texts(pattern), Some((vec![text.to_owned()], true)), "{pattern}");
        }
        // Where case matters, or more than the text, it must be matched as well.
        for (pattern, text) in
            [("(?-i:Bot)", "bot"), (r"\bbot", "bot"), ("bot$", "bot"), ("bo(?:ts?|x)", "bot")]
        {
            let (found, is_exact) = texts(pattern).unwrap();
            assert!(found.contains(&text.to_owned()) && !is_exact, "{pattern}: {found:?}");
        }
    }

    #[test]
    fn the_longest_text_is_taken_wherever_it_stands_and_one_of_each_alternative() {
        for (pattern, expected) in [
            ("[a-z]+bots?/", &["bot/", "bots/"][..]),
            ("(?:monitor|status)[0-9]*(?:page)?", &["status", "monitor"]),
            ("x(?:crawl){2}y?", &["xcrawlcrawl"]),
            ("a?[0-9]*spiders", &["spiders"]),
        ] {
            let (found, is_exact) = texts(pattern).unwrap();
            assert!(!is_exact);
            assert!(found.iter().all(|text| expected.contains(&text.as_str())), "{pattern}: {found:?}");
        }
        // What every browser says would tell nothing.
        assert_eq!(texts("safari/[0-9.]+ http").unwrap().0, [" http"]);
    }

    #[test]
    fn a_pattern_without_a_certain_text_has_none() {
        for pattern in ["[a-z]+[0-9]", "(?:bot|[x-z]+)", "[^a]+"] {
            assert_eq!(texts(pattern), None, "{pattern}");
        }
    }
}
