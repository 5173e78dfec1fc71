//! The connected chargers, each with the one connection that counts, and what is remembered of chargers that are not
//! connected.
//!
//! The newest authenticated connection wins (rule C-14): a charger that reconnects after its connection broke must not
//! wait for a timeout. The old connection is told to stop and hands over what it remembers. Each connection has an
//! epoch, which tells late records of the old one apart.

use crate::admission::peer::Peer;
use crate::connection::control::{Control, Stop};
use central::Epoch;
use central::model::ChargerKey;
use central::resend::ResendMemory;
use common::lock::lock;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

const SHARDS: usize = 64;
/// Disconnected chargers of which something is remembered. Beyond this bound the one that the directory does not know and
/// that disconnected first is forgotten; if there is none, the known one that disconnected first. Its resends become new
/// records, which the projections recognise.
const REMEMBERED_MAX: usize = 100_000;

enum Slot {
    Connected(Arc<Control>),
    Disconnected(Remembered),
}

/// What is remembered of a disconnected charger; never empty.
struct Remembered {
    memory: ResendMemory,
    is_known: bool,
    /// Its number in `Shard::left`.
    number: u64,
}

#[derive(Default)]
struct Shard {
    slots: HashMap<ChargerKey, Slot>,
    disconnected: usize,
    last_number: u64,
    /// Disconnected chargers in the order in which they disconnected: the unknown ones and the known ones. Contains some
    /// that have connected again.
    left: [VecDeque<(ChargerKey, u64)>; 2],
}

/// The result of [`Registry::claim`].
pub(crate) enum Claimed {
    /// The charger was not connected; what is remembered of it.
    New(ResendMemory),
    /// The charger was connected, from this address: its old connection will hand over what it remembers.
    Replaces(oneshot::Receiver<ResendMemory>, Peer),
}

/// All chargers.
pub(crate) struct Registry {
    shards: Vec<Mutex<Shard>>,
    last_epoch: AtomicU64,
    connected: AtomicUsize,
}

impl Registry {
    /// New epochs are above `last_epoch`.
    pub(crate) fn new(last_epoch: Epoch) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            last_epoch: AtomicU64::new(last_epoch.0),
            connected: AtomicUsize::new(0),
        }
    }

    /// A new epoch: `now_ms`, or one more than the last if the clock did not advance.
    pub(crate) fn next_epoch(&self, now_ms: u64) -> Epoch {
        let next = |last: u64| now_ms.max(last.saturating_add(1));
        let last = self
            .last_epoch
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        Epoch(last.map_or_else(next, next))
    }

    /// The highest epoch that was given or received.
    pub(crate) fn last_epoch(&self) -> Epoch {
        Epoch(self.last_epoch.load(Ordering::SeqCst))
    }

    /// Makes later epochs be above `epoch`, which is of another gateway.
    pub(crate) fn epochs_are_above(&self, epoch: Epoch) {
        self.last_epoch.fetch_max(epoch.0, Ordering::SeqCst);
    }

    /// Makes `control` the connection that counts, and tells the one before to stop.
    pub(crate) fn claim(&self, key: &ChargerKey, control: &Arc<Control>) -> Claimed {
        let mut shard = self.shard(key);
        let old = shard
            .slots
            .insert(key.clone(), Slot::Connected(Arc::clone(control)));
        match old {
            None => {
                self.connected.fetch_add(1, Ordering::Relaxed);
                Claimed::New(ResendMemory::default())
            }
            Some(Slot::Disconnected(remembered)) => {
                shard.disconnected -= 1;
                self.connected.fetch_add(1, Ordering::Relaxed);
                control.set_known(remembered.is_known);
                Claimed::New(remembered.memory)
            }
            Some(Slot::Connected(old)) => {
                control.set_known(old.is_known());
                control.replace(&old);
                let (sender, receiver) = oneshot::channel();
                *lock(&old.successor) = Some(sender);
                old.stop(Stop::Replaced);
                Claimed::Replaces(receiver, old.peer)
            }
        }
    }

    /// The connection has ended: its memory goes to its successor, or is kept for the next one.
    /// Called exactly once for each claim.
    pub(crate) fn release(&self, key: &ChargerKey, control: &Arc<Control>, memory: ResendMemory) {
        let mut shard = self.shard(key);
        if let Some(successor) = lock(&control.successor).take() {
            // A successor that no longer waits has begun without it.
            let _ = successor.send(memory);
            return;
        }
        let counts = matches!(
            shard.slots.get(key),
            Some(Slot::Connected(current)) if Arc::ptr_eq(current, control)
        );
        if counts {
            shard.slots.remove(key);
            self.connected.fetch_sub(1, Ordering::Relaxed);
            shard.keep(key.clone(), memory, control.is_known());
        }
    }

    /// Adds what is known of a charger from before the start, and whether the directory knows it.
    pub(crate) fn remember(&self, key: ChargerKey, memory: ResendMemory, is_known: bool) {
        let mut shard = self.shard(&key);
        if !shard.slots.contains_key(&key) {
            shard.keep(key, memory, is_known);
        }
    }

    /// The connection of one charger, if it is connected.
    pub(crate) fn find(&self, key: &ChargerKey) -> Option<Arc<Control>> {
        match self.shard(key).slots.get(key)? {
            Slot::Connected(control) => Some(Arc::clone(control)),
            Slot::Disconnected(_) => None,
        }
    }

    /// Number of connected chargers.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// All current connections.
    pub(crate) fn all(&self) -> Vec<Arc<Control>> {
        let mut all = Vec::with_capacity(self.connected());
        for shard in &self.shards {
            all.extend(lock(shard).slots.values().filter_map(|slot| match slot {
                Slot::Connected(control) => Some(Arc::clone(control)),
                Slot::Disconnected(_) => None,
            }));
        }
        all
    }

    fn shard(&self, key: &ChargerKey) -> MutexGuard<'_, Shard> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        lock(&self.shards[hasher.finish() as usize % SHARDS])
    }
}

