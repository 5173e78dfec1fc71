//! Requests that change something: what all of them have in common.
//!
//! [`Change`] reads a request: who sends it, `Idempotency-Key`, `If-Match` and the body. [`Members`] reads a JSON object
//! member by member, and names every fault by its pointer. `Done` is the answer.

use crate::auth::Caller;
use crate::error::{ApiError, Fault};
use crate::etag;
use crate::query::Query;
use crate::routes::{RequestId, Traced};
use crate::state::AppState;
use crate::wrong_port::Client;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use central::Timestamp;
use central::command_request::PAYLOAD_BYTES_MAX;
use central::model::{Actor, ActorKind, Origin};
use central::ports::{ChangeRequest, Condition, Idempotency, NotChanged, Once};
use central::secret::redacted;
use common::clock::now_ms;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// Bytes of a body at most: the payload of a command and what surrounds it.
pub(crate) const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4_096;
/// Bytes of an idempotency key at most.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// One digest of a request with a secret is computed at a time: it takes 19 MiB and tens of milliseconds of a processor.
static SLOW_DIGESTS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);
/// The media type of a merge patch (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A request for a change, with its body. Its rejection is the error to answer.
#[derive(Debug)]
pub(crate) struct Change {
    origin: Origin,
    headers: HeaderMap,
    query: Option<String>,
    idempotency: Option<Idempotency>,
    pub(crate) body: Bytes,
}

impl FromRequest<Arc<AppState>> for Change {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        Self::read(request, state, BODY_BYTES_MAX).await
    }
}

impl Change {
    /// Reads a request whose body has at most `bytes_max` bytes.
    pub(crate) async fn read(
        request: Request,
        state: &AppState,
        bytes_max: usize,
    ) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = state.read_body(body, bytes_max).await?;
        let query = parts.uri.query();
        // Who signs in is not known yet, and could make this process compute slow digests; a repeat needs no key.
        let is_sign_in = parts.uri.path() == "/api/v1/session";
        let idempotency = match idempotency_key(&parts.headers)? {
            _ if is_sign_in => None,
            None => None,
            Some(key) => {
                let target = format!("{} {}", parts.method, parts.uri.path());
                let query = query.unwrap_or_default();
                let digest = digest(&key, &[target.as_bytes(), query.as_bytes()], &body).await?;
                Some(Idempotency { key, digest })
            }
        };
        Ok(Self {
            origin: origin(&parts.extensions),
            query: query.map(str::to_owned),
            headers: parts.headers,
            idempotency,
            body,
        })
    }

    /// The query parameters, which may have only the names in `known`.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query, ApiError> {
        Query::read(self.query.as_deref(), known)
    }

    /// The headers of the request.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Who requests it, under which condition and idempotency key. A condition is optional.
    pub(crate) fn request(&self) -> Result<ChangeRequest, ApiError> {
        Ok(ChangeRequest {
            origin: self.origin.clone(),
            condition: self.condition()?.unwrap_or_default(),
            idempotency: self.idempotency.clone(),
        })
    }

    /// As [`Change::request`]; a request without `If-Match` is refused, because it could overwrite a change that its sender
    /// has not seen.
    pub(crate) fn conditional_request(&self) -> Result<ChangeRequest, ApiError> {
        let condition = self.condition()?.ok_or_else(ApiError::if_match_required)?;
        Ok(ChangeRequest {
            condition,
            ..self.request()?
        })
    }

    fn condition(&self) -> Result<Option<Condition>, ApiError> {
        etag::condition(self.headers.get_all(header::IF_MATCH))
    }

    /// The members of a body of `application/json`.
    pub(crate) fn members(&self) -> Result<Members, ApiError> {
        match media_type(&self.headers).as_str() {
            "application/json" => Members::read(&self.body),
            media => Err(ApiError::not_json(media)),
        }
    }

    /// The members of a merge patch: a member that is null is removed, one that is absent stays as it is.
    pub(crate) fn merge_patch(&self) -> Result<Members, ApiError> {
        match media_type(&self.headers).as_str() {
            MERGE_PATCH => Members::read(&self.body),
            media => Err(ApiError::not_merge_patch(media)),
        }
    }
}

/// Who sends a request, now.
pub(crate) fn origin(request: &Extensions) -> Origin {
    let actor = match request.get::<Caller>() {
        Some(Caller(actor)) => actor.clone(),
        None => Actor {
            kind: ActorKind::WithoutKey,
            name: None,
        },
    };
    let from = request.get::<Client>();
    let from = from.map(|Client(address)| address.ip().to_canonical().to_string());
    let request_id = request.get::<RequestId>();
    Origin {
        at: Timestamp(now_ms()),
        by: actor,
        from: from.unwrap_or_default(),
        request_id: request_id.map(|RequestId(id)| id.clone()),
        traceparent: request
            .get::<Traced>()
            .and_then(|Traced(trace)| trace.clone()),
    }
}

