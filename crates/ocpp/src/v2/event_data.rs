//! One event of the device model, in 2.x.

use super::Evse;
use crate::json::Raw;
use jiff::Timestamp;
use std::borrow::Cow;

/// `EventDataType`, with what is nested in `component` and `variable` laid flat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventData<'a> {
    /// The event's number.
    pub event_id: Option<i64>,
    /// When; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// `Alerting`, `Delta`, `Periodic`.
    pub trigger: Option<Cow<'a, str>>,
    /// The event that caused this one.
    pub cause: Option<i64>,
    /// The variable's value.
    pub actual_value: Option<Cow<'a, str>>,
    /// The vendor's error code.
    pub tech_code: Option<Cow<'a, str>>,
    /// Details.
    pub tech_info: Option<Cow<'a, str>>,
    /// Whether an alert is over.
    pub cleared: Option<bool>,
    /// During which transaction.
    pub transaction_id: Option<Cow<'a, str>>,
    /// The monitor that noticed it.
    pub variable_monitoring_id: Option<i64>,
    /// `HardWiredNotification`, `CustomMonitor`, …
    pub event_notification_type: Option<Cow<'a, str>>,
    /// How bad, 0 to 9 (2.1).
    pub severity: Option<i64>,
    /// The component's name: `Connector`, `EVSE`, …
    pub component: Option<Cow<'a, str>>,
    /// Which of several such components.
    pub component_instance: Option<Cow<'a, str>>,
    /// Where the component is.
    pub evse: Option<Evse>,
    /// The variable's name: `AvailabilityState`, …
    pub variable: Option<Cow<'a, str>>,
    /// Which of several such variables.
    pub variable_instance: Option<Cow<'a, str>>,
}

impl<'a> EventData<'a> {
    pub(super) fn read(raw: Raw<'a>) -> Self {
        let mut view = Self::default();
        let _ = raw.members(|name, value| match name {
            "eventId" => view.event_id = value.integer(),
            "timestamp" => view.timestamp = value.timestamp(),
            "trigger" => view.trigger = value.text(),
            "cause" => view.cause = value.integer(),
            "actualValue" => view.actual_value = value.text(),
            "techCode" => view.tech_code = value.text(),
            "techInfo" => view.tech_info = value.text(),
            "cleared" => view.cleared = value.boolean(),
            "transactionId" => view.transaction_id = value.text(),
            "variableMonitoringId" => view.variable_monitoring_id = value.integer(),
            "eventNotificationType" => view.event_notification_type = value.text(),
            "severity" => view.severity = value.integer(),
            "component" => view.read_component(value),
            "variable" => view.read_variable(value),
            _ => {}
        });
        view
    }

    fn read_component(&mut self, raw: Raw<'a>) {
        let _ = raw.members(|name, value| match name {
            "name" => self.component = value.text(),
            "instance" => self.component_instance = value.text(),
            "evse" => self.evse = Evse::read(value),
            _ => {}
        });
    }

    fn read_variable(&mut self, raw: Raw<'a>) {
        let _ = raw.members(|name, value| match name {
            "name" => self.variable = value.text(),
            "instance" => self.variable_instance = value.text(),
            _ => {}
        });
    }
}
