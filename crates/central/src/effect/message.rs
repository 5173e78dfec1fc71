//! The members of commands and of chargers' messages that tell which message follows which command.

use super::Place;
use crate::model::ChargerKey;
use crate::record::Record;
use crate::time::Timestamp;
use crate::transaction_id::transaction_id;
use ocpp::json::Raw;
use std::borrow::Cow;

/// What a payload says; a member that is missing or unreadable is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Message {
    pub(super) place: Place,
    pub(super) token: Option<String>,
    pub(super) transaction_id: Option<String>,
    pub(super) remote_start_id: Option<i64>,
    pub(super) reservation_id: Option<i64>,
    pub(super) request_id: Option<i64>,
    pub(super) requested_message: Option<String>,
    pub(super) availability: Option<String>,
    pub(super) status: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) trigger_reason: Option<String>,
    pub(super) seq_no: Option<i64>,
    pub(super) tbc: Option<bool>,
    pub(super) report: Option<bool>,
    /// Whether it ends a transaction.
    pub(super) is_end: bool,
    timestamp: Option<jiff::Timestamp>,
    /// Availabilities in a `NotifyEvent`.
    pub(super) availabilities: Vec<(Place, String)>,
}

impl Message {
    pub(super) fn read(action: &str, payload: &str) -> Self {
        let mut message = Self {
            is_end: action == "StopTransaction",
            ..Self::default()
        };
        let text = |value: Raw<'_>| value.text().map(Cow::into_owned);
        let _ = Raw::new(payload).members(|name, value| match name {
            "connectorId" => message.place.connector = value.integer(),
            "evseId" => message.place.evse = value.integer(),
            "evse" => message.place = evse(value),
            "idTag" => message.token = text(value),
            "transactionId" => message.transaction_id = text(value),
            "transactionInfo" => {
                let _ = value.members(|name, value| match name {
                    "transactionId" => message.transaction_id = text(value),
                    "remoteStartId" => message.remote_start_id = value.integer(),
                    _ => {}
                });
            }
            "remoteStartId" => message.remote_start_id = value.integer(),
            "reservationId" => message.reservation_id = value.integer(),
            // ReserveNow of 2.x, whose other `id`s are texts.
            "id" if action == "ReserveNow" => message.reservation_id = value.integer(),
            "requestId" => message.request_id = value.integer(),
            "requestedMessage" => message.requested_message = text(value),
            "type" if action == "ChangeAvailability" => message.availability = text(value),
            "operationalStatus" => message.availability = text(value),
            "status" | "connectorStatus" | "reservationUpdateStatus" => {
                message.status = text(value);
            }
            "reason" => message.reason = text(value),
            "eventType" => message.event_type = text(value),
            "triggerReason" => message.trigger_reason = text(value),
            "seqNo" => message.seq_no = value.integer(),
            "tbc" => message.tbc = value.boolean(),
            "report" => message.report = value.boolean(),
            "timestamp" => message.timestamp = value.timestamp(),
            "eventData" => {
                let _ = value.items(|item| message.availabilities.extend(availability(item)));
            }
            _ => {}
        });
        message.is_end |= message.event_type.as_deref() == Some("Ended");
        message
    }

    /// When it happened by the charger's clock, if that is set, and never later than its reception.
    pub(super) fn bounded_at(&self, received_at: Timestamp) -> Timestamp {
        match self.timestamp.map(Timestamp::from) {
            Some(at) if at.is_plausible() => at.min(received_at),
            _ => received_at,
        }
    }
}

fn evse(raw: Raw<'_>) -> Place {
    let mut place = Place::default();
    let _ = raw.members(|name, value| match name {
        "id" => place.evse = value.integer(),
        "connectorId" => place.connector = value.integer(),
        _ => {}
    });
    place
}

/// The availability that an event of the device model reports.
fn availability(event: Raw<'_>) -> Option<(Place, String)> {
    let mut place = Place::default();
    let (mut value_of, mut is_availability) = (None, false);
    let _ = event.members(|name, value| match name {
        "actualValue" => value_of = value.text().map(Cow::into_owned),
        "component" => {
            let _ = value.members(|name, value| {
                if name == "evse" {
                    place = evse(value);
                }
            });
        }
        "variable" => {
            let _ = value.members(|name, value| {
                if name == "name" {
                    is_availability = value
                        .text()
                        .is_some_and(|name| name.eq_ignore_ascii_case("AvailabilityState"));
                }
            });
        }
        _ => {}
    });
    value_of
        .filter(|_| is_availability)
        .map(|value| (place, value))
}

/// The id on the wire of the transaction that a StartTransaction (1.6) starts: the one in the answer.
pub(super) fn started_id(record: &Record<'_>) -> String {
    let mut id = None;
    let _ = Raw::new(record.answer).members(|name, value| {
        if name == "transactionId" {
            id = value.integer();
        }
    });
    let derived = || {
        i64::from(transaction_id(
            &ChargerKey::of(record.charger_id),
            record.payload,
        ))
    };
    id.unwrap_or_else(derived).to_string()
}
