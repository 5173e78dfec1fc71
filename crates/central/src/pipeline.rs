//! The pipeline as an operator sees it: the parts that a message passes, what waits in each, and whether every
//! acknowledged message is accounted for. A pure function of reports and counts; nothing is asked here.
//!
//! What is not known is null, with the reason in `unknown`, and never 0.

use crate::Timestamp;
use crate::model::{
    GatewayReport, PROCESS_SILENT_MS_MAX, PartReport, ProcessReport, ProcessRole, QueuesReport,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A process, as far as it is known.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Its latest report.
    pub report: ProcessReport,
    /// An earlier report of the same start, for rates.
    pub before: Option<ProcessReport>,
    /// How long ago the latest report was heard, in milliseconds.
    pub age_ms: i64,
    /// Whether an operator has retired it since.
    pub is_retired: bool,
    /// Of a gateway: what the database has of its records, or why that is not known.
    pub counted: Result<Counted, String>,
}

/// How many of a gateway's records the database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The gateway's report at the time of the count: records that were durable.
    pub durable: u64,
    /// The same: records that were delivered.
    pub delivered: u64,
    /// Of the delivered ones, those that are stored, as messages or as dead letters.
    pub stored: u64,
    /// Every record up to here is stored.
    pub all_stored: u64,
    /// Records that were delivered a minute ago or earlier and are not stored. `None` until it counts for a minute.
    pub missing: Option<u64>,
}

/// What the API process knows of the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatabaseSeen {
    /// Whether it answered the last question; `None` before the first answer.
    pub up: Option<bool>,
    /// Since when `up` has this value.
    pub since: Option<Timestamp>,
    /// When it answered last.
    pub answered_at: Option<Timestamp>,
    /// The last refusal, and when it was.
    pub last_error: Option<(Timestamp, String)>,
    /// Dead letters, or why their number is not known.
    pub dead_letters: Option<Result<u64, String>>,
    /// Since when records are missing that nothing explains.
    pub unexplained_since: Option<Timestamp>,
}

/// The answer of `GET /api/v1/pipeline`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pipeline {
    /// For when it is made.
    pub as_of: String,
    /// Whether there is RabbitMQ between the journal and the database.
    pub has_broker: bool,
    /// The parts, in the order in which a message passes them.
    pub parts: Vec<Part>,
    /// The processes.
    pub processes: Vec<Process>,
    /// The positions of each gateway's records.
    pub watermarks: Vec<Watermarks>,
    /// Whether every acknowledged message is accounted for.
    pub balance: Balance,
}

/// The state of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It works.
    Works,
    /// It works, but one of its processes does not.
    Degraded,
    /// It does not work.
    Down,
    /// It works and is not in use: the bypass while RabbitMQ works.
    Idle,
    /// Nothing is known of it.
    Unknown,
}

/// A part of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// `chargers`, `gateways`, `journal`, `rabbitmq`, `bypass`, `consumers` or `database`.
    pub part: &'static str,
    /// Its state.
    pub state: PartState,
    /// The state in words.
    pub detail: String,
    /// Since when it has this state.
    pub since: Option<String>,
    /// Records that come in per second.
    pub in_per_s: Option<f64>,
    /// Records that go out per second.
    pub out_per_s: Option<f64>,
    /// Records that wait in it.
    pub waiting_records: Option<u64>,
    /// Their bytes.
    pub waiting_bytes: Option<u64>,
    /// The age of the oldest of them, in seconds.
    pub oldest_waiting_s: Option<u64>,
    /// In how many seconds it is full at the present rate.
    pub full_in_s: Option<u64>,
    /// The last fault.
    pub last_error: Option<LastError>,
    /// The versions of Wattpost of its processes.
    pub versions: Vec<String>,
    /// Why members are null.
    pub unknown: BTreeMap<&'static str, String>,
}

