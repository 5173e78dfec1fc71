//! Joins messages with the commands that they are the effect of.

use super::commands::merge_states;
use super::event_log;
use super::query::chargers;
use crate::commands::{CLAIMED_COLUMNS, ClaimedRow, effect_keys, first_received};
use crate::event_log::{Change, Queued};
use crate::paging::at_most;
use crate::refusal::Refusal;
use crate::sqlite::listing::uuid_of;
use crate::state::read_transaction;
use central::effect::{self, COMMANDS_PER_KEY_MAX};
use central::model::{ChargerKey, EffectState, StoredCommand};
use central::{Record, RecordId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

/// Joins these records with commands, inside the caller's transaction.
pub(crate) fn join(
    connection: &Connection,
    records: &[(RecordId, Record<'_>)],
) -> Result<(), Refusal> {
    let keys = effect_keys(records);
    if keys.is_empty() {
        return Ok(());
    }
    let mut find = connection.prepare_cached(&format!(
        "SELECT {CLAIMED_COLUMNS} FROM commands c INDEXED BY commands_by_effect
         WHERE c.charger_key = ?1 AND c.effect_key = ?2 AND c.stage = 1 AND c.effect_until > ?3
         ORDER BY c.no DESC LIMIT ?4"
    ))?;
    let since = first_received(records).0;
    let mut commands = Vec::new();
    for (charger, key) in &keys {
        let rows = find.query_map(
            params![charger, key, since, at_most(COMMANDS_PER_KEY_MAX)],
            |row| {
                Ok(ClaimedRow {
                    id: uuid_of(row, 0)?,
                    charger_key: row.get(1)?,
                    action: row.get(2)?,
                    payload: row.get(3)?,
                    gateway: uuid_of(row, 4)?,
                    started: row.get(5)?,
                    next_seq: row.get(6)?,
                    claimed_at: row.get(7)?,
                    until: row.get(8)?,
                })
            },
        )?;
        for row in rows {
            commands.push(row?.command());
        }
    }
    if commands.is_empty() {
        return Ok(());
    }
    let effects = effect::effects(&commands, records);
    let mut changed = Vec::new();
    merge_states(
        connection,
        "command_effects",
        &effects,
        |id, before: &EffectState, now: &EffectState| {
            if now != before {
                changed.push(Queued::command(Change::Effect, id.0, Timestamp(0)));
            }
            Ok(())
        },
    )?;
    event_log::push(connection, changed)
}

/// Adds what is shown of a command and is not in its row: the keys of the transactions that it caused, and whether the
/// charger is absent that it waits for.
pub(crate) fn complete(
    connection: &Connection,
    command: &mut StoredCommand,
) -> Result<(), Refusal> {
    if command.may_wait_for_charger() {
        let key = ChargerKey::of(&command.command.charger_id);
        command.charger_is_absent = !chargers::is_online(connection, &key)?;
    }
    add_keys(connection, command)
}

/// Adds the keys of the transactions that a command caused.
fn add_keys(connection: &Connection, command: &mut StoredCommand) -> Result<(), Refusal> {
    let wire_ids: Vec<String> = command
        .effect
        .transaction_ids()
        .map(str::to_owned)
        .collect();
    if wire_ids.is_empty() {
        return Ok(());
    }
    let charger = command.command.charger_id.clone();
    let key = ChargerKey::of(&charger);
    let mut find = connection.prepare_cached(
        "SELECT t.state FROM chargers c JOIN transactions t ON t.charger_no = c.no
         WHERE c.key = ?1 AND t.wire_id = ?2",
    )?;
    for wire_id in wire_ids {
        let json: Option<String> = find
            .query_row(params![key.as_str(), wire_id], |row| row.get(0))
            .optional()?;
        if let Some(state) = json.and_then(|json| read_transaction(&wire_id, &json)) {
            command.effect.add_key(&charger, &wire_id, &state);
        }
    }
    Ok(())
}
