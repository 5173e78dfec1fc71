//! Which records' answers may go out: the watermark that `durability` chooses, and who waits for it.
//!
//! Everything passes the journal. With `durability = "journal"` its own watermark is the one, and the
//! journal's writer wakes whoever waits; this module then costs one comparison. With `"broker"` an
//! answer waits until the sink has taken the record, that is until the journal's cursor has passed it.
//! Who waits stands in one list in the order of the sequence numbers, so that each move of the cursor
//! wakes those that it lets out and nobody else.
//!
//! ```text
//!             the sink refuses, or the oldest waits longer than `durability_wait`
//!   confirmed ──────────────────────────────────────────────────────────────────▶ fallen back
//!             ◀──────────────────────────────────────────────────────────────────
//!      for a whole `durability_wait` the sink has been less than half of it behind the journal
//! ```
//! Fallen back, what is durable here is let out at once, and new answers wait for the journal alone.
//! What was let out stays let out, so a return holds nobody back twice.

use crate::config::Durability;
use crate::shared::Shared;
use journal::Journal;
use metrics::{Counter, Gauge, counter, gauge};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often it is looked whether the oldest has waited too long, or the sink has caught up.
const TICK: Duration = Duration::from_millis(20);

/// A sink that was never heard may be only connecting for so long, or for the bound on an answer's wait if
/// that is shorter. Who starts in the middle of a load that the sink cannot take would never return otherwise.
const CONNECTS_IN: Duration = Duration::from_secs(1);

/// What lets one record's answer out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The journal's sync; the journal wakes who waits.
    Journal,
    /// The sink's confirm as well; [`Watermark::wait`] wakes.
    Confirm,
}

struct Waiter {
    seq: u64,
    since: Instant,
    waker: Waker,
}

/// The watermark of one gateway.
pub(crate) struct Watermark {
    durability: Durability,
    wait_max: Duration,
    waiters: Mutex<VecDeque<Waiter>>,
    /// Until when the sink may refuse because it is not connected yet.
    connects_until: Instant,
    fallen: AtomicBool,
    /// Records up to here were let out without a confirm.
    let_out_upto: AtomicU64,
    /// Why it fell the last time.
    reason: Mutex<String>,
    look_now: Notify,
    fallback: Gauge,
    falls: Counter,
}

impl Watermark {
    pub(crate) fn new(durability: Durability, wait_max: Duration) -> Self {
        let fallback = gauge!("wattpost_gateway_durability_fallback");
        fallback.set(0.0);
        Self {
            durability,
            wait_max,
            waiters: Mutex::default(),
            connects_until: Instant::now() + CONNECTS_IN.min(wait_max),
            fallen: AtomicBool::new(false),
            let_out_upto: AtomicU64::new(0),
            reason: Mutex::default(),
            look_now: Notify::new(),
            fallback,
            falls: counter!("wattpost_gateway_durability_fallbacks_total"),
        }
    }

    /// What a record that is appended now needs. With [`Needs::Journal`] the waker belongs to the
    /// journal, with [`Needs::Confirm`] to [`Watermark::wait`].
    pub(crate) fn needs(&self) -> Needs {
        if self.durability == Durability::Journal || self.fallen.load(Ordering::Relaxed) {
            return Needs::Journal;
        }
        Needs::Confirm
    }

    /// Whether answers wait for the sink, so that it should get records without gathering them.
    pub(crate) fn hurries(&self) -> bool {
        self.durability == Durability::Broker
    }

    /// Wakes `waker` once record `seq`, which was appended just now, is let out.
    pub(crate) fn wait(&self, journal: &Journal, seq: u64, waker: &Waker) {
        let waiter = Waiter {
            seq,
            since: Instant::now(),
            waker: waker.clone(),
        };
        let mut waiters = self.lock();
        // Appending and getting here are not one step: another one may have overtaken, by a few places.
        let behind = waiters.iter().rev().take_while(|other| other.seq > seq);
        let at = waiters.len() - behind.count();
        waiters.insert(at, waiter);
        drop(waiters);
        // The cursor may have passed it before it was in the list.
        if journal.cursor() >= seq {
            waker.wake_by_ref();
        }
    }

