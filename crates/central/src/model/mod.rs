//! The state of the network, as values that can be merged in any order.
//!
//! Each *state* here is a join-semilattice: [`Merge::merge`] is commutative, associative and
//! idempotent, so any permutation of a set of records, with repeats, yields the same state. That is
//! why direct delivery may overtake records that still wait in the broker. A store keeps the whole state (as
//! JSON) beside the few columns that it indexes; a *view* is what people and programs are shown.
//!
//! *Rows* (meter values, events) are facts that stand alone: their identity is (charger, time,
//! content hash), everything in them follows from that, and they are inserted once or ignored.

mod charger;
mod charger_key;
mod connector;
mod message;
mod profile;
mod ranges;
mod register;
mod rfc3339;
mod row;
mod token;
mod transaction;

pub use charger::{Boot, ChargerState, ChargerView, Connection, GatewayState};
pub use charger_key::ChargerKey;
pub use connector::{ConnectorState, ConnectorStatus, ConnectorView};
pub use message::{DeadLetterRow, MessageRow};
pub use profile::{ChargerProfile, CheckMode, Registration};
pub use ranges::RangeSet;
pub use register::{First, Latest, Stamp};
pub use row::{EventRow, MeterValueRow};
pub use token::{Token, TokenStatus};
pub use transaction::{
    Candidate, Confidence, ContentKey, EnergyCheck, Facts, PAIRING_WINDOW, ReadingContext,
    Readings, RegisterSource, SessionSource, Start, Stop, TransactionState, TransactionView,
    key_without_start, pair, pair_orphans, unnamed_stop_id, written_id_of_unnamed_stop,
};

/// Taking in what another copy of the same state knows.
pub trait Merge {
    /// Afterwards `self` knows everything that either knew. Order and repetition do not matter.
    fn merge(&mut self, other: Self);
}
