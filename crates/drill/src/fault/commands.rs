//! Commands that are sent while parts are killed.

use super::super::deployment::Deployment;
use super::super::supervisor::Role;
use super::super::watch::Watch;
use super::{Repair, backend, kill};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Rounds at least: each part fails several times.
const ROUNDS_MIN: u32 = 12;
/// Commands of each round.
const COMMANDS: usize = 8;
/// Accepted commands at least; with fewer, nothing is proved.
const ACCEPTED_MIN: u32 = 20;
/// The longest wait from the requests of a round to its fault.
const MOMENTS_MS: u64 = 20;
const CUT: Duration = Duration::from_millis(400);

/// In each round some commands are requested, and at another moment of their way the API, the consumer, the gateway, the
/// network to RabbitMQ or that of the chargers fails.
pub(super) fn with_kills(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    watch.print("commands are sent while the API, the consumer, the gateway, RabbitMQ and the chargers' network fail");
    let chargers: Vec<String> = deployment
        .api_list("/api/v1/chargers?online=true&fields=charger_id")?
        .iter()
        .filter_map(|charger| charger["charger_id"].as_str().map(str::to_owned))
        .collect();
    let end = Instant::now() + outage;
    let mut accepted = 0;
    let mut next = chargers.iter().cycle();
    let mut round = 0;
    while round < ROUNDS_MIN || Instant::now() < end {
        for charger in next.by_ref().take(COMMANDS) {
            let waits = fastrand::bool();
            // While the API is killed, a request may fail, and may have been stored all the same.
            accepted += u32::from(deployment.request_command(charger, waits));
        }
        watch.pause(Duration::from_millis(fastrand::u64(0..MOMENTS_MS)))?;
        match round % 5 {
            0 => drop(kill::roles(deployment, &[Role::Gateway], watch)?),
            1 => {
                deployment.depot_proxy.cut();
                watch.pause(CUT)?;
                deployment.depot_proxy.restore();
            }
            2 => drop(kill::roles(deployment, &[Role::Consumer], watch)?),
            3 => {
                let backend = backend(deployment)?;
                backend.broker_proxy.cut();
                watch.pause(CUT)?;
                backend.broker_proxy.restore();
            }
            _ => drop(kill::roles(deployment, &[Role::Api], watch)?),
        }
        round += 1;
    }
    watch.print(&format!("{accepted} commands were accepted"));
    Ok(Repair::with_effect(accepted >= ACCEPTED_MIN))
}
