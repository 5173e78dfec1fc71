//! A round: which entries of the queue are moved to the log together. It is bounded, takes all rows of an object at once, and
//! goes on without an object that cannot be read.

use super::queue::{Change, Queued};
use crate::refusal::Refusal;
use central::RecordId;
use std::collections::HashSet;
use uuid::Uuid;

/// Rows of the queue that a round reads; those of one object become one.
pub(crate) const QUEUE_ROWS_READ: i64 = 5_000;

/// What a round does: the distinct entries, oldest first, and the numbers of all rows that it takes from the queue.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) entries: Vec<Queued>,
    pub(crate) taken: Vec<i64>,
    pub(crate) has_more: bool,
}

impl Round {
    /// Chooses at most `limit` entries from these rows of the queue, which are in their order.
    pub(crate) fn of(rows: &[(i64, Queued)], limit: usize) -> Self {
        let mut round = Self::default();
        let mut chosen = HashSet::new();
        for (no, entry) in rows {
            if chosen.contains(entry) {
                round.taken.push(*no);
            } else if round.entries.len() < limit {
                if entry.change.is_of_state() {
                    chosen.insert(*entry);
                }
                round.entries.push(*entry);
                round.taken.push(*no);
            } else {
                round.has_more = true;
            }
        }
        round.has_more |= rows.len() as i64 >= QUEUE_ROWS_READ;
        round
    }

    /// What follows when this round found an object that cannot be read: the limit of a smaller round. `None` for a round
    /// of one entry, which then has no event, so that it does not hold back all others.
    ///
    /// # Errors
    /// The refusal, if it has another reason.
    pub(crate) fn smaller(&self, refusal: Refusal) -> Result<Option<usize>, Refusal> {
        if !refusal.is_corrupt() {
            return Err(refusal);
        }
        if self.entries.len() > 1 {
            return Ok(Some(self.entries.len() / 2));
        }
        let (entry, error) = (self.entries.first(), refusal.into_unavailable());
        tracing::error!(%error, ?entry, "an object cannot be read, so its change has no event");
        Ok(None)
    }

    fn numbers(&self, changes: &[Change], number: fn(&Queued) -> Option<i64>) -> Vec<i64> {
        let wanted = self
            .entries
            .iter()
            .filter(|entry| changes.contains(&entry.change));
        let mut numbers: Vec<i64> = wanted.filter_map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub(crate) fn transactions(&self) -> Vec<i64> {
        self.numbers(&[Change::Transaction], |entry| entry.number)
    }

    /// Chargers that are shown, with or without their connectors.
    pub(crate) fn chargers(&self) -> Vec<i64> {
        let all = [
            Change::Connected,
            Change::Disconnected,
            Change::Booted,
            Change::Connector,
            Change::Security,
            Change::TokenRefused,
            Change::Firmware,
        ];
        self.numbers(&all, |entry| entry.charger_no)
    }

    pub(crate) fn dead_letters(&self) -> Vec<i64> {
        self.numbers(&[Change::DeadLetter], |entry| entry.number)
    }

    pub(crate) fn audit(&self) -> Vec<i64> {
        self.numbers(&[Change::Audit], |entry| entry.number)
    }

    pub(crate) fn handshakes(&self) -> Vec<i64> {
        self.numbers(&[Change::Refused], |entry| entry.number)
    }

    pub(crate) fn commands(&self) -> Vec<Uuid> {
        self.ids(|change| !matches!(change, Change::Alert | Change::TokenRefused))
    }

    pub(crate) fn alerts(&self) -> Vec<Uuid> {
        self.ids(|change| change == Change::Alert)
    }

    fn ids(&self, is_wanted: fn(Change) -> bool) -> Vec<Uuid> {
        let wanted = self.entries.iter().filter(|entry| is_wanted(entry.change));
        let mut ids: Vec<Uuid> = wanted.filter_map(|entry| entry.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The messages that presented tokens that were refused.
    pub(crate) fn refusing_messages(&self) -> Vec<RecordId> {
        let wanted = self
            .entries
            .iter()
            .filter(|entry| entry.change == Change::TokenRefused);
        wanted.filter_map(Queued::message).collect()
    }

    /// The commands whose effect has changed.
    pub(crate) fn effects(&self) -> impl Iterator<Item = Uuid> {
        let changed = self
            .entries
            .iter()
            .filter(|entry| entry.change == Change::Effect);
        changed.filter_map(|entry| entry.id)
    }

    /// The numbers of the changes of parts of the pipeline.
    pub(crate) fn parts(&self) -> Vec<i64> {
        self.numbers(&[Change::Part], |entry| entry.number)
    }

    /// Charger, time and hash of the rows of security events and of states of firmware.
    pub(crate) fn reported(&self) -> Vec<(i64, i64, i64)> {
        let wanted = self
            .entries
            .iter()
            .filter(|entry| matches!(entry.change, Change::Security | Change::Firmware));
        wanted
            .filter_map(|entry| Some((entry.charger_no?, entry.at, entry.number?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::ports::SEQUENCED_MAX;

    fn rows(numbers: &[(i64, i64)]) -> Vec<(i64, Queued)> {
        numbers
            .iter()
            .map(|(no, transaction)| (*no, Queued::transaction(*transaction)))
            .collect()
    }

    #[test]
    fn a_round_takes_all_rows_of_an_object_and_leaves_what_is_too_much() {
        let many: Vec<(i64, i64)> = (0..2_000).map(|no| (no, no % 600)).collect();
        let round = Round::of(&rows(&many), SEQUENCED_MAX);
        assert_eq!(round.entries.len(), SEQUENCED_MAX);
        assert!(round.has_more);
        let of_first = round.taken.iter().filter(|no| **no % 600 == 0).count();
        assert_eq!(of_first, 4);
        assert!(round.taken.iter().all(|no| no % 600 < 500));
        let few = Round::of(&rows(&[(4, 9), (5, 8), (7, 9)]), SEQUENCED_MAX);
        assert_eq!(few.transactions(), [8, 9]);
        assert_eq!(
            (few.entries.len(), few.taken.len(), few.has_more),
            (2, 3, false)
        );
    }
}
