//! The settings of the HTTP side, and what is wrong with them before anything is started.

use crate::reserve::RESERVE_MAX;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the HTTP side listens and what it bounds. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port. Default `127.0.0.1:8080`: nobody is asked who they are yet, so nobody
    /// outside this machine is let in unless this says so. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// How long a request may take before it is answered with 503, in milliseconds. Default 10,000;
    /// 1 to 600,000.
    pub request_timeout_ms: u64,
    /// How many questions to the database may run at once. Default 4; 1 to 64. Each holds a thread
    /// while it runs; further requests wait their turn within `request_timeout_ms`.
    pub ledger_calls_max: usize,
    /// How many connections are served at once. Default 256; 1 to 10,000. Beside them 64 more
    /// may ask for health and figures; whatever else these ask is answered with 503.
    pub connections_max: usize,
    /// How long a connection may stay between requests (a new one may take 5 seconds at most for its
    /// first request's head, however long this is), and how long a client may leave
    /// our bytes unread, in milliseconds. Default 30,000, twice the usual interval of a metrics
    /// scraper; 100 to 600,000.
    pub idle_timeout_ms: u64,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            request_timeout_ms: 10_000,
            ledger_calls_max: 4,
            connections_max: 256,
            idle_timeout_ms: 30_000,
        }
    }
}

impl ApiConfig {
    /// Whether the settings are sound.
    ///
    /// # Errors
    /// One sentence with the key, the value and what would be right.
    pub fn check(&self) -> Result<(), String> {
        within("request_timeout_ms", self.request_timeout_ms, 1, 600_000)?;
        within("ledger_calls_max", self.ledger_calls_max as u64, 1, 64)?;
        within("connections_max", self.connections_max as u64, 1, 10_000)?;
        within("idle_timeout_ms", self.idle_timeout_ms, 100, 600_000)
    }

    /// File handles that its connections may take: `connections_max`, and the reserve for health and figures.
    #[must_use]
    pub const fn handles_max(&self) -> u64 {
        (self.connections_max + RESERVE_MAX) as u64
    }

    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) const fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }
}

fn within(key: &str, value: u64, min: u64, max: u64) -> Result<(), String> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "http.{key} is {value}; it must be from {min} to {max}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_listen_on_this_machine_only() {
        let config = ApiConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn a_bound_that_is_out_of_range_is_named_with_its_value() {
        let config = ApiConfig {
            ledger_calls_max: 0,
            ..ApiConfig::default()
        };
        assert_eq!(
            config.check(),
            Err("http.ledger_calls_max is 0; it must be from 1 to 64".to_owned())
        );
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let read: Result<ApiConfig, _> = serde_json::from_str(r#"{"lisen":"127.0.0.1:1"}"#);
        let why = read.expect_err("unknown field").to_string();
        assert!(why.contains("lisen") && why.contains("listen"), "{why}");
    }
}
