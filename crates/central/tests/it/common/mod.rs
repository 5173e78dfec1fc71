//! A charger in virtual time: its frames go into a [`Station`], and the station's outputs are handled at once or, if a test
//! sets it, when the test says.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test stops at what it did not expect"
)]

pub mod database;

use central::model::ChargerKey;
use central::policy::Policy;
use central::ports::{ChargerProfile, Registration, Token, TokenStatus};
use central::record::Notes;
use central::resend::ResendMemory;
use central::running::{Beginning, RunningTokens, is_refused_twice};
use central::station::{
    CloseReason, Fact, Output, Question, RecordMeta, Station, StationConfig, Ticket, TokenAnswer,
};
use central::{Epoch, Record, RecordKind, Timestamp};
use ocpp::Version;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// 2026-01-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp(1_767_225_600_000);

pub struct TestCharger {
    pub station: Station,
    pub now: Timestamp,
    /// All records, as the journal holds them.
    pub journal: Vec<Vec<u8>>,
    /// What metrics count of each appended record.
    pub metas: Vec<RecordMeta>,
    /// All frames sent to the charger.
    pub received: Vec<String>,
    /// Questions without an answer.
    pub questions: Vec<Question>,
    pub closed: Option<CloseReason>,
    pub tokens: HashMap<String, TokenAnswer>,
    /// Whether records are durable at once.
    pub disk_works: bool,
    /// Whether questions are answered at once.
    pub directory_works: bool,
    /// What its gateway knows of running transactions.
    pub gateway: Option<Arc<Mutex<RunningTokens>>>,
    policy: Policy,
    last: Ticket,
}

pub struct Setup {
    pub version: Version,
    pub is_version_assumed: bool,
    pub policy: Policy,
    pub profile: Option<ChargerProfile>,
    pub memory: ResendMemory,
    pub epoch: u64,
    pub charger_id: &'static str,
    pub disk_works: bool,
}

impl Setup {
    pub fn connect(self) -> TestCharger {
        self.connect_at(NOW)
    }

    pub fn connect_at(self, now: Timestamp) -> TestCharger {
        let policy = self.policy.clone();
        let config = StationConfig {
            charger_id: self.charger_id.into(),
            version: self.version,
            is_version_assumed: self.is_version_assumed,
            is_handshake_repaired: false,
            profile: self.profile.map(Arc::new),
            policy: Arc::new(self.policy.clone()),
            epoch: Epoch(self.epoch),
            seed: 42,
            remote: "127.0.0.1:50000".to_owned(),
        };
        let mut charger = TestCharger {
            station: Station::new(config, self.memory, now),
            now,
            journal: Vec::new(),
            metas: Vec::new(),
            received: Vec::new(),
            questions: Vec::new(),
            closed: None,
            tokens: HashMap::new(),
            disk_works: self.disk_works,
            directory_works: true,
            gateway: None,
            policy,
            last: Ticket(0),
        };
        charger.settle();
        charger
    }
}

pub fn setup(version: Version) -> Setup {
    Setup {
        version,
        is_version_assumed: false,
        policy: Policy::default(),
        profile: None,
        memory: ResendMemory::default(),
        epoch: 1,
        charger_id: "CP-17",
        disk_works: true,
    }
}

pub fn connect(version: Version) -> TestCharger {
    setup(version).connect()
}

pub fn profile(registration: Registration) -> ChargerProfile {
    ChargerProfile {
        registration,
        ..ChargerProfile::new("CP-17")
    }
}

pub fn token(id: &str, status: TokenStatus) -> TokenAnswer {
    TokenAnswer::Known(Token {
        id: id.to_owned(),
        status,
        expires_at: None,
        group_id: None,
        ..Token::accepted("")
    })
}

impl TestCharger {
    /// The charger sends a text; returns the frames that it receives.
    pub fn sends(&mut self, text: &str) -> Vec<String> {
        let before = self.received.len();
        self.station.handle_text(text, self.now);
        self.settle();
        self.received[before..].to_vec()
    }

    /// The charger sends a text and receives exactly one answer.
    pub fn calls(&mut self, text: &str) -> String {
        let received = self.sends(text);
        assert_eq!(received.len(), 1, "one answer to {text}: {received:?}");
        received[0].clone()
    }

