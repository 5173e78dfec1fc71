//! Retrying dead letters.

use crate::support::{id, record};
use central::memory::MemoryStore;
use central::model::ChargerKey;
use central::ports::{
    Applied, DeadLetter, DeadLetters, ID_USED_TWICE, Store, Unavailable, UnavailableKind,
};
use central::project::Changes;
use central::{Record, RecordId};
use consumer::{Retried, retry_dead_letter};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store with dead letters.
#[derive(Default)]
struct StoreWithDeadLetters {
    inner: MemoryStore,
    letters: Mutex<BTreeMap<RecordId, DeadLetter>>,
    is_unavailable: AtomicBool,
}

impl StoreWithDeadLetters {
    fn with(letter: DeadLetter) -> Self {
        let store = Self::default();
        store.letters.lock().unwrap().insert(letter.id, letter);
        store
    }

    fn check_available(&self) -> Result<(), Unavailable> {
        if !self.is_unavailable.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Unavailable {
            component: "database",
            kind: UnavailableKind::Locked,
            detail: "set by the test".to_owned(),
        })
    }
}

impl Store for StoreWithDeadLetters {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        self.check_available()?;
        let known = self.inner.record_ids();
        if !records.is_empty() && records.iter().all(|(id, _)| known.contains(id)) {
            // Like the real stores: the changes of known records are skipped.
            return self.inner.apply(records, &Changes::default(), dead);
        }
        self.inner.apply(records, changes, dead)
    }
}

impl DeadLetters for StoreWithDeadLetters {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        self.check_available()?;
        Ok(self.letters.lock().unwrap().get(&id).cloned())
    }

    fn discard_dead_letter(&self, id: RecordId) -> Result<bool, Unavailable> {
        self.check_available()?;
        Ok(self.letters.lock().unwrap().remove(&id).is_some())
    }
}

fn letter(bytes: Vec<u8>, reason: &str) -> DeadLetter {
    DeadLetter {
        id: id(1, 1),
        bytes,
        reason: reason.to_owned(),
    }
}

#[test]
fn a_dead_letter_that_is_applied_is_removed() {
    let store = StoreWithDeadLetters::with(letter(record(1), "a bug that is fixed"));
    assert_eq!(
        retry_dead_letter(&store, &store, id(1, 1)),
        Ok(Retried::Applied)
    );
    let contents = store.inner.contents();
    assert_eq!(contents.records[&id(1, 1)], record(1));
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("cp-1"))
    );
    assert_eq!(
        retry_dead_letter(&store, &store, id(1, 1)),
        Ok(Retried::NotFound)
    );
}

#[test]
fn a_dead_letter_that_is_stored_as_a_message_gets_its_changes_applied() {
    let store = StoreWithDeadLetters::with(letter(record(1), "projecting it panicked"));
    let bytes = record(1);
    let records = [(id(1, 1), Record::decode(&bytes).unwrap())];
    store
        .inner
        .apply(&records, &Changes::default(), &[])
        .unwrap();
    assert_eq!(
        retry_dead_letter(&store, &store, id(1, 1)),
        Ok(Retried::Applied)
    );
    let contents = store.inner.contents();
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("cp-1"))
    );
}

#[test]
fn a_dead_letter_that_is_not_a_record_stays_with_its_reason() {
    let store = StoreWithDeadLetters::with(letter(b"no record".to_vec(), "not JSON"));
    let retried = retry_dead_letter(&store, &store, id(1, 1)).unwrap();
    assert_eq!(
        retried,
        Retried::StillDead("record is damaged: shorter than its header".to_owned())
    );
    assert!(store.dead_letter(id(1, 1)).unwrap().is_some());
    assert!(store.inner.contents().records.is_empty());
}

#[test]
fn a_dead_letter_with_the_id_of_another_record_stays() {
    let store = StoreWithDeadLetters::with(letter(record(2), ID_USED_TWICE));
    let other = record(1);
    let records = [(id(1, 1), Record::decode(&other).unwrap())];
    store
        .inner
        .apply(&records, &Changes::default(), &[])
        .unwrap();
    let retried = retry_dead_letter(&store, &store, id(1, 1)).unwrap();
    assert_eq!(retried, Retried::StillDead(ID_USED_TWICE.to_owned()));
    assert!(store.dead_letter(id(1, 1)).unwrap().is_some());
}

#[test]
fn while_the_database_is_unavailable_the_dead_letter_stays_for_a_later_retry() {
    let store = StoreWithDeadLetters::with(letter(record(1), "a bug that is fixed"));
    store.is_unavailable.store(true, Ordering::SeqCst);
    assert!(retry_dead_letter(&store, &store, id(1, 1)).is_err());
    store.is_unavailable.store(false, Ordering::SeqCst);
    assert_eq!(
        retry_dead_letter(&store, &store, id(1, 1)),
        Ok(Retried::Applied)
    );
}
