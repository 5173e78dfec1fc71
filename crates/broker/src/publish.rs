//! Records out: publishes batches one behind the other without waiting in between, and matches every
//! confirm of RabbitMQ to its record.
//!
//! A batch is `Ok` when each of its records was confirmed. The first refusal, and any trouble, is the
//! answer to every batch in line, so that none overtakes another; what was on its way by then may have
//! arrived, which the law of [`central::ports::Sink`] allows.
//!
//! Records are published inside `deliver`, by the caller, as far as the window has room: the wake-up of
//! another task would be a fifth of the time that a single record needs.

use crate::link::{Session, away};
use crate::topology::RECORDS;
use crate::{Config, envelope, routing};
use central::Record;
use central::ports::{Away, AwayKind, Batch};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Unconfirmed records at most: the library looks through all of them at every confirm.
const WINDOW: usize = 1_024;
/// Bytes of unconfirmed records at most, beyond the first: on a narrow link the first confirm of a
/// window must not stand behind a gigabyte.
const WINDOW_BYTES: usize = 4 << 20;
/// Records are written when there is room for this many, not one by one.
const ROOM_MIN: usize = 256;
/// Records written in one go, so that nobody keeps a thread for long.
const STRETCH: usize = 128;
/// Records that `deliver` writes itself.
const AT_ONCE: usize = 64;

type Confirm = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;
type Answer = Result<(), Away>;

/// Publishes on one channel.
pub(crate) struct Publisher {
    channel: Arc<Channel>,
    partitions: u16,
    queue_records_max: u64,
    confirm_timeout: Duration,
    line: Mutex<Line>,
    /// Told when RabbitMQ refused a record.
    pub(crate) refused: Notify,
    published: metrics::Counter,
    confirm_time: metrics::Histogram,
}

#[derive(Default)]
struct Line {
    /// Batches that are not answered, oldest first.
    jobs: VecDeque<Job>,
    /// How many of them, from the oldest, are written to the last record.
    written: usize,
    /// Records that are not confirmed, in the order in which they were published.
    pending: VecDeque<Pending>,
    /// Their records' bytes.
    pending_bytes: usize,
    /// When the last confirm or refusal came.
    heard: Option<Instant>,
    /// How many of them, from the oldest, belong to batches that were answered already.
    orphans: usize,
    /// What every new batch is told.
    refusal: Option<Away>,
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
    confirm: Confirm,
    since: Instant,
    bytes: usize,
}

