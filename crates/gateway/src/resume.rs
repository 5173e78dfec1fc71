//! Restores what is remembered of chargers after a restart from the records that are still in the journal, so that a
//! resend gets the same answer as before the restart.

use central::model::{ChargerKey, CloseRule};
use central::resend::ResendMemory;
use central::{Epoch, Record, Timestamp};
use journal::{Journal, ReadError};
use std::collections::{HashMap, HashSet};

const READ_RECORDS: usize = 4_096;
const READ_BYTES: usize = 4 << 20;

/// What the journal's newest records say.
#[derive(Default)]
pub(crate) struct Resumed {
    /// By charger.
    pub(crate) memories: HashMap<ChargerKey, ResendMemory>,
    /// The highest epoch seen.
    pub(crate) last_epoch: Epoch,
    /// When the newest record was received.
    pub(crate) newest: Timestamp,
    /// Records read.
    pub(crate) records: u64,
}

/// Reads at most `bytes_max` of the newest records. Blocks. `remembered` are identities of which nothing is to be learnt,
/// because their memory has come from another process: that saves most of the time, for which chargers wait then.
///
/// A record that cannot be read, or that the journal forgets meanwhile, is skipped, so that chargers are served. Its
/// resend is not recognised and becomes a record of its own, the only readable copy.
///
/// # Errors
/// When the journal is closed.
pub(crate) fn resume(
    journal: &Journal,
    bytes_max: u64,
    close_styles: &[CloseRule],
    remembered: &HashSet<String>,
) -> Result<Resumed, ReadError> {
    let status = journal.status();
    let kept = status.used_bytes.saturating_add(status.retained_bytes);
    let records = status
        .durable_seq
        .saturating_sub(status.oldest_seq.saturating_sub(1));
    // Where to begin if all records had the same length: exact enough here.
    let skip = if kept > bytes_max {
        let share = 1.0 - bytes_max as f64 / kept as f64;
        (records as f64 * share) as u64
    } else {
        0
    };
    read_from(
        journal,
        status.oldest_seq.saturating_sub(1).saturating_add(skip),
        close_styles,
        remembered,
    )
}

fn read_from(
    journal: &Journal,
    after: u64,
    close_styles: &[CloseRule],
    remembered: &HashSet<String>,
) -> Result<Resumed, ReadError> {
    let mut resumed = Resumed::default();
    scan(journal, after, |_, bytes| {
        resumed.learn(bytes, close_styles, remembered)
    })?;
    Ok(resumed)
}

/// Visits the durable records after `after` that can be read. Blocks.
///
/// # Errors
/// When the journal is closed.
pub(crate) fn scan(
    journal: &Journal,
    after: u64,
    mut visit: impl FnMut(u64, &[u8]),
) -> Result<(), ReadError> {
    let mut reader = journal.reader(after);
    loop {
        match reader.read(READ_RECORDS, READ_BYTES, &mut visit) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(ReadError::Forgotten { oldest_seq, .. }) => {
                reader = journal.reader(oldest_seq.saturating_sub(1));
            }
            Err(error @ (ReadError::Damaged(_) | ReadError::Io { .. }))
                if reader.next_seq() <= journal.cursor() =>
            {
                let passed = reader.skip_damaged();
                tracing::warn!(
                    %error,
                    ?passed,
                    "a record cannot be read, so a resend of it is not recognised; it is stored already"
                );
            }
            Err(error @ (ReadError::Damaged(_) | ReadError::Io { .. })) => {
                let passed = reader.skip_damaged();
                tracing::error!(
                    %error,
                    ?passed,
                    "a record that was not delivered cannot be read, so a resend of it is not recognised"
                );
            }
            Err(error @ ReadError::Closed) => return Err(error),
        }
    }
}

impl Resumed {
    fn learn(&mut self, bytes: &[u8], close_styles: &[CloseRule], remembered: &HashSet<String>) {
        self.records += 1;
        // A record in another format was written by another release and is skipped.
        let Ok(record) = Record::decode(bytes) else {
            return;
        };
        self.last_epoch = self.last_epoch.max(record.epoch);
        self.newest = self.newest.max(record.received_at);
        if record.charger_id.is_empty() || remembered.contains(record.charger_id) {
            return;
        }
        let key = ChargerKey::of(record.charger_id);
        let memory = self.memories.entry(key).or_default();
        memory.learn_boot(&record, close_styles);
        memory.learn(&record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::Options;
    use journal::sim::SimDisk;

    #[test]
    fn nothing_is_learnt_of_chargers_whose_memory_has_come_with_their_connection() {
        let (journal, _) = Journal::open_on(SimDisk::new(1), Options::default()).expect("opens");
        for (charger, epoch, at) in [("A", 7, 70), ("B", 8, 80), ("C", 9, 90)] {
            let (epoch, at) = (Epoch(epoch), Timestamp(at));
            let record = central::record::disconnected(charger, epoch, "for a test", at);
            let seq = journal.append(&record, None).expect("has room");
            journal.wait_durable(seq).expect("is durable");
        }
        let remembered = HashSet::from(["A".to_owned(), "C".to_owned()]);
        let resumed = resume(&journal, u64::MAX, &[], &remembered).expect("reads");
        let learnt: Vec<&ChargerKey> = resumed.memories.keys().collect();
        assert_eq!(learnt, [&ChargerKey::of("B")]);
        // The numbers and times of all records count.
        assert_eq!(
            (resumed.last_epoch, resumed.newest),
            (Epoch(9), Timestamp(90))
        );
        assert_eq!(resumed.records, 3);
        journal.close().expect("closes");
    }

    #[test]
    fn records_forgotten_while_reading_are_skipped() {
        let options = Options {
            bytes_max: 4 << 20,
            segment_bytes: 64 << 10,
            retain_bytes: 0,
            ..Options::default()
        };
        let (journal, _) = Journal::open_on(SimDisk::new(1), options).expect("opens");
        let mut epoch = 0;
        while journal.oldest_seq() <= 1 {
            epoch += 1;
            let record = central::record::gateway_started(Timestamp(7), Epoch(epoch));
            let seq = journal.append(&record, None).expect("has room");
            journal.wait_durable(seq).expect("is durable");
            journal.forget_upto(seq).expect("is durable");
        }
        let resumed = read_from(&journal, 0, &[], &HashSet::new()).expect("goes on");
        assert!(resumed.records < epoch);
        assert_eq!(resumed.last_epoch, Epoch(epoch));
        assert_eq!(resumed.newest, Timestamp(7));
    }
}
