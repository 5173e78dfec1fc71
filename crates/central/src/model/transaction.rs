//! Transactions, from start to stop, merged from messages in any order.
//!
//! A [`TransactionState`] holds what was reported under one transaction id of one charger. Usually that is one
//! transaction. It is several if a charger counts from 0 after every boot, or if two derived 1.6 ids are equal (rules
//! ); [`TransactionState::views`] separates them. Each stop that names no transaction (-1, 0, no id) has its
//! own state, with an id from [`unnamed_stop_id`].

mod details;
mod energy;
mod pairing;
mod readings;
mod succession;
mod view;

pub use details::Details;
pub use energy::{Confidence, EnergyCheck, RegisterSource};
pub use pairing::{Candidate, PAIRING_WINDOW, pair, pair_orphans};
pub use readings::{ReadingContext, Readings};
pub(crate) use succession::READINGS_SPAN_MS;
pub use succession::{
    Closed, ClosedBy, PlaceSession, PlaceStop, READERS_MAX, SUCCESSORS_MAX, ends_readings,
    reading_times, resolve_sessions, successor,
};
pub use view::{SessionSource, TransactionView, key_without_start};

use super::{First, Latest, Merge, Stamp};
use crate::Timestamp;
use crate::record::Epoch;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// The key of a start or a stop: the charger's time (0 if it gave none) and a hash of its natural key. It depends on the
/// message only, so that a message and its resends have one key; if the charger's clock was never set, the record is a
/// part of it, because an equal message may then be of another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentKey {
    /// The charger's time.
    pub at: Timestamp,
    /// Hash of the natural key.
    pub hash: u64,
    /// Hash of the record's id if `at` is not plausible, else 0.
    pub record: u64,
}

impl ContentKey {
    /// Whether two messages have the same content, also in different records.
    #[must_use]
    pub fn has_same_content(&self, other: &Self) -> bool {
        (self.at, self.hash) == (other.at, other.hash)
    }
}

impl fmt::Display for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.at.0, self.hash)?;
        if self.record != 0 {
            write!(f, "/{:016x}", self.record)?;
        }
        Ok(())
    }
}

impl From<ContentKey> for String {
    fn from(key: ContentKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for ContentKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let number = |text| u64::from_str_radix(text, 16).map_err(|_| "content key without a hash");
        let (content, record) = match text.split_once('/') {
            Some((content, record)) => (content, number(record)?),
            None => (text.as_str(), 0),
        };
        let parts = content
            .rsplit_once('-')
            .ok_or("content key without a dash")?;
        Ok(Self {
            at: Timestamp(parts.0.parse().map_err(|_| "content key without a time")?),
            hash: number(parts.1)?,
            record,
        })
    }
}

/// Separates the id that a charger wrote in a stop without a usable id from the content that identifies the stop.
const UNNAMED_STOP: char = '#';

/// The id under which the state of a stop without a usable id is kept (1.6, rule Q-17): the id as the charger wrote it and
/// the stop's content. Each such stop has its own state.
#[must_use]
pub fn unnamed_stop_id(written_id: &str, stop: &ContentKey) -> String {
    format!("{written_id}{UNNAMED_STOP}{}-{:016x}", stop.at.0, stop.hash)
}

/// The id as the charger wrote it, from an id of [`unnamed_stop_id`]; `None` for every other id.
#[must_use]
pub fn written_id_of_unnamed_stop(id: &str) -> Option<&str> {
    let (written, content) = id.split_once(UNNAMED_STOP)?;
    let names_nothing = written.is_empty() || written.parse::<i64>().is_ok_and(|id| id <= 0);
    (names_nothing && ContentKey::try_from(content.to_owned()).is_ok()).then_some(written)
}

/// A StartTransaction, or a TransactionEvent `Started`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Start {
    /// The EVSE (2.x).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evse: Option<i64>,
    /// The connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<i64>,
    /// The token, as the charger wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// The token's type (2.x).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// Meter reading at the start, in watt-hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_wh: Option<f64>,
    /// The reservation that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<i64>,
    /// The id of the remote start that started it (2.x).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_start_id: Option<i64>,
    /// The token's status in the answer: a start that was not accepted is a transaction too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
}

