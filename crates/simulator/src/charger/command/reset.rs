//! Reset.

use super::Answer;
use crate::charger::Charger;
use crate::charger::payload::StopReason;
use crate::timestamp::TimestampUs;
use serde_json::Value;

/// Why a charger boots, for BootNotification of 2.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::charger) enum BootReason {
    PowerUp,
    RemoteReset,
    ScheduledReset,
    FirmwareUpdate,
    Triggered,
}

impl BootReason {
    /// The name in OCPP 2.x.
    pub(in crate::charger) const fn as_str(self) -> &'static str {
        match self {
            Self::PowerUp => "PowerUp",
            Self::RemoteReset => "RemoteReset",
            Self::ScheduledReset => "ScheduledReset",
            Self::FirmwareUpdate => "FirmwareUpdate",
            Self::Triggered => "Triggered",
        }
    }
}

/// What is done after the answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetPlan {
    /// Ends all transactions with this reason and restarts.
    Now(StopReason),
    /// Restarts when no transaction runs.
    WhenIdle,
    /// Connects again, with another password.
    Reconnect,
}

impl Charger {
    pub(super) fn reset_16(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let reason = match payload["type"].as_str() {
            Some("Hard") => StopReason::HardReset,
            _ => StopReason::SoftReset,
        };
        self.kept().reset = Some(ResetPlan::Now(reason));
        Answer::accepted()
    }

    pub(super) fn reset_2(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let kind = payload["type"].as_str();
        if kind == Some("ImmediateAndResume") {
            return self.status_because("Rejected", "UnsupportedParam");
        }
        let connector = match payload.get("evseId") {
            None => None,
            Some(evse) => match self.connector_index(evse) {
                None => return self.status_because("Rejected", "UnknownEvse"),
                Some(index) => Some(index),
            },
        };
        let is_charging = |index: usize| self.connectors[index].is_charging();
        match (kind, connector) {
            // The reset of one EVSE ends its transaction; the charger itself does not boot. An EVSE without a transaction
            // has nothing to end, so a scheduled reset of an EVSE has no further effect.
            (Some("Immediate"), Some(index)) => {
                self.stop(index, StopReason::SoftReset, now);
                Answer::accepted()
            }
            (_, Some(index)) if is_charging(index) => Answer::status("Scheduled"),
            (_, Some(_)) => Answer::accepted(),
            (Some("Immediate"), None) => {
                self.kept().reset = Some(ResetPlan::Now(StopReason::SoftReset));
                Answer::accepted()
            }
            (_, None) => {
                let is_idle = !(0..self.connectors.len()).any(is_charging);
                self.kept().reset = Some(ResetPlan::WhenIdle);
                Answer::status_if(is_idle, "Accepted", "Scheduled")
            }
        }
    }

    /// Restarts the charger if a command asked for it.
    pub(super) fn drive_reset(&mut self, now: TimestampUs) {
        let Some(plan) = self.kept.as_ref().and_then(|kept| kept.reset) else {
            return;
        };
        let reason = match plan {
            ResetPlan::Now(reason) => {
                self.stop_all_transactions(reason, now);
                BootReason::RemoteReset
            }
            ResetPlan::WhenIdle if self.connectors.iter().any(|one| one.is_charging()) => return,
            ResetPlan::WhenIdle => BootReason::ScheduledReset,
            ResetPlan::Reconnect => {
                self.kept().reset = None;
                self.close_connection(now);
                return;
            }
        };
        self.kept().reset = None;
        self.power_cycle(reason, now);
    }
}
