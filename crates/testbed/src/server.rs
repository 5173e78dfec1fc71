//! What RabbitMQ and PostgreSQL have in common here: they are killed, stopped, and started again with the same data on
//! the same ports.

use crate::process::Process;
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How one kind of server is started and recognised as ready.
pub trait Kind {
    /// Its name in logs.
    const NAME: &'static str;
    /// A start takes no longer.
    const START_TIMEOUT: Duration;
    /// The signal for an orderly stop.
    const STOP_SIGNAL: Signal;

    /// Its TCP port on 127.0.0.1.
    fn port(&self) -> u16;

    /// Starts its process.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    fn spawn(&self) -> anyhow::Result<Process>;

    /// Whether it accepts connections.
    fn is_ready(&self) -> bool;

    /// The log file that it writes besides stdout and stderr.
    fn log(&self) -> Option<PathBuf> {
        None
    }
}

/// A private server. Dropping it kills it; its directory stays.
#[derive(Debug)]
pub struct Server<K: Kind> {
    pub(crate) kind: K,
    process: Process,
    /// CPU time of its earlier processes.
    spent_s: f64,
}

impl<K: Kind> Server<K> {
    /// Starts the process; does not wait until it is ready.
    pub(crate) fn spawn(kind: K) -> anyhow::Result<Self> {
        let process = kind.spawn()?;
        Ok(Self {
            kind,
            process,
            spent_s: 0.0,
        })
    }

    /// The port on 127.0.0.1 where it accepts connections; the same after a restart.
    pub fn port(&self) -> u16 {
        self.kind.port()
    }

    /// The process id: of the Erlang virtual machine, or of PostgreSQL's postmaster.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process exists. It may not accept connections yet.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// SIGKILL to the process and all its descendants: connections break, and data that was not synced may be lost.
    ///
    /// # Errors
    ///
    /// The processes still exist after ten seconds.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Stops it in an orderly way (SIGTERM to RabbitMQ; PostgreSQL's fast shutdown, which breaks connections), or kills
    /// it after half a minute. A second call does nothing.
    pub fn stop(&mut self) {
        if let Err(error) = self.process.stop(K::STOP_SIGNAL, STOP_TIMEOUT) {
            tracing::warn!(%error, server = K::NAME, "the server did not stop");
        }
    }

    /// Starts it again with the same data on the same port, and waits until it accepts connections. A server that still
    /// runs is killed first.
    ///
    /// # Errors
    ///
    /// As [`Server::start_again`] and [`Server::wait_ready`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.start_again()?;
        self.wait_started()
    }

    /// As [`Server::restart`], but does not wait.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.spent_s += self.process.cpu_seconds();
        self.process = self.kind.spawn()?;
        Ok(())
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// The process ended or `deadline` passed; with the end of its log.
    pub fn wait_ready(&self, deadline: Instant) -> anyhow::Result<()> {
        self.process
            .wait_until(deadline, self.kind.log().as_deref(), || {
                self.kind.is_ready()
            })
    }

    /// As [`Server::wait_ready`], with the longest time that a start takes.
    pub(crate) fn wait_started(&self) -> anyhow::Result<()> {
        self.wait_ready(Instant::now() + K::START_TIMEOUT)
    }

    /// CPU time, user and system, of this server since its first start, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.spent_s + self.process.cpu_seconds()
    }
}
