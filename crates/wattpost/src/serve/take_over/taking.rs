//! The new process: asks the running one, prepares, receives everything, and waits for the word to go on.

use super::channel::{Kind, Message, receive, send};
use super::{
    Carried, ConnectionContent, GatewayContent, Greeting, has_ended, open_dir, socket_path,
};
use anyhow::{Context, Result, bail, ensure};
use gateway::{HandOver, HandedConnection};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The running process answers at once.
const WELCOME: Duration = Duration::from_secs(10);
/// The running process may take this long to stop: it waits for the database, and for the disk.
const FREEZE: Duration = Duration::from_secs(60);
/// How long the word to go on may take.
const GO: Duration = Duration::from_secs(30);
/// How long the old process may take to end, once its end of the socket is closed.
const END: Duration = Duration::from_secs(10);

/// The running process, seen from the one that takes over. All methods block.
#[derive(Debug)]
pub(crate) struct Predecessor {
    stream: UnixStream,
    pid: i32,
    pidfd: OwnedFd,
}

impl Predecessor {
    /// Asks the process that runs with this data directory.
    ///
    /// # Errors
    /// When there is none, or it refuses.
    pub(crate) fn connect(data_dir: &Path, role: &str) -> Result<Self> {
        let dir = open_dir(data_dir)?;
        let stream = UnixStream::connect(socket_path(&dir)).with_context(|| {
            format!(
                "take over: no process of this release or a later one runs with the data directory {}; start without \
                 --take-over",
                data_dir.display()
            )
        })?;
        let peer = socket_peercred(&stream).context("take over: ask who runs")?;
        let pidfd = pidfd_open(peer.pid, PidfdFlags::empty())
            .context("take over: the running process is in another container, or has just ended")?;
        stream.set_write_timeout(Some(WELCOME))?;
        let ours = Greeting::of(role);
        send(&stream, Kind::Hello, &serde_json::to_vec(&ours)?, &[])?;
        let answer = receive(&stream, Instant::now() + WELCOME).context("take over")?;
        let theirs: Greeting = match answer.kind {
            Kind::Welcome => serde_json::from_slice(&answer.content).context("take over")?,
            Kind::Refused => bail!(
                "take over: the running process refuses: {}",
                String::from_utf8_lossy(&answer.content)
            ),
            other => bail!("take over: unexpected message {other:?}"),
        };
        theirs.check(&ours)?;
        theirs.check_schema()?;
        tracing::info!(
            version = theirs.version,
            pid = peer.pid.as_raw_nonzero().get(),
            "taking over from the running process"
        );
        Ok(Self {
            stream,
            pid: peer.pid.as_raw_nonzero().get(),
            pidfd,
        })
    }

    /// Everything is ready except what the running process has: it stops, and gives it.
    ///
    /// # Errors
    /// When it does not; it then goes on.
    pub(crate) fn receive_all(&self) -> Result<Carried> {
        send(&self.stream, Kind::Prepared, &[], &[])?;
        let end = Instant::now() + FREEZE;
        let Message {
            content,
            mut handles,
            ..
        } = self.expect(Kind::Gateway, end)?;
        let content: GatewayContent = serde_json::from_slice(&content).context("take over")?;
        let http = handles.pop().context("take over: no socket of HTTP")?;
        let mut connections = Vec::with_capacity(content.connections);
        while connections.len() < content.connections {
            let message = self.expect(Kind::Connections, end)?;
            let contents: Vec<ConnectionContent> =
                serde_json::from_slice(&message.content).context("take over")?;
            ensure!(
                contents.len() == message.handles.len() && !contents.is_empty(),
                "take over: {} connections with {} sockets",
                contents.len(),
                message.handles.len()
            );
            for (content, handle) in contents.into_iter().zip(message.handles) {
                connections.push(HandedConnection {
                    socket: TcpStream::from(handle),
                    charger_id: content.charger_id,
                    epoch: content.epoch,
                    state: content.state,
                });
            }
        }
        Ok(Carried {
            closed_at: content.closed_at,
            gateway: HandOver {
                state: content.state.into_bytes(),
                listeners: handles.into_iter().map(TcpListener::from).collect(),
                connections,
                closed: content.closed,
            },
            http: TcpListener::from(http),
        })
    }

    /// Returns when this process may go on: when the running one has said so, or is dead.
    ///
    /// # Errors
    /// When it lives and has not said so: it goes on itself.
    pub(crate) fn wait_for_go(&self) -> Result<()> {
        let said = send(&self.stream, Kind::Ready, &[], &[])
            .and_then(|()| self.expect(Kind::Go, Instant::now() + GO));
        let Err(error) = said else { return Ok(()) };
        if has_ended(&self.pidfd, END) {
            tracing::warn!(
                %error,
                "the process before has died during the take-over; this one has everything and goes on"
            );
            return Ok(());
        }
        Err(error.context(format!(
            "take over: process {} has not given the word and lives, so it goes on itself",
            self.pid
        )))
    }

    /// This process serves: the other one may exit.
    pub(crate) fn say_serving(&self) {
        // It exits also when it does not hear this.
        let _ = send(&self.stream, Kind::Serving, &[], &[]);
    }

    fn expect(&self, kind: Kind, end: Instant) -> Result<Message> {
        let message = receive(&self.stream, end).context("take over")?;
        ensure!(
            message.kind == kind,
            "take over: {:?} instead of {kind:?}",
            message.kind
        );
        Ok(message)
    }
}
