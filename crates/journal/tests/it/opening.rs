//! Opening an existing journal: used by another process, of another release, with other settings, with missing
//! and damaged files.

use crate::common::{eventually, open, read_after, read_all, record, small};
use journal::sim::{SimDisk, Tear};
use journal::{Journal, OpenError, Options, ReadError};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

/// A closed journal of `count` records of 3,000 bytes.
fn filled(count: u64, forgotten: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let options = Options {
        retain_bytes: u64::MAX / 2,
        ..small()
    };
    let (journal, recovery) = Journal::open_on(disk.clone(), options).unwrap();
    assert!(recovery.created);
    for seq in 1..=count {
        journal.append(&record(0, seq, 3_000), None).unwrap();
    }
    journal.wait_durable(count).unwrap();
    journal.forget_upto(forgotten).unwrap();
    journal.close().unwrap();
    disk
}

fn refuses(disk: SimDisk, words: &[&str]) {
    let error = Journal::open_on(disk, small()).unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} in {text:?}");
    }
}

#[test]
fn a_closed_journal_opens_unchanged_and_reports_what_was_checked() {
    let disk = filled(100, 40);
    let (journal, recovery) = open(&disk);
    assert!(!recovery.created);
    assert_eq!((recovery.cursor, recovery.durable_seq), (40, 100));
    assert_eq!(recovery.oldest_seq, 1);
    assert_eq!(recovery.truncated_tail, None);
    assert_eq!(recovery.segments_checked, 1);
    assert!(recovery.segments_trusted >= 4, "{recovery:?}");
    assert!(journal.status().oldest_age.is_some());
    let rest = read_after(&journal, 40);
    assert_eq!(rest.len(), 60);
    assert!(
        rest.iter()
            .all(|(seq, bytes)| *bytes == record(0, *seq, 3_000))
    );
    assert_eq!(journal.append(b"next", None).unwrap(), 101);
}

#[test]
fn a_second_process_gets_the_id_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), small()).unwrap();
    let error = Journal::open(dir.path(), small()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains("another wattpost"), "{text}");
    journal.close().unwrap();
    Journal::open(dir.path(), small()).unwrap();
}

#[test]
fn dropping_the_last_handle_closes_the_journal() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    for seq in 1..=50 {
        journal.append(&record(0, seq, 100), None).unwrap();
    }
    drop(journal);
    let (journal, recovery) = open(&disk.after_power_cut(Tear::LoseAll, 0));
    assert_eq!(recovery.durable_seq, 50);
    assert_eq!(read_all(&journal).len(), 50);
}

#[test]
fn the_last_handle_may_be_dropped_by_a_waker() {
    struct Holder(Mutex<Option<Journal>>);
    impl Wake for Holder {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().take();
        }
    }
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    let holder = Arc::new(Holder(Mutex::new(Some(journal.clone()))));
    journal
        .append(&record(0, 1, 100), Some(&Waker::from(holder)))
        .unwrap();
    drop(journal);
    let mut reopened = None;
    eventually("the directory is unlocked", || {
        reopened = Journal::open_on(disk.clone(), small()).ok();
        reopened.is_some()
    });
    assert_eq!(reopened.unwrap().1.durable_seq, 1);
}

