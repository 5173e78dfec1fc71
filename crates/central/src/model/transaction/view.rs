//! Separates what was reported under one id into transactions.

use super::energy::{Confidence, Energy, EnergyCheck, RegisterSource, SessionEnd};
use super::readings::Readings;
use super::{
    Closed, ContentKey, Details, PlaceStop, Start, Stop, TransactionState,
    written_id_of_unnamed_stop,
};
use crate::Timestamp;
use crate::model::{ChargerKey, First, Merge, Stamp};
use crate::natural_key::StableHasher;
use ocpp::Version;
use serde::Serialize;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// A transaction, as the API and exports show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransactionView {
    /// Its key, derived from its start: always the same, and unique. While `started_at` is `None` the key is derived from
    /// the id on the wire; after the start has arrived, the store still finds the transaction by that first key.
    pub key: Uuid,
    /// The charger's identity, as the caller spells it.
    pub charger_id: String,
    /// The id on the wire: given by the central system (1.6) or by the charger (2.x).
    pub transaction_id: String,
    /// The OCPP version of its messages.
    pub ocpp_version: Option<Version>,
    /// The EVSE (2.x).
    pub evse: Option<i64>,
    /// The connector.
    pub connector: Option<i64>,
    /// The token.
    pub id_token: Option<String>,
    /// The token's type (2.x).
    pub token_type: Option<String>,
    /// The token's status in the answer.
    pub verdict: Option<String>,
    /// When it started; `None` if its start has not arrived.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub started_at: Option<Timestamp>,
    /// When it ended; `None` if it is open.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub ended_at: Option<Timestamp>,
    /// Whether it runs: its stop has not arrived, and it was not closed.
    pub open: bool,
    /// The latest time in any of its messages.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub last_at: Option<Timestamp>,
    /// Meter reading at the start, in watt-hours.
    pub meter_start_wh: Option<f64>,
    /// Meter reading at the end, in watt-hours.
    pub meter_stop_wh: Option<f64>,
    /// What was charged so far, in watt-hours; never negative. See [`TransactionView::checks`].
    pub energy_wh: Option<f64>,
    /// How far the energy can be trusted; `None` if it is unknown.
    pub energy_confidence: Option<Confidence>,
    /// Where the register at the start comes from.
    pub energy_from: Option<RegisterSource>,
    /// Where the register at the end (while it is open: the last one) comes from.
    pub energy_to: Option<RegisterSource>,
    /// What is doubtful about the energy, each with a remedy.
    pub checks: Vec<EnergyCheck>,
    /// The last power, in watts.
    pub power_w: Option<f64>,
    /// The last state of charge, in percent.
    pub soc_percent: Option<f64>,
    /// chargingState (2.x).
    pub charging_state: Option<String>,
    /// Why it ended.
    pub stop_reason: Option<String>,
    /// The id of the remote start that started it (2.x).
    pub remote_start_id: Option<i64>,
    /// The reservation that it uses.
    pub reservation_id: Option<i64>,
    /// Whether any message was queued by the charger while offline (2.x).
    pub offline: bool,
    /// Missing sequence numbers between the first and the last, as inclusive ranges (2.x).
    pub missing_seq: Vec<(i64, i64)>,
    /// The number of further stops with the same id and other content; the first stop counts.
    pub conflicting_stops: usize,
    /// Why it counts as ended although no stop had arrived; `None` if it does not.
    pub closed: Option<Closed>,
    /// What the energy and the times are derived from.
    #[serde(skip)]
    pub source: SessionSource,
}

/// What the energy and the times of a session are derived from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionSource {
    start: Option<SessionBound>,
    stop: Option<SessionBound>,
    readings: Readings,
    /// The earliest time in any message.
    pub(super) first_at: Option<Timestamp>,
    /// The latest time in any message except the stop.
    pub(super) heard_at: Option<Timestamp>,
}

impl SessionSource {
    /// When the start and the stop were received, as far as they have arrived.
    pub fn received_at(&self) -> impl Iterator<Item = Timestamp> {
        [self.start, self.stop]
            .into_iter()
            .flatten()
            .map(|bound| bound.received_at)
    }

    /// The earliest and the latest time in any message.
    pub fn times(&self) -> impl Iterator<Item = Timestamp> {
        [self.first_at, self.heard_at].into_iter().flatten()
    }

