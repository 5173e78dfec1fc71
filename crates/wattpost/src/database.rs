//! Which database: the one place that knows that there are two, behind one trait that everything else
//! in the house holds.

use crate::config::{DatabaseAt, Settings};
use anyhow::{Context, Result, bail};
use central::GatewayId;
use central::ports::{ChargerProfile, DeadLetters, DirectorySource, Store, Token, Unavailable};
use central::query::QueryStore;
use std::sync::Arc;
use std::time::Duration;
use store::{PostgresStore, SqliteStore};

/// All that a database can do for the house.
pub(crate) trait Database: Store + QueryStore + DirectorySource + DeadLetters {
    /// Whether it can be used now, and if not, why.
    fn ping(&self) -> Result<(), Unavailable>;
    /// The greatest journal number stored of this gateway.
    fn last_seq(&self, gateway: GatewayId) -> Result<Option<u64>, Unavailable>;
    /// Which of the journal numbers `first` to `last` of this gateway are stored.
    fn stored_seqs(
        &self,
        gateway: GatewayId,
        first: u64,
        last: u64,
    ) -> Result<Vec<u64>, Unavailable>;
    /// What it wants done now and then: partitions made ahead, old ones dropped. `Some`: what is wrong with it.
    fn maintain(&self) -> Result<Option<String>, Unavailable>;
    /// Why a power cut may take back what it has reported as committed, if that is so.
    fn lacks_durability(&self) -> Result<Option<String>, Unavailable>;
    fn put_charger_profile(&self, profile: &ChargerProfile) -> Result<(), Unavailable>;
    fn remove_charger_profile(&self, charger_id: &str) -> Result<bool, Unavailable>;
    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable>;
    fn put_token(&self, token: &Token) -> Result<(), Unavailable>;
    fn remove_token(&self, id: &str) -> Result<bool, Unavailable>;
    fn tokens(&self) -> Result<Vec<Token>, Unavailable>;
}

macro_rules! same_names {
    ($store:ty, maintain: $maintain:expr, lacks_durability: $lacks:expr) => {
        impl Database for $store {
            fn ping(&self) -> Result<(), Unavailable> {
                <$store>::ping(self)
            }
            fn last_seq(&self, gateway: GatewayId) -> Result<Option<u64>, Unavailable> {
                <$store>::last_seq(self, gateway)
            }
            fn stored_seqs(
                &self,
                gateway: GatewayId,
                first: u64,
                last: u64,
            ) -> Result<Vec<u64>, Unavailable> {
                <$store>::stored_seqs(self, gateway, first, last)
            }
            fn maintain(&self) -> Result<Option<String>, Unavailable> {
                $maintain(self)
            }
            fn lacks_durability(&self) -> Result<Option<String>, Unavailable> {
                $lacks(self)
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
    };
}

// A file of one's own needs no upkeep, and syncs as we tell it.
same_names!(
    SqliteStore,
    maintain: |_: &SqliteStore| Ok(None),
    lacks_durability: |_: &SqliteStore| Ok(None)
);
same_names!(
    PostgresStore,
    maintain: |store: &PostgresStore| {
        store.maintain(now())?;
        store.lacks_durability()
    },
    lacks_durability: PostgresStore::lacks_durability
);

/// Now, by this machine's clock.
pub(crate) fn now() -> central::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    central::Timestamp(i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX))
}

/// What is asked of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A role writes to it for hours; it may be away at the start.
    Serve,
    /// A person changes a setting; it must be there. A file is made where there is none.
    Change,
    /// A person looks; it must be there.
    Read,
}

/// Opens the database that the settings name.
///
/// # Errors
/// When waiting cannot help; for [`Use::Change`] and [`Use::Read`] also when it is away.
pub(crate) fn open(settings: &Settings, purpose: Use) -> Result<Arc<dyn Database>> {
    let database: Arc<dyn Database> = match settings.database_at()? {
        DatabaseAt::Sqlite(path) => {
            if purpose == Use::Read && !path.exists() {
                bail!(
                    "there is no database at {}; start `wattpost serve` first, or say where it is with \
                     --data-dir or --database-url",
                    path.display()
                );
            }
            let defaults = store::SqliteOptions::default();
            let options = store::SqliteOptions {
                read_only: purpose == Use::Read,
                // A `serve` under load writes all the time; a person can wait longer than a batch can.
                lock_wait: match purpose {
                    Use::Change => Duration::from_secs(10),
                    Use::Serve | Use::Read => defaults.lock_wait,
                },
                ..defaults
            };
            Arc::new(SqliteStore::open(&path, options)?)
        }
        DatabaseAt::Postgres(url) => {
            Arc::new(PostgresStore::open(url, settings.database.postgres())?)
        }
    };
    if purpose != Use::Serve {
        database.ping().with_context(|| {
            format!(
                "use the database that database.url names ({})",
                settings.database_shown()
            )
        })?;
    }
    Ok(database)
}
