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
use central::{GatewayId, Record, Seq, Timestamp};
use common::backoff::Backoff;
use common::clock::now_ms;
use journal::{Journal, ReadError, Reader};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Records per comparison.
const BATCH_RECORDS: usize = 4_000;
const BATCH_BYTES: usize = 4 << 20;
/// A start waits no longer for the database, because chargers cannot connect meanwhile.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Delays between attempts while the database is unavailable.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
const DAY_MILLIS: i64 = 86_400_000;
/// How many numbers after the journal's end are searched for stored records, apart from the disregarded one.
const FOLLOWING: u64 = 100_000;

/// Compares the greatest number in the database with the journal's end. If the database is unavailable, the start
/// continues without the comparison, so that chargers can connect. `disregard` is `journal.disregard_seq`: the one
/// number after the journal's end that may be stored; 0 = none.
///
/// # Errors
/// When the database holds a greater number: new records would be dropped as duplicates.
pub(crate) async fn check(
    journal: &Journal,
    gateway_id: GatewayId,
    database: &Arc<dyn Maintenance>,
    disregard: Seq,
) -> Result<()> {
    let durable = Seq(journal.durable_seq());
    let asked = Arc::clone(database);
    let asking =
        tokio::task::spawn_blocking(move || ahead(&*asked, gateway_id, durable, disregard));
    let Ok(stored) = tokio::time::timeout(QUERY_TIMEOUT, asking).await else {
        tracing::warn!("the database does not answer; it is not compared with the journal");
        return Ok(());
    };
    match stored.context("query the greatest stored number")? {
        Ok(None) => Ok(()),
        Ok(Some(Ahead::Disregarded)) => {
            tracing::warn!(
                "record {disregard} is stored but after the journal's end ({durable}); it is disregarded because of \
                 journal.disregard_seq"
            );
            Ok(())
        }
        Ok(Some(Ahead::Stored(stored))) => bail!(
            "the database holds records up to {stored} of this gateway, but its journal ends at \
             {durable}: the journal is an older copy, and new records would be taken for known ones; move the \
             directory `journal` away (the next start creates a new one with a new gateway id). If only \
             this one number was written into the database by mistake, delete its row, or set \
             journal.disregard_seq = {stored}"
        ),
        Err(error) => {
            tracing::warn!(%error, "the database is not compared with the journal");
            Ok(())
        }
    }
}

/// Stored numbers after the journal's end.
enum Ahead {
    /// The greatest of them.
    Stored(Seq),
    /// Only the disregarded one.
    Disregarded,
}

fn ahead(
    database: &dyn Maintenance,
    gateway_id: GatewayId,
    durable: Seq,
    disregard: Seq,
) -> Result<Option<Ahead>, Unavailable> {
    let stored = database.last_seq(gateway_id)?.unwrap_or_default();
    if stored <= durable {
        return Ok(None);
    }
    if stored != disregard {
        return Ok(Some(Ahead::Stored(stored)));
    }
    // If the journal is an older copy, numbers right after its end are stored too.
    let last = durable.0.saturating_add(FOLLOWING).min(stored.0 - 1);
    let following = database.stored_seqs(gateway_id, Seq(durable.0 + 1), Seq(last))?;
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
    /// Delivers to the database directly, without RabbitMQ.
    pub(crate) sink: Arc<dyn Sink>,
    /// The delay before the comparison. With RabbitMQ, records that are still in its queues arrive meanwhile.
    pub(crate) settle: Duration,
    /// `database.retain_days`: older records were dropped and are not missing. 0: no record is dropped.
    pub(crate) retain_days: u32,
}

