//! A slow database, slow clients or many clients do not block the process or its health checks.

use crate::support::*;
use api::{Api, ApiConfig, ApiDeps, StartError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Repeats the request until the answer is 200, which needs a free connection.
async fn until_answered(addr: SocketAddr, target: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(addr, target).await.status != 200 {
        assert!(Instant::now() < deadline, "{target} was not answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_blocks_neither_threads_nor_health() {
    let (store, switch) = switched();
    let config = ApiConfig {
        request_timeout_ms: 300,
        database_calls_max: 4,
        ..config()
    };
    let api = start(config, &store).await;
    let addr = api.local_addr();
    switch.set(Behaviour::Blocks);

    let asked: Vec<_> = (0..10)
        .map(|_| tokio::spawn(get(addr, "/api/v1/chargers")))
        .collect();
    until("both queries", || switch.blocked() == 2).await;
    assert_eq!(get(addr, "/health/live").await.status, 200);
    assert_eq!(get(addr, "/health/ready").await.status, 200);
    assert_eq!(get(addr, "/metrics").await.status, 200);

    let mut codes = Vec::new();
    for one in asked {
        let answer = one.await.expect("no panic");
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("5"));
        let (code, message) = answer.error();
        assert!(message.contains("300 ms"), "{message}");
        codes.push(code);
    }
    codes.sort();
    codes.dedup();
    assert_eq!(codes, ["crowded", "timeout"]);
    assert_eq!(
        switch.blocked(),
        2,
        "two queries run although their requests have timed out"
    );

    switch.set(Behaviour::Answers);
    until("the end of the queries", || switch.blocked() == 0).await;
    assert_eq!(get(addr, "/api/v1/chargers").await.status, 200);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_disconnected() {
    let config = ApiConfig {
        idle_timeout_ms: 200,
        ..config()
    };
    let api = start(config, &Arc::new(MemoryRows::default())).await;
    let mut silent = Client::connect(api.local_addr()).await;
    let mut slow = Client::connect(api.local_addr()).await;
    slow.send(b"GET /health/live HTTP/1.1\r\nHost: t").await;
    silent.closed().await;
    slow.closed().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let mut row = message("CP-1", 1, "DataTransfer");
    // More than the buffers of a loopback connection hold.
    row.payload = format!("\"{}\"", "x".repeat(32 * 1024 * 1024));
    let store = Arc::new(MemoryRows {
        messages: vec![row],
        ..MemoryRows::default()
    });
    let config = ApiConfig {
        idle_timeout_ms: 200,
        connections_max: 1,
        ..config()
    };
    let api = start(config, &store).await;
    let mut reader = Client::connect(api.local_addr()).await;
    reader.ask("/api/v1/messages").await;
    // The only connection is free again once the client that does not read is disconnected.
    until_answered(api.local_addr(), "/").await;
    reader.closed().await;
}

#[tokio::test]
async fn a_new_connection_without_a_request_is_disconnected_soon() {
    // Longer than the test runs.
    let config = ApiConfig {
        idle_timeout_ms: 600_000,
        ..config()
    };
    let api = start(config, &Arc::new(MemoryRows::default())).await;
    let mut silent = Client::connect(api.local_addr()).await;
    let mut slow = Client::connect(api.local_addr()).await;
    slow.send(b"GET / HTTP/1.1\r\nHost: t").await;
    let mut scraper = Client::connect(api.local_addr()).await;
    scraper.ask("/metrics").await;
    assert_eq!(scraper.answer().await.status, 200);
    silent.closed().await;
    slow.closed().await;
    // A connection that has sent a request may stay idle for the next one.
    scraper.ask("/metrics").await;
    assert_eq!(scraper.answer().await.status, 200);
}

#[tokio::test]
async fn many_silent_connections_do_not_block_health() {
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    let addr = api.local_addr();
    let mut silent = Vec::new();
    for _ in 0..400 {
        let mut one = Client::connect(addr).await;
        one.send(b"GET / HTTP/1.1\r\n").await;
        silent.push(one);
    }
    let began = Instant::now();
    for target in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(get(addr, target).await.status, 200, "{target}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_limit_of_connections_only_health_and_metrics_are_answered() {
    let (store, switch) = switched();
    let config = ApiConfig {
        connections_max: 2,
        ..config()
    };
    let api = start(config, &store).await;
    let addr = api.local_addr();
    switch.set(Behaviour::Blocks);
    let asked: Vec<_> = (0..2)
        .map(|_| tokio::spawn(get(addr, "/api/v1/chargers")))
        .collect();
    until("both queries", || switch.blocked() == 2).await;

    for target in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(get(addr, target).await.status, 200, "{target}");
    }
    for target in ["/", "/api/v1/chargers", "/nothing"] {
        let answer = get(addr, target).await;
        let (code, _) = answer.error();
        assert_eq!(
            (answer.status, code.as_str()),
            (503, "too_many_connections"),
            "{target}"
        );
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let many: Vec<_> = (0..50)
        .map(|_| tokio::spawn(get(addr, "/health/live")))
        .collect();
    for one in many {
        assert_eq!(one.await.expect("no panic").status, 200);
    }

    switch.set(Behaviour::Answers);
    for one in asked {
        assert_eq!(one.await.expect("no panic").status, 200);
    }
    until_answered(addr, "/").await;
}

#[tokio::test]
async fn a_connection_serves_many_requests_without_pauses() {
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    let mut client = Client::connect(api.local_addr()).await;
    let began = Instant::now();
    for _ in 0..100 {
        client.ask("/health/live").await;
        assert_eq!(client.answer().await.status, 200);
    }
    // With delayed acknowledgements it would take 100 times 40 ms.
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_requests_in_progress_and_closes_idle_connections() {
    let (store, switch) = switched();
    let api = start(config(), &store).await;
    let addr = api.local_addr();
    let mut idle = Client::connect(addr).await;
    idle.ask("/health/live").await;
    assert_eq!(idle.answer().await.status, 200);

    switch.set(Behaviour::Blocks);
    let in_progress = tokio::spawn(get(addr, "/api/v1/chargers"));
    until("the request in progress", || switch.blocked() == 1).await;
    let stopping = tokio::spawn(api.shutdown(Duration::from_secs(20)));
    idle.closed().await;
    switch.set(Behaviour::Answers);
    assert_eq!(in_progress.await.expect("no panic").status, 200);
    stopping.await.expect("no panic");
    let refused = tokio::net::TcpStream::connect(addr).await;
    assert!(refused.is_err(), "the port is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_longer_than_the_grace_period() {
    let (store, switch) = switched();
    let api = start(config(), &store).await;
    switch.set(Behaviour::Blocks);
    let mut client = Client::connect(api.local_addr()).await;
    client.ask("/api/v1/chargers").await;
    until("the request in progress", || switch.blocked() == 1).await;
    let began = Instant::now();
    api.shutdown(Duration::from_millis(100)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    client.closed().await;
    switch.set(Behaviour::Answers);
}

#[tokio::test]
async fn a_failed_start_returns_the_reason() {
    let deps = || ApiDeps {
        store: Some(Arc::new(MemoryRows::default())),
        chargers: None,
        tokens: None,
        local_lists: None,
        rotations: None,
        handshakes: None,
        batches: None,
        closings: None,
        disconnects: None,
        dead_letters: None,
        letter_retries: None,
        commands: None,
        event_log: None,
        events: None,
        webhooks: None,
        alerts: None,
        keys: None,
        users: None,
        probes: Vec::new(),
        process: None,
        pipeline: None,
        metrics: Arc::new(String::new),
        version: "1.2.3",
        build: api::Build::default(),
        support: None,
    };
    let first = Api::start(config(), deps()).await.expect("a free port");
    let taken = ApiConfig {
        listen: first.local_addr(),
        ..config()
    };
    let why = Api::start(taken, deps()).await.expect_err("taken");
    assert!(matches!(why, StartError::Listen { .. }));
    assert!(
        why.to_string().contains(&first.local_addr().to_string()),
        "{why}"
    );

    let wrong = ApiConfig {
        connections_max: 0,
        ..config()
    };
    let why = Api::start(wrong, deps()).await.expect_err("out of range");
    assert!(why.to_string().contains("connections_max is 0"), "{why}");
}

#[tokio::test]
async fn a_process_without_a_store_answers_only_health_and_metrics() {
    let deps = ApiDeps {
        store: None,
        chargers: None,
        tokens: None,
        local_lists: None,
        rotations: None,
        handshakes: None,
        batches: None,
        closings: None,
        disconnects: None,
        dead_letters: None,
        letter_retries: None,
        commands: None,
        event_log: None,
        events: None,
        webhooks: None,
        alerts: None,
        keys: None,
        users: None,
        probes: Vec::new(),
        process: None,
        pipeline: None,
        metrics: Arc::new(|| "wattpost_test 1\n".to_owned()),
        version: "1.2.3",
        build: api::Build::default(),
        support: None,
    };
    let config = ApiConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..ApiConfig::default()
    };
    let api = Api::start(config, deps).await.expect("starts");
    let address = api.local_addr();
    for (path, status) in [
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/metrics", 200),
        ("/", 404),
        ("/api/v1/chargers", 404),
    ] {
        assert_eq!(get(address, path).await.status, status, "{path}");
    }
}
