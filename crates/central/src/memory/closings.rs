//! Sessions that people closed, in memory.

use crate::model::TransactionView;
use crate::ports::{CloseRequest, Closing, IDEMPOTENCY_KEPT_MS, NotClosed, Once};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// The closings of [`MemoryRows`](super::MemoryRows).
#[derive(Debug, Default)]
pub struct MemoryClosings {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    closings: BTreeMap<Uuid, Closing>,
    /// By requester and key: the digest and what was done.
    keys: BTreeMap<(String, String), ([u8; 32], Closing)>,
}

impl MemoryClosings {
    /// Closes the session of this row, if there is one and it may be closed.
    pub(super) fn close(
        &self,
        row: Option<&TransactionView>,
        wanted: &CloseRequest,
    ) -> Once<Closing, NotClosed> {
        // Nothing between two changes of the maps panics, so they are consistent.
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let request = &wanted.request;
        let once = request.idempotency.as_ref().map(|idempotency| {
            let key = (request.requested_by().to_owned(), idempotency.key.clone());
            (key, idempotency.digest)
        });
        if let Some((key, digest)) = &once
            && let Some((known, closing)) = contents.keys.get(key)
            && closing.noted_at.plus_millis(IDEMPOTENCY_KEPT_MS) >= request.origin.at
        {
            return match known == digest {
                true => Once::Repeated(closing.clone()),
                false => Once::Mismatch,
            };
        }
        let Some(row) = row else {
            return Once::Refused(NotClosed::Unknown { key: wanted.key });
        };
        let mut view = row.clone();
        show(&contents, &mut view);
        let closing = match wanted.closing(&view) {
            Ok(closing) => closing,
            Err(refused) => return Once::Refused(refused),
        };
        contents.closings.insert(closing.key, closing.clone());
        if let Some((key, digest)) = once {
            contents.keys.insert(key, (digest, closing.clone()));
        }
        Once::Done(closing)
    }

    /// Shows in a row that it was closed.
    pub(super) fn show(&self, row: &mut TransactionView) {
        show(
            &self.contents.lock().unwrap_or_else(PoisonError::into_inner),
            row,
        );
    }
}

fn show(contents: &Contents, row: &mut TransactionView) {
    if let Some(closing) = contents.closings.get(&row.key) {
        row.close(closing.by(), closing.ended_at);
    }
}
