//! What the gateway remembers over a restart: read back from the records that the journal still
//! holds, so that a resend after a restart gets the answer that it got before.

use central::Record;
use central::resend::ResendMemory;
use journal::{Journal, ReadError};
use std::collections::HashMap;

const READ_RECORDS: usize = 4_096;
const READ_BYTES: usize = 4 << 20;

/// What was found.
#[derive(Default)]
pub(crate) struct Resumed {
    /// By identity in lower case.
    pub(crate) memories: HashMap<String, ResendMemory>,
    /// The highest epoch seen.
    pub(crate) last_epoch: u64,
    /// Records read.
    pub(crate) records: u64,
}

/// Reads the newest records, `max_bytes` of them at most. Blocks.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) fn resume(journal: &Journal, max_bytes: u64) -> Result<Resumed, ReadError> {
    let status = journal.status();
    let kept = status.used_bytes.saturating_add(status.retained_bytes);
    let records = status
        .durable_seq
        .saturating_sub(status.oldest_seq.saturating_sub(1));
    // Where to begin, if all records were of the same length: exact enough for a memory.
    let skip = if kept > max_bytes {
        let share = 1.0 - max_bytes as f64 / kept as f64;
        (records as f64 * share) as u64
    } else {
        0
    };
    let mut resumed = Resumed::default();
    let mut reader = journal.reader(status.oldest_seq.saturating_sub(1).saturating_add(skip));
    loop {
        let read = reader.read(READ_RECORDS, READ_BYTES, |_, bytes| resumed.learn(bytes))?;
        if read == 0 {
            return Ok(resumed);
        }
    }
}

impl Resumed {
    fn learn(&mut self, bytes: &[u8]) {
        self.records += 1;
        // A record of another format was written by another release: it teaches nothing here.
        let Ok(record) = Record::decode(bytes) else {
            return;
        };
        self.last_epoch = self.last_epoch.max(record.epoch);
        if record.charger_id.is_empty() {
            return;
        }
        let key = record.charger_id.to_lowercase();
        self.memories.entry(key).or_default().learn(&record);
    }
}
