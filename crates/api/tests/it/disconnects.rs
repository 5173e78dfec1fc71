//! Closing the connection of a charger over HTTP.

use crate::support::*;
use api::{Api, ApiDeps};
use central::model::{ChargerView, MessageRow, Scope};
use central::ports::{Disconnects, Heard};
use central::{Epoch, GatewayId, RecordKind, Timestamp};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

const JSON: &str = "Content-Type: application/json";
const PATH: &str = "/api/v1/chargers/cp-1/disconnect";

fn gateway() -> GatewayId {
    message("CP-1", 1, "").id.gateway
}

/// CP-1 is connected with the epoch 5,000, CP-2 is away, CP-3's connection with the epoch 5,000 has just ended.
async fn start_api(keys: Option<Arc<MemoryKeys>>) -> (Api, Arc<MemoryDisconnects>) {
    let connected = |id: &str, online: bool| ChargerView {
        gateway_id: Some(gateway()),
        connected_at: Some(Timestamp(5_000)),
        ..charger(id, online)
    };
    let of = |id: &str, seq: u64, kind: RecordKind, at: i64, reason: &str| MessageRow {
        kind,
        charger_id: id.to_owned(),
        epoch: Epoch(5_000),
        received_at: Timestamp(at),
        payload: r#"{"remote":"192.0.2.1:4000"}"#.to_owned(),
        reason: reason.to_owned(),
        ..message(id, seq, "")
    };
    let by_operator = "closed by operator with code 1001";
    let store = Arc::new(MemoryRows {
        chargers: vec![
            connected("CP-1", true),
            connected("CP-2", false),
            connected("CP-3", true),
        ],
        messages: vec![
            of("CP-1", 1, RecordKind::Connected, 5_000, ""),
            of("CP-3", 2, RecordKind::Connected, 5_000, ""),
            of("CP-3", 3, RecordKind::Disconnected, 6_000, by_operator),
        ],
        ..MemoryRows::default()
    });
    // The clock of the database is not that of the API.
    let disconnects = Arc::new(MemoryDisconnects::at(Timestamp(10_000)));
    let deps = ApiDeps {
        keys: keys.map(|keys| keys as _),
        disconnects: Some(Arc::clone(&disconnects) as _),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("the API starts");
    (api, disconnects)
}

async fn post(addr: SocketAddr, path: &str, headers: &[&str], body: &Value) -> Answer {
    let headers = [&[JSON], headers].concat();
    send(addr, "POST", path, &headers, &body.to_string()).await
}

#[tokio::test]
async fn a_connection_counts_as_closed_only_when_its_end_is_stored() {
    let (api, disconnects) = start_api(None).await;
    let addr = api.local_addr();
    let body = json!({"code": 3001, "reason": "test"});
    let once = ["Idempotency-Key: k1", "Prefer: respond-async"];
    let first = post(addr, PATH, &once, &body).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let view = first.json();
    assert_eq!(
        (&view["state"], &view["code"], &view["epoch"]),
        (&json!("pending"), &json!(3001), &json!(5_000))
    );
    assert_eq!(view["connection"]["end"], "open");
    // The gateway has told the connection to end; that is no end.
    let waiting = disconnects.disconnects_of(gateway(), Timestamp(10_000), 9);
    let waiting = waiting.expect("memory");
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].epoch, waiting[0].code), (Epoch(5_000), 3001));
    let heard = Heard {
        at: Timestamp(10_000),
        was_held: true,
    };
    disconnects
        .heard_disconnects(&[(waiting[0].id, heard)])
        .expect("memory");
    let repeat = post(addr, PATH, &once, &body).await;
    assert_eq!(
        (repeat.status, &repeat.json()["state"]),
        (202, &json!("closing"))
    );
    let other = post(addr, PATH, &once, &json!({})).await;
    assert_eq!(other.error().0, "idempotency_mismatch");

    // Its end is stored: the answer does not wait.
    let ended = post(addr, "/api/v1/chargers/CP-3/disconnect", &[], &json!({})).await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    let ended = ended.json();
    assert_eq!(
        (&ended["state"], &ended["code"]),
        (&json!("closed"), &json!(1001))
    );
    let connection = &ended["connection"];
    assert_eq!(connection["reason"], "closed by operator with code 1001");
}

#[tokio::test]
async fn what_cannot_be_closed_is_refused_with_the_cause() {
    let (api, disconnects) = start_api(None).await;
    let addr = api.local_addr();
    let away = post(addr, "/api/v1/chargers/CP-2/disconnect", &[], &json!({})).await;
    assert_eq!(
        (away.status, away.error().0),
        (409, "not_connected".to_owned())
    );
    let unknown = post(addr, "/api/v1/chargers/CP-9/disconnect", &[], &json!({})).await;
    assert_eq!(
        (unknown.status, unknown.error().0),
        (404, "unknown_charger".to_owned())
    );
    for body in [
        json!({"code": 1006}),
        json!({"code": 70_000}),
        json!({"code": "1001"}),
        json!({"reason": "x".repeat(124)}),
        json!({"reason": ""}),
        json!({"reason": "a\u{7}"}),
        json!({"kode": 1001}),
    ] {
        let refused = post(addr, PATH, &[], &body).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
    }
    let waiting = disconnects.disconnects_of(gateway(), Timestamp(10_000), 9);
    assert_eq!(waiting.expect("memory"), []);
}

#[tokio::test]
async fn a_connection_is_closed_with_the_scope_operate() {
    let keys = Arc::new(MemoryKeys::default());
    let reader = keys.add("reader", Scope::Read, None);
    let operator = keys.add("operator", Scope::Operate, None);
    let (api, _) = start_api(Some(keys)).await;
    let addr = api.local_addr();
    until_heard(&api).await;
    let with = |key: &str| format!("Authorization: Bearer {key}");
    let prefer = "Prefer: respond-async";
    let refused = post(addr, PATH, &[&with(&reader), prefer], &json!({})).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let done = post(addr, PATH, &[&with(&operator), prefer], &json!({})).await;
    assert_eq!(done.status, 202, "{}", done.body);
}
