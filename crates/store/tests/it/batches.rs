//! The laws of the port `Batches`.

use crate::common::{Adapter, apply, at, event, gateway, heartbeat, id, on_every_adapter};
use crate::reading::report_alive;
use central::memory::MemoryStore;
use central::model::{
    Actor, ActorKind, BATCHES_KEPT, BATCHES_OPEN_MAX, BatchChange, BatchId, BatchPlan, BatchState,
    BatchView, BatchWork, Command, CommandState, CommandView, ItemState, Origin, WhenOffline,
    item_command,
};
use central::ports::{
    BatchNotChanged, BatchNotCreated, Batches, ChangeRequest, Commands, IDEMPOTENCY_KEPT_MS,
    Idempotency, ItemEnd, NewBatch, NewCommand, Once,
};
use central::query::{AuditFilter, CommandFilter, PageRequest, QueryStore};
use central::{RecordKind, Timestamp};
use serde_json::{Map, Value};
use uuid::Uuid;

on_every_adapter!(
    a_batch_is_started_and_ended_by_the_holder_of_its_lease,
    a_batch_has_a_key_for_repeats_and_a_bound,
    what_people_do_with_a_batch_is_done_once_and_audited,
    a_charger_whose_state_cannot_be_read_stops_no_batch,
    an_item_shows_its_command_as_the_list_of_commands_does,
    a_batch_that_cannot_be_read_stops_no_other,
);

#[test]
fn the_memory_store_keeps_the_same_laws() {
    started_and_ended(&MemoryStore::default());
    keys_and_bound(&MemoryStore::default());
    changed_by_people(&MemoryStore::default());
}

fn a_batch_is_started_and_ended_by_the_holder_of_its_lease<A: Adapter>() {
    let database = A::new();
    started_and_ended(&database.open());
}

fn a_batch_has_a_key_for_repeats_and_a_bound<A: Adapter>() {
    let database = A::new();
    keys_and_bound(&database.open());
}

fn a_charger_whose_state_cannot_be_read_stops_no_batch<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-0")]).unwrap();
    database.set_state("chargers", "{\"charger_id\": 7}", "key = 'cp-0'");
    let batch = new(1, 2);
    store.create_batch(&batch).unwrap();
    let holder = Uuid::from_u128(1);
    store.lease_batches(holder, at(1), at(5)).unwrap();
    let starts = [command(&batch, 0), command(&batch, 1)];
    let started = store.start_items(batch.id, holder, &starts, at(2));
    assert_eq!(started, Ok(vec![0, 1]));
    let items = store.batch_items(batch.id, None, &PageRequest::default(), at(2));
    assert_eq!(items.unwrap().items.len(), 2);
}

fn a_batch_that_cannot_be_read_stops_no_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store.create_batch(&new(1, 1)).unwrap();
    database.execute("UPDATE batches SET plan = '7'");
    let other = new(2, 1);
    store.create_batch(&other).unwrap();
    let leased = store.lease_batches(Uuid::from_u128(1), at(1), at(5));
    let leased: Vec<BatchId> = leased.unwrap().iter().map(|batch| batch.id).collect();
    assert_eq!(leased, [other.id]);
}

fn an_item_shows_its_command_as_the_list_of_commands_does<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let connected = |number, charger| event(id(0, number), RecordKind::Connected, charger, 0, 1);
    apply(&store, &[connected(1, "CP-1")]).unwrap();
    report_alive(&store, gateway(0));
    let batch = new(1, 2);
    store.create_batch(&batch).unwrap();
    let holder = Uuid::from_u128(1);
    store.lease_batches(holder, at(1), at(5)).unwrap();
    let starts = [command(&batch, 0), command(&batch, 1)];
    store.start_items(batch.id, holder, &starts, at(2)).unwrap();
    let page = PageRequest::default();
    let items = store
        .batch_items(batch.id, None, &page, at(2))
        .unwrap()
        .items;
    let of_items: Vec<CommandView> = items.into_iter().filter_map(|item| item.command).collect();
    let states: Vec<CommandState> = of_items.iter().map(|command| command.state).collect();
    let expected = [CommandState::WaitingForCharger, CommandState::Queued];
    assert_eq!(states, expected);
    let listed = store.commands(&CommandFilter::default(), &page, at(2));
    let listed: Vec<CommandView> = listed.unwrap().items.into_iter().rev().collect();
    assert_eq!(listed, of_items);
}

