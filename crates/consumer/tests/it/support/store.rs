//! A store in memory that refuses, blocks or loses its answer as the test says.

use central::memory::{Contents, MemoryStore};
use central::ports::{Applied, DeadLetter, Store, Unavailable, UnavailableKind};
use central::project::Changes;
use central::{Record, RecordId};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

/// The result of the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextResult {
    /// Refused; nothing is stored.
    Refused,
    /// Stored, but the answer is lost.
    AnswerLost,
}

#[derive(Default)]
pub(crate) struct TestStore {
    inner: MemoryStore,
    /// Refuses every batch and ping.
    pub(crate) is_unavailable: AtomicBool,
    /// Answers pings although it refuses batches.
    pub(crate) answers_pings: AtomicBool,
    pub(crate) pings: AtomicU64,
    pub(crate) calls: AtomicU64,
    next_result: Mutex<Option<NextResult>>,
    is_held: Mutex<bool>,
    held: Condvar,
}

impl TestStore {
    pub(crate) fn contents(&self) -> Contents {
        self.inner.contents()
    }

    pub(crate) fn next_is(&self, next_result: NextResult) {
        *self.next_result.lock().unwrap() = Some(next_result);
    }

    /// Blocks calls, or lets them continue.
    pub(crate) fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.held.notify_all();
    }

    pub(crate) fn ping(&self) -> Result<(), Unavailable> {
        self.pings.fetch_add(1, Ordering::SeqCst);
        if self.is_unavailable.load(Ordering::SeqCst) && !self.answers_pings.load(Ordering::SeqCst)
        {
            return Err(unavailable());
        }
        Ok(())
    }
}

fn unavailable() -> Unavailable {
    Unavailable {
        component: "database",
        kind: UnavailableKind::Full,
        detail: "set by the test".to_owned(),
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
        let next_result = self.next_result.lock().unwrap().take();
        if self.is_unavailable.load(Ordering::SeqCst) || next_result == Some(NextResult::Refused) {
            return Err(unavailable());
        }
        let applied = self.inner.apply(records, changes, dead)?;
        match next_result {
            Some(NextResult::AnswerLost) => Err(unavailable()),
            Some(NextResult::Refused) | None => Ok(applied),
        }
    }
}
