//! The settings: one struct, filled from defaults, then `wattpost.toml`, then
//! `WATTPOST__SECTION__KEY`, then flags; later ones win.
//!
//! A setting that is wrong stops the start with one sentence that names the key, the value and what
//! would be right. `wattpost.example.toml` lists every key; a test reads it and holds it to be the
//! same as the defaults here.

mod renamed;

use anyhow::{Result, bail};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything an operator can tune.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Where journal, database and identity live. Default `./wattpost-data`.
    pub data_dir: PathBuf,
    /// The WebSocket door.
    pub gateway: gateway::GatewayConfig,
    /// What is answered when nobody can be asked, and to whom.
    pub policy: central::policy::Policy,
    /// The journal on local disk.
    pub journal: JournalSettings,
    /// RabbitMQ, if there is one.
    pub broker: broker::Config,
    /// How records are applied to the database.
    pub consumer: consumer::Config,
    /// The database.
    pub database: DatabaseSettings,
    /// Health, metrics and REST.
    pub http: api::ApiConfig,
    /// Health and metrics of roles that run alone.
    pub health: HealthSettings,
    /// What is written to stderr.
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
                // All in one process needs no RabbitMQ.
                url: String::new(),
                ..broker::Config::default()
            },
            consumer: consumer::Config::default(),
            database: DatabaseSettings::default(),
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
    /// What may wait for the database, at most. When it is reached, sockets are closed and handshakes
    /// get 503 until there is room again. Default 8 GiB: days of outage for some thousand chargers.
    pub max_bytes: ByteSize,
    /// Size of one segment file; made smaller by itself where `max_bytes` is small. Default 32 MiB.
    pub segment_bytes: ByteSize,
    /// What is kept behind the cursor, so that resends are recognised after a restart. Default 64 MiB.
    pub retain_bytes: ByteSize,
    /// A record number of this gateway that is in the database by mistake (a row that somebody wrote by
    /// hand), so that it is not taken for the sign of an old copy of the journal. Only this very number,
    /// as the refused start names it, and only while no other number beyond the journal's end is stored.
    /// Default 0: none.
    pub disregard_seq: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize(8 << 30),
            segment_bytes: ByteSize(32 << 20),
            retain_bytes: ByteSize(64 << 20),
            disregard_seq: 0,
        }
    }
}

impl JournalSettings {
    /// As the journal wants them.
    pub(crate) fn options(&self) -> journal::Options {
        journal::Options {
            max_bytes: self.max_bytes.0,
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
    /// PostgreSQL: days that messages, meter values, events and dead letters are kept; whole days are dropped
    /// then. Default 0: for ever.
    pub retain_days: u32,
    /// PostgreSQL: connections of one process at most. Default 6: one writes, the others answer
    /// questions.
    pub connections_max: u32,
    /// PostgreSQL: milliseconds that one statement may take; then the database counts as away. Default
    /// 15,000.
    pub statement_timeout_ms: u64,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            retain_days: 0,
            connections_max: 6,
            statement_timeout_ms: 15_000,
        }
    }
}

/// Which database `database.url` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DatabaseAt<'a> {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(&'a str),
}

/// Where a role that runs alone tells how it is; `serve` and `api` do that on `http.listen`.
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

/// What is written to stderr.
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

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// What flags may override.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub data_dir: Option<PathBuf>,
    pub ocpp_listen: Option<SocketAddr>,
    pub http_listen: Option<SocketAddr>,
    pub database_url: Option<String>,
    pub broker_url: Option<String>,
}

