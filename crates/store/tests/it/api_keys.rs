//! The port `ApiKeys`: keys of the HTTP API, and the audit log of their changes.

use crate::common::{Adapter, on_every_adapter, origin};
use central::Timestamp;
use central::model::{ApiKey, ApiSecret, Scope, User, UserPasswordHash};
use central::ports::{
    API_KEYS_MAX, ApiKeys, ChangeRequest, Idempotency, KeyNotAdded, KeyNotRevoked, Once, Users,
};
use uuid::Uuid;

on_every_adapter!(
    a_key_is_stored_as_its_hash_and_listed,
    a_name_is_used_once_until_its_key_is_revoked,
    the_latest_use_of_a_key_only_grows,
    the_number_of_keys_is_bounded,
    the_last_admin_key_is_kept_unless_it_is_forced,
    of_two_admin_keys_revoked_at_the_same_time_one_stays,
    of_the_last_admin_key_and_user_at_the_same_time_one_stays,
    a_repeated_addition_adds_no_second_key,
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

/// `None`: it was added.
fn add(store: &impl ApiKeys, name: &str, number: u16) -> Option<KeyNotAdded> {
    let (key, secret) = key(name, number);
    let request = ChangeRequest::of(origin());
    match store.add_api_key(&key, &secret.hash(), &request).unwrap() {
        Once::Done(added) => {
            assert_eq!(added, key);
            None
        }
        Once::Refused(why) => Some(why),
        other => panic!("{other:?}"),
    }
}

fn revoke(store: &impl ApiKeys, name: &str) -> Result<(), KeyNotRevoked> {
    store.revoke_api_key(name, false, &origin()).unwrap()
}

fn a_key_is_stored_as_its_hash_and_listed<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "b", 2), None);
    assert_eq!(add(&store, "a", 1), None);
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
    assert_eq!(add(&store, "a", 1), None);
    assert_eq!(add(&store, "a", 2), Some(KeyNotAdded::NameTaken));
    assert_eq!(store.api_keys().unwrap()[0].0, key("a", 1).0);
    assert_eq!(revoke(&store, "a"), Ok(()));
    assert_eq!(revoke(&store, "a"), Err(KeyNotRevoked::Unknown));
    assert_eq!(store.api_keys().unwrap(), []);
    assert_eq!(add(&store, "a", 2), None);
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
        assert_eq!(added, None);
    }
    assert_eq!(store.api_keys().unwrap().len(), API_KEYS_MAX);
    assert_eq!(add(&store, "b", 2_000), Some(KeyNotAdded::TooMany));
    assert_eq!(revoke(&store, "k5"), Ok(()));
    assert_eq!(add(&store, "b", 2_000), None);
}

fn each_change_of_a_key_is_in_the_audit_log_without_the_secret<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    add(&store, "a", 1);
    add(&store, "a", 2);
    assert_eq!(revoke(&store, "a"), Ok(()));
    assert_eq!(revoke(&store, "a"), Err(KeyNotRevoked::Unknown));
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

fn add_with(store: &impl ApiKeys, name: &str, number: u16, scope: Scope, expires: Option<i64>) {
    let (mut key, secret) = key(name, number);
    key.scope = scope;
    key.expires_at = expires.map(Timestamp);
    let request = ChangeRequest::of(origin());
    let added = store.add_api_key(&key, &secret.hash(), &request).unwrap();
    assert_eq!(added, Once::Done(key));
}

