//! Starts after a failed sync, after damage, and with a provisional seal of an earlier process: every
//! acknowledged record is read or the start is refused, and nothing is relied on that is in memory only.

use crate::common::{eventually, open, read_after, read_all, record, small};
use journal::sim::{Fault, SimDisk, Tear};
use journal::{Journal, Options};

const FIRST: &str = "segment-0000000000000001.log";
const LENGTH: usize = 90;
const FRAME: usize = (24 + LENGTH).next_multiple_of(8);
const DATA: usize = 8192;

fn append(journal: &Journal, life: u64, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let given = journal.append(&record(life, seq, LENGTH), None).unwrap();
        assert_eq!(given, seq);
        journal.wait_durable(seq).unwrap();
    }
}

/// One record, closed; then three more, each written alone, and killed.
fn sealed_after_the_first() -> SimDisk {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    append(&journal, 0, 1..=1);
    journal.close().unwrap();
    let (journal, _) = open(&disk);
    append(&journal, 0, 2..=4);
    disk.after_kill()
}

#[test]
fn damage_after_a_provisional_seal_of_an_earlier_process_is_found() {
    for record in 1..=2 {
        let disk = sealed_after_the_first();
        disk.edit(FIRST, |bytes| bytes[DATA + record * FRAME + 40] ^= 1);
        let error = Journal::open_on(disk, small()).unwrap_err().to_string();
        assert!(error.contains("proves that it was durable"), "{error}");
        let place = format!("byte {}", DATA + record * FRAME);
        assert!(error.contains(&place), "{error}");
    }
}

#[test]
fn a_torn_tail_right_after_a_provisional_seal_is_truncated_and_zeroed() {
    let disk = sealed_after_the_first();
    let second = DATA + FRAME;
    disk.edit(FIRST, |bytes| bytes[second + 60..].fill(0));
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.durable_seq, 1);
    assert_eq!(recovery.truncated_tail.unwrap().offset, second as u64);
    drop(journal);
    disk.after_power_cut(Tear::LoseAll, 0).edit(FIRST, |bytes| {
        assert!(bytes[second..].iter().all(|byte| *byte == 0));
    });
}

/// The disk after a kill; the sync of record 3 had failed.
fn third_lost_in_memory() -> SimDisk {
    let disk = SimDisk::new(2);
    let (journal, _) = open(&disk);
    append(&journal, 0, 1..=2);
    eventually("enough segments are ready", || {
        journal.status().zeroing_backlog_bytes == 0
    });
    disk.inject(Fault::SyncError(0));
    let seq = journal.append(&record(0, 3, LENGTH), None).unwrap();
    journal.wait_durable(seq).unwrap_err();
    disk.after_kill()
}

/// Appends one record to the recovered journal, cuts the power, and compares.
fn build_on(disk: &SimDisk, case: &str) {
    let (journal, recovery) = open(disk);
    let before = read_all(&journal);
    let seq = recovery.durable_seq + 1;
    append(&journal, 1, seq..=seq);
    let (journal, _) = Journal::open_on(disk.after_power_cut(Tear::LoseAll, 0), small())
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let after = read_all(&journal);
    assert_eq!(after[..before.len()], before, "{case}");
    assert_eq!(
        after[before.len()..],
        [(seq, record(1, seq, LENGTH))],
        "{case}"
    );
}

/// Makes each sync of the start fail in turn; returns the number of syncs.
fn fail_each_sync_of_the_start(left: &SimDisk) -> u64 {
    for nth in 0..100 {
        let disk = left.after_kill();
        disk.inject(Fault::SyncError(nth));
        if Journal::open_on(disk.clone(), small()).is_ok() {
            return nth;
        }
        // Like a supervisor: start again at once.
        build_on(
            &disk.after_kill(),
            &format!("sync {nth} of the start failed"),
        );
    }
    unreachable!("a start has fewer than 100 syncs");
}

#[test]
fn after_a_failed_sync_the_next_start_writes_again_what_it_relies_on() {
    let left = third_lost_in_memory();
    build_on(&left.after_kill(), "the start succeeded");
    assert!(fail_each_sync_of_the_start(&left) >= 2);
}

#[test]
fn a_torn_tail_whose_zeroing_failed_is_never_read_later() {
    let disk = SimDisk::new(3);
    let (journal, _) = open(&disk);
    append(&journal, 0, 1..=1);
    // While the sync of the second one blocks, three more gather and are written together.
    disk.set_stuck(true);
    journal.append(&record(0, 2, LENGTH), None).unwrap();
    eventually("the second is written", || journal.written_seq() == 2);
    for seq in 3..=5 {
        journal.append(&record(0, seq, LENGTH), None).unwrap();
    }
    disk.set_stuck(false);
    journal.wait_durable(5).unwrap();
    let torn = disk.after_kill();
    torn.edit(FIRST, |bytes| bytes[DATA + 2 * FRAME..][..FRAME].fill(0));
    assert!(fail_each_sync_of_the_start(&torn) >= 2);
}