pub(crate) fn new(number: u128, chargers: usize) -> NewBatch {
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
            traceparent: None,
        },
        chargers: (0..chargers).map(|one| format!("CP-{one}")).collect(),
        request: requested(at(0), None),
    }
}

fn requested(at: Timestamp, key: Option<(&str, u8)>) -> ChangeRequest {
    ChangeRequest {
        idempotency: key.map(|(key, digest)| Idempotency {
            key: key.to_owned(),
            digest: [digest; 32],
        }),
        ..ChangeRequest::of(Origin {
            at,
            by: Actor {
                kind: ActorKind::ApiKey,
                name: Some("ops".to_owned()),
            },
            from: "192.0.2.1".to_owned(),
            request_id: None,
            traceparent: None,
        })
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
            skips_check: false,
        },
        created_at: at(1),
        requested_by: "ops".to_owned(),
        waits_when_offline: true,
        not_sent: None,
        idempotency: None,
        audit: None,
        traceparent: None,
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
    let Once::Done(view) = created else {
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
    let with_key = |number, at, key: &str, digest| NewBatch {
        request: requested(at, Some((key, digest))),
        ..new(number, 1)
    };
    let create = |new: &NewBatch| store.create_batch(new).unwrap();
    let first = with_key(1, at(0), "k", 1);
    assert_eq!(store.batch_created_before(&first.request).unwrap(), None);
    assert!(matches!(create(&first), Once::Done(_)));
    for repeated in [
        create(&with_key(2, at(1), "k", 1)),
        store.batch_created_before(&first.request).unwrap().unwrap(),
    ] {
        let Once::Repeated(view) = repeated else {
            panic!("{repeated:?}");
        };
        assert_eq!((view.id, view.by.as_str()), (new(1, 1).id, "ops"));
    }
    let other = with_key(3, at(1), "k", 2);
    assert_eq!(create(&other), Once::Mismatch);
    let before = store.batch_created_before(&other.request).unwrap();
    assert_eq!(before, Some(Once::Mismatch));
    for number in 2..=BATCHES_OPEN_MAX as u128 {
        assert!(matches!(create(&new(number + 10, 1)), Once::Done(_)));
    }
    let refused = Once::Refused(BatchNotCreated::TooMany);
    assert_eq!(create(&with_key(98, at(1), "k2", 1)), refused);
    assert_eq!(create(&new(99, 1)), refused);
    let list = store.batches(&PageRequest::default()).unwrap();
    assert_eq!(list.items.len(), BATCHES_OPEN_MAX);
    assert_eq!(list.items[BATCHES_OPEN_MAX - 1].id, new(1, 1).id);

    // Its repeat says so also when the batch is no longer kept.
    let holder = Uuid::from_u128(1);
    let later = Timestamp(i64::MAX / 2);
    store.lease_batches(holder, at(1), later).unwrap();
    let cancelled = |id: BatchId| {
        let request = requested(at(2), Some((&id.to_string(), 9)));
        store.change_batch(id, BatchChange::Cancel, &request)
    };
    for batch in &list.items {
        assert!(matches!(cancelled(batch.id).unwrap(), Once::Done(_)));
        let ends = [end(0, ItemState::NotStarted)];
        store.end_items(batch.id, holder, &ends, at(2)).unwrap();
    }
    // A refusal was not kept under its key.
    assert!(matches!(
        create(&with_key(98, at(1), "k2", 1)),
        Once::Done(_)
    ));
    // Ended ones beyond those that are kept are deleted when one is created.
    for number in 0..BATCHES_KEPT as u128 {
        let next = new(number + 200, 1);
        assert!(matches!(create(&next), Once::Done(_)));
        assert!(matches!(cancelled(next.id).unwrap(), Once::Done(_)));
        store.lease_batches(holder, at(1), later).unwrap();
        let ends = [end(0, ItemState::NotStarted)];
        store.end_items(next.id, holder, &ends, at(2)).unwrap();
    }
    assert_eq!(store.batch(first.id).unwrap(), None);
    let gone = Once::Refused(BatchNotCreated::Deleted(first.id));
    assert_eq!(create(&with_key(4, at(2), "k", 1)), gone);
    // After 72 hours the key is free again.
    let late = at(2).plus_millis(IDEMPOTENCY_KEPT_MS + 1);
    assert!(matches!(create(&with_key(5, late, "k", 2)), Once::Done(_)));
}

/// What people do with a batch, each with a key, and once in effect.
fn changed_by_people(store: &impl Batches) {
    let batch = new(1, 1);
    store.create_batch(&batch).unwrap();
    let change = |change, key| {
        let request = requested(at(1), Some(key));
        store.change_batch(batch.id, change, &request).unwrap()
    };
    let state = |once: Once<BatchView, BatchNotChanged>| match once {
        Once::Done(view) => (true, view.state),
        Once::Repeated(view) => (false, view.state),
        other => panic!("{other:?}"),
    };
    let paused = change(BatchChange::Pause, ("a", 1));
    assert_eq!(state(paused), (true, BatchState::Paused));
    let resumed = change(BatchChange::Resume, ("b", 2));
    assert_eq!(state(resumed), (true, BatchState::Running));
    // A repeat after another change does nothing, and shows the batch as it is now.
    let repeated = change(BatchChange::Pause, ("a", 1));
    assert_eq!(state(repeated), (false, BatchState::Running));
    assert_eq!(change(BatchChange::Cancel, ("a", 3)), Once::Mismatch);
    let cancelled = change(BatchChange::Cancel, ("c", 3));
    assert_eq!(state(cancelled), (true, BatchState::Cancelled));
    let again = change(BatchChange::Cancel, ("d", 3));
    assert_eq!(state(again), (true, BatchState::Cancelled));
    let ended = BatchNotChanged::Ended(BatchState::Cancelled);
    assert_eq!(change(BatchChange::Resume, ("e", 4)), Once::Refused(ended));
    let unknown = store.change_batch(
        BatchId(Uuid::nil()),
        BatchChange::Pause,
        &requested(at(1), None),
    );
    assert_eq!(unknown.unwrap(), Once::Refused(BatchNotChanged::Unknown));
}

fn what_people_do_with_a_batch_is_done_once_and_audited<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    changed_by_people(&store);
    let page = PageRequest::default();
    let audit = store.audit(&AuditFilter::default(), &page).unwrap();
    let entries: Vec<String> = audit
        .items
        .iter()
        .rev()
        .map(|entry| {
            let state = |value: &Option<Value>| {
                let value = value.as_ref();
                let state = value.and_then(|value| value["state"].as_str());
                state.unwrap_or("-").to_owned()
            };
            format!(
                "{} {} {}",
                entry.action,
                state(&entry.before),
                state(&entry.after)
            )
        })
        .collect();
    // A cancelled batch that is cancelled again has not changed.
    assert_eq!(
        entries,
        [
            "batch.created - -",
            "batch.paused running paused",
            "batch.resumed paused running",
            "batch.cancelled running cancelled",
        ]
    );
    let created = audit.items.last().unwrap();
    assert_eq!(created.subject, new(1, 1).id.to_string());
    let after = created.after.as_ref().unwrap();
    assert_eq!(
        (&after["action"], &after["total"]),
        (&"ClearCache".into(), &1.into())
    );
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
    store.batch_created_before(&batch.request).unwrap();
    let request = requested(at(2), Some(("k", 1)));
    store
        .change_batch(batch.id, BatchChange::Pause, &request)
        .unwrap();
    let from = [BatchState::Paused];
    store
        .set_batch_state(batch.id, &from, BatchState::Done, "")
        .unwrap();
    assert!(store.batch(batch.id).unwrap().is_some());
    store.batches(&PageRequest::default()).unwrap();
    store
        .batch_items(batch.id, None, &PageRequest::default(), at(2))
        .unwrap();
}
