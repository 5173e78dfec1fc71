//! Queries for transactions: an index scan over the list that [`crate::sqlite::listing`] maintains; each result
//! is built from its state.

use super::chargers::spelling;
use crate::filter;
use crate::listing::{self, StateViews, TransactionRow};
use crate::paging::{at_most, cut, empty};
use crate::refusal::Refusal;
use crate::sqlite::listing::{load, uuid_of};
use crate::sqlite::{closings, numbers, succession};
use central::Timestamp;
use central::model::TransactionView;
use central::query::{Page, TransactionFilter, WireId};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use uuid::Uuid;

pub(super) fn page(
    connection: &Connection,
    filter: &TransactionFilter,
    (after_at, after_key): (Timestamp, Uuid),
    limit: usize,
) -> Result<Page<TransactionView>, Refusal> {
    let Some(matching) = resolve(connection, filter)? else {
        return Ok(empty());
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM transaction_views v {}
            AND (v.began_at, v.key) < (:after_at, :after_key)
         ORDER BY v.began_at DESC, v.key DESC LIMIT :limit",
        matching.sql()
    );
    let mut listed: Vec<_> = connection
        .prepare_cached(&sql)?
        .query_map(
            named_params! {
                ":charger": matching.charger_no,
                ":from": matching.began.from,
                ":to": matching.began.to,
                ":after_at": after_at.0,
                ":after_key": after_key.as_bytes(),
                ":limit": at_most(limit + 1),
            },
            |row| read(row).map(|row| (row.place(), row)),
        )?
        .collect::<Result<_, _>>()?;
    for (_, row) in &mut listed {
        add_closing(row, connection)?;
    }
    // The end of the page does not depend on which of its rows are readable.
    let page = cut(listed, limit);
    let mut shared = Shared::default();
    let mut items = Vec::with_capacity(page.items.len());
    for row in &page.items {
        items.push(view(row, connection, &mut shared)?);
    }
    Ok(Page {
        items,
        next: page.next,
    })
}

const COLUMNS: &str =
    "v.began_at, v.key, v.charger_no, v.transaction_no, v.open, v.partner, v.partner_no,
    v.successor, v.successor_at, v.successor_received_at, v.readings, v.closed";

pub(crate) fn one(connection: &Connection, key: Uuid) -> Result<Option<TransactionView>, Refusal> {
    let by_key = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM transaction_views v WHERE v.key = ?1 AND NOT v.hidden"
        ))?
        .query_row([key.as_bytes()], read)
        .optional()?;
    // The key of a stop that names no start leads to the start that shows it.
    let by_key = match by_key {
        Some(row) => Some(row),
        None => connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM transaction_views v WHERE NOT v.hidden AND v.key =
                    (SELECT partner FROM transaction_views WHERE key = ?1 AND hidden)"
            ))?
            .query_row([key.as_bytes()], read)
            .optional()?,
    };
    let row = match by_key {
        Some(row) => Some(row),
        // A key that the transaction had before its start arrived still finds the start, if there is one.
        None => {
            let rows: Vec<TransactionRow<i64>> = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM transaction_aliases a
                     JOIN transaction_views v ON v.transaction_no = a.transaction_no
                     WHERE a.key = ?1 AND NOT v.hidden LIMIT 2"
                ))?
                .query_map([key.as_bytes()], read)?
                .collect::<Result<_, _>>()?;
            <[TransactionRow<i64>; 1]>::try_from(rows)
                .ok()
                .map(|[row]| row)
        }
    };
    let Some(mut row) = row else {
        return Ok(None);
    };
    add_closing(&mut row, connection)?;
    view(&row, connection, &mut Shared::default()).map(Some)
}

/// The sessions of a state, by the state's number.
pub(in crate::sqlite) fn of_state(
    connection: &Connection,
    transaction_no: i64,
) -> Result<Vec<TransactionView>, Refusal> {
    let rows: Vec<TransactionRow<i64>> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM transaction_views v WHERE v.transaction_no = ?1 AND NOT v.hidden
             ORDER BY v.began_at, v.key"
        ))?
        .query_map([transaction_no], read)?
        .collect::<Result<_, _>>()?;
    let mut shared = Shared::default();
    let mut views = Vec::with_capacity(rows.len());
    for mut row in rows {
        add_closing(&mut row, connection)?;
        views.push(view(&row, connection, &mut shared)?);
    }
    Ok(views)
}

