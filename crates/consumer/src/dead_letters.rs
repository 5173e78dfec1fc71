//! Retries dead letters: a record that could not be applied may be applied after a repair, or by a newer
//! version.

use crate::batch::PROJECTING_PANICKED;
use central::ports::{
    ChangeRequest, DeadLetter, DeadLetters, LetterRetries, LetterSelection, NotSelected, Once,
    Retried, StillDead, Store, Unavailable,
};
use central::project::Changes;
use central::{Record, RecordId};
use std::sync::Arc;

/// Tries dead letters again, one after the other. Used by the HTTP API and the command line.
pub struct LetterRetry {
    /// What applies records.
    pub store: Arc<dyn Store>,
    /// The letters.
    pub letters: Arc<dyn DeadLetters>,
}

impl std::fmt::Debug for LetterRetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LetterRetry").finish_non_exhaustive()
    }
}

impl LetterRetries for LetterRetry {
    fn retry_letters(
        &self,
        selection: &LetterSelection,
        request: &ChangeRequest,
    ) -> Result<Once<Retried, NotSelected>, Unavailable> {
        // A repeat finds other letters than the first request, which has removed those that it applied.
        if let Some(before) = self.letters.retried_before(request)? {
            return Ok(before);
        }
        let ids = match self.letters.select_letters(selection)? {
            Ok(ids) => ids,
            Err(refused) => return Ok(Once::Refused(refused)),
        };
        let retried = self.each(&ids, |letter| self.apply(letter))?;
        self.letters.settle_retry(&retried, request)
    }

    fn try_letters(
        &self,
        selection: &LetterSelection,
    ) -> Result<Result<Retried, NotSelected>, Unavailable> {
        let ids = match self.letters.select_letters(selection)? {
            Ok(ids) => ids,
            Err(refused) => return Ok(Err(refused)),
        };
        let tried = self.each(&ids, |letter| Ok(projected(letter).map(drop)));
        tried.map(Ok)
    }
}

impl LetterRetry {
    /// Sorts letters by the result of `attempt`. Their bytes are read one by one, because a thousand may be large. A letter
    /// that is gone meanwhile is left out.
    fn each(
        &self,
        ids: &[RecordId],
        attempt: impl Fn(&DeadLetter) -> Result<Result<(), String>, Unavailable>,
    ) -> Result<Retried, Unavailable> {
        let mut retried = Retried::default();
        for id in ids {
            let Some(letter) = self.letters.dead_letter(*id)? else {
                continue;
            };
            let record_id = id.to_string();
            match attempt(&letter)? {
                Ok(()) => retried.applied.push(record_id),
                Err(reason) => retried.still_dead.push(StillDead { record_id, reason }),
            }
        }
        Ok(retried)
    }

    /// Applies a letter; the inner error says why it still cannot be applied.
    fn apply(&self, letter: &DeadLetter) -> Result<Result<(), String>, Unavailable> {
        let (record, changes) = match projected(letter) {
            Ok(projected) => projected,
            Err(reason) => return Ok(Err(reason)),
        };
        let applied = self.store.apply(&[(letter.id, record)], &changes, &[])?;
        if applied.new + applied.known == 0 {
            // The store refused the record and has just stored its reason.
            let stored = self.letters.dead_letter(letter.id)?;
            let reason = stored.map_or_else(|| letter.reason.clone(), |stored| stored.reason);
            return Ok(Err(reason));
        }
        if applied.known > 0 {
            // It was already stored as a message without its changes: a store skips the changes of known records.
            // Applying them twice has the effect of once.
            self.store.apply(&[], &changes, &[])?;
        }
        Ok(Ok(()))
    }
}

/// The record of a letter and what follows from it; an error says why this version cannot apply it.
fn projected(letter: &DeadLetter) -> Result<(Record<'_>, Changes), String> {
    let record = Record::decode(&letter.bytes).map_err(|error| error.to_string())?;
    let (changes, panicked) = Changes::of(&[(letter.id, record)]);
    match panicked.is_empty() {
        true => Ok((record, changes)),
        false => Err(PROJECTING_PANICKED.to_owned()),
    }
}
