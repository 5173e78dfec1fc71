//! Asks a process for its health and its metrics again and again while chargers come back: an operator, Prometheus and a load
//! balancer must get their answers then too.
//!
//! The fleet and the process share one machine here, and every thread waits for a core while thousands of chargers return.
//! So the same request goes to a thread that does nothing but answer: its time is what the machine alone costs.

use anyhow::{Context as _, Result};
use common::lock::lock;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testbed::http;

const INTERVAL: Duration = Duration::from_millis(25);
const PATHS: [&str; 2] = ["/health/ready", "/metrics"];

/// What was answered.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Asked {
    pub(super) answered: u64,
    /// Requests without an answer with 200. A gateway whose chargers come back is ready: it takes them.
    pub(super) failed: u64,
    /// The longest time to a whole answer.
    pub(super) slowest: Duration,
    /// The longest time to a whole answer of a thread that does nothing else.
    pub(super) slowest_of_idle: Duration,
}

/// Longest request and time that the idle thread bears.
const IDLE_REQUEST_MAX: usize = 4_096;
const IDLE_TIMEOUT: Duration = Duration::from_secs(70);

/// A thread that asks. Dropping this stops it.
pub(super) struct Probe {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    server: SocketAddr,
    idle: SocketAddr,
    is_over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_paused: bool,
    asked: Asked,
}

impl Probe {
    /// Begins to ask `server`.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub(super) fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on a port")?;
        let shared = Arc::new(Shared {
            server,
            idle: listener.local_addr().context("read the port")?,
            is_over: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let (of_thread, of_idle) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || of_idle.answer(&listener)),
            std::thread::spawn(move || of_thread.ask()),
        ];
        Ok(Self { shared, threads })
    }

    /// Asks nothing until [`Probe::resume`]; returns when no request is open.
    pub(super) fn pause(&self) {
        lock(&self.shared.state).is_paused = true;
    }

    /// Asks again.
    pub(super) fn resume(&self) {
        lock(&self.shared.state).is_paused = false;
    }

    /// What was answered so far.
    pub(super) fn asked(&self) -> Asked {
        lock(&self.shared.state).asked
    }
}

impl Shared {
    fn ask(&self) {
        while !self.is_over.load(Relaxed) {
            for path in PATHS {
                // Held during the request, so that a pause waits for its end.
                let mut state = lock(&self.state);
                if state.is_paused {
                    break;
                }
                let (_, took) = timed(|| http::get(self.idle, path));
                state.asked.slowest_of_idle = state.asked.slowest_of_idle.max(took);
                let (answer, took) = timed(|| http::get(self.server, path));
                match answer {
                    Ok((200, _)) => state.asked.answered += 1,
                    Ok(_) | Err(_) => state.asked.failed += 1,
                }
                state.asked.slowest = state.asked.slowest.max(took);
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Answers each request at once, until the probe is over.
    fn answer(&self, listener: &TcpListener) {
        while !self.is_over.load(Relaxed) {
            // A connection that fails has no answer, and the next one is waited for.
            let _ = listener.accept().and_then(|(socket, _)| answer_one(socket));
        }
    }
}

/// Reads a request without a body and answers it.
fn answer_one(mut socket: TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(IDLE_TIMEOUT))?;
    let mut head = Vec::new();
    let mut piece = [0; 512];
    while !head.ends_with(b"\r\n\r\n") && head.len() < IDLE_REQUEST_MAX {
        let count = socket.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&piece[..count]);
    }
    socket.write_all(b"HTTP/1.0 200 OK\r\n\r\nidle")
}

/// What `work` returns, and how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = work();
    (result, begun.elapsed())
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        // The idle thread waits for a connection; without one it has ended.
        let _ = TcpStream::connect(self.shared.idle);
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed; its counts stay as they are.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    #[test]
    fn answers_are_timed_and_nothing_is_asked_during_a_pause() {
        const SLOW: Duration = Duration::from_millis(50);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::start(listener.local_addr().unwrap()).unwrap();
        for number in 0..5 {
            let (mut socket, _) = listener.accept().unwrap();
            std::thread::sleep(SLOW);
            match number {
                0..3 => answer_one(socket).unwrap(),
                3 => socket
                    .write_all(b"HTTP/1.0 503 Service Unavailable\r\n\r\n")
                    .unwrap(),
                _ => socket.shutdown(Shutdown::Both).unwrap(),
            }
        }
        drop(listener);
        probe.pause();
        let asked = probe.asked();
        assert_eq!(asked.answered, 3, "{asked:?}");
        assert!(asked.failed >= 2, "{asked:?}");
        assert!(asked.slowest >= SLOW, "{asked:?}");
        assert!(asked.slowest_of_idle > Duration::ZERO, "{asked:?}");
        std::thread::sleep(INTERVAL * 3);
        let later = probe.asked();
        assert_eq!(
            (later.answered, later.failed),
            (asked.answered, asked.failed)
        );
    }
}
