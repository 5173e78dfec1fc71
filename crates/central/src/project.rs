//! Projections: which changes of state follow from a record. The same record always yields the same changes.
//!
//! Total: a message that cannot be understood changes nothing, and is still stored as a message. The modules are by what
//! changes; what each action changes is in its file in `crate::actions`.

pub(crate) mod charger;
mod command;
pub(crate) mod event;
pub(crate) mod meter;
pub(crate) mod place;
pub(crate) mod status;
pub(crate) mod transaction;

use crate::model::{
    ChargerKey, ChargerState, CommandId, CommandProgress, ConnectorState, EffectState, EventRow,
    GatewayState, Merge, MeterValueRow, PresentedToken, QuirkOfRecord, RefusedTokenView, Stamp,
    TransactionState,
};
use crate::record::{AnswerKind, GatewayId, Record, RecordId, RecordKind};
use crate::{Quirk, Timestamp, actions};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a set of records changes in the database. The records of a batch are absorbed into one value, so that each row is
/// written once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// By charger.
    pub chargers: BTreeMap<ChargerKey, ChargerState>,
    /// By (charger, EVSE, connector); the EVSE is 0 for OCPP 1.6.
    pub connectors: BTreeMap<(ChargerKey, i64, i64), ConnectorState>,
    /// By (charger, transaction id as on the wire).
    pub transactions: BTreeMap<(ChargerKey, String), TransactionState>,
    /// By command, of which the charger is known from its request.
    pub commands: BTreeMap<CommandId, CommandProgress>,
    /// By command. A store adds them, because which message is the effect of which command depends on the requests that
    /// it has, see [`crate::effect`].
    pub effects: BTreeMap<CommandId, EffectState>,
    /// By gateway.
    pub gateways: BTreeMap<GatewayId, GatewayState>,
    /// Insert or ignore by (charger, at, key hash).
    pub meter_values: Vec<MeterValueRow>,
    /// Insert or ignore by (charger, at, key hash).
    pub events: Vec<EventRow>,
    /// To be counted once for each record.
    pub quirks: Vec<(ChargerKey, QuirkOfRecord)>,
    /// Tokens that were refused, or not known. To be counted once for each record.
    pub presented: Vec<(ChargerKey, PresentedToken)>,
}

