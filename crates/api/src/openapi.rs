//! The OpenAPI document: `/api/openapi.json`, the page `/docs` made of it, and `/.well-known/api-catalog`.
//!
//! The operations come from the attributes at the handlers, the schemas from [`crate::schema`]. What holds for every
//! route (errors, keys, the summary in the table of routes) is added here, so that it is written once.

use crate::alerts::routes as alerts;
use crate::auth::Access;
use crate::error::{ApiError, KINDS, Kind};
use crate::query::Query;
use crate::routes::{METRICS, ROUTES, Route};
use crate::state::AppState;
use crate::{
    actions, api_keys, audit, batches, charger_password, charger_settings, chargers, closings,
    commands, dead_letters, disconnects, docs_page, events, freshness, handshakes, health,
    local_lists, messages, meter_values, operations, pipeline, quirks, reports, routes, schema,
    sessions, sites, support_bundle, tokens, traces, transaction_messages, transactions,
    unknown_tokens, uptime, users, version, webhook_routes,
};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use central::model::Scope;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use utoipa::OpenApi;

/// The address of the document.
pub(crate) const DOCUMENT: &str = "/api/openapi.json";
/// The address of the page for people.
pub(crate) const PAGE: &str = "/docs";
/// The address of the catalogue (RFC 9727).
pub(crate) const CATALOG: &str = "/.well-known/api-catalog";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Wattpost",
        description = "Chargers, transactions and messages of an OCPP central system. docs/api.md explains pages, keys and limits.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        routes::index,
        health::detailed,
        health::live,
        health::ready,
        health::metrics,
        chargers::list,
        chargers::one,
        chargers::connectors,
        chargers::connections,
        uptime::one,
        uptime::list,
        charger_settings::create,
        charger_settings::change,
        charger_settings::remove,
        charger_password::one,
        charger_password::set,
        charger_password::cancel,
        disconnects::disconnect,
        sites::list,
        sites::create,
        sites::one,
        sites::modify,
        sites::remove,
        handshakes::list,
        handshakes::dismiss,
        transactions::list,
        transactions::one,
        transaction_messages::list,
        meter_values::list,
        closings::close,
        messages::list,
        messages::one,
        traces::one,
        dead_letters::list,
        dead_letters::one,
        dead_letters::retry,
        dead_letters::discard,
        dead_letters::retry_matching,
        dead_letters::discard_matching,
        quirks::list,
        charger_settings::import,
        tokens::list,
        tokens::one,
        tokens::put,
        tokens::patch,
        tokens::remove,
        tokens::import,
        unknown_tokens::list,
        unknown_tokens::dismiss,
        local_lists::list,
        local_lists::one,
        local_lists::set,
        local_lists::remove,
        local_lists::default_wish,
        local_lists::set_default,
        local_lists::remove_default,
        audit::list,
        actions::list,
        alerts::list,
        alerts::one,
        alerts::acknowledge,
        alerts::list_rules,
        alerts::list_silences,
        alerts::create_silence,
        alerts::remove_silence,
        webhook_routes::list,
        webhook_routes::create,
        webhook_routes::one,
        webhook_routes::change,
        webhook_routes::remove,
        webhook_routes::rotate,
        webhook_routes::test,
        webhook_routes::deliveries,
        webhook_routes::redeliver,
        batches::create,
        batches::list,
        batches::one,
        batches::items,
        batches::pause,
        batches::resume,
        batches::cancel,
        actions::one,
        api_keys::list,
        api_keys::create,
        api_keys::revoke,
        users::list,
        users::create,
        users::one,
        users::modify,
        users::remove,
        pipeline::overview,
        sessions::show,
        sessions::begin,
        sessions::end,
        sessions::set_password,
        version::show,
        support_bundle::show,
        events::list,
        commands::create,
        commands::list,
        commands::one,
        commands::cancel,
        reports::list,
        document,
        page,
        catalog
    ),
    components(schemas(schema::Problem))
)]
struct Described;

/// Answers to a GET of these routes. A test compares each with what the API answers over the rows that it describes.
const EXAMPLES: [(&str, &str); 6] = [
    ("/api/v1/chargers", include_str!("examples/chargers.json")),
    (
        "/api/v1/chargers/{id}",
        include_str!("examples/charger.json"),
    ),
    (
        "/api/v1/transactions",
        include_str!("examples/transactions.json"),
    ),
    (
        "/api/v1/transactions/{key}",
        include_str!("examples/transaction.json"),
    ),
    ("/api/v1/messages", include_str!("examples/messages.json")),
    (
        "/api/v1/dead-letters",
        include_str!("examples/dead-letters.json"),
    ),
];

/// An answer that never changes while the process runs.
static JSON: LazyLock<Value> = LazyLock::new(build);
static JSON_TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}", *JSON));
static HTML: LazyLock<String> = LazyLock::new(|| docs_page::html(&JSON));

