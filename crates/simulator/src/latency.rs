//! A histogram of latencies: constant memory, a few nanoseconds per sample, and an error of at most 1/16 (6 %).

use std::time::Duration;

/// Buckets per power of two.
const SUB: u64 = 16;
/// Number of buckets: up to 2^36 µs, about 19 hours.
const BUCKETS: usize = (36 - 4 + 1) * SUB as usize;

/// A histogram of durations from a microsecond to 19 hours. Longer ones count in the last bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    counts: Vec<u64>,
    count: u64,
    total_us: u64,
    max_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            total_us: 0,
            max_us: 0,
        }
    }

    /// Counts one sample.
    pub fn record(&mut self, sample: Duration) {
        let us = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)] += 1;
        self.count += 1;
        self.total_us = self.total_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.total_us = self.total_us.saturating_add(other.total_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The samples since `earlier`, an earlier state of this histogram. Its `max` is the upper bound of the highest
    /// bucket with new samples.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .zip(&earlier.counts)
            .map(|(now, then)| now.saturating_sub(*then))
            .collect();
        let max_us = counts
            .iter()
            .rposition(|&count| count > 0)
            .map_or(0, upper_bound_us);
        Self {
            count: counts.iter().sum(),
            total_us: self.total_us.saturating_sub(earlier.total_us),
            max_us: max_us.min(self.max_us),
            counts,
        }
    }

    /// Number of samples.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The smallest value that `percent` (0 to 100) of the samples do not exceed; zero without samples.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent.clamp(0.0, 100.0) / 100.0 * self.count as f64).ceil() as u64;
        let rank = rank.max(1);
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_bound_us(i).min(self.max_us));
            }
        }
        Duration::from_micros(self.max_us)
    }

    /// The mean; zero without samples.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.total_us.checked_div(self.count).unwrap_or(0))
    }

    /// The largest sample.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }
}

/// The bucket of a value: one bucket per value below 16, then 16 buckets per power of two.
fn bucket(us: u64) -> usize {
    if us < SUB {
        return us as usize;
    }
    let exponent = u64::from(us.ilog2());
    let within = (us >> (exponent - 4)) - SUB;
    let index = (exponent - 3) * SUB + within;
    (index as usize).min(BUCKETS - 1)
}

fn upper_bound_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let exponent = bucket / SUB + 3;
    let within = bucket % SUB + SUB;
    ((within + 1) << (exponent - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_bound_of_a_bucket_exceeds_its_values_by_a_sixteenth_at_most() {
        let mut us = 0_u64;
        while us < 1 << 36 {
            let end = upper_bound_us(bucket(us));
            assert!(
                end >= us && end - us <= us / 16 + 1,
                "{us} in bucket up to {end}"
            );
            us += us / 7 + 1;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut all = Latency::new();
        for us in 1..=10_000 {
            all.record(Duration::from_micros(us));
        }
        for (percent, want) in [(50.0, 5_000.0), (99.0, 9_900.0), (100.0, 10_000.0)] {
            let got = all.percentile(percent).as_micros() as f64;
            assert!((got - want).abs() <= want / 15.0, "p{percent} is {got}");
        }
        assert_eq!(all.mean(), Duration::from_micros(5_000));
        assert_eq!(all.max(), Duration::from_millis(10));
        assert_eq!(Latency::new().percentile(99.0), Duration::ZERO);
    }

    #[test]
    fn since_gives_the_difference() {
        let mut all = Latency::new();
        all.record(Duration::from_secs(1));
        let earlier = all.clone();
        all.record(Duration::from_micros(10));
        let since = all.since(&earlier);
        assert_eq!(since.count(), 1);
        assert_eq!(since.max(), Duration::from_micros(10));
        let mut merged = earlier;
        merged.merge(&since);
        assert_eq!(merged, all);
    }
}
