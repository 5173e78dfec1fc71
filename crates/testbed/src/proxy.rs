//! A TCP proxy that can be broken and mended.
//!
//! It stands between two parts and does to their connections what a network does: nothing, take its time, swallow
//! everything in silence, or break. The silence is the interesting one. As on a real network that drops packets, the sender's bytes
//! are taken until its buffers are full, nothing is answered, nobody is told; and when the network is back, what was
//! under way arrives.

use anyhow::Context as _;
use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const ACCEPT_POLL: Duration = Duration::from_millis(5);
const CONNECT_MAX: Duration = Duration::from_secs(2);
const CHUNK_BYTES: usize = 64 * 1024;

/// A breakable proxy on 127.0.0.1. Dropping it breaks all its connections and stops listening.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Clear,
    BlackHole,
    Cut,
    /// The proxy has been dropped.
    Over,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    /// What a round trip takes longer, from and to, in microseconds.
    delay_us: [AtomicU64; 2],
    /// Pieces that were held back for that.
    delayed: AtomicU64,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    /// Both ends of what runs through us, to be broken by [`Proxy::cut`].
    streams: Vec<(u64, TcpStream)>,
    next_id: u64,
}

impl Proxy {
    /// Listens on a spare port of 127.0.0.1 and passes everything on to `target` (which need not be there yet).
    ///
    /// # Errors
    ///
    /// There is no spare port.
    pub fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::spare_port()?));
        let listener = listen(addr).context("listen as a proxy")?;
        let state = State {
            weather: Weather::Clear,
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
        let door = Arc::clone(&shared);
        std::thread::spawn(move || accept(&door, addr, Some(listener)));
        Ok(Self { addr, shared })
    }

    /// Where to connect; the same through all weathers.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on bytes are taken and neither passed on nor answered; no connection breaks, and new ones are accepted
    /// into the same silence. Ends with [`Proxy::restore`] (what was held back then arrives) or [`Proxy::cut`].
    pub fn black_hole(&self) {
        self.shared.turn(Weather::BlackHole);
    }

    /// From now on a round trip takes so much longer: `least` to `most`, drawn anew for each piece of at most 64 KiB,
    /// half of it in each direction. One direction passes one piece at a time, so a slow network is a narrow one too.
    /// Zero ends it.
    pub fn delay(&self, least: Duration, most: Duration) {
        for (bound, value) in self.shared.delay_us.iter().zip([least, most.max(least)]) {
            let value = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
            bound.store(value, Ordering::Relaxed);
        }
    }

    /// How many pieces were held back so far because of [`Proxy::delay`].
    pub fn delayed(&self) -> u64 {
        self.shared.delayed.load(Ordering::Relaxed)
    }

    /// Breaks all connections and refuses new ones, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.shared.turn(Weather::Cut);
    }

    /// Clear weather again. When it returns from a cut, new connections are taken very soon, not yet at once.
    pub fn restore(&self) {
        self.shared.turn(Weather::Clear);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.turn(Weather::Over);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, weather: Weather) {
        let mut state = self.state();
        state.weather = weather;
        if matches!(weather, Weather::Cut | Weather::Over) {
            for (_, stream) in state.streams.drain(..) {
                reset(&stream);
            }
        }
        self.changed.notify_all();
    }

    /// Waits for the black hole to end; may bytes flow then?
    fn wait_clear(&self) -> bool {
        let state = self.state();
        let state = self
            .changed
            .wait_while(state, |state| state.weather == Weather::BlackHole)
            .unwrap_or_else(PoisonError::into_inner);
        state.weather == Weather::Clear
    }

    /// Holds one piece back for half of a round trip's delay.
    fn hold_back(&self) {
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

    /// Takes both ends of a connection into the list of those that [`Shared::turn`] breaks; `None` when they should be
    /// broken already.
    fn enlist(&self, ends: [&TcpStream; 2]) -> std::io::Result<Option<u64>> {
        let mut state = self.state();
        if matches!(state.weather, Weather::Cut | Weather::Over) {
            return Ok(None);
        }
        let id = state.next_id;
        state.next_id += 1;
        for end in ends {
            state.streams.push((id, end.try_clone()?));
        }
        Ok(Some(id))
    }

    fn strike_off(&self, id: u64) {
        self.state().streams.retain(|(other, _)| *other != id);
    }
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts while the weather allows it. In a cut there is no listener, so that the kernel itself refuses.
fn accept(shared: &Arc<Shared>, addr: SocketAddr, mut listener: Option<TcpListener>) {
    loop {
        let weather = shared.state().weather;
        match (weather, &listener) {
            (Weather::Over, _) => return,
            (Weather::Cut, _) => listener = None,
            (_, None) => match listen(addr) {
                Ok(opened) => listener = Some(opened),
                Err(error) => tracing::debug!(%addr, %error, "the proxy cannot listen again yet"),
            },
            (_, Some(open)) => match open.accept() {
                Ok((client, _)) => {
                    let shared = Arc::clone(shared);
                    std::thread::spawn(move || carry(&shared, client));
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => tracing::debug!(%addr, %error, "the proxy cannot accept"),
            },
        }
        std::thread::sleep(ACCEPT_POLL);
    }
}

/// One connection, from its first byte to its last.
fn carry(shared: &Arc<Shared>, client: TcpStream) {
    if !shared.wait_clear() {
        reset(&client);
        return;
    }
    let Ok(server) = TcpStream::connect_timeout(&shared.target, CONNECT_MAX) else {
        reset(&client);
        return;
    };
    if let Err(error) = carry_between(shared, &client, &server) {
        tracing::debug!(%error, "a connection through the proxy broke");
    }
    reset(&client);
    reset(&server);
}

fn carry_between(
    shared: &Arc<Shared>,
    client: &TcpStream,
    server: &TcpStream,
) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let Some(id) = shared.enlist([client, server])? else {
        return Ok(());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pump(shared, server, client));
        pump(shared, client, server);
    });
    shared.strike_off(id);
    Ok(())
}