impl Publisher {
    /// Takes over a channel for publishing.
    pub(crate) async fn open(channel: Channel, config: &Config) -> lapin::Result<Self> {
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            channel: Arc::new(channel),
            partitions: config.partitions,
            queue_records_max: config.queue_records_max,
            confirm_timeout: config.confirm_timeout(),
            line: Mutex::default(),
            refused: Notify::new(),
            published: metrics::counter!("wattpost_broker_published_records_total"),
            confirm_time: metrics::histogram!("wattpost_broker_deliver_seconds"),
        })
    }

    /// Puts a batch in line; its answer comes from the receiver, which fails when the connection ends.
    pub(crate) fn submit(&self, batch: Arc<Batch>) -> Result<oneshot::Receiver<Answer>, Away> {
        let (answer, answered) = oneshot::channel();
        let waker = {
            let mut line = self.lock();
            if let Some(refusal) = &line.refusal {
                return Err(refusal.clone());
            }
            if batch.is_empty() {
                let _ = answer.send(Ok(()));
                return Ok(answered);
            }
            line.jobs.push_back(Job {
                batch,
                next: 0,
                confirmed: 0,
                since: Instant::now(),
                answer,
            });
            self.write(&mut line, AT_ONCE);
            line.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(answered)
    }

    /// Answers all batches in line, and every later one.
    pub(crate) fn refuse(&self, why: Away) {
        let mut line = self.lock();
        line.refusal = Some(why.clone());
        line.answer_all(&why);
    }

    /// As [`Publisher::refuse`], until [`Publisher::unblock`].
    pub(crate) fn block(&self, why: Away) {
        self.lock().blocked = true;
        self.refuse(why);
    }

    /// RabbitMQ takes records again.
    pub(crate) fn unblock(&self) {
        let mut line = self.lock();
        line.blocked = false;
        line.refusal = None;
        let now = Instant::now();
        for pending in &mut line.pending {
            pending.since = now;
        }
    }

    /// Writes and settles until something is wrong with the connection, and gives that up then.
    pub(crate) async fn run(self: Arc<Self>, session: Arc<Session>) {
        let tick =
            (self.confirm_timeout / 8).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let mut tick = tokio::time::interval(tick);
        let trouble = loop {
            tokio::select! {
                biased;
                trouble = poll_fn(|cx| self.poll(cx)) => break trouble,
                _ = tick.tick() => {
                    if self.is_overdue() {
                        let limit = self.confirm_timeout.as_millis();
                        break format!("no record was confirmed for {limit} ms");
                    }
                }
            }
        };
        self.refuse(away(&trouble));
        session.fail(trouble);
    }

    fn is_overdue(&self) -> bool {
        self.lock().is_overdue(self.confirm_timeout, Instant::now())
    }

    /// Ready when the channel is of no use any more.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<String> {
        let mut line = self.lock();
        while let Some(oldest) = line.pending.front_mut() {
            let Poll::Ready(confirmation) = oldest.confirm.as_mut().poll(cx) else {
                break;
            };
            line.settle();
            match confirmation {
                Ok(Confirmation::Ack(None)) => self.confirmed(&mut line),
                Ok(Confirmation::Nack(None)) => {
                    if !line.orphan() {
                        line.answer_all(&self.full());
                    }
                }
                Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                    metrics::counter!("wattpost_broker_returned_records_total").increment(1);
                    return Poll::Ready("a record found no queue: the topology is broken".into());
                }
                Ok(Confirmation::NotRequested) => {
                    return Poll::Ready("the channel does not confirm".into());
                }
                Err(error) => {
                    return Poll::Ready(format!("the channel has ended: {error}"));
                }
            }
        }
        if WINDOW - line.pending.len() >= ROOM_MIN && self.write(&mut line, STRETCH) == STRETCH {
            cx.waker().wake_by_ref();
        }
        line.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn confirmed(&self, line: &mut Line) {
        if line.orphan() {
            return;
        }
        let Some(job) = line.jobs.front_mut() else {
            return;
        };
        job.confirmed += 1;
        if job.confirmed < job.len() {
            return;
        }
        if let Some(job) = line.jobs.pop_front() {
            line.written -= 1;
            self.published.increment(job.len() as u64);
            self.confirm_time.record(job.since.elapsed());
            let _ = job.answer.send(Ok(()));
        }
    }

    fn full(&self) -> Away {
        self.refused.notify_one();
        metrics::counter!("wattpost_broker_refusals_total").increment(1);
        Away {
            what: "RabbitMQ",
            kind: AwayKind::Full,
            detail: format!(
                "it refused a record: a queue holds broker.queue_records_max = {} records, or as \
                 many as a policy of RabbitMQ allows (max-length), or cannot be written",
                self.queue_records_max
            ),
        }
    }

    /// Publishes what is next in line, at most `records` and as many as the window takes; returns how
    /// many.
    fn write(&self, line: &mut Line, records: usize) -> usize {
        let room = records.min(WINDOW - line.pending.len());
        let mut done = 0;
        let since = Instant::now();
        while let Some(job) = line.jobs.get_mut(line.written) {
            let batch = job.batch.clone();
            let readable = batch.len();
            let records = batch.iter().map(|(id, bytes)| (id, bytes, None));
            let letters = batch
                .unreadable()
                .iter()
                .skip(job.next.saturating_sub(readable))
                .map(|letter| (letter.id, &letter.bytes[..], Some(letter.reason.as_str())));
            for (id, bytes, reason) in records.skip(job.next).chain(letters) {
                let is_first = line.pending.is_empty();
                if done == room || (!is_first && line.pending_bytes + bytes.len() > WINDOW_BYTES) {
                    return done;
                }
                let confirm = self.publish(id, bytes, reason);
                let bytes = bytes.len();
                line.pending_bytes += bytes;
                line.pending.push_back(Pending {
                    confirm,
                    since,
                    bytes,
                });
                job.next += 1;
                done += 1;
            }
            line.written += 1;
        }
        done
    }

    /// Hands one record to the library. What it returns is ready when RabbitMQ has confirmed.
    fn publish(&self, id: central::RecordId, bytes: &[u8], reason: Option<&str>) -> Confirm {
        let mut message = Vec::new();
        let key = match (Record::decode(bytes), reason) {
            (Ok(record), None) => {
                envelope::encode(id, &record, &mut message);
                routing::key(&record, self.partitions)
            }
            _ => {
                envelope::encode_unreadable(id, bytes, reason, &mut message);
                routing::key_of_unreadable(id, self.partitions)
            }
        };
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
                .basic_publish(RECORDS.into(), key.into(), options, &message, properties)
                .await?;
            drop(message);
            confirm.await
        });
        // The first poll is what puts the frames in line, without waiting; so order is that of calls.
        let mut nobody = Context::from_waker(Waker::noop());
        match confirm.as_mut().poll(&mut nobody) {
            Poll::Pending => confirm,
            Poll::Ready(early) => Box::pin(std::future::ready(early)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Takes the oldest record out, which was confirmed or refused.
    fn settle(&mut self) {
        self.heard = Some(Instant::now());
        if let Some(settled) = self.pending.pop_front() {
            self.pending_bytes -= settled.bytes;
        }
    }

    /// Whether something waits for a confirm and none has come for so long, for whatever record: on a
    /// narrow link the last record of a window waits for all before it.
    fn is_overdue(&self, limit: Duration, now: Instant) -> bool {
        let Some(oldest) = self.pending.front() else {
            return false;
        };
        let since = self.heard.map_or(oldest.since, |at| at.max(oldest.since));
        !self.blocked && now.saturating_duration_since(since) > limit
    }

    /// Whether the oldest record belonged to a batch that was answered already.
    fn orphan(&mut self) -> bool {
        let is_orphan = self.orphans > 0;
        self.orphans = self.orphans.saturating_sub(1);
        is_orphan
    }

    fn answer_all(&mut self, why: &Away) {
        for job in self.jobs.drain(..) {
            let _ = job.answer.send(Err(why.clone()));
        }
        self.written = 0;
        self.orphans = self.pending.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_and_not_the_age_of_one_record() {
        let limit = Duration::from_secs(2);
        let start = Instant::now();
        let pending = || Pending {
            confirm: Box::pin(std::future::pending()),
            since: start,
            bytes: 10,
        };
        let mut line = Line {
            pending: VecDeque::from([pending(), pending()]),
            pending_bytes: 20,
            ..Line::default()
        };
        assert!(!line.is_overdue(limit, start + limit));
        assert!(line.is_overdue(limit, start + limit * 2));
        line.settle();
        let heard = line.heard.expect("just now");
        line.heard = Some(heard + limit);
        assert!(!line.is_overdue(limit, heard + limit * 2));
        assert!(line.is_overdue(limit, heard + limit * 3));
        line.settle();
        assert_eq!(line.pending_bytes, 0);
        assert!(!line.is_overdue(limit, heard + limit * 9));
    }
}
