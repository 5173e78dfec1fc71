//! The conditions of the alerts that name chargers, commands and webhooks, from what the database shows.
//!
//! A charger is judged only by what is known of it now: while its gateway is gone, or the database is behind the journals,
//! its conditions are neither true nor false. Times are those at which Wattpost received messages, not those in them,
//! except for [`clock_error`](crate::model::ConnectorView::clock_error_ms), which compares the two.

mod security;
mod stuck;

pub use security::{Noted, SECURITY_EVENT};
pub use stuck::Stays;

use super::machine::{Finding, names_of};
use super::pipeline::time;
use super::{COUNTED_TIMES_MAX, Severity, Thresholds};
use crate::model::{
    ChargerKey, ChargerView, ConnectionState, ConnectorView, RefusedHandshakeView, Registration,
    TransactionView, UNKNOWN, Webhook,
};
use crate::query::ChargerDetail;
use crate::{GatewayId, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use uuid::Uuid;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// The error codes for which a person is needed at once.
const DANGEROUS: [&str; 3] = ["GroundFailure", "HighTemperature", "PowerMeterFailure"];
/// Times of one charger that are kept at most.
const TIMES_MAX: usize = 64;
// More are counted than any setting asks for; otherwise an alert would never fire.
const _: () = assert!(COUNTED_TIMES_MAX < TIMES_MAX as u64);
/// Chargers and sessions of which something is kept at most.
const KEPT_MAX: usize = 200_000;
/// Commands whose outcome is uncertain that are kept at most.
const COMMANDS_MAX: usize = 1_000;
/// For how long an uncertain outcome is an alert.
const UNCERTAIN_MS: i64 = 24 * HOUR;
/// A connector of which a charger has said nothing for so long after a connect is no longer taken for faulted.
const REPORT_MS: i64 = 10 * MINUTE;
/// The reasons of refused handshakes, in the words of the gateways.
const UNKNOWN_CHARGER: &str = "unknown charger";
const WRONG_PASSWORD: &str = "wrong password";

/// Of which chargers the database shows what is so now.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Whether the database is behind no running gateway.
    pub is_current: bool,
    /// Gateways that do not report.
    pub gone: BTreeSet<GatewayId>,
    /// Why it is not current although the database answers.
    pub why_not: Option<String>,
}

impl Known {
    pub(super) fn has(&self, gateway: Option<GatewayId>) -> bool {
        self.is_current && gateway.is_none_or(|gateway| !self.gone.contains(&gateway))
    }
}

/// What chargers did within the last hour, and what they left open.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    connects: HashMap<ChargerKey, VecDeque<Timestamp>>,
    boots: HashMap<ChargerKey, VecDeque<Timestamp>>,
    letters: VecDeque<Timestamp>,
    uncertain: BTreeMap<Uuid, Uncertain>,
    /// The counts of refused handshakes, by row.
    refusals: HashMap<i64, VecDeque<(Timestamp, u64)>>,
    sessions: HashMap<Uuid, Session>,
    /// Security events, by the subject of their alerts.
    security: BTreeMap<String, security::Kept>,
    /// The chargers that somebody misses.
    standings: HashMap<ChargerKey, security::Standing>,
    /// The connectors in a status that is judged by its time, by the subject of their alerts.
    stays: HashMap<String, stuck::Stay>,
}

/// A command whose outcome is uncertain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncertain {
    /// The charger.
    pub charger_id: String,
    /// What happened, in one sentence.
    pub summary: String,
    /// When it became uncertain.
    pub at: Timestamp,
}

/// What was seen of an open transaction, and when it was seen to change.
#[derive(Debug, Clone, Copy)]
struct Session {
    /// Since when it is watched.
    began_at: Timestamp,
    last_at: Option<Timestamp>,
    changed_at: Timestamp,
    energy_wh: Option<f64>,
    energy_at: Timestamp,
    seen: bool,
}

impl Recent {
    /// A charger has connected.
    pub fn connected(&mut self, charger: &str, at: Timestamp) {
        keep(&mut self.connects, charger, at);
    }

    /// A charger has booted.
    pub fn booted(&mut self, charger: &str, at: Timestamp) {
        keep(&mut self.boots, charger, at);
    }

    /// A message became a dead letter.
    pub fn dead_letter(&mut self, at: Timestamp) {
        if self.letters.len() >= 10_000 {
            self.letters.pop_front();
        }
        self.letters.push_back(at);
    }

    /// Messages that became dead letters within the time of `DeadLetters`, up to 10,000.
    #[must_use]
    pub fn dead_letters(&self, now: Timestamp, settings: &Thresholds) -> usize {
        let since = now.plus_millis(-settings.within_ms("DeadLetters"));
        self.letters.iter().filter(|at| **at >= since).count()
    }