/// The sessions with these ids on the wire.
pub(super) fn on_wire(
    connection: &Connection,
    ids: &[WireId],
) -> Result<Vec<TransactionView>, Refusal> {
    let mut find = connection.prepare_cached(
        "SELECT t.no FROM chargers c JOIN transactions t ON t.charger_no = c.no
         WHERE c.key = ?1 AND t.wire_id = ?2",
    )?;
    let mut views = Vec::new();
    for id in ids {
        let no: Option<i64> = find
            .query_row([id.charger.as_str(), &id.id], |row| row.get(0))
            .optional()?;
        if let Some(no) = no {
            views.extend(of_state(connection, no)?);
        }
    }
    Ok(views)
}

pub(super) fn count(connection: &Connection, filter: &TransactionFilter) -> Result<u64, Refusal> {
    let Some(matching) = resolve(connection, filter)? else {
        return Ok(0);
    };
    let sql = format!(
        "SELECT count(*) FROM transaction_views v {}",
        matching.sql()
    );
    let count: i64 = connection.prepare_cached(&sql)?.query_row(
        named_params! {
            ":charger": matching.charger_no,
            ":from": matching.began.from,
            ":to": matching.began.to,
        },
        |row| row.get(0),
    )?;
    Ok(count.cast_unsigned())
}

type Filter = filter::Transactions<i64>;

/// `None` = nothing can match, because the charger is unknown.
fn resolve(connection: &Connection, filter: &TransactionFilter) -> Result<Option<Filter>, Refusal> {
    let charger_no = match &filter.charger {
        None => None,
        Some(id) => match numbers::charger_no(connection, id)? {
            None => return Ok(None),
            no => no,
        },
    };
    Ok(Some(Filter::of(filter, charger_no)))
}

impl Filter {
    /// The index to scan and the conditions.
    fn sql(&self) -> String {
        let (index, charger) = match (self.charger_no, self.open) {
            (Some(_), _) => (
                "INDEXED BY transaction_views_by_charger",
                "v.charger_no = :charger",
            ),
            (None, Some(true)) => ("INDEXED BY transaction_views_open", ":charger IS NULL"),
            (None, _) => ("NOT INDEXED", ":charger IS NULL"),
        };
        let open = match self.open {
            Some(true) => "AND v.open",
            Some(false) => "AND NOT v.open",
            None => "",
        };
        format!(
            "{index} WHERE {charger} {open} AND NOT v.hidden
                AND v.began_at >= :from AND v.began_at < :to"
        )
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<TransactionRow<i64>> {
    let (partner, partner_no): (Option<[u8; 16]>, Option<i64>) = (row.get(5)?, row.get(6)?);
    Ok(TransactionRow {
        began_at: row.get(0)?,
        key: uuid_of(row, 1)?,
        charger_no: row.get(2)?,
        transaction_no: row.get(3)?,
        open: row.get(4)?,
        partner: partner.map(Uuid::from_bytes).zip(partner_no),
        successor: succession::successor(row, 7)?,
        readings: row.get(10)?,
        is_closed: row.get(11)?,
        closing: None,
    })
}

/// Adds the entry of a person who closed the session.
fn add_closing(row: &mut TransactionRow<i64>, connection: &Connection) -> Result<(), Refusal> {
    if row.is_closed {
        row.closing = closings::read(connection, row.key)?;
    }
    Ok(())
}

/// What rows of one page share.
#[derive(Default)]
struct Shared {
    /// The chargers' identities.
    spellings: HashMap<i64, String>,
    /// Views by the number of their state; `None` if the state cannot be read.
    states: HashMap<i64, Option<StateViews>>,
}

/// The row's view.
fn view(
    row: &TransactionRow<i64>,
    connection: &Connection,
    shared: &mut Shared,
) -> Result<TransactionView, Refusal> {
    let charger = match shared.spellings.entry(row.charger_no) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(spelling(connection, row.charger_no)?),
    };
    let partner_no = row.partner.map(|(_, no)| no);
    for no in partner_no.into_iter().chain([row.transaction_no]) {
        if let Entry::Vacant(place) = shared.states.entry(no) {
            let state = load(connection, no)?;
            place.insert(state.map(|(wire_id, state)| StateViews::of(charger, wire_id, &state)));
        }
    }
    let find = |no: i64| shared.states.get(&no).and_then(Option::as_ref);
    let (own, partner) = (find(row.transaction_no), partner_no.and_then(find));
    Ok(listing::view(row, charger, own, partner))
}
