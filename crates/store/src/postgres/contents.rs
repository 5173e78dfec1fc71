//! Reads all tables, for [`crate::contents`].

use super::{PostgresStore, error};
use crate::contents::{DeadLetterEntry, Tables, json};
use crate::refusal::Refusal;
use central::memory::Contents;
use central::model::{
    ChargerKey, CommandId, EventRow, MeterValueRow, QuirkCount, QuirkCounts, UnknownTokenCount,
    UnknownTokenCounts,
};
use central::ports::Unavailable;
use central::project::Changes;
use central::{GatewayId, Quirk, RecordId, Seq, Timestamp};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

impl PostgresStore {
    /// The whole contents, read into memory: for small databases, in tests. Of messages that share an id it has the
    /// one that was received last.
    ///
    /// # Errors
    /// When the database cannot be read now.
    pub fn contents(&self) -> Result<Contents, Unavailable> {
        let tables = self.read(async |connection| {
            Ok(Tables {
                states: states(connection).await?,
                meter_values: meter_values(connection).await?,
                events: events(connection).await?,
                dead_letters: dead_letters(connection).await?,
                quirks: quirks(connection).await?,
                unknown_tokens: unknown_tokens(connection).await?,
            })
        });
        tables?.with_records(self)
    }
}

async fn states(connection: &mut PgConnection) -> Result<Changes, Refusal> {
    let mut changes = Changes::default();
    let gateways: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, state FROM gateways WHERE state IS NOT NULL")
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
    for (id, state) in gateways {
        changes.gateways.insert(GatewayId(id), json(&state)?);
    }
    let chargers: Vec<(String, String)> =
        sqlx::query_as("SELECT key, state FROM chargers WHERE state IS NOT NULL")
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
    for (key, state) in chargers {
        changes.chargers.insert(ChargerKey::of(&key), json(&state)?);
    }
    let connectors: Vec<(String, i64, i64, String)> = sqlx::query_as(
        "SELECT c.key, s.evse, s.connector, s.state
         FROM connectors s JOIN chargers c ON c.no = s.charger_no",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    for (key, evse, connector, state) in connectors {
        let state = json(&state)?;
        let key = ChargerKey::of(&key);
        changes.connectors.insert((key, evse, connector), state);
    }
    let transactions: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT c.key, s.wire_id, s.state
         FROM transactions s JOIN chargers c ON c.no = s.charger_no",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    for (key, wire_id, state) in transactions {
        let key = (ChargerKey::of(&key), wire_id);
        changes.transactions.insert(key, json(&state)?);
    }
    let commands: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, state FROM command_progress")
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    for (id, state) in commands {
        changes.commands.insert(CommandId(id), json(&state)?);
    }
    let effects: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, state FROM command_effects")
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    for (id, state) in effects {
        changes.effects.insert(CommandId(id), json(&state)?);
    }
    Ok(changes)
}

async fn meter_values(connection: &mut PgConnection) -> Result<Vec<MeterValueRow>, Refusal> {
    let sql = "SELECT c.key, m.* FROM meter_values m JOIN chargers c ON c.no = m.charger_no";
    each(connection, sql, |row| {
        Ok(MeterValueRow {
            charger: ChargerKey::of(row.try_get("key")?),
            at: Timestamp(row.try_get("at")?),
            key_hash: row.try_get("key_hash")?,
            evse: row.try_get("evse")?,
            connector: row.try_get("connector")?,
            transaction_id: row.try_get("transaction_id")?,
            energy_wh: row.try_get("energy_wh")?,
            power_w: row.try_get("power_w")?,
            soc_percent: row.try_get("soc_percent")?,
            sampled: row.try_get("sampled")?,
            unnamed_at: row.try_get("unnamed_at")?,
        })
    })
    .await
}

async fn events(connection: &mut PgConnection) -> Result<Vec<EventRow>, Refusal> {
    let sql = "SELECT c.key, e.* FROM events e JOIN chargers c ON c.no = e.charger_no";
    each(connection, sql, |row| {
        Ok(EventRow {
            charger: ChargerKey::of(row.try_get("key")?),
            at: Timestamp(row.try_get("at")?),
            key_hash: row.try_get("key_hash")?,
            kind: row.try_get("kind")?,
            name: row.try_get("name")?,
            value: row.try_get("value")?,
            evse: row.try_get("evse")?,
            connector: row.try_get("connector")?,
            data: row.try_get("data")?,
        })
    })
    .await
}

async fn dead_letters(connection: &mut PgConnection) -> Result<Vec<DeadLetterEntry>, Refusal> {
    let sql = "SELECT g.id, d.seq, d.bytes, d.reason
        FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no";
    each(connection, sql, |row| {
        let id = RecordId {
            gateway: GatewayId(row.try_get("id")?),
            seq: Seq(row.try_get::<i64, _>("seq")?.cast_unsigned()),
        };
        Ok((id, (row.try_get("bytes")?, row.try_get("reason")?)))
    })
    .await
}

async fn quirks(connection: &mut PgConnection) -> Result<QuirkCounts, Refusal> {
    let rows: Vec<(String, i16, i64, i64, i64)> = sqlx::query_as(
        "SELECT c.key, q.quirk, q.count, q.first_at, q.last_at
         FROM charger_quirks q JOIN chargers c ON c.no = q.charger_no",
    )
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut counts = QuirkCounts::new();
    for (key, number, count, first_at, last_at) in rows {
        let quirk = u8::try_from(number).ok().and_then(Quirk::from_number);
        let quirk = quirk.ok_or_else(|| Refusal::corrupt("a quirk is not known"))?;
        let count = QuirkCount {
            count: count.unsigned_abs(),
            first_at: Timestamp(first_at),
            last_at: Timestamp(last_at),
        };
        counts.insert((ChargerKey::of(&key), quirk), count);
    }
    Ok(counts)
}

async fn unknown_tokens(connection: &mut PgConnection) -> Result<UnknownTokenCounts, Refusal> {
    type Columns = (String, i64, Uuid, String, String, i64, i64, i64);
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT c.key, u.day, u.key, u.token_key, u.latest, u.first_at, u.last_at, u.count
         FROM unknown_tokens u JOIN chargers c ON c.no = u.charger_no",
    )
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut counts = UnknownTokenCounts::new();
    for (charger, day, key, token_key, latest, first_at, last_at, count) in rows {
        let count = UnknownTokenCount {
            token_key,
            latest,
            first_at: Timestamp(first_at),
            last_at: Timestamp(last_at),
            count: count.unsigned_abs(),
        };
        counts.insert((ChargerKey::of(&charger), day, key), count);
    }
    Ok(counts)
}

async fn each<T>(
    connection: &mut PgConnection,
    sql: &'static str,
    read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<T>, Refusal> {
    let rows = sqlx::query(sql)
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    let rows = rows.iter().map(read);
    rows.collect::<Result<_, _>>().map_err(error::refusal)
}
