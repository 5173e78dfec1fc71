//! A charger on a raw TCP connection.

use super::{TIMEOUT, World, soon};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The head of an HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

/// One raw connection.
pub(crate) struct Charger {
    pub(crate) socket: TcpStream,
    pub(crate) head: Head,
    /// Bytes that were read and not yet decoded.
    rest: Vec<u8>,
    calls: u64,
}

/// A connection from another address of this machine: 127.0.0.`host`.
pub(crate) async fn socket_from(world: &World, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(([127, 0, 0, host], 0).into())
        .expect("all of 127.0.0.0/8 is this machine");
    socket.connect(world.address()).await.expect("connects")
}

/// The payload of a compressed message (RFC 7692): send it with the RSV1 bit.
pub(crate) fn deflate(text: &str) -> Vec<u8> {
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let mut out = Vec::with_capacity(text.len() + 64);
    compress
        .compress_vec(text.as_bytes(), &mut out, flate2::FlushCompress::Sync)
        .expect("compresses");
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// A valid request with additional header lines.
pub(crate) fn request(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

impl Charger {
    /// Sends `request` and reads the head of the answer (and the body of a refusal).
    pub(crate) async fn handshake(world: &World, request: &[u8]) -> Self {
        let socket = TcpStream::connect(world.address()).await;
        Self::handshake_on(socket.expect("connects"), request).await
    }

    /// A charger with a small receive buffer, so that the gateway cannot write much ahead.
    pub(crate) async fn connect_narrow(world: &World, identity: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a socket");
        let socket = socket.connect(world.address()).await.expect("connects");
        Self::handshake_on(socket, request(&format!("/ocpp/{identity}"), "").as_bytes()).await
    }

    /// Sends `request` from another address of this machine: 127.0.0.`host`.
    pub(crate) async fn handshake_from(world: &World, host: u8, request: &[u8]) -> Self {
        Self::handshake_on(socket_from(world, host).await, request).await
    }

    pub(crate) async fn handshake_on(mut socket: TcpStream, request: &[u8]) -> Self {
        socket.set_nodelay(true).expect("a socket");
        socket.write_all(request).await.expect("writes");
        let mut rest = Vec::new();
        let end = loop {
            if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let read = soon("an answer to the handshake", socket.read_buf(&mut rest)).await;
            assert_ne!(read.expect("reads"), 0, "closed without an answer");
        };
        let body = rest.split_off(end);
        let text = String::from_utf8(rest).expect("text");
        let status = text[9..12].parse().expect("a status");
        Self {
            socket,
            head: Head { status, text },
            rest: body,
            calls: 0,
        }
    }

    /// Connects with OCPP 1.6; must be accepted.
    pub(crate) async fn connect(world: &World, identity: &str) -> Self {
        Self::connect_as(world, identity, "ocpp1.6").await
    }

    pub(crate) async fn connect_as(world: &World, identity: &str, protocol: &str) -> Self {
        let lines = format!("Sec-WebSocket-Protocol: {protocol}\r\n");
        let charger = Self::handshake(
            world,
            request(&format!("/ocpp/{identity}"), &lines).as_bytes(),
        )
        .await;
        assert_eq!(charger.head.status, 101, "{}", charger.head.text);
        charger
    }

    /// The body of a refusal.
    pub(crate) async fn body(mut self) -> String {
        soon(
            "the end of a refusal",
            self.socket.read_to_end(&mut self.rest),
        )
        .await
        .expect("reads");
        String::from_utf8(self.rest).expect("text")
    }

    /// One frame, masked, in one write.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.socket
            .write_all(&encode(first, payload))
            .await
            .expect("writes");
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.frame(0x80 | TEXT, text.as_bytes()).await;
    }

    /// The next frame: opcode and payload. Pings are answered and skipped.
    pub(crate) async fn read(&mut self) -> (u8, Vec<u8>) {
        soon("a frame", self.try_read())
            .await
            .expect("the connection is open")
    }

    /// The next frame; `None` when the gateway has closed the connection.
    pub(crate) async fn try_read(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, payload, used)) = decode(&self.rest) {
                self.rest.drain(..used);
                if first & 15 == PING {
                    self.frame(0x80 | PONG, &payload).await;
                    continue;
                }
                assert_eq!(first & 0xb0, 0x80, "answers are not fragmented");
                return Some((first & 0x4f, payload));
            }
            match self.socket.read_buf(&mut self.rest).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next text.
    pub(crate) async fn answer(&mut self) -> String {
        let (opcode, payload) = self.read().await;
        assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&payload));
        String::from_utf8(payload).expect("UTF-8")
    }

    /// Sends a call and returns its answer, which must have the id of the call.
    pub(crate) async fn call(&mut self, action: &str, payload: &str) -> String {
        self.calls += 1;
        let id = format!("c{}", self.calls);
        self.call_with(&id, action, payload).await
    }

    pub(crate) async fn call_with(&mut self, id: &str, action: &str, payload: &str) -> String {
        self.text(&format!(r#"[2,"{id}","{action}",{payload}]"#))
            .await;
        let answer = self.answer().await;
        assert!(answer.starts_with(&format!(r#"[3,"{id}","#)), "{answer}");
        answer
    }

    pub(crate) async fn heartbeat(&mut self) {
        let answer = self.call("Heartbeat", "{}").await;
        assert!(answer.contains("currentTime"), "{answer}");
    }

    pub(crate) async fn start_transaction(&mut self, id: &str) -> String {
        let payload =
            r#"{"connectorId":1,"idTag":"TAG","meterStart":5,"timestamp":"2026-01-02T03:04:05Z"}"#;
        self.call_with(id, "StartTransaction", payload).await
    }

    /// Waits for a close frame, answers it, and returns its code.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        let closing = async {
            while let Some((opcode, payload)) = self.try_read().await {
                if opcode == CLOSE {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    self.frame(0x80 | CLOSE, &payload).await;
                    return code;
                }
            }
            None
        };
        soon("a close", closing).await
    }

    /// Whether the gateway closes or resets the connection within the deadline.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let gone = async { while self.try_read().await.is_some() {} };
        tokio::time::timeout(TIMEOUT, gone).await.is_ok()
    }

    /// Whether nothing arrives for this long.
    pub(crate) async fn is_silent(&mut self, moment: Duration) -> bool {
        tokio::time::timeout(moment, self.try_read()).await.is_err()
    }
}

/// A masked frame.
pub(crate) fn encode(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(
        payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ mask[i % 4]),
    );
    frame
}

fn decode(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let [first, second, ..] = *bytes else {
        return None;
    };
    let (len, head) = match second & 0x7f {
        126 => (
            u64::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?)),
            4,
        ),
        127 => (u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?), 10),
        len => (u64::from(len), 2),
    };
    let end = head + usize::try_from(len).expect("fits");
    Some((first, bytes.get(head..end)?.to_vec(), end))
}
