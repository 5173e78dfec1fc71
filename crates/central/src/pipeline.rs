//! The pipeline as an operator sees it: the parts that a message passes, what waits in each, and whether every
//! acknowledged message is accounted for. A pure function of reports and counts; nothing is asked here.
//!
//! What is not known is null, with the reason in `unknown`, and never 0.

mod answer;
mod balance;
mod names;
mod parts;
mod told;

pub use answer::{
    Balance, LastError, Part, PartFault, PartState, Pipeline, Process, ProcessPart, ProcessState,
    Watermarks,
};

pub(crate) use names::Names;
pub use told::{PART_TOLD_AFTER_MS, PartChange, ToldParts, keep_changes};

use crate::Timestamp;
use crate::model::{
    GatewayReport, PROCESS_REPORT_EVERY_MS, PROCESS_SILENT_MS_MAX, ProcessReport, ProcessRole,
    QueuesReport,
};
use std::collections::BTreeMap;

/// A process, as far as it is known.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Its latest report.
    pub report: ProcessReport,
    /// An earlier report of the same start, for rates.
    pub before: Option<ProcessReport>,
    /// How long ago the latest report was heard, in milliseconds.
    pub age_ms: i64,
    /// When it was heard, by the clock of the process that heard it: one value for each report.
    pub heard_at: Timestamp,
    /// Whether it is the process that asks, whose report is of now.
    pub is_own: bool,
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
    /// Whether the gateway has started since that report, or just before it ([`Observed::is_starting`]).
    pub is_of_start: bool,
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
    /// By how many milliseconds at most it is behind what chargers were answered for; `None` if it is not known.
    pub lag_ms: Option<i64>,
}

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

    /// Whether it has reported only what it found when it started: its chargers come back in the seconds after that, and
    /// what they have kept comes with them, so its figures of then say nothing about now.
    #[must_use]
    pub const fn is_starting(&self) -> bool {
        let report = &self.report;
        let ran_ms = report.at.0.saturating_sub(report.started_at.0);
        // A clock that was put back since the start.
        let is_in_order = ran_ms >= 0;
        !self.is_own
            && matches!(self.state(), ProcessState::Running)
            && is_in_order
            && ran_ms < PROCESS_REPORT_EVERY_MS.cast_signed()
    }

    /// The role, as its command is called.
    pub(crate) const fn role(&self) -> &'static str {
        match self.report.role {
            ProcessRole::Serve => "serve",
            ProcessRole::Gateway => "gateway",
            ProcessRole::Consumer => "consumer",
            ProcessRole::Api => "api",
        }
    }

    /// A name that no other process has: role, id and machine. Alerts about the process have it as their subject.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{} {} on {}", self.role(), self.report.id, self.report.host)
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
        has_broker,
        processes,
        names: Names::of(processes),
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
        lag_ms: database.lag_ms,
        parts,
        processes: processes.iter().map(|one| view.process(one)).collect(),
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
    has_broker: bool,
    processes: &'a [Observed],
    names: Names<'a>,
    queues: Option<QueuesReport>,
}

impl View<'_> {
    /// Processes with a gateway that count: those that run, and those that have not ended in order.
    fn of_gateways(&self) -> impl Iterator<Item = (&Observed, &GatewayReport)> {
        self.processes
            .iter()
            .filter_map(|one| Some((one, one.report.gateway.as_ref()?)))
    }

    /// Why the figures of all gateways together are not known: one of them has only reported what it found at its start.
    fn why_starting(&self) -> Option<String> {
        self.why_not_reported(Observed::is_starting)
    }

    /// The same of what is counted, which can be of an earlier report than the newest one.
    fn why_not_counted(&self) -> Option<String> {
        self.why_not_reported(|one| {
            let is_of_start = one.counted.as_ref().is_ok_and(|one| one.is_of_start);
            one.is_starting() || (one.is_running() && is_of_start)
        })
    }

    fn why_not_reported(&self, is_it: impl Fn(&Observed) -> bool) -> Option<String> {
        let one = self.of_gateways().find(|(one, _)| is_it(one))?.0;
        let name = self.names.short(one);
        Some(format!(
            "{name} has just started and has not reported its figures yet"
        ))
    }

    fn process(&self, one: &Observed) -> Process {
        let report = &one.report;
        Process {
            id: report.id.to_string(),
            name: self.names.short(one),
            role: report.role,
            host: report.host.clone(),
            version: report.version.clone(),
            state: one.state(),
            started_at: report.started_at.to_string(),
            reported_at: one.heard_at.to_string(),
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

    /// The sum of a rate over running processes; the reason if none is known.
    fn rate(&self, figure: impl Fn(&ProcessReport) -> Option<u64>) -> Option<f64> {
        let running = self.processes.iter().filter(|one| one.is_running());
        let rates: Vec<f64> = running.filter_map(|one| one.rate(&figure)).collect();
        let sum: f64 = rates.iter().sum();
        (!rates.is_empty()).then(|| (sum * 10.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests;
