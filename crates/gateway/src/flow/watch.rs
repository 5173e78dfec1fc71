//! The gateway's regular task: several times a second it sets the pace, updates the gauges, and checks whether the
//! journal still accepts records. When it does not, all connections are closed at once (rule Q-13).

use crate::admission::Starts;
use crate::clock::wall_clock;
use crate::connection::control::Stop;
use crate::connection::registry::Registry;
use crate::delivery::failover::queued_now;
use crate::delivery::status::DeliveryStatus;
use crate::flow::controller::{Controller, Sample};
use crate::flow::pace::{STUCK, TICK};
use crate::parts::Parts;
use central::Seq;
use journal::{AppendError, Journal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Gauges are updated every `GAUGES_EVERY` ticks.
const GAUGES_EVERY: u32 = 10;
/// Messages of chargers that are not accepted while messages are paced, as a share of the pace.
const UNACCEPTED_SHARE: f64 = 0.125;
/// How long connections may take to close before the failure is reported.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs until the journal has failed, and then sends the reason through `failed`.
pub(crate) async fn run(parts: Arc<Parts>, failed: watch::Sender<Option<String>>) {
    let began = Instant::now();
    let mut controller = Controller::new(pace_from(&parts));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut disk = DiskWatch::new(began);
    let mut count: u32 = 0;
    loop {
        ticks.tick().await;
        if let Some(why) = parts.delivery.journal.poisoned() {
            tracing::error!(why, "the journal stopped: closing all connections");
            parts.admission.stopping.store(true, Ordering::SeqCst);
            stop_all(&parts, Stop::Poisoned);
            parts.admission.connections.close();
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, parts.admission.connections.wait()).await;
            failed.send_replace(Some(format!("the journal stopped: {why}")));
            return;
        }
        let status = parts.delivery.journal.status();
        let stalled_for = disk.stalled_for(Instant::now(), status.appended_seq, status.durable_seq);
        watch_room(&parts, stalled_for);

        let backlog = parts.delivery.backlog();
        let record_bytes = parts.delivery.status.record_bytes();
        let backlog_bytes = backlog.saturating_mul(record_bytes);
        // An unknown queue length does not count.
        let queued = queued_now(&*parts.delivery.sink).unwrap_or(0);
        let rate = controller.tick(
            began.elapsed(),
            Sample {
                backlog_bytes,
                record_bytes,
                headroom_records: status.bytes_max.saturating_sub(status.used_bytes) / record_bytes,
                delivered: parts.delivery.status.delivered(),
                queued,
                sink_healthy: is_healthy(&parts.delivery.status, queued),
            },
        );
        let now = Instant::now();
        parts.flow.pace.set(rate, now);
        // While more arrives than can be stored, chargers that are not accepted get a small share.
        let unaccepted = f64::from(parts.config.unaccepted_per_second);
        let share = rate.map_or(unaccepted, |rate| rate * UNACCEPTED_SHARE);
        parts.flow.unaccepted.set(Some(unaccepted.min(share)), now);

        count = count.wrapping_add(1);
        if count.is_multiple_of(GAUGES_EVERY) {
            let metrics = &parts.metrics;
            metrics.connections.set(parts.registry.connected() as f64);
            metrics.unknown_connections(parts.admission.unknown_connections.count());
            metrics.backlog_records.set(backlog as f64);
            metrics.backlog_bytes.set(backlog_bytes as f64);
            metrics.queued_records.set(queued as f64);
            metrics.pace_rate.set(rate.unwrap_or(0.0));
            metrics
                .pending_handshakes
                .set(parts.admission.pending_handshakes.len() as f64);
            metrics
                .lingering
                .set(parts.admission.lingering.count() as f64);
            let directory = &parts.directory;
            let is_loaded = u8::from(directory.is_loaded());
            metrics.directory_loaded.set(f64::from(is_loaded));
            let age = directory.age().unwrap_or_default();
            metrics.directory_age.set(age.as_secs_f64());
            metrics
                .waiting_messages
                .set(parts.flow.pace.waiting() as f64);
            parts.flow.budget.report();
            let damaged = parts
                .delivery
                .verified
                .damaged(Seq(parts.delivery.journal.cursor()));
            metrics.journal_damaged_places.set(damaged.positions as f64);
        }
    }
}

/// Whether the sink works. One that is full while consumers work on `queued` records is slow, not unavailable.
fn is_healthy(status: &DeliveryStatus, queued: u64) -> bool {
    let is_slow = queued > 0 && status.is_full();
    is_slow || status.healthy(STUCK)
}

/// Whether the disk still makes progress. A disk that hangs is as bad for chargers as a full one: each unanswered
/// call uses up one of their few attempts (rules Q-6, H-11).
struct DiskWatch {
    durable: u64,
    sampled_at: Instant,
    stalled_for: Duration,
}

impl DiskWatch {
    fn new(now: Instant) -> Self {
        Self {
            durable: 0,
            sampled_at: now,
            stalled_for: Duration::ZERO,
        }
    }

    /// How long records have waited for the disk without progress. A late sample counts as one in time: then this
    /// process was stalled, not the disk.
    fn stalled_for(&mut self, now: Instant, appended: u64, durable: u64) -> Duration {
        let since_last = now.saturating_duration_since(self.sampled_at).min(TICK * 2);
        self.sampled_at = now;
        if durable != self.durable || durable >= appended {
            self.durable = durable;
            self.stalled_for = Duration::ZERO;
        } else {
            self.stalled_for += since_last;
        }
        self.stalled_for
    }
}