    /// How far the charger's clock is ahead at least, in milliseconds; 0 if nothing shows that it is.
    pub(crate) fn ahead_ms(&self) -> i64 {
        let bounds = [self.start, self.stop].into_iter().flatten();
        bounds.map(SessionBound::ahead_ms).max().unwrap_or_default()
    }

    /// When it started, never later than the start arrived; and when that arrived.
    pub(super) fn start_times(&self) -> Option<(Timestamp, Timestamp)> {
        self.start.map(|start| (start.at, start.received_at))
    }

    /// When it started, as the charger wrote it; when its start arrived if the clock was never set.
    pub(super) fn written_start_at(&self) -> Option<Timestamp> {
        self.start.map(|start| start.written_at.unwrap_or(start.at))
    }

    pub(super) fn place_stop(&self) -> Option<PlaceStop> {
        self.stop.map(|stop| PlaceStop {
            written_at: stop.written_at.unwrap_or(stop.at),
            received_at: stop.received_at,
        })
    }

    pub(super) fn add_readings(&mut self, readings: Readings) {
        self.readings.merge(readings);
    }

    /// The register of the start or, if it has none above 0, the first reading; in watt-hours. Unlike the register that
    /// energy is derived from, it does not depend on later readings, so they do not change the list.
    pub(super) fn first_register_wh(&self) -> Option<f64> {
        let own = self.start.and_then(|start| start.register_wh);
        let readings = &self.readings;
        own.filter(|wh| *wh > 0.0)
            .or_else(|| readings.begin.get().copied())
            .or_else(|| readings.first.get().copied())
    }

    /// The register of the stop, if it is above 0; in watt-hours.
    pub(super) fn stop_register_wh(&self) -> Option<f64> {
        let own = self.stop.and_then(|stop| stop.register_wh);
        own.filter(|wh| *wh > 0.0)
    }
}

/// The time and the register of a start or a stop.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SessionBound {
    /// The charger's time, but never later than the time of reception.
    at: Timestamp,
    /// The charger's time as written; `None` if its clock was never set.
    written_at: Option<Timestamp>,
    received_at: Timestamp,
    register_wh: Option<f64>,
}

impl SessionBound {
    fn new(key: ContentKey, stamp: Stamp, register_wh: Option<f64>) -> Self {
        Self {
            at: stamp.at,
            written_at: key.at.is_plausible().then_some(key.at),
            received_at: stamp.received_at,
            register_wh,
        }
    }

    const fn end(self) -> SessionEnd {
        SessionEnd {
            at: self.written_at,
            register_wh: self.register_wh,
        }
    }

    /// How far the charger's clock is ahead at least, in milliseconds: no event is reported before it happens.
    fn ahead_ms(self) -> i64 {
        let ahead = |written: Timestamp| written.as_millis() - self.received_at.as_millis();
        self.written_at.map_or(0, ahead).max(0)
    }

    /// The charger's time minus `ahead_ms`.
    fn corrected(self, ahead_ms: i64) -> Timestamp {
        self.written_at
            .map_or(self.at, |written| written.plus_millis(-ahead_ms))
    }
}

/// When a session started and ended.
fn times(
    start: Option<SessionBound>,
    stop: Option<SessionBound>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let (Some(start), Some(stop)) = (start, stop) else {
        let own = |bound: SessionBound| bound.corrected(bound.ahead_ms());
        return (start.map(own), stop.map(own));
    };
    // Both times are corrected by the same amount, so the duration remains the one that the charger measured.
    let ahead_ms = start.ahead_ms().max(stop.ahead_ms());
    let (started_at, ended_at) = (start.corrected(ahead_ms), stop.corrected(ahead_ms));
    if ended_at >= started_at {
        return (Some(started_at), Some(ended_at));
    }
    // The clock was set in between, so the two times are of two clocks.
    let started_at = start.corrected(start.ahead_ms());
    let ended_at = stop.corrected(stop.ahead_ms());
    if ended_at >= started_at {
        return (Some(started_at), Some(ended_at));
    }
    (Some(started_at), Some(stop.received_at.max(started_at)))
}

/// Domain of the hash in a transaction's key; never change it, the keys are stored.
const KEY_DOMAIN: &str = "wattpost transaction key 1";

