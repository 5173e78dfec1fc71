//! `HAProxy` and nginx in front of two gateways and of the API, with the examples of `packaging`. Only what belongs to this machine is
//! replaced in them: addresses, files, the user, numbers of connections. One more is the idle timeout, an hour there, so
//! that a test can wait for it.

use crate::charger::{Charger, Incoming, Stream};
use crate::deployment::Deployment;
use crate::handshake::send_handshake_on;
use rcgen::CertifiedKey;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testbed::{Process, spare_port, until};

const SOON: Duration = Duration::from_secs(30);
/// An address of this machine that no gateway trusts. The proxies connect from 127.0.0.1.
const CHARGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);
/// What a charger pretends to be, in the headers of both kinds.
const FORGED: &str = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n";
/// Four pings, so that a late one ends no connection on a busy machine.
const IDLE: Duration = Duration::from_secs(4);

/// How the proxy names the charger's address to the gateway.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    ProxyProtocol,
    Header,
}

/// `wattpost serve` with its own database, as one of two gateways.
struct Gateway {
    process: Process,
    ocpp: SocketAddr,
    http: SocketAddr,
    log: PathBuf,
}

impl Gateway {
    fn start(dir: &Path, name: &str, names: Names, ping_interval_s: u32) -> Self {
        let (ocpp, http) = (spare(), spare());
        let files = dir.join(name);
        std::fs::create_dir(&files).expect("create a directory");
        let settings = format!(
            "[gateway]\nping_interval_s = {ping_interval_s}\n[http]\nlisten = \"{http}\"\n\
             [journal]\nsegment_bytes = \"1MiB\"\n\
             [[gateway.listeners]]\naddress = \"{ocpp}\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
             proxy_protocol = {}\n",
            names == Names::ProxyProtocol
        );
        let program = Path::new(env!("CARGO_BIN_EXE_wattpost"));
        let deployment = testbed::Deployment::new(program, &files, &settings);
        let mut command = deployment.expect("write the settings").command("serve");
        command.arg("--data-dir").arg(files.join("data"));
        let log = files.join("log");
        let command = Process::wrap(&command).expect("setpriv is installed");
        let process = Process::start_until_ready(command, name, &log, SOON * 2, |line| {
            testbed::address_after(line, "http://").is_some()
        });
        Self {
            process: process.expect("start a gateway"),
            ocpp,
            http,
            log,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn has(&self, charger: &str) -> bool {
        self.address_of(charger).is_some()
    }

    /// The address of the charger's newest connection, as it is recorded.
    fn address_of(&self, charger: &str) -> Option<String> {
        let path = format!("/api/v1/chargers/{charger}/connections?limit=1");
        let (_, body) = testbed::http::get(self.http, &path).ok()?;
        let page: serde_json::Value = serde_json::from_str(&body).ok()?;
        Some(page["items"][0]["remote"].as_str()?.to_owned())
    }
}

/// What the proxy passes requests to.
#[derive(Clone, Copy)]
struct Behind {
    ocpp: [SocketAddr; 2],
    /// Health of the two gateways.
    health: [SocketAddr; 2],
    api: SocketAddr,
}

impl Behind {
    fn of(gateways: &[Gateway; 2]) -> Self {
        let [first, second] = gateways;
        Self {
            ocpp: [first.ocpp, second.ocpp],
            health: [first.http, second.http],
            api: first.http,
        }
    }
}

fn spare() -> SocketAddr {
    let port = spare_port().expect("a spare port");
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The addresses of the proxy, one without and one with TLS, and what a charger needs to verify its certificate.
struct Front {
    ws: SocketAddr,
    wss: SocketAddr,
    /// The API, with TLS.
    api: SocketAddr,
    tls: Arc<ClientConfig>,
    certificate: PathBuf,
    key: PathBuf,
    /// Certificate and key in one file.
    both: PathBuf,
}

impl Front {
    fn new(dir: &Path) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let file = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("write a file");
            path
        };
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            ws: spare(),
            wss: spare(),
            api: spare(),
            tls: Arc::new(tls),
            certificate: file("certificate.pem", cert.pem()),
            key: file("key.pem", signing_key.serialize_pem()),
            both: file("both.pem", cert.pem() + &signing_key.serialize_pem()),
        }
    }

