//! Parses a charger's HTTP upgrade request and writes the answer. Pure, so that every odd handshake seen in the field is
//! a row in a table of tests.
//!
//! Deviations are tolerated where they do no harm (no `Connection: Upgrade`, a whole URL in the path, doubled slashes),
//! and refused where a mistake would give a charger the wrong identity. Every refusal says what would be right.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use central::model::ChargerKey;
use ocpp::Version;
use sha1::{Digest, Sha1};
use std::fmt::Write;

/// Longest identity of a 1.6 charger, in bytes. The standard has no bound (rule C-3); common systems store this much.
pub(crate) const IDENTITY_MAX_V16: usize = 255;
/// Longest identity of a 2.x charger (rule C-3).
pub(crate) const IDENTITY_MAX_V2: usize = 48;

const HEADERS_MAX: usize = 64;
/// RFC 6455, section 1.3.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Base64 as chargers write it: with or without padding.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a charger asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Request {
    /// The request target, as sent.
    pub(crate) target: String,
    /// `Sec-WebSocket-Key`; empty when absent.
    pub(crate) key: String,
    /// The subprotocols offered, in the charger's order.
    pub(crate) protocols: Vec<String>,
    /// `Sec-WebSocket-Extensions`, all of them joined by commas.
    pub(crate) extensions: String,
    /// What `Authorization: Basic` decodes to.
    pub(crate) credentials: Option<Vec<u8>>,
    /// Whether a required header was missing and is taken as present.
    pub(crate) repaired: bool,
}

/// Why a handshake is refused: an HTTP status and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) sentence: String,
}

impl Refusal {
    pub(crate) fn new(status: Status, sentence: impl Into<String>) -> Self {
        Self {
            status,
            sentence: sentence.into(),
        }
    }
}

/// The statuses that a handshake can be refused with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    BadRequest,
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    UpgradeRequired,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    pub(crate) const ALL: [Self; 7] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::HeadTooLarge,
        Self::Unavailable,
    ];

    const fn line(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorized => "401 Unauthorized",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::UpgradeRequired => "426 Upgrade Required",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }

    /// The number, as text.
    pub(crate) fn code(self) -> &'static str {
        &self.line()[..3]
    }
}

/// The end of the request's head in `bytes`, if all of it is there. `from` is the length that was scanned before, so that
/// a head that arrives in small parts is scanned once.
pub(crate) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    bytes[start..]
        .windows(2)
        .enumerate()
        .find_map(|(i, pair)| match pair {
            // Bare line feeds are tolerated, as httparse does.
            b"\n\n" => Some(start + i + 2),
            b"\n\r" if bytes.get(start + i + 2) == Some(&b'\n') => Some(start + i + 3),
            _ => None,
        })
}

/// Parses a whole head.
///
/// # Errors
/// With the answer when it is not a WebSocket upgrade.
pub(crate) fn parse(head: &[u8]) -> Result<Request, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => {
            return Err(bad("The request ends before its head is complete."));
        }
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(
                Status::HeadTooLarge,
                format!("A request may have at most {HEADERS_MAX} header fields."),
            ));
        }
        Err(error) => {
            return Err(bad(format!("This is not an HTTP/1.1 request: {error}.")));
        }
    }
    if parsed.method != Some("GET") {
        return Err(Refusal::new(
            Status::MethodNotAllowed,
            "A charger connects with GET and a WebSocket upgrade.",
        ));
    }
    let mut request = Request {
        target: parsed.path.unwrap_or_default().to_owned(),
        ..Request::default()
    };
    let (mut says_upgrade, mut says_connection, mut version) = (false, false, None);
    for header in parsed.headers.iter() {
        let value = header.value.trim_ascii();
        match_name(header.name, |name| match name {
            "upgrade" => says_upgrade |= has_word(value, b"websocket"),
            "connection" => says_connection |= has_word(value, b"upgrade"),
            "sec-websocket-version" => version = Some(value == b"13"),
            "sec-websocket-key" => request.key = String::from_utf8_lossy(value).into_owned(),
            "sec-websocket-protocol" => request.protocols.extend(
                String::from_utf8_lossy(value)
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty()),
            ),
            "sec-websocket-extensions" => {
                if !request.extensions.is_empty() {
                    request.extensions.push(',');
                }
                request.extensions.push_str(&String::from_utf8_lossy(value));
            }
            "authorization" => request.credentials = basic(value),
            _ => {}
        });
    }
    if request.key.is_empty() {
        return Err(if says_upgrade {
            bad("The upgrade lacks its Sec-WebSocket-Key.")
        } else {
            Refusal::new(Status::UpgradeRequired, USAGE)
        });
    }
    if version == Some(false) {
        return Err(Refusal::new(
            Status::UpgradeRequired,
            "Only version 13 of the WebSocket protocol is supported.",
        ));
    }
    request.repaired = !says_upgrade || !says_connection || version.is_none();
    Ok(request)
}

