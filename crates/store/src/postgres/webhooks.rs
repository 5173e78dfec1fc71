//! Webhooks. The lock of a webhook's row decides between its sender and a person who changes it.

use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, error, event_log};
use crate::paging::{at_most, attempt_before, cut};
use crate::refusal::Refusal;
use crate::webhooks::{
    ATTEMPT_COLUMNS, AttemptRow, COLUMNS, WebhookRow, added, added_entry, changed, changed_entry,
    claimed, cut_answer, expected, is_due, patched, recorded, redelivered_entry, removed_entry,
    rotated_entry, stepped, text, touched,
};
use central::Timestamp;
use central::model::{
    EventId, WEBHOOK_ATTEMPTS_KEPT, WEBHOOK_ATTEMPTS_KEPT_MS, WEBHOOKS_MAX, Webhook,
    WebhookAttempt, WebhookAttemptView, WebhookId, WebhookPatch, WebhookProgress, WebhookSecret,
    WebhookSecrets,
};
use central::ports::{
    ChangeRequest, ClaimedWebhook, NewWebhook, NotChanged, NotRedelivered, Once, QueryError,
    RedeliverFrom, StepRecorded, Unavailable, WebhookNotAdded, WebhookStep, Webhooks,
};
use central::query::{Page, PageRequest, Place};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

/// Advisory lock of additions, held until the transaction ends, so that two cannot both be the last one below the bound.
/// The bytes `HOOK`.
const ADD_LOCK: i64 = 0x484f_4f4b;

