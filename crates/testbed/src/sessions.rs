//! Sessions as chargers send them, from public bug reports, with the views that they must yield.
//!
//! They are played twice: in virtual time, by a test of crate `central`, and over real sockets, by tests of crate
//! `wattpost`. What both share is here: the files, what a charger sends, and the comparison with what is shown.
//! `crates/central/tests/sessions` has one file for each session; its `README.md` explains the members.

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file.
#[derive(Debug)]
pub struct Session {
    /// The file's name without its extension.
    pub name: String,
    /// Versions of OCPP that it is sent in, such as `1.6`.
    pub versions: Vec<String>,
    /// What the charger does.
    pub steps: Vec<Step>,
    socket: Socket,
    expect: Expectation,
}

/// One thing that a charger does.
#[derive(Debug)]
pub struct Step {
    /// When, in seconds since the beginning of the session.
    pub seconds: i64,
    /// What.
    pub what: What,
    /// The name that later steps have for the `transactionId` of the answer.
    id_name: Option<String>,
}

/// What a charger does in a step.
#[derive(Debug)]
pub enum What {
    /// It sends a CALL; times and ids in the payload are not filled in yet.
    Call {
        /// The action.
        action: String,
        /// The payload.
        payload: Value,
    },
    /// It ends its connection.
    Disconnect,
    /// It ends its connection, if that is open, and opens a new one.
    Reconnect,
}

/// The members of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What goes wrong, in one sentence.
    #[expect(dead_code, reason = "for the reader of the file")]
    about: String,
    /// Where it was seen.
    #[expect(dead_code, reason = "for the reader of the file")]
    source: String,
    versions: Vec<String>,
    steps: Vec<Vec<Value>>,
    #[serde(default)]
    socket: Socket,
    expect: Expectation,
}

/// How the session is played over a socket, where all steps are played at once.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Socket {
    /// The second of the session at which all steps are played; see [`Session::now_at`].
    #[serde(default)]
    now: Option<i64>,
    /// Why it cannot be played over a socket.
    #[serde(default)]
    impossible: Option<String>,
}

#[derive(Debug, Deserialize)]
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

/// All sessions, by name.
///
/// # Errors
///
/// A file cannot be read, or is not a session; with its path.
pub fn sessions() -> anyhow::Result<Vec<Session>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../central/tests/sessions");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    let read = |path: &PathBuf| Session::read(path).with_context(|| path.display().to_string());
    paths.iter().map(read).collect()
}

impl Session {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let file: File = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let name = path.file_stem().context("a name")?;
        let session = Self {
            name: name.to_string_lossy().into_owned(),
            versions: file.versions,
            steps: file
                .steps
                .iter()
                .map(|step| Step::read(step))
                .collect::<Result<_, _>>()?,
            socket: file.socket,
            expect: file.expect,
        };
        Ok(session)
    }

    /// Why it cannot be played over a socket; none if it can be.
    pub fn impossible_over_a_socket(&self) -> Option<&str> {
        self.socket.impossible.as_deref()
    }

    /// The second of the session at which all its steps are played over a socket: times in messages up to it are in the past,
    /// later ones in the future. Of a session about transactions it is the last step, because a charger reports what
    /// has happened. Of a session about connectors it is the beginning of the last connection, because a status from
    /// before its connection is one that the charger kept.
    pub fn now_at(&self) -> i64 {
        let reconnects = |step: &&Step| matches!(step.what, What::Reconnect);
        let last = match self.expect.connectors.is_empty() {
            true => self.steps.last(),
            false => self.steps.iter().rfind(reconnects),
        };
        let default = last.map_or(0, |step| step.seconds);
        self.socket.now.unwrap_or(default)
    }

    /// Lets `player` do all steps. `base_ms` is the time of the session's beginning, in milliseconds since 1970; it is a
    /// whole second, because some chargers send only those.
    pub fn play(&self, base_ms: i64, player: &mut impl Player) -> Played {
        let mut played = Played {
            base_ms,
            late_ms: 0,
            arrivals: Vec::new(),
            answers: Vec::new(),
            ids: BTreeMap::new(),
        };
        // A gateway reads its clock before it reads from a socket. A message that arrives in between has the earlier time,
        // but never that of the message before it.
        let mut previous_ms = player.now_ms();
        for (at, step) in self.steps.iter().enumerate() {
            player.begin_step(at, step.seconds);
            // Records keep milliseconds, and steps of one millisecond would have no order.
            let before_ms = player.now_ms();
            while !player.is_virtual() && player.now_ms() == before_ms {
                std::thread::sleep(Duration::from_micros(200));
            }
            let begun_ms = player.now_ms();
            let from_ms = if player.is_virtual() {
                begun_ms
            } else {
                previous_ms
            };
            previous_ms = begun_ms;
            let answer = match &step.what {
                What::Disconnect => {
                    player.disconnect();
                    Value::Null
                }
                What::Reconnect => {
                    player.disconnect();
                    player.connect();
                    Value::Null
                }
                What::Call { action, payload } => {
                    let payload = played.fill(payload);
                    player.call(&message_id(at), action, &payload.to_string())
                }
            };
            let mut to_ms = player.now_ms();
            if !player.is_virtual() {
                played.late_ms = to_ms - base_ms - self.now_at() * 1_000;
                to_ms += EPOCH_AHEAD_MS_MAX;
            }
            played.arrivals.push((step.seconds, from_ms, to_ms));
            if let Some(name) = &step.id_name {
                let id = answer["transactionId"].clone();
                played.ids.insert(name.clone(), id);
            }
            played.answers.push(answer);
        }
        played
    }

    /// What differs between what is shown and what is expected.
    pub fn faults(&self, played: &Played, shown: &Shown) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(expected) = &self.expect.transactions {
            if expected.len() != shown.transactions.len() {
                faults.push(format!(
                    "expected {} transactions, found {}: {}",
                    expected.len(),
                    shown.transactions.len(),
                    json!(shown.transactions)
                ));
            }
            for (at, (expected, actual)) in expected.iter().zip(&shown.transactions).enumerate() {
                for difference in played.differences(expected, actual) {
                    faults.push(format!("transaction {at}: {difference}"));
                }
            }
        }
        for expected in &self.expect.connectors {
            let is_wanted = |found: &&Value| {
                ["evse", "connector"]
                    .iter()
                    .all(|name| expected.get(*name) == found.get(*name))
            };
            match shown.connectors.iter().find(is_wanted) {
                Some(actual) => faults.extend(played.differences(expected, actual)),
                None => faults.push(format!("no connector {}", json!(expected))),
            }
        }
        for (step, expected) in &self.expect.answers {
            for difference in played.differences(expected, &played.answers[*step]) {
                faults.push(format!("answer to step {step}: {difference}"));
            }
        }
        for (step, expected) in &self.expect.notes {
            let found = shown.notes.get(&message_id(*step));
            if found != expected.as_ref() {
                faults.push(format!(
                    "notes of step {step}: expected {expected:?}, found {found:?}"
                ));
            }
        }
        faults
    }
}

