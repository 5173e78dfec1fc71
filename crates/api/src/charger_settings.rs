//! Changes of `/api/v1/chargers`: what the operator sets of a charger.

use crate::change::{self, Change, Members, done, no_content, not_changed, with_location};
use crate::chargers;
use crate::commands::database_time;
use crate::error::ApiError;
use crate::import::{self, Import};
use crate::path::InPath;
use crate::schema;
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use central::charger_import;
use central::model::{
    CHARGER_ID_EXPECTED, CheckMode, CloseStyle, FRAME_BYTES_MAX, LABEL_EXPECTED, Registration,
    SettingsPatch, is_charger_id, is_label, is_site_id,
};
use central::ports::{ChangeKind, ChangeRequest, ChargerChange};
use common::password::{SET_EXPECTED, can_be_set};
use std::sync::Arc;

/// The members of the settings that a client can change.
const KNOWN: [&str; 8] = [
    "admission",
    "check",
    "close_style",
    "frame_bytes_max",
    "label",
    "site",
    "group",
    "password",
];

/// `POST /api/v1/chargers`
#[utoipa::path(
    post,
    path = "/api/v1/chargers",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours adds nothing again"),
    ),
    request_body = schema::NewCharger,
    responses((status = 201, description = "The charger; `Location` is its address", body = schema::ChargerWithDetails))
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let mut members = change.members()?;
    let charger_id = members.required("charger_id", CHARGER_ID_EXPECTED, |id: &String| {
        is_charger_id(id)
    });
    let (patch, password) = settings(&mut members);
    let known: Vec<&str> = std::iter::once("charger_id").chain(KNOWN).collect();
    members.finish(&known)?;
    // Without it, a fault was reported.
    let charger_id = charger_id.ok_or_else(ApiError::internal)?;
    let response = apply(
        &state,
        &charger_id,
        ChangeKind::Create,
        (patch, password),
        change.request()?,
        StatusCode::CREATED,
    )
    .await?;
    Ok(with_location(response, &address(&charger_id)))
}

/// What an import does with passwords.
const PASSWORDS: charger_import::Passwords = charger_import::Passwords {
    expected: SET_EXPECTED,
    is_valid: can_be_set,
    fits: common::password::fits,
    hash: common::password::hash,
};

/// `POST /api/v1/chargers/import`
#[utoipa::path(
    post,
    path = "/api/v1/chargers/import",
    params(
        ("dry_run" = Option<bool>, Query, description = "`true`: only the verdicts; nothing is changed"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours changes nothing again; not used with `dry_run`"),
    ),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, description = "A verdict per line. Without `dry_run` every line is applied", body = schema::Import))
)]
pub(crate) async fn import(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let import = Import::read(request, &state).await?;
    let (admin, is_dry_run) = (state.charger_admin()?, import.is_dry_run);
    let (profiles, request) = (Arc::clone(&admin), import.request.clone());
    let (mut lines, stored) = state
        .run(move |_| {
            let lines = import.lines(charger_import::read)?;
            let stored = match lines.iter().any(charger_import::has_password) {
                true => profiles.charger_profiles(),
                false => Ok(Vec::new()),
            };
            let stored = stored.map_err(|error| ApiError::unavailable(&error))?;
            Ok((lines, charger_import::stored_hashes(stored)))
        })
        .await?;
    let stored = Arc::new(stored);
    for line in &mut lines {
        if charger_import::has_password(line) {
            let (mut hashed, stored) = (line.clone(), Arc::clone(&stored));
            let work = move || {
                let done = charger_import::hash_password(&mut hashed, &stored, &PASSWORDS);
                done.map(|()| hashed)
            };
            // Each in a turn of its own, so that people who sign in do not wait for all of them.
            *line = state.passwords()?.run(work).await?.map_err(|error| {
                tracing::error!(error, "cannot hash a password");
                ApiError::internal()
            })?;
        }
    }
    let verdicts = state
        .run(move |_| {
            let verdicts = admin.import_chargers_once(&lines, is_dry_run, &request);
            verdicts.map_err(|error| ApiError::unavailable(&error))
        })
        .await?;
    import::answered(is_dry_run, verdicts)
}

