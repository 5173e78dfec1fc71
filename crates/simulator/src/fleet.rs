//! Many chargers at once: starts them at a bounded pace, counts what they do, stops them well.

use crate::charger::{Charger, Saved};
use crate::config::FleetConfig;
use crate::handshake::Target;
use crate::ledger::LedgerFile;
use crate::queue_file::QueueFile;
use crate::runner::{Clock, Runner, Shared, Stage};
use crate::settings::Settings;
use crate::stats::{FleetReport, FleetStats};
use crate::stats_collector::Board;
use common::settings::SettingError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::task::TaskTracker;

/// How often the fleet looks at its own figures.
const GLANCE: Duration = Duration::from_millis(10);
/// How often ledger lines are handed to the system.
const FLUSH: Duration = Duration::from_millis(200);
/// What closing all sockets may take at the end.
const CLOSING: Duration = Duration::from_secs(10);

/// Why a fleet cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] SettingError),
    /// The ledger or a queue file cannot be used.
    #[error("open {path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A running fleet. Dropping it without [`Fleet::stop`] is like [`Fleet::kill`].
///
/// [`Fleet::start`], then [`Fleet::stats`] as often as wanted, then [`Fleet::finished`] or whatever
/// else ends the run, then [`Fleet::stop`].
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    stage: watch::Sender<Stage>,
    tasks: TaskTracker,
    chargers: u32,
    duration: Option<Duration>,
    ends_by_itself: bool,
}

impl Fleet {
    /// Starts the fleet on the current tokio runtime; chargers power up one after the other
    /// (`ramp_per_s`).
    ///
    /// # Errors
    /// When a setting makes no sense, or a file cannot be used. That nobody listens at the URL is no
    /// error: chargers try for ever.
    pub fn start(config: FleetConfig) -> Result<Self, StartError> {
        config.check()?;
        let target = Target::parse(&config.url)?;
        let ledger = config
            .ledger
            .as_deref()
            .map(|path| {
                LedgerFile::open(path, config.queue_dir.is_some()).map_err(file_error(path))
            })
            .transpose()?;
        if let Some(dir) = &config.queue_dir {
            std::fs::create_dir_all(dir).map_err(file_error(dir))?;
        }
        let shared = Arc::new(Shared {
            target,
            password: config.password.clone(),
            clock: Clock::start(),
            board: Board::new(),
            ledger,
        });
        let (stage, receiver) = watch::channel(Stage::Running);
        let fleet = Self {
            shared: Arc::clone(&shared),
            stage,
            tasks: TaskTracker::new(),
            chargers: config.chargers,
            duration: config.duration_s.map(Duration::from_secs_f64),
            ends_by_itself: config.messages_per_charger.is_some(),
        };
        fleet
            .tasks
            .spawn(flush_ledger(Arc::clone(&shared), receiver.clone()));
        let ramp = Ramp {
            settings: Arc::new(Settings::from(&config)),
            seed: match config.seed {
                0 => fastrand::u64(..),
                seed => seed,
            },
            config,
            shared,
            stage: receiver,
            tasks: fleet.tasks.clone(),
        };
        fleet.tasks.spawn(ramp.run());
        Ok(fleet)
    }

    /// How the fleet is now.
    #[must_use]
    pub fn stats(&self) -> FleetStats {
        FleetStats {
            elapsed: self.shared.clock.elapsed(),
            chargers: u64::from(self.chargers),
            ..self.shared.board.stats()
        }
    }

    /// Waits until every charger has done what it was to do (`messages_per_charger`), or the time is
    /// over (`duration_s`); for ever if nothing bounds the run. May be called again.
    pub async fn finished(&self) {
        loop {
            let elapsed = self.shared.clock.elapsed();
            let is_over = self.duration.is_some_and(|duration| elapsed >= duration);
            let is_done =
                self.ends_by_itself && self.shared.board.finished() >= u64::from(self.chargers);
            if is_over || is_done {
                return;
            }
            sleep(GLANCE).await;
        }
    }

