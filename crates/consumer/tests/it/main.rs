//! The consumer between a model of RabbitMQ and a store in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod support;

mod applier;
mod consuming;
mod dead_letters;
mod restarts;
