//! Sessions as chargers send them, from public bug reports, with the views that they must yield. A session runs through
//! the station, and its records are applied in the order of the journal and in random orders, with repeats.
//!
//! `tests/sessions/*.json` has one file for each session; `tests/sessions/README.md` explains the members.

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use crate::common::{TestCharger, database, setup};
use central::memory::Contents;
use central::model::TransactionView;
use central::record::Notes;
use central::resend::ResendMemory;
use central::station::CloseReason;
use central::{Record, Timestamp};
use ocpp::Version;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Random orders of delivery for each session.
const ORDERS: u64 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    /// What goes wrong, in one sentence.
    #[expect(dead_code, reason = "for the reader of the file")]
    about: String,
    /// Where it was seen.
    #[expect(dead_code, reason = "for the reader of the file")]
    source: String,
    /// Versions of OCPP that it is sent in.
    versions: Vec<Version>,
    /// What the charger does: `[seconds, action, payload]`, `[seconds, "disconnect"]` or `[seconds, "reconnect"]`.
    steps: Vec<Vec<Value>>,
    expect: Expectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    /// By the time of their start; only the members that are named are compared.
    #[serde(default)]
    transactions: Option<Vec<Map<String, Value>>>,
    #[serde(default)]
    connectors: Vec<Map<String, Value>>,
    /// Step (from 0) to members of its answer.
    #[serde(default)]
    answers: BTreeMap<usize, Map<String, Value>>,
    /// Step (from 0) to the notes of its record; `null` = nothing is recorded.
    #[serde(default)]
    notes: BTreeMap<usize, Option<Vec<String>>>,
}

/// A session as it was played.
struct Played {
    /// What the journal has, and the step that made it.
    records: Vec<(usize, Vec<u8>)>,
    answers: Vec<String>,
    /// Ids that the central system gave, by the step's name for them.
    ids: BTreeMap<String, Value>,
}

/// Replaces `"@300"` by the time 300 seconds after the session's beginning (see [`written_time`]), and `"$name"` by the
/// id that was given under this name: `"$name:text"` as a string, `"$name:float"` with a fraction.
fn fill(value: &Value, ids: &BTreeMap<String, Value>) -> Value {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix('$') {
                return given_id(name, ids);
            }
            match text.strip_prefix('@') {
                Some(time) => json!(written_time(time)),
                None => value.clone(),
            }
        }
        Value::Array(items) => items.iter().map(|item| fill(item, ids)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), fill(value, ids)))
            .collect(),
        _ => value.clone(),
    }
}

fn given_id(name: &str, ids: &BTreeMap<String, Value>) -> Value {
    let (name, form) = name.split_once(':').unwrap_or((name, ""));
    let id = ids.get(name).unwrap_or_else(|| panic!("no id {name}"));
    match form {
        "" => id.clone(),
        "text" => json!(id.to_string()),
        "float" => json!(id.as_f64()),
        _ => panic!("form {form}"),
    }
}

/// The time so many seconds after the beginning: `300`, `300s` without a fraction, `300n` with nanoseconds, `300l`
/// without a zone, `300+2` and `300-5` at an offset of so many hours.
fn written_time(time: &str) -> String {
    let offset_at = time.rfind(['+', '-']).filter(|at| *at > 0);
    let (seconds, offset) = time.split_at(offset_at.unwrap_or(time.len()));
    let digits_end = seconds
        .rfind(|letter: char| letter.is_ascii_digit())
        .map_or(0, |at| at + 1);
    let (seconds, form) = seconds.split_at(digits_end);
    let seconds: i64 = seconds.parse().unwrap_or_else(|_| panic!("time @{time}"));
    let hours: i64 = offset.parse().unwrap_or(0);
    let local = crate::common::NOW.plus_millis((seconds + hours * 3_600) * 1_000);
    let text = local.to_string();
    match (form, offset) {
        ("", "") => text,
        ("", _) => {
            let sign = if hours < 0 { '-' } else { '+' };
            text.replace('Z', &format!("{sign}{:02}:00", hours.abs()))
        }
        ("s", "") => text.replace(".000Z", "Z"),
        ("n", "") => text.replace(".000Z", ".000000000Z"),
        ("l", "") => text.replace('Z', ""),
        _ => panic!("time @{time}"),
    }
}

