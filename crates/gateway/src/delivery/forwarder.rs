//! Delivers durable records from the journal to the sink, for as long as the journal is open.
//!
//! The forwarder reads from the journal's cursor on, delivers batches, and moves the cursor when the sink returns
//! `Ok`. While batches are being delivered it reads the next one and hands it over, so that the sink does not wait
//! for the journal. When the sink fails it backs off with jitter and tries again, and notes the reason for health
//! and metrics. It never gives up and never drops a record.
//!
//! It delivers in one of two ways. Usually no answer waits for the sink: then few large batches are cheapest, and a
//! batch that is not full waits a little for more records. With `durability = "broker"` answers wait for the sink:
//! then a record is delivered as soon as it is durable, is read without a blocking thread if it was written just
//! now, and more batches may be in flight. In both ways the sink receives batches in order, and the cursor passes
//! them in order.
//!
//! [`Forwarder::wait`] waits and returns an [`Event`]; [`Forwarder::handle_event`] decides and returns the next
//! [`Step`].

use crate::config::GatewayConfig;
use crate::delivery::status::{JOURNAL, no_answer};
use crate::delivery::{Delivery, verify};
use central::Seq;
use central::ports::{Batch, BoxFuture, Unavailable, UnavailableKind};
use common::backoff::Backoff;
use common::batch_rate::BatchRate;
use futures_util::FutureExt;
use journal::{Journal, ReadError, Reader};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Batches in flight at most while no answer waits for them.
const IN_FLIGHT_MAX: usize = 2;
/// Batches in flight at most while answers wait for them: this many of any size.
const IN_FLIGHT_SMALL_MAX: usize = 4;
/// The same for batches of at least [`LARGE_BATCH_RECORDS`], so that a busy gateway does not send a batch for each
/// record.
const IN_FLIGHT_LARGE_MAX: usize = 16;
const LARGE_BATCH_RECORDS: u64 = 64;
/// Up to these bounds records are read without a blocking thread: so few, written just now, are in the page cache.
const INLINE_READ_RECORDS: u64 = 256;
const INLINE_READ_BYTES: u64 = 256 << 10;
/// Batches are not made smaller than this for a sink that is nearly full.
const BATCH_RECORDS_MIN: usize = 32;

/// Pause after the journal has stopped; the process ends soon.
const STOPPED_PAUSE: Duration = Duration::from_secs(1);

/// Runs until the journal is closed.
pub(crate) async fn run(delivery: Arc<Delivery>) {
    let mut forwarder = Forwarder::new(delivery);
    loop {
        let stopped = forwarder.deliver_until_failure().await;
        let Some(pause) = forwarder.handle_failure(stopped) else {
            return;
        };
        tokio::time::sleep(pause).await;
    }
}

/// What is learnt from how deliveries end.
struct RetryState {
    /// The pause before the next attempt: from `retry_ms_min` to `retry_ms_max`.
    backoff: Backoff,
    /// Records of one batch at most. A sink that is nearly full accepts only small batches, and stores a part of a
    /// large one anew with every retry.
    batch_records_max: usize,
}

impl RetryState {
    fn succeeded(&mut self, config: &GatewayConfig) {
        self.backoff.reset();
        let doubled = self.batch_records_max.saturating_mul(2);
        self.batch_records_max = doubled.min(config.batch_records_max);
    }

    fn sink_is_full(&mut self) {
        self.batch_records_max = (self.batch_records_max / 2).max(BATCH_RECORDS_MIN);
    }
}

/// A batch that was handed to the sink.
struct InFlight {
    batch: Arc<Batch>,
    result: BoxFuture<'static, Result<(), Unavailable>>,
}

/// A batch read from the journal.
struct ReadBatch {
    /// `None` if the blocking thread that had it panicked.
    reader: Option<Reader>,
    batch: Batch,
    result: Result<usize, ReadError>,
}

/// What the forwarder waited for.
enum Event {
    /// The delivery of the oldest batch has ended.
    Delivered(Result<(), Unavailable>),
    /// Enough records are durable for the next batch.
    Readable,
    /// The next batch was read.
    Read(Box<ReadBatch>),
    /// The journal is closed.
    Closed,
}

