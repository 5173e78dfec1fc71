use super::*;

const PLAIN: &str = "GET /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n";

fn read(head: &str) -> Result<Request, Refusal> {
    let mut request = parse(head.as_bytes())?;
    request.check_upgrade()?;
    Ok(request)
}

#[test]
fn a_plain_upgrade_is_read() {
    let request = read(PLAIN).expect("is sound");
    assert_eq!(request.target, "/ocpp/CP-1");
    assert_eq!(request.protocols, ["ocpp1.6"]);
    assert!(!request.repaired);
    assert!(
        accepted(&request.key, Some("ocpp1.6"), None)
            .contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
    );
}

#[test]
fn quirk_02_missing_connection_upgrade_is_repaired() {
    for gone in ["Connection: Upgrade\r\n", "Sec-WebSocket-Version: 13\r\n"] {
        let request = read(&PLAIN.replacen(gone, "", 1)).expect(gone);
        assert!(request.repaired, "{gone}");
    }
}

#[test]
fn header_names_and_words_may_have_any_letter_case() {
    let head = PLAIN
        .replace("Upgrade: websocket", "UPGRADE: WebSocket")
        .replace("Connection: Upgrade", "connection: keep-alive, UPGRADE")
        .replace("Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY");
    assert!(!read(&head).expect("is sound").repaired);
}

#[test]
fn the_answer_to_a_request_without_upgrade_says_what_the_port_is_for() {
    for (head, reason) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Reason::PlainHttp),
        (
            "POST /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\n\r\n",
            Reason::PlainHttp,
        ),
        (
            "GET /api/v1/chargers HTTP/1.1\r\nHost: x\r\n\r\n",
            Reason::ApiRequest,
        ),
        (
            "GET /metrics?x HTTP/1.1\r\nHost: x\r\n\r\n",
            Reason::ApiRequest,
        ),
        (
            "GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n",
            Reason::ApiRequest,
        ),
        (
            &PLAIN.replacen("Upgrade: websocket\r\n", "", 1),
            Reason::PlainHttp,
        ),
        (
            &PLAIN.replacen("Upgrade: websocket\r\n", "Upgrade: h2c\r\n", 1),
            Reason::PlainHttp,
        ),
    ] {
        let refusal = read(head).expect_err("no upgrade");
        assert_eq!(refusal.reason, reason, "{head}");
        assert_eq!(refusal.status(), Status::UpgradeRequired);
        assert!(refusal.sentence.contains("/ocpp/{identity}"));
        let answer = refused(&refusal, 1);
        assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
        assert!(
            answer.contains("\r\nConnection: upgrade, close\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn the_answer_to_a_soap_request_says_that_ocpp_s_is_not_supported() {
    for lines in [
        "SOAPAction: \"/BootNotification\"\r\n",
        "Content-Type: application/soap+xml; charset=utf-8\r\n",
        "Content-Type: text/xml\r\n",
    ] {
        let head = format!("POST /ocpp HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let refusal = read(&head).expect_err("no upgrade");
        assert_eq!(refusal.reason, Reason::Soap, "{lines}");
        assert!(
            refusal.sentence.contains("OCPP-S") && refusal.sentence.contains("ocpp1.6, ocpp2.0.1"),
            "{}",
            refusal.sentence
        );
    }
}

#[test]
fn what_is_no_upgrade_is_refused_with_a_sentence() {
    for (head, reason) in [
        (PLAIN.replacen("GET", "POST", 1), Reason::NotGet),
        (
            PLAIN.replacen("Version: 13", "Version: 8", 1),
            Reason::WebSocketVersion,
        ),
        (
            PLAIN.replacen("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1),
            Reason::NoKey,
        ),
        ("\u{16}\u{3}\u{1}".to_owned(), Reason::Malformed),
        ("GET /a\0b HTTP/1.1\r\n\r\n".to_owned(), Reason::Malformed),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)),
            Reason::HeadTooLarge,
        ),
    ] {
        let refusal = read(&head).expect_err(&head);
        assert_eq!(refusal.reason, reason, "{head}");
        assert!(refusal.sentence.ends_with('.'), "{}", refusal.sentence);
    }
}

#[test]
fn no_cut_and_no_changed_byte_of_a_head_panics() {
    let bytes = PLAIN.as_bytes();
    for at in 0..bytes.len() {
        let _ = parse(&bytes[..at]);
        for value in [0, b' ', b'%', b':', 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] = value;
            if let Ok(request) = parse(&changed) {
                let _ = identity(&request.target);
            }
        }
    }
}

