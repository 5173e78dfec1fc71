//! How fresh an answer is, and waiting until a known record is stored.
//!
//! What chargers were answered for reaches the database a little later, and much later during an outage. So each answer
//! from the database says for when it is and how far the database may be behind; a client that knows of a record can wait
//! for it (`min_seq`); and while the database is unavailable, the last answer to the same request is returned, marked as
//! stale.

use crate::error::ApiError;
use crate::query;
use crate::state::AppState;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use central::{RecordId, Timestamp};
use common::clock::now_ms;
use common::lock::lock;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// For when the answer is.
const AS_OF: HeaderName = HeaderName::from_static("wattpost-as-of");
/// By how many milliseconds at most the database was behind.
const LAG_MS: HeaderName = HeaderName::from_static("wattpost-lag-ms");
/// Why the answer is not from the database.
const STALE: HeaderName = HeaderName::from_static("wattpost-stale");

/// The parameter that waits for a record.
pub(crate) const MIN_SEQ: &str = "min_seq";
/// How long a request waits for its record: 5 seconds.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Requests that wait for a record at once.
const WAITING_MAX: usize = 64;
/// How often such a request looks: every 100 milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Answers that are kept for an outage of the database.
const KEPT_MAX: usize = 256;
/// Bytes of a kept answer.
const KEPT_BYTES_MAX: usize = 256 * 1024;
/// Bytes of all kept answers.
const ALL_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How old an answer may be that is returned instead of the database's: 15 minutes.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);

/// What the answers of this process have in common.
#[derive(Debug)]
pub(crate) struct Freshness {
    kept: Mutex<Kept>,
    waiting: Semaphore,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }
}

/// The latest answers, the oldest first.
#[derive(Debug, Default)]
struct Kept {
    answers: VecDeque<Answer>,
    bytes: usize,
}

/// An answer of the database.
#[derive(Debug, Clone)]
struct Answer {
    /// The path and the query, and the forms that the client accepts.
    request: (String, Vec<u8>),
    as_of: Timestamp,
    at: Instant,
    lag_ms: Option<i64>,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    fn put(&mut self, answer: Answer) {
        if answer.body.len() > KEPT_BYTES_MAX {
            return;
        }
        if let Some(place) = self.place(&answer.request)
            && let Some(old) = self.answers.remove(place)
        {
            self.bytes -= old.body.len();
        }
        self.bytes += answer.body.len();
        self.answers.push_back(answer);
        while self.answers.len() > KEPT_MAX || self.bytes > ALL_KEPT_BYTES_MAX {
            let Some(oldest) = self.answers.pop_front() else {
                return;
            };
            self.bytes -= oldest.body.len();
        }
    }

    fn place(&self, request: &(String, Vec<u8>)) -> Option<usize> {
        self.answers
            .iter()
            .position(|answer| answer.request == *request)
    }

    fn get(&self, request: &(String, Vec<u8>)) -> Option<Answer> {
        let answer = self.answers.get(self.place(request)?)?;
        (answer.at.elapsed() <= KEPT_FOR).then(|| answer.clone())
    }
}

/// Whether the answers of a route are from the database, so that they have a time and may be kept. The log of events has
/// positions of its own, the pipeline, traces and the support bundle are made of reports, and a session is in the memory of this process.
///
/// No route that needs no key is one: a client without a key must not make the database look for a record.
pub(crate) fn is_dated(path: &str) -> bool {
    let has_none = [
        "/api/v1/pipeline",
        "/api/v1/events",
        "/api/v1/actions",
        "/api/v1/actions/{version}/{action}",
        "/api/v1/session",
        "/api/v1/version",
        "/api/v1/support-bundle",
    ];
    path.starts_with("/api/v1/") && !path.ends_with("/trace") && !has_none.contains(&path)
}

