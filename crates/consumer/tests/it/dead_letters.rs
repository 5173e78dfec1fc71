//! Dead letters that are tried again.

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

/// A store with a drawer for dead letters.
#[derive(Default)]
struct Drawer {
    inner: MemoryStore,
    letters: Mutex<BTreeMap<RecordId, DeadLetter>>,
    away: AtomicBool,
}

impl Drawer {
    fn with(letter: DeadLetter) -> Self {
        let drawer = Self::default();
        drawer.letters.lock().unwrap().insert(letter.id, letter);
        drawer
    }

    fn reach(&self) -> Result<(), Unavailable> {
        if !self.away.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Unavailable {
            component: "database",
            kind: UnavailableKind::Locked,
            detail: "told so by the test".to_owned(),
        })
    }
}

impl Store for Drawer {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        self.reach()?;
        let known = self.inner.record_ids();
        if !records.is_empty() && records.iter().all(|(id, _)| known.contains(id)) {
            // As the real ones do.
            return self.inner.apply(records, &Changes::default(), dead);
        }
        self.inner.apply(records, changes, dead)
    }
}

impl DeadLetters for Drawer {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        self.reach()?;
        Ok(self.letters.lock().unwrap().get(&id).cloned())
    }

    fn discard_dead_letter(&self, id: RecordId) -> Result<bool, Unavailable> {
        self.reach()?;
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
fn a_letter_that_goes_in_is_a_letter_no_more() {
    let drawer = Drawer::with(letter(record(1), "a bug that is fixed"));
    assert_eq!(
        retry_dead_letter(&drawer, &drawer, id(1, 1)),
        Ok(Retried::Applied)
    );
    let contents = drawer.inner.contents();
    assert_eq!(contents.records[&id(1, 1)], record(1));
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("cp-1"))
    );
    assert_eq!(
        retry_dead_letter(&drawer, &drawer, id(1, 1)),
        Ok(Retried::NotFound)
    );
}

#[test]
fn a_letter_that_is_among_the_messages_changes_what_it_should_have_changed() {
    let drawer = Drawer::with(letter(record(1), "projecting it panicked"));
    let bytes = record(1);
    let records = [(id(1, 1), Record::decode(&bytes).unwrap())];
    drawer
        .inner
        .apply(&records, &Changes::default(), &[])
        .unwrap();
    assert_eq!(
        retry_dead_letter(&drawer, &drawer, id(1, 1)),
        Ok(Retried::Applied)
    );
    let contents = drawer.inner.contents();
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("cp-1"))
    );
}

#[test]
fn a_letter_that_is_no_record_stays_one_with_its_reason() {
    let drawer = Drawer::with(letter(b"no record".to_vec(), "not JSON"));
    let retried = retry_dead_letter(&drawer, &drawer, id(1, 1)).unwrap();
    assert_eq!(
        retried,
        Retried::StillDead("record is damaged: shorter than its header".to_owned())
    );
    assert!(drawer.dead_letter(id(1, 1)).unwrap().is_some());
    assert!(drawer.inner.contents().records.is_empty());
}

#[test]
fn a_letter_whose_id_is_anothers_stays_one() {
    let drawer = Drawer::with(letter(record(2), ID_USED_TWICE));
    let other = record(1);
    let records = [(id(1, 1), Record::decode(&other).unwrap())];
    drawer
        .inner
        .apply(&records, &Changes::default(), &[])
        .unwrap();
    let retried = retry_dead_letter(&drawer, &drawer, id(1, 1)).unwrap();
    assert_eq!(retried, Retried::StillDead(ID_USED_TWICE.to_owned()));
    assert!(drawer.dead_letter(id(1, 1)).unwrap().is_some());
}

#[test]
fn with_the_database_away_the_letter_stays_for_the_next_try() {
    let drawer = Drawer::with(letter(record(1), "a bug that is fixed"));
    drawer.away.store(true, Ordering::SeqCst);
    assert!(retry_dead_letter(&drawer, &drawer, id(1, 1)).is_err());
    drawer.away.store(false, Ordering::SeqCst);
    assert_eq!(
        retry_dead_letter(&drawer, &drawer, id(1, 1)),
        Ok(Retried::Applied)
    );
}
