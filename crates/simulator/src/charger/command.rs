//! Calls of the central system. Remote start and stop, reset, triggers and four settings are implemented; all other calls
//! are rejected or answered as not supported.

use super::message::Action;
use super::payload::{self, Status, StopReason};
use super::{Charger, Registration};
use crate::timestamp::TimestampUs;
use ocpp::frame::{self, Call};
use ocpp::{ErrorCode, Version};
use serde_json::{Value, json};
use std::time::Duration;

/// What the charger does after it has answered a call.
#[derive(Debug)]
pub(super) enum Effect {
    Nothing,
    Start {
        connector: usize,
        token: String,
        remote_start_id: Option<i64>,
    },
    Stop(usize),
    Reset,
    Trigger(Trigger, Option<u8>),
}

/// The messages that `TriggerMessage` can request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trigger {
    Boot,
    Heartbeat,
    Status,
    Meter,
}

enum Answer {
    Result(Value, Effect),
    Error(ErrorCode),
}

impl Answer {
    fn status(status: &str) -> Self {
        Self::Result(json!({ "status": status }), Effect::Nothing)
    }

    fn accepted(effect: Effect) -> Self {
        Self::Result(json!({"status": "Accepted"}), effect)
    }
}

impl Charger {
    /// The frame that answers `call`, and the effect.
    pub(super) fn answer_call(&mut self, call: &Call<'_>) -> (String, Effect) {
        let payload: Value = serde_json::from_str(call.payload).unwrap_or(Value::Null);
        match self.answer(&call.action, &payload) {
            Answer::Result(value, effect) => (
                frame::write_call_result(&call.id, &value.to_string()),
                effect,
            ),
            Answer::Error(code) => {
                let code = code.as_str(self.version);
                let text = frame::write_call_error(&call.id, code, "", "{}");
                (text, Effect::Nothing)
            }
        }
    }

    pub(super) fn apply_effect(&mut self, effect: Effect, now: TimestampUs) {
        match effect {
            Effect::Nothing => {}
            Effect::Start {
                connector,
                token,
                remote_start_id,
            } => self.begin(connector, token, remote_start_id, now),
            Effect::Stop(connector) => self.stop(connector, StopReason::Remote, now),
            Effect::Reset => {
                self.stop_for_reset(now);
                self.power_cycle(now);
            }
            Effect::Trigger(trigger, connector) => self.trigger(trigger, connector, now),
        }
    }

    fn answer(&mut self, action: &str, payload: &Value) -> Answer {
        match (self.version, action) {
            (Version::V16, "RemoteStartTransaction") => {
                let token = payload["idTag"].as_str().unwrap_or_default();
                self.remote_start(&payload["connectorId"], token, None)
            }
            (Version::V16, "RemoteStopTransaction") => {
                let id = payload["transactionId"].as_i64();
                let connector = self.connector_of(|open| {
                    id.is_some() && self.state.wire_ids.get(&open.number).copied() == id
                });
                Self::remote_stop(connector)
            }
            (Version::V201 | Version::V21, "RequestStartTransaction") => {
                let token = payload["idToken"]["idToken"].as_str().unwrap_or_default();
                let id = payload["remoteStartId"].as_i64();
                self.remote_start(&payload["evseId"], token, id)
            }
            (Version::V201 | Version::V21, "RequestStopTransaction") => {
                let id = payload["transactionId"].as_str().unwrap_or_default();
                Self::remote_stop(self.connector_of(|open| open.id == id))
            }
            (_, "Reset") => Answer::accepted(Effect::Reset),
            (_, "TriggerMessage") => self.trigger_message(payload),
            (_, "ClearCache") => Answer::status("Accepted"),
            (_, "ChangeAvailability") => Answer::status("Rejected"),
            (Version::V16, "UnlockConnector") => Answer::status("NotSupported"),
            (_, "DataTransfer") => Answer::status("UnknownVendorId"),
            (Version::V16, "GetConfiguration") => self.configuration(payload),
            (Version::V16, "ChangeConfiguration") => self.change_configuration(payload),
            (Version::V201 | Version::V21, "GetVariables") => self.variables(payload),
            (Version::V201 | Version::V21, "SetVariables") => self.set_variables(payload),
            (Version::V201 | Version::V21, "GetTransactionStatus") => {
                self.transaction_status(payload)
            }
            (Version::V201 | Version::V21, "GetBaseReport" | "GetReport") => {
                Answer::status("NotSupported")
            }
            (version, action) => {
                let is_known = ocpp::action::lookup(version, action)
                    .is_some_and(ocpp::action::ActionInfo::is_to_charger);
                Answer::Error(if is_known {
                    ErrorCode::NotSupported
                } else {
                    ErrorCode::NotImplemented
                })
            }
        }
    }