    /// A command has another outcome: an uncertain one that may not be repeated, or `None`.
    pub fn finished(&mut self, command: Uuid, uncertain: Option<Uncertain>) {
        match uncertain {
            None => {
                self.uncertain.remove(&command);
            }
            Some(uncertain) => {
                self.uncertain.insert(command, uncertain);
                if self.uncertain.len() > COMMANDS_MAX {
                    let oldest = self.uncertain.iter().min_by_key(|(_, one)| one.at);
                    if let Some(oldest) = oldest.map(|(id, _)| *id) {
                        self.uncertain.remove(&oldest);
                    }
                }
            }
        }
    }

    /// Forgets what is too old to count.
    pub fn forget(&mut self, now: Timestamp) {
        let since = now.plus_millis(-HOUR);
        for times in [&mut self.connects, &mut self.boots] {
            times.retain(|_, times| {
                times.retain(|at| *at >= since);
                !times.is_empty()
            });
        }
        self.letters.retain(|at| *at >= since);
        self.uncertain
            .retain(|_, one| one.at >= now.plus_millis(-UNCERTAIN_MS));
        self.forget_security(now);
    }

    fn count(
        times: &HashMap<ChargerKey, VecDeque<Timestamp>>,
        key: &ChargerKey,
        since: Timestamp,
    ) -> usize {
        times
            .get(key)
            .map_or(0, |times| times.iter().filter(|at| **at >= since).count())
    }
}

fn keep(times: &mut HashMap<ChargerKey, VecDeque<Timestamp>>, charger: &str, at: Timestamp) {
    let key = ChargerKey::of(charger);
    if !times.contains_key(&key) && times.len() >= KEPT_MAX {
        return;
    }
    let times = times.entry(key).or_default();
    if times.len() >= TIMES_MAX {
        times.pop_front();
    }
    times.push_back(at);
}

/// Whether a charger is judged: not one that has never connected, or that is rejected or removed.
pub(super) fn is_judged(detail: &ChargerDetail) -> bool {
    let is_rejected = detail
        .settings
        .as_ref()
        .is_some_and(|settings| settings.admission == Registration::Rejected);
    detail.charger.connected_at.is_some() && !is_rejected && detail.removed_at.is_none()
}

/// Whether somebody misses this charger when it is away. Where each identity is accepted, anybody can invent some.
pub(super) fn is_missed(detail: &ChargerDetail, settings: &Thresholds) -> bool {
    let charger = &detail.charger;
    let known_ms = i64::from(settings.charger_known_s) * SECOND;
    let was_seen_for_long = || {
        let (Some(first), Some(last)) = (charger.first_seen_at, charger.last_seen_at) else {
            return false;
        };
        last.0.saturating_sub(first.0) >= known_ms
    };
    detail.settings.is_some()
        || known_ms == 0
        || (charger.booted_at.is_some() && was_seen_for_long())
}

/// Whether it is offline for so long that nobody is waiting for it.
pub(super) fn is_long_offline(
    detail: &ChargerDetail,
    settings: &Thresholds,
    now: Timestamp,
) -> bool {
    let charger = &detail.charger;
    charger.connection == ConnectionState::Closed
        && charger.disconnected_at.is_some_and(|at| {
            now.0.saturating_sub(at.0) > i64::from(settings.long_offline_days) * 24 * HOUR
        })
}

/// The finding of all chargers that are offline for long and have no alert `ChargerOffline` (`has_alert`): one for all, so
/// that the first start over an old database is one message.
pub fn of_long_offline<'a>(
    details: impl IntoIterator<Item = &'a ChargerDetail>,
    has_alert: impl Fn(&str) -> bool,
    settings: &Thresholds,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    let names: Vec<&str> = details
        .into_iter()
        .filter(|detail| is_judged(detail) && is_missed(detail, settings))
        .filter(|detail| is_long_offline(detail, settings, now))
        .map(|detail| detail.charger.charger_id.as_str())
        .filter(|id| !has_alert(id))
        .collect();
    if names.is_empty() {
        return;
    }
    let words = format!(
        "chargers that have been offline for more than {} days: {}",
        settings.long_offline_days,
        names_of(&names)
    );
    found.push(Finding::new("ChargersLongOffline", Severity::Ticket, words));
}

/// Call it before [`of_charger`] with the first charger of a round.
pub fn begin_stays(recent: &mut Recent) {
    recent.stays.values_mut().for_each(|stay| stay.seen = false);
}

