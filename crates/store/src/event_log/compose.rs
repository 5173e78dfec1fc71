//! From the entries of a round and the objects as they are now to the events that the log gets.

use super::queue::{Change, Queued};
use super::round::Round;
use super::session::Session;
use crate::dead_letters::charger_of_entry;
use crate::refusal::Refusal;
use central::alert::machine::Stage;
use central::model::truncate;
use central::model::{
    AlertView, AuditView, CommandView, EffectPhase, Event, EventId, EventType, FirmwareStatusView,
    RefusedHandshakeView, RefusedTokenView, SecurityEventView, TransactionView,
};
use central::pipeline::PartChange;
use central::query::{ChargerDetail, DeadLetterRow};
use central::{RecordId, Timestamp};
use serde::Serialize;
use std::collections::HashMap;
use uuid::Uuid;

/// The objects of a round, as they are now.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) chargers: HashMap<i64, ChargerDetail>,
    /// The sessions of a state, by its number.
    pub(crate) transactions: HashMap<i64, Vec<TransactionView>>,
    pub(crate) sessions: HashMap<Uuid, Session>,
    pub(crate) commands: HashMap<Uuid, CommandView>,
    pub(crate) alerts: HashMap<Uuid, AlertView>,
    pub(crate) dead_letters: HashMap<i64, Letter>,
    pub(crate) audit: HashMap<i64, AuditView>,
    pub(crate) reported: HashMap<ReportedKey, ReportedText>,
    /// What the events of changes of the pipeline's parts show.
    pub(crate) parts: HashMap<i64, String>,
    pub(crate) handshakes: HashMap<i64, RefusedHandshakeView>,
    pub(crate) refused_tokens: HashMap<RecordId, RefusedTokenView>,
}

/// A dead letter as its event shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    record_id: String,
    charger_id: Option<String>,
    data: String,
}

impl Letter {
    /// A letter that waits.
    pub(crate) fn of(row: &DeadLetterRow) -> Result<Self, Refusal> {
        Ok(Self {
            record_id: row.record_id.clone(),
            charger_id: row.charger_id.clone(),
            data: json(row)?,
        })
    }

    /// A letter that was removed before its event was in the log, from what [`Self::text`] has given.
    pub(crate) fn kept(text: String) -> Result<Self, Refusal> {
        let row: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Refusal::corrupt(format!("a removed dead letter: {error}")))?;
        let member = |name: &str| row[name].as_str().map(str::to_owned);
        Ok(Self {
            record_id: member("record_id").unwrap_or_default(),
            charger_id: member("charger_id"),
            data: text,
        })
    }

    /// What is kept in the queue when the letter is removed.
    pub(crate) fn text(self) -> String {
        self.data
    }
}

/// A row of `events`: the number of its charger, its time and its hash.
pub(crate) type ReportedKey = (i64, i64, i64);

/// The type and the details of a security event, or the state of firmware.
pub(crate) type ReportedText = (Option<String>, Option<String>);

/// What a round adds.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(crate) events: Vec<Event>,
    pub(crate) sessions: Vec<(Uuid, Session)>,
}

/// The events of a round, after the one that is last in the log. An object that is gone has no event.
pub(crate) fn compose(
    round: &Round,
    mut objects: Objects,
    last: EventId,
    now: Timestamp,
) -> Result<Added, Refusal> {
    for charger in objects.chargers.values_mut() {
        truncate::charger(charger);
    }
    for command in objects.commands.values_mut() {
        truncate::command(command);
    }
    let mut log = Log {
        last: EventId {
            position: last.position,
            // A clock that was put back does not make the log go back.
            recorded_at: now.max(last.recorded_at),
        },
        added: Added::default(),
    };
    for entry in &round.entries {
        log.add(entry, &mut objects)?;
    }
    Ok(log.added)
}

struct Log {
    last: EventId,
    added: Added,
}

impl Log {
    fn push(
        &mut self,
        kind: EventType,
        occurred_at: Timestamp,
        charger_id: Option<&str>,
        subject: String,
        data: String,
    ) {
        self.last.position += 1;
        self.added.events.push(Event {
            id: self.last,
            kind,
            occurred_at,
            charger_id: charger_id.map(str::to_owned),
            subject,
            data,
        });
    }