const USAGE: &str = "This is Wattpost's port for chargers: OCPP over WebSocket. \
    Point a charger at ws://HOST:PORT/ocpp/IDENTITY; the HTTP API has a port of its own.";

fn bad(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Status::BadRequest, sentence)
}

/// Calls `f` with the name in lower case; skips names longer than any known one.
fn match_name(name: &str, f: impl FnOnce(&str)) {
    let mut lower = [0; 32];
    if let Some(lower) = lower.get_mut(..name.len()) {
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        if let Ok(name) = std::str::from_utf8(lower) {
            f(name);
        }
    }
}

fn has_word(value: &[u8], word: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
}

fn basic(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    LENIENT_BASE64.decode(rest.trim_ascii()).ok()
}

/// The identity in a request target: its last path segment, percent-decoded once (rule C-1).
///
/// # Errors
/// When there is none, or when it contains characters that are not allowed.
pub(crate) fn identity(target: &str) -> Result<String, Refusal> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    // A whole URL as the request target or inside the path (quirk 4): its own path counts.
    let path = match path.rfind("://") {
        Some(at) => {
            let rest = &path[at + 3..];
            rest.find('/').map_or("", |slash| &rest[slash..])
        }
        None => path,
    };
    let segment = path
        .rsplit('/')
        .find(|segment| !segment.is_empty())
        .unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| bad("The identity (the last part of the URL's path) is not UTF-8."))?;
    if decoded.trim().is_empty() {
        return Err(Refusal::new(
            Status::NotFound,
            "The URL names no charger: its last part must be the identity, as in /ocpp/IDENTITY.",
        ));
    }
    if decoded == "." || decoded == ".." {
        return Err(bad("The identity must not be `.` or `..`."));
    }
    if decoded.contains(['/', '\\']) {
        return Err(bad("The identity must not contain a slash."));
    }
    if decoded.chars().any(char::is_control) {
        return Err(bad("The identity must not contain control characters."));
    }
    Ok(decoded.into_owned())
}

/// Checks the identity's length for the version.
///
/// # Errors
/// When it is too long.
pub(crate) fn check_length(identity: &str, version: Version) -> Result<(), Refusal> {
    let max = match version {
        Version::V16 => IDENTITY_MAX_V16,
        Version::V201 | Version::V21 => IDENTITY_MAX_V2,
    };
    if identity.len() > max {
        return Err(bad(format!(
            "The identity has {} bytes; with OCPP {version} it may have at most {max}.",
            identity.len()
        )));
    }
    Ok(())
}

/// Chooses the version: the first supported subprotocol in the charger's order (rule C-6). Returns it with the name to
/// echo, exactly as offered; no name when none was offered.
///
/// # Errors
/// When none is supported (rule C-7: the upgrade is refused).
pub(crate) fn negotiate(
    protocols: &[String],
    assume: Option<Version>,
) -> Result<(Version, Option<&str>), Refusal> {
    let found = protocols
        .iter()
        .find_map(|name| Some((Version::from_subprotocol(name)?, name.as_str())));
    match (found, assume) {
        (Some((version, name)), _) => Ok((version, Some(name))),
        (None, Some(version)) if protocols.is_empty() => Ok((version, None)),
        (None, _) => {
            let ours = Version::ALL.map(Version::subprotocol).join(", ");
            let sentence = if protocols.is_empty() {
                format!("Name a subprotocol in Sec-WebSocket-Protocol; supported: {ours}.")
            } else {
                format!("None of the offered subprotocols is supported; supported: {ours}.")
            };
            Err(bad(sentence))
        }
    }
}

