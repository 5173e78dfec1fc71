//! The terms of a question to [`QueryStore`]: filters, pages and cursors.

mod cursor;
mod scan;

pub use crate::model::{DeadLetterRow, MessageRow};
pub use crate::ports::{QueryError, QueryStore};
pub use cursor::{Cursor, Place};
pub use scan::{all_messages, all_transactions};

use crate::model::{ChargerView, ConnectorView};
use crate::record::RecordKind;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Rows on a page when nobody says how many.
pub const PAGE_DEFAULT: usize = 100;
/// More rows than this are never put on one page.
pub const PAGE_MAX: usize = 1_000;

/// Which chargers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChargerFilter {
    /// Only those that are (or are not) connected now.
    pub online: Option<bool>,
    /// Only those whose identity contains this, in any case.
    pub search: Option<String>,
}

/// Which transactions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TransactionFilter {
    /// Only those of this charger, in any case.
    pub charger: Option<String>,
    /// Only those still running (or only those ended).
    pub open: Option<bool>,
    /// Only those begun at or after.
    pub from: Option<Timestamp>,
    /// Only those begun before.
    pub to: Option<Timestamp>,
}

/// Which messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageFilter {
    /// Only those of this charger, in any case.
    pub charger: Option<String>,
    /// Only this action, spelled as OCPP does.
    pub action: Option<String>,
    /// Only this kind.
    pub kind: Option<RecordKind>,
    /// Only those received at or after.
    pub from: Option<Timestamp>,
    /// Only those received before.
    pub to: Option<Timestamp>,
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRequest {
    /// Begin behind this place; `None` = at the beginning.
    pub after: Option<Cursor>,
    /// At most so many rows; 0 means [`PAGE_DEFAULT`], more than [`PAGE_MAX`] means [`PAGE_MAX`].
    pub limit: usize,
}

impl PageRequest {
    /// The number of rows that this asks for, within the bounds.
    #[must_use]
    pub const fn rows(&self) -> usize {
        match self.limit {
            0 => PAGE_DEFAULT,
            1..=PAGE_MAX => self.limit,
            _ => PAGE_MAX,
        }
    }
}

/// Some rows of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when there was nothing more at the time of asking.
    /// A page can be short, even empty, and yet have a next one, when matches are rare.
    #[serde(rename = "next_cursor")]
    pub next: Option<Cursor>,
}

/// A charger with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChargerDetail {
    /// The charger itself.
    #[serde(flatten)]
    pub charger: ChargerView,
    /// Its connectors, by EVSE and number.
    pub connectors: Vec<ConnectorView>,
}
