//! Replays the records of one database, or of an export, into an empty database: everything that follows from records
//! is built anew, by the projections of this version.
//!
//! Records are read in one thread and applied in another, a batch at a time, so memory is bounded: two batches of
//! [`BATCH_RECORDS`] records or [`BATCH_BYTES`] bytes, and one page of the source. Applying a record twice equals applying
//! it once, so a replay that was interrupted is continued by replaying everything again: records that are stored already
//! are only recognised, which is faster than applying them.

use crate::batch;
use central::ports::{
    Batch, DeadLetter, DeadLetters, EventLog, Holding, QueryError, QueryStore, Sequenced, Store,
    Transfer, Unavailable,
};
use central::project::Changes;
use central::query::{DeadLetterFilter, MessageFilter, PAGE_MAX, PageRequest, all_messages};
use central::{GatewayId, Record, RecordId, Timestamp};
use common::clock;
use serde_json::Value;
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Records of one batch at most.
const BATCH_RECORDS: usize = 2_000;

/// Bytes of records of one batch at most; one record may be longer.
const BATCH_BYTES: usize = 4 << 20;

/// How often the target is prepared for days at most, each time for nine days. Records of further days are stored as
/// those of a gateway with a wrong clock are.
const PREPARED_MAX: usize = 500;

const DAY_MS: i64 = 86_400_000;

/// How long another process may move queued events, and how often is looked.
const ELSEWHERE_MAX: Duration = Duration::from_secs(30);
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(50);

/// Why a replay ended early. What was stored stays stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The source cannot be read.
    #[error("read the source: {0}")]
    Source(String),
    /// The target refused.
    #[error("write to the target: {0}")]
    Target(Unavailable),
    /// The target has rows that no unfinished replay wrote.
    #[error(
        "the target is not empty: table {0} has rows; name a database that nothing was stored in"
    )]
    NotEmpty(&'static str),
    /// The target has the rows of an unfinished replay, and this one is not to continue it.
    #[error(
        "the target holds a replay that was not finished; continue it with --continue, or name an empty database"
    )]
    Unfinished,
    /// There is nothing to continue.
    #[error("there is no unfinished replay in the target; leave --continue out")]
    NothingToContinue,
}

impl From<QueryError> for ReplayError {
    fn from(error: QueryError) -> Self {
        Self::Source(error.to_string())
    }
}

/// The ports of the database that is read.
#[derive(Clone, Copy)]
pub struct ReplaySource<'a> {
    /// Messages and dead letters.
    pub queries: &'a dyn QueryStore,
    /// Dead letters in full.
    pub dead_letters: &'a dyn DeadLetters,
    /// Rows that do not follow from records.
    pub transfer: &'a dyn Transfer,
}

