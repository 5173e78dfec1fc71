//! Which stops without a usable id end which transactions, kept in the list of transactions (OCPP 1.6, rule Q-17).
//!
//! The rule is [`central::model::pair`]. It reads a bounded part of a charger's history, so only the rows around
//! a batch's changes are decided again: this module computes which rows must be read ([`Cluster`]) and which of
//! them get another partner ([`Cluster::decide`]). The databases only read and write rows. The cost of a changed
//! row does not depend on the number of the charger's rows.

use central::Timestamp;
use central::model::{
    Candidate, ChargerKey, PAIRING_WINDOW, TransactionState, TransactionView, key_without_start,
    pair,
};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use uuid::Uuid;

/// Rows to read on either side of the changed ones.
pub(crate) const MARGIN: usize = 2 * PAIRING_WINDOW;

/// The role of a row of the list in pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None.
    Settled = 0,
    /// A start without a stop of its own.
    Start = 1,
    /// A stop that names no start.
    Stop = 2,
}

impl Kind {
    pub(crate) const fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Start,
            2 => Self::Stop,
            _ => Self::Settled,
        }
    }
}

/// A row of the list, from its state alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListRow {
    pub(crate) began_at: i64,
    pub(crate) key: Uuid,
    pub(crate) kind: Kind,
    /// Whether the transaction is open, before pairing.
    pub(crate) open: bool,
    pub(crate) token: Option<i64>,
    pub(crate) meter_wh: Option<f64>,
}

impl ListRow {
    fn of(view: &TransactionView, state: &TransactionState) -> Self {
        let known = view.started_at.or(view.ended_at).or(state.first_at());
        let candidate = view.candidate();
        Self {
            began_at: known.map_or(0, Timestamp::as_millis),
            key: view.key,
            kind: match &candidate {
                None => Kind::Settled,
                Some(candidate) if candidate.is_stop => Kind::Stop,
                Some(_) => Kind::Start,
            },
            open: view.open,
            token: candidate.as_ref().and_then(|candidate| candidate.token),
            meter_wh: candidate.and_then(|candidate| candidate.meter_wh),
        }
    }

    /// Its position in the order of pairing.
    pub(crate) const fn place(&self) -> RowPlace {
        RowPlace {
            began_at: self.began_at,
            is_stop: matches!(self.kind, Kind::Stop),
            key: self.key,
        }
    }

    /// What identifies the row in the list.
    const fn id(&self) -> (i64, Uuid) {
        (self.began_at, self.key)
    }
}

/// The rows of a state's transactions, sorted, each once.
pub(crate) fn rows_of(
    state: &TransactionState,
    charger: &ChargerKey,
    wire_id: &str,
) -> Vec<ListRow> {
    let mut rows = BTreeMap::new();
    for view in state.views(charger.as_str(), wire_id) {
        let row = ListRow::of(&view, state);
        rows.entry(row.id()).or_insert(row);
    }
    rows.into_values().collect()
}

/// What of a state's rows is to be written.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Rows to delete, by time and key.
    pub(crate) removed: Vec<(i64, Uuid)>,
    /// New or changed rows.
    pub(crate) written: Vec<ListRow>,
    /// The positions of all these rows that take part in pairing, now or before.
    pub(crate) places: Vec<RowPlace>,
    /// Whether the key that the transaction had while its start was missing is replaced.
    pub(crate) is_key_replaced: bool,
}

impl Difference {
    /// `charger` and `wire_id` are those of the state that both sets of rows are of.
    pub(crate) fn between(
        old: &[ListRow],
        new: &[ListRow],
        charger: &ChargerKey,
        wire_id: &str,
    ) -> Self {
        let mut difference = Self::default();
        let mut note = |row: &ListRow| {
            if row.kind != Kind::Settled {
                difference.places.push(row.place());
            }
        };
        let removed = old
            .iter()
            .filter(|row| !new.iter().any(|other| other.id() == row.id()));
        for row in removed.clone() {
            note(row);
        }
        for row in new {
            match old.iter().find(|other| other.id() == row.id()) {
                Some(before) if before == row => continue,
                Some(before) => note(before),
                None => {}
            }
            note(row);
            difference.written.push(row.clone());
        }
        let first_key = key_without_start(charger, wire_id);
        difference.removed = removed.map(ListRow::id).collect();
        difference.is_key_replaced = !new.is_empty()
            && difference.removed.iter().any(|row| row.1 == first_key)
            && !new.iter().any(|row| row.key == first_key);
        difference
    }
}

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

    /// Whether a row lies from the first place to the last.
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

/// A listed row as the API returns it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) began_at: i64,
    pub(crate) key: Uuid,
    pub(crate) open: bool,
    /// The stop that names no start and ends it: its key, and the number of its state.
    pub(crate) partner: Option<(Uuid, i64)>,
}

/// The row's view, from its own state and, where it has a partner, the partner's; each with the id that it is
/// stored under. An unreadable state leaves its members empty; the row is returned all the same.
pub(crate) fn view(
    row: &Shown,
    charger: &str,
    own: Option<&(String, TransactionState)>,
    partner: Option<&(String, TransactionState)>,
) -> TransactionView {
    let find = |kept: Option<&(String, TransactionState)>, key: Uuid| {
        let (wire_id, state) = kept?;
        let mut views = state.views(charger, wire_id).into_iter();
        views.find(|view| view.key == key)
    };
    let mut view = find(own, row.key).unwrap_or_else(|| {
        let wire_id = own.map_or("", |(wire_id, _)| wire_id);
        TransactionView::unreadable(charger, wire_id, row.key, row.open)
    });
    if let Some((key, _)) = row.partner {
        match find(partner, key) {
            Some(stop) => view.end_by(&stop),
            None => view.open = false,
        }
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

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
        fn rows_that_come_in_any_order_are_paired_as_all_at_once(
            words in proptest::collection::vec((proptest::prelude::any::<u8>(), 0..3_000_i64), 1..500),
            batch in 1..40_usize,
        ) {
            let mut table = Table::default();
            let all: Vec<_> = words.iter().enumerate().map(|(n, (word, at))| candidate(n, *word, *at)).collect();
            for part in all.chunks(batch) {
                let places = part.iter().map(|candidate| table.add(candidate.clone())).collect();
                table.settle(places);
            }
            // Some go again, as a start does that gets a stop of its own.
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
    fn what_is_read_for_a_row_does_not_grow_with_the_history() {
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
        // A row at either end of the history in one batch does not read what lies between.
        table.read = 0;
        let ends = vec![
            table.add(candidate(9_000, 1, -1)),
            table.add(candidate(9_001, 2, 9_000)),
        ];
        table.settle(ends);
        assert!(table.read <= 4 * MARGIN + 2, "{}", table.read);
    }
}
