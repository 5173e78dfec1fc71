//! The port `PasswordRotations`: changes of a charger's password at the charger.

use crate::commands::{new, record};
use crate::common::{
    Adapter, apply, at, gateway, heartbeat, on_every_adapter, origin, put_profile, remove_profile,
};
use central::model::{
    ChargerKey, Claim, CommandId, CommandState, Origin, RotationState, RotationView,
};
use central::ports::{
    ChangeRequest, ChargerProfile, CommandQueue, Commands, DirectorySource, Idempotency,
    NewRotation, Once, PasswordRotations, RotationNotBegun, RotationNotCancelled,
};
use central::{Epoch, RecordKind, Seq, Timestamp};
use uuid::Uuid;

on_every_adapter!(
    a_log_in_with_the_new_password_drops_the_old_one,
    an_answer_decides_only_if_it_says_so,
    a_rotation_that_is_not_sent_keeps_the_old_password,
    a_charger_has_one_open_rotation_and_a_repeat_begins_no_other,
    a_direct_change_ends_a_rotation_and_cancels_its_command,
    only_a_rotation_that_was_not_claimed_is_cancelled,
    what_cannot_be_read_of_a_charger_stops_the_rotations_of_no_other,
);

const OLD: &str = "$argon2id$old";
const NEW: &str = "$argon2id$new";

fn key() -> ChargerKey {
    ChargerKey::of("CP-1")
}

fn request(minute: i64) -> ChangeRequest {
    ChangeRequest::of(Origin {
        at: at(minute),
        ..origin()
    })
}

fn put(store: &impl central::ports::ChargerAdmin, hash: &str) {
    let profile = ChargerProfile {
        password_hash: Some(hash.to_owned()),
        ..ChargerProfile::new("CP-1")
    };
    put_profile(store, &profile);
}

fn rotation_with(number: u128) -> NewRotation {
    NewRotation {
        charger_id: "cp-1".to_owned(),
        new_hash: NEW.to_owned(),
        command: new(number, "CP-1"),
        request: request(0),
    }
}

fn begin(store: &impl PasswordRotations, number: u128) {
    let begun = store.begin_rotation(&rotation_with(number)).unwrap();
    let Once::Done(rotation) = begun else {
        panic!("{begun:?}");
    };
    assert_eq!(rotation.command, CommandId(Uuid::from_u128(number)));
    assert_eq!(rotation.charger_id, "CP-1");
}

fn shown(store: &impl PasswordRotations, now: Timestamp) -> RotationView {
    store.rotation("CP-1", now).unwrap().unwrap()
}

/// The hash of the profile, and the new one.
fn hashes(store: &impl DirectorySource) -> (Option<String>, Option<String>) {
    let snapshot = store.load(None).unwrap().unwrap();
    let profile = snapshot.chargers.get(&key());
    let old = profile.and_then(|profile| profile.password_hash.clone());
    (old, snapshot.new_passwords.get(&key()).cloned())
}

fn of(old: &str, new: Option<&str>) -> (Option<String>, Option<String>) {
    (Some(old.to_owned()), new.map(str::to_owned))
}

fn claim(store: &impl CommandQueue) {
    let claim = Claim {
        gateway: gateway(1),
        started: Epoch(7),
        next_seq: Seq(1),
        at: at(1),
    };
    assert_eq!(store.claim(claim, &[key()]).unwrap().len(), 1);
}

/// Each call of the port once, for a role that has no more rights than the documented ones.
pub(crate) fn use_rotations(store: &(impl PasswordRotations + central::ports::ChargerAdmin)) {
    put(store, OLD);
    begin(store, 0x5017);
    store.cancel_rotation("CP-1", &request(0)).unwrap().unwrap();
    begin(store, 0x5018);
    store.settle_rotations(at(1), 9).unwrap();
    store.logged_in(&key(), NEW, at(1)).unwrap();
    assert_eq!(shown(store, at(1)).state, RotationState::Done);
    assert_eq!(remove_profile(store, "CP-1"), Ok(()));
}

fn a_log_in_with_the_new_password_drops_the_old_one<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(store.rotation("CP-1", at(0)).unwrap(), None);
    put(&store, OLD);
    assert_eq!(shown(&store, at(0)).state, RotationState::None);
    let before = store.load(None).unwrap().unwrap().revision;
    begin(&store, 1);
    let revision = store.load(None).unwrap().unwrap().revision;
    assert!(revision > before);
    assert_eq!(hashes(&store), of(OLD, Some(NEW)));
    assert_eq!(shown(&store, at(0)).state, RotationState::Waiting);
    // Another password than the new one decides nothing.
    store.logged_in(&key(), OLD, at(1)).unwrap();
    assert_eq!(hashes(&store), of(OLD, Some(NEW)));
    for minute in 2..4 {
        store.logged_in(&key(), NEW, at(minute)).unwrap();
        assert_eq!(hashes(&store), of(NEW, None));
        let view = shown(&store, at(5));
        assert_eq!(
            (view.state, view.ended_at),
            (RotationState::Done, Some(at(2)))
        );
    }
    assert!(store.load(None).unwrap().unwrap().revision > revision);
    // The next one can begin.
    begin(&store, 2);
    assert_eq!(hashes(&store), of(NEW, Some(NEW)));
}

