//! Webhooks. SQLite has one writer at a time, so each call is exclusive.

use crate::paging::{at_most, attempt_before, cut};
use crate::refusal::Refusal;
use crate::sqlite::idempotency::once;
use crate::sqlite::listing::uuid_of;
use crate::sqlite::{SqliteStore, audit, event_log};
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
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

impl Webhooks for SqliteStore {
    fn add_webhook(&self, new: &NewWebhook) -> Result<Once<Webhook, WebhookNotAdded>, Unavailable> {
        self.transact(|connection, _| {
            let once = once(connection, &new.request, |connection| add(connection, new))?;
            let stored = match &once {
                Once::Done(id) | Once::Repeated(id) => find(connection, *id)?,
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
        self.transact(|connection, _| {
            let once = once(connection, request, |connection| {
                let (before, _) = match expected(find(connection, id)?, request) {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(refused)),
                };
                let after = patched(&before, patch, request.origin.at);
                update(connection, &after)?;
                let entry = changed_entry("webhook.set", &before, &after, &request.origin);
                audit::insert(connection, &entry)?;
                Ok(Ok(()))
            })?;
            let stored = find(connection, id)?.map(|(webhook, _)| webhook);
            Ok(changed(once, stored, NotChanged::Unknown))
        })
    }

    fn remove_webhook(
        &self,
        id: WebhookId,
        request: &ChangeRequest,
    ) -> Result<Result<(), NotChanged>, Unavailable> {
        self.transact(|connection, _| {
            let found = find_row(connection, id)?.map(WebhookRow::removable);
            let (before, ()) = match expected(found, request) {
                Ok(found) => found,
                Err(refused) => return Ok(Err(refused)),
            };
            for sql in [
                "DELETE FROM webhook_attempts WHERE webhook = ?1",
                "DELETE FROM webhooks WHERE id = ?1",
            ] {
                connection.execute(sql, [id.0.as_bytes()])?;
            }
            audit::insert(connection, &removed_entry(&before, &request.origin))?;
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
        self.transact(|connection, _| {
            let once = once(connection, request, |connection| {
                let (before, secrets) = match expected(find(connection, id)?, request) {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(refused)),
                };
                update(connection, &touched(&before, request.origin.at))?;
                let secrets = text(&secrets.rotated(secret.clone(), former_until))?;
                connection.execute(
                    "UPDATE webhooks SET secrets = ?2 WHERE id = ?1",
                    params![id.0.as_bytes(), secrets],
                )?;
                let entry = rotated_entry(id, former_until, &request.origin);
                audit::insert(connection, &entry)?;
                Ok(Ok(()))
            })?;
            let stored = find(connection, id)?.map(|(webhook, _)| webhook);
            Ok(changed(once, stored, NotChanged::Unknown))
        })
    }

    fn redeliver_webhook(
        &self,
        id: WebhookId,
        from: RedeliverFrom,
        request: &ChangeRequest,
    ) -> Result<Once<Webhook, NotRedelivered>, Unavailable> {
        self.transact(|connection, _| {
            let once = once(connection, request, |connection| {
                let (before, _) = match expected(find(connection, id)?, request) {
                    Ok(found) => found,
                    Err(refused) => return Ok(Err(NotRedelivered::Webhook(refused))),
                };
                let Some(cursor) = before_first(connection, from)? else {
                    return Ok(Err(NotRedelivered::UnknownEvent));
                };
                let mut after = touched(&before, request.origin.at);
                after.progress.cursor = cursor;
                update(connection, &after)?;
                let entry = redelivered_entry(&before, cursor, &request.origin);
                audit::insert(connection, &entry)?;
                Ok(Ok(()))
            })?;
            let stored = find(connection, id)?.map(|(webhook, _)| webhook);
            let unknown = NotRedelivered::Webhook(NotChanged::Unknown);
            Ok(changed(once, stored, unknown))
        })
    }

    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Unavailable> {
        let found = self.webhook_secrets(id)?;
        Ok(found.map(|(webhook, _)| webhook))
    }

    fn webhooks(&self) -> Result<Vec<Webhook>, Unavailable> {
        let found = self.readers.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM webhooks ORDER BY id");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([], row)?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let readable = rows.into_iter().filter_map(WebhookRow::readable);
            Ok(readable.map(|(webhook, _)| webhook).collect())
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn webhook_secrets(
        &self,
        id: WebhookId,
    ) -> Result<Option<(Webhook, WebhookSecrets)>, Unavailable> {
        let found = self.readers.read(|connection| find(connection, id));
        found.map_err(Refusal::into_unavailable)
    }

    fn webhook_attempts(
        &self,
        id: WebhookId,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<WebhookAttemptView>, QueryError> {
        let before = attempt_before(page)?;
        let limit = page.rows();
        let found = self.readers.read(|connection| {
            let sql = format!(
                "SELECT {ATTEMPT_COLUMNS} FROM webhook_attempts
                 WHERE webhook = ?1 AND no < ?2 AND at >= ?3 ORDER BY no DESC LIMIT ?4"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let after = now.0.saturating_sub(WEBHOOK_ATTEMPTS_KEPT_MS);
            let rows = statement.query_map(
                params![id.0.as_bytes(), before, after, at_most(limit + 1)],
                attempt_row,
            )?;
            let mut found = Vec::new();
            for row in rows {
                let row = row?;
                found.push((Place::WebhookAttempt(row.no), row.view()));
            }
            Ok(found)
        });
        Ok(cut(found.map_err(Refusal::into_unavailable)?, limit))
    }

    fn claim_webhooks(
        &self,
        lease: Uuid,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ClaimedWebhook>, Unavailable> {
        let due = is_due("?1");
        // Without such a webhook there is nothing to write.
        let sql = format!("SELECT EXISTS (SELECT 1 FROM webhooks WHERE {due})");
        let has_some = self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row([now.0], |row| row.get::<_, bool>(0))?)
        });
        if !has_some.map_err(Refusal::into_unavailable)? {
            return Ok(Vec::new());
        }
        self.transact(|connection, _| {
            let sql = format!(
                "UPDATE webhooks SET holder = ?2, held_until = ?3 WHERE id IN
                     (SELECT id FROM webhooks WHERE {due} ORDER BY due_at, id LIMIT ?4)
                 RETURNING {COLUMNS}"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(
                params![now.0, lease.as_bytes(), until.0, at_most(limit)],
                row,
            )?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
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
        let held = self.readers.read(|connection| {
            let sql = "SELECT 1 FROM webhooks WHERE id = ?1 AND holder = ?2 AND version = ?3";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.exists(params![
                id.0.as_bytes(),
                lease.as_bytes(),
                version.cast_signed()
            ])?)
        });
        held.map_err(Refusal::into_unavailable)
    }

    fn record_webhook(
        &self,
        id: WebhookId,
        lease: Uuid,
        step: &WebhookStep,
        now: Timestamp,
    ) -> Result<StepRecorded, Unavailable> {
        self.transact(|connection, _| {
            let is_held = connection
                .prepare_cached("SELECT 1 FROM webhooks WHERE id = ?1 AND holder = ?2")?
                .exists(params![id.0.as_bytes(), lease.as_bytes()])?;
            let Some((before, _)) = find(connection, id)?.filter(|_| is_held) else {
                return Ok(StepRecorded::Lost);
            };
            let (after, entry) = stepped(&before, step, now);
            if let Some(after) = &after {
                update(connection, after)?;
            }
            if let Some(entry) = &entry {
                audit::insert(connection, entry)?;
            }
            // A changed webhook is given back, so that it is claimed anew with what has changed.
            let hold_until = after.as_ref().and(step.hold_until);
            connection
                .prepare_cached(
                    "UPDATE webhooks SET holder = iif(?2 IS NULL, NULL, holder), held_until = ?2 WHERE id = ?1",
                )?
                .execute(params![
                    id.0.as_bytes(),
                    hold_until.map(Timestamp::as_millis)
                ])?;
            insert_attempts(connection, id, &step.attempts, now)?;
            Ok(recorded(after.as_ref()))
        })
    }
}

fn add(
    connection: &Connection,
    new: &NewWebhook,
) -> Result<Result<WebhookId, WebhookNotAdded>, Refusal> {
    if find(connection, new.id)?.is_some() {
        return Ok(Ok(new.id));
    }
    let count: i64 = connection.query_row("SELECT count(*) FROM webhooks", [], |row| row.get(0))?;
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
            cursor: event_log::head(connection)?,
            retry: None,
            due_at: at,
            last_success_at: None,
            last_error: None,
        },
        switched_off: None,
        waiting: 0,
    };
    connection.execute(
        "INSERT INTO webhooks (id, url, types, description, enabled, version, created_at, secrets, cursor_position,
             cursor_at, due_at)
         VALUES (?1, '', '[]', '', 0, 1, ?2, ?3, 0, 0, ?2)",
        params![
            new.id.0.as_bytes(),
            at.0,
            text(&WebhookSecrets::of(new.secret.clone()))?
        ],
    )?;
    update(connection, &webhook)?;
    audit::insert(connection, &added_entry(&webhook, &new.request.origin))?;
    Ok(Ok(new.id))
}

/// Stores what can change of a webhook, other than its secrets and its lease.
fn update(connection: &Connection, webhook: &Webhook) -> Result<(), Refusal> {
    let (settings, progress) = (&webhook.settings, &webhook.progress);
    let retry = progress.retry.as_ref();
    let (last_error, switched_off) = (progress.last_error.as_ref(), webhook.switched_off.as_ref());
    connection
        .prepare_cached(
            "UPDATE webhooks SET url = ?2, types = ?3, charger_id = ?4, description = ?5, enabled = ?6, version = ?7,
                 cursor_position = ?8, cursor_at = ?9, retry_position = ?10, retry_at = ?11, retry_attempts = ?12,
                 retry_since = ?13, due_at = ?14, last_success_at = ?15, last_error_at = ?16, last_error = ?17,
                 switched_off_at = ?18, switched_off = ?19
             WHERE id = ?1",
        )?
        .execute(params![
            webhook.id.0.as_bytes(),
            settings.url,
            text(&settings.types)?,
            settings.charger_id,
            settings.description,
            settings.enabled,
            webhook.version.cast_signed(),
            progress.cursor.position.cast_signed(),
            progress.cursor.recorded_at.0,
            retry.map(|retry| retry.event.position.cast_signed()),
            retry.map(|retry| retry.event.recorded_at.0),
            retry.map(|retry| retry.attempts),
            retry.map(|retry| retry.since.0),
            progress.due_at.0,
            progress.last_success_at.map(Timestamp::as_millis),
            last_error.map(|(at, _)| at.0),
            last_error.map(|(_, text)| text),
            switched_off.map(|(at, _)| at.0),
            switched_off.map(|(_, text)| text),
        ])?;
    Ok(())
}

/// Inserts attempts, and deletes those that are too many or too old.
fn insert_attempts(
    connection: &Connection,
    id: WebhookId,
    attempts: &[WebhookAttempt],
    now: Timestamp,
) -> Result<(), Refusal> {
    if attempts.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO webhook_attempts (webhook, at, position, recorded_at, type, attempt, delivered, status,
             duration_ms, answer)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for attempt in attempts {
        insert.execute(params![
            id.0.as_bytes(),
            attempt.at.0,
            attempt.event.position.cast_signed(),
            attempt.event.recorded_at.0,
            attempt.kind.as_str(),
            attempt.attempt,
            attempt.delivered,
            attempt.status,
            i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX),
            cut_answer(&attempt.answer),
        ])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM webhook_attempts WHERE webhook = ?1 AND (at < ?2 OR no <=
                 (SELECT no FROM webhook_attempts WHERE webhook = ?1 ORDER BY no DESC LIMIT 1 OFFSET ?3))",
        )?
        .execute(params![
            id.0.as_bytes(),
            now.0.saturating_sub(WEBHOOK_ATTEMPTS_KEPT_MS),
            at_most(WEBHOOK_ATTEMPTS_KEPT)
        ])?;
    Ok(())
}

/// The cursor of a webhook that is to be sent the events from there on; `None` if the event is not known.
fn before_first(connection: &Connection, from: RedeliverFrom) -> Result<Option<EventId>, Refusal> {
    let event = match from {
        RedeliverFrom::Time(at) => return event_log::before(connection, at).map(Some),
        RedeliverFrom::Event(event) => event,
    };
    if event_log::id_at(connection, event.position)? != Some(event) {
        return Ok(None);
    }
    let position = event.position.saturating_sub(1);
    let cursor = event_log::id_at(connection, position)?;
    // The event is the oldest one that is kept. Then the position alone counts.
    Ok(Some(cursor.unwrap_or(EventId { position, ..event })))
}

fn find(
    connection: &Connection,
    id: WebhookId,
) -> Result<Option<(Webhook, WebhookSecrets)>, Refusal> {
    let found = find_row(connection, id)?;
    found.map(WebhookRow::read).transpose()
}

fn find_row(connection: &Connection, id: WebhookId) -> Result<Option<WebhookRow>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE id = ?1");
    let found = connection
        .prepare_cached(&sql)?
        .query_row([id.0.as_bytes()], row)
        .optional()?;
    Ok(found)
}

fn row(row: &Row<'_>) -> rusqlite::Result<WebhookRow> {
    Ok(WebhookRow {
        id: uuid_of(row, 0)?,
        url: row.get(1)?,
        types: row.get(2)?,
        charger_id: row.get(3)?,
        description: row.get(4)?,
        enabled: row.get(5)?,
        version: row.get(6)?,
        created_at: row.get(7)?,
        secrets: row.get(8)?,
        cursor: (row.get(9)?, row.get(10)?),
        retry: [row.get(11)?, row.get(12)?, row.get(13)?, row.get(14)?],
        due_at: row.get(15)?,
        last_success_at: row.get(16)?,
        last_error_at: row.get(17)?,
        last_error: row.get(18)?,
        switched_off_at: row.get(19)?,
        switched_off: row.get(20)?,
        waiting: row.get(21)?,
    })
}

fn attempt_row(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        no: row.get(0)?,
        at: row.get(1)?,
        event: (row.get(2)?, row.get(3)?),
        kind: row.get(4)?,
        attempt: row.get(5)?,
        delivered: row.get(6)?,
        status: row.get(7)?,
        duration_ms: row.get(8)?,
        answer: row.get(9)?,
    })
}
