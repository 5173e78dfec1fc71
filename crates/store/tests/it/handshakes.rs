//! The port `Handshakes`: refused handshakes, counted by identity and reason, and bounded.

use crate::common::{Adapter, gateway, on_every_adapter, origin, put_profile};
use central::Timestamp;
use central::memory::MemoryDirectory;
use central::model::{
    ChargerProfile, EventId, EventType, REFUSED_EVENTS_MS, REFUSED_EVENTS_PER_CALL_MAX,
    REFUSED_HANDSHAKES_MAX, REFUSED_KEPT_MS, REFUSED_PER_ADDRESS_MAX, RefusedHandshake,
    RefusedHandshakeView,
};
use central::ports::{ChargerAdmin, EventFilter, EventLog, EventsFound, Handshakes, Sequenced};
use central::query::{AuditFilter, HandshakeFilter, PageRequest, QueryStore};

on_every_adapter!(
    refusals_of_one_identity_and_reason_are_one_row,
    a_flood_pushes_out_neither_other_addresses_nor_a_charger_that_tries_again,
    the_list_has_pages_and_can_be_filtered,
    a_row_is_dismissed_and_comes_back_with_the_next_refusal,
    a_change_of_a_chargers_settings_deletes_its_rows,
    a_refusal_that_was_judged_before_a_change_of_the_settings_is_no_row,
    a_row_ends_30_days_after_its_latest_refusal,
    a_new_row_has_an_event_and_a_flood_has_few,
    the_store_in_memory_gives_the_same_rows,
);

pub(crate) fn refused(identity: &str, address: &str, at: i64) -> RefusedHandshake {
    RefusedHandshake {
        charger_id: (!identity.is_empty()).then(|| identity.to_owned()),
        reason: "unknown charger".to_owned(),
        status: 404,
        cure: "Add it.".to_owned(),
        address: address.to_owned(),
        path: Some(format!("/ocpp/{identity}")),
        offered: Some("ocpp1.6".to_owned()),
        gateway: gateway(1),
        judged_by: None,
        first_at: Timestamp(at),
        last_at: Timestamp(at),
        count: 1,
    }
}

fn all(store: &impl Handshakes) -> Vec<RefusedHandshakeView> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { after, limit: 400 };
        let page = store.refused(&HandshakeFilter::default(), &page).unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// For the test of the rights that a running Wattpost needs.
pub(crate) fn uses_every_call(store: &impl Handshakes) {
    store.add_refused(&[refused("X", "a", 1)]).unwrap();
    let no = all(store)[0].no;
    assert!(store.dismiss_refused(no, &origin()).unwrap());
}

fn refusals_of_one_identity_and_reason_are_one_row<A: Adapter>() {
    let database = A::new();
    let (store, other) = (database.open(), database.open());
    store
        .add_refused(&[refused("CP-1", "192.0.2.1", 5)])
        .unwrap();
    let wrong_password = RefusedHandshake {
        reason: "wrong password".to_owned(),
        status: 401,
        ..refused("CP-1", "192.0.2.1", 6)
    };
    let mut again = refused("cp-1", "192.0.2.9", 9);
    again.count = 3;
    other.add_refused(&[wrong_password, again]).unwrap();
    store
        .add_refused(&[refused("", "192.0.2.1", 1), refused("", "192.0.2.2", 2)])
        .unwrap();
    let rows = all(&store);
    assert_eq!(rows.len(), 4);
    let first = rows.iter().find(|row| row.count == 4).unwrap();
    assert_eq!(
        (first.first_at, first.last_at),
        (Timestamp(5), Timestamp(9))
    );
    assert_eq!(first.charger_id.as_deref(), Some("cp-1"));
    assert_eq!((first.address.as_str(), first.status), ("192.0.2.9", 404));
    assert_eq!(first.gateway_id, gateway(1));
}

/// The refused handshakes in the log of events, as identities.
fn announced(store: &impl EventLog) -> Vec<Option<String>> {
    let now = Timestamp(1_800_000_000_000);
    while let Sequenced::Done { has_more: true, .. } = store.sequence_events(now).unwrap() {}
    let filter = EventFilter {
        types: vec![EventType::ChargerRefused],
        charger: None,
    };
    let EventsFound::Page(page) = store.events_after(EventId::START, &filter, 500).unwrap() else {
        panic!("the log begins at its start");
    };
    let events = page.events.into_iter();
    events.map(|event| event.charger_id).collect()
}