#[derive(Debug)]
struct Part<'a, T> {
    key: ContentKey,
    stamp: Stamp,
    value: &'a T,
}

impl<T> Clone for Part<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

fn parts<T>(map: &std::collections::BTreeMap<ContentKey, First<T>>) -> Vec<Part<'_, T>> {
    let mut parts: Vec<_> = map
        .iter()
        .filter_map(|(key, first)| {
            Some(Part {
                key: *key,
                stamp: first.stamp()?,
                value: first.get()?,
            })
        })
        .collect();
    parts.sort_by_key(|part| (part.stamp, part.key));
    parts
}

pub(super) fn views(
    state: &TransactionState,
    charger: &str,
    transaction_id: &str,
) -> Vec<TransactionView> {
    let scene = Scene {
        state,
        charger,
        transaction_id,
        is_v16: state.version.get() == Some(&Version::V16),
    };
    let starts = parts(&state.starts);
    let stops = parts(&state.stops);
    if scene.is_v16
        && let Some(written_id) = written_id_of_unnamed_stop(transaction_id)
    {
        return stops
            .first()
            .map(|stop| scene.unnamed_stop(written_id, stop))
            .into_iter()
            .collect();
    }
    let (lost, stops): (Vec<_>, Vec<_>) = stops
        .into_iter()
        .partition(|stop| !scene.is_v16 && is_of_lost_start(stop, &starts));
    let mut views = Vec::new();
    let mut from = Timestamp(i64::MIN);
    if let Some(last) = lost.iter().map(|stop| stop.stamp.at).max() {
        views.push(scene.only(None, &lost, &(from..=last)));
        from = last.plus_millis(1);
    }
    match starts.len() {
        0 | 1 => views.push(scene.only(starts.first(), &stops, &(from..=Timestamp(i64::MAX)))),
        _ => views.extend(scene.several(&starts, &stops, from)),
    }
    views
}

/// Whether the stop is of an earlier session, whose start never arrived, under an id that was used again (2.x): by the
/// charger's clock and by reception it is before all starts.
fn is_of_lost_start(stop: &Part<'_, Stop>, starts: &[Part<'_, Start>]) -> bool {
    let is_before = |start: &Part<'_, Start>| {
        let are_dated = stop.key.record == 0 && start.key.record == 0;
        are_dated
            && stop.stamp.at < start.stamp.at
            && stop.stamp.received_at < start.stamp.received_at
    };
    !starts.is_empty() && starts.iter().all(is_before)
}

/// The key of a transaction whose start has not arrived, from its charger and its id on the wire.
#[must_use]
pub fn key_without_start(charger: &ChargerKey, transaction_id: &str) -> Uuid {
    key(charger, transaction_id, "")
}

fn key(charger: &ChargerKey, transaction_id: &str, part: &str) -> Uuid {
    let mut hasher = StableHasher::new(KEY_DOMAIN);
    hasher.add(charger.as_str()).add(transaction_id).add(part);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finish()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

struct Scene<'a> {
    state: &'a TransactionState,
    charger: &'a str,
    transaction_id: &'a str,
    is_v16: bool,
}

/// One start with the stops between it and the next start.
struct Session<'p, 'a> {
    start: &'p Part<'a, Start>,
    stops: Vec<&'p Part<'a, Stop>>,
}

/// Assigns each stop to the latest start before it, by the charger's time; by the time of reception if the charger's clock
/// was never set. An equal start before any stop is a resend.
fn sessions<'p, 'a>(
    starts: &'p [Part<'a, Start>],
    stops: &'p [Part<'a, Stop>],
) -> Vec<Session<'p, 'a>> {
    let is_undated = starts.iter().any(|start| start.key.record != 0);
    let place = |stamp: Stamp| {
        if is_undated {
            (stamp.received_at, Some(stamp.record))
        } else {
            (stamp.at, None)
        }
    };
    let mut starts: Vec<_> = starts.iter().collect();
    let mut stops: Vec<_> = stops.iter().collect();
    starts.sort_by_key(|start| place(start.stamp));
    stops.sort_by_key(|stop| place(stop.stamp));
    let mut sessions: Vec<Session<'_, '_>> = Vec::new();
    // Stops before any start belong to the first start.
    let mut stops = stops.into_iter().peekable();
    for (at, start) in starts.iter().enumerate() {
        let until = starts.get(at + 1).map(|next| place(next.stamp));
        let is_resend = sessions.last().is_some_and(|last| {
            last.start.key.has_same_content(&start.key) && last.stops.is_empty()
        });
        if !is_resend {
            sessions.push(Session {
                start,
                stops: Vec::new(),
            });
        }
        if let Some(session) = sessions.last_mut() {
            while let Some(stop) =
                stops.next_if(|stop| until.is_none_or(|until| place(stop.stamp) < until))
            {
                let is_resend = session
                    .stops
                    .iter()
                    .any(|known| known.key.has_same_content(&stop.key));
                if !is_resend {
                    session.stops.push(stop);
                }
            }
        }
    }
    sessions
}

