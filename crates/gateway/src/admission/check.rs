//! Reads the request of a handshake and checks it: the rates, the identity, the version, the password.

use crate::admission::auth::Verdict;
use crate::admission::handshake::{self, Authorization, Refusal, Request};
use crate::admission::log::Attempt;
use crate::admission::peer::Peer;
use crate::admission::proxy_header;
use crate::admission::reason::Reason;
use crate::config::ListenerConfig;
use crate::connection::frames::Line;
use crate::parts::Parts;
use central::model::ChargerKey;
use central::policy::UnknownCharger;
use central::ports::ChargerProfile;
use ocpp::Version;
use std::io;
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
    /// Whether the charger named no subprotocol.
    pub(super) is_version_assumed: bool,
    /// Whether a header of the upgrade was missing.
    pub(super) is_handshake_repaired: bool,
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
        refuse_other_protocols(&head)?;
        if let Some(end) = handshake::head_end(&head, seen) {
            let request = handshake::parse(&head[..end])?;
            line.push_back(head.split_off(end));
            return Ok(request);
        }
        seen = head.len();
        if seen >= bytes_max {
            return Err(Refusal::new(
                Reason::HeadTooLarge,
                format!("The head of a request may have at most {bytes_max} bytes."),
            )
            .into());
        }
        if line.read_buf(&mut head).await? == 0 {
            return Err(Failure::Gone);
        }
    }
}

/// Refuses TLS, and others, at once instead of waiting for the end of a request.
fn refuse_other_protocols(bytes: &[u8]) -> Result<(), Refusal> {
    /// A record of the handshake, with which TLS and SSL 3 begin (RFC 8446, section 5.1).
    const TLS_HANDSHAKE: u8 = 0x16;
    let (reason, sentence) = match bytes {
        [TLS_HANDSHAKE, ..] => (
            Reason::Tls,
            "This port is without TLS; chargers connect with ws:// here.",
        ),
        [first, ..] if !first.is_ascii_graphic() && !first.is_ascii_whitespace() => (
            Reason::NotHttp,
            "This is not an HTTP/1.1 request; chargers connect with ws:// here.",
        ),
        _ if proxy_header::is_header(bytes) == Some(true) => (
            Reason::UnexpectedProxyHeader,
            "A PROXY protocol header is not expected here.",
        ),
        _ => return Ok(()),
    };
    Err(Refusal::new(reason, sentence))
}

/// Whether this charger may connect. Writes the identity to `attempt` once it is known.
pub(super) async fn check(
    request: Request,
    peer: Peer,
    listener: &ListenerConfig,
    attempt: &mut Attempt,
    parts: &Parts,
) -> Result<Accepted, Failure> {
    // The address's rate first: what it refuses does not count towards the total.
    let now = Instant::now();
    if !parts.admission.address_rates.pass(peer.address(), now)
        || !parts.admission.handshake_rate.pass(now)
    {
        return Err(Refusal::new(
            Reason::NotNow,
            "Too many handshakes per second; come back in a moment.",
        )
        .into());
    }
    parts.admission.admit()?;
    attempt.set_identity(handshake::last_segment(&request.target));
    let identity = handshake::identity(&request.target)?;
    attempt.set_identity(&identity);
    let (version, echo) =
        handshake::negotiate(&request.protocols, parts.config.assume_version.version())?;
    handshake::check_length(&identity, version)?;
    let key = ChargerKey::of(&identity);
    let profile = parts.directory.charger(&key);
    if profile.is_none() && parts.admission.policy.unknown_charger == UnknownCharger::Reject {
        return Err(Refusal::new(
            Reason::UnknownCharger,
            "No charger of this identity is known here; it must be added first.",
        )
        .into());
    }
    let stored = profile
        .as_ref()
        .and_then(|profile| profile.password_hash.as_deref());
    if let Some(stored) = stored {
        authenticate(&request, &identity, &key, stored, peer, parts).await?;
    } else if listener.security_profile > 0 {
        return unauthorized(Reason::NoPasswordSet, parts);
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
        is_version_assumed: echo.is_none(),
        is_handshake_repaired: request.repaired,
        profile,
        deflate,
    })
}

async fn authenticate(
    request: &Request,
    identity: &str,
    key: &ChargerKey,
    stored: &str,
    peer: Peer,
    parts: &Parts,
) -> Result<(), Failure> {
    let credentials = match &request.authorization {
        Authorization::Basic(credentials) => credentials,
        Authorization::Missing => return unauthorized(Reason::NoPassword, parts),
        Authorization::BrokenBase64 => return unauthorized(Reason::BrokenBase64, parts),
        Authorization::OtherScheme => return unauthorized(Reason::OtherScheme, parts),
    };
    let Some((user, password)) = handshake::split_credentials(credentials, identity) else {
        return unauthorized(Reason::NoColon, parts);
    };
    let is_same = std::str::from_utf8(user).is_ok_and(|user| ChargerKey::of(user) == *key);
    if parts.config.user_must_be_identity && !is_same {
        return unauthorized(Reason::OtherUser, parts);
    }
    let passwords = &parts.admission.passwords;
    let checking = passwords.check(stored, password, peer.address(), key);
    match checking.await {
        Verdict::Correct => Ok(()),
        Verdict::Wrong => unauthorized(Reason::WrongPassword, parts),
        Verdict::Busy(share) => {
            parts.metrics.password_not_checked(share);
            Err(Refusal::new(
                Reason::NotNow,
                "Too many passwords wait for their check; come back in a moment.",
            )
            .into())
        }
        Verdict::Unusable => unauthorized(Reason::UnusableHash, parts),
    }
}

/// Refuses with the same answer whatever is wrong with the credentials, so that a guess learns nothing; the log has the
/// reason.
fn unauthorized<T>(reason: Reason, parts: &Parts) -> Result<T, Failure> {
    parts.metrics.auth_failures.increment(1);
    Err(Failure::Refused(Refusal::new(
        reason,
        "Give the identity as user name and this charger's password.",
    )))
}
