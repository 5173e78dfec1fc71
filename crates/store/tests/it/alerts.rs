//! The laws of the port `Alerts`.

use crate::common::{Adapter, SqliteDatabase, at, on_every_adapter, origin};
use central::Timestamp;
use central::alert::Severity;
use central::alert::machine::{Stage, Step};
use central::model::{Alert, AlertState, EventId, SILENCES_MAX, Silence, SilenceMatcher, Told};
use central::ports::{
    AlertFilter, Alerts, ChangeRequest, EventFilter, EventLog, EventsFound, Idempotency,
    NotAcknowledged, Once, SilenceNotAdded,
};
use central::query::{AuditFilter, PageRequest, QueryStore};
use uuid::Uuid;

on_every_adapter!(
    one_process_evaluates_and_another_goes_on_where_it_was,
    what_a_round_has_changed_is_stored_with_its_events,
    alerts_are_listed_by_state_severity_name_charger_and_site,
    an_alert_that_fires_is_acknowledged_once_and_a_later_round_keeps_it,
    silences_are_added_removed_and_bounded,
    alerts_that_ended_and_silences_expire,
    an_alert_that_cannot_be_read_hides_no_other,
);

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

fn alert(number: u128, name: &str, charger: &str, state: AlertState) -> Alert {
    let is_resolved = state == AlertState::Resolved;
    Alert {
        id: Uuid::from_u128(number),
        name: name.to_owned(),
        severity: Severity::Ticket,
        subject: charger.to_owned(),
        charger_id: Some(charger.to_owned()),
        group: "g\u{0}".to_owned(),
        site: None,
        state,
        summary: format!("{charger} \u{0} is offline"),
        active_at: at(number as i64),
        fired_at: Some(at(number as i64)),
        resolved_at: is_resolved.then_some(at(number as i64)),
        clear_since: None,
        hold_ms: 1,
        occurrences: 1,
        acknowledged: None,
        silenced_by: None,
        inhibited_by: None,
        told: Told::default(),
    }
}

fn changed(alerts: Vec<Alert>) -> Step {
    Step {
        changed: alerts,
        ..Step::default()
    }
}

fn request(key: Option<&str>, digest: u8) -> ChangeRequest {
    ChangeRequest {
        idempotency: key.map(|key| Idempotency {
            key: key.to_owned(),
            digest: [digest; 32],
        }),
        ..ChangeRequest::of(origin())
    }
}

/// Takes the lease and stores these alerts.
fn record(store: &impl Alerts, step: &Step) {
    let memory = store.lease_alerts(A, at(0), at(1)).unwrap();
    assert!(memory.is_some());
    assert!(store.record_alerts(A, step, "{}", at(0)).unwrap());
}

fn events(store: &impl EventLog) -> Vec<(String, String, Option<String>)> {
    store.sequence_events(at(0)).unwrap();
    let found = store
        .events_after(EventId::START, &EventFilter::default(), 100)
        .unwrap();
    let EventsFound::Page(page) = found else {
        panic!("the log begins with its first event");
    };
    page.events
        .into_iter()
        .map(|event| {
            let kind = event.kind.as_str().to_owned();
            (kind, event.subject, event.charger_id)
        })
        .collect()
}

fn one_process_evaluates_and_another_goes_on_where_it_was<D: Adapter>() {
    let database = D::new();
    let (store, other) = (database.open(), database.open());
    let lease = |store: &D::Store, holder, minute: i64| {
        store
            .lease_alerts(holder, at(minute), at(minute + 2))
            .unwrap()
    };
    assert_eq!(lease(&store, A, 0), Some(String::new()));
    assert_eq!(lease(&other, B, 1), None);
    assert_eq!(lease(&store, A, 1), Some(String::new()));
    let step = changed(vec![alert(1, "ChargerOffline", "CP-1", AlertState::Firing)]);
    assert!(store.record_alerts(A, &step, "{\"x\":1}", at(1)).unwrap());
    assert!(!other.record_alerts(B, &step, "{}", at(1)).unwrap());
    assert_eq!(lease(&other, B, 3), Some("{\"x\":1}".to_owned()));
    assert_eq!(other.active_alerts(at(0)).unwrap().len(), 1);
    let late = changed(vec![alert(2, "ChargerOffline", "CP-2", AlertState::Firing)]);
    assert!(
        !store.record_alerts(A, &late, "{}", at(3)).unwrap(),
        "who has lost the lease changes nothing"
    );
    assert_eq!(other.alert(Uuid::from_u128(2)).unwrap(), None);
    assert!(!store.extend_alerts(A, at(90)).unwrap());
    assert_eq!(
        store.lease_alerts(A, at(3), at(5)).unwrap(),
        None,
        "B has it"
    );
    assert!(other.extend_alerts(B, at(6)).unwrap());
    assert_eq!(store.lease_alerts(A, at(5), at(7)).unwrap(), None);
    store.release_alerts(A).unwrap();
    assert_eq!(lease(&store, A, 3), None);
    other.release_alerts(B).unwrap();
    assert!(lease(&store, A, 3).is_some());
    // A lease that lies too far ahead was taken before the clock was set back.
    assert!(lease(&other, B, -60).is_some());
}

