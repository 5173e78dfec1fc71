//! Tariffs (2.1).

use super::{Answer, items};
use crate::charger::Charger;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

/// Maximum number of elements of a tariff's prices.
const PRICES_MAX: usize = 20;
/// Maximum number of transactions whose tariff was changed.
const CHANGED_MAX: usize = 255;
/// A longer tariff is not kept, in bytes.
const TARIFF_BYTES_MAX: usize = 8 * 1024;

/// The default tariff of an EVSE.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DefaultTariff {
    id: String,
    valid_from: Option<String>,
    currency: String,
}

impl DefaultTariff {
    pub(super) fn bytes(&self) -> usize {
        self.id.len() + self.valid_from.as_ref().map_or(0, String::len) + self.currency.len()
    }

    fn of(tariff: &Value) -> Self {
        let text = |name: &str| tariff[name].as_str().map(str::to_owned);
        Self {
            id: text("tariffId").unwrap_or_default(),
            valid_from: text("validFrom"),
            currency: text("currency").unwrap_or_default(),
        }
    }
}

impl Charger {
    pub(super) fn set_default_tariff(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let Some(evses) = self.evses_of(&payload["evseId"]) else {
            return self.status_because("Rejected", "UnknownEvse");
        };
        if let Some(refusal) = too_many(&payload["tariff"]) {
            return refusal;
        }
        let tariff = DefaultTariff::of(&payload["tariff"]);
        for evse in evses {
            self.kept().tariffs.insert(evse, tariff.clone());
        }
        Answer::accepted()
    }

    pub(super) fn get_tariffs(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let Some(evses) = self.evses_of(&payload["evseId"]) else {
            return self.status_because("Rejected", "UnknownEvse");
        };
        let mut assignments: Vec<(DefaultTariff, Vec<u64>)> = Vec::new();
        for evse in evses {
            let Some(tariff) = self.kept().tariffs.get(&evse).cloned() else {
                continue;
            };
            match assignments.iter_mut().find(|(one, _)| *one == tariff) {
                Some((_, evses)) => evses.push(evse),
                None => assignments.push((tariff, vec![evse])),
            }
        }
        if assignments.is_empty() {
            return Answer::status("NoTariff");
        }
        let assignments = assignments.into_iter().map(|(tariff, evses)| {
            let mut one = json!({
                "tariffId": tariff.id, "tariffKind": "DefaultTariff", "evseIds": evses,
            });
            if let Some(from) = tariff.valid_from {
                one["validFrom"] = json!(from);
            }
            one
        });
        let assignments: Vec<_> = assignments.collect();
        Answer::Result(json!({"status": "Accepted", "tariffAssignments": assignments}))
    }

    pub(super) fn clear_tariffs(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let evses = match payload.get("evseId") {
            None => self.evses_of(&json!(0)),
            Some(evse) => self.evses_of(evse),
        };
        let evses = evses.unwrap_or_default();
        let ids: Vec<&str> = items(&payload["tariffIds"])
            .filter_map(Value::as_str)
            .collect();
        let mut cleared: Vec<String> = Vec::new();
        self.kept().tariffs.retain(|evse, tariff| {
            let is_asked = ids.is_empty() || ids.contains(&tariff.id.as_str());
            let is_cleared = evses.contains(evse) && is_asked;
            if is_cleared && !cleared.contains(&tariff.id) {
                cleared.push(tariff.id.clone());
            }
            !is_cleared
        });
        let mut results: Vec<Value> = cleared
            .iter()
            .map(|id| json!({"tariffId": id, "status": "Accepted"}))
            .collect();
        let unknown = ids
            .into_iter()
            .filter(|id| !cleared.iter().any(|one| one == id));
        results.extend(unknown.map(|id| json!({"tariffId": id, "status": "NoTariff"})));
        if results.is_empty() {
            results.push(json!({"status": "NoTariff"}));
        }
        Answer::Result(json!({"clearTariffsResult": results}))
    }

    pub(super) fn change_transaction_tariff(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let transaction = payload["transactionId"].as_str().unwrap_or_default();
        let Some(connector) = self.connector_of(|open| open.id == transaction) else {
            return Answer::status("TxNotFound");
        };
        if let Some(refusal) = too_many(&payload["tariff"]) {
            return refusal;
        }
        let currency = DefaultTariff::of(&payload["tariff"]).currency;
        let evse = connector as u64 + 1;
        let kept = self.kept();
        let default = kept
            .tariffs
            .get(&evse)
            .map(|tariff| tariff.currency.clone());
        let before = kept.transaction_currencies.get(transaction).cloned();
        if before.or(default).is_some_and(|before| before != currency) {
            return Answer::status("NoCurrencyChange");
        }
        if kept.transaction_currencies.len() >= CHANGED_MAX {
            kept.transaction_currencies.pop_first();
        }
        kept.transaction_currencies
            .insert(transaction.to_owned(), currency);
        Answer::accepted()
    }

    /// The EVSE with this number, or all for 0.
    fn evses_of(&self, evse: &Value) -> Option<Vec<u64>> {
        let count = self.connectors.len() as u64;
        match evse.as_u64()? {
            0 => Some((1..=count).collect()),
            number if number <= count => Some(vec![number]),
            _ => None,
        }
    }
}

/// The refusal of a tariff with more prices than the charger keeps.
fn too_many(tariff: &Value) -> Option<Answer> {
    let parts = [
        "energy",
        "chargingTime",
        "idleTime",
        "fixedFee",
        "reservationTime",
        "reservationFixed",
    ];
    let prices = |part: &&str| items(&tariff[*part]["prices"]).count();
    let count: usize = parts.iter().map(prices).sum();
    let is_too_long = tariff.to_string().len() > TARIFF_BYTES_MAX;
    (count > PRICES_MAX || is_too_long).then(|| Answer::status("TooManyElements"))
}
