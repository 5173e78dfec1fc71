//! A minimal HTTP client for health, metrics and the API, so that tests and drills need no client library.

use anyhow::{Context as _, bail};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than the longest `wait` of the API, and long enough for a page of a thousand items from a database that is slow on
/// purpose.
const READ_TIMEOUT: Duration = Duration::from_secs(70);

/// Status and body of a `GET`.
///
/// # Errors
///
/// There is no answer in time, or it is not HTTP.
pub fn get(server: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    send(server, "GET", path, "", "")
}

/// Status and body of the answer to any request. `lines` are header lines, each with its `\r\n`. The body is sent as JSON if
/// it is not empty.
///
/// # Errors
///
/// There is no answer within 70 s (longer than the longest `wait` of the API), or it is not HTTP.
pub fn send(
    server: SocketAddr,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&server, CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let content = match body.is_empty() {
        true => String::new(),
        false => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
    };
    // HTTP/1.0: the answer is not chunked, and the server closes the connection after it.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {server}\r\nConnection: close\r\n{content}{lines}\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
}

/// Status, head and body of a request. `headers` are lines of the head that end with `\r\n`.
///
/// # Errors
///
/// As [`get`].
pub fn request(
    server: SocketAddr,
    method_and_path: &str,
    headers: &str,
    body: &str,
) -> anyhow::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect_timeout(&server, CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    write!(
        stream,
        "{method_and_path} HTTP/1.0\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (status, body) = parse(&answer)?;
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    Ok((status, head.to_owned(), body))
}

fn parse(answer: &str) -> anyhow::Result<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => bail!("no HTTP answer: {head}"),
    }
}

/// The value of one metric in an answer to `GET /metrics`, summed over its labels; none if it is not exported.
pub fn metric(answer: &str, name: &str) -> Option<f64> {
    let samples = answer.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_parsed() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nbody\r\n\r\nmore";
        let parsed = parse(answer).expect("an answer");
        assert_eq!(parsed, (503, "body\r\n\r\nmore".to_owned()));
        assert!(parse("HTTP/1.0 200").is_err());
        assert!(parse("nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn metric_is_summed_over_its_labels_and_only_its_own_samples() {
        let answer = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\na_total 7\n";
        assert_eq!(metric(answer, "a"), Some(5.0));
        assert_eq!(metric(answer, "a_total"), Some(7.0));
        assert_eq!(metric(answer, "b"), None);
    }
}
