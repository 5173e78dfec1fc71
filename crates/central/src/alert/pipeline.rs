//! The conditions of the alerts about the pipeline, from the reports of the processes.
//!
//! The conditions are those of the catalogue in words; each is as near to the query of Prometheus as reports allow.

use super::figures::History;
use super::limits::{
    BURN, BURN_AFTER_MS, BURN_SHORT_MS, DEAD_LETTERS, DIRECTORY_AGE_S, DISK_FULL_IN_S, DISK_SHARE,
    DISK_SHARE_PAGE, DISK_SHARE_SOON, EVENTS, JOURNAL_FULL_IN_S, JOURNAL_OLD_S, JOURNAL_SHARE,
    JOURNAL_SHARE_SOON, JOURNAL_VERY_OLD_S, MAINTENANCE_S, QUEUE_RECORDS, QUEUE_SHARE, STORM_SHARE,
    SYNC_SHARE, SYNCS, WRONG_PASSWORDS,
};
use super::machine::Finding;
use super::{PIPELINE_ALERTS, Severity, Thresholds};
use crate::Timestamp;
use crate::model::ProcessRole;
use crate::pipeline::{DatabaseSeen, Names, Observed, ProcessState, is_replaced};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

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
    /// Messages that became dead letters within the time of `DeadLetters`; `None` if it is not known.
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
    let names = Names::of(seen.processes);
    seen.of_messages(settings, &mut found);
    for one in seen.processes {
        match one.state() {
            ProcessState::Running => {
                seen.of_process(one, &names.short(one), settings, &mut found);
            }
            ProcessState::Gone if !is_replaced(seen.processes, one) => {
                let words = format!("{} does not report", names.short(one));
                found.push(Finding::new("PartGone", Severity::Page, words).about(one.full_name()));
            }
            ProcessState::Gone | ProcessState::Stopped | ProcessState::Retired => {}
        }
    }
    seen.of_restarts(settings, &mut found);
    seen.of_storing(settings, &mut found);
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

    /// The share of a figure in another one, over both windows; `None` while it is at most [`BURN`] in one of them, or the
    /// figures are of less than [`BURN_AFTER_MS`].
    fn burns(&self, part: &str, all: &str, is_good: bool) -> Option<f64> {
        if self.history.span_ms(self.now) < BURN_AFTER_MS {
            return None;
        }
        let share = |ms| {
            let all = self.grown_in_all(all, ms);
            let part = self.grown_in_all(part, ms);
            (all > 0.0).then(|| match is_good {
                true => 1.0 - part / all,
                false => part / all,
            })
        };
        let (long, short) = (share(HOUR)?, share(BURN_SHORT_MS)?);
        (long > BURN && short > BURN).then_some(long)
    }

    fn of_messages(&self, settings: &Thresholds, found: &mut Vec<Finding>) {
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
            let words = format!(
                "{letters} messages became dead letters within {}",
                time(settings.within_ms("DeadLetters"))
            );
            if letters > DEAD_LETTERS {
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
        let storm_ms = settings.within_ms("ConnectStorm");
        let handshakes = self.grown_in_all("handshakes", storm_ms);
        let put_off = self.grown_in_all("handshakes_503", storm_ms);
        if handshakes > 0.0 && put_off / handshakes > STORM_SHARE {
            let words = format!(
                "{} of the handshakes are put off with 503",
                percent(put_off / handshakes)
            );
            found.push(Finding::new("ConnectStorm", Severity::Ticket, words));
        }
        let wrong_ms = settings.within_ms("WrongPasswords");
        let wrong = self.grown_in_all("auth_failures", wrong_ms) * 1_000.0 / wrong_ms as f64;
        if wrong > WRONG_PASSWORDS {
            let words = format!("{wrong:.1} handshakes a second have a wrong or no password");
            found.push(Finding::new("WrongPasswords", Severity::Info, words));
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one condition after another, in the order of the catalogue"
    )]
    fn of_process(
        &self,
        one: &Observed,
        name: &str,
        settings: &Thresholds,
        found: &mut Vec<Finding>,
    ) {
        use Severity::{Page, Ticket};
        let subject = one.full_name();
        let figure = |key: &str| one.report.figure(key);
        let is =
            |key: &str, value: f64| figure(key).is_some_and(|found| (found - value).abs() < 0.5);
        let mut add = |name_of: &'static str, severity, words: String| {
            found.push(Finding::new(name_of, severity, words).about(subject.clone()));
        };
        if is("journal_full", 1.0) {
            let words = format!(
                "the journal of {name} takes no more messages, so the gateway refuses chargers"
            );
            add("JournalFull", Page, words);
        }
        let closed = self.grown(
            one,
            "closed_not_durable",
            settings.within_ms("NotDurableClosed"),
        );
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
            let is_full_soon =
                slope.is_some_and(|slope| used + slope * f64::from(JOURNAL_FULL_IN_S) > max);
            if share > JOURNAL_SHARE || (share > JOURNAL_SHARE_SOON && is_full_soon) {
                let words = format!(
                    "messages wait in the journal of {name}, and it is {} full",
                    percent(share)
                );
                add("JournalFilling", Page, words);
            }
        }
        if let Some(oldest) = figure("journal_oldest_s") {
            let words = format!("a message has waited in the journal of {name} for {oldest:.0} s");
            if oldest > f64::from(JOURNAL_VERY_OLD_S) {
                add("JournalOld", Page, words.clone());
            }
            if oldest > f64::from(JOURNAL_OLD_S) {
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
        let is_known = figure("synced_25ms").is_some();
        if is_known && synced >= f64::from(SYNCS) && (synced - fast) / synced > SYNC_SHARE {
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
            if share < DISK_SHARE_PAGE {
                add("DiskLow", Page, words.clone());
            }
            let full_in = figure("disk_full_in_s");
            let is_full_soon = full_in.is_some_and(|full_in| full_in < f64::from(DISK_FULL_IN_S));
            if share < DISK_SHARE || (share < DISK_SHARE_SOON && is_full_soon) {
                add("DiskLow", Ticket, words);
            }
        }
        if self.has_broker {
            self.of_broker(one, name, settings, &mut add);
        }
        if is("durable", 0.0) {
            let words = format!(
                "PostgreSQL may lose what it has committed in a power cut, as {name} sees it"
            );
            add("DatabaseNotDurable", Page, words);
        }
        if self.grown(one, "paced", settings.within_ms("Paced")) > 0.0 {
            let words = format!("{name} delays answers, because storing does not keep up");
            add("Paced", Ticket, words);
        }
        if is("directory_loaded", 0.0) {
            let words = format!("{name} does not know which chargers there are, and refuses all");
            add("DirectoryUnknown", Page, words);
        }
        if let Some(age) = figure("directory_age_s").filter(|age| *age > f64::from(DIRECTORY_AGE_S))
        {
            let words =
                format!("{name} has known of no change to chargers and tokens for {age:.0} s");
            add("DirectoryOld", Ticket, words);
        }
        if is("clock_wrong", 1.0) {
            let words = format!("the clock of {name} is wrong, so the gateway refuses chargers");
            add("ClockWrong", Page, words);
        }
    }

    fn of_broker(
        &self,
        one: &Observed,
        name: &str,
        settings: &Thresholds,
        add: &mut impl FnMut(&'static str, Severity, String),
    ) {
        use Severity::{Page, Ticket};
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
        let refusals_ms = settings.within_ms("BrokerRefuses");
        if self.grown(one, "broker_refusals", refusals_ms) > 0.0 {
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

    /// Processes that end and are started again and again.
    fn of_restarts(&self, settings: &Thresholds, found: &mut Vec<Finding>) {
        let within_ms = i64::from(settings.restarts_within_s) * SECOND;
        let mut add = |subject: String, count: usize| {
            if count > settings.restarts as usize {
                let words = format!(
                    "{subject} was restarted {count} times within {} s after it was killed or had failed",
                    settings.restarts_within_s
                );
                found.push(Finding::new("RestartLoop", Severity::Page, words).about(subject));
            }
        };
        // A process without a gateway has a new id at each start.
        let mut ended: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for one in self.processes {
            let report = &one.report;
            // Differences of the process's own clock.
            let is_within = |at: &Timestamp| {
                one.age_ms
                    .saturating_add(report.at.0.saturating_sub(at.0))
                    .le(&within_ms)
            };
            match (one.state(), &report.gateway) {
                (ProcessState::Running | ProcessState::Gone, Some(_)) => {
                    let count = report.restarts.iter().filter(|at| is_within(at)).count();
                    add(one.full_name(), count);
                }
                // Several on one machine may run for days, and a power cut ends all: only short lives count.
                (ProcessState::Gone, None) if is_within(&report.started_at) => {
                    *ended.entry((one.role(), &report.host)).or_default() += 1;
                }
                _ => {}
            }
        }
        for ((role, host), count) in ended {
            add(format!("{role} on {host}"), count);
        }
    }

    /// What is known only of all processes together.
    fn of_storing(&self, settings: &Thresholds, found: &mut Vec<Finding>) {
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
                if queued > QUEUE_SHARE * bound || (queued > f64::from(QUEUE_RECORDS) && grows) {
                    let words = format!(
                        "{queued:.0} messages wait in RabbitMQ, and they do not become fewer"
                    );
                    found.push(Finding::new("BrokerQueueDeep", Ticket, words));
                }
            }
            let returned = self.grown_in_all("broker_returned", settings.within_ms("Unroutable"));
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
        if let Some(at) =
            most("maintained_at_s").filter(|at| *at > 0.0 && now_s - at > f64::from(MAINTENANCE_S))
        {
            let words = format!(
                "the maintenance of the database has not succeeded for {:.0} hours",
                (now_s - at) / 3_600.0
            );
            found.push(Finding::new("MaintenanceOverdue", Ticket, words));
        }
        if most("events_queued").is_some_and(|queued| queued >= f64::from(EVENTS)) {
            let words = "10,000 changes or more are not in the log of events yet".to_owned();
            found.push(Finding::new("EventsLate", Ticket, words));
        }
        let off_ms = settings.within_ms("WebhookSwitchedOff");
        let off = self.grown_in_all("webhooks_off", off_ms);
        if off > 0.0 {
            let words = format!(
                "{off:.0} webhooks were switched off within {}",
                time(off_ms)
            );
            found.push(Finding::new("WebhookSwitchedOff", Ticket, words));
        }
    }
}

/// A time in words.
pub(super) fn time(ms: i64) -> String {
    match ms {
        HOUR => "an hour".to_owned(),
        ms if ms % MINUTE == 0 => format!("{} minutes", ms / MINUTE),
        ms => format!("{} s", ms / SECOND),
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
                restarts: Vec::new(),
            },
            before: None,
            age_ms,
            heard_at: NOW.plus_millis(-age_ms),
            is_own: false,
            is_retired: false,
            counted: Err(String::new()),
        }
    }

    const NOW: Timestamp = Timestamp(100_000_000);

    /// What a gateway and a consumer report, and what they reported before.
    struct World {
        gateway: Vec<(&'static str, f64)>,
        /// Figures of the gateway, and how many seconds ago it reported them.
        before: Vec<(i64, Vec<(&'static str, f64)>)>,
        /// How many seconds ago the gateway reported.
        silent_s: i64,
        /// How many seconds before its report the gateway was restarted.
        restarted_s: Vec<i64>,
        /// Consumers that are gone, and for how many seconds each ran.
        gone_consumers_s: Vec<i64>,
        consuming: f64,
        missing: u64,
        dead_letters: usize,
        is_database_up: bool,
        fleet: Fleet,
    }

    impl World {
        fn new() -> Self {
            Self {
                gateway: Vec::new(),
                before: Vec::new(),
                silent_s: 0,
                restarted_s: Vec::new(),
                gone_consumers_s: Vec::new(),
                consuming: 10.0,
                missing: 0,
                dead_letters: 0,
                is_database_up: true,
                fleet: Fleet::default(),
            }
        }

        fn found(&self) -> Vec<Finding> {
            let gateway = Observed {
                report: ProcessReport {
                    at: NOW,
                    restarts: self
                        .restarted_s
                        .iter()
                        .map(|ago| NOW.plus_millis(-ago * SECOND))
                        .collect(),
                    ..process(ProcessRole::Gateway, 0, &self.gateway).report
                },
                ..process(ProcessRole::Gateway, self.silent_s * SECOND, &[])
            };
            let mut history = History::default();
            for (ago, figures) in &self.before {
                let figures = figures
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), *value))
                    .collect();
                history.note(gateway.report.id, NOW.plus_millis(-ago * SECOND), &figures);
            }
            let figures = [("consuming", self.consuming), ("database_up", 1.0)];
            let mut processes = vec![gateway, process(ProcessRole::Consumer, 0, &figures)];
            processes[1].report.started_at = NOW;
            for (number, ran_s) in self.gone_consumers_s.iter().enumerate() {
                let mut gone = process(ProcessRole::Consumer, 30_000, &[]);
                gone.report.id = Uuid::from_u128(100 + number as u128);
                gone.report.at = NOW.plus_millis(-30_000);
                gone.report.started_at = gone.report.at.plus_millis(-ran_s * SECOND);
                processes.push(gone);
            }
            let database = DatabaseSeen {
                up: Some(self.is_database_up),
                ..DatabaseSeen::default()
            };
            let seen = Seen {
                now: NOW,
                has_broker: true,
                processes: &processes,
                database: &database,
                missing: Some(self.missing),
                dead_letters: Some(self.dead_letters),
                history: &history,
            };
            findings(&seen, &self.fleet, &Thresholds::default())
        }

        fn names(&self) -> Vec<(&'static str, Severity)> {
            let found = self.found().into_iter();
            found.map(|one| (one.name, one.severity)).collect()
        }
    }

    /// A change of the world, and all alerts that follow from it.
    type Case = (fn(&mut World), &'static [(&'static str, Severity)]);

    /// Causes that figures of now show.
    const CASES_OF_NOW: &[Case] = {
        use Severity::{Page, Ticket};
        &[
            (|w| w.missing = 1, &[("MessagesMissing", Page)]),
            (|w| w.dead_letters = 1, &[("DeadLetters", Ticket)]),
            (|w| w.dead_letters = 100, &[("DeadLetters", Ticket)]),
            (
                |w| w.dead_letters = 101,
                &[("DeadLetters", Page), ("DeadLetters", Ticket)],
            ),
            (
                |w| w.gateway = vec![("journal_full", 1.0)],
                &[("JournalFull", Page)],
            ),
            (
                |w| w.gateway = vec![("journal_used", 5.0), ("journal_max", 10.0)],
                &[],
            ),
            (
                |w| w.gateway = vec![("journal_used", 5.1), ("journal_max", 10.0)],
                &[("JournalFilling", Page)],
            ),
            (|w| w.gateway = vec![("journal_oldest_s", 60.0)], &[]),
            (
                |w| w.gateway = vec![("journal_oldest_s", 61.0)],
                &[("JournalOld", Ticket)],
            ),
            (
                |w| w.gateway = vec![("journal_oldest_s", 601.0)],
                &[("JournalOld", Page), ("JournalOld", Ticket)],
            ),
            (
                |w| w.gateway = vec![("journal_damaged", 1.0)],
                &[("JournalDamaged", Page)],
            ),
            (
                |w| w.gateway = vec![("disk_free", 15.0), ("disk", 100.0)],
                &[],
            ),
            (
                |w| w.gateway = vec![("disk_free", 14.0), ("disk", 100.0)],
                &[("DiskLow", Ticket)],
            ),
            (
                |w| w.gateway = vec![("disk_free", 4.0), ("disk", 100.0)],
                &[("DiskLow", Page), ("DiskLow", Ticket)],
            ),
            (
                |w| {
                    w.gateway = vec![("disk_free", 49.0), ("disk", 100.0)];
                    w.gateway.push(("disk_full_in_s", 86_399.0));
                },
                &[("DiskLow", Ticket)],
            ),
            (
                |w| {
                    w.gateway = vec![("disk_free", 51.0), ("disk", 100.0)];
                    w.gateway.push(("disk_full_in_s", 86_399.0));
                },
                &[],
            ),
            (
                |w| w.gateway = vec![("broker_connected", 0.0)],
                &[("BrokerLost", Page), ("BrokerLost", Ticket)],
            ),
            (
                |w| w.gateway = vec![("broker_blocked", 1.0)],
                &[("BrokerBlocked", Page)],
            ),
            (
                |w| w.gateway = vec![("broker_queued", 5.1), ("broker_queued_max", 10.0)],
                &[("BrokerQueueDeep", Ticket)],
            ),
            (|w| w.consuming = 0.0, &[("NoConsumer", Page)]),
            (
                |w| w.gateway = vec![("fallback", 1.0)],
                &[("DurabilityFallback", Ticket)],
            ),
            (
                |w| w.gateway = vec![("direct", 1.0)],
                &[("BypassActive", Ticket)],
            ),
            (|w| w.is_database_up = false, &[("DatabaseLost", Page)]),
            (
                |w| w.gateway = vec![("durable", 0.0)],
                &[("DatabaseNotDurable", Page)],
            ),
            (|w| w.gateway = vec![("maintained_at_s", 13_600.0)], &[]),
            (
                |w| w.gateway = vec![("maintained_at_s", 13_599.0)],
                &[("MaintenanceOverdue", Ticket)],
            ),
            (|w| w.gateway = vec![("events_queued", 9_999.0)], &[]),
            (
                |w| w.gateway = vec![("events_queued", 10_000.0)],
                &[("EventsLate", Ticket)],
            ),
            (
                |w| w.gateway = vec![("directory_loaded", 0.0)],
                &[("DirectoryUnknown", Page)],
            ),
            (|w| w.gateway = vec![("directory_age_s", 300.0)], &[]),
            (
                |w| w.gateway = vec![("directory_age_s", 301.0)],
                &[("DirectoryOld", Ticket)],
            ),
            (
                |w| w.gateway = vec![("clock_wrong", 1.0)],
                &[("ClockWrong", Page)],
            ),
            (
                // What it said last is not so now.
                |w| (w.silent_s, w.gateway) = (21, vec![("journal_full", 1.0)]),
                &[("PartGone", Page)],
            ),
            (
                |w| {
                    let settings = Thresholds::default();
                    w.fleet.note(NOW.plus_millis(-MINUTE), 100, &settings);
                    w.fleet.note(NOW, 79, &settings);
                },
                &[("FleetDrop", Page)],
            ),
            (|w| w.restarted_s = vec![901, 900, 2, 1], &[]),
            (
                |w| w.restarted_s = vec![900, 3, 2, 1],
                &[("RestartLoop", Page)],
            ),
            (|w| w.gone_consumers_s = vec![1, 1, 1, 900], &[]),
            (
                |w| w.gone_consumers_s = vec![1, 1, 1, 100],
                &[("RestartLoop", Page)],
            ),
        ]
    };

    /// Causes that figures of now and of before show.
    const CASES_OF_GROWTH: &[Case] = {
        use Severity::{Info, Page, Ticket};
        &[
            (
                |w| late(w, "stored", "stored_10s", 98.0),
                &[("StoredTooLate", Page)],
            ),
            (|w| late(w, "stored", "stored_10s", 99.0), &[]),
            (
                |w| late(w, "answered", "answered_1s", 98.0),
                &[("AnsweredTooLate", Page)],
            ),
            (
                |w| late(w, "api_requests", "api_5xx", 2.0),
                &[("ApiErrors", Ticket)],
            ),
            (
                |w| grown(w, "closed_not_durable", 1.0),
                &[("NotDurableClosed", Page)],
            ),
            (
                |w| {
                    w.gateway = vec![("synced", 100.0), ("synced_25ms", 98.0)];
                    w.before = vec![(100, vec![("synced", 0.0), ("synced_25ms", 0.0)])];
                },
                &[("SyncSlow", Ticket)],
            ),
            (
                |w| {
                    w.gateway = vec![("synced", 9.0), ("synced_25ms", 0.0)];
                    w.before = vec![(100, vec![("synced", 0.0), ("synced_25ms", 0.0)])];
                },
                &[],
            ),
            // A gateway of another version, with the count of another bucket.
            (
                |w| {
                    w.gateway = vec![("synced", 100.0)];
                    w.before = vec![(100, vec![("synced", 0.0)])];
                },
                &[],
            ),
            (
                // 20 of 100 bytes, and 114 more in 4 hours.
                |w| {
                    w.gateway = vec![("journal_used", 20.0), ("journal_max", 100.0)];
                    w.before = vec![(600, vec![("journal_used", 15.0)])];
                },
                &[("JournalFilling", Page)],
            ),
            (
                |w| {
                    w.gateway = vec![("journal_used", 20.0), ("journal_max", 100.0)];
                    w.before = vec![(600, vec![("journal_used", 17.0)])];
                },
                &[],
            ),
            (
                |w| {
                    w.gateway = vec![("broker_queued", 10_001.0), ("broker_queued_max", 1e6)];
                    w.before = vec![(1_200, vec![("broker_queued", 10_000.0)])];
                },
                &[("BrokerQueueDeep", Ticket)],
            ),
            (
                |w| {
                    w.gateway = vec![("broker_queued", 10_001.0), ("broker_queued_max", 1e6)];
                    w.before = vec![(1_200, vec![("broker_queued", 10_002.0)])];
                },
                &[],
            ),
            (
                |w| grown(w, "broker_refusals", 1.0),
                &[("BrokerRefuses", Page)],
            ),
            (
                |w| grown(w, "broker_returned", 1.0),
                &[("Unroutable", Ticket)],
            ),
            (|w| grown(w, "paced", 1.0), &[("Paced", Ticket)]),
            (
                |w| grown(w, "webhooks_off", 1.0),
                &[("WebhookSwitchedOff", Ticket)],
            ),
            (
                |w| {
                    grown(w, "handshakes_503", 11.0);
                    w.gateway.push(("handshakes", 101.0));
                    w.before[0].1.push(("handshakes", 1.0));
                },
                &[("ConnectStorm", Ticket)],
            ),
            (|w| grown(w, "auth_failures", 180.0), &[]),
            (
                |w| grown(w, "auth_failures", 181.0),
                &[("WrongPasswords", Info)],
            ),
        ]
    };

    /// A figure of the gateway has grown by so much since a minute and a half.
    fn grown(world: &mut World, key: &'static str, by: f64) {
        world.gateway.push((key, 7.0 + by));
        world.before.push((90, vec![(key, 7.0)]));
    }

    /// Of 100 of `all` in the last 5 minutes, so many are in `part`; the figures are known for a quarter of an hour.
    fn late(world: &mut World, all: &'static str, part: &'static str, so_many: f64) {
        world.gateway = vec![(all, 100.0), (part, so_many)];
        let none = vec![(all, 0.0), (part, 0.0)];
        world.before = vec![(900, none.clone()), (240, none)];
    }

    #[test]
    fn each_condition_is_found_from_its_cause_and_no_other_one() {
        assert_eq!(World::new().names(), []);
        let mut covered = BTreeSet::new();
        let cases = CASES_OF_NOW.iter().chain(CASES_OF_GROWTH);
        for (number, (cause, expected)) in cases.enumerate() {
            let mut world = World::new();
            cause(&mut world);
            assert_eq!(world.names(), *expected, "case {number}");
            covered.extend(expected.iter().copied());
        }
        let evaluated = PIPELINE_ALERTS
            .iter()
            .filter(|alert| !alert.condition.is_empty())
            .map(|alert| (alert.name, alert.severity))
            .collect();
        assert_eq!(covered, evaluated, "each alert needs a case");
    }

    #[test]
    fn a_share_of_late_messages_is_not_judged_from_the_first_minutes() {
        let mut world = World::new();
        late(&mut world, "stored", "stored_10s", 0.0);
        world.before[0].0 = 899;
        assert_eq!(world.names(), []);
    }

    #[test]
    fn a_loop_of_consumers_names_their_role_and_machine() {
        let mut world = World::new();
        world.gone_consumers_s = vec![1; 4];
        let found = world.found();
        assert_eq!(found[0].subject, "consumer on a");
        assert_eq!(
            found[0].summary,
            "consumer on a was restarted 4 times within 900 s after it was killed or had failed"
        );
    }

    #[test]
    fn a_process_is_named_in_short_in_a_summary_and_with_its_id_in_the_subject() {
        let mut world = World::new();
        world.silent_s = 21;
        let found = world.found();
        assert_eq!(found[0].summary, "gateway on a does not report");
        let id = Uuid::from_u128(ProcessRole::Gateway as u128 + 1);
        assert_eq!(found[0].subject, format!("gateway {id} on a"));
    }

    #[test]
    fn without_any_process_nothing_consumes() {
        let seen = Seen {
            now: NOW,
            has_broker: true,
            processes: &[],
            database: &DatabaseSeen::default(),
            missing: None,
            dead_letters: None,
            history: &History::default(),
        };
        let found = findings(&seen, &Fleet::default(), &Thresholds::default());
        let names: Vec<_> = found.iter().map(|one| one.name).collect();
        assert_eq!(names, ["NoConsumer"]);
        let judged = judged(&seen);
        assert!(!judged.contains("MessagesMissing") && !judged.contains("DeadLetters"));
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
