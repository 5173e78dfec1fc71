//! Chargers, transactions and messages over real HTTP.

use crate::support::*;
use central::RecordKind;
use central::model::Boot;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// Maximum size of a page, including what surrounds its items.
const PAGE_BYTES: usize = 8 * 1024 * 1024 + 1_000;

fn texts<'a>(answer: &'a Value, member: &str) -> Vec<&'a str> {
    let items = answer["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item[member].as_str().expect("a text"))
        .collect()
}

/// Follows `next` to the end and returns all values of `member`. No page may have more than `limit` items.
async fn scan(addr: SocketAddr, address: &str, limit: usize, member: &str) -> Vec<String> {
    let separator = if address.contains('?') { '&' } else { '?' };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(addr, &format!("{address}{separator}limit={limit}{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        let found = texts(&page, member);
        assert!(found.len() <= limit);
        seen.extend(found.into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["next"], Value::Null);
                return seen;
            }
        }
    }
}

#[tokio::test]
async fn chargers_are_listed_filtered_and_paged() {
    let chargers: Vec<_> = (0..25)
        .map(|i| charger(&format!("CP-{i:02}"), i % 2 == 0))
        .collect();
    let store = Arc::new(MemoryRows {
        chargers,
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();

    let all = get(addr, "/api/v1/chargers").await;
    assert_eq!(all.status, 200);
    assert_eq!(texts(&all.json(), "charger_id").len(), 25);
    assert_eq!(all.json()["next"], Value::Null);

    let on = get(addr, "/api/v1/chargers?online=true&q=cp-1")
        .await
        .json();
    assert_eq!(
        texts(&on, "charger_id"),
        ["CP-10", "CP-12", "CP-14", "CP-16", "CP-18"]
    );
    let off = get(addr, "/api/v1/chargers?online=false").await.json();
    assert_eq!(texts(&off, "charger_id").len(), 12);

    for limit in [1, 7, 24, 25, 26] {
        let seen = scan(addr, "/api/v1/chargers", limit, "charger_id").await;
        let different: HashSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), different.len()), (25, 25), "limit {limit}");
    }
    let seen = scan(addr, "/api/v1/chargers?online=true", 4, "charger_id").await;
    assert_eq!(seen.len(), 13);
}

#[tokio::test]
async fn one_charger_is_returned_with_its_connectors_and_open_transactions() {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("Depot@Nord 7 ü", true), charger("CP-1", false)],
        connectors: vec![connector("Depot@Nord 7 ü", 1), connector("CP-1", 2)],
        transactions: vec![
            transaction("Depot@Nord 7 ü", 1, true),
            transaction("Depot@Nord 7 ü", 2, false),
            transaction("CP-1", 3, true),
        ],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();

    // In the stored case and in another one; the at sign, the space and the umlaut are percent-encoded.
    for id in ["Depot%40Nord%207%20%C3%BC", "dEPOT%40nORD%207%20%C3%9C"] {
        let found = get(addr, &format!("/api/v1/chargers/{id}")).await;
        assert_eq!(found.status, 200, "{}", found.body);
        let found = found.json();
        assert_eq!(found["charger_id"], "Depot@Nord 7 ü");
        assert_eq!(found["online"], true);
        assert_eq!(found["connectors"].as_array().map(Vec::len), Some(1));
        assert_eq!(found["connectors"][0]["connector"], 1);
        let open = found["open_transactions"].as_array().expect("a list");
        assert_eq!(open.len(), 1);
        assert_eq!(open[0]["key"], "00000000-0000-0000-0000-000000000001");
    }
}

