//! The language: everything two OCPP endpoints must agree on, and nothing else.
//!
//! This crate waits for nothing: no socket, no clock, no randomness. The gateway, the simulator and
//! strangers can all use it. Every function is total: no input panics.
//!
//! The map, in the order in which a charger's text is read:
//!
//! - [`Version`]: which OCPP a connection speaks;
//! - [`frame`]: one text of OCPP-J ⇄ a [`frame::Frame`]; what cannot be read still tells what could;
//! - [`action`]: which actions exist, who may send them, and whether their sender keeps them;
//! - [`v16`], [`v2`] (with [`meter`], [`timestamp`]): lenient views of the payloads that a central
//!   system acts on, read from raw JSON text by [`json`];
//! - [`check`]: whether a payload is what the official schemas want;
//! - [`ErrorCode`]: what a CALLERROR says, spelt as each version wants it.
//!
//! Rule ids such as Q-12 are explained in `docs/ocpp-rules.md`, quirk numbers in `docs/quirks.md`, both in the
//! repository.

pub mod action;
pub mod check;
mod error_code;
pub mod frame;
pub mod json;
pub mod meter;
mod tables;
pub mod timestamp;
pub mod v16;
pub mod v2;
mod version;

pub use error_code::ErrorCode;
pub use version::Version;
