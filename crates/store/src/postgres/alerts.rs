//! Alerts and silences. The lock of the one row of `alert_evaluation` decides between two processes that evaluate.

use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, error, event_log};
use crate::alerts::{
    AlertRow, ENDED_READ_MAX, EXPIRED_ROWS, LEASE_MS_MAX, acknowledged, acknowledgement, added,
    answered, columns, conditions, page_of, read, read_silence, readable, readable_acknowledged,
    readable_silences, severity_number, silence_entry, text, told, told_parts,
};
use crate::paging::{alert_before, at_most};
use crate::refusal::Refusal;
use central::Timestamp;
use central::alert::machine::Step;
use central::model::{Acknowledged, Alert, AlertState, ChargerKey, SILENCES_MAX, Silence};
use central::ports::{
    ALERTS_KEPT_MAX, AlertFilter, Alerts, ChangeRequest, NotAcknowledged, Once, QueryError,
    SilenceNotAdded, Unavailable,
};
use central::query::{Page, PageRequest};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Advisory lock of additions of silences, held until the transaction ends. The bytes `HUSH`.
const ADD_LOCK: i64 = 0x4855_5348;

impl Alerts for PostgresStore {
    fn lease_alerts(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<String>, Unavailable> {
        self.change(async |connection| {
            sqlx::query_scalar(
                "UPDATE alert_evaluation SET holder = $1, held_until = $3
                 WHERE holder IS NULL OR holder = $1 OR held_until NOT BETWEEN $2 + 1 AND $2 + $4
                 RETURNING memory",
            )
            .bind(holder)
            .bind(now.0)
            .bind(until.0)
            .bind(LEASE_MS_MAX)
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)
        })
    }

    fn extend_alerts(&self, holder: Uuid, until: Timestamp) -> Result<bool, Unavailable> {
        self.change(async |connection| {
            let held = sqlx::query("UPDATE alert_evaluation SET held_until = $2 WHERE holder = $1")
                .bind(holder)
                .bind(until.0)
                .execute(connection)
                .await
                .map_err(error::refusal)?;
            Ok(held.rows_affected() > 0)
        })
    }

