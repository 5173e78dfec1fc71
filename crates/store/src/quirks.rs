//! Counts of quirks, the same for both databases.
//!
//! A count is no state that can be merged twice, so the quirks of a record are added in the transaction that inserts its
//! message, and only if the insert was not a repetition.

use crate::refusal::Refusal;
use crate::state::readable;
use central::model::{
    ChargerKey, ChargerModel, ChargerState, QuirkCount, QuirkOfRecord, QuirkSummary,
};
use central::query::{Page, Place, QuirkFilter};
use central::{Quirk, RecordId, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The records of a batch that were not stored before.
#[derive(Debug)]
pub(crate) enum NewRecords {
    /// All of them.
    All,
    /// These.
    These(HashSet<RecordId>),
}

impl NewRecords {
    pub(crate) fn has(&self, id: RecordId) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.contains(&id),
        }
    }
}

/// What new records add to the counts, sorted by charger and quirk.
pub(crate) fn added<'a>(
    quirks: &'a [(ChargerKey, QuirkOfRecord)],
    new: &NewRecords,
) -> BTreeMap<(&'a ChargerKey, Quirk), QuirkCount> {
    let mut counts: BTreeMap<(&ChargerKey, Quirk), QuirkCount> = BTreeMap::new();
    // A record that comes twice in a batch has its quirks twice.
    let mut seen = BTreeSet::new();
    for (charger, of_record) in quirks {
        if new.has(of_record.record) && seen.insert((of_record.record, of_record.quirk)) {
            let once = QuirkCount::once(of_record.at);
            counts
                .entry((charger, of_record.quirk))
                .and_modify(|count| count.add(once))
                .or_insert(once);
        }
    }
    counts
}

/// One stored count with its charger's state.
pub(crate) struct StoredCount {
    pub(crate) charger_no: i64,
    pub(crate) state: Option<String>,
    pub(crate) quirk: i64,
    pub(crate) count: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
}

impl StoredCount {
    /// The quirk; `None` for one of a later build.
    pub(crate) fn quirk(&self) -> Option<Quirk> {
        Quirk::from_number(u8::try_from(self.quirk).ok()?)
    }

    pub(crate) fn count(&self) -> QuirkCount {
        QuirkCount {
            count: self.count.unsigned_abs(),
            first_at: Timestamp(self.first_at),
            last_at: Timestamp(self.last_at),
        }
    }
}

/// Collects one page of the summary from all counts, which come in any order. Holds one page of rows.
pub(crate) struct Summary<'f> {
    filter: &'f QuirkFilter,
    after: Option<(Quirk, ChargerModel)>,
    limit: usize,
    rows: BTreeMap<(Quirk, ChargerModel), (u64, QuirkCount)>,
    /// The kind of the charger whose counts came last.
    last: Option<(i64, ChargerModel)>,
}

impl<'f> Summary<'f> {
    pub(crate) const fn new(
        filter: &'f QuirkFilter,
        after: Option<(Quirk, ChargerModel)>,
        limit: usize,
    ) -> Self {
        Self {
            filter,
            after,
            limit,
            rows: BTreeMap::new(),
            last: None,
        }
    }

    pub(crate) fn add(&mut self, stored: &StoredCount) -> Result<(), Refusal> {
        // First of all, because only one row of a charger may have its state.
        let model = self.model_of(stored);
        let Some(quirk) = stored.quirk() else {
            return Ok(());
        };
        let key = (quirk, model);
        let is_wanted = self.filter.quirk.is_none_or(|wanted| wanted == quirk)
            && self.filter.has(&key.1)
            && self.after.as_ref().is_none_or(|after| key > *after);
        if !is_wanted {
            return Ok(());
        }
        let count = stored.count();
        self.rows
            .entry(key)
            .and_modify(|(chargers, sum)| {
                *chargers += 1;
                sum.add(count);
            })
            .or_insert((1, count));
        // A row that is removed here never comes back: only rows before it are added from now on.
        if self.rows.len() > self.limit + 1 {
            self.rows.pop_last();
        }
        Ok(())
    }

    fn model_of(&mut self, stored: &StoredCount) -> ChargerModel {
        if let Some((no, model)) = &self.last
            && *no == stored.charger_no
        {
            return model.clone();
        }
        let model = match &stored.state {
            Some(json) => {
                let state: Option<ChargerState> =
                    readable(json, &format_args!("charger {}", stored.charger_no));
                ChargerModel::of(state.unwrap_or_default().boot.get())
            }
            None => ChargerModel::default(),
        };
        self.last = Some((stored.charger_no, model.clone()));
        model
    }

    pub(crate) fn page(self) -> Page<QuirkSummary> {
        let rows = self
            .rows
            .into_iter()
            .map(|((quirk, model), (chargers, count))| {
                let row = QuirkSummary {
                    quirk,
                    model: model.clone(),
                    chargers,
                    count,
                };
                (Place::Quirk(quirk, model), row)
            });
        crate::paging::cut(rows.collect(), self.limit)
    }
}
