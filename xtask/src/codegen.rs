//! Generates the tables of `crates/ocpp/src/tables` from the official JSON schemas: the list of actions of each
//! version, and the facts about their payloads.
//!
//! The schemas are read from the Python package `ocpp` and are not copied: only facts are written (action, member,
//! type, bounds, enumerations), as static Rust data. Who sends an action, and its delivery class, are not in the
//! schemas: `codegen::actions` adds them. Equal objects are written once; objects that several versions share go to one
//! file. The same schemas always give the same bytes.
//!
//! An unknown schema keyword is an error, so that no fact is lost silently.

mod actions;
mod facts;
mod read;
mod write;

use anyhow::{Context, Result};
use facts::Facts;
use std::path::Path;

/// The versions, by the names of the package's folders and of the tables' files.
const VERSIONS: [&str; 3] = ["v16", "v201", "v21"];

/// Reads `VERSION/schemas/*.json` under `package` and writes the tables into `out`.
///
/// # Errors
///
/// When a schema cannot be read or has an unknown keyword, an action has no direction, or a table cannot be written.
pub fn run(package: &Path, out: &Path) -> Result<()> {
    let mut facts = Facts::default();
    for (version, folder) in VERSIONS.iter().enumerate() {
        read::version(&mut facts, version, &package.join(folder).join("schemas"))
            .with_context(|| format!("read the schemas of {folder}"))?;
    }
    actions::classify(&mut facts, &VERSIONS)?;
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    for (name, text) in write::files(&facts, &VERSIONS)? {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
