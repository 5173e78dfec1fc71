//! API keys: which requests need one, what each scope permits, and that no answer or log line contains a key.

use crate::support::*;
use crate::webhooks::new_postgres;
use api::{Api, ApiConfig, ApiDeps, StartError};
use central::Timestamp;
use central::model::Scope;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::{PostgresOptions, PostgresStore};
use tokio::task::block_in_place;

/// A route that needs the scope `read`.
const LIST: &str = "/api/v1/chargers";

async fn start_with_keys(config: ApiConfig, keys: &Arc<MemoryKeys>) -> Result<Api, StartError> {
    let store = Arc::new(MemoryRows {
        chargers: vec![charger("CP-1", true)],
        ..MemoryRows::default()
    });
    let deps = ApiDeps {
        keys: Some(Arc::clone(keys) as _),
        ..deps(&store)
    };
    Api::start(config, deps).await
}

fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}")
}

async fn with_key(addr: SocketAddr, target: &str, secret: &str) -> Answer {
    get_with(addr, target, &[&bearer(secret)]).await
}

/// Repeats the request until it is answered with this status: keys are read again every few seconds.
async fn until_status(addr: SocketAddr, secret: Option<&str>, status: u16) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = match secret {
            Some(secret) => with_key(addr, LIST, secret).await,
            None => get(addr, LIST).await,
        };
        if answer.status == status {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_listener_of_this_machine_is_open_until_there_is_a_key() {
    let keys = Arc::new(MemoryKeys::default());
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    let addr = api.local_addr();
    assert_eq!(get(addr, LIST).await.status, 200);
    let secret = keys.add("a", Scope::Read, None);
    until_status(addr, None, 401).await;
    assert_eq!(with_key(addr, LIST, &secret).await.status, 200);
    keys.remove("a");
    until_status(addr, None, 200).await;
}

/// The name of a foreign page that leads to this machine makes the page's origin that of the API.
#[tokio::test]
async fn a_request_to_a_foreign_name_without_a_key_reads_nothing_that_needs_the_scope_admin() {
    let keys = Arc::new(MemoryKeys::default());
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    let addr = api.local_addr();
    for target in ["/api/v1/audit", "/api/v1/api-keys"] {
        assert_eq!(get(addr, target).await.status, 200, "{target}");
        for host in ["evil.example", "localhost.evil.example:8080", ""] {
            let mut client = Client::connect(addr).await;
            let head =
                format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            client.send(head.as_bytes()).await;
            let refused = Answer::read(&client.rest().await);
            assert_eq!(refused.status, 401, "{target} {host}: {}", refused.body);
        }
    }
}

#[tokio::test]
async fn a_payload_without_the_check_needs_the_scope_admin() {
    let keys = Arc::new(MemoryKeys::default());
    let operate = keys.add("operate", Scope::Operate, None);
    let admin = keys.add("admin", Scope::Admin, None);
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    let post = async |secret: &str, target: &str| {
        let headers = [
            "Content-Type: application/json",
            "Idempotency-Key: k",
            &bearer(secret),
        ];
        let body = r#"{"action": "Reset", "payload": {"type": "Now"}}"#;
        send(api.local_addr(), "POST", target, &headers, body).await
    };
    let unchecked = "/api/v1/chargers/CP-1/commands?check=off";
    let refused = post(&operate, unchecked).await;
    assert_eq!(
        (refused.status, refused.error().0.as_str()),
        (403, "scope_missing")
    );
    let checked = post(&operate, "/api/v1/chargers/CP-1/commands?check=on").await;
    assert_eq!(checked.error().0, "payload_invalid");
    assert_eq!(post(&admin, unchecked).await.status, 202);
}

#[tokio::test]
async fn a_listener_that_other_machines_reach_does_not_start_without_a_key() {
    let keys = Arc::new(MemoryKeys::default());
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let public = ApiConfig { listen, ..config() };
    let why = start_with_keys(public.clone(), &keys).await;
    let why = why.expect_err("refused").to_string();
    for word in [
        "http.listen is 0.0.0.0:0",
        "wattpost apikey add",
        "127.0.0.1:8080",
    ] {
        assert!(why.contains(word), "{why}");
    }

    let open = ApiConfig {
        open_without_keys: true,
        ..public.clone()
    };
    let api = start_with_keys(open, &keys).await.expect("it starts");
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, api.local_addr().port()));
    assert_eq!(get(addr, LIST).await.status, 200);

    let secret = keys.add("a", Scope::Read, None);
    let api = start_with_keys(public, &keys).await.expect("it starts");
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, api.local_addr().port()));
    assert_eq!(get(addr, LIST).await.status, 401);
    assert_eq!(with_key(addr, LIST, &secret).await.status, 200);
    // After the last key is revoked, every request is refused.
    keys.remove("a");
    until_status(addr, Some(&secret), 401).await;
    assert_eq!(get(addr, LIST).await.status, 401);
}

