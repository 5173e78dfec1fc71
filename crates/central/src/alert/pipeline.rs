//! The conditions of the alerts about the pipeline, from the reports of the processes.
//!
//! The conditions are those of the catalogue in words; each is as near to the query of Prometheus as reports allow.

use super::figures::History;
use super::machine::Finding;
use super::{PIPELINE_ALERTS, Severity, Thresholds};
use crate::Timestamp;
use crate::model::ProcessRole;
use crate::pipeline::{DatabaseSeen, Observed, ProcessState, is_replaced};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// The share of late messages, or of errors, that uses up the month's allowance (0.1 %) in two days.
const BURN: f64 = 14.4 * 0.001;

/// What is known of the pipeline.
pub struct Seen<'a> {
    /// When.
    pub now: Timestamp,
    /// Whether records go through RabbitMQ.
    pub has_broker: bool,
    /// The processes.
    pub processes: &'a [Observed],
    /// The database, as the process sees it that evaluates.
    pub database: &'a DatabaseSeen,
    /// Acknowledged records that nothing explains; `None` if it is not known.
    pub missing: Option<u64>,
    /// Messages that became dead letters within the last 15 minutes; `None` if it is not known.
    pub dead_letters: Option<usize>,
    /// What the processes reported before.
    pub history: &'a History,
}

