//! The behaviour of a charger in virtual time.

mod calls;
mod charging;
mod command_faults;
mod commands;
mod harness;
mod queue;
mod random_faults;

use super::*;
use crate::config::{FleetConfig, Scenario};
use harness::{Harness, Reaction, config};
use serde_json::json;
use std::time::Duration;

fn idle() -> FleetConfig {
    FleetConfig {
        scenario: Scenario::Idle,
        ..config()
    }
}

#[test]
fn an_idle_charger_sends_boot_status_and_then_only_heartbeats() {
    for version in Version::ALL {
        let mut harness = Harness::new(version, &idle());
        harness.run_for(3600.0);
        let actions = harness.actions();
        let statuses = if version == Version::V16 { 2 } else { 1 };
        assert_eq!(actions[0], "BootNotification");
        assert_eq!(actions.len(), 1 + statuses, "{actions:?}");
        let heartbeats = harness.of("Heartbeat").len();
        assert!(
            (11..=13).contains(&heartbeats),
            "{heartbeats} heartbeats in an hour of 300 s"
        );

        harness.disconnect();
        harness.run_for(60.0);
        assert_eq!(harness.connects.len(), 2);
        assert_eq!(harness.of("BootNotification").len(), 1, "rule B-1");
    }
}

#[test]
fn boot_on_reconnect_sends_a_boot_at_each_reconnect() {
    let config = FleetConfig {
        boot_on_reconnect: true,
        ..idle()
    };
    let mut harness = Harness::new(Version::V16, &config);
    harness.run_for(10.0);
    harness.disconnect();
    harness.run_for(60.0);
    assert_eq!(harness.of("BootNotification").len(), 2);
}

#[test]
fn pending_and_rejected_delay_all_messages_by_their_interval() {
    for status in ["Pending", "Rejected"] {
        let mut harness = Harness::new(Version::V16, &config());
        let at = harness.now;
        let answer = json!({"status": status, "currentTime": at.to_string(), "interval": 40});
        harness.react(move |_| Reaction::Answer(answer.clone()));
        harness.run_for(190.0);
        assert!(
            harness
                .actions()
                .iter()
                .all(|action| *action == "BootNotification")
        );
        let times: Vec<_> = harness
            .received
            .iter()
            .map(|received| received.at.since(at).as_secs())
            .collect();
        assert_eq!(times, [0, 40, 80, 120, 160]);
        harness.react(|_| Reaction::Normal);
        harness.run_for(60.0);
        assert!(harness.actions().contains(&"StatusNotification"));
    }
}

#[test]
fn a_boot_without_answer_is_repeated() {
    let mut harness = Harness::new(Version::V201, &idle());
    harness.react(|_| Reaction::Silence);
    harness.run_for(300.0);
    let boots = harness.of("BootNotification").len();
    assert!((3..=6).contains(&boots), "{boots}");
    assert_eq!(harness.received.len(), boots);
    harness.react(|_| Reaction::Error);
    harness.run_for(120.0);
    harness.react(|_| Reaction::Normal);
    harness.run_for(120.0);
    assert!(harness.actions().contains(&"StatusNotification"));
}

#[test]
fn back_off_depends_on_the_version() {
    let refused = |version| {
        let mut harness = Harness::new(version, &idle());
        harness.become_unreachable();
        harness.run_for(3600.0);
        let gaps: Vec<_> = harness
            .connects
            .windows(2)
            .map(|pair| pair[1].since(pair[0]).as_secs_f64())
            .collect();
        (harness, gaps)
    };
    let (_, gaps) = refused(Version::V16);
    assert!(
        gaps.iter().all(|gap| (5.0..=10.0).contains(gap)),
        "{gaps:?}"
    );
    let (mut harness, gaps) = refused(Version::V201);
    assert!(gaps[4] >= 80.0 && gaps[4] <= 240.0, "{gaps:?}");
    assert!(
        gaps[5..].iter().all(|gap| (gap - gaps[4]).abs() < 1e-3),
        "{gaps:?}"
    );
    harness.become_reachable();
    harness.run_for(300.0);
    assert!(!harness.received.is_empty());
}

#[test]
fn a_dead_connection_is_detected_by_a_missing_pong() {
    let mut harness = Harness::new(Version::V16, &idle());
    harness.run_for(10.0);
    harness.stop_responding();
    harness.run_for(200.0);
    assert!(
        harness.connects.len() > 1,
        "it closes the connection and reconnects"
    );
}

#[test]
fn unexpected_frames_are_counted_and_ignored() {
    let mut harness = Harness::new(Version::V16, &idle());
    harness.run_for(10.0);
    for text in [
        "",
        "[",
        "[3]",
        "[3,\"nobody\",{}]",
        "[9,\"x\",{}]",
        "{}",
        "[2,\"x\"]",
    ] {
        harness.charger.handle_text(text, harness.now);
        harness.drain();
    }
    harness.run_for(600.0);
    assert!(!harness.of("Heartbeat").is_empty());
    assert!(harness.counts.contains(&Count::Late) && harness.counts.contains(&Count::Unexpected));
}

#[test]
fn equal_seeds_give_equal_messages() {
    let payloads = |seed| {
        let config = FleetConfig { seed, ..config() };
        let mut harness = Harness::new(Version::V201, &config);
        harness.run_for(4.0 * 3600.0);
        let received = harness.received.into_iter();
        received
            .map(|one| one.payload.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(payloads(5), payloads(5));
    assert_ne!(payloads(5), payloads(6));
}

#[test]
fn speed_up_divides_heartbeat_and_reconnect_times() {
    let config = FleetConfig {
        speed_up: 60.0,
        ..idle()
    };
    let mut harness = Harness::new(Version::V16, &config);
    harness.run_for(60.0);
    let heartbeats = harness.of("Heartbeat").len();
    assert!((11..=13).contains(&heartbeats), "{heartbeats}");
    harness.disconnect();
    let lost_at = harness.now;
    harness.run_for(1.0);
    let wait = harness.connects[1].since(lost_at);
    assert!(wait <= Duration::from_millis(200), "{wait:?}");
}
