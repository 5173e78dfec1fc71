//! Checks the queues once a second: their length, whether they have consumers, and whether they still exist. It
//! checks at once after RabbitMQ refused a record: a channel that was opened while a queue had no leader keeps
//! refusing, even when the queue has a new leader (seen on RabbitMQ 3.10.8). If a record was refused and no
//! queue is full, the channel is taken to be the cause, and a new connection is opened. The cause can also be a
//! limit set by a RabbitMQ policy, which is not visible here; so further reconnects are delayed more and more.

use crate::link::{BrokerShared, QueueSample, Session};
use crate::topology;
use lapin::Channel;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::error::Elapsed;

/// Interval between two checks.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Everything is declared again every `DECLARE_EVERY` checks, because deleted bindings are not reported.
const DECLARE_EVERY: u32 = 10;
/// Timeout of a check. RabbitMQ answers in milliseconds; a cluster that elects a leader takes seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Reconnects because of refusals, and the delays between them.
#[derive(Debug, Default)]
pub(crate) struct ReconnectLimit {
    last: Option<(Instant, Duration)>,
}

impl ReconnectLimit {
    const PAUSE_MIN: Duration = Duration::from_secs(5);
    const PAUSE_MAX: Duration = Duration::from_secs(60);

    /// Whether a refusal at `now` justifies a new connection. The first does, each later one after a delay of
    /// 5 s to 60 s that doubles; the delay is reset two minutes after the last reconnect.
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

/// Runs until the connection fails; fails the connection when the queues cannot be checked.
pub(crate) async fn run(shared: Arc<BrokerShared>, session: Arc<Session>) {
    let mut channel = None;
    for round in 1.. {
        let refused = tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => false,
            () = session.publisher.refused.notified() => true,
        };
        if session.is_blocked() {
            // Nothing can be sent while blocked; the link has discarded the last sample.
            continue;
        }
        let at = Instant::now();
        let check = async {
            let channel = match &channel {
                Some(channel) => channel,
                None => channel.insert(session.raw.connection.create_channel().await?),
            };
            if round % DECLARE_EVERY == 0 {
                topology::declare(&session.raw.connection, &shared.config).await?;
            }
            read_depths(channel, shared.config.partitions).await
        };
        match with_timeout(&session, check).await {
            Ok(Ok(depths)) => {
                let sample = QueueSample {
                    waiting: depths.waiting,
                    is_consumed: depths.is_consumed,
                    at,
                };
                shared.store_sample(&session, sample);
                // RabbitMQ enforces the length limit only approximately.
                let nearly_full = shared.config.queue_records_max / 10 * 9;
                if refused
                    && depths.longest < nearly_full
                    && shared.reconnect_limit().is_due(Instant::now())
                {
                    return session.fail("records are refused though no queue is full");
                }
            }
            Ok(Err(error)) => {
                return session.fail(format!("the queues cannot be checked: {error}"));
            }
            Err(_) if session.is_blocked() => {}
            Err(_) => return session.fail("RabbitMQ does not answer the check of its queues"),
        }
    }
}

/// Waits for an answer as long as deliveries arrive: the answer comes after them on the same socket.
async fn with_timeout<T>(session: &Session, answer: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = session.delivered.load(Ordering::Relaxed);
        match tokio::time::timeout(ANSWER_WITHIN, answer.as_mut()).await {
            Err(_) if session.delivered.load(Ordering::Relaxed) != before => {}
            answered => return answered,
        }
    }
}

struct Depths {
    /// Messages ready in all partitions.
    waiting: u64,
    /// Whether every partition with ready messages has a consumer.
    is_consumed: bool,
    /// Messages in the longest queue.
    longest: u64,
}

async fn read_depths(channel: &Channel, partitions: u16) -> lapin::Result<Depths> {
    let mut waiting = 0;
    let mut is_consumed = true;
    let mut longest = topology::depth(channel, topology::UNROUTABLE)
        .await?
        .messages;
    for partition in 0..partitions {
        let depth = topology::depth(channel, &topology::of_partition(partition)).await?;
        waiting += depth.messages;
        longest = longest.max(depth.messages);
        is_consumed &= depth.messages == 0 || depth.consumers > 0;
    }
    Ok(Depths {
        waiting,
        is_consumed,
        longest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_refusals_cost_a_connection_a_minute_at_most() {
        let start = Instant::now();
        let mut reconnect_limit = ReconnectLimit::default();
        let mut due = |s: u64| reconnect_limit.is_due(start + Duration::from_secs(s));
        let reconnects: Vec<u64> = (0..400).filter(|s| due(*s)).collect();
        assert_eq!(reconnects, [0, 5, 15, 35, 75, 135, 195, 255, 315, 375]);
        assert!(due(600), "long after");
        assert!(due(606), "that was a new beginning");
    }
}
