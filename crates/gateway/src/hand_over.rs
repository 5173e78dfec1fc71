//! An upgrade that no charger sees: another process takes over the listeners and the established connections, and the
//! journal after them. `docs/adr/0016-take-over.md` has the reasons and the order of the steps.
//!
//! [`Gateway::hand_over`] stops a gateway and returns what another process needs; [`Gateway::take_over`] starts one from
//! that, in another process or, if that has failed, in the same. Between the two nothing is read from a charger, and
//! what it sends waits in its socket.

use crate::admission::Starts;
use crate::clock::{self, wall_clock};
use crate::connection::Connection;
use crate::connection::carry::NotResumed;
use crate::connection::control::Stop;
use crate::parts::Parts;
use crate::{Begin, Gateway, GatewayConfig, GatewayDeps, StartError};
use central::model::ChargerKey;
use central::resend::ResendMemory;
use central::{Epoch, Timestamp};
use common::lock::lock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Handshakes in progress may be finished in this time; then they get 503.
const HANDSHAKES: Duration = Duration::from_millis(500);
/// How often the progress of a hand-over is looked at.
const TICK: Duration = Duration::from_millis(2);
/// How long connections that cannot be given away may take to record their end.
const ENDINGS: Duration = Duration::from_secs(2);
/// Bytes of a close frame with code 1001 (RFC 6455, section 5.5.1).
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// A connection that is ready for another process, in this one.
pub(crate) struct CarriedConnection {
    pub(crate) charger_id: String,
    pub(crate) epoch: Epoch,
    pub(crate) socket: TcpStream,
    pub(crate) state: Vec<u8>,
}

/// What a gateway gives to the process that goes on.
#[derive(Debug)]
pub struct HandOver {
    /// The state of the gateway as a whole, for [`Gateway::take_over`].
    pub state: Vec<u8>,
    /// The sockets on which chargers connect. New connections wait in them.
    pub listeners: Vec<std::net::TcpListener>,
    /// The established connections.
    pub connections: Vec<HandedConnection>,
    /// Connections that could not be given away in time and were closed with 1001.
    pub closed: usize,
}

/// An established connection between two messages.
#[derive(Debug)]
pub struct HandedConnection {
    /// Its socket; not blocking.
    pub socket: std::net::TcpStream,
    /// The charger's identity.
    pub charger_id: String,
    /// The epoch of the connection.
    pub epoch: u64,
    /// Its state, as JSON. A release that cannot read it closes the connection with 1001.
    pub state: Vec<u8>,
}

/// The state of a gateway as a whole.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) last_epoch: Epoch,
    /// The newest time that a record may have.
    pub(crate) newest: Timestamp,
    pub(crate) recorded_start: u64,
    pub(crate) refused_start: u64,
}

/// What a gateway that has taken over does once it is the one: it reads, sends and appends nothing until
/// [`TakenOver::go`]. Dropping it closes its copies of the sockets.
pub struct TakenOver {
    parts: Arc<Parts>,
    begin: Begin,
    #[expect(clippy::vec_box, reason = "each is boxed for its own task")]
    connections: Vec<Box<Connection>>,
    not_resumed: Vec<NotResumed>,
}

impl std::fmt::Debug for TakenOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TakenOver")
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}

impl TakenOver {
    /// How many connections go on.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// From now on this gateway is the one: it serves the connections, accepts others and delivers records. Must be
    /// called only when the other process does nothing with them any more.
    ///
    /// # Errors
    /// When the operating system starts no thread.
    pub fn go(self) -> Result<(), StartError> {
        let parts = &self.parts;
        for lost in self.not_resumed {
            tracing::warn!(
                charger.id = lost.charger_id,
                why = lost.why,
                "closing a connection of the process before: this release cannot go on with it"
            );
            let reason = "the gateway was upgraded and could not go on with the connection";
            let record =
                central::record::disconnected(&lost.charger_id, lost.epoch, reason, wall_clock());
            if parts.delivery.journal.append(&record, None).is_err() {
                parts.admission.starts.refuse(lost.epoch);
            }
            if let Some(Ok(mut socket)) = lost.socket.map(TcpStream::into_std) {
                let _ = socket.write(&GOING_AWAY);
            }
        }
        (self.begin)()?;
        for connection in self.connections {
            parts.admission.connections.spawn(connection.run());
        }
        Ok(())
    }
}

