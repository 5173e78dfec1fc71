//! Tokens, their import, and wishes for local lists over HTTP.

use crate::support::*;
use api::Api;
use serde_json::{Value, json};
use std::sync::Arc;

const TOKENS: &str = "/api/v1/tokens";
const ONE: &str = "/api/v1/tokens/04A1";
const IMPORT: &str = "/api/v1/tokens/import";
const JSON: &str = "Content-Type: application/json";
const MERGE_PATCH: &str = "Content-Type: application/merge-patch+json";
const CSV: &str = "Content-Type: text/csv";

async fn start_api() -> Api {
    start(config(), &Arc::new(MemoryRows::default())).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test]
async fn a_token_is_added_shown_changed_and_removed() {
    let api = start_api().await;
    let addr = api.local_addr();
    assert_eq!(
        code(&get(addr, ONE).await),
        (404, "unknown_token".to_owned())
    );
    let body = json!({"status": "blocked", "group": "FLEET", "type": "ISO14443"}).to_string();
    let added = send(addr, "PUT", ONE, &[JSON], &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let shown = get(addr, "/api/v1/tokens/04a1").await;
    assert_eq!(shown.json(), added.json());
    assert_eq!(shown.json()["status"], "Blocked");
    let tag = shown.header("etag").expect("a tag").to_owned();

    let change = r#"{"status": null, "note": "van", "id": "04a1"}"#;
    let without = send(addr, "PATCH", ONE, &[MERGE_PATCH], change).await;
    assert_eq!(code(&without), (428, "if_match_required".to_owned()));
    let headers = [MERGE_PATCH, &format!("If-Match: {tag}")];
    let changed = send(addr, "PATCH", ONE, &headers, change).await;
    assert_eq!(
        changed.json(),
        json!({
            "id": "04a1", "status": "Accepted", "type": "ISO14443", "expires_at": null,
            "group": "FLEET", "concurrent_transactions": null, "note": "van",
            "last_used_at": null, "last_used_by": null, "last_used_connector": null,
        })
    );
    let late = send(addr, "PATCH", ONE, &headers, change).await;
    assert_eq!(code(&late), (412, "etag_mismatch".to_owned()));
    let replaced = send(addr, "PUT", ONE, &[JSON], "{}").await;
    assert_eq!(
        (replaced.status, &replaced.json()["note"]),
        (200, &Value::Null)
    );

    let sent_back = replaced.json().to_string();
    let same = send(addr, "PUT", ONE, &[JSON], &sent_back).await;
    assert_eq!(
        (same.status, same.header("etag"), same.json()),
        (200, replaced.header("etag"), replaced.json()),
        "what was read can be sent back"
    );

    let late = format!("If-Match: {tag}");
    let kept = send(addr, "DELETE", ONE, &[&late], "").await;
    assert_eq!(code(&kept), (412, "etag_mismatch".to_owned()));
    assert_eq!(request(addr, "DELETE", ONE).await.status, 204);
    assert_eq!(request(addr, "DELETE", ONE).await.status, 404);
}

#[tokio::test]
async fn every_wrong_member_of_a_token_is_named() {
    let api = start_api().await;
    let body = json!({
        "id": "04A2", "status": "ok", "type": 5, "expires_at": "2026", "colour": "red",
    });
    let answer = send(api.local_addr(), "PUT", ONE, &[JSON], &body.to_string()).await;
    assert_eq!(code(&answer), (422, "payload_invalid".to_owned()));
    let errors = answer.value()["errors"].clone();
    let mut pointers: Vec<_> = errors
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| error["pointer"].as_str().expect("a text"))
        .collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        ["/colour", "/expires_at", "/id", "/status", "/type"]
    );
    let bad = send(api.local_addr(), "PUT", "/api/v1/tokens/%0A", &[JSON], "{}").await;
    assert_eq!(code(&bad), (422, "payload_invalid".to_owned()));
}

#[tokio::test]
async fn an_export_is_accepted_by_an_import_unchanged() {
    let api = start_api().await;
    let addr = api.local_addr();
    let table = "id;status;type;expires_at;group;note\n\
                 04A1;Accepted;ISO14443;2026-12-31T23:59:59Z;FLEET;\"a; \"\"b\"\"\"\n\
                 =1+1;Blocked;;;;'=2\n\
                 0042;;;;;-5\n";
    let imported = send(addr, "POST", IMPORT, &[CSV], table).await;
    assert_eq!(imported.status, 200, "{}", imported.body);
    assert_eq!(imported.json()["created"], 3);
    let exported = get_with(addr, TOKENS, &["Accept: text/csv"]).await;
    for target in [IMPORT.to_owned(), format!("{IMPORT}?dry_run=true")] {
        let again = send(addr, "POST", &target, &[CSV], &exported.body).await;
        assert_eq!(again.status, 200, "{}", again.body);
        assert_eq!(again.json()["unchanged"], 3, "{}", exported.body);
    }
    let lines = get_with(addr, TOKENS, &["Accept: application/x-ndjson"]).await;
    let ndjson = "Content-Type: application/x-ndjson";
    let again = send(addr, "POST", IMPORT, &[ndjson], &lines.body).await;
    assert_eq!(again.json()["unchanged"], 3, "{}", again.body);
    let found = get(addr, "/api/v1/tokens?group=fleet&status=Accepted&q=4A").await;
    assert_eq!(found.json()["items"][0]["id"], "04A1");
    let wrong = get(addr, "/api/v1/tokens?status=accepted").await;
    assert_eq!(code(&wrong), (400, "bad_parameter".to_owned()));
}

