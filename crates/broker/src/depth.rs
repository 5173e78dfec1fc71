//! Looks at the queues once a second: how much waits, whether anybody is at work, and whether everything
//! is still there. And at once when a record was refused: a channel that was opened while a queue had lost
//! its leader refuses for ever, the queue long having a new one (seen on RabbitMQ 3.10.8). Refused, and no
//! queue full: then it is the channel, and a new connection cures it. Or it is a bound that a policy of
//! RabbitMQ sets and that we cannot see; so the cure is tried again only after longer and longer pauses.

use crate::link::{Seen, Session, Shared};
use crate::topology;
use lapin::Channel;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::error::Elapsed;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Everything is declared anew at every so many looks: bindings can be deleted without anybody being
/// told.
const DECLARE_EVERY: u32 = 10;
/// RabbitMQ answers these questions in milliseconds; in a cluster that chooses a leader, in seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// New connections because of refusals, and the pauses between them.
#[derive(Debug, Default)]
pub(crate) struct Cure {
    last: Option<(Instant, Duration)>,
}

impl Cure {
    const PAUSE_MIN: Duration = Duration::from_secs(5);
    const PAUSE_MAX: Duration = Duration::from_secs(60);

    /// Whether a refusal at `now` is worth a new connection: the first is, and each later one after a pause
    /// of 5 s to 60 s that doubles; after two quiet minutes it begins anew.
    fn is_due(&mut self, now: Instant) -> bool {
        let pause = match self.last {
            Some((at, pause)) if now.saturating_duration_since(at) < pause => return false,
            Some((at, pause)) if now.saturating_duration_since(at) < Self::PAUSE_MAX * 2 => {
                (pause * 2).min(Self::PAUSE_MAX)
            }
            _ => Self::PAUSE_MIN,
        };
        self.last = Some((now, pause));
        true
    }
}

/// Runs until the connection is given up, and gives it up when the queues cannot be looked at.
pub(crate) async fn run(shared: Arc<Shared>, session: Arc<Session>) {
    let mut channel = None;
    for look in 1.. {
        let refused = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            () = session.publisher.refused.notified() => true,
        };
        if session.is_blocked() {
            // Nothing that we say would be sent; the link has forgotten what was seen.
            continue;
        }
        let at = Instant::now();
        let looked = async {
            let channel = match &channel {
                Some(channel) => channel,
                None => channel.insert(session.wire.connection.create_channel().await?),
            };
            if look % DECLARE_EVERY == 0 {
                topology::declare(&session.wire.connection, &shared.config).await?;
            }
            look_at(channel, shared.config.partitions).await
        };
        match patiently(&session, looked).await {
            Ok(Ok(look)) => {
                let seen = Seen {
                    waiting: look.waiting,
                    is_worked_on: look.is_worked_on,
                    at,
                };
                shared.keep_seen(&session, seen);
                // RabbitMQ keeps the length roughly.
                let nearly_full = shared.config.queue_records_max / 10 * 9;
                if refused && look.longest < nearly_full && shared.cure().is_due(Instant::now()) {
                    return session.fail("records are refused though no queue is full");
                }
            }
            Ok(Err(error)) => return session.fail(format!("the queues cannot be seen: {error}")),
            Err(_) if session.is_blocked() => {}
            Err(_) => return session.fail("RabbitMQ does not say how its queues are"),
        }
    }
}

/// Waits for an answer as long as deliveries come: it stands behind them on the same socket.
async fn patiently<T>(session: &Session, answer: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = session.delivered.load(Ordering::Relaxed);
        match tokio::time::timeout(ANSWER_WITHIN, answer.as_mut()).await {
            Err(_) if session.delivered.load(Ordering::Relaxed) != before => {}
            answered => return answered,
        }
    }
}

struct Look {
    /// Records that wait in all partitions.
    waiting: u64,
    /// Whether every partition in which records wait has a consumer.
    is_worked_on: bool,
    /// Records in the longest queue.
    longest: u64,
}

async fn look_at(channel: &Channel, partitions: u16) -> lapin::Result<Look> {
    let mut waiting = 0;
    let mut is_worked_on = true;
    let mut longest = topology::depth(channel, topology::UNROUTABLE)
        .await?
        .messages;
    for partition in 0..partitions {
        let depth = topology::depth(channel, &topology::of_partition(partition)).await?;
        waiting += depth.messages;
        longest = longest.max(depth.messages);
        is_worked_on &= depth.messages == 0 || depth.consumers > 0;
    }
    Ok(Look {
        waiting,
        is_worked_on,
        longest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_refusals_cost_a_connection_a_minute_at_most() {
        let start = Instant::now();
        let mut cure = Cure::default();
        let mut due = |s: u64| cure.is_due(start + Duration::from_secs(s));
        let cures: Vec<u64> = (0..400).filter(|s| due(*s)).collect();
        assert_eq!(cures, [0, 5, 15, 35, 75, 135, 195, 255, 315, 375]);
        assert!(due(600), "long after");
        assert!(due(606), "that was a new beginning");
    }
}