    fn release_alerts(&self, holder: Uuid) -> Result<(), Unavailable> {
        self.change(async |connection| {
            sqlx::query("UPDATE alert_evaluation SET holder = NULL WHERE holder = $1")
                .bind(holder)
                .execute(connection)
                .await
                .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn active_alerts(&self, since: Timestamp) -> Result<Vec<Alert>, Unavailable> {
        self.read(async |connection| {
            let mut rows: Vec<AlertRow> = sqlx::query_as(
                "SELECT body, acknowledged FROM alerts WHERE state <> 2 ORDER BY id",
            )
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let ended: Vec<AlertRow> = sqlx::query_as(
                "SELECT body, acknowledged FROM alerts WHERE state = 2 AND at >= $1
                 ORDER BY at DESC, id DESC LIMIT $2",
            )
            .bind(since.0)
            .bind(ENDED_READ_MAX)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            rows.extend(ended);
            Ok(rows.into_iter().filter_map(readable).collect())
        })
    }

    fn acknowledged_alerts(&self) -> Result<Vec<(Uuid, Acknowledged)>, Unavailable> {
        self.read(async |connection| {
            let rows: Vec<(Uuid, String)> = sqlx::query_as(
                "SELECT id, acknowledged FROM alerts WHERE state <> 2 AND acknowledged IS NOT NULL",
            )
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            Ok(readable_acknowledged(rows))
        })
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
        self.change(async |connection| {
            let held = sqlx::query("UPDATE alert_evaluation SET memory = $2 WHERE holder = $1")
                .bind(holder)
                .bind(clean(memory))
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            if held.rows_affected() == 0 {
                return Ok(false);
            }
            if !step.removed.is_empty() {
                sqlx::query("DELETE FROM alerts WHERE id = ANY($1) AND state = 0")
                    .bind(&step.removed)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
            }
            if !rows.is_empty() {
                let texts = |text: fn(&crate::alerts::Columns) -> &str| -> Vec<String> {
                    let texts = rows.iter().map(text);
                    texts.map(|text| clean(text).into_owned()).collect()
                };
                let keys: Vec<Option<String>> = rows
                    .iter()
                    .map(|row| row.charger_key.as_deref().map(|key| clean(key).into_owned()))
                    .collect();
                sqlx::query(
                    "INSERT INTO alerts (id, state, severity, name, charger_key, site, at, body)
                     SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::text[], $5::text[],
                         $6::text[], $7::bigint[], $8::text[])
                     ON CONFLICT (id) DO UPDATE SET state = excluded.state, site = excluded.site, at = excluded.at,
                         body = excluded.body",
                )
                .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.state).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.severity).collect::<Vec<_>>())
                .bind(texts(|row| &row.name))
                .bind(keys)
                .bind(rows.iter().map(|row| row.site.clone()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.at).collect::<Vec<_>>())
                .bind(texts(|row| &row.body))
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            }
            event_log::push(connection, &told(step, now)).await?;
            event_log::push_parts(connection, &parts).await?;
            Ok(true)
        })
    }

    fn alerts(&self, filter: &AlertFilter, page: &PageRequest) -> Result<Page<Alert>, QueryError> {
        let before = alert_before(page)?;
        let limit = page.rows();
        let key = filter.charger.as_deref().map(ChargerKey::of);
        let found = self.read(async |connection| {
            let rows: Vec<(String, Option<String>, Uuid)> =
                sqlx::query_as(AssertSqlSafe(list_sql(filter)))
                    .bind(before)
                    .bind(filter.state.map(AlertState::number))
                    .bind(filter.severity.map(severity_number))
                    .bind(filter.name.as_deref().map(clean))
                    .bind(key.as_ref().map(|key| clean(key.as_str())))
                    .bind(filter.site.as_deref().map(clean))
                    .bind(at_most(limit + 1))
                    .fetch_all(connection)
                    .await
                    .map_err(error::refusal)?;
            let rows = rows.into_iter();
            let rows = rows.map(|(body, acknowledged, id)| (id, readable((body, acknowledged))));
            Ok(rows.collect())
        })?;
        Ok(page_of(found, limit))
    }

    fn alert(&self, id: Uuid) -> Result<Option<Alert>, Unavailable> {
        self.read(async |connection| find(connection, id).await)
    }

    fn acknowledge_alert(
        &self,
        id: Uuid,
        note: &str,
        request: &ChangeRequest,
    ) -> Result<Once<Alert, NotAcknowledged>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, request, async |connection| {
                // The one who evaluates, and another request, wait for this transaction.
                sqlx::query("SELECT 1 FROM alerts WHERE id = $1 FOR NO KEY UPDATE")
                    .bind(id)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                let before = find(connection, id).await?;
                let (by, entry) = match acknowledgement(before.as_ref(), note, &request.origin) {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(refused)),
                };
                sqlx::query("UPDATE alerts SET acknowledged = $2 WHERE id = $1")
                    .bind(id)
                    .bind(clean(&text(&by)?))
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                audit::insert(connection, &entry).await?;
                event_log::push(connection, &[acknowledged(id, request.origin.at)]).await?;
                Ok(Ok(()))
            });
            let once = once.await?;
            Ok(answered(once, find(connection, id).await?))
        })
    }

    fn silences(&self) -> Result<Vec<Silence>, Unavailable> {
        self.read(async |connection| {
            let rows: Vec<String> =
                sqlx::query_scalar("SELECT body FROM alert_silences ORDER BY id DESC")
                    .fetch_all(connection)
                    .await
                    .map_err(error::refusal)?;
            Ok(readable_silences(&rows))
        })
    }

    fn add_silence(
        &self,
        silence: &Silence,
        request: &ChangeRequest,
    ) -> Result<Once<Silence, SilenceNotAdded>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, request, async |connection| {
                insert_silence(connection, silence, request).await
            });
            let once = once.await?;
            let stored = match &once {
                Once::Done(id) | Once::Repeated(id) => find_silence(connection, *id).await?,
                Once::Refused(_) | Once::Mismatch | Once::InUse => None,
            };
            Ok(added(once, stored))
        })
    }

    fn remove_silence(&self, id: Uuid, request: &ChangeRequest) -> Result<bool, Unavailable> {
        self.change(async |connection| {
            let Some(silence) = find_silence(connection, id).await? else {
                return Ok(false);
            };
            let removed = sqlx::query("DELETE FROM alert_silences WHERE id = $1")
                .bind(id)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            if removed.rows_affected() == 0 {
                return Ok(false);
            }
            let entry = silence_entry(&silence, false, &request.origin);
            audit::insert(connection, &entry).await?;
            Ok(true)
        })
    }

    fn expire_alerts(
        &self,
        before: Timestamp,
        silences_before: Timestamp,
    ) -> Result<u64, Unavailable> {
        self.change(async |connection| {
            let mut done = sqlx::query(
                "DELETE FROM alerts WHERE id IN
                     (SELECT id FROM alerts WHERE state = 2 AND at < $1 ORDER BY at, id LIMIT $2)",
            )
            .bind(before.0)
            .bind(EXPIRED_ROWS)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?
            .rows_affected();
            done += sqlx::query(
                "DELETE FROM alerts WHERE id IN
                     (SELECT id FROM alerts WHERE state = 2 ORDER BY at, id
                      LIMIT least($1, greatest(0, (SELECT count(*) FROM alerts WHERE state = 2) - $2)))",
            )
            .bind(EXPIRED_ROWS)
            .bind(ALERTS_KEPT_MAX.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?
            .rows_affected();
            done += sqlx::query("DELETE FROM alert_silences WHERE ends_at < $1")
                .bind(silences_before.0)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?
                .rows_affected();
            Ok(done)
        })
    }
}

