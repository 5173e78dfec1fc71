//! The list of transactions on SQLite; [`crate::listing`] describes its contents.

use crate::listing::{Difference, Kind, ListRow, Listed, rows_of};
use crate::pairing::{Cluster, MARGIN, PairRow, Partnering, RowPlace};
use crate::refusal::Refusal;
use crate::state::read_transaction;
use central::Timestamp;
use central::model::{Candidate, TransactionState, key_without_start};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

/// Updates the rows of these states in the list.
pub(crate) fn write(connection: &Connection, listed: &[Listed<'_, i64>]) -> Result<(), Refusal> {
    let mut read = connection.prepare_cached(
        "SELECT began_at, key, kind, open, token, meter_wh FROM transaction_views
         WHERE transaction_no = ?1",
    )?;
    let mut remove = connection
        .prepare_cached("DELETE FROM transaction_views WHERE began_at = ?1 AND key = ?2")?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO transaction_views
            (began_at, key, charger_no, transaction_no, kind, token, meter_wh, open, hidden)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)
         ON CONFLICT (began_at, key) DO UPDATE SET kind = ?5, token = ?6, meter_wh = ?7, open = ?8,
            hidden = 0, partner = NULL, partner_no = NULL",
    )?;
    let mut alias = connection.prepare_cached(
        "INSERT INTO transaction_aliases (key, transaction_no) VALUES (?1, ?2)
         ON CONFLICT (key) DO NOTHING",
    )?;
    let mut places = Vec::new();
    for one in listed {
        let old: Vec<ListRow> = read
            .query_map([one.transaction_no], list_row)?
            .collect::<Result<_, _>>()?;
        let new = rows_of(one.state, one.charger, one.wire_id);
        let difference = Difference::between(&old, &new, one.charger, one.wire_id);
        for (began_at, key) in &difference.removed {
            remove.execute(params![began_at, key.as_bytes()])?;
        }
        for row in &difference.written {
            insert.execute(params![
                row.began_at,
                row.key.as_bytes(),
                one.charger_no,
                one.transaction_no,
                row.kind as i64,
                row.token,
                row.meter_wh,
                row.open,
            ])?;
        }
        if difference.is_key_replaced {
            let first_key = key_without_start(one.charger, one.wire_id);
            alias.execute(params![first_key.as_bytes(), one.transaction_no])?;
        }
        let changed = difference.places.into_iter();
        places.extend(changed.map(|place| (one.charger_no, place)));
    }
    settle(connection, places)
}

fn list_row(row: &Row<'_>) -> rusqlite::Result<ListRow> {
    let kind = Kind::from_code(row.get(2)?);
    Ok(ListRow {
        began_at: row.get(0)?,
        key: uuid_of(row, 1)?,
        kind,
        // Only pairing closes a start.
        open: kind == Kind::Start || row.get(3)?,
        token: row.get(4)?,
        meter_wh: row.get(5)?,
    })
}

/// Decides which stops without a usable id end which starts, around these rows.
fn settle(connection: &Connection, places: Vec<(i64, RowPlace)>) -> Result<(), Refusal> {
    let mut clusters = Cluster::of(places);
    let mut update = connection.prepare_cached(
        "UPDATE transaction_views SET partner = ?3, partner_no = ?4,
            open = (kind = 1 AND ?3 IS NULL), hidden = (kind = 2 AND ?3 IS NOT NULL)
         WHERE began_at = ?1 AND key = ?2",
    )?;
    while let Some(cluster) = clusters.pop() {
        let Some(mut rows) = around(connection, &cluster)? else {
            let halves = cluster.split();
            clusters.extend(halves.into_iter().flat_map(|(a, b)| [a, b]));
            continue;
        };
        for change in cluster.decide(&mut rows) {
            let Partnering {
                began_at,
                key,
                partner,
            } = change;
            update.execute(params![
                began_at,
                key.as_bytes(),
                partner.map(|(key, _)| *key.as_bytes()),
                partner.map(|(_, no)| no),
            ])?;
        }
    }
    Ok(())
}

/// The rows of a cluster with its margins; `None` when it should be split instead.
fn around(
    connection: &Connection,
    cluster: &Cluster<i64>,
) -> Result<Option<Vec<PairRow>>, Refusal> {
    const COLUMNS: &str = "SELECT began_at, key, kind, token, meter_wh, transaction_no, partner
         FROM transaction_views INDEXED BY transaction_views_pairing
         WHERE charger_no = ?1 AND kind > 0";
    let first = cluster.first();
    let mut rows: Vec<PairRow> = connection
        .prepare_cached(&format!(
            "{COLUMNS} AND (began_at, kind, key) < (?2, ?3, ?4)
             ORDER BY began_at DESC, kind DESC, key DESC LIMIT {MARGIN}"
        ))?
        .query_map(
            params![
                cluster.charger_no,
                first.began_at,
                first.kind_code(),
                first.key.as_bytes()
            ],
            pair_row,
        )?
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(&format!(
        "{COLUMNS} AND (began_at, kind, key) >= (?2, ?3, ?4) ORDER BY began_at, kind, key"
    ))?;
    let mut found = statement.query(params![
        cluster.charger_no,
        first.began_at,
        first.kind_code(),
        first.key.as_bytes()
    ])?;
    let (mut within, mut behind) = (0, 0);
    while behind < MARGIN
        && let Some(row) = found.next()?
    {
        let row = pair_row(row)?;
        if cluster.spans(&row) {
            within += 1;
        } else {
            behind += 1;
        }
        if within > cluster.rows_max() {
            return Ok(None);
        }
        rows.push(row);
    }
    Ok(Some(rows))
}

fn pair_row(row: &Row<'_>) -> rusqlite::Result<PairRow> {
    let partner: Option<[u8; 16]> = row.get(6)?;
    Ok(PairRow {
        candidate: Candidate {
            at: Timestamp(row.get(0)?),
            key: uuid_of(row, 1)?,
            is_stop: Kind::from_code(row.get(2)?) == Kind::Stop,
            token: row.get(3)?,
            meter_wh: row.get(4)?,
        },
        transaction_no: row.get(5)?,
        partner: partner.map(Uuid::from_bytes),
    })
}

/// A stored state with its id on the wire; `None` when it cannot be read.
pub(crate) fn load(
    connection: &Connection,
    transaction_no: i64,
) -> Result<Option<(String, TransactionState)>, Refusal> {
    let (wire_id, json): (String, String) = connection
        .prepare_cached("SELECT wire_id, state FROM transactions WHERE no = ?1")?
        .query_row([transaction_no], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(read_transaction(&wire_id, &json).map(|state| (wire_id, state)))
}

/// Reads a UUID column.
pub(crate) fn uuid_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}
