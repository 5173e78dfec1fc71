//! The clock for the time of records, and whether it is plausible.
//!
//! A record's time is the system's, but never before the newest record of the journal, so that a clock that was set
//! back a little does not date new messages before old ones. Until the system's clock has caught up, this one runs at
//! nine tenths of its speed. A difference beyond [`HELD_MAX`] is not made up for: then one of the two times is wrong,
//! and a time that was once ahead by a year must not last for a year.
//!
//! A wrong time does lasting harm: a message dated a year ahead (a boot, a connection, a status) counts as the newest
//! for a year. So chargers are refused while the system's time is before [`NO_EARLIER_THAN`], and while it differs from
//! the database's by more than `gateway.clock_off_s_max`; they keep their messages until it is corrected.

use crate::connection::control::Stop;
use crate::connection::registry::Registry;
use crate::metrics::Metrics;
use central::Timestamp;
use central::ports::DirectorySource;
use common::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A clock that shows an earlier time is wrong, because this release is newer: 2026-01-01T00:00:00Z.
const NO_EARLIER_THAN: Timestamp = Timestamp(1_767_225_600_000);

/// If the system's clock is behind the newest record by more than this, it or the record's time is wrong, and the
/// system's time is used. Chargers are told the held time, so it must not be wrong by much, nor for long.
const HELD_MAX: Duration = Duration::from_secs(5 * 60);

static CLOCK: Clock = Clock(Mutex::new(None));

/// The time now for records and stations: the system's time, but not before any time returned earlier.
pub(crate) fn wall_clock() -> Timestamp {
    CLOCK.now(system(), Instant::now())
}

/// Keeps [`wall_clock`] from returning a time before `newest`, that of the newest record.
pub(crate) fn hold(newest: Timestamp) {
    CLOCK.hold(newest, Instant::now());
}

/// The system's time.
fn system() -> Timestamp {
    Timestamp(common::clock::now_ms())
}

/// The newest time that was returned, in nanoseconds, and when.
struct Clock(Mutex<Option<(i128, Instant)>>);

impl Clock {
    fn hold(&self, newest: Timestamp, now: Instant) {
        let mut held = lock(&self.0);
        let newest = nanos(newest);
        if held.is_none_or(|(last, _)| last < newest) {
            *held = Some((newest, now));
        }
    }

    fn now(&self, system: Timestamp, now: Instant) -> Timestamp {
        let mut held = lock(&self.0);
        let system = nanos(system);
        let time = match *held {
            Some((last, at)) => {
                let passed = now.saturating_duration_since(at).as_nanos();
                let floor = last + i128::try_from(passed / 10 * 9).unwrap_or(0);
                let is_held = floor > system && floor - system <= HELD_MAX.as_nanos().cast_signed();
                if is_held { floor } else { system }
            }
            None => system,
        };
        *held = Some((time, now));
        Timestamp(i64::try_from(time / 1_000_000).unwrap_or(i64::MAX))
    }
}

fn nanos(at: Timestamp) -> i128 {
    i128::from(at.as_millis()) * 1_000_000
}

/// Whether the system's time is plausible.
pub(crate) struct ClockCheck {
    /// By how much it may differ from the database's; zero: by any amount.
    off_max: Duration,
    /// The time of the journal's newest record at the start.
    newest: Timestamp,
    /// The database's time, and when it was asked.
    database: Mutex<Option<(Timestamp, Instant)>>,
}

impl ClockCheck {
    pub(crate) const fn new(off_max: Duration, newest: Timestamp) -> Self {
        Self {
            off_max,
            newest,
            database: Mutex::new(None),
        }
    }

    /// Asks the database for its time. Blocks. Changes nothing if the database is unavailable or has no clock of its
    /// own.
    pub(crate) fn ask(&self, source: &dyn DirectorySource) {
        let asked = Instant::now();
        if let Ok(Some(time)) = source.clock() {
            let answered = asked + asked.elapsed() / 2;
            *lock(&self.database) = Some((time, answered));
        }
    }

    /// Why chargers are refused because of the clock, if they are.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal_at(system(), Instant::now())
    }

    fn refusal_at(&self, system: Timestamp, now: Instant) -> Option<String> {
        if system < NO_EARLIER_THAN {
            return Some(format!(
                "The clock of this machine shows {system}, which is before this program was made; set it (is \
                 its time service running?)."
            ));
        }
        let database = *lock(&self.database);
        let (time, asked) = database?;
        let passed = now.saturating_duration_since(asked).as_millis();
        let expected = time.plus_millis(i64::try_from(passed).unwrap_or(i64::MAX));
        let off = system.as_millis().abs_diff(expected.as_millis());
        if self.off_max.is_zero() || u128::from(off) <= self.off_max.as_millis() {
            return None;
        }
        Some(format!(
            "The clock of this machine shows {system} and that of the database {expected}; set the one that is \
             wrong, or allow for it with gateway.clock_off_s_max."
        ))
    }

    /// A warning about the clock for health, although chargers are accepted.
    pub(crate) fn note(&self) -> Option<String> {
        self.note_at(system())
    }

    fn note_at(&self, system: Timestamp) -> Option<String> {
        let behind = self.newest.as_millis().saturating_sub(system.as_millis());
        let max = i64::try_from(HELD_MAX.as_millis()).unwrap_or(i64::MAX);
        (behind > max).then(|| {
            format!(
                "the clock of this machine shows {system}, and the newest record of the journal is of {}: one of \
                 the two times is wrong",
                self.newest
            )
        })
    }
}

