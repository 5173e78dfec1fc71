//! Carries what is durable from the journal to the sink, for ever: the road behind the answer.
//!
//! It reads after the cursor, delivers batches, and moves the cursor when the sink says `Ok`. While
//! one batch is being stored the next is read and handed over, so that the sink never waits for us.
//! When the sink is away it backs off with jitter and tries again, and keeps the reason for whoever
//! asks. It never gives up and never drops a record; it ends when the journal is closed.

use crate::shared::Shared;
use central::ports::{Away, AwayKind, Batch};
use journal::{Journal, ReadError, Reader};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Batches handed over and not yet confirmed.
const IN_FLIGHT_MAX: usize = 2;

/// Pause of the forwarder of a journal that has stopped; the process ends soon.
const NOTHING_MORE: Duration = Duration::from_secs(1);
/// Usual length of a record, until the first have been seen.
const RECORD_BYTES: u64 = 400;

/// How the delivery is, for the pace, the figures and the health.
#[derive(Default)]
pub(crate) struct Delivery {
    delivered: AtomicU64,
    /// Mean length of the last records, in 256ths of a byte.
    record_size: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    away: Option<Away>,
    /// Since when the first of the batches on their way has been the first.
    first_since: Option<Instant>,
}

impl Delivery {
    /// Records stored since the start.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Bytes of one record, by the last ones seen; never 0.
    pub(crate) fn record_bytes(&self) -> u64 {
        match self.record_size.load(Ordering::Relaxed) / 256 {
            0 => RECORD_BYTES,
            bytes => bytes,
        }
    }

    /// A mean over some ten thousand records: the size of a large backlog is reckoned with it, which
    /// must not jump with every batch.
    fn weigh(&self, bytes: u64, records: u64) {
        const RECORDS: u64 = 50_000;
        if records == 0 {
            return;
        }
        let seen = bytes.saturating_mul(256) / records;
        let before = match self.record_size.load(Ordering::Relaxed) {
            0 => seen,
            before => before,
        };
        let records = records.min(RECORDS);
        let mean = (before * (RECORDS - records) + seen * records) / RECORDS;
        self.record_size.store(mean, Ordering::Relaxed);
    }

    /// What the sink said last, if that was a refusal.
    pub(crate) fn away(&self) -> Option<Away> {
        self.lock().away.clone()
    }

