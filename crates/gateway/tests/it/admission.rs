//! Which chargers may connect: none before a directory is loaded; then all of them, also while a hostile
//! peer opens sockets, sends requests or holds connections.

use crate::common::charger::{Charger, request, socket_from};
use crate::common::{World, soon, until};
use argon2::password_hash::PasswordHasher;
use central::Timestamp;
use central::memory::MemoryDirectory;
use central::model::{Actor, ActorKind, Origin, RefusedHandshakeView, SettingsPatch};
use central::policy::UnknownCharger;
use central::ports::{ChangeKind, ChangeRequest, ChargerAdmin, ChargerChange, Handshakes, Health};
use central::query::{HandshakeFilter, PageRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn part(world: &World, part: &str) -> Health {
    let health = world.gateway.probe().health();
    health
        .into_iter()
        .find(|health| health.part == part)
        .expect("is a part")
}

/// `directory.json` is damaged or missing and the database is unavailable: it is not known which chargers are unknown, so
/// none of the three policies for unknown chargers is applied.
#[tokio::test]
async fn without_a_directory_all_handshakes_get_503() {
    for kept in [None, Some(b"{\"chargers\": {\"safe-1\"".to_vec())] {
        for policy in [
            UnknownCharger::Accept,
            UnknownCharger::Pending,
            UnknownCharger::Reject,
        ] {
            let world = World::with(|setup| {
                setup.policy.unknown_charger = policy;
                setup.kept_directory = kept.clone();
                setup.directory.unavailable.store(true, Ordering::SeqCst);
                setup.directory.add("SAFE-1", Some(stored("right")));
            })
            .await;
            for lines in [String::new(), basic("SAFE-1", "right")] {
                let charger =
                    Charger::handshake(&world, request("/ocpp/SAFE-1", &lines).as_bytes()).await;
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

            world.directory.unavailable.store(false, Ordering::SeqCst);
            until("the directory is loaded", || part(&world, "gateway").up).await;
            let charger = Charger::handshake(&world, request("/ocpp/SAFE-1", "").as_bytes()).await;
            assert_eq!(charger.head.status, 401, "{policy:?}");
            let lines = basic("SAFE-1", "right");
            let mut charger =
                Charger::handshake(&world, request("/ocpp/SAFE-1", &lines).as_bytes()).await;
            assert_eq!(charger.head.status, 101, "{policy:?}");
            charger.start_transaction("s").await;
        }
    }
}

/// Each listener has its own security profile.
#[tokio::test]
async fn a_listener_with_security_profile_1_requires_a_password_of_every_charger() {
    let world = World::with(|setup| {
        setup.directory.add("SAFE-1", Some(stored("right")));
        setup.directory.add("OPEN-1", None);
        let mut strict = setup.config.listeners[0].clone();
        strict.security_profile = 1;
        setup.config.listeners.push(strict);
    })
    .await;
    let [open, strict] = *world.gateway.local_addrs() else {
        panic!("two listeners");
    };
    for (address, identity, lines, status) in [
        (open, "OPEN-1", String::new(), 101),
        (open, "NEW-1", String::new(), 101),
        (open, "SAFE-1", String::new(), 401),
        (strict, "OPEN-1", String::new(), 401),
        (strict, "OPEN-1", basic("OPEN-1", "any"), 401),
        (strict, "NEW-1", String::new(), 401),
        (strict, "SAFE-1", String::new(), 401),
        (strict, "SAFE-1", basic("SAFE-1", "right"), 101),
    ] {
        let socket = TcpStream::connect(address).await.expect("connects");
        let text = request(&format!("/ocpp/{identity}"), &lines);
        let charger = Charger::handshake_on(socket, text.as_bytes()).await;
        assert_eq!(charger.head.status, status, "{address}: {identity}");
    }
}

/// An empty directory is a directory, as on the first day of an installation.
#[tokio::test]
async fn with_an_empty_directory_the_policy_decides() {
    let world = World::start().await;
    Charger::connect(&world, "CP-1").await.heartbeat().await;
    let strict =
        |setup: &mut crate::common::Setup| setup.policy.unknown_charger = UnknownCharger::Reject;
    let world = World::with(strict).await;
    let charger = Charger::handshake(&world, request("/ocpp/CP-1", "").as_bytes()).await;
    assert_eq!(charger.head.status, 404);
}

/// A gateway that admits no unknown charger, and where it stores whom it has refused.
async fn rejecting() -> (World, Arc<MemoryDirectory>) {
    let handshakes = Arc::new(MemoryDirectory::default());
    let port = Arc::clone(&handshakes);
    let world = World::with(move |setup| {
        setup.policy.unknown_charger = UnknownCharger::Reject;
        setup.handshakes = Some(port);
    });
    (world.await, handshakes)
}

/// Whom it has refused, as soon as these are enough.
async fn refused(
    handshakes: &MemoryDirectory,
    enough: impl Fn(&[RefusedHandshakeView]) -> bool,
) -> Vec<RefusedHandshakeView> {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let page = handshakes.refused(&HandshakeFilter::default(), &PageRequest::default());
        let rows = page.expect("in memory").items;
        if enough(&rows) {
            return rows;
        }
        assert!(std::time::Instant::now() < deadline, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What an operator sees of a charger that may not connect.
#[tokio::test]
async fn a_refused_charger_is_stored_for_the_operator_within_seconds() {
    let (world, handshakes) = rejecting().await;
    for path in ["/ocpp/CP-1", "/ocpp/cp-1?key=secret", "/ocpp/"] {
        let lines = "Sec-WebSocket-Protocol: ocpp1.6\r\n";
        Charger::handshake(&world, request(path, lines).as_bytes()).await;
    }
    let rows = refused(&handshakes, |rows| rows.len() >= 2).await;
    let of = |reason: &str| rows.iter().find(|row| row.reason == reason);
    let unknown = of("unknown charger").expect("a row");
    assert_eq!((unknown.count, unknown.status), (2, 404));
    assert_eq!(unknown.address, "127.0.0.1");
    assert_eq!(unknown.offered.as_deref(), Some("ocpp1.6"));
    assert!(
        unknown.cure.contains("wattpost charger add"),
        "{}",
        unknown.cure
    );
    assert!(!format!("{rows:?}").contains("secret"));
    assert_eq!(
        of("no identity in the URL").expect("a row").charger_id,
        None
    );
}

/// The refusal waits at the gateway when the charger is added, and the gateway does not know of it yet when the next one comes.
#[tokio::test]
async fn a_charger_that_was_added_is_not_listed_for_an_attempt_that_was_judged_before() {
    let (world, handshakes) = rejecting().await;
    let attempt = async |identity: &str| {
        let lines = "Sec-WebSocket-Protocol: ocpp1.6\r\n";
        let text = request(&format!("/ocpp/{identity}"), lines);
        assert_eq!(
            Charger::handshake(&world, text.as_bytes())
                .await
                .head
                .status,
            404
        );
    };
    attempt("CP-1").await;
    handshakes
        .change_charger(&ChargerChange {
            charger_id: "cp-1".to_owned(),
            kind: ChangeKind::Create,
            patch: SettingsPatch::default(),
            request: ChangeRequest::of(Origin {
                at: Timestamp(1),
                by: Actor {
                    kind: ActorKind::CommandLine,
                    name: None,
                },
                from: "a test".to_owned(),
                request_id: None,
                traceparent: None,
            }),
        })
        .expect("in memory");
    attempt("CP-1").await;
    attempt("CP-2").await;
    let of_next = |row: &RefusedHandshakeView| row.charger_id.as_deref() == Some("CP-2");
    let rows = refused(&handshakes, |rows| rows.iter().any(of_next)).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
}

async fn log_in(world: &World, identity: &str, password: &str) -> Charger {
    let lines = basic(identity, password);
    let text = request(&format!("/ocpp/{identity}"), &lines);
    Charger::handshake(world, text.as_bytes()).await
}

async fn status(world: &World, identity: &str, password: &str) -> u16 {
    log_in(world, identity, password).await.head.status
}

/// Rule S-21: while it is not known which password the charger has, both are accepted, and the change closes no connection.
/// The first log-in with the new one decides at once, also after a restart without the database.
#[tokio::test]
async fn old_and_new_password_are_accepted_until_a_log_in_with_the_new_one() {
    let world = World::with(|setup| {
        setup.directory.add("SAFE-1", Some(stored("old")));
        setup.rotations = Some(Arc::clone(&setup.directory) as _);
    })
    .await;
    let mut before = log_in(&world, "SAFE-1", "old").await;
    before.heartbeat().await;
    let new = stored("new");
    world.directory.rotate("SAFE-1", new.clone());
    let kept = world.dir.as_ref().unwrap().path().join("directory.json");
    until("the new password is known", || {
        std::fs::read_to_string(&kept).is_ok_and(|text| text.contains(&new))
    })
    .await;
    before.heartbeat().await;
    world.directory.unavailable.store(true, Ordering::SeqCst);
    assert_eq!(status(&world, "SAFE-1", "other").await, 401);
    assert_eq!(status(&world, "SAFE-1", "old").await, 101);
    let mut after = log_in(&world, "SAFE-1", "new").await;
    after.heartbeat().await;
    assert_eq!(status(&world, "SAFE-1", "old").await, 401);
    after.heartbeat().await;

    let world = world.restart().await;
    assert_eq!(status(&world, "SAFE-1", "old").await, 401);
    assert_eq!(status(&world, "SAFE-1", "new").await, 101);
}

/// The database learns of the log-in, and the connection stays; a direct change of the password ends it.
#[tokio::test]
async fn a_log_in_with_the_new_password_is_reported_and_a_direct_change_wins() {
    let world = World::with(|setup| {
        setup.directory.add("SAFE-1", Some(stored("old")));
        setup.rotations = Some(Arc::clone(&setup.directory) as _);
    })
    .await;
    let new = stored("new");
    world.directory.rotate("SAFE-1", new.clone());
    // Known at once: the wrong password makes the gateway read the directory again.
    let mut charger = log_in(&world, "SAFE-1", "new").await;
    charger.heartbeat().await;
    let key = central::model::ChargerKey::of("SAFE-1");
    until("the rotation has ended", || {
        let snapshot = world.directory.snapshot.lock().unwrap();
        snapshot.chargers[&key].password_hash.as_ref() == Some(&new)
    })
    .await;
    let seen = world
        .dir
        .as_ref()
        .unwrap()
        .path()
        .join("new-passwords.json");
    until("the log-in is forgotten", || {
        std::fs::read_to_string(&seen).is_ok_and(|text| text == "{}")
    })
    .await;
    charger.heartbeat().await;
    world.directory.add("SAFE-1", Some(stored("direct")));
    assert!(charger.closed().await.is_some());
    assert_eq!(status(&world, "SAFE-1", "new").await, 401);
    assert_eq!(status(&world, "SAFE-1", "direct").await, 101);
}

/// A charger without a password that was sent one must give it from its first log-in with it.
#[tokio::test]
async fn a_first_password_is_required_once_the_charger_has_used_it() {
    let world = World::with(|setup| {
        setup.directory.add("SAFE-1", None);
        setup.directory.rotate("SAFE-1", stored("first"));
    })
    .await;
    let mut charger = Charger::connect(&world, "SAFE-1").await;
    charger.heartbeat().await;
    assert_eq!(status(&world, "SAFE-1", "other").await, 101);
    assert_eq!(status(&world, "SAFE-1", "first").await, 101);
    assert_eq!(status(&world, "SAFE-1", "other").await, 401);
    let without = Charger::handshake(&world, request("/ocpp/SAFE-1", "").as_bytes()).await;
    assert_eq!(without.head.status, 401);
}

/// A charger that was accepted by policy must give its password as soon as it has one.
#[tokio::test]
async fn an_unknown_charger_must_reconnect_when_a_password_is_set_for_it() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "SAFE-1").await;
    charger.heartbeat().await;
    world.directory.add("SAFE-1", Some(stored("right")));
    assert!(charger.closed().await.is_some());
    let charger = Charger::handshake(&world, request("/ocpp/SAFE-1", "").as_bytes()).await;
    assert_eq!(charger.head.status, 401);
}

/// One address holds 5,000 silent sockets and replaces those that are closed at once: a hundred connected chargers keep
/// their answers, and others connect, from other addresses at the first attempt and from the same address too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_silent_sockets_of_one_address_block_no_other_charger() {
    let world = Arc::new(World::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let beats = Arc::new(AtomicU64::new(0));
    let mut honest = Vec::new();
    for i in 0..100 {
        let lines = "Sec-WebSocket-Protocol: ocpp1.6\r\n";
        let text = request(&format!("/ocpp/HERE-{i}"), lines);
        let mut charger = Charger::handshake_from(&world, 2, text.as_bytes()).await;
        assert_eq!(charger.head.status, 101);
        let (stop, beats) = (Arc::clone(&stop), Arc::clone(&beats));
        honest.push(tokio::spawn(async move {
            let mut pause = tokio::time::interval(Duration::from_millis(100));
            while !stop.load(Ordering::SeqCst) {
                pause.tick().await;
                soon("an answer", charger.heartbeat()).await;
                beats.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }

    let mut silent = Vec::new();
    for _ in 0..5_000 {
        silent.push(TcpStream::connect(world.address()).await.expect("connects"));
    }
    // A new socket for each that the gateway closes, as fast as possible.
    let renewing = tokio::spawn({
        let (stop, address) = (Arc::clone(&stop), world.address());
        async move {
            let mut next = 0;
            while !stop.load(Ordering::SeqCst) {
                let mut byte = [0];
                if !matches!(silent[next].try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
                {
                    silent[next] = TcpStream::connect(address).await.expect("connects");
                }
                next = (next + 1) % silent.len();
                if next.is_multiple_of(64) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });

    for i in 0..100 {
        let text = request(&format!("/ocpp/NEW-{i}"), "");
        let mut charger = Charger::handshake_from(&world, 3, text.as_bytes()).await;
        assert_eq!(charger.head.status, 101, "{i}: {}", charger.head.text);
        charger.heartbeat().await;
    }
    // From the same address: refused now and then, never for long.
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    soon("a charger behind the same address is accepted", async {
        loop {
            pause.tick().await;
            if is_accepted(&world, "SAME").await {
                break;
            }
        }
    })
    .await;
    let before = beats.load(Ordering::SeqCst);
    until("the connected chargers are answered", || {
        beats.load(Ordering::SeqCst) >= before + 200
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    for charger in honest {
        charger.await.expect("was answered all the time");
    }
    renewing.await.expect("no panic");
}

/// Whether a charger is accepted at this attempt; a reset in the middle of the answer counts as a refusal.
async fn is_accepted(world: &World, identity: &str) -> bool {
    let mut socket = TcpStream::connect(world.address()).await.expect("connects");
    let text = request(&format!("/ocpp/{identity}"), "");
    if socket.write_all(text.as_bytes()).await.is_err() {
        return false;
    }
    let mut head = [0; 12];
    let read = soon("an answer", socket.read_exact(&mut head)).await;
    read.is_ok() && &head == b"HTTP/1.1 101"
}

/// The same from many addresses: then the total bound is reached, and the oldest silent socket is closed.
#[tokio::test]
async fn silent_sockets_of_many_addresses_are_closed_for_new_ones() {
    let world = World::with(|setup| {
        setup.config.handshakes_max = 20;
        setup.config.first_byte_timeout_ms = 60_000;
        setup.config.handshake_timeout_ms = 60_000;
    })
    .await;
    let mut silent = Vec::new();
    for host in 10..30 {
        let mut socket = socket_from(&world, host).await;
        // Half of them send a part of a request.
        if host % 2 == 0 {
            socket.write_all(b"GET /ocpp/X").await.expect("writes");
        }
        silent.push(socket);
    }
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    soon("a new socket replaces one of them", async {
        loop {
            pause.tick().await;
            if is_accepted(&world, "CP-1").await {
                break;
            }
        }
    })
    .await;
    // A closed socket gets a 503 first.
    let mut response = Vec::new();
    soon("the oldest is closed", silent[0].read_to_end(&mut response))
        .await
        .ok();
    assert!(response.is_empty() || response.starts_with(b"HTTP/1.1 503 "));
}

#[tokio::test]
async fn the_first_byte_has_a_shorter_timeout_than_the_handshake() {
    let world = World::with(|setup| {
        setup.config.first_byte_timeout_ms = 200;
        setup.config.handshake_timeout_ms = 600_000;
    })
    .await;
    let mut partial = TcpStream::connect(world.address()).await.expect("connects");
    let text = request("/ocpp/CP-1", "");
    let (first, rest) = text.split_at(3);
    partial.write_all(first.as_bytes()).await.expect("writes");
    let mut silent = TcpStream::connect(world.address()).await.expect("connects");
    let mut response = Vec::new();
    let end = soon(
        "the silent one is closed",
        silent.read_to_end(&mut response),
    )
    .await;
    assert!(end.is_err() || response.is_empty());
    partial.write_all(rest.as_bytes()).await.expect("writes");
    let mut head = [0; 12];
    soon("an answer", partial.read_exact(&mut head))
        .await
        .expect("reads");
    assert_eq!(&head, b"HTTP/1.1 101");
}

/// However many chargers connect at once, there are never more connections than `connections_max`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_connections_than_connections_max() {
    let world = Arc::new(World::with(|setup| setup.config.connections_max = 5).await);
    let mut handshakes = Vec::new();
    for i in 0..60 {
        let world = Arc::clone(&world);
        handshakes.push(tokio::spawn(async move {
            let text = request(&format!("/ocpp/CP-{i}"), "");
            Charger::handshake(&world, text.as_bytes()).await
        }));
    }
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for charger in handshakes {
        let charger = charger.await.expect("no panic");
        match charger.head.status {
            101 => accepted.push(charger),
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((accepted.len(), refused), (5, 55));
    // A permit that becomes free is used again.
    drop(accepted.pop());
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    soon("a permit is free", async {
        loop {
            pause.tick().await;
            if is_accepted(&world, "LATE").await {
                break;
            }
        }
    })
    .await;
}

/// Refused sockets whose peer never closes linger so that the refusal is read; each holds a file handle, so their number
/// is bounded.
#[tokio::test]
async fn lingering_refused_sockets_are_bounded() {
    let world = World::with(|setup| {
        setup.config.handshakes_max = 8;
        setup.policy.unknown_charger = UnknownCharger::Reject;
        setup.directory.add("CP-1", None);
    })
    .await;
    let (mut open, mut most) = (Vec::new(), 0);
    for i in 0..200 {
        let mut socket = TcpStream::connect(world.address()).await.expect("connects");
        let text = request(&format!("/ocpp/UNKNOWN-{i}"), "");
        socket.write_all(text.as_bytes()).await.expect("writes");
        let mut head = [0; 12];
        let read = soon("a refusal", socket.read_exact(&mut head)).await;
        assert!(read.is_err() || head.starts_with(b"HTTP/1.1 "));
        most = most.max(lingering(world.address().port()));
        open.push(socket);
    }
    // A socket that found no permit has shut down too, and is closed a moment later: the table shows some of these,
    // many on a busy machine. The exact bound is tested beside `Lingering`.
    assert!(
        (1..=50).contains(&most),
        "{most} sockets lingered at a time"
    );
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    soon("a charger is accepted", async {
        loop {
            pause.tick().await;
            if is_accepted(&world, "CP-1").await {
                break;
            }
        }
    })
    .await;
}

/// Sockets of a local port that have shut down writing and are still held by this process, according to the kernel.
fn lingering(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let local = format!(":{port:04X}");
    let sockets = table.lines().skip(1).filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_shut_down = matches!(fields[3], "04" | "05");
        is_shut_down && fields[1].ends_with(&local) && fields[9] != "0"
    });
    sockets.count()
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let credentials =
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {credentials}\r\n")
}

/// A hash of a password that is cheap to check.
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
