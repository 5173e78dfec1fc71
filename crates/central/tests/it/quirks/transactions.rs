//! Mistakes in transactions: ids, starts without a time, stops without an id.

use super::{NOW, sample, starts, stop};
use crate::common::database::{self, transaction, transactions};
use crate::common::{START, connect, event, number, setup};
use central::RecordKind;
use central::model::ChargerKey;
use central::station::CloseReason;
use ocpp::Version;
use std::collections::BTreeSet;

#[test]
fn quirk_11_transaction_id_minus_one() {
    // Two starts whose answers were lost; both stops come under -1 (Q-17).
    let mut charger = connect(Version::V16);
    starts(&mut charger);
    let second = START
        .replace("23:00:00Z", "23:30:00Z")
        .replace("5000", "7000");
    charger.succeeds("2", "StartTransaction", &second);
    charger.succeeds(
        "3",
        "MeterValues",
        &sample(Some(-1), "2025-12-31T23:10:00Z", 6000),
    );
    assert_eq!(
        charger.succeeds(
            "4",
            "StopTransaction",
            &stop("-1", "2025-12-31T23:20:00Z", 7000)
        ),
        "{}"
    );
    assert_eq!(
        charger.succeeds(
            "5",
            "StopTransaction",
            &stop("-1", "2025-12-31T23:50:00Z", 9000)
        ),
        "{}"
    );
    assert_eq!(charger.records().len(), 5, "none is a resend");

    let views = transactions(&database::of(&[&charger]));
    assert_eq!(views.len(), 4, "two open starts, two unpaired stops");
    let mut paired = central::model::pair_orphans(views);
    paired.sort_by_key(|view| view.started_at);
    let energy: Vec<_> = paired
        .iter()
        .map(|view| (view.open, view.energy_wh))
        .collect();
    assert_eq!(energy, [(false, Some(2000.0)), (false, Some(2000.0))]);
}

#[test]
fn quirk_11_transaction_id_zero_and_of_64_bits() {
    let mut charger = connect(Version::V16);
    for id in [
        "0",
        "-1",
        "9223372036854775807",
        "\"9223372036854775807\"",
        "99999999999999999999",
    ] {
        charger.succeeds(
            id.trim_matches('"'),
            "StopTransaction",
            &stop(id, "2026-01-01T00:00:00Z", 1),
        );
    }
    let database = database::of(&[&charger]);
    let views = transactions(&database);
    let ids: BTreeSet<_> = views
        .iter()
        .map(|view| view.transaction_id.as_str())
        .collect();
    assert_eq!(ids, BTreeSet::from(["0", "-1", "9223372036854775807", ""]));
}

#[test]
fn quirk_11_a_stop_without_a_usable_id_ends_the_running_transaction() {
    for id in ["null", "0", "-7", "\"x\"", "99999999999999999999"] {
        let mut charger = connect(Version::V16);
        starts(&mut charger);
        let payload = stop(id, "2025-12-31T23:50:00Z", 9000);
        assert_eq!(charger.succeeds("2", "StopTransaction", &payload), "{}");
        let paired = central::model::pair_orphans(transactions(&database::of(&[&charger])));
        assert_eq!(paired.len(), 1, "{id}");
        assert_eq!(paired[0].energy_wh, Some(4000.0), "{id}");
    }
}

