//! The language: everything two OCPP endpoints must agree on, and nothing else.
//!
//! This crate waits for nothing: no socket, no clock, no dice. The gateway, the simulator and
//! strangers can all use it. Every function is total: no input panics.

pub mod check;
mod version;

pub use version::Version;
