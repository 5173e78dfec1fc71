//! Merges changes into the stored states: load, merge, write.
//!
//! The writer caches what it last wrote, so that a state which every batch changes is not read and parsed each
//! time. The cache is only valid while no other connection writes; the writer checks that at the start of every
//! transaction and otherwise clears it.

use super::listing;
use crate::event_log::Queued;
use crate::listing::{Listed, Outline};
use crate::refusal::Refusal;
use crate::sqlite::numbers::Numbers;
use crate::state::{SetAside, State, clear_if_many, merge_into, parse};
use crate::succession::{Order, PlaceOf};
use central::model::{ChargerState, ConnectorState, GatewayState, TransactionState};
use central::project::Changes;
use common::clock::now_ms;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The writer's cache of stored states: committed rows and the open transaction's.
#[derive(Debug, Default)]
pub(crate) struct States {
    gateways: HashMap<i64, GatewayState>,
    chargers: HashMap<i64, ChargerState>,
    connectors: HashMap<(i64, i64, i64), ConnectorState>,
    transactions: HashMap<(i64, String), Transaction>,
    /// What the current batch has changed, for the log of events.
    pub(crate) changed: Vec<Queued>,
}

#[derive(Debug, Default)]
struct Transaction {
    /// Its row; `None` before it has one.
    no: Option<i64>,
    state: TransactionState,
}

impl States {
    /// Clears the cache: after a rollback it may be wrong.
    pub(crate) fn clear(&mut self) {
        self.gateways.clear();
        self.chargers.clear();
        self.connectors.clear();
        self.transactions.clear();
    }

    /// Merges all changed states into the stored ones, inside the caller's transaction. Returns where sessions of a
    /// connector have changed.
    pub(crate) fn merge(
        &mut self,
        connection: &Connection,
        numbers: &mut Numbers,
        changes: &Changes,
    ) -> Result<Vec<(PlaceOf<i64>, Order)>, Refusal> {
        self.changed.clear();
        self.clear_when_many();
        self.merge_gateways(connection, numbers, changes)?;
        self.merge_chargers(connection, numbers, changes)?;
        self.merge_connectors(connection, numbers, changes)?;
        let listed = self.merge_transactions(connection, numbers, changes)?;
        let commands = super::commands::merge(connection, changes)?;
        self.changed.extend(commands);
        Ok(listed)
    }

    fn clear_when_many(&mut self) {
        clear_if_many(&mut self.chargers);
        clear_if_many(&mut self.connectors);
        clear_if_many(&mut self.transactions);
    }