#[test]
fn quirk_11_hundreds_of_stops_without_an_id_are_all_kept() {
    let mut charger = connect(Version::V16);
    for n in 0..700_u32 {
        let at = format!(
            "2025-12-{:02}T{:02}:{:02}:00Z",
            n / 500 + 1,
            n / 25 % 20,
            n % 25 * 2
        );
        let started =
            format!(r#"{{"connectorId":1,"idTag":"04A1","timestamp":"{at}","meterStart":{n}}}"#);
        charger.succeeds(&format!("a{n}"), "StartTransaction", &started);
        let ended = stop("-1", &at.replace(":00Z", ":30Z"), n + 7);
        charger.succeeds(&format!("b{n}"), "StopTransaction", &ended);
    }
    let paired = central::model::pair_orphans(transactions(&database::of(&[&charger])));
    assert_eq!(paired.len(), 700);
    assert!(paired.iter().all(|view| view.energy_wh == Some(7.0)));
}

/// Whether each transaction is open, and its energy.
fn shown(contents: &central::memory::Contents) -> Vec<(bool, Option<f64>)> {
    let mut views = central::model::pair_orphans(transactions(contents));
    let keys: BTreeSet<_> = views.iter().map(|view| view.key).collect();
    assert_eq!(keys.len(), views.len(), "each has its own key");
    views.sort_by_key(|view| (view.started_at, view.ended_at, view.key));
    views
        .iter()
        .map(|view| (view.open, view.energy_wh))
        .collect()
}

/// A start without a time, and one of a charger whose clock was never set.
const UNDATED: [&str; 2] = [
    r#"{"connectorId":1,"idTag":"TAG1","meterStart":0}"#,
    r#"{"connectorId":1,"idTag":"TAG1","meterStart":0,"timestamp":"1970-01-01T00:00:42Z"}"#,
];

#[test]
fn quirk_10_an_equal_start_after_its_stop_is_a_new_transaction() {
    for start in UNDATED {
        for reconnects in [false, true] {
            let mut charger = connect(Version::V16);
            let mut before = Vec::new();
            let mut ids = BTreeSet::new();
            for (n, meter) in [5000, 7000, 7000].into_iter().enumerate() {
                charger.now = charger.now.plus_millis(60_000);
                let answer = charger.succeeds(&format!("s{n}"), "StartTransaction", start);
                let id = number(&answer, "/transactionId");
                ids.insert(id);
                charger.now = charger.now.plus_millis(60_000);
                let again = charger.succeeds(&format!("r{n}"), "StartTransaction", start);
                assert_eq!(again, answer, "its resend gets the same answer");
                let ended = format!(
                    r#"{{"transactionId":{id},"meterStop":{meter},"timestamp":"1970-01-01T00:00:50Z"}}"#
                );
                charger.succeeds(&format!("e{n}"), "StopTransaction", &ended);
                assert_eq!(
                    charger.succeeds(&format!("f{n}"), "StopTransaction", &ended),
                    "{}"
                );
                if reconnects {
                    let now = charger.now;
                    charger.disconnects(CloseReason::ByCharger(None));
                    before.append(&mut charger.journal);
                    let memory = charger.station.into_memory();
                    charger = crate::common::Setup {
                        memory,
                        ..setup(Version::V16)
                    }
                    .connect();
                    charger.now = now;
                }
            }
            assert_eq!(ids.len(), 3, "{start}: each has its own id");
            let journal = before.iter().chain(&charger.journal);
            let contents = database::apply(
                (1..)
                    .zip(journal)
                    .map(|(seq, bytes)| (database::id(seq), &**bytes)),
            );
            let calls = contents
                .records
                .values()
                .map(|bytes| central::Record::decode(bytes).unwrap());
            assert_eq!(
                calls
                    .filter(|record| record.kind == RecordKind::Call)
                    .count(),
                6
            );
            assert_eq!(
                shown(&contents),
                [
                    (false, Some(5000.0)),
                    (false, Some(7000.0)),
                    (false, Some(7000.0))
                ],
                "{start}"
            );
        }
    }
}

#[test]
fn quirk_10_an_equal_start_at_a_gateway_without_its_stop_is_another_transaction() {
    for start in UNDATED {
        let mut journal = Vec::new();
        let mut now = NOW;
        let mut answers = BTreeSet::new();
        for meter in [5000, 7000] {
            // Each session is at a gateway without a memory of the charger.
            let mut charger = connect(Version::V16);
            charger.now = now.plus_millis(60_000);
            let answer = charger.succeeds("1", "StartTransaction", start);
            charger.now = charger.now.plus_millis(60_000);
            let id = number(&answer, "/transactionId");
            answers.insert(id);
            let ended = format!(r#"{{"transactionId":{id},"meterStop":{meter}}}"#);
            charger.succeeds("2", "StopTransaction", &ended);
            now = charger.now;
            journal.extend(charger.journal);
        }
        assert_eq!(answers.len(), 1, "one id for two sessions");
        let records =
            |order: &mut dyn Iterator<Item = usize>| -> Vec<(central::RecordId, Vec<u8>)> {
                order
                    .map(|at| (database::id(at as u64 + 1), journal[at].clone()))
                    .collect()
            };
        for order in [
            records(&mut (0..journal.len())),
            records(&mut (0..journal.len()).rev()),
        ] {
            let contents = database::apply(order.iter().map(|(id, bytes)| (*id, bytes.as_slice())));
            assert_eq!(
                shown(&contents),
                [(false, Some(5000.0)), (false, Some(7000.0))],
                "{start}"
            );
        }
    }
}

#[test]
fn quirk_10_an_undated_start_resent_on_another_connection_is_recorded_and_one_transaction() {
    for start in UNDATED {
        let mut charger = connect(Version::V16);
        let first = charger.succeeds("1", "StartTransaction", start);
        charger.disconnects(CloseReason::ByCharger(None));
        let mut journal = std::mem::take(&mut charger.journal);
        let memory = charger.station.into_memory();
        let mut charger = crate::common::Setup {
            memory,
            ..setup(Version::V16)
        }
        .connect();
        charger.now = charger.now.plus_millis(1_000);
        assert_eq!(charger.succeeds("2", "StartTransaction", start), first);
        assert_eq!(charger.records().len(), 1, "the resend is recorded");
        assert_eq!(charger.succeeds("3", "StartTransaction", start), first);
        assert_eq!(
            charger.records().len(),
            1,
            "a resend on the same connection is not recorded"
        );
        journal.append(&mut charger.journal);
        let contents = database::apply(
            (1..)
                .zip(&journal)
                .map(|(seq, bytes)| (database::id(seq), &**bytes)),
        );
        assert_eq!(shown(&contents), [(true, None)]);
    }
}

#[test]
fn a_key_never_becomes_that_of_another_transaction() {
    // In 2.x an id is used again; of the first session only an update has arrived at first.
    let of = |kind: &str, seq: u32, token: &str| {
        event(
            kind,
            seq,
            &format!(r#","idToken":{{"idToken":"{token}","type":"ISO14443"}}"#),
        )
    };
    let mut charger = connect(Version::V201);
    charger.succeeds("1", "TransactionEvent", &of("Updated", 11, "BOB"));
    let provisional = transaction(&database::of(&[&charger])).key;
    charger.succeeds("2", "TransactionEvent", &of("Started", 10, "BOB"));
    let bob = transaction(&database::of(&[&charger]));
    charger.succeeds("3", "TransactionEvent", &of("Ended", 12, "BOB"));
    assert_eq!(transaction(&database::of(&[&charger])).key, bob.key);
    charger.succeeds("4", "TransactionEvent", &of("Started", 1, "ANN"));
    charger.succeeds("5", "TransactionEvent", &of("Ended", 2, "ANN"));
    let contents = database::of(&[&charger]);
    let keys: std::collections::BTreeMap<_, _> = transactions(&contents)
        .into_iter()
        .map(|view| (view.id_token.clone().unwrap_or_default(), view.key))
        .collect();
    assert_eq!(keys["BOB"], bob.key);
    assert_ne!(keys["ANN"], bob.key);
    assert!(!keys.values().any(|key| *key == provisional));
    assert_eq!(
        provisional,
        central::model::key_without_start(&ChargerKey::of("cp-17"), "tx-1")
    );
}

#[test]
fn quirk_22_values_after_the_stop_stop_without_start_start_without_stop() {
    let mut charger = connect(Version::V16);
    let id = starts(&mut charger);
    charger.succeeds(
        "2",
        "StopTransaction",
        &stop(&id.to_string(), "2025-12-31T23:20:00Z", 7000),
    );
    charger.succeeds(
        "3",
        "MeterValues",
        &sample(Some(id), "2025-12-31T23:30:00Z", 7000),
    );
    let view = transaction(&database::of(&[&charger]));
    assert!(!view.open);
    assert_eq!(
        view.ended_at.map(|at| at.to_string()).as_deref(),
        Some("2025-12-31T23:20:00.000Z")
    );
    assert_eq!(view.energy_wh, Some(2000.0));

    let mut charger = connect(Version::V16);
    charger.succeeds(
        "1",
        "StopTransaction",
        &stop("4711", "2025-12-31T23:20:00Z", 7000),
    );
    let view = transaction(&database::of(&[&charger]));
    assert_eq!((view.started_at, view.open), (None, false));

    let mut charger = connect(Version::V16);
    charger.succeeds(
        "1",
        "MeterValues",
        &sample(Some(4711), "2025-12-31T23:30:00Z", 7000),
    );
    let view = transaction(&database::of(&[&charger]));
    assert_eq!(
        (view.started_at, view.open),
        (None, true),
        "of an id without a start"
    );
}
