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

use super::{Rule, Severity, Thresholds, rule};
use crate::Timestamp;
use crate::model::{
    ALERTS_ACTIVE_MAX, ALERTS_OF_CHARGERS_MAX, Acknowledged, Alert, AlertState, Silence, Told,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// An alert that fires within so many milliseconds after the end of the same one follows it.
pub const FOLLOWS_MS: i64 = 3_600_000;
/// The longest hold that a cause that comes and goes leads to, in milliseconds.
pub const HOLD_MS_MAX: i64 = 6 * 3_600_000;
/// The shortest hold that is doubled.
const HOLD_MS_MIN: i64 = 60_000;

/// Alerts that explain others: while one of the first name fires, nobody is told of those of the other names.
pub const INHIBITIONS: &[(&str, &[&str])] = &[
    (
        "DatabaseLost",
        &[
            "StoredTooLate",
            "JournalOld",
            "JournalFilling",
            "BrokerQueueDeep",
            "DirectoryOld",
            "EventsLate",
            "ApiErrors",
            "Paced",
        ],
    ),
    ("NoConsumer", &["StoredTooLate", "BrokerQueueDeep"]),
    (
        "BrokerLost",
        &["BypassActive", "DurabilityFallback", "NoConsumer"],
    ),
    ("FleetDrop", &["ChargerOffline"]),
];

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
    /// Findings that were not taken, because there are [`ALERTS_ACTIVE_MAX`] alerts, or [`ALERTS_OF_CHARGERS_MAX`] for one of a
    /// charger.
    pub refused: usize,
}

impl Step {
    /// Whether there is nothing to store.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty() && self.told.is_empty()
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

    /// Notes that a person has taken note of an alert.
    pub fn acknowledge(&mut self, id: Uuid, by: &Acknowledged) {
        if let Some(alert) = self.alerts.values_mut().find(|alert| alert.id == id) {
            alert.acknowledged = Some(by.clone());
        }
    }

    /// Notes who was told of an alert by mail. Returns the alert as it is now; `None` if it has ended.
    pub fn note(&mut self, id: Uuid, mailed: Timestamp) -> Option<Alert> {
        let alert = self.alerts.values_mut().find(|alert| alert.id == id)?;
        alert.told.mailed = Some(mailed);
        Some(alert.clone())
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
        self.tell(now, silences, &mut step);
        for alert in self.alerts.values() {
            if before.get(&alert.id) != Some(alert) {
                step.changed.push(alert.clone());
            }
        }
        step
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
        let room = match finding.charger_id {
            Some(_) => ALERTS_OF_CHARGERS_MAX,
            None => ALERTS_ACTIVE_MAX,
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
    fn tell(&mut self, now: Timestamp, silences: &[Silence], step: &mut Step) {
        let firing: BTreeSet<(String, Severity, String)> = self
            .alerts
            .iter()
            .filter(|(_, alert)| alert.state == AlertState::Firing)
            .map(|(key, _)| key.clone())
            .collect();
        let names: BTreeSet<&str> = firing.iter().map(|(name, _, _)| name.as_str()).collect();
        for ((name, severity, subject), alert) in &mut self.alerts {
            if alert.state != AlertState::Firing {
                continue;
            }
            let silence = silences
                .iter()
                .find(|silence| silence.is_active(now) && silence.matcher.has(alert));
            alert.silenced_by = silence.map(|silence| silence.id);
            let explains = INHIBITIONS
                .iter()
                .find(|(source, targets)| {
                    names.contains(source) && targets.contains(&name.as_str())
                })
                .map(|(source, _)| (*source).to_owned());
            // The page says all that the ticket of the same name and subject says.
            let has_page = *severity != Severity::Page
                && firing.contains(&(name.clone(), Severity::Page, subject.clone()));
            alert.inhibited_by = explains.or_else(|| has_page.then(|| name.clone()));
            let is_quiet = alert.silenced_by.is_some() || alert.inhibited_by.is_some();
            if !is_quiet && alert.told.firing.is_none() {
                alert.told.firing = Some(now);
                step.told.push((alert.id, Stage::Firing));
            }
        }
    }
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
        let told: Vec<&str> = world
            .told
            .iter()
            .map(|(id, _)| world.stored[id].name.as_str())
            .collect();
        assert_eq!(told, ["FleetDrop"]);
        for _ in 0..8 {
            world.round(vec![offline("CP-1")], &["ChargerOffline", "FleetDrop"]);
            world.now += MINUTE;
        }
        assert_eq!(
            world.stages(),
            [Stage::Firing, Stage::Resolved, Stage::Firing]
        );
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
