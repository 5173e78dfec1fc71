//! `GetDiagnostics` and `GetLog`: the upload of a log.

use super::Answer;
use super::jobs::{JobKind, Step};
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde_json::{Value, json};

const UPLOAD: [Step; 2] = [Step::Say("Uploading"), Step::Say("Uploaded")];

impl Charger {
    pub(super) fn get_diagnostics(&mut self, _: &Value, now: TimestampUs) -> Answer {
        let kind = JobKind::Log(Action::DiagnosticsStatusNotification);
        self.begin_job(kind, None, Value::Null, UPLOAD, now);
        Answer::Result(json!({"fileName": self.log_name("diagnostics")}))
    }

    pub(super) fn get_log(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let kind = JobKind::Log(Action::LogStatusNotification);
        let request_id = payload.get("requestId").cloned();
        let canceled = self.begin_job(kind, request_id, Value::Null, UPLOAD, now);
        if let Some(Some(before)) = &canceled
            && self.version != Version::V16
        {
            let update = json!({"status": "AcceptedCanceled", "requestId": before});
            self.push_pending(Action::LogStatusNotification, update.to_string(), 0, now);
        }
        let status = if canceled.is_some() {
            "AcceptedCanceled"
        } else {
            "Accepted"
        };
        let name = match payload["logType"].as_str() {
            Some("SecurityLog") => "security",
            _ => "diagnostics",
        };
        Answer::Result(json!({"status": status, "filename": self.log_name(name)}))
    }

    fn log_name(&self, name: &str) -> String {
        let id: String = self.id.chars().take(200).collect();
        format!("{id}-{name}.log")
    }
}
