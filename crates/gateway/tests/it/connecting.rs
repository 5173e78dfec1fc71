//! What the log says about chargers that connect or are refused, and the address that counts behind a proxy. Each test
//! uses identities or addresses of its own, because all tests of this program share the log.

use crate::common::charger::{Charger, TEXT, encode, request, socket_from};
use crate::common::{World, log, soon, until};
use central::RecordKind;
use central::policy::UnknownCharger;
use gateway::{AssumeVersion, ForwardedHeader, ListenerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const V16: &str = "Sec-WebSocket-Protocol: ocpp1.6\r\n";

fn basic(text: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    format!("{V16}Authorization: Basic {text}\r\n")
}

fn stored(password: &str) -> String {
    use argon2::password_hash::PasswordHasher;
    let params = argon2::Params::new(8, 1, 1, None).expect("allowed");
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password(password.as_bytes())
        .expect("hashes")
        .to_string()
}

/// Sends bytes from 127.0.0.`host` and returns everything that is answered until the gateway closes.
async fn send(world: &World, host: u8, bytes: &[u8]) -> String {
    let mut socket = socket_from(world, host).await;
    socket.write_all(bytes).await.expect("writes");
    let mut answer = Vec::new();
    let read = soon("the end of the answer", socket.read_to_end(&mut answer)).await;
    read.expect("reads");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn each_wrong_attempt_is_one_line_with_address_path_identity_offer_and_cure() {
    log::capture();
    let world = World::with(|setup| {
        setup.policy.unknown_charger = UnknownCharger::Reject;
        setup.config.assume_version = AssumeVersion::Refuse;
        setup.directory.add("LINE-1", Some(stored("right")));
        setup.directory.add("LINE-2", None);
    })
    .await;
    let auth = |text: &[u8]| request("/ocpp/LINE-1", &basic(text));
    let soap = "POST /ocpp-s HTTP/1.1\r\nHost: x\r\nSOAPAction: \"/Boot\"\r\nContent-Length: 4\r\n\r\n<x/>";
    let get = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    let api = "GET /api/v1/chargers HTTP/1.1\r\nHost: x\r\n\r\n";
    let old = request(
        "/ocpp/LINE-2",
        "Sec-WebSocket-Protocol: ocpp1.2, ocpp1.5\r\n",
    );
    let bearer = format!("{V16}Authorization: Bearer sesame-token\r\n");
    let broken = format!("{V16}Authorization: Basic !!sesame!!\r\n");
    let cases: Vec<(Vec<u8>, &str, &[&str])> = vec![
        (
            request("/ocpp", V16).into(),
            "404",
            &[
                "no identity in the URL",
                "path=\"/ocpp\"",
                "ws://HOST:9000/ocpp/{identity}",
            ],
        ),
        (
            request("/ocpp/", V16).into(),
            "404",
            &["no identity in the URL", "path=\"/ocpp/\""],
        ),
        (
            request("/", V16).into(),
            "404",
            &["no identity in the URL", "path=\"/\""],
        ),
        (
            request("/ocpp/LINE-2", "").into(),
            "400",
            &[
                "no OCPP version offered",
                "identity=\"LINE-2\"",
                "gateway.assume_version",
            ],
        ),
        (
            old.into(),
            "400",
            &[
                "no supported OCPP version offered",
                "offered=\"ocpp1.2, ocpp1.5\"",
                "identity=\"LINE-2\"",
            ],
        ),
        (
            get.into(),
            "426",
            &[
                "plain HTTP request",
                "path=\"/hello\"",
                "ws://HOST:9000/ocpp/{identity}",
            ],
        ),
        (
            soap.into(),
            "426",
            &["SOAP request (OCPP-S)", "path=\"/ocpp-s\"", "OCPP-J"],
        ),
        (
            api.into(),
            "426",
            &[
                "request for the HTTP API",
                "path=\"/api/v1/chargers\"",
                "http.listen",
            ],
        ),
        (
            b"\x16\x03\x01\x02\x00\x01".to_vec(),
            "400",
            &["TLS on a port without TLS", "`ws://` instead of `wss://`"],
        ),
        (b"\x05hello".to_vec(), "400", &["not an HTTP request"]),
        (
            request("/ocpp/LINE-9", V16).into(),
            "404",
            &[
                "unknown charger",
                "identity=\"LINE-9\"",
                "wattpost charger add",
            ],
        ),
        (
            request("/ocpp/LINE-1", V16).into(),
            "401",
            &["no password", "identity=\"LINE-1\""],
        ),
        (
            auth(b"LINE-1:sesame").into(),
            "401",
            &["wrong password", "identity=\"LINE-1\""],
        ),
        (
            auth(b"other:right").into(),
            "401",
            &[
                "user name is not the identity",
                "gateway.user_must_be_identity",
            ],
        ),
        (
            auth(b"sesame").into(),
            "401",
            &["Authorization: Basic without a colon"],
        ),
        (
            request("/ocpp/LINE-1", &bearer).into(),
            "401",
            &["Authorization is not Basic"],
        ),
        (
            request("/ocpp/LINE-1", &broken).into(),
            "401",
            &["Authorization: Basic is not Base64"],
        ),
        (
            request("/ocpp/a%2Fb", V16).into(),
            "400",
            &["characters that are not allowed", "identity=\"a%2Fb\""],
        ),
        (
            b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(),
            "400",
            &["PROXY protocol header that was not expected"],
        ),
    ];
    for (i, (bytes, status, texts)) in cases.iter().enumerate() {
        // An address of its own for each case.
        let host = 100 + u8::try_from(i).expect("few");
        let address = format!("address=127.0.0.{host}:");
        let answer = send(&world, host, bytes).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let status = format!("status=\"{status}\"");
        let line = log::line(&[&address, "charger refused: ", "cure=\"", &status]).await;
        for text in *texts {
            assert!(line.contains(text), "{text} in {line}");
        }
        assert_eq!(
            log::lines(&[&address]).len(),
            1,
            "{:?}",
            log::lines(&[&address])
        );
    }
    let all = log::all();
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode("LINE-1:sesame");
    for secret in ["sesame", &encoded] {
        assert!(!all.contains(secret), "{secret} was logged");
    }
}

#[tokio::test]
async fn a_body_says_what_a_url_looks_like_and_that_soap_is_not_supported() {
    let world = World::start().await;
    for path in ["/ocpp", "/ocpp/", "/"] {
        let answer = send(&world, 1, request(path, V16).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(
            answer.contains("ws://HOST:9000/ocpp/{identity}"),
            "{answer}"
        );
    }
    let soap = b"POST /x HTTP/1.1\r\nHost: x\r\nSOAPAction: x\r\nContent-Length: 0\r\n\r\n";
    let answer = send(&world, 1, soap).await;
    assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    assert!(
        answer.contains("OCPP-S (SOAP) is not supported"),
        "{answer}"
    );
    // One segment that is an identity works.
    let charger = Charger::handshake(&world, request("/CP1", V16).as_bytes()).await;
    assert_eq!(charger.head.status, 101);
}

#[tokio::test]
async fn hostile_bytes_are_escaped_and_cut_and_secrets_in_a_url_are_left_out() {
    log::capture();
    let world = World::start().await;
    let long = "x".repeat(3_000);
    let protocols = format!("Sec-WebSocket-Protocol: a\u{1b}[31m\u{202e}b, {long}\r\n");
    let text = request("/ocpp/HOSTILE-1?token=sesame", &protocols);
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0x1b).collect();
    send(&world, 31, &bytes).await;
    let line = log::line(&["address=127.0.0.31:"]).await;
    assert!(line.contains("path=\"/ocpp/HOSTILE-1?…\""), "{line}");
    assert!(
        !line.contains('\u{202e}') && line.contains("\\u{202e}"),
        "{line}"
    );
    assert!(line.len() < 1_000, "{}", line.len());
    // An identity with a line end is refused and logged on one line.
    send(
        &world,
        32,
        request("/ocpp/evil%0Acharger connected", V16).as_bytes(),
    )
    .await;
    send(
        &world,
        33,
        request("/ocpp/evil%0A%1b%5B31mINFO", V16).as_bytes(),
    )
    .await;
    let line = log::line(&["address=127.0.0.33:"]).await;
    assert!(line.contains("evil%0A"), "{line}");
    let secret = request("ws://HOSTILE-2:sesame@host:9000/ocpp", V16);
    send(&world, 34, secret.as_bytes()).await;
    let line = log::line(&["address=127.0.0.34:"]).await;
    assert!(line.contains("path=\"ws://…@host:9000/ocpp\""), "{line}");
    let all = log::all();
    assert!(!all.contains("sesame") && !all.contains('\u{1b}'));
}

#[tokio::test]
async fn many_refusals_are_a_few_lines() {
    log::capture();
    let world = World::with(|setup| setup.policy.unknown_charger = UnknownCharger::Reject).await;
    for _ in 0..50 {
        send(&world, 41, request("/ocpp/STORM-1", V16).as_bytes()).await;
    }
    for i in 0..100 {
        send(
            &world,
            42,
            request(&format!("/ocpp/STORM-2-{i}"), V16).as_bytes(),
        )
        .await;
    }
    // Another charger's line is still written.
    send(&world, 43, request("/ocpp/STORM-3", V16).as_bytes()).await;
    log::line(&["identity=\"STORM-3\""]).await;
    assert_eq!(log::lines(&["identity=\"STORM-1\""]).len(), 3);
    assert_eq!(log::lines(&["identity=\"STORM-2-"]).len(), 60);
    world
        .gateway
        .shutdown(std::time::Duration::from_secs(2))
        .await;
    log::line(&["were not logged", "lines=87", "87 × unknown charger"]).await;
}

#[tokio::test]
async fn a_connection_has_a_line_when_it_begins_and_when_it_ends() {
    log::capture();
    let world = World::start().await;
    let charger = Charger::connect_as(&world, "LINE-CONNECTED", "ocpp2.0.1").await;
    let address = charger.socket.local_addr().expect("is connected");
    let line = log::line(&["charger connected", "LINE-CONNECTED"]).await;
    assert!(line.contains("version=2.0.1"), "{line}");
    assert!(line.contains(&format!("address={address}")), "{line}");
    drop(charger);
    let line = log::line(&["charger disconnected", "LINE-CONNECTED"]).await;
    assert!(
        line.contains("reason=\"") && line.contains("duration_s="),
        "{line}"
    );
    assert!(line.contains(&format!("address={address}")), "{line}");
}

#[tokio::test]
async fn a_charger_that_connects_again_and_again_is_a_few_lines() {
    log::capture();
    let world = World::start().await;
    for _ in 0..10 {
        let mut charger = Charger::connect(&world, "FLAPPING").await;
        charger.heartbeat().await;
    }
    Charger::connect(&world, "STEADY").await.heartbeat().await;
    log::line(&["charger connected", "STEADY"]).await;
    assert_eq!(log::lines(&["charger connected", "FLAPPING"]).len(), 3);
    world
        .gateway
        .shutdown(std::time::Duration::from_secs(5))
        .await;
    log::line(&["were not logged", "7 × charger connected"]).await;
    assert_eq!(log::lines(&["charger disconnected", "FLAPPING"]).len(), 3);
}

#[tokio::test]
async fn two_chargers_with_one_identity_are_named_with_both_addresses() {
    log::capture();
    let world = World::start().await;
    let text = request("/ocpp/TWIN-HERE", V16);
    let mut chargers = Vec::new();
    for host in [51, 52, 51] {
        chargers.push(Charger::handshake_from(&world, host, text.as_bytes()).await);
    }
    assert!(log::lines(&["replace each other", "TWIN-HERE"]).is_empty());
    chargers.push(Charger::handshake_from(&world, 52, text.as_bytes()).await);
    let line = log::line(&["replace each other", "TWIN-HERE"]).await;
    assert!(
        line.contains("WARN") && line.contains("address=127.0.0.52:"),
        "{line}"
    );
    assert!(line.contains("other_address=127.0.0.51:"), "{line}");
}

fn behind(proxies: &[&str], proxy_protocol: bool, listener: &mut ListenerConfig) {
    let proxies = proxies.iter().map(|net| net.parse().expect("a net"));
    listener.trusted_proxies = proxies.collect();
    listener.proxy_protocol = proxy_protocol;
}

/// The address in the record of the connection.
async fn recorded_remote(world: &World, identity: &str) -> String {
    let find = || {
        world
            .sink
            .find(|stored| stored.kind == RecordKind::Connected && stored.charger_id == identity)
    };
    until("the connection is recorded", || find().is_some()).await;
    let payload: serde_json::Value =
        serde_json::from_str(&find().expect("is recorded").payload).expect("JSON");
    payload["remote"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn an_address_in_a_header_counts_only_if_a_trusted_proxy_sent_it() {
    log::capture();
    let world = World::with(|setup| {
        behind(&["127.0.0.61/32"], false, &mut setup.config.listeners[0]);
        let mut standard = setup.config.listeners[0].clone();
        standard.forwarded_header = ForwardedHeader::Forwarded;
        setup.config.listeners.push(standard);
    })
    .await;
    let lines =
        format!("{V16}X-Forwarded-For: 6.6.6.6, 203.0.113.61\r\nForwarded: for=6.6.6.7\r\n");
    let text = request("/ocpp/XFF-1", &lines);
    let trusted = Charger::handshake_from(&world, 61, text.as_bytes()).await;
    assert_eq!(trusted.head.status, 101);
    assert_eq!(recorded_remote(&world, "XFF-1").await, "203.0.113.61");
    log::line(&[
        "charger connected",
        "XFF-1",
        "address=203.0.113.61",
        "proxy=127.0.0.61:",
    ])
    .await;

    let text = request("/ocpp/XFF-2", &lines);
    let untrusted = Charger::handshake_from(&world, 62, text.as_bytes()).await;
    assert_eq!(untrusted.head.status, 101);
    let own = untrusted.socket.local_addr().expect("is connected");
    assert_eq!(recorded_remote(&world, "XFF-2").await, own.to_string());

    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 61], 0).into()).expect("binds");
    let standard = world.gateway.local_addrs()[1];
    let socket = socket.connect(standard).await.expect("connects");
    let text = request("/ocpp/XFF-3", &lines);
    let charger = Charger::handshake_on(socket, text.as_bytes()).await;
    assert_eq!(charger.head.status, 101);
    assert_eq!(recorded_remote(&world, "XFF-3").await, "6.6.6.7");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_charger_has_the_bounds_of_its_own_address() {
    let world = World::with(|setup| {
        behind(&["127.0.0.63"], false, &mut setup.config.listeners[0]);
        setup.config.handshakes_per_second_per_address = 3;
        setup.config.unknown_per_address_max = 2;
    })
    .await;
    let connect = async |identity: String, address: &str| {
        let lines = format!("{V16}X-Forwarded-For: {address}\r\n");
        let text = request(&format!("/ocpp/{identity}"), &lines);
        Charger::handshake_from(&world, 63, text.as_bytes()).await
    };
    let mut statuses = Vec::new();
    let mut open = Vec::new();
    for i in 0..20 {
        let charger = connect(format!("MANY-{i}"), "203.0.113.64").await;
        statuses.push(charger.head.status);
        open.push(charger);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 101).count(), 2);
    for i in 0..5 {
        let charger = connect(format!("OTHER-{i}"), &format!("198.51.100.{i}")).await;
        assert_eq!(
            charger.head.status, 101,
            "another address behind the same proxy"
        );
        open.push(charger);
    }
}

/// A charger's handshake behind a header of the PROXY protocol.
async fn proxied(world: &World, host: u8, header: &[u8], identity: &str) -> Charger {
    let text = request(&format!("/ocpp/{identity}"), V16);
    let bytes = [header, text.as_bytes()].concat();
    Charger::handshake_from(world, host, &bytes).await
}

#[tokio::test]
async fn the_proxy_protocol_names_the_address_if_a_trusted_proxy_sends_it() {
    log::capture();
    let world = World::with(|setup| {
        behind(&["127.0.0.65"], true, &mut setup.config.listeners[0]);
        setup.config.first_byte_timeout_ms = 300;
    })
    .await;
    let v1 = b"PROXY TCP4 203.0.113.65 10.0.0.1 4711 9000\r\n";
    let v2 =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x42\x0a\x00\x00\x01\x12\x67\x23\x28";
    for (header, identity, remote) in [
        (&v1[..], "PROXY-1", "203.0.113.65:4711"),
        (v2, "PROXY-2", "203.0.113.66:4711"),
    ] {
        let mut charger = proxied(&world, 65, header, identity).await;
        assert_eq!(charger.head.status, 101);
        charger.heartbeat().await;
        assert_eq!(recorded_remote(&world, identity).await, remote);
        log::line(&["charger connected", identity, &format!("address={remote}")]).await;
    }
    // Without an address, that of the proxy counts.
    let charger = proxied(&world, 65, b"PROXY UNKNOWN\r\n", "PROXY-3").await;
    let own = charger
        .socket
        .local_addr()
        .expect("is connected")
        .to_string();
    assert_eq!(recorded_remote(&world, "PROXY-3").await, own);
    // From another address the header is ignored, and none is needed.
    let charger = proxied(&world, 66, v1, "PROXY-4").await;
    let own = charger
        .socket
        .local_addr()
        .expect("is connected")
        .to_string();
    assert_eq!(recorded_remote(&world, "PROXY-4").await, own);
    log::line(&[
        "PROXY protocol header ignored",
        "address=127.0.0.66:",
        "trusted_proxies",
    ])
    .await;
    let charger = proxied(&world, 67, b"", "PROXY-5").await;
    assert_eq!(charger.head.status, 101);
    // What the charger wrote into an HTTP header is not used.
    let text = request(
        "/ocpp/PROXY-6",
        &format!("{V16}X-Forwarded-For: 6.6.6.6\r\n"),
    );
    let bytes = [&v1[..], text.as_bytes()].concat();
    Charger::handshake_from(&world, 65, &bytes).await;
    assert_eq!(
        recorded_remote(&world, "PROXY-6").await,
        "203.0.113.65:4711"
    );
}

/// Some chargers send their first message without waiting for the answer to the handshake.
#[tokio::test]
async fn nothing_is_lost_of_what_comes_together_with_a_proxy_header() {
    let world = World::with(|setup| {
        behind(&["127.0.0.73"], true, &mut setup.config.listeners[0]);
    })
    .await;
    // A header of 2 KiB, so that much of what follows it is read with its end.
    const NOOP: u16 = 2_050;
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    bytes.extend((12 + 3 + NOOP).to_be_bytes());
    bytes.extend(b"\xcb\x00\x71\x49\x0a\x00\x00\x01\x12\x67\x23\x28\x04");
    bytes.extend(NOOP.to_be_bytes());
    bytes.resize(bytes.len() + usize::from(NOOP), 0);
    bytes.extend_from_slice(request("/ocpp/EARLY", V16).as_bytes());
    for i in 0..4 {
        let data = "x".repeat(700);
        let text = format!(r#"[2,"e{i}","DataTransfer",{{"vendorId":"v","data":"{data}"}}]"#);
        bytes.extend(encode(0x80 | TEXT, text.as_bytes()));
    }
    let mut charger = Charger::handshake_from(&world, 73, &bytes).await;
    assert_eq!(charger.head.status, 101);
    assert_eq!(recorded_remote(&world, "EARLY").await, "203.0.113.73:4711");
    for i in 0..4 {
        let answer = charger.answer().await;
        assert!(answer.starts_with(&format!(r#"[3,"e{i}","#)), "{answer}");
    }
}

#[tokio::test]
async fn a_missing_slow_or_endless_proxy_header_closes_the_connection_with_a_line() {
    log::capture();
    let world = World::with(|setup| {
        behind(&["127.0.0.68/30"], true, &mut setup.config.listeners[0]);
        setup.config.first_byte_timeout_ms = 300;
    })
    .await;
    send(&world, 68, request("/ocpp/NO-HEADER", V16).as_bytes()).await;
    log::line(&[
        "no PROXY protocol header from a trusted proxy",
        "address=127.0.0.68:",
    ])
    .await;
    send(&world, 69, b"PROXY TCP4 203.0.113.65").await;
    log::line(&["broken PROXY protocol header", "address=127.0.0.69:"]).await;
    let mut endless =
        TcpStream::from_std(socket_from(&world, 70).await.into_std().expect("a socket"))
            .expect("a socket");
    let bytes = [b"PROXY ", &[b'x'; 200_000][..]].concat();
    let _ = endless.write_all(&bytes).await;
    log::line(&["broken PROXY protocol header", "address=127.0.0.70:"]).await;
    // A proxy that only checks whether the port is open causes no line.
    drop(socket_from(&world, 71).await);
    let charger = Charger::handshake_from(&world, 72, request("/ocpp/LATER", V16).as_bytes()).await;
    assert_eq!(charger.head.status, 101);
    assert!(log::lines(&["address=127.0.0.71:"]).is_empty());
}
