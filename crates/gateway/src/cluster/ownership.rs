//! Ownership of chargers across gateways: the newest connection of a charger is the one that counts, also when the
//! older one is at another gateway.
//!
//! Each accepted connection is published with its epoch. A gateway that receives a newer epoch closes its own
//! connection; one that receives an older epoch publishes its own again. So of two connections that were made at the
//! same moment, each before the other's event arrived, one remains. All gateways compare (epoch, gateway id).
//!
//! Clocks of gateways may differ. A new epoch is above all epochs received, so a charger that moves to another
//! gateway is newer there even if that gateway's clock is behind. *The limit:* if the event was lost (RabbitMQ was
//! unavailable) and the clock is behind by more than the time between the two connections, the older connection wins
//! once; the charger that was closed comes back with an epoch above the one received by then. An epoch that is ahead
//! by more than a day is not followed: a charger that leaves that gateway is closed elsewhere until its old
//! connection there has ended.

use crate::clock::wall_clock;
use crate::connection::control::Stop;
use crate::connection::registry::Registry;
use central::model::ChargerKey;
use central::ports::{ClusterEvent, ClusterEvents};
use central::{Epoch, GatewayId};
use std::sync::Arc;

/// Milliseconds by which a received epoch may be ahead of our clock before it is taken for a mistake.
const AHEAD_MAX: u64 = 24 * 3_600 * 1_000;

/// Tells the other gateways which chargers are connected here, and closes connections of chargers that have a newer one
/// elsewhere.
pub(crate) struct Ownership {
    gateway_id: GatewayId,
    /// `None` where there is only one gateway.
    events: Option<Arc<dyn ClusterEvents>>,
    registry: Arc<Registry>,
}

impl Ownership {
    pub(crate) const fn new(
        gateway_id: GatewayId,
        events: Option<Arc<dyn ClusterEvents>>,
        registry: Arc<Registry>,
    ) -> Self {
        Self {
            gateway_id,
            events,
            registry,
        }
    }

    /// Receives events for as long as the gateway lives.
    pub(crate) fn subscribe(self: &Arc<Self>) {
        let Some(events) = &self.events else {
            return;
        };
        // The carrier of the events may live longer than this gateway.
        let ownership = Arc::downgrade(self);
        events.subscribe(Box::new(move |event| {
            if let Some(ownership) = ownership.upgrade() {
                ownership.receive(event);
            }
        }));
    }

    /// Tells the other gateways that this charger is connected here.
    pub(crate) fn publish(&self, charger_id: &str, epoch: Epoch) {
        if let Some(events) = &self.events {
            events.publish(ClusterEvent::Connected {
                charger_id: charger_id.to_owned(),
                gateway: self.gateway_id,
                epoch,
            });
        }
    }

    fn receive(&self, event: ClusterEvent) {
        match event {
            ClusterEvent::Connected { gateway, .. } if gateway == self.gateway_id => {}
            // For `commands`, and for the API.
            ClusterEvent::CommandsWaiting { .. }
            | ClusterEvent::DisconnectWaiting { .. }
            | ClusterEvent::CommandChanged { .. }
            | ClusterEvent::ProcessReported { .. } => {}
            ClusterEvent::Connected {
                charger_id,
                gateway,
                epoch,
            } => {
                let now = wall_clock().as_millis().unsigned_abs();
                if epoch.0 <= now.saturating_add(AHEAD_MAX) {
                    self.registry.epochs_are_above(epoch);
                } else {
                    tracing::warn!(%gateway, %epoch, "the clock of another gateway is ahead by more than a day");
                }
                let Some(control) = self.registry.find(&ChargerKey::of(&charger_id)) else {
                    return;
                };
                if (epoch, gateway) > (control.epoch, self.gateway_id) {
                    control.stop(Stop::ReplacedElsewhere);
                } else {
                    self.publish(&charger_id, control.epoch);
                }
            }
        }
    }
}
