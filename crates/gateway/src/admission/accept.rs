//! From a TCP connection to a charger's task. Any peer may connect, so everything is bounded: bytes, time, number and
//! rate. A charger is refused before the upgrade, because a connection that is accepted and then closed resets its
//! back-off (rule H-6).

use crate::admission::begin::begin;
use crate::admission::check::{Accepted, Failure, check, read_request};
use crate::admission::handshake::{self, Refusal, Status};
use crate::admission::log::Attempt;
use crate::admission::peer::Peer;
use crate::admission::pending::{Entry, Limit, PeerAddress, Place};
use crate::admission::proxy_header::{self, Begin};
use crate::admission::reason::Reason;
use crate::admission::{Admission, WarningInterval};
use crate::config::{ForwardedHeader, GatewayConfig, ListenerConfig};
use crate::connection::frames::Line;
use crate::parts::Parts;
use central::Timestamp;
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

/// Accepts connections until `stop`. `parts` is for the charger's task.
pub(crate) async fn run(
    listener: Arc<TcpListener>,
    settings: Arc<ListenerConfig>,
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
        let peer = Peer::of_socket(peer);
        match find_place(&parts, &settings, peer).await {
            Some(place) => {
                let (settings, parts) = (Arc::clone(&settings), Arc::clone(&parts));
                tokio::spawn(handle(socket, peer, settings, place, parts));
            }
            None => {
                // The request is not even read. The answer is short enough for any socket buffer.
                let refusal = too_many();
                let text = refusal_text(&parts.config, &refusal);
                log_refusal(&parts, peer, &Attempt::default(), &refusal);
                Line::new(socket, Arc::clone(&parts.admission.lingering))
                    .refuse_at_once(text.as_bytes());
            }
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(Reason::NotNow, "Too many handshakes at once.")
}

/// A place among the unfinished handshakes; at a bound, the place of a silent socket.
async fn find_place(parts: &Parts, settings: &ListenerConfig, peer: Peer) -> Option<Place> {
    let Parts {
        admission,
        config,
        metrics,
        ..
    } = parts;
    let address = peer.address();
    let is_proxy = peer.is_trusted(settings);
    for _ in 0..RETRIES {
        let entry = match is_proxy {
            true => admission
                .pending_handshakes
                .enter_from_proxy(address, Instant::now()),
            false => admission.pending_handshakes.enter(address, Instant::now()),
        };
        let (place, limit) = match entry {
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
             gateway.handshakes_per_address_max, or name the address in trusted_proxies if it is a proxy of yours)"
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
    peer: Peer,
    settings: Arc<ListenerConfig>,
    place: Place,
    parts: Arc<Parts>,
) {
    // An answer is one small packet and must not wait for the acknowledgement of the previous one.
    let _ = socket.set_nodelay(true);
    let mut handshake = Handshake {
        line: Line::new(socket, Arc::clone(&parts.admission.lingering)),
        peer,
        place,
        attempt: Attempt::default(),
        settings,
        parts: Arc::clone(&parts),
    };
    let outcome = handshake.run().await;
    let Handshake {
        mut line,
        peer,
        place,
        attempt,
        ..
    } = handshake;
    let deadline = parts.config.handshake_timeout();
    match outcome {
        Ok(accepted) => begin(line, peer, &parts, accepted, &attempt).await,
        Err(Failure::Refused(refusal)) => {
            log_refusal(&parts, peer, &attempt, &refusal);
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

/// One handshake until it is accepted or fails.
struct Handshake {
    line: Line,
    /// The charger's own address, as far as it is known.
    peer: Peer,
    place: Place,
    attempt: Attempt,
    settings: Arc<ListenerConfig>,
    parts: Arc<Parts>,
}

impl Handshake {
    async fn run(&mut self) -> Result<Accepted, Failure> {
        let end = tokio::time::Instant::now() + self.parts.config.handshake_timeout();
        self.read_proxy_header(end).await?;
        let reading = tokio::time::timeout_at(end, read_request(&mut self.line, &self.parts));
        let read = tokio::select! {
            biased;
            read = reading => read.unwrap_or(Err(Failure::Silent)),
            () = self.place.must_close() => Err(Failure::Displaced),
        };
        let is_in_time = self.place.request_arrived();
        let mut request = read?;
        if !is_in_time {
            return Err(Failure::Displaced);
        }
        let header = match self.settings.forwarded_header {
            ForwardedHeader::XForwardedFor => &request.x_forwarded_for,
            ForwardedHeader::Forwarded => &request.forwarded,
        };
        if !header.is_empty() && self.has_forwarded_header() {
            let peer = self.peer.forwarded(&self.settings, header);
            self.known_as(peer)?;
        }
        self.attempt = Attempt::of(&request);
        request.check_upgrade()?;
        let checking = check(
            request,
            self.peer,
            &self.settings,
            &mut self.attempt,
            &self.parts,
        );
        let accepted = tokio::time::timeout_at(end, checking).await;
        accepted.unwrap_or(Err(Failure::Gone))
    }

    /// Reads the header of the PROXY protocol, where the listener expects one.
    async fn read_proxy_header(&mut self, end: tokio::time::Instant) -> Result<(), Failure> {
        if !self.settings.proxy_protocol {
            return Ok(());
        }
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let timeout = self.parts.config.first_byte_timeout().min(left);
        let read = tokio::select! {
            biased;
            read = proxy_header::read(&mut self.line, timeout) => read,
            () = self.place.must_close() => Err(Failure::Displaced),
        };
        let is_trusted = self.peer.is_trusted(&self.settings);
        let (begin, rest) = match read {
            Err(failure) => {
                // Otherwise its place would not know that it was told to close.
                if !self.place.is_silent() {
                    return Err(Failure::Displaced);
                }
                return Err(failure);
            }
            Ok(read) => read,
        };
        self.line.push_back(rest);
        match begin {
            Begin::NoHeader if is_trusted => Err(Refusal::new(
                Reason::NoProxyHeader,
                "This listener expects a PROXY protocol header from this address, and got none.",
            )
            .into()),
            Begin::NoHeader => Ok(()),
            Begin::Source(_) | Begin::NoAddress if !is_trusted => {
                self.parts.admission.log.proxy_header_ignored(self.peer);
                Ok(())
            }
            Begin::Source(source) => self.known_as(self.peer.with_source(source)),
            Begin::NoAddress => Ok(()),
        }
    }

    /// Whether an HTTP header may name the charger's address. A proxy with the PROXY protocol passes on the header
    /// that the charger wrote; only a second proxy behind it sets the header.
    fn has_forwarded_header(&self) -> bool {
        !self.settings.proxy_protocol || self.peer.proxy().is_some()
    }

    /// The charger's own address is known: from now on it counts, and not that of the proxy.
    fn known_as(&mut self, peer: Peer) -> Result<(), Failure> {
        self.peer = peer;
        let moved = self.place.move_to(peer.address(), Instant::now());
        moved.map_err(|limit| {
            let Parts {
                admission,
                config,
                metrics,
                ..
            } = &*self.parts;
            metrics.over_limit(limit, true);
            warn_over_limit(admission, config, peer.address(), limit);
            too_many().into()
        })
    }
}

/// Counts a refusal, notes it for the operator's list, and logs it.
pub(super) fn log_refusal(parts: &Parts, peer: Peer, attempt: &Attempt, refusal: &Refusal) {
    let Refusal { reason, sentence } = refusal;
    parts.metrics.refused(reason.status());
    let now = Timestamp(common::clock::now_ms());
    parts.admission.refused.note(peer, attempt, *reason, now);
    parts
        .admission
        .log
        .refused(peer, attempt, *reason, sentence);
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
        let text = handshake::refused(&Refusal::new(Reason::NotNow, "Not now."), 1);
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
