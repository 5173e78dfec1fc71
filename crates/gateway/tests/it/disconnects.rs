//! Connections that an operator closes.

use crate::common::charger::{CLOSE, Charger};
use crate::common::{World, until};
use central::memory::{MemoryDisconnects, MemoryStore};
use central::model::{Actor, ActorKind, Origin};
use central::ports::{ChangeRequest, DatabaseClock, DisconnectRequest, Disconnects, Once};
use central::{Epoch, GatewayId, RecordKind, Timestamp};
use std::sync::Arc;
use uuid::Uuid;

/// Requests that the connection with this epoch is closed; returns the id of the request.
fn request(disconnects: &MemoryDisconnects, epoch: u64, code: u16, reason: &str) -> Uuid {
    let id = ::common::id::new_v7();
    let wanted = DisconnectRequest {
        id,
        charger_id: "cp-1".to_owned(),
        connection: Some((GatewayId(Uuid::from_u128(7)), Epoch(epoch))),
        code,
        reason: reason.to_owned(),
        at: disconnects.time().unwrap(),
        request: ChangeRequest::of(Origin {
            at: Timestamp(0),
            by: Actor {
                kind: ActorKind::CommandLine,
                name: None,
            },
            from: "test".to_owned(),
            request_id: None,
            traceparent: None,
        }),
    };
    let done = disconnects.request_disconnect(&wanted).unwrap();
    assert!(matches!(done, Once::Done(_)));
    id
}

/// The epoch of the newest connection that was recorded.
async fn newest_epoch(world: &World, count: usize) -> u64 {
    let connected = |stored: &crate::common::Stored| stored.kind == RecordKind::Connected;
    until("the begin is recorded", || {
        world.sink.count(connected) == count
    })
    .await;
    let stored = world.sink.stored.lock().unwrap();
    let epochs = stored.iter().filter(|stored| connected(stored));
    epochs.map(|stored| stored.epoch).max().unwrap()
}

#[tokio::test]
async fn an_operator_closes_the_connection_that_he_saw_and_no_later_one() {
    let (store, disconnects) = (
        Arc::new(MemoryStore::default()),
        // The clock of the database is not that of the gateway.
        Arc::new(MemoryDisconnects::at(Timestamp(1_000))),
    );
    let world = World::with(|setup| {
        setup.commands = Some(Arc::clone(&store) as _);
        setup.disconnects = Some(Arc::clone(&disconnects) as _);
    })
    .await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.heartbeat().await;
    let first = newest_epoch(&world, 1).await;
    let done = request(&disconnects, first, 3001, "new certificate");
    let (opcode, payload) = charger.read().await;
    assert_eq!(
        (opcode, &payload[..2]),
        (CLOSE, &3001_u16.to_be_bytes()[..])
    );
    assert_eq!(&payload[2..], b"new certificate");
    let is_end = |stored: &crate::common::Stored| stored.kind == RecordKind::Disconnected;
    until("the end is recorded", || world.sink.count(is_end) == 1).await;
    let end = world.sink.find(is_end).unwrap();
    assert_eq!(
        (end.epoch, end.reason.as_str()),
        (first, "closed by operator with code 3001: new certificate")
    );
    let heard = |id: Uuid| disconnects.disconnect_heard(id).unwrap();
    until("the gateway says so", || heard(done).is_some()).await;
    assert!(heard(done).unwrap().was_held);

    // The charger has connected again: a request for the connection before closes nothing.
    let mut charger = Charger::connect(&world, "CP-1").await;
    let second = newest_epoch(&world, 2).await;
    assert!(second > first);
    let late = request(&disconnects, first, 1001, "");
    until("the gateway says so", || heard(late).is_some()).await;
    assert!(!heard(late).unwrap().was_held);
    charger.heartbeat().await;

    // Without a reason.
    request(&disconnects, second, 1001, "");
    let (opcode, payload) = charger.read().await;
    assert_eq!(
        (opcode, &payload[..2]),
        (CLOSE, &1001_u16.to_be_bytes()[..])
    );
    assert_eq!(&payload[2..], b"closed by operator with code 1001");
}
