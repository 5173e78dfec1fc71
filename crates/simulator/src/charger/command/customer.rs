//! `CustomerInformation` (2.x).

use super::Answer;
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

/// Characters of one page of `NotifyCustomerInformation`.
const PAGE_CHARS: usize = 512;

impl Charger {
    pub(super) fn customer_information(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let identifiers = ["customerCertificate", "customerIdentifier", "idToken"];
        let given = identifiers
            .iter()
            .filter(|name| payload.get(**name).is_some());
        let (reports, clears) = (payload["report"] == true, payload["clear"] == true);
        if !reports && !clears {
            return self.status_because("Rejected", "MissingParam");
        }
        if given.count() != 1 {
            return Answer::status("Invalid");
        }
        let token = payload["idToken"]["idToken"]
            .as_str()
            .map(str::to_lowercase);
        let status = token
            .as_ref()
            .and_then(|token| self.kept().list.get(token).cloned());
        if reports {
            let data = match (&token, &status) {
                (Some(token), Some(status)) => {
                    format!("Token {token} is in the local list with status {status}.")
                }
                _ => "No data is stored about this customer.".to_owned(),
            };
            self.report_customer(&payload["requestId"], &data, now);
        }
        if clears {
            if let Some(token) = token {
                self.kept().list.remove(&token);
            }
            if !reports {
                self.report_customer(&payload["requestId"], "The data was removed.", now);
            }
        }
        Answer::accepted()
    }

    fn report_customer(&mut self, request_id: &Value, data: &str, now: TimestampUs) {
        let chars: Vec<char> = data.chars().collect();
        let count = chars.len().div_ceil(PAGE_CHARS);
        for (number, part) in chars.chunks(PAGE_CHARS).enumerate() {
            let mut page = json!({
                "requestId": request_id,
                "seqNo": number,
                "generatedAt": now.to_string(),
                "data": part.iter().collect::<String>(),
            });
            if number + 1 < count {
                page["tbc"] = json!(true);
            }
            self.push_report(Action::NotifyCustomerInformation, &page, now);
        }
    }
}
