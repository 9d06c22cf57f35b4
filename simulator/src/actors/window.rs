//! The owner of a share of the windows.

use tidegate_core::{
    RuleId,
    epoch::share::ShareDelta,
    window::{CountedEvent, Windows},
};

use super::{
    live::{Around, Live},
    parts::Events,
};
use crate::{
    env::note,
    mail::{Delta, ToBarrier, ToCommitter, ToWindow},
    shape::SERVICES,
    violation::{Checked, Violation},
};

impl Live {
    pub(crate) fn step_window(&mut self, at: usize, around: &mut Around<'_>) -> Checked {
        let window = &mut self.windows[at];
        let Some(message) = window.mail.next() else { return Ok(()) };
        match message {
            ToWindow::Count { epoch, partition, events } => {
                let admitted = window.share.admit(epoch, partition, (partition, events));
                match admitted.map_err(|fault| Violation(format!("window actor {at}: {fault}")))? {
                    Some(events) => self.count(at, &events, around),
                    None => note!(around.env, "{} window actor {at} keeps events of epoch {epoch}", self.key),
                }
            }
            ToWindow::Seal(seal) => {
                let sealed = window.share.seal(&seal);
                let sealed = sealed.map_err(|fault| Violation(format!("window actor {at}: {fault}")))?;
                if let Some(ShareDelta { epoch, delta, watermark, early }) = sealed {
                    note!(around.env, "{} window actor {at} gives its part of epoch {epoch}", self.key);
                    let (alerts, changes) = (delta.alerts, delta.changes);
                    let delta = Box::new(Delta { epoch, alerts, changes, watermark });
                    self.committer.mail.send(ToCommitter::Delta(delta));
                    for events in early {
                        self.count(at, &events, around);
                    }
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, at: usize, (partition, groups): &Events, around: &mut Around<'_>) {
        let windows: &mut Windows = self.windows[at].share.windows_mut();
        let mut crossed = false;
        for group in groups {
            let events = group.events.iter().map(|&(timestamp, offset)| CountedEvent {
                timestamp,
                partition: *partition,
                offset,
                user_id: None,
                append_time: timestamp,
            });
            crossed |= windows.count(RuleId(group.rule), SERVICES[group.service], events);
        }
        if crossed {
            note!(around.env, "{} window actor {at} wants a cut: an alert has crossed", self.key);
            self.barrier.mail.send(ToBarrier::CutSoon);
        }
    }
}
