//! Checks whether a server is ready, with the first bytes of its own protocol and without a client library.
//!
//! An accepted TCP connection is not enough: PostgreSQL listens while it still recovers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(500);

/// AMQP 0.9.1, section 4.2.2: the server answers the protocol header with Connection.Start, a method frame (type 1).
pub(crate) fn speaks_amqp(port: u16) -> bool {
    first_byte_after(b"AMQP\x00\x00\x09\x01", port) == Some(1)
}

/// PostgreSQL, "Message Formats": a `StartupMessage` is answered with an authentication request (`R`) when the server
/// takes connections and with an error (`E`) while it starts, recovers or stops.
pub(crate) fn speaks_postgres(port: u16, user: &str, database: &str) -> bool {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for word in ["user", user, "database", database, ""] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&body);
    first_byte_after(&message, port) == Some(b'R')
}

/// The first byte of the server's answer to `message`.
fn first_byte_after(message: &[u8], port: u16) -> Option<u8> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(message).ok()?;
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    Some(first[0])
}
