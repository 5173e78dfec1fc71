//! The readings of one transaction, one item per sampled value, and at most one per interval if the request wants that.
//!
//! A stored row is one element of a `meterValue` list and may have many values. A page ends within a row or an interval
//! where its limit ends it; then the next page reads that row or interval again and continues behind what was returned.

use super::{Page, PageRequest, Place, QueryError, QueryStore};
use crate::Timestamp;
use crate::model::{
    ChargerKey, MeterValueRow, READINGS_SPAN_MS, TransactionState, TransactionView,
};
use ocpp::meter::SampledValue;
use ocpp::v16;
use serde::Serialize;
use std::collections::HashMap;

/// How long after a stop values that name the transaction are sought, in milliseconds: how far a clock is ahead is known
/// only roughly. Not for an id that may be used again.
const AFTER_STOP_MS: i64 = 60_000;
/// The same after the last message of a session without a stop, where it may not be known that the clock is ahead.
const AFTER_LAST_MS: i64 = 86_400_000;
/// Rows per query.
const ROWS_PER_QUERY: usize = 64;
/// Rows after which a page ends early.
const ROWS_PER_PAGE: usize = 2_000;
/// Rows of one interval that are read at once. An interval with more of them has one more value for each further group.
pub const ROWS_PER_INTERVAL: usize = 5_000;
/// Queries without a row after which a page ends early.
const EMPTY_QUERIES: usize = 16;

/// Selects stored rows of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingFilter {
    /// The charger.
    pub charger: ChargerKey,
    /// Rows that name this transaction.
    pub transaction_id: String,
    /// Only rows of this time or later.
    pub from: Timestamp,
    /// Only rows of this time or earlier.
    pub to: Timestamp,
    /// Also rows that name no transaction, of this connector (1.6) or EVSE (2.x), from the first time to the second, both
    /// included.
    pub unnamed: Option<(i64, Timestamp, Timestamp)>,
}

impl ReadingFilter {
    /// The rows of this transaction. Rows have the times that the charger wrote, so the bounds are such times too; those of
    /// the view are corrected where the clock is ahead.
    #[must_use]
    pub fn of(view: &TransactionView) -> Self {
        let session = view.place_session();
        let start = session.and_then(|session| session.written_start_at);
        let stop = view.place_stop().map(|stop| stop.written_at);
        let ahead_ms = view.source.ahead_ms();
        let is_reused = TransactionState::may_be_used_again(&view.transaction_id);
        let times = || {
            let shown = [view.started_at, view.ended_at, view.last_at, start, stop];
            shown.into_iter().flatten().chain(view.source.times())
        };
        let first = times().min().unwrap_or_default();
        // Of a fast clock, the values of an earlier session under the id may have the times before the start.
        let from = start.filter(|_| is_reused && ahead_ms > 0).unwrap_or(first);
        // Times that were put back to their arrival were written later, by at least this.
        let heard = view.source.times().chain(view.last_at).max();
        let heard = heard.map(|heard| heard.plus_millis(ahead_ms));
        let mut last = times().chain(heard).max().unwrap_or_default();
        if !is_reused {
            let after_ms = if stop.is_some() {
                AFTER_STOP_MS
            } else {
                AFTER_LAST_MS
            };
            last = last.plus_millis(after_ms);
        }
        let next = view.closed.as_ref();
        let next = next.map(|closed| closed.at.plus_millis(ahead_ms - 1));
        // Without written times, the shown ones are the bounds.
        let start = start.or(view.started_at);
        let end = stop.or(next).or(view.ended_at);
        let unnamed = view.place().zip(start).map(|(place, start)| {
            let longest = start.plus_millis(READINGS_SPAN_MS);
            let until = end.map_or(longest, |end| end.min(longest));
            (place, start, until)
        });
        if let Some((_, _, until)) = unnamed {
            last = last.max(until);
        }
        // An open one may get more while it is read.
        let to = if view.open { Timestamp(i64::MAX) } else { last };
        Self {
            charger: ChargerKey::of(&view.charger_id),
            transaction_id: view.transaction_id.clone(),
            from,
            to,
            unnamed,
        }
    }

