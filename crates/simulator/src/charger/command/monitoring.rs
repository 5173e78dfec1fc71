//! Monitors of variables (2.x). A simulated charger keeps and reports them; it has no events of its own.

use super::reports::names;
use super::streams::Stream;
use super::variables::about;
use super::{Answer, items, pages};
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde_json::{Value, json};

/// Maximum number of monitors.
pub(super) const MONITORS_MAX: usize = 50;
/// Monitors of one page of `NotifyMonitoringReport`.
const PAGE: usize = 10;

/// A monitor.
#[derive(Debug, Clone)]
pub(super) struct Monitor {
    /// The component and the variable, as JSON.
    about: String,
    kind: String,
    value: f64,
    severity: u64,
    transaction: bool,
}

impl Monitor {
    pub(super) fn bytes(&self) -> usize {
        self.about.len() + self.kind.len()
    }

    /// The component and the variable.
    pub(super) fn about(&self) -> Value {
        serde_json::from_str(&self.about).unwrap_or_default()
    }
}

impl Charger {
    pub(super) fn set_variable_monitoring(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let mut results = Vec::new();
        for item in items(&payload["setMonitoringData"]) {
            let set = self.set_monitor(item, now);
            let mut result = about(item);
            result["type"] = item["type"].clone();
            result["severity"] = item["severity"].clone();
            match set {
                Ok(id) => {
                    result["id"] = json!(id);
                    result["status"] = json!("Accepted");
                }
                Err(status) => {
                    result["status"] = json!(status);
                    if let Some(id) = item.get("id") {
                        result["id"] = id.clone();
                    }
                }
            }
            results.push(result);
        }
        Answer::Result(json!({"setMonitoringResult": results}))
    }

    fn set_monitor(&mut self, item: &Value, now: TimestampUs) -> Result<u64, &'static str> {
        self.find(item)?;
        let severity = item["severity"].as_u64().unwrap_or(0);
        if severity > 9 {
            return Err("Rejected");
        }
        let monitor = Monitor {
            about: json!({"component": item["component"], "variable": item["variable"]})
                .to_string(),
            kind: item["type"].as_str().unwrap_or_default().to_owned(),
            value: item["value"].as_f64().unwrap_or(0.0),
            severity,
            transaction: item["transaction"] == true,
        };
        let given = item.get("id").and_then(Value::as_u64);
        let kept = self.kept();
        let is_same = |one: &Monitor| {
            (&one.about, &one.kind, one.severity) == (&monitor.about, &monitor.kind, severity)
        };
        let mut others = kept.monitors.iter().filter(|(id, _)| Some(**id) != given);
        if others.any(|(_, one)| is_same(one)) {
            return Err("Duplicate");
        }
        let id = match given {
            // Only an existing monitor can be replaced.
            Some(id) if !kept.monitors.contains_key(&id) => return Err("Rejected"),
            Some(id) => id,
            None => kept.monitors.keys().max().map_or(1, |last| last + 1),
        };
        let count = kept.monitors.len() - usize::from(given.is_some());
        if !kept.has_room(count, MONITORS_MAX, monitor.bytes()) {
            return Err("Rejected");
        }
        kept.monitors.insert(id, monitor);
        if let Some(stream) = item.get("periodicEventStream")
            && self.version == Version::V21
        {
            self.open_stream(Stream::new(id, stream), now);
        }
        Ok(id)
    }

    pub(super) fn clear_variable_monitoring(
        &mut self,
        payload: &Value,
        now: TimestampUs,
    ) -> Answer {
        let mut results = Vec::new();
        for id in items(&payload["id"]) {
            let removed = id
                .as_u64()
                .filter(|id| self.kept().monitors.remove(id).is_some());
            if let Some(id) = removed {
                self.close_stream(id, now);
            }
            let status = if removed.is_some() {
                "Accepted"
            } else {
                "NotFound"
            };
            results.push(json!({"id": id, "status": status}));
        }
        Answer::Result(json!({"clearMonitoringResult": results}))
    }

    pub(super) fn set_monitoring_base(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let base = payload["monitoringBase"].as_str().unwrap_or_default();
        self.kept().monitoring_base = Some(base.to_owned());
        // The factory has set no monitors, and none is wired.
        if base != "All" {
            let ids: Vec<u64> = self.kept().monitors.keys().copied().collect();
            self.kept().monitors.clear();
            for id in ids {
                self.close_stream(id, now);
            }
        }
        Answer::accepted()
    }

    pub(super) fn set_monitoring_level(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let severity = payload["severity"].as_u64().filter(|level| *level <= 9);
        if severity.is_none() {
            return self.status_because("Rejected", "InvalidValue");
        }
        self.kept().monitoring_level = severity;
        Answer::accepted()
    }

    pub(super) fn get_monitoring_report(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let asked: Vec<&Value> = items(&payload["componentVariable"]).collect();
        let criteria: Vec<&str> = items(&payload["monitoringCriteria"])
            .filter_map(Value::as_str)
            .collect();
        let version = self.version;
        let mut rows = Vec::new();
        for (id, monitor) in &self.kept().monitors {
            let mut row = monitor.about();
            let is_asked = asked.is_empty() || asked.iter().any(|one| names(one, &row));
            if !is_asked || !criteria.is_empty() && !criteria.contains(&criterion(&monitor.kind)) {
                continue;
            }
            let mut facts = json!({
                "id": id, "transaction": monitor.transaction, "value": monitor.value,
                "type": monitor.kind, "severity": monitor.severity,
            });
            if version == Version::V21 {
                facts["eventNotificationType"] = json!("CustomMonitor");
            }
            row["variableMonitoring"] = json!([facts]);
            rows.push(row);
        }
        if rows.is_empty() {
            return Answer::status("EmptyResultSet");
        }
        for (number, (rows, tbc)) in pages(rows, PAGE).into_iter().enumerate() {
            let page = json!({
                "requestId": payload["requestId"],
                "generatedAt": now.to_string(),
                "seqNo": number,
                "tbc": tbc,
                "monitor": rows,
            });
            self.push_report(Action::NotifyMonitoringReport, &page, now);
        }
        Answer::accepted()
    }
}

/// The criterion to which a type of monitor belongs.
fn criterion(kind: &str) -> &'static str {
    match kind {
        "UpperThreshold" | "LowerThreshold" => "ThresholdMonitoring",
        "Periodic" | "PeriodicClockAligned" => "PeriodicMonitoring",
        _ => "DeltaMonitoring",
    }
}
