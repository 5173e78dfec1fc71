use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// A receiver: what each connection does after it has read the whole request, which has the body `{}`.
#[derive(Debug, Clone, Copy)]
enum Receiver {
    /// Writes this, then ends the connection.
    Answers(&'static str),
    /// Writes nothing.
    Hangs,
    /// Writes the head, then this again and again.
    SendsForEver(&'static str),
    /// Writes the first text, then the second again and again, with a pause.
    Trickles(&'static str, &'static str),
    /// Writes this again and again without a pause, and counts the bytes.
    Floods(&'static str, &'static AtomicU64),
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const LIMIT: Duration = Duration::from_millis(500);

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n{}") {
        let mut bytes = [0; 1_024];
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(count) => read.extend_from_slice(&bytes[..count]),
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), receiver: Receiver) {
    match receiver {
        Receiver::Answers(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Receiver::Hangs => std::future::pending().await,
        Receiver::SendsForEver(part) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(part.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Receiver::Trickles(first, then) => {
            let _ = stream.write_all(first.as_bytes()).await;
            while stream.write_all(then.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Receiver::Floods(part, written) => {
            let parts = part.repeat(100);
            while stream.write_all(parts.as_bytes()).await.is_ok() {
                written.fetch_add(parts.len() as u64, Ordering::SeqCst);
            }
        }
    }
}

/// Starts a receiver; returns its port, and the requests that it has read.
async fn start(receiver: Receiver) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let _ = seen.send(read_request(&mut stream).await);
                answer(&mut stream, receiver).await;
            });
        }
    });
    (port, requests)
}

fn config() -> ClientConfig {
    ClientConfig {
        reach: Reach {
            allow_http: true,
            allowed_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        },
        connect_timeout: LIMIT,
        timeout: LIMIT,
        ca_file: None,
    }
}

fn message() -> Message {
    Message {
        id: "the-id".to_owned(),
        timestamp_s: 1_769_860_802,
        signature: "v1,the-signature".to_owned(),
        body: Bytes::from_static(b"{}"),
        secrets: vec![WebhookSecret::from_random([0xfb; 32])],
    }
}

async fn send(config: ClientConfig, url: &str) -> Attempted {
    let client = Client::new(config).expect("a client");
    client.send(url, &message()).await
}

async fn send_to(receiver: Receiver) -> Attempted {
    let (port, _requests) = start(receiver).await;
    send(config(), &format!("http://127.0.0.1:{port}/hook")).await
}

#[tokio::test]
async fn request_has_the_headers_of_standard_webhooks() {
    let (port, mut requests) = start(Receiver::Answers(OK)).await;
    let attempted = send(config(), &format!("http://127.0.0.1:{port}/hook?a=b")).await;
    assert!(attempted.is_success(), "{attempted:?}");
    assert_eq!(attempted.answer, "fine");
    let request = requests.recv().await.expect("a request");
    let lines: Vec<&str> = request.split("\r\n").collect();
    assert_eq!(lines[0], "POST /hook?a=b HTTP/1.1");
    for header in [
        format!("host: 127.0.0.1:{port}"),
        "content-type: application/json".to_owned(),
        "webhook-id: the-id".to_owned(),
        "webhook-timestamp: 1769860802".to_owned(),
        "webhook-signature: v1,the-signature".to_owned(),
        "content-length: 2".to_owned(),
    ] {
        assert!(lines.contains(&header.as_str()), "{header} in {request}");
    }
}

#[tokio::test]
async fn receiver_that_hangs_costs_a_bounded_time() {
    let attempted = send_to(Receiver::Hangs).await;
    assert_eq!(attempted.status, None);
    assert_eq!(attempted.error.as_deref(), Some("no answer within 0.5 s"));
    assert!(attempted.took < LIMIT * 4, "{attempted:?}");
}

