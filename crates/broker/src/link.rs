//! Keeps one connection to RabbitMQ alive for ever: connects, declares, watches, and begins anew after
//! any trouble, with pauses that grow and differ.
//!
//! ```text
//! Connecting ──▶ Up ◀──▶ Blocked      Up: calls go through
//!     ▲           │         │         Blocked: RabbitMQ is low on memory or disk
//!     └── Down ◀──┴─────────┘         Down: says why; the next try comes by itself
//! ```
//!
//! There is one answer to every sort of trouble: a new connection with new channels, everything
//! declared again. Whoever waits for something on the old one is told at once; nothing is repeated here,
//! for the caller still has its records.

use crate::Config;
use crate::address::Address;
use crate::announce::{self, Announcer};
use crate::depth::{self, Cure};
use crate::dial::{DialError, Step, Wire, dial};
use crate::publish::Publisher;
use crate::topology;
use central::ports::{Queued, Unavailable, UnavailableKind};
use futures_util::StreamExt;
use lapin::Event;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the library's own view of the connection is looked at, beside the events that it sends.
const GLANCE: Duration = Duration::from_millis(500);
/// A connection that lasted as long as this was a good one: the next pause is a short one again.
const SETTLED: Duration = Duration::from_secs(5);
/// Time for a good end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How the connection is.
#[derive(Clone)]
pub(crate) enum State {
    /// Not tried to the end yet.
    Connecting,
    Up(Arc<Session>),
    /// Connected, and RabbitMQ takes nothing.
    Blocked(Arc<Session>, String),
    /// Will be tried again.
    Down(String),
    /// Ended by us.
    Closed,
}

impl State {
    /// The connection, if calls may go through now.
    pub(crate) fn session(&self) -> Result<Arc<Session>, Unavailable> {
        match self {
            Self::Up(session) => Ok(session.clone()),
            Self::Blocked(_, reason) => Err(blocked(reason)),
            Self::Connecting => Err(away("not connected yet")),
            Self::Down(reason) => Err(away(reason)),
            Self::Closed => Err(away("the connection was closed by us")),
        }
    }
}

/// RabbitMQ does not answer.
pub(crate) fn away(detail: impl Into<String>) -> Unavailable {
    Unavailable {
        component: "RabbitMQ",
        kind: UnavailableKind::Unreachable,
        detail: detail.into(),
    }
}

/// RabbitMQ has an alarm.
pub(crate) fn blocked(reason: &str) -> Unavailable {
    Unavailable {
        component: "RabbitMQ",
        kind: UnavailableKind::Full,
        detail: format!("it takes nothing now: {reason}"),
    }
}

/// What all parts of a broker share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) role: String,
    pub(crate) state: watch::Sender<State>,
    pub(crate) closing: CancellationToken,
    /// What the last look at the queues found. Written by [`depth`], forgotten here when RabbitMQ blocks us
    /// and when the connection ends.
    seen: Mutex<Option<Seen>>,
    pub(crate) announcer: Announcer,
    pub(crate) cure: Mutex<Cure>,
}

/// What a look at the queues found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Records that wait in all partitions.
    pub(crate) waiting: u64,
    /// Whether every partition in which records wait has a consumer.
    pub(crate) is_worked_on: bool,
    /// When the look began.
    pub(crate) at: Instant,
}

impl From<Seen> for Queued {
    fn from(seen: Seen) -> Self {
        Self {
            records: if seen.is_worked_on { seen.waiting } else { 0 },
            at: seen.at,
        }
    }
}

impl Shared {
    pub(crate) fn new(config: Config, role: &str) -> Self {
        Self {
            config,
            role: role.to_owned(),
            state: watch::Sender::new(State::Connecting),
            closing: CancellationToken::new(),
            seen: Mutex::default(),
            announcer: Announcer::new(),
            cure: Mutex::default(),
        }
    }

    /// What the last look at the queues found, since the connection is up and not blocked.
    pub(crate) fn seen(&self) -> Option<Seen> {
        *self.lock_seen()
    }

    /// Keeps what a look at the queues found, unless RabbitMQ has blocked the connection meanwhile: the
    /// library notes that before it tells us, so what is kept here is forgotten by [`block`] in any case.
    pub(crate) fn keep_seen(&self, session: &Session, found: Seen) {
        let mut seen = self.lock_seen();
        if !session.is_blocked() {
            *seen = Some(found);
            queued_gauge().set(found.waiting as f64);
        }
    }

