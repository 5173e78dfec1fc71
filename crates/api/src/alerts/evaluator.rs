//! Evaluates alerts: reads what is known, finds the conditions that hold, and stores what follows.
//!
//! Every process with the API runs it, because each may be the only one; a [`Lease`] in the database lets one evaluate at a
//! time.
//!
//! ```text
//! lease ─ reports, events, chargers ─▶ findings ─▶ machine ─▶ one transaction: alerts, entries in the queue of events
//! ```
//! Mails are sent by a task beside the rounds, one after the other. What was accepted is stored with the next round; after
//! a kill before that, the mail is sent again with the same `Message-ID`.
//!
//! While a process does not reach the database, it evaluates the alerts about the pipeline in memory, from the reports over
//! RabbitMQ and its own ([`Mode::Alone`]). Nobody can know then which other processes do so too: two mails are better than
//! none, and each says that there may be another one. When the database is back, the process that takes the lease stores its
//! alerts; another one tells the end of what it has mailed ([`Mode::Settling`]).

use super::lease::{Lease, Timing};
use super::mail::{self, Accepted, Failing, Mail};
use super::{AlertConfig, Mailer};
use crate::pipeline::Overview;
use central::Timestamp;
use central::alert::chargers::{self, Noted, Recent, SECURITY_EVENT, Stays, Uncertain};
use central::alert::figures::History;
use central::alert::machine::{Finding, Machine, Round, Stage, Step};
use central::alert::pipeline::{self, Fleet, Seen};
use central::alert::sites;
use central::alert::{self, Rule, Severity, rule};
use central::model::{
    Alert, AlertState, ChargerKey, Event, EventId, EventType, SILENCE_KEPT_MS, Silence,
    TransactionView,
};
use central::pipeline::{Observed, PartChange, ProcessState, ToldParts};
use central::ports::{
    Alerts, DatabaseClock, EventFilter, EventLog, EventsFound, Handshakes, QueryError, Unavailable,
    Webhooks,
};
use central::query::{
    ChargerDetail, ChargerFilter, HandshakeFilter, PAGE_MAX, Page, PageRequest, QueryStore,
    TransactionFilter,
};
use common::clock::now_ms;
use metrics::{counter, gauge};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The events of so many milliseconds before are read after a start, in order to count.
const COUNTED_MS: i64 = 3_600_000;
/// Pages of events that a round reads at most. The rest is read in the next round.
const EVENT_PAGES_MAX: usize = 100;
/// Chargers, and open transactions, that are judged at most.
const JUDGED_MAX: usize = 200_000;
/// How often alerts that have ended are deleted.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// Mails that are sent before their outcome is noted at most.
const MAILS_AT_ONCE_MAX: usize = 20;
/// Ended alerts that wait for a mail at most; of more, the oldest are not mailed.
const ENDED_MAX: usize = 5_000;
/// How often a process without the lease reads the silences.
const SILENCES_EVERY: Duration = Duration::from_secs(30);
/// Changes of parts of the pipeline that wait to be stored at most.
const PART_CHANGES_MAX: usize = 256;
/// Alerts of which a round writes lines to the log at most.
const LOGGED_MAX: usize = 20;
/// For so many milliseconds after reports of other processes can come again, the newest may be those of before: each sends one
/// every 5 seconds.
const HEARS_AGAIN_MS: i64 = 10_000;
/// Alerts that a process can find although it knows only of itself: another process may show that there is no cause.
const OF_OTHERS: [&str; 3] = ["PartGone", "NoConsumer", "FleetDrop"];
const DAY_MS: i64 = 24 * 3_600_000;

/// What the evaluation reads and writes.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) alerts: Arc<dyn Alerts>,
    pub(crate) clock: Arc<dyn DatabaseClock>,
    pub(crate) queries: Arc<dyn QueryStore>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) handshakes: Option<Arc<dyn Handshakes>>,
    pub(crate) webhooks: Option<Arc<dyn Webhooks>>,
    pub(crate) overview: Arc<Overview>,
    pub(crate) mailer: Option<Mailer>,
}

/// Evaluates until `stop`, then gives the lease back. A panic of a round is one of this task: it is started again, takes
/// the lease of its predecessor once that has ended, and goes on with what is stored.
pub(crate) async fn run(sources: Sources, config: AlertConfig, stop: CancellationToken) {
    run_with(sources, config, Timing::default(), stop).await;
}

