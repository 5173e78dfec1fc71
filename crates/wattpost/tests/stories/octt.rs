//! The cases of the official test tool (OCTT) that can be checked without its laboratory, against the real binary.
//!
//! The cases are in `tests/octt/VERSION.txt`, one step a line; those of 2.0.1 are played with 2.1 too:
//!
//! ```text
//! before wattpost token add BLOCKED --status blocked     before all cases of the file
//! case TC_023_3_CSMS Authorize with a blocked token is answered with Blocked
//! boot                                     connects, and sends a BootNotification that is accepted
//! accepted                                 repeats the BootNotification until it is accepted
//! connect password=SECRET                  connects; user=NAME and protocol=NAME are possible too
//! refused 401 password=WRONG               the handshake is answered with this status
//! disconnect                               the charger ends its connection
//! closed                                   the central system ends the connection
//! -> Authorize {"idTag":"BLOCKED"}         the charger calls
//! <- {"idTagInfo":{"status":"Blocked"}}    what the answer must have; or: <- error SecurityError
//! command Reset {"type":"Hard"}            a command over the API, which must arrive as this call
//! rotate SECRET                            a change of the charger's password over the API, which must arrive as a call
//! reply {"status":"Accepted"}              the charger's answer; or: reply error NotImplemented
//! outcome {"class":"answered"}             what the API must show as the outcome
//! unsent Reset {"type":"Hard"}             a command that must not arrive; an outcome follows
//! shown /api/v1/chargers/$charger {…}      what the API must show, in the end
//! ```
//!
//! In an expectation, members that are not named do not matter, `"*"` is any value, and `"$name"` is any value the first
//! time, which is then the value of `"$name"`. `"$charger"` is the identity, `"$version"` the version of OCPP, `"$now"` the time of the clock, `"$now-60"` a
//! minute before. `docs/octt.md` lists the cases, and those that are not checked with the reason; a test compares.

use crate::charger::{Charger, Incoming};
use crate::handshake::send_handshake;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use testbed::{http, until};

/// The deadline for what the API must show.
const SHOWN: Duration = Duration::from_secs(30);
/// Cases that run at the same time.
const PARALLEL: usize = 16;
/// Settings under which the cases run.
pub(crate) const SETTINGS: &str = "[gateway]\ndirectory_refresh_s = 1\n";

/// Where the cases are played.
pub(crate) struct System<'a> {
    pub(crate) ocpp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Runs a subcommand of `wattpost` with these settings.
    pub(crate) wattpost: &'a (dyn Fn(&str, &[&str]) + Sync),
}

/// One version's file of cases.
pub(crate) struct Script {
    pub(crate) version: &'static str,
    before: Vec<String>,
    pub(crate) cases: Vec<Case>,
}

pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) title: String,
    /// Each with the number of its line.
    steps: Vec<(usize, String)>,
}

/// The cases of `file`, to be played with `version`.
fn script(version: &'static str, file: &str) -> Script {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/octt/{file}.txt"));
    let text = std::fs::read_to_string(&path).expect("the file of cases");
    let mut script = Script {
        version,
        before: Vec::new(),
        cases: Vec::new(),
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("before wattpost ") {
            // The identities of chargers end with the version.
            script
                .before
                .push(rest.replace(&format!("-{file} "), &format!("-{version} ")));
        } else if let Some(rest) = line.strip_prefix("case ") {
            let (id, title) = rest.split_once(' ').expect("an id and a title");
            script.cases.push(Case {
                id: id.to_owned(),
                title: title.to_owned(),
                steps: Vec::new(),
            });
        } else {
            let case = script.cases.last_mut().expect("a case before its steps");
            case.steps.push((number + 1, line.to_owned()));
        }
    }
    script
}

/// The cases of 2.0.1 hold in 2.1 too; the wording of its own cases is not public.
pub(crate) fn scripts() -> [Script; 3] {
    [
        script("1.6", "1.6"),
        script("2.0.1", "2.0.1"),
        script("2.1", "2.0.1"),
    ]
}

