//! Fleets over real sockets, with a central system that loses answers and closes connections.

use crate::support::{Handling, Server, until};
use simulator::audit::{Report, audit};
use simulator::ledger::Outcome;
use simulator::{Fleet, FleetConfig, FleetReport, ResendIds, Scenario, VersionMix};
use std::path::Path;
use std::time::Duration;

const DRAIN: Duration = Duration::from_secs(20);

/// Settings of chargers that are as fast as possible, with a ledger in `dir`.
fn fast(server: &Server, dir: &Path) -> FleetConfig {
    FleetConfig {
        url: server.url.clone(),
        chargers: 6,
        versions: "1.6,2.0.1,2.1".parse().unwrap(),
        scenario: Scenario::MeterFlood,
        messages_per_charger: Some(200),
        values_per_transaction: 30,
        speed_up: 200.0,
        ramp_per_s: 1000.0,
        attempts: 50,
        retry_interval_s: 1.0,
        answer_timeout_s: 0.2,
        ledger: Some(dir.join("ledger.ndjson")),
        seed: 7,
        ..FleetConfig::default()
    }
}

async fn run(config: FleetConfig) -> FleetReport {
    let fleet = Fleet::start(config).unwrap();
    tokio::time::timeout(Duration::from_secs(60), fleet.finished())
        .await
        .expect("the fleet finishes in time");
    fleet.stop(DRAIN).await
}

