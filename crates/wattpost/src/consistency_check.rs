//! Every start compares the journal with the database, because one of them may have been restored from an old copy.
//!
//! The journal's cursor tells which records were delivered, and the database identifies records by gateway id and
//! sequence number. After a restore of only one of the two, new records would be dropped as duplicates, or old ones
//! would never be delivered again; neither would show as an error.
//!
//! *The journal is the older one*: the start is refused ([`check`]).
//!
//! *The database is the older one*: every record that the journal still keeps before its cursor is searched in the
//! database and delivered again if it is missing ([`deliver_missing`]). Comparing the greatest number is not enough:
//! after a restore RabbitMQ delivers newer records, so the missing ones are a gap below them. With RabbitMQ some of
//! them may still be in its queues; the inbox in the database drops those that arrive twice.

use anyhow::{Context, Result, bail};
use central::ports::{Batch, Maintenance, Sink, Unavailable};
use central::{GatewayId, Record, Timestamp};
use journal::{Journal, ReadError, Reader};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Records per comparison.
const BATCH_RECORDS: usize = 4_000;
const BATCH_BYTES: usize = 4 << 20;
/// How long a start waits for the database; chargers cannot connect meanwhile.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses between attempts while the database is unavailable.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
const DAY_MILLIS: i64 = 86_400_000;
/// How many numbers after the journal's end are searched besides the disregarded one.
const FOLLOWING: u64 = 100_000;

/// Compares the greatest number in the database with the journal's end. With the database away nothing can be
/// compared, and the start goes on: chargers come first. `disregard` is `journal.disregard_seq`: the one number
/// beyond the journal's end that may be stored; 0 = none.
///
/// # Errors
/// When the database is ahead of the journal: going on would drop new records as known ones.
pub(crate) async fn check(
    journal: &Journal,
    gateway_id: GatewayId,
    database: &Arc<dyn Maintenance>,
    disregard: u64,
) -> Result<()> {
    let durable = journal.durable_seq();
    let asked = Arc::clone(database);
    let asking =
        tokio::task::spawn_blocking(move || ahead(&*asked, gateway_id, durable, disregard));
    let Ok(stored) = tokio::time::timeout(QUERY_TIMEOUT, asking).await else {
        tracing::warn!("the database does not answer: it cannot be compared with the journal now");
        return Ok(());
    };
    match stored.context("ask the database how far it is")? {
        Ok(None) => Ok(()),
        Ok(Some(Ahead::Disregarded)) => {
            tracing::warn!(
                "journal.disregard_seq = {disregard} is beyond the journal's end ({durable}) and in the database; \
                 it is disregarded, as the setting says"
            );
            Ok(())
        }
        Ok(Some(Ahead::Stored(stored))) => bail!(
            "the database holds records up to {stored} of this gateway, but its journal ends at \
             {durable}: the journal is an older copy; move the directory `journal` away (the next start \
             begins a new one under a new gateway id), so that no new record is taken for an old one. If only \
             this one number was written into the database by mistake, delete its row, or set \
             journal.disregard_seq = {stored}"
        ),
        Err(away) => {
            tracing::warn!(%away, "cannot compare the database with the journal now");
            Ok(())
        }
    }
}

/// A number in the database beyond the journal's end.
enum Ahead {
    /// The greatest.
    Stored(u64),
    /// Only the one that is to be disregarded.
    Disregarded,
}

fn ahead(
    database: &dyn Maintenance,
    gateway_id: GatewayId,
    durable: u64,
    disregard: u64,
) -> Result<Option<Ahead>, Unavailable> {
    let stored = database.last_seq(gateway_id)?.unwrap_or(0);
    if stored <= durable {
        return Ok(None);
    }
    if stored != disregard {
        return Ok(Some(Ahead::Stored(stored)));
    }
    // An older copy of the journal would show in the numbers that follow its end.
    let last = durable.saturating_add(FOLLOWING).min(stored - 1);
    let following = database.stored_seqs(gateway_id, durable + 1, last)?;
    Ok(Some(match following.into_iter().max() {
        Some(following) => Ahead::Stored(following),
        None => Ahead::Disregarded,
    }))
}

