//! Records out: publishes batches one behind the other without waiting in between, and matches every
//! confirm of RabbitMQ to its record.
//!
//! A batch is `Ok` when each of its records was confirmed. The first refusal, and any trouble, is the
//! answer to every batch in line, so that none overtakes another; what was on its way by then may have
//! arrived, which the law of [`central::ports::Sink`] allows.
//!
//! *Returned records.* A record that no queue takes is returned and confirmed, and the library pins what was
//! returned to whichever confirm it handles next. So no batch is answered `Ok` before the confirms that have
//! come for the records behind it were looked at: nothing that came back before a batch's own confirms is
//! overlooked, whomever it was pinned to.
//!
//! Records are published inside `deliver`, by the caller, as far as the window has room: the wake-up of
//! another task would be a fifth of the time that a single record needs.

use crate::link::{Session, away};
use crate::topology::of_partition;
use crate::{Config, envelope, routing};
use central::Record;
use central::ports::{Batch, Unavailable, UnavailableKind};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
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
type Answer = Result<(), Unavailable>;

/// Publishes on one channel.
pub(crate) struct Publisher {
    channel: Arc<Channel>,
    /// Of the partitions.
    exchanges: Vec<ShortString>,
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
    confirm: State,
    since: Instant,
    bytes: usize,
}

enum State {
    Awaited(Confirm),
    Here(Said),
}

/// What RabbitMQ says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Confirmed,
    Refused,
    /// This record or another one came back.
    Returned,
    Trouble(String),
}

impl From<lapin::Result<Confirmation>> for Said {
    fn from(said: lapin::Result<Confirmation>) -> Self {
        match said {
            Ok(Confirmation::Ack(None)) => Self::Confirmed,
            Ok(Confirmation::Nack(None)) => Self::Refused,
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => Self::Returned,
            Ok(Confirmation::NotRequested) => Self::Trouble("the channel does not confirm".into()),
            Err(error) => Self::Trouble(format!("the channel has ended: {error}")),
        }
    }
}

impl Pending {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        if let State::Awaited(confirm) = &mut self.confirm
            && let Poll::Ready(said) = confirm.as_mut().poll(cx)
        {
            self.confirm = State::Here(said.into());
        }
        match &self.confirm {
            State::Awaited(_) => Poll::Pending,
            State::Here(said) => Poll::Ready(said.clone()),
        }
    }

    fn tells_of_a_return(&mut self) -> bool {
        self.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(Said::Returned)
    }
}

