//! The connections of one charger: an index scan over the records of begins and ends, and two look-ups for each connection
//! whose end was not recorded.

use super::charger_no;
use crate::codes::{kind, version};
use crate::paging::{at_most, connection_records, connections_page, empty};
use crate::postgres::error;
use crate::refusal::Refusal;
use central::query::{ConnectionRecord, ConnectionRow, Page};
use central::{Epoch, GatewayId, Timestamp};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Upper bound of the records that are read for the last one of a connection.
const RECORDS_READ_MAX: i64 = 2_000;

/// `None` = the cursor names a gateway that is not in the database.
pub(super) async fn page(
    connection: &mut PgConnection,
    charger: &str,
    before: Option<(Epoch, GatewayId)>,
    limit: usize,
) -> Result<Option<Page<ConnectionRow>>, Refusal> {
    let Some(charger_no) = charger_no(connection, charger).await? else {
        return Ok(Some(empty()));
    };
    let from = match before {
        None => (i64::MAX, i32::MAX),
        Some((epoch, gateway)) => match gateway_no(connection, gateway).await? {
            None => return Ok(None),
            Some(no) => (epoch.0.cast_signed(), no),
        },
    };
    // The charger is part of the order and of a range, although there is only one, so that only the index of connections
    // fits, whatever the statistics are.
    let rows: Vec<(Uuid, i64, i16, i16, i64, String, String)> = sqlx::query_as(
        "SELECT g.id, m.epoch, m.kind, m.version, m.received_at, m.payload, m.reason
         FROM (SELECT * FROM messages m
             WHERE (m.charger_no, m.epoch, m.gateway_no) <= ($1, $2, $3) AND m.charger_no >= $1
                 AND m.kind IN (7, 8, 9)
             ORDER BY m.charger_no DESC, m.epoch DESC, m.gateway_no DESC LIMIT $4) m
         JOIN gateways g ON g.no = m.gateway_no
         ORDER BY m.epoch DESC, m.gateway_no DESC",
    )
    .bind(charger_no)
    .bind(from.0)
    .bind(from.1)
    .bind(at_most(connection_records(limit)))
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let records = rows
        .into_iter()
        .map(|row| {
            Ok(ConnectionRecord {
                gateway: GatewayId(row.0),
                epoch: Epoch(row.1.cast_unsigned()),
                kind: kind(row.2)?,
                ocpp_version: version(row.3)?,
                received_at: Timestamp(row.4),
                payload: row.5,
                reason: row.6,
            })
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let mut page = connections_page(records, before, limit);
    for row in page.items.iter_mut().filter(|row| row.ended.is_none()) {
        bound_end(connection, charger_no, row).await?;
    }
    Ok(Some(page))
}

async fn gateway_no(
    connection: &mut PgConnection,
    gateway: GatewayId,
) -> Result<Option<i32>, Refusal> {
    sqlx::query_scalar("SELECT no FROM gateways WHERE id = $1")
        .bind(gateway.0)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)
}

/// Adds what other records tell of an end that was not recorded.
async fn bound_end(
    connection: &mut PgConnection,
    charger_no: i32,
    row: &mut ConnectionRow,
) -> Result<(), Refusal> {
    let Some(gateway_no) = gateway_no(connection, row.gateway).await? else {
        return Ok(());
    };
    let epoch = row.epoch.0.cast_signed();
    let started: Option<(i64, i64)> = sqlx::query_as(
        "SELECT m.received_at, m.seq FROM messages m
         WHERE (m.charger_no, m.epoch) > (0, $1) AND m.charger_no <= 0 AND m.kind IN (7, 8, 9) AND m.gateway_no = $2
         ORDER BY m.charger_no, m.epoch LIMIT 1",
    )
    .bind(epoch)
    .bind(gateway_no)
    .fetch_optional(&mut *connection)
    .await
    .map_err(error::refusal)?;
    row.gateway_started_at = started.map(|(at, _)| Timestamp(at));
    // What the central system recorded of its own calls is no sign of life of the charger. With `<` the planner would count
    // the rows of lower chargers only and, where these are few, sort all rows of this one.
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT w.received_at FROM (
             SELECT m.* FROM messages m
             WHERE (m.charger_no, m.gateway_no, m.seq) <= ($1, $2, $3) AND (m.charger_no, m.gateway_no) >= ($1, $2)
             ORDER BY m.charger_no DESC, m.gateway_no DESC, m.seq DESC LIMIT $5) w
         WHERE w.epoch = $4 AND w.kind NOT IN (10, 11) ORDER BY w.seq DESC LIMIT 1",
    )
    .bind(charger_no)
    .bind(gateway_no)
    .bind(started.map_or(i64::MAX, |(_, seq)| seq - 1))
    .bind(epoch)
    .bind(RECORDS_READ_MAX)
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)?;
    row.last_record_at = last.map(Timestamp).or(row.connected_at);
    Ok(())
}
