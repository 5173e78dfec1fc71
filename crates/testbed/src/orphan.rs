//! A process that a [`Process`](crate::Process) has started and that has outlived it, such as the one that takes over
//! from it.

use crate::process::is_alive;
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// Killed processes must have ended within this time.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A running process that is no child of this one. Dropping it kills it.
#[derive(Debug)]
pub struct Orphan(Pid);

impl Orphan {
    /// The process with this id; none if there is none.
    pub fn of(id: u32) -> Option<Self> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw)?;
        let this = Self(pid);
        this.is_running().then_some(this)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        is_alive(self.id())
    }

    /// Sends a signal, if it runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_running() {
            let _ = kill_process(self.0, signal);
        }
    }

    /// SIGUSR2.
    pub fn ask_to_upgrade(&self) {
        self.signal(Signal::USR2);
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL; waits for the end.
    ///
    /// # Errors
    ///
    /// It does not end within ten seconds.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL);
        self.wait(KILL_TIMEOUT)
    }

    /// SIGTERM; waits for the end.
    ///
    /// # Errors
    ///
    /// It does not end within `timeout`.
    pub fn terminate(&self, timeout: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM);
        self.wait(timeout)
    }

    fn wait(&self, timeout: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + timeout;
        while self.is_running() {
            anyhow::ensure!(
                Instant::now() < end,
                "process {} does not end within {} s",
                self.id(),
                timeout.as_secs()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
