//! `/api/v1/commands` and `/api/v1/chargers/{id}/commands`: commands to chargers. The database is their queue: a request
//! is a row, and the gateway that holds the charger takes it from there.

use crate::change;
use crate::change::{BODY_BYTES_MAX, media_type, required_idempotency_key};
use crate::error::ApiError;
use crate::links::{self, HasLinks, Linked};
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::body::Bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use central::Timestamp;
use central::command_request::{CommandRequest, FAIL_AFTER_MS};
use central::local_list::changes_local_list;
use central::model::{
    CommandId, CommandState, CommandView, EffectPhase, NotSent, Origin, Scope, unchecked_entry,
};
use central::ports::{Cancelled, Created, DatabaseClock, Idempotency, LocalLists};
use central::query::{ChargerDetail, CommandFilter, PageRequest, QueryStore, parameters};
use common::clock::now_ms;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout_at};

/// The parameters of the list of commands.
pub(crate) const PARAMETERS: &[&str] = &[
    "charger", "action", "queued", "effect", "cursor", "limit", "fields",
];
/// The parameters of a request for a command.
pub(crate) const CREATE_PARAMETERS: &[&str] = &["check"];
/// The parameters of one command.
pub(crate) const ONE_PARAMETERS: &[&str] = &["wait", "wait_for"];

/// The longest wait for an outcome, in seconds.
const WAIT_S_MAX: u64 = 60;
/// How often a waiting request looks for the outcome if no event tells it of one.
const POLL: Duration = Duration::from_millis(250);
/// How long a request waits for a charger that is shown as not connected, so that it can be answered with 409: until the
/// command expires, and a second for those who end it.
const OFFLINE_WAIT: Duration = Duration::from_millis(FAIL_AFTER_MS.unsigned_abs() + 1_500);
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCommandBody {
    action: String,
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    when_offline: WhenOffline,
    expires_at: Option<String>,
    answer_within_ms: Option<u32>,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum WhenOffline {
    #[default]
    Fail,
    Wait,
}

/// The time now, by this machine's clock: for what is only shown, or sent to a charger.
pub(crate) fn now() -> Timestamp {
    Timestamp(now_ms())
}

/// The time now, by the database's clock: for what another process judges, or has stored.
pub(crate) fn database_time<C: DatabaseClock + ?Sized>(clock: &C) -> Result<Timestamp, ApiError> {
    let time = clock.time();
    time.map_err(|error| ApiError::unavailable(&error))
}

/// `POST /api/v1/chargers/{id}/commands`
#[utoipa::path(
    post,
    path = "/api/v1/chargers/{id}/commands",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("check" = Option<String>, Query, description = "`off`: the payload is sent without a check against the schema, for firmware with members of its own; needs the scope `admin`. `on` is the default"),
        ("Idempotency-Key" = String, Header, description = "A text of the client, unique for this request: its repeat within 72 hours sends nothing again"),
        ("Prefer" = Option<String>, Header, description = "`wait=10`: wait for the outcome, up to 60 seconds. `respond-async`: answer at once, also if the charger is not connected"),
    ),
    request_body = schema::NewCommand,
    responses(
        (status = 200, description = "The command with its outcome", body = schema::Command),
        (status = 202, description = "The command is queued; `Location` is its address", body = schema::Command),
    )
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    InPath(charger_id): InPath<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let query = Query::read(request.uri().query(), CREATE_PARAMETERS)?;
    let checks = [("on", false), ("off", true)];
    let skips_check = query.one_of("check", &checks)?.unwrap_or(false);
    // What no schema describes can bring a charger into a state that nobody has tested.
    if let Some(keys) = state.keys.as_ref().filter(|_| skips_check) {
        keys.check(Scope::Admin, request.headers())?;
    }
    let target: &[&[u8]] = match skips_check {
        true => &[charger_id.as_bytes(), b"check=off"],
        false => &[charger_id.as_bytes()],
    };
    let incoming = Incoming::read(&state, request, target).await?;
    let read: NewCommandBody = serde_json::from_slice(&incoming.body)
        .map_err(|error| ApiError::bad_json(&error.to_string()))?;
    let expires_at = read.expires_at.as_deref().map(expiry).transpose()?;
    let wanted = CommandRequest {
        charger_id: charger_id.clone(),
        action: read.action,
        payload: read
            .payload
            .map_or_else(|| "{}".to_owned(), |json| json.get().to_owned()),
        waits_when_offline: read.when_offline == WhenOffline::Wait,
        expires_at,
        answer_within_ms: read.answer_within_ms,
        skips_check,
    };
    submit(&state, incoming, move |store, _| {
        let charger = ordered_charger(store, &charger_id)?.charger;
        Ok(Wanted {
            request: wanted,
            warnings: Vec::new(),
            // A charger that is not connected can come back with another version.
            version: charger.ocpp_version.filter(|_| charger.online),
            is_online: charger.online,
        })
    })
    .await
}