#[test]
fn the_end_of_a_head_is_found_however_it_drips_in() {
    let bytes = PLAIN.as_bytes();
    for have in 0..=bytes.len() {
        for from in 0..=have {
            let expected = (have == bytes.len()).then_some(bytes.len());
            assert_eq!(head_end(&bytes[..have], from), expected);
        }
    }
    assert_eq!(head_end(b"GET / HTTP/1.1\n\nrest", 0), Some(16));
}

#[test]
fn quirk_04_identity_in_path_is_found_however_it_is_wrapped() {
    for (target, expected) in [
        ("/ocpp/CP-1", "CP-1"),
        ("/CP-1", "CP-1"),
        ("CP-1", "CP-1"),
        ("/a/b/c/CP-1", "CP-1"),
        ("//ocpp//CP-1//", "CP-1"),
        ("/ocpp/CP-1/", "CP-1"),
        ("/ocpp/CP-1?token=a/b", "CP-1"),
        ("/ocpp/CP-1/?x", "CP-1"),
        ("ws://host:9000/ocpp/CP-1", "CP-1"),
        ("http://host/CP-1", "CP-1"),
        ("/ws://host:9000/ocpp/CP-1", "CP-1"),
        ("/ocpp/ws://host:9000/ocpp/CP-1/", "CP-1"),
        ("/ocpp/CP%201%2b", "CP 1+"),
        ("/ocpp/CP%252F1", "CP%2F1"),
        ("/ocpp/../CP-1", "CP-1"),
        ("/ocpp/S%C3%A4ule", "Säule"),
        ("/ocpp/100%", "100%"),
        ("/ocpp/ocpp", "ocpp"),
        ("/x/ws", "ws"),
        ("/ocpp-1", "ocpp-1"),
        ("/CP1", "CP1"),
    ] {
        assert_eq!(identity(target).as_deref(), Ok(expected), "{target}");
    }
}

#[test]
fn an_identity_that_could_be_mistaken_is_refused() {
    for (target, status) in [
        ("", Status::NotFound),
        ("/", Status::NotFound),
        ("///", Status::NotFound),
        ("/?x", Status::NotFound),
        ("ws://host:9000", Status::NotFound),
        ("/ocpp/%20", Status::NotFound),
        ("/ocpp", Status::NotFound),
        ("/ocpp/", Status::NotFound),
        ("//OCPP//?x", Status::NotFound),
        ("/%6fcpp", Status::NotFound),
        ("ws://host:9000/ocpp/", Status::NotFound),
        ("/ocppJ", Status::NotFound),
        ("/ocpp1.6/", Status::NotFound),
        ("/ocpp2.0.1", Status::NotFound),
        ("/ocpp2.1", Status::NotFound),
        ("/ws", Status::NotFound),
        ("/websocket", Status::NotFound),
        ("/ocpp/..", Status::BadRequest),
        ("/ocpp/%2e%2E", Status::BadRequest),
        ("/ocpp/.", Status::BadRequest),
        ("/ocpp/a%2Fb", Status::BadRequest),
        ("/ocpp/a%5Cb", Status::BadRequest),
        ("/ocpp/a%00b", Status::BadRequest),
        ("/ocpp/a%0Ab", Status::BadRequest),
        ("/ocpp/a%7Fb", Status::BadRequest),
        ("/ocpp/%C2%85", Status::NotFound),
        ("/ocpp/a%C2%85", Status::BadRequest),
        ("/ocpp/%FF", Status::BadRequest),
    ] {
        let refusal = identity(target).expect_err(target);
        assert_eq!(refusal.status(), status, "{target}");
    }
}