/// Name of the settings file that is read when none is named and it exists.
pub(crate) const DEFAULT_FILE: &str = "wattpost.toml";

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// With one sentence that names the key, the value and what would be right.
    pub(crate) fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(path) if !path.is_file() => bail!(
                "--config names {}, which is not a file that can be read",
                path.display()
            ),
            Some(path) => figment = figment.merge(Toml::file_exact(path)),
            None if Path::new(DEFAULT_FILE).is_file() => {
                figment = figment.merge(Toml::file_exact(DEFAULT_FILE));
            }
            None => {}
        }
        figment = figment.merge(Env::prefixed("WATTPOST__").split("__"));
        if let Some(complaint) = renamed::complaint(&figment) {
            bail!("{complaint}");
        }
        let mut settings: Self = figment
            .extract()
            .map_err(|error| explain(&figment, &error))?;
        if let Some(dir) = overrides.data_dir {
            settings.data_dir = dir;
        }
        if let Some(listen) = overrides.ocpp_listen {
            let first = settings.gateway.listeners.drain(..).next();
            settings.gateway.listeners = vec![gateway::ListenerConfig {
                address: listen,
                ..first.unwrap_or_default()
            }];
        }
        if let Some(listen) = overrides.http_listen {
            settings.http.listen = listen;
        }
        if let Some(url) = overrides.database_url {
            settings.database.url = url;
        }
        if let Some(url) = overrides.broker_url {
            settings.broker.url = url;
        }
        settings.validate()?;
        Ok(settings)
    }

    /// Which database.
    ///
    /// # Errors
    /// When `database.url` names neither SQLite nor PostgreSQL.
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

    /// Which database, as it may be shown: without its password.
    pub(crate) fn database_shown(&self) -> String {
        match self.database_at() {
            Ok(DatabaseAt::Sqlite(path)) => path.display().to_string(),
            Ok(DatabaseAt::Postgres(url)) => without_password(url),
            Err(_) => without_password(&self.database.url),
        }
    }

    /// Whether records take the road over RabbitMQ.
    pub(crate) fn has_broker(&self) -> bool {
        !self.broker.url.trim().is_empty()
    }

    fn validate(&self) -> Result<()> {
        self.database_at()?;
        crate::telemetry::filter(&self.log.level)?;
        if self.policy.heartbeat_interval_s == 0 {
            bail!(
                "policy.heartbeat_interval_s is 0, which makes some chargers flood; give seconds, 1 or more"
            );
        }
        if self.consumer.niceness > 19 {
            bail!(
                "consumer.niceness is {}; give 0 (as urgent as the rest) to 19",
                self.consumer.niceness
            );
        }
        if self.database.connections_max < 2 {
            bail!(
                "database.connections_max is {}; give at least 2: one writes, the others answer questions",
                self.database.connections_max
            );
        }
        if self.database.statement_timeout_ms < 1_000 {
            bail!(
                "database.statement_timeout_ms is {}; give at least 1000: a batch of some thousand records takes its time",
                self.database.statement_timeout_ms
            );
        }
        if self.gateway.durability == gateway::Durability::Broker && !self.has_broker() {
            bail!(
                "gateway.durability is \"broker\", but broker.url is empty; name RabbitMQ there, such as \
                 \"amqp://USER:PASSWORD@HOST:5672/%2f\", or choose \"journal\""
            );
        }
        if self.has_broker() {
            self.broker.check().map_err(anyhow::Error::msg)?;
        }
        self.consumer.check().map_err(anyhow::Error::msg)?;
        self.gateway.check().map_err(anyhow::Error::msg)?;
        self.http.check().map_err(anyhow::Error::msg)?;
        let journal = &self.journal;
        if journal.max_bytes.0 < MIN_JOURNAL_BYTES {
            bail!(
                "journal.max_bytes is {}; give at least {} (an hour of a hundred chargers)",
                journal.max_bytes,
                ByteSize(MIN_JOURNAL_BYTES)
            );
        }
        let mut listeners = self.gateway.listeners.iter();
        let is_same = listeners.any(|listener| listener.address == self.http.listen);
        if is_same && self.http.listen.port() != 0 {
            bail!(
                "an address in gateway.listeners and http.listen are both {}; chargers and the API need a port each",
                self.http.listen
            );
        }
        Ok(())
    }
}

impl DatabaseSettings {
    /// As the store wants them.
    pub(crate) fn postgres(&self) -> store::PostgresOptions {
        store::PostgresOptions {
            retain_days: self.retain_days,
            connections_max: self.connections_max,
            statement_timeout: std::time::Duration::from_millis(self.statement_timeout_ms),
            ..store::PostgresOptions::default()
        }
    }
}

/// URLs (with commas between) as they may be shown to people and logs.
pub(crate) fn without_password(urls: &str) -> String {
    let shown: Vec<String> = urls.split(',').map(one_without_password).collect();
    shown.join(",")
}

fn one_without_password(url: &str) -> String {
    // What comes behind the question mark may name secrets too, and is worth little to a reader.
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, "?…"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        // No URL at all: a password may be anywhere in it.
        return if url.contains('@') {
            "…".to_owned()
        } else {
            format!("{url}{query}")
        };
    };
    // The last '@' ends the credentials; a password may hold others, and slashes where somebody forgot to
    // encode them.
    match rest.rsplit_once('@') {
        Some((credentials, place)) => {
            let user = credentials.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:…@{place}{query}")
        }
        None => format!("{scheme}://{rest}{query}"),
    }
}

const MIN_JOURNAL_BYTES: u64 = 1 << 20;

/// One sentence: where, what, and what would be right.
fn explain(figment: &Figment, error: &figment::Error) -> anyhow::Error {
    let Some(first) = error.clone().into_iter().next() else {
        return anyhow::anyhow!("read the settings: {error}");
    };
    let key = first.path.join(".");
    let place = first.metadata.as_ref().map_or_else(String::new, |from| {
        let name = from.name.trim_end_matches(" environment variable(s)");
        match from.source.as_ref() {
            Some(source) => format!(" ({source})"),
            None if name.starts_with("`WATTPOST__") => " (environment)".to_owned(),
            None => String::new(),
        }
    });
    let mut what = first.kind.to_string();
    if what.contains("socket address") {
        what.push_str("; give an address and a port, such as 127.0.0.1:8080");
    }
    if key.is_empty() {
        return anyhow::anyhow!("the settings{place} cannot be used: {what}");
    }
    let value = figment
        .find_value(&key)
        .ok()
        .and_then(|value| serde_json::to_string(&value).ok())
        .map_or_else(String::new, |value| format!(" is {value}, which"));
    anyhow::anyhow!("the setting {key}{place}{value} cannot be used: {what}")
}

