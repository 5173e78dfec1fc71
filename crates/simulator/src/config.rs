//! The settings of a fleet: plain fields with defaults, one for each command line flag.
//!
//! `speed_up` divides the simulated times: meter interval, time between transactions, resend interval, reconnect
//! back-off, heartbeat interval, the interval of a Pending answer. It does not divide the times of the real network
//! (answer timeout, ping, `Retry-After`) nor the duration and the rate of the run, and a charger never reconnects within
//! less than 0.1 s. Timestamps in messages are the real time; energy grows with the simulated time.

use crate::command_fault::CommandFault;
use common::settings::{Section, SettingError};
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The name before each key in errors.
const SECTION: Section = Section("simulator");

/// Longer times, about thirty years, would overflow and can only be a mistake.
const SECONDS_MAX: f64 = 1e9;

/// More than chargers that one machine can simulate.
const LOOPBACK_ADDRESSES_MAX: u32 = 60_000;

/// A fleet of simulated chargers. `FleetConfig::default()` is twenty chargers with the scenario
/// [`Scenario::Steady`] that connect to `ws://127.0.0.1:9000/ocpp`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetConfig {
    /// The URL of the central system; each charger appends `/` and its identity (rule C-1). Only `ws` is supported.
    /// Default `ws://127.0.0.1:9000/ocpp`.
    pub url: String,
    /// Further URLs of the central system. After each lost connection and each failed handshake a charger tries the next
    /// one; the chargers begin with each of them in turn. Default: none.
    pub more_urls: Vec<String>,
    /// The number of addresses 127.0.1.1, 127.0.1.2, … that the chargers connect from, one after the other; the URLs must
    /// be of 127.0.0.0/8. A gateway bounds handshakes by address. 0 = the system chooses the address. Default 0.
    pub loopback_addresses: u32,
    /// Number of chargers. Default 20.
    pub chargers: u32,
    /// Prefix of the identities, followed by a number of five digits: 1 to 40 bytes without `:`. Default `SIM-`.
    pub id_prefix: String,
    /// The number of the first charger. Default 1.
    pub first_number: u32,
    /// HTTP Basic password of every charger; its user name is its identity (rule S-3). Default none.
    pub password: Option<String>,
    /// The shares of the OCPP versions. Default `1.6:1,2.0.1:1`.
    pub versions: VersionMix,
    /// What the chargers do. Default `steady`.
    pub scenario: Scenario,
    /// Connectors per charger (EVSEs with one connector each in 2.x). Default 1, at least 1.
    pub connectors: u8,
    /// Transactions per hour and connector, in `steady`. Default 2.
    pub transactions_per_hour: f64,
    /// Mean length of a transaction in minutes, in `steady`. Default 20.
    pub transaction_minutes: f64,
    /// Seconds between two meter values of a transaction, in `steady`. Default 60.
    pub meter_interval_s: f64,
    /// The factor by which simulated time runs faster than real time; the module's documentation says what it
    /// divides. Default 1.
    pub speed_up: f64,
    /// Duration of the run in seconds. Default: no limit.
    pub duration_s: Option<f64>,
    /// In `meter-flood`, the number of meter values per charger. Default: no limit.
    pub messages_per_charger: Option<u64>,
    /// In `meter-flood`, the maximum rate of meter values per charger, in 1/s. Default: each is sent as soon as the one
    /// before is answered.
    pub rate_per_charger: Option<f64>,
    /// In `meter-flood`, the number of meter values per transaction; 0 = one transaction for the whole run.
    /// Default 100.
    pub values_per_transaction: u64,
    /// Chargers that power up per second. Default 50.
    pub ramp_per_s: f64,
    /// The directory of the queue files, one per charger, from which a restarted simulator continues. Default: queues
    /// are in memory only.
    pub queue_dir: Option<PathBuf>,
    /// Capacity of a charger's queue, in messages; at least 10. A full queue accepts no meter value and no start of a
    /// transaction, but always a stop. Default 10,000.
    pub queue_messages_max: usize,
    /// A transaction message is discarded after this many failed transmissions on an open connection (rules Q-6,
    /// Default 3, at least 1.
    pub attempts: u32,
    /// Seconds before a resend, multiplied by the number of failed transmissions (rule Q-6). Default 60.
    pub retry_interval_s: f64,
    /// Timeout of a call in seconds (rule F-26). Default 30; not divided by `speed_up`.
    pub answer_timeout_s: f64,
    /// Whether a resend has a new message id or the first one (rules F-21, F-22). Default new.
    pub resend_ids: ResendIds,
    /// Whether a lost connection counts as a failed transmission of the unanswered message, as with some firmware
    /// (rule Q-9). Default no.
    pub count_lost_connections: bool,
    /// Whether status notifications are sent before older transaction messages in the queue, as some firmware does
    /// after a reconnect. Default no.
    pub status_first: bool,
    /// Whether a charger sends BootNotification at each reconnect, not only at power-up, as some
    /// firmware does (rule B-1). Default no.
    pub boot_on_reconnect: bool,
    /// Whether 1.6 chargers stop every transaction with the id -1, as firmware does that has lost the id from the answer
    /// to StartTransaction (rule Q-17). Default no.
    pub stops_without_id: bool,
    /// Seconds between heartbeats. Default: the interval in the answer to BootNotification.
    pub heartbeat_interval_s: Option<f64>,
    /// Seconds before a 1.6 charger reconnects (rule H-8). Default 5.
    pub reconnect_s: f64,
    /// Maximum random addition to `reconnect_s`, in seconds. Default 5.
    pub reconnect_jitter_s: f64,
    /// `RetryBackOffWaitMinimum` of 2.x chargers, seconds (rule H-5). Default 5.
    pub backoff_minimum_s: f64,
    /// `RetryBackOffRandomRange` of 2.x chargers, seconds (rule H-5). Default 5.
    pub backoff_range_s: f64,
    /// `RetryBackOffRepeatTimes` of 2.x chargers (rule H-5). Default 4.
    pub backoff_doublings: u32,
    /// Seconds between WebSocket pings of a charger; 0 = none (rule C-10). Default 60.
    pub ping_interval_s: f64,
    /// Tokens that drivers present. Default: fifty tokens `SIMTAG0001` to `SIMTAG0050`.
    pub tokens: Vec<String>,
    /// Which commands the chargers reject, delay or leave unanswered, tried in this order. Default: none.
    pub command_faults: Vec<CommandFault>,
    /// The ledger file. An existing file is appended to if `queue_dir` is set, else overwritten. Default: none.
    pub ledger: Option<PathBuf>,
    /// Seed of all random numbers; 0 = a random seed. Default 0.
    pub seed: u64,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            url: "ws://127.0.0.1:9000/ocpp".to_owned(),
            more_urls: Vec::new(),
            loopback_addresses: 0,
            chargers: 20,
            id_prefix: "SIM-".to_owned(),
            first_number: 1,
            password: None,
            versions: VersionMix::default(),
            scenario: Scenario::Steady,
            connectors: 1,
            transactions_per_hour: 2.0,
            transaction_minutes: 20.0,
            meter_interval_s: 60.0,
            speed_up: 1.0,
            duration_s: None,
            messages_per_charger: None,
            rate_per_charger: None,
            values_per_transaction: 100,
            ramp_per_s: 50.0,
            queue_dir: None,
            queue_messages_max: 10_000,
            attempts: 3,
            retry_interval_s: 60.0,
            answer_timeout_s: 30.0,
            resend_ids: ResendIds::New,
            count_lost_connections: false,
            status_first: false,
            boot_on_reconnect: false,
            stops_without_id: false,
            heartbeat_interval_s: None,
            reconnect_s: 5.0,
            reconnect_jitter_s: 5.0,
            backoff_minimum_s: 5.0,
            backoff_range_s: 5.0,
            backoff_doublings: 4,
            ping_interval_s: 60.0,
            tokens: Vec::new(),
            command_faults: Vec::new(),
            ledger: None,
            seed: 0,
        }
    }
}

