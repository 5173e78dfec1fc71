//! Dead letters for people: one is looked at, or thrown away once its cause is cured.

use crate::refusal::Refusal;
use crate::sqlite::SqliteStore;
use crate::sqlite::listing::uuid_of;
use crate::sqlite::numbers;
use central::ports::{DeadLetter, DeadLetters, Unavailable};
use central::{GatewayId, RecordId};
use rusqlite::{OptionalExtension, params};

impl DeadLetters for SqliteStore {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        self.readers
            .read(|connection| {
                let letter = connection
                    .prepare_cached(
                        "SELECT g.id, d.bytes, d.reason
                         FROM gateways g JOIN dead_letters d ON d.gateway_no = g.no
                         WHERE g.id = ?1 AND d.seq = ?2",
                    )?
                    .query_row(
                        params![id.gateway.0.as_bytes(), id.seq.cast_signed()],
                        |row| {
                            let gateway = GatewayId(uuid_of(row, 0)?);
                            Ok(DeadLetter {
                                id: RecordId { gateway, ..id },
                                bytes: row.get(1)?,
                                reason: row.get(2)?,
                            })
                        },
                    )
                    .optional()?;
                Ok(letter)
            })
            .map_err(Refusal::into_away)
    }

    fn discard_dead_letter(&self, id: RecordId) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let Some(gateway_no) = numbers::gateway_no(connection, id.gateway)? else {
                return Ok(false);
            };
            let removed = connection
                .prepare_cached("DELETE FROM dead_letters WHERE gateway_no = ?1 AND seq = ?2")?
                .execute(params![gateway_no, id.seq.cast_signed()])?;
            Ok(removed > 0)
        })
    }
}
