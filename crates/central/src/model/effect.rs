//! What a charger's messages say of the effect of a command, merged in any order.
//!
//! [`crate::effect`] says which messages these are.

mod view;

pub(super) use view::Asked;
pub use view::{EffectPhase, EffectStatus, EffectView, ReportView};

use super::{Merge, RangeSet, TransactionState};
use crate::record::{GatewayId, RecordId, Seq};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// When a gateway read a message, and the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "WireMoment", into = "WireMoment")]
pub struct Moment {
    /// When the gateway read it.
    pub at: Timestamp,
    /// The record.
    pub record: RecordId,
}

/// `[at, gateway, seq]`.
type WireMoment = (i64, Uuid, u64);

impl From<WireMoment> for Moment {
    fn from((at, gateway, seq): WireMoment) -> Self {
        let (gateway, seq) = (GatewayId(gateway), Seq(seq));
        Self {
            at: Timestamp(at),
            record: RecordId { gateway, seq },
        }
    }
}

impl From<Moment> for WireMoment {
    fn from(moment: Moment) -> Self {
        let RecordId { gateway, seq } = moment.record;
        (moment.at.0, gateway.0, seq.0)
    }
}

/// The effect of one command, as far as messages show it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EffectState {
    /// Messages by what they say: a status, the reason of a boot, an action.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<String, Mark>,
    /// Transactions by their ids on the wire.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    transactions: BTreeMap<String, Caused>,
    /// The pages of a report.
    #[serde(default, skip_serializing_if = "Pages::is_empty")]
    pages: Pages,
}

/// Messages that say the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Mark {
    /// The first [`Mark::FIRST_MAX`] of them.
    first: BTreeSet<Moment>,
    /// The last one, of a state of a transfer; later ones decide there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Moment>,
}

impl Mark {
    /// Messages can be read between the claim of a command and its sending; later ones matter no more.
    const FIRST_MAX: usize = 8;
}

impl Merge for Mark {
    fn merge(&mut self, other: Self) {
        self.first.extend(other.first);
        while self.first.len() > Self::FIRST_MAX {
            self.first.pop_last();
        }
        self.last = self.last.max(other.last);
    }
}

/// A transaction that a command may have started or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Caused {
    /// The first message that shows it.
    first: Moment,
    /// The charger's time in that message, never later than its reception.
    at: Timestamp,
    /// Its key in the list of transactions, once a store has added it.
    #[serde(skip)]
    key: Option<Uuid>,
}

/// The pages of a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Pages {
    /// The sequence numbers of numbered pages, below [`Pages::NUMBERS_MAX`].
    #[serde(default, skip_serializing_if = "RangeSet::is_empty")]
    numbers: RangeSet,
    /// The highest number of a page that says that no other follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
    /// Pages without numbers; the first [`Pages::PLAIN_MAX`] of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    plain: BTreeSet<Moment>,
    /// The last page without a number that says that no other follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plain_end: Option<Moment>,
    /// The first page and the last one, by reception.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Moment>,
}

impl Pages {
    const NUMBERS_MAX: i64 = 10_000;
    const PLAIN_MAX: usize = 256;

    const fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl Merge for Pages {
    fn merge(&mut self, other: Self) {
        self.numbers.merge(other.numbers);
        self.end = self.end.max(other.end);
        self.plain.extend(other.plain);
        while self.plain.len() > Self::PLAIN_MAX {
            self.plain.pop_last();
        }
        self.plain_end = self.plain_end.max(other.plain_end);
        self.first = match (self.first, other.first) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.last = self.last.max(other.last);
    }
}

impl EffectState {
    /// Different marks at most; the first ones by their texts are kept.
    const MARKS_MAX: usize = 32;
    /// Characters of a mark at most.
    const MARK_CHARS_MAX: usize = 64;
    /// Transactions at most; the first ones by their ids are kept.
    const TRANSACTIONS_MAX: usize = 16;

    /// Whether no message was joined with the command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn of_mark(text: &str, at: Timestamp, record: RecordId) -> Self {
        Self::marked(text, Moment { at, record }, None)
    }

    pub(crate) fn of_state(text: &str, at: Timestamp, record: RecordId) -> Self {
        let moment = Moment { at, record };
        Self::marked(text, moment, Some(moment))
    }

    fn marked(text: &str, moment: Moment, last: Option<Moment>) -> Self {
        let text = text.chars().take(Self::MARK_CHARS_MAX).collect();
        let mark = Mark {
            first: BTreeSet::from([moment]),
            last,
        };
        Self {
            marks: BTreeMap::from([(text, mark)]),
            ..Self::default()
        }
    }

    pub(crate) fn of_transaction(
        wire_id: String,
        at: Timestamp,
        received_at: Timestamp,
        record: RecordId,
    ) -> Self {
        let first = Moment {
            at: received_at,
            record,
        };
        let key = None;
        Self {
            transactions: BTreeMap::from([(wire_id, Caused { first, at, key })]),
            ..Self::default()
        }
    }

    pub(crate) fn of_page(
        number: Option<i64>,
        is_end: bool,
        at: Timestamp,
        record: RecordId,
    ) -> Self {
        let moment = Moment { at, record };
        let mut pages = Pages {
            first: Some(moment),
            last: Some(moment),
            ..Pages::default()
        };
        match number {
            Some(number) if (0..Pages::NUMBERS_MAX).contains(&number) => {
                pages.numbers.insert(number);
                pages.end = is_end.then_some(number);
            }
            // Such a page is stored as a message and missing here.
            Some(_) => {}
            None => {
                pages.plain.insert(moment);
                pages.plain_end = is_end.then_some(moment);
            }
        }
        Self {
            pages,
            ..Self::default()
        }
    }

    /// The ids on the wire of the transactions, whose keys [`EffectState::add_key`] adds.
    pub fn transaction_ids(&self) -> impl Iterator<Item = &str> {
        self.transactions.keys().map(String::as_str)
    }

    /// Adds the key of the transaction with this id on the wire: of the last session under the id that began before the
    /// message, as an id may be used again.
    pub fn add_key(&mut self, charger: &str, wire_id: &str, state: &TransactionState) {
        let Some(caused) = self.transactions.get_mut(wire_id) else {
            return;
        };
        let views = state.views(charger, wire_id);
        let before = views.iter().rev().find(|view| {
            view.started_at
                .is_none_or(|started_at| started_at <= caused.at)
        });
        caused.key = before.or(views.first()).map(|view| view.key);
    }

    /// When the first and the last page of the report were received.
    #[must_use]
    pub fn pages_received(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.pages.first?.at, self.pages.last?.at))
    }
}

impl Merge for EffectState {
    fn merge(&mut self, other: Self) {
        for (text, mark) in other.marks {
            self.marks.entry(text).or_default().merge(mark);
        }
        while self.marks.len() > Self::MARKS_MAX {
            self.marks.pop_last();
        }
        for (wire_id, theirs) in other.transactions {
            let mine = self
                .transactions
                .entry(wire_id)
                .or_insert_with(|| theirs.clone());
            if (theirs.first, theirs.at) < (mine.first, mine.at) {
                *mine = theirs;
            }
        }
        while self.transactions.len() > Self::TRANSACTIONS_MAX {
            self.transactions.pop_last();
        }
        self.pages.merge(other.pages);
    }
}

#[cfg(test)]
mod tests;
