//! What systemd is told (`Type=notify`): that we are ready, that we stop, and, when a watchdog is set,
//! that we live. Says nothing where nobody listens.

use journal::{FullReason, Journal, Status};
use sd_notify::NotifyState;
use std::time::{Duration, Instant};
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
/// journal has stopped, or whose disk hangs (see [`Progress`]).
pub(crate) fn ready(journal: Option<Journal>) -> Heart {
    tell(&[NotifyState::Ready]);
    let Some(every) = sd_notify::watchdog_enabled() else {
        return Heart(None);
    };
    // Twice as often as must be, as sd_watchdog_enabled(3) advises, or more.
    let pause = (every / 2).clamp(Duration::from_millis(100), LOOK);
    let mut progress = Progress::new(every, Instant::now());
    Heart(Some(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let lives = journal
                .as_ref()
                .is_none_or(|journal| progress.lives(Instant::now(), &journal.status()));
            if lives {
                tell(&[NotifyState::Watchdog]);
            }
        }
    })))
}

/// Longest pause between two looks at the journal.
const LOOK: Duration = Duration::from_secs(1);

/// Whether the journal still makes durable what it takes. Records that have waited for longer than
/// `bound` without any of them becoming durable are the proof that it does not: the disk hangs. An idle
/// journal lives, and so does one that is full, or waits for space on the disk, which a restart would
/// not give it.
struct Progress {
    bound: Duration,
    durable: u64,
    waiting_for: Duration,
    looked_at: Instant,
    is_told: bool,
}

impl Progress {
    const fn new(bound: Duration, now: Instant) -> Self {
        Self {
            bound,
            durable: 0,
            waiting_for: Duration::ZERO,
            looked_at: now,
            is_told: false,
        }
    }

    fn lives(&mut self, now: Instant, journal: &Status) -> bool {
        // A look that comes late counts as one that came in time: then it was we who stood still.
        let since_last = now.saturating_duration_since(self.looked_at).min(LOOK * 2);
        self.looked_at = now;
        let is_moving = journal.durable_seq != self.durable;
        let is_idle = journal.durable_seq >= journal.appended_seq;
        let waits_for_space = journal.full == Some(FullReason::DiskFull);
        self.durable = journal.durable_seq;
        if is_moving || is_idle || waits_for_space {
            self.waiting_for = Duration::ZERO;
            self.is_told = false;
        } else {
            self.waiting_for += since_last;
        }
        let hangs = self.waiting_for >= self.bound;
        if hangs && !std::mem::replace(&mut self.is_told, true) {
            tracing::error!(
                waiting_ms = self.waiting_for.as_millis(),
                "the journal's disk hangs: the service manager's watchdog is told nothing until it goes on"
            );
        }
        journal.poisoned.is_none() && !hangs
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use journal::sim::SimDisk;

    const BOUND: Duration = Duration::from_secs(30);

    #[test]
    fn a_disk_that_hangs_does_not_beat_and_one_that_goes_on_does() {
        let disk = SimDisk::new(7);
        let (journal, _) = Journal::open_on(disk.clone(), journal::Options::default()).unwrap();
        let mut now = Instant::now();
        let mut progress = Progress::new(BOUND, now);
        let mut beats_for = |journal: &Journal, seconds: u32| {
            let beats = (0..seconds).filter(|_| {
                now += LOOK;
                progress.lives(now, &journal.status())
            });
            beats.count()
        };
        let first = journal.append(b"record", None).unwrap();
        journal.wait_durable(first).unwrap();
        assert_eq!(beats_for(&journal, 3_600), 3_600, "idle");

        disk.set_stuck(true);
        let second = journal.append(b"record", None).unwrap();
        let beats = beats_for(&journal, 3_600);
        assert!((28..=31).contains(&beats), "{beats}");

        disk.set_stuck(false);
        journal.wait_durable(second).unwrap();
        assert_eq!(beats_for(&journal, 60), 60, "it goes on");
    }

    #[test]
    fn a_restart_is_not_asked_for_where_it_would_not_help() {
        let start = Instant::now();
        let mut progress = Progress::new(BOUND, start);
        let waiting = Status {
            appended_seq: 9,
            durable_seq: 5,
            ..Status::default()
        };
        let no_space = Status {
            full: Some(FullReason::DiskFull),
            ..waiting.clone()
        };
        let mut now = start;
        for _ in 0..3_600 {
            now += LOOK;
            assert!(progress.lives(now, &no_space), "it waits for space");
        }
        // Slow, but every half minute one sync ends.
        for durable_seq in 5..100 {
            now += BOUND / 2;
            let slow = Status {
                appended_seq: 200,
                durable_seq,
                full: Some(FullReason::Behind),
                ..Status::default()
            };
            assert!(progress.lives(now, &slow));
        }
        let poisoned = Status {
            poisoned: Some("disk error".to_owned()),
            ..Status::default()
        };
        assert!(!progress.lives(now, &poisoned));
    }

    #[test]
    fn a_process_that_stood_still_itself_does_not_blame_the_disk() {
        let start = Instant::now();
        let mut progress = Progress::new(BOUND, start);
        let waiting = Status {
            appended_seq: 9,
            durable_seq: 5,
            ..Status::default()
        };
        assert!(progress.lives(start + LOOK, &waiting));
        assert!(progress.lives(start + Duration::from_secs(3_600), &waiting));
    }
}
