//! Transactions: a walk along the list that is kept beside the states, each row made from its state.

use super::chargers::spellings;
use super::{at_most, charger_no};
use crate::pg::error;
use crate::pg::listing::{self, waiting};
use crate::refusal::Refusal;
use central::Timestamp;
use central::ledger::{Page, Place, TransactionFilter};
use central::model::{TransactionState, TransactionView};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use uuid::Uuid;

pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &TransactionFilter,
    after: Option<(Timestamp, Uuid)>,
    limit: usize,
) -> Result<Page<TransactionView>, Refusal> {
    let Some(sieve) = Sieve::of(connection, filter).await? else {
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    };
    // Above every row, when nothing is said.
    let (after_at, after_key) = after.unwrap_or((Timestamp(i64::MAX), Uuid::max()));
    let (behind, order) = match sieve.charger_no {
        // The charger stands in the order, although it is only one, so that only its index fits.
        Some(no) => (
            format!("(v.charger_no, v.began_at, v.key) < ({no}, $1, $2)"),
            "v.charger_no DESC, v.began_at DESC, v.key DESC",
        ),
        None => (
            "(v.began_at, v.key) < ($1, $2)".to_owned(),
            "v.began_at DESC, v.key DESC",
        ),
    };
    let sql = format!(
        "SELECT v.began_at, v.key, v.charger_no, v.transaction_no, v.alone, v.open
         FROM transaction_views v WHERE {} AND {behind} ORDER BY {order} LIMIT $3",
        sieve.sql()
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .persistent(false)
        .bind(after_at.0)
        .bind(after_key)
        .bind(at_most(limit + 1))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let mut listed: Vec<Listed> = rows.into_iter().map(Listed::from).collect();
    let more = listed.len() > limit;
    listed.truncate(limit);
    // Where the page ends does not depend on which of its rows can be shown.
    let last = listed.last().filter(|_| more);
    let next = last.map(|row| Place::Transaction(Timestamp(row.began_at), row.key).to_cursor());
    let items = views(connection, &listed).await?;
    Ok(Page { items, next })
}

pub(super) async fn one(
    connection: &mut PgConnection,
    key: Uuid,
) -> Result<Option<TransactionView>, Refusal> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT began_at, key, charger_no, transaction_no, alone, open
         FROM transaction_views WHERE key = $1 AND NOT hidden LIMIT 1",
    )
    .bind(key)
    .fetch_optional(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let listed: Vec<Listed> = row.into_iter().map(Listed::from).collect();
    Ok(views(connection, &listed).await?.pop())
}

pub(super) async fn count(
    connection: &mut PgConnection,
    filter: &TransactionFilter,
) -> Result<u64, Refusal> {
    let Some(sieve) = Sieve::of(connection, filter).await? else {
        return Ok(0);
    };
    let sql = format!(
        "SELECT count(*) FROM transaction_views v WHERE {}",
        sieve.sql()
    );
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(error::refusal)?;
    Ok(count.cast_unsigned())
}

/// A filter in the database's terms.
struct Sieve {
    charger_no: Option<i32>,
    open: Option<bool>,
    from: i64,
    to: i64,
}

impl Sieve {
    /// `None` = nothing can match, as the charger was never heard of.
    async fn of(
        connection: &mut PgConnection,
        filter: &TransactionFilter,
    ) -> Result<Option<Self>, Refusal> {
        let charger_no = match &filter.charger {
            None => None,
            Some(id) => match charger_no(connection, id).await? {
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

    /// The conditions; nothing but numbers and words of ours.
    fn sql(&self) -> String {
        let charger = match self.charger_no {
            Some(no) => format!("v.charger_no >= {no} AND v.charger_no <= {no} AND"),
            None => String::new(),
        };
        let open = match self.open {
            Some(true) => "v.open AND",
            Some(false) => "NOT v.open AND",
            None => "",
        };
        let (from, to) = (self.from, self.to);
        // The least number is too great for PostgreSQL without its sign, hence the quotes.
        format!(
            "{charger} {open} NOT v.hidden
                AND v.began_at >= '{from}'::bigint AND v.began_at < '{to}'::bigint"
        )
    }
}

type Row = (i64, Uuid, i32, i64, i16, bool);

/// A row of the list.
struct Listed {
    began_at: i64,
    key: Uuid,
    charger_no: i32,
    transaction_no: i64,
    /// Open by itself, but ended by an end that names no start.
    is_paired: bool,
}

impl From<Row> for Listed {
    fn from((began_at, key, charger_no, transaction_no, alone, open): Row) -> Self {
        Self {
            began_at,
            key,
            charger_no,
            transaction_no,
            is_paired: alone == 1 && !open,
        }
    }
}

/// Views of listed rows. What they are made of is asked for all rows at once.
async fn views(
    connection: &mut PgConnection,
    listed: &[Listed],
) -> Result<Vec<TransactionView>, Refusal> {
    let mut chargers: Vec<i32> = listed.iter().map(|row| row.charger_no).collect();
    chargers.sort_unstable();
    chargers.dedup();
    let spellings = spellings(connection, &chargers).await?;
    let spelling = |no: &i32| spellings.get(no).map_or("", String::as_str);
    let plain: Vec<i64> = listed
        .iter()
        .filter(|row| !row.is_paired)
        .map(|row| row.transaction_no)
        .collect();
    let states = states(connection, &plain).await?;
    let mut paired: HashMap<i32, Vec<TransactionView>> = HashMap::new();
    for row in listed.iter().filter(|row| row.is_paired) {
        let no = row.charger_no;
        if let Entry::Vacant(place) = paired.entry(no) {
            let waiting = waiting(connection, no, spelling(&no)).await?;
            place.insert(waiting.views);
        }
    }
    let view = |row: &Listed| {
        if row.is_paired {
            let mut views = paired.get(&row.charger_no)?.iter();
            return views.find(|view| view.key == row.key).cloned();
        }
        let (wire_id, state) = states.get(&row.transaction_no)?;
        let mut views = state.views(spelling(&row.charger_no), wire_id).into_iter();
        views.find(|view| view.key == row.key)
    };
    Ok(listed.iter().filter_map(view).collect())
}

/// States by their numbers, with the id on the wire. What cannot be read is one transaction's trouble: it
/// is left out.
async fn states(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, (String, TransactionState)>, Refusal> {
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT no, wire_id, state FROM transactions WHERE no = ANY($1)")
            .bind(numbers)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    let mut states = HashMap::with_capacity(rows.len());
    for (no, wire_id, json) in rows {
        if let Some(state) = listing::read(&wire_id, &json) {
            states.insert(no, (wire_id, state));
        }
    }
    Ok(states)
}
