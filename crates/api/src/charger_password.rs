//! `/api/v1/chargers/{id}/password`: the change of a charger's password, in Wattpost and at the charger.
//!
//! The password is only in the request and in the command that carries it to the charger. No answer has it.

use crate::change::{self, Change, no_content, with_location};
use crate::commands::{database_time, known_charger, now};
use crate::error::ApiError;
use crate::operations::Delivery;
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use central::command_request::CommandRequest;
use central::model::{CommandId, RotationView};
use central::operation::password_change;
use central::ports::{NewRotation, Once, RotationNotBegun, RotationNotCancelled};
use central::query::{ChargerDetail, QueryStore};
use common::password::{SENT_EXPECTED, can_be_sent, generate, hash, hash_generated};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The members of the body.
const KNOWN: [&str; 4] = ["password", "when_offline", "expires_at", "answer_within_ms"];

/// `GET /api/v1/chargers/{id}/password`
#[utoipa::path(
    get,
    path = "/api/v1/chargers/{id}/password",
    params(("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored")),
    responses((status = 200, description = "The state of the newest change of the password", body = schema::PasswordRotation))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
    InPath(id): InPath<String>,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let view = shown(&state, id).await?;
    change::object(StatusCode::OK, &view, None)
}

async fn shown(state: &AppState, id: String) -> Result<RotationView, ApiError> {
    let (rotations, commands) = (state.rotations()?, state.commands()?);
    state
        .run(move |_| {
            let found = rotations.rotation(&id, database_time(&*commands)?);
            let found = found.map_err(|error| ApiError::unavailable(&error))?;
            found.ok_or_else(|| ApiError::not_added(&id))
        })
        .await
}

/// `PUT /api/v1/chargers/{id}/password`
#[utoipa::path(
    put,
    path = "/api/v1/chargers/{id}/password",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours begins nothing again"),
    ),
    request_body = schema::NewPassword,
    responses((status = 202, description = "The change has begun; `Location` is where its state is", body = schema::PasswordRotation))
)]
pub(crate) async fn set(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let given = members.take_if("password", SENT_EXPECTED, |password: &String| {
        can_be_sent(password)
    });
    let mut delivery = Map::new();
    delivery.insert("when_offline".to_owned(), json!("wait"));
    for name in &KNOWN[1..] {
        if let Some(value) = members.take::<Value>(name, "a value").value() {
            delivery.insert((*name).to_owned(), value);
        }
    }
    members.finish(&KNOWN)?;
    let delivery = Delivery::take(&mut delivery)?;
    let (rotations, commands) = (state.rotations()?, state.commands()?);
    let address = format!("/api/v1/chargers/{}/password", change::encoded(&id));
    let begun = {
        let id = id.clone();
        state
            .run(move |store| {
                let failed = |error: String| {
                    tracing::error!(error, "cannot make a password");
                    ApiError::internal()
                };
                let (password, hash): (_, fn(&str) -> _) = match given.value() {
                    Some(password) => (password, hash),
                    None => (generate().map_err(failed)?, hash_generated),
                };
                let detail = rotated_charger(store, &id)?;
                let command = command(&detail, &password, &delivery)?;
                let command_id = CommandId(common::id::new_v7());
                let by = request.requested_by().to_owned();
                let version = detail.charger.ocpp_version;
                let time = database_time(&*commands)?;
                let command = command.accept(command_id, &by, version, None, time);
                let mut command = command.map_err(|error| ApiError::bad_command(&error))?;
                command.traceparent = request.origin.traceparent.clone();
                let new = NewRotation {
                    charger_id: id.clone(),
                    new_hash: hash(&password).map_err(failed)?,
                    command,
                    request,
                };
                let begun = rotations.begin_rotation(&new);
                match begun.map_err(|error| ApiError::unavailable(&error))? {
                    Once::Done(rotation) | Once::Repeated(rotation) => Ok(rotation),
                    Once::Refused(RotationNotBegun::Unknown) => Err(ApiError::not_added(&id)),
                    Once::Refused(RotationNotBegun::Open(open)) => {
                        Err(ApiError::rotation_open(&id, open.command))
                    }
                    Once::Refused(RotationNotBegun::QueueFull) => Err(ApiError::queue_full()),
                    Once::Mismatch => Err(ApiError::idempotency_mismatch()),
                    Once::InUse => Err(ApiError::idempotency_in_use()),
                }
            })
            .await?
    };
    state.commands_wait(&begun.charger_id);
    let view = shown(&state, id).await?;
    let response = change::object(StatusCode::ACCEPTED, &view, None)?;
    Ok(with_location(response, &address))
}

/// The charger. Its version selects the command, so it must have connected before.
fn rotated_charger(store: &dyn QueryStore, id: &str) -> Result<ChargerDetail, ApiError> {
    let detail = known_charger(store, id)?;
    match detail.charger.ocpp_version {
        Some(_) => Ok(detail),
        None => Err(ApiError::version_unknown(id)),
    }
}

/// The command that carries the password.
fn command(
    detail: &ChargerDetail,
    password: &str,
    delivery: &Delivery,
) -> Result<CommandRequest, ApiError> {
    let id = detail.charger.charger_id.as_str();
    let version = detail.charger.ocpp_version;
    let version = version.ok_or_else(|| ApiError::version_unknown(id))?;
    let translated = password_change(version, password, now())
        .map_err(|faults| ApiError::not_expressible(version, &faults))?;
    Ok(CommandRequest {
        charger_id: id.to_owned(),
        action: translated.action.to_owned(),
        payload: translated.payload.to_string(),
        waits_when_offline: delivery.waits_when_offline,
        expires_at: delivery.expires_at,
        answer_within_ms: delivery.answer_within_ms,
        skips_check: false,
    })
}

/// `DELETE /api/v1/chargers/{id}/password`
#[utoipa::path(
    delete,
    path = "/api/v1/chargers/{id}/password",
    params(("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored")),
    responses((status = 204, description = "The change is given up before it was sent; the old password stays"))
)]
pub(crate) async fn cancel(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let rotations = state.rotations()?;
    state
        .run(move |_| {
            let cancelled = rotations.cancel_rotation(&id, &request);
            let cancelled = cancelled.map_err(|error| ApiError::unavailable(&error))?;
            cancelled.map_err(|refused| match refused {
                RotationNotCancelled::Unknown => ApiError::not_added(&id),
                RotationNotCancelled::NotOpen => ApiError::no_rotation(&id),
                RotationNotCancelled::TooLate => ApiError::rotation_sent(&id),
            })
        })
        .await?;
    Ok(no_content())
}