fn an_alert_that_cannot_be_read_hides_no_other<D: Adapter>() {
    let database = D::new();
    let store = database.open();
    let firing = |number, name| alert(number, name, "CP-1", AlertState::Firing);
    let (damaged, other) = (firing(2, "ConnectorStuck"), firing(1, "ChargerOffline"));
    record(&store, &changed(vec![damaged.clone(), other.clone()]));
    database.execute("UPDATE alerts SET body = '7' WHERE name = 'ConnectorStuck'");
    assert_eq!(store.active_alerts(at(0)).unwrap().len(), 1);
    let mut page = PageRequest {
        limit: 1,
        ..PageRequest::default()
    };
    let mut listed = Vec::new();
    loop {
        let found = store.alerts(&AlertFilter::default(), &page).unwrap();
        listed.extend(found.items.into_iter().map(|alert| alert.id));
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, [other.id]);
    assert!(store.alert(damaged.id).is_err());
    database.execute("UPDATE alerts SET acknowledged = '7'");
    assert_eq!(store.acknowledged_alerts(), Ok(Vec::new()));
}

fn what_a_round_has_changed_is_stored_with_its_events<D: Adapter>() {
    let database = D::new();
    let store = database.open();
    let firing = alert(1, "ChargerOffline", "CP-Ü", AlertState::Firing);
    let pending = alert(2, "ChargerOffline", "CP-2", AlertState::Pending);
    let mut step = changed(vec![firing.clone(), pending.clone()]);
    step.told = vec![(firing.id, Stage::Firing)];
    record(&store, &step);
    assert_eq!(
        store.active_alerts(at(0)).unwrap(),
        database.open().active_alerts(at(0)).unwrap()
    );
    let stored = store.alert(firing.id).unwrap().unwrap();
    assert_eq!(stored.name, "ChargerOffline");
    let mut ended = firing.clone();
    ended.state = AlertState::Resolved;
    ended.resolved_at = Some(at(9));
    let mut step = changed(vec![ended]);
    step.removed = vec![pending.id];
    step.told = vec![(firing.id, Stage::Resolved)];
    record(&store, &step);
    assert_eq!(store.alert(pending.id).unwrap(), None);
    assert_eq!(store.active_alerts(at(10)).unwrap(), []);
    assert_eq!(store.active_alerts(at(9)).unwrap().len(), 1);
    let id = firing.id.to_string();
    let charger = Some("CP-Ü".to_owned());
    assert_eq!(
        events(&store),
        [
            ("alert.firing".to_owned(), id.clone(), charger.clone()),
            ("alert.resolved".to_owned(), id, charger),
        ]
    );
}

