//! One event of the device model, in 2.x.

use super::Evse;
use crate::json::Raw;
use jiff::Timestamp;
use std::borrow::Cow;

/// `EventDataType`, flattened: the members of `component` and `variable` are fields of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventData<'a> {
    /// When it happened; `None` when missing or unreadable.
    pub timestamp: Option<Timestamp>,
    /// The variable's value.
    pub actual_value: Option<Cow<'a, str>>,
    /// The component's name: `Connector`, `EVSE`, …
    pub component: Option<Cow<'a, str>>,
    /// The EVSE and connector of the component.
    pub evse: Option<Evse>,
    /// The variable's name: `AvailabilityState`, …
    pub variable: Option<Cow<'a, str>>,
}

impl<'a> EventData<'a> {
    pub(super) fn read(raw: Raw<'a>) -> Self {
        let mut view = Self::default();
        let _ = raw.members(|name, value| match name {
            "timestamp" => view.timestamp = value.timestamp(),
            "actualValue" => view.actual_value = value.text(),
            "component" => view.read_component(value),
            "variable" => view.read_variable(value),
            _ => {}
        });
        view
    }

    fn read_component(&mut self, raw: Raw<'a>) {
        let _ = raw.members(|name, value| match name {
            "name" => self.component = value.text(),
            "evse" => self.evse = Evse::read(value),
            _ => {}
        });
    }

    fn read_variable(&mut self, raw: Raw<'a>) {
        let _ = raw.members(|name, value| {
            if name == "name" {
                self.variable = value.text();
            }
        });
    }
}
