//! Where a gateway loads its chargers and tokens from, so that it can answer without the database.

use super::{ChargerProfile, Token, Unavailable};
use crate::Timestamp;
use crate::model::ChargerKey;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Chargers and tokens, as the gateway keeps them to answer without asking.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DirectorySnapshot {
    /// By charger.
    pub chargers: HashMap<ChargerKey, ChargerProfile>,
    /// By id, lower case.
    pub tokens: HashMap<String, Token>,
    /// Grows with every change; equal revisions mean equal content.
    pub revision: u64,
}

/// Where the directory comes from. Calls block.
pub trait DirectorySource: Send + Sync + 'static {
    /// The whole directory if its revision is not `known`, else `None`.
    ///
    /// # Errors
    /// When it cannot be asked now; the gateway goes on with what it has.
    fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable>;

    /// One token, asked for when the snapshot does not know it.
    ///
    /// # Errors
    /// When it cannot be asked now; the policy then decides.
    fn token(&self, id: &str) -> Result<Option<Token>, Unavailable>;

    /// The time by the source's own clock; `None` where it has none but this machine's.
    ///
    /// # Errors
    /// When it cannot be asked now.
    fn clock(&self) -> Result<Option<Timestamp>, Unavailable> {
        Ok(None)
    }
}