#[tokio::test]
async fn transactions_are_filtered_paged_and_returned_one_by_one() {
    let transactions: Vec<_> = (1..=9)
        .rev()
        .map(|i| transaction(if i % 3 == 0 { "CP-B" } else { "CP-A" }, i, i > 6))
        .collect();
    let store = Arc::new(MemoryRows {
        transactions,
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let count = async |filter: &str| {
        scan(addr, &format!("/api/v1/transactions{filter}"), 2, "key")
            .await
            .len()
    };

    assert_eq!(count("").await, 9);
    assert_eq!(count("?charger=cp-b").await, 3);
    assert_eq!(count("?state=open").await, 3);
    assert_eq!(count("?state=ended&charger=CP-A").await, 4);
    // From the fourth (included) to the sixth (excluded), with both notations of a time.
    let to = START + 6_000;
    assert_eq!(
        count(&format!("?from=2026-01-01T00:00:04Z&to={to}")).await,
        2
    );
    assert_eq!(count("?from=2026-01-01T01:00:04+01:00").await, 6);
    assert_eq!(count("?charger=nobody").await, 0);

    let key = "00000000-0000-0000-0000-000000000005";
    let one = get(addr, &format!("/api/v1/transactions/{key}")).await;
    assert_eq!((one.status, &one.json()["key"]), (200, &json!(key)));
}

#[tokio::test]
async fn messages_are_filtered_and_paged_with_the_payload_unchanged() {
    let mut messages: Vec<_> = (1..=650)
        .map(|seq| message(["CP-A", "CP-B"][seq as usize % 2], seq, "Heartbeat"))
        .collect();
    messages[9].action = "MeterValues".to_owned();
    messages[10].kind = RecordKind::CallResult;
    messages[11].payload = "{broken".to_owned();
    let store = Arc::new(MemoryRows {
        messages,
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();

    let first = get(addr, "/api/v1/messages").await.json();
    assert_eq!(texts(&first, "record_id").len(), 100, "the default page");
    assert_eq!(
        first["items"][0],
        json!({
            "record_id": "00000000-0000-0000-0000-00000000feed/1",
            "charger_id": "CP-B", "ocpp_version": "1.6", "direction": "from_charger",
            "kind": "call", "message_id": "m-1", "action": "Heartbeat",
            "payload": {"n": 1}, "answer": {}, "received_at": "2026-01-01T00:00:01.000Z",
            "gateway_id": "00000000-0000-0000-0000-00000000feed", "seq": 1,
            "notes": [], "reason": "", "epoch": 1,
        })
    );
    assert_eq!(first["items"][11]["payload"], "{broken");

    // A client that follows a gateway requests the records after the last number that it has.
    let gateway = "00000000-0000-0000-0000-00000000feed";
    let following = get(
        addr,
        &format!("/api/v1/messages?after={gateway}/640&limit=4"),
    )
    .await;
    let following = following.json();
    assert_eq!(
        texts(&following, "record_id"),
        [641, 642, 643, 644].map(|seq| format!("{gateway}/{seq}"))
    );
    let next = following["next"].as_str().expect("more");
    for (wrong, words) in [
        ("after=640".to_owned(), "GATEWAY-UUID/NUMBER"),
        (format!("after={gateway}/+640"), "GATEWAY-UUID/NUMBER"),
        (
            format!("after={gateway}/1&cursor={next}"),
            "omitted if cursor is given",
        ),
    ] {
        let refused = get(addr, &format!("/api/v1/messages?{wrong}")).await;
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(refused.body.contains(words), "{}", refused.body);
    }

    // One limit above the number of rows per query, one below, one equal.
    for limit in [1_000, 250, 100, 99] {
        let seen = scan(addr, "/api/v1/messages", limit, "record_id").await;
        let different: HashSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), different.len()), (650, 650), "limit {limit}");
    }
    for (filter, count) in [
        ("charger=cp-a", 325),
        ("action=MeterValues", 1),
        ("kind=call_result", 1),
        ("kind=call", 649),
        ("from=2026-01-01T00:10:00Z", 51),
        ("to=2026-01-01T00:00:05Z&charger=CP-B", 2),
        ("action=ClearCache", 0),
    ] {
        let seen = scan(addr, &format!("/api/v1/messages?{filter}"), 60, "record_id").await;
        assert_eq!(seen.len(), count, "{filter}");
    }
}

#[tokio::test]
async fn a_page_of_huge_messages_ends_early_and_no_message_is_skipped() {
    let messages: Vec<_> = (1..=300)
        .map(|seq| {
            let mut row = message("CP-A", seq, "DataTransfer");
            row.payload = format!("[\"{}\"]", "x".repeat(100_000));
            row
        })
        .collect();
    let store = Arc::new(MemoryRows {
        messages,
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let first = get(api.local_addr(), "/api/v1/messages?limit=300").await;
    assert!(first.body.len() < PAGE_BYTES, "{} bytes", first.body.len());
    assert_eq!(texts(&first.json(), "record_id").len(), 83);
    let seen = scan(api.local_addr(), "/api/v1/messages", 300, "record_id").await;
    assert_eq!(seen.len(), 300);
}

#[tokio::test]
async fn every_list_stays_within_its_limit_of_bytes() {
    let huge = || "x".repeat(900_000);
    let store = Arc::new(MemoryRows {
        chargers: (10..40)
            .map(|i| {
                let mut row = charger(&format!("CP-{i}"), true);
                row.boot = Some(Boot {
                    vendor: Some(huge()),
                    ..Boot::default()
                });
                row
            })
            .collect(),
        connectors: (1..=30)
            .map(|i| {
                let mut row = connector("CP-10", i);
                row.info = Some(huge());
                row.last_status = Some(huge());
                row
            })
            .collect(),
        transactions: (1..=30)
            .map(|i| {
                let mut row = transaction("CP-10", i, true);
                row.id_token = Some(huge());
                row.stop_reason = Some(huge());
                row
            })
            .collect(),
        messages: (1..=30)
            .map(|seq| {
                let mut row = message("CP-10", seq, "DataTransfer");
                // Not JSON, therefore a text in which each of these characters takes six bytes: 600 kB.
                row.payload = "\u{1}".repeat(100_000);
                row
            })
            .collect(),
        dead_letters: (1..=30)
            .map(|seq| {
                let mut row = dead_letter(seq);
                row.content = Some(huge());
                row
            })
            .collect(),
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    for (list, member) in [
        ("chargers", "charger_id"),
        ("transactions", "key"),
        ("messages", "record_id"),
        ("dead-letters", "record_id"),
    ] {
        let target = format!("/api/v1/{list}");
        let page = get(addr, &format!("{target}?limit=1000")).await;
        assert!(page.body.len() < PAGE_BYTES, "{list}: {}", page.body.len());
        let seen = scan(addr, &target, 1_000, member).await;
        let different: HashSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), different.len()), (30, 30), "{list}");
    }

    // Lists truncate long texts.
    let cut = format!("{}…", "x".repeat(1_000));
    let chargers = get(addr, "/api/v1/chargers").await.json();
    assert_eq!(chargers["items"][0]["boot"]["vendor"], cut);
    let listed = &chargers["items"][0]["connectors"];
    assert_eq!(listed[29]["last_status"], cut);
    let one = get(addr, "/api/v1/chargers/cp-10").await;
    assert!(one.body.len() < 200_000, "{} bytes", one.body.len());
    let one = one.json();
    assert_eq!(one["boot"]["vendor"], cut);
    assert_eq!(one["connectors"][29]["info"], cut);
    assert_eq!(one["open_transactions"][29]["id_token"], cut);
    let key = "/api/v1/transactions/00000000-0000-0000-0000-000000000001";
    assert_eq!(get(addr, key).await.json()["stop_reason"], cut);
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_reason() {
    let store = Arc::new(MemoryRows {
        dead_letters: (1..=5).map(dead_letter).collect(),
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let page = get(api.local_addr(), "/api/v1/dead-letters").await.json();
    assert_eq!(
        page["items"][0]["reason"],
        "record is damaged: unknown kind"
    );
    assert_eq!(page["items"][0]["at"], "2026-01-01T00:00:00.000Z");
    let seen = scan(api.local_addr(), "/api/v1/dead-letters", 2, "record_id").await;
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn quirks_are_summed_filtered_and_paged_and_shown_with_their_charger() {
    let count = central::model::QuirkCount::once(central::Timestamp(1_767_225_600_000));
    let row = |quirk, vendor: &str| central::model::QuirkSummary {
        quirk,
        model: central::model::ChargerModel {
            vendor: vendor.to_owned(),
            ..central::model::ChargerModel::default()
        },
        chargers: 1,
        count,
    };
    let (quirk, other) = (central::Quirk::NumberId, central::Quirk::LongId);
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        quirks: vec![row(quirk, ""), row(quirk, "V"), row(other, "V")],
        charger_quirks: vec![central::model::QuirkView { quirk, count }],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let addr = api.local_addr();

    let seen = scan(addr, "/api/v1/quirks", 2, "quirk").await;
    assert_eq!(seen, ["number_id", "number_id", "long_id"]);
    let seen = scan(addr, "/api/v1/quirks?vendor=V&quirk=number_id", 1, "vendor").await;
    assert_eq!(seen, ["V"]);
    assert_eq!(
        scan(addr, "/api/v1/quirks?vendor=", 5, "vendor").await,
        [""]
    );
    let one = get(addr, "/api/v1/quirks?limit=1").await.json();
    let at = "2026-01-01T00:00:00.000Z";
    let expected = json!({
        "quirk": "number_id", "vendor": "", "model": "", "firmware": "",
        "chargers": 1, "count": 1, "first_at": at, "last_at": at
    });
    assert_eq!(one["items"][0], expected);
    for wrong in ["quirk=number", "quirk=", "charger=CP-1", "cursor=d1"] {
        let refused = get(addr, &format!("/api/v1/quirks?{wrong}")).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }

    let charger = get(addr, "/api/v1/chargers/CP-1").await.json();
    let expected = json!([{"quirk": "number_id", "count": 1, "first_at": at, "last_at": at}]);
    assert_eq!(charger["quirks"], expected);
}
