//! The ports `DirectoryAdmin` and `DirectorySource`: chargers and tokens that the operator sets.

use crate::common::{Adapter, on_every_adapter};
use central::Timestamp;
use central::model::ChargerKey;
use central::ports::{
    ChargerProfile, CheckMode, DirectoryAdmin, DirectorySource, Registration, Token, TokenStatus,
};

on_every_adapter!(
    gateway_loads_what_the_operator_has_set,
    ids_that_differ_in_case_are_one,
    revision_grows_with_every_change_and_only_then,
    change_by_another_process_is_loaded,
);

fn profile(charger_id: &str) -> ChargerProfile {
    ChargerProfile {
        charger_id: charger_id.to_owned(),
        registration: Registration::Pending,
        password_hash: Some("$argon2id$x".to_owned()),
        check: Some(CheckMode::Strict),
    }
}

fn token(id: &str) -> Token {
    Token {
        id: id.to_owned(),
        status: TokenStatus::Blocked,
        expires_at: Some(Timestamp(5)),
        group_id: Some("G".to_owned()),
    }
}

fn gateway_loads_what_the_operator_has_set<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let plain = ChargerProfile {
        registration: Registration::Accepted,
        password_hash: None,
        check: None,
        ..profile("CP-2")
    };
    store.put_charger_profile(&profile("CP-1")).unwrap();
    store.put_charger_profile(&plain).unwrap();
    store.put_token(&token("TAG")).unwrap();
    let snapshot = store.load(None).unwrap().unwrap();
    assert_eq!(snapshot.chargers[&ChargerKey::of("cp-1")], profile("CP-1"));
    assert_eq!(snapshot.chargers[&ChargerKey::of("cp-2")], plain);
    assert_eq!(snapshot.tokens["tag"], token("TAG"));
    assert_eq!(store.token("tAg").unwrap(), Some(token("TAG")));
    assert_eq!(store.token("other").unwrap(), None);
    assert_eq!(store.charger_profiles().unwrap(), [profile("CP-1"), plain]);
    assert_eq!(store.tokens().unwrap(), [token("TAG")]);
}

fn ids_that_differ_in_case_are_one<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store.put_charger_profile(&profile("CP-1")).unwrap();
    store.put_charger_profile(&profile("cp-1")).unwrap();
    store.put_token(&token("TAG")).unwrap();
    store.put_token(&token("Tag")).unwrap();
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
        &|| store.put_charger_profile(&profile("CP-1")).unwrap(),
        &|| store.put_token(&token("T")).unwrap(),
        &|| assert!(store.remove_charger_profile("cp-1").unwrap()),
        &|| assert!(store.remove_token("t").unwrap()),
    ];
    for change in changes {
        change();
        let snapshot = store.load(Some(last)).unwrap().unwrap();
        assert!(snapshot.revision > last);
        last = snapshot.revision;
    }
    assert!(!store.remove_charger_profile("cp-1").unwrap());
    assert!(!store.remove_token("t").unwrap());
    assert_eq!(store.load(Some(last)).unwrap(), None);
}

fn change_by_another_process_is_loaded<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let revision = store.load(None).unwrap().unwrap().revision;
    database.open().put_token(&token("T")).unwrap();
    let snapshot = store.load(Some(revision)).unwrap().unwrap();
    assert!(snapshot.tokens.contains_key("t"));
}
