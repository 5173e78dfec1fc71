//! The queue of commands. Requests and gateways use the reading connections, so that they do not wait for a batch of
//! records; a row lock decides between a claim, a cancellation and the expiry of one command.

use super::numbers::{clean, stored_seqs};
use super::states::read_state;
use super::{PostgresStore, audit, effects, error, event_log, schema};
use crate::commands::{
    CHARGER_WAS_BUSY, COLUMNS, CommandRow, JOINS, NOT_SENT, NOT_TAKEN_IN_TIME, QUEUED, are_all,
    effect_condition, page_of, slices,
};
use crate::event_log::{Change, Queued, of_progress};
use crate::paging::{at_most, command_before};
use crate::refusal::Refusal;
use crate::state::{State, Unreadable, merge_into};
use central::effect::EffectIndex;
use central::model::{
    ChargerKey, Claim, Command, CommandId, CommandProgress, CommandView, NotSent, Recheck,
    Refusal as NotSentBecause, StoredCommand, TraceParent,
};
use central::ports::{
    Cancelled, CommandQueue, Commands, Created, IDEMPOTENCY_KEPT_MS, Idempotency, NewCommand,
    OpenClaim, QUEUED_PER_CHARGER_MAX, QueryError, Unavailable, UnavailableKind,
};
use central::project::Changes;
use central::query::{CommandFilter, Page, PageRequest};
use central::{Epoch, GatewayId, Seq, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};
use std::collections::BTreeMap;
use uuid::Uuid;

impl PostgresStore {
    /// Runs `work` in a transaction of its own on a reading connection; its commit is on disk before it is reported.
    pub(crate) fn change<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, Unavailable> {
        self.read(async |connection| {
            let mut transaction = connection.begin().await.map_err(error::refusal)?;
            // A claim that is forgotten would let another gateway send the command again.
            let row = sqlx::query(
                "SELECT (SELECT version FROM wattpost_schema), CASE current_setting('synchronous_commit')
                     WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END",
            )
            .fetch_one(&mut *transaction)
            .await
            .map_err(error::refusal)?;
            let version = row.try_get(0).map_err(error::refusal)?;
            schema::refuse_newer(&mut transaction, version).await?;
            let done = work(&mut transaction).await?;
            transaction.commit().await.map_err(error::refusal)?;
            Ok(done)
        })
    }
}

impl Commands for PostgresStore {
    fn create(&self, new: &NewCommand) -> Result<Created, Unavailable> {
        self.change(async |connection| create(connection, new).await)
    }

