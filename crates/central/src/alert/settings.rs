//! Which alerts Wattpost evaluates, and their thresholds.

use super::limits::{FLEET_DROP_PERCENT, FLEET_MIN, RESTARTS, RESTARTS_WITHIN_S};
use super::{RULES_KEEP_S_MAX, Rule, Severity, rule, rules};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest value of the setting `restarts`.
pub const RESTARTS_MAX: u64 = 15;
/// The largest value of the setting `restarts_within_s`: a day.
pub const RESTARTS_WITHIN_S_MAX: u64 = 86_400;
/// The largest value of the setting `flapping_connects`, and of `boot_loop_boots`.
pub const COUNTED_TIMES_MAX: u64 = 60;

/// An alert about what has happened within a time that can be set.
struct Window {
    name: &'static str,
    /// The time if it is not set, in seconds.
    default_s: u32,
    /// The shortest time. What is counted from reports needs two of the samples that are kept.
    least_s: u32,
}

/// The longest time in `within_s`, in seconds: what processes have reported, and events, are kept for an hour.
const WITHIN_S_MAX: u32 = 3_600;
/// The shortest time for what is counted from reports, in seconds.
const REPORTED_S_MIN: u32 = 20;

const fn window(name: &'static str, default_s: u32, least_s: u32) -> Window {
    Window {
        name,
        default_s,
        least_s,
    }
}

/// All alerts that `within_s` can name.
const WINDOWS: &[Window] = &[
    window("BootLoop", 3_600, 1),
    window("BrokerRefuses", 300, REPORTED_S_MIN),
    window("ChargerFlapping", 3_600, 1),
    window("ConnectStorm", 300, REPORTED_S_MIN),
    window("DeadLetters", 900, 1),
    window("NotDurableClosed", 900, REPORTED_S_MIN),
    window("Paced", 300, REPORTED_S_MIN),
    window("Unroutable", 900, REPORTED_S_MIN),
    window("WebhookSwitchedOff", 3_600, REPORTED_S_MIN),
    window("WrongPassword", 600, 1),
    window("WrongPasswords", 900, REPORTED_S_MIN),
];

/// The settings of the evaluation. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Names of alerts that are not evaluated. Default: none.
    pub off: Vec<String>,
    /// Seconds for which a condition holds before its alert fires, by the name of the alert, or by `NAME/SEVERITY`; at most
    /// 30 days. Default: as in the catalogue.
    pub for_s: BTreeMap<String, u32>,
    /// The same for the seconds for which a condition must not hold before its alert ends.
    pub keep_firing_s: BTreeMap<String, u32>,
    /// Seconds within which events count, by the name of an alert whose condition counts them. Default: the time that the
    /// condition names. 1 to 3,600; at least 20 where reports of processes are compared.
    pub within_s: BTreeMap<String, u32>,
    /// `ChargerFlapping`: connections within an hour. Default 6; 1 to 60.
    pub flapping_connects: u32,
    /// `BootLoop`: boots within an hour. Default 3; 1 to 60.
    pub boot_loop_boots: u32,
    /// `UnknownCharger`: refused handshakes. Default 3; 0 to 1,000,000.
    pub unknown_charger_refusals: u32,
    /// `WrongPassword`: refused handshakes within 10 minutes. Default 5; 0 to 1,000,000.
    pub wrong_password_refusals: u32,
    /// `ChargerClockWrong`: seconds. Default 300; 1 to 86,400.
    pub clock_error_s: u32,
    /// `ChargerSilent`: seconds without a message; three times the interval of Heartbeat at least. Default 900; 0: not judged; up
    /// to 604,800.
    pub charger_silent_s: u32,
    /// `ConnectorStuck`: seconds in Preparing. Default 900; 1 to 604,800.
    pub preparing_s: u32,
    /// `ConnectorStuck`: seconds in Finishing. Default 7,200; 1 to 604,800.
    pub finishing_s: u32,
    /// `TransactionStuck`: seconds without a change. Default 900; 1 to 604,800.
    pub transaction_silent_s: u32,
    /// `TransactionStuck`: hours since the start. Default 48; 1 to 8,760.
    pub transaction_hours_max: u32,
    /// `MeterNotMoving`: seconds. Default 1,200; 1 to 604,800.
    pub meter_still_s: u32,
    /// `WebhookFailing`: seconds. Default 3,600; 1 to 604,800.
    pub webhook_failing_s: u32,
    /// `ChargerOffline`: a charger that no operator has added counts once it has booted and the time between its first and
    /// its latest message is so many seconds. 0: every charger counts. Default 600; 0 to 604,800.
    pub charger_known_s: u32,
    /// `ChargersLongOffline`: days after which a charger that is offline and has no alert gets none. Default 7; 1 to 3,650.
    pub long_offline_days: u32,
    /// `SiteOffline`: chargers of a site that are gone. Default 3; 2 to 10,000.
    pub site_offline_min: u32,
    /// `SiteOffline`: percent of the chargers of a site that are gone. Default 50; 1 to 100.
    pub site_offline_percent: u32,
    /// `SiteOffline`: seconds within which they have gone. Default 300; 10 to 86,400.
    pub site_offline_within_s: u32,
    /// `RestartLoop`: restarts after ends that were not in order. Default 3; 1 to 15.
    pub restarts: u32,
    /// `RestartLoop`: seconds within which they are. Default 900; 10 to 86,400.
    pub restarts_within_s: u32,
    /// `FleetDrop`: percent of the chargers of the last 30 minutes that are gone. Default 20; 1 to 99.
    pub fleet_drop_percent: u32,
    /// `FleetDrop`: chargers of the last 30 minutes below which it is not judged. Default 20; 1 to 1,000,000.
    pub fleet_min: u32,
    /// The database is late, and no alert of a charger is judged, if it is behind the journals by more seconds than this.
    /// Default 30; 1 to 3,600.
    pub lag_s_max: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            off: Vec::new(),
            for_s: BTreeMap::new(),
            keep_firing_s: BTreeMap::new(),
            within_s: BTreeMap::new(),
            flapping_connects: 6,
            boot_loop_boots: 3,
            unknown_charger_refusals: 3,
            wrong_password_refusals: 5,
            clock_error_s: 300,
            charger_silent_s: 900,
            preparing_s: 900,
            finishing_s: 7_200,
            transaction_silent_s: 900,
            transaction_hours_max: 48,
            meter_still_s: 1_200,
            webhook_failing_s: 3_600,
            charger_known_s: 600,
            long_offline_days: 7,
            site_offline_min: 3,
            site_offline_percent: 50,
            site_offline_within_s: 300,
            restarts: RESTARTS,
            restarts_within_s: RESTARTS_WITHIN_S,
            fleet_drop_percent: FLEET_DROP_PERCENT,
            fleet_min: FLEET_MIN,
            lag_s_max: 30,
        }
    }
}

