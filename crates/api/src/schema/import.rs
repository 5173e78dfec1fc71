//! Schemas of imports.

use serde::Serialize;
use utoipa::ToSchema;

/// The verdicts of an import.
#[derive(Serialize, ToSchema)]
pub(crate) struct Import {
    /// Whether nothing was changed, because the request asked for the verdicts only.
    dry_run: bool,
    created: u64,
    updated: u64,
    unchanged: u64,
    refused: u64,
    /// In the order of the lines.
    lines: Vec<ImportVerdict>,
}

/// The verdict on a line of an import.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportVerdict {
    /// The number of the line in the file, from 1.
    line: u64,
    /// The id of the token or charger.
    id: Option<String>,
    outcome: ImportOutcome,
    /// The members that change.
    changes: Vec<String>,
    /// The column that is refused.
    column: Option<String>,
    /// The refused value, at most 300 characters of it.
    value: Option<String>,
    /// What to do instead.
    cure: Option<String>,
}

/// What becomes of a line of an import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ImportOutcome {
    Created,
    Updated,
    Unchanged,
    Refused,
}
