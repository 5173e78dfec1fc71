//! The limit of open files: each simulated charger needs one, and each of its connections one in the gateway.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of this process to `wanted` if it is lower and permitted; returns the limit that applies. Processes that
/// are started later inherit it.
pub(super) fn raise(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let higher = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    if higher <= soft {
        return soft;
    }
    let raised = Rlimit {
        current: Some(higher),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => higher,
        Err(_) => soft,
    }
}
