//! PostgreSQL that is unavailable: the error names the kind, nothing is lost, and the store recovers by itself.

use crate::common::{Adapter, PostgresDatabase, Sent, apply, heartbeat, id, meter_values, start};
use central::Seq;
use central::memory::MemoryStore;
use central::ports::{Maintenance, UnavailableKind};
use central::query::QueryStore;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{PostgresOptions, PostgresStore};
use testbed::{Postgres, Proxy};

/// Timeouts short enough for a test.
fn short_timeouts() -> PostgresOptions {
    PostgresOptions {
        statement_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        ..PostgresOptions::default()
    }
}

fn batch(number: u64) -> Vec<Sent> {
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

/// Calls until it succeeds. On a loaded machine, connecting may take longer than the short timeouts.
fn until_ok<T, E: Display>(call: impl Fn() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match call() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Applies until it succeeds, as a consumer does.
fn apply_until_stored(store: &PostgresStore, sent: &[Sent]) {
    until_ok(|| apply(store, sent));
}

#[test]
fn reported_batches_survive_a_killed_server_and_none_is_stored_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Postgres::start(directory.path()).unwrap();
    PostgresStore::migrate(&server.url()).unwrap();
    let store = PostgresStore::open(&server.url(), short_timeouts()).unwrap();
    let done = AtomicU64::new(0);
    let batches = 60;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..batches {
                apply_until_stored(&store, &batch(number));
                done.store(number + 1, Ordering::SeqCst);
            }
        });
        let mut rng = fastrand::Rng::with_seed(7);
        for kill in 1..=4 {
            let wanted = kill * batches / 6;
            while done.load(Ordering::SeqCst) < wanted {
                std::thread::sleep(Duration::from_millis(1));
            }
            // At a random moment of the next batch.
            std::thread::sleep(Duration::from_millis(rng.u64(0..12)));
            server.kill().unwrap();
            let reported = done.load(Ordering::SeqCst);
            server.restart().unwrap();
            let last = server.psql("SELECT count(*) FROM messages").unwrap();
            let stored: u64 = last.parse().unwrap();
            assert!(stored >= reported * 40, "{stored} of {reported} batches");
            assert_eq!(stored % 40, 0, "half a batch");
        }
    });
    let all: Vec<Sent> = (0..batches).flat_map(batch).collect();
    let reference = MemoryStore::default();
    apply(&reference, &all).unwrap();
    assert_eq!(until_ok(|| store.contents()), reference.contents());
}

#[test]
fn store_opens_while_the_server_is_unavailable() {
    let database = PostgresDatabase::new();
    let proxy = Proxy::start(PostgresDatabase::server_address()).unwrap();
    proxy.cut();
    let store = PostgresStore::open(&database.url_by(proxy.addr()), short_timeouts()).unwrap();
    let error = apply(&store, &batch(0)).unwrap_err();
    assert_eq!(
        (error.component, error.kind),
        ("database", UnavailableKind::Unreachable)
    );
    assert!(store.ping().is_err() && store.charger("CP-1").is_err());
    proxy.restore();
    apply_until_stored(&store, &batch(0));
    until_ok(|| store.ping());
    assert!(until_ok(|| store.charger("CP-1")).is_some());
}

#[test]
fn network_that_drops_packets_is_detected_within_the_timeouts() {
    let database = PostgresDatabase::new();
    let proxy = Proxy::start(PostgresDatabase::server_address()).unwrap();
    let store = PostgresStore::open(&database.url_by(proxy.addr()), short_timeouts()).unwrap();
    apply_until_stored(&store, &batch(0));
    until_ok(|| store.charger("CP-1"));
    proxy.black_hole();
    for _ in 0..2 {
        let began = Instant::now();
        let error = apply(&store, &batch(1)).unwrap_err();
        assert_eq!(error.kind, UnavailableKind::Unreachable);
        assert!(store.charger("CP-1").is_err());
        assert!(store.ping().is_err());
        // Three calls, each of at most one connect and two statements.
        assert!(
            began.elapsed() < Duration::from_secs(12),
            "{:?}",
            began.elapsed()
        );
    }
    proxy.cut();
    proxy.restore();
    apply_until_stored(&store, &batch(1));
    let reference = MemoryStore::default();
    apply(&reference, &[batch(0), batch(1)].concat()).unwrap();
    assert_eq!(until_ok(|| store.contents()), reference.contents());
}

#[test]
fn broken_connection_is_replaced() {
    let database = PostgresDatabase::new();
    let store = database.open();
    apply_until_stored(&store, &batch(0));
    store.charger("CP-1").unwrap();
    database.command(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{}' AND pid <> pg_backend_pid()",
        database.name
    ));
    // A reading connection is checked before it is used; the writer returns one error.
    assert!(store.charger("CP-1").unwrap().is_some());
    if let Err(error) = apply(&store, &batch(1)) {
        assert_eq!(error.kind, UnavailableKind::Unreachable);
        apply(&store, &batch(1)).unwrap();
    }
    assert_eq!(until_ok(|| store.contents()).records.len(), 80);
}

