//! When a message is tried again, and when its webhook is switched off.
//!
//! Source: the schedule that Standard Webhooks 1.0.0 recommends, continued with a day between attempts; and `Retry-After`
//! (RFC 9110, section 10.2.3), by which a receiver that is overloaded names another time. It is bounded: a receiver can
//! neither postpone an attempt by more than a day nor be sent to again and again without a pause.
//!
//! The time for which a receiver fails is the sum of the attempts and of the waits between them, each as long as it was planned
//! at most ([`Failures::after`]). So neither a clock that jumps nor a system that was down for days switches a webhook off.

use central::Timestamp;
use std::time::{Duration, SystemTime};

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
/// With fewer failures in a row it stays on.
const FAILURES_MIN: u32 = 5;
/// The part of a delay that is drawn, so that webhooks that failed together are not tried together.
const JITTER: f64 = 0.2;
/// The status by which a receiver says that it wants no more messages.
const GONE: u16 = 410;
/// The statuses whose `Retry-After` counts: too many requests, unavailable.
const WITH_RETRY_AFTER: [u16; 2] = [429, 503];
/// `Retry-After` makes an attempt come sooner than the schedule says, but not sooner than this.
const RETRY_AFTER_MIN: Duration = Duration::from_mins(1);
/// `Retry-After` makes an attempt come later than the schedule says, but not later than this.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

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
    /// The time of the last failure, less the time for which the receiver fails: when the first one was, unless the clock
    /// was set since or this system was down.
    pub(super) since: Timestamp,
}

/// The failures in a row before the one that has just happened, as they were recorded after the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Earlier {
    /// The failures.
    pub(super) failures: Failures,
    /// When the last one was, by the clock that `failures.since` goes by.
    pub(super) last_at: Timestamp,
    /// When the next attempt was to be made, by the same clock.
    pub(super) next_at: Timestamp,
}