#[tokio::test]
async fn a_request_without_a_valid_key_is_refused_and_told_why() {
    let keys = Arc::new(MemoryKeys::default());
    let secret = keys.add("a", Scope::Read, None);
    let expired = keys.add("old", Scope::Admin, Some(Timestamp(1_000)));
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    let addr = api.local_addr();
    let other = format!("wp_live_{}", "x".repeat(43));
    let two = [bearer(&secret), bearer(&secret)];
    let cases: [(Vec<String>, &str, &str); 7] = [
        (vec![], "no_key", "has no key"),
        (
            vec![format!("Authorization: Basic {secret}")],
            "no_key",
            "scheme Bearer",
        ),
        (
            vec![format!("Authorization: {secret}")],
            "no_key",
            "scheme Bearer",
        ),
        (
            vec![bearer("wp_live_short")],
            "no_key",
            "not one of this installation",
        ),
        (
            vec![bearer(&other)],
            "no_key",
            "not one of this installation",
        ),
        (two.to_vec(), "no_key", "more than one"),
        (
            vec![bearer(&expired)],
            "key_expired",
            "1970-01-01T00:00:01.000Z",
        ),
    ];
    for (headers, code, part) in cases {
        let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
        for target in [LIST, "/", "/nothing", "/api/v1/messages?cursor=x"] {
            let answer = get_with(addr, target, &lines).await;
            let (found, detail) = answer.error();
            assert_eq!((answer.status, found.as_str()), (401, code), "{target}");
            assert!(detail.contains(part), "{detail}");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.is_some_and(|value| value.starts_with("Bearer")));
        }
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let line = format!("Authorization: {scheme} {secret}");
        assert_eq!(get_with(addr, LIST, &[&line]).await.status, 200);
    }
}