async fn run_with(sources: Sources, config: AlertConfig, timing: Timing, stop: CancellationToken) {
    let interval = config.interval();
    let (alerts, clock) = (Arc::clone(&sources.alerts), Arc::clone(&sources.clock));
    let lease = Arc::new(Lease::new(alerts, clock, timing));
    // Also after a panic of a round.
    let ended = stop.child_token();
    let _ended = ended.clone().drop_guard();
    tokio::spawn(Arc::clone(&lease).keep(ended));
    let mut evaluator = Evaluator {
        sources,
        config,
        lease,
        held: None,
        silences: Vec::new(),
        silences_read_at: None,
        has_failed: false,
    };
    // Exported from the start, so that a rate has a value before the first mail.
    for result in ["accepted", "refused"] {
        counter!("wattpost_alerts_mails_total", "result" => result).increment(0);
    }
    let mailer = evaluator.sources.mailer.clone();
    let mut sending: Option<JoinHandle<Vec<Attempt>>> = None;
    while !stop.is_cancelled() {
        let began = Instant::now();
        if sending.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(sent) = sending.take()
        {
            match sent.await {
                Ok(attempts) => evaluator.mailed(attempts),
                Err(panic) => tracing::error!(%panic, "sending mails of alerts panicked"),
            }
        }
        let turn = tokio::task::spawn_blocking(move || {
            evaluator.turn();
            evaluator.lease.round_ended();
            evaluator
        });
        evaluator = match turn.await {
            Ok(evaluator) => evaluator,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends.
                Err(_) => return,
            },
        };
        if let Some(mailer) = &mailer
            && sending.is_none()
        {
            let mails = evaluator.mails_due(Timestamp(now_ms()));
            if !mails.is_empty() {
                sending = Some(tokio::spawn(send(mailer.clone(), mails)));
            }
        }
        gauge!("wattpost_alerts_round_seconds").set(began.elapsed().as_secs_f64());
        let pause = match evaluator.held {
            Some(_) => interval,
            None => interval.min(timing.tried_every),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    if let Some(sending) = sending {
        sending.abort();
    }
    let _ = tokio::task::spawn_blocking(move || evaluator.lease.release()).await;
}

/// What came of sending a mail.
pub(super) struct Attempt {
    mail: Mail,
    at: Timestamp,
    /// The recipients that the server refuses, or why no recipient has got it.
    pub(super) result: Result<Vec<String>, String>,
}

/// Refusals of single mails after which the others wait for the next attempt.
const REFUSED_MAX: usize = 5;

/// Sends mails until the server cannot be used. One that it refuses is tried again later, and holds back no other: a charger
/// can cause a text that a filter refuses.
pub(super) async fn send(mailer: Mailer, mails: Vec<Mail>) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut refused = 0;
    for mail in mails.into_iter().take(MAILS_AT_ONCE_MAX) {
        let result = mailer.send(&mail).await;
        let label = if result.is_ok() {
            "accepted"
        } else {
            "refused"
        };
        counter!("wattpost_alerts_mails_total", "result" => label).increment(1);
        let is_final = result.as_ref().is_err_and(|error| error.is_of_mail);
        let has_failed = result.is_err();
        refused += usize::from(has_failed);
        let at = Timestamp(now_ms());
        let result = result.map_err(|error| error.words);
        attempts.push(Attempt { mail, at, result });
        if has_failed && (!is_final || refused >= REFUSED_MAX) {
            break;
        }
    }
    attempts
}

struct Evaluator {
    sources: Sources,
    config: AlertConfig,
    lease: Arc<Lease>,
    /// What a process that evaluates keeps in memory.
    held: Option<Held>,
    /// The silences as they were read last, for the time in which the database is away.
    silences: Vec<Silence>,
    silences_read_at: Option<Instant>,
    has_failed: bool,
}

/// How a process evaluates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It has the lease, or had it when the database went away.
    Leased,
    /// It has never had the lease, and does not reach the database.
    Alone,
    /// Another process has the lease. This one only waits for the end of the alerts that it has mailed and not stored, and
    /// mails it.
    Settling,
}

struct Held {
    mode: Mode,
    machine: Machine,
    history: History,
    recent: Recent,
    memory: Memory,
    /// The memory as it is stored.
    stored_memory: String,
    /// Up to where the log of events was read, and whether to its end.
    cursor: EventId,
    has_caught_up: bool,
    silences: Vec<Silence>,
    /// The ids of the sites of the chargers, as they were read last.
    sites: HashMap<ChargerKey, String>,
    /// The latest findings about chargers and others that are judged less often, and when they were made.
    chargers: Findings,
    judged_at: Option<Instant>,
    expired_at: Option<Instant>,
    /// What is not stored yet.
    unsaved: Unsaved,
    /// Alerts that have ended and whose end is to be mailed.
    ended: BTreeMap<Uuid, Alert>,
    failing: Failing,
    /// When no report of another process could come, the last time.
    deaf_at: Option<Timestamp>,
}

/// What is stored besides the alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// Who has stored it, so that a holder sees that another one was between.
    holder: Option<Uuid>,
    /// The last event from which an alert about one event was made.
    seen: Option<String>,
    fleet: Fleet,
    mails: Accepted,
    /// Which parts of the pipeline are told not to work.
    parts: ToldParts,
    /// Since when connectors have a status in which they must not stay.
    stays: Stays,
    /// What a newer program has stored, which this one does not know: it is stored again as it is.
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