/// A StopTransaction, or a TransactionEvent `Ended`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stop {
    /// Meter reading at the end, in watt-hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter_wh: Option<f64>,
    /// Why it ended; in 1.6 no reason means `Local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The token that stopped it, as the charger wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}

/// What was reported under one transaction id of one charger.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TransactionState {
    /// The OCPP version of its messages.
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    pub version: Latest<Version>,
    /// Starts by natural key; the newest [`TransactionState::PARTS_MAX`] of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<ContentKey, First<Start>>,
    /// Stops by natural key; the newest [`TransactionState::PARTS_MAX`] of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stops: BTreeMap<ContentKey, First<Stop>>,
    /// Details by connection and, where the id may be used again, by time, so that the sessions under one id do not mix.
    #[serde(
        rename = "connections",
        default,
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    spans: BTreeMap<Span, Details>,
    /// The length of a span of time is 2 to this power, in milliseconds. As small as
    /// [`TransactionState::SPANS_MAX`] allows.
    #[serde(default, skip_serializing_if = "is_zero")]
    span_exponent: u32,
    /// All connections older than the newest [`TransactionState::CONNECTIONS_MAX`] together.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    older: Details,
}

/// A span of time on a connection: the epoch, and the time divided by the length of a span, rounded down. In 1.6 the
/// central system gives the ids, and the epoch is 0. Where the id is not used again, the time is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Span {
    epoch: Epoch,
    number: i64,
}

