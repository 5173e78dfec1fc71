//! The WebSocket handshake of a charger: TCP, the HTTP upgrade, the subprotocol.
//!
//! The WebSocket library takes over after the handshake only, because a charger needs the status and `Retry-After` of a
//! refusal for its back-off. `Sec-WebSocket-Accept` is not verified.

use crate::charger::Refusal;
use crate::config::setting_error;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::settings::SettingError;
use ocpp::Version;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use yawc::{Options, Role, WebSocket};

/// Timeout of the whole handshake, TCP included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum length of a response head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Maximum length of a frame from the central system, in bytes.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Initial size of a connection's buffers: small, because a process has thousands of connections.
const BUFFER_BYTES: usize = 1024;

/// The characters that are percent-encoded in a path segment: all but the unreserved ones of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A charger's connection.
pub(crate) type Socket = WebSocket<TcpStream>;

/// The parsed URL of the central system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectError {
    /// The kind, by which failures are counted: `unreachable`, `HTTP 503`, …
    pub(crate) kind: String,
    /// All details.
    pub(crate) detail: String,
    /// The input of the charger's back-off.
    pub(crate) refusal: Refusal,
}

impl ConnectError {
    fn new(kind: &str, detail: impl ToString) -> Self {
        Self {
            kind: kind.to_owned(),
            detail: detail.to_string(),
            refusal: Refusal::NONE,
        }
    }
}

impl Target {
    /// Parses `ws://HOST[:PORT][/PATH]`.
    pub(crate) fn parse(url: &str) -> Result<Self, SettingError> {
        let invalid = || setting_error("url", format!("{url:?}"), "ws://HOST:PORT/PATH, plain ws");
        let rest = url.trim().strip_prefix("ws://").ok_or_else(invalid)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let has_port = authority
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let (host, port) = match has_port {
            Some((host, port)) => (host, port.parse().map_err(|_| invalid())?),
            None => (authority, 80),
        };
        let is_forbidden =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@');
        if host.is_empty() || url.trim().contains(is_forbidden) {
            return Err(invalid());
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// Opens the connection of the charger `id`, from the address `source` if there is one.
    pub(crate) async fn connect(
        &self,
        id: &str,
        version: Version,
        password: Option<&str>,
        source: Option<Ipv4Addr>,
    ) -> Result<Box<Socket>, ConnectError> {
        let upgrade = self.upgrade(id, version, password, source);
        match tokio::time::timeout(CONNECT_TIMEOUT, upgrade).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::new(
                "handshake timeout",
                "no complete response in time",
            )),
        }
    }

    async fn upgrade(
        &self,
        id: &str,
        version: Version,
        password: Option<&str>,
        source: Option<Ipv4Addr>,
    ) -> Result<Box<Socket>, ConnectError> {
        let mut stream = self
            .open(source)
            .await
            .map_err(|error| ConnectError::new("unreachable", error))?;
        let aborted = |error: std::io::Error| ConnectError::new("handshake aborted", error);
        stream.set_nodelay(true).map_err(aborted)?;
        let request = self.request(id, version, password);
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(aborted)?;
        let head = read_head(&mut stream).await.map_err(aborted)?;
        check_response(&head, version)?;
        let options = Options::default()
            .without_compression()
            .with_limits(FRAME_BYTES_MAX, FRAME_BYTES_MAX)
            .with_read_buffer_capacity(BUFFER_BYTES)
            .with_write_buffer_capacity(BUFFER_BYTES);
        WebSocket::from_stream(stream, Role::Client, options)
            .map(Box::new)
            .map_err(|error| ConnectError::new("handshake aborted", error))
    }

    async fn open(&self, source: Option<Ipv4Addr>) -> std::io::Result<TcpStream> {
        let Some(source) = source else {
            return TcpStream::connect((self.host.as_str(), self.port)).await;
        };
        let host = self.host.parse().map_err(std::io::Error::other)?;
        let socket = TcpSocket::new_v4()?;
        // Otherwise a port that one address uses would be taken for all others.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((source, 0)))?;
        socket.connect(SocketAddr::new(host, self.port)).await
    }

