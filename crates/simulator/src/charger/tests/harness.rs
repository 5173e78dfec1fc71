//! A charger and a central system in virtual time: a day of charging takes milliseconds.
//!
//! The harness checks every text that the charger sends: it is valid by the official schemas, and there is only one
//! unanswered call.

use super::super::*;
use crate::config::FleetConfig;
use ocpp::frame::{self, Frame};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// A call that the central system has received.
#[derive(Debug, Clone)]
pub(super) struct ReceivedCall {
    pub(super) at: TimestampUs,
    pub(super) id: String,
    pub(super) action: String,
    pub(super) payload: Value,
}

/// What the central system does with a call.
pub(super) enum Reaction {
    /// As [`normal_answer`] says.
    Normal,
    Answer(Value),
    Error,
    Silence,
    /// Closes the connection without an answer.
    Close,
}

pub(super) struct Harness {
    pub(super) charger: Charger,
    pub(super) now: TimestampUs,
    pub(super) version: Version,
    is_connected: bool,
    /// The refusal of connections; `None` = they are accepted.
    pub(super) refusal: Option<Refusal>,
    pub(super) rule: Box<dyn FnMut(&ReceivedCall) -> Reaction>,
    answers_pings: bool,
    in_flight: VecDeque<(TimestampUs, String)>,
    unanswered: Option<(String, TimestampUs)>,
    answer_timeout: Duration,
    pub(super) received: Vec<ReceivedCall>,
    /// The answers of the charger to calls of the central system.
    pub(super) replies: Vec<String>,
    /// The SENDs of the charger: action and payload.
    pub(super) sends: Vec<(String, Value)>,
    /// The commands that the charger has noted for the ledger.
    pub(super) commands: Vec<ReceivedCommand>,
    /// How often the charger dropped the connection without a Close frame.
    pub(super) drops: u64,
    pub(super) entries: Vec<EndedMessage>,
    pub(super) counts: Vec<Count>,
    pub(super) edits: Vec<QueueEdit>,
    pub(super) connects: Vec<TimestampUs>,
}

const LATENCY: Duration = Duration::from_millis(20);

/// Settings with a ledger and a saved queue.
pub(super) fn config() -> FleetConfig {
    FleetConfig {
        ledger: Some("ledger".into()),
        queue_dir: Some("queue".into()),
        ..FleetConfig::default()
    }
}

impl Harness {
    pub(super) fn new(version: Version, config: &FleetConfig) -> Self {
        Self::resumed(
            version,
            config,
            SavedQueue::default(),
            TimestampUs(1_767_225_600_000_000),
        )
    }

    /// A charger that powers up at `now` with the saved queue.
    pub(super) fn resumed(
        version: Version,
        config: &FleetConfig,
        saved: SavedQueue,
        now: TimestampUs,
    ) -> Self {
        config.check().unwrap();
        let settings = Arc::new(Settings::from(config));
        let seed = config.seed.max(1);
        Self {
            answer_timeout: settings.answer_timeout,
            charger: Charger::new("CP-1", version, settings, saved, seed, now),
            now,
            version,
            is_connected: false,
            refusal: None,
            rule: Box::new(|_| Reaction::Normal),
            answers_pings: true,
            in_flight: VecDeque::new(),
            unanswered: None,
            received: Vec::new(),
            replies: Vec::new(),
            sends: Vec::new(),
            commands: Vec::new(),
            drops: 0,
            entries: Vec::new(),
            counts: Vec::new(),
            edits: Vec::new(),
            connects: Vec::new(),
        }
    }

    pub(super) fn react(&mut self, rule: impl FnMut(&ReceivedCall) -> Reaction + 'static) {
        self.rule = Box::new(rule);
    }

    pub(super) fn stop_responding(&mut self) {
        self.answers_pings = false;
        self.react(|_| Reaction::Silence);
    }

    /// Drops the connection and refuses new ones.
    pub(super) fn become_unreachable(&mut self) {
        self.refusal = Some(Refusal {
            status: None,
            retry_after: None,
        });
        self.disconnect();
    }