fn a_new_row_has_an_event_and_a_flood_has_few<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut first = refused("CP-1", "192.0.2.1", 5);
    first.count = 3;
    store
        .add_refused(&[first, refused("", "192.0.2.1", 6)])
        .unwrap();
    store
        .add_refused(&[refused("CP-1", "192.0.2.1", 7)])
        .unwrap();
    assert_eq!(announced(&store), [Some("CP-1".to_owned()), None]);

    // One address: few in a call, few in an hour, and again after it.
    let flood = |first: usize, at: i64| -> Vec<RefusedHandshake> {
        let row = |number| refused(&format!("X-{number}"), "198.51.100.1", at);
        (first..first + 16).map(row).collect()
    };
    for call in 0..5 {
        store.add_refused(&flood(call * 16, 1_000)).unwrap();
        assert_eq!(announced(&store).len() - 2, REFUSED_EVENTS_PER_CALL_MAX);
    }
    let later = 1_000 + REFUSED_EVENTS_MS;
    store.add_refused(&flood(100, later)).unwrap();
    assert_eq!(announced(&store).len() - 2, 2 * REFUSED_EVENTS_PER_CALL_MAX);
}

fn a_flood_pushes_out_neither_other_addresses_nor_a_charger_that_tries_again<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut retrying = refused("CP-1", "203.0.113.1", 0);
    retrying.count = 2;
    store
        .add_refused(&[retrying, refused("CP-2", "203.0.113.2", 0)])
        .unwrap();
    for batch in 0..2 {
        let flood: Vec<_> = (0..60)
            .map(|number| refused(&format!("X-{batch}-{number}"), "198.51.100.1", 10 + number))
            .collect();
        store.add_refused(&flood).unwrap();
    }
    let rows = all(&store);
    assert_eq!(rows.len(), 2 + REFUSED_PER_ADDRESS_MAX);
    assert!(
        rows.iter()
            .any(|row| row.charger_id.as_deref() == Some("CP-2"))
    );
    // From many addresses: the total is bounded, and what was refused again stays.
    for batch in 0..5 {
        let flood: Vec<_> = (0..256)
            .map(|number| {
                let address = format!("10.0.{batch}.{number}");
                refused(&format!("Y-{batch}-{number}"), &address, 1_000 + batch)
            })
            .collect();
        store.add_refused(&flood).unwrap();
    }
    let rows = all(&store);
    assert_eq!(rows.len(), REFUSED_HANDSHAKES_MAX);
    assert!(
        rows.iter()
            .any(|row| row.charger_id.as_deref() == Some("CP-1"))
    );
}

fn the_list_has_pages_and_can_be_filtered<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for number in 0..5 {
        let row = refused(&format!("CP-{number}"), "192.0.2.1", number);
        store.add_refused(&[row]).unwrap();
    }
    let page = |after, limit| {
        let page = PageRequest { after, limit };
        store.refused(&HandshakeFilter::default(), &page).unwrap()
    };
    let first = page(None, 3);
    let second = page(first.next.clone(), 3);
    let ids: Vec<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|row| row.charger_id.clone().unwrap())
        .collect();
    assert_eq!(ids, ["CP-4", "CP-3", "CP-2", "CP-1", "CP-0"]);
    assert_eq!(second.next, None);
    let filter = HandshakeFilter {
        charger: Some("cp-3".to_owned()),
    };
    let found = store.refused(&filter, &PageRequest::default()).unwrap();
    assert_eq!(found.items, [first.items[1].clone()]);
}

fn a_row_is_dismissed_and_comes_back_with_the_next_refusal<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store
        .add_refused(&[refused("CP-1", "192.0.2.1", 1)])
        .unwrap();
    let no = all(&store)[0].no;
    assert!(store.dismiss_refused(no, &origin()).unwrap());
    assert!(!store.dismiss_refused(no, &origin()).unwrap());
    assert_eq!(all(&store), []);
    let entries = store.audit(&AuditFilter::default(), &PageRequest::default());
    let entries = entries.unwrap().items;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].action.as_str(), entries[0].subject.as_str()),
        ("handshake.dismissed", "CP-1")
    );
    store
        .add_refused(&[refused("CP-1", "192.0.2.1", 2)])
        .unwrap();
    let rows = all(&store);
    assert_eq!((rows.len(), rows[0].count), (1, 1));
    assert!(rows[0].no > no);
}

