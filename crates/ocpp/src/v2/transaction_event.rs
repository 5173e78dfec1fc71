//! A transaction begins, goes on or ends (2.x).

use super::{Evse, IdToken};
use crate::json::{Raw, ReadError};
use crate::meter::MeterValue;
use jiff::Timestamp;
use std::borrow::Cow;

/// `TransactionEventRequest`, with what is nested in `transactionInfo` laid flat. A resend is
/// known by transaction id and seqNo (ocpp-rules 2.3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TransactionEvent<'a> {
    /// `Started`, `Updated`, `Ended`.
    pub event_type: Option<Cow<'a, str>>,
    /// When it happened; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// The moment as it was written, to recognise a resend by.
    pub timestamp_text: Option<Cow<'a, str>>,
    /// Why it was sent.
    pub trigger_reason: Option<Cow<'a, str>>,
    /// Its place in the transaction; may start anywhere, gaps are legal.
    pub seq_no: Option<i64>,
    /// Whether it happened while the charger was offline.
    pub offline: Option<bool>,
    /// How many phases it charges with.
    pub number_of_phases_used: Option<i64>,
    /// What the cable can carry, in A.
    pub cable_max_current: Option<f64>,
    /// The reservation that it uses up.
    pub reservation_id: Option<i64>,
    /// The charger's own id of the transaction.
    pub transaction_id: Option<Cow<'a, str>>,
    /// `Charging`, `EVConnected`, `SuspendedEV`, `SuspendedEVSE`, `Idle`.
    pub charging_state: Option<Cow<'a, str>>,
    /// How long energy has flowed, in s.
    pub time_spent_charging: Option<i64>,
    /// Why it ended; absent means `Local`.
    pub stopped_reason: Option<Cow<'a, str>>,
    /// The `RequestStartTransaction` that began it.
    pub remote_start_id: Option<i64>,
    /// What was measured.
    pub meter_value: Vec<MeterValue<'a>>,
    /// The token, when it was presented just now.
    pub id_token: Option<IdToken<'a>>,
    /// Where.
    pub evse: Option<Evse>,
}

impl<'a> TransactionEvent<'a> {
    /// Reads the request's payload; see [`crate::v2`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "eventType" => view.event_type = value.text(),
            "triggerReason" => view.trigger_reason = value.text(),
            "seqNo" => view.seq_no = value.integer(),
            "offline" => view.offline = value.boolean(),
            "numberOfPhasesUsed" => view.number_of_phases_used = value.integer(),
            "cableMaxCurrent" => view.cable_max_current = value.number(),
            "reservationId" => view.reservation_id = value.integer(),
            "meterValue" => view.meter_value = MeterValue::read_list(value),
            "timestamp" => {
                view.timestamp = value.timestamp();
                view.timestamp_text = value.text();
            }
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
            "timeSpentCharging" => self.time_spent_charging = value.integer(),
            "stoppedReason" => self.stopped_reason = value.text(),
            "remoteStartId" => self.remote_start_id = value.integer(),
            _ => {}
        });
    }
}
