//! Charging: vehicles arrive, charge and leave.

use super::*;
use serde_json::Value;
use std::collections::BTreeMap;

const DAY: f64 = 86_400.0;

#[test]
fn a_day_of_charging_in_16_is_complete_and_in_order() {
    let mut harness = Harness::new(Version::V16, &config());
    harness.run_for(DAY);
    let starts = harness.of("StartTransaction").len();
    assert!(starts > 10, "{starts}");
    let mut open: Option<(i64, i64)> = None;
    let mut ended = 0;
    for received in &harness.received {
        let payload = &received.payload;
        match received.action.as_str() {
            "StartTransaction" => {
                assert!(open.is_none());
                let answer = harness::normal_answer(Version::V16, received);
                let id = answer["transactionId"].as_i64().unwrap();
                open = Some((id, payload["meterStart"].as_i64().unwrap()));
            }
            "MeterValues" => {
                let (id, meter) = open.unwrap();
                assert_eq!(payload["transactionId"], id);
                let value = &payload["meterValue"][0]["sampledValue"][0]["value"];
                let register: i64 = value.as_str().unwrap().parse().unwrap();
                assert!(register > meter, "the meter does not increase");
                open = Some((id, register));
            }
            "StopTransaction" => {
                let (id, meter) = open.take().unwrap();
                assert_eq!(payload["transactionId"], id);
                assert!(payload["meterStop"].as_i64().unwrap() > meter);
                ended += 1;
            }
            _ => {}
        }
    }
    assert!(starts - ended <= 1);
    assert!(harness.of("MeterValues").len() > starts * 5);
    let statuses: Vec<_> = harness.of("StatusNotification");
    for status in ["Available", "Preparing", "Charging", "Finishing"] {
        assert!(
            statuses.iter().any(|one| one.payload["status"] == status),
            "{status}"
        );
    }
}

#[test]
fn a_day_of_charging_in_2x_numbers_its_events() {
    for version in [Version::V201, Version::V21] {
        let config = FleetConfig {
            connectors: 3,
            ..config()
        };
        let mut harness = Harness::new(version, &config);
        harness.run_for(DAY);
        let mut transactions: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for received in harness.of("TransactionEvent") {
            let id = received.payload["transactionInfo"]["transactionId"]
                .as_str()
                .unwrap();
            assert_eq!(id.len(), 36);
            transactions
                .entry(id.to_owned())
                .or_default()
                .push(&received.payload);
            assert!(received.payload.get("offline").is_none());
        }
        assert!(transactions.len() > 30, "{}", transactions.len());
        for events in transactions.values() {
            let numbers: Vec<_> = events
                .iter()
                .map(|one| one["seqNo"].as_u64().unwrap())
                .collect();
            assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
            assert_eq!(events[0]["eventType"], "Started");
        }
        let ended = harness.of("TransactionEvent");
        let ended = ended
            .iter()
            .filter(|one| one.payload["eventType"] == "Ended")
            .count();
        assert!(transactions.len() - ended <= 3);
    }
}

#[test]
fn energy_follows_the_simulated_time() {
    // Twenty simulated minutes, which take twenty seconds, give kilowatt-hours.
    let config = FleetConfig {
        speed_up: 60.0,
        ..config()
    };
    let mut harness = Harness::new(Version::V16, &config);
    harness.run_for(DAY / 60.0);
    harness.charger.handle_drain(harness.now);
    harness.run_for(1.0);
    let started: i64 = sum(&harness, "StartTransaction", "meterStart");
    let ended: i64 = sum(&harness, "StopTransaction", "meterStop");
    let count = harness.of("StopTransaction").len() as i64;
    assert_eq!(harness.of("StartTransaction").len() as i64, count);
    let mean_wh = (ended - started) / count;
    assert!((1_000..20_000).contains(&mean_wh), "{mean_wh} Wh");
}

fn sum(harness: &Harness, action: &str, member: &str) -> i64 {
    let all = harness.of(action);
    all.iter()
        .map(|one| one.payload[member].as_i64().unwrap())
        .sum()
}

#[test]
fn a_refused_token_does_not_charge() {
    let mut harness = Harness::new(Version::V16, &config());
    harness.react(|received| match received.action.as_str() {
        "Authorize" => Reaction::Answer(json!({"idTagInfo": {"status": "Blocked"}})),
        _ => Reaction::Normal,
    });
    harness.run_for(DAY);
    assert!(!harness.of("Authorize").is_empty());
    assert!(harness.of("StartTransaction").is_empty());
}

