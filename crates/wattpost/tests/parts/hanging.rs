//! What a process answers over HTTP while its database hangs: it neither refuses nor answers.

use crate::role::Role;
use std::time::{Duration, Instant};

/// The promise for health and metrics. The answer comes from memory: on an idle machine it takes a millisecond. Half of the
/// answers must keep it also on a machine that runs many tests.
const PROMISED: Duration = Duration::from_millis(100);
/// The slowest answer on such a machine. A connection to a database that hangs is given up after five seconds.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Clients that ask for data at the same time, ten for each call that may run in the database.
const CLIENTS: usize = 40;
/// What the machine may add to the time of a request.
const MARGIN: Duration = Duration::from_secs(4);

/// Asks these processes for health and metrics while `asking` runs; the answers must come at once.
pub(crate) fn health_comes_at_once<T>(roles: &[&Role], asking: impl FnOnce() -> T + Send) -> T
where
    T: Send,
{
    std::thread::scope(|scope| {
        let work = scope.spawn(asking);
        let mut answers = Vec::new();
        while answers.is_empty() || !work.is_finished() {
            for role in roles {
                for path in ["/health/ready", "/health", "/metrics"] {
                    let asked = Instant::now();
                    let (status, body) = role.get(path);
                    answers.push((asked.elapsed(), path));
                    // Chargers are served, so the process stays in service.
                    assert_eq!(status, 200, "{path}: {body}");
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        answers.sort_unstable();
        let (half, _) = answers[answers.len() / 2];
        let (slowest, path) = answers[answers.len() - 1];
        println!(
            "{} answers, half of them within {half:?}, the slowest took {slowest:?} ({path})",
            answers.len()
        );
        assert!(
            half < PROMISED,
            "half of the answers took {half:?} and more"
        );
        assert!(slowest < AT_ONCE, "{path} took {slowest:?}");
        match work.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Many clients ask at once, with requests that need the database. Each must be answered within `request_timeout`, and the
/// process must not have a thread for each. `charger` is known. Returns the statuses of requests that read, and of those that
/// write.
pub(crate) fn requests_end_in_time(
    api: &Role,
    charger: &str,
    request_timeout: Duration,
) -> (Vec<u16>, Vec<u16>) {
    let commands = format!("/api/v1/chargers/{charger}/commands");
    let before = threads(api);
    let mut most = before;
    let (reads, writes) = std::thread::scope(|scope| {
        let commands = commands.as_str();
        let ask = |number: usize, method, path: &'static str, body| {
            scope.spawn(move || {
                let path = if path.is_empty() { commands } else { path };
                let asked = Instant::now();
                let key = format!("Idempotency-Key: hanging-{number}\r\n");
                let answer = testbed::http::send(api.http, method, path, &key, body);
                let (status, body) = answer.unwrap_or_else(|error| panic!("{path}: {error:#}"));
                let took = asked.elapsed();
                assert!(took < request_timeout + MARGIN, "{path} took {took:?}");
                if status != 200 {
                    assert!(
                        status == 503 && body.contains("\"code\""),
                        "{status} {body}"
                    );
                }
                status
            })
        };
        let paths = [
            "/api/v1/chargers",
            "/api/v1/transactions?limit=1",
            "/api/v1/messages?limit=1",
            "/api/v1/events?limit=1",
        ];
        let reads: Vec<_> = (0..CLIENTS)
            .map(|client| ask(client, "GET", paths[client % paths.len()], ""))
            .collect();
        let writes: Vec<_> = (0..CLIENTS / 4)
            .map(|client| {
                let body = r#"{"action":"ClearCache","when_offline":"wait"}"#;
                ask(client, "POST", "", body)
            })
            .collect();
        while !reads.iter().chain(&writes).all(|asked| asked.is_finished()) {
            most = most.max(threads(api));
            std::thread::sleep(Duration::from_millis(10));
        }
        let statuses = |asked: Vec<std::thread::ScopedJoinHandle<'_, u16>>| -> Vec<u16> {
            let join = |one: std::thread::ScopedJoinHandle<'_, u16>| match one.join() {
                Ok(status) => status,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            asked.into_iter().map(join).collect()
        };
        (statuses(reads), statuses(writes))
    });
    assert!(
        most < before + CLIENTS / 2,
        "{before} threads before, {most} while {CLIENTS} clients waited"
    );
    (reads, writes)
}

/// The threads of a process.
fn threads(role: &Role) -> usize {
    let id = role.pid().expect("it runs");
    let tasks = std::fs::read_dir(format!("/proc/{id}/task"));
    tasks.expect("its threads").count()
}
