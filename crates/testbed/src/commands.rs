//! The comparison of the outcomes that are shown of commands with what the chargers received and answered.

use serde_json::Value;
use std::collections::BTreeMap;

/// What a charger did with one command.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How often it received the command.
    pub received: u32,
    /// How often it answered. Counted before the answer is written, so an answer may be lost.
    pub answered: u32,
}

/// What all chargers did, by the command's id.
pub type SeenById = BTreeMap<String, Seen>;

/// The number of commands by the class of their outcome; `none` for those without an outcome.
pub fn count_by_class(shown: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for command in shown {
        let class = command["outcome"]["class"].as_str().unwrap_or("none");
        *counts.entry(class.to_owned()).or_default() += 1;
    }
    counts
}

/// What contradicts: a command that is shown as answered and was not, or as not sent and was received, or that was received
/// twice, or received and is not shown. `shown` are commands as the API and `wattpost command list` show them.
pub fn contradictions(shown: &[Value], seen: &SeenById) -> Vec<String> {
    let mut found = Vec::new();
    let mut unknown = seen.clone();
    for command in shown {
        let id = command["id"].as_str().unwrap_or_default();
        let seen = unknown.remove(id).unwrap_or_default();
        if seen.received > 1 {
            found.push(format!("received {} times: {command}", seen.received));
        }
        match command["outcome"]["class"].as_str() {
            Some("answered") if seen.answered == 0 => {
                found.push(format!("shown as answered, and never answered: {command}"));
            }
            Some("not_sent") if seen.received > 0 => {
                found.push(format!("shown as not sent, and received: {command}"));
            }
            Some("answered" | "not_sent" | "uncertain") => {}
            _ => found.push(format!("without an outcome: {command}")),
        }
    }
    let missing = unknown.keys();
    found.extend(missing.map(|id| format!("received, and not shown: {id}")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_contradiction_is_found_and_nothing_else() {
        let shown = |class: &str| json!({"id": "a", "outcome": {"class": class}});
        let seen =
            |received, answered| BTreeMap::from([("a".to_owned(), Seen { received, answered })]);
        let count = |class: &str, seen: &SeenById| contradictions(&[shown(class)], seen).len();
        assert_eq!(count("answered", &seen(1, 1)), 0);
        assert_eq!(count("uncertain", &seen(1, 0)), 0);
        assert_eq!(count("uncertain", &SeenById::new()), 0);
        assert_eq!(count("not_sent", &SeenById::new()), 0);
        assert_eq!(count("answered", &seen(1, 0)), 1);
        assert_eq!(count("answered", &SeenById::new()), 1);
        assert_eq!(count("not_sent", &seen(1, 0)), 1);
        assert_eq!(count("uncertain", &seen(2, 0)), 1);
        assert_eq!(count("queued", &SeenById::new()), 1);
        assert_eq!(contradictions(&[], &seen(1, 1)).len(), 1);
        let counts = count_by_class(&[shown("answered"), json!({"id": "b", "outcome": null})]);
        assert_eq!(counts.get("answered"), Some(&1));
        assert_eq!(counts.get("none"), Some(&1));
    }
}
