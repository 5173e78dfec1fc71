//! Peers that guess passwords while chargers come back: that must not make the chargers wait longer.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

/// Addresses that guess; other ones than those of the chargers.
const ADDRESSES: u8 = 16;
/// Connections of each of them at a time.
const CONNECTIONS: u8 = 4;
/// Between two attempts of one connection: the flood is bounded at 3,200 attempts a second.
const PAUSE: Duration = Duration::from_millis(20);
/// An attempt without an answer is given up after this time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the peers were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    /// 401: the password was checked.
    pub(super) wrong: u64,
    /// Refused without a check, closed, not answered, or accepted before the gateway knew that a password is needed.
    pub(super) other: u64,
}

/// A thread with all of the peers. Dropping this stops them.
pub(super) struct Flood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    server: SocketAddr,
    charger: String,
    is_over: AtomicBool,
    wrong: AtomicU64,
    other: AtomicU64,
}

impl Flood {
    /// Begins to guess the password of `charger`, which must have one.
    pub(super) fn start(server: SocketAddr, charger: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            server,
            charger: charger.to_owned(),
            is_over: AtomicBool::new(false),
            wrong: AtomicU64::new(0),
            other: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime of the flood")?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || runtime.block_on(guess_all(of_thread)));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// What was answered so far.
    pub(super) fn answered(&self) -> Answered {
        Answered {
            wrong: self.shared.wrong.load(Relaxed),
            other: self.shared.other.load(Relaxed),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; its counts stay as they are.
            let _ = thread.join();
        }
    }
}

async fn guess_all(shared: Arc<Shared>) {
    let mut peers = tokio::task::JoinSet::new();
    for address in 0..ADDRESSES {
        for _ in 0..CONNECTIONS {
            let source = Ipv4Addr::new(127, 0, 9, address + 1);
            peers.spawn(guess(Arc::clone(&shared), source));
        }
    }
    let is_over = async {
        while !shared.is_over.load(Relaxed) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    // Dropping the peers closes their connections.
    is_over.await;
}

async fn guess(shared: Arc<Shared>, source: Ipv4Addr) {
    loop {
        let attempt = tokio::time::timeout(TIMEOUT, attempt(&shared, source)).await;
        match attempt {
            Ok(Ok(401)) => shared.wrong.fetch_add(1, Relaxed),
            Ok(Ok(_) | Err(_)) | Err(_) => shared.other.fetch_add(1, Relaxed),
        };
        tokio::time::sleep(PAUSE).await;
    }
}

/// One handshake with a password that was never tried before; returns the status.
async fn attempt(shared: &Shared, source: Ipv4Addr) -> io::Result<u16> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let mut stream = socket.connect(shared.server).await?;
    let (charger, server) = (&shared.charger, shared.server);
    let credentials = BASE64_STANDARD.encode(format!("{charger}:{:032x}", fastrand::u128(..)));
    let key = BASE64_STANDARD.encode(fastrand::u128(..).to_le_bytes());
    let request = format!(
        "GET /ocpp/{charger} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\
         Authorization: Basic {credentials}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    // "HTTP/1.1 401"
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await?;
    let status = std::str::from_utf8(&begin[9..]).ok();
    status
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn guesses_come_from_many_addresses_with_other_passwords_and_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flood = Flood::start(listener.local_addr().unwrap(), "CP-1").unwrap();
        let (mut addresses, mut passwords) = (Vec::new(), Vec::new());
        for number in 0..8 {
            let (mut socket, peer) = listener.accept().unwrap();
            addresses.push(peer.ip());
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 512];
                let count = socket.read(&mut piece).unwrap();
                head.extend_from_slice(&piece[..count]);
            }
            let head = String::from_utf8(head).unwrap();
            passwords.extend(
                head.lines()
                    .find(|line| line.starts_with("Authorization"))
                    .map(str::to_owned),
            );
            let status = if number % 2 == 0 { 401 } else { 503 };
            write!(socket, "HTTP/1.1 {status} x\r\n\r\n").unwrap();
        }
        addresses.sort_unstable();
        addresses.dedup();
        passwords.sort_unstable();
        passwords.dedup();
        assert!(addresses.len() > 1, "{addresses:?}");
        assert_eq!(passwords.len(), 8, "{passwords:?}");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while flood.answered().wrong < 4 || flood.answered().other < 4 {
            assert!(
                std::time::Instant::now() < deadline,
                "{:?}",
                flood.answered()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
