//! The times in which gateways ran: an index scan over the records of their starts, and one seek for each.

use crate::paging::at_most;
use crate::postgres::error;
use crate::refusal::Refusal;
use crate::runs::{Start, runs_of};
use crate::state::gateway_alive_at;
use central::query::GatewayRun;
use central::{GatewayId, Timestamp};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Number, id, state, times of the first record and of the last one before the next start after the range, and whether there
/// is such a start.
type GatewayRow = (i32, Uuid, Option<String>, Option<i64>, Option<i64>, bool);

/// `None`: more than `max` starts.
pub(super) async fn runs(
    connection: &mut PgConnection,
    wanted: &[GatewayId],
    from: Timestamp,
    to: Timestamp,
    max: usize,
) -> Result<Option<Vec<GatewayRun>>, Refusal> {
    let ids: Vec<Uuid> = wanted.iter().map(|gateway| gateway.0).collect();
    // As in `connections`, only the index of connections fits.
    let starts: Vec<(i32, i64, Option<i64>)> = sqlx::query_as(
        "SELECT s.gateway_no, s.received_at,
             (SELECT m.received_at FROM messages m WHERE m.gateway_no = s.gateway_no AND m.seq < s.seq
              ORDER BY m.seq DESC LIMIT 1)
         FROM (SELECT m.gateway_no, m.seq, m.received_at, m.epoch FROM messages m
             WHERE (m.charger_no, m.epoch) >= (0, $1) AND (m.charger_no, m.epoch) < (0, $2)
                 AND m.charger_no <= 0 AND m.kind IN (7, 8, 9)
             ORDER BY m.charger_no, m.epoch LIMIT $3) s
         ORDER BY s.epoch",
    )
    .bind(from.0)
    .bind(to.0)
    .bind(at_most(max.saturating_add(1)))
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    if starts.len() > max {
        return Ok(None);
    }
    // The last run ends before the next start, also where that is after the range.
    let gateways: Vec<GatewayRow> = sqlx::query_as(
        "SELECT g.no, g.id, g.state,
             (SELECT m.received_at FROM messages m WHERE m.gateway_no = g.no ORDER BY m.seq LIMIT 1),
             (SELECT m.received_at FROM messages m
              WHERE m.gateway_no = g.no AND m.seq < coalesce(n.seq, 9223372036854775807)
              ORDER BY m.seq DESC LIMIT 1),
             n.seq IS NOT NULL
         FROM gateways g
         LEFT JOIN LATERAL (SELECT m.seq FROM messages m
             WHERE (m.charger_no, m.epoch) >= (0, $2) AND m.charger_no <= 0 AND m.kind IN (7, 8, 9)
                 AND m.gateway_no = g.no
             ORDER BY m.charger_no, m.epoch LIMIT 1) n ON true
         WHERE g.id = ANY($1)",
    )
    .bind(&ids)
    .bind(to.0)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut found = Vec::new();
    for (no, id, state, begun, last, starts_again) in gateways {
        let Some(begun) = begun else {
            continue;
        };
        let of_gateway: Vec<Start> = starts
            .iter()
            .filter(|(gateway_no, ..)| *gateway_no == no)
            .map(|(_, at, last_before)| Start {
                at: Timestamp(*at),
                last_before: last_before.map(Timestamp),
            })
            .collect();
        let last = last.map(Timestamp);
        let last = match starts_again {
            true => last,
            false => last.max(gateway_alive_at(state.as_deref())),
        };
        let gateway = GatewayId(id);
        found.extend(runs_of(gateway, Timestamp(begun), &of_gateway, last));
    }
    Ok(Some(found))
}
