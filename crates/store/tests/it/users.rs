//! The port `Users`: local users, and the audit log of their changes.

use crate::common::{Adapter, on_every_adapter, origin};
use central::Timestamp;
use central::model::{ApiKey, ApiSecret, Scope, User, UserPasswordHash};
use central::ports::{
    ApiKeys, ChangeRequest, Once, USERS_MAX, UserChange, UserNotAdded, UserNotChanged, Users,
};
use std::thread;
use uuid::Uuid;

on_every_adapter!(
    a_user_is_stored_with_the_hash_of_the_password_and_listed_by_name,
    a_name_is_used_once_and_the_number_of_users_is_bounded,
    a_change_changes_what_it_names,
    the_latest_sign_in_only_grows,
    nobody_is_left_without_an_admin_unless_it_is_forced,
    of_two_admins_removed_at_the_same_time_one_stays,
    each_change_of_a_user_is_in_the_audit_log_without_the_hash,
);

pub(crate) fn user(name: &str, number: u128, scope: Scope) -> User {
    User {
        id: Uuid::from_u128(number),
        name: name.to_owned(),
        scope,
        created_at: Timestamp(1),
        disabled_at: None,
        password_changed_at: Timestamp(1),
        last_sign_in_at: None,
    }
}

fn hash(text: &str) -> UserPasswordHash {
    UserPasswordHash::from_text(format!("$argon2id${text}"))
}

fn add(store: &impl Users, name: &str, number: u128, scope: Scope) -> Result<(), UserNotAdded> {
    let user = user(name, number, scope);
    store.add_user(&user, &hash(name), &origin()).unwrap()
}

fn change(store: &impl Users, name: &str, change: &UserChange) -> Result<User, UserNotChanged> {
    let changed = store.change_user(name, change, &origin()).unwrap();
    changed.map(|(user, _)| user)
}

fn a_user_is_stored_with_the_hash_of_the_password_and_listed_by_name<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "berta", 2, Scope::Operate), Ok(()));
    assert_eq!(add(&store, "anna", 1, Scope::Read), Ok(()));
    let expected = [
        (user("anna", 1, Scope::Read), hash("anna")),
        (user("berta", 2, Scope::Operate), hash("berta")),
    ];
    // Another process sees the same.
    assert_eq!(database.open().users().unwrap(), expected);
}

fn a_name_is_used_once_and_the_number_of_users_is_bounded<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "anna", 1, Scope::Read), Ok(()));
    let again = add(&store, "anna", 2, Scope::Admin);
    assert_eq!(again, Err(UserNotAdded::NameTaken));
    let known = store.users().unwrap();
    assert_eq!(known, [(user("anna", 1, Scope::Read), hash("anna"))]);
    assert_eq!(store.remove_user("anna", false, &origin()).unwrap(), Ok(()));
    let gone = store.remove_user("anna", false, &origin()).unwrap();
    assert_eq!(gone, Err(UserNotChanged::Unknown));
    for number in 0..USERS_MAX {
        let added = add(&store, &format!("u{number}"), number as u128, Scope::Read);
        assert_eq!(added, Ok(()));
    }
    let more = add(&store, "anna", 5_000, Scope::Read);
    assert_eq!(more, Err(UserNotAdded::TooMany));
}

fn a_change_changes_what_it_names<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "anna", 1, Scope::Read), Ok(()));
    let unknown = change(&store, "berta", &UserChange::default());
    assert_eq!(unknown, Err(UserNotChanged::Unknown));
    let mut expected = user("anna", 1, Scope::Read);
    let at = origin().at;

    let wanted = UserChange {
        scope: Some(Scope::Operate),
        ..UserChange::default()
    };
    expected.scope = Scope::Operate;
    assert_eq!(change(&store, "anna", &wanted), Ok(expected.clone()));
    assert_eq!(store.users().unwrap(), [(expected.clone(), hash("anna"))]);

    let wanted = UserChange {
        is_disabled: Some(true),
        password: Some(hash("new")),
        ..UserChange::default()
    };
    (expected.disabled_at, expected.password_changed_at) = (Some(at), at);
    assert_eq!(change(&store, "anna", &wanted), Ok(expected.clone()));
    assert_eq!(store.users().unwrap(), [(expected.clone(), hash("new"))]);

    let wanted = UserChange {
        is_disabled: Some(false),
        ..UserChange::default()
    };
    expected.disabled_at = None;
    assert_eq!(change(&store, "anna", &wanted), Ok(expected.clone()));
    assert_eq!(store.users().unwrap(), [(expected, hash("new"))]);
}

