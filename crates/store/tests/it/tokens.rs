//! The port `Tokens`: tokens that the operator sets, lists, imports and removes.

use crate::common::{
    Adapter, answered, apply, at, id, on_every_adapter, origin, start, start_on, stop,
};
use crate::imports;
use central::Timestamp;
use central::import::{Format, IMPORT_LINES_MAX, Line, Outcome};
use central::model::{ConcurrentTransactions, TokenUse};
use central::ports::{DirectorySource, Token, TokenChange, TokenStatus, Tokens, UnavailableKind};
use central::query::{AuditFilter, PageRequest, QueryError, QueryStore, TokenFilter};
use central::token_import::read;
use std::sync::atomic::{AtomicUsize, Ordering};

on_every_adapter!(
    a_token_reads_back_with_all_members_and_a_gateway_sees_no_note,
    pages_hold_each_token_once_and_filters_select,
    the_last_use_of_a_token_is_the_latest_transaction_that_it_was_accepted_for,
    what_does_not_change_leaves_no_trace,
    changes_at_the_same_time_follow_one_another,
    an_import_is_applied_whole_or_not_at_all,
    an_import_of_the_greatest_size_is_stored,
    an_import_is_applied_once_under_its_idempotency_key,
);

fn full(id: &str) -> Token {
    Token {
        id: id.to_owned(),
        status: TokenStatus::Blocked,
        expires_at: Some(Timestamp(5)),
        group_id: Some("Flotte-Ü".to_owned()),
        token_type: Some("ISO14443".to_owned()),
        concurrent: Some(ConcurrentTransactions::Refuse),
        note: Some("for the van".to_owned()),
    }
}

fn ids<S: Tokens>(store: &S, filter: &TokenFilter) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store
            .token_page(filter, &PageRequest { after, limit: 2 })
            .unwrap();
        ids.extend(page.items.into_iter().map(|listed| listed.token.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

fn audited<S: QueryStore>(store: &S) -> Vec<(String, String)> {
    let page = PageRequest {
        after: None,
        limit: 1_000,
    };
    let page = store.audit(&AuditFilter::default(), &page).unwrap();
    page.items
        .into_iter()
        .map(|entry| (entry.action, entry.subject))
        .collect()
}

fn lines(text: &str) -> Vec<Line> {
    read(Format::Csv, text.as_bytes()).unwrap()
}

fn a_token_reads_back_with_all_members_and_a_gateway_sees_no_note<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store.put_token(&full("Tag"), &origin()).unwrap();
    assert_eq!(store.stored_token("TAG").unwrap(), Some(full("Tag")));
    assert_eq!(store.stored_token("TAG2").unwrap(), None);
    let plain = Token {
        note: None,
        ..full("Tag")
    };
    assert_eq!(store.token("tAG").unwrap(), Some(plain.clone()));
    assert_eq!(store.load(None).unwrap().unwrap().tokens["tag"], plain);
}

fn pages_hold_each_token_once_and_filters_select<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for id in ["b", "A1", "a3", "C", "a2"] {
        store.put_token(&Token::accepted(id), &origin()).unwrap();
    }
    store.put_token(&full("c2"), &origin()).unwrap();
    let all = TokenFilter::default();
    assert_eq!(ids(&store, &all), ["A1", "a2", "a3", "b", "C", "c2"]);
    let with_text = TokenFilter {
        search: Some("A".to_owned()),
        ..all.clone()
    };
    assert_eq!(ids(&store, &with_text), ["A1", "a2", "a3"]);
    let of_group = TokenFilter {
        group: Some("FLOTTE-ü".to_owned()),
        ..all.clone()
    };
    assert_eq!(ids(&store, &of_group), ["c2"]);
    let blocked_ones = TokenFilter {
        status: Some(TokenStatus::Blocked),
        group: Some("flotte-ü".to_owned()),
        search: Some("%".to_owned()),
    };
    assert_eq!(ids(&store, &blocked_ones), [""; 0]);
    let foreign = PageRequest {
        after: Some(central::query::Place::Audit(1).to_cursor()),
        limit: 1,
    };
    assert_eq!(store.token_page(&all, &foreign), Err(QueryError::BadCursor));
}

