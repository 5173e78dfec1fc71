//! The port `ChargerAdmin`: conditions, idempotency keys and versions of chargers' settings.

use crate::common::{
    Adapter, PostgresDatabase, apply, call, id, on_every_adapter, origin, put_profile,
    remove_profile,
};
use crate::imports;
use central::Timestamp;
use central::charger_import::read;
use central::import::{Format, IMPORT_LINES_MAX, Line, Outcome};
use central::model::{
    Actor, ActorKind, ChargerProfile, ChargerSettings, Origin, Registration, SettingsPatch,
};
use central::ports::{
    ChangeKind, ChangeRequest, ChargerAdmin, ChargerChange, Condition, DirectorySource, Handshakes,
    IDEMPOTENCY_KEPT_MS, Idempotency, NotChanged, Once, Unavailable, UnavailableKind,
};
use central::query::{AuditFilter, ChargerFilter, PageRequest, QueryStore};

on_every_adapter!(
    a_charger_is_created_once_and_changed_only_if_it_exists,
    a_change_is_made_only_to_the_version_that_it_expects,
    no_two_states_of_a_charger_have_one_version,
    a_repeat_with_the_same_idempotency_key_changes_nothing,
    an_idempotency_key_is_that_of_one_request_and_one_requester,
    a_refused_request_does_not_use_up_its_idempotency_key,
    an_idempotency_key_ends_after_72_hours_and_is_deleted,
    requests_with_one_key_at_the_same_time_make_one_change,
    changes_at_the_same_time_do_not_deadlock,
    a_charger_that_was_added_is_listed_before_it_connects,
    chargers_are_selected_by_what_they_reported_and_by_their_admission,
    an_import_is_applied_whole_or_not_at_all,
    an_import_of_the_greatest_size_is_stored,
    an_import_is_applied_once_under_its_idempotency_key,
);

/// For the test of the rights that a running Wattpost needs.
pub(crate) fn uses_every_call(store: &impl ChargerAdmin, profile: &ChargerProfile) {
    let set = change(ChangeKind::Set, &profile.charger_id);
    settings(store.change_charger(&with_key(set, "k", 1)).unwrap());
    assert_eq!(store.charger_profiles().unwrap().len(), 1);
    remove_profile(store, &profile.charger_id).unwrap();
    let text = format!("charger_id,password\n{},$hash\n", profile.charger_id);
    store
        .import_chargers(&lines(&text), false, &origin())
        .unwrap();
    remove_profile(store, &profile.charger_id).unwrap();
}

fn lines(text: &str) -> Vec<Line> {
    read(Format::Csv, text.as_bytes()).unwrap()
}

fn rejected() -> SettingsPatch {
    SettingsPatch {
        registration: Some(Registration::Rejected),
        ..SettingsPatch::default()
    }
}

fn change(kind: ChangeKind, id: &str) -> ChargerChange {
    ChargerChange {
        charger_id: id.to_owned(),
        kind,
        patch: SettingsPatch::default(),
        request: ChangeRequest::of(origin()),
    }
}

fn with_key(mut change: ChargerChange, key: &str, digest: u8) -> ChargerChange {
    change.request.idempotency = Some(Idempotency {
        key: key.to_owned(),
        digest: [digest; 32],
    });
    change
}

fn settings(once: Once<ChargerSettings, NotChanged>) -> ChargerSettings {
    match once {
        Once::Done(settings) => settings,
        other => panic!("not done: {other:?}"),
    }
}

