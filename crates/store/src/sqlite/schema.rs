//! Migrates a database to this build's schema, one numbered file at a time. It refuses a database of another
//! program, and one with a newer schema unless it is noted as usable ([`crate::compatible`]): writing to an unknown schema
//! could corrupt it.

use super::{dead_letters, listing, succession};
use crate::compatible::{SCHEMA_USABLE_FROM, is_usable, note_name};
use crate::listing::Listed;
use crate::refusal::Refusal;
use crate::state::read_transaction;
use central::model::ChargerKey;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

/// The migrations, in order; the schema's version is the number of migrations that have run.
const MIGRATIONS: [&str; 31] = [
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_api_keys.sql"),
    include_str!("../../migrations/sqlite/0003_quirks.sql"),
    include_str!("../../migrations/sqlite/0004_succession.sql"),
    include_str!("../../migrations/sqlite/0005_commands.sql"),
    include_str!("../../migrations/sqlite/0006_frame_bytes_max.sql"),
    include_str!("../../migrations/sqlite/0007_tokens.sql"),
    include_str!("../../migrations/sqlite/0008_effects.sql"),
    include_str!("../../migrations/sqlite/0009_changes.sql"),
    include_str!("../../migrations/sqlite/0010_local_lists.sql"),
    include_str!("../../migrations/sqlite/0011_events.sql"),
    include_str!("../../migrations/sqlite/0012_refused_handshakes.sql"),
    include_str!("../../migrations/sqlite/0013_processes.sql"),
    include_str!("../../migrations/sqlite/0014_batches.sql"),
    include_str!("../../migrations/sqlite/0015_discarded_letters.sql"),
    include_str!("../../migrations/sqlite/0016_running_tokens.sql"),
    include_str!("../../migrations/sqlite/0017_letter_events.sql"),
    include_str!("../../migrations/sqlite/0018_users.sql"),
    include_str!("../../migrations/sqlite/0019_webhooks.sql"),
    include_str!("../../migrations/sqlite/0020_password_rotations.sql"),
    include_str!("../../migrations/sqlite/0021_connections.sql"),
    include_str!("../../migrations/sqlite/0022_retention.sql"),
    include_str!("../../migrations/sqlite/0023_sites.sql"),
    include_str!("../../migrations/sqlite/0024_removed_chargers.sql"),
    include_str!("../../migrations/sqlite/0025_disconnects.sql"),
    include_str!("../../migrations/sqlite/0026_alerts.sql"),
    include_str!("../../migrations/sqlite/0027_close_style.sql"),
    include_str!("../../migrations/sqlite/0028_traceparent.sql"),
    include_str!("../../migrations/sqlite/0029_token_use.sql"),
    include_str!("../../migrations/sqlite/0030_unknown_tokens.sql"),
    include_str!("../../migrations/sqlite/0031_alert_site.sql"),
];

/// The migration after which open sessions are listed again, with the columns that it and earlier ones add. It is the
/// last one that adds such columns: the list is written with all of them.
const LISTED_AGAIN: u32 = 16;

/// The migration after which the columns that it adds to dead letters are filled.
const LETTERS_DESCRIBED: u32 = 15;

/// `application_id` of our databases: the bytes `WATT`.
const APPLICATION_ID: i32 = 0x5741_5454;

/// The schema's version that this build writes.
pub(crate) const LATEST: u32 = MIGRATIONS.len() as u32;

/// Runs the missing migrations, each in one transaction. Returns how many were run.
pub(crate) fn migrate(connection: &Connection) -> Result<u32, Refusal> {
    let found = check(connection)?;
    let mut done = 0;
    for (number, sql) in (1..).zip(MIGRATIONS) {
        if number <= found {
            continue;
        }
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        // Another process may have run it while this one waited for the lock.
        if version(&transaction)? < number {
            transaction.execute_batch(sql)?;
            if number == LISTED_AGAIN {
                list_open_again(&transaction)?;
            }
            if number == LETTERS_DESCRIBED {
                dead_letters::describe_all(&transaction)?;
            }
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.execute(
                "INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)",
                (note_name(number), SCHEMA_USABLE_FROM),
            )?;
            done += 1;
        }
        transaction.commit()?;
    }
    Ok(done)
}

/// Writes the rows of open sessions in the list again.
fn list_open_again(connection: &Connection) -> Result<(), Refusal> {
    let numbers: Vec<i64> = connection
        .prepare("SELECT DISTINCT transaction_no FROM transaction_views WHERE open")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for transaction_no in numbers {
        let found: (i64, String, String, String) = connection.query_row(
            "SELECT c.no, c.key, t.wire_id, t.state FROM transactions t JOIN chargers c ON c.no = t.charger_no
             WHERE t.no = ?1",
            [transaction_no],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let (charger_no, charger, wire_id, json) = found;
        let Some(state) = read_transaction(&wire_id, &json) else {
            continue;
        };
        let listed = Listed {
            charger_no,
            charger: &ChargerKey::of(&charger),
            transaction_no,
            wire_id: &wire_id,
            state: &state,
        };
        // An upgrade is no event.
        let mut changed = Vec::new();
        let places = listing::write(connection, &[listed], &mut changed)?;
        succession::settle(connection, places, Vec::new(), &mut changed)?;
    }
    Ok(())
}

/// The schema's version, if this build can migrate or use it.
pub(crate) fn check(connection: &Connection) -> Result<u32, Refusal> {
    // One snapshot: another process may create the tables between two statements, and they would look like those of
    // another program.
    let connection = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let found = refuse_newer(&connection)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application == APPLICATION_ID {
        return Ok(found);
    }
    let any_table: Option<i64> = connection
        .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |row| row.get(0))
        .optional()?;
    if application == 0 && found == 0 && any_table.is_none() {
        return Ok(0);
    }
    Err(Refusal::OtherProgram)
}

/// The schema's version. Refuses, inside the caller's transaction, one that is newer and that this build cannot use: a newer
/// program may have migrated the database while this one runs.
pub(crate) fn refuse_newer(connection: &Connection) -> Result<u32, Refusal> {
    let found = version(connection)?;
    if found > LATEST && !is_usable(LATEST, note(connection, found)?) {
        return Err(Refusal::Newer {
            found,
            known: LATEST,
        });
    }
    Ok(found)
}

/// What the program that migrated the database to this version has noted.
fn note(connection: &Connection, version: u32) -> Result<Option<i64>, Refusal> {
    let has_table = connection
        .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'settings'")?
        .exists([])?;
    if !has_table {
        return Ok(None);
    }
    let note = connection
        .query_row(
            "SELECT CAST(value AS INTEGER) FROM settings WHERE name = ?1",
            [note_name(version)],
            |row| row.get(0),
        )
        .optional()?;
    Ok(note)
}

fn version(connection: &Connection) -> Result<u32, Refusal> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