/// Compares the clock with the database's regularly. When it goes wrong, all connections are closed.
pub(crate) async fn watch(
    source: Arc<dyn DirectorySource>,
    clock: Arc<ClockCheck>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    every: Duration,
) {
    let mut was_refusing = false;
    if let Some(note) = clock.note() {
        tracing::error!("{note}");
    }
    loop {
        let (source, asking) = (Arc::clone(&source), Arc::clone(&clock));
        let asked = tokio::task::spawn_blocking(move || asking.ask(&*source));
        if asked.await.is_err() {
            tracing::error!("asking the database for its time panicked");
        }
        let refusal = clock.refusal();
        let is_wrong = u8::from(refusal.is_some());
        metrics.clock_wrong.set(f64::from(is_wrong));
        match (&refusal, was_refusing) {
            (Some(why), false) => {
                tracing::error!("chargers are refused: {why}");
                stop_all(&registry);
            }
            (None, true) => tracing::info!("the clock is right again: chargers may connect"),
            _ => {}
        }
        was_refusing = refusal.is_some();
        tokio::time::sleep(every).await;
    }
}

fn stop_all(registry: &Registry) {
    for control in registry.all() {
        control.stop(Stop::Shutdown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::ports::{DirectorySnapshot, Token, Unavailable};

    const NOON: Timestamp = Timestamp(NO_EARLIER_THAN.0 + 10 * 86_400_000);
    const HOUR: i64 = 3_600_000;
    /// Little enough to be held.
    const LITTLE: i64 = 240_000;

    #[test]
    fn time_does_not_go_back_when_the_clock_is_set_back_a_little() {
        let clock = Clock(Mutex::new(None));
        let start = Instant::now();
        clock.hold(NOON, start);
        // A little behind. Asked often: no time is lost by rounding.
        let mut last = NOON;
        for ms in 1..=10_000 {
            let now = start + Duration::from_millis(ms);
            let ms = ms.cast_signed();
            let time = clock.now(NOON.plus_millis(ms - LITTLE), now);
            assert!(time >= last, "{time} after {last}");
            last = time;
        }
        assert_eq!(last, NOON.plus_millis(9_000), "it goes on, more slowly");
        // After ten times as long the two are one.
        let later = start + Duration::from_millis(11 * LITTLE.unsigned_abs());
        let system = NOON.plus_millis(10 * LITTLE);
        assert_eq!(clock.now(system, later), system);
    }

    #[test]
    fn a_record_from_far_ahead_does_not_hold_the_clock() {
        let clock = Clock(Mutex::new(None));
        let start = Instant::now();
        let ahead = NOON.plus_millis(365 * 24 * HOUR);
        clock.hold(ahead, start);
        assert_eq!(clock.now(NOON, start), NOON);
        // From then on time does not go back either.
        assert_eq!(clock.now(NOON.plus_millis(-LITTLE), start), NOON);
        // A difference of hours is not held: chargers are told this time.
        let hours = NOON.plus_millis(-9 * HOUR);
        assert_eq!(clock.now(hours, start), hours);
        let check = ClockCheck::new(Duration::from_secs(86_400), ahead);
        assert_eq!(check.refusal_at(NOON, start), None, "not for a year");
        assert!(
            check
                .note_at(NOON)
                .is_some_and(|note| note.contains("newest record"))
        );
        let check = ClockCheck::new(Duration::from_secs(86_400), NOON.plus_millis(LITTLE));
        assert_eq!(check.note_at(NOON), None);
    }

    struct Source(Timestamp);

    impl DirectorySource for Source {
        fn running(
            &self,
            _: bool,
            _: central::Timestamp,
        ) -> Result<Vec<central::running::RunningTransaction>, Unavailable> {
            Ok(Vec::new())
        }

        fn load(&self, _: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable> {
            Ok(None)
        }

        fn token(&self, _: &str) -> Result<Option<Token>, Unavailable> {
            Ok(None)
        }

        fn clock(&self) -> Result<Option<Timestamp>, Unavailable> {
            Ok(Some(self.0))
        }
    }

    #[test]
    fn chargers_are_refused_while_the_clock_is_implausible_or_far_from_the_databases() {
        let check = ClockCheck::new(Duration::from_secs(86_400), Timestamp(0));
        let refused = |system| check.refusal_at(system, Instant::now());
        assert!(refused(Timestamp(HOUR)).is_some_and(|why| why.contains("1970-01-01T01")));
        assert!(refused(NO_EARLIER_THAN.plus_millis(-1)).is_some());
        assert_eq!(refused(NOON), None, "no database was asked yet");
        check.ask(&Source(NOON));
        for off in [-23 * HOUR, 0, 23 * HOUR] {
            assert_eq!(refused(NOON.plus_millis(off)), None, "{off}");
        }
        let year = 365 * 24 * HOUR;
        let why = refused(NOON.plus_millis(year)).expect("a year ahead");
        assert!(why.contains("gateway.clock_off_s_max"), "{why}");
        // The database says no more, and the clock is still wrong, or was put right.
        let later = Instant::now() + Duration::from_secs(30 * 86_400);
        let month = 30 * 24 * HOUR;
        assert!(check.refusal_at(NOON, later).is_some());
        assert_eq!(check.refusal_at(NOON.plus_millis(month), later), None);
        // Whoever has no clock to compare with may say so.
        let lax = ClockCheck::new(Duration::ZERO, Timestamp(0));
        lax.ask(&Source(NOON));
        assert_eq!(lax.refusal_at(NOON.plus_millis(year), later), None);
    }
}
