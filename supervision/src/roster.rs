//! Who is there, for people to look at: each actor, whether it runs, how often it had to be started again and why.

use std::collections::BTreeMap;

use tidegate_core::{TimestampMs, supervision::Part};

/// An actor as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorView {
    /// What it is.
    pub kind: Part,
    /// Which of its kind.
    pub index: usize,
    /// What it is doing.
    pub state: ActorState,
    /// How often it failed, and was started again for that.
    pub restarts: u64,
    /// When and why it failed last.
    pub last_failure: Option<(TimestampMs, String)>,
}

/// What an actor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorState {
    /// It runs.
    Running,
    /// It is gone and will come again.
    Restarting,
    /// It is gone for good.
    Stopped,
}

impl ActorState {
    /// Its name, lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
        }
    }
}

/// Failures of actors, by kind and index.
#[derive(Debug, Default)]
pub(crate) struct Roster(BTreeMap<(Part, usize), Record>);

#[derive(Debug, Clone, Default)]
struct Record {
    restarts: u64,
    last_failure: Option<(TimestampMs, String)>,
}

impl Roster {
    /// These are there, or should be.
    pub(crate) fn expect(&mut self, actors: impl IntoIterator<Item = (Part, usize)>) {
        for actor in actors {
            self.0.entry(actor).or_default();
        }
    }

    /// One failed.
    pub(crate) fn failed(&mut self, actor: (Part, usize), at: TimestampMs, cause: &str) {
        let record = self.0.entry(actor).or_default();
        record.restarts += 1;
        record.last_failure = Some((at, cause.to_owned()));
    }

    /// All of them, given what each is doing.
    pub(crate) fn view(&self, state: impl Fn(Part, usize) -> ActorState) -> Vec<ActorView> {
        let view = |(&(kind, index), record): (&(Part, usize), &Record)| ActorView {
            kind,
            index,
            state: state(kind, index),
            restarts: record.restarts,
            last_failure: record.last_failure.clone(),
        };
        self.0.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stay_with_the_actor_that_failed() {
        let mut roster = Roster::default();
        roster.expect([(Part::Window, 0), (Part::Window, 1), (Part::Reader, 0)]);
        roster.failed((Part::Window, 1), TimestampMs(7), "panic");
        roster.failed((Part::Window, 1), TimestampMs(8), "again");
        let views = roster.view(|kind, _| match kind {
            Part::Window => ActorState::Restarting,
            _ => ActorState::Running,
        });
        let shown: Vec<_> =
            views.iter().map(|view| (view.kind, view.index, view.state.as_str(), view.restarts)).collect();
        assert_eq!(
            shown,
            [
                (Part::Reader, 0, "running", 0),
                (Part::Window, 0, "restarting", 0),
                (Part::Window, 1, "restarting", 2),
            ]
        );
        assert_eq!(views[2].last_failure, Some((TimestampMs(8), "again".to_owned())));
    }
}
