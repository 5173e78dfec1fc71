//! The balance: whether every acknowledged record is stored, or is known to be somewhere else.

use super::{Balance, Counted, DatabaseSeen, Observed, View, unexplained};
use crate::model::GatewayReport;
use std::collections::BTreeMap;

impl View<'_> {
    pub(super) fn balance(&self, seen: &DatabaseSeen) -> Balance {
        let mut balance = Balance {
            acknowledged: None,
            stored: None,
            dead_letters: None,
            journal: None,
            rabbitmq: None,
            difference: None,
            unexplained_since: None,
            unknown: BTreeMap::new(),
        };
        let gateways: Vec<&Observed> = self.of_gateways().map(|(one, _)| one).collect();
        if gateways.is_empty() {
            for name in ["acknowledged", "journal"] {
                balance
                    .unknown
                    .insert(name, "no gateway reports".to_owned());
            }
        }
        let starting = self.why_not_counted();
        let counted: Result<Vec<Counted>, String> = match &starting {
            Some(why) => Err(why.clone()),
            None => gateways.iter().map(|one| one.counted.clone()).collect(),
        };
        let dead_letters = seen
            .dead_letters
            .clone()
            .unwrap_or_else(|| Err("the database has not answered yet".to_owned()));
        let (counted, dead) = match (counted, dead_letters) {
            (Ok(counted), Ok(dead)) if !counted.is_empty() => (counted, dead),
            (counted, dead) => {
                let figures = |figure: fn(&GatewayReport) -> u64| -> u64 {
                    self.of_gateways().map(|(_, gateway)| figure(gateway)).sum()
                };
                if let Some(why) = starting {
                    for name in ["acknowledged", "journal"] {
                        balance.unknown.insert(name, why.clone());
                    }
                } else if !gateways.is_empty() {
                    balance.acknowledged = Some(figures(|gateway| gateway.durable));
                    balance.journal = Some(figures(|gateway| {
                        gateway.durable.saturating_sub(gateway.delivered)
                    }));
                }
                balance.dead_letters = dead.clone().ok();
                let why = counted
                    .err()
                    .or(dead.as_ref().err().cloned())
                    .unwrap_or_else(|| "no gateway reports".to_owned());
                for name in ["stored", "rabbitmq", "difference"] {
                    balance.unknown.insert(name, why.clone());
                }
                if let Err(why) = dead {
                    balance.unknown.insert("dead_letters", why);
                }
                return balance;
            }
        };
        let sum = |figure: fn(&Counted) -> u64| -> u64 { counted.iter().map(figure).sum() };
        let stored = sum(|one| one.stored);
        let not_stored = sum(|one| one.delivered.saturating_sub(one.stored));
        balance.acknowledged = Some(sum(|one| one.durable));
        balance.journal = Some(sum(|one| one.durable.saturating_sub(one.delivered)));
        balance.dead_letters = Some(dead);
        balance.stored = Some(stored.saturating_sub(dead));
        match unexplained(self.has_broker, self.processes) {
            Some(difference) => {
                let difference = difference.min(not_stored);
                balance.difference = Some(difference);
                balance.rabbitmq = Some(not_stored - difference);
            }
            None => {
                let why = match counted.iter().any(|one| one.missing.is_none()) {
                    true => "it is known after a minute of counting",
                    false => "what RabbitMQ holds is not known",
                };
                for name in ["rabbitmq", "difference"] {
                    balance.unknown.insert(name, why.to_owned());
                }
            }
        }
        balance.unexplained_since = seen.unexplained_since.map(|since| since.to_string());
        balance
    }
}
