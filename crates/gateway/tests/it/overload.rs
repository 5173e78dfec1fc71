//! Overload, by many chargers or by a few hostile ones: more messages than can be stored, messages that are never
//! finished, chargers that are not accepted.

use crate::common::charger::{CLOSE, Charger, PING, PONG, TEXT, encode, request};
use crate::common::{World, soon, transaction_id, until};
use central::RecordKind;
use central::policy::UnknownCharger;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;

/// A gateway whose sink stores `per_second` records, and which paces messages almost at once.
async fn slow_world(per_second: u64) -> World {
    World::with(|setup| {
        setup.journal.bytes_max = 16 << 20;
        setup.journal.retain_bytes = 0;
        setup.config.pace_from_bytes = Some(16 << 10);
        setup.config.batch_records_max = 10;
        setup.config.ping_interval_s = 1;
        setup.config.ping_misses_max = 3;
        setup.config.silence_s_max = 4;
        setup.sink.per_second.store(per_second, Ordering::SeqCst);
    })
    .await
}

/// Connects, with retries: on a busy machine pacing begins while chargers still connect.
async fn connect_with_retries(world: &World, identity: &str) -> Charger {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    soon("a charger is accepted", async {
        loop {
            ticks.tick().await;
            let charger =
                Charger::handshake(world, request(&format!("/ocpp/{identity}"), "").as_bytes())
                    .await;
            if charger.head.status == 101 {
                return charger;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_more_chargers_than_records_per_second_reach_an_equilibrium() {
    const CHARGERS: usize = 400;
    const CAPACITY: u64 = 40;
    // All connect before the sink is slow: then only few new connections are allowed.
    let world = Arc::new(slow_world(u64::MAX).await);
    let mut chargers = Vec::new();
    for i in 0..CHARGERS {
        chargers.push(connect_with_retries(&world, &format!("CP-{i}")).await);
    }
    world.sink.per_second.store(CAPACITY, Ordering::SeqCst);
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for mut charger in chargers {
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        tasks.push(tokio::spawn(async move {
            let mut own = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                charger
                    .text(&format!(r#"[2,"{own}","Heartbeat",{{}}]"#))
                    .await;
                match charger.try_read().await {
                    Some((TEXT, answer)) => {
                        assert!(answer.starts_with(format!(r#"[3,"{own}","#).as_bytes()));
                    }
                    other => panic!("closed after {own} answers: {other:?}"),
                }
                own += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            own
        }));
    }
    // Three times in a row, over more than one turn of each charger: as much is acknowledged as is stored.
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(6));
    ticks.tick().await;
    let mut seen = (0, 0);
    let mut right = 0;
    while right < 3 {
        ticks.tick().await;
        let now = (
            answered.load(Ordering::Relaxed),
            world.sink.count(|_| true) as u64,
        );
        let (taken, stored) = (now.0 - seen.0, now.1 - seen.1);
        seen = now;
        right = match taken as f64 <= stored as f64 * 1.25 + 20.0 {
            true => right + 1,
            false => 0,
        };
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "never settled: acknowledged {taken}, stored {stored}"
        );
    }
    assert_eq!(world.journal.full(), None);
    let status = world.journal.status();
    assert!(status.used_bytes < 4 << 20, "{} bytes", status.used_bytes);
    // The sink is fast again, so that all remaining answers are sent.
    stop.store(true, Ordering::Relaxed);
    world.sink.per_second.store(0, Ordering::SeqCst);
    let (mut least, mut most) = (u64::MAX, 0);
    for task in tasks {
        let own = soon("the last answer", task)
            .await
            .expect("no socket is closed");
        (least, most) = (least.min(own), most.max(own));
    }
    assert!(least >= 1 && most - least <= 20, "{least} to {most}");
}

/// Answers pings until the other charger of the test has got its answer too; one that answers none would be closed.
async fn read_until_both(charger: &mut Charger, both: &Barrier) {
    let mut both = pin!(both.wait());
    loop {
        tokio::select! {
            _ = &mut both => return,
            frame = charger.try_read() => {
                frame.expect("is not closed");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_waits_for_its_turn_answers_pings_and_is_not_closed_for_silence() {
    const CHARGERS: usize = 120;
    // All connect before the sink is slow: on a busy machine handshakes are refused otherwise.
    let world = Arc::new(slow_world(u64::MAX).await);
    let mut crowd = Vec::new();
    for i in 0..CHARGERS {
        crowd.push(connect_with_retries(&world, &format!("CP-{i}")).await);
    }
    let mut one = connect_with_retries(&world, "one").await;
    let mut large = connect_with_retries(&world, "large").await;
    world.sink.per_second.store(20, Ordering::SeqCst);
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for mut charger in crowd {
        let stop = Arc::clone(&stop);
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                charger.text(r#"[2,"1","Heartbeat",{}]"#).await;
                charger.try_read().await.expect("is not closed");
            }
        }));
    }
    // Until a turn takes longer than `silence_s_max`, and the pong does not wait for it. A busy machine delays both alike,
    // so a single round proves nothing.
    let began = Instant::now();
    let mut is_shown = false;
    while !is_shown {
        let asked = Instant::now();
        let both = Barrier::new(2);
        let other = async {
            large.text(r#"[2,"1","Heartbeat",{}]"#).await;
            large.try_read().await.expect("is not closed");
            read_until_both(&mut large, &both).await;
        };
        let this = async {
            one.text(r#"[2,"1","Heartbeat",{}]"#).await;
            one.frame(0x80 | PING, b"are you there").await;
            let first = one.try_read().await.expect("is not closed");
            let took = asked.elapsed();
            let second = one.try_read().await.expect("is not closed");
            let waited = asked.elapsed();
            let pong = (PONG, b"are you there".to_vec());
            assert!(first == pong || second == pong);
            read_until_both(&mut one, &both).await;
            waited > Duration::from_millis(5_000) && first == pong && took < waited / 2
        };
        (is_shown, ()) = tokio::join!(this, other);
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "no turn takes that long, or pings wait for it too"
        );
    }
    // A message longer than the read buffer waits in the socket and is then read whole.
    let long = format!(
        r#"[2,"1","DataTransfer",{{"vendorId":"v","data":"{}"}}]"#,
        "x".repeat(300 << 10)
    );
    let asked = Instant::now();
    large.text(&long).await;
    let (_, answer) = large.try_read().await.expect("is not closed");
    assert!(answer.starts_with(br#"[3,"1","#));
    assert!(
        asked.elapsed() > Duration::from_secs(1),
        "it has waited too"
    );
    stop.store(true, Ordering::Relaxed);
    world.sink.per_second.store(0, Ordering::SeqCst);
    for task in tasks {
        soon("all answers", task)
            .await
            .expect("no socket is closed");
    }
}

#[tokio::test]
async fn an_unfinished_message_closes_its_connection_in_time_despite_pings() {
    let world = World::with(|setup| {
        setup.config.unfinished_timeout_ms = 1_000;
        setup.config.ping_interval_s = 1;
    })
    .await;
    let mut bystander = Charger::connect(&world, "bystander").await;
    let whole = br#"[2,"1","Heartbeat",{}]"#;
    for (i, begin) in [
        encode(0x80 | TEXT, whole)[..10].to_vec(),
        encode(TEXT, &whole[..8]),
        vec![0x80 | TEXT],
        vec![0x80 | PING, 0x80 | 100],
    ]
    .into_iter()
    .enumerate()
    {
        let mut charger = Charger::connect(&world, &format!("CP-{i}")).await;
        charger.socket.write_all(&begin).await.expect("writes");
        let is_between_frames = begin[0] == TEXT;
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        soon("the close", async {
            let mut byte = [0; 256];
            loop {
                tokio::select! {
                    read = charger.socket.read(&mut byte) => match read {
                        Ok(0) | Err(_) => break,
                        Ok(_) => {}
                    },
                    _ = ticks.tick() => {
                        // A ping every 100 ms where one is allowed.
                        let ping = match is_between_frames {
                            true => encode(0x80 | PING, b""),
                            false => Vec::new(),
                        };
                        if charger.socket.write_all(&ping).await.is_err() {
                            break;
                        }
                    }
                }
            }
        })
        .await;
        bystander.heartbeat().await;
    }
    until("their disconnects are stored with the reason", || {
        world
            .sink
            .count(|stored| stored.reason.contains("not finished"))
            == 4
    })
    .await;
}

#[tokio::test]
async fn a_message_refused_at_a_full_journal_leaves_other_resends_recognised() {
    let world = World::with(|setup| {
        setup.journal.bytes_max = 1 << 20;
        setup.journal.retain_bytes = 0;
    })
    .await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let first = charger.start_transaction("first").await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    let data = format!(r#"{{"vendorId":"v","data":"{}"}}"#, "x".repeat(8_000));
    soon("the journal is full", async {
        for i in 0.. {
            charger
                .text(&format!(r#"[2,"d{i}","DataTransfer",{data}]"#))
                .await;
            match charger.try_read().await {
                Some((TEXT, _)) => {}
                _ => break,
            }
        }
    })
    .await;
    world.sink.unavailable.store(false, Ordering::SeqCst);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut charger = soon("it is accepted again", async {
        loop {
            ticks.tick().await;
            let charger = Charger::handshake(&world, request("/ocpp/CP-1", "").as_bytes()).await;
            if charger.head.status == 101 {
                break charger;
            }
        }
    })
    .await;
    let again = charger.start_transaction("again").await;
    assert_eq!(transaction_id(&again), transaction_id(&first));
    // Sent after the resend: when it is stored, a second record of the start would be stored too.
    charger.heartbeat().await;
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 1
    })
    .await;
    let starts = world
        .sink
        .count(|stored| stored.action == "StartTransaction");
    assert_eq!(starts, 1, "the resend has no record of its own");
}

#[tokio::test]
async fn chargers_that_are_not_accepted_write_few_records_and_delay_no_other() {
    let world = World::with(|setup| {
        setup.policy.unknown_charger = UnknownCharger::Pending;
        setup.directory.add("known", None);
    })
    .await;
    let mut known = Charger::connect(&world, "known").await;
    let mut unknown = Charger::connect(&world, "unknown").await;
    let calls: Vec<u8> = (0..1_000)
        .flat_map(|i| {
            let call = format!(
                r#"[2,"{i}","StartTransaction",{{"connectorId":1,"idTag":"T","meterStart":{i},"timestamp":"2026-01-02T03:04:05Z"}}]"#
            );
            encode(0x80 | TEXT, call.as_bytes())
        })
        .collect();
    unknown.socket.write_all(&calls).await.expect("writes");
    let began = Instant::now();
    for i in 0..15 {
        let answer = unknown.answer().await;
        assert!(
            answer.starts_with(&format!(r#"[4,"{i}","SecurityError""#)),
            "{answer}"
        );
        known.heartbeat().await;
    }
    // The first ten at once, then one a second.
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(4), "{took:?}");
    let recorded = || {
        world
            .sink
            .count(|stored| stored.action == "StartTransaction")
    };
    until("what was answered is stored", || recorded() >= 15).await;
    let bound = 10 + began.elapsed().as_secs() as usize + 2;
    assert!(recorded() <= bound, "{} records", recorded());
}

#[tokio::test]
async fn waiting_messages_of_a_charger_that_is_not_accepted_are_dropped_at_its_end() {
    let world = World::with(|setup| setup.policy.unknown_charger = UnknownCharger::Pending).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    // One more than may be sent at once.
    let mut frames: Vec<u8> = (0..11)
        .flat_map(|i| {
            let call = format!(
                r#"[2,"{i}","StopTransaction",{{"transactionId":{i},"meterStop":5,"timestamp":"2026-01-02T03:04:05Z"}}]"#
            );
            encode(0x80 | TEXT, call.as_bytes())
        })
        .collect();
    frames.extend(encode(0x80 | CLOSE, &1000_u16.to_be_bytes()));
    charger.socket.write_all(&frames).await.expect("writes");
    assert_eq!(charger.closed().await, Some(1000));
    until("its disconnect is stored", || {
        world
            .sink
            .count(|stored| stored.kind == RecordKind::Disconnected)
            == 1
    })
    .await;
    assert_eq!(
        world
            .sink
            .count(|stored| stored.action == "StopTransaction"),
        10,
        "the waiting one was not recorded"
    );
}
