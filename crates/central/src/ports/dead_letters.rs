//! Records that can never be applied, and what a person does with them: try them again, or discard them.
//!
//! A dead letter that is discarded loses its content and is kept as a fact: its record still counts as stored, so that
//! the balance of the pipeline and a gateway that was restored do not miss it, and its redelivery changes nothing.

use super::{ChangeRequest, Once, Unavailable};
use crate::Timestamp;
use crate::query::{DeadLetterFilter, DeadLetterRow};
use crate::record::RecordId;
use serde::{Deserialize, Serialize};

/// Dead letters that one request retries or discards at most.
pub const LETTERS_CHANGED_MAX: usize = 1_000;

/// Characters of the reason of a discard at most.
pub const DISCARD_REASON_CHARS_MAX: usize = 1_000;

/// A record that can never be applied, kept with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record's id.
    pub id: RecordId,
    /// Its bytes, as in the journal.
    pub bytes: Vec<u8>,
    /// Why it can never be applied.
    pub reason: String,
}

/// The reason of a dead letter whose id another record has already.
pub const ID_USED_TWICE: &str = "another record has this id: two journals used the same gateway id, \
     as when one is restored from an old copy (docs/operations.md, Backup)";

/// Selects the dead letters that a request changes: all of them or, if [`NotSelected`], none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterSelection {
    /// Those of these records; each must be waiting.
    Ids(Vec<RecordId>),
    /// Those that wait and match.
    Matching {
        /// The filter; its state is not used.
        filter: DeadLetterFilter,
        /// How many they must be: the number that the requester has seen. `None`: any number, for a dry run.
        expected: Option<u64>,
    },
}

/// Why no dead letter was selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSelected {
    /// There is none of this record.
    #[error("there is no dead letter of record {id}")]
    Unknown {
        /// The record.
        id: RecordId,
    },
    /// It was discarded before.
    #[error("the dead letter of record {id} was discarded at {at} by {by}")]
    Discarded {
        /// The record.
        id: RecordId,
        /// When.
        at: Timestamp,
        /// By whom.
        by: String,
    },
    /// Another number matches than the requester expects.
    #[error("{found} dead letters match, not {expected}")]
    OtherNumber {
        /// How many match.
        found: u64,
        /// How many were expected.
        expected: u64,
    },
    /// More than [`LETTERS_CHANGED_MAX`] are selected.
    #[error(
        "{found} dead letters are selected, and one request changes at most {LETTERS_CHANGED_MAX}"
    )]
    TooMany {
        /// How many.
        found: u64,
    },
}

/// A request to discard dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscardRequest {
    /// Which.
    pub selection: LetterSelection,
    /// Why: 1 to [`DISCARD_REASON_CHARS_MAX`] characters without control characters.
    pub reason: String,
    /// Who requests it, and when. A condition is not used.
    pub request: ChangeRequest,
}

/// What became of dead letters that were tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retried {
    /// The ids of the records that are applied, and are no dead letters any more.
    pub applied: Vec<String>,
    /// The others.
    pub still_dead: Vec<StillDead>,
}

/// A dead letter that still cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StillDead {
    /// The record's id.
    pub record_id: String,
    /// Why.
    pub reason: String,
}

/// Reads and changes dead letters. Calls block.
///
/// Laws: a change, its entries in the audit log (`dead_letter.applied`, `dead_letter.discarded`; they contain nothing of
/// the content) and its idempotency key are one database transaction. The content of a discarded letter is deleted. A
/// record whose letter was discarded does not become a dead letter again; a different record with its id does.
pub trait DeadLetters: Send + Sync + 'static {
    /// The complete dead letter of this record, if it waits.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable>;

    /// What is shown of the dead letter of this record, which waits or was discarded.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, Unavailable>;

    /// The ids that a selection selects, in the order in which they became dead letters.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn select_letters(
        &self,
        selection: &LetterSelection,
    ) -> Result<Result<Vec<RecordId>, NotSelected>, Unavailable>;

    /// Discards dead letters. Returns the ids of their records.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn discard_letters(
        &self,
        wanted: &DiscardRequest,
    ) -> Result<Once<Vec<String>, NotSelected>, Unavailable>;

    /// What the same request has done before under its idempotency key; `None` if it has not.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn retried_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<Retried, NotSelected>>, Unavailable>;

    /// Removes the letters of records that were applied, and keeps the result under the idempotency key. A letter that is
    /// already gone is not an error: another retry has applied it too, which has the effect of once.
    ///
    /// # Errors
    /// When the database refuses; nothing has changed.
    fn settle_retry(
        &self,
        retried: &Retried,
        request: &ChangeRequest,
    ) -> Result<Once<Retried, NotSelected>, Unavailable>;
}

/// Tries dead letters again, with the code that applies records. Calls block.
///
/// Laws: applying a record twice has the effect of once, so an interrupted retry is simply repeated.
pub trait LetterRetries: Send + Sync + 'static {
    /// Tries all letters of a selection.
    ///
    /// # Errors
    /// When the database is unavailable. Each letter that is not applied yet still exists.
    fn retry_letters(
        &self,
        selection: &LetterSelection,
        request: &ChangeRequest,
    ) -> Result<Once<Retried, NotSelected>, Unavailable>;

    /// Which letters of a selection this version cannot apply whatever the database says, because it cannot decode or
    /// project them; and the ids of the others. Nothing changes.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn try_letters(
        &self,
        selection: &LetterSelection,
    ) -> Result<Result<Retried, NotSelected>, Unavailable>;
}
