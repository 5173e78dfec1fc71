//! The log of events on PostgreSQL; [`crate::event_log`] describes its contents.
//!
//! Writers insert into the queue in their own transactions, whose numbers become visible out of order. A round takes what
//! is visible, under the lock of the row in `event_head`, and gives it the next positions of the log; so positions become
//! visible in their order. The lock ends with the transaction, also if the process is killed.

use super::query::{chargers, records, snapshot, transactions};
use super::{PostgresStore, effects, error};
use crate::audit::{self, AuditRow};
use crate::commands::{COLUMNS as COMMAND_COLUMNS, JOINS};
use crate::dead_letters;
use crate::event_log::{
    Added, COUNTED_MAX, Change, EXPIRED_ROWS, EventColumns, LOG_ROWS_READ, Letter, NEWER_KEPT,
    Objects, PAGE_BYTES, QUEUE_ROWS_READ, Queued, Round, SESSION_ROWS_CHECKED, Session, compose,
    known, log_removed, newer, page_of, read_until,
};
use crate::handshakes::HandshakeRow;
use crate::paging::at_most;
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use crate::state::Unreadable;
use central::model::{ChargerKey, Event, EventId, RefusedHandshakeView, RefusedTokenView};
use central::ports::{
    EventBounds, EventFilter, EventLog, EventPage, EventsFound, SEQUENCED_MAX, Sequenced,
    Unavailable,
};
use central::project::refused_token;
use central::{RecordId, Timestamp};
use common::lock::lock;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Mutex;
use uuid::Uuid;

/// Queues these changes, inside the caller's transaction.
pub(crate) async fn push(connection: &mut PgConnection, entries: &[Queued]) -> Result<(), Refusal> {
    if entries.is_empty() {
        return Ok(());
    }
    let changes: Vec<i16> = entries.iter().map(|entry| entry.change.code()).collect();
    let chargers: Vec<Option<i64>> = entries.iter().map(|entry| entry.charger_no).collect();
    let numbers: Vec<Option<i64>> = entries.iter().map(|entry| entry.number).collect();
    let connectors: Vec<Option<i64>> = entries.iter().map(|entry| entry.connector).collect();
    let ids: Vec<Option<Uuid>> = entries.iter().map(|entry| entry.id).collect();
    let ats: Vec<i64> = entries.iter().map(|entry| entry.at).collect();
    sqlx::query(
        "INSERT INTO event_queue (kind, charger_no, number, connector, id, at)
         SELECT * FROM unnest($1::smallint[], $2::bigint[]::int[], $3::bigint[], $4::bigint[], $5::uuid[],
             $6::bigint[])",
    )
    .bind(&changes)
    .bind(&chargers)
    .bind(&numbers)
    .bind(&connectors)
    .bind(&ids)
    .bind(&ats)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// Queues these changes of parts of the pipeline, with what their events show, inside the caller's transaction.
pub(super) async fn push_parts(
    connection: &mut PgConnection,
    parts: &[(Queued, String)],
) -> Result<(), Refusal> {
    for (entry, text) in parts {
        sqlx::query("INSERT INTO event_queue (kind, number, at, letter) VALUES ($1, $2, $3, $4)")
            .bind(entry.change.code())
            .bind(entry.number)
            .bind(entry.at)
            .bind(clean(text))
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
    }
    Ok(())
}

impl EventLog for PostgresStore {
    fn sequence_events(&self, now: Timestamp) -> Result<Sequenced, Unavailable> {
        let is_empty = self.read(async |connection| {
            sqlx::query_scalar(AssertSqlSafe(format!(
                "SELECT NOT EXISTS (SELECT FROM event_queue WHERE {})",
                known()
            )))
            .fetch_one(connection)
            .await
            .map_err(error::refusal)
        })?;
        if is_empty {
            return Ok(Sequenced::Done {
                events: 0,
                has_more: false,
            });
        }
        self.change(async |connection| sequence(connection, now).await)
    }

    fn queued_events(&self) -> Result<u64, Unavailable> {
        let count: i64 = self.read(async |connection| {
            sqlx::query_scalar(AssertSqlSafe(format!(
                "SELECT count(*) FROM (SELECT FROM event_queue WHERE {} LIMIT $1) q",
                known()
            )))
            .bind(COUNTED_MAX)
            .fetch_one(connection)
            .await
            .map_err(error::refusal)
        })?;
        Ok(count.unsigned_abs())
    }

    fn event_bounds(&self) -> Result<EventBounds, Unavailable> {
        self.read(async |connection| bounds(connection).await)
    }

    fn events_after(
        &self,
        after: EventId,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventsFound, Unavailable> {
        let found = async |connection: &mut PgConnection| {
            let bounds = bounds(connection).await?;
            if !has(connection, &bounds, after).await? {
                return Ok(EventsFound::Expired(bounds));
            }
            page(connection, &bounds, after, filter, limit)
                .await
                .map(EventsFound::Page)
        };
        self.read(async |connection| snapshot(connection, found).await)
    }

    fn event_before(&self, at: Timestamp) -> Result<EventId, Unavailable> {
        self.read(async |connection| before(connection, at).await)
    }

    fn expire_events(&self, before: Timestamp) -> Result<u64, Unavailable> {
        self.change(async |connection| {
            // By the places of the rows in the table: joined by their positions, the whole log may be read.
            let done = sqlx::query(
                "DELETE FROM event_log WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM (SELECT ctid, recorded_at FROM event_log ORDER BY position LIMIT $2) AS oldest
                     WHERE recorded_at < $1))",
            )
            .bind(before.0)
            .bind(EXPIRED_ROWS)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            forget_sessions(connection, &self.sessions_checked).await?;
            Ok(done.rows_affected())
        })
    }
}

