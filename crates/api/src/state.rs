//! The state shared by all handlers. It runs queries on blocking threads, with a maximum number and a timeout, so that
//! neither a slow database nor many requests use up the threads of the process.

use crate::alerts::{self, AlertConfig};
use crate::auth::Keys;
use crate::config::ApiConfig;
use crate::error::ApiError;
use crate::events::EventHub;
use crate::freshness::Freshness;
use crate::page::ListAnswer;
use crate::passwords::Passwords;
use crate::pipeline::Overview;
use crate::rate_limit::RateLimit;
use crate::shares::Shares;
use crate::wrong_port::WrongPort;
use crate::{AlertDeps, ApiDeps, Build, SupportDeps, WebhookDeps};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use central::GatewayId;
use central::model::{CommandId, ProcessReport, UserPasswordHash};
use central::ports::{
    ApiKeys, Batches, ChargerAdmin, Closings, ClusterEvent, ClusterEvents, Commands, DeadLetters,
    Disconnects, EventLog, Handshakes, HealthProbe, LetterRetries, LocalLists, PasswordRotations,
    Tokens, Users,
};
use central::query::QueryStore;
use serde::Serialize;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Changes that a waiting request may leave unread; one that has missed some looks at once.
const CHANGES_MAX: usize = 1_024;

pub(crate) struct AppState {
    store: Option<Arc<dyn QueryStore>>,
    chargers: Option<Arc<dyn ChargerAdmin>>,
    tokens: Option<Arc<dyn Tokens>>,
    local_lists: Option<Arc<dyn LocalLists>>,
    rotations: Option<Arc<dyn PasswordRotations>>,
    handshakes: Option<Arc<dyn Handshakes>>,
    closings: Option<Arc<dyn Closings>>,
    disconnects: Option<Arc<dyn Disconnects>>,
    dead_letters: Option<Arc<dyn DeadLetters>>,
    letter_retries: Option<Arc<dyn LetterRetries>>,
    commands: Option<Arc<dyn Commands>>,
    batches: Option<Arc<dyn Batches>>,
    webhooks: Option<WebhookDeps>,
    alerts: Option<AlertDeps>,
    /// Wakes the driver of batches.
    driver: Notify,
    event_log: Option<Arc<dyn EventLog>>,
    event_hub: Option<Arc<EventHub>>,
    /// Streams of events that may be open.
    streams: Arc<Semaphore>,
    /// Cancelled when the process stops.
    pub(crate) stop: CancellationToken,
    events: Option<Arc<dyn ClusterEvents>>,
    /// The commands that events report as changed.
    changed_commands: broadcast::Sender<CommandId>,
    /// `None` if no request needs a key.
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) probes: Vec<Arc<dyn HealthProbe>>,
    pub(crate) process: Option<Arc<dyn Fn() -> ProcessReport + Send + Sync>>,
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) version: &'static str,
    pub(crate) build: Build,
    pub(crate) support: Option<SupportDeps>,
    pub(crate) wrong_port: Arc<WrongPort>,
    pub(crate) pipeline: Option<Arc<Overview>>,
    pub(crate) freshness: Freshness,
    pub(crate) rate_limit: RateLimit,
    /// Whether metrics need a key, as soon as there is one.
    pub(crate) metrics_need_key: bool,
    calls: Arc<Semaphore>,
    shares: Shares,
    timeout: Duration,
}

