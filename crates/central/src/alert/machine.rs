//! Which alerts are pending, fire and end, and who is told.
//!
//! ```text
//!            condition holds          held for `for`            not held for the hold
//!  inactive ────────────────▶ pending ──────────────▶ firing ──────────────────────▶ resolved
//!                 ▲              │                      │ ▲
//!                 └──────────────┘                      └─┘ condition comes and goes: still one alert
//!                 does not hold
//! ```
//! A condition that cannot be judged now changes nothing, and the time before firing begins anew when it can be judged
//! again: what is not known is not wrong. An alert that fires again within [`FOLLOWS_MS`] after its end has twice the
//! hold, so that a cause that comes and goes for a day is a handful of messages.
//!
//! Nobody is told of an alert while a silence selects it, or while another alert explains it ([`INHIBITIONS`]). Who was
//! not told of its firing is not told of its end.
//!
//! When more than [`FOLD_MAX`] alerts of chargers or sites of one rule would be told within [`FOLD_MS`], one alert of the rule
//! without a subject fires in their place and explains them: it has their number and the first [`NAMED_MAX`] names.

use super::limits::BURN_SHORT_MS;
use super::{Rule, Severity, Thresholds, rule};
use crate::Timestamp;
use crate::model::{
    ALERTS_ACTIVE_MAX, ALERTS_OF_CHARGERS_MAX, Acknowledged, Alert, AlertState, Silence, Told,
};
use crate::pipeline::PartChange;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

/// An alert that fires within so many milliseconds after the end of the same one follows it.
pub const FOLLOWS_MS: i64 = 3_600_000;
/// The longest hold that a cause that comes and goes leads to, in milliseconds.
pub const HOLD_MS_MAX: i64 = 6 * 3_600_000;
/// The shortest hold that is doubled.
const HOLD_MS_MIN: i64 = 60_000;

/// Alerts of chargers of one rule that are told one by one within [`FOLD_MS`].
pub const FOLD_MAX: usize = 100;
/// The time in which [`FOLD_MAX`] counts, in milliseconds.
pub const FOLD_MS: i64 = 600_000;
/// Names in the summary of an alert that stands for many.
pub const NAMED_MAX: usize = 20;

/// Alerts that explain others: while one of the first name fires, nobody is told of those of the other names.
pub const INHIBITIONS: &[(&str, &[&str])] = &[
    (
        "DatabaseLost",
        &[
            "StoredTooLate",
            "StoredTooLateSlow",
            "JournalOld",
            "JournalFilling",
            "BrokerQueueDeep",
            "DirectoryOld",
            "EventsLate",
            "ApiErrors",
            "Paced",
        ],
    ),
    (
        "NoConsumer",
        &["StoredTooLate", "StoredTooLateSlow", "BrokerQueueDeep"],
    ),
    (
        "BrokerLost",
        &[
            "StoredTooLate",
            "BypassActive",
            "DurabilityFallback",
            "NoConsumer",
        ],
    ),
    (
        "BrokerBlocked",
        &["StoredTooLate", "BypassActive", "DurabilityFallback"],
    ),
    ("PartGone", &["FleetDrop", "NoConsumer"]),
    ("FleetDrop", &["SiteOffline", "ChargerOffline"]),
];

/// One process explains only what its role causes: the first words of the subject, by the names of the alert that explains
/// and of the page that it explains.
const ROLES: &[(&str, &str, &[&str])] = &[
    ("PartGone", "FleetDrop", &["gateway ", "serve "]),
    ("PartGone", "NoConsumer", &["consumer ", "serve "]),
    (
        "BrokerLost",
        "StoredTooLate",
        &["gateway ", "consumer ", "serve "],
    ),
    ("BrokerLost", "NoConsumer", &["consumer ", "serve "]),
];
/// A process that is gone explains only what began at most this time before or after it, in milliseconds: one with a journal
/// stays gone until it is retired, and what happens meanwhile has another cause.
const GONE_WITHIN_MS: i64 = 5 * 60_000;

/// An alert of these names is explained for [`LINGER_MS`] longer: a message that was late counts when it is stored, which is
/// after the end of the outage.
const LINGERING: &[&str] = &["StoredTooLate"];
/// Twice the short window of these alerts.
const LINGER_MS: i64 = 2 * BURN_SHORT_MS;

/// While one of this name is pending too, nobody is told of those that it would explain: it has the same time before
/// firing, and the order in which the two fire is chance.
const WAITED_FOR: &str = "FleetDrop";
/// It does not explain a page that began more than this time after it: the fleet may stay small for hours, and another site may
/// go offline meanwhile.
const WAITED_FOR_MS: i64 = 15 * 60_000;

/// As [`INHIBITIONS`], for alerts of one site: while one of the first name fires, nobody is told of those of the other names
/// that have the same site.
const SITE_INHIBITIONS: &[(&str, &[&str])] = &[("SiteOffline", &["ChargerOffline"])];

/// What identifies an alert while it is not resolved: name, severity, subject.
pub type Key = (String, Severity, String);

/// A condition that holds, or that cannot be judged for one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the rule.
    pub name: &'static str,
    /// The severity of the rule.
    pub severity: Severity,
    /// What it is about.
    pub subject: String,
    /// The charger, where it is about one.
    pub charger_id: Option<String>,
    /// What it is told together with.
    pub group: String,
    /// The id of the site of the charger, or of the site that it is about.
    pub site: Option<String>,
    /// Since when the condition has held, by the clocks of Wattpost; `None`: since now, as far as is known.
    pub since: Option<Timestamp>,
    /// What has happened, in one sentence without a full stop.
    pub summary: String,
    /// Whether the condition holds; otherwise it cannot be judged now.
    pub holds: bool,
}

impl Finding {
    /// A condition about all together that holds now. Control characters of the summary become blanks.
    #[must_use]
    pub fn new(name: &'static str, severity: Severity, mut summary: String) -> Self {
        // Chargers write parts of it, and it is shown on terminals and in mails.
        if summary.contains(char::is_control) {
            summary = summary.replace(char::is_control, " ");
        }
        Self {
            name,
            severity,
            subject: String::new(),
            charger_id: None,
            group: String::new(),
            site: None,
            since: None,
            summary,
            holds: true,
        }
    }

    /// The same about this subject.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    fn key(&self) -> Key {
        (self.name.to_owned(), self.severity, self.subject.clone())
    }
}

/// What was found at one time.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// When.
    pub now: Timestamp,
    /// The conditions that hold or cannot be judged.
    pub findings: Vec<Finding>,
    /// The names of the rules that were judged: without a finding, their conditions do not hold.
    pub judged: BTreeSet<&'static str>,
}

/// What is told of an alert, as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It fires.
    Firing,
    /// A person has taken note of it.
    Acknowledged,
    /// It has ended.
    Resolved,
}