/// The charger of a new command. One that was removed gets none while it is not connected: whoever connected next with its
/// identity would get it.
pub(crate) fn ordered_charger(
    store: &dyn QueryStore,
    charger_id: &str,
) -> Result<ChargerDetail, ApiError> {
    let detail = known_charger(store, charger_id)?;
    if detail.removed_at.is_some() && !detail.charger.online {
        return Err(ApiError::removed_charger(charger_id));
    }
    Ok(detail)
}

/// A request that creates a command, with what its headers say.
pub(crate) struct Incoming {
    pub(crate) body: Bytes,
    by: String,
    origin: Origin,
    idempotency: Idempotency,
    wait: Option<Duration>,
    responds_at_once: bool,
}

impl Incoming {
    /// Reads the headers, then the body. `target` is what the request is about, beside its body: two requests with
    /// the same idempotency key must be about the same.
    pub(crate) async fn read(
        state: &AppState,
        request: Request,
        target: &[&[u8]],
    ) -> Result<Self, ApiError> {
        let wait = preferred_wait(request.headers());
        let responds_at_once = prefers(request.headers(), "respond-async");
        let key = required_idempotency_key(request.headers())?;
        let origin = change::origin(request.extensions());
        let by = origin.by.name.clone();
        match media_type(request.headers()).as_str() {
            "application/json" => {}
            media => return Err(ApiError::not_json(media)),
        }
        let body = state.read_body(request.into_body(), BODY_BYTES_MAX).await?;
        let digest = change::digest(&key, target, &body).await?;
        Ok(Self {
            by: by.unwrap_or_else(|| "without_key".to_owned()),
            origin,
            idempotency: Idempotency { key, digest },
            wait,
            responds_at_once,
            body,
        })
    }
}

/// A command that a request wants.
pub(crate) struct Wanted {
    pub(crate) request: CommandRequest,
    /// The version against which the payload is checked.
    pub(crate) version: Option<Version>,
    /// Whether the charger is shown as connected.
    pub(crate) is_online: bool,
    /// What is doubtful about the request.
    pub(crate) warnings: Vec<String>,
}

/// A command with the warnings of its request.
#[derive(Serialize)]
struct Warned<'a> {
    #[serde(flatten)]
    command: Linked<&'a CommandView>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// Stores the command that `make` returns, and answers with it as the request prefers.
