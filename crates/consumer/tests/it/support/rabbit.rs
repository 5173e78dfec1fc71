//! A model of one quorum queue of RabbitMQ as a consumer sees it: unacknowledged messages are requeued in order
//! when a subscription ends, deliveries are counted, one consumer at a time is active, and at most the prefetch
//! is unacknowledged.

use central::RecordId;
use central::ports::{
    Batch, BoxFuture, CollectBounds, Collected, DeadLetter, Source, Subscription, Unavailable,
    UnavailableKind,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

#[derive(Clone)]
pub(crate) enum Content {
    Record(RecordId, Vec<u8>),
    Unreadable(DeadLetter),
}

struct Message {
    /// Its position in the queue.
    position: u64,
    content: Content,
    deliveries: u32,
}

/// Where the consumer's process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// When a part of a batch is collected.
    Collecting,
    /// When a batch is collected and not returned yet.
    Collected,
    /// Before RabbitMQ receives the acknowledgement; the batch is applied.
    Acknowledging,
    /// After RabbitMQ received it, before the consumer knows.
    Acknowledged,
}

#[derive(Default)]
struct QueueState {
    is_down: bool,
    ready: VecDeque<Message>,
    unacked: BTreeMap<u64, (u64, Message)>,
    published: u64,
    last_tag: u64,
    last_subscription: u64,
    /// In the order of subscribing: the first is active.
    subscriptions: Vec<u64>,
    acknowledged: u64,
    redelivered: u64,
    deliveries_max: u32,
    subscribed: u64,
    crash: Option<(Crash, u32)>,
}

/// The model.
pub(crate) struct Rabbit {
    state: Mutex<QueueState>,
    changed: Notify,
    /// Notified when the process has reached the point of its crash.
    pub(crate) crashed: Notify,
    prefetch: usize,
}