/// The digest of a request with an idempotency key: of what it is about and of its body.
///
/// It is stored for 72 hours. If the body has a secret, such as the password of a charger, whoever has stolen the database
/// could guess the secret with it, so then it is as slow to compute as the stored hash of a password.
pub(crate) async fn digest(
    key: &str,
    target: &[&[u8]],
    body: &Bytes,
) -> Result<[u8; 32], ApiError> {
    let mut plain = blake3::Hasher::new();
    for part in target {
        plain.update(part).update(b"\0");
    }
    let plain = *plain.update(body).finalize().as_bytes();
    let text = String::from_utf8_lossy(body);
    // A file of chargers in UTF-16 does not show that it has a column of passwords.
    if redacted(&text).is_none() && !text.contains('\0') {
        return Ok(plain);
    }
    let mut salt = [0; 16];
    let of_key = blake3::derive_key("wattpost api idempotency key as a salt", key.as_bytes());
    salt.copy_from_slice(&of_key[..16]);
    let slow = move || common::password::slow_digest(&plain, &salt);
    let Ok(_turn) = SLOW_DIGESTS.acquire().await else {
        return Err(ApiError::internal());
    };
    match tokio::task::spawn_blocking(slow).await {
        Ok(Ok(digest)) => Ok(digest),
        Ok(Err(error)) => {
            tracing::error!(error, "cannot compute the digest of a request");
            Err(ApiError::internal())
        }
        Err(_) => Err(ApiError::internal()),
    }
}

/// The media type of the body, in lower case and without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let media = headers.get(header::CONTENT_TYPE);
    let media = media.and_then(|value| value.to_str().ok());
    let name = media.unwrap_or_default().split(';').next();
    name.unwrap_or_default().trim().to_ascii_lowercase()
}

/// The idempotency key of a request; `None` if it has none.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(ApiError::no_idempotency_key(IDEMPOTENCY_KEY_BYTES_MAX));
    }
    Ok(Some(text.to_owned()))
}

/// The idempotency key of a request that must have one.
pub(crate) fn required_idempotency_key(headers: &HeaderMap) -> Result<String, ApiError> {
    idempotency_key(headers)?.ok_or_else(|| ApiError::no_idempotency_key(IDEMPOTENCY_KEY_BYTES_MAX))
}

/// The idempotency key of a request that must have one.
pub(crate) fn required_idempotency_key_of(
    idempotency: Option<Idempotency>,
) -> Result<Idempotency, ApiError> {
    idempotency.ok_or_else(|| ApiError::no_idempotency_key(IDEMPOTENCY_KEY_BYTES_MAX))
}

/// What a member of a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given<T> {
    /// It is not there, or it is invalid; in that case [`Members::finish`] returns the fault.
    Absent,
    /// It is null.
    Null,
    Value(T),
}

impl<T> Given<T> {
    /// What a merge patch changes: `None` nothing, `Some(None)` the value is removed.
    pub(crate) fn patch(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }

    /// The value; null is as good as absent.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// The members of a JSON object, which are taken one by one. Faults are collected, so that the error names all of them.
#[derive(Debug)]
pub(crate) struct Members {
    members: Vec<(String, Value)>,
    faults: Vec<Fault>,
}

impl Members {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let Object(members) =
            serde_json::from_slice(body).map_err(|error| ApiError::bad_json(&error.to_string()))?;
        Ok(Self {
            members,
            faults: Vec::new(),
        })
    }

    /// Takes a member. `right` says what it must be.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str, right: &str) -> Given<T> {
        let at = self.members.iter().position(|(known, _)| known == name);
        let Some(at) = at else {
            return Given::Absent;
        };
        let (_, value) = self.members.swap_remove(at);
        if value.is_null() {
            return Given::Null;
        }
        match serde_json::from_value(value) {
            Ok(value) => Given::Value(value),
            Err(_) => {
                self.fault(name, format!("{name} must be {right}"));
                Given::Absent
            }
        }
    }

    /// As [`Members::take`], for a member whose value must also satisfy `is_valid`.
    pub(crate) fn take_if<T: DeserializeOwned>(
        &mut self,
        name: &str,
        right: &str,
        is_valid: impl FnOnce(&T) -> bool,
    ) -> Given<T> {
        match self.take(name, right) {
            Given::Value(value) if !is_valid(&value) => {
                self.fault(name, format!("{name} must be {right}"));
                Given::Absent
            }
            given => given,
        }
    }

    /// Takes a member that must be there.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        name: &str,
        right: &str,
        is_valid: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let faults = self.faults.len();
        let given = self.take_if(name, right, is_valid).value();
        if given.is_none() && self.faults.len() == faults {
            self.fault(name, format!("{name} is missing; it must be {right}"));
        }
        given
    }

    /// Notes a fault of a member. `detail` is a sentence without its full stop; it must not repeat a secret.
    pub(crate) fn fault(&mut self, name: &str, detail: String) {
        self.faults.push(Fault::of_member(name, detail));
    }

    /// Notes that a member is absent, unless it has a fault already.
    pub(crate) fn missing(&mut self, name: &str, right: &str) {
        if self.faults.is_empty() {
            self.fault(name, format!("{name} is missing; it must be {right}"));
        }
    }

    /// Refuses the members that were not taken, and reports every fault.
    pub(crate) fn finish(mut self, known: &[&str]) -> Result<(), ApiError> {
        for (name, _) in std::mem::take(&mut self.members) {
            let detail = format!("this member is not known; known here: {}", known.join(", "));
            self.fault(&name, detail);
        }
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(ApiError::bad_members(self.faults)),
        }
    }
}