    /// Nobody looks any more, so how long the queues are is not known.
    fn forget_seen(&self) {
        *self.lock_seen() = None;
        queued_gauge().set(f64::NAN);
    }

    fn lock_seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cure(&self) -> MutexGuard<'_, Cure> {
        self.cure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records that wait in all partitions; not a number while that is not known.
fn queued_gauge() -> metrics::Gauge {
    metrics::gauge!("wattpost_broker_queued_records")
}

/// One connection, from its beginning to its first trouble.
pub(crate) struct Session {
    pub(crate) wire: Wire,
    pub(crate) node: String,
    pub(crate) publisher: Arc<Publisher>,
    /// Deliveries taken over so far: while they come, RabbitMQ is there, however late its answers.
    pub(crate) delivered: AtomicU64,
    /// Ended when anything is wrong.
    pub(crate) broken: CancellationToken,
    why: Mutex<Option<String>>,
}

impl Session {
    /// Gives the connection up; the first reason is the one that is told.
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.into());
        self.broken.cancel();
    }

    /// Why it was given up.
    pub(crate) fn why(&self) -> Unavailable {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        away(why.as_deref().unwrap_or("the connection has ended"))
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.wire.connection.status().blocked()
    }
}

/// Runs until `closing`.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pause = Pause::new(&shared.config);
    let mut turn = 0;
    while !shared.closing.is_cancelled() {
        let opened = tokio::select! {
            () = shared.closing.cancelled() => break,
            opened = open_one(&shared, &mut turn) => opened,
        };
        let reason = match opened {
            Ok(session) => {
                let since = Instant::now();
                let reason = live(&shared, &session).await;
                if since.elapsed() > SETTLED {
                    pause = Pause::new(&shared.config);
                }
                turn += 1;
                reason
            }
            Err(reason) => reason,
        };
        if shared.closing.is_cancelled() {
            break;
        }
        tell(&shared, reason);
        tokio::select! {
            () = shared.closing.cancelled() => break,
            () = tokio::time::sleep(pause.next()) => {}
        }
    }
    shared.state.send_replace(State::Closed);
}

/// Says once what is wrong, not at every try.
fn tell(shared: &Shared, reason: String) {
    let said = matches!(&*shared.state.borrow(), State::Down(before) if *before == reason);
    if !said {
        tracing::warn!(role = shared.role, %reason, "no connection to RabbitMQ; trying for ever");
    }
    shared.state.send_replace(State::Down(reason));
}

/// Tries every node once, beginning with the one whose turn it is.
async fn open_one(shared: &Arc<Shared>, turn: &mut usize) -> Result<Arc<Session>, String> {
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

/// Bounds the time for connecting and declaring.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {} ms", limit.as_millis());
        Err(DialError::new(Step::Reach, detail))
    })
}

async fn open(shared: &Arc<Shared>, node: &Address) -> Result<Arc<Session>, DialError> {
    let wire = dial(node, &shared.config, &shared.role).await?;
    let failed = |error: lapin::Error| DialError::of(Step::Declare, &error);
    topology::declare(&wire.connection, &shared.config)
        .await
        .map_err(failed)?;
    let channel = wire.connection.create_channel().await.map_err(failed)?;
    let publisher = Publisher::open(channel, &shared.config)
        .await
        .map_err(failed)?;
    Ok(Arc::new(Session {
        wire,
        node: node.to_string(),
        publisher: Arc::new(publisher),
        delivered: AtomicU64::new(0),
        broken: CancellationToken::new(),
        why: Mutex::new(None),
    }))
}

/// Uses a connection until its first trouble; returns what that was.
async fn live(shared: &Arc<Shared>, session: &Arc<Session>) -> String {
    tracing::info!(
        role = shared.role,
        node = session.node,
        "connected to RabbitMQ"
    );
    metrics::counter!("wattpost_broker_connections_total").increment(1);
    let connected = metrics::gauge!("wattpost_broker_connected", "role" => shared.role.clone());
    shared.state.send_replace(State::Up(session.clone()));
    connected.set(1.0);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(session.publisher.clone().run(session.clone()));
    tasks.spawn(depth::run(shared.clone(), session.clone()));
    tasks.spawn(announce::run(shared.clone(), session.clone()));

    let reason = watch_over(shared, session).await;
    session.fail(&reason);
    if shared.closing.is_cancelled() {
        shared.state.send_replace(State::Down(reason.clone()));
    } else {
        tell(shared, reason.clone());
    }
    connected.set(0.0);
    session.publisher.refuse(session.why());
    tasks.shutdown().await;
    shared.forget_seen();
    if shared.closing.is_cancelled() {
        let close = session.wire.connection.close(200, "OK".into());
        let _ = tokio::time::timeout(CLOSE_WITHIN, close).await;
    }
    session.wire.cut.cut();
    reason
}

