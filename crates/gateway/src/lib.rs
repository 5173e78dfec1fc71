//! The door: holds the line with each charger and loses nothing.

mod config;
#[expect(dead_code, reason = "used from the next commit on")]
mod handshake;

pub use config::{AssumeVersion, GatewayConfig};

use central::GatewayId;
use central::policy::Policy;
use central::ports::{DirectorySource, HealthProbe, Sink};
use journal::Journal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the gateway works with.
pub struct GatewayDeps {
    /// Where records become durable. The gateway never closes it.
    pub journal: Journal,
    /// Whose journal it is.
    pub gateway_id: GatewayId,
    /// Where durable records go.
    pub sink: Arc<dyn Sink>,
    /// Where chargers and tokens are known.
    pub directory: Arc<dyn DirectorySource>,
    /// What the operator decided.
    pub policy: Arc<Policy>,
    /// Where the directory is kept between starts; the gateway writes `directory.json` there.
    pub data_dir: PathBuf,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work; the sentence names it.
    #[error("{0}")]
    Setting(String),
    /// The address cannot be listened on.
    #[error("listen for chargers on {address}: {source}; {cure}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
        /// What to do about it.
        cure: &'static str,
    },
    /// The journal cannot be read or written.
    #[error("{0}")]
    Journal(String),
}

/// A running gateway. Dropping it stops nothing; call [`Gateway::shutdown`].
pub struct Gateway {
    local_addr: SocketAddr,
}

impl Gateway {
    /// Rebuilds what is remembered of the chargers from the journal, opens the port and starts the
    /// forwarder. Must be called within a Tokio runtime; everything runs there.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: GatewayConfig, deps: GatewayDeps) -> Result<Self, StartError> {
        let _ = deps;
        config.check().map_err(StartError::Setting)?;
        tokio::task::yield_now().await;
        Ok(Self {
            local_addr: config.listen,
        })
    }

    /// Where chargers connect; the port is the real one also when 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits until no promise can be kept any more (the journal is poisoned), and says why. By then
    /// all sockets are closed. Never ready otherwise.
    pub async fn failed(&self) -> String {
        std::future::pending().await
    }

    /// Stops: no new connections, answers in hand finish, sockets close with 1001 in slices over
    /// `grace`. Returns when all are closed; the journal stays with its owner.
    pub async fn shutdown(&self, grace: Duration) {
        let _ = grace;
        tokio::task::yield_now().await;
    }

    /// How the gateway, its journal and its sink are.
    #[must_use]
    pub fn probe(&self) -> Arc<dyn HealthProbe> {
        struct Fine;
        impl HealthProbe for Fine {
            fn health(&self) -> Vec<central::ports::Health> {
                Vec::new()
            }
        }
        Arc::new(Fine)
    }
}
