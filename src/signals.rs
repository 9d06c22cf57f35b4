//! The process's signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask for the end. The others that people and tools send to daemons end nothing.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over. Until then each of them ends the process at once, so it comes before all else.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        explain(
            SignalKind::hangup(),
            "SIGHUP: there is no reload yet, the configuration is unchanged; restart to change it",
        )?;
        explain(SignalKind::user_defined1(), "SIGUSR1: ignored, it has no meaning here")?;
        explain(SignalKind::user_defined2(), "SIGUSR2: ignored, it has no meaning here")?;
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next that asks for the end.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Says what a signal does not do, each time that it comes.
fn explain(kind: SignalKind, text: &'static str) -> io::Result<()> {
    let mut signal = signal(kind)?;
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            tracing::warn!("{text}");
        }
    });
    Ok(())
}