impl Webhooks for PostgresStore {
    fn add_webhook(&self, new: &NewWebhook) -> Result<Once<Webhook, WebhookNotAdded>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, &new.request, async |connection| {
                add(connection, new).await
            });
            let once = once.await?;
            let stored = match &once {
                Once::Done(id) | Once::Repeated(id) => find(connection, *id).await?,
                Once::Refused(_) | Once::Mismatch | Once::InUse => None,
            };
            added(once, stored.map(|(webhook, _)| webhook))
        })
    }

    fn change_webhook(
        &self,
        id: WebhookId,
        patch: &WebhookPatch,
        request: &ChangeRequest,
    ) -> Result<Once<Webhook, NotChanged>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, request, async |connection| {
                let (before, _) = match expected(locked(connection, id).await?, request) {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(refused)),
                };
                let after = patched(&before, patch, request.origin.at);
                update(connection, &after).await?;
                let entry = changed_entry("webhook.set", &before, &after, &request.origin);
                audit::insert(connection, &entry).await?;
                Ok(Ok(()))
            });
            let once = once.await?;
            let stored = find(connection, id).await?.map(|(webhook, _)| webhook);
            Ok(changed(once, stored, NotChanged::Unknown))
        })
    }

    fn remove_webhook(
        &self,
        id: WebhookId,
        request: &ChangeRequest,
    ) -> Result<Result<(), NotChanged>, Unavailable> {
        self.change(async |connection| {
            lock_row(connection, id).await?;
            let found = find_row(connection, id).await?;
            let (before, ()) = match expected(found.map(WebhookRow::removable), request) {
                Ok(found) => found,
                Err(refused) => return Ok(Err(refused)),
            };
            for sql in [
                "DELETE FROM webhook_attempts WHERE webhook = $1",
                "DELETE FROM webhooks WHERE id = $1",
            ] {
                sqlx::query(sql)
                    .bind(id.0)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
            }
            audit::insert(connection, &removed_entry(&before, &request.origin)).await?;
            Ok(Ok(()))
        })
    }

    fn rotate_webhook(
        &self,
        id: WebhookId,
        secret: &WebhookSecret,
        former_until: Timestamp,
        request: &ChangeRequest,
    ) -> Result<Once<Webhook, NotChanged>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, request, async |connection| {
                let found = expected(locked(connection, id).await?, request);
                let (before, secrets) = match found {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(refused)),
                };
                update(connection, &touched(&before, request.origin.at)).await?;
                sqlx::query("UPDATE webhooks SET secrets = $2 WHERE id = $1")
                    .bind(id.0)
                    .bind(text(&secrets.rotated(secret.clone(), former_until))?)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                let entry = rotated_entry(id, former_until, &request.origin);
                audit::insert(connection, &entry).await?;
                Ok(Ok(()))
            });
            let once = once.await?;
            let stored = find(connection, id).await?.map(|(webhook, _)| webhook);
            Ok(changed(once, stored, NotChanged::Unknown))
        })
    }

    fn redeliver_webhook(
        &self,
        id: WebhookId,
        from: RedeliverFrom,
        request: &ChangeRequest,
    ) -> Result<Once<Webhook, NotRedelivered>, Unavailable> {
        self.change(async |connection| {
            let once = once(connection, request, async |connection| {
                let (before, _) = match expected(locked(connection, id).await?, request) {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(NotRedelivered::Webhook(refused))),
                };
                let Some(cursor) = before_first(connection, from).await? else {
                    return Ok(Err(NotRedelivered::UnknownEvent));
                };
                let mut after = touched(&before, request.origin.at);
                after.progress.cursor = cursor;
                update(connection, &after).await?;
                let entry = redelivered_entry(&before, cursor, &request.origin);
                audit::insert(connection, &entry).await?;
                Ok(Ok(()))
            });
            let once = once.await?;
            let stored = find(connection, id).await?.map(|(webhook, _)| webhook);
            let unknown = NotRedelivered::Webhook(NotChanged::Unknown);
            Ok(changed(once, stored, unknown))
        })
    }

    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Unavailable> {
        let found = self.webhook_secrets(id)?;
        Ok(found.map(|(webhook, _)| webhook))
    }

    fn webhooks(&self) -> Result<Vec<Webhook>, Unavailable> {
        self.read(async |connection| {
            let sql = format!("SELECT {COLUMNS} FROM webhooks ORDER BY id");
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await;
            let rows = rows.map_err(error::refusal)?;
            let rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
            let readable = rows.into_iter().filter_map(WebhookRow::readable);
            Ok(readable.map(|(webhook, _)| webhook).collect())
        })
    }

    fn webhook_secrets(
        &self,
        id: WebhookId,
    ) -> Result<Option<(Webhook, WebhookSecrets)>, Unavailable> {
        self.read(async |connection| find(connection, id).await)
    }

    fn webhook_attempts(
        &self,
        id: WebhookId,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<WebhookAttemptView>, QueryError> {
        let before = attempt_before(page)?;
        let limit = page.rows();
        let found = self.read(async |connection| {
            let sql = format!(
                "SELECT {ATTEMPT_COLUMNS} FROM webhook_attempts
                 WHERE webhook = $1 AND no < $2 AND at >= $3 ORDER BY no DESC LIMIT $4"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(id.0)
                .bind(before)
                .bind(now.0.saturating_sub(WEBHOOK_ATTEMPTS_KEPT_MS))
                .bind(at_most(limit + 1))
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            let rows = rows.iter().map(|found| {
                let row = attempt_row(found).map_err(error::refusal)?;
                Ok((Place::WebhookAttempt(row.no), row.view()))
            });
            rows.collect::<Result<Vec<_>, Refusal>>()
        })?;
        Ok(cut(found, limit))
    }

    fn claim_webhooks(
        &self,
        lease: Uuid,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ClaimedWebhook>, Unavailable> {
        let due = is_due("$1");
        // Without such a webhook there is nothing to write.
        let has_some: bool = self.read(async |connection| {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM webhooks WHERE {due})");
            sqlx::query_scalar(AssertSqlSafe(sql))
                .bind(now.0)
                .fetch_one(connection)
                .await
                .map_err(error::refusal)
        })?;
        if !has_some {
            return Ok(Vec::new());
        }
        self.change(async |connection| {
            let sql = format!(
                "UPDATE webhooks SET holder = $2, held_until = $3 WHERE id IN
                     (SELECT id FROM webhooks WHERE {due} ORDER BY due_at, id LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED)
                 RETURNING {COLUMNS}"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(now.0)
                .bind(lease)
                .bind(until.0)
                .bind(at_most(limit))
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            let rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
            // The lease of one that cannot be read ends, and it is tried again.
            let readable = rows.into_iter().filter_map(WebhookRow::readable);
            let mut webhooks: Vec<_> = readable.map(claimed).collect();
            webhooks.sort_unstable_by_key(|webhook| (webhook.progress.due_at, webhook.id));
            Ok(webhooks)
        })
    }

    fn is_webhook_held(
        &self,
        id: WebhookId,
        lease: Uuid,
        version: u64,
    ) -> Result<bool, Unavailable> {
        self.read(async |connection| {
            sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM webhooks WHERE id = $1 AND holder = $2 AND version = $3)",
            )
            .bind(id.0)
            .bind(lease)
            .bind(version.cast_signed())
            .fetch_one(connection)
            .await
            .map_err(error::refusal)
        })
    }

    fn record_webhook(
        &self,
        id: WebhookId,
        lease: Uuid,
        step: &WebhookStep,
        now: Timestamp,
    ) -> Result<StepRecorded, Unavailable> {
        self.change(async |connection| {
            let is_held: Option<i32> = sqlx::query_scalar(
                "SELECT 1 FROM webhooks WHERE id = $1 AND holder = $2 FOR NO KEY UPDATE",
            )
            .bind(id.0)
            .bind(lease)
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let (Some(_), Some((before, _))) = (is_held, find(connection, id).await?) else {
                return Ok(StepRecorded::Lost);
            };
            let (after, entry) = stepped(&before, step, now);
            if let Some(after) = &after {
                update(connection, after).await?;
            }
            if let Some(entry) = &entry {
                audit::insert(connection, entry).await?;
            }
            // A changed webhook is given back, so that it is claimed anew with what has changed.
            let hold_until = after.as_ref().and(step.hold_until);
            sqlx::query(
                "UPDATE webhooks SET holder = CASE WHEN $2::bigint IS NULL THEN NULL ELSE holder END, held_until = $2
                 WHERE id = $1",
            )
            .bind(id.0)
            .bind(hold_until.map(Timestamp::as_millis))
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            insert_attempts(connection, id, &step.attempts, now).await?;
            Ok(recorded(after.as_ref()))
        })
    }
}