#[tokio::test]
async fn body_that_never_ends_is_cut_and_its_status_counts() {
    let attempted = send_to(Receiver::SendsForEver("0123456789abcdef0123456789abcdef")).await;
    assert!(attempted.is_success(), "{attempted:?}");
    assert_eq!(attempted.answer.len(), ANSWER_BYTES);
    let slow = send_to(Receiver::SendsForEver("a")).await;
    assert!(slow.is_success(), "{slow:?}");
    assert!(slow.answer.len() < ANSWER_BYTES, "{slow:?}");
    assert!(slow.took < ANSWER_TIME + LIMIT * 2, "{slow:?}");
}

#[tokio::test]
async fn error_of_a_receiver_is_bounded() {
    let mut names = vec!["other.example".to_owned()];
    names.extend((0..2_000).map(|n| format!("name-{n}.example")));
    let (port, authority) = start_tls(names).await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority).expect("a file");
    let config = ClientConfig {
        ca_file: Some(ca_file),
        timeout: LIMIT * 10,
        ..config()
    };
    let attempted = send(config, &format!("https://127.0.0.1:{port}/")).await;
    let error = attempted.error.expect("an error");
    assert!(error.contains("name"), "{error}");
    assert!(error.len() <= ANSWER_BYTES * 3, "{} bytes", error.len());
}

#[test]
fn secrets_are_hidden_in_what_a_receiver_answers() {
    let message = message();
    let hidden = |text: &str| message.hide_in(text.to_owned());
    let secret = message.secrets[0].expose();
    let digits = secret.trim_start_matches("whsec_");
    let of_urls = digits.replace('+', "-").replace('/', "_");
    assert_ne!(of_urls, digits);
    for text in [
        secret.as_str(),
        digits,
        digits.trim_end_matches('='),
        &of_urls,
    ] {
        let said = hidden(&format!("wrong key {text}, sorry {text}"));
        assert!(said.matches("***").count() == 2, "{said}");
        assert!(
            !said.contains(&digits[..8]) && !said.contains(&of_urls[..8]),
            "{said}"
        );
        for cut in [13, 24] {
            let said = hidden(&format!("wrong key {}", &text[..cut]));
            assert!(
                said.ends_with("***") && !said.contains(&digits[..6]),
                "{said}"
            );
        }
    }
    assert_eq!(hidden("fine whsec_"), "fine whsec_");
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let (elsewhere, mut requests) = start(Receiver::Answers(OK)).await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
    );
    let attempted = send_to(Receiver::Answers(answer.leak())).await;
    assert_eq!(attempted.status, Some(307));
    assert!(!attempted.is_success());
    assert!(requests.try_recv().is_err(), "the redirect was followed");
}

#[tokio::test]
async fn answer_that_is_no_http_or_too_long_is_an_error() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
        "a".repeat(2 * HEAD_BYTES)
    );
    for answer in ["SSH-2.0-x\r\n\r\n", "", long.leak()] {
        let attempted = send_to(Receiver::Answers(answer)).await;
        assert_eq!(attempted.status, None, "{attempted:?}");
        assert!(attempted.error.is_some(), "{attempted:?}");
    }
}

#[tokio::test]
async fn answer_is_shown_without_control_characters() {
    let attempted = send_to(Receiver::Answers(
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 8\r\n\r\na\0b\nc\u{1b}[m",
    ))
    .await;
    assert_eq!(
        (attempted.status, attempted.answer.as_str()),
        (Some(400), "a b c [m")
    );
}

#[tokio::test]
async fn name_of_a_private_address_is_refused_before_anything_is_sent() {
    let (port, mut requests) = start(Receiver::Answers(OK)).await;
    let mut config = config();
    config.reach.allowed_networks.clear();
    // A name passes the check of the URL; its address does not.
    let url = format!("http://localhost:{port}/");
    assert!(config.reach.target(&url).is_ok());
    let attempted = send(config, &url).await;
    let error = attempted.error.expect("it is refused");
    assert!(error.contains("is not a public one"), "{error}");
    assert!(error.contains("webhooks.allowed_networks"), "{error}");
    assert!(requests.try_recv().is_err(), "it was reached");
}

#[tokio::test]
async fn closed_port_is_an_error_that_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let attempted = send(config(), &format!("http://127.0.0.1:{port}/secret-path")).await;
    let error = attempted.error.expect("nothing listens");
    assert!(
        error.contains(&format!("failed to connect to 127.0.0.1:{port}")),
        "{error}"
    );
    assert!(!error.contains("secret-path"), "{error}");
}

