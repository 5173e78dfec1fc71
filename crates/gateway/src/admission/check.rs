//! Reads the request of a handshake and checks it: the rates, the identity, the version, the password.

use crate::admission::auth::Verdict;
use crate::admission::handshake::{self, Authorization, Refusal, Request};
use crate::admission::log::Attempt;
use crate::admission::peer::Peer;
use crate::admission::proxy_header;
use crate::admission::reason::Reason;
use crate::config::ListenerConfig;
use crate::connection::frames::Line;
use crate::directory::{Credentials, PasswordMark};
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
    /// The password that it gave, if one was required or it gave a new one.
    pub(super) admitted_by: Option<PasswordMark>,
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
    attempt.set_judged_by(parts.directory.revision());
    let profile = parts.directory.charger(&key);
    if profile.is_none() && parts.admission.policy.unknown_charger == UnknownCharger::Reject {
        return Err(Refusal::new(
            Reason::UnknownCharger,
            "No charger of this identity is known here; it must be added first.",
        )
        .into());
    }
    let admitted_by = authenticate(&request, &key, peer, listener, attempt, parts).await?;
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
        admitted_by,
        deflate,
    })
}

/// Checks the password, if one is required or a new one was sent to the charger; returns which one it gave. After a wrong
/// one the directory is read again, because the password may have been changed a moment ago.
async fn authenticate(
    request: &Request,
    key: &ChargerKey,
    peer: Peer,
    listener: &ListenerConfig,
    attempt: &mut Attempt,
    parts: &Parts,
) -> Result<Option<PasswordMark>, Failure> {
    let identity = attempt.identity().to_owned();
    let judge = async |credentials: &Credentials| {
        try_credentials(credentials, request, &identity, key, peer, listener, parts).await
    };
    let credentials = parts.directory.credentials(key);
    let mut result = judge(&credentials).await;
    if refused_for(&result) == Some(Reason::WrongPassword) {
        parts.directory.reread().await;
        attempt.set_judged_by(parts.directory.revision());
        let newer = parts.directory.credentials(key);
        if newer != credentials {
            result = judge(&newer).await;
        }
    }
    // Once for a handshake, however often it was tried.
    if refused_for(&result).is_some_and(|reason| reason != Reason::NotNow) {
        parts.metrics.auth_failures.increment(1);
    }
    result
}

fn refused_for<T>(result: &Result<T, Failure>) -> Option<Reason> {
    match result {
        Err(Failure::Refused(refusal)) => Some(refusal.reason),
        Ok(_) | Err(_) => None,
    }
}

async fn try_credentials(
    credentials: &Credentials,
    request: &Request,
    identity: &str,
    key: &ChargerKey,
    peer: Peer,
    listener: &ListenerConfig,
    parts: &Parts,
) -> Result<Option<PasswordMark>, Failure> {
    let is_required = credentials.current.is_some() || listener.security_profile > 0;
    if *credentials == Credentials::default() {
        return match is_required {
            true => unauthorized(Reason::NoPasswordSet),
            false => Ok(None),
        };
    }
    let password = match given_password(request, identity, key, parts) {
        Ok(password) => password,
        Err(reason) if is_required => return unauthorized(reason),
        Err(_) => return Ok(None),
    };
    let mut is_unusable = false;
    // The new one first: a charger that has it uses it from now on.
    let new = credentials.new.iter().map(|hash| (hash, true));
    let current = credentials.current.iter().map(|hash| (hash, false));
    for (stored, is_new) in new.chain(current) {
        let passwords = &parts.admission.passwords;
        let checking = passwords.check(stored, password, peer.address(), key);
        match checking.await {
            Verdict::Correct => {
                let mark = PasswordMark::of(stored);
                if is_new {
                    parts.directory.confirm().await;
                    let newest = parts.directory.credentials(key);
                    if newest.current.is_some() && !newest.admit(Some(mark)) {
                        continue;
                    }
                    if newest.new.as_ref() == Some(stored) {
                        parts.directory.logged_in(key, stored).await;
                    }
                }
                return Ok(Some(mark));
            }
            Verdict::Wrong => {}
            Verdict::Busy(share) => {
                parts.metrics.password_not_checked(share);
                return Err(Refusal::new(
                    Reason::NotNow,
                    "Too many passwords wait for their check; come back in a moment.",
                )
                .into());
            }
            Verdict::Unusable => is_unusable = true,
        }
    }
    match (is_required, is_unusable) {
        (false, _) => Ok(None),
        (true, true) => unauthorized(Reason::UnusableHash),
        (true, false) => unauthorized(Reason::WrongPassword),
    }
}

/// The password in the request, or why there is none.
fn given_password<'a>(
    request: &'a Request,
    identity: &str,
    key: &ChargerKey,
    parts: &Parts,
) -> Result<&'a [u8], Reason> {
    let credentials = match &request.authorization {
        Authorization::Basic(credentials) => credentials,
        Authorization::Missing => return Err(Reason::NoPassword),
        Authorization::BrokenBase64 => return Err(Reason::BrokenBase64),
        Authorization::OtherScheme => return Err(Reason::OtherScheme),
    };
    let Some((user, password)) = handshake::split_credentials(credentials, identity) else {
        return Err(Reason::NoColon);
    };
    let is_same = std::str::from_utf8(user).is_ok_and(|user| ChargerKey::of(user) == *key);
    match parts.config.user_must_be_identity && !is_same {
        true => Err(Reason::OtherUser),
        false => Ok(password),
    }
}

/// Refuses with the same answer whatever is wrong with the credentials, so that a guess learns nothing; the log has the
/// reason.
fn unauthorized<T>(reason: Reason) -> Result<T, Failure> {
    Err(Failure::Refused(Refusal::new(
        reason,
        "Give the identity as user name and this charger's password.",
    )))
}