async fn add(
    connection: &mut PgConnection,
    new: &NewWebhook,
) -> Result<Result<WebhookId, WebhookNotAdded>, Refusal> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(ADD_LOCK)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if find(connection, new.id).await?.is_some() {
        return Ok(Ok(new.id));
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM webhooks")
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if count.unsigned_abs() >= WEBHOOKS_MAX as u64 {
        return Ok(Err(WebhookNotAdded::TooMany));
    }
    let at = new.request.origin.at;
    let webhook = Webhook {
        id: new.id,
        settings: new.settings.clone(),
        version: 1,
        created_at: at,
        former_secret_until: None,
        progress: WebhookProgress {
            cursor: event_log::bounds(connection).await?.last,
            retry: None,
            due_at: at,
            last_success_at: None,
            last_error: None,
        },
        switched_off: None,
        waiting: 0,
    };
    sqlx::query(
        "INSERT INTO webhooks (id, url, types, description, enabled, version, created_at, secrets, cursor_position,
             cursor_at, due_at)
         VALUES ($1, '', '[]', '', false, 1, $2, $3, 0, 0, $2)",
    )
    .bind(new.id.0)
    .bind(at.0)
    .bind(text(&WebhookSecrets::of(new.secret.clone()))?)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    update(connection, &webhook).await?;
    audit::insert(connection, &added_entry(&webhook, &new.request.origin)).await?;
    Ok(Ok(new.id))
}

/// Stores what can change of a webhook, other than its secrets and its lease.
async fn update(connection: &mut PgConnection, webhook: &Webhook) -> Result<(), Refusal> {
    let (settings, progress) = (&webhook.settings, &webhook.progress);
    let retry = progress.retry.as_ref();
    let noted = |noted: &Option<(Timestamp, String)>| {
        let noted = noted.as_ref();
        let at = noted.map(|(at, _)| at.0);
        (at, noted.map(|(_, text)| clean(text).into_owned()))
    };
    let (last_error_at, last_error) = noted(&progress.last_error);
    let (switched_off_at, switched_off) = noted(&webhook.switched_off);
    sqlx::query(
        "UPDATE webhooks SET url = $2, types = $3, charger_id = $4, description = $5, enabled = $6, version = $7,
             cursor_position = $8, cursor_at = $9, retry_position = $10, retry_at = $11, retry_attempts = $12,
             retry_since = $13, due_at = $14, last_success_at = $15, last_error_at = $16, last_error = $17,
             switched_off_at = $18, switched_off = $19
         WHERE id = $1",
    )
    .bind(webhook.id.0)
    .bind(clean(&settings.url).into_owned())
    .bind(clean(&text(&settings.types)?).into_owned())
    .bind(settings.charger_id.as_deref().map(|id| clean(id).into_owned()))
    .bind(clean(&settings.description).into_owned())
    .bind(settings.enabled)
    .bind(webhook.version.cast_signed())
    .bind(progress.cursor.position.cast_signed())
    .bind(progress.cursor.recorded_at.0)
    .bind(retry.map(|retry| retry.event.position.cast_signed()))
    .bind(retry.map(|retry| retry.event.recorded_at.0))
    .bind(retry.map(|retry| i64::from(retry.attempts)))
    .bind(retry.map(|retry| retry.since.0))
    .bind(progress.due_at.0)
    .bind(progress.last_success_at.map(Timestamp::as_millis))
    .bind(last_error_at)
    .bind(last_error)
    .bind(switched_off_at)
    .bind(switched_off)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// Inserts attempts, and deletes those that are too many or too old.
async fn insert_attempts(
    connection: &mut PgConnection,
    id: WebhookId,
    attempts: &[WebhookAttempt],
    now: Timestamp,
) -> Result<(), Refusal> {
    if attempts.is_empty() {
        return Ok(());
    }
    for attempt in attempts {
        sqlx::query(
            "INSERT INTO webhook_attempts (webhook, at, position, recorded_at, type, attempt, delivered, status,
                 duration_ms, answer)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(id.0)
        .bind(attempt.at.0)
        .bind(attempt.event.position.cast_signed())
        .bind(attempt.event.recorded_at.0)
        .bind(attempt.kind.as_str())
        .bind(i64::from(attempt.attempt))
        .bind(attempt.delivered)
        .bind(attempt.status.map(i32::from))
        .bind(i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX))
        .bind(clean(cut_answer(&attempt.answer)).into_owned())
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    }
    sqlx::query(
        "DELETE FROM webhook_attempts WHERE webhook = $1 AND (at < $2 OR no <=
             (SELECT no FROM webhook_attempts WHERE webhook = $1 ORDER BY no DESC LIMIT 1 OFFSET $3))",
    )
    .bind(id.0)
    .bind(now.0.saturating_sub(WEBHOOK_ATTEMPTS_KEPT_MS))
    .bind(at_most(WEBHOOK_ATTEMPTS_KEPT))
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// The cursor of a webhook that is to be sent the events from there on; `None` if the event is not known.
async fn before_first(
    connection: &mut PgConnection,
    from: RedeliverFrom,
) -> Result<Option<EventId>, Refusal> {
    let event = match from {
        RedeliverFrom::Time(at) => return event_log::before(connection, at).await.map(Some),
        RedeliverFrom::Event(event) => event,
    };
    if event_log::id_at(connection, event.position).await? != Some(event) {
        return Ok(None);
    }
    let position = event.position.saturating_sub(1);
    let cursor = event_log::id_at(connection, position).await?;
    // The event is the oldest one that is kept. Then the position alone counts.
    Ok(Some(cursor.unwrap_or(EventId { position, ..event })))
}

