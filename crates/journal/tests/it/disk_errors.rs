//! Disk errors end the journal for good; a lack of space passes.

use crate::common::{eventually, open, read_after, record, small};
use journal::sim::{Fault, SimDisk, Tear};
use journal::{AppendError, FullReason, Journal, JournalError, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A journal with one durable record and an idle maintenance thread.
fn settled(disk: &SimDisk) -> Journal {
    let (journal, _) = open(disk);
    let seq = journal.append(&record(0, 1, 100), None).unwrap();
    journal.wait_durable(seq).unwrap();
    eventually("enough segments are ready", || {
        journal.status().zeroing_backlog_bytes == 0
    });
    journal
}

/// Appends until the journal refuses.
fn fill(journal: &Journal, record: &[u8]) {
    while let Ok(seq) = journal.append(record, None) {
        wait_durable_or_full(journal, seq);
    }
}

/// Waits until record `seq` is durable or the journal is full. The last record may have been accepted before the
/// lack of space was known: it needs a segment that cannot be created, and becomes durable once there is space.
fn wait_durable_or_full(journal: &Journal, seq: u64) {
    eventually("the record is durable, or there is no space", || {
        journal.durable_seq() >= seq || journal.full().is_some()
    });
}

fn fails_permanently(fault: Fault, words: &str) {
    let disk = SimDisk::new(1);
    let journal = settled(&disk);
    disk.inject(fault);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    assert!(!journal.poll_readable(1, &waker));
    let seq = journal.append(b"unlucky", Some(&waker)).unwrap();
    let error = journal.wait_durable(seq).unwrap_err();
    assert!(
        matches!(&error, JournalError::Poisoned(text) if text.contains(words)),
        "{error}"
    );
    eventually("all waiters are woken", || {
        count.0.load(Ordering::SeqCst) == 2
    });
    assert_eq!(journal.durable_seq(), 1);
    let first = journal.poisoned().unwrap();
    assert_eq!(
        journal.append(b"late", None),
        Err(AppendError::Poisoned(first.clone()))
    );
    assert_eq!(
        journal.forget_upto(1),
        Err(JournalError::Poisoned(first.clone()))
    );
    assert_eq!(journal.status().poisoned, Some(first.clone()));
    assert_eq!(journal.close(), Err(JournalError::Poisoned(first)));
    assert!(!disk.was_trusted_after_failed_sync());
    let (journal, _) = open(&disk.after_power_cut(Tear::LoseAll, 0));
    assert_eq!(read_after(&journal, 0), [(1, record(0, 1, 100))]);
}

#[test]
fn a_failed_sync_ends_the_journal_and_is_never_retried() {
    fails_permanently(Fault::SyncError(0), "cannot sync");
}

#[test]
fn a_failed_write_ends_the_journal() {
    fails_permanently(Fault::WriteError(0), "injected EIO at write");
}

#[test]
fn a_short_write_ends_the_journal() {
    fails_permanently(Fault::ShortWrite(0), "the disk took only");
}

#[test]
fn an_error_of_the_maintenance_thread_ends_the_journal() {
    let disk = SimDisk::new(1);
    let journal = settled(&disk);
    disk.inject(Fault::SyncDirErrors);
    // The next segment but one has to be created.
    while journal.append(&record(0, 2, 5_000), None).is_ok() {
        std::thread::yield_now();
    }
    // On a busy machine the size limit may be reached before the maintenance thread creates it.
    eventually("the journal is poisoned", || journal.poisoned().is_some());
    assert!(journal.poisoned().unwrap().contains("directory sync"));
}

#[test]
fn a_panicking_waker_ends_the_journal_and_wakes_all_waiters() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker of the test panics");
        }
    }
    let (journal, _) = open(&SimDisk::new(1));
    journal
        .append(b"one", Some(&Waker::from(Arc::new(Bomb))))
        .unwrap();
    eventually("the journal is poisoned", || journal.poisoned().is_some());
    assert!(journal.poisoned().unwrap().contains("panicked"));
    assert!(journal.append(b"two", None).is_err());
}

