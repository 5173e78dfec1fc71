//! Stores the inbox rows, the changes and the dead letters of one batch in one transaction.
//!
//! Normally the whole batch is stored at once, table by table. When the database permanently refuses one record
//! (a data exception, a violated constraint), the batch is stored in parts (see [`super::halving`]). When
//! another writer was faster (a deadlock, an outdated revision), the batch is retried at once on the current
//! rows.
//!
//! Rows are written sorted by key, and tables always in the same order. Two writers with the same rows therefore
//! wait for each other in one direction only and cannot deadlock.

use super::error;
use super::halving;
use super::inbox;
use super::listing::Lists;
use super::messages::{Key, Row, Rows};
use super::meter_values;
use super::numbers::clean;
use super::writer::{Memory, Session, Writer};
use crate::clock;
use crate::refusal::Refusal;
use central::model::ChargerKey;
use central::ports::{Applied, DeadLetter, ID_USED_TWICE, UnavailableKind};
use central::project::Changes;
use central::{Record, RecordId};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

/// A batch.
pub(crate) type Records<'a, 'r> = &'a [(RecordId, Record<'r>)];

/// Attempts after conflicts with other writers, before the caller gets the error and backs off.
const TRIES_MAX: u32 = 8;

/// Applies a batch; see [`central::ports::Store::apply`].
pub(crate) async fn apply(
    writer: &mut Writer,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
    lists: Lists,
) -> Result<Applied, Refusal> {
    let mut tries = 0;
    let applied = loop {
        let session = writer.session().await?;
        session.memory.states.lists = lists;
        let refusal = match apply_once(session, records, changes, dead).await {
            Ok(applied) => break applied,
            Err(refusal) => refusal,
        };
        // The cache may describe a transaction that was rolled back.
        session.memory.states.clear();
        tries += 1;
        match refusal {
            Refusal::Unavailable(away)
                if away.kind == UnavailableKind::Locked && tries < TRIES_MAX =>
            {
                metrics::counter!("wattpost_store_conflicts_total").increment(1);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
            }
            refusal => return Err(refusal),
        }
    };
    let given_up = records.len() as u64 - applied.new - applied.known;
    metrics::counter!("wattpost_store_dead_letters_total").increment(given_up);
    Ok(applied)
}

async fn apply_once(
    session: &mut Session,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    match apply_whole(session, records, changes, dead).await {
        Err(Refusal::Poison(reason)) => {
            tracing::debug!(reason, "a record is refused; looking for it");
            halving::apply(session, records, dead).await
        }
        done => done,
    }
}

/// Stores the whole batch or nothing, in one transaction.
pub(crate) async fn apply_whole(
    session: &mut Session,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    learn(session, records, changes, dead).await?;
    let Session { connection, memory } = session;
    let mut transaction = connection.begin().await.map_err(error::refusal)?;
    let done = async {
        inbox::lock_against_moves(&mut transaction).await?;
        let applied = apply_group(&mut transaction, memory, records, changes).await?;
        insert_dead_letters(&mut transaction, memory, dead).await?;
        Ok(applied)
    };
    let applied = match done.await {
        Ok(applied) => applied,
        Err(refusal) => {
            // The cache describes this transaction, which was rolled back.
            memory.states.clear();
            if matches!(refusal, Refusal::Poison(_)) {
                transaction.rollback().await.map_err(error::refusal)?;
            }
            return Err(refusal);
        }
    };
    transaction.commit().await.map_err(error::refusal)?;
    Ok(applied)
}

async fn learn(
    session: &mut Session,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
) -> Result<(), Refusal> {
    let gateways = changes
        .gateways
        .keys()
        .copied()
        .chain(dead.iter().map(|letter| letter.id.gateway));
    let chargers = changes
        .chargers
        .keys()
        .chain(changes.connectors.keys().map(|(key, _, _)| key))
        .chain(changes.transactions.keys().map(|(key, _)| key))
        .chain(changes.meter_values.iter().map(|row| &row.charger))
        .chain(changes.events.iter().map(|row| &row.charger))
        .map(ChargerKey::as_str);
    let Session { connection, memory } = session;
    memory
        .numbers
        .learn(connection, records, gateways, chargers)
        .await?;
    memory
        .days
        .learn(connection, &memory.numbers, records)
        .await
}

async fn apply_group(
    connection: &mut PgConnection,
    memory: &mut Memory,
    records: Records<'_, '_>,
    changes: &Changes,
) -> Result<Applied, Refusal> {
    let applied = write_messages(connection, memory, records).await?;
    // A batch of known records was applied before, and so were its changes.
    if applied.known == records.len() as u64 && !records.is_empty() {
        return Ok(applied);
    }
    meter_values::write(connection, memory, &changes.meter_values).await?;
    write_events(connection, memory, changes).await?;
    // Last, because rows that other writers need stay locked from here to the commit.
    let Memory {
        numbers, states, ..
    } = memory;
    states.merge(connection, numbers, changes).await?;
    Ok(applied)
}

