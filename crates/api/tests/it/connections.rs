//! The connections of a charger over HTTP.

use crate::support::*;
use central::model::MessageRow;
use central::{Epoch, RecordKind, Timestamp};

#[tokio::test]
async fn the_connections_of_a_charger_are_listed_newest_first() {
    let of = |seq: u64, kind: RecordKind, epoch: u64, at: i64, reason: &str| MessageRow {
        kind,
        charger_id: "CP-1".to_owned(),
        epoch: Epoch(epoch),
        received_at: Timestamp(at),
        payload: r#"{"remote":"192.0.2.1:4000"}"#.to_owned(),
        reason: reason.to_owned(),
        ..message("CP-1", seq, "")
    };
    let store = MemoryRows {
        chargers: vec![charger("CP-1", true), charger("CP-2", true)],
        messages: vec![
            of(1, RecordKind::Connected, 1_000, 1_000, ""),
            of(2, RecordKind::Disconnected, 1_000, 4_000, "no pong in time"),
            of(3, RecordKind::Connected, 5_000, 5_000, ""),
            of(4, RecordKind::Connected, 9_000, 9_000, ""),
            of(
                5,
                RecordKind::Disconnected,
                9_000,
                9_500,
                "closed by the charger",
            ),
        ],
        ..MemoryRows::default()
    };
    let api = start(config(), &std::sync::Arc::new(store)).await;
    let addr = api.local_addr();
    let list = "/api/v1/chargers/cp-1/connections";
    let first = get(addr, &format!("{list}?limit=2")).await.json();
    let items = first["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["epoch"], 9_000);
    assert_eq!(items[0]["duration_ms"], 500);
    assert_eq!(items[1]["end"], "not_recorded");
    assert_eq!(items[1]["ended_before"], "1970-01-01T00:00:09.000Z");
    assert_eq!(items[1]["duration_ms"], serde_json::Value::Null);
    let next = first["next"].as_str().expect("more");
    let last = get(addr, &format!("{list}?cursor={next}")).await.json();
    assert_eq!(last["next"], serde_json::Value::Null);
    let oldest = &last["items"][0];
    assert_eq!(
        (&oldest["end"], &oldest["reason"], &oldest["remote"]),
        (
            &"closed".into(),
            &"no pong in time".into(),
            &"192.0.2.1:4000".into()
        )
    );
    let none = get(addr, "/api/v1/chargers/CP-2/connections").await.json();
    assert_eq!(none["items"], serde_json::json!([]));
    for (path, status) in [
        ("/api/v1/chargers/CP-9/connections", 404),
        ("/api/v1/chargers/CP-1/connections?from=1", 400),
        ("/api/v1/chargers/CP-1/connections?cursor=d1", 400),
    ] {
        assert_eq!(get(addr, path).await.status, status, "{path}");
    }
}
