//! The RabbitMQ (AMQP 0.9.1) implementation of the ports of [`central`], so that gateway, consumer and database
//! can fail independently.
//!
//! One [`Broker`] is one connection. An unavailable RabbitMQ is not an error: the connection is retried
//! in the background, and meanwhile every call returns [`Unavailable`] at once. `docs/messages.md` documents the
//! messages, the names and the guarantees.
//!
//! | module | purpose |
//! | --- | --- |
//! | `config`, `address` | the settings; parsing the URL |
//! | `envelope`, `routing`, `topology` | the message format, the routing key, the queues |
//! | `dial`, `link` | opening a connection; reconnecting |
//! | `publish`, `consume`, `cluster_events`, `depth` | publishing, consuming, cluster events, the queues' length |
//! | `check` | diagnosis for the operator |

mod address;
mod check;
mod cluster_events;
mod config;
mod consume;
mod depth;
mod dial;
mod envelope;
mod link;
mod metrics;
mod publish;
pub mod routing;
#[cfg(test)]
mod sample;
mod topology;

pub use self::metrics::METRICS;
pub use check::{CheckError, CheckErrorKind, Report};
pub use config::Config;
pub use envelope::FIELDS as MESSAGE_FIELDS;

use central::ports::{
    Batch, BoxFuture, ClusterEvent, ClusterEvents, Figure, Health, HealthProbe, Queued, Sink,
    Source, Subscription, Unavailable,
};
use central::{Record, RecordId};
use common::lock::lock;
use link::{BrokerShared, LinkState, unavailable};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::task::JoinHandle;

/// RabbitMQ as a sink, a source and a carrier of cluster events, on one connection.
///
/// Use one each for gateway and consumer, also in one process: when RabbitMQ is low on memory it stops reading
/// from connections that publish, which would also delay acknowledgements on the same connection.
pub struct Broker {
    shared: Arc<BrokerShared>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Broker {
    /// Starts connecting in the background and returns at once; connecting is retried until it succeeds. `role` is the
    /// connection's name in RabbitMQ's management tools.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn start(config: Config, role: &str) -> Arc<Self> {
        let shared = Arc::new(BrokerShared::new(config, role));
        let supervisor = tokio::spawn(link::run(shared.clone()));
        Arc::new(Self {
            shared,
            supervisor: Mutex::new(Some(supervisor)),
        })
    }

