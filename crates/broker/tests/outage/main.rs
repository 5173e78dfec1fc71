//! Tests that kill, restart or block the RabbitMQ that they use. They run in a process of their own, one at a
//! time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

#[path = "../common/mod.rs"]
mod common;

mod cluster;
mod single_node;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by each test: with three nodes and one node at once the time limits would be too short.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}
