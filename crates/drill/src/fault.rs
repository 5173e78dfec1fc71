//! The fault of each scenario, and its repair.

mod backlog;
mod commands;
mod damage;
mod full;
mod kill;
mod maintenance;
mod rolling;
mod storm;
mod upgrade;

use super::deployment::{Backend, Deployment};
use super::scenario::Scenario;
use super::supervisor::Role;
use super::watch::Watch;
use anyhow::{Context, Result};
pub(super) use full::{SMALL_JOURNAL, SMALL_SEGMENTS, small_disk};
use kill::Killed;
use simulator::TimestampUs;
use std::time::Duration;
use testbed::SmallDisk;

/// How long the effect of a fault may take to appear; with few chargers a backlog grows slowly.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(60);
/// All chargers of the depot must have queued their sessions within this time.
const DEPOT_TIMEOUT: Duration = Duration::from_secs(180);
/// The least number of delayed pieces of traffic with the database.
const DELAYED_MIN: u64 = 20;

/// The end of a fault.
#[derive(Debug, Clone)]
pub(super) struct Repair {
    /// When the last thing was repaired: a process was restarted (its start is part of the recovery), the network
    /// restored, space freed.
    pub(super) at: TimestampUs,
    /// Whether the fault had an effect: a disk that never became full proves nothing.
    pub(super) had_effect: bool,
    /// Promises about the fault itself that were broken.
    pub(super) broken_promises: Vec<String>,
    /// Measurements, for the outcome.
    pub(super) notes: Vec<String>,
    /// The times in which chargers came back; those that were back had to get their answers.
    pub(super) storms: Vec<(TimestampUs, TimestampUs)>,
}

impl Repair {
    fn now() -> Self {
        Self {
            at: TimestampUs::wall_clock(),
            had_effect: true,
            broken_promises: Vec::new(),
            notes: Vec::new(),
            storms: Vec::new(),
        }
    }

    /// The sentence, if the promise was broken.
    fn broken(is_broken: bool, sentence: &str) -> Vec<String> {
        is_broken.then(|| sentence.to_owned()).into_iter().collect()
    }

    fn with_effect(had_effect: bool) -> Self {
        Self {
            had_effect,
            ..Self::now()
        }
    }
}

/// Causes the fault of `scenario` for about `outage`, and repairs everything. `sessions`: how many sessions the chargers
/// of the depot must have queued together before its network is restored.
pub(super) fn play(
    scenario: Scenario,
    deployment: &mut Deployment,
    disk: Option<&SmallDisk>,
    outage: Duration,
    sessions: u64,
    health_within: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    let is_embedded = deployment.is_embedded();
    match scenario {
        Scenario::Gateway => kill::roles(deployment, &[Role::Gateway], watch),
        Scenario::Consumer => kill::roles(deployment, &[Role::Consumer], watch),
        Scenario::Api => kill::roles(deployment, &[Role::Api], watch),
        Scenario::AllRoles => kill::roles(deployment, deployment.roles(), watch),
        Scenario::Repeatedly => kill::gateway_repeatedly(deployment, outage, watch),
        Scenario::Database if is_embedded => kill::lock_database(deployment, outage, watch, false),
        Scenario::Everything if is_embedded => kill::lock_database(deployment, outage, watch, true),
        Scenario::Rabbit => kill::servers(deployment, Killed::RABBIT, outage, watch),
        Scenario::Database => kill::servers(deployment, Killed::POSTGRES, outage, watch),
        Scenario::RabbitAndDatabase => kill::servers(deployment, Killed::BOTH, outage, watch),
        Scenario::Everything => kill::everything(deployment, watch),
        Scenario::Blocked => {
            watch.print("RabbitMQ raises its memory alarm: publishers are blocked");
            backend(deployment)?.servers.rabbit.set_memory_alarm(true)?;
            watch.pause(outage)?;
            watch.print("the alarm is cleared");
            backend(deployment)?
                .servers
                .rabbit
                .set_memory_alarm(false)?;
            Ok(Repair::now())
        }
        Scenario::BlackHole => {
            watch.print("the network between gateway and RabbitMQ drops everything silently");
            backend(deployment)?.broker_proxy.black_hole();
            watch.pause(outage)?;
            watch.print("the network is restored");
            backend(deployment)?.broker_proxy.restore();
            Ok(Repair::now())
        }
        Scenario::DiskFull => match disk {
            Some(disk) => full::disk(deployment, disk, outage, watch),
            None => full::journal(deployment, outage, watch),
        },
        Scenario::BlockedBacklog => backlog::blocked(deployment, outage, watch),
        Scenario::SlowDatabase => slow_database(deployment, outage, watch),
        Scenario::Depot => depot(deployment, sessions, watch),
        Scenario::MaintenanceMissed => maintenance::missed(deployment, outage, watch),
        Scenario::Damaged => damage::one_record(deployment, outage, watch),
        Scenario::Commands => commands::with_kills(deployment, outage, watch),
        Scenario::Upgrade => upgrade::repeatedly(deployment, outage, watch),
        Scenario::Storm => storm::returning(deployment, outage, health_within, watch),
        Scenario::Rolling => rolling::restarts(deployment, outage, watch),
    }
}

fn backend(deployment: &mut Deployment) -> Result<&mut Backend> {
    deployment
        .backend
        .as_mut()
        .context("this scenario needs RabbitMQ and PostgreSQL")
}

fn slow_database(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    watch.print("every round trip to the database takes 1 to 50 ms longer");
    let proxy = &backend(deployment)?.database_proxy;
    let before = proxy.delayed();
    proxy.delay(Duration::from_millis(1), Duration::from_millis(50));
    watch.pause(outage)?;
    proxy.delay(Duration::ZERO, Duration::ZERO);
    let had_effect = proxy.delayed() - before >= DELAYED_MIN;
    watch.print("the database is fast again");
    Ok(Repair::with_effect(had_effect))
}

/// Cuts the depot's network until its chargers have queued `sessions` sessions.
fn depot(deployment: &Deployment, sessions: u64, watch: &Watch<'_>) -> Result<Repair> {
    watch.print("the depot loses its network; its chargers continue charging");
    deployment.depot_proxy.cut();
    // Each session is a start and a stop.
    let had_effect = watch.pause_until(DEPOT_TIMEOUT, || watch.queued() >= sessions * 2)?;
    watch.print(&format!(
        "the network is restored; the chargers have queued {} messages",
        watch.queued()
    ));
    deployment.depot_proxy.restore();
    Ok(Repair::with_effect(had_effect))
}