pub(crate) async fn submit(
    state: &AppState,
    incoming: Incoming,
    make: impl FnOnce(&dyn QueryStore, CommandId) -> Result<Wanted, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let (commands, lists) = (state.commands()?, state.local_lists().ok());
    let (by, origin, idempotency) = (incoming.by, incoming.origin, incoming.idempotency);
    let (created, is_online, warnings) = state
        .run(move |store| {
            // Before the command is made: what made the first request valid may have changed since.
            let time = database_time(&*commands)?;
            let before = commands.created_before(&by, &idempotency, time);
            if let Some(created) = before.map_err(|error| ApiError::unavailable(&error))? {
                return Ok((created, false, Vec::new()));
            }
            let id = CommandId(common::id::new_v7());
            let wanted = make(store, id)?;
            refuse_kept_list(lists.as_deref(), &wanted.request)?;
            // Read again: `make` has taken time, and a command that does not wait has only seconds.
            let time = database_time(&*commands)?;
            let new = wanted
                .request
                .accept(id, &by, wanted.version, Some(idempotency), time);
            let mut new = new.map_err(|error| ApiError::bad_command(&error))?;
            new.traceparent = origin.traceparent.clone();
            new.audit = unchecked_entry(&new.command, origin);
            let created = commands.create(&new);
            let created = created.map_err(|error| ApiError::unavailable(&error))?;
            Ok((created, wanted.is_online, wanted.warnings))
        })
        .await?;
    let view = match created {
        Created::New(view) => {
            state.commands_wait(&view.charger_id);
            view
        }
        Created::Repeated(view) => view,
        Created::Mismatch => return Err(ApiError::idempotency_mismatch()),
        Created::QueueFull => return Err(ApiError::queue_full()),
    };
    let location = format!("/api/v1/commands/{}", view.id);
    let is_probably_offline = !is_online && view.when_offline == "fail";
    let view = match incoming.wait {
        Some(wait) => wait_until(state, view, wait, |view| Goal::Outcome.is_reached(view)).await?,
        // The charger may have connected a moment ago: only a gateway knows, and it has this long to claim.
        None if is_probably_offline && !incoming.responds_at_once => {
            wait_until(state, view, OFFLINE_WAIT, |view| {
                view.state != CommandState::Queued
            })
            .await?
        }
        None => view,
    };
    let reason = view
        .outcome
        .as_ref()
        .and_then(|outcome| outcome.reason.as_deref());
    if reason == Some(NotSent::ChargerOffline.as_str()) {
        return Err(ApiError::charger_offline(&view.charger_id, &location));
    }
    let status = match view.state {
        CommandState::Done => StatusCode::OK,
        CommandState::Queued
        | CommandState::WaitingForCharger
        | CommandState::Claimed
        | CommandState::Sent => StatusCode::ACCEPTED,
    };
    let warned = Warned {
        command: (&view).linked(),
        warnings: &warnings,
    };
    let mut response = object(status, &warned)?;
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    let applied = match incoming.wait {
        Some(wait) => Some(format!("wait={}", wait.as_secs())),
        None => incoming
            .responds_at_once
            .then(|| "respond-async".to_owned()),
    };
    if let Some(Ok(applied)) = applied.map(|text| HeaderValue::from_str(&text)) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Refuses a local list for a charger whose list is kept equal to the tokens.
pub(crate) fn refuse_kept_list(
    lists: Option<&dyn LocalLists>,
    request: &CommandRequest,
) -> Result<(), ApiError> {
    let Some(lists) = lists.filter(|_| changes_local_list(&request.action)) else {
        return Ok(());
    };
    let has_wish = lists.has_wish(&request.charger_id);
    match has_wish.map_err(|error| ApiError::unavailable(&error))? {
        true => Err(ApiError::local_list_kept(&request.charger_id)),
        false => Ok(()),
    }
}

/// The member `expires_at` of a body.
pub(crate) fn expiry(text: &str) -> Result<Timestamp, ApiError> {
    parameters::time(text).ok_or_else(|| {
        ApiError::bad_member(
            "/expires_at",
            &format!("expires_at is not {}", parameters::TIME_EXPECTED),
        )
    })
}

/// The charger, which must be known.
pub(crate) fn known_charger(
    store: &dyn QueryStore,
    charger_id: &str,
) -> Result<ChargerDetail, ApiError> {
    let found = store.charger(charger_id);
    let found = found.map_err(|error| page::query_error(error, &Default::default()))?;
    found.ok_or_else(|| ApiError::unknown_charger(charger_id))
}

/// `GET /api/v1/commands`
#[utoipa::path(
    get,
    path = "/api/v1/commands",
    params(
        ("charger" = Option<String>, Query, description = "Only those to this charger; letter case is ignored"),
        ("action" = Option<String>, Query, description = "Only this action of OCPP; letter case is ignored"),
        ("queued" = Option<bool>, Query, description = "Only those that no gateway has taken and that can still be sent, or only the others"),
        ("effect" = Option<String>, Query, description = "Only those whose effect is `expected`, `seen`, `not_seen` or `none`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::Command>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let filter = CommandFilter {
        charger: query.text("charger")?.map(str::to_owned),
        action: query.action("action")?.map(str::to_owned),
        queued: query.boolean("queued")?,
        effect: query.one_of(
            "effect",
            &EffectPhase::ALL.map(|phase| (phase.as_str(), phase)),
        )?,
    };
    let wanted = request.wanted(&query, "Command")?;
    let commands = state.commands()?;
    state
        .answer_list(move |_| {
            let time = database_time(&*commands)?;
            let query = |page: &PageRequest| {
                let found = commands.commands(&filter, page, time)?;
                Ok(links::page(found, |_| {}))
            };
            page::collected(wanted, |_| {}, query)?.into_answer()
        })
        .await
}

/// `GET /api/v1/commands/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/commands/{id}",
    params(
        ("id" = Uuid, Path, description = "The `id` of the command"),
        ("wait" = Option<i32>, Query, description = "Wait for the outcome, for this number of seconds at most: 1 to 60", minimum = 1, maximum = 60),
        ("wait_for" = Option<String>, Query, description = "With `wait`: for what; `outcome` (default), or `effect`: until it is seen, or not seen in time"),
    ),
    responses((status = 200, description = "The command", body = schema::Command))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<CommandId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::read(query.as_deref(), ONE_PARAMETERS)?;
    let wait = query.text("wait")?.map(wait_of).transpose()?;
    let goals = [("outcome", Goal::Outcome), ("effect", Goal::Effect)];
    let goal = query.one_of("wait_for", &goals)?.unwrap_or(Goal::Outcome);
    let view = find(&state, id).await?;
    let view = match wait {
        Some(wait) => wait_until(&state, view, wait, |view| goal.is_reached(view)).await?,
        None => view,
    };
    object(StatusCode::OK, &view.linked())
}

