//! How fast messages are taken in, and whether any are.

pub(crate) mod controller;
pub(crate) mod pace;
pub(crate) mod watch;

use crate::admission::handshake::Refusal;
use crate::admission::unavailable;
use crate::config::GatewayConfig;
use crate::connection::unfinished::Budget;
use crate::flow::pace::Pace;
use std::sync::Arc;
use std::time::Duration;

/// What holds messages back.
pub(crate) struct Flow {
    /// The pace of accepted chargers; set during overload only.
    pub(crate) pace: Pace,
    /// The pace of chargers that are not accepted; always set.
    pub(crate) unaccepted: Pace,
    /// Bytes held of messages that are unfinished, or wait.
    pub(crate) budget: Arc<Budget>,
    wait_max: Duration,
}

impl Flow {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            pace: Pace::new(),
            unaccepted: Pace::new(),
            budget: Budget::new(config.unfinished_bytes_max),
            wait_max: Duration::from_millis(config.pace_wait_ms_max),
        }
    }

    /// Whether one more connection is allowed while messages are paced: few are.
    ///
    /// # Errors
    /// With the 503 to refuse it with.
    pub(crate) fn may_enter(&self) -> Result<(), Refusal> {
        if self.pace.may_enter(self.wait_max) {
            return Ok(());
        }
        unavailable(
            "Messages arrive faster than they can be stored just now; keep yours and come back in a moment.",
        )
    }
}
