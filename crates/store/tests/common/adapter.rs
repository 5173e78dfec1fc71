//! What a test needs of a database, the same for both adapters.

use central::memory::Contents;
use central::ports::Transfer;
use central::ports::{
    Alerts, ApiKeys, Batches, ChargerAdmin, Closings, CommandQueue, Commands, DeadLetters,
    DirectorySource, Disconnects, EventLog, Handshakes, LocalLists, Maintenance, PasswordRotations,
    Processes, QueryStore, Store, Tokens, Users, Webhooks,
};

/// One test's database: empty when created, removed when dropped.
pub(crate) trait Adapter: Sized + Sync {
    type Store: Store
        + Transfer
        + QueryStore
        + DirectorySource
        + Tokens
        + LocalLists
        + DeadLetters
        + Maintenance
        + ApiKeys
        + Users
        + ChargerAdmin
        + Handshakes
        + Closings
        + Disconnects
        + Batches
        + Commands
        + EventLog
        + CommandQueue
        + Webhooks
        + Alerts
        + PasswordRotations
        + Processes;

    /// Number of cases of a property test.
    const CASES: u32;

    /// An empty database.
    fn new() -> Self;

    /// A store with connections of its own, like another process.
    fn open(&self) -> Self::Store;

    /// Everything that is stored.
    fn contents(store: &Self::Store) -> Contents;

    /// Runs a statement beside the stores.
    fn execute(&self, sql: &str);

    /// Runs a query beside the stores; returns its column `value` as text.
    fn query(&self, sql: &str) -> Vec<String>;

    /// Makes the database refuse every message with the payload `poison`, for the reason `not with me`.
    fn refuse_poison(&self);

    /// The contents of `set_aside`, in order of insertion: names and bytes.
    fn set_aside(&self) -> Vec<(String, Vec<u8>)>;

    /// The literal of a key with these hexadecimal digits, in SQL.
    fn key(hex: &str) -> String;

    /// Replaces stored states beside the stores.
    fn set_state(&self, table: &str, state: &str, condition: &str);
}
