//! Consumes records: one channel with a consumer on every queue, read in the order in which RabbitMQ sent, so
//! that one acknowledgement covers a whole batch.
//!
//! RabbitMQ numbers the deliveries of a channel; the client library sorts them by consumer. Acknowledging with
//! `multiple` is right only when all earlier deliveries have been taken, so the deliveries are first put back in
//! their order.

use crate::envelope::{self, Decoded};
use crate::link::{BrokerShared, Session, unavailable};
use crate::topology::{self, DEAD, UNROUTABLE};
use central::ports::{
    Batch, BoxFuture, CollectBounds, Collected, DeadLetter, Subscription, Unavailable,
};
use central::record::GatewayId;
use futures_util::{FutureExt, Stream};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Polling interval while a batch is being filled, instead of one wake-up per delivery.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Queues of partitions beyond the setting are looked up as far as this number.
const PARTITIONS_MAX: u16 = 256;

/// Starts the consumers.
pub(crate) async fn subscribe(
    shared: &BrokerShared,
    session: Arc<Session>,
) -> Result<Box<dyn Subscription>, Unavailable> {
    let opened = tokio::select! {
        () = session.broken.cancelled() => return Err(session.why()),
        opened = tokio::time::timeout(shared.config.connect_timeout(), open(shared, &session)) => {
            opened
        }
    };
    match opened {
        Ok(Ok(deliveries)) => Ok(Box::new(deliveries)),
        Ok(Err(error)) => {
            let detail = format!("cannot consume: {}", error.detail);
            session.fail(&detail);
            Err(unavailable(detail))
        }
        Err(_) => {
            session.fail("no answer to basic.consume");
            Err(session.why())
        }
    }
}

async fn open(shared: &BrokerShared, session: &Arc<Session>) -> Result<Deliveries, Unavailable> {
    let mut queues: Vec<String> = (0..shared.config.partitions)
        .map(topology::of_partition)
        .collect();
    let failed = |error: lapin::Error| unavailable(error.to_string());
    let extra = extra_partition_queues(session, shared.config.partitions).await;
    queues.extend(extra.map_err(failed)?);
    queues.extend([UNROUTABLE.to_owned(), DEAD.to_owned()]);

    let channel = session.raw.connection.create_channel().await;
    let channel = channel.map_err(failed)?;
    let mut deliveries = Deliveries {
        session: session.clone(),
        channel,
        consumers: Vec::with_capacity(queues.len()),
        confirm_timeout: shared.config.confirm_timeout(),
        first: 1,
        unacknowledged: 0,
        acknowledged: 0,
        waiting: VecDeque::new(),
        batch: empty(),
        metrics: ConsumeMetrics::new(),
    };
    let channel = &deliveries.channel;
    channel
        .basic_qos(shared.config.prefetch, BasicQosOptions::default())
        .await
        .map_err(failed)?;
    for queue in queues {
        let stream = ConsumerStream::Requested(request_consumer(channel.clone(), queue.clone()));
        let is_dead_letter = queue == DEAD;
        deliveries.consumers.push(QueueConsumer {
            stream,
            queue,
            is_dead_letter,
        });
    }
    // An answer comes after the messages that RabbitMQ prefetches from the earlier queues, on a slow link
    // minutes later. So the first delivery is enough; the other answers are read as they arrive.
    poll_fn(|cx| match deliveries.gather(cx) {
        Ok(()) if deliveries.is_open() => Poll::Ready(Ok(())),
        Ok(()) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    })
    .await?;
    Ok(deliveries)
}

/// Sends basic.consume for a queue. The frame is queued when this returns.
fn request_consumer(channel: Channel, queue: String) -> Requested {
    let mut request: Requested = Box::pin(async move {
        let name = queue.as_str();
        let options = BasicConsumeOptions::default();
        channel
            .basic_consume(name.into(), name.into(), options, FieldTable::default())
            .await
    });
    // The first poll queues the frame without waiting.
    match request
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Pending => request,
        Poll::Ready(early) => Box::pin(std::future::ready(early)),
    }
}

