//! A charger that sends exactly the frames of a test.

use crate::handshake::send_handshake;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

pub(crate) struct Charger {
    socket: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// A TCP connection, or TLS on one.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// What the charger received.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Text(String),
    Close(u16),
    /// The TCP connection ended without a Close frame.
    End,
}

impl Charger {
    pub(crate) fn connect(server: SocketAddr, identity: &str, subprotocol: &str) -> Self {
        Self::try_connect(server, identity, subprotocol)
            .unwrap_or_else(|head| panic!("the handshake was refused: {head}"))
    }

    /// Connects; the error is the head of the answer.
    pub(crate) fn try_connect(
        server: SocketAddr,
        identity: &str,
        subprotocol: &str,
    ) -> Result<Self, String> {
        let (head, socket) =
            send_handshake(server, identity, subprotocol, "").map_err(|error| error.to_string())?;
        if !head.starts_with("HTTP/1.1 101") {
            return Err(head);
        }
        Ok(Self::on(socket))
    }

    /// The charger on a connection whose handshake is done.
    pub(crate) fn on(socket: impl Stream + 'static) -> Self {
        Self {
            socket: Box::new(socket),
            buffer: Vec::new(),
        }
    }

    /// Sends a text frame.
    pub(crate) fn send(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    /// Sends a frame of any type. `first`: FIN, reserved bits and opcode.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match u16::try_from(payload.len()) {
            Ok(short @ 0..126) => frame.push(0x80 | short as u8),
            Ok(long) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&long.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        let mask = [0x12, 0x34, 0x56, 0x78];
        frame.extend_from_slice(&mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        // If the server has closed the connection, the next `receive` returns that.
        let _ = self.socket.write_all(&frame);
    }

    /// The next text, or how the connection ended. Panics if nothing is received for 15 s.
    pub(crate) fn receive(&mut self) -> Incoming {
        self.try_receive().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Charger::receive`]; an error if nothing is received for 15 s.
    pub(crate) fn try_receive(&mut self) -> Result<Incoming, String> {
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                match opcode {
                    1 => return Ok(Incoming::Text(String::from_utf8(payload).expect("UTF-8"))),
                    8 => {
                        let code = payload
                            .get(..2)
                            .map_or(1005, |b| u16::from_be_bytes([b[0], b[1]]));
                        return Ok(Incoming::Close(code));
                    }
                    9 => self.send_frame(0x8a, &payload),
                    _ => {}
                }
                continue;
            }
            let mut chunk = [0; 4096];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Ok(Incoming::End),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                // UnexpectedEof: the end of TCP without the end of TLS.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                    ) =>
                {
                    return Ok(Incoming::End);
                }
                Err(error) => return Err(format!("nothing was received: {error}")),
            }
        }
    }

    /// Sends a CALL and returns the whole answer frame.
    pub(crate) fn call(&mut self, id: &str, action: &str, payload: &str) -> Value {
        self.send(&format!(r#"[2,"{id}","{action}",{payload}]"#));
        match self.receive() {
            Incoming::Text(text) => serde_json::from_str(&text).expect("an answer in JSON"),
            other => panic!("{action} was not answered: {other:?}"),
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, ..] = self.buffer[..] else {
            return None;
        };
        let (header, len) = match second & 0x7f {
            126 => {
                let bytes = self.buffer.get(2..4)?;
                (4, usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
            }
            127 => {
                let bytes: [u8; 8] = self.buffer.get(2..10)?.try_into().ok()?;
                (10, usize::try_from(u64::from_be_bytes(bytes)).ok()?)
            }
            short => (2, usize::from(short)),
        };
        if self.buffer.len() < header + len {
            return None;
        }
        let payload = self.buffer[header..header + len].to_vec();
        self.buffer.drain(..header + len);
        Some((first & 0x0f, payload))
    }
}
