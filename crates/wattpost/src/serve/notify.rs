//! Notifications to systemd (`Type=notify`): ready, stopping, and the watchdog if `WatchdogSec=` is set. Does nothing
//! without systemd.

use journal::{FullReason, Journal, Status};
use sd_notify::NotifyState;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The task that notifies the watchdog; dropping it ends the task.
pub(crate) struct WatchdogTask(Option<JoinHandle<()>>);

impl Drop for WatchdogTask {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// Notifies systemd that the process is ready, and starts to notify the watchdog. The task runs on the same runtime as
/// everything else: the watchdog is not notified if the runtime hangs, nor if the journal has failed or its disk hangs
/// ([`DiskWatch`]).
pub(crate) fn ready(journal: Option<Journal>) -> WatchdogTask {
    notify(&[NotifyState::Ready]);
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return WatchdogTask(None);
    };
    // At least twice per timeout, as sd_watchdog_enabled(3) recommends.
    let interval = (timeout / 2).clamp(Duration::from_millis(100), POLL_INTERVAL);
    let mut disk = DiskWatch::new(timeout, Instant::now());
    WatchdogTask(Some(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let is_healthy = journal
                .as_ref()
                .is_none_or(|journal| disk.is_healthy(Instant::now(), &journal.status()));
            if is_healthy {
                notify(&[NotifyState::Watchdog]);
            }
        }
    })))
}

/// The longest interval between two checks of the journal.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Detects a disk that hangs: records have waited for `timeout` and none of them became durable. A journal that is idle
/// or full, or that waits for disk space, is healthy, because a restart would not help.
struct DiskWatch {
    timeout: Duration,
    durable: u64,
    waiting_for: Duration,
    checked_at: Instant,
    is_logged: bool,
}

impl DiskWatch {
    const fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            timeout,
            durable: 0,
            waiting_for: Duration::ZERO,
            checked_at: now,
            is_logged: false,
        }
    }

    fn is_healthy(&mut self, now: Instant, journal: &Status) -> bool {
        // If this check is late, this process was stalled, so the excess does not count against the disk.
        let since_last = now
            .saturating_duration_since(self.checked_at)
            .min(POLL_INTERVAL * 2);
        self.checked_at = now;
        let is_moving = journal.durable_seq != self.durable;
        let is_idle = journal.durable_seq >= journal.appended_seq;
        let waits_for_space = journal.full == Some(FullReason::DiskFull);
        self.durable = journal.durable_seq;
        if is_moving || is_idle || waits_for_space {
            self.waiting_for = Duration::ZERO;
            self.is_logged = false;
        } else {
            self.waiting_for += since_last;
        }
        let hangs = self.waiting_for >= self.timeout;
        if hangs && !std::mem::replace(&mut self.is_logged, true) {
            tracing::error!(
                waiting_ms = self.waiting_for.as_millis(),
                "the journal's disk hangs: systemd's watchdog is not notified until it works again"
            );
        }
        journal.poisoned.is_none() && !hangs
    }
}

/// Tells systemd that another process, which this one has started, is the service from now on.
pub(crate) fn replaced_by(pid: u32) {
    notify(&[NotifyState::MainPid(pid), NotifyState::Ready]);
}

/// Notifies systemd that the process stops, so that the stop does not count as a failure.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::sim::SimDisk;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn disk_that_hangs_is_unhealthy_until_it_works_again() {
        let disk = SimDisk::new(7);
        let (journal, _) = Journal::open_on(disk.clone(), journal::Options::default()).unwrap();
        let mut now = Instant::now();
        let mut disk_watch = DiskWatch::new(TIMEOUT, now);
        let mut healthy_checks = |journal: &Journal, seconds: u32| {
            let checks = (0..seconds).filter(|_| {
                now += POLL_INTERVAL;
                disk_watch.is_healthy(now, &journal.status())
            });
            checks.count()
        };
        let first = journal.append(b"record", None).unwrap();
        journal.wait_durable(first).unwrap();
        assert_eq!(healthy_checks(&journal, 3_600), 3_600, "idle");

        disk.set_stuck(true);
        let second = journal.append(b"record", None).unwrap();
        let healthy = healthy_checks(&journal, 3_600);
        assert!((28..=31).contains(&healthy), "{healthy}");

        disk.set_stuck(false);
        journal.wait_durable(second).unwrap();
        assert_eq!(healthy_checks(&journal, 60), 60, "it works again");
    }

    #[test]
    fn journal_is_healthy_where_a_restart_would_not_help() {
        let start = Instant::now();
        let mut disk_watch = DiskWatch::new(TIMEOUT, start);
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
            now += POLL_INTERVAL;
            assert!(disk_watch.is_healthy(now, &no_space), "it waits for space");
        }
        // A slow disk: one sync in each half of the timeout.
        for durable_seq in 5..100 {
            now += TIMEOUT / 2;
            let slow = Status {
                appended_seq: 200,
                durable_seq,
                full: Some(FullReason::DiskTooSlow),
                ..Status::default()
            };
            assert!(disk_watch.is_healthy(now, &slow));
        }
        let poisoned = Status {
            poisoned: Some("disk error".to_owned()),
            ..Status::default()
        };
        assert!(!disk_watch.is_healthy(now, &poisoned));
    }

    #[test]
    fn stall_of_the_process_does_not_count_against_the_disk() {
        let start = Instant::now();
        let mut disk_watch = DiskWatch::new(TIMEOUT, start);
        let waiting = Status {
            appended_seq: 9,
            durable_seq: 5,
            ..Status::default()
        };
        assert!(disk_watch.is_healthy(start + POLL_INTERVAL, &waiting));
        assert!(disk_watch.is_healthy(start + Duration::from_secs(3_600), &waiting));
    }
}
