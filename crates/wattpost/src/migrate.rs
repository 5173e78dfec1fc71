//! `wattpost migrate`: brings the database to the schema that this version knows.

use crate::SettingsArgs;
use crate::config::{DatabaseAt, Settings};
use crate::database::{self, Use};
use anyhow::Result;
use central::ports::{Maintenance, Unavailable};
use clap::Args;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::PostgresStore;

/// A start waits no longer for a database that is silent or being migrated by others.
const AT_START_MAX: Duration = Duration::from_secs(5);

/// Flags of `wattpost migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Does it and says what was done.
pub(crate) fn run(args: &MigrateArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    let shown = settings.database_shown();
    match settings.database_at()? {
        // A file is brought up to date whenever it is opened for writing.
        DatabaseAt::Sqlite(_) => {
            database::open(&settings, Use::Change)?;
            println!("{shown}: up to date");
        }
        DatabaseAt::Postgres(url) => {
            let done = PostgresStore::migrate(url)?;
            println!("{shown}: {done}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `serve` does by itself: one command for one person. A database that is away or that this role may
/// not change is left as it is; opening it says what is the matter. Whether it is up to date now.
pub(crate) fn at_start(settings: &Settings) -> Result<bool> {
    let DatabaseAt::Postgres(url) = settings.database_at()? else {
        return Ok(true);
    };
    match PostgresStore::migrate_within(url, AT_START_MAX) {
        Ok(done) => {
            tracing::info!(%done, "the database's schema was looked at");
            Ok(true)
        }
        Err(error) => {
            tracing::debug!(%error, "the database is not migrated now");
            Ok(false)
        }
    }
}

/// What is still to be done of [`at_start`]: the database was away then, or another process was migrating it.
pub(crate) struct Late {
    settings: Settings,
    is_done: AtomicBool,
}

impl Late {
    pub(crate) fn new(settings: &Settings, is_done: bool) -> Self {
        Self {
            settings: settings.clone(),
            is_done: AtomicBool::new(is_done),
        }
    }

    /// Migrates the database if it cannot be used as it is and was never seen to be up to date by this process.
    /// Tables that are lost later are not made anew: that is no start.
    ///
    /// # Errors
    /// What is the matter with it.
    pub(crate) fn catch_up(&self, database: &dyn Maintenance) -> Result<(), Unavailable> {
        if self.is_done.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Err(away) = database.ping()
            && !at_start(&self.settings).unwrap_or(false)
        {
            return Err(away);
        }
        self.is_done.store(true, Ordering::SeqCst);
        Ok(())
    }
}
