//! Every command that the official schemas allow gets an answer that they allow, and every other one a CALLERROR.
//!
//! The payloads are those with which crate `ocpp` compares its checks with a reference validator.

use ocpp::Version;
use ocpp::frame::{self, Frame};
use simulator::charger::{Charger, Output, SavedQueue};
use simulator::settings::Settings;
use simulator::{FleetConfig, Scenario, TimestampUs};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The Python that `make setup` installs.
fn python() -> PathBuf {
    let python = std::env::var_os("WATTPOST_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "there is no Python at {}; run `make setup`, which makes it",
        python.display()
    );
    python
}

/// A charger and a central system that accepts everything.
struct Conversation {
    charger: Charger,
    version: Version,
    now: TimestampUs,
    replies: Vec<String>,
}

impl Conversation {
    fn new(version: Version) -> Self {
        let config = FleetConfig {
            scenario: Scenario::Idle,
            connectors: 2,
            ..FleetConfig::default()
        };
        let now = TimestampUs(1_790_000_000_000_000);
        let settings = Arc::new(Settings::from(&config));
        let charger = Charger::new("CP", version, settings, SavedQueue::default(), 1, now);
        Self {
            charger,
            version,
            now,
            replies: Vec::new(),
        }
    }

    /// Executes all outputs. Every call of the charger conforms to its schema and is answered at once.
    fn drain(&mut self) {
        while let Some(output) = self.charger.poll_output() {
            match output {
                Output::Connect => self.charger.handle_connected(self.now),
                Output::Ping => self.charger.handle_ping_or_pong(self.now),
                Output::Send(text) => match frame::parse(&text, self.version).unwrap() {
                    Frame::Call(call) => {
                        let violations =
                            ocpp::check::request(self.version, &call.action, call.payload);
                        assert!(violations.is_empty(), "{text}: {violations:?}");
                        let answer = match &*call.action {
                            "BootNotification"
                            | "Heartbeat"
                            | "SignCertificate"
                            | "OpenPeriodicEventStream" => {
                                r#"{"status":"Accepted","currentTime":"2026-01-01T00:00:00Z","interval":300}"#
                            }
                            "StartTransaction" => {
                                r#"{"transactionId":7,"idTagInfo":{"status":"Accepted"}}"#
                            }
                            _ => "{}",
                        };
                        let answer = frame::write_call_result(&call.id, answer);
                        self.charger.handle_text(&answer, self.now);
                    }
                    Frame::Send(send) => {
                        let violations =
                            ocpp::check::request(self.version, &send.action, send.payload);
                        assert!(violations.is_empty(), "{text}: {violations:?}");
                    }
                    _ => self.replies.push(text),
                },
                _ => {}
            }
        }
    }

    /// Advances the time by as much as a charger needs to connect again.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.now = self.now.plus(Duration::from_secs(1));
            self.charger.handle_timeout(self.now);
            self.drain();
        }
    }

    fn command(&mut self, action: &str, payload: &str) -> String {
        let id = frame::MessageId::from("c");
        let text = frame::write_call(&id, action, payload);
        self.charger.handle_text(&text, self.now);
        self.drain();
        self.replies.pop().expect("every call is answered")
    }
}

/// One line of `schema_cases.py`.
type Case = (String, String, bool, String, Vec<(String, String)>);

#[test]
fn a_command_is_answered_by_its_schema_and_a_broken_one_refused() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ocpp/tests/python/schema_cases.py");
    let cases = match std::env::var_os("WATTPOST_FULL") {
        Some(_) => "5000",
        None => "25",
    };
    let mut child = Command::new(python())
        .args([script.as_os_str(), cases.as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("run Python");
    let lines = BufReader::new(child.stdout.take().expect("the output is a pipe")).lines();
    let mut conversations: BTreeMap<Version, Conversation> = BTreeMap::new();
    let mut counts = [0_u64; 2];
    for line in lines {
        let case: Case = serde_json::from_str(&line.expect("read a case")).expect("know a case");
        let (version, action, is_response, payload, _) = case;
        let version = Version::from_number(&version).expect("know the version");
        let info = ocpp::action::lookup(version, &action).expect("know the action");
        if is_response || !info.is_to_charger() || payload == "null" {
            continue;
        }
        let conversation = conversations
            .entry(version)
            .or_insert_with(|| Conversation::new(version));
        conversation.settle();
        let reply = conversation.command(&action, &payload);
        let is_valid = info.check_request(&payload).is_empty();
        counts[usize::from(is_valid)] += 1;
        match frame::parse(&reply, version).expect("a frame") {
            Frame::CallResult(result) => {
                assert!(is_valid, "{version} {action} {payload}: {reply}");
                let violations = info.check_response(result.payload);
                assert!(
                    violations.is_empty(),
                    "{version} {action} {payload}: {reply}: {violations:?}"
                );
            }
            Frame::CallError(error) => {
                // A valid payload may have more items than a charger takes.
                let is_too_long = error.description.contains("at most");
                assert!(
                    !is_valid || is_too_long,
                    "{version} {action} {payload}: {reply}"
                );
            }
            _ => panic!("{reply}"),
        }
    }
    assert!(
        child.wait().expect("wait for Python").success(),
        "Python failed: run `make setup`"
    );
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}
