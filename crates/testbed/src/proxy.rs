//! A TCP proxy that behaves like a faulty network: it can delay traffic, drop it silently, or break connections.
//!
//! The silent drop behaves like a network that drops packets: connections stay open, the sender can write until its
//! buffers are full, and there is no error. When the network is restored, the bytes arrive.

use anyhow::Context as _;
use common::lock::lock;
use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const ACCEPT_POLL_INTERVAL: Duration = Duration::from_millis(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CHUNK_BYTES: usize = 64 * 1024;

/// A proxy on 127.0.0.1. Dropping it breaks all its connections and stops listening.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    BlackHole,
    Cut,
    /// The proxy has been dropped.
    Closed,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    /// The delay of a round trip: minimum and maximum, in microseconds.
    delay_us: [AtomicU64; 2],
    /// The number of delayed pieces.
    delayed: AtomicU64,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Both sockets of each connection, for [`Proxy::cut`].
    streams: Vec<(u64, TcpStream)>,
    next_id: u64,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards connections to `target`, which does not need to listen yet.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::spare_port()?));
        let listener = listen(addr).context("listen as a proxy")?;
        let state = State {
            mode: Mode::Forward,
            streams: Vec::new(),
            next_id: 0,
        };
        let shared = Arc::new(Shared {
            target,
            state: Mutex::new(state),
            changed: Condvar::new(),
            delay_us: [AtomicU64::new(0), AtomicU64::new(0)],
            delayed: AtomicU64::new(0),
        });
        let for_accept = Arc::clone(&shared);
        std::thread::spawn(move || accept(&for_accept, addr, Some(listener)));
        Ok(Self { addr, shared })
    }

    /// The address to connect to; it never changes.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Drops all bytes silently from now on: connections stay open and new ones are accepted, but nothing is forwarded.
    /// Ends with [`Proxy::restore`], which forwards the held bytes, or with [`Proxy::cut`].
    pub fn black_hole(&self) {
        self.shared.set_mode(Mode::BlackHole);
    }

    /// Delays each round trip from now on by a random time from `least` to `most`, half of it in each direction. Each
    /// direction forwards one piece of at most 64 KiB at a time, so the delay limits the throughput too. Zero ends it.
    pub fn delay(&self, least: Duration, most: Duration) {
        for (bound, value) in self.shared.delay_us.iter().zip([least, most.max(least)]) {
            let value = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
            bound.store(value, Ordering::Relaxed);
        }
    }

    /// The number of pieces that [`Proxy::delay`] has delayed so far.
    pub fn delayed(&self) -> u64 {
        self.shared.delayed.load(Ordering::Relaxed)
    }

    /// Breaks all connections and refuses new ones, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.shared.set_mode(Mode::Cut);
    }

    /// Forwards everything again. After a cut, new connections are accepted within milliseconds, not immediately.
    pub fn restore(&self) {
        self.shared.set_mode(Mode::Forward);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set_mode(Mode::Closed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn set_mode(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        if matches!(mode, Mode::Cut | Mode::Closed) {
            for (_, stream) in state.streams.drain(..) {
                reset(&stream);
            }
        }
        self.changed.notify_all();
    }

    /// Waits until the black hole ends; returns whether bytes are forwarded then.
    fn wait_forward(&self) -> bool {
        let state = self.state();
        let state = self
            .changed
            .wait_while(state, |state| state.mode == Mode::BlackHole)
            .unwrap_or_else(PoisonError::into_inner);
        state.mode == Mode::Forward
    }

    /// Waits for half of a round trip's delay.
    fn delay_piece(&self) {
        let [least, most] = self
            .delay_us
            .each_ref()
            .map(|us| us.load(Ordering::Relaxed));
        if most == 0 {
            return;
        }
        self.delayed.fetch_add(1, Ordering::Relaxed);
        let delay = Duration::from_micros(fastrand::u64(least..=most.max(least)) / 2);
        std::thread::sleep(delay);
    }

    /// Registers both sockets of a connection, so that [`Shared::set_mode`] can break them; none if they must be broken
    /// now.
    fn register(&self, ends: [&TcpStream; 2]) -> std::io::Result<Option<u64>> {
        let mut state = self.state();
        if matches!(state.mode, Mode::Cut | Mode::Closed) {
            return Ok(None);
        }
        let id = state.next_id;
        state.next_id += 1;
        for end in ends {
            state.streams.push((id, end.try_clone()?));
        }
        Ok(Some(id))
    }

    fn unregister(&self, id: u64) {
        self.state().streams.retain(|(other, _)| *other != id);
    }
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts connections. During a cut there is no listener, so the kernel refuses connections.
fn accept(shared: &Arc<Shared>, addr: SocketAddr, mut listener: Option<TcpListener>) {
    loop {
        let mode = shared.state().mode;
        match (mode, &listener) {
            (Mode::Closed, _) => return,
            (Mode::Cut, _) => listener = None,
            (_, None) => match listen(addr) {
                Ok(opened) => listener = Some(opened),
                Err(error) => tracing::debug!(%addr, %error, "the proxy cannot listen again yet"),
            },
            (_, Some(open)) => match open.accept() {
                Ok((client, _)) => {
                    let shared = Arc::clone(shared);
                    std::thread::spawn(move || forward(&shared, client));
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => tracing::debug!(%addr, %error, "the proxy cannot accept"),
            },
        }
        std::thread::sleep(ACCEPT_POLL_INTERVAL);
    }
}

/// Forwards one connection until it ends.
fn forward(shared: &Arc<Shared>, client: TcpStream) {
    if !shared.wait_forward() {
        reset(&client);
        return;
    }
    let Ok(server) = TcpStream::connect_timeout(&shared.target, CONNECT_TIMEOUT) else {
        reset(&client);
        return;
    };
    if let Err(error) = forward_between(shared, &client, &server) {
        tracing::debug!(%error, "a connection through the proxy broke");
    }
    reset(&client);
    reset(&server);
}

fn forward_between(
    shared: &Arc<Shared>,
    client: &TcpStream,
    server: &TcpStream,
) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let Some(id) = shared.register([client, server])? else {
        return Ok(());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| copy(shared, server, client));
        copy(shared, client, server);
    });
    shared.unregister(id);
    Ok(())
}