/// Waits for the record that a request names, and adds to the answer how fresh it is.
pub(crate) async fn dated(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.extensions().get::<MatchedPath>();
    let is_dated = path.is_some_and(|path| is_dated(path.as_str()));
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_dated || !is_reading {
        return Ok(next.run(request).await);
    }
    if let Some(id) = take_min_seq(request.uri_mut())? {
        wait_for(&state, id).await?;
    }
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.map_or_else(Vec::new, |accept| accept.as_bytes().to_vec());
    let name = (request.uri().to_string(), accept);
    let is_kept = *request.method() == Method::GET;
    let as_of = Timestamp(now_ms());
    let lag_ms = state
        .pipeline
        .as_ref()
        .and_then(|overview| overview.lag_ms());
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().get_mut::<ApiError>() {
        error.with_known_parameter(MIN_SEQ);
    }
    if let Some(why) = unavailable(&response) {
        let kept = lock(&state.freshness.kept).get(&name);
        return Ok(match kept {
            Some(answer) => answer.response(Some(&why)),
            None => response,
        });
    }
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    // It is in memory as a whole.
    let body = to_bytes(body, usize::MAX);
    let answer = Answer {
        request: name,
        as_of,
        at: Instant::now(),
        lag_ms,
        headers: parts.headers,
        body: body.await.map_err(|_| ApiError::internal())?,
    };
    let response = answer.response(None);
    if is_kept {
        lock(&state.freshness.kept).put(answer);
    }
    Ok(response)
}

/// Why the database gave no answer, if that is so.
fn unavailable(response: &Response) -> Option<String> {
    let error = response.extensions().get::<ApiError>()?;
    error.is_of_database().then(|| error.detail().to_owned())
}

impl Answer {
    fn response(&self, stale: Option<&str>) -> Response {
        let is_list = !self.headers.contains_key(header::ETAG)
            && self.body.starts_with(br#"{"items":["#)
            && self.body.ends_with(b"}");
        let body = match is_list {
            true => self.with_members(stale),
            false => self.body.clone(),
        };
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = self.headers.clone();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        if let Ok(as_of) = HeaderValue::from_str(&self.as_of.to_string()) {
            headers.insert(AS_OF, as_of);
        }
        if let Some(lag_ms) = self.lag_ms {
            headers.insert(LAG_MS, HeaderValue::from(lag_ms));
        }
        // An error's text may have characters that a header may not.
        let why = stale.map(|why| why.replace(|c: char| !(' '..='~').contains(&c), " "));
        if let Some(Ok(why)) = why.map(|why| HeaderValue::from_str(&why)) {
            headers.insert(STALE, why);
        }
        response
    }

    /// The list with the members that say how fresh it is.
    fn with_members(&self, stale: Option<&str>) -> Bytes {
        let members = json!({
            "as_of": self.as_of.to_string(),
            "lag_ms": self.lag_ms,
            "stale": stale.is_some(),
            "stale_because": stale,
        });
        let members = members.to_string();
        let mut body = self.body.to_vec();
        body.pop();
        body.push(b',');
        // Without its first brace; its last one ends the answer.
        body.extend_from_slice(members.as_bytes().get(1..).unwrap_or_default());
        Bytes::from(body)
    }
}

/// Removes `min_seq` from the query of an address, and returns its record.
fn take_min_seq(uri: &mut Uri) -> Result<Option<RecordId>, ApiError> {
    let of_parameter = |pair: &&str| pair.split('=').next() == Some(MIN_SEQ);
    let all = uri.query().unwrap_or_default();
    let mut given = all.split('&').filter(of_parameter);
    let Some(pair) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(ApiError::repeated_parameter(MIN_SEQ));
    }
    let value = query::decode(pair.split_once('=').map_or("", |(_, value)| value))?;
    let id = value
        .parse()
        .map_err(|()| ApiError::bad_parameter(MIN_SEQ, &value, query::RECORD_ID_EXPECTED))?;
    let kept: Vec<&str> = all.split('&').filter(|pair| !of_parameter(pair)).collect();
    let address = match kept.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), kept.join("&")),
    };
    *uri = address.parse().map_err(|_| ApiError::internal())?;
    Ok(Some(id))
}

