//! From a TCP connection to a charger's task. Any peer may connect, so everything is bounded: bytes, time, number and
//! rate. A charger is refused before the upgrade, because a connection that is accepted and then closed resets its
//! back-off (rule H-6).

use crate::admission::WarningInterval;
use crate::admission::auth::Verdict;
use crate::admission::handshake::{self, Refusal, Request, Status};
use crate::admission::pending::{Entry, Limit, PeerAddress, Place};
use crate::admission::unknown::{UnknownPermit, UnknownShare};
use crate::clock::wall_clock;
use crate::connection::Connection;
use crate::connection::frames::{Frames, Line};
use crate::connection::registry::{Claimed, Control, Registry};
use crate::parts::Parts;
use central::model::ChargerKey;
use central::policy::UnknownCharger;
use central::ports::ChargerProfile;
use central::resend::ResendMemory;
use central::station::{Station, StationConfig};
use ocpp::Version;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// First pause after `accept` failed, usually because no file handle is left; doubles up to [`ACCEPT_PAUSE_MAX`].
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

/// Accepts connections until `stop`; then closes the listener.
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
        match find_place(&parts, address).await {
            Some(place) => {
                let parts = Arc::clone(&parts);
                tokio::spawn(handle(socket, peer, security_profile, place, parts));
            }
            None => {
                // The request is not even read. The answer is short enough for any socket buffer.
                let text = refusal_text(&parts, &too_many());
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

/// A place among the unfinished handshakes, if need be that of a silent socket.
async fn find_place(parts: &Parts, address: PeerAddress) -> Option<Place> {
    for _ in 0..RETRIES {
        let (place, limit) = match parts
            .admission
            .pending_handshakes
            .enter(address, Instant::now())
        {
            Entry::Place(place, None) => return Some(place),
            Entry::Place(place, Some(limit)) => (Some(place), limit),
            Entry::Full(limit) => (None, limit),
            Entry::Soon => {
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        parts.metrics.over_limit(limit, place.is_none());
        warn_over_limit(parts, address, limit);
        return place;
    }
    parts.metrics.over_limit(Limit::Total, true);
    None
}

/// Warns the operator of a flood, or of a proxy in front of the chargers.
fn warn_over_limit(parts: &Parts, address: PeerAddress, limit: Limit) {
    if !parts.admission.handshakes_warning.is_due(Instant::now()) {
        return;
    }
    let config = &parts.config;
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
#[derive(Default)]
struct AcceptFailure {
    pause: Option<Duration>,
    /// Where handles run short, `accept` fails and succeeds in turn, many times a second.
    interval: WarningInterval,
    was_logged: bool,
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
        let pause = match self.pause {
            None => {
                if self.interval.is_due(Instant::now()) {
                    self.was_logged = true;
                    tracing::error!(
                        %error,
                        "no connection can be accepted; open connections are served. Raise the limit of open files \
                         (LimitNOFILE= in the systemd unit, or ulimit -n), or lower gateway.connections_max"
                    );
                }
                ACCEPT_PAUSE
            }
            Some(last) => (last * 2).min(ACCEPT_PAUSE_MAX),
        };
        self.pause = Some(pause);
        Some(pause)
    }

    fn is_over(&mut self) {
        if self.pause.take().is_some() && std::mem::take(&mut self.was_logged) {
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
            refuse(&mut line, &refusal_text(&parts, &refusal), deadline).await;
        }
        Err(Failure::Displaced) => {
            parts.metrics.refused(Status::Unavailable);
            line.hang_up(refusal_text(&parts, &too_many()).as_bytes());
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
async fn refuse(line: &mut (impl AsyncWrite + Unpin), text: &str, deadline: Duration) {
    let write = line.write_all(text.as_bytes());
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT.min(deadline), write).await;
}

fn refusal_text(parts: &Parts, refusal: &Refusal) -> String {
    let least = parts.config.retry_after_s.max(1);
    handshake::refused(refusal, fastrand::u64(least..=least * 2))
}

enum Failure {
    Refused(Refusal),
    /// The peer closed the connection, or the deadline passed.
    Gone,
    /// The peer did not send its whole request in time.
    Silent,
    /// The socket was closed for a new one before its whole request had arrived.
    Displaced,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A charger whose handshake is accepted.
struct Accepted {
    identity: String,
    key: ChargerKey,
    version: Version,
    profile: Option<Arc<ChargerProfile>>,
    answer: String,
    deflate: Option<String>,
}

async fn check(
    request: Request,
    (peer, address): (SocketAddr, PeerAddress),
    security_profile: u8,
    parts: &Parts,
) -> Result<Accepted, Failure> {
    // The address's rate first: what it refuses does not count towards the total.
    let now = Instant::now();
    if !parts.admission.address_rates.pass(address, now)
        || !parts.admission.handshake_rate.pass(now)
    {
        return Err(Refusal::new(
            Status::Unavailable,
            "Too many handshakes per second; come back in a moment.",
        )
        .into());
    }
    parts.admission.admit()?;
    let identity = handshake::identity(&request.target)?;
    let (version, echo) =
        handshake::negotiate(&request.protocols, parts.config.assume_version.version())?;
    handshake::check_length(&identity, version)?;
    let key = ChargerKey::of(&identity);
    let profile = parts.directory.charger(&key);
    if profile.is_none() && parts.admission.policy.unknown_charger == UnknownCharger::Reject {
        tracing::info!(charger.id = %identity, %peer, "unknown charger refused");
        return Err(Refusal::new(
            Status::NotFound,
            "No charger of this identity is known here; it must be added first.",
        )
        .into());
    }
    let stored = profile
        .as_ref()
        .and_then(|profile| profile.password_hash.as_deref());
    if let Some(stored) = stored {
        authenticate(&request, &identity, &key, stored, (peer, address), parts).await?;
    } else if security_profile > 0 {
        return unauthorized(
            &identity,
            peer,
            "no password is set, and the listener requires one",
            parts,
        );
    }
    if echo.is_none() {
        parts.metrics.quirk_no_subprotocol.increment(1);
    }
    if request.repaired {
        parts.metrics.quirk_repaired_handshake.increment(1);
    }
    let deflate = parts
        .config
        .compression
        .then(|| handshake::agree_deflate(&request.extensions))
        .flatten();
    Ok(Accepted {
        answer: handshake::accepted(&request.key, echo, deflate.as_deref()),
        identity,
        key,
        version,
        profile,
        deflate,
    })
}

async fn read_request(line: &mut Line, parts: &Parts) -> Result<Request, Failure> {
    let max_bytes = parts.config.header_max_bytes;
    let mut head = Vec::with_capacity(1_024);
    let first = tokio::time::timeout(parts.config.first_byte_timeout(), line.read_buf(&mut head));
    match first.await {
        Ok(Ok(0)) => return Err(Failure::Gone),
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(Failure::Silent),
    }
    let mut seen = 0;
    loop {
        // TLS or another protocol: refuse at once instead of waiting for the end of a request.
        if !head[0].is_ascii_graphic() && !head[0].is_ascii_whitespace() {
            return Err(Refusal::new(
                Status::BadRequest,
                "This is not an HTTP/1.1 request; chargers connect with ws:// here.",
            )
            .into());
        }
        if let Some(end) = handshake::head_end(&head, seen) {
            let request = handshake::parse(&head[..end])?;
            line.push_back(head.split_off(end));
            return Ok(request);
        }
        seen = head.len();
        if seen >= max_bytes {
            return Err(Refusal::new(
                Status::HeadTooLarge,
                format!("The head of a request may have at most {max_bytes} bytes."),
            )
            .into());
        }
        if line.read_buf(&mut head).await? == 0 {
            return Err(Failure::Gone);
        }
    }
}

async fn authenticate(
    request: &Request,
    identity: &str,
    key: &ChargerKey,
    stored: &str,
    (peer, address): (SocketAddr, PeerAddress),
    parts: &Parts,
) -> Result<(), Failure> {
    let refuse = |why| unauthorized(identity, peer, why, parts);
    let Some((user, password)) = request
        .credentials
        .as_deref()
        .and_then(|credentials| handshake::split_credentials(credentials, identity))
    else {
        return refuse("no credentials");
    };
    let is_same = std::str::from_utf8(user).is_ok_and(|user| ChargerKey::of(user) == *key);
    if parts.config.user_must_be_identity && !is_same {
        return refuse("the user name is not the identity");
    }
    let checking = parts
        .admission
        .passwords
        .check(stored, password, address, key);
    match checking.await {
        Verdict::Correct => Ok(()),
        Verdict::Wrong => refuse("wrong password"),
        Verdict::Busy(share) => {
            parts.metrics.password_not_checked(share);
            Err(Refusal::new(
                Status::Unavailable,
                "Too many passwords wait for their check; come back in a moment.",
            )
            .into())
        }
        Verdict::Unusable => refuse("the stored password hash is not an Argon2 PHC string"),
    }
}

fn unauthorized<T>(
    identity: &str,
    peer: SocketAddr,
    why: &'static str,
    parts: &Parts,
) -> Result<T, Failure> {
    parts.metrics.auth_failures.increment(1);
    tracing::info!(charger.id = %identity, %peer, why, "charger refused");
    Err(Failure::Refused(Refusal::new(
        Status::Unauthorized,
        "Give the identity as user name and this charger's password.",
    )))
}

/// The last steps, in this order: acquire a permit, take over what the old connection remembers, answer 101, and only
/// then start the connection's task, so that the handshake's memory is freed.
async fn begin(
    mut line: Line,
    (peer, address): (SocketAddr, PeerAddress),
    parts: &Arc<Parts>,
    accepted: Accepted,
    deadline: Duration,
) {
    // All of this before the charger's older connection is told to stop: a refused charger replaces no connection. A
    // charger that replaces its own connection adds none.
    let replaces = parts.registry.find(&accepted.key).is_some();
    let permits = parts
        .admission
        .acquire()
        .and_then(|permit| Ok((permit, acquire_unknown(parts, address, &accepted)?)))
        .and_then(|permits| match replaces {
            true => Ok(permits),
            false => parts.flow.may_enter().map(|()| permits),
        });
    match permits {
        Ok((permit, unknown)) => line.hold(permit, unknown),
        Err(refusal) => {
            parts.metrics.refused(refusal.status);
            refuse(&mut line, &refusal_text(parts, &refusal), deadline).await;
            return;
        }
    }
    let now = wall_clock();
    let control = Arc::new(Control::new(
        parts.registry.next_epoch(now.as_millis().unsigned_abs()),
    ));
    let (memory, replaced) = claim(&parts.registry, &accepted.key, &control, parts).await;
    if replaced {
        parts.metrics.replaced.increment(1);
    }
    // Whoever closes all connections sets a flag first and then stops those in the registry. This connection enters the
    // registry first and then reads the flag, so it cannot be missed.
    let admitted = parts
        .admission
        .admit_as(control.epoch)
        .and_then(|()| still_admitted(parts, &accepted));
    let profile = match admitted {
        Ok(profile) => profile,
        Err(refusal) => {
            parts.registry.release(&accepted.key, &control, memory);
            parts.metrics.refused(refusal.status);
            refuse(&mut line, &refusal_text(parts, &refusal), deadline).await;
            return;
        }
    };
    let wrote = tokio::time::timeout(deadline, line.write_all(accepted.answer.as_bytes())).await;
    let frames = match wrote {
        Ok(Ok(())) => Frames::new(line, accepted.deflate.as_deref(), &parts.frame_options),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the answer to the handshake was not read".to_owned()),
    };
    let frames = match frames {
        Ok(frames) => frames,
        Err(error) => {
            tracing::debug!(charger.id = %accepted.identity, error, "handshake not finished");
            parts.metrics.handshakes_unfinished.increment(1);
            parts.registry.release(&accepted.key, &control, memory);
            return;
        }
    };
    if let Some(counter) = parts
        .metrics
        .handshakes_accepted
        .get(accepted.version as usize)
    {
        counter.increment(1);
    }
    let charger_id: Arc<str> = match &profile {
        Some(profile) => profile.charger_id.as_str().into(),
        None => accepted.identity.as_str().into(),
    };
    parts.ownership.publish(&charger_id, control.epoch);
    let config = StationConfig {
        charger_id,
        version: accepted.version,
        profile,
        policy: Arc::clone(&parts.admission.policy),
        epoch: control.epoch,
        seed: fastrand::u64(..),
        remote: peer.to_string(),
    };
    let station = Station::new(config, memory, now);
    let connection = Connection::new(Arc::clone(parts), control, accepted.key, station, frames);
    parts.admission.connections.spawn(connection.run());
}

/// Counts the connection of a charger that nobody has added; `None` for one that was.
///
/// # Errors
/// With a 503 when unknown chargers, or those of this address, have too many connections.
fn acquire_unknown(
    parts: &Parts,
    address: PeerAddress,
    accepted: &Accepted,
) -> Result<Option<UnknownPermit>, Refusal> {
    if accepted.profile.is_some() {
        return Ok(None);
    }
    let has_known = parts.directory.has_chargers();
    let acquired = parts
        .admission
        .unknown_connections
        .acquire(address, has_known);
    let share = match acquired {
        Ok(permit) => return Ok(Some(permit)),
        Err(share) => share,
    };
    parts.metrics.unknown_refused(share);
    if parts.admission.unknown_warning.is_due(Instant::now()) {
        let config = &parts.config;
        match share {
            UnknownShare::Address => tracing::warn!(
                %address,
                unknown_per_address_max = config.unknown_per_address_max,
                "refusing unknown chargers of one address: it has too many connections already (add the chargers, \
                 or raise gateway.unknown_per_address_max if that is a proxy or a depot of yours)"
            ),
            UnknownShare::Total => tracing::warn!(
                unknown_max = config.unknown_max(),
                "refusing unknown chargers: they have three quarters of gateway.connections_max already (add the \
                 chargers, or raise it)"
            ),
        }
    }
    Err(Refusal::new(
        Status::Unavailable,
        "Too many chargers that nobody has added are connected; come back in a moment.",
    ))
}

/// The charger's profile now that its connection is in the registry. The directory may have changed since the handshake
/// was checked (a password check takes its time), and the connection was not in the registry to be told.
///
/// # Errors
/// When the handshake must be checked again: the charger was removed, or its password was changed or set.
fn still_admitted(
    parts: &Parts,
    accepted: &Accepted,
) -> Result<Option<Arc<ChargerProfile>>, Refusal> {
    fn password(profile: Option<&ChargerProfile>) -> Option<&String> {
        profile.and_then(|profile| profile.password_hash.as_ref())
    }
    let (before, now) = (&accepted.profile, parts.directory.charger(&accepted.key));
    let is_removed = before.is_some() && now.is_none();
    if is_removed || password(before.as_deref()) != password(now.as_deref()) {
        return Err(Refusal::new(
            Status::Unavailable,
            "The settings of this charger have just changed; come back in a moment.",
        ));
    }
    Ok(now)
}

async fn claim(
    registry: &Registry,
    key: &ChargerKey,
    control: &Arc<Control>,
    parts: &Parts,
) -> (ResendMemory, bool) {
    match registry.claim(key, control) {
        Claimed::New(memory) => (memory, false),
        Claimed::Replaces(memory) => {
            let wait = Duration::from_millis(parts.config.handover_timeout_ms);
            let memory = tokio::time::timeout(wait, memory).await;
            if !matches!(memory, Ok(Ok(_))) {
                tracing::warn!(charger.key = %key, "the replaced connection handed nothing over in time");
            }
            (memory.ok().and_then(Result::ok).unwrap_or_default(), true)
        }
    }
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
        assert_eq!(pauses[0], ACCEPT_PAUSE);
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(pauses[7], ACCEPT_PAUSE_MAX);
        failure.is_over();
        assert_eq!(failure.pause(&none_left), Some(ACCEPT_PAUSE));
    }
}
