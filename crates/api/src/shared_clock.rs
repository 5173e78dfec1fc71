//! The database's time without a query for each reading. Processes on several machines share leases, and the clocks of their
//! machines may be minutes apart.
//!
//! The clock is read every few seconds; between two readings the time that has passed here is added. Where a machine was
//! suspended in between, the time is late until the next reading: leases of others then seem to last longer, and those of this
//! process end early.

use central::Timestamp;
use central::ports::{DatabaseClock, Unavailable};
use common::clock::now_ms;
use common::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a reading is used.
const FRESH: Duration = Duration::from_secs(5);

/// The database's clock, for one task.
pub(crate) struct SharedClock {
    source: Arc<dyn DatabaseClock>,
    read: Mutex<Option<Reading>>,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    time: Timestamp,
}

impl Reading {
    fn now(self) -> Timestamp {
        let passed = i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.time.plus_millis(passed)
    }
}

impl SharedClock {
    pub(crate) fn new(source: Arc<dyn DatabaseClock>) -> Self {
        Self {
            source,
            read: Mutex::new(None),
        }
    }

    /// The time now. Blocks for a query if the latest reading is too old.
    ///
    /// # Errors
    /// When the database cannot be read now.
    pub(crate) fn now(&self) -> Result<Timestamp, Unavailable> {
        let known = *lock(&self.read);
        if let Some(reading) = known.filter(|reading| reading.at.elapsed() < FRESH) {
            return Ok(reading.now());
        }
        // What the answer takes makes the time late, and not early.
        let reading = Reading {
            time: self.source.time()?,
            at: Instant::now(),
        };
        *lock(&self.read) = Some(reading);
        Ok(reading.time)
    }

    /// The time now, by the latest reading; by the clock of this machine if there was none. Does not block.
    pub(crate) fn known(&self) -> Timestamp {
        let known = *lock(&self.read);
        known.map_or_else(|| Timestamp(now_ms()), Reading::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Ahead(AtomicUsize);

    impl DatabaseClock for Ahead {
        fn time(&self) -> Result<Timestamp, Unavailable> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Timestamp(now_ms() + 600_000))
        }
    }

    #[test]
    fn one_reading_is_used_for_seconds_and_goes_on() {
        let source = Arc::new(Ahead(AtomicUsize::new(0)));
        let clock = SharedClock::new(Arc::clone(&source) as _);
        let first = clock.now().unwrap();
        let mut last = first;
        while last.0 < first.0 + 20 {
            last = clock.now().unwrap();
        }
        let known = clock.known();
        assert!((last.0..last.0 + 1_000).contains(&known.0));
        assert!((known.0 - now_ms() - 600_000).abs() < 1_000);
        assert_eq!(source.0.load(Ordering::Relaxed), 1);
    }
}
