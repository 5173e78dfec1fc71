//! What the chargers were told, read from their ledger, and how far the database is with it.

use anyhow::{Context, Result};
use central::query::{MessageFilter, PageRequest, QueryStore};
use central::{RecordKind, Timestamp};
use simulator::TimestampUs;
use simulator::ledger::{LedgerEntry, Outcome};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// The lines of a ledger. The last one may be half written while the fleet runs; it is left out.
pub(super) fn read_ledger(path: &Path) -> Result<Vec<LedgerEntry>> {
    let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
    let mut lines = Vec::new();
    for text in BufReader::new(file).lines() {
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let Ok(line) = serde_json::from_str(&text) else {
            break;
        };
        lines.push(line);
    }
    Ok(lines)
}

/// The longest time between two answers to anybody, from `from` to `to`; the edges count as answers.
pub(super) fn longest_quiet(lines: &[LedgerEntry], from: TimestampUs, to: TimestampUs) -> Duration {
    let mut answers: Vec<TimestampUs> = lines
        .iter()
        .filter_map(|line| line.acknowledged_at)
        .filter(|at| (from..=to).contains(at))
        .collect();
    answers.push(to);
    answers.sort_unstable();
    let mut before = from;
    let mut longest = Duration::ZERO;
    for at in answers {
        longest = longest.max(at.since(before));
        before = at;
    }
    longest
}

/// Messages that were acknowledged and are not seen in the database yet.
pub(super) struct Unseen {
    /// By charger, in lower case, and message id. A message that was sent again has several.
    ids: HashMap<(String, String), usize>,
    seen: Vec<bool>,
    left: usize,
    from: Timestamp,
}

impl Unseen {
    /// Those acknowledged until `until`, all of them received after `from`.
    pub(super) fn new(lines: &[LedgerEntry], until: TimestampUs, from: Timestamp) -> Self {
        let mut ids = HashMap::new();
        let mut seen = Vec::new();
        for line in lines {
            let is_told = line.outcome == Outcome::Acknowledged
                && line.acknowledged_at.is_some_and(|at| at <= until);
            if !is_told {
                continue;
            }
            let charger = line.charger_id.to_ascii_lowercase();
            for id in &line.message_ids {
                ids.insert((charger.clone(), id.clone()), seen.len());
            }
            seen.push(false);
        }
        Self {
            left: seen.len(),
            ids,
            seen,
            from,
        }
    }

    /// Looks once through what the database has; how many are left. A database that is away has shown nothing.
    pub(super) fn look(&mut self, ledger: &dyn QueryStore) -> usize {
        let filter = MessageFilter {
            kind: Some(RecordKind::Call),
            from: Some(self.from),
            ..MessageFilter::default()
        };
        let mut page = PageRequest {
            limit: central::query::PAGE_MAX,
            after: None,
        };
        while self.left > 0 {
            let Ok(rows) = ledger.messages(&filter, &page) else {
                return self.left;
            };
            for row in rows.items {
                self.strike(&row.charger_id, row.message_id);
            }
            if rows.next.is_none() {
                return self.left;
            }
            page.after = rows.next;
        }
        self.left
    }

    fn strike(&mut self, charger: &str, id: String) {
        let Some(&index) = self.ids.get(&(charger.to_ascii_lowercase(), id)) else {
            return;
        };
        if let Some(seen) = self.seen.get_mut(index)
            && !*seen
        {
            *seen = true;
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(id: &str, acknowledged_at: Option<u64>) -> LedgerEntry {
        serde_json::from_value(json!({
            "charger_id": "DRILL-1", "ocpp_version": "1.6", "action": "MeterValues", "class": "T", "n": 1,
            "natural_key": "", "transaction_id": null, "message_ids": [id, format!("{id}-again")],
            "sent_at": 1, "acknowledged_at": acknowledged_at, "attempts": 1,
            "outcome": if acknowledged_at.is_some() { "acknowledged" } else { "unanswered" },
        }))
        .unwrap()
    }

    #[test]
    fn the_longest_quiet_counts_the_edges_and_only_what_is_between() {
        let lines = [
            line("a", Some(100)),
            line("b", Some(900)),
            line("c", Some(400)),
            line("d", None),
        ];
        let quiet =
            |from, to| longest_quiet(&lines, TimestampUs(from), TimestampUs(to)).as_micros();
        assert_eq!(quiet(0, 1_000), 500);
        assert_eq!(quiet(0, 2_000), 1_100);
        assert_eq!(quiet(400, 900), 500);
        assert_eq!(quiet(2_000, 3_000), 1_000);
    }

    #[test]
    fn a_message_is_seen_under_any_of_its_ids_and_once() {
        let lines = [
            line("a", Some(10)),
            line("b", Some(20)),
            line("late", Some(99)),
            line("d", None),
        ];
        let mut unseen = Unseen::new(&lines, TimestampUs(50), Timestamp(0));
        assert_eq!(unseen.left, 2);
        unseen.strike("drill-1", "a-again".into());
        unseen.strike("DRILL-1", "a".into());
        unseen.strike("DRILL-1", "late".into());
        unseen.strike("DRILL-2", "b".into());
        assert_eq!(unseen.left, 1);
        unseen.strike("DRILL-1", "b".into());
        assert_eq!(unseen.left, 0);
    }
}
