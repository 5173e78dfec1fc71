//! The list of transactions: what is sorted and filtered by, kept beside the states; see
//! [`crate::listing`] for what is listed how.

use super::error;
use crate::listing::{Alone, WAITING_MAX, began_at};
use crate::refusal::Refusal;
use central::model::{TransactionState, TransactionView, pair_orphans};
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A state to be listed, and where it is stored.
pub(crate) struct Listed<'a> {
    pub(crate) charger_no: i32,
    pub(crate) charger: &'a str,
    pub(crate) transaction_no: i64,
    pub(crate) wire_id: &'a str,
    pub(crate) state: &'a TransactionState,
}

/// Lists the transactions of these states anew.
pub(crate) async fn write(
    connection: &mut PgConnection,
    listed: &[Listed<'_>],
) -> Result<(), Refusal> {
    if listed.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = listed.iter().map(|one| one.transaction_no).collect();
    sqlx::query("DELETE FROM transaction_views WHERE transaction_no = ANY($1)")
        .bind(&numbers)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let mut rows: BTreeMap<(i64, Uuid), (i32, i64, i16, bool)> = BTreeMap::new();
    for one in listed {
        for view in one.state.views(one.charger, one.wire_id) {
            rows.entry((began_at(&view, one.state), view.key))
                .or_insert((
                    one.charger_no,
                    one.transaction_no,
                    Alone::of(&view) as i16,
                    view.open,
                ));
        }
    }
    let began: Vec<i64> = rows.keys().map(|key| key.0).collect();
    let keys: Vec<Uuid> = rows.keys().map(|key| key.1).collect();
    let chargers: Vec<i32> = rows.values().map(|row| row.0).collect();
    let transactions: Vec<i64> = rows.values().map(|row| row.1).collect();
    let alone: Vec<i16> = rows.values().map(|row| row.2).collect();
    let open: Vec<bool> = rows.values().map(|row| row.3).collect();
    sqlx::query(
        "INSERT INTO transaction_views (began_at, key, charger_no, transaction_no, alone, open, hidden)
         SELECT *, false FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::bigint[], $5::smallint[],
             $6::bool[])
         ON CONFLICT (began_at, key) DO NOTHING",
    )
    .bind(&began)
    .bind(&keys)
    .bind(&chargers)
    .bind(&transactions)
    .bind(&alone)
    .bind(&open)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let names: BTreeMap<i32, &str> = listed
        .iter()
        .map(|one| (one.charger_no, one.charger))
        .collect();
    pair_all(connection, &names).await
}

/// Settles for these chargers which of their ends without a start belong to which open transactions.
async fn pair_all(
    connection: &mut PgConnection,
    names: &BTreeMap<i32, &str>,
) -> Result<(), Refusal> {
    let chargers: Vec<i32> = names.keys().copied().collect();
    // Also when the last such end found a start of its own: what it had ended is open again.
    let concerned: Vec<i32> = sqlx::query_scalar(
        "SELECT DISTINCT charger_no FROM transaction_views
         WHERE charger_no = ANY($1) AND alone > 0 AND (alone = 2 OR NOT open) ORDER BY charger_no",
    )
    .bind(&chargers)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    for charger_no in concerned {
        if let Some(charger) = names.get(&charger_no) {
            pair(connection, charger_no, charger).await?;
        }
    }
    Ok(())
}

async fn pair(
    connection: &mut PgConnection,
    charger_no: i32,
    charger: &str,
) -> Result<(), Refusal> {
    let waiting = waiting(connection, charger_no, charger).await?;
    let paired: HashMap<Uuid, bool> = waiting
        .views
        .iter()
        .map(|view| (view.key, view.open))
        .collect();
    let rows: Vec<(i64, Uuid, i64)> = sqlx::query_as(
        "SELECT began_at, key, transaction_no FROM transaction_views
         WHERE charger_no = $1 AND alone > 0",
    )
    .bind(charger_no)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    for (began_at, key, transaction_no) in rows {
        if waiting.unreadable.contains(&transaction_no) {
            continue;
        }
        let (open, hidden) = match paired.get(&key) {
            Some(open) => (*open, false),
            None => (false, true),
        };
        sqlx::query(
            "UPDATE transaction_views SET open = $3, hidden = $4
             WHERE began_at = $1 AND key = $2 AND (open <> $3 OR hidden <> $4)",
        )
        .bind(began_at)
        .bind(key)
        .bind(open)
        .bind(hidden)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    }
    Ok(())
}

/// A charger's open transactions and ends without a start.
pub(crate) struct Waiting {
    /// As they are shown after pairing.
    pub(crate) views: Vec<TransactionView>,
    /// Numbers of those whose state cannot be read; they take no part.
    unreadable: Vec<i64>,
}

/// What of a charger waits for its end or its beginning.
pub(crate) async fn waiting(
    connection: &mut PgConnection,
    charger_no: i32,
    charger: &str,
) -> Result<Waiting, Refusal> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT no, wire_id, state FROM transactions WHERE no IN (
            SELECT transaction_no FROM (
                SELECT transaction_no FROM transaction_views
                WHERE charger_no = $1 AND alone > 0 ORDER BY began_at DESC, key DESC LIMIT $2) AS latest)",
    )
    .bind(charger_no)
    .bind(WAITING_MAX)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut views = Vec::new();
    let mut unreadable = Vec::new();
    for (no, wire_id, json) in rows {
        let Some(state) = read(&wire_id, &json) else {
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

/// A stored state. `None` when it cannot be read: that is one transaction's trouble and must not become
/// everybody's. It is set aside and begun anew when its charger next speaks of it.
pub(crate) fn read(wire_id: &str, json: &str) -> Option<TransactionState> {
    match serde_json::from_str(json) {
        Ok(state) => Some(state),
        Err(error) => {
            tracing::error!(wire_id, %error, "the state of a transaction cannot be read; it is passed over");
            None
        }
    }
}
