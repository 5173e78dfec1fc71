//! The room on the disk of the data directory, and when it will be used up: a full disk refuses chargers, and buying or
//! freeing space takes days.

use central::ports::{Figure, Health, HealthProbe};
use common::lock::lock;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A sample is kept for each of these intervals.
const SAMPLE_EVERY: Duration = Duration::from_secs(300);
/// Samples of a day: what grows by day and shrinks by night is seen whole.
const SAMPLES_MAX: usize = 24 * 12 + 1;
/// From samples over less time nothing is told.
const FORECAST_AFTER: Duration = Duration::from_secs(3_600);
/// Further away, a forecast tells nothing.
const FORECAST_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Less time, or less room, and the part is down.
const LEFT_MIN: Duration = Duration::from_secs(86_400);
const FREE_BYTES_MIN: u64 = 256 << 20;

/// Measures the file system of a data directory, and tells in [`HealthProbe`] what it has found.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    data_dir: PathBuf,
    history: Mutex<History>,
}

/// What is known of the disk.
#[derive(Debug, Default)]
struct History {
    last: Option<Room>,
    /// When, and the free bytes then; oldest first.
    samples: VecDeque<(Instant, u64)>,
}

/// The size of a file system.
#[derive(Debug, Clone, Copy)]
struct Room {
    free_bytes: u64,
    bytes: u64,
}

/// When the disk will be full if the last day repeats itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Forecast {
    /// There are samples of less than an hour.
    Unknown,
    /// Free space does not become less, or lasts for more than ten years.
    Never,
    /// In so much time.
    In(Duration),
}

impl DiskWatch {
    /// For the file system of this directory.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            history: Mutex::default(),
        }
    }

    /// Measures once, and sets the metrics. Blocks while the file system hangs. Without an answer of the operating system
    /// everything keeps its values.
    pub(crate) fn measure(&self) {
        let Ok(found) = rustix::fs::statvfs(&self.data_dir) else {
            return;
        };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let room = Room {
            free_bytes: bytes(found.f_bavail),
            bytes: bytes(found.f_blocks),
        };
        let forecast = {
            let mut history = lock(&self.history);
            history.add(Instant::now(), room);
            history.forecast()
        };
        let set = |gauge: &'static str, value: f64| metrics::gauge!(gauge).set(value);
        set("wattpost_process_data_dir_bytes", room.bytes as f64);
        set(
            "wattpost_process_data_dir_free_bytes",
            room.free_bytes as f64,
        );
        set(
            "wattpost_process_data_dir_full_in_seconds",
            match forecast {
                Forecast::Unknown => f64::NAN,
                Forecast::Never => f64::INFINITY,
                Forecast::In(left) => left.as_secs_f64(),
            },
        );
    }
}

impl HealthProbe for DiskWatch {
    fn health(&self) -> Vec<Health> {
        lock(&self.history).health().into_iter().collect()
    }
}

impl History {
    fn add(&mut self, at: Instant, room: Room) {
        self.last = Some(room);
        let is_due = self
            .samples
            .back()
            .is_none_or(|(last, _)| at.saturating_duration_since(*last) >= SAMPLE_EVERY);
        if is_due {
            self.samples.push_back((at, room.free_bytes));
            if self.samples.len() > SAMPLES_MAX {
                self.samples.pop_front();
            }
        }
    }

