//! Which segments hold records, oldest first, and where in them. The writer appends to it, the maintenance
//! thread removes from it, and readers search it and hold the segment that they read.

use crate::layout::DATA_OFFSET;
use common::clock;
use common::lock::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One segment that holds records. Its file is not recycled while the `Arc` has another owner.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The number in its file name.
    pub(crate) index: u64,
    /// Salt of its records.
    pub(crate) salt: u64,
    /// Length of the file in bytes.
    pub(crate) bytes: u64,
    /// The sum of the lengths of all earlier segments (of those found at start: up to their last record). Gives
    /// every record a position in the whole log while the process runs.
    pub(crate) base: u64,
    /// First durable record; 0 while there is none.
    first_seq: AtomicU64,
    /// Last durable record; 0 while there is none.
    last_seq: AtomicU64,
    /// End of the last durable record in the file.
    end: AtomicU64,
    /// A sparse index, so that a search reads little: (seq, offset) of some records, ascending.
    offsets: Mutex<Vec<(u64, u64)>>,
}

/// Approximate number of index entries per segment.
pub(crate) const OFFSETS_PER_SEGMENT: u64 = 64;

/// The records that recovery found in a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// First record; 0 if there is none.
    pub(crate) first_seq: u64,
    /// Last record.
    pub(crate) last_seq: u64,
    /// End of the last record in the file.
    pub(crate) end: u64,
    /// (seq, offset) of some records.
    pub(crate) offsets: Vec<(u64, u64)>,
    /// (seq, seconds since 1970) of the first record of each second.
    pub(crate) times: Vec<(u64, u32)>,
}

impl Segment {
    pub(crate) const fn new(index: u64, salt: u64, bytes: u64, base: u64) -> Self {
        Self {
            index,
            salt,
            bytes,
            base,
            first_seq: AtomicU64::new(0),
            last_seq: AtomicU64::new(0),
            end: AtomicU64::new(DATA_OFFSET),
            offsets: Mutex::new(Vec::new()),
        }
    }

    /// A segment with the records that recovery found.
    pub(crate) fn recovered(mut self, found: &Found) -> Self {
        self.first_seq = AtomicU64::new(found.first_seq);
        self.last_seq = AtomicU64::new(found.last_seq);
        self.end = AtomicU64::new(found.end);
        let mut offsets: Vec<(u64, u64)> = Vec::new();
        for (seq, at) in &found.offsets {
            let due = offsets
                .last()
                .is_none_or(|(_, last)| *at >= last + self.bytes / OFFSETS_PER_SEGMENT);
            if due {
                offsets.push((*seq, *at));
            }
        }
        self.offsets = Mutex::new(offsets);
        self
    }

    /// Adds the records `first_seq..=last_seq`, which are durable and lie from `from` to `end`.
    pub(crate) fn extend(&self, first_seq: u64, last_seq: u64, from: u64, end: u64) {
        let mut offsets = lock(&self.offsets);
        let due = offsets
            .last()
            .is_none_or(|(_, at)| from >= at + self.bytes / OFFSETS_PER_SEGMENT);
        if due {
            offsets.push((first_seq, from));
        }
        drop(offsets);
        if self.first_seq.load(Acquire) == 0 {
            self.first_seq.store(first_seq, Release);
        }
        self.end.store(end, Release);
        self.last_seq.store(last_seq, Release);
    }

    pub(crate) fn first_seq(&self) -> u64 {
        self.first_seq.load(Acquire)
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq.load(Acquire)
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Acquire)
    }

    /// The last indexed record at or before `seq`: its number and offset.
    pub(crate) fn nearest_indexed(&self, seq: u64) -> (u64, u64) {
        let offsets = lock(&self.offsets);
        let after = offsets.partition_point(|(indexed, _)| *indexed <= seq);
        let found = after.checked_sub(1).and_then(|at| offsets.get(at).copied());
        found.unwrap_or((self.first_seq(), DATA_OFFSET))
    }
}

/// All segments that hold records, and when records were written.
#[derive(Debug, Default)]
pub(crate) struct SegmentIndex {
    segments: VecDeque<Arc<Segment>>,
    /// (seq, seconds since 1970) of the first record of each second; thinned out when there are many.
    times: VecDeque<(u64, u32)>,
}

const TIMES_MAX: usize = 4096;

impl SegmentIndex {
    pub(crate) fn push(&mut self, segment: Arc<Segment>) {
        self.segments.push_back(segment);
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.segments.iter()
    }

    pub(crate) fn last(&self) -> Option<&Arc<Segment>> {
        self.segments.back()
    }

    /// The first record that can be read.
    pub(crate) fn oldest_seq(&self) -> Option<u64> {
        self.segments
            .iter()
            .map(|segment| segment.first_seq())
            .find(|seq| *seq != 0)
    }

    /// The segment that holds the first record at or after `seq`.
    pub(crate) fn find(&self, seq: u64) -> Option<Arc<Segment>> {
        let at = self
            .segments
            .partition_point(|segment| segment.last_seq() != 0 && segment.last_seq() < seq);
        self.segments.get(at).cloned()
    }

    /// The position in the log where the records after `cursor` begin. It is as exact as the sparse index: it
    /// may be too low, and never too high.
    pub(crate) fn floor(&self, cursor: u64) -> u64 {
        let mut floor = 0;
        for segment in &self.segments {
            if segment.last_seq() > cursor {
                let (_, offset) = segment.nearest_indexed(cursor + 1);
                // The segment's header counts as long as its first record does.
                let offset = if offset <= DATA_OFFSET { 0 } else { offset };
                return segment.base + offset;
            }
            if segment.first_seq() != 0 {
                floor = segment.base + segment.end();
            }
        }
        floor
    }

