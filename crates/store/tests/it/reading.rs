//! Queries: pages that neither skip nor repeat rows, filters, and reading while another store writes.

use crate::common::{
    Adapter, BEGIN_MILLIS, PostgresDatabase, Sent, SqliteDatabase, answered, apply, at, call,
    event, gateway, id, meter_values, on_every_adapter, start, start_on, status, stop,
};
use central::model::{GatewayState, MeterValueRow, TransactionView, UNKNOWN, UnknownReason};
use central::ports::{Applied, DirectorySource, Maintenance, Store};
use central::project::Changes;
use central::query::{
    ChargerFilter, Cursor, MessageFilter, MessageRow, PageRequest, QueryError, QueryStore,
    ReadingFilter, TransactionFilter, all_messages, all_transactions,
};
use central::{GatewayId, RecordId, RecordKind, Seq, Timestamp};
use common::clock::now_ms;
use ocpp::Version;
use store::SqliteOptions;

on_every_adapter!(
    every_filter_returns_exactly_its_messages_with_every_page_size,
    scan_returns_old_rows_once_while_rows_are_added,
    transactions_are_listed_latest_first,
    meter_values_of_one_transaction_are_read_in_pages,
    meter_values_of_a_fast_clock_are_those_of_their_session,
    stop_without_an_id_ends_the_transaction_that_it_fits,
    stop_that_finds_its_own_start_reopens_the_one_that_it_had_ended,
    chargers_are_listed_by_identity_with_whether_they_are_online,
    status_is_unknown_until_it_is_reported_on_the_open_connection,
    charger_is_returned_with_its_connectors,
    cursor_of_another_list_is_refused,
);

fn page(after: Option<Cursor>, limit: usize) -> PageRequest {
    PageRequest { after, limit }
}

/// The ids on all pages of `limit` rows; `between` runs after each page.
fn scan(
    store: &dyn QueryStore,
    filter: &MessageFilter,
    limit: usize,
    mut between: impl FnMut(),
) -> Vec<RecordId> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let found = store.messages(filter, &page(after, limit)).unwrap();
        assert!(found.items.len() <= limit);
        seen.extend(found.items.iter().map(|row| row.id));
        between();
        match found.next {
            Some(cursor) => after = Some(cursor),
            None => return seen,
        }
    }
}

/// Two gateways, five chargers, four actions; sequence numbers far enough apart to fill many blocks.
fn history() -> Vec<Sent> {
    (0..600_u64)
        .map(|n| {
            let charger = format!("CP-{}", n % 5);
            let action = ["Heartbeat", "Heartbeat", "Heartbeat", "Authorize"][n as usize % 4];
            let id = id(u128::from(n % 2), n * 100 + 1);
            call(id, &charger, n.cast_signed(), action, "{}")
        })
        .collect()
}

fn expect(sent: &[Sent], matches: impl Fn(&Sent) -> bool) -> Vec<RecordId> {
    let mut ids: Vec<RecordId> = sent
        .iter()
        .filter(|sent| matches(sent))
        .map(|sent| sent.id)
        .collect();
    ids.sort_unstable();
    ids
}

