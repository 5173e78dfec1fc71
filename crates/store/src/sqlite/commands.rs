//! The queue of commands. SQLite has one writer at a time, so each call is exclusive.

use crate::commands::{
    CHARGER_WAS_BUSY, COLUMNS, CommandRow, JOINS, NOT_SENT, NOT_TAKEN_IN_TIME, QUEUED, are_all,
    effect_condition, page_of, slices,
};
use crate::event_log::{Change, Queued, of_progress};
use crate::paging::{at_most, command_before};
use crate::refusal::Refusal;
use crate::sqlite::listing::uuid_of;
use crate::sqlite::{SqliteStore, audit, effects, event_log, numbers};
use crate::state::{State, Unreadable, merge_into, parse};
use central::effect::EffectIndex;
use central::model::{
    ChargerKey, Claim, Command, CommandId, CommandProgress, CommandView, NotSent, Recheck,
    Refusal as NotSentBecause, StoredCommand, TraceParent,
};
use central::ports::{
    Cancelled, CommandQueue, Commands, Created, IDEMPOTENCY_KEPT_MS, Idempotency, NewCommand,
    OpenClaim, QUEUED_PER_CHARGER_MAX, QueryError, Unavailable,
};
use central::project::Changes;
use central::query::{CommandFilter, Page, PageRequest};
use central::{Epoch, GatewayId, Seq, Timestamp};
use common::clock::now_ms;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use uuid::Uuid;

impl Commands for SqliteStore {
    fn create(&self, new: &NewCommand) -> Result<Created, Unavailable> {
        self.transact(|connection, _| create(connection, new))
    }

    fn created_before(
        &self,
        requested_by: &str,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Created>, Unavailable> {
        let read =
            |connection: &Connection| created_before(connection, requested_by, idempotency, now);
        self.readers.read(read).map_err(Refusal::into_unavailable)
    }

    fn cancel(&self, id: CommandId, now: Timestamp) -> Result<Cancelled, Unavailable> {
        self.transact(|connection, _| {
            let is_cancelled = cancel_queued(connection, id, now)?;
            Ok(match shown(connection, id, Unreadable::IsNone)? {
                None => Cancelled::Unknown,
                Some(command) if is_cancelled => Cancelled::Done(command.view(now)),
                Some(command) => Cancelled::TooLate(command.view(now)),
            })
        })
    }

    fn command(&self, id: CommandId, now: Timestamp) -> Result<Option<CommandView>, Unavailable> {
        let found = self
            .readers
            .read(|connection| shown(connection, id, Unreadable::IsNone));
        let found = found.map_err(Refusal::into_unavailable)?;
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
             WHERE c.no < ?1{}{}{}{} ORDER BY c.no DESC LIMIT ?2",
            match filter.charger {
                Some(_) => " AND c.charger_key = ?3",
                None => " AND ?3 = ''",
            },
            match filter.action {
                Some(_) => " AND c.action = ?4",
                None => " AND ?4 = ''",
            },
            match filter.queued {
                None => "",
                Some(true) => " AND c.stage = 0",
                Some(false) => " AND c.stage <> 0",
            },
            effect_condition(filter.effect, "?5")
        );
        let charger = filter.charger.as_deref().map(ChargerKey::of);
        let read = |before: i64, rows: usize| {
            let found = self.readers.read(|connection| {
                let mut statement = connection.prepare_cached(&sql)?;
                let rows = statement.query_map(
                    params![
                        before,
                        at_most(rows),
                        charger.as_ref().map_or("", ChargerKey::as_str),
                        filter.action.as_deref().unwrap_or(""),
                        now.0
                    ],
                    row,
                )?;
                let mut found = Vec::new();
                for row in rows {
                    let row = row?;
                    let no = row.no;
                    let mut stored = row.stored(Unreadable::IsNone)?;
                    effects::complete(connection, &mut stored)?;
                    found.push((no, stored.view(now)));
                }
                Ok(found)
            });
            found.map_err(Refusal::into_unavailable)
        };
        Ok(page_of(before, page.rows(), filter.effect, read)?)
    }
}

