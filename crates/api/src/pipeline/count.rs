//! Counts how many of each gateway's records the database has.
//!
//! Sequence numbers have no gaps. So it is enough to know up to where every number is stored, and to count the numbers
//! after that. A count reads at most [`RECORDS_MAX`] numbers: while more are missing, the result is not known.

use central::model::GatewayReport;
use central::pipeline::Counted;
use central::ports::{Processes, Unavailable};
use central::{GatewayId, Seq};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Dead letters that are counted at most.
pub(crate) const DEAD_LETTERS_MAX: u64 = 100_000;
/// Records that one count reads at most.
const RECORDS_MAX: u64 = 1_000_000;
/// Numbers in a step of the search for the first that is missing.
const STEP: u64 = 10_000;
/// Steps in one round: a gateway that was not counted before catches up over several rounds.
const STEPS_MAX: u64 = 50;
/// The database keeps the number up to which all is stored; it is written again when it has grown by so much, or after
/// [`NOTED_AFTER`] if it has grown at all.
const NOTED_EVERY: u64 = 10_000;
/// Much shorter than the shortest retention, a day: after a restart, no record that was counted and is deleted since counts
/// as missing.
const NOTED_AFTER: Duration = Duration::from_secs(60);
/// Records that were delivered earlier than this and are not stored are missing.
const MISSING_AFTER: Duration = Duration::from_secs(60);

/// What was counted so far.
#[derive(Default)]
pub(crate) struct Counts(HashMap<GatewayId, Count>);

#[derive(Default)]
struct Count {
    /// Whether the number in the database was read.
    is_begun: bool,
    /// Every record up to here is stored.
    all_stored: u64,
    /// The same as the database has it.
    noted: u64,
    /// When it was written there last, or read.
    noted_at: Option<Instant>,
    /// When the gateway had delivered how much, oldest first; for about a minute.
    delivered: VecDeque<(Instant, u64)>,
}

impl Counts {
    pub(crate) fn keep_only(&mut self, gateways: impl Iterator<Item = GatewayId>) {
        let gateways: Vec<GatewayId> = gateways.collect();
        self.0.retain(|gateway, _| gateways.contains(gateway));
    }

    /// Counts the records that `report` says are delivered; a text says why that is not possible.
    pub(crate) fn count(
        &mut self,
        processes: &dyn Processes,
        report: &GatewayReport,
    ) -> Result<Result<Counted, String>, Unavailable> {
        let count = self.0.entry(report.id).or_default();
        if !count.is_begun {
            let known = processes.processes()?;
            let row = known.iter().find(|one| one.report.id == report.id.0);
            let noted = row.map_or(0, |one| one.all_stored.0);
            // Earlier records of a gateway that was never counted may be past the retention.
            (count.noted, count.all_stored) = (
                noted,
                noted.max(report.delivered.saturating_sub(RECORDS_MAX)),
            );
            count.is_begun = true;
        }
        count.run(processes, report, Instant::now())
    }
}

impl Count {
    fn run(
        &mut self,
        processes: &dyn Processes,
        report: &GatewayReport,
        now: Instant,
    ) -> Result<Result<Counted, String>, Unavailable> {
        let (id, delivered) = (report.id, report.delivered);
        let stored_after = |low: u64, upto: u64| match low < upto {
            true => processes.count_stored(id, Seq(low + 1), Seq(upto)),
            false => Ok(0),
        };
        let mut has_gap = false;
        for _ in 0..STEPS_MAX {
            let low = self.all_stored;
            let upto = delivered.min(low + STEP);
            if low >= upto {
                break;
            }
            if stored_after(low, upto)? == upto - low {
                self.all_stored = upto;
                continue;
            }
            // The first number of this step that is missing.
            let (mut all, mut some) = (low, upto);
            while all + 1 < some {
                let middle = all.midpoint(some);
                match stored_after(low, middle)? == middle - low {
                    true => all = middle,
                    false => some = middle,
                }
            }
            self.all_stored = all;
            has_gap = true;
            break;
        }
        let noted_at = *self.noted_at.get_or_insert(now);
        let is_due = now.saturating_duration_since(noted_at) >= NOTED_AFTER;
        if self.all_stored >= self.noted + NOTED_EVERY || (is_due && self.all_stored > self.noted) {
            processes.set_all_stored(id, Seq(self.all_stored))?;
            (self.noted, self.noted_at) = (self.all_stored, Some(now));
        }
        self.delivered.push_back((now, delivered));
        let minute_ago = self.minute_ago(now);
        if self.all_stored < delivered && !has_gap {
            return Ok(Err("its records are being counted".to_owned()));
        }
        let low = self.all_stored;
        if delivered.saturating_sub(low) > RECORDS_MAX {
            return Ok(Err(format!(
                "more than {RECORDS_MAX} of its records are after the first that is not stored, {}",
                low + 1
            )));
        }
        let missing = match minute_ago {
            None => None,
            Some(upto) => {
                let after = upto.saturating_sub(low);
                Some(after.saturating_sub(stored_after(low, upto)?))
            }
        };
        Ok(Ok(Counted {
            durable: report.durable,
            delivered,
            // A gateway that was restored from an older copy has delivered less than is stored.
            stored: low.min(delivered) + stored_after(low, delivered)?,
            all_stored: low.min(delivered),
            missing,
            is_of_start: false,
        }))
    }

