//! What follows from the order of the sessions of one connector, on PostgreSQL; [`crate::succession`] decides it. A batch takes
//! a fixed number of statements, except where values without a transaction are spread over many sessions.

use super::error;
use crate::event_log::Queued;
use crate::listing::stop_of;
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::state::read_transaction;
use crate::succession::{Order, PlaceChange, PlaceOf, PlaceRow, Round, Scan, Successor, Window};
use central::Timestamp;
use central::model::{MeterValueRow, PlaceSession, Readings};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Meter values that a scan holds in memory at once.
const SCANNED_MAX: usize = 10_000;

/// Decides again around these positions, and adds the values that name no transaction to their sessions. The values are
/// stored already. Adds the transactions of rows that have changed to `touched`.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    changed: Vec<(PlaceOf<i32>, Order)>,
    unnamed: Vec<(PlaceOf<i32>, &MeterValueRow)>,
    touched: &mut Vec<Queued>,
) -> Result<(), Refusal> {
    if changed.is_empty() && unnamed.is_empty() {
        return Ok(());
    }
    let mut round = Round::new(changed, unnamed);
    note_unnamed(connection, round.unnamed_places().collect()).await?;
    loop {
        let (limit, positions) = round.take_positions();
        if positions.is_empty() {
            break;
        }
        for window in windows(connection, &positions, limit).await? {
            round.add(window);
        }
    }
    read_states(connection, &mut round).await?;
    for scan in round.scans() {
        read_values(connection, scan, &mut round).await?;
    }
    write(connection, round.changes(), touched).await
}

/// The numbers of these transactions that have a superseded session.
pub(crate) async fn superseded(
    connection: &mut PgConnection,
    transactions: &[i64],
) -> Result<Vec<i64>, Refusal> {
    if transactions.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(
        "SELECT DISTINCT transaction_no FROM transaction_views
         WHERE transaction_no = ANY($1) AND successor IS NOT NULL",
    )
    .bind(transactions)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)
}