/// Deletes rows of `event_sessions` whose session or command is gone: a session has another key once its start has arrived,
/// and commands are deleted after the retention. Continues after the key that `checked` has, and begins again at the end.
async fn forget_sessions(
    connection: &mut PgConnection,
    checked: &Mutex<Uuid>,
) -> Result<(), Refusal> {
    let after = *lock(checked);
    // Each key is looked up in an index: joined, the tables might be read whole.
    let last: Option<Uuid> = sqlx::query_scalar(
        "WITH slice AS (SELECT ctid AS place, key FROM event_sessions WHERE key > $1 ORDER BY key LIMIT $2),
         gone AS (DELETE FROM event_sessions WHERE ctid = ANY (ARRAY(
             SELECT s.place FROM slice s
             WHERE (SELECT v.key FROM transaction_views v WHERE v.key = s.key LIMIT 1) IS NULL
             AND (SELECT c.id FROM commands c WHERE c.id = s.key) IS NULL)))
         SELECT key FROM slice ORDER BY key DESC LIMIT 1",
    )
    .bind(after)
    .bind(SESSION_ROWS_CHECKED)
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)?;
    *lock(checked) = last.unwrap_or_default();
    Ok(())
}

/// Moves a round from the queue to the log, inside the caller's transaction.
async fn sequence(connection: &mut PgConnection, now: Timestamp) -> Result<Sequenced, Refusal> {
    // A process that hangs with the lock is disconnected by the server.
    sqlx::query("SELECT set_config('idle_in_transaction_session_timeout', '10s', true)")
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let head: Option<(i64, i64)> =
        sqlx::query_as("SELECT position, recorded_at FROM event_head FOR UPDATE SKIP LOCKED")
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
    let Some((position, recorded_at)) = head else {
        return Ok(Sequenced::Elsewhere);
    };
    let last = EventId {
        position: position.unsigned_abs(),
        recorded_at: Timestamp(recorded_at),
    };
    let rows = queued(connection).await?;
    let mut limit = SEQUENCED_MAX;
    let (round, added) = loop {
        let round = Round::of(&rows, limit);
        let objects = objects(connection, &round, now).await;
        match objects.and_then(|objects| compose(&round, objects, last, now)) {
            Ok(added) => break (round, added),
            Err(refusal) => match round.smaller(refusal)? {
                Some(fewer) => limit = fewer,
                None => break (round, Added::default()),
            },
        }
    };
    if !round.has_more {
        remove_newer(connection).await?;
    }
    write(connection, &added).await?;
    sqlx::query("DELETE FROM event_queue WHERE no = ANY($1)")
        .bind(&round.taken)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(Sequenced::Done {
        events: added.events.len(),
        has_more: round.has_more,
    })
}