impl Stage {
    /// The number in the database; never change one.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Firing => 1,
            Self::Acknowledged => 2,
            Self::Resolved => 3,
        }
    }
}

/// What a round has changed, to be stored in one database transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Alerts as they are now.
    pub changed: Vec<Alert>,
    /// Alerts that were pending and are not.
    pub removed: Vec<Uuid>,
    /// What is told, in order.
    pub told: Vec<(Uuid, Stage)>,
    /// Changes of parts of the pipeline that are told, in order.
    pub parts: Vec<PartChange>,
    /// Findings that were not taken, because there are [`ALERTS_ACTIVE_MAX`] alerts, or [`ALERTS_OF_CHARGERS_MAX`] for one of a
    /// charger.
    pub refused: usize,
}

impl Step {
    /// Whether there is nothing to store.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.removed.is_empty()
            && self.told.is_empty()
            && self.parts.is_empty()
    }
}

/// The alerts that are pending or firing, and those that have just ended.
///
/// Begin with [`Machine::restored`]; then [`Machine::acknowledge`] what persons have taken note of, and [`Machine::step`]
/// with what was found, again and again. [`Machine::note`] keeps what was mailed.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    alerts: BTreeMap<Key, Alert>,
    /// When the last one of a key ended, and its hold.
    ended: BTreeMap<Key, (Timestamp, i64, u32)>,
    /// The rules that were judged last time.
    judged: BTreeSet<&'static str>,
    /// When alerts of chargers of a rule were told.
    told: BTreeMap<(String, Severity), VecDeque<Timestamp>>,
}

impl Machine {
    /// The machine that had these alerts: all that are not resolved, and those that ended within [`FOLLOWS_MS`].
    #[must_use]
    pub fn restored(alerts: impl IntoIterator<Item = Alert>) -> Self {
        let mut machine = Self::default();
        for alert in alerts {
            let key = key_of(&alert);
            match (alert.state, alert.resolved_at) {
                (AlertState::Resolved, at) => {
                    let at = at.unwrap_or(alert.active_at);
                    let ended = (at, alert.hold_ms, alert.occurrences);
                    let entry = machine.ended.entry(key).or_insert(ended);
                    *entry = (*entry).max(ended);
                }
                (AlertState::Pending | AlertState::Firing, _) => {
                    machine.alerts.insert(key, alert);
                }
            }
        }
        machine
    }

    /// The alerts that are pending or firing.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// Whether an alert of this rule and subject is pending or fires.
    #[must_use]
    pub fn has(&self, name: &str, severity: Severity, subject: &str) -> bool {
        let key = (name.to_owned(), severity, subject.to_owned());
        self.alerts.contains_key(&key)
    }

    /// Whether an alert of this rule and subject fires.
    #[must_use]
    pub fn fires(&self, name: &str, severity: Severity, subject: &str) -> bool {
        let key = (name.to_owned(), severity, subject.to_owned());
        let alert = self.alerts.get(&key);
        alert.is_some_and(|alert| alert.state == AlertState::Firing)
    }

    /// Takes in an alert that another machine has, with its times. `false` if there is one of its rule and subject.
    pub fn adopt(&mut self, alert: Alert) -> bool {
        let key = key_of(&alert);
        let is_new = !self.alerts.contains_key(&key);
        if is_new {
            self.alerts.insert(key, alert);
        }
        is_new
    }

    /// Notes that the mail of an alert of the same rule and subject was accepted. Returns the alert as it is now; `None` if
    /// there is none, or its mail was accepted before.
    pub fn note_like(&mut self, other: &Alert, mailed: Timestamp) -> Option<Alert> {
        let alert = self.alerts.get_mut(&key_of(other))?;
        if alert.told.mailed.is_some() {
            return None;
        }
        alert.told.mailed = Some(mailed);
        Some(alert.clone())
    }

