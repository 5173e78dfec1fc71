//! Random missing answers, errors, lost connections, refusals, calls and power cuts. Afterwards every transaction message
//! has ended exactly once, in order.

use super::*;
use crate::config::ResendIds;
use crate::ledger::Outcome;
use fastrand::Rng;
use std::collections::BTreeMap;

fn reaction(rng: &mut Rng) -> Reaction {
    match rng.u8(..100) {
        0..10 => Reaction::Silence,
        10..20 => Reaction::Error,
        20..28 => Reaction::Close,
        _ => Reaction::Normal,
    }
}

fn random_fault(harness: &mut Harness, rng: &mut Rng) {
    match rng.u8(..10) {
        0 => harness.disconnect(),
        1 => harness.become_unreachable(),
        2..5 => harness.become_reachable(),
        5 if harness.is_connected() => drop(harness.call("Reset", json!({"type": "Soft"}))),
        6 if harness.is_connected() => {
            let start = json!({"idTag": "A", "idToken": {"idToken": "A"}, "remoteStartId": 1});
            let action = match harness.version {
                Version::V16 => "RemoteStartTransaction",
                _ => "RequestStartTransaction",
            };
            harness.call(action, start);
        }
        7 if harness.is_connected() => {
            let ask = json!({"requestedMessage": "StatusNotification"});
            harness.call("TriggerMessage", ask);
        }
        _ => {}
    }
}

#[test]
fn every_transaction_message_ends_once_and_in_order_after_random_faults() {
    for seed in 1..=60 {
        let mut rng = Rng::with_seed(seed);
        let version = Version::ALL[seed as usize % 3];
        let config = FleetConfig {
            seed,
            connectors: rng.u8(1..4),
            scenario: [Scenario::Steady, Scenario::MeterFlood][rng.usize(..2)],
            rate_per_charger: Some(0.1),
            values_per_transaction: 20,
            transactions_per_hour: 20.0,
            transaction_minutes: 10.0,
            queue_messages_max: rng.usize(10..200),
            attempts: rng.u32(1..5),
            resend_ids: [ResendIds::New, ResendIds::Same][rng.usize(..2)],
            count_lost_connections: rng.bool(),
            status_first: rng.bool(),
            boot_on_reconnect: rng.bool(),
            ..config()
        };
        let mut harness = Harness::new(version, &config);
        let mut reaction_rng = rng.fork();
        harness.react(move |_| reaction(&mut reaction_rng));
        for _ in 0..60 {
            harness.run_for(rng.f64() * 300.0);
            random_fault(&mut harness, &mut rng);
        }
        if rng.bool() {
            // A power cut.
            let earlier = std::mem::take(&mut harness.entries);
            harness = Harness::resumed(version, &config, harness.saved(), harness.now);
            harness.entries = earlier;
        }
        harness.become_reachable();
        harness.react(|_| Reaction::Normal);
        harness.run_for(2000.0);
        harness.charger.handle_drain(harness.now);
        harness.run_for(600.0);
        assert!(harness.charger.is_drained(), "seed {seed}");
        harness.charger.handle_stop(harness.now);
        harness.drain();
        assert_ended_once_in_order(&harness, seed);
    }
}

fn assert_ended_once_in_order(harness: &Harness, seed: u64) {
    let mut last = 0;
    let mut by_transaction: BTreeMap<String, u64> = BTreeMap::new();
    for entry in harness.entries.iter().filter(|one| one.class == Class::T) {
        assert!(entry.n > last, "seed {seed}: n={} after {last}", entry.n);
        last = entry.n;
        assert!(matches!(
            entry.outcome,
            Outcome::Acknowledged | Outcome::Discarded
        ));
        assert!(entry.attempts >= 1 && !entry.message_ids.is_empty());
        // 2.x: seqNo has no gaps, also where messages were discarded.
        let payload: serde_json::Value = serde_json::from_str(&entry.payload).unwrap();
        if let Some(id) = payload["transactionInfo"]["transactionId"].as_str() {
            let next = by_transaction.entry(id.to_owned()).or_default();
            assert_eq!(payload["seqNo"], *next, "seed {seed}");
            *next += 1;
        }
    }
    assert!(last > 20, "seed {seed}: too few messages");
}
