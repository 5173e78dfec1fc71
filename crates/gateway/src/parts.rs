//! The parts of a gateway, for the tasks that need most of them: accepting a charger, serving its connection, and the
//! regular checks of `flow::watch`. They share one `Arc`, because an idle connection should hold one pointer and not
//! ten. Every other task gets only what it uses.

use crate::admission::Admission;
use crate::cluster::ownership::Ownership;
use crate::commands::Commands;
use crate::config::GatewayConfig;
use crate::connection::frames::FrameOptions;
use crate::connection::registry::Registry;
use crate::delivery::Delivery;
use crate::directory::Directory;
use crate::flow::Flow;
use crate::hand_over::CarriedConnection;
use crate::metrics::Metrics;
use crate::running::Running;
use std::sync::{Arc, Mutex};

/// All parts of one gateway.
pub(crate) struct Parts {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) metrics: Arc<Metrics>,
    /// Which chargers and tokens are known.
    pub(crate) directory: Arc<Directory>,
    /// Which tokens are in a transaction.
    pub(crate) running: Arc<Running>,
    /// Which chargers are connected.
    pub(crate) registry: Arc<Registry>,
    /// Who may connect.
    pub(crate) admission: Arc<Admission>,
    /// The journal and the way from it to the sink.
    pub(crate) delivery: Arc<Delivery>,
    /// How fast messages are taken in.
    pub(crate) flow: Flow,
    /// Which gateway has a charger's newest connection.
    pub(crate) ownership: Arc<Ownership>,
    /// Commands to the connected chargers.
    pub(crate) commands: Arc<Commands>,
    pub(crate) frame_options: FrameOptions,
    /// Connections that are ready for another process.
    pub(crate) carried: Mutex<Vec<CarriedConnection>>,
}