/// Makes every batch fail with this SQLSTATE.
fn refuse_with(database: &PostgresDatabase, code: &str) {
    database.execute(&format!(
        "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'raised by the test' USING ERRCODE = '{code}'; END $$;
         DROP TRIGGER IF EXISTS fail ON messages;
         CREATE TRIGGER fail AFTER INSERT ON messages EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn every_temporary_error_has_its_kind_and_stores_nothing() {
    let database = PostgresDatabase::new();
    let store = database.open();
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
        refuse_with(&database, code);
        let error = apply(&store, &[heartbeat(1, "CP-1")]).unwrap_err();
        assert_eq!(error.kind, kind, "{code}: {error}");
        assert!(
            error.detail.contains("raised by the test") && error.detail.contains(code),
            "{error}"
        );
    }
    database.execute("DROP TRIGGER fail ON messages");
    let contents = until_ok(|| store.contents());
    assert!(contents.records.is_empty() && contents.dead.is_empty());
    assert_eq!(apply(&store, &[heartbeat(1, "CP-1")]).unwrap().new, 1);
}

#[test]
fn read_only_database_is_reported_and_can_be_read() {
    let database = PostgresDatabase::new();
    apply_until_stored(&database.open(), &batch(0));
    let set = |value: &str| {
        database.command(&format!(
            "SET TRANSACTION READ WRITE; ALTER DATABASE {} SET default_transaction_read_only = {value}",
            database.name
        ));
    };
    set("on");
    let store = database.open();
    assert_eq!(
        apply(&store, &batch(1)).unwrap_err().kind,
        UnavailableKind::ReadOnly
    );
    assert!(store.charger("CP-1").unwrap().is_some());
    set("off");
    apply_until_stored(&store, &batch(1));
}

#[test]
fn locked_tables_are_waited_for_until_the_timeout() {
    let database = PostgresDatabase::new();
    let store = database.open_with(short_timeouts());
    apply_until_stored(&store, &batch(0));
    let (held, release) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            database.hold("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE", || {
                held.wait();
                release.wait();
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
        release.wait();
    });
    apply_until_stored(&store, &batch(1));
    assert_eq!(until_ok(|| store.contents()).records.len(), 80);
}

#[test]
fn missing_tables_are_an_error_with_the_remedy() {
    let database = PostgresDatabase::new();
    let store = database.open();
    apply_until_stored(&store, &batch(0));
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let error = apply(&store, &batch(1)).unwrap_err();
    assert!(error.detail.contains("wattpost migrate"), "{error}");
    assert!(
        store
            .ping()
            .unwrap_err()
            .detail
            .contains("wattpost migrate")
    );
    PostgresStore::migrate(&database.url()).unwrap();
    apply_until_stored(&store, &batch(1));
    assert_eq!(until_ok(|| store.contents()).records.len(), 40);
}

#[test]
fn start_waits_for_a_silent_server_for_seconds_only() {
    let database = PostgresDatabase::new();
    let proxy = Proxy::start(PostgresDatabase::server_address()).unwrap();
    let url = database.url_by(proxy.addr());
    let open = || PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    let store = open();
    apply_until_stored(&store, &batch(0));
    assert_eq!(store.last_seq(id(0, 1).gateway).unwrap(), Some(Seq(40)));
    proxy.black_hole();
    let seconds = |at_most: u64, work: &dyn Fn()| {
        let began = Instant::now();
        work();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(at_most), "{took:?}");
    };
    seconds(4, &|| assert!(store.last_seq(id(0, 1).gateway).is_err()));
    seconds(4, &|| drop(open()));
    let second = Duration::from_secs(1);
    seconds(4, &|| {
        assert!(PostgresStore::migrate_within(&url, second).is_err());
    });
    seconds(10, &|| assert!(PostgresStore::migrate(&url).is_err()));
}

#[test]
fn start_does_not_wait_for_another_process_that_migrates() {
    let database = PostgresDatabase::new();
    let within = |seconds| {
        let limit = Duration::from_secs(seconds);
        // On another thread: the one that holds the lock is blocked.
        std::thread::scope(|scope| {
            let migrating = scope.spawn(|| PostgresStore::migrate_within(&database.url(), limit));
            migrating.join().unwrap()
        })
    };
    database.hold("SELECT pg_advisory_xact_lock(1463899220)", || {
        let began = Instant::now();
        let error = within(1).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{error}");
    });
    within(30).unwrap();
}
