//! The port `ApiKeys`: keys of the HTTP API, and the audit log of their changes.

use crate::common::{Adapter, on_every_adapter, origin};
use central::Timestamp;
use central::model::{ApiKey, ApiSecret, Scope};
use central::ports::{API_KEYS_MAX, ApiKeys, KeyAdded};
use uuid::Uuid;

on_every_adapter!(
    a_key_is_stored_as_its_hash_and_listed,
    a_name_is_used_once_until_its_key_is_revoked,
    the_latest_use_of_a_key_only_grows,
    the_number_of_keys_is_bounded,
    each_change_of_a_key_is_in_the_audit_log_without_the_secret,
);

fn key(name: &str, number: u16) -> (ApiKey, ApiSecret) {
    let key = ApiKey {
        id: Uuid::from_u128(u128::from(number)),
        name: name.to_owned(),
        scope: Scope::Operate,
        created_at: Timestamp(1),
        expires_at: Some(Timestamp(9)),
        last_used_at: None,
    };
    let mut random = [7; 32];
    random[..2].copy_from_slice(&number.to_be_bytes());
    (key, ApiSecret::from_random(random))
}

fn add(store: &impl ApiKeys, name: &str, number: u16) -> KeyAdded {
    let (key, secret) = key(name, number);
    store.add_api_key(&key, &secret.hash(), &origin()).unwrap()
}

fn a_key_is_stored_as_its_hash_and_listed<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "b", 2), KeyAdded::Added);
    assert_eq!(add(&store, "a", 1), KeyAdded::Added);
    // Another process sees the same.
    let found = database.open().api_keys().unwrap();
    let expected: Vec<_> = [("a", 1), ("b", 2)]
        .map(|(name, number)| key(name, number))
        .into_iter()
        .map(|(key, secret)| (key, secret.hash()))
        .collect();
    assert_eq!(found, expected);
}

fn a_name_is_used_once_until_its_key_is_revoked<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "a", 1), KeyAdded::Added);
    assert_eq!(add(&store, "a", 2), KeyAdded::NameTaken);
    assert_eq!(store.api_keys().unwrap()[0].0, key("a", 1).0);
    assert!(store.revoke_api_key("a", &origin()).unwrap());
    assert!(!store.revoke_api_key("a", &origin()).unwrap());
    assert_eq!(store.api_keys().unwrap(), []);
    assert_eq!(add(&store, "a", 2), KeyAdded::Added);
}

fn the_latest_use_of_a_key_only_grows<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    add(&store, "a", 1);
    let id = key("a", 1).0.id;
    let unknown = Uuid::from_u128(99);
    for (used, expected) in [(20, 20), (10, 20), (30, 30)] {
        let used = [(unknown, Timestamp(1)), (id, Timestamp(used))];
        store.set_api_keys_used(&used).unwrap();
        let found = &store.api_keys().unwrap()[0].0;
        assert_eq!(found.last_used_at, Some(Timestamp(expected)));
    }
}

fn the_number_of_keys_is_bounded<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for number in 0..API_KEYS_MAX {
        let added = add(&store, &format!("k{number}"), number as u16);
        assert_eq!(added, KeyAdded::Added);
    }
    assert_eq!(store.api_keys().unwrap().len(), API_KEYS_MAX);
    assert_eq!(add(&store, "b", 2_000), KeyAdded::TooMany);
    assert!(store.revoke_api_key("k5", &origin()).unwrap());
    assert_eq!(add(&store, "b", 2_000), KeyAdded::Added);
}

fn each_change_of_a_key_is_in_the_audit_log_without_the_secret<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    add(&store, "a", 1);
    add(&store, "a", 2);
    assert!(store.revoke_api_key("a", &origin()).unwrap());
    assert!(!store.revoke_api_key("a", &origin()).unwrap());
    let rows = database.query(
        "SELECT action || ' ' || subject || ' ' || actor_kind || ' ' || actor_name || ' ' || origin
            || ' ' || at || ' ' || coalesce(before, '-') || ' ' || coalesce(after, '-') AS value
         FROM audit_log ORDER BY no",
    );
    let shown = serde_json::to_value(key("a", 1).0).unwrap().to_string();
    assert_eq!(
        rows,
        [
            format!("api_key.added a command_line anna depot-1 5 - {shown}"),
            format!("api_key.revoked a command_line anna depot-1 5 {shown} -"),
        ]
    );
    let secret = key("a", 1).1;
    assert!(rows.iter().all(|row| !row.contains(secret.expose())));
}