    /// The length of all segments whose records are all forgotten.
    pub(crate) fn retained_bytes(&self, cursor: u64) -> u64 {
        self.forgotten(cursor).map(|segment| segment.bytes).sum()
    }

    fn forgotten(&self, cursor: u64) -> impl Iterator<Item = &Arc<Segment>> {
        // The segment with the newest record is always kept: the sequence number continues from it.
        let newest = self
            .segments
            .iter()
            .rev()
            .find(|segment| segment.last_seq() != 0)
            .map_or(0, |segment| segment.index);
        self.segments
            .iter()
            .take_while(move |segment| segment.index < newest && segment.last_seq() <= cursor)
    }

    /// The oldest segment, if all its records are forgotten and `retain_bytes` of forgotten segments remain
    /// after it.
    pub(crate) fn reclaimable(&self, cursor: u64, retain_bytes: u64) -> Option<Arc<Segment>> {
        // One iteration: the writer may begin another segment between two.
        let mut forgotten = self.forgotten(cursor);
        let oldest = forgotten.next()?;
        let retained: u64 = forgotten.map(|segment| segment.bytes).sum();
        (retained >= retain_bytes).then(|| oldest.clone())
    }

    /// Removes the oldest segment if its number is `index`.
    pub(crate) fn remove_oldest(&mut self, index: u64) -> Option<Arc<Segment>> {
        if self.segments.front()?.index != index {
            return None;
        }
        self.segments.pop_front()
    }

    /// Notes that the records from `seq` on were written at `at_s`.
    pub(crate) fn note_time(&mut self, seq: u64, at_s: u32) {
        if self.times.back().is_some_and(|(_, last)| *last == at_s) {
            return;
        }
        if self.times.len() >= TIMES_MAX {
            let mut keep = false;
            self.times.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.times.push_back((seq, at_s));
    }

    /// Removes times that are needed for forgotten records only.
    pub(crate) fn forget_times(&mut self, cursor: u64) {
        while self.times.get(1).is_some_and(|(seq, _)| *seq <= cursor + 1) {
            self.times.pop_front();
        }
    }

    /// The age of the record after `cursor`, in whole seconds.
    pub(crate) fn age(&self, cursor: u64) -> Option<Duration> {
        let after = self.times.partition_point(|(seq, _)| *seq <= cursor + 1);
        let (_, at_s) = self.times.get(after.saturating_sub(1))?;
        Some(Duration::from_secs(u64::from(
            now_s().saturating_sub(*at_s),
        )))
    }
}

/// The current time in seconds since 1970.
pub(crate) fn now_s() -> u32 {
    u32::try_from(clock::now_s()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> SegmentIndex {
        let mut index = SegmentIndex::default();
        for number in 0..3 {
            let segment = Segment::new(number, 1, 100_000, number * 100_000);
            index.push(Arc::new(segment));
        }
        index.segments[0].extend(1, 10, DATA_OFFSET, 90_000);
        index.segments[1].extend(11, 15, DATA_OFFSET, 50_000);
        index.segments[1].extend(16, 20, 50_000, 90_000);
        index
    }

    #[test]
    fn find_returns_the_segment_of_a_record() {
        let index = index();
        assert_eq!(index.find(1).unwrap().index, 0);
        assert_eq!(index.find(10).unwrap().index, 0);
        assert_eq!(index.find(11).unwrap().index, 1);
        assert_eq!(index.find(21).unwrap().index, 2);
        assert_eq!(index.oldest_seq(), Some(1));
    }

    #[test]
    fn floor_follows_the_cursor_and_never_exceeds_it() {
        let index = index();
        assert_eq!(index.floor(0), 0);
        assert_eq!(index.floor(9), 0);
        assert_eq!(index.floor(10), 100_000);
        assert_eq!(index.floor(15), 150_000);
        assert_eq!(index.floor(19), 150_000);
        assert_eq!(index.floor(20), 190_000);
    }

    #[test]
    fn the_segment_with_the_newest_record_is_never_reclaimed() {
        let mut index = index();
        assert!(index.reclaimable(9, 0).is_none());
        assert!(index.reclaimable(20, 100_000).is_none());
        let oldest = index.reclaimable(20, 0).unwrap();
        assert_eq!(oldest.index, 0);
        assert!(index.remove_oldest(0).is_some());
        assert!(index.reclaimable(20, 0).is_none());
    }

    #[test]
    fn age_is_that_of_the_first_record_that_is_not_forgotten() {
        let mut index = SegmentIndex::default();
        let now = now_s();
        index.note_time(1, now - 100);
        index.note_time(5, now - 50);
        index.note_time(9, now - 10);
        let age = |cursor| index.age(cursor).unwrap().as_secs();
        assert!(age(0) >= 100 && age(3) >= 100);
        assert!((50..100).contains(&age(4)));
        assert!((10..50).contains(&age(8)));
    }

    #[test]
    fn the_number_of_times_is_bounded() {
        let mut index = SegmentIndex::default();
        for second in 0..100_000 {
            index.note_time(u64::from(second) + 1, second);
        }
        assert!(index.times.len() <= TIMES_MAX);
        assert_eq!(index.times[0], (1, 0));
        index.forget_times(99_999);
        assert!(index.times.len() <= 2);
    }
}
