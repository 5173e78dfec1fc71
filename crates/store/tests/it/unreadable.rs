//! Rows that this program cannot read: written by a newer one, or damaged. Lists leave them out; whoever asks for one by its
//! own id is told which it is.

use crate::common::{
    Adapter, answered, apply, at, heartbeat, id, on_every_adapter, origin, put_profile,
};
use crate::{batches, handshakes, users};
use central::local_list::Wish;
use central::model::{
    ApiKey, ApiSecret, ChargerKey, ChargerProfile, Registration, Scope, Token, TokenStatus,
    UserPasswordHash,
};
use central::ports::{
    ApiKeys, Batches, ChangeRequest, ChargerAdmin, DirectorySource, Handshakes, LocalListFilter,
    LocalLists, Once, Tokens, Unavailable, UnavailableKind, Users,
};
use central::query::{
    AuditFilter, ChargerFilter, Cursor, HandshakeFilter, Page, PageRequest, QueryError, QueryStore,
    RemovedChargers, TokenFilter, UnknownTokenFilter,
};
use std::fmt::Debug;
use uuid::Uuid;

on_every_adapter!(
    the_settings_of_a_charger_hide_no_other,
    a_gateway_gets_all_chargers_and_tokens,
    an_entry_of_the_audit_log_hides_no_other,
    a_refused_handshake_hides_no_other,
    an_unknown_token_hides_no_other,
    a_batch_and_its_chargers_hide_no_other,
    a_token_hides_no_other,
    a_local_list_hides_no_other_and_its_charger_can_be_removed,
    a_key_and_a_user_keep_no_other_out_and_never_let_everybody_in,
    who_removed_a_charger_is_not_needed_to_list_it,
);

/// All items, by pages of one row.
fn all<T>(page: impl Fn(&PageRequest) -> Result<Page<T>, QueryError>) -> Vec<T> {
    let (mut found, mut after): (_, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = page(&PageRequest { after, limit: 1 }).unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Asserts that reading one object failed because of what is stored, and that the error names it.
fn names<T: Debug>(read: Result<T, Unavailable>, what: &str) {
    let error = read.unwrap_err();
    assert_eq!(error.kind, UnavailableKind::Corrupt, "{error}");
    assert!(error.to_string().contains(what), "{error}");
}

fn three_chargers<A: Adapter>(database: &A) -> A::Store {
    let store = database.open();
    for id in ["CP-1", "CP-2", "CP-3"] {
        put_profile(&store, &ChargerProfile::new(id));
    }
    store
}

fn the_settings_of_a_charger_hide_no_other<A: Adapter>() {
    for damage in ["registration = 'quarantined'", "check_mode = 'lenient'"] {
        let database = A::new();
        let store = three_chargers(&database);
        database.execute(&format!(
            "UPDATE charger_profiles SET {damage} WHERE key = 'cp-2'"
        ));
        let profiles = store.charger_profiles().unwrap();
        let profiles: Vec<&str> = profiles.iter().map(|one| one.charger_id.as_str()).collect();
        assert_eq!(profiles, ["CP-1", "CP-3"], "{damage}");
        let listed = all(|page| store.chargers(&ChargerFilter::default(), page));
        let listed: Vec<&str> = listed
            .iter()
            .map(|one| one.charger.charger_id.as_str())
            .collect();
        assert_eq!(listed, ["CP-1", "CP-3"], "{damage}");
        match store.charger("CP-2") {
            Err(QueryError::Unavailable(error)) => names(Err::<(), _>(error), "CP-2"),
            other => panic!("{other:?}"),
        }
    }
}

fn a_gateway_gets_all_chargers_and_tokens<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let guarded = ChargerProfile {
        password_hash: Some("$argon2id$x".to_owned()),
        frame_bytes_max: Some(8 << 20),
        ..ChargerProfile::new("CP-1")
    };
    put_profile(&store, &guarded);
    put_profile(&store, &ChargerProfile::new("CP-2"));
    let grouped = Token {
        group_id: Some("GROUP".to_owned()),
        ..Token::accepted("TAG-1")
    };
    for token in [
        &grouped,
        &Token::accepted("TAG-2"),
        &Token::accepted("TAG-3"),
    ] {
        store.put_token(token, &origin()).unwrap();
    }
    database.execute(
        "UPDATE charger_profiles SET registration = 'quarantined', check_mode = 'lenient' WHERE key = 'cp-1'",
    );
    database.execute("UPDATE tokens SET status = 'on_leave' WHERE key = 'tag-1'");
    database.execute("UPDATE tokens SET concurrent = 'twice' WHERE key = 'tag-3'");
    let snapshot = store.load(None).unwrap().unwrap();
    // Its password still guards it, and nobody can charge at it.
    let pending = ChargerProfile {
        registration: Registration::Pending,
        ..guarded
    };
    assert_eq!(snapshot.chargers[&ChargerKey::of("CP-1")], pending);
    let other = &snapshot.chargers[&ChargerKey::of("CP-2")];
    assert_eq!(other, &ChargerProfile::new("CP-2"));
    // A token that nobody has added may be accepted by policy, so one that cannot be read is blocked.
    let blocked = |token| Token {
        status: TokenStatus::Blocked,
        ..token
    };
    let expected = [
        blocked(grouped),
        Token::accepted("TAG-2"),
        blocked(Token::accepted("TAG-3")),
    ];
    assert_eq!(snapshot.tokens.len(), expected.len());
    for token in expected {
        assert_eq!(snapshot.tokens[&token.key()], token);
        assert_eq!(store.token(&token.id).unwrap(), Some(token));
    }
    names(store.stored_token("TAG-1"), "TAG-1");
}

fn an_entry_of_the_audit_log_hides_no_other<A: Adapter>() {
    for damage in ["after = '{'", "before = '{'", "actor_kind = 'robot'"] {
        let database = A::new();
        let store = three_chargers(&database);
        database.execute(&format!(
            "UPDATE audit_log SET {damage} WHERE subject = 'CP-2'"
        ));
        let entries = all(|page| store.audit(&AuditFilter::default(), page));
        let subjects: Vec<&str> = entries.iter().map(|entry| entry.subject.as_str()).collect();
        assert_eq!(subjects, ["CP-3", "CP-1"], "{damage}");
    }
}

fn a_refused_handshake_hides_no_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let refused = |id, at| handshakes::refused(id, "192.0.2.1", at);
    let refused = [refused("CP-1", 1), refused("CP-2", 2), refused("CP-3", 3)];
    store.add_refused(&refused).unwrap();
    database.execute("UPDATE refused_handshakes SET status = -1 WHERE charger_id = 'CP-2'");
    let listed = all(|page| store.refused(&HandshakeFilter::default(), page));
    let listed: Vec<_> = listed.iter().map(|one| one.charger_id.as_deref()).collect();
    assert_eq!(listed, [Some("CP-3"), Some("CP-1")]);
}

