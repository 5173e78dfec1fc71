//! `/api/v1/actions`: the actions of OCPP with the schemas of their payloads, so that a client can make a form for each.

use crate::error::ApiError;
use crate::page::{self, ListRequest};
use crate::path::InPath;
use crate::query::Query;
use crate::schema;
use axum::Json;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use central::catalog::{self, ActionView};
use ocpp::Version;
use serde::Serialize;
use serde_json::Value;

/// The parameters of the list of actions.
pub(crate) const PARAMETERS: &[&str] = &["version", "sent_by", "fields"];

/// An action with the schemas of its payloads.
#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    action: ActionView,
    request_schema: Value,
    response_schema: Option<Value>,
}

/// `GET /api/v1/actions`
#[utoipa::path(
    get,
    path = "/api/v1/actions",
    params(
        ("version" = Option<schema::OcppVersion>, Query, description = "Only actions of this version of OCPP"),
        ("sent_by" = Option<String>, Query, description = "Only actions that a `charger` or that the `central_system` may send; those that `both` may send are in either list"),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "The actions by version and name; there are no further pages", body = schema::Page<schema::Action>))
)]
pub(crate) async fn list(request: ListRequest) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let wanted = request.wanted(&query, "Action")?;
    let versions = Version::ALL.map(|version| (version.as_str(), version));
    let version = query.one_of("version", &versions)?;
    let sent_by = query.one_of(
        "sent_by",
        &[("charger", "charger"), ("central_system", "central_system")],
    )?;
    let items: Vec<ActionView> = Version::ALL
        .into_iter()
        .filter(|one| version.is_none_or(|wanted| wanted == *one))
        .flat_map(catalog::all)
        .filter(|view| {
            sent_by.is_none_or(|wanted| view.sent_by == wanted || view.sent_by == "both")
        })
        .collect();
    Ok(page::whole(wanted, &items)?.into_response())
}

/// `GET /api/v1/actions/{version}/{action}`
#[utoipa::path(
    get,
    path = "/api/v1/actions/{version}/{action}",
    params(
        ("version" = schema::OcppVersion, Path, description = "The version of OCPP: `1.6`, `2.0.1` or `2.1`"),
        ("action" = String, Path, description = "The action; letter case is ignored"),
    ),
    responses((status = 200, description = "The action with the JSON Schemas (draft 2020-12) of its request and its response", body = schema::DescribedAction))
)]
pub(crate) async fn one(
    InPath((version, action)): InPath<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let found = Version::from_number(&version)
        .and_then(|version| Some((version, catalog::find(version, &action)?)));
    let (version, (view, info)) =
        found.ok_or_else(|| ApiError::unknown_action(&version, &action))?;
    let described = Described {
        action: view,
        request_schema: ocpp::schema::request(version, info),
        response_schema: ocpp::schema::response(version, info),
    };
    Ok(Json(described).into_response())
}
