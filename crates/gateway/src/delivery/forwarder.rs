//! Carries what is durable from the journal to the sink, for ever: the road behind the answer.
//!
//! It reads after the cursor, delivers batches, and moves the cursor when the sink says `Ok`. While
//! batches are being stored the next is read and handed over, so that the sink never waits for us.
//! When the sink is away it backs off with jitter and tries again, and keeps the reason for whoever
//! asks. It never gives up and never drops a record; it ends when the journal is closed.
//!
//! It works in one of two ways. Usually answers do not wait for the sink: then few and large batches are
//! cheapest, and a batch that is not full waits a little for more. With `durability = "broker"` answers
//! do wait: then a record leaves as soon as it is durable, read on the spot when it was written just now,
//! and more batches may be on their way. Either way the sink first sees them in their order, and the
//! cursor passes them in their order.

use crate::delivery::verify;
use crate::delivery::{JOURNAL, lost};
use crate::shared::Shared;
use central::ports::{Away, AwayKind, Batch, BoxFuture};
use futures_util::FutureExt;
use journal::{Journal, ReadError, Reader};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Batches handed over and not yet confirmed, while nobody waits for them.
const GATHERED_MAX: usize = 2;
/// The same while answers wait for them: this many of any size,
const HURRIED_FEW: usize = 4;
/// and up to this many when they are worth it, so that a busy gateway does not pay for a batch per record.
const HURRIED_MAX: usize = 16;
const WORTH_IT_RECORDS: u64 = 64;
/// What is read on the spot at most: so little, and written just now, is in the system's memory.
const ON_THE_SPOT_RECORDS: u64 = 256;
const ON_THE_SPOT_BYTES: u64 = 256 << 10;
/// Batches are not made smaller than this for a sink that has little room left.
const BATCH_RECORDS_MIN: usize = 32;

/// Pause of the forwarder of a journal that has stopped; the process ends soon.
const NOTHING_MORE: Duration = Duration::from_secs(1);

/// What is learnt from how deliveries end.
struct Manner {
    /// Failures since the last success.
    retries: u32,
    /// Records of one batch at most. A sink with little room left takes small ones only, and a part of a
    /// large one would arrive again with every try.
    batch_records_max: usize,
}

/// Runs until the journal is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut manner = Manner {
        retries: 0,
        batch_records_max: shared.config.batch_records_max,
    };
    loop {
        match carry(&shared, &mut manner).await {
            Stopped::Away(away) => {
                shared.figures.delivery_failures.increment(1);
                let was_heard = shared.delivery.delivered() > 0;
                shared.watermark.sink_is_away(&away.to_string(), was_heard);
                if away.kind == AwayKind::Full {
                    let half = manner.batch_records_max / 2;
                    manner.batch_records_max = half.max(BATCH_RECORDS_MIN);
                }
                shared.delivery.refused(away);
            }
            Stopped::Unreadable(error) => {
                shared.figures.journal_unreadable.increment(1);
                let away = unreadable(&error);
                // Nothing behind it is delivered, so no answer can wait for that.
                shared.watermark.sink_is_away(&away.to_string(), true);
                if shared.delivery.away().as_ref() != Some(&away) {
                    tracing::error!(%error, "the journal cannot be read: nothing behind this place is delivered");
                }
                shared.delivery.refused(away);
            }
            Stopped::Closed => return,
        }
        manner.retries += 1;
        shared.delivery.nothing_under_way();
        tokio::time::sleep(backoff(&shared, manner.retries)).await;
    }
}

/// Exponential from `retry_min_ms` to `retry_max_ms`, between half and all of it.
fn backoff(shared: &Shared, retries: u32) -> Duration {
    let (min, max) = (shared.config.retry_min_ms, shared.config.retry_max_ms);
    let full = min
        .saturating_mul(1 << retries.saturating_sub(1).min(20))
        .min(max);
    Duration::from_millis(full / 2 + fastrand::u64(0..=full / 2))
}

/// A place in the journal that cannot be read, as a refusal like that of a sink: health, pace and figures know
/// what to make of it.
fn unreadable(error: &ReadError) -> Away {
    let kind = match error {
        ReadError::Damaged(_) => AwayKind::Corrupt,
        _ => AwayKind::Unreachable,
    };
    Away {
        what: JOURNAL,
        kind,
        detail: verify::sentence(error),
    }
}

enum Stopped {
    Away(Away),
    Unreadable(ReadError),
    Closed,
}

