//! The log of events: pages, and streams of server-sent events.

use crate::support::*;
use api::{Api, ApiConfig, ApiDeps};
use central::model::{EventType, Scope};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIST: &str = "/api/v1/events";
const STREAM: &str = "Accept: text/event-stream";

async fn start_with_log(config: ApiConfig) -> (Api, Arc<MemoryEvents>) {
    let log = Arc::new(MemoryEvents::default());
    let deps = ApiDeps {
        event_log: Some(Arc::clone(&log) as _),
        ..deps(&Arc::default())
    };
    (Api::start(config, deps).await.expect("it starts"), log)
}

/// A stream of events that is read until a text has come.
struct Events {
    socket: TcpStream,
    text: String,
}

impl Events {
    async fn open(addr: SocketAddr, target: &str, headers: &[&str]) -> Self {
        let mut socket = TcpStream::connect(addr).await.expect("it accepts");
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{STREAM}\r\n");
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        socket
            .write_all(format!("{head}\r\n").as_bytes())
            .await
            .expect("it reads");
        Self {
            socket,
            text: String::new(),
        }
    }

    /// Reads until this text has come; returns all that came.
    async fn until(&mut self, wanted: &str) -> &str {
        let reading = async {
            let mut bytes = vec![0; 65_536];
            let mut has_come = self.text.contains(wanted);
            while !has_come {
                let read = self.socket.read(&mut bytes).await.expect("it is open");
                assert!(read > 0, "closed before {wanted:?}: {}", self.text);
                // Only what is new is searched: there may be megabytes.
                let from = self.text.len().saturating_sub(wanted.len());
                let from = self.text.floor_char_boundary(from);
                self.text.push_str(&String::from_utf8_lossy(&bytes[..read]));
                has_come = self.text[from..].contains(wanted);
            }
        };
        let done = tokio::time::timeout(TIMEOUT, reading).await;
        assert!(done.is_ok(), "{wanted:?} has not come: {}", self.text);
        &self.text
    }

    fn positions(&self) -> Vec<u64> {
        let ids = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("id: "));
        ids.filter_map(|id| id.split('-').next()?.parse().ok())
            .collect()
    }
}