    /// Whether the answer of record `seq` may go out. `durable` is the journal's watermark.
    pub(crate) fn is_let_out(
        &self,
        journal: &Journal,
        needs: Needs,
        seq: u64,
        durable: u64,
    ) -> bool {
        seq <= durable
            && (needs == Needs::Journal
                || seq <= self.let_out_upto.load(Ordering::Acquire)
                || seq <= journal.cursor())
    }

    /// The cursor has moved to `seq`.
    pub(crate) fn confirmed(&self, seq: u64) {
        if self.hurries() {
            self.wake_upto(seq);
        }
    }

    /// The sink refuses: nobody needs to wait for it. `was_heard` is whether it has ever taken a record.
    pub(crate) fn sink_is_away(&self, why: &str, was_heard: bool) {
        let connects = !was_heard && Instant::now() < self.connects_until;
        if self.hurries() && !connects && !self.fallen.load(Ordering::Relaxed) {
            self.fall(why);
            self.look_now.notify_one();
        }
    }

    /// Why answers go out without a confirm just now, if they do.
    pub(crate) fn fallen(&self) -> Option<String> {
        let fallen = self.fallen.load(Ordering::Relaxed);
        fallen.then(|| hold(&self.reason).clone())
    }

    fn fall(&self, why: &str) {
        why.clone_into(&mut hold(&self.reason));
        if self.fallen.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::warn!(
            why,
            "answers go out when the journal has their records, without a confirm of the sink"
        );
        self.falls.increment(1);
        self.fallback.set(1.0);
    }

    fn rise(&self) {
        self.fallen.store(false, Ordering::SeqCst);
        tracing::info!("answers wait for the sink's confirm again");
        self.fallback.set(0.0);
    }

    /// Lets out what is durable, though nobody has confirmed it.
    fn let_out(&self, durable: u64) {
        self.let_out_upto.store(durable, Ordering::Release);
        self.wake_upto(durable);
    }

    fn wake_upto(&self, seq: u64) {
        let mut waiters = self.lock();
        let due = waiters.partition_point(|waiter| waiter.seq <= seq);
        if due == 0 {
            return;
        }
        let due: Vec<Waiter> = waiters.drain(..due).collect();
        drop(waiters);
        due.into_iter().for_each(|waiter| waiter.waker.wake());
    }

    /// Whether the oldest one has waited too long for the sink alone.
    fn is_late(&self, durable: u64, now: Instant) -> bool {
        self.lock().front().is_some_and(|first| {
            first.seq <= durable && now.saturating_duration_since(first.since) >= self.wait_max
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        hold(&self.waiters)
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while these locks are held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks some times a second whether to fall back or to return, until the gateway ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let watermark = &shared.watermark;
    if !watermark.hurries() {
        return;
    }
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut road = CatchingUp::new(watermark.wait_max);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = watermark.look_now.notified() => {}
        }
        let (journal, now) = (&shared.journal, Instant::now());
        let durable = journal.durable_seq();
        let sink_refuses = shared.delivery.away().is_some();
        let has_caught_up = road.look(now, durable, journal.cursor()) && !sink_refuses;
        if watermark.fallen.load(Ordering::Relaxed) {
            watermark.let_out(durable);
            if has_caught_up {
                watermark.rise();
            }
        } else if watermark.is_late(durable, now) {
            let bound = watermark.wait_max.as_millis();
            watermark.fall(&format!("no confirm for {bound} ms"));
            watermark.let_out(durable);
            road.fell(now);
        }
        if sink_refuses {
            road.fell(now);
        }
    }
}

/// Whether the sink keeps up: what was durable half a bound ago is confirmed, at every look for a whole
/// bound. Pure: time is handed in.
struct CatchingUp {
    wait_max: Duration,
    /// What was durable at the last looks, oldest first.
    seen: VecDeque<(Instant, u64)>,
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

    /// From now on it must prove itself anew.
    fn fell(&mut self, now: Instant) {
        self.since = Some(now);
    }

