//! Migrates a database to this build's schema, one numbered file at a time. It refuses a database of another
//! program, and one with a newer schema unless it is noted as usable ([`crate::compatible`]): writing to an unknown schema
//! could corrupt it.

use super::error::{self, PostgresOpenError};
use super::{dead_letters, late};
use crate::compatible::{SCHEMA_USABLE_FROM, is_usable, note_name};
use crate::refusal::Refusal;
use central::ports::Unavailable;
use common::lock::lock;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use std::convert::Infallible;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The migrations, in order; the schema's version is the number of migrations that have run.
const MIGRATIONS: [&str; 31] = [
    include_str!("../../migrations/postgres/0001_initial.sql"),
    include_str!("../../migrations/postgres/0002_api_keys.sql"),
    include_str!("../../migrations/postgres/0003_quirks.sql"),
    include_str!("../../migrations/postgres/0004_succession.sql"),
    include_str!("../../migrations/postgres/0005_commands.sql"),
    include_str!("../../migrations/postgres/0006_frame_bytes_max.sql"),
    include_str!("../../migrations/postgres/0007_tokens.sql"),
    include_str!("../../migrations/postgres/0008_effects.sql"),
    include_str!("../../migrations/postgres/0009_changes.sql"),
    include_str!("../../migrations/postgres/0010_local_lists.sql"),
    include_str!("../../migrations/postgres/0011_events.sql"),
    include_str!("../../migrations/postgres/0012_refused_handshakes.sql"),
    include_str!("../../migrations/postgres/0013_processes.sql"),
    include_str!("../../migrations/postgres/0014_batches.sql"),
    include_str!("../../migrations/postgres/0015_discarded_letters.sql"),
    include_str!("../../migrations/postgres/0016_running_tokens.sql"),
    include_str!("../../migrations/postgres/0017_letter_events.sql"),
    include_str!("../../migrations/postgres/0018_users.sql"),
    include_str!("../../migrations/postgres/0019_webhooks.sql"),
    include_str!("../../migrations/postgres/0020_password_rotations.sql"),
    include_str!("../../migrations/postgres/0021_connections.sql"),
    include_str!("../../migrations/postgres/0022_retention.sql"),
    include_str!("../../migrations/postgres/0023_sites.sql"),
    include_str!("../../migrations/postgres/0024_removed_chargers.sql"),
    include_str!("../../migrations/postgres/0025_disconnects.sql"),
    include_str!("../../migrations/postgres/0026_alerts.sql"),
    include_str!("../../migrations/postgres/0027_close_style.sql"),
    include_str!("../../migrations/postgres/0028_traceparent.sql"),
    include_str!("../../migrations/postgres/0029_token_use.sql"),
    include_str!("../../migrations/postgres/0030_unknown_tokens.sql"),
    include_str!("../../migrations/postgres/0031_alert_site.sql"),
];

/// The rights of a role that runs Wattpost.
const GRANTS: &str = include_str!("../../migrations/postgres/grants.sql");

/// The migration after which the columns that it adds to dead letters are filled.
const LETTERS_DESCRIBED: i32 = 15;

/// The schema's version that this build writes.
const LATEST: i32 = MIGRATIONS.len() as i32;
const _: () = assert!(
    LATEST == crate::SCHEMA_VERSION.cast_signed(),
    "both databases have the same versions of the schema"
);

/// Advisory lock held while the schema is changed; the next holder finds the migration done. The bytes `WATT`.
const LOCK: i64 = 0x5741_5454;

/// Connect timeout before a migration.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What [`super::PostgresStore::migrate`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version that was found; 0 for an empty database.
    pub from: u32,
    /// The version that it has now.
    pub to: u32,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "up to date (schema version {})", self.to)
        } else {
            write!(
                f,
                "migrated from schema version {} to {}",
                self.from, self.to
            )
        }
    }
}

