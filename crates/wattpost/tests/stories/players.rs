//! Plays the sessions of `testbed::sessions` over real sockets, and compares what the API and the exports show.

use crate::charger::{Charger, Incoming};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use testbed::sessions::{Played, Player, Session, Shown, sessions};

/// Chargers that play at the same time.
const PLAYERS: usize = 16;

/// Sessions that cannot be played over a socket; each file says why.
const IMPOSSIBLE: usize = 3;

/// The message id of the last message of every charger that is still connected.
const END: &str = "end";

/// All sessions after they were played, each by a charger of its own for each version. The chargers stay connected.
pub(crate) struct Playthrough {
    sessions: Vec<Session>,
    chargers: Vec<Finished>,
}

/// A charger that has played a session.
struct Finished {
    /// The place of its session.
    session: usize,
    identity: String,
    played: Played,
    /// How often it has connected.
    connections: usize,
    /// Its open connection.
    charger: Option<Charger>,
}

/// The exports of a database.
#[derive(Default)]
pub(crate) struct Exported {
    pub(crate) messages: Vec<Value>,
    pub(crate) transactions: Vec<Value>,
    pub(crate) connectors: Vec<Value>,
}

/// A charger on a real socket.
struct OnSocket {
    server: SocketAddr,
    identity: String,
    subprotocol: String,
    charger: Option<Charger>,
    connections: usize,
}

impl Player for OnSocket {
    /// All steps are played at once.
    fn begin_step(&mut self, _: usize, _: i64) {}

    fn is_virtual(&self) -> bool {
        false
    }

    fn now_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        i64::try_from(now.expect("after 1970").as_millis()).expect("in range")
    }

    fn connect(&mut self) {
        let charger = Charger::connect(self.server, &self.identity, &self.subprotocol);
        self.charger = Some(charger);
        self.connections += 1;
    }

    fn disconnect(&mut self) {
        if let Some(mut charger) = self.charger.take() {
            charger.send_frame(0x88, &1_000_u16.to_be_bytes());
            while matches!(charger.receive(), Incoming::Text(_)) {}
        }
    }

    fn call(&mut self, id: &str, action: &str, payload: &str) -> Value {
        let charger = self.charger.as_mut().expect("it is connected");
        let answer = charger.call(id, action, payload);
        assert_eq!(answer[0], 3, "{}: {payload}: {answer}", self.identity);
        answer[2].clone()
    }
}

impl Playthrough {
    /// Plays all sessions against this gateway.
    pub(crate) fn of_all_sessions(server: SocketAddr) -> Self {
        let sessions = sessions().expect("sessions");
        let impossible = |session: &&Session| session.impossible_over_a_socket().is_some();
        let left_out = sessions.iter().filter(impossible).count();
        assert_eq!(left_out, IMPOSSIBLE, "left out");
        let work: Vec<(usize, &String)> = (0..)
            .zip(&sessions)
            .filter(|(_, session)| !impossible(session))
            .flat_map(|(at, session)| session.versions.iter().map(move |version| (at, version)))
            .collect();
        let (next, finished) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..PLAYERS {
                scope.spawn(|| {
                    while let Some((at, version)) =
                        work.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                    {
                        let done = Finished::play(server, &sessions[at], at, version);
                        let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                        finished.push(done);
                    }
                });
            }
        });
        let chargers = finished.into_inner().expect("no player panicked");
        assert_eq!(chargers.len(), work.len());
        Self { sessions, chargers }
    }

    /// Whether the last record of each charger is exported; a charger's records are applied in their order.
    pub(crate) fn is_stored(&self, messages: &[Value]) -> bool {
        let mut by_charger: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        for message in messages {
            let identity = message["charger_id"].as_str().unwrap_or_default();
            let (ends, has_end) = by_charger.entry(identity).or_default();
            *ends += usize::from(message["kind"] == "disconnected");
            *has_end |= message["message_id"] == END;
        }
        self.chargers.iter().all(|charger| {
            let stored = by_charger.get(charger.identity.as_str()).copied();
            let (ends, has_end) = stored.unwrap_or_default();
            match charger.charger {
                Some(_) => has_end && ends == charger.connections - 1,
                None => ends == charger.connections,
            }
        })
    }

    /// What differs from the expectations, in the API and in the exports.
    pub(crate) fn faults(&self, exported: &Exported, api: SocketAddr) -> Vec<String> {
        let mut faults = Vec::new();
        let of = |rows: &[Value], identity: &str| -> Vec<Value> {
            let is_of = |row: &&Value| row["charger_id"] == identity;
            rows.iter().filter(is_of).cloned().collect()
        };
        for charger in &self.chargers {
            let identity = charger.identity.as_str();
            let notes: BTreeMap<String, Vec<String>> = of(&exported.messages, identity)
                .iter()
                .filter(|message| message["kind"] == "call")
                .map(notes_of)
                .collect();
            let get = |path: String| -> Value {
                let (status, body) = testbed::http::get(api, &path).expect("an answer");
                assert_eq!(status, 200, "{path}: {body}");
                serde_json::from_str(&body).expect("JSON")
            };
            let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
            let detail = get(format!("/api/v1/chargers/{identity}"));
            let page = get(format!(
                "/api/v1/transactions?charger={identity}&limit=1000"
            ));
            let shown = [
                ("API", items(&page["items"]), items(&detail["connectors"])),
                (
                    "export",
                    of(&exported.transactions, identity),
                    of(&exported.connectors, identity),
                ),
            ];
            for (by, transactions, connectors) in shown {
                let shown = Shown::of(transactions, connectors, notes.clone());
                let session = &self.sessions[charger.session];
                for fault in session.faults(&charger.played, &shown) {
                    faults.push(format!("{} ({identity}): {by}: {fault}", session.name));
                }
            }
        }
        faults.sort();
        faults
    }

    /// The number of chargers.
    pub(crate) fn len(&self) -> usize {
        self.chargers.len()
    }
}

fn notes_of(message: &Value) -> (String, Vec<String>) {
    let notes = message["notes"].as_array().into_iter().flatten();
    let notes = notes.filter_map(Value::as_str).map(str::to_owned).collect();
    let id = message["message_id"].as_str().unwrap_or_default();
    (id.to_owned(), notes)
}

impl Finished {
    fn play(server: SocketAddr, session: &Session, at: usize, version: &str) -> Self {
        let mut player = OnSocket {
            server,
            identity: format!("{at}-{version}"),
            subprotocol: format!("ocpp{version}"),
            charger: None,
            connections: 0,
        };
        player.connect();
        let begun_s = player.now_ms() / 1_000;
        let played = session.play((begun_s - session.now_at()) * 1_000, &mut player);
        if player.charger.is_some() {
            player.call(END, "Heartbeat", "{}");
        }
        Self {
            session: at,
            identity: player.identity,
            played,
            connections: player.connections,
            charger: player.charger,
        }
    }
}
