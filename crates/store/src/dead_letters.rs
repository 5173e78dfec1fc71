//! Records that become dead letters, and the row of one in a list.

use crate::idempotency::OtherRequest;
use crate::refusal::Refusal;
use central::model::{AuditEntry, ChargerKey, Origin};
use central::ports::{DeadLetter, ID_USED_TWICE, LETTERS_CHANGED_MAX, NotSelected, Once, Retried};
use central::query::{DeadLetterFilter, DeadLetterRow, DeadLetterState, Discarded};
use central::{GatewayId, Record, RecordId, Seq, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

/// The action in the audit log of a letter that was applied.
pub(crate) const APPLIED: &str = "dead_letter.applied";
/// The action in the audit log of a letter that was discarded.
pub(crate) const DISCARDED: &str = "dead_letter.discarded";

/// The columns of a letter that waits, in the order of [`Waiting`]; `d` is the table, `g` that of gateways.
pub(crate) const WAITING: &str =
    "d.no, g.id, d.seq, d.bytes, d.charger_id, d.action, d.reason, d.at";
/// The columns of a discarded letter, in the order of [`Gone`].
pub(crate) const GONE: &str = "d.no, g.id, d.seq, d.size_bytes, d.charger_id, d.action, d.reason, d.at, \
     d.discarded_at, d.discarded_by, d.discard_reason";

/// The dead letter of a record that the database refuses permanently. Logs it.
pub(crate) fn refused((id, record): &(RecordId, Record<'_>), reason: String) -> DeadLetter {
    tracing::error!(record.id = %id, reason, "a record cannot be applied; it is kept as a dead letter");
    DeadLetter {
        id: *id,
        bytes: record.encode(),
        reason,
    }
}

/// The dead letters of records whose ids other records have. Logs and counts them.
pub(crate) fn ids_used_twice<'a, 'r: 'a>(
    records: impl Iterator<Item = &'a (RecordId, Record<'r>)>,
) -> Vec<DeadLetter> {
    let letters: Vec<DeadLetter> = records
        .map(|(id, record)| DeadLetter {
            id: *id,
            bytes: record.encode(),
            reason: ID_USED_TWICE.to_owned(),
        })
        .collect();
    if let Some(first) = letters.first() {
        tracing::error!(
            record.id = %first.id,
            records = letters.len(),
            "records have ids that other records have; they are kept as dead letters: {ID_USED_TWICE}"
        );
        metrics::counter!("wattpost_store_ids_used_twice_total").increment(letters.len() as u64);
    }
    letters
}

/// The name in `set_aside` of a dead letter whose id another dead letter has.
pub(crate) fn set_aside_name(id: RecordId) -> String {
    format!("dead letter {id}")
}

/// What a record says of itself, if it can be decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) charger_id: Option<String>,
    pub(crate) charger_key: Option<String>,
    pub(crate) action: Option<String>,
}

impl Described {
    /// What this record says. A database without U+0000 replaces it with `clean`.
    pub(crate) fn of(bytes: &[u8], clean: impl Fn(&str) -> String) -> Self {
        let Ok(record) = Record::decode(bytes) else {
            return Self::default();
        };
        let text = |text: &str| (!text.is_empty()).then(|| clean(text));
        Self {
            charger_id: text(record.charger_id),
            charger_key: text(ChargerKey::of(record.charger_id).as_str()),
            action: text(record.action),
        }
    }
}

/// The columns of a letter that waits: number, gateway, sequence number, bytes, charger, action, reason, since when.
pub(crate) type Waiting = (
    i64,
    Uuid,
    i64,
    Vec<u8>,
    Option<String>,
    Option<String>,
    String,
    i64,
);

/// The columns of a discarded letter: number, gateway, sequence number, size, charger, action, reason, since when, and
/// when, by whom and why it was discarded.
pub(crate) type Gone = (
    i64,
    Uuid,
    i64,
    i64,
    Option<String>,
    Option<String>,
    String,
    i64,
    i64,
    String,
    String,
);

