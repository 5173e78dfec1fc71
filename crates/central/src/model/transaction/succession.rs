//! What follows from the order of the sessions of one connector: which of them ended without a report, and to which of them
//! a reading without a transaction id belongs.
//!
//! A charger that loses a session (in a power cut, or because its queue was deleted) never sends the stop, and the
//! session would stay open for ever. A later start on the same connector shows that it has ended. Both rules depend only on
//! sessions that are adjacent in the order of their starts, so that a store can apply them around a changed session.

use super::{Readings, TransactionView, pair_orphans};
use crate::Timestamp;
use crate::model::{ChargerKey, Merge, MeterValueRow};
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// A session is superseded by one of this many sessions that start next on its connector, or by none. One that is added,
/// changed or removed therefore affects at most this many sessions before it.
pub const SUCCESSORS_MAX: usize = 8;

/// A reading that names no transaction belongs to no session after which more than this many have started.
pub const READERS_MAX: usize = 64;

/// A reading that names no transaction belongs to no session that started longer ago, in milliseconds (31 days).
pub(crate) const READINGS_SPAN_MS: i64 = 31 * 86_400_000;

/// What of a session affects the other sessions of its connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceSession {
    /// Its key.
    pub key: Uuid,
    /// When it started, but never later than that arrived; the time of its first message where no start has arrived.
    pub start_at: Timestamp,
    /// When its start arrived.
    pub start_received_at: Timestamp,
    /// When it started, as the charger wrote it; `None` where no start has arrived. Such a session supersedes none.
    pub written_start_at: Option<Timestamp>,
    /// The latest time in any of its messages except the stop.
    pub heard_at: Timestamp,
    /// Its stop.
    pub stop: Option<PlaceStop>,
}

/// The stop of a [`PlaceSession`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceStop {
    /// When it ended, as the charger wrote it.
    pub written_at: Timestamp,
    /// When the stop arrived.
    pub received_at: Timestamp,
}

impl PlaceSession {
    /// The sort key of a connector's sessions.
    #[must_use]
    pub const fn order(&self) -> (Timestamp, Timestamp, Uuid) {
        (self.start_at, self.start_received_at, self.key)
    }

    /// Whether the start of `next` shows that this session has ended: it is later by the charger's clock than all that
    /// this session reported, it did not arrive before this session's start, and this session's stop had not arrived.
    fn is_ended_by(&self, next: &Self) -> bool {
        next.written_start_at.is_some()
            && next.start_at >= self.heard_at
            && next.start_received_at >= self.start_received_at
            && self
                .stop
                .is_none_or(|stop| next.start_received_at < stop.received_at)
    }
}

/// The session that supersedes the one at `of`. `sessions` are those of one connector, sorted by [`PlaceSession::order`]; only
/// the [`SUCCESSORS_MAX`] after `of` are considered.
#[must_use]
pub fn successor(sessions: &[PlaceSession], of: usize) -> Option<&PlaceSession> {
    let session = sessions.get(of)?;
    let mut later = sessions.iter().skip(of + 1).take(SUCCESSORS_MAX);
    later.find(|next| session.is_ended_by(next))
}

/// The times, both included, whose readings without a transaction belong to the session at `of`: from its start to its stop,
/// and before the start of any session after it, as the charger wrote these times. `None` if there are none. `sessions` as in
/// [`successor`]; at most [`READERS_MAX`] after `of` and one more are considered.
#[must_use]
pub fn reading_times(sessions: &[PlaceSession], of: usize) -> Option<RangeInclusive<Timestamp>> {
    let session = sessions.get(of)?;
    let from = session.written_start_at?;
    let ends = [
        Some(from.plus_millis(READINGS_SPAN_MS)),
        session.stop.map(|stop| stop.written_at),
        next_start(sessions, of).map(|next| next.plus_millis(-1)),
    ];
    let until = ends.into_iter().flatten().min()?;
    (from <= until).then_some(from..=until)
}

/// The earliest time that one of the sessions after `of` has written for its start.
fn next_start(sessions: &[PlaceSession], of: usize) -> Option<Timestamp> {
    let mut next: Option<Timestamp> = None;
    for (n, later) in sessions.iter().skip(of + 1).enumerate() {
        // A start is never earlier than its place in the order, so no other one is before `next`.
        if next.is_some_and(|next| next <= later.start_at) {
            break;
        }
        if n == READERS_MAX {
            return Some(later.start_at);
        }
        next = next.into_iter().chain(later.written_start_at).min();
    }
    next
}

/// Whether the sessions after `of` contain all that [`reading_times`] depends on, if more follow that are not among them.
#[must_use]
pub fn ends_readings(sessions: &[PlaceSession], of: usize) -> bool {
    let mut later = sessions.iter().skip(of + 1).enumerate();
    let mut next: Option<Timestamp> = None;
    later.any(|(n, later)| {
        let is_end = n == READERS_MAX || next.is_some_and(|next| next <= later.start_at);
        next = next.into_iter().chain(later.written_start_at).min();
        is_end
    })
}