    fn merge_gateways(
        &mut self,
        connection: &Connection,
        numbers: &mut Numbers,
        changes: &Changes,
    ) -> Result<(), Refusal> {
        let mut read = connection.prepare_cached("SELECT state FROM gateways WHERE no = ?1")?;
        let mut write =
            connection.prepare_cached("UPDATE gateways SET state = ?2 WHERE no = ?1")?;
        for (id, incoming) in &changes.gateways {
            let no = numbers.gateway(connection, *id)?;
            let held = match self.gateways.entry(no) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(place) => {
                    let json: Option<String> = read.query_row([no], |row| row.get(0))?;
                    place.insert(read_state(connection, json, || format!("gateway {id}"))?)
                }
            };
            if let Some(json) = merge_into(held, incoming)? {
                write.execute(params![no, json])?;
            }
        }
        Ok(())
    }

    fn merge_chargers(
        &mut self,
        connection: &Connection,
        numbers: &mut Numbers,
        changes: &Changes,
    ) -> Result<(), Refusal> {
        let mut read = connection.prepare_cached("SELECT state FROM chargers WHERE no = ?1")?;
        let mut write =
            connection.prepare_cached("UPDATE chargers SET state = ?2 WHERE no = ?1")?;
        for (key, incoming) in &changes.chargers {
            let no = numbers.charger_with_key(connection, key)?;
            let held = match self.chargers.entry(no) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(place) => {
                    let json: Option<Option<String>> =
                        read.query_row([no], |row| row.get(0)).optional()?;
                    let what = || format!("charger {key}");
                    place.insert(read_state(connection, json.flatten(), what)?)
                }
            };
            if let Some(json) = merge_into(held, incoming)? {
                write.execute(params![no, json])?;
            }
        }
        Ok(())
    }

    fn merge_connectors(
        &mut self,
        connection: &Connection,
        numbers: &mut Numbers,
        changes: &Changes,
    ) -> Result<(), Refusal> {
        let mut read = connection.prepare_cached(
            "SELECT state FROM connectors WHERE charger_no = ?1 AND evse = ?2 AND connector = ?3",
        )?;
        let mut write = connection.prepare_cached(
            "INSERT INTO connectors (charger_no, evse, connector, state) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (charger_no, evse, connector) DO UPDATE SET state = excluded.state",
        )?;
        for ((key, evse, connector), incoming) in &changes.connectors {
            let no = numbers.charger_with_key(connection, key)?;
            let held = match self.connectors.entry((no, *evse, *connector)) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(place) => {
                    let json: Option<String> = read
                        .query_row(params![no, evse, connector], |row| row.get(0))
                        .optional()?;
                    let what = || format!("connector {evse}/{connector} of {key}");
                    place.insert(read_state(connection, json, what)?)
                }
            };
            let before = held.clone();
            if let Some(json) = merge_into(held, incoming)? {
                if held.differs_from(&before) {
                    self.changed.push(Queued::connector(no, *evse, *connector));
                }
                write.execute(params![no, evse, connector, json])?;
            }
        }
        Ok(())
    }

    fn merge_transactions(
        &mut self,
        connection: &Connection,
        numbers: &mut Numbers,
        changes: &Changes,
    ) -> Result<Vec<(PlaceOf<i64>, Order)>, Refusal> {
        let mut read = connection.prepare_cached(
            "SELECT no, state FROM transactions WHERE charger_no = ?1 AND wire_id = ?2",
        )?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO transactions (charger_no, wire_id, state) VALUES (?1, ?2, ?3) RETURNING no",
        )?;
        let mut update =
            connection.prepare_cached("UPDATE transactions SET state = ?2 WHERE no = ?1")?;
        let mut superseded = connection.prepare_cached(
            "SELECT 1 FROM transaction_views WHERE transaction_no = ?1 AND successor IS NOT NULL",
        )?;
        let mut relisted = Vec::new();
        for ((key, wire_id), incoming) in &changes.transactions {
            let charger_no = numbers.charger_with_key(connection, key)?;
            let held = match self.transactions.entry((charger_no, wire_id.clone())) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(place) => {
                    let stored: Option<(i64, String)> = read
                        .query_row(params![charger_no, wire_id], |row| {
                            Ok((row.get(0)?, row.get(1)?))
                        })
                        .optional()?;
                    let (no, json) = stored.unzip();
                    let what = || format!("transaction {wire_id} of {key}");
                    let state = read_state(connection, json, what)?;
                    place.insert(Transaction { no, state })
                }
            };
            let listed = Outline::of(&held.state);
            let Some(json) = merge_into(&mut held.state, incoming)? else {
                continue;
            };
            let no = match held.no {
                Some(no) => {
                    update.execute(params![no, json])?;
                    no
                }
                None => {
                    let no =
                        insert.query_row(params![charger_no, wire_id, json], |row| row.get(0))?;
                    held.no = Some(no);
                    no
                }
            };
            self.changed.push(Queued::transaction(no));
            // A superseded session that still reports is open again.
            if listed != Outline::of(&held.state) || superseded.exists([no])? {
                relisted.push((charger_no, key, wire_id, no));
            }
        }
        let listed: Vec<Listed<'_, i64>> = relisted
            .into_iter()
            .filter_map(|(charger_no, charger, wire_id, transaction_no)| {
                let held = self.transactions.get(&(charger_no, wire_id.clone()))?;
                Some(Listed {
                    charger_no,
                    charger,
                    transaction_no,
                    wire_id,
                    state: &held.state,
                })
            })
            .collect();
        listing::write(connection, &listed, &mut self.changed)
    }
}

/// Parses a stored state; see [`SetAside`] for one that cannot be read.
fn read_state<S: State>(
    connection: &Connection,
    json: Option<String>,
    what: impl FnOnce() -> String,
) -> Result<S, Refusal> {
    let Some(json) = json else {
        return Ok(S::default());
    };
    match parse(&json, what) {
        Ok(state) => Ok(state),
        Err(SetAside { what, reason }) => {
            connection
                .prepare_cached(
                    "INSERT INTO set_aside (what, state, reason, at) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![what, json, reason, now_ms()])?;
            Ok(S::default())
        }
    }
}
