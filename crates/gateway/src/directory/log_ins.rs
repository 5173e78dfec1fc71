//! Log-ins with new passwords: the first one ends a change of a charger's password, also if the database is unavailable
//! then. So each is kept in the data directory until the loaded directory shows that the change has ended.

use super::kept::write_atomically;
use super::snapshot::Snapshot;
use crate::clock::wall_clock;
use central::model::ChargerKey;
use central::ports::PasswordRotations;
use common::lock::lock;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(super) const FILE: &str = "new-passwords.json";

/// The log-ins with new passwords that the loaded directory does not show yet.
pub(super) struct LogIns {
    file: PathBuf,
    /// Where they are reported; without it none is.
    rotations: Option<Arc<dyn PasswordRotations>>,
    /// The hash of the new password with which each of these chargers has logged in here: the only one that admits it,
    /// until the loaded directory no longer has it as a new one.
    seen: Mutex<HashMap<ChargerKey, String>>,
}

impl LogIns {
    /// Begins with what the last process has kept.
    pub(super) fn open(data_dir: &Path, rotations: Option<Arc<dyn PasswordRotations>>) -> Self {
        let file = data_dir.join(FILE);
        Self {
            seen: Mutex::new(read(&file)),
            file,
            rotations,
        }
    }

    /// Whether the charger has logged in with the password of this hash.
    pub(super) fn has(&self, key: &ChargerKey, hash: &str) -> bool {
        lock(&self.seen)
            .get(key)
            .is_some_and(|seen| seen.as_str() == hash)
    }

    /// Adds a log-in. Returns when it is on the disk, or the disk has refused it. Blocks.
    pub(super) fn add(&self, key: ChargerKey, hash: String) {
        let mut seen = lock(&self.seen);
        seen.insert(key, hash);
        self.write(&seen);
    }

    /// Tells the database of all of them. What cannot be told now is told at the next refresh. Blocks.
    pub(super) fn report(&self) {
        let Some(rotations) = &self.rotations else {
            return;
        };
        let seen: Vec<(ChargerKey, String)> = lock(&self.seen)
            .iter()
            .map(|(key, hash)| (key.clone(), hash.clone()))
            .collect();
        for (key, hash) in seen {
            if let Err(error) = rotations.logged_in(&key, &hash, wall_clock()) {
                tracing::debug!(charger.key = key.as_str(), %error, "a log-in with a new password cannot be stored yet");
                return;
            }
        }
    }

    /// Forgets those of rotations that have ended. The source has just confirmed the snapshot. Blocks.
    pub(super) fn forget_ended(&self, confirmed: &Snapshot) {
        let mut seen = lock(&self.seen);
        let before = seen.len();
        seen.retain(|key, hash| confirmed.new_passwords.get(key) == Some(hash));
        if seen.len() < before {
            self.write(&seen);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.seen).is_empty()
    }

    fn write(&self, seen: &HashMap<ChargerKey, String>) {
        if let Err(error) = write_atomically(&self.file, seen) {
            tracing::warn!(file = %self.file.display(), %error, "log-ins with new passwords cannot be kept for the next start");
        }
    }
}

/// The log-ins that the last process has kept; none if the file is missing or damaged: then both passwords are accepted
/// until the next log-in.
pub(super) fn read(file: &Path) -> HashMap<ChargerKey, String> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(file = %file.display(), %error, "the kept log-ins with new passwords cannot be read");
            }
            return HashMap::new();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "the kept log-ins with new passwords are damaged and are not used");
        HashMap::new()
    })
}
