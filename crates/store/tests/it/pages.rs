//! Hard cases of queries: a long history in which few rows match, ids that several records share, texts that
//! PostgreSQL cannot store; and reading single dead letters.

use crate::common::{
    Adapter, PostgresDatabase, Sent, apply, at, call, heartbeat, id, on_every_adapter, origin,
    start,
};
use central::RecordId;
use central::ports::{
    DeadLetter, DeadLetters, DirectorySource, LetterSelection, Once, Store, Token, TokenStatus,
    Tokens,
};
use central::project::Changes;
use central::query::{
    ChargerFilter, Cursor, DeadLetterFilter, MessageFilter, PageRequest, QueryStore,
    TransactionFilter,
};

on_every_adapter!(
    text_with_a_nul_is_queried_like_any_other,
    dead_letter_is_read_whole,
    dead_letter_with_the_greatest_sequence_number_is_found,
);

fn page(after: Option<Cursor>, limit: usize) -> PageRequest {
    PageRequest { after, limit }
}

/// The ids on all pages of `limit` rows, and how many pages there were.
fn scan(store: &dyn QueryStore, filter: &MessageFilter, limit: usize) -> (Vec<RecordId>, usize) {
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let found = store.messages(filter, &page(after, limit)).unwrap();
        seen.extend(found.items.iter().map(|row| row.id));
        pages += 1;
        assert!(pages < 1_000, "the scan does not end");
        match found.next {
            Some(cursor) => after = Some(cursor),
            None => return (seen, pages),
        }
    }
}

/// Stores 50,000 heartbeats of CP-1, all copies of one.
fn long_history(database: &PostgresDatabase) {
    apply(&database.open(), &[heartbeat(1, "CP-1")]).unwrap();
    database.execute(
        "INSERT INTO messages
         SELECT gateway_no, n, received_at + n, epoch, charger_no, kind, version, answer_kind, notes, charger_id,
             message_id, action, payload, answer, reason, raw
         FROM messages, generate_series(2, 50000) AS n WHERE seq = 1",
    );
}

#[test]
fn long_history_without_a_match_is_scanned_in_bounded_pages() {
    let database = PostgresDatabase::new();
    let store = database.open();
    long_history(&database);
    let rare = [
        call(id(0, 30_000_000), "CP-1", 0, "Authorize", "{}"),
        start(id(1, 1), "CP-2", 1, 77),
    ];
    apply(&store, &rare).unwrap();
    let filter = |charger: Option<&str>, action: &str| MessageFilter {
        charger: charger.map(str::to_owned),
        action: Some(action.to_owned()),
        ..MessageFilter::default()
    };
    for filter in [filter(None, "Authorize"), filter(Some("cp-1"), "Authorize")] {
        let first = store.messages(&filter, &page(None, 10)).unwrap();
        assert!(first.items.is_empty() && first.next.is_some());
        assert_eq!(scan(&store, &filter, 10), (vec![rare[0].id], 3));
    }
    // With a charger, an index leads to its rows.
    assert_eq!(
        scan(&store, &filter(Some("cp-2"), "StartTransaction"), 10),
        (vec![rare[1].id], 1)
    );
    assert_eq!(
        store.count_messages(&MessageFilter::default()).unwrap(),
        50_002
    );
    let (seen, pages) = scan(&store, &MessageFilter::default(), 1_000);
    assert_eq!((seen.len(), pages), (50_002, 51));
    assert!(seen.is_sorted());
}

/// Copies these stored records of the first gateway to another day of this week.
fn copy(database: &PostgresDatabase, day: i64, numbers: &str) {
    database.execute(&format!(
        "INSERT INTO messages
         SELECT gateway_no, seq, (extract(epoch FROM now())::bigint + {day} * 86400) * 1000, epoch, charger_no,
             kind, version, answer_kind, notes, charger_id, message_id, action, payload, answer, reason, raw
         FROM messages_default WHERE seq {numbers}"
    ));
}

