//! Health, metrics, the index, and the headers of every answer.

use crate::support::*;
use api::webhooks::client::Client as WebhookClient;
use api::{AlertConfig, AlertDeps, Api, ApiDeps, WebhookConfig, WebhookDeps};
use central::Timestamp;
use central::model::{PartError, PartReport, ProcessRole, Scope};
use central::ports::{Figure, Health, HealthProbe};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{SqliteOptions, SqliteStore};

fn part(part: &'static str, up: bool, detail: &str) -> Health {
    Health::new(part, up, detail)
}

#[tokio::test]
async fn readiness_depends_on_the_components_and_liveness_does_not() {
    let gateway = Arc::new(FakeProbe(Mutex::new(vec![
        part("gateway", true, "20 chargers"),
        part("journal", true, "empty"),
    ])));
    let database = Arc::new(FakeProbe(Mutex::new(vec![part("database", true, "")])));
    let probes: Vec<Arc<dyn HealthProbe>> = vec![gateway, Arc::clone(&database) as _];
    let api = start_with(config(), &Arc::new(MemoryRows::default()), probes).await;
    let addr = api.local_addr();

    let ready = get(addr, "/health/ready").await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        json!({"ready": true, "parts": [
            {"part": "gateway", "up": true, "ready": true, "detail": "20 chargers"},
            {"part": "journal", "up": true, "ready": true, "detail": "empty"},
            {"part": "database", "up": true, "ready": true, "detail": ""},
        ]})
    );

    // The gateway serves chargers without the database.
    let set = |health: Health| *database.0.lock().expect("not poisoned") = vec![health];
    set(part("database", false, "is locked"));
    let down = get(addr, "/health/ready").await;
    assert_eq!((down.status, &down.json()["ready"]), (200, &json!(true)));
    assert_eq!(
        down.json()["parts"][2],
        json!({"part": "database", "up": false, "ready": true, "detail": "is locked"})
    );
    assert_eq!(get(addr, "/health").await.json()["status"], "degraded");

    set(part("database", false, "is locked").ready_if(false));
    let down = get(addr, "/health/ready").await;
    assert_eq!((down.status, &down.json()["ready"]), (503, &json!(false)));
    let health = get(addr, "/health").await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &json!("not_ready"))
    );
    let live = get(addr, "/health/live").await;
    assert_eq!((live.status, live.json()), (200, json!({"live": true})));

    set(part("database", true, ""));
    assert_eq!(get(addr, "/health/ready").await.status, 200);
    assert_eq!(get(addr, "/health").await.json()["status"], "works");
}

#[tokio::test]
async fn the_health_page_names_the_process_and_has_the_figures_of_its_parts() {
    let journal = Health::new("journal", true, "empty")
        .figure("undelivered_records", Figure::from(310))
        .figure(
            "sync_mean_seconds",
            Figure::from(Duration::from_micros(412)),
        )
        .figure("oldest_undelivered_seconds", None);
    let database = Health::new("database", false, "is locked");
    let probe = Arc::new(FakeProbe(Mutex::new(vec![journal, database])));
    let mut report = process_report(7, ProcessRole::Gateway);
    report.parts = vec![PartReport {
        part: "database".to_owned(),
        up: false,
        detail: "is locked".to_owned(),
        since: Timestamp(1_767_268_800_000),
        last_error: Some(PartError {
            at: Timestamp(1_767_268_801_000),
            detail: "is locked".to_owned(),
        }),
    }];
    let id = report.id;
    let store = Arc::new(MemoryRows::default());
    let deps = ApiDeps {
        probes: vec![probe],
        process: Some(Arc::new(move || report.clone())),
        pipeline: None,
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let health = get(api.local_addr(), "/health").await.json();
    assert_eq!(health["process"]["id"], json!(id));
    assert_eq!(health["process"]["role"], "gateway");
    assert_eq!(
        health["parts"],
        json!([
            {
                "part": "journal", "up": true, "ready": true, "detail": "empty", "since": null, "last_error": null,
                "figures": {"undelivered_records": 310, "sync_mean_seconds": 0.000_412, "oldest_undelivered_seconds": null},
            },
            {
                "part": "database", "up": false, "ready": true, "detail": "is locked",
                "since": "2026-01-01T12:00:00.000Z",
                "last_error": {"at": "2026-01-01T12:00:01.000Z", "detail": "is locked"},
            },
        ])
    );
}

#[tokio::test]
async fn metrics_are_in_the_text_format_and_parameters_are_ignored() {
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    for target in ["/metrics", "/metrics?name[]=x"] {
        let answer = get(api.local_addr(), target).await;
        assert_eq!(answer.status, 200);
        let format = "text/plain; version=0.0.4; charset=utf-8";
        assert_eq!(answer.header("content-type"), Some(format));
        assert_eq!(answer.body, "# TYPE wattpost_test gauge\nwattpost_test 1\n");
    }
}

/// Runs on one thread, because the recorder is set for this thread only.
#[tokio::test]
async fn requests_are_counted_by_the_pattern_of_their_route() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    for target in ["/api/v1/chargers/A", "/api/v1/chargers/B", "/x", "/y", "/"] {
        get(api.local_addr(), target).await;
    }
    request(api.local_addr(), "BREW", "/api/v1/chargers/C").await;
    let rendered = handle.render();
    for line in [
        r#"wattpost_api_requests_total{route="/api/v1/chargers/{id}",status="404"} 2"#,
        r#"wattpost_api_requests_total{route="/api/v1/chargers/{id}",status="405"} 1"#,
        r#"wattpost_api_requests_total{route="none",status="404"} 2"#,
        r#"wattpost_api_requests_total{route="/",status="200"} 1"#,
        r#"wattpost_api_request_duration_seconds_count{route="/"} 1"#,
    ] {
        assert!(rendered.contains(line), "{line} is not in\n{rendered}");
    }
}

