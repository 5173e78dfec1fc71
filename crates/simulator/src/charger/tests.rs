//! What a charger does, told in virtual time.

mod calls;
mod charging;
mod harness;
mod queue;
mod random_faults;

use super::*;
use crate::config::{FleetConfig, Scenario};
use harness::{Reaction, World, config};
use serde_json::json;
use std::time::Duration;

fn idle() -> FleetConfig {
    FleetConfig {
        scenario: Scenario::Idle,
        ..config()
    }
}

#[test]
fn a_charger_boots_once_tells_its_status_and_then_only_beats() {
    for version in Version::ALL {
        let mut world = World::new(version, &idle());
        world.run_for(3600.0);
        let actions = world.actions();
        let statuses = if version == Version::V16 { 2 } else { 1 };
        assert_eq!(actions[0], "BootNotification");
        assert_eq!(actions.len(), 1 + statuses, "{actions:?}");
        let beats = world.of("Heartbeat").len();
        assert!(
            (11..=13).contains(&beats),
            "{beats} heartbeats in an hour of 300 s"
        );

        world.drop_line();
        world.run_for(60.0);
        assert_eq!(world.connects.len(), 2);
        assert_eq!(world.of("BootNotification").len(), 1, "rule B-1");
    }
}

#[test]
fn some_chargers_boot_at_each_reconnect() {
    let config = FleetConfig {
        boot_on_reconnect: true,
        ..idle()
    };
    let mut world = World::new(Version::V16, &config);
    world.run_for(10.0);
    world.drop_line();
    world.run_for(60.0);
    assert_eq!(world.of("BootNotification").len(), 2);
}

#[test]
fn pending_and_rejected_hold_everything_back_for_their_interval() {
    for status in ["Pending", "Rejected"] {
        let mut world = World::new(Version::V16, &config());
        let at = world.now;
        let answer = json!({"status": status, "currentTime": at.to_string(), "interval": 40});
        world.react(move |_| Reaction::Answer(answer.clone()));
        world.run_for(190.0);
        assert!(
            world
                .actions()
                .iter()
                .all(|action| *action == "BootNotification")
        );
        let times: Vec<_> = world
            .heard
            .iter()
            .map(|heard| heard.at.since(at).as_secs())
            .collect();
        assert_eq!(times, [0, 40, 80, 120, 160]);
        world.react(|_| Reaction::Usual);
        world.run_for(60.0);
        assert!(world.actions().contains(&"StatusNotification"));
    }
}

#[test]
fn a_boot_without_answer_is_tried_again() {
    let mut world = World::new(Version::V201, &idle());
    world.react(|_| Reaction::Silence);
    world.run_for(300.0);
    let boots = world.of("BootNotification").len();
    assert!((3..=6).contains(&boots), "{boots}");
    assert_eq!(world.heard.len(), boots);
    world.react(|_| Reaction::Error);
    world.run_for(120.0);
    world.react(|_| Reaction::Usual);
    world.run_for(120.0);
    assert!(world.actions().contains(&"StatusNotification"));
}

#[test]
fn a_refused_charger_backs_off_as_its_version_says() {
    let refused = |version| {
        let mut world = World::new(version, &idle());
        world.go_away();
        world.run_for(3600.0);
        let gaps: Vec<_> = world
            .connects
            .windows(2)
            .map(|pair| pair[1].since(pair[0]).as_secs_f64())
            .collect();
        (world, gaps)
    };
    let (_, gaps) = refused(Version::V16);
    assert!(
        gaps.iter().all(|gap| (5.0..=10.0).contains(gap)),
        "{gaps:?}"
    );
    let (mut world, gaps) = refused(Version::V201);
    assert!(gaps[4] >= 80.0 && gaps[4] <= 240.0, "{gaps:?}");
    assert!(
        gaps[5..].iter().all(|gap| (gap - gaps[4]).abs() < 1e-3),
        "{gaps:?}"
    );
    world.come_back();
    world.run_for(300.0);
    assert!(!world.heard.is_empty());
}

#[test]
fn a_dead_line_is_noticed_by_its_missing_pong() {
    let mut world = World::new(Version::V16, &idle());
    world.run_for(10.0);
    world.fall_silent();
    world.run_for(200.0);
    assert!(world.connects.len() > 1, "it hangs up and dials again");
}

#[test]
fn nonsense_harms_nobody() {
    let mut world = World::new(Version::V16, &idle());
    world.run_for(10.0);
    for text in [
        "",
        "[",
        "[3]",
        "[3,\"nobody\",{}]",
        "[9,\"x\",{}]",
        "{}",
        "[2,\"x\"]",
    ] {
        world.charger.handle_text(text, world.now);
        world.drain();
    }
    world.run_for(600.0);
    assert!(!world.of("Heartbeat").is_empty());
    assert!(world.counts.contains(&Count::Late) && world.counts.contains(&Count::Nonsense));
}

#[test]
fn equal_seeds_give_equal_lives() {
    let life = |seed| {
        let config = FleetConfig { seed, ..config() };
        let mut world = World::new(Version::V201, &config);
        world.run_for(4.0 * 3600.0);
        let heard = world.heard.into_iter();
        heard.map(|one| one.payload.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(life(5), life(5));
    assert_ne!(life(5), life(6));
}

#[test]
fn a_settings_change_by_speed_up_reaches_every_wait() {
    let config = FleetConfig {
        speed_up: 60.0,
        ..idle()
    };
    let mut world = World::new(Version::V16, &config);
    world.run_for(60.0);
    let beats = world.of("Heartbeat").len();
    assert!((11..=13).contains(&beats), "{beats}");
    world.drop_line();
    let lost_at = world.now;
    world.run_for(1.0);
    let wait = world.connects[1].since(lost_at);
    assert!(wait <= Duration::from_millis(200), "{wait:?}");
}