    fn remote_start(&self, connector: &Value, token: &str, id: Option<i64>) -> Answer {
        let connector = connector.as_u64().map(|one| u8::try_from(one).unwrap_or(0));
        // B-5: not before the charger is accepted.
        match self.can_start(connector) {
            Some(connector) if !token.is_empty() => Answer::accepted(Effect::Start {
                connector,
                token: token.to_owned(),
                remote_start_id: id,
            }),
            _ => Answer::status("Rejected"),
        }
    }

    fn remote_stop(connector: Option<usize>) -> Answer {
        match connector {
            Some(connector) => Answer::accepted(Effect::Stop(connector)),
            None => Answer::status("Rejected"),
        }
    }

    fn trigger_message(&self, payload: &Value) -> Answer {
        let is_accepted = self.registration == Registration::Accepted;
        let trigger = match payload["requestedMessage"].as_str() {
            // N-9: not after the charger is accepted.
            Some("BootNotification") if is_accepted => return Answer::status("Rejected"),
            Some("BootNotification") => Trigger::Boot,
            Some("Heartbeat") => Trigger::Heartbeat,
            Some("StatusNotification") => Trigger::Status,
            Some("MeterValues") if self.version == Version::V16 => Trigger::Meter,
            Some("TransactionEvent") => Trigger::Meter,
            _ => return Answer::status("NotImplemented"),
        };
        if !is_accepted && !matches!(trigger, Trigger::Boot) {
            return Answer::status("Rejected");
        }
        let connector = match self.version {
            Version::V16 => &payload["connectorId"],
            _ => &payload["evse"]["id"],
        };
        let connector = connector.as_u64().and_then(|one| u8::try_from(one).ok());
        Answer::accepted(Effect::Trigger(trigger, connector))
    }

    fn trigger(&mut self, trigger: Trigger, connector: Option<u8>, now: TimestampUs) {
        let wanted = |index: usize| connector.is_none_or(|one| usize::from(one) == index + 1);
        match trigger {
            Trigger::Boot => self.registration = Registration::Due(now),
            Trigger::Heartbeat => self.push_pending(Action::Heartbeat, "{}".to_owned(), 0, now),
            Trigger::Status => {
                // N-6: without a connector, the charger and all connectors.
                if self.version == Version::V16 && connector.is_none_or(|one| one == 0) {
                    let text = payload::status(self.version, 0, Status::Available, now);
                    self.push_pending(Action::StatusNotification, text, 0, now);
                }
                for index in (0..self.connectors.len()).filter(|&index| wanted(index)) {
                    self.connectors[index].status_sent = None;
                    self.send_status(index, now);
                }
            }
            Trigger::Meter => {
                for index in (0..self.connectors.len()).filter(|&index| wanted(index)) {
                    self.meter(index, now);
                }
            }
        }
    }