impl Step {
    fn read(step: &[Value]) -> anyhow::Result<Self> {
        let seconds = step.first().and_then(Value::as_i64);
        let action = step.get(1).and_then(Value::as_str);
        let id_name = step.get(3).and_then(Value::as_str).map(str::to_owned);
        let (Some(seconds), Some(action)) = (seconds, action) else {
            bail!("a step without seconds and action: {}", json!(step));
        };
        let what = match (action, step.get(2)) {
            ("disconnect", None) => What::Disconnect,
            ("reconnect", None) => What::Reconnect,
            (action, Some(payload)) => What::Call {
                action: action.to_owned(),
                payload: payload.clone(),
            },
            _ => bail!("a step without payload: {}", json!(step)),
        };
        Ok(Self {
            seconds,
            what,
            id_name,
        })
    }
}

/// A gateway gives each connection a millisecond of its own, so the time of one of many that connect together is ahead
/// of the clock: by as many milliseconds as there are connections at most.
const EPOCH_AHEAD_MS_MAX: i64 = 3_000;

/// The message id of the call in this step.
pub fn message_id(step: usize) -> String {
    format!("m{step}")
}

/// A charger that plays a session; it is connected at the beginning.
pub trait Player {
    /// A step begins: its number, and the seconds of the session.
    fn begin_step(&mut self, step: usize, seconds: i64);
    /// Whether the time is that of the session, exactly.
    fn is_virtual(&self) -> bool;
    /// The time for arrivals, in milliseconds since 1970.
    fn now_ms(&self) -> i64;
    /// Connects.
    fn connect(&mut self);
    /// Ends the connection; without effect if it has none.
    fn disconnect(&mut self);
    /// Calls, and returns the payload of the CALLRESULT.
    fn call(&mut self, id: &str, action: &str, payload: &str) -> Value;
}

/// A session as it was played.
#[derive(Debug)]
pub struct Played {
    base_ms: i64,
    /// How much later than [`Session::now_at`] the last step was played; 0 in virtual time.
    late_ms: i64,
    /// Of each step: its seconds of the session, and between which times it arrived.
    arrivals: Vec<(i64, i64, i64)>,
    answers: Vec<Value>,
    /// Ids that the central system assigned, by the step's name for them.
    ids: BTreeMap<String, Value>,
}

/// What is shown of the charger that played a session.
#[derive(Debug, Default)]
pub struct Shown {
    /// Its transactions in the form of the API, in any order; see [`Shown::of`].
    transactions: Vec<Value>,
    /// Its connectors in the form of the API.
    connectors: Vec<Value>,
    /// The notes of its calls that were recorded, by message id.
    notes: BTreeMap<String, Vec<String>>,
}

