//! What a person does with dead letters: looks for them, tries them again, discards them.

use crate::common::{
    Adapter, PostgresDatabase, SqliteDatabase, call, gateway, heartbeat, id, on_every_adapter,
    origin,
};
use central::model::{Actor, AuditView, ChargerKey, Origin};
use central::ports::{
    ChangeRequest, DeadLetter, DeadLetters, DiscardRequest, EventFilter, Idempotency,
    LETTERS_CHANGED_MAX, LetterRetries, LetterSelection, Maintenance, NotSelected, Once, Processes,
    Retried, Store,
};
use central::project::Changes;
use central::query::{
    AuditFilter, DeadLetterFilter, DeadLetterRow, DeadLetterState, PageRequest, QueryStore,
};
use central::{RecordId, Seq, Timestamp};
use consumer::LetterRetry;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{PostgresOptions, PostgresStore, Retention};

on_every_adapter!(
    dead_letters_are_found_by_charger_action_reason_and_time,
    a_discarded_letter_is_kept_without_its_content_and_counts_as_stored,
    a_redelivered_record_does_not_undo_its_discard_and_another_record_is_kept,
    letters_are_changed_only_if_so_many_match_as_expected,
    a_letter_is_retried_once_per_idempotency_key,
);

pub(crate) fn request(key: Option<&str>) -> ChangeRequest {
    ChangeRequest {
        idempotency: key.map(|key| Idempotency {
            key: key.to_owned(),
            digest: [7; 32],
        }),
        ..ChangeRequest::of(Origin {
            by: Actor {
                name: Some("anna".to_owned()),
                ..origin().by
            },
            ..origin()
        })
    }
}

pub(crate) fn discard(selection: LetterSelection) -> DiscardRequest {
    DiscardRequest {
        selection,
        reason: "test data".to_owned(),
        request: request(None),
    }
}

fn letter(seq: u64, bytes: &[u8], reason: &str) -> DeadLetter {
    DeadLetter {
        id: id(0, seq),
        bytes: bytes.to_vec(),
        reason: reason.to_owned(),
    }
}

/// Number 1 is of CP-1, 2 of cp-2, 3 cannot be decoded.
fn letters() -> Vec<DeadLetter> {
    let boot = call(id(0, 1), "CP-1", 1, "BootNotification", "{}").bytes;
    vec![
        letter(1, &boot, "a bug that is fixed"),
        letter(2, &heartbeat(2, "cp-2").bytes, "a 100% other bug"),
        letter(3, b"no record", "record is damaged"),
    ]
}

fn with_letters<A: Adapter>() -> (A, Arc<A::Store>) {
    let database = A::new();
    let store = Arc::new(database.open());
    store.apply(&[], &Changes::default(), &letters()).unwrap();
    (database, store)
}

fn found(store: &impl QueryStore, filter: &DeadLetterFilter) -> Vec<DeadLetterRow> {
    let (mut rows, mut page) = (Vec::new(), PageRequest::default());
    page.limit = 2;
    loop {
        let found = store.dead_letters(filter, &page).unwrap();
        rows.extend(found.items);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return rows,
        }
    }
}

fn ids(rows: &[DeadLetterRow]) -> Vec<&str> {
    rows.iter().map(|row| row.record_id.as_str()).collect()
}

fn audited(store: &impl QueryStore) -> Vec<AuditView> {
    let page = store.audit(&AuditFilter::default(), &PageRequest::default());
    page.unwrap().items
}

