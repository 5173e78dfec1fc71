//! The parts of the pipeline, one function each: its state, what goes in and out, and what waits in it.

use super::{
    DatabaseSeen, LastError, Observed, Part, PartFault, PartState, ProcessState, View, is_replaced,
};
use crate::Timestamp;
use crate::model::{GatewayReport, PartReport, ProcessReport};
use std::collections::{BTreeMap, BTreeSet};

const NO_RATE: &str = "no process has reported twice since it started";
const NOT_MEASURED: &str = "this is not measured";

/// A process that does not work, for the answer and in words.
struct Fault {
    words: String,
    answer: PartFault,
}

impl View<'_> {
    /// State, words, since when and faults of what are the parts `names` in each process that `has` them. A process whose
    /// first part works is at work, although another one may not. A process that is gone is a fault: without it, that much
    /// of the part does not work.
    fn part(
        &self,
        part: &'static str,
        has: impl Fn(&Observed) -> bool,
        names: &[&str],
        none: &str,
    ) -> Part {
        let mut works = Vec::new();
        let mut faults: Vec<(Timestamp, Fault)> = Vec::new();
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
                ProcessState::Gone if is_replaced(self.processes, one) => continue,
                ProcessState::Gone => {
                    let fault = self.fault(one, true, one.heard_at, "it does not report");
                    faults.push((one.heard_at, fault));
                    continue;
                }
                ProcessState::Running => {}
            }
            versions.insert(one.report.version.clone());
            let down = found.iter().find(|part| !part.up);
            if let Some(part) = down {
                let fault = self.fault(one, false, part.since, &part.detail);
                faults.push((part.since, fault));
            }
            let essential = found
                .iter()
                .find(|part| Some(&part.part.as_str()) == names.first());
            if essential.is_none_or(|part| part.up) {
                works.push(
                    essential.map_or_else(|| self.names.short(one), |part| part.detail.clone()),
                );
                since_up = since_up.max(found.iter().map(|part| part.since).max());
            }
            for error in found.iter().filter_map(|part| part.last_error.as_ref()) {
                last_error = last_error.max(Some((error.at, error.detail.clone())));
            }
        }
        faults.sort_by(|(a, one), (b, other)| {
            (a, &one.answer.process_id).cmp(&(b, &other.answer.process_id))
        });
        let first_fault = faults
            .first()
            .map(|(since, fault)| (*since, fault.words.clone()));
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
            faults: faults.into_iter().map(|(_, fault)| fault.answer).collect(),
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

    fn fault(&self, one: &Observed, is_gone: bool, since: Timestamp, detail: &str) -> Fault {
        let name = self.names.short(one);
        let words = match is_gone {
            true => format!("{name} has not reported since {}", in_seconds(since)),
            false => format!("{name}: {detail}"),
        };
        Fault {
            words,
            answer: PartFault {
                process_id: one.report.id.to_string(),
                process_name: name,
                is_gone,
                since: since.to_string(),
                detail: detail.to_owned(),
            },
        }
    }

    pub(super) fn chargers(&self) -> Part {
        let mut part = self.part(
            "chargers",
            |one| one.report.gateway.is_some(),
            &["gateway"],
            "no gateway reports",
        );
        let running: Vec<(&Observed, &GatewayReport)> = self
            .of_gateways()
            .filter(|(one, _)| one.is_running())
            .collect();
        let known: Vec<u64> = running
            .iter()
            .filter(|(one, _)| !one.is_starting())
            .map(|(_, gateway)| gateway.connected)
            .collect();
        if running.is_empty() {
            part.state = PartState::Unknown;
        } else if let (true, Some(why)) = (known.is_empty(), self.why_starting()) {
            if part.state != PartState::Down {
                part.state = PartState::Unknown;
                part.detail = format!("how many are connected is not known: {why}");
            }
        } else {
            let sum: u64 = known.iter().sum();
            let mut words = match sum {
                1 => "1 charger is connected".to_owned(),
                _ => format!("{sum} chargers are connected"),
            };
            if let Some(why) = self.why_starting() {
                words = format!("at least {words}: {why}");
            }
            // Why it is degraded.
            if !part.faults.is_empty() {
                words = format!("{words}; {}", part.detail);
            }
            part.detail = words;
        }
        part.waits_unknown("chargers keep their own queues and do not report them");
        part.rates(None, self.rate(acknowledged));
        part.because("in_per_s", "what chargers record is not reported");
        part.because("full_in_s", "chargers do not report it");
        part
    }

    pub(super) fn gateways(&self) -> Part {
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

    pub(super) fn journal(&self) -> Part {
        let mut part = self.part(
            "journal",
            |one| one.report.gateway.is_some(),
            &["journal", "forwarder"],
            "no gateway reports",
        );
        let all: Vec<(&Observed, &GatewayReport)> = self.of_gateways().collect();
        if all.is_empty() {
            part.waits_unknown("no gateway reports");
        } else if let Some(why) = self.why_starting() {
            part.waits_unknown(&why);
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
            let starting = self.why_starting();
            part.because(
                "full_in_s",
                starting.as_deref().unwrap_or("no journal grows"),
            );
        }
        part.rates(self.rate(acknowledged), self.rate(delivered));
        // Records left behind by a process that does not run.
        for (one, _) in all.iter().filter(|(one, _)| !one.is_running()) {
            let left = match one.report.undelivered() {
                0 => continue,
                1 => "1 record waits".to_owned(),
                left => format!("{left} records wait"),
            };
            if part.state == PartState::Works {
                part.state = PartState::Degraded;
                part.set_since(Some(one.heard_at));
            }
            let fault = self.fault(
                one,
                false,
                one.heard_at,
                &format!("it does not run, and {left} in its journal"),
            );
            let name = &fault.answer.process_name;
            part.detail = format!("{left} in the journal of {name}, which does not run");
            let id = &fault.answer.process_id;
            match part.faults.iter_mut().find(|one| one.process_id == *id) {
                Some(gone) => {
                    gone.detail = format!("it does not report, and {left} in its journal")
                }
                None => part.faults.push(fault.answer),
            }
        }
        part
    }

    pub(super) fn rabbitmq(&self) -> Part {
        // It is a server, which works without the processes that use it.
        let mut part = self.part(
            "rabbitmq",
            |one| one.is_running() && one.report.parts.iter().any(|part| part.part == "rabbitmq"),
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

    pub(super) fn bypass(&self) -> Part {
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

    pub(super) fn consumers(&self) -> Part {
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

    pub(super) fn database(&self, seen: &DatabaseSeen) -> Part {
        // It is a server or a file, which works without the processes that write to it.
        let mut part = self.part(
            "database",
            |one| one.is_running() && one.report.parts.iter().any(|part| part.part == "database"),
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
}

/// A time in a sentence, which has no use for milliseconds.
fn in_seconds(at: Timestamp) -> String {
    let whole = Timestamp(at.0 - at.0.rem_euclid(1_000));
    whole.to_string().replace(".000Z", "Z")
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
