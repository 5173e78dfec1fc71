//! DER controls (2.1): how the charger behaves as a distributed energy resource.

use super::Answer;
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

/// Maximum number of controls that a charger keeps, as many as `supersededIds` can name.
pub(super) const CONTROLS_MAX: usize = 24;

/// A control.
#[derive(Debug, Clone)]
pub(super) struct DerControl {
    kind: String,
    is_default: bool,
    is_superseded: bool,
    priority: i64,
    /// The member with its content: `curve`, `enterService`, and so on.
    member: &'static str,
    content: String,
}

impl DerControl {
    pub(super) fn bytes(&self) -> usize {
        self.kind.len() + self.content.len()
    }
}

/// The member of `SetDERControl` that holds a control of this type, and its name inside `ReportDERControl`.
fn member(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "EnterService" => ("enterService", "enterService"),
        "FixedPFAbsorb" => ("fixedPFAbsorb", "fixedPF"),
        "FixedPFInject" => ("fixedPFInject", "fixedPF"),
        "FixedVar" => ("fixedVar", "fixedVar"),
        "FreqDroop" => ("freqDroop", "freqDroop"),
        "Gradients" => ("gradient", "gradient"),
        "LimitMaxDischarge" => ("limitMaxDischarge", "limitMaxDischarge"),
        _ => ("curve", "curve"),
    }
}

impl Charger {
    pub(super) fn set_der_control(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let id = payload["controlId"].as_str().unwrap_or_default();
        let kind = payload["controlType"].as_str().unwrap_or_default();
        let is_default = payload["isDefault"] == true;
        let (member, _) = member(kind);
        let Some(content) = payload.get(member) else {
            return self.status_because("Rejected", "MissingParam");
        };
        let mut control = DerControl {
            kind: kind.to_owned(),
            is_default,
            is_superseded: false,
            priority: content["priority"].as_i64().unwrap_or(0),
            member,
            content: content.to_string(),
        };
        let kept = self.kept();
        // The same id replaces the control.
        let before = kept.der_controls.remove(id);
        if !kept.has_room(kept.der_controls.len(), CONTROLS_MAX, control.bytes()) {
            kept.der_controls
                .extend(before.map(|one| (id.to_owned(), one)));
            return self.status_because("Rejected", "OutOfStorage");
        }
        // A lower number is a higher priority.
        let mut superseded = Vec::new();
        for (other_id, other) in &mut kept.der_controls {
            if other.kind != kind || other.is_default != is_default || other.is_superseded {
                continue;
            }
            if other.priority < control.priority {
                control.is_superseded = true;
            } else {
                other.is_superseded = true;
                superseded.push(other_id.clone());
            }
        }
        let starts = !is_default && !control.is_superseded;
        kept.der_controls.insert(id.to_owned(), control);
        let mut answer = json!({"status": "Accepted"});
        if !superseded.is_empty() {
            answer["supersededIds"] = json!(superseded);
        }
        if starts {
            let mut event = json!({
                "controlId": id, "started": true, "timestamp": now.to_string(),
            });
            if !superseded.is_empty() {
                event["supersededIds"] = json!(superseded);
            }
            self.push_pending(Action::NotifyDERStartStop, event.to_string(), 0, now);
        }
        Answer::Result(answer)
    }

    pub(super) fn get_der_control(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let matching = self.matching_der_controls(payload);
        let Some(last) = matching.len().checked_sub(1) else {
            return Answer::status("NotFound");
        };
        for (number, id) in matching.into_iter().enumerate() {
            let Some(control) = self.kept().der_controls.get(&id).cloned() else {
                continue;
            };
            let content: Value = serde_json::from_str(&control.content).unwrap_or_default();
            let (list, inner) = member(&control.kind);
            let mut item = json!({ "id": id });
            item[inner] = content;
            // Two types are always settings of the whole charger and have neither mark.
            if !matches!(control.member, "enterService" | "gradient") {
                item["isDefault"] = json!(control.is_default);
                item["isSuperseded"] = json!(control.is_superseded);
            }
            if control.member == "curve" {
                item["curveType"] = json!(control.kind);
            }
            let mut page = json!({"requestId": payload["requestId"]});
            page[list] = json!([item]);
            if number < last {
                page["tbc"] = json!(true);
            }
            self.push_report(Action::ReportDERControl, &page, now);
        }
        Answer::accepted()
    }

    pub(super) fn clear_der_control(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let matching = self.matching_der_controls(payload);
        for id in &matching {
            self.kept().der_controls.remove(id);
        }
        Answer::status_if(!matching.is_empty(), "Accepted", "NotFound")
    }

    fn matching_der_controls(&mut self, payload: &Value) -> Vec<String> {
        let is_wanted = |id: &str, control: &DerControl| {
            let text = |name: &str| payload[name].as_str();
            text("controlId").is_none_or(|wanted| wanted == id)
                && text("controlType").is_none_or(|wanted| wanted == control.kind)
                && payload["isDefault"]
                    .as_bool()
                    .is_none_or(|wanted| wanted == control.is_default)
        };
        let all = self.kept().der_controls.iter();
        all.filter(|(id, control)| is_wanted(id, control))
            .map(|(id, _)| id.clone())
            .collect()
    }
}