#[test]
fn another_format_is_refused_with_both_numbers() {
    let disk = filled(1, 0);
    disk.edit("segment-0000000000000001.log", |bytes| {
        bytes[8] = 7;
        // The checksum that a release with that format would have written.
        let crc = crc32fast::hash(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
    });
    refuses(
        disk,
        &["segment-0000000000000001.log", "format 7", "reads format 1"],
    );
}

#[test]
fn a_damaged_header_or_a_missing_file_is_refused() {
    let disk = filled(100, 0);
    disk.edit("segment-0000000000000002.log", |bytes| bytes[20] ^= 1);
    refuses(
        disk,
        &[
            "segment-0000000000000002.log",
            "header",
            "wattpost journal salvage",
        ],
    );
    let disk = filled(100, 0);
    journal::Disk::remove(&disk, "segment-0000000000000002.log").unwrap();
    refuses(disk, &["segment-0000000000000002.log", "missing"]);
    let disk = filled(100, 0);
    journal::Disk::remove(&disk, "segment-0000000000000001.log").unwrap();
    refuses(disk, &["records 1 to ", "are missing"]);
    let disk = filled(100, 0);
    disk.edit("segment-0000000000000002.log", |bytes| {
        bytes.truncate(30_000)
    });
    refuses(disk, &["segment-0000000000000002.log", "are damaged"]);
}

#[test]
fn damage_among_forgotten_records_is_harmless() {
    let disk = filled(100, 70);
    disk.edit("segment-0000000000000002.log", |bytes| bytes[20] ^= 1);
    let (journal, recovery) = open(&disk);
    assert!((3..=71).contains(&recovery.oldest_seq), "{recovery:?}");
    assert_eq!(read_after(&journal, 70).len(), 30);
}

#[test]
fn without_its_seal_a_segment_is_read_record_by_record() {
    let disk = filled(100, 0);
    disk.edit("segment-0000000000000002.log", |bytes| {
        bytes[4096..4200].fill(0)
    });
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.segments_checked, 2);
    assert_eq!(read_after(&journal, 0).len(), 100);
}

#[test]
fn damage_in_an_older_segment_is_reported_with_its_offset_when_it_is_read() {
    let disk = filled(100, 0);
    disk.edit("segment-0000000000000002.log", |bytes| {
        bytes[8192 + 5_000] ^= 1
    });
    let (journal, _) = open(&disk);
    let mut reader = journal.reader(0);
    let mut last = 0;
    let error = loop {
        match reader.read(5, usize::MAX, |seq, _| last = seq) {
            Ok(read) => assert!(read > 0),
            Err(error) => break error,
        }
    };
    let ReadError::Damaged(damage) = &error else {
        panic!("{error}");
    };
    assert!(damage.file.ends_with("segment-0000000000000002.log"));
    assert_eq!(damage.offset, 8192 + 3_024);
    assert_eq!(reader.next_seq(), last + 1);
    // The reader stays there; nothing is skipped silently.
    assert!(reader.read(5, usize::MAX, |_, _| ()).is_err());
}

#[test]
fn one_valid_slot_of_the_cursor_file_is_enough_and_without_one_the_start_is_refused() {
    let disk = filled(100, 40);
    for slot in [0, 4096] {
        let disk = disk.after_kill();
        disk.edit("cursor", |bytes| bytes[slot + 21] ^= 1);
        let (_, recovery) = open(&disk);
        assert!(recovery.cursor == 0 || recovery.cursor == 40);
    }
    let bad = disk.after_kill();
    bad.edit("cursor", |bytes| bytes.fill(1));
    refuses(bad, &["cursor", "remove this one file"]);
    // The remedy works.
    journal::Disk::remove(&disk, "cursor").unwrap();
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.cursor, recovery.durable_seq), (0, 100));
    assert!(!recovery.created);
    assert_eq!(read_after(&journal, 0).len(), 100);
}

#[test]
fn the_cursor_is_saved_without_closing() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    for seq in 1..=10 {
        journal.append(&record(0, seq, 100), None).unwrap();
    }
    journal.wait_durable(10).unwrap();
    journal.forget_upto(7).unwrap();
    journal.forget_upto(3).unwrap();
    assert_eq!(journal.cursor(), 7);
    eventually("the cursor is on disk", || {
        let (other, recovery) = open(&disk.after_power_cut(Tear::LoseAll, 0));
        drop(other);
        recovery.cursor == 7
    });
}

