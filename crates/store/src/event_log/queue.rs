//! The queue: which changes get an entry. The transaction that stores messages writes one small row per changed object,
//! so that events cost the delivery of messages little.

use super::compose::fnv;
use crate::quirks::NewRecords;
use central::alert::machine::Stage;
use central::model::{CommandId, CommandProgress};
use central::record::AnswerKind;
use central::{GatewayId, Record, RecordId, RecordKind, Seq, Timestamp};
use std::collections::HashSet;
use uuid::Uuid;

/// Rows of the queue that are counted at most.
pub(crate) const COUNTED_MAX: i64 = 10_000;

/// Entries of newer programs that are kept at most; of more, the newest are.
pub(crate) const NEWER_KEPT: i64 = 10_000;

/// The condition of SQL for the entries that this program knows. One that a newer program has queued waits for that program:
/// while a deployment is upgraded, either may move entries to the log.
pub(crate) fn known() -> String {
    let codes = Change::ALL.map(|change| change.code().to_string());
    format!("kind IN ({})", codes.join(", "))
}

/// The condition of SQL for the other entries.
pub(crate) fn newer() -> String {
    format!("NOT ({})", known())
}

/// Reports that entries of newer programs were removed.
pub(crate) fn log_removed(removed: u64) {
    if removed > 0 {
        tracing::error!(
            removed,
            "changes that a newer version has queued have no event: more than {NEWER_KEPT} were waiting for it"
        );
    }
}

/// The action of security events, in every version.
const SECURITY: &str = "SecurityEventNotification";
/// The actions that report the state of firmware; the second one is of the security whitepaper for 1.6.
const FIRMWARE: [&str; 2] = [
    "FirmwareStatusNotification",
    "SignedFirmwareStatusNotification",
];

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
    /// A charger presented a token that was refused, by the id of the message.
    TokenRefused,
    /// The state of firmware, by the hash of its row.
    Firmware,
    /// A part of the pipeline does not work, or works again; the entry has what the event shows.
    Part,
}

impl Change {
    const ALL: [Self; 16] = [
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
        Self::TokenRefused,
        Self::Firmware,
        Self::Part,
    ];

    /// Whether it says only that a state is another one, so that several changes together are one. Every other change has
    /// an event of its own.
    pub(super) const fn is_of_state(self) -> bool {
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
            Self::TokenRefused => 14,
            Self::Firmware => 15,
            Self::Part => 16,
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

    pub(crate) const fn token_refused(charger_no: i64, record: RecordId, at: Timestamp) -> Self {
        let mut entry = Self::of_charger(Change::TokenRefused, charger_no, at);
        entry.number = Some(record.seq.0.cast_signed());
        entry.id = Some(record.gateway.0);
        entry
    }

    /// The message of [`Change::TokenRefused`].
    pub(super) fn message(&self) -> Option<RecordId> {
        Some(RecordId {
            gateway: GatewayId(self.id?),
            seq: Seq(self.number?.cast_unsigned()),
        })
    }

    /// The entry for a change of a part of the pipeline. Its number is the hash of what the event shows.
    pub(crate) fn part(text: &str, at: Timestamp) -> Self {
        Self::numbered(Change::Part, fnv(text.as_bytes()), at.0)
    }

    pub(crate) const fn numbered(change: Change, number: i64, at: i64) -> Self {
        let mut entry = Self::new(change, at);
        entry.number = Some(number);
        entry
    }

    /// The entry for a new row of `events`; `None` if a row of this kind has no event.
    pub(crate) fn reported(
        kind: &str,
        charger_no: i64,
        key_hash: i64,
        at: Timestamp,
    ) -> Option<Self> {
        let change = match kind {
            SECURITY => Change::Security,
            kind if FIRMWARE.contains(&kind) => Change::Firmware,
            _ => return None,
        };
        let mut entry = Self::of_charger(change, charger_no, at);
        entry.number = Some(key_hash);
        Some(entry)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_changes_are_distinct() {
        for change in Change::ALL {
            assert_eq!(Change::from_code(change.code()), Some(change));
        }
        assert_eq!(Change::from_code(99), None);
    }
}
