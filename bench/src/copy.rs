//! The bare copy: what reading and writing alone cost.

use std::time::Instant;

use tidegate_config::Settings;

use crate::{
    Error,
    client::{Clients, Figures, Topic, connect},
};

/// Copies what is in the input topic now to the processed topic, in one thread.
pub(crate) fn run(settings: &Settings) -> Result<Figures, Error> {
    let began = Instant::now();
    let Clients { mut input, mut progress, mut writer } = connect(settings)?;
    let mut records = 0;
    let mut committed_at = Instant::now();
    while !progress.is_done() {
        input.fetch(|record| {
            if progress.takes(&record) {
                records += 1;
                writer.send(Topic::Processed, &record)?;
            }
            Ok(())
        })?;
        if committed_at.elapsed() >= settings.checkpoint_interval || progress.is_done() {
            writer.commit(progress.next())?;
            committed_at = Instant::now();
        }
    }
    Ok(writer.figures(records, began))
}