fn every_filter_returns_exactly_its_messages_with_every_page_size<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent = history();
    for part in sent.chunks(97) {
        apply(&store, part).unwrap();
    }
    type Matches = Box<dyn Fn(&Sent) -> bool>;
    let filter = MessageFilter::default;
    let cases: Vec<(MessageFilter, Matches)> = vec![
        (filter(), Box::new(|_| true)),
        (
            MessageFilter {
                charger: Some("cp-3".into()),
                ..filter()
            },
            Box::new(|sent| sent.record().charger_id == "CP-3"),
        ),
        (
            MessageFilter {
                action: Some("Authorize".into()),
                ..filter()
            },
            Box::new(|sent| sent.record().action == "Authorize"),
        ),
        (
            MessageFilter {
                action: Some("Reset".into()),
                ..filter()
            },
            Box::new(|_| false),
        ),
        (
            MessageFilter {
                charger: Some("nobody".into()),
                ..filter()
            },
            Box::new(|_| false),
        ),
        (
            MessageFilter {
                kind: Some(RecordKind::Call),
                ..filter()
            },
            Box::new(|_| true),
        ),
        (
            MessageFilter {
                kind: Some(RecordKind::Connected),
                ..filter()
            },
            Box::new(|_| false),
        ),
        (
            MessageFilter {
                from: Some(at(100)),
                to: Some(at(300)),
                ..filter()
            },
            Box::new(|sent| (at(100)..at(300)).contains(&sent.record().received_at)),
        ),
        (
            MessageFilter {
                charger: Some("CP-1".into()),
                action: Some("Heartbeat".into()),
                kind: Some(RecordKind::Call),
                from: Some(at(7)),
                to: Some(at(590)),
            },
            Box::new(|sent| {
                let record = sent.record();
                record.charger_id == "CP-1"
                    && record.action == "Heartbeat"
                    && (at(7)..at(590)).contains(&record.received_at)
            }),
        ),
    ];
    for (filter, matches) in &cases {
        let want = expect(&sent, matches);
        for limit in [3, 100, 1_000] {
            assert_eq!(
                scan(&store, filter, limit, || ()),
                want,
                "{filter:?} by {limit}"
            );
        }
        let whole: Vec<MessageRow> = all_messages(&store, filter)
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(whole.len(), want.len());
        let estimate = store.count_messages(filter).unwrap();
        assert!(estimate >= want.len() as u64, "{filter:?}: {estimate}");
    }
}

fn scan_returns_old_rows_once_while_rows_are_added<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent = history();
    let (before, after): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|sent| sent.id.seq.0 % 3 == 0);
    apply(&store, &before).unwrap();
    let mut later = after.chunks(10);
    let seen = scan(&store, &MessageFilter::default(), 20, || {
        apply(&store, later.next().unwrap_or_default()).unwrap();
    });
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, seen, "in order, none twice");
    assert!(
        before.iter().all(|sent| seen.contains(&sent.id)),
        "none skipped"
    );
}

#[test]
fn long_history_without_a_match_is_scanned_in_bounded_pages() {
    let database = SqliteDatabase::new();
    let store = database.open();
    // 100 blocks of one message each, and one more with the message that matches.
    let mut sent: Vec<Sent> = (0..100)
        .map(|n| call(id(0, (n << 14) + 1), "CP-1", 0, "Heartbeat", "{}"))
        .collect();
    sent.push(call(id(0, 100 << 14), "CP-1", 5, "Heartbeat", "{}"));
    apply(&store, &sent).unwrap();
    // The summary of every block covers the time of the filter, so that the blocks must be read.
    let sql = "UPDATE message_blocks SET last_at = last_at + 86400000";
    database.other_connection().execute(sql, []).unwrap();
    let filter = MessageFilter {
        from: Some(at(5)),
        ..MessageFilter::default()
    };
    let first = store.messages(&filter, &page(None, 10)).unwrap();
    assert!(
        first.items.is_empty() && first.next.is_some(),
        "the next page continues"
    );
    assert_eq!(scan(&store, &filter, 10, || ()), [id(0, 100 << 14)]);
}

fn charged(store: &dyn Store) {
    let mut sent = Vec::new();
    for n in 0..30_u64 {
        let charger = format!("CP-{}", n % 3);
        let begin = n.cast_signed() * 10;
        let transaction = n.cast_signed() + 1;
        // Each on a connector of its own, so that none supersedes another.
        let first = id(0, n * 3 + 1);
        sent.push(start_on(first, &charger, begin, transaction, transaction));
        sent.push(meter_values(
            id(0, n * 3 + 2),
            &charger,
            begin + 2,
            transaction,
        ));
        if n % 2 == 0 {
            sent.push(stop(id(0, n * 3 + 3), &charger, begin + 5, transaction));
        }
    }
    apply(store, &sent).unwrap();
}

fn transactions(
    store: &dyn QueryStore,
    filter: &TransactionFilter,
    limit: usize,
) -> Vec<TransactionView> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let found = store.transactions(filter, &page(after, limit)).unwrap();
        seen.extend(found.items);
        match found.next {
            Some(cursor) => after = Some(cursor),
            None => return seen,
        }
    }
}

