//! Queries for transactions: an index scan over the list stored beside the states; each result is built from its
//! state.

use super::charger_no;
use super::chargers::spellings;
use crate::filter;
use crate::listing::{StateViews, TransactionRow, view};
use crate::paging::{at_most, cut, empty};
use crate::postgres::numbers::clean;
use crate::postgres::succession::successor_of;
use crate::postgres::{closings, error};
use crate::refusal::Refusal;
use crate::state::read_transaction;
use central::Timestamp;
use central::model::{TransactionState, TransactionView};
use central::query::{Page, TransactionFilter, WireId};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &TransactionFilter,
    (after_at, after_key): (Timestamp, Uuid),
    limit: usize,
) -> Result<Page<TransactionView>, Refusal> {
    let Some(matching) = resolve(connection, filter).await? else {
        return Ok(empty());
    };
    let (behind, order) = match matching.charger_no {
        // The charger is part of the order, although there is only one, so that only its index fits.
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
        "SELECT {COLUMNS} FROM transaction_views v WHERE {} AND {behind} ORDER BY {order} LIMIT $3",
        matching.sql()
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .persistent(false)
        .bind(after_at.0)
        .bind(after_key)
        .bind(at_most(limit + 1))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let listed = rows.into_iter().map(|row| {
        let row = transaction_row(row);
        (row.place(), row)
    });
    // The end of the page does not depend on which of its rows are readable.
    let page = cut(listed.collect(), limit);
    Ok(Page {
        items: views(connection, &page.items).await?,
        next: page.next,
    })
}

const COLUMNS: &str =
    "v.began_at, v.key, v.charger_no, v.transaction_no, v.open, v.partner, v.partner_no,
    v.successor, v.successor_at, v.successor_received_at, v.readings, v.closed";

pub(crate) async fn one(
    connection: &mut PgConnection,
    key: Uuid,
) -> Result<Option<TransactionView>, Refusal> {
    let mut listed = rows(
        connection,
        &format!(
            "SELECT {COLUMNS} FROM transaction_views v WHERE v.key = $1 AND NOT v.hidden LIMIT 1"
        ),
        key,
    )
    .await?;
    if listed.is_empty() {
        // The key of a stop that names no start leads to the start that shows it.
        listed = rows(
            connection,
            &format!(
                "SELECT {COLUMNS} FROM transaction_views v WHERE NOT v.hidden AND v.key =
                    (SELECT partner FROM transaction_views WHERE key = $1 AND hidden LIMIT 1)"
            ),
            key,
        )
        .await?;
    }
    if listed.is_empty() {
        // A key that the transaction had before its start arrived still finds the start, if there is one.
        listed = rows(
            connection,
            &format!(
                "SELECT {COLUMNS} FROM transaction_aliases a JOIN transaction_views v USING (transaction_no)
                 WHERE a.key = $1 AND NOT v.hidden LIMIT 2"
            ),
            key,
        )
        .await?;
    }
    if listed.len() > 1 {
        return Ok(None);
    }
    Ok(views(connection, &listed).await?.pop())
}

/// The sessions of these states, by the states' numbers.
pub(in crate::postgres) async fn of_states(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, Vec<TransactionView>>, Refusal> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM transaction_views v WHERE v.transaction_no = ANY($1) AND NOT v.hidden
         ORDER BY v.began_at, v.key"
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(numbers)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let listed: Vec<TransactionRow<i32>> = rows.into_iter().map(transaction_row).collect();
    let mut by_state: HashMap<i64, Vec<TransactionView>> = HashMap::new();
    for (row, view) in listed.iter().zip(views(connection, &listed).await?) {
        by_state.entry(row.transaction_no).or_default().push(view);
    }
    Ok(by_state)
}

/// The sessions with these ids on the wire.
pub(super) async fn on_wire(
    connection: &mut PgConnection,
    ids: &[WireId],
) -> Result<Vec<TransactionView>, Refusal> {
    let text = |text: &str| clean(text).into_owned();
    let numbers: Vec<i64> = sqlx::query_scalar(
        r"SELECT t.no FROM unnest($1::text[], $2::text[]) AS k (charger_key, wire_id)
          JOIN chargers c ON c.key = k.charger_key
          JOIN transactions t ON t.charger_no = c.no AND sha256(replace(t.wire_id, '\', '\\')::bytea)
              = sha256(replace(k.wire_id, '\', '\\')::bytea)",
    )
    .bind(ids.iter().map(|id| text(id.charger.as_str())).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| text(&id.id)).collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let by_state = of_states(connection, &numbers).await?;
    Ok(by_state.into_values().flatten().collect())
}

async fn rows(
    connection: &mut PgConnection,
    sql: &str,
    key: Uuid,
) -> Result<Vec<TransactionRow<i32>>, Refusal> {
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql.to_owned()))
        .bind(key)
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    Ok(rows.into_iter().map(transaction_row).collect())
}

pub(super) async fn count(
    connection: &mut PgConnection,
    filter: &TransactionFilter,
) -> Result<u64, Refusal> {
    let Some(matching) = resolve(connection, filter).await? else {
        return Ok(0);
    };
    let sql = format!(
        "SELECT count(*) FROM transaction_views v WHERE {}",
        matching.sql()
    );
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(error::refusal)?;
    Ok(count.cast_unsigned())
}

type Filter = filter::Transactions<i32>;

/// `None` = nothing can match, because the charger is unknown.
async fn resolve(
    connection: &mut PgConnection,
    filter: &TransactionFilter,
) -> Result<Option<Filter>, Refusal> {
    let charger_no = match &filter.charger {
        None => None,
        Some(id) => match charger_no(connection, id).await? {
            None => return Ok(None),
            no => no,
        },
    };
    Ok(Some(Filter::of(filter, charger_no)))
}

impl Filter {
    /// The conditions; they contain numbers and fixed text only.
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
        let (from, to) = (self.began.from, self.began.to);
        // PostgreSQL cannot parse the smallest number without its sign, hence the quotes.
        format!(
            "{charger} {open} NOT v.hidden
                AND v.began_at >= '{from}'::bigint AND v.began_at < '{to}'::bigint"
        )
    }
}

type Row = (
    i64,
    Uuid,
    i32,
    i64,
    bool,
    Option<Uuid>,
    Option<i64>,
    Option<Uuid>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    bool,
);

fn transaction_row(
    (
        began_at,
        key,
        charger_no,
        transaction_no,
        open,
        partner,
        partner_no,
        successor,
        successor_at,
        successor_received_at,
        readings,
        is_closed,
    ): Row,
) -> TransactionRow<i32> {
    TransactionRow {
        began_at,
        key,
        charger_no,
        transaction_no,
        open,
        partner: partner.zip(partner_no),
        successor: successor_of(successor, successor_at, successor_received_at),
        readings,
        is_closed,
        closing: None,
    }
}

/// Views of listed rows. Their states are queried for all rows at once.
async fn views(
    connection: &mut PgConnection,
    listed: &[TransactionRow<i32>],
) -> Result<Vec<TransactionView>, Refusal> {
    let mut chargers: Vec<i32> = listed.iter().map(|row| row.charger_no).collect();
    chargers.sort_unstable();
    chargers.dedup();
    let spellings = spellings(connection, &chargers).await?;
    let numbers: Vec<i64> = listed
        .iter()
        .flat_map(|row| [Some(row.transaction_no), row.partner.map(|(_, no)| no)])
        .flatten()
        .collect();
    let states = states(connection, &numbers).await?;
    // The number of a state is known with its charger: a partner is of the same one.
    let mut spelled = HashMap::new();
    for row in listed {
        let charger = spellings.get(&row.charger_no).map_or("", String::as_str);
        for no in row
            .partner
            .map(|(_, no)| no)
            .into_iter()
            .chain([row.transaction_no])
        {
            spelled.insert(no, charger);
        }
    }
    let states: HashMap<i64, StateViews> = states
        .into_iter()
        .map(|(no, (wire_id, state))| {
            let charger = spelled.get(&no).copied().unwrap_or_default();
            (no, StateViews::of(charger, wire_id, &state))
        })
        .collect();
    let closed: Vec<Uuid> = listed
        .iter()
        .filter(|row| row.is_closed)
        .map(|row| row.key)
        .collect();
    let mut closings = closings::read(connection, &closed).await?;
    let views = listed.iter().map(|row| {
        let row = &TransactionRow {
            closing: closings.remove(&row.key),
            ..row.clone()
        };
        let charger = spellings.get(&row.charger_no).map_or("", String::as_str);
        let partner = row.partner.and_then(|(_, no)| states.get(&no));
        view(row, charger, states.get(&row.transaction_no), partner)
    });
    Ok(views.collect())
}

/// States by their numbers, with the id on the wire. A state that cannot be read is left out, so that the other
/// transactions are still returned.
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
        if let Some(state) = read_transaction(&wire_id, &json) {
            states.insert(no, (wire_id, state));
        }
    }
    Ok(states)
}
