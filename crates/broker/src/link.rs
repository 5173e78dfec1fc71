//! Keeps one connection to RabbitMQ: connects, declares, monitors, and reconnects after any error, with growing
//! and jittered delays.
//!
//! ```text
//! Connecting ──▶ Up ◀──▶ Blocked      Up: calls go through
//!     ▲           │         │         Blocked: RabbitMQ is low on memory or disk
//!     └── Down ◀──┴─────────┘         Down: has a reason; the next attempt follows
//! ```
//!
//! Every error has the same remedy: a new connection with new channels, and everything declared again. Calls
//! waiting on the old connection fail at once; nothing is repeated here, because the caller still has its
//! records.

use crate::Config;
use crate::address::Address;
use crate::cluster_events::{self, ClusterEventChannel};
use crate::depth::{self, ReconnectLimit};
use crate::dial::{DialError, RawConnection, Step, dial};
use crate::publish::Publisher;
use crate::topology;
use central::ports::{Queued, Unavailable, UnavailableKind};
use common::backoff::Backoff;
use common::lock::lock;
use futures_util::StreamExt;
use lapin::Event;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the library's status of the connection is polled, in addition to its events.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// After a connection that lasted this long, the delay starts from its minimum again.
const SETTLED: Duration = Duration::from_secs(5);
/// Timeout of a graceful close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The state of the connection.
#[derive(Clone)]
pub(crate) enum LinkState {
    /// The first attempt is still running.
    Connecting,
    Up(Arc<Session>),
    /// Connected, but RabbitMQ blocks publishing.
    Blocked(Arc<Session>, String),
    /// Will be retried.
    Down(String),
    /// Closed by this process.
    Closed,
}

impl LinkState {
    /// The connection, if calls may go through now.
    pub(crate) fn session(&self) -> Result<Arc<Session>, Unavailable> {
        match self {
            Self::Up(session) => Ok(session.clone()),
            Self::Blocked(_, reason) => Err(blocked(reason)),
            Self::Connecting => Err(unavailable("not connected yet")),
            Self::Down(reason) => Err(unavailable(reason)),
            Self::Closed => Err(unavailable("the connection was closed by us")),
        }
    }
}

/// RabbitMQ is unreachable.
pub(crate) fn unavailable(detail: impl Into<String>) -> Unavailable {
    Unavailable {
        component: "RabbitMQ",
        kind: UnavailableKind::Unreachable,
        detail: detail.into(),
    }
}

/// RabbitMQ has a resource alarm.
pub(crate) fn blocked(reason: &str) -> Unavailable {
    Unavailable {
        component: "RabbitMQ",
        kind: UnavailableKind::Full,
        detail: format!("it accepts no records now: {reason}"),
    }
}

/// The state shared by all parts of a broker.
pub(crate) struct BrokerShared {
    pub(crate) config: Config,
    pub(crate) role: String,
    pub(crate) state: watch::Sender<LinkState>,
    pub(crate) closing: CancellationToken,
    /// The last sample of the queues. Set by [`depth`], cleared here when RabbitMQ blocks the connection and
    /// when it ends.
    sample: Mutex<LastSample>,
    pub(crate) cluster_events: ClusterEventChannel,
    pub(crate) reconnect_limit: Mutex<ReconnectLimit>,
}

/// The last sample of the queues, and since when a sample counts.
#[derive(Debug, Default)]
struct LastSample {
    last: Option<QueueSample>,
    /// When the samples were cleared: a check that began before it says nothing about the queues now. It may end long
    /// after, because RabbitMQ answers it when the alarm is over.
    cleared_at: Option<Instant>,
}

impl LastSample {
    /// Keeps the sample if its check began after the samples were last cleared; returns whether it did.
    fn store(&mut self, found: QueueSample) -> bool {
        let is_current = self.cleared_at.is_none_or(|cleared| found.at > cleared);
        if is_current {
            self.last = Some(found);
        }
        is_current
    }

    fn clear(&mut self, now: Instant) {
        self.last = None;
        self.cleared_at = Some(now);
    }
}

