//! The list of transactions: what is sorted and filtered by, kept beside the states.
//!
//! A state may tell of several transactions, and an end without a usable id may belong to a start of
//! another state of the same charger ([`pair_orphans`]). Both are settled here when a state changes,
//! so that a page of the list is a walk along an index.

use crate::refusal::Refusal;
use central::Timestamp;
use central::model::{First, Stamp, TransactionState, TransactionView, pair_orphans};
use ocpp::Version;
use rusqlite::{Connection, Row, params};
use std::collections::HashMap;
use uuid::Uuid;

/// Open transactions and ends without a start that are looked at together, the latest first. A
/// charger with more of them has a story that only its messages can tell.
pub(crate) const WAITING_MAX: i64 = 1_000;

/// What the list depends on; while it stays the same, nothing need be written.
#[derive(Debug, PartialEq)]
pub(crate) struct Outline {
    version: Option<Version>,
    first_at: Option<Timestamp>,
    starts: Vec<Option<Stamp>>,
    stops: Vec<Option<Stamp>>,
}

impl Outline {
    /// The outline of a state.
    pub(crate) fn of(state: &TransactionState) -> Self {
        Self {
            version: state.version.get().copied(),
            first_at: state.first_at,
            starts: state.starts.values().map(First::stamp).collect(),
            stops: state.stops.values().map(First::stamp).collect(),
        }
    }
}

/// Where a state is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) charger_no: i64,
    pub(crate) charger: &'a str,
    pub(crate) transaction_no: i64,
    pub(crate) wire_id: &'a str,
}

/// What a transaction says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alone {
    Ended = 0,
    Open = 1,
    Orphan = 2,
}

impl Alone {
    pub(crate) fn of(view: &TransactionView) -> Self {
        match (view.started_at, view.ended_at) {
            (_, None) => Self::Open,
            (Some(_), Some(_)) => Self::Ended,
            (None, Some(_)) => Self::Orphan,
        }
    }
}

/// When a transaction began, as far as is known.
pub(crate) fn began_at(view: &TransactionView, state: &TransactionState) -> i64 {
    let known = view.started_at.or(view.ended_at).or(state.first_at);
    known.map_or(0, Timestamp::as_millis)
}

/// Lists a state's transactions anew.
pub(crate) fn write(
    connection: &Connection,
    place: &Place<'_>,
    state: &TransactionState,
) -> Result<(), Refusal> {
    connection
        .prepare_cached("DELETE FROM transaction_views WHERE transaction_no = ?1")?
        .execute([place.transaction_no])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO transaction_views
            (began_at, key, charger_no, transaction_no, alone, open, hidden)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)
         ON CONFLICT (began_at, key) DO NOTHING",
    )?;
    for view in state.views(place.charger, place.wire_id) {
        insert.execute(params![
            began_at(&view, state),
            view.key.as_bytes(),
            place.charger_no,
            place.transaction_no,
            Alone::of(&view) as i64,
            view.open,
        ])?;
    }
    pair(connection, place.charger_no, place.charger)
}

/// Settles which of a charger's ends without a start belong to which of its open transactions.
fn pair(connection: &Connection, charger_no: i64, charger: &str) -> Result<(), Refusal> {
    // Also when the last such end found a start of its own: what it had ended is open again.
    let concerned = connection
        .prepare_cached(
            "SELECT 1 FROM transaction_views
             WHERE charger_no = ?1 AND alone > 0 AND (alone = 2 OR NOT open) LIMIT 1",
        )?
        .exists([charger_no])?;
    if !concerned {
        return Ok(());
    }
    let waiting = waiting(connection, charger_no, charger)?;
    let paired: HashMap<Uuid, bool> = waiting
        .views
        .iter()
        .map(|view| (view.key, view.open))
        .collect();
    let rows: Vec<(i64, Uuid, i64)> = connection
        .prepare_cached(
            "SELECT began_at, key, transaction_no FROM transaction_views
             WHERE charger_no = ?1 AND alone > 0",
        )?
        .query_map([charger_no], |row| {
            Ok((row.get(0)?, uuid_of(row, 1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut update = connection.prepare_cached(
        "UPDATE transaction_views SET open = ?3, hidden = ?4
         WHERE began_at = ?1 AND key = ?2 AND (open <> ?3 OR hidden <> ?4)",
    )?;
    for (began_at, key, transaction_no) in rows {
        if waiting.unreadable.contains(&transaction_no) {
            continue;
        }
        let (open, hidden) = match paired.get(&key) {
            Some(open) => (*open, false),
            None => (false, true),
        };
        update.execute(params![began_at, key.as_bytes(), open, hidden])?;
    }
    Ok(())
}

/// A charger's open transactions and ends without a start.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// As they are shown after pairing.
    pub(crate) views: Vec<TransactionView>,
    /// Numbers of those whose state cannot be read; they take no part.
    unreadable: Vec<i64>,
}

/// What of a charger waits for its end or its beginning.
pub(crate) fn waiting(
    connection: &Connection,
    charger_no: i64,
    charger: &str,
) -> Result<Waiting, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT transaction_no FROM (
            SELECT transaction_no FROM transaction_views
            WHERE charger_no = ?1 AND alone > 0 ORDER BY began_at DESC, key DESC LIMIT ?2)",
    )?;
    let numbers: Vec<i64> = statement
        .query_map(params![charger_no, WAITING_MAX], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut views = Vec::new();
    let mut unreadable = Vec::new();
    for no in numbers {
        let Some((wire_id, state)) = load(connection, no)? else {
            unreadable.push(no);
            continue;
        };
        views.extend(
            state
                .views(charger, &wire_id)
                .into_iter()
                .filter(|view| Alone::of(view) != Alone::Ended),
        );
    }
    // Pairing must not depend on the order in which the rows came to be.
    views.sort_by_key(|view| (view.started_at, view.ended_at, view.key));
    Ok(Waiting {
        views: pair_orphans(views),
        unreadable,
    })
}

/// A stored state with its id on the wire. `None` when it cannot be read: that is one transaction's
/// trouble and must not become everybody's. It is set aside and begun anew when its charger next
/// speaks of it.
pub(crate) fn load(
    connection: &Connection,
    transaction_no: i64,
) -> Result<Option<(String, TransactionState)>, Refusal> {
    let (wire_id, json): (String, String) = connection
        .prepare_cached("SELECT wire_id, state FROM transactions WHERE no = ?1")?
        .query_row([transaction_no], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match serde_json::from_str(&json) {
        Ok(state) => Ok(Some((wire_id, state))),
        Err(error) => {
            tracing::error!(wire_id, %error, "the state of a transaction cannot be read; it is passed over");
            Ok(None)
        }
    }
}

/// Reads a UUID column.
pub(crate) fn uuid_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}
