//! A small central system for tests. It stores records, and loses answers and closes connections as a test needs.

use futures_util::SinkExt as _;
use ocpp::Version;
use ocpp::frame::{self, Frame};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use yawc::{OpCode, Options, Role, WebSocket};

/// What the central system does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handling {
    /// It is stored and answered.
    Answered,
    /// It is stored, but not answered.
    AnswerLost,
    /// It is stored, and the socket is closed without an answer.
    AnswerLostAndClosed,
    /// It is not stored, and the socket is closed.
    Lost,
    /// It is answered but not stored, which is a fault.
    NotStored,
}

type Rule = dyn Fn(u64, &str) -> Handling + Send + Sync;

#[derive(Default)]
pub(crate) struct Records {
    /// Lines of an export of messages.
    pub(crate) rows: Vec<Value>,
    /// The answers so far, by charger, action and content of the call.
    answers: HashMap<String, Value>,
    /// Number of received calls.
    pub(crate) calls: u64,
    /// Request heads of all handshakes.
    pub(crate) handshakes: Vec<String>,
    next_transaction: i64,
    /// The newest connection of each charger, to send commands.
    connections: HashMap<String, UnboundedSender<String>>,
    /// The charger and the message id of all answers to commands.
    pub(crate) command_answers: Vec<(String, String)>,
}

/// The central system. It listens until it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    records: Arc<Mutex<Records>>,
    refusal: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// `rule` gives the handling of a call from its number (from 1) and its action.
    pub(crate) async fn start(
        rule: impl Fn(u64, &str) -> Handling + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ocpp", listener.local_addr().unwrap());
        let records: Arc<Mutex<Records>> = Arc::default();
        let refusal: Arc<Mutex<Option<String>>> = Arc::default();
        let rule: Arc<Rule> = Arc::new(rule);
        let shared = (Arc::clone(&records), Arc::clone(&refusal));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (records, refusal) = shared.clone();
                tokio::spawn(serve(stream, records, refusal, Arc::clone(&rule)));
            }
        });
        Self {
            url,
            records,
            refusal,
            task,
        }
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap()
    }

    /// Refuses handshakes with this status line and headers, or accepts them again.
    pub(crate) fn refuse(&self, head: Option<&str>) {
        *self.refusal.lock().unwrap() = head.map(str::to_owned);
    }

    /// Sends a command to a charger, which was recorded before. Returns whether the charger was connected.
    pub(crate) fn command(&self, charger: &str, id: &str, action: &str, payload: &Value) -> bool {
        let mut records = self.records();
        let Some(connection) = records.connections.get(charger).cloned() else {
            return false;
        };
        records.add_row(json!({
            "charger_id": charger, "kind": "call_to_charger", "message_id": id,
            "action": action, "payload": payload,
        }));
        let id = frame::MessageId::from(id);
        connection
            .send(frame::write_call(&id, action, &payload.to_string()))
            .is_ok()
    }

    /// The export of messages.
    pub(crate) fn export(&self) -> String {
        let rows: Vec<_> = self.records().rows.iter().map(Value::to_string).collect();
        rows.join("\n")
    }
}