/// The OpenAPI document of the API, as `/api/openapi.json` answers it.
#[must_use]
pub fn openapi() -> &'static Value {
    &JSON
}

/// The document.
fn build() -> Value {
    let mut document = Described::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    // Its types can always be written as JSON.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["servers"] = json!([{"url": "/"}]);
    document["components"]["securitySchemes"] = json!({"key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of `wattpost apikey add`. No request needs one while there is none.",
    }});
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.extend(operations::described());
    }
    for route in ROUTES {
        let methods = document["paths"][route.path].as_object_mut();
        for (method, operation) in methods.into_iter().flatten() {
            complete(operation, route, method);
        }
    }
    document
}

/// Adds to an operation what holds for its kind of route.
fn complete(operation: &mut Value, route: &Route, method: &str) {
    operation["summary"] = json!(route.purpose);
    // The functions of several files have the same name, and an operation's id must be unique.
    if let (Some(part), Some(name)) = (
        operation["tags"][0].as_str(),
        operation["operationId"].as_str(),
    ) {
        operation["operationId"] = json!(format!("{}_{name}", part.replace('-', "_")));
    }
    operation["security"] = match route.access {
        Access::Open => json!([]),
        Access::Needs(scope) => {
            let is_reading = method == "get";
            let scope = if is_reading {
                scope
            } else {
                scope.max(Scope::Operate)
            };
            operation["x-scope"] = json!(scope.as_str());
            json!([{"key": []}, {}])
        }
    };
    let example = EXAMPLES.iter().find(|(path, _)| *path == route.path);
    if let Some((_, example)) = example.filter(|_| method == "get") {
        let content = &mut operation["responses"]["200"]["content"]["application/json"];
        content["example"] = serde_json::from_str(example).unwrap_or_default();
    }
    if method == "get" && route.parameters.contains(&"fields") {
        let contents = &mut operation["responses"]["200"]["content"];
        let text = json!({"schema": {"type": "string"}});
        contents["application/x-ndjson"] = text.clone();
        contents["text/csv"] = text;
    }
    if method == "get" && freshness::is_dated(route.path) {
        add_freshness(operation);
    }
    if method == "get" && has_tag(route) {
        operation["responses"]["304"] =
            json!({"description": "The client has this answer: `If-None-Match`"});
    }
    for status in problems_of(route, method) {
        let codes: Vec<&str> = KINDS
            .iter()
            .filter(|kind| kind.status == status)
            .map(|kind| kind.code)
            .collect();
        let answers = &mut operation["responses"][status.as_str()];
        if !answers.is_null() {
            continue;
        }
        *answers = json!({
            "description": format!("A problem: {}", codes.join(", ")),
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        });
    }
}

/// Adds the parameter that waits for a record, and the headers that say how fresh the answer is.
fn add_freshness(operation: &mut Value) {
    let parameter = json!({
        "name": freshness::MIN_SEQ,
        "in": "query",
        "description": "Answer only when this record (`GATEWAY/NUMBER`) is stored; waits 5 seconds at most",
        "required": false,
        "schema": {"type": "string"},
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
    operation["responses"]["200"]["headers"] = json!({
        "Wattpost-As-Of": {
            "description": "For when the answer is",
            "schema": {"type": "string", "format": "date-time"},
        },
        "Wattpost-Lag-Ms": {
            "description": "By how many milliseconds at most the database was behind; absent if that is not known",
            "schema": {"type": "integer"},
        },
        "Wattpost-Stale": {
            "description": "Only if the database is unavailable and this is an earlier answer: why",
            "schema": {"type": "string"},
        },
    });
}

/// Whether the answers have an entity tag: those of one object.
fn has_tag(route: &Route) -> bool {
    let has_none = [
        "/commands",
        "/actions/",
        "/batches/",
        "/trace",
        "/password",
        "/deliveries",
    ];
    route.path.contains('{') && !has_none.iter().any(|part| route.path.contains(part))
}

/// The statuses of the errors of a route.
fn problems_of(route: &Route, method: &str) -> Vec<StatusCode> {
    // Of the metrics a setting decides.
    let is_open = route.access == Access::Open && route.path != METRICS;
    let has_parameter = route.path.contains('{');
    let is_change = method != "get";
    let mut statuses: Vec<StatusCode> = KINDS
        .iter()
        .map(|kind: &&Kind| kind.status)
        .filter(|status| match *status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => !is_open,
            // A charger's request for a path of the API is answered so, whatever the path.
            StatusCode::NOT_FOUND => has_parameter,
            StatusCode::METHOD_NOT_ALLOWED => false,
            StatusCode::GONE => route.path == "/api/v1/events",
            StatusCode::CONFLICT => {
                matches!(method, "delete" | "post")
                    || (method == "put" && route.path.ends_with("/password"))
                    || (method == "patch" && route.path == "/api/v1/users/{name}")
            }
            StatusCode::PRECONDITION_FAILED => is_change,
            StatusCode::PRECONDITION_REQUIRED => matches!(method, "patch" | "put"),
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => is_change,
            StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => {
                matches!(method, "patch" | "post" | "put")
            }
            // Those of a key or a user are counted; sign-ins too.
            StatusCode::TOO_MANY_REQUESTS => !is_open || method == "post",
            StatusCode::NOT_ACCEPTABLE => route.parameters.contains(&"fields"),
            _ => true,
        })
        .collect();
    statuses.dedup();
    statuses
}

/// `GET /api/openapi.json`
#[utoipa::path(get, path = "/api/openapi.json",
    responses((status = 200, description = "The document", content_type = "application/json", body = Object)))]