/// A letter that waits as a list shows it.
pub(crate) fn waiting(row: Waiting) -> DeadLetterRow {
    let (_, gateway, seq, bytes, charger_id, action, reason, at) = row;
    DeadLetterRow {
        record_id: record_id(gateway, seq).to_string(),
        charger_id,
        action,
        state: DeadLetterState::Waiting,
        reason,
        at: Timestamp(at),
        size_bytes: bytes.len() as u64,
        content: Some(String::from_utf8_lossy(&bytes).into_owned()),
        discarded: None,
    }
}

/// A discarded letter as a list shows it.
pub(crate) fn gone(row: Gone) -> DeadLetterRow {
    let (_, gateway, seq, size, charger_id, action, reason, at, discarded_at, by, why) = row;
    DeadLetterRow {
        record_id: record_id(gateway, seq).to_string(),
        charger_id,
        action,
        state: DeadLetterState::Discarded,
        reason,
        at: Timestamp(at),
        size_bytes: size.unsigned_abs(),
        content: None,
        discarded: Some(Discarded {
            at: Timestamp(discarded_at),
            by,
            reason: why,
        }),
    }
}

/// The id of a record, from its columns.
pub(crate) const fn record_id(gateway: Uuid, seq: i64) -> RecordId {
    RecordId {
        gateway: GatewayId(gateway),
        seq: Seq(seq.cast_unsigned()),
    }
}

/// A letter without its content, for the audit log.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) id: RecordId,
    pub(crate) charger_id: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) reason: String,
    pub(crate) at: i64,
    pub(crate) size_bytes: i64,
}

impl Removed {
    /// The entry of the audit log; `why` is the reason of a discard.
    pub(crate) fn entry(&self, action: &str, why: Option<&str>, origin: &Origin) -> AuditEntry {
        AuditEntry {
            origin: origin.clone(),
            action: action.to_owned(),
            subject: self.id.to_string(),
            before: Some(json!({
                "charger_id": self.charger_id,
                "action": self.action,
                "reason": self.reason,
                "at": Timestamp(self.at).to_string(),
                "size_bytes": self.size_bytes,
            })),
            after: why.map(|why| json!({"discard_reason": why})),
        }
    }
}

/// The charger in an entry of [`Removed::entry`].
pub(crate) fn charger_of_entry(before: Option<&Value>) -> Option<&str> {
    before?.get("charger_id")?.as_str()
}

/// A filter in the types of the database's columns.
pub(crate) struct Columns {
    pub(crate) charger_key: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Columns {
    pub(crate) fn of(filter: &DeadLetterFilter) -> Self {
        let charger = filter.charger.as_deref();
        Self {
            charger_key: charger.map(|id| ChargerKey::of(id).as_str().to_owned()),
            action: filter.action.clone(),
            reason: filter.reason.clone(),
            from: filter.from.map_or(i64::MIN, Timestamp::as_millis),
            to: filter.to.map_or(i64::MAX, Timestamp::as_millis),
        }
    }
}

/// Whether so many letters may be changed by one request.
pub(crate) fn check_number(found: u64, expected: Option<u64>) -> Result<(), NotSelected> {
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(NotSelected::OtherNumber { found, expected });
    }
    match found > LETTERS_CHANGED_MAX as u64 {
        true => Err(NotSelected::TooMany { found }),
        false => Ok(()),
    }
}

/// What a retry is answered with whose idempotency key was used before.
pub(crate) fn retried(before: Result<Retried, OtherRequest>) -> Once<Retried, NotSelected> {
    before.map_or(Once::Mismatch, Once::Repeated)
}

/// A row that was written by another program.
pub(crate) fn unreadable(id: &str) -> Refusal {
    Refusal::corrupt(format!("{id} is no id of a record"))
}
