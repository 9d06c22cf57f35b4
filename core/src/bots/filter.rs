//! Matching of user agents.

use std::{collections::HashMap, sync::Arc};

use regex::bytes::RegexSet;

use super::{
    Category, Pattern, PatternError,
    needles::{MAX_NEEDLE_BYTES, Needles},
    patterns::{check, compile, compile_set, problem},
    required::required,
};

/// How much of a user agent is looked at, in bytes. Longer ones are made up; no bot hides its name so far back.
pub const MAX_USER_AGENT_BYTES: usize = 1024;

/// User agents kept by a cache; beyond it the cache starts anew. At most 4 MiB, with real ones about 0.7 MiB.
const MAX_CACHED: usize = 4096;

/// Tells bots by their user agent, and of what category they are.
///
/// Nearly all user agents are those of browsers. So the first question is whether any text stands in it without which
/// no pattern matches, which takes one pass and no regular expression.
#[derive(Debug, Clone)]
pub struct BotFilter {
    patterns: Vec<Pattern>,
    needles: Needles,
    /// By the number of the needle: the pattern that it is of.
    owners: Vec<Owner>,
    /// The patterns that are more than their needles, matched in one pass; `None` if there are none.
    shapes: Option<RegexSet>,
    /// By the number in `shapes`: the number in `patterns`, rising.
    shape_ids: Vec<usize>,
    /// Whether a pattern has no needles, so that `shapes` are always asked.
    is_blind: bool,
    /// By the discriminant of the category.
    dropped: [bool; Category::ALL.len()],
}

/// What a needle stands for.
#[derive(Debug, Clone, Copy)]
struct Owner {
    pattern: usize,
    /// Whether the pattern matches wherever the needle stands.
    is_exact: bool,
}

/// What told a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'a> {
    /// What the pattern stands for.
    pub category: Category,
    /// The first pattern of the list that matches.
    pub pattern: &'a str,
    /// The word of the user agent in which it was found, or what the bot calls itself.
    pub name: &'a [u8],
    /// Whether events of the category are dropped.
    pub is_dropped: bool,
}

impl BotFilter {
    /// Compiles the patterns; without any, nothing is a bot. The first one that matches decides, and events are dropped
    /// if its category is in `dropped` or the pattern is the user's own.
    ///
    /// # Errors
    /// [`PatternError::Regex`] for the first pattern that is not a regular expression or matches everything,
    /// [`PatternError::Together`] if all of them are too much.
    pub fn new(patterns: &[Pattern], dropped: &[Category]) -> Result<Self, PatternError> {
        let mut required = Vec::with_capacity(patterns.len());
        for Pattern { regex, .. } in patterns {
            let parsed =
                check(regex).map_err(|problem| PatternError::Regex { regex: regex.clone(), problem })?;
            required.push(parsed.as_ref().and_then(self::required));
        }
        let texts = required.iter().flatten().flat_map(|required| &required.texts);
        if texts.map(Vec::len).sum::<usize>() > MAX_NEEDLE_BYTES {
            required.fill(None);
        }
        let (mut texts, mut owners, mut shape_ids) = (Vec::new(), Vec::new(), Vec::new());
        let is_blind = required.iter().any(Option::is_none);
        for (pattern, required) in required.into_iter().enumerate() {
            let is_exact = required.as_ref().is_some_and(|required| required.is_exact);
            if !is_exact {
                shape_ids.push(pattern);
            }
            for text in required.into_iter().flat_map(|required| required.texts) {
                texts.push(text);
                owners.push(Owner { pattern, is_exact });
            }
        }
        let shapes = if shape_ids.is_empty() { None } else { Some(compile_all(patterns, &shape_ids)?) };
        Ok(Self {
            patterns: patterns.to_vec(),
            needles: Needles::new(&texts),
            owners,
            shapes,
            shape_ids,
            is_blind,
            dropped: Category::ALL.map(|category| category == Category::Own || dropped.contains(&category)),
        })
    }

    /// The category for which the event of this user agent is dropped; only the first [`MAX_USER_AGENT_BYTES`] count.
    #[must_use]
    pub fn drops(&self, user_agent: &[u8]) -> Option<Category> {
        let category = self.first(capped(user_agent))?.category();
        self.is_dropped(category).then_some(category)
    }

    /// What tells that this is a bot, whether it is dropped or not.
    #[must_use]
    pub fn explain<'a>(&'a self, user_agent: &'a [u8]) -> Option<Match<'a>> {
        let user_agent = capped(user_agent);
        let pattern = self.first(user_agent)?;
        let category = pattern.category();
        let found = compile(&pattern.regex).ok()?.find(user_agent)?.range();
        Some(Match {
            category,
            pattern: &pattern.regex,
            name: name(user_agent, found.start, found.end),
            is_dropped: self.is_dropped(category),
        })
    }

