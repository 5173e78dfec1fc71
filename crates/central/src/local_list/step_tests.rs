use super::*;
use crate::local_list::{Content, ContentEntry};
use std::collections::BTreeMap;
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn content(ids: &[&str]) -> Content {
    let entries: BTreeMap<_, _> = ids
        .iter()
        .map(|id| {
            let entry = ContentEntry {
                id: (*id).to_owned(),
                expires_at: None,
                group: None,
                token_type: None,
            };
            (id.to_lowercase(), entry)
        })
        .collect();
    Content::of(entries)
}

/// A charger with a list, and the synchronisation of it.
struct World {
    progress: Progress,
    now: Timestamp,
    wished_at: Timestamp,
    version: Option<Version>,
    firmware: &'static str,
    booted_at: Option<Timestamp>,
    stored: Vec<Content>,
    /// The charger's list and its version.
    list: Vec<String>,
    list_version: i64,
    /// What it takes.
    list_max: Option<u32>,
    message_max: Option<u32>,
    /// Actions and their update types, in the order in which they were sent.
    sent: Vec<String>,
}

/// What the charger does with a command.
enum Answer {
    Good,
    Status(&'static str),
    Error(&'static str),
    /// It receives the command, and the answer is lost.
    ReplyLost,
    /// It does not receive the command, and that cannot be proved.
    CallLost,
    NotSent(NotSent),
}

impl World {
    fn new() -> Self {
        Self {
            progress: Progress::default(),
            now: NOW,
            wished_at: NOW,
            version: Some(Version::V16),
            firmware: "1",
            booted_at: None,
            stored: Vec::new(),
            list: Vec::new(),
            list_version: 0,
            list_max: None,
            message_max: Some(2),
            sent: Vec::new(),
        }
    }

    fn next(&mut self, wanted: &Content) -> Next {
        if !self.stored.contains(wanted) {
            self.stored.push(wanted.clone());
        }
        let digest = self.progress.content.clone();
        let base = self
            .stored
            .iter()
            .find(|content| Some(&content.digest) == digest.as_ref());
        let facts = Facts {
            now: self.now,
            wished_at: self.wished_at,
            charger: ChargerFacts {
                version: self.version,
                firmware: Some(self.firmware),
                booted_at: self.booted_at,
            },
            wanted,
            base,
        };
        step(&mut self.progress, &facts)
    }

    /// One command, if one is to be sent now.
    fn run_one(&mut self, wanted: &Content, answer: &Answer) -> bool {
        let Next::Send {
            step,
            action,
            payload,
        } = self.next(wanted)
        else {
            return false;
        };
        let update = payload["updateType"].as_str().unwrap_or_default();
        self.sent
            .push(format!("{action} {update}").trim().to_owned());
        let command = CommandId(Uuid::nil());
        self.progress.asked = Some(Asked { step, command });
        let outcome = self.outcome(action, &payload, answer);
        settle(
            &mut self.progress,
            action,
            &outcome,
            Some(self.firmware),
            self.now,
        );
        true
    }

    /// Steps until nothing is to be done now; waits for a minute at a time, `minutes` times.
    fn run(&mut self, wanted: &Content, minutes: usize) {
        for _ in 0..=minutes {
            for _ in 0..100 {
                if !self.run_one(wanted, &Answer::Good) {
                    break;
                }
            }
            self.now = self.now.plus_millis(AGAIN_MS);
        }
    }

    fn outcome(&mut self, action: &str, payload: &Value, answer: &Answer) -> Outcome {
        let none = Outcome {
            class: OutcomeClass::Answered,
            status: None,
            payload: None,
            error: None,
            reason: None,
            detail: None,
        };
        let uncertain = Outcome {
            class: OutcomeClass::Uncertain,
            ..none.clone()
        };
        match answer {
            Answer::Good => {
                let reply = self.receive(action, payload);
                Outcome {
                    status: reply["status"].as_str().map(str::to_owned),
                    payload: Some(reply.to_string()),
                    ..none
                }
            }
            Answer::Status(status) => Outcome {
                status: Some((*status).to_owned()),
                payload: Some(json!({"status": status}).to_string()),
                ..none
            },
            Answer::Error(code) => Outcome {
                error: Some(json!([code, "", {}]).to_string()),
                ..none
            },
            Answer::ReplyLost => {
                self.receive(action, payload);
                uncertain
            }
            Answer::CallLost => uncertain,
            Answer::NotSent(reason) => Outcome {
                class: OutcomeClass::NotSent,
                reason: Some(reason.as_str().to_owned()),
                ..none
            },
        }
    }

    fn receive(&mut self, action: &str, payload: &Value) -> Value {
        match action {
            "GetConfiguration" => {
                let text = |number: Option<u32>| number.map(|number| number.to_string());
                json!({"configurationKey": [
                    {"key": "LocalAuthListEnabled", "value": "true"},
                    {"key": "LocalAuthListMaxLength", "value": text(self.list_max)},
                    {"key": "SendLocalListMaxLength", "value": text(self.message_max)},
                ]})
            }
            "GetVariables" => json!({"getVariableResult": [
                {"attributeStatus": "Accepted", "attributeValue": "2", "variable": {"name": "ItemsPerMessage"}},
                {"attributeStatus": "UnknownVariable", "variable": {"name": "BytesPerMessage"}},
            ]}),
            "GetLocalListVersion" => json!({"listVersion": self.list_version}),
            _ => self.receive_list(payload),
        }
    }

    fn receive_list(&mut self, payload: &Value) -> Value {
        let number = payload["listVersion"].as_i64();
        let version = number.or_else(|| payload["versionNumber"].as_i64());
        let version = version.expect("a version");
        let items = payload["localAuthorizationList"].as_array().cloned();
        let items = items.unwrap_or_default();
        assert!(items.len() <= 2, "more than it takes");
        let is_full = payload["updateType"] == "Full";
        if !is_full && version <= self.list_version {
            return json!({"status": "VersionMismatch"});
        }
        if is_full {
            self.list.clear();
        }
        for item in items {
            let (id, info) = match item.get("idTag") {
                Some(id) => (id, item.get("idTagInfo")),
                None => (&item["idToken"]["idToken"], item.get("idTokenInfo")),
            };
            let id = id.as_str().expect("an id").to_owned();
            self.list.retain(|known| *known != id);
            if info.is_some() {
                self.list.push(id);
            }
        }
        self.list.sort();
        self.list_version = version;
        json!({"status": "Accepted"})
    }

    fn assert_in_sync(&self, wanted: &Content) {
        let ids: Vec<_> = wanted.entries.values().map(|entry| &entry.id).collect();
        assert_eq!(self.progress.phase, Phase::InSync, "{:?}", self.progress);
        assert_eq!(self.list.iter().collect::<Vec<_>>(), ids);
        assert_eq!(self.progress.at_charger, Some(self.list_version));
    }
}

#[test]
fn a_list_is_sent_in_full_and_then_by_differences_in_messages_that_the_charger_takes() {
    for version in [Version::V16, Version::V201, Version::V21] {
        let mut world = World::new();
        world.version = Some(version);
        let first = content(&["A", "B", "C", "D", "E"]);
        world.run(&first, 0);
        world.assert_in_sync(&first);
        assert_eq!(
            world.sent[1..],
            [
                "GetLocalListVersion",
                "SendLocalList Full",
                "SendLocalList Differential",
                "SendLocalList Differential",
            ]
        );
        world.sent.clear();
        let second = content(&["A", "C", "E", "F", "G"]);
        world.run(&second, 0);
        world.assert_in_sync(&second);
        assert_eq!(world.sent, ["SendLocalList Differential"; 2]);
        world.sent.clear();
        world.run(&second, 60);
        assert_eq!(world.sent, [""; 0], "nothing to do");
        world.run(&content(&[]), 0);
        world.assert_in_sync(&content(&[]));
    }
}

#[test]
fn a_charger_that_restarts_or_has_another_version_is_corrected() {
    let mut world = World::new();
    let wanted = content(&["A", "B", "C"]);
    world.run(&wanted, 0);
    world.list.clear();
    world.list_version = 0;
    world.booted_at = Some(world.now);
    world.now = world.now.plus_millis(1);
    world.run(&wanted, 0);
    world.assert_in_sync(&wanted);

    // Somebody else has sent a list.
    world.list = vec!["X".to_owned()];
    world.list_version = 77;
    world.sent.clear();
    let other = content(&["A", "B"]);
    world.run(&other, 3);
    world.assert_in_sync(&other);
    assert!(world.list_version > 77);
    assert!(world.sent.iter().any(|sent| sent == "SendLocalList Full"));
}

#[test]
fn three_refusals_stop_until_the_tokens_the_firmware_or_the_wish_change() {
    let wanted = content(&["A"]);
    let stopped = |answer: &Answer| {
        let mut world = World::new();
        world.run_one(&wanted, &Answer::Good);
        let mut tries = 0;
        while tries < 100 && world.progress.phase != Phase::Rejected {
            let is_send = world.progress.at_charger.is_some();
            let answer = if is_send { answer } else { &Answer::Good };
            if !world.run_one(&wanted, answer) {
                world.now = world.now.plus_millis(AGAIN_MS);
            }
            tries += 1;
        }
        let sends = world.sent.iter().filter(|sent| sent.starts_with("Send"));
        assert_eq!(sends.count(), 3);
        world.sent.clear();
        world.run(&wanted, 100);
        assert_eq!(world.sent, [""; 0], "it has stopped");
        assert!(world.progress.why.is_some());
        world
    };
    for answer in [
        Answer::Status("Failed"),
        Answer::Status("VersionMismatch"),
        Answer::Error("InternalError"),
    ] {
        let mut world = stopped(&answer);
        let other = content(&["A", "B"]);
        world.run(&other, 0);
        world.assert_in_sync(&other);
    }
    let mut world = stopped(&Answer::Status("Failed"));
    world.firmware = "2";
    world.run(&wanted, 0);
    world.assert_in_sync(&wanted);
    let mut world = stopped(&Answer::Status("Failed"));
    world.wished_at = world.now;
    world.run(&wanted, 0);
    world.assert_in_sync(&wanted);
}

#[test]
fn a_charger_without_lists_is_left_alone() {
    let wanted = content(&["A"]);
    for answer in [
        Answer::Error("NotImplemented"),
        Answer::Error("NotSupported"),
        Answer::Status("NotSupported"),
        Answer::NotSent(NotSent::NotSupportedByCharger),
    ] {
        let mut world = World::new();
        world.run_one(&wanted, &Answer::Good);
        world.run_one(&wanted, &Answer::Good);
        world.run_one(&wanted, &answer);
        assert_eq!(world.progress.phase, Phase::NotSupported);
        world.sent.clear();
        world.run(&content(&["A", "B"]), 100);
        assert_eq!(world.sent, [""; 0]);
    }
}

#[test]
fn a_list_that_is_too_long_is_not_sent_and_the_state_says_how_long_it_may_be() {
    let mut world = World::new();
    world.list_max = Some(2);
    world.run(&content(&["A", "B", "C"]), 30);
    assert_eq!(world.progress.phase, Phase::TooLong);
    let why = world.progress.why.clone().unwrap_or_default();
    assert!(why.contains("3 tokens") && why.contains("takes 2"), "{why}");
    assert_eq!(world.sent, ["GetConfiguration"]);
    let fitting = content(&["A", "B"]);
    world.run(&fitting, 0);
    world.assert_in_sync(&fitting);
}

#[test]
fn a_charger_that_is_not_connected_is_waited_for() {
    let mut world = World::new();
    world.version = None;
    let wanted = content(&["A"]);
    world.run(&wanted, 30);
    assert_eq!(world.progress.phase, Phase::WaitingForCharger);
    world.version = Some(Version::V16);
    world.run_one(&wanted, &Answer::NotSent(NotSent::ChargerOffline));
    assert_eq!(world.progress.phase, Phase::WaitingForCharger);
    world.run(&wanted, 1);
    world.assert_in_sync(&wanted);
    world.version = None;
    world.run(&wanted, 1);
    assert_eq!(world.progress.phase, Phase::InSync, "as far as is known");
}

/// The wanted list changes, calls and answers are lost, the charger restarts, in random order: once it is calm the charger
/// has the wanted list.
#[test]
fn whatever_is_lost_the_charger_ends_with_the_wanted_list() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        world.version = Some([Version::V16, Version::V201][usize::from(random.bool())]);
        let mut wanted = content(&["A", "B", "C"]);
        for _ in 0..40 {
            match random.u32(..12) {
                0 => {
                    let all = ["A", "B", "C", "D", "E", "F", "G"];
                    let some: Vec<&str> = all.into_iter().filter(|_| random.bool()).collect();
                    wanted = content(&some);
                }
                1 => {
                    world.booted_at = Some(world.now);
                    if random.bool() {
                        world.list.clear();
                        world.list_version = 0;
                    }
                }
                2 => world.stored.clear(),
                3 => world.now = world.now.plus_millis(AGAIN_MS * 20),
                _ => {}
            }
            let answer = match random.u32(..8) {
                0 => Answer::ReplyLost,
                1 => Answer::CallLost,
                2 => Answer::NotSent(NotSent::Expired),
                _ => Answer::Good,
            };
            if !world.run_one(&wanted, &answer) {
                world.now = world.now.plus_millis(AGAIN_MS);
            }
        }
        world.booted_at = Some(world.now);
        world.now = world.now.plus_millis(1);
        world.run(&wanted, 40);
        world.assert_in_sync(&wanted);
    }
}