fn the_last_use_of_a_token_is_the_latest_transaction_that_it_was_accepted_for<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for id in ["A", "tag-1", "TAG-2"] {
        store.put_token(&Token::accepted(id), &origin()).unwrap();
    }
    assert_eq!(store.last_use("TAG-1").unwrap(), None);
    let of = |seq, minute, connector, tag: &str, status: &str, transaction| {
        let call = format!(
            r#"{{"connectorId":{connector},"idTag":"{tag}","meterStart":1,"timestamp":"{}"}}"#,
            at(minute)
        );
        let answer =
            format!(r#"{{"idTagInfo":{{"status":"{status}"}},"transactionId":{transaction}}}"#);
        answered(
            id(1, seq),
            "CP-4",
            minute,
            "StartTransaction",
            &call,
            &answer,
        )
    };
    let sent = [
        start(id(1, 1), "CP-1", 1, 11),
        stop(id(1, 2), "CP-1", 3, 11),
        start_on(id(1, 3), "cp-2", 2, 22, 7),
        stop(id(1, 4), "cp-2", 9, 22),
        of(5, 5, 1, "TAG-1", "ConcurrentTx", 44),
        of(6, 6, 2, "Tag-2", "Accepted", 45),
        of(7, 7, 2, "stranger", "Accepted", 46),
    ];
    // The older use arrives last.
    apply(&store, &sent[2..]).unwrap();
    apply(&store, &sent[..2]).unwrap();
    let last_use = |minute, charger: &str, connector| {
        Some(TokenUse {
            at: at(minute),
            charger_id: charger.to_owned(),
            connector: Some(connector),
        })
    };
    let expected = [None, last_use(2, "cp-2", 7), last_use(6, "CP-4", 2)];
    let page = PageRequest {
        after: None,
        limit: 10,
    };
    let page = store.token_page(&TokenFilter::default(), &page).unwrap();
    let listed: Vec<_> = page.items.into_iter().map(|token| token.last_use).collect();
    assert_eq!(listed, expected);
    assert_eq!(store.last_use("TAG-1").unwrap(), expected[1]);
    assert_eq!(store.last_use("STRANGER").unwrap(), last_use(7, "CP-4", 2));
    assert_eq!(store.last_use("nobody").unwrap(), None);
}

fn what_does_not_change_leaves_no_trace<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store.put_token(&full("T"), &origin()).unwrap();
    let revision = store.load(None).unwrap().unwrap().revision;
    store.put_token(&full("T"), &origin()).unwrap();
    store
        .change_token("t", &origin(), &mut |stored| {
            assert_eq!(stored, Some(&full("T")));
            TokenChange::Keep
        })
        .unwrap();
    assert!(!store.remove_token("other", &origin()).unwrap());
    let verdicts = store
        .import_tokens(&lines("id,status\nT,blocked\n"), false, &origin())
        .unwrap();
    assert_eq!(verdicts[0].outcome, Outcome::Unchanged);
    assert_eq!(store.load(Some(revision)).unwrap(), None);
    assert_eq!(audited(&store).len(), 1);
}

fn changes_at_the_same_time_follow_one_another<A: Adapter>() {
    let database = A::new();
    let created = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = database.open();
                for number in 0..10 {
                    let id = format!("T{number}");
                    let mut is_new = false;
                    let mut change = || {
                        store.change_token(&id, &origin(), &mut |stored| {
                            is_new = stored.is_none();
                            match stored {
                                Some(_) => TokenChange::Keep,
                                None => TokenChange::Put(Token::accepted(&id)),
                            }
                        })
                    };
                    // A writer that waits too long for the others' lock is refused.
                    while change().is_err_and(|error| error.kind == UnavailableKind::Locked) {}
                    created.fetch_add(usize::from(is_new), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(created.load(Ordering::SeqCst), 10);
}

fn an_import_is_applied_whole_or_not_at_all<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store.put_token(&full("04a1"), &origin()).unwrap();
    let good = lines("id,status,note\n04A1,Accepted,\n04A2,,new\n");
    let bad = lines("id,status\n04A1,Accepted\n04A2,never\n");
    let outcomes = |lines: &[Line], is_dry_run| -> Vec<Outcome> {
        let verdicts = store.import_tokens(lines, is_dry_run, &origin()).unwrap();
        verdicts
            .into_iter()
            .map(|verdict| verdict.outcome)
            .collect()
    };
    assert_eq!(outcomes(&good, true), [Outcome::Updated, Outcome::Created]);
    assert_eq!(outcomes(&bad, false), [Outcome::Updated, Outcome::Refused]);
    assert_eq!(ids(&store, &TokenFilter::default()), ["04a1"]);
    assert_eq!(audited(&store).len(), 1);

    let revision = store.load(None).unwrap().unwrap().revision;
    assert_eq!(outcomes(&good, false), [Outcome::Updated, Outcome::Created]);
    let updated = Token {
        status: TokenStatus::Accepted,
        note: None,
        ..full("04A1")
    };
    assert_eq!(store.stored_token("04a1").unwrap(), Some(updated));
    assert!(store.load(Some(revision)).unwrap().is_some());
    assert_eq!(
        audited(&store)[..2],
        [
            ("token.set".to_owned(), "04A2".to_owned()),
            ("token.set".to_owned(), "04A1".to_owned())
        ]
    );
    assert_eq!(
        outcomes(&good, false),
        [Outcome::Unchanged, Outcome::Unchanged]
    );
}

fn an_import_of_the_greatest_size_is_stored<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut text = "id,group\n".to_owned();
    for number in 0..IMPORT_LINES_MAX {
        text.push_str(&format!("T{number:06},G\n"));
    }
    let verdicts = store
        .import_tokens(&lines(&text), false, &origin())
        .unwrap();
    assert_eq!(verdicts.len(), IMPORT_LINES_MAX);
    let snapshot = store.load(None).unwrap().unwrap();
    assert_eq!(snapshot.tokens.len(), IMPORT_LINES_MAX);
}

fn an_import_is_applied_once_under_its_idempotency_key<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    imports::are_applied_once_under_their_key(&store, "id", |file, is_dry_run, request| {
        let done = store.import_tokens_once(&lines(file), is_dry_run, request);
        done.unwrap()
    });
}