/// `DELETE /api/v1/commands/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/commands/{id}",
    params(("id" = Uuid, Path, description = "The `id` of the command")),
    responses((status = 200, description = "The command, which is not sent", body = schema::Command))
)]
pub(crate) async fn cancel(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<CommandId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let commands = state.commands()?;
    let cancelled = state
        .run(move |_| {
            let cancelled = commands.cancel(id, database_time(&*commands)?);
            cancelled.map_err(|error| ApiError::unavailable(&error))
        })
        .await?;
    match cancelled {
        Cancelled::Done(view) => object(StatusCode::OK, &view.linked()),
        Cancelled::TooLate(view) => Err(ApiError::already_sent(&view.id.to_string())),
        Cancelled::Unknown => Err(ApiError::unknown_command(&id.to_string())),
    }
}

pub(crate) async fn find(state: &AppState, id: CommandId) -> Result<CommandView, ApiError> {
    let commands = state.commands()?;
    state
        .run(move |_| {
            let found = commands.command(id, database_time(&*commands)?);
            let found = found.map_err(|error| ApiError::unavailable(&error))?;
            found.ok_or_else(|| ApiError::unknown_command(&id.to_string()))
        })
        .await
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Outcome,
    Effect,
}

impl Goal {
    fn is_reached(self, view: &CommandView) -> bool {
        let is_done = view.state == CommandState::Done;
        match self {
            Self::Outcome => is_done,
            Self::Effect => is_done && view.effect.state != EffectPhase::Expected,
        }
    }
}

/// The command once it is as wanted, or as it is after `wait`.
async fn wait_until(
    state: &AppState,
    mut view: CommandView,
    wait: Duration,
    is_wanted: impl Fn(&CommandView) -> bool,
) -> Result<CommandView, ApiError> {
    let deadline = Instant::now() + wait;
    let mut changes = state.changed_commands();
    while !is_wanted(&view) && Instant::now() < deadline {
        let next = deadline.min(Instant::now() + POLL);
        // After this time it looks without having been told.
        let _ = timeout_at(next, until_changed(view.id, &mut changes)).await;
        view = find(state, view.id).await?;
    }
    Ok(view)
}

/// Returns when the command has changed, or may have.
async fn until_changed(id: CommandId, changes: &mut broadcast::Receiver<CommandId>) {
    loop {
        match changes.recv().await {
            Ok(changed) if changed != id => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn object(status: StatusCode, view: &impl Serialize) -> Result<Response, ApiError> {
    change::object(status, view, None)
}

fn wait_of(text: &str) -> Result<Duration, ApiError> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (1..=WAIT_S_MAX).contains(seconds));
    let right = format!("a whole number of seconds from 1 to {WAIT_S_MAX}");
    let seconds = seconds.ok_or_else(|| ApiError::bad_parameter("wait", text, &right))?;
    Ok(Duration::from_secs(seconds))
}

/// `wait` of the header `Prefer` (RFC 7240), cut to the longest wait. An invalid preference is ignored, as the standard
/// demands.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let wait =
        preferences(headers).find_map(|text| text.strip_prefix("wait=")?.parse::<u64>().ok());
    wait.filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds.min(WAIT_S_MAX)))
}

/// The parts of the header `Prefer`.
fn preferences(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(PREFER).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split([',', ';']).map(str::trim))
}

/// Whether the header `Prefer` has this preference, which has no value.
pub(crate) fn prefers(headers: &HeaderMap, preference: &str) -> bool {
    preferences(headers).any(|text| text.eq_ignore_ascii_case(preference))
}
