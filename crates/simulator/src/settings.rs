//! The settings of a fleet as a charger uses them: durations, already divided by `speed_up` where that applies.

use crate::command_fault::CommandFault;
use crate::config::{FleetConfig, ResendIds, Scenario};
use std::time::Duration;

/// Minimum time between two connection attempts, whatever `speed_up` is. Without it a thousand chargers would use the
/// whole CPU for reconnecting.
const RECONNECT_MIN: Duration = Duration::from_millis(100);

/// Shared by all chargers of a fleet.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What they do.
    pub scenario: Scenario,
    /// Connectors per charger.
    pub connectors: u8,
    /// Mean time between two vehicles at a connector; `None` = none arrives.
    pub arrivals_mean: Option<Duration>,
    /// Mean length of a transaction.
    pub transaction_mean: Duration,
    /// Interval of meter values.
    pub meter_interval: Duration,
    /// Simulated seconds per real second, for energy.
    pub speed_up: f64,
    /// Meter values after which a charger in `meter-flood` has finished.
    pub flood_values: Option<u64>,
    /// Minimum time between two meter values in `meter-flood`.
    pub flood_gap: Duration,
    /// Meter values per transaction in `meter-flood`; 0 = no limit.
    pub values_per_transaction: u64,
    /// Capacity of a queue in messages.
    pub queue_messages_max: usize,
    /// Failed transmissions after which a message is discarded.
    pub attempts: u32,
    /// Time before a resend, multiplied by the number of failed transmissions.
    pub retry_interval: Duration,
    /// Timeout of a call.
    pub answer_timeout: Duration,
    /// Message ids of resends.
    pub resend_ids: ResendIds,
    /// Whether a lost connection counts as a failed transmission.
    pub count_lost_connections: bool,
    /// Whether status notifications are sent before queued transaction messages.
    pub status_first: bool,
    /// Whether BootNotification is sent at each reconnect.
    pub boot_on_reconnect: bool,
    /// Whether 1.6 stops have the id -1.
    pub stops_without_id: bool,
    /// Interval of heartbeats; `None` = as the central system requests.
    pub heartbeat: Option<Duration>,
    /// 1.6: time before a reconnect.
    pub reconnect: Duration,
    /// 1.6: maximum random addition to it.
    pub reconnect_jitter: Duration,
    /// 2.x: `RetryBackOffWaitMinimum`.
    pub backoff_minimum: Duration,
    /// 2.x: `RetryBackOffRandomRange`.
    pub backoff_range: Duration,
    /// 2.x: `RetryBackOffRepeatTimes`.
    pub backoff_doublings: u32,
    /// Interval of pings; `None` = no pings.
    pub ping: Option<Duration>,
    /// Tokens that drivers present; not empty.
    pub tokens: Vec<String>,
    /// The faults in answering commands.
    pub command_faults: Vec<CommandFault>,
    /// Whether the queue is saved ([`crate::charger::Output::Save`]).
    pub keep_queue: bool,
    /// Whether ledger entries are written ([`crate::charger::Output::Ledger`]).
    pub keep_ledger: bool,
}

impl Settings {
    /// A simulated time in seconds, divided by `speed_up`.
    #[must_use]
    pub fn scaled(&self, seconds: f64) -> Duration {
        seconds_f64(seconds / self.speed_up)
    }
}

impl From<&FleetConfig> for Settings {
    fn from(config: &FleetConfig) -> Self {
        let scaled = |seconds: f64| seconds_f64(seconds / config.speed_up);
        let tokens = if config.tokens.is_empty() {
            (1..=50).map(|i| format!("SIMTAG{i:04}")).collect()
        } else {
            config.tokens.clone()
        };
        let arrivals = config.transactions_per_hour > 0.0 && config.scenario == Scenario::Steady;
        Self {
            scenario: config.scenario,
            connectors: config.connectors,
            arrivals_mean: arrivals.then(|| scaled(3600.0 / config.transactions_per_hour)),
            transaction_mean: scaled(config.transaction_minutes * 60.0),
            meter_interval: scaled(config.meter_interval_s),
            speed_up: config.speed_up,
            flood_values: config.messages_per_charger,
            flood_gap: config
                .rate_per_charger
                .map_or(Duration::ZERO, |rate| seconds_f64(1.0 / rate)),
            values_per_transaction: config.values_per_transaction,
            queue_messages_max: config.queue_messages_max,
            attempts: config.attempts,
            retry_interval: scaled(config.retry_interval_s),
            answer_timeout: seconds_f64(config.answer_timeout_s),
            resend_ids: config.resend_ids,
            count_lost_connections: config.count_lost_connections,
            status_first: config.status_first,
            boot_on_reconnect: config.boot_on_reconnect,
            stops_without_id: config.stops_without_id,
            heartbeat: config.heartbeat_interval_s.map(scaled),
            reconnect: scaled(config.reconnect_s).max(RECONNECT_MIN),
            reconnect_jitter: scaled(config.reconnect_jitter_s).max(RECONNECT_MIN),
            backoff_minimum: scaled(config.backoff_minimum_s).max(RECONNECT_MIN),
            backoff_range: scaled(config.backoff_range_s).max(RECONNECT_MIN),
            backoff_doublings: config.backoff_doublings.min(20),
            ping: (config.ping_interval_s > 0.0).then(|| seconds_f64(config.ping_interval_s)),
            tokens,
            command_faults: config.command_faults.clone(),
            keep_queue: config.queue_dir.is_some(),
            keep_ledger: config.ledger.is_some(),
        }
    }
}

/// Seconds as a duration from a microsecond to 1e9 seconds; NaN and infinity become the maximum.
fn seconds_f64(seconds: f64) -> Duration {
    const MAX: Duration = Duration::from_secs(1_000_000_000);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(MAX)
        .clamp(Duration::from_micros(1), MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_up_divides_simulated_times_and_not_those_of_the_network() {
        let settings = Settings::from(&FleetConfig {
            speed_up: 60.0,
            ..FleetConfig::default()
        });
        assert_eq!(settings.meter_interval, Duration::from_secs(1));
        assert_eq!(settings.retry_interval, Duration::from_secs(1));
        assert_eq!(settings.arrivals_mean, Some(Duration::from_secs(30)));
        assert_eq!(settings.answer_timeout, Duration::from_secs(30));
        assert_eq!(settings.scaled(300.0), Duration::from_secs(5));
        assert_eq!(
            settings.scaled(f64::NAN),
            Duration::from_secs(1_000_000_000)
        );
    }
}
