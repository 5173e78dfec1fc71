//! The settings and their defaults.
//!
//! A wrong setting prevents the start; the error is one sentence that names the key, the value and a value that would
//! work. `wattpost.example.toml` lists every key; a test holds it equal to the defaults here.

mod byte_size;
mod environment;
mod load;
mod renamed;
mod shown;
mod url;
mod validate;

use anyhow::{Result, bail};
pub(crate) use byte_size::ByteSize;
pub(crate) use load::Overrides;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
pub(crate) use url::without_password;

/// All settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Directory of the journal, the SQLite database and the gateway's identity. Default `./wattpost-data`.
    pub data_dir: PathBuf,
    /// Connections of chargers.
    pub gateway: gateway::GatewayConfig,
    /// Which chargers and tokens are accepted, and how messages are answered.
    pub policy: central::policy::Policy,
    /// The journal on local disk.
    pub journal: JournalSettings,
    /// RabbitMQ. It is not used if its URL is empty.
    pub broker: broker::Config,
    /// Applying of records to the database.
    pub consumer: consumer::Config,
    /// The database.
    pub database: DatabaseSettings,
    /// The log of events.
    pub events: EventSettings,
    /// Webhooks.
    pub webhooks: api::WebhookConfig,
    /// Alerts.
    pub alerts: api::AlertConfig,
    /// Health, metrics and API.
    pub http: api::ApiConfig,
    /// Health and metrics of roles that run alone.
    pub health: HealthSettings,
    /// Logs on stderr.
    pub log: LogSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./wattpost-data"),
            gateway: gateway::GatewayConfig::default(),
            policy: central::policy::Policy::default(),
            journal: JournalSettings::default(),
            broker: broker::Config {
                // `serve` works without RabbitMQ.
                url: String::new(),
                ..broker::Config::default()
            },
            consumer: consumer::Config::default(),
            database: DatabaseSettings::default(),
            events: EventSettings::default(),
            webhooks: api::WebhookConfig::default(),
            alerts: api::AlertConfig::default(),
            http: api::ApiConfig::default(),
            health: HealthSettings::default(),
            log: LogSettings::default(),
        }
    }
}

/// The journal on local disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JournalSettings {
    /// The most bytes of records that are not delivered. At this limit, connections are closed and handshakes get 503
    /// until there is space again. Default 8 GiB: days of outage for some thousand chargers.
    pub bytes_max: ByteSize,
    /// Size of one segment file; reduced automatically if `bytes_max` is small. Default 32 MiB.
    pub segment_bytes: ByteSize,
    /// Bytes of delivered records that are kept, so that resends are recognised after a restart. Default 64 MiB.
    pub retain_bytes: ByteSize,
    /// A record number of this gateway that was written into the database by mistake, and that would otherwise be
    /// taken as a sign of an old copy of the journal. The error of the refused start names it. It has no effect if
    /// another number after the journal's end is stored. Default 0: none.
    pub disregard_seq: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            bytes_max: ByteSize(8 << 30),
            segment_bytes: ByteSize(32 << 20),
            retain_bytes: ByteSize(64 << 20),
            disregard_seq: 0,
        }
    }
}

impl JournalSettings {
    /// The options for [`journal::Journal::open`].
    pub(crate) fn options(&self) -> journal::Options {
        journal::Options {
            bytes_max: self.bytes_max.0,
            segment_bytes: self.segment_bytes.0,
            retain_bytes: self.retain_bytes.0,
            ..journal::Options::default()
        }
    }
}

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatabaseSettings {
    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`; empty (the default) means `wattpost.db` in
    /// the data directory.
    pub url: String,
    /// Days for which messages, meter values, events of chargers and dead letters are kept. Default 0: no limit.
    pub retain_days: u32,
    /// Days for which commands are kept that are no longer queued. Default: as `retain_days`.
    pub retain_commands_days: Option<u32>,
    /// Days for which transactions are kept after their end; at least `retain_days`. Default 0: no limit.
    pub retain_transactions_days: u32,
    /// Days for which entries of the audit log are kept, of which there are 100,000 at most. Default 0: no limit.
    pub retain_audit_days: u32,
    /// PostgreSQL: most connections of one process. Default 6: one writes, the others answer queries.
    pub connections_max: u32,
    /// PostgreSQL: if a statement takes longer (in milliseconds), the database counts as unavailable. Default 15,000.
    pub statement_timeout_ms: u64,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            retain_days: 0,
            retain_commands_days: None,
            retain_transactions_days: 0,
            retain_audit_days: 0,
            connections_max: 6,
            statement_timeout_ms: 15_000,
        }
    }
}

/// The log of events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EventSettings {
    /// Days for which events are kept, 1 to 3,650. Default 30.
    pub retain_days: u32,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self { retain_days: 30 }
    }
}

/// Which database `database.url` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DatabaseAt<'a> {
    /// Its file.
    Sqlite(PathBuf),
    /// Its URL.
    Postgres(&'a str),
}

/// Addresses for health and metrics of roles that run alone; `serve` and `api` use `http.listen`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HealthSettings {
    /// `wattpost gateway`. Default `127.0.0.1:8081`.
    pub gateway_listen: SocketAddr,
    /// `wattpost consumer`. Default `127.0.0.1:8082`.
    pub consumer_listen: SocketAddr,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            gateway_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            consumer_listen: SocketAddr::from(([127, 0, 0, 1], 8082)),
        }
    }
}

/// Logs on stderr.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,gateway=debug`.
    pub level: String,
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object.
    Json,
}

