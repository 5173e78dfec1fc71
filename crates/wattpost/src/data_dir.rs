//! The data directory: the gateway's identity and the journal's directory.

use anyhow::{Context, Result};
use central::GatewayId;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The file that is there while `wattpost restore` fills the directory.
pub(crate) const RESTORING: &str = "restore-unfinished";

/// A data directory that exists and can be written.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Creates the directory if it is missing, and syncs its parent, so that it still exists after a power cut.
    ///
    /// # Errors
    /// When it cannot be created or synced; the error names the setting.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        Self::refuse_unfinished(path)?;
        create_durably(path, &sync_dir).with_context(|| {
            format!(
                "data_dir is {}, which cannot be created; set a directory that this user may write",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// # Errors
    /// When a restore into the directory was interrupted: a start would create a new database beside it.
    pub(crate) fn refuse_unfinished(path: &Path) -> Result<()> {
        anyhow::ensure!(
            !path.join(RESTORING).exists(),
            "a restore into {} has not finished; run `wattpost restore` again, or empty the directory",
            path.display()
        );
        Ok(())
    }

    /// The directory, if it exists.
    ///
    /// # Errors
    /// When the path is not a directory.
    pub(crate) fn existing(path: &Path) -> Result<Option<Self>> {
        if path.is_dir() {
            return Ok(Some(Self {
                path: path.to_owned(),
            }));
        }
        anyhow::ensure!(
            !path.exists(),
            "data_dir is {}, which is not a directory; set one that this user may write",
            path.display()
        );
        Ok(None)
    }

    /// Whether [`DataDir::prepare`] can create it: the nearest parent that exists is a directory.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn can_be_created(path: &Path) -> Result<()> {
        let nearest = path.ancestors().skip(1).find(|parent| parent.exists());
        anyhow::ensure!(
            nearest.is_none_or(Path::is_dir),
            "data_dir is {}, which cannot be created; set a directory that this user may write",
            path.display()
        );
        Ok(())
    }

    /// The journal's directory.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Removes the gateway's identity if there is no journal. Call it *before* the journal is opened: a record id is
    /// this identity and a number that the journal counts from 1, so the records of a new journal under an old
    /// identity would be dropped as duplicates. If the process dies between this and [`DataDir::gateway_id`], the
    /// next start creates a new identity.
    ///
    /// # Errors
    /// When the directory cannot be read, or the file cannot be removed.
    pub(crate) fn remove_identity_without_journal(&self) -> Result<()> {
        let file = self.gateway_id_file();
        if !file.exists() || self.has_journal()? {
            return Ok(());
        }
        tracing::warn!("there is no journal: a new one is created, with a new gateway id");
        fs::remove_file(&file)
            .and_then(|()| fs::File::open(&self.path)?.sync_all())
            .with_context(|| {
                format!(
                    "remove {}, which belonged to a journal that no longer exists",
                    file.display()
                )
            })
    }

    /// Whether the journal's directory holds anything but its lock and temporary files.
    fn has_journal(&self) -> Result<bool> {
        let entries = match fs::read_dir(self.journal()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("read {}", self.journal().display()));
            }
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", self.journal().display()))?;
            let name = entry.file_name();
            if name != "lock" && Path::new(&name).extension().is_none_or(|end| end != "tmp") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The gateway's identity; created and stored if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no UUID.
    pub(crate) fn gateway_id(&self) -> Result<GatewayId> {
        match self.known_gateway_id()? {
            Some(id) => Ok(id),
            None => {
                let file = self.gateway_id_file();
                let id = common::id::new_v7();
                write_durably(&file, format!("{id}\n").as_bytes()).with_context(|| {
                    format!("write this gateway's identity to {}", file.display())
                })?;
                Ok(GatewayId(id))
            }
        }
    }

    fn gateway_id_file(&self) -> PathBuf {
        self.path.join("gateway-id")
    }

    /// The gateway's identity, if it has one.
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
            Err(error) => Err(error)
                .with_context(|| format!("read this gateway's identity from {}", file.display())),
        }
    }
}

/// Creates a directory and its missing parents; syncs the parent of each before the next is created. The parent of
/// a directory that exists is synced too: the process that created it may have died before its sync.
fn create_durably(path: &Path, sync: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        // The root.
        None => return Ok(()),
    };
    if path.is_dir() {
        // If this user may not read the parent, another user created the directory, long ago.
        return match sync(parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if !parent.is_dir() {
        create_durably(parent, sync)?;
    }
    match fs::create_dir(path) {
        // Another process has just created it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync(parent)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Writes a file so that it exists with all its content or not at all, even after a power cut.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
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
    fn a_gateway_keeps_its_identity_as_long_as_its_journal() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(&dir.path().join("a/b")).unwrap();
        data.remove_identity_without_journal().unwrap();
        assert_eq!(data.known_gateway_id().unwrap(), None);
        fs::create_dir(data.journal()).unwrap();
        fs::write(data.journal().join("lock"), "").unwrap();
        fs::write(data.journal().join("cursor"), "").unwrap();
        let first = data.gateway_id().unwrap();
        data.remove_identity_without_journal().unwrap();
        assert_eq!(data.gateway_id().unwrap(), first);

        // The operator removes the journal, and the next start dies before it has created a new identity.
        fs::remove_file(data.journal().join("cursor")).unwrap();
        data.remove_identity_without_journal().unwrap();
        fs::write(data.journal().join("cursor"), "").unwrap();
        data.remove_identity_without_journal().unwrap();
        assert_ne!(data.gateway_id().unwrap(), first);
    }

    #[test]
    fn damaged_identity_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(dir.path()).unwrap();
        fs::write(dir.path().join("gateway-id"), "nonsense").unwrap();
        let said = format!("{:#}", data.gateway_id().unwrap_err());
        assert!(
            said.contains("gateway-id") && said.contains("nonsense"),
            "{said}"
        );
    }

    /// Creates `path` below `dir`; returns the name of each directory that was synced, and how many entries it had
    /// then.
    fn synced(dir: &Path, path: &Path) -> Vec<(String, usize)> {
        let all = std::cell::RefCell::new(Vec::new());
        create_durably(path, &|parent| {
            let name = parent.strip_prefix(dir).unwrap().display().to_string();
            let held = fs::read_dir(parent).unwrap().count();
            all.borrow_mut().push((name, held));
            sync_dir(parent)
        })
        .unwrap();
        all.into_inner()
    }

    #[test]
    fn parent_of_every_created_directory_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/data");
        let each = |names: [&str; 3]| names.map(|name| (name.to_owned(), 1)).to_vec();
        assert_eq!(synced(dir.path(), &path), each(["", "a", "a/b"]));
        assert!(path.is_dir());
        // The process that created the directory may have died before the sync.
        assert_eq!(synced(dir.path(), &path), [("a/b".to_owned(), 1)]);
    }

    #[test]
    fn failed_sync_is_an_error_and_the_error_names_the_setting() {
        let dir = tempfile::tempdir().unwrap();
        let refuse = |_: &Path| Err(io::Error::other("input/output error"));
        let created = create_durably(&dir.path().join("data"), &refuse);
        assert_eq!(created.unwrap_err().to_string(), "input/output error");
        fs::write(dir.path().join("file"), "").unwrap();
        let said = DataDir::prepare(&dir.path().join("file/data")).unwrap_err();
        assert!(format!("{said:#}").contains("data_dir is "), "{said:#}");
    }
}
