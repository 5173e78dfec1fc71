//! A store in memory that refuses, hesitates and forgets to answer as it is told.

use central::memory::{Contents, MemoryStore};
use central::ports::{Applied, DeadLetter, Store, Unavailable, UnavailableKind};
use central::project::Changes;
use central::{Record, RecordId};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

/// What becomes of the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Refused; nothing of it is stored.
    Refused,
    /// Stored, and the answer is lost.
    AnswerLost,
}

#[derive(Default)]
pub(crate) struct TestStore {
    inner: MemoryStore,
    /// Refuses everything.
    pub(crate) away: AtomicBool,
    /// Answers pings all the same.
    pub(crate) refuses_quietly: AtomicBool,
    pub(crate) pings: AtomicU64,
    pub(crate) calls: AtomicU64,
    fate: Mutex<Option<Fate>>,
    is_held: Mutex<bool>,
    held: Condvar,
}

impl TestStore {
    pub(crate) fn contents(&self) -> Contents {
        self.inner.contents()
    }

    pub(crate) fn next_is(&self, fate: Fate) {
        *self.fate.lock().unwrap() = Some(fate);
    }

    /// While held, calls wait.
    pub(crate) fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.held.notify_all();
    }

    pub(crate) fn ping(&self) -> Result<(), Unavailable> {
        self.pings.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) && !self.refuses_quietly.load(Ordering::SeqCst) {
            return Err(away());
        }
        Ok(())
    }
}

fn away() -> Unavailable {
    Unavailable {
        component: "database",
        kind: UnavailableKind::Full,
        detail: "told so by the test".to_owned(),
    }
}

impl Store for TestStore {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let held = self.is_held.lock().unwrap();
        drop(self.held.wait_while(held, |is_held| *is_held).unwrap());
        let fate = self.fate.lock().unwrap().take();
        if self.away.load(Ordering::SeqCst) || fate == Some(Fate::Refused) {
            return Err(away());
        }
        let applied = self.inner.apply(records, changes, dead)?;
        match fate {
            Some(Fate::AnswerLost) => Err(away()),
            Some(Fate::Refused) | None => Ok(applied),
        }
    }
}