impl FleetConfig {
    /// Validates the settings.
    ///
    /// # Errors
    /// The first invalid setting, with its value and the valid values.
    pub fn check(&self) -> Result<(), SettingError> {
        let positive = [
            ("transaction_minutes", self.transaction_minutes),
            ("meter_interval_s", self.meter_interval_s),
            ("speed_up", self.speed_up),
            ("ramp_per_s", self.ramp_per_s),
            ("retry_interval_s", self.retry_interval_s),
            ("answer_timeout_s", self.answer_timeout_s),
            ("duration_s", self.duration_s.unwrap_or(1.0)),
            ("rate_per_charger", self.rate_per_charger.unwrap_or(1.0)),
            (
                "heartbeat_interval_s",
                self.heartbeat_interval_s.unwrap_or(1.0),
            ),
        ];
        let not_negative = [
            ("transactions_per_hour", self.transactions_per_hour),
            ("reconnect_s", self.reconnect_s),
            ("reconnect_jitter_s", self.reconnect_jitter_s),
            ("backoff_minimum_s", self.backoff_minimum_s),
            ("backoff_range_s", self.backoff_range_s),
            ("ping_interval_s", self.ping_interval_s),
        ];
        for (key, value) in positive {
            if !(value > 0.0 && value <= SECONDS_MAX) {
                return Err(setting_error(
                    key,
                    value,
                    "a number above 0, 1000000000 or less",
                ));
            }
        }
        for (key, value) in not_negative {
            SECTION.within(key, value, 0.0, SECONDS_MAX)?;
        }
        SECTION.at_least("connectors", self.connectors, 1)?;
        SECTION.at_least("attempts", self.attempts, 1)?;
        SECTION.at_least("queue_messages_max", self.queue_messages_max, 10)?;
        if self.loopback_addresses > LOOPBACK_ADDRESSES_MAX {
            return Err(setting_error(
                "loopback_addresses",
                self.loopback_addresses,
                "0 to 60000",
            ));
        }
        let prefix = self.id_prefix.as_str();
        if prefix.is_empty() || prefix.len() > 40 || prefix.contains(':') {
            return Err(setting_error(
                "id_prefix",
                format!("{prefix:?}"),
                "1 to 40 bytes without ':'",
            ));
        }
        let is_invalid = |token: &&String| token.is_empty() || token.len() > 20;
        if let Some(token) = self.tokens.iter().find(is_invalid) {
            return Err(setting_error(
                "tokens",
                format!("{token:?}"),
                "tokens of 1 to 20 bytes",
            ));
        }
        Ok(())
    }

