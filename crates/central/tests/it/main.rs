//! A station, its records and their projections, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod common;

mod action_names;
mod actions;
mod broken_input;
mod carried;
mod commands;
mod concurrent;
mod connection;
mod coverage;
mod projections;
mod quirks;
mod resends;
mod sessions;
mod strict;
mod total;
