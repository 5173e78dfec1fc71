//! Retries dead letters: a record that could not be applied may be applied after a repair, or by a newer
//! version.

use crate::batch::PROJECTING_PANICKED;
use central::ports::{DeadLetters, Store, Unavailable};
use central::project::Changes;
use central::{Record, RecordId};

/// The result of a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It was applied, and is not a dead letter any more.
    Applied,
    /// It still cannot be applied, for this reason.
    StillDead(String),
    /// There is no dead letter with this id.
    NotFound,
}

/// Applies a dead letter, and removes it if that succeeds. Blocks. Applying a record twice has the effect of
/// once, so an interrupted retry is simply repeated.
///
/// # Errors
/// When the database is unavailable. The dead letter still exists then, whether or not it was applied.
pub fn retry_dead_letter(
    store: &dyn Store,
    letters: &dyn DeadLetters,
    id: RecordId,
) -> Result<Retried, Unavailable> {
    let Some(letter) = letters.dead_letter(id)? else {
        return Ok(Retried::NotFound);
    };
    let record = match Record::decode(&letter.bytes) {
        Ok(record) => record,
        Err(error) => return Ok(Retried::StillDead(error.to_string())),
    };
    let records = [(id, record)];
    let (changes, panicked) = Changes::of(&records);
    if !panicked.is_empty() {
        return Ok(Retried::StillDead(PROJECTING_PANICKED.to_owned()));
    }
    let applied = store.apply(&records, &changes, &[])?;
    if applied.new + applied.known == 0 {
        // The store refused the record and has just stored its reason.
        let letter = letters.dead_letter(id)?.unwrap_or(letter);
        return Ok(Retried::StillDead(letter.reason));
    }
    if applied.known > 0 {
        // It was already stored as a message without its changes: a store skips the changes of known records.
        // Applying them twice has the effect of once.
        store.apply(&[], &changes, &[])?;
    }
    letters.discard_dead_letter(id)?;
    Ok(Retried::Applied)
}