    /// Whether the last delivery succeeded and none has been under way for longer than `stuck`.
    pub(crate) fn healthy(&self, stuck: Duration) -> bool {
        let state = self.lock();
        state.away.is_none()
            && state
                .first_since
                .is_none_or(|since| since.elapsed() < stuck)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the journal is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut retries = 0;
    loop {
        let stopped = carry(&shared, &mut retries).await;
        let pause = match stopped {
            Stopped::Away(away) => {
                shared.figures.delivery_failures.increment(1);
                let mut state = shared.delivery.lock();
                if state.away.is_none() {
                    tracing::warn!(%away, "records wait in the journal");
                }
                state.away = Some(away);
                retries += 1;
                backoff(&shared, retries)
            }
            Stopped::Unreadable(error) => {
                tracing::error!(%error, "the journal cannot be read; trying again");
                retries += 1;
                backoff(&shared, retries)
            }
            Stopped::Closed => return,
        };
        shared.delivery.lock().first_since = None;
        tokio::time::sleep(pause).await;
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

enum Stopped {
    Away(Away),
    Unreadable(ReadError),
    Closed,
}

/// A batch on its way, and its delivery, which runs as a task of its own.
struct Flight {
    batch: Arc<Batch>,
    delivery: JoinHandle<Result<(), Away>>,
}

/// Delivers from the cursor on until something fails; then nothing is on its way any more.
async fn carry(shared: &Arc<Shared>, retries: &mut u32) -> Stopped {
    let mut flights = VecDeque::with_capacity(IN_FLIGHT_MAX);
    let stopped = fly(shared, &mut flights, retries).await;
    for flight in flights {
        // It will be delivered again, whatever became of it; but never twice at the same time.
        let _ = flight.delivery.await;
    }
    stopped
}

async fn fly(shared: &Arc<Shared>, flights: &mut VecDeque<Flight>, retries: &mut u32) -> Stopped {
    let journal = &shared.journal;
    let mut after = journal.cursor();
    let mut reader = Some(journal.reader(after));
    loop {
        // Only a blocking thread that panicked keeps the reader: begin again where it was.
        let mine = reader.get_or_insert_with(|| journal.reader(after));
        // 1. What has landed moves the cursor.
        let must_wait = flights.len() >= IN_FLIGHT_MAX;
        if let Some(first) = flights.front_mut() {
            let landed = if must_wait {
                Some((&mut first.delivery).await)
            } else {
                tokio::select! {
                    biased;
                    landed = &mut first.delivery => Some(landed),
                    there = readable(journal, after, mine) => match there {
                        Ok(()) => None,
                        Err(Closed) => return Stopped::Closed,
                    },
                }
            };
            if let Some(result) = landed {
                let batch = flights.pop_front().map(|flight| flight.batch);
                let result = result.unwrap_or_else(|error| Err(lost(&error.to_string())));
                if let Err(away) = result {
                    return Stopped::Away(away);
                }
                *retries = 0;
                settle(shared, batch.as_deref(), !flights.is_empty());
                continue;
            }
        } else {
            match readable(journal, after, mine).await {
                Ok(()) => {}
                Err(Closed) => return Stopped::Closed,
            }
        }
        // 2. A batch that is not full waits a little for more.
        let waiting = journal.durable_seq().saturating_sub(after);
        if waiting < shared.config.batch_max_records as u64 {
            tokio::time::sleep(Duration::from_millis(shared.config.batch_age_ms)).await;
        }
        // 3. The next batch takes off.
        let Some(mine) = reader.take() else {
            continue;
        };
        let batch = match read(shared, mine).await {
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
        flights.push_back(take_off(shared, batch));
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

fn take_off(shared: &Arc<Shared>, batch: Batch) -> Flight {
    let batch = Arc::new(batch);
    shared
        .delivery
        .lock()
        .first_since
        .get_or_insert_with(Instant::now);
    let delivery = tokio::spawn({
        let (sink, batch) = (Arc::clone(&shared.sink), Arc::clone(&batch));
        async move { sink.deliver(batch).await }
    });
    Flight { batch, delivery }
}

fn lost(detail: &str) -> Away {
    Away {
        what: "sink",
        kind: AwayKind::Unreachable,
        detail: detail.to_owned(),
    }
}

/// Reads a batch on a blocking thread: the disk may be slow just now.
async fn read(shared: &Shared, mut reader: Reader) -> Result<(Option<Reader>, Batch), ReadError> {
    let gateway = shared.gateway_id;
    let (records, bytes) = (
        shared.config.batch_max_records,
        shared.config.batch_max_bytes,
    );
    let read = tokio::task::spawn_blocking(move || {
        let mut batch = Batch::new(gateway);
        let result = reader.read(records, bytes, |seq, record| batch.push(seq, record));
        (reader, batch, result)
    });
    let Ok((reader, batch, result)) = read.await else {
        return Ok((None, Batch::new(gateway)));
    };
    // What was read before an error was right: deliver it, and meet the error the next time.
    match result {
        Err(error) if batch.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok((Some(reader), batch)),
    }
}

/// The batch is stored: the journal may forget it.
fn settle(shared: &Shared, batch: Option<&Batch>, more_in_flight: bool) {
    let delivery = &shared.delivery;
    let mut state = delivery.lock();
    if state.away.take().is_some() {
        tracing::info!("records are delivered again");
    }
    state.first_since = more_in_flight.then(Instant::now);
    drop(state);
    let Some((batch, last)) = batch.and_then(|batch| Some((batch, batch.last_seq()?))) else {
        return;
    };
    if let Err(error) = shared.journal.forget_upto(last) {
        // The next start delivers them again, which changes nothing.
        tracing::warn!(%error, "the journal does not forget what was delivered");
    }
    let records = batch.len() as u64;
    delivery.delivered.fetch_add(records, Ordering::Relaxed);
    delivery.weigh(batch.size_bytes() as u64, records);
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