/// What [`deliver_missing`] works with.
pub(crate) struct Comparison {
    pub(crate) journal: Journal,
    pub(crate) gateway_id: GatewayId,
    pub(crate) database: Arc<dyn Maintenance>,
    /// The way to the database past RabbitMQ.
    pub(crate) sink: Arc<dyn Sink>,
    /// What waits before it begins: with RabbitMQ, time for what was under way at the last stop.
    pub(crate) settle: Duration,
    /// `database.retain_days`: older records are missing because they were dropped. 0 = none is dropped.
    pub(crate) retain_days: u32,
}

/// Looks for every record that the journal keeps behind its cursor in the database, and delivers again what
/// is not there; says so in the log. Waits for a database that is away. Ends when all are compared, or when
/// the journal is closed. The work is bounded by `journal.retain_bytes`.
///
/// A dead letter that somebody discarded is not there either, and comes back as a dead letter while the journal
/// keeps its record.
pub(crate) async fn deliver_missing(work: Comparison) {
    let upto = work.journal.cursor();
    tokio::time::sleep(work.settle).await;
    let mut found = Found::default();
    let mut reader = Some(
        work.journal
            .reader(work.journal.oldest_seq().saturating_sub(1)),
    );
    while let Some(mine) = reader.take() {
        let gateway_id = work.gateway_id;
        let read = tokio::task::spawn_blocking(move || read_some(mine, gateway_id, upto)).await;
        let (mine, batch) = match read {
            Ok((mine, Ok(batch))) => (mine, batch),
            Ok((_, Err(ReadError::Forgotten { oldest_seq, .. }))) => {
                reader = Some(work.journal.reader(oldest_seq.saturating_sub(1)));
                continue;
            }
            Ok((_, Err(ReadError::Closed))) => return,
            // What waits to be delivered is not looked for here.
            Ok((mine, Err(_))) if mine.next_seq() > upto => break,
            Ok((mut mine, Err(error))) => {
                let passed = tokio::task::spawn_blocking(move || {
                    let passed = mine.pass_over();
                    (mine, passed)
                });
                let Ok((mine, passed)) = passed.await else {
                    break;
                };
                tracing::warn!(
                    %error,
                    ?passed,
                    "records that are delivered cannot be read: whether the database has them is not known"
                );
                reader = Some(mine);
                continue;
            }
            Err(_) => break,
        };
        if batch.is_empty() {
            break;
        }
        compare(&work, &batch, &mut found).await;
        if batch.last_seq().is_some_and(|last| last < upto) {
            reader = Some(mine);
        }
    }
    found.tell();
}

/// What was found, in records.
#[derive(Default)]
struct Found {
    compared: u64,
    missing: u64,
    first_missing: u64,
    last_missing: u64,
}

impl Found {
    fn is_missing(&mut self, batch: &Batch) {
        let (Some((first, _)), Some(last)) = (batch.iter().next(), batch.last_seq()) else {
            return;
        };
        if self.missing == 0 {
            self.first_missing = first.seq;
            tracing::warn!(
                first = first.seq,
                "the database lacks records that were delivered before: is it an older copy, or are they \
                 still in RabbitMQ? What the journal keeps of them is delivered again"
            );
        }
        self.last_missing = last;
        self.missing += batch.len() as u64;
    }

    fn tell(&self) {
        if self.missing == 0 {
            tracing::debug!(
                compared = self.compared,
                "the database has all that the journal keeps of what was delivered"
            );
            return;
        }
        tracing::warn!(
            compared = self.compared,
            delivered_again = self.missing,
            first = self.first_missing,
            last = self.last_missing,
            "the database has again what the journal keeps; what is older than journal.retain_bytes is not \
             in the journal any more"
        );
    }
}

/// The next records up to number `upto`.
fn read_some(
    mut reader: Reader,
    gateway_id: GatewayId,
    upto: u64,
) -> (Reader, Result<Batch, ReadError>) {
    let mut batch = Batch::new(gateway_id);
    let read = reader.read(BATCH_RECORDS, BATCH_BYTES, |seq, bytes| {
        if seq <= upto {
            batch.push(seq, bytes);
        }
    });
    let result = match read {
        // What was read before the error is right; the next turn meets the error.
        Err(error) if batch.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok(batch),
    };
    (reader, result)
}

