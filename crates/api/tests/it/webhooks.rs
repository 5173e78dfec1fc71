//! Sending to receivers of webhooks, with real databases and real receivers.

use crate::support::*;
use api::webhooks::Lookup;
use api::webhooks::client::Client as WebhookClient;
use api::{Api, ApiDeps, WebhookConfig, WebhookDeps};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use central::Timestamp;
use central::model::{
    Actor, ActorKind, Origin, Webhook, WebhookId, WebhookPatch, WebhookProgress, WebhookRetry,
    WebhookSecret, WebhookSettings, WebhookState,
};
use central::ports::{
    ChangeRequest, DatabaseClock, EventLog, NewWebhook, Once, StepRecorded, Token, Tokens,
    Unavailable, WebhookStep, Webhooks,
};
use central::query::{AuditFilter, PageRequest, QueryStore};
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use store::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use tokio::task::block_in_place;
use uuid::Uuid;

fn now() -> Timestamp {
    Timestamp(common::clock::now_ms())
}

fn request() -> ChangeRequest {
    ChangeRequest::of(origin())
}

fn origin() -> Origin {
    Origin {
        at: now(),
        by: Actor {
            kind: ActorKind::CommandLine,
            name: None,
        },
        from: "a test".to_owned(),
        request_id: None,
        traceparent: None,
    }
}

/// What a receiver does with a message; the number of the message, from 0.
type Answers = dyn Fn(usize) -> Does + Send + Sync;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer(u16),
    /// 503 with `Retry-After` of so many seconds.
    Postpone(u32),
    Hang,
}

/// A message as a receiver got it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Received {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

impl Received {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Whether the only signature is that of the secret of this byte.
    fn is_signed_by(&self, byte: u8) -> bool {
        let mut hmac = <Hmac<Sha256> as KeyInit>::new_from_slice(&[byte; 32]).expect("a key");
        hmac.update(format!("{}.{}.{}", self.id, self.timestamp, self.body).as_bytes());
        self.signature == format!("v1,{}", BASE64.encode(hmac.finalize().into_bytes()))
    }

    /// The token that the event is about.
    fn token(&self) -> String {
        let subject = &self.json()["data"]["subject"];
        subject.as_str().expect("a text").to_owned()
    }
}

struct Receiver {
    port: u16,
    received: Mutex<Vec<Received>>,
    answers: Box<Answers>,
    open: AtomicUsize,
    open_max: AtomicUsize,
}

impl Receiver {
    async fn start(answers: impl Fn(usize) -> Does + Send + Sync + 'static) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let receiver = Arc::new(Self {
            port: listener.local_addr().expect("an address").port(),
            received: Mutex::default(),
            answers: Box::new(answers),
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(0),
        });
        let router = axum::Router::new()
            .fallback(Self::receive)
            .with_state(Arc::clone(&receiver));
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    async fn receive(
        State(receiver): State<Arc<Self>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let open = receiver.open.fetch_add(1, Ordering::SeqCst) + 1;
        receiver.open_max.fetch_max(open, Ordering::SeqCst);
        let header = |name: &str| {
            let value = headers.get(name).expect("the header");
            value.to_str().expect("ASCII").to_owned()
        };
        assert_eq!(header("content-type"), "application/json");
        let number = {
            let mut received = receiver.received.lock().expect("not poisoned");
            received.push(Received {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                body: String::from_utf8(body.to_vec()).expect("UTF-8"),
            });
            received.len() - 1
        };
        let does = (receiver.answers)(number);
        // Two senders would overlap.
        tokio::time::sleep(Duration::from_millis(3)).await;
        receiver.open.fetch_sub(1, Ordering::SeqCst);
        match does {
            Does::Answer(status) => (
                StatusCode::from_u16(status).expect("a status"),
                "what the receiver says",
            )
                .into_response(),
            Does::Postpone(seconds) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                (status, [("retry-after", seconds.to_string())]).into_response()
            }
            Does::Hang => std::future::pending().await,
        }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    fn tokens(&self) -> Vec<String> {
        self.received().iter().map(Received::token).collect()
    }
}

/// A database, and events in it.
struct World {
    at: Place,
    store: Arc<dyn Database>,
}