/// The last fault of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When it was seen last.
    pub at: String,
    /// What was wrong.
    pub detail: String,
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It reports.
    Running,
    /// It has not reported for 20 seconds.
    Gone,
    /// It has stopped in order.
    Stopped,
    /// It is a gateway that an operator has retired.
    Retired,
}

/// A process of Wattpost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// The gateway's id, or a random one.
    pub id: String,
    /// What it does.
    pub role: ProcessRole,
    /// The name of its machine.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Whether it runs.
    pub state: ProcessState,
    /// When it started, by its clock.
    pub started_at: String,
    /// How long ago it reported last, in milliseconds.
    pub reported_ms_ago: i64,
    /// Its parts at that time.
    pub parts: Vec<ProcessPart>,
    /// Where its gateway listens for chargers, each as `ADDRESS:PORT`; empty without one.
    pub listeners: Vec<String>,
}

/// A part of a process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessPart {
    /// Its name, as in `/health/ready`.
    pub part: String,
    /// Whether it works.
    pub up: bool,
    /// What is wrong, or a short description.
    pub detail: String,
    /// Since when `up` has this value.
    pub since: String,
}

/// The positions of one gateway's records. They are sequence numbers: each counts all records of the gateway so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watermarks {
    /// The gateway.
    pub gateway_id: String,
    /// Whether it runs.
    pub state: ProcessState,
    /// Written to the journal's file.
    pub written: u64,
    /// Durable in the journal: acknowledged to chargers.
    pub durable: u64,
    /// Confirmed by RabbitMQ, or stored directly.
    pub confirmed: u64,
    /// Every record up to here is stored; null if not known.
    pub stored: Option<u64>,
    /// Records in its journal that are not delivered.
    pub undelivered: u64,
    /// Why `stored` is null.
    pub unknown: BTreeMap<&'static str, String>,
}

/// `acknowledged = stored + dead_letters + journal + rabbitmq + difference`, over all records of the gateways that are
/// shown. Each gateway's journal records count too, such as connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Records that are durable: chargers have their answers.
    pub acknowledged: Option<u64>,
    /// Of these, stored in the database.
    pub stored: Option<u64>,
    /// Kept as dead letters.
    pub dead_letters: Option<u64>,
    /// In a journal and not delivered.
    pub journal: Option<u64>,
    /// Confirmed by RabbitMQ and not stored yet.
    pub rabbitmq: Option<u64>,
    /// Confirmed a minute ago or earlier, not stored, and not in RabbitMQ's queues: nothing explains where they are.
    pub difference: Option<u64>,
    /// Since when `difference` is not 0.
    pub unexplained_since: Option<String>,
    /// Why members are null.
    pub unknown: BTreeMap<&'static str, String>,
}

const NO_RATE: &str = "no process has reported twice since it started";
const NOT_MEASURED: &str = "this is not measured";

impl Observed {
    /// Whether it runs.
    #[must_use]
    pub const fn state(&self) -> ProcessState {
        if self.is_retired {
            ProcessState::Retired
        } else if self.report.has_stopped {
            ProcessState::Stopped
        } else if self.age_ms > PROCESS_SILENT_MS_MAX {
            ProcessState::Gone
        } else {
            ProcessState::Running
        }
    }

    fn is_running(&self) -> bool {
        self.state() == ProcessState::Running
    }

    pub(crate) fn name(&self) -> String {
        let role = match self.report.role {
            ProcessRole::Serve => "serve",
            ProcessRole::Gateway => "gateway",
            ProcessRole::Consumer => "consumer",
            ProcessRole::Api => "api",
        };
        format!("{role} {} on {}", self.report.id, self.report.host)
    }

    /// The growth of a figure per second. Not known if it fell: the process has started again meanwhile.
    fn rate(&self, figure: impl Fn(&ProcessReport) -> Option<u64>) -> Option<f64> {
        let before = self.before.as_ref()?;
        let took_ms = self.report.at.0 - before.at.0;
        let grown = figure(&self.report)?.checked_sub(figure(before)?)?;
        (took_ms > 0).then(|| grown as f64 * 1_000.0 / took_ms as f64)
    }
}

