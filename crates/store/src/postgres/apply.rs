//! Stores the inbox rows, the changes and the dead letters of one batch in one transaction.
//!
//! Normally the whole batch is stored at once, table by table. When the database permanently refuses one record
//! (a data exception, a violated constraint), the batch is stored in parts (see [`super::halving`]). After
//! a conflict with another writer (a deadlock, an outdated revision), the batch is retried at once on the current
//! rows.
//!
//! Rows are written sorted by key, and tables always in the same order. Two writers with the same rows therefore
//! wait for each other in one direction only and cannot deadlock.

use super::listing::Lists;
use super::parts::Parts;
use super::succession;
use super::writer::{Cache, Session, Writer};
use super::{
    PostgresStore, dead_letters, effects, error, events, halving, inbox, local_lists, messages,
    meter_values, quirks, unknown_tokens,
};
use crate::event_log::{self, Queued};
use crate::refusal::Refusal;
use central::model::ChargerKey;
use central::ports::{Applied, DeadLetter, Store, Unavailable, UnavailableKind};
use central::project::Changes;
use central::{Record, RecordId};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// A batch.
pub(crate) type Records<'a, 'r> = &'a [(RecordId, Record<'r>)];

/// Attempts after conflicts with other writers, before the caller gets the error and backs off.
const TRIES_MAX: u32 = 8;

impl Store for PostgresStore {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        let mut writer = self.writer();
        let begun = Instant::now();
        let limit = self.apply_timeout();
        let rest = not_stored(&writer.parts, records);
        let mut applied = Applied {
            // Records stored by an earlier attempt at this batch are reported as known.
            known: (records.len() - rest.len()) as u64,
            ..Applied::default()
        };
        let mut dead = dead;
        let mut left = &*rest;
        loop {
            let part;
            (part, left) = left.split_at(writer.parts.next(left.len()));
            let is_whole = part.len() == records.len();
            let changes = match is_whole {
                true => Cow::Borrowed(changes),
                false => Cow::Owned(Changes::of(part).0),
            };
            let more = self.apply_part(&mut writer, part, &changes, dead, is_whole)?;
            applied.new += more.new;
            applied.known += more.known;
            dead = &[];
            if left.is_empty() {
                writer.parts.done();
                return Ok(applied);
            }
            if begun.elapsed() > limit {
                let detail = format!(
                    "it is slow: {} of {} records were stored in {} s; the next attempt continues",
                    records.len() - left.len(),
                    records.len(),
                    begun.elapsed().as_secs()
                );
                return Err(Refusal::unreachable(detail).into_unavailable());
            }
        }
    }
}

impl PostgresStore {
    /// Covers several short statements, and a few retries after a conflict with another writer.
    fn apply_timeout(&self) -> Duration {
        self.options.connect_timeout + self.options.statement_timeout * 2
    }

    /// Applies a part of a batch, and adapts the size of the next part to how that went.
    fn apply_part(
        &self,
        writer: &mut Writer,
        part: Records<'_, '_>,
        changes: &Changes,
        dead: &[DeadLetter],
        is_whole: bool,
    ) -> Result<Applied, Unavailable> {
        let ids: Vec<RecordId> = part.iter().map(|(id, _)| *id).collect();
        let lists = match writer.parts.is_without_list(&ids) {
            true => Lists::Later,
            false => Lists::Now,
        };
        let begun = Instant::now();
        let work = apply(writer, part, changes, dead, lists);
        let refusal = match self.wait(self.apply_timeout(), work) {
            Ok(applied) => {
                if !is_whole {
                    let limit = self.options.statement_timeout;
                    writer.parts.stored(&ids, begun.elapsed(), limit);
                }
                return Ok(applied);
            }
            Err(refusal) => refusal,
        };
        if refusal.breaks_connection() {
            writer.disconnect();
        }
        if let Refusal::Late(detail) = &refusal {
            writer.parts.ran_out_of_time(&ids);
            metrics::counter!("wattpost_store_late_batches_total").increment(1);
            tracing::warn!(
                records = part.len(),
                next_records = writer.parts.next(part.len()),
                detail,
                "the database did not store a batch in time; the next attempt uses smaller parts"
            );
        }
        Err(refusal.into_unavailable())
    }
}