    /// How much was delivered at least a minute ago; `None` if it is not known.
    fn minute_ago(&mut self, now: Instant) -> Option<u64> {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= MISSING_AFTER;
        while self.delivered.get(1).is_some_and(|(at, _)| is_old(*at)) {
            self.delivered.pop_front();
        }
        let (at, delivered) = self.delivered.front()?;
        // Nothing delivered a minute ago is missing if all that was delivered is stored.
        (is_old(*at) || self.all_stored >= *delivered).then_some(*delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::Timestamp;
    use central::model::{ProcessReport, ProcessRole};
    use central::ports::KnownProcess;
    use common::lock::lock;
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use uuid::Uuid;

    /// The numbers that are stored, and the number up to which all are, as it was noted.
    #[derive(Default)]
    struct Stored(Mutex<BTreeSet<u64>>, Mutex<u64>);

    impl Stored {
        fn of(numbers: impl Iterator<Item = u64>) -> Self {
            Self(Mutex::new(numbers.collect()), Mutex::default())
        }
    }

    impl Processes for Stored {
        fn report_process(&self, _: &ProcessReport) -> Result<(), Unavailable> {
            Ok(())
        }

        fn processes(&self) -> Result<Vec<KnownProcess>, Unavailable> {
            Ok(vec![KnownProcess {
                report: ProcessReport {
                    id: Uuid::from_u128(1),
                    role: ProcessRole::Gateway,
                    host: "host".to_owned(),
                    version: "1".to_owned(),
                    started_at: Timestamp(1),
                    at: Timestamp(1),
                    has_stopped: false,
                    parts: Vec::new(),
                    gateway: None,
                    consumed_records: None,
                    queues: None,
                    figures_milli: std::collections::BTreeMap::new(),
                    restarts: Vec::new(),
                },
                age_ms: 0,
                all_stored: Seq(*lock(&self.1)),
                is_retired: false,
            }])
        }

        fn set_all_stored(&self, _: GatewayId, upto: Seq) -> Result<(), Unavailable> {
            let stored = lock(&self.0);
            assert!((*lock(&self.1) + 1..=upto.0).all(|number| stored.contains(&number)));
            *lock(&self.1) = upto.0;
            Ok(())
        }

        fn retire_process(
            &self,
            _: GatewayId,
            _: u64,
            _: &central::model::Origin,
        ) -> Result<(), Unavailable> {
            Ok(())
        }

        fn count_stored(&self, _: GatewayId, first: Seq, last: Seq) -> Result<u64, Unavailable> {
            assert!(first <= last && last.0 - first.0 < RECORDS_MAX);
            Ok(lock(&self.0).range(first.0..=last.0).count() as u64)
        }

        fn count_dead_letters(&self, _: u64) -> Result<u64, Unavailable> {
            Ok(0)
        }
    }

    fn report(delivered: u64) -> GatewayReport {
        GatewayReport {
            id: GatewayId(Uuid::from_u128(1)),
            connected: 0,
            written: delivered + 5,
            durable: delivered + 5,
            delivered,
            undelivered_bytes: 0,
            bytes_max: 1,
            oldest_age_ms: None,
            route: None,
            listeners: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_missing_a_minute_after_its_delivery_and_not_before() {
        let stored = Stored::of((1..=30).filter(|number| *number != 20));
        let mut count = Count::default();
        let start = Instant::now();
        let mut run = |seconds, delivered| {
            let now = start + Duration::from_secs(seconds);
            let counted = count.run(&stored, &report(delivered), now);
            counted.expect("memory").expect("few records")
        };
        let early = run(0, 30);
        assert_eq!((early.all_stored, early.stored), (19, 29));
        assert_eq!(early.missing, None, "it is not known yet");
        assert_eq!(run(59, 30).missing, None);
        assert_eq!(run(60, 30).missing, Some(1));
        lock(&stored.0).insert(20);
        let late = run(65, 30);
        assert_eq!((late.all_stored, late.stored), (30, 30));
        assert_eq!(late.missing, Some(0));
        // Records that were just delivered are not missing.
        let busy = run(70, 90);
        assert_eq!(
            (busy.all_stored, busy.stored, busy.missing),
            (30, 30, Some(0))
        );
    }

    #[test]
    fn records_that_the_retention_deleted_are_not_missing_after_a_restart() {
        let stored = Stored::of(1..=30);
        let mut count = Count::default();
        let start = Instant::now();
        for seconds in [0, 60] {
            let now = start + Duration::from_secs(seconds);
            let counted = count.run(&stored, &report(30), now);
            assert_eq!(counted.expect("memory").expect("few").stored, 30);
        }
        // A day later the retention deletes them, and the process starts again.
        *lock(&stored.0) = (31..=40).collect();
        let counted = Counts::default().count(&stored, &report(40));
        let counted = counted.expect("memory").expect("few records");
        assert_eq!((counted.stored, counted.missing), (40, Some(0)));
    }

    #[test]
    fn a_long_history_is_counted_over_several_rounds_and_the_first_gap_is_found_exactly() {
        let gap = STEP * STEPS_MAX + 12_345;
        let delivered = gap + 20_000;
        let stored = Stored::of((1..=delivered).filter(|number| *number != gap));
        let mut count = Count::default();
        let mut run = || count.run(&stored, &report(delivered), Instant::now());
        assert!(
            run().expect("memory").is_err(),
            "the first round does not reach the end"
        );
        let counted = run().expect("memory").expect("counted");
        assert_eq!(counted.all_stored, gap - 1);
        assert_eq!(counted.stored, delivered - 1);
    }
}
