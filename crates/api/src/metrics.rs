//! The table of the metrics of this crate: name, kind, unit, meaning and labels of each.

use common::metrics::{Metric, Unit};

/// All metrics of this crate. A test of the binary compares them with the names in the code.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "wattpost_api_connections",
        Unit::Count,
        "Open connections to the HTTP server",
    ),
    Metric::counter(
        "wattpost_api_database_busy_total",
        Unit::Count,
        "Requests answered with 503 because too many queries were running",
    ),
    Metric::counter(
        "wattpost_api_database_timeouts_total",
        Unit::Count,
        "Requests answered with 503 because a query took too long",
    ),
    Metric::histogram(
        "wattpost_api_request_duration_seconds",
        Unit::Seconds,
        "Time to answer a request",
    )
    .labels(&["route"]),
    Metric::counter(
        "wattpost_api_requests_refused_total",
        Unit::Count,
        "Requests that were refused because of their key",
    )
    .labels(&["code"]),
    Metric::counter(
        "wattpost_api_requests_total",
        Unit::Count,
        "Answered requests",
    )
    .labels(&["route", "status"]),
];
