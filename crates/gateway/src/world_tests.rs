//! Tests of a whole gateway that observe or stop its internals, so that they do not depend on durations.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use self::common::charger::{CLOSE, Charger, TEXT, deflate, request, socket_from};
use self::common::{World, soon, transaction_id, until};
use crate::parts::Parts;
use argon2::password_hash::PasswordHasher;
use base64::Engine;
use central::model::ChargerKey;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn inside(world: &World) -> &Arc<Parts> {
    &world.gateway.parts
}

/// A hash of a password that is cheap to check.
fn stored(password: &str) -> String {
    let params = argon2::Params::new(8, 1, 1, None).expect("allowed");
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password(password.as_bytes())
        .expect("hashes")
        .to_string()
}

fn with_password(identity: &str, password: &str) -> String {
    let credentials =
        base64::engine::general_purpose::STANDARD.encode(format!("{identity}:{password}"));
    let lines = format!("Authorization: Basic {credentials}\r\n");
    request(&format!("/ocpp/{identity}"), &lines)
}

/// When the password changes, the connection is not in the registry yet and cannot be told.
#[tokio::test]
async fn a_password_that_is_changed_during_its_check_is_refused() {
    let world = World::with(|setup| setup.directory.add("SAFE-1", Some(stored("old")))).await;
    let parts = inside(&world);
    let free_checks = parts.admission.passwords.hold_checks().await;
    let old = with_password("SAFE-1", "old");
    let (coming, ()) = tokio::join!(Charger::handshake(&world, old.as_bytes()), async {
        until("the old password waits for its check", || {
            parts.admission.passwords.queued() == 1
        })
        .await;
        let new = stored("new");
        world.directory.add("SAFE-1", Some(new.clone()));
        until("the gateway knows the new password", || {
            let profile = parts.directory.charger(&ChargerKey::of("safe-1"));
            profile.and_then(|profile| profile.password_hash.clone()) == Some(new.clone())
        })
        .await;
        drop(free_checks);
    });
    assert_eq!(coming.head.status, 503, "{}", coming.head.text);
    assert!(coming.head.header("Retry-After").is_some());
    let new = with_password("SAFE-1", "new");
    let charger = Charger::handshake(&world, new.as_bytes()).await;
    assert_eq!(charger.head.status, 101);
}

/// One address that guesses the passwords of many chargers has only its share of the queue; a charger from another
/// address is checked.
#[tokio::test]
async fn one_address_that_guesses_passwords_does_not_block_others() {
    const GUESSES: usize = 200;
    let world = World::with(|setup| {
        for i in 0..GUESSES {
            setup
                .directory
                .add(&format!("SAFE-{i}"), Some(stored("right")));
        }
        setup.directory.add("HONEST", Some(stored("right")));
        setup.config.handshake_timeout_ms = 60_000;
    })
    .await;
    let parts = inside(&world);
    let free_checks = parts.admission.passwords.hold_checks().await;
    let share = parts.admission.passwords.address_share();
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for i in 0..GUESSES {
        let mut socket = socket_from(&world, 66).await;
        let text = with_password(&format!("SAFE-{i}"), "guess");
        socket.write_all(text.as_bytes()).await.expect("writes");
        if i < share {
            until("it waits for its check", || {
                parts.admission.passwords.queued() == i + 1
            })
            .await;
            waiting.push(socket);
        } else {
            let mut head = [0; 12];
            let read = soon("a refusal", socket.read_exact(&mut head)).await;
            read.expect("reads");
            assert_eq!(&head, b"HTTP/1.1 503");
            refused += 1;
        }
    }
    assert_eq!(refused, GUESSES - share);
    let text = with_password("HONEST", "right");
    let (honest, ()) = tokio::join!(Charger::handshake_from(&world, 1, text.as_bytes()), async {
        until("the honest one waits too", || {
            parts.admission.passwords.queued() == share + 1
        })
        .await;
        drop(free_checks);
    });
    assert_eq!(honest.head.status, 101, "{}", honest.head.text);
}

