//! The table of the metrics of this crate: name, kind, unit, meaning and labels of each.

use common::metrics::{Metric, Unit};

/// Every metric of this crate. A test of the binary holds it equal to the names in the code.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "wattpost_journal_disk_bytes",
        Unit::Bytes,
        "Size of the journal's files",
    ),
    Metric::gauge(
        "wattpost_journal_full",
        Unit::Bool,
        "Whether appends are refused because there is no space",
    ),
    Metric::gauge(
        "wattpost_journal_max_bytes",
        Unit::Bytes,
        "Bytes that may wait in the journal, at most",
    ),
    Metric::gauge(
        "wattpost_journal_oldest_record_seconds",
        Unit::Seconds,
        "Age of the oldest record that is not stored yet",
    ),
    Metric::counter(
        "wattpost_journal_segment_waits_total",
        Unit::Count,
        "Times that the writer waited for a new segment file",
    ),
    Metric::gauge(
        "wattpost_journal_sync_last_seconds",
        Unit::Seconds,
        "Time of the last write and sync",
    ),
    Metric::gauge(
        "wattpost_journal_sync_max_seconds",
        Unit::Seconds,
        "Longest time of a write and sync",
    ),
    Metric::gauge(
        "wattpost_journal_sync_mean_seconds",
        Unit::Seconds,
        "Mean time of a write and sync",
    ),
    Metric::histogram(
        "wattpost_journal_sync_seconds",
        Unit::Seconds,
        "Time of a write and sync",
    ),
    Metric::counter(
        "wattpost_journal_synced_records_total",
        Unit::Count,
        "Records made durable",
    ),
    Metric::counter(
        "wattpost_journal_syncs_total",
        Unit::Count,
        "Syncs of the journal",
    ),
    Metric::gauge(
        "wattpost_journal_used_bytes",
        Unit::Bytes,
        "Bytes that wait in the journal",
    ),
    Metric::gauge(
        "wattpost_journal_waiting_records",
        Unit::Count,
        "Records that are durable and not stored yet",
    ),
];
