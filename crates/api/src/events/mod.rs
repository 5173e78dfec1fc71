//! `/api/v1/events`: the log of events, as pages and as server-sent events.

mod hub;
mod shown;
mod stream;

pub(crate) use hub::EventHub;
pub(crate) use shown::Shown;

use crate::error::ApiError;
use crate::page::ListRequest;
use crate::query::Query;
use crate::row::{self, Form};
use crate::schema;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use central::Timestamp;
use central::model::{EventId, EventType};
use central::ports::{EventBounds, EventFilter, EventLog, EventPage, EventsFound};
use central::query::parameters;
use std::sync::Arc;
use std::time::Duration;

/// The parameters of the list.
pub(crate) const PARAMETERS: &[&str] =
    &["after", "types", "charger", "throttle", "limit", "fields"];

/// Events of a query of the log. They are at most 4 MiB of data, or one event.
const STEP: usize = 500;
/// The longest pause between two updates of one transaction, in seconds.
const THROTTLE_S_MAX: u64 = 3_600;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// With the oldest event that is kept.
    Oldest,
    /// With the next one.
    Latest,
    /// After this one.
    After(EventId),
    /// With the first one that was recorded at this time or later.
    Since(Timestamp),
}

impl Begin {
    fn read(name: &str, text: &str) -> Result<Self, ApiError> {
        match text {
            "oldest" => Ok(Self::Oldest),
            "latest" => Ok(Self::Latest),
            text => {
                let id = EventId::parse(text).map(Self::After);
                // A number alone would be taken for a position.
                let time = || Some(text).filter(|text| text.contains('T'));
                id.or_else(|| time().and_then(parameters::time).map(Self::Since))
                    .ok_or_else(|| {
                        let right = "the id of an event, `oldest`, `latest`, or a time such as \
                                     2026-01-31T12:00:00Z";
                        ApiError::bad_parameter(name, text, right)
                    })
            }
        }
    }

    /// The id after which it begins.
    fn id(self, log: &dyn EventLog) -> Result<EventId, ApiError> {
        match self {
            Self::Oldest => Ok(EventId::START),
            Self::Latest => Ok(bounds(log)?.last),
            Self::After(id) => Ok(id),
            Self::Since(at) => log
                .event_before(at)
                .map_err(|error| ApiError::unavailable(&error)),
        }
    }
}

fn bounds(log: &dyn EventLog) -> Result<EventBounds, ApiError> {
    log.event_bounds()
        .map_err(|error| ApiError::unavailable(&error))
}

/// What a request selects.
#[derive(Debug, Clone)]
struct Wanted {
    begin: Option<Begin>,
    filter: EventFilter,
    /// The shortest pause between two updates of one transaction.
    throttle: Option<Duration>,
}

impl Wanted {
    fn read(query: &Query) -> Result<Self, ApiError> {
        let begin = query.text("after")?;
        let types = query.text("types")?.map(types).transpose()?;
        Ok(Self {
            begin: begin.map(|text| Begin::read("after", text)).transpose()?,
            filter: EventFilter {
                charger: query.text("charger")?.map(str::to_owned),
                types: types.unwrap_or_default(),
            },
            throttle: query.text("throttle")?.map(throttle).transpose()?,
        })
    }
}

/// Types by their names, with commas between them; `transaction.*` is all that begin so.
fn types(text: &str) -> Result<Vec<EventType>, ApiError> {
    let mut types = Vec::new();
    for name in text.split(',').map(str::trim) {
        let before = types.len();
        types.extend(EventType::named(name));
        if types.len() == before {
            let names: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
            let right = format!(
                "types of events with commas between them, such as transaction.*; the types are {}",
                names.join(", ")
            );
            return Err(ApiError::bad_parameter("types", name, &right));
        }
    }
    Ok(types)
}

fn throttle(text: &str) -> Result<Duration, ApiError> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<u64>().ok();
    let seconds = seconds.filter(|seconds| (1..=THROTTLE_S_MAX).contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        let right = format!("a number of seconds from 1s to {THROTTLE_S_MAX}s");
        ApiError::bad_parameter("throttle", text, &right)
    })?;
    Ok(Duration::from_secs(seconds))
}