/// The names of the alerts about the pipeline that can be judged now.
#[must_use]
pub fn judged(seen: &Seen<'_>) -> BTreeSet<&'static str> {
    PIPELINE_ALERTS
        .iter()
        .filter(|alert| !alert.condition.is_empty())
        .map(|alert| alert.name)
        .filter(|name| match *name {
            "MessagesMissing" => seen.missing.is_some(),
            "DeadLetters" => seen.dead_letters.is_some(),
            _ => true,
        })
        .collect()
}

/// The conditions that hold now. `FleetDrop` is from the number of chargers that were connected before.
#[must_use]
pub fn findings(seen: &Seen<'_>, fleet: &Fleet, settings: &Thresholds) -> Vec<Finding> {
    let mut found = Vec::new();
    seen.of_messages(&mut found);
    for one in seen.processes {
        match one.state() {
            ProcessState::Running => seen.of_process(one, &mut found),
            ProcessState::Gone if !is_replaced(seen.processes, one) => {
                let words = format!("{} does not report", one.name());
                found.push(Finding::new("PartGone", Severity::Page, words).about(one.name()));
            }
            ProcessState::Gone | ProcessState::Stopped | ProcessState::Retired => {}
        }
    }
    seen.of_storing(&mut found);
    if let Some(connected) = fleet.dropped(settings) {
        let words = format!(
            "only {connected} chargers are connected; more than {} % have gone within half an hour",
            settings.fleet_drop_percent
        );
        found.push(Finding::new("FleetDrop", Severity::Page, words));
    }
    found
}

impl Seen<'_> {
    fn running(&self) -> impl Iterator<Item = &Observed> {
        let running = |one: &&Observed| one.state() == ProcessState::Running;
        self.processes.iter().filter(running)
    }

    /// How much a figure has grown in a process.
    fn grown(&self, one: &Observed, key: &str, ms: i64) -> f64 {
        let Some(now) = one.report.figure(key) else {
            return 0.0;
        };
        self.history.grown(one.report.id, key, now, self.now, ms)
    }

    /// How much a figure has grown in all processes.
    fn grown_in_all(&self, key: &str, ms: i64) -> f64 {
        self.running().map(|one| self.grown(one, key, ms)).sum()
    }

    /// The share of a figure in another one, over both windows; `None` while it is at most [`BURN`] in one of them.
    fn burns(&self, part: &str, all: &str, is_good: bool) -> Option<f64> {
        let share = |ms| {
            let all = self.grown_in_all(all, ms);
            let part = self.grown_in_all(part, ms);
            (all > 0.0).then(|| match is_good {
                true => 1.0 - part / all,
                false => part / all,
            })
        };
        let (long, short) = (share(HOUR)?, share(5 * MINUTE)?);
        (long > BURN && short > BURN).then_some(long)
    }

    fn of_messages(&self, found: &mut Vec<Finding>) {
        let mut page = |name, words| found.push(Finding::new(name, Severity::Page, words));
        if let Some(missing) = self.missing.filter(|missing| *missing > 0) {
            page(
                "MessagesMissing",
                format!(
                    "{missing} acknowledged messages are neither stored, nor waiting, nor dead letters"
                ),
            );
        }
        if let Some(share) = self.burns("stored_10s", "stored", true) {
            page(
                "StoredTooLate",
                format!(
                    "{} of the messages of the last hour were stored later than 10 seconds after their reception",
                    percent(share)
                ),
            );
        }
        if let Some(share) = self.burns("answered_1s", "answered", true) {
            page(
                "AnsweredTooLate",
                format!(
                    "{} of the answers of the last hour took longer than a second",
                    percent(share)
                ),
            );
        }
        if let Some(letters) = self.dead_letters.filter(|letters| *letters > 0) {
            let words = format!("{letters} messages became dead letters within 15 minutes");
            if letters > 100 {
                page("DeadLetters", words.clone());
            }
            found.push(Finding::new("DeadLetters", Severity::Ticket, words));
        }
        if let Some(share) = self.burns("api_5xx", "api_requests", false) {
            let words = format!(
                "{} of the API's answers of the last hour were errors of the server",
                percent(share)
            );
            found.push(Finding::new("ApiErrors", Severity::Ticket, words));
        }
        let handshakes = self.grown_in_all("handshakes", 5 * MINUTE);
        let put_off = self.grown_in_all("handshakes_503", 5 * MINUTE);
        if handshakes > 0.0 && put_off / handshakes > 0.1 {
            let words = format!(
                "{} of the handshakes are put off with 503",
                percent(put_off / handshakes)
            );
            found.push(Finding::new("ConnectStorm", Severity::Ticket, words));
        }
        let wrong = self.grown_in_all("auth_failures", 15 * MINUTE) / (15.0 * 60.0);
        if wrong > 0.2 {
            let words = format!("{wrong:.1} handshakes a second have a wrong or no password");
            found.push(Finding::new("WrongPasswords", Severity::Info, words));
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one condition after another, in the order of the catalogue"
    )]
    fn of_process(&self, one: &Observed, found: &mut Vec<Finding>) {
        use Severity::{Page, Ticket};
        let name = one.name();
        let figure = |key: &str| one.report.figure(key);
        let is =
            |key: &str, value: f64| figure(key).is_some_and(|found| (found - value).abs() < 0.5);
        let mut add = |name_of: &'static str, severity, words: String| {
            found.push(Finding::new(name_of, severity, words).about(name.clone()));
        };
        if is("journal_full", 1.0) {
            let words = format!(
                "the journal of {name} takes no more messages, so the gateway refuses chargers"
            );
            add("JournalFull", Page, words);
        }
        let closed = self.grown(one, "closed_not_durable", 15 * MINUTE);
        if closed > 0.0 {
            let words = format!(
                "{name} closed {closed:.0} connections because messages could not be made durable"
            );
            add("NotDurableClosed", Page, words);
        }
        if let (Some(used), Some(max)) = (figure("journal_used"), figure("journal_max"))
            && max > 0.0
        {
            let share = used / max;
            let slope =
                self.history
                    .slope(one.report.id, "journal_used", used, self.now, 15 * MINUTE);
            let is_full_soon = slope.is_some_and(|slope| used + slope * 4.0 * 3_600.0 > max);
            if share > 0.5 || (share > 0.1 && is_full_soon) {
                let words = format!(
                    "messages wait in the journal of {name}, and it is {} full",
                    percent(share)
                );
                add("JournalFilling", Page, words);
            }
        }
        if let Some(oldest) = figure("journal_oldest_s") {
            let words = format!("a message has waited in the journal of {name} for {oldest:.0} s");
            if oldest > 600.0 {
                add("JournalOld", Page, words.clone());
            }
            if oldest > 60.0 {
                add("JournalOld", Ticket, words);
            }
        }
        if figure("journal_damaged").is_some_and(|damaged| damaged > 0.0) {
            add(
                "JournalDamaged",
                Page,
                format!("the journal of {name} has damaged places"),
            );
        }
        let synced = self.grown(one, "synced", 5 * MINUTE);
        let fast = self.grown(one, "synced_25ms", 5 * MINUTE);
        if synced >= 10.0 && (synced - fast) / synced > 0.01 {
            let words = format!(
                "{} of the syncs of the journal of {name} took longer than 25 ms",
                percent((synced - fast) / synced)
            );
            add("SyncSlow", Ticket, words);
        }
        if let (Some(free), Some(all)) = (figure("disk_free"), figure("disk"))
            && all > 0.0
        {
            let share = free / all;
            let words = format!("{} of the disk of {name} is free", percent(share));
            if share < 0.05 {
                add("DiskLow", Page, words.clone());
            }
            let slope = self
                .history
                .slope(one.report.id, "disk_free", free, self.now, HOUR);
            let is_full_soon = slope.is_some_and(|slope| free + slope * 24.0 * 3_600.0 < 0.0);
            if share < 0.15 || (share < 0.5 && is_full_soon) {
                add("DiskLow", Ticket, words);
            }
        }
        if self.has_broker {
            self.of_broker(one, &mut add);
        }
        if is("durable", 0.0) {
            let words = format!(
                "PostgreSQL may lose what it has committed in a power cut, as {name} sees it"
            );
            add("DatabaseNotDurable", Page, words);
        }
        if self.grown(one, "paced", 5 * MINUTE) > 0.0 {
            let words = format!("{name} delays answers, because storing does not keep up");
            add("Paced", Ticket, words);
        }
        let starts = self.history.starts(one.report.id, self.now, 15 * MINUTE);
        if starts > 3 {
            let words = format!("{name} was started {starts} times within 15 minutes");
            add("RestartLoop", Page, words);
        }
        if is("directory_loaded", 0.0) {
            let words = format!("{name} does not know which chargers there are, and refuses all");
            add("DirectoryUnknown", Page, words);
        }
        if let Some(age) = figure("directory_age_s").filter(|age| *age > 300.0) {
            let words =
                format!("{name} has known of no change to chargers and tokens for {age:.0} s");
            add("DirectoryOld", Ticket, words);
        }
        if is("clock_wrong", 1.0) {
            let words = format!("the clock of {name} is wrong, so the gateway refuses chargers");
            add("ClockWrong", Page, words);
        }
    }

    fn of_broker(&self, one: &Observed, add: &mut impl FnMut(&'static str, Severity, String)) {
        use Severity::{Page, Ticket};
        let name = one.name();
        let is_on = |key: &str| one.report.figure(key).is_some_and(|found| found >= 0.5);
        if one
            .report
            .figure("broker_connected")
            .is_some_and(|connected| connected < 0.5)
        {
            let words = format!("{name} has no connection to RabbitMQ");
            add("BrokerLost", Page, words.clone());
            add("BrokerLost", Ticket, words);
        }
        if is_on("broker_blocked") {
            let words =
                format!("RabbitMQ accepts no messages of {name} because of its memory or disk");
            add("BrokerBlocked", Page, words);
        }
        if self.grown(one, "broker_refusals", 5 * MINUTE) > 0.0 {
            add(
                "BrokerRefuses",
                Page,
                format!("RabbitMQ refuses messages of {name}"),
            );
        }
        if is_on("fallback") {
            let words = format!("{name} answers chargers without waiting for RabbitMQ");
            add("DurabilityFallback", Ticket, words);
        }
        if is_on("direct") {
            let words = format!("{name} delivers to the database without RabbitMQ");
            add("BypassActive", Ticket, words);
        }
    }

    /// What is known only of all processes together.
    fn of_storing(&self, found: &mut Vec<Finding>) {
        use Severity::{Page, Ticket};
        let most = |key: &str| {
            let all = self.running().filter_map(|one| one.report.figure(key));
            all.reduce(f64::max)
        };
        if self.has_broker {
            let consumes = |one: &&Observed| {
                matches!(one.report.role, ProcessRole::Consumer | ProcessRole::Serve)
            };
            let consuming: f64 = self
                .running()
                .filter(consumes)
                .filter_map(|one| one.report.figure("consuming"))
                .sum();
            if consuming < 0.5 {
                let words = "no consumer takes messages from RabbitMQ".to_owned();
                found.push(Finding::new("NoConsumer", Page, words));
            }
            if let Some(queued) = most("broker_queued") {
                let bound = most("broker_queued_max").unwrap_or(f64::INFINITY);
                let grows = self.running().any(|one| {
                    let now = one.report.figure("broker_queued").unwrap_or(f64::NAN);
                    let slope = self.history.slope(
                        one.report.id,
                        "broker_queued",
                        now,
                        self.now,
                        30 * MINUTE,
                    );
                    slope.is_some_and(|slope| slope > 0.0)
                });
                if queued > 0.5 * bound || (queued > 10_000.0 && grows) {
                    let words = format!(
                        "{queued:.0} messages wait in RabbitMQ, and they do not become fewer"
                    );
                    found.push(Finding::new("BrokerQueueDeep", Ticket, words));
                }
            }
            let returned = self.grown_in_all("broker_returned", 15 * MINUTE);
            if returned >= 1.0 {
                let words = format!("RabbitMQ had no queue for {returned:.0} messages");
                found.push(Finding::new("Unroutable", Ticket, words));
            }
        }
        let is_away = most("database_up").is_some_and(|up| up < 0.5);
        if is_away || self.database.up == Some(false) {
            let words = match &self.database.last_error {
                Some((_, error)) if self.database.up == Some(false) => {
                    format!("the database takes no messages: {error}")
                }
                _ => "the database takes no messages".to_owned(),
            };
            found.push(Finding::new("DatabaseLost", Page, words));
        }
        let now_s = self.now.0 as f64 / 1_000.0;
        if let Some(at) = most("maintained_at_s").filter(|at| *at > 0.0 && now_s - at > 86_400.0) {
            let words = format!(
                "the maintenance of the database has not succeeded for {:.0} hours",
                (now_s - at) / 3_600.0
            );
            found.push(Finding::new("MaintenanceOverdue", Ticket, words));
        }
        if most("events_queued").is_some_and(|queued| queued >= 10_000.0) {
            let words = "10,000 changes or more are not in the log of events yet".to_owned();
            found.push(Finding::new("EventsLate", Ticket, words));
        }
        let off = self.grown_in_all("webhooks_off", HOUR);
        if off > 0.0 {
            let words = format!("{off:.0} webhooks were switched off within an hour");
            found.push(Finding::new("WebhookSwitchedOff", Ticket, words));
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// How many chargers were connected: the most of each of the last 30 minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// Minutes since 1970, and the most chargers in each.
    minutes: VecDeque<(i64, u64)>,
    now: u64,
    /// The minute since which a large part is gone.
    #[serde(default)]
    gone_since: Option<i64>,
}

const DAY_MINUTES: i64 = 24 * 60;

impl Fleet {
    /// Keeps how many chargers are connected now. While a large part of the fleet is gone, its earlier size stays for a day.
    pub fn note(&mut self, now: Timestamp, connected: u64, settings: &Thresholds) {
        let minute = now.0.div_euclid(MINUTE);
        self.now = connected;
        match self.minutes.back_mut() {
            Some((last, most)) if *last >= minute => *most = (*most).max(connected),
            _ => self.minutes.push_back((minute, connected)),
        }
        let has_dropped = self.dropped(settings).is_some();
        let since = has_dropped.then(|| self.gone_since.unwrap_or(minute));
        self.gone_since = since;
        // Also after a day: it is the size of the fleet then.
        let stays = since.is_some_and(|since| (0..DAY_MINUTES).contains(&(minute - since)));
        while let Some((first, most)) = self.minutes.front().copied()
            && (minute - first > 30 || first > minute)
        {
            self.minutes.pop_front();
            match self.minutes.front_mut() {
                Some((_, next)) if stays => *next = most.max(*next),
                _ => {}
            }
        }
    }

    /// How many are connected, if a large part of the fleet has gone.
    fn dropped(&self, settings: &Thresholds) -> Option<u64> {
        let most = self.minutes.iter().map(|(_, most)| *most).max()?;
        let is_large = most >= u64::from(settings.fleet_min);
        let left = u64::from(100_u32.saturating_sub(settings.fleet_drop_percent));
        (is_large && self.now.saturating_mul(100) < most.saturating_mul(left)).then_some(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GatewayId;
    use crate::model::{GatewayReport, ProcessReport};
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn process(role: ProcessRole, age_ms: i64, figures: &[(&str, f64)]) -> Observed {
        let id = Uuid::from_u128(role as u128 + 1);
        Observed {
            report: ProcessReport {
                id,
                role,
                host: "a".to_owned(),
                version: "1".to_owned(),
                started_at: Timestamp(1),
                at: Timestamp(2),
                has_stopped: false,
                parts: Vec::new(),
                gateway: matches!(role, ProcessRole::Gateway).then_some(GatewayReport {
                    id: GatewayId(id),
                    connected: 0,
                    written: 0,
                    durable: 0,
                    delivered: 0,
                    undelivered_bytes: 0,
                    bytes_max: 1,
                    oldest_age_ms: None,
                    route: None,
                    listeners: Vec::new(),
                }),
                consumed_records: None,
                queues: None,
                figures_milli: ProcessReport::in_milli(
                    &figures
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), *value))
                        .collect(),
                ),
            },
            before: None,
            age_ms,
            is_retired: false,
            counted: Err(String::new()),
        }
    }

    fn names(processes: &[Observed], history: &History) -> Vec<(&'static str, Severity)> {
        let database = DatabaseSeen {
            up: Some(true),
            ..DatabaseSeen::default()
        };
        let seen = Seen {
            now: Timestamp(100_000_000),
            has_broker: true,
            processes,
            database: &database,
            missing: Some(0),
            dead_letters: Some(0),
            history,
        };
        findings(&seen, &Fleet::default(), &Thresholds::default())
            .into_iter()
            .map(|finding| (finding.name, finding.severity))
            .collect()
    }

    #[test]
    fn each_condition_on_figures_of_now_is_found() {
        let none = History::default();
        let consumer = process(
            ProcessRole::Consumer,
            0,
            &[("consuming", 10.0), ("database_up", 1.0)],
        );
        assert_eq!(names(std::slice::from_ref(&consumer), &none), []);
        for (figures, name) in [
            (vec![("journal_full", 1.0)], "JournalFull"),
            (
                vec![("journal_used", 6.0), ("journal_max", 10.0)],
                "JournalFilling",
            ),
            (vec![("journal_damaged", 1.0)], "JournalDamaged"),
            (vec![("durable", 0.0)], "DatabaseNotDurable"),
            (vec![("fallback", 1.0)], "DurabilityFallback"),
            (vec![("direct", 1.0)], "BypassActive"),
            (vec![("broker_blocked", 1.0)], "BrokerBlocked"),
            (vec![("directory_loaded", 0.0)], "DirectoryUnknown"),
            (vec![("directory_age_s", 301.0)], "DirectoryOld"),
            (vec![("clock_wrong", 1.0)], "ClockWrong"),
            (vec![("events_queued", 10_000.0)], "EventsLate"),
            (vec![("maintained_at_s", 1.0)], "MaintenanceOverdue"),
            (
                vec![("broker_queued", 6.0), ("broker_queued_max", 10.0)],
                "BrokerQueueDeep",
            ),
            (vec![("disk_free", 1.0), ("disk", 8.0)], "DiskLow"),
        ] {
            let gateway = process(ProcessRole::Gateway, 0, &figures);
            let found = names(&[gateway, consumer.clone()], &none);
            let found: Vec<&str> = found.into_iter().map(|(name, _)| name).collect();
            assert_eq!(found, [name]);
        }
        let lost = process(ProcessRole::Gateway, 0, &[("broker_connected", 0.0)]);
        assert_eq!(
            names(&[lost, consumer.clone()], &none),
            [
                ("BrokerLost", Severity::Page),
                ("BrokerLost", Severity::Ticket)
            ]
        );
        let gone = process(ProcessRole::Gateway, 30_000, &[("journal_full", 1.0)]);
        assert_eq!(
            names(&[gone, consumer], &none),
            [("PartGone", Severity::Page)]
        );
        assert_eq!(names(&[], &none), [("NoConsumer", Severity::Page)]);
    }

    #[test]
    fn conditions_on_what_has_grown_are_found_from_the_history() {
        for (before, now, name) in [
            (
                vec![("closed_not_durable", 1.0)],
                vec![("closed_not_durable", 2.0)],
                "NotDurableClosed",
            ),
            (
                vec![("synced", 0.0), ("synced_25ms", 0.0)],
                vec![("synced", 100.0), ("synced_25ms", 90.0)],
                "SyncSlow",
            ),
            (
                vec![("broker_refusals", 1.0)],
                vec![("broker_refusals", 2.0)],
                "BrokerRefuses",
            ),
            (
                vec![("broker_returned", 1.0)],
                vec![("broker_returned", 2.0)],
                "Unroutable",
            ),
            (vec![("paced", 1.0)], vec![("paced", 2.0)], "Paced"),
            (
                vec![("webhooks_off", 0.0)],
                vec![("webhooks_off", 1.0)],
                "WebhookSwitchedOff",
            ),
            (
                vec![("answered", 0.0), ("answered_1s", 0.0)],
                vec![("answered", 100.0), ("answered_1s", 90.0)],
                "AnsweredTooLate",
            ),
            (
                vec![("stored", 0.0), ("stored_10s", 0.0)],
                vec![("stored", 100.0), ("stored_10s", 90.0)],
                "StoredTooLate",
            ),
            (
                vec![("api_requests", 0.0), ("api_5xx", 0.0)],
                vec![("api_requests", 100.0), ("api_5xx", 5.0)],
                "ApiErrors",
            ),
            (
                vec![("handshakes", 0.0), ("handshakes_503", 0.0)],
                vec![("handshakes", 100.0), ("handshakes_503", 20.0)],
                "ConnectStorm",
            ),
            (
                vec![("auth_failures", 0.0)],
                vec![("auth_failures", 1_000.0)],
                "WrongPasswords",
            ),
        ] {
            let mut history = History::default();
            let before: BTreeMap<String, f64> = before
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect();
            let gateway = process(ProcessRole::Gateway, 0, &now);
            history.note(
                gateway.report.id,
                Timestamp(1),
                Timestamp(99_900_000),
                &before,
            );
            let consumer = process(ProcessRole::Consumer, 0, &[("consuming", 1.0)]);
            let found = names(&[gateway, consumer], &history);
            let found: Vec<&str> = found.into_iter().map(|(name, _)| name).collect();
            assert_eq!(found, [name]);
        }
    }

    #[test]
    fn a_fifth_of_the_fleet_is_missed_and_a_small_fleet_is_not() {
        let (mut fleet, settings) = (Fleet::default(), Thresholds::default());
        let at = |minute: i64| Timestamp(minute * MINUTE);
        fleet.note(at(0), 100, &settings);
        fleet.note(at(1), 80, &settings);
        assert_eq!(fleet.dropped(&settings), None);
        fleet.note(at(2), 79, &settings);
        assert_eq!(fleet.dropped(&settings), Some(79));
        fleet.note(at(40), 79, &settings);
        assert_eq!(fleet.dropped(&settings), Some(79), "they are still away");
        fleet.note(at(2 + DAY_MINUTES), 79, &settings);
        assert_eq!(
            fleet.dropped(&settings),
            None,
            "a day later that is the fleet"
        );
        // A clock that was ahead leaves no size behind that stays.
        let mut ahead = Fleet::default();
        ahead.note(at(9_000), 100, &settings);
        ahead.note(at(50), 10, &settings);
        ahead.note(at(51), 10, &settings);
        assert_eq!(ahead.dropped(&settings), None);
        let mut small = Fleet::default();
        small.note(at(0), 19, &settings);
        small.note(at(1), 0, &settings);
        assert_eq!(small.dropped(&settings), None);
    }
}
