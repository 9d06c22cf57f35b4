//! What ends a run before its time.

use std::{
    io::Read,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::Error;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether ctrl-C, SIGTERM or, where asked for, the end of standard input came.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// From now on SIGINT and SIGTERM no longer end the process but make [`interrupted`] true.
pub(crate) fn catch_signals() -> Result<(), Error> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// For tests: a harness that dies closes our standard input, however it dies.
pub(crate) fn stop_at_the_end_of_stdin() {
    let flag = Arc::clone(INTERRUPTED.get_or_init(Arc::default));
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    });
}