fn dead_letters_are_found_by_charger_action_reason_and_time<A: Adapter>() {
    let (_database, store) = with_letters::<A>();
    let all = DeadLetterFilter::default();
    let rows = found(&*store, &all);
    assert_eq!(ids(&rows), [1, 2, 3].map(|seq| id(0, seq).to_string()));
    assert_eq!(rows[0].charger_id.as_deref(), Some("CP-1"));
    assert_eq!(rows[0].action.as_deref(), Some("BootNotification"));
    assert_eq!((&rows[2].charger_id, &rows[2].action), (&None, &None));
    assert_eq!(rows[2].content.as_deref(), Some("no record"));
    for (filter, expected) in [
        (
            DeadLetterFilter {
                charger: Some("CP-2".to_owned()),
                ..all.clone()
            },
            vec![2],
        ),
        (
            DeadLetterFilter {
                action: Some("BootNotification".to_owned()),
                ..all.clone()
            },
            vec![1],
        ),
        // No character has a special meaning.
        (
            DeadLetterFilter {
                reason: Some("100%".to_owned()),
                ..all.clone()
            },
            vec![2],
        ),
        (
            DeadLetterFilter {
                reason: Some("bug%fixed".to_owned()),
                ..all.clone()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                from: Some(rows[0].at),
                ..all.clone()
            },
            vec![1, 2, 3],
        ),
        (
            DeadLetterFilter {
                to: Some(rows[0].at),
                ..all.clone()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                state: DeadLetterState::Discarded,
                ..all.clone()
            },
            vec![],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|seq| id(0, *seq).to_string()).collect();
        assert_eq!(ids(&found(&*store, &filter)), expected, "{filter:?}");
    }
    let one = store.dead_letter_row(id(0, 2)).unwrap();
    assert_eq!(one.as_ref(), Some(&rows[1]));
    assert_eq!(store.dead_letter_row(id(0, 9)).unwrap(), None);
}

fn a_discarded_letter_is_kept_without_its_content_and_counts_as_stored<A: Adapter>() {
    let (database, store) = with_letters::<A>();
    let wanted = discard(LetterSelection::Ids(vec![id(0, 3), id(0, 1)]));
    let Once::Done(mut done) = store.discard_letters(&wanted).unwrap() else {
        panic!("not discarded");
    };
    done.sort();
    assert_eq!(done, [id(0, 1), id(0, 3)].map(|id| id.to_string()));

    // Also for another process.
    let other = database.open();
    assert_eq!(
        ids(&found(&other, &DeadLetterFilter::default())),
        [id(0, 2).to_string()]
    );
    let filter = DeadLetterFilter {
        charger: Some("cp-1".to_owned()),
        state: DeadLetterState::Discarded,
        ..DeadLetterFilter::default()
    };
    let gone = found(&other, &filter);
    assert_eq!(ids(&gone), [id(0, 1).to_string()]);
    assert_eq!(gone[0].content, None);
    assert_eq!(gone[0].action.as_deref(), Some("BootNotification"));
    assert_eq!(gone[0].size_bytes, letters()[0].bytes.len() as u64);
    let discarded = gone[0].discarded.as_ref().unwrap();
    assert_eq!(
        (discarded.by.as_str(), discarded.reason.as_str()),
        ("anna", "test data")
    );
    assert_eq!(
        other.dead_letter_row(id(0, 1)).unwrap().as_ref(),
        Some(&gone[0])
    );
    assert_eq!(other.dead_letter(id(0, 1)).unwrap(), None);

    assert_eq!(other.count_dead_letters(10).unwrap(), 1);
    assert_eq!(other.count_stored(gateway(0), Seq(1), Seq(9)).unwrap(), 3);
    let mut stored = other.stored_seqs(gateway(0), Seq(1), Seq(9)).unwrap();
    stored.sort();
    assert_eq!(stored, [1, 2, 3].map(Seq));
    assert_eq!(other.last_seq(gateway(0)).unwrap(), Some(Seq(3)));

    let again = store.discard_letters(&wanted).unwrap();
    let NotSelected::Discarded { by, .. } = refused(again) else {
        panic!("it was discarded before");
    };
    assert_eq!(by, "anna");
    let unknown = discard(LetterSelection::Ids(vec![id(0, 2), id(9, 9)]));
    let unknown = refused(store.discard_letters(&unknown).unwrap());
    assert_eq!(unknown, NotSelected::Unknown { id: id(9, 9) });
    assert!(
        store.dead_letter(id(0, 2)).unwrap().is_some(),
        "all or none"
    );

    let entries = audited(&other);
    assert_eq!(entries.len(), 2);
    let of_charger = entries
        .iter()
        .find(|entry| entry.subject == id(0, 1).to_string());
    let entry = of_charger.unwrap();
    assert_eq!(entry.action, "dead_letter.discarded");
    assert_eq!(entry.before.as_ref().unwrap()["charger_id"], "CP-1");
    assert_eq!(entry.after.as_ref().unwrap()["discard_reason"], "test data");
    let events = crate::event_log::all(&*store);
    let names: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        names,
        [
            "dead_letter.added",
            "dead_letter.added",
            "dead_letter.added",
            "dead_letter.discarded",
            "dead_letter.discarded"
        ]
    );
    let filter = EventFilter {
        charger: Some("CP-1".to_owned()),
        ..EventFilter::default()
    };
    let of_charger = crate::event_log::read(&*store, central::model::EventId::START, &filter, 9);
    assert_eq!(of_charger.len(), 2, "{of_charger:?}");
}