    fn created_before(
        &self,
        requested_by: &str,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Created>, Unavailable> {
        self.read(async |connection| {
            created_before(connection, requested_by, idempotency, now).await
        })
    }

    fn cancel(&self, id: CommandId, now: Timestamp) -> Result<Cancelled, Unavailable> {
        self.change(async |connection| {
            let is_cancelled = cancel_queued(connection, id, now).await?;
            Ok(match shown(connection, id).await? {
                None => Cancelled::Unknown,
                Some(command) if is_cancelled => Cancelled::Done(command.view(now)),
                Some(command) => Cancelled::TooLate(command.view(now)),
            })
        })
    }

    fn command(&self, id: CommandId, now: Timestamp) -> Result<Option<CommandView>, Unavailable> {
        let found = self.read(async |connection| shown(connection, id).await)?;
        Ok(found.map(|command| command.view(now)))
    }

    fn commands(
        &self,
        filter: &CommandFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<CommandView>, QueryError> {
        let before = command_before(page)?;
        let sql = format!(
            "SELECT {COLUMNS} FROM commands c {JOINS}
             WHERE c.no < $1{}{}{}{} ORDER BY c.no DESC LIMIT $2",
            match filter.charger {
                Some(_) => " AND c.charger_key = $3",
                None => " AND $3 = ''",
            },
            match filter.action {
                Some(_) => " AND c.action = $4",
                None => " AND $4 = ''",
            },
            match filter.queued {
                None => "",
                Some(true) => " AND c.stage = 0",
                Some(false) => " AND c.stage <> 0",
            },
            effect_condition(filter.effect, "$5::bigint")
        );
        let charger = filter.charger.as_deref().map(charger_key);
        let action = filter.action.as_deref().map(clean);
        let (charger, action) = (charger.unwrap_or_default(), action.unwrap_or_default());
        let read = |before: i64, rows: usize| {
            self.read(async |connection| {
                let rows = sqlx::query(AssertSqlSafe(sql.as_str()))
                    .bind(before)
                    .bind(at_most(rows))
                    .bind(&charger)
                    .bind(&*action)
                    .bind(now.0)
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                let rows = rows.iter().map(|found| {
                    let found = row(found).map_err(error::refusal)?;
                    Ok((found.no, found.stored(Unreadable::IsNone)?))
                });
                let mut rows = rows.collect::<Result<Vec<_>, Refusal>>()?;
                let commands = rows.iter_mut().map(|(_, command)| command);
                effects::complete(connection, commands.collect()).await?;
                let views = rows
                    .into_iter()
                    .map(|(no, command)| (no, command.view(now)));
                Ok(views.collect())
            })
        };
        Ok(page_of(before, page.rows(), filter.effect, read)?)
    }
}

impl CommandQueue for PostgresStore {
    fn waiting(
        &self,
        after: Option<&ChargerKey>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ChargerKey>, Unavailable> {
        self.read(async |connection| {
            let keys: Vec<String> = sqlx::query_scalar(
                "SELECT DISTINCT charger_key FROM commands c
                 WHERE stage = 0 AND charger_key > $1 AND send_before > $2
                     AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = c.id)
                 ORDER BY charger_key LIMIT $3",
            )
            .bind(after.map_or_else(String::new, |after| clean(after.as_str()).into_owned()))
            .bind(now.0)
            .bind(at_most(limit))
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            Ok(keys.iter().map(|key| ChargerKey::of(key)).collect())
        })
    }

    fn claim(&self, claim: Claim, chargers: &[ChargerKey]) -> Result<Vec<Command>, Unavailable> {
        // Sorted, so that two gateways wait for each other in one direction only.
        let mut keys: Vec<String> = chargers
            .iter()
            .map(|key| clean(key.as_str()).into_owned())
            .collect();
        keys.sort_unstable();
        let sql = format!(
            "WITH picked AS (
                 SELECT first.no FROM unnest($1::text[]) WITH ORDINALITY AS k (key, place)
                 CROSS JOIN LATERAL (
                     SELECT q.no FROM commands q WHERE q.charger_key = k.key AND q.stage = 0 AND q.send_before > $5
                         AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = q.id)
                     ORDER BY q.no LIMIT 1 FOR UPDATE OF q) AS first),
             taken AS (
                 UPDATE commands t SET stage = 1, gateway = $2, started = $3, next_seq = $4, claimed_at = $5
                 FROM picked WHERE t.no = picked.no AND t.stage = 0 RETURNING t.*)
             SELECT {COLUMNS} FROM taken c {JOINS} ORDER BY c.no"
        );
        self.change(async |connection| {
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(&keys)
                .bind(claim.gateway.0)
                .bind(claim.started.0.cast_signed())
                .bind(claim.next_seq.0.cast_signed())
                .bind(claim.at.0)
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            let rows = rows.iter().map(|found| Ok(row(found)?.command()));
            rows.collect::<Result<_, sqlx::Error>>()
                .map_err(error::refusal)
        })
    }

