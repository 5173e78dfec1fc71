//! The API over real HTTP, with a store in memory.

#![expect(clippy::expect_used, reason = "what tests share fails by panicking")]

mod alerts;
mod api_keys;
mod batches;
mod charger_filters;
mod charger_settings;
mod closings;
mod commands;
mod connections;
mod dead_letters;
mod disconnects;
mod effects;
mod errors;
mod events;
mod forms;
mod freshness;
mod handshakes;
mod health;
mod keys;
mod limits;
mod lists;
mod messages;
mod meter_values;
mod openapi;
mod pipeline;
mod sites;
mod support;
mod tokens;
mod users;
mod webhook_routes;
mod webhooks;