    /// Forgets the alerts that are not to be kept.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&Alert) -> bool) {
        self.alerts.retain(|_, alert| is_kept(alert));
    }

    /// Notes of which alerts a person has taken note.
    pub fn acknowledge(&mut self, mut noted: BTreeMap<Uuid, Acknowledged>) {
        if noted.is_empty() {
            return;
        }
        for alert in self.alerts.values_mut() {
            if let Some(by) = noted.remove(&alert.id) {
                alert.acknowledged = Some(by);
            }
        }
    }

    /// Notes that the mail of the firing of these alerts was accepted. Returns those that have not ended, as they are now.
    pub fn note(&mut self, mailed: &BTreeSet<Uuid>, at: Timestamp) -> Vec<Alert> {
        let mut noted = Vec::new();
        for alert in self.alerts.values_mut() {
            if mailed.contains(&alert.id) {
                alert.told.mailed = Some(at);
                noted.push(alert.clone());
            }
        }
        noted
    }

    /// Takes in what was found. `new_id` returns a new id with each call.
    pub fn step(
        &mut self,
        round: &Round,
        settings: &Thresholds,
        silences: &[Silence],
        mut new_id: impl FnMut() -> Uuid,
    ) -> Step {
        let now = round.now;
        let mut step = Step::default();
        let before: BTreeMap<Uuid, Alert> = self
            .alerts
            .values()
            .map(|alert| (alert.id, alert.clone()))
            .collect();
        self.clamp(now);
        self.begin_anew(round);
        self.ended
            .retain(|_, (at, _, _)| at.0.saturating_add(FOLLOWS_MS) > now.0);
        let mut found = BTreeSet::new();
        for finding in &round.findings {
            let Some(rule) = rule(finding.name, finding.severity) else {
                continue;
            };
            if !settings.is_on(finding.name) || !found.insert(finding.key()) {
                continue;
            }
            if !self.take(finding, &rule, settings, now, &mut new_id) {
                step.refused += 1;
            }
        }
        found.extend(self.keep_folded(round));
        let mut gone = Vec::new();
        for (key, alert) in &mut self.alerts {
            if found.contains(key) {
                continue;
            }
            // A rule that was switched off, or that another version had, ends at once.
            let rule = rule(&alert.name, alert.severity).filter(|_| settings.is_on(&alert.name));
            let is_judged = round.judged.contains(alert.name.as_str());
            match rule {
                Some(_) if !is_judged => {}
                _ if alert.state == AlertState::Pending => gone.push(key.clone()),
                Some(_) => {
                    let since = *alert.clear_since.get_or_insert(now);
                    if now.0.saturating_sub(since.0) >= alert.hold_ms {
                        gone.push(key.clone());
                    }
                }
                None => gone.push(key.clone()),
            }
        }
        for key in gone {
            let Some(mut alert) = self.alerts.remove(&key) else {
                continue;
            };
            if alert.state == AlertState::Pending {
                step.removed.push(alert.id);
                continue;
            }
            alert.state = AlertState::Resolved;
            alert.resolved_at = Some(now);
            self.ended
                .insert(key, (now, alert.hold_ms, alert.occurrences));
            if alert.told.firing.is_some() {
                step.told.push((alert.id, Stage::Resolved));
            }
            step.changed.push(alert);
        }
        self.tell(now, settings, silences, &mut step, &mut new_id);
        for alert in self.alerts.values() {
            if before.get(&alert.id) != Some(alert) {
                step.changed.push(alert.clone());
            }
        }
        step
    }

    /// Times after now are from a clock that was ahead: without this, an alert would wait until that time.
    fn clamp(&mut self, now: Timestamp) {
        for alert in self.alerts.values_mut() {
            alert.active_at = alert.active_at.min(now);
            let told = &mut alert.told;
            for at in [
                &mut alert.fired_at,
                &mut alert.clear_since,
                &mut told.firing,
                &mut told.mailed,
            ] {
                *at = at.map(|at| at.min(now));
            }
        }
        for (at, _, _) in self.ended.values_mut() {
            *at = (*at).min(now);
        }
        for times in self.told.values_mut() {
            times.retain(|at| *at <= now && at.0.saturating_add(FOLD_MS) > now.0);
        }
        self.told.retain(|_, times| !times.is_empty());
    }

    /// The alerts that stand for many and go on: half of [`FOLD_MAX`] or more that they explain still fire.
    fn keep_folded(&mut self, round: &Round) -> Vec<Key> {
        let mut kept = Vec::new();
        for key in self.folded() {
            if !round.judged.contains(key.0.as_str()) {
                continue;
            }
            let of_rule = |alert: &&Alert| is_of_rule(alert, &key.0, key.1);
            let untold = |alert: &&Alert| alert.told.firing.is_none();
            let names: Vec<&str> = self
                .alerts
                .values()
                .filter(of_rule)
                .filter(untold)
                .map(|alert| alert.subject.as_str())
                .collect();
            let is_kept = names.len() * 2 >= FOLD_MAX;
            let words = is_kept.then(|| in_words(&key.0, &names));
            if let (Some(words), Some(alert)) = (words, self.alerts.get_mut(&key)) {
                alert.summary = words;
                alert.clear_since = None;
                kept.push(key);
            }
        }
        kept
    }

    /// The alerts that stand for many.
    fn folded(&self) -> Vec<Key> {
        let stands_for_many = |key: &&Key| {
            key.2.is_empty() && rule(&key.0, key.1).is_some_and(|rule| rule.is_of_subjects)
        };
        self.alerts
            .keys()
            .filter(stands_for_many)
            .cloned()
            .collect()
    }

    /// What can be judged again after a time in which it could not begins anew.
    fn begin_anew(&mut self, round: &Round) {
        let again: BTreeSet<&str> = round.judged.difference(&self.judged).copied().collect();
        for alert in self.alerts.values_mut() {
            if !again.contains(alert.name.as_str()) {
                continue;
            }
            match alert.state {
                // After a restart of the evaluation too: nobody knows what was between.
                AlertState::Pending => alert.active_at = alert.active_at.max(round.now),
                AlertState::Firing | AlertState::Resolved => alert.clear_since = None,
            }
        }
        self.judged.clone_from(&round.judged);
    }

    /// Takes in one finding. `false` if there is no place for it.
    fn take(
        &mut self,
        finding: &Finding,
        rule: &Rule,
        settings: &Thresholds,
        now: Timestamp,
        new_id: &mut impl FnMut() -> Uuid,
    ) -> bool {
        let key = finding.key();
        if !finding.holds {
            if let Some(alert) = self.alerts.get_mut(&key) {
                match alert.state {
                    AlertState::Pending => alert.active_at = now,
                    AlertState::Firing | AlertState::Resolved => alert.clear_since = None,
                }
            }
            return true;
        }
        let since = finding.since.unwrap_or(now).min(now);
        // What chargers cause leaves room for the alerts about the pipeline.
        let room = match finding.charger_id.is_some() || finding.site.is_some() {
            true => ALERTS_OF_CHARGERS_MAX,
            false => ALERTS_ACTIVE_MAX,
        };
        if !self.alerts.contains_key(&key) && self.alerts.len() >= room {
            return false;
        }
        let ended = self.ended.get(&key).copied();
        let alert = self.alerts.entry(key).or_insert_with(|| Alert {
            id: new_id(),
            name: finding.name.to_owned(),
            severity: finding.severity,
            subject: finding.subject.clone(),
            charger_id: finding.charger_id.clone(),
            group: finding.group.clone(),
            site: finding.site.clone(),
            state: AlertState::Pending,
            summary: finding.summary.clone(),
            active_at: since,
            fired_at: None,
            resolved_at: None,
            clear_since: None,
            hold_ms: settings.keep_ms(rule),
            occurrences: 1,
            acknowledged: None,
            silenced_by: None,
            inhibited_by: None,
            told: Told::default(),
        });
        if alert.site != finding.site {
            alert.site.clone_from(&finding.site);
        }
        match alert.state {
            AlertState::Pending => {
                alert.summary.clone_from(&finding.summary);
                alert.group.clone_from(&finding.group);
                if finding.since.is_some() {
                    alert.active_at = since;
                }
                if now.0.saturating_sub(alert.active_at.0) >= settings.for_ms(rule) {
                    alert.state = AlertState::Firing;
                    alert.fired_at = Some(now);
                    let base = settings.keep_ms(rule);
                    (alert.hold_ms, alert.occurrences) = match ended {
                        None => (base, 1),
                        Some((_, hold, occurrences)) => (
                            base.max((hold.max(HOLD_MS_MIN) * 2).min(HOLD_MS_MAX)),
                            occurrences.saturating_add(1),
                        ),
                    };
                }
            }
            AlertState::Firing | AlertState::Resolved => {
                if alert.clear_since.take().is_some() {
                    alert.occurrences = alert.occurrences.saturating_add(1);
                    alert.summary.clone_from(&finding.summary);
                }
            }
        }
        true
    }

    /// Sets what keeps people from being told, and tells of the others.
    fn tell(
        &mut self,
        now: Timestamp,
        settings: &Thresholds,
        silences: &[Silence],
        step: &mut Step,
        new_id: &mut impl FnMut() -> Uuid,
    ) {
        self.explain(now, silences);
        self.fold(now, settings, new_id);
        // Also of what was folded just now.
        self.explain(now, silences);
        for alert in self.alerts.values_mut() {
            if alert.state != AlertState::Firing || is_quiet(alert) || alert.told.firing.is_some() {
                continue;
            }
            alert.told.firing = Some(now);
            step.told.push((alert.id, Stage::Firing));
            if is_of_subject(alert) {
                let rule = (alert.name.clone(), alert.severity);
                self.told.entry(rule).or_default().push_back(now);
            }
        }
    }

    /// The alerts of [`INHIBITIONS`] that fire, and those that ended within [`LINGER_MS`].
    fn causes(&self, now: Timestamp) -> Vec<Cause> {
        let source = |name: &str| {
            let sources = INHIBITIONS.iter().map(|(source, _)| *source);
            sources.into_iter().find(|source| *source == name)
        };
        let firing = self.alerts.iter().filter_map(|(key, alert)| {
            let name = source(&key.0).filter(|_| alert.state == AlertState::Firing)?;
            Some(Cause {
                name,
                severity: key.1,
                subject: key.2.clone(),
                began: alert.active_at,
                occurrences: alert.occurrences,
                is_over: false,
            })
        });
        let over = self.ended.iter().filter_map(|(key, (at, _, occurrences))| {
            let is_just_over = now.0.saturating_sub(at.0) < LINGER_MS;
            Some(Cause {
                name: source(&key.0).filter(|_| is_just_over)?,
                severity: key.1,
                subject: key.2.clone(),
                began: *at,
                occurrences: *occurrences,
                is_over: true,
            })
        });
        firing.chain(over).collect()
    }

    /// Sets which silence, or which other alert, keeps people from being told.
    fn explain(&mut self, now: Timestamp, silences: &[Silence]) {
        let active: Vec<&Silence> = silences.iter().filter(|one| one.is_active(now)).collect();
        let folded: BTreeSet<Key> = self.folded().into_iter().collect();
        let firing: BTreeSet<Key> = self
            .alerts
            .iter()
            .filter(|(_, alert)| alert.state == AlertState::Firing)
            .map(|(key, _)| key.clone())
            .collect();
        let causes = self.causes(now);
        let sites: BTreeSet<(&str, String)> = self
            .alerts
            .values()
            .filter(|alert| alert.state == AlertState::Firing)
            .filter_map(|alert| {
                let (source, _) = SITE_INHIBITIONS
                    .iter()
                    .find(|(source, _)| *source == alert.name)?;
                Some((*source, alert.site.clone()?))
            })
            .collect();
        let waited_for = (WAITED_FOR.to_owned(), Severity::Page, String::new());
        let waited_for = self.alerts.get(&waited_for).map(|alert| alert.active_at);
        let is_waited_for = waited_for.is_some();
        for ((name, severity, subject), alert) in &mut self.alerts {
            if alert.state != AlertState::Firing {
                continue;
            }
            let silence = active.iter().find(|silence| silence.matcher.has(alert));
            alert.silenced_by = silence.map(|silence| silence.id);
            let is_told = alert.told.firing.is_some();
            let began = alert.active_at;
            let is_later = *severity == Severity::Page
                && waited_for.is_some_and(|at| began.0 - at.0 > WAITED_FOR_MS);
            let lingers = !is_told && LINGERING.contains(&name.as_str());
            let explains = INHIBITIONS
                .iter()
                .filter(|(_, targets)| targets.contains(&name.as_str()))
                .filter(|(source, _)| !(is_later && *source == WAITED_FOR))
                .find(|(source, _)| {
                    let is_cause = |cause: &Cause| {
                        cause.name == *source
                            && (!cause.is_over || lingers)
                            && cause.explains(name, *severity, began)
                    };
                    (is_waited_for && !is_told && *source == WAITED_FOR)
                        || causes.iter().any(is_cause)
                })
                .map(|(source, _)| (*source).to_owned());
            let explains = explains.or_else(|| {
                let site = alert.site.as_ref().filter(|_| !sites.is_empty())?;
                SITE_INHIBITIONS
                    .iter()
                    .filter(|(_, targets)| targets.contains(&name.as_str()))
                    .find(|(source, _)| sites.contains(&(*source, site.clone())))
                    .map(|(source, _)| (*source).to_owned())
            });
            // The page says all that the ticket of the same name and subject says.
            let has_page = *severity != Severity::Page
                && firing.contains(&(name.clone(), Severity::Page, subject.clone()));
            let is_folded = is_of_subject(alert)
                && alert.told.firing.is_none()
                && !folded.is_empty()
                && folded.contains(&(name.clone(), *severity, String::new()));
            alert.inhibited_by = explains.or_else(|| (has_page || is_folded).then(|| name.clone()));
        }
    }

    /// Puts one alert in the place of many of one rule that would be told now.
    fn fold(&mut self, now: Timestamp, settings: &Thresholds, new_id: &mut impl FnMut() -> Uuid) {
        let mut due: BTreeMap<(&str, Severity), Vec<&str>> = BTreeMap::new();
        for alert in self.alerts.values() {
            if alert.state == AlertState::Firing
                && is_of_subject(alert)
                && alert.told.firing.is_none()
                && !is_quiet(alert)
            {
                let names = due.entry((&alert.name, alert.severity)).or_default();
                names.push(&alert.subject);
            }
        }
        let mut many = Vec::new();
        for ((name, severity), names) in due {
            let told = self.told.get(&(name.to_owned(), severity));
            let Some(rule) = rule(name, severity).filter(|rule| rule.is_of_subjects) else {
                continue;
            };
            if names.len() + told.map_or(0, VecDeque::len) > FOLD_MAX {
                many.push((rule, in_words(name, &names)));
            }
        }
        for (rule, summary) in many {
            let key = (rule.name.to_owned(), rule.severity, String::new());
            self.alerts.entry(key).or_insert_with(|| Alert {
                id: new_id(),
                name: rule.name.to_owned(),
                severity: rule.severity,
                subject: String::new(),
                charger_id: None,
                group: String::new(),
                site: None,
                state: AlertState::Firing,
                summary,
                active_at: now,
                fired_at: Some(now),
                resolved_at: None,
                clear_since: None,
                hold_ms: settings.keep_ms(&rule),
                occurrences: 1,
                acknowledged: None,
                silenced_by: None,
                inhibited_by: None,
                told: Told::default(),
            });
        }
    }
}