    fn release(&self, claim: Claim, ids: &[CommandId]) -> Result<(), Unavailable> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.change(async |connection| {
            let released = sqlx::query_scalar::<_, Uuid>(
                "UPDATE commands SET stage = 0, gateway = NULL, started = NULL, next_seq = NULL, claimed_at = NULL
                 WHERE id = ANY ($1) AND stage = 1 AND gateway = $2 AND started = $3 AND next_seq = $4
                     AND claimed_at = $5
                     AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id) RETURNING id",
            );
            let released = released
                .bind(&ids)
                .bind(claim.gateway.0)
                .bind(claim.started.0.cast_signed())
                .bind(claim.next_seq.0.cast_signed())
                .bind(claim.at.0)
                .fetch_all(&mut *connection)
                .await
                .map_err(error::refusal)?;
            if released.is_empty() {
                return Ok(());
            }
            let ended: Vec<(Uuid, i64)> = sqlx::query_as(
                "UPDATE commands SET stage = 2, reason = $2, detail = '', ended_at = r.at
                 FROM removed_chargers r WHERE commands.id = ANY ($1) AND commands.stage = 0
                     AND r.key = commands.charger_key AND commands.created_at <= r.at
                 RETURNING commands.id, commands.ended_at",
            )
            .bind(&released)
            .bind(NotSent::ChargerRemoved.as_str())
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
            for (id, at) in ended {
                push_finished(connection, [CommandId(id)], Timestamp(at)).await?;
            }
            Ok(())
        })
    }

    fn refuse(
        &self,
        claim: Claim,
        id: CommandId,
        refusal: &NotSentBecause,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        self.change(async |connection| {
            let done = sqlx::query(
                "UPDATE commands SET stage = 2, reason = $6, detail = $7, ended_at = $8
                 WHERE id = $1 AND stage = 1 AND gateway = $2 AND started = $3 AND next_seq = $4 AND claimed_at = $5
                     AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id)",
            )
            .bind(id.0)
            .bind(claim.gateway.0)
            .bind(claim.started.0.cast_signed())
            .bind(claim.next_seq.0.cast_signed())
            .bind(claim.at.0)
            .bind(refusal.reason.as_str())
            .bind(clean(&refusal.detail).into_owned())
            .bind(now.0)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            if done.rows_affected() > 0 {
                push_finished(connection, [id], now).await?;
            }
            Ok(())
        })
    }

    fn claims(
        &self,
        gateway: GatewayId,
        started: Epoch,
        limit: usize,
    ) -> Result<Vec<OpenClaim>, Unavailable> {
        let sql = format!(
            "SELECT {COLUMNS} FROM commands c {JOINS}
             WHERE c.stage = 1 AND NOT c.settled AND c.gateway = $1 AND c.started <= $2 ORDER BY c.no LIMIT $3"
        );
        self.read(async |connection| {
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(gateway.0)
                .bind(started.0.cast_signed())
                .bind(at_most(limit))
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            let rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>();
            let rows = rows.map_err(error::refusal)?;
            Ok(rows
                .into_iter()
                .filter_map(CommandRow::open_claim)
                .collect())
        })
    }

    fn expire(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        self.change(async |connection| {
            sqlx::query(
                "DELETE FROM command_keys WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM command_keys WHERE at < $1 ORDER BY at LIMIT $2))",
            )
            .bind(now.0 - IDEMPOTENCY_KEPT_MS)
            .bind(at_most(limit))
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            // A command that another transaction has locked is for the next round.
            let ended: Vec<Uuid> = sqlx::query_scalar(
                "WITH due AS (
                     SELECT c.no, c.charger_key FROM commands c WHERE c.stage = 0 AND c.send_before <= $1
                     ORDER BY c.send_before LIMIT $2 FOR UPDATE SKIP LOCKED),
                 judged AS (
                     SELECT due.no, EXISTS (SELECT 1 FROM commands o
                         WHERE o.charger_key = due.charger_key AND o.stage = 1 AND NOT o.settled) AS is_busy FROM due)
                 UPDATE commands t SET stage = 2, ended_at = $1,
                     reason = CASE WHEN t.waits OR judged.is_busy THEN 'expired' ELSE 'charger_offline' END,
                     detail = CASE WHEN t.waits THEN '' WHEN judged.is_busy THEN $3 ELSE $4 END
                 FROM judged WHERE t.no = judged.no AND t.stage = 0 RETURNING t.id",
            )
            .bind(now.0)
            .bind(at_most(limit))
            .bind(CHARGER_WAS_BUSY)
            .bind(NOT_TAKEN_IN_TIME)
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let count = ended.len() as u64;
            push_finished(connection, ended.into_iter().map(CommandId), now).await?;
            Ok(count)
        })
    }

    fn ask_again(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        // Most of the time nothing is due, and a query needs no transaction of its own.
        let is_due: bool = self.read(async |connection| {
            // In the order of the index, so that it is used whatever the statistics are.
            let first: Option<i64> = sqlx::query_scalar(
                "SELECT recheck_at FROM commands WHERE recheck_at <= $1 ORDER BY recheck_at LIMIT 1",
            )
            .bind(now.0)
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
            Ok(first.is_some())
        })?;
        if !is_due {
            return Ok(0);
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM commands c {JOINS} WHERE c.recheck_at <= $1
             ORDER BY c.recheck_at LIMIT $2 FOR UPDATE OF c SKIP LOCKED"
        );
        self.change(async |connection| {
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(now.0)
                .bind(at_most(limit))
                .fetch_all(&mut *connection)
                .await
                .map_err(error::refusal)?;
            let mut created = 0;
            for found in &rows {
                let stored = row(found).map_err(error::refusal)?;
                let stored = stored.stored(Unreadable::IsNone)?;
                let (next, repeated_by) = match stored.recheck(now) {
                    Recheck::At(at) => (Some(at.0), None),
                    Recheck::Done => (None, None),
                    Recheck::AskAgain(new) => match create(connection, &new).await? {
                        Created::New(view) | Created::Repeated(view) => (None, Some(view.id.0)),
                        // Too many commands wait for this charger.
                        _ => (Some(now.plus_millis(60_000).0), None),
                    },
                };
                sqlx::query(
                    "UPDATE commands SET recheck_at = $2, repeated_by = coalesce($3, repeated_by)
                     WHERE id = $1",
                )
                .bind(stored.command.id.0)
                .bind(next)
                .bind(repeated_by)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
                if let Some(again) = repeated_by {
                    sqlx::query("UPDATE commands SET repeats = $2 WHERE id = $1")
                        .bind(again)
                        .bind(stored.command.id.0)
                        .execute(&mut *connection)
                        .await
                        .map_err(error::refusal)?;
                    created += 1;
                }
            }
            Ok(created)
        })
    }

    fn has_all(&self, gateway: GatewayId, from: Seq, to: Seq) -> Result<bool, Unavailable> {
        for (first, last) in slices(from, to) {
            let stored =
                self.read(async |connection| stored_seqs(connection, gateway, first, last).await)?;
            if !are_all(stored, first, last) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Cancels a command that no gateway has claimed, inside the caller's transaction; returns whether it was one.
pub(super) async fn cancel_queued(
    connection: &mut PgConnection,
    id: CommandId,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let done = sqlx::query(
        "UPDATE commands SET stage = 2, reason = $2, detail = '', ended_at = $3
         WHERE id = $1 AND stage = 0
             AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id)",
    )
    .bind(id.0)
    .bind(NotSent::Cancelled.as_str())
    .bind(now.0)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    if done.rows_affected() > 0 {
        push_finished(connection, [id], now).await?;
    }
    Ok(done.rows_affected() > 0)
}

/// Ends the queued commands of a charger that was removed, inside the caller's transaction.
pub(super) async fn end_of_removed(
    connection: &mut PgConnection,
    key: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE commands SET stage = 2, reason = $2, detail = '', ended_at = $3
         WHERE charger_key = $1 AND stage = 0
             AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id) RETURNING id",
    )
    .bind(key)
    .bind(NotSent::ChargerRemoved.as_str())
    .bind(now.0)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    push_finished(connection, ended.into_iter().map(CommandId), now).await
}

