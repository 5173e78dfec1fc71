//! Dead letters and what becomes of them.

use serde::Serialize;
use utoipa::ToSchema;

/// Whether a dead letter waits for a person.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeadLetterState {
    /// It can be retried or discarded.
    Waiting,
    /// A person has discarded it; its content is deleted.
    Discarded,
}

/// A record that could not be applied.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// `GATEWAY/NUMBER`: also the end of the address of the dead letter.
    record_id: String,
    /// Null if the record has no charger or cannot be decoded.
    charger_id: Option<String>,
    /// The action of OCPP; null likewise.
    action: Option<String>,
    state: DeadLetterState,
    /// Why it cannot be applied.
    reason: String,
    /// When it became a dead letter.
    #[schema(format = DateTime)]
    at: String,
    size_bytes: u64,
    /// Its bytes; U+FFFD replaces what is not UTF-8. Null if it was discarded.
    content: Option<String>,
    /// Who discarded it; null while it waits.
    discarded: Option<Discarded>,
}

/// That a person has discarded a dead letter.
#[derive(Serialize, ToSchema)]
pub(crate) struct Discarded {
    #[schema(format = DateTime)]
    at: String,
    /// The name of the API key, or the account of the command line.
    by: String,
    reason: String,
}

/// Selects dead letters that wait. An empty filter selects all of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterFilter {
    /// Only those of this charger; letter case is ignored.
    charger: Option<String>,
    /// Only this action of OCPP; letter case is ignored.
    action: Option<String>,
    /// Only those whose reason contains this text, in this letter case.
    reason: Option<String>,
    /// Only those that became dead letters at this time or later.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// Only those that became dead letters before this time.
    #[schema(format = DateTime)]
    to: Option<String>,
}

/// Which dead letters are tried again: at most 1,000.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetryDeadLetters {
    filter: DeadLetterFilter,
    /// How many match, as a dry run or the list has shown; if it is another number, nothing is changed. A dry run may leave
    /// it out.
    #[schema(example = 3)]
    expected: Option<u64>,
}

/// Which dead letters are discarded: at most 1,000.
#[derive(Serialize, ToSchema)]
pub(crate) struct DiscardDeadLetters {
    filter: DeadLetterFilter,
    /// How many match, as a dry run or the list has shown; if it is another number, nothing is changed. A dry run may leave
    /// it out.
    #[schema(example = 3)]
    expected: Option<u64>,
    /// Why: 1 to 1,000 characters without line ends and control characters.
    #[schema(example = "test data", min_length = 1, max_length = 1000)]
    reason: String,
}

/// Why a dead letter is discarded.
#[derive(Serialize, ToSchema)]
pub(crate) struct DiscardDeadLetter {
    /// Why: 1 to 1,000 characters without line ends and control characters.
    #[schema(example = "test data", min_length = 1, max_length = 1000)]
    reason: String,
}

/// What became of dead letters that were tried again.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterRetry {
    /// Whether nothing was changed.
    dry_run: bool,
    /// The records that are applied, and are no dead letters any more.
    applied: Vec<String>,
    /// The others.
    still_dead: Vec<StillDead>,
}

/// A dead letter that still cannot be applied.
#[derive(Serialize, ToSchema)]
pub(crate) struct StillDead {
    record_id: String,
    /// Why.
    reason: String,
}

/// The dead letters that were discarded.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterDiscard {
    /// Whether nothing was changed.
    dry_run: bool,
    /// Their records.
    discarded: Vec<String>,
}
