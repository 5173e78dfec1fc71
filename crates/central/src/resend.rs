//! Knowing a repeat when it comes: the same message, under the same id or a new one, gets the
//! answer it got the first time, and makes no new record.

use crate::record::Record;

/// What one charger said lately, small enough to be kept for every charger that we know. Bounded;
/// empty costs no heap.
#[derive(Debug, Default)]
pub struct ResendMemory {}

impl ResendMemory {
    /// Remembers what `record` says was asked and answered; used to rebuild the memory from the
    /// journal at start. Records must come in their order. Records of another kind than calls
    /// answered with success teach nothing.
    pub fn learn(&mut self, record: &Record<'_>) {
        let _ = record;
    }
}
