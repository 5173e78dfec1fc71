//! Another gateway takes over the sockets: no charger notices. Here both are in one process, one after the other.

use crate::commands::{class, is_done, receives, replies, reset, start};
use crate::common::charger::{BINARY, Charger, PING, PONG, TEXT, deflate, encode, request};
use crate::common::{World, soon, until};
use central::RecordKind;
use central::memory::MemoryStore;
use central::model::OutcomeClass;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::AsyncWriteExt;

/// That no connection began or ended since: of each charger one record of a beginning, and none of an end or a start.
async fn nobody_noticed(world: &World, chargers: usize) {
    let last = world.journal.status().appended_seq;
    until("all records are delivered", || {
        world.journal.cursor() >= last
    })
    .await;
    let count = |kind| world.sink.count(|stored| stored.kind == kind);
    assert_eq!(count(RecordKind::Connected), chargers);
    assert_eq!(count(RecordKind::Disconnected), 0);
    assert_eq!(count(RecordKind::GatewayStarted), 1);
    assert_eq!(world.gateway.connected(), chargers);
}

fn call(id: &str) -> String {
    format!(r#"[2,"{id}","Heartbeat",{{}}]"#)
}

#[tokio::test]
async fn connections_go_on_and_new_ones_are_accepted_through_several_upgrades() {
    let mut world = World::start().await;
    let address = world.address();
    let mut chargers = vec![Charger::connect(&world, "CP-1").await];
    let started = chargers[0].start_transaction("start").await;
    for n in 2..5 {
        world = world.upgrade(|_| {}).await;
        assert_eq!(world.address(), address);
        chargers.push(Charger::connect(&world, &format!("CP-{n}")).await);
        for charger in &mut chargers {
            charger.heartbeat().await;
        }
        nobody_noticed(&world, n).await;
    }
    // The memory of resends has moved too.
    let again = chargers[0].start_transaction("start").await;
    assert_eq!(again, started);
    let starts = |world: &World| {
        let sink = &world.sink;
        sink.count(|stored| stored.action == "StartTransaction")
    };
    nobody_noticed(&world, 4).await;
    assert_eq!(starts(&world), 1);
}

#[tokio::test]
async fn every_part_of_a_message_may_be_at_either_gateway() {
    let text = call("c");
    let compressed = deflate(&call("d"));
    let frames: [(&str, Vec<u8>); 5] = [
        ("text", encode(0x80 | TEXT, text.as_bytes())),
        ("binary", encode(0x80 | BINARY, text.as_bytes())),
        ("compressed", encode(0xc0 | TEXT, &compressed)),
        (
            "fragments with a ping between",
            [
                encode(TEXT, &text.as_bytes()[..9]),
                encode(0x80 | PING, b"p"),
                encode(0, &text.as_bytes()[9..12]),
                encode(0x80, &text.as_bytes()[12..]),
            ]
            .concat(),
        ),
        (
            "compressed fragments",
            [
                encode(0x40 | TEXT, &compressed[..5]),
                encode(0x80, &compressed[5..]),
            ]
            .concat(),
        ),
    ];
    let mut world = World::start().await;
    let mut chargers = Vec::new();
    for (what, bytes) in &frames {
        for cut in (1..bytes.len()).step_by(3) {
            let lines = "Sec-WebSocket-Protocol: ocpp1.6\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
            let path = format!("/ocpp/CP-{}", chargers.len());
            let handshake = request(&path, lines);
            let mut charger = Charger::handshake(&world, handshake.as_bytes()).await;
            assert_eq!(charger.head.status, 101);
            // The answer shows that the gateway reads; what follows it may be read or not.
            charger.heartbeat().await;
            let (first, rest) = bytes.split_at(cut);
            charger.socket.write_all(first).await.expect("writes");
            chargers.push((charger, rest, format!("{what}, cut at {cut}")));
        }
    }
    assert!(chargers.len() > 40, "{}", chargers.len());
    world = world.upgrade(|_| {}).await;
    // And once more, so that what was carried is carried again.
    world = world.upgrade(|_| {}).await;
    for (charger, rest, what) in &mut chargers {
        charger.socket.write_all(rest).await.expect("writes");
        let (opcode, answer) = loop {
            match soon(what, charger.try_read()).await.expect(what) {
                (PONG, _) => {}
                frame => break frame,
            }
        };
        assert!(opcode & 15 == TEXT, "{what}: {opcode}");
        assert!(
            opcode & 0x40 == 0,
            "{what}: short answers are not compressed"
        );
        let answer = String::from_utf8(answer).expect("text");
        assert!(
            answer.starts_with("[3,\"c\"") || answer.starts_with("[3,\"d\""),
            "{what}: {answer}"
        );
    }
    nobody_noticed(&world, chargers.len()).await;
}

/// Such as a report of a charger with many variables on a slow mobile connection.
#[tokio::test]
async fn a_long_message_of_which_a_part_was_received_is_completed_at_the_next_gateway() {
    const BYTES: usize = 250_000;
    let data = "x".repeat(BYTES);
    let text = format!(r#"[2,"long","DataTransfer",{{"vendorId":"V","data":"{data}"}}]"#);
    let bytes = encode(0x80 | TEXT, text.as_bytes());
    let mut world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let (first, rest) = bytes.split_at(BYTES - 100);
    for part in first.chunks(first.len() / 2 + 1) {
        charger.socket.write_all(part).await.expect("writes");
        world = world.upgrade(|_| {}).await;
    }
    charger.socket.write_all(rest).await.expect("writes");
    let (_, answer) = charger.read().await;
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("[3,\"long\""), "{answer}");
    nobody_noticed(&world, 1).await;
}

#[tokio::test]
async fn answers_that_a_slow_reader_has_not_taken_are_sent_by_the_next_gateway() {
    let world = World::start().await;
    let mut slow = Charger::connect_narrow(&world, "CP-1").await;
    let calls: Vec<u8> = (0..2_500)
        .flat_map(|n| encode(0x80 | TEXT, call(&format!("{n:036}")).as_bytes()))
        .collect();
    // The answers to these calls do not fit into the buffers of both sockets.
    let mut sent = 0;
    until("the gateway has answered many", || {
        if let Ok(more) = slow.socket.try_write(&calls[sent..]) {
            sent += more;
        }
        world.journal.durable_seq() > 1_700
    })
    .await;
    let (handed, next) = world.hand_over().await;
    let state: serde_json::Value =
        serde_json::from_str(handed.connections[0].state.get()).expect("JSON");
    assert_ne!(state["unwritten"], "");
    let world = next.take_over(handed, |_| {}).await;
    for n in 0..2_500 {
        if let Ok(more) = slow.socket.try_write(&calls[sent..]) {
            sent += more;
        }
        let answer = slow.answer().await;
        assert!(
            answer.starts_with(&format!("[3,\"{n:036}\"")),
            "{n}: {answer}"
        );
    }
    nobody_noticed(&world, 1).await;
}

#[tokio::test]
async fn a_command_that_waits_for_its_reply_gets_it_at_the_next_gateway() {
    let store = Arc::new(MemoryStore::default());
    let world = start(&store).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    for number in [5, 6] {
        reset(&store, number, "cp-1");
    }
    receives(&mut charger, 5).await;
    let world = world
        .upgrade(|setup| setup.commands = Some(Arc::clone(&store) as _))
        .await;
    // Its claim is of an earlier process, and must not be settled as unanswered.
    charger.heartbeat().await;
    replies(&mut charger, 5).await;
    is_done(&store, 5).await;
    assert_eq!(class(&store, 5), Some(OutcomeClass::Answered));
    // The next one follows, from the next gateway.
    receives(&mut charger, 6).await;
    replies(&mut charger, 6).await;
    is_done(&store, 6).await;
    assert_eq!(class(&store, 6), Some(OutcomeClass::Answered));
    nobody_noticed(&world, 1).await;
}

#[tokio::test]
async fn a_connection_that_does_not_get_ready_is_closed_with_1001_and_the_others_go_on() {
    let world = World::with(|setup| setup.config.token_timeout_ms = 60_000).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let mut other = Charger::connect(&world, "CP-2").await;
    other.heartbeat().await;
    charger.heartbeat().await;
    // A message of which too much has come to be kept, and not all; the pong shows that it was read.
    charger.frame(TEXT, &[b'x'; 300_000]).await;
    charger.frame(0x80 | PING, b"").await;
    assert_eq!(charger.read().await.0, PONG);
    let world = world.upgrade(|_| {}).await;
    assert_eq!(charger.closed().await, Some(1001));
    other.heartbeat().await;
    until("its end is stored", || {
        world
            .sink
            .count(|stored| stored.kind == RecordKind::Disconnected)
            == 1
    })
    .await;
    assert_eq!(world.gateway.connected(), 1);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_closes_its_connection_only() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let mut other = Charger::connect(&world, "CP-2").await;
    let started = charger.start_transaction("start").await;
    other.heartbeat().await;
    let (mut handed, next) = world.hand_over().await;
    assert_eq!((handed.connections.len(), handed.closed), (2, 0));
    let of_charger = |connection: &&mut gateway::HandedConnection| connection.charger_id == "CP-1";
    let connection = handed.connections.iter_mut().find(of_charger);
    let state = serde_json::value::to_raw_value(&json!({"station": 7}));
    connection.expect("handed").state = state.expect("JSON");
    let world = next.take_over(handed, |_| {}).await;
    assert_eq!(charger.closed().await, Some(1001));
    other.heartbeat().await;
    until("its end is stored", || {
        let ended = |stored: &crate::common::Stored| stored.kind == RecordKind::Disconnected;
        world
            .sink
            .find(ended)
            .is_some_and(|stored| stored.charger_id == "CP-1")
    })
    .await;
    // It comes back to the same gateway, which knows what it sent before.
    let mut charger = Charger::connect(&world, "CP-1").await;
    assert_eq!(charger.start_transaction("start").await, started);
    charger.heartbeat().await;
    let last = world.journal.status().appended_seq;
    until("all records are delivered", || {
        world.journal.cursor() >= last
    })
    .await;
    let sink = &world.sink;
    assert_eq!(
        sink.count(|stored| stored.action == "StartTransaction"),
        1,
        "the resend has no record of its own"
    );
}

/// A call of which the first bytes have arrived before the take-over, in two pieces.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let mut first = encode(0x80 | TEXT, call("half").as_bytes());
    let rest = first.split_off(9);
    (first, rest)
}

