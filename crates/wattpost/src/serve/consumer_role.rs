//! The role `consumer`: stores records from RabbitMQ in the database.

use super::gateway_role::close_applier;
use crate::config::Settings;
use crate::database::Database;
use anyhow::Result;
use broker::Broker;
use central::ports::HealthProbe;
use consumer::{Applier, Consumer, ConsumerDeps};
use std::sync::Arc;
use std::time::Duration;

/// A stop waits no longer for the current batch.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running consumer and its applier.
pub(crate) struct ConsumerRole {
    consumer: Consumer,
    applier: Arc<Applier>,
}

impl ConsumerRole {
    /// Starts consuming. Must be called within a Tokio runtime. If the process is also a gateway, the applier runs with
    /// `consumer.niceness`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(
        settings: &Settings,
        database: &Database,
        broker: &Arc<Broker>,
        shares_with_gateway: bool,
    ) -> Result<Self> {
        let mut applying = settings.consumer.clone();
        if !shares_with_gateway {
            // This process has no answers to chargers that the applier could delay.
            applying.niceness = 0;
        }
        let applier = Arc::new(Applier::start(Arc::clone(&database.store), applying)?);
        let pinged = Arc::clone(&database.maintenance);
        let consumer = Consumer::start(
            ConsumerDeps {
                source: Arc::clone(broker) as _,
                applier: Arc::clone(&applier),
                database_ping: Arc::new(move || pinged.ping()),
            },
            settings.consumer.clone(),
        );
        Ok(Self { consumer, applier })
    }

    pub(crate) fn probes(&self) -> Vec<Arc<dyn HealthProbe>> {
        vec![self.consumer.probe(), Arc::clone(&self.applier) as _]
    }

    pub(crate) fn applier(&self) -> Arc<Applier> {
        Arc::clone(&self.applier)
    }

    pub(crate) async fn shutdown(&self) {
        self.consumer.shutdown(STOP_TIMEOUT).await;
        close_applier(Arc::clone(&self.applier)).await;
    }
}
