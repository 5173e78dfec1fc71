//! Fleets of simulated chargers over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod commands;
mod fleet;
mod schema_cases;
mod support;
