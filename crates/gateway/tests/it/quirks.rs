//! Known quirks of charger firmware that concern framing, URL or credentials, by their number in the list of quirks: each
//! is answered and does not close the connection.

use crate::common::charger::{BINARY, Charger, PING, PONG, TEXT, request};
use crate::common::{World, soon, transaction_id, until};
use gateway::AssumeVersion;
use std::time::Duration;

const V16: &str = "Sec-WebSocket-Protocol: ocpp1.6\r\n";

async fn connects(world: &World, request: &str) -> Charger {
    let mut charger = Charger::handshake(world, request.as_bytes()).await;
    assert_eq!(charger.head.status, 101, "{request}{}", charger.head.text);
    charger.heartbeat().await;
    charger
}

#[tokio::test]
async fn quirk_01_no_subprotocol_header_is_tolerated_unless_set_otherwise() {
    let world = World::start().await;
    let charger = connects(&world, &request("/ocpp/CP-1", "")).await;
    assert_eq!(
        charger.head.header("Sec-WebSocket-Protocol"),
        None,
        "none was offered"
    );

    let strict = World::with(|setup| setup.config.assume_version = AssumeVersion::Refuse).await;
    let charger = Charger::handshake(&strict, request("/ocpp/CP-1", "").as_bytes()).await;
    assert_eq!(charger.head.status, 400);
    assert!(charger.body().await.contains("ocpp1.6, ocpp2.0.1, ocpp2.1"));
}

#[tokio::test]
async fn quirk_02_missing_connection_upgrade_is_tolerated() {
    let world = World::start().await;
    for gone in ["Connection: Upgrade\r\n", "Sec-WebSocket-Version: 13\r\n"] {
        connects(&world, &request("/ocpp/CP-1", V16).replacen(gone, "", 1)).await;
    }
}

#[tokio::test]
async fn the_first_supported_subprotocol_of_the_charger_is_echoed_once() {
    let world = World::start().await;
    let lines = "Sec-WebSocket-Protocol: ocpp0.1, ocpp2.0.1\r\nSec-WebSocket-Protocol: ocpp1.6\r\n";
    let charger = connects(&world, &request("/ocpp/CP-1", lines)).await;
    assert_eq!(
        charger.head.header("Sec-WebSocket-Protocol").as_deref(),
        Some("ocpp2.0.1")
    );
    assert_eq!(
        charger.head.text.matches("Sec-WebSocket-Protocol").count(),
        1
    );

    let lines = "Sec-WebSocket-Protocol: ocpp0.1\r\n";
    let charger = Charger::handshake(&world, request("/ocpp/CP-1", lines).as_bytes()).await;
    assert_eq!(
        charger.head.status, 400,
        "TC_088: no common subprotocol, no upgrade"
    );
}

#[tokio::test]
async fn quirk_04_identity_in_path_wrapped_in_odd_ways() {
    let world = World::start().await;
    for path in [
        "/CP-1",
        "/ocpp/CP-1/",
        "//ocpp//CP-1",
        "/ocpp/CP-1?x=/y",
        "/ws://localhost:9000/ocpp/CP-1",
        "ws://localhost:9000/ocpp/CP-1",
        "/ocpp/%43P%2D1",
    ] {
        connects(&world, &request(path, V16)).await;
    }
    until("all are stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 7
    })
    .await;
    assert_eq!(
        world
            .sink
            .count(|stored| stored.action == "Heartbeat" && stored.charger_id == "CP-1"),
        7
    );
}

#[tokio::test]
async fn quirk_04_identity_in_path_in_another_letter_case_is_the_same_charger() {
    let world = World::with(|setup| setup.directory.add("CP-One", None)).await;
    let mut first = Charger::connect(&world, "CP-One").await;
    first.heartbeat().await;
    let mut second = Charger::connect(&world, "cp-oNE").await;
    second.heartbeat().await;
    assert_eq!(first.closed().await, Some(1000), "replaced");
    until("both are stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 2
    })
    .await;
    assert_eq!(
        world
            .sink
            .count(|stored| stored.action == "Heartbeat" && stored.charger_id == "CP-One"),
        2
    );
}

