//! Records that were accepted for a segment which then cannot be created: they wait, the journal reports the
//! full disk at once and accepts no more, and nothing is durable that is not on the disk.

use crate::common::{eventually, open, read_after, record, small};
use journal::sim::{SimDisk, Tear};
use journal::{AppendError, FullReason, Journal, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A journal whose disk has just become full, which it does not know yet, and the records that it accepted.
/// Syncs block, so that no further segment is created: there are only the active segment and one prepared one.
struct Scenario {
    disk: SimDisk,
    journal: Journal,
    taken: Vec<Vec<u8>>,
}

impl Scenario {
    fn begin(options: Options) -> Self {
        let disk = SimDisk::new(1);
        let (journal, _) = Journal::open_on(disk.clone(), options).unwrap();
        let mut scenario = Self {
            disk,
            journal,
            taken: Vec::new(),
        };
        // Always with a prepared segment: otherwise more would be prepared from then on.
        scenario.wait_for_ready();
        scenario.take(5_000, None);
        scenario.journal.wait_durable(1).unwrap();
        scenario.wait_for_ready();
        scenario.disk.set_stuck(true);
        scenario.disk.set_capacity(scenario.disk.used());
        scenario
    }

    fn wait_for_ready(&self) {
        eventually("one segment is ready", || {
            self.journal.status().segments_ready == 1
        });
    }

    fn take(&mut self, length: usize, waker: Option<&Waker>) {
        let seq = self.taken.len() as u64 + 1;
        let bytes = record(0, seq, length);
        assert_eq!(self.journal.append(&bytes, waker), Ok(seq));
        self.taken.push(bytes);
    }

    /// Appends a record that needs a segment of its own and leaves space for small ones.
    fn take_a_segment_full(&mut self) {
        self.take(self.journal.record_bytes_max() - 4_096, None);
    }

    fn refused(&self, length: usize) -> FullReason {
        match self.journal.append(&vec![0; length], None) {
            Err(AppendError::Full(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// After there is space: all accepted records are durable, in order, and more are accepted.
    fn end(mut self) {
        let last = self.taken.len() as u64;
        self.journal.wait_durable(last).unwrap();
        eventually("more records are accepted", || {
            self.journal.full().is_none()
        });
        self.take(100, None);
        self.journal.wait_durable(last + 1).unwrap();
        assert_eq!(self.journal.poisoned(), None);
        assert_eq!(kept(&self.disk), self.taken);
    }
}

/// The records that the next start finds after a power cut now.
fn kept(disk: &SimDisk) -> Vec<Vec<u8>> {
    let (journal, _) = open(&disk.after_power_cut(Tear::LoseAll, 0));
    let all = read_after(&journal, 0);
    all.into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn records_that_wait_for_a_segment_make_the_journal_report_a_full_disk_at_once() {
    let mut scenario = Scenario::begin(small());
    let woken = Arc::new(Woken::default());
    scenario.take_a_segment_full();
    // There is no segment for these, which is found later only.
    scenario.take_a_segment_full();
    scenario.take(100, Some(&Waker::from(woken.clone())));
    scenario.take_a_segment_full();
    assert_eq!(scenario.journal.full(), None);

    scenario.disk.set_stuck(false);
    eventually("the journal says that the disk is full", || {
        scenario.journal.full() == Some(FullReason::DiskFull)
    });
    assert_eq!(scenario.refused(100), FullReason::DiskFull);
    assert_eq!(
        scenario.refused(scenario.journal.record_bytes_max()),
        FullReason::DiskFull
    );
    scenario.journal.wait_durable(2).unwrap();
    assert_eq!(kept(&scenario.disk), scenario.taken[..2]);

    // Space for one segment of two.
    scenario
        .disk
        .set_capacity(scenario.disk.used() + (64 << 10));
    scenario.journal.wait_durable(4).unwrap();
    eventually("the waiter is woken", || woken.0.load(Ordering::SeqCst));
    assert_eq!(scenario.journal.full(), Some(FullReason::DiskFull));
    assert_eq!(scenario.refused(100), FullReason::DiskFull);
    assert_eq!(kept(&scenario.disk), scenario.taken[..4]);

    scenario.disk.set_capacity(u64::MAX);
    scenario.end();
}

#[test]
fn a_slow_disk_that_is_found_full_is_reported_as_full() {
    let mut scenario = Scenario::begin(Options {
        pending_bytes_max: 1,
        ..small()
    });
    scenario.take_a_segment_full();
    eventually("the writer has it", || {
        scenario.journal.status().pending_bytes == 0
    });
    scenario.take_a_segment_full();
    assert_eq!(
        scenario.refused(scenario.journal.record_bytes_max()),
        FullReason::DiskTooSlow
    );

    scenario.disk.set_stuck(false);
    eventually("the journal says that the disk is full", || {
        scenario.journal.full() == Some(FullReason::DiskFull)
    });
    assert_eq!(scenario.refused(100), FullReason::DiskFull);
    scenario.journal.wait_durable(2).unwrap();
    assert_eq!(kept(&scenario.disk), scenario.taken[..2]);

    scenario.disk.set_capacity(u64::MAX);
    scenario.end();
}

#[test]
fn on_a_full_disk_records_that_fit_into_an_existing_segment_are_accepted() {
    let mut scenario = Scenario::begin(small());
    scenario.take_a_segment_full();
    scenario.disk.set_stuck(false);
    eventually("the disk was found full", || {
        scenario.journal.status().full_detail.is_some()
    });
    scenario.take(100, None);
    scenario.journal.wait_durable(3).unwrap();
    assert_eq!(scenario.journal.full(), None);
    assert_eq!(
        scenario.refused(scenario.journal.record_bytes_max()),
        FullReason::DiskFull
    );
    assert_eq!(scenario.journal.full(), Some(FullReason::DiskFull));

    scenario.disk.set_capacity(u64::MAX);
    scenario.end();
}

#[test]
fn forgetting_frees_space_for_waiting_records() {
    let mut scenario = Scenario::begin(small());
    scenario.take_a_segment_full();
    scenario.take_a_segment_full();
    scenario.disk.set_stuck(false);
    eventually("the journal says that the disk is full", || {
        scenario.journal.full() == Some(FullReason::DiskFull)
    });
    scenario.journal.wait_durable(2).unwrap();
    scenario.journal.forget_upto(2).unwrap();
    scenario.journal.wait_durable(3).unwrap();
    scenario.journal.forget_upto(3).unwrap();
    eventually("more records are accepted", || {
        scenario.journal.full().is_none()
    });
    assert_eq!(scenario.journal.poisoned(), None);
}
