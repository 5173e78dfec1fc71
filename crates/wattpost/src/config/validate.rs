//! Checks that involve more than one type of value, or settings of crates that do not check them.

use super::{ByteSize, DatabaseSettings, Settings};
use anyhow::{Result, bail};
use central::model::CloseRule;
use common::settings::Section;

/// The least size of the journal. It holds some thousand records.
const MIN_JOURNAL_BYTES: u64 = 1 << 20;

/// A hundred years.
const RETAIN_DAYS_MAX: u64 = 36_500;

impl DatabaseSettings {
    fn validate_retention(&self) -> Result<()> {
        let section = Section("database");
        for (key, days) in [
            ("retain_days", self.retain_days),
            (
                "retain_commands_days",
                self.retain_commands_days.unwrap_or_default(),
            ),
            ("retain_transactions_days", self.retain_transactions_days),
            ("retain_audit_days", self.retain_audit_days),
        ] {
            section.at_most(key, u64::from(days), RETAIN_DAYS_MAX, "set 0 for no limit")?;
        }
        if self.retain_transactions_days == 0 {
            return Ok(());
        }
        // Otherwise a replay of the messages would bring a deleted transaction back.
        if self.retain_days == 0 {
            bail!(
                "database.retain_transactions_days is {}, but database.retain_days is 0, so the messages of deleted \
                 transactions would be kept; set database.retain_days too, to {0} or less",
                self.retain_transactions_days
            );
        }
        section.at_least(
            "retain_transactions_days",
            self.retain_transactions_days,
            self.retain_days,
        )?;
        Ok(())
    }
}

impl Settings {
    pub(super) fn validate(&self) -> Result<()> {
        self.database_at()?;
        crate::telemetry::filter(&self.log.level)?;
        // With 0 some chargers send heartbeats without a pause.
        Section("policy").at_least(
            "heartbeat_interval_s",
            u64::from(self.policy.heartbeat_interval_s),
            1,
        )?;
        Section("policy").within(
            "concurrent_hours_max",
            self.policy.concurrent_hours_max,
            1,
            720,
        )?;
        Section("policy").at_most(
            "close_styles",
            self.policy.close_styles.len() as u64,
            CloseRule::MAX as u64,
            "every BootNotification is compared with all rules",
        )?;
        Section("consumer").at_most(
            "niceness",
            u64::from(self.consumer.niceness),
            19,
            "Linux has no lower priority",
        )?;
        let database = Section("database");
        // One connection writes, the others answer queries.
        database.at_least("connections_max", self.database.connections_max, 2)?;
        // A batch of some thousand records takes hundreds of milliseconds.
        database.at_least(
            "statement_timeout_ms",
            self.database.statement_timeout_ms,
            1_000,
        )?;
        self.database.validate_retention()?;
        let events = Section("events");
        // What follows the log needs time to do so.
        events.at_least("retain_days", self.events.retain_days, 1)?;
        events.at_most(
            "retain_days",
            u64::from(self.events.retain_days),
            3_650,
            "the log of events grows with each day",
        )?;
        if self.gateway.durability == gateway::Durability::Broker && !self.has_broker() {
            bail!(
                "gateway.durability is \"broker\", but broker.url is empty; set it to RabbitMQ's URL, such as \
                 \"amqp://USER:PASSWORD@HOST:5672/%2f\", or set gateway.durability to \"journal\""
            );
        }
        if self.has_broker() {
            self.broker.check()?;
        }
        self.consumer.check()?;
        self.gateway.check()?;
        self.http.check()?;
        self.webhooks.check()?;
        self.alerts.check()?;
        if self.journal.bytes_max.0 < MIN_JOURNAL_BYTES {
            bail!(
                "journal.bytes_max is {}; it must be {} or more",
                self.journal.bytes_max,
                ByteSize(MIN_JOURNAL_BYTES)
            );
        }
        let mut listeners = self.gateway.listeners.iter();
        let is_same = listeners.any(|listener| listener.address == self.http.listen);
        if is_same && self.http.listen.port() != 0 {
            bail!(
                "http.listen and an address in gateway.listeners are both {}; set different ports",
                self.http.listen
            );
        }
        Ok(())
    }
}