fn stored_hash(password: &[u8]) -> String {
    use argon2::password_hash::PasswordHasher;
    let params = argon2::Params::new(8, 1, 1, None).expect("small but allowed");
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password(password)
        .expect("hashes")
        .to_string()
}

fn basic(user: &str, password: &[u8]) -> String {
    use base64::Engine;
    let text = [user.as_bytes(), b":", password].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    format!("{V16}Authorization: Basic {text}\r\n")
}

#[tokio::test]
async fn quirk_05_basic_auth_with_hex_text_bytes_colons_and_another_case() {
    let key = *b"\xde\xad\xbe\xef:0123456789ab";
    let world = World::with(|setup| {
        setup.directory.add(
            "CP-1",
            Some(stored_hash(b"DEADBEEF3A303132333435363738396162")),
        );
        setup
            .directory
            .add("CP-2", Some(stored_hash(b"pa:ss:word")));
    })
    .await;
    for password in [
        &key[..],
        b"DEADBEEF3A303132333435363738396162",
        b"deadbeef3a303132333435363738396162",
    ] {
        connects(&world, &request("/ocpp/CP-1", &basic("cp-1", password))).await;
    }
    connects(
        &world,
        &request("/ocpp/CP-2", &basic("CP-2", b"pa:ss:word")),
    )
    .await;

    for (user, password) in [
        ("CP-2", &b"wrong"[..]),
        ("CP-1", b"pa:ss:word"),
        ("", b""),
        ("CP-2", b"pa:ss"),
    ] {
        let request = request("/ocpp/CP-2", &basic(user, password));
        let charger = Charger::handshake(&world, request.as_bytes()).await;
        assert_eq!(charger.head.status, 401);
        let header = charger.head.header("WWW-Authenticate").expect("says how");
        assert!(header.starts_with("Basic "), "{header}");
    }
    let charger = Charger::handshake(&world, request("/ocpp/CP-2", V16).as_bytes()).await;
    assert_eq!(charger.head.status, 401, "no credentials at all");
}

#[tokio::test]
async fn quirk_05_a_user_name_that_is_not_the_identity_can_be_allowed() {
    let world = World::with(|setup| {
        setup.config.user_must_be_identity = false;
        setup.directory.add("CP-1", Some(stored_hash(b"secret")));
    })
    .await;
    connects(&world, &request("/ocpp/CP-1", &basic("vendor", b"secret"))).await;
}

#[tokio::test]
async fn quirk_07_message_id_counts_from_the_same_number_after_every_boot_and_may_be_a_number() {
    let world = World::start().await;
    for _ in 0..3 {
        let mut charger = Charger::connect(&world, "CP-1").await;
        charger.call_with("1", "Heartbeat", "{}").await;
        charger.text(r#"[2,2,"Heartbeat",{}]"#).await;
        let answer = charger.answer().await;
        assert!(answer.starts_with("[3,2,{"), "{answer}");
    }
    until("all are stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 6
    })
    .await;
}

#[tokio::test]
async fn quirk_08_invalid_json_and_empty_text_frames_do_not_close_the_connection() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    for text in [
        "",
        " ",
        "[",
        "[,{",
        "[2,\"1\",\"Heartbeat\",{\"a\":}]",
        "\u{0}",
        "[2,\"x\\y\",\"Heartbeat\",{}]",
        "null",
    ] {
        charger.text(text).await;
    }
    charger
        .text("[\n  2,\n  \"pretty\",\n  \"Heartbeat\",\n  {}\n]")
        .await;
    soon("the answer to what can be read", async {
        while !charger.answer().await.starts_with(r#"[3,"pretty","#) {}
    })
    .await;
}

