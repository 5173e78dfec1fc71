//! Waiting during a drill: Ctrl-C ends every wait, and progress is printed meanwhile.

use anyhow::{Context, Result, bail};
use simulator::{Fleet, FleetStats};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const POLL_INTERVAL: Duration = Duration::from_millis(20);
const PRINT_INTERVAL: Duration = Duration::from_secs(2);

/// Waits that Ctrl-C ends, and lines of progress.
#[derive(Clone)]
pub(super) struct Control {
    stopped: Arc<AtomicBool>,
    /// By how much a sleep was too long at most, in microseconds: a measure of how busy the machine is.
    oversleep_us: Arc<AtomicU64>,
    begun: Instant,
    quiet: bool,
}

impl Control {
    /// Listens for SIGINT and SIGTERM. The first signal ends the drill in an orderly way, the second one at once; then
    /// the kernel kills the started processes.
    pub(super) fn new(runtime: &tokio::runtime::Runtime, quiet: bool) -> Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let _inside = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut stop = async move || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        runtime.spawn(async move {
            stop().await;
            flag.store(true, Relaxed);
            eprintln!("stopping everything (Ctrl-C again: at once)");
            stop().await;
            std::process::exit(130);
        });
        Ok(Self {
            stopped,
            oversleep_us: Arc::default(),
            begun: Instant::now(),
            quiet,
        })
    }

    /// Waits.
    ///
    /// # Errors
    /// When the drill is to stop.
    pub(super) fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            if self.stopped.load(Relaxed) {
                bail!("stopped before the end");
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let wanted = left.min(POLL_INTERVAL);
            let begun = Instant::now();
            std::thread::sleep(wanted);
            let oversleep = begun.elapsed().saturating_sub(wanted).as_micros();
            let oversleep = u64::try_from(oversleep).unwrap_or(u64::MAX);
            self.oversleep_us.fetch_max(oversleep, Relaxed);
        }
    }

    /// Waits until `condition` holds, for `timeout` at most; returns whether it holds.
    ///
    /// # Errors
    /// When the drill is to stop.
    pub(super) fn pause_until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        while !condition() {
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.pause(Duration::from_millis(50))?;
        }
        Ok(true)
    }

    /// By how much a sleep was too long at most, since the last call.
    pub(super) fn take_oversleep(&self) -> Duration {
        Duration::from_micros(self.oversleep_us.swap(0, Relaxed))
    }

    /// Ends when the drill is to stop.
    pub(super) async fn stopped(&self) {
        while !self.stopped.load(Relaxed) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Prints a line of progress.
    pub(super) fn print(&self, text: &str) {
        if !self.quiet {
            eprintln!("{:>5.0} s  {text}", self.begun.elapsed().as_secs_f64());
        }
    }
}

/// As [`Control`] while a fleet runs: its statistics are printed at intervals.
pub(super) struct Watch<'a> {
    pub(super) control: &'a Control,
    fleet: &'a Fleet,
    printed: RefCell<(Instant, FleetStats)>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(control: &'a Control, fleet: &'a Fleet) -> Self {
        let printed = RefCell::new((Instant::now(), fleet.stats()));
        Self {
            control,
            fleet,
            printed,
        }
    }

    /// As [`Control::pause`].
    pub(super) fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.control.pause(left.min(Duration::from_millis(200)))?;
            self.print_stats();
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Waits until `condition` holds, for `timeout` at most; returns whether it holds.
    ///
    /// # Errors
    /// When the drill is to stop.
    pub(super) fn pause_until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<bool> {
        let begun = Instant::now();
        while !condition() {
            if begun.elapsed() >= timeout {
                return Ok(false);
            }
            self.pause(Duration::from_millis(100))?;
        }
        Ok(true)
    }

    pub(super) fn print(&self, text: &str) {
        self.control.print(&format!("  {text}"));
    }

    /// Handshakes that were answered with 503.
    pub(super) fn refusals(&self) -> u64 {
        let failures = self.fleet.stats().failures;
        failures.get("HTTP 503").copied().unwrap_or(0)
    }

    /// Connections that chargers have opened since the fleet began.
    pub(super) fn connections(&self) -> u64 {
        self.fleet.stats().connections
    }

    /// Breaks the network of all chargers at once.
    pub(super) fn cut(&self) {
        self.fleet.cut();
    }

    /// Chargers that are connected.
    pub(super) fn online(&self) -> u64 {
        self.fleet.stats().online
    }

    /// All chargers.
    pub(super) fn chargers(&self) -> u64 {
        self.fleet.stats().chargers
    }

    /// Transaction messages in the chargers' queues.
    pub(super) fn queued(&self) -> u64 {
        self.fleet.stats().queued
    }

    fn print_stats(&self) {
        let mut printed = self.printed.borrow_mut();
        if printed.0.elapsed() >= PRINT_INTERVAL {
            let now = self.fleet.stats();
            self.control
                .print(&format!("    {}", now.line_since(&printed.1)));
            *printed = (Instant::now(), now);
        }
    }
}
