//! From a TCP connection to a charger's task. Any peer may connect, so everything is bounded: bytes, time, number and
//! rate. A charger is refused before the upgrade, because a connection that is accepted and then closed resets its
//! back-off (rule H-6).

use crate::admission::begin::begin;
use crate::admission::check::{Failure, check, read_request};
use crate::admission::handshake::{self, Refusal, Status};
use crate::admission::pending::{Entry, Limit, PeerAddress, Place};
use crate::admission::{Admission, WarningInterval};
use crate::config::GatewayConfig;
use crate::connection::frames::Line;
use crate::metrics::Metrics;
use crate::parts::Parts;
use common::backoff::Backoff;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Longest first pause after `accept` failed, usually because no file handle is left; doubles up to
/// [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often a new socket retries when a place is about to become free.
const RETRIES: u32 = 20;
/// The pause between two of these retries.
const RETRY_PAUSE: Duration = Duration::from_millis(1);
/// Connections that may wait for `accept`: a fleet may reconnect within a second.
const BACKLOG: u32 = 4_096;
/// Bytes that the operating system buffers for a slow reader; by default it would be megabytes. Answers are small, so
/// this slows no charger down.
const SEND_BUFFER: u32 = 64 << 10;
/// How long writing a refusal may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Listens on `address`.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restart must not wait until the old connections have left TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Every accepted connection inherits it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until `stop`; then closes the listener. `parts` is for the charger's task.
pub(crate) async fn run(
    listener: TcpListener,
    security_profile: u8,
    parts: Arc<Parts>,
    stop: CancellationToken,
) {
    let mut failure = AcceptFailure::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => {
                failure.is_over();
                accepted
            }
            Err(error) => {
                parts.metrics.accept_failures.increment(1);
                let Some(pause) = failure.pause(&error) else {
                    continue;
                };
                // Closing a silent socket frees a handle for the chargers that are served.
                parts.admission.pending_handshakes.make_room();
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                continue;
            }
        };
        let address = PeerAddress::of(peer.ip());
        match find_place(&parts.admission, &parts.config, &parts.metrics, address).await {
            Some(place) => {
                let parts = Arc::clone(&parts);
                tokio::spawn(handle(socket, peer, security_profile, place, parts));
            }
            None => {
                // The request is not even read. The answer is short enough for any socket buffer.
                let text = refusal_text(&parts.config, &too_many());
                parts.metrics.refused(Status::Unavailable);
                Line::new(socket, Arc::clone(&parts.admission.lingering))
                    .refuse_at_once(text.as_bytes());
            }
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(Status::Unavailable, "Too many handshakes at once.")
}

/// A place among the unfinished handshakes; at a bound, the place of a silent socket.
async fn find_place(
    admission: &Admission,
    config: &GatewayConfig,
    metrics: &Metrics,
    address: PeerAddress,
) -> Option<Place> {
    for _ in 0..RETRIES {
        let (place, limit) = match admission.pending_handshakes.enter(address, Instant::now()) {
            Entry::Place(place, None) => return Some(place),
            Entry::Place(place, Some(limit)) => (Some(place), limit),
            Entry::Full(limit) => (None, limit),
            Entry::Soon => {
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        metrics.over_limit(limit, place.is_none());
        warn_over_limit(admission, config, address, limit);
        return place;
    }
    metrics.over_limit(Limit::Total, true);
    None
}

/// Warns the operator of a flood, or of a proxy in front of the chargers.
fn warn_over_limit(
    admission: &Admission,
    config: &GatewayConfig,
    address: PeerAddress,
    limit: Limit,
) {
    if !admission.handshakes_warning.is_due(Instant::now()) {
        return;
    }
    match limit {
        Limit::Address => tracing::warn!(
            %address,
            handshakes_per_address_max = config.handshakes_per_address_max,
            "one address has too many unfinished handshakes; its silent sockets are closed for new ones (raise \
             gateway.handshakes_per_address_max if this is a proxy of yours)"
        ),
        Limit::Total => tracing::warn!(
            handshakes_max = config.handshakes_max,
            "too many unfinished handshakes (gateway.handshakes_max); silent sockets are closed for new ones"
        ),
    }
}

/// A failure of `accept` that lasts.
struct AcceptFailure {
    backoff: Backoff,
    is_failing: bool,
    /// Limits the log: while file handles are short, `accept` fails and succeeds in turn, many times a second.
    interval: WarningInterval,
    was_logged: bool,
}

impl Default for AcceptFailure {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(ACCEPT_PAUSE, ACCEPT_PAUSE_MAX),
            is_failing: false,
            interval: WarningInterval::default(),
            was_logged: false,
        }
    }
}