impl Shown {
    /// Transactions and connectors are in the form of the API.
    pub fn of(
        mut transactions: Vec<Value>,
        connectors: Vec<Value>,
        notes: BTreeMap<String, Vec<String>>,
    ) -> Self {
        transactions.sort_by_key(|view| {
            ["started_at", "ended_at", "key"].map(|name| view[name].as_str().map(str::to_owned))
        });
        let keys: Vec<Value> = transactions
            .iter()
            .map(|view| view["key"].clone())
            .collect();
        for view in &mut transactions {
            if let Some(next) = view["closed"].get_mut("transaction") {
                *next = json!(keys.iter().position(|key| key == next));
            }
            let checks = view["checks"].as_array().into_iter().flatten();
            view["checks"] = checks.map(|check| check["code"].clone()).collect();
        }
        Self {
            transactions,
            connectors,
            notes,
        }
    }
}

impl Played {
    /// Replaces `"@300"` by the time 300 seconds after the session's beginning (see [`Played::written_time`]), and
    /// `"$name"` by the id that was given under this name: `"$name:text"` as a string, `"$name:float"` with a fraction.
    fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match (text.strip_prefix('$'), text.strip_prefix('@')) {
                (Some(name), _) => self.given_id(name),
                (_, Some(time)) => json!(self.written_time(time)),
                _ => value.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (name.clone(), self.fill(value)))
                .collect(),
            _ => value.clone(),
        }
    }

    fn given_id(&self, name: &str) -> Value {
        let (name, form) = name.split_once(':').unwrap_or((name, ""));
        let id = self
            .ids
            .get(name)
            .unwrap_or_else(|| panic!("no step names an id {name}"));
        match form {
            "" => id.clone(),
            "text" => json!(id.to_string()),
            "float" => json!(id.as_f64()),
            _ => panic!("form {form} of an id"),
        }
    }

    /// The time so many seconds after the beginning: `300`, `300s` without a fraction, `300n` with nanoseconds, `300l`
    /// without a zone, `300+2` and `300-5` at an offset of so many hours.
    fn written_time(&self, time: &str) -> String {
        let offset_at = time.rfind(['+', '-']).filter(|at| *at > 0);
        let (seconds, offset) = time.split_at(offset_at.unwrap_or(time.len()));
        let digits_end = seconds
            .rfind(|letter: char| letter.is_ascii_digit())
            .map_or(0, |at| at + 1);
        let (seconds, form) = seconds.split_at(digits_end);
        let seconds: i64 = seconds.parse().unwrap_or_else(|_| panic!("time @{time}"));
        let hours: i64 = offset.parse().unwrap_or(0);
        let text = rfc3339(self.base_ms + (seconds + hours * 3_600) * 1_000);
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

    /// The members in which `actual` is not as expected.
    fn differences(&self, expected: &Map<String, Value>, actual: &Value) -> Vec<String> {
        expected
            .iter()
            .filter(|(name, value)| !self.is_equal(value, &actual[name.as_str()]))
            .map(|(name, value)| {
                let found = &actual[name.as_str()];
                format!("{name}: expected {}, found {found}", self.fill(value))
            })
            .collect()
    }

    fn is_equal(&self, expected: &Value, actual: &Value) -> bool {
        if let Some(seconds) = expected.as_str().and_then(|text| text.strip_prefix('@')) {
            let actual = actual.as_str().and_then(|text| text.parse().ok());
            return match (seconds.parse(), actual) {
                (Ok(seconds), Some(actual)) => self.is_at(seconds, actual),
                _ => false,
            };
        }
        if let (Some(expected), Some(actual)) = (expected.as_object(), actual.as_object()) {
            return self.differences(expected, &json!(actual)).is_empty();
        }
        let expected = self.fill(expected);
        match (expected.as_f64(), actual.as_f64()) {
            (Some(expected), Some(actual)) => (expected - actual).abs() < 1e-6,
            _ => expected == *actual,
        }
    }

    /// Whether a time is that of this second of the session: the time that a charger sends for it (put back by an arrival
    /// it may be late by as much as the arrival), or the arrival of a step of that second.
    fn is_at(&self, seconds: i64, actual: jiff::Timestamp) -> bool {
        let actual = actual.as_millisecond();
        let told = self.base_ms + seconds * 1_000;
        (told..=told + self.late_ms).contains(&actual)
            || self
                .arrivals
                .iter()
                .any(|(at, from, to)| *at == seconds && (*from..=*to).contains(&actual))
    }
}

/// A time in milliseconds since 1970, with three decimals and `Z`.
fn rfc3339(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_else(|error| panic!("{ms}: {error}"));
    format!("{at:.3}")
}
