//! Requests to close connections.

use super::idempotency::once;
use super::listing::uuid_of;
use super::{SqliteStore, audit};
use crate::audit::disconnect_entry;
use crate::idempotency::EXPIRED_DELETED;
use crate::paging::at_most;
use crate::refusal::Refusal;
use central::ports::{
    DatabaseClock, Disconnect, DisconnectRequest, Disconnects, Heard, IDEMPOTENCY_KEPT_MS,
    NotConnected, Once, Unavailable,
};
use central::{Epoch, GatewayId, Timestamp};
use common::clock::now_ms;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

impl DatabaseClock for SqliteStore {
    fn time(&self) -> Result<Timestamp, Unavailable> {
        // All processes with this file are on this machine.
        Ok(Timestamp(now_ms()))
    }
}

impl Disconnects for SqliteStore {
    fn request_disconnect(
        &self,
        wanted: &DisconnectRequest,
    ) -> Result<Once<Disconnect, NotConnected>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, &wanted.request, |connection| {
                let request = match wanted.accept() {
                    Ok(request) => request,
                    Err(refused) => return Ok(Err(refused)),
                };
                connection.execute(
                    "INSERT INTO disconnect_requests
                         (id, gateway, charger, epoch, code, reason, requested_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        request.id.as_bytes(),
                        request.gateway_id.0.as_bytes(),
                        request.charger_id,
                        request.epoch.0.cast_signed(),
                        request.code,
                        request.reason,
                        request.requested_at.0,
                        request.expires_at.0,
                    ],
                )?;
                connection.execute(
                    "DELETE FROM disconnect_requests WHERE id IN
                         (SELECT id FROM disconnect_requests WHERE requested_at < ?1 ORDER BY requested_at LIMIT ?2)",
                    params![request.requested_at.0 - IDEMPOTENCY_KEPT_MS, EXPIRED_DELETED],
                )?;
                let entry = disconnect_entry(&request, &wanted.request.origin);
                audit::insert(connection, &entry)?;
                Ok(Ok(request))
            })
        })
    }

    fn disconnect_heard(&self, id: Uuid) -> Result<Option<Heard>, Unavailable> {
        self.readers
            .read(|connection| {
                let heard = connection
                    .prepare_cached(
                        "SELECT heard_at, was_held FROM disconnect_requests
                         WHERE id = ?1 AND heard_at IS NOT NULL",
                    )?
                    .query_row([id.as_bytes()], |row| {
                        Ok(Heard {
                            at: Timestamp(row.get(0)?),
                            was_held: row.get(1)?,
                        })
                    })
                    .optional()?;
                Ok(heard)
            })
            .map_err(Refusal::into_unavailable)
    }

    fn disconnects_of(
        &self,
        gateway: GatewayId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Disconnect>, Unavailable> {
        self.readers
            .read(|connection| {
                let found = connection
                    .prepare_cached(
                        "SELECT id, charger, gateway, epoch, code, reason, requested_at, expires_at
                         FROM disconnect_requests
                         WHERE gateway = ?1 AND heard_at IS NULL AND expires_at > ?2
                         ORDER BY requested_at LIMIT ?3",
                    )?
                    .query_map(params![gateway.0.as_bytes(), now.0, at_most(max)], request)?
                    .collect::<Result<_, _>>()?;
                Ok(found)
            })
            .map_err(Refusal::into_unavailable)
    }

    fn heard_disconnects(&self, heard: &[(Uuid, Heard)]) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let mut update = connection.prepare_cached(
                "UPDATE disconnect_requests SET heard_at = ?2, was_held = ?3
                 WHERE id = ?1 AND heard_at IS NULL",
            )?;
            for (id, heard) in heard {
                update.execute(params![id.as_bytes(), heard.at.0, heard.was_held])?;
            }
            Ok(())
        })
    }
}

fn request(row: &Row<'_>) -> rusqlite::Result<Disconnect> {
    Ok(Disconnect {
        id: uuid_of(row, 0)?,
        charger_id: row.get(1)?,
        gateway_id: GatewayId(uuid_of(row, 2)?),
        epoch: Epoch(row.get::<_, i64>(3)?.cast_unsigned()),
        code: row.get(4)?,
        reason: row.get(5)?,
        requested_at: Timestamp(row.get(6)?),
        expires_at: Timestamp(row.get(7)?),
    })
}