impl AcceptFailure {
    /// How long to wait before the next `accept`; `None` if only one connection failed.
    fn pause(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionReset | Interrupted
        ) {
            return None;
        }
        if !std::mem::replace(&mut self.is_failing, true) && self.interval.is_due(Instant::now()) {
            self.was_logged = true;
            tracing::error!(
                %error,
                "no connection can be accepted; open connections are served. Raise the limit of open files \
                 (LimitNOFILE= in the systemd unit, or ulimit -n), or lower gateway.connections_max"
            );
        }
        Some(self.backoff.next_delay())
    }

    fn is_over(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.is_failing) && std::mem::take(&mut self.was_logged) {
            tracing::info!("connections can be accepted again");
        }
    }
}

/// Handles one handshake, from the first byte to the charger's task.
async fn handle(
    socket: TcpStream,
    peer: SocketAddr,
    security_profile: u8,
    mut place: Place,
    parts: Arc<Parts>,
) {
    // An answer is one small packet and must not wait for the acknowledgement of the previous one.
    let _ = socket.set_nodelay(true);
    let mut line = Line::new(socket, Arc::clone(&parts.admission.lingering));
    let deadline = parts.config.handshake_timeout();
    let end = tokio::time::Instant::now() + deadline;
    let reading = tokio::time::timeout_at(end, read_request(&mut line, &parts));
    let read = tokio::select! {
        biased;
        read = reading => read.unwrap_or(Err(Failure::Silent)),
        () = place.must_close() => Err(Failure::Displaced),
    };
    let is_in_time = place.request_arrived();
    let outcome = match read {
        Ok(request) if is_in_time => {
            let from = (peer, place.address());
            let checking = check(request, from, security_profile, &parts);
            let accepted = tokio::time::timeout_at(end, checking).await;
            accepted.unwrap_or(Err(Failure::Gone))
        }
        Ok(_) => Err(Failure::Displaced),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(accepted) => {
            let from = (peer, place.address());
            begin(line, from, &parts, accepted, deadline).await;
        }
        Err(Failure::Refused(refusal)) => {
            parts.metrics.refused(refusal.status);
            tracing::debug!(%peer, status = refusal.status.code(), sentence = refusal.sentence, "handshake refused");
            refuse(&mut line, &refusal_text(&parts.config, &refusal), deadline).await;
        }
        Err(Failure::Displaced) => {
            parts.metrics.refused(Status::Unavailable);
            line.hang_up(refusal_text(&parts.config, &too_many()).as_bytes());
        }
        Err(Failure::Silent) => {
            parts.metrics.handshakes_unfinished.increment(1);
            line.hang_up(b"");
        }
        Err(Failure::Gone) => parts.metrics.handshakes_unfinished.increment(1),
    }
    drop(place);
}

/// Writes a refusal, within the handshake's deadline: a peer that reads nothing must not keep its place.
pub(super) async fn refuse(line: &mut (impl AsyncWrite + Unpin), text: &str, deadline: Duration) {
    let write = line.write_all(text.as_bytes());
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT.min(deadline), write).await;
}

/// The response that refuses a handshake, with a random `Retry-After`.
pub(super) fn refusal_text(config: &GatewayConfig, refusal: &Refusal) -> String {
    let least = config.retry_after_s.max(1);
    handshake::refused(refusal, fastrand::u64(least..=least * 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writing_a_refusal_is_bounded_by_the_handshake_timeout() {
        let (mut line, _reads_nothing) = tokio::io::duplex(8);
        let text = handshake::refused(&Refusal::new(Status::Unavailable, "Not now."), 1);
        let refusing = refuse(&mut line, &text, Duration::from_millis(100));
        let ended = tokio::time::timeout(REFUSAL_TIMEOUT, refusing).await;
        assert!(ended.is_ok(), "it still waits");
    }

    #[test]
    fn accept_backs_off_without_file_handles_but_not_after_one_lost_connection() {
        const EMFILE: i32 = 24;
        let mut failure = AcceptFailure::default();
        let lost = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(failure.pause(&lost), None);
        let none_left = io::Error::from_raw_os_error(EMFILE);
        let pauses: Vec<_> = (0..8).filter_map(|_| failure.pause(&none_left)).collect();
        assert!((ACCEPT_PAUSE / 2..=ACCEPT_PAUSE).contains(&pauses[0]));
        assert!((ACCEPT_PAUSE_MAX / 2..=ACCEPT_PAUSE_MAX).contains(&pauses[7]));
        failure.is_over();
        let again = failure.pause(&none_left);
        assert!(
            again.is_some_and(|pause| pause <= ACCEPT_PAUSE),
            "{again:?}"
        );
    }
}
