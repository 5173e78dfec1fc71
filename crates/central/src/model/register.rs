//! Values that merge: of two values a rule decides which one stays.

use super::Merge;
use crate::record::Seq;
use crate::{GatewayId, RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The time and the source of a value: a total order on all values.
///
/// The order is (time of the value, time of reception, record, index within the record), so a message that waited in the
/// charger's queue never overwrites a newer value (rule Q-11), and the result is the same everywhere. Two values with
/// equal stamps are equal, because a record is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "WireStamp", into = "WireStamp")]
pub struct Stamp {
    /// Time of the value: the charger's timestamp, but never later than `received_at`; `received_at` if that is missing
    /// or implausible.
    pub at: Timestamp,
    /// When the gateway read it.
    pub received_at: Timestamp,
    /// The record that holds the value.
    pub record: RecordId,
    /// The index within the record, for records with several values of one time.
    pub part: u32,
}

/// `[at, received_at, gateway, seq, part]`: states hold many stamps, so their JSON is short.
type WireStamp = (i64, i64, Uuid, Seq, u32);

impl From<WireStamp> for Stamp {
    fn from((at, received_at, gateway, seq, part): WireStamp) -> Self {
        Self {
            at: Timestamp(at),
            received_at: Timestamp(received_at),
            record: RecordId {
                gateway: GatewayId(gateway),
                seq,
            },
            part,
        }
    }
}

impl From<Stamp> for WireStamp {
    fn from(stamp: Stamp) -> Self {
        (
            stamp.at.0,
            stamp.received_at.0,
            stamp.record.gateway.0,
            stamp.record.seq,
            stamp.part,
        )
    }
}

/// Keeps the newest value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latest<T>(Option<(Stamp, T)>);

/// Keeps the oldest value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct First<T>(Option<(Stamp, T)>);

macro_rules! register {
    ($name:ident, $wins:tt) => {
        impl<T> $name<T> {
            /// Holds `value`.
            pub const fn new(stamp: Stamp, value: T) -> Self {
                Self(Some((stamp, value)))
            }

            /// Sets the value, unless the one that is held wins.
            pub fn set(&mut self, stamp: Stamp, value: T) {
                if self.0.as_ref().is_none_or(|(held, _)| stamp $wins *held) {
                    self.0 = Some((stamp, value));
                }
            }

            /// The value, if any was set.
            pub fn get(&self) -> Option<&T> {
                self.0.as_ref().map(|(_, value)| value)
            }

            /// The stamp of the value.
            pub fn stamp(&self) -> Option<Stamp> {
                self.0.as_ref().map(|(stamp, _)| *stamp)
            }

            /// The same, without a value whose stamp does not satisfy `keep`.
            #[must_use]
            pub fn filter(self, keep: impl FnOnce(&Stamp) -> bool) -> Self {
                Self(self.0.filter(|(stamp, _)| keep(stamp)))
            }

            /// The same, with its value replaced.
            #[must_use]
            pub fn map<U>(self, change: impl FnOnce(T) -> U) -> $name<U> {
                $name(self.0.map(|(stamp, value)| (stamp, change(value))))
            }

            /// Whether no value was ever set.
            pub const fn is_empty(&self) -> bool {
                self.0.is_none()
            }
        }

        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(None)
            }
        }

        impl<T> Merge for $name<T> {
            fn merge(&mut self, other: Self) {
                if let Some((stamp, value)) = other.0 {
                    self.set(stamp, value);
                }
            }
        }
    };
}

register!(Latest, >);

impl Latest<String> {
    /// As [`Latest::set`]; does not copy a text that is held already.
    pub fn set_text(&mut self, stamp: Stamp, text: &str) {
        match &mut self.0 {
            Some((held, value)) if value == text => *held = stamp.max(*held),
            _ => self.set(stamp, text.to_owned()),
        }
    }
}

register!(First, <);