fn the_last_admin_key_is_kept_unless_it_is_forced<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    add_with(&store, "admin", 1, Scope::Admin, None);
    add_with(&store, "reader", 2, Scope::Read, None);
    // Expired before the time of the request.
    add_with(&store, "expired", 3, Scope::Admin, Some(origin().at.0));
    let careful = |name: &str| store.revoke_api_key(name, true, &origin()).unwrap();
    assert_eq!(careful("admin"), Err(KeyNotRevoked::LastAdmin));
    assert_eq!(careful("expired"), Ok(()));
    assert_eq!(careful("reader"), Ok(()));
    add_with(&store, "other", 4, Scope::Admin, None);
    assert_eq!(careful("admin"), Ok(()));
    assert_eq!(careful("other"), Err(KeyNotRevoked::LastAdmin));
    // An enabled user with the scope is enough.
    let user = |name: &str, number, scope, disabled_at| {
        let user = User {
            id: Uuid::from_u128(number),
            name: name.to_owned(),
            scope,
            created_at: Timestamp(1),
            disabled_at,
            password_changed_at: Timestamp(1),
            last_sign_in_at: None,
        };
        let password = UserPasswordHash::from_text("a hash".to_owned());
        let added = store.add_user(&user, &password, &origin()).unwrap();
        assert_eq!(added, Ok(()));
    };
    user("reader", 101, Scope::Read, None);
    user("disabled", 102, Scope::Admin, Some(Timestamp(2)));
    assert_eq!(careful("other"), Err(KeyNotRevoked::LastAdmin));
    user("root", 103, Scope::Admin, None);
    assert_eq!(careful("other"), Ok(()));
    add_with(&store, "last", 5, Scope::Admin, None);
    assert_eq!(store.remove_user("root", true, &origin()).unwrap(), Ok(()));
    assert_eq!(careful("last"), Err(KeyNotRevoked::LastAdmin));
    assert_eq!(revoke(&store, "last"), Ok(()));
}

fn of_the_last_admin_key_and_user_at_the_same_time_one_stays<A: Adapter>() {
    let database = A::new();
    let (one, other) = (database.open(), database.open());
    for round in 0..5 {
        let user = User {
            id: Uuid::from_u128(u128::from(100 + round)),
            name: "anna".to_owned(),
            scope: Scope::Admin,
            created_at: Timestamp(1),
            disabled_at: None,
            password_changed_at: Timestamp(1),
            last_sign_in_at: None,
        };
        let password = UserPasswordHash::from_text("a hash".to_owned());
        let added = one.add_user(&user, &password, &origin()).unwrap();
        assert_eq!(added, Ok(()));
        add_with(&one, "a", 30 + round, Scope::Admin, None);
        let (key, user) = std::thread::scope(|scope| {
            let key = scope.spawn(|| one.revoke_api_key("a", true, &origin()).unwrap().is_ok());
            let user = scope.spawn(|| other.remove_user("anna", true, &origin()).unwrap().is_ok());
            (key.join().unwrap(), user.join().unwrap())
        });
        assert_ne!(key, user, "one of the two is removed");
        match key {
            true => assert_eq!(one.remove_user("anna", false, &origin()).unwrap(), Ok(())),
            false => assert_eq!(revoke(&one, "a"), Ok(())),
        }
    }
}

fn of_two_admin_keys_revoked_at_the_same_time_one_stays<A: Adapter>() {
    let database = A::new();
    let (one, other) = (database.open(), database.open());
    for round in 0..5 {
        add_with(&one, "a", 10 + round, Scope::Admin, None);
        add_with(&one, "b", 20 + round, Scope::Admin, None);
        let results = std::thread::scope(|scope| {
            let first = scope.spawn(|| one.revoke_api_key("a", true, &origin()).unwrap());
            let second = scope.spawn(|| other.revoke_api_key("b", true, &origin()).unwrap());
            [first.join().unwrap(), second.join().unwrap()]
        });
        assert_eq!(
            results.iter().filter(|done| done.is_ok()).count(),
            1,
            "{results:?}"
        );
        let left = one.api_keys().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(revoke(&one, &left[0].0.name), Ok(()));
    }
}

fn a_repeated_addition_adds_no_second_key<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let request = ChangeRequest {
        idempotency: Some(Idempotency {
            key: "k".to_owned(),
            digest: [1; 32],
        }),
        ..ChangeRequest::of(origin())
    };
    let (first, secret) = key("a", 1);
    let (second, other) = key("a", 2);
    let add = |key, secret: &ApiSecret| store.add_api_key(key, &secret.hash(), &request).unwrap();
    assert_eq!(add(&first, &secret), Once::Done(first.clone()));
    // A repeat has another secret; the first one stays valid.
    assert_eq!(add(&second, &other), Once::Repeated(first.clone()));
    assert!(store.api_keys().unwrap() == [(first, secret.hash())]);
    let kept = database.query("SELECT result AS value FROM idempotency_keys");
    assert!(!kept[0].contains(secret.expose()));
}
