//! A record that is damaged on the gateway's disk before it is delivered.

use super::super::damage::damage_one_record;
use super::super::deployment::Deployment;
use super::super::watch::Watch;
use super::{EFFECT_TIMEOUT, Repair, backend};
use anyhow::Result;
use std::time::Duration;

/// Flips one bit of an undelivered record while the gateway is stopped. The gateway must serve chargers all the same and
/// report the damage; after `wattpost journal salvage` it must deliver all other records.
pub(super) fn one_record(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    watch.print("RabbitMQ and PostgreSQL are unavailable: records wait in the journal");
    let unavailable = backend(deployment)?;
    unavailable.broker_proxy.black_hole();
    unavailable.servers.postgres.kill()?;
    watch.pause(outage / 2)?;
    watch.print("the gateway is stopped, and a bit of one record flips on its disk");
    let seq = deployment.while_gateway_is_stopped(watch.control, |deployment| {
        let available = backend(deployment)?;
        available.broker_proxy.restore();
        available.servers.postgres.start_again()?;
        let (dir, options) = (deployment.access.journal)(&deployment.settings_file())?;
        damage_one_record(&dir, options)
    })?;
    watch.print(&format!(
        "the gateway is started again; record {seq} is damaged"
    ));
    let is_reported = watch.pause_until(EFFECT_TIMEOUT, || {
        let places = deployment.metric("wattpost_gateway_journal_damaged_places");
        places.is_some_and(|places| places >= 1.0)
    })?;
    watch.pause(outage / 2)?;
    watch.print("wattpost journal salvage --yes");
    let printed = deployment.while_gateway_is_stopped(watch.control, |deployment| {
        deployment.run("journal salvage", &["--yes"])
    })?;
    Ok(Repair {
        broken_promises: Repair::broken(!is_reported, "the damage was not reported"),
        ..Repair::with_effect(printed.contains("salvaged: 1 records cannot be read"))
    })
}
