//! PostgreSQL's schema, its partitions and its roles.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use central::Timestamp;
use central::ledger::Ledger;
use central::ports::{
    ChargerProfile, DeadLetter, DeadLetters, DirectorySource, Registration, Store, Token,
    TokenStatus,
};
use central::project::Changes;
use common::{
    Adapter, BEGIN_MILLIS, PostgresHome, Said, apply, at, call, heartbeat, id, meter_values, start,
    stop,
};
use store::{PostgresOptions, PostgresStore};

const DAY_MILLIS: i64 = 86_400_000;

/// Noon of a day of the test.
fn noon(day: i64) -> Timestamp {
    Timestamp(BEGIN_MILLIS + day * DAY_MILLIS + DAY_MILLIS / 2)
}

fn keeping(home: &PostgresHome, retain_days: u32) -> PostgresStore {
    home.open_with(PostgresOptions {
        retain_days,
        ..PostgresOptions::default()
    })
}

/// A meter value at noon of each of these days.
fn daily(days: std::ops::Range<i64>) -> Vec<Said> {
    days.map(|day| {
        let seq = 100 + day.cast_unsigned();
        meter_values(id(0, seq), "CP-1", day * 24 * 60 + 720, 5)
    })
    .collect()
}

/// Rows of a table by the partition that they are in.
fn rows_by_partition(home: &PostgresHome, table: &str) -> Vec<String> {
    home.ask(&format!(
        "SELECT tableoid::regclass || ' ' || count(*) AS value FROM {table} GROUP BY tableoid ORDER BY 1"
    ))
}

fn partitions(home: &PostgresHome, table: &str) -> Vec<String> {
    home.ask(&format!(
        "SELECT inhrelid::regclass AS value FROM pg_inherits WHERE inhparent = '{table}'::regclass
            AND inhrelid::regclass::text LIKE '{table}_20260_%' ORDER BY 1"
    ))
}

#[test]
fn rows_go_to_the_partition_of_their_day_also_when_it_is_made_late() {
    let home = PostgresHome::new();
    let store = home.open();
    apply(&store, &daily(0..3)).unwrap();
    assert_eq!(
        rows_by_partition(&home, "messages"),
        ["messages_default 3"],
        "before there are partitions for them"
    );
    let before = store.contents().unwrap();
    store.maintain(noon(1)).unwrap();
    apply(&store, &daily(0..5)).unwrap();
    for table in ["messages", "meter_values"] {
        let want: Vec<String> = (1..=5)
            .map(|day| format!("{table}_2026010{day} 1"))
            .collect();
        assert_eq!(rows_by_partition(&home, table), want);
    }
    let after = store.contents().unwrap();
    assert_eq!(after.records.len(), 5);
    assert!(
        before
            .records
            .iter()
            .all(|(id, bytes)| after.records[id] == *bytes)
    );
    // Known and other records are told apart as before.
    assert_eq!(apply(&store, &daily(0..5)).unwrap().known, 5);
    // A clock that is years off has a place, too.
    let odd = meter_values(id(0, 900), "CP-1", 60 * 24 * 365 * 20, 5);
    apply(&store, &[odd]).unwrap();
    assert!(
        rows_by_partition(&home, "meter_values").contains(&"meter_values_default 1".to_owned())
    );
}

#[test]
fn what_is_older_than_the_retention_goes() {
    let home = PostgresHome::new();
    let store = keeping(&home, 3);
    let ancient = call(
        id(0, 1),
        "CP-1",
        -60 * 24 * 90,
        "SecurityEventNotification",
        r#"{"type":"FirmwareUpdated","timestamp":"2025-10-03T00:09:00Z"}"#,
    );
    apply(&store, std::slice::from_ref(&ancient)).unwrap();
    for day in 0..8 {
        store.maintain(noon(day)).unwrap();
        apply(&store, &daily(day..day + 1)).unwrap();
    }
    // Today is the eighth; three whole days before it are kept.
    for table in ["messages", "meter_values"] {
        let kept = partitions(&home, table);
        assert_eq!(kept[0], format!("{table}_20260105"), "{kept:?}");
        assert_eq!(kept.last().unwrap(), &format!("{table}_20260115"));
    }
    let contents = store.contents().unwrap();
    let days: Vec<u64> = contents.records.keys().map(|id| id.seq - 100).collect();
    assert_eq!(days, [4, 5, 6, 7]);
    assert_eq!(contents.meter_values.len(), 4);
    assert_eq!(contents.events.len(), 0);
    assert_eq!(
        home.ask("SELECT count(*) AS value FROM message_days"),
        ["4"]
    );
    // What is delivered again although it is gone: it changes nothing, and goes again.
    let states = contents.states;
    let charged = store.charger("CP-1").unwrap();
    assert_eq!(apply(&store, &daily(0..1)).unwrap().new, 1);
    assert_eq!(store.contents().unwrap().states, states);
    assert_eq!(store.charger("CP-1").unwrap(), charged);
    store.maintain(noon(7)).unwrap();
    assert_eq!(store.contents().unwrap().records.len(), 4);
}

#[test]
fn without_a_retention_nothing_goes() {
    let home = PostgresHome::new();
    let store = home.open();
    for day in [0, 40] {
        store.maintain(noon(day)).unwrap();
        apply(&store, &daily(day..day + 1)).unwrap();
    }
    assert_eq!(store.contents().unwrap().records.len(), 2);
    assert!(partitions(&home, "messages").contains(&"messages_20260101".to_owned()));
}

