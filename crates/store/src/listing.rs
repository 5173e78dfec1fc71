//! The list of transactions: which rows a state has in it, and how a row becomes a view.
//!
//! The list has the columns to sort and filter by, stored beside the states. A state may contain several
//! transactions, and a stop without a usable id may end a start in another state of the same charger
//! ([`crate::pairing`]). Both are resolved when states change, so that a page of the list is an index scan.

use crate::pairing::RowPlace;
use crate::succession::{Order, Successor, order_of, read_readings};
use central::Timestamp;
use central::model::{
    ChargerKey, First, PlaceSession, PlaceStop, Stamp, TransactionState, TransactionView,
    key_without_start,
};
use central::ports::Closing;
use central::query::Place;
use ocpp::Version;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A state to be listed, and where it is stored; `N` is the type of a charger's number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a, N> {
    pub(crate) charger_no: N,
    pub(crate) charger: &'a ChargerKey,
    pub(crate) transaction_no: i64,
    pub(crate) wire_id: &'a str,
    pub(crate) state: &'a TransactionState,
}

/// The members of a state that the list depends on; while they are unchanged, no row is written.
#[derive(Debug, PartialEq)]
pub(crate) struct Outline {
    version: Option<Version>,
    first_at: Option<Timestamp>,
    starts: Vec<Option<Stamp>>,
    stops: Vec<Option<Stamp>>,
    /// The tokens and their statuses, which may become known later.
    tokens: Vec<[Option<Stamp>; 2]>,
    /// The EVSE and the connector, which may become known later.
    places: Vec<(Option<i64>, Option<i64>)>,
    /// What pairing reads from other messages when the start lacks it: the token and the register. `None` for a
    /// state that is not paired.
    pairing: Option<[Option<Stamp>; 3]>,
}

impl Outline {
    /// The outline of a state.
    pub(crate) fn of(state: &TransactionState) -> Self {
        // Only a 1.6 start without a stop is paired.
        let is_paired = state.stops.is_empty() && state.version.get() == Some(&Version::V16);
        Self {
            version: state.version.get().copied(),
            first_at: state.first_at(),
            starts: state.starts.values().map(First::stamp).collect(),
            stops: state.stops.values().map(First::stamp).collect(),
            tokens: state.token_stamps(),
            places: state.places(),
            pairing: is_paired.then(|| state.pairing_stamps()),
        }
    }
}

/// The role of a row of the list in pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It takes no part in pairing.
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
    /// The connector or EVSE, and what of the session affects the others there.
    pub(crate) place: Option<(i64, PlaceSession)>,
    pub(crate) stop: Option<PlaceStop>,
    /// The key of the token that was accepted for it.
    pub(crate) token_key: Option<String>,
    /// Of a stored row: whether a later session supersedes it.
    pub(crate) is_superseded: bool,
}

/// The columns `place`, `start_at`, `start_received_at`, `written_start_at` and `heard_at`.
pub(crate) type PlaceColumns = [Option<i64>; 5];

/// The columns `stopped_at` and `stop_received_at`.
pub(crate) type StopColumns = [Option<i64>; 2];

impl ListRow {
    pub(crate) fn place_columns(&self) -> PlaceColumns {
        let Some((place, session)) = self.place else {
            return [None; 5];
        };
        [
            Some(place),
            Some(session.start_at.as_millis()),
            Some(session.start_received_at.as_millis()),
            session.written_start_at.map(Timestamp::as_millis),
            Some(session.heard_at.as_millis()),
        ]
    }

    /// The members `place` and `stop` from their columns.
    pub(crate) fn placed(
        key: Uuid,
        [
            place,
            start_at,
            start_received_at,
            written_start_at,
            heard_at,
        ]: PlaceColumns,
        stop: StopColumns,
    ) -> (Option<(i64, PlaceSession)>, Option<PlaceStop>) {
        let stop = stop_of(stop);
        let session = |start_at| PlaceSession {
            key,
            start_at: Timestamp(start_at),
            start_received_at: Timestamp(start_received_at.unwrap_or(start_at)),
            written_start_at: written_start_at.map(Timestamp),
            heard_at: Timestamp(heard_at.unwrap_or(start_at)),
            stop,
        };
        (place.zip(start_at.map(session)), stop)
    }

    pub(crate) fn stop_columns(&self) -> StopColumns {
        [
            self.stop.map(|stop| stop.written_at.as_millis()),
            self.stop.map(|stop| stop.received_at.as_millis()),
        ]
    }

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
            place: view.place().zip(view.place_session()),
            stop: view.place_stop(),
            token_key: view.accepted_token(),
            is_superseded: false,
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

