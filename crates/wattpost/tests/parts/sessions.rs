//! The sessions of `testbed::sessions`, through a gateway, RabbitMQ, a consumer and PostgreSQL.

use crate::deployment::{Deployment, TIMEOUT, until};
use crate::players::{Exported, Playthrough};

#[test]
fn every_session_is_shown_as_expected() {
    let deployment = Deployment::new("");
    let gateway = deployment.start("gateway", "gateway");
    let _consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    assert!(until(TIMEOUT, || gateway.is_up("rabbitmq")));
    let playthrough = Playthrough::of_all_sessions(gateway.ocpp);
    let mut exported = Exported::default();
    assert!(until(2 * TIMEOUT, || {
        exported.messages = deployment.export("messages");
        playthrough.is_stored(&exported.messages)
    }));
    exported.transactions = deployment.export("transactions");
    exported.connectors = deployment.export("connectors");
    let faults = playthrough.faults(&exported, api.http);
    assert!(
        faults.is_empty(),
        "{} chargers, {} faults:\n{}",
        playthrough.len(),
        faults.len(),
        faults.join("\n")
    );
}
