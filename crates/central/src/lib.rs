//! The mind: what we answer, record and change, and what we need from outside.
//!
//! A function of its arguments: time, randomness and bytes are handed in. So a year of charging
//! fits in a second of test.

pub mod model;
pub mod ports;
pub mod project;
pub mod record;
pub mod time;

pub use record::{AnswerKind, GatewayId, Record, RecordId, RecordKind};
pub use time::Timestamp;