/// Call it after [`of_charger`] with the last charger of a round: forgets the connectors that have left their status.
pub fn end_stays(recent: &mut Recent) {
    recent.stays.retain(|_, stay| stay.seen);
}

/// That alerts of chargers are not judged, and why.
pub fn of_unjudged(known: &Known, found: &mut Vec<Finding>) {
    if let Some(why) = &known.why_not {
        let words = format!("alerts of chargers are not judged: {why}");
        found.push(Finding::new("ChargersNotJudged", Severity::Ticket, words));
    }
}

/// The findings of one charger; none of one that has never connected, or that is rejected or removed. `has_alert` says
/// whether an alert `ChargerOffline` of a charger is pending or fires.
pub fn of_charger(
    detail: &ChargerDetail,
    known: &Known,
    recent: &mut Recent,
    has_alert: impl Fn(&str) -> bool,
    settings: &Thresholds,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    let charger = &detail.charger;
    if !is_judged(detail) {
        return;
    }
    let id = &charger.charger_id;
    let is_known = known.has(charger.gateway_id);
    let group = charger
        .gateway_id
        .map_or_else(String::new, |gateway| gateway.0.to_string());
    let finding = |name, severity, summary| Finding {
        charger_id: Some(id.clone()),
        group: group.clone(),
        holds: is_known,
        ..Finding::new(name, severity, summary).about(id.clone())
    };
    let is_reported =
        has_alert(id) || (is_missed(detail, settings) && !is_long_offline(detail, settings, now));
    match charger.connection {
        ConnectionState::Open => {}
        ConnectionState::Closed if !is_reported => {}
        ConnectionState::Closed => {
            let reason = charger.disconnect_reason.as_deref();
            let words = match reason {
                Some(reason) => format!("{id} is offline; its connection ended: {reason}"),
                None => format!("{id} is offline"),
            };
            found.push(Finding {
                since: charger.disconnected_at,
                ..finding("ChargerOffline", Severity::Ticket, words)
            });
        }
        ConnectionState::Unknown => found.push(Finding {
            holds: false,
            ..finding("ChargerOffline", Severity::Ticket, String::new())
        }),
    }
    let key = ChargerKey::of(id);
    let within_ms = settings.within_ms("ChargerFlapping");
    let connects = Recent::count(&recent.connects, &key, now.plus_millis(-within_ms));
    if connects > settings.flapping_connects as usize {
        let within = time(within_ms);
        let words = format!("{id} has connected {connects} times within {within}");
        found.push(finding("ChargerFlapping", Severity::Ticket, words));
    }
    let within_ms = settings.within_ms("BootLoop");
    let boots = Recent::count(&recent.boots, &key, now.plus_millis(-within_ms));
    if boots > settings.boot_loop_boots as usize {
        let within = time(within_ms);
        let words = format!("{id} has booted {boots} times within {within}");
        found.push(finding("BootLoop", Severity::Ticket, words));
    }
    let silent_ms = i64::from(settings.charger_silent_s) * SECOND;
    let heard_at = charger.last_seen_at.max(charger.connected_at);
    if let Some(quiet) = heard_at.map(|at| now.0.saturating_sub(at.0))
        && charger.connection == ConnectionState::Open
        && silent_ms > 0
        && quiet >= silent_ms
    {
        let words = format!(
            "{id} is connected, and has sent nothing for {} min",
            quiet / MINUTE
        );
        found.push(finding("ChargerSilent", Severity::Ticket, words));
    }
    let is_missed = is_missed(detail, settings);
    for connector in &detail.connectors {
        if is_missed {
            of_connector(connector, charger, &finding, now, found);
        }
        recent.of_stay(connector, &finding, settings, now, found);
    }
    let newest = detail
        .connectors
        .iter()
        .filter_map(|one| one.clock_error_ms)
        .max();
    let limit = i64::from(settings.clock_error_s) * SECOND;
    if let Some((_, error)) = newest.filter(|(_, error)| error.saturating_abs() > limit) {
        let words = format!(
            "the clock of {id} is {} s {}",
            error.saturating_abs() / SECOND,
            if error > 0 { "fast" } else { "slow" }
        );
        found.push(finding("ChargerClockWrong", Severity::Info, words));
    }
}

