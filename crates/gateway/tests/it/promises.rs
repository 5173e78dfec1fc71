//! The gateway's promises: an answer is sent only after its record is durable, a charger has one connection, and no
//! message is lost at a stop or in an outage.

use crate::common::charger::{Charger, TEXT, encode, request};
use crate::common::{World, soon, transaction_id, until};
use central::RecordKind;
use central::model::{ChargerKey, CloseRule, CloseStyle};
use central::policy::{Policy, UnknownCharger};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn answered_messages_are_durable_and_stored_in_order() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    for _ in 0..50 {
        let before = world.journal.durable_seq();
        charger.heartbeat().await;
        assert!(world.journal.durable_seq() > before);
    }
    until("all are stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 50
    })
    .await;
    let stored = world.sink.stored.lock().unwrap().clone();
    assert_eq!(stored[0].kind, RecordKind::GatewayStarted);
    assert_eq!(stored[1].kind, RecordKind::Connected);
    assert!(stored.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    until("the journal forgets what is stored", || {
        world.journal.cursor() == world.journal.durable_seq()
    })
    .await;
}

#[tokio::test]
async fn after_a_pause_records_are_delivered_at_once() {
    let world = World::with(|setup| setup.config.batch_age_ms = 60_000).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    for sent in 1..=3 {
        charger.heartbeat().await;
        until("it is stored", || {
            world.sink.count(|stored| stored.action == "Heartbeat") == sent
        })
        .await;
    }
}

#[tokio::test]
async fn chargers_are_answered_while_the_sink_is_unavailable_and_all_is_stored_afterwards() {
    let world = World::start().await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    world.directory.unavailable.store(true, Ordering::SeqCst);
    let mut charger = Charger::connect(&world, "CP-1").await;
    for _ in 0..20 {
        charger.heartbeat().await;
    }
    charger.start_transaction("s").await;
    until("delivery is retried", || {
        world.sink.attempts.load(Ordering::SeqCst) > 3
    })
    .await;
    let health = world.gateway.probe().health();
    let forwarder = health
        .iter()
        .find(|health| health.part == "forwarder")
        .expect("is a part");
    assert!(
        !forwarder.up && forwarder.detail.contains("database is locked"),
        "{forwarder:?}"
    );
    assert_eq!(world.sink.count(|_| true), 0);

    world.sink.unavailable.store(false, Ordering::SeqCst);
    until("all are stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 20
    })
    .await;
    until("health reports it", || {
        world
            .gateway
            .probe()
            .health()
            .iter()
            .any(|health| health.part == "forwarder" && health.up)
    })
    .await;
}

#[tokio::test]
async fn the_newest_connection_wins() {
    let world = World::start().await;
    let mut old = Charger::connect(&world, "CP-1").await;
    let first = old.start_transaction("s").await;
    let mut new = Charger::connect(&world, "CP-1").await;
    assert_eq!(old.closed().await, Some(1000));
    assert!(old.is_closed().await);
    new.heartbeat().await;
    let again = new.start_transaction("s").await;
    assert_eq!(
        transaction_id(&first),
        transaction_id(&again),
        "the resend is recognised on the new connection"
    );
    drop(new);
    until("both disconnects are stored", || {
        world
            .sink
            .count(|stored| stored.kind == RecordKind::Disconnected)
            == 2
    })
    .await;

    let stored = world.sink.stored.lock().unwrap().clone();
    let kinds: Vec<_> = stored.iter().map(|stored| stored.kind).collect();
    use RecordKind::{Call, Connected, Disconnected, GatewayStarted};
    assert_eq!(
        kinds,
        [
            GatewayStarted,
            Connected,
            Call,
            Disconnected,
            Connected,
            Call,
            Disconnected
        ]
    );
    assert!(stored[4].epoch > stored[1].epoch && stored[1].epoch > stored[0].epoch);
    assert_eq!(stored[3].epoch, stored[1].epoch);
}

