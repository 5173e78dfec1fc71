//! Messages on the display (2.x).

use super::{Answer, items, pages};
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

/// Maximum number of messages that a charger keeps.
pub(super) const MESSAGES_MAX: usize = 20;
/// Messages of one page of `NotifyDisplayMessages`.
const PAGE: usize = 5;

impl Charger {
    pub(super) fn set_display_message(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let message = &payload["message"];
        let Some(id) = message["id"].as_u64() else {
            return Answer::rejected();
        };
        if let Some(transaction) = message["transactionId"].as_str()
            && !self.has_transaction(transaction)
        {
            return Answer::status("UnknownTransaction");
        }
        let text = message.to_string();
        let kept = self.kept();
        // The same id replaces the message.
        let before = kept.displays.remove(&id);
        if kept.has_room(kept.displays.len(), MESSAGES_MAX, text.len()) {
            kept.displays.insert(id, text);
            return Answer::accepted();
        }
        kept.displays.extend(before.map(|text| (id, text)));
        self.status_because("Rejected", "OutOfStorage")
    }

    pub(super) fn get_display_messages(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let ids: Vec<_> = items(&payload["id"]).collect();
        let mut found: Vec<Value> = Vec::new();
        for text in self.kept().displays.values() {
            let message: Value = serde_json::from_str(text).unwrap_or_default();
            let is_equal = |name: &str| {
                payload
                    .get(name)
                    .is_none_or(|wanted| message.get(name) == Some(wanted))
            };
            let is_asked = ids.is_empty() || ids.contains(&&message["id"]);
            if is_asked && is_equal("priority") && is_equal("state") {
                found.push(message);
            }
        }
        if found.is_empty() {
            return Answer::status("Unknown");
        }
        for (messages, tbc) in pages(found, PAGE) {
            let mut page = json!({"requestId": payload["requestId"], "messageInfo": messages});
            if tbc {
                page["tbc"] = json!(true);
            }
            self.push_report(Action::NotifyDisplayMessages, &page, now);
        }
        Answer::accepted()
    }

    pub(super) fn clear_display_message(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let id = payload["id"].as_u64();
        let removed = id.and_then(|id| self.kept().displays.remove(&id));
        Answer::status_if(removed.is_some(), "Accepted", "Unknown")
    }
}