/// A batch on its way.
struct Flight {
    batch: Arc<Batch>,
    delivery: BoxFuture<'static, Result<(), Away>>,
}

/// Delivers from the cursor on until something fails; then nothing is on its way any more.
async fn carry(shared: &Arc<Shared>, manner: &mut Manner) -> Stopped {
    let mut flights = VecDeque::with_capacity(HURRIED_MAX);
    let mut stopped = fly(shared, &mut flights, manner).await;
    while let Some(flight) = flights.pop_front() {
        let landed = flight.delivery.await;
        // Behind a refusal all will be delivered again, whatever became of it; but never twice at the same
        // time. What lies before a place that cannot be read is done once it has landed.
        if matches!(stopped, Stopped::Unreadable(_)) {
            match landed {
                Ok(()) => settle(shared, Some(&flight.batch), !flights.is_empty()),
                Err(away) => stopped = Stopped::Away(away),
            }
        }
    }
    stopped
}

async fn fly(shared: &Arc<Shared>, flights: &mut VecDeque<Flight>, manner: &mut Manner) -> Stopped {
    let journal = &shared.journal;
    let hurries = shared.watermark.hurries();
    let mut after = journal.cursor();
    let mut reader = Some(journal.reader(after));
    loop {
        // Only a blocking thread that panicked keeps the reader: begin again where it was.
        let mine = reader.get_or_insert_with(|| journal.reader(after));
        // 1. What has landed moves the cursor.
        let room = room(hurries, flights.len());
        if let Some(first) = flights.front_mut() {
            let landed = match room {
                None => Some((&mut first.delivery).await),
                Some(wanted) => tokio::select! {
                    biased;
                    landed = &mut first.delivery => Some(landed),
                    there = readable(journal, after + wanted - 1, mine) => match there {
                        Ok(()) => None,
                        Err(Closed) => return Stopped::Closed,
                    },
                },
            };
            if let Some(result) = landed {
                let batch = flights.pop_front().map(|flight| flight.batch);
                if let Err(away) = result {
                    return Stopped::Away(away);
                }
                manner.retries = 0;
                let doubled = manner.batch_records_max.saturating_mul(2);
                manner.batch_records_max = doubled.min(shared.config.batch_records_max);
                settle(shared, batch.as_deref(), !flights.is_empty());
                continue;
            }
        } else {
            match readable(journal, after, mine).await {
                Ok(()) => {}
                Err(Closed) => return Stopped::Closed,
            }
        }
        // 2. A batch that is not full waits a little for more, unless answers wait for it.
        let waiting = journal.durable_seq().saturating_sub(after);
        if !hurries && waiting < shared.config.batch_records_max as u64 {
            tokio::time::sleep(Duration::from_millis(shared.config.batch_age_ms)).await;
        }
        // 3. The next batch takes off.
        let Some(mine) = reader.take() else {
            continue;
        };
        let on_the_spot = hurries
            && waiting <= ON_THE_SPOT_RECORDS
            && waiting.saturating_mul(shared.delivery.record_bytes()) <= ON_THE_SPOT_BYTES;
        let read = if on_the_spot {
            let (mine, batch, result) = read_some(shared, mine, manner.batch_records_max);
            judge(mine, batch, result)
        } else {
            read_elsewhere(shared, mine, manner.batch_records_max).await
        };
        let batch = match read {
            Ok((back, batch)) => {
                reader = back;
                batch
            }
            Err(ReadError::Forgotten { oldest_seq, .. }) => {
                // Everything before it is forgotten, so it was delivered.
                after = after.max(oldest_seq.saturating_sub(1));
                reader = Some(journal.reader(after));
                continue;
            }
            Err(ReadError::Closed) => return Stopped::Closed,
            Err(error) => return Stopped::Unreadable(error),
        };
        let Some(last) = batch.last_seq() else {
            // Readable, yet nothing there: the journal is being closed.
            tokio::time::sleep(Duration::from_millis(shared.config.retry_min_ms)).await;
            continue;
        };
        after = last;
        flights.push_back(take_off(shared, batch).await);
    }
}

/// How many records must wait for the next batch to take off beside those on their way; `None` = one of
/// those must land first.
const fn room(hurries: bool, flights: usize) -> Option<u64> {
    match flights {
        0..GATHERED_MAX => Some(1),
        0..HURRIED_FEW if hurries => Some(1),
        0..HURRIED_MAX if hurries => Some(WORTH_IT_RECORDS),
        _ => None,
    }
}

