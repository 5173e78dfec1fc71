//! A process of the real binary; a failed operation fails the test.

use serde_json::Value;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A [`testbed::Role`]. If the test fails, the end of its log is printed.
pub(crate) struct Role(testbed::Role);

impl Role {
    /// Starts `command` on free ports and waits until it is ready.
    pub(crate) fn start(command: Command, name: &str, log: &Path) -> Self {
        let role = testbed::Role::start(command, name, log);
        Self(role.unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// Starts it again on the same ports; returns the time until it was ready.
    pub(crate) fn restart(&mut self) -> Duration {
        let took = self.0.start_again();
        took.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// SIGTERM; the process must end with exit code 0.
    pub(crate) fn stop(&mut self) {
        let status = self.0.stop();
        let status = status.unwrap_or_else(|error| panic!("{error:#}"));
        assert!(status.success(), "{status}; its log:\n{}", self.log_tail());
    }

    /// Status and body of a `GET`.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let answer = self.0.get(path);
        answer.unwrap_or_else(|error| panic!("GET {path}: {error:#}"))
    }

    /// The value of a metric, summed over its labels; 0 if it is not exported.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        testbed::http::metric(&self.get("/metrics").1, name).unwrap_or(0.0)
    }

    /// One part of `/health`.
    pub(crate) fn part(&self, name: &str) -> Option<Value> {
        let part = self.0.health_part(name);
        part.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Whether one part of `/health` is up.
    pub(crate) fn is_up(&self, part: &str) -> bool {
        self.part(part).is_some_and(|part| part["up"] == true)
    }
}

impl Deref for Role {
    type Target = testbed::Role;

    fn deref(&self) -> &testbed::Role {
        &self.0
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of its log:\n{}", self.log_tail());
        }
    }
}
