//! The list of transactions on SQLite; [`crate::listing`] describes its contents.

use crate::event_log::Queued;
use crate::listing::{Difference, Kind, ListRow, Listed, rows_of};
use crate::pairing::{Cluster, MARGIN, PairRow, Partnering, RowPlace};
use crate::refusal::Refusal;
use crate::state::read_transaction;
use crate::succession::{Order, PlaceOf};
use central::Timestamp;
use central::model::{Candidate, TransactionState};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

/// Updates the rows of these states in the list. Returns where sessions of a connector have changed; adds the
/// transactions of other rows that have changed with them to `changed`.
pub(crate) fn write(
    connection: &Connection,
    listed: &[Listed<'_, i64>],
    changed: &mut Vec<Queued>,
) -> Result<Vec<(PlaceOf<i64>, Order)>, Refusal> {
    let mut read = connection.prepare_cached(
        "SELECT began_at, key, kind, unended, token, meter_wh, place, start_at, start_received_at,
            written_start_at, heard_at, stopped_at, stop_received_at, successor IS NOT NULL, token_key
         FROM transaction_views WHERE transaction_no = ?1",
    )?;
    let mut remove = connection
        .prepare_cached("DELETE FROM transaction_views WHERE began_at = ?1 AND key = ?2")?;
    // What the sessions of a connector decide is of that connector: a row with another one, or with none, loses it.
    let mut insert = connection.prepare_cached(
        "INSERT INTO transaction_views
            (began_at, key, charger_no, transaction_no, kind, token, meter_wh, unended, place, start_at,
             start_received_at, written_start_at, heard_at, stopped_at, stop_received_at, token_key,
             closed, open, hidden)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
             c.is_closed, ?8 AND NOT c.is_closed, 0
         FROM (SELECT EXISTS (SELECT 1 FROM transaction_closings WHERE key = ?2) AS is_closed) AS c
         WHERE true
         ON CONFLICT (began_at, key) DO UPDATE SET kind = ?5, token = ?6, meter_wh = ?7, unended = ?8,
            place = ?9, start_at = ?10, start_received_at = ?11, written_start_at = ?12, heard_at = ?13,
            stopped_at = ?14, stop_received_at = ?15, token_key = ?16,
            open = ?8 AND NOT closed AND (place = ?9 AND successor IS NOT NULL) IS NOT TRUE,
            successor = iif(place = ?9, successor, NULL), successor_at = iif(place = ?9, successor_at, NULL),
            successor_received_at = iif(place = ?9, successor_received_at, NULL),
            readings = iif(place = ?9, readings, NULL), hidden = 0, partner = NULL, partner_no = NULL",
    )?;
    let mut alias = connection.prepare_cached(
        "INSERT INTO transaction_aliases (key, transaction_no) VALUES (?1, ?2)
         ON CONFLICT (key) DO NOTHING",
    )?;
    let mut copy_closing = connection.prepare_cached(
        "INSERT INTO transaction_closings (key, ended_at, who, reason, noted_at)
         SELECT ?2, ended_at, who, reason, noted_at FROM transaction_closings WHERE key = ?1
         ON CONFLICT (key) DO NOTHING",
    )?;
    let (mut places, mut at_places) = (Vec::new(), Vec::new());
    for one in listed {
        let old: Vec<ListRow> = read
            .query_map([one.transaction_no], list_row)?
            .collect::<Result<_, _>>()?;
        let new = rows_of(one.state, one.charger, one.wire_id);
        let difference = Difference::between(&old, &new, one.charger, one.wire_id);
        for (began_at, key) in &difference.removed {
            remove.execute(params![began_at, key.as_bytes()])?;
        }
        // Before the new rows are written, which look for their closing.
        if let Some((first, key)) = difference.replaced_key {
            alias.execute(params![first.as_bytes(), one.transaction_no])?;
            copy_closing.execute([first.as_bytes(), key.as_bytes()])?;
        }
        for row in &difference.written {
            let [
                place,
                start_at,
                start_received_at,
                written_start_at,
                heard_at,
            ] = row.place_columns();
            let [stopped_at, stop_received_at] = row.stop_columns();
            insert.execute(params![
                row.began_at,
                row.key.as_bytes(),
                one.charger_no,
                one.transaction_no,
                row.kind as i64,
                row.token,
                row.meter_wh,
                row.open,
                place,
                start_at,
                start_received_at,
                written_start_at,
                heard_at,
                stopped_at,
                stop_received_at,
                row.token_key,
            ])?;
        }
        let rows = difference.places.into_iter();
        places.extend(rows.map(|place| (one.charger_no, place)));
        let rows = difference.at_places.into_iter();
        at_places.extend(rows.map(|(place, order)| ((one.charger_no, place), order)));
    }
    at_places.extend(settle(connection, places, changed)?);
    Ok(at_places)
}

fn list_row(row: &Row<'_>) -> rusqlite::Result<ListRow> {
    let key = uuid_of(row, 1)?;
    let place = [
        row.get(6)?,
        row.get(7)?,
        row.get(8)?,
        row.get(9)?,
        row.get(10)?,
    ];
    let (place, stop) = ListRow::placed(key, place, [row.get(11)?, row.get(12)?]);
    Ok(ListRow {
        began_at: row.get(0)?,
        key,
        kind: Kind::from_code(row.get(2)?),
        open: row.get(3)?,
        token: row.get(4)?,
        meter_wh: row.get(5)?,
        place,
        stop,
        token_key: row.get(14)?,
        is_superseded: row.get(13)?,
    })
}

/// Decides which stops without a usable id end which starts, around these rows. Returns the sessions whose stop has
/// changed, as [`write()`].
fn settle(
    connection: &Connection,
    places: Vec<(i64, RowPlace)>,
    changed: &mut Vec<Queued>,
) -> Result<Vec<(PlaceOf<i64>, Order)>, Refusal> {
    let mut clusters = Cluster::of(places);
    let mut at_places = Vec::new();
    let mut update = connection.prepare_cached(
        "UPDATE transaction_views SET partner = ?3, partner_no = ?4,
            open = (kind = 1 AND ?3 IS NULL AND successor IS NULL AND NOT closed),
            hidden = (kind = 2 AND ?3 IS NOT NULL)
         WHERE began_at = ?1 AND key = ?2
         RETURNING charger_no, place, start_at, start_received_at, transaction_no",
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
            let partner_key = partner.map(|(key, _)| *key.as_bytes());
            let partner_no = partner.map(|(_, no)| no);
            let placed = update
                .query_row(
                    params![began_at, key.as_bytes(), partner_key, partner_no],
                    |row| {
                        let place: Option<i64> = row.get(1)?;
                        let start: Option<(i64, i64)> = match row.get(2)? {
                            Some(start_at) => Some((start_at, row.get(3)?)),
                            None => None,
                        };
                        Ok((row.get(0)?, place.zip(start), row.get(4)?))
                    },
                )
                .optional()?;
            let Some((charger_no, place, transaction_no)) = placed else {
                continue;
            };
            changed.push(Queued::transaction(transaction_no));
            if let Some((place, (start_at, received_at))) = place {
                at_places.push(((charger_no, place), (start_at, received_at, key)));
            }
        }
    }
    Ok(at_places)
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
