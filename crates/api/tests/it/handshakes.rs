//! Refused handshakes over HTTP.

use crate::support::*;
use central::Timestamp;
use central::model::RefusedHandshake;
use central::ports::Handshakes;
use std::sync::Arc;

const LIST: &str = "/api/v1/handshakes";

fn refused(identity: &str) -> RefusedHandshake {
    RefusedHandshake {
        charger_id: Some(identity.to_owned()),
        reason: "unknown charger".to_owned(),
        status: 404,
        cure: "Add it.".to_owned(),
        address: "192.0.2.1".to_owned(),
        path: Some("/ocpp/CP-1".to_owned()),
        offered: None,
        gateway: central::GatewayId(uuid::Uuid::from_u128(7)),
        judged_by: None,
        first_at: Timestamp(1),
        last_at: Timestamp(2),
        count: 3,
    }
}

#[tokio::test]
async fn a_refused_charger_is_listed_until_it_is_added_or_dismissed() {
    let store = Arc::new(MemoryRows::default());
    let rows = [refused("CP-1"), refused("CP-2")];
    store.directory.add_refused(&rows).expect("in memory");
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let list = get(addr, "/api/v1/handshakes?outcome=refused").await.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    let newest = &list["items"][0];
    assert_eq!(
        (&newest["charger_id"], &newest["count"]),
        (&"CP-2".into(), &3.into())
    );
    assert_eq!(newest["last_at"], "1970-01-01T00:00:00.002Z");
    let one = get(addr, "/api/v1/handshakes?charger=cp-1").await.json();
    assert_eq!(one["items"][0]["charger_id"], "CP-1");

    let json = "Content-Type: application/json";
    let added = send(
        addr,
        "POST",
        "/api/v1/chargers",
        &[json],
        r#"{"charger_id": "CP-1"}"#,
    )
    .await;
    assert_eq!(added.status, 201);
    let target = format!("{LIST}/{}", newest["no"]);
    let dismissed = request(addr, "DELETE", &target).await;
    assert_eq!((dismissed.status, dismissed.body.as_str()), (204, ""));
    assert_eq!(get(addr, LIST).await.json()["items"], serde_json::json!([]));
    for target in [target.as_str(), "/api/v1/handshakes/x"] {
        let unknown = request(addr, "DELETE", target).await;
        assert_eq!(
            (unknown.status, unknown.error().0.as_str()),
            (404, "unknown_handshake")
        );
    }
    let other = get(addr, "/api/v1/handshakes?outcome=accepted").await;
    assert_eq!(
        (other.status, other.error().0.as_str()),
        (400, "bad_parameter")
    );
}