impl AppState {
    pub(crate) fn new(
        config: &ApiConfig,
        deps: ApiDeps,
        keys: Option<Arc<Keys>>,
        stop: CancellationToken,
    ) -> Self {
        let (changed_commands, _) = broadcast::channel(CHANGES_MAX);
        let pipeline = deps.pipeline.map(|deps| Arc::new(Overview::new(deps)));
        if let Some(events) = &deps.events {
            let changed = changed_commands.clone();
            // What serves events may be held by what the overview reads: held here, neither would ever be dropped, and
            // SQLite would not be closed.
            let overview = pipeline.as_ref().map(Arc::downgrade);
            events.subscribe(Box::new(move |event| match event {
                ClusterEvent::CommandChanged { id } => {
                    // An error says that nobody waits.
                    let _ = changed.send(id);
                }
                ClusterEvent::ProcessReported { report } => {
                    if let Some(overview) = overview.as_ref().and_then(Weak::upgrade) {
                        overview.hear(*report);
                    }
                }
                ClusterEvent::Connected { .. }
                | ClusterEvent::CommandsWaiting { .. }
                | ClusterEvent::DisconnectWaiting { .. } => {}
            }));
        }
        Self {
            store: deps.store,
            chargers: deps.chargers,
            tokens: deps.tokens,
            local_lists: deps.local_lists,
            rotations: deps.rotations,
            handshakes: deps.handshakes,
            closings: deps.closings,
            disconnects: deps.disconnects,
            dead_letters: deps.dead_letters,
            letter_retries: deps.letter_retries,
            commands: deps.commands,
            batches: deps.batches,
            webhooks: deps.webhooks,
            alerts: deps.alerts,
            driver: Notify::new(),
            event_hub: deps.event_log.clone().map(EventHub::new),
            event_log: deps.event_log,
            // The others are for requests.
            streams: Arc::new(Semaphore::new((config.connections_max / 2).max(1))),
            stop,
            events: deps.events,
            changed_commands,
            keys,
            probes: deps.probes,
            process: deps.process,
            metrics: deps.metrics,
            version: deps.version,
            build: deps.build,
            support: deps.support,
            wrong_port: Arc::default(),
            pipeline,
            freshness: Freshness::default(),
            rate_limit: RateLimit::new(config.requests_per_minute_max),
            metrics_need_key: config.metrics_need_key,
            calls: Arc::new(Semaphore::new(config.database_calls_max)),
            shares: Shares::of(config.database_calls_max),
            timeout: config.request_timeout(),
        }
    }

    /// Tells the gateways that this charger has a command.
    pub(crate) fn commands_wait(&self, charger_id: &str) {
        if let Some(events) = &self.events {
            events.publish(ClusterEvent::CommandsWaiting {
                charger_id: charger_id.to_owned(),
            });
        }
    }

    /// Tells the gateway that one of its connections is to be closed.
    pub(crate) fn disconnect_waits(&self, gateway: GatewayId) {
        if let Some(events) = &self.events {
            events.publish(ClusterEvent::DisconnectWaiting { gateway });
        }
    }

    /// The batches. A process without a store has no route that uses them.
    pub(crate) fn batches(&self) -> Result<Arc<dyn Batches>, ApiError> {
        self.batches.clone().ok_or_else(ApiError::internal)
    }

    /// The webhooks, and what sends their messages. A process without a store has no route that uses them.
    pub(crate) fn webhooks(&self) -> Result<WebhookDeps, ApiError> {
        self.webhooks.clone().ok_or_else(ApiError::internal)
    }

    /// The alerts, and how they are evaluated. A process without a store has no route that uses them.
    pub(crate) fn alerts(&self) -> Result<AlertDeps, ApiError> {
        self.alerts.clone().ok_or_else(ApiError::internal)
    }

    /// What the evaluation of alerts reads and writes; `None` in a process without a store, or that does not evaluate.
    pub(crate) fn alert_sources(&self) -> Option<(alerts::evaluator::Sources, AlertConfig)> {
        let deps = self.alerts.as_ref().filter(|deps| deps.config.enabled)?;
        let sources = alerts::evaluator::Sources {
            alerts: Arc::clone(&deps.alerts),
            clock: Arc::clone(&deps.clock),
            queries: self.store.clone()?,
            log: self.event_log.clone()?,
            handshakes: self.handshakes.clone(),
            webhooks: self
                .webhooks
                .as_ref()
                .map(|deps| Arc::clone(&deps.webhooks)),
            overview: self.pipeline.clone()?,
            mailer: deps.mailer.clone(),
        };
        Some((sources, deps.config.clone()))
    }

    /// The store, for the driver of batches.
    pub(crate) fn query_store(&self) -> Option<Arc<dyn QueryStore>> {
        self.store.clone()
    }

    /// Lets the driver of batches take a turn now.
    pub(crate) fn wake_driver(&self) {
        self.driver.notify_one();
    }