#[tokio::test]
async fn every_route_in_the_index_exists() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wattpost.db");
    let database = SqliteStore::open(path, SqliteOptions::default()).expect("it opens");
    let database = Arc::new(database);
    let client = WebhookClient::new(WebhookConfig::default().client()).expect("a client");
    let alerts = AlertDeps {
        alerts: Arc::clone(&database) as _,
        clock: Arc::clone(&database) as _,
        config: AlertConfig {
            enabled: false,
            ..AlertConfig::default()
        },
        mailer: None,
    };
    let webhooks = WebhookDeps {
        webhooks: Arc::clone(&database) as _,
        clock: Arc::clone(&database) as _,
        log: database as _,
        client: Arc::new(client),
    };
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        transactions: vec![transaction("CP-1", 1, true)],
        messages: vec![message("CP-1", 1, "Heartbeat")],
        ..MemoryRows::default()
    });
    let deps = ApiDeps {
        keys: Some(Arc::new(MemoryKeys::default())),
        users: Some(Arc::new(MemoryUsers::default())),
        webhooks: Some(webhooks),
        alerts: Some(alerts),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let index = get(api.local_addr(), "/").await.json();
    assert_eq!(index["version"], "1.2.3");
    let endpoints = index["endpoints"].as_array().expect("a list");
    let documented = api::openapi()["paths"].as_object().expect("paths");
    assert_eq!(endpoints.len(), documented.len() - 1);
    for endpoint in endpoints {
        let path = endpoint["path"].as_str().expect("a path");
        let has_get = !documented[path]["get"].is_null();
        let path = path
            .replace("{version}", "1.6")
            .replace("{action}", "Reset");
        let path = path.replace("{id}", "cp-1").replace("{no}", "7");
        let path = path.replace("{name}", "grafana");
        let path = path
            .replace("{gateway_id}", "00000000-0000-0000-0000-00000000feed")
            .replace("{seq}", "1");
        let path = path.replace("{key}", "00000000-0000-0000-0000-000000000001");
        let expected = match path.as_str() {
            _ if !has_get => 405,
            // It asks for the chargers by name.
            "/api/v1/uptime" => 400,
            // There is no such command, no such site, no such token, no such user and no such list.
            "/api/v1/commands/cp-1"
            | "/api/v1/commands/cp-1/report"
            | "/api/v1/sites/cp-1"
            | "/api/v1/tokens/cp-1"
            | "/api/v1/users/grafana"
            | "/api/v1/chargers/cp-1/password"
            | "/api/v1/dead-letters/00000000-0000-0000-0000-00000000feed/1"
            | "/api/v1/local-lists/{charger}" => 404,
            // There is no such command, batch and webhook.
            path if path.starts_with("/api/v1/commands/cp-1") => 404,
            path if path.starts_with("/api/v1/webhooks/cp-1") => 404,
            path if path.starts_with("/api/v1/alerts/cp-1") => 404,
            path if path.starts_with("/api/v1/silences/cp-1") => 404,
            path if path.starts_with("/api/v1/batches/cp-1") => 404,
            _ => 200,
        };
        assert_eq!(
            get(api.local_addr(), &path).await.status,
            expected,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let store = Arc::new(MemoryRows::default());
    let api = start(config(), &store).await;
    for target in [
        "/",
        "/health/live",
        "/metrics",
        "/api/v1/chargers",
        "/api/v1/chargers/x",
    ] {
        let full = get(api.local_addr(), target).await;
        let head = request(api.local_addr(), "HEAD", target).await;
        assert_eq!(head.status, full.status, "{target}");
        assert_eq!(head.header("content-length"), full.header("content-length"));
        assert_eq!(head.header("content-type"), full.header("content-type"));
        assert_eq!(head.body, "");
    }
}

#[tokio::test]
async fn every_answer_forbids_content_sniffing_and_caching() {
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    for target in [
        "/",
        "/metrics",
        "/api/v1/chargers",
        "/nothing",
        "/health/live?x",
    ] {
        let answer = get(api.local_addr(), target).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn the_version_names_the_commit_and_the_schema() {
    let store = Arc::new(MemoryRows::default());
    let deps = ApiDeps {
        build: api::Build {
            commit: Some("5395d93c0a6c2f1c9d4bd7f2b1f1f1b2a6d7c8e9"),
            schema_version: 17,
        },
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let answer = get(api.local_addr(), "/api/v1/version").await;
    assert_eq!(
        answer.json(),
        json!({
            "version": "1.2.3",
            "commit": "5395d93c0a6c2f1c9d4bd7f2b1f1f1b2a6d7c8e9",
            "schema_version": 17,
        })
    );
}

#[tokio::test]
async fn the_support_bundle_has_what_somebody_who_helps_needs_and_only_an_administrator_gets_it() {
    let keys = Arc::new(MemoryKeys::default());
    let bearer = |scope| {
        format!(
            "Authorization: Bearer {}",
            keys.add(&format!("{scope:?}"), scope, None)
        )
    };
    let (operator, administrator) = (bearer(Scope::Operate), bearer(Scope::Admin));
    let store = Arc::new(MemoryRows::default());
    let line = format!("wattpost_test{{n=\"{}\"}} 1\n", "x".repeat(1_000));
    let metrics = line.repeat(2_000);
    let deps = ApiDeps {
        keys: Some(Arc::clone(&keys) as _),
        metrics: Arc::new(move || metrics.clone()),
        support: Some(api::SupportDeps {
            settings: json!({"log": {"level": "info"}}),
            log: Arc::new(|| (0..600).map(|n| format!("line {n}")).collect()),
        }),
        ..deps(&store)
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let ask =
        async |lines: &[&str]| get_with(api.local_addr(), "/api/v1/support-bundle", lines).await;
    assert_eq!(ask(&[]).await.status, 401);
    assert_eq!(ask(&[&operator]).await.status, 403);
    let answer = ask(&[&administrator]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let name = answer.header("content-disposition");
    assert_eq!(name, Some("attachment; filename=\"wattpost-support.json\""));
    let bundle = answer.json();
    assert_eq!(bundle["version"], "1.2.3");
    assert_eq!(bundle["settings"], json!({"log": {"level": "info"}}));
    assert_eq!(bundle["health"]["parts"][0]["part"], "database");
    assert!(bundle["pipeline"]["parts"].is_array(), "{bundle}");
    let log = bundle["log"].as_array().expect("lines");
    assert_eq!(
        (log.len(), &log[0], &log[499]),
        (500, &json!("line 100"), &json!("line 599"))
    );
    let metrics = bundle["metrics"].as_str().expect("a text");
    assert_eq!(bundle["metrics_cut"], true);
    assert!(
        metrics.len() <= 1 << 20 && metrics.ends_with("} 1\n"),
        "{}",
        metrics.len()
    );
}
