//! Lists and maintenance over many rows on PostgreSQL: no query reads a whole large table, a list reads few rows more than
//! it returns, also from its middle and in the small steps of the API, and the times are printed.
//!
//! One gateway has stored all messages, and the charger with the highest number has half of them: the planner takes the
//! rows after a place among them for few.
//!
//! `WATTPOST_FULL=1` runs it over 1,000,000 messages, 100,000 transactions and commands, and 10,000 chargers, and no
//! query may take 100 ms (`make stories`); without it over a tenth.

use crate::common::{Adapter, PostgresDatabase, apply, at, gateway, heartbeat, id, start};
use central::model::{ChargerKey, EventId};
use central::ports::{CommandQueue, Commands, EventFilter, EventLog, EventsFound, Tokens};
use central::query::{
    AuditFilter, ChargerFilter, CommandFilter, MentionFilter, MessageFilter, Page, PageRequest,
    Place, QueryError, QueryStore, TokenFilter, TransactionFilter, UnknownTokenFilter, WireId,
};
use central::{RecordKind, Timestamp};
use std::time::{Duration, Instant};
use store::PostgresStore;
use uuid::Uuid;

/// The tables that grow with time. That of chargers is not among them: a filter by what a charger reported reads its rows.
const LARGE: &str =
    "'messages_default', 'transactions', 'transaction_views', 'commands', 'unknown_tokens', 'audit_log', 'command_keys',
     'event_log'";

/// The rows, with numbers that are replaced.
const ROWS: &str = include_str!("../size.sql");

/// The time of the first row of each table.
const BEGAN: i64 = 1_767_225_600_000;

fn fill(database: &PostgresDatabase, tenths: u32) {
    let store = database.open();
    apply(
        &store,
        &[heartbeat(1, "CP-1"), start(id(0, 2), "CP-1", 2, 77)],
    )
    .unwrap();
    drop(store);
    let numbers = [
        ("{chargers}", i64::from(1_000 * tenths)),
        ("{rows}", i64::from(10_000 * tenths)),
        ("{messages}", i64::from(100_000 * tenths)),
        ("{began}", BEGAN),
    ];
    let sql = numbers.iter().fold(ROWS.to_owned(), |sql, (name, number)| {
        sql.replace(name, &number.to_string())
    });
    database.execute(&sql);
    database.command("VACUUM ANALYZE");
    // As long as no report was asked for since the migration, or the table was not analyzed.
    database.command(
        "DELETE FROM pg_statistic WHERE (starelid, staattnum) IN (SELECT attrelid, attnum FROM pg_attribute
             WHERE attrelid = 'commands'::regclass AND attname = 'recheck_at')",
    );
}

/// Bound of the time of a query over the full size; of five times the shortest counts, because other processes use the
/// machine too.
const TIME_MAX: Duration = Duration::from_millis(100);