fn the_latest_sign_in_only_grows<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "anna", 1, Scope::Read), Ok(()));
    for (at, expected) in [(20, 20), (10, 20), (30, 30)] {
        let id = Uuid::from_u128(1);
        store.set_user_signed_in(id, Timestamp(at)).unwrap();
        let unknown = Uuid::from_u128(9);
        store.set_user_signed_in(unknown, Timestamp(at)).unwrap();
        let found = store.users().unwrap()[0].0.last_sign_in_at;
        assert_eq!(found, Some(Timestamp(expected)));
    }
}

fn nobody_is_left_without_an_admin_unless_it_is_forced<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "anna", 1, Scope::Admin), Ok(()));
    assert_eq!(add(&store, "berta", 2, Scope::Read), Ok(()));
    let careful = |scope: Option<Scope>, is_disabled: Option<bool>| UserChange {
        scope,
        is_disabled,
        keeps_admin: true,
        ..UserChange::default()
    };
    for wanted in [careful(Some(Scope::Read), None), careful(None, Some(true))] {
        let refused = change(&store, "anna", &wanted);
        assert_eq!(refused, Err(UserNotChanged::LastAdmin));
        assert!(change(&store, "berta", &wanted).is_ok());
    }
    let remove = |name: &str, keeps_admin: bool| {
        let removed = store.remove_user(name, keeps_admin, &origin());
        removed.unwrap()
    };
    assert_eq!(remove("anna", true), Err(UserNotChanged::LastAdmin));
    assert_eq!(remove("berta", true), Ok(()));
    // A valid key with the scope is enough.
    let key = ApiKey {
        id: Uuid::from_u128(7),
        name: "root".to_owned(),
        scope: Scope::Admin,
        created_at: Timestamp(1),
        expires_at: None,
        last_used_at: None,
    };
    let secret = ApiSecret::from_random([7; 32]);
    let request = ChangeRequest::of(origin());
    let added = store.add_api_key(&key, &secret.hash(), &request).unwrap();
    assert!(matches!(added, Once::Done(_)));
    assert_eq!(remove("anna", true), Ok(()));
    assert_eq!(add(&store, "anna", 1, Scope::Admin), Ok(()));
    assert_eq!(remove("anna", false), Ok(()));
}

fn of_two_admins_removed_at_the_same_time_one_stays<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for (name, number) in [("anna", 1), ("berta", 2)] {
        assert_eq!(add(&store, name, number, Scope::Admin), Ok(()));
    }
    let removed = thread::scope(|scope| {
        let tasks = ["anna", "berta"].map(|name| {
            let store = database.open();
            scope.spawn(move || store.remove_user(name, true, &origin()).unwrap())
        });
        tasks.map(|task| task.join().unwrap().is_ok())
    });
    assert_eq!(removed.iter().filter(|removed| **removed).count(), 1);
    assert_eq!(store.users().unwrap().len(), 1);
}

fn each_change_of_a_user_is_in_the_audit_log_without_the_hash<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(add(&store, "anna", 1, Scope::Read), Ok(()));
    let wanted = UserChange {
        password: Some(hash("new")),
        ..UserChange::default()
    };
    assert!(change(&store, "anna", &wanted).is_ok());
    // It changes nothing.
    assert!(change(&store, "anna", &UserChange::default()).is_ok());
    assert_eq!(store.remove_user("anna", false, &origin()).unwrap(), Ok(()));
    let rows = database.query(
        "SELECT action || ' ' || subject || ' ' || coalesce(before, '-') || ' ' || coalesce(after, '-') AS value
         FROM audit_log ORDER BY no",
    );
    let actions: Vec<_> = rows.iter().map(|row| row.split(' ').next()).collect();
    let expected = ["user.added", "user.changed", "user.removed"].map(Some);
    assert_eq!(actions, expected);
    assert!(rows.iter().all(|row| !row.contains("argon2")), "{rows:?}");
}
