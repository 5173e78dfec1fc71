//! Opens the database and finds the journal of the deployment that `wattpost drill` starts.

use crate::config::{Overrides, Settings};
use crate::database::{self, Use};
use anyhow::Result;
use central::query::QueryStore;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens the database that a settings file names.
pub(crate) fn database(settings_file: &Path) -> Result<Arc<dyn QueryStore>> {
    Ok(database::open(&load(settings_file)?, Use::Serve)?.queries)
}

/// The journal's directory and options in a settings file.
pub(crate) fn journal(settings_file: &Path) -> Result<(PathBuf, journal::Options)> {
    let settings = load(settings_file)?;
    Ok((
        settings.data_dir.join("journal"),
        settings.journal.options(),
    ))
}

fn load(settings_file: &Path) -> Result<Settings> {
    Settings::load(Some(settings_file), Overrides::default())
}
