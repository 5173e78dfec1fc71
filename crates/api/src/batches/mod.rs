//! `/api/v1/batches`: one command to many chargers, paced.

mod driver;

pub(crate) use driver::drive;

use crate::change::{Change, Given, required_idempotency_key_of};
use crate::commands::{expiry, now};
use crate::error::ApiError;
use crate::operations::Work;
use crate::page::{self, ListRequest};
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, RawQuery, Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use central::command_request::{
    ANSWER_WITHIN_DEFAULT_MS, ANSWER_WITHIN_MS_MAX, ANSWER_WITHIN_MS_MIN, CommandRequest,
    WAIT_MAX_MS,
};
use central::model::{
    BATCH_AT_ONCE_DEFAULT, BATCH_AT_ONCE_MAX, BATCH_EXPIRES_DEFAULT_MS, BATCH_ITEMS_MAX,
    BATCH_PER_SECOND_DEFAULT, BATCH_PER_SECOND_MAX, BatchId, BatchPlan, BatchState, BatchView,
    BatchWork, ChargerKey, CommandId, ItemState, WhenOffline,
};
use central::operation::{Operation, Request};
use central::ports::{BatchCreated, NewBatch};
use central::query::{ChargerDetail, ChargerFilter, PAGE_MAX, PageRequest, QueryStore};
use ocpp::Version;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// The parameters of the list of batches, and of the creation of one.
pub(crate) const PARAMETERS: &[&str] = &["cursor", "limit", "fields"];
/// The parameters of the chargers of a batch.
pub(crate) const ITEM_PARAMETERS: &[&str] = &["state", "cursor", "limit", "fields"];

/// Bytes of a body at most: a list of as many identities as a batch can have, and a payload.
const BODY_BYTES_MAX: usize = 2 << 20;
/// The members of a body.
const MEMBERS: &[&str] = &[
    "action",
    "payload",
    "operation",
    "parameters",
    "chargers",
    "filter",
    "at_once",
    "per_second",
    "stop_after_failures",
    "stop_at_failed_percent",
    "when_offline",
    "expires_at",
    "answer_within_ms",
];
/// Chargers that a dry run shows.
const SHOWN_MAX: usize = 1_000;

/// Selects chargers by what is known of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    online: Option<bool>,
    q: Option<String>,
    ocpp_version: Option<Version>,
    vendor: Option<String>,
    model: Option<String>,
    firmware: Option<String>,
}

impl Selection {
    fn has(&self, detail: &ChargerDetail) -> bool {
        let charger = &detail.charger;
        let boot = charger.boot.as_ref();
        let is = |wanted: &Option<String>, found: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == found
        };
        self.ocpp_version
            .is_none_or(|wanted| charger.ocpp_version == Some(wanted))
            && is(&self.vendor, boot.and_then(|boot| boot.vendor.as_ref()))
            && is(&self.model, boot.and_then(|boot| boot.model.as_ref()))
            && is(&self.firmware, boot.and_then(|boot| boot.firmware.as_ref()))
    }
}

/// Which chargers a batch is for.
enum Chargers {
    Listed(Vec<String>),
    Selected(Selection),
}

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
    let requested = change.request()?;
    let idempotency = match is_dry_run {
        true => None,
        false => Some(required_idempotency_key_of(requested.idempotency)?),
    };
    let (plan, chargers) = read(&change)?;
    let by = requested
        .origin
        .by
        .name
        .unwrap_or_else(|| "without_key".to_owned());
    let batches = state.batches()?;
    let wake = Arc::clone(&state);
    state
        .run(move |store| {
            let selected = select(store, chargers)?;
            if is_dry_run {
                return Ok(Json(dry_run(store, &plan, &selected)).into_response());
            }
            let new = NewBatch {
                id: BatchId(Uuid::now_v7()),
                plan,
                chargers: selected
                    .into_iter()
                    .map(|detail| detail.charger.charger_id)
                    .collect(),
                created_at: now(),
                requested_by: by,
                idempotency,
            };
            let created = batches.create_batch(&new);
            match created.map_err(|error| ApiError::unavailable(&error))? {
                BatchCreated::New(view) | BatchCreated::Repeated(view) => {
                    wake.wake_driver();
                    let mut response = (StatusCode::CREATED, Json(&view)).into_response();
                    let location = format!("/api/v1/batches/{}", view.id);
                    if let Ok(location) = HeaderValue::from_str(&location) {
                        response.headers_mut().insert(header::LOCATION, location);
                    }
                    Ok(response)
                }
                BatchCreated::Mismatch => Err(ApiError::idempotency_mismatch()),
                BatchCreated::TooMany => Err(ApiError::too_many_batches()),
            }
        })
        .await
}

