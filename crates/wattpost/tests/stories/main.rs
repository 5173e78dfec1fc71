//! Tests of the real binary without RabbitMQ and PostgreSQL.
//!
//! Each test starts its own processes on free ports. `WATTPOST_FULL=1` (`make stories`) runs them at full length; without
//! it they are short enough for every build.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod charger;

mod deployment;
mod handshake;
mod mail_receiver;
mod metrics_page;
mod octt;
mod passwords;
mod players;
mod role;
#[expect(dead_code, reason = "the tests of the roles use the rest")]
mod webhook_receiver;

mod alert_causes;
mod alert_rules;
mod alerts;
mod api_keys;
mod audit_entries;
mod backup;
mod closed;
mod commands;
mod connecting;
mod damaged;
mod effects;
mod flood;
mod formats;
mod graceful_stop;
mod handles;
mod independent_client;
mod killed;
mod local_lists;
mod memory;
mod metrics;
mod octt_cases;
mod old_copies;
mod openapi;
mod outages;
mod overload;
mod packages;
mod proxies;
mod replay;
mod resent;
mod secrets;
mod sessions;
mod statuses;
mod take_over;
mod units;
mod unknown;
mod webhooks;
mod wrong_settings;

/// Whether the tests run at full length.
fn full_length() -> bool {
    std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1")
}
