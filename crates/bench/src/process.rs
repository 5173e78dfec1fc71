//! The measured server processes, with their CPU time, memory and metrics.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::NamedTempFile;
use testbed::{Process, address_after};

/// Timeout of a start. A server may have to read a large journal first.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A server process. Dropping it kills it.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    /// The file with its stderr; it is deleted when this is dropped.
    _log: NamedTempFile,
}

impl Server {
    /// The echo server.
    pub(crate) fn echo() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("echo");
        Self::start(command, "listening on ", None)
    }

    /// `wattpost serve` on free ports.
    pub(crate) fn wattpost(data_dir: &Path) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("wattpost");
        let mut command = Command::new(&binary);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args([
                "--ocpp-listen",
                "127.0.0.1:0",
                "--http-listen",
                "127.0.0.1:0",
            ])
            .env("RUST_LOG", "warn");
        Self::start(command, "ws://", Some("http://"))
            .with_context(|| format!("start {}", binary.display()))
    }

    /// Starts a server that prints its addresses: the one for chargers after `mark`, the one for HTTP after `http_mark`.
    /// An empty `mark` is for a server without chargers.
    pub(crate) fn start(command: Command, mark: &str, http_mark: Option<&str>) -> Result<Self> {
        let (mut address, mut http) = (None, None);
        let mut server = Self::start_with(command, |line| {
            if !mark.is_empty() {
                address = address.or_else(|| address_after(line, mark));
            }
            http = http.or_else(|| address_after(line, http_mark?));
            let has_http = http_mark.is_none() || http.is_some();
            let listens_at = if mark.is_empty() { http } else { address };
            listens_at.filter(|_| has_http)
        })?;
        server.http = http;
        Ok(server)
    }

    /// Starts a server and waits until `listens_at` finds its address in one of the printed lines.
    pub(crate) fn start_with(
        command: Command,
        mut listens_at: impl FnMut(&str) -> Option<SocketAddr>,
    ) -> Result<Self> {
        let log = NamedTempFile::new().context("create a file for the log")?;
        let mut address = None;
        let process = Process::start_until_ready(
            Process::wrap(&command)?,
            "a server",
            log.path(),
            READY_TIMEOUT,
            |line| {
                address = listens_at(line);
                address.is_some()
            },
        )?;
        Ok(Self {
            process,
            address: address.context("the server printed no address")?,
            http: None,
            _log: log,
        })
    }

    /// CPU seconds of all its threads so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.process.id())
    }

    /// Resident memory in bytes.
    pub(crate) fn rss_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("/proc/PID/status has no VmRSS")?;
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .context("VmRSS in /proc/PID/status has no number")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// The sum of a metric over all its labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let http = self.http.context("this server has no metrics")?;
        let (_, answer) = testbed::http::get(http, "/metrics")?;
        Ok(testbed::http::metric(&answer, name).unwrap_or(0.0))
    }
}

/// CPU seconds of a process so far, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Fields 14 and 15, counted from 1. The name in field 2 may contain spaces.
    let rest = stat.rsplit_once(") ").context("/proc/PID/stat")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}
