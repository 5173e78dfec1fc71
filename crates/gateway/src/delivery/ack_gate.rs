//! When the answer to a record may be sent: the condition that `durability` sets, and the connections that wait
//! for it.
//!
//! Every record passes the journal. With `durability = "journal"` an answer waits for the journal's sync, and the
//! journal's writer wakes the connection; this module then costs one comparison. With `"broker"` an answer waits
//! until the sink has confirmed the record, that is until the journal's cursor has passed it. Waiting connections
//! are in one list ordered by sequence number, so that each move of the cursor wakes exactly those whose record it
//! has passed.
//!
//! ```text
//!             the sink refuses, or the oldest answer waits longer than `durability_wait`
//!   confirmed ─────────────────────────────────────────────────────────────────────────▶ fallback
//!             ◀─────────────────────────────────────────────────────────────────────────
//!         for a whole `durability_wait` the sink has been less than half of it behind the journal
//! ```
//! In fallback the answers to all durable records are released at once, and new answers wait for the journal
//! alone. A released record stays released: when the fallback ends, its answer does not wait again.

use crate::config::Durability;
use crate::delivery::Delivery;
use central::Seq;
use common::lock::lock;
use journal::Journal;
use metrics::{Counter, Gauge, counter, gauge};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often the gate checks whether the oldest answer has waited too long, or the sink has caught up.
const TICK: Duration = Duration::from_millis(20);

/// A sink that has never accepted a record counts as connecting for this long after the start, or for
/// `durability_wait` if that is shorter. Its refusals then cause no fallback: a gateway that starts under a load
/// that the sink cannot take would not leave the fallback again.
const CONNECTING: Duration = Duration::from_secs(1);

/// What one record's answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The journal's sync; the journal wakes the connection.
    Journal,
    /// The sink's confirm as well; [`AckGate::wait`] wakes.
    Confirm,
}

struct Waiter {
    seq: Seq,
    since: Instant,
    waker: Waker,
}

/// The gate of one gateway.
pub(crate) struct AckGate {
    durability: Durability,
    wait_max: Duration,
    waiters: Mutex<VecDeque<Waiter>>,
    /// Until when a refusal counts as not connected yet.
    connecting_until: Instant,
    is_fallback: AtomicBool,
    /// Records up to here were released without a confirm.
    released_upto: AtomicU64,
    /// Why the last fallback began.
    reason: Mutex<String>,
    check_now: Notify,
    gauge: Gauge,
    count: Counter,
}

impl AckGate {
    pub(crate) fn new(durability: Durability, wait_max: Duration) -> Self {
        let gauge = gauge!("wattpost_gateway_durability_fallback");
        gauge.set(0.0);
        Self {
            durability,
            wait_max,
            waiters: Mutex::default(),
            connecting_until: Instant::now() + CONNECTING.min(wait_max),
            is_fallback: AtomicBool::new(false),
            released_upto: AtomicU64::new(0),
            reason: Mutex::default(),
            check_now: Notify::new(),
            gauge,
            count: counter!("wattpost_gateway_durability_fallbacks_total"),
        }
    }

    /// What the answer to a record that is appended now waits for. With [`Needs::Journal`] pass the waker to the
    /// journal, with [`Needs::Confirm`] to [`AckGate::wait`].
    pub(crate) fn needs(&self) -> Needs {
        if self.durability == Durability::Journal || self.is_fallback.load(Ordering::Relaxed) {
            return Needs::Journal;
        }
        Needs::Confirm
    }

    /// Whether answers wait for the sink, so that records should be delivered without waiting for a full batch.
    pub(crate) fn requires_broker_confirm(&self) -> bool {
        self.durability == Durability::Broker
    }

    /// Wakes `waker` once the answer to record `seq`, which was appended just now, may be sent.
    pub(crate) fn wait(&self, journal: &Journal, seq: Seq, waker: &Waker) {
        let waiter = Waiter {
            seq,
            since: Instant::now(),
            waker: waker.clone(),
        };
        let mut waiters = self.lock();
        // Appending and getting here are not one step: a later record may be in the list already.
        let behind = waiters.iter().rev().take_while(|other| other.seq > seq);
        let at = waiters.len() - behind.count();
        waiters.insert(at, waiter);
        drop(waiters);
        // The cursor may have passed it before it was in the list.
        if Seq(journal.cursor()) >= seq {
            waker.wake_by_ref();
        }
    }