/// The ports of the database that is written.
#[derive(Clone, Copy)]
pub struct ReplayTarget<'a> {
    /// Applies records.
    pub store: &'a dyn Store,
    /// Rows that do not follow from records.
    pub transfer: &'a dyn Transfer,
}

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Records that were stored.
    pub new: u64,
    /// Records that were stored already: of the replay that this one continues, or twice in the export.
    pub known: u64,
    /// Rows copied, by table.
    pub copied: Vec<(&'static str, u64)>,
    /// Dead letters that were tried again.
    pub dead_letters: u64,
    /// Rebuilt tables of which the target has another number of rows than the source: table, source, target.
    pub differing: Vec<(&'static str, u64, u64)>,
}

/// Begins a replay, or continues one.
///
/// # Errors
/// When the target is not empty, or has nothing to continue.
pub fn begin_replay(target: &dyn Transfer, continued: bool) -> Result<(), ReplayError> {
    match (target.holding().map_err(ReplayError::Target)?, continued) {
        (Holding::Rows(table), _) => Err(ReplayError::NotEmpty(table)),
        (Holding::Nothing, true) => Err(ReplayError::NothingToContinue),
        (Holding::UnfinishedReplay, false) => Err(ReplayError::Unfinished),
        (Holding::Nothing, false) | (Holding::UnfinishedReplay, true) => {
            target.mark_replay(false).map_err(ReplayError::Target)
        }
    }
}

/// Moves the changes that wait in the queue of this source into its log of events, which is copied, while the queue is not.
/// To be called before [`replay`]. Returns how many events it has added.
///
/// # Errors
/// When the source refuses, or another process moves them for 30 seconds without an end.
pub fn empty_queue(source: &dyn EventLog) -> Result<u64, ReplayError> {
    let deadline = Instant::now() + ELSEWHERE_MAX;
    let mut moved = 0;
    loop {
        let sequenced = source
            .sequence_events(Timestamp(clock::now_ms()))
            .map_err(|error| {
                ReplayError::Source(format!("move queued events to the log: {error}"))
            })?;
        match sequenced {
            Sequenced::Done { events, has_more } => {
                moved += events as u64;
                if !has_more {
                    return Ok(moved);
                }
            }
            Sequenced::Elsewhere if Instant::now() < deadline => {
                std::thread::sleep(ELSEWHERE_PAUSE);
            }
            Sequenced::Elsewhere => {
                return Err(ReplayError::Source(
                    "another process moves queued events to the log and does not end; stop it, or try again"
                        .to_owned(),
                ));
            }
        }
    }
}

/// Copies the rows that do not follow from records. To be called before [`replay_records`], which builds on some of them.
///
/// # Errors
/// When the source or the target refuses.
pub fn copy_rows(
    source: &dyn Transfer,
    target: &dyn Transfer,
) -> Result<Vec<(&'static str, u64)>, ReplayError> {
    let mut copied = Vec::new();
    for table in target.copied_tables() {
        target.clear(table).map_err(ReplayError::Target)?;
        let (mut count, mut after) = (0, None);
        loop {
            let rows = source
                .rows(table, after.as_ref())
                .map_err(|error| ReplayError::Source(error.to_string()))?;
            if rows.is_empty() {
                break;
            }
            target.put_rows(table, &rows).map_err(ReplayError::Target)?;
            count += rows.len() as u64;
            after = rows.into_iter().next_back();
        }
        copied.push((table.name, count));
    }
    Ok(copied)
}

/// Applies `records`, in any order. `progress` is told the number of records so far.
///
/// # Errors
/// The first error of `records` as [`ReplayError::Source`], or that of the target. Records before it are stored.
pub fn replay_records(
    records: impl Iterator<Item = Result<(RecordId, Vec<u8>), String>> + Send,
    target: ReplayTarget<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Replayed, ReplayError> {
    let (batches, ready) = sync_channel(1);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read_batches(records, &batches));
        // The receiver is dropped here, so that the reader ends when the target has refused.
        let applied = apply_batches(ready, target, progress);
        let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        let applied = applied?;
        read.map_err(ReplayError::Source)?;
        Ok(applied)
    })
}

fn read_batches(
    records: impl Iterator<Item = Result<(RecordId, Vec<u8>), String>>,
    batches: &SyncSender<Batch>,
) -> Result<(), String> {
    let mut batch = new_batch();
    let mut failed = Ok(());
    for found in records {
        match found {
            Ok((id, bytes)) => batch.push_with(id, |out| out.extend_from_slice(&bytes)),
            Err(error) => {
                failed = Err(error);
                break;
            }
        }
        let is_full = batch.len() >= BATCH_RECORDS || batch.size_bytes() >= BATCH_BYTES;
        if is_full
            && batches
                .send(std::mem::replace(&mut batch, new_batch()))
                .is_err()
        {
            return Ok(());
        }
    }
    // What was read before an error is stored as well.
    let _ = batches.send(batch);
    failed
}

/// A batch whose records name their gateways themselves.
const fn new_batch() -> Batch {
    Batch::new(GatewayId(Uuid::nil()))
}