/// Reads the body.
fn read(change: &Change) -> Result<(BatchPlan, Chargers), ApiError> {
    let mut members = change.members()?;
    let number = |most: u32| format!("a whole number from 1 to {most}");
    let mut count = |name: &str, most: u32| {
        let given = members.take_if(name, &number(most), |value: &u32| {
            (1..=most).contains(value)
        });
        given.value()
    };
    let at_once = count("at_once", BATCH_AT_ONCE_MAX);
    let per_second = count("per_second", BATCH_PER_SECOND_MAX);
    let stop_after_failures = count("stop_after_failures", 1_000_000);
    let stop_at_failed_percent = count("stop_at_failed_percent", 100);
    let when_offline = members.take("when_offline", "fail or wait").value();
    let answer_within_ms = members.take_if(
        "answer_within_ms",
        "a whole number from 1000 to 600000",
        |value| (ANSWER_WITHIN_MS_MIN..=ANSWER_WITHIN_MS_MAX).contains(value),
    );
    let expires_at: Given<String> = members.take("expires_at", "a time with its offset");
    let action: Option<String> = members.take("action", "the name of an action").value();
    let payload: Given<Map<String, Value>> = members.take("payload", "a JSON object");
    let operation: Option<String> = members
        .take("operation", "the name of an operation")
        .value();
    let parameters: Given<Map<String, Value>> = members.take("parameters", "a JSON object");
    let listed: Option<Vec<String>> = members.take("chargers", "a list of identities").value();
    let selection: Given<Selection> = members.take(
        "filter",
        "an object with some of online, q, ocpp_version, vendor, model and firmware",
    );
    members.finish(MEMBERS)?;
    let work = match (action, operation) {
        (Some(action), None) => action_of(&action, payload.value().unwrap_or_default())?,
        (None, Some(operation)) => operation_of(operation, parameters.value().unwrap_or_default())?,
        (None, None) => {
            return Err(ApiError::bad_member("/action", "give action, or operation"));
        }
        (Some(_), Some(_)) => {
            let why = "action and operation are given; give one of them";
            return Err(ApiError::bad_member("/operation", why));
        }
    };
    let chargers = match (listed, selection.value()) {
        (Some(listed), None) => Chargers::Listed(listed),
        (None, Some(selection)) => Chargers::Selected(selection),
        (None, None) => {
            let why = "give chargers, or a filter; {} selects every charger";
            return Err(ApiError::bad_member("/filter", why));
        }
        (Some(_), Some(_)) => {
            let why = "chargers and filter are given; give one of them";
            return Err(ApiError::bad_member("/filter", why));
        }
    };
    let now = now();
    let expires_at = match expires_at.value() {
        None => now.plus_millis(BATCH_EXPIRES_DEFAULT_MS),
        Some(text) => expiry(&text)?,
    };
    if expires_at <= now || expires_at > now.plus_millis(WAIT_MAX_MS) {
        let why = "expires_at must be in the next 30 days";
        return Err(ApiError::bad_member("/expires_at", why));
    }
    let plan = BatchPlan {
        work,
        at_once: at_once.unwrap_or(BATCH_AT_ONCE_DEFAULT),
        per_second: per_second.unwrap_or(BATCH_PER_SECOND_DEFAULT),
        stop_after_failures,
        stop_at_failed_percent,
        when_offline: when_offline.unwrap_or(WhenOffline::Fail),
        answer_within_ms: answer_within_ms.value().unwrap_or(ANSWER_WITHIN_DEFAULT_MS),
        expires_at,
    };
    Ok((plan, chargers))
}

