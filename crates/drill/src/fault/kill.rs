//! Processes and servers that are killed, and a database that is locked.

use super::super::deployment::{Backend, Deployment};
use super::super::lock::Locked;
use super::super::supervisor::Role;
use super::super::watch::Watch;
use super::{Repair, backend};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// The supervisor restarts a process after a second; reading the journal takes longer.
const RESTART_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn roles(deployment: &Deployment, roles: &[Role], watch: &Watch<'_>) -> Result<Repair> {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    let names = names.join(", ");
    watch.print(&format!("kill -9 {names}"));
    let killed = Instant::now();
    deployment.supervisor.kill(roles)?;
    wait_restarted(deployment, roles, killed, watch)?;
    watch.print(&format!("{names} restarted"));
    Ok(Repair::now())
}

pub(super) fn wait_restarted(
    deployment: &Deployment,
    roles: &[Role],
    killed: Instant,
    watch: &Watch<'_>,
) -> Result<()> {
    let is_restarted = |role: &Role| {
        deployment
            .supervisor
            .running_since(*role)
            .is_some_and(|since| since > killed)
    };
    while !roles.iter().all(is_restarted) {
        if killed.elapsed() > RESTART_TIMEOUT {
            bail!("a killed process was not restarted");
        }
        watch.pause(Duration::from_millis(20))?;
    }
    Ok(())
}

pub(super) fn gateway_repeatedly(
    deployment: &Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    let end = Instant::now() + outage;
    // Short, so that the next kill comes before everything is delivered.
    let interval = (outage / 4).clamp(Duration::from_millis(500), Duration::from_secs(3));
    loop {
        let repair = roles(deployment, &[deployment.gateway()], watch)?;
        deployment.wait_accepting(watch.control)?;
        if Instant::now() + interval > end {
            return Ok(repair);
        }
        watch.pause(interval)?;
    }
}

/// Which servers are killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Killed {
    rabbit: bool,
    postgres: bool,
}

impl Killed {
    pub(super) const RABBIT: Self = Self {
        rabbit: true,
        postgres: false,
    };
    pub(super) const POSTGRES: Self = Self {
        rabbit: false,
        postgres: true,
    };
    pub(super) const BOTH: Self = Self {
        rabbit: true,
        postgres: true,
    };

    const fn names(self) -> &'static str {
        match (self.rabbit, self.postgres) {
            (true, true) => "RabbitMQ and PostgreSQL",
            (true, false) => "RabbitMQ",
            _ => "PostgreSQL",
        }
    }

    pub(super) fn kill(self, backend: &mut Backend) -> Result<()> {
        if self.rabbit {
            backend.servers.rabbit.kill()?;
        }
        if self.postgres {
            backend.servers.postgres.kill()?;
        }
        Ok(())
    }

    /// Does not wait until they are ready.
    pub(super) fn start_again(self, backend: &mut Backend) -> Result<()> {
        if self.rabbit {
            backend.servers.rabbit.start_again()?;
        }
        if self.postgres {
            backend.servers.postgres.start_again()?;
        }
        Ok(())
    }
}

pub(super) fn servers(
    deployment: &mut Deployment,
    which: Killed,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    watch.print(&format!("kill -9 {}", which.names()));
    which.kill(backend(deployment)?)?;
    watch.pause(outage)?;
    watch.print(&format!("{} restarted", which.names()));
    which.start_again(backend(deployment)?)?;
    Ok(Repair::now())
}

pub(super) fn everything(deployment: &mut Deployment, watch: &Watch<'_>) -> Result<Repair> {
    watch.print("kill -9 everything: RabbitMQ, PostgreSQL, gateway, consumer, API");
    let roles = deployment.roles();
    let killed = Instant::now();
    deployment.supervisor.kill(roles)?;
    Killed::BOTH.kill(backend(deployment)?)?;
    wait_restarted(deployment, roles, killed, watch)?;
    Killed::BOTH.start_again(backend(deployment)?)?;
    watch.print("everything restarted");
    Ok(Repair::now())
}

/// Locks the SQLite file for `outage`, as another program might; with `and_kill`, `serve` is killed meanwhile.
pub(super) fn lock_database(
    deployment: &Deployment,
    outage: Duration,
    watch: &Watch<'_>,
    and_kill: bool,
) -> Result<Repair> {
    watch.print("another program locks the database");
    let lock = Locked::take(&deployment.database_file())?;
    if and_kill {
        roles(deployment, &[Role::Serve], watch)?;
    }
    watch.pause(outage)?;
    drop(lock);
    watch.print("the lock is released");
    Ok(Repair::now())
}
