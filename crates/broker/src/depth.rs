//! Looks at the queues once a second: how much waits, whether anybody is at work, and whether everything
//! is still there.

use crate::link::{Session, Shared};
use crate::topology;
use lapin::Channel;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Everything is declared anew at every so many looks: bindings can be deleted without anybody being
/// told.
const DECLARE_EVERY: u32 = 10;
/// RabbitMQ answers these questions in milliseconds; in a cluster that chooses a leader, in seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Runs until the connection is given up, and gives it up when the queues cannot be looked at.
pub(crate) async fn run(shared: Arc<Shared>, session: Arc<Session>) {
    let waiting = metrics::gauge!("wattpost_broker_queued_records");
    let mut channel = None;
    for look in 1.. {
        tokio::time::sleep(LOOK_EVERY).await;
        if session.is_blocked() {
            // Nothing that we say would be sent.
            continue;
        }
        let looked = async {
            let channel = match &channel {
                Some(channel) => channel,
                None => channel.insert(session.wire.connection.create_channel().await?),
            };
            if look % DECLARE_EVERY == 0 {
                topology::declare(channel, &shared.config).await?;
            }
            look_at(channel, shared.config.partitions).await
        };
        match tokio::time::timeout(ANSWER_WITHIN, looked).await {
            Ok(Ok(queued)) => {
                shared.queued.store(queued, Ordering::Relaxed);
                waiting.set(queued as f64);
            }
            Ok(Err(error)) => return session.fail(format!("the queues cannot be seen: {error}")),
            Err(_) if session.is_blocked() => {}
            Err(_) => return session.fail("RabbitMQ does not say how its queues are"),
        }
    }
}

/// Records that wait in all partitions; 0 while one that has some is consumed by nobody.
async fn look_at(channel: &Channel, partitions: u16) -> lapin::Result<u64> {
    let mut queued = 0;
    let mut abandoned = false;
    for partition in 0..partitions {
        let depth = topology::depth(channel, &topology::partition_queue(partition)).await?;
        queued += depth.messages;
        abandoned |= depth.messages > 0 && depth.consumers == 0;
    }
    Ok(if abandoned { 0 } else { queued })
}
