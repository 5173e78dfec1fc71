//! The HTTP API: JSON over the store's query port, the health of all components, and the metrics for Prometheus.
//!
//! [`Api::start`] listens, [`Api::shutdown`] stops gracefully. The API is not part of the delivery path: its failure does
//! not affect chargers. It has limits ([`ApiConfig`]) for connections, concurrent queries, time per request, items and
//! bytes per page.
//!
//! A request needs an API key as soon as there is one (`auth.rs`). Without any key, only an address of this machine
//! is served. `docs/api.md` describes routes, parameters and answers.
//!
//! ```text
//! server.rs          connections, limits, stop     routes.rs        table of routes
//! health_reserve.rs  reserved connections          write_timeout.rs clients that do not read
//! query.rs           query parameters, validated   state.rs         shared state, runs queries
//! page.rs            pages of lists                error/           errors and their format
//! wrong_port.rs    chargers that call the API's port
//! auth.rs            API keys and scopes            openapi.rs       the OpenAPI document
//! sessions.rs        sign-in to the dashboard       dashboard.rs     the files of the dashboard
//! version.rs         version, commit, schema        support_bundle.rs  what somebody who helps needs, in one file
//! schema/            schemas of the answers         docs_page.rs     the page /docs
//! row.rs             JSON, NDJSON, CSV and fields   change.rs       what all requests for changes have in common
//! etag.rs            entity tags                    freshness.rs     how fresh answers are, waiting for a record
//! pipeline.rs        what is known of all processes, for /api/v1/pipeline
//! webhooks/      sends events to other systems, under a lease
//! alerts/        evaluates alerts, under a lease; alerts, their rules and silences
//! batches/       one command to many chargers, and the task that drives batches
//! operations.rs  commands that do not depend on the version of OCPP
//! actions.rs  api_keys.rs  users.rs  chargers.rs  charger_settings.rs  charger_password.rs  sites.rs  closings.rs  disconnects.rs  handshakes.rs  commands.rs  dead_letters.rs  transactions.rs  messages.rs  audit.rs  health.rs
//! tokens.rs  local_lists.rs  traces.rs  transaction_messages.rs   one file per resource
//! ```

mod actions;
mod alerts;
mod api_keys;
mod audit;
mod auth;
mod batches;
mod change;
mod charger_password;
mod charger_settings;
mod chargers;
mod closings;
mod commands;
mod config;
mod dashboard;
mod dead_letters;
mod disconnects;
mod docs_page;
mod error;
mod etag;
mod events;
mod freshness;
mod handshakes;
mod health;
mod health_reserve;
mod import;
mod links;
mod local_lists;
mod messages;
mod meter_values;
mod metrics;
mod openapi;
mod operations;
mod page;
mod passwords;
mod path;
mod pipeline;
mod query;
mod quirks;
mod rate_limit;
mod reports;
mod routes;
mod row;
mod schema;
mod server;
mod sessions;
mod shared_clock;
mod shares;
mod sign_in_limit;
mod sites;
mod state;
mod support_bundle;
mod tokens;
mod traces;
mod transaction_messages;
mod transactions;
mod unknown_tokens;
mod uptime;
mod users;
mod version;
mod webhook_routes;
pub mod webhooks;
mod write_timeout;
mod wrong_port;

pub use self::metrics::METRICS;
pub use alerts::{AlertConfig, AlertDeps, MailConfig, MailTls, Mailer, RuleView, rule_views};
pub use batches::{BatchRefused, BatchRequest};
pub use config::ApiConfig;
pub use openapi::openapi;
pub use passwords::hash_password;
pub use pipeline::PipelineDeps;
pub use support_bundle::SupportDeps;
pub use webhooks::{WebhookConfig, WebhookDeps};

