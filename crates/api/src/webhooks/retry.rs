//! When a message is tried again, and when its webhook is switched off.
//!
//! Source: the schedule that Standard Webhooks 1.0.0 recommends, continued with a day between attempts.

use central::Timestamp;
use std::time::Duration;

/// The delay after each failure in a row; the last one is that of all further failures.
const DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// Failures for as long as this switch a webhook off.
const FAILING_MAX: Duration = Duration::from_hours(5 * 24);
/// With fewer failures in a row it stays on: nobody tried while this system was down.
const FAILURES_MIN: u32 = 5;
/// The part of a delay that is drawn, so that webhooks that failed together are not tried together.
const JITTER: f64 = 0.2;
/// The status by which a receiver says that it wants no more messages.
const GONE: u16 = 410;

/// What follows a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The same message is sent again, then.
    RetryAt(Timestamp),
    /// The webhook is switched off, for this reason.
    SwitchOff(String),
}

/// The failures in a row of a webhook, with the one that has just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failures {
    /// How many; at least 1.
    pub(super) count: u32,
    /// When the first one was.
    pub(super) since: Timestamp,
}

/// What follows a failure at `now`. `status` is that of the answer, if there was one. `draw` is a random number from 0 to 1.
pub(super) fn after_failure(
    failures: Failures,
    status: Option<u16>,
    now: Timestamp,
    draw: f64,
) -> Next {
    if status == Some(GONE) {
        return Next::SwitchOff("the receiver answered 410 Gone".to_owned());
    }
    let failing_ms = now.0.saturating_sub(failures.since.0);
    let max_ms = i64::try_from(FAILING_MAX.as_millis()).unwrap_or(i64::MAX);
    if failing_ms >= max_ms && failures.count >= FAILURES_MIN {
        return Next::SwitchOff(format!(
            "no attempt since {} was successful: {} in {} days",
            failures.since,
            failures.count,
            failing_ms / 86_400_000
        ));
    }
    let at = (failures.count.max(1) - 1) as usize;
    let delay = DELAYS[at.min(DELAYS.len() - 1)];
    let delay = delay.mul_f64(1.0 - JITTER * draw.clamp(0.0, 1.0));
    let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    Next::RetryAt(Timestamp(now.0.saturating_add(delay_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn failing(count: u32, now: i64) -> Next {
        let failures = Failures {
            count,
            since: Timestamp(0),
        };
        after_failure(failures, Some(500), Timestamp(now), 0.0)
    }

    #[test]
    fn receiver_that_is_always_down_is_tried_for_five_days() {
        let mut now = 0;
        let mut delays_s = Vec::new();
        for count in 1.. {
            match failing(count, now) {
                Next::RetryAt(at) => {
                    delays_s.push((at.0 - now) / 1_000);
                    now = at.0;
                }
                Next::SwitchOff(reason) => {
                    assert!(reason.contains("in 5 days"), "{reason}");
                    break;
                }
            }
        }
        let schedule = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        assert_eq!(delays_s[..9], schedule);
        assert!((5 * DAY_MS..6 * DAY_MS + 1).contains(&now), "{now}");
    }

    #[test]
    fn delay_has_jitter_of_a_fifth_and_is_never_longer() {
        let failures = Failures {
            count: 2,
            since: Timestamp(0),
        };
        let delay = |draw| after_failure(failures, None, Timestamp(1_000), draw);
        assert_eq!(delay(0.0), Next::RetryAt(Timestamp(301_000)));
        assert_eq!(delay(1.0), Next::RetryAt(Timestamp(241_000)));
    }

    #[test]
    fn gone_switches_off_at_the_first_failure() {
        let failures = Failures {
            count: 1,
            since: Timestamp(0),
        };
        let next = after_failure(failures, Some(410), Timestamp(0), 0.5);
        assert!(matches!(next, Next::SwitchOff(_)), "{next:?}");
    }

    #[test]
    fn webhook_stays_on_if_this_system_was_down_for_the_five_days() {
        assert!(matches!(failing(4, 30 * DAY_MS), Next::RetryAt(_)));
        assert!(matches!(failing(5, 30 * DAY_MS), Next::SwitchOff(_)));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        assert!(matches!(failing(u32::MAX, 1), Next::RetryAt(_)));
        assert!(matches!(failing(1, i64::MAX), Next::RetryAt(_)));
    }
}