fn refused<T: std::fmt::Debug>(once: Once<T, NotSelected>) -> NotSelected {
    match once {
        Once::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

fn a_redelivered_record_does_not_undo_its_discard_and_another_record_is_kept<A: Adapter>() {
    let (database, store) = with_letters::<A>();
    let wanted = discard(LetterSelection::Ids(vec![id(0, 3)]));
    assert!(matches!(store.discard_letters(&wanted), Ok(Once::Done(_))));
    store.apply(&[], &Changes::default(), &letters()).unwrap();
    assert_eq!(store.dead_letter(id(0, 3)).unwrap(), None);
    assert_eq!(database.set_aside(), []);
    let other = letter(3, b"another", "another reason");
    for _ in 0..2 {
        store
            .apply(&[], &Changes::default(), std::slice::from_ref(&other))
            .unwrap();
    }
    assert_eq!(store.dead_letter(id(0, 3)).unwrap(), Some(other));
    assert_eq!(database.set_aside(), []);
    // The number counts once, also when the other record is discarded too.
    assert_eq!(store.count_stored(gateway(0), Seq(1), Seq(9)).unwrap(), 3);
    assert!(matches!(store.discard_letters(&wanted), Ok(Once::Done(_))));
    assert_eq!(store.count_stored(gateway(0), Seq(1), Seq(9)).unwrap(), 3);
}

fn letters_are_changed_only_if_so_many_match_as_expected<A: Adapter>() {
    let (_database, store) = with_letters::<A>();
    let matching = |expected| LetterSelection::Matching {
        filter: DeadLetterFilter {
            reason: Some("bug".to_owned()),
            ..DeadLetterFilter::default()
        },
        expected,
    };
    let wrong = discard(matching(Some(3)));
    let other = NotSelected::OtherNumber {
        found: 2,
        expected: 3,
    };
    assert_eq!(refused(store.discard_letters(&wrong).unwrap()), other);
    assert_eq!(
        store
            .select_letters(&matching(Some(1)))
            .unwrap()
            .unwrap_err()
            .to_string(),
        "2 dead letters match, not 1"
    );
    let both: Vec<RecordId> = [1, 2].map(|seq| id(0, seq)).to_vec();
    assert_eq!(
        store.select_letters(&matching(None)).unwrap(),
        Ok(both.clone())
    );
    assert_eq!(store.count_dead_letters(9).unwrap(), 3);
    let right = discard(matching(Some(2)));
    let done = store.discard_letters(&right).unwrap();
    let both: Vec<String> = both.iter().map(RecordId::to_string).collect();
    assert_eq!(done, Once::Done(both));
    assert_eq!(store.count_dead_letters(9).unwrap(), 1);

    let many: Vec<DeadLetter> = (10..=10 + LETTERS_CHANGED_MAX as u64)
        .map(|seq| letter(seq, b"x", "many"))
        .collect();
    store.apply(&[], &Changes::default(), &many).unwrap();
    let all = LetterSelection::Matching {
        filter: DeadLetterFilter::default(),
        expected: None,
    };
    let found = LETTERS_CHANGED_MAX as u64 + 2;
    assert_eq!(
        store.select_letters(&all).unwrap(),
        Err(NotSelected::TooMany { found })
    );
}

fn a_letter_is_retried_once_per_idempotency_key<A: Adapter>() {
    let (_database, store) = with_letters::<A>();
    let retries = LetterRetry {
        store: Arc::clone(&store) as _,
        letters: Arc::clone(&store) as _,
    };
    let all = LetterSelection::Matching {
        filter: DeadLetterFilter::default(),
        expected: Some(3),
    };
    let tried = retries.try_letters(&all).unwrap().unwrap();
    assert_eq!((tried.applied.len(), tried.still_dead.len()), (2, 1));
    assert_eq!(
        store.count_dead_letters(9).unwrap(),
        3,
        "a dry run changes nothing"
    );
    assert_eq!(audited(&*store), []);

    let once = request(Some("k1"));
    let Once::Done(retried) = retries.retry_letters(&all, &once).unwrap() else {
        panic!("not tried");
    };
    assert_eq!(
        retried.applied,
        [id(0, 1), id(0, 2)].map(|id| id.to_string())
    );
    assert_eq!(retried.still_dead[0].record_id, id(0, 3).to_string());
    assert!(retried.still_dead[0].reason.contains("damaged"));
    let contents = A::contents(&store);
    assert_eq!(contents.records.len(), 2);
    assert!(
        contents
            .states
            .chargers
            .contains_key(&ChargerKey::of("CP-1"))
    );
    let repeated = retries.retry_letters(&all, &once).unwrap();
    assert_eq!(repeated, Once::Repeated(retried));
    let refused = refused(retries.retry_letters(&all, &request(None)).unwrap());
    assert_eq!(refused.to_string(), "1 dead letters match, not 3");
    let entries = audited(&*store);
    let entries: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.subject.as_str()))
        .collect();
    let [first, second] = [id(0, 1), id(0, 2)].map(|id| id.to_string());
    assert_eq!(
        entries,
        [
            ("dead_letter.applied", second.as_str()),
            ("dead_letter.applied", first.as_str())
        ]
    );
    // Another request under the same key.
    let other = ChangeRequest {
        idempotency: Some(Idempotency {
            key: "k1".to_owned(),
            digest: [8; 32],
        }),
        ..request(None)
    };
    let nothing = Retried::default();
    assert_eq!(
        store.settle_retry(&nothing, &other).unwrap(),
        Once::Mismatch
    );
    assert_eq!(store.retried_before(&other).unwrap(), Some(Once::Mismatch));
}