impl Memory {
    /// The memory that is stored; one that cannot be read begins anew.
    fn read(text: &str) -> Self {
        let read = serde_json::from_str(text);
        read.unwrap_or_else(|error| {
            if !text.is_empty() {
                tracing::warn!(%error, "the memory of the alerts cannot be read; it begins anew");
            }
            Self::default()
        })
    }
}

/// The chargers as the database shows them, and of which it shows what is so now.
struct Chargers {
    known: chargers::Known,
    details: Vec<ChargerDetail>,
}

#[derive(Default)]
struct Findings {
    found: Vec<Finding>,
    judged: BTreeSet<&'static str>,
}

/// The steps since the last one that was stored.
#[derive(Default)]
struct Unsaved {
    changed: BTreeMap<Uuid, Alert>,
    removed: BTreeSet<Uuid>,
    told: Vec<(Uuid, Stage)>,
    parts: Vec<PartChange>,
}

impl Unsaved {
    fn add(&mut self, step: Step) {
        for id in step.removed {
            self.changed.remove(&id);
            self.removed.insert(id);
        }
        for alert in step.changed {
            self.changed.insert(alert.id, alert);
        }
        self.told.extend(step.told);
    }

    fn step(&self) -> Step {
        Step {
            changed: self.changed.values().cloned().collect(),
            removed: self.removed.iter().copied().collect(),
            told: self.told.clone(),
            parts: self.parts.clone(),
            refused: 0,
        }
    }
}

impl Evaluator {
    /// Evaluates once, if this process has the lease or does not reach the database.
    fn turn(&mut self) {
        let is_there = match self.lease.take() {
            Ok(Some(memory)) => {
                let goes_on = self
                    .held
                    .as_ref()
                    .is_some_and(|held| held.mode == Mode::Leased && held.stored_memory == memory);
                // Also where another process had the lease while this one was stopped.
                if !goes_on {
                    match self.begin(&memory, Timestamp(now_ms())) {
                        Ok(held) => self.held = Some(held),
                        Err(error) => return self.failed(&error),
                    }
                }
                true
            }
            Ok(None) => {
                self.lost();
                self.remember_silences();
                false
            }
            Err(error) => {
                self.failed(&error);
                if self.held.is_none() {
                    tracing::info!("this process evaluates alerts in memory");
                    self.held = Some(self.alone());
                }
                false
            }
        };
        let evaluates = |held: &Held| held.mode != Mode::Settling;
        let evaluates = self.held.as_ref().is_some_and(evaluates);
        gauge!("wattpost_alerts_evaluating").set(f64::from(u8::from(evaluates)));
        let Some(mut held) = self.held.take() else {
            return;
        };
        // The call may have waited for a database that hangs.
        let is_kept = self.evaluate(&mut held, is_there, Timestamp(now_ms()));
        self.held = Some(held);
        if !is_kept {
            self.lost();
        }
    }

    /// Another process has the lease: what this one has mailed and not stored stays until its end.
    fn lost(&mut self) {
        self.lease.lost();
        if let Some(held) = &mut self.held {
            if held.mode != Mode::Settling {
                tracing::warn!("another process evaluates alerts now");
                held.settle();
            }
            // The other process tells what has changed meanwhile.
            held.unsaved.parts.clear();
            held.memory.parts = ToldParts::default();
            if held.is_settled() {
                self.held = None;
            }
        }
    }

    /// Keeps the silences for the time in which the database is away.
    fn remember_silences(&mut self) {
        let is_due = |at: Instant| at.elapsed() >= SILENCES_EVERY;
        if self.silences_read_at.is_none_or(is_due)
            && let Ok(silences) = self.sources.alerts.silences()
        {
            self.silences = silences;
            self.silences_read_at = Some(Instant::now());
        }
    }