impl CommandQueue for SqliteStore {
    fn waiting(
        &self,
        after: Option<&ChargerKey>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ChargerKey>, Unavailable> {
        let found = self.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT charger_key FROM commands
                 WHERE stage = 0 AND charger_key > ?1 AND send_before > ?2
                     AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id)
                 ORDER BY charger_key LIMIT ?3",
            )?;
            let after = after.map_or("", ChargerKey::as_str);
            let rows = statement.query_map(params![after, now.0, at_most(limit)], |row| {
                numbers::charger_key(row, 0)
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn claim(&self, claim: Claim, chargers: &[ChargerKey]) -> Result<Vec<Command>, Unavailable> {
        self.transact(|connection, _| {
            let mut pick = connection.prepare_cached(
                "SELECT no FROM commands WHERE charger_key = ?1 AND stage = 0 AND send_before > ?2
                     AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id)
                 ORDER BY no LIMIT 1",
            )?;
            let mut take = connection.prepare_cached(
                "UPDATE commands SET stage = 1, gateway = ?2, started = ?3, next_seq = ?4, claimed_at = ?5
                 WHERE no = ?1",
            )?;
            let sql = format!(
                "SELECT {COLUMNS} FROM commands c {JOINS} WHERE c.no = ?1"
            );
            let mut show = connection.prepare_cached(&sql)?;
            let mut claimed = Vec::new();
            for charger in chargers {
                let no: Option<i64> = pick
                    .query_row(params![charger.as_str(), claim.at.0], |row| row.get(0))
                    .optional()?;
                let Some(no) = no else {
                    continue;
                };
                take.execute(params![
                    no,
                    claim.gateway.0.as_bytes(),
                    claim.started.0.cast_signed(),
                    claim.next_seq.0.cast_signed(),
                    claim.at.0
                ])?;
                claimed.push(show.query_row([no], row)?);
            }
            claimed.sort_by_key(|row| row.no);
            Ok(claimed.into_iter().map(CommandRow::command).collect())
        })
    }

    fn release(&self, claim: Claim, ids: &[CommandId]) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let mut release = connection.prepare_cached(
                "UPDATE commands SET stage = 0, gateway = NULL, started = NULL, next_seq = NULL, claimed_at = NULL
                 WHERE id = ?1 AND stage = 1 AND gateway = ?2 AND started = ?3 AND next_seq = ?4 AND claimed_at = ?5
                     AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id)",
            )?;
            let mut end = connection.prepare_cached(
                "UPDATE commands SET stage = 2, reason = ?2, detail = '', ended_at = r.at
                 FROM removed_chargers r WHERE commands.id = ?1 AND commands.stage = 0
                     AND r.key = commands.charger_key AND commands.created_at <= r.at RETURNING ended_at",
            )?;
            for id in ids {
                let released = release.execute(params![
                    id.0.as_bytes(),
                    claim.gateway.0.as_bytes(),
                    claim.started.0.cast_signed(),
                    claim.next_seq.0.cast_signed(),
                    claim.at.0
                ])?;
                if released == 0 {
                    continue;
                }
                let values = params![id.0.as_bytes(), NotSent::ChargerRemoved.as_str()];
                let ended: Option<i64> = end.query_row(values, |row| row.get(0)).optional()?;
                if let Some(at) = ended {
                    push_finished(connection, *id, Timestamp(at))?;
                }
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
        self.transact(|connection, _| {
            let changed = connection.execute(
                "UPDATE commands SET stage = 2, reason = ?6, detail = ?7, ended_at = ?8
                 WHERE id = ?1 AND stage = 1 AND gateway = ?2 AND started = ?3 AND next_seq = ?4 AND claimed_at = ?5
                     AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id)",
                params![
                    id.0.as_bytes(),
                    claim.gateway.0.as_bytes(),
                    claim.started.0.cast_signed(),
                    claim.next_seq.0.cast_signed(),
                    claim.at.0,
                    refusal.reason.as_str(),
                    refusal.detail,
                    now.0
                ],
            )?;
            if changed > 0 {
                push_finished(connection, id, now)?;
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
        let found = self.readers.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM commands c {JOINS}
                 WHERE c.stage = 1 AND NOT c.settled AND c.gateway = ?1 AND c.started <= ?2 ORDER BY c.no LIMIT ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(
                params![
                    gateway.0.as_bytes(),
                    started.0.cast_signed(),
                    at_most(limit)
                ],
                row,
            )?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(rows.into_iter().filter_map(CommandRow::open_claim).collect())
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn expire(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        let is_due = self.readers.read(|connection| {
            let due: Option<i64> = connection
                .prepare_cached(
                    "SELECT 1 FROM commands WHERE stage = 0 AND send_before <= ?1
                     UNION ALL SELECT 1 FROM command_keys WHERE at < ?2 LIMIT 1",
                )?
                .query_row([now.0, now.0 - IDEMPOTENCY_KEPT_MS], |row| row.get(0))
                .optional()?;
            Ok(due.is_some())
        });
        // The query alone needs no write lock.
        if !is_due.map_err(Refusal::into_unavailable)? {
            return Ok(0);
        }
        self.transact(|connection, _| {
            connection.execute(
                "DELETE FROM command_keys WHERE (requested_by, key) IN
                     (SELECT requested_by, key FROM command_keys WHERE at < ?1 LIMIT ?2)",
                [now.0 - IDEMPOTENCY_KEPT_MS, at_most(limit)],
            )?;
            let mut expire = connection.prepare_cached(
                "UPDATE commands SET stage = 2, ended_at = ?1,
                     reason = iif(waits OR open.is_busy, 'expired', 'charger_offline'),
                     detail = iif(waits, '', iif(open.is_busy, ?3, ?4))
                 FROM (SELECT c.no AS due, EXISTS (SELECT 1 FROM commands o
                           WHERE o.charger_key = c.charger_key AND o.stage = 1 AND NOT o.settled) AS is_busy
                       FROM commands c WHERE c.stage = 0 AND c.send_before <= ?1
                       ORDER BY c.send_before LIMIT ?2) AS open
                 WHERE no = open.due RETURNING id",
            )?;
            let values = params![now.0, at_most(limit), CHARGER_WAS_BUSY, NOT_TAKEN_IN_TIME];
            let expired: Vec<Uuid> = expire
                .query_map(values, |row| uuid_of(row, 0))?
                .collect::<Result<_, _>>()?;
            for id in &expired {
                push_finished(connection, CommandId(*id), now)?;
            }
            Ok(expired.len() as u64)
        })
    }

    fn ask_again(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        let is_due = self.readers.read(|connection| {
            let due: Option<i64> = connection
                .prepare_cached("SELECT 1 FROM commands WHERE recheck_at <= ?1 LIMIT 1")?
                .query_row([now.0], |row| row.get(0))
                .optional()?;
            Ok(due.is_some())
        });
        // The query alone needs no write lock.
        if !is_due.map_err(Refusal::into_unavailable)? {
            return Ok(0);
        }
        self.transact(|connection, _| {
            let sql = format!(
                "SELECT {COLUMNS} FROM commands c {JOINS} WHERE c.recheck_at <= ?1
                 ORDER BY c.recheck_at LIMIT ?2"
            );
            let due: Vec<CommandRow> = connection
                .prepare_cached(&sql)?
                .query_map([now.0, at_most(limit)], row)?
                .collect::<Result<_, _>>()?;
            let mut note = connection.prepare_cached(
                "UPDATE commands SET recheck_at = ?2, repeated_by = coalesce(?3, repeated_by) WHERE id = ?1",
            )?;
            let mut link =
                connection.prepare_cached("UPDATE commands SET repeats = ?2 WHERE id = ?1")?;
            let mut created = 0;
            for row in due {
                let stored = row.stored(Unreadable::IsNone)?;
                let id = stored.command.id.0;
                let (next, repeated_by) = match stored.recheck(now) {
                    Recheck::At(at) => (Some(at.0), None),
                    Recheck::Done => (None, None),
                    Recheck::AskAgain(new) => match create(connection, &new)? {
                        Created::New(view) | Created::Repeated(view) => {
                            (None, Some(*view.id.0.as_bytes()))
                        }
                        // Too many commands wait for this charger.
                        _ => (Some(now.plus_millis(60_000).0), None),
                    },
                };
                note.execute(params![id.as_bytes(), next, repeated_by])?;
                if let Some(again) = repeated_by {
                    link.execute(params![again, id.as_bytes()])?;
                    created += 1;
                }
            }
            Ok(created)
        })
    }

    fn has_all(&self, gateway: GatewayId, from: Seq, to: Seq) -> Result<bool, Unavailable> {
        for (first, last) in slices(from, to) {
            let stored = self
                .readers
                .read(|connection| numbers::stored_seqs(connection, gateway, first, last))
                .map_err(Refusal::into_unavailable)?;
            if !are_all(stored, first, last) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn created_before(
    connection: &Connection,
    requested_by: &str,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Option<Created>, Refusal> {
    let known: Option<(Vec<u8>, Uuid)> = connection
        .prepare_cached(
            "SELECT digest, command FROM command_keys WHERE requested_by = ?1 AND key = ?2 AND at >= ?3",
        )?
        .query_row(
            params![requested_by, idempotency.key, now.0 - IDEMPOTENCY_KEPT_MS],
            |row| Ok((row.get(0)?, uuid_of(row, 1)?)),
        )
        .optional()?;
    let Some((digest, id)) = known else {
        return Ok(None);
    };
    Ok(Some(
        match shown(connection, CommandId(id), Unreadable::IsNone)? {
            Some(stored) if digest == idempotency.digest => Created::Repeated(stored.view(now)),
            _ => Created::Mismatch,
        },
    ))
}

pub(super) fn create(connection: &Connection, new: &NewCommand) -> Result<Created, Refusal> {
    let now = new.created_at;
    let command = &new.command;
    if let Some(stored) = shown(connection, command.id, Unreadable::IsNone)? {
        return Ok(Created::Repeated(stored.view(now)));
    }
    if let Some(idempotency) = &new.idempotency {
        let before = created_before(connection, &new.requested_by, idempotency, now)?;
        if let Some(created) = before {
            return Ok(created);
        }
    }
    let key = ChargerKey::of(&command.charger_id);
    if new.not_sent.is_none() {
        let queued: i64 = connection
            .prepare_cached("SELECT count(*) FROM commands WHERE charger_key = ?1 AND stage = 0")?
            .query_row([key.as_str()], |row| row.get(0))?;
        if queued.unsigned_abs() >= QUEUED_PER_CHARGER_MAX {
            return Ok(Created::QueueFull);
        }
    }
    if let Some(idempotency) = &new.idempotency {
        connection.execute(
            "INSERT OR REPLACE INTO command_keys (requested_by, key, digest, command, at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                new.requested_by,
                idempotency.key,
                idempotency.digest.as_slice(),
                command.id.0.as_bytes(),
                now.0
            ],
        )?;
    }
    // The charger may have been removed since the request was made.
    let removed: Option<i64> = connection
        .prepare_cached("SELECT at FROM removed_chargers WHERE key = ?1 AND at >= ?2")?
        .query_row(params![key.as_str(), now.0], |row| row.get(0))
        .optional()?;
    let removed = removed.map(|_| NotSentBecause::new(NotSent::ChargerRemoved, ""));
    let refusal = new.not_sent.as_ref().or(removed.as_ref());
    let index = EffectIndex::of(command).filter(|_| refusal.is_none());
    let recheck_at = index.as_ref().and_then(|index| index.recheck_at(now));
    connection.execute(
        "INSERT INTO commands (id, charger_key, charger_id, action, payload, answer_within_ms, send_before,
             created_at, requested_by, waits, stage, reason, detail, ended_at, effect_key, effect_until, recheck_at,
             traceparent, skips_check)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
             ?19)",
        params![
            command.id.0.as_bytes(),
            key.as_str(),
            command.charger_id,
            command.action,
            command.payload,
            command.answer_within_ms,
            command.send_before.0,
            now.0,
            new.requested_by,
            new.waits_when_offline,
            if refusal.is_some() { NOT_SENT } else { QUEUED },
            refusal.map(|refusal| refusal.reason.as_str()),
            refusal.map(|refusal| refusal.detail.as_str()),
            refusal.map(|_| now.0),
            index.as_ref().map(|index| index.key.as_str()),
            index.as_ref().map(|index| index.until.0),
            recheck_at.map(Timestamp::as_millis),
            new.traceparent.as_ref().map(TraceParent::as_str),
            command.skips_check
        ],
    )?;
    if refusal.is_some() {
        push_finished(connection, command.id, now)?;
    }
    if let Some(entry) = &new.audit {
        audit::insert(connection, entry)?;
    }
    shown(connection, command.id, Unreadable::IsNone)?
        .map(|stored| Created::New(stored.view(now)))
        .ok_or_else(|| Refusal::corrupt("a command that was inserted is not there"))
}

/// Cancels a command that no gateway has claimed, inside the caller's transaction; returns whether it was one.
pub(super) fn cancel_queued(
    connection: &Connection,
    id: CommandId,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let changed = connection.execute(
        "UPDATE commands SET stage = ?2, reason = ?3, detail = '', ended_at = ?4
         WHERE id = ?1 AND stage = ?5
             AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id)",
        params![
            id.0.as_bytes(),
            NOT_SENT,
            NotSent::Cancelled.as_str(),
            now.0,
            QUEUED
        ],
    )?;
    if changed > 0 {
        push_finished(connection, id, now)?;
    }
    Ok(changed > 0)
}

/// Ends the queued commands of a charger that was removed, inside the caller's transaction.
pub(super) fn end_of_removed(
    connection: &Connection,
    charger: &ChargerKey,
    now: Timestamp,
) -> Result<(), Refusal> {
    let ended: Vec<Uuid> = connection
        .prepare_cached(
            "UPDATE commands SET stage = 2, reason = ?2, detail = '', ended_at = ?3
             WHERE charger_key = ?1 AND stage = 0
                 AND NOT EXISTS (SELECT 1 FROM command_progress p WHERE p.id = commands.id) RETURNING id",
        )?
        .query_map(
            params![charger.as_str(), NotSent::ChargerRemoved.as_str(), now.0],
            |row| uuid_of(row, 0),
        )?
        .collect::<Result<_, _>>()?;
    for id in ended {
        push_finished(connection, CommandId(id), now)?;
    }
    Ok(())
}

/// Queues the event that a command has an outcome, inside the caller's transaction.
fn push_finished(connection: &Connection, id: CommandId, at: Timestamp) -> Result<(), Refusal> {
    let queued = Queued::command(Change::CommandFinished, id.0, at);
    event_log::push(connection, [queued])
}

/// The command, as far as its rows tell; for what decides about it.
pub(super) fn find(
    connection: &Connection,
    id: CommandId,
) -> Result<Option<StoredCommand>, Refusal> {
    read(connection, id, Unreadable::IsNone)
}

/// The command with everything that is shown of it.
pub(super) fn shown(
    connection: &Connection,
    id: CommandId,
    unreadable: Unreadable,
) -> Result<Option<StoredCommand>, Refusal> {
    let mut found = read(connection, id, unreadable)?;
    if let Some(stored) = &mut found {
        effects::complete(connection, stored)?;
    }
    Ok(found)
}

fn read(
    connection: &Connection,
    id: CommandId,
    unreadable: Unreadable,
) -> Result<Option<StoredCommand>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM commands c {JOINS} WHERE c.id = ?1");
    let found = connection
        .prepare_cached(&sql)?
        .query_row([id.0.as_bytes().as_slice()], row)
        .optional()?;
    found.map(|row| row.stored(unreadable)).transpose()
}

fn row(row: &Row<'_>) -> rusqlite::Result<CommandRow> {
    let uuid = |column| {
        let bytes: Option<[u8; 16]> = row.get(column)?;
        Ok::<_, rusqlite::Error>(bytes.map(Uuid::from_bytes))
    };
    Ok(CommandRow {
        no: row.get(0)?,
        id: uuid_of(row, 1)?,
        charger_id: row.get(2)?,
        action: row.get(3)?,
        payload: row.get(4)?,
        answer_within_ms: row.get(5)?,
        send_before: row.get(6)?,
        created_at: row.get(7)?,
        requested_by: row.get(8)?,
        waits: row.get(9)?,
        stage: row.get(10)?,
        gateway: uuid(11)?,
        started: row.get(12)?,
        next_seq: row.get(13)?,
        claimed_at: row.get(14)?,
        reason: row.get(15)?,
        detail: row.get(16)?,
        ended_at: row.get(17)?,
        progress: row.get(18)?,
        effect: row.get(19)?,
        repeats: uuid(20)?,
        repeated_by: uuid(21)?,
        traceparent: row.get(22)?,
        skips_check: row.get(23)?,
    })
}

/// Merges the progress of commands, inside the caller's transaction.
pub(crate) fn merge(connection: &Connection, changes: &Changes) -> Result<Vec<Queued>, Refusal> {
    let mut changed = Vec::new();
    if changes.commands.is_empty() {
        return Ok(changed);
    }
    let mut settle = connection.prepare_cached("UPDATE commands SET settled = 1 WHERE id = ?1")?;
    merge_states(
        connection,
        "command_progress",
        &changes.commands,
        |id, before: &CommandProgress, held: &CommandProgress| {
            changed.extend(of_progress(*id, before, held));
            if held.is_settled() {
                settle.execute([id.0.as_bytes().as_slice()])?;
            }
            Ok(())
        },
    )?;
    Ok(changed)
}

/// Merges states of commands into a table, inside the caller's transaction, and visits each as it was and as it
/// is.
pub(crate) fn merge_states<S: State>(
    connection: &Connection,
    table: &'static str,
    incoming: &BTreeMap<CommandId, S>,
    mut visit: impl FnMut(&CommandId, &S, &S) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if incoming.is_empty() {
        return Ok(());
    }
    let mut read =
        connection.prepare_cached(&format!("SELECT state FROM {table} WHERE id = ?1"))?;
    let mut write = connection.prepare_cached(&format!(
        "INSERT INTO {table} (id, state) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state"
    ))?;
    for (id, incoming) in incoming {
        let key = id.0.as_bytes().as_slice();
        let json: Option<String> = read.query_row([key], |row| row.get(0)).optional()?;
        let mut held = match json {
            None => S::default(),
            Some(json) => match parse(&json, || format!("command {id}")) {
                Ok(held) => held,
                Err(aside) => {
                    connection
                        .prepare_cached(
                            "INSERT INTO set_aside (what, state, reason, at) VALUES (?1, ?2, ?3, ?4)",
                        )?
                        .execute(params![aside.what, json, aside.reason, now_ms()])?;
                    S::default()
                }
            },
        };
        let before = held.clone();
        if let Some(json) = merge_into(&mut held, incoming)? {
            write.execute(params![key, json])?;
        }
        visit(id, &before, &held)?;
    }
    Ok(())
}
