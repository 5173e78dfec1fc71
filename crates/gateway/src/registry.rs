//! Who is connected: for each charger the one connection that counts, and what is remembered of
//! those that are away.
//!
//! The newest authenticated connection wins (rule C-14): a charger that comes back after a line went
//! dead must not wait for our timeouts. The old connection is told to stop and hands over what it
//! remembers; each has an epoch, so that whatever the old one still had on its way can be told apart.

use central::resend::ResendMemory;
use central::station::Fact;
use futures_util::task::AtomicWaker;
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::oneshot;

const SHARDS: usize = 64;
/// Chargers that are away and still remembered. Beyond it any of them is forgotten: its resends are
/// then new records, which the projections recognise.
const AWAY_MAX: usize = 100_000;

/// Why a connection shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stop {
    /// A newer one took its place.
    Replaced = 1,
    /// The gateway stops.
    Shutdown = 2,
    /// Nothing can be made durable for now.
    NotDurable = 3,
    /// Nothing can be made durable any more.
    Poisoned = 4,
    /// The operator removed it or changed its password.
    Refused = 5,
    /// A newer one took its place, at another gateway.
    ReplacedElsewhere = 6,
}

/// What others may say to a connection's task.
#[derive(Default)]
pub(crate) struct Control {
    /// Milliseconds at its start, strictly increasing per gateway.
    pub(crate) epoch: u64,
    stop: AtomicU8,
    waker: AtomicWaker,
    has_facts: AtomicBool,
    has_new_profile: AtomicBool,
    facts: Mutex<Vec<Fact>>,
    successor: Mutex<Option<oneshot::Sender<ResendMemory>>>,
}

impl Control {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// The task that is to be woken when something is said.
    pub(crate) fn listen(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Tells the connection to end. The first reason counts.
    pub(crate) fn stop(&self, why: Stop) {
        let _ = self
            .stop
            .compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Whether it shall end.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Stop::Replaced),
            2 => Some(Stop::Shutdown),
            3 => Some(Stop::NotDurable),
            5 => Some(Stop::Refused),
            6 => Some(Stop::ReplacedElsewhere),
            _ => Some(Stop::Poisoned),
        }
    }

    /// The directory holds another profile for it than before.
    pub(crate) fn look_up_profile(&self) {
        self.has_new_profile.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether that was said since the last call.
    pub(crate) fn take_new_profile(&self) -> bool {
        self.has_new_profile.load(Ordering::Relaxed)
            && self.has_new_profile.swap(false, Ordering::Acquire)
    }

    /// The reply to a question of its station.
    pub(crate) fn tell(&self, fact: Fact) {
        lock(&self.facts).push(fact);
        self.has_facts.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// What was told since the last call.
    pub(crate) fn take_facts(&self) -> Vec<Fact> {
        if !self.has_facts.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut facts = lock(&self.facts);
        self.has_facts.store(false, Ordering::Relaxed);
        std::mem::take(&mut facts)
    }
}

enum Slot {
    Here(Arc<Control>),
    Away(ResendMemory),
}

#[derive(Default)]
struct Shard {
    slots: HashMap<Arc<str>, Slot>,
    away: usize,
}

/// What a claim found.
pub(crate) enum Before {
    /// The charger was away (or never seen).
    Away(ResendMemory),
    /// It was here: its old connection will hand over its memory.
    Here(oneshot::Receiver<ResendMemory>),
}

/// All chargers, by identity in lower case.
pub(crate) struct Registry {
    shards: Vec<Mutex<Shard>>,
    last_epoch: AtomicU64,
    here: AtomicUsize,
}

impl Registry {
    /// Epochs will be above `last_epoch`.
    pub(crate) fn new(last_epoch: u64) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            last_epoch: AtomicU64::new(last_epoch),
            here: AtomicUsize::new(0),
        }
    }

    /// A new epoch: `now` in milliseconds, or one more than the last if the clock stands or went back.
    pub(crate) fn next_epoch(&self, now_ms: u64) -> u64 {
        let next = |last: u64| now_ms.max(last.saturating_add(1));
        self.last_epoch
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)))
            .map_or_else(next, next)
    }

    /// Later epochs of ours will be above `epoch`, which another gateway has given.
    pub(crate) fn epochs_are_above(&self, epoch: u64) {
        self.last_epoch.fetch_max(epoch, Ordering::SeqCst);
    }

    /// Makes `control` the connection that counts. The one before is told to stop.
    pub(crate) fn claim(&self, key: &Arc<str>, control: &Arc<Control>) -> Before {
        let mut shard = self.shard(key);
        let old = shard
            .slots
            .insert(Arc::clone(key), Slot::Here(Arc::clone(control)));
        match old {
            None => {
                self.here.fetch_add(1, Ordering::Relaxed);
                Before::Away(ResendMemory::default())
            }
            Some(Slot::Away(memory)) => {
                shard.away -= 1;
                self.here.fetch_add(1, Ordering::Relaxed);
                Before::Away(memory)
            }
            Some(Slot::Here(old)) => {
                let (sender, receiver) = oneshot::channel();
                *lock(&old.successor) = Some(sender);
                old.stop(Stop::Replaced);
                Before::Here(receiver)
            }
        }
    }

    /// The connection has ended: its memory goes to its successor, or is kept for the next one.
    /// Called exactly once for each claim.
    pub(crate) fn release(&self, key: &Arc<str>, control: &Arc<Control>, memory: ResendMemory) {
        let mut shard = self.shard(key);
        if let Some(successor) = lock(&control.successor).take() {
            // A successor that no longer waits has begun without; nothing to be done about it.
            let _ = successor.send(memory);
            return;
        }
        let Entry::Occupied(mut entry) = shard.slots.entry(Arc::clone(key)) else {
            return;
        };
        let counts = matches!(entry.get(), Slot::Here(current) if Arc::ptr_eq(current, control));
        if counts {
            entry.insert(Slot::Away(memory));
            shard.away += 1;
            self.here.fetch_sub(1, Ordering::Relaxed);
            shard.forget_some();
        }
    }

    /// What was learnt of a charger before it connected.
    pub(crate) fn remember(&self, key: Arc<str>, memory: ResendMemory) {
        let mut shard = self.shard(&key);
        if let Entry::Vacant(entry) = shard.slots.entry(key) {
            entry.insert(Slot::Away(memory));
            shard.away += 1;
            shard.forget_some();
        }
    }

    /// The connection of one charger, if it is here.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<Control>> {
        match self.shard(key).slots.get(key)? {
            Slot::Here(control) => Some(Arc::clone(control)),
            Slot::Away(_) => None,
        }
    }

    /// How many chargers are here.
    pub(crate) fn here(&self) -> usize {
        self.here.load(Ordering::Relaxed)
    }

    /// All connections that count now.
    pub(crate) fn all(&self) -> Vec<Arc<Control>> {
        let mut all = Vec::with_capacity(self.here());
        for shard in &self.shards {
            all.extend(lock(shard).slots.values().filter_map(|slot| match slot {
                Slot::Here(control) => Some(Arc::clone(control)),
                Slot::Away(_) => None,
            }));
        }
        all
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        lock(&self.shards[hasher.finish() as usize % SHARDS])
    }
}

