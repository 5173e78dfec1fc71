//! What the journal's disk does to chargers: nothing is answered before it is durable, and when
//! nothing can be made durable they are sent away rather than lied to.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::charger::{Charger, TEXT, encode, request};
use common::{World, soon, until};
use journal::sim::{Fault, SimDisk};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn no_answer_leaves_before_its_record_is_durable() {
    let disk = SimDisk::new(1);
    let world = World::with(|setup| setup.disk = Some(disk.clone())).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.start_transaction("first").await;

    disk.set_stuck(true);
    let durable = world.journal.durable_seq();
    let start =
        r#"{"connectorId":1,"idTag":"TAG","meterStart":5,"timestamp":"2026-01-02T03:04:05Z"}"#;
    charger.text(r#"[2,"beat","Heartbeat",{}]"#).await;
    charger
        .text(r#"[2,"new","Authorize",{"idTag":"TAG"}]"#)
        .await;
    charger
        .text(&format!(r#"[2,"resend","StartTransaction",{start}]"#))
        .await;
    until("all were heard", || {
        world.journal.status().appended_seq >= durable + 2
    })
    .await;
    assert!(charger.is_silent(Duration::from_millis(300)).await);

    disk.set_stuck(false);
    for id in ["beat", "new", "resend"] {
        assert!(
            charger
                .answer()
                .await
                .starts_with(&format!(r#"[3,"{id}","#))
        );
    }
}

#[tokio::test]
async fn a_charger_replaced_while_the_disk_hangs_is_answered_once_it_is_durable() {
    let disk = SimDisk::new(2);
    let world = World::with(|setup| setup.disk = Some(disk.clone())).await;
    let mut old = Charger::connect(&world, "CP-1").await;
    old.heartbeat().await;
    disk.set_stuck(true);
    let durable = world.journal.durable_seq();
    let start =
        r#"{"connectorId":1,"idTag":"TAG","meterStart":5,"timestamp":"2026-01-02T03:04:05Z"}"#;
    old.text(&format!(r#"[2,"a","StartTransaction",{start}]"#))
        .await;
    until("it was heard", || {
        world.journal.status().appended_seq > durable
    })
    .await;

    let mut new = Charger::connect(&world, "CP-1").await;
    new.text(&format!(r#"[2,"b","StartTransaction",{start}]"#))
        .await;
    assert!(
        new.is_silent(Duration::from_millis(300)).await,
        "the first copy is not durable yet"
    );
    disk.set_stuck(false);
    assert!(new.answer().await.starts_with(r#"[3,"b","#));
    new.heartbeat().await;
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 2
    })
    .await;
    let stored = world.sink.stored.lock().unwrap().clone();
    let starts = stored
        .iter()
        .filter(|stored| stored.action == "StartTransaction")
        .count();
    assert_eq!(starts, 1, "{stored:#?}");
}

#[tokio::test]
async fn a_disk_error_ends_the_gateway_and_closes_all_sockets_unanswered() {
    let disk = SimDisk::new(3);
    let world = World::with(|setup| setup.disk = Some(disk.clone())).await;
    let mut idle = Charger::connect(&world, "idle").await;
    idle.heartbeat().await;
    let mut busy = Charger::connect(&world, "busy").await;
    busy.heartbeat().await;
    disk.inject(Fault::SyncError(0));
    busy.text(r#"[2,"lost","Heartbeat",{}]"#).await;
    assert_eq!(busy.closed().await, Some(1013), "closed without an answer");
    assert_eq!(idle.closed().await, Some(1013));
    let why = soon("the gateway says why", world.gateway.failed()).await;
    assert!(why.starts_with("the journal stopped: "), "{why}");
    let charger = Charger::say(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(charger.head.status, 503);
    world.gateway.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_full_disk_closes_refuses_and_comes_back_by_itself() {
    let disk = SimDisk::new(4);
    let world = World::with(|setup| {
        setup.disk = Some(disk.clone());
        setup.journal.max_bytes = 64 << 20;
        setup.journal.segment_bytes = 256 << 10;
        setup.config.durable_timeout_ms = 1_000;
        setup.journal.retain_bytes = 0;
    })
    .await;
    world.sink.away.store(true, Ordering::SeqCst);
    let mut idle = Charger::connect(&world, "idle").await;
    idle.heartbeat().await;
    disk.set_capacity(disk.used() + (512 << 10));
    let mut busy = Charger::connect(&world, "busy").await;
    let filler = "x".repeat(8_000);
    let mut answered = 0;
    soon("the disk is full", async {
        loop {
            let call =
                format!(r#"[2,"{answered}","DataTransfer",{{"vendorId":"v","data":"{filler}"}}]"#);
            let sent = busy
                .socket
                .write_all(&encode(0x80 | TEXT, call.as_bytes()))
                .await;
            match busy.try_read().await {
                Some((TEXT, answer)) if sent.is_ok() => {
                    assert!(answer.starts_with(format!(r#"[3,"{answered}","#).as_bytes()));
                    answered += 1;
                }
                _ => break,
            }
        }
    })
    .await;
    assert_eq!(idle.closed().await, Some(1013));
    let charger = Charger::say(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(charger.head.status, 503);

    disk.set_capacity(u64::MAX);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    soon("chargers may come in again", async {
        loop {
            ticks.tick().await;
            let charger = Charger::say(&world, request("/ocpp/busy", "").as_bytes()).await;
            if charger.head.status == 101 {
                break;
            }
        }
    })
    .await;
    world.sink.away.store(false, Ordering::SeqCst);
    until("all that was answered is stored", || {
        world.sink.count(|stored| stored.action == "DataTransfer") >= answered
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_hangs_closes_refuses_and_comes_back_by_itself() {
    let disk = SimDisk::new(5);
    let world = World::with(|setup| {
        setup.disk = Some(disk.clone());
        setup.config.durable_timeout_ms = 500;
    })
    .await;
    let mut idle = Charger::connect(&world, "idle").await;
    idle.heartbeat().await;
    let mut busy = Charger::connect(&world, "busy").await;
    busy.heartbeat().await;
    disk.set_stuck(true);
    busy.text(r#"[2,"late","Heartbeat",{}]"#).await;
    assert_eq!(busy.closed().await, Some(1013), "closed without an answer");
    assert_eq!(idle.closed().await, Some(1013));
    let charger = Charger::say(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(charger.head.status, 503);
    disk.set_stuck(false);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    soon("chargers may come in again", async {
        loop {
            ticks.tick().await;
            let charger = Charger::say(&world, request("/ocpp/busy", "").as_bytes()).await;
            if charger.head.status == 101 {
                break;
            }
        }
    })
    .await;
}
