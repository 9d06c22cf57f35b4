//! Matching of user agents.

use std::{collections::HashMap, sync::Arc};

use regex::bytes::Regex;

use super::{
    Pattern, PatternError,
    patterns::{check, compile, problem},
};

/// How much of a user agent is looked at, in bytes. Longer ones are made up; no bot hides its name so far back.
pub const MAX_USER_AGENT_BYTES: usize = 1024;

/// User agents kept by a cache; beyond it the cache starts anew. At most 4 MiB, with real ones about 0.7 MiB.
const MAX_CACHED: usize = 4096;

/// Tells bots by their user agent.
#[derive(Debug, Clone)]
pub struct BotFilter {
    /// All patterns as one alternation, which is matched in one pass; `None` without patterns.
    any: Option<Regex>,
}

impl BotFilter {
    /// Compiles the patterns; without any, nothing is a bot.
    ///
    /// # Errors
    /// [`PatternError::Regex`] for the first pattern that is not a regular expression or matches everything,
    /// [`PatternError::Together`] if all of them are too much.
    pub fn new(patterns: &[Pattern]) -> Result<Self, PatternError> {
        for Pattern { regex, .. } in patterns {
            check(regex).map_err(|problem| PatternError::Regex { regex: regex.clone(), problem })?;
        }
        if patterns.is_empty() {
            return Ok(Self { any: None });
        }
        let groups: Vec<String> = patterns.iter().map(|pattern| format!("(?:{})", pattern.regex)).collect();
        let any = compile(&groups.join("|")).map_err(|error| {
            // one that is too much even by itself is named
            let alone = patterns.iter().find_map(|pattern| Some((pattern, compile(&pattern.regex).err()?)));
            match alone {
                Some((Pattern { regex, .. }, error)) => {
                    PatternError::Regex { regex: regex.clone(), problem: problem(&error) }
                }
                None => PatternError::Together(error.to_string()),
            }
        })?;
        Ok(Self { any: Some(any) })
    }

    /// Whether any pattern matches the first [`MAX_USER_AGENT_BYTES`].
    #[must_use]
    pub fn is_bot(&self, user_agent: &[u8]) -> bool {
        self.any.as_ref().is_some_and(|any| any.is_match(capped(user_agent)))
    }
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
    verdicts: HashMap<Box<[u8]>, bool, foldhash::fast::RandomState>,
}

impl BotCache {
    /// An empty cache in front of `filter`.
    #[must_use]
    pub fn new(filter: Arc<BotFilter>) -> Self {
        Self { filter, verdicts: HashMap::default() }
    }

    /// As [`BotFilter::is_bot`].
    pub fn is_bot(&mut self, user_agent: &str) -> bool {
        let user_agent = capped(user_agent.as_bytes());
        if let Some(verdict) = self.verdicts.get(user_agent) {
            return *verdict;
        }
        if self.verdicts.len() >= MAX_CACHED {
            self.verdicts.clear();
        }
        let verdict = self.filter.is_bot(user_agent);
        self.verdicts.insert(user_agent.into(), verdict);
        verdict
    }
}
