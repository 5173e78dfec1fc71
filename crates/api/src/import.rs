//! Imports of files, which the routes of tokens and of chargers have in common: the request, and the answer with a verdict
//! per line.

use crate::change::{self, Change};
use crate::error::{ApiError, Fault};
use crate::state::AppState;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use central::import::{Format, IMPORT_BYTES_MAX, ImportError, Line, Outcome, Verdict};
use central::ports::{ChangeRequest, Once};
use serde::Serialize;

/// The parameters of an import.
pub(crate) const PARAMETERS: &[&str] = &["dry_run"];
/// Refused lines that an error names.
const FAULTS_MAX: usize = 100;

/// A request for an import.
pub(crate) struct Import {
    format: Format,
    body: Bytes,
    pub(crate) is_dry_run: bool,
    pub(crate) request: ChangeRequest,
}

impl Import {
    pub(crate) async fn read(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let format = format(request.headers())?;
        let change = Change::read(request, state, IMPORT_BYTES_MAX).await?;
        let query = change.query(PARAMETERS)?;
        Ok(Self {
            format,
            is_dry_run: query.boolean("dry_run")?.unwrap_or(false),
            request: change.request()?,
            body: change.body,
        })
    }

    /// The lines of the file, as `read` reads them. Takes milliseconds.
    pub(crate) fn lines(
        &self,
        read: fn(Format, &[u8]) -> Result<Vec<Line>, ImportError>,
    ) -> Result<Vec<Line>, ApiError> {
        read(self.format, &self.body).map_err(|error| {
            let fault = Fault::of_member(&format!("line {}", error.line), error.why);
            ApiError::bad_members(vec![fault])
        })
    }
}

fn format(headers: &HeaderMap) -> Result<Format, ApiError> {
    match change::media_type(headers).as_str() {
        "text/csv" => Ok(Format::Csv),
        "application/x-ndjson" => Ok(Format::Ndjson),
        media => Err(ApiError::not_a_table(media)),
    }
}

#[derive(Serialize)]
struct Answer {
    dry_run: bool,
    created: usize,
    updated: usize,
    unchanged: usize,
    refused: usize,
    lines: Vec<Verdict>,
}

/// The answer with the verdicts; an error, if a line is refused and nothing was changed because of it.
pub(crate) fn answered(
    is_dry_run: bool,
    done: Once<Vec<Verdict>, Vec<Verdict>>,
) -> Result<Response, ApiError> {
    let verdicts = match done {
        Once::Done(verdicts) | Once::Repeated(verdicts) | Once::Refused(verdicts) => verdicts,
        Once::Mismatch => return Err(ApiError::idempotency_mismatch()),
        Once::InUse => return Err(ApiError::idempotency_in_use()),
    };
    let count = |outcome| {
        let verdicts = verdicts.iter();
        verdicts
            .filter(|verdict| verdict.outcome == outcome)
            .count()
    };
    let answer = Answer {
        dry_run: is_dry_run,
        created: count(Outcome::Created),
        updated: count(Outcome::Updated),
        unchanged: count(Outcome::Unchanged),
        refused: count(Outcome::Refused),
        lines: verdicts,
    };
    if answer.refused > 0 && !is_dry_run {
        return Err(ApiError::import_refused(
            answer.refused,
            faults(&answer.lines),
        ));
    }
    change::object(StatusCode::OK, &answer, None)
}

/// The first refused lines. A pointer names the line and the column.
fn faults(verdicts: &[Verdict]) -> Vec<Fault> {
    let refused = verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::Refused);
    refused
        .take(FAULTS_MAX)
        .map(|verdict| {
            let column = verdict.column.unwrap_or_default();
            let value = verdict.value.as_deref().unwrap_or_default();
            let cure = verdict.cure.as_deref().unwrap_or_default();
            Fault::of_member(
                &format!("line {} {column}", verdict.line),
                format!("{column} cannot be {value:?}: {cure}"),
            )
        })
        .collect()
}