/// A sample of the queues.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueSample {
    /// Messages ready in all partitions.
    pub(crate) waiting: u64,
    /// Whether every partition with ready messages has a consumer.
    pub(crate) is_consumed: bool,
    /// When the check began.
    pub(crate) at: Instant,
}

impl From<QueueSample> for Queued {
    fn from(sample: QueueSample) -> Self {
        Self {
            records: if sample.is_consumed {
                sample.waiting
            } else {
                0
            },
            at: sample.at,
        }
    }
}

impl BrokerShared {
    pub(crate) fn new(config: Config, role: &str) -> Self {
        Self {
            config,
            role: role.to_owned(),
            state: watch::Sender::new(LinkState::Connecting),
            closing: CancellationToken::new(),
            sample: Mutex::default(),
            cluster_events: ClusterEventChannel::new(),
            reconnect_limit: Mutex::default(),
        }
    }

    /// The last sample of the queues since the connection is up and not blocked.
    pub(crate) fn sample(&self) -> Option<QueueSample> {
        self.lock_sample().last
    }

    /// Stores a sample of the queues, unless RabbitMQ has blocked the connection meanwhile: the library sets
    /// that flag before it sends the event, so a sample stored here is cleared by [`block`] in any case. A sample whose
    /// check began before a block that has ended is dropped too.
    pub(crate) fn store_sample(&self, session: &Session, found: QueueSample) {
        let mut sample = self.lock_sample();
        if !session.is_blocked() && sample.store(found) {
            queued_gauge().set(found.waiting as f64);
            let queues = u64::from(self.config.partitions);
            let room = self.config.queue_records_max.saturating_mul(queues);
            metrics::gauge!("wattpost_broker_queued_records_max").set(room as f64);
        }
    }

    /// Clears the sample while the queues are not checked.
    fn clear_sample(&self) {
        self.lock_sample().clear(Instant::now());
        queued_gauge().set(f64::NAN);
    }

    fn lock_sample(&self) -> MutexGuard<'_, LastSample> {
        lock(&self.sample)
    }

    pub(crate) fn reconnect_limit(&self) -> MutexGuard<'_, ReconnectLimit> {
        lock(&self.reconnect_limit)
    }
}

/// Messages ready in all partitions; NaN while unknown.
fn queued_gauge() -> metrics::Gauge {
    metrics::gauge!("wattpost_broker_queued_records")
}

/// One connection, from its beginning to its first error.
pub(crate) struct Session {
    pub(crate) raw: RawConnection,
    pub(crate) node: String,
    pub(crate) publisher: Arc<Publisher>,
    /// The number of deliveries: while it grows, RabbitMQ is alive, however late its answers.
    pub(crate) delivered: AtomicU64,
    /// Deliveries that were received and not acknowledged.
    pub(crate) unacknowledged: AtomicU64,
    /// Cancelled at the first error.
    pub(crate) broken: CancellationToken,
    why: Mutex<Option<String>>,
}

impl Session {
    /// Fails the connection; the first reason is kept.
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        lock(&self.why).get_or_insert_with(|| reason.into());
        self.broken.cancel();
    }

    /// Why it failed.
    pub(crate) fn why(&self) -> Unavailable {
        let why = lock(&self.why);
        unavailable(why.as_deref().unwrap_or("the connection has ended"))
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.raw.connection.status().blocked()
    }
}

