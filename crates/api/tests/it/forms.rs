//! The forms of lists, links between pages, chosen members, and entity tags.

use crate::support::*;
use central::Timestamp;
use central::model::{Actor, ActorKind, AuditView};
use serde_json::Value;
use std::sync::Arc;

fn rows() -> Arc<MemoryRows> {
    let mut evil = charger("CP-1", true);
    evil.firmware_status = Some("=HYPERLINK(\"x\")".to_owned());
    Arc::new(MemoryRows {
        chargers: vec![evil, charger("CP-2", false), charger("CP-3", true)],
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

const LISTS: [&str; 6] = [
    "chargers",
    "transactions",
    "messages",
    "dead-letters",
    "quirks",
    "audit",
];

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
    let api = start(config(), &rows()).await;
    for list in LISTS {
        let target = format!("/api/v1/{list}");
        let json = get(api.local_addr(), &target).await.json();
        let items = json["items"].as_array().expect("items").clone();
        let lines = get_with(api.local_addr(), &target, &["Accept: application/x-ndjson"]).await;
        let lines: Vec<Value> = lines
            .body
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object"))
            .collect();
        assert_eq!(lines, items, "{list}");
        let csv = get_with(api.local_addr(), &target, &["Accept: text/csv"]).await;
        let records = csv.body.split_terminator("\r\n").count();
        let header = usize::from(!items.is_empty());
        assert_eq!(records, items.len() + header, "{list}: {}", csv.body);
    }
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
    let png = get_with(api.local_addr(), "/api/v1/chargers", &["Accept: image/png"]).await;
    assert_eq!(
        (png.status, png.error().0.as_str()),
        (406, "not_acceptable")
    );
}

#[tokio::test]
async fn fields_select_members_of_each_list_and_others_are_refused() {
    let api = start(config(), &rows()).await;
    for (list, field) in
        LISTS
            .into_iter()
            .zip(["online", "energy_wh", "payload", "reason", "count"])
    {
        let chosen = get(api.local_addr(), &format!("/api/v1/{list}?fields={field}")).await;
        assert_eq!(chosen.status, 200, "{list}");
        for item in chosen.value()["items"].as_array().expect("items") {
            let members: Vec<&String> = item.as_object().expect("an object").keys().collect();
            assert_eq!(members, [field], "{list}");
        }
        for wrong in ["nonsense", "", "online,,"] {
            let target = format!("/api/v1/{list}?fields={wrong}");
            let refused = get(api.local_addr(), &target).await;
            assert_eq!(
                (refused.status, refused.error().0.as_str()),
                (400, "bad_parameter")
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
