//! Events between processes: of two connections of one charger only the newest stays open, a gateway learns at once of
//! commands, and a waiting client of their outcomes; and every API process learns how the other processes are.

use crate::model::{CommandId, ProcessReport};
use crate::record::{Epoch, GatewayId};
use serde::{Deserialize, Serialize};

/// An event between processes. Nothing durable depends on it: an event may be lost or late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum ClusterEvent {
    /// A charger has connected to a gateway: an older connection of it elsewhere has ended.
    Connected {
        /// Its identity in the directory's spelling.
        charger_id: String,
        /// The gateway that holds its newest connection.
        gateway: GatewayId,
        /// The connection's epoch (milliseconds at its start): the greater one is the newer.
        epoch: Epoch,
    },
    /// A charger may have commands that can be claimed.
    CommandsWaiting {
        /// Its identity in any letter case.
        charger_id: String,
    },
    /// The database has a request to close a connection of this gateway.
    DisconnectWaiting {
        /// The gateway.
        gateway: GatewayId,
    },
    /// The database has a change of a command.
    CommandChanged {
        /// The command.
        id: CommandId,
    },
    /// A process reports what it does, so that an API process can show it also while the database is unavailable.
    ProcessReported {
        /// The report.
        report: Box<ProcessReport>,
    },
}

/// Carries [`ClusterEvent`] between processes.
pub trait ClusterEvents: Send + Sync + 'static {
    /// Sends the event to all other processes. Never waits; an event that cannot be sent now is dropped.
    fn publish(&self, event: ClusterEvent);

    /// Calls `on_event` for each event of another process from now on, for the life of this value.
    /// `on_event` must not block.
    fn subscribe(&self, on_event: Box<dyn Fn(ClusterEvent) + Send + Sync>);
}
