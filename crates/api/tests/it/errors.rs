//! Errors have one format and a clear sentence.

use crate::support::*;
use central::ports::{Unavailable, UnavailableKind};
use std::sync::Arc;

async fn refused(target: &str, status: u16, code: &str, parts: &[&str]) {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        messages: vec![message("CP-1", 1, "Heartbeat")],
        ..MemoryRows::default()
    });
    let api = start(config(), &store).await;
    let answer = get(api.local_addr(), target).await;
    let (found, message) = answer.error();
    assert_eq!(
        (answer.status, found.as_str()),
        (status, code),
        "{target}: {message}"
    );
    for part in parts {
        assert!(
            message.contains(part),
            "{target}: {part:?} is not in {message:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_parameter_is_named_with_the_known_ones() {
    let parts = ["\"chargr\"", "charger, action, kind"];
    refused(
        "/api/v1/messages?chargr=CP-1",
        400,
        "unknown_parameter",
        &parts,
    )
    .await;
    refused(
        "/api/v1/chargers/CP-1?x=1",
        400,
        "unknown_parameter",
        &["known here: min_seq."],
    )
    .await;
    refused(
        "/health/ready?verbose",
        400,
        "unknown_parameter",
        &["\"verbose\""],
    )
    .await;
    refused("/?x=1", 400, "unknown_parameter", &["\"x\""]).await;
}

#[tokio::test]
async fn a_charger_is_told_where_chargers_connect() {
    let parts = ["ws://HOST:9000/ocpp/{identity}", "gateway.listeners"];
    for target in ["/ocpp", "/ocpp/CP-1", "/ocpp/CP%0a1?token=x"] {
        refused(target, 404, "charger_here", &parts).await;
    }
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    let upgrade = "GET /CP-1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut client = Client::connect(api.local_addr()).await;
    client.send(upgrade.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.error().0, "charger_here");
}

#[tokio::test]
async fn an_invalid_value_is_named_with_the_valid_ones() {
    for (target, parts) in [
        (
            "/api/v1/chargers?online=yes",
            ["online is \"yes\"", "true or false"],
        ),
        ("/api/v1/chargers?q=", ["q is \"\"", "omitted"]),
        (
            "/api/v1/chargers?limit=0",
            ["limit is \"0\"", "from 1 to 1000"],
        ),
        (
            "/api/v1/messages?limit=1001",
            ["limit is \"1001\"", "from 1 to 1000"],
        ),
        (
            "/api/v1/transactions?state=done",
            ["state is \"done\"", "open or ended"],
        ),
        (
            "/api/v1/messages?kind=CALL",
            ["kind is \"CALL\"", "call, send, call_result"],
        ),
        (
            "/api/v1/messages?from=yesterday",
            ["from is \"yesterday\"", "2026-01-31T12:00:00Z"],
        ),
        ("/api/v1/messages?from=2&to=1", ["to is", "not before from"]),
    ] {
        refused(target, 400, "bad_parameter", &parts).await;
    }
    let twice = "/api/v1/chargers?online=true&online=false";
    refused(twice, 400, "repeated_parameter", &["online", "once"]).await;
    refused("/api/v1/chargers?q=%ff", 400, "bad_encoding", &["UTF-8"]).await;
    refused(
        "/api/v1/chargers/%ff",
        400,
        "bad_encoding",
        &["/api/v1/chargers/%ff"],
    )
    .await;
}

#[tokio::test]
async fn an_invalid_cursor_is_refused_on_every_list() {
    for list in [
        "chargers",
        "transactions",
        "messages",
        "dead-letters",
        "audit",
    ] {
        for cursor in [
            "",
            "c",
            "zzz",
            "%00",
            "m00000000000000000000000000000000.1x",
        ] {
            let target = format!("/api/v1/{list}?cursor={cursor}");
            refused(
                &target,
                400,
                "bad_cursor",
                &["cursor is", "`next` of an earlier answer"],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn an_unknown_resource_is_named() {
    refused(
        "/api/v1/chargers/CP%2D9%22",
        404,
        "unknown_charger",
        &[r#""CP-9\"""#],
    )
    .await;
    let key = "00000000-0000-0000-0000-000000000001";
    let target = format!("/api/v1/transactions/{key}");
    refused(&target, 404, "unknown_transaction", &[key]).await;
    refused(
        "/api/v1/transactions/17",
        400,
        "bad_transaction_key",
        &["\"17\"", "UUID"],
    )
    .await;
    for target in [
        "/nothing",
        "/api/v1/chargers/",
        "/api/v1/chargers/a/b",
        "/metrics/",
        "/api",
    ] {
        refused(target, 404, "not_found", &[target, "GET /"]).await;
    }
}

#[tokio::test]
async fn an_overlong_query_is_refused_with_its_length() {
    let target = format!("/api/v1/chargers?q={}", "a".repeat(9_000));
    refused(&target, 414, "query_too_long", &["9002 bytes", "8192"]).await;
}

#[tokio::test]
async fn a_long_value_is_truncated_when_quoted() {
    let store = Arc::new(MemoryRows::default());
    let api = start(config(), &store).await;
    let target = format!("/api/v1/chargers/{}", "a".repeat(5_000));
    let answer = get(api.local_addr(), &target).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.len() < 1_000, "{}", answer.body);
}

#[tokio::test]
async fn other_methods_than_those_of_a_route_are_refused_and_their_bodies_are_not_read() {
    let store = Arc::new(MemoryRows::default());
    let api = start(config(), &store).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for target in [
            "/",
            "/metrics",
            "/api/v1/transactions",
            "/api/v1/transactions/7",
        ] {
            let answer = request(api.local_addr(), method, target).await;
            assert_eq!(answer.status, 405, "{method} {target}");
            assert_eq!(
                answer.header("allow"),
                Some("GET,HEAD"),
                "{method} {target}"
            );
            let (code, message) = answer.error();
            assert_eq!(code, "method_not_allowed");
            assert!(
                message.contains(method) && message.contains(target),
                "{message}"
            );
        }
    }
    let mut client = Client::connect(api.local_addr()).await;
    let head = "POST /api/v1/messages HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n";
    client.send(head.as_bytes()).await;
    assert_eq!(client.answer().await.status, 405);
}

#[tokio::test]
async fn an_unavailable_database_is_answered_with_retry_after() {
    let (store, switch) = switched();
    let api = start(config(), &store).await;
    switch.set(Behaviour::Unavailable(Unavailable {
        component: "database",
        kind: UnavailableKind::Locked,
        detail: "SQLITE_BUSY".to_owned(),
    }));
    for target in [
        "/api/v1/chargers",
        "/api/v1/chargers/CP-1",
        "/api/v1/transactions",
        "/api/v1/transactions/00000000-0000-0000-0000-000000000001",
        "/api/v1/messages",
        "/api/v1/dead-letters",
    ] {
        let answer = get(api.local_addr(), target).await;
        assert_eq!(answer.status, 503, "{target}");
        assert_eq!(answer.header("retry-after"), Some("2"));
        let (code, message) = answer.error();
        assert_eq!(code, "unavailable");
        assert!(
            message.contains("database is locked: SQLITE_BUSY"),
            "{message}"
        );
    }
    switch.set(Behaviour::Answers);
    assert_eq!(get(api.local_addr(), "/api/v1/chargers").await.status, 200);
}

/// A repeat would fail again, so nothing says that the database is unavailable.
#[tokio::test]
async fn an_object_that_cannot_be_read_is_named_and_not_to_be_asked_for_again() {
    let (store, switch) = switched();
    let api = start(config(), &store).await;
    switch.set(Behaviour::Unavailable(Unavailable {
        component: "database",
        kind: UnavailableKind::Corrupt,
        detail: "the column registration of charger CP-1 cannot be read: unknown variant"
            .to_owned(),
    }));
    let answer = get(api.local_addr(), "/api/v1/chargers/CP-1").await;
    assert_eq!((answer.status, answer.header("retry-after")), (500, None));
    let (code, detail) = answer.error();
    assert_eq!(code, "unreadable");
    assert!(detail.contains("charger CP-1"), "{detail}");
    assert!(
        answer.body.contains(r#""retryable":false"#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn an_internal_error_does_not_affect_other_requests() {
    let (store, switch) = switched();
    let api = start(config(), &store).await;
    switch.set(Behaviour::Panics);
    // More requests than permits: a failed query returns its permit.
    for _ in 0..10 {
        let answer = get(api.local_addr(), "/api/v1/chargers").await;
        assert_eq!(
            (answer.status, answer.error().0.as_str()),
            (500, "internal")
        );
    }
}

/// Each route with a parameter in its path answers bytes that are not UTF-8 with the same error, whatever its method.
#[tokio::test]
async fn a_path_that_is_not_utf8_is_refused_by_every_route() {
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    let addr = api.local_addr();
    let index = get(addr, "/").await.json();
    let paths = index["endpoints"].as_array().expect("the routes").iter();
    let paths: Vec<&str> = paths.filter_map(|route| route["path"].as_str()).collect();
    let mut refused = 0;
    for path in paths.iter().filter(|path| path.contains('{')) {
        let parameter = |part: &str| if part.starts_with('{') { "%ff" } else { part }.to_owned();
        let target: Vec<String> = path.split('/').map(parameter).collect();
        let target = target.join("/");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = request(addr, method, &target).await;
            if answer.status == 405 {
                continue;
            }
            let (code, detail) = answer.error();
            assert_eq!(
                (answer.status, code.as_str()),
                (400, "bad_encoding"),
                "{method} {target}: {detail}"
            );
            assert!(detail.contains(&target), "{detail}");
            refused += 1;
        }
    }
    assert!(refused > paths.len() / 2, "{refused}");
}

#[tokio::test]
async fn an_unknown_parameter_of_a_list_is_answered_with_all_known_ones() {
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    for (path, end) in [
        (
            "/api/v1/sites",
            "known here: cursor, limit, fields, min_seq.",
        ),
        ("/api/v1/chargers/CP-1", "known here: min_seq."),
        ("/api/v1/version", "this address takes none."),
    ] {
        let refused = get(api.local_addr(), &format!("{path}?sort=x")).await;
        let problem = refused.value();
        assert_eq!(problem["code"], "unknown_parameter", "{path}");
        for detail in [&problem["detail"], &problem["errors"][0]["detail"]] {
            assert!(
                detail.as_str().is_some_and(|text| text.ends_with(end)),
                "{detail}"
            );
        }
    }
}