fn of_connector(
    connector: &ConnectorView,
    charger: &ChargerView,
    finding: &impl Fn(&'static str, Severity, String) -> Finding,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    let last = connector.last_status.as_deref();
    if last != Some("Faulted") {
        return;
    }
    if connector.status == UNKNOWN && charger.connection == ConnectionState::Open {
        // A charger reports its connectors after a boot, and Wattpost asks one that does not after a connect. Without a
        // report, nothing says that the fault is still there.
        let has_booted = charger.booted_at >= charger.connected_at;
        let since = charger.connected_at.unwrap_or(now);
        if has_booted || now.0.saturating_sub(since.0) >= REPORT_MS {
            return;
        }
    }
    let code = connector.error_code.as_deref().unwrap_or("no error code");
    let severity = match DANGEROUS.contains(&code) {
        true => Severity::Page,
        false => Severity::Ticket,
    };
    let place = format!("{}/{}", connector.evse, connector.connector);
    let mut words = format!(
        "connector {place} of {} is faulted: {code}",
        connector.charger_id
    );
    for more in [&connector.vendor_error_code, &connector.info] {
        if let Some(more) = more.as_deref().filter(|more| !more.is_empty()) {
            words.push_str(", ");
            words.push_str(more);
        }
    }
    let mut one = finding("ConnectorFaulted", severity, words)
        .about(format!("{} {place}", connector.charger_id));
    // It said so on an earlier connection, or is not connected.
    one.holds &= connector.status != UNKNOWN;
    found.push(one);
}

/// The findings of the open transactions: all of them, with their chargers.
pub fn of_transactions<'a>(
    open: impl IntoIterator<Item = &'a TransactionView>,
    charger: impl Fn(&str) -> Option<&'a ChargerDetail>,
    known: &Known,
    recent: &mut Recent,
    settings: &Thresholds,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    for session in recent.sessions.values_mut() {
        session.seen = false;
    }
    for view in open {
        let Some(session) = recent.seen(view, now) else {
            continue;
        };
        let Some(detail) = charger(&view.charger_id) else {
            continue;
        };
        let of = &detail.charger;
        let finding = |name, summary| Finding {
            charger_id: Some(view.charger_id.clone()),
            group: of
                .gateway_id
                .map_or_else(String::new, |gateway| gateway.0.to_string()),
            holds: of.online && known.has(of.gateway_id),
            ..Finding::new(name, Severity::Ticket, summary).about(view.key.to_string())
        };
        let silent = i64::from(settings.transaction_silent_s) * SECOND;
        let meter_still = i64::from(settings.meter_still_s) * SECOND;
        let quiet = now.0 - session.changed_at.0;
        let began = view.source.received_at().min();
        let age = began.map_or(0, |began| now.0 - began.0);
        let id = (&view.transaction_id, &view.charger_id);
        if quiet >= silent {
            let words = format!(
                "transaction {} of {} has not changed for {} min",
                id.0,
                id.1,
                quiet / MINUTE
            );
            found.push(finding("TransactionStuck", words));
        } else if age > i64::from(settings.transaction_hours_max) * HOUR {
            let words = format!("transaction {} of {} is {} h old", id.0, id.1, age / HOUR);
            found.push(finding("TransactionStuck", words));
        } else if session.changed_at == session.began_at && now.0 - session.began_at.0 < silent {
            // It was not watched for long enough: after a start, an alert that fires goes on.
            let not_known = finding("TransactionStuck", String::new());
            found.push(Finding {
                holds: false,
                ..not_known
            });
        }
        let still = now.0 - session.energy_at.0;
        if session.energy_wh.is_some()
            && quiet < silent
            && still >= meter_still
            && is_charging(view, detail)
        {
            let words = format!(
                "transaction {} of {} is charging, and its energy has been the same for {} min",
                id.0,
                id.1,
                still / MINUTE
            );
            found.push(finding("MeterNotMoving", words));
        } else if session.energy_at == session.began_at
            && now.0 - session.began_at.0 < meter_still
            && is_charging(view, detail)
        {
            let not_known = finding("MeterNotMoving", String::new());
            found.push(Finding {
                holds: false,
                ..not_known
            });
        }
    }
    recent.sessions.retain(|_, session| session.seen);
}

/// Whether energy should flow: by the transaction (2.x), or by the status of its connector (1.6).
fn is_charging(view: &TransactionView, detail: &ChargerDetail) -> bool {
    if let Some(state) = view.charging_state.as_deref() {
        return state == "Charging";
    }
    detail.connectors.iter().any(|connector| {
        Some(connector.connector) == view.connector
            && connector.evse == view.evse.unwrap_or(0)
            && connector.status == "Charging"
    })
}

