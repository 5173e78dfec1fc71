//! PostgreSQL that is too slow for a whole batch: everything is stored all the same, in smaller parts, and one slow
//! record does not block the others.

use crate::common::{self, Adapter, PostgresDatabase, Sent, apply, heartbeat, id, start};
use central::Timestamp;
use central::memory::MemoryStore;
use central::query::{PageRequest, QueryStore, TransactionFilter};
use std::time::{Duration, Instant};
use store::{PostgresOptions, PostgresStore};

fn short_timeout() -> PostgresOptions {
    PostgresOptions {
        statement_timeout: Duration::from_millis(400),
        ..PostgresOptions::default()
    }
}

/// Applies until it succeeds, as every caller does; returns the number of attempts.
fn apply_until_stored(store: &PostgresStore, sent: &[Sent]) -> usize {
    let deadline = Instant::now() + Duration::from_secs(120);
    for attempts in 1.. {
        match apply(store, sent) {
            Ok(_) => return attempts,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
    unreachable!("the loop ends by itself")
}

fn transaction_ids(store: &PostgresStore) -> Vec<String> {
    let all = PageRequest {
        after: None,
        limit: 1_000,
    };
    let page = store.transactions(&TransactionFilter::default(), &all);
    let mut ids: Vec<_> = page
        .unwrap()
        .items
        .into_iter()
        .map(|view| view.transaction_id)
        .collect();
    ids.sort();
    ids
}

const SLOW: &str = "CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_sleep(SECONDS);
        RETURN NEW;
    END $$;";

#[test]
fn batch_that_takes_too_long_is_stored_in_parts() {
    let database = PostgresDatabase::new();
    database.execute(&SLOW.replace("SECONDS", "0.03"));
    database.execute(
        "CREATE TRIGGER delay BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION delay()",
    );
    let store = database.open_with(short_timeout());
    let sent: Vec<Sent> = (1..=64).map(|seq| heartbeat(seq, "CP-1")).collect();
    let attempts = apply_until_stored(&store, &sent);
    assert!((2..=6).contains(&attempts), "{attempts} attempts");
    let reference = MemoryStore::default();
    apply(&reference, &sent).unwrap();
    assert_eq!(store.contents().unwrap(), reference.contents());
}

#[test]
fn slow_list_update_blocks_no_message() {
    let database = PostgresDatabase::new();
    let store = database.open_with(short_timeout());
    apply(&store, &[heartbeat(500, "CP-SLOW")]).unwrap();
    database.execute(&SLOW.replace("SECONDS", "5"));
    database.execute(
        "DO $$ BEGIN EXECUTE format('CREATE TRIGGER delay BEFORE INSERT OR UPDATE ON transaction_views
            FOR EACH ROW WHEN (NEW.charger_no = %s) EXECUTE FUNCTION delay()',
            (SELECT no FROM chargers WHERE key = 'cp-slow')); END $$",
    );
    let mut sent: Vec<Sent> = (1..=30).map(|seq| heartbeat(seq, "CP-1")).collect();
    sent.insert(7, start(id(0, 101), "CP-SLOW", 3, 77));
    sent.insert(20, start(id(0, 102), "CP-1", 3, 78));
    apply_until_stored(&store, &sent);
    let reference = MemoryStore::default();
    apply(&reference, &[heartbeat(500, "CP-SLOW")]).unwrap();
    apply(&reference, &sent).unwrap();
    assert_eq!(store.contents().unwrap(), reference.contents());
    assert_eq!(
        transaction_ids(&store),
        ["78"],
        "the other charger's is listed"
    );
    let postponed = "SELECT count(*) AS value FROM transactions_to_list";
    assert_eq!(database.query(postponed), ["1"]);
    let now = Timestamp(common::BEGIN_MILLIS);
    store.maintenance_round(now).unwrap();
    // It is still too slow, and stays postponed.
    assert_eq!(database.query(postponed), ["1"]);
    database.execute("DROP TRIGGER delay ON transaction_views");
    store.maintenance_round(now).unwrap();
    assert_eq!(transaction_ids(&store), ["77", "78"]);
    assert_eq!(database.query(postponed), ["0"]);
}