#[test]
fn upkeep_by_several_at_once_beside_writing() {
    let home = PostgresHome::new();
    std::thread::scope(|scope| {
        for n in 0..3_u64 {
            let home = &home;
            scope.spawn(move || {
                let store = keeping(home, 2);
                for day in 0..6 {
                    // Another one may be at it; the next round does what is left.
                    let _ = store.maintain(noon(day));
                    let seq = n * 100 + day.cast_unsigned() + 1;
                    let minute = day * 24 * 60 + n.cast_signed();
                    let said = meter_values(id(0, seq), "CP-1", minute, 5);
                    apply(&store, &[said]).unwrap();
                }
            });
        }
    });
    let store = keeping(&home, 2);
    store.maintain(noon(5)).unwrap();
    let days = 3;
    assert_eq!(store.contents().unwrap().records.len(), 3 * days);
}

#[test]
fn several_programs_may_migrate_at_the_same_time() {
    let home = PostgresHome::bare();
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| PostgresStore::migrate(&home.url()).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(done.iter().filter(|done| done.from == 0).count(), 1);
    assert!(done.iter().all(|done| done.to == 1));
    let store = home.open();
    assert_eq!(apply(&store, &[heartbeat(1, "CP-1")]).unwrap().new, 1);
    let again = PostgresStore::migrate(&home.url()).unwrap();
    assert!(again.to_string().contains("up to date"), "{again}");
    assert_eq!(store.contents().unwrap().records.len(), 1);
}

#[test]
fn what_no_waiting_can_cure_is_said_at_once() {
    let open = |url: &str| {
        let error = PostgresStore::open(url, PostgresOptions::default()).unwrap_err();
        error.to_string()
    };
    let bare = PostgresHome::bare();
    assert!(open(&bare.url()).contains("`wattpost migrate`"));
    let home = PostgresHome::new();
    assert!(open(&home.url_as("wattpost", "wrong")).contains("password"));
    assert!(open(&home.url_as("nobody-here", "x")).contains("nobody-here"));
    let nowhere = home.url().replace(&home.name, "no_such_database");
    assert!(open(&nowhere).contains("no_such_database"));
    assert!(open("mysql://somewhere/else").contains("postgres://"));
    home.execute("UPDATE wattpost_schema SET version = 99");
    for error in [
        open(&home.url()),
        PostgresStore::migrate(&home.url()).unwrap_err().to_string(),
    ] {
        assert!(error.contains("99") && error.contains("newer"), "{error}");
    }
}

#[test]
fn a_database_that_cannot_hold_every_text_is_refused() {
    let home = PostgresHome::latin1();
    for error in [
        PostgresStore::migrate(&home.url()).unwrap_err(),
        PostgresStore::open(&home.url(), PostgresOptions::default()).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("LATIN1"), "{error}");
        assert!(error.contains("createdb --encoding=UTF8"), "{error}");
    }
}

#[test]
fn tables_of_another_program_are_left_alone() {
    let home = PostgresHome::bare();
    home.execute("CREATE TABLE messages (title text)");
    let error = PostgresStore::migrate(&home.url()).unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
    assert_eq!(
        home.ask("SELECT string_agg(relname, ' ') AS value FROM pg_stat_user_tables"),
        ["messages"]
    );
}

#[test]
fn a_role_with_the_grants_and_no_more_does_everything_but_migrate() {
    let home = PostgresHome::new();
    let role = format!("app_of_{}", home.name);
    home.command(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'"));
    let grants = include_str!("../migrations/postgres/grants.sql");
    home.execute(&grants.replace(":\"role\"", &role));
    let url = home.url_as(&role, "secret");
    let options = PostgresOptions {
        retain_days: 2,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(&url, options).unwrap();
    store.ping().unwrap();
    store.maintain(noon(0)).unwrap();
    apply(
        &store,
        &[start(id(0, 1), "CP-1", 1, 7), stop(id(0, 2), "CP-1", 5, 7)],
    )
    .unwrap();
    apply(
        &store,
        &[stop(id(0, 3), "CP-1", 9, 0), heartbeat(4, "CP-2")],
    )
    .unwrap();
    // Another record under a known number, twice, so that one is set aside.
    for minute in [11, 12] {
        apply(&store, &[call(id(0, 4), "CP-2", minute, "Heartbeat", "{}")]).unwrap();
    }
    let letter = DeadLetter {
        id: id(0, 9),
        bytes: vec![1],
        reason: "as told".to_owned(),
    };
    store
        .apply(&[], &Changes::default(), std::slice::from_ref(&letter))
        .unwrap();
    assert!(store.discard_dead_letter(letter.id).unwrap());
    let profile = ChargerProfile {
        charger_id: "CP-1".to_owned(),
        registration: Registration::Accepted,
        password_hash: None,
        check: None,
    };
    store.put_charger_profile(&profile).unwrap();
    store.remove_charger_profile("CP-1").unwrap();
    let token = Token {
        id: "TAG".to_owned(),
        status: TokenStatus::Accepted,
        expires_at: Some(at(0)),
        group_id: None,
    };
    store.put_token(&token).unwrap();
    store.remove_token("TAG").unwrap();
    assert!(store.load(None).unwrap().is_some());
    assert_eq!(store.last_seq(common::gateway(0)).unwrap(), Some(4));
    // Partitions are made and dropped with the owner's rights.
    store.maintain(noon(9)).unwrap();
    assert_eq!(store.contents().unwrap().records.len(), 0);
    assert!(store.charger("CP-1").unwrap().is_some());
    // But by nobody's own hand.
    for forbidden in [
        "DROP TABLE messages",
        "DELETE FROM messages",
        "UPDATE messages SET payload = ''",
        "CREATE TABLE mine (x int)",
        "UPDATE wattpost_schema SET version = 7",
    ] {
        let refused = common::run(&url, forbidden).unwrap_err().to_string();
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{forbidden}: {refused}"
        );
    }
    drop(store);
    home.command(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