/// A charger with a session, a command that waits for its reply, and the beginning of a call, as this build gives it. With
/// `WATTPOST_WRITE_STATE=VERSION` it is written for the tests of later builds, when VERSION is released.
#[tokio::test]
async fn a_state_is_written_for_later_builds_if_told_so() {
    let Ok(version) = std::env::var("WATTPOST_WRITE_STATE") else {
        return;
    };
    let store = Arc::new(MemoryStore::default());
    let world = start(&store).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.start_transaction("start").await;
    reset(&store, 5, "cp-1");
    receives(&mut charger, 5).await;
    charger.socket.write_all(&halves().0).await.expect("writes");
    let file = states().join(format!("{version}.json"));
    // What was not read yet stays in the socket; the next gateway reads it.
    let mut world = Some(world);
    for _ in 0..20 {
        let (handed, next) = world.take().expect("runs").hand_over().await;
        let state: Value = serde_json::from_str(handed.connections[0].state.get()).expect("JSON");
        if state["unread"] != "" {
            let text = serde_json::to_string_pretty(&state).expect("JSON");
            std::fs::write(&file, text + "\n").expect("writes");
            return;
        }
        world = Some(next.take_over(handed, |_| {}).await);
    }
    panic!("the beginning of the call was not read");
}

fn states() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/states")
}