/// A JSON object whose members have different names.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        let detail = "a member is given more than once";
                        return Err(serde::de::Error::custom(detail));
                    }
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// What was done, or the error for what was not. `exists` and `unknown` make the errors that name the object.
pub(crate) fn done<T>(
    once: Once<T, NotChanged>,
    exists: impl FnOnce() -> ApiError,
    unknown: impl FnOnce() -> ApiError,
) -> Result<T, ApiError> {
    match once {
        Once::Done(done) | Once::Repeated(done) => Ok(done),
        Once::Refused(refused) => Err(not_changed(refused, exists, unknown)),
        Once::Mismatch => Err(ApiError::idempotency_mismatch()),
        Once::InUse => Err(ApiError::idempotency_in_use()),
    }
}

/// The error for a change that was not made.
pub(crate) fn not_changed(
    refused: NotChanged,
    exists: impl FnOnce() -> ApiError,
    unknown: impl FnOnce() -> ApiError,
) -> ApiError {
    match refused {
        NotChanged::Exists => exists(),
        NotChanged::Unknown => unknown(),
        NotChanged::OtherVersion => ApiError::etag_mismatch(),
        NotChanged::NoSuchSite => {
            let why = "no site has this id; add it with POST /api/v1/sites".to_owned();
            ApiError::bad_members(vec![Fault::of_member("site", why)])
        }
    }
}

/// An answer with an object as JSON, and its entity tag if it has one.
pub(crate) fn object(
    status: StatusCode,
    object: &impl Serialize,
    tag: Option<&str>,
) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(object).map_err(|_| ApiError::internal())?;
    Ok(written(status, json, tag))
}

/// As [`object`], for an object that is JSON already.
pub(crate) fn written(status: StatusCode, json: Vec<u8>, tag: Option<&str>) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// An answer without a body.
pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The characters of a name that are encoded in a path: all but the unreserved ones of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name as a segment of a path.
pub(crate) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

/// Adds `Location`.
pub(crate) fn with_location(mut response: Response, location: &str) -> Response {
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn members(body: &str) -> Members {
        Members::read(body.as_bytes()).expect("an object")
    }

    fn pointers(error: &ApiError) -> Vec<(String, String)> {
        let body: Value = serde_json::from_slice(&error.body("/", "id")).expect("JSON");
        let faults = body["errors"].as_array().expect("faults").iter();
        let text = |fault: &Value, name: &str| fault[name].as_str().expect("a text").to_owned();
        faults
            .map(|fault| (text(fault, "pointer"), text(fault, "detail")))
            .collect()
    }

    #[test]
    fn a_member_is_absent_null_or_a_value() {
        let mut read = members(r#"{"a": 1, "b": null}"#);
        assert_eq!(read.take::<u32>("a", "a number").patch(), Some(Some(1)));
        assert_eq!(read.take::<u32>("b", "a number").patch(), Some(None));
        assert_eq!(read.take::<u32>("c", "a number").patch(), None);
        assert_eq!(read.finish(&["a", "b", "c"]), Ok(()));
    }

    #[test]
    fn every_fault_is_named_by_its_pointer() {
        let mut read = members(r#"{"a": "x", "b~/": 2, "c": 7}"#);
        assert_eq!(read.take::<u32>("a", "a number"), Given::Absent);
        assert_eq!(
            read.take_if("c", "below 5", |c: &u32| *c < 5),
            Given::Absent
        );
        assert_eq!(read.required::<u32>("d", "a number", |_| true), None);
        let error = read.finish(&["a", "c", "d"]).expect_err("faults");
        let found = pointers(&error);
        let found: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(found, ["/a", "/c", "/d", "/b~0~1"]);
    }

    #[test]
    fn a_body_that_is_no_object_or_has_a_member_twice_is_refused() {
        for body in ["", "[]", "7", "{", r#"{"a": 1, "a": 2}"#] {
            let error = Members::read(body.as_bytes()).expect_err(body);
            assert_eq!(error.code(), "bad_json");
        }
    }

    #[test]
    fn a_value_of_another_type_is_not_repeated() {
        let mut read = members(&json!({"password": ["secret"]}).to_string());
        assert_eq!(read.take::<String>("password", "a text"), Given::Absent);
        let error = read.finish(&["password"]).expect_err("a fault");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
