//! An upgrade that no charger sees: another process takes over the listeners and the established connections, and the
//! journal after them. `docs/adr/0016-take-over.md` has the reasons and the order of the steps.
//!
//! [`Gateway::hand_over`] stops a gateway and returns what another process needs; [`Gateway::take_over`] starts one from
//! that, in another process or, if that has failed, in the same. Between the two nothing is read from a charger, and
//! what it sends waits in its socket.

use crate::admission::Starts;
use crate::clock::{self, wall_clock};
use crate::connection::Connection;
use crate::connection::carry::{NotResumed, Read};
use crate::connection::control::Stop;
use crate::parts::Parts;
use crate::{Begin, Gateway, GatewayConfig, GatewayDeps, StartError};
use central::model::ChargerKey;
use central::resend::ResendMemory;
use central::{Epoch, Timestamp};
use common::lock::lock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
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
/// How long connections may take to be between two messages as long as more and more of them are. On a busy machine chargers
/// wait so long at most; their own timeouts are longer, usually 30 s and more.
const FREEZING_MAX: Duration = Duration::from_secs(8);
/// How long connections that cannot be given away may take to record their end.
const ENDINGS: Duration = Duration::from_secs(2);
/// Bytes of a close frame with code 1001 (RFC 6455, section 5.5.1).
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// A connection that is ready for another process, in this one.
pub(crate) struct CarriedConnection {
    pub(crate) charger_id: String,
    pub(crate) epoch: Epoch,
    pub(crate) socket: TcpStream,
    pub(crate) state: Box<RawValue>,
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
    /// Its state. A release that cannot read it closes the connection with 1001.
    pub state: Box<RawValue>,
}

/// A connection of another process whose state was read, or could not be.
pub(crate) struct Arrived {
    pub(crate) charger_id: String,
    pub(crate) epoch: Epoch,
    pub(crate) socket: TcpStream,
    pub(crate) read: Result<Read, String>,
}

/// What a gateway that takes over knows before it reads the journal.
pub(crate) struct Before {
    pub(crate) state: State,
    /// The identities whose memory of resends has come with their connection.
    pub(crate) remembered: HashSet<String>,
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

