//! Slows answers down, smoothly and for all chargers alike, when more is acknowledged than can be stored while every
//! component is healthy; so that a lasting overload ends in equilibrium and not at the journal's bound, where
//! connections are closed.
//!
//! Several times a second the controller reads the backlog and the number of delivered records, and sets how many
//! messages may be taken in per second. A connection that has a message waits in a queue, first in first out, and takes
//! one message in when its turn comes; until then it reads no further message. So the controller's rate holds for any
//! number of connections. Without a backlog a turn costs one atomic load. While the sink is unavailable nothing is
//! paced: the journal takes what chargers send.

use crate::connection::control::Control;
use common::lock::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often the controller runs and turns are given.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// If a delivery is in flight for longer than this, the sink counts as unavailable.
pub(crate) const STUCK: Duration = Duration::from_secs(2);
/// The slowest pace, in messages per second.
pub(crate) const RATE_MIN: f64 = 1.0;
/// Unused turns expire after this time.
const TURN_LIFETIME: Duration = Duration::from_millis(250);
/// When pacing ends, waiting connections get their turns at least at this rate per second: all at once would be the
/// next overload.
const RELEASE_RATE_MIN: f64 = 500.0;
/// The factor by which that rate grows at each tick.
const RELEASE_GROWTH: f64 = 1.25;
/// New connections per second while messages are paced, as a share of the pace: each writes a record when it begins
/// and when it ends, and these records wait for no turn.
const ENTRIES_SHARE: f64 = 0.125;

