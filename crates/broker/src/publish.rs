//! Publishes batches one after the other without waiting in between, and matches each of RabbitMQ's publisher
//! confirms to its record.
//!
//! A batch is `Ok` when each of its records was confirmed. The first refusal or error is the answer to every
//! queued batch, so that none overtakes another; records published by then may have arrived, which the contract
//! of [`central::ports::Sink`] allows.
//!
//! *Returned records.* A record that no queue takes is returned and confirmed, and the client library attaches
//! the returned message to the confirm that it handles next. So before a batch is answered `Ok`, the confirms
//! that have arrived for later records are checked too: no return that came before the batch's own confirms is
//! missed, whichever confirm it was attached to.
//!
//! `deliver` publishes the records itself as far as the window allows: waking another task would take a fifth of
//! the time of a single record.

use crate::link::{Session, unavailable};
use crate::topology::of_partition;
use crate::{Config, envelope, routing};
use central::Record;
use central::ports::{Batch, Unavailable, UnavailableKind};
use common::lock::lock;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Maximum number of unconfirmed records: the library searches all of them at every confirm.
const WINDOW: usize = 1_024;
/// Maximum size of the unconfirmed records in bytes, in addition to the first: on a slow link the first confirm
/// of a window must not wait behind a gigabyte.
const WINDOW_BYTES: usize = 4 << 20;
/// Records are published when this many fit into the window, not one by one.
const ROOM_MIN: usize = 256;
/// Maximum number of records published without yielding the thread.
const YIELD_EVERY: usize = 128;
/// Maximum number of records that `deliver` publishes itself.
const AT_ONCE: usize = 64;

type Confirm = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;
type Answer = Result<(), Unavailable>;

/// Publishes on one channel.
pub(crate) struct Publisher {
    channel: Arc<Channel>,
    /// The exchanges of the partitions.
    exchanges: Vec<ShortString>,
    queue_records_max: u64,
    confirm_timeout: Duration,
    queue: Mutex<PublishQueue>,
    /// Notified when RabbitMQ refused a record.
    pub(crate) refused: Notify,
    published: metrics::Counter,
    confirm_time: metrics::Histogram,
}

#[derive(Default)]
struct PublishQueue {
    /// Unanswered batches, oldest first.
    jobs: VecDeque<Job>,
    /// The number of these, from the oldest, that are published completely.
    written: usize,
    /// Unconfirmed records, in the order in which they were published.
    pending: VecDeque<Pending>,
    /// The size of these records in bytes.
    pending_bytes: usize,
    /// Time of the last confirm or refusal.
    last_confirm: Option<Instant>,
    /// The number of unconfirmed records, from the oldest, whose batch was already answered.
    detached: usize,
    /// The answer to every new batch.
    refusal: Option<Unavailable>,
    blocked: bool,
    waker: Option<Waker>,
}

struct Job {
    batch: Arc<Batch>,
    next: usize,
    confirmed: usize,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Job {
    fn len(&self) -> usize {
        self.batch.len() + self.batch.unreadable().len()
    }
}

struct Pending {
    confirm: ConfirmState,
    since: Instant,
    bytes: usize,
}

enum ConfirmState {
    Awaited(Confirm),
    Done(ConfirmOutcome),
}

/// RabbitMQ's answer to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ConfirmOutcome {
    Confirmed,
    Refused,
    /// This record or another one was returned.
    Returned,
    ChannelError(String),
}

impl From<lapin::Result<Confirmation>> for ConfirmOutcome {
    fn from(outcome: lapin::Result<Confirmation>) -> Self {
        match outcome {
            Ok(Confirmation::Ack(None)) => Self::Confirmed,
            Ok(Confirmation::Nack(None)) => Self::Refused,
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => Self::Returned,
            Ok(Confirmation::NotRequested) => {
                Self::ChannelError("the channel does not confirm".into())
            }
            Err(error) => Self::ChannelError(format!("the channel has ended: {error}")),
        }
    }
}

impl Pending {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConfirmOutcome> {
        if let ConfirmState::Awaited(confirm) = &mut self.confirm
            && let Poll::Ready(outcome) = confirm.as_mut().poll(cx)
        {
            self.confirm = ConfirmState::Done(outcome.into());
        }
        match &self.confirm {
            ConfirmState::Awaited(_) => Poll::Pending,
            ConfirmState::Done(outcome) => Poll::Ready(outcome.clone()),
        }
    }

    fn is_returned(&mut self) -> bool {
        self.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(ConfirmOutcome::Returned)
    }
}

