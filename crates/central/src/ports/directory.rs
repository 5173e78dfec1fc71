//! The directory: a gateway loads chargers and tokens from it, so that it can answer without the database.

use super::{ChargerProfile, Token, Unavailable};
use crate::Timestamp;
use crate::model::ChargerKey;
use crate::running::RunningTransaction;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Chargers and tokens as a gateway holds them in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DirectorySnapshot {
    /// By charger.
    pub chargers: HashMap<ChargerKey, ChargerProfile>,
    /// The Argon2 hashes of passwords that were sent to chargers and are not decided: such a charger may log in with
    /// this one, or as its profile says (rule S-21).
    #[serde(default)]
    pub new_passwords: HashMap<ChargerKey, String>,
    /// By id, lower case.
    pub tokens: HashMap<String, Token>,
    /// Increases with every change; equal revisions mean equal content.
    pub revision: u64,
}

/// The source of the directory. Calls block.
pub trait DirectorySource: Send + Sync + 'static {
    /// The whole directory if its revision is not `known`, else `None`.
    ///
    /// # Errors
    /// When it cannot be read now; the gateway keeps its snapshot.
    fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable>;

    /// One token that is not in the snapshot.
    ///
    /// # Errors
    /// When the source cannot be asked now; the policy then decides. A token whose stored row is damaged is blocked.
    fn token(&self, id: &str) -> Result<Option<Token>, Unavailable>;

    /// Open transactions of tokens that may be in one only, as far as they began at `since` or later and were accepted:
    /// the newest, at most [`READ_MAX`](crate::running::READ_MAX). A token without a rule of its own is among them if
    /// `is_default_refuse`.
    ///
    /// # Errors
    /// When they cannot be read now.
    fn running(
        &self,
        is_default_refuse: bool,
        since: Timestamp,
    ) -> Result<Vec<RunningTransaction>, Unavailable>;

    /// The time of the source's clock; `None` if that is this machine's clock.
    ///
    /// # Errors
    /// When it cannot be asked now.
    fn clock(&self) -> Result<Option<Timestamp>, Unavailable> {
        Ok(None)
    }
}
