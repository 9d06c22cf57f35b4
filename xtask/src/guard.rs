//! A process that never outlives us, even when we are killed with SIGKILL.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::Error;

/// A running child and its watcher: a shell that reads from a pipe which only we hold open. When we die in
/// any way the pipe closes, and the shell runs the command that kills the child.
pub(crate) struct Guarded {
    child: Child,
    watcher: Child,
    pipe: Option<ChildStdin>,
    /// Ends the child in an orderly way, and at once.
    stop: Vec<String>,
    kill: Vec<String>,
}

impl Guarded {
    /// Starts `command`. `stop` and `kill` are commands that end it; `{pid}` in them is the child's id.
    pub(crate) fn spawn(command: &mut Command, stop: &[&str], kill: &[&str]) -> Result<Self, Error> {
        // Groups of their own: a ctrl-C at the terminal is for us, and we stop the child in order.
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let with_pid = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| word.replace("{pid}", &child.id().to_string())).collect()
        };
        let (stop, kill) = (with_pid(stop), with_pid(kill));
        let mut watcher = Command::new("sh")
            .args(["-c", "read -r done || exec \"$@\"", "sh"])
            .args(&kill)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = watcher.stdin.take();
        Ok(Self { child, watcher, pipe, stop, kill })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the child has ended by itself.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>, Error> {
        Ok(self.child.try_wait()?)
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            run(&self.stop);
            let deadline = Instant::now() + Duration::from_secs(20);
            while matches!(self.child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    run(&self.kill);
                    break;
                }
                sleep(Duration::from_millis(50));
            }
        }
        let _ = self.child.wait();
        // A line tells the watcher that there is nothing left to kill.
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.watcher.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(words: &[String]) {
    let quiet =
        Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if let Err(error) = quiet {
        eprintln!("xtask: {}: {error}", words[0]);
    }
}
