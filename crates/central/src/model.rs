//! What the ledger knows of the network, as values that can be merged in any order.
//!
//! Each *state* here is a join-semilattice: [`Merge::merge`] is commutative, associative and
//! idempotent, so any permutation of a set of records, with repeats, yields the same state. That is
//! what lets the direct road overtake what still lies in a broker. A store keeps the whole state (as
//! JSON) beside the few columns that it indexes; a *view* is what people and programs are shown.

use serde::{Deserialize, Serialize};

/// Taking in what another copy of the same state knows.
pub trait Merge {
    /// Afterwards `self` knows everything that either knew. Order and repetition do not matter.
    fn merge(&mut self, other: Self);
}
