//! The ports `ChargerAdmin`, `Tokens` and `DirectorySource`: chargers and tokens that the operator sets.

use crate::common::{
    Adapter, answered, apply, at, id, on_every_adapter, origin, put_profile, remove_profile, start,
    start_on, stop,
};
use central::Timestamp;
use central::model::{ChargerKey, CloseStyle, ConcurrentTransactions};
use central::ports::{
    ChargerAdmin, ChargerProfile, CheckMode, DirectorySource, NotChanged, Registration, Token,
    TokenStatus, Tokens,
};
use central::query::{AuditFilter, PageRequest, QueryStore, TokenFilter};
use serde_json::json;

on_every_adapter!(
    gateway_loads_what_the_operator_has_set,
    ids_that_differ_in_case_are_one,
    revision_grows_with_every_change_and_only_then,
    change_by_another_process_is_loaded,
    running_transactions_of_tokens_that_may_be_in_one_only_are_read,
    each_change_is_in_the_audit_log_without_a_password,
);

fn profile(charger_id: &str) -> ChargerProfile {
    ChargerProfile {
        charger_id: charger_id.to_owned(),
        registration: Registration::Pending,
        password_hash: Some("$argon2id$x".to_owned()),
        check: Some(CheckMode::Strict),
        frame_bytes_max: Some(8 << 20),
        close_style: Some(CloseStyle::Tcp),
        ..ChargerProfile::new(charger_id)
    }
}

fn token(id: &str) -> Token {
    Token {
        id: id.to_owned(),
        status: TokenStatus::Blocked,
        expires_at: Some(Timestamp(5)),
        group_id: Some("G".to_owned()),
        ..Token::accepted("")
    }
}

fn gateway_loads_what_the_operator_has_set<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let plain = ChargerProfile {
        registration: Registration::Accepted,
        password_hash: None,
        check: None,
        frame_bytes_max: None,
        close_style: None,
        ..profile("CP-2")
    };
    put_profile(&store, &profile("CP-1"));
    put_profile(&store, &plain);
    store.put_token(&token("TAG"), &origin()).unwrap();
    let snapshot = store.load(None).unwrap().unwrap();
    assert_eq!(snapshot.chargers[&ChargerKey::of("cp-1")], profile("CP-1"));
    assert_eq!(snapshot.chargers[&ChargerKey::of("cp-2")], plain);
    assert_eq!(snapshot.tokens["tag"], token("TAG"));
    assert_eq!(store.token("tAg").unwrap(), Some(token("TAG")));
    assert_eq!(store.token("other").unwrap(), None);
    assert_eq!(store.charger_profiles().unwrap(), [profile("CP-1"), plain]);
    let all = store
        .token_page(&TokenFilter::default(), &PageRequest::default())
        .unwrap();
    let all: Vec<Token> = all.items.into_iter().map(|listed| listed.token).collect();
    assert_eq!(all, [token("TAG")]);
}

fn ids_that_differ_in_case_are_one<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    put_profile(&store, &profile("CP-1"));
    put_profile(&store, &profile("cp-1"));
    store.put_token(&token("TAG"), &origin()).unwrap();
    store.put_token(&token("Tag"), &origin()).unwrap();
    let snapshot = store.load(None).unwrap().unwrap();
    assert_eq!(snapshot.chargers.len(), 1);
    assert_eq!(
        snapshot.chargers[&ChargerKey::of("cp-1")].charger_id,
        "cp-1"
    );
    assert_eq!(snapshot.tokens["tag"].id, "Tag");
}

fn revision_grows_with_every_change_and_only_then<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut last = store.load(None).unwrap().unwrap().revision;
    assert_eq!(store.load(Some(last)).unwrap(), None);
    let changes: [&dyn Fn(); 4] = [
        &|| drop(put_profile(&store, &profile("CP-1"))),
        &|| store.put_token(&token("T"), &origin()).unwrap(),
        &|| assert_eq!(remove_profile(&store, "cp-1"), Ok(())),
        &|| assert!(store.remove_token("t", &origin()).unwrap()),
    ];
    for change in changes {
        change();
        let snapshot = store.load(Some(last)).unwrap().unwrap();
        assert!(snapshot.revision > last);
        last = snapshot.revision;
    }
    assert_eq!(remove_profile(&store, "cp-1"), Err(NotChanged::Unknown));
    assert!(!store.remove_token("t", &origin()).unwrap());
    assert_eq!(store.load(Some(last)).unwrap(), None);
}

fn change_by_another_process_is_loaded<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let revision = store.load(None).unwrap().unwrap().revision;
    database.open().put_token(&token("T"), &origin()).unwrap();
    let snapshot = store.load(Some(revision)).unwrap().unwrap();
    assert!(snapshot.tokens.contains_key("t"));
}

