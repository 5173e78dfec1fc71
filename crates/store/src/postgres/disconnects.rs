//! Requests to close connections.

use super::directory::NOW_MS;
use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, error};
use crate::audit::disconnect_entry;
use crate::idempotency::EXPIRED_DELETED;
use crate::paging::at_most;
use crate::refusal::Refusal;
use central::ports::{
    DatabaseClock, Disconnect, DisconnectRequest, Disconnects, Heard, IDEMPOTENCY_KEPT_MS,
    NotConnected, Once, Unavailable,
};
use central::{Epoch, GatewayId, Timestamp};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

impl DatabaseClock for PostgresStore {
    fn time(&self) -> Result<Timestamp, Unavailable> {
        self.read(async |connection| {
            let now: i64 = sqlx::query_scalar(NOW_MS)
                .fetch_one(connection)
                .await
                .map_err(error::refusal)?;
            Ok(Timestamp(now))
        })
    }
}

impl Disconnects for PostgresStore {
    fn request_disconnect(
        &self,
        wanted: &DisconnectRequest,
    ) -> Result<Once<Disconnect, NotConnected>, Unavailable> {
        self.change(async |connection| {
            once(connection, &wanted.request, async |connection| {
                let request = match wanted.accept() {
                    Ok(request) => request,
                    Err(refused) => return Ok(Err(refused)),
                };
                sqlx::query(
                    "INSERT INTO disconnect_requests
                         (id, gateway, charger, epoch, code, reason, requested_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(request.id)
                .bind(request.gateway_id.0)
                .bind(clean(&request.charger_id).into_owned())
                .bind(request.epoch.0.cast_signed())
                .bind(i32::from(request.code))
                .bind(clean(&request.reason).into_owned())
                .bind(request.requested_at.0)
                .bind(request.expires_at.0)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
                sqlx::query(
                    "DELETE FROM disconnect_requests WHERE id IN
                         (SELECT id FROM disconnect_requests WHERE requested_at < $1 ORDER BY requested_at LIMIT $2)",
                )
                .bind(request.requested_at.0 - IDEMPOTENCY_KEPT_MS)
                .bind(EXPIRED_DELETED)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
                let entry = disconnect_entry(&request, &wanted.request.origin);
                audit::insert(connection, &entry).await?;
                Ok(Ok(request))
            })
            .await
        })
    }

    fn disconnect_heard(&self, id: Uuid) -> Result<Option<Heard>, Unavailable> {
        self.read(async |connection| {
            let found: Option<(i64, Option<bool>)> = sqlx::query_as(
                "SELECT heard_at, was_held FROM disconnect_requests WHERE id = $1 AND heard_at IS NOT NULL",
            )
            .bind(id)
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
            Ok(found.map(|(at, was_held)| Heard {
                at: Timestamp(at),
                was_held: was_held.unwrap_or(false),
            }))
        })
    }

    fn disconnects_of(
        &self,
        gateway: GatewayId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Disconnect>, Unavailable> {
        self.read(async |connection| {
            let rows = sqlx::query(
                "SELECT id, charger, gateway, epoch, code, reason, requested_at, expires_at
                 FROM disconnect_requests
                 WHERE gateway = $1 AND heard_at IS NULL AND expires_at > $2
                 ORDER BY requested_at LIMIT $3",
            )
            .bind(gateway.0)
            .bind(now.0)
            .bind(at_most(max))
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            rows.iter().map(request).collect()
        })
    }

    fn heard_disconnects(&self, heard: &[(Uuid, Heard)]) -> Result<(), Unavailable> {
        let ids: Vec<Uuid> = heard.iter().map(|(id, _)| *id).collect();
        let times: Vec<i64> = heard.iter().map(|(_, heard)| heard.at.0).collect();
        let held: Vec<bool> = heard.iter().map(|(_, heard)| heard.was_held).collect();
        self.change(async |connection| {
            sqlx::query(
                "UPDATE disconnect_requests r SET heard_at = h.at, was_held = h.was_held
                 FROM unnest($1, $2, $3) AS h(id, at, was_held)
                 WHERE r.id = h.id AND r.heard_at IS NULL",
            )
            .bind(&ids)
            .bind(&times)
            .bind(&held)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }
}

fn request(row: &PgRow) -> Result<Disconnect, Refusal> {
    let read = || {
        Ok::<_, sqlx::Error>(Disconnect {
            id: row.try_get(0)?,
            charger_id: row.try_get(1)?,
            gateway_id: GatewayId(row.try_get(2)?),
            epoch: Epoch(row.try_get::<i64, _>(3)?.cast_unsigned()),
            code: u16::try_from(row.try_get::<i32, _>(4)?).unwrap_or_default(),
            reason: row.try_get(5)?,
            requested_at: Timestamp(row.try_get(6)?),
            expires_at: Timestamp(row.try_get(7)?),
        })
    };
    read().map_err(error::refusal)
}
