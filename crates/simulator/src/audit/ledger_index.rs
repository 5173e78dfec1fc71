//! The ledger in state, and what was found for each of its messages.

use super::report::Report;
use crate::ledger::{Class, LedgerEntry, Outcome};
use crate::timestamp::TimestampUs;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A record that an export holds for a message.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) gateway_id: String,
    pub(super) seq: u64,
    pub(super) payload_hash: u64,
    pub(super) answer: Value,
}

/// How a transaction is listed, as far as the export says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) open: Option<bool>,
    pub(super) energy_wh: Option<f64>,
}

/// A start's transaction: what was told of it, and what was found.
#[derive(Debug, Default)]
struct Transaction {
    /// Acknowledged starts.
    wanted: u64,
    /// Rows of the export.
    found: u64,
    /// Sessions of those starts whose stop was acknowledged: the energy, where both meters are known.
    stopped: Vec<Option<u64>>,
    /// How the rows are listed.
    listed: Vec<Ended>,
}

#[derive(Debug)]
struct Entry {
    line: LedgerEntry,
    found: Vec<Found>,
}

/// A charger's share.
#[derive(Debug, Default)]
struct ChargerIndex {
    entries: Vec<Entry>,
    /// Message id → its entry.
    by_id: HashMap<String, usize>,
    /// Number of a class-T message → its entry: a simulator that was killed and resumed may have
    /// written two lines for one message.
    by_n: HashMap<u64, usize>,
    /// By transaction id.
    transactions: BTreeMap<String, Transaction>,
    /// Starts that were transmitted and not acknowledged: each may have begun a transaction.
    unanswered_starts: u64,
    /// Transactions of this run that the ledger has no acknowledged start for.
    unexpected: Vec<String>,
    first_sent_at: Option<TimestampUs>,
}

/// All chargers, by identity in lower case (rule C-3).
#[derive(Debug, Default)]
pub(super) struct LedgerIndex {
    chargers: BTreeMap<String, ChargerIndex>,
    has_transactions: bool,
}

impl LedgerIndex {
    /// Takes in a line of the ledger.
    pub(super) fn enter(&mut self, line: LedgerEntry) {
        let key = line.charger_id.to_ascii_lowercase();
        self.chargers.entry(key).or_default().enter(line);
    }

    /// Takes in a record, if it is one of a message in the ledger.
    pub(super) fn find(&mut self, charger_id: &str, message_id: &str, found: Found) {
        let Some(charger_index) = self.chargers.get_mut(&charger_id.to_ascii_lowercase()) else {
            return;
        };
        if let Some(&index) = charger_index.by_id.get(message_id) {
            charger_index.entries[index].found.push(found);
        }
    }

    /// The ledger is complete; transactions follow.
    pub(super) fn index_transactions(&mut self) {
        self.has_transactions = true;
        for charger_index in self.chargers.values_mut() {
            charger_index.index_transactions();
        }
    }

    /// Takes in a transaction, if it is one of this run.
    pub(super) fn find_transaction(
        &mut self,
        charger_id: &str,
        id: &str,
        started_at: Option<TimestampUs>,
        ended: Ended,
    ) {
        let Some(charger_index) = self.chargers.get_mut(&charger_id.to_ascii_lowercase()) else {
            return;
        };
        if let Some(transaction) = charger_index.transactions.get_mut(id) {
            transaction.found += 1;
            transaction.listed.push(ended);
            return;
        }
        // Exports write milliseconds.
        let run = charger_index
            .first_sent_at
            .map(|at| TimestampUs(at.0 / 1000 * 1000));
        if started_at.is_some() && started_at >= run {
            charger_index.unexpected.push(id.to_owned());
        }
    }

    /// The verdict.
    pub(super) fn close(self) -> Report {
        let stores_heartbeats = self
            .chargers
            .values()
            .any(ChargerIndex::has_heartbeat_record);
        let mut report = Report {
            chargers: self.chargers.len() as u64,
            ..Report::default()
        };
        for (charger, charger_index) in &self.chargers {
            for entry in &charger_index.entries {
                check(charger, entry, stores_heartbeats, &mut report);
            }
            charger_index.check_order(charger, &mut report);
            if self.has_transactions {
                charger_index.check_transactions(charger, &mut report);
            }
        }
        report
    }
}

