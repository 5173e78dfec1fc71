//! Parses a charger's HTTP upgrade request and writes the answer. Pure, so that every odd handshake seen in the field is
//! a row in a table of tests.
//!
//! Deviations are tolerated where they do no harm (no `Connection: Upgrade`, a whole URL in the path, doubled slashes),
//! and refused where a mistake would give a charger the wrong identity. Every refusal says what would be right.

use crate::admission::reason::Reason;
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
    pub(crate) authorization: Authorization,
    /// Whether a required header was missing and is taken as present.
    pub(crate) repaired: bool,
    /// `X-Forwarded-For`, all of them joined by commas.
    pub(crate) x_forwarded_for: String,
    /// `Forwarded`, all of them joined by commas.
    pub(crate) forwarded: String,
    is_get: bool,
    is_soap: bool,
    says_upgrade: bool,
    says_connection: bool,
    /// Whether `Sec-WebSocket-Version` is 13; `None` when absent.
    is_version_13: Option<bool>,
}

/// The header `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Authorization {
    #[default]
    Missing,
    /// What `Basic` decodes to.
    Basic(Vec<u8>),
    /// `Basic`, and then something that is not Base64.
    BrokenBase64,
    /// Another scheme, such as `Bearer`.
    OtherScheme,
}

/// Why a handshake is refused: the reason, and one sentence for the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) sentence: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        Self {
            reason,
            sentence: sentence.into(),
        }
    }

    pub(crate) const fn status(&self) -> Status {
        self.reason.status()
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

/// Parses the complete head of any HTTP request.
///
/// # Errors
/// With the answer when it is none.
pub(crate) fn parse(head: &[u8]) -> Result<Request, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => {
            return Err(malformed("The request ends before its head is complete."));
        }
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(
                Reason::HeadTooLarge,
                format!("A request may have at most {HEADERS_MAX} header fields."),
            ));
        }
        Err(error) => {
            return Err(malformed(format!(
                "This is not an HTTP/1.1 request: {error}."
            )));
        }
    }
    let mut request = Request {
        target: parsed.path.unwrap_or_default().to_owned(),
        is_get: parsed.method == Some("GET"),
        ..Request::default()
    };
    for header in parsed.headers.iter() {
        let value = header.value.trim_ascii();
        match_name(header.name, |name| request.read_header(name, value));
    }
    Ok(request)
}

impl Request {
    fn read_header(&mut self, name: &str, value: &[u8]) {
        match name {
            "upgrade" => self.says_upgrade |= has_word(value, b"websocket"),
            "connection" => self.says_connection |= has_word(value, b"upgrade"),
            "sec-websocket-version" => self.is_version_13 = Some(value == b"13"),
            "sec-websocket-key" => self.key = String::from_utf8_lossy(value).into_owned(),
            "sec-websocket-protocol" => self.protocols.extend(
                String::from_utf8_lossy(value)
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty()),
            ),
            "sec-websocket-extensions" => append(&mut self.extensions, value),
            "authorization" => self.authorization = authorization(value),
            "x-forwarded-for" => append(&mut self.x_forwarded_for, value),
            "forwarded" => append(&mut self.forwarded, value),
            "soapaction" => self.is_soap = true,
            "content-type" => {
                let value = value.to_ascii_lowercase();
                self.is_soap |=
                    value.starts_with(b"application/soap+xml") || value.starts_with(b"text/xml");
            }
            _ => {}
        }
    }

    /// Checks that it is a WebSocket upgrade. A missing `Connection: Upgrade` or `Sec-WebSocket-Version` is taken as
    /// present (quirk 2). A missing `Upgrade: websocket` is not: a proxy that removes it does not pass on frames either.
    ///
    /// # Errors
    /// With the answer when it is none.
    pub(crate) fn check_upgrade(&mut self) -> Result<(), Refusal> {
        if !self.says_upgrade {
            return Err(self.not_an_upgrade());
        }
        if !self.is_get {
            return Err(Refusal::new(
                Reason::NotGet,
                "A charger connects with GET and a WebSocket upgrade.",
            ));
        }
        if self.key.is_empty() {
            return Err(Refusal::new(
                Reason::NoKey,
                "The upgrade lacks its Sec-WebSocket-Key.",
            ));
        }
        if self.is_version_13 == Some(false) {
            return Err(Refusal::new(
                Reason::WebSocketVersion,
                "Only version 13 of the WebSocket protocol is supported.",
            ));
        }
        self.repaired = !self.says_connection || self.is_version_13.is_none();
        Ok(())
    }

    fn not_an_upgrade(&self) -> Refusal {
        if self.is_soap {
            return Refusal::new(
                Reason::Soap,
                format!(
                    "OCPP-S (SOAP) is not supported. Supported is OCPP-J (JSON over WebSocket) with the subprotocols {}: \
                     point the charger at {URL}.",
                    subprotocols()
                ),
            );
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let is_api =
            path == "/metrics" || path.starts_with("/api/") || path.starts_with("/health/");
        let reason = match is_api {
            true => Reason::ApiRequest,
            false => Reason::PlainHttp,
        };
        Refusal::new(
            reason,
            format!(
                "This is Wattpost's port for chargers: OCPP over WebSocket, and this request has no Upgrade: websocket. \
                 Point a charger at {URL}; the HTTP API has a port of its own."
            ),
        )
    }
}

