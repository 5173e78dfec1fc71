//! The memory of a process.

use crate::deployment::Deployment;

/// Otherwise it takes two to four times as much. Kernels before 5.0 do not show it.
#[test]
fn no_memory_is_in_transparent_huge_pages() {
    let deployment = Deployment::start("");
    let id = deployment.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{id}/status"));
    let status = status.expect("read the status of the process");
    let line = status.lines().find(|line| line.starts_with("THP_enabled"));
    assert!(line.is_none_or(|line| line.ends_with('0')), "{line:?}");
}
