//! Is the server there? Asked in its own language, without a client library.
//!
//! A port that can be connected to proves little: PostgreSQL listens while it still recovers. So we say hello as a
//! client would, and wait for the first words that only a server which takes work says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(500);

/// AMQP 0.9.1, section 4.2.2: the server answers the protocol header with Connection.Start, a method frame (type 1).
pub(crate) fn speaks_amqp(port: u16) -> bool {
    first_byte(port, b"AMQP\x00\x00\x09\x01") == Some(1)
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
    let mut hello = length.to_be_bytes().to_vec();
    hello.extend_from_slice(&body);
    first_byte(port, &hello) == Some(b'R')
}

fn first_byte(port: u16, hello: &[u8]) -> Option<u8> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(hello).ok()?;
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    Some(first[0])
}
