//! A small HTTP client that gives the exact bytes of an answer.

use super::openapi::check_against_openapi;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest wait of a test for one event.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer as it was received.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.value()
    }

    /// The code and the detail of an error. Panics unless the body is a problem of RFC 9457 with the members that every
    /// error has.
    pub(crate) fn error(&self) -> (String, String) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.value();
        let text = |name: &str| problem[name].as_str().expect("a text").to_owned();
        let (code, detail) = (text("code"), text("detail"));
        assert_eq!(text("type"), format!("/docs#{code}"));
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["retryable"], [429, 503].contains(&self.status));
        assert_eq!(
            Some(text("request_id").as_str()),
            self.header("x-request-id")
        );
        assert!(text("instance").starts_with('/') && !text("title").is_empty());
        assert!(problem["errors"].is_array());
        let members = 9 + usize::from(code == "charger_offline");
        assert_eq!(problem.as_object().map(serde_json::Map::len), Some(members));
        assert!(detail.ends_with('.'), "a sentence: {detail}");
        (code, detail)
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|code| code.parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }
}

/// One GET on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, target: &str) -> Answer {
    request(addr, "GET", target).await
}

/// One request on a connection of its own.
pub(crate) async fn request(addr: SocketAddr, method: &str, target: &str) -> Answer {
    send(addr, method, target, &[], "").await
}

/// One GET with these header lines on a connection of its own.
pub(crate) async fn get_with(addr: SocketAddr, target: &str, headers: &[&str]) -> Answer {
    send(addr, "GET", target, headers, "").await
}

/// One request with header lines and a body on a connection of its own.
pub(crate) async fn send(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let mut client = Client::connect(addr).await;
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{length}\r\n{body}"
    );
    client.send(request.as_bytes()).await;
    let answer = Answer::read(&client.rest().await);
    check_against_openapi(method, target, &answer);
    answer
}

/// A connection that stays open.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = timeout(TIMEOUT, TcpStream::connect(addr)).await;
        Self(stream.expect("in time").expect("connected"))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(TIMEOUT, self.0.write_all(bytes)).await;
        sent.expect("in time").expect("sent");
    }

    /// Sends a GET that leaves the connection open.
    pub(crate) async fn ask(&mut self, target: &str) {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.send(head.as_bytes()).await;
    }

    /// The next answer on a connection that stays open.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_ascii_lowercase();
                let length = length.split("content-length: ").nth(1).expect("a length");
                let length: usize = length
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .parse()
                    .expect("n");
                if body.len() >= length {
                    return Answer::read(&bytes);
                }
            }
            let mut some = [0; 4096];
            let read = timeout(TIMEOUT, self.0.read(&mut some)).await;
            let read = read.expect("in time").expect("read");
            assert_ne!(read, 0, "closed before the answer was whole");
            bytes.extend_from_slice(&some[..read]);
        }
    }

    /// All bytes until the server closes the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = timeout(TIMEOUT, self.0.read_to_end(&mut bytes)).await;
        read.expect("in time").expect("read to the end");
        bytes
    }

    /// Waits until the server has closed or reset the connection.
    pub(crate) async fn closed(&mut self) {
        let read = timeout(TIMEOUT, self.0.read_to_end(&mut Vec::new())).await;
        drop(read.expect("closed in time"));
    }
}