type QueueRow = (
    i64,
    i16,
    Option<i32>,
    Option<i64>,
    Option<i64>,
    Option<Uuid>,
    i64,
);

/// Bounds what newer programs have queued and no program takes, such as after a return to this version.
async fn remove_newer(connection: &mut PgConnection) -> Result<(), Refusal> {
    let newer = newer();
    let sql = format!(
        "DELETE FROM event_queue WHERE {newer} AND no <=
             (SELECT no FROM event_queue WHERE {newer} ORDER BY no DESC LIMIT 1 OFFSET $1)"
    );
    let removed = sqlx::query(AssertSqlSafe(sql))
        .bind(NEWER_KEPT)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    log_removed(removed.rows_affected());
    Ok(())
}

async fn queued(connection: &mut PgConnection) -> Result<Vec<(i64, Queued)>, Refusal> {
    let sql = format!(
        "SELECT no, kind, charger_no, number, connector, id, at FROM event_queue WHERE {}
         ORDER BY no LIMIT $1",
        known()
    );
    let rows: Vec<QueueRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(QUEUE_ROWS_READ)
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    let entry = |(no, code, charger_no, number, connector, id, at): QueueRow| {
        let entry = Change::from_code(code).map(|change| Queued {
            change,
            charger_no: charger_no.map(i64::from),
            number,
            connector,
            id,
            at,
        });
        entry.map(|entry| (no, entry))
    };
    Ok(rows.into_iter().filter_map(entry).collect())
}

async fn objects(
    connection: &mut PgConnection,
    round: &Round,
    now: Timestamp,
) -> Result<Objects, Refusal> {
    let transactions = transactions::of_states(connection, &round.transactions()).await?;
    let keys = transactions.values().flatten().map(|view| view.key);
    let keys: Vec<Uuid> = keys.chain(round.effects()).collect();
    Ok(Objects {
        chargers: chargers::numbered(connection, &round.chargers()).await?,
        sessions: sessions(connection, &keys).await?,
        transactions,
        commands: commands(connection, &round.commands(), now).await?,
        alerts: super::alerts::find_all(connection, &round.alerts())
            .await?
            .into_iter()
            .map(|alert| (alert.id, alert.view()))
            .collect(),
        dead_letters: letters(connection, &round.dead_letters()).await?,
        audit: audited(connection, &round.audit()).await?,
        reported: reported(connection, &round.reported()).await?,
        parts: parts(connection, &round.parts()).await?,
        handshakes: handshakes(connection, &round.handshakes()).await?,
        refused_tokens: refused_tokens(connection, round.refusing_messages()).await?,
    })
}

async fn sessions(
    connection: &mut PgConnection,
    keys: &[Uuid],
) -> Result<HashMap<Uuid, Session>, Refusal> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(Uuid, i16, i64)> =
        sqlx::query_as("SELECT key, stages, shown FROM event_sessions WHERE key = ANY($1)")
            .bind(keys)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    let session = |(key, stages, shown)| (key, Session { stages, shown });
    Ok(rows.into_iter().map(session).collect())
}