async fn serve(
    mut stream: TcpStream,
    records: Arc<Mutex<Records>>,
    refusal: Arc<Mutex<Option<String>>>,
    rule: Arc<Rule>,
) {
    let Some(head) = read_head(&mut stream).await else {
        return;
    };
    records.lock().unwrap().handshakes.push(head.clone());
    let refused = refusal.lock().unwrap().clone();
    if let Some(refused) = refused {
        let _ = stream
            .write_all(format!("HTTP/1.1 {refused}\r\n\r\n").as_bytes())
            .await;
        return;
    }
    let path = head.split(' ').nth(1).unwrap();
    let charger = path.rsplit('/').next().unwrap().to_owned();
    let offered = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
    let version = Version::from_subprotocol(offered.unwrap()).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Protocol: {}\r\n\r\n",
        version.subprotocol()
    );
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let options = Options::default().without_compression();
    let mut socket = WebSocket::from_stream(stream, Role::Server, options).unwrap();
    let (sender, mut commands) = unbounded_channel();
    let sent = records
        .lock()
        .unwrap()
        .connections
        .insert(charger.clone(), sender);
    drop(sent);
    loop {
        let frame = tokio::select! {
            frame = socket.next_frame() => frame,
            Some(command) = commands.recv() => {
                if socket.send(yawc::Frame::text(command)).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Ok(frame) = frame else {
            return;
        };
        if frame.opcode() != OpCode::Text {
            continue;
        }
        let text = std::str::from_utf8(frame.payload()).unwrap();
        let call = match frame::parse(text, version) {
            Ok(Frame::Call(call)) => call,
            Ok(Frame::CallResult(result)) => {
                let payload: Value = serde_json::from_str(result.payload).unwrap();
                let mut records = records.lock().unwrap();
                records.add_answer(&charger, "call_result", result.id.as_str(), payload);
                continue;
            }
            Ok(Frame::CallError(error)) => {
                let mut records = records.lock().unwrap();
                records.add_answer(&charger, "call_error", error.id.as_str(), json!({}));
                continue;
            }
            _ => continue,
        };
        let violations = ocpp::check::request(version, &call.action, call.payload);
        assert!(violations.is_empty(), "{text}: {violations:?}");
        let (handling, answer) = {
            let mut records = records.lock().unwrap();
            records.calls += 1;
            let handling = rule(records.calls, &call.action);
            let answer = match handling {
                Handling::Lost => Value::Null,
                Handling::NotStored => json!({}),
                _ => records.store(&charger, version, &call),
            };
            (handling, answer)
        };
        match handling {
            Handling::Lost | Handling::AnswerLostAndClosed => return,
            Handling::AnswerLost => {}
            Handling::Answered | Handling::NotStored => {
                let text = frame::write_call_result(&call.id, &answer.to_string());
                if socket.send(yawc::Frame::text(text)).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

impl Records {
    fn add_row(&mut self, mut row: Value) {
        row["gateway_id"] = json!("test");
        row["seq"] = json!(self.rows.len() + 1);
        self.rows.push(row);
    }

    fn add_answer(&mut self, charger: &str, kind: &str, id: &str, payload: Value) {
        self.add_row(json!({
            "charger_id": charger, "kind": kind, "message_id": id, "payload": payload,
        }));
        self.command_answers
            .push((charger.to_owned(), id.to_owned()));
    }

    /// Stores a call and returns its answer. A call with the same content is not stored again and gets the same answer.
    fn store(&mut self, charger: &str, version: Version, call: &frame::Call<'_>) -> Value {
        let is_always_new = matches!(
            &*call.action,
            "Heartbeat" | "BootNotification" | "Authorize"
        );
        let content = if is_always_new {
            call.id.as_str()
        } else {
            call.payload
        };
        let key = format!("{charger} {} {content}", call.action);
        if let Some(answer) = self.answers.get(&key) {
            return answer.clone();
        }
        let now = "2026-01-01T00:00:00.000Z";
        let answer = match &*call.action {
            "BootNotification" => {
                json!({"status": "Accepted", "currentTime": now, "interval": 300})
            }
            "Heartbeat" => json!({ "currentTime": now }),
            "Authorize" if version == Version::V16 => json!({"idTagInfo": {"status": "Accepted"}}),
            "Authorize" => json!({"idTokenInfo": {"status": "Accepted"}}),
            "StartTransaction" => {
                self.next_transaction += 1;
                let id = self.next_transaction;
                json!({"transactionId": id, "idTagInfo": {"status": "Accepted"}})
            }
            _ => json!({}),
        };
        self.answers.insert(key, answer.clone());
        let payload: Value = serde_json::from_str(call.payload).unwrap();
        self.add_row(json!({
            "charger_id": charger, "kind": "call", "message_id": call.id.as_str(),
            "action": call.action, "payload": payload, "answer": answer,
        }));
        answer
    }
}

/// Waits until `condition` holds, at most 30 s.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut interval = tokio::time::interval(Duration::from_millis(5));
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "timeout while waiting for {what}"
        );
        interval.tick().await;
    }
}
