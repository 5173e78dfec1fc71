//! Messages with what belongs to them: the call of an answer, the answer to a call, the command, the transaction.
//!
//! A charger's call and its answer are one record. A call of the central system and the charger's reply are two, because
//! the first is recorded before the frame leaves; here they are joined again.

use super::{MentionFilter, MessageFilter, MessageRow, QueryError, QueryStore, WireId};
use crate::model::{ChargerKey, CommandId, ShownMessage, TransactionView};
use crate::record::{Notes, RecordKind};
use crate::time::Timestamp;
use ocpp::json::Raw;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashMap;
use uuid::Uuid;

/// A message with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageWithPair {
    /// The message.
    #[serde(flatten)]
    pub message: ShownMessage,
    /// Of a call of the central system the reply, or else the end of waiting for it; of these the call.
    pub pair: Option<ShownMessage>,
    /// From the record of a call of the central system to the record of its reply, in milliseconds. `None` for the calls
    /// of chargers: when their answer was sent is not recorded.
    pub latency_ms: Option<i64>,
    /// The command whose call it is, or belongs to.
    pub command_id: Option<CommandId>,
    /// The id on the wire of the transaction that it, or its pair, names.
    pub transaction_id: Option<String>,
    /// The key of that transaction. Where a charger uses an id again, that of the latest transaction that had started.
    pub transaction: Option<Uuid>,
}

/// The call of the central system that a record belongs to.
fn call_of(row: &MessageRow) -> Option<CommandId> {
    let is_of_call = matches!(
        row.kind,
        RecordKind::CallToCharger
            | RecordKind::CallUnanswered
            | RecordKind::CallResult
            | RecordKind::CallError
    );
    if !is_of_call || row.notes.has(Notes::UNSOLICITED) {
        return None;
    }
    CommandId::from_message_id(&row.message_id)
}

const fn is_reply(row: &MessageRow) -> bool {
    matches!(row.kind, RecordKind::CallResult | RecordKind::CallError)
}

/// The pair of a message among the messages of its call.
fn pair_of<'a>(row: &MessageRow, of_call: &'a [MessageRow]) -> Option<&'a MessageRow> {
    let find = |is: fn(&MessageRow) -> bool| of_call.iter().find(|other| is(other));
    match row.kind {
        RecordKind::CallToCharger => {
            find(is_reply).or_else(|| find(|other| other.kind == RecordKind::CallUnanswered))
        }
        _ => find(|other| other.kind == RecordKind::CallToCharger),
    }
}

/// The transaction id that a message names, as the charger or the central system wrote it. Members of the payload take
/// precedence; the answer to the start of a transaction of 1.6 has its id.
fn transaction_id(row: &MessageRow) -> Option<String> {
    let mut id = None;
    let mut take = |name: &str, value: Raw<'_>| {
        if name == "transactionId" && id.is_none() {
            id = value.text().map(Cow::into_owned);
        }
    };
    let _ = Raw::new(&row.payload).members(|name, value| match name {
        "transactionInfo" | "chargingProfile" | "csChargingProfiles" => {
            let _ = value.members(&mut take);
        }
        _ => take(name, value),
    });
    if row.kind == RecordKind::Call {
        let _ = Raw::new(&row.answer).members(&mut take);
    }
    id.filter(|id| !id.is_empty())
}

/// Of the transactions with one id, the latest that had started when a message was received.
fn started_before(views: &[TransactionView], received_at: Timestamp) -> Option<&TransactionView> {
    views
        .iter()
        .filter(|view| view.started_at.is_none_or(|at| at <= received_at))
        .max_by_key(|view| view.started_at)
        .or_else(|| views.iter().min_by_key(|view| view.started_at))
}

