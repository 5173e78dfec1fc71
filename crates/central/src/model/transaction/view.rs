//! From what was told under one id to the transactions that it tells of.

use super::{ContentKey, Start, Stop, TransactionState, written_id_of_unnamed_stop};
use crate::Timestamp;
use crate::model::{ChargerKey, First, Stamp};
use crate::natural_key::StableHasher;
use ocpp::Version;
use serde::Serialize;
use uuid::Uuid;

/// A transaction, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransactionView {
    /// Its own key, derived from its start: the same wherever and whenever it is derived, and never
    /// another transaction's. While `started_at` is `None` the key stands for the id on the wire; once the
    /// start has arrived, the store still finds the transaction by that first key.
    pub key: Uuid,
    /// The charger's identity, as the caller spells it.
    pub charger_id: String,
    /// The id on the wire: given by us (1.6) or by the charger (2.x).
    pub transaction_id: String,
    /// The version that told it.
    pub ocpp_version: Option<Version>,
    /// The EVSE (2.x).
    pub evse: Option<i64>,
    /// The connector.
    pub connector: Option<i64>,
    /// Who charges.
    pub id_token: Option<String>,
    /// The sort of token (2.x).
    pub token_type: Option<String>,
    /// How we said that the token stands.
    pub verdict: Option<String>,
    /// When it began; `None` = its start has not arrived.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub started_at: Option<Timestamp>,
    /// When it ended; `None` = it is open.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub ended_at: Option<Timestamp>,
    /// Whether no end has arrived.
    pub open: bool,
    /// The latest moment that any of its messages speaks of.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub last_at: Option<Timestamp>,
    /// Meter at the start, in watt-hours.
    pub meter_start_wh: Option<f64>,
    /// Meter at the end, in watt-hours.
    pub meter_stop_wh: Option<f64>,
    /// What was charged so far, in watt-hours: the last reading minus the first.
    pub energy_wh: Option<f64>,
    /// The last power, in watts.
    pub power_w: Option<f64>,
    /// The last state of charge, in percent.
    pub soc_percent: Option<f64>,
    /// chargingState (2.x).
    pub charging_state: Option<String>,
    /// Why it ended.
    pub stop_reason: Option<String>,
    /// The remote start that it answers (2.x).
    pub remote_start_id: Option<i64>,
    /// The reservation that it uses.
    pub reservation_id: Option<i64>,
    /// Whether any of it was sent late, from the charger's queue (2.x).
    pub offline: bool,
    /// Sequence numbers that are missing between the first and the last, as inclusive ranges (2.x).
    pub missing_seq: Vec<(i64, i64)>,
    /// Ends told under the same id with other content: the first counts, the others are evidence.
    pub conflicting_stops: usize,
}

/// Where a transaction's key comes from; never change, the keys are stored.
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
    match starts.len() {
        0 | 1 => vec![scene.only(starts.first(), &stops)],
        _ => scene.several(&starts, &stops),
    }
}

/// The key of a transaction whose start has not arrived: of its charger and its id on the wire.
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

/// One start with the stops that were told while it was the latest.
struct Session<'p, 'a> {
    start: &'p Part<'a, Start>,
    stops: Vec<&'p Part<'a, Stop>>,
}

/// Which stops belong to which starts: a stop to the latest start before it, by the charger's time; by
/// arrival where the charger's clock was never set. An equal start before any stop is a resend.
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
    // Stops told before any start belong to the first.
    let mut stops = stops.into_iter().peekable();
    for (at, start) in starts.iter().enumerate() {
        let until = starts.get(at + 1).map(|next| place(next.stamp));
        let is_resend = sessions
            .last()
            .is_some_and(|last| last.start.key.says_the_same(&start.key) && last.stops.is_empty());
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
                    .any(|known| known.key.says_the_same(&stop.key));
                if !is_resend {
                    session.stops.push(stop);
                }
            }
        }
    }
    sessions
}

