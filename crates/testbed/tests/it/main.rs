//! Tests of the servers that this crate starts.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod cluster;
mod postgres;
mod rabbit;
