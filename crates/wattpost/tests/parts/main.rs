//! Tests of the roles as separate processes of the real binary, with a real RabbitMQ and a real PostgreSQL. Each of them
//! may be misconfigured, late, killed or restarted alone.
//!
//! RabbitMQ and PostgreSQL are started once; each test has its own virtual host and database.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../stories/charger.rs"]
mod charger;
mod deployment;
#[path = "../stories/handshake.rs"]
mod handshake;
mod hanging;
#[path = "../stories/metrics_page.rs"]
mod metrics_page;
#[path = "../stories/octt.rs"]
mod octt;
#[path = "../stories/players.rs"]
mod players;
#[path = "../stories/role.rs"]
mod role;
#[path = "../stories/webhook_receiver.rs"]
#[expect(dead_code, reason = "the stories use the rest")]
mod webhook_receiver;

mod alone;
mod cluster;
mod commands;
mod database_hangs;
mod dead_letters;
mod json_log;
mod lists;
mod long_messages;
mod maintenance;
mod metrics;
mod octt_cases;
mod passwords;
mod pipeline;
mod restored;
mod sessions;
mod several_gateways;
mod status;
mod webhooks;
mod wrong_settings;