/// Copies one direction until its end, then shuts down the other side.
fn copy(shared: &Shared, mut from: &TcpStream, mut to: &TcpStream) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).unwrap_or(0);
        // The mode is checked after the read: bytes that arrive during a black hole wait here and in the kernel's buffers.
        if count > 0 {
            shared.delay_piece();
        }
        if !shared.wait_forward()
            || count == 0
            || to.write_all(chunk.get(..count).unwrap_or(&[])).is_err()
        {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

/// Resets a connection (RST): blocked reads and writes return.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy before an echo server.
    fn proxied_echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let target = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        Proxy::start(target).expect("a proxy")
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            match TcpStream::connect(proxy.addr()) {
                Ok(stream) => {
                    stream
                        .set_read_timeout(Some(Duration::from_millis(300)))
                        .expect("a timeout");
                    return stream;
                }
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(ACCEPT_POLL_INTERVAL);
        }
    }

    fn echo(mut stream: &TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back)?;
        Ok(back)
    }

    /// Replaces the short read timeout of [`connect`].
    fn set_long_timeout(stream: &TcpStream) {
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
    }

    #[test]
    fn bytes_are_forwarded_in_both_directions() {
        let proxy = proxied_echo();
        let stream = connect(&proxy);
        set_long_timeout(&stream);
        assert_eq!(echo(&stream, b"hello").expect("an echo"), b"hello");
    }

    #[test]
    fn delay_applies_to_a_round_trip_until_it_is_set_to_zero() {
        let proxy = proxied_echo();
        let stream = connect(&proxy);
        set_long_timeout(&stream);
        echo(&stream, b"warm").expect("an echo");
        assert_eq!(proxy.delayed(), 0);
        proxy.delay(Duration::from_millis(40), Duration::from_millis(60));
        let began = std::time::Instant::now();
        for _ in 0..5 {
            assert_eq!(echo(&stream, b"hello").expect("an echo"), b"hello");
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
        assert_eq!(proxy.delayed(), 10);
        proxy.delay(Duration::ZERO, Duration::ZERO);
        assert_eq!(echo(&stream, b"hello").expect("an echo"), b"hello");
        assert_eq!(proxy.delayed(), 10);
    }

    #[test]
    fn black_hole_holds_bytes_until_it_is_restored() {
        let proxy = proxied_echo();
        let before = connect(&proxy);
        set_long_timeout(&before);
        echo(&before, b"warm").expect("an echo");
        before
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");

        proxy.black_hole();
        let after = connect(&proxy);
        for stream in [&before, &after] {
            let error = echo(stream, b"anybody?").expect_err("no answer");
            assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            );
        }

        proxy.restore();
        for mut stream in [&before, &after] {
            set_long_timeout(stream);
            let mut back = [0; 8];
            stream.read_exact(&mut back).expect("the held bytes");
            assert_eq!(&back, b"anybody?");
        }
    }

    #[test]
    fn cut_breaks_connections_and_refuses_new_ones_until_it_is_restored() {
        let proxy = proxied_echo();
        let mut stream = connect(&proxy);
        set_long_timeout(&stream);
        echo(&stream, b"warm").expect("an echo");

        proxy.cut();
        assert!(
            !matches!(stream.read(&mut [0]), Ok(1..)),
            "nothing but an end comes through"
        );
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(proxy.addr()).is_ok() {
            assert!(
                std::time::Instant::now() < deadline,
                "the proxy still listens"
            );
            std::thread::sleep(ACCEPT_POLL_INTERVAL);
        }

        proxy.restore();
        let stream = connect(&proxy);
        set_long_timeout(&stream);
        assert_eq!(echo(&stream, b"again").expect("an echo"), b"again");
    }

    #[test]
    fn cut_breaks_connections_in_a_black_hole_too() {
        let proxy = proxied_echo();
        proxy.black_hole();
        let mut stream = connect(&proxy);
        set_long_timeout(&stream);
        stream.write_all(b"anybody?").expect("it takes bytes");
        proxy.cut();
        assert!(
            !matches!(stream.read(&mut [0]), Ok(1..)),
            "nothing but an end comes through"
        );
    }
}
