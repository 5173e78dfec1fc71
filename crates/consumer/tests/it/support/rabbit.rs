//! A model of one quorum queue of RabbitMQ, as far as a consumer can tell: what is unacknowledged when a
//! subscription ends comes back in its order, each delivery is counted, one consumer at a time is active, and
//! no more than the prefetch is unacknowledged.

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
    /// Its place in the queue.
    place: u64,
    content: Content,
    deliveries: u32,
}

/// Where the consumer's process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// With a part of a batch collected.
    Collecting,
    /// With a batch collected and not yet handed out.
    Collected,
    /// Before RabbitMQ hears the acknowledgement: the batch is applied.
    Acknowledging,
    /// After RabbitMQ heard it and before the consumer knows.
    Acknowledged,
}

#[derive(Default)]
struct State {
    is_down: bool,
    ready: VecDeque<Message>,
    unacked: BTreeMap<u64, (u64, Message)>,
    published: u64,
    last_tag: u64,
    last_subscription: u64,
    /// In the order of their coming: the first is active.
    subscriptions: Vec<u64>,
    acknowledged: u64,
    redelivered: u64,
    deliveries_max: u32,
    subscribed: u64,
    crash: Option<(Crash, u32)>,
}

/// The model.
pub(crate) struct Rabbit {
    state: Mutex<State>,
    changed: Notify,
    /// The process has come to the point where it was to die.
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
        let place = state.published;
        state.ready.push_back(Message {
            place,
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

    /// Cuts every connection; until [`Rabbit::restore`] there is none.
    pub(crate) fn go_down(&self) {
        let mut state = self.lock();
        state.is_down = true;
        for subscription in std::mem::take(&mut state.subscriptions) {
            state.give_back(subscription);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn restore(&self) {
        self.lock().is_down = false;
    }

    /// The `nth` time that a consumer gets to `point` from now on, it gets no further.
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

    /// How often the message that was delivered most often was.
    pub(crate) fn deliveries_max(&self) -> u32 {
        self.lock().deliveries_max
    }

    /// Subscriptions that are open now, and that ever were.
    pub(crate) fn subscriptions(&self) -> (usize, u64) {
        let state = self.lock();
        (state.subscriptions.len(), state.subscribed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Gets no further if this is where the process is to die.
    async fn live_through(&self, point: Crash) {
        let dies = {
            let mut state = self.lock();
            match &mut state.crash {
                Some((at, nth)) if *at == point => {
                    *nth -= 1;
                    let dies = *nth == 0;
                    if dies {
                        state.crash = None;
                    }
                    dies
                }
                _ => false,
            }
        };
        if dies {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

impl State {
    fn give_back(&mut self, subscription: u64) {
        self.subscriptions.retain(|other| *other != subscription);
        let mut back: Vec<_> = self
            .unacked
            .extract_if(.., |_, (owner, _)| *owner == subscription)
            .map(|(_, (_, message))| message)
            .collect();
        back.sort_by_key(|message| std::cmp::Reverse(message.place));
        for message in back {
            self.ready.push_front(message);
        }
        // Another one's may have come back before.
        self.ready
            .make_contiguous()
            .sort_by_key(|message| message.place);
    }

    /// The next message for this subscription: its tag and content.
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

fn away() -> Unavailable {
    Unavailable {
        component: "RabbitMQ",
        kind: UnavailableKind::Unreachable,
        detail: "told so by the test".to_owned(),
    }
}

fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// One subscription.
struct Open {
    rabbit: Arc<Rabbit>,
    id: u64,
    /// Taken and not handed out.
    taken: Option<(Batch, u64)>,
}

/// The port; the subscription needs the `Arc`.
pub(crate) struct Broker(pub(crate) Arc<Rabbit>);

impl Source for Broker {
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Unavailable>> {
        Box::pin(async move {
            let mut state = self.0.lock();
            if state.is_down {
                return Err(away());
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
                    return Err(away());
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
            let mut age = self.taken.is_some().then(|| now() + bounds.age_max);
            loop {
                let next = match age {
                    None => self.next().await?,
                    Some(age) => match tokio::time::timeout_at(age, self.next()).await {
                        Ok(next) => next?,
                        Err(_) => break,
                    },
                };
                age.get_or_insert_with(|| now() + bounds.age_max);
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
                self.rabbit.live_through(Crash::Collecting).await;
                if records >= bounds.records_max {
                    break;
                }
            }
            self.rabbit.live_through(Crash::Collected).await;
            let (batch, upto) = self.taken.take().expect("at least one was delivered");
            Ok(Collected { batch, upto })
        })
    }

    fn acknowledge(&mut self, upto: u64) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            self.rabbit.live_through(Crash::Acknowledging).await;
            {
                let mut state = self.rabbit.lock();
                if !state.subscriptions.contains(&self.id) {
                    return Err(away());
                }
                let id = self.id;
                let acknowledged = state
                    .unacked
                    .extract_if(..=upto, |_, (owner, _)| *owner == id)
                    .count();
                state.acknowledged += acknowledged as u64;
            }
            self.rabbit.changed.notify_waiters();
            self.rabbit.live_through(Crash::Acknowledged).await;
            Ok(())
        })
    }

    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { drop(self) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.rabbit.lock().give_back(self.id);
        self.rabbit.changed.notify_waiters();
    }
}
