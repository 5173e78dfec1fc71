//! Detects a record that is already stored in the partition of another day.
//!
//! Within a day, the partition's unique index detects a repeated (gateway, sequence). No index spans the
//! partitions. But a gateway's sequence numbers grow with time, so a record can be on another day only where the
//! same block of numbers was seen on several days. `message_days` stores the days of each block, and records are
//! looked up on those days only (docs/adr/0007). Rows that maintenance moved to `messages_outside` are looked up
//! there.

use super::messages::Key;
use super::numbers::{Numbers, clean};
use super::{error, schema};
use crate::refusal::Refusal;
use central::{Record, RecordId};
use sqlx::Row;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Sequence numbers in a block, as a power of two.
pub(crate) const BLOCK_BITS: u32 = 12;

/// Milliseconds of a partition.
pub(crate) const DAY_MILLIS: i64 = 86_400_000;

/// Advisory lock that batches hold shared, and maintenance exclusively while it moves rows. The bytes `WATU`.
const MOVE_LOCK: i64 = 0x5741_5455;

/// With more blocks than this the cache is cleared; they are then inserted again.
const BLOCKS_CACHED_MAX: usize = 50_000;

/// Gateway, block of sequence numbers, day.
type BlockDay = (i32, i64, i64);

/// The blocks that the writer knows to be in `message_days`: committed rows, not necessarily followed by their
/// records.
#[derive(Debug, Default)]
pub(crate) struct Days(HashSet<BlockDay>);