/// The pipeline at `now`.
#[must_use]
pub fn pipeline(
    now: Timestamp,
    has_broker: bool,
    processes: &[Observed],
    database: &DatabaseSeen,
) -> Pipeline {
    let view = View {
        now,
        has_broker,
        processes,
        queues: newest_queues(processes),
    };
    let mut parts = vec![view.chargers(), view.gateways(), view.journal()];
    if has_broker {
        parts.extend([view.rabbitmq(), view.bypass(), view.consumers()]);
    }
    parts.push(view.database(database));
    Pipeline {
        as_of: now.to_string(),
        has_broker,
        parts,
        processes: processes.iter().map(process).collect(),
        watermarks: processes.iter().filter_map(watermarks).collect(),
        balance: view.balance(database),
    }
}

/// The newest sample of RabbitMQ's queues that a running process has.
#[must_use]
pub fn newest_queues(processes: &[Observed]) -> Option<QueuesReport> {
    let running = processes.iter().filter(|one| one.is_running());
    let samples = running.filter_map(|one| {
        let queues = one.report.queues?;
        // By its clock, the sample was so old at the report.
        Some((
            one.age_ms + one.report.at.0.saturating_sub(queues.at.0),
            queues,
        ))
    });
    samples
        .min_by_key(|(age, _)| *age)
        .map(|(_, queues)| queues)
}

/// Records that are confirmed, missing for a minute, and not in RabbitMQ's queues. `None` if it is not known.
#[must_use]
pub fn unexplained(has_broker: bool, processes: &[Observed]) -> Option<u64> {
    let mut missing = 0_u64;
    for one in processes.iter().filter(|one| one.report.gateway.is_some()) {
        missing += one.counted.as_ref().ok()?.missing?;
    }
    match (missing, has_broker) {
        (0, _) => Some(0),
        (_, false) => Some(missing),
        (_, true) => Some(missing.saturating_sub(newest_queues(processes)?.waiting)),
    }
}

/// Whether a process without a journal has been started again: a later one of its role runs on its machine.
pub(crate) fn is_replaced(processes: &[Observed], gone: &Observed) -> bool {
    let before = &gone.report;
    before.gateway.is_none()
        && processes.iter().any(|other| {
            let after = &other.report;
            other.is_running()
                && (after.role, &after.host) == (before.role, &before.host)
                && after.started_at > before.started_at
        })
}

fn process(one: &Observed) -> Process {
    let report = &one.report;
    Process {
        id: report.id.to_string(),
        role: report.role,
        host: report.host.clone(),
        version: report.version.clone(),
        state: one.state(),
        started_at: report.started_at.to_string(),
        reported_ms_ago: one.age_ms,
        parts: report
            .parts
            .iter()
            .map(|part| ProcessPart {
                part: part.part.clone(),
                up: part.up,
                detail: part.detail.clone(),
                since: part.since.to_string(),
            })
            .collect(),
        listeners: report
            .gateway
            .as_ref()
            .map(|gateway| gateway.listeners.clone())
            .unwrap_or_default(),
    }
}

fn watermarks(one: &Observed) -> Option<Watermarks> {
    let gateway = one.report.gateway.as_ref()?;
    let mut unknown = BTreeMap::new();
    let stored = match &one.counted {
        Ok(counted) => Some(counted.all_stored),
        Err(why) => {
            unknown.insert("stored", why.clone());
            None
        }
    };
    Some(Watermarks {
        gateway_id: gateway.id.to_string(),
        state: one.state(),
        written: gateway.written,
        durable: gateway.durable,
        confirmed: gateway.delivered,
        stored,
        undelivered: one.report.undelivered(),
        unknown,
    })
}

