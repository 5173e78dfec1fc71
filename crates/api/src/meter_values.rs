//! `/api/v1/transactions/{key}/meter-values`: what was measured during one transaction, for curves and spreadsheets.

use crate::error::ApiError;
use crate::page::{self, ListRequest};
use crate::path::{InPath, TransactionKey};
use crate::schema;
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use central::query::{PageRequest, ReadingFilter, SampleFilter, samples};
use std::sync::Arc;

/// The parameters of the list.
pub(crate) const PARAMETERS: &[&str] = &[
    "measurand",
    "phase",
    "location",
    "context",
    "resolution",
    "cursor",
    "limit",
    "fields",
];

/// The longest interval, in milliseconds: a day.
const RESOLUTION_MS_MAX: i64 = 86_400_000;

/// `GET /api/v1/transactions/{key}/meter-values`
#[utoipa::path(
    get,
    path = "/api/v1/transactions/{key}/meter-values",
    params(
        ("key" = Uuid, Path, description = "The `key` of the transaction"),
        ("measurand" = Option<String>, Query, description = "Only this measurand, such as `Power.Active.Import`"),
        ("phase" = Option<String>, Query, description = "Only this phase, such as `L1`; empty: only values without a phase"),
        ("location" = Option<String>, Query, description = "Only this location, such as `Outlet`"),
        ("context" = Option<String>, Query, description = "Only this context, such as `Sample.Periodic`"),
        ("resolution" = Option<String>, Query, description = "At most one value of each measurand, phase, location and context in an interval of this length: the last. `10s`, `1m`, `1h`; at most `1d`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "Sampled values by their time", body = schema::Page<schema::Sample>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    InPath(TransactionKey(key)): InPath<TransactionKey>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let text = |name| query.text(name).map(|text| text.map(str::to_owned));
    let filter = SampleFilter {
        measurand: text("measurand")?,
        phase: query.raw("phase").map(str::to_owned),
        location: text("location")?,
        context: text("context")?,
        resolution_ms: query.text("resolution")?.map(resolution_ms).transpose()?,
    };
    let wanted = request.wanted(&query, "Sample")?;
    state
        .answer_list(move |store| {
            let failed = |error| page::query_error(error, &PageRequest::default());
            let view = store.transaction(key).map_err(failed)?;
            let view = view.ok_or_else(|| ApiError::unknown_transaction(key))?;
            let rows = ReadingFilter::of(&view);
            let query = |step: &PageRequest| samples(store, &rows, &filter, step);
            page::collected(wanted, |_| {}, query)?.into_answer()
        })
        .await
}

/// The length of an interval: a whole number and a unit.
fn resolution_ms(text: &str) -> Result<i64, ApiError> {
    let unit_ms = match text.bytes().last() {
        Some(b's') => 1_000,
        Some(b'm') => 60_000,
        Some(b'h') => 3_600_000,
        Some(b'd') => 86_400_000,
        _ => 0,
    };
    // The unit is one byte, so the rest is valid text.
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = if is_number {
        number.parse().unwrap_or(0)
    } else {
        0
    };
    let ms = number.saturating_mul(unit_ms);
    if (1..=RESOLUTION_MS_MAX).contains(&ms) {
        return Ok(ms);
    }
    let right = "a whole number with a unit (s, m, h, d), at most 1d, such as 10s or 15m";
    Err(ApiError::bad_parameter("resolution", text, right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_is_a_number_with_a_unit() {
        for (text, ms) in [
            ("1s", 1_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(resolution_ms(text).ok(), Some(ms), "{text}");
        }
        for text in [
            "",
            "s",
            "0s",
            "-1s",
            "+1s",
            "1",
            "1.5m",
            "25h",
            "2d",
            "1ms",
            "1 s",
            "99999999999999999999s",
            "1ü",
        ] {
            assert!(resolution_ms(text).is_err(), "{text}");
        }
    }
}
