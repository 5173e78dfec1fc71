//! Plays the files of `tests/sessions` in virtual time: a session runs through the station, and its records are applied in
//! the order of the journal and in random orders, with repeats. Crate `wattpost` plays them over real sockets.

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use crate::common::{NOW, TestCharger, database, setup};
use central::memory::Contents;
use central::resend::ResendMemory;
use central::station::CloseReason;
use central::{Record, Timestamp};
use ocpp::Version;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testbed::sessions::{Player, Session, Shown, sessions};

/// Random orders of delivery for each session.
const ORDERS: u64 = 10;

/// A charger in virtual time that plays a session.
struct Virtual {
    version: Version,
    /// None only while it connects.
    charger: Option<TestCharger>,
    /// What the journal has of its earlier connections.
    records: Vec<Vec<u8>>,
    now: Timestamp,
}

impl Virtual {
    fn new(version: Version) -> Self {
        Self {
            version,
            charger: Some(connected(version, NOW, ResendMemory::default())),
            records: Vec::new(),
            now: NOW,
        }
    }

    fn charger(&mut self) -> &mut TestCharger {
        self.charger.as_mut().expect("a charger")
    }

    /// What the journal has.
    fn into_records(mut self) -> Vec<Vec<u8>> {
        let journal = std::mem::take(&mut self.charger().journal);
        self.records.extend(journal);
        self.records
    }
}

fn connected(version: Version, at: Timestamp, memory: ResendMemory) -> TestCharger {
    let mut setup = setup(version);
    // As gateways number connections: by the milliseconds of their beginning.
    setup.epoch = u64::try_from(at.0).expect("after 1970");
    setup.memory = memory;
    setup.connect_at(at)
}

impl Player for Virtual {
    fn begin_step(&mut self, _: usize, seconds: i64) {
        self.now = NOW.plus_millis(seconds * 1_000);
        self.charger().now = self.now;
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn now_ms(&self) -> i64 {
        self.now.0
    }

    fn connect(&mut self) {
        let old = self.charger.take().expect("a charger");
        self.records.extend(old.journal);
        let memory = old.station.into_memory();
        self.charger = Some(connected(self.version, self.now, memory));
    }

    fn disconnect(&mut self) {
        self.charger().disconnects(CloseReason::ByCharger(None));
    }

    fn call(&mut self, id: &str, action: &str, payload: &str) -> Value {
        let answer = self.charger().succeeds(id, action, payload);
        serde_json::from_str(&answer).expect("JSON")
    }
}

/// What the database shows after these records.
fn shown(contents: &Contents) -> Shown {
    let views = database::transactions(contents);
    let transactions = central::model::resolve_sessions(views, contents.meter_values.values());
    let transactions = transactions.iter().map(|view| json!(view)).collect();
    let connectors = contents.states.connectors.iter();
    let connectors = connectors.map(|((charger, evse, connector), state)| {
        json!(state.view(&database::charger(contents, charger), *evse, *connector))
    });
    let records = contents.records.values();
    let calls = records
        .map(|bytes| Record::decode(bytes).expect("a record"))
        .filter(|record| !record.action.is_empty());
    let notes = |record: Record<'_>| record.notes.names().map(str::to_owned).collect();
    let notes: BTreeMap<_, _> = calls
        .map(|record| (record.message_id.to_owned(), notes(record)))
        .collect();
    Shown::of(transactions, connectors.collect(), notes)
}

fn check(session: &Session) -> Vec<String> {
    let mut faults = Vec::new();
    for version in &session.versions {
        let mut player = Virtual::new(serde_json::from_value(json!(version)).expect("a version"));
        let played = session.play(NOW.0, &mut player);
        let records = player.into_records();
        let records: Vec<_> = (1..).zip(&records).collect();
        let apply = |order: &[usize]| {
            database::apply(order.iter().map(|&at| {
                let (seq, bytes) = records[at];
                (database::id(seq), bytes.as_slice())
            }))
        };
        let mut order: Vec<usize> = (0..records.len()).collect();
        let plain = session.faults(&played, &shown(&apply(&order)));
        faults.extend(plain.iter().map(|fault| format!("{version}: {fault}")));
        for seed in 0..ORDERS {
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
            let repeated: Vec<usize> = order.iter().chain(order.iter().take(3)).copied().collect();
            let other = apply(&repeated);
            if plain.is_empty() {
                for fault in session.faults(&played, &shown(&other)) {
                    faults.push(format!("{version}, order {seed}: {fault}"));
                }
            }
        }
    }
    faults
}

/// Sessions at least; the corpus only grows.
const SESSIONS_MIN: usize = 350;

#[test]
fn there_are_many_sessions_and_no_two_are_equal() {
    let sessions = sessions().expect("sessions");
    assert!(
        sessions.len() >= SESSIONS_MIN,
        "{} sessions",
        sessions.len()
    );
    let mut names_by_steps: BTreeMap<String, &str> = BTreeMap::new();
    for session in &sessions {
        let name = session.name.as_str();
        let (number, rest) = name.split_at(3);
        let has_number = number.bytes().all(|byte| byte.is_ascii_digit());
        assert!(has_number && rest.starts_with('-'), "{name}");
        let steps = format!("{:?}", session.steps);
        if let Some(other) = names_by_steps.insert(steps, name) {
            panic!("{name} and {other} have equal steps");
        }
    }
}

#[test]
fn every_session_yields_the_expected_views_in_any_order() {
    let sessions = sessions().expect("sessions");
    let mut wrong = Vec::new();
    for session in &sessions {
        for fault in check(session) {
            wrong.push(format!("{}: {fault}", session.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} sessions, {} faults:\n{}",
        sessions.len(),
        wrong.len(),
        wrong.join("\n")
    );
}