fn play(session: &Session, version: Version) -> Played {
    // As gateways number connections: by the milliseconds of their beginning.
    let connect = |at: Timestamp, memory| {
        let mut setup = setup(version);
        setup.epoch = u64::try_from(at.0).expect("after 1970");
        setup.memory = memory;
        setup.connect_at(at)
    };
    let mut charger = connect(crate::common::NOW, ResendMemory::default());
    let mut played = Played {
        records: Vec::new(),
        answers: Vec::new(),
        ids: BTreeMap::new(),
    };
    let mut taken = 0;
    for (at, step) in session.steps.iter().enumerate() {
        let seconds = step[0].as_i64().expect("seconds");
        let action = step[1].as_str().expect("an action");
        charger.now = Timestamp(crate::common::NOW.0 + seconds * 1_000);
        let answer = if matches!(action, "disconnect" | "reconnect") {
            // Without effect if it is disconnected already.
            charger.disconnects(CloseReason::ByCharger(None));
            take(&mut played, &charger, &mut taken, at);
            if action == "reconnect" {
                let now = charger.now;
                charger = connect(now, charger.station.into_memory());
                taken = 0;
            }
            String::new()
        } else {
            let payload = fill(&step[2], &played.ids);
            charger.succeeds(&format!("m{at}"), action, &payload.to_string())
        };
        if let Some(name) = step.get(3).and_then(Value::as_str) {
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            played
                .ids
                .insert(name.to_owned(), answer["transactionId"].clone());
        }
        played.answers.push(answer);
        take(&mut played, &charger, &mut taken, at);
    }
    played
}

fn take(played: &mut Played, charger: &TestCharger, taken: &mut usize, step: usize) {
    let new = charger.journal.iter().skip(*taken);
    played
        .records
        .extend(new.map(|bytes| (step, bytes.clone())));
    *taken = charger.journal.len();
}

/// Transactions as they are shown, by the time of their start.
fn shown(contents: &Contents) -> Vec<Value> {
    let mut views = central::model::pair_orphans(database::transactions(contents));
    views.sort_by_key(|view: &TransactionView| (view.started_at, view.ended_at, view.key));
    views
        .iter()
        .map(|view| {
            let mut value = serde_json::to_value(view).expect("JSON");
            let codes: Vec<_> = view.checks.iter().map(|check| check.code()).collect();
            value["checks"] = json!(codes);
            value
        })
        .collect()
}

fn connectors(contents: &Contents) -> Vec<Value> {
    contents
        .states
        .connectors
        .iter()
        .map(|((charger, evse, connector), state)| {
            let charger = database::charger(contents, charger);
            serde_json::to_value(state.view(&charger, *evse, *connector)).expect("JSON")
        })
        .collect()
}

/// Whether `actual` has the members that are expected of it.
fn differences(expected: &Map<String, Value>, actual: &Value) -> Vec<String> {
    expected
        .iter()
        .filter(|(name, value)| !is_equal(value, &actual[name.as_str()]))
        .map(|(name, value)| format!("{name}: expected {value}, found {}", actual[name.as_str()]))
        .collect()
}

fn is_equal(expected: &Value, actual: &Value) -> bool {
    match (expected.as_f64(), actual.as_f64()) {
        (Some(expected), Some(actual)) => (expected - actual).abs() < 1e-6,
        _ => expected == actual,
    }
}