impl Failures {
    /// The failures with one that has happened at `now`, of an attempt that took so long by a clock that does not jump. Of the
    /// time since the last failure no more counts than was planned, and none if the clock was set back.
    pub(super) fn after(earlier: Option<Earlier>, now: Timestamp, took: Duration) -> Self {
        let between = |from: Timestamp, to: Timestamp| to.0.saturating_sub(from.0);
        let took_ms = millis(took);
        let Some(earlier) = earlier else {
            return Self {
                count: 1,
                since: Timestamp(now.0.saturating_sub(took_ms)),
            };
        };
        let planned_ms = between(earlier.last_at, earlier.next_at);
        let planned_ms = planned_ms.clamp(0, millis(RETRY_AFTER_MAX));
        let waited_ms = between(earlier.last_at, now).saturating_sub(took_ms);
        let failing_ms = between(earlier.failures.since, earlier.last_at)
            .max(0)
            .saturating_add(waited_ms.clamp(0, planned_ms))
            .saturating_add(took_ms);
        Self {
            count: earlier.failures.count.saturating_add(1),
            since: Timestamp(now.0.saturating_sub(failing_ms)),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The answer of a receiver that has not accepted a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status, if there was one.
    pub(super) status: Option<u16>,
    /// How long the receiver asks to wait: see [`retry_after`].
    pub(super) retry_after: Option<Duration>,
}

/// What follows a failure at `now`. `draw` is a random number from 0 to 1.
pub(super) fn after_failure(failures: Failures, answer: Answer, now: Timestamp, draw: f64) -> Next {
    if answer.status == Some(GONE) {
        return Next::SwitchOff("the receiver answered 410 Gone".to_owned());
    }
    let failing_ms = now.0.saturating_sub(failures.since.0);
    if failing_ms >= millis(FAILING_MAX) && failures.count >= FAILURES_MIN {
        return Next::SwitchOff(format!(
            "no attempt since {} was successful: {} in {} days",
            failures.since,
            failures.count,
            failing_ms / 86_400_000
        ));
    }
    let at = (failures.count.max(1) - 1) as usize;
    let delay = DELAYS[at.min(DELAYS.len() - 1)];
    let draw = draw.clamp(0.0, 1.0);
    let delay = match answer.wait() {
        // Never sooner than the receiver asks, so what is drawn makes it longer.
        Some(wait) => wait
            .mul_f64(1.0 + JITTER * draw)
            .clamp(delay.min(RETRY_AFTER_MIN), RETRY_AFTER_MAX),
        None => delay.mul_f64(1.0 - JITTER * draw),
    };
    Next::RetryAt(Timestamp(now.0.saturating_add(millis(delay))))
}

impl Answer {
    fn wait(&self) -> Option<Duration> {
        let counts = self
            .status
            .is_some_and(|status| WITH_RETRY_AFTER.contains(&status));
        let wait = self.retry_after.filter(|_| counts);
        wait.map(|wait| wait.min(RETRY_AFTER_MAX))
    }
}

/// How long `Retry-After` asks to wait: seconds, or until a date. `date` is the answer's header `Date`, the clock by which the
/// receiver has computed the date; without it, the clock of this machine counts, which is `now`. A date that is past asks
/// not to wait. `None`: it is neither.
pub(super) fn retry_after(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large is as good as the longest wait.
        return Some(Duration::from_secs(
            text.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let date = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    let wait = until.duration_since(date.unwrap_or(now));
    Some(wait.unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn status(status: u16) -> Answer {
        Answer {
            status: Some(status),
            retry_after: None,
        }
    }

    fn failing(count: u32, now: i64) -> Next {
        let failures = Failures {
            count,
            since: Timestamp(0),
        };
        after_failure(failures, status(500), Timestamp(now), 0.0)
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
        let delay = |draw| after_failure(failures, Answer::default(), Timestamp(1_000), draw);
        assert_eq!(delay(0.0), Next::RetryAt(Timestamp(301_000)));
        assert_eq!(delay(1.0), Next::RetryAt(Timestamp(241_000)));
    }

    #[test]
    fn gone_switches_off_at_the_first_failure() {
        let failures = Failures {
            count: 1,
            since: Timestamp(0),
        };
        let next = after_failure(failures, status(410), Timestamp(0), 0.5);
        assert!(matches!(next, Next::SwitchOff(_)), "{next:?}");
    }

    #[test]
    fn few_failures_switch_nothing_off() {
        assert!(matches!(failing(4, 30 * DAY_MS), Next::RetryAt(_)));
        assert!(matches!(failing(5, 30 * DAY_MS), Next::SwitchOff(_)));
    }

    /// The failures until a receiver that is always down is switched off. `jump_ms` says by how much the clock is set before
    /// each attempt, by the number of the failures so far.
    fn failures_until_off(answer: Answer, jump_ms: impl Fn(u32) -> i64) -> u32 {
        const TOOK: Duration = Duration::from_secs(15);
        let mut clock = 1_000 * DAY_MS;
        let mut earlier: Option<Earlier> = None;
        loop {
            let count = earlier.map_or(0, |earlier| earlier.failures.count);
            clock += millis(TOOK) + jump_ms(count);
            let now = Timestamp(clock);
            let failures = Failures::after(earlier, now, TOOK);
            let Next::RetryAt(next_at) = after_failure(failures, answer, now, 0.0) else {
                return failures.count;
            };
            assert!(failures.count < 100_000, "it is never switched off");
            earlier = Some(Earlier {
                failures,
                last_at: now,
                next_at,
            });
            // What is due in the past, or too far ahead, is attempted at once.
            clock = next_at.0;
        }
    }

    #[test]
    fn clock_that_jumps_ends_no_retries_early_and_none_late() {
        let plain = failures_until_off(status(500), |_| 0);
        assert_eq!(plain, 12, "the schedule of five days");
        for at in 0..plain {
            for jump_ms in [5 * DAY_MS, 400 * DAY_MS, 3_600_000] {
                let jump = |count| if count == at { jump_ms } else { 0 };
                let ahead = failures_until_off(status(500), jump);
                assert_eq!(ahead, plain, "ahead by {jump_ms} ms after {at} failures");
                // The wait that the jump has ended does not count, and that is all.
                let back = failures_until_off(status(500), |count| -jump(count));
                assert!(
                    (plain..=plain + 1).contains(&back),
                    "{back}: back by {jump_ms} ms after {at} failures"
                );
            }
        }
        let every = failures_until_off(status(500), |_| 5 * DAY_MS);
        assert_eq!(every, plain, "a jump before each attempt");
    }

    #[test]
    fn receiver_that_postpones_by_a_minute_is_switched_off_after_five_days_of_attempts() {
        let answer = Answer {
            status: Some(503),
            retry_after: Some(Duration::from_secs(60)),
        };
        // An attempt takes 15 seconds, and the wait after it a minute.
        let until = failures_until_off(answer, |_| 0);
        assert!((5_755..=5_770).contains(&until), "{until}");
        let with_jump = failures_until_off(answer, |count| match count {
            100 => 5 * DAY_MS,
            _ => 0,
        });
        assert_eq!(with_jump, until);
    }

    #[test]
    fn first_failure_lasts_as_long_as_its_attempt_whatever_the_clock_does_meanwhile() {
        let took = Duration::from_secs(2);
        let first = Failures::after(None, Timestamp(10 * DAY_MS), took);
        assert_eq!(first.count, 1);
        assert_eq!(first.since, Timestamp(10 * DAY_MS - 2_000));
        let extreme = Earlier {
            failures: Failures {
                count: u32::MAX,
                since: Timestamp(i64::MAX),
            },
            last_at: Timestamp(i64::MIN),
            next_at: Timestamp(i64::MAX),
        };
        let next = Failures::after(Some(extreme), Timestamp(0), Duration::MAX);
        assert_eq!(next.count, u32::MAX);
    }

    #[test]
    fn many_failures_do_not_overflow() {
        assert!(matches!(failing(u32::MAX, 1), Next::RetryAt(_)));
        assert!(matches!(failing(1, i64::MAX), Next::RetryAt(_)));
    }

    /// The delay after the failure of this number, in seconds.
    fn delay_s(count: u32, status: u16, retry_after_s: u64, draw: f64) -> i64 {
        let failures = Failures {
            count,
            since: Timestamp(0),
        };
        let answer = Answer {
            status: Some(status),
            retry_after: Some(Duration::from_secs(retry_after_s)),
        };
        match after_failure(failures, answer, Timestamp(0), draw) {
            Next::RetryAt(at) => at.0 / 1_000,
            Next::SwitchOff(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn receiver_that_is_overloaded_names_the_time_within_bounds() {
        for (count, status, retry_after_s, wanted_s, why) in [
            (1, 429, 20, 20, "later than the schedule"),
            (4, 503, 90, 90, "sooner than the schedule"),
            (
                1,
                503,
                0,
                5,
                "not sooner than the first delay of the schedule",
            ),
            (9, 429, 0, 60, "not again and again without a pause"),
            (1, 503, u64::MAX, 86_400, "not later than in a day"),
            (2, 500, 7_200, 300, "only of these statuses"),
        ] {
            let delay_s = delay_s(count, status, retry_after_s, 0.0);
            assert_eq!(delay_s, wanted_s, "{why}");
        }
        assert_eq!(delay_s(1, 429, 100, 1.0), 120, "never sooner than asked");
        assert_eq!(delay_s(1, 429, 86_400, 1.0), 86_400);
        // Otherwise it would count as due at once.
        const { assert!(RETRY_AFTER_MAX.as_millis() < central::model::WEBHOOK_DUE_IN_MS_MAX as u128) };
    }

    #[test]
    fn receiver_that_always_postpones_is_switched_off_all_the_same() {
        let failures = Failures {
            count: 5,
            since: Timestamp(0),
        };
        let answer = Answer {
            status: Some(503),
            retry_after: Some(Duration::from_secs(60)),
        };
        let next = after_failure(failures, answer, Timestamp(5 * DAY_MS), 0.0);
        assert!(matches!(next, Next::SwitchOff(_)), "{next:?}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_clock_of_the_receiver() {
        const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
        let now = httpdate::parse_http_date(DATE).expect("a date");
        let wait_s = |text: &str, date| retry_after(text, date, now).map(|wait| wait.as_secs());
        assert_eq!(wait_s("120", None), Some(120));
        assert_eq!(wait_s(" 0 ", None), Some(0));
        assert_eq!(wait_s("Wed, 21 Oct 2015 07:30:00 GMT", None), Some(120));
        // The obsolete forms of RFC 9110, section 5.6.7.
        assert_eq!(wait_s("Wednesday, 21-Oct-15 07:29:00 GMT", None), Some(60));
        assert_eq!(wait_s("Wed Oct 21 07:29:00 2015", None), Some(60));
        let ahead = Some("Wed, 21 Oct 2015 08:28:00 GMT");
        assert_eq!(wait_s("Wed, 21 Oct 2015 08:29:00 GMT", ahead), Some(60));
        assert_eq!(wait_s(DATE, ahead), Some(0), "a date that is past");
        assert_eq!(wait_s(DATE, Some("nonsense")), Some(0));
        let long = "9".repeat(30);
        assert!(wait_s(&long, None).is_some_and(|wait| wait > 86_400));
        for wrong in ["", "-1", "1.5", "soon", "١٢"] {
            assert_eq!(wait_s(wrong, None), None, "{wrong}");
        }
    }
}
