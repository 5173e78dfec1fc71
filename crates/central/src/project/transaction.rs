//! Transactions, from the three messages of 1.6 and the one of 2.x.

use super::charger::{member, owned};
use super::meter::{self, Reading};
use super::place::Place;
use super::{Changes, Source};
use crate::Timestamp;
use crate::model::{ContentKey, Start, Stop, TransactionState, unnamed_stop_id};
use crate::natural_key::{NaturalKey, StableHasher, first_u64};
use crate::transaction_id::transaction_id;
use ocpp::json::Raw;
use ocpp::{v2, v16};

/// Where the hash in a content key comes from; never change, the keys are stored.
const CONTENT_DOMAIN: &str = "wattpost transaction part 1";

pub(crate) fn start(changes: &mut Changes, source: &Source<'_>) {
    // A broken start is a start all the same: the charger has an id of ours for it.
    let view = v16::StartTransaction::read(source.record.payload).unwrap_or_default();
    let (id, verdict) = start_answer(source);
    let at = source.effective(view.timestamp);
    let stamp = source.stamp(at, 0);
    let meter_wh = view.meter_start.map(whole_wh);
    let place = Place::of_connector(view.connector_id);
    let id_token = owned(view.id_tag);
    let start = Start {
        evse: None,
        connector: place.connector,
        id_token: id_token.clone(),
        token_type: None,
        meter_wh,
        reservation_id: view.reservation_id,
        remote_start_id: None,
        verdict: verdict.clone(),
    };
    let key = content_key(source, view.timestamp);
    let state = transaction(changes, source, id.to_string(), at);
    state.starts.entry(key).or_default().set(stamp, start);
    state.bound();
    state.place.set(stamp, (place.evse, place.connector));
    if let Some(token) = id_token {
        state.token.set(stamp, (token, None));
    }
    if let Some(verdict) = verdict {
        state.verdict.set(stamp, verdict);
    }
    if let Some(meter_wh) = meter_wh {
        state.energy_first_wh.set(stamp, meter_wh);
        state.energy_last_wh.set(stamp, meter_wh);
    }
}

/// The id and the verdict that the charger was told.
fn start_answer(source: &Source<'_>) -> (i64, Option<String>) {
    let (mut id, mut verdict) = (None, None);
    let _ = Raw::new(source.record.answer).members(|name, value| match name {
        "transactionId" => id = value.integer(),
        "idTagInfo" => verdict = owned(member(value.as_str(), "status")),
        _ => {}
    });
    let derived = || transaction_id(source.record.charger_id, source.record.payload).into();
    (id.unwrap_or_else(derived), verdict)
}

pub(crate) fn stop(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v16::StopTransaction::read(source.record.payload) else {
        return;
    };
    let id = view.transaction_id.map(|id| id.to_string());
    let readings = meter::rows(
        changes,
        source,
        "transactionData",
        &view.transaction_data,
        Place::default(),
        id.as_deref(),
    );
    let at = source.effective(view.timestamp);
    let stamp = source.stamp(at, 0);
    let meter_wh = view.meter_stop.map(whole_wh);
    let stop = Stop {
        meter_wh,
        // No reason means Local (F-12).
        reason: owned(view.reason).or_else(|| Some("Local".to_owned())),
        id_token: owned(view.id_tag),
    };
    let key = content_key(source, view.timestamp);
    let id = match view.transaction_id {
        Some(1..) => id.unwrap_or_default(),
        // It names no transaction.
        _ => unnamed_stop_id(&id.unwrap_or_default(), &key),
    };
    let state = transaction(changes, source, id, at);
    state.stops.entry(key).or_default().set(stamp, stop);
    state.bound();
    measure(state, source, &readings);
    if let Some(meter_wh) = meter_wh {
        // Of all that is told of that moment, this is the last.
        let stamp = source.stamp(at, usize::MAX);
        state.energy_last_wh.set(stamp, meter_wh);
    }
}

pub(crate) fn meter_values(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v16::MeterValues::read(source.record.payload) else {
        return;
    };
    let place = Place::of_connector(view.connector_id);
    let id = view.transaction_id.map(|id| id.to_string());
    let values = &view.meter_value;
    let readings = meter::rows(changes, source, "meterValue", values, place, id.as_deref());
    // 0 and below are what chargers write when they never got an id: rows, but no transaction.
    let Some(id) = id.filter(|_| view.transaction_id > Some(0)) else {
        return;
    };
    let at = newest(&readings).unwrap_or(source.record.received_at);
    let stamp = source.stamp(at, 0);
    let state = transaction(changes, source, id, at);
    if place.is_named() {
        state.place.set(stamp, (place.evse, place.connector));
    }
    measure(state, source, &readings);
}

