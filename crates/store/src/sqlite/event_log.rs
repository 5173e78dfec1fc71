//! The log of events on SQLite; [`crate::event_log`] describes its contents. SQLite has one writer at a time, so the queue
//! is in the order of the commits; it is moved to the log as on PostgreSQL, so that both have the same events.

use super::query::{chargers, records, transactions};
use super::{SqliteStore, commands};
use crate::event_log::{
    Added, COUNTED_MAX, Change, EXPIRED_ROWS, EventColumns, LOG_ROWS_READ, Letter, NEWER_KEPT,
    Objects, QUEUE_ROWS_READ, Queued, Round, SESSION_ROWS_CHECKED, Session, compose, known,
    log_removed, newer, page_of, read_until,
};
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::state::Unreadable;
use crate::{audit, dead_letters, handshakes};
use central::model::{ChargerKey, CommandId, EventId};
use central::ports::{
    EventBounds, EventFilter, EventLog, EventPage, EventsFound, SEQUENCED_MAX, Sequenced,
    Unavailable,
};
use central::project::refused_token;
use central::{RecordId, Timestamp};
use common::lock::lock;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::HashSet;
use uuid::Uuid;

/// Queues these changes, inside the caller's transaction.
pub(crate) fn push(
    connection: &Connection,
    entries: impl IntoIterator<Item = Queued>,
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO event_queue (kind, charger_no, number, connector, id, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for entry in entries {
        insert.execute(params![
            entry.change.code(),
            entry.charger_no,
            entry.number,
            entry.connector,
            entry.id.map(Uuid::into_bytes),
            entry.at,
        ])?;
    }
    Ok(())
}

/// Queues these changes of parts of the pipeline, with what their events show, inside the caller's transaction.
pub(super) fn push_parts(
    connection: &Connection,
    parts: &[(Queued, String)],
) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO event_queue (kind, number, at, letter) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (entry, text) in parts {
        insert.execute(params![entry.change.code(), entry.number, entry.at, text])?;
    }
    Ok(())
}

impl EventLog for SqliteStore {
    fn sequence_events(&self, now: Timestamp) -> Result<Sequenced, Unavailable> {
        // The query alone needs no write lock.
        let is_empty = self.readers.read(|connection| {
            let sql = format!("SELECT 1 FROM event_queue WHERE {} LIMIT 1", known());
            let mut any = connection.prepare_cached(&sql)?;
            Ok(!any.exists([])?)
        });
        if is_empty.map_err(Refusal::into_unavailable)? {
            return Ok(Sequenced::Done {
                events: 0,
                has_more: false,
            });
        }
        self.transact(|connection, _| sequence(connection, now))
    }