async fn note_unnamed(
    connection: &mut PgConnection,
    places: Vec<PlaceOf<i32>>,
) -> Result<(), Refusal> {
    if places.is_empty() {
        return Ok(());
    }
    let (chargers, numbers): (Vec<i32>, Vec<i64>) = places.into_iter().unzip();
    sqlx::query(
        "INSERT INTO unnamed_places (charger_no, place)
         SELECT * FROM unnest($1::int[], $2::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind(&chargers)
    .bind(&numbers)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// The number of its position; the row's key, its times (`began_at`, `transaction_no`, then the columns of the session),
/// its successor and its readings; whether values without a transaction come from its place.
type FoundRow = (
    i32,
    Option<Uuid>,
    Option<Vec<Option<i64>>>,
    Option<Uuid>,
    Option<String>,
    bool,
);

/// The rows around each position.
async fn windows(
    connection: &mut PgConnection,
    positions: &[(PlaceOf<i32>, Order)],
    limit: usize,
) -> Result<Vec<Window<i32>>, Refusal> {
    let mut windows: Vec<Window<i32>> = positions
        .iter()
        .map(|(place, position)| Window {
            place: *place,
            position: *position,
            limit,
            rows: Vec::new(),
            is_unnamed: false,
        })
        .collect();
    let numbers: Vec<i32> = (0..).take(positions.len()).collect();
    let chargers: Vec<i32> = windows.iter().map(|window| window.place.0).collect();
    let places: Vec<i64> = windows.iter().map(|window| window.place.1).collect();
    let starts: Vec<i64> = windows.iter().map(|window| window.position.0).collect();
    let receptions: Vec<i64> = windows.iter().map(|window| window.position.1).collect();
    let keys: Vec<Uuid> = windows.iter().map(|window| window.position.2).collect();
    let rows: Vec<FoundRow> = sqlx::query_as(
        "SELECT c.n, v.key,
             ARRAY[v.began_at, v.transaction_no, v.start_at, v.start_received_at, v.written_start_at, v.heard_at,
                 coalesce(v.stopped_at, p.stopped_at), coalesce(v.stop_received_at, p.stop_received_at),
                 v.successor_at, v.successor_received_at],
             v.successor, v.readings,
             EXISTS (SELECT FROM unnamed_places w WHERE w.charger_no = c.charger_no AND w.place = c.place)
         FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::uuid[])
             AS c (n, charger_no, place, start_at, start_received_at, key)
         LEFT JOIN LATERAL (
             (SELECT * FROM transaction_views
              WHERE place IS NOT NULL AND charger_no = c.charger_no AND place = c.place
                  AND (start_at, start_received_at, key) < (c.start_at, c.start_received_at, c.key)
              ORDER BY start_at DESC, start_received_at DESC, key DESC LIMIT $7)
             UNION ALL
             (SELECT * FROM transaction_views
              WHERE place IS NOT NULL AND charger_no = c.charger_no AND place = c.place
                  AND (start_at, start_received_at, key) >= (c.start_at, c.start_received_at, c.key)
              ORDER BY start_at, start_received_at, key LIMIT $7 + 1)) AS v ON true
         LEFT JOIN LATERAL (
             SELECT stopped_at, stop_received_at FROM transaction_views WHERE key = v.partner LIMIT 1) AS p ON true",
    )
    .bind(&numbers)
    .bind(&chargers)
    .bind(&places)
    .bind(&starts)
    .bind(&receptions)
    .bind(&keys)
    .bind(at_most(limit))
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    for (n, key, times, successor, readings, is_unnamed) in rows {
        let Some(window) = usize::try_from(n).ok().and_then(|n| windows.get_mut(n)) else {
            continue;
        };
        window.is_unnamed = is_unnamed;
        if let Some((key, times)) = key.zip(times)
            && let Some(row) = place_row(key, &times, successor, readings)
        {
            window.rows.push(row);
        }
    }
    Ok(windows)
}

fn place_row(
    key: Uuid,
    times: &[Option<i64>],
    successor: Option<Uuid>,
    readings: Option<String>,
) -> Option<PlaceRow> {
    let column = |at: usize| times.get(at).copied().flatten();
    let start_at = column(2)?;
    Some(PlaceRow {
        began_at: column(0)?,
        transaction_no: column(1)?,
        session: PlaceSession {
            key,
            start_at: Timestamp(start_at),
            start_received_at: Timestamp(column(3)?),
            written_start_at: column(4).map(Timestamp),
            heard_at: Timestamp(column(5).unwrap_or(start_at)),
            stop: stop_of([column(6), column(7)]),
        },
        successor: successor_of(successor, column(8), column(9)),
        readings,
    })
}

/// A successor from its columns.
pub(crate) fn successor_of(
    key: Option<Uuid>,
    at: Option<i64>,
    received_at: Option<i64>,
) -> Option<Successor> {
    Some(Successor {
        key: key?,
        at: at?,
        received_at: received_at?,
    })
}

async fn read_states(
    connection: &mut PgConnection,
    round: &mut Round<'_, i32>,
) -> Result<(), Refusal> {
    let numbers = round.states_to_read();
    if numbers.is_empty() {
        return Ok(());
    }
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT c.key, t.wire_id, t.state FROM transactions t JOIN chargers c ON c.no = t.charger_no
         WHERE t.no = ANY($1)",
    )
    .bind(&numbers)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    for (charger, wire_id, json) in rows {
        if let Some(state) = read_transaction(&wire_id, &json) {
            round.add_state(&charger, &wire_id, &state);
        }
    }
    Ok(())
}

/// Reads a scan's values in parts, so that a long session does not fill the memory.
async fn read_values(
    connection: &mut PgConnection,
    scan: Scan<i32>,
    round: &mut Round<'_, i32>,
) -> Result<(), Refusal> {
    let mut after = (scan.from, i64::MIN);
    loop {
        let rows: Vec<(i64, i64, bool, String)> = sqlx::query_as(
            "SELECT at, key_hash, evse IS NOT NULL, sampled FROM meter_values
             WHERE charger_no = $1 AND unnamed_at = $2 AND at >= $3 AND at <= $4 AND (at, key_hash) > ($3, $5)
             ORDER BY at, key_hash LIMIT $6",
        )
        .bind(scan.place.0)
        .bind(scan.place.1)
        .bind(after.0)
        .bind(scan.until)
        .bind(after.1)
        .bind(at_most(SCANNED_MAX))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
        for (at, key_hash, has_evse, sampled) in &rows {
            let readings = Readings::of_row(Timestamp(*at), *key_hash, *has_evse, sampled);
            round.add_scanned(scan.key, readings);
        }
        match rows.last() {
            Some((at, key_hash, ..)) if rows.len() == SCANNED_MAX => after = (*at, *key_hash),
            _ => return Ok(()),
        }
    }
}

async fn write(
    connection: &mut PgConnection,
    changes: Vec<PlaceChange>,
    touched: &mut Vec<Queued>,
) -> Result<(), Refusal> {
    if changes.is_empty() {
        return Ok(());
    }
    let began: Vec<i64> = changes.iter().map(|change| change.began_at).collect();
    let keys: Vec<Uuid> = changes.iter().map(|change| change.key).collect();
    let heard: Vec<i64> = changes.iter().map(|change| change.heard_at).collect();
    let successors = || changes.iter().map(|change| change.successor);
    let successor_keys: Vec<Option<Uuid>> =
        successors().map(|next| next.map(|next| next.key)).collect();
    let successor_ats: Vec<Option<i64>> =
        successors().map(|next| next.map(|next| next.at)).collect();
    let receptions: Vec<Option<i64>> = successors()
        .map(|next| next.map(|next| next.received_at))
        .collect();
    let readings: Vec<Option<&str>> = changes
        .iter()
        .map(|change| change.readings.as_deref())
        .collect();
    let numbers: Vec<i64> = sqlx::query_scalar(
        "UPDATE transaction_views v SET heard_at = u.heard_at, successor = u.successor,
             successor_at = u.successor_at, successor_received_at = u.successor_received_at,
             readings = u.readings,
             open = (v.unended AND v.partner IS NULL AND u.successor IS NULL AND NOT v.closed)
         FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[], $6::bigint[], $7::text[])
             AS u (began_at, key, heard_at, successor, successor_at, successor_received_at, readings)
         WHERE v.began_at = u.began_at AND v.key = u.key RETURNING v.transaction_no",
    )
    .bind(&began)
    .bind(&keys)
    .bind(&heard)
    .bind(&successor_keys)
    .bind(&successor_ats)
    .bind(&receptions)
    .bind(&readings)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    touched.extend(numbers.into_iter().map(Queued::transaction));
    Ok(())
}
