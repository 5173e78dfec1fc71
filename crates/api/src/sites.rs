//! `/api/v1/sites`: the places where chargers stand.

use crate::change::{self, Change, Members, no_content, with_location};
use crate::error::{ApiError, Fault};
use crate::etag;
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use central::model::{
    ADDRESS_EXPECTED, LABEL_EXPECTED, LATITUDE_EXPECTED, LONGITUDE_EXPECTED, SITE_ID_EXPECTED,
    SitePatch, SiteView, TIME_ZONE_EXPECTED, is_address, is_label, is_latitude, is_longitude,
    is_site_id, is_time_zone,
};
use central::ports::{ChangeKind, ChangeRequest, Once, SiteChange, SiteNotChanged};
use std::sync::Arc;

/// The parameters of the list of sites.
pub(crate) const PARAMETERS: &[&str] = &["cursor", "limit", "fields"];

/// The members of a site that a client can change.
const KNOWN: [&str; 5] = ["name", "address", "time_zone", "latitude", "longitude"];

/// `GET /api/v1/sites`
#[utoipa::path(
    get,
    path = "/api/v1/sites",
    params(
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page", body = schema::Page<schema::Site>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let wanted = request.wanted(&query, "Site")?;
    let sites = state.charger_admin()?;
    state
        .answer_list(move |_| {
            page::collected(wanted, |_| {}, |page| sites.site_page(page))?.into_answer()
        })
        .await
}

/// `POST /api/v1/sites`
#[utoipa::path(
    post,
    path = "/api/v1/sites",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours adds nothing again"),
    ),
    request_body = schema::NewSite,
    responses((status = 201, description = "The site; `Location` is its address", body = schema::Site))
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let id = members.required("id", SITE_ID_EXPECTED, |id: &String| is_site_id(id));
    let patch = patch(&mut members);
    if patch.name.is_none() {
        members.missing("name", LABEL_EXPECTED);
    }
    let known: Vec<&str> = std::iter::once("id").chain(KNOWN).collect();
    members.finish(&known)?;
    // Without it, a fault was reported.
    let id = id.ok_or_else(ApiError::internal)?;
    let location = format!("/api/v1/sites/{}", change::encoded(&id));
    let kind = ChangeKind::Create;
    let response = apply(&state, id, kind, patch, request, StatusCode::CREATED).await?;
    Ok(with_location(response, &location))
}

/// `GET /api/v1/sites/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/sites/{id}",
    params(("id" = String, Path, description = "The id")),
    responses((status = 200, description = "The site", body = schema::Site))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let sites = state.charger_admin()?;
    let found = state.run(move |_| {
        let found = sites.site(&id);
        let found = found.map_err(|error| ApiError::unavailable(&error))?;
        found.ok_or_else(|| ApiError::unknown_site(&id))
    });
    shown(StatusCode::OK, &found.await?)
}

/// `PATCH /api/v1/sites/{id}`
#[utoipa::path(
    patch,
    path = "/api/v1/sites/{id}",
    params(
        ("id" = String, Path, description = "The id"),
        ("If-Match" = String, Header, description = "The `ETag` of the site as you know it; `*` for any"),
    ),
    request_body(content = schema::SitePatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The site", body = schema::Site))
)]
pub(crate) async fn modify(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.conditional_request()?;
    let mut members = change.merge_patch()?;
    let patch = patch(&mut members);
    members.finish(&KNOWN)?;
    apply(
        &state,
        id,
        ChangeKind::Update,
        patch,
        request,
        StatusCode::OK,
    )
    .await
}

/// `DELETE /api/v1/sites/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/sites/{id}",
    params(
        ("id" = String, Path, description = "The id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the site as you know it"),
    ),
    responses((status = 204, description = "The site is removed; it had no chargers"))
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    InPath(id): InPath<String>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let sites = state.charger_admin()?;
    state
        .run(move |_| {
            let removed = sites.remove_site(&id, &request);
            let removed = removed.map_err(|error| ApiError::unavailable(&error))?;
            removed.map_err(|refused| not_changed(refused, &id))
        })
        .await?;
    Ok(no_content())
}

/// Reads the members that both a new site and a patch may have.
fn patch(members: &mut Members) -> SitePatch {
    let name = members.take_if("name", LABEL_EXPECTED, |name: &String| is_label(name));
    if name == change::Given::Null {
        members.fault("name", format!("name must be {LABEL_EXPECTED}"));
    }
    SitePatch {
        name: name.value(),
        address: members
            .take_if("address", ADDRESS_EXPECTED, |text: &String| {
                is_address(text)
            })
            .patch(),
        time_zone: members
            .take_if("time_zone", TIME_ZONE_EXPECTED, |text: &String| {
                is_time_zone(text)
            })
            .patch(),
        latitude: members
            .take_if("latitude", LATITUDE_EXPECTED, |value: &f64| {
                is_latitude(*value)
            })
            .patch(),
        longitude: members
            .take_if("longitude", LONGITUDE_EXPECTED, |value: &f64| {
                is_longitude(*value)
            })
            .patch(),
    }
}

async fn apply(
    state: &AppState,
    id: String,
    kind: ChangeKind,
    patch: SitePatch,
    request: ChangeRequest,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let wanted = SiteChange {
        id,
        kind,
        patch,
        request,
    };
    let sites = state.charger_admin()?;
    let changed = state.run(move |_| {
        let changed = sites.change_site(&wanted);
        match changed.map_err(|error| ApiError::unavailable(&error))? {
            Once::Done(view) | Once::Repeated(view) => Ok(view),
            Once::Refused(refused) => Err(not_changed(refused, &wanted.id)),
            Once::Mismatch => Err(ApiError::idempotency_mismatch()),
            Once::InUse => Err(ApiError::idempotency_in_use()),
        }
    });
    shown(status, &changed.await?)
}

fn shown(status: StatusCode, view: &SiteView) -> Result<Response, ApiError> {
    change::object(status, view, Some(&etag::of_version(view.site.version())))
}

fn not_changed(refused: SiteNotChanged, id: &str) -> ApiError {
    match refused {
        SiteNotChanged::Exists => ApiError::site_exists(id),
        SiteNotChanged::Unknown => ApiError::unknown_site(id),
        SiteNotChanged::OtherVersion => ApiError::etag_mismatch(),
        SiteNotChanged::HalfPosition => {
            let why = "latitude and longitude must be given together, or removed together";
            ApiError::bad_members(vec![Fault::of_member("latitude", why.to_owned())])
        }
        SiteNotChanged::HasChargers(count) => ApiError::site_has_chargers(id, count),
        SiteNotChanged::TooMany => ApiError::too_many_sites(),
    }
}