/// A handshake that is refused because all connections are in use, or because messages are paced, is refused before it
/// replaces the older connection.
#[tokio::test]
async fn a_refused_handshake_replaces_no_connection_and_forgets_nothing() {
    let world = World::with(|setup| setup.config.connections_max = 1).await;
    let parts = inside(&world);
    let mut first = Charger::connect(&world, "CP-1").await;
    let started = transaction_id(&first.start_transaction("s").await);
    for _ in 0..3 {
        let again = Charger::handshake(&world, request("/ocpp/CP-1", "").as_bytes()).await;
        assert_eq!(again.head.status, 503);
        assert!(again.head.header("Retry-After").is_some());
        first.heartbeat().await;
    }
    first.frame(0x80 | CLOSE, &1000_u16.to_be_bytes()).await;
    assert_eq!(first.closed().await, Some(1000));
    until("it is disconnected", || {
        parts.registry.find(&ChargerKey::of("cp-1")).is_none()
    })
    .await;

    parts.flow.pace.hold();
    until("its place is free", || {
        parts.admission.permits.available_permits() == 1
    })
    .await;
    let refused = Charger::handshake(&world, request("/ocpp/CP-1", "").as_bytes()).await;
    assert_eq!(refused.head.status, 503);
    assert!(
        parts.registry.find(&ChargerKey::of("cp-1")).is_none(),
        "it is connected"
    );
    until("its place is free", || {
        parts.admission.permits.available_permits() == 1
    })
    .await;
    parts.flow.pace.go_on();
    until("nothing is paced", || !parts.flow.pace.is_on()).await;
    let mut again = Charger::connect(&world, "CP-1").await;
    let resent = transaction_id(&again.start_transaction("s").await);
    assert_eq!(resent, started, "the resend is recognised");
}

