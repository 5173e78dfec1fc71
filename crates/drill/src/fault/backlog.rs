//! A memory alarm of RabbitMQ while records wait in its queues.

use super::super::deployment::Deployment;
use super::super::supervisor::Role;
use super::super::watch::Watch;
use super::{EFFECT_TIMEOUT, Repair, backend};
use anyhow::Result;
use std::time::{Duration, Instant};

/// The least number of records in the queues when the alarm is raised.
const BACKLOG_MIN: f64 = 100.0;
/// Added to `gateway.broker_grace_s`: the alarm takes a second to be raised, and the gateway notices it when it publishes
/// the next batch.
const BYPASS_TIMEOUT: Duration = Duration::from_secs(20);

/// The consumer is suspended until the alarm is raised, so that the gateway's last count of the queues is a backlog with
/// a consumer.
pub(super) fn blocked(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    watch.print("the consumer is suspended: records wait in RabbitMQ");
    deployment.supervisor.pause(Role::Consumer);
    let had_effect = watch.pause_until(EFFECT_TIMEOUT, || {
        let queued = deployment.metric("wattpost_gateway_queued_records");
        queued.is_some_and(|records| records >= BACKLOG_MIN)
    })?;
    watch.print("RabbitMQ raises its memory alarm as well; the consumer is resumed");
    let begun = Instant::now();
    backend(deployment)?.servers.rabbit.set_memory_alarm(true)?;
    deployment.supervisor.resume(Role::Consumer);
    let is_bypassed = watch.pause_until(deployment.broker_grace + BYPASS_TIMEOUT, || {
        deployment.metric("wattpost_gateway_sink_direct") == Some(1.0)
    })?;
    watch.pause(outage.saturating_sub(begun.elapsed()))?;
    watch.print("the alarm is cleared");
    backend(deployment)?
        .servers
        .rabbit
        .set_memory_alarm(false)?;
    Ok(Repair {
        broken_promises: Repair::broken(
            !is_bypassed,
            "records were not delivered through the bypass",
        ),
        ..Repair::with_effect(had_effect)
    })
}
