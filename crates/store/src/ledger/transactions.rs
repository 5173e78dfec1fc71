//! Transactions: a walk along the list that [`crate::listing`] keeps, each row made from its state.

use super::at_most;
use super::chargers::spelling;
use crate::listing::{load, uuid_of, waiting};
use crate::numbers;
use crate::refusal::Refusal;
use central::Timestamp;
use central::ledger::{Page, Place, TransactionFilter};
use central::model::TransactionView;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use std::collections::HashMap;
use uuid::Uuid;

pub(super) fn page(
    connection: &Connection,
    filter: &TransactionFilter,
    after: Option<(Timestamp, Uuid)>,
    limit: usize,
) -> Result<Page<TransactionView>, Refusal> {
    let Some(sieve) = Sieve::of(connection, filter)? else {
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    };
    // Above every row, when nothing is said.
    let (after_at, after_key) = after.unwrap_or((Timestamp(i64::MAX), Uuid::max()));
    let sql = format!(
        "SELECT v.began_at, v.key, v.charger_no, v.transaction_no, v.alone, v.open
         FROM transaction_views v {}
            AND (v.began_at, v.key) < (:after_at, :after_key)
         ORDER BY v.began_at DESC, v.key DESC LIMIT :limit",
        sieve.sql()
    );
    let mut listed: Vec<Listed> = connection
        .prepare_cached(&sql)?
        .query_map(
            named_params! {
                ":charger": sieve.charger_no,
                ":from": sieve.from,
                ":to": sieve.to,
                ":after_at": after_at.0,
                ":after_key": after_key.as_bytes(),
                ":limit": at_most(limit + 1),
            },
            Listed::read,
        )?
        .collect::<Result<_, _>>()?;
    let more = listed.len() > limit;
    listed.truncate(limit);
    // Where the page ends does not depend on which of its rows can be shown.
    let last = listed.last().filter(|_| more);
    let next = last.map(|row| Place::Transaction(Timestamp(row.began_at), row.key).to_cursor());
    let mut desk = Desk::new(connection);
    let mut items = Vec::with_capacity(listed.len());
    for row in &listed {
        items.extend(desk.view(row)?);
    }
    Ok(Page { items, next })
}

pub(super) fn one(connection: &Connection, key: Uuid) -> Result<Option<TransactionView>, Refusal> {
    let listed = connection
        .prepare_cached(
            "SELECT began_at, key, charger_no, transaction_no, alone, open
             FROM transaction_views WHERE key = ?1 AND NOT hidden",
        )?
        .query_row([key.as_bytes()], Listed::read)
        .optional()?;
    match listed {
        Some(row) => Desk::new(connection).view(&row),
        None => Ok(None),
    }
}

pub(super) fn count(connection: &Connection, filter: &TransactionFilter) -> Result<u64, Refusal> {
    let Some(sieve) = Sieve::of(connection, filter)? else {
        return Ok(0);
    };
    let sql = format!("SELECT count(*) FROM transaction_views v {}", sieve.sql());
    let count: i64 = connection.prepare_cached(&sql)?.query_row(
        named_params! {
            ":charger": sieve.charger_no,
            ":from": sieve.from,
            ":to": sieve.to,
        },
        |row| row.get(0),
    )?;
    Ok(count.cast_unsigned())
}

/// A filter in the database's terms.
struct Sieve {
    charger_no: Option<i64>,
    open: Option<bool>,
    from: i64,
    to: i64,
}

impl Sieve {
    /// `None` = nothing can match, as the charger was never heard of.
    fn of(connection: &Connection, filter: &TransactionFilter) -> Result<Option<Self>, Refusal> {
        let charger_no = match &filter.charger {
            None => None,
            Some(id) => match numbers::charger_no(connection, id)? {
                None => return Ok(None),
                no => no,
            },
        };
        Ok(Some(Self {
            charger_no,
            open: filter.open,
            from: filter.from.map_or(i64::MIN, Timestamp::as_millis),
            to: filter.to.map_or(i64::MAX, Timestamp::as_millis),
        }))
    }

    /// The index to walk along and the conditions.
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

/// A row of the list.
struct Listed {
    began_at: i64,
    key: Uuid,
    charger_no: i64,
    transaction_no: i64,
    /// Open by itself, but ended by an end that names no start.
    is_paired: bool,
}

impl Listed {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (alone, open): (i64, bool) = (row.get(4)?, row.get(5)?);
        Ok(Self {
            began_at: row.get(0)?,
            key: uuid_of(row, 1)?,
            charger_no: row.get(2)?,
            transaction_no: row.get(3)?,
            is_paired: alone == 1 && !open,
        })
    }
}

/// Makes views of listed rows; remembers what rows of one page have in common.
struct Desk<'a> {
    connection: &'a Connection,
    spellings: HashMap<i64, String>,
    waiting: HashMap<i64, Vec<TransactionView>>,
}

impl<'a> Desk<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            spellings: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    fn view(&mut self, row: &Listed) -> Result<Option<TransactionView>, Refusal> {
        let no = row.charger_no;
        if !self.spellings.contains_key(&no) {
            self.spellings.insert(no, spelling(self.connection, no)?);
        }
        let charger = self.spellings.get(&no).map_or("", String::as_str);
        if !row.is_paired {
            let Some((wire_id, state)) = load(self.connection, row.transaction_no)? else {
                return Ok(None);
            };
            let mut views = state.views(charger, &wire_id).into_iter();
            return Ok(views.find(|view| view.key == row.key));
        }
        if !self.waiting.contains_key(&no) {
            let views = waiting(self.connection, no, charger)?.views;
            self.waiting.insert(no, views);
        }
        let mut views = self.waiting.get(&no).into_iter().flatten();
        Ok(views.find(|view| view.key == row.key).cloned())
    }
}
