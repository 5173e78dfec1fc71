//! The tasks that must run as long as the gateway. A panic ends only its task, so without this the gateway would go on
//! without, say, its forwarder or a listener, and look healthy until its journal is full.

use common::restart::PAUSE;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;

/// Runs the task until it returns. A panic is logged, and after [`PAUSE`] the task runs again, without what it held. What
/// it shares with others must be usable after a panic.
pub(crate) async fn kept_running<F: Future<Output = ()>>(name: &'static str, task: impl Fn() -> F) {
    while AssertUnwindSafe(task()).catch_unwind().await.is_err() {
        tracing::error!(
            task = name,
            "a task of the gateway panicked and is started again"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_run_again_until_it_returns() {
        let runs = AtomicU32::new(0);
        kept_running("test", || async {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            assert!(run > 1, "the panics of this test");
        })
        .await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }
}
