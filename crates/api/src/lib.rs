//! The desk: lets people and programs see. HTTP with JSON over the ledger's reading port, the health of
//! all parts, and the figures for Prometheus.
//!
//! It is run by `serve` beside the gateway, or alone; [`Api::start`] listens, [`Api::shutdown`] drains.
//! Nothing here is on a charger's road: if it hangs or dies, no charger notices. It promises to stay
//! within its bounds ([`ApiConfig`]): connections, questions to the database at once, time per request,
//! items and bytes per page. Bodies of requests are never read.
//!
//! Nobody is asked who they are, so the default is to listen on this machine only; listening elsewhere
//! logs a warning. The addresses, parameters and answers are described for users in `docs/api.md`.
//!
//! ```text
//! server.rs   connections, bounds, stop      routes.rs   table of addresses
//! reserve.rs  health answers in any crowd    stall.rs    clients that do not read
//! query.rs    parameters, strictly read      desk.rs     the one way to ask the ledger
//! page.rs     pages, bounded in bytes too    error.rs    the one shape of errors
//! shown.rs    long texts are cut in overviews
//! chargers.rs  transactions.rs  messages.rs  health.rs   one file per thing to see
//! ```

mod chargers;
mod config;
mod desk;
mod error;
mod health;
mod messages;
mod metrics;
mod page;
mod query;
mod reserve;
mod routes;
mod server;
mod shown;
mod stall;
mod transactions;

pub use self::metrics::METRICS;
pub use config::ApiConfig;

use central::ports::HealthProbe;
use central::query::QueryStore;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// What the API shows.
pub struct ApiDeps {
    /// Where chargers, transactions and messages are read. `None` for a process that only tells how it
    /// is: `/health/…` and `/metrics`, everything else is 404.
    pub ledger: Option<Arc<dyn QueryStore>>,
    /// The parts whose health `/health/ready` tells. None: always ready.
    pub probes: Vec<Arc<dyn HealthProbe>>,
    /// Writes all metrics in the Prometheus text format. Called once per scrape; should not wait.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What `/` tells as the version, such as `0.1.0`.
    pub version: &'static str,
}

/// Why the API did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong; the sentence names key, value and what would be right.
    #[error("{0}")]
    Config(String),
    /// The address cannot be listened on: in use, not of this machine, or not permitted.
    #[error("listen for HTTP on {listen}: {source}")]
    Listen {
        /// What was asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The running HTTP side. Dropping it stops it at once; [`Api::shutdown`] stops it well.
#[derive(Debug)]
pub struct Api {
    local_addr: SocketAddr,
    stop: server::Stop,
    tasks: TaskTracker,
}

impl Api {
    /// Listens and serves from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a setting is out of its bounds, or the address cannot be listened on.
    pub async fn start(config: ApiConfig, deps: ApiDeps) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let listen = config.listen;
        let failed = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        if !local_addr.ip().is_loopback() {
            warn!(
                %local_addr,
                "the HTTP API listens beyond this machine and asks nobody who they are; \
                 put it behind a proxy that does, or listen on 127.0.0.1"
            );
        }
        info!(%local_addr, "HTTP API listens");
        let has_ledger = deps.ledger.is_some();
        let desk = Arc::new(desk::Desk::new(&config, deps));
        let services = server::Services {
            all: match has_ledger {
                true => routes::router(Arc::clone(&desk)),
                false => routes::health_router(Arc::clone(&desk)),
            },
            watch: routes::watch_router(desk),
        };
        let (stop, tasks) = (server::Stop::default(), TaskTracker::new());
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

    /// Where it listens; tells the port when port 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops: no new connections, idle ones are closed, requests in hand are answered within `grace`,
    /// what is left then is dropped. A database call that was given up may outlive this on its own
    /// thread.
    pub async fn shutdown(self, grace: Duration) {
        self.stop.gently.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait())
            .await
            .is_err()
        {
            warn!(
                connections = self.tasks.len(),
                "HTTP requests did not end within the grace period and are dropped"
            );
            self.stop.now.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.gently.cancel();
        self.stop.now.cancel();
    }
}