    fn failed(&mut self, error: &dyn std::fmt::Display) {
        counter!("wattpost_alerts_failures_total").increment(1);
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(%error, "alerts cannot be stored now: the database cannot be used");
        }
    }

    /// Goes on where the holder before has ended.
    fn begin(&self, memory: &str, now: Timestamp) -> Result<Held, Unavailable> {
        let alerts = &self.sources.alerts;
        let since = now.plus_millis(-alert::machine::FOLLOWS_MS);
        let stored = alerts.active_alerts(since)?;
        let cursor = self
            .sources
            .log
            .event_before(now.plus_millis(-COUNTED_MS))?;
        let stored_memory = memory.to_owned();
        let memory = Memory {
            holder: Some(self.lease.holder),
            ..Memory::read(memory)
        };
        let mut recent = Recent::default();
        recent.restore_stays(&memory.stays, now);
        for alert in &stored {
            let is_open = alert.state == AlertState::Firing && alert.acknowledged.is_none();
            if is_open
                && alert.name == "CommandUncertain"
                && let Ok(command) = Uuid::try_parse(&alert.subject)
            {
                let uncertain = Uncertain {
                    charger_id: alert.charger_id.clone().unwrap_or_default(),
                    summary: alert.summary.clone(),
                    at: alert.active_at,
                };
                recent.finished(command, Some(uncertain));
            }
            if is_open && alert.name == SECURITY_EVENT {
                let noted = Noted {
                    charger_id: alert.charger_id.clone().unwrap_or_default(),
                    severity: alert.severity,
                    summary: alert.summary.clone(),
                    at: alert.active_at,
                };
                recent.note_security(alert.subject.clone(), noted);
            }
        }
        let is_mailed = |alert: &&Alert| {
            alert.state == AlertState::Resolved
                && alert.told.mailed.is_some()
                && alert.told.mailed_end.is_none()
        };
        let ended = stored.iter().filter(is_mailed);
        let ended = ended.map(|alert| (alert.id, alert.clone())).collect();
        tracing::info!("this process evaluates alerts");
        let known: BTreeSet<Uuid> = stored.iter().map(|alert| alert.id).collect();
        let mut held = Held {
            mode: Mode::Leased,
            machine: Machine::restored(stored),
            recent,
            memory,
            stored_memory,
            cursor,
            ended,
            ..self.alone()
        };
        if let Some(before) = &self.held {
            held.adopt(before, &known, now);
        }
        Ok(held)
    }

    /// What a process evaluates with that has read nothing.
    fn alone(&self) -> Held {
        Held {
            mode: Mode::Alone,
            machine: Machine::default(),
            history: History::default(),
            recent: Recent::default(),
            memory: Memory::default(),
            stored_memory: String::new(),
            cursor: EventId::START,
            has_caught_up: false,
            silences: self.silences.clone(),
            sites: HashMap::new(),
            chargers: Findings::default(),
            judged_at: None,
            expired_at: None,
            unsaved: Unsaved::default(),
            ended: BTreeMap::new(),
            failing: Failing::default(),
            deaf_at: None,
        }
    }

    /// One round. `false` if another process has the lease.
    fn evaluate(&mut self, held: &mut Held, is_there: bool, now: Timestamp) -> bool {
        let mut is_stored = is_there;
        if is_there && let Err(error) = self.read(held, now) {
            self.failed(&error);
            is_stored = false;
        }
        let mut round = self.round(held, now, is_stored);
        if held.mode == Mode::Settling {
            let machine = &held.machine;
            let has = |one: &Finding| machine.has(one.name, one.severity, &one.subject);
            round.findings.retain(has);
        }
        let rules = &self.config.rules;
        let step = held
            .machine
            .step(&round, rules, &held.silences, common::id::new_v7);
        if step.refused > 0 {
            counter!("wattpost_alerts_refused_total").increment(step.refused as u64);
        }
        log(&step);
        if self.sources.mailer.is_some() {
            held.note_ended(&step);
        }
        held.unsaved.add(step);
        for severity in [Severity::Page, Severity::Ticket, Severity::Info] {
            let firing = held
                .machine
                .alerts()
                .filter(|alert| alert.state == AlertState::Firing && alert.severity == severity);
            gauge!("wattpost_alerts_firing", "severity" => severity.word())
                .set(firing.count() as f64);
        }
        if !is_stored {
            return true;
        }
        self.store(held, now)
    }

    /// Stores what has changed. `false` if another process has the lease.
    fn store(&mut self, held: &mut Held, now: Timestamp) -> bool {
        let memory = serde_json::to_string(&held.memory).unwrap_or_default();
        let step = held.unsaved.step();
        // The lease was extended just now: without news there is nothing to write.
        if !step.is_empty() || memory != held.stored_memory {
            let alerts = &self.sources.alerts;
            match alerts.record_alerts(self.lease.holder, &step, &memory, now) {
                Ok(true) => {
                    held.unsaved = Unsaved::default();
                    held.stored_memory = memory;
                }
                Ok(false) => return false,
                Err(error) => {
                    self.failed(&error);
                    return true;
                }
            }
        }
        if std::mem::replace(&mut self.has_failed, false) {
            tracing::info!("alerts are stored again");
        }
        self.expire(held, now);
        true
    }

    fn expire(&mut self, held: &mut Held, now: Timestamp) {
        let is_due = held
            .expired_at
            .is_none_or(|at| at.elapsed() >= EXPIRE_EVERY);
        if !is_due {
            return;
        }
        held.expired_at = Some(Instant::now());
        let before = now.plus_millis(-i64::from(self.config.retain_days) * DAY_MS);
        let silences = now.plus_millis(-SILENCE_KEPT_MS);
        if let Err(error) = self.sources.alerts.expire_alerts(before, silences) {
            self.failed(&error);
        }
    }

    /// Reads what the database has.
    fn read(&self, held: &mut Held, now: Timestamp) -> Result<(), QueryError> {
        held.silences = self.sources.alerts.silences()?;
        let noted = self.sources.alerts.acknowledged_alerts()?;
        held.machine.acknowledge(noted.into_iter().collect());
        // A command whose alert a person has taken note of is settled.
        let noted: Vec<Uuid> = held
            .machine
            .alerts()
            .filter(|alert| alert.name == "CommandUncertain" && alert.acknowledged.is_some())
            .filter_map(|alert| Uuid::try_parse(&alert.subject).ok())
            .collect();
        for command in noted {
            held.recent.finished(command, None);
        }
        for alert in held.machine.alerts() {
            let by = alert.acknowledged.as_ref();
            if let Some(by) = by.filter(|_| alert.name == SECURITY_EVENT) {
                held.recent.security_noted(&alert.subject, by.at);
            }
        }
        let is_due = held
            .judged_at
            .is_none_or(|at| at.elapsed() >= self.config.charger_interval());
        let chargers = is_due.then(|| self.chargers()).transpose()?;
        if let Some(chargers) = &chargers {
            // Before the events, of which strangers can send many.
            let rules = &self.config.rules;
            held.recent.chargers_are(&chargers.details, rules);
        }
        self.read_events(held)?;
        held.recent.forget(now);
        if let Some(chargers) = chargers {
            held.chargers = self.judge(held, &chargers, now)?;
            held.judged_at = Some(Instant::now());
        }
        Ok(())
    }

    fn read_events(&self, held: &mut Held) -> Result<(), Unavailable> {
        let filter = EventFilter {
            charger: None,
            types: vec![
                EventType::ChargerConnected,
                EventType::ChargerBooted,
                EventType::CommandFinished,
                EventType::DeadLetterAdded,
                EventType::SecurityEvent,
            ],
        };
        for _ in 0..EVENT_PAGES_MAX {
            match self
                .sources
                .log
                .events_after(held.cursor, &filter, PAGE_MAX)?
            {
                EventsFound::Page(page) => {
                    for event in &page.events {
                        held.take_in(event);
                    }
                    held.cursor = page.reached;
                    if page.is_end {
                        held.has_caught_up = true;
                        return Ok(());
                    }
                }
                EventsFound::Expired(bounds) => held.cursor = bounds.last,
            }
        }
        Ok(())
    }

    /// Reads all chargers, after what is known of them.
    fn chargers(&self) -> Result<Chargers, QueryError> {
        let lag_ms_max = i64::from(self.config.rules.lag_s_max) * 1_000;
        let known = self.sources.overview.for_chargers(lag_ms_max);
        let queries = &*self.sources.queries;
        let filter = ChargerFilter::default();
        let details = all(|page| queries.chargers(&filter, page))?;
        Ok(Chargers { known, details })
    }

    /// Finds the conditions about chargers, commands and webhooks.
    fn judge(
        &self,
        held: &mut Held,
        chargers: &Chargers,
        now: Timestamp,
    ) -> Result<Findings, QueryError> {
        let rules = &self.config.rules;
        let Chargers { known, details } = chargers;
        let mut findings = Findings::default();
        let found = &mut findings.found;
        let queries = &*self.sources.queries;
        let machine = &held.machine;
        let has_alert = |id: &str| machine.has("ChargerOffline", Severity::Ticket, id);
        let recent = &mut held.recent;
        chargers::begin_stays(recent);
        for detail in details {
            chargers::of_charger(detail, known, recent, has_alert, rules, now, found);
        }
        chargers::end_stays(recent);
        held.memory.stays = recent.stays();
        chargers::of_long_offline(details, has_alert, rules, now, found);
        let fires = |site: &str| machine.fires("SiteOffline", Severity::Page, site);
        sites::of_sites(details, known, fires, rules, now, found);
        chargers::of_unjudged(known, found);
        let by_key: HashMap<ChargerKey, &ChargerDetail> = details
            .iter()
            .map(|detail| (ChargerKey::of(&detail.charger.charger_id), detail))
            .collect();
        let open = TransactionFilter {
            open: Some(true),
            ..TransactionFilter::default()
        };
        let open: Vec<TransactionView> = all(|page| queries.transactions(&open, page))?;
        chargers::of_transactions(
            &open,
            |id| by_key.get(&ChargerKey::of(id)).copied(),
            known,
            &mut held.recent,
            rules,
            now,
            found,
        );
        if let Some(handshakes) = &self.sources.handshakes {
            let rows = all(|page| handshakes.refused(&HandshakeFilter::default(), page))?;
            held.recent.of_handshakes(&rows, rules, now, found);
        }
        if let Some(webhooks) = &self.sources.webhooks {
            chargers::of_webhooks(&webhooks.webhooks()?, rules, now, found);
        }
        let site = |(key, detail): (&ChargerKey, &&ChargerDetail)| {
            let site = detail.settings.as_ref()?.site.clone()?;
            Some((key.clone(), site))
        };
        held.sites = by_key.iter().filter_map(site).collect();
        findings.found.iter_mut().for_each(|one| held.locate(one));
        let is_judged = |rule: &Rule| {
            let counts = ["ChargerFlapping", "BootLoop"].contains(&rule.name);
            rule.about == "chargers"
                && !["CommandUncertain", SECURITY_EVENT].contains(&rule.name)
                && (!rule.is_of_charger || known.is_current)
                && (!counts || held.has_caught_up)
        };
        findings.judged = alert::rules()
            .filter(is_judged)
            .map(|rule| rule.name)
            .collect();
        Ok(findings)
    }

    /// What was found now. Without the database, that is only what processes report.
    fn round(&self, held: &mut Held, now: Timestamp, is_there: bool) -> Round {
        let (observed, database, missing) = self.sources.overview.for_pipeline();
        let running = || {
            observed
                .iter()
                .filter(|one| one.state() == ProcessState::Running)
        };
        for one in running() {
            let report = &one.report;
            let at = now.plus_millis(-one.age_ms);
            let figures: BTreeMap<String, f64> = report
                .figures_milli
                .keys()
                .filter_map(|key| Some((key.clone(), report.figure(key)?)))
                .collect();
            held.history.note(report.id, at, &figures);
        }
        held.history.forget(now);
        held.memory.mails.forget(&self.config.mail, now);
        let has_broker = self.sources.overview.has_broker();
        let (own, hears) = self.sources.overview.own();
        let is_other = |one: &Observed| {
            one.report.id != own
                && matches!(one.state(), ProcessState::Running | ProcessState::Gone)
        };
        let knows_others = || has_broker || observed.iter().any(is_other);
        if !is_there && !hears && knows_others() {
            held.deaf_at = Some(now);
        }
        let is_deaf = held
            .deaf_at
            .is_some_and(|at| (0..HEARS_AGAIN_MS).contains(&(now.0 - at.0)));
        if !is_deaf {
            let connected = running()
                .filter_map(|one| Some(one.report.gateway.as_ref()?.connected))
                .sum();
            held.memory.fleet.note(now, connected, &self.config.rules);
        }
        let letters = held.recent.dead_letters(now, &self.config.rules);
        let parts = central::pipeline::pipeline(now, has_broker, &observed, &database).parts;
        let is_judged = |part: &str| !is_deaf || ["database", "rabbitmq"].contains(&part);
        let changes = held.memory.parts.note(now, &parts, is_judged);
        central::pipeline::keep_changes(&mut held.unsaved.parts, changes, PART_CHANGES_MAX);
        let seen = Seen {
            now,
            has_broker,
            processes: &observed,
            database: &database,
            missing,
            dead_letters: (is_there && held.has_caught_up).then_some(letters),
            history: &held.history,
        };
        let mut round = Round {
            now,
            findings: pipeline::findings(&seen, &held.memory.fleet, &self.config.rules),
            judged: pipeline::judged(&seen),
        };
        if is_deaf {
            // That no report of another process comes says nothing of that process.
            let own = observed.iter().find(|one| one.report.id == own);
            let own = own.map_or_else(String::new, Observed::full_name);
            held.keep_of_others(&own, &mut round);
        }
        if let Some((since, error)) = &held.failing.since {
            let words = format!("no mail of an alert is accepted: {error}");
            round.findings.push(Finding {
                since: Some(*since),
                ..Finding::new("NotifierFailing", Severity::Page, words)
            });
        }
        if !held.failing.recipients.is_empty() {
            let words = format!(
                "the mail server refuses recipients: {}",
                held.failing.recipients.join("; ")
            );
            round
                .findings
                .push(Finding::new("NotifierFailing", Severity::Ticket, words));
        }
        round.judged.insert("NotifierFailing");
        if is_there {
            round.findings.extend(held.chargers.found.iter().cloned());
            round.judged.extend(held.chargers.judged.iter().copied());
            let mut uncertain = Vec::new();
            held.recent.of_commands(|_| false, &mut uncertain);
            held.recent.of_security(&mut uncertain);
            uncertain.iter_mut().for_each(|one| held.locate(one));
            round.findings.extend(uncertain);
            round.judged.extend(["CommandUncertain", SECURITY_EVENT]);
        }
        round
    }

    /// The mails that are to be sent now.
    fn mails_due(&self, now: Timestamp) -> Vec<Mail> {
        let Some(held) = &self.held else {
            return Vec::new();
        };
        if !held.failing.may_try(Instant::now()) {
            return Vec::new();
        }
        let firing = held.machine.alerts();
        let firing = firing.filter(|_| held.mode != Mode::Settling);
        let mut mails = mail::due(
            firing,
            held.ended.values(),
            &held.memory.mails,
            &self.config.mail,
            now,
        );
        if self.has_failed {
            mails.iter_mut().for_each(Mail::say_alone);
        }
        mails
    }

    /// Notes what came of sending.
    fn mailed(&mut self, attempts: Vec<Attempt>) {
        let Some(held) = &mut self.held else {
            return;
        };
        for Attempt { mail, at, result } in attempts {
            let was_failing = held.failing.since.is_some();
            held.failing
                .note(&result, at, Instant::now(), fastrand::f64());
            match &result {
                Err(error) if !was_failing => {
                    tracing::warn!(%error, "a mail of an alert was not accepted; it is tried again");
                }
                Ok(_) if was_failing => tracing::info!("mails of alerts are accepted again"),
                _ => {}
            }
            if result.is_err() {
                continue;
            }
            held.memory.mails.note(&mail, at);
            held.note_mailed(&mail, at);
        }
    }
}