    fn add(&mut self, entry: &Queued, objects: &mut Objects) -> Result<(), Refusal> {
        let at = Timestamp(entry.at);
        match entry.change {
            Change::Transaction => self.add_transaction(entry, objects)?,
            Change::Connected | Change::Disconnected | Change::Booted => {
                if let Some(charger) = entry.charger_no.and_then(|no| objects.chargers.get(&no)) {
                    let kind = match entry.change {
                        Change::Connected => EventType::ChargerConnected,
                        Change::Disconnected => EventType::ChargerDisconnected,
                        _ => EventType::ChargerBooted,
                    };
                    let id = charger.charger.charger_id.clone();
                    self.push(kind, at, Some(&id), id.clone(), json(charger)?);
                }
            }
            Change::Connector => {
                let charger = entry.charger_no.and_then(|no| objects.chargers.get(&no));
                let connector = charger.and_then(|charger| {
                    charger.connectors.iter().find(|connector| {
                        Some(connector.evse) == entry.number
                            && Some(connector.connector) == entry.connector
                    })
                });
                if let Some(connector) = connector {
                    let since = connector.last_status_at.unwrap_or_default();
                    let subject = format!("{}/{}", connector.evse, connector.connector);
                    self.push(
                        EventType::ConnectorStatusChanged,
                        since,
                        Some(&connector.charger_id),
                        subject,
                        json(connector)?,
                    );
                }
            }
            Change::CommandSent | Change::CommandFinished => {
                if let Some(command) = entry.id.and_then(|id| objects.commands.get(&id)) {
                    let kind = match entry.change {
                        Change::CommandSent => EventType::CommandSent,
                        _ => EventType::CommandFinished,
                    };
                    let charger = Some(command.charger_id.as_str());
                    self.push(kind, at, charger, command.id.to_string(), json(command)?);
                }
            }
            Change::Effect => {
                if let Some(id) = entry.id
                    && let Some(command) = objects.commands.get(&id)
                    && let Some(seen_at) = effect_seen_at(command)
                {
                    let mut session = objects.sessions.get(&id).copied().unwrap_or_default();
                    if session.stages & Session::EFFECT_SEEN == 0 {
                        session.stages |= Session::EFFECT_SEEN;
                        objects.sessions.insert(id, session);
                        self.added.sessions.push((id, session));
                        let charger = Some(command.charger_id.as_str());
                        let kind = EventType::CommandEffectSeen;
                        self.push(kind, seen_at, charger, id.to_string(), json(command)?);
                    }
                }
            }
            Change::Alert => {
                let alert = entry.id.and_then(|id| objects.alerts.get(&id));
                if let Some(alert) = alert
                    && let Some(kind) = entry.number.and_then(alert_event)
                {
                    let charger = alert.charger_id.as_deref();
                    self.push(kind, at, charger, alert.id.to_string(), json(alert)?);
                }
            }
            Change::DeadLetter => {
                let letter = entry.number.and_then(|no| objects.dead_letters.get(&no));
                if let Some(letter) = letter {
                    self.push(
                        EventType::DeadLetterAdded,
                        at,
                        letter.charger_id.as_deref(),
                        letter.record_id.clone(),
                        letter.data.clone(),
                    );
                }
            }
            Change::Audit => {
                let audited = entry.number.and_then(|no| objects.audit.get(&no));
                if let Some(audited) = audited
                    && let Some(kind) = EventType::of_audit(&audited.action)
                {
                    let charger = match kind {
                        EventType::ChargerSet | EventType::ChargerRemoved => {
                            Some(audited.subject.as_str())
                        }
                        EventType::DeadLetterApplied | EventType::DeadLetterDiscarded => {
                            charger_of_entry(audited.before.as_ref())
                        }
                        _ => None,
                    };
                    let subject = audited.subject.clone();
                    self.push(kind, audited.at, charger, subject, json(&audited.change())?);
                }
            }
            Change::Refused => {
                let refused = entry.number.and_then(|no| objects.handshakes.get(&no));
                if let Some(refused) = refused {
                    let charger = refused.charger_id.as_deref();
                    let subject = refused.no.to_string();
                    self.push(
                        EventType::ChargerRefused,
                        at,
                        charger,
                        subject,
                        json(refused)?,
                    );
                }
            }
            Change::TokenRefused => {
                let charger = entry.charger_no.and_then(|no| objects.chargers.get(&no));
                let refused = entry.message();
                let refused = refused.and_then(|id| objects.refused_tokens.get(&id));
                if let (Some(charger), Some(refused)) = (charger, refused) {
                    let charger_id = charger.charger.charger_id.clone();
                    let view = RefusedTokenView {
                        charger_id: charger_id.clone(),
                        ..refused.clone()
                    };
                    let subject = view.token.clone();
                    let data = json(&view)?;
                    self.push(
                        EventType::TokenRefused,
                        at,
                        Some(&charger_id),
                        subject,
                        data,
                    );
                }
            }
            Change::Security => {
                let (Some(no), Some(hash)) = (entry.charger_no, entry.number) else {
                    return Ok(());
                };
                let charger = objects.chargers.get(&no);
                let found = objects.reported.remove(&(no, entry.at, hash));
                if let Some(charger) = charger
                    && let Some((kind, tech_info)) = found
                {
                    let charger_id = charger.charger.charger_id.clone();
                    let view = SecurityEventView {
                        charger_id: charger_id.clone(),
                        kind: kind.map(truncate::text),
                        at,
                        tech_info: tech_info.map(truncate::text),
                    };
                    let subject = view.kind.clone().unwrap_or_default();
                    let data = json(&view)?;
                    self.push(
                        EventType::SecurityEvent,
                        at,
                        Some(&charger_id),
                        subject,
                        data,
                    );
                }
            }
            Change::Firmware => {
                let (Some(no), Some(hash)) = (entry.charger_no, entry.number) else {
                    return Ok(());
                };
                let charger = objects.chargers.get(&no);
                let found = objects.reported.remove(&(no, entry.at, hash));
                if let Some(charger) = charger
                    && let Some((status, _)) = found
                {
                    let charger_id = charger.charger.charger_id.clone();
                    let view = FirmwareStatusView {
                        charger_id: charger_id.clone(),
                        status: status.map(truncate::text),
                        at,
                    };
                    let subject = view.status.clone().unwrap_or_default();
                    let data = json(&view)?;
                    self.push(
                        EventType::FirmwareStatus,
                        at,
                        Some(&charger_id),
                        subject,
                        data,
                    );
                }
            }
            Change::Part => {
                let text = entry.number.and_then(|no| objects.parts.remove(&no));
                if let Some(text) = text {
                    let view: PartChange = serde_json::from_str(&text).map_err(|error| {
                        Refusal::corrupt(format!("a change of a part of the pipeline: {error}"))
                    })?;
                    let kind = match view.is_down() {
                        true => EventType::PipelinePartDown,
                        false => EventType::PipelinePartUp,
                    };
                    self.push(kind, at, None, view.part, text);
                }
            }
        }
        Ok(())
    }