fn alerts_are_listed_by_state_severity_name_charger_and_site<D: Adapter>() {
    let database = D::new();
    let store = database.open();
    let mut page_one = alert(4, "ConnectorFaulted", "CP-1", AlertState::Firing);
    page_one.severity = Severity::Page;
    page_one.site = Some("depot".to_owned());
    let mut of_site = alert(2, "ChargerOffline", "CP-2", AlertState::Firing);
    of_site.site = Some("other".to_owned());
    record(&store, &changed(vec![of_site.clone()]));
    // The charger is moved.
    of_site.site = Some("depot".to_owned());
    record(
        &store,
        &changed(vec![
            alert(1, "ChargerOffline", "CP-1", AlertState::Resolved),
            of_site,
            alert(3, "ChargerOffline", "CP-3", AlertState::Pending),
            page_one,
        ]),
    );
    let all = |filter: AlertFilter, limit: usize| -> Vec<u128> {
        let (mut numbers, mut page) = (Vec::new(), PageRequest { after: None, limit });
        loop {
            let found = store.alerts(&filter, &page).unwrap();
            numbers.extend(found.items.iter().map(|one| one.id.as_u128()));
            page.after = found.next;
            if page.after.is_none() {
                return numbers;
            }
        }
    };
    for limit in [1, 2, 100] {
        assert_eq!(all(AlertFilter::default(), limit), [4, 3, 2, 1]);
        let by_state = |state| AlertFilter {
            state: Some(state),
            ..AlertFilter::default()
        };
        assert_eq!(all(by_state(AlertState::Firing), limit), [4, 2]);
        assert_eq!(all(by_state(AlertState::Pending), limit), [3]);
        assert_eq!(all(by_state(AlertState::Resolved), limit), [1]);
        let by_charger = AlertFilter {
            charger: Some("cp-1".to_owned()),
            ..AlertFilter::default()
        };
        assert_eq!(all(by_charger, limit), [4, 1]);
        let by_name = AlertFilter {
            name: Some("ChargerOffline".to_owned()),
            severity: Some(Severity::Ticket),
            ..AlertFilter::default()
        };
        assert_eq!(all(by_name, limit), [3, 2, 1]);
        let by_site = |site: &str| AlertFilter {
            site: Some(site.to_owned()),
            ..AlertFilter::default()
        };
        assert_eq!(all(by_site("depot"), limit), [4, 2]);
        assert_eq!(all(by_site("other"), limit), []);
    }
}

fn an_alert_that_fires_is_acknowledged_once_and_a_later_round_keeps_it<D: Adapter>() {
    let database = D::new();
    let store = database.open();
    let mut firing = alert(1, "ChargerOffline", "CP-1", AlertState::Firing);
    let pending = alert(2, "ChargerOffline", "CP-2", AlertState::Pending);
    record(&store, &changed(vec![firing.clone(), pending.clone()]));
    let acknowledge = |id, note: &str, request: &ChangeRequest| {
        store.acknowledge_alert(id, note, request).unwrap()
    };
    let keyed = request(Some("k"), 1);
    let Once::Done(noted) = acknowledge(firing.id, "on the way", &keyed) else {
        panic!("it is acknowledged");
    };
    assert_eq!(noted.acknowledged.as_ref().unwrap().note, "on the way");
    assert!(matches!(
        acknowledge(firing.id, "on the way", &keyed),
        Once::Repeated(_)
    ));
    assert_eq!(
        acknowledge(firing.id, "other", &request(Some("k"), 2)),
        Once::Mismatch
    );
    for (id, why) in [
        (pending.id, NotAcknowledged::NotFiring(AlertState::Pending)),
        (Uuid::from_u128(9), NotAcknowledged::Unknown),
    ] {
        assert_eq!(acknowledge(id, "", &request(None, 0)), Once::Refused(why));
    }
    // The one who evaluates does not know of it yet.
    firing.occurrences = 2;
    record(&store, &changed(vec![firing.clone()]));
    let stored = store.alert(firing.id).unwrap().unwrap();
    assert_eq!(
        (stored.occurrences, stored.acknowledged),
        (2, noted.acknowledged.clone())
    );
    let by = store.acknowledged_alerts().unwrap();
    assert_eq!(by, [(firing.id, noted.acknowledged.unwrap())]);
    let told = events(&store);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "alert.acknowledged");
    let filter = AuditFilter {
        action: Some("alert.acknowledged".to_owned()),
        ..AuditFilter::default()
    };
    let audit = store.audit(&filter, &PageRequest::default()).unwrap();
    assert_eq!(audit.items.len(), 1);
}

fn silence(number: u128, ends_at: Timestamp) -> Silence {
    Silence {
        id: Uuid::from_u128(number),
        matcher: SilenceMatcher {
            charger_id: Some("CP-\u{0}".to_owned()),
            ..SilenceMatcher::default()
        },
        starts_at: at(0),
        ends_at,
        comment: "maintenance".to_owned(),
        created_by: Some("anna".to_owned()),
        created_at: at(0),
    }
}

