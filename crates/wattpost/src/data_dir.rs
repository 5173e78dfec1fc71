//! The data directory: who this gateway is, and where its parts are.

use anyhow::{Context, Result};
use central::GatewayId;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A data directory that exists and can be written.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Makes the directory where it is missing, and its name certain: after a power cut it is there, with
    /// what was synced in it.
    ///
    /// # Errors
    /// When it cannot be made or made certain, naming the setting.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        make_durably(path, &sync_dir).with_context(|| {
            format!(
                "data_dir is {}, which cannot be created; name a directory that this user may write",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The directory, if it is there.
    ///
    /// # Errors
    /// When something else is there.
    pub(crate) fn existing(path: &Path) -> Result<Option<Self>> {
        if path.is_dir() {
            return Ok(Some(Self {
                path: path.to_owned(),
            }));
        }
        anyhow::ensure!(
            !path.exists(),
            "data_dir is {}, which is not a directory; name one that this user may write",
            path.display()
        );
        Ok(None)
    }

    /// Whether [`DataDir::prepare`] would have a place to begin: the nearest parent that is there is a
    /// directory.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn could_be_made(path: &Path) -> Result<()> {
        let nearest = path.ancestors().skip(1).find(|parent| parent.exists());
        anyhow::ensure!(
            nearest.is_none_or(Path::is_dir),
            "data_dir is {}, which cannot be created; name a directory that this user may write",
            path.display()
        );
        Ok(())
    }

    /// The journal's own directory.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Forgets the gateway's identity where there is no journal. To be called *before* the journal is
    /// opened: record ids are this identity and a number that the journal counts from 1, so a journal
    /// that begins anew under an old identity would have its records taken for old ones and dropped.
    /// Whatever dies between this and [`DataDir::gateway_id`], the next start makes a new identity.
    ///
    /// # Errors
    /// When the directory cannot be read, or the file cannot be removed for good.
    pub(crate) fn forget_identity_without_journal(&self) -> Result<()> {
        let file = self.gateway_id_file();
        if !file.exists() || self.has_journal()? {
            return Ok(());
        }
        tracing::warn!("there is no journal: it begins anew, under a new gateway id");
        fs::remove_file(&file)
            .and_then(|()| fs::File::open(&self.path)?.sync_all())
            .with_context(|| {
                format!(
                    "remove {}, which belonged to a journal that is gone",
                    file.display()
                )
            })
    }

    /// Whether the journal's directory holds anything but its lock and half-made files.
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

    /// The gateway's identity: the known one, or one that is made now and kept.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no UUID.
    pub(crate) fn gateway_id(&self) -> Result<GatewayId> {
        match self.known_gateway_id()? {
            Some(id) => Ok(id),
            None => {
                let file = self.gateway_id_file();
                let id = Uuid::now_v7();
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
            Err(error) => Err(error)
                .with_context(|| format!("read this gateway's identity from {}", file.display())),
        }
    }
}

/// Makes a directory and all that are missing above it. Each is certain in its parent before the next is
/// made in it. One that was there already is made certain too: the start that made it may have died
/// before that.
fn make_durably(path: &Path, sync: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        // The root.
        None => return Ok(()),
    };
    if path.is_dir() {
        // Somebody else made it if its parent cannot even be read, and made it certain long ago.
        return match sync(parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if !parent.is_dir() {
        make_durably(parent, sync)?;
    }
    match fs::create_dir(path) {
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync(parent)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
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
    fn a_gateway_keeps_its_identity_as_long_as_its_journal() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(&dir.path().join("a/b")).unwrap();
        data.forget_identity_without_journal().unwrap();
        assert_eq!(data.known_gateway_id().unwrap(), None);
        fs::create_dir(data.journal()).unwrap();
        fs::write(data.journal().join("lock"), "").unwrap();
        fs::write(data.journal().join("cursor"), "").unwrap();
        let first = data.gateway_id().unwrap();
        data.forget_identity_without_journal().unwrap();
        assert_eq!(data.gateway_id().unwrap(), first);

        // The operator removes the journal; a start that dies right after changes nothing.
        fs::remove_file(data.journal().join("cursor")).unwrap();
        data.forget_identity_without_journal().unwrap();
        fs::write(data.journal().join("cursor"), "").unwrap();
        data.forget_identity_without_journal().unwrap();
        assert_ne!(data.gateway_id().unwrap(), first);
    }

    #[test]
    fn a_damaged_identity_is_not_replaced_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(dir.path()).unwrap();
        fs::write(dir.path().join("gateway-id"), "nonsense").unwrap();
        let said = format!("{:#}", data.gateway_id().unwrap_err());
        assert!(
            said.contains("gateway-id") && said.contains("nonsense"),
            "{said}"
        );
    }

    /// Makes `path` below a directory and returns which directories were synced, each as it was then: its
    /// name and how many directories it held.
    fn synced(dir: &Path, path: &Path) -> Vec<(String, usize)> {
        let all = std::cell::RefCell::new(Vec::new());
        make_durably(path, &|parent| {
            let name = parent.strip_prefix(dir).unwrap().display().to_string();
            let held = fs::read_dir(parent).unwrap().count();
            all.borrow_mut().push((name, held));
            sync_dir(parent)
        })
        .unwrap();
        all.into_inner()
    }

    #[test]
    fn every_directory_that_is_made_is_certain_in_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/data");
        let each = |names: [&str; 3]| names.map(|name| (name.to_owned(), 1)).to_vec();
        assert_eq!(synced(dir.path(), &path), each(["", "a", "a/b"]));
        assert!(path.is_dir());
        // The start before this one may have died right after it made the directory.
        assert_eq!(synced(dir.path(), &path), [("a/b".to_owned(), 1)]);
    }

    #[test]
    fn a_parent_that_cannot_be_synced_stops_the_start_and_names_the_setting() {
        let dir = tempfile::tempdir().unwrap();
        let refuse = |_: &Path| Err(io::Error::other("input/output error"));
        let made = make_durably(&dir.path().join("data"), &refuse);
        assert_eq!(made.unwrap_err().to_string(), "input/output error");
        fs::write(dir.path().join("file"), "").unwrap();
        let said = DataDir::prepare(&dir.path().join("file/data")).unwrap_err();
        assert!(format!("{said:#}").contains("data_dir is "), "{said:#}");
    }
}
