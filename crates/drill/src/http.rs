//! Questions to the roles' HTTP, as a person with `curl` would ask them.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_MAX: Duration = Duration::from_millis(500);
/// A page of a thousand items from a database that is slow on purpose takes its time.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// `GET`: the status and the body.
///
/// # Errors
/// When nobody answers in time, or not in HTTP.
pub(super) fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: drill\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    read(&String::from_utf8_lossy(&answer))
}

fn read(answer: &str) -> Result<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => bail!("no HTTP answer: {head}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nbody\r\n\r\nmore";
        assert_eq!(read(answer).unwrap(), (503, "body\r\n\r\nmore".to_owned()));
        assert!(read("HTTP/1.0 200").is_err());
        assert!(read("nonsense\r\n\r\n").is_err());
    }
}
