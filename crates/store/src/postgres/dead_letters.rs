//! Dead letters for the operator: read one, or discard it.

use super::{PostgresStore, error};
use central::RecordId;
use central::ports::{DeadLetter, DeadLetters, Unavailable};

impl DeadLetters for PostgresStore {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        self.read(async |connection| {
            let found: Option<(Vec<u8>, String)> = sqlx::query_as(
                "SELECT d.bytes, d.reason FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
                 WHERE g.id = $1 AND d.seq = $2",
            )
            .bind(id.gateway.0)
            .bind(id.seq.cast_signed())
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
            .bind(id.seq.cast_signed())
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(done.rows_affected() > 0)
        })
    }
}