/// A number of bytes: `1048576`, `"64 KiB"`, `"8 GiB"`, `"1.5 MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TiB", 1 << 40),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a size; write a number of bytes, or one like \"64 MiB\" or \"8 GiB\""
            )
        };
        let text = text.trim();
        let (number, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| {
                let cut = text.len().checked_sub(unit.len())?;
                let (head, tail) = text.split_at_checked(cut)?;
                tail.eq_ignore_ascii_case(unit)
                    .then_some((head.trim(), *factor))
            })
            .unwrap_or((text, 1));
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(wrong);
        }
        let value: f64 = number.parse().map_err(|_| wrong())?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be finite and not negative; a byte more or less in a terabyte is fine"
        )]
        let bytes = (value.is_finite() && value >= 0.0).then_some((value * factor as f64) as u64);
        bytes.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [UNITS[3], UNITS[0], UNITS[1], UNITS[2]] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{} {unit}", self.0 / factor);
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text like \"64 MiB\"")
            }
            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes)
                    .map(ByteSize)
                    .map_err(|_| E::custom(format!("{bytes} is negative; give a number of bytes")))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
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

    fn complaint(toml: &str) -> String {
        format!("{:#}", load(toml).unwrap_err())
    }

    #[test]
    fn no_settings_at_all_are_sound() {
        let settings = load("").unwrap();
        assert_eq!(settings.gateway.listeners[0].address.port(), 9000);
        assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.journal.max_bytes, ByteSize(8 << 30));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("64 KiB", 64 << 10),
            ("8GiB", 8 << 30),
            ("1.5 MB", 1_500_000),
            ("2 tib", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "lots", "-1", "1 XB", "NaN", "99999999999 TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(ByteSize(8 << 30).to_string(), "8 GiB");
        assert_eq!(ByteSize(1000).to_string(), "1000 B");
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
    fn a_wrong_setting_is_named_with_its_value_and_what_would_be_right() {
        for (toml, words) in [
            (
                "[journal]\nmax_bytes = \"lots\"",
                ["journal.max_bytes", "lots", "64 MiB"],
            ),
            ("[log]\nlevel = \"loud\"", ["log.level", "loud", "debug"]),
            (
                "[policy]\nheartbeat_interval_s = 0",
                ["policy.heartbeat_interval_s", "0", "1 or more"],
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
                "[journal]\nmax_bytes = 5",
                ["journal.max_bytes", "5 B", "1 MiB"],
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
    fn no_password_is_shown() {
        for (url, shown) in [
            ("amqp://u:secret@h:1/v", "amqp://u:…@h:1/v"),
            (
                "amqp://u:secret@h:1/v,amqps://w:secret@i/v",
                "amqp://u:…@h:1/v,amqps://w:…@i/v",
            ),
            (
                "postgres://h/db?user=u&password=secret",
                "postgres://h/db?…",
            ),
            ("postgres://u:sec/r@ret@h/db", "postgres://u:…@h/db"),
            ("u:secret@h", "…"),
            ("rabbit", "rabbit"),
            ("postgres://h/db", "postgres://h/db"),
        ] {
            assert_eq!(without_password(url), shown);
            assert!(!without_password(url).contains("secret"));
        }
    }

    #[test]
    fn the_example_file_is_the_defaults_and_names_every_key() {
        let example = include_str!("../../../wattpost.example.toml");
        let from_example = serde_json::to_value(load(example).unwrap()).unwrap();
        let defaults = serde_json::to_value(Settings::default()).unwrap();
        assert_eq!(from_example, defaults);
        let table: toml::Table = example.parse().unwrap();
        let written = serde_json::to_value(table).unwrap();
        assert_same_keys(&defaults, &written, "");
    }

    /// What a file that is copied into production must not do: let in everybody, or run servers that the docs
    /// call untried.
    #[test]
    fn the_compose_file_lets_in_who_was_added_and_runs_what_the_docs_call_tried() {
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
        let tried = [
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
        for (image, docs, words) in tried {
            assert!(compose.contains(&format!(":-{image}")), "{image}");
            assert!(
                docs.contains(words),
                "{image} is not what the docs call tried"
            );
        }
    }

    fn assert_same_keys(expected: &serde_json::Value, written: &serde_json::Value, at: &str) {
        let Some(expected) = expected.as_object() else {
            return;
        };
        for (key, value) in expected {
            if value.is_null() {
                continue; // TOML has no null: such a key stands in the example as a comment
            }
            let here = format!("{at}{key}");
            let there = written
                .get(key)
                .unwrap_or_else(|| panic!("wattpost.example.toml lacks {here}"));
            assert_same_keys(value, there, &format!("{here}."));
        }
    }
}
