//! The settings of the HTTP API and their validation.

use crate::health_reserve::RESERVE_MAX;
use common::settings::{Section, SettingError};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where the HTTP API listens, and its limits. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port. Default `127.0.0.1:8080`: other machines have no access. Another address needs an API key, see
    /// [`Api::start`](crate::Api::start). Port 0 selects any free port.
    pub listen: SocketAddr,
    /// Whether an address that other machines reach is open while no API key exists. Default `false`: then the API does
    /// not start there. For a port that only this machine or an authenticating proxy reaches, such as a published port of
    /// a container.
    pub open_without_keys: bool,
    /// How long a request may take before it is answered with 503, in milliseconds. Default 10,000;
    /// 1 to 600,000.
    pub request_timeout_ms: u64,
    /// Maximum number of concurrent queries to the database. Default 4; 1 to 64. Each takes a thread while it
    /// runs; further requests wait up to `request_timeout_ms`. One key, one user, or one address without a key has at most
    /// half of them at once.
    pub database_calls_max: usize,
    /// Maximum number of connections. Default 256; 1 to 10,000. In addition, 64 connections are reserved for
    /// health and metrics; other requests on these are answered with 503.
    pub connections_max: usize,
    /// How long a connection may stay idle between requests, and how long a client may leave an answer unread,
    /// in milliseconds. A new connection has at most 5 seconds for the head of its first request, whatever this
    /// says. Default 30,000, twice the usual interval of a metrics scraper; 100 to 600,000.
    pub idle_timeout_ms: u64,
    /// How many requests each API key, and each user, may make in a minute. Default 12,000; 0: no limit; at most 1,000,000. What
    /// needs no key is not counted. Each API process counts for itself.
    pub requests_per_minute_max: u32,
    /// Whether `/metrics` needs a key too, as soon as there is one. Default `false`: a monitoring system gets an answer also
    /// while the keys are not known. Processes without an API, which know no keys, listen elsewhere (`health`).
    pub metrics_need_key: bool,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            open_without_keys: false,
            request_timeout_ms: 10_000,
            database_calls_max: 4,
            connections_max: 256,
            idle_timeout_ms: 30_000,
            requests_per_minute_max: 12_000,
            metrics_need_key: false,
        }
    }
}

impl ApiConfig {
    /// Validates the settings.
    ///
    /// # Errors
    /// The first setting that is out of range, with its value and the permitted values.
    pub fn check(&self) -> Result<(), SettingError> {
        let http = Section("http");
        http.within("request_timeout_ms", self.request_timeout_ms, 1, 600_000)?;
        http.within("database_calls_max", self.database_calls_max, 1, 64)?;
        http.within("connections_max", self.connections_max, 1, 10_000)?;
        http.within("idle_timeout_ms", self.idle_timeout_ms, 100, 600_000)?;
        http.within(
            "requests_per_minute_max",
            self.requests_per_minute_max,
            0,
            1_000_000,
        )
    }

    /// File handles that its connections may take: `connections_max` and the connections reserved for health and
    /// metrics.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_listen_on_this_machine_only() {
        let config = ApiConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn a_setting_that_is_out_of_range_is_named_with_its_value() {
        let config = ApiConfig {
            database_calls_max: 0,
            ..ApiConfig::default()
        };
        let error = config.check().expect_err("out of range");
        assert_eq!(
            error.to_string(),
            "http.database_calls_max is 0; it must be from 1 to 64"
        );
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let read: Result<ApiConfig, _> = serde_json::from_str(r#"{"lisen":"127.0.0.1:1"}"#);
        let why = read.expect_err("unknown field").to_string();
        assert!(why.contains("lisen") && why.contains("listen"), "{why}");
    }
}
