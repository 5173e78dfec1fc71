//! The offline queue and resends: rules.

use super::*;
use crate::config::ResendIds;
use crate::ledger::Outcome;

const DAY: f64 = 86_400.0;

fn busy() -> FleetConfig {
    FleetConfig {
        transactions_per_hour: 30.0,
        transaction_minutes: 5.0,
        ..config()
    }
}

/// Asserts that transaction messages were received in the order of their timestamps.
fn assert_in_order(harness: &Harness, version: Version) {
    let stamps: Vec<_> = harness
        .received
        .iter()
        .filter_map(|received| match received.action.as_str() {
            "MeterValues" => Some(&received.payload["meterValue"][0]["timestamp"]),
            "StartTransaction" | "StopTransaction" | "TransactionEvent" => {
                Some(&received.payload["timestamp"])
            }
            _ => None,
        })
        .map(|stamp| stamp.as_str().unwrap().to_owned())
        .collect();
    assert!(stamps.is_sorted(), "{version}");
}

#[test]
fn messages_queued_offline_are_sent_in_order() {
    for version in Version::ALL {
        let mut harness = Harness::new(version, &busy());
        harness.run_for(1200.0);
        harness.become_unreachable();
        let received = harness.received.len();
        harness.run_for(2.0 * 3600.0);
        assert_eq!(harness.received.len(), received);
        let queued = harness.charger.gauge().queued;
        assert!(queued > 50, "{queued}");
        harness.become_reachable();
        harness.run_for(600.0);
        assert!(harness.charger.gauge().queued <= 1);
        assert_in_order(&harness, version);
        assert_eq!(harness.of("BootNotification").len(), 1);
        for received in &harness.received[received..] {
            assert_ne!(received.payload["transactionId"], -1, "{version}");
            let stamp = received.payload["timestamp"].as_str().unwrap_or("");
            let is_old = stamp < harness.connects.last().unwrap().to_string().as_str();
            if received.action == "TransactionEvent" && is_old {
                assert_eq!(received.payload["offline"], true, "rule Q-4");
            }
        }
        assert!(
            !harness
                .counts
                .iter()
                .any(|count| matches!(count, Count::Discarded(_)))
        );
    }
}

#[test]
fn a_full_queue_still_accepts_each_stop() {
    let config = FleetConfig {
        queue_messages_max: 20,
        connectors: 3,
        ..busy()
    };
    let mut harness = Harness::new(Version::V16, &config);
    harness.run_for(1200.0);
    harness.become_unreachable();
    harness.run_for(DAY);
    let queued = harness.charger.gauge().queued;
    assert!((20..=23).contains(&queued), "{queued}");
    assert_eq!(harness.charger.gauge().charging, 0);
    harness.become_reachable();
    harness.run_for(1800.0);
    let starts = harness.of("StartTransaction").len();
    let stops = harness.of("StopTransaction").len();
    assert!(starts - stops <= 3);
}

/// A harness in which a transaction has started, and whose meter values get `reaction`.
fn with_reaction(config: &FleetConfig, reaction: fn() -> Reaction) -> Harness {
    let mut harness = Harness::new(Version::V16, config);
    while harness.of("StartTransaction").is_empty() {
        harness.run_for(1.0);
    }
    harness.react(move |received| match received.action.as_str() {
        "MeterValues" => reaction(),
        _ => Reaction::Normal,
    });
    harness
}

