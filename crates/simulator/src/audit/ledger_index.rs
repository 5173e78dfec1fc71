//! The messages of a ledger, with the records and transactions that the exports have for them.

use super::report::Report;
use crate::ledger::{Class, CommandEntry, CommandOutcome, LedgerEntry, Outcome};
use crate::timestamp::TimestampUs;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A record of the export of messages.
#[derive(Debug)]
pub(super) struct StoredRecord {
    pub(super) gateway_id: String,
    pub(super) seq: u64,
    pub(super) payload_hash: u64,
    pub(super) answer: Value,
}

/// The state of a transaction in the export, as far as it is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionState {
    pub(super) open: Option<bool>,
    pub(super) energy_wh: Option<f64>,
}

/// The transactions of one id: what the ledger and the export have of them.
#[derive(Debug, Default)]
struct Transaction {
    /// Acknowledged starts.
    expected: u64,
    /// Rows in the export.
    found: u64,
    /// The sessions whose stop was acknowledged too: their energy in Wh, if both meter values are known.
    stopped: Vec<Option<u64>>,
    /// The states of the rows.
    states: Vec<TransactionState>,
}

#[derive(Debug)]
struct IndexedMessage {
    entry: LedgerEntry,
    records: Vec<StoredRecord>,
}

/// The messages and transactions of one charger.
#[derive(Debug, Default)]
struct ChargerIndex {
    messages: Vec<IndexedMessage>,
    /// Message id → its message.
    by_id: HashMap<String, usize>,
    /// Number of a class-T message → its message. A simulator that was killed and restarted may have written two
    /// entries for one message.
    by_n: HashMap<u64, usize>,
    /// Transactions by id.
    transactions: BTreeMap<String, Transaction>,
    /// Starts that were transmitted and not acknowledged. Each may have started a transaction.
    unanswered_starts: u64,
    /// Transactions of this run without an acknowledged start in the ledger.
    unexpected: Vec<String>,
    first_sent_at: Option<TimestampUs>,
    /// Commands that the charger received, by message id.
    commands: HashMap<String, ReceivedCommands>,
}

/// The commands of one message id that a charger received, and their records.
#[derive(Debug, Default)]
struct ReceivedCommands {
    entries: Vec<CommandEntry>,
    /// The payloads of the records of their sending.
    sent: Vec<u64>,
    /// The payloads of the records of their answers; `None` = a CALLERROR.
    answer_records: Vec<Option<u64>>,
}

impl ReceivedCommands {
    /// Whether the charger gave this answer.
    fn was_answered_with(&self, answer: Option<u64>) -> bool {
        self.entries.iter().any(|entry| match answer {
            Some(hash) => {
                entry.outcome == CommandOutcome::Result
                    && entry.answer_hash == Some(format!("{hash:016x}"))
            }
            None => entry.outcome == CommandOutcome::Error,
        })
    }
}

/// The ledger of all chargers, by identity in lower case (Unicode, as the central system compares identities).
#[derive(Debug, Default)]
pub(super) struct LedgerIndex {
    chargers: BTreeMap<String, ChargerIndex>,
    has_transactions: bool,
    /// Whether the export has records of commands.
    has_commands: bool,
}

impl LedgerIndex {
    /// Adds an entry of the ledger.
    pub(super) fn add_entry(&mut self, entry: LedgerEntry) {
        let key = entry.charger_id.to_lowercase();
        self.chargers.entry(key).or_default().add_entry(entry);
    }

    /// Adds an entry of a command that a charger received.
    pub(super) fn add_command(&mut self, entry: CommandEntry) {
        let key = entry.charger_id.to_lowercase();
        self.chargers.entry(key).or_default().add_command(entry);
    }

    /// Adds the record of a command that was sent to a charger.
    pub(super) fn add_command_record(&mut self, charger_id: &str, id: &str, payload_hash: u64) {
        self.has_commands = true;
        if let Some(command) = self.command(charger_id, id) {
            command.sent.push(payload_hash);
        }
    }

