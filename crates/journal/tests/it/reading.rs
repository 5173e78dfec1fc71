//! Readers return durable records only, in order, while other threads append and forget.

use crate::common::{eventually, open, read_after, read_all, record, small};
use journal::sim::SimDisk;
use journal::{Journal, JournalError, Options, ReadError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn append_durably(journal: &Journal, count: u64, length: usize) {
    let first = journal.status().appended_seq + 1;
    for seq in first..first + count {
        journal.append(&record(0, seq, length), None).unwrap();
    }
    journal.wait_durable(first + count - 1).unwrap();
}

#[test]
fn a_read_stops_at_its_bounds_and_the_next_one_continues() {
    let (journal, _) = open(&SimDisk::new(1));
    append_durably(&journal, 10, 1_000);
    let mut reader = journal.reader(2);
    let mut seqs = Vec::new();
    assert_eq!(reader.next_seq(), 3);
    assert_eq!(
        reader.read(3, usize::MAX, |seq, _| seqs.push(seq)).unwrap(),
        3
    );
    assert_eq!(reader.read(100, 2_500, |seq, _| seqs.push(seq)).unwrap(), 2);
    assert_eq!(reader.read(100, 1, |seq, _| seqs.push(seq)).unwrap(), 1);
    assert_eq!(
        reader
            .read(100, usize::MAX, |seq, _| seqs.push(seq))
            .unwrap(),
        2
    );
    assert_eq!(reader.read(100, usize::MAX, |_, _| ()).unwrap(), 0);
    assert_eq!(seqs, [3, 4, 5, 6, 7, 8, 9, 10]);
    append_durably(&journal, 1, 10);
    assert_eq!(
        reader
            .read(100, usize::MAX, |seq, _| seqs.push(seq))
            .unwrap(),
        1
    );
}

#[test]
fn records_that_are_not_durable_are_not_read() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk);
    append_durably(&journal, 1, 100);
    disk.set_stuck(true);
    journal.append(&record(0, 2, 100), None).unwrap();
    eventually("it is written", || journal.written_seq() == 2);
    assert_eq!(journal.durable_seq(), 1);
    assert_eq!(read_after(&journal, 0).len(), 1);
    assert_eq!(
        journal.forget_upto(2),
        Err(JournalError::NotDurable { seq: 2, durable: 1 })
    );
    disk.set_stuck(false);
    journal.wait_durable(2).unwrap();
    assert_eq!(read_after(&journal, 0).len(), 2);
}

#[test]
fn a_waiting_reader_is_woken_by_the_first_record_and_by_close() {
    let (journal, _) = open(&SimDisk::new(1));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    assert!(!journal.poll_readable(0, &waker));
    assert!(!journal.poll_readable(0, &waker));
    journal.append(b"one", None).unwrap();
    while !journal.poll_readable(0, &waker) {
        thread::park();
    }
    assert!(!journal.poll_readable(1, &waker));
    journal.clone().close().unwrap();
    thread::park();
    assert_eq!(journal.wait_durable(2), Err(JournalError::Closed));
}

fn race(journal: &Journal, records: u64, length: usize) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // One thread delivers and forgets, one reads what is retained, this one appends.
        scope.spawn(|| {
            let mut reader = journal.reader(0);
            let mut next = 1;
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            while next <= records {
                let mut last = 0;
                let read = reader.read(100, 1 << 20, |seq, bytes| {
                    assert_eq!(seq, next);
                    assert!(bytes == record(0, seq, length), "{seq}");
                    next += 1;
                    last = seq;
                });
                if read.unwrap() > 0 {
                    journal.forget_upto(last).unwrap();
                } else if !journal.poll_readable(last.max(next - 1), &waker) {
                    thread::park();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let mut reader = journal.reader(journal.oldest_seq() - 1);
                let mut expected = reader.next_seq();
                loop {
                    let read = reader.read(10, 1 << 20, |seq, _| {
                        assert_eq!(seq, expected);
                        expected += 1;
                    });
                    match read {
                        Ok(0) | Err(ReadError::Forgotten { .. }) => break,
                        Ok(_) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        let mut taken = 0;
        while taken < records {
            match journal.append(&record(0, taken + 1, length), None) {
                Ok(seq) => {
                    taken += 1;
                    assert_eq!(seq, taken);
                }
                Err(journal::AppendError::Full(_)) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(journal.cursor(), records);
}

#[test]
fn concurrent_reading_writing_and_forgetting_is_safe() {
    let (journal, _) = open(&SimDisk::new(1));
    race(&journal, 4_000, 700);
    assert!(journal.oldest_seq() > 1_000, "segments were removed");
    journal.close().unwrap();
}

#[test]
fn the_same_on_real_files_with_retained_records() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        retain_bytes: 256 << 10,
        ..small()
    };
    let (journal, _) = Journal::open(dir.path(), options).unwrap();
    race(&journal, 20_000, 300);
    let status = journal.status();
    assert!(status.oldest_seq > 1_000, "segments were removed");
    assert!(status.retained_bytes >= 256 << 10);
    assert!(status.disk_bytes < 2 << 20, "{status:?}");
    journal.close().unwrap();
    let (journal, recovery) = Journal::open(dir.path(), options).unwrap();
    assert_eq!((recovery.cursor, recovery.durable_seq), (20_000, 20_000));
    // A segment that was about to be removed when the journal was closed may be removed now.
    let kept = read_all(&journal);
    assert!(kept[0].0 >= recovery.oldest_seq);
    assert_eq!(kept.len() as u64, 20_000 - kept[0].0 + 1);
    assert!(kept.len() * 300 > 128 << 10, "{} are kept", kept.len());
    assert!(
        kept.iter()
            .all(|(seq, bytes)| *bytes == record(0, *seq, 300))
    );
}

#[test]
fn a_reader_of_removed_records_gets_the_oldest_kept_number() {
    let (journal, _) = open(&SimDisk::new(1));
    let mut slow = journal.reader(0);
    append_durably(&journal, 10, 3_000);
    assert_eq!(slow.read(1, 1, |_, _| ()).unwrap(), 1);
    for _ in 0..20 {
        append_durably(&journal, 10, 3_000);
        journal.forget_upto(journal.durable_seq()).unwrap();
    }
    eventually("old segments are removed", || journal.oldest_seq() > 100);
    // The segment that the reader holds is not recycled while it reads.
    let mut last = 1;
    let error = loop {
        match slow.read(10, 1 << 20, |seq, bytes| {
            assert_eq!((seq, bytes), (last + 1, &record(0, seq, 3_000)[..]));
            last = seq;
        }) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let ReadError::Forgotten { wanted, oldest_seq } = error else {
        panic!("{error}");
    };
    assert_eq!(wanted, last + 1);
    assert!(oldest_seq > wanted && last >= 10);
}