#[tokio::test]
async fn quirk_09_null_payload_is_answered() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let answer = charger.call("Heartbeat", "null").await;
    assert!(answer.contains("currentTime"));
}

#[tokio::test]
async fn quirk_16_no_boot_on_reconnect_is_tolerated() {
    let world = World::start().await;
    let first = Charger::connect(&world, "CP-1")
        .await
        .start_transaction("a")
        .await;
    let mut again = Charger::connect(&world, "CP-1").await;
    again
        .call(
            "StopTransaction",
            &format!(
                r#"{{"transactionId":{},"meterStop":9,"timestamp":"2026-01-02T04:00:00Z"}}"#,
                transaction_id(&first)
            ),
        )
        .await;
}

#[tokio::test]
async fn quirk_18_no_pong_is_no_reason_to_close_while_messages_come() {
    let world = World::with(|setup| {
        setup.config.ping_interval_s = 1;
        setup.config.ping_misses_max = 3;
        setup.config.silence_s_max = 6;
    })
    .await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.frame(0x80 | PONG, b"").await;
    let mut beats = tokio::time::interval(Duration::from_millis(700));
    for _ in 0..6 {
        beats.tick().await;
        charger.heartbeat().await;
    }
    // A charger that has answered pings and then stops is closed.
    assert_eq!(close_code_without_pongs(&mut charger).await, Some(1011));
}

/// Reads without answering pings until the connection is closed; returns the close code.
async fn close_code_without_pongs(charger: &mut Charger) -> Option<u16> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    soon("the close", charger.socket.read_to_end(&mut bytes))
        .await
        .expect("reads");
    let close = bytes.windows(4).find(|four| four[0] == 0x88)?;
    Some(u16::from_be_bytes([close[2], close[3]]))
}

