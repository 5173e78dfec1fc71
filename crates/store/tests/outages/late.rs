//! A PostgreSQL that answers too late for a whole batch: everything is stored all the same, in smaller parts, and
//! what makes one record slow holds up nobody else's.

use crate::common::{self, Adapter, PostgresHome, Said, apply, heartbeat, id, start};
use central::Timestamp;
use central::memory::MemoryStore;
use central::query::{PageRequest, QueryStore, TransactionFilter};
use std::time::{Duration, Instant};
use store::{PostgresOptions, PostgresStore};

fn impatient() -> PostgresOptions {
    PostgresOptions {
        statement_timeout: Duration::from_millis(400),
        ..PostgresOptions::default()
    }
}

/// Applies as its callers do: again and again until it is done; how many tries it took.
fn insist(store: &PostgresStore, said: &[Said]) -> usize {
    let deadline = Instant::now() + Duration::from_secs(120);
    for tries in 1.. {
        match apply(store, said) {
            Ok(_) => return tries,
            Err(away) => assert!(Instant::now() < deadline, "{away}"),
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

const SLOW: &str = "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_sleep(SECONDS);
        RETURN NEW;
    END $$;";

#[test]
fn a_batch_that_takes_too_long_is_stored_in_parts() {
    let home = PostgresHome::new();
    home.execute(&SLOW.replace("SECONDS", "0.03"));
    home.execute(
        "CREATE TRIGGER dawdle BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION dawdle()",
    );
    let store = home.open_with(impatient());
    let said: Vec<Said> = (1..=64).map(|seq| heartbeat(seq, "CP-1")).collect();
    let tries = insist(&store, &said);
    assert!((2..=6).contains(&tries), "{tries} tries");
    let reference = MemoryStore::default();
    apply(&reference, &said).unwrap();
    assert_eq!(store.contents().unwrap(), reference.contents());
}

#[test]
fn a_list_that_cannot_be_changed_in_time_holds_up_no_message() {
    let home = PostgresHome::new();
    let store = home.open_with(impatient());
    apply(&store, &[heartbeat(500, "CP-SLOW")]).unwrap();
    home.execute(&SLOW.replace("SECONDS", "5"));
    home.execute(
        "DO $$ BEGIN EXECUTE format('CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON transaction_views
            FOR EACH ROW WHEN (NEW.charger_no = %s) EXECUTE FUNCTION dawdle()',
            (SELECT no FROM chargers WHERE key = 'cp-slow')); END $$",
    );
    let mut said: Vec<Said> = (1..=30).map(|seq| heartbeat(seq, "CP-1")).collect();
    said.insert(7, start(id(0, 101), "CP-SLOW", 3, 77));
    said.insert(20, start(id(0, 102), "CP-1", 3, 78));
    insist(&store, &said);
    let reference = MemoryStore::default();
    apply(&reference, &[heartbeat(500, "CP-SLOW")]).unwrap();
    apply(&reference, &said).unwrap();
    assert_eq!(store.contents().unwrap(), reference.contents());
    assert_eq!(
        transaction_ids(&store),
        ["78"],
        "the other charger's is listed"
    );
    let put_off = "SELECT count(*) AS value FROM transactions_to_list";
    assert_eq!(home.ask(put_off), ["1"]);
    let now = Timestamp(common::BEGIN_MILLIS);
    store.maintenance_round(now).unwrap();
    // It is still too slow, which is nobody else's trouble.
    assert_eq!(home.ask(put_off), ["1"]);
    home.execute("DROP TRIGGER dawdle ON transaction_views");
    store.maintenance_round(now).unwrap();
    assert_eq!(transaction_ids(&store), ["77", "78"]);
    assert_eq!(home.ask(put_off), ["0"]);
}
