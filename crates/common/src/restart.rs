//! The threads and tasks that must run as long as their process. A panic ends only its thread or task, so without this a bug
//! that one message in a million triggers would stop, for example, all commands, while the process runs on and seems healthy.

use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The pause after a panic, so that one that comes back at once does not fill the log or keep a processor busy.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Runs `body` until it returns. After a panic it calls `panicked`, waits [`PAUSE`], and runs `body` again. What `body`
/// holds across calls must be usable after a panic.
pub fn until_it_returns(mut body: impl FnMut(), mut panicked: impl FnMut()) {
    until_it_returns_after(PAUSE, &mut body, &mut panicked);
}

fn until_it_returns_after(pause: Duration, body: &mut impl FnMut(), panicked: &mut impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut *body)).is_err() {
        panicked();
        std::thread::sleep(pause);
    }
}

/// Runs the task until it returns. A panic is logged with its name, and after [`PAUSE`] the task is made and run again, without
/// what it held. What it shares with others must be usable after a panic.
pub async fn task<F: Future<Output = ()>>(name: &'static str, make: impl Fn() -> F) {
    // In the future, so that a panic of `make` is caught too.
    let attempt = || async { AssertUnwindSafe(make()).catch_unwind().await };
    while attempt().await.is_err() {
        tracing::error!(task = name, "a task panicked and is started again");
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
        task("test", || async {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            assert!(run > 1, "the panics of this test");
        })
        .await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_body_that_panics_is_run_again_until_it_returns() {
        let (mut runs, mut panics) = (0, 0);
        let mut body = || {
            runs += 1;
            assert!(runs > 2, "the panics of this test");
        };
        until_it_returns_after(Duration::ZERO, &mut body, &mut || panics += 1);
        assert_eq!((runs, panics), (3, 2));
    }
}
