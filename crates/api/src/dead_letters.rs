//! `/api/v1/dead-letters`: records that could not be applied, which a person tries again or discards.
//!
//! The path of one letter is the record's id, `GATEWAY/NUMBER`, as every answer has it.

use crate::change::{self, Change, Members};
use crate::error::{ApiError, Fault};
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use central::RecordId;
use central::ports::{
    ChangeRequest, DISCARD_REASON_CHARS_MAX, DiscardRequest, LetterSelection, NotSelected, Once,
    Retried, StillDead,
};
use central::query::{DeadLetterFilter, DeadLetterState, parameters};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The parameters of the list of dead letters.
pub(crate) const PARAMETERS: &[&str] = &[
    "charger", "action", "reason", "from", "to", "state", "cursor", "limit", "fields",
];
/// The parameters of a change of several.
pub(crate) const CHANGE_PARAMETERS: &[&str] = &["dry_run"];

/// The members of a filter in a body.
const FILTER_MEMBERS: &[&str] = &["charger", "action", "reason", "from", "to"];

/// `GET /api/v1/dead-letters`
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters",
    params(
        ("charger" = Option<String>, Query, description = "Only those of this charger; letter case is ignored"),
        ("action" = Option<String>, Query, description = "Only this action of OCPP; letter case is ignored"),
        ("reason" = Option<String>, Query, description = "Only those whose reason contains this text, in this letter case"),
        ("from" = Option<String>, Query, description = "Only those that became dead letters at this time or later: RFC 3339, or milliseconds since 1970-01-01 UTC"),
        ("to" = Option<String>, Query, description = "Only those that became dead letters before this time"),
        ("state" = Option<String>, Query, description = "`waiting` (default), or `discarded`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::DeadLetter>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let (from, to) = query.span()?;
    let state_wanted = query.one_of(
        "state",
        &DeadLetterState::ALL.map(|state| (state.as_str(), state)),
    )?;
    let filter = DeadLetterFilter {
        charger: query.text("charger")?.map(str::to_owned),
        action: query.action("action")?.map(str::to_owned),
        reason: query.text("reason")?.map(str::to_owned),
        from,
        to,
        state: state_wanted.unwrap_or_default(),
    };
    let wanted = request.wanted(&query, "DeadLetter")?;
    state
        .answer_list(move |store| {
            page::collected(wanted, |_| {}, |page| store.dead_letters(&filter, page))?.into_answer()
        })
        .await
}

/// `GET /api/v1/dead-letters/{gateway_id}/{seq}`
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters/{gateway_id}/{seq}",
    params(
        ("gateway_id" = Uuid, Path, description = "The first part of `record_id`"),
        ("seq" = u64, Path, description = "The second part of `record_id`"),
    ),
    responses((status = 200, description = "The dead letter", body = schema::DeadLetter))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<RecordId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let letters = state.dead_letters()?;
    state
        .answer(move |_| {
            let found = letters.letter_row(id);
            let found = found.map_err(|error| ApiError::unavailable(&error))?;
            found.ok_or_else(|| ApiError::unknown_dead_letter(&id.to_string()))
        })
        .await
}

/// `POST /api/v1/dead-letters/{gateway_id}/{seq}/retry`
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/{gateway_id}/{seq}/retry",
    params(
        ("gateway_id" = Uuid, Path, description = "The first part of `record_id`"),
        ("seq" = u64, Path, description = "The second part of `record_id`"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours gets the same answer"),
    ),
    responses((status = 200, description = "Whether it is applied, or why it still cannot be", body = schema::DeadLetterRetry))
)]
pub(crate) async fn retry(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<RecordId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    retried(&state, LetterSelection::Ids(vec![id]), request).await
}

