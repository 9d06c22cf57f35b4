//! That an actor ended, as its supervisor hears of it.

use ractor::{ActorCell, SupervisionEvent};

/// Who ended, and why; `None` if the event says something else.
pub(crate) fn who_ended(event: SupervisionEvent) -> Option<(ActorCell, String)> {
    match event {
        SupervisionEvent::ActorFailed(who, error) => Some((who, error.to_string())),
        SupervisionEvent::ActorTerminated(who, _, reason) => {
            Some((who, reason.unwrap_or_else(|| "it ended by itself".into())))
        }
        _ => None,
    }
}