    /// Whether it selects this row.
    #[must_use]
    pub fn has(&self, row: &MeterValueRow) -> bool {
        let is_named = row.transaction_id.as_ref() == Some(&self.transaction_id);
        let is_unnamed = self.unnamed.is_some_and(|(place, from, to)| {
            row.unnamed_at == Some(place) && (from..=to).contains(&row.at)
        });
        row.charger == self.charger
            && (self.from..=self.to).contains(&row.at)
            && (is_named || is_unnamed)
    }
}

/// The position of a stored row in the order of its charger's rows: its time and its hash.
pub type RowPlace = (Timestamp, i64);

/// Rows in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadingRows {
    /// The rows.
    pub rows: Vec<MeterValueRow>,
    /// The position after which there may be more; `None` at the end.
    pub next: Option<RowPlace>,
}

/// Selects sampled values. Texts are compared without regard to letter case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SampleFilter {
    /// Only this measurand.
    pub measurand: Option<String>,
    /// Only this phase; an empty text: only values without a phase.
    pub phase: Option<String>,
    /// Only this location.
    pub location: Option<String>,
    /// Only this context.
    pub context: Option<String>,
    /// At most one value of each kind in an interval of so many milliseconds: the last one. Intervals begin at multiples
    /// of this since 1970.
    pub resolution_ms: Option<i64>,
}

impl SampleFilter {
    fn has(&self, sample: &SampleView) -> bool {
        let is = |wanted: &Option<String>, text: Option<&str>| {
            let wanted = wanted.as_deref();
            wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(text.unwrap_or_default()))
        };
        is(&self.measurand, Some(&sample.measurand))
            && is(&self.phase, sample.phase.as_deref())
            && is(&self.location, Some(&sample.location))
            && is(&self.context, Some(&sample.context))
    }
}

/// One sampled value, with the defaults of the standard where the charger wrote nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleView {
    /// When it was measured, as in [`MeterValueRow::at`].
    #[serde(serialize_with = "crate::model::rfc3339::always")]
    pub at: Timestamp,
    /// What was measured.
    pub measurand: String,
    /// The phase; `None` for a value that is not of one phase.
    pub phase: Option<String>,
    /// Where it was measured.
    pub location: String,
    /// Why it was measured.
    pub context: String,
    /// The value times its multiplier; `None` if it is no number.
    pub value: Option<f64>,
    /// The unit, as written; `Wh` for energy without a unit.
    pub unit: Option<String>,
    /// Whether the charger signed it.
    pub signed: bool,
    /// The EVSE (2.x).
    pub evse: Option<i64>,
    /// The connector.
    pub connector: Option<i64>,
}

impl SampleView {
    fn of(row: &MeterValueRow, sample: &SampledValue<'_>) -> Self {
        let written = |text: &Option<std::borrow::Cow<'_, str>>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        let measurand = sample.measurand_or_default().to_owned();
        let unit = written(&sample.unit);
        let default = || {
            measurand
                .starts_with("Energy.Active")
                .then(|| "Wh".to_owned())
        };
        Self {
            at: row.at,
            phase: written(&sample.phase),
            location: written(&sample.location).unwrap_or_else(|| "Outlet".to_owned()),
            context: written(&sample.context).unwrap_or_else(|| "Sample.Periodic".to_owned()),
            value: sample.scaled(),
            unit: unit.or_else(default),
            signed: sample.is_signed || sample.format.as_deref() == Some("SignedData"),
            evse: row.evse,
            connector: row.connector,
            measurand,
        }
    }

    fn series(&self) -> [String; 4] {
        let phase = self.phase.clone().unwrap_or_default();
        let (location, context) = (self.location.clone(), self.context.clone());
        [self.measurand.clone(), phase, location, context]
    }
}