/// The webhook with its secrets; its row is locked until the transaction ends.
async fn locked(
    connection: &mut PgConnection,
    id: WebhookId,
) -> Result<Option<(Webhook, WebhookSecrets)>, Refusal> {
    lock_row(connection, id).await?;
    find(connection, id).await
}

async fn lock_row(connection: &mut PgConnection, id: WebhookId) -> Result<(), Refusal> {
    sqlx::query("SELECT 1 FROM webhooks WHERE id = $1 FOR NO KEY UPDATE")
        .bind(id.0)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

async fn find(
    connection: &mut PgConnection,
    id: WebhookId,
) -> Result<Option<(Webhook, WebhookSecrets)>, Refusal> {
    let found = find_row(connection, id).await?;
    found.map(WebhookRow::read).transpose()
}

async fn find_row(
    connection: &mut PgConnection,
    id: WebhookId,
) -> Result<Option<WebhookRow>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(id.0)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)?;
    found.as_ref().map(row).transpose()
}

fn row(row: &PgRow) -> Result<WebhookRow, Refusal> {
    read_row(row).map_err(error::refusal)
}

fn read_row(row: &PgRow) -> Result<WebhookRow, sqlx::Error> {
    Ok(WebhookRow {
        id: row.try_get(0)?,
        url: row.try_get(1)?,
        types: row.try_get(2)?,
        charger_id: row.try_get(3)?,
        description: row.try_get(4)?,
        enabled: row.try_get(5)?,
        version: row.try_get(6)?,
        created_at: row.try_get(7)?,
        secrets: row.try_get(8)?,
        cursor: (row.try_get(9)?, row.try_get(10)?),
        retry: [
            row.try_get(11)?,
            row.try_get(12)?,
            row.try_get(13)?,
            row.try_get(14)?,
        ],
        due_at: row.try_get(15)?,
        last_success_at: row.try_get(16)?,
        last_error_at: row.try_get(17)?,
        last_error: row.try_get(18)?,
        switched_off_at: row.try_get(19)?,
        switched_off: row.try_get(20)?,
        waiting: row.try_get(21)?,
    })
}

fn attempt_row(row: &PgRow) -> Result<AttemptRow, sqlx::Error> {
    Ok(AttemptRow {
        no: row.try_get(0)?,
        at: row.try_get(1)?,
        event: (row.try_get(2)?, row.try_get(3)?),
        kind: row.try_get(4)?,
        attempt: row.try_get(5)?,
        delivered: row.try_get(6)?,
        status: row.try_get::<Option<i32>, _>(7)?.map(i64::from),
        duration_ms: row.try_get(8)?,
        answer: row.try_get(9)?,
    })
}
