//! Joins messages with the commands that they are the effect of.

use super::commands::merge_states;
use super::numbers::clean;
use super::query::chargers;
use super::{error, event_log};
use crate::commands::{CLAIMED_COLUMNS, ClaimedRow, effect_keys, first_received};
use crate::event_log::{Change, Queued};
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::state::read_transaction;
use central::effect::{self, COMMANDS_PER_KEY_MAX};
use central::model::{ChargerKey, StoredCommand};
use central::{Record, RecordId, Timestamp};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use std::collections::HashSet;

/// Joins these records with commands, inside the caller's transaction. The rows of the records' chargers are locked
/// already, so that the commands that are found do not depend on other writers.
pub(crate) async fn join(
    connection: &mut PgConnection,
    records: &[(RecordId, Record<'_>)],
) -> Result<(), Refusal> {
    let keys = effect_keys(records);
    if keys.is_empty() {
        return Ok(());
    }
    let (chargers, keys): (Vec<String>, Vec<String>) = keys
        .iter()
        .map(|(charger, key)| (clean(charger).into_owned(), clean(key).into_owned()))
        .unzip();
    // Lateral, so that each key is one look into the index whatever the statistics are.
    let sql = format!(
        "SELECT c.* FROM unnest($1::text[], $2::text[]) AS k (charger_key, effect_key)
         CROSS JOIN LATERAL (
             SELECT {CLAIMED_COLUMNS} FROM commands c
             WHERE c.charger_key = k.charger_key AND c.effect_key = k.effect_key AND c.stage = 1
                 AND c.effect_until > $3
             ORDER BY c.no DESC LIMIT $4) AS c"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(&chargers)
        .bind(&keys)
        .bind(first_received(records).0)
        .bind(at_most(COMMANDS_PER_KEY_MAX))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut commands = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = || {
            Ok(ClaimedRow {
                id: row.try_get(0)?,
                charger_key: row.try_get(1)?,
                action: row.try_get(2)?,
                payload: row.try_get(3)?,
                gateway: row.try_get(4)?,
                started: row.try_get(5)?,
                next_seq: row.try_get(6)?,
                claimed_at: row.try_get(7)?,
                until: row.try_get(8)?,
            })
        };
        commands.push(row().map_err(error::refusal)?.command());
    }
    let effects = effect::effects(&commands, records);
    let mut changed = Vec::new();
    merge_states(connection, "command_effects", &effects, |id, _, _| {
        changed.push(Queued::command(Change::Effect, id.0, Timestamp(0)));
    })
    .await?;
    event_log::push(connection, &changed).await
}

/// Adds what is shown of commands and is not in their rows: the keys of the transactions that they caused, and whether the
/// charger is absent that one waits for.
pub(crate) async fn complete(
    connection: &mut PgConnection,
    mut commands: Vec<&mut StoredCommand>,
) -> Result<(), Refusal> {
    let key = |command: &StoredCommand| {
        let key = ChargerKey::of(&command.command.charger_id);
        clean(key.as_str()).into_owned()
    };
    let waiting = commands.iter().filter(|one| one.may_wait_for_charger());
    let keys: HashSet<String> = waiting.map(|one| key(one)).collect();
    let absent = chargers::absent(connection, keys).await?;
    if !absent.is_empty() {
        for command in &mut commands {
            command.charger_is_absent = absent.contains(&key(command));
        }
    }
    add_keys(connection, commands).await
}

async fn add_keys(
    connection: &mut PgConnection,
    mut commands: Vec<&mut StoredCommand>,
) -> Result<(), Refusal> {
    let (mut places, mut chargers, mut wire_ids) = (Vec::new(), Vec::new(), Vec::new());
    for (place, command) in (0_i64..).zip(&commands) {
        let charger = ChargerKey::of(&command.command.charger_id);
        for wire_id in command.effect.transaction_ids() {
            places.push(place);
            chargers.push(clean(charger.as_str()).into_owned());
            wire_ids.push(clean(wire_id).into_owned());
        }
    }
    if places.is_empty() {
        return Ok(());
    }
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        r"SELECT k.place, t.wire_id, t.state
          FROM unnest($1::bigint[], $2::text[], $3::text[]) AS k (place, charger_key, wire_id)
          JOIN chargers c ON c.key = k.charger_key
          JOIN transactions t ON t.charger_no = c.no AND sha256(replace(t.wire_id, '\', '\\')::bytea)
              = sha256(replace(k.wire_id, '\', '\\')::bytea)",
    )
    .bind(&places)
    .bind(&chargers)
    .bind(&wire_ids)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    for (place, wire_id, json) in rows {
        let command = usize::try_from(place)
            .ok()
            .and_then(|at| commands.get_mut(at));
        if let (Some(command), Some(state)) = (command, read_transaction(&wire_id, &json)) {
            let charger = command.command.charger_id.clone();
            command.effect.add_key(&charger, &wire_id, &state);
        }
    }
    Ok(())
}
