//! PostgreSQL away in every way: it says which, loses nothing, and is found again by itself.

use crate::common::{Adapter, PostgresHome, Said, apply, heartbeat, id, meter_values, start};
use central::memory::MemoryStore;
use central::ports::{Maintenance, UnavailableKind};
use central::query::QueryStore;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{PostgresOptions, PostgresStore};
use testbed::{Postgres, Proxy};

/// Bounds short enough for a test.
fn impatient() -> PostgresOptions {
    PostgresOptions {
        statement_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        ..PostgresOptions::default()
    }
}

fn batch(number: u64) -> Vec<Said> {
    (0..40)
        .map(|n| {
            let seq = number * 40 + n + 1;
            let (charger, minute) = (format!("CP-{}", seq % 7), seq.cast_signed());
            match n {
                0..7 => start(id(0, seq), &charger, minute, (seq % 7).cast_signed() + 1),
                _ => meter_values(id(0, seq), &charger, minute, (seq % 7).cast_signed() + 1),
            }
        })
        .collect()
}

/// Applies until it succeeds, as a consumer does.
fn insist(store: &PostgresStore, said: &[Said]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(away) = apply(store, said) {
        assert!(Instant::now() < deadline, "{away}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn killed_in_the_middle_of_batches_what_was_reported_is_there_and_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Postgres::start(directory.path()).unwrap();
    PostgresStore::migrate(&server.url()).unwrap();
    let store = PostgresStore::open(&server.url(), impatient()).unwrap();
    let done = AtomicU64::new(0);
    let batches = 60;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..batches {
                insist(&store, &batch(number));
                done.store(number + 1, Ordering::SeqCst);
            }
        });
        let mut dice = fastrand::Rng::with_seed(7);
        for kill in 1..=4 {
            let wanted = kill * batches / 6;
            while done.load(Ordering::SeqCst) < wanted {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Somewhere in the batch after that one.
            std::thread::sleep(Duration::from_millis(dice.u64(0..12)));
            server.kill().unwrap();
            let reported = done.load(Ordering::SeqCst);
            server.restart().unwrap();
            let last = server.psql("SELECT count(*) FROM messages").unwrap();
            let stored: u64 = last.parse().unwrap();
            assert!(stored >= reported * 40, "{stored} of {reported} batches");
            assert_eq!(stored % 40, 0, "half a batch");
        }
    });
    let all: Vec<Said> = (0..batches).flat_map(batch).collect();
    let reference = MemoryStore::default();
    apply(&reference, &all).unwrap();
    assert_eq!(store.contents().unwrap(), reference.contents());
}

#[test]
fn away_at_the_start_is_no_reason_not_to_start() {
    let home = PostgresHome::new();
    let proxy = Proxy::start(PostgresHome::server_address()).unwrap();
    proxy.cut();
    let store = PostgresStore::open(&home.url_by(proxy.addr()), impatient()).unwrap();
    let away = apply(&store, &batch(0)).unwrap_err();
    assert_eq!(
        (away.component, away.kind),
        ("database", UnavailableKind::Unreachable)
    );
    assert!(store.ping().is_err() && store.charger("CP-1").is_err());
    proxy.restore();
    insist(&store, &batch(0));
    store.ping().unwrap();
    assert!(store.charger("CP-1").unwrap().is_some());
}

#[test]
fn a_black_hole_is_noticed_within_the_bound_and_left_behind() {
    let home = PostgresHome::new();
    let proxy = Proxy::start(PostgresHome::server_address()).unwrap();
    let store = PostgresStore::open(&home.url_by(proxy.addr()), impatient()).unwrap();
    insist(&store, &batch(0));
    store.charger("CP-1").unwrap();
    proxy.black_hole();
    for _ in 0..2 {
        let began = Instant::now();
        let away = apply(&store, &batch(1)).unwrap_err();
        assert_eq!(away.kind, UnavailableKind::Unreachable);
        assert!(store.charger("CP-1").is_err());
        assert!(store.ping().is_err());
        // Three calls, each at most a connect and two statements long.
        assert!(
            began.elapsed() < Duration::from_secs(12),
            "{:?}",
            began.elapsed()
        );
    }
    proxy.cut();
    proxy.restore();
    insist(&store, &batch(1));
    let reference = MemoryStore::default();
    apply(&reference, &[batch(0), batch(1)].concat()).unwrap();
    assert_eq!(store.contents().unwrap(), reference.contents());
}

#[test]
fn a_connection_that_broke_is_replaced() {
    let home = PostgresHome::new();
    let store = home.open();
    insist(&store, &batch(0));
    store.charger("CP-1").unwrap();
    home.command(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{}' AND pid <> pg_backend_pid()",
        home.name
    ));
    // A reader is tried before it is used; the writer says so once.
    assert!(store.charger("CP-1").unwrap().is_some());
    if let Err(away) = apply(&store, &batch(1)) {
        assert_eq!(away.kind, UnavailableKind::Unreachable);
        apply(&store, &batch(1)).unwrap();
    }
    assert_eq!(store.contents().unwrap().records.len(), 80);
}