/// What the forwarder does next.
enum Step {
    /// Wait for an event.
    Wait,
    /// Read the next batch after `delay`.
    Read { delay: Duration, is_inline: bool },
    /// Wait for an event after this time.
    Pause(Duration),
    /// Wait for what is in flight, then stop.
    Stop(Stopped),
}

/// Why delivery stopped.
enum Stopped {
    SinkFailed(Unavailable),
    Unreadable(ReadError),
    Closed,
}

/// The journal is closed.
#[derive(Debug)]
struct Closed;

struct Forwarder {
    delivery: Arc<Delivery>,
    retry: RetryState,
    /// Whether answers wait for the sink.
    is_eager: bool,
    /// Records up to here were handed to the sink.
    after: Seq,
    reader: Option<Reader>,
    /// Oldest first.
    in_flight: VecDeque<InFlight>,
    /// When a batch that is not full may be read.
    rate: BatchRate,
}

impl Forwarder {
    fn new(delivery: Arc<Delivery>) -> Self {
        Self {
            retry: RetryState {
                backoff: Backoff::from_millis(
                    delivery.config.retry_ms_min,
                    delivery.config.retry_ms_max,
                ),
                batch_records_max: delivery.config.batch_records_max,
            },
            is_eager: delivery.ack_gate.requires_broker_confirm(),
            after: Seq(0),
            reader: None,
            in_flight: VecDeque::with_capacity(IN_FLIGHT_LARGE_MAX),
            rate: BatchRate::new(
                Duration::from_millis(delivery.config.batch_age_ms),
                Instant::now(),
            ),
            delivery,
        }
    }

    /// Delivers from the cursor on until something fails; then nothing is in flight any more.
    async fn deliver_until_failure(&mut self) -> Stopped {
        let mut stopped = self.deliver_loop().await;
        while let Some(InFlight { batch, result }) = self.in_flight.pop_front() {
            let result = result.await;
            // Batches behind a refused one will be delivered again, whatever their result; this waits only so that
            // no record is delivered twice at the same time. Batches before an unreadable record are done when
            // they are delivered.
            if matches!(stopped, Stopped::Unreadable(_)) {
                match result {
                    Ok(()) => self.delivered(&batch),
                    Err(unavailable) => stopped = Stopped::SinkFailed(unavailable),
                }
            }
        }
        stopped
    }

    async fn deliver_loop(&mut self) -> Stopped {
        self.after = Seq(self.delivery.journal.cursor());
        self.reader = None;
        let mut step = Step::Wait;
        loop {
            let event = match step {
                Step::Wait => self.wait().await,
                Step::Pause(pause) => {
                    tokio::time::sleep(pause).await;
                    self.wait().await
                }
                Step::Read { delay, is_inline } => {
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    Event::Read(Box::new(self.read(is_inline).await))
                }
                Step::Stop(stopped) => return stopped,
            };
            step = self.handle_event(event);
        }
    }

    /// Waits until the oldest batch is delivered, or the next one can be read and may be in flight.
    async fn wait(&mut self) -> Event {
        let room = room(self.is_eager, self.in_flight.len());
        let (journal, after) = (&self.delivery.journal, self.after);
        let reader = self.reader.get_or_insert_with(|| journal.reader(after.0));
        // With nothing in flight one record is enough.
        let readable = readable(journal, Seq(after.0 + room.unwrap_or(1) - 1), reader);
        let readable = async {
            match readable.await {
                Ok(()) => Event::Readable,
                Err(Closed) => Event::Closed,
            }
        };
        match (self.in_flight.front_mut(), room) {
            (None, _) => readable.await,
            (Some(oldest), None) => Event::Delivered((&mut oldest.result).await),
            (Some(oldest), Some(_)) => tokio::select! {
                biased;
                result = &mut oldest.result => Event::Delivered(result),
                event = readable => event,
            },
        }
    }

    fn handle_event(&mut self, event: Event) -> Step {
        match event {
            Event::Closed => Step::Stop(Stopped::Closed),
            Event::Delivered(result) => self.handle_delivered(result),
            Event::Readable => self.plan_read(),
            Event::Read(read) => self.handle_read(*read),
        }
    }