/// An alert that may explain others.
struct Cause {
    name: &'static str,
    severity: Severity,
    subject: String,
    /// Since when its condition has held; of one that is over, when it ended.
    began: Timestamp,
    occurrences: u32,
    is_over: bool,
}

impl Cause {
    /// Whether it explains this alert, which is of a name that its own one explains.
    ///
    /// A ticket explains a page only if it has come for the first time within an hour: a connection that comes and goes would
    /// hide it for hours.
    fn explains(&self, name: &str, severity: Severity, began: Timestamp) -> bool {
        let is_near = self.began.0.abs_diff(began.0) <= GONE_WITHIN_MS.unsigned_abs();
        let comes_and_goes = self.severity != Severity::Page && self.occurrences > 1;
        let roles = ROLES
            .iter()
            .find(|(source, target, _)| *source == self.name && *target == name);
        (self.name != "PartGone" || is_near)
            && !(severity == Severity::Page && comes_and_goes)
            && roles
                .is_none_or(|(_, _, roles)| roles.iter().any(|role| self.subject.starts_with(role)))
    }
}

/// Whether nobody is told of it now: a silence selects it, another alert explains it, or its condition has ended before
/// somebody was told.
const fn is_quiet(alert: &Alert) -> bool {
    alert.silenced_by.is_some() || alert.inhibited_by.is_some() || alert.clear_since.is_some()
}

