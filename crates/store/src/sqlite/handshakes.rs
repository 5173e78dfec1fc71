//! Refused handshakes.

use super::listing::uuid_of;
use super::{SqliteStore, audit, event_log};
use crate::handshakes::{
    Announced, COLUMNS, HandshakeRow, dismissed, is_new, judged_by, listed, view,
};
use crate::paging::{at_most, before_handshake, cut_readable};
use crate::refusal::Refusal;
use central::model::{
    ChargerKey, Origin, REFUSED_EVENTS_MS, REFUSED_HANDSHAKES_MAX, REFUSED_KEPT_MS,
    REFUSED_PER_ADDRESS_MAX, RefusedHandshake, RefusedHandshakeView,
};
use central::ports::{Handshakes, QueryError, Unavailable};
use central::query::{HandshakeFilter, Page, PageRequest};
use rusqlite::{Connection, OptionalExtension, Row, params};

impl Handshakes for SqliteStore {
    fn add_refused(&self, refused: &[RefusedHandshake]) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let mut announced = Announced::default();
            for handshake in refused {
                let Some((no, count)) = insert(connection, handshake)? else {
                    continue;
                };
                if is_new(handshake, count) && announced.has_room() {
                    announced.add(no, handshake, of_address(connection, handshake)?);
                }
            }
            event_log::push(connection, announced.entries())?;
            let last = refused.iter().map(|handshake| handshake.last_at.0).max();
            connection.execute(
                "DELETE FROM refused_handshakes WHERE last_at < ?1",
                [last.unwrap_or(i64::MIN).saturating_sub(REFUSED_KEPT_MS)],
            )?;
            for handshake in refused {
                connection
                    .prepare_cached(
                        "DELETE FROM refused_handshakes WHERE no IN
                             (SELECT no FROM refused_handshakes WHERE address = ?1
                              ORDER BY count > 1 DESC, last_at DESC, no DESC LIMIT -1 OFFSET ?2)",
                    )?
                    .execute(params![handshake.address, at_most(REFUSED_PER_ADDRESS_MAX)])?;
            }
            connection.execute(
                "DELETE FROM refused_handshakes WHERE no IN
                     (SELECT no FROM refused_handshakes
                      ORDER BY count > 1 DESC, last_at DESC, no DESC LIMIT -1 OFFSET ?1)",
                [at_most(REFUSED_HANDSHAKES_MAX)],
            )?;
            Ok(())
        })
    }

    fn refused(
        &self,
        filter: &HandshakeFilter,
        page: &PageRequest,
    ) -> Result<Page<RefusedHandshakeView>, QueryError> {
        let before = before_handshake(page)?;
        let limit = page.rows();
        let found = self.readers.read(|connection| {
            let charger = filter.charger.as_deref().map(ChargerKey::of);
            let sql = format!(
                "SELECT {COLUMNS} FROM refused_handshakes
                 WHERE no < ?1 AND (?2 IS NULL OR charger_key = ?2) ORDER BY no DESC LIMIT ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let charger = charger.as_ref().map(ChargerKey::as_str);
            let rows = statement.query_map(params![before, charger, at_most(limit + 1)], row)?;
            let rows = rows.map(|row| Ok(listed(row?)));
            rows.collect::<Result<Vec<_>, Refusal>>()
        });
        let found = found.map_err(Refusal::into_unavailable)?;
        Ok(cut_readable(found, limit))
    }

    fn dismiss_refused(&self, no: i64, origin: &Origin) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let sql = format!("DELETE FROM refused_handshakes WHERE no = ?1 RETURNING {COLUMNS}");
            let removed = connection
                .prepare_cached(&sql)?
                .query_row([no], row)
                .optional()?;
            let Some(removed) = removed else {
                return Ok(false);
            };
            audit::insert(connection, &dismissed(&view(removed)?, origin)?)?;
            Ok(true)
        })
    }
}

/// The rows of this address that are as new as an hour.
fn of_address(connection: &Connection, handshake: &RefusedHandshake) -> Result<i64, Refusal> {
    let since = handshake.last_at.0.saturating_sub(REFUSED_EVENTS_MS);
    let sql = "SELECT count(*) FROM refused_handshakes WHERE address = ?1 AND first_at > ?2";
    let mut count = connection.prepare_cached(sql)?;
    Ok(count.query_row(params![handshake.address, since], |row| row.get(0))?)
}

/// Adds to the row, or inserts it. Returns its number and its count, or nothing if it was judged by an older directory than
/// that with the settings of the charger.
fn insert(
    connection: &Connection,
    handshake: &RefusedHandshake,
) -> Result<Option<(i64, i64)>, Refusal> {
    let charger = handshake.charger_id.as_deref().map(ChargerKey::of);
    let returned = connection
        .prepare_cached(
            "INSERT INTO refused_handshakes (key, charger_key, charger_id, reason, status, cure, address, path,
                 offered, gateway, first_at, last_at, count)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
             WHERE NOT EXISTS (SELECT 1 FROM charger_profiles AS p WHERE p.key = ?2 AND p.version > ?14)
             ON CONFLICT (key) DO UPDATE SET charger_id = excluded.charger_id, status = excluded.status,
                 cure = excluded.cure, address = excluded.address, path = excluded.path,
                 offered = excluded.offered, gateway = excluded.gateway,
                 first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at),
                 count = count + excluded.count
             RETURNING no, count",
        )?
        .query_row(params![
            handshake.key(),
            charger.as_ref().map(ChargerKey::as_str),
            handshake.charger_id,
            handshake.reason,
            handshake.status,
            handshake.cure,
            handshake.address,
            handshake.path,
            handshake.offered,
            handshake.gateway.0.as_bytes(),
            handshake.first_at.0,
            handshake.last_at.0,
            i64::try_from(handshake.count).unwrap_or(i64::MAX),
            judged_by(handshake),
        ], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(returned)
}

/// Deletes the rows of a charger, inside the caller's transaction.
pub(crate) fn forget(connection: &Connection, charger: &ChargerKey) -> Result<(), Refusal> {
    connection
        .prepare_cached("DELETE FROM refused_handshakes WHERE charger_key = ?1")?
        .execute([charger.as_str()])?;
    Ok(())
}

pub(crate) fn row(row: &Row<'_>) -> rusqlite::Result<HandshakeRow> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
        uuid_of(row, 8)?,
        row.get(9)?,
        row.get(10)?,
        row.get(11)?,
    ))
}