fn a_charger_is_created_once_and_changed_only_if_it_exists<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let update = ChargerChange {
        patch: rejected(),
        ..change(ChangeKind::Update, "cp-1")
    };
    let refused = store.change_charger(&update).unwrap();
    assert_eq!(refused, Once::Refused(NotChanged::Unknown));
    let created = change(ChangeKind::Create, "CP-1");
    let created = settings(store.change_charger(&created).unwrap());
    assert_eq!(created.charger_id, "CP-1");
    let again = store.change_charger(&change(ChangeKind::Create, "cp-1"));
    assert_eq!(again.unwrap(), Once::Refused(NotChanged::Exists));
    let updated = settings(store.change_charger(&update).unwrap());
    // An update keeps the spelling.
    assert_eq!(updated.charger_id, "CP-1");
    assert_eq!(updated.admission, Registration::Rejected);
    let profiles = store.charger_profiles().unwrap();
    let expected = ChargerProfile {
        registration: Registration::Rejected,
        ..ChargerProfile::new("CP-1")
    };
    assert_eq!(profiles, [expected]);
    // What was refused is not in the audit log.
    let entries = store.audit(&AuditFilter::default(), &PageRequest::default());
    assert_eq!(entries.unwrap().items.len(), 2);
}

fn a_change_is_made_only_to_the_version_that_it_expects<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let first = put_profile(&store, &ChargerProfile::new("CP-1")).version;
    let second = put_profile(&store, &ChargerProfile::new("CP-1")).version;
    assert!(second > first);
    let mut update = change(ChangeKind::Update, "CP-1");
    update.request.condition = Condition::Versions(vec![first]);
    let refused = Once::Refused(NotChanged::OtherVersion);
    assert_eq!(store.change_charger(&update).unwrap(), refused);
    let removed = store.remove_charger("CP-1", &update.request).unwrap();
    assert_eq!(removed, Err(NotChanged::OtherVersion));
    update.request.condition = Condition::Versions(vec![first, second]);
    let third = settings(store.change_charger(&update).unwrap()).version;
    assert!(third > second);
    update.request.condition = Condition::Exists;
    settings(store.change_charger(&update).unwrap());
    assert_eq!(
        store.remove_charger("CP-1", &update.request).unwrap(),
        Ok(())
    );
    assert_eq!(
        store.remove_charger("CP-1", &update.request).unwrap(),
        Err(NotChanged::Unknown)
    );
}

fn no_two_states_of_a_charger_have_one_version<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut versions = Vec::new();
    for _ in 0..3 {
        versions.push(put_profile(&store, &ChargerProfile::new("CP-1")).version);
        versions.push(put_profile(&store, &ChargerProfile::new("CP-1")).version);
        remove_profile(&store, "CP-1").unwrap();
    }
    assert!(
        versions.is_sorted_by(|one, next| one < next),
        "{versions:?}"
    );
}

fn a_repeat_with_the_same_idempotency_key_changes_nothing<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let create = with_key(change(ChangeKind::Create, "CP-1"), "k", 1);
    let created = settings(store.change_charger(&create).unwrap());
    put_profile(
        &store,
        &ChargerProfile {
            registration: Registration::Pending,
            ..ChargerProfile::new("CP-1")
        },
    );
    let revision = store.load(None).unwrap().unwrap().revision;
    // Another process has the key too.
    let repeated = database.open().change_charger(&create).unwrap();
    assert_eq!(repeated, Once::Repeated(created));
    assert_eq!(store.load(Some(revision)).unwrap(), None);
}

fn an_idempotency_key_is_that_of_one_request_and_one_requester<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let first = with_key(change(ChangeKind::Set, "CP-1"), "k", 1);
    settings(store.change_charger(&first).unwrap());
    let other = with_key(change(ChangeKind::Set, "CP-2"), "k", 2);
    assert_eq!(store.change_charger(&other).unwrap(), Once::Mismatch);
    let mut of_another = other.clone();
    of_another.request.origin = Origin {
        by: Actor {
            kind: ActorKind::ApiKey,
            name: Some("berta".to_owned()),
        },
        ..origin()
    };
    settings(store.change_charger(&of_another).unwrap());
}

fn a_refused_request_does_not_use_up_its_idempotency_key<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let update = with_key(change(ChangeKind::Update, "CP-1"), "k", 1);
    let refused = store.change_charger(&update).unwrap();
    assert_eq!(refused, Once::Refused(NotChanged::Unknown));
    put_profile(&store, &ChargerProfile::new("CP-1"));
    settings(store.change_charger(&update).unwrap());
}

