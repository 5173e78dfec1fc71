//! All kinds of errors. `docs/api.md` has the same table.

use axum::http::StatusCode;

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
    SIGN_IN_REFUSED, UNAUTHORIZED, "sign_in_refused", "Sign-in refused", "a user name or its password is wrong, or the user is disabled";
    SCOPE_MISSING, FORBIDDEN, "scope_missing", "Scope missing", "the scope of the key or the user does not include what the route needs";
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
    UNKNOWN_USER, NOT_FOUND, "unknown_user", "Unknown user", "no user has this name";
    UNKNOWN_SITE, NOT_FOUND, "unknown_site", "Unknown site", "no site has this id";
    UNKNOWN_HANDSHAKE, NOT_FOUND, "unknown_handshake", "Unknown handshake", "not in the list of refused handshakes";
    UNKNOWN_ALERT, NOT_FOUND, "unknown_alert", "Unknown alert", "no alert has this id, or it is no longer kept";
    UNKNOWN_SILENCE, NOT_FOUND, "unknown_silence", "Unknown silence", "no silence has this id";
    UNKNOWN_WEBHOOK, NOT_FOUND, "unknown_webhook", "Unknown webhook", "no webhook has this id";
    UNKNOWN_EVENT, NOT_FOUND, "unknown_event", "Unknown event", "the event from which a webhook is to be sent events again is not in the log, or no longer kept";
    UNKNOWN_TOKEN, NOT_FOUND, "unknown_token", "Unknown token", "the token was not added";
    NOT_LISTED_TOKEN, NOT_FOUND, "not_listed_token", "Not an unknown token", "the list of unknown tokens does not have this `key`: the token was added or dismissed, or is no longer kept";
    UNKNOWN_LOCAL_LIST, NOT_FOUND, "unknown_local_list", "Unknown local list", "no wish for a local list holds for the charger";
    NO_SUCH_PATH, NOT_FOUND, "not_found", "Not found", "no such route";
    CHARGER_HERE, NOT_FOUND, "charger_here", "A charger called the API", "a WebSocket upgrade, or a path that begins with `/ocpp`: chargers connect to another port";
    METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", "the route has other methods, which `Allow` lists";
    NOT_ACCEPTABLE, NOT_ACCEPTABLE, "not_acceptable", "Not acceptable", "`Accept` permits none of the forms of a list";
    BODY_TIMEOUT, REQUEST_TIMEOUT, "body_timeout", "Body timeout", "the body did not arrive in time";
    CHARGER_EXISTS, CONFLICT, "charger_exists", "Charger exists", "a charger with this identity was added before";
    SITE_EXISTS, CONFLICT, "site_exists", "Site exists", "another site has this id";
    SITE_HAS_CHARGERS, CONFLICT, "site_has_chargers", "Site has chargers", "chargers belong to the site, so it cannot be removed";
    TOO_MANY_SITES, CONFLICT, "too_many_sites", "Too many sites", "10,000 sites exist";
    API_KEY_EXISTS, CONFLICT, "api_key_exists", "API key exists", "another key has this name";
    TOO_MANY_API_KEYS, CONFLICT, "too_many_api_keys", "Too many API keys", "1,000 keys exist";
    ALERT_NOT_FIRING, CONFLICT, "alert_not_firing", "Alert does not fire", "only an alert that fires can be acknowledged";
    TOO_MANY_SILENCES, CONFLICT, "too_many_silences", "Too many silences", "500 silences are kept";
    TOO_MANY_WEBHOOKS, CONFLICT, "too_many_webhooks", "Too many webhooks", "100 webhooks exist";
    LAST_ADMIN_KEY, CONFLICT, "last_admin_key", "Last admin key", "neither another valid key nor a user would have the scope `admin`; `force=true` revokes it nevertheless";
    NOT_A_USER, CONFLICT, "not_a_user", "Not a user", "the password of who sends the request is to be set, and it is not the session of a user";
    USER_EXISTS, CONFLICT, "user_exists", "User exists", "another user has this name";
    TOO_MANY_USERS, CONFLICT, "too_many_users", "Too many users", "1,000 users exist";
    LAST_ADMIN_USER, CONFLICT, "last_admin_user", "Last admin user", "neither another user nor a valid key would have the scope `admin`; `force=true` changes the user nevertheless";
    IDEMPOTENCY_IN_USE, CONFLICT, "idempotency_in_use", "Request still running", "a request with this `Idempotency-Key` is running now";
    ALREADY_SENT, CONFLICT, "already_sent", "Already sent", "a gateway has the command, or it is done: it cannot be cancelled";
    CHARGER_OFFLINE, CONFLICT, "charger_offline", "Charger not connected", "no gateway has a connection of the charger, and the command does not wait; `command` is the address of the command, which is stored as not sent";
    NOT_CONNECTED, CONFLICT, "not_connected", "No connection", "the connection of a charger is to be closed, and it has none";
    BATCH_ENDED, CONFLICT, "batch_ended", "Batch ended", "the batch is done or cancelled, so it cannot be paused, resumed or cancelled";
    DEAD_LETTER_DISCARDED, CONFLICT, "dead_letter_discarded", "Dead letter discarded", "the dead letter was discarded before, and its content is deleted";
    OTHER_NUMBER, CONFLICT, "other_number", "Another number matches", "the number of dead letters that match is not `expected`; `detail` has it";
    VERSION_UNKNOWN, CONFLICT, "version_unknown", "Version unknown", "the charger has sent no message yet, so its version of OCPP is not known";
    TRANSACTION_ENDED, CONFLICT, "transaction_ended", "Transaction ended", "the transaction has ended or was closed, so it can be neither stopped nor closed";
    TRANSACTION_MAY_RUN, CONFLICT, "transaction_may_run", "Transaction may run", "the charger sent a message about the transaction within the last 15 minutes; `force` closes it nevertheless";
    NO_OPEN_TRANSACTION, CONFLICT, "no_open_transaction", "No open transaction", "the charger has no open transaction that can be named";
    LOCAL_LIST_KEPT, CONFLICT, "local_list_kept", "Local list kept in step", "a wish for a local list holds for the charger, so no other list is sent to it";
    ROTATION_OPEN, CONFLICT, "password_change_open", "Password change not decided", "another change of the charger's password is not decided, or it was sent and cannot be given up";
    NO_ROTATION, CONFLICT, "no_password_change", "No password change", "no change of the charger's password waits";
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
    RATE_EXCEEDED, TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", "the key or the user has made as many requests as `RateLimit-Policy` says";
    QUEUE_FULL, TOO_MANY_REQUESTS, "queue_full", "Queue full", "too many commands wait for the charger";
    TOO_MANY_BATCHES, TOO_MANY_REQUESTS, "too_many_batches", "Too many batches", "20 batches are not finished";
    TOO_MANY_SIGN_INS, TOO_MANY_REQUESTS, "too_many_sign_ins", "Too many sign-ins", "too many sign-ins from this address or with this user name have failed";
    INTERNAL, INTERNAL_SERVER_ERROR, "internal", "Internal error", "a bug in Wattpost; the log has the cause";
    UNREADABLE, INTERNAL_SERVER_ERROR, "unreadable", "Stored object unreadable", "what is stored cannot be read: it is damaged, or a newer version of Wattpost has written it; `detail` names it";
    UNAVAILABLE, SERVICE_UNAVAILABLE, "unavailable", "Database unavailable", "the database is unavailable; `detail` says why";
    TIMEOUT, SERVICE_UNAVAILABLE, "timeout", "Timeout", "the database did not answer in time";
    BUSY, SERVICE_UNAVAILABLE, "busy", "Busy", "other requests kept the database busy until the timeout";
    CROWDED, SERVICE_UNAVAILABLE, "crowded", "Too many slow requests", "other requests of the same key, user or address kept its half of the database calls busy until the timeout";
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
