//! Dead letters in memory. They have no times: each became a dead letter at 0.

use super::MemoryStore;
use crate::Timestamp;
use crate::model::{DeadLetterState, Discarded};
use crate::ports::{
    ChangeRequest, DeadLetter, DeadLetters, DiscardRequest, LETTERS_CHANGED_MAX, LetterSelection,
    NotSelected, Once, Retried, Unavailable,
};
use crate::query::{DeadLetterFilter, DeadLetterRow};
use crate::record::{Record, RecordId};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

/// What a store remembers of dead letters besides those that wait.
#[derive(Debug, Default)]
pub(super) struct Letters {
    discarded: BTreeMap<RecordId, DeadLetterRow>,
    /// By requester and key: the digest and what was done.
    keys: BTreeMap<(String, String), ([u8; 32], Kept)>,
}

#[derive(Debug, Clone)]
enum Kept {
    Discarded(Vec<String>),
    Retried(Retried),
}

impl Letters {
    /// What was done under the idempotency key of this request; `Err` if it was another request.
    fn kept(&self, request: &ChangeRequest) -> Option<Result<Kept, ()>> {
        let wanted = request.idempotency.as_ref()?;
        let key = (request.requested_by().to_owned(), wanted.key.clone());
        let (digest, kept) = self.keys.get(&key)?;
        Some((*digest == wanted.digest).then(|| kept.clone()).ok_or(()))
    }

    fn keep(&mut self, request: &ChangeRequest, kept: Kept) {
        if let Some(wanted) = &request.idempotency {
            let key = (request.requested_by().to_owned(), wanted.key.clone());
            self.keys.insert(key, (wanted.digest, kept));
        }
    }
}

impl MemoryStore {
    fn letters(&self) -> MutexGuard<'_, Letters> {
        // Nothing between two changes of the maps panics, so they are consistent.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of the letters that wait, by record.
    fn waiting(&self) -> Vec<(RecordId, DeadLetterRow)> {
        let contents = self.lock();
        let rows = contents.dead.iter().map(|(id, (bytes, reason))| {
            let record = Record::decode(bytes).ok();
            let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let row = DeadLetterRow {
                record_id: id.to_string(),
                charger_id: record.and_then(|record| text(record.charger_id)),
                action: record.and_then(|record| text(record.action)),
                state: DeadLetterState::Waiting,
                reason: reason.clone(),
                at: Timestamp(0),
                size_bytes: bytes.len() as u64,
                content: Some(String::from_utf8_lossy(bytes).into_owned()),
                discarded: None,
            };
            (*id, row)
        });
        rows.collect()
    }
}

impl DeadLetters for MemoryStore {
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable> {
        let contents = self.lock();
        let found = contents.dead.get(&id);
        Ok(found.map(|(bytes, reason)| DeadLetter {
            id,
            bytes: bytes.clone(),
            reason: reason.clone(),
        }))
    }

    fn letter_row(&self, id: RecordId) -> Result<Option<DeadLetterRow>, Unavailable> {
        let waiting = self.waiting().into_iter().find(|(known, _)| *known == id);
        Ok(waiting
            .map(|(_, row)| row)
            .or_else(|| self.letters().discarded.get(&id).cloned()))
    }

    fn select_letters(
        &self,
        selection: &LetterSelection,
    ) -> Result<Result<Vec<RecordId>, NotSelected>, Unavailable> {
        let waiting = self.waiting();
        let found = match selection {
            LetterSelection::Ids(ids) => {
                for id in ids {
                    if waiting.iter().any(|(known, _)| known == id) {
                        continue;
                    }
                    let discarded = self.letters().discarded.get(id).cloned();
                    let discarded = discarded.and_then(|row| row.discarded);
                    return Ok(Err(discarded.map_or(
                        NotSelected::Unknown { id: *id },
                        |discarded| NotSelected::Discarded {
                            id: *id,
                            at: discarded.at,
                            by: discarded.by,
                        },
                    )));
                }
                ids.clone()
            }
            LetterSelection::Matching { filter, expected } => {
                let filter = DeadLetterFilter {
                    state: DeadLetterState::Waiting,
                    ..filter.clone()
                };
                let matching = waiting.iter().filter(|(_, row)| filter.has(row));
                let found: Vec<RecordId> = matching.map(|(id, _)| *id).collect();
                if let Some(expected) = expected.filter(|expected| *expected != found.len() as u64)
                {
                    return Ok(Err(NotSelected::OtherNumber {
                        found: found.len() as u64,
                        expected,
                    }));
                }
                found
            }
        };
        Ok(match found.len() > LETTERS_CHANGED_MAX {
            true => Err(NotSelected::TooMany {
                found: found.len() as u64,
            }),
            false => Ok(found),
        })
    }

    fn discard_letters(
        &self,
        wanted: &DiscardRequest,
    ) -> Result<Once<Vec<String>, NotSelected>, Unavailable> {
        match self.letters().kept(&wanted.request) {
            Some(Ok(Kept::Discarded(ids))) => return Ok(Once::Repeated(ids)),
            Some(_) => return Ok(Once::Mismatch),
            None => {}
        }
        let ids = match self.select_letters(&wanted.selection)? {
            Ok(ids) => ids,
            Err(refused) => return Ok(Once::Refused(refused)),
        };
        for (id, row) in self.waiting() {
            if ids.contains(&id) {
                let discarded = DeadLetterRow {
                    state: DeadLetterState::Discarded,
                    content: None,
                    discarded: Some(Discarded {
                        at: wanted.request.origin.at,
                        by: wanted.request.requested_by().to_owned(),
                        reason: wanted.reason.clone(),
                    }),
                    ..row
                };
                self.lock().dead.remove(&id);
                self.letters().discarded.insert(id, discarded);
            }
        }
        let ids: Vec<String> = ids.iter().map(RecordId::to_string).collect();
        self.letters()
            .keep(&wanted.request, Kept::Discarded(ids.clone()));
        Ok(Once::Done(ids))
    }

    fn retried_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<Retried, NotSelected>>, Unavailable> {
        Ok(self.letters().kept(request).map(|kept| match kept {
            Ok(Kept::Retried(retried)) => Once::Repeated(retried),
            Ok(Kept::Discarded(_)) | Err(()) => Once::Mismatch,
        }))
    }

    fn settle_retry(
        &self,
        retried: &Retried,
        request: &ChangeRequest,
    ) -> Result<Once<Retried, NotSelected>, Unavailable> {
        if let Some(kept) = self.retried_before(request)? {
            return Ok(kept);
        }
        let applied = retried.applied.iter().filter_map(|id| id.parse().ok());
        for id in applied {
            self.lock().dead.remove(&id);
        }
        self.letters().keep(request, Kept::Retried(retried.clone()));
        Ok(Once::Done(retried.clone()))
    }
}
