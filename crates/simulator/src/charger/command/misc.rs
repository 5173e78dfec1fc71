//! Commands without a lasting effect.

use super::Answer;
use super::jobs::{JobKind, Step};
use crate::charger::Charger;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

/// The vendor whose `DataTransfer` messages the charger knows.
const VENDOR: &str = "Wattpost";
/// The one message of that vendor: its data is sent back.
const ECHO: &str = "Echo";

impl Charger {
    /// A simulated charger caches no tokens, so its cache is always clear.
    pub(super) fn clear_cache(&mut self, _: &Value, _: TimestampUs) -> Answer {
        Answer::accepted()
    }

    pub(super) fn data_transfer(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        if payload["vendorId"].as_str() != Some(VENDOR) {
            return Answer::status("UnknownVendorId");
        }
        if payload["messageId"].as_str() != Some(ECHO) {
            return Answer::status("UnknownMessageId");
        }
        let mut answer = json!({"status": "Accepted"});
        if let Some(data) = payload.get("data") {
            answer["data"] = data.clone();
        }
        Answer::Result(answer)
    }

    /// A profile for the next connection is checked, but a simulated charger stays with its central system.
    pub(super) fn set_network_profile(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let data = &payload["connectionData"];
        let is_possible = payload["configurationSlot"]
            .as_u64()
            .is_some_and(|slot| (1..=3).contains(&slot))
            && data["ocppTransport"].as_str() == Some("JSON")
            && data["ocppCsmsUrl"]
                .as_str()
                .is_some_and(|url| url.starts_with("ws://") || url.starts_with("wss://"));
        if is_possible {
            Answer::accepted()
        } else {
            self.status_because("Rejected", "InvalidNetworkConf")
        }
    }

    /// The charger follows a signal only if a profile says how.
    pub(super) fn afrr_signal(&mut self, _: &Value, _: TimestampUs) -> Answer {
        if self.follows_signals() {
            Answer::accepted()
        } else {
            self.status_because("Rejected", "NoProfile")
        }
    }

    /// A charger shows that a payment was begun elsewhere; a simulated one has nothing to show it on.
    pub(super) fn notify_web_payment_started(&mut self, _: &Value, _: TimestampUs) -> Answer {
        Answer::empty()
    }

    pub(super) fn request_battery_swap(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let battery = json!({"evseId": 1, "serialNumber": "SIM-BATTERY-1", "soC": 95, "soH": 96});
        // Without additional information, whose length has no bound.
        let token = &payload["idToken"];
        let token = json!({"idToken": token["idToken"], "type": token["type"]});
        let extra = json!({"idToken": token, "batteryData": [battery]});
        let steps = [Step::Say("BatteryIn"), Step::Say("BatteryOut")];
        let request_id = payload.get("requestId").cloned();
        self.begin_job(JobKind::BatterySwap, request_id, extra, steps, now);
        Answer::accepted()
    }
}
