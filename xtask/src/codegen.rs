//! Turns the official JSON schemas into our own tables of facts.
//!
//! The schemas are read where the Python package `ocpp` keeps them and are never copied: what is
//! written are facts only (action, member, type, bounds, enumerations), as static Rust data for
//! `ocpp::check`. What is equal is written once; what several versions share goes to one file. The
//! same schemas always give the same bytes.
//!
//! A schema word that this does not know is an error: a fact must not be lost silently.

mod facts;
mod read;
mod write;

use anyhow::{Context, Result};
use facts::Facts;
use std::path::Path;

/// The versions: the package's folder, and the table's file.
const VERSIONS: [&str; 3] = ["v16", "v201", "v21"];

/// Reads `VERSION/schemas/*.json` under `package` and writes the tables into `out`.
///
/// # Errors
///
/// When a schema cannot be read, says something unknown, or a table cannot be written.
pub fn run(package: &Path, out: &Path) -> Result<()> {
    let mut facts = Facts::default();
    for (version, folder) in VERSIONS.iter().enumerate() {
        read::version(&mut facts, version, &package.join(folder).join("schemas"))
            .with_context(|| format!("read the schemas of {folder}"))?;
    }
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    for (name, text) in write::files(&facts, &VERSIONS) {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