type Case = (&'static str, Box<dyn Fn(&PostgresStore)>);

fn cases() -> Vec<Case> {
    let page = || PageRequest {
        after: None,
        limit: 100,
    };
    let charger = |set: fn(&mut ChargerFilter)| {
        let mut filter = ChargerFilter::default();
        set(&mut filter);
        move |store: &PostgresStore| drop(store.chargers(&filter, &page()).unwrap())
    };
    let transaction = |set: fn(&mut TransactionFilter)| {
        let mut filter = TransactionFilter::default();
        set(&mut filter);
        move |store: &PostgresStore| drop(store.transactions(&filter, &page()).unwrap())
    };
    let message = |set: fn(&mut MessageFilter)| {
        let mut filter = MessageFilter::default();
        set(&mut filter);
        move |store: &PostgresStore| drop(store.messages(&filter, &page()).unwrap())
    };
    let command = |set: fn(&mut CommandFilter)| {
        let mut filter = CommandFilter::default();
        set(&mut filter);
        move |store: &PostgresStore| drop(store.commands(&filter, &page(), at(9)).unwrap())
    };
    let unknown = |set: fn(&mut UnknownTokenFilter)| {
        let mut filter = UnknownTokenFilter::default();
        set(&mut filter);
        move |store: &PostgresStore| drop(store.unknown_tokens(&filter, &page()).unwrap())
    };
    vec![
        ("chargers", Box::new(charger(|_| {}))),
        (
            "chargers online",
            Box::new(charger(|f| f.online = Some(true))),
        ),
        (
            "chargers of a site",
            Box::new(charger(|f| f.site = Some("depot".to_owned()))),
        ),
        (
            "chargers of a group",
            Box::new(charger(|f| f.group = Some("fleet".to_owned()))),
        ),
        (
            "chargers with a text in their label",
            Box::new(charger(|f| {
                f.search = Some("nowhere".to_owned());
                f.searches_labels = true;
            })),
        ),
        (
            "chargers of an unknown vendor",
            Box::new(charger(|f| f.vendor = Some("Nobody".to_owned()))),
        ),
        ("transactions", Box::new(transaction(|_| {}))),
        (
            "transactions open",
            Box::new(transaction(|f| f.open = Some(true))),
        ),
        (
            "transactions ended",
            Box::new(transaction(|f| f.open = Some(false))),
        ),
        (
            "transactions of a charger",
            Box::new(transaction(|f| f.charger = Some("SIZE-000077".to_owned()))),
        ),
        (
            "transactions since",
            Box::new(transaction(|f| f.from = Some(at(1)))),
        ),
        ("messages", Box::new(message(|_| {}))),
        (
            "messages of a charger",
            Box::new(message(|f| f.charger = Some("SIZE-000077".to_owned()))),
        ),
        (
            "messages of a rare action",
            Box::new(message(|f| f.action = Some("Authorize".to_owned()))),
        ),
        (
            "messages of a rare kind",
            Box::new(message(|f| f.kind = Some(RecordKind::Unreadable))),
        ),
        (
            "messages since",
            Box::new(message(|f| f.from = Some(at(1)))),
        ),
        (
            "one message",
            Box::new(|store| drop(store.message(id(0, 5_000)).unwrap().unwrap())),
        ),
        (
            "messages of a charger by time",
            Box::new(move |store| {
                let filter = MentionFilter {
                    charger: "SIZE-000077".to_owned(),
                    from: at(0),
                    to: at(60),
                    text: "x".to_owned(),
                    at: Vec::new(),
                };
                drop(store.messages_by_time(&filter, &page()).unwrap());
            }),
        ),
        (
            "connections of a charger",
            Box::new(move |store| drop(store.connections("SIZE-000077", &page()).unwrap())),
        ),
        (
            "the runs of a gateway",
            Box::new(|store| {
                let runs = store.gateway_runs(&[gateway(0)], at(0), at(60), 2_000);
                assert!(!runs.unwrap().unwrap().is_empty());
            }),
        ),
        (
            "a transaction on the wire",
            Box::new(|store| {
                let wire = WireId {
                    charger: ChargerKey::of("SIZE-000077"),
                    id: "w-76".to_owned(),
                };
                drop(store.transactions_on_wire(&[wire]).unwrap());
            }),
        ),
        (
            "a thousand tokens with their last use",
            Box::new(|store| {
                let page = PageRequest {
                    after: None,
                    limit: 1_000,
                };
                let page = store.token_page(&TokenFilter::default(), &page).unwrap();
                assert!(page.items.iter().any(|token| token.last_use.is_some()));
            }),
        ),
        (
            "the last use of a token that is often used",
            Box::new(|store| drop(store.last_use("TAG-OFTEN").unwrap().unwrap())),
        ),
        ("unknown tokens", Box::new(unknown(|_| {}))),
        (
            "unknown tokens of a charger",
            Box::new(unknown(|filter| {
                filter.charger = Some("SIZE-000077".to_owned())
            })),
        ),
        (
            "unknown tokens with a text that none has",
            Box::new(unknown(|filter| filter.search = Some("nothing".to_owned()))),
        ),
        ("commands", Box::new(command(|_| {}))),
        (
            "commands of a charger",
            Box::new(command(|f| f.charger = Some("SIZE-000077".to_owned()))),
        ),
        (
            "commands queued",
            Box::new(command(|f| f.queued = Some(true))),
        ),
    ]
}

/// Rows that a query of [`cases`] reads at most: a page of messages reads 20,000 to find rows, and again to know where
/// it ends.
const ROWS_READ_MAX: u64 = 50_000;

/// Rows that a query of [`steps`] reads at most, for 112 rows.
const ROWS_OF_STEPS_MAX: u64 = 3_000;

const STEPS: u32 = 7;

/// How often each query runs on a connection: a statement may get another plan at its sixth execution.
const RUNS: u64 = 7;

/// Reads seven steps of sixteen rows, as the API does, after a place in the middle of a list.
fn read_steps<T>(after: &Place, query: impl Fn(&PageRequest) -> Result<Page<T>, QueryError>) {
    let mut after = Some(after.to_cursor());
    for _ in 0..STEPS {
        let page = query(&PageRequest { after, limit: 16 }).unwrap();
        assert_eq!(page.items.len(), 16);
        after = page.next;
        assert!(after.is_some());
    }
}

/// Lists from their middle in steps.
fn steps(tenths: u32) -> Vec<Case> {
    let (rows, messages) = (10_000 * i64::from(tenths), 100_000 * i64::from(tenths));
    let busy = Some(format!("SIZE-{:06}", 1_000 * tenths));
    let message = Place::Message(id(0, messages.unsigned_abs() / 2));
    let of_messages = move |filter: MessageFilter| {
        let after = message.clone();
        let query = move |store: &PostgresStore| {
            read_steps(&after, |page| store.messages(&filter, page));
        };
        Box::new(query) as Box<dyn Fn(&PostgresStore)>
    };
    let middle = Timestamp(BEGAN + rows / 2);
    let of_transactions = move |filter: TransactionFilter| {
        let after = Place::Transaction(middle, Uuid::nil());
        let query = move |store: &PostgresStore| {
            read_steps(&after, |page| store.transactions(&filter, page));
        };
        Box::new(query) as Box<dyn Fn(&PostgresStore)>
    };
    vec![
        ("messages in steps", of_messages(MessageFilter::default())),
        (
            "messages of a charger in steps",
            of_messages(MessageFilter {
                charger: busy.clone(),
                ..MessageFilter::default()
            }),
        ),
        (
            "messages since, in steps",
            of_messages(MessageFilter {
                from: Some(at(1)),
                ..MessageFilter::default()
            }),
        ),
        (
            "transactions in steps",
            of_transactions(TransactionFilter::default()),
        ),
        (
            "transactions of a charger in steps",
            of_transactions(TransactionFilter {
                charger: busy,
                ..TransactionFilter::default()
            }),
        ),
        (
            "commands in steps",
            Box::new(move |store| {
                let filter = CommandFilter::default();
                let after = Place::Command(rows / 2);
                read_steps(&after, |page| store.commands(&filter, page, at(9)));
            }),
        ),
        (
            "unknown tokens in steps",
            Box::new(move |store| {
                let filter = UnknownTokenFilter::default();
                let after = Place::UnknownToken(middle, Uuid::nil(), 0);
                read_steps(&after, |page| store.unknown_tokens(&filter, page));
            }),
        ),
        (
            "the audit log in steps",
            Box::new(move |store| {
                let filter = AuditFilter::default();
                let after = Place::Audit(rows / 2);
                read_steps(&after, |page| store.audit(&filter, page));
            }),
        ),
    ]
}

/// What reads or deletes rows again and again without a request, and the events.
fn rounds(tenths: u32) -> Vec<Case> {
    let messages = 100_000 * i64::from(tenths);
    vec![
        (
            "events from the middle",
            Box::new(move |store| {
                let after = EventId {
                    position: messages.unsigned_abs() / 2,
                    recorded_at: Timestamp(BEGAN + messages / 2),
                };
                let found = store.events_after(after, &EventFilter::default(), 100);
                let EventsFound::Page(page) = found.unwrap() else {
                    panic!("the events are kept");
                };
                assert_eq!(page.events.len(), 100);
            }),
        ),
        (
            "reports to look at again",
            Box::new(|store| assert_eq!(store.ask_again(at(9), 100).unwrap(), 0)),
        ),
        (
            "the end of commands and their keys",
            Box::new(|store| assert_eq!(CommandQueue::expire(store, at(9), 100).unwrap(), 0)),
        ),
        (
            "events past their retention",
            Box::new(|store| {
                let gone = store.expire_events(Timestamp(BEGAN + 10)).unwrap();
                assert!(gone == 9 || gone == 0);
            }),
        ),
    ]
}

/// Sequential scans of the large tables so far, and the rows that were read of them, once the statistics of all closed
/// connections are counted.
fn reads(database: &PostgresDatabase) -> (Vec<String>, u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let others = "SELECT count(*) AS value FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    while database.query(others) != ["0"] {
        assert!(Instant::now() < deadline, "a connection is not closed");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut scans = database.query(&format!(
        "SELECT relname || ' ' || seq_scan AS value FROM pg_stat_user_tables WHERE relname IN ({LARGE})
         UNION ALL SELECT 'rows ' || sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables
             WHERE relname IN ({LARGE})
         ORDER BY value"
    ));
    let rows = scans.iter().position(|line| line.starts_with("rows "));
    let rows = scans.remove(rows.unwrap());
    let (_, rows) = rows.split_once(' ').unwrap();
    (scans, rows.parse().unwrap())
}

/// Runs the cases on a new connection pool; returns the shortest time of each, whether a large table was scanned, and the
/// number of rows read per run.
fn measure(database: &PostgresDatabase, cases: &[&Case]) -> (Vec<Duration>, bool, u64) {
    let before = reads(database);
    let store = database.open();
    let fastest = |(_, query): &&Case| {
        let times = (0..RUNS).map(|_| {
            let began = Instant::now();
            query(&store);
            began.elapsed()
        });
        times.min().unwrap()
    };
    let times = cases.iter().map(fastest).collect();
    drop(store);
    let after = reads(database);
    (times, before.0 != after.0, (after.1 - before.1) / RUNS)
}

#[test]
fn no_list_reads_a_whole_large_table() {
    let is_full = std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1");
    let tenths = if is_full { 10 } else { 1 };
    let database = PostgresDatabase::new();
    fill(&database, tenths);
    let mut failed = Vec::new();
    for (cases, queries, rows_max) in [
        (cases(), 1, ROWS_READ_MAX),
        (steps(tenths), STEPS, ROWS_OF_STEPS_MAX),
        (rounds(tenths), 1, ROWS_READ_MAX),
    ] {
        let all: Vec<&Case> = cases.iter().collect();
        let (times, scans, rows) = measure(&database, &all);
        for ((name, _), time) in all.iter().zip(times) {
            let time = time / queries;
            let millis = time.as_secs_f64() * 1_000.0;
            println!("{name}: {millis:.1} ms");
            if is_full && time >= TIME_MAX {
                failed.push(format!("{name}: {millis:.0} ms"));
            }
        }
        if !scans && rows <= rows_max * 3 {
            continue;
        }
        // Which one it was.
        for case in all {
            let (_, scans, rows) = measure(&database, &[case]);
            if scans || rows > rows_max {
                let whole = if scans { ", a whole table" } else { "" };
                failed.push(format!("{} has read {rows} rows{whole}", case.0));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
