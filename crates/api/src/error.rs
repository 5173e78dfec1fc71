//! Errors of the API: always the same JSON format, with a sentence that names the parameter, its value and what
//! is permitted.
//!
//! ```json
//! {"error": {"code": "unknown_charger", "message": "No charger is known by the identity \"CP-1\"."}}
//! ```
//! `code` is for programs and does not change; `message` is for people and may.

use axum::Json;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use central::ports::Unavailable;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// An answer other than success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u32>,
}

impl ApiError {
    const fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
            retry_after_s: None,
        }
    }

    const fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let known = if known.is_empty() {
            "this address takes none".to_owned()
        } else {
            format!("known here: {}", known.join(", "))
        };
        Self::new(
            StatusCode::BAD_REQUEST,
            "unknown_parameter",
            format!(
                "The query parameter {} is not known; {known}.",
                quoted(name)
            ),
        )
    }

    pub(crate) fn repeated_parameter(name: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "repeated_parameter",
            format!("The query parameter {name} is given more than once; give it once."),
        )
    }

    pub(crate) fn bad_parameter(name: &str, value: &str, right: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_parameter",
            format!(
                "The query parameter {name} is {}; it must be {right}.",
                quoted(value)
            ),
        )
    }

    pub(crate) fn undecodable(what: &str, value: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_encoding",
            format!(
                "The {what} {} is not UTF-8 after percent-decoding; percent-encode it as UTF-8.",
                quoted(value)
            ),
        )
    }

    pub(crate) fn bad_cursor(value: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_cursor",
            format!(
                "The query parameter cursor is {}; it must be the `next` of an earlier answer of \
                 this address, unchanged.",
                quoted(value)
            ),
        )
    }

    pub(crate) fn query_too_long(len: usize, max: usize) -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            "query_too_long",
            format!("The query is {len} bytes long; at most {max} are read."),
        )
    }

    pub(crate) fn unknown_charger(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_charger",
            format!("No charger is known by the identity {}.", quoted(id)),
        )
    }

    pub(crate) fn unknown_transaction(key: Uuid) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_transaction",
            format!("No transaction is known by the key {key}."),
        )
    }

    pub(crate) fn bad_transaction_key(key: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_transaction_key",
            format!(
                "The transaction key is {}; it must be a UUID, the `key` of a transaction in \
                 /api/v1/transactions.",
                quoted(key)
            ),
        )
    }

    pub(crate) fn no_such_path(uri: &Uri) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!(
                "There is nothing at {}; GET / lists what there is.",
                quoted(uri.path())
            ),
        )
    }

    /// The request is that of a charger.
    pub(crate) fn charger_here(uri: &Uri) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "charger_here",
            format!(
                "This is the port of Wattpost's HTTP API, and {} is the request of a charger. Chargers connect to an address \
                 in gateway.listeners: ws://HOST:9000/ocpp/{{identity}}.",
                quoted(uri.path())
            ),
        )
    }

    pub(crate) fn method_not_allowed(method: &Method, uri: &Uri) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!(
                "{} is not possible at {}; only GET and HEAD are.",
                quoted(method.as_str()),
                quoted(uri.path())
            ),
        )
    }

    /// The request needs a component that is unavailable.
    pub(crate) fn unavailable(unavailable: &Unavailable) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("The {unavailable}. No data is lost; repeat the request."),
        )
        .retry_after_s(2)
    }

    pub(crate) fn timeout(timeout: Duration) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            format!(
                "The database did not answer within {} ms; repeat the request, or narrow it (limit, \
                 from, to).",
                timeout.as_millis()
            ),
        )
        .retry_after_s(5)
    }

    pub(crate) fn busy(timeout: Duration) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            format!(
                "Other requests kept the database busy for {} ms; repeat the request.",
                timeout.as_millis()
            ),
        )
        .retry_after_s(5)
    }

    /// All ordinary connections are in use; only health and metrics are answered.
    pub(crate) fn too_many_connections() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            "All connections (http.connections_max) are in use; only /health/live, /health/ready and \
             /metrics are answered. Repeat the request."
                .to_owned(),
        )
        .retry_after_s(5)
    }

    /// An internal error; the log has the details.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Wattpost failed to answer this request; its log has the cause.".to_owned(),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The text in quotation marks, with control characters escaped, truncated to a readable length.
fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_truncated_and_without_control_characters() {
        assert_eq!(quoted("a\nb\"c"), r#""a\nb\"c""#);
        let long = "ä".repeat(5_000);
        assert!(quoted(&long).chars().count() < 110);
    }
}
