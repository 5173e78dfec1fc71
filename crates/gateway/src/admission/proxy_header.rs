//! The PROXY protocol (versions 1 and 2): a header with which a proxy begins a connection, before any byte of HTTP or TLS.

use crate::admission::check::Failure;
use crate::admission::handshake::Refusal;
use crate::admission::reason::Reason;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a header at most: the longest of version 1 has 107, that of version 2 its addresses and a few kilobytes of
/// what a load balancer adds.
const BYTES_MAX: usize = 4 << 10;
/// The first bytes of the two versions.
const SIGNATURES: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// A header that names the source of the connection.
    Source(SocketAddr),
    /// A header without an address: a health check of the proxy, or a connection whose source it does not know.
    NoAddress,
    /// No header.
    NoHeader,
}

/// Whether these first bytes are those of a PROXY protocol header; `None` while that is open.
pub(super) fn is_header(bytes: &[u8]) -> Option<bool> {
    let mut may_be = false;
    for signature in SIGNATURES {
        if bytes.starts_with(signature) {
            return Some(true);
        }
        may_be |= signature.starts_with(bytes);
    }
    (!may_be).then_some(false)
}

/// Reads the header, at most [`BYTES_MAX`] bytes of it, within `timeout`. Returns what the connection begins with, and the
/// bytes that were read and do not belong to the header.
pub(super) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
    timeout: Duration,
) -> Result<(Begin, Vec<u8>), Failure> {
    let mut bytes = Vec::with_capacity(256);
    let reading = async {
        loop {
            if bytes.len() > BYTES_MAX {
                return Err(bad("it is too long"));
            }
            if socket.read_buf(&mut bytes).await? == 0 {
                return Err(Failure::Gone);
            }
            match is_header(&bytes) {
                Some(false) => return Ok((Begin::NoHeader, 0)),
                Some(true) => {}
                None => continue,
            }
            match parse(&bytes) {
                Ok(parsed) => return Ok(parsed),
                // The line of version 1 has ended, and is too short.
                Err(Error::BufferTooShort)
                    if bytes.starts_with(SIGNATURES[0]) && bytes.contains(&b'\n') =>
                {
                    return Err(bad("it cannot be read"));
                }
                Err(Error::BufferTooShort) => {}
                Err(_) => return Err(bad("it cannot be read")),
            }
        }
    };
    let read = tokio::time::timeout(timeout, reading).await;
    match read {
        Ok(Ok((begin, end))) => Ok((begin, bytes.split_off(end))),
        Ok(Err(failure)) => Err(failure),
        Err(_) if bytes.is_empty() => Err(Failure::Silent),
        // A request that is shorter than a signature is not one either.
        Err(_) => Err(bad("it is not complete in time")),
    }
}

fn bad(why: &str) -> Failure {
    let sentence = format!("The PROXY protocol header is not accepted: {why}.");
    Refusal::new(Reason::BadProxyHeader, sentence).into()
}

/// The header at the beginning of `bytes`, and its length.
fn parse(bytes: &[u8]) -> Result<(Begin, usize), Error> {
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    let (header, end) = ProxyHeader::parse(bytes, config)?;
    let begin = match header.proxied_address() {
        Some(address) => Begin::Source(address.source),
        None => Begin::NoAddress,
    };
    Ok((begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const V2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x0a\x00\x00\x01\x12\x67\x23\x28";

    async fn begin(bytes: &[u8]) -> Result<(Begin, Vec<u8>), &'static str> {
        let mut socket = Cursor::new(bytes.to_vec());
        let read = read(&mut socket, Duration::from_secs(5)).await;
        read.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal.reason.line(),
            Failure::Gone => "gone",
            Failure::Silent => "silent",
            Failure::Displaced => "displaced",
        })
    }

    fn source(text: &str) -> Begin {
        Begin::Source(text.parse().expect("an address"))
    }

    #[tokio::test]
    async fn both_versions_name_the_source_and_leave_the_rest() {
        let rest = b"GET / HTTP/1.1".to_vec();
        for (header, expected) in [
            (
                &b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 9000\r\n"[..],
                source("203.0.113.9:4711"),
            ),
            (
                b"PROXY TCP6 2a00::7 2a00::8 4711 9000\r\n",
                source("[2a00::7]:4711"),
            ),
            (b"PROXY UNKNOWN\r\n", Begin::NoAddress),
            (V2, source("203.0.113.9:4711")),
            // LOCAL: a health check of the proxy.
            (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", Begin::NoAddress),
        ] {
            let bytes = [header, &rest].concat();
            assert_eq!(begin(&bytes).await, Ok((expected, rest.clone())));
        }
    }

    #[tokio::test]
    async fn other_bytes_are_no_header_and_are_kept() {
        for bytes in [
            &b"GET /ocpp/CP-1"[..],
            b"PROPFIND / HTTP/1.1",
            b"\x16\x03\x01",
        ] {
            assert_eq!(begin(bytes).await, Ok((Begin::NoHeader, bytes.to_vec())));
        }
    }

    #[tokio::test]
    async fn a_header_that_is_broken_or_endless_is_refused() {
        let endless = [b"PROXY ", &[b'x'; 100_000][..]].concat();
        let mut long_v2 = V2.to_vec();
        long_v2[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        long_v2.resize(100_000, 0);
        for bytes in [
            &b"PROXY TCP4 203.0.113.999 10.0.0.1 4711 9000\r\n"[..],
            b"PROXY TCP4\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c............",
            &endless,
            &long_v2,
        ] {
            assert_eq!(begin(bytes).await, Err(Reason::BadProxyHeader.line()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_comes_slowly_has_a_deadline() {
        let (mut peer, mut socket) = tokio::io::duplex(64);
        let sending = async {
            use tokio::io::AsyncWriteExt;
            for byte in b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 9000\r\n" {
                let _ = peer.write_all(&[*byte]).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
        };
        let read = tokio::select! {
            read = read(&mut socket, Duration::from_secs(5)) => read,
            () = sending => panic!("pending"),
        };
        assert!(
            matches!(read, Err(Failure::Refused(refusal)) if refusal.reason == Reason::BadProxyHeader)
        );
    }
}
