//! The running process: hears of the one that wants to take over, and gives it everything, or goes on.

use super::channel::{HANDLES_MAX, Kind, receive, send};
use super::{
    Carried, ConnectionToSend, GatewayContent, Greeting, has_ended, open_dir, socket_path,
};
use anyhow::{Context, Result, bail, ensure};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// A peer must say who it is within this time.
const HELLO: Duration = Duration::from_secs(5);
/// How long a new process may prepare. Nothing is stopped meanwhile.
pub(super) const PREPARE: Duration = Duration::from_secs(120);
/// How long the new process may take to open the journal and to restore connections. Chargers wait meanwhile.
const READY: Duration = Duration::from_secs(15);
/// How long the new process may take to say that it serves.
const SERVING: Duration = Duration::from_secs(10);
/// Processes that prepare at the same time.
const PREPARING_MAX: usize = 4;

/// Waits for processes that want to take over. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Successors {
    candidates: mpsc::Receiver<Successor>,
    task: Option<JoinHandle<()>>,
}

/// A process that is prepared to take over.
#[derive(Debug)]
pub(crate) struct Successor {
    stream: UnixStream,
    pid: Pid,
    pidfd: OwnedFd,
    version: String,
}

/// What became of a take-over.
#[derive(Debug)]
pub(crate) enum Given {
    /// The new process serves.
    Serving,
    /// The new process is dead and has touched nothing: everything is ours again.
    Failed(anyhow::Error),
    /// The new process got the word, and is dead: nothing is ours any more.
    Lost(anyhow::Error),
}

impl Successors {
    /// Listens in the data directory. If that is not possible, no process can take over from this one, which is logged.
    pub(crate) fn listen(data_dir: &Path, role: &'static str) -> Self {
        let (sender, candidates) = mpsc::channel(1);
        let task = match bind(data_dir) {
            Ok((listener, dir)) => Some(tokio::spawn(accept(listener, dir, role, sender))),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no process can take over from this one"
                );
                None
            }
        };
        Self { candidates, task }
    }

    /// The next process that is prepared.
    pub(crate) async fn next(&mut self) -> Successor {
        match self.candidates.recv().await {
            Some(successor) => successor,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Successors {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

fn bind(data_dir: &Path) -> Result<(UnixListener, File)> {
    let dir = open_dir(data_dir)?;
    let path = socket_path(&dir);
    // This process has the journal, so a socket that is there belongs to none that runs.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("remove the socket for take-overs of an earlier process");
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).context("make the socket for take-overs")?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))
        .context("protect the socket for take-overs")?;
    Ok((listener, dir))
}

/// Each peer has a blocking thread of its own until it is prepared.
async fn accept(
    listener: UnixListener,
    _dir: File,
    role: &'static str,
    prepared: mpsc::Sender<Successor>,
) {
    let places = Arc::new(Semaphore::new(PREPARING_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "accept on the socket for take-overs");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let prepared = prepared.clone();
        tokio::task::spawn_blocking(move || {
            let greeted = stream
                .into_std()
                .context("use its socket")
                .and_then(|stream| Successor::greet(stream, role));
            match greeted {
                // If another one is prepared already, this one sees the end of its connection.
                Ok(successor) => drop(prepared.try_send(successor)),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "a process wanted to take over and is not able to; this one goes on"
                ),
            }
            drop(place);
        });
    }
}

impl Successor {
    /// Waits until the process at `stream` is prepared.
    fn greet(stream: UnixStream, role: &str) -> Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(READY))?;
        let peer = socket_peercred(&stream).context("ask who it is")?;
        ensure!(
            peer.uid == geteuid() || peer.uid.is_root(),
            "process {} belongs to another user",
            peer.pid.as_raw_nonzero()
        );
        let pidfd = pidfd_open(peer.pid, PidfdFlags::empty())
            .context("it is in another container, or has just ended")?;
        let hello = receive(&stream, Instant::now() + HELLO)?;
        ensure!(
            hello.kind == Kind::Hello,
            "{:?} instead of Hello",
            hello.kind
        );
        let theirs: Greeting = serde_json::from_slice(&hello.content).context("read its Hello")?;
        let ours = Greeting::of(role);
        if let Err(error) = ours.check(&theirs) {
            send(&stream, Kind::Refused, error.to_string().as_bytes(), &[])?;
            return Err(error);
        }
        send(&stream, Kind::Welcome, &serde_json::to_vec(&ours)?, &[])?;
        let prepared = receive(&stream, Instant::now() + PREPARE).with_context(|| {
            format!(
                "wait until process {} is prepared",
                peer.pid.as_raw_nonzero()
            )
        })?;
        ensure!(
            prepared.kind == Kind::Prepared,
            "{:?} instead of Prepared",
            prepared.kind
        );
        Ok(Self {
            stream,
            pid: peer.pid,
            pidfd,
            version: theirs.version,
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its version of Wattpost.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Gives everything. Blocks. If the result is [`Given::Failed`], the new process is dead.
    pub(crate) fn give(&self, carried: &Carried) -> Given {
        let ready = self.send_all(carried).and_then(|()| {
            let ready = receive(&self.stream, Instant::now() + READY)?;
            ensure!(
                ready.kind == Kind::Ready,
                "{:?} instead of Ready",
                ready.kind
            );
            Ok(())
        });
        // If the word cannot be sent, the new process cannot have received it.
        if let Err(error) = ready.and_then(|()| send(&self.stream, Kind::Go, &[], &[])) {
            self.kill();
            return Given::Failed(error);
        }
        match receive(&self.stream, Instant::now() + SERVING) {
            Ok(_) => Given::Serving,
            Err(error) if has_ended(&self.pidfd, Duration::from_secs(1)) => Given::Lost(error),
            Err(error) => {
                tracing::warn!(%error, "the new process has not said that it serves, but lives");
                Given::Serving
            }
        }
    }

    fn send_all(&self, carried: &Carried) -> Result<()> {
        let gateway = &carried.gateway;
        let content = GatewayContent {
            state: String::from_utf8_lossy(&gateway.state).into_owned(),
            closed_at: carried.closed_at,
            connections: gateway.connections.len(),
            closed: gateway.closed,
        };
        let mut handles: Vec<BorrowedFd<'_>> = gateway.listeners.iter().map(AsFd::as_fd).collect();
        handles.push(carried.http.as_fd());
        if handles.len() > HANDLES_MAX {
            bail!("{} listeners are too many for a take-over", handles.len());
        }
        let content = serde_json::to_vec(&content)?;
        send(&self.stream, Kind::Gateway, &content, &handles)?;
        for some in gateway.connections.chunks(HANDLES_MAX) {
            let contents: Vec<_> = some
                .iter()
                .map(|one| ConnectionToSend {
                    charger_id: &one.charger_id,
                    epoch: one.epoch,
                    state: &one.state,
                })
                .collect();
            let handles: Vec<BorrowedFd<'_>> = some.iter().map(|one| one.socket.as_fd()).collect();
            let content = serde_json::to_vec(&contents)?;
            send(&self.stream, Kind::Connections, &content, &handles)?;
        }
        Ok(())
    }

    /// Returns when the process is dead.
    fn kill(&self) {
        while !has_ended(&self.pidfd, Duration::ZERO) {
            // An error means that it has ended.
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
            if !has_ended(&self.pidfd, Duration::from_secs(5)) {
                tracing::error!(
                    pid = self.pid(),
                    "the process that could not take over does not die; chargers wait until it does"
                );
            }
        }
    }
}
