//! Many chargers at once: starts them at a limited rate, counts what they do, and stops them.

use crate::charger::{Charger, SavedQueue};
use crate::config::FleetConfig;
use crate::handshake::Target;
use crate::ledger::LedgerFile;
use crate::queue_file::QueueFile;
use crate::runner::{Clock, FleetContext, Orders, RunState, Runner};
use crate::settings::Settings;
use crate::stats::{FleetReport, FleetStats};
use crate::stats_collector::StatsCollector;
use common::settings::SettingError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::task::TaskTracker;

/// Interval at which a waiting fleet reads its counters.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Interval at which buffered entries of the ledger are written to its file.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// A stop waits at most this long until all connections are closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a fleet cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is invalid.
    #[error(transparent)]
    Config(#[from] SettingError),
    /// The ledger or a queue file cannot be opened.
    #[error("open {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
}

/// A running fleet. Dropping it without [`Fleet::stop`] is like [`Fleet::kill`].
///
/// The order of calls: [`Fleet::start`], [`Fleet::stats`] any number of times, [`Fleet::finished`] unless the caller
/// ends the run itself, [`Fleet::stop`].
#[derive(Debug)]
pub struct Fleet {
    context: Arc<FleetContext>,
    orders: watch::Sender<Orders>,
    tasks: TaskTracker,
    chargers: u32,
    duration: Option<Duration>,
    ends_by_itself: bool,
}

impl Fleet {
    /// Starts the fleet on the current tokio runtime. `ramp_per_s` chargers power up per second.
    ///
    /// # Errors
    /// When a setting is invalid, or a file cannot be opened. An unreachable URL is not an error: the chargers
    /// reconnect without limit.
    pub fn start(config: FleetConfig) -> Result<Self, StartError> {
        config.check()?;
        let urls = std::iter::once(&config.url).chain(&config.more_urls);
        let targets = urls
            .map(|url| Target::parse(url))
            .collect::<Result<_, _>>()?;
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
        let context = Arc::new(FleetContext {
            targets,
            loopback_addresses: config.loopback_addresses,
            password: config.password.clone(),
            clock: Clock::start(),
            stats: StatsCollector::new(),
            ledger,
        });
        let (orders, receiver) = watch::channel(Orders::START);
        let fleet = Self {
            context: Arc::clone(&context),
            orders,
            tasks: TaskTracker::new(),
            chargers: config.chargers,
            duration: config.duration_s.map(Duration::from_secs_f64),
            ends_by_itself: config.messages_per_charger.is_some(),
        };
        fleet
            .tasks
            .spawn(flush_ledger(Arc::clone(&context), receiver.clone()));
        let ramp = Ramp {
            settings: Arc::new(Settings::from(&config)),
            seed: match config.seed {
                0 => fastrand::u64(..),
                seed => seed,
            },
            config,
            context,
            orders: receiver,
            tasks: fleet.tasks.clone(),
        };
        fleet.tasks.spawn(ramp.run());
        Ok(fleet)
    }

    /// The counters and gauges of now.
    #[must_use]
    pub fn stats(&self) -> FleetStats {
        FleetStats {
            elapsed: self.context.clock.elapsed(),
            chargers: u64::from(self.chargers),
            ..self.context.stats.stats()
        }
    }

    /// Breaks the network of all chargers at once, for a moment: each connection is dropped without a Close frame, and the
    /// chargers reconnect as after any lost connection.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    fn tell(&self, run_state: RunState) {
        self.orders
            .send_modify(|orders| orders.run_state = run_state);
    }

    /// Waits until every charger has sent `messages_per_charger` meter values, or `duration_s` has passed; without
    /// either setting it never returns. It may be called again.
    pub async fn finished(&self) {
        loop {
            let elapsed = self.context.clock.elapsed();
            let is_over = self.duration.is_some_and(|duration| elapsed >= duration);
            let is_done =
                self.ends_by_itself && self.context.stats.finished() >= u64::from(self.chargers);
            if is_over || is_done {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Stops the fleet: starts no transactions, ends the running ones, waits at most `drain` until every queue is
    /// empty, closes the connections, and writes the unanswered messages into the ledger. If `drain` is zero, it
    /// neither ends transactions nor waits.
    pub async fn stop(self, drain: Duration) -> FleetReport {
        let stats = &self.context.stats;
        let mut drained = false;
        if !drain.is_zero() {
            self.tell(RunState::Draining);
            self.tasks.close();
            let deadline = Instant::now() + drain;
            let all_drained = async {
                while stats.drained.load(Relaxed) < stats.started.load(Relaxed) {
                    sleep(POLL_INTERVAL).await;
                }
            };
            drained = timeout_at(deadline, all_drained).await.is_ok();
        }
        self.tell(RunState::Stopping);
        self.tasks.close();
        if timeout(CLOSE_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("some connections were not closed in time");
        }
        if let Some(ledger) = &self.context.ledger
            && let Err(error) = ledger.flush()
        {
            tracing::error!("failed to write the end of the ledger: {error}");
        }
        FleetReport {
            stats: self.stats(),
            drained,
        }
    }

    /// Simulates a power cut of all chargers: connections are dropped without a Close frame, unanswered messages get no
    /// entry in the ledger, and the queue files stay as they are.
    pub async fn kill(self) {
        self.tell(RunState::Killed);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The task that powers the chargers up.
struct Ramp {
    config: FleetConfig,
    settings: Arc<Settings>,
    seed: u64,
    context: Arc<FleetContext>,
    orders: watch::Receiver<Orders>,
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
                    () = stopped(&mut self.orders) => return,
                }
            } else if index % 64 == 0 {
                // So that the chargers that are up already get the runtime's threads too.
                tokio::task::yield_now().await;
            }
            if self.orders.borrow().run_state != RunState::Running {
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
                        tracing::error!(charger.id = %id, "failed to open the queue file: {error}");
                        self.context.stats.record_failure(index, "queue file");
                        return;
                    }
                    Err(error) => {
                        tracing::error!(charger.id = %id, "failed to open the queue file: {error}");
                        return;
                    }
                }
            }
        };
        let saved = queue_file
            .as_ref()
            .map_or_else(SavedQueue::default, |file| file.saved().clone());
        let id: Arc<str> = id.into();
        let version = self.config.versions.version(index);
        let charger = Charger::new(
            Arc::clone(&id),
            version,
            Arc::clone(&self.settings),
            saved,
            // Similar seeds would give similar first random numbers.
            self.seed ^ (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            self.context.clock.now(),
        );
        let runner = Runner {
            index,
            id,
            version,
            charger,
            queue_file,
            context: Arc::clone(&self.context),
            orders: self.orders.clone(),
        };
        self.context.stats.started.fetch_add(1, Relaxed);
        self.tasks.spawn(runner.run());
    }
}

/// Returns when the fleet no longer runs, or has been dropped.
async fn stopped(orders: &mut watch::Receiver<Orders>) {
    let _ = orders
        .wait_for(|orders| orders.run_state != RunState::Running)
        .await;
}

async fn flush_ledger(context: Arc<FleetContext>, mut orders: watch::Receiver<Orders>) {
    let Some(ledger) = &context.ledger else {
        return;
    };
    let stopped = async {
        // Also returns when the fleet has been dropped.
        let _ = orders
            .wait_for(|orders| matches!(orders.run_state, RunState::Stopping | RunState::Killed))
            .await;
    };
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = sleep(FLUSH_INTERVAL) => {}
            () = &mut stopped => return,
        }
        if let Err(error) = ledger.flush() {
            tracing::error!("failed to write the ledger: {error}");
        }
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::File { path, error }
}
