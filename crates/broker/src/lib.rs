//! The road: RabbitMQ (AMQP 0.9.1) behind the ports of [`central`], so that gateway, consumer and
//! database may die on their own.
//!
//! One [`Broker`] is one connection. It is never an error that RabbitMQ is away: the connection is
//! sought for ever in the background, and meanwhile every call says [`Unavailable`] at once. What travels,
//! under which names and with which promises, is documented in `docs/messages.md`.
//!
//! | module | its one idea |
//! | --- | --- |
//! | `config`, `address` | what may be set; the URL taken apart |
//! | `envelope`, `routing`, `topology` | what a message says, its key, the queues |
//! | `dial`, `link` | one connection opened; a connection for ever |
//! | `publish`, `consume`, `announce`, `depth` | records out, records in, news, a look at the queues |
//! | `check` | what is wrong, for people |

mod address;
mod announce;
mod check;
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
    Batch, BoxFuture, ClusterEvent, ClusterEvents, Health, HealthProbe, Queued, Sink, Source,
    Subscription, Unavailable,
};
use central::{Record, RecordId};
use link::{Shared, State, away};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// RabbitMQ as a sink, a source, and a carrier of news, on one connection.
///
/// Let gateway and consumer have one each, also in one process: when RabbitMQ is low on memory it
/// stops reading from connections that publish, and acknowledgements on the same one would wait.
pub struct Broker {
    shared: Arc<Shared>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Broker {
    /// Begins to connect and returns at once; connecting goes on for ever, whatever is wrong.
    /// `role` is what the connection is called in RabbitMQ's lists.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn start(config: Config, role: &str) -> Arc<Self> {
        let shared = Arc::new(Shared::new(config, role));
        let supervisor = tokio::spawn(link::run(shared.clone()));
        Arc::new(Self {
            shared,
            supervisor: Mutex::new(Some(supervisor)),
        })
    }

    /// Connects once, declares what is needed, looks, and disconnects; for `wattpost check`. Bounded by
    /// `connect_timeout_ms` for entering and again for looking, per node; entering one of several
    /// by two seconds, so that a silent one does not hide what the next one says.
    ///
    /// # Errors
    /// One sentence for people.
    pub async fn check(config: &Config) -> Result<Report, CheckError> {
        check::check(config).await
    }

    /// Waits until RabbitMQ takes records; for a start in good order, and for tests.
    pub async fn up(&self) {
        let mut state = self.shared.state.subscribe();
        // The sender lives as long as we do.
        let _ = state.wait_for(|state| matches!(state, State::Up(_))).await;
    }

    /// Ends the connection in good order, within two seconds; calls from now on say [`Unavailable`].
    pub async fn close(&self) {
        self.shared.closing.cancel();
        let supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(supervisor) = supervisor {
            // It panics nowhere, and if it did there would be nothing left to end.
            let _ = supervisor.await;
        }
    }

    fn state(&self) -> State {
        let state = self.shared.state.borrow().clone();
        match state {
            // Given up, and the one who changes the state has not come to it yet.
            State::Up(session) | State::Blocked(session, _) if session.broken.is_cancelled() => {
                State::Down(session.why().detail)
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

/// The message that carries a record, as RabbitMQ gets it; for documentation, tests and measuring.
#[must_use]
pub fn encode_message(id: RecordId, record: &Record<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    envelope::encode(id, record, &mut message);
    message
}

/// Reads a message: appends its record's bytes to `batch`, or what it is instead as a dead letter.
pub fn decode_message(message: &[u8], batch: &mut Batch) {
    match envelope::decode(message) {
        envelope::Decoded::Record(record) => record.put_into(batch),
        envelope::Decoded::Raw(id, bytes) => {
            batch.push_with(id, |out| out.extend_from_slice(&bytes));
        }
        envelope::Decoded::Foreign(letter) => batch.push_unreadable(letter),
    }
}

impl Sink for Broker {
    /// Fails at once while there is no connection, and while RabbitMQ is short of memory or disk.
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

    /// `None` while RabbitMQ is not connected or has blocked the connection (a memory or disk alarm), and
    /// until the queues were looked at after that: about a second.
    fn queued(&self) -> Option<Queued> {
        match self.state() {
            State::Up(_) => self.shared.seen().map(Queued::from),
            _ => None,
        }
    }
}

impl Source for Broker {
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Unavailable>> {
        Box::pin(async move {
            let session = match self.state() {
                State::Blocked(session, _) => session,
                state => state.session()?,
            };
            consume::subscribe(&self.shared, session).await
        })
    }
}

impl ClusterEvents for Broker {
    fn publish(&self, news: ClusterEvent) {
        self.shared.announcer.publish(&self.state(), &news);
    }

    fn subscribe(&self, hear: Box<dyn Fn(ClusterEvent) + Send + Sync>) {
        self.shared.announcer.subscribe(hear);
    }
}

impl HealthProbe for Broker {
    fn health(&self) -> Vec<Health> {
        let (up, detail) = match self.state() {
            State::Connecting => (false, "connecting".into()),
            State::Up(session) => {
                let waiting = match self.shared.seen() {
                    Some(seen) if seen.is_worked_on || seen.waiting == 0 => {
                        format!("{} records wait", seen.waiting)
                    }
                    Some(seen) => format!("{} records wait for a consumer", seen.waiting),
                    None => "how many records wait is not known yet".to_owned(),
                };
                (true, format!("{}, {waiting}", session.node))
            }
            State::Blocked(_, reason) => (false, link::blocked(&reason).detail),
            State::Down(reason) => (false, reason),
            State::Closed => (false, away("closed").detail),
        };
        vec![Health {
            part: "rabbitmq",
            up,
            detail,
        }]
    }
}
