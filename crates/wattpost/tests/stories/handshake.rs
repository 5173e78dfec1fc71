//! WebSocket handshakes, for tests that check the HTTP status.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The HTTP status of a handshake, and the head of the answer.
pub(crate) fn handshake_status(server: SocketAddr, identity: &str) -> (u16, String) {
    handshake_status_with(server, identity, "")
}

/// As [`handshake_status`], with additional header lines.
pub(crate) fn handshake_status_with(
    server: SocketAddr,
    identity: &str,
    lines: &str,
) -> (u16, String) {
    let (head, _) = send_handshake(server, identity, "ocpp1.6", lines).expect("connect and send");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"));
    (status, head)
}

/// Sends a handshake and reads the head of the answer, or what comes before the connection ends.
pub(crate) fn send_handshake(
    server: SocketAddr,
    identity: &str,
    subprotocol: &str,
    lines: &str,
) -> std::io::Result<(String, TcpStream)> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(15)))?;
    let head = send_handshake_on(&mut socket, identity, subprotocol, lines)?;
    Ok((head, socket))
}

/// As [`send_handshake`], on a connection that is open.
pub(crate) fn send_handshake_on(
    socket: &mut (impl Read + Write),
    identity: &str,
    subprotocol: &str,
    lines: &str,
) -> std::io::Result<String> {
    let request = format!(
        "GET /ocpp/{identity} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n{lines}\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
