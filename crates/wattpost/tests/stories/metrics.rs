//! `/metrics` of `wattpost serve` without RabbitMQ exports what `docs/metrics.md` describes.

use crate::charger::Charger;
use crate::deployment::{Deployment, until};
use crate::metrics_page::Exported;
use std::time::Duration;

/// Rows of the page that this process cannot export.
const ABSENT: [(&str, &str); 9] = [
    (
        "wattpost_api_requests_refused_total",
        "only when a request is refused: it has a label",
    ),
    ("wattpost_broker_*", "no RabbitMQ"),
    ("wattpost_consumer_consuming", "no RabbitMQ"),
    ("wattpost_gateway_sink_direct", "no RabbitMQ"),
    ("wattpost_gateway_sink_records_total", "no RabbitMQ"),
    (
        "wattpost_consumer_refused_batches_total",
        "only when the database refuses a batch: it has a label",
    ),
    ("wattpost_store_durable", "no PostgreSQL"),
    ("wattpost_store_table_bytes", "no PostgreSQL"),
    ("wattpost_store_table_rows", "no PostgreSQL"),
];

#[test]
fn page_of_metrics_describes_what_serve_exports() {
    let deployment = Deployment::start("");
    let mut charger = Charger::connect(deployment.ocpp, "CP-1", "ocpp1.6");
    charger.call(
        "1",
        "BootNotification",
        r#"{"chargePointVendor":"V","chargePointModel":"M"}"#,
    );
    charger.call("2", "Heartbeat", "{}");
    let mut other = Charger::connect(deployment.ocpp, "CP-2", "ocpp2.0.1");
    other.call("1", "Heartbeat", "{}");
    let mut differences = Vec::new();
    let is_equal = until(Duration::from_secs(60), || {
        deployment.get("/health/ready");
        let mut exported = Exported::default();
        exported.add(&deployment.get("/metrics").1);
        differences = exported.differences(&ABSENT);
        differences.is_empty()
    });
    assert!(is_equal, "{differences:#?}");
}