/// What the tests use of a database.
trait Database: Webhooks + EventLog + Tokens + QueryStore + DatabaseClock {}
impl Database for SqliteStore {}
impl Database for PostgresStore {}

/// Where a database is.
enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
}

impl Place {
    fn open(&self) -> Arc<dyn Database> {
        match self {
            Self::Sqlite(directory) => {
                let path = directory.path().join("wattpost.db");
                let store = SqliteStore::open(path, SqliteOptions::default());
                Arc::new(store.expect("it opens"))
            }
            Self::Postgres(url) => {
                let store = PostgresStore::open(url, PostgresOptions::default());
                Arc::new(store.expect("it opens"))
            }
        }
    }
}

/// The server of all tests of this program. The kernel kills it when the program ends.
fn postgres() -> &'static testbed::Postgres {
    static SERVER: OnceLock<testbed::Postgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("api-webhooks");
        let _ = std::fs::remove_dir_all(&directory);
        let server = testbed::Postgres::start(&directory).expect("start PostgreSQL");
        let made = server.superuser_psql("CREATE DATABASE migrated OWNER wattpost");
        made.expect("a database");
        let url = server.url_as("wattpost", "wattpost", "migrated");
        PostgresStore::migrate(&url).expect("it migrates");
        server
    })
}

/// The URL of a database of its own, with all tables. Blocks.
pub(crate) fn new_postgres() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("test{}", COUNT.fetch_add(1, Ordering::SeqCst));
    let server = postgres();
    let made = server.superuser_psql(&format!(
        "CREATE DATABASE {name} OWNER wattpost TEMPLATE migrated"
    ));
    made.expect("a database");
    server.url_as("wattpost", "wattpost", &name)
}

impl World {
    fn new() -> Self {
        Self::at(Place::Sqlite(tempfile::tempdir().expect("a directory")))
    }

    /// One on each database.
    fn each() -> [Self; 2] {
        block_in_place(Self::make_each)
    }

    fn make_each() -> [Self; 2] {
        [Self::new(), Self::at(Place::Postgres(new_postgres()))]
    }

    fn at(at: Place) -> Self {
        let store = at.open();
        Self { at, store }
    }

    /// Asks the database, which blocks.
    fn ask<T>(&self, ask: impl FnOnce(&dyn Database) -> T) -> T {
        block_in_place(|| ask(&*self.store))
    }

    fn add(&self, url: &str) -> WebhookId {
        let id = WebhookId(common::id::new_v7());
        let added = self.ask(|store| {
            store.add_webhook(&NewWebhook {
                id,
                settings: WebhookSettings {
                    url: url.to_owned(),
                    types: vec!["token.*".to_owned()],
                    charger_id: None,
                    description: String::new(),
                    enabled: true,
                },
                secret: WebhookSecret::from_random([7; 32]),
                request: request(),
            })
        });
        assert!(matches!(added, Ok(Once::Done(_))), "{added:?}");
        id
    }

    fn add_for(&self, receiver: &Receiver) -> WebhookId {
        self.add(&format!("http://127.0.0.1:{}/hook", receiver.port))
    }

    /// Adds an event for each token.
    fn log(&self, tokens: &[String]) {
        for token in tokens {
            let put = self.ask(|store| store.put_token(&Token::accepted(token), &origin()));
            put.expect("the database");
        }
        self.ask(|store| store.sequence_events(now()))
            .expect("the database");
    }

    fn webhook(&self, id: WebhookId) -> Webhook {
        let found = self.ask(|store| store.webhook(id)).expect("the database");
        found.expect("the webhook")
    }

    /// Makes it due now, as any change does.
    fn touch(&self, id: WebhookId) {
        let patch = WebhookPatch {
            description: Some("changed".to_owned()),
            ..WebhookPatch::default()
        };
        let changed = self.ask(|store| store.change_webhook(id, &patch, &request()));
        assert!(matches!(changed, Ok(Once::Done(_))), "{changed:?}");
    }

    /// Starts what sends, with an own connection to the database as another process has.
    async fn send(&self) -> Api {
        send(&self.at, true).await
    }
}

