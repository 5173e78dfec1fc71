//! Refused handshakes.

use super::numbers::clean;
use super::{PostgresStore, audit, error, event_log};
use crate::handshakes::{Announced, HandshakeRow, dismissed, is_new, judged_by, listed, view};
use crate::paging::{at_most, before_handshake, cut_readable};
use crate::refusal::Refusal;
use central::model::{
    ChargerKey, Origin, REFUSED_EVENTS_MS, REFUSED_HANDSHAKES_MAX, REFUSED_KEPT_MS,
    REFUSED_PER_ADDRESS_MAX, RefusedHandshake, RefusedHandshakeView,
};
use central::ports::{Handshakes, QueryError, Unavailable};
use central::query::{HandshakeFilter, Page, PageRequest};
use sqlx::postgres::PgConnection;

impl Handshakes for PostgresStore {
    fn add_refused(&self, refused: &[RefusedHandshake]) -> Result<(), Unavailable> {
        self.write(async |connection| {
            lock_rows(connection).await?;
            let mut announced = Announced::default();
            for handshake in refused {
                let Some((no, count)) = insert(connection, handshake).await? else {
                    continue;
                };
                if is_new(handshake, count) && announced.has_room() {
                    announced.add(no, handshake, of_address(connection, handshake).await?);
                }
            }
            event_log::push(connection, &announced.entries()).await?;
            let last = refused.iter().map(|handshake| handshake.last_at.0).max();
            let mut delete = async |sql: &'static str, first: i64, address: &str| {
                sqlx::query(sql)
                    .bind(first)
                    .bind(address.to_owned())
                    .execute(&mut *connection)
                    .await
                    .map(|_| ())
                    .map_err(error::refusal)
            };
            let oldest = last.unwrap_or(i64::MIN).saturating_sub(REFUSED_KEPT_MS);
            delete(
                "DELETE FROM refused_handshakes WHERE last_at < $1 AND $2 = ''",
                oldest,
                "",
            )
            .await?;
            for handshake in refused {
                delete(
                    "DELETE FROM refused_handshakes WHERE no IN
                         (SELECT no FROM refused_handshakes WHERE address = $2
                          ORDER BY count > 1 DESC, last_at DESC, no DESC OFFSET $1)",
                    at_most(REFUSED_PER_ADDRESS_MAX),
                    &handshake.address,
                )
                .await?;
            }
            delete(
                "DELETE FROM refused_handshakes WHERE $2 = '' AND no IN
                     (SELECT no FROM refused_handshakes
                      ORDER BY count > 1 DESC, last_at DESC, no DESC OFFSET $1)",
                at_most(REFUSED_HANDSHAKES_MAX),
                "",
            )
            .await
        })
    }

    fn refused(
        &self,
        filter: &HandshakeFilter,
        page: &PageRequest,
    ) -> Result<Page<RefusedHandshakeView>, QueryError> {
        let before = before_handshake(page)?;
        let limit = page.rows();
        let charger = filter.charger.as_deref();
        let found = self.read(async |connection| {
            let rows: Vec<HandshakeRow> = sqlx::query_as(
                "SELECT no, charger_id, reason, status, cure, address, path, offered, gateway, first_at, last_at,
                     count
                 FROM refused_handshakes
                 WHERE no < $1 AND ($2::text IS NULL OR charger_key = $2) ORDER BY no DESC LIMIT $3",
            )
            .bind(before)
            .bind(charger.map(key))
            .bind(at_most(limit + 1))
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            Ok(rows.into_iter().map(listed).collect())
        });
        Ok(cut_readable(found?, limit))
    }

    fn dismiss_refused(&self, no: i64, origin: &Origin) -> Result<bool, Unavailable> {
        self.write(async |connection| {
            let removed: Option<HandshakeRow> = sqlx::query_as(
                "DELETE FROM refused_handshakes WHERE no = $1
                 RETURNING no, charger_id, reason, status, cure, address, path, offered, gateway, first_at,
                     last_at, count",
            )
            .bind(no)
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let Some(removed) = removed else {
                return Ok(false);
            };
            audit::insert(connection, &dismissed(&view(removed)?, origin)?).await?;
            Ok(true)
        })
    }
}

/// The key of a charger as PostgreSQL can store it.
fn key(id: &str) -> String {
    clean(ChargerKey::of(id).as_str()).into_owned()
}

/// One transaction at a time changes several rows: two that lock the same rows in different orders would wait for each
/// other. The bounds also delete rows of other chargers, so an order of the written rows is not enough.
const ROWS_LOCK: i64 = 0x5741_5248;

async fn lock_rows(connection: &mut PgConnection) -> Result<(), Refusal> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(ROWS_LOCK)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// The rows of this address that are as new as an hour.
async fn of_address(
    connection: &mut PgConnection,
    handshake: &RefusedHandshake,
) -> Result<i64, Refusal> {
    sqlx::query_scalar(
        "SELECT count(*) FROM refused_handshakes WHERE address = $1 AND first_at > $2",
    )
    .bind(clean(&handshake.address).into_owned())
    .bind(handshake.last_at.0.saturating_sub(REFUSED_EVENTS_MS))
    .fetch_one(connection)
    .await
    .map_err(error::refusal)
}

/// Adds to the row, or inserts it. Returns its number and its count, or nothing if it was judged by an older directory than
/// that with the settings of the charger. The caller holds the lock of the rows: a change of settings that is not committed yet
/// deletes the row after it.
async fn insert(
    connection: &mut PgConnection,
    handshake: &RefusedHandshake,
) -> Result<Option<(i64, i64)>, Refusal> {
    let text = |text: &str| clean(text).into_owned();
    sqlx::query_as(
        "INSERT INTO refused_handshakes AS r (key, charger_key, charger_id, reason, status, cure, address, path,
             offered, gateway, first_at, last_at, count)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
         WHERE NOT EXISTS (SELECT 1 FROM charger_profiles AS p WHERE p.key = $2 AND p.version > $14)
         ON CONFLICT (key) DO UPDATE SET charger_id = excluded.charger_id, status = excluded.status,
             cure = excluded.cure, address = excluded.address, path = excluded.path,
             offered = excluded.offered, gateway = excluded.gateway,
             first_at = least(r.first_at, excluded.first_at), last_at = greatest(r.last_at, excluded.last_at),
             count = r.count + excluded.count
         RETURNING no, count",
    )
    .bind(handshake.key())
    .bind(handshake.charger_id.as_deref().map(key))
    .bind(handshake.charger_id.as_deref().map(text))
    .bind(text(&handshake.reason))
    .bind(i64::from(handshake.status))
    .bind(text(&handshake.cure))
    .bind(text(&handshake.address))
    .bind(handshake.path.as_deref().map(text))
    .bind(handshake.offered.as_deref().map(text))
    .bind(handshake.gateway.0)
    .bind(handshake.first_at.0)
    .bind(handshake.last_at.0)
    .bind(i64::try_from(handshake.count).unwrap_or(i64::MAX))
    .bind(judged_by(handshake))
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)
}

/// Deletes the rows of chargers, inside the caller's transaction. The keys are as PostgreSQL can store them.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    charger_keys: &[String],
) -> Result<(), Refusal> {
    lock_rows(connection).await?;
    sqlx::query("DELETE FROM refused_handshakes WHERE charger_key = ANY($1)")
        .bind(charger_keys)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}