fn watch_room(parts: &Parts, stalled_for: Duration) {
    let full = parts.delivery.journal.full();
    let is_stalled = stalled_for >= parts.config.durable_timeout();
    let failure = match full {
        Some(reason) => Some(reason.to_string()),
        None if is_stalled => Some(format!(
            "the journal's disk has made no progress for {} ms",
            stalled_for.as_millis()
        )),
        None => None,
    };
    let was_failing = parts.admission.not_durable.load(Ordering::SeqCst);
    match failure {
        Some(reason) if !was_failing => {
            // Set the flag before closing connections: see `admission::begin`.
            parts.admission.not_durable.store(true, Ordering::SeqCst);
            tracing::error!(
                reason,
                connections = parts.registry.connected(),
                "closing all connections: their messages cannot be stored"
            );
            stop_all(parts, Stop::NotDurable);
        }
        None if parts.admission.starts.are_missing() => {
            // The record of a connection's end was refused, and the charger must not count as connected for ever. The
            // record of a start ends all connections, so none may be open meanwhile.
            if !was_failing {
                parts.admission.not_durable.store(true, Ordering::SeqCst);
                tracing::error!(
                    connections = parts.registry.connected(),
                    "closing all connections: the end of one could not be recorded"
                );
                stop_all(parts, Stop::NotDurable);
            }
            match record_start(
                &parts.delivery.journal,
                &parts.registry,
                &parts.admission.starts,
            ) {
                Ok(()) => reopen(parts),
                // Retried at the next tick.
                Err(error) => tracing::debug!(%error, "a new start could not be recorded"),
            }
        }
        None if was_failing => reopen(parts),
        Some(_) | None => {}
    }
}

fn reopen(parts: &Parts) {
    tracing::info!("the journal accepts records again: chargers may connect");
    parts.admission.not_durable.store(false, Ordering::SeqCst);
}

/// Records that the gateway starts, and so that all its earlier connections have ended.
///
/// # Errors
/// As the journal says; then `starts` are missing until it succeeds.
pub(crate) fn record_start(
    journal: &Journal,
    registry: &Registry,
    starts: &Starts,
) -> Result<(), AppendError> {
    let now = wall_clock();
    let epoch = registry.next_epoch(now.as_millis().unsigned_abs());
    match journal.append(&central::record::gateway_started(now, epoch), None) {
        Ok(_) => {
            starts.record(epoch);
            Ok(())
        }
        Err(error) => {
            starts.refuse(epoch);
            Err(error)
        }
    }
}

fn stop_all(parts: &Parts, why: Stop) {
    for control in parts.registry.all() {
        control.stop(why);
    }
}

fn pace_from(parts: &Parts) -> u64 {
    parts.config.pace_from_bytes.unwrap_or_else(|| {
        let max = parts.delivery.journal.status().bytes_max;
        (max / 8).min(256 << 20)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::failover::QUEUED_FRESH;
    use central::ports::{Batch, BoxFuture, Queued, Sink, Unavailable, UnavailableKind};

    struct Reported(Option<Queued>);

    impl Sink for Reported {
        fn deliver(&self, _batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>> {
            unreachable!("nothing is delivered here")
        }

        fn queued(&self) -> Option<Queued> {
            self.0
        }
    }

    #[test]
    fn a_full_sink_counts_as_slow_only_while_its_queue_length_is_current() {
        let unavailable = |kind| Unavailable {
            component: "RabbitMQ",
            kind,
            detail: "told so by the test".into(),
        };
        let read = |records, age: Duration| {
            let at = Instant::now().checked_sub(age).expect("a clock that old");
            queued_now(&Reported(Some(Queued { records, at }))).unwrap_or(0)
        };
        let delivery = DeliveryStatus::default();
        assert!(is_healthy(&delivery, 0));
        delivery.refused(unavailable(UnavailableKind::Full));
        assert!(is_healthy(&delivery, read(5_000, Duration::ZERO)));
        assert!(!is_healthy(&delivery, read(0, Duration::ZERO)));
        let old = QUEUED_FRESH + Duration::from_millis(1);
        assert!(!is_healthy(&delivery, read(5_000, old)), "too old");
        let unknown = queued_now(&Reported(None)).unwrap_or(0);
        assert!(!is_healthy(&delivery, unknown), "unknown");
        delivery.refused(unavailable(UnavailableKind::Unreachable));
        assert!(!is_healthy(&delivery, read(5_000, Duration::ZERO)));
    }

    #[test]
    fn a_disk_stalls_only_while_something_waits_and_nothing_moves() {
        let start = Instant::now();
        let mut disk = DiskWatch::new(start);
        let mut at = start;
        let mut sample = |after: Duration, appended, durable| {
            at += after;
            disk.stalled_for(at, appended, durable)
        };
        assert_eq!(sample(TICK, 5, 5), Duration::ZERO);
        assert_eq!(
            sample(Duration::from_secs(60), 5, 5),
            Duration::ZERO,
            "idle"
        );
        assert_eq!(sample(TICK, 9, 5), TICK);
        assert_eq!(sample(TICK, 12, 5), TICK * 2);
        assert_eq!(
            sample(Duration::from_secs(60), 12, 5),
            TICK * 4,
            "this process was stalled"
        );
        assert_eq!(sample(TICK, 12, 6), Duration::ZERO, "progress");
    }
}