impl Held {
    /// Keeps only the alerts that were mailed and are not stored.
    fn settle(&mut self) {
        self.mode = Mode::Settling;
        let unsaved = std::mem::take(&mut self.unsaved);
        let is_left = |id: &Uuid| {
            let alert = unsaved.changed.get(id);
            alert.is_some_and(|alert| alert.told.mailed.is_some())
        };
        self.machine.retain(|alert| is_left(&alert.id));
        self.ended.retain(|id, _| is_left(id));
    }

    /// What a process finds that knows only of itself: what it reports. An alert about others, or about all together,
    /// neither begins because nothing is known, nor ends.
    fn keep_of_others(&self, own: &str, round: &mut Round) {
        round.findings.retain(|one| match one.name {
            "RestartLoop" => one.subject == own,
            name => !OF_OTHERS.contains(&name),
        });
        let is_of_others = |alert: &&Alert| {
            let is_found = |one: &Finding| {
                (one.name, one.severity, &one.subject)
                    == (&alert.name, alert.severity, &alert.subject)
            };
            alert.state != AlertState::Resolved
                && alert.subject != own
                && alert.name != "DatabaseLost"
                && !round.findings.iter().any(is_found)
        };
        let not_known = self.machine.alerts().filter(is_of_others);
        let not_known = not_known.filter_map(|alert| {
            let rule = rule(&alert.name, alert.severity)?;
            let finding = Finding::new(rule.name, rule.severity, String::new());
            (rule.about == "pipeline").then(|| Finding {
                holds: false,
                ..finding.about(alert.subject.clone())
            })
        });
        let not_known: Vec<Finding> = not_known.collect();
        round.findings.extend(not_known);
    }

