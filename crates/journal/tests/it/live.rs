//! A journal that is read while its process writes it.

use crate::common::{eventually, open, record};
use journal::read_live_on;
use journal::sim::SimDisk;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Enough that every segment is used several times.
const RECORDS: u64 = 6_000;
const LENGTH: usize = 300;

#[test]
fn live_reading_misses_no_record_that_was_durable_and_is_not_delivered() {
    let disk = SimDisk::new(11);
    let (journal, _) = open(&disk);
    let is_done = AtomicBool::new(false);
    let mut passed_on = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=RECORDS {
                journal.append(&record(0, seq, LENGTH), None).unwrap();
                if seq % 50 == 0 {
                    journal.wait_durable(seq).unwrap();
                    // About a hundred are not delivered at any time.
                    journal.forget_upto(seq.saturating_sub(100)).unwrap();
                }
            }
            is_done.store(true, Ordering::SeqCst);
        });
        while !is_done.load(Ordering::SeqCst) {
            let durable = journal.durable_seq();
            let mut seen = BTreeSet::new();
            let read = read_live_on(&disk, |seq, bytes| {
                assert!(bytes == record(0, seq, LENGTH), "{seq}");
                assert!(seen.insert(seq), "{seq} comes twice");
                Ok(())
            });
            let read = read.unwrap();
            for seq in read.cursor + 1..=durable {
                assert!(
                    seen.contains(&seq),
                    "{seq} of {durable}, after {}",
                    read.cursor
                );
            }
            assert_eq!(read.records, seen.len() as u64);
            passed_on += read.records;
        }
    });
    assert!(passed_on > 0);
    journal.close().unwrap();
}

#[test]
fn damage_of_what_is_not_delivered_ends_a_live_reading_with_its_place() {
    let disk = SimDisk::new(12);
    let (journal, _) = open(&disk);
    for seq in 1..=600 {
        journal.append(&record(0, seq, LENGTH), None).unwrap();
        if seq % 20 == 0 {
            journal.wait_durable(seq).unwrap();
        }
    }
    let read = || {
        let mut seqs = Vec::new();
        let read = read_live_on(&disk, |seq, _| {
            seqs.push(seq);
            Ok(())
        });
        read.map(|read| (read, seqs))
            .map_err(|error| error.to_string())
    };
    let (whole, seqs) = read().unwrap();
    assert_eq!((whole.first, whole.last, whole.records), (1, 600, 600));
    assert_eq!(seqs, (1..=600).collect::<Vec<_>>());
    let names = disk.names();
    let first = names
        .iter()
        .filter(|name| name.starts_with("segment"))
        .min()
        .unwrap();
    // The second record: its header, its checksum and its payload are each damaged once.
    let framed = 24 + LENGTH as u64 + 4;
    for at in [0, 4, 8, 30] {
        let flip = |disk: &SimDisk| {
            disk.edit(first, |bytes| {
                bytes[(8_192 + framed + at) as usize] ^= 1;
            });
        };
        flip(&disk);
        let error = read().unwrap_err();
        assert!(error.contains("records 2 to"), "{error}");
        assert!(error.contains(first.as_str()), "{error}");
        flip(&disk);
    }
    // The header of a segment: nothing in it can be read.
    let newest = names
        .iter()
        .filter(|name| name.starts_with("segment") && !name.ends_with(".tmp"))
        .max()
        .unwrap();
    for segment in [first, newest] {
        let flip = |disk: &SimDisk| disk.edit(segment, |bytes| bytes[16] ^= 1);
        flip(&disk);
        let error = read().unwrap_err();
        assert!(error.contains(segment.as_str()), "{error}");
        flip(&disk);
    }
    // What is delivered is not passed on.
    journal.forget_upto(599).unwrap();
    eventually("the cursor is saved", || read().unwrap().0.cursor == 599);
    assert_eq!(read().unwrap().1, [600]);
    journal.close().unwrap();
}
