//! `/api/v1/batches`: one command to many chargers, paced.

mod driver;
mod request;

pub(crate) use driver::drive;
pub use request::{BatchRefused, BatchRequest};

use crate::change::{Change, required_idempotency_key_of, with_location};
use crate::commands::database_time;
use crate::error::ApiError;
use crate::links::{HasLinks, Linked};
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::Json;
use axum::extract::{RawQuery, Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use central::model::{BatchChange, BatchId, CommandView, ItemState, ItemView};
use central::ports::{BatchNotChanged, BatchNotCreated, ChangeRequest, Once};
use central::query::{Page, PageRequest};
use serde::Serialize;
use std::sync::Arc;

/// The parameters of the list of batches, and of the creation of one.
pub(crate) const PARAMETERS: &[&str] = &["cursor", "limit", "fields"];
/// The parameters of the chargers of a batch.
pub(crate) const ITEM_PARAMETERS: &[&str] = &["state", "cursor", "limit", "fields"];

/// Bytes of a body at most: a list of as many identities as a batch can have, and a payload.
const BODY_BYTES_MAX: usize = 2 << 20;
/// `POST /api/v1/batches`
#[utoipa::path(
    post,
    path = "/api/v1/batches",
    params(
        ("dry_run" = Option<bool>, Query, description = "`true`: creates nothing and shows which chargers it would be for, and what each would get"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours creates nothing again. Required without dry_run"),
    ),
    request_body = schema::NewBatch,
    responses(
        (status = 200, description = "Of a dry run: what the batch would do", body = schema::DryRun),
        (status = 201, description = "The batch; `Location` is its address", body = schema::Batch),
    )
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    let change = Change::read(request, &state, BODY_BYTES_MAX).await?;
    let query = change.query(&["dry_run"])?;
    let is_dry_run = query.boolean("dry_run")?.unwrap_or(false);
    let batches = state.batches()?;
    if is_dry_run {
        let commands = state.commands()?;
        let shown = state.run(move |store| {
            let now = database_time(&*commands)?;
            BatchRequest::read(change.members()?, now)?.dry_run(store)
        });
        let shown = shown.await?;
        return Ok(Json(shown).into_response());
    }
    let request = change.request()?;
    let idempotency = Some(required_idempotency_key_of(request.idempotency)?);
    let request = ChangeRequest {
        idempotency,
        ..request
    };
    let commands = state.commands()?;
    let created = state.run(move |store| {
        // Before the request is judged: what made the first one valid may have changed since.
        let before = batches.batch_created_before(&request);
        if let Some(before) = before.map_err(|error| ApiError::unavailable(&error))? {
            return Ok(before);
        }
        let wanted = BatchRequest::read(change.members()?, database_time(&*commands)?)?;
        let created = batches.create_batch(&wanted.selected(store, request)?);
        created.map_err(|error| ApiError::unavailable(&error))
    });
    let view = match created.await? {
        Once::Done(view) | Once::Repeated(view) => view,
        Once::Refused(BatchNotCreated::TooMany) => return Err(ApiError::too_many_batches()),
        Once::Refused(BatchNotCreated::Deleted(id)) => return Err(ApiError::batch_deleted(id)),
        Once::Mismatch => return Err(ApiError::idempotency_mismatch()),
        Once::InUse => return Err(ApiError::idempotency_in_use()),
    };
    state.wake_driver();
    let location = format!("/api/v1/batches/{}", view.id);
    let response = (StatusCode::CREATED, Json(&view)).into_response();
    Ok(with_location(response, &location))
}

/// `GET /api/v1/batches`
#[utoipa::path(
    get,
    path = "/api/v1/batches",
    params(
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page, the newest batch first", body = schema::Page<schema::Batch>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let wanted = request.wanted(&query, "Batch")?;
    let batches = state.batches()?;
    state
        .answer_list(move |_| {
            page::collected(wanted, |_| {}, |page| batches.batches(page))?.into_answer()
        })
        .await
}

/// `GET /api/v1/batches/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/batches/{id}",
    params(("id" = Uuid, Path, description = "The `id` of the batch")),
    responses((status = 200, description = "The batch", body = schema::Batch))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<BatchId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let batches = state.batches()?;
    let view = state.run(move |_| {
        let found = batches
            .batch(id)
            .map_err(|error| ApiError::unavailable(&error))?;
        found.ok_or_else(|| ApiError::unknown_batch(&id.to_string()))
    });
    Ok(Json(view.await?).into_response())
}