    /// The charger calls and is answered with success; returns the answer's payload.
    pub fn succeeds(&mut self, id: &str, action: &str, payload: &str) -> String {
        let answer = self.calls(&format!(r#"[2,"{id}","{action}",{payload}]"#));
        let start = format!(r#"[3,"{id}","#);
        let inner = answer
            .strip_prefix(&start)
            .and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The charger calls and is refused; returns the error code.
    pub fn fails(&mut self, id: &str, action: &str, payload: &str) -> String {
        let answer = self.calls(&format!(r#"[2,"{id}","{action}",{payload}]"#));
        error_code(&answer, id)
    }

    pub fn wait_ms(&mut self, ms: i64) {
        self.now = self.now.plus_millis(ms);
        self.station.handle_timeout(self.now);
        self.settle();
    }

    pub fn disk_syncs(&mut self) -> Vec<String> {
        let before = self.received.len();
        self.station.handle_durable(self.last, self.now);
        self.settle();
        self.received[before..].to_vec()
    }

    pub fn directory_answers(&mut self, answer: TokenAnswer) -> Vec<String> {
        let before = self.received.len();
        let Question::Token { question_id, .. } = self.questions.remove(0);
        let fact = Fact::Token {
            question_id,
            answer,
        };
        self.station.handle_fact(fact, self.now);
        self.settle();
        self.received[before..].to_vec()
    }

    pub fn disconnects(&mut self, why: CloseReason) {
        self.station.handle_closed(why, self.now);
        self.settle();
    }

    /// The records without those of the connection itself.
    pub fn records(&self) -> Vec<Record<'_>> {
        self.all_records()
            .into_iter()
            .filter(|record| {
                !matches!(
                    record.kind,
                    RecordKind::Connected | RecordKind::Disconnected
                )
            })
            .collect()
    }

    pub fn all_records(&self) -> Vec<Record<'_>> {
        self.journal
            .iter()
            .map(|bytes| Record::decode(bytes).expect("a record"))
            .collect()
    }

    pub fn last_notes(&self) -> Notes {
        self.records().last().expect("a record").notes
    }

    /// The answer of its gateway about a known token, if it has one.
    fn used(&self, answer: TokenAnswer, begins: Option<&Beginning>) -> TokenAnswer {
        let (Some(gateway), Some(begins)) = (&self.gateway, begins) else {
            return answer;
        };
        match answer {
            TokenAnswer::Known(token) if is_refused_twice(&token, &self.policy, self.now) => {
                let key = ChargerKey::of(self.station.charger_id());
                let age_max_ms = self.policy.concurrent_ms_max();
                let mut known = gateway.lock().unwrap();
                match known.begin(&token.id, &key, begins, self.now, age_max_ms, |_| true) {
                    true => TokenAnswer::InUse(token),
                    false => TokenAnswer::Known(token),
                }
            }
            other => other,
        }
    }

    /// Another process goes on with the connection; `change` may change what it gets. It knows nothing of the charger
    /// but what it gets.
    pub fn moves(self, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let carried = self.station.into_carried().expect("nothing waits");
        let mut json = serde_json::to_value(&carried).expect("JSON");
        change(&mut json);
        let carried = serde_json::from_str(&json.to_string()).expect("is read back");
        let policy = Arc::new(self.policy.clone());
        Self {
            station: Station::resume(carried, None, policy, ResendMemory::default()),
            ..self
        }
    }

    /// Handles outputs until there are none.
    pub fn settle(&mut self) {
        loop {
            let Some(output) = self.station.poll_output() else {
                return;
            };
            match output {
                Output::Append {
                    ticket,
                    record: bytes,
                    meta,
                } => {
                    assert_eq!(ticket.0, self.last.0 + 1, "tickets count");
                    self.metas.push(meta);
                    self.last = ticket;
                    self.journal.push(bytes);
                    if self.disk_works {
                        self.station.handle_durable(ticket, self.now);
                    }
                }
                Output::Send(text) => self.received.push(text),
                Output::Ask(question) => {
                    if self.directory_works {
                        let Question::Token {
                            question_id,
                            id,
                            begins,
                        } = &question;
                        let known = self.tokens.get(&id.to_lowercase()).cloned();
                        let known = known.map(|answer| self.used(answer, begins.as_ref()));
                        let fact = Fact::Token {
                            question_id: *question_id,
                            answer: known.unwrap_or(TokenAnswer::Unknown),
                        };
                        self.station.handle_fact(fact, self.now);
                    } else {
                        self.questions.push(question);
                    }
                }
                Output::Session(news) => {
                    if let Some(gateway) = &self.gateway {
                        let key = ChargerKey::of(self.station.charger_id());
                        gateway.lock().unwrap().learn(&key, &news, self.now);
                    }
                }
                Output::Close(why) => self.closed = Some(why),
            }
        }
    }
}

/// The code of a CALLERROR with this id.
pub fn error_code(answer: &str, id: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(answer).expect("JSON");
    assert_eq!(json[0], 4, "{answer}");
    assert_eq!(json[1], id, "{answer}");
    assert_eq!(json.as_array().expect("list").len(), 5, "{answer}");
    assert!(json[4].is_object(), "{answer}");
    json[2].as_str().expect("a code").to_owned()
}

/// A member of a JSON text, by pointer.
pub fn at(payload: &str, pointer: &str) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_str(payload).expect("JSON");
    json.pointer(pointer).cloned().unwrap_or_default()
}

/// A whole number in a JSON text, by pointer.
pub fn number(payload: &str, pointer: &str) -> i64 {
    at(payload, pointer).as_i64().expect("a number")
}

/// The frames in the tests of the `ocpp` crate: (version, path, text).
pub fn vectors(kind: &str) -> Vec<(Version, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ocpp/tests/vectors");
    let mut found = Vec::new();
    for (version, folder) in [
        (Version::V16, "v16"),
        (Version::V201, "v201"),
        (Version::V21, "v21"),
    ] {
        for action in entries(&root.join(folder)) {
            let folder = action.join(kind);
            if folder.is_dir() {
                for path in entries(&folder) {
                    let text = std::fs::read_to_string(&path).expect("UTF-8");
                    found.push((version, path, text));
                }
            }
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// A StartTransaction of 1.6.
pub const START: &str =
    r#"{"connectorId":1,"idTag":"04A1","timestamp":"2025-12-31T23:00:00Z","meterStart":5000}"#;

/// A TransactionEvent of 2.x, with `more` members.
pub fn event(kind: &str, seq_no: u32, more: &str) -> String {
    let second = seq_no % 60;
    format!(
        r#"{{"eventType":"{kind}","timestamp":"2025-12-31T23:00:{second:02}Z","triggerReason":"Authorized","seqNo":{seq_no},"transactionInfo":{{"transactionId":"tx-1"}}{more}}}"#
    )
}

/// The text of a call.
pub fn call(id: &str, action: &str, payload: &str) -> String {
    format!(r#"[2,"{id}","{action}",{payload}]"#)
}

/// The transaction id in an answer, as a frame or a payload.
pub fn transaction_id(answer: &str) -> i64 {
    let is_frame = answer.starts_with('[');
    let pointer = if is_frame {
        "/2/transactionId"
    } else {
        "/transactionId"
    };
    number(answer, pointer)
}