/// An action that the central system can send in some version, with a payload that is not too long.
fn action_of(action: &str, payload: Map<String, Value>) -> Result<BatchWork, ApiError> {
    let request = CommandRequest {
        charger_id: "any".to_owned(),
        action: action.to_owned(),
        payload: Value::Object(payload.clone()).to_string(),
        waits_when_offline: false,
        expires_at: None,
        answer_within_ms: None,
    };
    let new = request.accept(CommandId(Uuid::nil()), "", None, None, now());
    let new = new.map_err(|error| ApiError::bad_command(&error))?;
    Ok(BatchWork::Action {
        action: new.command.action,
        payload,
    })
}

fn operation_of(name: String, parameters: Map<String, Value>) -> Result<BatchWork, ApiError> {
    let Some(operation) = Operation::from_name(&name) else {
        let names: Vec<&str> = Operation::ALL.into_iter().map(Operation::as_str).collect();
        let why = format!("operation must be one of {}", names.join(", "));
        return Err(ApiError::bad_member("/operation", &why));
    };
    if let Err(mut faults) = Request::read(operation, parameters.clone()) {
        for fault in &mut faults {
            fault.pointer = format!("/parameters{}", fault.pointer);
        }
        return Err(ApiError::invalid(&faults));
    }
    Ok(BatchWork::Operation {
        operation: name,
        parameters,
    })
}

/// The chargers by identity, or in the order of the list. Every one is known.
fn select(store: &dyn QueryStore, chargers: Chargers) -> Result<Vec<ChargerDetail>, ApiError> {
    let (filter, selection) = match &chargers {
        Chargers::Listed(_) => (ChargerFilter::default(), Selection::default()),
        Chargers::Selected(selection) => {
            let filter = ChargerFilter {
                online: selection.online,
                search: selection.q.clone(),
                ..ChargerFilter::default()
            };
            let Chargers::Selected(selection) = chargers else {
                return Err(ApiError::internal());
            };
            let found = scan(store, &filter, |detail| selection.has(detail))?;
            return bounded(found);
        }
    };
    let Chargers::Listed(listed) = chargers else {
        return Err(ApiError::internal());
    };
    let wanted: BTreeSet<ChargerKey> = listed.iter().map(|id| ChargerKey::of(id)).collect();
    if wanted.len() < listed.len() {
        let why = "chargers names a charger more than once (letter case does not matter)";
        return Err(ApiError::bad_member("/chargers", why));
    }
    let found = scan(store, &filter, |detail| {
        selection.has(detail) && wanted.contains(&ChargerKey::of(&detail.charger.charger_id))
    })?;
    let mut known: BTreeMap<ChargerKey, ChargerDetail> = found
        .into_iter()
        .map(|detail| (ChargerKey::of(&detail.charger.charger_id), detail))
        .collect();
    let mut chargers = Vec::with_capacity(listed.len());
    for (at, id) in listed.iter().enumerate() {
        match known.remove(&ChargerKey::of(id)) {
            Some(detail) => chargers.push(detail),
            None => {
                let why = format!("no charger is known by the identity {id:.100?}");
                return Err(ApiError::bad_member(&format!("/chargers/{at}"), &why));
            }
        }
    }
    bounded(chargers)
}

fn bounded(chargers: Vec<ChargerDetail>) -> Result<Vec<ChargerDetail>, ApiError> {
    let why = match chargers.len() {
        0 => "no charger is selected".to_owned(),
        count if count > BATCH_ITEMS_MAX => {
            format!("{count} chargers are selected; a batch may have {BATCH_ITEMS_MAX}")
        }
        _ => return Ok(chargers),
    };
    Err(ApiError::bad_member("", &why))
}

