//! How often a charger needed each tolerance, and since when.

use super::{Boot, ChargerKey};
use crate::{Quirk, RecordId, Timestamp};
use serde::Serialize;

/// One quirk of one record. The store counts it once for each record, however often the record arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuirkOfRecord {
    /// The record.
    pub record: RecordId,
    /// The quirk.
    pub quirk: Quirk,
    /// When the record was received.
    pub at: Timestamp,
}

/// How often something occurred, the first and the last time. Adding is commutative and not idempotent: each record must
/// be added once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QuirkCount {
    /// Records.
    pub count: u64,
    /// When the first of them was received.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub first_at: Timestamp,
    /// When the last of them was received.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub last_at: Timestamp,
}

impl QuirkCount {
    /// One record that was received at this time.
    #[must_use]
    pub const fn once(at: Timestamp) -> Self {
        Self {
            count: 1,
            first_at: at,
            last_at: at,
        }
    }

    /// Adds other records to these.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
    }
}

/// A quirk of one charger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QuirkView {
    /// The quirk.
    pub quirk: Quirk,
    /// How often and when.
    #[serde(flatten)]
    pub count: QuirkCount,
}

/// A kind of charger, by its latest boot; a text that it did not report is empty. The texts are cut to
/// [`ChargerModel::TEXT_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct ChargerModel {
    /// The vendor.
    pub vendor: String,
    /// The model.
    pub model: String,
    /// The firmware.
    pub firmware: String,
}

impl ChargerModel {
    /// Bytes of a text at most; OCPP permits 50 characters.
    pub const TEXT_BYTES_MAX: usize = 200;

    /// The kind of charger that this boot reports.
    #[must_use]
    pub fn of(boot: Option<&Boot>) -> Self {
        let text = |of: fn(&Boot) -> &Option<String>| {
            let text = boot
                .and_then(|boot| of(boot).as_deref())
                .unwrap_or_default();
            text[..text.floor_char_boundary(Self::TEXT_BYTES_MAX)].to_owned()
        };
        Self {
            vendor: text(|boot| &boot.vendor),
            model: text(|boot| &boot.model),
            firmware: text(|boot| &boot.firmware),
        }
    }
}

/// A quirk of all chargers of one vendor, model and firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuirkSummary {
    /// The quirk.
    pub quirk: Quirk,
    /// The kind of charger.
    #[serde(flatten)]
    pub model: ChargerModel,
    /// Chargers with the quirk.
    pub chargers: u64,
    /// How often and when.
    #[serde(flatten)]
    pub count: QuirkCount,
}

/// The chargers' quirks that a database holds: by charger and quirk.
pub type QuirkCounts = std::collections::BTreeMap<(ChargerKey, Quirk), QuirkCount>;