    fn handle_delivered(&mut self, result: Result<(), Unavailable>) -> Step {
        let oldest = self.in_flight.pop_front();
        match (result, oldest) {
            (Err(unavailable), _) => Step::Stop(Stopped::SinkFailed(unavailable)),
            (Ok(()), oldest) => {
                self.retry.succeeded(&self.delivery.config);
                if let Some(InFlight { batch, .. }) = oldest {
                    self.delivered(&batch);
                }
                Step::Wait
            }
        }
    }

    /// A batch that is not full waits for more records if batches were read just before, unless answers wait for it.
    fn plan_read(&self) -> Step {
        let Delivery {
            journal,
            config,
            status,
            ..
        } = &*self.delivery;
        let waiting = journal.durable_seq().saturating_sub(self.after.0);
        let is_full = waiting >= config.batch_records_max as u64;
        let delay = match self.is_eager || is_full {
            true => Duration::ZERO,
            false => self
                .rate
                .next_at()
                .saturating_duration_since(Instant::now()),
        };
        let is_inline = self.is_eager
            && waiting <= INLINE_READ_RECORDS
            && waiting.saturating_mul(status.record_bytes()) <= INLINE_READ_BYTES;
        Step::Read { delay, is_inline }
    }

    fn handle_read(&mut self, read: ReadBatch) -> Step {
        let ReadBatch {
            reader,
            batch,
            result,
        } = read;
        self.reader = reader;
        match result {
            // What was read before an error is delivered; the next read returns the error again.
            Ok(_) | Err(_) if !batch.is_empty() => {}
            Ok(_) => {
                // Readable, yet there is no record: the journal is being closed.
                return Step::Pause(Duration::from_millis(self.delivery.config.retry_ms_min));
            }
            Err(ReadError::Forgotten { oldest_seq, .. }) => {
                // The journal forgets only what was delivered.
                self.after = self.after.max(Seq(oldest_seq.saturating_sub(1)));
                self.reader = None;
                return Step::Wait;
            }
            Err(ReadError::Closed) => return Step::Stop(Stopped::Closed),
            Err(error) => return Step::Stop(Stopped::Unreadable(error)),
        }
        self.after = batch.last_seq().unwrap_or(self.after);
        self.rate.count(Instant::now());
        let started = self.start_delivery(batch);
        self.in_flight.push_back(started);
        Step::Wait
    }

    /// Hands a batch to the sink. The delivery is polled once here, so that the sink receives batches in order; the
    /// rest runs in a task of its own, beside the next read.
    fn start_delivery(&self, batch: Batch) -> InFlight {
        let batch = Arc::new(batch);
        self.delivery.status.started();
        let (sink, sent) = (Arc::clone(&self.delivery.sink), Arc::clone(&batch));
        let delivering = async move { sink.deliver(sent).await };
        let mut delivering = AssertUnwindSafe(delivering).catch_unwind().boxed();
        let caught = |result: std::thread::Result<_>| {
            result.unwrap_or_else(|_| Err(no_answer("the delivery panicked")))
        };
        let result = match (&mut delivering).now_or_never() {
            Some(result) => std::future::ready(caught(result)).boxed(),
            None => tokio::spawn(delivering)
                .map(move |joined| match joined {
                    Ok(result) => caught(result),
                    Err(error) => Err(no_answer(&error.to_string())),
                })
                .boxed(),
        };
        InFlight { batch, result }
    }

    /// Reads the next batch; on a blocking thread unless `is_inline`, because the disk may be slow.
    async fn read(&mut self, is_inline: bool) -> ReadBatch {
        let (journal, after) = (&self.delivery.journal, self.after);
        let reader = self
            .reader
            .take()
            .unwrap_or_else(|| journal.reader(after.0));
        let records_max = self.retry.batch_records_max;
        if is_inline {
            return read_batch(&self.delivery, reader, records_max);
        }
        let delivery = Arc::clone(&self.delivery);
        let reading = move || read_batch(&delivery, reader, records_max);
        let read = tokio::task::spawn_blocking(reading).await;
        read.unwrap_or_else(|_| ReadBatch {
            reader: None,
            batch: Batch::new(self.delivery.gateway_id),
            result: Ok(0),
        })
    }

