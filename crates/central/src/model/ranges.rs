//! The numbers of a sequence that have been seen, as ranges: a thousand consecutive numbers take as much space as one,
//! and gaps are known (rule Q-24).

use super::Merge;
use serde::{Deserialize, Serialize};

/// A set of integers as sorted, disjoint, non-adjacent inclusive ranges, within a window below the
/// highest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet(Vec<(i64, i64)>);

impl RangeSet {
    /// Numbers further than this below the highest one are forgotten, which bounds the set. (Forgetting by distance
    /// commutes with adding; forgetting by count would not.)
    pub const WINDOW: i64 = 16_384;

    /// Adds one number.
    pub fn insert(&mut self, number: i64) {
        self.insert_range(number, number);
    }

    /// Whether the set contains the number.
    #[must_use]
    pub fn contains(&self, number: i64) -> bool {
        self.0.iter().any(|&(lo, hi)| lo <= number && number <= hi)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest number.
    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.0.first().map(|range| range.0)
    }

    /// The highest number.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.0.last().map(|range| range.1)
    }

    /// The missing numbers between the lowest and the highest one, as inclusive ranges.
    #[must_use]
    pub fn gaps(&self) -> Vec<(i64, i64)> {
        self.0
            .windows(2)
            .map(|pair| (pair[0].1 + 1, pair[1].0 - 1))
            .collect()
    }

    /// The numbers, as sorted inclusive ranges.
    #[must_use]
    pub fn ranges(&self) -> &[(i64, i64)] {
        &self.0
    }

    fn insert_range(&mut self, lo: i64, hi: i64) {
        // The usual case is the next number in order.
        if let Some(last) = self.0.last_mut()
            && last.1.checked_add(1) == Some(lo)
        {
            last.1 = hi;
            self.forget_far();
            return;
        }
        let start = self
            .0
            .partition_point(|range| range.1.saturating_add(1) < lo);
        let end = self
            .0
            .partition_point(|range| range.0 <= hi.saturating_add(1));
        let (lo, hi) = if start < end {
            (lo.min(self.0[start].0), hi.max(self.0[end - 1].1))
        } else {
            (lo, hi)
        };
        self.0.splice(start..end, [(lo, hi)]);
        self.forget_far();
    }

    fn forget_far(&mut self) {
        let Some(last) = self.last() else { return };
        let floor = last.saturating_sub(Self::WINDOW);
        let gone = self.0.partition_point(|range| range.1 < floor);
        self.0.drain(..gone);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(floor);
        }
    }
}

impl Merge for RangeSet {
    fn merge(&mut self, other: Self) {
        for (lo, hi) in other.0 {
            self.insert_range(lo, hi);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(numbers: &[i64]) -> RangeSet {
        let mut set = RangeSet::default();
        for number in numbers {
            set.insert(*number);
        }
        set
    }

    #[test]
    fn gaps_are_the_missing_numbers_between() {
        assert_eq!(set(&[0, 1, 5, 3]).gaps(), [(2, 2), (4, 4)]);
        assert_eq!(set(&[3, 2, 1]).gaps(), []);
        assert_eq!(set(&[]).gaps(), []);
    }

    #[test]
    fn the_smallest_and_largest_numbers_do_not_overflow() {
        let ends = set(&[i64::MIN, i64::MAX, i64::MAX - 1, i64::MIN + 1]);
        assert_eq!(ends.last(), Some(i64::MAX));
        assert!(!ends.contains(i64::MIN), "far below the window");
        assert_eq!(set(&[i64::MIN, i64::MIN]).first(), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn it_equals_a_set_of_the_numbers_within_the_window(
            numbers in proptest::collection::vec(prop_oneof![0..40_i64, 16_300..16_500_i64], 0..60),
            cut in 0..60_usize,
        ) {
            let last = numbers.iter().max().copied().unwrap_or(0);
            let expected: BTreeSet<i64> = numbers
                .iter()
                .copied()
                .filter(|number| *number >= last - RangeSet::WINDOW)
                .collect();
            let cut = cut.min(numbers.len());
            let mut merged = set(&numbers[cut..]);
            merged.merge(set(&numbers[..cut]));
            prop_assert_eq!(&merged, &set(&numbers));
            for number in 0..16_600 {
                prop_assert_eq!(merged.contains(number), expected.contains(&number), "{}", number);
            }
        }
    }
}
