//! How long rows are kept, and the time by which that is decided, the same for both databases.

use central::Timestamp;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how many days rows are kept; 0 = without a limit. An open transaction and a queued command are always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Messages, meter values, events that chargers reported, dead letters. Default 0.
    pub records_days: u32,
    /// Commands that are no longer queued, and what records say of them. Default 0.
    pub commands_days: u32,
    /// Transactions, from their end or from the latest message about them. Default 0.
    pub transactions_days: u32,
    /// Entries of the audit log. Its latest 100,000 are kept at most, whatever this is. Default 0.
    pub audit_days: u32,
}

impl Retention {
    /// Whether everything is kept.
    pub(crate) fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// How many rows the next slice of the retention has. One that takes long makes the following ones smaller, so that a slow
/// disk, large rows or a busy database make nobody wait for longer. It has a lower bound, because a part of the time does not
/// depend on the rows: where that part alone takes too long, smaller slices gain nothing, and the retention would not keep up.
#[derive(Debug)]
pub(crate) struct Pace {
    rows: usize,
    bounds: RangeInclusive<usize>,
    time: Duration,
}

/// Rows of the first slice, within the bounds.
const ROWS_FIRST: usize = 64;

impl Pace {
    /// Slices of a number of rows within these bounds, which aim at this time.
    pub(crate) fn new(bounds: RangeInclusive<usize>, time: Duration) -> Self {
        Self {
            rows: ROWS_FIRST.clamp(*bounds.start(), *bounds.end()),
            bounds,
            time,
        }
    }

    /// The rows of the next slice.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// Adapts the size to the time that a slice has taken.
    pub(crate) fn took(&mut self, took: Duration) {
        self.rows = match took > self.time {
            true => (self.rows / 2).max(*self.bounds.start()),
            false => (self.rows * 2).min(*self.bounds.end()),
        };
    }
}

/// For each hour that a process runs, its retention goes on by this many hours at most.
const HOURS_FOR_ONE: u64 = 24;

/// The time that a round of the retention goes by.
///
/// A clock that is ahead by much must not delete everything before somebody can notice. No clock can be asked whether
/// another one is right, but a process knows how long it has run. So the time of the last round is kept in the database, and
/// the next round goes by at most a day more for each hour that this process has run since its own last round. What ran
/// before a restart is not counted: a process that is started again and again proves no time.
#[derive(Debug)]
pub(crate) struct RoundClock {
    /// The end of this process's last round that has succeeded; at first, when the store was opened.
    since: Mutex<Instant>,
}

impl RoundClock {
    pub(crate) fn start() -> Self {
        Self {
            since: Mutex::new(Instant::now()),
        }
    }

    /// The time that a round goes by, of which the clock says that it is `now`. `last` is the time of the last round of any
    /// process; if there was none, the newest time of which the database has evidence.
    pub(crate) fn believed(&self, now: Timestamp, last: Option<Timestamp>) -> Timestamp {
        believed(now, last, self.lock().elapsed())
    }

    /// A round has succeeded. One that fails is tried again after seconds, and goes by the same time.
    pub(crate) fn round_done(&self) {
        *self.lock() = Instant::now();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn believed(now: Timestamp, last: Option<Timestamp>, ran: Duration) -> Timestamp {
    let Some(last) = last else {
        return now;
    };
    let further = ran.as_millis().saturating_mul(u128::from(HOURS_FOR_ONE));
    let further = i64::try_from(further).unwrap_or(i64::MAX);
    Timestamp(now.0.min(last.0.saturating_add(further)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MILLIS: i64 = 3_600_000;

    #[test]
    fn slices_that_take_long_become_smaller_and_grow_again() {
        let mut pace = Pace::new(1..=200, Duration::from_millis(20));
        let mut after = |ms| {
            pace.took(Duration::from_millis(ms));
            pace.rows()
        };
        assert_eq!([after(1), after(20), after(1)], [128, 200, 200]);
        assert_eq!([after(21), after(900), after(1)], [100, 50, 100]);
        assert_eq!((0..20).map(|_| after(21)).last(), Some(1));
    }

    #[test]
    fn a_database_whose_every_call_takes_long_gets_slices_of_the_lower_bound() {
        let mut pace = Pace::new(500..=5_000, Duration::from_millis(100));
        assert_eq!(pace.rows(), 500, "the first one");
        let mut after = |ms| {
            pace.took(Duration::from_millis(ms));
            pace.rows()
        };
        assert_eq!([after(1), after(1), after(150)], [1_000, 2_000, 1_000]);
        assert_eq!((0..20).map(|_| after(150)).last(), Some(500));
    }

    #[test]
    fn the_retention_goes_on_by_a_day_for_each_hour_that_the_process_ran() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let last = Timestamp(1_000 * HOUR_MILLIS);
        let at =
            |now: i64, ran| believed(Timestamp(now * HOUR_MILLIS), Some(last), ran).0 / HOUR_MILLIS;
        assert_eq!(at(1_001, hours(1)), 1_001, "the clock is right");
        assert_eq!(at(9_999, hours(1)), 1_024, "it is a year ahead");
        assert_eq!(at(9_999, Duration::ZERO), 1_000, "just started");
        assert_eq!(at(990, hours(1)), 990, "it is behind");
        let never = believed(last, None, Duration::ZERO);
        assert_eq!(never, last, "an empty database");
        let far = believed(
            Timestamp(i64::MAX),
            Some(Timestamp(i64::MAX - 1)),
            Duration::MAX,
        );
        assert_eq!(far, Timestamp(i64::MAX));
    }
}
