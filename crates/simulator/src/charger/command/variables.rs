//! Configuration keys (1.6) and variables (2.x) are read and changed.

use super::device_model::{Access, Change, VARIABLES, Variable};
use super::{Answer, items};
use crate::charger::Charger;
use crate::timestamp::TimestampUs;
use ocpp::ErrorCode;
use serde_json::{Value, json};

/// Maximum number of keys or variables of one command.
pub(super) const ITEMS_MAX: usize = 50;

/// What the component and variable of a request name.
pub(super) enum Found {
    /// A variable of the device model.
    Number(usize),
    /// The availability of a connector, by its index.
    Availability(usize),
}

impl Charger {
    pub(super) fn get_configuration(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let asked: Vec<&str> = items(&payload["key"]).filter_map(Value::as_str).collect();
        if asked.len() > ITEMS_MAX {
            let why = format!("/key: at most {ITEMS_MAX} keys");
            return Answer::Error(ErrorCode::OccurrenceConstraintViolation, why);
        }
        let is_asked = |key: &str| asked.is_empty() || asked.contains(&key);
        let keys = VARIABLES.iter().enumerate();
        let known: Vec<Value> = keys
            .filter(|(_, one)| !one.key.is_empty() && is_asked(one.key))
            .map(|(number, one)| {
                let is_read_only = one.access == Access::ReadOnly;
                let mut item = json!({"key": one.key, "readonly": is_read_only});
                if one.access != Access::WriteOnly {
                    item["value"] = json!(self.value_of(number, now));
                }
                item
            })
            .collect();
        let is_unknown = |key: &&&str| VARIABLES.iter().all(|one| one.key != **key);
        let unknown: Vec<&&str> = asked.iter().filter(is_unknown).collect();
        let mut answer = json!({});
        if !known.is_empty() {
            answer["configurationKey"] = json!(known);
        }
        if !unknown.is_empty() {
            answer["unknownKey"] = json!(unknown);
        }
        Answer::Result(answer)
    }

    pub(super) fn change_configuration(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let key = payload["key"].as_str().unwrap_or_default();
        let value = payload["value"].as_str().unwrap_or_default();
        let found = VARIABLES.iter().position(|one| one.key == key);
        let Some(number) = found.filter(|_| !key.is_empty()) else {
            return Answer::status("NotSupported");
        };
        Answer::status(match self.change_value(number, value) {
            Change::Done => "Accepted",
            Change::AfterReboot => "RebootRequired",
            Change::ReadOnly | Change::Invalid => "Rejected",
        })
    }

    pub(super) fn get_variables(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let asked = &payload["getVariableData"];
        if let Some(refusal) = too_many(asked, "getVariableData") {
            return refusal;
        }
        let results = items(asked).map(|item| {
            let mut result = about(item);
            let value = match self.find(item) {
                Err(status) => Err(status),
                Ok(_) if !is_actual(item) => Err("NotSupportedAttributeType"),
                Ok(Found::Number(number)) if VARIABLES[number].access == Access::WriteOnly => {
                    Err("Rejected")
                }
                Ok(found) => Ok(self.value_of_found(&found, now)),
            };
            match value {
                Ok(value) => {
                    result["attributeStatus"] = json!("Accepted");
                    result["attributeValue"] = json!(value);
                }
                Err(status) => result["attributeStatus"] = json!(status),
            }
            result
        });
        let results: Vec<Value> = results.collect();
        Answer::Result(json!({"getVariableResult": results}))
    }

    pub(super) fn set_variables(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let asked = &payload["setVariableData"];
        if let Some(refusal) = too_many(asked, "setVariableData") {
            return refusal;
        }
        let mut results = Vec::new();
        for item in items(asked) {
            let value = item["attributeValue"].as_str().unwrap_or_default();
            let mut reason = None;
            let status = match self.find(item) {
                Err(status) => status,
                Ok(_) if !is_actual(item) => "NotSupportedAttributeType",
                Ok(Found::Availability(_)) => {
                    reason = Some("ReadOnly");
                    "Rejected"
                }
                Ok(Found::Number(number)) => match self.change_value(number, value) {
                    Change::Done => "Accepted",
                    Change::AfterReboot => "RebootRequired",
                    Change::ReadOnly => {
                        reason = Some("ReadOnly");
                        "Rejected"
                    }
                    Change::Invalid => {
                        reason = Some("InvalidValue");
                        "Rejected"
                    }
                },
            };
            let mut result = about(item);
            result["attributeStatus"] = json!(status);
            if let Some(reason) = reason {
                result["attributeStatusInfo"] = json!({ "reasonCode": reason });
            }
            results.push(result);
        }
        Answer::Result(json!({"setVariableResult": results}))
    }

    /// What an item of a request names, or the status that says what is unknown.
    pub(super) fn find(&self, item: &Value) -> Result<Found, &'static str> {
        let component = item["component"]["name"].as_str().unwrap_or_default();
        let name = item["variable"]["name"].as_str().unwrap_or_default();
        let instance = item["variable"]["instance"].as_str().unwrap_or_default();
        if matches!(component, "EVSE" | "Connector") {
            let evse = &item["component"]["evse"]["id"];
            let index = self.connector_index(evse).ok_or("UnknownComponent")?;
            return match name {
                "AvailabilityState" => Ok(Found::Availability(index)),
                _ => Err("UnknownVariable"),
            };
        }
        let is_component = |one: &Variable| one.component == component;
        if component.is_empty() || !VARIABLES.iter().any(is_component) {
            return Err("UnknownComponent");
        }
        VARIABLES
            .iter()
            .position(|one| is_component(one) && one.name == name && one.instance == instance)
            .map(Found::Number)
            .ok_or("UnknownVariable")
    }

    pub(super) fn value_of_found(&self, found: &Found, now: TimestampUs) -> String {
        match *found {
            Found::Number(number) => self.value_of(number, now),
            Found::Availability(index) => self.status_of(index).as_str(self.version).to_owned(),
        }
    }
}

/// The refusal of a request with too many items.
fn too_many(list: &Value, name: &str) -> Option<Answer> {
    (items(list).count() > ITEMS_MAX).then(|| {
        let why = format!("/{name}: at most {ITEMS_MAX} items");
        Answer::Error(ErrorCode::OccurrenceConstraintViolation, why)
    })
}

fn is_actual(item: &Value) -> bool {
    item["attributeType"]
        .as_str()
        .is_none_or(|one| one == "Actual")
}

/// The members of a result that repeat the request.
pub(super) fn about(item: &Value) -> Value {
    let mut result = json!({"component": item["component"], "variable": item["variable"]});
    if let Some(kind) = item.get("attributeType") {
        result["attributeType"] = kind.clone();
    }
    result
}
