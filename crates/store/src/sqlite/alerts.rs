//! Alerts and silences. SQLite has one writer at a time, so each call is exclusive.

use super::idempotency::once;
use super::{SqliteStore, audit, event_log};
use crate::alerts::{
    AlertRow, ENDED_READ_MAX, EXPIRED_ROWS, LEASE_MS_MAX, acknowledged, acknowledgement, added,
    answered, columns, conditions, page_of, read, read_silence, readable, readable_acknowledged,
    readable_silences, severity_number, silence_entry, text, told, told_parts,
};
use crate::paging::{alert_before, at_most};
use crate::refusal::Refusal;
use crate::sqlite::listing::uuid_of;
use central::Timestamp;
use central::alert::machine::Step;
use central::model::{Acknowledged, Alert, AlertState, ChargerKey, SILENCES_MAX, Silence};
use central::ports::{
    ALERTS_KEPT_MAX, AlertFilter, Alerts, ChangeRequest, NotAcknowledged, Once, QueryError,
    SilenceNotAdded, Unavailable,
};
use central::query::{Page, PageRequest};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use uuid::Uuid;

impl Alerts for SqliteStore {
    fn lease_alerts(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<String>, Unavailable> {
        self.transact(|connection, _| {
            Ok(connection
                .prepare_cached(
                    "UPDATE alert_evaluation SET holder = ?1, held_until = ?3
                     WHERE holder IS NULL OR holder = ?1 OR held_until NOT BETWEEN ?2 + 1 AND ?2 + ?4
                     RETURNING memory",
                )?
                .query_row(
                    params![holder.as_bytes(), now.0, until.0, LEASE_MS_MAX],
                    |row| row.get(0),
                )
                .optional()?)
        })
    }

    fn extend_alerts(&self, holder: Uuid, until: Timestamp) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let held = connection
                .prepare_cached("UPDATE alert_evaluation SET held_until = ?2 WHERE holder = ?1")?
                .execute(params![holder.as_bytes(), until.0])?;
            Ok(held > 0)
        })
    }

    fn release_alerts(&self, holder: Uuid) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection.execute(
                "UPDATE alert_evaluation SET holder = NULL WHERE holder = ?1",
                [holder.as_bytes()],
            )?;
            Ok(())
        })
    }

    fn active_alerts(&self, since: Timestamp) -> Result<Vec<Alert>, Unavailable> {
        let found = self.readers.read(|connection| {
            let mut alerts = Vec::new();
            let mut active = connection.prepare_cached(
                "SELECT body, acknowledged FROM alerts WHERE state <> 2 ORDER BY id",
            )?;
            for row in active.query_map([], alert_row)? {
                alerts.extend(readable(row?));
            }
            let mut ended = connection.prepare_cached(
                "SELECT body, acknowledged FROM alerts WHERE state = 2 AND at >= ?1
                 ORDER BY at DESC, id DESC LIMIT ?2",
            )?;
            for row in ended.query_map([since.0, ENDED_READ_MAX], alert_row)? {
                alerts.extend(readable(row?));
            }
            Ok(alerts)
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn acknowledged_alerts(&self) -> Result<Vec<(Uuid, Acknowledged)>, Unavailable> {
        let found = self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, acknowledged FROM alerts WHERE state <> 2 AND acknowledged IS NOT NULL",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((Uuid::from_bytes(row.get(0)?), row.get::<_, String>(1)?))
            })?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(readable_acknowledged(rows))
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn record_alerts(
        &self,
        holder: Uuid,
        step: &Step,
        memory: &str,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let rows = columns(step).map_err(Refusal::into_unavailable)?;
        let parts = told_parts(step).map_err(Refusal::into_unavailable)?;
        self.transact(|connection, _| {
            let held = connection
                .prepare_cached(
                    "UPDATE alert_evaluation SET memory = ?2 WHERE holder = ?1",
                )?
                .execute(params![holder.as_bytes(), memory])?;
            if held == 0 {
                return Ok(false);
            }
            let mut remove =
                connection.prepare_cached("DELETE FROM alerts WHERE id = ?1 AND state = 0")?;
            for id in &step.removed {
                remove.execute([id.as_bytes()])?;
            }
            let mut write = connection.prepare_cached(
                "INSERT INTO alerts (id, state, severity, name, charger_key, site, at, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (id) DO UPDATE SET state = excluded.state, site = excluded.site, at = excluded.at,
                     body = excluded.body",
            )?;
            for row in &rows {
                write.execute(params![
                    row.id.as_bytes(),
                    row.state,
                    row.severity,
                    row.name,
                    row.charger_key,
                    row.site,
                    row.at,
                    row.body,
                ])?;
            }
            event_log::push(connection, told(step, now))?;
            event_log::push_parts(connection, &parts)?;
            Ok(true)
        })
    }

    fn alerts(&self, filter: &AlertFilter, page: &PageRequest) -> Result<Page<Alert>, QueryError> {
        let before = alert_before(page)?;
        let limit = page.rows();
        let sql = list_sql(filter);
        let key = filter.charger.as_deref().map(ChargerKey::of);
        let found = self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(
                named_params! {
                    ":before": before.as_bytes(),
                    ":state": filter.state.map(AlertState::number),
                    ":severity": filter.severity.map(severity_number),
                    ":name": filter.name,
                    ":charger": key.as_ref().map(ChargerKey::as_str),
                    ":site": filter.site,
                    ":limit": at_most(limit + 1),
                },
                |row| Ok((uuid_of(row, 2)?, readable(alert_row(row)?))),
            )?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        Ok(page_of(found.map_err(Refusal::into_unavailable)?, limit))
    }

    fn alert(&self, id: Uuid) -> Result<Option<Alert>, Unavailable> {
        let found = self.readers.read(|connection| find(connection, id));
        found.map_err(Refusal::into_unavailable)
    }

    fn acknowledge_alert(
        &self,
        id: Uuid,
        note: &str,
        request: &ChangeRequest,
    ) -> Result<Once<Alert, NotAcknowledged>, Unavailable> {
        self.transact(|connection, _| {
            let once = once(connection, request, |connection| {
                let before = find(connection, id)?;
                let (by, entry) = match acknowledgement(before.as_ref(), note, &request.origin) {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(refused)),
                };
                connection.execute(
                    "UPDATE alerts SET acknowledged = ?2 WHERE id = ?1",
                    params![id.as_bytes(), text(&by)?],
                )?;
                audit::insert(connection, &entry)?;
                event_log::push(connection, [acknowledged(id, request.origin.at)])?;
                Ok(Ok(()))
            })?;
            Ok(answered(once, find(connection, id)?))
        })
    }

    fn silences(&self) -> Result<Vec<Silence>, Unavailable> {
        let found = self.readers.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT body FROM alert_silences ORDER BY id DESC")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(readable_silences(&rows))
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn add_silence(
        &self,
        silence: &Silence,
        request: &ChangeRequest,
    ) -> Result<Once<Silence, SilenceNotAdded>, Unavailable> {
        self.transact(|connection, _| {
            let once = once(connection, request, |connection| {
                if find_silence(connection, silence.id)?.is_some() {
                    return Ok(Ok(silence.id));
                }
                let count: i64 =
                    connection
                        .query_row("SELECT count(*) FROM alert_silences", [], |row| row.get(0))?;
                if count.unsigned_abs() >= SILENCES_MAX as u64 {
                    return Ok(Err(SilenceNotAdded::TooMany));
                }
                connection.execute(
                    "INSERT INTO alert_silences (id, ends_at, body) VALUES (?1, ?2, ?3)",
                    params![silence.id.as_bytes(), silence.ends_at.0, text(silence)?],
                )?;
                audit::insert(connection, &silence_entry(silence, true, &request.origin))?;
                Ok(Ok(silence.id))
            })?;
            let stored = match &once {
                Once::Done(id) | Once::Repeated(id) => find_silence(connection, *id)?,
                Once::Refused(_) | Once::Mismatch | Once::InUse => None,
            };
            Ok(added(once, stored))
        })
    }

    fn remove_silence(&self, id: Uuid, request: &ChangeRequest) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let Some(silence) = find_silence(connection, id)? else {
                return Ok(false);
            };
            connection.execute("DELETE FROM alert_silences WHERE id = ?1", [id.as_bytes()])?;
            audit::insert(connection, &silence_entry(&silence, false, &request.origin))?;
            Ok(true)
        })
    }

    fn expire_alerts(
        &self,
        before: Timestamp,
        silences_before: Timestamp,
    ) -> Result<u64, Unavailable> {
        // The query alone needs no write lock.
        let due = self.readers.read(|connection| {
            let count: i64 = connection.query_row(
                "SELECT (SELECT count(*) FROM alerts WHERE state = 2 AND at < ?1)
                     + max(0, (SELECT count(*) FROM alerts WHERE state = 2) - ?3)
                     + (SELECT count(*) FROM alert_silences WHERE ends_at < ?2)",
                params![before.0, silences_before.0, ALERTS_KEPT_MAX.cast_signed()],
                |row| row.get(0),
            )?;
            Ok(count)
        });
        if due.map_err(Refusal::into_unavailable)? == 0 {
            return Ok(0);
        }
        self.transact(|connection, _| {
            let mut done = connection.execute(
                "DELETE FROM alerts WHERE id IN
                     (SELECT id FROM alerts WHERE state = 2 AND at < ?1 ORDER BY at, id LIMIT ?2)",
                params![before.0, EXPIRED_ROWS],
            )?;
            done += connection.execute(
                "DELETE FROM alerts WHERE id IN
                     (SELECT id FROM alerts WHERE state = 2 ORDER BY at, id
                      LIMIT min(?1, max(0, (SELECT count(*) FROM alerts WHERE state = 2) - ?2)))",
                params![EXPIRED_ROWS, ALERTS_KEPT_MAX.cast_signed()],
            )?;
            done += connection.execute(
                "DELETE FROM alert_silences WHERE ends_at < ?1",
                [silences_before.0],
            )?;
            Ok(done as u64)
        })
    }
}

/// The query of a list of alerts.
pub(crate) fn list_sql(filter: &AlertFilter) -> String {
    format!(
        "SELECT body, acknowledged, id FROM alerts WHERE id < :before{} ORDER BY id DESC LIMIT :limit",
        conditions(
            filter,
            [":state", ":severity", ":name", ":charger", ":site"]
        )
    )
}

fn alert_row(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    Ok((row.get(0)?, row.get(1)?))
}

pub(super) fn find(connection: &Connection, id: Uuid) -> Result<Option<Alert>, Refusal> {
    let found = connection
        .prepare_cached("SELECT body, acknowledged FROM alerts WHERE id = ?1")?
        .query_row([id.as_bytes()], alert_row)
        .optional()?;
    found.map(read).transpose()
}

fn find_silence(connection: &Connection, id: Uuid) -> Result<Option<Silence>, Refusal> {
    let found: Option<String> = connection
        .prepare_cached("SELECT body FROM alert_silences WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?;
    found.map(|body| read_silence(&body)).transpose()
}