fn an_idempotency_key_ends_after_72_hours_and_is_deleted<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let at = |key: &str, at: i64| {
        let mut change = with_key(change(ChangeKind::Set, "CP-1"), key, 1);
        change.request.origin.at = Timestamp(at);
        store.change_charger(&change).unwrap()
    };
    settings(at("k", 0));
    assert!(matches!(at("k", IDEMPOTENCY_KEPT_MS), Once::Repeated(_)));
    settings(at("k", IDEMPOTENCY_KEPT_MS + 1));
    for number in 0..20 {
        settings(at(&format!("old-{number}"), 0));
    }
    settings(at("new", 3 * IDEMPOTENCY_KEPT_MS));
    settings(at("newer", 3 * IDEMPOTENCY_KEPT_MS));
    let left = database.query("SELECT key AS value FROM idempotency_keys ORDER BY key");
    assert_eq!(left, ["new", "newer"]);
}

fn requests_with_one_key_at_the_same_time_make_one_change<A: Adapter>() {
    let database = A::new();
    let stores: Vec<_> = (0..4).map(|_| database.open()).collect();
    let create = with_key(change(ChangeKind::Create, "CP-1"), "k", 1);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = stores
            .iter()
            .map(|store| scope.spawn(|| store.change_charger(&create).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let is_done = |result: &&Once<_, _>| matches!(result, Once::Done(_));
    assert_eq!(results.iter().filter(is_done).count(), 1, "{results:?}");
    let harmless =
        |result: &Once<_, _>| matches!(result, Once::Done(_) | Once::Repeated(_) | Once::InUse);
    assert!(results.iter().all(harmless), "{results:?}");
}

/// Creations, changes, removals and refused handshakes: in PostgreSQL each locks several rows.
fn changes_at_the_same_time_do_not_deadlock<A: Adapter>() {
    let database = A::new();
    let stores: Vec<_> = (0..2).map(|_| database.open()).collect();
    std::thread::scope(|scope| {
        for (no, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..6 {
                    // Each process meets the same identities in another order.
                    let id = |i: usize| format!("CP-{}", if no % 2 == 0 { i } else { 3 - i });
                    let refused: Vec<_> = (0..4)
                        .map(|i| crate::handshakes::refused(&id(i), "192.0.2.1", round))
                        .collect();
                    written(|| store.add_refused(&refused));
                    for i in 0..4 {
                        let set = change(ChangeKind::Set, &id(i));
                        settings(written(|| store.change_charger(&set)));
                        let create = change(ChangeKind::Create, &id(3 - i));
                        written(|| store.change_charger(&create));
                    }
                    let origin = ChangeRequest::of(origin());
                    let _ = written(|| store.remove_charger(&id(0), &origin));
                }
            });
        }
    });
}

/// The order in which the locks are taken: with the opposite order in one of the changes, two changes could wait for each
/// other, which a test that lets them meet shows only by chance.
#[test]
fn every_change_locks_the_directory_before_the_charger() {
    let database = PostgresDatabase::new();
    let store = database.open();
    settings(
        store
            .change_charger(&change(ChangeKind::Create, "CP-1"))
            .unwrap(),
    );
    let lock_directory = "SELECT FROM settings WHERE name = 'directory_revision' FOR UPDATE NOWAIT";
    let changes: [&(dyn Fn() + Sync); 3] = [
        &|| {
            let _ = store
                .change_charger(&change(ChangeKind::Set, "CP-1"))
                .unwrap();
        },
        &|| {
            let _ = store
                .change_charger(&change(ChangeKind::Create, "CP-1"))
                .unwrap();
        },
        &|| {
            let _ = store
                .remove_charger("CP-1", &ChangeRequest::of(origin()))
                .unwrap();
        },
    ];
    for (no, change) in changes.into_iter().enumerate() {
        std::thread::scope(|scope| {
            database.hold("SELECT FROM charger_profiles FOR UPDATE", || {
                scope.spawn(change);
                // The change waits for the row of the charger.
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(4);
                let can_lock = || crate::common::run(&database.url(), lock_directory).is_ok();
                // On a thread of its own, because this one is in the runtime of the held transaction.
                while scope.spawn(can_lock).join().unwrap() {
                    let in_time = std::time::Instant::now() < deadline;
                    assert!(
                        in_time,
                        "change {no} waits without the lock of the directory"
                    );
                }
            });
        });
    }
}

