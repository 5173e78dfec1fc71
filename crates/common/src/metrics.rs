//! The table of a crate's metrics: the one place where each of them is described.
//!
//! A crate that exports metrics has a `pub const METRICS: &[Metric]`. The binary describes all tables to the
//! recorder at start, which gives the `# HELP` lines of `/metrics`; `docs/metrics.md` is generated from them.

use std::fmt::{self, Write as _};

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, as exported.
    pub name: &'static str,
    /// How its value changes.
    pub kind: Kind,
    /// What its value counts.
    pub unit: Unit,
    /// What it measures, in one sentence without a full stop.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

/// How the value of a metric changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; 0 at the start of the process.
    Counter,
    /// It is the current value.
    Gauge,
    /// It counts the values observed since the start of the process, by size.
    Histogram,
}

/// What the value of a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things, which the help text names.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Things per second.
    PerSecond,
    /// 0 or 1: no or yes.
    Bool,
}

impl Metric {
    /// A counter without labels.
    #[must_use]
    pub const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, unit, help)
    }

    /// A gauge without labels.
    #[must_use]
    pub const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, unit, help)
    }

    /// A histogram without labels.
    #[must_use]
    pub const fn histogram(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self::new(name, Kind::Histogram, unit, help)
    }

    /// The same metric with these labels.
    #[must_use]
    pub const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    const fn new(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Self {
        Self {
            name,
            kind,
            unit,
            help,
            labels: &[],
        }
    }
}

/// Describes every metric of `table` to the recorder that is installed; without one it does nothing.
pub fn describe(table: &[Metric]) {
    for metric in table {
        let unit = match metric.unit {
            Unit::Count | Unit::Bool => metrics::Unit::Count,
            Unit::Bytes => metrics::Unit::Bytes,
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::PerSecond => metrics::Unit::CountPerSecond,
        };
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
        }
    }
}

/// Registers the counters and histograms of `table` that have no labels, so that they are exported as 0 before their
/// first event. Gauges are not registered: a gauge of 0 would state a value that nobody measured.
pub fn register(table: &[Metric]) {
    for metric in table.iter().filter(|metric| metric.labels.is_empty()) {
        match metric.kind {
            Kind::Counter => metrics::counter!(metric.name).increment(0),
            Kind::Histogram => drop(metrics::histogram!(metric.name)),
            Kind::Gauge => {}
        }
    }
}

/// A table as Markdown: one row per metric, sorted by name.
#[must_use]
pub fn markdown(table: &[Metric]) -> String {
    let mut sorted = table.to_vec();
    sorted.sort_by_key(|metric| metric.name);
    let mut text =
        "| name | kind | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for metric in sorted {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind,
            metric.unit,
            labels.join(", "),
            metric.help
        );
    }
    text
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "number",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
            Self::PerSecond => "per second",
            Self::Bool => "0 or 1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_has_one_row_per_metric_sorted_by_name() {
        let table = [
            Metric::gauge("b_bytes", Unit::Bytes, "Bytes in use"),
            Metric::counter("a_total", Unit::Count, "Requests").labels(&["route", "status"]),
        ];
        let text = markdown(&table);
        let rows: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `a_total` | counter | number | `route`, `status` | Requests |",
                "| `b_bytes` | gauge | bytes |  | Bytes in use |"
            ]
        );
    }

    #[test]
    fn without_a_recorder_nothing_happens() {
        let table = [Metric::histogram("c_seconds", Unit::Seconds, "Time")];
        describe(&table);
        register(&table);
    }
}
