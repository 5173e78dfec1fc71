//! The status of connectors.

use super::{Changes, Source};
use crate::Timestamp;
use crate::model::{ConnectorStatus, StatusOrder};

/// Sets the status of `place`, which is (EVSE, connector). `reported` is the charger's time, and `part` the number of the
/// status within its message.
pub(crate) fn set(
    changes: &mut Changes,
    source: &Source<'_>,
    place: (i64, i64),
    reported: Option<jiff::Timestamp>,
    part: usize,
    status: ConnectorStatus,
) {
    let stamp = source.stamp(source.effective(reported), part);
    let order = StatusOrder::new(source.record.epoch, reported.map(Timestamp::from), stamp);
    let key = (source.charger.clone(), place.0, place.1);
    changes
        .connectors
        .entry(key)
        .or_default()
        .set(order, status);
}
