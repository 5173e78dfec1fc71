//! Waiting while something is to be seen: progress for the person, and an ear for Ctrl-C.

use anyhow::{Context, Result, bail};
use simulator::{Fleet, FleetStats};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const SLICE: Duration = Duration::from_millis(20);
const SHOW_EVERY: Duration = Duration::from_secs(2);

/// Waits, and stops waiting when the person wants to stop.
#[derive(Clone)]
pub(super) struct Patience {
    stopped: Arc<AtomicBool>,
    /// The longest time that a short sleep took too long, in microseconds: how busy the machine is with other things.
    overslept_us: Arc<AtomicU64>,
    begun: Instant,
    quiet: bool,
}

impl Patience {
    /// Listens for Ctrl-C and SIGTERM. The first one ends the drill in good order, a second one at once: then the
    /// kernel kills what we started.
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
            overslept_us: Arc::default(),
            begun: Instant::now(),
            quiet,
        })
    }

    /// Waits for so long.
    ///
    /// # Errors
    /// The drill is to stop.
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
            let nap = left.min(SLICE);
            let asleep = Instant::now();
            std::thread::sleep(nap);
            let overslept = asleep.elapsed().saturating_sub(nap).as_micros();
            let overslept = u64::try_from(overslept).unwrap_or(u64::MAX);
            self.overslept_us.fetch_max(overslept, Relaxed);
        }
    }

    /// For how long this very process had to wait for its turn, at most, since it was asked last.
    pub(super) fn overslept(&self) -> Duration {
        Duration::from_micros(self.overslept_us.swap(0, Relaxed))
    }

    /// Ends when the drill is to stop.
    pub(super) async fn stopped(&self) {
        while !self.stopped.load(Relaxed) {
            tokio::time::sleep(SLICE).await;
        }
    }

    /// A line of progress.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{:>5.0} s  {text}", self.begun.elapsed().as_secs_f64());
        }
    }
}

/// Waits while a fleet is at work, and shows how it fares.
pub(super) struct Watch<'a> {
    pub(super) patience: &'a Patience,
    fleet: &'a Fleet,
    shown: RefCell<(Instant, FleetStats)>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(patience: &'a Patience, fleet: &'a Fleet) -> Self {
        let shown = RefCell::new((Instant::now(), fleet.stats()));
        Self {
            patience,
            fleet,
            shown,
        }
    }

    /// As [`Patience::pause`].
    pub(super) fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.patience.pause(left.min(Duration::from_millis(200)))?;
            self.show();
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    pub(super) fn say(&self, text: &str) {
        self.patience.say(&format!("  {text}"));
    }

    /// Handshakes that were answered with 503.
    pub(super) fn refusals(&self) -> u64 {
        let failures = self.fleet.stats().failures;
        failures.get("HTTP 503").copied().unwrap_or(0)
    }

    /// Transaction messages that chargers keep.
    pub(super) fn queued(&self) -> u64 {
        self.fleet.stats().queued
    }

    fn show(&self) {
        let mut shown = self.shown.borrow_mut();
        if shown.0.elapsed() >= SHOW_EVERY {
            let now = self.fleet.stats();
            self.patience
                .say(&format!("    {}", now.line_since(&shown.1)));
            *shown = (Instant::now(), now);
        }
    }
}