/// The chargers that `is_wanted` accepts, page by page.
fn scan(
    store: &dyn QueryStore,
    filter: &ChargerFilter,
    is_wanted: impl Fn(&ChargerDetail) -> bool,
) -> Result<Vec<ChargerDetail>, ApiError> {
    let mut page = PageRequest {
        limit: PAGE_MAX,
        ..PageRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let read = store.chargers(filter, &page);
        let read = read.map_err(|error| page::query_error(error, &page))?;
        found.extend(read.items.into_iter().filter(&is_wanted));
        match read.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// What the batch would do: the first chargers with the command of each, or why it would get none.
fn dry_run(store: &dyn QueryStore, plan: &BatchPlan, selected: &[ChargerDetail]) -> Value {
    let work = Work::of(plan);
    let mut refused = 0;
    let mut items = Vec::new();
    for detail in selected {
        let made = work.as_ref().map_err(Clone::clone);
        let made = made.and_then(|work| work.command(store, detail, CommandId(Uuid::now_v7())));
        refused += usize::from(made.is_err());
        if items.len() < SHOWN_MAX {
            items.push(json!({
                "charger_id": detail.charger.charger_id,
                "online": detail.charger.online,
                "ocpp_version": detail.charger.ocpp_version,
                "action": made.as_ref().ok().map(|wanted| &wanted.request.action),
                "problem": made.as_ref().err().map(ApiError::detail),
            }));
        }
    }
    json!({"total": selected.len(), "refused": refused, "chargers": items})
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
    OriginalUri(uri): OriginalUri,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let id = batch_id(id, uri.path())?;
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
    OriginalUri(uri): OriginalUri,
    id: Result<Path<String>, PathRejection>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let id = batch_id(id, uri.path())?;
    let query = request.query(ITEM_PARAMETERS)?;
    let states = ItemState::ALL.map(|state| (state.as_str(), state));
    let wanted_state = query.one_of("state", &states)?;
    let wanted = request.wanted(&query, "BatchItem")?;
    let batches = state.batches()?;
    state
        .answer_list(move |_| {
            let found = batches
                .batch(id)
                .map_err(|error| ApiError::unavailable(&error))?;
            found.ok_or_else(|| ApiError::unknown_batch(&id.to_string()))?;
            page::collected(
                wanted,
                |_| {},
                |page| batches.batch_items(id, wanted_state, page, now()),
            )?
            .into_answer()
        })
        .await
}

macro_rules! changes {
    ($($name:ident, $path:literal, $what:literal, $from:expr, $to:ident;)*) => {
        $(
            #[doc = $what]
            #[utoipa::path(
                post,
                path = $path,
                params(("id" = Uuid, Path, description = "The `id` of the batch")),
                responses((status = 200, description = $what, body = schema::Batch))
            )]
            pub(crate) async fn $name(
                state: State<Arc<AppState>>,
                uri: OriginalUri,
                id: Result<Path<String>, PathRejection>,
                query: RawQuery,
            ) -> Result<Response, ApiError> {
                change_state(state, uri, id, query, &$from, BatchState::$to).await
            }
        )*
    };
}

changes! {
    pause, "/api/v1/batches/{id}/pause", "The batch, which starts no more commands until it is resumed",
        [BatchState::Running, BatchState::Halted, BatchState::Paused], Paused;
    resume, "/api/v1/batches/{id}/resume", "The batch, which goes on",
        [BatchState::Paused, BatchState::Halted, BatchState::Running], Running;
    cancel, "/api/v1/batches/{id}/cancel", "The batch, which starts no more commands",
        [BatchState::Running, BatchState::Paused, BatchState::Halted, BatchState::Cancelled], Cancelled;
}

async fn change_state(
    State(state): State<Arc<AppState>>,
    OriginalUri(uri): OriginalUri,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    from: &'static [BatchState],
    to: BatchState,
) -> Result<Response, ApiError> {
    let id = batch_id(id, uri.path())?;
    Query::read(query.as_deref(), &[])?;
    let batches = state.batches()?;
    let changed = state.run(move |_| {
        let changed = batches.set_batch_state(id, from, to, "");
        let changed = changed.map_err(|error| ApiError::unavailable(&error))?;
        match changed {
            None => Err(ApiError::unknown_batch(&id.to_string())),
            Some((true, view)) => Ok(view),
            Some((false, view)) => Err(ApiError::batch_ended(&id.to_string(), view.state)),
        }
    });
    let view: BatchView = changed.await?;
    state.wake_driver();
    Ok(Json(view).into_response())
}

fn batch_id(id: Result<Path<String>, PathRejection>, path: &str) -> Result<BatchId, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::undecodable("path", path))?;
    let parsed = Uuid::try_parse(&id);
    parsed
        .map(BatchId)
        .map_err(|_| ApiError::unknown_batch(&id))
}
