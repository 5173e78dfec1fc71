//! Who may come in: nobody before it is known who is known.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use argon2::password_hash::PasswordHasher;
use central::policy::UnknownCharger;
use central::ports::Health;
use common::charger::{Charger, request};
use common::{World, soon, until};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn part(world: &World, part: &str) -> Health {
    let health = world.gateway.probe().health();
    health
        .into_iter()
        .find(|health| health.part == part)
        .expect("is a part")
}

/// `directory.json` is damaged or missing, the database is away: the three policies for unknown chargers
/// would each do wrong to a charger that is known, so nobody comes in.
#[tokio::test]
async fn before_it_is_known_who_is_known_nobody_comes_in_and_nobody_is_refused_for_good() {
    for kept in [None, Some(b"{\"chargers\": {\"safe-1\"".to_vec())] {
        for policy in [
            UnknownCharger::Accept,
            UnknownCharger::Pending,
            UnknownCharger::Reject,
        ] {
            let world = World::with(|setup| {
                setup.policy.unknown_charger = policy;
                setup.kept_directory = kept.clone();
                setup.directory.away.store(true, Ordering::SeqCst);
                setup.directory.add("SAFE-1", Some(stored("right")));
            })
            .await;
            for lines in [String::new(), basic("SAFE-1", "right")] {
                let charger =
                    Charger::say(&world, request("/ocpp/SAFE-1", &lines).as_bytes()).await;
                assert_eq!(
                    charger.head.status, 503,
                    "{policy:?}: {}",
                    charger.head.text
                );
                assert!(charger.head.header("Retry-After").is_some());
            }
            let gateway = part(&world, "gateway");
            assert!(
                !gateway.up && gateway.detail.contains("not known yet"),
                "{gateway:?}"
            );
            let directory = part(&world, "directory");
            assert!(
                !directory.up && directory.detail.contains("no directory was loaded"),
                "{directory:?}"
            );

            world.directory.away.store(false, Ordering::SeqCst);
            until("the directory is loaded", || part(&world, "gateway").up).await;
            let charger = Charger::say(&world, request("/ocpp/SAFE-1", "").as_bytes()).await;
            assert_eq!(charger.head.status, 401, "{policy:?}");
            let lines = basic("SAFE-1", "right");
            let mut charger =
                Charger::say(&world, request("/ocpp/SAFE-1", &lines).as_bytes()).await;
            assert_eq!(charger.head.status, 101, "{policy:?}");
            charger.start_transaction("s").await;
        }
    }
}

/// An empty directory is a directory: the policy decides, as on the first day of an installation.
#[tokio::test]
async fn an_empty_directory_lets_the_policy_decide() {
    let world = World::start().await;
    Charger::connect(&world, "CP-1").await.heartbeat().await;
    let strict = |setup: &mut common::Setup| setup.policy.unknown_charger = UnknownCharger::Reject;
    let world = World::with(strict).await;
    let charger = Charger::say(&world, request("/ocpp/CP-1", "").as_bytes()).await;
    assert_eq!(charger.head.status, 404);
}

/// A charger that came in by policy is asked for its password as soon as it has one.
#[tokio::test]
async fn who_came_in_by_policy_must_come_anew_once_it_has_a_password() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "SAFE-1").await;
    charger.heartbeat().await;
    world.directory.add("SAFE-1", Some(stored("right")));
    assert!(charger.closed().await.is_some());
    let charger = Charger::say(&world, request("/ocpp/SAFE-1", "").as_bytes()).await;
    assert_eq!(charger.head.status, 401);
}

/// The password is changed while the old one is being checked, which takes longer than the directory's
/// refresh: when it changes, the connection is not in the registry yet and cannot be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_changed_while_it_is_checked_serves_nobody_in_the_end() {
    let began = Instant::now();
    hash("x", 8 << 10, 1);
    let rounds = Duration::from_secs(3).as_millis() / began.elapsed().as_millis().max(1);
    let slow = hash("old", 8 << 10, u32::try_from(rounds).unwrap().max(1));
    let world = World::with(|setup| {
        setup.directory.add("SAFE-1", Some(slow));
        setup.config.handshake_timeout_ms = 60_000;
    })
    .await;
    let mut charger = TcpStream::connect(world.address()).await.expect("connects");
    let text = request("/ocpp/SAFE-1", &basic("SAFE-1", "old"));
    charger.write_all(text.as_bytes()).await.expect("writes");
    let mut byte = [0];
    let answered = tokio::time::timeout(Duration::from_millis(300), charger.peek(&mut byte)).await;
    assert!(answered.is_err(), "the check takes no time");
    world.directory.add("SAFE-1", Some(stored("new")));

    let mut said = Vec::new();
    let end = soon("it is refused or closed", charger.read_to_end(&mut said)).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(end.is_ok() && said.starts_with("HTTP/1.1 503 "), "{said}");
    let text = request("/ocpp/SAFE-1", &basic("SAFE-1", "new"));
    let charger = Charger::say(&world, text.as_bytes()).await;
    assert_eq!(charger.head.status, 101);
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let credentials =
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {credentials}\r\n")
}

/// A hash of a password that costs next to nothing to check.
fn stored(password: &str) -> String {
    hash(password, 8, 1)
}

fn hash(password: &str, kibibytes: u32, rounds: u32) -> String {
    let params = argon2::Params::new(kibibytes, rounds, 1, None).expect("allowed");
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password(password.as_bytes())
        .expect("hashes")
        .to_string()
}
