//! Pages in the hard cases: a long history in which hardly anything matches, ids that several records
//! share, texts that PostgreSQL cannot hold; and dead letters, one at a time.

use crate::common::{
    Adapter, PostgresHome, Said, apply, at, call, heartbeat, id, on_every_adapter, start,
};
use central::RecordId;
use central::ports::{
    DeadLetter, DeadLetters, DirectoryAdmin, DirectorySource, Store, Token, TokenStatus,
};
use central::project::Changes;
use central::query::{
    ChargerFilter, Cursor, MessageFilter, PageRequest, QueryStore, TransactionFilter,
};

on_every_adapter!(
    a_text_with_a_nul_is_asked_for_like_any_other,
    a_dead_letter_is_shown_whole_and_discarded,
    dead_letters_of_ids_beyond_all_bounds_are_found_too,
);

fn page(after: Option<Cursor>, limit: usize) -> PageRequest {
    PageRequest { after, limit }
}

/// The ids on all pages of `limit` rows, and how many pages there were.
fn walk(store: &dyn QueryStore, filter: &MessageFilter, limit: usize) -> (Vec<RecordId>, usize) {
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let found = store.messages(filter, &page(after, limit)).unwrap();
        seen.extend(found.items.iter().map(|row| row.id));
        pages += 1;
        assert!(pages < 1_000, "the walk does not end");
        match found.next {
            Some(cursor) => after = Some(cursor),
            None => return (seen, pages),
        }
    }
}

/// 50,000 heartbeats of CP-1, each of them copied from the one that is there.
fn long_history(home: &PostgresHome) {
    apply(&home.open(), &[heartbeat(1, "CP-1")]).unwrap();
    home.execute(
        "INSERT INTO messages
         SELECT gateway_no, n, received_at + n, epoch, charger_no, kind, version, answer_kind, notes, charger_id,
             message_id, action, payload, answer, reason, raw
         FROM messages, generate_series(2, 50000) AS n WHERE seq = 1",
    );
}

#[test]
fn a_long_history_without_a_match_is_walked_in_bounded_pages() {
    let home = PostgresHome::new();
    let store = home.open();
    long_history(&home);
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
        assert_eq!(walk(&store, &filter, 10), (vec![rare[0].id], 3));
    }
    // An index leads to what a charger said.
    assert_eq!(
        walk(&store, &filter(Some("cp-2"), "StartTransaction"), 10),
        (vec![rare[1].id], 1)
    );
    assert_eq!(
        store.count_messages(&MessageFilter::default()).unwrap(),
        50_002
    );
    let (seen, pages) = walk(&store, &MessageFilter::default(), 1_000);
    assert_eq!((seen.len(), pages), (50_002, 51));
    assert!(seen.is_sorted());
}

/// Copies what is stored of the first gateway to another day of this week.
fn copy(home: &PostgresHome, day: i64, numbers: &str) {
    home.execute(&format!(
        "INSERT INTO messages
         SELECT gateway_no, seq, (extract(epoch FROM now())::bigint + {day} * 86400) * 1000, epoch, charger_no,
             kind, version, answer_kind, notes, charger_id, message_id, action, payload, answer, reason, raw
         FROM messages_default WHERE seq {numbers}"
    ));
}

#[test]
fn records_that_share_an_id_are_not_parted_by_the_end_of_a_page() {
    let home = PostgresHome::new();
    let store = home.open();
    let said: Vec<Said> = (1..=4).map(|seq| heartbeat(seq, "CP-1")).collect();
    apply(&store, &said).unwrap();
    // No index spans the days: two writers at the same moment may both be let in.
    copy(&home, 0, "IN (2, 3)");
    copy(&home, 1, "= 3");
    let want = [1, 2, 2, 3, 3, 3, 4].map(|seq| id(0, seq));
    for charger in [None, Some("CP-1".to_owned())] {
        let filter = MessageFilter {
            charger,
            ..MessageFilter::default()
        };
        for limit in 1..9 {
            assert_eq!(walk(&store, &filter, limit).0, want, "pages of {limit}");
        }
        let rows = store.messages(&filter, &page(None, 100)).unwrap().items;
        assert!(rows.is_sorted_by_key(|row| (row.id, row.received_at)));
    }
    // Nor by the end of what a page looks at.
    home.execute("DELETE FROM messages WHERE seq > 1");
    long_history(&home);
    copy(&home, 0, "BETWEEN 19985 AND 20005");
    let filter = MessageFilter {
        from: Some(at(0)),
        action: Some("Heartbeat".to_owned()),
        ..MessageFilter::default()
    };
    let (seen, _) = walk(&store, &filter, 1_000);
    assert_eq!(seen.len(), 50_021);
    assert!(seen.is_sorted());
}

