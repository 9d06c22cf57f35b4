//! Live load, and whether all of it was processed exactly once.

use super::{
    Digest, Program,
    daemon::terminate,
    run::{Running, start},
    site::{Site, Workshop, finish},
};
use crate::Error;

/// `tidegate generate` at a steady rate, until it is dropped.
pub(super) struct Load(Running);

impl Load {
    pub(super) fn start(workshop: &Workshop, site: &Site, rate: u32) -> Result<Self, Error> {
        let mut generate = workshop.tidegate(&["generate", "--seed", "1"], site);
        generate.arg("--rate").arg(rate.to_string());
        Ok(Self(start(generate, site)?))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.0.id()
    }

    /// Ends it in order: what it has sent is acknowledged.
    pub(super) fn stop(mut self, site: &Site) -> Result<(), Error> {
        terminate(&self.0, site)?;
        self.0.0.wait()?;
        Ok(())
    }
}

/// Processes what is left of the input, then compares all that the daemons of the site wrote with what the
/// program written by hand makes of the same input in one go: each event once, in the order of its partition,
/// and the same alerts, each once. Returns the number of events that were forwarded.
pub(super) fn check(workshop: &Workshop, site: &Site) -> Result<u64, Error> {
    let run = |program: Program, site: &Site| {
        program.commands(site, workshop)?.iter_mut().try_for_each(|command| finish(command, site))
    };
    run(Program::Tidegate, site)?;
    let expected = workshop.site(&format!("{}-expected", site.name))?;
    run(Program::Ceiling, &expected)?;
    let found = Digest::of(&workshop.kafka, site)?;
    Digest::of(&workshop.kafka, &expected)?
        .check(&found)
        .map_err(|error| format!("not exactly once: {error}; see {}", site.log.display()))?;
    workshop.remove(&expected)?;
    Ok(found.records())
}
