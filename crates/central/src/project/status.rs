//! The status of connectors.

use super::{Changes, Source};
use crate::model::{ConnectorStatus, Stamp};

/// Sets the status of `place`, which is (EVSE, connector).
pub(crate) fn set(
    changes: &mut Changes,
    source: &Source<'_>,
    place: (i64, i64),
    stamp: Stamp,
    status: ConnectorStatus,
) {
    let key = (source.charger.clone(), place.0, place.1);
    let state = changes.connectors.entry(key).or_default();
    state.status.set(stamp, status);
}