#[test]
fn the_length_of_an_identity_depends_on_the_version() {
    for (version, max) in [(Version::V16, 255), (Version::V201, 48), (Version::V21, 48)] {
        assert_eq!(check_length(&"x".repeat(max), version), Ok(()));
        assert!(check_length(&"x".repeat(max + 1), version).is_err());
    }
}

#[test]
fn the_charger_s_order_of_subprotocols_decides() {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let offered = names(&["ocpp0.1", "ocpp2.0.1", "ocpp1.6"]);
    assert_eq!(
        negotiate(&offered, None),
        Ok((Version::V201, Some("ocpp2.0.1")))
    );
    let shouted = names(&["OCPP1.6"]);
    assert_eq!(
        negotiate(&shouted, None),
        Ok((Version::V16, Some("OCPP1.6")))
    );
    let unknown = names(&["ocpp0.1"]);
    let refusal = negotiate(&unknown, Some(Version::V16)).expect_err("none fits");
    assert!(
        refusal.sentence.contains("ocpp1.6, ocpp2.0.1, ocpp2.1"),
        "{}",
        refusal.sentence
    );
    assert_eq!(negotiate(&[], Some(Version::V16)), Ok((Version::V16, None)));
    assert!(negotiate(&[], None).is_err());
}

#[test]
fn quirk_05_a_colon_may_stand_in_password_or_identity() {
    assert_eq!(
        split_credentials(b"cp-1:a:b", "CP-1"),
        Some((&b"cp-1"[..], &b"a:b"[..]))
    );
    assert_eq!(
        split_credentials(b"a:b:pw", "A:B"),
        Some((&b"a:b"[..], &b"pw"[..]))
    );
    assert_eq!(
        split_credentials("ä:1:pw".as_bytes(), "Ä:1"),
        Some(("ä:1".as_bytes(), &b"pw"[..]))
    );
    assert_eq!(
        split_credentials(b"other:pw:x", "CP-1"),
        Some((&b"other"[..], &b"pw:x"[..]))
    );
    assert_eq!(split_credentials(b"nothing", "CP-1"), None);
    assert_eq!(
        split_credentials(b"CP-1:", "CP-1"),
        Some((&b"CP-1"[..], &b""[..]))
    );
}

#[test]
fn basic_credentials_are_decoded_with_and_without_padding() {
    for text in ["Basic Y3A6cHc=", "basic  Y3A6cHc", "BASIC Y3A6cHc="] {
        assert_eq!(
            authorization(text.as_bytes()),
            Authorization::Basic(b"cp:pw".to_vec()),
            "{text}"
        );
    }
    for text in ["Bearer Y3A6cHc=", "Digest x", "Ba", "BasicY3A6cHc="] {
        assert_eq!(
            authorization(text.as_bytes()),
            Authorization::OtherScheme,
            "{text}"
        );
    }
    for text in ["Basic \u{fffd}", "Basic Y3A6:HC", "Basic Y"] {
        assert_eq!(
            authorization(text.as_bytes()),
            Authorization::BrokenBase64,
            "{text}"
        );
    }
}

#[test]
fn deflate_is_agreed_to_without_context_and_with_windows_that_we_can_keep() {
    const AGREED: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (offer, agreed) in [
        ("permessage-deflate", Some(AGREED.to_owned())),
        (
            "permessage-deflate; client_max_window_bits",
            Some(AGREED.to_owned()),
        ),
        (
            "x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover",
            Some(AGREED.to_owned()),
        ),
        (
            "permessage-deflate; server_max_window_bits=10",
            Some(format!("{AGREED}; server_max_window_bits=10")),
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            Some(AGREED.to_owned()),
        ),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; unknown", None),
        (
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            None,
        ),
        ("", None),
    ] {
        assert_eq!(agree_deflate(offer), agreed, "{offer}");
    }
}
