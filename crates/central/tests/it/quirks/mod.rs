//! Mistakes of firmware in ids, times, order, enumerations and transaction ids. Tests are named after the entries of
//! `docs/quirks.md`: `quirk_NN` is from reports, `seen_NN` was seen in charger stacks.

mod messages;
mod seen;
mod transactions;
mod versions;

use crate::common::{START, TestCharger, number};
use central::Timestamp;

const NOW: Timestamp = crate::common::NOW;

fn starts(charger: &mut TestCharger) -> i64 {
    let answer = charger.succeeds("start", "StartTransaction", START);
    number(&answer, "/transactionId")
}

fn stop(id: &str, at: &str, meter: u32) -> String {
    format!(r#"{{"transactionId":{id},"timestamp":"{at}","meterStop":{meter},"idTag":"04A1"}}"#)
}

fn sample(id: Option<i64>, at: &str, wh: u32) -> String {
    let id = id
        .map(|id| format!(r#""transactionId":{id},"#))
        .unwrap_or_default();
    format!(
        r#"{{"connectorId":1,{id}"meterValue":[{{"timestamp":"{at}","sampledValue":[{{"value":"{wh}"}}]}}]}}"#
    )
}
