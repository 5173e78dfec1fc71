//! Where, in 2.x: an EVSE and one of its connectors.

use crate::json::Raw;

/// `EVSEType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evse {
    /// Which EVSE; 0 is the charger as a whole (one stack uses it for a running transaction).
    pub id: Option<i64>,
    /// Which of its connectors.
    pub connector_id: Option<i64>,
}

impl Evse {
    /// `None` for what is no object.
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
