//! `/api/v1/support-bundle`: what somebody who helps needs to know of an installation, in one file without a secret.
//!
//! People who report a fault leave out what they take for unimportant, and copy what they should not. The file has the
//! version, the settings without secrets, the health of this process, the pipeline, the latest warnings and errors of the
//! log, and the metrics. It is made from memory, so it comes at once while the database hangs. It has a bound.

use crate::error::ApiError;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use crate::{health, pipeline};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use central::Timestamp;
use common::clock::now_ms;
use serde_json::{Value, json};
use std::sync::Arc;

/// What only the process knows of a bundle's content.
#[derive(Clone)]
pub struct SupportDeps {
    /// The settings, without secrets: the bundle shows them as they are.
    pub settings: Value,
    /// The latest lines of the log that are warnings or errors, the oldest first. Must not block.
    pub log: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// Bytes of the metrics that a bundle has at most; what is above is left out from the end, at the end of a line.
const METRICS_BYTES_MAX: usize = 1 << 20;
/// The latest lines of the log that a bundle has at most.
const LOG_LINES_MAX: usize = 500;

/// `GET /api/v1/support-bundle`
#[utoipa::path(
    get,
    path = "/api/v1/support-bundle",
    responses((status = 200, description = "What somebody who helps needs to know, without a secret; from memory: no database is asked", body = schema::SupportBundle))
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let made_at = Timestamp(now_ms());
    let (settings, mut log) = match &state.support {
        Some(support) => (support.settings.clone(), (support.log)()),
        None => (Value::Null, Vec::new()),
    };
    log.drain(..log.len().saturating_sub(LOG_LINES_MAX));
    let metrics = (state.metrics)();
    let kept = whole_lines(&metrics, METRICS_BYTES_MAX);
    let bundle = json!({
        "made_at": made_at.to_string(),
        "version": state.version,
        "commit": state.build.commit,
        "schema_version": state.build.schema_version,
        "operating_system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "settings": settings,
        "health": health::report(&state),
        "pipeline": state.pipeline.as_deref().map(pipeline::answer),
        "log": log,
        "metrics": kept,
        "metrics_cut": kept.len() < metrics.len(),
    });
    const AS_FILE: HeaderValue =
        HeaderValue::from_static("attachment; filename=\"wattpost-support.json\"");
    Ok(([(header::CONTENT_DISPOSITION, AS_FILE)], Json(bundle)).into_response())
}

/// The longest beginning of whole lines with at most so many bytes.
fn whole_lines(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = text.bytes().take(bytes_max).rposition(|byte| byte == b'\n');
    // A line feed is one byte of its own in UTF-8, so the text is cut between characters.
    text.get(..end.map_or(0, |end| end + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_the_end_of_a_line() {
        assert_eq!(whole_lines("a\nb\n", 4), "a\nb\n");
        assert_eq!(whole_lines("a\nbü\nc\n", 5), "a\n");
        assert_eq!(whole_lines("a\nbü\nc\n", 6), "a\nbü\n");
        assert_eq!(whole_lines("abc", 2), "");
    }
}
