//! Effects of commands over HTTP.

use crate::support::*;
use api::{Api, ApiDeps};
use central::model::{ChargerKey, Claim, Command, CommandId};
use central::ports::{CommandQueue, Commands, Created, NewCommand, Store};
use central::project::Changes;
use central::record::Notes;
use central::{AnswerKind, Epoch, GatewayId, Record, RecordId, RecordKind, Seq, Timestamp};
use ocpp::Version;
use std::sync::Arc;
use uuid::Uuid;

fn record_id(seq: u64) -> RecordId {
    RecordId {
        gateway: GatewayId(Uuid::from_u128(0xfeed)),
        seq: Seq(seq),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(START + seconds * 1_000)
}

/// Requests and claims a command; returns its id.
fn claimed(store: &MemoryStore, action: &str, payload: &str, created_at: Timestamp) -> CommandId {
    let id = CommandId(common::id::new_v7());
    let new = NewCommand {
        command: Command {
            id,
            charger_id: "CP-1".to_owned(),
            action: action.to_owned(),
            payload: payload.to_owned(),
            answer_within_ms: 30_000,
            send_before: created_at.plus_millis(60_000),
            skips_check: false,
        },
        created_at,
        requested_by: "ops".to_owned(),
        waits_when_offline: true,
        not_sent: None,
        idempotency: None,
        audit: None,
        traceparent: None,
    };
    assert!(matches!(store.create(&new), Ok(Created::New(_))));
    let claim = Claim {
        gateway: record_id(0).gateway,
        started: Epoch(1),
        next_seq: Seq(1),
        at: created_at,
    };
    let taken = store.claim(claim, &[ChargerKey::of("CP-1")]);
    assert_eq!(taken.map(|taken| taken.len()), Ok(1));
    id
}

fn apply(store: &MemoryStore, seq: u64, received_at: Timestamp, change: impl Fn(&mut Record<'_>)) {
    let mut record = Record {
        kind: RecordKind::Call,
        charger_id: "CP-1",
        ocpp_version: Version::V201,
        message_id: "m",
        action: "",
        payload: "{}",
        answer_kind: AnswerKind::Result,
        answer: "{}",
        received_at,
        epoch: Epoch(1),
        notes: Notes::default(),
        reason: "",
    };
    change(&mut record);
    let mut changes = Changes::default();
    changes.absorb(record_id(seq), &record);
    let applied = store.apply(&[(record_id(seq), record)], &changes, &[]);
    applied.expect("it is stored");
}

async fn start_over(rows: MemoryRows, commands: &Arc<MemoryStore>) -> Api {
    let rows = Arc::new(rows);
    let deps = ApiDeps {
        commands: Some(Arc::clone(commands) as _),
        ..deps(&rows)
    };
    Api::start(config(), deps).await.expect("it starts")
}

const PAGE_0: &str = r#"{"requestId":5,"seqNo":0,"tbc":true,"reportData":[]}"#;
const PAGE_1: &str = r#"{"requestId":5,"seqNo":1,"tbc":false,"reportData":[]}"#;

#[tokio::test]
async fn the_pages_of_a_report_are_listed() {
    let commands = Arc::new(MemoryStore::default());
    let id = claimed(&commands, "GetReport", r#"{"requestId":5}"#, at(0));
    let mut rows = MemoryRows::default();
    let other = r#"{"requestId":6,"seqNo":0}"#;
    for (seq, payload) in [(2, PAGE_0), (3, other), (4, PAGE_1)] {
        apply(&commands, seq, at(seq.cast_signed()), |record| {
            record.action = "NotifyReport";
            record.payload = payload;
        });
        let mut row = message("CP-1", seq, "NotifyReport");
        payload.clone_into(&mut row.payload);
        rows.messages.push(row);
    }
    let api = start_over(rows, &commands).await;
    let addr = api.local_addr();
    let address = format!("/api/v1/commands/{id}/report");
    let list = get(addr, &address).await.json();
    let payloads: Vec<_> = list["items"].as_array().expect("a list").to_vec();
    assert_eq!(payloads.len(), 2, "{list}");
    assert_eq!(payloads[1]["payload"]["seqNo"], 1);
    let lines = get_with(
        addr,
        &format!("{address}?fields=payload"),
        &["Accept: application/x-ndjson"],
    )
    .await;
    assert_eq!(
        lines.body,
        format!("{{\"payload\":{PAGE_0}}}\n{{\"payload\":{PAGE_1}}}\n")
    );
    // Of a report without pages there is an empty list, of another command there is none.
    let empty = claimed(&commands, "GetReport", r#"{"requestId":7}"#, at(0));
    let empty = get(addr, &format!("/api/v1/commands/{empty}/report")).await;
    assert_eq!(empty.json()["items"], serde_json::json!([]));
    let reset = claimed(&commands, "Reset", r#"{"type":"Immediate"}"#, at(0));
    let none = get(addr, &format!("/api/v1/commands/{reset}/report")).await;
    assert_eq!((none.status, none.error().0.as_str()), (404, "no_report"));
}

#[tokio::test]
async fn a_request_waits_for_the_effect() {
    let commands = Arc::new(MemoryStore::default());
    let now = Timestamp(common::clock::now_ms());
    let trigger = r#"{"requestedMessage":"Heartbeat"}"#;
    let id = claimed(&commands, "TriggerMessage", trigger, now);
    let message_id = id.to_string();
    for (seq, kind, payload) in [
        (1, RecordKind::CallToCharger, trigger),
        (2, RecordKind::CallResult, r#"{"status":"Accepted"}"#),
    ] {
        let mut changes = Changes::default();
        let record = Record {
            kind,
            charger_id: "CP-1",
            ocpp_version: Version::V201,
            message_id: &message_id,
            action: "TriggerMessage",
            payload,
            answer_kind: AnswerKind::None,
            answer: "",
            received_at: now,
            epoch: Epoch(1),
            notes: Notes::default(),
            reason: "",
        };
        changes.absorb(record_id(seq), &record);
        let applied = commands.apply(&[(record_id(seq), record)], &changes, &[]);
        applied.expect("it is stored");
    }
    let api = start_over(MemoryRows::default(), &commands).await;
    let addr = api.local_addr();
    let address = format!("/api/v1/commands/{id}");
    // The outcome is there, so a request that waits for it does not wait.
    let done = get(addr, &format!("{address}?wait=60")).await.json();
    assert_eq!(done["state"], "done");
    assert_eq!(done["effect"]["state"], "expected");
    let list = get(addr, "/api/v1/commands?effect=expected").await.json();
    assert_eq!(list["items"][0]["id"], message_id);
    let waiting = tokio::spawn({
        let address = format!("{address}?wait=60&wait_for=effect");
        async move { get(addr, &address).await }
    });
    apply(&commands, 3, now, |record| record.action = "Heartbeat");
    let seen = waiting.await.expect("no panic").json();
    assert_eq!(seen["effect"]["state"], "seen");
    assert_eq!(seen["effect"]["status"], "Heartbeat");
    for wrong in ["?wait_for=all", "?effect=all"] {
        let wrong = match wrong {
            "?effect=all" => get(addr, "/api/v1/commands?effect=all").await,
            _ => get(addr, &format!("{address}{wrong}")).await,
        };
        assert_eq!(
            (wrong.status, wrong.error().0.as_str()),
            (400, "bad_parameter")
        );
    }
}
