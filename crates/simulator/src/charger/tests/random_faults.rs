//! Hundreds of bad days: silence, errors, dropped lines, refusals, commands and power cuts, thrown
//! by dice. Whatever happens, afterwards every transaction message has ended exactly once, in order.

use super::*;
use crate::config::ResendIds;
use crate::ledger::Outcome;
use fastrand::Rng;
use std::collections::BTreeMap;

fn reaction(dice: &mut Rng) -> Reaction {
    match dice.u8(..100) {
        0..10 => Reaction::Silence,
        10..20 => Reaction::Error,
        20..28 => Reaction::Close,
        _ => Reaction::Usual,
    }
}

fn mischief(world: &mut World, dice: &mut Rng) {
    match dice.u8(..10) {
        0 => world.drop_line(),
        1 => world.go_away(),
        2..5 => world.come_back(),
        5 if world.is_connected() => drop(world.call("Reset", json!({"type": "Soft"}))),
        6 if world.is_connected() => {
            let start = json!({"idTag": "A", "idToken": {"idToken": "A"}, "remoteStartId": 1});
            let action = match world.version {
                Version::V16 => "RemoteStartTransaction",
                _ => "RequestStartTransaction",
            };
            world.call(action, start);
        }
        7 if world.is_connected() => {
            let ask = json!({"requestedMessage": "StatusNotification"});
            world.call("TriggerMessage", ask);
        }
        _ => {}
    }
}

#[test]
fn after_any_storm_every_message_has_ended_once_and_in_order() {
    for seed in 1..=60 {
        let mut dice = Rng::with_seed(seed);
        let version = Version::ALL[seed as usize % 3];
        let config = FleetConfig {
            seed,
            connectors: dice.u8(1..4),
            scenario: [Scenario::Steady, Scenario::MeterFlood][dice.usize(..2)],
            rate_per_charger: Some(0.1),
            values_per_transaction: 20,
            transactions_per_hour: 20.0,
            transaction_minutes: 10.0,
            queue_messages_max: dice.usize(10..200),
            attempts: dice.u32(1..5),
            resend_ids: [ResendIds::New, ResendIds::Same][dice.usize(..2)],
            lost_line_counts: dice.bool(),
            status_overtakes: dice.bool(),
            boot_on_reconnect: dice.bool(),
            ..config()
        };
        let mut world = World::new(version, &config);
        let mut weather = dice.fork();
        world.react(move |_| reaction(&mut weather));
        for _ in 0..60 {
            world.run_for(dice.f64() * 300.0);
            mischief(&mut world, &mut dice);
        }
        if dice.bool() {
            // The power is cut, and comes back.
            let earlier = std::mem::take(&mut world.entries);
            world = World::resumed(version, &config, world.saved(), world.now);
            world.entries = earlier;
        }
        world.come_back();
        world.react(|_| Reaction::Usual);
        world.run_for(2000.0);
        world.charger.handle_finish(world.now);
        world.run_for(600.0);
        assert!(world.charger.is_drained(), "seed {seed}");
        world.charger.handle_stop(world.now);
        world.drain();
        assert_ended_once_in_order(&world, seed);
    }
}

fn assert_ended_once_in_order(world: &World, seed: u64) {
    let mut last = 0;
    let mut by_transaction: BTreeMap<String, u64> = BTreeMap::new();
    for entry in world.entries.iter().filter(|one| one.class == Class::T) {
        assert!(entry.n > last, "seed {seed}: n={} after {last}", entry.n);
        last = entry.n;
        assert!(matches!(
            entry.outcome,
            Outcome::Acknowledged | Outcome::Discarded
        ));
        assert!(entry.attempts >= 1 && !entry.message_ids.is_empty());
        // 2.x: no number is left out, whatever was given up.
        let payload: serde_json::Value = serde_json::from_str(&entry.payload).unwrap();
        if let Some(id) = payload["transactionInfo"]["transactionId"].as_str() {
            let next = by_transaction.entry(id.to_owned()).or_default();
            assert_eq!(payload["seqNo"], *next, "seed {seed}");
            *next += 1;
        }
    }
    assert!(last > 20, "seed {seed}: little happened");
}
