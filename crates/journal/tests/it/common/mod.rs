//! Small journals, recognisable records, and waiting with a deadline.

use journal::sim::SimDisk;
use journal::{Journal, Options, ReadError, Recovery};
use std::time::{Duration, Instant};

/// Options for the smallest journal: eight segments of 64 KiB.
pub(crate) fn small() -> Options {
    Options {
        bytes_max: 512 << 10,
        segment_bytes: 64 << 10,
        retain_bytes: 0,
        ..Options::default()
    }
}

/// Opens a small journal.
pub(crate) fn open(disk: &SimDisk) -> (Journal, Recovery) {
    Journal::open_on(disk.clone(), small()).expect("the journal opens")
}

/// A record that contains its number and the number of the process that wrote it, of a given length.
pub(crate) fn record(life: u64, seq: u64, length: usize) -> Vec<u8> {
    let mut bytes = format!("record {seq} of life {life} ").into_bytes();
    let wanted = length.max(bytes.len());
    let mut filler = (life << 32) ^ seq;
    while bytes.len() < wanted {
        filler = filler
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.push((filler >> 56) as u8);
    }
    bytes
}

/// All records after `after`, with their numbers.
pub(crate) fn read_after(journal: &Journal, after: u64) -> Vec<(u64, Vec<u8>)> {
    try_read_after(journal, after).expect("records can be read")
}

/// The same, or the error.
pub(crate) fn try_read_after(
    journal: &Journal,
    after: u64,
) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
    let mut all = Vec::new();
    let mut reader = journal.reader(after);
    while reader.read(7, 10_000, |seq, bytes| all.push((seq, bytes.to_vec())))? > 0 {}
    Ok(all)
}

/// All records that the journal keeps.
pub(crate) fn read_all(journal: &Journal) -> Vec<(u64, Vec<u8>)> {
    try_read_all(journal).expect("records can be read")
}

/// The same, or the error.
pub(crate) fn try_read_all(journal: &Journal) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
    loop {
        match try_read_after(journal, journal.oldest_seq() - 1) {
            // A forgotten segment was removed in between.
            Err(ReadError::Forgotten { .. }) => {}
            result => return result,
        }
    }
}

/// Waits until the condition is true, for at most ten seconds.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < deadline, "timeout: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