/// `POST /api/v1/dead-letters/{gateway_id}/{seq}/discard`
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/{gateway_id}/{seq}/discard",
    params(
        ("gateway_id" = Uuid, Path, description = "The first part of `record_id`"),
        ("seq" = u64, Path, description = "The second part of `record_id`"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours gets the same answer"),
    ),
    request_body = schema::DiscardDeadLetter,
    responses((status = 200, description = "It is discarded", body = schema::DeadLetterDiscard))
)]
pub(crate) async fn discard(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<RecordId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let reason = reason(&mut members);
    members.finish(&["reason"])?;
    let wanted = DiscardRequest {
        selection: LetterSelection::Ids(vec![id]),
        // Without it, a fault was reported.
        reason: reason.ok_or_else(ApiError::internal)?,
        request,
    };
    discarded(&state, wanted).await
}

/// `POST /api/v1/dead-letters/retry`
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/retry",
    params(
        ("dry_run" = Option<bool>, Query, description = "`true`: nothing is changed; `applied` has those that this version can decode, and `still_dead` the others"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours gets the same answer"),
    ),
    request_body = schema::RetryDeadLetters,
    responses((status = 200, description = "What became of each", body = schema::DeadLetterRetry))
)]
pub(crate) async fn retry_matching(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    let is_dry = is_dry(&change)?;
    let request = change.request()?;
    let mut members = change.members()?;
    let selection = selection(&mut members, is_dry);
    members.finish(&["filter", "expected"])?;
    let selection = selection.ok_or_else(ApiError::internal)?;
    if !is_dry {
        return retried(&state, selection, request).await;
    }
    let retries = state.letter_retries()?;
    let tried = state
        .run(move |_| {
            let tried = retries.try_letters(&selection);
            let tried = tried.map_err(|error| ApiError::unavailable(&error))?;
            tried.map_err(|refused| not_selected(&refused))
        })
        .await?;
    change::object(StatusCode::OK, &RetryAnswer::of(true, tried), None)
}

/// `POST /api/v1/dead-letters/discard`
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/discard",
    params(
        ("dry_run" = Option<bool>, Query, description = "`true`: nothing is changed; `discarded` has those that would be"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours gets the same answer"),
    ),
    request_body = schema::DiscardDeadLetters,
    responses((status = 200, description = "They are discarded", body = schema::DeadLetterDiscard))
)]
pub(crate) async fn discard_matching(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    let is_dry = is_dry(&change)?;
    let request = change.request()?;
    let mut members = change.members()?;
    let reason = reason(&mut members);
    let selection = selection(&mut members, is_dry);
    members.finish(&["filter", "expected", "reason"])?;
    let selection = selection.ok_or_else(ApiError::internal)?;
    let reason = reason.ok_or_else(ApiError::internal)?;
    if !is_dry {
        let wanted = DiscardRequest {
            selection,
            reason,
            request,
        };
        return discarded(&state, wanted).await;
    }
    let letters = state.dead_letters()?;
    let found = state
        .run(move |_| {
            let found = letters.select_letters(&selection);
            let found = found.map_err(|error| ApiError::unavailable(&error))?;
            found.map_err(|refused| not_selected(&refused))
        })
        .await?;
    let answer = DiscardAnswer {
        dry_run: true,
        discarded: found.iter().map(RecordId::to_string).collect(),
    };
    change::object(StatusCode::OK, &answer, None)
}

#[derive(Serialize)]
struct RetryAnswer {
    dry_run: bool,
    applied: Vec<String>,
    still_dead: Vec<StillDead>,
}

impl RetryAnswer {
    fn of(dry_run: bool, retried: Retried) -> Self {
        Self {
            dry_run,
            applied: retried.applied,
            still_dead: retried.still_dead,
        }
    }
}

#[derive(Serialize)]
struct DiscardAnswer {
    dry_run: bool,
    discarded: Vec<String>,
}

async fn retried(
    state: &AppState,
    selection: LetterSelection,
    request: ChangeRequest,
) -> Result<Response, ApiError> {
    let retries = state.letter_retries()?;
    let retried = state
        .run(move |_| {
            let retried = retries.retry_letters(&selection, &request);
            done(retried.map_err(|error| ApiError::unavailable(&error))?)
        })
        .await?;
    change::object(StatusCode::OK, &RetryAnswer::of(false, retried), None)
}

