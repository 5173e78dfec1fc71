//! Decides which stops without a usable id end which transactions, row by row in the list of transactions (OCPP 1.6,
//! rule Q-17).
//!
//! The rule is [`central::model::pair`]. It reads a bounded part of a charger's history, so only the rows around
//! a batch's changes are decided again: this module computes which rows must be read ([`Cluster`]) and which of
//! them get another partner ([`Cluster::decide`]). The databases only read and write rows. The cost of a changed
//! row does not depend on the number of the charger's rows.

use crate::listing::Kind;
use central::model::{Candidate, PAIRING_WINDOW, pair};
use std::collections::HashMap;
use std::hash::Hash;
use uuid::Uuid;

/// Rows to read on either side of the changed ones.
pub(crate) const MARGIN: usize = 2 * PAIRING_WINDOW;

/// The order of rows in pairing: as [`Candidate::place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowPlace {
    pub(crate) began_at: i64,
    pub(crate) is_stop: bool,
    pub(crate) key: Uuid,
}

impl RowPlace {
    pub(crate) const fn kind_code(&self) -> i64 {
        if self.is_stop {
            Kind::Stop as i64
        } else {
            Kind::Start as i64
        }
    }
}

/// A row that takes part in pairing, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct PairRow {
    pub(crate) candidate: Candidate,
    pub(crate) transaction_no: i64,
    pub(crate) partner: Option<Uuid>,
}

impl PairRow {
    const fn place(&self) -> RowPlace {
        RowPlace {
            began_at: self.candidate.at.0,
            is_stop: self.candidate.is_stop,
            key: self.candidate.key,
        }
    }
}

/// Changed rows of one charger that are decided together.
#[derive(Debug, Clone)]
pub(crate) struct Cluster<C> {
    pub(crate) charger_no: C,
    /// Sorted; never empty.
    places: Vec<RowPlace>,
}

impl<C: Copy + Eq + Hash> Cluster<C> {
    /// One cluster for each charger.
    pub(crate) fn of(places: impl IntoIterator<Item = (C, RowPlace)>) -> Vec<Self> {
        let mut by_charger: HashMap<C, Vec<RowPlace>> = HashMap::new();
        for (charger_no, place) in places {
            by_charger.entry(charger_no).or_default().push(place);
        }
        by_charger
            .into_iter()
            .map(|(charger_no, mut places)| {
                places.sort_unstable();
                places.dedup();
                Self { charger_no, places }
            })
            .collect()
    }

    pub(crate) fn first(&self) -> RowPlace {
        self.places[0]
    }

    pub(crate) fn last(&self) -> RowPlace {
        self.places[self.places.len() - 1]
    }

    /// Whether a row is between the first position and the last, both included.
    pub(crate) fn spans(&self, row: &PairRow) -> bool {
        (self.first()..=self.last()).contains(&row.place())
    }

    /// The maximum number of rows from the first position to the last that are read at once. With more, the
    /// positions are far apart, and [`Cluster::split`] is cheaper.
    pub(crate) fn rows_max(&self) -> usize {
        4 * self.places.len() + MARGIN
    }

    /// Both halves; `None` for a single position.
    pub(crate) fn split(mut self) -> Option<(Self, Self)> {
        if self.places.len() < 2 {
            return None;
        }
        let later = Self {
            charger_no: self.charger_no,
            places: self.places.split_off(self.places.len() / 2),
        };
        Some((self, later))
    }

    /// The rows that get another partner. `rows` are those from the first position to the last, and [`MARGIN`]
    /// on either side as far as they exist; sorted here.
    pub(crate) fn decide(&self, rows: &mut [PairRow]) -> Vec<Partnering> {
        rows.sort_unstable_by_key(PairRow::place);
        let candidates: Vec<Candidate> = rows.iter().map(|row| row.candidate.clone()).collect();
        let partners = pair(&candidates);
        let first = rows.partition_point(|row| row.place() < self.first());
        let behind = rows.partition_point(|row| row.place() <= self.last());
        let touched = first.saturating_sub(PAIRING_WINDOW)
            ..rows.len().min(behind.saturating_add(PAIRING_WINDOW));
        touched
            .filter_map(|at| {
                let row = &rows[at];
                let partner = partners[at].map(|partner| &rows[partner]);
                let key = partner.map(|partner| partner.candidate.key);
                (key != row.partner).then(|| Partnering {
                    began_at: row.candidate.at.0,
                    key: row.candidate.key,
                    partner: partner.map(|partner| (partner.candidate.key, partner.transaction_no)),
                })
            })
            .collect()
    }
}

