//! Reads the request of a handshake and checks it: the rates, the identity, the version, the password.

use crate::admission::auth::Verdict;
use crate::admission::handshake::{self, Refusal, Request, Status};
use crate::admission::pending::PeerAddress;
use crate::connection::frames::Line;
use crate::parts::Parts;
use central::model::ChargerKey;
use central::policy::UnknownCharger;
use central::ports::ChargerProfile;
use ocpp::Version;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// Why a handshake ends without a connection.
pub(super) enum Failure {
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
pub(super) struct Accepted {
    pub(super) identity: String,
    pub(super) key: ChargerKey,
    pub(super) version: Version,
    pub(super) profile: Option<Arc<ChargerProfile>>,
    pub(super) answer: String,
    pub(super) deflate: Option<String>,
}

/// Reads the request, at most `gateway.header_bytes_max` of it.
pub(super) async fn read_request(line: &mut Line, parts: &Parts) -> Result<Request, Failure> {
    let bytes_max = parts.config.header_bytes_max;
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
        if seen >= bytes_max {
            return Err(Refusal::new(
                Status::HeadTooLarge,
                format!("The head of a request may have at most {bytes_max} bytes."),
            )
            .into());
        }
        if line.read_buf(&mut head).await? == 0 {
            return Err(Failure::Gone);
        }
    }
}

/// Whether this charger may connect.
pub(super) async fn check(
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