/// Starts a receiver with a certificate of its own for these names; returns its port and the certificate.
async fn start_tls(names: Vec<String>) -> (u16, String) {
    let own = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                read_request(&mut stream).await;
                answer(&mut stream, Receiver::Answers(OK)).await;
            }
        }
    });
    (port, own.cert.pem())
}

#[tokio::test]
async fn certificate_must_be_of_a_known_authority_and_of_the_host() {
    let (port, own) = start_tls(vec!["localhost".to_owned()]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, own).expect("a file");
    let trusting = ClientConfig {
        ca_file: Some(ca_file.clone()),
        ..config()
    };
    let right = send(trusting.clone(), &format!("https://localhost:{port}/")).await;
    assert!(right.is_success(), "{right:?}");
    let other_host = send(trusting, &format!("https://127.0.0.1:{port}/")).await;
    let error = other_host.error.expect("another host");
    assert!(error.contains("TLS with 127.0.0.1"), "{error}");

    std::fs::write(&ca_file, "no certificate").expect("a file");
    let wrong = ClientConfig {
        ca_file: Some(ca_file),
        ..config()
    };
    let error = Client::new(wrong).err().expect("no certificate");
    assert!(error.contains("webhooks.ca_file"), "{error}");
}

#[tokio::test]
async fn head_that_comes_byte_by_byte_is_not_waited_for() {
    for trickles in [
        Receiver::Trickles("", "H"),
        Receiver::Trickles("HTTP/1.1 200 OK\r\nx: ", "a"),
        Receiver::Trickles("HTTP/1.1 200 OK\r\n", "x: a\r\n"),
        Receiver::Trickles("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ] {
        let attempted = send_to(trickles).await;
        assert_eq!(attempted.status, None, "{trickles:?}: {attempted:?}");
        assert!(attempted.error.is_some(), "{trickles:?}: {attempted:?}");
        assert!(attempted.took < LIMIT * 4, "{trickles:?}: {attempted:?}");
    }
}

#[tokio::test]
async fn receiver_that_floods_is_cut_off_after_a_bounded_number_of_bytes() {
    static INTERIM: AtomicU64 = AtomicU64::new(0);
    static HEADERS: AtomicU64 = AtomicU64::new(0);
    // What the kernel buffers on both sides comes on top of what is read.
    const BUFFERED: u64 = 16 * 1_024 * 1_024;
    for (part, written) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", &INTERIM),
        ("HTTP/1.1 200 OK\r\nx: a\r\ny: b\r\n", &HEADERS),
    ] {
        let (port, _requests) = start(Receiver::Floods(part, written)).await;
        let config = ClientConfig {
            timeout: LIMIT * 100,
            ..config()
        };
        let attempted = send(config, &format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(attempted.status, None, "{attempted:?}");
        assert!(attempted.error.is_some(), "{attempted:?}");
        assert!(attempted.took < LIMIT * 40, "{attempted:?}");
        let written = written.load(Ordering::SeqCst);
        assert!(written < RECEIVED_BYTES + BUFFERED, "{written} bytes");
    }
}

#[tokio::test]
async fn body_without_an_end_is_not_read_to_its_end() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
    let attempted = send_to(Receiver::Trickles(head, "0123456789".repeat(1_000).leak())).await;
    assert!(attempted.is_success(), "{attempted:?}");
    assert_eq!(attempted.answer.len(), ANSWER_BYTES);
    assert!(attempted.took < ANSWER_TIME, "{attempted:?}");
}