fn transactions_are_listed_latest_first<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    charged(&store);
    let filter = TransactionFilter::default;
    let cases = [
        (filter(), 30),
        (
            TransactionFilter {
                open: Some(true),
                ..filter()
            },
            15,
        ),
        (
            TransactionFilter {
                open: Some(false),
                ..filter()
            },
            15,
        ),
        (
            TransactionFilter {
                charger: Some("cp-0".into()),
                ..filter()
            },
            10,
        ),
        (
            TransactionFilter {
                charger: Some("cp-0".into()),
                open: Some(true),
                ..filter()
            },
            5,
        ),
        (
            TransactionFilter {
                from: Some(at(100)),
                to: Some(at(200)),
                ..filter()
            },
            10,
        ),
        (
            TransactionFilter {
                charger: Some("nobody".into()),
                ..filter()
            },
            0,
        ),
    ];
    for (filter, count) in cases {
        let whole = transactions(&store, &filter, 1_000);
        assert_eq!(whole.len(), count, "{filter:?}");
        assert!(whole.is_sorted_by_key(|view| std::cmp::Reverse(view.started_at)));
        assert_eq!(transactions(&store, &filter, 3), whole);
        assert_eq!(store.count_transactions(&filter).unwrap(), count as u64);
        assert_eq!(all_transactions(&store, &filter).count(), count);
        for view in whole {
            assert_eq!(store.transaction(view.key).unwrap(), Some(view));
        }
    }
    assert_eq!(store.transaction(uuid::Uuid::nil()).unwrap(), None);
}

fn meter_values_of_one_transaction_are_read_in_pages<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let unnamed = |seq, minute, connector| {
        let payload = format!(
            r#"{{"connectorId":{connector},"meterValue":[{{"timestamp":"{}","sampledValue":[{{"value":"3","measurand":"SoC"}}]}}]}}"#,
            at(minute)
        );
        call(id(0, seq), "CP-1", minute, "MeterValues", &payload)
    };
    // Nine days: more than one call covers.
    let minutes = [0, 1, 6, 60, 1_440, 9 * 1_440];
    let mut sent = vec![start(id(0, 1), "CP-1", 0, 7), start(id(0, 2), "CP-2", 0, 7)];
    for (seq, minute) in (10..).zip(minutes) {
        sent.push(meter_values(id(0, seq), "CP-1", minute, 7));
        sent.push(meter_values(id(0, seq + 100), "CP-2", minute, 7));
    }
    sent.push(meter_values(id(0, 30), "CP-1", 2, 8));
    sent.extend([unnamed(40, 3, 1), unnamed(41, 4, 2), unnamed(42, -5, 1)]);
    apply(&store, &sent).unwrap();
    let filter = TransactionFilter::default();
    let mut views = all_transactions(&store, &filter).map(Result::unwrap);
    let open = views
        .find(|view| view.charger_id == "CP-1" && view.transaction_id == "7")
        .unwrap();
    assert!(open.open);
    apply(&store, &[stop(id(0, 50), "CP-1", 9 * 1_440 + 1, 7)]).unwrap();
    let ended = store.transaction(open.key).unwrap().unwrap();
    let mut expected: Vec<Timestamp> = minutes.map(at).to_vec();
    expected.insert(2, at(3));
    for view in [open, ended] {
        for limit in [1, 2, 100] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let filter = ReadingFilter::of(&view);
                let found = store.meter_values(&filter, after, limit).unwrap();
                assert!(found.rows.len() <= limit);
                assert!(found.rows.iter().all(|row| filter.has(row)));
                seen.extend(found.rows.iter().map(|row| row.at));
                match found.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, expected, "{} with {limit}", view.open);
        }
    }
}

