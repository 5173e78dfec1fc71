//! What firmware gets wrong with ids, times, order, enumerations and transaction ids. Each test is
//! named after the list that it comes from: `quirk_NN` collected reports, `seen_NN` what real charger
//! stacks were seen to do.

use crate::common::ledger::{self, connector, transaction, transactions};
use crate::common::{Line, START, at, connect, event, number, setup};
use central::model::ChargerKey;
use central::record::Notes;
use central::station::{CloseReason, TokenAnswer};
use central::{RecordKind, Timestamp};
use ocpp::Version;
use ocpp::frame::Quirk;
use std::collections::BTreeSet;

const NOW: Timestamp = crate::common::NOW;

fn starts(line: &mut Line) -> i64 {
    let answer = line.succeeds("start", "StartTransaction", START);
    number(&answer, "/transactionId")
}

fn stop(id: &str, at: &str, meter: u32) -> String {
    format!(r#"{{"transactionId":{id},"timestamp":"{at}","meterStop":{meter},"idTag":"04A1"}}"#)
}

fn sample(id: Option<i64>, at: &str, wh: u32) -> String {
    let id = id
        .map(|id| format!(r#""transactionId":{id},"#))
        .unwrap_or_default();
    format!(
        r#"{{"connectorId":1,{id}"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":"{wh}"}}]}}]}}"#
    )
}

#[test]
fn quirk_03_negotiates_2_0_1_and_speaks_1_6() {
    let mut line = connect(Version::V201);
    line.succeeds(
        "1",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    let answer = line.succeeds("2", "StartTransaction", START);
    let id = at(&answer, "/transactionId").as_i64().expect("an id");
    line.succeeds(
        "3",
        "MeterValues",
        &sample(Some(id), "2025-12-31T23:10:00Z", 6000),
    );
    let answer = line.succeeds("4", "Authorize", r#"{"idTag":"04A1"}"#);
    assert_eq!(at(&answer, "/idTagInfo/status"), "Accepted");
    line.succeeds(
        "5",
        "StopTransaction",
        &stop(&id.to_string(), "2025-12-31T23:20:00Z", 7000),
    );
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    line.succeeds("6", "StatusNotification", status);
    for record in &line.records() {
        assert!(record.notes.has(Notes::TOLERATED), "{}", record.action);
        assert_eq!(record.ocpp_version, Version::V16, "{}", record.action);
    }
    let ledger = ledger::of(&[&line]);
    let view = transaction(&ledger);
    assert_eq!(view.energy_wh, Some(2000.0));
    assert!(!view.open);
    assert_eq!(
        connector(&ledger, 0, 1).status.as_deref(),
        Some("Available")
    );
    let charger = ledger.states.chargers[&ChargerKey::of("cp-17")].view("cp-17", None);
    assert_eq!(
        charger.boot.expect("it booted").vendor.as_deref(),
        Some("V")
    );
}

#[test]
fn quirk_07_message_ids_restart_repeat_and_are_numbers() {
    let mut line = connect(Version::V16);
    // The same small number for ever, with different content: never a repeat.
    starts(&mut line);
    line.succeeds(
        "1",
        "StopTransaction",
        &stop("7", "2025-12-31T23:20:00Z", 1),
    );
    line.succeeds(
        "1",
        "StopTransaction",
        &stop("8", "2025-12-31T23:20:00Z", 1),
    );
    line.succeeds("1", "MeterValues", &sample(None, "2025-12-31T23:20:00Z", 1));
    assert_eq!(line.records().len(), 4);
    // A number comes back as that number.
    let answer = line.asks(r#"[2,7,"Heartbeat",{}]"#);
    assert!(answer.starts_with("[3,7,{"), "{answer}");
    let long = "x".repeat(40);
    let answer = line.asks(&format!(r#"[2,"{long}","Heartbeat",{{}}]"#));
    assert!(answer.starts_with(&format!(r#"[3,"{long}",{{"#)));
    let answer = line.asks(r#"[2,"","Heartbeat",{}]"#);
    assert!(answer.starts_with(r#"[3,"",{"#));
}

#[test]
fn quirk_07_a_number_as_message_id_is_counted_with_the_record_of_its_frame() {
    let mut line = connect(Version::V16);
    line.sends(r#"[2,7,"Heartbeat",{}]"#);
    line.directory_works = false;
    line.sends(&format!(r#"[2,8,"StartTransaction",{START}]"#));
    line.directory_says(TokenAnswer::Unknown);
    line.sends(r#"[2,"9","Heartbeat",{}]"#);
    let counted: Vec<bool> = line
        .metas
        .iter()
        .map(|meta| meta.quirks.has(Quirk::NumberId))
        .collect();
    // The first record is that of the connection.
    assert_eq!(counted, [false, true, true, false]);
}

#[test]
fn quirk_08_invalid_json_is_answered_and_kept() {
    let mut line = connect(Version::V16);
    assert!(line.sends("").is_empty());
    assert!(line.records().is_empty(), "an empty frame is nothing");
    let text = r#"[2,"1","MeterValues",{"connectorId":1,"transactionId":,"meterValue":[]}]"#;
    assert_eq!(line.asks(text), r#"[3,"1",{}]"#);
    let text = "[2,\"2\",\"MeterValues\",[,{\"connectorId\":1}]]";
    assert_eq!(line.asks(text), r#"[3,"2",{}]"#);
    let text = r#"[2,"3","BootNotification",{"chargePointVendor":"A\B","chargePointModel":"M"}]"#;
    assert_eq!(at(&line.asks(text), "/2/status"), "Accepted");
    let pretty = "[\n  2,\n  \"4\",\n  \"Heartbeat\",\n  { }\n]";
    assert!(line.asks(pretty).starts_with(r#"[3,"4","#));
    assert_eq!(line.records().len(), 4);
}

#[test]
fn quirk_09_null_payload_and_nothing_sampled() {
    let mut line = connect(Version::V16);
    assert!(
        line.asks(r#"[2,"1","Heartbeat",null]"#)
            .starts_with(r#"[3,"1","#)
    );
    assert!(
        line.asks(r#"[2,"2","Heartbeat"]"#)
            .starts_with(r#"[3,"2","#)
    );
    let empty = r#"{"connectorId":1,"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[]}]}"#;
    line.succeeds("3", "MeterValues", empty);
    assert!(line.last_notes().has(Notes::TOLERATED));
    let ledger = ledger::of(&[&line]);
    let row = ledger.meter_values.values().next().expect("a row");
    assert_eq!((row.energy_wh, row.sampled.as_str()), (None, "[]"));
}

#[test]
fn quirk_10_times_of_every_form_and_none() {
    let status = |status: &str, at: &str| {
        format!(
            r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}","timestamp":"{at}"}}"#
        )
    };
    for (at, effective) in [
        ("2025-12-31T23:00:00", "2025-12-31T23:00:00.000Z"),
        ("2025-12-31T23:00:00+02", "2025-12-31T21:00:00.000Z"),
        ("2025-12-31 23:00:00.123456789Z", "2025-12-31T23:00:00.123Z"),
        // A clock that was never set, or runs ahead, or says nothing: when we heard it.
        ("1970-01-01T00:00:01Z", "2026-01-01T00:00:00.000Z"),
        ("2031-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"),
        ("yesterday", "2026-01-01T00:00:00.000Z"),
    ] {
        let mut line = connect(Version::V16);
        line.succeeds("1", "StatusNotification", &status("Charging", at));
        let view = connector(&ledger::of(&[&line]), 0, 1);
        assert_eq!(
            view.since.map(|at| at.to_string()).as_deref(),
            Some(effective),
            "{at}"
        );
    }
}

#[test]
fn quirk_11_transaction_id_minus_one() {
    // Two starts whose answers were lost; both stops come under -1 (Q-17).
    let mut line = connect(Version::V16);
    starts(&mut line);
    let second = START
        .replace("23:00:00Z", "23:30:00Z")
        .replace("5000", "7000");
    line.succeeds("2", "StartTransaction", &second);
    line.succeeds(
        "3",
        "MeterValues",
        &sample(Some(-1), "2025-12-31T23:10:00Z", 6000),
    );
    assert_eq!(
        line.succeeds(
            "4",
            "StopTransaction",
            &stop("-1", "2025-12-31T23:20:00Z", 7000)
        ),
        "{}"
    );
    assert_eq!(
        line.succeeds(
            "5",
            "StopTransaction",
            &stop("-1", "2025-12-31T23:50:00Z", 9000)
        ),
        "{}"
    );
    assert_eq!(line.records().len(), 5, "none is taken for a repeat");

    let views = transactions(&ledger::of(&[&line]));
    assert_eq!(views.len(), 4, "two open starts, two stops on their own");
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
    let mut line = connect(Version::V16);
    for id in [
        "0",
        "-1",
        "9223372036854775807",
        "\"9223372036854775807\"",
        "99999999999999999999",
    ] {
        line.succeeds(
            id.trim_matches('"'),
            "StopTransaction",
            &stop(id, "2026-01-01T00:00:00Z", 1),
        );
    }
    let ledger = ledger::of(&[&line]);
    let views = transactions(&ledger);
    let ids: BTreeSet<_> = views
        .iter()
        .map(|view| view.transaction_id.as_str())
        .collect();
    assert_eq!(ids, BTreeSet::from(["0", "-1", "9223372036854775807", ""]));
}

#[test]
fn quirk_11_a_stop_without_a_usable_id_ends_the_running_transaction() {
    for id in ["null", "0", "-7", "\"x\"", "99999999999999999999"] {
        let mut line = connect(Version::V16);
        starts(&mut line);
        let payload = stop(id, "2025-12-31T23:50:00Z", 9000);
        assert_eq!(line.succeeds("2", "StopTransaction", &payload), "{}");
        let paired = central::model::pair_orphans(transactions(&ledger::of(&[&line])));
        assert_eq!(paired.len(), 1, "{id}");
        assert_eq!(paired[0].energy_wh, Some(4000.0), "{id}");
    }
}

#[test]
fn quirk_11_hundreds_of_stops_without_an_id_are_all_kept() {
    let mut line = connect(Version::V16);
    for n in 0..700_u32 {
        let at = format!(
            "2025-12-{:02}T{:02}:{:02}:00Z",
            n / 500 + 1,
            n / 25 % 20,
            n % 25 * 2
        );
        let started =
            format!(r#"{{"connectorId":1,"idTag":"04A1","timestamp":"{at}","meterStart":{n}}}"#);
        line.succeeds(&format!("a{n}"), "StartTransaction", &started);
        let ended = stop("-1", &at.replace(":00Z", ":30Z"), n + 7);
        line.succeeds(&format!("b{n}"), "StopTransaction", &ended);
    }
    let paired = central::model::pair_orphans(transactions(&ledger::of(&[&line])));
    assert_eq!(paired.len(), 700);
    assert!(paired.iter().all(|view| view.energy_wh == Some(7.0)));
}

/// What is shown of each transaction: whether it is open, and its energy.
fn shown(contents: &central::memory::Contents) -> Vec<(bool, Option<f64>)> {
    let mut views = central::model::pair_orphans(transactions(contents));
    let keys: BTreeSet<_> = views.iter().map(|view| view.key).collect();
    assert_eq!(keys.len(), views.len(), "each has a key of its own");
    views.sort_by_key(|view| (view.started_at, view.ended_at, view.key));
    views
        .iter()
        .map(|view| (view.open, view.energy_wh))
        .collect()
}

/// Starts of a charger whose clock was never set, and of one that tells no time at all.
const UNDATED: [&str; 2] = [
    r#"{"connectorId":1,"idTag":"TAG1","meterStart":0}"#,
    r#"{"connectorId":1,"idTag":"TAG1","meterStart":0,"timestamp":"1970-01-01T00:00:42Z"}"#,
];

#[test]
fn quirk_10_an_equal_start_after_its_stop_is_a_new_transaction() {
    for start in UNDATED {
        for reconnects in [false, true] {
            let mut line = connect(Version::V16);
            let mut before = Vec::new();
            let mut ids = BTreeSet::new();
            for (n, meter) in [5000, 7000, 7000].into_iter().enumerate() {
                line.now = line.now.plus_millis(60_000);
                let answer = line.succeeds(&format!("s{n}"), "StartTransaction", start);
                let id = number(&answer, "/transactionId");
                ids.insert(id);
                line.now = line.now.plus_millis(60_000);
                let again = line.succeeds(&format!("r{n}"), "StartTransaction", start);
                assert_eq!(again, answer, "its resend gets the same answer");
                let ended = format!(
                    r#"{{"transactionId":{id},"meterStop":{meter},"timestamp":"1970-01-01T00:00:50Z"}}"#
                );
                line.succeeds(&format!("e{n}"), "StopTransaction", &ended);
                assert_eq!(
                    line.succeeds(&format!("f{n}"), "StopTransaction", &ended),
                    "{}"
                );
                if reconnects {
                    let now = line.now;
                    line.closes(CloseReason::ByCharger(None));
                    before.append(&mut line.journal);
                    let memory = line.station.into_memory();
                    line = crate::common::Setup {
                        memory,
                        ..setup(Version::V16)
                    }
                    .connect();
                    line.now = now;
                }
            }
            assert_eq!(ids.len(), 3, "{start}: each has an id of its own");
            let journal = before.iter().chain(&line.journal);
            let contents = ledger::apply(
                (1..)
                    .zip(journal)
                    .map(|(seq, bytes)| (ledger::id(seq), &**bytes)),
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
fn quirk_10_an_equal_start_at_a_gateway_that_heard_no_stop_is_a_transaction_of_its_own() {
    for start in UNDATED {
        let mut journal = Vec::new();
        let mut now = NOW;
        let mut answers = BTreeSet::new();
        for meter in [5000, 7000] {
            // Each session at a gateway that remembers nothing of the charger.
            let mut line = connect(Version::V16);
            line.now = now.plus_millis(60_000);
            let answer = line.succeeds("1", "StartTransaction", start);
            line.now = line.now.plus_millis(60_000);
            let id = number(&answer, "/transactionId");
            answers.insert(id);
            let ended = format!(r#"{{"transactionId":{id},"meterStop":{meter}}}"#);
            line.succeeds("2", "StopTransaction", &ended);
            now = line.now;
            journal.extend(line.journal);
        }
        assert_eq!(answers.len(), 1, "one id for two sessions");
        let records =
            |order: &mut dyn Iterator<Item = usize>| -> Vec<(central::RecordId, Vec<u8>)> {
                order
                    .map(|at| (ledger::id(at as u64 + 1), journal[at].clone()))
                    .collect()
            };
        for order in [
            records(&mut (0..journal.len())),
            records(&mut (0..journal.len()).rev()),
        ] {
            let contents = ledger::apply(order.iter().map(|(id, bytes)| (*id, bytes.as_slice())));
            assert_eq!(
                shown(&contents),
                [(false, Some(5000.0)), (false, Some(7000.0))],
                "{start}"
            );
        }
    }
}

#[test]
fn quirk_10_an_undated_start_repeated_on_another_connection_is_on_record_and_one_transaction() {
    for start in UNDATED {
        let mut line = connect(Version::V16);
        let first = line.succeeds("1", "StartTransaction", start);
        line.closes(CloseReason::ByCharger(None));
        let mut journal = std::mem::take(&mut line.journal);
        let memory = line.station.into_memory();
        let mut line = crate::common::Setup {
            memory,
            ..setup(Version::V16)
        }
        .connect();
        line.now = line.now.plus_millis(1_000);
        assert_eq!(line.succeeds("2", "StartTransaction", start), first);
        assert_eq!(line.records().len(), 1, "the repeat is on record");
        assert_eq!(line.succeeds("3", "StartTransaction", start), first);
        assert_eq!(
            line.records().len(),
            1,
            "a repeat on the same connection is not"
        );
        journal.append(&mut line.journal);
        let contents = ledger::apply(
            (1..)
                .zip(&journal)
                .map(|(seq, bytes)| (ledger::id(seq), &**bytes)),
        );
        assert_eq!(shown(&contents), [(true, None)]);
    }
}

#[test]
fn a_key_that_was_given_out_never_becomes_another_transactions() {
    // 2.x: an id that is used again; of the first session only a reading has come at first.
    let of = |kind: &str, seq: u32, token: &str| {
        event(
            kind,
            seq,
            &format!(r#","idToken":{{"idToken":"{token}","type":"ISO14443"}}"#),
        )
    };
    let mut line = connect(Version::V201);
    line.succeeds("1", "TransactionEvent", &of("Updated", 11, "BOB"));
    let provisional = transaction(&ledger::of(&[&line])).key;
    line.succeeds("2", "TransactionEvent", &of("Started", 10, "BOB"));
    let bob = transaction(&ledger::of(&[&line]));
    line.succeeds("3", "TransactionEvent", &of("Ended", 12, "BOB"));
    assert_eq!(transaction(&ledger::of(&[&line])).key, bob.key);
    line.succeeds("4", "TransactionEvent", &of("Started", 1, "ANN"));
    line.succeeds("5", "TransactionEvent", &of("Ended", 2, "ANN"));
    let contents = ledger::of(&[&line]);
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
fn quirk_12_connector_0_and_values_without_a_transaction() {
    let mut line = connect(Version::V16);
    let payload =
        sample(None, "2025-12-31T23:00:00Z", 100).replace("\"connectorId\":1", "\"connectorId\":0");
    line.succeeds("1", "MeterValues", &payload);
    line.succeeds(
        "2",
        "MeterValues",
        &payload.replace("\"connectorId\":0", "\"connectorId\":-3"),
    );
    let ledger = ledger::of(&[&line]);
    let places: BTreeSet<_> = ledger
        .meter_values
        .values()
        .map(|row| row.connector)
        .collect();
    assert_eq!(places, BTreeSet::from([Some(0), Some(-3)]));
    assert!(ledger.states.transactions.is_empty());
}

#[test]
fn quirk_13_over_long_fields_and_odd_tokens() {
    let mut line = connect(Version::V16);
    let boot = format!(
        r#"{{"chargePointVendor":"V","chargePointModel":"M","chargePointSerialNumber":"{}"}}"#,
        "9".repeat(26)
    );
    assert_eq!(
        at(&line.succeeds("1", "BootNotification", &boot), "/status"),
        "Accepted"
    );
    for tag in [
        "123456789012345678901",
        "04A1_serial",
        "A;B;C",
        "a\\u0001b",
        "",
    ] {
        let start = START.replace("04A1", tag);
        let answer = line.succeeds(tag, "StartTransaction", &start);
        assert_eq!(at(&answer, "/idTagInfo/status"), "Accepted", "{tag}");
    }
}

#[test]
fn quirk_14_unknown_enumerations_and_numbers_as_texts() {
    let mut line = connect(Version::V16);
    let status = r#"{"connectorId":"1","errorCode":"Error","status":"Napping"}"#;
    line.succeeds("1", "StatusNotification", status);
    let tolerated = START.replace("5000", "\"5000.7\"");
    line.succeeds("2", "StartTransaction", &tolerated);
    for record in line.records() {
        assert!(record.notes.has(Notes::TOLERATED), "{}", record.reason);
    }
    let ledger = ledger::of(&[&line]);
    let view = connector(&ledger, 0, 1);
    assert_eq!(view.status.as_deref(), Some("Napping"));
    assert_eq!(view.error_code.as_deref(), Some("Error"));
    assert_eq!(transaction(&ledger).meter_start_wh, Some(5000.0));
}

#[test]
fn quirk_15_extra_members() {
    for version in Version::ALL {
        let mut line = connect(version);
        line.succeeds("1", "Heartbeat", r#"{"vendorMood":{"x":[1]}}"#);
        assert_eq!(line.records()[0].payload, r#"{"vendorMood":{"x":[1]}}"#);
    }
}

#[test]
fn quirk_16_no_boot_after_a_reconnect_and_messages_before_it() {
    let mut line = connect(Version::V16);
    line.succeeds(
        "1",
        "StatusNotification",
        r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#,
    );
    let boot = line.succeeds(
        "2",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    assert_eq!(at(&boot, "/status"), "Accepted");
    // Nothing of ours goes out before or after it by itself.
    assert_eq!(line.heard.len(), 2);
}

#[test]
fn quirk_21_several_calls_in_flight_and_answers_to_nothing() {
    let mut line = connect(Version::V16);
    line.disk_works = false;
    for id in 0..5 {
        line.sends(&format!(r#"[2,"{id}","Heartbeat",{{}}]"#));
    }
    line.sends(r#"[3,"late",{"status":"Accepted"}]"#);
    let heard = line.disk_catches_up();
    let ids: Vec<_> = heard.iter().map(|answer| at(answer, "/1")).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4"]);
    assert!(line.last_notes().has(Notes::UNSOLICITED));
}

#[test]
fn quirk_22_values_after_the_stop_stop_without_start_start_without_stop() {
    let mut line = connect(Version::V16);
    let id = starts(&mut line);
    line.succeeds(
        "2",
        "StopTransaction",
        &stop(&id.to_string(), "2025-12-31T23:20:00Z", 7000),
    );
    line.succeeds(
        "3",
        "MeterValues",
        &sample(Some(id), "2025-12-31T23:30:00Z", 7000),
    );
    let view = transaction(&ledger::of(&[&line]));
    assert!(!view.open);
    assert_eq!(
        view.ended_at.map(|at| at.to_string()).as_deref(),
        Some("2025-12-31T23:20:00.000Z")
    );
    assert_eq!(view.energy_wh, Some(2000.0));

    let mut line = connect(Version::V16);
    line.succeeds(
        "1",
        "StopTransaction",
        &stop("4711", "2025-12-31T23:20:00Z", 7000),
    );
    let view = transaction(&ledger::of(&[&line]));
    assert_eq!((view.started_at, view.open), (None, false));

    let mut line = connect(Version::V16);
    line.succeeds(
        "1",
        "MeterValues",
        &sample(Some(4711), "2025-12-31T23:30:00Z", 7000),
    );
    let view = transaction(&ledger::of(&[&line]));
    assert_eq!(
        (view.started_at, view.open),
        (None, true),
        "of a never-started id"
    );
}

#[test]
fn quirk_23_months_of_backlog_do_not_touch_the_live_picture() {
    let mut line = connect(Version::V16);
    let status = |status: &str, at: &str| {
        format!(
            r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}","timestamp":"{at}"}}"#
        )
    };
    line.succeeds(
        "1",
        "StatusNotification",
        &status("Available", "2025-12-31T23:59:59Z"),
    );
    let month = |m: usize| format!("2025-{:02}-{:02}T08:00:00Z", 1 + m % 12, 1 + m / 12);
    for m in 0..200 {
        line.succeeds(
            &m.to_string(),
            "StatusNotification",
            &status("Faulted", &month(m)),
        );
        let start = START.replace("2025-12-31T23:00:00Z", &month(m));
        line.succeeds(&m.to_string(), "StartTransaction", &start);
    }
    let ledger = ledger::of(&[&line]);
    assert_eq!(
        connector(&ledger, 0, 1).status.as_deref(),
        Some("Available")
    );
    assert_eq!(transactions(&ledger).len(), 200);
}

#[test]
fn quirk_26_the_same_status_repeated() {
    let mut line = connect(Version::V201);
    for i in 0..10 {
        let status = r#"{"timestamp":"2025-12-31T23:00:00Z","connectorStatus":"Available","evseId":1,"connectorId":1}"#;
        line.succeeds(&i.to_string(), "StatusNotification", status);
    }
    assert_eq!(
        connector(&ledger::of(&[&line]), 1, 1).status.as_deref(),
        Some("Available")
    );
}

#[test]
fn seen_01_a_resend_comes_under_a_new_message_id() {
    let mut line = connect(Version::V16);
    let id = starts(&mut line);
    line.passes_ms(60_000);
    let again = line.succeeds("other", "StartTransaction", START);
    assert_eq!(at(&again, "/transactionId"), id);
    let values = sample(Some(id), "2025-12-31T23:10:00Z", 6000);
    line.succeeds("2", "MeterValues", &values);
    line.passes_ms(60_000);
    line.succeeds("3", "MeterValues", &values);
    assert_eq!(line.records().len(), 2);
    transaction(&ledger::of(&[&line]));
}

#[test]
fn seen_02_message_ids_repeat_between_boots() {
    let boot = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available"}"#;
    let mut line = connect(Version::V16);
    line.succeeds("2", "BootNotification", boot);
    line.succeeds("3", "StatusNotification", status);
    line.closes(CloseReason::Broken("power cut".into()));
    let mut setup = setup(Version::V16);
    setup.epoch = 2;
    setup.memory = line.station.into_memory();
    let mut line = setup.connect();
    line.succeeds("2", "BootNotification", boot);
    line.succeeds("3", "StatusNotification", status);
    assert_eq!(
        line.records().len(),
        2,
        "what a charger says after a boot is news"
    );
}

#[test]
fn seen_03_a_2_x_transaction_id_is_short_and_used_again() {
    let mut line = connect(Version::V201);
    let event = |kind: &str, seq_no: u32, at: &str, wh: u32| {
        format!(
            r#"{{"eventType":"{kind}","timestamp":"{at}","triggerReason":"Authorized","seqNo":{seq_no},"transactionInfo":{{"transactionId":"0"}},"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":{wh}}}]}}]}}"#
        )
    };
    for (kind, seq_no, at, wh) in [
        ("Started", 0, "2025-12-31T20:00:00Z", 100),
        ("Ended", 1, "2025-12-31T20:30:00Z", 200),
        ("Started", 0, "2025-12-31T21:00:00Z", 200),
        ("Updated", 1, "2025-12-31T21:10:00Z", 250),
        ("Ended", 2, "2025-12-31T21:30:00Z", 500),
        ("Started", 0, "2025-12-31T22:00:00Z", 500),
        ("Updated", 1, "2025-12-31T22:10:00Z", 900),
    ] {
        line.succeeds(at, "TransactionEvent", &event(kind, seq_no, at, wh));
    }
    let views = transactions(&ledger::of(&[&line]));
    let shown: Vec<_> = views
        .iter()
        .map(|view| (view.open, view.energy_wh))
        .collect();
    assert_eq!(
        shown,
        [
            (false, Some(100.0)),
            (false, Some(300.0)),
            (true, Some(400.0))
        ]
    );
    let keys: BTreeSet<_> = views.iter().map(|view| view.key).collect();
    assert_eq!(keys.len(), 3);
}

#[test]
fn seen_04_the_order_after_a_reconnect_says_nothing() {
    // Status first, with its old time, then the older transaction, all within a moment.
    let mut line = connect(Version::V16);
    let status = r#"{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"2025-12-31T23:40:00Z"}"#;
    line.succeeds("1", "StatusNotification", status);
    let id = starts(&mut line);
    line.succeeds(
        "3",
        "StopTransaction",
        &stop(&id.to_string(), "2025-12-31T23:20:00Z", 7000),
    );
    line.succeeds(
        "4",
        "MeterValues",
        &sample(Some(id), "2025-12-31T23:10:00Z", 6000),
    );
    let ledger = ledger::of(&[&line]);
    let view = transaction(&ledger);
    assert_eq!(
        view.started_at.map(|at| at.to_string()).as_deref(),
        Some("2025-12-31T23:00:00.000Z")
    );
    assert_eq!(view.energy_wh, Some(2000.0));
    assert_eq!(
        connector(&ledger, 0, 1)
            .since
            .map(|at| at.to_string())
            .as_deref(),
        Some("2025-12-31T23:40:00.000Z")
    );
}

#[test]
fn seen_06_gaps_in_the_sequence_are_normal_and_shown() {
    let mut line = connect(Version::V21);
    for seq_no in [0, 2, 3, 7] {
        let kind = if seq_no == 0 { "Started" } else { "Updated" };
        line.succeeds(
            &seq_no.to_string(),
            "TransactionEvent",
            &event(kind, seq_no, ""),
        );
    }
    let view = transaction(&ledger::of(&[&line]));
    assert_eq!(view.missing_seq, [(1, 1), (4, 6)]);
}

#[test]
fn seen_08_values_without_a_transaction_every_minute() {
    let mut line = connect(Version::V16);
    for minute in 0..10 {
        let at = format!("2025-12-31T23:{minute:02}:00Z");
        line.succeeds(
            &minute.to_string(),
            "MeterValues",
            &sample(None, &at, minute),
        );
    }
    let ledger = ledger::of(&[&line]);
    assert_eq!(ledger.meter_values.len(), 10);
    assert!(ledger.states.transactions.is_empty());
}

#[test]
fn seen_09_evse_0_and_connector_0_for_a_running_transaction() {
    let mut line = connect(Version::V201);
    let started = event(
        "Started",
        0,
        r#","evse":{"id":0,"connectorId":0},"offline":true"#,
    );
    line.succeeds("1", "TransactionEvent", &started);
    let view = transaction(&ledger::of(&[&line]));
    assert_eq!((view.evse, view.connector), (Some(0), Some(0)));
    assert!(view.offline);
}

#[test]
fn seen_10_every_answer_is_compact() {
    let mut line = connect(Version::V16);
    line.succeeds("1", "BootNotification", "{}");
    starts(&mut line);
    line.sends(r#"[2,"x","Teleport",{}]"#);
    for answer in &line.heard {
        let compact: serde_json::Value = serde_json::from_str(answer).expect("JSON");
        let blanks = |text: &str| text.matches(": ").count() + text.matches(", ").count();
        assert_eq!(blanks(answer), blanks(&compact.to_string()), "{answer}");
    }
}

#[test]
fn what_a_charger_is_told_is_what_is_on_record() {
    let mut line = connect(Version::V16);
    let id = starts(&mut line);
    let records = line.records();
    assert_eq!(records[0].kind, RecordKind::Call);
    assert_eq!(at(records[0].answer, "/transactionId"), id);
    assert_eq!(records[0].received_at, NOW);
    let view = transaction(&ledger::of(&[&line]));
    assert_eq!(view.transaction_id, id.to_string());
    assert_eq!(view.verdict.as_deref(), Some("Accepted"));
}