impl Shard {
    /// Remembers a charger that is not in the map, unless its memory is empty.
    fn keep(&mut self, key: ChargerKey, memory: ResendMemory, is_known: bool) {
        if memory.is_empty() {
            return;
        }
        self.last_number += 1;
        let number = self.last_number;
        self.left[usize::from(is_known)].push_back((key.clone(), number));
        let remembered = Remembered {
            memory,
            is_known,
            number,
        };
        self.slots.insert(key, Slot::Disconnected(remembered));
        self.disconnected += 1;
        self.forget_some();
        self.tidy();
    }

    fn forget_some(&mut self) {
        while self.disconnected > REMEMBERED_MAX / SHARDS {
            let [unknown, known] = &mut self.left;
            let Some((key, number)) = unknown.pop_front().or_else(|| known.pop_front()) else {
                return;
            };
            if is_still_disconnected(&self.slots, &key, number) {
                self.slots.remove(&key);
                self.disconnected -= 1;
            }
        }
    }

    /// Removes chargers that have connected again from `left`, once they are more than the others.
    fn tidy(&mut self) {
        let all: usize = self.left.iter().map(VecDeque::len).sum();
        if all > self.disconnected * 2 + 64 {
            let slots = &self.slots;
            for left in &mut self.left {
                left.retain(|(key, number)| is_still_disconnected(slots, key, *number));
            }
        }
    }
}