/// Makes every batch fail with this error of the server's.
fn refuse_with(home: &PostgresHome, code: &str) {
    home.execute(&format!(
        "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'it is so' USING ERRCODE = '{code}'; END $$;
         DROP TRIGGER IF EXISTS fail ON messages;
         CREATE TRIGGER fail AFTER INSERT ON messages EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn every_trouble_that_passes_is_named_and_holds_the_batch_back() {
    let home = PostgresHome::new();
    let store = home.open();
    for (code, kind) in [
        ("53100", UnavailableKind::Full),
        ("53200", UnavailableKind::Unreachable),
        ("53300", UnavailableKind::Unreachable),
        ("25006", UnavailableKind::ReadOnly),
        ("57P01", UnavailableKind::Unreachable),
        ("57P03", UnavailableKind::Unreachable),
        ("57014", UnavailableKind::Unreachable),
        ("40P01", UnavailableKind::Locked),
        ("XX001", UnavailableKind::Corrupt),
    ] {
        refuse_with(&home, code);
        let away = apply(&store, &[heartbeat(1, "CP-1")]).unwrap_err();
        assert_eq!(away.kind, kind, "{code}: {away}");
        assert!(
            away.detail.contains("it is so") && away.detail.contains(code),
            "{away}"
        );
    }
    home.execute("DROP TRIGGER fail ON messages");
    let contents = store.contents().unwrap();
    assert!(contents.records.is_empty() && contents.dead.is_empty());
    assert_eq!(apply(&store, &[heartbeat(1, "CP-1")]).unwrap().new, 1);
}

#[test]
fn a_standby_or_a_read_only_database_is_named_and_read() {
    let home = PostgresHome::new();
    insist(&home.open(), &batch(0));
    let set = |value: &str| {
        home.command(&format!(
            "SET TRANSACTION READ WRITE; ALTER DATABASE {} SET default_transaction_read_only = {value}",
            home.name
        ));
    };
    set("on");
    let store = home.open();
    assert_eq!(
        apply(&store, &batch(1)).unwrap_err().kind,
        UnavailableKind::ReadOnly
    );
    assert!(store.charger("CP-1").unwrap().is_some());
    set("off");
    insist(&store, &batch(1));
}

#[test]
fn locked_tables_are_waited_for_and_no_longer_than_the_bound() {
    let home = PostgresHome::new();
    let store = home.open_with(impatient());
    insist(&store, &batch(0));
    let (held, let_go) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            home.hold("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE", || {
                held.wait();
                let_go.wait();
            });
        });
        held.wait();
        let began = Instant::now();
        assert!(apply(&store, &batch(1)).is_err());
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
        let_go.wait();
    });
    insist(&store, &batch(1));
    assert_eq!(store.contents().unwrap().records.len(), 80);
}

#[test]
fn tables_that_are_gone_are_missed_with_the_cure() {
    let home = PostgresHome::new();
    let store = home.open();
    insist(&store, &batch(0));
    home.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let away = apply(&store, &batch(1)).unwrap_err();
    assert!(away.detail.contains("wattpost migrate"), "{away}");
    assert!(
        store
            .ping()
            .unwrap_err()
            .detail
            .contains("wattpost migrate")
    );
    PostgresStore::migrate(&home.url()).unwrap();
    insist(&store, &batch(1));
    assert_eq!(store.contents().unwrap().records.len(), 40);
}

#[test]
fn a_start_waits_for_a_silent_server_no_longer_than_seconds() {
    let home = PostgresHome::new();
    let proxy = Proxy::start(PostgresHome::server_address()).unwrap();
    let url = home.url_by(proxy.addr());
    let patient = || PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    let store = patient();
    insist(&store, &batch(0));
    assert_eq!(
        store.last_seq(id(0, 1).gateway).unwrap(),
        Some(central::Seq(40))
    );
    proxy.black_hole();
    let seconds = |at_most: u64, work: &dyn Fn()| {
        let began = Instant::now();
        work();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(at_most), "{took:?}");
    };
    seconds(4, &|| assert!(store.last_seq(id(0, 1).gateway).is_err()));
    seconds(4, &|| drop(patient()));
    let second = Duration::from_secs(1);
    seconds(4, &|| {
        assert!(PostgresStore::migrate_within(&url, second).is_err());
    });
    seconds(10, &|| assert!(PostgresStore::migrate(&url).is_err()));
}

#[test]
fn a_start_does_not_wait_for_another_process_that_migrates() {
    let home = PostgresHome::new();
    let within = |seconds| {
        let limit = Duration::from_secs(seconds);
        // Not on the thread that holds the lock, which is busy with it.
        std::thread::scope(|scope| {
            let migrating = scope.spawn(|| PostgresStore::migrate_within(&home.url(), limit));
            migrating.join().unwrap()
        })
    };
    home.hold("SELECT pg_advisory_xact_lock(1463899220)", || {
        let began = Instant::now();
        let error = within(1).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{error}");
    });
    within(30).unwrap();
}