    /// The identity of the charger at `index` (counted from 0).
    #[must_use]
    pub fn charger_id(&self, index: u32) -> String {
        format!(
            "{}{:05}",
            self.id_prefix,
            u64::from(self.first_number) + u64::from(index)
        )
    }
}

/// The error of a setting that [`Section`] has no check for.
pub(crate) fn setting_error(key: &str, value: impl ToString, expected: &str) -> SettingError {
    SettingError {
        key: format!("{}.{key}", SECTION.0),
        value: value.to_string(),
        expected: expected.to_owned(),
        reason: None,
    }
}

/// What the chargers of a fleet do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Realistic: vehicles arrive, charge with a realistic curve, and leave.
    #[default]
    Steady,
    /// A closed loop for load: each charger starts a transaction and sends the next meter value as soon as the last one
    /// is answered.
    MeterFlood,
    /// Boot and heartbeats only.
    Idle,
}

impl Scenario {
    /// All scenarios.
    pub const ALL: [Self; 3] = [Self::Steady, Self::MeterFlood, Self::Idle];

    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::MeterFlood => "meter-flood",
            Self::Idle => "idle",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scenario {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| {
                setting_error(
                    "scenario",
                    format!("{text:?}"),
                    "steady, meter-flood or idle",
                )
            })
    }
}

/// The message id of a resend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResendIds {
    /// A new one each time.
    #[default]
    New,
    /// The one of the first transmission.
    Same,
}

