//! Requests that cannot be understood, or whose condition does not hold.

use super::kinds::{
    BAD_CURSOR, BAD_ENCODING, BAD_IF_MATCH, BAD_JSON, BAD_PARAMETER, BAD_RECORD_ID,
    BAD_TRANSACTION_KEY, BODY_TIMEOUT, BODY_TOO_LARGE, CHARGER_HERE, CURSOR_EXPIRED, ETAG_MISMATCH,
    IDEMPOTENCY_IN_USE, IDEMPOTENCY_MISMATCH, IF_MATCH_REQUIRED, METHOD_NOT_ALLOWED,
    NO_IDEMPOTENCY_KEY, NO_SUCH_PATH, NOT_A_TABLE, NOT_ACCEPTABLE, NOT_JSON, NOT_MERGE_PATCH,
    NOT_SUPPORTED, PAYLOAD_INVALID, QUERY_TOO_LONG, REPEATED_PARAMETER, UNKNOWN_PARAMETER,
};
use super::{ApiError, Fault, quoted};
use axum::http::Method;
use axum::http::Uri;
use central::model::EventId;
use central::operation;
use central::ports::EventBounds;
use std::time::Duration;

impl ApiError {
    pub(crate) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let known = if known.is_empty() {
            "this address takes none".to_owned()
        } else {
            format!("known here: {}", known.join(", "))
        };
        let quoted = quoted(name);
        Self::about_parameter(
            &UNKNOWN_PARAMETER,
            name,
            format!("The query parameter {quoted} is not known; {known}."),
        )
    }

    /// Adds a parameter that the route knows too to the error about an unknown one.
    pub(crate) fn with_known_parameter(&mut self, name: &str) {
        if self.code() != UNKNOWN_PARAMETER.code {
            return;
        }
        let sentence = match self.detail.strip_suffix("; this address takes none.") {
            Some(begin) => format!("{begin}; known here: {name}."),
            None => format!("{}, {name}.", self.detail.trim_end_matches('.')),
        };
        for fault in &mut self.faults {
            fault.detail.clone_from(&sentence);
        }
        self.detail = sentence;
    }

    pub(crate) fn repeated_parameter(name: &str) -> Self {
        Self::about_parameter(
            &REPEATED_PARAMETER,
            name,
            format!("The query parameter {name} is given more than once; give it once."),
        )
    }

    pub(crate) fn bad_parameter(name: &str, value: &str, right: &str) -> Self {
        let quoted = quoted(value);
        Self::about_parameter(
            &BAD_PARAMETER,
            name,
            format!("The query parameter {name} is {quoted}; it must be {right}."),
        )
    }

    /// `why`: what of a range is too much.
    pub(crate) fn range_too_long(why: &str) -> Self {
        Self::about_parameter(
            &BAD_PARAMETER,
            "from",
            format!("The range from `from` to `to` is too long: {why}; give a shorter one."),
        )
    }

    pub(crate) fn undecodable(what: &str, value: &str) -> Self {
        Self::new(
            &BAD_ENCODING,
            format!(
                "The {what} {} is not UTF-8 after percent-decoding; percent-encode it as UTF-8.",
                quoted(value)
            ),
        )
    }

    pub(crate) fn bad_cursor(value: &str) -> Self {
        let quoted = quoted(value);
        Self::about_parameter(
            &BAD_CURSOR,
            "cursor",
            format!(
                "The query parameter cursor is {quoted}; it must be the `next` of an earlier answer of \
                 this address, unchanged."
            ),
        )
    }

    pub(crate) fn query_too_long(len: usize, max: usize) -> Self {
        Self::new(
            &QUERY_TOO_LONG,
            format!("The query is {len} bytes long; at most {max} are read."),
        )
    }

    /// The body of an operation is not valid.
    pub(crate) fn invalid(faults: &[operation::Fault]) -> Self {
        Self::with_faults(&PAYLOAD_INVALID, "The request is not valid", faults)
    }

    /// The charger's version cannot express an operation.
    pub(crate) fn not_expressible(version: ocpp::Version, faults: &[operation::Fault]) -> Self {
        let what = format!("The charger speaks OCPP {version}, which cannot express the request");
        Self::with_faults(&NOT_SUPPORTED, &what, faults)
    }

    pub(crate) fn import_refused(refused: usize, faults: Vec<Fault>) -> Self {
        let mut error = Self::bad_members(faults);
        error.detail = format!(
            "{refused} lines are refused, so nothing was changed; errors names the first ones, and dry_run=true shows the \
             verdict of each line."
        );
        error
    }

    pub(crate) fn not_a_table(media: &str) -> Self {
        Self::new(
            &NOT_A_TABLE,
            format!(
                "The header Content-Type is {}; send text/csv or application/x-ndjson.",
                quoted(media)
            ),
        )
    }

    pub(crate) fn bad_json(why: &str) -> Self {
        Self::new(
            &BAD_JSON,
            format!("The body cannot be read: {why}; /docs describes it."),
        )
    }

    /// A member of the body is not valid; `pointer` is its JSON pointer, empty for the whole body.
    pub(crate) fn bad_member(pointer: &str, why: &str) -> Self {
        let mut error = Self::new(
            &PAYLOAD_INVALID,
            format!("The command is not valid: {why}."),
        );
        error.faults.push(Fault {
            pointer: pointer.to_owned(),
            code: PAYLOAD_INVALID.code,
            detail: why.to_owned(),
        });
        error
    }

    /// Members of the body are not valid; there is at least one fault.
    pub(crate) fn bad_members(faults: Vec<Fault>) -> Self {
        let first = faults.first();
        let first = first.map_or_else(String::new, |fault| {
            format!("{}: {}", fault.pointer, fault.detail)
        });
        let more = match faults.len() {
            0 | 1 => String::new(),
            number => format!(" ({} more in errors)", number - 1),
        };
        let mut error = Self::new(
            &PAYLOAD_INVALID,
            format!("The body is not valid: {first}{more}."),
        );
        error.faults = faults;
        error
    }

    pub(crate) fn not_merge_patch(media: &str) -> Self {
        Self::new(
            &NOT_MERGE_PATCH,
            format!(
                "The header Content-Type is {}; send application/merge-patch+json (RFC 7396).",
                quoted(media)
            ),
        )
    }

    pub(crate) fn bad_if_match() -> Self {
        Self::new(
            &BAD_IF_MATCH,
            "The header If-Match is neither `*` nor a list of entity tags in quotation marks; send the ETag of an \
             earlier answer, unchanged."
                .to_owned(),
        )
    }

    pub(crate) fn if_match_required() -> Self {
        Self::new(
            &IF_MATCH_REQUIRED,
            "The request has no header If-Match, so it could overwrite a change that you have not seen; GET the object \
             and send its ETag as If-Match."
                .to_owned(),
        )
    }

    pub(crate) fn etag_mismatch() -> Self {
        Self::new(
            &ETAG_MISMATCH,
            "The object has changed since the answer whose ETag is in If-Match; GET it, decide again, and send its new \
             ETag."
                .to_owned(),
        )
    }

    pub(crate) fn idempotency_in_use() -> Self {
        Self::new(
            &IDEMPOTENCY_IN_USE,
            "A request with this Idempotency-Key is running now; repeat yours in a moment to get its result."
                .to_owned(),
        )
        .retry_after_s(1)
    }

    pub(crate) fn no_idempotency_key(bytes_max: usize) -> Self {
        Self::new(
            &NO_IDEMPOTENCY_KEY,
            format!(
                "The header Idempotency-Key is missing, empty, or longer than {bytes_max} bytes; send a text that is \
                 unique for this request, such as a UUID, and the same one when you repeat it."
            ),
        )
    }

    pub(crate) fn idempotency_mismatch() -> Self {
        Self::new(
            &IDEMPOTENCY_MISMATCH,
            "Another request was made with this Idempotency-Key within 72 hours; use a new one."
                .to_owned(),
        )
    }

    pub(crate) fn body_too_large(bytes_max: usize) -> Self {
        Self::new(
            &BODY_TOO_LARGE,
            format!("The body is longer than {bytes_max} bytes, or it ended early."),
        )
    }

    pub(crate) fn body_timeout(timeout: Duration) -> Self {
        Self::new(
            &BODY_TIMEOUT,
            format!(
                "The body did not arrive within {} ms; repeat the request.",
                timeout.as_millis()
            ),
        )
    }

    pub(crate) fn not_json(media: &str) -> Self {
        Self::new(
            &NOT_JSON,
            format!(
                "The header Content-Type is {}; send application/json.",
                quoted(media)
            ),
        )
    }

    pub(crate) fn bad_record_id(id: &str) -> Self {
        Self::new(
            &BAD_RECORD_ID,
            format!(
                "{id:?} is not the id of a record: GATEWAY-UUID/NUMBER, such as `record_id` of a message."
            ),
        )
    }

    pub(crate) fn bad_transaction_key(key: &str) -> Self {
        Self::new(
            &BAD_TRANSACTION_KEY,
            format!(
                "The transaction key is {}; it must be a UUID, the `key` of a transaction in \
                 /api/v1/transactions.",
                quoted(key)
            ),
        )
    }

    pub(crate) fn no_such_path(uri: &Uri) -> Self {
        Self::new(
            &NO_SUCH_PATH,
            format!(
                "There is nothing at {}; GET / lists what there is.",
                quoted(uri.path())
            ),
        )
    }

    /// The request is that of a charger.
    pub(crate) fn charger_here(uri: &Uri) -> Self {
        Self::new(
            &CHARGER_HERE,
            format!(
                "This is the port of Wattpost's HTTP API, and {} is the request of a charger. Chargers connect to an address \
                 in gateway.listeners: ws://HOST:9000/ocpp/{{identity}}.",
                quoted(uri.path())
            ),
        )
    }

    pub(crate) fn method_not_allowed(method: &Method, uri: &Uri) -> Self {
        Self::new(
            &METHOD_NOT_ALLOWED,
            format!(
                "{} is not possible at {}; the header Allow lists what is.",
                quoted(method.as_str()),
                quoted(uri.path())
            ),
        )
    }

    pub(crate) fn not_acceptable(accept: &str) -> Self {
        Self::new(
            &NOT_ACCEPTABLE,
            format!(
                "The header Accept is {}; lists have the forms application/json, application/x-ndjson and text/csv.",
                quoted(accept)
            ),
        )
    }

    pub(crate) fn cursor_expired(after: EventId, bounds: &EventBounds) -> Self {
        let first = bounds
            .first
            .map_or_else(|| "none".to_owned(), |first| first.to_string());
        Self::new(
            &CURSOR_EXPIRED,
            format!(
                "Events after {after} are no longer kept, or the database was restored from an older copy. The oldest \
                 event is {first}, the newest {}. Take last_id from a request with after=latest, read the present state from \
                 the lists, and continue after that id; or begin with after=oldest.",
                bounds.last
            ),
        )
    }
}
