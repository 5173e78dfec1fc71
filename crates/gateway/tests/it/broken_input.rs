//! Malformed input on a socket is answered as the standard requires, and another charger is answered meanwhile.

use crate::common::charger::{BINARY, CLOSE, Charger, PING, PONG, TEXT, encode, request};
use crate::common::{Stored, World, soon, until};
use central::RecordKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs `attack` while another charger sends heartbeats, which must be answered during the attack and afterwards.
async fn beside_a_bystander(world: &World, attack: impl Future<Output = ()>) {
    let mut bystander = Charger::connect(world, "bystander").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    tokio::pin!(attack);
    loop {
        tokio::select! {
            () = &mut attack => break,
            _ = ticks.tick() => soon("an answer to the bystander", bystander.heartbeat()).await,
        }
    }
    bystander.heartbeat().await;
}

#[tokio::test]
async fn invalid_json_wrong_types_and_unknown_actions_do_not_close_the_connection() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let mut charger = Charger::connect_as(&world, "CP-1", "ocpp2.0.1").await;
        for text in [
            "{",
            "}",
            "[]",
            "[2]",
            "{}",
            "2",
            "\"x\"",
            "[2,\"1\"]",
            "[2,\"1\",7,{}]",
            "[2,null,\"Heartbeat\",{}]",
            "[99,\"1\",\"Heartbeat\",{}]",
            "[3,\"nobody asked\",{}]",
            "[4,\"nobody asked\",\"X\",\"\",{}]",
            "[2,\"1\",\"Heartbeat\",[]]",
            "[2,\"1\",\"Heartbeat\",{}",
            "[\"2\",\"1\",\"Heartbeat\",{}]",
            "[1e99,\"1\",\"Heartbeat\",{}]",
        ] {
            charger.text(text).await;
        }
        charger.text(r#"[2,"unknown","NoSuchAction",{}]"#).await;
        charger
            .text(r#"[2,"wrong","Authorize",{"idToken":7}]"#)
            .await;
        charger.text(r#"[2,"last","Heartbeat",{}]"#).await;
        let mut answers = Vec::new();
        soon("an answer to the last call", async {
            while !answers
                .last()
                .is_some_and(|answer: &String| answer.starts_with(r#"[3,"last","#))
            {
                answers.push(charger.answer().await);
            }
        })
        .await;
        let to = |start: &str| {
            answers
                .iter()
                .find(|answer| answer.starts_with(start))
                .cloned()
        };
        assert!(
            to(r#"[4,"unknown","NotImplemented","#).is_some(),
            "{answers:?}"
        );
        assert!(to(r#"[4,"wrong","#).is_some(), "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn a_frame_of_one_mebibyte_is_answered_and_a_longer_one_closes_the_connection() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let mut charger = Charger::connect(&world, "CP-1").await;
        let frame = |bytes: usize| {
            let rest = bytes - r#"[2,"big","DataTransfer",{"vendorId":"v","data":""}]"#.len();
            format!(
                r#"[2,"big","DataTransfer",{{"vendorId":"v","data":"{}"}}]"#,
                "x".repeat(rest)
            )
        };
        charger.text(&frame(2 << 20)).await;
        assert!(charger.answer().await.starts_with(r#"[3,"big","#));

        // One byte more; the gateway may close before it has read all of it.
        let _ = charger
            .socket
            .write_all(&encode(0x80 | TEXT, frame((2 << 20) + 1).as_bytes()))
            .await;
        assert_eq!(charger.closed().await, Some(1009));
        until("the end says which limit", || {
            let is_it = |stored: &Stored| {
                stored.kind == RecordKind::Disconnected
                    && stored.reason.starts_with("a message of at least 20971")
                    && stored
                        .reason
                        .ends_with("gateway.frame_bytes_max is 2097152")
            };
            world.sink.count(is_it) == 1
        })
        .await;

        // In small fragments.
        let mut charger = Charger::connect(&world, "CP-1").await;
        charger.frame(TEXT, b"[").await;
        for _ in 0..33 {
            if charger
                .socket
                .write_all(&encode(0, &[b' '; 64 << 10]))
                .await
                .is_err()
            {
                break;
            }
        }
        assert_eq!(charger.closed().await, Some(1009));

        // A header with a length beyond any memory, without the payload.
        let mut charger = Charger::connect(&world, "CP-1").await;
        charger
            .socket
            .write_all(&[
                0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4,
            ])
            .await
            .expect("writes");
        assert_eq!(charger.closed().await, Some(1009));
    })
    .await;
}

#[tokio::test]
async fn a_decompression_bomb_closes_the_connection() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let lines =
            "Sec-WebSocket-Protocol: ocpp1.6\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
        let mut charger = Charger::handshake(&world, request("/ocpp/CP-1", lines).as_bytes()).await;
        // Stored blocks hold at most 64 KiB each, so this is as large as it looks; a real bomb is cut
        // at the same place, where the output reaches the limit.
        let mut bomb = Vec::new();
        for _ in 0..40 {
            bomb.extend_from_slice(&[0, 0xff, 0xff, 0, 0]);
            bomb.extend_from_slice(&[b'x'; 0xffff]);
        }
        bomb.push(0);
        let _ = charger.socket.write_all(&encode(0xc0 | TEXT, &bomb)).await;
        assert_eq!(charger.closed().await, Some(1009));
    })
    .await;
}

#[tokio::test]
async fn deeply_nested_json_does_not_close_the_connection() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let mut charger = Charger::connect(&world, "CP-1").await;
        for depth in [100, 10_000, 500_000] {
            charger.text(&"[".repeat(depth)).await;
            charger
                .text(&format!(
                    r#"[2,"deep","Heartbeat",{}{}]"#,
                    r#"{"a":"#.repeat(depth / 5),
                    "}".repeat(depth / 5)
                ))
                .await;
        }
        charger.text(r#"[2,"last","Heartbeat",{}]"#).await;
        soon("an answer to the last call", async {
            while !charger.answer().await.starts_with(r#"[3,"last","#) {}
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn invalid_utf8_and_binary_frames_are_recorded_as_unreadable() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let mut charger = Charger::connect(&world, "CP-1").await;
        charger
            .frame(0x80 | TEXT, b"[2,\"\xff\",\"Heartbeat\",{}]")
            .await;
        charger.frame(0x80 | TEXT, b"\xc3\x28").await;
        charger.frame(0x80 | BINARY, b"\x00\xff\xfe").await;
        charger.frame(0x80 | BINARY, b"").await;
        // A text that is fragmented inside a character is valid.
        charger.frame(TEXT, b"[2,\"\xc3").await;
        charger.frame(0x80, b"\xa4\",\"Heartbeat\",{}]").await;
        soon("the answer to the valid message", async {
            while !charger.answer().await.starts_with("[3,\"ä\",") {}
        })
        .await;
    })
    .await;
    until("the unreadable frames are stored", || {
        world
            .sink
            .count(|stored| stored.kind == central::RecordKind::Unreadable)
            == 3
    })
    .await;
}

#[tokio::test]
async fn five_thousand_pings_get_five_thousand_pongs() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let mut charger = Charger::connect(&world, "CP-1").await;
        let flood: Vec<u8> = (0..5_000)
            .flat_map(|_| encode(0x80 | PING, b"ping"))
            .collect();
        let (mut reading, mut writing) = tokio::io::split(charger.socket);
        let write = async {
            writing.write_all(&flood).await.expect("writes");
            writing
                .write_all(&encode(0x80 | TEXT, br#"[2,"1","Heartbeat",{}]"#))
                .await
                .expect("writes");
        };
        let read = async {
            let mut bytes = Vec::new();
            while !bytes.windows(8).any(|window| window == b"[3,\"1\",{") {
                assert_ne!(reading.read_buf(&mut bytes).await.expect("reads"), 0);
            }
            bytes
        };
        let ((), bytes) = soon("all pongs and the answer", async {
            tokio::join!(write, read)
        })
        .await;
        let pongs = bytes
            .windows(6)
            .filter(|window| *window == b"\x8a\x04ping")
            .count();
        assert_eq!(pongs, 5_000);
        charger = Charger::connect(&world, "CP-1").await;
        charger.heartbeat().await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_pings_and_never_reads_is_closed() {
    let world = World::with(|setup| setup.config.write_timeout_ms = 500).await;
    beside_a_bystander(&world, async {
        let mut charger = Charger::connect_narrow(&world, "CP-1").await;
        let flood: Vec<u8> = (0..1_000)
            .flat_map(|_| encode(0x80 | PING, &[b'x'; 125]))
            .collect();
        // Until the socket buffers of both sides are full and the write timeout has passed.
        soon("the gateway closes", async {
            while charger.socket.write_all(&flood).await.is_ok() {}
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_violates_the_protocol_closes_its_connection() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        for bytes in [
            &b"\x81\x02{}"[..],                  // not masked
            b"\xb1\x80\x01\x02\x03\x04",         // reserved bits
            b"\x83\x80\x01\x02\x03\x04",         // unknown opcode
            b"\x09\x80\x01\x02\x03\x04",         // ping in fragments
            b"\x80\x80\x01\x02\x03\x04",         // continues nothing
            b"\x88\x81\x01\x02\x03\x04\x05",     // close with half a code
            b"\x89\xfe\x00\x7e\x01\x02\x03\x04", // ping of 126 bytes
        ] {
            let mut charger = Charger::connect(&world, "CP-1").await;
            charger.socket.write_all(bytes).await.expect("writes");
            assert!(charger.is_closed().await, "{bytes:?}");
        }
        // A close within a message, half a frame and then nothing, a reset.
        let mut charger = Charger::connect(&world, "CP-1").await;
        charger.frame(TEXT, b"[2").await;
        charger.frame(0x80 | CLOSE, &1000_u16.to_be_bytes()).await;
        assert_eq!(charger.closed().await, Some(1000));
        let mut charger = Charger::connect(&world, "CP-1").await;
        charger
            .socket
            .write_all(&encode(0x80 | TEXT, b"[2,\"1\"")[..5])
            .await
            .expect("writes");
        drop(charger);
        let charger = Charger::connect(&world, "CP-1").await;
        charger.socket.set_zero_linger().expect("a socket");
        drop(charger);
        let mut charger = Charger::connect(&world, "CP-1").await;
        charger.frame(0x80 | PONG, b"unasked").await;
        charger.heartbeat().await;
    })
    .await;
}

#[tokio::test]
async fn unfinished_handshakes_are_closed_at_their_timeout() {
    let world = World::with(|setup| {
        setup.config.handshake_timeout_ms = 300;
        setup.config.handshakes_max = 50;
    })
    .await;
    beside_a_bystander(&world, async {
        let mut sockets = Vec::new();
        for i in 0..40 {
            let mut socket = TcpStream::connect(world.address()).await.expect("connects");
            let head = request("/ocpp/CP-1", "");
            socket
                .write_all(&head.as_bytes()[..i * 3])
                .await
                .expect("writes");
            sockets.push(socket);
        }
        for mut socket in sockets {
            let mut response = Vec::new();
            let end = soon(
                "the gateway closes the socket",
                socket.read_to_end(&mut response),
            )
            .await;
            assert!(end.is_err() || response.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn too_many_concurrent_handshakes_get_503() {
    let world = World::with(|setup| {
        setup.config.handshakes_max = 3;
        setup.config.first_byte_timeout_ms = 3_000;
    })
    .await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(TcpStream::connect(world.address()).await.expect("connects"));
    }
    let mut refused = 0;
    for mut socket in sockets {
        let mut bytes = Vec::new();
        let end = soon(
            "the gateway closes the socket",
            socket.read_to_end(&mut bytes),
        )
        .await;
        end.expect("is no reset");
        refused += usize::from(bytes.starts_with(b"HTTP/1.1 503 "));
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 503 "));
    }
    assert_eq!(refused, 7, "the others were closed at their timeout");
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.heartbeat().await;
}

#[tokio::test]
async fn identities_with_slashes_dots_control_characters_or_300_bytes_are_refused() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let long = format!("/ocpp/{}", "x".repeat(300));
        for (path, status) in [
            ("/ocpp/a%2Fb", 400),
            ("/ocpp/a%5cb", 400),
            ("/ocpp/..", 400),
            ("/ocpp/%2e%2e", 400),
            ("/ocpp/a%00b", 400),
            ("/ocpp/a%0d%0aSet-Cookie:x", 400),
            ("/ocpp/a\tb", 400),
            ("/ocpp/%ff", 400),
            ("/", 404),
            ("//", 404),
            (&long, 400),
        ] {
            let charger = Charger::handshake(&world, request(path, "").as_bytes()).await;
            assert_eq!(charger.head.status, status, "{path}");
            assert!(charger.body().await.trim_end().ends_with('.'), "{path}");
        }
        let lines = "Sec-WebSocket-Protocol: ocpp2.0.1\r\n";
        let path = format!("/ocpp/{}", "x".repeat(49));
        let charger = Charger::handshake(&world, request(&path, lines).as_bytes()).await;
        assert_eq!(charger.head.status, 400, "48 bytes at most with 2.x");
    })
    .await;
}

#[tokio::test]
async fn requests_that_are_not_a_handshake_are_refused() {
    let world = World::start().await;
    beside_a_bystander(&world, async {
        let post_upgrade = request("/ocpp/CP-1", "").replacen("GET", "POST", 1);
        let endless = format!("GET /ocpp/CP-1 HTTP/1.1\r\nX: {}", "x".repeat(9_000));
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
            ("POST /ocpp/CP-1 HTTP/1.1\r\n\r\n", 426),
            (&post_upgrade, 405),
            ("\u{16}\u{3}\u{1}\u{2}", 400),
            ("nonsense\r\n\r\n", 400),
            ("GET /ocpp/CP-1 HTTP/9.9\r\n\r\n", 400),
            (&endless, 431),
        ] {
            let charger = Charger::handshake(&world, request.as_bytes()).await;
            assert_eq!(charger.head.status, status, "{}", charger.head.text);
            let connection = match status {
                426 => "upgrade, close",
                _ => "close",
            };
            assert_eq!(
                charger.head.header("Connection").as_deref(),
                Some(connection)
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_with_hours_of_readings_is_answered_and_stored_whole() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let value = r#"{"timestamp":"2026-01-02T03:04:05Z","sampledValue":[{"value":"1","context":"Sample.Periodic"}]}"#;
    let data = vec![value; 1_300_000 / value.len()].join(",");
    let stop = format!(
        r#"{{"transactionId":7,"meterStop":9,"timestamp":"2026-01-02T03:04:05Z","transactionData":[{data}]}}"#
    );
    charger.call("StopTransaction", &stop).await;
    until("it is stored", || {
        world.sink.count(|stored| stored.payload == stop) == 1
    })
    .await;
}

/// The limit of one charger in the directory; `None` for the setting.
fn set_limit(world: &World, charger_id: &str, frame_bytes_max: Option<u32>) {
    world.directory.add(charger_id, None);
    let mut snapshot = world.directory.snapshot.lock().unwrap();
    let key = central::model::ChargerKey::of(charger_id);
    let profile = snapshot.chargers.get_mut(&key).unwrap();
    profile.frame_bytes_max = frame_bytes_max;
}

fn data_transfer(bytes: usize) -> String {
    let rest = bytes - r#"[2,"big","DataTransfer",{"vendorId":"v","data":""}]"#.len();
    format!(
        r#"[2,"big","DataTransfer",{{"vendorId":"v","data":"{}"}}]"#,
        "x".repeat(rest)
    )
}

/// Whether the charger's next connection takes a message of so many bytes.
async fn takes(world: &World, charger_id: &str, bytes: usize) -> bool {
    let stored = || {
        world
            .sink
            .count(|stored| stored.charger_id == charger_id && stored.action == "DataTransfer")
    };
    let closed = |limit: &Stored| {
        limit.kind == RecordKind::Disconnected
            && limit.charger_id == charger_id
            && limit.reason.starts_with("a message of at least")
    };
    let (before, ends) = (stored(), world.sink.count(closed));
    let mut charger = Charger::connect(world, charger_id).await;
    let message = encode(0x80 | TEXT, data_transfer(bytes).as_bytes());
    // The gateway may close before it has read all of it.
    let _ = charger.socket.write_all(&message).await;
    until("the message or the end is stored", || {
        stored() > before || world.sink.count(closed) > ends
    })
    .await;
    stored() > before
}

#[tokio::test]
async fn the_limit_of_one_charger_is_used_at_its_next_connection_and_by_no_other() {
    let world = World::start().await;
    assert!(!takes(&world, "CP-1", 3 << 20).await);
    set_limit(&world, "CP-1", Some(8 << 20));
    set_limit(&world, "CP-2", None);
    set_limit(&world, "CP-3", Some(4_096));
    tokio::time::timeout(Duration::from_secs(30), async {
        while !takes(&world, "CP-1", 3 << 20).await {}
    })
    .await
    .expect("the gateway reads the directory");
    assert!(takes(&world, "CP-1", 8 << 20).await);
    assert!(!takes(&world, "CP-1", (8 << 20) + 1).await);
    assert!(!takes(&world, "CP-2", 3 << 20).await);
    assert!(takes(&world, "CP-3", 4_096).await);
    assert!(!takes(&world, "CP-3", 2 << 20).await);
    let reason = "frame_bytes_max of this charger is 4096";
    assert_eq!(world.sink.count(|end| end.reason.ends_with(reason)), 1);
    // Back to the setting.
    set_limit(&world, "CP-1", None);
    tokio::time::timeout(Duration::from_secs(30), async {
        while takes(&world, "CP-1", 3 << 20).await {}
    })
    .await
    .expect("the gateway reads the directory");
}

#[tokio::test]
async fn one_message_holds_at_most_half_of_what_unfinished_messages_may_hold() {
    let world = World::with(|setup| {
        setup.config.frame_bytes_max = 1 << 20;
        setup.config.unfinished_bytes_max = 4 << 20;
        setup.directory.add("CP-1", None);
        let mut snapshot = setup.directory.snapshot.lock().unwrap();
        for profile in snapshot.chargers.values_mut() {
            profile.frame_bytes_max = Some(8 << 20);
        }
    })
    .await;
    assert!(takes(&world, "CP-1", 2 << 20).await);
    assert!(!takes(&world, "CP-1", 3 << 20).await);
    let reason = "half of gateway.unfinished_bytes_max is 2097152";
    until("the end says which limit", || {
        world.sink.count(|end| end.reason.ends_with(reason)) == 1
    })
    .await;
}