/// These messages, each with what belongs to it.
///
/// # Errors
/// When the database cannot be read now.
pub fn with_pairs(
    store: &dyn QueryStore,
    rows: Vec<MessageRow>,
) -> Result<Vec<MessageWithPair>, QueryError> {
    let by_call = by_call(store, &rows)?;
    let pairs: Vec<Option<MessageRow>> = rows
        .iter()
        .map(|row| {
            let of_call = by_call.get(&call_of(row)?)?;
            pair_of(row, of_call).cloned()
        })
        .collect();
    let ids: Vec<Option<WireId>> = rows
        .iter()
        .zip(&pairs)
        .map(|(row, pair)| {
            let id = transaction_id(row).or_else(|| transaction_id(pair.as_ref()?))?;
            let charger = ChargerKey::of(&row.charger_id);
            Some(WireId { charger, id })
        })
        .collect();
    let mut wanted: Vec<WireId> = ids.iter().flatten().cloned().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut transactions: HashMap<WireId, Vec<TransactionView>> = HashMap::new();
    if !wanted.is_empty() {
        for view in store.transactions_on_wire(&wanted)? {
            let charger = ChargerKey::of(&view.charger_id);
            let id = view.transaction_id.clone();
            let of_id = transactions.entry(WireId { charger, id }).or_default();
            of_id.push(view);
        }
    }
    let items = rows.into_iter().zip(pairs).zip(ids);
    let items = items.map(|((row, pair), id)| {
        let views = id.as_ref().and_then(|id| transactions.get(id));
        let latency_ms = pair.as_ref().and_then(|pair| {
            let answered = is_reply(&row) || is_reply(pair);
            let took = row.received_at.as_millis() - pair.received_at.as_millis();
            answered.then_some(took.saturating_abs())
        });
        MessageWithPair {
            latency_ms,
            command_id: call_of(&row),
            transaction: views
                .and_then(|views| started_before(views, row.received_at))
                .map(|view| view.key),
            transaction_id: id.map(|id| id.id),
            message: row.into(),
            pair: pair.map(ShownMessage::from),
        }
    });
    Ok(items.collect())
}

/// The messages of the calls of the central system that these rows belong to, by call.
fn by_call(
    store: &dyn QueryStore,
    rows: &[MessageRow],
) -> Result<HashMap<CommandId, Vec<MessageRow>>, QueryError> {
    let mut calls: Vec<CommandId> = rows.iter().filter_map(call_of).collect();
    calls.sort_unstable();
    calls.dedup();
    let mut by_call: HashMap<CommandId, Vec<MessageRow>> = HashMap::new();
    if calls.is_empty() {
        return Ok(by_call);
    }
    for row in store.messages_of_calls(&calls)? {
        if let Some(call) = call_of(&row) {
            by_call.entry(call).or_default().push(row);
        }
    }
    Ok(by_call)
}

/// Leaves out the calls of the central system whose pair the filter selects too. The pair is recorded later in the same
/// journal, so whoever follows the list after the call sees the answer, and with it the call.
///
/// # Errors
/// When the database cannot be read now.
pub fn without_answered_calls(
    store: &dyn QueryStore,
    filter: &MessageFilter,
    mut rows: Vec<MessageRow>,
) -> Result<Vec<MessageRow>, QueryError> {
    let by_call = by_call(store, &rows)?;
    rows.retain(|row| {
        let of_call = call_of(row).and_then(|call| by_call.get(&call));
        let pair = of_call.and_then(|of_call| pair_of(row, of_call));
        row.kind != RecordKind::CallToCharger || !pair.is_some_and(|pair| filter.has(pair))
    });
    Ok(rows)
}

/// How long before its start and after its end messages of a transaction are looked for: 24 hours.
const MARGIN_MS: i64 = 86_400_000;

/// Which messages are of a transaction: those of its charger that name its id, received from 24 hours before its start
/// until 24 hours after its end (while it is open: until now). A stop that names no transaction is found by the time of its
/// reception.
#[derive(Debug, Clone)]
pub struct SessionMessages {
    /// Which messages may be of it.
    pub filter: MentionFilter,
    /// All transactions with its id.
    of_id: Vec<TransactionView>,
    key: Uuid,
}

