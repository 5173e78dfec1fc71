//! Computes how many messages may be taken in per second, from the backlog and from how fast it is stored. Pure:
//! samples and time are arguments.
//!
//! The sink may be a queue with a slow database behind it. Then records in the queue count as backlog like those in
//! the journal, and what is stored is what was delivered less what the queue has grown by. A queue from which nothing
//! is taken for some seconds has an outage behind it and does not count. The queue's length is read about once a
//! second, and several gateways may fill it: each then paces by the growth that all cause together, which leads to the
//! same equilibrium, a little more strictly on the way.

use crate::flow::pace::RATE_MIN;
use std::time::Duration;

/// Time constant of the measured delivery rate: some batches long, so that the rate does not follow each batch.
const SMOOTHING: Duration = Duration::from_millis(2_000);
/// Time constant with which the rate of messages approaches the delivery rate, whatever the threshold. Longer than
/// `SMOOTHING`, so that uneven delivery does not make the pace uneven.
const SETTLES_IN: Duration = Duration::from_secs(3);
/// The same when the backlog is in a queue behind the sink, whose length is known late.
const SETTLES_IN_QUEUED: Duration = Duration::from_secs(8);
/// If the reported queue length has not changed for this long, treat it as current rather than stale.
const QUEUE_STALE: Duration = Duration::from_secs(6);
/// If nothing was taken from a queue for this long, there is an outage behind it.
const NOTHING_TAKEN: Duration = Duration::from_secs(10);
/// The narrowest band over which the pace goes from its highest to its lowest, in bytes of backlog: some batches.
const BAND_BYTES_MIN: f64 = (8 << 20) as f64;
/// The pace is never so high that the journal would be full sooner than this.
const FULL_AT_LEAST_IN: Duration = Duration::from_secs(2);

/// What the controller is given at a tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Bytes that are durable in the journal and not yet delivered.
    pub(crate) backlog_bytes: u64,
    /// Mean bytes of one record; not 0.
    pub(crate) record_bytes: u64,
    /// Records that still fit into the journal, approximately.
    pub(crate) headroom_records: u64,
    /// Records that the sink has accepted since the start.
    pub(crate) delivered: u64,
    /// Of those, records that wait in the sink while consumers store them.
    pub(crate) queued: u64,
    /// Whether the sink works: its last delivery succeeded and none is stuck.
    pub(crate) sink_healthy: bool,
}

/// The state that the next measurement starts from.
#[derive(Debug, Clone, Copy)]
struct Baseline {
    at: Duration,
    delivered: u64,
    queued: u64,
}

/// Computes the pace from samples.
#[derive(Debug)]
pub(crate) struct Controller {
    /// Pacing begins at this backlog and holds it a little above, at one and a half times this at most.
    from_bytes: u64,
    /// The start of the current measurement.
    baseline: Option<Baseline>,
    /// When the queue's length last changed, and the length then.
    queue_changed: (Duration, u64),
    /// When something was last taken from the queue behind the sink.
    taken_at: Duration,
    busy_seconds: f64,
    delivery_rate: f64,
    paced: bool,
}

impl Controller {
    /// `from_bytes` 0 never paces.
    pub(crate) const fn new(from_bytes: u64) -> Self {
        Self {
            from_bytes,
            baseline: None,
            queue_changed: (Duration::ZERO, 0),
            taken_at: Duration::ZERO,
            busy_seconds: 0.0,
            delivery_rate: 0.0,
            paced: false,
        }
    }

    /// Messages per second to take in from now on; `None` = no pacing.
    pub(crate) fn tick(&mut self, at: Duration, sample: Sample) -> Option<f64> {
        self.measure(at, sample);
        let from = self.from_bytes as f64;
        let queued_bytes = match at.saturating_sub(self.taken_at) > NOTHING_TAKEN {
            true => 0,
            false => sample.queued.saturating_mul(sample.record_bytes),
        };
        let backlog = sample.backlog_bytes as f64 + queued_bytes as f64;
        let settles_in = match queued_bytes > sample.backlog_bytes {
            true => SETTLES_IN_QUEUED,
            false => SETTLES_IN,
        };
        // Pacing ends a little below where it begins, so that it does not switch on and off.
        let begins_at = if self.paced { from * 0.75 } else { from };
        self.paced = self.from_bytes > 0 && sample.sink_healthy && backlog > begins_at;
        if !self.paced {
            return None;
        }
        // What the sink stores within `settles_in`. Crossing a band as wide as a large threshold would take minutes,
        // with far more acknowledged than stored all the time.
        let stored_meanwhile =
            self.delivery_rate * sample.record_bytes as f64 * settles_in.as_secs_f64();
        let band = stored_meanwhile.max(BAND_BYTES_MIN).min(from);
        // At the goal as much is taken in as is stored; below it more, above it less, down to a half: then the
        // backlog falls too, and a turn takes at most twice as long as it must.
        let goal = from + band / 2.0;
        let excess = (backlog - goal) / band;
        let share = (1.0 - excess).clamp(0.5, 1.75);
        let filling = sample.headroom_records as f64 / FULL_AT_LEAST_IN.as_secs_f64();
        let rate = if self.delivery_rate > 0.0 {
            (self.delivery_rate * share).min(self.delivery_rate + filling)
        } else {
            // Nothing has been stored yet: only the room that is left is known.
            filling
        };
        Some(rate.max(RATE_MIN))
    }

