//! Errors of the API: problem details (RFC 9457), with a sentence that names the parameter, its value and what is
//! permitted.
//!
//! ```json
//! {"type": "/docs#unknown_charger", "title": "Unknown charger", "status": 404, "instance": "/api/v1/chargers/CP-1",
//!  "detail": "No charger is known by the identity \"CP-1\".", "code": "unknown_charger", "retryable": false,
//!  "request_id": "0199…", "errors": []}
//! ```
//! `code` is for programs and does not change; `title` and `detail` are for people and may. A handler returns an
//! [`ApiError`]; the body is written by the outermost layer, which knows the request ([`ApiError::body`]).

mod access;
mod alerts;
mod availability;
mod chargers;
mod commands;
mod kinds;
mod records;
mod requests;
mod webhooks;

pub(crate) use kinds::*;

use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use central::operation;
use serde::Serialize;

/// The media type of every error.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// One fault in a request: of a query parameter or of a member of the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// Where: a JSON pointer into the body (RFC 6901), or `?NAME` for a query parameter.
    pub(crate) pointer: String,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

/// An answer other than success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    kind: &'static Kind,
    detail: String,
    retry_after_s: Option<u32>,
    /// The value of `WWW-Authenticate`.
    challenge: Option<&'static str>,
    faults: Vec<Fault>,
    /// The address of the command that the error is about.
    command: Option<String>,
}

/// The body of an error.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'static str,
    retryable: bool,
    request_id: &'a str,
    errors: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
}

impl Fault {
    /// A fault of a member of the body's object.
    pub(crate) fn of_member(name: &str, detail: String) -> Self {
        let name = shortened(name).replace('~', "~0").replace('/', "~1");
        Self {
            pointer: format!("/{name}"),
            code: PAYLOAD_INVALID.code,
            detail,
        }
    }
}

impl ApiError {
    const fn new(kind: &'static Kind, detail: String) -> Self {
        Self {
            kind,
            detail,
            retry_after_s: None,
            challenge: None,
            faults: Vec::new(),
            command: None,
        }
    }

    const fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    const fn challenge(mut self, value: &'static str) -> Self {
        self.challenge = Some(value);
        self
    }

    /// An error about one query parameter.
    fn about_parameter(kind: &'static Kind, name: &str, detail: String) -> Self {
        let fault = Fault {
            pointer: format!("?{}", shortened(name)),
            code: kind.code,
            detail: detail.clone(),
        };
        let mut error = Self::new(kind, detail);
        error.faults.push(fault);
        error
    }

    /// The places of the faults of a request.
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The sentence for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    fn with_faults(kind: &'static Kind, what: &str, faults: &[operation::Fault]) -> Self {
        let words: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
            .collect();
        let mut error = Self::new(kind, format!("{what}: {}.", words.join("; ")));
        error.faults = faults
            .iter()
            .map(|fault| Fault {
                pointer: fault.pointer.clone(),
                code: kind.code,
                detail: fault.detail.clone(),
            })
            .collect();
        error
    }

    /// The code, for metrics.
    pub(crate) const fn code(&self) -> &'static str {
        self.kind.code
    }

    /// The body, for the request with this path and this id.
    pub(crate) fn body(&self, instance: &str, request_id: &str) -> Vec<u8> {
        let problem = Problem {
            r#type: self.kind.type_url(),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: &self.detail,
            instance: &shortened(instance),
            code: self.kind.code,
            retryable: self.kind.is_retryable(),
            request_id,
            errors: &self.faults,
            command: self.command.as_deref(),
        };
        // Texts and numbers can always be written as JSON.
        serde_json::to_vec(&problem).unwrap_or_default()
    }
}

impl IntoResponse for ApiError {
    /// A response without a body, which carries the error to the layer that writes the body.
    fn into_response(self) -> Response {
        let mut response = self.kind.status.into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Characters of a client's text that an error repeats.
const CHARS_MAX: usize = 100;

/// The text in quotation marks, with control characters escaped, truncated to a readable length.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The text, truncated to a readable length.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
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
        assert!(shortened(&long).chars().count() < 110);
    }

    #[test]
    fn each_kind_has_a_code_of_its_own() {
        let mut codes: Vec<&str> = KINDS.iter().map(|kind| kind.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KINDS.len());
        assert!(KINDS.is_sorted_by_key(|kind| kind.status));
    }

    #[test]
    fn docs_list_each_kind_of_error() {
        let page = include_str!("../../../../docs/api.md");
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| *line != "## Errors")
            .skip_while(|line| !line.starts_with("| ---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let expected: Vec<String> = KINDS
            .iter()
            .map(|kind| {
                format!(
                    "| {} | `{}` | {} |",
                    kind.status.as_u16(),
                    kind.code,
                    kind.when
                )
            })
            .collect();
        assert_eq!(
            rows,
            expected,
            "the table in docs/api.md should be\n{}\n",
            expected.join("\n")
        );
    }
}
