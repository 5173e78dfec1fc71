//! Tests of a whole gateway over real sockets. Those that change or measure their process have a binary of their own:
//! `clock.rs` and `half_sent.rs`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod admission;
mod broken_input;
mod cluster;
mod commands;
mod connecting;
mod disconnects;
mod disk;
mod durability;
mod failover;
mod hand_over;
mod overload;
mod promises;
mod quirks;
