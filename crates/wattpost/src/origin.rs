//! Who runs a command, for the audit log.

use crate::database;
use central::model::{Actor, ActorKind, Origin};

/// The user who runs this command, and the machine.
///
/// The name comes from the environment, which the user can change: a user who may run commands that write to the database
/// may also write to its tables.
pub(crate) fn command_line() -> Origin {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(variable)
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    Origin {
        at: database::now(),
        by: Actor {
            kind: ActorKind::CommandLine,
            name: Some(name),
        },
        from: machine(),
        request_id: None,
        traceparent: None,
    }
}

/// The name of this machine.
pub(crate) fn machine() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
