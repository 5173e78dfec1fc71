//! Retrying dead letters.

use crate::support::{id, record};
use central::memory::MemoryStore;
use central::model::{Actor, ActorKind, ChargerKey, Origin};
use central::ports::{
    Applied, ChangeRequest, DeadLetter, DeadLetters, ID_USED_TWICE, Idempotency, LetterRetries,
    LetterSelection, NotSelected, Once, Retried, StillDead, Store, Unavailable, UnavailableKind,
};
use central::project::Changes;
use central::{Record, RecordId, Timestamp};
use consumer::LetterRetry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store that skips the changes of known records, as the real ones do, and that can be unavailable.
#[derive(Default)]
struct Database {
    inner: Arc<MemoryStore>,
    is_unavailable: AtomicBool,
}

impl Store for Database {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        if self.is_unavailable.load(Ordering::SeqCst) {
            return Err(Unavailable {
                component: "database",
                kind: UnavailableKind::Locked,
                detail: "set by the test".to_owned(),
            });
        }
        let known = self.inner.record_ids();
        if !records.is_empty() && records.iter().all(|(id, _)| known.contains(id)) {
            return self.inner.apply(records, &Changes::default(), dead);
        }
        self.inner.apply(records, changes, dead)
    }
}

/// A database with one letter.
fn with(letter: DeadLetter) -> (Arc<Database>, LetterRetry) {
    let database = Arc::new(Database::default());
    database.apply(&[], &Changes::default(), &[letter]).unwrap();
    let retry = LetterRetry {
        store: Arc::clone(&database) as _,
        letters: Arc::clone(&database.inner) as _,
    };
    (database, retry)
}

fn request(key: Option<&str>) -> ChangeRequest {
    ChangeRequest {
        idempotency: key.map(|key| Idempotency {
            key: key.to_owned(),
            digest: [0; 32],
        }),
        ..ChangeRequest::of(Origin {
            at: Timestamp(1),
            by: Actor {
                kind: ActorKind::CommandLine,
                name: Some("anna".to_owned()),
            },
            from: "test".to_owned(),
            request_id: None,
            traceparent: None,
        })
    }
}

fn first() -> LetterSelection {
    LetterSelection::Ids(vec![id(1, 1)])
}

fn applied() -> Once<Retried, NotSelected> {
    Once::Done(Retried {
        applied: vec![id(1, 1).to_string()],
        still_dead: Vec::new(),
    })
}

fn still_dead(reason: &str) -> Once<Retried, NotSelected> {
    Once::Done(Retried {
        applied: Vec::new(),
        still_dead: vec![StillDead {
            record_id: id(1, 1).to_string(),
            reason: reason.to_owned(),
        }],
    })
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
    let (database, retry) = with(letter(record(1), "a bug that is fixed"));
    assert_eq!(retry.retry_letters(&first(), &request(None)), Ok(applied()));
    let contents = database.inner.contents();
    assert_eq!(contents.records[&id(1, 1)], record(1));
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("cp-1"))
    );
    let again = retry.retry_letters(&first(), &request(None));
    assert_eq!(
        again,
        Ok(Once::Refused(NotSelected::Unknown { id: id(1, 1) }))
    );
}

#[test]
fn a_repeated_retry_has_the_same_answer() {
    let (_database, retry) = with(letter(record(1), "a bug that is fixed"));
    let once = request(Some("k1"));
    assert_eq!(retry.retry_letters(&first(), &once), Ok(applied()));
    let Once::Done(first_answer) = applied() else {
        panic!("not done");
    };
    let repeated = retry.retry_letters(&first(), &once);
    assert_eq!(repeated, Ok(Once::Repeated(first_answer)));
}

#[test]
fn a_dead_letter_that_is_stored_as_a_message_gets_its_changes_applied() {
    let (database, retry) = with(letter(record(1), "projecting it panicked"));
    let bytes = record(1);
    let records = [(id(1, 1), Record::decode(&bytes).unwrap())];
    database.apply(&records, &Changes::default(), &[]).unwrap();
    assert_eq!(retry.retry_letters(&first(), &request(None)), Ok(applied()));
    let contents = database.inner.contents();
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("cp-1"))
    );
}

#[test]
fn a_dead_letter_that_is_not_a_record_stays_with_its_reason() {
    let (database, retry) = with(letter(b"no record".to_vec(), "not JSON"));
    let expected = still_dead("record is damaged: shorter than its header");
    assert_eq!(retry.retry_letters(&first(), &request(None)), Ok(expected));
    assert!(database.inner.dead_letter(id(1, 1)).unwrap().is_some());
    assert!(database.inner.contents().records.is_empty());
}

#[test]
fn a_dead_letter_with_the_id_of_another_record_stays() {
    let (database, retry) = with(letter(record(2), ID_USED_TWICE));
    let other = record(1);
    let records = [(id(1, 1), Record::decode(&other).unwrap())];
    database.apply(&records, &Changes::default(), &[]).unwrap();
    let retried = retry.retry_letters(&first(), &request(None));
    assert_eq!(retried, Ok(still_dead(ID_USED_TWICE)));
    assert!(database.inner.dead_letter(id(1, 1)).unwrap().is_some());
}

#[test]
fn a_dry_run_applies_nothing() {
    let (database, retry) = with(letter(record(1), "a bug that is fixed"));
    let tried = retry.try_letters(&first()).unwrap().unwrap();
    assert_eq!(tried.applied, [id(1, 1).to_string()]);
    assert!(database.inner.contents().records.is_empty());
    assert!(database.inner.dead_letter(id(1, 1)).unwrap().is_some());
}

#[test]
fn while_the_database_is_unavailable_the_dead_letter_stays_for_a_later_retry() {
    let (database, retry) = with(letter(record(1), "a bug that is fixed"));
    database.is_unavailable.store(true, Ordering::SeqCst);
    assert!(retry.retry_letters(&first(), &request(Some("k1"))).is_err());
    database.is_unavailable.store(false, Ordering::SeqCst);
    assert_eq!(
        retry.retry_letters(&first(), &request(Some("k1"))),
        Ok(applied())
    );
}
