//! The inbox, the changes and the dead letters of one batch, in one transaction.
//!
//! Normally the whole batch goes in at once, set by set. When the database refuses one record for ever (a
//! data exception, a broken constraint), the batch is halved until that record stands alone; it becomes a
//! dead letter with its reason, and everything else goes in. When another writer was faster (a deadlock, a
//! state that has moved on), the batch is tried again at once, on what is stored now.

use super::error;
use super::numbers::clean;
use super::session::{Memory, Session, Writer};
use crate::clock;
use crate::refusal::Refusal;
use central::ports::{Applied, AwayKind, DeadLetter, ID_USED_TWICE};
use central::project::Changes;
use central::{Record, RecordId};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

type Records<'a, 'r> = &'a [(RecordId, Record<'r>)];

/// Tries when other writers are faster, until the caller is told and backs off.
const TRIES_MAX: u32 = 8;

/// Applies a batch; see [`central::ports::Store::apply`].
pub(crate) async fn apply(
    writer: &mut Writer,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    let mut tries = 0;
    let applied = loop {
        let session = writer.session().await?;
        let refusal = match apply_once(session, records, changes, dead).await {
            Ok(applied) => break applied,
            Err(refusal) => refusal,
        };
        // What was remembered may be of a transaction that was rolled back.
        session.memory.states.clear();
        tries += 1;
        match refusal {
            Refusal::Away(away) if away.kind == AwayKind::Locked && tries < TRIES_MAX => {
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
    learn(session, records, changes, dead).await?;
    let Session { connection, memory } = session;
    let mut transaction = connection.begin().await.map_err(error::refusal)?;
    let whole = apply_group(&mut transaction, memory, records, changes).await;
    let applied = match whole {
        Ok(applied) => applied,
        Err(Refusal::Poison(reason)) => {
            tracing::debug!(reason, "a record is refused; looking for it");
            transaction.rollback().await.map_err(error::refusal)?;
            memory.states.clear();
            transaction = connection.begin().await.map_err(error::refusal)?;
            let mut applied = Applied::default();
            apply_halving(&mut transaction, memory, records, &mut applied).await?;
            applied
        }
        Err(refusal) => return Err(refusal),
    };
    bury(&mut transaction, memory, dead).await?;
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
        .map(String::as_str);
    let Session { connection, memory } = session;
    memory
        .numbers
        .learn(connection, records, gateways, chargers)
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
    write_meter_values(connection, memory, changes).await?;
    write_events(connection, memory, changes).await?;
    // Last, because rows that others want too stay locked from here to the commit.
    let Memory { numbers, states } = memory;
    states.merge(connection, numbers, changes).await?;
    Ok(applied)
}

async fn apply_halving(
    connection: &mut PgConnection,
    memory: &mut Memory,
    records: Records<'_, '_>,
    applied: &mut Applied,
) -> Result<(), Refusal> {
    connection
        .execute("SAVEPOINT part")
        .await
        .map_err(error::refusal)?;
    let (changes, _) = Changes::of(records);
    let reason = match apply_group(connection, memory, records, &changes).await {
        Ok(part) => {
            connection
                .execute("RELEASE SAVEPOINT part")
                .await
                .map_err(error::refusal)?;
            applied.new += part.new;
            applied.known += part.known;
            return Ok(());
        }
        Err(Refusal::Poison(reason)) => reason,
        Err(refusal) => return Err(refusal),
    };
    connection
        .execute("ROLLBACK TO SAVEPOINT part")
        .await
        .map_err(error::refusal)?;
    memory.states.clear();
    if let [(id, record)] = records {
        tracing::error!(record.id = %id, reason, "a record cannot be applied; it is kept as a dead letter");
        let letter = DeadLetter {
            id: *id,
            bytes: record.encode(),
            reason,
        };
        return bury(connection, memory, &[letter]).await;
    }
    let (first, second) = records.split_at(records.len() / 2);
    Box::pin(apply_halving(connection, memory, first, applied)).await?;
    Box::pin(apply_halving(connection, memory, second, applied)).await
}

async fn write_messages(
    connection: &mut PgConnection,
    memory: &Memory,
    records: Records<'_, '_>,
) -> Result<Applied, Refusal> {
    if records.is_empty() {
        return Ok(Applied::default());
    }
    let count = records.len();
    let mut gateway_nos = Vec::with_capacity(count);
    let mut seqs = Vec::with_capacity(count);
    let mut received_ats = Vec::with_capacity(count);
    let mut epochs = Vec::with_capacity(count);
    let mut charger_nos = Vec::with_capacity(count);
    let mut kinds = Vec::with_capacity(count);
    let mut versions = Vec::with_capacity(count);
    let mut answer_kinds = Vec::with_capacity(count);
    let mut notes = Vec::with_capacity(count);
    let mut charger_ids: Vec<Option<Cow<'_, str>>> = Vec::with_capacity(count);
    let mut texts: [Vec<Cow<'_, str>>; 5] = std::array::from_fn(|_| Vec::with_capacity(count));
    let mut raws: Vec<Option<Vec<u8>>> = Vec::with_capacity(count);
    for (id, record) in records {
        let charger = memory.numbers.charger(record.charger_id)?;
        gateway_nos.push(memory.numbers.gateway(id.gateway)?);
        seqs.push(id.seq.cast_signed());
        received_ats.push(record.received_at.0);
        epochs.push(record.epoch.cast_signed());
        charger_nos.push(charger.no);
        kinds.push(record.kind as i16);
        versions.push(record.ocpp_version as i16);
        answer_kinds.push(record.answer_kind as i16);
        notes.push(i64::from(record.notes.0));
        charger_ids.push(charger.spelled_otherwise.then(|| clean(record.charger_id)));
        let fields = [
            record.message_id,
            record.action,
            record.payload,
            record.answer,
            record.reason,
        ];
        let is_altered =
            fields.iter().any(|text| text.contains('\0')) || record.charger_id.contains('\0');
        for (column, text) in texts.iter_mut().zip(fields) {
            column.push(if is_altered { clean(text) } else { text.into() });
        }
        raws.push(is_altered.then(|| record.encode()));
    }
    let [message_ids, actions, payloads, answers, reasons] = &texts;
    let inserted = sqlx::query(
        "INSERT INTO messages
            (gateway_no, seq, received_at, epoch, charger_no, kind, version, answer_kind, notes,
             charger_id, message_id, action, payload, answer, reason, raw)
         SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[],
             $6::smallint[], $7::smallint[], $8::smallint[], $9::bigint[], $10::text[], $11::text[],
             $12::text[], $13::text[], $14::text[], $15::text[], $16::bytea[])
         ON CONFLICT DO NOTHING",
    )
    .bind(&gateway_nos)
    .bind(&seqs)
    .bind(&received_ats)
    .bind(&epochs)
    .bind(&charger_nos)
    .bind(&kinds)
    .bind(&versions)
    .bind(&answer_kinds)
    .bind(&notes)
    .bind(&charger_ids)
    .bind(message_ids)
    .bind(actions)
    .bind(payloads)
    .bind(answers)
    .bind(reasons)
    .bind(&raws)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?
    .rows_affected();
    if inserted == count as u64 {
        return Ok(Applied {
            new: inserted,
            known: 0,
        });
    }
    let doubles = doubles(
        connection,
        memory,
        records,
        [&seqs, &received_ats],
        &gateway_nos,
    )
    .await?;
    if let Some(first) = doubles.first() {
        tracing::error!(
            record.id = %first.id,
            records = doubles.len(),
            "records come under ids that others have: they are kept as dead letters; {ID_USED_TWICE}"
        );
        metrics::counter!("wattpost_store_ids_used_twice_total").increment(doubles.len() as u64);
        bury(connection, memory, &doubles).await?;
    }
    Ok(Applied {
        new: inserted,
        known: (count as u64 - inserted).saturating_sub(doubles.len() as u64),
    })
}

/// Those of the records whose row is another record's.
async fn doubles(
    connection: &mut PgConnection,
    memory: &Memory,
    records: Records<'_, '_>,
    [seqs, received_ats]: [&Vec<i64>; 2],
    gateway_nos: &Vec<i32>,
) -> Result<Vec<DeadLetter>, Refusal> {
    type Stored = (i32, i64, i64, i64, i32, i16, String);
    let rows: Vec<Stored> = sqlx::query_as(
        "SELECT m.gateway_no, m.seq, m.received_at, m.epoch, m.charger_no, m.kind, m.message_id
         FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS k (gateway_no, seq, received_at)
         JOIN messages m USING (gateway_no, seq, received_at)",
    )
    .bind(gateway_nos)
    .bind(seqs)
    .bind(received_ats)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let stored: HashMap<(i32, i64, i64), Stored> = rows
        .into_iter()
        .map(|row| ((row.0, row.1, row.2), row))
        .collect();
    let mut doubles = Vec::new();
    for (id, record) in records {
        let key = (
            memory.numbers.gateway(id.gateway)?,
            id.seq.cast_signed(),
            record.received_at.0,
        );
        let is_same =
            stored
                .get(&key)
                .is_some_and(|(_, _, _, epoch, charger_no, kind, message_id)| {
                    let charger = memory.numbers.charger(record.charger_id);
                    *epoch == record.epoch.cast_signed()
                        && charger.is_ok_and(|charger| charger.no == *charger_no)
                        && *kind == record.kind as i16
                        && **message_id == *clean(record.message_id)
                });
        if !is_same {
            doubles.push(DeadLetter {
                id: *id,
                bytes: record.encode(),
                reason: ID_USED_TWICE.to_owned(),
            });
        }
    }
    Ok(doubles)
}

async fn write_meter_values(
    connection: &mut PgConnection,
    memory: &Memory,
    changes: &Changes,
) -> Result<(), Refusal> {
    let rows = &changes.meter_values;
    if rows.is_empty() {
        return Ok(());
    }
    let charger_nos = rows
        .iter()
        .map(|row| {
            memory
                .numbers
                .charger(&row.charger)
                .map(|charger| charger.no)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let ats: Vec<i64> = rows.iter().map(|row| row.at.0).collect();
    let hashes: Vec<i64> = rows.iter().map(|row| row.key_hash).collect();
    let evses: Vec<Option<i64>> = rows.iter().map(|row| row.evse).collect();
    let connectors: Vec<Option<i64>> = rows.iter().map(|row| row.connector).collect();
    let transactions: Vec<Option<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.transaction_id.as_deref().map(clean))
        .collect();
    let energies: Vec<Option<f64>> = rows.iter().map(|row| row.energy_wh).collect();
    let powers: Vec<Option<f64>> = rows.iter().map(|row| row.power_w).collect();
    let socs: Vec<Option<f64>> = rows.iter().map(|row| row.soc_percent).collect();
    let sampled: Vec<Cow<'_, str>> = rows.iter().map(|row| clean(&row.sampled)).collect();
    sqlx::query(
        "INSERT INTO meter_values
            (charger_no, at, key_hash, evse, connector, transaction_id, energy_wh, power_w, soc_percent,
             sampled)
         SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[],
             $7::float8[], $8::float8[], $9::float8[], $10::text[])
         ON CONFLICT DO NOTHING",
    )
    .bind(&charger_nos)
    .bind(&ats)
    .bind(&hashes)
    .bind(&evses)
    .bind(&connectors)
    .bind(&transactions)
    .bind(&energies)
    .bind(&powers)
    .bind(&socs)
    .bind(&sampled)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

async fn write_events(
    connection: &mut PgConnection,
    memory: &Memory,
    changes: &Changes,
) -> Result<(), Refusal> {
    let rows = &changes.events;
    if rows.is_empty() {
        return Ok(());
    }
    let charger_nos = rows
        .iter()
        .map(|row| {
            memory
                .numbers
                .charger(&row.charger)
                .map(|charger| charger.no)
        })
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

/// Keeps dead letters, each once. Where another has the same id already, it is set aside: nothing that
/// was said may vanish.
async fn bury(
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
