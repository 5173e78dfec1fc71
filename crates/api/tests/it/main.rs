//! The API over real HTTP, with a store in memory.

#![expect(clippy::expect_used, reason = "what tests share fails by panicking")]

mod charger_settings;
mod commands;
mod effects;
mod errors;
mod forms;
mod health;
mod keys;
mod limits;
mod lists;
mod openapi;
mod support;
