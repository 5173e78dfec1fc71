//! `ReserveNow` and `CancelReservation`.

use super::{Answer, time};
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde_json::{Value, json};

/// A reservation of one connector. The charger chooses one if the request leaves it open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reservation {
    id: i64,
    connector: usize,
    token: String,
    group: Option<String>,
    pub(super) expires_at: TimestampUs,
}

impl Charger {
    pub(super) fn reserve_now_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let group = payload["parentIdTag"].as_str();
        self.reserve(
            &payload["connectorId"],
            payload["reservationId"].as_i64(),
            &payload["idTag"],
            group,
            time(&payload["expiryDate"]),
            now,
        )
    }

    pub(super) fn reserve_now_2(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let group = payload["groupIdToken"]["idToken"].as_str();
        self.reserve(
            &payload["evseId"],
            payload["id"].as_i64(),
            &payload["idToken"]["idToken"],
            group,
            time(&payload["expiryDateTime"]),
            now,
        )
    }

    fn reserve(
        &mut self,
        connector: &Value,
        id: Option<i64>,
        token: &Value,
        group: Option<&str>,
        expires_at: Option<TimestampUs>,
        now: TimestampUs,
    ) -> Answer {
        let (Some(id), Some(token), Some(expires_at)) = (id, token.as_str(), expires_at) else {
            return Answer::rejected();
        };
        if expires_at <= now {
            return Answer::rejected();
        }
        // The same id replaces the reservation.
        let before = self.take_reservation(|one| one.id == id);
        let found = match connector.as_u64() {
            None | Some(0) => (0..self.connectors.len())
                .find(|&index| self.reservable(index).is_ok())
                .ok_or("Occupied"),
            Some(_) => match self.connector_index(connector) {
                None => Err("Rejected"),
                Some(index) => self.reservable(index).map(|()| index),
            },
        };
        let connector = match found {
            Ok(connector) => connector,
            Err(status) => {
                self.kept().reservations.extend(before);
                return Answer::status(status);
            }
        };
        self.kept().reservations.push(Reservation {
            id,
            connector,
            token: token.to_owned(),
            group: group.map(str::to_owned),
            expires_at,
        });
        for index in before.iter().map(|one| one.connector).chain([connector]) {
            self.send_status(index, now);
        }
        Answer::accepted()
    }

    fn reservable(&self, connector: usize) -> Result<(), &'static str> {
        if self.state.connectors[connector].inoperative {
            Err("Unavailable")
        } else if !self.connectors[connector].is_free() || self.is_reserved(connector) {
            Err("Occupied")
        } else {
            Ok(())
        }
    }

    pub(super) fn cancel_reservation(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let id = payload["reservationId"].as_i64();
        let Some(reservation) = self.take_reservation(|one| Some(one.id) == id) else {
            return Answer::rejected();
        };
        self.send_status(reservation.connector, now);
        Answer::accepted()
    }

    /// Ends the reservations whose time is over.
    pub(super) fn expire_reservations(&mut self, now: TimestampUs) {
        while let Some(reservation) = self.take_reservation(|one| one.expires_at <= now) {
            self.send_status(reservation.connector, now);
            if self.version != Version::V16 {
                let update = json!({
                    "reservationId": reservation.id,
                    "reservationUpdateStatus": "Expired",
                });
                self.push_pending(Action::ReservationStatusUpdate, update.to_string(), 0, now);
            }
        }
    }

    fn take_reservation(&mut self, wanted: impl Fn(&Reservation) -> bool) -> Option<Reservation> {
        let reservations = &mut self.kept.as_mut()?.reservations;
        let index = reservations.iter().position(wanted)?;
        Some(reservations.remove(index))
    }

    /// Whether the connector is reserved.
    pub(in crate::charger) fn is_reserved(&self, connector: usize) -> bool {
        let reservations = self.kept.iter().flat_map(|kept| &kept.reservations);
        reservations
            .into_iter()
            .any(|one| one.connector == connector)
    }

    /// Whether the connector is reserved for another token than `token`.
    pub(in crate::charger) fn is_reserved_for_other(&self, connector: usize, token: &str) -> bool {
        let reservations = self.kept.iter().flat_map(|kept| &kept.reservations);
        reservations
            .into_iter()
            .any(|one| one.connector == connector && !one.is_for(token))
    }

    /// Ends the reservation of a connector that is used, and returns its id.
    pub(in crate::charger) fn use_reservation(&mut self, connector: usize) -> Option<i64> {
        let used = self.take_reservation(|one| one.connector == connector);
        used.map(|one| one.id)
    }
}

impl Reservation {
    fn is_for(&self, token: &str) -> bool {
        let is = |one: &str| one.eq_ignore_ascii_case(token);
        is(&self.token) || self.group.as_deref().is_some_and(is)
    }
}
