//! `--take-over`: a new process takes over from the running one, and no charger notices (`docs/adr/0016-take-over.md`).
//!
//! ```text
//! old process                                new process (--take-over)
//!   serves                       ◀─ Hello ──   settings
//!                                ── Welcome ▶  database, RabbitMQ
//!                              ◀─ Prepared ──
//!   freezes connections, closes the journal
//!                  ── Gateway, Connections ▶   opens the journal, restores connections, reads nothing
//!                                ◀─ Ready ───
//!   does nothing any more           ── Go ──▶
//!                               ◀─ Serving ──  serves
//!   exits
//! ```
//! Two rules hold at each moment, also when one of them is killed. The new process touches connections and journal only
//! if it has received *Go*, or if it has everything and the old process is dead. After the freeze the old process
//! touches them again only if it has not sent *Go* and the new process is dead, which it makes sure of.

mod channel;
pub(crate) mod giving;
pub(crate) mod reload;
pub(crate) mod taking;

use anyhow::{Context, Result, ensure};
use central::Seq;
use gateway::HandOver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// The version of the messages. A process refuses one with another version; states carry their own tolerance.
const PROTOCOL: u32 = 1;
/// The socket in the data directory.
const SOCKET: &str = "take-over.sock";

/// Everything that a process gives to the next one.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) gateway: HandOver,
    /// The last record of the journal, which was closed without an error.
    pub(crate) closed_at: Seq,
    /// The socket of HTTP.
    pub(crate) http: TcpListener,
}

/// The content of `Hello` and `Welcome`.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    protocol: u32,
    /// `serve` or `gateway`.
    role: String,
    /// The version of Wattpost, for the log.
    version: String,
    /// The newest schema of the database that the process knows; `None` from an earlier version.
    #[serde(default)]
    schema: Option<u32>,
}

impl Greeting {
    fn of(role: &str) -> Self {
        Self {
            protocol: PROTOCOL,
            role: role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: Some(store::SCHEMA_VERSION),
        }
    }

    /// Whether the running process, which says this, can go on after the new one has migrated the database.
    fn check_schema(&self) -> Result<()> {
        let known = self.schema.unwrap_or(store::SCHEMA_USABLE_FROM);
        ensure!(
            known >= store::SCHEMA_USABLE_FROM,
            "the running process ({}) knows the database up to schema {known}, and cannot go on with that of the new one, \
             which is for programs that know {} or more; restart it instead (`systemctl restart`)",
            self.version,
            store::SCHEMA_USABLE_FROM
        );
        Ok(())
    }

    /// Whether the two processes fit together.
    fn check(&self, other: &Self) -> Result<()> {
        ensure!(
            self.role == other.role,
            "the running process is `wattpost {}` and the new one `wattpost {}`; start the same role",
            self.role,
            other.role
        );
        ensure!(
            self.protocol == other.protocol,
            "the running process ({}) and the new one ({}) speak different versions of the take-over; \
             restart it instead (`systemctl restart`)",
            self.version,
            other.version
        );
        Ok(())
    }
}

/// The content of `Gateway`; the listeners come as handles, that of HTTP last.
#[derive(Debug, Serialize, Deserialize)]
struct GatewayContent {
    /// [`HandOver::state`], which is JSON.
    state: String,
    closed_at: Seq,
    connections: usize,
    closed: usize,
}

/// What one connection is in the content of `Connections`.
#[derive(Debug, Deserialize)]
struct ConnectionContent {
    charger_id: String,
    epoch: u64,
    /// [`gateway::HandedConnection::state`].
    state: Box<RawValue>,
}

/// The same, to be sent.
#[derive(Debug, Serialize)]
struct ConnectionToSend<'a> {
    charger_id: &'a str,
    epoch: u64,
    state: &'a RawValue,
}

/// The path of the socket in a data directory that may be too long for a socket's address, which has 108 bytes. The
/// directory must stay open while the path is used.
fn socket_path(data_dir: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", data_dir.as_raw_fd()))
}

/// Whether the process of `pidfd` has ended; waits for that up to `patience`.
fn has_ended(pidfd: &OwnedFd, patience: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let timeout = Timespec::try_from(patience).ok();
    // An interrupted wait counts as "not yet".
    poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

/// The handed-over socket of HTTP, if the settings name its address; port 0 stands for any.
pub(crate) fn is_for(listener: &TcpListener, address: SocketAddr) -> bool {
    listener.local_addr().is_ok_and(|bound| {
        bound.ip() == address.ip() && (bound.port() == address.port() || address.port() == 0)
    })
}

/// Opens a directory so that [`socket_path`] can be used.
fn open_dir(data_dir: &std::path::Path) -> Result<std::fs::File> {
    std::fs::File::open(data_dir).with_context(|| format!("open {}", data_dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_could_not_go_on_with_the_new_schema_is_not_taken_over_from() {
        let running = |schema| Greeting {
            schema,
            ..Greeting::of("serve")
        };
        assert!(running(Some(store::SCHEMA_VERSION)).check_schema().is_ok());
        let refused = running(Some(store::SCHEMA_USABLE_FROM - 1)).check_schema();
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("restart it instead"), "{said}");
        let earlier: Greeting =
            serde_json::from_str(r#"{"protocol":1,"role":"serve","version":"0.1.0"}"#).unwrap();
        assert!(earlier.check_schema().is_ok());
    }

    /// What release 0.1.0 sends, each with a member that a later release may add.
    const KEPT: [&str; 3] = [
        r#"{"protocol":1,"role":"gateway","version":"0.1.0","schema":31,"later":[1]}"#,
        r#"{"state":"{}","closed_at":7,"connections":2,"closed":0,"later":{"what":null}}"#,
        r#"{"charger_id":"CP-1","epoch":5,"state":{"station":{}},"later":"x"}"#,
    ];

    #[test]
    fn messages_of_earlier_and_later_builds_are_read_and_those_of_another_protocol_refused() {
        let greeting: Greeting = serde_json::from_str(KEPT[0]).unwrap();
        assert!(Greeting::of("gateway").check(&greeting).is_ok());
        let content: GatewayContent = serde_json::from_str(KEPT[1]).unwrap();
        assert_eq!((content.closed_at.0, content.connections), (7, 2));
        let connection: ConnectionContent = serde_json::from_str(KEPT[2]).unwrap();
        assert_eq!((&*connection.charger_id, connection.epoch), ("CP-1", 5));
        assert_eq!(connection.state.get(), r#"{"station":{}}"#);
        let other = Greeting {
            protocol: PROTOCOL + 1,
            ..greeting
        };
        let refused = Greeting::of("gateway")
            .check(&other)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("systemctl restart"), "{refused}");
    }
}
