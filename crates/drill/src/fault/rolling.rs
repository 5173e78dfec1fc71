//! Every process of two gateways, two consumers and the API is stopped and started again in turn, as an operator does who
//! upgrades without a take-over.

use super::super::deployment::Deployment;
use super::super::supervisor::Role;
use super::super::watch::Watch;
use super::Repair;
use anyhow::Result;
use simulator::TimestampUs;
use std::time::{Duration, Instant};

/// In the order that docs/operations.md recommends: consumers before gateways.
const ORDER: [Role; 5] = [
    Role::Consumer,
    Role::SecondConsumer,
    Role::Gateway,
    Role::SecondGateway,
    Role::Api,
];

pub(super) fn restarts(
    deployment: &Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    let mut repair = Repair::now();
    let connections = watch.connections();
    for role in ORDER {
        let begun = Instant::now();
        deployment.supervisor.stop(role)?;
        let stopped = begun.elapsed();
        let begun = Instant::now();
        deployment.start_role(role)?;
        if !deployment.wait_works(role, watch.control)? {
            repair
                .broken_promises
                .push(format!("{} is not ready again", role.name()));
        }
        let note = format!(
            "{}: stopped within {:.1} s, ready {:.1} s after its start; {} of {} chargers connected",
            role.name(),
            stopped.as_secs_f64(),
            begun.elapsed().as_secs_f64(),
            watch.online(),
            watch.chargers()
        );
        watch.print(&note);
        repair.notes.push(note);
        watch.pause(outage / (ORDER.len() as u32))?;
    }
    // Each charger was connected to one of the gateways and had to move at least once.
    repair.had_effect = watch.connections() >= connections + watch.chargers();
    repair.at = TimestampUs::wall_clock();
    Ok(repair)
}