    /// Whether the answer to record `seq` may be sent. `durable` is the journal's durable position.
    pub(crate) fn is_released(
        &self,
        journal: &Journal,
        needs: Needs,
        seq: Seq,
        durable: Seq,
    ) -> bool {
        seq <= durable
            && (needs == Needs::Journal
                || seq <= Seq(self.released_upto.load(Ordering::Acquire))
                || seq <= Seq(journal.cursor()))
    }

    /// The cursor has moved to `seq`.
    pub(crate) fn confirmed(&self, seq: Seq) {
        if self.requires_broker_confirm() {
            self.wake_upto(seq);
        }
    }

    /// The sink refuses, so answers shall not wait for it. `has_accepted` is whether it has ever accepted a record.
    pub(crate) fn sink_refuses(&self, why: &str, has_accepted: bool) {
        let connects = !has_accepted && Instant::now() < self.connecting_until;
        if self.requires_broker_confirm() && !connects && !self.is_fallback.load(Ordering::Relaxed)
        {
            self.enter_fallback(why);
            self.check_now.notify_one();
        }
    }

    /// Why answers are sent without a confirm now, if they are.
    pub(crate) fn fallback(&self) -> Option<String> {
        let is_fallback = self.is_fallback.load(Ordering::Relaxed);
        is_fallback.then(|| lock(&self.reason).clone())
    }

    fn enter_fallback(&self, why: &str) {
        why.clone_into(&mut lock(&self.reason));
        if self.is_fallback.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::warn!(
            why,
            "answers are sent after the journal's sync, without the sink's confirm"
        );
        self.count.increment(1);
        self.gauge.set(1.0);
    }

    fn leave_fallback(&self) {
        self.is_fallback.store(false, Ordering::SeqCst);
        tracing::info!("answers wait for the sink's confirm again");
        self.gauge.set(0.0);
    }

    /// Releases the answers to all records up to `durable`, without a confirm.
    fn release(&self, durable: Seq) {
        self.released_upto.store(durable.0, Ordering::Release);
        self.wake_upto(durable);
    }

    fn wake_upto(&self, seq: Seq) {
        let mut waiters = self.lock();
        let due = waiters.partition_point(|waiter| waiter.seq <= seq);
        if due == 0 {
            return;
        }
        let due: Vec<Waiter> = waiters.drain(..due).collect();
        drop(waiters);
        due.into_iter().for_each(|waiter| waiter.waker.wake());
    }

    /// Whether the oldest waiting record is durable and has waited too long.
    fn is_late(&self, durable: Seq, now: Instant) -> bool {
        self.lock().front().is_some_and(|first| {
            first.seq <= durable && now.saturating_duration_since(first.since) >= self.wait_max
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        lock(&self.waiters)
    }
}

/// Enters and leaves the fallback, until the gateway ends.
pub(crate) async fn run(delivery: Arc<Delivery>) {
    let gate = &delivery.ack_gate;
    if !gate.requires_broker_confirm() {
        return;
    }
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut catching_up = CatchingUp::new(gate.wait_max);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = gate.check_now.notified() => {}
        }
        let (journal, now) = (&delivery.journal, Instant::now());
        let durable = Seq(journal.durable_seq());
        let confirmed = Seq(journal.cursor());
        let sink_refuses = delivery.status.refusal().is_some();
        let has_caught_up = catching_up.sample(now, durable, confirmed) && !sink_refuses;
        if gate.is_fallback.load(Ordering::Relaxed) {
            gate.release(durable);
            if has_caught_up {
                gate.leave_fallback();
            }
        } else if gate.is_late(durable, now) {
            let bound = gate.wait_max.as_millis();
            gate.enter_fallback(&format!("no confirm for {bound} ms"));
            gate.release(durable);
            catching_up.restart(now);
        }
        if sink_refuses {
            catching_up.restart(now);
        }
    }
}

/// Whether the sink keeps up: for a whole `wait_max`, each sample found everything confirmed that was durable half
/// a `wait_max` before. Pure: time is an argument.
struct CatchingUp {
    wait_max: Duration,
    /// What was durable at the last samples, oldest first.
    seen: VecDeque<(Instant, Seq)>,
    since: Option<Instant>,
}

impl CatchingUp {
    const fn new(wait_max: Duration) -> Self {
        Self {
            wait_max,
            seen: VecDeque::new(),
            since: None,
        }
    }

    /// The sink must keep up for a whole `wait_max` from now on.
    fn restart(&mut self, now: Instant) {
        self.since = Some(now);
    }