/// SQLite has one writer at a time, and a waiting one can have to wait for longer than it may. A deadlock is an error.
fn written<T>(write: impl Fn() -> Result<T, Unavailable>) -> T {
    let began = std::time::Instant::now();
    loop {
        match write() {
            Ok(done) => return done,
            Err(error) => {
                let waited_too_long = began.elapsed() > std::time::Duration::from_secs(30);
                let is_busy = error.kind == UnavailableKind::Locked;
                assert!(is_busy && !waited_too_long, "{error:?}");
            }
        }
    }
}

fn a_charger_that_was_added_is_listed_before_it_connects<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for id in ["b", "C", "a"] {
        put_profile(&store, &ChargerProfile::new(id));
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store
            .chargers(&ChargerFilter::default(), &PageRequest { after, limit: 2 })
            .unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let ids: Vec<&str> = found
        .iter()
        .map(|detail| detail.charger.charger_id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b", "C"]);
    let one = store.charger("c").unwrap().unwrap();
    assert_eq!(one, found[2]);
    assert!(!one.charger.online && one.connectors.is_empty());
    assert_eq!(
        one.settings.map(|settings| settings.charger_id).as_deref(),
        Some("C")
    );
    let filter = ChargerFilter {
        search: Some("B".to_owned()),
        ..ChargerFilter::default()
    };
    let page = store.chargers(&filter, &PageRequest::default()).unwrap();
    assert_eq!(page.items.len(), 1);
    remove_profile(&store, "b").unwrap();
    assert_eq!(store.charger("b").unwrap(), None);
}

fn chargers_are_selected_by_what_they_reported_and_by_their_admission<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let boot = |seq, charger: &str, vendor: &str| {
        let payload = format!(
            r#"{{"chargePointVendor": "{vendor}", "chargePointModel": "M", "firmwareVersion": "1.0"}}"#
        );
        call(
            id(0, seq),
            charger,
            seq.cast_signed(),
            "BootNotification",
            &payload,
        )
    };
    let status = r#"{"connectorId": 1, "errorCode": "NoError", "status": "Available"}"#;
    let records = [
        boot(1, "CP-1", "A"),
        boot(2, "CP-2", "B"),
        call(id(0, 3), "CP-1", 3, "StatusNotification", status),
    ];
    apply(&store, &records).unwrap();
    put_profile(
        &store,
        &ChargerProfile {
            registration: Registration::Rejected,
            ..ChargerProfile::new("CP-3")
        },
    );
    let found = |filter: ChargerFilter| {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store
                .chargers(&filter, &PageRequest { after, limit: 1 })
                .unwrap();
            ids.extend(page.items.into_iter().map(|item| item.charger.charger_id));
            after = page.next;
            if after.is_none() {
                return ids;
            }
        }
    };
    let all = ChargerFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let version = |version| ChargerFilter {
        version: Some(version),
        ..all()
    };
    assert_eq!(found(all()), ["CP-1", "CP-2", "CP-3"]);
    assert_eq!(found(version(ocpp::Version::V16)), ["CP-1", "CP-2"]);
    assert_eq!(found(version(ocpp::Version::V21)), [""; 0]);
    assert_eq!(
        found(ChargerFilter {
            vendor: text("B"),
            ..all()
        }),
        ["CP-2"]
    );
    assert_eq!(
        found(ChargerFilter {
            vendor: text(""),
            ..all()
        }),
        ["CP-3"]
    );
    assert_eq!(
        found(ChargerFilter {
            model: text("M"),
            ..all()
        }),
        ["CP-1", "CP-2"]
    );
    assert_eq!(
        found(ChargerFilter {
            firmware: text("2.0"),
            ..all()
        }),
        [""; 0]
    );
    // There is no open connection, so its status is not known.
    assert_eq!(
        found(ChargerFilter {
            status: text("Unknown"),
            ..all()
        }),
        ["CP-1"]
    );
    assert_eq!(
        found(ChargerFilter {
            status: text("Available"),
            ..all()
        }),
        [""; 0]
    );
    let rejected = Some(Some(Registration::Rejected));
    assert_eq!(
        found(ChargerFilter {
            admission: rejected,
            ..all()
        }),
        ["CP-3"]
    );
    assert_eq!(
        found(ChargerFilter {
            admission: Some(None),
            ..all()
        }),
        ["CP-1", "CP-2"]
    );
}

