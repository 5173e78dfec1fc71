//! Stores in memory, for tests.
//!
//! [`MemoryStore`] applies records and is the reference that the conformance suite compares every real store with.
//! [`MemoryRows`] answers queries from rows that a test has set; [`sample`] makes such rows. [`MemoryDirectory`] has the
//! chargers that an operator sets.

mod batches;
mod closings;
mod commands;
mod dead_letters;
mod directory;
mod disconnects;
mod imports;
mod local_lists;
mod rows;
pub mod sample;
mod tokens;

pub use closings::MemoryClosings;
pub use directory::MemoryDirectory;
pub use disconnects::MemoryDisconnects;
pub use rows::{BeforeQuery, MemoryRows};

use crate::effect;
use crate::model::{
    ChargerKey, EventRow, Merge, MeterValueRow, QuirkCount, QuirkCounts, Token,
    UNKNOWN_TOKENS_PER_DAY_MAX, UnknownTokenCount, UnknownTokenCounts, unknown_token_key,
};
use crate::ports::{Applied, DatabaseClock, DeadLetter, ID_USED_TWICE, Store, Unavailable};
use crate::project::Changes;
use crate::record::{Record, RecordId};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// What a [`MemoryStore`] holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// Every record, as its bytes.
    pub records: BTreeMap<RecordId, Vec<u8>>,
    /// All states, merged, without rows: these are in the other members.
    pub states: Changes,
    /// Rows by (charger, at in milliseconds, key hash).
    pub meter_values: BTreeMap<(ChargerKey, i64, i64), MeterValueRow>,
    /// Rows by (charger, at in milliseconds, key hash).
    pub events: BTreeMap<(ChargerKey, i64, i64), EventRow>,
    /// How often each charger needed each tolerance.
    pub quirks: QuirkCounts,
    /// How often each charger presented unknown tokens.
    pub unknown_tokens: UnknownTokenCounts,
    /// Dead letters: bytes and reason.
    pub dead: BTreeMap<RecordId, (Vec<u8>, String)>,
}

/// A [`Store`] in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    contents: Mutex<Contents>,
    requests: Mutex<commands::Requests>,
    batches: Mutex<batches::StoredBatches>,
    tokens: Mutex<BTreeMap<String, Token>>,
    dismissed_tokens: Mutex<BTreeMap<Uuid, Timestamp>>,
    /// The idempotency keys of imports of tokens.
    token_imports: Mutex<imports::ImportKeys>,
    wishes: Mutex<local_lists::Wishes>,
    letters: Mutex<dead_letters::Letters>,
    clock_ahead_ms: AtomicI64,
}

impl MemoryStore {
    /// Sets by how many milliseconds this database's clock is ahead of the machine's; negative: behind. At first it is
    /// zero.
    pub fn set_clock_ahead_ms(&self, ms: i64) {
        self.clock_ahead_ms.store(ms, Ordering::SeqCst);
    }

    /// A copy of everything.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.lock().clone()
    }

    /// Ids of all records, in order.
    #[must_use]
    pub fn record_ids(&self) -> BTreeSet<RecordId> {
        self.lock().records.keys().copied().collect()
    }

    fn requests(&self) -> MutexGuard<'_, commands::Requests> {
        // As in `lock`.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batches_held(&self) -> MutexGuard<'_, batches::StoredBatches> {
        // As in `lock`.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Nothing between two changes of the map panics, so it is consistent.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DatabaseClock for MemoryStore {
    fn time(&self) -> Result<Timestamp, Unavailable> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a database has a clock of its own"
        )]
        let now = SystemTime::now();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let ahead = self.clock_ahead_ms.load(Ordering::SeqCst);
        Ok(Timestamp(now).plus_millis(ahead))
    }
}

impl Store for MemoryStore {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        let claimed = self.requests().claimed();
        let effects = effect::effects(&claimed, records);
        let mut contents = self.lock();
        let mut applied = Applied::default();
        let mut new = BTreeSet::new();
        for (id, record) in records {
            let bytes = record.encode();
            match contents.records.get(id) {
                None => {
                    contents.records.insert(*id, bytes);
                    new.insert(*id);
                    applied.new += 1;
                }
                Some(known) if *known == bytes => applied.known += 1,
                Some(_) => {
                    let reason = ID_USED_TWICE.to_owned();
                    contents.dead.entry(*id).or_insert((bytes, reason));
                }
            }
        }
        for letter in dead {
            contents
                .dead
                .insert(letter.id, (letter.bytes.clone(), letter.reason.clone()));
        }
        let mut changes = changes.clone();
        changes.effects = effects;
        for row in std::mem::take(&mut changes.meter_values) {
            let key = (row.charger.clone(), row.at.0, row.key_hash);
            contents.meter_values.entry(key).or_insert(row);
        }
        for row in std::mem::take(&mut changes.events) {
            let key = (row.charger.clone(), row.at.0, row.key_hash);
            contents.events.entry(key).or_insert(row);
        }
        // A record that comes twice in a batch has its quirks twice.
        let quirks: BTreeSet<_> = std::mem::take(&mut changes.quirks).into_iter().collect();
        for (charger, quirk) in quirks {
            if new.contains(&quirk.record) {
                let once = QuirkCount::once(quirk.at);
                let counts = &mut contents.quirks;
                counts
                    .entry((charger, quirk.quirk))
                    .and_modify(|count| count.add(once))
                    .or_insert(once);
            }
        }
        let mut counted = BTreeSet::new();
        for (charger, token) in std::mem::take(&mut changes.presented) {
            if token.may_be_unknown && new.contains(&token.record) && counted.insert(token.record) {
                let key = unknown_token_key(&token.presented.id);
                let once = UnknownTokenCount::once(&token);
                add_unknown(
                    &mut contents.unknown_tokens,
                    (charger, token.day(), key),
                    once,
                );
            }
        }
        contents.states.merge(changes);
        Ok(applied)
    }
}

/// Adds to the row, and removes what is too much of its charger and day.
fn add_unknown(
    counts: &mut UnknownTokenCounts,
    key: (ChargerKey, i64, Uuid),
    once: UnknownTokenCount,
) {
    let (charger, day) = (key.0.clone(), key.1);
    match counts.get_mut(&key) {
        Some(count) => count.add(once),
        None => {
            counts.insert(key, once);
        }
    }
    let of_day = (charger.clone(), day, Uuid::nil())..=(charger, day, Uuid::max());
    let surplus = counts.range(of_day).nth(UNKNOWN_TOKENS_PER_DAY_MAX);
    if let Some(last) = surplus.map(|(key, _)| key.clone()) {
        counts.remove(&last);
    }
}