use central::model::ProcessReport;
use central::ports::{
    ApiKeys, Batches, ChargerAdmin, Closings, ClusterEvents, Commands, DeadLetters, Disconnects,
    EventLog, Handshakes, HealthProbe, LetterRetries, LocalLists, PasswordRotations, Tokens, Users,
};
use central::query::QueryStore;
use common::restart;
use common::settings::SettingError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// What the API needs from the process.
pub struct ApiDeps {
    /// The store that is queried. `None`: only `/health…` and `/metrics` are answered, other paths get 404.
    pub store: Option<Arc<dyn QueryStore>>,
    /// The chargers that the operator sets; `None` in a process without a store.
    pub chargers: Option<Arc<dyn ChargerAdmin>>,
    /// Refused handshakes; `None` in a process without a store.
    pub handshakes: Option<Arc<dyn Handshakes>>,
    /// The tokens that the operator sets; `None` in a process without a store.
    pub tokens: Option<Arc<dyn Tokens>>,
    /// The local authorization lists; `None` in a process without a store.
    pub local_lists: Option<Arc<dyn LocalLists>>,
    /// Changes of passwords at chargers.
    pub rotations: Option<Arc<dyn PasswordRotations>>,
    /// Closes transactions; `None` in a process without a store.
    pub closings: Option<Arc<dyn Closings>>,
    /// Requests to close the connections of chargers; `None` in a process without a store.
    pub disconnects: Option<Arc<dyn Disconnects>>,
    /// The dead letters; `None` in a process without a store.
    pub dead_letters: Option<Arc<dyn DeadLetters>>,
    /// Tries dead letters again; `None` in a process without a store.
    pub letter_retries: Option<Arc<dyn LetterRetries>>,
    /// The queue of commands to chargers; `None` in a process without a store.
    pub commands: Option<Arc<dyn Commands>>,
    /// The batches of commands; `None` in a process without a store. This process then drives batches.
    pub batches: Option<Arc<dyn Batches>>,
    /// Tells gateways of new commands, and waiting requests of outcomes. Without it, both find out by looking: gateways
    /// each second, requests four times a second.
    pub events: Option<Arc<dyn ClusterEvents>>,
    /// The log of events; `None` in a process without a store.
    pub event_log: Option<Arc<dyn EventLog>>,
    /// The webhooks, and what sends their messages; `None` in a process without a store. This process then sends.
    pub webhooks: Option<WebhookDeps>,
    /// The alerts and silences, and how they are evaluated; `None` in a process without a store.
    pub alerts: Option<AlertDeps>,
    /// The API keys. `None`: no request needs one, for a process without a store.
    pub keys: Option<Arc<dyn ApiKeys>>,
    /// The local users; `None`: there are none. They need [`ApiDeps::keys`] too.
    pub users: Option<Arc<dyn Users>>,
    /// The probes of `/health` and `/health/ready`. Without any, the process is always ready.
    pub probes: Vec<Arc<dyn HealthProbe>>,
    /// The report of this process, for `/health`; `None`: who it is, is not said. Must not block.
    pub process: Option<Arc<dyn Fn() -> ProcessReport + Send + Sync>>,
    /// What `GET /api/v1/pipeline` needs; `None` in a process without a store.
    pub pipeline: Option<PipelineDeps>,
    /// Returns all metrics in the Prometheus text format. It is called once per scrape and must not block.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The version in the answer of `/`, such as `0.1.0`.
    pub version: &'static str,
    /// What else `GET /api/v1/version` says.
    pub build: Build,
    /// What `GET /api/v1/support-bundle` has beside health and metrics; `None`: neither settings nor lines of the log.
    pub support: Option<SupportDeps>,
}

/// What a program was built from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Build {
    /// The commit, as 40 hexadecimal digits; `None` if it is not known.
    pub commit: Option<&'static str>,
    /// The version of the database's schema that this program needs.
    pub schema_version: u32,
}

