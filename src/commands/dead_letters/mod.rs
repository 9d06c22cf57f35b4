//! `tidegate dead-letters list|show|redrive`: what could not be processed or delivered, and sending it again.

mod redrive;
mod scan;
mod show;

use std::process::ExitCode;

use tidegate_config::Settings;
use tidegate_core::{TimestampMs, redrive::Filter};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    config_args::ConfigArgs,
    fail,
    failed::{Failed, failed},
};

/// Arguments of `dead-letters`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Count them by reason, sink and topic, and say how many were sent again.
    List {
        #[command(flatten)]
        which: Which,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print each of them.
    Show {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Print JSON, one object a line, with whole values.
        #[arg(long)]
        json: bool,
    },
    /// Send them back to where they came from: the input topic, or the sink that refused them. Each is sent once, although
    /// the command is killed and run again.
    ///
    /// A record for the input topic is processed as any other. A record for a sink goes to the sink's destination at once;
    /// what it refuses again is told, and stays where it is.
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Only say what would be sent.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters are meant.
#[derive(Debug, clap::Args)]
struct Which {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only of this reason, such as `sink_rejected`.
    #[arg(long)]
    reason: Option<String>,
    /// Only those that the destination of this sink refused.
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only those that came from this topic.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Only those of this time or later: of the record's Kafka timestamp, as RFC 3339 or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<TimestampMs>,
    /// Only those before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<TimestampMs>,
}

impl Which {
    fn filter(&self) -> Filter {
        let Self { reason, sink, topic, from, to, .. } = self;
        Filter { reason: reason.clone(), sink: sink.clone(), topic: topic.clone(), from: *from, to: *to }
    }
}

fn time(text: &str) -> Result<TimestampMs, String> {
    if let Ok(ms) = text.parse() {
        return Ok(TimestampMs(ms));
    }
    let help = "write it as 2026-01-31T12:00:00Z, or as milliseconds since 1970";
    let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| help.to_owned())?;
    Ok(TimestampMs((parsed.unix_timestamp_nanos() / 1_000_000) as i64))
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let (Action::List { which, .. } | Action::Show { which, .. } | Action::Redrive { which, .. }) =
        &args.action;
    let settings = match which.config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let outcome = match &args.action {
        Action::List { which, json } => show::list(&settings, &which.filter(), *json),
        Action::Show { which, limit, json } => show::show(&settings, &which.filter(), *limit, *json),
        Action::Redrive { which, dry_run } => redrive::redrive(&settings, &which.filter(), *dry_run),
    };
    outcome.unwrap_or_else(|(code, error)| fail(code, error))
}

/// The group's name that the marks of a block of offsets are kept under.
fn marks_group(settings: &Settings, block: i64) -> String {
    format!("{}.redriven.{block}", settings.kafka.group_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_a_number() {
        assert_eq!(time("1760000041200"), Ok(TimestampMs(1_760_000_041_200)));
        assert_eq!(time("2025-10-09T08:54:01.200Z"), Ok(TimestampMs(1_760_000_041_200)));
        assert_eq!(time("2025-10-09T10:54:01.2+02:00"), Ok(TimestampMs(1_760_000_041_200)));
        assert!(time("yesterday").is_err());
    }
}