/// A charger whose clock is five minutes ahead: values are written later than all times that are shown.
fn meter_values_of_a_fast_clock_are_those_of_their_session<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let late = |sent: Sent| {
        let mut record = sent.record();
        record.received_at = record.received_at.plus_millis(-300_000);
        let bytes = record.encode();
        Sent { id: sent.id, bytes }
    };
    let unnamed = |seq, minute| {
        let payload = format!(
            r#"{{"connectorId":1,"meterValue":[{{"timestamp":"{}","sampledValue":[{{"value":"3","measurand":"SoC"}}]}}]}}"#,
            at(minute)
        );
        late(call(id(0, seq), "CP-1", minute, "MeterValues", &payload))
    };
    let named =
        |seq, minute, transaction| late(meter_values(id(0, seq), "CP-1", minute, transaction));
    let mut sent = vec![late(start(id(0, 1), "CP-1", 0, 7)), unnamed(2, 8)];
    sent.extend((1..=9_i64).map(|minute| named(10 + minute.unsigned_abs(), minute, 7)));
    apply(&store, &sent).unwrap();
    let shown = |wire_id: &str| {
        let filter = TransactionFilter::default();
        let mut views = all_transactions(&store, &filter).map(Result::unwrap);
        let view = views.find(|view| view.transaction_id == wire_id).unwrap();
        let filter = ReadingFilter::of(&view);
        let found = store.meter_values(&filter, None, 100).unwrap();
        assert_eq!(found.next, None);
        let minute = |row: &MeterValueRow| (row.at.0 - at(0).0) / 60_000;
        (view.open, found.rows.iter().map(minute).collect::<Vec<_>>())
    };
    let all = vec![1, 2, 3, 4, 5, 6, 7, 8, 8, 9];
    assert_eq!(shown("7"), (true, all.clone()));
    apply(&store, &[late(stop(id(0, 20), "CP-1", 10, 7))]).unwrap();
    assert_eq!(shown("7"), (false, all));
    // No stop of it arrives, and the values of the next session are not its own.
    let sent = [
        late(start(id(0, 30), "CP-1", 20, 8)),
        named(31, 21, 8),
        unnamed(32, 22),
        late(start(id(0, 33), "CP-1", 23, 9)),
        named(34, 24, 9),
        unnamed(35, 25),
    ];
    apply(&store, &sent).unwrap();
    assert_eq!(shown("8"), (false, vec![21, 22]));
    assert_eq!(shown("9"), (true, vec![24, 25]));
}

fn stop_without_an_id_ends_the_transaction_that_it_fits<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[start(id(0, 1), "CP-1", 0, 77)]).unwrap();
    let open = TransactionFilter {
        open: Some(true),
        ..TransactionFilter::default()
    };
    let key = transactions(&store, &open, 10)[0].key;
    apply(&store, &[stop(id(0, 2), "CP-1", 5, -1)]).unwrap();
    let all = transactions(&store, &TransactionFilter::default(), 10);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].key, all[0].ended_at), (key, Some(at(5))));
    assert_eq!(transactions(&store, &open, 10), []);
    assert_eq!(store.transaction(key).unwrap().as_ref(), Some(&all[0]));
}

fn stop_that_finds_its_own_start_reopens_the_one_that_it_had_ended<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let open = TransactionFilter {
        open: Some(true),
        ..TransactionFilter::default()
    };
    apply(&store, &[start(id(0, 1), "CP-1", 0, 77)]).unwrap();
    apply(&store, &[stop(id(0, 2), "CP-1", 4, 0)]).unwrap();
    assert_eq!(transactions(&store, &open, 10), []);
    apply(&store, &[start_on(id(0, 3), "CP-1", 2, 0, 2)]).unwrap();
    let open = transactions(&store, &open, 10);
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].transaction_id, "77");
}

fn chargers_are_listed_by_identity_with_whether_they_are_online<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut sent = vec![event(id(0, 1), RecordKind::GatewayStarted, "", 0, 1)];
    for n in 0..25_u64 {
        let charger = format!("CP-{n:02}");
        sent.push(event(
            id(0, 2 + n * 2),
            RecordKind::Connected,
            &charger,
            1,
            10 + n,
        ));
        if n % 5 == 0 {
            sent.push(event(
                id(0, 3 + n * 2),
                RecordKind::Disconnected,
                &charger,
                2,
                10 + n,
            ));
        }
    }
    apply(&store, &sent).unwrap();
    let names = |filter: &ChargerFilter, limit: usize| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let found = store.chargers(filter, &page(after, limit)).unwrap();
            let ids = found.items.into_iter().map(|row| row.charger.charger_id);
            names.extend(ids);
            match found.next {
                Some(cursor) => after = Some(cursor),
                None => return names,
            }
        }
    };
    let all = ChargerFilter::default();
    assert_eq!(names(&all, 4).len(), 25);
    assert!(names(&all, 4).is_sorted());
    let offline = ChargerFilter {
        online: Some(false),
        ..ChargerFilter::default()
    };
    assert_eq!(
        names(&offline, 2).len(),
        25,
        "the gateway has never reported that it runs"
    );
    report_alive(&store, gateway(0));
    assert_eq!(
        names(&offline, 2),
        ["CP-00", "CP-05", "CP-10", "CP-15", "CP-20"]
    );
    let found = ChargerFilter {
        search: Some("p-1".into()),
        online: Some(true),
        ..ChargerFilter::default()
    };
    assert_eq!(names(&found, 3).len(), 8);
    // The gateway has restarted: all chargers are offline until they connect again.
    apply(
        &store,
        &[event(id(0, 100), RecordKind::GatewayStarted, "", 3, 1_000)],
    )
    .unwrap();
    assert_eq!(names(&offline, 100).len(), 25);
}

