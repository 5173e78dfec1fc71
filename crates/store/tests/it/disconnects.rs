//! The port `Disconnects`: requests of operators to close connections.

use crate::common::{Adapter, at, gateway, on_every_adapter, origin};
use central::model::Origin;
use central::ports::{
    ChangeRequest, DISCONNECT_VALID_MS, DatabaseClock, Disconnect, DisconnectRequest, Disconnects,
    Heard, Idempotency, NotConnected, Once,
};
use central::query::{AuditFilter, PageRequest, QueryStore};
use central::{Epoch, Timestamp};
use uuid::Uuid;

on_every_adapter!(
    a_request_is_given_to_its_gateway_until_it_has_heard_of_it,
    a_repeat_asks_for_no_other_connection,
    a_request_of_days_ago_is_deleted,
    the_time_is_that_of_the_database_whatever_the_requester_s_clock_shows,
);

fn wanted(number: u128, minute: i64) -> DisconnectRequest {
    DisconnectRequest {
        id: Uuid::from_u128(number),
        charger_id: "CP-1".to_owned(),
        connection: Some((gateway(1), Epoch(77))),
        code: 4999,
        reason: "test".to_owned(),
        at: at(minute),
        request: ChangeRequest::of(Origin {
            at: at(minute),
            ..origin()
        }),
    }
}

fn done(store: &impl Disconnects, wanted: &DisconnectRequest) -> Disconnect {
    match store.request_disconnect(wanted).unwrap() {
        Once::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

const fn heard(at: Timestamp, was_held: bool) -> Heard {
    Heard { at, was_held }
}

/// Each call of the port once, for a role that has no more rights than the documented ones.
pub(crate) fn uses_every_call(store: &impl Disconnects) {
    let old = done(store, &wanted(0xd0, 0));
    // Deletes the one before.
    let new = done(store, &wanted(0xd1, 5 * 24 * 60));
    assert_eq!(store.disconnect_heard(old.id).unwrap(), None);
    let waiting = store.disconnects_of(gateway(1), new.requested_at, 9);
    assert_eq!(waiting.unwrap(), std::slice::from_ref(&new));
    let heard = heard(new.requested_at, true);
    store.heard_disconnects(&[(new.id, heard)]).unwrap();
    assert_eq!(store.disconnect_heard(new.id).unwrap(), Some(heard));
}

fn a_request_is_given_to_its_gateway_until_it_has_heard_of_it<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let nobody = DisconnectRequest {
        connection: None,
        ..wanted(9, 0)
    };
    let refused = store.request_disconnect(&nobody).unwrap();
    assert_eq!(refused, Once::Refused(NotConnected));
    let first = done(&store, &wanted(1, 0));
    let second = done(&store, &wanted(2, 0));
    let of = |number, now, max| store.disconnects_of(gateway(number), now, max).unwrap();
    assert_eq!(of(1, at(0), 9), [first.clone(), second.clone()]);
    assert_eq!(of(1, at(0), 1).len(), 1);
    assert_eq!(of(2, at(0), 9), []);
    let end = at(0).plus_millis(DISCONNECT_VALID_MS);
    assert_eq!(of(1, end.plus_millis(-1), 9).len(), 2);
    assert_eq!(of(1, end, 9), []);
    assert_eq!(store.disconnect_heard(first.id).unwrap(), None);
    store
        .heard_disconnects(&[(first.id, heard(at(1), true))])
        .unwrap();
    // What was said first stays.
    let again = [
        (first.id, heard(at(2), false)),
        (second.id, heard(at(2), false)),
    ];
    store.heard_disconnects(&again).unwrap();
    let said = |id| store.disconnect_heard(id).unwrap();
    assert_eq!(said(first.id), Some(heard(at(1), true)));
    assert_eq!(said(second.id), Some(heard(at(2), false)));
    assert_eq!(of(1, at(0), 9), []);
    let entries = store.audit(&AuditFilter::default(), &PageRequest::default());
    let entries = entries.unwrap().items;
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert_eq!(entries[0].action, "charger.disconnect_requested");
    assert_eq!(entries[0].subject, "CP-1");
    let after = entries[0].after.as_ref().unwrap();
    assert_eq!(
        (&after["code"], &after["epoch"], &after["reason"]),
        (&4999.into(), &77.into(), &"test".into())
    );
}

fn a_repeat_asks_for_no_other_connection<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let keyed = |number, connection, digest| {
        let mut wanted = wanted(number, 0);
        wanted.connection = connection;
        wanted.request.idempotency = Some(Idempotency {
            key: "k".to_owned(),
            digest: [digest; 32],
        });
        wanted
    };
    let first = done(&store, &keyed(1, Some((gateway(1), Epoch(77))), 1));
    // The charger has connected again, or is away.
    for connection in [Some((gateway(2), Epoch(99))), None] {
        let repeat = store.request_disconnect(&keyed(2, connection, 1)).unwrap();
        assert_eq!(repeat, Once::Repeated(first.clone()));
    }
    let other = keyed(3, Some((gateway(1), Epoch(77))), 2);
    assert_eq!(store.request_disconnect(&other).unwrap(), Once::Mismatch);
    assert_eq!(store.disconnects_of(gateway(2), at(0), 9).unwrap(), []);
    assert_eq!(store.disconnects_of(gateway(1), at(0), 9).unwrap(), [first]);
}

fn the_time_is_that_of_the_database_whatever_the_requester_s_clock_shows<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    // The databases of the tests are on this machine.
    let time = store.time().unwrap();
    assert!((time.0 - ::common::clock::now_ms()).abs() < 10_000);
    for minutes in [-10, 10] {
        let mut wanted = wanted(1, 0);
        wanted.id = common::id::new_v7();
        wanted.at = store.time().unwrap();
        wanted.request.origin.at = wanted.at.plus_millis(minutes * 60_000);
        let request = done(&store, &wanted);
        assert_eq!(request.requested_at, wanted.at);
        let waiting = store
            .disconnects_of(gateway(1), store.time().unwrap(), 9)
            .unwrap();
        assert!(waiting.contains(&request), "{minutes}");
    }
}

fn a_request_of_days_ago_is_deleted<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let old = done(&store, &wanted(1, 0));
    store
        .heard_disconnects(&[(old.id, heard(at(0), true))])
        .unwrap();
    done(&store, &wanted(2, 3 * 24 * 60));
    assert!(store.disconnect_heard(old.id).unwrap().is_some());
    done(&store, &wanted(3, 3 * 24 * 60 + 1));
    assert_eq!(store.disconnect_heard(old.id).unwrap(), None);
}