/// The states that released builds have given, with their files.
fn kept_states() -> Vec<(PathBuf, Value)> {
    let files = std::fs::read_dir(states()).expect("a directory");
    let read = |file: std::fs::DirEntry| {
        let text = std::fs::read(file.path()).expect("reads");
        (file.path(), serde_json::from_slice(&text).expect("JSON"))
    };
    let kept: Vec<_> = files.map(|file| read(file.expect("reads"))).collect();
    assert!(!kept.is_empty());
    kept
}

/// What a kept state gets from the run of the test: times, and the numbers of this run. Everything else is of the other build.
const OF_THE_RUN: [&str; 4] = [
    "/station/epoch",
    "/station/our_calls/outstanding/state",
    "/station/our_calls/outstanding/send_before",
    "/command/claimed",
];

/// As a later build may give it: with members that this one does not know.
fn extended(mut state: Value) -> Value {
    for place in [
        "",
        "/station",
        "/peer",
        "/command",
        "/command/claimed",
        "/station/memory",
    ] {
        let members = state.pointer_mut(place).and_then(Value::as_object_mut);
        let members = members.unwrap_or_else(|| panic!("no {place}"));
        members.insert("later".to_owned(), json!({"what": ["nobody", 1]}));
    }
    state
}

#[tokio::test]
async fn states_of_earlier_and_later_builds_go_on() {
    for (file, kept) in kept_states() {
        for state in [kept.clone(), extended(kept)] {
            let store = Arc::new(MemoryStore::default());
            let world = start(&store).await;
            let mut charger = Charger::connect(&world, "CP-1").await;
            charger.start_transaction("start").await;
            reset(&store, 5, "cp-1");
            receives(&mut charger, 5).await;
            let (mut handed, next) = world.hand_over().await;
            let connection = &mut handed.connections[0];
            let own: Value = serde_json::from_str(connection.state.get()).expect("JSON");
            let mut state = state;
            for place in OF_THE_RUN {
                let (kept, own) = (state.pointer_mut(place), own.pointer(place));
                *kept.expect("is kept") = own.expect("is there still").clone();
            }
            connection.state = serde_json::value::to_raw_value(&state).expect("JSON");
            let commands = Arc::clone(&store);
            let world = next
                .take_over(handed, |setup| setup.commands = Some(commands as _))
                .await;
            let what = format!("{}: {state:#}", file.display());
            charger.socket.write_all(&halves().1).await.expect("writes");
            let answer = charger.answer().await;
            assert!(answer.starts_with("[3,\"half\""), "{answer}; {what}");
            replies(&mut charger, 5).await;
            is_done(&store, 5).await;
            assert_eq!(class(&store, 5), Some(OutcomeClass::Answered), "{what}");
            // The session is remembered: by the state, or by the journal where hashes differ.
            charger.start_transaction("start").await;
            nobody_noticed(&world, 1).await;
            let starts = world
                .sink
                .count(|stored| stored.action == "StartTransaction");
            assert_eq!(starts, 1, "{what}");
        }
    }
}