/// `GET /api/v1/events`
#[utoipa::path(
    get,
    path = "/api/v1/events",
    params(
        ("after" = Option<String>, Query, description = "Only events after the one with this id, or recorded since this time; `oldest` (the default of a page) or `latest` (the default of a stream)"),
        ("types" = Option<String>, Query, description = "Only these types, with commas between them; `transaction.*` is all that begin so"),
        ("charger" = Option<String>, Query, description = "Only those of this charger; letter case is ignored"),
        ("throttle" = Option<String>, Query, description = "Of a stream: an update of a transaction is sent once in this number of seconds at most (`10s`); the newest counts"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
        ("Last-Event-ID" = Option<String>, Header, description = "Of a stream: as `after`, and takes precedence"),
    ),
    responses((status = 200, description = "A page; a stream with `Accept: text/event-stream`", body = schema::EventPage))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let mut wanted = Wanted::read(&query)?;
    let fields = query.text("fields")?;
    let fields = fields
        .map(|fields| row::fields(fields, "Event"))
        .transpose()?;
    let limit = match query.limit()? {
        0 => central::query::PAGE_DEFAULT,
        limit => limit,
    };
    if accepts_stream(&headers) {
        if let Some(id) = headers.get(LAST_EVENT_ID) {
            let text = id.to_str().unwrap_or_default();
            wanted.begin = Some(Begin::read("Last-Event-ID", text)?);
        }
        return stream::start(state, wanted, headers).await;
    }
    let form = Form::accepted(headers.get_all(header::ACCEPT))?;
    let target = request.target();
    let log = state.event_log()?;
    let answer = state.run(move |_| {
        let begin = wanted.begin.unwrap_or(Begin::Oldest).id(&*log)?;
        let page = collect(&*log, begin, &wanted.filter, limit)?;
        write(&page, form, fields.as_deref(), &target)
    });
    let (bytes, next) = answer.await?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media()));
    if let Some(next) = next
        && let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\""))
    {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    accepted.any(|range| {
        let media = range.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("text/event-stream")
    })
}

/// A part of the log, or the error that it is no longer kept.
fn events_after(
    log: &dyn EventLog,
    after: EventId,
    filter: &EventFilter,
    limit: usize,
) -> Result<EventPage, ApiError> {
    let found = log.events_after(after, filter, limit);
    match found.map_err(|error| ApiError::unavailable(&error))? {
        EventsFound::Page(page) => Ok(page),
        EventsFound::Expired(bounds) => Err(ApiError::cursor_expired(after, &bounds)),
    }
}

/// Reads parts of the log until there is an event or the end. It reads a bounded part of the log.
fn collect(
    log: &dyn EventLog,
    after: EventId,
    filter: &EventFilter,
    limit: usize,
) -> Result<EventPage, ApiError> {
    const READS_MAX: usize = 10;
    let mut page = events_after(log, after, filter, limit)?;
    for _ in 1..READS_MAX {
        if page.is_end || !page.events.is_empty() {
            break;
        }
        page = events_after(log, page.reached, filter, limit)?;
    }
    Ok(page)
}

type Written = (Vec<u8>, Option<String>);

fn write(
    page: &EventPage,
    form: Form,
    fields: Option<&[String]>,
    target: &str,
) -> Result<Written, ApiError> {
    let mut bytes = form.begin().to_vec();
    for (at, event) in page.events.iter().enumerate() {
        let shown = Shown::of(event);
        form.append(&mut bytes, &shown, fields, at == 0)
            .map_err(|error| {
                tracing::error!(%error, "failed to write an event");
                ApiError::internal()
            })?;
    }
    bytes.extend_from_slice(form.end());
    let last_id = page.reached.to_string();
    let next = (!page.is_end).then_some(&last_id);
    if form == Form::Json {
        bytes.splice(..0, *b"{\"items\":");
        let next = next.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
        bytes.extend_from_slice(format!(",\"next\":{next},\"last_id\":\"{last_id}\"}}").as_bytes());
    }
    let separator = if target.contains('?') { '&' } else { '?' };
    let next = next.map(|id| format!("{target}{separator}after={id}"));
    Ok((bytes, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_names_or_all_of_a_kind() {
        let all = types("token.*,command.sent").expect("they are known");
        let names: Vec<&str> = all.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(
            names,
            [
                "token.refused",
                "token.removed",
                "token.set",
                "command.sent"
            ]
        );
        for wrong in ["", "token", "tokens.*", "token.set,,", "*", ".*"] {
            assert!(types(wrong).is_err(), "{wrong:?}");
        }
    }
}
