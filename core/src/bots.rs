//! Bots, told by their user agent.

mod filter;
mod needles;
mod patterns;
mod required;

use std::str::FromStr;

pub use filter::{BotCache, BotFilter, MAX_USER_AGENT_BYTES, Match};
pub use patterns::{PatternError, parse_patterns};

/// What kind of bot a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Crawlers and agents of AI services.
    Ai,
    /// Search engines.
    Search,
    /// Previews of links in social networks and messengers.
    Social,
    /// Uptime and performance monitoring.
    Monitor,
    /// SEO, advertising and market analysis.
    Seo,
    /// Feed readers on servers, and what fetches podcasts.
    Feed,
    /// Security scanners and surveys of the Internet.
    Scanner,
    /// Browsers that a program drives.
    Headless,
    /// HTTP libraries and command-line clients: programs, but often a company's own.
    HttpLibrary,
    /// Other crawlers, and whatever has the general shape of a bot.
    Other,
    /// The user's own patterns.
    Own,
    /// No bot after all: a browser or an application with the name of one. Never dropped and never counted, so it is
    /// not in [`Category::ALL`].
    Exception,
}

impl Category {
    /// All categories of bots, in the order of their discriminants.
    pub const ALL: [Self; 11] = [
        Self::Ai,
        Self::Search,
        Self::Social,
        Self::Monitor,
        Self::Seo,
        Self::Feed,
        Self::Scanner,
        Self::Headless,
        Self::HttpLibrary,
        Self::Other,
        Self::Own,
    ];

    /// The name used in configuration, pattern files and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ai => "ai",
            Self::Search => "search",
            Self::Social => "social",
            Self::Monitor => "monitor",
            Self::Seo => "seo",
            Self::Feed => "feed",
            Self::Scanner => "scanner",
            Self::Headless => "headless",
            Self::HttpLibrary => "http-library",
            Self::Other => "other",
            Self::Own => "own",
            Self::Exception => "exception",
        }
    }

    /// The categories that are dropped by default: all but HTTP libraries. [`Category::Own`] is not among them, since
    /// it is always dropped.
    #[must_use]
    pub fn dropped_by_default() -> Vec<Self> {
        Self::ALL.into_iter().filter(|category| !matches!(category, Self::HttpLibrary | Self::Own)).collect()
    }
}

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(name: &str) -> Result<Self, UnknownCategory> {
        // Its name when there were only four.
        let name = if name == "crawler" { "other" } else { name };
        Self::ALL
            .into_iter()
            .chain([Self::Exception])
            .find(|category| category.as_str() == name)
            .ok_or(UnknownCategory)
    }
}

/// The name is not that of a [`Category`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown category, use one of {}, exception", Category::ALL.map(Category::as_str).join(", "))]
pub struct UnknownCategory;

/// One regular expression that tells a bot by its user agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// In the syntax of the `regex` crate, matched anywhere in the user agent, without regard to case.
    pub regex: String,
    /// Section of the list that it stands in; without one it is the user's own.
    pub category: Option<Category>,
}

impl Pattern {
    /// The category that a match is counted for.
    #[must_use]
    pub fn category(&self) -> Category {
        self.category.unwrap_or(Category::Own)
    }
}

/// The built-in list. Its order matters: the first pattern that matches gives the category.
#[must_use]
pub fn embedded() -> Vec<Pattern> {
    // The file is a part of the program, and a test reads it.
    parse_patterns(include_str!("bots/patterns.txt")).unwrap_or_default()
}