impl SessionMessages {
    /// Of this transaction, at `now`.
    ///
    /// # Errors
    /// When the database cannot be read now.
    pub fn of(
        store: &dyn QueryStore,
        view: &TransactionView,
        now: Timestamp,
    ) -> Result<Self, QueryError> {
        let of_id = store.transactions_on_wire(&[WireId {
            charger: ChargerKey::of(&view.charger_id),
            id: view.transaction_id.clone(),
        }])?;
        let received: Vec<Timestamp> = view.source.received_at().collect();
        let times = || {
            let shown = [view.started_at, view.ended_at, view.last_at];
            let shown = shown.into_iter().flatten();
            shown
                .chain(view.source.times())
                .chain(received.iter().copied())
        };
        let first = times().min().unwrap_or_default();
        let last = times().max().filter(|_| !view.open).unwrap_or(now);
        Ok(Self {
            filter: MentionFilter {
                charger: view.charger_id.clone(),
                from: first.plus_millis(-MARGIN_MS),
                to: last.max(first).plus_millis(MARGIN_MS),
                text: view.transaction_id.clone(),
                at: received,
            },
            of_id,
            key: view.key,
        })
    }

    /// Whether a message that the filter selects is of the transaction.
    #[must_use]
    pub fn has(&self, row: &MessageRow) -> bool {
        let Some(id) = transaction_id(row) else {
            return false;
        };
        if id != self.filter.text {
            // The start or the stop, whose id names no transaction.
            let names_nothing = id.parse::<i64>().is_ok_and(|id| id <= 0);
            return names_nothing && self.filter.at.contains(&row.received_at);
        }
        let found = started_before(&self.of_id, row.received_at);
        found.is_none_or(|view| view.key == self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::sample;

    fn row(payload: &str, answer: &str) -> MessageRow {
        MessageRow {
            payload: payload.to_owned(),
            answer: answer.to_owned(),
            ..sample::message("CP-1", 1, "DataTransfer")
        }
    }

    #[test]
    fn the_transaction_that_a_message_names_is_found_in_its_payload_or_its_answer() {
        for (payload, answer, id) in [
            (r#"{"transactionId":7}"#, "{}", Some("7")),
            (r#"{"transactionId":"a-7"}"#, "{}", Some("a-7")),
            (
                r#"{"transactionInfo":{"transactionId":"x"}}"#,
                "{}",
                Some("x"),
            ),
            (
                r#"{"csChargingProfiles":{"transactionId":9}}"#,
                "{}",
                Some("9"),
            ),
            ("{}", r#"{"transactionId":5}"#, Some("5")),
            (
                r#"{"transactionId":1}"#,
                r#"{"transactionId":5}"#,
                Some("1"),
            ),
            (r#"{"other":{"transactionId":1}}"#, "{}", None),
            ("{broken", "", None),
            (r#"{"transactionId":""}"#, "{}", None),
        ] {
            assert_eq!(
                transaction_id(&row(payload, answer)).as_deref(),
                id,
                "{payload}"
            );
        }
        let reply = MessageRow {
            kind: RecordKind::CallResult,
            ..row("{}", r#"{"transactionId":5}"#)
        };
        assert_eq!(transaction_id(&reply), None, "only a call has an answer");
    }

    #[test]
    fn a_message_is_of_the_latest_transaction_with_its_id_that_had_started() {
        let views = [3, 1, 2].map(|number| sample::transaction("CP-1", number, false));
        let at = |seconds: i64| Timestamp(sample::START + 1_000 * seconds);
        let key = |at| started_before(&views, at).map(|view| view.key.as_u128());
        assert_eq!(key(at(2)), Some(2));
        assert_eq!(key(at(99)), Some(3));
        assert_eq!(key(at(0)), Some(1), "before all, it is of the first");
        assert!(started_before(&[], at(9)).is_none());
    }
}
