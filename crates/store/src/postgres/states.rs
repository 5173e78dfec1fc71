//! Merges changes into the stored states: load, merge, write, one table at a time.
//!
//! Other processes write too. The rows of the batch's gateways and chargers are therefore locked first, in the
//! order of their numbers; these locks serialize the writers of everything that belongs to a charger. The writer
//! caches what it last wrote, so that a state which every batch changes is not read and parsed each time. An
//! outdated cache is detected by the revision stored with each state: a state is written only where the stored
//! revision is the one that was merged onto. Otherwise the whole batch is retried on the current rows.

use super::error;
use super::listing::{self, Lists};
use super::numbers::{Numbers, clean};
use super::succession;
use crate::event_log::Queued;
use crate::listing::{Listed, Outline};
use crate::refusal::Refusal;
use crate::state::{SetAside, State, clear_if_many, merge_into, parse};
use crate::succession::{Order, PlaceOf};
use central::model::{
    ChargerKey, ChargerState, ConnectorState, GatewayState, Merge, TransactionState,
};
use central::ports::UnavailableKind;
use central::project::Changes;
use common::clock::now_ms;
use sqlx::postgres::PgConnection;
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The writer's cache of stored states. It may be behind the database.
#[derive(Debug, Default)]
pub(crate) struct States {
    gateways: HashMap<i32, Cached<GatewayState>>,
    chargers: HashMap<i32, Cached<ChargerState>>,
    connectors: HashMap<ConnectorKey, Cached<ConnectorState>>,
    transactions: HashMap<(i32, String), Cached<TransactionState>>,
    /// When the list of transactions is updated.
    pub(crate) lists: Lists,
    /// What the current batch has changed, for the log of events.
    pub(crate) changed: Vec<Queued>,
}

/// A state with the revision that it was read or written at.
#[derive(Debug, Clone, Default)]
struct Cached<S> {
    state: S,
    /// `None`: there is no row yet.
    rev: Option<i64>,
    /// The row's number, where it has one.
    no: i64,
}

/// Charger number, EVSE, connector.
type ConnectorKey = (i32, i64, i64);

/// A transaction's key, its charger, and what is to be merged.
type Incoming<'a> = ((i32, String), &'a ChargerKey, &'a TransactionState);

/// Rows to be written, each with its position among the incoming states.
struct Written {
    places: Vec<usize>,
    jsons: Vec<String>,
    revs: Vec<i64>,
}

impl Written {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            jsons: Vec::new(),
            revs: Vec::new(),
        }
    }

    fn push(&mut self, place: usize, json: String, rev: i64) {
        self.places.push(place);
        self.jsons.push(json);
        self.revs.push(rev);
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether every row was written.
    fn check(&self, written: u64) -> Result<(), Refusal> {
        if written == self.places.len() as u64 {
            Ok(())
        } else {
            Err(Refusal::unavailable(
                UnavailableKind::Locked,
                "another writer has changed the same state",
            ))
        }
    }
}

impl States {
    /// Clears the cache: after a rollback or a conflict it may be wrong.
    pub(crate) fn clear(&mut self) {
        self.gateways.clear();
        self.chargers.clear();
        self.connectors.clear();
        self.transactions.clear();
    }

    /// Merges all changed states into the stored ones, inside the caller's transaction. Returns where sessions of a
    /// connector have changed.
    pub(crate) async fn merge(
        &mut self,
        connection: &mut PgConnection,
        numbers: &Numbers,
        changes: &Changes,
    ) -> Result<Vec<(PlaceOf<i32>, Order)>, Refusal> {
        self.changed.clear();
        self.clear_when_many();
        // Always sorted and in this order, so that two writers do not deadlock.
        self.merge_gateways(connection, numbers, changes).await?;
        self.merge_chargers(connection, numbers, changes).await?;
        self.merge_connectors(connection, numbers, changes).await?;
        let listed = self
            .merge_transactions(connection, numbers, changes)
            .await?;
        let commands = super::commands::merge(connection, changes).await?;
        self.changed.extend(commands);
        Ok(listed)
    }