#[test]
fn an_unanswered_message_is_resent_after_increasing_delays_and_then_discarded() {
    let config = FleetConfig {
        meter_interval_s: 1000.0,
        transaction_minutes: 1000.0,
        attempts: 4,
        ..config()
    };
    for (reaction, timeout) in [
        ((|| Reaction::Silence) as fn() -> Reaction, 30.0),
        (|| Reaction::Error, 0.02),
    ] {
        let mut harness = with_reaction(&config, reaction);
        harness.run_for(990.0 + 10.0 + 4.0 * 30.0 + 60.0 * 6.0 + 10.0);
        let values = harness.of("MeterValues");
        assert_eq!(values.len(), 4);
        let gaps: Vec<f64> = values
            .windows(2)
            .map(|pair| pair[1].at.since(pair[0].at).as_secs_f64() - timeout)
            .collect();
        assert_eq!(
            gaps.iter().map(|gap| gap.round()).collect::<Vec<_>>(),
            [60.0, 120.0, 180.0]
        );
        assert!(
            values
                .windows(2)
                .all(|pair| pair[0].payload == pair[1].payload)
        );
        assert!(values.windows(2).all(|pair| pair[0].id != pair[1].id));
        let entry = harness
            .entries
            .iter()
            .find(|one| one.outcome == Outcome::Discarded)
            .unwrap();
        assert_eq!((entry.attempts, entry.message_ids.len()), (4, 4));
        let discarded = harness
            .counts
            .iter()
            .filter(|one| matches!(one, Count::Discarded(_)));
        assert_eq!(discarded.count(), 1);

        // The next message is sent as usual.
        harness.react(|_| Reaction::Normal);
        harness.run_for(1000.0);
        assert_eq!(harness.charger.gauge().queued, 0);
        assert!(harness.of("MeterValues").len() > 4);
    }
}

#[test]
fn a_resend_may_keep_its_id() {
    let config = FleetConfig {
        resend_ids: ResendIds::Same,
        ..config()
    };
    let mut harness = with_reaction(&config, || Reaction::Silence);
    harness.run_for(400.0);
    let values = harness.of("MeterValues");
    assert!(values.len() >= 2);
    assert_eq!(values[0].id, values[1].id);
}

#[test]
fn other_messages_are_sent_while_the_front_waits() {
    let config = FleetConfig {
        heartbeat_interval_s: Some(7.0),
        ..config()
    };
    let mut harness = with_reaction(&config, || Reaction::Error);
    harness.run_for(120.0);
    let first = harness.of("MeterValues")[0].at;
    let heartbeats = harness.of("Heartbeat");
    assert!(heartbeats.iter().any(|beat| beat.at > first));
}

#[test]
fn messages_after_a_discarded_start_have_the_id_minus_one() {
    let mut harness = Harness::new(Version::V16, &busy());
    harness.react(|received| match received.action.as_str() {
        "StartTransaction" => Reaction::Error,
        _ => Reaction::Normal,
    });
    harness.run_for(3600.0);
    let values = harness.of("MeterValues");
    assert!(!values.is_empty());
    assert!(
        values.iter().all(|one| one.payload["transactionId"] == -1),
        "rule Q-17"
    );
    let mut last = 0;
    for entry in harness.entries.iter().filter(|one| one.class == Class::T) {
        assert!(entry.n > last, "class T ends in order");
        last = entry.n;
    }
}

#[test]
fn a_stop_with_id_minus_one_still_has_its_session_in_the_ledger() {
    let config = FleetConfig {
        stops_without_id: true,
        ..busy()
    };
    let mut harness = Harness::new(Version::V16, &config);
    harness.run_for(3600.0);
    let stops = harness.of("StopTransaction");
    assert!(!stops.is_empty());
    assert!(stops.iter().all(|one| one.payload["transactionId"] == -1));
    let values = harness.of("MeterValues");
    assert!(values.iter().all(|one| one.payload["transactionId"] != -1));
    let sessions = |action| -> Vec<u64> {
        let of_action = harness.entries.iter().filter(|one| one.action == action);
        of_action.filter_map(|one| one.session).collect()
    };
    let stopped = sessions(Action::StopTransaction);
    assert_eq!(stopped, sessions(Action::StartTransaction)[..stopped.len()]);
}