    /// Adds the record of an answer to a command: the hash of a CALLRESULT's payload, or `None` for a CALLERROR.
    pub(super) fn add_command_answer(&mut self, charger_id: &str, id: &str, answer: Option<u64>) {
        if let Some(command) = self.command(charger_id, id) {
            command.answer_records.push(answer);
        }
    }

    fn command(&mut self, charger_id: &str, id: &str) -> Option<&mut ReceivedCommands> {
        let charger = self.chargers.get_mut(&charger_id.to_lowercase())?;
        charger.commands.get_mut(id)
    }

    /// Adds a record of the export, if its message is in the ledger.
    pub(super) fn add_record(&mut self, charger_id: &str, message_id: &str, record: StoredRecord) {
        let Some(charger_index) = self.chargers.get_mut(&charger_id.to_lowercase()) else {
            return;
        };
        if let Some(&index) = charger_index.by_id.get(message_id) {
            charger_index.messages[index].records.push(record);
        }
    }

    /// Prepares the check of transactions. Call it after the last entry and before the first transaction.
    pub(super) fn index_transactions(&mut self) {
        self.has_transactions = true;
        for charger_index in self.chargers.values_mut() {
            charger_index.index_transactions();
        }
    }

    /// Adds a transaction of the export, if it belongs to this run.
    pub(super) fn add_transaction(
        &mut self,
        charger_id: &str,
        id: &str,
        started_at: Option<TimestampUs>,
        state: TransactionState,
    ) {
        let Some(charger_index) = self.chargers.get_mut(&charger_id.to_lowercase()) else {
            return;
        };
        if let Some(transaction) = charger_index.transactions.get_mut(id) {
            transaction.found += 1;
            transaction.states.push(state);
            return;
        }
        // Exports have milliseconds only.
        let run_start = charger_index
            .first_sent_at
            .map(|at| TimestampUs(at.0 / 1000 * 1000));
        if started_at.is_some() && started_at >= run_start {
            charger_index.unexpected.push(id.to_owned());
        }
    }

    /// Checks everything.
    pub(super) fn into_report(self) -> Report {
        let stores_heartbeats = self
            .chargers
            .values()
            .any(ChargerIndex::has_heartbeat_record);
        let mut report = Report {
            chargers: self.chargers.len() as u64,
            ..Report::default()
        };
        for (charger, charger_index) in &self.chargers {
            for message in &charger_index.messages {
                check(charger, message, stores_heartbeats, &mut report);
            }
            charger_index.check_order(charger, &mut report);
            charger_index.check_commands(charger, self.has_commands, &mut report);
            if self.has_transactions {
                charger_index.check_transactions(charger, &mut report);
            }
        }
        report
    }
}