fn is_still_disconnected(slots: &HashMap<ChargerKey, Slot>, key: &ChargerKey, number: u64) -> bool {
    matches!(slots.get(key), Some(Slot::Disconnected(remembered)) if remembered.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::record::{AnswerKind, Notes};
    use central::{Record, RecordKind};

    fn control(registry: &Registry) -> Arc<Control> {
        Arc::new(Control::for_test(registry.next_epoch(1_000)))
    }

    #[test]
    fn epochs_increase_also_when_the_clock_stops_or_goes_back() {
        let registry = Registry::new(Epoch(500));
        let epochs = [1_000, 1_000, 7, 2_000].map(|now| registry.next_epoch(now));
        assert_eq!(epochs, [1_000, 1_001, 1_002, 2_000].map(Epoch));
    }

    #[tokio::test]
    async fn the_newest_connection_wins_and_gets_the_memory_through_any_number_of_replacements() {
        let registry = Registry::new(Epoch(0));
        let key = ChargerKey::of("cp-1");
        let [first, second, third] = [(); 3].map(|()| control(&registry));
        assert!(matches!(registry.claim(&key, &first), Claimed::New(_)));
        let Claimed::Replaces(to_second, _) = registry.claim(&key, &second) else {
            panic!("the first is connected");
        };
        let Claimed::Replaces(to_third, _) = registry.claim(&key, &third) else {
            panic!("the second is connected");
        };
        assert_eq!(first.stopped(), Some(Stop::Replaced));
        assert_eq!(second.stopped(), Some(Stop::Replaced));
        assert_eq!(third.stopped(), None);
        assert_eq!(
            [&first, &second, &third].map(|one| one.replacements()),
            [0, 1, 2]
        );

        registry.release(&key, &first, ResendMemory::default());
        let memory = to_second.await.expect("handed over");
        registry.release(&key, &second, memory);
        to_third.await.expect("handed over");
        assert_eq!(registry.connected(), 1);
        assert!(Arc::ptr_eq(&registry.all()[0], &third));
        registry.release(&key, &third, ResendMemory::default());
        assert_eq!(registry.connected(), 0);
    }

    #[test]
    fn a_late_end_of_the_old_connection_does_not_remove_the_new_one() {
        let registry = Registry::new(Epoch(0));
        let key = ChargerKey::of("cp-1");
        let (old, new) = (control(&registry), control(&registry));
        registry.claim(&key, &old);
        // The new connection does not wait for the memory: its receiver is dropped.
        drop(registry.claim(&key, &new));
        registry.release(&key, &old, ResendMemory::default());
        assert_eq!(registry.connected(), 1);
        assert_eq!(new.stopped(), None);
    }

    /// What is remembered of a charger that was answered once.
    fn memory() -> ResendMemory {
        let mut memory = ResendMemory::default();
        memory.learn(&Record {
            kind: RecordKind::Call,
            charger_id: "cp",
            ocpp_version: ocpp::Version::V16,
            message_id: "1",
            action: "StopTransaction",
            payload: r#"{"transactionId":5,"meterStop":9,"timestamp":"2026-01-02T03:04:05Z"}"#,
            answer_kind: AnswerKind::Result,
            answer: "{}",
            received_at: central::Timestamp(1),
            epoch: Epoch(1),
            notes: Notes::default(),
            reason: "",
        });
        assert!(!memory.is_empty());
        memory
    }

    fn connect_and_disconnect(
        registry: &Registry,
        charger_id: &str,
        is_known: bool,
        memory: ResendMemory,
    ) {
        let (key, control) = (ChargerKey::of(charger_id), control(registry));
        registry.claim(&key, &control);
        control.set_known(is_known);
        registry.release(&key, &control, memory);
    }

    fn kept(registry: &Registry) -> usize {
        let shards = registry.shards.iter();
        shards.map(|shard| lock(shard).slots.len()).sum()
    }

    fn is_remembered(registry: &Registry, charger_id: &str) -> bool {
        matches!(registry.claim(&ChargerKey::of(charger_id), &control(registry)), Claimed::New(memory) if !memory.is_empty())
    }

    #[test]
    fn unknown_chargers_do_not_displace_what_is_remembered_of_known_ones() {
        let registry = Registry::new(Epoch(0));
        for i in 0..1_000 {
            connect_and_disconnect(&registry, &format!("cp-{i}"), i % 2 == 0, memory());
        }
        // Nothing is remembered of these.
        for i in 0..REMEMBERED_MAX + 10_000 {
            let nothing = ResendMemory::default();
            connect_and_disconnect(&registry, &format!("made-up-{i}"), false, nothing);
        }
        assert_eq!(kept(&registry), 1_000);
        // Something is remembered of these, so they displace other unknown chargers.
        for i in 0..REMEMBERED_MAX + 10_000 {
            connect_and_disconnect(&registry, &format!("made-up-{i}"), false, memory());
        }
        assert!(kept(&registry) <= REMEMBERED_MAX);
        for i in (0..1_000).step_by(2) {
            assert!(is_remembered(&registry, &format!("cp-{i}")), "cp-{i}");
        }
        assert!(!is_remembered(&registry, "made-up-1"));
    }

    #[test]
    fn disconnected_chargers_are_remembered_up_to_a_bound() {
        let registry = Registry::new(Epoch(0));
        for i in 0..REMEMBERED_MAX + 10_000 {
            registry.remember(ChargerKey::of(&format!("cp-{i}")), memory(), true);
        }
        assert!(kept(&registry) <= REMEMBERED_MAX, "{}", kept(&registry));
        // Connecting and disconnecting leaves no entries behind.
        for _ in 0..10_000 {
            connect_and_disconnect(&registry, "cp-7", true, memory());
        }
        let shards = registry.shards.iter();
        let left: usize = shards
            .map(|shard| lock(shard).left.iter().map(VecDeque::len).sum::<usize>())
            .sum();
        assert!(left <= REMEMBERED_MAX * 2 + 64 * SHARDS, "{left}");
    }
}
