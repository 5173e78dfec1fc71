//! Record → changes: pure, and the same record always yields the same changes.

/// What a set of records changes in the ledger.
#[derive(Debug, Clone, Default)]
pub struct Changes {}
