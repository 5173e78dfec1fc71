//! `ChangeAvailability` and `UnlockConnector`.

use super::Answer;
use crate::charger::Charger;
use crate::charger::payload::StopReason;
use crate::timestamp::TimestampUs;
use serde_json::Value;

impl Charger {
    pub(super) fn change_availability_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let connectors = match payload["connectorId"].as_u64() {
            Some(0) => self.all_connectors(),
            _ => match self.connector_index(&payload["connectorId"]) {
                None => return Answer::rejected(),
                Some(index) => vec![index],
            },
        };
        let is_operative = payload["type"].as_str() == Some("Operative");
        self.change_availability(&connectors, is_operative, now)
    }

    pub(super) fn change_availability_2(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let evse = &payload["evse"];
        let connectors = match evse["id"].as_u64() {
            None | Some(0) => self.all_connectors(),
            _ => match self.connector_index(&evse["id"]) {
                Some(index) if evse["connectorId"].as_u64().is_none_or(|one| one == 1) => {
                    vec![index]
                }
                _ => return self.status_because("Rejected", "UnknownEvse"),
            },
        };
        let is_operative = payload["operationalStatus"].as_str() == Some("Operative");
        self.change_availability(&connectors, is_operative, now)
    }

    fn all_connectors(&self) -> Vec<usize> {
        (0..self.connectors.len()).collect()
    }

    /// A connector with a running transaction changes at its end.
    fn change_availability(
        &mut self,
        connectors: &[usize],
        is_operative: bool,
        now: TimestampUs,
    ) -> Answer {
        let mut scheduled = false;
        for &index in connectors {
            let connector = &mut self.connectors[index];
            if connector.is_charging() && !is_operative {
                connector.becomes_inoperative = true;
                scheduled = true;
                continue;
            }
            connector.becomes_inoperative = false;
            self.state.connectors[index].inoperative = !is_operative;
            self.send_status(index, now);
        }
        Answer::status_if(scheduled, "Scheduled", "Accepted")
    }

    pub(super) fn unlock_connector_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let Some(index) = self.connector_index(&payload["connectorId"]) else {
            return Answer::status("NotSupported");
        };
        self.stop(index, StopReason::UnlockCommand, now);
        Answer::status("Unlocked")
    }

    pub(super) fn unlock_connector_2(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        match self.connector_index(&payload["evseId"]) {
            Some(index) if payload["connectorId"].as_u64() == Some(1) => Answer::status_if(
                self.connectors[index].is_charging(),
                "OngoingAuthorizedTransaction",
                "Unlocked",
            ),
            _ => Answer::status("UnknownConnector"),
        }
    }
}