    /// Updates the delivery rate: a mean over the last seconds in which there was something to store. The first
    /// measurements count in full, so that the rate is right from the start. A batch is stored all at once, so each
    /// counts over the time since the one before.
    fn measure(&mut self, at: Duration, sample: Sample) {
        let now = Baseline {
            at,
            delivered: sample.delivered,
            queued: sample.queued,
        };
        let baseline = *self.baseline.get_or_insert(now);
        let (changed_at, seen) = self.queue_changed;
        let is_current = sample.queued != seen || at.saturating_sub(changed_at) >= QUEUE_STALE;
        if is_current {
            self.queue_changed = (at, sample.queued);
        }
        if (sample.queued > 0) != (baseline.queued > 0) {
            // It was empty or is empty now: its growth cannot be computed.
            (self.baseline, self.taken_at) = (Some(now), at);
            return;
        }
        let delivered = sample.delivered.saturating_sub(baseline.delivered) as f64;
        let growth = sample.queued as f64 - baseline.queued as f64;
        let is_known = sample.queued == 0 || is_current;
        let stored = delivered - growth;
        let seconds = at.saturating_sub(baseline.at).as_secs_f64();
        // The queue's length and the number delivered are not of the same moment: a small difference says nothing.
        let least = match sample.queued {
            0 => 0.0,
            _ => delivered * 0.01 + 20.0,
        };
        if is_known && stored > least && seconds > 0.0 {
            self.busy_seconds += seconds;
            let span = SMOOTHING.as_secs_f64().min(self.busy_seconds);
            let weight = 1.0 - (-seconds / span).exp();
            self.delivery_rate += (stored / seconds - self.delivery_rate) * weight;
            (self.baseline, self.taken_at) = (Some(now), at);
        }
        let is_ours = growth <= delivered * 2.0 + 1_000.0;
        if (sample.backlog_bytes == 0 && sample.queued == 0) || !sample.sink_healthy || !is_ours {
            // An idle or failing sink says nothing about its speed, and neither does what others put into the queue.
            self.baseline = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pace::TICK;

    const RECORD: u64 = 500;
    const FROM: u64 = 1 << 20;

    /// Simulates `offered` messages per second in front of a sink that stores `capacity(t)` per second in batches.
    /// Returns the backlog and the rate at each tick.
    fn run(offered: f64, capacity: impl Fn(f64) -> f64, seconds: f64) -> Vec<(f64, Option<f64>)> {
        run_from(FROM, FROM * 8, offered, capacity, seconds)
    }

    /// The same with pacing from `from` bytes on, in front of a journal of `bound` bytes.
    fn run_from(
        from: u64,
        bound: u64,
        offered: f64,
        capacity: impl Fn(f64) -> f64,
        seconds: f64,
    ) -> Vec<(f64, Option<f64>)> {
        let mut controller = Controller::new(from);
        let step = TICK.as_secs_f64();
        let (mut backlog, mut delivered, mut owed) = (0.0_f64, 0.0_f64, 0.0_f64);
        let mut rate = None;
        let mut seen = Vec::new();
        let mut t = 0.0;
        while t < seconds {
            t += step;
            backlog += rate.unwrap_or(offered).min(offered) * step;
            // Records are delivered in batches of up to 2,000.
            owed += capacity(t) * step;
            if owed >= 2_000.0 || owed >= backlog {
                let lump = owed.min(backlog);
                backlog -= lump;
                delivered += lump;
                owed = 0.0;
            }
            rate = controller.tick(
                Duration::from_secs_f64(t),
                Sample {
                    backlog_bytes: (backlog * RECORD as f64) as u64,
                    record_bytes: RECORD,
                    headroom_records: (bound / RECORD).saturating_sub(backlog as u64),
                    delivered: delivered as u64,
                    queued: 0,
                    sink_healthy: capacity(t) > 0.0,
                },
            );
            seen.push((backlog * RECORD as f64, rate));
        }
        seen
    }

    #[test]
    fn a_lasting_overload_settles_well_below_the_bound() {
        for (offered, capacity) in [(30_000.0, 10_000.0), (50_000.0, 40_000.0), (5_000.0, 700.0)] {
            let seen = run(offered, |_| capacity, 60.0);
            let worst = seen.iter().map(|(bytes, _)| *bytes).fold(0.0, f64::max);
            // The bound is eight times the threshold by default.
            assert!(worst < FROM as f64 * 6.0, "{offered} {capacity}: {worst}");
            let late = &seen[seen.len() / 2..];
            assert!(
                late.iter().all(|(_, rate)| rate.is_some()),
                "{offered} {capacity}"
            );
            let mean = late.iter().filter_map(|(_, rate)| *rate).sum::<f64>() / late.len() as f64;
            assert!((mean / capacity - 1.0).abs() < 0.1, "{mean} for {capacity}");
        }
    }

    #[test]
    fn a_large_backlog_settles_as_soon_as_a_small_one() {
        const LARGE: u64 = 256 << 20;
        for (offered, capacity, settles_in) in [
            (22_681.0, 9_684.0, 8),
            (60_000.0, 40_000.0, 8),
            // A batch a second.
            (22_681.0, 2_000.0, 20),
        ] {
            let from = LARGE as f64;
            let fills = from / RECORD as f64 / (offered - capacity);
            let seen = run_from(LARGE, 8 << 30, offered, |_| capacity, fills + 120.0);
            let crossed = seen.iter().position(|(_, rate)| rate.is_some());
            let crossed = crossed.expect("the threshold is crossed");
            let taken_in = |ticks: &[(f64, Option<f64>)]| {
                let rates = ticks.iter().map(|(_, rate)| rate.expect("stays paced"));
                rates.sum::<f64>() / ticks.len() as f64
            };
            let second = (1.0 / TICK.as_secs_f64()) as usize;
            let settled = &seen[crossed + settles_in * second..];
            // Averaged over some seconds, because each batch has 2,000 records.
            for part in settled.chunks_exact(5 * second) {
                let share = taken_in(part) / capacity;
                assert!((share - 1.0).abs() < 0.1, "{offered} {capacity}: {share}");
            }
            let share = taken_in(settled) / capacity;
            assert!((share - 1.0).abs() < 0.02, "{offered} {capacity}: {share}");
            for pair in settled.windows(2) {
                let [before, after] = [pair[0].1, pair[1].1].map(Option::unwrap_or_default);
                let step = (after - before).abs() / capacity;
                assert!(step < 0.3, "{offered} {capacity}: a step of {step}");
            }
            let worst = seen.iter().map(|(bytes, _)| *bytes).fold(0.0, f64::max);
            assert!(worst < from * 1.5, "{offered} {capacity}: {worst}");
        }
    }

    #[test]
    fn without_a_backlog_nothing_is_paced() {
        let seen = run(5_000.0, |_| 10_000.0, 10.0);
        assert!(seen.iter().all(|(_, rate)| rate.is_none()));
    }

    #[test]
    fn an_outage_is_not_paced_and_what_it_left_drains_afterwards() {
        let is_unavailable = |t: f64| (5.0..10.0).contains(&t);
        let seen = run(
            10_000.0,
            |t| if is_unavailable(t) { 0.0 } else { 20_000.0 },
            60.0,
        );
        for (i, (_, rate)) in seen.iter().enumerate() {
            if is_unavailable((i + 1) as f64 * TICK.as_secs_f64()) {
                assert_eq!(*rate, None, "tick {i}");
            }
        }
        let (backlog, rate) = seen[seen.len() - 1];
        assert!(
            backlog < FROM as f64 && rate.is_none(),
            "{backlog} {rate:?}"
        );
    }

    #[test]
    fn the_pace_follows_a_sink_that_becomes_faster() {
        let seen = run(
            30_000.0,
            |t| if t < 30.0 { 2_000.0 } else { 15_000.0 },
            60.0,
        );
        let (_, rate) = seen[seen.len() - 1];
        let rate = rate.expect("still overloaded");
        assert!((10_000.0..20_000.0).contains(&rate), "{rate}");
    }

    /// A fast queue in front of a store that takes `capacity(t)` a second in batches. The queue's length is
    /// read once per `interval` seconds, and known only while `is_at_work(t)`. Returns, at each tick, the backlog in
    /// bytes, the rate, and what has been stored.
    fn run_queued(
        offered: f64,
        interval: f64,
        capacity: impl Fn(f64) -> f64,
        is_at_work: impl Fn(f64) -> bool,
        seconds: f64,
    ) -> Vec<(f64, Option<f64>, f64)> {
        const FROM: u64 = 16 << 20;
        const BATCH: f64 = 2_000.0;
        let mut controller = Controller::new(FROM);
        let step = TICK.as_secs_f64();
        let (mut queue, mut delivered, mut stored, mut owed) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
        let (mut reported, mut read_at, mut t) = (0.0, 0.0, 0.0);
        let mut rate = None;
        let mut seen = Vec::new();
        while t < seconds {
            t += step;
            let taken_in = (rate.unwrap_or(offered).min(offered) * step).round();
            delivered += taken_in;
            queue += taken_in;
            owed += capacity(t) * step;
            if owed >= BATCH || owed >= queue {
                let lump = owed.min(queue).floor();
                queue -= lump;
                stored += lump;
                owed = 0.0;
            }
            if t >= read_at {
                read_at = t + interval;
                reported = if is_at_work(t) { queue } else { 0.0 };
            }
            rate = controller.tick(
                Duration::from_secs_f64(t),
                Sample {
                    backlog_bytes: 0,
                    record_bytes: RECORD,
                    headroom_records: 10_000_000,
                    delivered: delivered as u64,
                    queued: reported as u64,
                    sink_healthy: true,
                },
            );
            seen.push((queue * RECORD as f64, rate, stored));
        }
        seen
    }

    #[test]
    fn a_slow_database_behind_a_queue_brings_what_is_taken_in_to_what_is_stored() {
        for (offered, capacity, interval) in [
            (20_000.0, 6_000.0, 0.25),
            (20_000.0, 6_000.0, 1.0),
            (20_000.0, 6_000.0, 2.5),
            (30_000.0, 12_000.0, 5.0),
            (8_000.0, 700.0, 1.0),
        ] {
            let seen = run_queued(offered, interval, |_| capacity, |_| true, 240.0);
            let case = format!("{offered} {capacity} {interval}");
            let late = &seen[seen.len() / 2..];
            assert!(late.iter().all(|(_, rate, _)| rate.is_some()), "{case}");
            let mean =
                late.iter().filter_map(|(_, rate, _)| *rate).sum::<f64>() / late.len() as f64;
            assert!((mean / capacity - 1.0).abs() < 0.05, "{case}: {mean}");
            let worst = seen.iter().map(|(bytes, ..)| *bytes).fold(0.0, f64::max);
            assert!(worst < (16 << 20) as f64 * 4.0, "{case}: {worst}");
        }
    }

    #[test]
    fn a_queue_that_keeps_up_causes_no_pacing() {
        let seen = run_queued(5_000.0, 1.0, |_| 9_000.0, |_| true, 60.0);
        assert!(seen.iter().all(|(_, rate, _)| rate.is_none()));
    }

    #[test]
    fn an_outage_behind_the_queue_is_not_paced_whether_the_consumer_leaves_or_hangs() {
        let is_down = |t: f64| (20.0..80.0).contains(&t);
        for leaves in [true, false] {
            let seen = run_queued(
                10_000.0,
                1.0,
                |t| if is_down(t) { 0.0 } else { 15_000.0 },
                |t| !(leaves && is_down(t)),
                120.0,
            );
            let tick = |t: f64| (t / TICK.as_secs_f64()) as usize;
            // A consumer that hangs is noticed after a while.
            let from = if leaves { 21.0 } else { 33.0 };
            for (bytes, rate, _) in &seen[tick(from)..tick(79.0)] {
                assert_eq!(*rate, None, "{leaves} {bytes}");
            }
            let stored = |t| seen[tick(t)].2;
            assert!(stored(119.0) > stored(81.0), "it goes on");
            // The consumer is back, with far more than the threshold waiting: less is taken in than is stored.
            let (_, rate, _) = seen[tick(95.0)];
            assert!(rate.expect("is paced") < 15_000.0, "{leaves} {rate:?}");
        }
    }

    #[test]
    fn others_filling_the_queue_leave_the_measured_rate_alone() {
        let mut controller = Controller::new(1 << 20);
        let mut rate_at = |second: u64, delivered, queued| {
            let sample = Sample {
                backlog_bytes: 0,
                record_bytes: RECORD,
                headroom_records: 1_000_000,
                delivered,
                queued,
                sink_healthy: true,
            };
            controller.tick(Duration::from_secs(second), sample);
            controller.delivery_rate
        };
        for second in 0..20 {
            // A thousand stored a second, the queue growing by a hundred.
            rate_at(second, second * 1_100, 5_000 + second * 100);
        }
        let before = rate_at(20, 22_000, 7_000);
        assert!((before - 1_000.0).abs() < 50.0, "{before}");
        let after = rate_at(21, 23_100, 50_000);
        assert!((after - before).abs() < 1.0, "{after}");
    }
}