    /// The sink has the batch: the journal may forget it, and answers that waited for it are released.
    fn delivered(&self, batch: &Batch) {
        let Some(last) = batch.last_seq() else {
            return;
        };
        let delivery = &self.delivery;
        if let Err(error) = delivery.journal.forget_upto(last.0) {
            // The next start delivers these records again, which changes nothing.
            tracing::warn!(%error, "the journal does not forget what was delivered");
        }
        delivery.ack_gate.confirmed(last);
        let (records, bytes) = (batch.len() as u64, batch.size_bytes() as u64);
        let more_in_flight = !self.in_flight.is_empty();
        delivery
            .status
            .delivered_batch(records, bytes, more_in_flight);
        delivery.metrics.delivered_records.increment(records);
        delivery.metrics.deliveries.increment(1);
    }

    /// Notes why delivery stopped, and returns the pause before the next attempt; `None` when the journal is closed.
    fn handle_failure(&mut self, stopped: Stopped) -> Option<Duration> {
        let Delivery {
            metrics,
            status,
            ack_gate,
            ..
        } = &*self.delivery;
        match stopped {
            Stopped::SinkFailed(unavailable) => {
                metrics.delivery_failures.increment(1);
                let has_accepted = status.delivered() > 0;
                ack_gate.sink_refuses(&unavailable.to_string(), has_accepted);
                if unavailable.kind == UnavailableKind::Full {
                    self.retry.sink_is_full();
                }
                status.refused(unavailable);
            }
            Stopped::Unreadable(error) => {
                metrics.journal_unreadable.increment(1);
                let unavailable = unreadable(&error);
                // No record behind it is delivered, so no answer can wait for that.
                ack_gate.sink_refuses(&unavailable.to_string(), true);
                if status.refusal().as_ref() != Some(&unavailable) {
                    tracing::error!(%error, "the journal cannot be read: no record behind this position is delivered");
                }
                status.refused(unavailable);
            }
            Stopped::Closed => return None,
        }
        status.none_in_flight();
        Some(self.retry.backoff.next_delay())
    }
}

/// How many records must wait before the next batch may be in flight beside `in_flight` others; `None` = one of those
/// must be delivered first.
const fn room(is_eager: bool, in_flight: usize) -> Option<u64> {
    match in_flight {
        0..IN_FLIGHT_MAX => Some(1),
        0..IN_FLIGHT_SMALL_MAX if is_eager => Some(1),
        0..IN_FLIGHT_LARGE_MAX if is_eager => Some(LARGE_BATCH_RECORDS),
        _ => None,
    }
}

/// Waits until a record behind `after` is durable.
async fn readable(journal: &Journal, after: Seq, reader: &mut Reader) -> Result<(), Closed> {
    poll_fn(|cx| {
        if journal.poll_readable(after.0, cx.waker()) {
            return Poll::Ready(Ok(()));
        }
        // Reading no record finds out whether the journal is closed.
        if matches!(reader.read(0, 0, |_, _| {}), Err(ReadError::Closed)) {
            return Poll::Ready(Err(Closed));
        }
        if journal.poisoned().is_some() {
            // It would wake us again and again, and nothing will become durable.
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    })
    .await?;
    if Seq(journal.durable_seq()) <= after {
        tokio::time::sleep(STOPPED_PAUSE).await;
    }
    Ok(())
}

fn read_batch(delivery: &Delivery, mut reader: Reader, records_max: usize) -> ReadBatch {
    let mut batch = Batch::new(delivery.gateway_id);
    let bytes_max = delivery.config.batch_bytes_max;
    let result = reader.read(records_max, bytes_max, |seq, record| {
        batch.push(Seq(seq), record)
    });
    ReadBatch {
        reader: Some(reader),
        batch,
        result,
    }
}

/// An unreadable position in the journal, in the form of a sink's failure, which health, pacing and metrics know.
fn unreadable(error: &ReadError) -> Unavailable {
    let kind = match error {
        ReadError::Damaged(_) => UnavailableKind::Corrupt,
        _ => UnavailableKind::Unreachable,
    };
    Unavailable {
        component: JOURNAL,
        kind,
        detail: verify::sentence(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::sim::SimDisk;

    #[tokio::test]
    async fn waiting_for_records_ends_when_the_journal_is_closed() {
        let (journal, _) =
            Journal::open_on(SimDisk::new(1), journal::Options::default()).expect("opens");
        let waiting = tokio::spawn({
            let journal = journal.clone();
            async move {
                let mut reader = journal.reader(0);
                readable(&journal, Seq(0), &mut reader).await
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