/// The queue of connections that wait for a turn to take a message in.
pub(crate) struct Pace {
    is_on: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Control>>,
    /// Messages per second.
    rate: f64,
    /// Turns available now.
    turns: f64,
    /// New connections allowed now.
    entries: f64,
    given_at: Option<Instant>,
    /// Pacing has ended, but some connections still wait.
    is_ending: bool,
    /// A test has stopped all turns.
    #[cfg(test)]
    is_held: bool,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            queue: Mutex::default(),
        }
    }

    /// Whether messages wait for their turn now.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Asks for a turn: `true` if there is one now. Otherwise `control` is woken when [`Control::take_turn`] has one. A
    /// connection asks for one turn at a time.
    pub(crate) fn ask(&self, control: &Arc<Control>) -> bool {
        if !self.is_on() {
            return true;
        }
        let mut queue = self.lock();
        if !self.is_on() {
            return true;
        }
        if queue.waiting.is_empty() && queue.turns >= 1.0 {
            queue.turns -= 1.0;
            return true;
        }
        control.wait_for_turn();
        queue.waiting.push_back(Arc::clone(control));
        false
    }

    /// Whether one more connection is allowed: not while a turn takes longer than `wait_max`, and not faster than a
    /// share of the pace.
    pub(crate) fn may_enter(&self, wait_max: Duration) -> bool {
        if !self.is_on() {
            return true;
        }
        let mut queue = self.lock();
        if queue.is_ending {
            return true;
        }
        let is_long = queue.waiting.len() as f64 > queue.rate * wait_max.as_secs_f64();
        if is_long || queue.entries < 1.0 {
            return false;
        }
        queue.entries -= 1.0;
        true
    }

    /// Number of waiting connections.
    pub(crate) fn waiting(&self) -> usize {
        match self.is_on() {
            true => self.lock().waiting.len(),
            false => 0,
        }
    }

    /// Sets the messages per second (`None` = no pacing) and gives the turns that are due. Called once per [`TICK`].
    pub(crate) fn set(&self, rate: Option<f64>, now: Instant) {
        if rate.is_none() && !self.is_on() {
            return;
        }
        let mut queue = self.lock();
        #[cfg(test)]
        if queue.is_held {
            return;
        }
        queue.is_ending = rate.is_none();
        queue.rate = match rate {
            Some(rate) => rate.max(RATE_MIN),
            None => (queue.rate * RELEASE_GROWTH).max(RELEASE_RATE_MIN),
        };
        let entries_max = (queue.rate * ENTRIES_SHARE).max(1.0);
        if let Some(given_at) = queue.given_at {
            let seconds = now.saturating_duration_since(given_at).as_secs_f64();
            let turns_max = (queue.rate * TURN_LIFETIME.as_secs_f64()).max(1.0);
            queue.turns = (queue.turns + queue.rate * seconds).min(turns_max);
            queue.entries = (queue.entries + queue.rate * ENTRIES_SHARE * seconds).min(entries_max);
        } else {
            queue.entries = entries_max;
        }
        queue.given_at = Some(now);
        self.is_on.store(true, Ordering::Relaxed);
        while queue.turns >= 1.0
            && let Some(control) = queue.waiting.pop_front()
        {
            // A connection that has ended takes no turn.
            if control.give_turn() {
                queue.turns -= 1.0;
            }
        }
        if queue.is_ending && queue.waiting.is_empty() {
            *queue = Queue::default();
            self.is_on.store(false, Ordering::Relaxed);
        }
    }

    /// No turn is given and no connection is allowed until [`Pace::go_on`].
    #[cfg(test)]
    pub(crate) fn hold(&self) {
        let mut queue = self.lock();
        *queue = Queue {
            waiting: std::mem::take(&mut queue.waiting),
            is_held: true,
            ..Queue::default()
        };
        self.is_on.store(true, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn go_on(&self) {
        self.lock().is_held = false;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        lock(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::controller::{Controller, Sample};
    use central::Epoch;

    fn controls(count: u64) -> Vec<Arc<Control>> {
        (0..count)
            .map(|i| Arc::new(Control::for_test(Epoch(i))))
            .collect()
    }

    #[test]
    fn turns_are_given_in_the_order_of_asking_at_the_rate_that_is_set() {
        let pace = Pace::new();
        let all = controls(1_000);
        assert!(pace.ask(&all[0]), "nothing is paced");
        let mut now = Instant::now();
        pace.set(Some(100.0), now);
        for control in &all {
            assert!(!pace.ask(control));
        }
        let mut served = 0;
        for _ in 0..40 {
            now += TICK;
            pace.set(Some(100.0), now);
            while served < all.len() && all[served].take_turn() {
                served += 1;
            }
            assert!(all[served..].iter().all(|control| !control.take_turn()));
        }
        assert!((199..=201).contains(&served), "{served} in two seconds");
        // A connection that has ended takes no turn.
        for control in &all[served..served + 500] {
            control.leave_turns();
        }
        now += TICK;
        pace.set(Some(100.0), now);
        assert!(all[served + 500].take_turn());
    }

    #[test]
    fn when_pacing_ends_all_get_their_turns_but_not_at_once() {
        let pace = Pace::new();
        let all = controls(20_000);
        let mut now = Instant::now();
        pace.set(Some(100.0), now);
        for control in &all {
            assert!(!pace.ask(control));
        }
        let (mut left, mut ticks) = (all.len(), 0);
        while pace.is_on() {
            now += TICK;
            ticks += 1;
            pace.set(None, now);
            let at_once = left - pace.waiting();
            left = pace.waiting();
            assert!(at_once < 5_000, "{at_once} in tick {ticks}");
        }
        assert!(all.iter().all(|control| control.take_turn()));
        assert!(ticks < 100, "{ticks}");
        assert!(pace.ask(&all[0]));
    }

    #[test]
    fn new_connections_get_a_share_of_the_pace_and_none_while_turns_take_too_long() {
        const WAIT: Duration = Duration::from_secs(20);
        let pace = Pace::new();
        assert!(pace.may_enter(WAIT));
        let mut now = Instant::now();
        let mut entered = 0;
        for _ in 0..=200 {
            pace.set(Some(80.0), now);
            now += TICK;
            while pace.may_enter(WAIT) {
                entered += 1;
            }
        }
        assert!((100..=112).contains(&entered), "{entered} in ten seconds");
        for control in &controls(1_700) {
            pace.ask(control);
        }
        now += TICK * 100;
        pace.set(Some(80.0), now);
        assert!(!pace.may_enter(WAIT), "a turn takes 21 seconds");
    }

    /// Simulates chargers that send the next message as soon as they are answered, in front of a healthy sink. Returns
    /// the number of answers of each, the messages taken in and stored per second in the second half, and the largest
    /// backlog in bytes.
    fn run(chargers: u64, capacity: f64, seconds: f64) -> (Vec<u32>, f64, f64, f64) {
        const RECORD: u64 = 500;
        const BOUND: u64 = 8 << 30;
        const FROM: u64 = 16 << 20;
        let (pace, all) = (Pace::new(), controls(chargers));
        let mut controller = Controller::new(FROM);
        let mut answers = vec![0; all.len()];
        let mut is_waiting = vec![false; all.len()];
        let step = TICK.as_secs_f64();
        let (mut backlog, mut delivered, mut worst) = (0.0_f64, 0.0_f64, 0.0_f64);
        let (mut taken, mut stored) = (0.0, 0.0);
        let (mut t, mut now) = (0.0, Instant::now());
        while t < seconds {
            (t, now) = (t + step, now + TICK);
            let mut taken_now = 0_u32;
            // A charger that is not held back is answered ten times a second.
            for (i, control) in all.iter().enumerate() {
                let may = match is_waiting[i] {
                    true => control.take_turn(),
                    false => (t / step) as usize % 2 == i % 2 && pace.ask(control),
                };
                is_waiting[i] = match is_waiting[i] {
                    true => !may,
                    false => pace.is_on() && !may && (t / step) as usize % 2 == i % 2,
                };
                if may {
                    answers[i] += 1;
                    taken_now += 1;
                }
            }
            backlog += f64::from(taken_now);
            let stores = (capacity * step).min(backlog);
            backlog -= stores;
            delivered += stores;
            worst = worst.max(backlog * RECORD as f64);
            if t > seconds / 2.0 {
                taken += f64::from(taken_now);
                stored += stores;
            }
            let rate = controller.tick(
                Duration::from_secs_f64(t),
                Sample {
                    backlog_bytes: (backlog * RECORD as f64) as u64,
                    record_bytes: RECORD,
                    headroom_records: (BOUND / RECORD).saturating_sub(backlog as u64),
                    delivered: delivered as u64,
                    queued: 0,
                    sink_healthy: true,
                },
            );
            pace.set(rate, now);
        }
        let half = seconds / 2.0;
        (answers, taken / half, stored / half, worst)
    }

    #[test]
    fn messages_taken_in_equal_messages_stored_for_any_number_of_chargers() {
        // Each charger offers ten messages a second when it is not held back.
        for (chargers, capacity, seconds) in [
            (20_000, 1_000.0, 120.0),
            (20_000, 20_000.0, 60.0),
            (5_000, 50.0, 600.0),
        ] {
            let (answers, taken, stored, worst) = run(chargers, capacity, seconds);
            let case = format!("{chargers} chargers, {capacity}/s");
            let share = taken / stored;
            assert!((0.8..1.15).contains(&share), "{case}: {taken} for {stored}");
            assert!(stored > capacity * 0.95, "{case}: {stored}");
            assert!(worst < f64::from(64 << 20), "{case}: {worst} bytes");
            let (least, most) = (answers.iter().min(), answers.iter().max());
            let (least, most) = (*least.unwrap(), *most.unwrap());
            assert!(most - least <= 3, "{case}: {least} to {most}");
        }
    }
}
