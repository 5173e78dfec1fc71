//! Filters of the list of chargers.

use crate::support::*;
use central::model::Boot;
use std::sync::Arc;

#[tokio::test]
async fn chargers_are_selected_by_version_boot_status_and_admission() {
    let mut other = charger("CP-2", false);
    other.ocpp_version = Some(ocpp::Version::V21);
    other.boot = Some(Boot {
        vendor: Some("Other & Co".to_owned()),
        ..Boot::default()
    });
    let mut first = charger("CP-1", true);
    first.boot = Some(Boot {
        vendor: Some("Example".to_owned()),
        model: Some("AC-22".to_owned()),
        firmware: Some("1.4.2".to_owned()),
        ..Boot::default()
    });
    let store = Arc::new(MemoryRows {
        chargers: vec![first, other],
        connectors: vec![connector("CP-1", 1)],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let json = "Content-Type: application/json";
    let body = r#"{"charger_id": "CP-3", "admission": "pending"}"#;
    send(addr, "POST", "/api/v1/chargers", &[json], body).await;
    for (query, expected) in [
        ("version=1.6", vec!["CP-1"]),
        ("version=2.1", vec!["CP-2"]),
        ("vendor=Other+%26+Co", vec!["CP-2"]),
        ("vendor=", vec!["CP-3"]),
        ("model=AC-22&online=true", vec!["CP-1"]),
        ("firmware=1.4.2", vec!["CP-1"]),
        ("status=Available", vec!["CP-1"]),
        ("status=Faulted", vec![]),
        ("admission=pending", vec!["CP-3"]),
        ("admission=not_added", vec!["CP-1", "CP-2"]),
        ("admission=not_added&q=2", vec!["CP-2"]),
    ] {
        let list = get(addr, &format!("/api/v1/chargers?{query}")).await.json();
        let found: Vec<&str> = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["charger_id"].as_str().expect("an identity"))
            .collect();
        assert_eq!(found, expected, "{query}");
    }
    for query in ["status=busy", "version=1.5", "admission=maybe"] {
        let refused = get(addr, &format!("/api/v1/chargers?{query}")).await;
        assert_eq!(
            (refused.status, refused.error().0.as_str()),
            (400, "bad_parameter"),
            "{query}"
        );
    }
    let list = get(addr, "/api/v1/chargers/cp-1/connectors").await.json();
    assert_eq!(list["items"][0]["status"], "Available");
    assert_eq!(
        get(addr, "/api/v1/chargers/CP-9/connectors").await.status,
        404
    );
}
