//! An EVSE and one of its connectors (2.x).

use crate::json::Raw;

/// `EVSEType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evse {
    /// The EVSE; 0 is the charger as a whole (one charger stack writes it for a running transaction).
    pub id: Option<i64>,
    /// The connector of that EVSE.
    pub connector_id: Option<i64>,
}

impl Evse {
    /// `None` if it is not an object.
    pub(super) fn read(raw: Raw<'_>) -> Option<Self> {
        let mut view = Self::default();
        let result = raw.members(|name, value| match name {
            "id" => view.id = value.integer(),
            "connectorId" => view.connector_id = value.integer(),
            _ => {}
        });
        (result.is_ok() && !raw.is_null()).then_some(view)
    }
}