    pub(super) fn become_reachable(&mut self) {
        self.refusal = None;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(super) fn disconnect(&mut self) {
        self.in_flight.clear();
        self.unanswered = None;
        self.is_connected = false;
        self.charger.handle_closed(self.now);
        self.drain();
    }

    /// Sends a call of the central system.
    pub(super) fn send_call(&mut self, id: &str, action: &str, payload: &Value) {
        let text = json!([2, id, action, payload]).to_string();
        self.charger.handle_text(&text, self.now);
        self.drain();
    }

    /// Sends a call of the central system and returns the answer, which conforms to the schema.
    pub(super) fn call(&mut self, action: &str, payload: Value) -> String {
        let before = self.replies.len();
        self.send_call("c-1", action, &payload);
        let reply = self.replies[before].clone();
        let value: Value = serde_json::from_str(&reply).unwrap();
        if value[0] == 3 {
            let violations = ocpp::check::response(self.version, action, &value[2].to_string());
            assert!(violations.is_empty(), "{action}: {reply}: {violations:?}");
        }
        reply
    }

    /// The payload of the CALLRESULT to a valid call of the central system.
    pub(super) fn result(&mut self, action: &str, payload: Value) -> Value {
        let violations = ocpp::check::request(self.version, action, &payload.to_string());
        assert!(violations.is_empty(), "{action} {payload}: {violations:?}");
        let reply: Value = serde_json::from_str(&self.call(action, payload)).unwrap();
        assert_eq!(
            (&reply[0], &reply[1]),
            (&json!(3), &json!("c-1")),
            "{reply}"
        );
        reply[2].clone()
    }

    /// The status in the CALLRESULT to a valid call of the central system.
    pub(super) fn status(&mut self, action: &str, payload: Value) -> String {
        let result = self.result(action, payload);
        result["status"].as_str().unwrap().to_owned()
    }

    pub(super) fn run_for(&mut self, seconds: f64) {
        let end = self.now.plus(Duration::from_secs_f64(seconds));
        self.drain();
        let mut idle_turns = 0;
        loop {
            let frame_at = self.in_flight.front().map(|(at, _)| *at);
            let timeout_at = self.charger.poll_timeout();
            let Some(next) = frame_at.into_iter().chain(timeout_at).min() else {
                break;
            };
            if next > end {
                break;
            }
            idle_turns = if next > self.now { 0 } else { idle_turns + 1 };
            assert!(idle_turns < 1000, "no progress at {}", self.now);
            self.now = self.now.max(next);
            if frame_at.is_some_and(|at| at <= self.now) {
                if let Some((_, text)) = self.in_flight.pop_front() {
                    if self
                        .unanswered
                        .as_ref()
                        .is_some_and(|(id, _)| text.contains(id))
                    {
                        self.unanswered = None;
                    }
                    self.charger.handle_text(&text, self.now);
                }
            } else {
                self.charger.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
        self.charger.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.charger.poll_output() {
            match output {
                Output::Connect => {
                    self.connects.push(self.now);
                    match self.refusal {
                        None => {
                            self.is_connected = true;
                            self.charger.handle_connected(self.now);
                        }
                        Some(refusal) => self.charger.handle_refused(refusal, self.now),
                    }
                }
                Output::Send(text) => self.receive(&text),
                Output::Ping if self.answers_pings => self.charger.handle_ping_or_pong(self.now),
                Output::Ping => {}
                Output::Command(command) => self.commands.push(*command),
                Output::Close | Output::Drop => {
                    self.drops += u64::from(output == Output::Drop);
                    self.is_connected = false;
                    self.in_flight.clear();
                    self.unanswered = None;
                }
                Output::Save(edit) => self.edits.push(edit),
                Output::Ledger(entry) => self.entries.push(*entry),
                Output::Count(count) => self.counts.push(count),
            }
        }
    }

    fn receive(&mut self, text: &str) {
        assert!(self.is_connected, "sent without a connection: {text}");
        let call = match frame::parse(text, self.version).unwrap() {
            Frame::Call(call) => call,
            Frame::Send(send) => {
                let violations = ocpp::check::request(self.version, &send.action, send.payload);
                assert!(violations.is_empty(), "{text}: {violations:?}");
                let payload = serde_json::from_str(send.payload).unwrap();
                return self.sends.push((send.action.into_owned(), payload));
            }
            _ => return self.replies.push(text.to_owned()),
        };
        let violations = ocpp::check::request(self.version, &call.action, call.payload);
        assert!(violations.is_empty(), "{text}: {violations:?}");
        if let Some((id, sent_at)) = &self.unanswered {
            let waited = self.now.since(*sent_at);
            assert!(
                waited >= self.answer_timeout,
                "sent {text} while {id} is unanswered"
            );
        }
        self.unanswered = Some((call.id.as_str().to_owned(), self.now));
        let received = ReceivedCall {
            at: self.now,
            id: call.id.as_str().to_owned(),
            action: call.action.clone().into_owned(),
            payload: serde_json::from_str(call.payload).unwrap(),
        };
        let reaction = (self.rule)(&received);
        let answer = match reaction {
            Reaction::Normal => Some(json!([
                3,
                received.id,
                normal_answer(self.version, &received)
            ])),
            Reaction::Answer(ref value) => Some(json!([3, received.id, value])),
            Reaction::Error => Some(json!([4, received.id, "InternalError", "", {}])),
            Reaction::Silence | Reaction::Close => None,
        };
        if let Some(answer) = answer {
            let at = self.now.plus(LATENCY);
            self.in_flight.push_back((at, answer.to_string()));
        }
        self.received.push(received);
        if matches!(reaction, Reaction::Close) {
            self.disconnect();
        }
    }

    /// The actions of all received calls, without heartbeats.
    pub(super) fn actions(&self) -> Vec<&str> {
        let all = self
            .received
            .iter()
            .map(|received| received.action.as_str());
        all.filter(|action| *action != "Heartbeat").collect()
    }

    /// The received calls of one action.
    pub(super) fn of(&self, action: &str) -> Vec<&ReceivedCall> {
        let all = self.received.iter();
        all.filter(|received| received.action == action).collect()
    }

    /// The queue that results from all saved edits.
    pub(super) fn saved(&self) -> SavedQueue {
        let mut saved = SavedQueue::default();
        for edit in &self.edits {
            saved.apply(edit.clone());
        }
        saved
    }
}

/// The usual answer to a call. The id of a transaction depends on the timestamp of its start.
pub(super) fn normal_answer(version: Version, received: &ReceivedCall) -> Value {
    match received.action.as_str() {
        "BootNotification" => {
            json!({"status": "Accepted", "currentTime": received.at.to_string(), "interval": 300})
        }
        "Heartbeat" => json!({"currentTime": received.at.to_string()}),
        "Authorize" if version == Version::V16 => json!({"idTagInfo": {"status": "Accepted"}}),
        "Authorize" => json!({"idTokenInfo": {"status": "Accepted"}}),
        "StartTransaction" => {
            let at = received.payload["timestamp"].as_str().unwrap();
            let id = at
                .bytes()
                .fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_003);
            json!({"transactionId": id + 1, "idTagInfo": {"status": "Accepted"}})
        }
        "OpenPeriodicEventStream" | "SignCertificate" => json!({"status": "Accepted"}),
        "TransactionEvent" if received.payload.get("idToken").is_some() => {
            json!({"idTokenInfo": {"status": "Accepted"}})
        }
        _ => json!({}),
    }
}