/// The query of a list of alerts.
fn list_sql(filter: &AlertFilter) -> String {
    format!(
        "SELECT body, acknowledged, id FROM alerts WHERE id < $1{} ORDER BY id DESC LIMIT $7",
        conditions(
            filter,
            [
                "$2::smallint",
                "$3::smallint",
                "$4::text",
                "$5::text",
                "$6::text"
            ]
        )
    )
}

async fn insert_silence(
    connection: &mut PgConnection,
    silence: &Silence,
    request: &ChangeRequest,
) -> Result<Result<Uuid, SilenceNotAdded>, Refusal> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(ADD_LOCK)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if find_silence(connection, silence.id).await?.is_some() {
        return Ok(Ok(silence.id));
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM alert_silences")
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if count.unsigned_abs() >= SILENCES_MAX as u64 {
        return Ok(Err(SilenceNotAdded::TooMany));
    }
    sqlx::query("INSERT INTO alert_silences (id, ends_at, body) VALUES ($1, $2, $3)")
        .bind(silence.id)
        .bind(silence.ends_at.0)
        .bind(clean(&text(silence)?))
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    audit::insert(connection, &silence_entry(silence, true, &request.origin)).await?;
    Ok(Ok(silence.id))
}

async fn find(connection: &mut PgConnection, id: Uuid) -> Result<Option<Alert>, Refusal> {
    let found: Option<AlertRow> =
        sqlx::query_as("SELECT body, acknowledged FROM alerts WHERE id = $1")
            .bind(id)
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
    found.map(read).transpose()
}

/// The alerts with these ids.
pub(super) async fn find_all(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Alert>, Refusal> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<AlertRow> =
        sqlx::query_as("SELECT body, acknowledged FROM alerts WHERE id = ANY($1)")
            .bind(ids)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    rows.into_iter().map(read).collect()
}

async fn find_silence(connection: &mut PgConnection, id: Uuid) -> Result<Option<Silence>, Refusal> {
    let found: Option<String> = sqlx::query_scalar("SELECT body FROM alert_silences WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)?;
    found.map(|body| read_silence(&body)).transpose()
}
