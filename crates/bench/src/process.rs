//! Other processes: started, read, stopped; and what the kernel says of them.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server process. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    // Kept open, so that the server can go on writing.
    _stdout: BufReader<std::process::ChildStdout>,
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

    fn start(mut command: Command, mark: &str, http_mark: Option<&str>) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a server")?;
        let mut stdout = BufReader::new(child.stdout.take().context("its stdout")?);
        let (mut address, mut http) = (None, None);
        while address.is_none() || (http_mark.is_some() && http.is_none()) {
            let mut line = String::new();
            if stdout.read_line(&mut line)? == 0 {
                bail!("the server ended before it listened");
            }
            address = address.or_else(|| address_after(&line, mark));
            http = http.or_else(|| address_after(&line, http_mark?));
        }
        Ok(Self {
            child,
            address: address.context("its address")?,
            http,
            _stdout: stdout,
        })
    }

    /// CPU seconds, user and system, of all its threads so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Fields 14 and 15, counted from 1; the name in field 2 may hold blanks.
        let rest = stat.rsplit_once(") ").context("/proc/PID/stat")?.1;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / 100.0)
    }

    /// Resident memory in bytes.
    pub(crate) fn rss_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("VmRSS in /proc/PID/status")?;
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .context("a number behind VmRSS")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// Sum of a figure of `/metrics` over its labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        use std::io::{Read, Write};
        let http = self.http.context("this server has no metrics")?;
        let mut socket = std::net::TcpStream::connect(http)?;
        write!(
            socket,
            "GET /metrics HTTP/1.0\r\nHost: {http}\r\nConnection: close\r\n\r\n"
        )?;
        let mut body = String::new();
        socket.read_to_string(&mut body)?;
        Ok(body
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_after(line: &str, mark: &str) -> Option<SocketAddr> {
    let rest = line.split_once(mark)?.1;
    rest.split('/').next()?.trim().parse().ok()
}