impl fmt::Display for ResendIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Same => "same",
        })
    }
}

impl FromStr for ResendIds {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text {
            "new" => Ok(Self::New),
            "same" => Ok(Self::Same),
            _ => Err(setting_error(
                "resend_ids",
                format!("{text:?}"),
                "new or same",
            )),
        }
    }
}

/// Shares of OCPP versions in a fleet, written `1.6:2,2.0.1:1` or `1.6`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionMix(Vec<(Version, u32)>);

impl VersionMix {
    /// All chargers speak `version`.
    #[must_use]
    pub fn only(version: Version) -> Self {
        Self(vec![(version, 1)])
    }

    /// The version of the charger at `index`. The versions repeat in a cycle, so any sequence of chargers has about the
    /// right shares.
    #[must_use]
    pub fn version(&self, index: u32) -> Version {
        let total: u32 = self.0.iter().map(|(_, share)| share).sum();
        let mut position = index % total.max(1);
        for &(version, share) in &self.0 {
            if position < share {
                return version;
            }
            position -= share;
        }
        Version::V16
    }
}

impl Default for VersionMix {
    fn default() -> Self {
        Self(vec![(Version::V16, 1), (Version::V201, 1)])
    }
}

impl fmt::Display for VersionMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (version, share)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{version}:{share}")?;
        }
        Ok(())
    }
}

impl FromStr for VersionMix {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let bad = || {
            setting_error(
                "versions",
                format!("{text:?}"),
                "versions with shares of 1 to 1000, such as 1.6:2,2.0.1:1",
            )
        };
        let mut shares = Vec::new();
        for part in text.split(',') {
            let (number, share) = part.trim().split_once(':').unwrap_or((part.trim(), "1"));
            let version = Version::from_number(number).ok_or_else(bad)?;
            let share: u32 = share.parse().map_err(|_| bad())?;
            if !(1..=1000).contains(&share) {
                return Err(bad());
            }
            shares.push((version, share));
        }
        Ok(Self(shares))
    }
}

impl TryFrom<String> for VersionMix {
    type Error = SettingError;

    fn try_from(text: String) -> Result<Self, SettingError> {
        text.parse()
    }
}

impl From<VersionMix> for String {
    fn from(mix: VersionMix) -> Self {
        mix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_serde() {
        let config = FleetConfig::default();
        config.check().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<FleetConfig>(&text).unwrap(), config);
        assert_eq!(config.charger_id(0), "SIM-00001");
    }

    #[test]
    fn a_mix_repeats_its_shares_in_a_cycle() {
        let mix: VersionMix = "1.6:2,2.0.1".parse().unwrap();
        assert_eq!(mix.to_string(), "1.6:2,2.0.1:1");
        let versions: Vec<_> = (0..4).map(|i| mix.version(i)).collect();
        assert_eq!(
            versions,
            [Version::V16, Version::V16, Version::V201, Version::V16]
        );
    }

    #[test]
    fn an_invalid_setting_is_refused_with_its_key() {
        for text in ["", "1.5", "1.6:0", "1.6:x", "1.6,,2.1"] {
            assert_eq!(
                text.parse::<VersionMix>().unwrap_err().key,
                "simulator.versions"
            );
        }
        for (config, key) in [
            (
                FleetConfig {
                    speed_up: f64::NAN,
                    ..FleetConfig::default()
                },
                "speed_up",
            ),
            (
                FleetConfig {
                    reconnect_s: -1.0,
                    ..FleetConfig::default()
                },
                "reconnect_s",
            ),
            (
                FleetConfig {
                    connectors: 0,
                    ..FleetConfig::default()
                },
                "connectors",
            ),
            (
                FleetConfig {
                    id_prefix: "a:b".into(),
                    ..FleetConfig::default()
                },
                "id_prefix",
            ),
        ] {
            assert_eq!(config.check().unwrap_err().key, format!("simulator.{key}"));
        }
        assert!("sometimes".parse::<Scenario>().is_err());
        assert!("old".parse::<ResendIds>().is_err());
    }
}
