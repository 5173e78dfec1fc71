//! The delay before a reconnect as OCPP defines it: rule H-5 for 2.x, rule H-8 for 1.6.

use crate::settings::Settings;
use fastrand::Rng;
use ocpp::Version;
use std::time::Duration;

/// Why a connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, if one was received.
    pub status: Option<u16>,
    /// The value of `Retry-After`, if there was one.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// There was no response.
    pub(crate) const NONE: Self = Self {
        status: None,
        retry_after: None,
    };
}

/// Maximum of `Retry-After`; a longer one is shortened to it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The state of the back-off. Each opened connection resets it.
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

    /// The delay before the next attempt, after the connection was lost (`None`) or refused.
    pub(super) fn next_wait(
        &mut self,
        version: Version,
        refusal: Option<Refusal>,
        settings: &Settings,
        rng: &mut Rng,
    ) -> Duration {
        let mut random_up_to = |range: Duration| range.mul_f64(rng.f64());
        let wait = if version == Version::V16 {
            // In 1.6 only a status such as 404 requires an "appropriate back-off".
            let refused = refusal
                .and_then(|refusal| refusal.status)
                .is_some_and(|status| (400..500).contains(&status));
            let doublings = if refused { self.failures.min(6) } else { 0 };
            settings.reconnect * 2_u32.pow(doublings) + random_up_to(settings.reconnect_jitter)
        } else {
            let base = if self.failures == 0 {
                settings.backoff_minimum
            } else if self.failures <= settings.backoff_doublings {
                self.last * 2
            } else {
                // After the last doubling the delay is constant; it already has its random part.
                return self.finish(self.last, refusal);
            };
            base + random_up_to(settings.backoff_range)
        };
        self.finish(wait, refusal)
    }

    fn finish(&mut self, wait: Duration, refusal: Option<Refusal>) -> Duration {
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
    fn delay_of_a_2x_charger_doubles_up_to_its_maximum() {
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
    fn delay_of_a_16_charger_is_constant_unless_it_is_unknown() {
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
    fn retry_after_is_obeyed_up_to_an_hour() {
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
