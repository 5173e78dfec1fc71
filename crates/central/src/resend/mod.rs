//! Resends: a message that comes again, under the same id or a new one, gets the answer that it got the first time, and
//! no new record.
//!
//! There are two memories. Messages that a charger keeps and sends again, also on another connection (classes T and Q,
//! pages of reports), are recognised by their content: [`ResendMemory`], one per charger, rebuilt from the journal at
//! start. All others are repeated at once and on the same connection only: they are recognised by message id *and*
//! content, for a short time and only until another message comes (`RecentCalls`), because chargers reuse ids, and may
//! send equal messages with good reason.

mod key;
mod memory;
mod recent;
#[cfg(test)]
mod tests;

pub(crate) use key::{
    ResendKey, Role, SessionPart, SessionTag, hash_of_build, transaction_id_member,
};
pub(crate) use memory::Known;
pub use memory::ResendMemory;
pub(crate) use recent::RecentCalls;