async fn commands(
    connection: &mut PgConnection,
    ids: &[Uuid],
    now: Timestamp,
) -> Result<HashMap<Uuid, central::model::CommandView>, Refusal> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!("SELECT {COMMAND_COLUMNS} FROM commands c {JOINS} WHERE c.id = ANY($1)");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let mut commands = Vec::with_capacity(rows.len());
    for found in &rows {
        let row = super::commands::row(found).map_err(error::refusal)?;
        commands.push(row.stored(Unreadable::Fails)?);
    }
    effects::complete(connection, commands.iter_mut().collect()).await?;
    let views = commands
        .iter()
        .map(|command| (command.command.id.0, command.view(now)));
    Ok(views.collect())
}

async fn letters(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, Letter>, Refusal> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<dead_letters::Waiting> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT {} FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no WHERE d.no = ANY($1)",
        dead_letters::WAITING
    )))
    .bind(numbers)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let mut letters = HashMap::with_capacity(rows.len());
    for row in rows {
        letters.insert(row.0, Letter::of(&dead_letters::waiting(row))?);
    }
    let gone = numbers.iter().filter(|no| !letters.contains_key(no));
    let gone: Vec<i64> = gone.copied().collect();
    if gone.is_empty() {
        return Ok(letters);
    }
    // A later statement than the one above: what was removed in between is in the queue.
    let kept: Vec<(i64, String)> = sqlx::query_as(
        "SELECT number, letter FROM event_queue
         WHERE kind = $1 AND number = ANY($2) AND letter IS NOT NULL",
    )
    .bind(Change::DeadLetter.code())
    .bind(gone)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    for (no, text) in kept {
        letters.insert(no, Letter::kept(text)?);
    }
    Ok(letters)
}

/// Keeps in the queue what the events of these letters show, if they are not in the log yet. To be called before the
/// letters are removed, in the same transaction.
pub(super) async fn keep_letters(
    connection: &mut PgConnection,
    gateways: &[Uuid],
    seqs: &[i64],
) -> Result<(), Refusal> {
    let rows: Vec<dead_letters::Waiting> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {} FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
         JOIN unnest($1::uuid[], $2::bigint[]) AS wanted (gateway, seq)
             ON g.id = wanted.gateway AND d.seq = wanted.seq
         WHERE d.no IN (SELECT number FROM event_queue WHERE kind = $3)",
        dead_letters::WAITING
    )))
    .bind(gateways)
    .bind(seqs)
    .bind(Change::DeadLetter.code())
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    for row in rows {
        let no = row.0;
        let letter = Letter::of(&dead_letters::waiting(row))?;
        sqlx::query("UPDATE event_queue SET letter = $1 WHERE kind = $2 AND number = $3")
            .bind(clean(&letter.text()))
            .bind(Change::DeadLetter.code())
            .bind(no)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
    }
    Ok(())
}

async fn audited(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, central::model::AuditView>, Refusal> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT {} FROM audit_log WHERE no = ANY($1)",
        audit::COLUMNS
    );
    let rows: Vec<AuditRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(numbers)
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    let views = rows.into_iter().map(audit::view);
    views.map(|view| view.map(|view| (view.no, view))).collect()
}

async fn handshakes(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, RefusedHandshakeView>, Refusal> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<HandshakeRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT {} FROM refused_handshakes WHERE no = ANY($1)",
        crate::handshakes::COLUMNS
    )))
    .bind(numbers)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let views = rows.into_iter().map(crate::handshakes::view);
    views.map(|view| view.map(|view| (view.no, view))).collect()
}

async fn refused_tokens(
    connection: &mut PgConnection,
    messages: Vec<RecordId>,
) -> Result<HashMap<RecordId, RefusedTokenView>, Refusal> {
    if messages.is_empty() {
        return Ok(HashMap::new());
    }
    let found = records::by_ids(connection, &messages).await?;
    let refused = found
        .iter()
        .filter_map(|message| Some((message.id, refused_token(message.id, &message.record())?)));
    Ok(refused.collect())
}