/// A threshold that is out of range: key, value, smallest and largest value.
pub type OutOfRange = (&'static str, u64, u64, u64);

impl Thresholds {
    /// The first number that is out of range.
    #[must_use]
    pub fn out_of_range(&self) -> Option<OutOfRange> {
        const WEEK: u64 = 604_800;
        [
            (
                "flapping_connects",
                self.flapping_connects,
                1,
                COUNTED_TIMES_MAX,
            ),
            (
                "boot_loop_boots",
                self.boot_loop_boots,
                1,
                COUNTED_TIMES_MAX,
            ),
            (
                "unknown_charger_refusals",
                self.unknown_charger_refusals,
                0,
                1_000_000,
            ),
            (
                "wrong_password_refusals",
                self.wrong_password_refusals,
                0,
                1_000_000,
            ),
            ("clock_error_s", self.clock_error_s, 1, 86_400),
            ("charger_silent_s", self.charger_silent_s, 0, WEEK),
            ("preparing_s", self.preparing_s, 1, WEEK),
            ("finishing_s", self.finishing_s, 1, WEEK),
            ("transaction_silent_s", self.transaction_silent_s, 1, WEEK),
            (
                "transaction_hours_max",
                self.transaction_hours_max,
                1,
                8_760,
            ),
            ("meter_still_s", self.meter_still_s, 1, WEEK),
            ("webhook_failing_s", self.webhook_failing_s, 1, WEEK),
            ("charger_known_s", self.charger_known_s, 0, WEEK),
            ("long_offline_days", self.long_offline_days, 1, 3_650),
            ("site_offline_min", self.site_offline_min, 2, 10_000),
            ("site_offline_percent", self.site_offline_percent, 1, 100),
            (
                "site_offline_within_s",
                self.site_offline_within_s,
                10,
                86_400,
            ),
            ("restarts", self.restarts, 1, RESTARTS_MAX),
            (
                "restarts_within_s",
                self.restarts_within_s,
                10,
                RESTARTS_WITHIN_S_MAX,
            ),
            ("fleet_drop_percent", self.fleet_drop_percent, 1, 99),
            ("fleet_min", self.fleet_min, 1, 1_000_000),
            ("lag_s_max", self.lag_s_max, 1, 3_600),
        ]
        .into_iter()
        .map(|(key, value, least, most)| (key, u64::from(value), least, most))
        .find(|(_, value, least, most)| !(least..=most).contains(&value))
    }

    /// The first name that no alert has, or that has too long a time: the key, the value, and what it must be.
    #[must_use]
    pub fn wrong_name(&self) -> Option<(&'static str, String, String)> {
        for name in &self.off {
            if !rules().any(|rule| rule.name == name) {
                return Some(("off", format!("{name:?}"), NAME_EXPECTED.to_owned()));
            }
        }
        for (key, table) in [
            ("for_s", &self.for_s),
            ("keep_firing_s", &self.keep_firing_s),
        ] {
            for (name, seconds) in table {
                let is_known = match name.split_once('/') {
                    None => rules().any(|rule| rule.name == name),
                    Some((name, severity)) => {
                        Severity::from_word(severity).is_some_and(|one| rule(name, one).is_some())
                    }
                };
                if !is_known {
                    return Some((key, format!("{name:?}"), NAME_EXPECTED.to_owned()));
                }
                if *seconds > RULES_KEEP_S_MAX {
                    let right = format!("at most {RULES_KEEP_S_MAX} seconds (30 days)");
                    return Some((key, format!("{name} = {seconds}"), right));
                }
            }
        }
        for (name, seconds) in &self.within_s {
            let Some(window) = WINDOWS.iter().find(|window| window.name == name) else {
                let names: Vec<&str> = WINDOWS.iter().map(|window| window.name).collect();
                let right = format!("one of {}", names.join(", "));
                return Some(("within_s", format!("{name:?}"), right));
            };
            if !(window.least_s..=WITHIN_S_MAX).contains(seconds) {
                let right = format!("from {} to {WITHIN_S_MAX} seconds", window.least_s);
                return Some(("within_s", format!("{name} = {seconds}"), right));
            }
        }
        None
    }

    /// The milliseconds within which the events count that the condition of this alert is about; 0 for an alert that counts
    /// none.
    #[must_use]
    pub fn within_ms(&self, name: &str) -> i64 {
        let default = || WINDOWS.iter().find(|window| window.name == name);
        let set = self.within_s.get(name).copied();
        let seconds = set.or_else(|| default().map(|window| window.default_s));
        i64::from(seconds.unwrap_or_default()) * 1_000
    }

    /// Whether this alert is evaluated.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        !self.off.iter().any(|off| off == name)
    }

    /// For how many milliseconds the condition of this rule holds before it fires.
    #[must_use]
    pub fn for_ms(&self, rule: &Rule) -> i64 {
        i64::from(found(&self.for_s, rule).unwrap_or(rule.for_s)) * 1_000
    }

    /// For how many milliseconds the condition of this rule must not hold before it ends.
    #[must_use]
    pub fn keep_ms(&self, rule: &Rule) -> i64 {
        i64::from(found(&self.keep_firing_s, rule).unwrap_or(rule.keep_firing_s)) * 1_000
    }
}