/// Plays the cases of `scripts`; fails with the list of those that failed.
pub(crate) fn play_all(system: &System<'_>, scripts: &[Script]) {
    let before: BTreeSet<_> = scripts.iter().flat_map(|script| &script.before).collect();
    for line in before {
        let words: Vec<&str> = line.split(' ').collect();
        (system.wattpost)(&words[..2].join(" "), &words[2..]);
    }
    // The gateway reads the tokens and chargers that were added together, this one last.
    (system.wattpost)(
        "charger add",
        &["OCTT-last", "--password", "a password of the last"],
    );
    let is_known = until(SHOWN, || {
        let answer = send_handshake(system.ocpp, "OCTT-last", "ocpp1.6", "");
        answer.is_ok_and(|(head, _)| head.starts_with("HTTP/1.1 401"))
    });
    assert!(
        is_known,
        "the gateway does not know the chargers that were added"
    );
    let all = scripts.iter().flat_map(|script| {
        let cases = script.cases.iter();
        cases.map(|case| (script.version, case))
    });
    let all: Vec<_> = all.collect();
    let count = all.len();
    let queue = Mutex::new(all);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no holder panics").pop();
                    let Some((version, case)) = next else { break };
                    if let Err(error) = play(system, version, case) {
                        let mut failed = failed.lock().expect("no holder panics");
                        failed.push(format!("{version} {} ({}): {error}", case.id, case.title));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no holder panics");
    assert!(
        failed.is_empty(),
        "{} of {count} cases failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    println!("{count} cases passed");
}

fn play(system: &System<'_>, version: &'static str, case: &Case) -> Result<(), String> {
    let charger = format!("{}-{version}", case.id);
    let mut player = Player {
        system,
        protocol: format!("ocpp{version}"),
        variables: BTreeMap::from([
            ("charger".to_owned(), Value::from(charger.as_str())),
            ("version".to_owned(), Value::from(version)),
        ]),
        charger,
        connection: None,
        received: VecDeque::new(),
        calls: 0,
        commands: 0,
        command: None,
        open_call: None,
    };
    for (number, step) in &case.steps {
        let played = player.step(step);
        played.map_err(|error| format!("line {number}: {step}: {error}"))?;
    }
    Ok(())
}

/// One charger and its operator.
struct Player<'a> {
    system: &'a System<'a>,
    protocol: String,
    charger: String,
    variables: BTreeMap<String, Value>,
    connection: Option<Charger>,
    /// Frames that were received before they were expected.
    received: VecDeque<Value>,
    calls: u32,
    commands: u32,
    /// The id of the last command.
    command: Option<String>,
    /// The message id of the call that the charger has not answered.
    open_call: Option<String>,
}

impl Player<'_> {
    fn step(&mut self, step: &str) -> Result<(), String> {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        match word {
            "boot" => {
                if self.connection.is_none() {
                    self.connect("")?;
                }
                let boot = match self.protocol.as_str() {
                    "ocpp1.6" => r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
                    _ => r#"{"reason":"PowerUp","chargingStation":{"vendorName":"V","model":"M"}}"#,
                };
                self.call("BootNotification", boot)?;
                self.answered(r#"{"status":"Accepted","currentTime":"*","interval":"*"}"#)
            }
            "accepted" => {
                let mut last = Ok(());
                until(SHOWN, || {
                    last = self.step("boot");
                    last.is_ok()
                });
                last
            }
            "connect" => self.connect(rest),
            "refused" => self.refused(rest),
            "disconnect" => {
                self.connection = None;
                self.received.clear();
                Ok(())
            }
            "closed" => self.closed(),
            "->" => {
                let (action, payload) = rest.split_once(' ').unwrap_or((rest, "{}"));
                self.call(action, payload)
            }
            "<-" => self.answered(rest),
            "command" => self.command(rest),
            "unsent" => self.post(rest).map(drop),
            "reply" => self.reply(rest),
            "rotate" => self.rotate(rest),
            "outcome" => self.outcome(rest),
            "shown" => self.shown(rest),
            "wattpost" => {
                let line = rest.replace("$charger", &self.charger);
                let words: Vec<&str> = line.split(' ').collect();
                (self.system.wattpost)(&words[..2].join(" "), &words[2..]);
                Ok(())
            }
            _ => Err("no such step".to_owned()),
        }
    }

    /// The status of a handshake, and the charger if it is 101. `options` may name another user, password and
    /// subprotocol.
    fn handshake(&self, options: &str) -> Result<(u16, Option<Charger>), String> {
        let (mut user, mut password) = (self.charger.as_str(), None);
        let mut protocol = self.protocol.as_str();
        for option in options.split_whitespace() {
            match option.split_once('=') {
                Some(("user", value)) => user = value,
                Some(("password", value)) => password = Some(value),
                Some(("protocol", value)) => protocol = value,
                _ => return Err(format!("no such option: {option}")),
            }
        }
        let lines = password.map_or_else(String::new, |password| {
            let basic = BASE64.encode(format!("{user}:{password}"));
            format!("Authorization: Basic {basic}\r\n")
        });
        let answer = send_handshake(self.system.ocpp, &self.charger, protocol, &lines);
        let (head, socket) = answer.map_err(|error| error.to_string())?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("no status: {head}"))?;
        let accepted = protocol.rsplit(',').next().unwrap_or_default();
        let chosen = format!("sec-websocket-protocol: {accepted}\r\n");
        if status == 101 && !head.to_ascii_lowercase().contains(&chosen) {
            return Err(format!("{accepted} was not chosen: {head}"));
        }
        Ok((status, (status == 101).then(|| Charger::on(socket))))
    }

    fn connect(&mut self, options: &str) -> Result<(), String> {
        match self.handshake(options)? {
            (_, Some(charger)) => {
                self.connection = Some(charger);
                self.received.clear();
                Ok(())
            }
            (status, None) => Err(format!("the handshake was answered with {status}")),
        }
    }

    fn refused(&self, rest: &str) -> Result<(), String> {
        let (status, options) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut seen = 0;
        // A new password takes effect when the gateway reads it.
        let is_refused = until(SHOWN, || {
            let answer = self.handshake(options);
            seen = answer.map_or(0, |(status, _)| status);
            seen.to_string() == status
        });
        match is_refused {
            true => Ok(()),
            false => Err(format!("the handshake was answered with {seen}")),
        }
    }

    fn connection(&mut self) -> Result<&mut Charger, String> {
        self.connection
            .as_mut()
            .ok_or_else(|| "the charger is not connected".to_owned())
    }

    fn closed(&mut self) -> Result<(), String> {
        loop {
            match self.connection()?.try_receive()? {
                Incoming::Text(_) => {}
                Incoming::Close(_) | Incoming::End => {
                    self.connection = None;
                    return Ok(());
                }
            }
        }
    }

    /// The next frame for which `is_wanted`. Others are kept.
    fn frame(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        if let Some(at) = self.received.iter().position(&is_wanted) {
            return self.received.remove(at).ok_or_else(String::new);
        }
        loop {
            match self.connection()?.try_receive()? {
                Incoming::Text(text) => {
                    let frame: Value = serde_json::from_str(&text)
                        .map_err(|error| format!("{error} in {text}"))?;
                    if is_wanted(&frame) {
                        return Ok(frame);
                    }
                    self.received.push_back(frame);
                }
                end => return Err(format!("the connection has ended: {end:?}")),
            }
        }
    }

    fn call(&mut self, action: &str, payload: &str) -> Result<(), String> {
        let payload = self.filled(payload)?;
        self.calls += 1;
        let frame = format!(r#"[2,"{}","{action}",{payload}]"#, self.calls);
        self.connection()?.send(&frame);
        Ok(())
    }

    fn answered(&mut self, expected: &str) -> Result<(), String> {
        let id = self.calls.to_string();
        let frame = self.frame(|frame| frame[0] != 2 && frame[1] == id.as_str())?;
        if let Some(code) = expected.strip_prefix("error ") {
            return match frame[0] == 4 && frame[2] == code {
                true => Ok(()),
                false => Err(format!("the answer is {frame}")),
            };
        }
        if frame[0] != 3 {
            return Err(format!("the answer is {frame}"));
        }
        let wanted: Value = parse(expected)?;
        self.compare(&wanted, &frame[2])
    }

    /// Sends a command over the API; returns its action and payload.
    fn post(&mut self, rest: &str) -> Result<(String, Value), String> {
        let (action, payload) = rest.split_once(' ').unwrap_or((rest, "{}"));
        let payload = self.filled(payload)?;
        self.commands += 1;
        let key = format!("Idempotency-Key: {}-{}\r\n", self.charger, self.commands);
        let path = format!("/api/v1/chargers/{}/commands", self.charger);
        let body = serde_json::json!({"action": action, "payload": payload}).to_string();
        let mut answer = Err(String::new());
        // The API knows a new charger when the record of its connection is stored.
        until(SHOWN, || {
            let posted = http::send(self.system.http, "POST", &path, &key, &body);
            answer = posted.map_err(|error| format!("{error:#}"));
            !matches!(answer, Ok((404, _)))
        });
        let (status, body) = answer?;
        let command: Value = parse(&body)?;
        match command["id"].as_str() {
            Some(id) if status == 200 || status == 202 => self.command = Some(id.to_owned()),
            _ => return Err(format!("the API answered {status}: {body}")),
        }
        Ok((action.to_owned(), payload))
    }

    fn command(&mut self, rest: &str) -> Result<(), String> {
        let (action, payload) = self.post(rest)?;
        let id = self.command.clone().unwrap_or_default();
        let frame = self.frame(|frame| frame[0] == 2)?;
        if frame[1] != id.as_str() || frame[2] != action.as_str() || frame[3] != payload {
            return Err(format!("the charger received {frame}"));
        }
        self.open_call = Some(id);
        Ok(())
    }

    fn rotate(&mut self, password: &str) -> Result<(), String> {
        let path = format!("/api/v1/chargers/{}/password", self.charger);
        let body = serde_json::json!({ "password": password }).to_string();
        let mut answer = Err(String::new());
        // The charger's version is known when the record of its connection is stored.
        until(SHOWN, || {
            let put = http::send(self.system.http, "PUT", &path, "", &body);
            answer = put.map_err(|error| format!("{error:#}"));
            !matches!(answer, Ok((404 | 409, _)))
        });
        let (status, body) = answer?;
        if status != 202 {
            return Err(format!("the API answered {status}: {body}"));
        }
        let frame = self.frame(|frame| frame[0] == 2)?;
        let is_right = match frame[2].as_str() {
            Some("ChangeConfiguration") => {
                frame[3] == serde_json::json!({"key": "AuthorizationKey", "value": password})
            }
            Some("SetVariables") => {
                let one = &frame[3]["setVariableData"][0];
                one["attributeValue"] == password
                    && one["component"]["name"] == "SecurityCtrlr"
                    && one["variable"]["name"] == "BasicAuthPassword"
            }
            _ => false,
        };
        if !is_right {
            return Err(format!("the charger received {frame}"));
        }
        self.open_call = frame[1].as_str().map(str::to_owned);
        Ok(())
    }

    fn reply(&mut self, rest: &str) -> Result<(), String> {
        let id = self.open_call.take().ok_or("no call is open")?;
        let frame = match rest.strip_prefix("error ") {
            Some(code) => format!(r#"[4,"{id}","{code}","",{{}}]"#),
            None => format!(r#"[3,"{id}",{}]"#, self.filled(rest)?),
        };
        self.connection()?.send(&frame);
        Ok(())
    }

    fn outcome(&mut self, rest: &str) -> Result<(), String> {
        let id = self.command.clone().ok_or("no command was sent")?;
        let path = format!("/api/v1/commands/{id}?wait=30");
        let answer = http::send(self.system.http, "GET", &path, "", "");
        let (status, body) = answer.map_err(|error| format!("{error:#}"))?;
        let command: Value = parse(&body)?;
        let wanted: Value = parse(rest)?;
        let compared = self.compare(&wanted, &command["outcome"]);
        compared.map_err(|error| format!("{error}; the API answered {status}: {body}"))
    }

    fn shown(&mut self, rest: &str) -> Result<(), String> {
        let (path, wanted) = rest.split_once(' ').ok_or("a path and what it shows")?;
        let path = path.replace("$charger", &self.charger);
        let wanted: Value = parse(wanted)?;
        let mut last = String::new();
        let is_shown = until(SHOWN, || {
            let compared = http::send(self.system.http, "GET", &path, "", "")
                .map_err(|error| format!("{error:#}"))
                .and_then(|(status, body)| Ok((status, parse::<Value>(&body)?)))
                .and_then(|(status, body)| {
                    let compared = self.compare(&wanted, &body);
                    compared.map_err(|error| format!("{error}; the API answered {status}: {body}"))
                });
            last = compared.err().unwrap_or_default();
            last.is_empty()
        });
        match is_shown {
            true => Ok(()),
            false => Err(last),
        }
    }

    /// JSON of a step, with the values of its variables.
    fn filled(&self, text: &str) -> Result<Value, String> {
        let mut value: Value = parse(text)?;
        self.fill(&mut value)?;
        Ok(value)
    }

    fn fill(&self, value: &mut Value) -> Result<(), String> {
        match value {
            Value::String(text) => {
                if let Some(name) = text.strip_prefix('$') {
                    let known = self.variable(name);
                    *value = known.ok_or_else(|| format!("no value is known for ${name}"))?;
                }
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill(item))?,
            Value::Object(members) => members
                .values_mut()
                .try_for_each(|member| self.fill(member))?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Option<Value> {
        let before = match name.strip_prefix("now") {
            Some("") => Some(0),
            Some(rest) => rest.strip_prefix('-').and_then(|text| text.parse().ok()),
            None => None,
        };
        match before {
            Some(seconds) => Some(Value::from(time(seconds))),
            None => self.variables.get(name).cloned(),
        }
    }

    fn compare(&mut self, wanted: &Value, seen: &Value) -> Result<(), String> {
        let differs = || Err(format!("{seen} is not {wanted}"));
        match (wanted, seen) {
            (Value::String(text), _) if text == "*" => match seen.is_null() {
                true => Err("a value is missing".to_owned()),
                false => Ok(()),
            },
            (Value::String(text), _) if text.starts_with('$') => match self.variable(&text[1..]) {
                Some(known) if known == *seen => Ok(()),
                Some(known) => Err(format!("{seen} is not {text}, which is {known}")),
                None if seen.is_null() => Err(format!("{text} has no value")),
                None => {
                    self.variables.insert(text[1..].to_owned(), seen.clone());
                    Ok(())
                }
            },
            (Value::Object(wanted), Value::Object(seen)) => {
                for (name, member) in wanted {
                    self.compare(member, seen.get(name).unwrap_or(&Value::Null))
                        .map_err(|error| format!("{name}: {error}"))?;
                }
                Ok(())
            }
            (Value::Array(wanted), Value::Array(items)) if wanted.len() == items.len() => {
                let mut pairs = wanted.iter().zip(items);
                pairs.try_for_each(|(wanted, item)| self.compare(wanted, item))
            }
            (Value::Number(wanted), Value::Number(number)) => {
                match wanted.as_f64() == number.as_f64() {
                    true => Ok(()),
                    false => differs(),
                }
            }
            _ if wanted == seen => Ok(()),
            _ => differs(),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}

/// The time so many seconds ago, in RFC 3339 without fractions.
fn time(seconds_ago: i64) -> String {
    let now = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