    fn sample(&mut self, now: Instant, durable: Seq, confirmed: Seq) -> bool {
        self.seen.push_back((now, durable));
        let half = self.wait_max / 2;
        let is_old = |(at, _): &(Instant, Seq)| now.saturating_duration_since(*at) >= half;
        // Of the samples that are old enough only the newest counts.
        while self.seen.get(1).is_some_and(is_old) {
            self.seen.pop_front();
        }
        let wanted = match self.seen.front() {
            Some((at, durable)) if is_old(&(*at, *durable)) => *durable,
            // There is no sample that is old enough yet.
            _ => durable,
        };
        if confirmed < wanted {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) >= self.wait_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::sim::SimDisk;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn broker(
        journal: &Journal,
        waiting: impl IntoIterator<Item = u64>,
    ) -> (AckGate, Vec<Arc<Count>>) {
        let gate = AckGate::new(Durability::Broker, Duration::from_millis(500));
        let woken = waiting
            .into_iter()
            .map(|seq| {
                let count = Arc::new(Count::default());
                gate.wait(journal, Seq(seq), &Arc::clone(&count).into());
                count
            })
            .collect();
        (gate, woken)
    }

    fn journal() -> Journal {
        let opened = Journal::open_on(SimDisk::new(1), journal::Options::default());
        opened.expect("opens").0
    }

    fn woken(counts: &[Arc<Count>]) -> Vec<usize> {
        let each = counts.iter().map(|count| count.0.load(Ordering::SeqCst));
        each.collect()
    }

    #[test]
    fn a_confirm_wakes_exactly_the_waiters_up_to_it_once() {
        let journal = journal();
        let (gate, counts) = broker(&journal, [1, 3, 2, 5, 4]);
        gate.confirmed(Seq(3));
        assert_eq!(woken(&counts), [1, 1, 1, 0, 0]);
        gate.confirmed(Seq(3));
        gate.confirmed(Seq(4));
        assert_eq!(woken(&counts), [1, 1, 1, 0, 1]);
        gate.release(Seq(9));
        assert_eq!(woken(&counts), [1; 5]);
    }

    #[test]
    fn waiter_registered_after_confirm_is_woken() {
        let journal = journal();
        let seq = journal.append(b"record", None).expect("appends");
        journal.wait_durable(seq).expect("durable");
        journal.forget_upto(seq).expect("forgets");
        let (_, counts) = broker(&journal, [seq]);
        assert_eq!(woken(&counts), [1]);
    }

    #[test]
    fn what_the_fallback_released_stays_released_and_later_records_wait_again() {
        let journal = journal();
        let gate = AckGate::new(Durability::Broker, Duration::from_millis(500));
        let is_released = |seq| gate.is_released(&journal, Needs::Confirm, Seq(seq), Seq(9));
        assert_eq!(gate.needs(), Needs::Confirm);
        assert!(!is_released(7));
        gate.sink_refuses("it is only connecting", false);
        assert_eq!(gate.needs(), Needs::Confirm);
        gate.sink_refuses("refused by the test", true);
        assert_eq!(gate.needs(), Needs::Journal);
        assert_eq!(gate.fallback().as_deref(), Some("refused by the test"));
        gate.release(Seq(7));
        gate.leave_fallback();
        assert_eq!(gate.needs(), Needs::Confirm);
        assert!(is_released(7) && !is_released(8));
        assert!(gate.is_released(&journal, Needs::Journal, Seq(9), Seq(9)));
        assert!(
            !gate.is_released(&journal, Needs::Journal, Seq(10), Seq(9)),
            "not durable"
        );
    }

    #[test]
    fn only_a_durable_record_can_be_late() {
        let journal = journal();
        let (gate, _) = broker(&journal, [5, 6]);
        let now = Instant::now();
        let later = now + Duration::from_millis(600);
        assert!(!gate.is_late(Seq(9), now));
        assert!(!gate.is_late(Seq(4), later), "it waits for the disk");
        assert!(gate.is_late(Seq(5), later));
        gate.confirmed(Seq(6));
        assert!(!gate.is_late(Seq(9), later));
    }

    #[test]
    fn the_sink_has_caught_up_after_keeping_up_for_a_whole_wait_max() {
        let start = Instant::now();
        let mut catching_up = CatchingUp::new(Duration::from_millis(500));
        // 1,000 records a second; the sink stops at first, then is `lag` ms behind.
        let mut returned_at = None;
        for ms in (0..5_000_u64).step_by(20) {
            let lag = match ms {
                0..2_000 => 2_000,
                2_000..3_000 => 400,
                _ => 100,
            };
            let now = start + Duration::from_millis(ms);
            let caught_up = catching_up.sample(now, Seq(ms + 2_000), Seq(ms + 2_000 - lag));
            if caught_up && returned_at.is_none() {
                returned_at = Some(ms);
            }
        }
        assert_eq!(returned_at, Some(3_500));
    }
}
