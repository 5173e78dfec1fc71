//! Dead letters once more: what could not be applied may go in after a repair, or with a newer version.

use crate::batch::PROJECTING_PANICKED;
use central::ports::{DeadLetters, Store, Unavailable};
use central::project::Changes;
use central::{Record, RecordId};

/// What became of a dead letter that was tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It is applied, and no dead letter any more.
    Applied,
    /// It still cannot be applied, for this reason; it stays a dead letter.
    StillDead(String),
    /// There is no dead letter of this record.
    NotFound,
}

/// Applies a dead letter, and removes it if it went in. Blocks. Applying is what it is for any record: twice
/// has the effect of once, so a try that was broken off is simply made again.
///
/// # Errors
/// When the database is away; the letter is still there, or is applied and still there.
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
        // The store has its own reasons; it has just given this one again.
        let letter = letters.dead_letter(id)?.unwrap_or(letter);
        return Ok(Retried::StillDead(letter.reason));
    }
    if applied.known > 0 {
        // It was among the messages already, and changed nothing: a store passes over the changes of known
        // records. Merging them twice has the effect of once.
        store.apply(&[], &changes, &[])?;
    }
    letters.discard_dead_letter(id)?;
    Ok(Retried::Applied)
}
