//! One process of Wattpost, started with the real binary.

use crate::http;
use crate::process::{Process, address_after};
use anyhow::Context as _;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A start may have to read a journal or to wait for a database; other tests may run at the same time.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// `wattpost serve`, `gateway`, `consumer` or `api`. Dropping it kills the process.
#[derive(Debug)]
pub struct Role {
    command: Command,
    name: String,
    log: PathBuf,
    process: Option<Process>,
    /// The address for chargers. Port 0 if it has no gateway.
    pub ocpp: SocketAddr,
    /// The address for health, metrics and the API.
    pub http: SocketAddr,
}

impl Role {
    /// Starts `command` on free ports and waits until it prints its addresses. Its stderr is appended to `log`.
    ///
    /// # Errors
    ///
    /// It ends, or is not ready within a minute; with the end of its log.
    pub fn start(command: Command, name: &str, log: &Path) -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut role = Self {
            command,
            name: name.to_owned(),
            log: log.to_owned(),
            process: None,
            ocpp: any,
            http: any,
        };
        role.start_again()?;
        Ok(role)
    }

    /// Starts it again on the same ports, after [`Role::kill`] or [`Role::stop`]; returns the time until it was ready.
    ///
    /// # Errors
    ///
    /// As [`Role::start`].
    pub fn start_again(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        // The environment replaces what an earlier start set; flags would add up.
        self.command
            .env(
                "WATTPOST__GATEWAY__LISTENERS",
                format!("[{{address=\"{}\"}}]", self.ocpp),
            )
            .env("WATTPOST__HTTP__LISTEN", self.http.to_string())
            .env("WATTPOST__HEALTH__GATEWAY_LISTEN", self.http.to_string())
            .env("WATTPOST__HEALTH__CONSUMER_LISTEN", self.http.to_string());
        let (ocpp, http) = (&mut self.ocpp, &mut self.http);
        let process = Process::start_until_ready(
            Process::wrap(&self.command)?,
            &format!("wattpost {}", self.name),
            &self.log,
            START_TIMEOUT,
            |line| {
                if let Some(address) = address_after(line, "ws://") {
                    *ocpp = address;
                }
                // Printed after the addresses for chargers.
                let address = address_after(line, "http://");
                *http = address.unwrap_or(*http);
                address.is_some()
            },
        )?;
        self.process = Some(process);
        Ok(begun.elapsed())
    }

    /// SIGKILL.
    ///
    /// # Errors
    ///
    /// As [`Process::kill`]; or it is not started.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it is not started")?;
        process.kill()
    }

    /// SIGTERM; waits for the end and returns the exit status.
    ///
    /// # Errors
    ///
    /// It does not end within a minute; with the end of its log. Or it is not started.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut process = self.process.take().context("it is not started")?;
        process.ask_to_stop();
        process.wait(STOP_TIMEOUT)?.with_context(|| {
            format!(
                "wattpost {} does not stop; the end of its log:\n{}",
                self.name,
                process.log_tail()
            )
        })
    }

    /// SIGTERM; [`Role::is_running`] tells when it has ended.
    pub fn ask_to_stop(&self) {
        if let Some(process) = &self.process {
            process.ask_to_stop();
        }
    }

    /// Whether it has been started and has not ended.
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_running)
    }

    /// Its process id; none if it is not started.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Everything that it and its earlier processes wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last 30 lines of [`Role::log`].
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Status and body of a `GET`.
    ///
    /// # Errors
    ///
    /// As [`http::get`].
    pub fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        http::get(self.http, path)
    }

    /// The value of a metric, summed over its labels; none if it is not exported.
    ///
    /// # Errors
    ///
    /// As [`http::get`].
    pub fn metric(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let (_, answer) = self.get("/metrics")?;
        Ok(http::metric(&answer, name))
    }

    /// The `status` of `GET /health`: `works`, `degraded` or `not_ready`; empty if it is not answered.
    #[must_use]
    pub fn health_status(&self) -> String {
        let health = self.get("/health").ok();
        let health = health.and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok());
        health
            .and_then(|health| Some(health["status"].as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// One part of the answer to `GET /health`, such as `rabbitmq`; none if the process has no such part.
    ///
    /// # Errors
    ///
    /// As [`http::get`]; or the answer is not the expected JSON.
    pub fn health_part(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let (_, body) = self.get("/health")?;
        let body: Value = serde_json::from_str(&body)?;
        let parts = body["parts"].as_array().context("a list of parts")?;
        Ok(parts.iter().find(|part| part["part"] == name).cloned())
    }
}
