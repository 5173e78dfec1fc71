//! The log of events, the same for both databases: which changes are queued, which of them a round moves to the log, and
//! which events follow from them.
//!
//! The queue says only *what* has changed: a transaction, a connector. A round reads the objects as the API shows them and
//! adds the events. So the transaction that stores messages writes one small row per changed object, and the log has the
//! same object as the API. Which events a session has had is kept beside the log, because several changes of a session
//! are one entry: its start and its end are two events, whatever was read when.

use crate::dead_letters::charger_of_entry;
use crate::quirks::NewRecords;
use crate::refusal::Refusal;
use central::alert::machine::Stage;
use central::model::truncate;
use central::model::{
    AlertView, AuditView, CommandId, CommandProgress, CommandView, EffectPhase, Event, EventId,
    EventType, RefusedHandshakeView, SecurityEventView, TransactionView,
};
use central::ports::{EventBounds, EventFilter};
use central::query::{ChargerDetail, DeadLetterRow};
use central::record::AnswerKind;
use central::{Record, RecordId, RecordKind, Timestamp};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Rows of the queue that a round reads; those of one object become one.
pub(crate) const QUEUE_ROWS_READ: i64 = 5_000;

/// Rows of the log that a page reads at most.
pub(crate) const LOG_ROWS_READ: usize = 10_000;

/// Bytes of data on a page of the log, after which it ends.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// Rows of the log that are deleted at once.
pub(crate) const EXPIRED_ROWS: i64 = 5_000;
/// Rows of `event_sessions` of which is looked, each time that events expire, whether their session or command still exists.
pub(crate) const SESSION_ROWS_CHECKED: i64 = 5_000;

/// Rows of the queue that are counted at most.
pub(crate) const COUNTED_MAX: i64 = 10_000;

/// The action of security events, in every version.
const SECURITY: &str = "SecurityEventNotification";

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// A transaction, by the number of its state.
    Transaction,
    /// A charger has connected.
    Connected,
    /// A connection has ended.
    Disconnected,
    /// A BootNotification.
    Booted,
    /// The status of a connector.
    Connector,
    /// A command was sent.
    CommandSent,
    /// A command has an outcome.
    CommandFinished,
    /// A dead letter.
    DeadLetter,
    /// An entry of the audit log.
    Audit,
    /// A security event, by the hash of its row.
    Security,
    /// What messages show of a command's effect.
    Effect,
    /// A refused handshake, by the number of its row.
    Refused,
    /// An alert fires, was acknowledged or has ended.
    Alert,
}

impl Change {
    const ALL: [Self; 13] = [
        Self::Transaction,
        Self::Connected,
        Self::Disconnected,
        Self::Booted,
        Self::Connector,
        Self::CommandSent,
        Self::CommandFinished,
        Self::DeadLetter,
        Self::Audit,
        Self::Security,
        Self::Effect,
        Self::Refused,
        Self::Alert,
    ];

    /// Whether it says only that a state is another one, so that several changes together are one. Every other change has
    /// an event of its own.
    const fn is_of_state(self) -> bool {
        matches!(self, Self::Transaction | Self::Connector | Self::Effect)
    }

    /// The number in the database; never change one.
    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::Transaction => 1,
            Self::Connected => 2,
            Self::Disconnected => 3,
            Self::Booted => 4,
            Self::Connector => 5,
            Self::CommandSent => 6,
            Self::CommandFinished => 7,
            Self::DeadLetter => 8,
            Self::Audit => 9,
            Self::Security => 10,
            Self::Effect => 11,
            Self::Refused => 12,
            Self::Alert => 13,
        }
    }

    /// The change with this number; `None` for one that a newer version has queued.
    pub(crate) fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.code() == code)
    }
}

/// An entry of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Queued {
    pub(crate) change: Change,
    pub(crate) charger_no: Option<i64>,
    pub(crate) number: Option<i64>,
    pub(crate) connector: Option<i64>,
    pub(crate) id: Option<Uuid>,
    /// When it occurred, in milliseconds; 0 where the object says it.
    pub(crate) at: i64,
}

impl Queued {
    const fn new(change: Change, at: i64) -> Self {
        Self {
            change,
            charger_no: None,
            number: None,
            connector: None,
            id: None,
            at,
        }
    }

    pub(crate) const fn transaction(transaction_no: i64) -> Self {
        let mut entry = Self::new(Change::Transaction, 0);
        entry.number = Some(transaction_no);
        entry
    }

    pub(crate) const fn of_charger(change: Change, charger_no: i64, at: Timestamp) -> Self {
        let mut entry = Self::new(change, at.0);
        entry.charger_no = Some(charger_no);
        entry
    }

