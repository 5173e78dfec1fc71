//! Batches that the database does not take in time: in smaller transactions, down to one record.
//!
//! A time limit says nothing of its cause: a slow disk, a network with long round trips, one record whose
//! changes cost too much. Whatever it is, a batch that ran out of time would run out of it again, so the next
//! try is made of smaller parts, each committed on its own. What is stored by then is known and costs little,
//! and the parts grow again while they go in. One record that runs out of time alone is stored without the
//! change to the list of transactions, which is made later by maintenance: never does a message wait for it.

use central::RecordId;
use std::time::Duration;

/// How much smaller the parts are after one ran out of time.
const SHRINK: usize = 8;

/// How large the next part of a batch is.
#[derive(Debug)]
pub(crate) struct Parts {
    records_max: usize,
    /// The record that ran out of time alone.
    alone: Option<RecordId>,
}

impl Parts {
    /// Whole batches, until one runs out of time.
    pub(crate) const fn new() -> Self {
        Self {
            records_max: usize::MAX,
            alone: None,
        }
    }

    /// How many of the `left` records are tried at once.
    pub(crate) fn next(&self, left: usize) -> usize {
        left.min(self.records_max)
    }

    /// Whether this part is stored without the list of transactions.
    pub(crate) fn is_without_list(&self, ids: &[RecordId]) -> bool {
        matches!((ids, self.alone), ([id], Some(alone)) if *id == alone)
    }

    /// A part with so many records that were new was stored in this time, where `limit` is what one statement
    /// may take. Records that were known already say nothing of how fast new ones go in.
    pub(crate) fn stored(&mut self, ids: &[RecordId], new: u64, took: Duration, limit: Duration) {
        self.alone.take_if(|alone| ids.contains(alone));
        if new > 0 && took < limit / 4 {
            self.records_max = self.records_max.saturating_mul(2);
        }
    }

    /// A part ran out of time.
    pub(crate) fn ran_out_of_time(&mut self, ids: &[RecordId]) {
        if let [id] = ids {
            self.alone = Some(*id);
        }
        self.records_max = (ids.len() / SHRINK).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::GatewayId;
    use uuid::Uuid;

    fn ids(seqs: std::ops::Range<u64>) -> Vec<RecordId> {
        let gateway = GatewayId(Uuid::nil());
        seqs.map(|seq| RecordId { gateway, seq }).collect()
    }

    #[test]
    fn a_batch_that_takes_too_long_comes_down_to_one_record_in_a_few_tries() {
        let all = ids(0..4_000);
        let mut parts = Parts::new();
        let mut tries = 0;
        while parts.next(all.len()) > 1 {
            let next = parts.next(all.len());
            parts.ran_out_of_time(&all[..next]);
            tries += 1;
        }
        assert_eq!(tries, 4);
        assert!(!parts.is_without_list(&all[..1]));
        parts.ran_out_of_time(&all[..1]);
        assert!(parts.is_without_list(&all[..1]));
        assert!(!parts.is_without_list(&all[1..2]), "only that one record");
        let limit = Duration::from_secs(15);
        parts.stored(&all[1..2], 0, Duration::ZERO, limit);
        assert!(parts.is_without_list(&all[..1]), "others were stored");
        parts.stored(&all[..1], 1, limit / 2, limit);
        assert!(!parts.is_without_list(&all[..1]));
        assert_eq!(parts.next(4_000), 1, "known or slow parts do not grow");
        for _ in 0..12 {
            parts.stored(&all[..1], 1, Duration::ZERO, limit);
        }
        assert_eq!(parts.next(4_000), 4_000);
    }
}