async fn discarded(state: &AppState, wanted: DiscardRequest) -> Result<Response, ApiError> {
    let letters = state.dead_letters()?;
    let discarded = state
        .run(move |_| {
            let discarded = letters.discard_letters(&wanted);
            done(discarded.map_err(|error| ApiError::unavailable(&error))?)
        })
        .await?;
    let answer = DiscardAnswer {
        dry_run: false,
        discarded,
    };
    change::object(StatusCode::OK, &answer, None)
}

fn done<T>(once: Once<T, NotSelected>) -> Result<T, ApiError> {
    match once {
        Once::Done(done) | Once::Repeated(done) => Ok(done),
        Once::Refused(refused) => Err(not_selected(&refused)),
        Once::Mismatch => Err(ApiError::idempotency_mismatch()),
        Once::InUse => Err(ApiError::idempotency_in_use()),
    }
}

fn not_selected(refused: &NotSelected) -> ApiError {
    match refused {
        NotSelected::Unknown { id } => ApiError::unknown_dead_letter(&id.to_string()),
        NotSelected::Discarded { .. } => ApiError::dead_letter_discarded(refused),
        NotSelected::OtherNumber { .. } => ApiError::other_number(refused),
        NotSelected::TooMany { .. } => ApiError::bad_members(vec![Fault::of_member(
            "filter",
            format!("{refused}: narrow the filter, for example with from and to"),
        )]),
    }
}

fn is_dry(change: &Change) -> Result<bool, ApiError> {
    let query = change.query(CHANGE_PARAMETERS)?;
    Ok(query.boolean("dry_run")?.unwrap_or(false))
}

fn reason(members: &mut Members) -> Option<String> {
    let expected = format!(
        "a text of 1 to {DISCARD_REASON_CHARS_MAX} characters without line ends and control characters"
    );
    let is_reason = |text: &String| {
        let text = text.trim();
        (1..=DISCARD_REASON_CHARS_MAX).contains(&text.chars().count())
            && !text.contains(char::is_control)
    };
    let reason = members.required("reason", &expected, is_reason);
    reason.map(|reason| reason.trim().to_owned())
}

/// A filter in a body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    charger: Option<String>,
    action: Option<String>,
    reason: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// The letters that a body selects; `None` if a fault was noted. A dry run needs no expected number.
fn selection(members: &mut Members, is_dry: bool) -> Option<LetterSelection> {
    let right = format!(
        "an object with the members {}; an empty one selects all dead letters that wait",
        FILTER_MEMBERS.join(", ")
    );
    let filter: Option<Filter> = members.required("filter", &right, |_| true);
    let right = "the number of dead letters that match, which a dry run shows";
    let expected: Option<u64> = match is_dry {
        true => members.take("expected", right).value(),
        false => Some(members.required("expected", right, |_| true)?),
    };
    let filter = filter?;
    let mut time = |name: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => match parameters::time(&text) {
            Some(at) => Ok(Some(at)),
            None => {
                let right = parameters::TIME_EXPECTED;
                members.fault("filter", format!("filter.{name} must be {right}"));
                Err(())
            }
        },
    };
    let (from, to) = (time("from", filter.from), time("to", filter.to));
    let action = match filter.action {
        None => None,
        Some(text) => match parameters::action(&text) {
            Some(action) => Some(action.to_owned()),
            None => {
                let right = parameters::ACTION_EXPECTED;
                members.fault("filter", format!("filter.action must be {right}"));
                return None;
            }
        },
    };
    for (name, text) in [("charger", &filter.charger), ("reason", &filter.reason)] {
        if text.as_deref().is_some_and(str::is_empty) {
            members.fault(
                "filter",
                format!("filter.{name} is empty: give a text, or leave it out"),
            );
            return None;
        }
    }
    let filter = DeadLetterFilter {
        charger: filter.charger,
        action,
        reason: filter.reason,
        from: from.ok()?,
        to: to.ok()?,
        state: DeadLetterState::Waiting,
    };
    Some(LetterSelection::Matching { filter, expected })
}
