//! Reading: pages that neither skip nor repeat, filters, and reading beside writing.

use crate::common::{
    self, Adapter, Home, Said, apply, at, call, event, gateway, id, meter_values, on_every_adapter,
    start, status, stop,
};
use central::model::TransactionView;
use central::ports::{Maintenance, Store};
use central::query::{
    ChargerFilter, Cursor, MessageFilter, MessageRow, PageRequest, QueryError, QueryStore,
    TransactionFilter, all_messages, all_transactions,
};
use central::{RecordId, RecordKind, Seq};
use store::SqliteOptions;

on_every_adapter!(
    every_filter_finds_exactly_its_messages_on_pages_of_every_size,
    a_walk_is_not_disturbed_by_what_is_added_meanwhile,
    transactions_are_shown_the_latest_first,
    a_stop_without_an_id_ends_the_transaction_that_it_fits,
    an_end_that_finds_its_own_start_gives_back_the_one_that_it_had_ended,
    chargers_are_listed_by_identity_with_whether_they_are_there,
    a_charger_is_shown_with_its_connectors,
    a_cursor_of_another_list_is_refused,
    the_last_number_of_a_gateway_is_told,
);

fn page(after: Option<Cursor>, limit: usize) -> PageRequest {
    PageRequest { after, limit }
}