fn a_change_of_a_chargers_settings_deletes_its_rows<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let rows = [
        refused("CP-1", "192.0.2.1", 1),
        refused("CP-2", "192.0.2.1", 1),
    ];
    store.add_refused(&rows).unwrap();
    put_profile(&store, &ChargerProfile::new("cp-1"));
    let left = all(&store);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].charger_id.as_deref(), Some("CP-2"));
    assert_eq!(store.charger_profiles().unwrap().len(), 1);
}

/// A gateway learns of a change seconds later, and reports what it has refused until then.
fn a_refusal_that_was_judged_before_a_change_of_the_settings_is_no_row<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    judged_before_and_after(&store);
    assert_eq!(announced(&store).len(), 5, "what is no row has no event");
    judged_before_and_after(&MemoryDirectory::default());
}

fn judged_before_and_after(store: &(impl Handshakes + ChargerAdmin)) {
    let before = put_profile(store, &ChargerProfile::new("CP-0")).version;
    let version = put_profile(store, &ChargerProfile::new("cp-1")).version;
    let judged = |identity: &str, at: i64, judged_by: Option<u64>| RefusedHandshake {
        judged_by,
        ..refused(identity, "192.0.2.1", at)
    };
    let ids = || -> Vec<Option<String>> {
        let rows = all(store).into_iter();
        rows.map(|row| row.charger_id).collect()
    };
    let id = |id: &str| Some(id.to_owned());
    let refusals = [
        judged("CP-1", 1, Some(before)),
        // Nobody has changed its settings since.
        judged("CP-0", 2, Some(before)),
        judged("CP-2", 3, Some(before)),
        judged("", 4, Some(before)),
    ];
    store.add_refused(&refusals).unwrap();
    assert_eq!(ids(), [None, id("CP-2"), id("CP-0")]);
    // What is judged by the settings is a row, and so is what no settings are a reason for.
    let again = [
        judged("CP-1", 5, Some(version)),
        RefusedHandshake {
            reason: "no OCPP version offered".to_owned(),
            ..judged("CP-1", 6, None)
        },
    ];
    store.add_refused(&again).unwrap();
    assert_eq!(ids()[..2], [id("CP-1"), id("CP-1")]);
}

fn a_row_ends_30_days_after_its_latest_refusal<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store
        .add_refused(&[refused("OLD", "192.0.2.1", 0)])
        .unwrap();
    store
        .add_refused(&[refused("NEW", "192.0.2.2", REFUSED_KEPT_MS)])
        .unwrap();
    assert_eq!(all(&store).len(), 2);
    store
        .add_refused(&[refused("NEW", "192.0.2.2", REFUSED_KEPT_MS + 1)])
        .unwrap();
    let rows = all(&store);
    assert_eq!((rows.len(), rows[0].count), (1, 2));
}

fn the_store_in_memory_gives_the_same_rows<A: Adapter>() {
    let database = A::new();
    let (store, memory) = (database.open(), MemoryDirectory::default());
    for round in 0..4 {
        // Each batch refuses some of the earlier identities again.
        let batch: Vec<_> = (0..90)
            .map(|number| {
                let address = format!("10.0.0.{}", number % 3);
                refused(
                    &format!("X-{}", number + 30 * round),
                    &address,
                    100 * round + number,
                )
            })
            .collect();
        store.add_refused(&batch).unwrap();
        memory.add_refused(&batch).unwrap();
    }
    let shown = |rows: Vec<RefusedHandshakeView>| {
        let mut shown: Vec<_> = rows
            .into_iter()
            .map(|row| {
                (
                    row.charger_id,
                    row.address,
                    row.count,
                    row.first_at,
                    row.last_at,
                )
            })
            .collect();
        shown.sort_unstable();
        shown
    };
    let (stored, in_memory) = (shown(all(&store)), shown(all(&memory)));
    assert_eq!(stored.len(), 3 * REFUSED_PER_ADDRESS_MAX);
    assert_eq!(stored, in_memory);
}
