//! Everything that two OCPP endpoints must agree on, for central systems and for simulators.
//!
//! Functions of their arguments: no sockets, clock or randomness. Every function is total: no input panics.
//!
//! The modules, in the order in which a charger's text passes through them:
//!
//! - [`Version`]: which OCPP a connection speaks;
//! - [`frame`]: OCPP-J text to a [`frame::Frame`] and back; an error says what could still be read;
//! - [`action`]: which actions exist, who may send them, and whether the sender queues them;
//! - [`v16`], [`v2`] (with [`meter`], [`timestamp`]): lenient views of the payloads that a central
//!   system acts on, read from raw JSON text by [`json`];
//! - [`check`]: whether a payload conforms to the official schemas;
//! - [`schema`]: the same facts as JSON Schema, for forms and clients;
//! - [`ErrorCode`]: the code of a CALLERROR, in the spelling of each version.
//!
//! Rule ids such as Q-12 are explained in `docs/ocpp-rules.md`, quirk numbers in `docs/quirks.md`, both in the
//! repository.

pub mod action;
pub mod check;
mod error_code;
pub mod frame;
pub mod json;
pub mod meter;
pub mod schema;
mod tables;
pub mod timestamp;
pub mod v16;
pub mod v2;
mod version;

pub use error_code::ErrorCode;
pub use version::Version;
