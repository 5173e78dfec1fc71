//! How a record is recognised that is in another partition than its own.
//!
//! Within a day the unique index of the partition tells that a number of a gateway is taken. Across days no index
//! can. But the numbers of a gateway grow with time, so a record can be on another day only where the same stretch
//! of numbers was seen on several days: `message_days` keeps for each stretch on which, and only there records are
//! looked for (docs/adr/0007). What upkeep has put outside the partitions of days is looked for there.

use super::error;
use super::messages::Key;
use super::numbers::{Numbers, clean};
use crate::refusal::Refusal;
use central::{Record, RecordId};
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Numbers in a stretch, as a power of two.
const BLOCK_BITS: u32 = 12;

/// Milliseconds of a partition.
const DAY_MILLIS: i64 = 86_400_000;

/// Held shared by batches, and by upkeep while it moves rows. The bytes `WATU`.
const MOVING: i64 = 0x5741_5455;

/// More stretches than this are forgotten and told to the database again.
const KEPT_MAX: usize = 50_000;

/// Gateway, stretch of numbers, day.
type Stretch = (i32, i64, i64);

/// The stretches that the writer knows to be in the database. Committed rows; a record need not follow.
#[derive(Debug, Default)]
pub(crate) struct Days(HashSet<Stretch>);

impl Days {
    /// Tells the database where these records will be, before the transaction that puts them there: whoever
    /// comes with the same numbers on another day sees it, and nobody waits for a whole batch.
    pub(crate) async fn learn(
        &mut self,
        connection: &mut PgConnection,
        numbers: &Numbers,
        records: &[(RecordId, Record<'_>)],
    ) -> Result<(), Refusal> {
        if self.0.len() > KEPT_MAX {
            self.0.clear();
        }
        let mut unknown: BTreeSet<Stretch> = BTreeSet::new();
        for (id, record) in records {
            let seq = id.seq.cast_signed();
            let stretch = stretch((numbers.gateway(id.gateway)?, seq, record.received_at.0));
            if !self.0.contains(&stretch) {
                unknown.insert(stretch);
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

const fn stretch((gateway_no, seq, received_at): Key) -> Stretch {
    (
        gateway_no,
        seq >> BLOCK_BITS,
        received_at.div_euclid(DAY_MILLIS),
    )
}

/// Until the end of the transaction upkeep moves no row from one partition to another, so that what is looked up
/// stays true until the insert. Batches do not keep each other out.
pub(crate) async fn keep_upkeep_out(connection: &mut PgConnection) -> Result<(), Refusal> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
        .bind(MOVING)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// Numbers that are taken where the insert would not notice.
pub(crate) struct Taken {
    /// Keys whose number is taken by a record of another day: stored, or earlier among the keys.
    pub(crate) elsewhere: HashSet<Key>,
    /// Gateway and number of what is stored outside the partitions of days.
    pub(crate) outside: HashSet<(i32, i64)>,
}

/// Looks for numbers of these keys, which are sorted, in other partitions than their own.
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
        let is_other = stretch(pair[0]) != stretch(pair[1]);
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

/// Those numbers of the keys that are in `messages_outside`.
async fn outside(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<HashSet<(i32, i64)>, Refusal> {
    let found: Vec<(i32, i64)> = sqlx::query_as(
        // One by one by the index: a table that was emptied is long until it is vacuumed.
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

/// By day: the keys of other days in whose stretch there are records of this one. And whether anything at all is
/// stored outside the partitions of days.
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
        let (gateway_no, block, own) = stretch(*key);
        for day in days.get(&(gateway_no, block)).into_iter().flatten() {
            if *day != own {
                suspects.entry(*day).or_default().push(*key);
            }
        }
    }
    Ok((suspects, is_any_outside))
}

/// What of a stored message tells it from others of the same number and time.
pub(crate) struct Stored {
    epoch: i64,
    charger_no: i32,
    kind: i16,
    message_id: String,
}

impl Stored {
    /// Whether it is this record.
    pub(crate) fn is_of(&self, record: &Record<'_>, charger_no: i32) -> bool {
        self.epoch == record.epoch.cast_signed()
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
    // The bounds keep partitions out that have nothing to do with it.
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
