//! Received frames: answers to the charger's calls, and calls of the central system.

use super::Charger;
use super::message::{Action, Message, Step};
use super::output::Count;
use super::send::Outstanding;
use crate::ledger::Outcome;
use crate::timestamp::TimestampUs;
use ocpp::frame::{self, Frame};
use serde_json::Value;

impl Charger {
    /// Parses a text frame and handles it.
    pub(super) fn handle_frame(&mut self, text: &str, now: TimestampUs) {
        match frame::parse(text, self.version) {
            Ok(Frame::CallResult(result)) => match self.take_outstanding(result.id.as_str()) {
                Some(call) => self.answered(call, result.payload, now),
                None => self.count(Count::Late),
            },
            Ok(Frame::CallError(error)) => match self.take_outstanding(error.id.as_str()) {
                Some(call) => self.refused(call, &error.code, now),
                None => self.count(Count::Late),
            },
            Ok(Frame::Call(call)) => self.handle_call(&call, now),
            Ok(Frame::CallResultError(_) | Frame::Send(_)) | Err(_) => {
                self.count(Count::Unexpected)
            }
        }
    }

    fn take_outstanding(&mut self, id: &str) -> Option<Outstanding> {
        self.outstanding.take_if(|call| call.id == id)
    }

    /// Handles a CALLRESULT.
    fn answered(&mut self, call: Outstanding, payload: &str, now: TimestampUs) {
        self.count(Count::Acknowledged(call.action, now.since(call.sent_at)));
        match call.message {
            Some(message) => self.pending_answered(message, payload, now),
            None => self.front_answered(call.action, payload, now),
        }
    }

    fn pending_answered(&mut self, message: Message, payload: &str, now: TimestampUs) {
        let mut answer = None;
        match message.action {
            Action::BootNotification => {
                let value = parse(payload);
                let interval_s = value["interval"].as_f64().unwrap_or(0.0);
                let status = value["status"].as_str().unwrap_or("");
                self.boot_answered(status, interval_s, now);
                answer = Some(payload.to_owned());
            }
            Action::Authorize => {
                let is_accepted = token_status(&parse(payload)) == Some("Accepted");
                self.token_answered(message.connector, is_accepted, now);
                answer = Some(payload.to_owned());
            }
            Action::OpenPeriodicEventStream => {
                let is_accepted = parse(payload)["status"].as_str() == Some("Accepted");
                self.stream_answered(&message.payload, is_accepted, now);
            }
            _ => {}
        }
        self.write_ledger(message, Outcome::Acknowledged, Some(now), answer);
    }

    fn front_answered(&mut self, action: Action, payload: &str, now: TimestampUs) {
        let Some(front) = self.queue.front() else {
            return;
        };
        let (step, number) = (front.step, front.transaction);
        let is_empty = payload.trim() == "{}";
        let mut is_refused = false;
        if !is_empty && action != Action::MeterValues {
            let value = parse(payload);
            if let (Action::StartTransaction, Some(number)) = (action, number) {
                let id = value["transactionId"].as_i64().unwrap_or(-1);
                self.state.wire_ids.insert(number, id);
            }
            is_refused = token_status(&value).is_some_and(|status| status != "Accepted");
        }
        let answer = (!is_empty && self.settings.keep_ledger).then(|| payload.to_owned());
        self.finish_front(Outcome::Acknowledged, Some(now), answer);
        if let (true, true, Some(number)) = (is_refused, step == Step::Start, number) {
            self.token_refused(number, now);
        }
    }

    /// Handles a CALLERROR.
    fn refused(&mut self, call: Outstanding, code: &str, now: TimestampUs) {
        self.count(Count::Error(call.action));
        let Some(message) = call.message else {
            self.front_failed(now);
            return;
        };
        match message.action {
            Action::BootNotification => self.boot_failed(now),
            Action::Authorize => self.token_answered(message.connector, false, now),
            _ => {}
        }
        self.write_ledger(message, Outcome::Error, None, Some(code.to_owned()));
    }
}

fn parse(payload: &str) -> Value {
    serde_json::from_str(payload).unwrap_or(Value::Null)
}

/// The status in idTagInfo (1.6) or idTokenInfo (2.x).
fn token_status(answer: &Value) -> Option<&str> {
    let info = answer
        .get("idTagInfo")
        .or_else(|| answer.get("idTokenInfo"))?;
    info["status"].as_str()
}
