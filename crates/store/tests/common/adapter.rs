//! What a database must offer to be put through the suite.

use central::memory::Contents;
use central::ports::{
    DeadLetters, DirectoryAdmin, DirectorySource, Maintenance, QueryStore, Store,
};

/// A kind of database, with an empty one for the test that makes this.
pub(crate) trait Adapter: Sized + Sync {
    type Store: Store + QueryStore + DirectorySource + DirectoryAdmin + DeadLetters + Maintenance;

    /// Stories that the property test tells.
    const CASES: u32;

    /// An empty database.
    fn new() -> Self;

    /// One more program on it.
    fn open(&self) -> Self::Store;

    /// Everything that is stored.
    fn contents(store: &Self::Store) -> Contents;

    /// Somebody else's statement.
    fn execute(&self, sql: &str);

    /// Somebody else's question: the first column, as text.
    fn ask(&self, sql: &str) -> Vec<String>;

    /// Makes the database refuse every message with the payload `poison`, for the reason `not with me`.
    fn refuse_poison(&self);

    /// The states and letters that were set aside, in order.
    fn set_aside(&self) -> Vec<(String, Vec<u8>)>;

    /// Replaces stored states behind the back of the programs.
    fn set_state(&self, table: &str, state: &str, condition: &str);
}
