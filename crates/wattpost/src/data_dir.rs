//! The data directory: who this gateway is, and where its parts are.

use anyhow::{Context, Result};
use central::GatewayId;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A data directory that exists and can be written.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Makes the directory where it is missing.
    ///
    /// # Errors
    /// When it cannot be made, naming the setting.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| {
            format!(
                "data_dir is {}, which cannot be created; name a directory that this user may write",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The journal's own directory.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The gateway's identity. It goes with the journal: record ids are this and a number that the
    /// journal counts, so a journal that begins anew (`journal_is_new`) makes a new identity, or its
    /// records would be taken for old ones and dropped.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no UUID.
    pub(crate) fn gateway_id(&self, journal_is_new: bool) -> Result<GatewayId> {
        match self.known_gateway_id()? {
            Some(id) if !journal_is_new => Ok(id),
            _ => {
                let file = self.gateway_id_file();
                let id = Uuid::now_v7();
                write_durably(&file, format!("{id}\n").as_bytes())
                    .with_context(|| format!("write this gateway's identity to {}", file.display()))?;
                Ok(GatewayId(id))
            }
        }
    }

    fn gateway_id_file(&self) -> PathBuf {
        self.path.join("gateway-id")
    }

    /// The gateway's identity, if it has one yet.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no UUID.
    pub(crate) fn known_gateway_id(&self) -> Result<Option<GatewayId>> {
        let file = self.gateway_id_file();
        match fs::read_to_string(&file) {
            Ok(text) => {
                let id = Uuid::parse_str(text.trim()).with_context(|| {
                    format!(
                        "{} should hold this gateway's UUID but holds {:?}; restore it from a backup, or \
                         from gateway_id in the last lines of `wattpost export messages`",
                        file.display(),
                        text.trim()
                    )
                })?;
                Ok(Some(GatewayId(id)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("read this gateway's identity from {}", file.display()))
            }
        }
    }
}

/// A file is there whole or not at all, also after a power cut.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(&dir.path().join("a/b")).unwrap();
        assert_eq!(data.known_gateway_id().unwrap(), None);
        let first = data.gateway_id(true).unwrap();
        assert_eq!(data.gateway_id(false).unwrap(), first);
        assert_eq!(data.known_gateway_id().unwrap(), Some(first));
    }

    #[test]
    fn a_journal_that_begins_anew_makes_a_new_identity() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(dir.path()).unwrap();
        let first = data.gateway_id(true).unwrap();
        assert_ne!(data.gateway_id(true).unwrap(), first);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(dir.path()).unwrap();
        fs::write(dir.path().join("gateway-id"), "nonsense").unwrap();
        let said = format!("{:#}", data.gateway_id(false).unwrap_err());
        assert!(said.contains("gateway-id") && said.contains("nonsense"), "{said}");
    }
}
