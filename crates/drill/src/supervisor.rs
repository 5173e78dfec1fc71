//! What systemd is to a real installation: runs the roles as processes, and starts again what has ended, after a
//! second.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use testbed::Process;

/// `RestartSec` of our systemd units.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longer than the roles' own grace periods.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What a process is there for; also the subcommand that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Serve,
    Gateway,
    Consumer,
    Api,
}

impl Role {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gateway => "gateway",
            Self::Consumer => "consumer",
            Self::Api => "api",
        }
    }
}

/// Watches over processes until it is dropped, which kills them.
pub(super) struct Supervisor {
    dir: PathBuf,
    slots: Arc<Mutex<Vec<Slot>>>,
}

struct Slot {
    role: Role,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
    ended_at: Option<Instant>,
    started_at: Instant,
    /// Ends that nobody ordered.
    surprises: u64,
}

impl Supervisor {
    /// Logs go to `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        let slots = Arc::new(Mutex::new(Vec::new()));
        let weak = Arc::downgrade(&slots);
        std::thread::spawn(move || watch(&weak));
        Self {
            dir: dir.to_owned(),
            slots,
        }
    }

    /// Starts a role and keeps it running.
    pub(super) fn run(&self, role: Role, arguments: Vec<String>) -> Result<()> {
        let mut slot = Slot {
            role,
            arguments,
            log: self.log(role),
            process: None,
            ended_at: None,
            started_at: Instant::now(),
            surprises: 0,
        };
        slot.start()?;
        lock(&self.slots).push(slot);
        Ok(())
    }

    /// kill -9; it is started again after a second.
    pub(super) fn kill(&self, roles: &[Role]) -> Result<()> {
        for slot in lock(&self.slots).iter_mut() {
            if roles.contains(&slot.role)
                && let Some(mut process) = slot.process.take()
            {
                process.kill()?;
                slot.ended_at = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// SIGSTOP: the role stands still with its connections open, until [`Supervisor::resume`].
    pub(super) fn pause(&self, role: Role) {
        self.each(role, Process::pause);
    }

    /// SIGCONT.
    pub(super) fn resume(&self, role: Role) {
        self.each(role, Process::resume);
    }

    fn each(&self, role: Role, work: impl Fn(&Process)) {
        let slots = lock(&self.slots);
        let processes = slots.iter().filter(|slot| slot.role == role);
        processes
            .filter_map(|slot| slot.process.as_ref())
            .for_each(work);
    }

    /// SIGTERM, waits, and does not start it again.
    pub(super) fn stop(&self, role: Role) -> Result<()> {
        let stopped: Vec<Slot> = {
            let mut slots = lock(&self.slots);
            slots.extract_if(.., |slot| slot.role == role).collect()
        };
        for slot in stopped {
            if let Some(mut process) = slot.process {
                process.terminate(STOP_MAX)?;
            }
        }
        Ok(())
    }

    /// When the role was started last; `None` while it is down.
    pub(super) fn running_since(&self, role: Role) -> Option<Instant> {
        let slots = lock(&self.slots);
        let slot = slots.iter().find(|slot| slot.role == role)?;
        let running = slot.process.as_ref().is_some_and(Process::is_running);
        running.then_some(slot.started_at)
    }

    /// How often a process ended that nobody had killed.
    pub(super) fn surprises(&self) -> u64 {
        lock(&self.slots).iter().map(|slot| slot.surprises).sum()
    }

    /// Where a role's output goes.
    pub(super) fn log(&self, role: Role) -> PathBuf {
        self.dir.join(format!("{}.log", role.name()))
    }
}

impl Slot {
    fn start(&mut self) -> Result<()> {
        let program = std::env::current_exe().context("find the program that runs now")?;
        let mut command = Process::command(&program)?;
        command
            .arg(self.role.name())
            .args(&self.arguments)
            .env_remove("RUST_LOG")
            .env_remove("WATTPOST_CONFIG")
            .env_remove("NOTIFY_SOCKET");
        self.process = Some(Process::start(command, self.role.name(), &self.log)?);
        self.started_at = Instant::now();
        self.ended_at = None;
        Ok(())
    }

    fn look_after(&mut self) {
        match self.ended_at {
            None if self.process.as_ref().is_some_and(Process::is_running) => {}
            None => {
                self.surprises += 1;
                self.process = None;
                self.ended_at = Some(Instant::now());
            }
            Some(ended) if ended.elapsed() >= RESTART_AFTER => {
                // Tried again in a second, as systemd would.
                if self.start().is_err() {
                    self.ended_at = Some(Instant::now());
                }
            }
            Some(_) => {}
        }
    }
}

fn watch(slots: &Weak<Mutex<Vec<Slot>>>) {
    while let Some(slots) = slots.upgrade() {
        for slot in lock(&slots).iter_mut() {
            slot.look_after();
        }
        drop(slots);
        std::thread::sleep(LOOK_EVERY);
    }
}

fn lock(slots: &Mutex<Vec<Slot>>) -> MutexGuard<'_, Vec<Slot>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}
