//! The port `Processes`: reports of processes, and counts for the balance of the pipeline.

use crate::common::{Adapter, on_every_adapter, origin};
use central::model::{
    GATEWAY_SHOWN_MS, GatewayReport, PROCESS_SHOWN_MS, PartReport, ProcessReport, ProcessRole,
};
use central::ports::{DeadLetter, DeadLetters, LetterSelection, Once, Processes, Store};
use central::project::Changes;
use central::{GatewayId, RecordId, Seq, Timestamp};
use uuid::Uuid;

on_every_adapter!(
    the_latest_report_of_a_process_is_kept,
    what_is_no_longer_shown_is_deleted_and_an_undelivered_journal_stays,
    a_gateway_is_retired_until_it_reports_again,
    the_number_up_to_which_all_is_stored_only_grows,
    stored_numbers_are_counted_once,
);

fn report(id: u128, at: i64) -> ProcessReport {
    ProcessReport {
        id: Uuid::from_u128(id),
        role: ProcessRole::Gateway,
        host: "host\u{0}".to_owned(),
        version: "1.2.3".to_owned(),
        started_at: Timestamp(1),
        at: Timestamp(at),
        has_stopped: false,
        parts: vec![PartReport {
            part: "journal".to_owned(),
            up: true,
            detail: "works".to_owned(),
            since: Timestamp(1),
            last_error: None,
        }],
        gateway: None,
        consumed_records: None,
        queues: None,
        figures_milli: std::collections::BTreeMap::new(),
        restarts: Vec::new(),
    }
}

fn gateway_report(id: u128, durable: u64, delivered: u64) -> ProcessReport {
    ProcessReport {
        gateway: Some(GatewayReport {
            id: GatewayId(Uuid::from_u128(id)),
            connected: 3,
            written: durable,
            durable,
            delivered,
            undelivered_bytes: 5,
            bytes_max: 10,
            oldest_age_ms: Some(7),
            route: None,
            listeners: Vec::new(),
        }),
        ..report(id, 10)
    }
}

fn the_latest_report_of_a_process_is_kept<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert_eq!(store.processes().unwrap(), []);
    for at in [10, 30, 20] {
        store.report_process(&report(1, at)).unwrap();
    }
    store.report_process(&gateway_report(2, 9, 9)).unwrap();
    let known = database.open().processes().unwrap();
    let times: Vec<i64> = known.iter().map(|one| one.report.at.0).collect();
    assert_eq!(
        times,
        [20, 10],
        "also if the clock of its process was put back"
    );
    assert_eq!(known[1].report, gateway_report(2, 9, 9));
    assert!(known.iter().all(|one| (0..60_000).contains(&one.age_ms)));
    assert_eq!(known[0].all_stored, Seq(0));
}

fn what_is_no_longer_shown_is_deleted_and_an_undelivered_journal_stays<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store.report_process(&report(1, 10)).unwrap();
    store.report_process(&gateway_report(2, 9, 9)).unwrap();
    store.report_process(&gateway_report(3, 9, 8)).unwrap();
    let shown = || -> Vec<u128> {
        let known = store.processes().unwrap();
        known.iter().map(|one| one.report.id.as_u128()).collect()
    };
    assert_eq!(shown(), [1, 2, 3]);
    for (ms, left) in [
        (PROCESS_SHOWN_MS, vec![2, 3]),
        (GATEWAY_SHOWN_MS, vec![3]),
        (400 * 24 * 3_600_000, vec![3]),
    ] {
        database.execute(&format!(
            "UPDATE processes SET reported_at = reported_at - {ms} - 1"
        ));
        assert_eq!(shown(), left);
    }
    store.report_process(&report(4, 10)).unwrap();
    let rows = database.query("SELECT CAST(count(*) AS text) AS value FROM processes");
    assert_eq!(rows, ["2"]);
}

fn a_gateway_is_retired_until_it_reports_again<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let id = GatewayId(Uuid::from_u128(2));
    store.retire_process(id, 3, &origin()).unwrap();
    store.report_process(&gateway_report(2, 9, 9)).unwrap();
    let is_retired = || store.processes().unwrap()[0].is_retired;
    assert!(!is_retired());
    store.retire_process(id, 3, &origin()).unwrap();
    assert!(is_retired());
    store.report_process(&gateway_report(2, 9, 9)).unwrap();
    assert!(!is_retired());
    let entries =
        database.query("SELECT before AS value FROM audit_log WHERE action = 'gateway.retired'");
    assert_eq!(entries, [r#"{"connected":3}"#; 2]);
}

fn the_number_up_to_which_all_is_stored_only_grows<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let id = GatewayId(Uuid::from_u128(2));
    store.set_all_stored(id, Seq(5)).unwrap();
    store.report_process(&gateway_report(2, 9, 9)).unwrap();
    for (upto, expected) in [(4, 4), (9, 9), (3, 9)] {
        store.set_all_stored(id, Seq(upto)).unwrap();
        store.report_process(&gateway_report(2, 9, 9)).unwrap();
        assert_eq!(store.processes().unwrap()[0].all_stored, Seq(expected));
    }
}

fn stored_numbers_are_counted_once<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let gateway = GatewayId(Uuid::from_u128(2));
    let count = |first, last| store.count_stored(gateway, Seq(first), Seq(last)).unwrap();
    assert_eq!(count(1, u64::MAX), 0, "an unknown gateway");
    let id = |seq| RecordId {
        gateway,
        seq: Seq(seq),
    };
    let letter = |seq| DeadLetter {
        id: id(seq),
        bytes: vec![1],
        reason: "broken".to_owned(),
    };
    let started = central::record::gateway_started(Timestamp(1_700_000_000_000), central::Epoch(1));
    let record = || central::Record::decode(&started).unwrap();
    let records = [(id(1), record()), (id(2), record()), (id(4), record())];
    // Number 2 is a message and a dead letter: two journals used the gateway's id.
    let letters = [letter(2), letter(5)];
    store
        .apply(&records, &Changes::default(), &letters)
        .unwrap();
    assert_eq!(count(1, u64::MAX), 4);
    assert_eq!(count(2, 4), 2);
    assert_eq!(count(5, 5), 1);
    assert_eq!(count(6, 5), 0);
    assert_eq!(store.count_dead_letters(10).unwrap(), 2);
    assert_eq!(store.count_dead_letters(1).unwrap(), 1);
    let wanted = crate::dead_letters::discard(LetterSelection::Ids(vec![id(5)]));
    assert!(matches!(store.discard_letters(&wanted), Ok(Once::Done(_))));
    assert_eq!(count(1, 9), 4, "a discarded letter counts as stored");
    assert_eq!(store.count_dead_letters(10).unwrap(), 1);
}