/// Why a session without a stop counts as ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// By what.
    #[serde(flatten)]
    pub by: ClosedBy,
    /// The time at which it ended at the latest: when the next session started, or the time that the person gave.
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub at: Timestamp,
    /// Whether the stop arrived later. It then decides when the session ended and how much was charged.
    pub reconciled: bool,
}

/// By what a session without a stop was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum ClosedBy {
    /// A later session started on its connector.
    Superseded {
        /// The later session's key.
        transaction: Uuid,
    },
    /// A person closed it.
    Person {
        /// The person, or the account that ran the command.
        who: String,
        /// What the person wrote.
        reason: String,
        /// When the person closed it.
        #[serde(serialize_with = "crate::model::rfc3339::always")]
        noted_at: Timestamp,
    },
}

impl TransactionView {
    /// The number under which readings and later sessions of the same connector are found: the connector (1.6) or the EVSE
    /// (2.x; it charges one vehicle at a time, at whichever of its connectors). `None` if it is not known, and for 0.
    #[must_use]
    pub fn place(&self) -> Option<i64> {
        let number = match self.ocpp_version? {
            Version::V16 => self.connector,
            Version::V201 | Version::V21 => self.evse,
        };
        number.filter(|number| *number > 0)
    }

    /// What of it affects the other sessions of its connector; `None` for a stop that names no transaction.
    #[must_use]
    pub fn place_session(&self) -> Option<PlaceSession> {
        let (start_at, start_received_at) = match self.source.start_times() {
            Some(times) => times,
            None => (self.source.first_at?, self.source.first_at?),
        };
        Some(PlaceSession {
            key: self.key,
            start_at,
            start_received_at,
            written_start_at: self.source.written_start_at(),
            heard_at: self.source.heard_at.map_or(start_at, |at| at.max(start_at)),
            stop: self.place_stop(),
        })
    }

    /// Its stop, as [`PlaceSession`] has it.
    #[must_use]
    pub fn place_stop(&self) -> Option<PlaceStop> {
        self.source.place_stop()
    }

    /// Shows that the session of this key, whose start arrived at `start_received_at`, started at `at` on the same
    /// connector while this one had no stop. No change if the stop had arrived before.
    pub fn supersede(&mut self, key: Uuid, at: Timestamp, start_received_at: Timestamp) {
        let stop = self.place_stop();
        if stop.is_none_or(|stop| start_received_at < stop.received_at) {
            self.close(ClosedBy::Superseded { transaction: key }, at);
        }
    }

    /// Closes the session at this time; if it has a stop, that stays its end.
    pub fn close(&mut self, by: ClosedBy, at: Timestamp) {
        let reconciled = self.place_stop().is_some();
        self.open = false;
        self.closed = Some(Closed { by, at, reconciled });
        self.derive();
    }

    /// Adds readings that name no transaction.
    pub fn add_readings(&mut self, readings: Readings) {
        self.source.add_readings(readings);
        self.derive();
    }
}

/// The sessions of one charger, from the views of its states and its rows of meter values: stops without a usable id are
/// paired ([`pair_orphans`]), sessions that a later one supersedes are closed, and readings that name no transaction are added.
/// Total, and independent of the order of both. A store must show the same.
#[must_use]
pub fn resolve_sessions<'a>(
    views: Vec<TransactionView>,
    rows: impl IntoIterator<Item = &'a MeterValueRow>,
) -> Vec<TransactionView> {
    let mut views = pair_orphans(views);
    let mut places: BTreeMap<(ChargerKey, i64), Vec<(PlaceSession, usize)>> = BTreeMap::new();
    for (at, view) in views.iter().enumerate() {
        if let Some((place, session)) = view.place().zip(view.place_session()) {
            let key = (ChargerKey::of(&view.charger_id), place);
            places.entry(key).or_default().push((session, at));
        }
    }
    let mut unnamed: BTreeMap<(ChargerKey, i64), Vec<&MeterValueRow>> = BTreeMap::new();
    for row in rows {
        if let Some(place) = row.unnamed_at {
            let key = (row.charger.clone(), place);
            unnamed.entry(key).or_default().push(row);
        }
    }
    for (key, mut sessions) in places {
        sessions.sort_by_key(|(session, _)| session.order());
        let (sessions, indices): (Vec<_>, Vec<_>) = sessions.into_iter().unzip();
        for (of, at) in indices.into_iter().enumerate() {
            let view = &mut views[at];
            if let Some(times) = reading_times(&sessions, of) {
                let mut readings = Readings::default();
                for row in unnamed.get(&key).into_iter().flatten() {
                    if times.contains(&row.at) {
                        readings.merge(row.readings());
                    }
                }
                if !readings.is_empty() {
                    view.add_readings(readings);
                }
            }
            if let Some(next) = successor(&sessions, of) {
                view.supersede(next.key, next.start_at, next.start_received_at);
            }
        }
    }
    views
}
