//! Upgrades of the gateway under load: a new process takes over from the running one, five times. Before two of them the
//! new program is a broken one, which ends at once or hangs.

use super::super::deployment::Deployment;
use super::super::watch::Watch;
use super::Repair;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const UPGRADES: u32 = 5;
/// All chargers are connected within this time; a first connection would count as one that came back.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);
/// A new process has taken over, or failed, within this time.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Lines of the gateway's log.
const STARTED: &str = "started the process that takes over";
const ENDED: &str = "the new process has ended before it took over";

pub(super) fn repeatedly(
    deployment: &Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    if !watch.pause_until(CONNECT_TIMEOUT, || watch.online() == watch.chargers())? {
        bail!("not all chargers connect before the fault");
    }
    let connections = watch.connections();
    for number in 1..=UPGRADES {
        match number {
            2 => broken(deployment, "exit 7", ENDED, watch)?,
            4 => broken(deployment, "exec sleep 3600", STARTED, watch)?,
            _ => {}
        }
        deployment.install(None)?;
        let before = owner(deployment)?;
        ask_to_upgrade(deployment)?;
        let is_done = watch.pause_until(TIMEOUT, || {
            owner(deployment).is_ok_and(|now| now != before) && !is_running(before)
        })?;
        if !is_done {
            bail!("no new process took over; see gateway.log or serve.log (--keep)");
        }
        deployment
            .supervisor
            .upgraded(deployment.gateway(), owner(deployment)?)?;
        watch.print(&format!("upgrade {number} of {UPGRADES} is done"));
        watch.pause(outage / UPGRADES)?;
    }
    let mut repair = Repair::now();
    if watch.connections() != connections {
        let closed = "connections were closed by an upgrade";
        repair.broken_promises.push(closed.to_owned());
    }
    Ok(repair)
}

/// Installs a program that is a shell script, and waits until the gateway has started it and said so.
fn broken(deployment: &Deployment, script: &str, said: &str, watch: &Watch<'_>) -> Result<()> {
    let file = deployment.path("broken");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).context("write a broken program")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))
        .context("make the broken program executable")?;
    deployment.install(Some(&file))?;
    let before = said_times(deployment, said);
    watch.print(&format!("an upgrade to a broken program ({script})"));
    ask_to_upgrade(deployment)?;
    if !watch.pause_until(TIMEOUT, || said_times(deployment, said) > before)? {
        bail!("the gateway did not notice the broken program");
    }
    Ok(())
}

fn ask_to_upgrade(deployment: &Deployment) -> Result<()> {
    deployment.supervisor.ask_to_upgrade(deployment.gateway())
}

fn said_times(deployment: &Deployment, said: &str) -> usize {
    let log = deployment.supervisor.log_file(deployment.gateway());
    std::fs::read_to_string(log).map_or(0, |log| log.matches(said).count())
}

/// The process that has the journal.
fn owner(deployment: &Deployment) -> Result<u32> {
    let (journal, _) = (deployment.access.journal)(&deployment.settings_file())?;
    let text = std::fs::read_to_string(journal.join("lock")).context("read who has the journal")?;
    text.trim().parse().context("read who has the journal")
}

fn is_running(id: u32) -> bool {
    testbed::is_alive(id)
}