fn apply_batches(
    batches: Receiver<Batch>,
    target: ReplayTarget<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Replayed, ReplayError> {
    let mut replayed = Replayed::default();
    let mut days = Days::default();
    let mut done = 0;
    for batch in batches {
        days.prepare(&batch, target.transfer)
            .map_err(ReplayError::Target)?;
        let applied = batch::apply(target.store, &batch).map_err(ReplayError::Target)?;
        replayed.new += applied.new;
        replayed.known += applied.known;
        done += batch.len() as u64;
        progress(done);
    }
    Ok(replayed)
}

/// The days for which the target was prepared.
#[derive(Default)]
struct Days {
    prepared: BTreeSet<i64>,
    calls: usize,
}

impl Days {
    fn prepare(&mut self, batch: &Batch, target: &dyn Transfer) -> Result<(), Unavailable> {
        for (_, bytes) in batch.iter() {
            let Ok(record) = Record::decode(bytes) else {
                continue;
            };
            let day = record.received_at.0.div_euclid(DAY_MS);
            let is_of_a_set_clock = record.received_at.is_plausible();
            if !is_of_a_set_clock || self.prepared.contains(&day) || self.calls >= PREPARED_MAX {
                continue;
            }
            self.calls += 1;
            target.prepare_for(Timestamp(day * DAY_MS))?;
            self.prepared.extend(day - 1..=day + 7);
        }
        Ok(())
    }
}

/// Replays everything that `source` holds into `target`: copies rows, applies all messages, tries the dead letters again,
/// and compares the numbers of rows.
///
/// # Errors
/// When the target is not empty ([`begin_replay`]), or one of the two refuses. Nothing is undone; the replay can be
/// continued.
pub fn replay(
    source: ReplaySource<'_>,
    target: ReplayTarget<'_>,
    continued: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Replayed, ReplayError> {
    begin_replay(target.transfer, continued)?;
    let copied = copy_rows(source.transfer, target.transfer)?;
    copy_gateways(source.transfer, target)?;
    let filter = MessageFilter::default();
    let messages = all_messages(source.queries, &filter).map(|row| {
        let row = row.map_err(|error| error.to_string())?;
        Ok((row.id, row.record().encode()))
    });
    let mut replayed = replay_records(messages, target, progress)?;
    replayed.dead_letters = retry_dead_letters(source, target.store)?;
    replayed.copied = copied;
    copy_former_keys(source.transfer, target.transfer)?;
    finish_replay(target.transfer)?;
    let counts = |store: &dyn Transfer| store.count_rebuilt();
    let there = counts(source.transfer).map_err(|error| ReplayError::Source(error.to_string()))?;
    let here = counts(target.transfer).map_err(ReplayError::Target)?;
    let both = there.into_iter().zip(here);
    replayed.differing = both
        .filter(|(there, here)| there != here)
        .map(|((name, there), (_, here))| (name, there, here))
        .collect();
    Ok(replayed)
}

/// Merges what is known of gateways: that one was retired, and when one reported last that it runs, follows from no record.
fn copy_gateways(source: &dyn Transfer, target: ReplayTarget<'_>) -> Result<(), ReplayError> {
    let unreadable = |error: String| ReplayError::Source(format!("table gateways: {error}"));
    let tables = source.copied_tables().iter();
    for table in tables.filter(|table| table.name == "gateways") {
        let mut after = None;
        loop {
            let rows = source
                .rows(table, after.as_ref())
                .map_err(|error| ReplayError::Source(error.to_string()))?;
            let mut changes = Changes::default();
            for row in &rows {
                let text = |name: &str| row.get(name).and_then(Value::as_str);
                let (Some(id), Some(state)) = (text("id"), text("state")) else {
                    continue;
                };
                let id = Uuid::try_parse(id.trim_start_matches("\\x"))
                    .map_err(|error| unreadable(error.to_string()))?;
                let state =
                    serde_json::from_str(state).map_err(|error| unreadable(error.to_string()))?;
                changes.gateways.insert(GatewayId(id), state);
            }
            if rows.is_empty() {
                break;
            }
            target
                .store
                .apply(&[], &changes, &[])
                .map_err(ReplayError::Target)?;
            after = rows.into_iter().next_back();
        }
    }
    Ok(())
}

/// After the records, because each key belongs to a transaction.
fn copy_former_keys(source: &dyn Transfer, target: &dyn Transfer) -> Result<(), ReplayError> {
    let mut after = None;
    loop {
        let rows = source
            .former_keys(after.as_ref())
            .map_err(|error| ReplayError::Source(error.to_string()))?;
        if rows.is_empty() {
            return Ok(());
        }
        target.put_former_keys(&rows).map_err(ReplayError::Target)?;
        after = rows.into_iter().next_back();
    }
}

/// Ends a replay: the target is as if the records had been applied to it one after the other.
///
/// # Errors
/// When the target refuses.
pub fn finish_replay(target: &dyn Transfer) -> Result<(), ReplayError> {
    target.settle().map_err(ReplayError::Target)?;
    target.mark_replay(true).map_err(ReplayError::Target)
}

/// Applies the dead letters, after all messages: each is stored now, or is a dead letter again.
fn retry_dead_letters(source: ReplaySource<'_>, target: &dyn Store) -> Result<u64, ReplayError> {
    let mut page = PageRequest {
        after: None,
        limit: PAGE_MAX,
    };
    let mut count = 0;
    loop {
        let found = source
            .queries
            .dead_letters(&DeadLetterFilter::default(), &page)?;
        for row in found.items {
            let Ok(id) = row.record_id.parse() else {
                continue;
            };
            let letter = source
                .dead_letters
                .dead_letter(id)
                .map_err(|error| ReplayError::Source(error.to_string()))?;
            // A letter that was discarded meanwhile is gone.
            if let Some(letter) = letter {
                retry(letter, target)?;
                count += 1;
            }
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(count),
        }
    }
}

fn retry(letter: DeadLetter, target: &dyn Store) -> Result<(), ReplayError> {
    let mut batch = new_batch();
    if Record::decode(&letter.bytes).is_ok() {
        batch.push_with(letter.id, |out| out.extend_from_slice(&letter.bytes));
    } else {
        batch.push_unreadable(letter);
    }
    batch::apply(target, &batch).map_err(ReplayError::Target)?;
    Ok(())
}