    /// Returns when the driver of batches is to take a turn.
    pub(crate) async fn driver_woken(&self) {
        self.driver.notified().await;
    }

    /// The commands that change from now on, as far as events report them.
    pub(crate) fn changed_commands(&self) -> broadcast::Receiver<CommandId> {
        self.changed_commands.subscribe()
    }

    /// Runs a query for one object and serializes its result as JSON, both on a blocking thread: serializing a large
    /// answer takes as long as reading it. The answer has an `ETag`.
    pub(crate) async fn answer<T, F>(&self, query: F) -> Result<Response, ApiError>
    where
        T: Serialize,
        F: FnOnce(&dyn QueryStore) -> Result<T, ApiError> + Send + 'static,
    {
        let json = self.run(move |store| {
            let json = to_json(&query(store)?)?;
            let tag = entity_tag(&json);
            Ok((json, tag))
        });
        let (json, tag) = json.await?;
        let mut response = with_media(json, "application/json");
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        Ok(response)
    }

    /// Runs a query for a list.
    pub(crate) async fn answer_list<F>(&self, query: F) -> Result<Response, ApiError>
    where
        F: FnOnce(&dyn QueryStore) -> Result<ListAnswer, ApiError> + Send + 'static,
    {
        Ok(self.run(query).await?.into_response())
    }

    /// Reads a body of at most `bytes_max`, within the time for a request: a client that sends none must not keep its
    /// connection.
    pub(crate) async fn read_body(&self, body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
        let read = to_bytes(body, bytes_max);
        match tokio::time::timeout(self.timeout, read).await {
            Ok(read) => read.map_err(|_| ApiError::body_too_large(bytes_max)),
            Err(_) => Err(ApiError::body_timeout(self.timeout)),
        }
    }

    /// The chargers that the operator sets. A process without a store has no route that uses them.
    pub(crate) fn charger_admin(&self) -> Result<Arc<dyn ChargerAdmin>, ApiError> {
        self.chargers.clone().ok_or_else(ApiError::internal)
    }

    /// The keys of the API in the database. A process without them has no route that changes them.
    pub(crate) fn key_source(&self) -> Result<Arc<dyn ApiKeys>, ApiError> {
        let keys = self.keys.as_ref().ok_or_else(ApiError::internal)?;
        Ok(keys.source())
    }

    /// The local users in the database. A process without them has no route that changes them.
    pub(crate) fn user_source(&self) -> Result<Arc<dyn Users>, ApiError> {
        let keys = self.keys.as_ref();
        let users = keys.and_then(|keys| keys.user_source());
        users.ok_or_else(ApiError::internal)
    }

    /// Hashes the password of a user, when it is its turn.
    pub(crate) async fn hash_password(
        &self,
        password: String,
    ) -> Result<UserPasswordHash, ApiError> {
        self.passwords()?.hash(password).await
    }

    /// Where passwords are hashed, a few at a time.
    pub(crate) fn passwords(&self) -> Result<&Passwords, ApiError> {
        let keys = self.keys.as_ref().ok_or_else(ApiError::internal)?;
        Ok(&keys.passwords)
    }

    /// Reads the keys and users again, so that a change takes effect in this process at once.
    pub(crate) async fn reread_keys(&self) {
        if let Some(keys) = &self.keys {
            keys.refresh().await;
        }
    }

    /// Refused handshakes. A process without a store has no route that uses them.
    pub(crate) fn handshakes(&self) -> Result<Arc<dyn Handshakes>, ApiError> {
        self.handshakes.clone().ok_or_else(ApiError::internal)
    }

    /// The tokens that the operator sets. A process without a store has no route that uses them.
    pub(crate) fn tokens(&self) -> Result<Arc<dyn Tokens>, ApiError> {
        self.tokens.clone().ok_or_else(ApiError::internal)
    }

    /// The local lists. A process without a store has no route that uses them.
    pub(crate) fn local_lists(&self) -> Result<Arc<dyn LocalLists>, ApiError> {
        self.local_lists.clone().ok_or_else(ApiError::internal)
    }