/// Why the check of the database failed.
pub(crate) enum CheckError {
    /// Waiting may help.
    Unavailable(Unavailable),
    /// Waiting cannot help.
    Unusable(PostgresOpenError),
}

impl From<Refusal> for CheckError {
    fn from(refusal: Refusal) -> Self {
        Self::Unavailable(refusal.into_unavailable())
    }
}

/// Connects and checks whether the schema is that of this build.
pub(crate) async fn check(options: &PgConnectOptions) -> Result<(), CheckError> {
    let mut connection = connect(options).await?;
    check_encoding(&mut connection)
        .await
        .map_err(|error| check_error(&error))?
        .map_err(CheckError::Unusable)?;
    let version = version(&mut connection)
        .await
        .map_err(|error| check_error(&error))?;
    let checked = match version {
        None => Err(CheckError::Unusable(PostgresOpenError(
            "the database that database.url names has no tables of Wattpost: run `wattpost migrate` with \
             the same settings, as a role that may create tables"
                .to_owned(),
        ))),
        Some(found) if found < LATEST => Err(CheckError::Unusable(PostgresOpenError(format!(
            "the database that database.url names has schema version {found}, and this program needs \
             {LATEST}: run `wattpost migrate`"
        )))),
        Some(found) => match is_usable_newer(&mut connection, found).await {
            Ok(true) => check_rights(&mut connection).await,
            Ok(false) => Err(CheckError::Unusable(newer(found))),
            Err(error) => Err(check_error(&error)),
        },
    };
    let _ = connection.close().await;
    checked
}

/// How a migration waits for the locks of other sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationWait {
    /// In all; at least one attempt is made. Then the migration gives up, with nothing changed. Default 10 minutes.
    pub total: Duration,
    /// For one lock of a table. Whatever else uses the table queues behind the migration meanwhile, so it is short: then
    /// the attempt is undone, and made again after a pause. Default 2 s.
    pub lock: Duration,
}

impl Default for MigrationWait {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(600),
            lock: Duration::from_secs(2),
        }
    }
}

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why an attempt has failed.
enum AttemptError {
    /// Another session has a lock; the transaction is rolled back.
    Locked(PostgresOpenError),
    Failed(PostgresOpenError),
}

impl From<PostgresOpenError> for AttemptError {
    fn from(error: PostgresOpenError) -> Self {
        Self::Failed(error)
    }
}