/// Copies one direction until its end, and passes the end on.
fn pump(shared: &Shared, mut from: &TcpStream, mut to: &TcpStream) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).unwrap_or(0);
        // Read first, then look at the weather: what came in during a black hole waits here and in the kernel's buffers.
        if count > 0 {
            shared.hold_back();
        }
        if !shared.wait_clear()
            || count == 0
            || to.write_all(chunk.get(..count).unwrap_or(&[])).is_err()
        {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

/// Ends a connection as rudely as TCP allows: whoever reads or writes it wakes up.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes, and a proxy before it.
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
            std::thread::sleep(ACCEPT_POLL);
        }
    }

    fn echo(mut stream: &TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back)?;
        Ok(back)
    }

    fn patient(stream: &TcpStream) {
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
    }

    #[test]
    fn bytes_go_to_and_fro() {
        let proxy = proxied_echo();
        let stream = connect(&proxy);
        patient(&stream);
        assert_eq!(echo(&stream, b"hello").expect("an echo"), b"hello");
    }

    #[test]
    fn a_delay_is_that_of_a_round_trip_and_ends() {
        let proxy = proxied_echo();
        let stream = connect(&proxy);
        patient(&stream);
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
    fn a_black_hole_takes_and_is_silent_and_later_lets_it_through() {
        let proxy = proxied_echo();
        let before = connect(&proxy);
        patient(&before);
        echo(&before, b"warm").expect("an echo");
        before
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");

        proxy.black_hole();
        let after = connect(&proxy);
        for stream in [&before, &after] {
            let error = echo(stream, b"anybody?").expect_err("silence");
            assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            );
        }

        proxy.restore();
        for mut stream in [&before, &after] {
            patient(stream);
            let mut back = [0; 8];
            stream.read_exact(&mut back).expect("what was held back");
            assert_eq!(&back, b"anybody?");
        }
    }

    #[test]
    fn a_cut_breaks_and_refuses_until_it_is_mended() {
        let proxy = proxied_echo();
        let mut stream = connect(&proxy);
        patient(&stream);
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
            std::thread::sleep(ACCEPT_POLL);
        }

        proxy.restore();
        let stream = connect(&proxy);
        patient(&stream);
        assert_eq!(echo(&stream, b"again").expect("an echo"), b"again");
    }

    #[test]
    fn a_cut_also_breaks_what_hangs_in_the_black_hole() {
        let proxy = proxied_echo();
        proxy.black_hole();
        let mut stream = connect(&proxy);
        patient(&stream);
        stream.write_all(b"anybody?").expect("it takes bytes");
        proxy.cut();
        assert!(
            !matches!(stream.read(&mut [0]), Ok(1..)),
            "nothing but an end comes through"
        );
    }
}
