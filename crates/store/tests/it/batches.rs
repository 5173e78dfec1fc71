//! The laws of the port `Batches`.

use crate::common::{Adapter, at, on_every_adapter};
use central::Timestamp;
use central::memory::MemoryStore;
use central::model::{
    BATCHES_OPEN_MAX, BatchId, BatchPlan, BatchState, BatchWork, Command, ItemState, WhenOffline,
    item_command,
};
use central::ports::{BatchCreated, Batches, Commands, Idempotency, ItemEnd, NewBatch, NewCommand};
use central::query::PageRequest;
use serde_json::Map;
use uuid::Uuid;

on_every_adapter!(
    a_batch_is_started_and_ended_by_the_holder_of_its_lease,
    a_batch_has_a_key_for_repeats_and_a_bound,
);

#[test]
fn the_memory_store_keeps_the_same_laws() {
    started_and_ended(&MemoryStore::default());
    keys_and_bound(&MemoryStore::default());
}

fn a_batch_is_started_and_ended_by_the_holder_of_its_lease<A: Adapter>() {
    let database = A::new();
    started_and_ended(&database.open());
}

fn a_batch_has_a_key_for_repeats_and_a_bound<A: Adapter>() {
    let database = A::new();
    keys_and_bound(&database.open());
}

fn new(number: u128, chargers: usize) -> NewBatch {
    NewBatch {
        id: BatchId(Uuid::from_u128(number << 64)),
        plan: BatchPlan {
            work: BatchWork::Action {
                action: "ClearCache".to_owned(),
                payload: Map::new(),
            },
            at_once: 2,
            per_second: 2,
            stop_after_failures: Some(1),
            stop_at_failed_percent: None,
            when_offline: WhenOffline::Fail,
            answer_within_ms: 30_000,
            expires_at: at(100),
        },
        chargers: (0..chargers).map(|one| format!("CP-{one}")).collect(),
        created_at: at(0),
        requested_by: "ops".to_owned(),
        idempotency: None,
    }
}

fn command(batch: &NewBatch, place: u32) -> (u32, NewCommand) {
    let new = NewCommand {
        command: Command {
            id: item_command(batch.id, place),
            charger_id: batch.chargers[place as usize].clone(),
            action: "ClearCache".to_owned(),
            payload: "{}".to_owned(),
            answer_within_ms: 30_000,
            send_before: at(50),
        },
        created_at: at(1),
        requested_by: "ops".to_owned(),
        waits_when_offline: true,
        not_sent: None,
        idempotency: None,
    };
    (place, new)
}

fn end(place: u32, state: ItemState) -> ItemEnd {
    ItemEnd {
        place,
        state,
        detail: "because".to_owned(),
    }
}

