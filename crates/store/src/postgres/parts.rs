//! Stores a batch that ran out of time in smaller transactions, down to one record.
//!
//! A timeout does not tell its cause: a slow disk, a network with long round trips, one record whose changes
//! cost too much. The same batch would run out of time again, so the next attempt uses smaller parts, each
//! committed on its own. Stored parts are not repeated, so every attempt makes progress, and the parts grow
//! again while they succeed. A single record that runs out of time is stored without its change to the list of
//! transactions; maintenance makes that change later, so the message does not wait for it.

use central::RecordId;
use std::collections::HashSet;
use std::time::Duration;

/// Factor by which the parts shrink after one ran out of time.
const SHRINK: usize = 8;
/// Parts grow after this many consecutive successes, however long each took.
const SUCCESSES_TO_GROW: u32 = 4;

/// The size of the next part of a batch, and which of its records are stored already.
#[derive(Debug)]
pub(crate) struct Parts {
    records_max: usize,
    /// Records stored by this process in parts of an unfinished batch.
    stored: HashSet<RecordId>,
    successes: u32,
    /// The record that ran out of time in a part of its own.
    alone: Option<RecordId>,
}

impl Parts {
    /// Whole batches, until one runs out of time.
    pub(crate) fn new() -> Self {
        Self {
            records_max: usize::MAX,
            stored: HashSet::new(),
            successes: 0,
            alone: None,
        }
    }

    /// Whether a batch of this many records is stored in parts.
    pub(crate) const fn is_in_parts(&self, records: usize) -> bool {
        records > self.records_max
    }

    /// How many of the `left` records go into the next part.
    pub(crate) fn next(&self, left: usize) -> usize {
        left.min(self.records_max)
    }

    /// Whether an earlier attempt at the same batch stored this record.
    pub(crate) fn is_stored(&self, id: RecordId) -> bool {
        self.stored.contains(&id)
    }

    /// Whether this part is stored without the list of transactions.
    pub(crate) fn is_without_list(&self, ids: &[RecordId]) -> bool {
        matches!((ids, self.alone), ([id], Some(alone)) if *id == alone)
    }

    /// A part was stored in this time, where `limit` is the statement timeout.
    pub(crate) fn stored(&mut self, ids: &[RecordId], took: Duration, limit: Duration) {
        self.alone.take_if(|alone| ids.contains(alone));
        self.stored.extend(ids);
        self.successes += 1;
        if took < limit / 4 || self.successes >= SUCCESSES_TO_GROW {
            self.successes = 0;
            self.records_max = self.records_max.saturating_mul(2);
        }
    }

    /// A part ran out of time.
    pub(crate) fn ran_out_of_time(&mut self, ids: &[RecordId]) {
        self.successes = 0;
        if let [id] = ids {
            self.alone = Some(*id);
        }
        self.records_max = (ids.len() / SHRINK).max(1);
    }

    /// The whole batch is stored.
    pub(crate) fn done(&mut self) {
        self.stored = HashSet::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::GatewayId;
    use central::Seq;
    use uuid::Uuid;

    const LIMIT: Duration = Duration::from_secs(15);

    fn ids(seqs: std::ops::Range<u64>) -> Vec<RecordId> {
        let gateway = GatewayId(Uuid::nil());
        seqs.map(|seq| RecordId {
            gateway,
            seq: Seq(seq),
        })
        .collect()
    }

    #[test]
    fn parts_shrink_to_one_record_in_a_few_attempts_and_grow_again() {
        let all = ids(0..4_000);
        let mut parts = Parts::new();
        let mut attempts = 0;
        while parts.next(all.len()) > 1 {
            let next = parts.next(all.len());
            parts.ran_out_of_time(&all[..next]);
            attempts += 1;
        }
        assert_eq!(attempts, 4);
        assert!(!parts.is_without_list(&all[..1]));
        parts.ran_out_of_time(&all[..1]);
        assert!(parts.is_without_list(&all[..1]));
        assert!(!parts.is_without_list(&all[1..2]), "only that one record");
        parts.stored(&all[1..2], LIMIT / 2, LIMIT);
        assert!(parts.is_without_list(&all[..1]), "others were stored");
        parts.stored(&all[..1], LIMIT / 2, LIMIT);
        assert!(!parts.is_without_list(&all[..1]));
        assert_eq!(parts.next(4_000), 1, "slow parts grow slowly");
        for _ in 0..2 * SUCCESSES_TO_GROW {
            parts.stored(&all[2..3], LIMIT / 2, LIMIT);
        }
        assert_eq!(parts.next(4_000), 4);
        for _ in 0..12 {
            parts.stored(&all[2..3], Duration::ZERO, LIMIT);
        }
        assert!(!parts.is_in_parts(4_000));
    }

    /// One record runs out of time unless it is stored without the list, and every attempt begins with the first
    /// record.
    #[test]
    fn every_attempt_stores_more_wherever_the_slow_record_is() {
        for slow in [0, 1, 599, 3_999] {
            let all = ids(0..4_000);
            let mut parts = Parts::new();
            let mut attempts = 0;
            'attempts: loop {
                attempts += 1;
                assert!(attempts < 100, "record {slow} is never stored");
                let mut left: Vec<RecordId> = all
                    .iter()
                    .filter(|id| !parts.is_stored(**id))
                    .copied()
                    .collect();
                // An attempt ends after this many parts.
                for _ in 0..20 {
                    let part: Vec<RecordId> = left.drain(..parts.next(left.len())).collect();
                    if part.iter().any(|id| id.seq == Seq(slow)) && !parts.is_without_list(&part) {
                        parts.ran_out_of_time(&part);
                        continue 'attempts;
                    }
                    parts.stored(&part, LIMIT / 2, LIMIT);
                    if left.is_empty() {
                        break 'attempts;
                    }
                }
            }
        }
    }
}
