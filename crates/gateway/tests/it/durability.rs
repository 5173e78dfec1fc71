//! `durability = "broker"`: answers wait for the sink's confirm, up to a bound.

use crate::common::charger::Charger;
use crate::common::{Setup, World, soon, until};
use gateway::Durability;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

async fn world(wait_ms: u64) -> World {
    World::with(|setup: &mut Setup| {
        setup.config.durability = Durability::Broker;
        setup.config.durability_wait_ms = wait_ms;
        setup.config.retry_ms_max = 50;
    })
    .await
}

fn forwarder(world: &World) -> (bool, String) {
    let health = world.gateway.probe().health();
    let part = health.into_iter().find(|health| health.part == "forwarder");
    let part = part.expect("is a part");
    (part.up, part.detail)
}

fn is_fallback(world: &World) -> bool {
    forwarder(world).1.contains("do not wait for a confirm")
}

#[tokio::test]
async fn an_answer_is_sent_after_the_sink_has_confirmed_its_record() {
    let world = world(60_000).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    for _ in 0..50 {
        let before = world.journal.cursor();
        charger.heartbeat().await;
        assert!(world.journal.cursor() > before);
    }
    world.sink.held.store(true, Ordering::SeqCst);
    charger.text(r#"[2,"held","Heartbeat",{}]"#).await;
    let written = world.journal.cursor();
    until("it is durable here", || {
        world.journal.durable_seq() > written
    })
    .await;
    assert!(charger.is_silent(Duration::from_millis(100)).await);
    world.sink.held.store(false, Ordering::SeqCst);
    assert!(charger.answer().await.starts_with(r#"[3,"held","#));
    assert!(!is_fallback(&world));
}

#[tokio::test]
async fn no_answer_waits_longer_than_the_bound_for_a_sink_that_does_not_confirm() {
    let world = world(300).await;
    let mut chargers = Vec::new();
    for i in 0..100 {
        let mut charger = Charger::connect(&world, &format!("CP-{i}")).await;
        charger.heartbeat().await;
        chargers.push(charger);
    }
    world.sink.held.store(true, Ordering::SeqCst);
    let confirmed = world.journal.cursor();
    let asked = Instant::now();
    for charger in &mut chargers {
        charger.text(r#"[2,"held","Heartbeat",{}]"#).await;
    }
    for charger in &mut chargers {
        assert!(charger.answer().await.starts_with(r#"[3,"held","#));
    }
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    // A batch that was in flight may have been delivered; no other is confirmed.
    assert!(world.journal.cursor() <= confirmed + 1);
    assert!(is_fallback(&world), "{:?}", forwarder(&world));

    // In fallback answers wait only for the journal.
    let asked = Instant::now();
    for charger in &mut chargers {
        charger.heartbeat().await;
    }
    let each = asked.elapsed() / 100;
    assert!(each < Duration::from_millis(300), "{each:?}");

    world.sink.held.store(false, Ordering::SeqCst);
    until("it has caught up", || !is_fallback(&world)).await;
    for charger in &mut chargers {
        let before = world.journal.cursor();
        charger.heartbeat().await;
        assert!(world.journal.cursor() > before);
    }
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 400
    })
    .await;
}

#[tokio::test]
async fn answers_do_not_wait_for_a_sink_that_refuses_and_the_gateway_stays_ready() {
    let world = world(60_000).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.heartbeat().await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        soon("an answer", charger.heartbeat()).await;
    }
    assert!(is_fallback(&world));
    let health = world.gateway.probe().health();
    assert!(health.iter().all(|health| health.up), "{health:?}");
    assert!(forwarder(&world).1.contains("database is locked"));
    world.sink.unavailable.store(false, Ordering::SeqCst);
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 21
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_sink_that_fails_repeatedly_no_answer_and_no_record_is_lost() {
    let world = Arc::new(world(100).await);
    world.sink.delay_ms.store(3, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for i in 0..30 {
        let world = Arc::clone(&world);
        tasks.push(tokio::spawn(async move {
            let mut charger = Charger::connect(&world, &format!("CP-{i}")).await;
            for _ in 0..100 {
                charger.heartbeat().await;
            }
        }));
    }
    let trouble = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            for round in 0..8 {
                let sink = &world.sink;
                let switch = if round % 2 == 0 {
                    &sink.held
                } else {
                    &sink.unavailable
                };
                switch.store(true, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(130)).await;
                switch.store(false, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        }
    });
    for task in tasks {
        soon("the last answer", task).await.expect("answered all");
    }
    trouble.await.expect("no panic");
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 3_000
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_batches_are_in_flight_and_start_in_order() {
    let world = Arc::new(world(60_000).await);
    let in_flight_max = || world.sink.in_flight_max.load(Ordering::SeqCst);
    // Nothing is delivered, so each charger's records are in a batch that is in flight beside the earlier ones.
    world.sink.held.store(true, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for i in 0..20 {
        let charger_world = Arc::clone(&world);
        tasks.push(tokio::spawn(async move {
            let mut charger = Charger::connect(&charger_world, &format!("CP-{i}")).await;
            for _ in 0..20 {
                charger.heartbeat().await;
            }
        }));
        until("one more batch is in flight", || in_flight_max() > i.min(2)).await;
    }
    world.sink.held.store(false, Ordering::SeqCst);
    for task in tasks {
        soon("the last answer", task).await.expect("answered all");
    }
    let begun = world.sink.begun.lock().unwrap();
    assert!(
        begun.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0),
        "{begun:?}"
    );
    let in_flight = in_flight_max();
    assert!((3..=16).contains(&in_flight), "{in_flight}");
}
