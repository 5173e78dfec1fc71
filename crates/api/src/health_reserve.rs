//! Connections reserved for health checks. When all ordinary connections are in use, health requests must still be
//! answered, or a watchdog would kill a process that serves its chargers. The reserved connections may request health
//! and metrics only. No client can occupy them all: when they are in use too, a new connection
//! replaces the oldest one.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Number of reserved connections.
pub(crate) const RESERVE_MAX: usize = 64;
/// A reserved connection is not replaced before this age. It is enough to answer a request that has arrived. With
/// [`RESERVE_MAX`] it limits the reserved connections to 640 per second.
const AGE_MIN: Duration = Duration::from_millis(100);

/// The reserved connections, oldest first.
#[derive(Debug, Default)]
pub(crate) struct HealthReserve(VecDeque<(Instant, JoinHandle<()>)>);

impl HealthReserve {
    /// Waits until there is room for one more connection, and closes the oldest one if necessary; at most 100 ms.
    pub(crate) async fn make_room(&mut self) {
        if self.0.len() >= RESERVE_MAX {
            self.0.retain(|(_, task)| !task.is_finished());
        }
        while self.0.len() >= RESERVE_MAX {
            if let Some((since, _)) = self.0.front() {
                sleep_until(*since + AGE_MIN).await;
            }
            if let Some((_, oldest)) = self.0.pop_front() {
                oldest.abort();
                // Awaited, so that the limit is never exceeded.
                drop(oldest.await);
            }
        }
    }

    /// Adds a connection's task.
    pub(crate) fn hold(&mut self, task: JoinHandle<()>) {
        self.0.push_back((Instant::now(), task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_replaces_the_oldest_only_when_all_are_in_use() {
        let mut reserve = HealthReserve::default();
        let began = Instant::now();
        let mut ends = Vec::new();
        for _ in 0..RESERVE_MAX + 2 {
            reserve.make_room().await;
            let task = tokio::spawn(pending());
            ends.push(task.abort_handle());
            reserve.hold(task);
        }
        let ended = ends.iter().filter(|task| task.is_finished()).count();
        assert_eq!(ended, 2);
        assert!(ends[0].is_finished() && ends[1].is_finished());
        assert!(began.elapsed() >= AGE_MIN && began.elapsed() < 2 * AGE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_connection_is_replaced_at_once() {
        let mut reserve = HealthReserve::default();
        let began = Instant::now();
        for _ in 0..10 * RESERVE_MAX {
            reserve.make_room().await;
            let task = tokio::spawn(async {});
            tokio::task::yield_now().await;
            reserve.hold(task);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