impl Publisher {
    /// Takes over a channel for publishing.
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
            line: Mutex::default(),
            refused: Notify::new(),
            published: metrics::counter!("wattpost_broker_published_records_total"),
            confirm_time: metrics::histogram!("wattpost_broker_deliver_seconds"),
        })
    }

    /// Puts a batch in line; its answer comes from the receiver, which fails when the connection ends.
    pub(crate) fn submit(
        &self,
        batch: Arc<Batch>,
    ) -> Result<oneshot::Receiver<Answer>, Unavailable> {
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
    pub(crate) fn refuse(&self, why: Unavailable) {
        let mut line = self.lock();
        line.refusal = Some(why.clone());
        line.answer_all(&why);
    }

    /// As [`Publisher::refuse`], until [`Publisher::unblock`].
    pub(crate) fn block(&self, why: Unavailable) {
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
        match line.look_at_confirms(cx, || self.full()) {
            Ok(complete) => complete.into_iter().for_each(|job| self.answer(job)),
            Err(trouble) => return Poll::Ready(trouble),
        }
        if WINDOW - line.pending.len() >= ROOM_MIN {
            let was_empty = line.pending.is_empty();
            let written = self.write(&mut line, STRETCH);
            // There may be more to write; and the oldest must know whom to wake.
            if written == STRETCH || (was_empty && written > 0) {
                cx.waker().wake_by_ref();
            }
        }
        line.waker = Some(cx.waker().clone());
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
                    confirm: State::Awaited(confirm),
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
        // As many as there are partitions, whose number is a u16.
        let partitions = self.exchanges.len() as u16;
        let (partition, key) = match (Record::decode(bytes), reason) {
            (Ok(record), None) => {
                envelope::encode(id, &record, &mut message);
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

fn returned() -> String {
    metrics::counter!("wattpost_broker_returned_records_total").increment(1);
    "a record found no queue: the topology is broken".into()
}

impl Line {
    /// Takes out what RabbitMQ has spoken about and gives the batches that are confirmed to the last record.
    fn look_at_confirms(
        &mut self,
        cx: &mut Context<'_>,
        full: impl Fn() -> Unavailable,
    ) -> Result<Vec<Job>, String> {
        let mut complete = Vec::new();
        while let Some(oldest) = self.pending.front_mut() {
            let Poll::Ready(said) = oldest.poll(cx) else {
                break;
            };
            self.settle();
            match said {
                Said::Confirmed => complete.extend(self.confirmed()),
                Said::Refused => {
                    if !self.orphan() {
                        self.answer_all(&full());
                    }
                }
                Said::Returned => return Err(returned()),
                Said::Trouble(trouble) => return Err(trouble),
            }
        }
        // The oldest was asked just now, and must keep our waker.
        let mut others = self.pending.iter_mut().skip(1);
        if !complete.is_empty() && others.any(Pending::tells_of_a_return) {
            return Err(returned());
        }
        Ok(complete)
    }

    /// The oldest record is confirmed; gives its batch when that was the last of it.
    fn confirmed(&mut self) -> Option<Job> {
        if self.orphan() {
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

    fn answer_all(&mut self, why: &Unavailable) {
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
    use central::record::GatewayId;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn awaited(since: Instant) -> Pending {
        Pending {
            confirm: State::Awaited(Box::pin(std::future::pending())),
            since,
            bytes: 10,
        }
    }

    fn here(said: Said) -> Pending {
        Pending {
            confirm: State::Here(said),
            ..awaited(Instant::now())
        }
    }

    /// A batch of one record for each of these, all written.
    fn line(pending: Vec<Pending>) -> (Line, Vec<oneshot::Receiver<Answer>>) {
        let mut line = Line::default();
        let mut answers = Vec::new();
        for pending in pending {
            let mut batch = Batch::new(GatewayId(uuid::Uuid::nil()));
            batch.push(1, b"a record");
            let (answer, answered) = oneshot::channel();
            line.jobs.push_back(Job {
                batch: Arc::new(batch),
                next: 1,
                confirmed: 0,
                since: pending.since,
                answer,
            });
            line.pending_bytes += pending.bytes;
            line.pending.push_back(pending);
            line.written += 1;
            answers.push(answered);
        }
        (line, answers)
    }

    fn look(line: &mut Line) -> Result<usize, String> {
        let mut cx = Context::from_waker(Waker::noop());
        let full = || unreachable!("nothing is refused");
        line.look_at_confirms(&mut cx, full)
            .map(|complete| complete.len())
    }

    #[test]
    fn a_return_that_is_told_with_a_later_confirm_is_seen_before_a_batch_is_answered() {
        let now = Instant::now();
        let (mut quiet, _answers) = line(vec![
            here(Said::Confirmed),
            awaited(now),
            here(Said::Confirmed),
        ]);
        assert_eq!(look(&mut quiet), Ok(1));
        let (mut told, mut answers) = line(vec![
            here(Said::Confirmed),
            awaited(now),
            here(Said::Returned),
        ]);
        assert!(look(&mut told).is_err());
        drop(told);
        let unanswered = answers[0].try_recv();
        assert_eq!(unanswered, Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn the_next_confirm_wakes_who_looks() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let now = Instant::now();
        let (said, says) = oneshot::channel();
        let next = Pending {
            confirm: State::Awaited(Box::pin(async { says.await.expect("said") })),
            ..awaited(now)
        };
        let (mut line, _answers) = line(vec![here(Said::Confirmed), next, awaited(now)]);
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let full = || unreachable!("nothing is refused");
        let complete = line.look_at_confirms(&mut Context::from_waker(&waker), full);
        assert_eq!(complete.map(|complete| complete.len()), Ok(1));
        said.send(Ok(Confirmation::Ack(None))).expect("awaited");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn progress_counts_and_not_the_age_of_one_record() {
        let limit = Duration::from_secs(2);
        let start = Instant::now();
        let pending = || awaited(start);
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
