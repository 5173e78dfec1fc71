//! The table of the metrics of this crate: name, kind, unit, meaning and labels of each.

use common::metrics::{Metric, Unit};

/// Every metric of this crate. A test of the binary holds it equal to the names in the code.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "wattpost_broker_blocked",
        Unit::Bool,
        "Whether RabbitMQ accepts no records because of its memory or disk",
    )
    .labels(&["role"]),
    Metric::gauge(
        "wattpost_broker_connected",
        Unit::Bool,
        "Whether RabbitMQ is connected",
    )
    .labels(&["role"]),
    Metric::counter(
        "wattpost_broker_connections_total",
        Unit::Count,
        "Connections to RabbitMQ that were opened",
    ),
    Metric::counter(
        "wattpost_broker_consumed_records_total",
        Unit::Count,
        "Records received from RabbitMQ",
    ),
    Metric::histogram(
        "wattpost_broker_deliver_seconds",
        Unit::Seconds,
        "Time from a batch to the last confirm",
    ),
    Metric::counter(
        "wattpost_broker_published_records_total",
        Unit::Count,
        "Records that RabbitMQ confirmed",
    ),
    Metric::gauge(
        "wattpost_broker_queued_records",
        Unit::Count,
        "Records that wait in the queues; NaN while that is not known",
    ),
    Metric::gauge(
        "wattpost_broker_queued_records_max",
        Unit::Count,
        "Records that fit into the queues of all partitions together",
    ),
    Metric::counter(
        "wattpost_broker_redelivered_records_total",
        Unit::Count,
        "Records that RabbitMQ delivered again",
    ),
    Metric::counter(
        "wattpost_broker_refusals_total",
        Unit::Count,
        "Publishes refused because a queue was full",
    ),
    Metric::counter(
        "wattpost_broker_returned_records_total",
        Unit::Count,
        "Records returned because no queue was bound",
    ),
    Metric::counter(
        "wattpost_broker_unreadable_messages_total",
        Unit::Count,
        "Messages in the queues that are not records",
    ),
];