fn an_unknown_token_hides_no_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let presents = |seq: u64, tag: &str| {
        let payload = serde_json::json!({ "idTag": tag }).to_string();
        let answer = r#"{"idTagInfo":{"status":"Invalid"}}"#;
        answered(
            id(1, seq),
            "CP-1",
            seq as i64,
            "Authorize",
            &payload,
            answer,
        )
    };
    let presented = [presents(1, "A"), presents(2, "B"), presents(3, "C")];
    apply(&store, &presented).unwrap();
    database.execute("UPDATE unknown_tokens SET latest = '{' WHERE token_key = 'b'");
    let listed = all(|page| store.unknown_tokens(&UnknownTokenFilter::default(), page));
    let listed: Vec<&str> = listed.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(listed, ["C", "A"]);
}

fn a_batch_and_its_chargers_hide_no_other<A: Adapter>() {
    for damage in ["plan = '7'", "state = 99"] {
        let database = A::new();
        let store = database.open();
        let new: Vec<_> = (1..=3).map(|number| batches::new(number, 2)).collect();
        for batch in &new {
            store.create_batch(batch).unwrap();
        }
        let damaged = format!(
            "UPDATE batches SET {damage} WHERE no = (SELECT no FROM batches ORDER BY no LIMIT 1 OFFSET 1)"
        );
        database.execute(&damaged);
        let listed = all(|page| store.batches(page));
        let listed: Vec<_> = listed.iter().map(|batch| batch.id).collect();
        assert_eq!(listed, [new[2].id, new[0].id], "{damage}");
        names(store.batch(new[1].id), &new[1].id.to_string());
        database.execute("UPDATE batch_items SET state = 99 WHERE place = 0");
        let items = all(|page| store.batch_items(new[0].id, None, page, at(1)));
        let places: Vec<u32> = items.iter().map(|item| item.place).collect();
        assert_eq!(places, [1]);
    }
}