fn a_text_with_a_nul_is_asked_for_like_any_other<A: Adapter>() {
    let home = A::new();
    let store = home.open();
    let said = [
        call(id(0, 1), "CP\u{0}1", 1, "Odd\u{0}", "{}"),
        heartbeat(2, "CP-2"),
    ];
    apply(&store, &said).unwrap();
    let filter = MessageFilter {
        charger: Some("cp\u{0}1".to_owned()),
        action: Some("Odd\u{0}".to_owned()),
        ..MessageFilter::default()
    };
    assert_eq!(walk(&store, &filter, 10).0, [said[0].id]);
    assert_eq!(store.count_messages(&filter).unwrap(), 1);
    let charger = store.charger("CP\u{0}1").unwrap().unwrap().charger;
    assert_eq!(charger.charger_id, "CP\u{0}1");
    let search = ChargerFilter {
        search: Some("p\u{0}".to_owned()),
        online: None,
    };
    let first = store.chargers(&search, &page(None, 1)).unwrap();
    assert_eq!(first.items.len(), 1);
    let transactions = TransactionFilter {
        charger: Some("cp\u{0}1".to_owned()),
        ..TransactionFilter::default()
    };
    assert_eq!(store.count_transactions(&transactions).unwrap(), 0);
    // Someone else's cursor, with anything in it.
    let forged =
        central::query::Place::Charger(central::model::ChargerKey::of("a\u{0}")).to_cursor();
    let behind = store.chargers(&ChargerFilter::default(), &page(Some(forged), 10));
    assert_eq!(behind.unwrap().items.len(), 2);
    let token = Token {
        id: "T\u{0}".to_owned(),
        status: TokenStatus::Accepted,
        expires_at: None,
        group_id: Some("\u{0}".to_owned()),
    };
    assert_eq!(store.token("t\u{0}").unwrap(), None);
    store.put_token(&token).unwrap();
    assert!(store.token("t\u{0}").unwrap().is_some());
    assert!(store.remove_token("T\u{0}").unwrap());
}

fn letter(id: RecordId, byte: u8) -> DeadLetter {
    DeadLetter {
        id,
        bytes: vec![0, 255, byte],
        reason: "as told".to_owned(),
    }
}

fn a_dead_letter_is_shown_whole_and_discarded<A: Adapter>() {
    let home = A::new();
    let store = home.open();
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
        assert!(!store.discard_dead_letter(unknown).unwrap());
    }
    assert!(store.discard_dead_letter(letters[0].id).unwrap());
    assert!(!store.discard_dead_letter(letters[0].id).unwrap());
    assert_eq!(store.dead_letter(letters[0].id).unwrap(), None);
    // Only that one is gone, and for everybody.
    let other = home.open();
    let left = other.dead_letters(&page(None, 10)).unwrap().items;
    let left: Vec<_> = left.into_iter().map(|row| row.record_id).collect();
    assert_eq!(
        left,
        letters[1..]
            .iter()
            .map(|one| one.id.to_string())
            .collect::<Vec<_>>()
    );
}

fn dead_letters_of_ids_beyond_all_bounds_are_found_too<A: Adapter>() {
    let home = A::new();
    let store = home.open();
    let odd = letter(id(0, u64::MAX), 9);
    store
        .apply(&[], &Changes::default(), std::slice::from_ref(&odd))
        .unwrap();
    assert_eq!(store.dead_letter(odd.id).unwrap(), Some(odd.clone()));
    let rows = store.dead_letters(&page(None, 10)).unwrap().items;
    assert_eq!(rows[0].record_id, odd.id.to_string());
    assert!(store.discard_dead_letter(odd.id).unwrap());
}