pub(crate) async fn document(RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    Ok(fixed(&JSON_TEXT, "application/json"))
}

/// `GET /docs`
#[utoipa::path(get, path = "/docs",
    responses((status = 200, description = "The page", content_type = "text/html", body = String)))]
pub(crate) async fn page(RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let mut response = fixed(&HTML, "text/html; charset=utf-8");
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        // The page has no script and loads nothing.
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    );
    Ok(response)
}

/// `GET /.well-known/api-catalog`
#[utoipa::path(get, path = "/.well-known/api-catalog",
    responses((status = 200, description = "The catalogue", content_type = "application/linkset+json", body = Object)))]
pub(crate) async fn catalog(
    State(_): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    static CATALOG_TEXT: LazyLock<String> = LazyLock::new(|| {
        let link = |href: &str, media: &str| json!([{"href": href, "type": media}]);
        let mut entry = Map::new();
        entry.insert("anchor".to_owned(), json!("/api/v1"));
        entry.insert(
            "service-desc".to_owned(),
            link(DOCUMENT, "application/json"),
        );
        entry.insert("service-doc".to_owned(), link(PAGE, "text/html"));
        entry.insert("status".to_owned(), link("/health", "application/json"));
        json!({"linkset": [entry]}).to_string()
    });
    let mut response = fixed(
        &CATALOG_TEXT,
        r#"application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727""#,
    );
    response.headers_mut().insert(
        header::LINK,
        HeaderValue::from_static(r#"</.well-known/api-catalog>; rel="api-catalog""#),
    );
    Ok(response)
}

fn fixed(text: &'static str, media: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_and_the_router_have_the_same_routes_and_parameters() {
        let mut documented: Vec<&String> =
            JSON["paths"].as_object().expect("paths").keys().collect();
        documented.sort_unstable();
        let mut routes: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
        routes.sort_unstable();
        assert_eq!(documented, routes);
        for route in ROUTES {
            let methods = JSON["paths"][route.path].as_object().expect("methods");
            // The first one that reads, or else the only one.
            let operation = methods.get("get").or_else(|| methods.values().next());
            let operation = operation.expect("an operation");
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let named = |place: &str| -> Vec<&str> {
                let here = parameters.iter().filter(|one| one["in"] == place);
                // It is added to every route of its kind.
                let here = here.filter(|one| one["name"] != freshness::MIN_SEQ);
                here.map(|one| one["name"].as_str().expect("a name"))
                    .collect()
            };
            assert_eq!(named("query"), route.parameters, "{}", route.path);
            let in_path: Vec<&str> = route
                .path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(named("path"), in_path, "{}", route.path);
        }
    }

    #[test]
    fn the_document_is_openapi_3_1_and_each_reference_leads_to_a_schema() {
        assert!(
            JSON["openapi"]
                .as_str()
                .is_some_and(|text| text.starts_with("3.1"))
        );
        let text = JSON.to_string();
        let references = text.split("\"$ref\":\"").skip(1);
        let mut count = 0;
        for reference in references {
            let reference = reference.split('"').next().unwrap_or_default();
            let pointer = reference.trim_start_matches('#');
            assert!(JSON.pointer(pointer).is_some(), "{reference}");
            count += 1;
        }
        assert!(count > 10);
    }

    #[test]
    fn each_parameter_and_each_answer_is_described() {
        for (path, methods) in JSON["paths"].as_object().expect("paths") {
            for operation in methods.as_object().expect("methods").values() {
                let answers = operation["responses"].as_object().expect("answers");
                assert!(
                    answers.keys().any(|status| status.starts_with('2')),
                    "{path}"
                );
            }
            let operations = methods.as_object().expect("methods").values();
            let parameters = operations.flat_map(|operation| operation["parameters"].as_array());
            for parameter in parameters.flatten() {
                let described = parameter["description"].as_str().unwrap_or_default();
                assert!(!described.is_empty(), "{path} {}", parameter["name"]);
            }
        }
    }
}
