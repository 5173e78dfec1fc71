//! A receiver of webhooks.

use serde_json::{Map, Value};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The settings with which a receiver of this machine is reached.
pub(crate) const SETTINGS: &str =
    "[webhooks]\nallow_http = true\nallowed_networks = [\"127.0.0.1/32\"]\ntimeout_ms = 1000\n";

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The headers, with names in small letters.
    pub(crate) headers: Map<String, Value>,
    pub(crate) body: String,
}

impl Message {
    pub(crate) fn id(&self) -> String {
        let id = self.headers["webhook-id"].as_str();
        id.expect("a text").to_owned()
    }

    pub(crate) fn event(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn kind(&self) -> String {
        self.event()["type"].as_str().expect("a type").to_owned()
    }
}

/// Gives each message an answer.
pub(crate) struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Message>>>,
    answer: Arc<Mutex<String>>,
    unanswered: Arc<AtomicUsize>,
}

impl Receiver {
    /// Answers with 204, until [`Receiver::answer_with`] says something else. Its thread ends with the process of the test.
    pub(crate) fn start() -> Self {
        Self::start_at(0)
    }

    /// As [`Receiver::start`], on this port.
    pub(crate) fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let receiver = Self {
            port: listener.local_addr().expect("an address").port(),
            received: Arc::default(),
            answer: Arc::new(Mutex::new("HTTP/1.1 204 No Content\r\n\r\n".to_owned())),
            unanswered: Arc::new(AtomicUsize::new(usize::MAX)),
        };
        let (received, answer) = (Arc::clone(&receiver.received), Arc::clone(&receiver.answer));
        let unanswered = Arc::clone(&receiver.unanswered);
        std::thread::spawn(move || {
            // Stays open.
            let mut held = None;
            for socket in listener.incoming().flatten() {
                // A connection of a killed process has no whole message.
                if let Some(message) = read(&socket) {
                    let answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
                    received.push(message);
                    if received.len() - 1 == unanswered.load(Ordering::SeqCst) {
                        held = Some(socket);
                    } else {
                        let _ = (&socket).write_all(answer.as_bytes());
                    }
                }
            }
            drop(held);
        });
        receiver
    }

    /// The message of this number, from 0, is received and gets no answer.
    pub(crate) fn leave_unanswered(&self, number: usize) {
        self.unanswered.store(number, Ordering::SeqCst);
    }

    /// From now on, answers with this status line, headers and body.
    pub(crate) fn answer_with(&self, answer: &str) {
        let mut now = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.clone_into(&mut now);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// The messages so far, in the order in which they came.
    pub(crate) fn received(&self) -> Vec<Message> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.clone()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.received().iter().map(Message::kind).collect()
    }
}

fn read(socket: &TcpStream) -> Option<Message> {
    let mut reader = BufReader::new(socket);
    let (mut headers, mut length) = (Map::new(), 0);
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|bytes| *bytes > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            if name == "content-length" {
                length = value.parse().expect("a number");
            }
            headers.insert(name.to_ascii_lowercase(), value.into());
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).expect("UTF-8");
    Some(Message { headers, body })
}
