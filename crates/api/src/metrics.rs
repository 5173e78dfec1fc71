//! The table of the metrics of this crate: name, kind, unit, meaning and labels of each.

use common::metrics::{Metric, Unit};

/// All metrics of this crate. A test of the binary compares them with the names in the code.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "wattpost_api_connections",
        Unit::Count,
        "Open connections to the HTTP server",
    ),
    Metric::gauge(
        "wattpost_pipeline_missing_records",
        Unit::Count,
        "Acknowledged records that nothing explains: confirmed a minute ago, not stored, and in no queue; NaN while that is not known",
    ),
    Metric::counter(
        "wattpost_api_database_busy_total",
        Unit::Count,
        "Requests answered with 503 because too many queries were running",
    ),
    Metric::counter(
        "wattpost_api_database_crowded_total",
        Unit::Count,
        "Requests answered with 503 because the same caller had its share of the running queries",
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
    Metric::gauge(
        "wattpost_alerts_evaluating",
        Unit::Bool,
        "Whether this process evaluates alerts; one at a time does",
    ),
    Metric::counter(
        "wattpost_alerts_failures_total",
        Unit::Count,
        "Rounds of the evaluation of alerts that could not use the database; what has changed is stored later",
    ),
    Metric::gauge(
        "wattpost_alerts_firing",
        Unit::Count,
        "Alerts that fire, in the process that evaluates them",
    )
    .labels(&["severity"]),
    Metric::counter(
        "wattpost_alerts_mails_total",
        Unit::Count,
        "Mails of alerts: `accepted` or `refused` by the server; a refused one is tried again",
    )
    .labels(&["result"]),
    Metric::counter(
        "wattpost_alerts_refused_total",
        Unit::Count,
        "Conditions that were not taken, because 20,000 alerts are pending or firing",
    ),
    Metric::gauge(
        "wattpost_alerts_round_seconds",
        Unit::Seconds,
        "How long the last round of the evaluation of alerts took",
    ),
    Metric::counter(
        "wattpost_webhooks_attempts_total",
        Unit::Count,
        "Attempts to deliver an event to a webhook: `delivered`, `refused` by a status other than 2xx, or `failed` without a \
         response",
    )
    .labels(&["result"]),
    Metric::counter(
        "wattpost_webhooks_failures_total",
        Unit::Count,
        "Failed calls of the database for webhooks; the webhook waits and goes on where it was",
    ),
    Metric::counter(
        "wattpost_webhooks_gaps_total",
        Unit::Count,
        "Webhooks that missed events, because these are no longer kept or the database was restored",
    ),
    Metric::counter(
        "wattpost_webhooks_switched_off_total",
        Unit::Count,
        "Webhooks that were switched off after 5 days of failures, or by 410 Gone",
    ),
    Metric::gauge(
        "wattpost_webhooks_waiting",
        Unit::Count,
        "Events that the enabled webhook that is furthest behind has not passed yet, whether it selects them or not",
    ),
];