#[test]
fn no_segment_is_removed_for_a_cursor_that_is_in_memory_only() {
    let disk = SimDisk::new(4);
    let (journal, _) = open(&disk);
    let big = record(0, 0, 3_000);
    for _ in 0..60 {
        let seq = journal.append(&big, None).unwrap();
        journal.wait_durable(seq).unwrap();
    }
    eventually("enough segments are ready", || {
        journal.status().zeroing_backlog_bytes == 0
    });
    disk.inject(Fault::SyncError(0));
    journal.forget_upto(60).unwrap();
    eventually("saving the cursor fails", || journal.poisoned().is_some());
    let disk = disk.after_kill();
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.cursor, 60);
    eventually("a segment is removed", || journal.oldest_seq() > 1);
    let oldest = journal.oldest_seq();
    append(&journal, 1, 61..=61);
    let (journal, recovery) = open(&disk.after_power_cut(Tear::LoseAll, 0));
    assert!(recovery.cursor + 1 >= oldest);
    assert_eq!(read_after(&journal, 60), [(61, record(1, 61, LENGTH))]);
}

/// A killed or closed journal that retains all of its `count` records of 3,000 bytes.
fn filled(count: u64, forgotten: u64, is_closed: bool) -> SimDisk {
    let disk = SimDisk::new(5);
    let options = Options {
        retain_bytes: u64::MAX / 2,
        ..small()
    };
    let (journal, _) = Journal::open_on(disk.clone(), options).unwrap();
    for seq in 1..=count {
        journal.append(&record(0, seq, 3_000), None).unwrap();
        journal.wait_durable(seq).unwrap();
    }
    journal.forget_upto(forgotten).unwrap();
    if is_closed {
        journal.close().unwrap();
        return disk;
    }
    eventually("the cursor is saved", || {
        open(&disk.after_kill()).1.cursor == forgotten
    });
    disk.after_kill()
}

/// The newest segment that holds records.
fn newest(disk: &SimDisk) -> String {
    let mut names = disk.names();
    names.retain(|name| {
        let mut has_records = false;
        disk.edit(name, |bytes| {
            has_records = bytes.len() > DATA && bytes[DATA] != 0
        });
        has_records
    });
    names.pop().unwrap()
}

#[test]
fn damage_in_the_newest_segment_is_harmless_when_all_its_records_are_forgotten() {
    for count in [10, 70] {
        for is_closed in [false, true] {
            // An offset in the first record of the segment, and one in a later record.
            for place in [DATA + 100, DATA + 2 * 3_024 + 100] {
                let case = format!("{count} records, closed: {is_closed}, {place}");
                let disk = filled(count, count, is_closed);
                disk.edit(&newest(&disk), |bytes| bytes[place] ^= 1);
                let (journal, recovery) = Journal::open_on(disk.clone(), small())
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(recovery.durable_seq, count, "{case}");
                append(&journal, 1, count + 1..=count + 1);
                let expected = [(count + 1, record(1, count + 1, LENGTH))];
                assert_eq!(read_after(&journal, count), expected, "{case}");
                let (journal, recovery) = open(&disk.after_power_cut(Tear::LoseAll, 0));
                assert_eq!((recovery.cursor, recovery.durable_seq), (count, count + 1));
                assert_eq!(read_after(&journal, count), expected, "{case}");
            }
        }
    }
}

#[test]
fn a_damaged_segment_with_an_undelivered_record_is_refused() {
    for is_closed in [false, true] {
        for place in [DATA + 100, DATA + 2 * 3_024 + 100] {
            // One or two records are not delivered yet.
            for forgotten in [8, 9] {
                let disk = filled(10, forgotten, is_closed);
                disk.edit(FIRST, |bytes| bytes[place] ^= 1);
                let error = Journal::open_on(disk.clone(), small()).unwrap_err();
                assert!(error.to_string().contains(FIRST), "{error}");
                // Nothing was changed: the remaining records can be saved.
                disk.edit(FIRST, |bytes| bytes[place] ^= 1);
                assert_eq!(open(&disk).1.durable_seq, 10);
            }
        }
    }
}

#[test]
fn a_journal_that_was_just_closed_is_opened_without_writing_its_records_again() {
    let disk = SimDisk::new(7);
    let (journal, _) = open(&disk);
    append(&journal, 0, 1..=4);
    journal.close().unwrap();
    for end in [4, 8, 12] {
        let (journal, recovery) =
            Journal::open_closed_at_on(disk.clone(), small(), end).expect("opens");
        assert_eq!(recovery.durable_seq, end);
        append(&journal, 0, end + 1..=end + 4);
        assert_eq!(read_all(&journal).len() as u64, end + 4);
        journal.close().unwrap();
    }
    // A power cut after that takes nothing away.
    let (journal, recovery) = open(&disk.after_power_cut(Tear::LoseAll, 0));
    assert_eq!(recovery.durable_seq, 16);
    assert_eq!(read_all(&journal).len(), 16);
}

#[test]
fn a_wrong_number_of_the_last_record_does_not_hide_a_torn_tail() {
    for said in [0, 1, 4, 9] {
        let disk = sealed_after_the_first();
        let second = DATA + FRAME;
        disk.edit(FIRST, |bytes| bytes[second + 60..].fill(0));
        let opened = Journal::open_closed_at_on(disk, small(), said);
        let (journal, recovery) = opened.expect("opens");
        assert_eq!(recovery.durable_seq, 1);
        // The process that says so has closed the journal there, so a torn record after it cannot be.
        assert_eq!(recovery.truncated_tail.is_some(), said != 1);
        append(&journal, 0, 2..=2);
    }
}