    /// Adds the site of the charger.
    fn locate(&self, finding: &mut Finding) {
        if let Some(charger) = finding
            .charger_id
            .as_deref()
            .filter(|_| !self.sites.is_empty())
        {
            finding.site = self.sites.get(&ChargerKey::of(charger)).cloned();
        }
    }

    /// Whether nothing is left whose end is to be mailed.
    fn is_settled(&self) -> bool {
        self.ended.is_empty() && self.machine.alerts().next().is_none()
    }

    /// Takes over what this process has evaluated without the database. `known`: the alerts that are stored.
    fn adopt(&mut self, before: &Self, known: &BTreeSet<Uuid>, now: Timestamp) {
        self.failing = before.failing.clone();
        self.deaf_at = before.deaf_at;
        let parts = before.unsaved.parts.clone();
        self.unsaved.parts = self.memory.parts.adopt(now, parts);
        for alert in before.machine.alerts() {
            let is_of_pipeline = rule(&alert.name, alert.severity)
                .is_some_and(|rule| rule.about == "pipeline" || rule.name == "NotifierFailing");
            if !is_of_pipeline {
                continue;
            }
            if let Some(mailed) = alert.told.mailed {
                // The same condition, under the id that another process has given it: it is not mailed again.
                let noted = self.machine.note_like(alert, mailed);
                self.unsaved.changed.extend(noted.map(|one| (one.id, one)));
            }
            if !known.contains(&alert.id) && self.machine.adopt(alert.clone()) {
                self.unsaved.changed.insert(alert.id, alert.clone());
                if alert.told.firing.is_some() {
                    self.unsaved.told.push((alert.id, Stage::Firing));
                }
            }
        }
        for (id, alert) in &before.ended {
            if !known.contains(id) {
                self.unsaved.changed.insert(*id, alert.clone());
                self.unsaved.told.push((*id, Stage::Firing));
                self.unsaved.told.push((*id, Stage::Resolved));
                self.ended.insert(*id, alert.clone());
            }
        }
    }

