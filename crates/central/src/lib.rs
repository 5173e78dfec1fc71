//! The decisions of a central system: what it answers, records and changes, and the ports through which services reach
//! databases and brokers.
//!
//! Functions of their arguments: time, randomness and bytes are passed in, so that a test simulates a year of charging in
//! a second.
//!
//! [`station::Station`] reads a charger's frames and decides the answer and the [`record::Record`]; once the record is
//! durable, [`project::Changes`] turns it into the state that the database shows ([`model`]). [`ports`] are the
//! interfaces to other components; [`memory`] implements the store in memory. [`pipeline`] shows from reports and counts
//! where messages wait. [`alert`] is the catalogue of what needs a person.

mod actions;
pub mod alert;
mod answer;
pub mod catalog;
pub mod charger_fields;
pub mod charger_import;
pub mod command_request;
pub mod effect;
pub mod field_error;
pub mod import;
pub mod local_list;
pub mod memory;
pub mod model;
mod natural_key;
pub mod operation;
pub mod pipeline;
pub mod policy;
pub mod ports;
pub mod project;
pub mod query;
mod quirk;
pub mod record;
pub mod resend;
pub mod running;
pub mod secret;
pub mod station;
pub mod status_request;
pub mod time;
pub mod token_fields;
pub mod token_import;
pub mod trace;
pub mod transaction_id;
pub mod webhook_fields;

pub use quirk::Quirk;
pub use record::{AnswerKind, Epoch, GatewayId, Record, RecordId, RecordKind, Seq};
pub use time::Timestamp;