impl Scene<'_> {
    /// The usual case: one transaction under the id, with the details of these times.
    fn only(
        &self,
        start: Option<&Part<'_, Start>>,
        stops: &[Part<'_, Stop>],
        times: &RangeInclusive<Timestamp>,
    ) -> TransactionView {
        let stop = stops.first();
        let key = match start {
            Some(start) => self.key(&start.key.to_string()),
            None => self.key(""),
        };
        let details = self.state.details_within(times);
        let mut view = self.session(key, start, stop, details);
        if let Some(stop) = stop {
            let others = stops
                .iter()
                .filter(|other| !other.key.has_same_content(&stop.key));
            view.conflicting_stops = others.count();
        }
        view
    }

    /// The view of one session.
    fn session(
        &self,
        key: Uuid,
        start: Option<&Part<'_, Start>>,
        stop: Option<&Part<'_, Stop>>,
        details: Details,
    ) -> TransactionView {
        let mut view = self.bare(key);
        let moments = [
            start.map(|start| start.stamp.at),
            stop.map(|stop| stop.stamp.at),
            details.last_at,
        ];
        view.last_at = moments.into_iter().flatten().max();
        if let Some(start) = start {
            view.begin(start);
        }
        if let Some((evse, connector)) = details.place.get() {
            view.evse = view.evse.or(*evse);
            view.connector = view.connector.or(*connector);
        }
        if view.id_token.is_none()
            && let Some((token, kind)) = details.token.get()
        {
            view.id_token = Some(token.clone());
            view.token_type.clone_from(kind);
        }
        if let Some(verdict) = details.verdict.get() {
            view.verdict = Some(verdict.clone());
        }
        let remote_start_id = details.remote_start_id.get().copied();
        view.remote_start_id = view.remote_start_id.or(remote_start_id);
        view.reservation_id = view
            .reservation_id
            .or(details.reservation_id.get().copied());
        view.missing_seq = details.seq.gaps();
        view.offline = details.offline;
        view.charging_state = details.charging_state.get().cloned();
        view.source.readings = details.readings;
        view.source.first_at = details.first_at;
        view.source.heard_at = details.heard_at.or(details.last_at);
        if let Some(stop) = stop {
            view.end(stop);
        }
        view.derive();
        view
    }

    /// A stop that names no transaction.
    fn unnamed_stop(&self, written_id: &str, stop: &Part<'_, Stop>) -> TransactionView {
        let mut view = self.bare(self.key(""));
        written_id.clone_into(&mut view.transaction_id);
        view.end(stop);
        view.derive();
        view.id_token.clone_from(&stop.value.id_token);
        view.last_at = Some(stop.stamp.at);
        view
    }

    /// An id that was used again: one transaction per start, from the time `from` on.
    fn several(
        &self,
        starts: &[Part<'_, Start>],
        stops: &[Part<'_, Stop>],
        mut from: Timestamp,
    ) -> Vec<TransactionView> {
        let sessions = sessions(starts, stops);
        if let [session] = sessions.as_slice() {
            // All starts are one start and its resends.
            let stops: Vec<Part<'_, Stop>> =
                session.stops.iter().map(|stop| (*stop).clone()).collect();
            let times = from..=Timestamp(i64::MAX);
            return vec![self.only(Some(session.start), &stops, &times)];
        }
        let mut views = Vec::with_capacity(sessions.len());
        for (at, session) in sessions.iter().enumerate() {
            let stop = session.stops.first().copied();
            let next = sessions.get(at + 1).map(|next| next.start.stamp.at);
            // Details after the stop belong to the next session, if there is one.
            let until = match (stop, next) {
                (_, None) => Timestamp(i64::MAX),
                (Some(stop), Some(_)) => stop.stamp.at,
                (None, Some(next)) => next.plus_millis(-1),
            };
            let details = self.state.details_within(&(from..=until));
            let key = self.key(&session.start.key.to_string());
            let mut view = self.session(key, Some(session.start), stop, details);
            view.conflicting_stops = session.stops.len().saturating_sub(1);
            views.push(view);
            from = until.plus_millis(1);
        }
        views
    }

    fn bare(&self, key: Uuid) -> TransactionView {
        TransactionView {
            key,
            charger_id: self.charger.to_owned(),
            transaction_id: self.transaction_id.to_owned(),
            ocpp_version: self.state.version.get().copied(),
            evse: None,
            connector: None,
            id_token: None,
            token_type: None,
            verdict: None,
            started_at: None,
            ended_at: None,
            open: true,
            last_at: self.state.last_at(),
            meter_start_wh: None,
            meter_stop_wh: None,
            energy_wh: None,
            energy_confidence: None,
            energy_from: None,
            energy_to: None,
            checks: Vec::new(),
            power_w: None,
            soc_percent: None,
            charging_state: None,
            stop_reason: None,
            remote_start_id: None,
            reservation_id: None,
            offline: false,
            missing_seq: Vec::new(),
            conflicting_stops: 0,
            closed: None,
            source: SessionSource::default(),
        }
    }

    fn key(&self, part: &str) -> Uuid {
        key(&ChargerKey::of(self.charger), self.transaction_id, part)
    }
}

impl TransactionView {
    /// The view of a transaction whose stored state cannot be decoded.
    #[must_use]
    pub fn unreadable(charger: &str, transaction_id: &str, key: Uuid, open: bool) -> Self {
        let state = TransactionState::default();
        let scene = Scene {
            state: &state,
            charger,
            transaction_id,
            is_v16: false,
        };
        Self {
            open,
            ..scene.bare(key)
        }
    }

    fn begin(&mut self, start: &Part<'_, Start>) {
        let value = start.value;
        self.source.start = Some(SessionBound::new(start.key, start.stamp, value.meter_wh));
        self.evse = value.evse;
        self.connector = value.connector;
        self.id_token.clone_from(&value.id_token);
        self.token_type.clone_from(&value.token_type);
        self.reservation_id = value.reservation_id;
        self.remote_start_id = value.remote_start_id;
        self.verdict.clone_from(&value.verdict);
    }

    fn end(&mut self, stop: &Part<'_, Stop>) {
        self.source.stop = Some(SessionBound::new(stop.key, stop.stamp, stop.value.meter_wh));
        self.open = false;
        self.stop_reason.clone_from(&stop.value.reason);
    }

    /// Ends the transaction by a stop that names none.
    pub fn end_by(&mut self, stop: &Self) {
        self.source.stop = stop.source.stop;
        self.open = false;
        self.last_at = self.last_at.max(stop.last_at);
        self.stop_reason.clone_from(&stop.stop_reason);
        self.derive();
    }

    /// Derives the times and the energy from [`TransactionView::source`].
    pub(super) fn derive(&mut self) {
        let SessionSource {
            start,
            stop,
            readings,
            ..
        } = &self.source;
        (self.started_at, self.ended_at) = times(*start, *stop);
        let energy = Energy::derive(
            start.map(SessionBound::end),
            stop.map(SessionBound::end),
            readings,
            self.closed.is_some(),
        );
        let has_ended = stop.is_some() || self.closed.is_some();
        self.power_w = readings.power_w.get().copied();
        self.soc_percent = readings.soc_percent.get().copied();
        self.meter_start_wh = energy.start_wh;
        self.meter_stop_wh = energy.end_wh.filter(|_| stop.is_some());
        self.energy_wh = energy.energy_wh;
        self.energy_confidence = energy.confidence;
        self.energy_from = energy.from;
        self.energy_to = energy.to;
        self.checks = energy.checks;
        if has_ended {
            self.power_w = None;
            self.charging_state = None;
        }
    }
}