/// Why the API did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] SettingError),
    /// Other machines could use the API without a key.
    #[error(
        "http.listen is {listen}, which other machines can reach, and there is neither an API key nor a user: make one with \
         `wattpost apikey add NAME --scope read` or `wattpost user add NAME`, or set http.listen to an address of this machine such as \
         127.0.0.1:8080; if a proxy in front of it checks who may use the API, set http.open_without_keys to true"
    )]
    NoKey {
        /// The configured address.
        listen: SocketAddr,
    },
    /// The address cannot be bound: it is in use, not local, or not permitted.
    #[error("failed to listen for HTTP on {listen}: {source}")]
    Listen {
        /// The configured address.
        listen: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Reads the keys and users, and refuses an address that other machines reach while there are none.
async fn authentication(
    source: Arc<dyn ApiKeys>,
    users: Option<Arc<dyn Users>>,
    config: &ApiConfig,
    local_addr: SocketAddr,
    limit: Duration,
) -> Result<Arc<auth::Keys>, StartError> {
    let is_of_this_machine = local_addr.ip().to_canonical().is_loopback();
    let opens_without_keys = is_of_this_machine || config.open_without_keys;
    let keys = Arc::new(auth::Keys::new(
        source,
        users,
        opens_without_keys,
        !config.open_without_keys,
    ));
    match keys.load(limit).await {
        None => warn!(
            %local_addr,
            "the API keys are not known; requests that need one are refused until the database is available"
        ),
        Some(0) if is_of_this_machine => info!(
            %local_addr,
            "there is neither an API key nor a user: everybody on this machine may use the API (`wattpost apikey add` makes \
             a key, `wattpost user add` a user)"
        ),
        Some(0) if config.open_without_keys => warn!(
            %local_addr,
            "there is neither an API key nor a user, and http.open_without_keys is true: every machine that reaches this address may use \
             the API"
        ),
        Some(0) => {
            return Err(StartError::NoKey {
                listen: config.listen,
            });
        }
        Some(known) => info!(known, "the API requires a key or a user who has signed in"),
    }
    Ok(keys)
}

/// The running HTTP server. Dropping it stops it at once; [`Api::shutdown`] stops it gracefully.
#[derive(Debug)]
pub struct Api {
    local_addr: SocketAddr,
    /// A second handle of the socket, for [`Api::listener`].
    listener: Option<std::net::TcpListener>,
    stop: server::Stop,
    tasks: TaskTracker,
}

impl Api {
    /// Binds the address and starts serving. Must be called within a tokio runtime.
    ///
    /// An address that other machines reach needs an API key: if the database answers and has none, the API does not
    /// start. If the database is unavailable, it starts, and refuses every request that needs a key until the keys are
    /// read.
    ///
    /// # Errors
    /// When a setting is out of range, there is no key although one is needed, or the address cannot be bound.
    pub async fn start(config: ApiConfig, deps: ApiDeps) -> Result<Self, StartError> {
        config.check()?;
        let listen = config.listen;
        let failed = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let listener = listener.into_std().map_err(failed)?;
        Self::start_within(listener, config, deps, auth::START_TIMEOUT).await
    }

    /// As [`Api::start`], on a socket that listens already: another process has served it.
    ///
    /// # Errors
    /// As [`Api::start`].
    pub async fn start_on(
        listener: std::net::TcpListener,
        config: ApiConfig,
        deps: ApiDeps,
    ) -> Result<Self, StartError> {
        Self::start_within(listener, config, deps, auth::TAKEN_OVER_TIMEOUT).await
    }

    /// Starts serving; waits for the keys for `keys_limit`.
    async fn start_within(
        listener: std::net::TcpListener,
        config: ApiConfig,
        mut deps: ApiDeps,
        keys_limit: Duration,
    ) -> Result<Self, StartError> {
        config.check()?;
        let listen = config.listen;
        let failed = |source| StartError::Listen { listen, source };
        listener.set_nonblocking(true).map_err(failed)?;
        let kept = listener.try_clone().map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let (stop, tasks) = (server::Stop::default(), TaskTracker::new());
        let keys = match deps.keys.take() {
            Some(source) => {
                let keys =
                    authentication(source, deps.users.take(), &config, local_addr, keys_limit);
                let keys = keys.await?;
                let (kept, stopped) = (Arc::clone(&keys), stop.graceful.clone());
                tasks.spawn(restart::task("API keys", move || {
                    Arc::clone(&kept).keep_current(stopped.clone())
                }));
                Some(keys)
            }
            None => None,
        };
        info!(%local_addr, "the HTTP API listens");
        let has_store = deps.store.is_some();
        let has_batches = deps.batches.is_some();
        if let Some(webhooks) = deps.webhooks.clone() {
            let stopped = stop.graceful.clone();
            tasks.spawn(restart::task("webhooks", move || {
                webhooks::run(webhooks.clone(), stopped.clone())
            }));
        }
        let state = state::AppState::new(&config, deps, keys, stop.graceful.clone());
        let state = Arc::new(state);
        if let Some(overview) = &state.pipeline {
            let (overview, stopped) = (Arc::clone(overview), stop.graceful.clone());
            tasks.spawn(restart::task("overview", move || {
                Arc::clone(&overview).keep_current(stopped.clone())
            }));
        }
        if let Ok(hub) = state.event_hub() {
            let stopped = stop.graceful.clone();
            tasks.spawn(restart::task("events", move || {
                Arc::clone(&hub).run(stopped.clone())
            }));
        }
        if has_store && has_batches {
            let (driven, stopped) = (Arc::clone(&state), stop.graceful.clone());
            tasks.spawn(restart::task("batches", move || {
                batches::drive(Arc::clone(&driven), stopped.clone())
            }));
        }
        if let Some((sources, config)) = state.alert_sources() {
            let stopped = stop.graceful.clone();
            tasks.spawn(restart::task("alerts", move || {
                alerts::evaluator::run(sources.clone(), config.clone(), stopped.clone())
            }));
        }
        let wrong_port = Arc::clone(&state.wrong_port);
        let services = server::Services {
            all: match has_store {
                true => routes::router(Arc::clone(&state)),
                false => routes::health_router(Arc::clone(&state)),
            },
            reserved: routes::reserved_router(state),
        };
        let stopped = stop.graceful.clone();
        tasks.spawn(restart::task("summary of log lines", move || {
            let (wrong_port, stopped) = (Arc::clone(&wrong_port), stopped.clone());
            async move { wrong_port.summarise(stopped).await }
        }));
        let (listener, accepting) = (Arc::new(listener), (stop.clone(), tasks.clone()));
        tasks.spawn(restart::task("accept", move || {
            let (stop, tasks) = accepting.clone();
            let (listener, services) = (Arc::clone(&listener), services.clone());
            server::accept(listener, services, config.clone(), stop, tasks)
        }));
        Ok(Self {
            local_addr,
            listener: Some(kept),
            stop,
            tasks,
        })
    }

    /// The bound address, with the actual port when port 0 was configured.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The socket that listens, for another process that goes on with it.
    ///
    /// # Errors
    /// When no file handle is left.
    pub fn listener(&self) -> std::io::Result<std::net::TcpListener> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        self.listener.as_ref().ok_or_else(gone)?.try_clone()
    }

    /// Stops: no new connections, idle ones are closed, requests in progress are answered within `grace`, the
    /// rest is dropped. A query that ran into its timeout may outlive this on its own thread.
    pub async fn shutdown(mut self, grace: Duration) {
        self.listener = None;
        self.stop.graceful.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait())
            .await
            .is_err()
        {
            warn!(
                connections = self.tasks.len(),
                "HTTP requests did not end within the grace period and are dropped"
            );
            self.stop.immediate.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.graceful.cancel();
        self.stop.immediate.cancel();
    }
}
