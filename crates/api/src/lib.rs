//! The HTTP API: JSON over the store's query port, the health of all components, and the metrics for Prometheus.
//!
//! [`Api::start`] listens, [`Api::shutdown`] stops gracefully. The API is not part of the delivery path: its failure does
//! not affect chargers. It has limits ([`ApiConfig`]) for connections, concurrent queries, time per request, items and
//! bytes per page. Request bodies are never read.
//!
//! There is no authentication, so by default it accepts connections from this machine only; another address gives a
//! warning in the log. `docs/api.md` describes routes, parameters and answers.
//!
//! ```text
//! server.rs          connections, limits, stop     routes.rs        table of routes
//! health_reserve.rs  reserved connections          write_timeout.rs clients that do not read
//! query.rs           query parameters, validated   state.rs         shared state, runs queries
//! page.rs            pages of lists                error.rs         errors and their format
//! truncate.rs        truncates texts in lists       wrong_port.rs    chargers that call the API's port
//! chargers.rs  transactions.rs  messages.rs  health.rs   one file per resource
//! ```

mod chargers;
mod config;
mod error;
mod health;
mod health_reserve;
mod messages;
mod metrics;
mod page;
mod query;
mod routes;
mod server;
mod state;
mod transactions;
mod truncate;
mod write_timeout;
mod wrong_port;

pub use self::metrics::METRICS;
pub use config::ApiConfig;

use central::ports::HealthProbe;
use central::query::QueryStore;
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
    /// The store that is queried. `None`: only `/health/…` and `/metrics` are answered, other paths get 404.
    pub store: Option<Arc<dyn QueryStore>>,
    /// The probes of `/health/ready`. Without any, it is always ready.
    pub probes: Vec<Arc<dyn HealthProbe>>,
    /// Returns all metrics in the Prometheus text format. It is called once per scrape and must not block.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The version in the answer of `/`, such as `0.1.0`.
    pub version: &'static str,
}

/// Why the API did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] SettingError),
    /// The address cannot be bound: it is in use, not local, or not permitted.
    #[error("failed to listen for HTTP on {listen}: {source}")]
    Listen {
        /// The configured address.
        listen: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
}

/// The running HTTP server. Dropping it stops it at once; [`Api::shutdown`] stops it gracefully.
#[derive(Debug)]
pub struct Api {
    local_addr: SocketAddr,
    stop: server::Stop,
    tasks: TaskTracker,
}

impl Api {
    /// Binds the address and starts serving. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a setting is out of range, or the address cannot be bound.
    pub async fn start(config: ApiConfig, deps: ApiDeps) -> Result<Self, StartError> {
        config.check()?;
        let listen = config.listen;
        let failed = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        if !local_addr.ip().is_loopback() {
            warn!(
                %local_addr,
                "the HTTP API accepts connections from other machines without authentication; \
                 put an authenticating proxy in front of it, or listen on 127.0.0.1"
            );
        }
        info!(%local_addr, "the HTTP API listens");
        let has_store = deps.store.is_some();
        let state = Arc::new(state::AppState::new(&config, deps));
        let wrong_port = Arc::clone(&state.wrong_port);
        let services = server::Services {
            all: match has_store {
                true => routes::router(Arc::clone(&state)),
                false => routes::health_router(Arc::clone(&state)),
            },
            reserved: routes::reserved_router(state),
        };
        let (stop, tasks) = (server::Stop::default(), TaskTracker::new());
        let stopped = stop.graceful.clone();
        tasks.spawn(async move { wrong_port.summarise(stopped).await });
        tasks.spawn(server::accept(
            listener,
            services,
            config,
            stop.clone(),
            tasks.clone(),
        ));
        Ok(Self {
            local_addr,
            stop,
            tasks,
        })
    }

    /// The bound address, with the actual port when port 0 was configured.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops: no new connections, idle ones are closed, requests in progress are answered within `grace`, the
    /// rest is dropped. A query that ran into its timeout may outlive this on its own thread.
    pub async fn shutdown(self, grace: Duration) {
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
