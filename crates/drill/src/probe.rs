//! Asks a process for its health and its metrics again and again while chargers come back: an operator, Prometheus and a load
//! balancer must get their answers then too.

use common::lock::lock;
use std::net::SocketAddr;
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
    /// Requests without an answer.
    pub(super) failed: u64,
    /// The longest time to a whole answer.
    pub(super) slowest: Duration,
}

/// A thread that asks. Dropping this stops it.
pub(super) struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    server: SocketAddr,
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
    pub(super) fn start(server: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            server,
            is_over: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        Self {
            shared,
            thread: Some(std::thread::spawn(move || of_thread.ask())),
        }
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
                let begun = Instant::now();
                let answer = http::get(self.server, path);
                let took = begun.elapsed();
                match answer {
                    Ok(_) => state.asked.answered += 1,
                    Err(_) => state.asked.failed += 1,
                }
                state.asked.slowest = state.asked.slowest.max(took);
            }
            std::thread::sleep(INTERVAL);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; its counts stay as they are.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn answers_are_timed_and_nothing_is_asked_during_a_pause() {
        const SLOW: Duration = Duration::from_millis(50);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::start(listener.local_addr().unwrap());
        for number in 0..4 {
            let (mut socket, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 256];
                let count = socket.read(&mut piece).unwrap();
                head.extend_from_slice(&piece[..count]);
            }
            std::thread::sleep(SLOW);
            if number < 3 {
                socket.write_all(b"HTTP/1.0 200 OK\r\n\r\nready").unwrap();
            }
        }
        drop(listener);
        probe.pause();
        let asked = probe.asked();
        assert!(asked.answered >= 3 && asked.failed >= 1, "{asked:?}");
        assert!(asked.slowest >= SLOW, "{asked:?}");
        std::thread::sleep(INTERVAL * 3);
        let later = probe.asked();
        assert_eq!(
            (later.answered, later.failed),
            (asked.answered, asked.failed)
        );
    }
}
