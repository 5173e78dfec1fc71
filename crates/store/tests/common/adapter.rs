//! What a database must offer to be put through the suite.

use central::GatewayId;
use central::memory::Contents;
use central::ports::{ChargerProfile, DeadLetters, DirectorySource, Store, Token, Unavailable};
use central::query::QueryStore;
use store::{PostgresStore, SqliteStore};

/// A kind of database, with an empty one for the test that makes this.
pub(crate) trait Adapter: Sized + Sync {
    type Store: Database;

    /// Stories that the property test tells.
    const CASES: u32;

    /// An empty database.
    fn new() -> Self;

    /// One more program on it.
    fn open(&self) -> Self::Store;

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

/// A store with all its ports and functions.
pub(crate) trait Database: Store + QueryStore + DirectorySource + DeadLetters {
    fn contents(&self) -> Result<Contents, Unavailable>;
    fn ping(&self) -> Result<(), Unavailable>;
    fn last_seq(&self, gateway: GatewayId) -> Result<Option<u64>, Unavailable>;
    fn stored_seqs(
        &self,
        gateway: GatewayId,
        first: u64,
        last: u64,
    ) -> Result<Vec<u64>, Unavailable>;
    fn put_charger_profile(&self, profile: &ChargerProfile) -> Result<(), Unavailable>;
    fn remove_charger_profile(&self, charger_id: &str) -> Result<bool, Unavailable>;
    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable>;
    fn put_token(&self, token: &Token) -> Result<(), Unavailable>;
    fn remove_token(&self, id: &str) -> Result<bool, Unavailable>;
    fn tokens(&self) -> Result<Vec<Token>, Unavailable>;
}

macro_rules! database {
    ($($store:ty),*) => { $(
        impl Database for $store {
            fn contents(&self) -> Result<Contents, Unavailable> {
                <$store>::contents(self)
            }
            fn ping(&self) -> Result<(), Unavailable> {
                <$store>::ping(self)
            }
            fn stored_seqs(
                &self,
                gateway: GatewayId,
                first: u64,
                last: u64,
            ) -> Result<Vec<u64>, Unavailable> {
                <$store>::stored_seqs(self, gateway, first, last)
            }
            fn last_seq(&self, gateway: GatewayId) -> Result<Option<u64>, Unavailable> {
                <$store>::last_seq(self, gateway)
            }
            fn put_charger_profile(&self, profile: &ChargerProfile) -> Result<(), Unavailable> {
                <$store>::put_charger_profile(self, profile)
            }
            fn remove_charger_profile(&self, charger_id: &str) -> Result<bool, Unavailable> {
                <$store>::remove_charger_profile(self, charger_id)
            }
            fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable> {
                <$store>::charger_profiles(self)
            }
            fn put_token(&self, token: &Token) -> Result<(), Unavailable> {
                <$store>::put_token(self, token)
            }
            fn remove_token(&self, id: &str) -> Result<bool, Unavailable> {
                <$store>::remove_token(self, id)
            }
            fn tokens(&self) -> Result<Vec<Token>, Unavailable> {
                <$store>::tokens(self)
            }
        }
    )* };
}

database!(SqliteStore, PostgresStore);
