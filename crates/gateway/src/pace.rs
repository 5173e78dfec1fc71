//! Slows answers down, smoothly and for all chargers alike, when what is acknowledged outruns what
//! is stored while every part is healthy; so that a lasting overload ends in equilibrium and not at
//! the journal's bound, where sockets are closed.
//!
//! The controller looks some times a second at the backlog and at what was delivered, and sets how
//! many frames may be taken in per second; connections draw turns, one interval apart, first come
//! first served. Without a backlog a turn costs one atomic load. While the sink is away nothing is
//! paced: an outage is not the chargers' fault.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the controller looks.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// A delivery under way for longer than this means that the sink is away.
pub(crate) const STUCK: Duration = Duration::from_secs(2);
/// Slowest pace ever set, in frames per second.
pub(crate) const RATE_MIN: f64 = 20.0;

/// Turns for taking a frame in. Shared by all connections.
pub(crate) struct Pace {
    origin: Instant,
    /// Nanoseconds between two turns; 0 = go at once.
    interval_ns: AtomicU64,
    /// When the next turn is, in nanoseconds since `origin`.
    next_ns: AtomicU64,
    wait_max: Duration,
}

impl Pace {
    pub(crate) fn new(wait_max: Duration) -> Self {
        Self {
            origin: Instant::now(),
            interval_ns: AtomicU64::new(0),
            next_ns: AtomicU64::new(0),
            wait_max,
        }
    }

    /// Draws a turn for a frame that has been read: `None` = hand it in now.
    pub(crate) fn turn(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let interval = self.interval_ns.load(Ordering::Relaxed);
        if interval == 0 {
            return None;
        }
        let now = nanos(now().saturating_duration_since(self.origin));
        let latest = now.saturating_add(nanos(self.wait_max));
        let turn = self
            .next_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                Some(next.max(now).saturating_add(interval).min(latest))
            })
            .unwrap_or_else(|next| next);
        let turn = turn.clamp(now, latest);
        (turn > now).then(|| self.origin + Duration::from_nanos(turn))
    }

    /// Sets frames per second; `None` = no pacing.
    pub(crate) fn set(&self, rate: Option<f64>) {
        let interval = rate.map_or(0, |rate| (1e9 / rate.max(RATE_MIN)) as u64);
        self.interval_ns.store(interval, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_one_interval_apart_and_never_further_than_the_longest_wait() {
        let pace = Pace::new(Duration::from_secs(4));
        let now = pace.origin + Duration::from_secs(100);
        assert_eq!(pace.turn(|| now), None);
        pace.set(Some(1_000.0));
        assert_eq!(pace.turn(|| now), None, "the first goes at once");
        for i in 1..500_u32 {
            let turn = pace.turn(|| now).expect("waits");
            assert_eq!(turn - now, Duration::from_millis(i.into()));
        }
        for _ in 0..10_000 {
            let wait = pace.turn(|| now).map_or(Duration::ZERO, |turn| turn - now);
            assert!(wait <= Duration::from_secs(4));
        }
        pace.set(None);
        assert_eq!(pace.turn(|| now), None);
    }
}