    fn request(&self, id: &str, version: Version, password: Option<&str>) -> String {
        let segment = utf8_percent_encode(id, SEGMENT);
        let key = BASE64_STANDARD.encode(fastrand::u128(..).to_le_bytes());
        let authorization = password.map_or_else(String::new, |password| {
            let credentials = BASE64_STANDARD.encode(format!("{id}:{password}"));
            format!("Authorization: Basic {credentials}\r\n")
        });
        format!(
            "GET {}/{segment} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Protocol: {}\r\n{authorization}\r\n",
            self.path,
            self.authority,
            version.subprotocol(),
        )
    }
}

/// Reads the head of the response and no byte of the frames that follow it.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    let mut chunk = [0; 512];
    loop {
        let peeked = stream.peek(&mut chunk).await?;
        if peeked == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend_from_slice(&chunk[..peeked]);
        let from = before.saturating_sub(3);
        let end = head[from..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| from + at + 4);
        head.truncate(end.unwrap_or(head.len()));
        let taken = head.len() - before;
        stream.read_exact(&mut chunk[..taken]).await?;
        if end.is_some() {
            return Ok(head);
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(std::io::Error::other(
                "the head of the response is too long",
            ));
        }
    }
}

/// Checks that the response is an upgrade to the offered version.
fn check_response(head: &[u8], version: Version) -> Result<(), ConnectError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    response
        .parse(head)
        .map_err(|error| ConnectError::new("not HTTP", error))?;
    let header = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    let status = response.code.unwrap_or(0);
    if status != 101 {
        let meaning = match status {
            401 | 403 => ": the password is wrong or missing",
            404 => ": the charger is unknown",
            503 => ": the central system is unavailable",
            _ => "",
        };
        let retry_after = header("Retry-After")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        return Err(ConnectError {
            kind: format!("HTTP {status}"),
            detail: format!("refused with HTTP {status}{meaning}"),
            refusal: Refusal {
                status: Some(status),
                retry_after,
            },
        });
    }
    match header("Sec-WebSocket-Protocol") {
        Some(name) if Version::from_subprotocol(name) == Some(version) => Ok(()),
        other => Err(ConnectError::new(
            "wrong subprotocol",
            format!("offered {}, got {other:?}", version.subprotocol()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_urls_are_parsed_and_others_refused() {
        let target = Target::parse("ws://127.0.0.1:9000/ocpp/").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("127.0.0.1", 9000));
        assert_eq!(target.path, "/ocpp");
        assert_eq!(Target::parse("ws://localhost").unwrap().port, 80);
        let six = Target::parse("ws://[::1]:9000/a/b").unwrap();
        assert_eq!((six.host.as_str(), six.path.as_str()), ("::1", "/a/b"));
        for bad in [
            "wss://a",
            "a:1",
            "ws://",
            "ws://a:x",
            "ws://a/ b",
            "ws://a?x",
            "ws://a:99999",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_request_has_the_encoded_identity_and_the_version() {
        let target = Target::parse("ws://127.0.0.1:1/ocpp").unwrap();
        let request = target.request("a/b c", Version::V16, Some("secret"));
        assert!(request.starts_with("GET /ocpp/a%2Fb%20c HTTP/1.1\r\n"));
        assert!(request.contains("Sec-WebSocket-Protocol: ocpp1.6\r\n"));
        assert!(request.contains(&BASE64_STANDARD.encode("a/b c:secret")));
    }

    #[test]
    fn a_refusal_has_its_status_and_retry_after() {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\n\r\n";
        let failure = check_response(head, Version::V16).unwrap_err();
        assert_eq!(failure.kind, "HTTP 503");
        assert_eq!(failure.refusal.retry_after, Some(Duration::from_secs(7)));
        let head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n";
        assert!(check_response(head, Version::V16).is_ok());
        assert_eq!(
            check_response(head, Version::V201).unwrap_err().kind,
            "wrong subprotocol"
        );
        assert_eq!(
            check_response(b"\x16\x03\x01\r\n\r\n", Version::V16)
                .unwrap_err()
                .kind,
            "not HTTP"
        );
    }
}