fn an_import_is_applied_whole_or_not_at_all<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let before = ChargerProfile {
        password_hash: Some("$old".to_owned()),
        group: Some("fleet".to_owned()),
        ..ChargerProfile::new("cp-1")
    };
    put_profile(&store, &before);
    let good =
        lines("charger_id,admission,password,label\nCP-1,pending,$new,North gate\nCP-2,,,\n");
    let bad = lines("charger_id,site\nCP-1,\nCP-3,depot-7\n");
    let outcomes = |lines: &[Line], is_dry_run| -> Vec<Outcome> {
        let verdicts = store.import_chargers(lines, is_dry_run, &origin()).unwrap();
        verdicts
            .into_iter()
            .map(|verdict| verdict.outcome)
            .collect()
    };
    assert_eq!(outcomes(&good, true), [Outcome::Updated, Outcome::Created]);
    assert_eq!(outcomes(&bad, false), [Outcome::Updated, Outcome::Refused]);
    assert_eq!(store.charger_profiles().unwrap(), [before]);

    let revision = store.load(None).unwrap().unwrap().revision;
    assert_eq!(outcomes(&good, false), [Outcome::Updated, Outcome::Created]);
    let after = ChargerProfile {
        registration: Registration::Pending,
        password_hash: Some("$new".to_owned()),
        label: Some("North gate".to_owned()),
        group: Some("fleet".to_owned()),
        ..ChargerProfile::new("CP-1")
    };
    let expected = [after, ChargerProfile::new("CP-2")];
    assert_eq!(store.charger_profiles().unwrap(), expected);
    let revision = store.load(Some(revision)).unwrap().unwrap().revision;
    let page = PageRequest::default();
    let entries = store.audit(&AuditFilter::default(), &page).unwrap().items;
    let shown = serde_json::to_string(&entries).unwrap();
    assert_eq!(entries.len(), 3, "{shown}");
    assert!(!shown.contains("$new"), "{shown}");
    assert_eq!(
        outcomes(&good, false),
        [Outcome::Unchanged, Outcome::Unchanged]
    );
    assert_eq!(store.load(Some(revision)).unwrap(), None);
}

fn an_import_of_the_greatest_size_is_stored<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut text = "charger_id,group\n".to_owned();
    for number in 0..IMPORT_LINES_MAX {
        text.push_str(&format!("CP-{number:06},G\n"));
    }
    let verdicts = store
        .import_chargers(&lines(&text), false, &origin())
        .unwrap();
    assert_eq!(verdicts.len(), IMPORT_LINES_MAX);
    assert_eq!(store.charger_profiles().unwrap().len(), IMPORT_LINES_MAX);
}

fn an_import_is_applied_once_under_its_idempotency_key<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    imports::are_applied_once_under_their_key(&store, "charger_id", |file, is_dry_run, request| {
        let done = store.import_chargers_once(&lines(file), is_dry_run, request);
        done.unwrap()
    });
}