async fn watch_over(shared: &Arc<Shared>, session: &Arc<Session>) -> String {
    let connection = &session.wire.connection;
    let mut events = Box::pin(connection.events_listener());
    let mut glance = tokio::time::interval(GLANCE);
    let mut missed = None;
    loop {
        let event = tokio::select! {
            () = shared.closing.cancelled() => return "closed by us".into(),
            () = session.broken.cancelled() => return session.why().detail,
            event = events.next() => event,
            _ = glance.tick() => {
                if connection.status().connected() {
                    agree(shared, session, &mut missed);
                    continue;
                }
                None
            }
        };
        missed = None;
        match event {
            Some(Event::ConnectionBlocked(reason)) => block(shared, session, reason),
            Some(Event::ConnectionUnblocked) => unblock(shared, session),
            // Errors of single channels come here too; whoever owns one judges them.
            Some(Event::Error(error)) if !connection.status().connected() => {
                return DialError::of(Step::Declare, &error).detail;
            }
            Some(_) => {}
            None => return "the connection has ended".into(),
        }
    }
}

/// The library tells of a block to whoever listens at that moment; our state must not stay another than its
/// own because nobody did. `missed` is what the last glance found to differ: the event may only be under way.
fn agree(shared: &Shared, session: &Arc<Session>, missed: &mut Option<bool>) {
    let told = matches!(&*shared.state.borrow(), State::Blocked(..));
    match was_missed(told, session.is_blocked(), missed) {
        Some(true) => block(shared, session, "it has an alarm".into()),
        Some(false) => unblock(shared, session),
        None => {}
    }
}

/// Whether a block (true) or its end (false) was missed: the library has said `is_blocked` at two glances, and we
/// were `told` the contrary all the time.
fn was_missed(told: bool, is_blocked: bool, missed: &mut Option<bool>) -> Option<bool> {
    let before = missed.take();
    if told == is_blocked {
        return None;
    }
    if before == Some(is_blocked) {
        return before;
    }
    *missed = Some(is_blocked);
    None
}

fn block(shared: &Shared, session: &Arc<Session>, reason: String) {
    tracing::warn!(role = shared.role, %reason, "RabbitMQ takes nothing now");
    let refusal = blocked(&reason);
    // Who is refused may ask at once how we are.
    shared
        .state
        .send_replace(State::Blocked(session.clone(), reason));
    // The consumers go on meanwhile, and nobody looks how far.
    shared.forget_seen();
    session.publisher.block(refusal);
}

fn unblock(shared: &Shared, session: &Arc<Session>) {
    tracing::info!(role = shared.role, "RabbitMQ takes records again");
    session.publisher.unblock();
    shared.state.send_replace(State::Up(session.clone()));
}

/// Pauses that double, each somewhere between half and all of its length, so that many processes do not
/// come back in step.
struct Pause {
    next: Duration,
    max: Duration,
}

impl Pause {
    fn new(config: &Config) -> Self {
        Self {
            next: Duration::from_millis(config.retry_min_ms),
            max: Duration::from_millis(config.retry_max_ms),
        }
    }

    fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.max);
        now.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_nobody_was_told_of_is_noticed_at_the_second_glance() {
        let mut missed = None;
        assert_eq!(was_missed(false, true, &mut missed), None, "under way");
        assert_eq!(was_missed(false, true, &mut missed), Some(true));
        assert_eq!(was_missed(true, true, &mut missed), None, "told now");
        assert_eq!(was_missed(true, false, &mut missed), None);
        assert_eq!(was_missed(true, true, &mut missed), None, "a new one");
        assert_eq!(was_missed(true, false, &mut missed), None);
        assert_eq!(was_missed(true, false, &mut missed), Some(false));
    }

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let config = Config::default();
        let mut pause = Pause::new(&config);
        let pauses: Vec<u128> = (0..12).map(|_| pause.next().as_millis()).collect();
        assert!((100..=200).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[6..].iter().all(|ms| (2_500..=5_000).contains(ms)));
        assert!(pauses[6..].windows(2).any(|two| two[0] != two[1]));
    }
}