/// `PATCH /api/v1/chargers/{id}`
#[utoipa::path(
    patch,
    path = "/api/v1/chargers/{id}",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("If-Match" = String, Header, description = "The `ETag` of the charger as you know it; `*` for any"),
    ),
    request_body(content = schema::ChargerPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The charger", body = schema::ChargerWithDetails))
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.conditional_request()?;
    let mut members = change.merge_patch()?;
    let (patch, password) = settings(&mut members);
    members.finish(&KNOWN)?;
    let kind = ChangeKind::Update;
    apply(
        &state,
        &id,
        kind,
        (patch, password),
        request,
        StatusCode::OK,
    )
    .await
}

/// `DELETE /api/v1/chargers/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/chargers/{id}",
    params(
        ("id" = String, Path, description = "The identity, percent-encoded; letter case is ignored"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the charger as you know it"),
    ),
    responses((status = 204, description = "Its settings are removed; its messages and transactions stay"))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let mut request = change.request()?;
    let (admin, commands) = (state.charger_admin()?, state.commands()?);
    state
        .run(move |_| {
            // By the database's clock, as the times of commands: those that were requested before it are not sent.
            request.origin.at = database_time(&*commands)?;
            let removed = admin.remove_charger(&id, &request);
            let removed = removed.map_err(|error| ApiError::unavailable(&error))?;
            let exists = ApiError::internal;
            removed.map_err(|refused| not_changed(refused, exists, || ApiError::not_added(&id)))
        })
        .await?;
    Ok(no_content())
}

/// Reads the members that both a new charger and a patch may have.
fn settings(members: &mut Members) -> (SettingsPatch, Option<Option<String>>) {
    let (min, max) = (FRAME_BYTES_MAX.start(), FRAME_BYTES_MAX.end());
    let bytes = format!("a whole number of bytes from {min} to {max}, or null");
    let password = members
        .take_if("password", SET_EXPECTED, |password: &String| {
            can_be_set(password)
        })
        .patch();
    let patch = SettingsPatch {
        // Removing it sets the default.
        registration: members
            .take("admission", "\"accepted\", \"pending\" or \"rejected\"")
            .patch()
            .map(|admission| admission.unwrap_or(Registration::Accepted)),
        password_hash: None,
        check: members
            .take::<CheckMode>("check", "\"strict\", \"warn\", \"off\" or null")
            .patch(),
        close_style: members
            .take::<CloseStyle>("close_style", "\"frame\", \"tcp\" or null")
            .patch(),
        frame_bytes_max: members
            .take_if("frame_bytes_max", &bytes, |bytes| {
                FRAME_BYTES_MAX.contains(bytes)
            })
            .patch(),
        label: text(members, "label"),
        site: members
            .take_if("site", "the id of a site, or null", |id: &String| {
                is_site_id(id)
            })
            .patch(),
        group: text(members, "group"),
    };
    (patch, password)
}

/// A label or a group.
fn text(members: &mut Members, name: &str) -> Option<Option<String>> {
    members
        .take_if(name, LABEL_EXPECTED, |text: &String| is_label(text))
        .patch()
}

/// The hash of a password that is set; `None` removes it. Blocks for tens of milliseconds.
fn hashed(password: Option<String>) -> Result<Option<String>, ApiError> {
    let hash = password.map(|password| common::password::hash(&password));
    hash.transpose().map_err(|error| {
        tracing::error!(error, "cannot hash a password");
        ApiError::internal()
    })
}

async fn apply(
    state: &AppState,
    charger_id: &str,
    kind: ChangeKind,
    (patch, password): (SettingsPatch, Option<Option<String>>),
    request: ChangeRequest,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let mut wanted = ChargerChange {
        charger_id: charger_id.to_owned(),
        kind,
        patch,
        request,
    };
    let admin = state.charger_admin()?;
    let (json, tag) = state
        .run(move |store| {
            wanted.patch.password_hash = password.map(hashed).transpose()?;
            let id = &wanted.charger_id;
            let changed = admin.change_charger(&wanted);
            done(
                changed.map_err(|error| ApiError::unavailable(&error))?,
                || ApiError::charger_exists(id),
                || ApiError::not_added(id),
            )?;
            chargers::written(store, id)
        })
        .await?;
    Ok(change::written(status, json, Some(&tag)))
}

/// The address of a charger.
fn address(charger_id: &str) -> String {
    format!("/api/v1/chargers/{}", change::encoded(charger_id))
}