/// What the events of these changes of parts of the pipeline show.
async fn parts(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, String>, Refusal> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT number, letter FROM event_queue WHERE kind = $1 AND number = ANY($2) AND letter IS NOT NULL",
    )
    .bind(Change::Part.code())
    .bind(numbers)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    Ok(rows.into_iter().collect())
}

type ReportedRow = (i32, i64, i64, Option<String>, Option<String>);

async fn reported(
    connection: &mut PgConnection,
    rows: &[(i64, i64, i64)],
) -> Result<HashMap<(i64, i64, i64), (Option<String>, Option<String>)>, Refusal> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<ReportedRow> = sqlx::query_as(
        "SELECT charger_no, at, key_hash, name, value FROM events
         JOIN unnest($1::bigint[]::int[], $2::bigint[], $3::bigint[]) AS k (charger_no, at, key_hash)
         USING (charger_no, at, key_hash)",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let row = |(no, at, hash, name, value): ReportedRow| ((i64::from(no), at, hash), (name, value));
    Ok(found.into_iter().map(row).collect())
}

async fn write(connection: &mut PgConnection, added: &Added) -> Result<(), Refusal> {
    let events = &added.events;
    if let Some(last) = events.last() {
        let keys = events.iter().map(|event| event.charger_id.as_deref());
        let keys: Vec<Option<String>> = keys
            .map(|id| id.map(|id| clean(ChargerKey::of(id).as_str()).into_owned()))
            .collect();
        let texts = |text: fn(&Event) -> &str| -> Vec<String> {
            let texts = events.iter().map(text);
            texts.map(|text| clean(text).into_owned()).collect()
        };
        let chargers = events.iter().map(|event| event.charger_id.as_deref());
        let chargers: Vec<Option<String>> = chargers
            .map(|id| id.map(|id| clean(id).into_owned()))
            .collect();
        sqlx::query(
            "INSERT INTO event_log
                 (position, recorded_at, type, occurred_at, charger_key, charger_id, subject, data)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[],
                 $7::text[], $8::text[])",
        )
        .bind(
            events
                .iter()
                .map(|event| event.id.position.cast_signed())
                .collect::<Vec<_>>(),
        )
        .bind(
            events
                .iter()
                .map(|event| event.id.recorded_at.0)
                .collect::<Vec<_>>(),
        )
        .bind(texts(|event| event.kind.as_str()))
        .bind(
            events
                .iter()
                .map(|event| event.occurred_at.0)
                .collect::<Vec<_>>(),
        )
        .bind(keys)
        .bind(chargers)
        .bind(texts(|event| &event.subject))
        .bind(texts(|event| &event.data))
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
        sqlx::query("UPDATE event_head SET position = $1, recorded_at = $2")
            .bind(last.id.position.cast_signed())
            .bind(last.id.recorded_at.0)
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
    }
    if added.sessions.is_empty() {
        return Ok(());
    }
    // One session may be shown by several states; the last one counts.
    let sessions: HashMap<Uuid, Session> = added.sessions.iter().copied().collect();
    let (keys, sessions): (Vec<Uuid>, Vec<Session>) = sessions.into_iter().unzip();
    sqlx::query(
        "INSERT INTO event_sessions (key, stages, shown)
         SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[])
         ON CONFLICT (key) DO UPDATE SET stages = excluded.stages, shown = excluded.shown",
    )
    .bind(keys)
    .bind(
        sessions
            .iter()
            .map(|session| session.stages)
            .collect::<Vec<_>>(),
    )
    .bind(
        sessions
            .iter()
            .map(|session| session.shown)
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// The ends of the log.
pub(crate) async fn bounds(connection: &mut PgConnection) -> Result<EventBounds, Refusal> {
    let id = |(position, recorded_at): (i64, i64)| EventId {
        position: position.unsigned_abs(),
        recorded_at: Timestamp(recorded_at),
    };
    // The end is read first: what is added between the two reads does not move the beginning past it.
    let last: (i64, i64) = sqlx::query_as("SELECT position, recorded_at FROM event_head")
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let first: Option<(i64, i64)> =
        sqlx::query_as("SELECT position, recorded_at FROM event_log ORDER BY position LIMIT 1")
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
    Ok(EventBounds {
        first: first.map(id),
        last: id(last),
    })
}

/// The last event that was recorded before `at`.
pub(crate) async fn before(
    connection: &mut PgConnection,
    at: Timestamp,
) -> Result<EventId, Refusal> {
    let EventBounds { first, last } = bounds(connection).await?;
    let Some(first) = first.filter(|first| first.recorded_at < at) else {
        return Ok(EventId::START);
    };
    // The times are in the order of the positions, so the place is found by halving.
    let (mut low, mut high) = (first, last.position.saturating_add(1));
    while high - low.position > 1 {
        let middle = low.position + (high - low.position) / 2;
        match id_at(connection, middle).await? {
            Some(id) if id.recorded_at < at => low = id,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The event at this position, if it is kept.
pub(crate) async fn id_at(
    connection: &mut PgConnection,
    position: u64,
) -> Result<Option<EventId>, Refusal> {
    let recorded_at: Option<i64> =
        sqlx::query_scalar("SELECT recorded_at FROM event_log WHERE position = $1")
            .bind(position.cast_signed())
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
    Ok(recorded_at.map(|recorded_at| EventId {
        position,
        recorded_at: Timestamp(recorded_at),
    }))
}

/// Whether all events after this one are kept, and it is one of this log.
async fn has(
    connection: &mut PgConnection,
    bounds: &EventBounds,
    after: EventId,
) -> Result<bool, Refusal> {
    if let Some(known) = bounds.knows(after) {
        return Ok(known);
    }
    Ok(id_at(connection, after.position).await? == Some(after))
}

async fn page(
    connection: &mut PgConnection,
    bounds: &EventBounds,
    after: EventId,
    filter: &EventFilter,
    limit: usize,
) -> Result<EventPage, Refusal> {
    let types: Vec<&str> = filter.types.iter().map(|kind| kind.as_str()).collect();
    let charger = filter.charger.as_deref().map(ChargerKey::of);
    let charger = charger.map(|key| clean(key.as_str()).into_owned());
    let last_read: Option<i64> = match &charger {
        Some(charger) if !types.is_empty() => sqlx::query_scalar(
            "SELECT position FROM event_log WHERE charger_key = $1 AND position > $2
             ORDER BY position OFFSET $3 LIMIT 1",
        )
        .bind(charger)
        .bind(after.position.cast_signed())
        .bind(at_most(LOG_ROWS_READ))
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::refusal)?,
        _ => None,
    };
    let until = read_until(bounds, after, filter, last_read.map(i64::unsigned_abs));
    let sql = format!(
        "SELECT position, recorded_at, type, occurred_at, charger_id, subject, data FROM (
             SELECT e.*, sum(octet_length(data)) OVER (ORDER BY position) - octet_length(data) AS before FROM (
                 SELECT * FROM event_log
                 WHERE position > $1 AND position <= $2 AND (cardinality($3::text[]) = 0 OR type = ANY($3)) AND {}
                 ORDER BY position LIMIT $5) e) f
         WHERE before <= $6 ORDER BY position",
        match charger {
            Some(_) => "charger_key = $4",
            None => "$4::text IS NULL",
        }
    );
    let rows: Vec<EventColumns> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(after.position.cast_signed())
        .bind(until.cast_signed())
        .bind(types)
        .bind(charger)
        .bind(at_most(limit))
        .bind(at_most(PAGE_BYTES))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let (events, cut_at) = page_of(rows, limit);
    let reached = match cut_at {
        Some(id) => id,
        None if until == bounds.last.position => bounds.last,
        None => id_at(connection, until).await?.unwrap_or(after),
    };
    Ok(EventPage {
        events,
        is_end: reached == bounds.last,
        reached,
    })
}