struct View<'a> {
    now: Timestamp,
    has_broker: bool,
    processes: &'a [Observed],
    queues: Option<QueuesReport>,
}

impl View<'_> {
    /// Processes with a gateway that count: those that run, and those that have not ended in order.
    fn of_gateways(&self) -> impl Iterator<Item = (&Observed, &GatewayReport)> {
        self.processes
            .iter()
            .filter_map(|one| Some((one, one.report.gateway.as_ref()?)))
    }

    /// Whether a process without a journal has been started again: a later one of its role runs on its machine.
    fn is_replaced(&self, gone: &Observed) -> bool {
        is_replaced(self.processes, gone)
    }

    /// The sum of a rate over running processes; the reason if none is known.
    fn rate(&self, figure: impl Fn(&ProcessReport) -> Option<u64>) -> Option<f64> {
        let running = self.processes.iter().filter(|one| one.is_running());
        let rates: Vec<f64> = running.filter_map(|one| one.rate(&figure)).collect();
        let sum: f64 = rates.iter().sum();
        (!rates.is_empty()).then(|| (sum * 10.0).round() / 10.0)
    }

    /// State, words, since when and last fault of what are the parts `names` in each process that `has` them. A process
    /// whose first part works is at work, although another one may not.
    fn part(
        &self,
        part: &'static str,
        has: impl Fn(&Observed) -> bool,
        names: &[&str],
        none: &str,
    ) -> Part {
        let mut works = Vec::new();
        let mut faults: Vec<(Timestamp, String)> = Vec::new();
        let mut last_error: Option<(Timestamp, String)> = None;
        let mut since_up: Option<Timestamp> = None;
        let mut versions = BTreeSet::new();
        let of_part = |one: &&Observed| has(one);
        for one in self.processes.iter().filter(of_part) {
            let found: Vec<&PartReport> = one
                .report
                .parts
                .iter()
                .filter(|part| names.contains(&part.part.as_str()))
                .collect();
            match one.state() {
                ProcessState::Retired | ProcessState::Stopped => continue,
                ProcessState::Gone if self.is_replaced(one) => continue,
                ProcessState::Gone => {
                    let since = self.now.plus_millis(-one.age_ms);
                    let words = format!("{} has not reported since {since}", one.name());
                    faults.push((since, words.clone()));
                    last_error = last_error.max(Some((since, words)));
                    continue;
                }
                ProcessState::Running => {}
            }
            versions.insert(one.report.version.clone());
            let down = found.iter().find(|part| !part.up);
            if let Some(part) = down {
                faults.push((part.since, format!("{}: {}", one.name(), part.detail)));
            }
            let essential = found
                .iter()
                .find(|part| Some(&part.part.as_str()) == names.first());
            if essential.is_none_or(|part| part.up) {
                works.push(essential.map_or_else(|| one.name(), |part| part.detail.clone()));
                since_up = since_up.max(found.iter().map(|part| part.since).max());
            }
            for error in found.iter().filter_map(|part| part.last_error.as_ref()) {
                last_error = last_error.max(Some((error.at, error.detail.clone())));
            }
        }
        let first_fault = faults.iter().min().cloned();
        let (state, detail, since) = match (works.as_slice(), first_fault) {
            ([], None) => (PartState::Unknown, none.to_owned(), None),
            ([], Some((since, words))) => (PartState::Down, words, Some(since)),
            (_, Some((since, words))) => (PartState::Degraded, words, Some(since)),
            ([one], None) => (PartState::Works, one.clone(), since_up),
            (many, None) => (
                PartState::Works,
                format!("{} processes work", many.len()),
                since_up,
            ),
        };
        let mut part = Part {
            part,
            state,
            detail,
            since: since.map(|since| since.to_string()),
            in_per_s: None,
            out_per_s: None,
            waiting_records: None,
            waiting_bytes: None,
            oldest_waiting_s: None,
            full_in_s: None,
            last_error: last_error.map(|(at, detail)| LastError {
                at: at.to_string(),
                detail,
            }),
            versions: versions.into_iter().collect(),
            unknown: BTreeMap::new(),
        };
        if part.since.is_none() {
            part.because("since", "no process reports this part");
        }
        part
    }

    fn chargers(&self) -> Part {
        let mut part = self.part(
            "chargers",
            |one| one.report.gateway.is_some(),
            &["gateway"],
            "no gateway reports",
        );
        let running = self.of_gateways().filter(|(one, _)| one.is_running());
        let connected: Vec<u64> = running.map(|(_, gateway)| gateway.connected).collect();
        if connected.is_empty() {
            part.state = PartState::Unknown;
        } else {
            let sum: u64 = connected.iter().sum();
            part.detail = format!("{sum} chargers are connected");
        }
        part.waits_unknown("chargers keep their own queues and do not report them");
        part.rates(None, self.rate(acknowledged));
        part.because("in_per_s", "what chargers record is not reported");
        part.because("full_in_s", "chargers do not report it");
        part
    }

    fn gateways(&self) -> Part {
        let mut part = self.part(
            "gateways",
            |one| one.report.gateway.is_some(),
            &["gateway", "directory"],
            "no gateway reports",
        );
        let rate = self.rate(acknowledged);
        part.rates(rate, rate);
        part.waits_unknown("messages wait in a gateway for the journal only, for milliseconds");
        part.because("full_in_s", "it keeps no records");
        part
    }

    fn journal(&self) -> Part {
        let mut part = self.part(
            "journal",
            |one| one.report.gateway.is_some(),
            &["journal", "forwarder"],
            "no gateway reports",
        );
        let all: Vec<(&Observed, &GatewayReport)> = self.of_gateways().collect();
        if all.is_empty() {
            part.waits_unknown("no gateway reports");
        } else {
            part.waiting_records = Some(all.iter().map(|(one, _)| one.report.undelivered()).sum());
            part.waiting_bytes = Some(
                all.iter()
                    .map(|(_, gateway)| gateway.undelivered_bytes)
                    .sum(),
            );
            let oldest = all.iter().filter_map(|(one, gateway)| {
                let age = one.age_ms.unsigned_abs();
                Some((gateway.oldest_age_ms? + age) / 1_000)
            });
            part.oldest_waiting_s = oldest.max();
            if part.oldest_waiting_s.is_none() {
                part.because("oldest_waiting_s", "nothing waits");
            }
        }
        let full = all.iter().filter_map(|(one, gateway)| {
            let grows = one.rate(|report| Some(report.gateway.as_ref()?.undelivered_bytes))?;
            let room = gateway.bytes_max.saturating_sub(gateway.undelivered_bytes);
            (grows >= 1.0 && one.is_running()).then(|| (room as f64 / grows) as u64)
        });
        part.full_in_s = full.min();
        if part.full_in_s.is_none() {
            part.because("full_in_s", "no journal grows");
        }
        part.rates(self.rate(acknowledged), self.rate(delivered));
        // Records left behind by a process that does not run.
        for (one, _) in all.iter().filter(|(one, _)| !one.is_running()) {
            let left = one.report.undelivered();
            if left > 0 {
                part.state = match part.state {
                    PartState::Works => PartState::Degraded,
                    other => other,
                };
                part.detail = format!(
                    "{left} records wait in the journal of {}, which does not run",
                    one.name()
                );
            }
        }
        part
    }

    fn rabbitmq(&self) -> Part {
        let mut part = self.part(
            "rabbitmq",
            |one| one.report.parts.iter().any(|part| part.part == "rabbitmq"),
            &["rabbitmq"],
            "no process that uses RabbitMQ reports",
        );
        match self.queues {
            Some(queues) => part.waiting_records = Some(queues.waiting),
            None => part.because("waiting_records", "no process has read the queues' lengths"),
        }
        let by_amqp = "RabbitMQ does not tell it over AMQP";
        part.because("waiting_bytes", by_amqp);
        part.because("oldest_waiting_s", by_amqp);
        part.because("full_in_s", NOT_MEASURED);
        part.rates(
            self.rate(|report| Some(report.gateway.as_ref()?.route?.broker_records)),
            self.rate(|report| report.consumed_records),
        );
        part
    }

    fn bypass(&self) -> Part {
        let mut part = self.part(
            "bypass",
            |one| {
                let gateway = one.report.gateway.as_ref();
                gateway.is_some_and(|gateway| gateway.route.is_some())
            },
            &["sink"],
            "no gateway with RabbitMQ reports",
        );
        let running = self.of_gateways().filter(|(one, _)| one.is_running());
        let direct = running
            .filter(|(_, gateway)| gateway.route.is_some_and(|route| route.is_direct))
            .count();
        if direct == 0 && part.state != PartState::Unknown && part.state != PartState::Down {
            (part.state, part.detail) = (
                PartState::Idle,
                "records are delivered through RabbitMQ".to_owned(),
            );
        }
        let rate = self.rate(|report| Some(report.gateway.as_ref()?.route?.direct_records));
        part.rates(rate, rate);
        part.waits_unknown(
            "nothing waits in it: records stay in the journal until they are stored",
        );
        part.because("full_in_s", "it keeps no records");
        part
    }

    fn consumers(&self) -> Part {
        let mut part = self.part(
            "consumers",
            |one| one.report.consumed_records.is_some(),
            &["consumer"],
            "no consumer reports",
        );
        let rate = self.rate(|report| report.consumed_records);
        part.rates(rate, rate);
        part.waits_unknown("records that a consumer holds count as waiting in RabbitMQ");
        part.because("full_in_s", "it keeps no records");
        part
    }

    fn database(&self, seen: &DatabaseSeen) -> Part {
        let mut part = self.part(
            "database",
            |one| one.report.parts.iter().any(|part| part.part == "database"),
            &["database"],
            "no process reports",
        );
        let error = seen.last_error.clone().map(|(at, detail)| LastError {
            at: at.to_string(),
            detail,
        });
        match (seen.up, part.state) {
            // What this process sees of it is newer than what others have reported.
            (Some(false), _) => {
                part.state = PartState::Down;
                part.detail = error.as_ref().map_or_else(
                    || "it does not answer".to_owned(),
                    |error| error.detail.clone(),
                );
                part.set_since(seen.since);
            }
            (Some(true), PartState::Unknown) => {
                part.state = PartState::Works;
                part.detail = "it answers".to_owned();
                part.set_since(seen.since);
            }
            (Some(true), PartState::Down) => part.state = PartState::Degraded,
            (Some(true) | None, _) => {}
        }
        if part.last_error.as_ref().map(|error| &error.at) < error.as_ref().map(|error| &error.at) {
            part.last_error = error;
        }
        let stored = |report: &ProcessReport| {
            let gateway = report.gateway.as_ref();
            let direct = gateway.map(|gateway| match gateway.route {
                Some(route) => route.direct_records,
                None => gateway.delivered,
            });
            match (report.consumed_records, direct) {
                (None, None) => None,
                (consumed, direct) => Some(consumed.unwrap_or(0) + direct.unwrap_or(0)),
            }
        };
        part.rates(self.rate(stored), None);
        part.because("out_per_s", "records stay in it");
        part.waits_unknown("a record is in it as soon as it arrives");
        part.because("full_in_s", NOT_MEASURED);
        part
    }

    fn balance(&self, seen: &DatabaseSeen) -> Balance {
        let mut balance = Balance {
            acknowledged: None,
            stored: None,
            dead_letters: None,
            journal: None,
            rabbitmq: None,
            difference: None,
            unexplained_since: None,
            unknown: BTreeMap::new(),
        };
        let gateways: Vec<&Observed> = self.of_gateways().map(|(one, _)| one).collect();
        if gateways.is_empty() {
            for name in ["acknowledged", "journal"] {
                balance
                    .unknown
                    .insert(name, "no gateway reports".to_owned());
            }
        }
        let counted: Result<Vec<Counted>, String> =
            gateways.iter().map(|one| one.counted.clone()).collect();
        let dead_letters = seen
            .dead_letters
            .clone()
            .unwrap_or_else(|| Err("the database has not answered yet".to_owned()));
        let (counted, dead) = match (counted, dead_letters) {
            (Ok(counted), Ok(dead)) if !counted.is_empty() => (counted, dead),
            (counted, dead) => {
                let figures = |figure: fn(&GatewayReport) -> u64| -> u64 {
                    self.of_gateways().map(|(_, gateway)| figure(gateway)).sum()
                };
                if !gateways.is_empty() {
                    balance.acknowledged = Some(figures(|gateway| gateway.durable));
                    balance.journal = Some(figures(|gateway| {
                        gateway.durable.saturating_sub(gateway.delivered)
                    }));
                }
                balance.dead_letters = dead.clone().ok();
                let why = counted
                    .err()
                    .or(dead.as_ref().err().cloned())
                    .unwrap_or_else(|| "no gateway reports".to_owned());
                for name in ["stored", "rabbitmq", "difference"] {
                    balance.unknown.insert(name, why.clone());
                }
                if let Err(why) = dead {
                    balance.unknown.insert("dead_letters", why);
                }
                return balance;
            }
        };
        let sum = |figure: fn(&Counted) -> u64| -> u64 { counted.iter().map(figure).sum() };
        let stored = sum(|one| one.stored);
        let not_stored = sum(|one| one.delivered.saturating_sub(one.stored));
        balance.acknowledged = Some(sum(|one| one.durable));
        balance.journal = Some(sum(|one| one.durable.saturating_sub(one.delivered)));
        balance.dead_letters = Some(dead);
        balance.stored = Some(stored.saturating_sub(dead));
        match unexplained(self.has_broker, self.processes) {
            Some(difference) => {
                let difference = difference.min(not_stored);
                balance.difference = Some(difference);
                balance.rabbitmq = Some(not_stored - difference);
            }
            None => {
                let why = match counted.iter().any(|one| one.missing.is_none()) {
                    true => "it is known after a minute of counting",
                    false => "what RabbitMQ holds is not known",
                };
                for name in ["rabbitmq", "difference"] {
                    balance.unknown.insert(name, why.to_owned());
                }
            }
        }
        balance.unexplained_since = seen.unexplained_since.map(|since| since.to_string());
        balance
    }
}

fn acknowledged(report: &ProcessReport) -> Option<u64> {
    Some(report.gateway.as_ref()?.durable)
}

fn delivered(report: &ProcessReport) -> Option<u64> {
    Some(report.gateway.as_ref()?.delivered)
}

impl Part {
    fn because(&mut self, member: &'static str, why: &str) {
        self.unknown.insert(member, why.to_owned());
    }

    fn waits_unknown(&mut self, why: &str) {
        for member in ["waiting_records", "waiting_bytes", "oldest_waiting_s"] {
            self.because(member, why);
        }
    }

    fn rates(&mut self, entering: Option<f64>, leaving: Option<f64>) {
        (self.in_per_s, self.out_per_s) = (entering, leaving);
        for (member, rate) in [("in_per_s", entering), ("out_per_s", leaving)] {
            if rate.is_none() {
                self.because(member, NO_RATE);
            }
        }
    }

    fn set_since(&mut self, since: Option<Timestamp>) {
        self.since = since.map(|since| since.to_string());
        if self.since.is_some() {
            self.unknown.remove("since");
        }
    }
}

#[cfg(test)]
mod tests;
