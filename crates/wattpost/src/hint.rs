//! Hints of the command line to the gateways over RabbitMQ: the database has something for them. Without a hint they find it
//! by looking, which they do each second.

use crate::config::Settings;
use broker::Broker;
use central::ports::ClusterEvent;
use std::time::Duration;

/// How long a hint may take.
const HINT_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the hint, if there is RabbitMQ and it takes it within [`HINT_TIMEOUT`].
pub(crate) fn give(settings: &Settings, event: &ClusterEvent) {
    if !settings.has_broker() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return;
    };
    runtime.block_on(async {
        let broker = Broker::start(settings.broker.clone(), "command");
        let announced = tokio::time::timeout(HINT_TIMEOUT, broker.announce(event)).await;
        if !matches!(announced, Ok(Ok(()))) {
            tracing::debug!("no hint over RabbitMQ; gateways look within a second");
        }
        let _ = tokio::time::timeout(HINT_TIMEOUT, broker.close()).await;
    });
}