/// The journal is closed.
#[derive(Debug)]
struct Closed;

/// Waits until there is something durable to read.
async fn readable(journal: &Journal, after: u64, reader: &mut Reader) -> Result<(), Closed> {
    poll_fn(|cx| {
        if journal.poll_readable(after, cx.waker()) {
            return Poll::Ready(Ok(()));
        }
        // Reading nothing tells.
        if matches!(reader.read(0, 0, |_, _| {}), Err(ReadError::Closed)) {
            return Poll::Ready(Err(Closed));
        }
        if journal.poisoned().is_some() {
            // It would wake us again and again, and there will never be anything.
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    })
    .await?;
    if journal.durable_seq() <= after {
        tokio::time::sleep(NOTHING_MORE).await;
    }
    Ok(())
}

/// Hands a batch over. Its first step is done here and now, so that the sink sees batches in their order;
/// the rest is a task of its own, which goes on while we read.
async fn take_off(shared: &Arc<Shared>, batch: Batch) -> Flight {
    let batch = Arc::new(batch);
    shared.delivery.one_more_under_way();
    let (sink, taken) = (Arc::clone(&shared.sink), Arc::clone(&batch));
    let delivering = async move { sink.deliver(taken).await };
    let mut delivering = AssertUnwindSafe(delivering).catch_unwind().boxed();
    let caught = |result: std::thread::Result<_>| {
        result.unwrap_or_else(|_| Err(lost("handing a batch over panicked")))
    };
    let first_step = poll_fn(|cx| Poll::Ready(delivering.as_mut().poll(cx))).await;
    let delivery = match first_step {
        Poll::Ready(result) => std::future::ready(caught(result)).boxed(),
        Poll::Pending => tokio::spawn(delivering)
            .map(move |joined| match joined {
                Ok(result) => caught(result),
                Err(error) => Err(lost(&error.to_string())),
            })
            .boxed(),
    };
    Flight { batch, delivery }
}

type Read = Result<(Option<Reader>, Batch), ReadError>;

/// Reads a batch on a blocking thread: the disk may be slow just now.
async fn read_elsewhere(shared: &Arc<Shared>, reader: Reader, records_max: usize) -> Read {
    let task = {
        let shared = Arc::clone(shared);
        move || read_some(&shared, reader, records_max)
    };
    match tokio::task::spawn_blocking(task).await {
        Ok((reader, batch, result)) => judge(reader, batch, result),
        Err(_) => Ok((None, Batch::new(shared.gateway_id))),
    }
}

fn read_some(
    shared: &Shared,
    mut reader: Reader,
    records_max: usize,
) -> (Reader, Batch, Result<usize, ReadError>) {
    let mut batch = Batch::new(shared.gateway_id);
    let bytes_max = shared.config.batch_bytes_max;
    let result = reader.read(records_max, bytes_max, |seq, record| {
        batch.push(seq, record)
    });
    (reader, batch, result)
}

/// What was read before an error was right: deliver it, and meet the error the next time.
fn judge(reader: Reader, batch: Batch, result: Result<usize, ReadError>) -> Read {
    match result {
        Err(error) if batch.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok((Some(reader), batch)),
    }
}

/// The batch is stored: the journal may forget it, and who waited for that is let out.
fn settle(shared: &Shared, batch: Option<&Batch>, more_in_flight: bool) {
    let Some((batch, last)) = batch.and_then(|batch| Some((batch, batch.last_seq()?))) else {
        return;
    };
    if let Err(error) = shared.journal.forget_upto(last) {
        // The next start delivers them again, which changes nothing.
        tracing::warn!(%error, "the journal does not forget what was delivered");
    }
    shared.watermark.confirmed(last);
    let records = batch.len() as u64;
    shared
        .delivery
        .landed(records, batch.size_bytes() as u64, more_in_flight);
    shared.figures.delivered_records.increment(records);
    shared.figures.deliveries.increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::sim::SimDisk;

    #[tokio::test]
    async fn who_waits_for_records_learns_that_the_journal_is_closed() {
        let (journal, _) =
            Journal::open_on(SimDisk::new(1), journal::Options::default()).expect("opens");
        let waiting = tokio::spawn({
            let journal = journal.clone();
            async move {
                let mut reader = journal.reader(0);
                readable(&journal, 0, &mut reader).await
            }
        });
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(move || journal.close())
            .await
            .expect("no panic")
            .expect("closes");
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(matches!(ended, Ok(Ok(Err(Closed)))), "{ended:?}");
    }
}
