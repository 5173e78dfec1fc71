//! When all places for connections are taken, by whomever, the one who asks whether the process lives
//! must still be answered, or a watchdog would kill a process that serves its chargers well. So there
//! is a reserve of further connections, which may ask for health and figures only. Nobody can hold the
//! reserve either: when it is full too, a newcomer takes the place of the one that is there longest.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Connections in the reserve.
pub(crate) const RESERVE_MAX: usize = 64;
/// For so long a connection in the reserve is never ended for a newcomer. Enough for one request whose
/// bytes are there already; with [`RESERVE_MAX`] it says how many newcomers a second get in.
const STAY_MIN: Duration = Duration::from_millis(100);

/// The connections in the reserve, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Reserve(VecDeque<(Instant, JoinHandle<()>)>);

impl Reserve {
    /// Waits until there is room for one more, ending the oldest if need be: 100 ms at most.
    pub(crate) async fn make_room(&mut self) {
        if self.0.len() >= RESERVE_MAX {
            self.0.retain(|(_, task)| !task.is_finished());
        }
        while self.0.len() >= RESERVE_MAX {
            if let Some((since, _)) = self.0.front() {
                sleep_until(*since + STAY_MIN).await;
            }
            if let Some((_, oldest)) = self.0.pop_front() {
                oldest.abort();
                // Gone before another comes, so that there are never more than the bound.
                drop(oldest.await);
            }
        }
    }

    /// Takes a connection's task in.
    pub(crate) fn hold(&mut self, task: JoinHandle<()>) {
        self.0.push_back((Instant::now(), task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_ends_the_oldest_and_only_when_there_is_no_room() {
        let mut reserve = Reserve::default();
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
        assert!(began.elapsed() >= STAY_MIN && began.elapsed() < 2 * STAY_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_ended_gives_its_place_at_once() {
        let mut reserve = Reserve::default();
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