    /// Keeps those alerts whose end is to be mailed: also of one that ended before its firing could be.
    fn note_ended(&mut self, step: &Step) {
        for alert in &step.changed {
            if alert.state == AlertState::Resolved && alert.told.firing.is_some() {
                self.ended.insert(alert.id, alert.clone());
            }
        }
        while self.ended.len() > ENDED_MAX {
            self.ended.pop_first();
        }
    }

    fn note_mailed(&mut self, mail: &Mail, at: Timestamp) {
        let mut noted = Vec::new();
        for id in &mail.ended {
            if let Some(mut alert) = self.ended.remove(id) {
                alert.told.mailed_end = Some(at);
                noted.push(alert);
            }
        }
        if !mail.fires.is_empty() {
            let ids = mail.fires.iter().copied().collect();
            noted.extend(self.machine.note(&ids, at));
            for id in ids {
                if let Some(alert) = self.ended.get_mut(&id) {
                    alert.told.mailed = Some(at);
                    noted.push(alert.clone());
                }
            }
        }
        let noted = noted.into_iter().map(|alert| (alert.id, alert));
        self.unsaved.changed.extend(noted);
    }

    fn take_in(&mut self, event: &Event) {
        let at = event.occurred_at;
        match (event.kind, &event.charger_id) {
            (EventType::ChargerConnected, Some(charger)) => self.recent.connected(charger, at),
            (EventType::ChargerBooted, Some(charger)) => self.recent.booted(charger, at),
            (EventType::DeadLetterAdded, _) => self.recent.dead_letter(at),
            (EventType::CommandFinished, Some(charger)) => self.finished(event, charger),
            (EventType::SecurityEvent, Some(charger)) => self.security(event, charger),
            _ => {}
        }
    }

