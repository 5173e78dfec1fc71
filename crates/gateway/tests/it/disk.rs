//! How the journal's disk affects chargers: no answer before its record is durable, and no connection while nothing can be
//! made durable.

use crate::common::charger::{Charger, TEXT, encode, request};
use crate::common::{World, soon, until};
use central::Epoch;
use central::RecordKind;
use journal::Journal;
use journal::sim::{Fault, SimDisk};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn no_answer_is_sent_before_its_record_is_durable() {
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
    until("all were received", || {
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
async fn a_charger_that_reconnects_while_the_disk_hangs_is_answered_once_its_record_is_durable() {
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
    until("it was received", || {
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
    let why = soon("the gateway reports the failure", world.gateway.failed()).await;
    assert!(why.starts_with("the journal stopped: "), "{why}");
    let charger = Charger::handshake(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(charger.head.status, 503);
    world.gateway.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn with_a_full_disk_connections_close_until_it_has_room() {
    let disk = SimDisk::new(4);
    let world = World::with(|setup| {
        setup.disk = Some(disk.clone());
        setup.journal = small();
        // Longer than this test runs: connections close because the disk is full, not because it stalls.
        setup.config.durable_timeout_ms = 60_000;
    })
    .await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    let mut idle = Charger::connect(&world, "idle").await;
    idle.heartbeat().await;
    disk.set_capacity(disk.used() + (512 << 10));
    let mut busy = Charger::connect(&world, "busy").await;
    let answered = fill(&mut busy).await;
    assert_eq!(idle.closed().await, Some(1013));
    let charger = Charger::handshake(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(charger.head.status, 503);

    disk.set_capacity(u64::MAX);
    until_accepted(&world).await;
    world.sink.unavailable.store(false, Ordering::SeqCst);
    until("all that was answered is stored", || {
        world.sink.count(|stored| stored.action == "DataTransfer") >= answered
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_ended_at_a_full_journal_does_not_stay_recorded_as_open() {
    let disk = SimDisk::new(6);
    let world = World::with(|setup| {
        setup.disk = Some(disk.clone());
        setup.journal = small();
        setup.journal.bytes_max = 512 << 10;
        setup.config.durable_timeout_ms = 60_000;
    })
    .await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    let mut gone = Charger::connect(&world, "gone").await;
    gone.heartbeat().await;
    fill(&mut Charger::connect(&world, "busy").await).await;
    assert_eq!(gone.closed().await, Some(1013));
    world.sink.unavailable.store(false, Ordering::SeqCst);

    until_accepted(&world).await;
    Charger::connect(&world, "back").await.heartbeat().await;
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 2
    })
    .await;
    let connected = |who: &str| {
        let connected = world
            .sink
            .find(|stored| stored.kind == RecordKind::Connected && stored.charger_id == who);
        connected.expect("it was").epoch
    };
    let starts = world.sink.stored.lock().unwrap().clone();
    let mut starts = starts
        .iter()
        .filter(|stored| stored.kind == RecordKind::GatewayStarted);
    let last = starts.next_back().expect("the first at least").epoch;
    assert!(connected("gone") < last, "it counts as ended");
    assert!(last < connected("back"), "it counts as open");
}

#[tokio::test]
async fn a_start_at_a_full_journal_is_recorded_before_any_charger_connects() {
    let disk = SimDisk::new(7);
    let options = journal::Options {
        bytes_max: 512 << 10,
        ..small()
    };
    {
        let (journal, _) = Journal::open_on(disk.clone(), options).expect("opens");
        let filler = central::record::gateway_started(central::Timestamp(1), Epoch(1));
        while journal.append(&filler, None).is_ok() {}
        journal.close().expect("closes");
    }
    let world = World::with(|setup| {
        setup.disk = Some(disk.clone());
        setup.journal = options;
        setup.sink.unavailable.store(true, Ordering::SeqCst);
    })
    .await;
    let refused = Charger::handshake(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(refused.head.status, 503);
    world.sink.unavailable.store(false, Ordering::SeqCst);
    until_accepted(&world).await;
    let connected = || {
        world
            .sink
            .find(|stored| stored.kind == RecordKind::Connected)
    };
    until("it is stored", || connected().is_some()).await;
    let connected = connected().unwrap();
    let start = world
        .sink
        .find(|stored| stored.kind == RecordKind::GatewayStarted && stored.epoch > 1)
        .expect("this start is recorded");
    assert!(start.seq < connected.seq && start.epoch < connected.epoch);
}

#[tokio::test]
async fn a_damaged_record_that_is_stored_already_does_not_prevent_a_start() {
    let disk = SimDisk::new(8);
    let options = journal::Options {
        retain_bytes: 64 << 20,
        ..small()
    };
    {
        let (journal, _) = Journal::open_on(disk.clone(), options).expect("opens");
        let record = central::record::gateway_started(central::Timestamp(1), Epoch(1));
        // Several segments: the cursor's own must stay intact, and recovery checks the last.
        for _ in 0..3 * (options.segment_bytes as usize / record.len()) {
            journal.append(&record, None).expect("has room");
        }
        let last = journal.status().appended_seq;
        until("all is durable", || journal.durable_seq() == last).await;
        journal.forget_upto(last).expect("is durable");
        journal.close().expect("closes");
    }
    let first = disk
        .names()
        .into_iter()
        .find(|name| name.starts_with("segment-"))
        .expect("the first segment");
    disk.edit(&first, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xa5);
    });
    let world = World::with(|setup| {
        setup.disk = Some(disk.clone());
        setup.journal = options;
    })
    .await;
    Charger::connect(&world, "CP-1").await.heartbeat().await;
}

/// A journal of small segments that retains nothing before the cursor.
fn small() -> journal::Options {
    journal::Options {
        bytes_max: 64 << 20,
        segment_bytes: 256 << 10,
        retain_bytes: 0,
        ..journal::Options::default()
    }
}

/// Calls until no answer comes any more; returns the number of answered calls.
async fn fill(charger: &mut Charger) -> usize {
    let filler = "x".repeat(8_000);
    let mut answered = 0;
    soon("it is full", async {
        loop {
            let call =
                format!(r#"[2,"{answered}","DataTransfer",{{"vendorId":"v","data":"{filler}"}}]"#);
            let sent = charger
                .socket
                .write_all(&encode(0x80 | TEXT, call.as_bytes()))
                .await;
            match charger.try_read().await {
                Some((TEXT, answer)) if sent.is_ok() => {
                    assert!(answer.starts_with(format!(r#"[3,"{answered}","#).as_bytes()));
                    answered += 1;
                }
                _ => break,
            }
        }
    })
    .await;
    answered
}

/// Waits until a charger is accepted.
async fn until_accepted(world: &World) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    soon("chargers are accepted again", async {
        loop {
            ticks.tick().await;
            let charger = Charger::handshake(world, request("/ocpp/busy", "").as_bytes()).await;
            if charger.head.status == 101 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn with_a_hanging_disk_connections_close_until_it_makes_progress() {
    let disk = SimDisk::new(5);
    let world = World::with(|setup| {
        setup.disk = Some(disk.clone());
        setup.journal = small();
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
    let charger = Charger::handshake(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(charger.head.status, 503);
    disk.set_stuck(false);
    until_accepted(&world).await;
}