/// Sends to a name that is resolved by these answers, one after the other; returns also how often it was resolved.
async fn send_to_name(
    config: ClientConfig,
    port: u16,
    attempts: usize,
    answers: Vec<&'static str>,
) -> (Vec<Attempted>, usize) {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let lookup = move |_: &str| -> std::io::Result<Vec<SocketAddr>> {
        let mut asked = common::lock::lock(&count);
        let answer = answers[*asked % answers.len()];
        *asked += 1;
        let address = |address: &str| SocketAddr::new(address.parse().expect("an address"), 0);
        Ok(answer.split(' ').map(address).collect())
    };
    let client = Client::with_lookup(config, Arc::new(lookup)).expect("a client");
    let mut attempted = Vec::new();
    for _ in 0..attempts {
        let url = format!("http://rebinds.example:{port}/");
        attempted.push(client.send(&url, &message()).await);
    }
    let asked = *common::lock::lock(&asked);
    (attempted, asked)
}

#[tokio::test]
async fn address_that_was_checked_is_the_one_that_is_connected_to() {
    let (port, mut requests) = start(Receiver::Answers(OK)).await;
    let mut config = config();
    config.reach.allowed_networks = vec!["127.0.0.2/32".parse().expect("a network")];
    // The name has a permitted address when it is checked, and a private one when it is asked for again.
    let answers = vec!["127.0.0.2", "127.0.0.1"];
    let (attempted, asked) = send_to_name(config.clone(), port, 2, answers).await;
    assert_eq!(asked, 2, "each attempt asks once");
    // The receiver listens on the private address only.
    let first = attempted[0].error.as_deref().expect("nothing listens");
    assert!(first.contains("failed to connect to 127.0.0.2"), "{first}");
    let second = attempted[1].error.as_deref().expect("it is refused");
    assert!(second.contains("127.0.0.1 is not a public one"), "{second}");

    // Among the addresses of one answer, those that are not public are passed over.
    let mixed = vec!["169.254.169.254 127.0.0.1 ::1 127.0.0.2"];
    let (attempted, _) = send_to_name(config, port, 1, mixed).await;
    let error = attempted[0].error.as_deref().expect("nothing listens");
    assert!(error.contains("failed to connect to 127.0.0.2"), "{error}");
    assert!(requests.try_recv().is_err(), "it was reached");
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let (port, mut requests) = start(Receiver::Answers(OK)).await;
    let mut config = config();
    config.reach.allowed_networks.clear();
    for host in [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "[::ffff:127.0.0.1]",
        "[::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ] {
        let attempted = send(config.clone(), &format!("http://{host}:{port}/")).await;
        let error = attempted.error.expect("it is refused");
        assert!(error.contains("is not a public one"), "{host}: {error}");
    }
    assert!(requests.try_recv().is_err(), "it was reached");
}

#[tokio::test]
async fn name_that_is_never_resolved_costs_a_bounded_time_and_no_other_attempt() {
    let (port, _requests) = start(Receiver::Answers(OK)).await;
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let lookup = move |name: &str| -> std::io::Result<Vec<SocketAddr>> {
        if name == "hangs.example" {
            let _ = common::lock::lock(&ended).recv();
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
    };
    let client = Client::with_lookup(config(), Arc::new(lookup)).expect("a client");
    let client = Arc::new(client);
    let hanging = Arc::clone(&client);
    let hanging = tokio::spawn(async move {
        let url = format!("http://hangs.example:{port}/");
        hanging.send(&url, &message()).await
    });
    let url = format!("http://other.example:{port}/");
    let other = client.send(&url, &message()).await;
    assert!(other.is_success(), "{other:?}");
    let hanging = hanging.await.expect("no panic");
    assert_eq!(
        hanging.error.as_deref(),
        Some("the name is not resolved within 0.5 s")
    );
    assert!(hanging.took < LIMIT * 4, "{hanging:?}");
    drop(end);
}