/// Runs until `closing`.
pub(crate) async fn run(shared: Arc<BrokerShared>) {
    let (min_ms, max_ms) = (shared.config.retry_ms_min, shared.config.retry_ms_max);
    let mut backoff = Backoff::from_millis(min_ms, max_ms);
    let mut turn = 0;
    while !shared.closing.is_cancelled() {
        let opened = tokio::select! {
            () = shared.closing.cancelled() => break,
            opened = open_one(&shared, &mut turn) => opened,
        };
        let reason = match opened {
            Ok(session) => {
                let since = Instant::now();
                let reason = use_session(&shared, &session).await;
                if since.elapsed() > SETTLED {
                    backoff.reset();
                }
                turn += 1;
                reason
            }
            Err(reason) => reason,
        };
        if shared.closing.is_cancelled() {
            break;
        }
        log_and_set_down(&shared, reason);
        tokio::select! {
            () = shared.closing.cancelled() => break,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
    shared.state.send_replace(LinkState::Closed);
}

/// Logs a reason once, not at every attempt.
fn log_and_set_down(shared: &BrokerShared, reason: String) {
    let is_logged = matches!(&*shared.state.borrow(), LinkState::Down(before) if *before == reason);
    if !is_logged {
        tracing::warn!(role = shared.role, %reason, "no connection to RabbitMQ; it is retried until it succeeds");
    }
    shared.state.send_replace(LinkState::Down(reason));
}

/// Tries every node once, beginning with the next one.
async fn open_one(shared: &Arc<BrokerShared>, turn: &mut usize) -> Result<Arc<Session>, String> {
    let nodes = Address::all(&shared.config)?;
    let mut first = None;
    for _ in 0..nodes.len() {
        let node = &nodes[*turn % nodes.len()];
        match within(shared.config.connect_timeout(), open(shared, node)).await {
            Ok(session) => return Ok(session),
            Err(error) => {
                tracing::debug!(%node, %error, "not connected");
                first.get_or_insert(format!("{node}: {error}"));
                *turn += 1;
            }
        }
    }
    Err(first.unwrap_or_default())
}

/// Applies the timeout to connecting and declaring.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {} ms", limit.as_millis());
        Err(DialError::new(Step::Connect, detail))
    })
}

async fn open(shared: &Arc<BrokerShared>, node: &Address) -> Result<Arc<Session>, DialError> {
    let raw = dial(node, &shared.config, &shared.role).await?;
    let failed = |error: lapin::Error| DialError::of(Step::Declare, &error);
    topology::declare(&raw.connection, &shared.config)
        .await
        .map_err(failed)?;
    let channel = raw.connection.create_channel().await.map_err(failed)?;
    let publisher = Publisher::open(channel, &shared.config)
        .await
        .map_err(failed)?;
    Ok(Arc::new(Session {
        raw,
        node: node.to_string(),
        publisher: Arc::new(publisher),
        delivered: AtomicU64::new(0),
        unacknowledged: AtomicU64::new(0),
        broken: CancellationToken::new(),
        why: Mutex::new(None),
    }))
}

/// Uses a connection until its first error; returns that error.
async fn use_session(shared: &Arc<BrokerShared>, session: &Arc<Session>) -> String {
    tracing::info!(
        role = shared.role,
        node = session.node,
        "connected to RabbitMQ"
    );
    metrics::counter!("wattpost_broker_connections_total").increment(1);
    let connected = metrics::gauge!("wattpost_broker_connected", "role" => shared.role.clone());
    shared.state.send_replace(LinkState::Up(session.clone()));
    connected.set(1.0);
    is_blocked(shared).set(0.0);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(session.publisher.clone().run(session.clone()));
    tasks.spawn(depth::run(shared.clone(), session.clone()));
    tasks.spawn(cluster_events::run(shared.clone(), session.clone()));

    let reason = monitor(shared, session).await;
    session.fail(&reason);
    if shared.closing.is_cancelled() {
        shared.state.send_replace(LinkState::Down(reason.clone()));
    } else {
        log_and_set_down(shared, reason.clone());
    }
    connected.set(0.0);
    is_blocked(shared).set(0.0);
    session.publisher.refuse(session.why());
    tasks.shutdown().await;
    shared.clear_sample();
    if shared.closing.is_cancelled() {
        let close = session.raw.connection.close(200, "OK".into());
        let _ = tokio::time::timeout(CLOSE_WITHIN, close).await;
    }
    session.raw.socket.shutdown();
    reason
}