    fn queued_events(&self) -> Result<u64, Unavailable> {
        self.read_log(|connection| {
            let count: i64 = connection
                .prepare_cached(&format!(
                    "SELECT count(*) FROM (SELECT 1 FROM event_queue WHERE {} LIMIT ?1)",
                    known()
                ))?
                .query_row([COUNTED_MAX], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
    }

    fn event_bounds(&self) -> Result<EventBounds, Unavailable> {
        self.read_log(bounds)
    }

    fn events_after(
        &self,
        after: EventId,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventsFound, Unavailable> {
        self.read_log(|connection| {
            let bounds = bounds(connection)?;
            let has = match bounds.knows(after) {
                Some(known) => known,
                None => id_at(connection, after.position)? == Some(after),
            };
            if !has {
                return Ok(EventsFound::Expired(bounds));
            }
            page(connection, &bounds, after, filter, limit).map(EventsFound::Page)
        })
    }

    fn event_before(&self, at: Timestamp) -> Result<EventId, Unavailable> {
        self.read_log(|connection| before(connection, at))
    }

    fn expire_events(&self, before: Timestamp) -> Result<u64, Unavailable> {
        let is_due = self.read_log(|connection| {
            Ok(bounds(connection)?
                .first
                .is_some_and(|first| first.recorded_at < before))
        })?;
        self.forget_sessions()?;
        if !is_due {
            return Ok(0);
        }
        self.transact(|connection, _| {
            let done = connection.execute(
                "DELETE FROM event_log WHERE recorded_at < ?1 AND position IN
                     (SELECT position FROM event_log ORDER BY position LIMIT ?2)",
                params![before.0, EXPIRED_ROWS],
            )?;
            Ok(done as u64)
        })
    }
}

impl SqliteStore {
    /// Deletes rows of `event_sessions` whose session or command is gone: a session has another key once its start has
    /// arrived, and commands are deleted after the retention. Continues where the last call has ended, and begins again at
    /// the end.
    fn forget_sessions(&self) -> Result<(), Unavailable> {
        let after = *lock(&self.sessions_checked);
        let (last, is_due) = self.read_log(|connection| {
            let (last, is_due) = connection
                .prepare_cached(&format!(
                    "SELECT max(key), total({SESSION_IS_GONE}) > 0 FROM
                         (SELECT key FROM event_sessions WHERE key > ?1 ORDER BY key LIMIT ?2) s"
                ))?
                .query_row(params![after.as_bytes(), SESSION_ROWS_CHECKED], |row| {
                    Ok((row.get::<_, Option<[u8; 16]>>(0)?, row.get(1)?))
                })?;
            Ok((last.map(Uuid::from_bytes), is_due))
        })?;
        if let Some(last) = last
            && is_due
        {
            self.transact(|connection, _| {
                connection.execute(
                    &format!(
                        "DELETE FROM event_sessions AS s WHERE key > ?1 AND key <= ?2 AND {SESSION_IS_GONE}"
                    ),
                    params![after.as_bytes(), last.as_bytes()],
                )?;
                Ok(())
            })?;
        }
        *lock(&self.sessions_checked) = last.unwrap_or_default();
        Ok(())
    }

    fn read_log<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal>,
    ) -> Result<T, Unavailable> {
        self.readers.read(work).map_err(Refusal::into_unavailable)
    }
}

/// Whether a row of `event_sessions`, called `s`, is of no session and of no command.
const SESSION_IS_GONE: &str = "(NOT EXISTS (SELECT 1 FROM transaction_views v WHERE v.key = s.key)
    AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.id = s.key))";

fn sequence(connection: &Connection, now: Timestamp) -> Result<Sequenced, Refusal> {
    let last = head(connection)?;
    let rows = queued(connection)?;
    let mut limit = SEQUENCED_MAX;
    let (round, added) = loop {
        let round = Round::of(&rows, limit);
        let objects = objects(connection, &round, now);
        match objects.and_then(|objects| compose(&round, objects, last, now)) {
            Ok(added) => break (round, added),
            Err(refusal) => match round.smaller(refusal)? {
                Some(fewer) => limit = fewer,
                None => break (round, Added::default()),
            },
        }
    };
    if !round.has_more {
        remove_newer(connection)?;
    }
    write(connection, &added)?;
    let mut remove = connection.prepare_cached("DELETE FROM event_queue WHERE no = ?1")?;
    for no in &round.taken {
        remove.execute([no])?;
    }
    Ok(Sequenced::Done {
        events: added.events.len(),
        has_more: round.has_more,
    })
}

/// Bounds what newer programs have queued and no program takes, such as after a return to this version.
fn remove_newer(connection: &Connection) -> Result<(), Refusal> {
    let newer = newer();
    let removed = connection
        .prepare_cached(&format!(
            "DELETE FROM event_queue WHERE {newer} AND no <=
                 (SELECT no FROM event_queue WHERE {newer} ORDER BY no DESC LIMIT 1 OFFSET ?1)"
        ))?
        .execute([NEWER_KEPT])?;
    log_removed(removed as u64);
    Ok(())
}

fn queued(connection: &Connection) -> Result<Vec<(i64, Queued)>, Refusal> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT no, kind, charger_no, number, connector, id, at FROM event_queue WHERE {}
         ORDER BY no LIMIT ?1",
        known()
    ))?;
    let rows = statement.query_map([QUEUE_ROWS_READ], |row| {
        let id: Option<[u8; 16]> = row.get(5)?;
        let (charger_no, number, connector, at) =
            (row.get(2)?, row.get(3)?, row.get(4)?, row.get(6)?);
        let entry = Change::from_code(row.get(1)?).map(|change| Queued {
            change,
            charger_no,
            number,
            connector,
            id: id.map(Uuid::from_bytes),
            at,
        });
        let no = row.get(0)?;
        Ok(entry.map(|entry| (no, entry)))
    })?;
    Ok(rows
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?)
}