impl Changes {
    /// What all these records change.
    ///
    /// Projecting should never panic. If it does for a record, that record changes nothing, because otherwise it would
    /// block all records after it. Also returns the indices of such records.
    #[must_use]
    pub fn of(records: &[(RecordId, Record<'_>)]) -> (Self, Vec<usize>) {
        Self::of_by(records, Self::absorb)
    }

    fn of_by(
        records: &[(RecordId, Record<'_>)],
        absorb: impl Fn(&mut Self, RecordId, &Record<'_>),
    ) -> (Self, Vec<usize>) {
        let mut panicked = Vec::new();
        loop {
            let mut changes = Self::default();
            let next = (0..).zip(records).find(|(at, (id, record))| {
                !panicked.contains(at)
                    && catch_unwind(AssertUnwindSafe(|| absorb(&mut changes, *id, record))).is_err()
            });
            // A part of it may be among the changes, so begin again without it.
            match next {
                Some((at, _)) => panicked.push(at),
                None => return (changes, panicked),
            }
        }
    }

    /// Adds what `record` changes.
    pub fn absorb(&mut self, id: RecordId, record: &Record<'_>) {
        if record.kind == RecordKind::GatewayStarted {
            let state = GatewayState {
                started_epoch: record.epoch,
                started_at: record.received_at,
                alive_at: None,
            };
            return self.gateways.entry(id.gateway).or_default().merge(state);
        }
        if record.charger_id.is_empty() {
            return;
        }
        let charger = ChargerKey::of(record.charger_id);
        let source = Source {
            id,
            record,
            charger: &charger,
        };
        if !matches!(
            record.kind,
            RecordKind::CallToCharger | RecordKind::CallUnanswered
        ) {
            charger::seen(self, &source);
        }
        for quirk in Quirk::of(record.kind, record.notes) {
            let at = record.received_at;
            let of_record = QuirkOfRecord {
                record: id,
                quirk,
                at,
            };
            self.quirks.push((charger.clone(), of_record));
        }
        let is_accepted = match record.kind {
            // A refused call changes nothing; the charger knows that it was refused.
            RecordKind::Call => record.answer_kind == AnswerKind::Result,
            RecordKind::Send => true,
            RecordKind::Connected | RecordKind::Disconnected => {
                return charger::connection(self, &source);
            }
            RecordKind::CallToCharger
            | RecordKind::CallUnanswered
            | RecordKind::CallResult
            | RecordKind::CallError => return command::progress(self, &source),
            RecordKind::CallResultError | RecordKind::Unreadable | RecordKind::GatewayStarted => {
                false
            }
        };
        if is_accepted {
            self.absorb_message(&source);
        }
    }

    fn absorb_message(&mut self, source: &Source<'_>) {
        match actions::find(source.record.ocpp_version, source.record.action) {
            Some(row) => {
                if let Some(presented) = (row.action.presents)(source.record) {
                    let token = PresentedToken::new(source.id, source.record, presented);
                    self.presented.push((source.charger.clone(), token));
                }
                (row.action.project)(self, source);
            }
            // A SEND with an unknown action.
            None => event::other(self, source),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chargers.is_empty()
            && self.connectors.is_empty()
            && self.transactions.is_empty()
            && self.commands.is_empty()
            && self.effects.is_empty()
            && self.gateways.is_empty()
            && self.meter_values.is_empty()
            && self.events.is_empty()
            && self.quirks.is_empty()
            && self.presented.is_empty()
    }

    pub(crate) fn charger(&mut self, charger: &ChargerKey) -> &mut ChargerState {
        self.chargers.entry(charger.clone()).or_default()
    }
}

fn merge_map<K: Ord, V: Merge + Default>(into: &mut BTreeMap<K, V>, from: BTreeMap<K, V>) {
    for (key, state) in from {
        into.entry(key).or_default().merge(state);
    }
}

impl Merge for Changes {
    /// Rows are concatenated; the store ignores repeats.
    fn merge(&mut self, other: Self) {
        merge_map(&mut self.chargers, other.chargers);
        merge_map(&mut self.connectors, other.connectors);
        merge_map(&mut self.transactions, other.transactions);
        merge_map(&mut self.commands, other.commands);
        merge_map(&mut self.effects, other.effects);
        merge_map(&mut self.gateways, other.gateways);
        self.meter_values.extend(other.meter_values);
        self.events.extend(other.events);
        self.quirks.extend(other.quirks);
        self.presented.extend(other.presented);
    }
}

/// The refusal that this record of a message tells a charger of, as events show it; `None` if it refuses no token.
#[must_use]
pub fn refused_token(id: RecordId, record: &Record<'_>) -> Option<RefusedTokenView> {
    if record.kind != RecordKind::Call || record.answer_kind != AnswerKind::Result {
        return None;
    }
    let row = actions::find(record.ocpp_version, record.action)?;
    let token = PresentedToken::new(id, record, (row.action.presents)(record)?);
    token.is_refused().then(|| RefusedTokenView {
        record_id: id.to_string(),
        charger_id: record.charger_id.to_owned(),
        connector: token.presented.connector,
        token: token.presented.id,
        token_type: token.presented.token_type,
        status: token.presented.status,
        action: record.action.to_owned(),
        at: record.received_at,
    })
}

/// The projection of a message that changes nothing.
pub(crate) const fn nothing(_: &mut Changes, _: &Source<'_>) {}

/// The record that is projected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) id: RecordId,
    pub(crate) record: &'a Record<'a>,
    pub(crate) charger: &'a ChargerKey,
}

impl Source<'_> {
    /// The time of what a message reports: the charger's time if it is plausible, even if it is in the future; else when
    /// the gateway read it. Plausibility must not depend on when the message was read: the time is a part of a row's
    /// identity, and a resend is read later.
    pub(crate) fn effective(&self, written: Option<jiff::Timestamp>) -> Timestamp {
        match written.map(Timestamp::from) {
            Some(at) if at.is_plausible() => at,
            _ => self.record.received_at,
        }
    }

    /// The time for comparing with other values: never later than when the gateway read the message, so that a charger's
    /// clock in the future does not make all later values look older.
    pub(crate) fn bounded(&self, at: Timestamp) -> Timestamp {
        at.min(self.record.received_at)
    }

    /// A stamp for the value of time `at` that is number `part` in the record.
    pub(crate) fn stamp(&self, at: Timestamp, part: usize) -> Stamp {
        Stamp {
            at: self.bounded(at),
            received_at: self.record.received_at,
            record: self.id,
            part: u32::try_from(part).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Epoch, Seq, gateway_started};
    use uuid::Uuid;

    #[test]
    fn a_record_whose_projection_panics_changes_nothing_and_blocks_no_other() {
        let bytes: Vec<_> = (1..=5)
            .map(|epoch| gateway_started(Timestamp(9), Epoch(epoch)))
            .collect();
        let records: Vec<_> = (1..)
            .zip(&bytes)
            .map(|(seq, bytes)| {
                let gateway = GatewayId(Uuid::from_u128(seq));
                let seq = Seq(1);
                (
                    RecordId { gateway, seq },
                    Record::decode(bytes).expect("a record"),
                )
            })
            .collect();
        let (changes, panicked) = Changes::of_by(&records, |changes, id, record| {
            changes.absorb(id, record);
            assert!(record.epoch.0 % 2 == 1, "an even one");
        });
        assert_eq!(panicked, [1, 3]);
        let epochs: Vec<_> = changes
            .gateways
            .values()
            .map(|state| state.started_epoch)
            .collect();
        assert_eq!(epochs, [1, 3, 5].map(Epoch));
        assert_eq!(Changes::of(&records).1, [0; 0]);
    }
}