    fn look(&mut self, now: Instant, durable: u64, confirmed: u64) -> bool {
        self.seen.push_back((now, durable));
        let half = self.wait_max / 2;
        let is_old = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) >= half;
        // Of those that are old enough only the newest counts.
        while self.seen.get(1).is_some_and(is_old) {
            self.seen.pop_front();
        }
        let wanted = match self.seen.front() {
            Some((at, durable)) if is_old(&(*at, *durable)) => *durable,
            // We have not looked for long enough to know.
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
    ) -> (Watermark, Vec<Arc<Count>>) {
        let watermark = Watermark::new(Durability::Broker, Duration::from_millis(500));
        let woken = waiting
            .into_iter()
            .map(|seq| {
                let count = Arc::new(Count::default());
                watermark.wait(journal, seq, &Arc::clone(&count).into());
                count
            })
            .collect();
        (watermark, woken)
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
    fn a_confirm_wakes_those_that_it_lets_out_once_and_nobody_else() {
        let journal = journal();
        let (watermark, counts) = broker(&journal, [1, 3, 2, 5, 4]);
        watermark.confirmed(3);
        assert_eq!(woken(&counts), [1, 1, 1, 0, 0]);
        watermark.confirmed(3);
        watermark.confirmed(4);
        assert_eq!(woken(&counts), [1, 1, 1, 0, 1]);
        watermark.let_out(9);
        assert_eq!(woken(&counts), [1; 5]);
    }

    #[test]
    fn who_comes_after_the_confirm_is_woken_too() {
        let journal = journal();
        let seq = journal.append(b"record", None).expect("appends");
        journal.wait_durable(seq).expect("durable");
        journal.forget_upto(seq).expect("forgets");
        let (_, counts) = broker(&journal, [seq]);
        assert_eq!(woken(&counts), [1]);
    }

    #[test]
    fn what_fell_back_once_stays_let_out_and_the_rest_waits_again_after_the_return() {
        let journal = journal();
        let watermark = Watermark::new(Durability::Broker, Duration::from_millis(500));
        let is_out = |seq| watermark.is_let_out(&journal, Needs::Confirm, seq, 9);
        assert_eq!(watermark.needs(), Needs::Confirm);
        assert!(!is_out(7));
        watermark.sink_is_away("it is only connecting", false);
        assert_eq!(watermark.needs(), Needs::Confirm);
        watermark.sink_is_away("told so by the test", true);
        assert_eq!(watermark.needs(), Needs::Journal);
        assert_eq!(watermark.fallen().as_deref(), Some("told so by the test"));
        watermark.let_out(7);
        watermark.rise();
        assert_eq!(watermark.needs(), Needs::Confirm);
        assert!(is_out(7) && !is_out(8));
        assert!(watermark.is_let_out(&journal, Needs::Journal, 9, 9));
        assert!(
            !watermark.is_let_out(&journal, Needs::Journal, 10, 9),
            "not durable"
        );
    }

    #[test]
    fn only_who_waits_for_the_sink_alone_is_late() {
        let journal = journal();
        let (watermark, _) = broker(&journal, [5, 6]);
        let now = Instant::now();
        let later = now + Duration::from_millis(600);
        assert!(!watermark.is_late(9, now));
        assert!(
            !watermark.is_late(4, later),
            "the disk is what it waits for"
        );
        assert!(watermark.is_late(5, later));
        watermark.confirmed(6);
        assert!(!watermark.is_late(9, later));
    }

    #[test]
    fn the_sink_has_caught_up_when_it_has_kept_up_for_a_whole_bound() {
        let start = Instant::now();
        let mut road = CatchingUp::new(Duration::from_millis(500));
        // 1,000 records a second; the sink stands still at first, then is `lag` ms behind.
        let mut returned_at = None;
        for ms in (0..5_000_u64).step_by(20) {
            let lag = match ms {
                0..2_000 => 2_000,
                2_000..3_000 => 400,
                _ => 100,
            };
            let now = start + Duration::from_millis(ms);
            let caught_up = road.look(now, ms + 2_000, ms + 2_000 - lag);
            if caught_up && returned_at.is_none() {
                returned_at = Some(ms);
            }
        }
        assert_eq!(returned_at, Some(3_500));
    }
}