fn a_token_hides_no_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for id in ["A", "B", "C"] {
        store.put_token(&Token::accepted(id), &origin()).unwrap();
    }
    database.execute("UPDATE tokens SET concurrent = 'perhaps' WHERE key = 'b'");
    let listed = all(|page| store.token_page(&TokenFilter::default(), page));
    let listed: Vec<&str> = listed.iter().map(|one| one.token.id.as_str()).collect();
    assert_eq!(listed, ["A", "C"]);
    names(store.stored_token("B"), "token B");
}

fn a_local_list_hides_no_other_and_its_charger_can_be_removed<A: Adapter>() {
    let database = A::new();
    let store = three_chargers(&database);
    let beats = ["CP-1", "CP-2", "CP-3"].map(|charger| charger.to_owned());
    let beats: Vec<_> = beats
        .iter()
        .enumerate()
        .map(|(seq, charger)| heartbeat(seq as u64 + 1, charger))
        .collect();
    apply(&store, &beats).unwrap();
    for charger in ["CP-1", "CP-2", "CP-3"] {
        let set = store.set_list_wish(Some(charger), Some(&Wish::All), &origin());
        set.unwrap();
    }
    database.execute("UPDATE local_list_wishes SET wish = '7' WHERE charger_key = 'cp-2'");
    let listed = all(|page| store.local_list_page(&LocalListFilter::default(), page));
    let listed: Vec<&str> = listed.iter().map(|one| one.charger_id.as_str()).collect();
    assert_eq!(listed, ["CP-1", "CP-3"]);
    let due = store.due_lists(at(1_000_000), 10).unwrap();
    assert_eq!(due.len(), 2);
    names(store.local_list("CP-2"), "charger CP-2");
    let removed = store.remove_charger("CP-2", &ChangeRequest::of(origin()));
    assert_eq!(removed.unwrap(), Ok(()));
    assert_eq!(store.local_list("CP-2").unwrap(), None);
}

fn a_key_and_a_user_keep_no_other_out_and_never_let_everybody_in<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for (number, name) in [(1, "a"), (2, "b")] {
        let key = ApiKey {
            id: Uuid::from_u128(number),
            name: name.to_owned(),
            scope: Scope::Admin,
            created_at: at(1),
            expires_at: None,
            last_used_at: None,
        };
        let hash = ApiSecret::from_random([number as u8; 32]).hash();
        let added = store.add_api_key(&key, &hash, &ChangeRequest::of(origin()));
        assert!(matches!(added.unwrap(), Once::Done(_)));
        let password = UserPasswordHash::from_text("$argon2id$x".to_owned());
        let user = users::user(name, number, Scope::Admin);
        store
            .add_user(&user, &password, &origin())
            .unwrap()
            .unwrap();
    }
    for table in ["api_keys", "users"] {
        database.execute(&format!(
            "UPDATE {table} SET scope = 'owner' WHERE name = 'a'"
        ));
    }
    let keys = store.api_keys().unwrap();
    let keys: Vec<&str> = keys.iter().map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(keys, ["b"]);
    let known = store.users().unwrap();
    let known: Vec<&str> = known.iter().map(|(user, _)| user.name.as_str()).collect();
    assert_eq!(known, ["b"]);
    // While no key exists, requests need none: so no list may be empty because nothing of it can be read.
    for table in ["api_keys", "users"] {
        database.execute(&format!("UPDATE {table} SET scope = 'owner'"));
    }
    names(store.api_keys(), "API key");
    names(store.users(), "user");
}

fn who_removed_a_charger_is_not_needed_to_list_it<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1"), heartbeat(2, "CP-2")]).unwrap();
    put_profile(&store, &ChargerProfile::new("CP-1"));
    let removed = store.remove_charger("CP-1", &ChangeRequest::of(origin()));
    assert_eq!(removed.unwrap(), Ok(()));
    database.execute("UPDATE removed_chargers SET actor = '7'");
    let filter = ChargerFilter {
        removed: RemovedChargers::Only,
        ..ChargerFilter::default()
    };
    let listed = all(|page| store.chargers(&filter, page));
    assert_eq!(listed.len(), 1);
    assert!(listed[0].removed_at.is_some());
    assert!(store.charger("CP-1").unwrap().is_some());
}
