//! The figures of a process that the alerts about the pipeline are made of, and what is kept of them.
//!
//! A process reports its own metrics, a few of them, with its report. So the evaluation sees the same numbers as
//! Prometheus, and needs no other way to the processes.

use super::limits::SYNC_BUCKET;
use crate::Timestamp;
use std::collections::{BTreeMap, HashMap, VecDeque};
use uuid::Uuid;

/// A figure: a metric, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its name in reports, which programs of other versions read too: never change one. Another bucket has another name.
    pub key: &'static str,
    /// The metric.
    pub metric: &'static str,
    /// Only the series with this label, whose value begins so.
    pub label: Option<(&'static str, &'static str)>,
    /// Whether the largest series counts, and not their sum.
    pub largest: bool,
}

const fn sum(key: &'static str, metric: &'static str) -> Figure {
    Figure {
        key,
        metric,
        label: None,
        largest: false,
    }
}

const fn only(
    key: &'static str,
    metric: &'static str,
    label: &'static str,
    value: &'static str,
) -> Figure {
    Figure {
        key,
        metric,
        label: Some((label, value)),
        largest: false,
    }
}

const fn largest(key: &'static str, metric: &'static str) -> Figure {
    Figure {
        key,
        metric,
        label: None,
        largest: true,
    }
}

/// All figures.
pub const FIGURES: &[Figure] = &[
    only(
        "stored_10s",
        "wattpost_consumer_stored_after_seconds_bucket",
        "le",
        "10",
    ),
    sum("stored", "wattpost_consumer_stored_after_seconds_count"),
    only(
        "answered_1s",
        "wattpost_gateway_answer_seconds_bucket",
        "le",
        "1",
    ),
    sum("answered", "wattpost_gateway_answer_seconds_count"),
    sum("journal_full", "wattpost_journal_full"),
    sum(
        "closed_not_durable",
        "wattpost_gateway_connections_closed_not_durable_total",
    ),
    sum("journal_used", "wattpost_journal_used_bytes"),
    sum("journal_max", "wattpost_journal_max_bytes"),
    sum("journal_oldest_s", "wattpost_journal_oldest_record_seconds"),
    sum("journal_damaged", "wattpost_gateway_journal_damaged_places"),
    only(
        "synced_25ms",
        "wattpost_journal_sync_seconds_bucket",
        "le",
        SYNC_BUCKET,
    ),
    sum("synced", "wattpost_journal_sync_seconds_count"),
    sum("disk_free", "wattpost_process_data_dir_free_bytes"),
    sum("disk", "wattpost_process_data_dir_bytes"),
    sum(
        "disk_full_in_s",
        "wattpost_process_data_dir_full_in_seconds",
    ),
    largest("broker_connected", "wattpost_broker_connected"),
    largest("broker_blocked", "wattpost_broker_blocked"),
    sum("broker_refusals", "wattpost_broker_refusals_total"),
    largest("broker_queued", "wattpost_broker_queued_records"),
    largest("broker_queued_max", "wattpost_broker_queued_records_max"),
    sum("consuming", "wattpost_consumer_consuming"),
    sum("broker_returned", "wattpost_broker_returned_records_total"),
    sum("fallback", "wattpost_gateway_durability_fallback"),
    sum("direct", "wattpost_gateway_sink_direct"),
    largest("database_up", "wattpost_consumer_database_up"),
    sum("durable", "wattpost_store_durable"),
    sum("paced", "wattpost_gateway_paced_total"),
    largest(
        "maintained_at_s",
        "wattpost_maintenance_last_success_seconds",
    ),
    largest("events_queued", "wattpost_events_queued"),
    sum("webhooks_off", "wattpost_webhooks_switched_off_total"),
    sum("directory_loaded", "wattpost_gateway_directory_loaded"),
    sum("directory_age_s", "wattpost_gateway_directory_age_seconds"),
    sum("clock_wrong", "wattpost_gateway_clock_wrong"),
    sum("handshakes", "wattpost_gateway_handshakes_total"),
    only(
        "handshakes_503",
        "wattpost_gateway_handshakes_total",
        "result",
        "503",
    ),
    sum("auth_failures", "wattpost_gateway_auth_failures_total"),
    sum("api_requests", "wattpost_api_requests_total"),
    only("api_5xx", "wattpost_api_requests_total", "status", "5"),
];

