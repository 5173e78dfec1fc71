//! Commands over real sockets: each is answered, carried out and noted in the ledger, also with faults.

use crate::support::{Handling, Server, until};
use ocpp::Version;
use serde_json::{Value, json};
use simulator::audit::{Report, audit};
use simulator::ledger::{CommandEntry, CommandOutcome, LedgerLine};
use simulator::{Fleet, FleetConfig, Scenario};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const CHARGERS: u32 = 3;

/// Idle chargers of all versions, with a ledger in `dir`.
fn idle(server: &Server, dir: &Path, faults: &[&str]) -> FleetConfig {
    FleetConfig {
        url: server.url.clone(),
        chargers: CHARGERS,
        versions: "1.6,2.0.1,2.1".parse().unwrap(),
        scenario: Scenario::Idle,
        command_faults: faults.iter().map(|one| one.parse().unwrap()).collect(),
        speed_up: 50.0,
        ramp_per_s: 1000.0,
        ledger: Some(dir.join("ledger.ndjson")),
        seed: 7,
        ..FleetConfig::default()
    }
}

async fn start(server: &Server, config: FleetConfig) -> Fleet {
    let fleet = Fleet::start(config).unwrap();
    until("all chargers accepted", || {
        let records = server.records();
        let statuses = records
            .rows
            .iter()
            .filter(|row| row["action"] == "StatusNotification")
            .map(|row| row["charger_id"].to_string());
        statuses.collect::<std::collections::BTreeSet<_>>().len() == CHARGERS as usize
    })
    .await;
    fleet
}

fn read(dir: &Path) -> Vec<CommandEntry> {
    let text = std::fs::read_to_string(dir.join("ledger.ndjson")).unwrap();
    let lines = text.lines().map(|line| LedgerLine::parse(line).unwrap());
    lines
        .filter_map(|line| match line {
            LedgerLine::Command(entry) => Some(*entry),
            LedgerLine::Message(_) => None,
        })
        .collect()
}

fn audited(server: &Server, dir: &Path) -> Report {
    let ledger = std::fs::read(dir.join("ledger.ndjson")).unwrap();
    audit(ledger.as_slice(), server.export().as_bytes(), None::<&[u8]>).unwrap()
}

/// The charger of each version.
fn chargers() -> [(&'static str, Version); 3] {
    [
        ("SIM-00001", Version::V16),
        ("SIM-00002", Version::V201),
        ("SIM-00003", Version::V21),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_answered_carried_out_and_noted() {
    let server = Server::start(|_, _| Handling::Answered).await;
    let dir = tempfile::tempdir().unwrap();
    let fleet = start(&server, idle(&server, dir.path(), &[])).await;
    let mut sent = 0;
    for (charger, version) in chargers() {
        let actions = ocpp::action::all(version)
            .iter()
            .filter(|info| info.is_to_charger());
        for info in actions {
            let id = format!("{charger}-{}", info.name);
            // The empty payload is valid for some actions; the others get a CALLERROR.
            assert!(server.command(charger, &id, info.name, &json!({})));
            sent += 1;
        }
    }
    assert_eq!(sent, 26 + 40 + 55);
    let token = json!({"idToken": "A", "type": "ISO14443"});
    let start_16 = json!({"idTag": "A"});
    let start_2 = json!({"remoteStartId": 4, "idToken": token});
    assert!(server.command("SIM-00001", "s1", "RemoteStartTransaction", &start_16));
    assert!(server.command("SIM-00002", "s2", "RequestStartTransaction", &start_2));
    until("all answers", || {
        server.records().command_answers.len() == sent + 2
    })
    .await;
    until("both transactions", || {
        let records = server.records();
        let mut rows = records.rows.iter();
        let is_start = |row: &Value| row["action"] == "StartTransaction";
        let is_event = |row: &Value| row["payload"]["transactionInfo"]["remoteStartId"] == 4;
        rows.clone().any(is_start) && rows.any(is_event)
    })
    .await;
    let report = fleet.stop(Duration::from_secs(20)).await;
    assert_eq!(report.stats.calls_answered, sent as u64 + 2);
    let entries = read(dir.path());
    assert_eq!(entries.len(), sent + 2);
    assert!(entries.iter().all(|entry| entry.answered_at.is_some()));
    assert!(entries.iter().filter(|entry| entry.executed).count() > 10);
    let report = audited(&server, dir.path());
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.commands, sent as u64 + 2);
    assert_eq!(report.commands_answered, sent as u64 + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_and_a_lost_connection_are_noted_as_such() {
    let server = Server::start(|_, _| Handling::Answered).await;
    let dir = tempfile::tempdir().unwrap();
    let faults = [
        "delay@0.05",
        "drop=ClearCache",
        "silent=GetLocalListVersion",
        "reject=UnlockConnector",
    ];
    let fleet = start(&server, idle(&server, dir.path(), &faults)).await;
    for (charger, version) in chargers() {
        let unlock = match version {
            Version::V16 => json!({"connectorId": 1}),
            _ => json!({"evseId": 1, "connectorId": 1}),
        };
        let id = |name: &str| format!("{charger}-{name}");
        assert!(server.command(charger, &id("silent"), "GetLocalListVersion", &json!({})));
        assert!(server.command(charger, &id("reject"), "UnlockConnector", &unlock));
        let is_answered = |id: &str| {
            let records = server.records();
            records.command_answers.iter().any(|(_, one)| one == id)
        };
        until("the refusal", || is_answered(&id("reject"))).await;
        let connections = server.records().handshakes.len();
        assert!(server.command(charger, &id("drop"), "ClearCache", &json!({})));
        until("a new connection", || {
            server.records().handshakes.len() > connections
        })
        .await;
        // The charger has reported its state over the new connection when it answers there.
        until("an answer over the new connection", || {
            server.command(charger, &id("again"), "UnlockConnector", &unlock);
            is_answered(&id("again"))
        })
        .await;
    }
    fleet.stop(Duration::from_secs(20)).await;
    let mut by_id: BTreeMap<String, Vec<CommandEntry>> = BTreeMap::new();
    for entry in read(dir.path()) {
        by_id
            .entry(entry.message_id.clone())
            .or_default()
            .push(entry);
    }
    for (charger, _) in chargers() {
        let one = |name: &str| &by_id[&format!("{charger}-{name}")][0];
        let (silent, reject, drop) = (one("silent"), one("reject"), one("drop"));
        assert_eq!(silent.outcome, CommandOutcome::Unanswered);
        assert!(silent.executed);
        assert_eq!(reject.outcome, CommandOutcome::Result);
        assert!(!reject.executed);
        assert_eq!(drop.outcome, CommandOutcome::Unanswered);
        assert!(drop.executed && drop.answered_at.is_none());
        assert_eq!(drop.connection, 1);
        assert_eq!(one("again").connection, 2);
    }
    // This test sends some commands again under their ids, which the audit finds.
    let report = audited(&server, dir.path());
    let repeated = by_id.values().filter(|entries| entries.len() > 1).count();
    assert_eq!(report.repeated_commands, repeated as u64, "{report}");
    assert_eq!(
        (report.unrecorded_commands, report.false_answers),
        (0, 0),
        "{report}"
    );
}
