//! What follows from the order of the sessions of one connector, on SQLite; [`crate::succession`] decides it.

use super::listing::uuid_of;
use super::numbers::charger_key;
use crate::event_log::Queued;
use crate::listing::stop_of;
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::state::read_transaction;
use crate::succession::{Order, PlaceChange, PlaceOf, PlaceRow, Round, Scan, Successor, Window};
use central::Timestamp;
use central::model::{ChargerKey, MeterValueRow, PlaceSession, Readings};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

/// Decides again around these positions, and adds the values that name no transaction to their sessions. The values are
/// stored already. Adds the transactions of rows that have changed to `touched`.
pub(crate) fn settle(
    connection: &Connection,
    changed: Vec<(PlaceOf<i64>, Order)>,
    unnamed: Vec<(PlaceOf<i64>, &MeterValueRow)>,
    touched: &mut Vec<Queued>,
) -> Result<(), Refusal> {
    if changed.is_empty() && unnamed.is_empty() {
        return Ok(());
    }
    let mut round = Round::new(changed, unnamed);
    let mut note = connection.prepare_cached(
        "INSERT INTO unnamed_places (charger_no, place) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for (charger_no, place) in round.unnamed_places() {
        note.execute([charger_no, place])?;
    }
    loop {
        let (limit, positions) = round.take_positions();
        if positions.is_empty() {
            break;
        }
        for (place, position) in positions {
            round.add(window(connection, place, position, limit)?);
        }
    }
    for transaction_no in round.states_to_read() {
        if let Some((charger, wire_id, json)) = state(connection, transaction_no)?
            && let Some(state) = read_transaction(&wire_id, &json)
        {
            round.add_state(charger.as_str(), &wire_id, &state);
        }
    }
    for scan in round.scans() {
        read_values(connection, &scan, |readings| {
            round.add_scanned(scan.key, readings)
        })?;
    }
    write(connection, round.changes(), touched)
}

const COLUMNS: &str = "SELECT v.began_at, v.transaction_no, v.key, v.start_at, v.start_received_at,
        v.written_start_at, v.heard_at, coalesce(v.stopped_at, p.stopped_at),
        coalesce(v.stop_received_at, p.stop_received_at), v.successor, v.successor_at,
        v.successor_received_at, v.readings
     FROM transaction_views v INDEXED BY transaction_views_by_place
     LEFT JOIN transaction_views p ON p.key = v.partner
     WHERE v.charger_no = ?1 AND v.place = ?2";

/// The rows around a position.
fn window(
    connection: &Connection,
    place: PlaceOf<i64>,
    position: Order,
    limit: usize,
) -> Result<Window<i64>, Refusal> {
    let (charger_no, number) = place;
    let (start_at, received_at, key) = position;
    let wanted = at_most(limit);
    let arguments = params![
        charger_no,
        number,
        start_at,
        received_at,
        key.as_bytes(),
        wanted
    ];
    let mut rows: Vec<PlaceRow> = connection
        .prepare_cached(&format!(
            "{COLUMNS} AND (v.start_at, v.start_received_at, v.key) < (?3, ?4, ?5)
             ORDER BY v.start_at DESC, v.start_received_at DESC, v.key DESC LIMIT ?6"
        ))?
        .query_map(arguments, place_row)?
        .collect::<Result<_, _>>()?;
    let mut behind = connection.prepare_cached(&format!(
        "{COLUMNS} AND (v.start_at, v.start_received_at, v.key) >= (?3, ?4, ?5)
         ORDER BY v.start_at, v.start_received_at, v.key LIMIT ?6 + 1"
    ))?;
    for row in behind.query_map(arguments, place_row)? {
        rows.push(row?);
    }
    let is_unnamed: Option<i64> = connection
        .prepare_cached("SELECT 1 FROM unnamed_places WHERE charger_no = ?1 AND place = ?2")?
        .query_row([charger_no, number], |row| row.get(0))
        .optional()?;
    Ok(Window {
        place,
        position,
        limit,
        rows,
        is_unnamed: is_unnamed.is_some(),
    })
}

fn place_row(row: &Row<'_>) -> rusqlite::Result<PlaceRow> {
    let key = uuid_of(row, 2)?;
    Ok(PlaceRow {
        began_at: row.get(0)?,
        transaction_no: row.get(1)?,
        session: PlaceSession {
            key,
            start_at: Timestamp(row.get(3)?),
            start_received_at: Timestamp(row.get(4)?),
            written_start_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
            heard_at: Timestamp(row.get(6)?),
            stop: stop_of([row.get(7)?, row.get(8)?]),
        },
        successor: successor(row, 9)?,
        readings: row.get(12)?,
    })
}

/// Reads the three columns of a successor.
pub(crate) fn successor(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Successor>> {
    let key: Option<[u8; 16]> = row.get(column)?;
    let Some(key) = key else {
        return Ok(None);
    };
    Ok(Some(Successor {
        key: Uuid::from_bytes(key),
        at: row.get(column + 1)?,
        received_at: row.get(column + 2)?,
    }))
}

/// A state with its charger's key and its id on the wire.
fn state(
    connection: &Connection,
    transaction_no: i64,
) -> Result<Option<(ChargerKey, String, String)>, Refusal> {
    let found = connection
        .prepare_cached(
            "SELECT c.key, t.wire_id, t.state FROM transactions t JOIN chargers c ON c.no = t.charger_no
             WHERE t.no = ?1",
        )?
        .query_row([transaction_no], |row| {
            Ok((charger_key(row, 0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(found)
}

fn read_values(
    connection: &Connection,
    scan: &Scan<i64>,
    mut found: impl FnMut(Readings),
) -> Result<(), Refusal> {
    let (charger_no, place) = scan.place;
    let mut statement = connection.prepare_cached(
        "SELECT at, key_hash, evse IS NOT NULL, sampled FROM meter_values INDEXED BY meter_values_unnamed
         WHERE charger_no = ?1 AND unnamed_at = ?2 AND at >= ?3 AND at <= ?4",
    )?;
    let mut rows = statement.query([charger_no, place, scan.from, scan.until])?;
    while let Some(row) = rows.next()? {
        let sampled: String = row.get(3)?;
        found(Readings::of_row(
            Timestamp(row.get(0)?),
            row.get(1)?,
            row.get(2)?,
            &sampled,
        ));
    }
    Ok(())
}

fn write(
    connection: &Connection,
    changes: Vec<PlaceChange>,
    touched: &mut Vec<Queued>,
) -> Result<(), Refusal> {
    let mut update = connection.prepare_cached(
        "UPDATE transaction_views SET heard_at = ?3, successor = ?4, successor_at = ?5,
            successor_received_at = ?6, readings = ?7,
            open = (unended AND partner IS NULL AND ?4 IS NULL AND NOT closed)
         WHERE began_at = ?1 AND key = ?2 RETURNING transaction_no",
    )?;
    for change in changes {
        let successor = change.successor;
        let values = params![
            change.began_at,
            change.key.as_bytes(),
            change.heard_at,
            successor.map(|successor| *successor.key.as_bytes()),
            successor.map(|successor| successor.at),
            successor.map(|successor| successor.received_at),
            change.readings,
        ];
        let found = update.query_row(values, |row| row.get(0)).optional()?;
        touched.extend(found.map(Queued::transaction));
    }
    Ok(())
}