fn an_answer_decides_only_if_it_says_so<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let cases = [
        (
            r#"{"status":"Accepted"}"#,
            false,
            RotationState::Accepted,
            true,
        ),
        (
            r#"{"status":"RebootRequired"}"#,
            false,
            RotationState::Accepted,
            true,
        ),
        (
            r#"{"status":"Rejected"}"#,
            false,
            RotationState::Refused,
            false,
        ),
        (
            r#"{"status":"NotSupported"}"#,
            false,
            RotationState::Refused,
            false,
        ),
        (
            r#"{"setVariableResult":[{"attributeStatus":"Accepted"}]}"#,
            false,
            RotationState::Accepted,
            true,
        ),
        (
            r#"{"setVariableResult":[{"attributeStatus":"UnknownVariable"}]}"#,
            false,
            RotationState::Refused,
            false,
        ),
        (
            r#"["NotImplemented","",{}]"#,
            true,
            RotationState::Refused,
            false,
        ),
        (
            r#"["InternalError","",{}]"#,
            true,
            RotationState::Uncertain,
            true,
        ),
        (r#"{}"#, false, RotationState::Uncertain, true),
    ];
    for (number, (answer, is_error, state, is_new_kept)) in (1..).zip(cases) {
        put(&store, OLD);
        begin(&store, number);
        claim(&store);
        let kind = match is_error {
            true => RecordKind::CallError,
            false => RecordKind::CallResult,
        };
        let seq = 2 * u64::try_from(number).unwrap();
        let call = record(seq, number, RecordKind::CallToCharger, "{}");
        let answered = record(seq + 1, number, kind, answer);
        apply(&store, &[call, answered]).unwrap();
        let ended = store.settle_rotations(at(2), 100).unwrap();
        assert_eq!(ended, u64::from(!is_new_kept), "{answer}");
        assert_eq!(shown(&store, at(3)).state, state, "{answer}");
        assert_eq!(
            hashes(&store),
            of(OLD, is_new_kept.then_some(NEW)),
            "{answer}"
        );
        assert_eq!(store.settle_rotations(at(9), 100).unwrap(), 0);
    }
}

fn a_rotation_that_is_not_sent_keeps_the_old_password<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    put(&store, OLD);
    begin(&store, 1);
    assert_eq!(store.settle_rotations(at(1), 100).unwrap(), 0);
    assert_eq!(store.expire(at(10), 10).unwrap(), 1);
    assert_eq!(store.settle_rotations(at(11), 100).unwrap(), 1);
    assert_eq!(shown(&store, at(12)).state, RotationState::NotSent);
    assert_eq!(hashes(&store), of(OLD, None));
    // Too late: the password is not accepted any more.
    store.logged_in(&key(), NEW, at(13)).unwrap();
    assert_eq!(hashes(&store), of(OLD, None));
}

fn a_charger_has_one_open_rotation_and_a_repeat_begins_no_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut first = rotation_with(1);
    first.request.idempotency = Some(Idempotency {
        key: "k".to_owned(),
        digest: [1; 32],
    });
    let unknown = store.begin_rotation(&first).unwrap();
    assert_eq!(unknown, Once::Refused(RotationNotBegun::Unknown));
    put(&store, OLD);
    let Once::Done(rotation) = store.begin_rotation(&first).unwrap() else {
        panic!("not begun");
    };
    assert_eq!(
        store.begin_rotation(&first).unwrap(),
        Once::Repeated(rotation.clone())
    );
    let open = RotationNotBegun::Open(rotation);
    let second = store.begin_rotation(&rotation_with(2)).unwrap();
    assert_eq!(second, Once::Refused(open));
    assert_eq!(
        store.command(CommandId(Uuid::from_u128(2)), at(0)).unwrap(),
        None
    );
}

fn a_direct_change_ends_a_rotation_and_cancels_its_command<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    put(&store, OLD);
    begin(&store, 1);
    put(&store, "$argon2id$direct");
    assert_eq!(hashes(&store), of("$argon2id$direct", None));
    assert_eq!(shown(&store, at(1)).state, RotationState::Replaced);
    let command = store.command(CommandId(Uuid::from_u128(1)), at(1)).unwrap();
    assert_eq!(command.unwrap().state, CommandState::Done);
    begin(&store, 2);
    assert_eq!(remove_profile(&store, "cp-1"), Ok(()));
    assert_eq!(hashes(&store), (None, None));
    let command = store.command(CommandId(Uuid::from_u128(2)), at(1)).unwrap();
    assert_eq!(command.unwrap().state, CommandState::Done);
}

fn only_a_rotation_that_was_not_claimed_is_cancelled<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let cancel = |minute| store.cancel_rotation("CP-1", &request(minute)).unwrap();
    assert_eq!(cancel(0), Err(RotationNotCancelled::Unknown));
    put(&store, OLD);
    assert_eq!(cancel(0), Err(RotationNotCancelled::NotOpen));
    begin(&store, 1);
    assert_eq!(cancel(1), Ok(()));
    assert_eq!(shown(&store, at(1)).state, RotationState::Cancelled);
    assert_eq!(hashes(&store), of(OLD, None));
    begin(&store, 2);
    claim(&store);
    assert_eq!(cancel(1), Err(RotationNotCancelled::TooLate));
    assert_eq!(hashes(&store), of(OLD, Some(NEW)));
}

fn what_cannot_be_read_of_a_charger_stops_the_rotations_of_no_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    put(&store, OLD);
    begin(&store, 1);
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    database.set_state("chargers", "{\"charger_id\": 7}", "key = 'cp-1'");
    assert_eq!(store.settle_rotations(at(1), 9), Ok(0));
    assert_eq!(shown(&store, at(1)).state, RotationState::Waiting);
    // Nor does it stop them who has begun the rotation.
    store.cancel(CommandId(Uuid::from_u128(1)), at(2)).unwrap();
    database.execute("UPDATE password_rotations SET actor = '7'");
    assert_eq!(store.settle_rotations(at(2), 9), Ok(1));
    assert_eq!(hashes(&store), of(OLD, None));
}
