//! What systemd is told (`Type=notify`): that we are ready, that we stop, and, when a watchdog is set,
//! that we live. Says nothing where nobody listens.

use journal::Journal;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Ends the heartbeat when it is dropped.
pub(crate) struct Heart(Option<JoinHandle<()>>);

impl Drop for Heart {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// Tells that chargers (or records, or questions) may come, and beats for the watchdog from now on. The
/// heart is a task like all others: a runtime that hangs does not beat, and neither does a gateway whose
/// journal has stopped.
pub(crate) fn ready(journal: Option<Journal>) -> Heart {
    tell(&[NotifyState::Ready]);
    let Some(every) = sd_notify::watchdog_enabled() else {
        return Heart(None);
    };
    // Twice as often as must be, as sd_watchdog_enabled(3) advises.
    let pause = (every / 2).max(Duration::from_millis(100));
    Heart(Some(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(pause);
        loop {
            ticks.tick().await;
            if journal
                .as_ref()
                .is_none_or(|journal| journal.poisoned().is_none())
            {
                tell(&[NotifyState::Watchdog]);
            }
        }
    })))
}

/// Tells that the stop is wanted, so that it is not taken for a failure.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
