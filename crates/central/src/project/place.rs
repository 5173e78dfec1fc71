//! The EVSE and connector that a message names.

use ocpp::v2;

/// An EVSE and a connector; 1.6 has no EVSEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) evse: Option<i64>,
    pub(crate) connector: Option<i64>,
}

impl Place {
    pub(crate) const fn of_connector(connector: Option<i64>) -> Self {
        Self {
            evse: None,
            connector,
        }
    }

    pub(crate) const fn of_evse(evse: Option<v2::Evse>) -> Self {
        match evse {
            Some(evse) => Self {
                evse: evse.id,
                connector: evse.connector_id,
            },
            None => Self {
                evse: None,
                connector: None,
            },
        }
    }

    pub(crate) const fn is_named(self) -> bool {
        self.evse.is_some() || self.connector.is_some()
    }
}