    fn clear_when_many(&mut self) {
        clear_if_many(&mut self.chargers);
        clear_if_many(&mut self.connectors);
        clear_if_many(&mut self.transactions);
    }

    async fn merge_gateways(
        &mut self,
        connection: &mut PgConnection,
        numbers: &Numbers,
        changes: &Changes,
    ) -> Result<(), Refusal> {
        let mut incoming = Vec::with_capacity(changes.gateways.len());
        for (id, state) in &changes.gateways {
            incoming.push((numbers.gateway(*id)?, state));
        }
        merge_numbered(connection, &mut self.gateways, incoming, &GATEWAYS).await?;
        Ok(())
    }

    async fn merge_chargers(
        &mut self,
        connection: &mut PgConnection,
        numbers: &Numbers,
        changes: &Changes,
    ) -> Result<(), Refusal> {
        let mut incoming = Vec::with_capacity(changes.chargers.len());
        for (key, state) in &changes.chargers {
            incoming.push((numbers.charger_with_key(key)?, state));
        }
        let stale = merge_numbered(connection, &mut self.chargers, incoming, &CHARGERS).await?;
        if !stale.is_empty() {
            // Another writer has changed these chargers, so the cached states of what belongs to them are
            // outdated.
            self.connectors.retain(|key, _| !stale.contains(&key.0));
            self.transactions.retain(|key, _| !stale.contains(&key.0));
        }
        Ok(())
    }

    async fn merge_connectors(
        &mut self,
        connection: &mut PgConnection,
        numbers: &Numbers,
        changes: &Changes,
    ) -> Result<(), Refusal> {
        let mut incoming = Vec::with_capacity(changes.connectors.len());
        for ((key, evse, connector), state) in &changes.connectors {
            incoming.push(((numbers.charger_with_key(key)?, *evse, *connector), state));
        }
        incoming.sort_by_key(|(key, _)| *key);
        self.load_connectors(connection, &incoming).await?;
        let (mut updates, mut inserts) = (Written::new(), Written::new());
        for (place, (key, state)) in incoming.iter().enumerate() {
            let kept = self.connectors.entry(*key).or_default();
            let before = kept.state.clone();
            if let Some(json) = merge_into(&mut kept.state, state)? {
                if kept.state.differs_from(&before) {
                    let (charger_no, evse, connector) = *key;
                    self.changed
                        .push(Queued::connector(charger_no.into(), evse, connector));
                }
                match kept.rev {
                    Some(rev) => updates.push(place, json, rev),
                    None => inserts.push(place, json, 0),
                }
                kept.rev = Some(kept.rev.map_or(0, |rev| rev + 1));
            }
        }
        write_connectors(connection, &incoming, &updates, UPDATE_CONNECTORS).await?;
        write_connectors(connection, &incoming, &inserts, INSERT_CONNECTORS).await
    }

