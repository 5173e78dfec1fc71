//! Alerts, their rules and silences over HTTP.

use crate::support::*;
use api::{AlertConfig, AlertDeps, Api, ApiDeps};
use central::Timestamp;
use central::alert::Severity;
use central::alert::machine::Step;
use central::model::{Alert, AlertState, Told};
use central::ports::Alerts;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{SqliteOptions, SqliteStore};
use uuid::Uuid;

const JSON: &str = "Content-Type: application/json";

struct World {
    api: Api,
    _directory: tempfile::TempDir,
}

fn alert(number: u128, charger: &str, state: AlertState) -> Alert {
    Alert {
        id: Uuid::from_u128(number),
        name: "ChargerOffline".to_owned(),
        severity: Severity::Ticket,
        subject: charger.to_owned(),
        charger_id: Some(charger.to_owned()),
        group: String::new(),
        site: None,
        state,
        summary: format!("{charger} is offline"),
        active_at: Timestamp(1_769_860_800_000),
        fired_at: None,
        resolved_at: None,
        clear_since: None,
        hold_ms: 0,
        occurrences: 1,
        acknowledged: None,
        silenced_by: None,
        inhibited_by: None,
        told: Told::default(),
    }
}

/// The API over a database with one alert that fires, and one that is pending.
async fn start_api() -> World {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wattpost.db");
    let store = SqliteStore::open(path, SqliteOptions::default()).expect("it opens");
    let store = Arc::new(store);
    let step = Step {
        changed: vec![
            Alert {
                site: Some("depot-7".to_owned()),
                ..alert(1, "CP 1", AlertState::Firing)
            },
            alert(2, "CP-2", AlertState::Pending),
        ],
        ..Step::default()
    };
    let holder = Uuid::from_u128(9);
    let leased = store.lease_alerts(holder, Timestamp(0), Timestamp(1));
    leased.expect("it answers").expect("nobody has the lease");
    let stored = store.record_alerts(holder, &step, "", Timestamp(0));
    assert!(stored.expect("it answers"));
    let mut config_of_alerts = AlertConfig {
        enabled: false,
        ..AlertConfig::default()
    };
    let for_s = &mut config_of_alerts.rules.for_s;
    for_s.insert("ChargerOffline".to_owned(), 7);
    let deps = ApiDeps {
        alerts: Some(AlertDeps {
            clock: Arc::clone(&store) as _,
            alerts: store,
            config: config_of_alerts,
            mailer: None,
        }),
        ..deps(&Arc::default())
    };
    World {
        api: Api::start(config(), deps).await.expect("it starts"),
        _directory: directory,
    }
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_and_acknowledged() {
    let world = start_api().await;
    let addr = world.api.local_addr();
    let list = get(addr, "/api/v1/alerts?state=firing&charger=cp%201").await;
    let items = list.json()["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{}", list.body);
    let first = &items[0];
    let path = first["links"]["self"].as_str().expect("an address");
    assert_eq!(first["links"]["charger"], "/api/v1/chargers/CP%201");
    assert_eq!(first["site"], "depot-7");
    assert_eq!(first["links"]["site"], "/api/v1/sites/depot-7");
    let of_site = get(addr, "/api/v1/alerts?site=depot-7").await;
    assert_eq!(of_site.json()["items"], items);
    let other = get(addr, "/api/v1/alerts?site=depot").await;
    assert_eq!(other.json()["items"], json!([]));
    assert_eq!(get(addr, path).await.json(), *first);
    let all = get(addr, "/api/v1/alerts?limit=1").await;
    let next = all.json()["next"].as_str().expect("a next page").to_owned();
    let second = get(addr, &format!("/api/v1/alerts?limit=1&cursor={next}")).await;
    assert_eq!(second.json()["items"], json!([first]));

    let acknowledge = format!("{path}/acknowledge");
    let key = "Idempotency-Key: one";
    let body = r#"{"note": "on the way"}"#;
    let noted = send(addr, "POST", &acknowledge, &[JSON, key], body).await;
    assert_eq!(noted.status, 200, "{}", noted.body);
    assert_eq!(noted.json()["acknowledged"]["note"], "on the way");
    let repeat = send(addr, "POST", &acknowledge, &[JSON, key], body).await;
    assert_eq!(repeat.json(), noted.json());
    let pending = format!("/api/v1/alerts/{}/acknowledge", Uuid::from_u128(2));
    let refused = send(addr, "POST", &pending, &[JSON], "{}").await;
    assert_eq!(code(&refused), (409, "alert_not_firing".to_owned()));
    let long = json!({"note": "x".repeat(501)}).to_string();
    let refused = send(addr, "POST", &acknowledge, &[JSON], &long).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    for (path, expected) in [
        ("/api/v1/alerts/nothing", "unknown_alert"),
        ("/api/v1/alerts?name=Nothing", "bad_parameter"),
        ("/api/v1/alerts?state=open", "bad_parameter"),
        ("/api/v1/alerts?severity=high", "bad_parameter"),
    ] {
        assert_eq!(get(addr, path).await.error().0, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_with_the_times_that_are_set() {
    let world = start_api().await;
    let rules = get(world.api.local_addr(), "/api/v1/alert-rules").await;
    let rules = rules.json()["items"].clone();
    let rules = rules.as_array().expect("a list");
    let of = |name: &str| -> &Value {
        let found = rules.iter().find(|rule| rule["name"] == name);
        found.expect("a rule of this name")
    };
    assert_eq!(of("ChargerOffline")["for_s"], 7);
    assert_eq!(
        of("ChargerOffline")["evaluated"],
        false,
        "it is switched off"
    );
    assert!(of("BrokerLost")["expr"].is_string());
    assert!(rules.len() > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn silences_are_added_once_and_removed_and_each_fault_is_named() {
    let world = start_api().await;
    let addr = world.api.local_addr();
    let ends_at = Timestamp(common::clock::now_ms() + 3_600_000).to_string();
    let body = json!({"charger_id": "CP-1", "ends_at": ends_at, "comment": "maintenance"});
    let key = "Idempotency-Key: one";
    let added = send(
        addr,
        "POST",
        "/api/v1/silences",
        &[JSON, key],
        &body.to_string(),
    )
    .await;
    assert_eq!(added.status, 201, "{}", added.body);
    let exact = json!({"name": "ConnectorFaulted", "subject": "CP-1 0/1", "ends_at": ends_at});
    let one = send(
        addr,
        "POST",
        "/api/v1/silences",
        &[JSON],
        &exact.to_string(),
    )
    .await;
    assert_eq!(one.json()["subject"], "CP-1 0/1", "{}", one.body);
    let of_site = json!({"site": "depot-7", "ends_at": ends_at}).to_string();
    let of_site = send(addr, "POST", "/api/v1/silences", &[JSON], &of_site).await;
    assert_eq!(of_site.json()["site"], "depot-7", "{}", of_site.body);
    let at = of_site.header("location").expect("an address").to_owned();
    assert_eq!(send(addr, "DELETE", &at, &[], "").await.status, 204);
    let path = one.header("location").expect("an address").to_owned();
    assert_eq!(send(addr, "DELETE", &path, &[], "").await.status, 204);
    let repeat = send(
        addr,
        "POST",
        "/api/v1/silences",
        &[JSON, key],
        &body.to_string(),
    )
    .await;
    assert_eq!(repeat.json()["id"], added.json()["id"]);
    assert_eq!(added.json()["state"], "active");
    let list = get(addr, "/api/v1/silences").await;
    assert_eq!(list.json()["items"], json!([added.json()]));
    let one = added.header("location").expect("an address").to_owned();
    assert_eq!(send(addr, "DELETE", &one, &[], "").await.status, 204);
    let gone = send(addr, "DELETE", &one, &[], "").await;
    assert_eq!(code(&gone), (404, "unknown_silence".to_owned()));
    for (body, pointer) in [
        (json!({"ends_at": ends_at}), "/name"),
        (json!({"name": "Nothing", "ends_at": ends_at}), "/name"),
        (json!({"subject": "CP-1 0/1", "ends_at": ends_at}), "/name"),
        (json!({"charger_id": "CP-1"}), "/ends_at"),
        (json!({"site": "No Site", "ends_at": ends_at}), "/site"),
        (
            json!({"charger_id": "CP-1", "ends_at": "2020-01-01T00:00:00Z"}),
            "/ends_at",
        ),
        (
            json!({"charger_id": "CP-1", "ends_at": "2090-01-01T00:00:00Z"}),
            "/ends_at",
        ),
        (
            json!({"charger_id": "CP-1", "ends_at": ends_at, "until": 1}),
            "/until",
        ),
    ] {
        let refused = send(addr, "POST", "/api/v1/silences", &[JSON], &body.to_string()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
        let problem: Value = serde_json::from_str(&refused.body).expect("JSON");
        let faults = &problem["errors"];
        let has = faults
            .as_array()
            .is_some_and(|faults| faults.iter().any(|fault| fault["pointer"] == pointer));
        assert!(has, "{body}: {faults}");
    }
}