impl Scene<'_> {
    /// The usual case: one transaction under the id.
    fn only(&self, start: Option<&Part<'_, Start>>, stops: &[Part<'_, Stop>]) -> TransactionView {
        let key = match start {
            Some(start) => self.key(&start.key.to_string()),
            None => self.key(""),
        };
        let mut view = self.bare(key);
        if let Some(start) = start {
            view.begin(start);
        }
        self.add_live(&mut view);
        if let Some(stop) = stops.first() {
            view.end(stop);
            let others = stops
                .iter()
                .filter(|other| !other.key.says_the_same(&stop.key));
            view.conflicting_stops = others.count();
        }
        view
    }

    /// A stop that names no transaction.
    fn unnamed_stop(&self, written_id: &str, stop: &Part<'_, Stop>) -> TransactionView {
        let mut view = self.bare(self.key(""));
        written_id.clone_into(&mut view.transaction_id);
        view.end(stop);
        view.id_token.clone_from(&stop.value.id_token);
        view.last_at = Some(stop.stamp.at);
        view
    }

    /// An id that was used again: each start owns the time until the next.
    fn several(
        &self,
        starts: &[Part<'_, Start>],
        stops: &[Part<'_, Stop>],
    ) -> Vec<TransactionView> {
        let sessions = sessions(starts, stops);
        if let [session] = sessions.as_slice() {
            // All starts were one, sent again.
            let stops: Vec<Part<'_, Stop>> =
                session.stops.iter().map(|stop| (*stop).clone()).collect();
            return vec![self.only(Some(session.start), &stops)];
        }
        let mut views: Vec<_> = sessions
            .iter()
            .map(|session| {
                let mut view = self.bare(self.key(&session.start.key.to_string()));
                view.begin(session.start);
                view.last_at = Some(session.start.stamp.at);
                if let Some(stop) = session.stops.first() {
                    view.end(stop);
                    view.last_at = view.last_at.max(Some(stop.stamp.at));
                    view.conflicting_stops = session.stops.len() - 1;
                }
                view
            })
            .collect();
        // What is only known as "the latest" belongs to the latest transaction, if it is not older.
        if let (Some(view), Some(session)) = (views.last_mut(), sessions.last())
            && self.state.last_at >= Some(session.start.stamp.at)
        {
            view.last_at = self.state.last_at;
            self.add_live_since(view, session.start.stamp.at);
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
            last_at: self.state.last_at,
            meter_start_wh: None,
            meter_stop_wh: None,
            energy_wh: None,
            power_w: None,
            soc_percent: None,
            charging_state: None,
            stop_reason: None,
            remote_start_id: None,
            reservation_id: None,
            offline: self.state.offline,
            missing_seq: Vec::new(),
            conflicting_stops: 0,
        }
    }

    fn add_live(&self, view: &mut TransactionView) {
        self.add_live_since(view, Timestamp(i64::MIN));
        let state = self.state;
        if view.meter_start_wh.is_none() {
            view.meter_start_wh = state.energy_first_wh.get().copied();
        }
        view.missing_seq = state.seq.gaps();
        if view.id_token.is_none()
            && let Some((token, kind)) = state.token.get()
        {
            view.id_token = Some(token.clone());
            view.token_type.clone_from(kind);
        }
        view.remote_start_id = view
            .remote_start_id
            .or(state.remote_start_id.get().copied());
        view.reservation_id = view.reservation_id.or(state.reservation_id.get().copied());
        view.measure(state.energy_last_wh.get().copied());
    }

    /// What the latest messages say, as far as they speak of `since` or later.
    fn add_live_since(&self, view: &mut TransactionView, since: Timestamp) {
        fn fresh<T>(value: Option<&T>, stamp: Option<Stamp>, since: Timestamp) -> Option<&T> {
            value.filter(|_| stamp.is_some_and(|stamp| stamp.at >= since))
        }
        macro_rules! fresh {
            ($field:ident) => {
                fresh(self.state.$field.get(), self.state.$field.stamp(), since)
            };
        }
        if let Some((evse, connector)) = fresh!(place) {
            view.evse = view.evse.or(*evse);
            view.connector = view.connector.or(*connector);
        }
        if let Some(verdict) = fresh!(verdict) {
            view.verdict = Some(verdict.clone());
        }
        view.charging_state = fresh!(charging_state).cloned();
        view.power_w = fresh!(power_w).copied();
        view.soc_percent = fresh!(soc_percent).copied();
        view.measure(fresh!(energy_last_wh).copied());
    }

    fn key(&self, part: &str) -> Uuid {
        key(&ChargerKey::of(self.charger), self.transaction_id, part)
    }
}

impl TransactionView {
    /// A transaction of which only this is known, because its state cannot be read.
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
        self.started_at = Some(start.stamp.at);
        self.evse = value.evse;
        self.connector = value.connector;
        self.id_token.clone_from(&value.id_token);
        self.token_type.clone_from(&value.token_type);
        self.meter_start_wh = value.meter_wh;
        self.reservation_id = value.reservation_id;
        self.remote_start_id = value.remote_start_id;
        self.verdict.clone_from(&value.verdict);
    }

    fn end(&mut self, stop: &Part<'_, Stop>) {
        self.ended_at = Some(stop.stamp.at);
        self.open = false;
        self.meter_stop_wh = stop.value.meter_wh;
        self.stop_reason.clone_from(&stop.value.reason);
        self.power_w = None;
        self.measure(stop.value.meter_wh);
    }

    /// Takes `meter_wh` as the newest reading.
    fn measure(&mut self, meter_wh: Option<f64>) {
        if let (Some(start), Some(now)) = (self.meter_start_wh, meter_wh)
            && now >= start
        {
            self.energy_wh = Some(now - start);
        }
    }
}
