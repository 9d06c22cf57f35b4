//! `tidegate validate`: checks a configuration without connecting to anything.

use std::process::ExitCode;

use serde_json::{Value as Json, json};
use tidegate_config::{Problem, Problems};

use super::config_args::{ConfigArgs, failed, print, report};

/// Arguments of `tidegate validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Prints that the configuration is right, or everything that is wrong with it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let name = args.config.config.display();
    match (args.config.resolve(), args.json) {
        (Ok(_), false) => print(&format!("{name}: ok\n")),
        (Ok(_), true) => print(&format!("{:#}\n", json!({ "valid": true, "problems": [] }))),
        (Err(problems), false) => report(&problems),
        (Err(problems), true) => {
            print(&format!("{:#}\n", as_json(&problems)));
            failed()
        }
    }
}

fn as_json(problems: &Problems) -> Json {
    let problem = |problem: &Problem| {
        json!({
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "text": problem.text,
            "message": problem.message,
            "help": problem.help,
        })
    };
    json!({ "valid": false, "problems": problems.iter().map(problem).collect::<Vec<_>>() })
}