impl Settings {
    /// The database that `database.url` names.
    ///
    /// # Errors
    /// When it names neither SQLite nor PostgreSQL.
    pub(crate) fn database_at(&self) -> Result<DatabaseAt<'_>> {
        let url = self.database.url.trim();
        if url.is_empty() {
            return Ok(DatabaseAt::Sqlite(self.data_dir.join("wattpost.db")));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(DatabaseAt::Postgres(url));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.trim_start_matches('/').is_empty() => Ok(DatabaseAt::Sqlite(
                PathBuf::from(path.strip_prefix("//").unwrap_or(path)),
            )),
            _ => bail!(
                "database.url is {:?}; give \"postgres://USER:PASSWORD@HOST/NAME\" or \"sqlite:PATH\" (or \
                 leave it empty for wattpost.db in the data directory)",
                without_password(url)
            ),
        }
    }

    /// The database for logs and output: without its password.
    pub(crate) fn redacted_database(&self) -> String {
        match self.database_at() {
            Ok(DatabaseAt::Sqlite(path)) => path.display().to_string(),
            Ok(DatabaseAt::Postgres(url)) => without_password(url),
            Err(_) => without_password(&self.database.url),
        }
    }

    /// Whether records are delivered through RabbitMQ.
    pub(crate) fn has_broker(&self) -> bool {
        !self.broker.url.trim().is_empty()
    }
}

impl DatabaseSettings {
    /// How long rows are kept.
    pub(crate) fn retention(&self) -> store::Retention {
        store::Retention {
            records_days: self.retain_days,
            commands_days: self.retain_commands_days.unwrap_or(self.retain_days),
            transactions_days: self.retain_transactions_days,
            audit_days: self.retain_audit_days,
        }
    }

    /// The options for [`store::PostgresStore::open`].
    pub(crate) fn postgres(&self) -> store::PostgresOptions {
        store::PostgresOptions {
            retention: self.retention(),
            connections_max: self.connections_max,
            statement_timeout: std::time::Duration::from_millis(self.statement_timeout_ms),
            ..store::PostgresOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wattpost.toml");
        std::fs::write(&file, toml).unwrap();
        Settings::load(Some(&file), Overrides::default())
    }

    #[test]
    fn a_charger_is_not_silent_before_three_of_its_heartbeats_are_missing() {
        for (toml, silent_s) in [
            ("", 900),
            ("[policy]\nheartbeat_interval_s = 3600", 10_800),
            (
                "[policy]\nheartbeat_interval_s = 1\n[alerts.rules]\ncharger_silent_s = 5",
                5,
            ),
            ("[alerts.rules]\ncharger_silent_s = 0", 0),
            ("[policy]\nrecord_heartbeats = false", 0),
        ] {
            let settings = load(toml).unwrap();
            assert_eq!(settings.alerts.rules.charger_silent_s, silent_s, "{toml}");
        }
    }

    fn complaint(toml: &str) -> String {
        format!("{:#}", load(toml).unwrap_err())
    }

    #[test]
    fn defaults_are_valid() {
        let settings = load("").unwrap();
        assert_eq!(settings.gateway.listeners[0].address.port(), 9000);
        assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.journal.bytes_max, ByteSize(8 << 30));
    }

    #[test]
    fn old_name_of_a_setting_stops_the_start_and_names_the_file_and_the_new_name() {
        let said = complaint("[gateway]\nbatch_max_records = 4711");
        for word in [
            "gateway.batch_max_records",
            "wattpost.toml",
            "4711",
            "gateway.batch_records_max",
        ] {
            assert!(said.contains(word), "{said:?} does not contain {word:?}");
        }
    }