/// The matching samples of a row, in their order.
fn samples_of(row: &MeterValueRow, filter: &SampleFilter) -> Vec<SampleView> {
    let payload = format!(r#"{{"meterValue":[{{"sampledValue":{}}}]}}"#, row.sampled);
    // 1.6 and 2.x are read alike.
    let Ok(view) = v16::MeterValues::read(&payload) else {
        return Vec::new();
    };
    let values = view.meter_value.iter();
    values
        .flat_map(|value| &value.sampled_values)
        .map(|sample| SampleView::of(row, sample))
        .filter(|sample| filter.has(sample))
        .collect()
}

/// What is returned together: a row, or the last samples of an interval.
#[derive(Default)]
struct Group {
    interval: Option<i64>,
    samples: Vec<SampleView>,
    /// Where the sample of a series is in `samples`.
    by_series: HashMap<[String; 4], usize>,
    rows: usize,
    last: Option<RowPlace>,
}

impl Group {
    fn add(&mut self, row: &MeterValueRow, filter: &SampleFilter) {
        self.rows += 1;
        self.last = Some((row.at, row.key_hash));
        self.interval = filter.resolution_ms.map(|ms| row.at.0.div_euclid(ms));
        for sample in samples_of(row, filter) {
            if self.interval.is_none() {
                self.samples.push(sample);
                continue;
            }
            match self.by_series.get(&sample.series()) {
                Some(at) => self.samples[*at] = sample,
                None => {
                    self.by_series.insert(sample.series(), self.samples.len());
                    self.samples.push(sample);
                }
            }
        }
    }

    /// Whether the row belongs to the next group.
    fn ends_before(&self, row: &MeterValueRow, filter: &SampleFilter) -> bool {
        let interval = filter.resolution_ms.map(|ms| row.at.0.div_euclid(ms));
        self.rows > 0 && (interval.is_none() || interval != self.interval)
            || self.rows >= ROWS_PER_INTERVAL
    }
}

/// A page of samples in the order of their time.
///
/// # Errors
/// When the database cannot be read now, or the cursor is not one of this list.
pub fn samples(
    store: &dyn QueryStore,
    rows: &ReadingFilter,
    filter: &SampleFilter,
    page: &PageRequest,
) -> Result<Page<SampleView>, QueryError> {
    let begin = page.after.as_ref().map(Place::from_cursor).transpose()?;
    // The group that is being read begins after this row, and of it so many samples were returned.
    let (mut after, mut taken) = match begin {
        None => (None, 0),
        Some(Place::Sample(at, hash, taken)) => (Some((at, hash)), taken as usize),
        Some(_) => return Err(QueryError::BadCursor),
    };
    let cursor = |after: Option<RowPlace>, taken: usize| {
        let (at, hash) = after.unwrap_or((Timestamp(i64::MIN), i64::MIN));
        Place::Sample(at, hash, u32::try_from(taken).unwrap_or(u32::MAX)).to_cursor()
    };
    let (mut items, mut group) = (Vec::new(), Group::default());
    let (mut from, mut read, mut empty) = (after, 0, 0);
    loop {
        let found = store.meter_values(rows, from, ROWS_PER_QUERY)?;
        empty = if found.rows.is_empty() { empty + 1 } else { 0 };
        for row in &found.rows {
            if group.ends_before(row, filter) {
                let room = page.rows() - items.len();
                let ended = std::mem::take(&mut group);
                let left = ended.samples.len().saturating_sub(taken);
                items.extend(ended.samples.into_iter().skip(taken).take(room));
                if left > room {
                    let next = Some(cursor(after, taken + room));
                    return Ok(Page { items, next });
                }
                (after, taken) = (ended.last, 0);
                if items.len() == page.rows() || read >= ROWS_PER_PAGE {
                    let next = Some(cursor(after, 0));
                    return Ok(Page { items, next });
                }
            }
            read += 1;
            group.add(row, filter);
        }
        from = found.next;
        if from.is_some() && empty < EMPTY_QUERIES {
            continue;
        }
        let room = page.rows() - items.len();
        let left = group.samples.len().saturating_sub(taken);
        items.extend(group.samples.into_iter().skip(taken).take(room));
        let next = match from {
            _ if left > room => Some(cursor(after, taken + room)),
            Some(from) => Some(cursor(Some(from), 0)),
            None => None,
        };
        return Ok(Page { items, next });
    }
}