#[tokio::test]
async fn of_a_hundred_connections_of_one_charger_only_the_last_stays_open() {
    let world = World::start().await;
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(Charger::connect(&world, "CP-1").await);
    }
    let mut last = all.pop().expect("a hundred");
    last.heartbeat().await;
    for mut old in all {
        assert!(old.is_closed().await);
    }
    last.heartbeat().await;
}

#[tokio::test]
async fn a_resend_after_a_restart_gets_the_same_transaction_and_epochs_increase() {
    let world = World::start().await;
    world.directory.add("CP-1", None);
    let mut charger = Charger::connect(&world, "CP-1").await;
    let first = charger.start_transaction("old").await;
    let world = world.restart().await;
    assert_eq!(charger.closed().await, Some(1001));

    let mut charger = Charger::connect(&world, "cp-1").await;
    let again = charger.start_transaction("new").await;
    assert_eq!(transaction_id(&first), transaction_id(&again));
    charger.heartbeat().await;
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 1
    })
    .await;
    assert_eq!(
        world
            .sink
            .count(|stored| stored.action == "StartTransaction"),
        1,
        "one transaction"
    );
    let epochs: Vec<_> = world
        .sink
        .stored
        .lock()
        .unwrap()
        .iter()
        .filter(|stored| {
            matches!(
                stored.kind,
                RecordKind::Connected | RecordKind::GatewayStarted
            )
        })
        .map(|stored| stored.epoch)
        .collect();
    assert!(
        epochs.windows(2).all(|pair| pair[0] < pair[1]),
        "{epochs:?}"
    );
}