    /// The settings that the central system may read and change, with their values.
    fn settings_list(&self) -> [(&'static str, String); 4] {
        let seconds = |duration: Duration| duration.as_secs_f64().round().to_string();
        [
            (HEARTBEAT, seconds(self.heartbeat)),
            (METER_INTERVAL, seconds(self.tunables.meter_interval)),
            (ATTEMPTS, self.tunables.attempts.to_string()),
            (RETRY_INTERVAL, seconds(self.tunables.retry_interval)),
        ]
    }

    /// Changes a setting; `None` = unknown setting, `Some(false)` = invalid value.
    fn change_setting(&mut self, key: &str, value: &str) -> Option<bool> {
        let number = value.trim().parse::<u32>().ok();
        let seconds = number.map(|one| self.settings.scaled(f64::from(one)));
        match (key, number, seconds) {
            (ATTEMPTS, Some(number @ 1..), _) => self.tunables.attempts = number,
            (HEARTBEAT, Some(1..), Some(wait)) => self.heartbeat = wait,
            (METER_INTERVAL, Some(1..), Some(wait)) => self.tunables.meter_interval = wait,
            (RETRY_INTERVAL, Some(_), Some(wait)) => self.tunables.retry_interval = wait,
            (ATTEMPTS | HEARTBEAT | METER_INTERVAL | RETRY_INTERVAL, ..) => return Some(false),
            _ => return None,
        }
        Some(true)
    }

    fn configuration(&self, payload: &Value) -> Answer {
        let asked: Vec<&str> = match payload["key"].as_array() {
            Some(keys) => keys.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let list = self.settings_list();
        let known: Vec<Value> = list
            .iter()
            .filter(|(key, _)| asked.is_empty() || asked.contains(key))
            .map(|(key, value)| json!({"key": key, "readonly": false, "value": value}))
            .collect();
        let unknown: Vec<&str> = asked
            .into_iter()
            .filter(|key| list.iter().all(|(one, _)| one != key))
            .collect();
        Answer::Result(
            json!({"configurationKey": known, "unknownKey": unknown}),
            Effect::Nothing,
        )
    }

    fn change_configuration(&mut self, payload: &Value) -> Answer {
        let key = payload["key"].as_str().unwrap_or_default();
        let value = payload["value"].as_str().unwrap_or_default();
        Answer::status(match self.change_setting(key, value) {
            Some(true) => "Accepted",
            Some(false) => "Rejected",
            None => "NotSupported",
        })
    }

    fn variables(&self, payload: &Value) -> Answer {
        let list = self.settings_list();
        let results = items(&payload["getVariableData"]).map(|item| {
            let mut result = about(item);
            let key = setting_of(item);
            match list.iter().find(|(one, _)| Some(*one) == key) {
                Some((_, value)) => {
                    result["attributeStatus"] = json!("Accepted");
                    result["attributeValue"] = json!(value);
                }
                None => result["attributeStatus"] = json!("UnknownVariable"),
            }
            result
        });
        let results: Vec<Value> = results.collect();
        Answer::Result(json!({"getVariableResult": results}), Effect::Nothing)
    }

    fn set_variables(&mut self, payload: &Value) -> Answer {
        let mut results = Vec::new();
        for item in items(&payload["setVariableData"]) {
            let value = item["attributeValue"].as_str().unwrap_or_default();
            let changed = setting_of(item).and_then(|key| self.change_setting(key, value));
            let mut result = about(item);
            result["attributeStatus"] = json!(match changed {
                Some(true) => "Accepted",
                Some(false) => "Rejected",
                None => "UnknownVariable",
            });
            results.push(result);
        }
        Answer::Result(json!({"setVariableResult": results}), Effect::Nothing)
    }

    /// Answers `GetTransactionStatus` (rule Q-26).
    fn transaction_status(&self, payload: &Value) -> Answer {
        let mut answer = json!({"messagesInQueue": !self.queue.is_empty()});
        if let Some(id) = payload["transactionId"].as_str() {
            let is_running = self.connector_of(|open| open.id == id).is_some();
            answer["ongoingIndicator"] = json!(is_running);
            let member = format!(r#""transactionId":"{id}""#);
            let in_queue = self.queue.iter().any(|one| one.payload.contains(&member));
            answer["messagesInQueue"] = json!(in_queue);
        }
        Answer::Result(answer, Effect::Nothing)
    }
}

const HEARTBEAT: &str = "HeartbeatInterval";
const METER_INTERVAL: &str = "MeterValueSampleInterval";
const ATTEMPTS: &str = "TransactionMessageAttempts";
const RETRY_INTERVAL: &str = "TransactionMessageRetryInterval";

/// The 1.6 name of a 2.x variable (rule Q-7).
fn setting_of(item: &Value) -> Option<&'static str> {
    match (
        item["component"]["name"].as_str()?,
        item["variable"]["name"].as_str()?,
    ) {
        ("OCPPCommCtrlr", "HeartbeatInterval") => Some(HEARTBEAT),
        ("OCPPCommCtrlr", "MessageAttempts") => Some(ATTEMPTS),
        ("OCPPCommCtrlr", "MessageAttemptInterval") => Some(RETRY_INTERVAL),
        ("SampledDataCtrlr", "TxUpdatedInterval") => Some(METER_INTERVAL),
        _ => None,
    }
}

/// The members of a result that repeat the request.
fn about(item: &Value) -> Value {
    let mut result = json!({"component": item["component"], "variable": item["variable"]});
    if let Some(kind) = item.get("attributeType") {
        result["attributeType"] = kind.clone();
    }
    result
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