    pub(crate) const fn connector(charger_no: i64, evse: i64, connector: i64) -> Self {
        let mut entry = Self::new(Change::Connector, 0);
        entry.charger_no = Some(charger_no);
        entry.number = Some(evse);
        entry.connector = Some(connector);
        entry
    }

    pub(crate) const fn command(change: Change, id: Uuid, at: Timestamp) -> Self {
        let mut entry = Self::new(change, at.0);
        entry.id = Some(id);
        entry
    }

    /// That this is told of an alert.
    pub(crate) const fn alert(id: Uuid, stage: Stage, at: Timestamp) -> Self {
        let mut entry = Self::new(Change::Alert, at.0);
        entry.id = Some(id);
        entry.number = Some(stage.number());
        entry
    }

    pub(crate) const fn numbered(change: Change, number: i64, at: i64) -> Self {
        let mut entry = Self::new(change, at);
        entry.number = Some(number);
        entry
    }

    pub(crate) const fn security(charger_no: i64, key_hash: i64, at: Timestamp) -> Self {
        let mut entry = Self::of_charger(Change::Security, charger_no, at);
        entry.number = Some(key_hash);
        entry
    }
}

/// What new records themselves report: connections, their ends, boots.
pub(crate) fn of_records<'a>(
    records: &'a [(RecordId, Record<'a>)],
    new: &'a NewRecords,
) -> impl Iterator<Item = (Change, &'a str, Timestamp)> {
    let mut seen = HashSet::new();
    records.iter().filter_map(move |(id, record)| {
        let change = match record.kind {
            RecordKind::Connected => Change::Connected,
            RecordKind::Disconnected => Change::Disconnected,
            RecordKind::Call
                if record.answer_kind == AnswerKind::Result
                    && record.action == "BootNotification" =>
            {
                Change::Booted
            }
            _ => return None,
        };
        // A record that comes twice in a batch is new once.
        (!record.charger_id.is_empty() && new.has(*id) && seen.insert(*id)).then_some((
            change,
            record.charger_id,
            record.received_at,
        ))
    })
}

/// Whether a row of `events` with this kind is a security event.
pub(crate) fn is_security(kind: &str) -> bool {
    kind == SECURITY
}

/// What new records about a command report: that it was sent, or an outcome.
pub(crate) fn of_progress(
    CommandId(id): CommandId,
    before: &CommandProgress,
    now: &CommandProgress,
) -> impl Iterator<Item = Queued> {
    let sent = now.sent.as_ref().filter(|_| before.sent.is_none());
    let sent = sent.map(|sent| Queued::command(Change::CommandSent, id, sent.at));
    let outcome = |progress: &CommandProgress| {
        let reply = progress.reply.as_ref().map(|reply| reply.at);
        reply.or(progress.unanswered.as_ref().map(|end| end.at))
    };
    let finished = outcome(now)
        .filter(|_| outcome(before).is_none() || (now.reply.is_some() && before.reply.is_none()));
    let finished = finished.map(|at| Queued::command(Change::CommandFinished, id, at));
    // The answer decides whether messages that came before it are the effect.
    let effect = finished.map(|_| Queued::command(Change::Effect, id, Timestamp(0)));
    sent.into_iter().chain(finished).chain(effect)
}

/// What a round does: the distinct entries, oldest first, and the numbers of all rows that it takes from the queue.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) entries: Vec<Queued>,
    pub(crate) taken: Vec<i64>,
    pub(crate) has_more: bool,
}

impl Round {
    /// Chooses at most `limit` entries from these rows of the queue, which are in their order.
    pub(crate) fn of(rows: &[(i64, Option<Queued>)], limit: usize) -> Self {
        let mut round = Self::default();
        let mut chosen = HashSet::new();
        for (no, entry) in rows {
            let Some(entry) = entry else {
                tracing::warn!(
                    no,
                    "an entry of the queue of events is of a newer version; it is left out of the log"
                );
                round.taken.push(*no);
                continue;
            };
            if chosen.contains(entry) {
                round.taken.push(*no);
            } else if round.entries.len() < limit {
                if entry.change.is_of_state() {
                    chosen.insert(*entry);
                }
                round.entries.push(*entry);
                round.taken.push(*no);
            } else {
                round.has_more = true;
            }
        }
        round.has_more |= rows.len() as i64 >= QUEUE_ROWS_READ;
        round
    }

    /// What follows when this round found an object that cannot be read: the limit of a smaller round. `None` for a round
    /// of one entry, which then has no event, so that it does not hold back all others.
    ///
    /// # Errors
    /// The refusal, if it has another reason.
    pub(crate) fn smaller(&self, refusal: Refusal) -> Result<Option<usize>, Refusal> {
        if !refusal.is_corrupt() {
            return Err(refusal);
        }
        if self.entries.len() > 1 {
            return Ok(Some(self.entries.len() / 2));
        }
        let (entry, error) = (self.entries.first(), refusal.into_unavailable());
        tracing::error!(%error, ?entry, "an object cannot be read, so its change has no event");
        Ok(None)
    }

