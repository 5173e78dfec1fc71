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

use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use central::command_request::RequestError;
use central::model::{BATCHES_OPEN_MAX, BatchId, BatchState, EventId, Scope};
use central::operation;
use central::ports::{EventBounds, NotClosed, NotSelected, Unavailable};
use serde::Serialize;
use std::time::Duration;
use uuid::Uuid;

/// The media type of every error.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A kind of error: what `docs/api.md`, the page `/docs` and the OpenAPI document say about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    /// When it is answered.
    pub(crate) when: &'static str,
}

macro_rules! kinds {
    ($($name:ident, $status:ident, $code:literal, $title:literal, $when:literal;)*) => {
        $(
            pub(crate) static $name: Kind = Kind {
                status: StatusCode::$status,
                code: $code,
                title: $title,
                when: $when,
            };
        )*

        /// All kinds of errors, by status.
        pub(crate) static KINDS: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    UNKNOWN_PARAMETER, BAD_REQUEST, "unknown_parameter", "Unknown parameter", "the route has no such parameter; `detail` lists its parameters";
    REPEATED_PARAMETER, BAD_REQUEST, "repeated_parameter", "Repeated parameter", "given more than once";
    BAD_PARAMETER, BAD_REQUEST, "bad_parameter", "Bad parameter", "the value is not valid for this parameter";
    BAD_CURSOR, BAD_REQUEST, "bad_cursor", "Bad cursor", "not the `next` of this list";
    BAD_TRANSACTION_KEY, BAD_REQUEST, "bad_transaction_key", "Bad transaction key", "not a UUID";
    BAD_RECORD_ID, BAD_REQUEST, "bad_record_id", "Bad record id", "not `GATEWAY-UUID/NUMBER`";
    BAD_ENCODING, BAD_REQUEST, "bad_encoding", "Bad encoding", "not UTF-8 after percent-decoding";
    BAD_JSON, BAD_REQUEST, "bad_json", "Bad JSON", "the body is not JSON with the members that the route knows";
    NO_IDEMPOTENCY_KEY, BAD_REQUEST, "no_idempotency_key", "No valid idempotency key", "`Idempotency-Key` is empty or too long, or a command has none";
    BAD_IF_MATCH, BAD_REQUEST, "bad_if_match", "Bad If-Match", "`If-Match` is neither `*` nor a list of entity tags";
    NO_KEY, UNAUTHORIZED, "no_key", "No valid API key", "no `Authorization: Bearer` with a key, or the key does not exist (any more)";
    KEY_EXPIRED, UNAUTHORIZED, "key_expired", "API key expired", "the key is past its `expires_at`";
    SCOPE_MISSING, FORBIDDEN, "scope_missing", "Scope missing", "the key's scope does not include what the route needs";
    CSRF_TOKEN_MISSING, FORBIDDEN, "csrf_token_missing", "CSRF token missing", "a page that has signed in sends a change without the header `X-CSRF-Token` of its session";
    UNKNOWN_CHARGER, NOT_FOUND, "unknown_charger", "Unknown charger", "not in the database";
    UNKNOWN_TRANSACTION, NOT_FOUND, "unknown_transaction", "Unknown transaction", "not in the database";
    UNKNOWN_MESSAGE, NOT_FOUND, "unknown_message", "Unknown message", "not in the database: it was never recorded, has not arrived yet, or was deleted after the retention; its `/trace` says which as far as it is known";
    UNKNOWN_COMMAND, NOT_FOUND, "unknown_command", "Unknown command", "not in the database";
    UNKNOWN_BATCH, NOT_FOUND, "unknown_batch", "Unknown batch", "not in the database";
    UNKNOWN_DEAD_LETTER, NOT_FOUND, "unknown_dead_letter", "Unknown dead letter", "no dead letter has this `record_id`: it was applied, the retention has deleted it, or it never was one";
    NO_REPORT, NOT_FOUND, "no_report", "No report", "the command asks for no report";
    UNKNOWN_ACTION, NOT_FOUND, "unknown_action", "Unknown action", "no such action in this version of OCPP, or no such version";
    UNKNOWN_API_KEY, NOT_FOUND, "unknown_api_key", "Unknown API key", "no key has this name";
    UNKNOWN_HANDSHAKE, NOT_FOUND, "unknown_handshake", "Unknown handshake", "not in the list of refused handshakes";
    UNKNOWN_TOKEN, NOT_FOUND, "unknown_token", "Unknown token", "the token was not added";
    UNKNOWN_LOCAL_LIST, NOT_FOUND, "unknown_local_list", "Unknown local list", "no wish for a local list holds for the charger";
    NO_SUCH_PATH, NOT_FOUND, "not_found", "Not found", "no such route";
    CHARGER_HERE, NOT_FOUND, "charger_here", "A charger called the API", "a WebSocket upgrade, or a path that begins with `/ocpp`: chargers connect to another port";
    METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", "the route has other methods, which `Allow` lists";
    NOT_ACCEPTABLE, NOT_ACCEPTABLE, "not_acceptable", "Not acceptable", "`Accept` permits none of the forms of a list";
    BODY_TIMEOUT, REQUEST_TIMEOUT, "body_timeout", "Body timeout", "the body did not arrive in time";
    CHARGER_EXISTS, CONFLICT, "charger_exists", "Charger exists", "a charger with this identity was added before";
    API_KEY_EXISTS, CONFLICT, "api_key_exists", "API key exists", "another key has this name";
    TOO_MANY_API_KEYS, CONFLICT, "too_many_api_keys", "Too many API keys", "1,000 keys exist";
    LAST_ADMIN_KEY, CONFLICT, "last_admin_key", "Last admin key", "it is the last valid key with the scope `admin`; `force=true` revokes it nevertheless";
    IDEMPOTENCY_IN_USE, CONFLICT, "idempotency_in_use", "Request still running", "a request with this `Idempotency-Key` is running now";
    ALREADY_SENT, CONFLICT, "already_sent", "Already sent", "a gateway has the command, or it is done: it cannot be cancelled";
    CHARGER_OFFLINE, CONFLICT, "charger_offline", "Charger not connected", "no gateway has a connection of the charger, and the command does not wait; `command` is the address of the command, which is stored as not sent";
    BATCH_ENDED, CONFLICT, "batch_ended", "Batch ended", "the batch is done or cancelled, so it cannot be paused, resumed or cancelled";
    DEAD_LETTER_DISCARDED, CONFLICT, "dead_letter_discarded", "Dead letter discarded", "the dead letter was discarded before, and its content is deleted";
    OTHER_NUMBER, CONFLICT, "other_number", "Another number matches", "the number of dead letters that match is not `expected`; `detail` has it";
    VERSION_UNKNOWN, CONFLICT, "version_unknown", "Version unknown", "the charger has sent no message yet, so its version of OCPP is not known";
    TRANSACTION_ENDED, CONFLICT, "transaction_ended", "Transaction ended", "the transaction has ended or was closed, so it can be neither stopped nor closed";
    TRANSACTION_MAY_RUN, CONFLICT, "transaction_may_run", "Transaction may run", "the charger sent a message about the transaction within the last 15 minutes; `force` closes it nevertheless";
    NO_OPEN_TRANSACTION, CONFLICT, "no_open_transaction", "No open transaction", "the charger has no open transaction that can be named";
    LOCAL_LIST_KEPT, CONFLICT, "local_list_kept", "Local list kept in step", "a wish for a local list holds for the charger, so no other list is sent to it";
    SEVERAL_TRANSACTIONS, CONFLICT, "several_transactions", "Several open transactions", "the charger has several open transactions, and the request names none";
    CURSOR_EXPIRED, GONE, "cursor_expired", "Events expired", "events after this one are no longer kept, or it is not of this log because the database was restored";
    ETAG_MISMATCH, PRECONDITION_FAILED, "etag_mismatch", "Changed meanwhile", "the object has another version than `If-Match` names";
    BODY_TOO_LARGE, PAYLOAD_TOO_LARGE, "body_too_large", "Body too large", "above 260 KiB; an import above 8 MiB";
    QUERY_TOO_LONG, URI_TOO_LONG, "query_too_long", "Query too long", "above 8,192 bytes";
    NOT_JSON, UNSUPPORTED_MEDIA_TYPE, "not_json", "Not JSON", "the body's `Content-Type` is not `application/json`";
    NOT_MERGE_PATCH, UNSUPPORTED_MEDIA_TYPE, "not_merge_patch", "Not a merge patch", "the body's `Content-Type` is not `application/merge-patch+json`";
    NOT_A_TABLE, UNSUPPORTED_MEDIA_TYPE, "not_a_table", "Not a table", "the `Content-Type` of an import is neither `text/csv` nor `application/x-ndjson`";
    PAYLOAD_INVALID, UNPROCESSABLE_ENTITY, "payload_invalid", "Invalid request", "a member of the body is not valid, or the payload breaks the schema of the charger's version; `errors` has each place";
    NOT_SUPPORTED, UNPROCESSABLE_ENTITY, "not_supported_by_charger", "Not supported by the charger", "the charger's version of OCPP does not have the action, or cannot express the request";
    IDEMPOTENCY_MISMATCH, UNPROCESSABLE_ENTITY, "idempotency_mismatch", "Idempotency key used before", "another request was made with this `Idempotency-Key`";
    IF_MATCH_REQUIRED, PRECONDITION_REQUIRED, "if_match_required", "If-Match missing", "a change of this object needs the header `If-Match`";
    QUEUE_FULL, TOO_MANY_REQUESTS, "queue_full", "Queue full", "too many commands wait for the charger";
    TOO_MANY_BATCHES, TOO_MANY_REQUESTS, "too_many_batches", "Too many batches", "20 batches are not finished";
    INTERNAL, INTERNAL_SERVER_ERROR, "internal", "Internal error", "a bug in Wattpost; the log has the cause";
    UNAVAILABLE, SERVICE_UNAVAILABLE, "unavailable", "Database unavailable", "the database is unavailable; `detail` says why";
    TIMEOUT, SERVICE_UNAVAILABLE, "timeout", "Timeout", "the database did not answer in time";
    BUSY, SERVICE_UNAVAILABLE, "busy", "Busy", "other requests kept the database busy until the timeout";
    TOO_MANY_CONNECTIONS, SERVICE_UNAVAILABLE, "too_many_connections", "Too many connections", "all connections are in use; only health and metrics are answered";
    NOT_STORED, SERVICE_UNAVAILABLE, "not_stored", "Not stored yet", "the record that `min_seq` names was not stored within 5 seconds";
    TOO_MANY_WAITING, SERVICE_UNAVAILABLE, "too_many_waiting", "Too many waiting requests", "64 requests wait for the record that their `min_seq` names";
    TOO_MANY_STREAMS, SERVICE_UNAVAILABLE, "too_many_streams", "Too many streams", "half of all connections are streams of events";
}

impl Kind {
    /// Whether the same request may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        )
    }

    /// The address of its description, relative to the API.
    pub(crate) fn type_url(&self) -> String {
        format!("/docs#{}", self.code)
    }
}

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

    pub(crate) fn no_key(why: &str) -> Self {
        Self::new(
            &NO_KEY,
            format!(
                "{why}; send a key of this installation as `Authorization: Bearer wp_live_…` \
                 (`wattpost apikey add` makes one)."
            ),
        )
        .challenge("Bearer")
    }

    pub(crate) fn unknown_key() -> Self {
        Self::no_key("The key in Authorization is not one of this installation, or was revoked")
            .challenge(r#"Bearer error="invalid_token""#)
    }

    pub(crate) fn key_expired(name: &str, at: central::Timestamp) -> Self {
        Self::new(
            &KEY_EXPIRED,
            format!(
                "The key {} expired at {at}; use another one (`wattpost apikey add` makes one).",
                quoted(name)
            ),
        )
        .challenge(r#"Bearer error="invalid_token""#)
    }

    pub(crate) fn scope_missing(name: &str, held: Scope, needed: Scope) -> Self {
        Self::new(
            &SCOPE_MISSING,
            format!(
                "The key {} has the scope {held}, and this request needs the scope {needed}; use a key \
                 that has it.",
                quoted(name)
            ),
        )
        .challenge(r#"Bearer error="insufficient_scope""#)
    }

    pub(crate) fn csrf_token_missing() -> Self {
        Self::new(
            &CSRF_TOKEN_MISSING,
            "The header X-CSRF-Token is absent or not that of this session; send the csrf_token of \
             GET /api/v1/session."
                .to_owned(),
        )
    }

    /// The keys are not known, so every request that needs one is refused.
    pub(crate) fn keys_unavailable(why: &Unavailable) -> Self {
        Self::new(
            &UNAVAILABLE,
            format!(
                "The API keys cannot be read now, because the {why}. No data is lost; repeat the request."
            ),
        )
        .retry_after_s(5)
    }

    pub(crate) fn unknown_charger(id: &str) -> Self {
        Self::new(
            &UNKNOWN_CHARGER,
            format!("No charger is known by the identity {}.", quoted(id)),
        )
    }

    /// The operator has not added the charger, although it may have connected.
    pub(crate) fn not_added(id: &str) -> Self {
        Self::new(
            &UNKNOWN_CHARGER,
            format!(
                "No charger with the identity {} was added, so it has no settings; add it with POST /api/v1/chargers.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn unknown_command(id: &str) -> Self {
        Self::new(
            &UNKNOWN_COMMAND,
            format!("No command is known by the id {}.", quoted(id)),
        )
    }

    pub(crate) fn unknown_dead_letter(id: &str) -> Self {
        Self::new(
            &UNKNOWN_DEAD_LETTER,
            format!("There is no dead letter of record {}.", quoted(id)),
        )
    }

    pub(crate) fn dead_letter_discarded(why: &NotSelected) -> Self {
        Self::new(
            &DEAD_LETTER_DISCARDED,
            format!("Nothing is changed: {why}."),
        )
    }

    pub(crate) fn other_number(why: &NotSelected) -> Self {
        Self::new(
            &OTHER_NUMBER,
            format!(
                "Nothing is changed: {why}. Look at them again, then repeat with the new number."
            ),
        )
    }

    pub(crate) fn no_report(id: &str, action: &str) -> Self {
        Self::new(
            &NO_REPORT,
            format!("The command {id} is {action}, which asks the charger for no report."),
        )
    }

    pub(crate) fn unknown_batch(id: &str) -> Self {
        Self::new(
            &UNKNOWN_BATCH,
            format!("No batch is known by the id {}.", quoted(id)),
        )
    }

    pub(crate) fn local_list_kept(charger: &str) -> Self {
        Self::new(
            &LOCAL_LIST_KEPT,
            format!(
                "A wish for a local list holds for the charger {}, so its list is kept equal to the tokens; change the \
                 tokens, or remove the wish (DELETE /api/v1/local-lists/{{charger}} or /api/v1/local-list-default).",
                quoted(charger)
            ),
        )
    }

    pub(crate) fn batch_deleted(id: BatchId) -> Self {
        Self::new(
            &UNKNOWN_BATCH,
            format!(
                "The same request created the batch {id} before, which has ended and is no longer kept; use another \
                 Idempotency-Key for a new batch."
            ),
        )
    }

    pub(crate) fn batch_ended(id: &str, state: BatchState) -> Self {
        Self::new(
            &BATCH_ENDED,
            format!(
                "The batch {id} is {}, so it stays as it is.",
                state.as_str()
            ),
        )
    }

    pub(crate) fn too_many_batches() -> Self {
        Self::new(
            &TOO_MANY_BATCHES,
            format!(
                "{BATCHES_OPEN_MAX} batches are not finished; wait until one is, or cancel one."
            ),
        )
        .retry_after_s(60)
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

    pub(crate) fn unknown_action(version: &str, action: &str) -> Self {
        Self::new(
            &UNKNOWN_ACTION,
            format!(
                "OCPP {} has no action {}; GET /api/v1/actions lists the actions of 1.6, 2.0.1 and 2.1.",
                shortened(version),
                quoted(action)
            ),
        )
    }

    pub(crate) fn charger_offline(charger_id: &str, command: &str) -> Self {
        let mut error = Self::new(
            &CHARGER_OFFLINE,
            format!(
                "The charger {} is not connected, and the command was not sent; set when_offline to \"wait\" to send it when \
                 the charger connects.",
                quoted(charger_id)
            ),
        );
        error.command = Some(command.to_owned());
        error
    }

    /// A command that cannot be stored. The places in a payload that breaks its schema are listed one by one.
    pub(crate) fn bad_command(error: &RequestError) -> Self {
        let kind = match error {
            RequestError::NotSupported { .. } => &NOT_SUPPORTED,
            _ => &PAYLOAD_INVALID,
        };
        let faults = match error {
            RequestError::Violates { violations, .. } => violations
                .iter()
                .map(|violation| Fault {
                    pointer: format!("/payload{}", violation.path),
                    code: violation.kind.as_str(),
                    detail: violation.detail.clone(),
                })
                .collect(),
            other => vec![Fault {
                pointer: other.pointer().to_owned(),
                code: kind.code,
                detail: other.to_string(),
            }],
        };
        let mut answer = Self::new(kind, format!("The command is not valid: {error}."));
        answer.faults = faults;
        answer
    }

    pub(crate) fn version_unknown(charger_id: &str) -> Self {
        Self::new(
            &VERSION_UNKNOWN,
            format!(
                "The version of OCPP that the charger {} speaks is not known, because it has sent no message; send a command \
                 with POST /api/v1/chargers/{{id}}/commands, or wait until it has connected.",
                quoted(charger_id)
            ),
        )
    }

    pub(crate) fn transaction_ended(key: Uuid) -> Self {
        Self::new(
            &TRANSACTION_ENDED,
            format!("The transaction {key} has ended; GET /api/v1/transactions/{key} shows when."),
        )
    }

    /// A transaction that was not closed.
    pub(crate) fn not_closed(refused: &NotClosed) -> Self {
        match refused {
            NotClosed::Unknown { key } => Self::unknown_transaction(*key),
            NotClosed::Superseded { .. }
            | NotClosed::ClosedBefore { .. }
            | NotClosed::Stopped { .. }
            | NotClosed::Ended { .. } => {
                Self::new(&TRANSACTION_ENDED, format!("It stays as it is: {refused}."))
            }
            NotClosed::MayRun { .. } => Self::new(
                &TRANSACTION_MAY_RUN,
                format!("It stays as it is: {refused}; wait, or set force to true."),
            ),
            NotClosed::InFuture { .. } | NotClosed::BeforeStart { .. } => {
                Self::bad_members(vec![Fault::of_member("at", format!("at {refused}"))])
            }
        }
    }

    pub(crate) fn no_open_transaction(why: &str) -> Self {
        Self::new(
            &NO_OPEN_TRANSACTION,
            format!("{why}; give transaction_id if you know it."),
        )
    }

    pub(crate) fn several_transactions(ids: &[&str]) -> Self {
        Self::new(
            &SEVERAL_TRANSACTIONS,
            format!(
                "The charger has several open transactions; give one as transaction_id: {}.",
                shortened(&ids.join(", "))
            ),
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

    pub(crate) fn unknown_api_key(name: &str) -> Self {
        Self::new(
            &UNKNOWN_API_KEY,
            format!("No API key has the name {}.", quoted(name)),
        )
    }

    pub(crate) fn api_key_exists(name: &str) -> Self {
        Self::new(
            &API_KEY_EXISTS,
            format!(
                "An API key with the name {} exists; choose another name, or revoke it first.",
                quoted(name)
            ),
        )
    }

    pub(crate) fn too_many_api_keys() -> Self {
        Self::new(
            &TOO_MANY_API_KEYS,
            format!(
                "There are {} API keys, which is the maximum; revoke some (GET /api/v1/api-keys shows all).",
                central::ports::API_KEYS_MAX
            ),
        )
    }

    pub(crate) fn last_admin_key(name: &str) -> Self {
        Self::new(
            &LAST_ADMIN_KEY,
            format!(
                "The key {} is the last valid key with the scope admin: without it, keys can only be managed with \
                 `wattpost apikey`. Add another one first, or repeat the request with force=true.",
                quoted(name)
            ),
        )
    }

    pub(crate) fn unknown_handshake(no: &str) -> Self {
        Self::new(
            &UNKNOWN_HANDSHAKE,
            format!(
                "No refused handshake is known by the number {}.",
                quoted(no)
            ),
        )
    }

    pub(crate) fn unknown_token(id: &str) -> Self {
        Self::new(
            &UNKNOWN_TOKEN,
            format!(
                "The token {} was not added; add it with PUT /api/v1/tokens/{{id}}.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn unknown_local_list(charger_id: &str) -> Self {
        Self::new(
            &UNKNOWN_LOCAL_LIST,
            format!(
                "There is no wish for the local list of {}; set one with PUT /api/v1/local-lists/{{charger}}.",
                quoted(charger_id)
            ),
        )
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

    pub(crate) fn already_sent(id: &str) -> Self {
        Self::new(
            &ALREADY_SENT,
            format!(
                "The command {id} cannot be cancelled: a gateway has it, or it is done; GET /api/v1/commands/{id} shows \
                 its state."
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

    pub(crate) fn charger_exists(id: &str) -> Self {
        Self::new(
            &CHARGER_EXISTS,
            format!(
                "The charger {} was added before; change it with PATCH /api/v1/chargers/{{id}}.",
                quoted(id)
            ),
        )
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

    pub(crate) fn queue_full() -> Self {
        Self::new(
            &QUEUE_FULL,
            "Too many commands wait for this charger; cancel some (GET /api/v1/commands?queued=true), or wait."
                .to_owned(),
        )
        .retry_after_s(60)
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

    pub(crate) fn unknown_message(id: central::RecordId) -> Self {
        Self::new(
            &UNKNOWN_MESSAGE,
            format!("The database has no message with the record id {id}."),
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

    pub(crate) fn unknown_transaction(key: Uuid) -> Self {
        Self::new(
            &UNKNOWN_TRANSACTION,
            format!("No transaction is known by the key {key}."),
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

    /// The request needs a component that is unavailable.
    pub(crate) fn unavailable(unavailable: &Unavailable) -> Self {
        Self::new(
            &UNAVAILABLE,
            format!("The {unavailable}. No data is lost; repeat the request."),
        )
        .retry_after_s(2)
    }

    pub(crate) fn timeout(timeout: Duration) -> Self {
        Self::new(
            &TIMEOUT,
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
            &BUSY,
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
            &TOO_MANY_CONNECTIONS,
            "All connections (http.connections_max) are in use; only /health/live, /health/ready and \
             /metrics are answered. Repeat the request."
                .to_owned(),
        )
        .retry_after_s(5)
    }

    pub(crate) fn not_stored(id: central::RecordId, waited: Duration) -> Self {
        Self::new(
            &NOT_STORED,
            format!(
                "The record {id} was not stored within {} s; /api/v1/messages/{id}/trace says where it is.",
                waited.as_secs()
            ),
        )
        .retry_after_s(1)
    }

    pub(crate) fn too_many_waiting(max: usize) -> Self {
        Self::new(
            &TOO_MANY_WAITING,
            format!("{max} requests wait for a record already; repeat the request."),
        )
        .retry_after_s(1)
    }

    /// Whether the database did not answer.
    pub(crate) fn is_of_database(&self) -> bool {
        [&UNAVAILABLE, &TIMEOUT].contains(&self.kind)
    }

    pub(crate) fn too_many_streams() -> Self {
        Self::new(
            &TOO_MANY_STREAMS,
            "Half of all connections (http.connections_max) are streams of events, which leaves the others for \
             requests. Close a stream, or raise the setting."
                .to_owned(),
        )
        .retry_after_s(5)
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

    /// An internal error; the log has the details.
    pub(crate) fn internal() -> Self {
        Self::new(
            &INTERNAL,
            "Wattpost failed to answer this request; its log has the cause.".to_owned(),
        )
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
        let page = include_str!("../../../docs/api.md");
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