/// Makes the schema that of the version before discarded letters.
const BEFORE: &str = "DROP TABLE unknown_tokens; DROP TABLE dismissed_tokens; DROP TABLE token_refusals; ALTER TABLE commands DROP COLUMN traceparent; ALTER TABLE commands DROP COLUMN skips_check;
     ALTER TABLE audit_log DROP COLUMN traceparent; ALTER TABLE charger_profiles DROP COLUMN close_style; DROP TABLE alerts; DROP TABLE alert_silences; DROP TABLE alert_evaluation;
     DROP TABLE disconnect_requests; DROP TABLE removed_chargers; DROP TABLE sites; DROP INDEX charger_profiles_site; DROP INDEX charger_profiles_group;
     ALTER TABLE charger_profiles DROP COLUMN label; ALTER TABLE charger_profiles DROP COLUMN label_key;
     ALTER TABLE charger_profiles DROP COLUMN site; ALTER TABLE charger_profiles DROP COLUMN charger_group;
     DROP INDEX transaction_aliases_by_transaction; DROP INDEX messages_connections; DROP TABLE password_rotations; DROP TABLE webhook_attempts;
     DROP TABLE webhooks; DROP TABLE users;
     DROP INDEX transaction_views_by_token; DROP INDEX transaction_views_running; ALTER TABLE transaction_views DROP COLUMN token_key;
     DROP TABLE discarded_letters; ALTER TABLE dead_letters DROP COLUMN charger_id;
     ALTER TABLE dead_letters DROP COLUMN charger_key; ALTER TABLE dead_letters DROP COLUMN action;
     ALTER TABLE event_queue DROP COLUMN letter; ALTER TABLE batches ADD COLUMN key TEXT;
     ALTER TABLE batches ADD COLUMN digest TEXT; CREATE UNIQUE INDEX batches_key ON batches (requested_by, key);";