fn silences_are_added_removed_and_bounded<D: Adapter>() {
    let database = D::new();
    let store = database.open();
    let one = silence(1, at(5));
    let keyed = request(Some("k"), 1);
    assert!(matches!(
        store.add_silence(&one, &keyed).unwrap(),
        Once::Done(_)
    ));
    let again = silence(2, at(5));
    let Once::Repeated(found) = store.add_silence(&again, &keyed).unwrap() else {
        panic!("a repeat adds none");
    };
    assert_eq!(found.id, one.id);
    assert_eq!(store.silences().unwrap().len(), 1);
    assert!(store.remove_silence(one.id, &request(None, 0)).unwrap());
    assert!(!store.remove_silence(one.id, &request(None, 0)).unwrap());
    assert_eq!(
        store.add_silence(&again, &keyed).unwrap(),
        Once::Refused(SilenceNotAdded::Removed(one.id))
    );
    for number in 10..10 + SILENCES_MAX as u128 {
        let added = store.add_silence(&silence(number, at(5)), &request(None, 0));
        assert!(matches!(added.unwrap(), Once::Done(_)));
    }
    let more = store.add_silence(&silence(9_999, at(5)), &request(None, 0));
    assert_eq!(more.unwrap(), Once::Refused(SilenceNotAdded::TooMany));
}

fn alerts_that_ended_and_silences_expire<D: Adapter>() {
    let database = D::new();
    let store = database.open();
    record(
        &store,
        &changed(vec![
            alert(1, "ChargerOffline", "CP-1", AlertState::Resolved),
            alert(2, "ChargerOffline", "CP-1", AlertState::Firing),
            alert(3, "ChargerOffline", "CP-1", AlertState::Resolved),
        ]),
    );
    for (number, ends_at) in [(1, at(1)), (2, at(5))] {
        let added = store.add_silence(&silence(number, ends_at), &request(None, 0));
        added.unwrap();
    }
    assert_eq!(store.expire_alerts(at(0), at(0)).unwrap(), 0);
    assert_eq!(store.expire_alerts(at(3), at(3)).unwrap(), 2);
    let page = PageRequest::default();
    let left = store.alerts(&AlertFilter::default(), &page).unwrap();
    let left: Vec<u128> = left.items.iter().map(|one| one.id.as_u128()).collect();
    assert_eq!(left, [3, 2]);
    assert_eq!(store.silences().unwrap().len(), 1);
}

/// The queries of each round and of the lists read an index, and never the whole table.
#[test]
fn queries_of_alerts_read_an_index() {
    let database = SqliteDatabase::new();
    drop(database.open());
    for (sql, index) in [
        (
            "SELECT body FROM alerts WHERE state <> 2 ORDER BY id",
            "alerts_active",
        ),
        (
            "SELECT body FROM alerts WHERE state = 2 AND at >= 1 ORDER BY at DESC, id DESC LIMIT 5",
            "alerts_resolved",
        ),
        (
            "SELECT id FROM alerts WHERE state <> 2 AND acknowledged IS NOT NULL",
            "alerts_active",
        ),
        (
            "SELECT body FROM alerts WHERE id < x'ff' AND state <> 2 AND state = 1 ORDER BY id DESC LIMIT 5",
            "alerts_active",
        ),
        (
            "SELECT body FROM alerts WHERE id < x'ff' AND charger_key = 'cp-1' ORDER BY id DESC LIMIT 5",
            "alerts_by_charger",
        ),
        (
            "SELECT body FROM alerts WHERE id < x'ff' AND name = 'ChargerOffline' ORDER BY id DESC LIMIT 5",
            "alerts_by_name",
        ),
        (
            "SELECT body FROM alerts WHERE id < x'ff' AND site = 'depot' ORDER BY id DESC LIMIT 5",
            "alerts_by_site",
        ),
    ] {
        let connection = database.other_connection();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(3));
        let plan: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
        let plan = plan.join("; ");
        assert!(plan.contains(index), "{sql}: {plan}");
    }
}