    async fn load_connectors(
        &mut self,
        connection: &mut PgConnection,
        incoming: &[(ConnectorKey, &ConnectorState)],
    ) -> Result<(), Refusal> {
        let unknown: Vec<ConnectorKey> = incoming
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| !self.connectors.contains_key(key))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let (chargers, evses, connectors) = columns(&unknown);
        let rows: Vec<(i32, i64, i64, String, i64)> = sqlx::query_as(
            "SELECT charger_no, evse, connector, state, rev FROM connectors
             JOIN unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (charger_no, evse, connector)
             USING (charger_no, evse, connector)",
        )
        .bind(&chargers)
        .bind(&evses)
        .bind(&connectors)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
        for (charger, evse, connector, json, rev) in rows {
            let what = || format!("connector {evse}/{connector} of charger {charger}");
            let state = read_state(connection, Some(json), what).await?;
            let kept = Cached {
                state,
                rev: Some(rev),
                no: 0,
            };
            self.connectors.insert((charger, evse, connector), kept);
        }
        Ok(())
    }

    async fn merge_transactions(
        &mut self,
        connection: &mut PgConnection,
        numbers: &Numbers,
        changes: &Changes,
    ) -> Result<Vec<(PlaceOf<i32>, Order)>, Refusal> {
        // Two ids on the wire may be one in the database, which cannot store U+0000.
        let mut by_key: BTreeMap<(i32, String), (&ChargerKey, Cow<'_, TransactionState>)> =
            BTreeMap::new();
        for ((key, wire_id), state) in &changes.transactions {
            let no = numbers.charger_with_key(key)?;
            match by_key.entry((no, clean(wire_id).into_owned())) {
                Entry::Vacant(place) => {
                    place.insert((key, Cow::Borrowed(state)));
                }
                Entry::Occupied(mut place) => place.get_mut().1.to_mut().merge(state.clone()),
            }
        }
        let incoming: Vec<Incoming<'_>> = by_key
            .iter()
            .map(|(key, (charger, state))| (key.clone(), *charger, &**state))
            .collect();
        self.load_transactions(connection, &incoming).await?;
        let (mut updates, mut inserts) = (Written::new(), Written::new());
        let (mut relisted, mut others) = (Vec::new(), HashMap::new());
        for (place, (key, _, state)) in incoming.iter().enumerate() {
            let kept = self.transactions.entry(key.clone()).or_default();
            let outline = Outline::of(&kept.state);
            let Some(json) = merge_into(&mut kept.state, state)? else {
                continue;
            };
            match kept.rev {
                Some(rev) => updates.push(place, json, rev),
                None => inserts.push(place, json, 0),
            }
            kept.rev = Some(kept.rev.map_or(0, |rev| rev + 1));
            if outline != Outline::of(&kept.state) {
                relisted.push(place);
            } else {
                others.insert(kept.no, place);
            }
        }
        // A superseded session that still reports is open again.
        let numbers: Vec<i64> = others.keys().copied().collect();
        let superseded = succession::superseded(connection, &numbers).await?;
        relisted.extend(superseded.iter().filter_map(|no| others.get(no)));
        self.update_transactions(connection, &incoming, &updates)
            .await?;
        self.insert_transactions(connection, &incoming, &inserts)
            .await?;
        for place in updates.places.iter().chain(&inserts.places) {
            if let Some(kept) = self.transactions.get(&incoming[*place].0) {
                self.changed.push(Queued::transaction(kept.no));
            }
        }
        let mut listed = Vec::with_capacity(relisted.len());
        for place in relisted {
            let (key, charger, _) = &incoming[place];
            if let Some(kept) = self.transactions.get(key) {
                listed.push(Listed {
                    charger_no: key.0,
                    charger,
                    transaction_no: kept.no,
                    wire_id: &key.1,
                    state: &kept.state,
                });
            }
        }
        match self.lists {
            Lists::Now => listing::write(connection, &listed, &mut self.changed).await,
            Lists::Later => {
                listing::postpone(connection, &listed).await?;
                Ok(Vec::new())
            }
        }
    }

    async fn load_transactions(
        &mut self,
        connection: &mut PgConnection,
        incoming: &[Incoming<'_>],
    ) -> Result<(), Refusal> {
        let unknown: Vec<&(i32, String)> = incoming
            .iter()
            .map(|(key, _, _)| key)
            .filter(|key| !self.transactions.contains_key(*key))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let chargers: Vec<i32> = unknown.iter().map(|key| key.0).collect();
        let wire_ids: Vec<&str> = unknown.iter().map(|key| key.1.as_str()).collect();
        let rows: Vec<(i64, i32, String, String, i64)> = sqlx::query_as(
            r"SELECT t.no, t.charger_no, t.wire_id, t.state, t.rev
              FROM unnest($1::int[], $2::text[]) AS k (charger_no, wire_id)
              JOIN transactions t ON t.charger_no = k.charger_no AND sha256(replace(t.wire_id, '\', '\\')::bytea)
                  = sha256(replace(k.wire_id, '\', '\\')::bytea)",
        )
        .bind(&chargers)
        .bind(&wire_ids)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
        for (no, charger, wire_id, json, rev) in rows {
            let what = || format!("transaction {wire_id} of charger {charger}");
            let state = read_state(connection, Some(json), what).await?;
            let kept = Cached {
                state,
                rev: Some(rev),
                no,
            };
            self.transactions.insert((charger, wire_id), kept);
        }
        Ok(())
    }

    async fn update_transactions(
        &self,
        connection: &mut PgConnection,
        incoming: &[Incoming<'_>],
        updates: &Written,
    ) -> Result<(), Refusal> {
        if updates.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = updates
            .places
            .iter()
            .filter_map(|&place| self.transactions.get(&incoming[place].0))
            .map(|kept| kept.no)
            .collect();
        let done = sqlx::query(
            "UPDATE transactions t SET state = u.state, rev = t.rev + 1
             FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS u (no, state, rev)
             WHERE t.no = u.no AND t.rev = u.rev",
        )
        .bind(&numbers)
        .bind(&updates.jsons)
        .bind(&updates.revs)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
        updates.check(done.rows_affected())
    }

    async fn insert_transactions(
        &mut self,
        connection: &mut PgConnection,
        incoming: &[Incoming<'_>],
        inserts: &Written,
    ) -> Result<(), Refusal> {
        if inserts.is_empty() {
            return Ok(());
        }
        let keys = || inserts.places.iter().map(|&place| &incoming[place].0);
        let chargers: Vec<i32> = keys().map(|key| key.0).collect();
        let wire_ids: Vec<&str> = keys().map(|key| key.1.as_str()).collect();
        let rows: Vec<(i64, i32, String)> = sqlx::query_as(
            "INSERT INTO transactions (charger_no, wire_id, state, rev)
             SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[])
             ON CONFLICT DO NOTHING RETURNING no, charger_no, wire_id",
        )
        .bind(&chargers)
        .bind(&wire_ids)
        .bind(&inserts.jsons)
        .bind(&inserts.revs)
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
        inserts.check(rows.len() as u64)?;
        let numbers: HashMap<(i32, String), i64> = rows
            .into_iter()
            .map(|(no, charger, wire_id)| ((charger, wire_id), no))
            .collect();
        for key in keys() {
            if let (Some(kept), Some(no)) = (self.transactions.get_mut(key), numbers.get(key)) {
                kept.no = *no;
            }
        }
        Ok(())
    }
}

const UPDATE_CONNECTORS: &str = "UPDATE connectors t SET state = u.state, rev = t.rev + 1
     FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])
         AS u (charger_no, evse, connector, state, rev)
     WHERE t.charger_no = u.charger_no AND t.evse = u.evse AND t.connector = u.connector
         AND t.rev = u.rev";

const INSERT_CONNECTORS: &str = "INSERT INTO connectors (charger_no, evse, connector, state, rev)
     SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])
     ON CONFLICT DO NOTHING";

async fn write_connectors(
    connection: &mut PgConnection,
    incoming: &[(ConnectorKey, &ConnectorState)],
    written: &Written,
    sql: &'static str,
) -> Result<(), Refusal> {
    if written.is_empty() {
        return Ok(());
    }
    let keys: Vec<ConnectorKey> = written
        .places
        .iter()
        .map(|&place| incoming[place].0)
        .collect();
    let (chargers, evses, connectors) = columns(&keys);
    let done = sqlx::query(sql)
        .bind(&chargers)
        .bind(&evses)
        .bind(&connectors)
        .bind(&written.jsons)
        .bind(&written.revs)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    written.check(done.rows_affected())
}

/// Keys of connectors, as one array per column.
fn columns(keys: &[ConnectorKey]) -> (Vec<i32>, Vec<i64>, Vec<i64>) {
    let chargers = keys.iter().map(|key| key.0).collect();
    let evses = keys.iter().map(|key| key.1).collect();
    (chargers, evses, keys.iter().map(|key| key.2).collect())
}

/// A table whose rows have a number, and a state once something is known.
struct Numbered {
    lock: &'static str,
    read: &'static str,
    write: &'static str,
    what: &'static str,
}

const GATEWAYS: Numbered = Numbered {
    lock: "SELECT no, rev FROM gateways WHERE no = ANY($1) ORDER BY no FOR NO KEY UPDATE",
    read: "SELECT no, state, rev FROM gateways WHERE no = ANY($1)",
    write: "UPDATE gateways t SET state = u.state, rev = t.rev + 1
            FROM unnest($1::int[], $2::text[], $3::bigint[]) AS u (no, state, rev)
            WHERE t.no = u.no AND t.rev = u.rev",
    what: "gateway",
};

const CHARGERS: Numbered = Numbered {
    lock: "SELECT no, rev FROM chargers WHERE no = ANY($1) ORDER BY no FOR NO KEY UPDATE",
    read: "SELECT no, state, rev FROM chargers WHERE no = ANY($1)",
    write: "UPDATE chargers t SET state = u.state, rev = t.rev + 1
            FROM unnest($1::int[], $2::text[], $3::bigint[]) AS u (no, state, rev)
            WHERE t.no = u.no AND t.rev = u.rev",
    what: "charger",
};

/// Locks, loads, merges and writes; returns the numbers of the rows that another writer has changed since they
/// were cached.
async fn merge_numbered<S: State>(
    connection: &mut PgConnection,
    kept: &mut HashMap<i32, Cached<S>>,
    mut incoming: Vec<(i32, &S)>,
    table: &Numbered,
) -> Result<HashSet<i32>, Refusal> {
    let mut stale = HashSet::new();
    if incoming.is_empty() {
        return Ok(stale);
    }
    incoming.sort_by_key(|(no, _)| *no);
    let locked: Vec<(i32, i64)> = sqlx::query_as(table.lock)
        .bind(incoming.iter().map(|(no, _)| *no).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    for (no, rev) in locked {
        if kept.get(&no).is_some_and(|kept| kept.rev != Some(rev)) {
            kept.remove(&no);
            stale.insert(no);
        }
    }
    let unknown: Vec<i32> = incoming
        .iter()
        .map(|(no, _)| *no)
        .filter(|no| !kept.contains_key(no))
        .collect();
    if !unknown.is_empty() {
        let rows: Vec<(i32, Option<String>, i64)> = sqlx::query_as(table.read)
            .bind(&unknown)
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
        for (no, json, rev) in rows {
            let what = || format!("{} {no}", table.what);
            let state = read_state(connection, json, what).await?;
            let rev = Some(rev);
            kept.insert(no, Cached { state, rev, no: 0 });
        }
    }
    let mut updates = Written::new();
    for (place, (no, state)) in incoming.iter().enumerate() {
        let held = kept.entry(*no).or_default();
        if let Some(json) = merge_into(&mut held.state, state)? {
            let rev = held.rev.unwrap_or(-1);
            updates.push(place, json, rev);
            held.rev = Some(rev + 1);
        }
    }
    if updates.is_empty() {
        return Ok(stale);
    }
    let numbers: Vec<i32> = updates
        .places
        .iter()
        .map(|&place| incoming[place].0)
        .collect();
    let done = sqlx::query(table.write)
        .bind(&numbers)
        .bind(&updates.jsons)
        .bind(&updates.revs)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    updates.check(done.rows_affected())?;
    Ok(stale)
}

/// Parses a stored state; see [`SetAside`] for one that cannot be read.
pub(crate) async fn read_state<S: State>(
    connection: &mut PgConnection,
    json: Option<String>,
    what: impl FnOnce() -> String,
) -> Result<S, Refusal> {
    let Some(json) = json else {
        return Ok(S::default());
    };
    match parse(&json, what) {
        Ok(state) => Ok(state),
        Err(SetAside { what, reason }) => {
            sqlx::query("INSERT INTO set_aside (what, state, reason, at) VALUES ($1, $2, $3, $4)")
                .bind(what)
                .bind(json.into_bytes())
                .bind(reason)
                .bind(now_ms())
                .execute(connection)
                .await
                .map_err(error::refusal)?;
            Ok(S::default())
        }
    }
}