#[test]
fn a_full_disk_is_noticed_before_a_record_depends_on_it_and_passes() {
    let disk = SimDisk::new(1);
    let journal = settled(&disk);
    disk.set_capacity(disk.used());
    let mut taken = vec![record(0, 1, 100)];
    loop {
        let bytes = record(0, taken.len() as u64 + 1, 3_000);
        match journal.append(&bytes, None) {
            Ok(_) => taken.push(bytes),
            Err(error) => {
                assert_eq!(error, AppendError::Full(FullReason::DiskFull));
                break;
            }
        }
        wait_durable_or_full(&journal, taken.len() as u64);
    }
    assert!(
        taken.len() > 30,
        "the prepared segments are used: {}",
        taken.len()
    );
    assert_eq!(journal.full(), Some(FullReason::DiskFull));
    assert!(journal.status().full_detail.is_some());
    assert_eq!(journal.poisoned(), None);
    // All but the last record fit into the segments that exist.
    let read = read_after(&journal, 0).len();
    assert!((taken.len() - 1..=taken.len()).contains(&read), "{read}");

    disk.set_capacity(u64::MAX);
    eventually("there is space again", || journal.full().is_none());
    let bytes = record(0, taken.len() as u64 + 1, 3_000);
    taken.push(bytes);
    let seq = journal.append(&taken[taken.len() - 1], None).unwrap();
    journal.wait_durable(seq).unwrap();
    assert_eq!(journal.status().full_detail, None);
    drop(journal);
    let (journal, _) = open(&disk.after_power_cut(Tear::LoseAll, 0));
    let all: Vec<Vec<u8>> = read_after(&journal, 0)
        .into_iter()
        .map(|(_, b)| b)
        .collect();
    assert_eq!(all, taken);
}

#[test]
fn on_a_full_disk_forgetting_frees_space() {
    let disk = SimDisk::new(1);
    let journal = settled(&disk);
    disk.set_capacity(disk.used());
    let big = record(0, 0, 3_000);
    fill(&journal, &big);
    journal.forget_upto(journal.durable_seq()).unwrap();
    eventually("a forgotten segment is recycled", || {
        journal.append(&big, None).is_ok()
    });
    assert_eq!(journal.poisoned(), None);
}

#[test]
fn a_lack_of_file_handles_passes() {
    let disk = SimDisk::new(1);
    let journal = settled(&disk);
    disk.set_no_handles(true);
    let big = record(0, 0, 3_000);
    fill(&journal, &big);
    journal.forget_upto(journal.durable_seq()).unwrap();
    eventually("the oldest segment is removed", || journal.oldest_seq() > 1);
    assert_eq!(journal.full(), Some(FullReason::DiskFull));
    disk.set_no_handles(false);
    eventually("there is space again", || {
        journal.append(&big, None).is_ok()
    });
    assert_eq!(journal.poisoned(), None);
}

#[test]
fn on_a_full_disk_retained_segments_are_given_up() {
    let disk = SimDisk::new(1);
    let options = Options {
        retain_bytes: u64::MAX / 2,
        ..small()
    };
    let (journal, _) = Journal::open_on(disk.clone(), options).unwrap();
    let big = record(0, 0, 3_000);
    for _ in 0..100 {
        let seq = journal.append(&big, None).unwrap();
        journal.wait_durable(seq).unwrap();
        journal.forget_upto(seq).unwrap();
    }
    assert_eq!(journal.oldest_seq(), 1);
    disk.set_capacity(disk.used());
    for _ in 0..200 {
        eventually("there is always space", || {
            journal.append(&big, None).is_ok()
        });
        let seq = journal.status().appended_seq;
        journal.wait_durable(seq).unwrap();
        journal.forget_upto(seq).unwrap();
    }
    assert!(journal.oldest_seq() > 1);
}