    /// A charger with TLS, or one without. The error is the proxy's or the gateway's answer.
    fn try_connect(&self, charger: &str, with_tls: bool) -> Result<Charger, String> {
        let connected = match with_tls {
            false => connect_from(CHARGER, self.ws),
            true => connect_from(CHARGER, self.wss),
        };
        let socket = connected.map_err(|error| error.to_string())?;
        match with_tls {
            false => shake_hands(socket, charger),
            true => shake_hands(self.encrypt(socket), charger),
        }
    }

    fn encrypt(&self, socket: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.tls), name);
        StreamOwned::new(tls.expect("a client of TLS"), socket)
    }

    /// Sends a request to the API, and returns the connection.
    fn send(&self, method_and_path: &str, lines: &str, body: &str) -> impl Read {
        let socket = connect_from(CHARGER, self.api).expect("connects");
        let mut stream = self.encrypt(socket);
        let request = format!(
            "{method_and_path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{FORGED}{lines}\r\n{body}",
            self.api.port(),
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("writes");
        stream
    }

    /// Status and whole answer of a request to the API.
    fn request(&self, method_and_path: &str, lines: &str, body: &str) -> (u16, String) {
        let mut answer = Vec::new();
        let mut stream = self.send(method_and_path, lines, body);
        // The end of TCP without the end of TLS is an error, and everything has arrived then.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        (
            status.unwrap_or_else(|| panic!("no status in {answer:?}")),
            answer,
        )
    }

    /// As [`Front::try_connect`], until it succeeds.
    fn connect(&self, charger: &str, with_tls: bool) -> Charger {
        let mut last = Err("not tried".to_owned());
        until(SOON, || {
            last = self.try_connect(charger, with_tls);
            last.is_ok()
        });
        last.unwrap_or_else(|answer| panic!("{charger} was refused: {answer}"))
    }
}

fn shake_hands(mut socket: impl Stream + 'static, charger: &str) -> Result<Charger, String> {
    let head = send_handshake_on(&mut socket, charger, "ocpp1.6", FORGED);
    let head = head.map_err(|error| error.to_string())?;
    let has_subprotocol = head
        .to_ascii_lowercase()
        .contains("sec-websocket-protocol: ocpp1.6");
    match head.starts_with("HTTP/1.1 101") && has_subprotocol {
        true => Ok(Charger::on(socket)),
        false => Err(head),
    }
}

/// A connection whose own end has this address.
fn connect_from(own: Ipv4Addr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(own, 0))?;
    rustix::net::connect(&socket, &server)?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(15)))?;
    Ok(socket)
}

