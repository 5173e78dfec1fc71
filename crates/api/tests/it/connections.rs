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

#[tokio::test]
async fn the_uptime_of_a_charger_counts_no_outage_of_its_gateway() {
    const MINUTE: i64 = 60_000;
    let of = |seq: u64, kind: RecordKind, epoch: i64, at: i64, reason: &str| MessageRow {
        kind,
        charger_id: match kind {
            RecordKind::GatewayStarted => String::new(),
            _ => "CP-1".to_owned(),
        },
        epoch: Epoch((epoch * MINUTE).unsigned_abs()),
        received_at: Timestamp(at * MINUTE),
        payload: r#"{"remote":"192.0.2.1:4000"}"#.to_owned(),
        reason: reason.to_owned(),
        ..message("CP-1", seq, "")
    };
    let gateway = message("CP-1", 1, "").id.gateway;
    // Connected from 10 to 20 and from 30 to 60; then the gateway stops, and starts at 80.
    let store = MemoryRows {
        chargers: vec![
            central::model::ChargerView {
                gateway_id: Some(gateway),
                connected_at: Some(Timestamp(30 * MINUTE)),
                first_seen_at: Some(Timestamp(10 * MINUTE)),
                ..charger("CP-1", false)
            },
            charger("CP-2", false),
            // The retention has deleted the begin of its earlier connection.
            central::model::ChargerView {
                gateway_id: Some(gateway),
                connected_at: Some(Timestamp(30 * MINUTE)),
                first_seen_at: Some(Timestamp(MINUTE)),
                ..charger("CP-3", false)
            },
        ],
        messages: vec![
            of(1, RecordKind::GatewayStarted, 5, 5, ""),
            of(2, RecordKind::Connected, 10, 10, ""),
            of(3, RecordKind::Disconnected, 10, 20, "no pong in time"),
            of(4, RecordKind::Connected, 30, 30, ""),
            of(
                5,
                RecordKind::Disconnected,
                30,
                60,
                "the gateway is stopping",
            ),
            MessageRow {
                charger_id: "CP-3".to_owned(),
                ..of(7, RecordKind::Connected, 30, 30, "")
            },
            MessageRow {
                charger_id: "CP-3".to_owned(),
                ..of(
                    8,
                    RecordKind::Disconnected,
                    30,
                    60,
                    "the gateway is stopping",
                )
            },
            of(9, RecordKind::GatewayStarted, 80, 80, ""),
        ],
        ..MemoryRows::default()
    };
    let api = start(config(), &std::sync::Arc::new(store)).await;
    let addr = api.local_addr();
    let path = "/api/v1/chargers/cp-1/uptime";
    let range = format!("from={}&to={}", 10 * MINUTE, 70 * MINUTE);
    let found = get(addr, &format!("{path}?{range}")).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let found = found.json();
    let minutes = |name: &str| found[name].as_i64().map(|ms| ms / MINUTE);
    assert_eq!(minutes("up_ms"), Some(40));
    assert_eq!(minutes("down_ms"), Some(10));
    assert_eq!(minutes("unknown_ms"), Some(10));
    assert_eq!(found["uptime_percent"], 80.0);
    assert_eq!(found["connections"], 2);
    assert_eq!(found["gaps"][0]["kind"], "unknown");
    assert_eq!(found["gaps"][1]["kind"], "down");
    assert!(found["formula"].as_str().expect("words").contains("up_ms"));
    let excluded = format!("{range}&exclude={}/{}", 15 * MINUTE, 30 * MINUTE);
    let found = get(addr, &format!("{path}?{excluded}")).await.json();
    assert_eq!(found["uptime_percent"], 100.0);
    assert_eq!(found["excluded_ms"], 15 * MINUTE);
    // Before its first connection it may not have existed.
    let earlier = format!("from=0&to={}", 70 * MINUTE);
    let found = get(addr, &format!("{path}?{earlier}")).await.json();
    assert_eq!(found["uptime_percent"], 80.0);
    assert_eq!(found["unknown_ms"], 20 * MINUTE);
    // Where no connection is kept that began before the range, an earlier one may have been open.
    let kept = format!("/api/v1/chargers/CP-3/uptime?{range}");
    let found = get(addr, &kept).await.json();
    assert_eq!(
        (&found["down_ms"], &found["unknown_ms"]),
        (&0.into(), &(30 * MINUTE).into())
    );
    // Nothing is known of a charger that never connected.
    let never = get(addr, "/api/v1/chargers/CP-2/uptime").await.json();
    assert_eq!(never["uptime_percent"], serde_json::Value::Null);
    for (query, status) in [
        ("from=9&to=5", 400),
        ("from=0&to=31622400001", 400),
        ("from=0&to=31622400000", 200),
        ("exclude=5", 400),
        ("exclude=9/5", 400),
        ("limit=5", 400),
    ] {
        let answer = get(addr, &format!("{path}?{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
    }
    let unknown = get(addr, "/api/v1/chargers/CP-9/uptime").await;
    assert_eq!(unknown.status, 404);

    // Several in one request are the same objects, in the order of the request; one that is not known is left out.
    let several = format!("/api/v1/uptime?{range}&chargers=");
    let both = get(addr, &format!("{several}CP-3/CP-9/cp-1/CP-2")).await;
    assert_eq!(both.status, 200, "{}", both.body);
    let both = both.json();
    let one = get(addr, &format!("{path}?{range}")).await.json();
    assert_eq!(both["items"][1], one);
    assert_eq!(both["items"][0]["charger_id"], "CP-3");
    assert_eq!(both["items"][0]["unknown_ms"], 30 * MINUTE);
    assert_eq!(both["items"][2]["unknown_ms"], 60 * MINUTE);
    assert_eq!(both["items"].as_array().map(Vec::len), Some(3));
    assert_eq!(both["next"], serde_json::Value::Null);
    let most = vec!["CP-1"; 100].join("/");
    for (query, status) in [
        (most.clone(), 200),
        (format!("{most}/CP-1"), 400),
        (String::new(), 400),
        ("CP-1/".to_owned(), 400),
        ("CP-1&limit=5".to_owned(), 400),
        ("CP-1&fields=up_ms,gaps".to_owned(), 200),
        ("CP-1&fields=upms".to_owned(), 400),
    ] {
        let answer = get(addr, &format!("{several}{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
    }
    assert_eq!(get(addr, "/api/v1/uptime").await.status, 400);
}

/// The list of chargers asks for the rows in sight: one charger that connects again all the time must not make the answer long.
#[tokio::test]
async fn of_several_chargers_only_the_newest_connections_are_read() {
    const SECOND: i64 = 1_000;
    const CONNECTIONS: i64 = 700;
    let gateway = message("CP-1", 1, "").id.gateway;
    let flapping = (1..=CONNECTIONS).flat_map(|number| {
        let at = number * 10 * SECOND;
        let of = move |seq: i64, kind: RecordKind, at: i64| MessageRow {
            kind,
            epoch: Epoch((number * 10 * SECOND).unsigned_abs()),
            received_at: Timestamp(at),
            payload: r#"{"remote":"192.0.2.1:4000"}"#.to_owned(),
            reason: "no pong in time".to_owned(),
            ..message("CP-1", seq.unsigned_abs(), "")
        };
        [
            of(2 * number, RecordKind::Connected, at),
            of(2 * number + 1, RecordKind::Disconnected, at + 5 * SECOND),
        ]
    });
    let started = MessageRow {
        kind: RecordKind::GatewayStarted,
        charger_id: String::new(),
        epoch: Epoch(1),
        received_at: Timestamp(1),
        ..message("CP-1", 1, "")
    };
    let store = MemoryRows {
        chargers: vec![central::model::ChargerView {
            gateway_id: Some(gateway),
            connected_at: Some(Timestamp(CONNECTIONS * 10 * SECOND)),
            first_seen_at: Some(Timestamp(SECOND)),
            ..charger("CP-1", false)
        }],
        messages: std::iter::once(started).chain(flapping).collect(),
        ..MemoryRows::default()
    };
    let api = start(config(), &std::sync::Arc::new(store)).await;
    let to = (CONNECTIONS + 1) * 10 * SECOND;
    let path = format!("/api/v1/uptime?chargers=CP-1&from=0&to={to}");
    let found = get(api.local_addr(), &path).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let found = &found.json()["items"][0];
    // It begins with the oldest connection that was read.
    let begin = (CONNECTIONS - 500 + 1) * 10 * SECOND;
    assert_eq!(found["from"], Timestamp(begin).to_string());
    assert_eq!(found["connections"], 500);
    assert_eq!(found["up_ms"], 500 * 5 * SECOND);
    // The route of one charger reads all of them.
    let one = format!("/api/v1/chargers/CP-1/uptime?from=0&to={to}");
    let one = get(api.local_addr(), &one).await.json();
    assert_eq!(one["connections"], CONNECTIONS);
}
