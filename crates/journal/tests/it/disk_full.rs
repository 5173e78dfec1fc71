//! Records that were taken for a segment which then cannot be made: they wait, the journal says so
//! at once and takes no more, and nothing is durable that is not on the disk.

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

/// A journal whose disk has just become full, unknown to it, and what it took. The disk hangs, so
/// that nobody has asked for another segment yet: the active segment and a prepared one are all
/// there is.
struct Story {
    disk: SimDisk,
    journal: Journal,
    taken: Vec<Vec<u8>>,
}

impl Story {
    fn begin(options: Options) -> Self {
        let disk = SimDisk::new(1);
        let (journal, _) = Journal::open_on(disk.clone(), options).unwrap();
        let mut story = Self {
            disk,
            journal,
            taken: Vec::new(),
        };
        // Never without one, or more would be prepared from then on.
        story.wait_for_ready();
        story.take(5_000, None);
        story.journal.wait_durable(1).unwrap();
        story.wait_for_ready();
        story.disk.set_stuck(true);
        story.disk.set_capacity(story.disk.used());
        story
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

    /// Takes a record that needs a segment of its own and leaves room for small ones.
    fn take_a_segment_full(&mut self) {
        self.take(self.journal.record_bytes_max() - 4_096, None);
    }

    fn refused(&self, length: usize) -> FullReason {
        match self.journal.append(&vec![0; length], None) {
            Err(AppendError::Full(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// After room came: all that was taken is durable, in its order, and more is taken.
    fn end(mut self) {
        let last = self.taken.len() as u64;
        self.journal.wait_durable(last).unwrap();
        eventually("more is taken", || self.journal.full().is_none());
        self.take(100, None);
        self.journal.wait_durable(last + 1).unwrap();
        assert_eq!(self.journal.poisoned(), None);
        assert_eq!(kept(&self.disk), self.taken);
    }
}

/// What the next start would find after a power cut now.
fn kept(disk: &SimDisk) -> Vec<Vec<u8>> {
    let (journal, _) = open(&disk.after_power_cut(Tear::LoseAll, 0));
    let all = read_after(&journal, 0);
    all.into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn records_that_wait_for_a_segment_on_a_full_disk_are_told_of_at_once() {
    let mut story = Story::begin(small());
    let woken = Arc::new(Woken::default());
    story.take_a_segment_full();
    // For these there is no segment, as turns out only later.
    story.take_a_segment_full();
    story.take(100, Some(&Waker::from(woken.clone())));
    story.take_a_segment_full();
    assert_eq!(story.journal.full(), None);

    story.disk.set_stuck(false);
    eventually("the journal says that the disk is full", || {
        story.journal.full() == Some(FullReason::DiskFull)
    });
    assert_eq!(story.refused(100), FullReason::DiskFull);
    assert_eq!(
        story.refused(story.journal.record_bytes_max()),
        FullReason::DiskFull
    );
    story.journal.wait_durable(2).unwrap();
    assert_eq!(kept(&story.disk), story.taken[..2]);

    // Room for one segment of two.
    story.disk.set_capacity(story.disk.used() + (64 << 10));
    story.journal.wait_durable(4).unwrap();
    eventually("who waits is told", || woken.0.load(Ordering::SeqCst));
    assert_eq!(story.journal.full(), Some(FullReason::DiskFull));
    assert_eq!(story.refused(100), FullReason::DiskFull);
    assert_eq!(kept(&story.disk), story.taken[..4]);

    story.disk.set_capacity(u64::MAX);
    story.end();
}

#[test]
fn a_disk_that_was_behind_and_is_found_full_is_called_full() {
    let mut story = Story::begin(Options {
        pending_bytes_max: 1,
        ..small()
    });
    story.take_a_segment_full();
    eventually("the writer has it", || {
        story.journal.status().pending_bytes == 0
    });
    story.take_a_segment_full();
    assert_eq!(
        story.refused(story.journal.record_bytes_max()),
        FullReason::DiskTooSlow
    );

    story.disk.set_stuck(false);
    eventually("the journal says that the disk is full", || {
        story.journal.full() == Some(FullReason::DiskFull)
    });
    assert_eq!(story.refused(100), FullReason::DiskFull);
    story.journal.wait_durable(2).unwrap();
    assert_eq!(kept(&story.disk), story.taken[..2]);

    story.disk.set_capacity(u64::MAX);
    story.end();
}

#[test]
fn a_full_disk_is_no_reason_to_refuse_what_a_segment_that_exists_can_hold() {
    let mut story = Story::begin(small());
    story.take_a_segment_full();
    story.disk.set_stuck(false);
    eventually("the disk was found full", || {
        story.journal.status().full_detail.is_some()
    });
    story.take(100, None);
    story.journal.wait_durable(3).unwrap();
    assert_eq!(story.journal.full(), None);
    assert_eq!(
        story.refused(story.journal.record_bytes_max()),
        FullReason::DiskFull
    );
    assert_eq!(story.journal.full(), Some(FullReason::DiskFull));

    story.disk.set_capacity(u64::MAX);
    story.end();
}

#[test]
fn forgetting_makes_room_for_records_that_wait_for_it() {
    let mut story = Story::begin(small());
    story.take_a_segment_full();
    story.take_a_segment_full();
    story.disk.set_stuck(false);
    eventually("the journal says that the disk is full", || {
        story.journal.full() == Some(FullReason::DiskFull)
    });
    story.journal.wait_durable(2).unwrap();
    story.journal.forget_upto(2).unwrap();
    story.journal.wait_durable(3).unwrap();
    story.journal.forget_upto(3).unwrap();
    eventually("more is taken", || story.journal.full().is_none());
    assert_eq!(story.journal.poisoned(), None);
}