fn started_and_ended(store: &(impl Batches + Commands)) {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let batch = new(1, 4);
    let created = store.create_batch(&batch).unwrap();
    let BatchCreated::New(view) = created else {
        panic!("{created:?}");
    };
    assert_eq!((view.total, view.counts.pending), (4, 4));
    assert_eq!(view.plan, batch.plan);
    let starts = [command(&batch, 0), command(&batch, 2)];
    // Without the lease nothing is started.
    assert!(
        store
            .start_items(batch.id, one, &starts, at(1))
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.lease_batches(one, at(1), at(5)).unwrap().len(), 1);
    assert!(store.lease_batches(two, at(2), at(6)).unwrap().is_empty());
    assert!(
        store
            .start_items(batch.id, two, &starts, at(2))
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store.start_items(batch.id, one, &starts, at(2)).unwrap(),
        [0, 2]
    );
    assert!(
        store
            .start_items(batch.id, one, &starts, at(2))
            .unwrap()
            .is_empty()
    );
    let page = PageRequest::default();
    let items = store.batch_items(batch.id, Some(ItemState::Started), &page, at(2));
    let items = items.unwrap().items;
    assert_eq!(items.len(), 2);
    assert_eq!(items[1].charger_id, "CP-2");
    let shown = items[1].command.as_ref().unwrap();
    assert_eq!(shown.id, item_command(batch.id, 2));

    // After the lease has ended another holder goes on, and the first one changes nothing.
    assert_eq!(store.lease_batches(two, at(5), at(9)).unwrap().len(), 1);
    store
        .end_items(batch.id, one, &[end(0, ItemState::Succeeded)], at(6))
        .unwrap();
    let ends = [end(0, ItemState::Failed), end(2, ItemState::Succeeded)];
    store.end_items(batch.id, two, &ends, at(6)).unwrap();
    store
        .end_items(batch.id, two, &[end(0, ItemState::Succeeded)], at(6))
        .unwrap();
    let counts = store.batch(batch.id).unwrap().unwrap().counts;
    assert_eq!((counts.pending, counts.started), (2, 0));
    assert_eq!((counts.succeeded, counts.failed), (1, 1));

    // A batch that is not running starts nothing; after a halt the rule counts from there.
    let set = |from: &[BatchState], to| {
        let changed = store.set_batch_state(batch.id, from, to, "why").unwrap();
        changed.unwrap()
    };
    let (is_changed, halted) = set(&[BatchState::Running], BatchState::Halted);
    assert!(is_changed && halted.detail == "why" && halted.ignored == [0, 0]);
    let more = [command(&batch, 1)];
    assert!(
        store
            .start_items(batch.id, two, &more, at(6))
            .unwrap()
            .is_empty()
    );
    assert!(!set(&[BatchState::Done], BatchState::Running).0);
    let (_, resumed) = set(&[BatchState::Halted], BatchState::Running);
    assert_eq!(resumed.ignored, [1, 1]);
    assert_eq!(store.start_items(batch.id, two, &more, at(6)).unwrap(), [1]);
    let ends = [end(1, ItemState::Failed), end(3, ItemState::NotStarted)];
    store.end_items(batch.id, two, &ends, at(7)).unwrap();
    set(&[BatchState::Running], BatchState::Done);
    assert!(store.lease_batches(two, at(8), at(9)).unwrap().is_empty());

    let mut places = Vec::new();
    let mut page = PageRequest {
        limit: 3,
        ..PageRequest::default()
    };
    loop {
        let found = store.batch_items(batch.id, None, &page, at(8)).unwrap();
        places.extend(found.items.iter().map(|item| item.place));
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(places, [0, 1, 2, 3]);
    assert!(store.batch(BatchId(Uuid::nil())).unwrap().is_none());
}

fn keys_and_bound(store: &impl Batches) {
    let with_key = |number, digest| NewBatch {
        idempotency: Some(Idempotency {
            key: "k".to_owned(),
            digest: [digest; 32],
        }),
        ..new(number, 1)
    };
    assert!(matches!(
        store.create_batch(&with_key(1, 1)).unwrap(),
        BatchCreated::New(_)
    ));
    let repeated = store.create_batch(&with_key(2, 1)).unwrap();
    let BatchCreated::Repeated(view) = repeated else {
        panic!("{repeated:?}");
    };
    assert_eq!(view.id, new(1, 1).id);
    assert_eq!(
        store.create_batch(&with_key(3, 2)).unwrap(),
        BatchCreated::Mismatch
    );
    for number in 2..=BATCHES_OPEN_MAX as u128 {
        let created = store.create_batch(&new(number + 10, 1)).unwrap();
        assert!(matches!(created, BatchCreated::New(_)));
    }
    assert_eq!(
        store.create_batch(&new(99, 1)).unwrap(),
        BatchCreated::TooMany
    );
    let list = store.batches(&PageRequest::default()).unwrap();
    assert_eq!(list.items.len(), BATCHES_OPEN_MAX);
    assert_eq!(list.items[BATCHES_OPEN_MAX - 1].id, new(1, 1).id);
}

/// Each call of the port once, for a role that has no more rights than the documented ones.
pub(crate) fn uses_every_call(store: &(impl Batches + Commands)) {
    let batch = new(7, 1);
    store.create_batch(&batch).unwrap();
    let holder = Uuid::from_u128(1);
    let later = Timestamp(i64::MAX / 2);
    store.lease_batches(holder, at(1), later).unwrap();
    let started = store.start_items(batch.id, holder, &[command(&batch, 0)], at(2));
    assert_eq!(started.unwrap(), [0]);
    store
        .end_items(batch.id, holder, &[end(0, ItemState::Succeeded)], at(2))
        .unwrap();
    let from = [BatchState::Running];
    store
        .set_batch_state(batch.id, &from, BatchState::Done, "")
        .unwrap();
    assert!(store.batch(batch.id).unwrap().is_some());
    store.batches(&PageRequest::default()).unwrap();
    store
        .batch_items(batch.id, None, &PageRequest::default(), at(2))
        .unwrap();
}
