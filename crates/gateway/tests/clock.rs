//! A wrong clock: no message is recorded under a wrong time that would count for long.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use crate::common::charger::{Charger, request};
use crate::common::{World, until};
use ::common::clock::now_ms;
use central::{Epoch, Record, Timestamp};
use std::sync::atomic::Ordering;

const DAY_MS: i64 = 86_400_000;

fn health(world: &World) -> (bool, String) {
    let parts = world.gateway.probe().health();
    let part = parts.into_iter().find(|part| part.part == "gateway");
    let part = part.expect("the gateway reports its health");
    (part.up, part.detail)
}

#[tokio::test]
async fn chargers_are_refused_while_the_clock_is_far_from_the_databases() {
    let world = World::with(|setup| {
        *setup.directory.clock_ahead_ms.lock().unwrap() = Some(-365 * DAY_MS);
    })
    .await;
    let refused = Charger::handshake(&world, request("/ocpp/CP-1", "").as_bytes()).await;
    assert_eq!(refused.head.status, 503);
    assert!(
        refused.head.text.contains("Retry-After"),
        "{}",
        refused.head.text
    );
    let (up, detail) = health(&world);
    assert!(
        !up && detail.contains("gateway.clock_off_s_max"),
        "{detail}"
    );
    // The clock is corrected, which the gateway notices without a restart.
    *world.directory.clock_ahead_ms.lock().unwrap() = Some(60_000);
    until("the clocks agree", || health(&world).0).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.start_transaction("first").await;
    // A clock that goes wrong later closes connections; an unavailable database does not.
    *world.directory.clock_ahead_ms.lock().unwrap() = Some(2 * DAY_MS);
    until("it goes wrong", || !health(&world).0).await;
    let refused = Charger::handshake(&world, request("/ocpp/CP-2", "").as_bytes()).await;
    assert_eq!(refused.head.status, 503);
    charger.closed().await;
    *world.directory.clock_ahead_ms.lock().unwrap() = Some(0);
    until("it is right again", || health(&world).0).await;
    world.directory.unavailable.store(true, Ordering::SeqCst);
    assert_eq!(Charger::connect(&world, "CP-1").await.head.status, 101);
}

/// A gateway whose journal has a record from `ahead_ms` in the future.
async fn after_a_record_from(ahead_ms: i64) -> World {
    let world = World::start().await;
    let record = central::record::gateway_started(Timestamp(now_ms() + ahead_ms), Epoch(1));
    let seq = world.journal.append(&record, None).unwrap();
    world.journal.wait_durable(seq).unwrap();
    world.restart().await
}

/// The time of the journal's last record.
fn newest(world: &World) -> i64 {
    let last = world.journal.status().appended_seq;
    world.journal.wait_durable(last).unwrap();
    let mut reader = world.journal.reader(last - 1);
    let mut at = None;
    reader
        .read(1, 1 << 20, |_, bytes| {
            at = Some(Record::decode(bytes).unwrap().received_at.0);
        })
        .unwrap();
    at.expect("there is a record")
}

#[tokio::test]
async fn record_times_do_not_go_back_at_a_restart_unless_they_were_far_ahead() {
    // First the record that must not hold the clock, because the whole process shares one clock.
    let world = after_a_record_from(365 * DAY_MS).await;
    assert!(
        newest(&world) < now_ms() + DAY_MS,
        "the clock is held a year ahead"
    );
    let (up, detail) = health(&world);
    assert!(
        up && detail.contains("newest record of the journal"),
        "{detail}"
    );
    assert_eq!(Charger::connect(&world, "CP-1").await.head.status, 101);

    let world = after_a_record_from(60_000).await;
    assert!(
        newest(&world) > now_ms() + 30_000,
        "time went back over the restart"
    );
}