impl Days {
    /// Inserts the blocks of these records before the transaction that stores the records: another writer with
    /// the same numbers on another day then sees them, and does not wait for a whole batch.
    pub(crate) async fn learn(
        &mut self,
        connection: &mut PgConnection,
        numbers: &Numbers,
        records: &[(RecordId, Record<'_>)],
    ) -> Result<(), Refusal> {
        if self.0.len() > BLOCKS_CACHED_MAX {
            self.0.clear();
        }
        let mut unknown: BTreeSet<BlockDay> = BTreeSet::new();
        for (id, record) in records {
            let seq = id.seq.0.cast_signed();
            let block_day = block_day((numbers.gateway(id.gateway)?, seq, record.received_at.0));
            if !self.0.contains(&block_day) {
                unknown.insert(block_day);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO message_days (gateway_no, block, day)
             SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[])
             ON CONFLICT DO NOTHING",
        )
        .bind(unknown.iter().map(|one| one.0).collect::<Vec<_>>())
        .bind(unknown.iter().map(|one| one.1).collect::<Vec<_>>())
        .bind(unknown.iter().map(|one| one.2).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(error::refusal)?;
        self.0.extend(unknown);
        Ok(())
    }
}

const fn block_day((gateway_no, seq, received_at): Key) -> BlockDay {
    (
        gateway_no,
        seq >> BLOCK_BITS,
        received_at.div_euclid(DAY_MILLIS),
    )
}

/// Begins a batch, inside the caller's transaction. Until its end, maintenance moves no row to another partition, so that
/// what is looked up stays true until the insert, and the schema stays one that this program can use. Batches do not exclude
/// each other.
///
/// # Errors
/// When a newer program has migrated the database, and this one cannot go on with it.
pub(crate) async fn begin_batch(connection: &mut PgConnection) -> Result<(), Refusal> {
    let row = sqlx::query(
        "SELECT (SELECT version FROM wattpost_schema), pg_advisory_xact_lock_shared($1)",
    )
    .bind(MOVE_LOCK)
    .fetch_one(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let version = row.try_get(0).map_err(error::refusal)?;
    schema::refuse_newer(connection, version).await
}

/// Sequence numbers that exist already, where the insert would not detect it.
pub(crate) struct Taken {
    /// Keys whose number a record of another day has: one that is stored, or an earlier one among the keys.
    pub(crate) elsewhere: HashSet<Key>,
    /// Gateway and sequence of the rows stored outside the daily partitions.
    pub(crate) outside: HashSet<(i32, i64)>,
}

/// Looks up these keys, which are sorted, in the partitions of other days.
pub(crate) async fn on_other_days(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<Taken, Refusal> {
    let mut taken = HashSet::new();
    let (suspects, is_any_outside) = suspects(connection, keys).await?;
    let outside = match is_any_outside {
        true => outside(connection, keys).await?,
        false => HashSet::new(),
    };
    for (day, keys) in suspects {
        let found: HashSet<(i32, i64)> = sqlx::query_as(
            "SELECT k.gateway_no, k.seq FROM unnest($1::int[], $2::bigint[]) AS k (gateway_no, seq)
             JOIN messages m ON m.gateway_no = k.gateway_no AND m.seq = k.seq
             WHERE m.received_at >= $3 AND m.received_at < $4",
        )
        .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
        .bind(day * DAY_MILLIS)
        .bind((day + 1) * DAY_MILLIS)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?
        .into_iter()
        .collect();
        taken.extend(keys.iter().filter(|key| found.contains(&(key.0, key.1))));
    }
    for pair in keys.windows(2) {
        let is_other = block_day(pair[0]) != block_day(pair[1]);
        if (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1) && is_other && !taken.contains(&pair[0])
        {
            taken.insert(pair[1]);
        }
    }
    Ok(Taken {
        elsewhere: taken,
        outside,
    })
}

/// The keys whose number is in `messages_outside`.
async fn outside(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<HashSet<(i32, i64)>, Refusal> {
    let found: Vec<(i32, i64)> = sqlx::query_as(
        // One by one by the index: a sequential scan of an emptied table stays slow until it is vacuumed.
        "SELECT k.gateway_no, k.seq FROM unnest($1::int[], $2::bigint[]) AS k (gateway_no, seq)
         CROSS JOIN LATERAL (SELECT FROM messages_outside AS m
             WHERE m.gateway_no = k.gateway_no AND m.seq = k.seq LIMIT 1) AS found",
    )
    .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    Ok(found.into_iter().collect())
}

/// By day, the keys of other days whose block also has records of this day; and whether any row is stored
/// outside the daily partitions.
async fn suspects(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<(BTreeMap<i64, Vec<Key>>, bool), Refusal> {
    let blocks: BTreeSet<(i32, i64)> = keys
        .iter()
        .map(|key| (key.0, key.1 >> BLOCK_BITS))
        .collect();
    let known: Vec<(i32, i64, Option<i64>)> = sqlx::query_as(
        "SELECT gateway_no, block, day
         FROM unnest($1::int[], $2::bigint[]) AS k (gateway_no, block)
         JOIN message_days USING (gateway_no, block)
         UNION ALL
         SELECT 0, 0, NULL WHERE pg_relation_size('messages_outside') > 0",
    )
    .bind(blocks.iter().map(|block| block.0).collect::<Vec<_>>())
    .bind(blocks.iter().map(|block| block.1).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut days: HashMap<(i32, i64), Vec<i64>> = HashMap::new();
    let mut is_any_outside = false;
    for (gateway_no, block, day) in known {
        match day {
            Some(day) => days.entry((gateway_no, block)).or_default().push(day),
            None => is_any_outside = true,
        }
    }
    let mut suspects: BTreeMap<i64, Vec<Key>> = BTreeMap::new();
    for key in keys {
        let (gateway_no, block, own) = block_day(*key);
        for day in days.get(&(gateway_no, block)).into_iter().flatten() {
            if *day != own {
                suspects.entry(*day).or_default().push(*key);
            }
        }
    }
    Ok((suspects, is_any_outside))
}

/// The columns that tell a stored message from others with the same number and time.
pub(crate) struct Stored {
    epoch: i64,
    charger_no: i32,
    kind: i16,
    message_id: String,
}

impl Stored {
    /// Whether the stored message is this record.
    pub(crate) fn is_of(&self, record: &Record<'_>, charger_no: i32) -> bool {
        self.epoch == record.epoch.0.cast_signed()
            && self.charger_no == charger_no
            && self.kind == record.kind as i16
            && *self.message_id == *clean(record.message_id)
    }
}

/// The messages that are stored under these keys.
pub(crate) async fn stored(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<HashMap<Key, Stored>, Refusal> {
    type Row = (i32, i64, i64, i64, i32, i16, String);
    let (Some(first), Some(last)) = (
        keys.iter().map(|key| key.2).min(),
        keys.iter().map(|key| key.2).max(),
    ) else {
        return Ok(HashMap::new());
    };
    // The bounds let the planner exclude partitions.
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT m.gateway_no, m.seq, m.received_at, m.epoch, m.charger_no, m.kind, m.message_id
         FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (gateway_no, seq, received_at)
         JOIN messages m USING (gateway_no, seq, received_at)
         WHERE m.received_at BETWEEN $4 AND $5",
    )
    .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.2).collect::<Vec<_>>())
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let stored = rows.into_iter().map(
        |(gateway_no, seq, received_at, epoch, charger_no, kind, message_id)| {
            let stored = Stored {
                epoch,
                charger_no,
                kind,
                message_id,
            };
            ((gateway_no, seq, received_at), stored)
        },
    );
    Ok(stored.collect())
}