impl Publisher {
    /// Puts the channel into confirm mode and publishes on it.
    pub(crate) async fn open(channel: Channel, config: &Config) -> lapin::Result<Self> {
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            channel: Arc::new(channel),
            exchanges: (0..config.partitions)
                .map(|partition| of_partition(partition).into())
                .collect(),
            queue_records_max: config.queue_records_max,
            confirm_timeout: config.confirm_timeout(),
            queue: Mutex::default(),
            refused: Notify::new(),
            published: metrics::counter!("wattpost_broker_published_records_total"),
            confirm_time: metrics::histogram!("wattpost_broker_deliver_seconds"),
        })
    }

    /// Queues a batch; the receiver yields its answer, and fails when the connection ends.
    pub(crate) fn submit(
        &self,
        batch: Arc<Batch>,
    ) -> Result<oneshot::Receiver<Answer>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let waker = {
            let mut queue = self.lock();
            if let Some(refusal) = &queue.refusal {
                return Err(refusal.clone());
            }
            if batch.is_empty() {
                let _ = answer.send(Ok(()));
                return Ok(answered);
            }
            queue.jobs.push_back(Job {
                batch,
                next: 0,
                confirmed: 0,
                since: Instant::now(),
                answer,
            });
            self.write(&mut queue, AT_ONCE);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(answered)
    }

    /// Answers all queued batches, and every later one, with an error.
    pub(crate) fn refuse(&self, why: Unavailable) {
        let mut queue = self.lock();
        queue.refusal = Some(why.clone());
        queue.answer_all(&why);
    }

    /// Like [`Publisher::refuse`], until [`Publisher::unblock`].
    pub(crate) fn block(&self, why: Unavailable) {
        self.lock().blocked = true;
        self.refuse(why);
    }

    /// RabbitMQ accepts records again.
    pub(crate) fn unblock(&self) {
        let mut queue = self.lock();
        queue.blocked = false;
        queue.refusal = None;
        let now = Instant::now();
        for pending in &mut queue.pending {
            pending.since = now;
        }
    }

    /// Publishes and handles confirms until the connection has an error, and then fails it.
    pub(crate) async fn run(self: Arc<Self>, session: Arc<Session>) {
        let tick =
            (self.confirm_timeout / 8).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let mut tick = tokio::time::interval(tick);
        let error = loop {
            tokio::select! {
                biased;
                error = poll_fn(|cx| self.poll(cx)) => break error,
                _ = tick.tick() => {
                    if self.is_overdue() {
                        let limit = self.confirm_timeout.as_millis();
                        break format!("no record was confirmed for {limit} ms");
                    }
                }
            }
        };
        self.refuse(unavailable(&error));
        session.fail(error);
    }

    fn is_overdue(&self) -> bool {
        self.lock().is_overdue(self.confirm_timeout, Instant::now())
    }

    /// Ready when the channel can no longer be used.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<String> {
        let mut queue = self.lock();
        match queue.take_confirms(cx, || self.full()) {
            Ok(complete) => complete.into_iter().for_each(|job| self.answer(job)),
            Err(error) => return Poll::Ready(error),
        }
        if WINDOW - queue.pending.len() >= ROOM_MIN {
            let was_empty = queue.pending.is_empty();
            let written = self.write(&mut queue, YIELD_EVERY);
            // More records may fit now; and the oldest confirm must have this task's waker.
            if written == YIELD_EVERY || (was_empty && written > 0) {
                cx.waker().wake_by_ref();
            }
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn answer(&self, complete: Job) {
        self.published.increment(complete.len() as u64);
        self.confirm_time.record(complete.since.elapsed());
        let _ = complete.answer.send(Ok(()));
    }

    fn full(&self) -> Unavailable {
        self.refused.notify_one();
        metrics::counter!("wattpost_broker_refusals_total").increment(1);
        Unavailable {
            component: "RabbitMQ",
            kind: UnavailableKind::Full,
            detail: format!(
                "it refused a record: a queue holds broker.queue_records_max = {} records, or as \
                 many as a policy of RabbitMQ allows (max-length), or cannot be written",
                self.queue_records_max
            ),
        }
    }

    /// Publishes the next queued records, at most `records` and as many as the window allows; returns their
    /// number.
    fn write(&self, queue: &mut PublishQueue, records: usize) -> usize {
        let room = records.min(WINDOW - queue.pending.len());
        let mut done = 0;
        let since = Instant::now();
        while let Some(job) = queue.jobs.get_mut(queue.written) {
            let batch = job.batch.clone();
            let readable = batch.len();
            let records = batch.iter().map(|(id, bytes)| (id, bytes, None));
            let letters = batch
                .unreadable()
                .iter()
                .skip(job.next.saturating_sub(readable))
                .map(|letter| (letter.id, &letter.bytes[..], Some(letter.reason.as_str())));
            for (id, bytes, reason) in records.skip(job.next).chain(letters) {
                let is_first = queue.pending.is_empty();
                if done == room || (!is_first && queue.pending_bytes + bytes.len() > WINDOW_BYTES) {
                    return done;
                }
                let confirm = self.publish(id, bytes, reason);
                let bytes = bytes.len();
                queue.pending_bytes += bytes;
                queue.pending.push_back(Pending {
                    confirm: ConfirmState::Awaited(confirm),
                    since,
                    bytes,
                });
                job.next += 1;
                done += 1;
            }
            queue.written += 1;
        }
        done
    }

    /// Publishes one record. The future completes with RabbitMQ's confirm.
    fn publish(&self, id: central::RecordId, bytes: &[u8], reason: Option<&str>) -> Confirm {
        let mut message = Vec::new();
        // The number of exchanges is that of the partitions, a u16.
        let partitions = self.exchanges.len() as u16;
        let (partition, key) = match (Record::decode(bytes), reason) {
            (Ok(record), None) => {
                envelope::encode_bounded(id, &record, bytes, &mut message);
                let partition = routing::partition(record.charger_id, partitions);
                (partition, routing::key(&record, partition))
            }
            _ => {
                envelope::encode_unreadable(id, bytes, reason, &mut message);
                let partition = routing::partition_of_unreadable(id, partitions);
                (partition, routing::key_of_unreadable(partition))
            }
        };
        let exchange = self.exchanges[usize::from(partition)].clone();
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_message_id(id.to_string().into());
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let channel = self.channel.clone();
        let mut confirm: Confirm = Box::pin(async move {
            let confirm = channel
                .basic_publish(exchange, key.into(), options, &message, properties)
                .await?;
            drop(message);
            confirm.await
        });
        // The first poll queues the frames without waiting, so records are sent in the order of the calls.
        let mut noop = Context::from_waker(Waker::noop());
        match confirm.as_mut().poll(&mut noop) {
            Poll::Pending => confirm,
            Poll::Ready(early) => Box::pin(std::future::ready(early)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, PublishQueue> {
        lock(&self.queue)
    }
}

fn returned() -> String {
    metrics::counter!("wattpost_broker_returned_records_total").increment(1);
    "a record was returned because no queue was bound: the topology is incomplete".into()
}

impl PublishQueue {
    /// Removes the records that RabbitMQ has answered, and returns the batches whose last record is confirmed.
    fn take_confirms(
        &mut self,
        cx: &mut Context<'_>,
        full: impl Fn() -> Unavailable,
    ) -> Result<Vec<Job>, String> {
        let mut complete = Vec::new();
        while let Some(oldest) = self.pending.front_mut() {
            let Poll::Ready(outcome) = oldest.poll(cx) else {
                break;
            };
            self.settle();
            match outcome {
                ConfirmOutcome::Confirmed => complete.extend(self.confirmed()),
                ConfirmOutcome::Refused => {
                    if !self.take_detached() {
                        self.answer_all(&full());
                    }
                }
                ConfirmOutcome::Returned => return Err(returned()),
                ConfirmOutcome::ChannelError(error) => return Err(error),
            }
        }
        // The oldest was polled just now, and keeps this task's waker.
        let mut others = self.pending.iter_mut().skip(1);
        if !complete.is_empty() && others.any(Pending::is_returned) {
            return Err(returned());
        }
        Ok(complete)
    }

    /// Handles the confirm of the oldest record; returns its batch when that was its last record.
    fn confirmed(&mut self) -> Option<Job> {
        if self.take_detached() {
            return None;
        }
        let job = self.jobs.front_mut()?;
        job.confirmed += 1;
        if job.confirmed < job.len() {
            return None;
        }
        self.written -= 1;
        self.jobs.pop_front()
    }

    /// Removes the oldest record, which was confirmed or refused.
    fn settle(&mut self) {
        self.last_confirm = Some(Instant::now());
        if let Some(settled) = self.pending.pop_front() {
            self.pending_bytes -= settled.bytes;
        }
    }

    /// Whether records are unconfirmed and no confirm has arrived for `limit`, for any record: on a slow link
    /// the last record of a window waits for all before it.
    fn is_overdue(&self, limit: Duration, now: Instant) -> bool {
        let Some(oldest) = self.pending.front() else {
            return false;
        };
        let since = self
            .last_confirm
            .map_or(oldest.since, |at| at.max(oldest.since));
        !self.blocked && now.saturating_duration_since(since) > limit
    }

    /// Whether the oldest record belongs to a batch that was already answered.
    fn take_detached(&mut self) -> bool {
        let is_detached = self.detached > 0;
        self.detached = self.detached.saturating_sub(1);
        is_detached
    }

    fn answer_all(&mut self, why: &Unavailable) {
        for job in self.jobs.drain(..) {
            let _ = job.answer.send(Err(why.clone()));
        }
        self.written = 0;
        self.detached = self.pending.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::Seq;
    use central::record::GatewayId;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn awaited(since: Instant) -> Pending {
        Pending {
            confirm: ConfirmState::Awaited(Box::pin(std::future::pending())),
            since,
            bytes: 10,
        }
    }

    fn here(outcome: ConfirmOutcome) -> Pending {
        Pending {
            confirm: ConfirmState::Done(outcome),
            ..awaited(Instant::now())
        }
    }

    /// A batch of one record for each of these, all written.
    fn queue(pending: Vec<Pending>) -> (PublishQueue, Vec<oneshot::Receiver<Answer>>) {
        let mut queue = PublishQueue::default();
        let mut answers = Vec::new();
        for pending in pending {
            let mut batch = Batch::new(GatewayId(uuid::Uuid::nil()));
            batch.push(Seq(1), b"a record");
            let (answer, answered) = oneshot::channel();
            queue.jobs.push_back(Job {
                batch: Arc::new(batch),
                next: 1,
                confirmed: 0,
                since: pending.since,
                answer,
            });
            queue.pending_bytes += pending.bytes;
            queue.pending.push_back(pending);
            queue.written += 1;
            answers.push(answered);
        }
        (queue, answers)
    }

    fn take(queue: &mut PublishQueue) -> Result<usize, String> {
        let mut cx = Context::from_waker(Waker::noop());
        let full = || unreachable!("nothing is refused");
        queue
            .take_confirms(&mut cx, full)
            .map(|complete| complete.len())
    }

    #[test]
    fn a_return_attached_to_a_later_confirm_is_seen_before_the_batch_is_answered() {
        let now = Instant::now();
        let (mut quiet, _answers) = queue(vec![
            here(ConfirmOutcome::Confirmed),
            awaited(now),
            here(ConfirmOutcome::Confirmed),
        ]);
        assert_eq!(take(&mut quiet), Ok(1));
        let (mut attached, mut answers) = queue(vec![
            here(ConfirmOutcome::Confirmed),
            awaited(now),
            here(ConfirmOutcome::Returned),
        ]);
        assert!(take(&mut attached).is_err());
        drop(attached);
        let unanswered = answers[0].try_recv();
        assert_eq!(unanswered, Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn the_next_confirm_wakes_the_waiting_task() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let now = Instant::now();
        let (outcome, says) = oneshot::channel();
        let next = Pending {
            confirm: ConfirmState::Awaited(Box::pin(async { says.await.expect("outcome") })),
            ..awaited(now)
        };
        let (mut queue, _answers) =
            queue(vec![here(ConfirmOutcome::Confirmed), next, awaited(now)]);
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let full = || unreachable!("nothing is refused");
        let complete = queue.take_confirms(&mut Context::from_waker(&waker), full);
        assert_eq!(complete.map(|complete| complete.len()), Ok(1));
        outcome.send(Ok(Confirmation::Ack(None))).expect("awaited");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_confirm_of_any_record_restarts_the_timeout() {
        let limit = Duration::from_secs(2);
        let start = Instant::now();
        let pending = || awaited(start);
        let mut queue = PublishQueue {
            pending: VecDeque::from([pending(), pending()]),
            pending_bytes: 20,
            ..PublishQueue::default()
        };
        assert!(!queue.is_overdue(limit, start + limit));
        assert!(queue.is_overdue(limit, start + limit * 2));
        queue.settle();
        let last_confirm = queue.last_confirm.expect("just now");
        queue.last_confirm = Some(last_confirm + limit);
        assert!(!queue.is_overdue(limit, last_confirm + limit * 2));
        assert!(queue.is_overdue(limit, last_confirm + limit * 3));
        queue.settle();
        assert_eq!(queue.pending_bytes, 0);
        assert!(!queue.is_overdue(limit, last_confirm + limit * 9));
    }
}