/// Queues of partitions beyond the setting, left from when it was greater: they are consumed too.
async fn extra_partition_queues(session: &Session, partitions: u16) -> lapin::Result<Vec<String>> {
    // A passive declaration of a missing queue closes the channel.
    let channel = session.raw.connection.create_channel().await?;
    let mut queues = Vec::new();
    for partition in partitions..PARTITIONS_MAX {
        let queue = topology::of_partition(partition);
        match topology::depth(&channel, &queue).await {
            Ok(_) => queues.push(queue),
            Err(error) if topology::is_not_found(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(queues)
}

type Requested = Pin<Box<dyn Future<Output = lapin::Result<Consumer>> + Send>>;

enum ConsumerStream {
    Requested(Requested),
    Open(Consumer),
}

impl ConsumerStream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<lapin::Result<Delivery>>> {
        if let Self::Requested(request) = self {
            match request.as_mut().poll(cx) {
                Poll::Ready(Ok(consumer)) => *self = Self::Open(consumer),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        match self {
            Self::Open(consumer) => Pin::new(consumer).poll_next(cx),
            Self::Requested(_) => Poll::Pending,
        }
    }
}

struct QueueConsumer {
    stream: ConsumerStream,
    queue: String,
    is_dead_letter: bool,
}

struct Deliveries {
    session: Arc<Session>,
    channel: Channel,
    consumers: Vec<QueueConsumer>,
    confirm_timeout: Duration,
    /// The delivery tag of the first element of `waiting`.
    first: u64,
    /// Deliveries that were received and not acknowledged, as counted in the session.
    unacknowledged: u64,
    /// The delivery tag up to which all are acknowledged.
    acknowledged: u64,
    /// Deliveries in RabbitMQ's order, with gaps for those not yet read from the library.
    waiting: VecDeque<Option<Waiting>>,
    /// Deliveries taken but not yet returned; kept here so that a dropped `collect` loses nothing.
    batch: Batch,
    metrics: ConsumeMetrics,
}

struct Waiting {
    is_dead_letter: bool,
    delivery: Delivery,
}

fn empty() -> Batch {
    // Of many gateways: every record has its own id.
    Batch::new(GatewayId(Uuid::nil()))
}

impl Deliveries {
    /// Whether every consumer is confirmed, or a delivery has arrived.
    fn is_open(&self) -> bool {
        let is_open = |consumer: &QueueConsumer| matches!(consumer.stream, ConsumerStream::Open(_));
        !self.waiting.is_empty() || self.consumers.iter().all(is_open)
    }

    /// Moves the library's deliveries into `waiting`.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), Unavailable> {
        for consumer in &mut self.consumers {
            while let Poll::Ready(next) = consumer.stream.poll_next(cx) {
                let delivery = match next {
                    Some(Ok(delivery)) => delivery,
                    Some(Err(error)) => return Err(unavailable(error.to_string())),
                    None => {
                        let queue = &consumer.queue;
                        return Err(unavailable(format!(
                            "RabbitMQ ended the consumer of {queue}"
                        )));
                    }
                };
                self.session.delivered.fetch_add(1, Ordering::Relaxed);
                self.session.unacknowledged.fetch_add(1, Ordering::Relaxed);
                self.unacknowledged += 1;
                // Tags grow from `first`, the smallest one not taken.
                let place = (delivery.delivery_tag - self.first) as usize;
                if self.waiting.len() <= place {
                    self.waiting.resize_with(place + 1, || None);
                }
                self.waiting[place] = Some(Waiting {
                    is_dead_letter: consumer.is_dead_letter,
                    delivery,
                });
            }
        }
        Ok(())
    }

    /// Moves deliveries into the batch; returns whether a limit was reached.
    fn take(&mut self, bounds: &CollectBounds) -> bool {
        while let Some(Some(next)) = self.waiting.front() {
            let taken = self.batch.len() + self.batch.unreadable().len();
            // A message is always longer than its record.
            let bytes = self.batch.size_bytes() + next.delivery.data.len();
            if taken >= bounds.records_max || (taken > 0 && bytes > bounds.bytes_max) {
                return true;
            }
            if let Some(Some(next)) = self.waiting.pop_front() {
                self.first += 1;
                self.metrics
                    .redelivered
                    .increment(next.delivery.redelivered.into());
                put(&next, &mut self.batch);
            }
        }
        self.batch.len() + self.batch.unreadable().len() >= bounds.records_max
    }

    async fn fill(&mut self, bounds: CollectBounds) -> Result<Collected, Unavailable> {
        poll_fn(|cx| {
            if let Err(error) = self.gather(cx) {
                return Poll::Ready(Err(error));
            }
            match self.waiting.front() {
                Some(Some(_)) => Poll::Ready(Ok(())),
                _ if self.batch.is_empty() => Poll::Pending,
                _ => Poll::Ready(Ok(())),
            }
        })
        .await?;
        let until = Instant::from_std(bounds.not_before);
        while !self.take(&bounds) {
            let now = Instant::now();
            if now >= until {
                break;
            }
            tokio::time::sleep_until(until.min(now + POLL_INTERVAL)).await;
            self.gather(&mut Context::from_waker(Waker::noop()))?;
        }
        let batch = std::mem::replace(&mut self.batch, empty());
        self.metrics.consumed.increment(batch.len() as u64);
        self.metrics
            .unreadable
            .increment(batch.unreadable().len() as u64);
        Ok(Collected {
            batch,
            upto: self.first - 1,
        })
    }

    /// So many deliveries are no longer unacknowledged.
    fn release(&mut self, deliveries: u64) {
        self.unacknowledged -= deliveries;
        self.session
            .unacknowledged
            .fetch_sub(deliveries, Ordering::Relaxed);
    }

    /// An error of this channel: the connection fails, as after every error.
    fn broken(&self, error: Unavailable) -> Unavailable {
        self.session.fail(error.detail.clone());
        error
    }

    async fn ack(&mut self, upto: u64) -> Result<(), Unavailable> {
        let options = BasicAckOptions { multiple: true };
        let sent = self.channel.basic_ack(upto, options);
        match tokio::time::timeout(self.confirm_timeout, sent).await {
            Ok(Ok(())) => {
                // Tags have no gaps, so the difference of two is a count.
                let acked = upto
                    .saturating_sub(self.acknowledged)
                    .min(self.unacknowledged);
                self.acknowledged = upto;
                self.release(acked);
                Ok(())
            }
            Ok(Err(error)) => Err(self.broken(unavailable(error.to_string()))),
            Err(_) => Err(self.broken(unavailable("an acknowledgement could not be sent"))),
        }
    }
}

/// Appends a delivery to the batch: as a record, unreadable bytes or a dead letter.
fn put(next: &Waiting, batch: &mut Batch) {
    let decoded = envelope::decode(&next.delivery.data);
    if next.is_dead_letter {
        return batch.push_unreadable(dead(&next.delivery, decoded));
    }
    match decoded {
        Decoded::Record(record) => record.put_into(batch),
        Decoded::Raw(id, bytes) => batch.push_with(id, |out| out.extend_from_slice(&bytes)),
        Decoded::Unknown(letter) => batch.push_unreadable(letter),
    }
}

/// A record that RabbitMQ dead-lettered keeps its own id and gets RabbitMQ's reason.
fn dead(delivery: &Delivery, decoded: Decoded<'_>) -> DeadLetter {
    let why = why_dead(delivery);
    match decoded {
        Decoded::Record(record) => {
            let mut bytes = Vec::new();
            record.encode_into(&mut bytes);
            DeadLetter {
                id: record.id,
                bytes,
                reason: why,
            }
        }
        Decoded::Raw(id, bytes) => DeadLetter {
            id,
            bytes,
            reason: why,
        },
        Decoded::Unknown(mut letter) => {
            letter.reason = format!("{why}; {}", letter.reason);
            letter
        }
    }
}

fn why_dead(delivery: &Delivery) -> String {
    let death = delivery.properties.headers().as_ref().and_then(|headers| {
        match headers.inner().get("x-death")? {
            AMQPValue::FieldArray(deaths) => deaths.as_slice().first(),
            _ => None,
        }
    });
    let Some(AMQPValue::FieldTable(death)) = death else {
        return "it was found among RabbitMQ's dead letters".into();
    };
    let field = |name: &str| match death.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(AMQPValue::ShortString(text)) => text.to_string(),
        _ => "unknown".into(),
    };
    let queue = field("queue");
    match field("reason").as_str() {
        "delivery_limit" => format!(
            "RabbitMQ dead-lettered it after broker.delivery_limit deliveries from {queue}: consumers \
             ended each time before it was stored"
        ),
        reason => format!("RabbitMQ dead-lettered it in {queue}: {reason}"),
    }
}

impl Subscription for Deliveries {
    fn collect(&mut self, bounds: CollectBounds) -> BoxFuture<'_, Result<Collected, Unavailable>> {
        Box::pin(async move {
            let session = self.session.clone();
            let collected = tokio::select! {
                biased;
                () = session.broken.cancelled() => return Err(session.why()),
                collected = self.fill(bounds) => collected,
            };
            collected.map_err(|error| self.broken(error))
        })
    }

    fn acknowledge(&mut self, upto: u64) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            let session = self.session.clone();
            tokio::select! {
                biased;
                () = session.broken.cancelled() => Err(session.why()),
                acked = self.ack(upto) => acked,
            }
        })
    }

    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let close = self.channel.close(200, "OK".into());
            tokio::select! {
                () = self.session.broken.cancelled() => {}
                closed = tokio::time::timeout(self.confirm_timeout, close) => {
                    // Closing the connection requeues the deliveries as well.
                    if closed.is_err() {
                        self.session.fail("the end of consuming was not confirmed");
                    }
                }
            }
        })
    }
}

impl Drop for Deliveries {
    /// Closes the whole channel. If the consumers were cancelled first, RabbitMQ would send later records to the
    /// next consumer before it requeues the unacknowledged ones.
    fn drop(&mut self) {
        self.release(self.unacknowledged);
        let _ = self.channel.close(200, "OK".into()).now_or_never();
    }
}

/// The consumer's metrics.
struct ConsumeMetrics {
    consumed: metrics::Counter,
    redelivered: metrics::Counter,
    unreadable: metrics::Counter,
}

impl ConsumeMetrics {
    fn new() -> Self {
        Self {
            consumed: metrics::counter!("wattpost_broker_consumed_records_total"),
            redelivered: metrics::counter!("wattpost_broker_redelivered_records_total"),
            unreadable: metrics::counter!("wattpost_broker_unreadable_messages_total"),
        }
    }
}