/// The figures in the metrics of a process, in the Prometheus text format. Those that it does not export are missing.
#[must_use]
pub fn read(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut value_read: Option<f64> = None;
        for figure in FIGURES.iter().filter(|figure| figure.metric == name) {
            if let Some((label, begins)) = figure.label
                && !has_label(labels, label, begins)
            {
                continue;
            }
            let value = match value_read {
                Some(value) => value,
                None => match value.parse::<f64>() {
                    Ok(value) if value.is_finite() => *value_read.insert(value),
                    _ => break,
                },
            };
            let entry = found.entry(figure.key.to_owned());
            entry
                .and_modify(|held: &mut f64| match figure.largest {
                    true => *held = held.max(value),
                    false => *held += value,
                })
                .or_insert(value);
        }
    }
    found
}

/// Whether the labels of a series have this one, and its value begins so. The bound of a bucket is exact.
fn has_label(labels: &str, label: &str, begins: &str) -> bool {
    let wanted = format!("{label}=\"{begins}");
    labels
        .split([',', '}'])
        .filter_map(|one| one.strip_prefix(wanted.as_str()))
        .any(|rest| label != "le" || rest == "\"")
}

/// The shortest time between two samples that are kept, in milliseconds.
const SAMPLE_MS_MIN: i64 = 10_000;
/// For how long samples are kept: an hour, and a sample before.
const KEPT_MS: i64 = 3_700_000;
/// Processes of which samples are kept at most.
const PROCESSES_MAX: usize = 200;

struct Sample {
    at: Timestamp,
    /// By the place in [`FIGURES`]; not a number where the process has none.
    values: Vec<f64>,
}

#[derive(Default)]
struct Series {
    samples: VecDeque<Sample>,
}

/// The figures of the last hour, by process. Memory: 340 bytes for each sample of a process, so 125 KB for an hour.
#[derive(Default)]
pub struct History {
    processes: HashMap<Uuid, Series>,
}

impl History {
    /// Keeps what a process has reported. `at` is when it reported, by the clock of the one who evaluates.
    pub fn note(&mut self, process: Uuid, at: Timestamp, figures: &BTreeMap<String, f64>) {
        if !self.processes.contains_key(&process) && self.processes.len() >= PROCESSES_MAX {
            return;
        }
        let series = self.processes.entry(process).or_default();
        let last = series.samples.back().map(|sample| sample.at);
        if last.is_some_and(|last| at.0 - last.0 < SAMPLE_MS_MIN) {
            return;
        }
        let values = FIGURES
            .iter()
            .map(|figure| figures.get(figure.key).copied().unwrap_or(f64::NAN));
        series.samples.push_back(Sample {
            at,
            values: values.collect(),
        });
    }

    /// Forgets what is older than an hour.
    pub fn forget(&mut self, now: Timestamp) {
        let oldest = now.plus_millis(-KEPT_MS);
        for series in self.processes.values_mut() {
            while series
                .samples
                .front()
                .is_some_and(|sample| sample.at < oldest)
            {
                series.samples.pop_front();
            }
        }
        self.processes
            .retain(|_, series| !series.samples.is_empty());
    }

    /// For how long figures are kept by now, in milliseconds: since the oldest sample of any process.
    #[must_use]
    pub fn span_ms(&self, now: Timestamp) -> i64 {
        let first = |series: &Series| series.samples.front().map(|sample| sample.at);
        let oldest = self.processes.values().filter_map(first).min();
        oldest.map_or(0, |at| now.0.saturating_sub(at.0))
    }

    /// By how much a figure that only grows has grown in a process within the last `ms`; a restart sets it to 0. 0 if it is
    /// not known. `now_value` is the value at `now`.
    #[must_use]
    pub fn grown(&self, process: Uuid, key: &str, now_value: f64, now: Timestamp, ms: i64) -> f64 {
        let Some(values) = self.values(process, key, now, ms) else {
            return 0.0;
        };
        let mut before: Option<f64> = None;
        let mut grown = 0.0;
        for value in values
            .map(|(_, value)| value)
            .chain(std::iter::once(now_value))
        {
            if !value.is_finite() {
                continue;
            }
            if let Some(before) = before {
                grown += if value >= before {
                    value - before
                } else {
                    value
                };
            }
            before = Some(value);
        }
        grown
    }

