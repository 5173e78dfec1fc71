//! Reads all tables, for [`crate::contents`].

use crate::contents::{DeadLetterEntry, Tables, json};
use crate::refusal::Refusal;
use crate::sqlite::SqliteStore;
use crate::sqlite::listing::uuid_of;
use crate::sqlite::numbers::charger_key;
use central::memory::Contents;
use central::model::{
    CommandId, EventRow, MeterValueRow, QuirkCount, QuirkCounts, UnknownTokenCount,
    UnknownTokenCounts,
};
use central::ports::Unavailable;
use central::project::Changes;
use central::{GatewayId, Quirk, RecordId, Seq, Timestamp};
use rusqlite::{Connection, Row};

impl SqliteStore {
    /// The whole contents, read into memory: for small databases, in tests.
    ///
    /// # Errors
    /// When the database cannot be read now.
    pub fn contents(&self) -> Result<Contents, Unavailable> {
        let tables = self.readers.read(|connection| {
            Ok(Tables {
                states: states(connection)?,
                meter_values: meter_values(connection)?,
                events: events(connection)?,
                dead_letters: dead_letters(connection)?,
                quirks: quirks(connection)?,
                unknown_tokens: unknown_tokens(connection)?,
            })
        });
        tables
            .map_err(Refusal::into_unavailable)?
            .with_records(self)
    }
}

fn states(connection: &Connection) -> Result<Changes, Refusal> {
    let mut changes = Changes::default();
    each(
        connection,
        "SELECT id, state FROM gateways WHERE state IS NOT NULL",
        |row| {
            changes.gateways.insert(
                GatewayId(uuid_of(row, 0)?),
                json(&row.get::<_, String>(1)?)?,
            );
            Ok(())
        },
    )?;
    each(
        connection,
        "SELECT key, state FROM chargers WHERE state IS NOT NULL",
        |row| {
            changes
                .chargers
                .insert(charger_key(row, 0)?, json(&row.get::<_, String>(1)?)?);
            Ok(())
        },
    )?;
    let connectors = "SELECT c.key, s.evse, s.connector, s.state
        FROM connectors s JOIN chargers c ON c.no = s.charger_no";
    each(connection, connectors, |row| {
        let key = (charger_key(row, 0)?, row.get(1)?, row.get(2)?);
        changes
            .connectors
            .insert(key, json(&row.get::<_, String>(3)?)?);
        Ok(())
    })?;
    let transactions = "SELECT c.key, s.wire_id, s.state
        FROM transactions s JOIN chargers c ON c.no = s.charger_no";
    each(connection, transactions, |row| {
        let key = (charger_key(row, 0)?, row.get(1)?);
        changes
            .transactions
            .insert(key, json(&row.get::<_, String>(2)?)?);
        Ok(())
    })?;
    each(
        connection,
        "SELECT id, state FROM command_progress",
        |row| {
            let id = CommandId(uuid_of(row, 0)?);
            changes
                .commands
                .insert(id, json(&row.get::<_, String>(1)?)?);
            Ok(())
        },
    )?;
    let effects = "SELECT id, state FROM command_effects";
    each(connection, effects, |row| {
        let id = CommandId(uuid_of(row, 0)?);
        changes.effects.insert(id, json(&row.get::<_, String>(1)?)?);
        Ok(())
    })?;
    Ok(changes)
}

fn meter_values(connection: &Connection) -> Result<Vec<MeterValueRow>, Refusal> {
    let mut rows = Vec::new();
    let sql = "SELECT c.key, m.at, m.key_hash, m.evse, m.connector, m.transaction_id, m.energy_wh,
            m.power_w, m.soc_percent, m.sampled, m.unnamed_at
        FROM meter_values m JOIN chargers c ON c.no = m.charger_no";
    each(connection, sql, |row| {
        rows.push(MeterValueRow {
            charger: charger_key(row, 0)?,
            at: Timestamp(row.get(1)?),
            key_hash: row.get(2)?,
            evse: row.get(3)?,
            connector: row.get(4)?,
            transaction_id: row.get(5)?,
            energy_wh: row.get(6)?,
            power_w: row.get(7)?,
            soc_percent: row.get(8)?,
            sampled: row.get(9)?,
            unnamed_at: row.get(10)?,
        });
        Ok(())
    })?;
    Ok(rows)
}

fn events(connection: &Connection) -> Result<Vec<EventRow>, Refusal> {
    let mut rows = Vec::new();
    let sql = "SELECT c.key, e.at, e.key_hash, e.kind, e.name, e.value, e.evse, e.connector, e.data
        FROM events e JOIN chargers c ON c.no = e.charger_no";
    each(connection, sql, |row| {
        rows.push(EventRow {
            charger: charger_key(row, 0)?,
            at: Timestamp(row.get(1)?),
            key_hash: row.get(2)?,
            kind: row.get(3)?,
            name: row.get(4)?,
            value: row.get(5)?,
            evse: row.get(6)?,
            connector: row.get(7)?,
            data: row.get(8)?,
        });
        Ok(())
    })?;
    Ok(rows)
}

fn dead_letters(connection: &Connection) -> Result<Vec<DeadLetterEntry>, Refusal> {
    let mut rows = Vec::new();
    let sql = "SELECT g.id, d.seq, d.bytes, d.reason
        FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no";
    each(connection, sql, |row| {
        let id = RecordId {
            gateway: GatewayId(uuid_of(row, 0)?),
            seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
        };
        rows.push((id, (row.get(2)?, row.get(3)?)));
        Ok(())
    })?;
    Ok(rows)
}

fn quirks(connection: &Connection) -> Result<QuirkCounts, Refusal> {
    let mut counts = QuirkCounts::new();
    let sql = "SELECT c.key, q.quirk, q.count, q.first_at, q.last_at
        FROM charger_quirks q JOIN chargers c ON c.no = q.charger_no";
    each(connection, sql, |row| {
        let count = QuirkCount {
            count: row.get::<_, i64>(2)?.unsigned_abs(),
            first_at: Timestamp(row.get(3)?),
            last_at: Timestamp(row.get(4)?),
        };
        let quirk = Quirk::from_number(row.get(1)?);
        let quirk = quirk.ok_or_else(|| Refusal::corrupt("a quirk is not known"))?;
        counts.insert((charger_key(row, 0)?, quirk), count);
        Ok(())
    })?;
    Ok(counts)
}

fn unknown_tokens(connection: &Connection) -> Result<UnknownTokenCounts, Refusal> {
    let mut counts = UnknownTokenCounts::new();
    let sql = "SELECT c.key, u.day, u.key, u.token_key, u.latest, u.first_at, u.last_at, u.count
        FROM unknown_tokens u JOIN chargers c ON c.no = u.charger_no";
    each(connection, sql, |row| {
        let count = UnknownTokenCount {
            token_key: row.get(3)?,
            latest: row.get(4)?,
            first_at: Timestamp(row.get(5)?),
            last_at: Timestamp(row.get(6)?),
            count: row.get::<_, i64>(7)?.unsigned_abs(),
        };
        counts.insert((charger_key(row, 0)?, row.get(1)?, uuid_of(row, 2)?), count);
        Ok(())
    })?;
    Ok(counts)
}

fn each(
    connection: &Connection,
    sql: &str,
    mut visit: impl FnMut(&Row<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(row)?;
    }
    Ok(())
}