/// Runs the missing migrations, all in one transaction. `statement` is the timeout of each statement; 0 = none. `progress` is
/// told what it waits for.
pub(crate) async fn migrate(
    options: &PgConnectOptions,
    statement: Duration,
    wait: MigrationWait,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Migrated, PostgresOpenError> {
    let end = Instant::now() + wait.total;
    let mut pause = wait.lock;
    let holders = Mutex::new(String::new());
    loop {
        let mut connection = connect_to_migrate(options).await?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| PostgresOpenError(cannot_migrate(&error)))?;
        // Before the attempt: a lock is waited for only shortly.
        let watching = tokio::time::timeout(CONNECT_MAX, options.connect()).await;
        let watching = watching.ok().and_then(Result::ok);
        let attempted = tokio::select! {
            attempted = attempt(&mut connection, statement, wait, end) => attempted,
            never = watch(watching, pid, wait.lock, &holders, progress) => match never {},
        };
        let error = match attempted {
            Ok(migrated) => {
                let _ = connection.close().await;
                return Ok(migrated);
            }
            Err(AttemptError::Failed(error)) => return Err(error),
            Err(AttemptError::Locked(error)) => error,
        };
        // Also what it has queued behind it goes on now.
        let _ = connection.close().await;
        let holders = std::mem::take(&mut *lock(&holders));
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let holders = match holders.is_empty() {
                true => String::new(),
                false => format!(" that {holders} held"),
            };
            return Err(PostgresOpenError(format!(
                "{error}: it waited {} s for a lock{holders}. Nothing is changed; end that session, or repeat with a longer \
                 --wait",
                wait.total.as_secs()
            )));
        }
        let next = pause.min(left);
        progress(&format!(
            "the attempt is undone, so that other sessions go on; the next one is in {} s, and the last one in {} s",
            next.as_secs_f32().ceil(),
            left.as_secs()
        ));
        tokio::time::sleep(next).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Looks, while the session `pid` waits for a lock, which sessions have it, and tells that once. Never returns. Without a
/// connection it looks at nothing.
async fn watch(
    watching: Option<PgConnection>,
    pid: i32,
    lock_wait: Duration,
    holders: &Mutex<String>,
    progress: &(dyn Fn(&str) + Sync),
) -> Infallible {
    let Some(mut connection) = watching else {
        return std::future::pending().await;
    };
    let pause = (lock_wait / 8).max(Duration::from_millis(20));
    loop {
        tokio::time::sleep(pause).await;
        // Of several, the one that is oldest.
        let found: Result<Vec<Holder>, sqlx::Error> = sqlx::query_as(
            "SELECT a.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''), coalesce(a.state, ''),
                 coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::bigint, left(coalesce(a.query, ''), 200)
             FROM pg_stat_activity a WHERE a.pid = ANY(pg_blocking_pids($1)) ORDER BY a.xact_start, a.pid LIMIT 3",
        )
        .bind(pid)
        .fetch_all(&mut connection)
        .await;
        let Some(first) = found.ok().and_then(|found| found.into_iter().next()) else {
            continue;
        };
        let mut known = lock(holders);
        if known.is_empty() {
            progress(&format!(
                "waiting for a lock that {} has",
                described(&first)
            ));
        }
        *known = described(&first);
    }
}

/// Process, application, role, state, seconds of its transaction, and the latest statement of a session.
type Holder = (i32, String, String, String, i64, String);

fn described((pid, application, role, state, seconds, query): &Holder) -> String {
    let query: Vec<&str> = query.split_whitespace().collect();
    let query: String = query.join(" ").chars().take(100).collect();
    format!(
        "the session {pid} of PostgreSQL ({application:?}, role {role:?}, {state}, in a transaction for {seconds} s, \
         latest statement: {query})"
    )
}

async fn connect_to_migrate(options: &PgConnectOptions) -> Result<PgConnection, PostgresOpenError> {
    let connected = match tokio::time::timeout(CONNECT_MAX, connect(options)).await {
        Ok(connected) => connected,
        Err(_) => Err(late(CONNECT_MAX).into()),
    };
    connected.map_err(|error| match error {
        CheckError::Unusable(error) => error,
        CheckError::Unavailable(error) => PostgresOpenError(format!(
            "{}; is the server that database.url names running?",
            error.detail
        )),
    })
}

/// Migrates, unless a lock of another session prevents it.
async fn attempt(
    connection: &mut PgConnection,
    statement: Duration,
    wait: MigrationWait,
    end: Instant,
) -> Result<Migrated, AttemptError> {
    let failed = |error: sqlx::Error| attempt_error(&error);
    check_encoding(connection).await.map_err(failed)??;
    let mut transaction = connection.begin().await.map_err(failed)?;
    // Nobody waits behind this one: another process may be migrating, and may take long.
    let left = end.saturating_duration_since(Instant::now()).max(wait.lock);
    limit(&mut transaction, statement, left)
        .await
        .map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    limit(&mut transaction, statement, wait.lock)
        .await
        .map_err(failed)?;
    let found = version(&mut transaction)
        .await
        .map_err(failed)?
        .unwrap_or(0);
    if !is_usable_newer(&mut transaction, found)
        .await
        .map_err(failed)?
    {
        return Err(newer(found).into());
    }
    if (1..SCHEMA_USABLE_FROM.cast_signed()).contains(&found) {
        // Programs that know this version only cannot go on: what they write is committed before, or refused after.
        sqlx::raw_sql("LOCK TABLE wattpost_schema IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    if found < LATEST {
        for sql in MIGRATIONS.iter().skip(found.unsigned_abs() as usize) {
            sqlx::raw_sql(*sql)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        if found < LETTERS_DESCRIBED {
            dead_letters::describe_all(&mut transaction)
                .await
                .map_err(failed)?;
        }
        sqlx::raw_sql("DELETE FROM wattpost_schema")
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO wattpost_schema VALUES ($1)")
            .bind(LATEST)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(note_name(LATEST.unsigned_abs()))
        .bind(i64::from(SCHEMA_USABLE_FROM))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    // Maintenance creates the other partitions, after it has moved the rows that prevent it.
    sqlx::query("SELECT wattpost_maintain((extract(epoch FROM now()) * 1000)::bigint, 0, false)")
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(Migrated {
        from: found.unsigned_abs(),
        to: LATEST.max(found).unsigned_abs(),
    })
}

/// Sets the timeouts of the statements of a transaction, for each statement and for each lock. 0 = none.
async fn limit(
    connection: &mut PgConnection,
    statement: Duration,
    lock: Duration,
) -> Result<(), sqlx::Error> {
    let (statement, lock) = (statement.as_millis(), lock.as_millis().min(MILLIS_MAX));
    let limits =
        format!("SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(limits))
        .execute(connection)
        .await
        .map(|_| ())
}

/// The longest timeout that PostgreSQL takes, in milliseconds.
const MILLIS_MAX: u128 = i32::MAX as u128;

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, CheckError> {
    let error = match options.connect().await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    let detail = error::detail(&error);
    let sentence = match error::code(&error).as_str() {
        "28P01" => format!(
            "PostgreSQL refuses the user or the password in database.url: {detail}; correct them there"
        ),
        "28000" => format!(
            "PostgreSQL refuses connections of the user in database.url: {detail}; correct the user there, or allow \
             it in pg_hba.conf"
        ),
        "3D000" => format!(
            "the database that database.url names does not exist: {detail}; create it with `createdb`, then run \
             `wattpost migrate`"
        ),
        "42501" => {
            format!("the role in database.url may not use its database: {detail}; grant it CONNECT")
        }
        _ => match error {
            sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => {
                format!("database.url cannot be used: {detail}; see docs/database.md")
            }
            _ => return Err(CheckError::from(Refusal::unreachable(detail))),
        },
    };
    Err(CheckError::Unusable(PostgresOpenError(sentence)))
}

/// Whether the database can store every text that a charger may send.
async fn check_encoding(
    connection: &mut PgConnection,
) -> Result<Result<(), PostgresOpenError>, sqlx::Error> {
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(connection)
        .await?;
    if encoding == "UTF8" {
        return Ok(Ok(()));
    }
    Ok(Err(PostgresOpenError(format!(
        "the database that database.url names has the encoding {encoding}, which cannot store every text: create \
         one with `createdb --encoding=UTF8 --template=template0` and name that"
    ))))
}

/// The schema's version; `None` when there is none.
async fn version(connection: &mut PgConnection) -> Result<Option<i32>, sqlx::Error> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('wattpost_schema') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT version FROM wattpost_schema")
        .fetch_optional(connection)
        .await
}

/// Whether the schema `found` is not newer than this build's, or is noted as usable by this build.
async fn is_usable_newer(connection: &mut PgConnection, found: i32) -> Result<bool, sqlx::Error> {
    if found <= LATEST {
        return Ok(true);
    }
    let note: Option<i64> = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
        .bind(note_name(found.unsigned_abs()))
        .fetch_optional(connection)
        .await?;
    Ok(is_usable(LATEST.unsigned_abs(), note))
}

/// Whether the role has the rights on tables that `grants.sql` lists. A right that is missing would show only when the first
/// message needs it, perhaps hours after an upgrade, and then nothing of its batch could be stored.
async fn check_rights(connection: &mut PgConnection) -> Result<(), CheckError> {
    let (tables, rights): (Vec<&str>, Vec<&str>) = rights(GRANTS).into_iter().unzip();
    let missing: Option<(String, String, String)> = sqlx::query_as(
        "SELECT r.name, r.needed, current_user::text FROM unnest($1::text[], $2::text[]) r (name, needed)
         WHERE NOT has_table_privilege(to_regclass(r.name), r.needed) LIMIT 1",
    )
    .bind(tables)
    .bind(rights)
    .fetch_optional(connection)
    .await
    .map_err(|error| check_error(&error))?;
    missing.map_or(Ok(()), |(table, right, role)| {
        Err(CheckError::Unusable(PostgresOpenError(format!(
            "the role {role} of database.url has no right to {right} on the table {table}: run `grants.sql` as the owner of \
             the tables, again after each `wattpost migrate` (docs/database.md)"
        ))))
    })
}

/// Table and right of each line of `grants` about tables.
fn rights(grants: &str) -> Vec<(&str, &str)> {
    let grants = grants.lines().filter_map(|line| {
        let (rights, tables) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
        Some((rights, tables.split_once(" TO ")?.0))
    });
    grants
        .flat_map(|(rights, tables)| {
            tables
                .split(", ")
                .flat_map(move |table| rights.split(", ").map(move |right| (table, right)))
        })
        .collect()
}

/// Refuses, inside the caller's transaction, to write to a database that a newer program has migrated while this one
/// runs, and that this one cannot use. `version` was read in the same transaction: until it ends, its lock on the table
/// keeps such a migration waiting.
pub(crate) async fn refuse_newer(
    connection: &mut PgConnection,
    version: Option<i32>,
) -> Result<(), Refusal> {
    let found = version.unwrap_or(0);
    match is_usable_newer(connection, found).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::Newer {
            found: found.unsigned_abs(),
            known: LATEST.unsigned_abs(),
        }),
        Err(error) => Err(error::refusal(error)),
    }
}

fn check_error(error: &sqlx::Error) -> CheckError {
    let detail = error::detail(error);
    match error::code(error).as_str() {
        "42501" => CheckError::Unusable(PostgresOpenError(format!(
            "the role in database.url may not read Wattpost's tables: {detail}; grant it what docs/database.md \
             lists"
        ))),
        _ => CheckError::from(Refusal::unreachable(detail)),
    }
}

fn newer(found: i32) -> PostgresOpenError {
    PostgresOpenError(format!(
        "the database that database.url names has schema version {found}, and this program knows up to \
         {LATEST}; use the newer program"
    ))
}

fn attempt_error(error: &sqlx::Error) -> AttemptError {
    let sentence = PostgresOpenError(cannot_migrate(error));
    match error::code(error).as_str() {
        // A lock that was not given in time, or two sessions that waited for each other.
        "55P03" | "40P01" => AttemptError::Locked(sentence),
        _ => AttemptError::Failed(sentence),
    }
}

fn cannot_migrate(error: &sqlx::Error) -> String {
    let detail = error::detail(error);
    match error::code(error).as_str() {
        "42501" => format!(
            "the role in database.url may not create or change tables: {detail}; migrate as the owner of the \
             database (docs/database.md)"
        ),
        "42P07" | "42710" => format!(
            "the database that database.url names has tables of another program: {detail}; name a \
             database of Wattpost's own"
        ),
        _ => format!("migrate the database: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_of_the_file_about_tables() {
        let all = rights(GRANTS);
        assert!(all.contains(&("wattpost_schema", "SELECT")));
        assert!(all.contains(&("token_refusals", "DELETE")));
        assert!(!all.contains(&("messages", "UPDATE")));
        assert!(
            all.iter().all(|(table, _)| !table.contains([' ', '('])),
            "{all:?}"
        );
        assert!(all.len() > 100, "{}", all.len());
    }
}