/// Makes the removal of a charger wait for requests whose commands are not committed yet, and later requests wait for the
/// removal, until the caller's transaction ends. Without it, a command that is committed after the removal would stay
/// queued.
pub(super) async fn wait_for_requests(
    connection: &mut PgConnection,
    key: &str,
) -> Result<(), Refusal> {
    lock_requests(connection, key, "pg_advisory_xact_lock").await
}

async fn lock_requests(
    connection: &mut PgConnection,
    key: &str,
    lock: &str,
) -> Result<(), Refusal> {
    // The bytes `CMDS`: other locks are on other numbers.
    let sql = format!("SELECT {lock}(hashtextextended($1, 1129137235))");
    sqlx::query(AssertSqlSafe(sql))
        .bind(key)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// When the charger was removed, if the request was made before that.
async fn removed_since(
    connection: &mut PgConnection,
    key: &str,
    requested_at: Timestamp,
) -> Result<Option<Timestamp>, Refusal> {
    let at: Option<i64> =
        sqlx::query_scalar("SELECT at FROM removed_chargers WHERE key = $1 AND at >= $2")
            .bind(key)
            .bind(requested_at.0)
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
    Ok(at.map(Timestamp))
}

/// Queues the event that these commands have an outcome, inside the caller's transaction.
async fn push_finished(
    connection: &mut PgConnection,
    ids: impl IntoIterator<Item = CommandId>,
    at: Timestamp,
) -> Result<(), Refusal> {
    let ids = ids.into_iter();
    let entries: Vec<Queued> = ids
        .map(|id| Queued::command(Change::CommandFinished, id.0, at))
        .collect();
    event_log::push(connection, &entries).await
}

/// The key of a charger as PostgreSQL can store it.
fn charger_key(id: &str) -> String {
    clean(ChargerKey::of(id).as_str()).into_owned()
}

async fn created_before(
    connection: &mut PgConnection,
    requested_by: &str,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Option<Created>, Refusal> {
    let known: Option<(Vec<u8>, Uuid)> = sqlx::query_as(
        "SELECT digest, command FROM command_keys WHERE requested_by = $1 AND key = $2 AND at >= $3",
    )
    .bind(&*clean(requested_by))
    .bind(&*clean(&idempotency.key))
    .bind(now.0 - IDEMPOTENCY_KEPT_MS)
    .fetch_optional(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let Some((digest, id)) = known else {
        return Ok(None);
    };
    Ok(Some(match shown(connection, CommandId(id)).await? {
        Some(stored) if digest == idempotency.digest => Created::Repeated(stored.view(now)),
        _ => Created::Mismatch,
    }))
}

pub(super) async fn create(
    connection: &mut PgConnection,
    new: &NewCommand,
) -> Result<Created, Refusal> {
    let now = new.created_at;
    let command = &new.command;
    let requested_by = clean(&new.requested_by).into_owned();
    if let Some(stored) = shown(connection, command.id).await? {
        return Ok(Created::Repeated(stored.view(now)));
    }
    let key = charger_key(&command.charger_id);
    if let Some(idempotency) = &new.idempotency {
        let idempotency_key = clean(&idempotency.key).into_owned();
        sqlx::query("DELETE FROM command_keys WHERE requested_by = $1 AND key = $2 AND at < $3")
            .bind(&requested_by)
            .bind(&idempotency_key)
            .bind(now.0 - IDEMPOTENCY_KEPT_MS)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
        // Waits for another transaction with this key.
        let inserted = sqlx::query(
            "INSERT INTO command_keys (requested_by, key, digest, command, at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(&requested_by)
        .bind(&idempotency_key)
        .bind(idempotency.digest.as_slice())
        .bind(command.id.0)
        .bind(now.0)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
        if inserted.rows_affected() == 0 {
            let before = created_before(connection, &requested_by, idempotency, now).await?;
            return Ok(before.unwrap_or(Created::Mismatch));
        }
    }
    if new.not_sent.is_none() {
        let queued: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM commands WHERE charger_key = $1 AND stage = 0",
        )
        .bind(&key)
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
        if queued.unsigned_abs() >= QUEUED_PER_CHARGER_MAX {
            if let Some(idempotency) = &new.idempotency {
                sqlx::query("DELETE FROM command_keys WHERE requested_by = $1 AND key = $2")
                    .bind(&requested_by)
                    .bind(clean(&idempotency.key).into_owned())
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
            }
            return Ok(Created::QueueFull);
        }
    }
    // Until this transaction ends, the charger is not removed. A removal that has ended since the request was made is seen.
    lock_requests(connection, &key, "pg_advisory_xact_lock_shared").await?;
    let removed = match new.not_sent {
        None => removed_since(connection, &key, now).await?,
        Some(_) => None,
    };
    let removed = removed.map(|_| NotSentBecause::new(NotSent::ChargerRemoved, ""));
    let refusal = new.not_sent.as_ref().or(removed.as_ref());
    let stage = if refusal.is_some() { NOT_SENT } else { QUEUED };
    let index = EffectIndex::of(command).filter(|_| refusal.is_none());
    let recheck_at = index.as_ref().and_then(|index| index.recheck_at(now));
    sqlx::query(
        "INSERT INTO commands (id, charger_key, charger_id, action, payload, answer_within_ms, send_before,
             created_at, requested_by, waits, stage, reason, detail, ended_at, effect_key, effect_until, recheck_at,
             traceparent, skips_check)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19)",
    )
    .bind(command.id.0)
    .bind(&key)
    .bind(clean(&command.charger_id).into_owned())
    .bind(clean(&command.action).into_owned())
    .bind(clean(&command.payload).into_owned())
    .bind(i64::from(command.answer_within_ms))
    .bind(command.send_before.0)
    .bind(now.0)
    .bind(&requested_by)
    .bind(new.waits_when_offline)
    .bind(i16::try_from(stage).unwrap_or_default())
    .bind(refusal.map(|refusal| refusal.reason.as_str()))
    .bind(refusal.map(|refusal| clean(&refusal.detail).into_owned()))
    .bind(refusal.map(|_| now.0))
    .bind(index.as_ref().map(|index| clean(&index.key).into_owned()))
    .bind(index.as_ref().map(|index| index.until.0))
    .bind(recheck_at.map(Timestamp::as_millis))
    .bind(new.traceparent.as_ref().map(TraceParent::as_str))
    .bind(command.skips_check)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    if refusal.is_some() {
        push_finished(connection, [command.id], now).await?;
    }
    if let Some(entry) = &new.audit {
        audit::insert(connection, entry).await?;
    }
    shown(connection, command.id)
        .await?
        .map(|stored| Created::New(stored.view(now)))
        .ok_or_else(|| Refusal::corrupt("a command that was inserted is not there"))
}

/// The commands with these ids that are stored, with everything that is shown of them.
pub(super) async fn all_shown(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<std::collections::HashMap<CommandId, StoredCommand>, Refusal> {
    if ids.is_empty() {
        return Ok(Default::default());
    }
    let sql = format!("SELECT {COLUMNS} FROM commands c {JOINS} WHERE c.id = ANY ($1)");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let mut found = std::collections::HashMap::with_capacity(rows.len());
    for stored in &rows {
        let stored = row(stored).map_err(error::refusal)?;
        let stored = stored.stored(Unreadable::IsNone)?;
        found.insert(stored.command.id, stored);
    }
    effects::complete(connection, found.values_mut().collect()).await?;
    Ok(found)
}

/// The command, as far as its rows tell; for what decides about it.
pub(super) async fn find(
    connection: &mut PgConnection,
    id: CommandId,
) -> Result<Option<StoredCommand>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM commands c {JOINS} WHERE c.id = $1");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(id.0)
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let found = found.as_ref().map(row).transpose();
    let found = found.map_err(error::refusal)?;
    let found = found.map(|row| row.stored(Unreadable::IsNone));
    found.transpose()
}

/// The command with everything that is shown of it.
pub(super) async fn shown(
    connection: &mut PgConnection,
    id: CommandId,
) -> Result<Option<StoredCommand>, Refusal> {
    let mut found = find(connection, id).await?;
    effects::complete(connection, found.iter_mut().collect()).await?;
    Ok(found)
}

pub(crate) fn row(row: &PgRow) -> Result<CommandRow, sqlx::Error> {
    Ok(CommandRow {
        no: row.try_get(0)?,
        id: row.try_get(1)?,
        charger_id: row.try_get(2)?,
        action: row.try_get(3)?,
        payload: row.try_get(4)?,
        answer_within_ms: row.try_get(5)?,
        send_before: row.try_get(6)?,
        created_at: row.try_get(7)?,
        requested_by: row.try_get(8)?,
        waits: row.try_get(9)?,
        stage: row.try_get::<i16, _>(10)?.into(),
        gateway: row.try_get(11)?,
        started: row.try_get(12)?,
        next_seq: row.try_get(13)?,
        claimed_at: row.try_get(14)?,
        reason: row.try_get(15)?,
        detail: row.try_get(16)?,
        ended_at: row.try_get(17)?,
        progress: row.try_get(18)?,
        effect: row.try_get(19)?,
        repeats: row.try_get(20)?,
        repeated_by: row.try_get(21)?,
        traceparent: row.try_get(22)?,
        skips_check: row.try_get(23)?,
    })
}

/// Merges the progress of commands, inside the caller's transaction. Returns what has changed, for the log of events.
pub(crate) async fn merge(
    connection: &mut PgConnection,
    changes: &Changes,
) -> Result<Vec<Queued>, Refusal> {
    let mut changed = Vec::new();
    let on_change = |id, before: &CommandProgress, now: &CommandProgress| {
        changed.extend(of_progress(id, before, now));
    };
    let held = merge_states(connection, "command_progress", &changes.commands, on_change).await?;
    let settled: Vec<Uuid> = held
        .into_iter()
        .filter(|(_, state): &(Uuid, CommandProgress)| state.is_settled())
        .map(|(id, _)| id)
        .collect();
    if !settled.is_empty() {
        sqlx::query("UPDATE commands SET settled = true WHERE id = ANY ($1) AND NOT settled")
            .bind(settled)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
    }
    Ok(changed)
}

/// Merges states of commands into a table, inside the caller's transaction; returns the merged ones, by id. `on_change`
/// gets each state that has changed, as it was and as it is.
pub(crate) async fn merge_states<S: State>(
    connection: &mut PgConnection,
    table: &'static str,
    incoming: &BTreeMap<CommandId, S>,
    mut on_change: impl FnMut(CommandId, &S, &S),
) -> Result<BTreeMap<Uuid, S>, Refusal> {
    let mut held = BTreeMap::new();
    if incoming.is_empty() {
        return Ok(held);
    }
    let ids: Vec<Uuid> = incoming.keys().map(|id| id.0).collect();
    let rows: Vec<(Uuid, String)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT id, state FROM {table} WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE"
    )))
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    for (id, json) in rows {
        let what = || format!("command {id}");
        let state: S = read_state(connection, Some(json), what).await?;
        held.insert(id, state);
    }
    let (mut updates, mut inserts) = (Vec::new(), Vec::new());
    for (CommandId(id), incoming) in incoming {
        let is_known = held.contains_key(id);
        let state = held.entry(*id).or_default();
        let before = state.clone();
        if let Some(json) = merge_into(state, incoming)? {
            on_change(CommandId(*id), &before, state);
            match is_known {
                true => updates.push((*id, json)),
                false => inserts.push((*id, json)),
            }
        }
    }
    if !updates.is_empty() {
        let (ids, states): (Vec<_>, Vec<_>) = updates.into_iter().unzip();
        sqlx::query(AssertSqlSafe(format!(
            "UPDATE {table} t SET state = u.state, rev = t.rev + 1
             FROM unnest($1::uuid[], $2::text[]) AS u (id, state) WHERE t.id = u.id"
        )))
        .bind(ids)
        .bind(states)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    }
    if !inserts.is_empty() {
        let wanted = inserts.len() as u64;
        let (ids, states): (Vec<_>, Vec<_>) = inserts.into_iter().unzip();
        let done = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO {table} (id, state, rev)
             SELECT id, state, 0 FROM unnest($1::uuid[], $2::text[]) AS u (id, state)
             ON CONFLICT DO NOTHING"
        )))
        .bind(ids)
        .bind(states)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
        if done.rows_affected() != wanted {
            // The whole batch is tried again, on the row that is there now.
            return Err(Refusal::unavailable(
                UnavailableKind::Locked,
                "another writer has stored a state of the same command",
            ));
        }
    }
    Ok(held)
}
