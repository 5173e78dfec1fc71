//! PostgreSQL that is unavailable or slow. These tests assert bounds of time, so they are a program of their own.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../common/mod.rs"]
mod common;

mod late;
mod unavailable;