#[tokio::test]
async fn a_repeat_of_an_import_with_its_key_changes_nothing() {
    let api = start_api().await;
    let addr = api.local_addr();
    let (key, json_lines) = ("Idempotency-Key: k1", "Content-Type: application/x-ndjson");
    for (path, list, [one, other], file) in [
        (
            IMPORT,
            TOKENS,
            ["{\"id\": \"A1\", \"group\": \"G\"}", "{\"id\": \"Z9\"}"],
            "id,group\nA1,H\nB2,\n",
        ),
        (
            "/api/v1/chargers/import",
            "/api/v1/chargers",
            [
                "{\"charger_id\": \"A1\", \"group\": \"G\"}",
                "{\"charger_id\": \"Z9\"}",
            ],
            "charger_id,group\nA1,H\nB2,\n",
        ),
    ] {
        let refused = send(
            addr,
            "POST",
            path,
            &[json_lines, key],
            "{\"id\": 1, \"no\": 2}",
        )
        .await;
        assert_eq!(
            code(&refused),
            (422, "payload_invalid".to_owned()),
            "{path}"
        );
        let dry = format!("{path}?dry_run=true");
        let judged = send(addr, "POST", &dry, &[json_lines, key], one).await;
        assert_eq!(judged.json()["created"], 1, "{}", judged.body);
        let first = send(addr, "POST", path, &[json_lines, key], one).await;
        assert_eq!(first.json()["created"], 1, "{}", first.body);
        let later = send(addr, "POST", path, &[CSV, "Idempotency-Key: k2"], file).await;
        assert_eq!(later.json()["lines"][0]["changes"], json!(["group"]));
        for (key, media, body, before) in [
            (key, json_lines, one, &first),
            ("Idempotency-Key: k2", CSV, file, &later),
        ] {
            let again = send(addr, "POST", path, &[media, key], body).await;
            assert_eq!((again.status, &again.body), (200, &before.body), "{path}");
        }
        let mismatch = send(addr, "POST", path, &[json_lines, key], other).await;
        let expected = (422, "idempotency_mismatch".to_owned());
        assert_eq!(code(&mismatch), expected, "{path}");
        let shown = get(addr, list).await.body;
        assert!(shown.contains("\"H\"") && !shown.contains("\"G\"") && !shown.contains("Z9"));
    }
}

