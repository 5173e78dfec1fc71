//! Events between the parts of this process and those of other processes.
//!
//! RabbitMQ carries events to other processes only, and there may be none. So events also go to the subscribers here.

use broker::Broker;
use central::ports::{Applied, ClusterEvent, ClusterEvents, DeadLetter, Store, Unavailable};
use central::project::Changes;
use central::{Record, RecordId};
use common::lock::lock;
use std::sync::{Arc, Mutex};

type OnEvent = Arc<dyn Fn(ClusterEvent) + Send + Sync>;

/// Carries events inside this process, and to others if there is RabbitMQ.
pub(crate) struct Events {
    broker: Option<Arc<Broker>>,
    subscribers: Mutex<Vec<OnEvent>>,
}

impl Events {
    pub(crate) fn new(broker: Option<Arc<Broker>>) -> Arc<Self> {
        Arc::new(Self {
            broker,
            subscribers: Mutex::default(),
        })
    }
}

impl ClusterEvents for Events {
    fn publish(&self, event: ClusterEvent) {
        let subscribers = lock(&self.subscribers).clone();
        for on_event in subscribers {
            on_event(event.clone());
        }
        if let Some(broker) = &self.broker {
            broker.publish(event);
        }
    }

    fn subscribe(&self, on_event: Box<dyn Fn(ClusterEvent) + Send + Sync>) {
        let on_event: OnEvent = Arc::from(on_event);
        lock(&self.subscribers).push(Arc::clone(&on_event));
        if let Some(broker) = &self.broker {
            broker.subscribe(Box::new(move |event| on_event(event)));
        }
    }
}

/// A store that reports which commands have changed, so that a client that waits for one is woken.
pub(crate) struct NotifyingStore {
    store: Arc<dyn Store>,
    events: Arc<Events>,
}

impl NotifyingStore {
    pub(crate) const fn new(store: Arc<dyn Store>, events: Arc<Events>) -> Self {
        Self { store, events }
    }
}

impl Store for NotifyingStore {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        let applied = self.store.apply(records, changes, dead)?;
        for id in changes.commands.keys() {
            self.events
                .publish(ClusterEvent::CommandChanged { id: *id });
        }
        Ok(applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::memory::MemoryStore;
    use central::model::{CommandId, CommandProgress};
    use uuid::Uuid;

    #[test]
    fn subscribers_here_learn_which_commands_a_stored_batch_changed() {
        let events = Events::new(None);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&seen);
        events.subscribe(Box::new(move |event| lock(&heard).push(event)));
        let store = NotifyingStore::new(Arc::new(MemoryStore::default()), Arc::clone(&events));
        let mut changes = Changes::default();
        for number in [2, 1] {
            let id = CommandId(Uuid::from_u128(number));
            changes.commands.insert(id, CommandProgress::default());
        }
        store.apply(&[], &changes, &[]).expect("memory");
        let changed = |number| ClusterEvent::CommandChanged {
            id: CommandId(Uuid::from_u128(number)),
        };
        assert_eq!(*lock(&seen), [changed(1), changed(2)]);
    }
}
