//! What the messages of a transaction have in common.

use super::meter::Reading;
use super::{Changes, Source};
use crate::Timestamp;
use crate::model::{ContentKey, Details, TransactionState};
use crate::natural_key::{NaturalKey, StableHasher, first_u64};
use crate::record::Epoch;
use ocpp::Version;

/// Domain of the hash in a content key; never change it, the keys are stored.
const CONTENT_DOMAIN: &str = "wattpost transaction part 1";

/// The state of the transaction with this id.
pub(crate) fn transaction<'c>(
    changes: &'c mut Changes,
    source: &Source<'_>,
    id: String,
) -> &'c mut TransactionState {
    let key = (source.charger.clone(), id);
    let state = changes.transactions.entry(key).or_default();
    let version = source.record.ocpp_version;
    state
        .version
        .set(source.stamp(source.record.received_at, 0), version);
    state
}

/// Adds details of time `at`, from a message that is not a stop. `is_reusable`: whether the id may be used again.
pub(crate) fn add_details(
    state: &mut TransactionState,
    source: &Source<'_>,
    at: Timestamp,
    is_reusable: bool,
    change: impl FnOnce(&mut Details),
) {
    let heard_at = Some(source.bounded(at));
    add_stop_details(state, source, at, is_reusable, |details| {
        details.heard_at = details.heard_at.max(heard_at);
        change(details);
    });
}

/// Adds details of time `at`, from a stop.
pub(crate) fn add_stop_details(
    state: &mut TransactionState,
    source: &Source<'_>,
    at: Timestamp,
    is_reusable: bool,
    change: impl FnOnce(&mut Details),
) {
    let epoch = match source.record.ocpp_version {
        Version::V16 => Epoch::default(),
        Version::V201 | Version::V21 => source.record.epoch,
    };
    let at = source.bounded(at);
    state.on_connection(epoch, is_reusable.then_some(at), |details| {
        details.note_time(at);
        change(details);
    });
}

/// The key of a start or stop; `natural_key` distinguishes it from all others of the transaction. If the charger's clock
/// was set, the key depends on the message alone, so that a message and its resends have one key.
pub(crate) fn content_key(
    source: &Source<'_>,
    reported: Option<jiff::Timestamp>,
    natural_key: &NaturalKey<'_>,
) -> ContentKey {
    let at = reported.map(Timestamp::from).unwrap_or_default();
    ContentKey {
        at,
        hash: first_u64(&natural_key.stable_hash(CONTENT_DOMAIN, source.charger)),
        record: if at.is_plausible() {
            0
        } else {
            let mut hasher = StableHasher::new(CONTENT_DOMAIN);
            hasher.add(&source.id.to_string());
            hasher.finish_u64().max(1)
        },
    }
}

pub(crate) fn newest(readings: &[Reading]) -> Option<Timestamp> {
    readings.iter().map(|reading| reading.at).max()
}

/// Meters count whole watt-hours; an f64 holds them exactly up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) const fn whole_wh(meter: i64) -> f64 {
    meter as f64
}
