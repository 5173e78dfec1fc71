//! Dead letters: inserted with a batch, and read or discarded by the operator.

use super::numbers::clean;
use super::writer::Cache;
use super::{PostgresStore, error, event_log};
use crate::dead_letters::set_aside_name;
use crate::event_log::{Change, Queued};
use crate::refusal::Refusal;
use central::RecordId;
use central::ports::{DeadLetter, DeadLetters, Unavailable};
use common::clock::now_ms;
use sqlx::postgres::PgConnection;

impl DeadLetters for PostgresStore {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        self.read(async |connection| {
            let found: Option<(Vec<u8>, String)> = sqlx::query_as(
                "SELECT d.bytes, d.reason FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
                 WHERE g.id = $1 AND d.seq = $2",
            )
            .bind(id.gateway.0)
            .bind(id.seq.0.cast_signed())
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
            Ok(found.map(|(bytes, reason)| DeadLetter { id, bytes, reason }))
        })
    }

    fn discard_dead_letter(&self, id: RecordId) -> Result<bool, Unavailable> {
        self.write(async |connection| {
            let done = sqlx::query(
                "DELETE FROM dead_letters d USING gateways g
                 WHERE g.no = d.gateway_no AND g.id = $1 AND d.seq = $2",
            )
            .bind(id.gateway.0)
            .bind(id.seq.0.cast_signed())
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(done.rows_affected() > 0)
        })
    }
}

/// Inserts each dead letter once. When a different one with the same id exists, it goes to `set_aside`, so that
/// no data is lost.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    cache: &Cache,
    letters: &[DeadLetter],
) -> Result<(), Refusal> {
    for letter in letters {
        let gateway_no = cache.numbers.gateway(letter.id.gateway)?;
        let at = now_ms();
        let kept: Option<i64> = sqlx::query_scalar(
            "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (gateway_no, seq) DO NOTHING RETURNING no",
        )
        .bind(gateway_no)
        .bind(letter.id.seq.0.cast_signed())
        .bind(&letter.bytes)
        .bind(clean(&letter.reason))
        .bind(at)
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::refusal)?;
        if let Some(no) = kept {
            let entry = Queued::numbered(Change::DeadLetter, no, at);
            event_log::push(connection, &[entry]).await?;
            continue;
        }
        sqlx::query(
            "INSERT INTO set_aside (what, state, reason, at)
             SELECT $3, $4, $5, $6
             WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE gateway_no = $1 AND seq = $2 AND bytes = $4)
             AND NOT EXISTS (SELECT 1 FROM set_aside WHERE what = $3 AND state = $4)",
        )
        .bind(gateway_no)
        .bind(letter.id.seq.0.cast_signed())
        .bind(set_aside_name(letter.id))
        .bind(&letter.bytes)
        .bind(clean(&letter.reason))
        .bind(at)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    }
    Ok(())
}
