//! `/metrics` of gateway, consumer and API with RabbitMQ and PostgreSQL export together what `docs/metrics.md`
//! describes.

use crate::charger::Charger;
use crate::deployment::{Deployment, TIMEOUT, until};
use crate::metrics_page::Exported;

/// Rows of the page that these processes cannot export.
const ABSENT: [(&str, &str); 4] = [
    (
        "wattpost_api_requests_refused_total",
        "only when a request is refused: it has a label",
    ),
    (
        "wattpost_consumer_refused_batches_total",
        "only when the database refuses a batch: it has a label",
    ),
    ("wattpost_store_log_bytes", "no SQLite"),
    ("wattpost_store_free_bytes", "no SQLite"),
];

#[test]
fn page_of_metrics_describes_what_the_roles_export() {
    let deployment = Deployment::new("");
    let roles = ["gateway", "consumer", "api"].map(|role| deployment.start(role, role));
    let mut charger = Charger::connect(roles[0].ocpp, "CP-1", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");
    deployment.wait_for_stored("Heartbeat", 1);
    let mut differences = Vec::new();
    let is_equal = until(TIMEOUT, || {
        let mut exported = Exported::default();
        for role in &roles {
            exported.add(&role.get("/metrics").1);
        }
        differences = exported.differences(&ABSENT);
        differences.is_empty()
    });
    assert!(is_equal, "{differences:#?}");
}