    #[test]
    fn error_about_a_wrong_setting_names_key_value_and_what_would_work() {
        for (toml, words) in [
            (
                "[journal]\nbytes_max = \"lots\"",
                ["journal.bytes_max", "lots", "64 MiB"],
            ),
            ("[log]\nlevel = \"loud\"", ["log.level", "loud", "debug"]),
            (
                "[policy]\nheartbeat_interval_s = 0",
                ["policy.heartbeat_interval_s", "0", "1 or more"],
            ),
            (
                "[policy]\nconcurrent_hours_max = 0",
                ["policy.concurrent_hours_max", "0", "1 to 720"],
            ),
            (
                "[database]\nretain_days = 40000",
                ["database.retain_days", "40000", "36500 or less"],
            ),
            (
                "[database]\nretain_days = 90\nretain_transactions_days = 30",
                ["database.retain_transactions_days", "30", "90 or more"],
            ),
            (
                "[database]\nretain_transactions_days = 30",
                [
                    "database.retain_transactions_days",
                    "30",
                    "database.retain_days",
                ],
            ),
            (
                "[consumer]\nniceness = 99",
                ["consumer.niceness", "99", "19"],
            ),
            (
                "[http]\ndatabase_calls_max = 0",
                ["http.database_calls_max", "0", "1 to 64"],
            ),
            (
                "[gateway]\nping_interval_s = 0",
                ["gateway.ping_interval_s", "0", "1 or more"],
            ),
            (
                "[journal]\nbytes_max = 5",
                ["journal.bytes_max", "5 B", "1 MiB"],
            ),
            (
                "[http]\nlisten = \"here\"",
                ["http.listen", "here", "socket address"],
            ),
            (
                "[database]\nurl = \"mysql://x\"",
                ["database.url", "mysql://x", "sqlite:PATH"],
            ),
            ("[gatewy]\nlisten = \"x\"", ["gatewy", "unknown", "gateway"]),
            (
                "[alerts.rules]\noff = [\"ChargerOfline\"]",
                ["alerts.rules.off", "ChargerOfline", "ChargerOffline"],
            ),
            ("[log]\nformat = \"xml\"", ["log.format", "xml", "json"]),
        ] {
            let said = complaint(toml);
            for word in words {
                assert!(
                    said.contains(word),
                    "{toml:?} said {said:?}, without {word:?}"
                );
            }
            assert!(!said.contains('\n'), "{said:?} is not one sentence");
        }
    }

    #[test]
    fn example_file_has_every_key_with_its_default() {
        let example = include_str!("../../../wattpost.example.toml");
        let from_example = serde_json::to_value(load(example).unwrap()).unwrap();
        let defaults = serde_json::to_value(Settings::default()).unwrap();
        assert_eq!(from_example, defaults);
        let table: toml::Table = example.parse().unwrap();
        let written = serde_json::to_value(table).unwrap();
        assert_same_keys(&defaults, &written, "");
    }

    /// The compose file is copied into production, so it must not accept every charger, nor run versions of servers that
    /// were never tested.
    #[test]
    fn compose_file_rejects_unknown_chargers_and_uses_tested_servers() {
        let compose = include_str!("../../../compose.yaml");
        let value = |key: &str| {
            let line = compose
                .lines()
                .find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("{key} is missing")).trim()
        };
        assert_eq!(
            value("WATTPOST__POLICY__UNKNOWN_CHARGER:"),
            "${WATTPOST_UNKNOWN_CHARGER:-reject}"
        );
        for line in compose.lines().filter(|line| line.contains("ports:")) {
            let is_for_chargers = line.contains("\"9000:9000\"");
            assert!(is_for_chargers || line.contains("\"127.0.0.1:"), "{line}");
        }
        let tested = [
            (
                "rabbitmq:3.10",
                include_str!("../../../docs/messages.md"),
                "| 3.10.8 (Erlang 25) | everything here is tested",
            ),
            (
                "postgres:15",
                include_str!("../../../docs/database.md"),
                "PostgreSQL (tried with 15)",
            ),
        ];
        for (image, docs, words) in tested {
            assert!(compose.contains(&format!(":-{image}")), "{image}");
            assert!(
                docs.contains(words),
                "the docs do not say that {image} is tested"
            );
        }
    }

    fn assert_same_keys(expected: &serde_json::Value, written: &serde_json::Value, at: &str) {
        let Some(expected) = expected.as_object() else {
            return;
        };
        for (key, value) in expected {
            if value.is_null() {
                continue; // TOML has no null; such a key is a comment in the example.
            }
            let here = format!("{at}{key}");
            let there = written
                .get(key)
                .unwrap_or_else(|| panic!("wattpost.example.toml lacks {here}"));
            assert_same_keys(value, there, &format!("{here}."));
        }
    }
}
