//! `wattpost migrate`: migrates the database to the schema of this version.

use crate::SettingsArgs;
use crate::config::{DatabaseAt, Settings};
use crate::database::{self, Use};
use crate::output::print_line;
use anyhow::Result;
use central::ports::{Maintenance, Unavailable};
use clap::Args;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::{MigrationWait, PostgresStore};

/// A start waits no longer for a database that does not answer, or that another process is migrating.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Flags of `wattpost migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// PostgreSQL: for how many seconds it waits for other sessions, such as `pg_dump`, that use the tables. It lets
    /// others use them in between
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=604_800))]
    wait: u32,
}

/// Migrates the database and prints the result.
pub(crate) fn run(args: &MigrateArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    let database = settings.redacted_database();
    match settings.database_at()? {
        // A SQLite file is migrated whenever it is opened for writing.
        DatabaseAt::Sqlite(_) => {
            database::open(&settings, Use::Change)?;
            print_line!("{database}: up to date");
        }
        DatabaseAt::Postgres(url) => {
            let wait = MigrationWait {
                total: Duration::from_secs(args.wait.into()),
                ..MigrationWait::default()
            };
            // A closed pipe is no error.
            let progress = |what: &str| drop(writeln!(std::io::stderr(), "wattpost: {what}"));
            let done = PostgresStore::migrate_waiting(url, wait, &progress)?;
            print_line!("{database}: {done}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Migrates PostgreSQL at the start of `serve`, so that one command is enough. Returns whether the schema is current.
/// If the database is unavailable, or its user may not migrate it, the error is only logged: opening the database
/// reports it.
pub(crate) fn at_start(settings: &Settings) -> Result<bool> {
    let DatabaseAt::Postgres(url) = settings.database_at()? else {
        return Ok(true);
    };
    match PostgresStore::migrate_within(url, START_TIMEOUT) {
        Ok(done) => {
            tracing::info!(%done, "the schema of the database is current");
            Ok(true)
        }
        Err(error) => {
            tracing::debug!(%error, "the database is not migrated at the start");
            Ok(false)
        }
    }
}

/// The migration of [`at_start`], repeated later if it was not possible then.
pub(crate) struct PendingMigration {
    settings: Settings,
    is_done: AtomicBool,
}

impl PendingMigration {
    pub(crate) fn new(settings: &Settings, is_done: bool) -> Self {
        Self {
            settings: settings.clone(),
            is_done: AtomicBool::new(is_done),
        }
    }

    /// Migrates the database unless this process has found it usable before. So tables that are dropped later are not
    /// created again.
    ///
    /// # Errors
    /// When the database is neither usable nor can be migrated.
    pub(crate) fn finish(&self, database: &dyn Maintenance) -> Result<(), Unavailable> {
        if self.is_done.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Err(error) = database.ping()
            && !at_start(&self.settings).unwrap_or(false)
        {
            return Err(error);
        }
        self.is_done.store(true, Ordering::SeqCst);
        Ok(())
    }
}