impl ChargerIndex {
    fn enter(&mut self, line: LedgerEntry) {
        self.first_sent_at = match (self.first_sent_at, line.sent_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let known = (line.class == Class::T)
            .then(|| self.by_n.get(&line.n).copied())
            .flatten();
        let index = known.unwrap_or(self.entries.len());
        for id in &line.message_ids {
            self.by_id.insert(id.clone(), index);
        }
        if line.class == Class::T {
            self.by_n.insert(line.n, index);
        }
        match self.entries.get_mut(index) {
            Some(entry) => entry.line = merged(entry.line.clone(), line),
            None => self.entries.push(Entry {
                line,
                found: Vec::new(),
            }),
        }
    }

    fn has_heartbeat_record(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.line.action == "Heartbeat" && !entry.found.is_empty())
    }

    /// Sequence numbers must agree with what certainly happened before what: a message that was
    /// acknowledged before another was first transmitted.
    fn check_order(&self, charger: &str, report: &mut Report) {
        let mut by_gateway: BTreeMap<&str, Vec<(u64, &LedgerEntry)>> = BTreeMap::new();
        for entry in &self.entries {
            if let [found] = entry.found.as_slice() {
                let records = by_gateway.entry(&found.gateway_id).or_default();
                records.push((found.seq, &entry.line));
            }
        }
        for records in by_gateway.values_mut() {
            records.sort_unstable_by_key(|(seq, _)| *seq);
            let mut latest: Option<(TimestampUs, u64)> = None;
            for (seq, line) in records {
                if let (Some(acknowledged_at), Some((sent_at, before))) =
                    (line.acknowledged_at, latest)
                    && acknowledged_at <= sent_at
                {
                    report.out_of_order += 1;
                    report.add_fault(|| {
                        format!(
                            "{charger}: {} n={} (seq {seq}) was acknowledged before seq {before} \
                             was sent, and stored after it",
                            line.action, line.n
                        )
                    });
                }
                if let Some(sent_at) = line.sent_at
                    && latest.is_none_or(|(before, _)| sent_at > before)
                {
                    latest = Some((sent_at, *seq));
                }
            }
        }
    }

    fn index_transactions(&mut self) {
        // Session → the meter at its acknowledged stop.
        let mut stops: HashMap<u64, Option<u64>> = HashMap::new();
        for Entry { line, .. } in &self.entries {
            if let Some(session) = line.session
                && is_stop(line)
                && line.outcome == Outcome::Acknowledged
            {
                stops.insert(session, line.meter_wh);
            }
        }
        for Entry { line, .. } in &self.entries {
            if !is_start(line) {
                continue;
            }
            match (&line.transaction_id, line.outcome) {
                (Some(id), Outcome::Acknowledged) => {
                    let transaction = self.transactions.entry(id.clone()).or_default();
                    transaction.wanted += 1;
                    let stop = line.session.and_then(|session| stops.get(&session));
                    if let Some(meter_stop) = stop {
                        let energy = meter_stop.zip(line.meter_wh);
                        let energy = energy.and_then(|(stop, start)| stop.checked_sub(start));
                        transaction.stopped.push(energy);
                    }
                }
                (_, Outcome::Queued) => {}
                _ => self.unanswered_starts += 1,
            }
        }
    }

    fn check_transactions(&self, charger: &str, report: &mut Report) {
        let mut unanswered = self.unanswered_starts;
        let mut excess = |id: &str, count: u64, report: &mut Report| {
            // An unanswered start may have begun one.
            let explained = count.min(unanswered);
            unanswered -= explained;
            if count > explained {
                report.duplicate_transactions += count - explained;
                report.add_fault(|| format!("{charger}: transaction {id} is one too many"));
            }
        };
        for (id, transaction) in &self.transactions {
            let (wanted, found) = (transaction.wanted, transaction.found);
            report.transactions += wanted;
            transaction.check_end(charger, id, report);
            if found < wanted {
                report.missing_transactions += wanted - found;
                report.add_fault(|| format!("{charger}: transaction {id} is missing"));
            }
            excess(id, found.saturating_sub(wanted), report);
        }
        for id in &self.unexpected {
            excess(id, 1, report);
        }
    }
}