/// A row's new partner, with the number of the partner's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partnering {
    pub(crate) began_at: i64,
    pub(crate) key: Uuid,
    pub(crate) partner: Option<(Uuid, i64)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::Timestamp;

    /// A charger's rows as a database would keep them.
    #[derive(Default)]
    struct Table {
        rows: Vec<PairRow>,
        read: usize,
    }

    impl Table {
        fn add(&mut self, candidate: Candidate) -> RowPlace {
            let row = PairRow {
                candidate,
                transaction_no: 0,
                partner: None,
            };
            let place = row.place();
            self.rows.push(row);
            self.rows.sort_by_key(PairRow::place);
            place
        }

        fn settle(&mut self, places: Vec<RowPlace>) {
            let mut clusters = Cluster::of(places.into_iter().map(|place| (0, place)));
            while let Some(cluster) = clusters.pop() {
                let first = self
                    .rows
                    .partition_point(|row| row.place() < cluster.first());
                let behind = self
                    .rows
                    .partition_point(|row| row.place() <= cluster.last());
                if behind - first > cluster.rows_max()
                    && let Some((a, b)) = cluster.clone().split()
                {
                    clusters.extend([a, b]);
                    continue;
                }
                let to = self.rows.len().min(behind + MARGIN);
                let mut part = self.rows[first.saturating_sub(MARGIN)..to].to_vec();
                self.read += part.len();
                for change in cluster.decide(&mut part) {
                    let row = self
                        .rows
                        .iter_mut()
                        .find(|row| row.candidate.key == change.key);
                    row.expect("a row").partner = change.partner.map(|partner| partner.0);
                }
            }
        }
    }

    fn candidate(n: usize, word: u8, at: i64) -> Candidate {
        Candidate {
            at: Timestamp(at),
            is_stop: word.is_multiple_of(2),
            key: Uuid::from_u128(n as u128 * 0x9e37_79b9),
            token: (!word.is_multiple_of(3)).then_some(i64::from(word % 5)),
            meter_wh: (!word.is_multiple_of(7)).then_some(f64::from(word % 11)),
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]
        #[test]
        fn pairing_row_by_row_in_any_order_equals_pairing_all_at_once(
            words in proptest::collection::vec((proptest::prelude::any::<u8>(), 0..3_000_i64), 1..500),
            batch in 1..40_usize,
        ) {
            let mut table = Table::default();
            let all: Vec<_> = words.iter().enumerate().map(|(n, (word, at))| candidate(n, *word, *at)).collect();
            for part in all.chunks(batch) {
                let places = part.iter().map(|candidate| table.add(candidate.clone())).collect();
                table.settle(places);
            }
            // Remove some rows, as when a start gets a stop of its own.
            let gone: Vec<RowPlace> = table.rows.iter().step_by(7).map(PairRow::place).collect();
            table.rows.retain(|row| !gone.contains(&row.place()));
            table.settle(gone);
            let candidates: Vec<_> = table.rows.iter().map(|row| row.candidate.clone()).collect();
            let want: Vec<_> = pair(&candidates)
                .into_iter()
                .map(|partner| partner.map(|at| candidates[at].key))
                .collect();
            let have: Vec<_> = table.rows.iter().map(|row| row.partner).collect();
            proptest::prop_assert_eq!(have, want);
        }
    }

    #[test]
    fn rows_read_per_change_do_not_grow_with_the_history() {
        let mut table = Table::default();
        let mut per_thousand = Vec::new();
        for n in 0..6_000 {
            if n % 1_000 == 0 {
                per_thousand.push(std::mem::take(&mut table.read));
            }
            let place = table.add(candidate(n, [1, 2][n % 2], n as i64));
            table.settle(vec![place]);
        }
        assert!(
            per_thousand[5] <= per_thousand[1] + per_thousand[1] / 10,
            "{per_thousand:?}"
        );
        // Two rows at the two ends of the history in one batch: the rows between are not read.
        table.read = 0;
        let ends = vec![
            table.add(candidate(9_000, 1, -1)),
            table.add(candidate(9_001, 2, 9_000)),
        ];
        table.settle(ends);
        assert!(table.read <= 4 * MARGIN + 2, "{}", table.read);
    }
}
