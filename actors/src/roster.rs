//! Who is there, for people to look at: each actor, whether it runs, how often it had to be started again and why.

use std::collections::BTreeMap;

use tidegate_core::TimestampMs;
use tidegate_supervision::Part;
use tidegate_telemetry::ActorKind;

/// An actor as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorView {
    /// What it is.
    pub kind: ActorKind,
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
pub(crate) struct Roster(BTreeMap<(ActorKind, usize), Record>);

#[derive(Debug, Clone, Default)]
struct Record {
    restarts: u64,
    last_failure: Option<(TimestampMs, String)>,
}

impl Roster {
    /// These are there, or should be.
    pub(crate) fn expect(&mut self, actors: impl IntoIterator<Item = (ActorKind, usize)>) {
        for actor in actors {
            self.0.entry(actor).or_default();
        }
    }

    /// One failed.
    pub(crate) fn failed(&mut self, actor: (ActorKind, usize), at: TimestampMs, cause: &str) {
        let record = self.0.entry(actor).or_default();
        record.restarts += 1;
        record.last_failure = Some((at, cause.to_owned()));
    }

    /// All of them, given what each is doing.
    pub(crate) fn view(&self, state: impl Fn(ActorKind, usize) -> ActorState) -> Vec<ActorView> {
        let view = |(&(kind, index), record): (&(ActorKind, usize), &Record)| ActorView {
            kind,
            index,
            state: state(kind, index),
            restarts: record.restarts,
            last_failure: record.last_failure.clone(),
        };
        self.0.iter().map(view).collect()
    }
}

/// What people know an actor as.
pub(crate) fn actor_kind(part: Part) -> ActorKind {
    match part {
        Part::Reader => ActorKind::Reader,
        Part::Partition => ActorKind::Partition,
        Part::Filter => ActorKind::Filter,
        Part::Enrich => ActorKind::Enrich,
        Part::Window => ActorKind::Window,
        Part::Committer => ActorKind::Committer,
        Part::Barrier => ActorKind::Barrier,
        Part::Store => ActorKind::Store,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stay_with_the_actor_that_failed() {
        let mut roster = Roster::default();
        roster.expect([(ActorKind::Window, 0), (ActorKind::Window, 1), (ActorKind::Reader, 0)]);
        roster.failed((ActorKind::Window, 1), TimestampMs(7), "panic");
        roster.failed((ActorKind::Window, 1), TimestampMs(8), "again");
        let views = roster.view(|kind, _| match kind {
            ActorKind::Window => ActorState::Restarting,
            _ => ActorState::Running,
        });
        let shown: Vec<_> =
            views.iter().map(|view| (view.kind, view.index, view.state.as_str(), view.restarts)).collect();
        assert_eq!(
            shown,
            [
                (ActorKind::Reader, 0, "running", 0),
                (ActorKind::Window, 0, "restarting", 0),
                (ActorKind::Window, 1, "restarting", 2),
            ]
        );
        assert_eq!(views[2].last_failure, Some((TimestampMs(8), "again".to_owned())));
    }
}