/// Delivers again every record that the journal keeps before its cursor and that the database does not have; logs
/// how many. Waits while the database is unavailable. Ends when all are compared, or when the journal is closed. At
/// most `journal.retain_bytes` are compared.
///
/// A discarded dead letter is missing from the database too: it becomes a dead letter again if the journal still
/// keeps its record.
pub(crate) async fn deliver_missing(work: Comparison) {
    let upto = Seq(work.journal.cursor());
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
            // Records after the cursor are not compared: the forwarder delivers them.
            Ok((mine, Err(_))) if Seq(mine.next_seq()) > upto => break,
            Ok((mut mine, Err(error))) => {
                let passed = tokio::task::spawn_blocking(move || {
                    let passed = mine.skip_damaged();
                    (mine, passed)
                });
                let Ok((mine, passed)) = passed.await else {
                    break;
                };
                tracing::warn!(
                    %error,
                    ?passed,
                    "delivered records cannot be read from the journal; they are not compared with the database"
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
    found.log();
}

/// The result, in records.
#[derive(Default)]
struct Found {
    compared: u64,
    missing: u64,
    first_missing: Seq,
    last_missing: Seq,
}

impl Found {
    fn add_missing(&mut self, batch: &Batch) {
        let (Some((first, _)), Some(last)) = (batch.iter().next(), batch.last_seq()) else {
            return;
        };
        if self.missing == 0 {
            self.first_missing = first.seq;
            tracing::warn!(
                first = first.seq.0,
                "the database lacks records that were delivered before: it is an older copy, or they are \
                 still in RabbitMQ. Those that the journal still keeps are delivered again"
            );
        }
        self.last_missing = last;
        self.missing += batch.len() as u64;
    }

    fn log(&self) {
        if self.missing == 0 {
            tracing::debug!(
                compared = self.compared,
                "the database has every delivered record that the journal keeps"
            );
            return;
        }
        tracing::warn!(
            compared = self.compared,
            delivered_again = self.missing,
            first = self.first_missing.0,
            last = self.last_missing.0,
            "records that the database lacked were delivered again; the journal keeps only the last \
             journal.retain_bytes of them"
        );
    }
}

/// The next records up to number `upto`.
fn read_some(
    mut reader: Reader,
    gateway_id: GatewayId,
    upto: Seq,
) -> (Reader, Result<Batch, ReadError>) {
    let mut batch = Batch::new(gateway_id);
    let read = reader.read(BATCH_RECORDS, BATCH_BYTES, |seq, bytes| {
        if Seq(seq) <= upto {
            batch.push(Seq(seq), bytes);
        }
    });
    let result = match read {
        // The records before the error are valid; the next read returns the error.
        Err(error) if batch.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok(batch),
    };
    (reader, result)
}

/// Delivers the records of the batch that the database lacks; tries again until that is done.
async fn compare(work: &Comparison, batch: &Batch, found: &mut Found) {
    let (Some((first, _)), Some(last)) = (batch.iter().next(), batch.last_seq()) else {
        return;
    };
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let stored = loop {
        let (database, gateway_id) = (Arc::clone(&work.database), work.gateway_id);
        let asking =
            tokio::task::spawn_blocking(move || database.stored_seqs(gateway_id, first.seq, last));
        match asking.await {
            Ok(Ok(stored)) => break stored.into_iter().collect::<HashSet<Seq>>(),
            Ok(Err(error)) => wait(&mut backoff, &error).await,
            Err(_) => return,
        }
    };
    found.compared += batch.len() as u64;
    let missing = missing(batch, &stored, oldest_kept(work.retain_days));
    if missing.is_empty() {
        return;
    }
    found.add_missing(&missing);
    let missing = Arc::new(missing);
    backoff.reset();
    while let Err(error) = work.sink.deliver(Arc::clone(&missing)).await {
        wait(&mut backoff, &error).await;
    }
    metrics::counter!("wattpost_gateway_redelivered_records_total").increment(missing.len() as u64);
}

async fn wait(backoff: &mut Backoff, error: &Unavailable) {
    tracing::debug!(%error, "the journal cannot be compared with the database; trying again");
    tokio::time::sleep(backoff.next_delay()).await;
}

/// The records of the batch that are not in `stored` and were received after `oldest`.
fn missing(batch: &Batch, stored: &HashSet<Seq>, oldest: Option<Timestamp>) -> Batch {
    let mut missing: Option<Batch> = None;
    for (id, bytes) in batch.iter() {
        let is_dropped = oldest.is_some_and(|oldest| {
            // A record that cannot be decoded is delivered; the applier makes it a dead letter.
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

/// Records received before this may have been dropped already. It is one day later than the retention, so that
/// no record is delivered again that is dropped soon after.
fn oldest_kept(retain_days: u32) -> Option<Timestamp> {
    let days = i64::from(retain_days.checked_sub(1)?);
    Some(Timestamp(now_ms() - days * DAY_MILLIS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::Epoch;

    fn batch(seqs: std::ops::Range<u64>) -> Batch {
        let mut batch = Batch::new(GatewayId(uuid::Uuid::from_u128(7)));
        for seq in seqs {
            let received_at = Timestamp(i64::try_from(seq).unwrap() * DAY_MILLIS);
            let bytes = central::record::gateway_started(received_at, Epoch(seq));
            batch.push(Seq(seq), &bytes);
        }
        batch
    }

    fn seqs(batch: &Batch) -> Vec<u64> {
        batch.iter().map(|(id, _)| id.seq.0).collect()
    }

    #[test]
    fn records_that_are_not_stored_are_missing_at_any_position() {
        let stored: HashSet<Seq> = [10, 11, 14, 17, 99].map(Seq).into();
        let missing = missing(&batch(10..18), &stored, None);
        assert_eq!(seqs(&missing), [12, 13, 15, 16]);
        let gateway = missing.iter().next().unwrap().0.gateway;
        assert_eq!(gateway, GatewayId(uuid::Uuid::from_u128(7)));
    }

    #[test]
    fn record_older_than_the_retention_is_not_missing() {
        let oldest = Some(Timestamp(15 * DAY_MILLIS));
        let missing = missing(&batch(10..18), &HashSet::from([Seq(16)]), oldest);
        assert_eq!(seqs(&missing), [15, 17]);
    }

    #[test]
    fn retention_counts_whole_days_and_zero_keeps_everything() {
        assert_eq!(oldest_kept(0), None);
        let (one, ten) = (oldest_kept(1).unwrap(), oldest_kept(10).unwrap());
        let days = (one.0 - ten.0) as f64 / DAY_MILLIS as f64;
        assert!((days - 9.0).abs() < 0.001, "{days}");
    }
}