#[tokio::test]
async fn pages_lead_to_the_end_of_the_log_and_show_where_to_go_on() {
    let (api, log) = start_with_log(config()).await;
    let addr = api.local_addr();
    let empty = get(addr, LIST).await.value();
    assert_eq!(empty["last_id"], "0-0");
    for n in 0..5 {
        log.add(EventType::TransactionUpdated, "Depot 7", &format!("t-{n}"));
    }
    let last = log.add(EventType::TokenSet, "CP-1", "TAG");
    let first = get(addr, &format!("{LIST}?limit=4")).await;
    let page = first.value();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(4));
    let item = &page["items"][0];
    let schema = serde_json::json!({"$ref": "#/components/schemas/Event"});
    check_value(&schema, item, "an event");
    assert_eq!(item["type"], "transaction.updated");
    assert_eq!(item["data"]["position"], 1);
    assert_eq!(item["links"]["charger"], "/api/v1/chargers/Depot%207");
    assert_eq!(item["links"]["transaction"], "/api/v1/transactions/t-0");
    let next = page["next"].as_str().expect("there is more");
    let link = format!("<{LIST}?limit=4&after={next}>; rel=\"next\"");
    assert_eq!(first.header("link"), Some(link.as_str()));
    let rest = get(addr, &format!("{LIST}?after={next}")).await.value();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(2));
    assert!(rest["next"].is_null());
    assert_eq!(rest["last_id"], last.to_string());
    let tokens = get(
        addr,
        &format!("{LIST}?types=token.*&charger=cp-1&fields=id,type"),
    )
    .await;
    let expected = serde_json::json!([{"id": last.to_string(), "type": "token.set"}]);
    assert_eq!(tokens.value()["items"], expected);
    let lines = get_with(addr, LIST, &["Accept: application/x-ndjson"]).await;
    assert_eq!(lines.body.lines().count(), 6);
    let latest = get(addr, &format!("{LIST}?after=latest")).await.value();
    assert_eq!(latest["items"].as_array().map(Vec::len), Some(0));
    // From a time: all events since then.
    let since = |ms: i64| central::Timestamp(ms).to_string();
    let at = last.recorded_at.0;
    for (from, count) in [(at, 1), (at + 1, 0), (0, 6)] {
        let page = get(addr, &format!("{LIST}?after={}", since(from))).await;
        let items = page.value()["items"].as_array().map(Vec::len);
        assert_eq!(items, Some(count), "{from}");
    }
    for wrong in [
        "after=5",
        "after=2026-13-01T00:00:00Z",
        "types=token",
        "throttle=0s",
        "since=1",
    ] {
        assert_eq!(
            get(addr, &format!("{LIST}?{wrong}")).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn what_has_expired_is_not_passed_over() {
    let (api, log) = start_with_log(config()).await;
    let addr = api.local_addr();
    let ids: Vec<_> = (0..9)
        .map(|_| log.add(EventType::TokenSet, "CP-1", "TAG"))
        .collect();
    log.expire(5);
    let gone = get(addr, &format!("{LIST}?after={}", ids[1])).await;
    assert_eq!(
        (gone.status, gone.error().0.as_str()),
        (410, "cursor_expired")
    );
    let last_id = format!("Last-Event-ID: {}", ids[1]);
    let mut events = Events::open(addr, LIST, &[&last_id]).await;
    let text = events.until("id: 9-").await;
    assert!(text.contains("event: gap\n"), "{text}");
    assert_eq!(events.positions(), [6, 7, 8, 9]);
}

#[tokio::test]
async fn an_open_stream_skips_no_event_of_a_database_restored_from_an_older_copy() {
    let (api, log) = start_with_log(config()).await;
    let addr = api.local_addr();
    for _ in 0..5 {
        log.add(EventType::TokenSet, "CP-1", "TAG");
    }
    let mut events = Events::open(addr, &format!("{LIST}?after=oldest"), &[]).await;
    events.until("id: 5-").await;
    // A live event, so that the hub follows the log.
    let live = log.add(EventType::TokenSet, "CP-1", "TAG");
    events.until(&format!("id: {live}")).await;
    log.restore(2);
    let third = log.add(EventType::TokenSet, "CP-1", "TAG");
    let text = events.until(&format!("id: {third}")).await;
    assert_eq!(text.matches("event: gap\n").count(), 1, "{text}");
    // The new log has grown past the stream's position before anybody looks.
    log.restore(3);
    for _ in 0..5 {
        log.add(EventType::TokenSet, "CP-1", "TAG");
    }
    let last = log.add(EventType::TokenSet, "CP-1", "TAG");
    let text = events.until(&format!("id: {last}")).await;
    let positions = text.lines().filter_map(|line| line.strip_prefix("id: "));
    let positions: Vec<&str> = positions.filter_map(|id| id.split('-').next()).collect();
    assert!(
        positions.ends_with(&["4", "5", "6", "7", "8", "9"]),
        "{text}"
    );
}

#[tokio::test]
async fn many_streams_cost_one_query_and_each_gets_every_event_once() {
    let config = ApiConfig {
        connections_max: 400,
        ..config()
    };
    let (api, log) = start_with_log(config).await;
    let addr = api.local_addr();
    let first = log.add(EventType::TransactionStarted, "CP-1", "t");
    let mut streams = Vec::new();
    for n in 0..150 {
        let after = if n % 2 == 0 { "oldest" } else { "latest" };
        let mut events = Events::open(addr, &format!("{LIST}?after={after}"), &[]).await;
        events.until("retry: ").await;
        streams.push(events);
    }
    streams[0].until(&format!("id: {first}")).await;
    // A stream that has this event reads the log no longer by itself.
    let live = log.add(EventType::TransactionUpdated, "CP-1", "t");
    for events in &mut streams {
        events.until(&format!("id: {live}")).await;
    }
    let before = log.queries.load(Ordering::SeqCst);
    for _ in 0..20 {
        log.add(EventType::TransactionUpdated, "CP-1", "t");
    }
    for (n, events) in streams.iter_mut().enumerate() {
        events.until("id: 22-").await;
        let expected: Vec<u64> = if n % 2 == 0 {
            (1..=22).collect()
        } else {
            (2..=22).collect()
        };
        assert_eq!(events.positions(), expected);
    }
    let queries = log.queries.load(Ordering::SeqCst) - before;
    assert!(queries < 150, "{queries} queries for 150 streams");
    // Half of the connections are for requests.
    let mut refused = Vec::new();
    for _ in 0..60 {
        refused.push(Events::open(addr, LIST, &[]).await);
    }
    refused[59].until("too_many_streams").await;
    assert_eq!(get(addr, LIST).await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_others_are_not() {
    let (api, log) = start_with_log(config()).await;
    let addr = api.local_addr();
    let mut slow = Events::open(addr, LIST, &[]).await;
    slow.until("retry: ").await;
    let mut quick = Events::open(addr, LIST, &[]).await;
    quick.until("retry: ").await;
    let subject = "x".repeat(2_000);
    for _ in 0..20 {
        let mut last = None;
        for _ in 0..400 {
            last = Some(log.add(EventType::TransactionUpdated, "CP-1", &subject));
        }
        let last = last.expect("some were added");
        quick.until(&format!("id: {last}")).await;
    }
    assert_eq!(quick.positions(), (1..=8_000).collect::<Vec<u64>>());
    // The slow one ends, and what it has is without a gap, so that its client can go on.
    slow.until("\"code\":\"too_slow\"").await;
    let positions = slow.positions();
    assert!(positions.len() < 8_000);
    assert!(positions.iter().copied().eq(1..=positions.len() as u64));
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked_and_when_the_process_stops() {
    let keys = Arc::new(MemoryKeys::default());
    let secret = keys.add("a", Scope::Read, None);
    let other = keys.add("b", Scope::Read, None);
    let deps = ApiDeps {
        keys: Some(Arc::clone(&keys) as _),
        ..deps(&Arc::default())
    };
    let api = Api::start(config(), deps).await.expect("it starts");
    let addr = api.local_addr();
    let key = |secret: &str| format!("Authorization: Bearer {secret}");
    let mut refused = Events::open(addr, LIST, &[]).await;
    refused.until("401").await;
    let mut first = Events::open(addr, LIST, &[&key(&secret)]).await;
    first.until("retry: ").await;
    let mut second = Events::open(addr, LIST, &[&key(&other)]).await;
    second.until("retry: ").await;
    keys.remove("a");
    let text = first.until("event: cut_off").await;
    assert!(!text.contains(&secret));
    tokio::spawn(api.shutdown(Duration::from_secs(10)));
    second.until("\"code\":\"stopping\"").await;
}
