//! Runs the roles as processes and restarts each one second after it ends, as systemd does in production.

use anyhow::{Context, Result, bail};
use common::lock::lock;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use testbed::{Orphan, Process};

/// `RestartSec` in `packaging/systemd`.
const RESTART_DELAY: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longer than the roles' own timeouts at a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Serve,
    Gateway,
    Consumer,
    Api,
    SecondGateway,
    SecondConsumer,
}

impl Role {
    /// For people, and for the name of its log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SecondGateway => "gateway-2",
            Self::SecondConsumer => "consumer-2",
            first => first.subcommand(),
        }
    }

    /// The subcommand that runs it.
    pub(super) const fn subcommand(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gateway | Self::SecondGateway => "gateway",
            Self::Consumer | Self::SecondConsumer => "consumer",
            Self::Api => "api",
        }
    }
}

/// Keeps processes running. Dropping it kills them.
pub(super) struct Supervisor {
    dir: PathBuf,
    slots: Arc<Mutex<Vec<Slot>>>,
}

struct Slot {
    role: Role,
    command: Command,
    log: PathBuf,
    process: Option<Process>,
    /// The process that has taken over from `process`, which has ended.
    successor: Option<Orphan>,
    /// Which of the two runs is not certain now.
    is_upgrading: bool,
    ended_at: Option<Instant>,
    started_at: Instant,
    /// How often the process ended without being killed or stopped by the drill.
    unexpected_ends: u64,
}

impl Supervisor {
    /// Logs are written to `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        let slots = Arc::new(Mutex::new(Vec::new()));
        let weak = Arc::downgrade(&slots);
        std::thread::spawn(move || watch(&weak));
        Self {
            dir: dir.to_owned(),
            slots,
        }
    }

    /// Starts a role with `command` and keeps it running.
    pub(super) fn run(&self, role: Role, command: Command) -> Result<()> {
        let mut slot = Slot {
            role,
            command,
            log: self.log_file(role),
            process: None,
            successor: None,
            is_upgrading: false,
            ended_at: None,
            started_at: Instant::now(),
            unexpected_ends: 0,
        };
        slot.start()?;
        lock(&self.slots).push(slot);
        Ok(())
    }

    /// SIGKILL. The processes are restarted after a second.
    pub(super) fn kill(&self, roles: &[Role]) -> Result<()> {
        for slot in lock(&self.slots).iter_mut() {
            if !roles.contains(&slot.role) {
                continue;
            }
            if let Some(successor) = slot.successor.take() {
                successor.kill()?;
                slot.ended_at = Some(Instant::now());
            }
            if let Some(mut process) = slot.process.take() {
                process.kill()?;
                slot.ended_at = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// SIGSTOP: the process is suspended with its connections open, until [`Supervisor::resume`].
    pub(super) fn pause(&self, role: Role) {
        self.each(role, Process::pause, Orphan::pause);
    }

    /// SIGCONT.
    pub(super) fn resume(&self, role: Role) {
        self.each(role, Process::resume, Orphan::resume);
    }

    fn each(&self, role: Role, work: impl Fn(&Process), work_on: impl Fn(&Orphan)) {
        for slot in lock(&self.slots).iter().filter(|slot| slot.role == role) {
            match (&slot.successor, &slot.process) {
                (Some(successor), _) => work_on(successor),
                (None, Some(process)) => work(process),
                (None, None) => {}
            }
        }
    }

    /// SIGUSR2: the process starts another one that takes over. Until [`Supervisor::upgraded`], its end is expected.
    pub(super) fn ask_to_upgrade(&self, role: Role) -> Result<()> {
        let mut slots = lock(&self.slots);
        let slot = slots.iter_mut().find(|slot| slot.role == role);
        let slot = slot.context("it is not started")?;
        slot.is_upgrading = true;
        match (&slot.successor, &slot.process) {
            (Some(successor), _) => successor.ask_to_upgrade(),
            (None, Some(process)) => process.ask_to_upgrade(),
            (None, None) => bail!("it does not run"),
        }
        Ok(())
    }

    /// The process with this id has taken over.
    pub(super) fn upgraded(&self, role: Role, id: u32) -> Result<()> {
        let mut slots = lock(&self.slots);
        let slot = slots.iter_mut().find(|slot| slot.role == role);
        let slot = slot.context("it is not started")?;
        // The one before has ended.
        slot.successor = Some(Orphan::of(id).context("the process that took over has ended")?);
        slot.is_upgrading = false;
        slot.started_at = Instant::now();
        Ok(())
    }

    /// SIGTERM. Waits for the end; the process is not restarted.
    pub(super) fn stop(&self, role: Role) -> Result<()> {
        let stopped: Vec<Slot> = {
            let mut slots = lock(&self.slots);
            slots.extract_if(.., |slot| slot.role == role).collect()
        };
        for slot in stopped {
            if let Some(successor) = &slot.successor {
                successor.terminate(STOP_TIMEOUT)?;
            } else if let Some(mut process) = slot.process {
                process.terminate(STOP_TIMEOUT)?;
            }
        }
        Ok(())
    }

    /// When the role was last started; none while it does not run.
    pub(super) fn running_since(&self, role: Role) -> Option<Instant> {
        let slots = lock(&self.slots);
        let slot = slots.iter().find(|slot| slot.role == role)?;
        let running = match &slot.successor {
            Some(successor) => successor.is_running(),
            None => slot.process.as_ref().is_some_and(Process::is_running),
        };
        running.then_some(slot.started_at)
    }

    /// The process id of the role; none while it does not run.
    pub(super) fn process_id(&self, role: Role) -> Option<u32> {
        let slots = lock(&self.slots);
        let slot = slots.iter().find(|slot| slot.role == role)?;
        match &slot.successor {
            Some(successor) => Some(successor.id()),
            None => slot.process.as_ref().map(Process::id),
        }
    }

    /// How often processes ended without being killed or stopped by the drill.
    pub(super) fn unexpected_ends(&self) -> u64 {
        let slots = lock(&self.slots);
        slots.iter().map(|slot| slot.unexpected_ends).sum()
    }

    /// The log file of a role.
    pub(super) fn log_file(&self, role: Role) -> PathBuf {
        self.dir.join(format!("{}.log", role.name()))
    }
}

impl Slot {
    fn start(&mut self) -> Result<()> {
        let command = Process::wrap(&self.command)?;
        self.process = Some(Process::start(command, self.role.name(), &self.log)?);
        self.started_at = Instant::now();
        self.ended_at = None;
        Ok(())
    }

    fn check(&mut self) {
        if self.is_upgrading || self.successor.as_ref().is_some_and(Orphan::is_running) {
            return;
        }
        self.successor = None;
        match self.ended_at {
            None if self.process.as_ref().is_some_and(Process::is_running) => {}
            None => {
                self.unexpected_ends += 1;
                self.process = None;
                self.ended_at = Some(Instant::now());
            }
            Some(ended) if ended.elapsed() >= RESTART_DELAY => {
                // A failed start is repeated after the same delay.
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
            slot.check();
        }
        drop(slots);
        std::thread::sleep(POLL_INTERVAL);
    }
}