/// What a charger's URL looks like.
const URL: &str = "ws://HOST:9000/ocpp/{identity}";

fn subprotocols() -> String {
    Version::ALL.map(Version::subprotocol).join(", ")
}

fn malformed(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Malformed, sentence)
}

fn bad_identity(sentence: &str) -> Refusal {
    Refusal::new(Reason::BadIdentity, sentence)
}

/// Appends the value of a header that may come several times.
fn append(all: &mut String, value: &[u8]) {
    if !all.is_empty() {
        all.push(',');
    }
    all.push_str(&String::from_utf8_lossy(value));
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

fn authorization(value: &[u8]) -> Authorization {
    let scheme_end = value.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = value.split_at(scheme_end.unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Authorization::OtherScheme;
    }
    match LENIENT_BASE64.decode(rest.trim_ascii()) {
        Ok(credentials) => Authorization::Basic(credentials),
        Err(_) => Authorization::BrokenBase64,
    }
}

/// A path of only one of these segments lacks the identity: they usually precede one. In any letter case.
const PATHS_WITHOUT_IDENTITY: [&str; 7] = [
    "ocpp",
    "ocppj",
    "ocpp1.6",
    "ocpp2.0.1",
    "ocpp2.1",
    "ws",
    "websocket",
];

/// The last segment of a request target's path, as it came.
pub(crate) fn last_segment(target: &str) -> &str {
    segments(target).next().unwrap_or_default()
}

/// The segments of a request target's path that are not empty, the last one first.
fn segments(target: &str) -> impl Iterator<Item = &str> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    // A whole URL as the request target or inside the path (quirk 4): its own path counts.
    let path = match path.rfind("://") {
        Some(at) => {
            let rest = &path[at + 3..];
            rest.find('/').map_or("", |slash| &rest[slash..])
        }
        None => path,
    };
    path.rsplit('/').filter(|segment| !segment.is_empty())
}

/// The identity in a request target: its last path segment, percent-decoded once (rule C-1).
///
/// # Errors
/// When there is none, or when it contains characters that are not allowed.
pub(crate) fn identity(target: &str) -> Result<String, Refusal> {
    let mut segments = segments(target);
    let segment = segments.next().unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| {
            bad_identity("The identity (the last part of the URL's path) is not UTF-8.")
        })?;
    let is_prefix = |name: &&str| name.eq_ignore_ascii_case(&decoded);
    let is_forgotten = segments.next().is_none() && PATHS_WITHOUT_IDENTITY.iter().any(is_prefix);
    if decoded.trim().is_empty() || is_forgotten {
        return Err(Refusal::new(
            Reason::NoIdentity,
            format!(
                "The URL names no charger: its last part must be the charger's identity, as in {URL}. Any path may \
                 precede it."
            ),
        ));
    }
    if decoded == "." || decoded == ".." {
        return Err(bad_identity("The identity must not be `.` or `..`."));
    }
    if decoded.contains(['/', '\\']) {
        return Err(bad_identity("The identity must not contain a slash."));
    }
    if decoded.chars().any(char::is_control) {
        return Err(bad_identity(
            "The identity must not contain control characters.",
        ));
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
        return Err(Refusal::new(
            Reason::LongIdentity,
            format!(
                "The identity has {} bytes; with OCPP {version} it may have at most {max}.",
                identity.len()
            ),
        ));
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
            let ours = subprotocols();
            Err(if protocols.is_empty() {
                Refusal::new(
                    Reason::NoSubprotocol,
                    format!("Name a subprotocol in Sec-WebSocket-Protocol; supported: {ours}."),
                )
            } else {
                Refusal::new(
                    Reason::OtherSubprotocol,
                    format!("None of the offered subprotocols is supported; supported: {ours}."),
                )
            })
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
    // RFC 9110, section 7.8: Connection names the header Upgrade.
    let connection = match refusal.status() {
        Status::UpgradeRequired => "upgrade, close",
        _ => "close",
    };
    let extra = match refusal.status() {
        Status::Unauthorized => {
            "WWW-Authenticate: Basic realm=\"OCPP\", charset=\"UTF-8\"\r\n".to_owned()
        }
        Status::MethodNotAllowed => "Allow: GET\r\n".to_owned(),
        Status::UpgradeRequired => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        Status::Unavailable => format!("Retry-After: {retry_after_s}\r\n"),
        Status::BadRequest | Status::NotFound | Status::HeadTooLarge => String::new(),
    };
    format!(
        "HTTP/1.1 {}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}\n",
        refusal.status().line(),
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