    /// The time from the oldest sample to the newest.
    fn span(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some((first, _)), Some((last, _))) => last.saturating_duration_since(*first),
            _ => Duration::ZERO,
        }
    }

    /// From the straight line through the samples with the least squares of distances.
    fn forecast(&self) -> Forecast {
        let (Some(room), Some((first, _))) = (self.last, self.samples.front()) else {
            return Forecast::Unknown;
        };
        if self.span() < FORECAST_AFTER {
            return Forecast::Unknown;
        }
        let count = self.samples.len() as f64;
        let points = || {
            self.samples.iter().map(|(at, free)| {
                let seconds = at.saturating_duration_since(*first).as_secs_f64();
                (seconds, *free as f64)
            })
        };
        let mean_at = points().map(|(at, _)| at).sum::<f64>() / count;
        let mean_free = points().map(|(_, free)| free).sum::<f64>() / count;
        let (mut together, mut square) = (0.0, 0.0);
        for (at, free) in points() {
            together += (at - mean_at) * (free - mean_free);
            square += (at - mean_at).powi(2);
        }
        let bytes_per_second = -together / square;
        let seconds = room.free_bytes as f64 / bytes_per_second;
        // Also for a growth of 0 or less.
        if bytes_per_second > 0.0 && seconds < FORECAST_MAX.as_secs_f64() {
            Forecast::In(Duration::from_secs_f64(seconds))
        } else {
            Forecast::Never
        }
    }

    fn health(&self) -> Option<Health> {
        let room = self.last?;
        let forecast = self.forecast();
        let hours = (self.span().as_secs() / 3_600).max(1);
        let growth = match hours {
            1 => "at the growth of the last hour".to_owned(),
            hours => format!("at the growth of the last {hours} hours"),
        };
        let outlook = match forecast {
            Forecast::Unknown => "too little data for a forecast yet".to_owned(),
            Forecast::Never => format!("not full within ten years {growth}"),
            Forecast::In(left) if left < 2 * LEFT_MIN => {
                format!("full in {} hours {growth}", left.as_secs() / 3_600)
            }
            Forecast::In(left) => format!("full in {} days {growth}", left.as_secs() / 86_400),
        };
        let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
        let detail = format!(
            "{:.1} of {:.1} GiB free; {outlook}",
            gib(room.free_bytes),
            gib(room.bytes)
        );
        let full_in = match forecast {
            Forecast::In(left) => Some(Figure::from(left)),
            Forecast::Unknown | Forecast::Never => None,
        };
        let is_soon = matches!(forecast, Forecast::In(left) if left < LEFT_MIN);
        let up = room.free_bytes >= FREE_BYTES_MIN && !is_soon;
        let health = Health::new("disk", up, detail)
            .figure("free_bytes", Figure::from(room.free_bytes))
            .figure("total_bytes", Figure::from(room.bytes))
            .figure("full_in_seconds", full_in);
        Some(health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// Samples every five minutes for these hours, of free bytes as a function of the hour.
    fn history(hours: u64, free: impl Fn(f64) -> f64) -> History {
        let mut history = History::default();
        let began = Instant::now();
        for minute in (0..=hours * 60).step_by(1) {
            let room = Room {
                free_bytes: free(minute as f64 / 60.0) as u64,
                bytes: 1_000 * GIB,
            };
            history.add(began + Duration::from_secs(minute * 60), room);
        }
        history
    }

    fn days(forecast: Forecast) -> f64 {
        match forecast {
            Forecast::In(left) => left.as_secs_f64() / 86_400.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn forecast_is_that_of_the_last_day() {
        // 24 GiB are used each day, and 240 are left.
        let steady = history(30, |hour| (270.0 - hour) * GIB as f64);
        assert!((days(steady.forecast()) - 10.0).abs() < 0.01);
        assert!(steady.samples.len() <= SAMPLES_MAX);
        let health = steady.health().unwrap();
        assert!(
            health.up && health.detail.contains("full in "),
            "{health:?}"
        );
        assert!(health.detail.contains("the last 24 hours"), "{health:?}");
        // What was used two days ago does not count.
        let calm = history(60, |hour| (200.0 - hour.min(30.0)) * GIB as f64);
        assert_eq!(calm.forecast(), Forecast::Never);
    }

    #[test]
    fn too_little_data_is_no_forecast_and_growth_in_waves_is_no_alarm() {
        let short = history(0, |_| 5.0 * GIB as f64);
        assert_eq!(short.forecast(), Forecast::Unknown);
        let health = short.health().unwrap();
        assert!(
            health.up && health.detail.contains("too little data"),
            "{health:?}"
        );
        assert_eq!(History::default().health(), None);
        let waves = history(24, |hour| {
            let wave = (hour / 24.0 * 24.0 * std::f64::consts::TAU).sin();
            (50.0 + wave) * GIB as f64
        });
        match waves.forecast() {
            Forecast::In(left) => assert!(left > 30 * LEFT_MIN, "{left:?}"),
            other => assert_eq!(other, Forecast::Never),
        }
    }

    #[test]
    fn disk_that_will_be_full_within_a_day_is_down() {
        let soon = history(3, |hour| (20.0 - hour) * GIB as f64);
        let health = soon.health().unwrap();
        assert!(
            !health.up && health.detail.contains("full in 17 hours"),
            "{health:?}"
        );
        let full = history(3, |_| 1_000_000.0);
        assert!(!full.health().unwrap().up);
    }
}