    /// Begins no new transactions, ends the running ones, waits at most `drain` until every queue is
    /// empty, closes the connections and writes what is unanswered into the ledger. With a `drain` of
    /// zero everything ends at once.
    pub async fn stop(self, drain: Duration) -> FleetReport {
        let board = &self.shared.board;
        let mut drained = false;
        if !drain.is_zero() {
            self.stage.send_replace(Stage::Finishing);
            self.tasks.close();
            let deadline = Instant::now() + drain;
            let all_drained = async {
                while board.drained.load(Relaxed) < board.started.load(Relaxed) {
                    sleep(GLANCE).await;
                }
            };
            drained = timeout_at(deadline, all_drained).await.is_ok();
        }
        self.stage.send_replace(Stage::Stopping);
        self.tasks.close();
        if timeout(CLOSING, self.tasks.wait()).await.is_err() {
            tracing::warn!("some chargers did not close in time");
        }
        if let Some(ledger) = &self.shared.ledger
            && let Err(error) = ledger.flush()
        {
            tracing::error!("write the end of the ledger: {error}");
        }
        FleetReport {
            stats: self.stats(),
            drained,
        }
    }

    /// Cuts the power of all chargers: no goodbye, not a word in the ledger about what is unanswered;
    /// what is in their queues' files stays there.
    pub async fn kill(self) {
        self.stage.send_replace(Stage::Cut);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Powers chargers up.
struct Ramp {
    config: FleetConfig,
    settings: Arc<Settings>,
    seed: u64,
    shared: Arc<Shared>,
    stage: watch::Receiver<Stage>,
    tasks: TaskTracker,
}

impl Ramp {
    async fn run(mut self) {
        let start = Instant::now();
        for index in 0..self.config.chargers {
            let due = start + Duration::from_secs_f64(f64::from(index) / self.config.ramp_per_s);
            if due > Instant::now() {
                tokio::select! {
                    () = sleep_until(due) => {}
                    _ = self.stage.changed() => return,
                }
            } else if index % 64 == 0 {
                // A steep ramp must not keep those already up from working.
                tokio::task::yield_now().await;
            }
            if *self.stage.borrow() != Stage::Running {
                return;
            }
            self.power_up(index).await;
        }
    }

    async fn power_up(&self, index: u32) {
        let id = self.config.charger_id(index);
        let queue_file = match &self.config.queue_dir {
            None => None,
            Some(dir) => {
                let (dir, name) = (dir.clone(), id.clone());
                let open = move || QueueFile::open(&dir, &name);
                match tokio::task::spawn_blocking(open).await {
                    Ok(Ok(file)) => Some(file),
                    Ok(Err(error)) => {
                        tracing::error!(charger.id = %id, "open its queue: {error}");
                        self.shared.board.trouble(index, "queue file");
                        return;
                    }
                    Err(error) => {
                        tracing::error!(charger.id = %id, "open its queue: {error}");
                        return;
                    }
                }
            }
        };
        let saved = queue_file
            .as_ref()
            .map_or_else(Saved::default, |file| file.saved().clone());
        let id: Arc<str> = id.into();
        let version = self.config.versions.version(index);
        let charger = Charger::new(
            Arc::clone(&id),
            version,
            Arc::clone(&self.settings),
            saved,
            // Neighbouring seeds would begin alike.
            self.seed ^ (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            self.shared.clock.now(),
        );
        let runner = Runner {
            index,
            id,
            version,
            charger,
            queue_file,
            shared: Arc::clone(&self.shared),
            stage: self.stage.clone(),
        };
        self.shared.board.started.fetch_add(1, Relaxed);
        self.tasks.spawn(runner.run());
    }
}

async fn flush_ledger(shared: Arc<Shared>, mut stage: watch::Receiver<Stage>) {
    let Some(ledger) = &shared.ledger else {
        return;
    };
    let stopped = async {
        // Ends with the fleet's last stage, or with the fleet.
        let _ = stage
            .wait_for(|stage| matches!(stage, Stage::Stopping | Stage::Cut))
            .await;
    };
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = sleep(FLUSH) => {}
            () = &mut stopped => return,
        }
        if let Err(error) = ledger.flush() {
            tracing::error!("write the ledger: {error}");
        }
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::File { path, error }
}