#[tokio::test]
async fn one_wrong_member_of_a_state_closes_its_connection_only() {
    let (_, kept) = kept_states().remove(0);
    let mut places: Vec<String> = Vec::new();
    for part in ["", "/station"] {
        let members = kept.pointer(part).and_then(Value::as_object);
        let names = members.expect("members").keys();
        places.extend(names.map(|name| format!("{part}/{name}")));
    }
    assert!(places.len() > 20, "{places:?}");
    let world = World::start().await;
    let mut chargers = Vec::new();
    for number in 0..places.len() {
        let identity = format!("CP-{number}");
        chargers.push(Charger::connect(&world, &identity).await);
    }
    let mut other = Charger::connect(&world, "OTHER").await;
    let (mut handed, next) = world.hand_over().await;
    for connection in &mut handed.connections {
        let number = connection.charger_id.strip_prefix("CP-");
        let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else {
            continue;
        };
        let mut state: Value = serde_json::from_str(connection.state.get()).expect("JSON");
        let place = &places[number];
        let member = state.pointer_mut(place);
        // No member has this form.
        *member.unwrap_or_else(|| panic!("no {place}")) = json!([[[]]]);
        connection.state = serde_json::value::to_raw_value(&state).expect("JSON");
    }
    let world = next.take_over(handed, |_| {}).await;
    for (charger, place) in chargers.iter_mut().zip(&places) {
        assert_eq!(charger.closed().await, Some(1001), "{place}");
    }
    other.heartbeat().await;
    until("their ends are stored", || {
        let ended = |stored: &crate::common::Stored| stored.kind == RecordKind::Disconnected;
        world.sink.count(ended) == places.len()
    })
    .await;
    assert_eq!(world.gateway.connected(), 1);
}

#[tokio::test]
async fn what_chargers_send_between_the_gateways_waits_in_their_sockets() {
    let world = World::start().await;
    let mut chargers = Vec::new();
    for n in 0..20 {
        let mut charger = Charger::connect(&world, &format!("CP-{n}")).await;
        charger.heartbeat().await;
        chargers.push(charger);
    }
    world.sink.unavailable.store(true, Ordering::SeqCst);
    let address = world.address();
    let (handed, next) = world.hand_over().await;
    for charger in &mut chargers {
        charger.text(&call("between")).await;
    }
    // A new charger waits in the backlog of the listener.
    let connecting = tokio::net::TcpStream::connect(address)
        .await
        .expect("connects");
    let world = next.take_over(handed, |_| {}).await;
    for charger in &mut chargers {
        let answer = charger.answer().await;
        assert!(answer.starts_with("[3,\"between\""), "{answer}");
    }
    let lines = "Sec-WebSocket-Protocol: ocpp1.6\r\n";
    let late = Charger::handshake_on(connecting, request("/ocpp/LATE", lines).as_bytes()).await;
    assert_eq!(late.head.status, 101);
    world.sink.unavailable.store(false, Ordering::SeqCst);
    nobody_noticed(&world, 21).await;
    let between = world.sink.count(|stored| stored.message_id == "between");
    assert_eq!(between, 20);
}