impl Gateway {
    /// Stops for another process: finishes handshakes, freezes all connections between two messages, and stops delivery
    /// between two batches. Connections that are not ready within `patience` (a question to the database is open, a long
    /// message is incomplete) are closed with 1001. Returns when nothing is read from or sent to any charger; records
    /// may still be on their way to the sink, and are delivered again. Does not close the journal.
    ///
    /// # Errors
    /// When the operating system does not give up a socket.
    pub async fn hand_over(&self, patience: Duration) -> std::io::Result<HandOver> {
        let parts = &self.parts;
        let admission = &parts.admission;
        let listeners = std::mem::take(&mut *lock(&self.listeners));
        self.accepting.cancel();
        let end = Instant::now() + HANDSHAKES;
        while admission.pending_handshakes.len() > 0 && Instant::now() < end {
            tokio::time::sleep(TICK).await;
        }
        admission.stopping.store(true, Ordering::SeqCst);
        let commands = Arc::clone(&parts.commands);
        let _ = tokio::task::spawn_blocking(move || commands.wait_stopped()).await;
        for control in parts.registry.all() {
            control.freeze();
        }
        self.all_have_stopped(patience).await;
        let late = parts.registry.all();
        let closed = late.len().saturating_sub(lock(&parts.carried).len());
        if closed > 0 {
            for control in late {
                control.stop(Stop::NotCarried);
            }
            self.all_have_stopped(ENDINGS).await;
            tracing::warn!(
                connections = closed,
                "closed connections that were not between two messages in time"
            );
        }
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            let _ = task.await;
        }
        admission.log.summarise_at_stop();
        let (recorded_start, refused_start) = admission.starts.numbers();
        let state = State {
            last_epoch: parts.registry.last_epoch(),
            newest: wall_clock(),
            recorded_start,
            refused_start,
        };
        let carried = std::mem::take(&mut *lock(&parts.carried));
        let mut connections = Vec::with_capacity(carried.len());
        for carried in carried {
            connections.push(HandedConnection {
                socket: carried.socket.into_std()?,
                charger_id: carried.charger_id,
                epoch: carried.epoch.0,
                state: carried.state,
            });
        }
        Ok(HandOver {
            // Numbers only.
            state: serde_json::to_vec(&state).unwrap_or_default(),
            listeners,
            connections,
            closed,
        })
    }

    /// Waits until every connection is ready for another process or has ended.
    async fn all_have_stopped(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let parts = &self.parts;
        while parts.registry.connected() > lock(&parts.carried).len() && Instant::now() < end {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Takes over from a gateway that has stopped by [`Gateway::hand_over`] and whose journal this process has opened
    /// since. Listens on its sockets where the settings name their addresses. Records no start: the connections are the
    /// same. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn take_over(
        config: GatewayConfig,
        deps: GatewayDeps,
        from: HandOver,
    ) -> Result<(Self, TakenOver), StartError> {
        let state: State = serde_json::from_slice(&from.state)
            .map_err(|error| StartError::HandOver(error.to_string()))?;
        let (gateway, begin, mut memories) =
            Self::build(config, deps, from.listeners, Some(state)).await?;
        let mut connections = Vec::with_capacity(from.connections.len());
        let mut not_resumed = Vec::new();
        for handed in from.connections {
            let key = ChargerKey::of(&handed.charger_id);
            let learnt = memories.remove(&key).unwrap_or_default();
            let socket = handed.socket.set_nonblocking(true);
            let socket = socket.and_then(|()| TcpStream::from_std(handed.socket));
            let carried = CarriedConnection {
                charger_id: handed.charger_id,
                epoch: Epoch(handed.epoch),
                socket: socket.map_err(|error| StartError::HandOver(error.to_string()))?,
                state: handed.state,
            };
            match Connection::carried_on(&gateway.parts, carried, learnt) {
                Ok(connection) => connections.push(connection),
                Err(lost) => not_resumed.push(lost),
            }
        }
        remember(&gateway.parts, memories);
        let taken = TakenOver {
            parts: Arc::clone(&gateway.parts),
            begin,
            connections,
            not_resumed,
        };
        Ok((gateway, taken))
    }
}

/// Remembers what the journal says of chargers that are not connected.
pub(crate) fn remember(parts: &Parts, memories: HashMap<ChargerKey, ResendMemory>) {
    for (key, memory) in memories {
        let is_known = parts.directory.charger(&key).is_some();
        parts.registry.remember(key, memory, is_known);
    }
}

/// The socket of `listeners` for an address of the settings; port 0 stands for any.
pub(crate) fn inherited(
    listeners: &mut Vec<std::net::TcpListener>,
    address: SocketAddr,
) -> Option<std::net::TcpListener> {
    let is_it = |listener: &std::net::TcpListener| {
        let bound = listener.local_addr();
        bound.is_ok_and(|bound| {
            bound.ip() == address.ip() && (bound.port() == address.port() || address.port() == 0)
        })
    };
    let at = listeners.iter().position(is_it)?;
    Some(listeners.remove(at))
}

impl State {
    /// Continues what the other process knew of the clock and of recorded starts.
    pub(crate) fn starts(&self) -> Starts {
        clock::hold(self.newest);
        Starts::of(self.recorded_start, self.refused_start)
    }
}