#[tokio::test]
async fn health_and_metrics_need_no_key() {
    let keys = Arc::new(MemoryKeys::default());
    keys.add("a", Scope::Read, None);
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    until_heard(&api).await;
    for target in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(get(api.local_addr(), target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn known_keys_work_while_the_database_is_unavailable_and_unknown_ones_do_not() {
    let keys = Arc::new(MemoryKeys::default());
    let secret = keys.add("a", Scope::Read, None);
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    let addr = api.local_addr();
    keys.set_away(true);
    let late = keys.add("late", Scope::Read, None);
    until("a failed reading of the keys", || keys.failed_calls() > 0).await;
    assert_eq!(with_key(addr, LIST, &secret).await.status, 200);
    assert_eq!(with_key(addr, LIST, &late).await.status, 401);
    keys.set_away(false);
    until_status(addr, Some(&late), 200).await;
}

#[tokio::test]
async fn an_api_that_never_read_the_keys_refuses_every_request() {
    let keys = Arc::new(MemoryKeys::default());
    let secret = keys.add("a", Scope::Read, None);
    keys.set_away(true);
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    for listen in [config().listen, listen] {
        let config = ApiConfig { listen, ..config() };
        let api = start_with_keys(config, &keys).await.expect("it starts");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, api.local_addr().port()));
        let answer = with_key(addr, LIST, &secret).await;
        assert_eq!(
            (answer.status, answer.error().0.as_str()),
            (503, "unavailable")
        );
        assert!(answer.error().1.contains("the test took it away"));
        assert_eq!(get(addr, "/health/live").await.status, 200);
    }
}

#[tokio::test]
async fn the_use_of_a_key_is_written_at_the_latest_when_the_api_stops() {
    let keys = Arc::new(MemoryKeys::default());
    let secret = keys.add("a", Scope::Read, None);
    keys.add("unused", Scope::Read, None);
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    assert_eq!(with_key(api.local_addr(), LIST, &secret).await.status, 200);
    assert_eq!(keys.last_used_at("a"), None);
    api.shutdown(Duration::from_secs(10)).await;
    assert!(keys.last_used_at("a").is_some());
    assert_eq!(keys.last_used_at("unused"), None);
}

#[tokio::test]
async fn no_answer_repeats_a_key() {
    let keys = Arc::new(MemoryKeys::default());
    let secret = keys.add("a", Scope::Read, None);
    let expired = keys.add("old", Scope::Admin, Some(Timestamp(1_000)));
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    let addr = api.local_addr();
    let unknown = format!("wp_live_{}", "y".repeat(43));
    for key in [&secret, &expired, &unknown] {
        let id = format!("X-Request-Id: {key}");
        for target in [LIST, "/nothing", "/metrics", "/health/ready"] {
            let answer = get_with(addr, target, &[&bearer(key), &id]).await;
            let shown = format!("{:?} {}", answer.headers, answer.body);
            assert!(!shown.contains(&key[8..]), "{target}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_request_id_is_the_clients_or_a_new_one() {
    let api = start(config(), &Arc::new(MemoryRows::default())).await;
    let addr = api.local_addr();
    let given = get_with(addr, LIST, &["X-Request-Id: a-1_b.C"]).await;
    assert_eq!(given.header("x-request-id"), Some("a-1_b.C"));
    for header in ["X-Request-Id: a b", "X-Request-Id: ", "X-Other: 1"] {
        let answer = get_with(addr, LIST, &[header]).await;
        assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    }
}

#[tokio::test]
async fn a_scope_permits_what_it_includes() {
    let keys = Arc::new(MemoryKeys::default());
    let secrets = Scope::ALL.map(|scope| keys.add(scope.as_str(), scope, None));
    let api = start_with_keys(config(), &keys).await.expect("it starts");
    for (target, statuses) in [(LIST, [200, 200, 200]), ("/api/v1/audit", [403, 403, 200])] {
        for (secret, status) in secrets.iter().zip(statuses) {
            let answer = with_key(api.local_addr(), target, secret).await;
            assert_eq!(answer.status, status, "{target}");
            if status == 403 {
                let (code, detail) = answer.error();
                assert_eq!(code, "scope_missing");
                assert!(detail.contains("needs the scope admin"), "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_has_made_its_requests_is_refused_and_delays_nobody_else() {
    let keys = Arc::new(MemoryKeys::default());
    let config = ApiConfig {
        requests_per_minute_max: 3,
        ..config()
    };
    let without = start_with_keys(config.clone(), &keys)
        .await
        .expect("it starts");
    for _ in 0..5 {
        let answer = get(without.local_addr(), LIST).await;
        assert_eq!(answer.status, 200, "this machine is not counted");
        assert_eq!(answer.header("ratelimit"), None);
    }
    let (first, second) = (
        keys.add("a", Scope::Read, None),
        keys.add("b", Scope::Read, None),
    );
    let api = start_with_keys(config, &keys).await.expect("it starts");
    let addr = api.local_addr();
    for (left, path) in [(2, LIST), (1, "/nothing"), (0, LIST)] {
        let answer = with_key(addr, path, &first).await;
        assert_ne!(answer.status, 429);
        let policy = answer.header("ratelimit-policy");
        assert_eq!(policy, Some("\"default\";q=3;w=60"), "{path}");
        let quota = answer.header("ratelimit").expect("what is left").to_owned();
        assert!(
            quota.starts_with(&format!("\"default\";r={left};t=")),
            "{quota}"
        );
    }
    // What needs no key, and a wrong key, take nothing.
    assert_eq!(get(addr, "/health/live").await.status, 200);
    let refused = with_key(addr, LIST, &first).await;
    assert_eq!(
        (refused.status, refused.error().0.as_str()),
        (429, "too_many_requests")
    );
    let seconds = refused
        .header("retry-after")
        .and_then(|text| text.parse().ok());
    let seconds: u32 = seconds.expect("seconds");
    assert!((1..=20).contains(&seconds), "{seconds}");
    assert!(
        refused
            .header("ratelimit")
            .is_some_and(|quota| quota.contains("r=0;"))
    );
    assert_eq!(with_key(addr, LIST, &second).await.status, 200);
}

#[tokio::test]
async fn metrics_need_a_key_if_the_setting_says_so() {
    let keys = Arc::new(MemoryKeys::default());
    let config = ApiConfig {
        metrics_need_key: true,
        ..config()
    };
    let api = start_with_keys(config.clone(), &keys)
        .await
        .expect("it starts");
    let open = get(api.local_addr(), "/metrics").await;
    assert_eq!(open.status, 200, "there is no key yet");
    let secret = keys.add("a", Scope::Read, None);
    let api = start_with_keys(config, &keys).await.expect("it starts");
    let addr = api.local_addr();
    let refused = get(addr, "/metrics?x=1").await;
    assert_eq!(
        (refused.status, refused.error().0.as_str()),
        (401, "no_key")
    );
    assert_eq!(with_key(addr, "/metrics", &secret).await.status, 200);
    assert_eq!(get(addr, "/health/ready").await.status, 200);
}

/// A key whose lists are slow has half of the database calls, and every other key gets one at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_leaves_half_of_the_database_calls_to_others() {
    let (store, switch) = switched();
    let keys = Arc::new(MemoryKeys::default());
    let secrets = ["a", "b", "c"].map(|name| keys.add(name, Scope::Read, None));
    let config = ApiConfig {
        request_timeout_ms: 1_500,
        database_calls_max: 4,
        ..config()
    };
    let deps = ApiDeps {
        keys: Some(Arc::clone(&keys) as _),
        ..deps(&store)
    };
    let api = Api::start(config, deps).await.expect("it starts");
    let addr = api.local_addr();
    let ask = |name: usize, requests: usize| {
        let secret = &secrets[name];
        let ask = |_| {
            let secret = secret.clone();
            tokio::spawn(async move { with_key(addr, LIST, &secret).await })
        };
        (0..requests).map(ask).collect::<Vec<_>>()
    };
    switch.set(Behaviour::Blocks);
    let of_a = ask(0, 10);
    until("the queries of a", || switch.blocked() == 2).await;
    // Its other requests wait already, and take nothing from b.
    let of_b = ask(1, 1);
    until("the query of b", || switch.blocked() == 3).await;
    let mut codes = Vec::new();
    for answer in of_a {
        let answer = answer.await.expect("no panic");
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("5"))
        );
        codes.push(answer.error().0);
    }
    codes.sort();
    assert_eq!(codes[..8], ["crowded"; 8]);
    assert_eq!(codes[8..], ["timeout"; 2]);
    for answer in of_b {
        assert_eq!(answer.await.expect("no panic").error().0, "timeout");
    }
    // Those of a and b still run: one of the four is left, and c has it.
    let of_c = ask(2, 3);
    until("the query of c", || switch.blocked() == 4).await;
    let mut codes = Vec::new();
    for answer in of_c {
        codes.push(answer.await.expect("no panic").error().0);
    }
    codes.sort();
    // The last one has a share as soon as the second gives up, and then waits for a call for a moment.
    assert_eq!((codes[0].as_str(), codes[2].as_str()), ("busy", "timeout"));
    assert!(
        ["busy", "crowded"].contains(&codes[1].as_str()),
        "{codes:?}"
    );
    switch.set(Behaviour::Answers);
    until("the end of the queries", || switch.blocked() == 0).await;
    for secret in &secrets {
        assert_eq!(with_key(addr, LIST, secret).await.status, 200);
    }
}

/// The same with lists of PostgreSQL that wait for another session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_with_slow_lists_of_postgresql_does_not_delay_the_requests_of_another() {
    let url = block_in_place(new_postgres);
    let store = block_in_place(|| PostgresStore::open(&url, PostgresOptions::default()));
    let keys = Arc::new(MemoryKeys::default());
    let [slow, other] = ["slow", "other"].map(|name| keys.add(name, Scope::Read, None));
    let deps = ApiDeps {
        keys: Some(Arc::clone(&keys) as _),
        store: Some(Arc::new(store.expect("it opens"))),
        ..deps(&Arc::default())
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let addr = api.local_addr();
    let ask = |sql: &str| block_in_place(|| testbed::psql(&url, sql)).expect("psql");
    let holding = {
        let url = url.clone();
        let sql = "LOCK TABLE transaction_views IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4)";
        std::thread::spawn(move || testbed::psql(&url, sql).expect("psql"))
    };
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
                    AND relation = 'transaction_views'::regclass";
    until("the lock", || ask(held) == "1").await;
    let lists: Vec<_> = (0..8)
        .map(|_| {
            let slow = slow.clone();
            tokio::spawn(async move { with_key(addr, "/api/v1/transactions", &slow).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("its lists", || {
        ask(waiting).parse::<u32>().unwrap_or(0) >= 2
    })
    .await;
    for _ in 0..3 {
        assert_eq!(with_key(addr, LIST, &other).await.status, 200);
    }
    assert_eq!(ask(waiting), "2");
    assert!(!holding.is_finished(), "the other key waited for the lists");
    holding.join().expect("no panic");
    for list in lists {
        assert_eq!(list.await.expect("no panic").status, 200);
    }
}