#[test]
fn sequence_numbers_are_never_used_twice_even_when_forgotten_records_are_lost() {
    let disk = filled(10, 10);
    // All records of the only segment are lost, and its provisional seal as well.
    disk.edit("segment-0000000000000001.log", |bytes| {
        bytes[4096..4608].fill(0);
        bytes[8192..].fill(0);
    });
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.durable_seq, 10);
    assert_eq!(journal.append(b"new", None).unwrap(), 11);
    journal.wait_durable(11).unwrap();
    assert_eq!(read_after(&journal, 10), [(11, b"new".to_vec())]);
    journal.close().unwrap();
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.cursor, recovery.durable_seq), (10, 11));
    assert_eq!(read_after(&journal, 10), [(11, b"new".to_vec())]);
}

#[test]
fn other_settings_apply_from_the_next_segment_on() {
    let disk = filled(100, 0);
    let larger = Options {
        bytes_max: 4 << 20,
        segment_bytes: 256 << 10,
        ..small()
    };
    for options in [larger, small(), larger] {
        let (journal, recovery) = Journal::open_on(disk.clone(), options).unwrap();
        let mut seq = recovery.durable_seq;
        journal.forget_upto(seq - 20).unwrap();
        for _ in 0..60 {
            seq = journal.append(&record(0, seq + 1, 3_000), None).unwrap();
        }
        journal.wait_durable(seq).unwrap();
        let rest = read_after(&journal, recovery.durable_seq - 20);
        assert_eq!(rest.len(), 80);
        assert!(
            rest.iter()
                .all(|(seq, bytes)| *bytes == record(0, *seq, 3_000))
        );
        journal.close().unwrap();
    }
}

#[test]
fn a_limit_below_the_length_of_an_old_segment_leaves_space_for_records() {
    let disk = SimDisk::new(1);
    let roomy = Options {
        bytes_max: 16 << 20,
        segment_bytes: 2 << 20,
        ..small()
    };
    let (journal, _) = Journal::open_on(disk.clone(), roomy).unwrap();
    let seq = journal.append(b"waits", None).unwrap();
    journal.wait_durable(seq).unwrap();
    journal.close().unwrap();

    // Undelivered records accumulate over several starts.
    for _ in 0..3 {
        let (journal, _) = open(&disk);
        let seq = journal.append(b"waits too", None).unwrap();
        journal.wait_durable(seq).unwrap();
        assert!(journal.status().used_bytes < 100 << 10);
        journal.close().unwrap();
    }
    let (journal, _) = open(&disk);
    assert_eq!(read_all(&journal).len(), 4);
    // In total several times the limit.
    for _ in 0..1_000 {
        let seq = journal.append(&[7; 3_000], None).unwrap();
        journal.wait_durable(seq).unwrap();
        journal.forget_upto(seq).unwrap();
    }
    assert_eq!(journal.status().used_bytes, 0);
}

#[test]
fn files_are_recycled_and_their_number_is_bounded() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    for _ in 0..400 {
        let seq = journal.append(&[7; 3_000], None).unwrap();
        journal.wait_durable(seq).unwrap();
        journal.forget_upto(seq).unwrap();
    }
    eventually("forgotten segments are removed", || {
        disk.names().len() <= 8 && journal.status().disk_bytes <= 7 * (64 << 10)
    });
    let last = disk
        .names()
        .into_iter()
        .rfind(|name| name.ends_with(".log"));
    assert!(last.unwrap().as_str() > "segment-0000000000000015.log");
    // The files contain bytes of earlier uses; none of them is read.
    let left = disk.after_power_cut(Tear::KeepAll, 0);
    let (journal, recovery) = open(&left);
    assert_eq!(recovery.durable_seq, 400);
    assert_eq!(recovery.truncated_tail, None);
    let seq = journal.append(b"after recycling", None).unwrap();
    journal.wait_durable(seq).unwrap();
    assert_eq!(
        read_after(&journal, 400),
        [(401, b"after recycling".to_vec())]
    );
}
