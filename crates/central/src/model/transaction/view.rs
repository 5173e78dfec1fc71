//! From what was told under one id to the transactions that it tells of.

use super::{ContentKey, Start, Stop, TransactionState};
use crate::Timestamp;
use crate::model::{First, Stamp};
use crate::natural_key::StableHasher;
use ocpp::Version;
use serde::Serialize;
use uuid::Uuid;

/// A transaction, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransactionView {
    /// Its own key, derived from its natural key: the same wherever and whenever it is derived.
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

struct Part<'a, T> {
    key: ContentKey,
    stamp: Stamp,
    value: &'a T,
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
    match starts.len() {
        0 if scene.is_v16 && names_nothing(transaction_id) && !stops.is_empty() => {
            stops.iter().map(|stop| scene.orphan_stop(stop)).collect()
        }
        0 | 1 => vec![scene.only(starts.first(), &stops)],
        _ => scene.several(&starts, &stops),
    }
}

/// Whether an id is one that chargers use when they never got one (rule Q-17): 0 or below.
fn names_nothing(transaction_id: &str) -> bool {
    transaction_id.parse::<i64>().is_ok_and(|id| id <= 0)
}

struct Scene<'a> {
    state: &'a TransactionState,
    charger: &'a str,
    transaction_id: &'a str,
    is_v16: bool,
}

impl Scene<'_> {
    /// The usual case: one transaction under the id.
    fn only(&self, start: Option<&Part<'_, Start>>, stops: &[Part<'_, Stop>]) -> TransactionView {
        let key = match start {
            // A 1.6 id is a hash that may be shared, so the natural key speaks; a 2.x id is the
            // natural key, and holds also while the start has not arrived.
            Some(start) if self.is_v16 => self.key(Some(start.key)),
            _ => self.key(None),
        };
        let mut view = self.bare(key);
        if let Some(start) = start {
            view.begin(start);
        }
        self.add_live(&mut view);
        if let Some(stop) = stops.first() {
            view.end(stop);
            view.conflicting_stops = stops.len() - 1;
        }
        view
    }

    /// A stop whose start never got an id.
    fn orphan_stop(&self, stop: &Part<'_, Stop>) -> TransactionView {
        let mut view = self.bare(self.key(Some(stop.key)));
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
        let mut views: Vec<_> = starts
            .iter()
            .enumerate()
            .map(|(i, start)| {
                let plain = i == 0 && !self.is_v16;
                let mut view = self.bare(self.key((!plain).then_some(start.key)));
                view.begin(start);
                view.last_at = Some(start.stamp.at);
                view
            })
            .collect();
        for stop in stops {
            let owner = starts
                .partition_point(|start| start.stamp.at <= stop.stamp.at)
                .saturating_sub(1);
            let view = &mut views[owner];
            if view.open {
                view.end(stop);
                view.last_at = view.last_at.max(Some(stop.stamp.at));
            } else {
                view.conflicting_stops += 1;
            }
        }
        // What is only known as "the latest" belongs to the latest transaction, if it is not older.
        if let (Some(view), Some(start)) = (views.last_mut(), starts.last())
            && self.state.last_at >= Some(start.stamp.at)
        {
            view.last_at = self.state.last_at;
            self.add_live_since(view, start.stamp.at);
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

    fn key(&self, part: Option<ContentKey>) -> Uuid {
        let part = part.map(|key| key.to_string()).unwrap_or_default();
        let charger = crate::model::charger_key(self.charger);
        let mut hasher = StableHasher::new(KEY_DOMAIN);
        hasher.add(&charger).add(self.transaction_id).add(&part);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finish()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl TransactionView {
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