/// `GET /api/v1/batches/{id}/items`
#[utoipa::path(
    get,
    path = "/api/v1/batches/{id}/items",
    params(
        ("id" = Uuid, Path, description = "The `id` of the batch"),
        ("state" = Option<String>, Query, description = "Only chargers in this state: `pending`, `started`, `succeeded`, `failed` or `not_started`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page of the chargers in the order of their turns, with their commands", body = schema::Page<schema::BatchItem>))
)]
pub(crate) async fn items(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<BatchId>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(ITEM_PARAMETERS)?;
    let states = ItemState::ALL.map(|state| (state.as_str(), state));
    let wanted_state = query.one_of("state", &states)?;
    let wanted = request.wanted(&query, "BatchItem")?;
    let (batches, commands) = (state.batches()?, state.commands()?);
    state
        .answer_list(move |_| {
            let found = batches
                .batch(id)
                .map_err(|error| ApiError::unavailable(&error))?;
            found.ok_or_else(|| ApiError::unknown_batch(&id.to_string()))?;
            let now = database_time(&*commands)?;
            let query = |page: &PageRequest| {
                let found = batches.batch_items(id, wanted_state, page, now)?;
                Ok(Page {
                    items: found.items.into_iter().map(Item::of).collect(),
                    next: found.next,
                })
            };
            page::collected(wanted, |_| {}, query)?.into_answer()
        })
        .await
}

/// A charger of a batch, with its command as the API shows it.
#[derive(Serialize)]
struct Item {
    charger_id: String,
    state: ItemState,
    detail: String,
    command: Option<Linked<CommandView>>,
}

impl Item {
    fn of(item: ItemView) -> Self {
        Self {
            charger_id: item.charger_id,
            state: item.state,
            detail: item.detail,
            command: item.command.map(HasLinks::linked),
        }
    }
}

macro_rules! changes {
    ($($name:ident, $path:literal, $what:literal, $change:ident;)*) => {
        $(
            #[doc = $what]
            #[utoipa::path(
                post,
                path = $path,
                params(
                    ("id" = Uuid, Path, description = "The `id` of the batch"),
                    ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours changes nothing again"),
                ),
                responses((status = 200, description = $what, body = schema::Batch))
            )]
            pub(crate) async fn $name(
                state: State<Arc<AppState>>,
                id: InPath<BatchId>,
                change: Change,
            ) -> Result<Response, ApiError> {
                change_state(state, id, change, BatchChange::$change).await
            }
        )*
    };
}

changes! {
    pause, "/api/v1/batches/{id}/pause", "The batch, which starts no more commands until it is resumed", Pause;
    resume, "/api/v1/batches/{id}/resume", "The batch, which goes on", Resume;
    cancel, "/api/v1/batches/{id}/cancel", "The batch, which starts no more commands", Cancel;
}

async fn change_state(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<BatchId>,
    request: Change,
    change: BatchChange,
) -> Result<Response, ApiError> {
    request.query(&[])?;
    let request = request.request()?;
    let batches = state.batches()?;
    let changed = state.run(move |_| {
        let changed = batches.change_batch(id, change, &request);
        changed.map_err(|error| ApiError::unavailable(&error))
    });
    let view = match changed.await? {
        Once::Done(view) | Once::Repeated(view) => view,
        Once::Refused(BatchNotChanged::Unknown) => {
            return Err(ApiError::unknown_batch(&id.to_string()));
        }
        Once::Refused(BatchNotChanged::Ended(ended)) => {
            return Err(ApiError::batch_ended(&id.to_string(), ended));
        }
        Once::Mismatch => return Err(ApiError::idempotency_mismatch()),
        Once::InUse => return Err(ApiError::idempotency_in_use()),
    };
    state.wake_driver();
    Ok(Json(view).into_response())
}