#[tokio::test]
async fn an_import_with_a_refused_line_changes_nothing() {
    let api = start_api().await;
    let addr = api.local_addr();
    let table = "id,status\n04A1,Accepted\n04a1,Accepted\n04A2,never\n";
    let target = format!("{IMPORT}?dry_run=true");
    let verdicts = send(addr, "POST", &target, &[CSV], table).await;
    let outcomes: Vec<_> = (0..3)
        .map(|line| verdicts.json()["lines"][line]["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["created", "refused", "refused"]);
    let refused = send(addr, "POST", IMPORT, &[CSV], table).await;
    assert_eq!(code(&refused), (422, "payload_invalid".to_owned()));
    assert_eq!(
        refused.value()["errors"][1]["pointer"],
        "/line 4 status",
        "{}",
        refused.body
    );
    assert_eq!(get(addr, TOKENS).await.json()["items"], json!([]));

    let header = send(addr, "POST", IMPORT, &[CSV], "idTag\nA\n").await;
    assert_eq!(code(&header), (422, "payload_invalid".to_owned()));
    let media = send(addr, "POST", IMPORT, &[JSON], "{}").await;
    assert_eq!(code(&media), (415, "not_a_table".to_owned()));
    let long = format!("id\n{}", "x".repeat(8 << 20));
    let long = send(addr, "POST", IMPORT, &[CSV], &long).await;
    assert_eq!(code(&long), (413, "body_too_large".to_owned()));
}

#[tokio::test]
async fn a_wish_for_a_local_list_is_set_shown_and_removed() {
    let api = start_api().await;
    let addr = api.local_addr();
    let one = "/api/v1/local-lists/CP-1";
    let default = "/api/v1/local-list-default";
    let group = json!({"tokens": "group", "group": "FLEET"});
    assert_eq!(
        code(&get(addr, one).await),
        (404, "unknown_local_list".to_owned())
    );
    let set = send(addr, "PUT", one, &[JSON], &group.to_string()).await;
    assert_eq!((set.status, set.json()), (200, group.clone()));
    let shown = get(addr, one).await.json();
    assert_eq!(
        (&shown["wish"], &shown["state"]),
        (&group, &json!("unknown"))
    );
    let list = get(addr, "/api/v1/local-lists?state=unknown&q=cp").await;
    assert_eq!(list.json()["items"], json!([shown]));

    assert_eq!(get(addr, default).await.json(), json!({"wish": null}));
    let all = r#"{"tokens": "all"}"#;
    assert_eq!(send(addr, "PUT", default, &[JSON], all).await.status, 200);
    let shown = get(addr, default).await.json();
    assert_eq!(shown, json!({"wish": {"tokens": "all"}}));
    for path in [one, default] {
        assert_eq!(request(addr, "DELETE", path).await.status, 204);
    }
    assert_eq!(request(addr, "DELETE", one).await.status, 404);

    for body in [
        "{}",
        r#"{"tokens": "some"}"#,
        r#"{"tokens": "group"}"#,
        r#"{"tokens": "group", "group": ""}"#,
        r#"{"tokens": "all", "group": "G"}"#,
    ] {
        let wrong = send(addr, "PUT", one, &[JSON], body).await;
        assert_eq!(code(&wrong), (422, "payload_invalid".to_owned()), "{body}");
    }
}

const UNKNOWN: &str = "/api/v1/unknown-tokens";

/// A message of 1.6 that presents a token, with its answer.
fn presents(store: &central::memory::MemoryStore, seq: u64, tag: &str) {
    let payload = json!({ "idTag": tag }).to_string();
    let record = central::Record {
        kind: central::RecordKind::Call,
        charger_id: "CP-17",
        ocpp_version: ocpp::Version::V16,
        message_id: "m",
        action: "Authorize",
        payload: &payload,
        answer_kind: central::AnswerKind::Result,
        answer: r#"{"idTagInfo":{"status":"Invalid"}}"#,
        received_at: central::Timestamp(i64::try_from(seq).expect("small") * 1_000),
        epoch: central::Epoch(1),
        notes: central::record::Notes::default(),
        reason: "",
    };
    let id = central::RecordId {
        gateway: central::GatewayId(uuid::Uuid::from_u128(1)),
        seq: central::Seq(seq),
    };
    let records = [(id, record)];
    let changes = central::project::Changes::of(&records).0;
    central::ports::Store::apply(store, &records, &changes, &[]).expect("in memory");
}

#[tokio::test]
async fn an_unknown_token_is_listed_until_it_is_added_or_dismissed() {
    let memory = Arc::new(central::memory::MemoryStore::default());
    let deps = api::ApiDeps {
        tokens: Some(Arc::clone(&memory) as _),
        ..deps(&Arc::new(MemoryRows::default()))
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let addr = api.local_addr();
    // The second would leave the path if it were a part of it.
    for (seq, tag) in [(1, "04B1"), (2, "../<b>"), (3, "04B3")] {
        presents(&memory, seq, tag);
    }
    let list = get(addr, UNKNOWN).await.json();
    let ids = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("a page").iter();
        let id = |item: &Value| item["id"].as_str().expect("a text").to_owned();
        items.map(id).collect()
    };
    assert_eq!(ids(&list), ["04B3", "../<b>", "04B1"]);
    let first = &list["items"][0];
    assert_eq!(
        (&first["charger_id"], &first["answer"], &first["count"]),
        (&"CP-17".into(), &"Invalid".into(), &1.into())
    );
    assert_eq!(first["last_at"], "1970-01-01T00:00:03.000Z");
    let page = get(addr, &format!("{UNKNOWN}?limit=2")).await.json();
    let next = page["next"].as_str().expect("a cursor");
    let rest = get(addr, &format!("{UNKNOWN}?limit=2&cursor={next}")).await;
    assert_eq!(ids(&rest.json()), ["04B1"]);
    let found = get(addr, &format!("{UNKNOWN}?charger=cp-17&q=b3")).await;
    assert_eq!(ids(&found.json()), ["04B3"]);

    let added = send(addr, "PUT", "/api/v1/tokens/04b3", &[JSON], "{}").await;
    assert_eq!(added.status, 201);
    let hostile = list["items"][1]["key"].as_str().expect("a key");
    let target = format!("{UNKNOWN}/{hostile}");
    assert_eq!(request(addr, "DELETE", &target).await.status, 204);
    assert_eq!(ids(&get(addr, UNKNOWN).await.json()), ["04B1"]);
    let added = first["key"].as_str().expect("a key");
    for key in [hostile, added, "x"] {
        let again = request(addr, "DELETE", &format!("{UNKNOWN}/{key}")).await;
        assert_eq!(code(&again), (404, "not_listed_token".to_owned()));
    }
    presents(&memory, 4, "../<b>");
    assert_eq!(ids(&get(addr, UNKNOWN).await.json()), ["../<b>", "04B1"]);
}