fn faults_of(session: &Session, played: &Played, contents: &Contents) -> Vec<String> {
    let mut faults = Vec::new();
    let shown = shown(contents);
    if let Some(expected) = &session.expect.transactions {
        if expected.len() != shown.len() {
            faults.push(format!(
                "expected {} transactions, found {}: {}",
                expected.len(),
                shown.len(),
                json!(shown)
            ));
        }
        for (at, (expected, actual)) in expected.iter().zip(&shown).enumerate() {
            let expected = fill(&Value::Object(expected.clone()), &played.ids);
            let expected = expected.as_object().expect("an object");
            for difference in differences(expected, actual) {
                faults.push(format!("transaction {at}: {difference}"));
            }
        }
    }
    let connectors = connectors(contents);
    for expected in &session.expect.connectors {
        let expected = fill(&Value::Object(expected.clone()), &played.ids);
        let expected = expected.as_object().expect("an object");
        let place = |value: &Value| (value["evse"].clone(), value["connector"].clone());
        let wanted = place(&Value::Object(expected.clone()));
        match connectors.iter().find(|found| place(found) == wanted) {
            Some(actual) => faults.extend(differences(expected, actual)),
            None => faults.push(format!("no connector {wanted:?}")),
        }
    }
    for (step, expected) in &session.expect.answers {
        let expected = fill(&Value::Object(expected.clone()), &played.ids);
        let actual: Value = serde_json::from_str(&played.answers[*step]).expect("JSON");
        for difference in differences(expected.as_object().expect("an object"), &actual) {
            faults.push(format!("answer to step {step}: {difference}"));
        }
    }
    for (step, expected) in &session.expect.notes {
        let found = played
            .records
            .iter()
            .filter(|(of, _)| of == step)
            .map(|(_, bytes)| Record::decode(bytes).expect("a record"))
            .find(|record| !record.action.is_empty())
            .map(|record| names(record.notes));
        if found != *expected {
            faults.push(format!(
                "notes of step {step}: expected {expected:?}, found {found:?}"
            ));
        }
    }
    faults
}

fn names(notes: Notes) -> Vec<String> {
    notes.names().map(str::to_owned).collect()
}

fn check(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("UTF-8");
    let session: Session =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut faults = Vec::new();
    for &version in &session.versions {
        let played = play(&session, version);
        let records: Vec<_> = (1..).zip(&played.records).collect();
        let apply = |order: &[usize]| {
            database::apply(order.iter().map(|&at| {
                let (seq, (_, bytes)) = records[at];
                (database::id(seq), bytes.as_slice())
            }))
        };
        let mut order: Vec<usize> = (0..records.len()).collect();
        let contents = apply(&order);
        let plain = faults_of(&session, &played, &contents);
        faults.extend(plain.iter().map(|fault| format!("{version}: {fault}")));
        for seed in 0..ORDERS {
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
            let repeated: Vec<usize> = order.iter().chain(order.iter().take(3)).copied().collect();
            let other = apply(&repeated);
            if plain.is_empty() {
                for fault in faults_of(&session, &played, &other) {
                    faults.push(format!("{version}, order {seed}: {fault}"));
                }
            }
        }
    }
    faults
}

/// Sessions at least; the corpus only grows.
const SESSIONS_MIN: usize = 120;

fn session_paths() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of sessions")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

#[test]
fn there_are_many_sessions_and_no_two_are_equal() {
    let paths = session_paths();
    assert!(paths.len() >= SESSIONS_MIN, "{} sessions", paths.len());
    let mut names_by_steps: BTreeMap<String, String> = BTreeMap::new();
    for path in &paths {
        let name = name_of(path);
        let (number, rest) = name.split_at(3);
        let has_number = number.bytes().all(|byte| byte.is_ascii_digit());
        assert!(has_number && rest.starts_with('-'), "{name}");
        let text = std::fs::read_to_string(path).expect("UTF-8");
        let session: Value = serde_json::from_str(&text).expect("JSON");
        let steps = session["steps"].to_string();
        if let Some(other) = names_by_steps.insert(steps, name.clone()) {
            panic!("{name} and {other} have equal steps");
        }
    }
}

#[test]
fn every_session_yields_the_expected_views_in_any_order() {
    let paths = session_paths();
    let mut wrong = Vec::new();
    for path in &paths {
        let name = name_of(path);
        for fault in check(path) {
            wrong.push(format!("{name}: {fault}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} sessions, {} faults:\n{}",
        paths.len(),
        wrong.len(),
        wrong.join("\n")
    );
}