    fn add_transaction(&mut self, entry: &Queued, objects: &mut Objects) -> Result<(), Refusal> {
        let views = entry.number.and_then(|no| objects.transactions.remove(&no));
        for mut view in views.unwrap_or_default() {
            let mut session = objects.sessions.get(&view.key).copied().unwrap_or_default();
            let before = session;
            truncate::transaction(&mut view);
            let data = json(&view)?;
            for (kind, at) in session.due(&view, fnv(data.as_bytes())) {
                let charger = Some(view.charger_id.as_str());
                self.push(kind, at, charger, view.key.to_string(), data.clone());
            }
            if session != before {
                objects.sessions.insert(view.key, session);
                self.added.sessions.push((view.key, session));
            }
        }
        Ok(())
    }
}

fn json(object: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(object)
        .map_err(|error| Refusal::corrupt(format!("cannot write an event as JSON: {error}")))
}

/// FNV-1a: stable, because the hash is stored.
pub(super) fn fnv(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

/// The type of the event for this stage of an alert; `None` for one that a newer version has.
fn alert_event(stage: i64) -> Option<EventType> {
    let is = |one: Stage| one.number() == stage;
    match stage {
        _ if is(Stage::Firing) => Some(EventType::AlertFiring),
        _ if is(Stage::Acknowledged) => Some(EventType::AlertAcknowledged),
        _ if is(Stage::Resolved) => Some(EventType::AlertResolved),
        _ => None,
    }
}

/// When the effect of a command was seen, if it was.
fn effect_seen_at(command: &CommandView) -> Option<Timestamp> {
    let effect = &command.effect;
    let is_seen = effect.state == EffectPhase::Seen;
    is_seen.then(|| effect.seen_at.unwrap_or(command.created_at))
}
