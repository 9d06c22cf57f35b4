//! The programs that are compared.

use std::{env, fmt, process::Command};

use super::{
    flink_job::{self, Form},
    site::{Site, Workshop},
};
use crate::Error;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// `copy` of this binary.
    Copy,
    /// `ceiling` of this binary.
    Ceiling,
    /// `tidegate run`.
    Tidegate,
    /// The job on Apache Flink; only on request.
    Flink(Form),
}

impl Program {
    /// Those that always run, in the order of the report.
    pub(super) const ALL: [Self; 3] = [Self::Copy, Self::Ceiling, Self::Tidegate];

    /// In names of topics and in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Ceiling => "ceiling",
            Self::Tidegate => "tidegate",
            Self::Flink(Form::Best) => "flink-best",
            Self::Flink(Form::Tutorial) => "flink-tutorial",
        }
    }

    /// How to process what is in the site's input, and no more; when the first of the processes ends, that is done.
    pub(super) fn commands(self, site: &Site, workshop: &Workshop) -> Result<Vec<Command>, Error> {
        let mut command = match self {
            Self::Copy | Self::Ceiling => {
                let mut command = Command::new(env::current_exe()?);
                command.arg(self.name());
                command
            }
            Self::Tidegate => {
                let mut command = Command::new(&workshop.tidegate);
                command.args(["run", "--until-end"]);
                command
            }
            Self::Flink(form) => return flink_job::commands(form, site, workshop, true),
        };
        command.arg("--config").arg(&site.config);
        Ok(vec![command])
    }
}

/// As the report calls it.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Copy => "bare copy",
            Self::Ceiling => "written by hand",
            Self::Tidegate => "tidegate",
            Self::Flink(Form::Best) => "flink, at its best",
            Self::Flink(Form::Tutorial) => "flink, by tutorial",
        })
    }
}