#[test]
fn records_appended_before_the_first_segment_exists_wait_for_space() {
    let disk = SimDisk::new(1);
    disk.set_capacity(20_000);
    let (journal, _) = open(&disk);
    let mut taken = 0;
    eventually("the disk is found full", || {
        match journal.append(b"early", None) {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(error, AppendError::Full(FullReason::DiskFull));
                return true;
            }
        }
        false
    });
    assert_eq!(journal.durable_seq(), 0);
    disk.set_capacity(u64::MAX);
    journal.wait_durable(taken).unwrap();
}

#[test]
fn closing_with_records_that_wait_for_space_is_an_error() {
    let disk = SimDisk::new(1);
    disk.set_capacity(20_000);
    let (journal, _) = open(&disk);
    let count = Arc::new(Count::default());
    // It may be accepted, or refused because the lack of space is already known.
    let taken = journal.append(b"early", Some(&Waker::from(count.clone())));
    eventually("the maintenance thread has tried", || {
        journal.status().full_detail.is_some()
    });
    let closed = journal.close();
    assert_eq!(closed.is_err(), taken.is_ok());
    assert_eq!(count.0.load(Ordering::SeqCst), usize::from(taken.is_ok()));
}

#[test]
fn at_the_size_limit_appends_are_refused_until_an_eighth_is_free() {
    let (journal, _) = open(&SimDisk::new(1));
    let big = record(0, 0, 3_000);
    let mut taken = 0;
    let refused = loop {
        match journal.append(&big, None) {
            Ok(seq) => taken = seq,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full(FullReason::SizeLimit));
    assert_eq!(journal.full(), Some(FullReason::SizeLimit));
    journal.wait_durable(taken).unwrap();
    let status = journal.status();
    assert!(status.used_bytes <= status.bytes_max);
    assert!(status.used_bytes > status.bytes_max - 8_192, "{status:?}");
    assert!(status.oldest_age.is_some());

    journal.forget_upto(1).unwrap();
    assert_eq!(
        journal.append(b"small", None),
        Err(AppendError::Full(FullReason::SizeLimit))
    );
    journal.forget_upto(taken / 4).unwrap();
    assert_eq!(journal.full(), None);
    journal.append(&big, None).unwrap();
    assert_eq!(
        read_after(&journal, taken / 4).len() as u64,
        journal.durable_seq() - taken / 4
    );
    journal.wait_durable(taken + 1).unwrap();
    journal.forget_upto(taken + 1).unwrap();
    assert_eq!(journal.status().used_bytes, 0);
    assert_eq!(journal.status().oldest_age, None);
}

#[test]
fn a_blocked_disk_makes_appends_fail_before_memory_grows() {
    let disk = SimDisk::new(1);
    let options = Options {
        pending_bytes_max: 1,
        ..small()
    };
    let (journal, _) = Journal::open_on(disk.clone(), options).unwrap();
    let seq = journal.append(b"first", None).unwrap();
    journal.wait_durable(seq).unwrap();
    disk.set_stuck(true);
    let big = record(0, 0, 3_000);
    let refused = loop {
        if let Err(error) = journal.append(&big, None) {
            break error;
        }
    };
    assert_eq!(refused, AppendError::Full(FullReason::DiskTooSlow));
    assert!(journal.status().pending_bytes < 64 << 10);
    disk.set_stuck(false);
    eventually("the journal continues", || journal.full().is_none());
    let seq = journal.append(&big, None).unwrap();
    journal.wait_durable(seq).unwrap();
}

#[test]
fn the_longest_record_fits_into_a_segment_and_a_longer_one_is_refused() {
    let (journal, _) = open(&SimDisk::new(1));
    let max = journal.record_bytes_max();
    assert_eq!(
        journal.append(&vec![1; max + 1], None),
        Err(AppendError::TooLarge {
            bytes: max + 1,
            max
        })
    );
    for _ in 0..3 {
        journal.append(&vec![2; max], None).unwrap();
    }
    let seq = journal.append(&[], None).unwrap();
    journal.wait_durable(seq).unwrap();
    let lengths: Vec<usize> = read_after(&journal, 0)
        .iter()
        .map(|(_, b)| b.len())
        .collect();
    assert_eq!(lengths, [max, max, max, 0]);
}
