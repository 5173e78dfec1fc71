//! The threads that must run as long as their process. A panic ends only its thread, so without this a bug that one
//! message in a million hits would stop, say, all commands, while the process runs on and looks healthy.

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

#[cfg(test)]
mod tests {
    use super::*;

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