    fn is_dropped(&self, category: Category) -> bool {
        self.dropped.get(category as usize).is_some_and(|dropped| *dropped)
    }

    /// The first pattern that matches.
    fn first(&self, user_agent: &[u8]) -> Option<&Pattern> {
        let (mut first, mut first_shape) = (usize::MAX, if self.is_blind { 0 } else { usize::MAX });
        self.needles.each(user_agent, |needle| {
            let owner = self.owners[needle];
            let lowest = if owner.is_exact { &mut first } else { &mut first_shape };
            *lowest = owner.pattern.min(*lowest);
        });
        if first_shape < first {
            let matches = self.shapes.as_ref().map(|shapes| shapes.matches(user_agent));
            let shape = matches.and_then(|matches| matches.iter().next()).map(|shape| self.shape_ids[shape]);
            first = first.min(shape.unwrap_or(usize::MAX));
        }
        self.patterns.get(first)
    }
}

fn compile_all(patterns: &[Pattern], numbers: &[usize]) -> Result<RegexSet, PatternError> {
    let patterns = || numbers.iter().map(|number| &patterns[*number].regex);
    compile_set(patterns()).map_err(|error| {
        // One that is too much even by itself is named; short ones without a repetition are not.
        let large = patterns().filter(|regex| regex.contains('{') || regex.len() > 4096);
        let alone = large.into_iter().find_map(|regex| Some((regex, compile(regex).err()?)));
        match alone {
            Some((regex, error)) => PatternError::Regex { regex: regex.clone(), problem: problem(&error) },
            None => PatternError::Together(error.to_string()),
        }
    })
}

/// The name of a bot: what was found, made longer to whole words. If that is no name but an address or the shape of a
/// whole user agent, what the bot calls itself.
fn name(text: &[u8], start: usize, end: usize) -> &[u8] {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let before = text[..start].iter().rev().take_while(|byte| inner(byte)).count();
    let after = text[end..].iter().take_while(|byte| inner(byte)).count();
    let word = trimmed(&text[start - before..end + after]);
    let is_name =
        !word.is_empty() && !word.starts_with(b"http") && !word.iter().any(|byte| b":;/(@".contains(byte));
    if is_name { word } else { product(text) }
}

/// What follows `compatible;`, or what the user agent begins with, up to the version.
fn product(text: &[u8]) -> &[u8] {
    const COMPATIBLE: &[u8] = b"compatible;";
    let said = text.windows(COMPATIBLE.len()).position(|window| window.eq_ignore_ascii_case(COMPATIBLE));
    let text = said.map_or(text, |at| &text[at + COMPATIBLE.len()..]);
    let end = text.iter().position(|byte| b"/;()+".contains(byte)).unwrap_or(text.len());
    trimmed(&text[..end])
}

fn trimmed(text: &[u8]) -> &[u8] {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let start = text.iter().position(is_name).unwrap_or(text.len());
    let end =
        text.iter().rposition(|byte| is_name(byte) || b")_".contains(byte)).map_or(start, |last| last + 1);
    &text[start..end.max(start)]
}

fn capped(user_agent: &[u8]) -> &[u8] {
    &user_agent[..user_agent.len().min(MAX_USER_AGENT_BYTES)]
}

/// Keeps the verdicts of a filter, for one worker: user agents come again and again, and finding one here is
/// an order of magnitude faster than matching it.
#[derive(Debug)]
pub struct BotCache {
    filter: Arc<BotFilter>,
    /// Seeded, because clients choose their user agents.
    verdicts: HashMap<Box<[u8]>, Option<Category>, foldhash::fast::RandomState>,
}

impl BotCache {
    /// An empty cache in front of `filter`.
    #[must_use]
    pub fn new(filter: Arc<BotFilter>) -> Self {
        Self { filter, verdicts: HashMap::default() }
    }

    /// As [`BotFilter::drops`].
    pub fn drops(&mut self, user_agent: &str) -> Option<Category> {
        let user_agent = capped(user_agent.as_bytes());
        if let Some(verdict) = self.verdicts.get(user_agent) {
            return *verdict;
        }
        if self.verdicts.len() >= MAX_CACHED {
            self.verdicts.clear();
        }
        let verdict = self.filter.drops(user_agent);
        self.verdicts.insert(user_agent.into(), verdict);
        verdict
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn browsers_have_none_of_the_texts_that_are_looked_for() {
        let filter = BotFilter::new(&crate::bots::embedded(), &[]).unwrap();
        for browser in [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
            "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 OPR/120.0.0.0",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/138.0.7204.53 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 14; SM-S911B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/138.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
        ] {
            let mut patterns = Vec::new();
            let pattern = |needle: usize| &filter.patterns[filter.owners[needle].pattern].regex;
            filter.needles.each(browser.as_bytes(), |needle| patterns.push(pattern(needle)));
            assert!(patterns.is_empty(), "{browser}: {patterns:?}");
        }
        assert!(!filter.is_blind);
    }
}