    fn numbers(&self, changes: &[Change], number: fn(&Queued) -> Option<i64>) -> Vec<i64> {
        let wanted = self
            .entries
            .iter()
            .filter(|entry| changes.contains(&entry.change));
        let mut numbers: Vec<i64> = wanted.filter_map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub(crate) fn transactions(&self) -> Vec<i64> {
        self.numbers(&[Change::Transaction], |entry| entry.number)
    }

    /// Chargers that are shown, with or without their connectors.
    pub(crate) fn chargers(&self) -> Vec<i64> {
        let all = [
            Change::Connected,
            Change::Disconnected,
            Change::Booted,
            Change::Connector,
            Change::Security,
        ];
        self.numbers(&all, |entry| entry.charger_no)
    }

    pub(crate) fn dead_letters(&self) -> Vec<i64> {
        self.numbers(&[Change::DeadLetter], |entry| entry.number)
    }

    pub(crate) fn audit(&self) -> Vec<i64> {
        self.numbers(&[Change::Audit], |entry| entry.number)
    }

    pub(crate) fn handshakes(&self) -> Vec<i64> {
        self.numbers(&[Change::Refused], |entry| entry.number)
    }

    pub(crate) fn commands(&self) -> Vec<Uuid> {
        self.ids(|change| change != Change::Alert)
    }

    pub(crate) fn alerts(&self) -> Vec<Uuid> {
        self.ids(|change| change == Change::Alert)
    }

    fn ids(&self, is_wanted: fn(Change) -> bool) -> Vec<Uuid> {
        let wanted = self.entries.iter().filter(|entry| is_wanted(entry.change));
        let mut ids: Vec<Uuid> = wanted.filter_map(|entry| entry.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The commands whose effect has changed.
    pub(crate) fn effects(&self) -> impl Iterator<Item = Uuid> {
        let changed = self
            .entries
            .iter()
            .filter(|entry| entry.change == Change::Effect);
        changed.filter_map(|entry| entry.id)
    }

    /// Charger, time and hash of the rows of security events.
    pub(crate) fn security(&self) -> Vec<(i64, i64, i64)> {
        let wanted = self
            .entries
            .iter()
            .filter(|entry| entry.change == Change::Security);
        wanted
            .filter_map(|entry| Some((entry.charger_no?, entry.at, entry.number?)))
            .collect()
    }
}

/// Which events of a session, or of a command's effect, are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Session {
    pub(crate) stages: i16,
    /// A hash of what the last event of it showed.
    pub(crate) shown: i64,
}

impl Session {
    const STARTED: i16 = 1;
    const ENDED: i16 = 2;
    const CLOSED: i16 = 4;
    const RECONCILED: i16 = 8;
    /// Of a command.
    const EFFECT_SEEN: i16 = 16;

    /// The events that are due for the session as it is now, in their order. Sets the stages.
    fn due(&mut self, view: &TransactionView, shown: i64) -> Vec<(EventType, Timestamp)> {
        let last_at = view.last_at.unwrap_or_default();
        let closed = view.closed.as_ref();
        let was_closed = self.stages & Self::CLOSED != 0;
        let is_reconciled = closed.is_some_and(|closed| closed.reconciled);
        let stages = [
            (
                Self::STARTED,
                view.started_at.is_some(),
                EventType::TransactionStarted,
                view.started_at,
            ),
            (
                Self::CLOSED,
                closed.is_some() && !is_reconciled,
                EventType::TransactionClosed,
                closed.map(|closed| closed.at),
            ),
            (
                Self::ENDED,
                view.place_stop().is_some(),
                EventType::TransactionEnded,
                view.ended_at,
            ),
            (
                Self::RECONCILED,
                was_closed && is_reconciled,
                EventType::TransactionReconciled,
                view.ended_at,
            ),
        ];
        let mut due = Vec::new();
        for (stage, is_reached, kind, at) in stages {
            if is_reached && self.stages & stage == 0 {
                self.stages |= stage;
                due.push((kind, at.unwrap_or(last_at)));
            }
        }
        if closed.is_none() {
            // A superseded session that reports again is open again, and may be closed again.
            self.stages &= !(Self::CLOSED | Self::RECONCILED);
        }
        if due.is_empty() && shown != self.shown {
            due.push((EventType::TransactionUpdated, last_at));
        }
        self.shown = shown;
        due
    }
}

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
    pub(crate) security: HashMap<SecurityEventKey, SecurityEventText>,
    pub(crate) handshakes: HashMap<i64, RefusedHandshakeView>,
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

/// A security event: the number of its charger, its time and its hash.
pub(crate) type SecurityEventKey = (i64, i64, i64);
/// The type and the details of a security event.
pub(crate) type SecurityEventText = (Option<String>, Option<String>);

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
            Change::Security => {
                let (Some(no), Some(hash)) = (entry.charger_no, entry.number) else {
                    return Ok(());
                };
                let charger = objects.chargers.get(&no);
                let found = objects.security.remove(&(no, entry.at, hash));
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
fn fnv(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

/// The last position that a page after `after` reads, so that it reads a bounded number of rows. With a charger that is
/// `of_charger`, the position of the charger's last row that may be read, or the end of the log without one; else a part
/// of the log.
pub(crate) fn read_until(
    bounds: &EventBounds,
    after: EventId,
    filter: &EventFilter,
    of_charger: Option<u64>,
) -> u64 {
    let last = bounds.last.position;
    if filter.charger.is_some() {
        return of_charger.map_or(last, |position| last.min(position));
    }
    let before_first = bounds.first.map_or(0, |first| first.position - 1);
    let from = after.position.max(before_first);
    last.min(from.saturating_add(LOG_ROWS_READ as u64))
}

/// The events in these rows, up to [`PAGE_BYTES`], and the last row's id if the page ends with it because it is full.
pub(crate) fn page_of(
    rows: impl IntoIterator<Item = EventColumns>,
    limit: usize,
) -> (Vec<Event>, Option<EventId>) {
    let (mut events, mut last, mut bytes, mut count) = (Vec::new(), None, 0, 0);
    for row in rows {
        bytes += row.6.len();
        if bytes > PAGE_BYTES && last.is_some() {
            return (events, last);
        }
        let (id, event) = event(row);
        last = Some(id);
        count += 1;
        events.extend(event);
        if count >= limit {
            return (events, last);
        }
    }
    (events, last.filter(|_| bytes > PAGE_BYTES))
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

/// Columns of a stored event: position, recorded at, type, occurred at, charger, subject, data.
pub(crate) type EventColumns = (i64, i64, String, i64, Option<String>, String, String);

/// An event from its columns; `None` if its type is of a newer version.
pub(crate) fn event(columns: EventColumns) -> (EventId, Option<Event>) {
    let (position, recorded_at, kind, occurred_at, charger_id, subject, data) = columns;
    let id = EventId {
        position: position.cast_unsigned(),
        recorded_at: Timestamp(recorded_at),
    };
    let event = EventType::from_name(&kind).map(|kind| Event {
        id,
        kind,
        occurred_at: Timestamp(occurred_at),
        charger_id,
        subject,
        data,
    });
    (id, event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::memory::sample;
    use central::ports::SEQUENCED_MAX;

    fn rows(numbers: &[(i64, i64)]) -> Vec<(i64, Option<Queued>)> {
        numbers
            .iter()
            .map(|(no, transaction)| (*no, Some(Queued::transaction(*transaction))))
            .collect()
    }

    #[test]
    fn a_round_takes_all_rows_of_an_object_and_leaves_what_is_too_much() {
        let many: Vec<(i64, i64)> = (0..2_000).map(|no| (no, no % 600)).collect();
        let round = Round::of(&rows(&many), SEQUENCED_MAX);
        assert_eq!(round.entries.len(), SEQUENCED_MAX);
        assert!(round.has_more);
        let of_first = round.taken.iter().filter(|no| **no % 600 == 0).count();
        assert_eq!(of_first, 4);
        assert!(round.taken.iter().all(|no| no % 600 < 500));
        let few = Round::of(&rows(&[(4, 9), (5, 8), (7, 9)]), SEQUENCED_MAX);
        assert_eq!(few.transactions(), [8, 9]);
        assert_eq!(
            (few.entries.len(), few.taken.len(), few.has_more),
            (2, 3, false)
        );
    }

    #[test]
    fn a_session_is_updated_only_when_it_shows_something_else() {
        let mut session = Session::default();
        let mut view = sample::transaction("CP-1", 1, true);
        let kinds = |due: Vec<(EventType, Timestamp)>| -> Vec<EventType> {
            due.into_iter().map(|(kind, _)| kind).collect()
        };
        assert_eq!(
            kinds(session.due(&view, 1)),
            [EventType::TransactionStarted]
        );
        assert_eq!(kinds(session.due(&view, 1)), []);
        assert_eq!(
            kinds(session.due(&view, 2)),
            [EventType::TransactionUpdated]
        );
        view.started_at = None;
        assert_eq!(kinds(session.due(&view, 2)), []);
    }

    #[test]
    fn numbers_of_changes_are_distinct() {
        for change in Change::ALL {
            assert_eq!(Change::from_code(change.code()), Some(change));
        }
        assert_eq!(Change::from_code(99), None);
    }
}