    /// Whether `new` need not be written in the place of this stored row. The time of the latest report
    /// changes with each message; a later one than stored matters only while another session supersedes this one.
    fn is_current(&self, new: &Self) -> bool {
        let mut new = new.clone();
        new.is_superseded = self.is_superseded;
        if let Some(((_, old), (_, session))) = self.place.as_ref().zip(new.place.as_mut())
            && !self.is_superseded
            && session.heard_at > old.heard_at
        {
            session.heard_at = old.heard_at;
        }
        *self == new
    }

    /// What identifies the row in the list.
    const fn id(&self) -> (i64, Uuid) {
        (self.began_at, self.key)
    }
}

/// A stop from its columns.
pub(crate) fn stop_of([stopped_at, received_at]: StopColumns) -> Option<PlaceStop> {
    Some(PlaceStop {
        written_at: Timestamp(stopped_at?),
        received_at: Timestamp(received_at?),
    })
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

/// The rows of a state that must be written or deleted.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Rows to delete, by time and key.
    pub(crate) removed: Vec<(i64, Uuid)>,
    /// New or changed rows.
    pub(crate) written: Vec<ListRow>,
    /// The positions of all these rows that take part in pairing, now or before.
    pub(crate) places: Vec<RowPlace>,
    /// The positions of all these rows among the sessions of their connectors, now or before.
    pub(crate) at_places: Vec<(i64, Order)>,
    /// The key that the transaction had while its start was missing, and the one that replaces it, if it is replaced.
    pub(crate) replaced_key: Option<(Uuid, Uuid)>,
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
            if let Some((place, session)) = &row.place {
                difference.at_places.push((*place, order_of(session)));
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
                Some(before) if before.is_current(row) => continue,
                Some(before) => note(before),
                None => {}
            }
            note(row);
            difference.written.push(row.clone());
        }
        let first_key = key_without_start(charger, wire_id);
        difference.removed = removed.map(ListRow::id).collect();
        let is_gone = difference.removed.iter().any(|row| row.1 == first_key)
            && !new.iter().any(|row| row.key == first_key);
        difference.replaced_key = new
            .first()
            .filter(|_| is_gone)
            .map(|row| (first_key, row.key));
        difference
    }
}

/// A listed row as the API returns it; `N` is the type of a charger's number.
#[derive(Debug, Clone)]
pub(crate) struct TransactionRow<N> {
    pub(crate) began_at: i64,
    pub(crate) key: Uuid,
    pub(crate) charger_no: N,
    pub(crate) transaction_no: i64,
    pub(crate) open: bool,
    /// The stop that names no start and ends it: its key, and the number of its state.
    pub(crate) partner: Option<(Uuid, i64)>,
    pub(crate) successor: Option<Successor>,
    /// The JSON of the readings that name no transaction.
    pub(crate) readings: Option<String>,
    /// Whether a person closed it.
    pub(crate) is_closed: bool,
    /// The entry of the person who closed it, once it is read.
    pub(crate) closing: Option<Closing>,
}

impl<N> TransactionRow<N> {
    /// Its position in the list.
    pub(crate) const fn place(&self) -> Place {
        Place::Transaction(Timestamp(self.began_at), self.key)
    }
}

/// The views of one state. Built once for all rows of a page: an id that a charger uses again has many rows.
pub(crate) struct StateViews {
    wire_id: String,
    views: HashMap<Uuid, TransactionView>,
}

impl StateViews {
    /// `wire_id` is the id that the state is stored under.
    pub(crate) fn of(charger: &str, wire_id: String, state: &TransactionState) -> Self {
        let mut views = HashMap::new();
        for view in state.views(charger, &wire_id) {
            views.entry(view.key).or_insert(view);
        }
        Self { wire_id, views }
    }
}

/// The row's view, from its own state and, where it has a partner, the partner's. An unreadable state leaves its
/// members empty; the row is returned all the same.
pub(crate) fn view<N>(
    row: &TransactionRow<N>,
    charger: &str,
    own: Option<&StateViews>,
    partner: Option<&StateViews>,
) -> TransactionView {
    let find = |views: Option<&StateViews>, key: Uuid| views?.views.get(&key).cloned();
    let mut view = find(own, row.key).unwrap_or_else(|| {
        let wire_id = own.map_or("", |own| &own.wire_id);
        TransactionView::unreadable(charger, wire_id, row.key, row.open)
    });
    if let Some((key, _)) = row.partner {
        match find(partner, key) {
            Some(stop) => view.end_by(&stop),
            None => view.open = false,
        }
    }
    if let Some(held) = row.readings.as_deref().and_then(read_readings) {
        view.add_readings(held.readings);
    }
    if let Some(closing) = &row.closing {
        view.close(closing.by(), closing.ended_at);
    } else if let Some(next) = row.successor {
        view.supersede(next.key, Timestamp(next.at), Timestamp(next.received_at));
    }
    view
}