/// Whether it is about one charger or one site, so that many of its rule are told as one.
const fn is_of_subject(alert: &Alert) -> bool {
    alert.charger_id.is_some() || alert.site.is_some()
}

/// Whether it is an alert of a charger or a site of this rule that fires.
fn is_of_rule(alert: &Alert, name: &str, severity: Severity) -> bool {
    alert.state == AlertState::Firing
        && is_of_subject(alert)
        && alert.name == name
        && alert.severity == severity
}

/// The summary of the alert that stands for these.
fn in_words(name: &str, subjects: &[&str]) -> String {
    format!(
        "{} alerts {name} fire: {}",
        subjects.len(),
        names_of(subjects)
    )
}

/// The first [`NAMED_MAX`] of these names, and how many more there are.
pub(super) fn names_of(names: &[&str]) -> String {
    let mut words = names[..names.len().min(NAMED_MAX)].join(", ");
    if names.len() > NAMED_MAX {
        words.push_str(&format!(" and {} more", names.len() - NAMED_MAX));
    }
    words
}

fn key_of(alert: &Alert) -> Key {
    (alert.name.clone(), alert.severity, alert.subject.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SilenceMatcher;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;

    /// A machine whose time goes on as the test says.
    struct World {
        machine: Machine,
        settings: Thresholds,
        silences: Vec<Silence>,
        now: i64,
        ids: u128,
        told: Vec<(Uuid, Stage)>,
        stored: BTreeMap<Uuid, Alert>,
    }

    impl World {
        /// This member of each alert of which somebody was told, in this order.
        fn told_of(&self, member: fn(&Alert) -> &String) -> Vec<&str> {
            let told = self.told.iter();
            told.map(|(id, _)| member(&self.stored[id]).as_str())
                .collect()
        }

        fn new() -> Self {
            Self {
                machine: Machine::default(),
                settings: Thresholds::default(),
                silences: Vec::new(),
                now: 1_000_000_000,
                ids: 0,
                told: Vec::new(),
                stored: BTreeMap::new(),
            }
        }

        fn round(&mut self, findings: Vec<Finding>, judged: &[&'static str]) -> Step {
            let round = Round {
                now: Timestamp(self.now),
                findings,
                judged: judged.iter().copied().collect(),
            };
            let ids = &mut self.ids;
            let step = self
                .machine
                .step(&round, &self.settings, &self.silences, || {
                    *ids += 1;
                    Uuid::from_u128(*ids)
                });
            for id in &step.removed {
                self.stored.remove(id);
            }
            for alert in &step.changed {
                self.stored.insert(alert.id, alert.clone());
            }
            self.told.extend(step.told.iter().copied());
            step
        }

        /// `ChargerOffline` of CP-1 holds, does not hold, or cannot be judged; then `ms` pass.
        fn offline(&mut self, holds: Option<bool>, ms: i64) {
            let found = match holds {
                Some(true) => vec![offline("CP-1")],
                _ => Vec::new(),
            };
            let judged: &[&'static str] = match holds {
                Some(_) => &["ChargerOffline"],
                None => &[],
            };
            self.round(found, judged);
            self.now += ms;
        }

        /// Forgets everything but what was stored.
        fn restart(&mut self) {
            self.machine = Machine::restored(self.stored.values().cloned());
        }

        fn stages(&self) -> Vec<Stage> {
            self.told.iter().map(|(_, stage)| *stage).collect()
        }
    }

    /// `SiteOffline` of a site.
    fn site_offline(site: &str) -> Finding {
        Finding {
            site: Some(site.to_owned()),
            ..Finding::new("SiteOffline", Severity::Page, "gone".to_owned()).about(site)
        }
    }

    /// `ChargerOffline` of a charger of a site.
    fn offline_at(charger: &str, site: &str) -> Finding {
        Finding {
            site: Some(site.to_owned()),
            ..offline(charger)
        }
    }

    fn offline(charger: &str) -> Finding {
        Finding {
            charger_id: Some(charger.to_owned()),
            ..Finding::new(
                "ChargerOffline",
                Severity::Ticket,
                format!("{charger} is offline"),
            )
            .about(charger)
        }
    }

    #[test]
    fn an_alert_fires_after_its_time_and_ends_after_the_hold() {
        let mut world = World::new();
        for _ in 0..15 {
            world.offline(Some(true), MINUTE);
            assert_eq!(world.stages(), []);
        }
        world.offline(Some(true), MINUTE);
        assert_eq!(world.stages(), [Stage::Firing]);
        world.offline(Some(false), MINUTE);
        world.offline(Some(false), MINUTE);
        assert_eq!(world.stages(), [Stage::Firing]);
        world.offline(Some(false), MINUTE);
        assert_eq!(world.stages(), [Stage::Firing, Stage::Resolved]);
        assert_eq!(world.machine.alerts().count(), 0);
    }

    #[test]
    fn a_condition_that_began_before_it_was_seen_fires_at_its_time() {
        let mut world = World::new();
        let mut finding = offline("CP-1");
        finding.since = Some(Timestamp(world.now - 20 * MINUTE));
        world.round(vec![finding], &["ChargerOffline"]);
        assert_eq!(world.stages(), [Stage::Firing]);
    }

    #[test]
    fn what_cannot_be_judged_neither_fires_nor_ends_and_begins_anew() {
        let mut world = World::new();
        world.offline(Some(true), 14 * MINUTE);
        world.offline(None, 60 * MINUTE);
        world.offline(Some(true), 14 * MINUTE);
        assert_eq!(world.stages(), [], "the outage counts for no charger");
        world.offline(Some(true), 2 * MINUTE);
        world.offline(Some(true), MINUTE);
        assert_eq!(world.stages(), [Stage::Firing]);
        world.offline(None, 60 * MINUTE);
        assert_eq!(world.stages(), [Stage::Firing]);
        world.offline(Some(false), MINUTE);
        world.offline(Some(false), 0);
        assert_eq!(world.stages(), [Stage::Firing], "nor for its end");
    }

    #[test]
    fn one_subject_that_cannot_be_judged_does_not_fire_while_others_do() {
        let mut world = World::new();
        for _ in 0..30 {
            let unknown = Finding {
                holds: false,
                ..offline("CP-2")
            };
            world.round(vec![offline("CP-1"), unknown], &["ChargerOffline"]);
            world.now += MINUTE;
        }
        let subjects: Vec<&str> = world
            .machine
            .alerts()
            .map(|alert| alert.subject.as_str())
            .collect();
        assert_eq!((subjects, world.told.len()), (vec!["CP-1"], 1));
    }

    #[test]
    fn a_restart_tells_nobody_again() {
        let mut world = World::new();
        for _ in 0..20 {
            world.offline(Some(true), MINUTE);
        }
        assert_eq!(world.stages(), [Stage::Firing]);
        for _ in 0..5 {
            world.restart();
            world.offline(Some(true), MINUTE);
        }
        assert_eq!(world.stages(), [Stage::Firing]);
        world.restart();
        for _ in 0..4 {
            world.offline(Some(false), MINUTE);
        }
        assert_eq!(world.stages(), [Stage::Firing, Stage::Resolved]);
    }

    #[test]
    fn a_cause_that_comes_and_goes_for_a_day_is_a_handful_of_messages() {
        let mut world = World::new();
        // 20 minutes offline, 20 minutes online: each time long enough for the time before and for the first hold.
        for minute in 0..24 * 60 {
            world.offline(Some(minute % 40 < 20), MINUTE);
        }
        assert!(world.told.len() <= 9, "{:?}", world.stages());
        let last = world.machine.alerts().next().expect("it still fires");
        assert_eq!(
            last.occurrences, 36,
            "each occurrence is counted, told or not"
        );
    }

    #[test]
    fn a_silence_tells_nobody_and_afterwards_what_still_fires_is_told() {
        let mut world = World::new();
        world.silences.push(Silence {
            id: Uuid::nil(),
            matcher: SilenceMatcher {
                charger_id: Some("cp-1".to_owned()),
                ..SilenceMatcher::default()
            },
            starts_at: Timestamp(0),
            ends_at: Timestamp(world.now + 30 * MINUTE),
            comment: String::new(),
            created_by: None,
            created_at: Timestamp(0),
        });
        for _ in 0..25 {
            world.offline(Some(true), MINUTE);
        }
        let alert = world.machine.alerts().next().expect("it fires");
        assert_eq!(
            (alert.state, alert.silenced_by),
            (AlertState::Firing, Some(Uuid::nil()))
        );
        assert_eq!(world.stages(), []);
        for _ in 0..10 {
            world.offline(Some(true), MINUTE);
        }
        assert_eq!(world.stages(), [Stage::Firing]);
        // One that begins and ends within a silence is never told.
        let mut world_2 = World {
            silences: world.silences.clone(),
            ..World::new()
        };
        for minute in 0..29 {
            world_2.offline(Some(minute < 20), MINUTE);
        }
        assert_eq!(world_2.stages(), []);
        assert!(
            world_2
                .stored
                .values()
                .all(|alert| alert.state == AlertState::Resolved)
        );
    }

    #[test]
    fn a_silence_with_a_subject_is_about_exactly_one_alert() {
        let mut world = World::new();
        world.settings.for_s.insert("ChargerOffline".to_owned(), 0);
        world.silences.push(Silence {
            id: Uuid::nil(),
            matcher: SilenceMatcher {
                name: Some("ChargerOffline".to_owned()),
                subject: Some("CP-1".to_owned()),
                ..SilenceMatcher::default()
            },
            starts_at: Timestamp(0),
            ends_at: Timestamp(world.now + MINUTE),
            comment: String::new(),
            created_by: None,
            created_at: Timestamp(0),
        });
        world.round(vec![offline("CP-1"), offline("CP-10")], &["ChargerOffline"]);
        assert_eq!(world.told_of(|alert| &alert.subject), ["CP-10"]);
    }

    #[test]
    fn an_alert_that_another_one_explains_is_told_only_when_that_one_has_ended() {
        let mut world = World::new();
        let drop = || Finding::new("FleetDrop", Severity::Page, "only 3".to_owned());
        for _ in 0..20 {
            world.round(
                vec![offline("CP-1"), drop()],
                &["ChargerOffline", "FleetDrop"],
            );
            world.now += MINUTE;
        }
        assert_eq!(world.told_of(|alert| &alert.name), ["FleetDrop"]);
        for _ in 0..8 {
            world.round(vec![offline("CP-1")], &["ChargerOffline", "FleetDrop"]);
            world.now += MINUTE;
        }
        assert_eq!(
            world.stages(),
            [Stage::Firing, Stage::Resolved, Stage::Firing]
        );
    }

    /// Whether somebody was told of this alert, while the others of these fire and were told before.
    fn is_told_beside(causes: &[Finding], explained: &Finding) -> bool {
        let mut world = World::new();
        let names: Vec<&'static str> = causes.iter().map(|one| one.name).collect();
        for name in names.iter().chain([&explained.name]) {
            world.settings.for_s.insert((*name).to_owned(), 0);
        }
        let judged: Vec<&'static str> = names.into_iter().chain([explained.name]).collect();
        world.round(causes.to_vec(), &judged);
        let all = causes.iter().chain([explained]).cloned().collect();
        world.round(all, &judged);
        let told = world.told.iter().map(|(id, _)| &world.stored[id].name);
        told.filter(|name| **name == explained.name).count() == 1
    }

    #[test]
    fn a_process_that_is_gone_explains_what_its_role_causes() {
        let gone = |role: &str| {
            let subject = format!("{role} 1 on a");
            Finding::new("PartGone", Severity::Page, "gone".to_owned()).about(subject)
        };
        let fleet = Finding::new("FleetDrop", Severity::Page, "few".to_owned());
        let consumer = Finding::new("NoConsumer", Severity::Page, "none".to_owned());
        for (role, explains_fleet, explains_consumer) in [
            ("gateway", true, false),
            ("serve", true, true),
            ("consumer", false, true),
            ("api", false, false),
        ] {
            let is_told = |explained| is_told_beside(&[gone(role)], explained);
            assert_eq!(!is_told(&fleet), explains_fleet, "{role}");
            assert_eq!(!is_told(&consumer), explains_consumer, "{role}");
        }
        assert!(!is_told_beside(&[gone("api"), gone("gateway")], &fleet));
        assert!(is_told_beside(&[], &fleet));
    }

    /// A gateway with a journal stays gone until somebody retires it.
    #[test]
    fn a_gateway_that_is_gone_for_long_hides_no_loss_of_the_fleet() {
        let mut world = World::new();
        let judged = ["PartGone", "FleetDrop", "NoConsumer", "SiteOffline"];
        let gone =
            || Finding::new("PartGone", Severity::Page, "gone".to_owned()).about("serve 1 on a");
        let drop = || Finding::new("FleetDrop", Severity::Page, "few".to_owned());
        let none = || Finding::new("NoConsumer", Severity::Page, "none".to_owned());
        for minute in 0..90 {
            let mut found = vec![gone()];
            // What the process took with it, which is over after a quarter of an hour.
            if minute < 15 {
                found.extend([drop(), none()]);
            }
            if minute >= 60 {
                found.extend([drop(), none(), site_offline("depot")]);
            }
            world.round(found, &judged);
            world.now += MINUTE;
            if minute == 59 {
                assert_eq!(world.told_of(|alert| &alert.name), ["PartGone"]);
            }
        }
        let told = world.told_of(|alert| &alert.name);
        assert_eq!(told, ["PartGone", "NoConsumer", "FleetDrop"]);
    }

    #[test]
    fn a_ticket_hides_a_page_only_where_it_can_be_its_cause() {
        let late = || Finding::new("StoredTooLate", Severity::Page, "late".to_owned());
        let lost = |severity, role: &str| {
            let subject = format!("{role} 1 on a");
            Finding::new("BrokerLost", severity, "away".to_owned()).about(subject)
        };
        for (severity, role, explains) in [
            (Severity::Ticket, "api", false),
            (Severity::Page, "api", false),
            (Severity::Ticket, "gateway", true),
            (Severity::Ticket, "consumer", true),
            (Severity::Page, "serve", true),
        ] {
            let is_told = is_told_beside(&[lost(severity, role)], &late());
            assert_eq!(!is_told, explains, "{role} {severity:?}");
        }
        // A connection that comes and goes, within the hold of its ticket and with an end each time.
        for every in [2, 10] {
            let mut world = World::new();
            world.settings.for_s.insert("BrokerLost".to_owned(), 0);
            for minute in 0..40 {
                let mut found = Vec::new();
                if minute % every == 0 {
                    found.push(lost(Severity::Ticket, "consumer"));
                }
                if minute >= 15 {
                    found.push(late());
                }
                world.round(found, &["BrokerLost", "StoredTooLate"]);
                world.now += MINUTE;
            }
            let told = world.told_of(|alert| &alert.name);
            assert!(told.contains(&"StoredTooLate"), "every {every}: {told:?}");
        }
    }

    #[test]
    fn messages_that_an_outage_made_late_are_no_alert_while_they_are_stored() {
        let late = Finding::new("StoredTooLate", Severity::Page, "late".to_owned());
        for cause in ["DatabaseLost", "BrokerLost", "BrokerBlocked"] {
            let mut world = World::new();
            let judged = [cause, "StoredTooLate"];
            let lost = Finding::new(cause, Severity::Page, "away".to_owned()).about("serve 1 on a");
            world.settings.for_s.insert(cause.to_owned(), 0);
            world.settings.keep_firing_s.insert(cause.to_owned(), 0);
            world.round(vec![lost], &judged);
            world.now += MINUTE;
            // What waited is stored now.
            world.round(vec![late.clone()], &judged);
            assert_eq!(world.stages(), [Stage::Firing, Stage::Resolved], "{cause}");
            let explained = world.machine.alerts().next().expect("it fires");
            assert_eq!(explained.inhibited_by.as_deref(), Some(cause));
            world.now += LINGER_MS;
            world.round(vec![late.clone()], &judged);
            assert_eq!(world.stages().len(), 3, "{cause}: it has another cause");
        }
    }

    #[test]
    fn a_site_that_is_offline_explains_its_chargers_and_no_others() {
        let mut world = World::new();
        let judged = ["ChargerOffline", "SiteOffline"];
        let chargers = || {
            vec![
                offline_at("CP-1", "depot"),
                offline_at("CP-2", "other"),
                offline("CP-3"),
            ]
        };
        for _ in 0..20 {
            let mut found = chargers();
            found.push(site_offline("depot"));
            world.round(found, &judged);
            world.now += MINUTE;
        }
        let told = |world: &World| -> Vec<String> {
            let names = world.told.iter().map(|(id, _)| &world.stored[id]);
            names.map(|one| one.subject.clone()).collect()
        };
        assert_eq!(told(&world), ["depot", "CP-2", "CP-3"]);
        let one = world.stored.values().find(|one| one.subject == "CP-1");
        let inhibited_by = one.expect("it fires").inhibited_by.clone();
        assert_eq!(inhibited_by.as_deref(), Some("SiteOffline"));
        // It comes back before the site does: nobody is told of what has ended.
        let mut back = chargers();
        back.remove(0);
        back.push(site_offline("depot"));
        world.round(back, &judged);
        for _ in 0..2 {
            let mut back = chargers();
            back.remove(0);
            world.round(back, &judged);
        }
        assert_eq!(told(&world).len(), 3);
        // It moves to another site: it is told.
        let mut moved = chargers();
        moved[0].site = Some("other".to_owned());
        moved.push(site_offline("depot"));
        world.round(moved, &judged);
        assert_eq!(told(&world)[3..], ["CP-1"]);
    }

    #[test]
    fn sites_are_not_told_while_the_whole_fleet_drops_or_may_be_about_to() {
        let mut world = World::new();
        let judged = ["FleetDrop", "SiteOffline"];
        let drop = || Finding::new("FleetDrop", Severity::Page, "gone".to_owned());
        // The drop of the fleet is found half a minute later, and both have two minutes before they fire.
        for half_minute in 0..12 {
            let mut found = vec![site_offline("depot")];
            if half_minute > 0 {
                found.push(drop());
            }
            world.round(found, &judged);
            world.now += MINUTE / 2;
        }
        assert_eq!(world.told_of(|alert| &alert.name), ["FleetDrop"]);
        // The fleet stays small for hours, and another site goes offline.
        for minute in 0..40 {
            let mut found = vec![site_offline("depot"), drop()];
            if minute > 30 {
                found.push(site_offline("harbour"));
            }
            world.round(found, &judged);
            world.now += MINUTE;
        }
        assert_eq!(world.told_of(|alert| &alert.subject), ["", "harbour"]);
    }

    #[test]
    fn many_sites_at_once_are_told_as_one() {
        let mut world = World::new();
        for _ in 0..4 {
            let found = (0..150).map(|no| site_offline(&format!("site-{no:03}")));
            world.round(found.collect(), &["SiteOffline"]);
            world.now += MINUTE;
        }
        assert_eq!(world.stages(), [Stage::Firing]);
        let words = &world.stored[&world.told[0].0].summary;
        assert!(words.starts_with("150 alerts SiteOffline fire: site-000, "));
    }

    #[test]
    fn the_page_of_a_name_explains_its_ticket() {
        let mut world = World::new();
        let letters = |severity| Finding::new("DeadLetters", severity, "200".to_owned());
        world.round(
            vec![letters(Severity::Ticket), letters(Severity::Page)],
            &["DeadLetters"],
        );
        assert_eq!(world.told.len(), 1);
        assert_eq!(world.stored[&world.told[0].0].severity, Severity::Page);
    }

    #[test]
    fn a_rule_that_is_switched_off_ends_at_once() {
        let mut world = World::new();
        for _ in 0..20 {
            world.offline(Some(true), MINUTE);
        }
        world.settings.off.push("ChargerOffline".to_owned());
        world.offline(Some(true), MINUTE);
        assert_eq!(world.stages(), [Stage::Firing, Stage::Resolved]);
    }

    #[test]
    fn alerts_have_a_bound() {
        let mut world = World::new();
        let mut many: Vec<Finding> = (0..ALERTS_OF_CHARGERS_MAX + 7)
            .map(|no| offline(&format!("CP-{no}")))
            .collect();
        let lost = "the database is lost".to_owned();
        many.push(Finding::new("DatabaseLost", Severity::Page, lost));
        let step = world.round(many, &["ChargerOffline", "DatabaseLost"]);
        assert_eq!(
            (step.refused, world.machine.alerts().count()),
            (7, ALERTS_OF_CHARGERS_MAX + 1),
            "chargers leave room for the pipeline"
        );
    }

    /// `count` chargers of 300 are offline; then a minute passes.
    fn many_offline(world: &mut World, count: usize) -> Step {
        let found = (0..count)
            .map(|no| offline(&format!("CP-{no:05}")))
            .collect();
        let step = world.round(found, &["ChargerOffline"]);
        world.now += MINUTE;
        step
    }

    #[test]
    fn many_alerts_of_a_rule_at_once_are_told_as_one_with_their_number() {
        let mut world = World::new();
        world.settings.for_s.insert("ChargerOffline".to_owned(), 60);
        for _ in 0..3 {
            many_offline(&mut world, 2_000);
        }
        assert_eq!(world.stages(), [Stage::Firing]);
        let one = world.stored[&world.told[0].0].clone();
        assert_eq!((one.subject.as_str(), one.charger_id.as_ref()), ("", None));
        let words = &one.summary;
        assert!(words.starts_with("2000 alerts ChargerOffline fire: CP-00000, CP-00001, "));
        assert!(words.ends_with(", CP-00019 and 1980 more"), "{words}");
        let explained = |alert: &&Alert| alert.inhibited_by.as_deref() == Some("ChargerOffline");
        assert_eq!(world.stored.values().filter(explained).count(), 2_000);
        // Nothing changes: nothing is stored. Its number is kept as it is now.
        assert!(many_offline(&mut world, 2_000).is_empty());
        many_offline(&mut world, 200);
        many_offline(&mut world, 200);
        world.restart();
        for _ in 0..4 {
            many_offline(&mut world, 200);
        }
        let words = &world.stored[&one.id].summary;
        assert!(words.starts_with("200 alerts "), "{words}");
        // When few are left, it ends, and these are told.
        for _ in 0..8 {
            many_offline(&mut world, 3);
        }
        let firing = [Stage::Firing; 3];
        assert_eq!(world.stages()[..2], [Stage::Firing, Stage::Resolved]);
        assert_eq!(world.stages()[2..], firing);
    }

    #[test]
    fn many_alerts_of_a_rule_one_after_another_are_told_as_one_too() {
        let mut world = World::new();
        world.settings.for_s.insert("ChargerOffline".to_owned(), 0);
        world.now += MINUTE;
        for round in 1..=15 {
            many_offline(&mut world, round * 30);
        }
        assert_eq!(world.told.len(), 3 * 30 + 1);
    }

    #[test]
    fn what_a_silence_or_another_alert_explains_is_not_counted_as_many() {
        let mut world = World::new();
        let mut found: Vec<Finding> = (0..300).map(|no| offline(&format!("CP-{no}"))).collect();
        found.push(Finding::new("FleetDrop", Severity::Page, "gone".to_owned()));
        for _ in 0..20 {
            world.round(found.clone(), &["ChargerOffline", "FleetDrop"]);
            world.now += MINUTE;
        }
        assert_eq!(world.stages(), [Stage::Firing]);
        assert_eq!(world.machine.alerts().count(), 301);
    }

    #[test]
    fn times_of_a_clock_that_was_ahead_hold_nothing_back() {
        const YEAR: i64 = 365 * 24 * 60 * MINUTE;
        let mut world = World::new();
        world.now += YEAR;
        world.offline(Some(true), MINUTE);
        // The clock is set right while the alert is pending, and again while it is about to end.
        world.now -= YEAR;
        for _ in 0..17 {
            world.offline(Some(true), MINUTE);
        }
        assert_eq!(world.stages(), [Stage::Firing]);
        world.now += YEAR;
        world.offline(Some(false), SECOND);
        world.now -= YEAR;
        world.restart();
        for _ in 0..4 {
            world.offline(Some(false), MINUTE);
        }
        assert_eq!(world.stages(), [Stage::Firing, Stage::Resolved]);
        // What ended in a future is not taken for an occurrence before for longer than an hour.
        world.now += 2 * 60 * MINUTE;
        for _ in 0..17 {
            world.offline(Some(true), MINUTE);
        }
        assert_eq!(
            world.machine.alerts().next().map(|one| one.occurrences),
            Some(1)
        );
    }

    proptest! {
        /// Whatever holds, cannot be judged, and restarts: each alert is told once of each stage, in order, an end only
        /// after its firing, and it fires only after its condition was judged to hold for its whole time.
        #[test]
        fn each_stage_is_told_once(turns in proptest::collection::vec((0_u8..8, 1_i64..6), 1..300)) {
            let mut world = World::new();
            let mut held_since: Option<i64> = None;
            for (what, minutes) in turns {
                let holds = match what {
                    0..=3 => Some(true),
                    4 | 5 => Some(false),
                    6 => None,
                    _ => { world.restart(); held_since = None; continue }
                };
                match holds {
                    Some(true) => { held_since.get_or_insert(world.now); }
                    _ => held_since = None,
                }
                let fired_before = world.stages().iter().filter(|stage| **stage == Stage::Firing).count();
                let at = world.now;
                world.offline(holds, minutes * MINUTE);
                let fired = world.stages().iter().filter(|stage| **stage == Stage::Firing).count();
                if fired > fired_before {
                    let since = held_since.expect("it holds");
                    prop_assert!(at - since >= 15 * MINUTE);
                }
            }
            let mut seen: BTreeMap<Uuid, Vec<Stage>> = BTreeMap::new();
            for (id, stage) in &world.told {
                seen.entry(*id).or_default().push(*stage);
            }
            for stages in seen.values() {
                prop_assert!(stages == &[Stage::Firing] || stages == &[Stage::Firing, Stage::Resolved], "{stages:?}");
            }
            let firing = world.stored.values().filter(|alert| alert.state != AlertState::Resolved).count();
            prop_assert!(firing <= 1);
        }
    }
}