impl Rabbit {
    pub(crate) fn new(prefetch: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            crashed: Notify::new(),
            prefetch,
        })
    }

    pub(crate) fn publish(&self, content: Content) {
        let mut state = self.lock();
        state.published += 1;
        let position = state.published;
        state.ready.push_back(Message {
            position,
            content,
            deliveries: 0,
        });
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn publish_records(&self, gateway: u128, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            self.publish(Content::Record(super::id(gateway, seq), super::record(seq)));
        }
    }

    /// Closes every connection; new ones fail until [`Rabbit::restore`].
    pub(crate) fn go_down(&self) {
        let mut state = self.lock();
        state.is_down = true;
        for subscription in std::mem::take(&mut state.subscriptions) {
            state.requeue(subscription);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn restore(&self) {
        self.lock().is_down = false;
    }

    /// Stops a consumer the `nth` time that it reaches `point` from now on.
    pub(crate) fn crash_at(&self, point: Crash, nth: u32) {
        self.lock().crash = Some((point, nth));
    }

    pub(crate) fn ready(&self) -> usize {
        self.lock().ready.len()
    }

    pub(crate) fn unacked(&self) -> usize {
        self.lock().unacked.len()
    }

    pub(crate) fn is_drained(&self) -> bool {
        let state = self.lock();
        state.ready.is_empty() && state.unacked.is_empty()
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    pub(crate) fn redelivered(&self) -> u64 {
        self.lock().redelivered
    }

    /// The largest number of deliveries of one message.
    pub(crate) fn deliveries_max(&self) -> u32 {
        self.lock().deliveries_max
    }

    /// The number of open subscriptions, and of all so far.
    pub(crate) fn subscriptions(&self) -> (usize, u64) {
        let state = self.lock();
        (state.subscriptions.len(), state.subscribed)
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap()
    }

    /// Waits for ever if this is the point of the crash.
    async fn crash_or_continue(&self, point: Crash) {
        let crashes = {
            let mut state = self.lock();
            match &mut state.crash {
                Some((at, nth)) if *at == point => {
                    *nth -= 1;
                    let crashes = *nth == 0;
                    if crashes {
                        state.crash = None;
                    }
                    crashes
                }
                _ => false,
            }
        };
        if crashes {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

impl QueueState {
    fn requeue(&mut self, subscription: u64) {
        self.subscriptions.retain(|other| *other != subscription);
        let mut back: Vec<_> = self
            .unacked
            .extract_if(.., |_, (owner, _)| *owner == subscription)
            .map(|(_, (_, message))| message)
            .collect();
        back.sort_by_key(|message| std::cmp::Reverse(message.position));
        for message in back {
            self.ready.push_front(message);
        }
        // Messages of another subscription may have been requeued before.
        self.ready
            .make_contiguous()
            .sort_by_key(|message| message.position);
    }

    /// The next message for this subscription: its delivery tag and content.
    fn deliver(&mut self, subscription: u64, prefetch: usize) -> Option<(u64, Content)> {
        if self.subscriptions.first() != Some(&subscription) || self.unacked.len() >= prefetch {
            return None;
        }
        let mut message = self.ready.pop_front()?;
        message.deliveries += 1;
        self.redelivered += u64::from(message.deliveries > 1);
        self.deliveries_max = self.deliveries_max.max(message.deliveries);
        self.last_tag += 1;
        let content = message.content.clone();
        self.unacked.insert(self.last_tag, (subscription, message));
        Some((self.last_tag, content))
    }
}

fn unavailable() -> Unavailable {
    Unavailable {
        component: "RabbitMQ",
        kind: UnavailableKind::Unreachable,
        detail: "set by the test".to_owned(),
    }
}

/// One subscription.
struct Open {
    rabbit: Arc<Rabbit>,
    id: u64,
    /// Collected and not returned yet.
    taken: Option<(Batch, u64)>,
}

/// The port [`Source`]; its subscriptions need the `Arc`.
pub(crate) struct Broker(pub(crate) Arc<Rabbit>);

impl Source for Broker {
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Unavailable>> {
        Box::pin(async move {
            let mut state = self.0.lock();
            if state.is_down {
                return Err(unavailable());
            }
            state.last_subscription += 1;
            state.subscribed += 1;
            let id = state.last_subscription;
            state.subscriptions.push(id);
            drop(state);
            let rabbit = Arc::clone(&self.0);
            let taken = None;
            Ok(Box::new(Open { rabbit, id, taken }) as Box<dyn Subscription>)
        })
    }
}

impl Open {
    /// Waits for one message.
    async fn next(&self) -> Result<(u64, Content), Unavailable> {
        loop {
            let changed = self.rabbit.changed.notified();
            {
                let mut state = self.rabbit.lock();
                if !state.subscriptions.contains(&self.id) {
                    return Err(unavailable());
                }
                if let Some(delivery) = state.deliver(self.id, self.rabbit.prefetch) {
                    return Ok(delivery);
                }
            }
            changed.await;
        }
    }
}

impl Subscription for Open {
    fn collect(&mut self, bounds: CollectBounds) -> BoxFuture<'_, Result<Collected, Unavailable>> {
        Box::pin(async move {
            let not_before = tokio::time::Instant::from_std(bounds.not_before);
            let mut age = self.taken.is_some().then_some(not_before);
            loop {
                let next = match age {
                    None => self.next().await?,
                    Some(age) => match tokio::time::timeout_at(age, self.next()).await {
                        Ok(next) => next?,
                        Err(_) => break,
                    },
                };
                age.get_or_insert(not_before);
                let (tag, content) = next;
                let (batch, upto) = self
                    .taken
                    .get_or_insert_with(|| (Batch::new(super::id(0, 0).gateway), 0));
                *upto = tag;
                match content {
                    Content::Record(id, bytes) => {
                        batch.push_with(id, |out| out.extend_from_slice(&bytes));
                    }
                    Content::Unreadable(letter) => batch.push_unreadable(letter),
                }
                let records = batch.len();
                self.rabbit.crash_or_continue(Crash::Collecting).await;
                if records >= bounds.records_max {
                    break;
                }
            }
            self.rabbit.crash_or_continue(Crash::Collected).await;
            let (batch, upto) = self.taken.take().expect("at least one was delivered");
            Ok(Collected { batch, upto })
        })
    }

    fn acknowledge(&mut self, upto: u64) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            self.rabbit.crash_or_continue(Crash::Acknowledging).await;
            {
                let mut state = self.rabbit.lock();
                if !state.subscriptions.contains(&self.id) {
                    return Err(unavailable());
                }
                let id = self.id;
                let acknowledged = state
                    .unacked
                    .extract_if(..=upto, |_, (owner, _)| *owner == id)
                    .count();
                state.acknowledged += acknowledged as u64;
            }
            self.rabbit.changed.notify_waiters();
            self.rabbit.crash_or_continue(Crash::Acknowledged).await;
            Ok(())
        })
    }

    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { drop(self) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.rabbit.lock().requeue(self.id);
        self.rabbit.changed.notify_waiters();
    }
}