async fn write_messages(
    connection: &mut PgConnection,
    memory: &mut Memory,
    records: Records<'_, '_>,
) -> Result<Applied, Refusal> {
    if records.is_empty() {
        return Ok(Applied::default());
    }
    let mut rows = Rows::of(&memory.numbers, records)?;
    let taken = inbox::on_other_days(connection, &rows.keys()).await?;
    let mut doubles: Vec<usize> = rows.take(|row| taken.elsewhere.contains(&row.key));
    let mut known = 0;
    if !taken.outside.is_empty() {
        // These records belong to this day but are stored outside its partition, so the insert would not detect
        // them.
        let stored = inbox::stored(connection, &rows.keys()).await?;
        let is_outside = |row: &Row<'_>| taken.outside.contains(&(row.key.0, row.key.1));
        let is_stored = |row: &Row<'_>| is_stored(&stored, row, records);
        known += rows.take(|row| is_outside(row) && is_stored(row)).len() as u64;
        doubles.extend(rows.take(is_outside));
    }
    let inserted = rows.write(connection, &mut memory.copied_messages).await?;
    if inserted < rows.len() as u64 {
        let stored = inbox::stored(connection, &rows.keys()).await?;
        doubles.extend(rows.take(|row| !is_stored(&stored, row, records)));
    }
    known += rows.len() as u64 - inserted;
    insert_duplicates(connection, memory, records, doubles).await?;
    Ok(Applied {
        new: inserted,
        known,
    })
}

/// Whether the row stored under this key is this record.
fn is_stored(
    stored: &HashMap<Key, inbox::Stored>,
    row: &Row<'_>,
    records: Records<'_, '_>,
) -> bool {
    stored
        .get(&row.key)
        .is_some_and(|stored| stored.is_of(&records[row.place].1, row.charger_no))
}

/// Inserts records whose id another record has as dead letters.
async fn insert_duplicates(
    connection: &mut PgConnection,
    memory: &Memory,
    records: Records<'_, '_>,
    doubles: Vec<usize>,
) -> Result<(), Refusal> {
    let letters: Vec<DeadLetter> = doubles
        .into_iter()
        .map(|place| DeadLetter {
            id: records[place].0,
            bytes: records[place].1.encode(),
            reason: ID_USED_TWICE.to_owned(),
        })
        .collect();
    let Some(first) = letters.first() else {
        return Ok(());
    };
    tracing::error!(
        record.id = %first.id,
        records = letters.len(),
        "records come under ids that others have: they are kept as dead letters; {ID_USED_TWICE}"
    );
    metrics::counter!("wattpost_store_ids_used_twice_total").increment(letters.len() as u64);
    insert_dead_letters(connection, memory, &letters).await
}

async fn write_events(
    connection: &mut PgConnection,
    memory: &Memory,
    changes: &Changes,
) -> Result<(), Refusal> {
    let mut rows: Vec<_> = changes.events.iter().collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|row| (&row.charger, row.at, row.key_hash));
    let charger_nos = rows
        .iter()
        .map(|row| memory.numbers.charger_with_key(&row.charger))
        .collect::<Result<Vec<_>, _>>()?;
    let ats: Vec<i64> = rows.iter().map(|row| row.at.0).collect();
    let hashes: Vec<i64> = rows.iter().map(|row| row.key_hash).collect();
    let kinds: Vec<Cow<'_, str>> = rows.iter().map(|row| clean(&row.kind)).collect();
    let names: Vec<Option<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.name.as_deref().map(clean))
        .collect();
    let values: Vec<Option<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.value.as_deref().map(clean))
        .collect();
    let evses: Vec<Option<i64>> = rows.iter().map(|row| row.evse).collect();
    let connectors: Vec<Option<i64>> = rows.iter().map(|row| row.connector).collect();
    let data: Vec<Cow<'_, str>> = rows.iter().map(|row| clean(&row.data)).collect();
    sqlx::query(
        "INSERT INTO events (charger_no, at, key_hash, kind, name, value, evse, connector, data)
         SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
             $7::bigint[], $8::bigint[], $9::text[])
         ON CONFLICT DO NOTHING",
    )
    .bind(&charger_nos)
    .bind(&ats)
    .bind(&hashes)
    .bind(&kinds)
    .bind(&names)
    .bind(&values)
    .bind(&evses)
    .bind(&connectors)
    .bind(&data)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// Inserts each dead letter once. When a different one with the same id exists, it goes to `set_aside`, so that
/// no data is lost.
pub(crate) async fn insert_dead_letters(
    connection: &mut PgConnection,
    memory: &Memory,
    letters: &[DeadLetter],
) -> Result<(), Refusal> {
    for letter in letters {
        let gateway_no = memory.numbers.gateway(letter.id.gateway)?;
        let at = clock::now().0;
        let kept = sqlx::query(
            "INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (gateway_no, seq) DO NOTHING",
        )
        .bind(gateway_no)
        .bind(letter.id.seq.cast_signed())
        .bind(&letter.bytes)
        .bind(clean(&letter.reason))
        .bind(at)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?
        .rows_affected();
        if kept > 0 {
            continue;
        }
        sqlx::query(
            "INSERT INTO set_aside (what, state, reason, at)
             SELECT $3, $4, $5, $6
             WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE gateway_no = $1 AND seq = $2 AND bytes = $4)
             AND NOT EXISTS (SELECT 1 FROM set_aside WHERE what = $3 AND state = $4)",
        )
        .bind(gateway_no)
        .bind(letter.id.seq.cast_signed())
        .bind(format!("dead letter {}", letter.id))
        .bind(&letter.bytes)
        .bind(clean(&letter.reason))
        .bind(at)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    }
    Ok(())
}