#[tokio::test]
async fn chargers_are_known_after_a_start_without_the_database() {
    let strict =
        |setup: &mut crate::common::Setup| setup.policy.unknown_charger = UnknownCharger::Reject;
    let world = World::with(strict).await;
    let charger = Charger::handshake(&world, request("/ocpp/CP-1", "").as_bytes()).await;
    assert_eq!(charger.head.status, 404);
    world.directory.add("CP-1", None);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    soon("the directory is refreshed", async {
        loop {
            ticks.tick().await;
            if Charger::handshake(&world, request("/ocpp/CP-1", "").as_bytes())
                .await
                .head
                .status
                == 101
            {
                break;
            }
        }
    })
    .await;
    world.directory.unavailable.store(true, Ordering::SeqCst);
    let world = world.restart().await;
    assert!(
        world
            .gateway
            .probe()
            .health()
            .iter()
            .any(|health| health.part == "directory" && health.detail.starts_with("1 chargers"))
    );
    Charger::connect(&world, "CP-1").await.heartbeat().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_not_read_from_and_is_closed() {
    let world = World::with(|setup| {
        setup.config.write_timeout_ms = 700;
        setup.config.outbound_bytes_max = 4_096;
    })
    .await;
    let mut bystander = Charger::connect(&world, "bystander").await;
    let mut slow = Charger::connect_narrow(&world, "CP-1").await;
    // An id of 36 characters comes back in every answer.
    let call = encode(
        0x80 | TEXT,
        format!(r#"[2,"{}","Heartbeat",{{}}]"#, "i".repeat(36)).as_bytes(),
    );
    let block = call.repeat(200);
    soon("the gateway stops reading and then closes", async {
        while slow.socket.write_all(&block).await.is_ok() {
            bystander.heartbeat().await;
        }
    })
    .await;
    bystander.heartbeat().await;
    until("its disconnect is stored", || {
        world
            .sink
            .count(|stored| stored.reason.contains("did not read in time"))
            == 1
    })
    .await;
}

#[tokio::test]
async fn with_a_full_journal_connections_close_until_it_has_room() {
    let world = World::with(|setup| {
        setup.journal.bytes_max = 1 << 20;
        setup.journal.retain_bytes = 0;
    })
    .await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    let mut idle = Charger::connect(&world, "idle").await;
    idle.heartbeat().await;
    let mut busy = Charger::connect(&world, "busy").await;
    let filler = "x".repeat(8_000);
    let mut answered = 0;
    soon("the journal is full", async {
        loop {
            let call =
                format!(r#"[2,"{answered}","DataTransfer",{{"vendorId":"v","data":"{filler}"}}]"#);
            if busy
                .socket
                .write_all(&encode(0x80 | TEXT, call.as_bytes()))
                .await
                .is_err()
            {
                break;
            }
            match busy.try_read().await {
                Some((TEXT, answer)) => {
                    assert!(answer.starts_with(format!(r#"[3,"{answered}","#).as_bytes()));
                    answered += 1;
                }
                _ => break,
            }
        }
    })
    .await;
    assert!(answered > 20, "{answered}");
    assert_eq!(
        idle.closed().await,
        Some(1013),
        "idle connections are closed too"
    );
    let refused = Charger::handshake(&world, request("/ocpp/busy", "").as_bytes()).await;
    assert_eq!(refused.head.status, 503);
    assert!(refused.head.header("Retry-After").is_some());
    let health = world.gateway.probe().health();
    assert!(
        health
            .iter()
            .any(|health| health.part == "journal" && !health.up),
        "{health:?}"
    );

    world.sink.unavailable.store(false, Ordering::SeqCst);
    until("all that was answered is stored", || {
        world.sink.count(|stored| stored.action == "DataTransfer") >= answered
    })
    .await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    soon("chargers are accepted again", async {
        loop {
            ticks.tick().await;
            let charger = Charger::handshake(&world, request("/ocpp/busy", "").as_bytes()).await;
            if charger.head.status == 101 {
                break;
            }
        }
    })
    .await;
    Charger::connect(&world, "idle").await.heartbeat().await;
}

/// Chargers that are closed together come back together, at other gateways that have work already.
#[tokio::test]
async fn a_stop_closes_many_connections_in_groups_over_the_first_half_of_its_time() {
    const CHARGERS: usize = 330;
    const GRACE: Duration = Duration::from_secs(2);
    let world = World::start().await;
    let mut reading = tokio::task::JoinSet::new();
    for number in 0..CHARGERS {
        let mut charger = Charger::connect(&world, &format!("CP-{number}")).await;
        reading.spawn(async move {
            let code = charger.closed().await;
            (std::time::Instant::now(), code)
        });
    }
    let begun = std::time::Instant::now();
    world.gateway.shutdown(GRACE).await;
    let ended = soon("all ends", reading.join_all()).await;
    let mut times: Vec<Duration> = ended.iter().map(|(at, _)| *at - begun).collect();
    times.sort_unstable();
    assert!(ended.iter().all(|(_, code)| *code == Some(1001)));
    // Groups of 32, one each 50 ms. A busy machine makes an end later and never earlier.
    let (half, last) = (times[CHARGERS / 2], times[CHARGERS - 1]);
    let is_spread = half >= Duration::from_millis(200) && last >= Duration::from_millis(450);
    assert!(is_spread, "{times:?}");
    assert!(last < GRACE, "{last:?}");
}

#[tokio::test]
async fn a_graceful_stop_finishes_answers_and_closes_with_1001() {
    let world = World::start().await;
    let mut chargers = Vec::new();
    for i in 0..40 {
        let mut charger = Charger::connect(&world, &format!("CP-{i}")).await;
        charger.text(r#"[2,"last","Heartbeat",{}]"#).await;
        chargers.push(charger);
    }
    until("all were received", || world.journal.durable_seq() >= 81).await;
    let address = world.address();
    let gateway = std::sync::Arc::new(world);
    let stopping = tokio::spawn({
        let world = std::sync::Arc::clone(&gateway);
        async move { world.gateway.shutdown(Duration::from_secs(5)).await }
    });
    for charger in &mut chargers {
        assert!(charger.answer().await.starts_with(r#"[3,"last","#));
        assert_eq!(charger.closed().await, Some(1001));
    }
    soon("the stop", stopping).await.expect("no panic");
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "the port is closed"
    );
    let reasons = gateway.journal.durable_seq();
    assert!(reasons >= 81);
}

/// Checks every three seconds until `check` succeeded three times in a row: how much of an overload piles up at first
/// depends on the machine.
async fn settled(mut check: impl FnMut() -> Result<(), String>) {
    const DEADLINE: Duration = Duration::from_secs(60);
    let began = std::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(3));
    ticks.tick().await;
    let _ = check();
    let mut right = 0;
    while right < 3 {
        ticks.tick().await;
        match check() {
            Ok(()) => right += 1,
            Err(seen) => {
                assert!(began.elapsed() < DEADLINE, "never settled: {seen}");
                right = 0;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_overload_slows_answers_down_to_the_rate_of_storing() {
    const CHARGERS: usize = 50;
    const CAPACITY: u64 = 1_000;
    let world = World::with(|setup| {
        setup.journal.bytes_max = 2 << 20;
        setup.journal.retain_bytes = 0;
        setup.config.batch_records_max = 100;
        setup.sink.per_second.store(CAPACITY, Ordering::SeqCst);
    })
    .await;
    let world = std::sync::Arc::new(world);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = Vec::new();
    for i in 0..CHARGERS {
        let (world, stop) = (std::sync::Arc::clone(&world), std::sync::Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut charger = Charger::connect(&world, &format!("CP-{i}")).await;
            let (mut answered, mut slowest) = (0_u64, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                let asked = std::time::Instant::now();
                charger.heartbeat().await;
                slowest = slowest.max(asked.elapsed());
                answered += 1;
            }
            (answered, slowest)
        }));
    }
    let mut seen = (0, 0);
    settled(|| {
        let now = (
            world.journal.durable_seq(),
            world.sink.count(|_| true) as u64,
        );
        let (taken, stored) = (now.0 - seen.0, now.1 - seen.1);
        seen = now;
        let ratio = taken as f64 / stored as f64;
        ((0.8..1.25).contains(&ratio))
            .then_some(())
            .ok_or(format!("taken {taken}, stored {stored}"))
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut least = u64::MAX;
    for task in tasks {
        let (answered, slowest) = soon("the last answer", task)
            .await
            .expect("no socket is closed");
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        least = least.min(answered);
    }
    assert!(least > 50, "every charger gets its turns: {least}");
    assert_eq!(world.journal.full(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_behind_a_queue_slows_answers_down() {
    const CHARGERS: usize = 30;
    const CAPACITY: u64 = 500;
    let world = World::with(|setup| setup.config.pace_from_bytes = Some(100 << 10)).await;
    let world = std::sync::Arc::new(world);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_over = |stop: &std::sync::atomic::AtomicBool| stop.load(Ordering::Relaxed);
    // The sink accepts everything at once; behind it `CAPACITY` records per second are stored.
    let database = tokio::spawn({
        let (world, stop) = (std::sync::Arc::clone(&world), std::sync::Arc::clone(&stop));
        async move {
            let began = std::time::Instant::now();
            let mut ticks = tokio::time::interval(Duration::from_millis(200));
            let mut stored = 0;
            while !is_over(&stop) {
                ticks.tick().await;
                let taken = world.journal.cursor();
                let able = began.elapsed().as_millis() as u64 * CAPACITY / 1_000;
                stored = able.min(taken);
                world.sink.queued.store(taken - stored, Ordering::SeqCst);
            }
            stored
        }
    });
    let mut tasks = Vec::new();
    for i in 0..CHARGERS {
        let (world, stop) = (std::sync::Arc::clone(&world), std::sync::Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut charger = Charger::connect(&world, &format!("CP-{i}")).await;
            while !is_over(&stop) {
                charger.heartbeat().await;
            }
        }));
    }
    let mut seen = (world.journal.durable_seq(), std::time::Instant::now());
    settled(|| {
        let now = (world.journal.durable_seq(), std::time::Instant::now());
        let seconds = (now.1 - seen.1).as_secs_f64();
        let a_second = ((now.0 - seen.0) as f64 / seconds) as u64;
        seen = now;
        let is_in_range = (CAPACITY / 2..CAPACITY * 3 / 2).contains(&a_second);
        is_in_range
            .then_some(())
            .ok_or(format!("{a_second} a second"))
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        soon("the last answer", task)
            .await
            .expect("no socket is closed");
    }
    assert!(database.await.expect("no panic") > 0);
}

#[tokio::test]
async fn a_nearly_full_sink_gets_smaller_batches() {
    let world = World::with(|setup| setup.config.retry_ms_max = 50).await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    let mut charger = Charger::connect(&world, "CP-1").await;
    for _ in 0..500 {
        charger.heartbeat().await;
    }
    world.sink.room.store(40, Ordering::SeqCst);
    world.sink.unavailable.store(false, Ordering::SeqCst);
    until("all are stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 500
    })
    .await;
}

#[tokio::test]
async fn changes_by_the_operator_reach_a_connected_charger() {
    let world = World::with(|setup| setup.directory.add("CP-1", None)).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let boot = r#"{"chargePointVendor":"v","chargePointModel":"m"}"#;
    assert!(
        charger
            .call("BootNotification", boot)
            .await
            .contains("Accepted")
    );
    {
        let mut snapshot = world.directory.snapshot.lock().unwrap();
        snapshot.revision += 1;
        let profile = snapshot
            .chargers
            .get_mut(&ChargerKey::of("cp-1"))
            .expect("is there");
        profile.registration = central::ports::Registration::Pending;
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    soon("it is pending", async {
        while !charger
            .call("BootNotification", boot)
            .await
            .contains("Pending")
        {
            ticks.tick().await;
        }
    })
    .await;
    world
        .directory
        .add("CP-1", Some("a password, as good as any".into()));
    assert_eq!(
        charger.closed().await,
        Some(1008),
        "it must connect again with its password"
    );
}

const JIGU: &str =
    r#"{"chargePointVendor":"JIGU","chargePointModel":"AC-7","firmwareVersion":"1.4"}"#;

/// What the gateway still sends, until the end of TCP; a reset is an error.
async fn last_bytes(charger: &mut Charger) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = soon("the end of TCP", charger.socket.read_to_end(&mut bytes));
    read.await.expect("TCP ends without a reset");
    bytes
}

#[tokio::test]
async fn quirk_19_a_stop_sends_no_close_frame_to_firmware_that_would_stay_away() {
    let rules = |policy: &mut Policy| {
        policy.close_styles = vec![CloseRule {
            vendor: "jigu*".to_owned(),
            model: "*".to_owned(),
            firmware: "1.*".to_owned(),
            style: CloseStyle::Tcp,
        }];
    };
    let world = World::with(|setup| {
        rules(&mut setup.policy);
        for (id, style) in [
            ("BY-HAND", CloseStyle::Tcp),
            ("BACK-AGAIN", CloseStyle::Frame),
        ] {
            setup.directory.add(id, None);
            let mut snapshot = setup.directory.snapshot.lock().unwrap();
            let profile = snapshot.chargers.get_mut(&ChargerKey::of(id)).unwrap();
            profile.close_style = Some(style);
        }
    })
    .await;
    let mut by_firmware = Charger::connect(&world, "BY-FIRMWARE").await;
    by_firmware.call("BootNotification", JIGU).await;
    // The charger's own setting takes precedence.
    let mut back_again = Charger::connect(&world, "BACK-AGAIN").await;
    back_again.call("BootNotification", JIGU).await;
    let mut by_hand = Charger::connect(&world, "BY-HAND").await;
    by_hand.heartbeat().await;
    let mut other = Charger::connect(&world, "OTHER").await;
    other
        .call("BootNotification", &JIGU.replace("1.4", "2.0"))
        .await;
    let stopping = tokio::spawn(world.restart_with(rules));
    assert_eq!(other.closed().await, Some(1001));
    assert_eq!(back_again.closed().await, Some(1001));
    for charger in [&mut by_firmware, &mut by_hand] {
        assert_eq!(last_bytes(charger).await, [0; 0]);
    }
    // What a boot has shown is known on later connections too, also after a restart.
    let world = stopping.await.expect("restarts");
    let mut by_firmware = Charger::connect(&world, "BY-FIRMWARE").await;
    by_firmware.heartbeat().await;
    let shutdown = world.gateway.shutdown(Duration::from_secs(5));
    let (bytes, ()) = tokio::join!(last_bytes(&mut by_firmware), shutdown);
    assert_eq!(bytes, [0; 0]);
}