/// Splits Basic credentials into user and password: after the identity if they begin with it in any letter case (an
/// identity of 1.6 may contain a colon), else at the first colon (rule S-4).
pub(crate) fn split_credentials<'a>(
    credentials: &'a [u8],
    identity: &str,
) -> Option<(&'a [u8], &'a [u8])> {
    if let Some((user, rest)) = credentials.split_at_checked(identity.len())
        && std::str::from_utf8(user)
            .is_ok_and(|user| ChargerKey::fold(user) == ChargerKey::fold(identity))
        && let Some(password) = rest.strip_prefix(b":")
    {
        return Some((user, password));
    }
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    Some((&credentials[..colon], &credentials[colon + 1..]))
}

/// The answer that completes the handshake.
pub(crate) fn accepted(key: &str, protocol: Option<&str>, extensions: Option<&str>) -> String {
    let mut sha = Sha1::new();
    sha.update(key.as_bytes());
    sha.update(WEBSOCKET_GUID);
    let accept = STANDARD.encode(sha.finalize());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    // Writing to a string cannot fail.
    if let Some(protocol) = protocol {
        let _ = write!(answer, "Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    if let Some(extensions) = extensions {
        let _ = write!(answer, "Sec-WebSocket-Extensions: {extensions}\r\n");
    }
    answer.push_str("\r\n");
    answer
}

/// The answer that refuses the handshake. `retry_after_s` is sent with a 503.
pub(crate) fn refused(refusal: &Refusal, retry_after_s: u64) -> String {
    let body = &refusal.sentence;
    let extra = match refusal.status {
        Status::Unauthorized => {
            "WWW-Authenticate: Basic realm=\"OCPP\", charset=\"UTF-8\"\r\n".to_owned()
        }
        Status::MethodNotAllowed => "Allow: GET\r\n".to_owned(),
        Status::UpgradeRequired => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        Status::Unavailable => format!("Retry-After: {retry_after_s}\r\n"),
        Status::BadRequest | Status::NotFound | Status::HeadTooLarge => String::new(),
    };
    format!(
        "HTTP/1.1 {}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}\n",
        refusal.status.line(),
        body.len() + 1,
    )
}

/// The accepted permessage-deflate parameters (RFC 7692): the first offer that can be fulfilled, always without context
/// takeover in either direction, because context costs more than a quarter of a megabyte per charger. `None` when no
/// offer is acceptable.
pub(crate) fn agree_deflate(offers: &str) -> Option<String> {
    offers.split(',').find_map(agree_one)
}

fn agree_one(offer: &str) -> Option<String> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut agreed =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
    let mut seen = [false; 4];
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        let place = match (name, value) {
            ("server_no_context_takeover", None) => 0,
            ("client_no_context_takeover", None) => 1,
            ("server_max_window_bits", Some(bits)) => {
                // The compressor does not support a window of 8 bits: such an offer is declined.
                let bits = bits
                    .parse::<u8>()
                    .ok()
                    .filter(|bits| (9..=15).contains(bits))?;
                let _ = write!(agreed, "; server_max_window_bits={bits}");
                2
            }
            // Left out of the answer: the charger may use the full window.
            ("client_max_window_bits", bits) => {
                if let Some(bits) = bits {
                    bits.parse::<u8>()
                        .ok()
                        .filter(|bits| (8..=15).contains(bits))?;
                }
                3
            }
            // RFC 7692, section 7.1: an offer with anything else must be declined.
            _ => return None,
        };
        if std::mem::replace(&mut seen[place], true) {
            return None;
        }
    }
    Some(agreed)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