#[test]
fn a_lost_connection_is_a_failed_attempt_only_if_so_configured() {
    for (count_lost_connections, discarded) in [(false, 0), (true, 1)] {
        let config = FleetConfig {
            count_lost_connections,
            meter_interval_s: 1000.0,
            transaction_minutes: 1000.0,
            ..config()
        };
        let mut harness = with_reaction(&config, || Reaction::Close);
        harness.run_for(1700.0);
        let transmissions = harness.of("MeterValues").len();
        if count_lost_connections {
            assert_eq!(transmissions, 3);
        } else {
            assert!(transmissions > 10, "{transmissions}");
        }
        let count = harness
            .counts
            .iter()
            .filter(|one| matches!(one, Count::Discarded(_)))
            .count();
        assert_eq!(count, discarded);
    }
}

#[test]
fn a_status_may_be_sent_before_older_messages() {
    for status_first in [true, false] {
        let config = FleetConfig {
            status_first,
            ..busy()
        };
        let mut harness = Harness::new(Version::V16, &config);
        harness.run_for(30.0);
        harness.become_unreachable();
        let received = harness.received.len();
        harness.run_for(3600.0);
        harness.become_reachable();
        harness.run_for(60.0);
        let received = &harness.received[received..];
        assert_eq!(received[0].action == "StatusNotification", status_first);
        let transactions = received
            .iter()
            .filter(|one| one.action == "StartTransaction");
        assert!(transactions.count() > 3);
    }
}

#[test]
fn a_killed_charger_continues_with_its_queue() {
    for version in Version::ALL {
        for seed in 1..20 {
            let config = FleetConfig { seed, ..busy() };
            let mut harness = Harness::new(version, &config);
            harness.run_for(100.0 * seed as f64);
            harness.become_unreachable();
            harness.run_for(1500.0);
            let saved = harness.saved();
            assert_eq!(saved.queue.len() as u64, harness.charger.gauge().queued);
            let before = saved.state.last_n;

            let mut again = Harness::resumed(version, &config, saved.clone(), harness.now);
            again.run_for(120.0);
            assert_eq!(again.actions()[0], "BootNotification");
            assert_in_order(&again, version);
            let acknowledged: Vec<_> = again.entries.iter().map(|one| one.n).collect();
            assert!(saved.queue.iter().all(|one| acknowledged.contains(&one.n)));
            assert!(
                acknowledged
                    .iter()
                    .all(|n| *n > before || saved.queue.iter().any(|one| one.n == *n))
            );
            let open = saved.state.connectors[0].transaction.is_some();
            let cut = again
                .received
                .iter()
                .any(|one| one.payload.to_string().contains("PowerLoss"));
            assert_eq!(open, cut, "a running transaction ends by the power cut");
        }
    }
}

#[test]
fn a_message_transmitted_before_a_kill_is_resent_unchanged() {
    for version in Version::ALL {
        let mut harness = Harness::new(version, &busy());
        harness.run_for(900.0);
        harness.react(|received| match received.action.as_str() {
            "BootNotification" | "Authorize" | "StatusNotification" | "Heartbeat" => {
                Reaction::Normal
            }
            _ => Reaction::Silence,
        });
        let received = harness.received.len();
        while harness.charger.gauge().queued < 3 {
            harness.run_for(1.0);
        }
        let is_t = |one: &&harness::ReceivedCall| {
            matches!(
                one.action.as_str(),
                "MeterValues" | "StartTransaction" | "StopTransaction" | "TransactionEvent"
            )
        };
        let sent = harness.received[received..]
            .iter()
            .find(is_t)
            .unwrap()
            .clone();
        let mut again = Harness::resumed(version, &busy(), harness.saved(), harness.now);
        again.run_for(10.0);
        let resent = again.received.iter().find(is_t).unwrap();
        assert_eq!(resent.payload, sent.payload);
        assert_ne!(resent.id, sent.id);
        let entry = again
            .entries
            .iter()
            .find(|one| one.message_ids.contains(&resent.id))
            .unwrap();
        assert!(
            entry.message_ids.contains(&sent.id),
            "the ledger has both ids"
        );
    }
}
