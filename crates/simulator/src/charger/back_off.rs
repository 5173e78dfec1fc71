//! How long a charger waits before it connects again: rule H-5 for 2.x, rule H-8 for 1.6.

use crate::settings::Settings;
use fastrand::Rng;
use ocpp::Version;
use std::time::Duration;

/// Why a connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, if the other side got as far as to send one.
    pub status: Option<u16>,
    /// `Retry-After`, if it said so.
    pub retry_after: Option<Duration>,
}

/// A 2.x server that asks for more than an hour is not taken at its word.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The state of the back-off: reset by each connection that was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BackOff {
    failures: u32,
    last: Duration,
}

impl BackOff {
    /// A connection was opened.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The line was lost (`None`) or could not be opened: how long to wait before the next try.
    pub(super) fn next_wait(
        &mut self,
        version: Version,
        refusal: Option<Refusal>,
        settings: &Settings,
        rng: &mut Rng,
    ) -> Duration {
        let mut upto = |range: Duration| range.mul_f64(rng.f64());
        let wait = if version == Version::V16 {
            // 404 and its kin ask for an "appropriate back-off"; nothing else does in 1.6.
            let refused = refusal
                .and_then(|refusal| refusal.status)
                .is_some_and(|status| (400..500).contains(&status));
            let doublings = if refused { self.failures.min(6) } else { 0 };
            settings.reconnect * 2_u32.pow(doublings) + upto(settings.reconnect_jitter)
        } else {
            let base = if self.failures == 0 {
                settings.backoff_minimum
            } else if self.failures <= settings.backoff_doublings {
                self.last * 2
            } else {
                // Constant from here on; the random part is already in it.
                return self.keep(self.last, refusal);
            };
            base + upto(settings.backoff_range)
        };
        self.keep(wait, refusal)
    }

    fn keep(&mut self, wait: Duration, refusal: Option<Refusal>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.last = wait;
        let asked = refusal.and_then(|refusal| refusal.retry_after);
        wait.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FleetConfig;

    fn refused(status: u16) -> Option<Refusal> {
        Some(Refusal {
            status: Some(status),
            retry_after: None,
        })
    }

    #[test]
    fn a_2x_charger_doubles_a_few_times_and_then_stays() {
        let settings = Settings::from(&FleetConfig::default());
        let mut rng = Rng::with_seed(1);
        let mut back_off = BackOff::default();
        let mut last = Duration::ZERO;
        for failure in 0..10 {
            let wait = back_off.next_wait(Version::V201, refused(503), &settings, &mut rng);
            match failure {
                0 => assert!((5..=10).contains(&wait.as_secs()), "{wait:?}"),
                1..=4 => assert!(wait >= last * 2 && wait <= last * 2 + settings.backoff_range),
                _ => assert_eq!(wait, last),
            }
            last = wait;
        }
        back_off.succeeded();
        assert!(
            back_off
                .next_wait(Version::V21, None, &settings, &mut rng)
                .as_secs()
                <= 10
        );
    }

    #[test]
    fn a_16_charger_waits_the_same_time_unless_it_is_unknown() {
        let settings = Settings::from(&FleetConfig::default());
        let mut rng = Rng::with_seed(1);
        let mut back_off = BackOff::default();
        for _ in 0..5 {
            let wait = back_off.next_wait(Version::V16, refused(503), &settings, &mut rng);
            assert!((5..=10).contains(&wait.as_secs()), "{wait:?}");
        }
        assert!(
            back_off
                .next_wait(Version::V16, refused(404), &settings, &mut rng)
                .as_secs()
                >= 100
        );
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        let settings = Settings::from(&FleetConfig {
            speed_up: 1000.0,
            ..FleetConfig::default()
        });
        let mut rng = Rng::with_seed(1);
        let mut wait = |seconds| {
            let asked = Some(Duration::from_secs(seconds));
            let refusal = Refusal {
                status: Some(503),
                retry_after: asked,
            };
            BackOff::default().next_wait(Version::V16, Some(refusal), &settings, &mut rng)
        };
        assert_eq!(wait(7), Duration::from_secs(7));
        assert_eq!(wait(1_000_000), RETRY_AFTER_MAX);
    }
}
