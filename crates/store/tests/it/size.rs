//! Lists over many rows on PostgreSQL: no query of a list reads a whole large table, and the times are printed.
//!
//! `WATTPOST_FULL=1` runs it over 1,000,000 messages, 100,000 transactions and commands, and 10,000 chargers, and no
//! query may take 100 ms (`make stories`); without it over a tenth.

use crate::common::{Adapter, PostgresDatabase, apply, at, gateway, heartbeat, id, start};
use central::RecordKind;
use central::model::ChargerKey;
use central::ports::{Commands, Tokens};
use central::query::{
    ChargerFilter, CommandFilter, MentionFilter, MessageFilter, PageRequest, QueryStore,
    TokenFilter, TransactionFilter, UnknownTokenFilter, WireId,
};
use std::time::{Duration, Instant};
use store::PostgresStore;

/// The tables that grow with time. That of chargers is not among them: a filter by what a charger reported reads its rows.
const LARGE: &str =
    "'messages_default', 'transactions', 'transaction_views', 'commands', 'unknown_tokens'";

fn fill(database: &PostgresDatabase, tenths: u32) {
    let store = database.open();
    apply(
        &store,
        &[heartbeat(1, "CP-1"), start(id(0, 2), "CP-1", 2, 77)],
    )
    .unwrap();
    drop(store);
    let (chargers, rows, messages) = (1_000 * tenths, 10_000 * tenths, 100_000 * tenths);
    database.execute(&format!(
        "INSERT INTO chargers (key, id, state)
             SELECT 'size-' || lpad(n::text, 6, '0'), 'SIZE-' || lpad(n::text, 6, '0'), c.state
             FROM chargers c, generate_series(2, {chargers}) n WHERE c.key = 'cp-1';
         INSERT INTO sites (id, name) VALUES ('depot', 'Depot');
         INSERT INTO charger_profiles (key, id, registration, version, label, label_key, site, charger_group)
             SELECT 'size-' || lpad(n::text, 6, '0'), 'SIZE-' || lpad(n::text, 6, '0'), 'accepted', 1, 'Gate', 'gate',
                 CASE WHEN n % 100 = 0 THEN 'depot' END, CASE WHEN n % 100 = 1 THEN 'fleet' END
             FROM generate_series(2, {chargers}) n;
         INSERT INTO transactions (charger_no, wire_id, state, rev)
             SELECT 1 + n % {chargers}, 'w-' || n, t.state, 1
             FROM transactions t, generate_series(1, {rows}) n WHERE t.wire_id = '77';
         INSERT INTO transaction_views (began_at, key, charger_no, transaction_no, kind, open, hidden, token_key)
             SELECT 1767225600000 + no, gen_random_uuid(), charger_no, no, 0, no % 100 = 0, false,
                 CASE WHEN no % 2 = 0 THEN 'tag-often' ELSE 'tag-' || no % 1500 END
             FROM transactions WHERE wire_id LIKE 'w-%';
         INSERT INTO tokens (key, id, status)
             SELECT 'tag-' || n, 'TAG-' || n, 'Accepted' FROM generate_series(1, 2000) n;
         INSERT INTO unknown_tokens (key, charger_no, day, token_key, latest, first_at, last_at, count)
             SELECT md5('tag-' || n)::uuid, 1 + n % {chargers}, 20454, 'tag-' || n,
                 json_build_object('id', 'TAG-' || n, 'status', 'Invalid')::text, 1767225600000 + n, 1767225600000 + n, 1
             FROM generate_series(1, {rows}) n;
         INSERT INTO tokens (key, id, status) VALUES ('tag-often', 'TAG-OFTEN', 'Accepted');
         INSERT INTO commands (id, charger_key, charger_id, action, payload, answer_within_ms, send_before,
                 created_at, requested_by, waits, stage, reason, detail, ended_at)
             SELECT gen_random_uuid(), 'size-' || lpad((1 + n % {chargers})::text, 6, '0'), 'SIZE', 'Reset', '{{}}',
                 30000, 1, 1, 'ops', false, 2, 'expired', '', 1 FROM generate_series(1, {rows}) n;
         INSERT INTO messages
             SELECT gateway_no, n, received_at + n, epoch, 1 + n % {chargers}, kind, version, answer_kind, notes,
                 charger_id, message_id, action, payload, answer, reason, raw
             FROM messages, generate_series(3, {messages}) n WHERE seq = 1;
         INSERT INTO message_days (gateway_no, block, day)
             SELECT DISTINCT gateway_no, seq >> 12, received_at / 86400000 FROM messages ON CONFLICT DO NOTHING;"
    ));
    database.command("VACUUM ANALYZE");
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

/// Sequential scans of the large tables so far, once the statistics of all closed connections are counted.
fn scans(database: &PostgresDatabase) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let others = "SELECT count(*) AS value FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    while database.query(others) != ["0"] {
        assert!(Instant::now() < deadline, "a connection is not closed");
        std::thread::sleep(Duration::from_millis(5));
    }
    database.query(&format!(
        "SELECT relname || ' ' || seq_scan AS value FROM pg_stat_user_tables WHERE relname IN ({LARGE})
         ORDER BY relname"
    ))
}

#[test]
fn no_list_reads_a_whole_large_table() {
    let is_full = std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1");
    let database = PostgresDatabase::new();
    fill(&database, if is_full { 10 } else { 1 });
    let before = scans(&database);
    let store = database.open();
    for (name, query) in cases() {
        query(&store);
        let times = (0..5).map(|_| {
            let began = Instant::now();
            query(&store);
            began.elapsed()
        });
        let fastest = times.min().expect("five times");
        println!("{name}: {:.1} ms", fastest.as_secs_f64() * 1_000.0);
        assert!(!is_full || fastest < TIME_MAX, "{name} took {fastest:?}");
    }
    drop(store);
    assert_eq!(before, scans(&database), "a list has read a whole table");
}