async fn monitor(shared: &Arc<BrokerShared>, session: &Arc<Session>) -> String {
    let connection = &session.raw.connection;
    let mut events = Box::pin(connection.events_listener());
    let mut poll = tokio::time::interval(POLL_INTERVAL);
    let mut missed = None;
    loop {
        let event = tokio::select! {
            () = shared.closing.cancelled() => return "closed by us".into(),
            () = session.broken.cancelled() => return session.why().detail,
            event = events.next() => event,
            _ = poll.tick() => {
                if connection.status().connected() {
                    reconcile_blocked(shared, session, &mut missed);
                    continue;
                }
                None
            }
        };
        missed = None;
        match event {
            Some(Event::ConnectionBlocked(reason)) => block(shared, session, reason),
            Some(Event::ConnectionUnblocked) => unblock(shared, session),
            // Errors of single channels arrive here too; their owners handle them.
            Some(Event::Error(error)) if !connection.status().connected() => {
                return DialError::of(Step::Declare, &error).detail;
            }
            Some(_) => {}
            None => return "the connection has ended".into(),
        }
    }
}

/// The library sends a blocked event only to current listeners, so the state is compared with the library's flag
/// as well. `missed` is the difference found at the last poll: the event may still be under way.
fn reconcile_blocked(shared: &BrokerShared, session: &Arc<Session>, missed: &mut Option<bool>) {
    let reported = matches!(&*shared.state.borrow(), LinkState::Blocked(..));
    match was_missed(reported, session.is_blocked(), missed) {
        Some(true) => block(shared, session, "it has an alarm".into()),
        Some(false) => unblock(shared, session),
        None => {}
    }
}

/// Whether a block (true) or its end (false) was missed: at two polls the library has reported `is_blocked`, and
/// the state was the contrary each time.
fn was_missed(reported: bool, is_blocked: bool, missed: &mut Option<bool>) -> Option<bool> {
    let before = missed.take();
    if reported == is_blocked {
        return None;
    }
    if before == Some(is_blocked) {
        return before;
    }
    *missed = Some(is_blocked);
    None
}

fn block(shared: &BrokerShared, session: &Arc<Session>, reason: String) {
    tracing::warn!(role = shared.role, %reason, "RabbitMQ accepts no records now");
    let refusal = blocked(&reason);
    // A caller that is refused may query the state at once.
    shared
        .state
        .send_replace(LinkState::Blocked(session.clone(), reason));
    is_blocked(shared).set(1.0);
    // Consumers continue, but the queues are not checked.
    shared.clear_sample();
    session.publisher.block(refusal);
}

fn is_blocked(shared: &BrokerShared) -> metrics::Gauge {
    metrics::gauge!("wattpost_broker_blocked", "role" => shared.role.clone())
}

fn unblock(shared: &BrokerShared, session: &Arc<Session>) {
    tracing::info!(role = shared.role, "RabbitMQ accepts records again");
    session.publisher.unblock();
    is_blocked(shared).set(0.0);
    shared.state.send_replace(LinkState::Up(session.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_began_before_an_alarm_and_ends_after_it_is_not_a_sample() {
        let began = Instant::now();
        let sample = |at| QueueSample {
            waiting: 9_000,
            is_consumed: true,
            at,
        };
        let mut samples = LastSample::default();
        assert!(samples.store(sample(began)));
        samples.clear(began + Duration::from_millis(1));
        assert!(!samples.store(sample(began)));
        assert!(samples.last.is_none());
        assert!(samples.store(sample(began + Duration::from_millis(2))));
        assert!(samples.last.is_some());
    }

    #[test]
    fn a_missed_block_is_noticed_at_the_second_poll() {
        let mut missed = None;
        assert_eq!(was_missed(false, true, &mut missed), None, "under way");
        assert_eq!(was_missed(false, true, &mut missed), Some(true));
        assert_eq!(was_missed(true, true, &mut missed), None, "reported now");
        assert_eq!(was_missed(true, false, &mut missed), None);
        assert_eq!(was_missed(true, true, &mut missed), None, "a new one");
        assert_eq!(was_missed(true, false, &mut missed), None);
        assert_eq!(was_missed(true, false, &mut missed), Some(false));
    }
}
