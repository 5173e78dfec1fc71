//! The thread that starts all child processes.
//!
//! `PR_SET_PDEATHSIG` kills a child when its parent *thread* ends, not its parent process. A server that was started by a
//! test's thread, or by a thread of a pool that ends when idle, would be killed too early. So one thread, which runs until
//! the process ends, starts all of them.

use common::lock::lock;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, mpsc};

/// A command to start, and where to send the result.
type SpawnRequest = (Command, mpsc::Sender<io::Result<Child>>);

static REQUESTS: OnceLock<Mutex<mpsc::Sender<SpawnRequest>>> = OnceLock::new();

/// Starts `command` in the spawning thread.
///
/// # Errors
///
/// As [`Command::spawn`].
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let ended = || io::Error::other("the spawning thread has ended");
    let (reply, child) = mpsc::channel();
    let requests = REQUESTS.get_or_init(|| Mutex::new(start_thread()));
    lock(requests).send((command, reply)).map_err(|_| ended())?;
    child.recv().map_err(|_| ended())?
}

fn start_thread() -> mpsc::Sender<SpawnRequest> {
    let (requests, received) = mpsc::channel::<SpawnRequest>();
    std::thread::spawn(move || {
        for (mut command, reply) in received {
            // If the requesting thread has ended, nobody would ever kill the child.
            if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    });
    requests
}