fn audit_of(server: &Server, dir: &Path) -> Report {
    let ledger = std::fs::read(dir.join("ledger.ndjson")).unwrap();
    audit(ledger.as_slice(), server.export().as_bytes(), None::<&[u8]>).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_of_a_fleet_agrees_with_the_records() {
    let server = Server::start(|_, _| Handling::Answered).await;
    let dir = tempfile::tempdir().unwrap();
    let report = run(fast(&server, dir.path())).await;
    assert!(report.drained, "{report}");
    let total = report.stats.total();
    assert_eq!(total.sent, total.acknowledged, "{report}");
    assert_eq!(
        (total.resent, total.discarded, total.unanswered),
        (0, 0, 0),
        "{report}"
    );
    assert_eq!(report.stats.actions["MeterValues"].acknowledged, 2 * 200);
    assert_eq!(report.stats.online, 0);
    assert_eq!(report.stats.queued, 0);
    assert_eq!(server.records().calls, total.sent);
    let audit_report = audit_of(&server, dir.path());
    assert!(audit_report.is_clean(), "{audit_report}");
    assert_eq!(audit_report.acknowledged, total.acknowledged);
    assert!(report.to_string().contains("all queues are empty"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_with_lost_answers_and_closed_sockets() {
    for resend_ids in [ResendIds::New, ResendIds::Same] {
        let server = Server::start(|n, _| match n {
            _ if n % 97 == 0 => Handling::AnswerLost,
            _ if n % 41 == 0 => Handling::AnswerLostAndClosed,
            _ if n % 53 == 0 => Handling::Lost,
            _ => Handling::Answered,
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let config = FleetConfig {
            resend_ids,
            ..fast(&server, dir.path())
        };
        let report = run(config).await;
        assert!(report.drained, "{report}");
        let total = report.stats.total();
        assert!(total.resent > 10, "{report}");
        assert_eq!(total.discarded, 0, "{report}");
        assert!(
            report.stats.failures.contains_key("connection lost"),
            "{report}"
        );
        let audit_report = audit_of(&server, dir.path());
        assert!(audit_report.is_clean(), "{audit_report}");
        assert!(audit_report.resent > 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_finds_acknowledged_messages_that_were_not_stored() {
    let server = Server::start(|n, action| match action {
        "MeterValues" if n % 100 == 0 => Handling::NotStored,
        _ => Handling::Answered,
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = FleetConfig {
        versions: VersionMix::only(ocpp::Version::V16),
        ..fast(&server, dir.path())
    };
    run(config).await;
    let audit_report = audit_of(&server, dir.path());
    assert!(audit_report.missing > 3, "{audit_report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_fleet_simulates_a_day_in_seconds() {
    let server = Server::start(|_, _| Handling::Answered).await;
    let dir = tempfile::tempdir().unwrap();
    let config = FleetConfig {
        scenario: Scenario::Steady,
        connectors: 2,
        speed_up: 20_000.0,
        duration_s: Some(3.0),
        messages_per_charger: None,
        ..fast(&server, dir.path())
    };
    let report = run(config).await;
    assert!(report.drained, "{report}");
    for action in [
        "Authorize",
        "StartTransaction",
        "StopTransaction",
        "TransactionEvent",
    ] {
        assert!(report.stats.actions[action].acknowledged > 20, "{report}");
    }
    let audit_report = audit_of(&server, dir.path());
    assert!(audit_report.is_clean(), "{audit_report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_counted_by_status_and_chargers_reconnect_later() {
    let server = Server::start(|_, _| Handling::Answered).await;
    let dir = tempfile::tempdir().unwrap();
    let config = FleetConfig {
        password: Some("secret".into()),
        ..fast(&server, dir.path())
    };
    for (status, kind) in [
        ("503 Service Unavailable\r\nRetry-After: 0", "HTTP 503"),
        ("404 Not Found", "HTTP 404"),
        ("401 Unauthorized", "HTTP 401"),
    ] {
        server.refuse(Some(status));
        let fleet = Fleet::start(config.clone()).unwrap();
        until("a refusal of each charger", || {
            fleet
                .stats()
                .failures
                .get(kind)
                .is_some_and(|count| *count >= 6)
        })
        .await;
        assert_eq!(fleet.stats().online, 0);
        server.refuse(None);
        until("all chargers online", || fleet.stats().online == 6).await;
        fleet.stop(DRAIN).await;
    }
    let records = server.records();
    let head = &records.handshakes[0];
    assert!(head.starts_with("GET /ocpp/SIM-0000"), "{head}");
    assert!(head.contains("Authorization: Basic U0lNLTAwMD"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_fleet_continues_from_its_queue_files() {
    let server = Server::start(|n, _| match n {
        _ if n % 31 == 0 => Handling::AnswerLostAndClosed,
        _ => Handling::Answered,
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = FleetConfig {
        messages_per_charger: None,
        queue_dir: Some(dir.path().join("queues")),
        ..fast(&server, dir.path())
    };
    for round in 1..=3 {
        let fleet = Fleet::start(config.clone()).unwrap();
        let calls = server.records().calls;
        until("200 calls", || server.records().calls > calls + 200).await;
        if round < 3 {
            // Sockets are dropped without a Close frame, and the queue files stay as they are.
            fleet.kill().await;
        } else {
            let report = fleet.stop(DRAIN).await;
            assert!(report.drained, "{report}");
        }
    }
    let audit_report = audit_of(&server, dir.path());
    assert!(audit_report.is_clean(), "{audit_report}");
    assert!(audit_report.acknowledged > 500);

    // A transaction that was running at the kill ends with reason PowerLoss after the restart.
    let ledger = std::fs::read_to_string(dir.path().join("ledger.ndjson")).unwrap();
    let starts = ledger
        .lines()
        .filter(|line| line.contains("PowerLoss"))
        .count();
    assert_eq!(starts, 0, "payloads are not in the ledger");
    let power_cuts = server.export().matches("PowerLoss").count();
    assert!(
        power_cuts > 3,
        "too few transactions ended by the power cut: {power_cuts}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_drain_writes_unanswered_messages_into_the_ledger() {
    let server = Server::start(|_, action| match action {
        "MeterValues" | "TransactionEvent" => Handling::AnswerLost,
        _ => Handling::Answered,
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = FleetConfig {
        answer_timeout_s: 60.0,
        ..fast(&server, dir.path())
    };
    let fleet = Fleet::start(config).unwrap();
    until("one unanswered message per charger", || {
        let stats = fleet.stats();
        let sent = |action| stats.actions.get(action).map_or(0, |counts| counts.sent);
        sent("MeterValues") == 2 && sent("TransactionEvent") == 4
    })
    .await;
    let report = fleet.stop(Duration::ZERO).await;
    assert!(!report.drained);
    assert_eq!(report.stats.total().unanswered, 6, "{report}");
    let ledger = std::fs::read_to_string(dir.path().join("ledger.ndjson")).unwrap();
    let unanswered = ledger
        .lines()
        .map(|line| serde_json::from_str::<simulator::ledger::LedgerEntry>(line).unwrap())
        .filter(|line| line.outcome == Outcome::Unanswered);
    assert_eq!(unanswered.count(), 6);
    assert!(audit_of(&server, dir.path()).is_clean());
}

#[tokio::test]
async fn a_fleet_with_an_invalid_setting_does_not_start() {
    for url in ["http://127.0.0.1:1", "ws://", "wss://127.0.0.1:1"] {
        let config = FleetConfig {
            url: url.into(),
            ..FleetConfig::default()
        };
        let error = Fleet::start(config).unwrap_err().to_string();
        assert!(error.contains("simulator.url"), "{error}");
    }
    let config = FleetConfig {
        ledger: Some("/nowhere/at/all".into()),
        ..FleetConfig::default()
    };
    assert!(
        Fleet::start(config)
            .unwrap_err()
            .to_string()
            .contains("/nowhere/at/all")
    );
}

/// Waits until every charger of `fleet` has opened at least `each` connections and is online.
async fn all_online(fleet: &Fleet, each: u64) {
    until("all chargers online", || {
        let stats = fleet.stats();
        stats.online == stats.chargers && stats.connections >= each * stats.chargers
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chargers_whose_network_breaks_try_the_next_url_and_come_back() {
    let first = Server::start(|_, _| Handling::Answered).await;
    let second = Server::start(|_, _| Handling::Answered).await;
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(FleetConfig {
        more_urls: vec![second.url.clone()],
        loopback_addresses: 3,
        scenario: Scenario::Idle,
        messages_per_charger: None,
        reconnect_s: 0.01,
        reconnect_jitter_s: 0.0,
        backoff_minimum_s: 0.01,
        backoff_range_s: 0.0,
        ..fast(&first, dir.path())
    })
    .unwrap();
    all_online(&fleet, 1).await;
    let handshakes = |server: &Server| server.records().handshakes.len();
    assert_eq!((handshakes(&first), handshakes(&second)), (3, 3));
    fleet.cut();
    all_online(&fleet, 2).await;
    assert_eq!((handshakes(&first), handshakes(&second)), (6, 6));
    assert_eq!(fleet.stats().failures["connection lost"], 6);
    // One that refuses is left for the other.
    second.refuse(Some("503 Service Unavailable"));
    fleet.cut();
    all_online(&fleet, 3).await;
    assert_eq!(fleet.stats().failures["HTTP 503"], 3);
    let report = fleet.stop(DRAIN).await;
    assert!(report.drained, "{report}");
}