impl Shard {
    fn forget_some(&mut self) {
        while self.away > AWAY_MAX / SHARDS {
            let away = self
                .slots
                .iter()
                .find(|(_, slot)| matches!(slot, Slot::Away(_)))
                .map(|(key, _)| Arc::clone(key));
            let Some(key) = away else { return };
            self.slots.remove(&key);
            self.away -= 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while these locks are held, and the maps are whole between any two lines.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(registry: &Registry) -> Arc<Control> {
        Arc::new(Control::new(registry.next_epoch(1_000)))
    }

    #[test]
    fn epochs_grow_also_when_the_clock_stands_or_goes_back() {
        let registry = Registry::new(500);
        let epochs = [1_000, 1_000, 7, 2_000].map(|now| registry.next_epoch(now));
        assert_eq!(epochs, [1_000, 1_001, 1_002, 2_000]);
    }

    #[tokio::test]
    async fn newest_wins_and_inherits_through_any_number_of_replacements() {
        let registry = Registry::new(0);
        let key: Arc<str> = "cp-1".into();
        let [first, second, third] = [(); 3].map(|()| control(&registry));
        assert!(matches!(registry.claim(&key, &first), Before::Away(_)));
        let Before::Here(to_second) = registry.claim(&key, &second) else {
            panic!("the first is here");
        };
        let Before::Here(to_third) = registry.claim(&key, &third) else {
            panic!("the second is here");
        };
        assert_eq!(first.stopped(), Some(Stop::Replaced));
        assert_eq!(second.stopped(), Some(Stop::Replaced));
        assert_eq!(third.stopped(), None);

        registry.release(&key, &first, ResendMemory::default());
        let memory = to_second.await.expect("handed over");
        registry.release(&key, &second, memory);
        to_third.await.expect("handed over");
        assert_eq!(registry.here(), 1);
        assert!(Arc::ptr_eq(&registry.all()[0], &third));
        registry.release(&key, &third, ResendMemory::default());
        assert_eq!(registry.here(), 0);
    }

    #[test]
    fn a_late_end_of_the_old_connection_leaves_the_new_one_in_place() {
        let registry = Registry::new(0);
        let key: Arc<str> = "cp-1".into();
        let (old, new) = (control(&registry), control(&registry));
        registry.claim(&key, &old);
        // The newcomer did not wait: its receiver is gone.
        drop(registry.claim(&key, &new));
        registry.release(&key, &old, ResendMemory::default());
        assert_eq!(registry.here(), 1);
        assert_eq!(new.stopped(), None);
    }

    #[test]
    fn chargers_that_are_away_are_remembered_up_to_a_bound() {
        let registry = Registry::new(0);
        for i in 0..AWAY_MAX + 10_000 {
            registry.remember(format!("cp-{i}").into(), ResendMemory::default());
        }
        let kept: usize = registry
            .shards
            .iter()
            .map(|shard| lock(shard).slots.len())
            .sum();
        assert!(kept <= AWAY_MAX, "{kept}");
    }
}