impl ChargerIndex {
    fn add_entry(&mut self, entry: LedgerEntry) {
        self.first_sent_at = match (self.first_sent_at, entry.sent_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let known = (entry.class == Class::T)
            .then(|| self.by_n.get(&entry.n).copied())
            .flatten();
        let index = known.unwrap_or(self.messages.len());
        for id in &entry.message_ids {
            self.by_id.insert(id.clone(), index);
        }
        if entry.class == Class::T {
            self.by_n.insert(entry.n, index);
        }
        match self.messages.get_mut(index) {
            Some(message) => message.entry = merged(message.entry.clone(), entry),
            None => self.messages.push(IndexedMessage {
                entry,
                records: Vec::new(),
            }),
        }
    }

    fn add_command(&mut self, entry: CommandEntry) {
        let command = self.commands.entry(entry.message_id.clone()).or_default();
        command.entries.push(entry);
    }

    fn check_commands(&self, charger: &str, has_records: bool, report: &mut Report) {
        for (id, command) in &self.commands {
            let action = command.entries.first().map_or("", |entry| &entry.action);
            report.commands += 1;
            let mut entries = command.entries.iter();
            let is_answered = entries.any(|entry| entry.answered_at.is_some());
            report.commands_answered += u64::from(is_answered);
            if command.entries.len() > 1 {
                report.repeated_commands += 1;
                let count = command.entries.len();
                report.add_fault(|| {
                    format!("{charger}: command {action} ({id}) was received {count} times")
                });
            }
            let is_equal = |entry: &CommandEntry| {
                let mut sent = command.sent.iter();
                sent.any(|hash| entry.payload_hash == format!("{hash:016x}"))
            };
            if has_records && !command.entries.iter().all(is_equal) {
                report.unrecorded_commands += 1;
                report.add_fault(|| {
                    format!(
                        "{charger}: command {action} ({id}) was received, and no record says that this payload was sent"
                    )
                });
            }
            let mut answers = command.answer_records.iter();
            if answers.any(|answer| !command.was_answered_with(*answer)) {
                report.false_answers += 1;
                report.add_fault(|| {
                    format!(
                        "{charger}: command {action} ({id}) has the record of an answer that the charger did not give"
                    )
                });
            }
        }
    }

    fn has_heartbeat_record(&self) -> bool {
        let mut messages = self.messages.iter();
        messages.any(|message| message.entry.action == "Heartbeat" && !message.records.is_empty())
    }

    /// Checks that a message which was acknowledged before the first transmission of another has the smaller sequence
    /// number.
    fn check_order(&self, charger: &str, report: &mut Report) {
        let mut by_gateway: BTreeMap<&str, Vec<(u64, &LedgerEntry)>> = BTreeMap::new();
        for message in &self.messages {
            if let [record] = message.records.as_slice() {
                let records = by_gateway.entry(&record.gateway_id).or_default();
                records.push((record.seq, &message.entry));
            }
        }
        for records in by_gateway.values_mut() {
            records.sort_unstable_by_key(|(seq, _)| *seq);
            let mut latest: Option<(TimestampUs, u64)> = None;
            for (seq, entry) in records {
                if let (Some(acknowledged_at), Some((sent_at, before))) =
                    (entry.acknowledged_at, latest)
                    && acknowledged_at <= sent_at
                {
                    report.out_of_order += 1;
                    report.add_fault(|| {
                        format!(
                            "{charger}: {} n={} (seq {seq}) was acknowledged before seq {before} \
                             was sent, and stored after it",
                            entry.action, entry.n
                        )
                    });
                }
                if let Some(sent_at) = entry.sent_at
                    && latest.is_none_or(|(before, _)| sent_at > before)
                {
                    latest = Some((sent_at, *seq));
                }
            }
        }
    }

    fn index_transactions(&mut self) {
        // Session → the meter value of its acknowledged stop.
        let mut stops: HashMap<u64, Option<u64>> = HashMap::new();
        for IndexedMessage { entry, .. } in &self.messages {
            if let Some(session) = entry.session
                && is_stop(entry)
                && entry.outcome == Outcome::Acknowledged
            {
                stops.insert(session, entry.meter_wh);
            }
        }
        for IndexedMessage { entry, .. } in &self.messages {
            if !is_start(entry) {
                continue;
            }
            match (&entry.transaction_id, entry.outcome) {
                (Some(id), Outcome::Acknowledged) => {
                    let transaction = self.transactions.entry(id.clone()).or_default();
                    transaction.expected += 1;
                    let stop = entry.session.and_then(|session| stops.get(&session));
                    if let Some(meter_stop) = stop {
                        let energy = meter_stop.zip(entry.meter_wh);
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
            // Each unanswered start may have started one transaction.
            let explained = count.min(unanswered);
            unanswered -= explained;
            if count > explained {
                report.duplicate_transactions += count - explained;
                report.add_fault(|| {
                    format!(
                        "{charger}: transaction {id} has no start in the ledger or a second row"
                    )
                });
            }
        };
        for (id, transaction) in &self.transactions {
            let (expected, found) = (transaction.expected, transaction.found);
            report.transactions += expected;
            transaction.check_end(charger, id, report);
            if found < expected {
                report.missing_transactions += expected - found;
                report.add_fault(|| format!("{charger}: transaction {id} is missing"));
            }
            excess(id, found.saturating_sub(expected), report);
        }
        for id in &self.unexpected {
            excess(id, 1, report);
        }
    }
}

impl Transaction {
    /// Checks the end of the transaction. With several starts or rows of one id this is not possible, because it is not
    /// known which belong together.
    fn check_end(&self, charger: &str, id: &str, report: &mut Report) {
        let ([stopped], [state], 1) = (&self.stopped[..], &self.states[..], self.expected) else {
            return;
        };
        if state.open == Some(true) {
            report.unfinished_transactions += 1;
            report.add_fault(|| {
                format!("{charger}: transaction {id} is open in the export, but its stop was acknowledged")
            });
            return;
        }
        if let (Some(energy), Some(listed_wh)) = (stopped, state.energy_wh)
            && (listed_wh - *energy as f64).abs() > 0.5
        {
            report.wrong_energy += 1;
            report.add_fault(|| {
                format!("{charger}: transaction {id} has {listed_wh} Wh in the export, and {energy} Wh between its meter values")
            });
        }
    }
}

/// Checks one message on its own.
fn check(charger: &str, message: &IndexedMessage, stores_heartbeats: bool, report: &mut Report) {
    let IndexedMessage { entry, records } = message;
    report.messages += 1;
    report.resent += u64::from(entry.attempts > 1);
    report.discarded += u64::from(entry.outcome == Outcome::Discarded);
    let is_acknowledged = entry.outcome == Outcome::Acknowledged;
    report.acknowledged += u64::from(is_acknowledged);
    let name = || {
        let ids = entry.message_ids.join(", ");
        format!("{charger}: {} n={} ({ids})", entry.action, entry.n)
    };
    if records.is_empty() && is_acknowledged {
        if entry.action == "Heartbeat" && !stores_heartbeats {
            report.heartbeats_not_kept += 1;
        } else {
            report.missing += 1;
            report.add_fault(|| format!("{} was acknowledged and has no record", name()));
        }
    }
    if records.len() > 1 {
        report.duplicates_in_effect += 1;
        let seqs: Vec<_> = records.iter().map(|one| one.seq.to_string()).collect();
        report.add_fault(|| {
            format!(
                "{} has {} records: {}",
                name(),
                records.len(),
                seqs.join(", ")
            )
        });
    }
    for one in records {
        let is_altered = entry
            .payload_hash
            .as_ref()
            .is_some_and(|hash| *hash != format!("{:016x}", one.payload_hash));
        if is_altered {
            report.altered += 1;
            report.add_fault(|| {
                format!(
                    "{} has another payload in its record (seq {})",
                    name(),
                    one.seq
                )
            });
        }
    }
    let answered = entry.answer.as_deref().filter(|_| is_acknowledged);
    if let (Some(answered), [one]) = (answered, records.as_slice()) {
        let answered: Value = serde_json::from_str(answered).unwrap_or(Value::Null);
        if answered != one.answer {
            report.wrong_answers += 1;
            report.add_fault(|| {
                format!(
                    "{} was answered with {answered}, but {} is stored (seq {})",
                    name(),
                    one.answer,
                    one.seq
                )
            });
        }
    }
}

/// Merges two entries of one message.
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

fn is_stop(entry: &LedgerEntry) -> bool {
    entry.action == "StopTransaction"
        || entry.action == "TransactionEvent" && entry.natural_key.ends_with("/Ended")
}

fn is_start(entry: &LedgerEntry) -> bool {
    entry.action == "StartTransaction"
        || entry.action == "TransactionEvent" && entry.natural_key.ends_with("/Started")
}
