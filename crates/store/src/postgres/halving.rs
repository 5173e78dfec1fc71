//! Stores a batch that contains records which the database refuses permanently, in parts, so that one charger's
//! invalid data does not block the others.
//!
//! The batch is halved until a refused record is alone; that record becomes a dead letter with the reason. Each
//! part is a transaction of its own. An attempt that runs out of time has therefore stored some parts, and the
//! next attempt finds them known: the batch finishes however many records are refused and however slow the
//! database is.

use super::apply::{Records, apply_whole};
use super::writer::Session;
use super::{dead_letters, error, inbox};
use crate::dead_letters::refused;
use crate::refusal::Refusal;
use central::ports::{Applied, DeadLetter};
use central::project::Changes;
use central::{Record, RecordId};
use sqlx::Connection;
use std::collections::{HashMap, HashSet};

/// The reason of a dead letter whose own reason the database refuses too.
const REASON_REFUSED: &str = "the database refuses it, and the reason too";

/// Applies these records part by part, and inserts the dead letters one by one.
pub(crate) async fn apply(
    session: &mut Session,
    records: Records<'_, '_>,
    dead: &[DeadLetter],
) -> Result<Applied, Refusal> {
    for letter in dead {
        insert_dead_letter(session, letter).await?;
    }
    let refused_before = dead_already(session, records).await?;
    let alive: Vec<(RecordId, Record<'_>)> = records
        .iter()
        .enumerate()
        .filter(|(place, _)| !refused_before.contains(place))
        .map(|(_, record)| *record)
        .collect();
    let mut applied = Applied::default();
    apply_halving(session, &alive, &mut applied).await?;
    Ok(applied)
}

async fn apply_halving(
    session: &mut Session,
    records: Records<'_, '_>,
    applied: &mut Applied,
) -> Result<(), Refusal> {
    if records.is_empty() {
        return Ok(());
    }
    let (changes, _) = Changes::of(records);
    let reason = match apply_whole(session, records, &changes, &[]).await {
        Ok(part) => {
            applied.new += part.new;
            applied.known += part.known;
            return Ok(());
        }
        Err(Refusal::Poison(reason)) => reason,
        Err(refusal) => return Err(refusal),
    };
    if let [alone] = records {
        let letter = refused(alone, reason);
        return insert_dead_letter(session, &letter).await;
    }
    let (first, second) = records.split_at(records.len() / 2);
    Box::pin(apply_halving(session, first, applied)).await?;
    Box::pin(apply_halving(session, second, applied)).await
}

/// The positions of records that an earlier attempt has stored as dead letters.
async fn dead_already(
    session: &mut Session,
    records: Records<'_, '_>,
) -> Result<HashSet<usize>, Refusal> {
    let Session { connection, cache } = session;
    let gateways = records.iter().map(|(id, _)| id.gateway);
    let numbers = &mut cache.numbers;
    numbers
        .learn(connection, &[], gateways, std::iter::empty())
        .await?;
    let mut gateway_nos = Vec::with_capacity(records.len());
    for (id, _) in records {
        gateway_nos.push(numbers.gateway(id.gateway)?);
    }
    let seqs: Vec<i64> = records
        .iter()
        .map(|(id, _)| id.seq.0.cast_signed())
        .collect();
    let letters: Vec<(i32, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT gateway_no, seq, bytes FROM dead_letters
         WHERE (gateway_no, seq) IN (SELECT * FROM unnest($1::int[], $2::bigint[]))",
    )
    .bind(&gateway_nos)
    .bind(&seqs)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let kept: HashMap<(i32, i64), Vec<u8>> = letters
        .into_iter()
        .map(|(gateway_no, seq, bytes)| ((gateway_no, seq), bytes))
        .collect();
    let places = gateway_nos.into_iter().zip(seqs).enumerate();
    Ok(places
        .filter(|(place, key)| {
            kept.get(key)
                .is_some_and(|bytes| *bytes == records[*place].1.encode())
        })
        .map(|(place, _)| place)
        .collect())
}

/// Inserts a dead letter; with [`REASON_REFUSED`] as its reason where its own cannot be stored.
async fn insert_dead_letter(session: &mut Session, letter: &DeadLetter) -> Result<(), Refusal> {
    match try_insert_dead_letter(session, letter).await {
        Err(Refusal::Poison(why)) => {
            tracing::error!(
                record.id = %letter.id, letter.reason, why,
                "the reason of a dead letter cannot be stored; it is stored with another reason"
            );
            let plain = DeadLetter {
                reason: REASON_REFUSED.to_owned(),
                ..letter.clone()
            };
            try_insert_dead_letter(session, &plain).await
        }
        done => done,
    }
}

async fn try_insert_dead_letter(session: &mut Session, letter: &DeadLetter) -> Result<(), Refusal> {
    let Session { connection, cache } = session;
    let gateway = std::iter::once(letter.id.gateway);
    cache
        .numbers
        .learn(connection, &[], gateway, std::iter::empty())
        .await?;
    let mut transaction = connection.begin().await.map_err(error::refusal)?;
    // Dropping it after an error rolls it back.
    inbox::begin_batch(&mut transaction).await?;
    dead_letters::insert(&mut transaction, cache, std::slice::from_ref(letter)).await?;
    transaction.commit().await.map_err(error::refusal)
}
