//! What messages report about a transaction apart from its start and stop. It is kept per connection, because a charger may
//! use a transaction id again, and details of the earlier session must not be shown for the later one.

use super::readings::Readings;
use crate::Timestamp;
use crate::model::{First, Latest, Merge, RangeSet, Stamp};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// What the messages of one connection report under one transaction id, apart from starts and stops.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Details {
    /// The earliest time in any message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Timestamp>,
    /// The latest time in any message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// The latest time in any message except a stop: until then the session was certainly running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    /// Sequence numbers seen (2.x).
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    pub seq: RangeSet,
    /// The latest (EVSE, connector).
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    pub place: Latest<(Option<i64>, Option<i64>)>,
    /// The first (token, type); in 2.x it may come after the start.
    #[serde(default, skip_serializing_if = "First::is_empty")]
    pub token: First<(String, Option<String>)>,
    /// The token's status in the latest answer.
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    pub verdict: Latest<String>,
    /// chargingState (2.x).
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    pub charging_state: Latest<String>,
    /// remoteStartId (2.x), which may come after the start.
    #[serde(default, skip_serializing_if = "First::is_empty")]
    pub remote_start_id: First<i64>,
    /// reservationId (2.x), which may come after the start.
    #[serde(default, skip_serializing_if = "First::is_empty")]
    pub reservation_id: First<i64>,
    /// Whether any message was queued by the charger while offline (2.x `offline`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// Meter readings.
    #[serde(default, skip_serializing_if = "Readings::is_empty")]
    pub readings: Readings,
}

impl Details {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes the time of a message.
    pub(crate) fn note_time(&mut self, at: Timestamp) {
        self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
        self.last_at = self.last_at.max(Some(at));
    }

    /// The details of these times, both included. Details without a time (sequence numbers, `offline`) remain only if the
    /// times of all messages are within.
    pub(super) fn within(&self, times: &RangeInclusive<Timestamp>) -> Self {
        let is_within = |stamp: &Stamp| times.contains(&stamp.at);
        let are_all_within = [self.first_at, self.last_at]
            .iter()
            .flatten()
            .all(|at| times.contains(at));
        let (seq, offline) = if are_all_within {
            (self.seq.clone(), self.offline)
        } else {
            (RangeSet::default(), false)
        };
        Self {
            first_at: self.first_at.filter(|_| are_all_within),
            last_at: self.last_at.filter(|_| are_all_within),
            heard_at: self.heard_at.filter(|at| times.contains(at)),
            seq,
            place: self.place.clone().filter(is_within),
            token: self.token.clone().filter(is_within),
            verdict: self.verdict.clone().filter(is_within),
            charging_state: self.charging_state.clone().filter(is_within),
            remote_start_id: self.remote_start_id.clone().filter(is_within),
            reservation_id: self.reservation_id.clone().filter(is_within),
            offline,
            readings: self.readings.within(times),
        }
    }
}

impl Merge for Details {
    fn merge(&mut self, other: Self) {
        for at in other.first_at.into_iter().chain(other.last_at) {
            self.note_time(at);
        }
        self.heard_at = self.heard_at.max(other.heard_at);
        self.seq.merge(other.seq);
        self.place.merge(other.place);
        self.token.merge(other.token);
        self.verdict.merge(other.verdict);
        self.charging_state.merge(other.charging_state);
        self.remote_start_id.merge(other.remote_start_id);
        self.reservation_id.merge(other.reservation_id);
        self.offline |= other.offline;
        self.readings.merge(other.readings);
    }
}