#[test]
fn records_that_share_an_id_are_on_one_page() {
    let database = PostgresDatabase::new();
    let store = database.open();
    let sent: Vec<Sent> = (1..=4).map(|seq| heartbeat(seq, "CP-1")).collect();
    apply(&store, &sent).unwrap();
    // No index spans the days, so two writers at the same moment may both succeed.
    copy(&database, 0, "IN (2, 3)");
    copy(&database, 1, "= 3");
    let want = [1, 2, 2, 3, 3, 3, 4].map(|seq| id(0, seq));
    for charger in [None, Some("CP-1".to_owned())] {
        let filter = MessageFilter {
            charger,
            ..MessageFilter::default()
        };
        for limit in 1..9 {
            assert_eq!(scan(&store, &filter, limit).0, want, "pages of {limit}");
        }
        let rows = store.messages(&filter, &page(None, 100)).unwrap().items;
        assert!(rows.is_sorted_by_key(|row| (row.id, row.received_at)));
    }
    // Nor does the bound on the rows that a page reads separate them.
    database.execute("DELETE FROM messages WHERE seq > 1");
    long_history(&database);
    copy(&database, 0, "BETWEEN 19985 AND 20005");
    let filter = MessageFilter {
        from: Some(at(0)),
        action: Some("Heartbeat".to_owned()),
        ..MessageFilter::default()
    };
    let (seen, _) = scan(&store, &filter, 1_000);
    assert_eq!(seen.len(), 50_021);
    assert!(seen.is_sorted());
}

fn text_with_a_nul_is_queried_like_any_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let sent = [
        call(id(0, 1), "CP\u{0}1", 1, "Odd\u{0}", "{}"),
        heartbeat(2, "CP-2"),
    ];
    apply(&store, &sent).unwrap();
    let filter = MessageFilter {
        charger: Some("cp\u{0}1".to_owned()),
        action: Some("Odd\u{0}".to_owned()),
        ..MessageFilter::default()
    };
    assert_eq!(scan(&store, &filter, 10).0, [sent[0].id]);
    assert_eq!(store.count_messages(&filter).unwrap(), 1);
    let charger = store.charger("CP\u{0}1").unwrap().unwrap().charger;
    assert_eq!(charger.charger_id, "CP\u{0}1");
    let search = ChargerFilter {
        search: Some("p\u{0}".to_owned()),
        ..ChargerFilter::default()
    };
    let first = store.chargers(&search, &page(None, 1)).unwrap();
    assert_eq!(first.items.len(), 1);
    let transactions = TransactionFilter {
        charger: Some("cp\u{0}1".to_owned()),
        ..TransactionFilter::default()
    };
    assert_eq!(store.count_transactions(&transactions).unwrap(), 0);
    // A cursor that this store has not made.
    let forged =
        central::query::Place::Charger(central::model::ChargerKey::of("a\u{0}")).to_cursor();
    let behind = store.chargers(&ChargerFilter::default(), &page(Some(forged), 10));
    assert_eq!(behind.unwrap().items.len(), 2);
    let token = Token {
        id: "T\u{0}".to_owned(),
        status: TokenStatus::Accepted,
        expires_at: None,
        group_id: Some("\u{0}".to_owned()),
        ..Token::accepted("")
    };
    assert_eq!(store.token("t\u{0}").unwrap(), None);
    store.put_token(&token, &origin()).unwrap();
    assert!(store.token("t\u{0}").unwrap().is_some());
    assert!(store.remove_token("T\u{0}", &origin()).unwrap());
}

fn letter(id: RecordId, byte: u8) -> DeadLetter {
    DeadLetter {
        id,
        bytes: vec![0, 255, byte],
        reason: "a reason".to_owned(),
    }
}

fn dead_letter_is_read_whole<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let letters = [
        letter(id(0, 7), 1),
        letter(id(0, 8), 2),
        letter(id(1, 7), 3),
    ];
    store.apply(&[], &Changes::default(), &letters).unwrap();
    for letter in &letters {
        assert_eq!(store.dead_letter(letter.id).unwrap().as_ref(), Some(letter));
    }
    for unknown in [id(0, 9), id(9, 7)] {
        assert_eq!(store.dead_letter(unknown).unwrap(), None);
    }
}

fn dead_letter_with_the_greatest_sequence_number_is_found<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let odd = letter(id(0, u64::MAX), 9);
    store
        .apply(&[], &Changes::default(), std::slice::from_ref(&odd))
        .unwrap();
    assert_eq!(store.dead_letter(odd.id).unwrap(), Some(odd.clone()));
    let all = DeadLetterFilter::default();
    let rows = store.dead_letters(&all, &page(None, 10)).unwrap().items;
    assert_eq!(rows[0].record_id, odd.id.to_string());
    let wanted = crate::dead_letters::discard(LetterSelection::Ids(vec![odd.id]));
    let done = store.discard_letters(&wanted).unwrap();
    assert_eq!(done, Once::Done(vec![odd.id.to_string()]));
    let gone = store.dead_letter_row(odd.id).unwrap().unwrap();
    assert_eq!(gone.record_id, odd.id.to_string());
}