fn letters_are_described(store: &impl QueryStore) {
    let rows = found(store, &DeadLetterFilter::default());
    let chargers: Vec<Option<&str>> = rows.iter().map(|row| row.charger_id.as_deref()).collect();
    assert_eq!(chargers, [Some("CP-1"), Some("cp-2"), None]);
    let filter = DeadLetterFilter {
        charger: Some("CP-2".to_owned()),
        action: Some("Heartbeat".to_owned()),
        ..DeadLetterFilter::default()
    };
    assert_eq!(found(store, &filter).len(), 1);
}

#[test]
fn letters_of_an_earlier_version_are_described_by_the_migration_of_sqlite() {
    let (database, store) = with_letters::<SqliteDatabase>();
    drop(store);
    database.execute(&format!(
        "{BEFORE} ALTER TABLE meter_values DROP COLUMN stored_on; DROP INDEX events_stored_on;
         ALTER TABLE events DROP COLUMN stored_on; PRAGMA user_version = 14"
    ));
    letters_are_described(&database.open());
}

#[test]
fn letters_of_an_earlier_version_are_described_by_the_migration_of_postgresql() {
    let (database, store) = with_letters::<PostgresDatabase>();
    drop(store);
    database.execute(&format!(
        "{BEFORE} DROP FUNCTION wattpost_expire_discarded(bigint, integer, integer);
         DROP FUNCTION wattpost_expire_transactions(bigint, integer, integer, bigint, uuid);
         UPDATE wattpost_schema SET version = 14"
    ));
    PostgresStore::migrate(&database.url()).unwrap();
    letters_are_described(&database.open());
}

#[test]
fn discarded_letters_are_deleted_after_the_retention() {
    let database = PostgresDatabase::new();
    let store = database.open_with(PostgresOptions {
        retention: Retention {
            records_days: 2,
            ..Retention::default()
        },
        ..PostgresOptions::default()
    });
    store.apply(&[], &Changes::default(), &letters()).unwrap();
    let long_ago = DiscardRequest {
        request: ChangeRequest::of(Origin {
            at: Timestamp(5),
            ..origin()
        }),
        ..discard(LetterSelection::Ids(vec![id(0, 1)]))
    };
    assert!(matches!(
        store.discard_letters(&long_ago),
        Ok(Once::Done(_))
    ));
    let now = Timestamp(now_ms());
    let recent = DiscardRequest {
        request: ChangeRequest::of(Origin {
            at: now,
            ..origin()
        }),
        ..discard(LetterSelection::Ids(vec![id(0, 2)]))
    };
    assert!(matches!(store.discard_letters(&recent), Ok(Once::Done(_))));
    store.maintain(now).unwrap();
    let filter = DeadLetterFilter {
        state: DeadLetterState::Discarded,
        ..DeadLetterFilter::default()
    };
    assert_eq!(ids(&found(&store, &filter)), [id(0, 2).to_string()]);
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis().try_into().unwrap()
}