impl From<Span> for String {
    fn from(Span { epoch, number }: Span) -> Self {
        match number {
            0 => epoch.to_string(),
            _ => format!("{epoch}/{number}"),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (epoch, number) = text.split_once('/').unwrap_or((&text, "0"));
        Ok(Self {
            epoch: Epoch(epoch.parse().map_err(|_| "span without an epoch")?),
            number: number.parse().map_err(|_| "span without a number")?,
        })
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl TransactionState {
    /// At most this many starts, and at most this many stops, are kept under one transaction id. Only an id that a
    /// charger reuses very often has more. The oldest are removed from the state; their messages stay stored.
    pub const PARTS_MAX: usize = 512;

    /// Spans of time whose details are kept apart under an id that may be used again. If there are more, each span
    /// becomes twice as long, until there is one for each connection.
    pub const SPANS_MAX: usize = 32;

    /// Connections whose details are kept apart under one transaction id.
    pub const CONNECTIONS_MAX: usize = 64;

    /// The greatest exponent: every time after 1970 is in span 0.
    const SPAN_EXPONENT_MAX: u32 = 63;

    /// Whether a charger may use this id again (2.x): it counts, and begins anew after a start. An id of more than eight
    /// characters is taken for a unique one.
    #[must_use]
    pub const fn may_be_used_again(transaction_id: &str) -> bool {
        transaction_id.len() <= 8
    }

    /// The views of this state: one per transaction, in the order of their starts.
    #[must_use]
    pub fn views(&self, charger: &str, transaction_id: &str) -> Vec<TransactionView> {
        view::views(self, charger, transaction_id)
    }

    /// The earliest time in any message.
    #[must_use]
    pub fn first_at(&self) -> Option<Timestamp> {
        self.all_details()
            .filter_map(|details| details.first_at)
            .min()
    }

    /// The latest time in any message.
    #[must_use]
    pub fn last_at(&self) -> Option<Timestamp> {
        self.all_details()
            .filter_map(|details| details.last_at)
            .max()
    }

    /// The EVSE and the connector that were named last, on each connection that named any.
    #[must_use]
    pub fn places(&self) -> Vec<(Option<i64>, Option<i64>)> {
        self.all_details()
            .filter_map(|details| details.place.get().copied())
            .collect()
    }

    /// The stamps of the token and the registers that a start without its own ones gets. While they are unchanged, so is
    /// its [`Candidate`].
    #[must_use]
    pub fn pairing_stamps(&self) -> [Option<Stamp>; 3] {
        let earliest =
            |stamp: fn(&Details) -> Option<Stamp>| self.all_details().filter_map(stamp).min();
        [
            earliest(|details| details.token.stamp()),
            earliest(|details| details.readings.begin.stamp()),
            earliest(|details| details.readings.first.stamp()),
        ]
    }

    /// The stamps of the tokens and of their statuses. While they are unchanged, so is
    /// [`TransactionView::accepted_token`].
    #[must_use]
    pub fn token_stamps(&self) -> Vec<[Option<Stamp>; 2]> {
        self.all_details()
            .map(|details| [details.token.stamp(), details.verdict.stamp()])
            .collect()
    }

    /// Changes the details of this time on the connection with this epoch; the time is `None` if the id is not used
    /// again.
    pub(crate) fn on_connection(
        &mut self,
        epoch: Epoch,
        at: Option<Timestamp>,
        change: impl FnOnce(&mut Details),
    ) {
        let number = at.map_or(0, |at| at.0 >> self.span_exponent);
        let span = Span { epoch, number };
        change(self.spans.entry(span).or_default());
        self.bound();
    }

    /// Makes each span so long, if it is shorter.
    fn lengthen_spans(&mut self, exponent: u32) {
        let by = exponent.saturating_sub(self.span_exponent);
        if by == 0 {
            return;
        }
        self.span_exponent = exponent;
        for (Span { epoch, number }, details) in std::mem::take(&mut self.spans) {
            let number = number >> by;
            let span = Span { epoch, number };
            self.spans.entry(span).or_default().merge(details);
        }
    }

    /// The details of all connections within these times, both included.
    fn details_within(&self, times: &RangeInclusive<Timestamp>) -> Details {
        let mut all = Details::default();
        for details in self.all_details() {
            all.merge(details.within(times));
        }
        all
    }

    fn all_details(&self) -> impl Iterator<Item = &Details> {
        std::iter::once(&self.older).chain(self.spans.values())
    }

    /// Drops the oldest starts and stops above the bound, lengthens the spans, and merges the oldest connections. Only the
    /// keys decide which, so it does not matter when this is done.
    pub(crate) fn bound(&mut self) {
        while self.starts.len() > Self::PARTS_MAX {
            self.starts.pop_first();
        }
        while self.stops.len() > Self::PARTS_MAX {
            self.stops.pop_first();
        }
        while self.spans.len() > Self::SPANS_MAX && self.span_exponent < Self::SPAN_EXPONENT_MAX {
            self.lengthen_spans(self.span_exponent + 1);
        }
        while self.spans.len() > Self::CONNECTIONS_MAX {
            if let Some((_, oldest)) = self.spans.pop_first() {
                self.older.merge(oldest);
            }
        }
    }
}

impl Merge for TransactionState {
    fn merge(&mut self, other: Self) {
        self.version.merge(other.version);
        for (key, start) in other.starts {
            self.starts.entry(key).or_default().merge(start);
        }
        for (key, stop) in other.stops {
            self.stops.entry(key).or_default().merge(stop);
        }
        self.older.merge(other.older);
        let mut other_spans = Self {
            spans: other.spans,
            span_exponent: other.span_exponent,
            ..Self::default()
        };
        let exponent = self.span_exponent.max(other_spans.span_exponent);
        self.lengthen_spans(exponent);
        other_spans.lengthen_spans(exponent);
        for (span, details) in other_spans.spans {
            self.spans.entry(span).or_default().merge(details);
        }
        self.bound();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;
    use crate::record::Seq;
    use crate::{GatewayId, RecordId};
    use uuid::Uuid;

    fn with_stop(seq: u64, at: i64) -> TransactionState {
        let stamp = Stamp {
            at: Timestamp(at),
            received_at: Timestamp(at),
            record: RecordId {
                gateway: GatewayId(Uuid::nil()),
                seq: Seq(seq),
            },
            part: 0,
        };
        let key = ContentKey {
            at: Timestamp(at),
            hash: 1,
            record: 0,
        };
        let mut state = TransactionState::default();
        state.stops.insert(key, First::new(stamp, Stop::default()));
        state
    }

    #[test]
    fn the_parts_of_one_id_are_bounded_in_any_order() {
        let all: Vec<_> = (0..700)
            .map(|i| with_stop(i, i64::try_from(i).unwrap()))
            .collect();
        let merged = |states: &mut dyn Iterator<Item = &TransactionState>| {
            let mut merged = TransactionState::default();
            for state in states {
                merged.merge(state.clone());
            }
            merged
        };
        let up = merged(&mut all.iter());
        assert_eq!(up.stops.len(), TransactionState::PARTS_MAX);
        assert_eq!(up, merged(&mut all.iter().rev()));
        let odd_first = all.iter().skip(1).step_by(2).chain(all.iter().step_by(2));
        assert_eq!(up, merged(&mut odd_first.into_iter()));
    }

    #[test]
    fn spans_are_as_short_as_their_bound_allows_in_any_order() {
        let one = |epoch: u64, at: i64| {
            let mut state = TransactionState::default();
            let change = |details: &mut Details| details.note_time(Timestamp(at));
            state.on_connection(Epoch(epoch), Some(Timestamp(at)), change);
            state
        };
        let merged = |states: &mut dyn Iterator<Item = TransactionState>| {
            let mut merged = TransactionState::default();
            for state in states {
                merged.merge(state);
            }
            merged
        };
        // (connections, messages on each): the last have too many connections to be kept apart.
        for (epochs, messages) in [(1, 20), (1, 1_000), (10, 10), (40, 3), (100, 2)] {
            let all: Vec<_> = (0..epochs * messages)
                .map(|i| one(i / messages, i64::try_from(i).unwrap() * 7_777))
                .collect();
            let up = merged(&mut all.iter().cloned());
            let down = merged(&mut all.iter().rev().cloned());
            assert_eq!(up, down, "{epochs} {messages}");
            let (odd, even) = (all.iter().skip(1).step_by(2), all.iter().step_by(2));
            let mut halves = merged(&mut odd.cloned());
            halves.merge(merged(&mut even.cloned()));
            assert_eq!(up, halves, "{epochs} {messages}");
            assert!(up.spans.len() <= TransactionState::SPANS_MAX.max(epochs as usize));
            assert!(up.spans.len() <= TransactionState::CONNECTIONS_MAX);
            let json = serde_json::to_string(&up).unwrap();
            assert_eq!(serde_json::from_str::<TransactionState>(&json).unwrap(), up);
        }
        // Where there is room, messages of different times stay apart.
        let few = merged(&mut (0..20).map(|i| one(1, i)));
        assert_eq!((few.spans.len(), few.span_exponent), (20, 0));
    }

    #[test]
    fn a_content_key_is_read_from_its_text() {
        for (at, record) in [(0, 0), (-5, 7), (i64::MAX, 0), (i64::MIN, u64::MAX)] {
            let key = ContentKey {
                at: Timestamp(at),
                hash: 0xdead_beef,
                record,
            };
            assert_eq!(ContentKey::try_from(String::from(key)), Ok(key));
        }
        let stop = ContentKey {
            at: Timestamp(-5),
            hash: 3,
            record: 0,
        };
        for written in ["-1", "0", ""] {
            let id = unnamed_stop_id(written, &stop);
            assert_eq!(written_id_of_unnamed_stop(&id), Some(written));
        }
        for id in ["-1", "7", "7#0-3", "A#B", "-1#x", "#"] {
            assert_eq!(written_id_of_unnamed_stop(id), None, "{id}");
        }
        assert!(ContentKey::try_from("nonsense".to_owned()).is_err());
    }
}