/// A connected charger may replace its own connection while messages are paced, because it adds none.
#[tokio::test]
async fn a_waiting_message_is_stored_when_a_newer_connection_replaces_its_own() {
    let world = World::start().await;
    let parts = inside(&world);
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.heartbeat().await;
    parts.flow.pace.hold();
    charger
        .text(r#"[2,"w","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]"#)
        .await;
    until("it waits for its turn", || parts.flow.pace.waiting() == 1).await;
    let stored = || {
        world
            .sink
            .count(|stored| stored.action == "StatusNotification")
    };
    assert_eq!(stored(), 0);
    let _newer = Charger::connect(&world, "CP-1").await;
    assert_eq!(charger.closed().await, Some(1000));
    until("it is stored", || stored() == 1).await;
    parts.flow.pace.go_on();
}

/// Waiting messages are charged to no connection up to a common bound. Beyond it the connections that hold the most bytes
/// are closed.
#[tokio::test]
async fn waiting_messages_of_many_chargers_are_bounded_in_bytes() {
    const CHARGERS: u64 = 60;
    const MAX: u64 = 256 << 10;
    let world = World::with(|setup| {
        setup.config.frame_bytes_max = 64 << 10;
        setup.config.unfinished_bytes_max = MAX as usize;
    })
    .await;
    let parts = inside(&world);
    let mut chargers = Vec::new();
    for i in 0..CHARGERS {
        chargers.push(Charger::connect(&world, &format!("CP-{i}")).await);
    }
    let mut bystander = Charger::connect(&world, "bystander").await;
    bystander.heartbeat().await;
    parts.flow.pace.hold();
    bystander.text(r#"[2,"b","Heartbeat",{}]"#).await;
    // Few bytes on the wire, nearly 16 KiB when inflated.
    let data = format!(r#"{{"vendorId":"v","data":"{}"}}"#, "x".repeat(16_000));
    let message = deflate(&format!(r#"[2,"d","DataTransfer",{data}]"#));
    assert!(message.len() < 200);
    for charger in &mut chargers {
        charger.frame(0xc0 | TEXT, &message).await;
    }
    until("all that may wait waits", || {
        let held = parts.flow.budget.waiting() + parts.flow.budget.used();
        assert!(held <= MAX * 2, "{held} bytes");
        let left = parts.registry.connected() as u64;
        let count = parts.flow.pace.waiting() as u64;
        // Each closed connection makes room; all others wait.
        left < CHARGERS && count >= left && parts.flow.budget.waiting() > MAX - (16 << 10)
    })
    .await;
    assert!(parts.registry.find(&ChargerKey::of("bystander")).is_some());
    parts.flow.pace.go_on();
    assert!(bystander.answer().await.starts_with(r#"[3,"b","#));
    until("nothing waits", || {
        parts.flow.budget.waiting() + parts.flow.budget.used() == 0
    })
    .await;
}

/// One address connects under as many made-up identities as it can: it gets its share and no more, and a hundred chargers
/// from other addresses, known and unknown, connect and are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_identities_of_one_address_do_not_block_others() {
    const SHARE: usize = 50;
    let world = World::with(|setup| {
        setup.config.connections_max = 300;
        setup.config.unknown_per_address_max = SHARE;
        for i in 0..50 {
            setup.directory.add(&format!("KNOWN-{i}"), None);
        }
    })
    .await;
    let parts = inside(&world);
    let mut made_up = Vec::new();
    let mut refused = 0;
    for i in 0..SHARE * 4 {
        let text = request(&format!("/ocpp/made-up-{i}"), "");
        let unknown = Charger::handshake_from(&world, 66, text.as_bytes()).await;
        match unknown.head.status {
            101 => made_up.push(unknown),
            503 => {
                assert!(unknown.head.header("Retry-After").is_some());
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((made_up.len(), refused), (SHARE, SHARE * 3));
    assert_eq!(parts.admission.unknown_connections.count(), [SHARE, SHARE]);
    // A known charger from the same address, and a hundred from other addresses, half of them unknown.
    let mut honest = Vec::new();
    let same = request("/ocpp/KNOWN-0", "");
    honest.push(Charger::handshake_from(&world, 66, same.as_bytes()).await);
    for i in 0..50 {
        for name in ["KNOWN", "NEW"] {
            let text = request(&format!("/ocpp/{name}-{i}"), "");
            honest.push(Charger::handshake_from(&world, 2 + (i % 5) as u8, text.as_bytes()).await);
        }
    }
    // KNOWN-0 connected twice: the newer connection counts.
    drop(honest.remove(0));
    for charger in &mut honest {
        assert_eq!(charger.head.status, 101, "{}", charger.head.text);
        charger.heartbeat().await;
    }
    // A connection that ends makes room for another of the same address.
    drop(made_up.pop());
    until("one is disconnected", || {
        parts.admission.unknown_connections.count()[1] < SHARE
    })
    .await;
    let text = request("/ocpp/made-up-again", "");
    let again = Charger::handshake_from(&world, 66, text.as_bytes()).await;
    assert_eq!(again.head.status, 101);
}

/// Made-up identities from many addresses hold at most three quarters of all connections where any charger was added, and
/// the added chargers connect.
#[tokio::test]
async fn made_up_identities_of_many_addresses_leave_connections_for_known_chargers() {
    let world = World::with(|setup| {
        setup.config.connections_max = 40;
        setup.config.unknown_per_address_max = 10;
        for i in 0..10 {
            setup.directory.add(&format!("KNOWN-{i}"), None);
        }
    })
    .await;
    let parts = inside(&world);
    let mut made_up = Vec::new();
    for host in 10..20 {
        for i in 0..10 {
            let text = request(&format!("/ocpp/made-up-{host}-{i}"), "");
            let unknown = Charger::handshake_from(&world, host, text.as_bytes()).await;
            if unknown.head.status == 101 {
                made_up.push(unknown);
            }
        }
    }
    assert_eq!(made_up.len(), 30);
    assert_eq!(parts.admission.unknown_connections.count(), [30, 10]);
    for i in 0..10 {
        Charger::connect(&world, &format!("KNOWN-{i}"))
            .await
            .heartbeat()
            .await;
    }
}