#[tokio::test]
async fn quirk_21_several_calls_in_flight_are_answered_in_their_order() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    for i in 0..100 {
        charger
            .text(&format!(r#"[2,"{i}","Heartbeat",{{}}]"#))
            .await;
    }
    for i in 0..100 {
        let answer = charger.answer().await;
        assert!(answer.starts_with(&format!(r#"[3,"{i}","#)), "{answer}");
    }
}

#[tokio::test]
async fn quirk_24_fragmented_frames_are_one_message() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.frame(TEXT, br#"[2,"f","#).await;
    charger.frame(0x80 | PING, b"between").await;
    charger.frame(0, br#""Heart"#).await;
    charger.frame(0x80, br#"beat",{}]"#).await;
    let (opcode, payload) = charger.read().await;
    assert_eq!((opcode, &payload[..]), (PONG, &b"between"[..]));
    assert!(charger.answer().await.starts_with(r#"[3,"f","#));
}

#[tokio::test]
async fn quirk_24_a_compressed_frame_without_negotiation_is_answered() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    // One stored (uncompressed) deflate block, then the empty one that RFC 7692 cuts four bytes off.
    let text = br#"[2,"z","Heartbeat",{}]"#;
    let len = text.len() as u16;
    let mut deflated = vec![0];
    deflated.extend_from_slice(&len.to_le_bytes());
    deflated.extend_from_slice(&(!len).to_le_bytes());
    deflated.extend_from_slice(text);
    deflated.push(0);
    charger.frame(0xc0 | TEXT, &deflated).await;
    let (opcode, payload) = charger.read().await;
    assert_eq!(opcode, TEXT, "the answer is plain");
    assert!(payload.starts_with(br#"[3,"z","#));
}

#[tokio::test]
async fn quirk_24_broken_deflate_closes_only_its_own_connection() {
    let world = World::start().await;
    let mut bystander = Charger::connect(&world, "CP-2").await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.frame(0xc0 | TEXT, b"\xff\xff\xff\xff").await;
    assert!(charger.is_closed().await);
    bystander.heartbeat().await;
    Charger::connect(&world, "CP-1").await.heartbeat().await;
}

#[tokio::test]
async fn quirk_24_binary_frames_are_taken_as_text() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger
        .frame(0x80 | BINARY, br#"[2,"b","Heartbeat",{}]"#)
        .await;
    assert!(charger.answer().await.starts_with(r#"[3,"b","#));
}

#[tokio::test]
async fn field_1_a_resend_under_a_new_message_id_gets_the_same_transaction() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let first = charger.start_transaction("a").await;
    let again = charger.start_transaction("b").await;
    assert_eq!(transaction_id(&first), transaction_id(&again));
    let mut reconnected = Charger::connect(&world, "CP-1").await;
    let later = reconnected.start_transaction("a").await;
    assert_eq!(transaction_id(&first), transaction_id(&later));
    reconnected.heartbeat().await;
    until("all is stored", || {
        world.sink.count(|stored| stored.action == "Heartbeat") == 1
    })
    .await;
    assert_eq!(
        world
            .sink
            .count(|stored| stored.action == "StartTransaction"),
        1
    );
}

#[tokio::test]
async fn field_2_equal_message_ids_with_other_content_are_other_messages() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    for status in ["Available", "Preparing", "Charging"] {
        let payload = format!(r#"{{"connectorId":1,"errorCode":"NoError","status":"{status}"}}"#);
        charger.call_with("1", "StatusNotification", &payload).await;
    }
    until("all are stored", || {
        world
            .sink
            .count(|stored| stored.action == "StatusNotification")
            == 3
    })
    .await;
}

#[tokio::test]
async fn field_10_answers_are_compact_json() {
    let world = World::start().await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    let answer = charger.call("Heartbeat", "{}").await;
    assert!(!answer.contains(": ") && !answer.contains(", "), "{answer}");
}

#[tokio::test]
async fn compression_is_negotiated_and_used_for_long_answers_only() {
    let world = World::with(|setup| setup.config.compression_bytes_min = 1_000).await;
    let lines =
        format!("{V16}Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    let mut charger = Charger::handshake(&world, request("/ocpp/CP-1", &lines).as_bytes()).await;
    assert_eq!(
        charger.head.header("Sec-WebSocket-Extensions").as_deref(),
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
    );
    charger.heartbeat().await;

    let eager = World::with(|setup| setup.config.compression_bytes_min = 0).await;
    let mut charger = Charger::handshake(&eager, request("/ocpp/CP-1", &lines).as_bytes()).await;
    charger.text(r#"[2,"1","Heartbeat",{}]"#).await;
    let (opcode, _) = charger.read().await;
    assert_eq!(opcode, 0x40 | TEXT, "compressed");
}

#[tokio::test]
async fn quirk_01_a_charger_without_subprotocol_is_handled_in_the_version_that_it_uses() {
    let world = World::start().await;
    let boot = r#"{"chargingStation":{"vendorName":"V","model":"M"},"reason":"PowerUp"}"#;
    let event = |seq: u32| {
        format!(
            r#"{{"eventType":"Updated","timestamp":"2026-01-02T03:04:0{seq}Z","triggerReason":"ChargingRateChanged","seqNo":{seq},"transactionInfo":{{"transactionId":"t"}}}}"#
        )
    };
    let mut charger = connects(&world, &request("/ocpp/CP-1", "")).await;
    charger.call("BootNotification", boot).await;
    charger.call("TransactionEvent", &event(1)).await;
    // The next connection does not boot.
    let mut charger = connects(&world, &request("/ocpp/CP-1", "")).await;
    charger.call("TransactionEvent", &event(2)).await;
    let mut other = connects(&world, &request("/ocpp/CP-2", "")).await;
    other.call("TransactionEvent", &event(3)).await;
    until("all are stored", || {
        world
            .sink
            .count(|stored| stored.action == "TransactionEvent")
            == 3
    })
    .await;
}
