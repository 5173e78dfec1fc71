//! The thread that bears our servers, so that they die with the process and not earlier.
//!
//! The kernel's "kill me when my parent dies" (`PR_SET_PDEATHSIG`) means the parent's *thread*. A server that was
//! started from a test's thread, or from a pool's that ends after some idle seconds, would be killed when that thread
//! ends. So one thread, which lives as long as the process, starts them all.

use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

type Errand = (Command, mpsc::Sender<io::Result<Child>>);

static KEEPER: OnceLock<Mutex<mpsc::Sender<Errand>>> = OnceLock::new();

/// Starts `command` from the keeper's thread.
///
/// # Errors
///
/// As [`Command::spawn`].
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts servers has ended");
    let (answer, child) = mpsc::channel();
    let keeper = KEEPER.get_or_init(|| Mutex::new(hire()));
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

fn hire() -> mpsc::Sender<Errand> {
    let (errands, todo) = mpsc::channel::<Errand>();
    std::thread::spawn(move || {
        for (mut command, answer) in todo {
            // Whoever asked may be gone; then the child, if there is one, is of no use to anybody.
            if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    });
    errands
}
