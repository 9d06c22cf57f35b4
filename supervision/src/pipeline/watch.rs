//! What the supervisor looks at again and again, because nothing would tell it: who owns the id, what became of the
//! topics.

use std::{sync::Arc, time::Duration};

use tidegate_actors::PipelineEvent;
use tidegate_core::{
    epoch::{Replaced, TopicIds},
    supervision::{LifecycleState, Part},
    watch::{Noticed, Topics, notice},
};
use tidegate_log::{Log, LogError, Topic, TopicsFacts};

use super::{error::RecoveryError, messages::SupervisorMsg, supervisor::SupervisorState};

/// How often to look whether another daemon has taken over, or works for the same group under another id.
const OWNER_EVERY: Duration = Duration::from_secs(5);
/// How often to look what became of the topics.
const INPUT_EVERY: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);

impl SupervisorState {
    /// A writer that is fenced hears of it only when it writes, and one whose group another daemon uses under another
    /// transactional id never does. Each process names itself in the state topic when it begins.
    pub(super) fn watch_owner(&self) {
        if self.remains.was_owner && self.lifecycle.state() == LifecycleState::Running {
            let (owner, myself) = (self.recovery.owner.clone(), self.myself.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(RecoveryError::TakenOver) = owner.check(false) {
                    let _ = myself.cast(SupervisorMsg::TakenOver);
                }
            });
        }
        self.myself.send_after(OWNER_EVERY, || SupervisorMsg::WatchOwner);
    }

    /// Partitions are assigned by hand, so a new one would never be read without a look; and a topic that is gone, or
    /// another one of the same name, shows to nobody while there is nothing to read.
    pub(super) fn watch_input(&self) {
        if let (LifecycleState::Running, Some(live)) = (self.lifecycle.state(), &self.live) {
            let (log, myself, generation) =
                (Arc::clone(&self.shared.log), self.myself.clone(), self.generation);
            let known = Arc::clone(&live.topics);
            tokio::task::spawn_blocking(move || {
                let message = match look_at_topics(&*log, &known) {
                    Ok(Noticed::InputGrew) => SupervisorMsg::InputGrew { generation },
                    Err(error @ (LogError::TopicsMissing(_) | LogError::TopicReplaced(_))) => {
                        PipelineEvent::LogFailed { generation, part: Part::Reader, error }.into()
                    }
                    // A log that does not answer is noticed elsewhere.
                    Ok(_) | Err(_) => return,
                };
                let _ = myself.cast(message);
            });
        }
        self.myself.send_after(INPUT_EVERY, || SupervisorMsg::WatchInput);
    }
}

/// What became of the topics; one that is missing or another one is an error.
fn look_at_topics(log: &dyn Log, known: &TopicsFacts) -> Result<Noticed, LogError> {
    let watched = |topics: &TopicsFacts| Topics {
        ids: TopicIds::of(topics),
        input_partitions: topics[Topic::Raw as usize].partitions,
    };
    let noticed = notice(watched(known), watched(&log.topics(TIMEOUT)?));
    let replaced = match noticed {
        Noticed::Replaced(Replaced::Input) => Topic::Raw,
        Noticed::Replaced(Replaced::State) => Topic::State,
        Noticed::Nothing | Noticed::InputGrew => return Ok(noticed),
    };
    Err(LogError::TopicReplaced(known[replaced as usize].name.clone()))
}