fn running_transactions_of_tokens_that_may_be_in_one_only_are_read<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let refused = answered(
        id(1, 4),
        "CP-4",
        0,
        "StartTransaction",
        r#"{"connectorId":1,"idTag":"TAG-1","meterStart":1,"timestamp":"2026-01-15T00:00:00Z"}"#,
        r#"{"idTagInfo":{"status":"ConcurrentTx"},"transactionId":44}"#,
    );
    let sent = [
        start(id(1, 1), "CP-1", 0, 11),
        start_on(id(1, 2), "CP-2", 2, 22, 7),
        start(id(1, 3), "CP-3", 3, 33),
        stop(id(1, 5), "CP-1", 9, 11),
        refused,
    ];
    apply(&store, &sent).unwrap();
    let read = |is_default_refuse, minute| {
        let running = store.running(is_default_refuse, at(minute)).unwrap();
        let running = running.into_iter().map(|running| {
            assert_eq!(running.token, "tag-1");
            let place = running.place.unwrap();
            (
                running.charger.as_str().to_owned(),
                running.transaction_id,
                place,
            )
        });
        running.collect::<Vec<_>>()
    };
    let rule = |concurrent| Token {
        concurrent,
        ..Token::accepted("Tag-1")
    };
    let all = [("cp-3", "33", 1), ("cp-2", "22", 7)]
        .map(|(charger, id, place)| (charger.to_owned(), id.to_owned(), place));
    assert_eq!(read(true, 0), [], "a token that is not known has no rule");
    store.put_token(&rule(None), &origin()).unwrap();
    assert_eq!(read(false, 0), []);
    assert_eq!(read(true, 0), all);
    store
        .put_token(&rule(Some(ConcurrentTransactions::Allow)), &origin())
        .unwrap();
    assert_eq!(read(true, 0), []);
    store
        .put_token(&rule(Some(ConcurrentTransactions::Refuse)), &origin())
        .unwrap();
    assert_eq!(read(false, 0), all);
    assert_eq!(read(false, 3), all[..1], "the others began before");
}

fn each_change_is_in_the_audit_log_without_a_password<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let other_password = ChargerProfile {
        password_hash: Some("$argon2id$y".to_owned()),
        ..profile("cp-1")
    };
    put_profile(&store, &profile("CP-1"));
    put_profile(&store, &other_password);
    store.put_token(&token("TAG"), &origin()).unwrap();
    assert_eq!(remove_profile(&store, "CP-1"), Ok(()));
    assert!(store.remove_token("tag", &origin()).unwrap());
    assert!(!store.remove_token("tag", &origin()).unwrap());

    let all = |filter: &AuditFilter| {
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let page = store
                .audit(filter, &PageRequest { after, limit: 2 })
                .unwrap();
            entries.extend(page.items);
            after = page.next;
            if after.is_none() {
                return entries;
            }
        }
    };
    let entries = all(&AuditFilter::default());
    let done: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.subject.as_str()))
        .collect();
    assert_eq!(
        done,
        [
            ("token.removed", "TAG"),
            ("charger.removed", "cp-1"),
            ("token.set", "TAG"),
            ("charger.set", "cp-1"),
            ("charger.set", "CP-1"),
        ]
    );
    let last = &entries[3];
    let mut shown = json!({
        "charger_id": "CP-1",
        "admission": Registration::Pending,
        "has_password": true,
        "check": CheckMode::Strict,
        "frame_bytes_max": 8 << 20,
        "label": null,
        "site": null,
        "group": null,
        "close_style": "tcp",
    });
    assert_eq!(last.before.as_ref(), Some(&shown));
    shown["charger_id"] = json!("cp-1");
    shown["password_changed"] = json!(true);
    assert_eq!(last.after.as_ref(), Some(&shown));
    assert_eq!(entries[4].before, None);
    assert_eq!(
        (entries[0].after.as_ref(), entries[0].at),
        (None, Timestamp(5))
    );
    assert_eq!(entries[0].by, origin().by);
    let written = serde_json::to_string(&entries).unwrap();
    assert!(!written.contains("argon2"), "{written}");

    let of = |action: &str, subject: &str| AuditFilter {
        action: Some(action.to_owned()),
        subject: Some(subject.to_owned()),
        ..AuditFilter::default()
    };
    assert_eq!(all(&of("charger.set", "CP-1")), entries[4..]);
    let late = AuditFilter {
        from: Some(Timestamp(6)),
        ..AuditFilter::default()
    };
    assert_eq!(all(&late), []);
}
