//! The settings of alerts and their validation.

use super::MailConfig;
use central::alert::Thresholds;
use common::settings::{Section, SettingError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How alerts are evaluated. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertConfig {
    /// Whether this process evaluates alerts. Default `true`. One process at a time does it.
    pub enabled: bool,
    /// How often the pipeline is judged, in milliseconds. Default 5,000; 200 to 60,000.
    pub interval_ms: u64,
    /// How often chargers, transactions and webhooks are judged, in milliseconds. Default 30,000; 200 to 600,000.
    pub charger_interval_ms: u64,
    /// Days for which alerts that have ended are kept. Default 90; 1 to 3,650.
    pub retain_days: u32,
    /// Which alerts are evaluated, and their thresholds.
    pub rules: Thresholds,
    /// Where mails are sent.
    pub mail: MailConfig,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_ms: 5_000,
            charger_interval_ms: 30_000,
            retain_days: 90,
            rules: Thresholds::default(),
            mail: MailConfig::default(),
        }
    }
}

impl AlertConfig {
    /// Validates the settings.
    ///
    /// # Errors
    /// The first setting that is out of range, with its value and the permitted values.
    pub fn check(&self) -> Result<(), SettingError> {
        let alerts = Section("alerts");
        alerts.within("interval_ms", self.interval_ms, 200, 60_000)?;
        alerts.within(
            "charger_interval_ms",
            self.charger_interval_ms,
            200,
            600_000,
        )?;
        alerts.within("retain_days", u64::from(self.retain_days), 1, 3_650)?;
        let rules = Section("alerts.rules");
        if let Some((key, value, least, most)) = self.rules.out_of_range() {
            rules.within(key, value, least, most)?;
        }
        match self.rules.wrong_name() {
            Some((key, value, right)) => Err(rules.error(key, &value, &right, None)),
            None => self.mail.check(),
        }
    }

    /// How often the pipeline is judged.
    pub(super) const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// How often chargers are judged.
    pub(super) const fn charger_interval(&self) -> Duration {
        Duration::from_millis(self.charger_interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named_with_a_cure() {
        assert_eq!(AlertConfig::default().check(), Ok(()));
        let complaint = |text: &str| {
            let config: AlertConfig = serde_json::from_str(text).expect("it can be read");
            config.check().expect_err("it is wrong").to_string()
        };
        assert_eq!(
            complaint(r#"{"interval_ms":0}"#),
            "alerts.interval_ms is 0; it must be from 200 to 60000"
        );
        assert_eq!(
            complaint(r#"{"rules":{"clock_error_s":0}}"#),
            "alerts.rules.clock_error_s is 0; it must be from 1 to 86400"
        );
        // More times than are kept of a charger would never be counted.
        assert_eq!(
            complaint(r#"{"rules":{"flapping_connects":61}}"#),
            "alerts.rules.flapping_connects is 61; it must be from 1 to 60"
        );
        let said = complaint(r#"{"rules":{"within_s":{"NotDurableClosed":5}}}"#);
        for word in [
            "alerts.rules.within_s",
            "NotDurableClosed = 5",
            "from 20 to 3600 seconds",
        ] {
            assert!(said.contains(word), "{said}");
        }
        let said = complaint(r#"{"rules":{"off":["ChargerOflline"]}}"#);
        for word in [
            "alerts.rules.off",
            "ChargerOflline",
            "wattpost alerts rules",
        ] {
            assert!(said.contains(word), "{said}");
        }
    }
}
