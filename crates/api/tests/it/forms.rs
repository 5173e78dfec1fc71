//! The forms of lists, links between pages, chosen members, and entity tags.

use crate::support::*;
use api::webhooks::client::Client as WebhookClient;
use api::{AlertConfig, AlertDeps, Api, ApiDeps, WebhookConfig, WebhookDeps};
use central::Timestamp;
use central::model::{Actor, ActorKind, AuditView, Scope};
use serde_json::Value;
use std::sync::Arc;
use store::{SqliteOptions, SqliteStore};

fn rows() -> Arc<MemoryRows> {
    let mut evil = charger("CP-1", true);
    evil.firmware_status = Some("=HYPERLINK(\"x\")".to_owned());
    Arc::new(MemoryRows {
        chargers: vec![evil, charger("CP-2", false), charger("CP-3", true)],
        connectors: vec![connector("CP-1", 1)],
        transactions: vec![transaction("CP-1", 7, true)],
        messages: vec![message("CP-1", 1, "Heartbeat")],
        dead_letters: vec![dead_letter(9)],
        audit: vec![AuditView {
            no: 3,
            at: Timestamp(START),
            by: Actor {
                kind: ActorKind::CommandLine,
                name: Some("anna".to_owned()),
            },
            from: "depot-1".to_owned(),
            request_id: None,
            action: "charger.set".to_owned(),
            subject: "CP-1".to_owned(),
            before: None,
            after: Some(serde_json::json!({"charger_id": "CP-1"})),
            traceparent: None,
        }],
        ..MemoryRows::default()
    })
}

/// The lists of the document, with the schema of an item and an address of each that this API has.
fn lists() -> Vec<(String, Value)> {
    let document = api::openapi();
    let resolved = |schema: &Value| match schema["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect("a schema")
            .clone(),
        None => schema.clone(),
    };
    let paths = document["paths"].as_object().expect("paths");
    let lists = paths.iter().filter_map(|(path, methods)| {
        let content = &methods["get"]["responses"]["200"]["content"];
        let page = resolved(&content["application/json"]["schema"]);
        let items = &page["properties"]["items"]["items"];
        let is_page = !items.is_null() && !page["properties"]["next"].is_null();
        is_page.then(|| (path.clone(), resolved(items)))
    });
    lists.collect()
}

/// An address of a list; `None` if what the list is about needs more than rows in memory.
fn address(path: &str) -> Option<String> {
    const NOT_HERE: [&str; 3] = [
        "/api/v1/commands/{id}/report",
        "/api/v1/batches/{id}/items",
        "/api/v1/webhooks/{id}/deliveries",
    ];
    let key = "00000000-0000-0000-0000-000000000007";
    // A list of chargers that the request names, of a time that has an end: the same rows each time.
    let named = match path {
        "/api/v1/uptime" => "?chargers=CP-1&from=0&to=86400000",
        _ => "",
    };
    let filled = path.replace("{id}", "CP-1").replace("{key}", key);
    (!NOT_HERE.contains(&path)).then(|| filled + named)
}

/// What has rows, with the lists that need more than rows in memory.
struct World {
    api: Api,
    bearer: String,
    _directory: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let keys = Arc::new(MemoryKeys::default());
        let bearer = format!(
            "Authorization: Bearer {}",
            keys.add("root", Scope::Admin, None)
        );
        let users = Arc::new(MemoryUsers::default());
        users.add("anna", Scope::Read, "correct horse battery");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wattpost.db");
        let store = SqliteStore::open(path, SqliteOptions::default()).expect("it opens");
        let store = Arc::new(store);
        let client = WebhookClient::new(WebhookConfig::default().client()).expect("a client");
        let deps = ApiDeps {
            keys: Some(keys),
            users: Some(users),
            alerts: Some(AlertDeps {
                alerts: Arc::clone(&store) as _,
                clock: Arc::clone(&store) as _,
                config: AlertConfig {
                    enabled: false,
                    ..AlertConfig::default()
                },
                mailer: None,
            }),
            webhooks: Some(WebhookDeps {
                webhooks: Arc::clone(&store) as _,
                clock: Arc::clone(&store) as _,
                log: store,
                client: Arc::new(client),
            }),
            ..deps(&rows())
        };
        let world = Self {
            api: Api::start(config(), deps).await.expect("it starts"),
            bearer,
            _directory: directory,
        };
        for (list, body) in [
            (
                "webhooks",
                r#"{"url": "https://receiver.example/x", "enabled": false}"#,
            ),
            (
                "silences",
                r#"{"charger_id": "CP-1", "ends_at": "2999-01-01T00:00:00Z"}"#,
            ),
        ] {
            let target = format!("/api/v1/{list}");
            let headers = ["Content-Type: application/json", &world.bearer];
            let body = body.replace("2999-01-01T00:00:00Z", &in_an_hour());
            let added = send(world.api.local_addr(), "POST", &target, &headers, &body).await;
            assert_eq!(added.status, 201, "{}", added.body);
        }
        world
    }

    async fn get(&self, target: &str, accept: &str) -> Answer {
        let accept = format!("Accept: {accept}");
        get_with(self.api.local_addr(), target, &[&accept, &self.bearer]).await
    }
}

fn in_an_hour() -> String {
    Timestamp(common::clock::now_ms() + 3_600_000).to_string()
}