impl Recent {
    /// What was seen of a transaction, with what is seen now; `None` if there is no place for it.
    fn seen(&mut self, view: &TransactionView, now: Timestamp) -> Option<Session> {
        if !self.sessions.contains_key(&view.key) && self.sessions.len() >= KEPT_MAX {
            return None;
        }
        let session = self.sessions.entry(view.key).or_insert(Session {
            began_at: now,
            last_at: view.last_at,
            changed_at: now,
            energy_wh: view.energy_wh,
            energy_at: now,
            seen: true,
        });
        session.seen = true;
        if session.energy_wh != view.energy_wh {
            (session.energy_wh, session.energy_at) = (view.energy_wh, now);
            session.changed_at = now;
        }
        if session.last_at != view.last_at {
            (session.last_at, session.changed_at) = (view.last_at, now);
        }
        Some(*session)
    }

    /// The findings of the refused handshakes: all rows.
    pub fn of_handshakes(
        &mut self,
        rows: &[RefusedHandshakeView],
        settings: &Thresholds,
        now: Timestamp,
        found: &mut Vec<Finding>,
    ) {
        let kept: BTreeSet<i64> = rows.iter().map(|row| row.no).collect();
        self.refusals.retain(|no, _| kept.contains(no));
        for row in rows {
            let Some(id) = &row.charger_id else {
                continue;
            };
            let is_recent = row.last_at >= now.plus_millis(-HOUR);
            let finding = |name, severity, words| Finding {
                charger_id: Some(id.clone()),
                ..Finding::new(name, severity, words).about(id.clone())
            };
            if row.reason == UNKNOWN_CHARGER
                && is_recent
                && row.count > u64::from(settings.unknown_charger_refusals)
            {
                let words = format!(
                    "{id} is not known and was refused {} times, from {}",
                    row.count, row.address
                );
                found.push(finding("UnknownCharger", Severity::Info, words));
            }
            if row.reason != WRONG_PASSWORD {
                continue;
            }
            let counts = self.refusals.entry(row.no).or_default();
            // So that the whole time has room, however often chargers are judged.
            let within_ms = settings.within_ms("WrongPassword");
            let since = now.plus_millis(-within_ms);
            let is_due = |(at, _): &(Timestamp, u64)| now.0 - at.0 >= within_ms / 40 || now < *at;
            if counts.back().is_none_or(is_due) {
                counts.push_back((now, row.count));
            }
            // The count at the begin of that time stays.
            while counts.len() > 1 && counts[1].0 <= since {
                counts.pop_front();
            }
            if counts.len() > TIMES_MAX {
                counts.remove(1);
            }
            // All refusals of a row that began within that time are in it.
            let before = match row.first_at >= since {
                true => 0,
                false => counts.front().map_or(row.count, |(_, count)| *count),
            };
            let refused = row.count.saturating_sub(before);
            if refused > u64::from(settings.wrong_password_refusals) {
                let words = format!(
                    "{id} was refused {refused} times within {} for its password, from {}",
                    time(within_ms),
                    row.address
                );
                found.push(finding("WrongPassword", Severity::Ticket, words));
            }
        }
    }

    /// The findings of the commands whose outcome is uncertain. `is_done` says that a person has taken note of one.
    pub fn of_commands(&self, is_done: impl Fn(Uuid) -> bool, found: &mut Vec<Finding>) {
        for (id, one) in &self.uncertain {
            if is_done(*id) {
                continue;
            }
            found.push(Finding {
                charger_id: Some(one.charger_id.clone()),
                since: Some(one.at),
                ..Finding::new("CommandUncertain", Severity::Ticket, one.summary.clone())
                    .about(id.to_string())
            });
        }
    }
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#', '\\']);
    let end = end.map_or(url.len(), |end| host + end);
    match url[host..end].rfind('@') {
        Some(user) => &url[host + user + 1..end],
        None => &url[..end],
    }
}

/// The findings of the webhooks.
pub fn of_webhooks(
    webhooks: &[Webhook],
    settings: &Thresholds,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    let failing = i64::from(settings.webhook_failing_s) * SECOND;
    for webhook in webhooks {
        // The rest of a URL can be a credential, and everybody may read alerts.
        let url = origin(&webhook.settings.url);
        let since = webhook.progress.retry.map(|retry| retry.since);
        let words = match (&webhook.switched_off, since) {
            (Some((_, why)), _) if !webhook.settings.enabled => {
                format!("the webhook to {url} was switched off: {why}")
            }
            (_, Some(since)) if webhook.settings.enabled && now.0 - since.0 >= failing => {
                let error = webhook.progress.last_error.as_ref();
                let error = error.map_or("", |(_, error)| error.as_str());
                format!(
                    "the webhook to {url} has delivered nothing for {} min: {error}",
                    (now.0 - since.0) / MINUTE
                )
            }
            _ => continue,
        };
        found.push(
            Finding::new("WebhookFailing", Severity::Ticket, words).about(webhook.id.to_string()),
        );
    }
}

#[cfg(test)]
mod tests;
