//! Reports of the device model (2.x), in pages.

use super::device_model::{Access, Kind, Source, VARIABLES, Variable};
use super::{Answer, items, pages};
use crate::charger::message::Action;
use crate::charger::{Charger, ConnectionState};
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

/// Variables of one page of `NotifyReport`.
const PAGE: usize = 10;

impl Charger {
    pub(super) fn get_base_report(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let base = payload["reportBase"].as_str().unwrap_or_default();
        let rows = self.report_rows(now, |variable| match base {
            "ConfigurationInventory" => variable.is_some_and(|one| one.access != Access::ReadOnly),
            "SummaryInventory" => variable.is_none_or(|one| one.source == Source::Availability),
            _ => true,
        });
        self.report(&payload["requestId"], rows, now)
    }

    pub(super) fn get_report(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        // Every component is active, available and enabled, and none has a problem.
        let criteria: Vec<&str> = items(&payload["componentCriteria"])
            .filter_map(Value::as_str)
            .collect();
        if criteria == ["Problem"] {
            return Answer::status("EmptyResultSet");
        }
        let asked: Vec<&Value> = items(&payload["componentVariable"]).collect();
        let mut rows = self.report_rows(now, |_| true);
        rows.retain(|row| asked.is_empty() || asked.iter().any(|one| names(one, row)));
        self.report(&payload["requestId"], rows, now)
    }

    fn report(&mut self, request_id: &Value, rows: Vec<Value>, now: TimestampUs) -> Answer {
        if rows.is_empty() {
            return Answer::status("EmptyResultSet");
        }
        for (number, (rows, tbc)) in pages(rows, PAGE).into_iter().enumerate() {
            let page = json!({
                "requestId": request_id,
                "generatedAt": now.to_string(),
                "seqNo": number,
                "tbc": tbc,
                "reportData": rows,
            });
            self.push_report(Action::NotifyReport, &page, now);
        }
        Answer::accepted()
    }

    /// The wanted variables; `None` is the availability of a connector.
    fn report_rows(
        &self,
        now: TimestampUs,
        wanted: impl Fn(Option<&Variable>) -> bool,
    ) -> Vec<Value> {
        let mut rows = Vec::new();
        for (number, variable) in VARIABLES.iter().enumerate() {
            if variable.component.is_empty() || !wanted(Some(variable)) {
                continue;
            }
            let mut name = json!({"name": variable.name});
            if !variable.instance.is_empty() {
                name["instance"] = json!(variable.instance);
            }
            let mut attribute = json!({"mutability": match variable.access {
                Access::ReadOnly => "ReadOnly",
                Access::WriteOnly => "WriteOnly",
                Access::ReadWrite | Access::AfterReboot => "ReadWrite",
            }});
            if variable.access != Access::WriteOnly {
                attribute["value"] = json!(self.value_of(number, now));
            }
            let mut facts = json!({
                "dataType": variable.kind.as_str(), "supportsMonitoring": true,
            });
            match variable.kind {
                Kind::Integer(min, max) => {
                    facts["minLimit"] = json!(min);
                    facts["maxLimit"] = json!(max);
                }
                Kind::Text(max) => facts["maxLimit"] = json!(max),
                Kind::Option(options) => facts["valuesList"] = json!(options),
                Kind::Boolean | Kind::Time | Kind::List => {}
            }
            rows.push(json!({
                "component": {"name": variable.component},
                "variable": name,
                "variableAttribute": [attribute],
                "variableCharacteristics": facts,
            }));
        }
        if wanted(None) {
            rows.extend((0..self.connectors.len()).flat_map(|index| self.availability_rows(index)));
        }
        rows
    }

    /// The availability of an EVSE and of its connector.
    fn availability_rows(&self, index: usize) -> [Value; 2] {
        let status = self.status_of(index).as_str(self.version);
        let evse = index + 1;
        let row = |component: Value| {
            json!({
                "component": component,
                "variable": {"name": "AvailabilityState"},
                "variableAttribute": [{"mutability": "ReadOnly", "value": status}],
                "variableCharacteristics": {
                    "dataType": "OptionList",
                    "valuesList": "Available,Occupied,Reserved,Unavailable,Faulted",
                    "supportsMonitoring": true,
                },
            })
        };
        [
            row(json!({"name": "EVSE", "evse": {"id": evse}})),
            row(json!({"name": "Connector", "evse": {"id": evse, "connectorId": 1}})),
        ]
    }

    /// Queues a page of a report. B-5: a charger that is not accepted yet reports too.
    pub(super) fn push_report(&mut self, action: Action, page: &Value, now: TimestampUs) {
        debug_assert!(action.is_report());
        if self.is_ready() {
            self.push_pending(action, page.to_string(), 0, now);
        } else if self.connection == ConnectionState::Open {
            self.push_unaccepted(action, page.to_string());
        }
    }
}

/// Whether an item of `componentVariable` names the component and variable of a row.
pub(super) fn names(asked: &Value, row: &Value) -> bool {
    let is_equal = |pointer: &str| {
        asked
            .pointer(pointer)
            .is_none_or(|wanted| row.pointer(pointer) == Some(wanted))
    };
    [
        "/component/name",
        "/component/instance",
        "/component/evse/id",
        "/component/evse/connectorId",
        "/variable/name",
        "/variable/instance",
    ]
    .into_iter()
    .all(is_equal)
}