/// Has every record of the batch in the database in the end.
async fn compare(work: &Comparison, batch: &Batch, found: &mut Found) {
    let (Some((first, _)), Some(last)) = (batch.iter().next(), batch.last_seq()) else {
        return;
    };
    let mut pause = RETRY_MIN;
    let stored = loop {
        let (database, gateway_id) = (Arc::clone(&work.database), work.gateway_id);
        let asking =
            tokio::task::spawn_blocking(move || database.stored_seqs(gateway_id, first.seq, last));
        match asking.await {
            Ok(Ok(stored)) => break stored.into_iter().collect::<HashSet<u64>>(),
            Ok(Err(away)) => wait(&mut pause, &away).await,
            Err(_) => return,
        }
    };
    found.compared += batch.len() as u64;
    let missing = missing(batch, &stored, oldest_kept(work.retain_days));
    if missing.is_empty() {
        return;
    }
    found.is_missing(&missing);
    let missing = Arc::new(missing);
    pause = RETRY_MIN;
    while let Err(away) = work.sink.deliver(Arc::clone(&missing)).await {
        wait(&mut pause, &away).await;
    }
    metrics::counter!("wattpost_gateway_redelivered_records_total").increment(missing.len() as u64);
}

async fn wait(pause: &mut Duration, away: &Unavailable) {
    tracing::debug!(%away, "the journal cannot be compared with the database now; tried again");
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(RETRY_MAX);
}

/// The records that are not among the `stored` and were received after `oldest`.
fn missing(batch: &Batch, stored: &HashSet<u64>, oldest: Option<Timestamp>) -> Batch {
    let mut missing: Option<Batch> = None;
    for (id, bytes) in batch.iter() {
        let is_dropped = oldest.is_some_and(|oldest| {
            // One that cannot be read is judged by whoever applies it.
            Record::decode(bytes).is_ok_and(|record| record.received_at < oldest)
        });
        if !stored.contains(&id.seq) && !is_dropped {
            missing
                .get_or_insert_with(|| Batch::new(id.gateway))
                .push(id.seq, bytes);
        }
    }
    missing.unwrap_or_else(|| Batch::new(GatewayId(uuid::Uuid::nil())))
}

/// What was received before this may have been dropped already: a whole day later than the retention says,
/// so that nothing is put back that is dropped within the hour.
fn oldest_kept(retain_days: u32) -> Option<Timestamp> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let now = i64::try_from(now.as_millis()).ok()?;
    let days = i64::from(retain_days.checked_sub(1)?);
    Some(Timestamp(now - days * DAY_MILLIS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seqs: std::ops::Range<u64>) -> Batch {
        let mut batch = Batch::new(GatewayId(uuid::Uuid::from_u128(7)));
        for seq in seqs {
            let received_at = Timestamp(i64::try_from(seq).unwrap() * DAY_MILLIS);
            batch.push(seq, &central::record::gateway_started(received_at, seq));
        }
        batch
    }

    fn seqs(batch: &Batch) -> Vec<u64> {
        batch.iter().map(|(id, _)| id.seq).collect()
    }

    #[test]
    fn what_is_not_stored_is_missing_wherever_it_lies() {
        let stored: HashSet<u64> = [10, 11, 14, 17, 99].into();
        let missing = missing(&batch(10..18), &stored, None);
        assert_eq!(seqs(&missing), [12, 13, 15, 16]);
        let gateway = missing.iter().next().unwrap().0.gateway;
        assert_eq!(gateway, GatewayId(uuid::Uuid::from_u128(7)));
    }

    #[test]
    fn what_is_past_the_retention_is_not_missed() {
        let oldest = Some(Timestamp(15 * DAY_MILLIS));
        let missing = missing(&batch(10..18), &HashSet::from([16]), oldest);
        assert_eq!(seqs(&missing), [15, 17]);
    }

    #[test]
    fn the_retention_counts_whole_days_and_none_keeps_everything() {
        assert_eq!(oldest_kept(0), None);
        let (one, ten) = (oldest_kept(1).unwrap(), oldest_kept(10).unwrap());
        let days = (one.0 - ten.0) as f64 / DAY_MILLIS as f64;
        assert!((days - 9.0).abs() < 0.001, "{days}");
    }
}