/// As a gateway does while it runs.
pub(crate) fn report_alive(store: &(impl Store + DirectorySource), gateway: GatewayId) {
    let mut changes = Changes::default();
    let now = store
        .clock()
        .unwrap()
        .unwrap_or_else(|| Timestamp(now_ms()));
    let state = GatewayState {
        alive_at: Some(now),
        ..GatewayState::default()
    };
    changes.gateways.insert(gateway, state);
    assert_eq!(store.apply(&[], &changes, &[]), Ok(Applied::default()));
}

fn status_is_unknown_until_it_is_reported_on_the_open_connection<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let epoch = BEGIN_MILLIS.cast_unsigned();
    let connected = |seq, epoch| event(id(0, seq), RecordKind::Connected, "CP-1", 0, epoch);
    apply(
        &store,
        &[connected(1, epoch), status(id(0, 2), "CP-1", 1, 1)],
    )
    .unwrap();
    // The page and the single charger show the same.
    let shown = || {
        let detail = store.charger("cp-1").unwrap().unwrap();
        let listed = store.chargers(&ChargerFilter::default(), &page(None, 10));
        assert_eq!(listed.unwrap().items.first(), Some(&detail));
        let connector = detail.connectors.into_iter().next().unwrap();
        assert!(connector.last_status.is_some());
        (connector.status == UNKNOWN, connector.unknown_reason)
    };
    assert_eq!(
        shown(),
        (true, Some(UnknownReason::GatewayUnreachable)),
        "the gateway was killed long ago"
    );
    report_alive(&store, gateway(0));
    assert_eq!(shown(), (false, None));
    apply(&store, &[connected(3, epoch + 1)]).unwrap();
    assert_eq!(
        shown(),
        (true, Some(UnknownReason::NotReportedSinceConnect))
    );
    let end = event(id(0, 4), RecordKind::Disconnected, "CP-1", 2, epoch + 1);
    apply(&store, &[end]).unwrap();
    assert_eq!(shown(), (true, Some(UnknownReason::Offline)));
    // A report has no record of its own, so it is neither a message nor a gap.
    assert_eq!(store.last_seq(gateway(0)).unwrap(), Some(Seq(4)));
}

fn charger_is_returned_with_its_connectors<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(
        &store,
        &[
            status(id(0, 1), "CP-1", 0, 2),
            status(id(0, 2), "CP-1", 1, 1),
            status(id(0, 3), "CP-2", 1, 1),
        ],
    )
    .unwrap();
    let charger = store.charger("cp-1").unwrap().unwrap();
    let places: Vec<_> = charger
        .connectors
        .iter()
        .map(|view| view.connector)
        .collect();
    assert_eq!(places, [1, 2]);
    let last = charger.connectors[0].last_status.as_deref();
    assert_eq!(last, Some("Charging"));
    assert_eq!(store.charger("cp-9").unwrap(), None);
}

fn cursor_of_another_list_is_refused<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    charged(&store);
    let request = page(None, 1);
    let cursors = [
        store
            .messages(&MessageFilter::default(), &request)
            .unwrap()
            .next
            .unwrap(),
        store
            .transactions(&TransactionFilter::default(), &request)
            .unwrap()
            .next
            .unwrap(),
        store
            .chargers(&ChargerFilter::default(), &request)
            .unwrap()
            .next
            .unwrap(),
        Cursor::from_text("nonsense"),
    ];
    let bad = |answer: Result<(), QueryError>| answer == Err(QueryError::BadCursor);
    for (i, cursor) in cursors.into_iter().enumerate() {
        let request = page(Some(cursor), 1);
        let messages = store
            .messages(&MessageFilter::default(), &request)
            .map(|_| ());
        let transactions = store
            .transactions(&TransactionFilter::default(), &request)
            .map(|_| ());
        let chargers = store
            .chargers(&ChargerFilter::default(), &request)
            .map(|_| ());
        assert_eq!(bad(messages), i != 0);
        assert_eq!(bad(transactions), i != 1);
        assert_eq!(bad(chargers), i != 2);
        assert!(bad(store
            .dead_letters(&central::query::DeadLetterFilter::default(), &request)
            .map(|_| ())));
    }
}