/// Walks through all pages of `limit` rows; `between` runs after each.
fn walk(
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
fn history() -> Vec<Said> {
    (0..600_u64)
        .map(|n| {
            let charger = format!("CP-{}", n % 5);
            let action = ["Heartbeat", "Heartbeat", "Heartbeat", "Authorize"][n as usize % 4];
            let id = id(u128::from(n % 2), n * 100 + 1);
            call(id, &charger, n.cast_signed(), action, "{}")
        })
        .collect()
}

fn expect(said: &[Said], matches: impl Fn(&Said) -> bool) -> Vec<RecordId> {
    let mut ids: Vec<RecordId> = said
        .iter()
        .filter(|said| matches(said))
        .map(|said| said.id)
        .collect();
    ids.sort_unstable();
    ids
}

fn every_filter_finds_exactly_its_messages_on_pages_of_every_size<A: Adapter>() {
    let home = A::new();
    let store = home.open();
    let said = history();
    for part in said.chunks(97) {
        apply(&store, part).unwrap();
    }
    type Matches = Box<dyn Fn(&Said) -> bool>;
    let filter = MessageFilter::default;
    let cases: Vec<(MessageFilter, Matches)> = vec![
        (filter(), Box::new(|_| true)),
        (
            MessageFilter {
                charger: Some("cp-3".into()),
                ..filter()
            },
            Box::new(|said| said.record().charger_id == "CP-3"),
        ),
        (
            MessageFilter {
                action: Some("Authorize".into()),
                ..filter()
            },
            Box::new(|said| said.record().action == "Authorize"),
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
            Box::new(|said| (at(100)..at(300)).contains(&said.record().received_at)),
        ),
        (
            MessageFilter {
                charger: Some("CP-1".into()),
                action: Some("Heartbeat".into()),
                kind: Some(RecordKind::Call),
                from: Some(at(7)),
                to: Some(at(590)),
            },
            Box::new(|said| {
                let record = said.record();
                record.charger_id == "CP-1"
                    && record.action == "Heartbeat"
                    && (at(7)..at(590)).contains(&record.received_at)
            }),
        ),
    ];
    for (filter, matches) in &cases {
        let want = expect(&said, matches);
        for limit in [3, 100, 1_000] {
            assert_eq!(
                walk(&store, filter, limit, || ()),
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

fn a_walk_is_not_disturbed_by_what_is_added_meanwhile<A: Adapter>() {
    let home = A::new();
    let store = home.open();
    let said = history();
    let (before, after): (Vec<_>, Vec<_>) =
        said.into_iter().partition(|said| said.id.seq.0 % 3 == 0);
    apply(&store, &before).unwrap();
    let mut later = after.chunks(10);
    let seen = walk(&store, &MessageFilter::default(), 20, || {
        apply(&store, later.next().unwrap_or_default()).unwrap();
    });
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, seen, "in order, none twice");
    assert!(
        before.iter().all(|said| seen.contains(&said.id)),
        "none skipped"
    );
}

#[test]
fn a_long_history_without_a_match_is_walked_in_bounded_pages() {
    let home = Home::new();
    let store = home.open();
    // 100 blocks of one message each; the one that is asked for shares its bit with nobody before.
    let mut said: Vec<Said> = (0..100)
        .map(|n| call(id(0, (n << 14) + 1), "CP-1", 0, "Heartbeat", "{}"))
        .collect();
    said.push(call(id(0, 100 << 14), "CP-1", 5, "Heartbeat", "{}"));
    apply(&store, &said).unwrap();
    // Within the time of every block, so that the blocks must be read.
    let sql = "UPDATE message_blocks SET last_at = last_at + 86400000";
    home.other_connection().execute(sql, []).unwrap();
    let filter = MessageFilter {
        from: Some(at(5)),
        ..MessageFilter::default()
    };
    let first = store.messages(&filter, &page(None, 10)).unwrap();
    assert!(
        first.items.is_empty() && first.next.is_some(),
        "goes on on the next page"
    );
    assert_eq!(walk(&store, &filter, 10, || ()), [id(0, 100 << 14)]);
}

fn charged(store: &dyn Store) {
    let mut said = Vec::new();
    for n in 0..30_u64 {
        let charger = format!("CP-{}", n % 3);
        let begin = n.cast_signed() * 10;
        let transaction = n.cast_signed() + 1;
        said.push(start(id(0, n * 3 + 1), &charger, begin, transaction));
        said.push(meter_values(
            id(0, n * 3 + 2),
            &charger,
            begin + 2,
            transaction,
        ));
        if n % 2 == 0 {
            said.push(stop(id(0, n * 3 + 3), &charger, begin + 5, transaction));
        }
    }
    apply(store, &said).unwrap();
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

fn transactions_are_shown_the_latest_first<A: Adapter>() {
    let home = A::new();
    let store = home.open();
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

fn a_stop_without_an_id_ends_the_transaction_that_it_fits<A: Adapter>() {
    let home = A::new();
    let store = home.open();
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

fn an_end_that_finds_its_own_start_gives_back_the_one_that_it_had_ended<A: Adapter>() {
    let home = A::new();
    let store = home.open();
    let open = TransactionFilter {
        open: Some(true),
        ..TransactionFilter::default()
    };
    apply(&store, &[start(id(0, 1), "CP-1", 0, 77)]).unwrap();
    apply(&store, &[stop(id(0, 2), "CP-1", 4, 0)]).unwrap();
    assert_eq!(transactions(&store, &open, 10), []);
    apply(&store, &[start(id(0, 3), "CP-1", 2, 0)]).unwrap();
    let open = transactions(&store, &open, 10);
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].transaction_id, "77");
}

fn chargers_are_listed_by_identity_with_whether_they_are_there<A: Adapter>() {
    let home = A::new();
    let store = home.open();
    let mut said = vec![event(id(0, 1), RecordKind::GatewayStarted, "", 0, 1)];
    for n in 0..25_u64 {
        let charger = format!("CP-{n:02}");
        said.push(event(
            id(0, 2 + n * 2),
            RecordKind::Connected,
            &charger,
            1,
            10 + n,
        ));
        if n % 5 == 0 {
            said.push(event(
                id(0, 3 + n * 2),
                RecordKind::Disconnected,
                &charger,
                2,
                10 + n,
            ));
        }
    }
    apply(&store, &said).unwrap();
    let names = |filter: &ChargerFilter, limit: usize| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let found = store.chargers(filter, &page(after, limit)).unwrap();
            names.extend(found.items.into_iter().map(|charger| charger.charger_id));
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
        names(&offline, 2),
        ["CP-00", "CP-05", "CP-10", "CP-15", "CP-20"]
    );
    let found = ChargerFilter {
        search: Some("p-1".into()),
        online: Some(true),
    };
    assert_eq!(names(&found, 3).len(), 8);
    // The gateway starts anew: whoever was there is gone until it comes back.
    apply(
        &store,
        &[event(id(0, 100), RecordKind::GatewayStarted, "", 3, 1_000)],
    )
    .unwrap();
    assert_eq!(names(&offline, 100).len(), 25);
}

fn a_charger_is_shown_with_its_connectors<A: Adapter>() {
    let home = A::new();
    let store = home.open();
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
    assert_eq!(charger.connectors[0].status.as_deref(), Some("Charging"));
    assert_eq!(store.charger("cp-9").unwrap(), None);
}

fn a_cursor_of_another_list_is_refused<A: Adapter>() {
    let home = A::new();
    let store = home.open();
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
        assert!(bad(store.dead_letters(&request).map(|_| ())));
    }
}

#[test]
fn another_process_reads_while_this_one_writes() {
    let home = Home::new();
    let store = home.open();
    charged(&store);
    let other = home.open_with(SqliteOptions {
        read_only: true,
        ..SqliteOptions::default()
    });
    let filter = MessageFilter::default();
    let mut rows = all_messages(&other, &filter);
    assert_eq!(rows.next().unwrap().unwrap().id.gateway, gateway(0));
    // A walk that was begun holds nothing: writing goes on and is seen by the next question.
    apply(&store, &[status(id(5, 1), "CP-9", 0, 1)]).unwrap();
    assert!(other.charger("cp-9").unwrap().is_some());
    assert_eq!(rows.count(), 74);
    let away = apply(&other, &[status(id(5, 2), "CP-9", 0, 1)]).unwrap_err();
    assert_eq!(away.kind, central::ports::UnavailableKind::ReadOnly);
}

#[test]
fn what_is_not_there_cannot_be_read_and_is_not_made() {
    let home = Home::new();
    let reader = home.open_with(SqliteOptions {
        read_only: true,
        ..SqliteOptions::default()
    });
    assert!(reader.ping().is_err());
    assert!(reader.charger("cp-1").is_err());
    assert!(!home.path().exists());
}

#[test]
fn the_write_ahead_log_stays_small() {
    let home = Home::new();
    let store = home.open_with(SqliteOptions {
        log_bytes: 256 * 1024,
        ..SqliteOptions::default()
    });
    for n in 0..400_u64 {
        let said: Vec<Said> = (0..10)
            .map(|k| meter_values(id(0, n * 10 + k + 1), "CP-1", (n * 10 + k).cast_signed(), 1))
            .collect();
        apply(&store, &said).unwrap();
        store.charger("CP-1").unwrap();
    }
    let log = home.directory.path().join("wattpost.db-wal");
    let bytes = std::fs::metadata(log).unwrap().len();
    assert!(bytes < 1024 * 1024, "{bytes}");
}

fn the_last_number_of_a_gateway_is_told<A: Adapter>() {
    use central::ports::DeadLetter;
    let home = A::new();
    let store = home.open();
    let last = |number| {
        store
            .last_seq(common::gateway(number))
            .unwrap()
            .map(|seq| seq.0)
    };
    assert_eq!(last(0), None);
    let said: Vec<_> = [(0, 7), (0, 40_000), (1, 3), (0, 41), (2, 1)]
        .map(|(gateway, seq)| common::call(common::id(gateway, seq), "CP-1", 1, "Heartbeat", "{}"))
        .into();
    common::apply(&store, &said).unwrap();
    assert_eq!(
        (last(0), last(1), last(2), last(3)),
        (Some(40_000), Some(3), Some(1), None)
    );
    let letter = |gateway, seq| DeadLetter {
        id: common::id(gateway, seq),
        bytes: vec![1],
        reason: "as told".to_owned(),
    };
    let letters = [letter(0, 9), letter(1, 70_000), letter(3, 5)];
    store
        .apply(&[], &central::project::Changes::default(), &letters)
        .unwrap();
    assert_eq!(
        (last(0), last(1), last(2), last(3)),
        (Some(40_000), Some(70_000), Some(1), Some(5))
    );
    let stored = |number, first, last| -> Vec<u64> {
        let mut seqs = store
            .stored_seqs(common::gateway(number), first, last)
            .unwrap();
        seqs.sort_unstable();
        seqs.into_iter().map(|Seq(seq)| seq).collect()
    };
    assert_eq!(stored(0, Seq(0), Seq(u64::MAX)), [7, 9, 41, 40_000]);
    assert_eq!(stored(0, Seq(8), Seq(41)), [9, 41]);
    assert_eq!(stored(1, Seq(3), Seq(69_999)), [3]);
    assert!(stored(0, Seq(42), Seq(39_999)).is_empty() && stored(0, Seq(50), Seq(40)).is_empty());
    assert!(stored(9, Seq(0), Seq(u64::MAX)).is_empty(), "never met");
}