    /// Whether an event was not seen before. Each counts once, whoever has the lease: what a person has taken note of does
    /// not come back.
    fn is_new(&mut self, event: &Event) -> bool {
        let seen = self.memory.seen.as_deref().and_then(EventId::parse);
        if seen.is_some_and(|seen| event.id.position <= seen.position) {
            return false;
        }
        self.memory.seen = Some(event.id.to_string());
        true
    }

    /// A security event, with the time at which Wattpost recorded it: the charger's clock may be wrong.
    fn security(&mut self, event: &Event, charger: &str) {
        if !self.is_new(event) {
            return;
        }
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
        let tech_info = data["tech_info"].as_str();
        let at = event.id.recorded_at;
        self.recent
            .security_event(charger, &event.subject, tech_info, at);
    }

    /// The outcome of a command.
    fn finished(&mut self, event: &Event, charger: &str) {
        if !self.is_new(event) {
            return;
        }
        let Ok(command) = Uuid::try_parse(&event.subject) else {
            return;
        };
        let Ok(data) = serde_json::from_str::<serde_json::Value>(&event.data) else {
            return;
        };
        let is_uncertain =
            data["outcome"]["class"] == "uncertain" && data["safe_to_repeat"] == false;
        let action = data["action"].as_str().unwrap_or("a command");
        let uncertain = is_uncertain.then(|| Uncertain {
            charger_id: charger.to_owned(),
            summary: format!("whether {charger} has received {action} is not known"),
            at: event.occurred_at,
        });
        self.recent.finished(command, uncertain);
    }
}

/// All pages of a list, up to [`JUDGED_MAX`] rows.
fn all<T>(
    mut page: impl FnMut(&PageRequest) -> Result<Page<T>, QueryError>,
) -> Result<Vec<T>, QueryError> {
    let mut rows = Vec::new();
    let mut request = PageRequest {
        after: None,
        limit: PAGE_MAX,
    };
    while rows.len() < JUDGED_MAX {
        let found = page(&request)?;
        rows.extend(found.items);
        match found.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    Ok(rows)
}

/// Writes a line for each alert that is told; of more than [`LOGGED_MAX`] at once, their number.
fn log(step: &Step) {
    if step.told.is_empty() {
        return;
    }
    // What is told has changed.
    let changed: HashMap<Uuid, &Alert> = step.changed.iter().map(|one| (one.id, one)).collect();
    for (id, stage) in step.told.iter().take(LOGGED_MAX) {
        let Some(alert) = changed.get(id) else {
            continue;
        };
        let (name, severity, summary) = (&alert.name, alert.severity.word(), &alert.summary);
        match stage {
            Stage::Firing => tracing::warn!(%id, name, severity, summary, "an alert fires"),
            Stage::Acknowledged | Stage::Resolved => {
                tracing::info!(%id, name, severity, summary, "an alert has ended");
            }
        }
    }
    let more = step.told.len().saturating_sub(LOGGED_MAX);
    if more > 0 {
        tracing::warn!(
            more,
            "more alerts fire or have ended; `wattpost alerts list` shows them"
        );
    }
}

#[cfg(test)]
mod tests;