#[test]
fn read_only_store_reads_while_another_writes() {
    let database = SqliteDatabase::new();
    let store = database.open();
    charged(&store);
    let other = database.open_with(SqliteOptions {
        read_only: true,
        ..SqliteOptions::default()
    });
    let filter = MessageFilter::default();
    let mut rows = all_messages(&other, &filter);
    assert_eq!(rows.next().unwrap().unwrap().id.gateway, gateway(0));
    // A scan between two pages holds no lock: writing continues, and the next query sees it.
    apply(&store, &[status(id(5, 1), "CP-9", 0, 1)]).unwrap();
    assert!(other.charger("cp-9").unwrap().is_some());
    assert_eq!(rows.count(), 74);
    let error = apply(&other, &[status(id(5, 2), "CP-9", 0, 1)]).unwrap_err();
    assert_eq!(error.kind, central::ports::UnavailableKind::ReadOnly);
}

#[test]
fn read_only_store_does_not_create_a_missing_file() {
    let database = SqliteDatabase::new();
    let reader = database.open_with(SqliteOptions {
        read_only: true,
        ..SqliteOptions::default()
    });
    assert!(reader.ping().is_err());
    assert!(reader.charger("cp-1").is_err());
    assert!(!database.path().exists());
}

#[test]
fn write_ahead_log_stays_small() {
    let database = SqliteDatabase::new();
    let store = database.open_with(SqliteOptions {
        log_bytes: 256 * 1024,
        ..SqliteOptions::default()
    });
    for n in 0..400_u64 {
        let sent: Vec<Sent> = (0..10)
            .map(|k| meter_values(id(0, n * 10 + k + 1), "CP-1", (n * 10 + k).cast_signed(), 1))
            .collect();
        apply(&store, &sent).unwrap();
        store.charger("CP-1").unwrap();
    }
    let log = database.directory.path().join("wattpost.db-wal");
    let bytes = std::fs::metadata(log).unwrap().len();
    assert!(bytes < 1024 * 1024, "{bytes}");
}

/// A page of a rare kind reads a bounded number of chargers, and the next one goes on after them.
#[test]
fn a_rare_charger_after_more_chargers_than_a_page_reads_is_found_once() {
    let database = PostgresDatabase::new();
    let store = database.open();
    let payload = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    let answer = r#"{"status":"Accepted"}"#;
    let boot = answered(id(0, 1), "CP-1", 1, "BootNotification", payload, answer);
    apply(&store, &[boot]).unwrap();
    database.execute(
        r#"INSERT INTO chargers (key, id, state)
               SELECT 'many-' || lpad(n::text, 6, '0'), 'MANY', c.state
               FROM chargers c, generate_series(1, 20010) n WHERE c.key = 'cp-1';
           UPDATE chargers SET state = replace(state, '"vendor":"V"', '"vendor":"Rare \"one\""')
               WHERE key = 'many-020005'"#,
    );
    let filter = ChargerFilter {
        vendor: Some(r#"Rare "one""#.to_owned()),
        version: Some(Version::V16),
        ..ChargerFilter::default()
    };
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut request = PageRequest {
        after: None,
        limit: 16,
    };
    loop {
        let page = store.chargers(&filter, &request).unwrap();
        pages += 1;
        found.extend(page.items);
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    assert_eq!((found.len(), pages), (1, 2));
    let boot = found[0].charger.boot.as_ref().unwrap();
    assert_eq!(boot.vendor, filter.vendor);
    let other = ChargerFilter {
        version: Some(Version::V21),
        ..filter
    };
    let page = store.chargers(&other, &PageRequest::default()).unwrap();
    assert!(page.items.is_empty() && page.next.is_some());
}
