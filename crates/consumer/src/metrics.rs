//! The table of the metrics of this crate: name, kind, unit, meaning and labels of each.

use common::metrics::{Metric, Unit};

/// Every metric of this crate. A test of the binary holds it equal to the names in the code.
pub const METRICS: &[Metric] = &[
    Metric::histogram(
        "wattpost_consumer_apply_seconds",
        Unit::Seconds,
        "Time to apply a batch",
    ),
    Metric::histogram(
        "wattpost_consumer_batch_records",
        Unit::Count,
        "Records in a batch",
    ),
    Metric::gauge(
        "wattpost_consumer_consuming",
        Unit::Bool,
        "Whether records are being consumed",
    ),
    Metric::histogram(
        "wattpost_consumer_stored_after_seconds",
        Unit::Seconds,
        "Time from the reception of a record by its gateway until it is stored, by the clocks of both machines; not for batches that were delivered again",
    ),
    Metric::gauge(
        "wattpost_consumer_database_up",
        Unit::Bool,
        "Whether the database accepted the last batch",
    ),
    Metric::counter(
        "wattpost_consumer_dead_letters_total",
        Unit::Count,
        "Records that can never be applied",
    ),
    Metric::counter(
        "wattpost_consumer_records_acknowledged_total",
        Unit::Count,
        "Records acknowledged to RabbitMQ",
    ),
    Metric::counter(
        "wattpost_consumer_records_applied_total",
        Unit::Count,
        "Records stored for the first time",
    ),
    Metric::counter(
        "wattpost_consumer_records_known_total",
        Unit::Count,
        "Records that were stored already",
    ),
    Metric::counter(
        "wattpost_consumer_refused_batches_total",
        Unit::Count,
        "Batches that the database refused",
    )
    .labels(&["reason"]),
    Metric::counter(
        "wattpost_events_expired_total",
        Unit::Count,
        "Events deleted from the log because they have expired",
    ),
    Metric::counter(
        "wattpost_events_failures_total",
        Unit::Count,
        "Times that events could not be moved to their log",
    ),
    Metric::gauge(
        "wattpost_events_queued",
        Unit::Count,
        "Changes that are not in the log of events yet, counted up to 10,000 once a minute",
    ),
    Metric::counter(
        "wattpost_events_recorded_total",
        Unit::Count,
        "Events that this process has added to the log",
    ),
    Metric::gauge(
        "wattpost_maintenance_duration_seconds",
        Unit::Seconds,
        "Duration of the last maintenance round that succeeded",
    ),
    Metric::counter(
        "wattpost_maintenance_failures_total",
        Unit::Count,
        "Maintenance rounds that failed",
    ),
    Metric::gauge(
        "wattpost_maintenance_last_success_seconds",
        Unit::Seconds,
        "Unix time of the last maintenance round that succeeded",
    ),
    Metric::gauge(
        "wattpost_maintenance_oldest_message_seconds",
        Unit::Seconds,
        "Unix time of the oldest message that the database keeps, at the last maintenance round: NaN if it keeps none",
    ),
];