fn found(table: &BTreeMap<String, u32>, rule: &Rule) -> Option<u32> {
    let exact = format!("{}/{}", rule.name, rule.severity.word());
    table.get(&exact).or_else(|| table.get(rule.name)).copied()
}

/// What a name in the settings must be.
const NAME_EXPECTED: &str = "the name of an alert, such as \"ChargerOffline\" or, in for_s and keep_firing_s, \"BrokerLost/page\" (`wattpost alerts rules` lists them)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_severity_goes_before_that_of_the_name() {
        let settings = Thresholds {
            for_s: [
                ("BrokerLost".to_owned(), 5),
                ("BrokerLost/page".to_owned(), 9),
            ]
            .into(),
            ..Thresholds::default()
        };
        let of = |severity| settings.for_ms(&rule("BrokerLost", severity).unwrap());
        assert_eq!((of(Severity::Ticket), of(Severity::Page)), (5_000, 9_000));
        assert_eq!(settings.wrong_name(), None);
    }

    #[test]
    fn a_time_within_which_events_count_has_the_bounds_of_its_alert() {
        let with = |name: &str, seconds| Thresholds {
            within_s: [(name.to_owned(), seconds)].into(),
            ..Thresholds::default()
        };
        for window in WINDOWS {
            assert!(rules().any(|rule| rule.name == window.name));
            let ms = i64::from(window.default_s) * 1_000;
            assert_eq!(Thresholds::default().within_ms(window.name), ms);
            assert_eq!(with(window.name, 30).within_ms(window.name), 30_000);
            for (seconds, is_right) in [
                (window.least_s - 1, false),
                (window.least_s, true),
                (WITHIN_S_MAX, true),
                (WITHIN_S_MAX + 1, false),
            ] {
                let wrong = with(window.name, seconds).wrong_name();
                assert_eq!(wrong.is_none(), is_right, "{wrong:?}");
            }
        }
        let wrong = with("BrokerLost", 30).wrong_name().unwrap();
        assert_eq!((wrong.0, wrong.1.as_str()), ("within_s", "\"BrokerLost\""));
        assert!(wrong.2.contains("BrokerRefuses"), "{}", wrong.2);
    }

    #[test]
    fn a_name_that_no_alert_has_is_an_error() {
        for (key, settings) in [
            (
                "off",
                Thresholds {
                    off: vec!["Nothing".to_owned()],
                    ..Thresholds::default()
                },
            ),
            (
                "for_s",
                Thresholds {
                    for_s: [("BrokerLost/info".to_owned(), 5)].into(),
                    ..Thresholds::default()
                },
            ),
            (
                "keep_firing_s",
                Thresholds {
                    keep_firing_s: [("BrokerLost".to_owned(), u32::MAX)].into(),
                    ..Thresholds::default()
                },
            ),
        ] {
            assert_eq!(settings.wrong_name().unwrap().0, key);
        }
    }
}