    /// Connects once, declares and checks the topology, and disconnects; for `wattpost check`. Each node may
    /// take `connect_timeout_ms` for connecting and again for checking; with several nodes connecting is limited
    /// to two seconds, so that a silent node does not hide the next one's answer.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub async fn check(config: &Config) -> Result<Report, CheckError> {
        check::check(config).await
    }

    /// Waits until RabbitMQ accepts records; for startup and tests.
    pub async fn up(&self) {
        let mut state = self.shared.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state
            .wait_for(|state| matches!(state, LinkState::Up(_)))
            .await;
    }

    /// The last sample of the queues: records that are ready, whether each queue with some has a consumer, and when it was
    /// measured. `None` while RabbitMQ is not connected or has blocked the connection, and for a second after that.
    #[must_use]
    pub fn queues(&self) -> Option<(u64, bool, Instant)> {
        match self.state() {
            LinkState::Up(_) => self
                .shared
                .sample()
                .map(|sample| (sample.waiting, sample.is_consumed, sample.at)),
            _ => None,
        }
    }

    /// Sends an event to all processes, once RabbitMQ is connected, and returns when it is written to the connection. For
    /// programs that run for a moment; [`ClusterEvents::publish`] drops an event that cannot be sent at once.
    ///
    /// # Errors
    /// When the connection fails meanwhile. It waits for a connection without a limit: the caller sets one.
    pub async fn announce(&self, event: &ClusterEvent) -> Result<(), Unavailable> {
        self.up().await;
        let session = self.state().session()?;
        cluster_events::send_once(&session, event).await
    }

    /// Closes the connection gracefully, within two seconds; later calls return [`Unavailable`].
    pub async fn close(&self) {
        self.shared.closing.cancel();
        let supervisor = lock(&self.supervisor).take();
        if let Some(supervisor) = supervisor {
            // The task does not panic; if it did, nothing would be left to end.
            let _ = supervisor.await;
        }
    }

    fn state(&self) -> LinkState {
        let state = self.shared.state.borrow().clone();
        match state {
            // The session has failed, and the state is not updated yet.
            LinkState::Up(session) | LinkState::Blocked(session, _)
                if session.broken.is_cancelled() =>
            {
                LinkState::Down(session.why().detail)
            }
            state => state,
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

/// The message of a record, as sent to RabbitMQ; for documentation, tests and measurements.
#[must_use]
pub fn encode_message(id: RecordId, record: &Record<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    envelope::encode(id, record, &mut message);
    message
}

/// Decodes a message: appends its record to `batch`, or otherwise a dead letter.
pub fn decode_message(message: &[u8], batch: &mut Batch) {
    match envelope::decode(message) {
        envelope::Decoded::Record(record) => record.put_into(batch),
        envelope::Decoded::Raw(id, bytes) => {
            batch.push_with(id, |out| out.extend_from_slice(&bytes));
        }
        envelope::Decoded::Unknown(letter) => batch.push_unreadable(letter),
    }
}

impl Sink for Broker {
    /// Fails at once while there is no connection, and during a memory or disk alarm of RabbitMQ.
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>> {
        let session = self.state().session();
        let answer = session.and_then(|session| {
            let answer = session.publisher.submit(batch)?;
            Ok((session, answer))
        });
        Box::pin(async move {
            let (session, answer) = answer?;
            answer.await.unwrap_or_else(|_| Err(session.why()))
        })
    }

    /// `None` while RabbitMQ is not connected or has blocked the connection (a memory or disk alarm), and until
    /// the queues are checked after that: about a second.
    fn queued(&self) -> Option<Queued> {
        match self.state() {
            LinkState::Up(_) => self.shared.sample().map(Queued::from),
            _ => None,
        }
    }
}

impl Source for Broker {
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Unavailable>> {
        Box::pin(async move {
            let session = match self.state() {
                LinkState::Blocked(session, _) => session,
                state => state.session()?,
            };
            consume::subscribe(&self.shared, session).await
        })
    }
}

impl ClusterEvents for Broker {
    fn publish(&self, event: ClusterEvent) {
        self.shared.cluster_events.publish(&self.state(), &event);
    }

    fn subscribe(&self, on_event: Box<dyn Fn(ClusterEvent) + Send + Sync>) {
        self.shared.cluster_events.subscribe(on_event);
    }
}

impl HealthProbe for Broker {
    fn health(&self) -> Vec<Health> {
        let sample = self.shared.sample();
        let queued = sample.map(|sample| Figure::from(sample.waiting));
        let mut unacknowledged = None;
        let (up, detail) = match self.state() {
            LinkState::Connecting => (false, "connecting".into()),
            LinkState::Up(session) => {
                let held = session.unacknowledged.load(Ordering::Relaxed);
                unacknowledged = Some(Figure::from(held));
                let waiting = match sample {
                    Some(sample) if sample.is_consumed || sample.waiting == 0 => {
                        format!("{} records wait", sample.waiting)
                    }
                    Some(sample) => format!("{} records wait for a consumer", sample.waiting),
                    None => "how many records wait is not known yet".to_owned(),
                };
                (true, format!("{}, {waiting}", session.node))
            }
            LinkState::Blocked(_, reason) => (false, link::blocked(&reason).detail),
            LinkState::Down(reason) => (false, reason),
            LinkState::Closed => (false, unavailable("closed").detail),
        };
        let health = Health::new("rabbitmq", up, detail).figure("queued_records", queued);
        // Deliveries exist only where there is a consumer; elsewhere it is 0.
        vec![health.figure("unacknowledged_records", unacknowledged)]
    }
}
