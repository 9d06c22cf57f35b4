//! Bots, told by their user agent.

mod filter;
mod patterns;

use std::str::FromStr;

pub use filter::{BotCache, BotFilter, MAX_USER_AGENT_BYTES};
pub use patterns::{PatternError, parse_patterns};

/// What kind of bot a pattern of the built-in list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Search engines and other general crawlers.
    Crawler,
    /// Crawlers and agents of AI services.
    Ai,
    /// SEO and marketing analysis.
    Seo,
    /// Uptime and performance monitoring.
    Monitor,
}

impl Category {
    /// All categories.
    pub const ALL: [Self; 4] = [Self::Crawler, Self::Ai, Self::Seo, Self::Monitor];

    /// The name used in configuration and pattern files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crawler => "crawler",
            Self::Ai => "ai",
            Self::Seo => "seo",
            Self::Monitor => "monitor",
        }
    }
}

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(name: &str) -> Result<Self, UnknownCategory> {
        Self::ALL.into_iter().find(|category| category.as_str() == name).ok_or(UnknownCategory)
    }
}

/// The name is not that of a [`Category`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown category, use one of crawler, ai, seo, monitor")]
pub struct UnknownCategory;

/// One regular expression that tells a bot by its user agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// In the syntax of the `regex` crate, matched anywhere in the user agent, without regard to case.
    pub regex: String,
    /// Section of the list that it stands in.
    pub category: Option<Category>,
}

/// The built-in list.
#[must_use]
pub fn embedded() -> Vec<Pattern> {
    // the file is a part of the program, and a test reads it
    parse_patterns(include_str!("bots/patterns.txt")).unwrap_or_default()
}
