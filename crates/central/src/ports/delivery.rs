//! Delivery of records: from the journal to a sink, and from RabbitMQ to the consumer.

use super::{BoxFuture, DeadLetter, Unavailable};
use crate::record::{GatewayId, RecordId, Seq};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A batch of records, oldest first, in one buffer. Records from a journal are consecutive and of one gateway; records
/// from RabbitMQ may be of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    gateway: GatewayId,
    bytes: Vec<u8>,
    index: Vec<(RecordId, Range<usize>)>,
    unreadable: Vec<DeadLetter>,
}

impl Batch {
    /// An empty batch of `gateway`.
    #[must_use]
    pub const fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            bytes: Vec::new(),
            index: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Appends the record of the batch's gateway with sequence number `seq`.
    pub fn push(&mut self, seq: Seq, record: &[u8]) {
        let id = RecordId {
            gateway: self.gateway,
            seq,
        };
        self.push_with(id, |out| out.extend_from_slice(record));
    }

    /// Appends a record of any gateway; `write` appends its bytes to the buffer.
    pub fn push_with(&mut self, id: RecordId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.index.push((id, start..self.bytes.len()));
    }

    /// Adds a delivery that is not a record; it becomes a dead letter when the batch is applied.
    pub fn push_unreadable(&mut self, letter: DeadLetter) {
        self.unreadable.push(letter);
    }

    /// The records, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RecordId, &[u8])> {
        // The ranges are of this buffer, which only grows, so they are within it.
        self.index
            .iter()
            .map(|(id, range)| (*id, &self.bytes[range.clone()]))
    }

    /// Deliveries that are not records.
    #[must_use]
    pub fn unreadable(&self) -> &[DeadLetter] {
        &self.unreadable
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is neither a record nor a dead letter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty() && self.unreadable.is_empty()
    }

    /// Bytes of all records.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The sequence number of the last record.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.index.last().map(|(id, _)| id.seq)
    }
}

/// Where the forwarder delivers the journal's records.
///
/// Laws: after `Ok` every record of the batch is durable in the sink, or is a dead letter there; the journal may delete
/// it. After `Err` any part of the batch may have arrived, and the same batch is delivered again until it is `Ok`.
/// Delivering a batch twice has the effect of delivering it once. Several deliveries may be in flight: each is polled once
/// before the next one begins, so a sink that accepts its batch in the first poll keeps their order.
pub trait Sink: Send + Sync + 'static {
    /// Delivers the batch.
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// The number of records queued in this sink, as last measured; `None` while it is not known, because there was no
    /// measurement since the sink was reached or since it had an alarm. A sink that stores at once always returns `None`.
    /// Decisions must consider its age ([`Queued::within`]).
    fn queued(&self) -> Option<Queued> {
        None
    }
}

/// The number of records queued in a sink, and when it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Records that wait in the sink while a consumer stores records; 0 while none does, because an outage behind the
    /// sink must not slow chargers.
    pub records: u64,
    /// When the measurement began.
    pub at: Instant,
}

impl Queued {
    /// The number of records, if it was measured at most `age_max` before `now`.
    #[must_use]
    pub fn within(self, age_max: Duration, now: Instant) -> Option<u64> {
        (now.saturating_duration_since(self.at) <= age_max).then_some(self.records)
    }
}

/// Where the consumer's records come from: RabbitMQ.
pub trait Source: Send + Sync + 'static {
    /// Begins to consume.
    ///
    /// # Errors
    /// When there is no connection; the adapter keeps connecting in the background.
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Unavailable>>;
}

/// One subscription, until it is cancelled or fails.
///
/// Laws: records that are not acknowledged when the subscription is cancelled, is dropped or fails are delivered again, to
/// this consumer or another. One charger's records arrive in the order in which RabbitMQ accepted them.
pub trait Subscription: Send {
    /// Waits for a delivery, then collects further ones within the bounds. Cancel safe: the next call returns what a
    /// cancelled call had collected.
    ///
    /// # Errors
    /// When the subscription has failed; subscribe again.
    fn collect(&mut self, bounds: CollectBounds) -> BoxFuture<'_, Result<Collected, Unavailable>>;

    /// Acknowledges all deliveries up to [`Collected::upto`]: RabbitMQ may delete them.
    ///
    /// # Errors
    /// When the subscription has failed; the records are delivered again, which changes nothing.
    fn acknowledge(&mut self, upto: u64) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Stops consuming and requeues what is not acknowledged. Completes when RabbitMQ has it, or when the connection is
    /// closed, which has the same effect.
    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The bounds of one [`Subscription::collect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectBounds {
    /// Records at most.
    pub records_max: usize,
    /// Bytes of records at most; one record may be longer.
    pub bytes_max: usize,
    /// A batch that is not full is complete at this time, or with its first delivery if that is later.
    pub not_before: Instant,
}

/// The result of [`Subscription::collect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The records.
    pub batch: Batch,
    /// The argument of [`Subscription::acknowledge`] once the batch is stored.
    pub upto: u64,
}