async fn send(at: &Place, is_loopback_allowed: bool) -> Api {
    let client = WebhookClient::new(settings(is_loopback_allowed).client());
    send_by(at, client.expect("a client")).await
}

fn settings(is_loopback_allowed: bool) -> WebhookConfig {
    let loopback = "127.0.0.0/8".parse().expect("a network");
    WebhookConfig {
        allow_http: true,
        allowed_networks: Vec::from_iter(is_loopback_allowed.then_some(loopback)),
        timeout_ms: 500,
        ..WebhookConfig::default()
    }
}

async fn send_by(at: &Place, client: WebhookClient) -> Api {
    let store = block_in_place(|| at.open());
    let clock = Arc::clone(&store) as _;
    send_from(store, clock, client).await
}

async fn send_from(
    store: Arc<dyn Database>,
    clock: Arc<dyn DatabaseClock>,
    client: WebhookClient,
) -> Api {
    let deps = ApiDeps {
        webhooks: Some(WebhookDeps {
            webhooks: Arc::clone(&store) as _,
            log: store,
            clock,
            client: Arc::new(client),
        }),
        ..deps(&Arc::default())
    };
    Api::start(config(), deps).await.expect("it starts")
}

fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("T-{number:03}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_once_in_order_as_the_api_shows_it_from_two_processes() {
    for world in World::each() {
        check_each_event_comes(world).await;
    }
}