#[tokio::test]
async fn a_link_leads_to_the_next_page_of_the_same_filter_in_every_form() {
    let api = start(config(), &rows()).await;
    for accept in ["application/json", "application/x-ndjson", "text/csv"] {
        let mut target = "/api/v1/chargers?online=true&limit=1&fields=charger_id".to_owned();
        let mut seen = String::new();
        let mut pages = 0;
        loop {
            let answer = get_with(api.local_addr(), &target, &[&format!("Accept: {accept}")]).await;
            assert_eq!(answer.status, 200, "{target}");
            assert!(
                answer
                    .header("content-type")
                    .is_some_and(|media| media.starts_with(accept))
            );
            seen.push_str(&answer.body);
            pages += 1;
            let Some(link) = answer.header("link") else {
                break;
            };
            let next = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""));
            target = next.expect("a link").to_owned();
        }
        assert_eq!(pages, 2, "{seen}");
        assert!(seen.contains("CP-1") && seen.contains("CP-3") && !seen.contains("CP-2"));
    }
    let first = get(api.local_addr(), "/api/v1/chargers?limit=1").await;
    let cursor = first.json()["next"].as_str().expect("more").to_owned();
    assert_eq!(
        first.header("link"),
        Some(format!("</api/v1/chargers?limit=1&cursor={cursor}>; rel=\"next\"").as_str())
    );
}

#[tokio::test]
async fn every_list_has_the_same_rows_as_json_lines_and_csv() {
    const WITH_ROWS: [&str; 13] = [
        "uptime",
        "chargers",
        "connectors",
        "transactions",
        "messages",
        "dead-letters",
        "audit",
        "actions",
        "alert-rules",
        "silences",
        "webhooks",
        "api-keys",
        "users",
    ];
    let world = World::start().await;
    let lists = lists();
    assert!(lists.len() > 25, "{}", lists.len());
    for (path, _) in &lists {
        let contents = &api::openapi()["paths"][path]["get"]["responses"]["200"]["content"];
        for media in ["application/x-ndjson", "text/csv"] {
            assert!(
                contents[media].is_object(),
                "{path} is not described as {media}"
            );
        }
        let Some(target) = address(path) else {
            continue;
        };
        let json = world.get(&target, "application/json").await;
        assert_eq!(json.status, 200, "{target}: {}", json.body);
        let items = json.json()["items"].as_array().expect("items").clone();
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_empty = items.is_empty() && WITH_ROWS.contains(&name) && !path.contains("{key}");
        assert!(!is_empty, "{path} has rows");
        let lines = world.get(&target, "application/x-ndjson").await;
        let media = lines.header("content-type");
        assert_eq!(media, Some("application/x-ndjson"), "{path}");
        let lines: Vec<Value> = lines
            .body
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object"))
            .collect();
        assert_eq!(lines, items, "{path}");
        let csv = world.get(&target, "text/csv").await;
        let media = csv.header("content-type").unwrap_or_default();
        assert!(media.starts_with("text/csv"), "{path}: {media}");
        let mut table = csv::ReaderBuilder::new()
            .has_headers(!items.is_empty())
            .from_reader(csv.body.as_bytes());
        assert_eq!(table.records().count(), items.len(), "{path}: {}", csv.body);
        let png = world.get(&target, "image/png").await;
        assert_eq!(
            (png.status, png.error().0.as_str()),
            (406, "not_acceptable"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_formula_is_not_run_by_a_spreadsheet() {
    let api = start(config(), &rows()).await;
    let csv = get_with(
        api.local_addr(),
        "/api/v1/chargers?limit=1&fields=charger_id,firmware_status",
        &["Accept: text/csv"],
    )
    .await;
    assert_eq!(
        csv.body,
        "charger_id,firmware_status\r\nCP-1,\"'=HYPERLINK(\"\"x\"\")\"\r\n"
    );
}

#[tokio::test]
async fn fields_select_members_of_each_list_and_others_are_refused() {
    let world = World::start().await;
    for (path, item) in lists() {
        let Some(target) = address(&path) else {
            continue;
        };
        let members = item["properties"].as_object().expect("members");
        let field = members.keys().next_back().expect("a member");
        let separator = if target.contains('?') { '&' } else { '?' };
        let chosen = world
            .get(&format!("{target}{separator}fields={field}"), "*/*")
            .await;
        assert_eq!(chosen.status, 200, "{path}: {}", chosen.body);
        for item in chosen.value()["items"].as_array().expect("items") {
            let members: Vec<&String> = item.as_object().expect("an object").keys().collect();
            assert!(members.iter().all(|name| *name == field), "{path}: {item}");
        }
        for wrong in ["nonsense", "", "online,,"] {
            let refused = world.get(&format!("{target}?fields={wrong}"), "*/*").await;
            assert_eq!(
                (refused.status, refused.error().0.as_str()),
                (400, "bad_parameter"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn an_unchanged_object_is_not_sent_again() {
    let api = start(config(), &rows()).await;
    let key = "/api/v1/transactions/00000000-0000-0000-0000-000000000007";
    for target in ["/api/v1/chargers/CP-1", key] {
        let first = get(api.local_addr(), target).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let line = format!("If-None-Match: {known}");
            let again = get_with(api.local_addr(), target, &[&line]).await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
        }
        let line = "If-None-Match: \"other\"";
        let changed = get_with(api.local_addr(), target, &[line]).await;
        assert_eq!((changed.status, &changed.body), (200, &first.body));
    }
}
