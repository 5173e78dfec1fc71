//! From the journal to the sink.

pub(crate) mod ack_gate;
pub(crate) mod failover;
pub(crate) mod forwarder;
pub(crate) mod status;
pub(crate) mod verify;

use crate::config::GatewayConfig;
use crate::delivery::ack_gate::AckGate;
use crate::delivery::status::DeliveryStatus;
use crate::delivery::verify::Verified;
use crate::metrics::Metrics;
use central::GatewayId;
use central::ports::Sink;
use journal::Journal;
use std::sync::Arc;

/// What delivery works with.
pub(crate) struct Delivery {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) journal: Journal,
    pub(crate) gateway_id: GatewayId,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) status: DeliveryStatus,
    /// What reading all waiting records once has found.
    pub(crate) verified: Verified,
    pub(crate) ack_gate: AckGate,
}

impl Delivery {
    /// Records that are durable in the journal and not yet delivered.
    pub(crate) fn backlog(&self) -> u64 {
        let durable = self.journal.durable_seq();
        durable.saturating_sub(self.journal.cursor())
    }
}