fn objects(connection: &Connection, round: &Round, now: Timestamp) -> Result<Objects, Refusal> {
    let mut objects = Objects::default();
    let chargers_shown = round.chargers();
    if !chargers_shown.is_empty() {
        let gateways = chargers::gateways(connection)?;
        for no in chargers_shown {
            let found = chargers::numbered(connection, &gateways, no)?;
            objects.chargers.extend(found.map(|found| (no, found)));
        }
    }
    let mut session =
        connection.prepare_cached("SELECT stages, shown FROM event_sessions WHERE key = ?1")?;
    for no in round.transactions() {
        let views = transactions::of_state(connection, no)?;
        for view in &views {
            let found = session
                .query_row([view.key.as_bytes()], |row| {
                    let (stages, shown) = (row.get(0)?, row.get(1)?);
                    Ok(Session { stages, shown })
                })
                .optional()?;
            objects
                .sessions
                .extend(found.map(|found| (view.key, found)));
        }
        objects.transactions.insert(no, views);
    }
    for id in round.effects() {
        let found = session
            .query_row([id.as_bytes()], |row| {
                let (stages, shown) = (row.get(0)?, row.get(1)?);
                Ok(Session { stages, shown })
            })
            .optional()?;
        objects.sessions.extend(found.map(|found| (id, found)));
    }
    for id in round.commands() {
        if let Some(command) = commands::shown(connection, CommandId(id), Unreadable::Fails)? {
            objects.commands.insert(id, command.view(now));
        }
    }
    for id in round.alerts() {
        if let Some(alert) = super::alerts::find(connection, id)? {
            objects.alerts.insert(id, alert.view());
        }
    }
    let mut letter = connection.prepare_cached(&format!(
        "SELECT {} FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no WHERE d.no = ?1",
        dead_letters::WAITING
    ))?;
    let mut kept = connection.prepare_cached(
        "SELECT letter FROM event_queue WHERE kind = ?1 AND number = ?2 AND letter IS NOT NULL",
    )?;
    for no in round.dead_letters() {
        let found = letter
            .query_row([no], super::dead_letters::waiting_row)
            .optional()?;
        let found = match found {
            Some(found) => Some(Letter::of(&dead_letters::waiting(found))?),
            None => kept
                .query_row(params![Change::DeadLetter.code(), no], |row| row.get(0))
                .optional()?
                .map(Letter::kept)
                .transpose()?,
        };
        objects.dead_letters.extend(found.map(|found| (no, found)));
    }
    let mut entry = connection.prepare_cached(&format!(
        "SELECT {} FROM audit_log WHERE no = ?1",
        audit::COLUMNS
    ))?;
    for no in round.audit() {
        let found = entry.query_row([no], |row| row.try_into()).optional()?;
        if let Some(found) = found {
            objects.audit.insert(no, audit::view(found)?);
        }
    }
    let mut event = connection.prepare_cached(
        "SELECT name, value FROM events WHERE charger_no = ?1 AND at = ?2 AND key_hash = ?3",
    )?;
    for (charger_no, at, hash) in round.reported() {
        let found = event
            .query_row([charger_no, at, hash], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        objects
            .reported
            .extend(found.map(|found| ((charger_no, at, hash), found)));
    }
    let mut handshake = connection.prepare_cached(&format!(
        "SELECT {} FROM refused_handshakes WHERE no = ?1",
        handshakes::COLUMNS
    ))?;
    for no in round.handshakes() {
        let found = handshake
            .query_row([no], super::handshakes::row)
            .optional()?;
        if let Some(found) = found {
            objects.handshakes.insert(no, handshakes::view(found)?);
        }
    }
    for no in round.parts() {
        let found = kept
            .query_row(params![Change::Part.code(), no], |row| row.get(0))
            .optional()?;
        objects.parts.extend(found.map(|text: String| (no, text)));
    }
    for id in round.refusing_messages() {
        let message = records::one(connection, id)?;
        let refused = message.and_then(|message| refused_token(id, &message.record()));
        objects
            .refused_tokens
            .extend(refused.map(|refused| (id, refused)));
    }
    Ok(objects)
}

/// Keeps in the queue what the events of these letters show, if they are not in the log yet. To be called before the
/// letters are removed, in the same transaction.
pub(super) fn keep_letters(connection: &Connection, ids: &[RecordId]) -> Result<(), Refusal> {
    let wanted: HashSet<&RecordId> = ids.iter().collect();
    let queued: Vec<i64> = connection
        .prepare_cached("SELECT number FROM event_queue WHERE kind = ?1 AND letter IS NULL")?
        .query_map([Change::DeadLetter.code()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut letter = connection.prepare_cached(&format!(
        "SELECT {} FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no WHERE d.no = ?1",
        dead_letters::WAITING
    ))?;
    let mut keep = connection
        .prepare_cached("UPDATE event_queue SET letter = ?1 WHERE kind = ?2 AND number = ?3")?;
    for no in queued {
        let found = letter
            .query_row([no], super::dead_letters::waiting_row)
            .optional()?;
        if let Some(found) = found
            && wanted.contains(&dead_letters::record_id(found.1, found.2))
        {
            let text = Letter::of(&dead_letters::waiting(found))?.text();
            keep.execute(params![text, Change::DeadLetter.code(), no])?;
        }
    }
    Ok(())
}

fn write(connection: &Connection, added: &Added) -> Result<(), Refusal> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO event_log
             (position, recorded_at, type, occurred_at, charger_key, charger_id, subject, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for event in &added.events {
        let key = event.charger_id.as_deref().map(ChargerKey::of);
        insert.execute(params![
            event.id.position.cast_signed(),
            event.id.recorded_at.0,
            event.kind.as_str(),
            event.occurred_at.0,
            key.as_ref().map(ChargerKey::as_str),
            event.charger_id,
            event.subject,
            event.data,
        ])?;
    }
    if let Some(last) = added.events.last() {
        connection.execute(
            "UPDATE event_head SET position = ?1, recorded_at = ?2",
            params![last.id.position.cast_signed(), last.id.recorded_at.0],
        )?;
    }
    let mut keep = connection.prepare_cached(
        "INSERT INTO event_sessions (key, stages, shown) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET stages = excluded.stages, shown = excluded.shown",
    )?;
    for (key, session) in &added.sessions {
        keep.execute(params![key.as_bytes(), session.stages, session.shown])?;
    }
    Ok(())
}

/// The newest event.
pub(crate) fn head(connection: &Connection) -> Result<EventId, Refusal> {
    Ok(connection
        .prepare_cached("SELECT position, recorded_at FROM event_head")?
        .query_row([], event_id)?)
}

fn event_id(row: &Row<'_>) -> rusqlite::Result<EventId> {
    Ok(EventId {
        position: row.get::<_, i64>(0)?.cast_unsigned(),
        recorded_at: Timestamp(row.get(1)?),
    })
}

fn bounds(connection: &Connection) -> Result<EventBounds, Refusal> {
    let first = connection
        .prepare_cached("SELECT position, recorded_at FROM event_log ORDER BY position LIMIT 1")?
        .query_row([], event_id)
        .optional()?;
    Ok(EventBounds {
        first,
        last: head(connection)?,
    })
}

/// The last event that was recorded before `at`.
pub(crate) fn before(connection: &Connection, at: Timestamp) -> Result<EventId, Refusal> {
    let EventBounds { first, last } = bounds(connection)?;
    let Some(first) = first.filter(|first| first.recorded_at < at) else {
        return Ok(EventId::START);
    };
    // The times are in the order of the positions, so the place is found by halving.
    let (mut low, mut high) = (first, last.position.saturating_add(1));
    while high - low.position > 1 {
        let middle = low.position + (high - low.position) / 2;
        match id_at(connection, middle)? {
            Some(id) if id.recorded_at < at => low = id,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The event at this position, if it is kept.
pub(crate) fn id_at(connection: &Connection, position: u64) -> Result<Option<EventId>, Refusal> {
    Ok(connection
        .prepare_cached("SELECT position, recorded_at FROM event_log WHERE position = ?1")?
        .query_row([position.cast_signed()], event_id)
        .optional()?)
}

fn page(
    connection: &Connection,
    bounds: &EventBounds,
    after: EventId,
    filter: &EventFilter,
    limit: usize,
) -> Result<EventPage, Refusal> {
    let charger = filter.charger.as_deref().map(ChargerKey::of);
    let types: Vec<&str> = filter.types.iter().map(|kind| kind.as_str()).collect();
    let last_read: Option<i64> = match &charger {
        Some(charger) if !types.is_empty() => connection
            .prepare_cached(
                "SELECT position FROM event_log INDEXED BY event_log_by_charger
                 WHERE charger_key = ?1 AND position > ?2 ORDER BY position LIMIT 1 OFFSET ?3",
            )?
            .query_row(
                params![
                    charger.as_str(),
                    after.position.cast_signed(),
                    at_most(LOG_ROWS_READ)
                ],
                |row| row.get(0),
            )
            .optional()?,
        _ => None,
    };
    let until = read_until(bounds, after, filter, last_read.map(i64::unsigned_abs));
    let sql = format!(
        "SELECT position, recorded_at, type, occurred_at, charger_id, subject, data FROM event_log {}
             AND position > :after AND position <= :until
             AND (:types = '' OR instr(:types, ' ' || type || ' ') > 0)
         ORDER BY position LIMIT :limit",
        match charger {
            Some(_) => "INDEXED BY event_log_by_charger WHERE charger_key = :charger",
            None => "WHERE :charger IS NULL",
        }
    );
    let types = match types.is_empty() {
        true => String::new(),
        false => format!(" {} ", types.join(" ")),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":charger": charger.as_ref().map(ChargerKey::as_str),
            ":after": after.position.cast_signed(),
            ":until": until.cast_signed(),
            ":types": types,
            ":limit": at_most(limit),
        },
        |row| EventColumns::try_from(row),
    )?;
    let mut failed = None;
    let rows = rows.map_while(|row| row.map_err(|error| failed = Some(error)).ok());
    let (events, cut_at) = page_of(rows, limit);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let reached = match cut_at {
        Some(id) => id,
        None if until == bounds.last.position => bounds.last,
        None => id_at(connection, until)?.unwrap_or(after),
    };
    Ok(EventPage {
        events,
        is_end: reached == bounds.last,
        reached,
    })
}