/// One of the examples, with what belongs to this machine replaced. Each text must be there.
fn adapt(example: &str, replacements: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../packaging")
        .join(example);
    let mut text = std::fs::read_to_string(&path).expect("read the example");
    for (old, new) in replacements {
        assert!(text.contains(old), "{example} has no {old:?}");
        text = text.replace(old, new);
    }
    text
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

/// Where Debian installs servers, which is in the search path of root only; else in the search path.
fn program(name: &str) -> PathBuf {
    let debian = Path::new("/usr/sbin").join(name);
    match debian.exists() {
        true => debian,
        false => PathBuf::from(name),
    }
}

/// Starts a proxy in the foreground and waits until it listens.
fn start_proxy(mut command: Command, name: &str, log: &Path, at: SocketAddr) -> Process {
    command.env_remove("NOTIFY_SOCKET");
    let command = Process::wrap(&command).expect("setpriv is installed");
    let process = Process::start(command, name, log).expect("start the proxy");
    let listens = until(SOON, || TcpStream::connect(at).is_ok());
    assert!(
        listens,
        "{name} does not listen; if it is missing, `make setup` installs it:\n{}",
        testbed::tail(log)
    );
    process
}

fn haproxy(
    dir: &Path,
    name: &str,
    front: &Front,
    behind: Behind,
    header: &str,
) -> (Process, PathBuf) {
    let gateway = |index: usize| {
        let (ocpp, health) = (behind.ocpp[index], behind.health[index].port());
        format!("{ocpp} port {health}")
    };
    let mut replacements = vec![
        ("bind :443", format!("bind {}", front.wss)),
        ("bind :80\n", format!("bind {}\n", front.ws)),
        ("bind :8443", format!("bind {}", front.api)),
        (
            "/etc/haproxy/wattpost.pem",
            front.both.display().to_string(),
        ),
        ("maxconn 60000", "maxconn 100".to_owned()),
        ("tunnel 1h", format!("tunnel {}", seconds(IDLE))),
        ("send-proxy-v2", header.to_owned()),
        ("10.0.0.11:9000 port 8081", gateway(0)),
        ("10.0.0.12:9000 port 8081", gateway(1)),
        ("10.0.0.13:8080", behind.api.to_string()),
    ];
    // Only root may change the user, and the tests need not be root.
    if !rustix::process::geteuid().is_root() {
        replacements.push(("    user haproxy\n    group haproxy\n", String::new()));
    }
    let settings = dir.join(format!("{name}.cfg"));
    std::fs::write(&settings, adapt("haproxy/haproxy.cfg", &replacements)).expect("write");
    let log = dir.join(format!("{name}.log"));
    let mut command = Command::new(program("haproxy"));
    // A master that reloads at SIGUSR2, as Debian's unit starts it.
    command.arg("-W").arg("-f").arg(&settings);
    let process = start_proxy(command, "haproxy", &log, front.ws);
    (process, log)
}

fn nginx(dir: &Path, front: &Front, behind: Behind) -> (Process, PathBuf) {
    let server = adapt(
        "nginx/wattpost.conf",
        &[
            ("listen 443 ssl", format!("listen {} ssl", front.wss)),
            ("listen 80 ", format!("listen {} ", front.ws)),
            ("listen 8443", format!("listen {}", front.api)),
            (
                "/etc/nginx/wattpost.pem",
                front.certificate.display().to_string(),
            ),
            (
                "/etc/nginx/wattpost-key.pem",
                front.key.display().to_string(),
            ),
            ("10.0.0.11:9000", behind.ocpp[0].to_string()),
            ("10.0.0.12:9000", behind.ocpp[1].to_string()),
            ("10.0.0.13:8080", behind.api.to_string()),
            ("read_timeout 1h", format!("read_timeout {}", seconds(IDLE))),
        ],
    );
    let home = dir.join("nginx");
    std::fs::create_dir(&home).expect("create a directory");
    std::fs::write(home.join("wattpost.conf"), server).expect("write");
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {}/{name};\n", home.display()))
        .collect();
    // What Debian's nginx.conf has around the files of conf.d.
    let user = match rustix::process::geteuid().is_root() {
        true => "user root;\n",
        false => "",
    };
    let whole = format!(
        "{user}daemon off;\nworker_processes 1;\npid {home}/pid;\nerror_log stderr notice;\nevents {{}}\n\
         http {{\n    access_log off;\n{paths}    include {home}/wattpost.conf;\n}}\n",
        home = home.display()
    );
    let settings = home.join("nginx.conf");
    std::fs::write(&settings, whole).expect("write");
    let log = dir.join("nginx.log");
    let mut command = Command::new(program("nginx"));
    command.args(["-e", "stderr"]).arg("-c").arg(&settings);
    let process = start_proxy(command, "nginx", &log, front.ws);
    (process, log)
}

fn boot(charger: &mut Charger, id: &str) {
    let payload = r#"{"chargePointVendor":"V","chargePointModel":"M"}"#;
    let answer = charger.call(id, "BootNotification", payload);
    assert_eq!(answer[2]["status"], "Accepted", "{answer}");
}

/// What must hold for each of the two proxies.
fn chargers_are_served_through(
    dir: TempDir,
    front: &Front,
    [mut pinging, silent]: [Gateway; 2],
    (proxy, log): (Process, PathBuf),
    reloads_with: Signal,
    has_reloaded: &str,
) {
    // One charger at each gateway, because the gateway with the fewest connections gets the next.
    let mut first = front.connect("CP-1", false);
    boot(&mut first, "1");
    let mut second = front.connect("CP-2", true);
    boot(&mut second, "1");
    let gateways = [&pinging, &silent];
    let is_split = until(SOON, || {
        let of_first = gateways.map(|gateway| gateway.has("CP-1"));
        of_first[0] != of_first[1]
            && gateways.map(|gateway| gateway.has("CP-2")) == [of_first[1], of_first[0]]
    });
    assert!(
        is_split,
        "one gateway has both; its log:\n{}",
        pinging.log()
    );
    let (mut lives, mut ends, lives_name) = match pinging.has("CP-1") {
        true => (first, second, "CP-1"),
        false => (second, first, "CP-2"),
    };

    // The chargers' own address is recorded, whatever they wrote into a header.
    for gateway in gateways {
        for charger in ["CP-1", "CP-2"] {
            if let Some(address) = gateway.address_of(charger) {
                assert!(
                    address.starts_with(&CHARGER.to_string()),
                    "{charger}: {address}"
                );
            }
        }
        assert!(!gateway.log().contains("203.0.113.9"), "{}", gateway.log());
    }

    // The proxy ends a connection without traffic. The pings of the gateway are traffic: no charger has answered one.
    let begun = Instant::now();
    let end = ends.receive();
    assert!(matches!(end, Incoming::End | Incoming::Close(_)), "{end:?}");
    assert!(
        begun.elapsed() < IDLE * 3,
        "the idle timeout is not that of the proxy"
    );
    let answer = lives.call("2", "Heartbeat", "{}");
    assert!(answer[2]["currentTime"].is_string(), "{answer}");

    // A reload of the proxy keeps the connection, and new ones are accepted.
    let pid = i32::try_from(proxy.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid");
    kill_process(pid, reloads_with).expect("the proxy runs");
    let reloaded = until(SOON, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains(has_reloaded)
    });
    assert!(reloaded, "no reload; log:\n{}", testbed::tail(&log));
    boot(&mut front.connect("CP-3", true), "1");
    let answer = lives.call("3", "Heartbeat", "{}");
    assert!(answer[2]["currentTime"].is_string(), "{answer}");

    // A gateway stops: its charger connects again, and the other gateway has it.
    pinging.process.ask_to_stop();
    let end = lives.receive();
    assert!(
        matches!(end, Incoming::End | Incoming::Close(1001)),
        "{end:?}"
    );
    let mut moved = front.connect(lives_name, true);
    boot(&mut moved, "4");
    assert!(until(SOON, || silent.has(lives_name)), "{}", silent.log());
    pinging.process.terminate(SOON).expect("it stops");
    drop(dir);
}

/// The answer to a handshake of a peer that begins with these bytes, and is no proxy of the gateway.
fn answer_to(own: Ipv4Addr, gateway: &Gateway, begin: &str, charger: &str) -> String {
    let mut socket = connect_from(own, gateway.ocpp).expect("connects");
    socket.write_all(begin.as_bytes()).expect("writes");
    let head = send_handshake_on(&mut socket, charger, "ocpp1.6", FORGED).expect("an answer");
    // Its address is recorded while the connection is open.
    if head.starts_with("HTTP/1.1 101") {
        let expected = own.to_string();
        let is_own = until(SOON, || {
            let address = gateway.address_of(charger);
            address.is_some_and(|address| address.starts_with(&expected))
        });
        assert!(is_own, "{charger}: {:?}", gateway.address_of(charger));
    }
    head
}

#[test]
fn haproxy_passes_chargers_to_two_gateways_with_their_addresses() {
    let dir = tempfile::tempdir().expect("create a temporary directory");
    let front = Front::new(dir.path());
    let start = |name, interval| Gateway::start(dir.path(), name, Names::ProxyProtocol, interval);
    let gateways = [start("pinging", 1), start("silent", 600)];

    // Of a peer that is not trusted neither header counts; the trusted one must send its own.
    let head = answer_to(
        CHARGER,
        &gateways[0],
        "PROXY TCP4 203.0.113.9 203.0.113.1 1 2\r\n",
        "CP-8",
    );
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let head = answer_to(Ipv4Addr::LOCALHOST, &gateways[0], "", "CP-9");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");

    // Version 1 of the PROXY protocol, then version 2 as in the example.
    let other = Front::new(&{
        let path = dir.path().join("v1");
        std::fs::create_dir(&path).expect("create a directory");
        path
    });
    let (proxy, _) = haproxy(
        dir.path(),
        "v1",
        &other,
        Behind::of(&gateways),
        "send-proxy",
    );
    let mut charger = other.connect("CP-7", true);
    boot(&mut charger, "1");
    let is_own = until(SOON, || {
        let addresses = [0, 1].map(|index| gateways[index].address_of("CP-7"));
        let expected = CHARGER.to_string();
        addresses
            .iter()
            .flatten()
            .any(|address| address.starts_with(&expected))
    });
    assert!(
        is_own,
        "the log of HAProxy:\n{}",
        testbed::tail(&dir.path().join("v1.log"))
    );
    drop((charger, proxy));

    let proxy = haproxy(
        dir.path(),
        "v2",
        &front,
        Behind::of(&gateways),
        "send-proxy-v2",
    );
    chargers_are_served_through(
        dir,
        &front,
        gateways,
        proxy,
        Signal::USR2,
        "Proxy ws stopped",
    );
}

#[test]
fn nginx_passes_chargers_to_two_gateways_with_their_addresses() {
    let dir = tempfile::tempdir().expect("create a temporary directory");
    let front = Front::new(dir.path());
    let start = |name, interval| Gateway::start(dir.path(), name, Names::Header, interval);
    let gateways = [start("pinging", 1), start("silent", 600)];

    let head = answer_to(CHARGER, &gateways[0], "", "CP-8");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");

    let proxy = nginx(dir.path(), &front, Behind::of(&gateways));
    chargers_are_served_through(
        dir,
        &front,
        gateways,
        proxy,
        Signal::HUP,
        "gracefully shutting down",
    );
}

/// The API and the dashboard through one of the two proxies.
fn api_is_served_through(front: &Front, deployment: &Deployment, key: &str, charger: &str) {
    for path in ["/metrics", "/health/ready", "/health"] {
        let (status, answer) = front.request(&format!("GET {path}"), "", "");
        assert_eq!(status, 404, "{path}: {answer}");
    }
    for path in ["/%6detrics", "//metrics", "/metrics/", "/x/../metrics"] {
        let (_, answer) = front.request(&format!("GET {path}"), "", "");
        assert!(!answer.contains("wattpost_gateway_"), "{path}: {answer}");
    }
    let (status, answer) = front.request("GET /api/v1/chargers", "", "");
    assert_eq!(status, 401, "{answer}");

    // A browser signs in: its origin is the proxy, and its cookie is for TLS only.
    let origin = format!("Origin: https://localhost:{}\r\n", front.api.port());
    let body = format!("{{\"key\": \"{key}\"}}");
    let (status, answer) = front.request("POST /api/v1/session", &origin, &body);
    assert_eq!(status, 201, "{answer}");
    let cookie = answer
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("set-cookie: "))
        .unwrap_or_else(|| panic!("no cookie: {answer}"));
    assert!(cookie.contains("; Secure"), "{cookie}");
    let cookie = cookie.split([' ', ';']).nth(1).expect("a cookie");
    let cookie = format!("Cookie: {cookie}\r\n");
    let (status, answer) = front.request("GET /api/v1/chargers", &cookie, "");
    assert_eq!(status, 200, "{answer}");

    // Events arrive while the stream is open.
    let lines = format!("Accept: text/event-stream\r\n{cookie}");
    let mut stream = front.send("GET /api/v1/events", &lines, "");
    let mut seen = String::new();
    let mut read_until = |word: &str| {
        let begun = Instant::now();
        let mut chunk = [0; 4096];
        while !seen.contains(word) {
            assert!(begun.elapsed() < SOON, "no {word:?} in {seen}");
            let read = stream.read(&mut chunk).expect("the stream is open");
            assert!(read > 0, "the stream has ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
    };
    read_until("text/event-stream");
    let connected = Charger::connect(deployment.ocpp, charger, "ocpp1.6");
    read_until(charger);
    drop(connected);

    // One client does not use up the attempts to sign in.
    let wrong = "{\"key\": \"wp_live_wrong\"}";
    let statuses: Vec<u16> = (0..12)
        .map(|_| front.request("POST /api/v1/session", &origin, wrong).0)
        .collect();
    assert_eq!(statuses.first(), Some(&401), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
}

#[test]
fn api_is_served_through_haproxy_and_nginx() {
    let deployment = Deployment::start("");
    let added = deployment.run("apikey add", &["test", "--scope", "admin"]);
    let key = added
        .split_whitespace()
        .find(|word| word.starts_with("wp_live_"))
        .unwrap_or_else(|| panic!("no key in {added:?}"));
    // The process reads the keys every 5 s.
    let is_closed = until(SOON, || {
        let answer = testbed::http::get(deployment.http, "/api/v1/chargers");
        answer.is_ok_and(|(status, _)| status == 401)
    });
    assert!(is_closed, "{}", deployment.log_tail());

    let dir = tempfile::tempdir().expect("create a temporary directory");
    let front = Front::new(dir.path());
    let behind = Behind {
        ocpp: [deployment.ocpp; 2],
        health: [deployment.http; 2],
        api: deployment.http,
    };
    let (proxy, _) = haproxy(dir.path(), "haproxy", &front, behind, "send-proxy-v2");
    api_is_served_through(&front, &deployment, key, "CP-1");
    drop(proxy);
    let (proxy, _) = nginx(dir.path(), &front, behind);
    api_is_served_through(&front, &deployment, key, "CP-2");
    drop(proxy);
}