pub(crate) fn event(changes: &mut Changes, source: &Source<'_>) {
    let Ok(view) = v2::TransactionEvent::read(source.record.payload) else {
        return;
    };
    let place = Place::of_evse(view.evse);
    let id = owned(view.transaction_id);
    let values = &view.meter_value;
    let readings = meter::rows(changes, source, "meterValue", values, place, id.as_deref());
    let Some(id) = id else {
        return;
    };
    let at = source.effective(view.timestamp);
    let stamp = source.stamp(at, 0);
    let key = content_key(source, view.timestamp);
    let (id_token, token_type) = match view.id_token {
        Some(token) => (owned(token.id_token), owned(token.token_type)),
        None => (None, None),
    };
    let mut verdict = None;
    let _ = Raw::new(source.record.answer).members(|name, value| {
        if name == "idTokenInfo" {
            verdict = owned(member(value.as_str(), "status"));
        }
    });
    let energy = |reading: &Reading| reading.energy_wh;

    let state = transaction(changes, source, id, at);
    match view.event_type.as_deref() {
        Some("Started") => {
            let start = Start {
                evse: place.evse,
                connector: place.connector,
                id_token: id_token.clone(),
                token_type: token_type.clone(),
                meter_wh: readings.iter().find_map(energy),
                reservation_id: view.reservation_id,
                remote_start_id: view.remote_start_id,
                verdict: verdict.clone(),
            };
            state.starts.entry(key).or_default().set(stamp, start);
        }
        Some("Ended") => {
            let stop = Stop {
                meter_wh: readings.iter().rev().find_map(energy),
                reason: owned(view.stopped_reason),
                id_token: id_token.clone(),
            };
            state.stops.entry(key).or_default().set(stamp, stop);
        }
        _ => {}
    }
    state.bound();
    // A number that no counter reaches would push all others out of the window.
    if let Some(seq_no) = view
        .seq_no
        .filter(|seq_no| (0..=i64::from(i32::MAX)).contains(seq_no))
    {
        state.seq.insert(seq_no);
    }
    state.offline |= view.offline == Some(true);
    if place.is_named() {
        state.place.set(stamp, (place.evse, place.connector));
    }
    if let Some(token) = id_token {
        state.token.set(stamp, (token, token_type));
    }
    if let Some(verdict) = verdict {
        state.verdict.set(stamp, verdict);
    }
    if let Some(charging_state) = owned(view.charging_state) {
        state.charging_state.set(stamp, charging_state);
    }
    if let Some(remote_start_id) = view.remote_start_id {
        state.remote_start_id.set(stamp, remote_start_id);
    }
    if let Some(reservation_id) = view.reservation_id {
        state.reservation_id.set(stamp, reservation_id);
    }
    measure(state, source, &readings);
}

/// The state that a message speaks of, at a moment.
fn transaction<'c>(
    changes: &'c mut Changes,
    source: &Source<'_>,
    id: String,
    at: Timestamp,
) -> &'c mut TransactionState {
    let key = (source.charger.to_owned(), id);
    let state = changes.transactions.entry(key).or_default();
    let version = source.record.ocpp_version;
    state
        .version
        .set(source.stamp(source.record.received_at, 0), version);
    state.spoken_of(source.heard(at));
    state
}

/// Follows from the message alone, so that its repeats fall together, where the charger's clock was set.
fn content_key(source: &Source<'_>, told: Option<jiff::Timestamp>) -> ContentKey {
    let record = source.record;
    let key = NaturalKey::of_part(record.ocpp_version, record.action, record.payload);
    let at = told.map(Timestamp::from).unwrap_or_default();
    ContentKey {
        at,
        hash: key.map_or(0, |key| {
            first_u64(&key.stable_hash(CONTENT_DOMAIN, source.charger))
        }),
        record: if at.is_plausible() {
            0
        } else {
            let mut hasher = StableHasher::new(CONTENT_DOMAIN);
            hasher.add(&source.id.to_string());
            hasher.finish_u64().max(1)
        },
    }
}

fn measure(state: &mut TransactionState, source: &Source<'_>, readings: &[Reading]) {
    for (part, reading) in readings.iter().enumerate() {
        let stamp = source.stamp(reading.at, part);
        if let Some(energy_wh) = reading.energy_wh {
            state.energy_first_wh.set(stamp, energy_wh);
            state.energy_last_wh.set(stamp, energy_wh);
        }
        if let Some(power_w) = reading.power_w {
            state.power_w.set(stamp, power_w);
        }
        if let Some(soc_percent) = reading.soc_percent {
            state.soc_percent.set(stamp, soc_percent);
        }
    }
}

fn newest(readings: &[Reading]) -> Option<Timestamp> {
    readings.iter().map(|reading| reading.at).max()
}

/// Meters count whole watt-hours; an f64 holds them exactly up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "see above")]
const fn whole_wh(meter: i64) -> f64 {
    meter as f64
}