    /// The connections that go on and are younger than `age`: identity and epoch.
    #[must_use]
    pub fn younger_than(&self, age: Duration) -> Vec<(String, Epoch)> {
        let all = self.connections.iter();
        all.filter(|connection| connection.age() < age)
            .map(|connection| connection.named())
            .collect()
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
    /// between two batches. When no further connection has become ready for `patience`, the others (a question to the
    /// database is open, a long message is incomplete) are closed with 1001; eight seconds after the beginning in any case.
    /// Returns when nothing is read from or sent to any charger; records
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
        self.all_have_stopped(patience, FREEZING_MAX).await;
        let late = parts.registry.all();
        let closed = late.len().saturating_sub(lock(&parts.carried).len());
        if closed > 0 {
            for control in late {
                control.stop(Stop::NotCarried);
            }
            self.all_have_stopped(ENDINGS, ENDINGS).await;
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

    /// Waits until every connection is ready for another process or has ended; not longer than `patience` after the last
    /// one, nor than `most`.
    async fn all_have_stopped(&self, patience: Duration, most: Duration) {
        let parts = &self.parts;
        let left = || {
            let connected = parts.registry.connected();
            connected.saturating_sub(lock(&parts.carried).len())
        };
        while_less(left, patience, most).await;
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
        let failed = |error: &dyn std::fmt::Display| StartError::HandOver(error.to_string());
        let state: State = serde_json::from_slice(&from.state).map_err(|error| failed(&error))?;
        let handed = from.connections;
        let reading = tokio::task::spawn_blocking(move || {
            let read = read_states(&handed);
            (handed, read)
        });
        let (handed, read) = reading.await.map_err(|error| failed(&error))?;
        let of_journal = |read: &Result<Read, String>| !read.as_ref().is_ok_and(Read::remembers);
        let remembered = handed.iter().zip(&read);
        let remembered = remembered.filter(|(_, read)| !of_journal(read));
        let remembered = remembered.map(|(handed, _)| handed.charger_id.clone());
        let before = Before {
            state,
            remembered: remembered.collect(),
        };
        let (gateway, begin, mut memories) =
            Self::build(config, deps, from.listeners, Some(before)).await?;
        let mut connections = Vec::with_capacity(handed.len());
        let mut not_resumed = Vec::new();
        for (handed, read) in handed.into_iter().zip(read) {
            let key = ChargerKey::of(&handed.charger_id);
            let learnt = memories.remove(&key).unwrap_or_default();
            let socket = handed.socket.set_nonblocking(true);
            let socket = socket.and_then(|()| TcpStream::from_std(handed.socket));
            let arrived = Arrived {
                charger_id: handed.charger_id,
                epoch: Epoch(handed.epoch),
                socket: socket.map_err(|error| failed(&error))?,
                read,
            };
            match Connection::carried_on(&gateway.parts, arrived, learnt) {
                Ok(connection) => connections.push(connection),
                Err(mut lost) => {
                    memories.insert(key, std::mem::take(&mut lost.memory));
                    not_resumed.push(*lost);
                }
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

/// Reads the states, on as many threads as there are cores. Blocks.
fn read_states(handed: &[HandedConnection]) -> Vec<Result<Read, String>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let size = handed.len().div_ceil(threads).max(1);
    let read = |some: &[HandedConnection]| -> Vec<_> {
        let states = some.iter().map(|one| Read::of(one.state.get()));
        states.collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = handed
            .chunks(size)
            .map(|some| (some, scope.spawn(move || read(some))))
            .collect();
        let parts = parts.into_iter().map(|(some, part)| match part.join() {
            Ok(read) => read,
            Err(_) => some.iter().map(|_| Err("a panic".to_owned())).collect(),
        });
        parts.flatten().collect()
    })
}

/// Waits until `left` is 0; not longer than `patience` after it was less than ever before, nor than `most`.
async fn while_less(left: impl Fn() -> usize, patience: Duration, most: Duration) {
    let last_end = tokio::time::Instant::now() + most;
    let mut least = usize::MAX;
    let mut end = last_end;
    loop {
        let (left, now) = (left(), tokio::time::Instant::now());
        if left < least {
            least = left;
            end = last_end.min(now + patience);
        }
        if left == 0 || now >= end {
            return;
        }
        tokio::time::sleep(TICK).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(8);

    /// How long a hand-over waits for connections of which so many are left at these times, in milliseconds.
    async fn waits(left: impl Fn(u128) -> usize) -> u128 {
        let began = tokio::time::Instant::now();
        while_less(|| left(began.elapsed().as_millis()), PATIENCE, MOST).await;
        began.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn busy_connections_are_waited_for_while_their_number_falls() {
        let about = |took: u128, expected: u128| (expected..expected + 20).contains(&took);
        let at_once = waits(|_| 0).await;
        assert!(about(at_once, 0), "{at_once}");
        // A saturated machine: one every 900 ms.
        let slowly = waits(|ms| 5 - (ms as usize / 900).min(5)).await;
        assert!(about(slowly, 4_500), "{slowly}");
        // Two that are never ready.
        let stuck = waits(|ms| 5 - (ms as usize / 100).min(3)).await;
        assert!(about(stuck, 1_300), "{stuck}");
        // Without an end.
        let long = waits(|ms| 1_000 - ms as usize / 100).await;
        assert!(about(long, 8_000), "{long}");
        // It does not count as progress that one more connects and leaves again.
        let flapping = waits(|ms| 3 + (ms as usize / 10) % 2).await;
        assert!(about(flapping, 1_000), "{flapping}");
    }

    /// What release 0.1.0 gives, without and with a member that a later release may add.
    #[test]
    fn the_state_of_a_gateway_of_another_build_is_read() {
        for later in ["", r#","later":{"what":["nobody",1]}"#] {
            let kept = format!(
                r#"{{"last_epoch":1795991081521,"newest":1795991082514,"recorded_start":3,"refused_start":2{later}}}"#
            );
            let state: State = serde_json::from_str(&kept).unwrap();
            assert_eq!(state.last_epoch, Epoch(1_795_991_081_521));
            assert_eq!(state.newest, Timestamp(1_795_991_082_514));
            assert_eq!((state.recorded_start, state.refused_start), (3, 2));
        }
        assert!(serde_json::from_str::<State>(r#"{"last_epoch":1}"#).is_err());
    }
}