async fn check_each_event_comes(world: World) {
    let receiver = Receiver::start(|_| Does::Answer(200)).await;
    let id = world.add_for(&receiver);
    let _one = world.send().await;
    let _two = world.send().await;
    world.log(&names(0, 30));
    until("the first events", || receiver.tokens().len() >= 5).await;
    world.log(&names(30, 60));
    until("all events", || receiver.tokens().len() >= 60).await;
    until("the record", || world.webhook(id).waiting == 0).await;
    assert_eq!(receiver.tokens(), names(0, 60));
    assert_eq!(receiver.open_max.load(Ordering::SeqCst), 1);

    let first = &receiver.received()[0];
    let event = first.json();
    assert_eq!(event["type"], "token.set");
    let event_id = event["id"].as_str().expect("a text");
    assert_eq!(first.id, format!("{id}_{event_id}"));
    let sent_s: i64 = first.timestamp.parse().expect("seconds");
    assert!((sent_s - now().0 / 1_000).abs() < 60, "{sent_s}");
    assert!(first.signature.starts_with("v1,"), "{}", first.signature);
    let webhook = world.webhook(id);
    assert_eq!(webhook.state(), WebhookState::Active);
    assert!(webhook.progress.last_success_at.is_some());
    let page = PageRequest {
        after: None,
        limit: 1,
    };
    let attempts = world.ask(|store| store.webhook_attempts(id, &page, now()));
    let attempts = attempts.expect("the database").items;
    let answer = (attempts[0].status, attempts[0].answer.as_str());
    assert_eq!(answer, (Some(200), "what the receiver says"));
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_was_down_gets_all_events_later() {
    for world in World::each() {
        check_receiver_that_was(world).await;
    }
}

async fn check_receiver_that_was(world: World) {
    let is_up = Arc::new(AtomicUsize::new(0));
    let is_up_now = Arc::clone(&is_up);
    let receiver = Receiver::start(move |_| match is_up_now.load(Ordering::SeqCst) {
        0 => Does::Answer(503),
        _ => Does::Answer(204),
    })
    .await;
    let id = world.add_for(&receiver);
    let _api = world.send().await;
    world.log(&names(0, 25));
    until("a failure", || world.webhook(id).progress.retry.is_some()).await;
    let webhook = world.webhook(id);
    assert_eq!(webhook.state(), WebhookState::Retrying);
    let error = webhook.progress.last_error.expect("an error").1;
    assert_eq!(error, "the receiver answered 503");
    let delay_ms = webhook.progress.due_at.0 - now().0;
    assert!((1..=5_000).contains(&delay_ms), "{delay_ms}");

    world.log(&names(25, 50));
    is_up.store(1, Ordering::SeqCst);
    world.touch(id);
    until("the record", || world.webhook(id).waiting == 0).await;
    let received = receiver.received();
    // The first event was tried before, and has the same id again.
    let tries: Vec<&Received> = received
        .iter()
        .filter(|message| message.token() == "T-000")
        .collect();
    assert!(tries.len() >= 2, "{}", tries.len());
    assert!(tries.iter().all(|again| again.id == tries[0].id));
    let mut tokens = receiver.tokens();
    tokens.dedup();
    assert_eq!(tokens, names(0, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_hangs_delays_no_other() {
    let world = World::new();
    let hanging = Receiver::start(|_| Does::Hang).await;
    let quick = Receiver::start(|_| Does::Answer(200)).await;
    let hangs = world.add_for(&hanging);
    let answers = world.add_for(&quick);
    let _api = world.send().await;
    world.log(&names(0, 3));
    until("the quick one", || quick.tokens().len() == 3).await;
    until("the record", || world.webhook(answers).waiting == 0).await;
    until("the failure", || {
        world.webhook(hangs).progress.retry.is_some()
    })
    .await;
    let error = world.webhook(hangs).progress.last_error.expect("an error");
    assert_eq!(error.1, "no answer within 0.5 s");
    assert_eq!(hanging.tokens(), names(0, 1));
}

/// Names that begin with `hangs` are not resolved before this is dropped; all others have the loopback address.
struct HangingNames {
    lookup: Arc<Lookup>,
    asked: Arc<Mutex<Vec<String>>>,
    _end: std::sync::mpsc::Sender<()>,
}

impl HangingNames {
    fn new() -> Self {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        // A sender that is dropped ends each wait for it.
        let ended = Mutex::new(ended);
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let lookup = move |name: &str| -> std::io::Result<Vec<SocketAddr>> {
            noted.lock().expect("not poisoned").push(name.to_owned());
            if name.starts_with("hangs") {
                let _ = ended.lock().expect("not poisoned").recv();
            }
            Ok(vec![([127, 0, 0, 1], 0).into()])
        };
        Self {
            lookup: Arc::new(lookup),
            asked,
            _end: end,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_hang_by_name_or_by_silence_delay_no_other() {
    let world = World::new();
    let silent = Receiver::start(|_| Does::Hang).await;
    let quick = Receiver::start(|_| Does::Answer(200)).await;
    let names_hang = HangingNames::new();
    let (port, silent_port) = (quick.port, silent.port);
    for number in 0..49 {
        world.add(&format!("http://hangs-{number}.example:{port}/"));
        world.add(&format!("http://silent.example:{silent_port}/{number}"));
    }
    // All others began earlier, and no attempt ends before the test does.
    let last = world.add(&format!("http://quick.example:{port}/"));
    let settings = WebhookConfig {
        timeout_ms: 60_000,
        ..settings(true)
    };
    let lookup = Arc::clone(&names_hang.lookup);
    let client = WebhookClient::with_lookup(settings.client(), lookup).expect("a client");
    world.log(&names(0, 1));
    let _api = send_by(&world.at, client).await;
    until("the silent ones", || silent.received().len() == 49).await;
    until("the record", || world.webhook(last).waiting == 0).await;
    // Also while all of them hang.
    world.log(&names(1, 40));
    until("the later events", || world.webhook(last).waiting == 0).await;
    assert_eq!(quick.tokens(), names(0, 40));
    let asked = names_hang.asked.lock().expect("not poisoned").clone();
    let hanging = asked.iter().filter(|name| name.starts_with("hangs"));
    assert_eq!(hanging.count(), 49, "one query a name");
}

/// What a test changes of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Url,
    Types,
    Secret,
    Off,
    Removed,
}

#[tokio::test(flavor = "multi_thread")]
async fn change_of_a_webhook_holds_for_each_attempt_that_begins_after_it() {
    for change in [Change::Types, Change::Secret, Change::Off, Change::Removed] {
        check_change_holds(&Arc::new(World::new()), change).await;
    }
    for world in World::each() {
        check_change_holds(&Arc::new(world), Change::Url).await;
    }
}

async fn check_change_holds(world: &Arc<World>, change: Change) {
    let new = Receiver::start(|_| Does::Answer(200)).await;
    let to_change: Arc<OnceLock<WebhookId>> = Arc::default();
    let is_made = Arc::new(AtomicBool::new(false));
    let (changing, changed, new_port) = (Arc::clone(world), Arc::clone(&to_change), new.port);
    let made = Arc::clone(&is_made);
    // The webhook is changed while the receiver has the third message, and before it answers.
    let old = Receiver::start(move |number| {
        if number == 2 {
            let id = *changed.get().expect("the webhook");
            make(&changing, id, change, new_port);
            made.store(true, Ordering::SeqCst);
        }
        Does::Answer(200)
    })
    .await;
    let id = world.add_for(&old);
    to_change.set(id).expect("once");
    world.log(&names(0, 15));
    // No attempt fails because the machine is busy: a failed one would be repeated.
    let patient = WebhookConfig {
        timeout_ms: 30_000,
        ..settings(true)
    };
    let client = WebhookClient::new(patient.client()).expect("a client");
    let _api = send_by(&world.at, client).await;
    until("the change", || is_made.load(Ordering::SeqCst)).await;
    match change {
        Change::Url => {
            until("the new receiver", || {
                new.tokens().last() == names(14, 15).first()
            })
            .await;
            assert_eq!(old.tokens(), names(0, 3));
        }
        Change::Secret => {
            until("the record", || world.webhook(id).waiting == 0).await;
            let received = old.received();
            let by_old = &received[..3];
            let signed = |message: &Received, byte| message.is_signed_by(byte);
            assert!(by_old.iter().all(|message| signed(message, 7)));
            assert!(received[3..].iter().all(|message| signed(message, 8)));
            assert!(received.len() > 3);
        }
        Change::Types | Change::Off | Change::Removed => {
            // An event of another webhook comes after all that could be sent to this one.
            let other = world.add_for(&new);
            world.log(&names(15, 16));
            until("the other one", || new.tokens() == names(15, 16)).await;
            until("its record", || world.webhook(other).waiting == 0).await;
            assert_eq!(old.tokens(), names(0, 3), "{change:?}");
        }
    }
}

/// Changes a webhook.
fn make(world: &World, id: WebhookId, change: Change, new_port: u16) {
    let mut patch = WebhookPatch::default();
    match change {
        Change::Url => patch.url = Some(format!("http://127.0.0.1:{new_port}/")),
        Change::Types => patch.types = Some(vec!["charger.booted".to_owned()]),
        Change::Off => patch.enabled = Some(false),
        Change::Secret => {
            let secret = WebhookSecret::from_random([8; 32]);
            let rotated = world.ask(|store| store.rotate_webhook(id, &secret, now(), &request()));
            assert!(matches!(rotated, Ok(Once::Done(_))), "{rotated:?}");
            return;
        }
        Change::Removed => {
            let removed = world.ask(|store| store.remove_webhook(id, &request()));
            assert_eq!(removed, Ok(Ok(())));
            return;
        }
    }
    let changed = world.ask(|store| store.change_webhook(id, &patch, &request()));
    assert!(matches!(changed, Ok(Once::Done(_))), "{changed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_that_is_set_back_postpones_neither_events_nor_retries() {
    for world in World::each() {
        let receiver = Receiver::start(|_| Does::Answer(200)).await;
        let (idle, failing) = (world.add_for(&receiver), world.add_for(&receiver));
        world.log(&names(0, 1));
        // Both were handled by a clock that was 20 hours ahead: one was told to wait for a second, the other for an hour.
        let ahead = |ms: i64| Timestamp(now().0 + 20 * 3_600_000 + ms);
        let lease = Uuid::new_v4();
        let claimed = world.ask(|store| store.claim_webhooks(lease, ahead(0), ahead(5_000), 10));
        for webhook in claimed.expect("the database") {
            let mut progress = webhook.progress.clone();
            progress.due_at = ahead(1_000);
            if webhook.id == failing {
                let bounds = world.ask(|store| store.event_bounds());
                progress.due_at = ahead(3_600_000);
                progress.last_error = Some((ahead(0), "no answer".to_owned()));
                progress.retry = Some(WebhookRetry {
                    event: bounds.expect("the database").last,
                    attempts: 4,
                    since: ahead(-1_000),
                });
            }
            let step = step(webhook.version, progress);
            let recorded =
                world.ask(|store| store.record_webhook(webhook.id, lease, &step, ahead(0)));
            assert_eq!(recorded, Ok(StepRecorded::Recorded));
        }
        let _api = world.send().await;
        for id in [idle, failing] {
            until("the record", || world.webhook(id).waiting == 0).await;
        }
        assert_eq!(receiver.tokens(), ["T-000", "T-000"]);
    }
}

/// What the sender records of a turn without an attempt.
fn step(version: u64, progress: WebhookProgress) -> WebhookStep {
    WebhookStep {
        version,
        progress,
        attempts: Vec::new(),
        switch_off: None,
        hold_until: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_that_jumps_ahead_switches_no_webhook_off() {
    for world in World::each() {
        let receiver = Receiver::start(|_| Does::Answer(500)).await;
        let id = world.add_for(&receiver);
        world.log(&names(0, 1));
        let day_ms = 24 * 3_600_000;
        let past = |ms: i64| Timestamp(now().0 - 6 * day_ms + ms);
        let lease = Uuid::new_v4();
        let claimed = world.ask(|store| store.claim_webhooks(lease, past(0), past(60_000), 10));
        let webhook = claimed.expect("the database").remove(0);
        // Ten attempts have failed in two days, the last one six days ago by the clock that was set ahead since.
        let bounds = world.ask(|store| store.event_bounds());
        let mut progress = webhook.progress.clone();
        progress.due_at = past(day_ms);
        progress.last_error = Some((past(0), "no answer".to_owned()));
        progress.retry = Some(WebhookRetry {
            event: bounds.expect("the database").last,
            attempts: 10,
            since: past(-2 * day_ms),
        });
        let step = step(webhook.version, progress);
        let recorded = world.ask(|store| store.record_webhook(id, lease, &step, past(0)));
        assert_eq!(recorded, Ok(StepRecorded::Recorded));
        let _api = world.send().await;
        let attempts = || world.webhook(id).progress.retry.map(|retry| retry.attempts);
        until("the next failure", || attempts() == Some(11)).await;
        let webhook = world.webhook(id);
        assert_eq!(webhook.state(), WebhookState::Retrying);
        // Two days, and the day for which it was to wait.
        let since = webhook.progress.retry.expect("it fails").since;
        let days = (now().0 - since.0) as f64 / day_ms as f64;
        assert!((2.9..3.1).contains(&days), "{days}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_switches_a_webhook_off_with_an_entry_in_the_audit_log() {
    let world = World::new();
    let receiver = Receiver::start(|_| Does::Answer(410)).await;
    let id = world.add_for(&receiver);
    let _api = world.send().await;
    world.log(&names(0, 2));
    let is_off = || world.webhook(id).state() == WebhookState::SwitchedOff;
    until("it is off", is_off).await;
    let (_, reason) = world.webhook(id).switched_off.expect("a reason");
    assert_eq!(reason, "the receiver answered 410 Gone");
    let page = PageRequest {
        after: None,
        limit: 50,
    };
    let entries = world.ask(|store| store.audit(&AuditFilter::default(), &page));
    let entries = entries.expect("the database").items;
    let is_entry = |action: &str| action == "webhook.switched_off";
    assert!(
        entries.iter().any(|entry| is_entry(&entry.action)),
        "{entries:?}"
    );
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_are_valid_while_one_is_replaced() {
    for world in World::each() {
        check_two_secrets_are(world).await;
    }
}

async fn check_two_secrets_are(world: World) {
    let receiver = Receiver::start(|_| Does::Answer(200)).await;
    let id = world.add_for(&receiver);
    let _api = world.send().await;
    let rotate = |byte, until| {
        let secret = WebhookSecret::from_random([byte; 32]);
        let rotated = world.ask(|store| store.rotate_webhook(id, &secret, until, &request()));
        assert!(matches!(rotated, Ok(Once::Done(_))), "{rotated:?}");
    };
    rotate(8, Timestamp(now().0 + 60_000));
    world.log(&names(0, 1));
    until("the first event", || receiver.received().len() == 1).await;
    until("the record", || world.webhook(id).waiting == 0).await;
    let both = receiver.received()[0].signature.clone();
    let signatures: Vec<&str> = both.split(' ').collect();
    assert_eq!(signatures.len(), 2, "{both}");
    assert_ne!(signatures[0], signatures[1]);
    rotate(9, now());
    world.log(&names(1, 2));
    until("the second event", || receiver.received().len() == 2).await;
    let one = receiver.received()[1].signature.clone();
    assert_eq!(one.split(' ').count(), 1, "{one}");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_address_is_not_reached() {
    let world = World::new();
    let receiver = Receiver::start(|_| Does::Answer(200)).await;
    // A name, as its address is known only when it is resolved.
    let id = world.add(&format!("http://localhost:{}/", receiver.port));
    let _api = send(&world.at, false).await;
    world.log(&names(0, 1));
    until("a failure", || world.webhook(id).progress.retry.is_some()).await;
    let (_, error) = world.webhook(id).progress.last_error.expect("an error");
    assert!(error.contains("is not a public one"), "{error}");
    assert_eq!(receiver.received(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_no_longer_kept_are_reported_and_later_ones_are_sent() {
    for world in World::each() {
        check_events_that_are(world).await;
    }
}

async fn check_events_that_are(world: World) {
    let receiver = Receiver::start(|_| Does::Answer(200)).await;
    let id = world.add_for(&receiver);
    world.log(&names(0, 2));
    let expired = world.ask(|store| store.expire_events(Timestamp(now().0 + 1)));
    assert_eq!(expired, Ok(2));
    world.log(&names(2, 4));
    let _api = world.send().await;
    until("the later events", || receiver.tokens() == names(2, 4)).await;
    until("the record", || world.webhook(id).waiting == 0).await;
    let (_, error) = world.webhook(id).progress.last_error.expect("an error");
    assert!(error.contains("are no longer kept"), "{error}");
}

#[test]
fn kill_between_sending_and_recording_sends_again_and_skips_nothing() {
    // Each waits until the lease of the killed sender ends.
    let worlds = World::each();
    std::thread::scope(|scope| {
        for world in &worlds {
            scope.spawn(move || check_kill(world));
        }
    });
}

fn check_kill(world: &World) {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        runtime.expect("a runtime")
    };
    let outside = runtime();
    let receiver = outside.block_on(Receiver::start(|number| match number {
        // The third message is received and never answered.
        2 => Does::Hang,
        _ => Does::Answer(200),
    }));
    let id = world.add_for(&receiver);
    world.log(&names(0, 5));
    let killed = runtime();
    let api = killed.block_on(world.send());
    outside.block_on(until("three", || receiver.received().len() == 3));
    // All tasks end where they are, as at a kill.
    killed.shutdown_background();
    std::mem::forget(api);
    let before = receiver.received();
    assert_eq!(world.webhook(id).waiting, 5, "something is recorded");

    outside.block_on(async {
        let _api = world.send().await;
        until("the record", || world.webhook(id).waiting == 0).await;
    });
    let after = &receiver.received()[3..];
    let tokens: Vec<String> = after.iter().map(Received::token).collect();
    assert_eq!(tokens, names(0, 5));
    for (first, again) in before.iter().zip(after) {
        assert_eq!((&first.id, &first.body), (&again.id, &again.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_asks_for_time_gets_it_and_later_all_events() {
    for world in World::each() {
        let receiver = Receiver::start(|number| match number {
            0 => Does::Postpone(3_600),
            _ => Does::Answer(200),
        })
        .await;
        let id = world.add_for(&receiver);
        let _api = world.send().await;
        world.log(&names(0, 2));
        until("a failure", || world.webhook(id).progress.retry.is_some()).await;
        let wait_s = (world.webhook(id).progress.due_at.0 - now().0) / 1_000;
        assert!((3_500..=4_320).contains(&wait_s), "{wait_s}");
        world.touch(id);
        until("the record", || world.webhook(id).waiting == 0).await;
        assert_eq!(receiver.tokens(), ["T-000", "T-000", "T-001"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_that_was_ahead_postpones_nothing() {
    for world in World::each() {
        let receiver = Receiver::start(|_| Does::Answer(200)).await;
        let id = world.add_for(&receiver);
        world.log(&names(0, 2));
        // A process whose clock is a year ahead takes the lease, and is killed.
        let year_ms = 365 * 24 * 3_600_000;
        let ahead = |ms: i64| Timestamp(now().0 + year_ms + ms);
        let claimed =
            world.ask(|store| store.claim_webhooks(Uuid::new_v4(), ahead(0), ahead(5_000), 10));
        assert_eq!(claimed.expect("the database").len(), 1);
        let _api = world.send().await;
        until("the record", || world.webhook(id).waiting == 0).await;
        assert_eq!(receiver.tokens(), names(0, 2));
    }
}

/// The clock of a database whose machine is so many milliseconds ahead of this one.
struct Apart(i64);

impl DatabaseClock for Apart {
    fn time(&self) -> Result<Timestamp, Unavailable> {
        Ok(Timestamp(now().0 + self.0))
    }
}

/// Leases are of the database's clock: a process whose machine is ten minutes apart takes none that another one has, and has
/// its own while it sends.
#[tokio::test(flavor = "multi_thread")]
async fn clock_of_a_machine_that_is_minutes_apart_breaks_no_lease() {
    for apart_ms in [600_000, -600_000] {
        for world in World::each() {
            let receiver = Receiver::start(|_| Does::Answer(200)).await;
            let (held, free) = (world.add_for(&receiver), world.add_for(&receiver));
            world.log(&names(0, 1));
            let time = Apart(apart_ms).time().expect("a clock");
            // Another sender has the first webhook for a minute by the database's clock.
            let lease = Uuid::new_v4();
            let until = time.plus_millis(60_000);
            let claimed = world.ask(|store| store.claim_webhooks(lease, time, until, 1));
            let claimed = claimed.expect("the database");
            assert_eq!((claimed.len(), claimed[0].id), (1, held));
            let client = WebhookClient::new(settings(true).client()).expect("a client");
            let store = block_in_place(|| world.at.open());
            let _api = send_from(store, Arc::new(Apart(apart_ms)), client).await;
            until_sent(&world, free).await;
            // The other one is due for longer, and would have been sent first.
            let webhook = &claimed[0];
            let is_held = world.ask(|store| store.is_webhook_held(held, lease, webhook.version));
            assert_eq!(is_held, Ok(true), "{apart_ms}");
            assert_eq!(receiver.tokens(), ["T-000"]);
            // It is given back, and sent for at once.
            let step = step(webhook.version, webhook.progress.clone());
            let recorded = world.ask(|store| store.record_webhook(held, lease, &step, time));
            assert_eq!(recorded, Ok(StepRecorded::Recorded));
            until_sent(&world, held).await;
            assert_eq!(receiver.tokens(), ["T-000", "T-000"]);
        }
    }
}

async fn until_sent(world: &World, id: WebhookId) {
    until("the record", || world.webhook(id).waiting == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_that_is_removed_while_it_is_sent_to_ends_there_and_stops_no_other() {
    for world in World::each() {
        let removed = Receiver::start(|_| Does::Hang).await;
        let other = Receiver::start(|_| Does::Answer(200)).await;
        let id = world.add_for(&removed);
        let stays = world.add_for(&other);
        let _api = world.send().await;
        world.log(&names(0, 2));
        until("a message", || removed.received().len() == 1).await;
        let outcome = world.ask(|store| store.remove_webhook(id, &request()));
        assert_eq!(outcome, Ok(Ok(())));
        until("the others", || other.tokens() == names(0, 2)).await;
        world.log(&names(2, 4));
        until("later events", || other.tokens() == names(0, 4)).await;
        until("the record", || world.webhook(stays).waiting == 0).await;
        assert_eq!(removed.received().len(), 1);
        let page = PageRequest {
            after: None,
            limit: 10,
        };
        let attempts = world.ask(|store| store.webhook_attempts(id, &page, now()));
        assert_eq!(attempts.expect("the database").items, []);
    }
}
