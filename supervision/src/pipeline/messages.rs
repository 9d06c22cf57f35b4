//! The supervisor's messages.

use tidegate_actors::{PipelineEvent, Report, derived_message};
use tidegate_core::Generation;
use tokio::sync::{mpsc, oneshot};

use super::handover::Recovered;
use crate::{parts::Ending, roster::ActorView};

/// To the pipeline's supervisor.
pub(crate) enum SupervisorMsg {
    /// From a part of a generation.
    Event(PipelineEvent),
    /// From itself: begin.
    Recover,
    /// From the recovery task.
    Recovered(Box<Recovered>),
    /// From itself, again and again: time to see whether another daemon owns the id.
    WatchOwner,
    /// From the task that looked: it does.
    TakenOver,
    /// From itself, again and again: time to see whether the input has more partitions.
    WatchInput,
    /// From the task that looked: it has.
    InputGrew { generation: Generation },
    /// From outside: stop cleanly.
    Shutdown,
    /// From the task that ended the last generation: all is committed, and the local store is closed.
    Closed(Ending),
    /// From outside: who is there?
    Actors(oneshot::Sender<Vec<ActorView>>),
    /// From outside, for the window actors, if there are any.
    Report { limit: usize, reply: mpsc::Sender<Report> },
}

derived_message!(SupervisorMsg::Event(PipelineEvent));