#[test]
fn a_token_refused_at_the_start_ends_the_transaction() {
    for version in Version::ALL {
        let mut harness = Harness::new(version, &config());
        harness.react(|received| match received.action.as_str() {
            "StartTransaction" => {
                Reaction::Answer(json!({"transactionId": 5, "idTagInfo": {"status": "Invalid"}}))
            }
            "TransactionEvent" if received.payload["eventType"] == "Started" => {
                Reaction::Answer(json!({"idTokenInfo": {"status": "Invalid"}}))
            }
            _ => Reaction::Normal,
        });
        harness.run_for(DAY / 4.0);
        let (last, reason) = match version {
            Version::V16 => (harness.of("StopTransaction"), "reason"),
            _ => (harness.of("TransactionEvent"), "stoppedReason"),
        };
        let payload = &last.last().unwrap().payload;
        let members = if version == Version::V16 {
            payload
        } else {
            &payload["transactionInfo"]
        };
        assert_eq!(members[reason], "DeAuthorized");
    }
}

#[test]
fn meter_flood_is_a_closed_loop() {
    for version in Version::ALL {
        let config = FleetConfig {
            scenario: Scenario::MeterFlood,
            messages_per_charger: Some(250),
            values_per_transaction: 100,
            ..config()
        };
        let mut harness = Harness::new(version, &config);
        harness.run_for(60.0);
        let started = |one: &&harness::ReceivedCall| match version {
            Version::V16 => one.action == "StartTransaction",
            _ => one.payload["eventType"] == "Started",
        };
        let values = |one: &&harness::ReceivedCall| match version {
            Version::V16 => one.action == "MeterValues",
            _ => one.payload["eventType"] == "Updated",
        };
        assert_eq!(harness.received.iter().filter(started).count(), 3);
        assert_eq!(harness.received.iter().filter(values).count(), 250);
        assert_eq!(harness.charger.gauge().finished, 1);
        assert_eq!(harness.charger.gauge().charging, 0);
        // 250 meter values and six other messages with 20 ms each.
        let last = harness.received.iter().rfind(values).unwrap();
        assert!(last.at.since(harness.received[0].at) < Duration::from_secs(7));
        let mut texts: Vec<_> = harness
            .received
            .iter()
            .map(|one| one.payload.to_string())
            .collect();
        texts.sort();
        texts.dedup();
        let heartbeats = harness.of("Heartbeat").len();
        assert_eq!(
            texts.len(),
            harness.received.len() - heartbeats.saturating_sub(1),
            "all payloads differ"
        );
    }
}

#[test]
fn meter_flood_keeps_its_rate() {
    let config = FleetConfig {
        scenario: Scenario::MeterFlood,
        rate_per_charger: Some(2.0),
        ..config()
    };
    let mut harness = Harness::new(Version::V16, &config);
    harness.run_for(100.0);
    let values = harness.of("MeterValues").len();
    assert!((190..=200).contains(&values), "{values}");
}

#[test]
fn finishing_ends_transactions_and_drains() {
    for version in Version::ALL {
        let config = FleetConfig {
            connectors: 4,
            transactions_per_hour: 60.0,
            ..config()
        };
        let mut harness = Harness::new(version, &config);
        harness.run_for(1800.0);
        assert!(harness.charger.gauge().charging > 0);
        harness.charger.handle_drain(harness.now);
        harness.run_for(10.0);
        assert!(harness.charger.is_drained());
        assert_eq!(harness.charger.gauge().charging, 0);
        let received = harness.received.len();
        harness.run_for(3600.0);
        assert_eq!(
            harness.received.len(),
            received,
            "no message is sent after that"
        );
        harness.charger.handle_stop(harness.now);
        harness.drain();
        assert!(
            harness
                .entries
                .iter()
                .all(|one| one.outcome == crate::ledger::Outcome::Acknowledged)
        );
        let mut numbers: Vec<_> = harness.entries.iter().map(|one| one.n).collect();
        numbers.sort_unstable();
        assert_eq!(
            numbers,
            (1..=received as u64).collect::<Vec<_>>(),
            "each message has one entry"
        );
    }
}