/// Returns when the database has the record, as a message or as a dead letter.
async fn wait_for(state: &AppState, id: RecordId) -> Result<(), ApiError> {
    if let Some(overview) = &state.pipeline
        && overview.has_stored(id)
    {
        return Ok(());
    }
    let _permit = state
        .freshness
        .waiting
        .try_acquire()
        .map_err(|_| ApiError::too_many_waiting(WAITING_MAX))?;
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let is_stored = state.run(move |store| {
            let found = || Ok(store.message(id)?.is_some() || store.dead_letter_row(id)?.is_some());
            found().map_err(|error| crate::page::query_error(error, &Default::default()))
        });
        if is_stored.await? {
            return Ok(());
        }
        if Instant::now() + LOOK_EVERY > deadline {
            return Err(ApiError::not_stored(id, WAIT_MAX));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Access;
    use crate::routes::ROUTES;

    fn answer(name: &str, bytes: usize) -> Answer {
        Answer {
            request: (name.to_owned(), Vec::new()),
            as_of: Timestamp(0),
            at: Instant::now(),
            lag_ms: None,
            headers: HeaderMap::new(),
            body: Bytes::from(vec![b'x'; bytes]),
        }
    }

    #[test]
    fn kept_answers_are_bounded_in_number_and_in_bytes() {
        let mut kept = Kept::default();
        for number in 0..KEPT_MAX * 2 {
            kept.put(answer(&number.to_string(), 10));
        }
        assert_eq!(kept.answers.len(), KEPT_MAX);
        for number in 0..200 {
            kept.put(answer(&format!("large {number}"), KEPT_BYTES_MAX));
        }
        assert_eq!(kept.bytes, ALL_KEPT_BYTES_MAX);
        kept.put(answer("too large", KEPT_BYTES_MAX + 1));
        let name = |text: &str| (text.to_owned(), Vec::new());
        assert!(kept.get(&name("too large")).is_none());
        // An answer replaces the earlier one.
        kept.put(answer("large 199", 5));
        assert_eq!(
            kept.get(&name("large 199")).map(|answer| answer.body.len()),
            Some(5)
        );
        let bytes: usize = kept.answers.iter().map(|answer| answer.body.len()).sum();
        assert_eq!(bytes, kept.bytes);
    }

    #[test]
    fn a_request_without_a_key_never_waits_for_a_record() {
        let open = ROUTES.iter().filter(|route| route.access == Access::Open);
        let dated: Vec<&str> = open
            .map(|route| route.path)
            .filter(|path| is_dated(path))
            .collect();
        assert!(dated.is_empty(), "{dated:?}");
    }

    #[test]
    fn the_record_to_wait_for_is_taken_out_of_the_query() {
        const GATEWAY: &str = "00000000-0000-0000-0000-00000000feed";
        for (query, rest) in [
            (format!("?min_seq={GATEWAY}/7"), ""),
            (format!("?a=1&min_seq={GATEWAY}%2F7&b"), "?a=1&b"),
        ] {
            let mut uri: Uri = format!("/x{query}").parse().expect("an address");
            let id = take_min_seq(&mut uri).expect("valid").expect("given");
            assert_eq!(id.to_string(), format!("{GATEWAY}/7"));
            assert_eq!(uri.to_string(), format!("/x{rest}"));
        }
        let mut without: Uri = "/x?min_sequence=1".parse().expect("an address");
        assert_eq!(take_min_seq(&mut without), Ok(None));
        for wrong in ["?min_seq=7", "?min_seq", "?min_seq=a/1&min_seq=a/1"] {
            let mut uri: Uri = format!("/x{wrong}").parse().expect("an address");
            assert!(take_min_seq(&mut uri).is_err(), "{wrong}");
        }
    }
}