impl Transaction {
    /// Whether it ended as its charger said. Only where start and row are one each: of several it cannot be said
    /// which is which.
    fn check_end(&self, charger: &str, id: &str, report: &mut Report) {
        let ([stopped], [listed], 1) = (&self.stopped[..], &self.listed[..], self.wanted) else {
            return;
        };
        if listed.open == Some(true) {
            report.unfinished_transactions += 1;
            report.add_fault(|| {
                format!("{charger}: transaction {id} is listed as open, its stop was acknowledged")
            });
            return;
        }
        if let (Some(energy), Some(told)) = (stopped, listed.energy_wh)
            && (told - *energy as f64).abs() > 0.5
        {
            report.wrong_energy += 1;
            report.add_fault(|| {
                format!("{charger}: transaction {id} has {told} Wh, its meters say {energy}")
            });
        }
    }
}

/// What can be said of one message by itself.
fn check(charger: &str, entry: &Entry, stores_heartbeats: bool, report: &mut Report) {
    let Entry { line, found } = entry;
    report.messages += 1;
    report.resent += u64::from(line.attempts > 1);
    report.discarded += u64::from(line.outcome == Outcome::Discarded);
    let is_acknowledged = line.outcome == Outcome::Acknowledged;
    report.acknowledged += u64::from(is_acknowledged);
    let name = || {
        let ids = line.message_ids.join(", ");
        format!("{charger}: {} n={} ({ids})", line.action, line.n)
    };
    if found.is_empty() && is_acknowledged {
        if line.action == "Heartbeat" && !stores_heartbeats {
            report.heartbeats_not_kept += 1;
        } else {
            report.missing += 1;
            report.add_fault(|| format!("{} was acknowledged and is missing", name()));
        }
    }
    if found.len() > 1 {
        report.duplicates_in_effect += 1;
        let seqs: Vec<_> = found.iter().map(|one| one.seq.to_string()).collect();
        report.add_fault(|| {
            format!(
                "{} has {} records: {}",
                name(),
                found.len(),
                seqs.join(", ")
            )
        });
    }
    for one in found {
        let is_altered = line
            .payload_hash
            .as_ref()
            .is_some_and(|hash| *hash != format!("{:016x}", one.payload_hash));
        if is_altered {
            report.altered += 1;
            report.add_fault(|| {
                format!(
                    "{} is stored with another payload (seq {})",
                    name(),
                    one.seq
                )
            });
        }
    }
    let told = line.answer.as_deref().filter(|_| is_acknowledged);
    if let (Some(told), [one]) = (told, found.as_slice()) {
        let told: Value = serde_json::from_str(told).unwrap_or(Value::Null);
        if told != one.answer {
            report.wrong_answers += 1;
            report.add_fault(|| {
                format!(
                    "{} was told {told}, stored is {} (seq {})",
                    name(),
                    one.answer,
                    one.seq
                )
            });
        }
    }
}

/// Two lines about one message.
fn merged(first: LedgerEntry, second: LedgerEntry) -> LedgerEntry {
    let (mut base, other) = if first.outcome == Outcome::Acknowledged {
        (first, second)
    } else {
        (second, first)
    };
    base.sent_at = match (base.sent_at, other.sent_at) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    base.attempts = base.attempts.max(other.attempts);
    for id in other.message_ids {
        if !base.message_ids.contains(&id) {
            base.message_ids.push(id);
        }
    }
    base
}

fn is_stop(line: &LedgerEntry) -> bool {
    line.action == "StopTransaction"
        || line.action == "TransactionEvent" && line.natural_key.ends_with("/Ended")
}

fn is_start(line: &LedgerEntry) -> bool {
    line.action == "StartTransaction"
        || line.action == "TransactionEvent" && line.natural_key.ends_with("/Started")
}