    /// How fast a figure has changed per second within the last `ms`, if it was known for at least half of that time.
    #[must_use]
    pub fn slope(
        &self,
        process: Uuid,
        key: &str,
        now_value: f64,
        now: Timestamp,
        ms: i64,
    ) -> Option<f64> {
        let mut values = self.values(process, key, now, ms)?;
        let (at, first) = values.find(|(_, value)| value.is_finite())?;
        let took_ms = now.0 - at.0;
        (took_ms * 2 >= ms).then(|| (now_value - first) * 1_000.0 / took_ms as f64)
    }

    fn values(
        &self,
        process: Uuid,
        key: &str,
        now: Timestamp,
        ms: i64,
    ) -> Option<impl Iterator<Item = (Timestamp, f64)>> {
        let place = FIGURES.iter().position(|figure| figure.key == key)?;
        let series = self.processes.get(&process)?;
        let since = now.plus_millis(-ms);
        Some(
            series
                .samples
                .iter()
                .filter(move |sample| sample.at >= since)
                .filter_map(move |sample| Some((sample.at, *sample.values.get(place)?))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_text_of_prometheus() {
        let found = read(
            "# TYPE wattpost_broker_connected gauge\n\
             wattpost_broker_connected{connection=\"publish\"} 0\n\
             wattpost_broker_connected{connection=\"consume\"} 1\n\
             wattpost_gateway_answer_seconds_bucket{le=\"1\"} 7\n\
             wattpost_gateway_answer_seconds_bucket{le=\"10\"} 9\n\
             wattpost_gateway_answer_seconds_count 9\n\
             wattpost_api_requests_total{route=\"/x\",status=\"500\"} 2\n\
             wattpost_api_requests_total{status=\"503\",route=\"/x\"} 3\n\
             wattpost_api_requests_total{route=\"/x\",status=\"200\"} 4\n\
             wattpost_journal_sync_seconds_bucket{le=\"0.025\"} 6\n\
             wattpost_journal_sync_seconds_bucket{le=\"0.05\"} 8\n\
             wattpost_gateway_directory_age_seconds NaN\n\
             nonsense\n",
        );
        let of = |key: &str| found.get(key).copied();
        assert_eq!(of("broker_connected"), Some(1.0));
        assert_eq!((of("answered_1s"), of("answered")), (Some(7.0), Some(9.0)));
        assert_eq!(of("synced_25ms"), Some(6.0), "its name has the bucket");
        assert_eq!((of("api_5xx"), of("api_requests")), (Some(5.0), Some(9.0)));
        assert_eq!(of("directory_age_s"), None, "not a number is not known");
    }

    #[test]
    fn keys_are_distinct() {
        let mut keys: Vec<&str> = FIGURES.iter().map(|figure| figure.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), FIGURES.len());
    }

    #[test]
    fn a_counter_grows_over_a_restart_and_what_is_old_is_forgotten() {
        let (mut history, process) = (History::default(), Uuid::from_u128(1));
        let note = |history: &mut History, at_s: i64, paced: f64| {
            history.note(
                process,
                Timestamp(at_s * 1_000),
                &[("paced".to_owned(), paced)].into(),
            );
        };
        note(&mut history, 0, 5.0);
        note(&mut history, 60, 8.0);
        note(&mut history, 120, 2.0);
        let now = Timestamp(130_000);
        assert!((history.grown(process, "paced", 2.5, now, 3_600_000) - 5.5).abs() < 1e-9);
        assert!((history.grown(process, "paced", 2.5, now, 60_000) - 0.5).abs() < 1e-9);
        assert_eq!(history.span_ms(now), 130_000);
        history.forget(Timestamp(4_000_000));
        assert!(history.processes.is_empty());
        assert_eq!(history.span_ms(now), 0);
    }
}