/// The records that no earlier attempt at the same batch has stored.
fn not_stored<'a, 'r>(
    parts: &Parts,
    records: Records<'a, 'r>,
) -> Cow<'a, [(RecordId, Record<'r>)]> {
    if !parts.is_in_parts(records.len()) {
        return Cow::Borrowed(records);
    }
    let rest = records.iter().filter(|(id, _)| !parts.is_stored(*id));
    Cow::Owned(rest.copied().collect())
}

/// Applies a part of a batch, again after each conflict with another writer.
async fn apply(
    writer: &mut Writer,
    records: Records<'_, '_>,
    changes: &Changes,
    dead: &[DeadLetter],
    lists: Lists,
) -> Result<Applied, Refusal> {
    let mut tries = 0;
    let applied = loop {
        let session = writer.session().await?;
        session.cache.states.lists = lists;
        let refusal = match apply_once(session, records, changes, dead).await {
            Ok(applied) => break applied,
            Err(refusal) => refusal,
        };
        // The cache may describe a transaction that was rolled back.
        session.cache.states.clear();
        tries += 1;
        match refusal {
            Refusal::Unavailable(error)
                if error.kind == UnavailableKind::Locked && tries < TRIES_MAX =>
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
            tracing::debug!(
                reason,
                "a record is refused; storing the batch in parts to find it"
            );
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
    let Session { connection, cache } = session;
    let mut transaction = connection.begin().await.map_err(error::refusal)?;
    let done = async {
        inbox::begin_batch(&mut transaction).await?;
        let applied = apply_group(&mut transaction, cache, records, changes).await?;
        dead_letters::insert(&mut transaction, cache, dead).await?;
        Ok(applied)
    };
    let applied = match done.await {
        Ok(applied) => applied,
        Err(refusal) => {
            // The cache describes this transaction, which was rolled back.
            cache.states.clear();
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
        .chain(changes.presented.iter().map(|(charger, _)| charger))
        .map(ChargerKey::as_str);
    let Session { connection, cache } = session;
    cache
        .numbers
        .learn(connection, records, gateways, chargers)
        .await?;
    cache.days.learn(connection, &cache.numbers, records).await
}

async fn apply_group(
    connection: &mut PgConnection,
    cache: &mut Cache,
    records: Records<'_, '_>,
    changes: &Changes,
) -> Result<Applied, Refusal> {
    let (applied, new) = messages::write(connection, cache, records).await?;
    // A batch of known records was applied before, and so were its changes.
    if applied.known == records.len() as u64 && !records.is_empty() {
        return Ok(applied);
    }
    meter_values::write(connection, cache, &changes.meter_values).await?;
    let security = events::write(connection, cache, &changes.events).await?;
    quirks::write(connection, cache, &changes.quirks, &new).await?;
    // Last, because rows that other writers need stay locked from here to the commit.
    let Cache {
        numbers, states, ..
    } = cache;
    let changed = states.merge(connection, numbers, changes).await?;
    let refused = unknown_tokens::write(connection, numbers, &changes.presented, &new).await?;
    effects::join(connection, records).await?;
    local_lists::hasten_connected(connection, records).await?;
    let mut unnamed = Vec::new();
    for value in &changes.meter_values {
        if let Some(place) = value.unnamed_at {
            unnamed.push(((numbers.charger_with_key(&value.charger)?, place), value));
        }
    }
    succession::settle(connection, changed, unnamed, &mut states.changed).await?;
    let mut queued = Vec::new();
    for (change, charger_id, at) in event_log::of_records(records, &new) {
        let no = numbers.charger(charger_id)?.no.into();
        queued.push(Queued::of_charger(change, no, at));
    }
    queued.append(&mut states.changed);
    queued.extend(security);
    queued.extend(refused);
    super::event_log::push(connection, &queued).await?;
    Ok(applied)
}
