//! The table of routes, and what is added to every answer: headers and metrics.
//!
//! The router and the index at `/` are built from the table; a test holds `docs/api.md` equal to it.

use crate::error::ApiError;
use crate::query::Query;
use crate::state::AppState;
use crate::wrong_port::WrongPort;
use crate::{chargers, health, messages, transactions};
use axum::extract::{MatchedPath, OriginalUri, RawQuery, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// A route: what the router, the index at `/` and `docs/api.md` need to know about it.
struct Route {
    /// The path as axum writes it; a segment in braces is a parameter.
    path: &'static str,
    /// What the answer holds.
    purpose: &'static str,
    /// The query parameters that the handler accepts.
    parameters: &'static [&'static str],
    /// Whether it reads no store, so that it is also answered on the reserved connections and by a process without
    /// a store.
    is_health: bool,
    /// The method (axum adds HEAD to GET) and its handler.
    handler: fn() -> MethodRouter<Arc<AppState>>,
}

const ROUTES: [Route; 10] = [
    Route {
        path: INDEX,
        purpose: "this list, as JSON",
        parameters: &[],
        is_health: false,
        handler: || get(index),
    },
    Route {
        path: "/health/live",
        purpose: "200 while the process runs",
        parameters: &[],
        is_health: true,
        handler: || get(health::live),
    },
    Route {
        path: "/health/ready",
        purpose: "200 when every part works, else 503; names the parts that do not",
        parameters: &[],
        is_health: true,
        handler: || get(health::ready),
    },
    Route {
        path: "/metrics",
        purpose: "metrics in the Prometheus text format 0.0.4",
        parameters: &[],
        is_health: true,
        handler: || get(health::metrics),
    },
    Route {
        path: "/api/v1/chargers",
        purpose: "chargers by identity",
        parameters: chargers::PARAMETERS,
        is_health: false,
        handler: || get(chargers::list),
    },
    Route {
        path: "/api/v1/chargers/{id}",
        purpose: "one charger, its connectors, its open transactions",
        parameters: &[],
        is_health: false,
        handler: || get(chargers::one),
    },
    Route {
        path: "/api/v1/transactions",
        purpose: "transactions, the latest first",
        parameters: transactions::PARAMETERS,
        is_health: false,
        handler: || get(transactions::list),
    },
    Route {
        path: "/api/v1/transactions/{key}",
        purpose: "one transaction",
        parameters: &[],
        is_health: false,
        handler: || get(transactions::one),
    },
    Route {
        path: "/api/v1/messages",
        purpose: "messages of chargers with their answers, in the order in which they were recorded",
        parameters: messages::PARAMETERS,
        is_health: false,
        handler: || get(messages::list),
    },
    Route {
        path: "/api/v1/dead-letters",
        purpose: "records that could not be applied, with the reason",
        parameters: messages::DEAD_LETTER_PARAMETERS,
        is_health: false,
        handler: || get(messages::dead_letters),
    },
];

/// The path of the list of routes.
const INDEX: &str = "/";

impl Route {
    /// The purpose, then the parameters if there are any.
    fn summary(&self) -> String {
        match self.parameters {
            [] => self.purpose.to_owned(),
            parameters => format!("{}; {}", self.purpose, parameters.join(", ")),
        }
    }
}

pub(crate) fn router(state: Arc<AppState>) -> Router {
    finish(routes(|_| true).fallback(no_such_path), state)
}

/// The router of a process without a store: health and metrics.
pub(crate) fn health_router(state: Arc<AppState>) -> Router {
    finish(
        routes(|route| route.is_health).fallback(no_such_path),
        state,
    )
}

/// The router of a reserved connection: health and metrics; other requests are refused with 503.
pub(crate) fn reserved_router(state: Arc<AppState>) -> Router {
    finish(
        routes(|route| route.is_health).fallback(too_many_connections),
        state,
    )
}

fn routes(selected: impl Fn(&Route) -> bool) -> Router<Arc<AppState>> {
    ROUTES
        .iter()
        .filter(|route| selected(route))
        .fold(Router::new(), |router, route| {
            router.route(route.path, (route.handler)())
        })
}

fn finish(router: Router<Arc<AppState>>, state: Arc<AppState>) -> Router {
    router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state.wrong_port),
            finished,
        ))
        .with_state(state)
}

async fn too_many_connections() -> ApiError {
    ApiError::too_many_connections()
}

/// `GET /`
async fn index(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let body = json!({"name": "Wattpost", "version": state.version, "endpoints": endpoints()});
    Ok(Json(body).into_response())
}

/// All routes but the index itself.
fn endpoints() -> Vec<Value> {
    ROUTES
        .iter()
        .filter(|route| route.path != INDEX)
        .map(|route| json!({"path": route.path, "what": route.summary()}))
        .collect()
}

async fn no_such_path(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::no_such_path(&uri)
}

async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::method_not_allowed(&method, &uri)
}

/// Answers chargers that called the wrong port, adds the headers of every answer, and counts it. The metrics use the route's pattern, never the path of the
/// request: that would let a client create any number of series.
async fn finished(
    State(wrong_port): State<Arc<WrongPort>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "none".to_owned(),
    };
    let mut response = match wrong_port.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let status = response.status().as_u16().to_string();
    metrics::counter!("wattpost_api_requests_total", "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("wattpost_api_request_duration_seconds", "route" => route)
        .record(began.elapsed().as_secs_f64());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/api.md");

    #[test]
    fn docs_list_each_route_with_its_purpose_and_parameters() {
        let expected: Vec<String> = ROUTES.iter().map(row).collect();
        let rows: Vec<&str> = PAGE
            .lines()
            .skip_while(|line| *line != "## Routes")
            .skip_while(|line| !line.starts_with("| ---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(
            rows,
            expected,
            "the table in docs/api.md should be\n{}\n",
            expected.join("\n")
        );
    }

    fn row(route: &Route) -> String {
        let parameters: String = route
            .parameters
            .iter()
            .map(|name| format!("`{name}` "))
            .collect();
        format!("| `{}` | {} | {parameters}|", route.path, route.purpose)
    }

    #[test]
    fn docs_have_one_section_for_each_route() {
        let mut sections: Vec<&str> = PAGE
            .lines()
            .filter_map(|line| line.trim_start_matches('#').strip_prefix(" `GET "))
            .map(|heading| heading.trim_end_matches('`'))
            .collect();
        let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
        sections.sort_unstable();
        paths.sort_unstable();
        assert_eq!(sections, paths);
    }
}
