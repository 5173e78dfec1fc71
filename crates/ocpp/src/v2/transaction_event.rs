//! `TransactionEvent` (2.x): a transaction starts, continues or ends.

use super::{Evse, IdToken};
use crate::json::{Raw, ReadError};
use crate::meter::MeterValue;
use jiff::Timestamp;
use std::borrow::Cow;

/// `TransactionEventRequest`, flattened: the members of `transactionInfo` are fields of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TransactionEvent<'a> {
    /// `Started`, `Updated`, `Ended`.
    pub event_type: Option<Cow<'a, str>>,
    /// When it happened; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// Its sequence number in the transaction; may start anywhere, gaps are legal.
    pub seq_no: Option<i64>,
    /// Whether it happened while the charger was offline.
    pub offline: Option<bool>,
    /// The reservation that it uses.
    pub reservation_id: Option<i64>,
    /// The transaction's id, chosen by the charger.
    pub transaction_id: Option<Cow<'a, str>>,
    /// `Charging`, `EVConnected`, `SuspendedEV`, `SuspendedEVSE`, `Idle`.
    pub charging_state: Option<Cow<'a, str>>,
    /// Why it ended; absent means `Local`.
    pub stopped_reason: Option<Cow<'a, str>>,
    /// The id of the `RequestStartTransaction` that started it.
    pub remote_start_id: Option<i64>,
    /// The measured values.
    pub meter_value: Vec<MeterValue<'a>>,
    /// The token, in the event in which it was presented.
    pub id_token: Option<IdToken<'a>>,
    /// The EVSE and connector.
    pub evse: Option<Evse>,
}

impl<'a> TransactionEvent<'a> {
    /// Reads the request's payload as leniently as [`crate::v2`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "eventType" => view.event_type = value.text(),
            "seqNo" => view.seq_no = value.integer(),
            "offline" => view.offline = value.boolean(),
            "reservationId" => view.reservation_id = value.integer(),
            "meterValue" => view.meter_value = MeterValue::read_list(value),
            "timestamp" => view.timestamp = value.timestamp(),
            "transactionInfo" => view.read_transaction_info(value),
            "idToken" => view.id_token = IdToken::read(value),
            "evse" => view.evse = Evse::read(value),
            _ => {}
        })?;
        Ok(view)
    }
}

impl<'a> TransactionEvent<'a> {
    fn read_transaction_info(&mut self, raw: Raw<'a>) {
        let _ = raw.members(|name, value| match name {
            "transactionId" => self.transaction_id = value.text(),
            "chargingState" => self.charging_state = value.text(),
            "stoppedReason" => self.stopped_reason = value.text(),
            "remoteStartId" => self.remote_start_id = value.integer(),
            _ => {}
        });
    }
}