    /// Changes of passwords at chargers. A process without a store has no route that uses them.
    pub(crate) fn rotations(&self) -> Result<Arc<dyn PasswordRotations>, ApiError> {
        self.rotations.clone().ok_or_else(ApiError::internal)
    }

    /// The log of events. A process without a store has no route that uses it.
    pub(crate) fn event_log(&self) -> Result<Arc<dyn EventLog>, ApiError> {
        self.event_log.clone().ok_or_else(ApiError::internal)
    }

    /// What sends new events to streams.
    pub(crate) fn event_hub(&self) -> Result<Arc<EventHub>, ApiError> {
        self.event_hub.clone().ok_or_else(ApiError::internal)
    }

    /// The right to one more stream of events.
    pub(crate) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        permit.map_err(|_| ApiError::too_many_streams())
    }

    /// Closes transactions. A process without a store has no route that uses it.
    pub(crate) fn closings(&self) -> Result<Arc<dyn Closings>, ApiError> {
        self.closings.clone().ok_or_else(ApiError::internal)
    }

    /// Requests to close connections. A process without a store has no route that uses them.
    pub(crate) fn disconnects(&self) -> Result<Arc<dyn Disconnects>, ApiError> {
        self.disconnects.clone().ok_or_else(ApiError::internal)
    }

    /// The dead letters. A process without a store has no route that uses them.
    pub(crate) fn dead_letters(&self) -> Result<Arc<dyn DeadLetters>, ApiError> {
        self.dead_letters.clone().ok_or_else(ApiError::internal)
    }

    /// Tries dead letters again. A process without a store has no route that uses it.
    pub(crate) fn letter_retries(&self) -> Result<Arc<dyn LetterRetries>, ApiError> {
        self.letter_retries.clone().ok_or_else(ApiError::internal)
    }

    /// The queue of commands. A process without a store has no route that uses it.
    pub(crate) fn commands(&self) -> Result<Arc<dyn Commands>, ApiError> {
        self.commands.clone().ok_or_else(ApiError::internal)
    }

    /// Runs a query on a blocking thread.
    ///
    /// A query that exceeds the timeout keeps its permits until it ends, because its thread is still in use.
    pub(crate) async fn run<T, F>(&self, query: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn QueryStore) -> Result<T, ApiError> + Send + 'static,
    {
        let deadline = Instant::now() + self.timeout;
        // The caller's own first: a request that waits for it is not in the queue of all.
        let share = match self.shares.of_caller() {
            None => None,
            Some(calls) => {
                let Ok(share) = timeout_at(deadline, calls.acquire_owned()).await else {
                    metrics::counter!("wattpost_api_database_crowded_total").increment(1);
                    return Err(ApiError::crowded(self.timeout, self.shares.each));
                };
                Some(share.map_err(|_| ApiError::internal())?)
            }
        };
        let permit = timeout_at(deadline, Arc::clone(&self.calls).acquire_owned());
        let Ok(permit) = permit.await else {
            metrics::counter!("wattpost_api_database_busy_total").increment(1);
            return Err(ApiError::busy(self.timeout));
        };
        let permit = permit.map_err(|_| ApiError::internal())?;
        // A process without a store has no route that queries one.
        let store = self.store.clone().ok_or_else(ApiError::internal)?;
        let request = tracing::Span::current();
        let call = tokio::task::spawn_blocking(move || {
            let answer = request.in_scope(|| query(&*store));
            drop((permit, share));
            answer
        });
        let Ok(ended) = timeout_at(deadline, call).await else {
            metrics::counter!("wattpost_api_database_timeouts_total").increment(1);
            return Err(ApiError::timeout(self.timeout));
        };
        ended.map_err(|panic| {
            error!(%panic, "an API query panicked");
            ApiError::internal()
        })?
    }
}

fn with_media(bytes: Vec<u8>, media: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// A strong entity tag: equal bodies have equal tags, and others do not.
fn entity_tag(body: &[u8]) -> String {
    let hash = blake3::hash(body).to_hex();
    format!("\"{}\"", &hash[..32])
}

fn to_json<T: Serialize>(answer: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(|error| {
        error!(%error, "failed to serialize an answer as JSON");
        ApiError::internal()
    })
}
