//! `tidegate explain-agent`: says what the bot filter makes of a user agent.

use std::{path::PathBuf, process::ExitCode};

use serde_json::{Value as Json, json};
use tidegate_config::Secret;
use tidegate_core::bots::{self, BotFilter, Category, Match};

use super::{
    config_args::{ConfigArgs, key_and_value, print},
    fail,
};
use crate::{exit, wiring};

/// Arguments of `tidegate explain-agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The user agent, as the event carries it.
    #[arg(value_name = "STRING", allow_hyphen_values = true)]
    user_agent: String,
    /// Configuration file, for its patterns and the categories that it drops; without one the defaults count.
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one key of the file, such as `--set filter.categories='["ai"]'`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, requires = "config")]
    set: Vec<Secret>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints whether the event would be dropped, the category, the name and the pattern, or why there is none.
pub(crate) fn run(args: &Args) -> ExitCode {
    let (filter, is_enabled) = match filter(args) {
        Ok(filter) => filter,
        Err(code) => return code,
    };
    let found = filter.explain(args.user_agent.as_bytes());
    print(&if args.json {
        format!("{:#}\n", as_json(found.as_ref(), is_enabled))
    } else {
        as_text(found.as_ref(), is_enabled)
    })
}

/// The patterns, and whether they are in use.
fn filter(args: &Args) -> Result<(BotFilter, bool), ExitCode> {
    let Some(config) = &args.config else {
        let filter = BotFilter::new(&bots::embedded(), &Category::dropped_by_default());
        return filter.map(|filter| (filter, true)).map_err(|error| fail(exit::FAILED, error));
    };
    let settings = ConfigArgs { config: config.clone(), set: args.set.clone() }.load()?;
    let filter = wiring::compile_bot_filter(&settings).map_err(|error| fail(exit::CONFIGURATION, error))?;
    Ok((filter, settings.filter.enabled))
}

fn as_text(found: Option<&Match<'_>>, is_enabled: bool) -> String {
    let Some(found) = found else { return "not a bot: no pattern matches\n".to_owned() };
    if found.category == Category::Exception {
        return format!("not a bot: an exception matches\npattern   {}\n", found.pattern);
    }
    let category = found.category.as_str();
    let verdict = match (is_enabled, found.is_dropped) {
        (true, true) => "a bot, dropped".to_owned(),
        (true, false) => format!("a bot, not dropped: filter.categories has no `{category}`"),
        (false, _) => "a bot, not dropped: the filter is off (filter.enabled)".to_owned(),
    };
    let name = String::from_utf8_lossy(found.name);
    format!("{verdict}\ncategory  {category}\nname      {name}\npattern   {}\n", found.pattern)
}

fn as_json(found: Option<&Match<'_>>, is_enabled: bool) -> Json {
    let bot = found.filter(|found| found.category != Category::Exception);
    json!({
        "bot": bot.is_some(),
        "dropped": is_enabled && bot.is_some_and(|bot| bot.is_dropped),
        "category": bot.map(|bot| bot.category.as_str()),
        "name": bot.map(|bot| String::from_utf8_lossy(bot.name)),
        "pattern": found.map(|found| found.pattern),
    })
}
