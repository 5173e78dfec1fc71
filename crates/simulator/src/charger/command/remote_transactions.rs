//! Commands about transactions: remote start and stop, status, cost.

use super::Answer;
use crate::charger::connectors::Start;
use crate::charger::payload::StopReason;
use crate::charger::{Charger, Registration};
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

impl Charger {
    pub(super) fn remote_start_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let start = Start {
            token: text(&payload["idTag"]),
            ..Start::default()
        };
        let Some(connector) = self.startable(&payload["connectorId"], &start) else {
            return Answer::rejected();
        };
        if let Some(profile) = payload.get("chargingProfile")
            && !self.keep_profile_of_start(connector, profile, "chargingProfileId")
        {
            return Answer::rejected();
        }
        self.remote_start(connector, start, now);
        Answer::accepted()
    }

    pub(super) fn request_start(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let start = Start {
            token: text(&payload["idToken"]["idToken"]),
            remote_start_id: payload["remoteStartId"].as_i64(),
            ..Start::default()
        };
        let Some(connector) = self.startable(&payload["evseId"], &start) else {
            return self.status_because("Rejected", "NotEnabled");
        };
        if let Some(profile) = payload.get("chargingProfile")
            && !self.keep_profile_of_start(connector, profile, "id")
        {
            return self.status_because("Rejected", "InvalidProfile");
        }
        self.remote_start(connector, start, now);
        Answer::accepted()
    }

    /// The connector at which this start is possible. B-5: none before the charger is accepted.
    fn startable(&self, connector: &Value, start: &Start) -> Option<usize> {
        let is_asked = !connector.is_null();
        let connector = is_asked.then(|| {
            let number = connector.as_u64().and_then(|one| u8::try_from(one).ok());
            number.unwrap_or(0)
        });
        let can_start = self.registration == Registration::Accepted && !start.token.is_empty();
        can_start
            .then(|| self.can_start(connector, &start.token))
            .flatten()
    }

    /// Begins a transaction, or first asks whether the token is accepted, if the device model says so.
    fn remote_start(&mut self, connector: usize, start: Start, now: TimestampUs) {
        if self.authorizes_remote_starts() {
            self.authorize(connector, start, now);
        } else {
            self.begin(connector, start, now);
        }
    }

    pub(super) fn remote_stop_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let id = payload["transactionId"].as_i64();
        let connector = self.connector_of(|open| {
            id.is_some() && self.state.wire_ids.get(&open.number).copied() == id
        });
        self.remote_stop(connector, now)
    }

    pub(super) fn request_stop(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let id = text(&payload["transactionId"]);
        let connector = self.connector_of(|open| open.id == id);
        self.remote_stop(connector, now)
    }

    fn remote_stop(&mut self, connector: Option<usize>, now: TimestampUs) -> Answer {
        let Some(connector) = connector else {
            return self.status_because("Rejected", "TxNotFound");
        };
        self.stop(connector, StopReason::Remote, now);
        Answer::accepted()
    }

    /// Answers `GetTransactionStatus` (rule Q-26).
    pub(super) fn transaction_status(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let mut answer = json!({"messagesInQueue": !self.queue.is_empty()});
        if let Some(id) = payload["transactionId"].as_str() {
            answer["ongoingIndicator"] = json!(self.has_transaction(id));
            let member = format!(r#""transactionId":"{id}""#);
            let in_queue = self.queue.iter().any(|one| one.payload.contains(&member));
            answer["messagesInQueue"] = json!(in_queue);
        }
        Answer::Result(answer)
    }

    /// A charger shows the cost; a simulated one has nothing to show it on.
    pub(super) fn cost_updated(&mut self, _: &Value, _: TimestampUs) -> Answer {
        Answer::empty()
    }

    pub(super) fn use_priority_charging(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        if !self.has_transaction(&text(&payload["transactionId"])) {
            return self.status_because("Rejected", "TxNotFound");
        }
        Answer::status_if(self.has_priority_profile(), "Accepted", "NoProfile")
    }

    pub(super) fn notify_allowed_energy_transfer(
        &mut self,
        payload: &Value,
        _: TimestampUs,
    ) -> Answer {
        if self.has_transaction(&text(&payload["transactionId"])) {
            Answer::accepted()
        } else {
            self.status_because("Rejected", "TxNotFound")
        }
    }

    /// Whether the transaction with this id runs (2.x).
    pub(super) fn has_transaction(&self, id: &str) -> bool {
        self.connector_of(|open| open.id == id).is_some()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
