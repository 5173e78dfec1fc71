//! The settings of webhooks and their validation.

use super::address::Reach;
use super::client::ClientConfig;
use common::settings::{Section, SettingError};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What webhooks may reach, and how long an attempt may take. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Whether URLs with `http` are allowed, and not only `https`. Default `false`.
    pub allow_http: bool,
    /// Networks that may be reached besides public addresses, such as `10.2.0.0/16`. Default: none.
    pub allowed_networks: Vec<IpNet>,
    /// How long connecting to one address may take, in milliseconds. Default 5,000; 100 to 60,000.
    pub connect_timeout_ms: u64,
    /// How long an attempt may take until the status has arrived, in milliseconds. Default 15,000; 100 to 60,000.
    pub timeout_ms: u64,
    /// Certificates of authorities, in PEM, in place of those of the operating system. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            allow_http: false,
            allowed_networks: Vec::new(),
            connect_timeout_ms: 5_000,
            timeout_ms: 15_000,
            ca_file: None,
        }
    }
}

impl WebhookConfig {
    /// Validates the settings.
    ///
    /// # Errors
    /// The first setting that is out of range, with its value and the permitted values.
    pub fn check(&self) -> Result<(), SettingError> {
        let webhooks = Section("webhooks");
        webhooks.within("connect_timeout_ms", self.connect_timeout_ms, 100, 60_000)?;
        webhooks.within("timeout_ms", self.timeout_ms, 100, 60_000)
    }

    /// The same for [`Client::new`](super::client::Client::new).
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        ClientConfig {
            reach: Reach {
                allow_http: self.allow_http,
                allowed_networks: self.allowed_networks.clone(),
            },
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            timeout: Duration::from_millis(self.timeout_ms),
            ca_file: self.ca_file.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_reach_public_addresses_by_https_only() {
        let config = WebhookConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.client().reach, Reach::default());
    }

    #[test]
    fn wrong_settings_are_named() {
        let config = WebhookConfig {
            timeout_ms: 0,
            ..WebhookConfig::default()
        };
        let error = config.check().expect_err("out of range").to_string();
        assert_eq!(
            error,
            "webhooks.timeout_ms is 0; it must be from 100 to 60000"
        );
        let read: Result<WebhookConfig, _> =
            serde_json::from_str(r#"{"allowed_networks":["10.2.0.0/33"]}"#);
        assert!(read.is_err(), "{read:?}");
    }
}
