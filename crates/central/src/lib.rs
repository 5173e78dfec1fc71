//! What a central system answers, records and changes, and the ports through which it needs others.
//!
//! A function of its arguments: time, randomness and bytes are handed in. So a year of charging
//! fits in a second of test.
//!
//! A frame comes into [`station::Station`], which decides the answer and the [`record::Record`];
//! behind the journal [`project::Changes`] turns records into what the database shows
//! ([`model`]). [`ports`] says what we need from outside, [`memory`] is the smallest thing that
//! fulfils it.

mod actions;
mod answer;
pub mod memory;
pub mod model;
mod natural_key;
pub mod policy;
pub mod ports;
pub mod project;
pub mod query;
pub mod record;
pub mod resend;
pub mod station;
pub mod time;
pub mod transaction_id;

pub use record::{AnswerKind, GatewayId, Record, RecordId, RecordKind};
pub use time::Timestamp;
