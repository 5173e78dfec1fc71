//! Single messages, messages with their pairs, and the messages of a transaction.

use crate::support::*;
use central::model::MessageRow;
use central::record::{AnswerKind, RecordKind};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

const GATEWAY: &str = "00000000-0000-0000-0000-00000000feed";
const CALL: &str = "00000000-0000-7000-8000-0000000000c1";

fn of_call(seq: u64, kind: RecordKind, payload: &str) -> MessageRow {
    MessageRow {
        kind,
        message_id: CALL.to_owned(),
        payload: payload.to_owned(),
        answer_kind: AnswerKind::None,
        answer: String::new(),
        ..message("CP-A", seq, "RemoteStopTransaction")
    }
}

/// A transaction 3 (seconds after the start), its messages, and a command that stops it.
fn rows() -> MemoryRows {
    let start = MessageRow {
        payload: r#"{"connectorId":1,"idTag":"T","meterStart":0}"#.to_owned(),
        answer: r#"{"idTagInfo":{"status":"Accepted"},"transactionId":3}"#.to_owned(),
        ..message("CP-A", 3, "StartTransaction")
    };
    let values = MessageRow {
        payload: r#"{"connectorId":1,"transactionId":3,"meterValue":[]}"#.to_owned(),
        ..message("CP-A", 5, "MeterValues")
    };
    let elsewhere = MessageRow {
        payload: values.payload.clone(),
        ..message("CP-B", 6, "MeterValues")
    };
    MemoryRows {
        transactions: vec![transaction("CP-A", 3, false)],
        messages: vec![
            message("CP-A", 1, "Heartbeat"),
            start,
            values,
            elsewhere,
            of_call(7, RecordKind::CallToCharger, r#"{"transactionId":3}"#),
            message("CP-A", 8, "Heartbeat"),
            of_call(9, RecordKind::CallResult, r#"{"status":"Accepted"}"#),
            message("CP-A", 33, "Heartbeat"),
        ],
        ..MemoryRows::default()
    }
}

fn seqs(list: &Value) -> Vec<u64> {
    let items = list["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["seq"].as_u64().expect("a number"))
        .collect()
}

async fn of(addr: SocketAddr, seq: u64) -> Value {
    let found = get(addr, &format!("/api/v1/messages/{GATEWAY}/{seq}")).await;
    assert_eq!(found.status, 200, "{}", found.body);
    found.json()
}

#[tokio::test]
async fn one_message_is_returned_with_its_pair_its_command_and_its_transaction() {
    let api = start(config(), &Arc::new(rows())).await;
    let addr = api.local_addr();
    let key = json!("00000000-0000-0000-0000-000000000003");

    let call = of(addr, 7).await;
    assert_eq!(call["pair"]["seq"], 9);
    assert_eq!(call["pair"]["payload"], json!({"status": "Accepted"}));
    assert_eq!(call["latency_ms"], 2_000);
    assert_eq!(call["command_id"], CALL);
    assert_eq!(call["transaction_id"], "3");
    assert_eq!(call["transaction"], key);

    let reply = of(addr, 9).await;
    assert_eq!(reply["pair"]["seq"], 7);
    assert_eq!(reply["latency_ms"], 2_000);
    assert_eq!(reply["transaction"], key, "its call names it");

    let of_charger = of(addr, 3).await;
    assert_eq!(of_charger["pair"], Value::Null);
    assert_eq!(of_charger["latency_ms"], Value::Null);
    assert_eq!(of_charger["command_id"], Value::Null);
    assert_eq!(of_charger["transaction"], key, "the answer names it");
    let heartbeat = of(addr, 1).await;
    assert_eq!(heartbeat["transaction_id"], Value::Null);

    let unknown = get(addr, &format!("/api/v1/messages/{GATEWAY}/2")).await;
    assert_eq!(
        (unknown.status, &unknown.value()["code"]),
        (404, &json!("unknown_message"))
    );
    for wrong in ["nobody/1", "00000000-0000-0000-0000-00000000feed/+1"] {
        let refused = get(addr, &format!("/api/v1/messages/{wrong}")).await;
        assert_eq!(
            (refused.status, &refused.value()["code"]),
            (400, &json!("bad_record_id"))
        );
    }
}

#[tokio::test]
async fn one_message_names_the_places_where_it_deviates_from_its_schemas() {
    let status = MessageRow {
        payload: r#"{"connectorId":"1","errorCode":"NoError","status":"Available","more":1}"#
            .into(),
        answer: "{}".to_owned(),
        ..message("CP-A", 3, "StatusNotification")
    };
    let elsewhere = MessageRow {
        action: "Unheard".to_owned(),
        ..status.clone()
    };
    let sent = MessageRow {
        answer_kind: AnswerKind::None,
        answer: String::new(),
        ..of_call(5, RecordKind::CallResult, r#"{"status":"Yes"}"#)
    };
    let stored = MemoryRows {
        messages: vec![
            status,
            MessageRow {
                id: message("CP-A", 4, "").id,
                ..elsewhere
            },
            sent,
        ],
        ..MemoryRows::default()
    };
    let api = start(config(), &Arc::new(stored)).await;
    let places = async |seq: u64| {
        let found = of(api.local_addr(), seq).await;
        let list = found["deviations"].as_array().expect("a list").clone();
        let place =
            |one: &Value| json!([one["part"], one["pointer"], one["rule"], one["tolerated"]]);
        Value::from(list.iter().map(place).collect::<Vec<_>>())
    };
    assert_eq!(
        places(3).await,
        json!([
            ["payload", "/connectorId", "type", true],
            ["payload", "/more", "extra", true]
        ])
    );
    assert_eq!(places(4).await, json!([]), "no schema is known");
    assert_eq!(
        places(5).await,
        json!([["payload", "/status", "enum", true]])
    );
}

#[tokio::test]
async fn a_call_to_a_charger_and_its_reply_are_one_item_if_the_client_wants_pairs() {
    let api = start(config(), &Arc::new(rows())).await;
    let addr = api.local_addr();
    let list = async |query: &str| get(addr, &format!("/api/v1/messages?{query}")).await.json();

    assert_eq!(seqs(&list("").await), [1, 3, 5, 6, 7, 8, 9, 33]);
    let paired = list("pairs=true").await;
    assert_eq!(seqs(&paired), [1, 3, 5, 6, 8, 9, 33]);
    assert_eq!(paired["items"][5]["pair"]["seq"], 7);
    // The reply is not selected, so the call is an item.
    let calls = list("pairs=true&kind=call_to_charger").await;
    assert_eq!(seqs(&calls), [7]);
    assert_eq!(calls["items"][0]["pair"]["seq"], 9);
    // A client that has the call gets the reply.
    let following = list(&format!("pairs=true&after={GATEWAY}/7")).await;
    assert_eq!(seqs(&following), [8, 9, 33]);
    // Page by page, nothing is lost.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("pairs=true&limit=2{cursor}")).await;
        seen.extend(seqs(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [1, 3, 5, 6, 8, 9, 33]);
    let some = list("pairs=true&fields=seq,latency_ms&kind=call_result").await;
    assert_eq!(some["items"][0], json!({"seq": 9, "latency_ms": 2_000}));
}

#[tokio::test]
async fn the_messages_of_a_transaction_are_those_of_its_charger_that_name_it() {
    let api = start(config(), &Arc::new(rows())).await;
    let addr = api.local_addr();
    let path = "/api/v1/transactions/00000000-0000-0000-0000-000000000003/messages";
    let found = get(addr, path).await.json();
    assert_eq!(seqs(&found), [3, 5, 7]);
    assert_eq!(found["items"][2]["pair"]["payload"]["status"], "Accepted");
    let first = get(addr, &format!("{path}?limit=2")).await;
    let next = first.json()["next"].as_str().expect("more").to_owned();
    let second = get(addr, &format!("{path}?limit=2&cursor={next}")).await;
    assert_eq!(seqs(&second.json()), [7]);
    let unknown = get(
        addr,
        "/api/v1/transactions/00000000-0000-0000-0000-000000000009/messages",
    )
    .await;
    assert_eq!(unknown.status, 404);
}
