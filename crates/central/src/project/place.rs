//! The EVSE and connector that a message names.
//!
//! OCPP numbers both from 1 without gaps, so a large number is a mistake. The status of each has a row that stays for
//! ever, so one charger could fill the database. Numbers out of range therefore get no such row; sessions, meter values
//! and events have them as they were written. The limit is on the numbers, not on how many there are, so that the result
//! does not depend on the order of arrival.

use crate::Quirk;
use crate::record::Notes;
use ocpp::json::Raw;
use ocpp::v2;

/// The highest connectorId of OCPP 1.6.
const CONNECTOR_V16_MAX: i64 = 255;
/// The highest EVSE of OCPP 2.x.
const EVSE_MAX: i64 = 63;
/// The highest connector of an EVSE of OCPP 2.x.
const CONNECTOR_MAX: i64 = 7;

/// An EVSE and a connector; 1.6 has no EVSEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) evse: Option<i64>,
    pub(crate) connector: Option<i64>,
}

impl Place {
    pub(crate) const fn of_connector(connector: Option<i64>) -> Self {
        Self {
            evse: None,
            connector,
        }
    }

    pub(crate) const fn of_evse(evse: Option<v2::Evse>) -> Self {
        match evse {
            Some(evse) => Self {
                evse: evse.id,
                connector: evse.connector_id,
            },
            None => Self {
                evse: None,
                connector: None,
            },
        }
    }

    pub(crate) const fn of_evse_and_connector((evse, connector): (i64, i64)) -> Self {
        Self {
            evse: Some(evse),
            connector: Some(connector),
        }
    }

    /// Whether it may have a row of its own.
    pub(crate) fn is_in_range(self) -> bool {
        let connector_max = match self.evse {
            None => CONNECTOR_V16_MAX,
            Some(_) => CONNECTOR_MAX,
        };
        let is_within =
            |number: Option<i64>, max| number.is_none_or(|number| (0..=max).contains(&number));
        is_within(self.evse, EVSE_MAX) && is_within(self.connector, connector_max)
    }

    pub(crate) const fn is_named(self) -> bool {
        self.evse.is_some() || self.connector.is_some()
    }
}

/// The note of a message that names a place out of range, in any of the forms in which messages name places:
/// `connectorId` and `evseId` of the payload, `evse` of the payload or of the component of an event.
pub(crate) fn note(payload: &str) -> Notes {
    let mut own = Place::default();
    let mut is_in_range = true;
    let _ = Raw::new(payload).members(|name, value| match name {
        "connectorId" => own.connector = value.integer(),
        "evseId" => own.evse = value.integer(),
        "evse" => is_in_range &= of_raw(value).is_in_range(),
        "eventData" => {
            let _ = value.items(|event| is_in_range &= of_event(event).is_in_range());
        }
        _ => {}
    });
    match is_in_range && own.is_in_range() {
        true => Notes::default(),
        false => Quirk::PlaceOutOfRange.note(),
    }
}

fn of_event(event: Raw<'_>) -> Place {
    let mut place = Place::default();
    let _ = event.members(|name, value| {
        if name == "component" {
            let _ = value.members(|name, value| {
                if name == "evse" {
                    place = of_raw(value);
                }
            });
        }
    });
    place
}

fn of_raw(evse: Raw<'_>) -> Place {
    let mut place = Place::default();
    let _ = evse.members(|name, value| match name {
        "id" => place.evse = value.integer(),
        "connectorId" => place.connector = value.integer(),
        _ => {}
    });
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_noted_wherever_a_message_names_a_place() {
        let is_noted = |payload: &str| note(payload) == Quirk::PlaceOutOfRange.note();
        for in_range in [
            r#"{"connectorId":0}"#,
            r#"{"connectorId":255}"#,
            r#"{"evseId":63,"connectorId":7}"#,
            r#"{"connectorId":7,"evseId":63}"#,
            r#"{"evse":{"id":63,"connectorId":7}}"#,
            r#"{"evse":{"id":0}}"#,
            r#"{"eventData":[{"component":{"evse":{"id":1}}},{}]}"#,
            r#"{"connectorId":null}"#,
            "[]",
            "",
        ] {
            assert!(!is_noted(in_range), "{in_range}");
        }
        for out_of_range in [
            r#"{"connectorId":256}"#,
            r#"{"connectorId":-1}"#,
            r#"{"connectorId":"300"}"#,
            r#"{"evseId":64}"#,
            r#"{"evseId":-1,"connectorId":1}"#,
            r#"{"connectorId":8,"evseId":1}"#,
            r#"{"evse":{"id":64}}"#,
            r#"{"evse":{"connectorId":8,"id":1}}"#,
            r#"{"eventData":[{},{"component":{"evse":{"id":1,"connectorId":9223372036854775807}}}]}"#,
        ] {
            assert!(is_noted(out_of_range), "{out_of_range}");
        }
    }
}
