//! How records travel: from the journal to a sink, and from RabbitMQ to the consumer.

use super::{BoxFuture, DeadLetter, Unavailable};
use crate::record::{GatewayId, RecordId, Seq};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records on their way, oldest first: one buffer, no copy per record. From a journal they are
/// consecutive and of one gateway; from RabbitMQ they may be of several.
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

    /// Appends a record of any gateway, whose bytes `write` puts behind what is there.
    pub fn push_with(&mut self, id: RecordId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.index.push((id, start..self.bytes.len()));
    }

    /// Adds what arrived and is no record: it is kept as a dead letter with the rest of the batch.
    pub fn push_unreadable(&mut self, letter: DeadLetter) {
        self.unreadable.push(letter);
    }

    /// The records, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RecordId, &[u8])> {
        // Ranges were made from this very buffer, which only grows.
        self.index
            .iter()
            .map(|(id, range)| (*id, &self.bytes[range.clone()]))
    }

    /// What arrived and is no record.
    #[must_use]
    pub fn unreadable(&self) -> &[DeadLetter] {
        &self.unreadable
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is neither a record nor anything unreadable.
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

/// Where the forwarder delivers what the journal holds.
///
/// Laws: `Ok` means every record of the batch is durable on the other side, or is kept there as a
/// dead letter; the journal may forget it. `Err` promises nothing: any part of the batch may have
/// arrived, and the same batch will be delivered again until it is `Ok`. Delivering a batch twice
/// has the effect of delivering it once. Several batches may be on their way: each delivery is polled
/// once before the next one begins, so that a sink which takes its batch by then keeps their order.
pub trait Sink: Send + Sync + 'static {
    /// Delivers the batch.
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// What waits in this sink, as it was at the last look; `None` while that is not known: no look has
    /// been answered since the sink was reached, or since it refused for an alarm of its own. A sink that
    /// stores at once always says `None`. Whoever decides by it asks for its age ([`Queued::within`]).
    fn queued(&self) -> Option<Queued> {
        None
    }
}

/// How many records wait in a sink, and when that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Records that the sink has taken and that wait in it while somebody is at work on storing them; 0
    /// while nobody is at work: an outage behind the sink is not the chargers' fault.
    pub records: u64,
    /// When the look began that found them.
    pub at: Instant,
}

impl Queued {
    /// The records, if the look was at most `age_max` before `now`. An older look is neither a backlog nor
    /// the lack of one.
    #[must_use]
    pub fn within(self, age_max: Duration, now: Instant) -> Option<u64> {
        (now.saturating_duration_since(self.at) <= age_max).then_some(self.records)
    }
}

/// Where the consumer's records come from: RabbitMQ.
pub trait Source: Send + Sync + 'static {
    /// Begins to consume.
    ///
    /// Fails at once when there is no connection; connecting goes on in the background for ever.
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Unavailable>>;
}

/// One round of consuming, from its beginning to the first trouble.
///
/// Laws: what was collected and is not acknowledged when the subscription is cancelled, dropped or
/// breaks is delivered again, to this consumer or another. One charger's records arrive in the order in
/// which RabbitMQ took them.
pub trait Subscription: Send {
    /// Waits for a delivery, then takes what else arrives within the bounds. It may be broken off: what
    /// was taken by then is in what the next call gives.
    ///
    /// # Errors
    /// When the road is broken; subscribe again.
    fn collect(&mut self, bounds: CollectBounds) -> BoxFuture<'_, Result<Collected, Unavailable>>;

    /// Acknowledges everything up to [`Collected::upto`]: RabbitMQ may forget it.
    ///
    /// # Errors
    /// When the road is broken; it will be delivered again, which changes nothing.
    fn acknowledge(&mut self, upto: u64) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Stops consuming and gives back what is not acknowledged. Ready when RabbitMQ has it back, or when
    /// the connection is gone, which has the same effect.
    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// How much one [`Subscription::collect`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectBounds {
    /// Records at most.
    pub records_max: usize,
    /// Bytes of records at most; one record may be longer.
    pub bytes_max: usize,
    /// How long after the first delivery others are waited for.
    pub age_max: std::time::Duration,
}

/// What [`Subscription::collect`] took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The records.
    pub batch: Batch,
    /// To be acknowledged once the batch is stored.
    pub upto: u64,
}
