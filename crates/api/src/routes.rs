//! The table of routes, and what is added to every answer: headers and metrics.
//!
//! The router and the index at `/` are built from the table; a test holds `docs/api.md` equal to it.

use crate::alerts::routes as alerts;
use crate::auth::{self, Access, Caller};
use crate::error::{ApiError, PROBLEM_JSON};
use crate::query::Query;
use crate::rate_limit::{Quota, RateLimit, WINDOW_S};
use crate::state::AppState;
use crate::wrong_port::WrongPort;
use crate::{
    actions, api_keys, audit, batches, charger_password, charger_settings, chargers, closings,
    commands, dashboard, dead_letters, disconnects, etag, events, freshness, handshakes, health,
    import, local_lists, messages, meter_values, openapi, operations, page, pipeline, quirks,
    reports, schema, sessions, shares, sites, support_bundle, tokens, traces, transaction_messages,
    transactions, unknown_tokens, uptime, users, version, webhook_routes,
};
use axum::body::Body;
use axum::extract::{MatchedPath, OriginalUri, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Json, Router};
use central::Timestamp;
use central::model::{API_KEY_PREFIX, Actor, Scope, TraceParent};
use common::clock::now_ms;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tracing::{Instrument, Span};

/// A route: what the router, the index at `/` and `docs/api.md` need to know about it.
pub(crate) struct Route {
    /// The path as axum writes it; a segment in braces is a parameter.
    pub(crate) path: &'static str,
    /// What the answer holds.
    pub(crate) purpose: &'static str,
    /// The query parameters that the handler accepts.
    pub(crate) parameters: &'static [&'static str],
    /// Whether it reads no store, so that it is also answered on the reserved connections and by a process without
    /// a store.
    is_health: bool,
    /// Who may use it.
    pub(crate) access: Access,
    /// The method (axum adds HEAD to GET) and its handler.
    handler: fn() -> MethodRouter<Arc<AppState>>,
}

pub(crate) const ROUTES: &[Route] = &[
    Route {
        path: INDEX,
        purpose: "this list, as JSON",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(index),
    },
    Route {
        path: "/health",
        purpose: "the parts of the process, their state and figures",
        parameters: &[],
        is_health: true,
        access: Access::Open,
        handler: || get(health::detailed),
    },
    Route {
        path: "/health/live",
        purpose: "200 while the process runs",
        parameters: &[],
        is_health: true,
        access: Access::Open,
        handler: || get(health::live),
    },
    Route {
        path: "/health/ready",
        purpose: "200 while the process can do new work, else 503",
        parameters: &[],
        is_health: true,
        access: Access::Open,
        handler: || get(health::ready),
    },
    Route {
        path: METRICS,
        purpose: "metrics in the Prometheus text format 0.0.4",
        parameters: &[],
        is_health: true,
        access: Access::Open,
        handler: || get(health::metrics),
    },
    Route {
        path: "/api/v1/chargers",
        purpose: "chargers by identity; `POST` adds one",
        parameters: chargers::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(chargers::list).post(charger_settings::create),
    },
    Route {
        path: "/api/v1/chargers/import",
        purpose: "`POST` adds and changes the chargers of a file, all or none",
        parameters: import::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || post(charger_settings::import),
    },
    Route {
        path: "/api/v1/chargers/{id}",
        purpose: "one charger, its settings, its connectors, its quirks, its open transactions; `PATCH` changes its settings, `DELETE` removes them",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || {
            get(chargers::one)
                .patch(charger_settings::change)
                .delete(charger_settings::remove)
        },
    },
    Route {
        path: "/api/v1/chargers/{id}/connectors",
        purpose: "the connectors of a charger",
        parameters: page::WHOLE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(chargers::connectors),
    },
    Route {
        path: "/api/v1/chargers/{id}/connections",
        purpose: "the connections of a charger, the newest first, and how each ended",
        parameters: chargers::CONNECTIONS_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(chargers::connections),
    },
    Route {
        path: "/api/v1/chargers/{id}/uptime",
        purpose: "for how much of a time a charger was connected",
        parameters: uptime::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(uptime::one),
    },
    Route {
        path: "/api/v1/uptime",
        purpose: "for how much of a time each of several chargers was connected",
        parameters: uptime::LIST_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(uptime::list),
    },
    Route {
        path: "/api/v1/chargers/{id}/password",
        purpose: "the state of the newest change of a charger's password; `PUT` changes it here and at the charger, `DELETE` gives up a change that was not sent",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || {
            get(charger_password::one)
                .put(charger_password::set)
                .delete(charger_password::cancel)
        },
    },
    operation(
        "/api/v1/chargers/{id}/disconnect",
        "`POST` closes the connection of a charger, which then connects again",
        || post(disconnects::disconnect),
    ),
    Route {
        path: "/api/v1/sites",
        purpose: "the places where chargers stand, by id; `POST` adds one",
        parameters: sites::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(sites::list).post(sites::create),
    },
    Route {
        path: "/api/v1/sites/{id}",
        purpose: "one site and the number of its chargers; `PATCH` changes it, `DELETE` removes it",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(sites::one).patch(sites::modify).delete(sites::remove),
    },
    Route {
        path: "/api/v1/handshakes",
        purpose: "chargers that tried to connect and were refused, the newest first",
        parameters: handshakes::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(handshakes::list),
    },
    Route {
        path: "/api/v1/handshakes/{no}",
        purpose: "`DELETE` dismisses a refused handshake",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler: || delete(handshakes::dismiss),
    },
    Route {
        path: "/api/v1/transactions",
        purpose: "transactions, the latest first",
        parameters: transactions::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(transactions::list),
    },
    Route {
        path: "/api/v1/transactions/{key}",
        purpose: "one transaction",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(transactions::one),
    },
    Route {
        path: "/api/v1/transactions/{key}/messages",
        purpose: "the messages about one transaction, by the time of their reception",
        parameters: transaction_messages::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(transaction_messages::list),
    },
    Route {
        path: "/api/v1/transactions/{key}/meter-values",
        purpose: "what was measured during one transaction, by its time",
        parameters: meter_values::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(meter_values::list),
    },
    Route {
        path: "/api/v1/messages",
        purpose: "messages of chargers with their answers, in the order in which they were recorded",
        parameters: messages::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(messages::list),
    },
    Route {
        path: "/api/v1/messages/{gateway_id}/{seq}",
        purpose: "one message with its pair, its command and its transaction",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(messages::one),
    },
    Route {
        path: "/api/v1/messages/{gateway_id}/{seq}/trace",
        purpose: "where one message is now, and when it passed each station",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(traces::one),
    },
    Route {
        path: "/api/v1/quirks",
        purpose: "how often each quirk occurred, by vendor, model and firmware",
        parameters: quirks::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(quirks::list),
    },
    Route {
        path: "/api/v1/dead-letters",
        purpose: "records that could not be applied, with the reason",
        parameters: dead_letters::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(dead_letters::list),
    },
    Route {
        path: "/api/v1/dead-letters/retry",
        purpose: "`POST` tries the dead letters that match a filter again",
        parameters: dead_letters::CHANGE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler: || post(dead_letters::retry_matching),
    },
    Route {
        path: "/api/v1/dead-letters/discard",
        purpose: "`POST` discards the dead letters that match a filter",
        parameters: dead_letters::CHANGE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler: || post(dead_letters::discard_matching),
    },
    Route {
        path: "/api/v1/dead-letters/{gateway_id}/{seq}",
        purpose: "one dead letter, also a discarded one",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(dead_letters::one),
    },
    operation(
        "/api/v1/dead-letters/{gateway_id}/{seq}/retry",
        "`POST` tries a dead letter again",
        || post(dead_letters::retry),
    ),
    operation(
        "/api/v1/dead-letters/{gateway_id}/{seq}/discard",
        "`POST` discards a dead letter, with a reason",
        || post(dead_letters::discard),
    ),
    Route {
        path: "/api/v1/actions",
        purpose: "the actions of each version of OCPP",
        parameters: actions::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(actions::list),
    },
    Route {
        path: "/api/v1/actions/{version}/{action}",
        purpose: "one action with the JSON Schemas of its request and its response",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(actions::one),
    },
    Route {
        path: "/api/v1/chargers/{id}/commands",
        purpose: "`POST` sends a command to the charger",
        parameters: commands::CREATE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler: || post(commands::create),
    },
    operation(
        "/api/v1/chargers/{id}/start",
        "`POST` starts a transaction (RemoteStartTransaction, RequestStartTransaction)",
        || post(operations::start),
    ),
    operation(
        "/api/v1/chargers/{id}/stop",
        "`POST` stops a transaction (RemoteStopTransaction, RequestStopTransaction), by default the only open one",
        || post(operations::stop),
    ),
    operation(
        "/api/v1/chargers/{id}/reset",
        "`POST` restarts the charger or one EVSE (Reset)",
        || post(operations::reset),
    ),
    operation(
        "/api/v1/chargers/{id}/unlock",
        "`POST` unlocks a connector (UnlockConnector)",
        || post(operations::unlock),
    ),
    operation(
        "/api/v1/chargers/{id}/availability",
        "`POST` puts the charger, an EVSE or a connector into or out of operation (ChangeAvailability)",
        || post(operations::availability),
    ),
    operation(
        "/api/v1/chargers/{id}/trigger",
        "`POST` asks the charger to send a message (TriggerMessage, ExtendedTriggerMessage)",
        || post(operations::trigger),
    ),
    operation(
        "/api/v1/chargers/{id}/reserve",
        "`POST` reserves an EVSE for a token (ReserveNow)",
        || post(operations::reserve),
    ),
    operation(
        "/api/v1/chargers/{id}/cancel-reservation",
        "`POST` cancels a reservation (CancelReservation)",
        || post(operations::cancel_reservation),
    ),
    operation(
        "/api/v1/chargers/{id}/limit",
        "`POST` limits power or current from now on, with one charging profile (SetChargingProfile)",
        || post(operations::limit),
    ),
    operation(
        "/api/v1/chargers/{id}/charging-profile",
        "`POST` sets a charging profile (SetChargingProfile)",
        || post(operations::charging_profile),
    ),
    operation(
        "/api/v1/chargers/{id}/clear-charging-profile",
        "`POST` clears charging profiles (ClearChargingProfile)",
        || post(operations::clear_charging_profile),
    ),
    operation(
        "/api/v1/chargers/{id}/local-list",
        "`POST` sends the local authorization list (SendLocalList)",
        || post(operations::local_list),
    ),
    operation(
        "/api/v1/chargers/{id}/diagnostics",
        "`POST` asks the charger to upload a log (GetDiagnostics, GetLog)",
        || post(operations::diagnostics),
    ),
    operation(
        "/api/v1/chargers/{id}/firmware",
        "`POST` asks the charger to install firmware (UpdateFirmware, SignedUpdateFirmware)",
        || post(operations::firmware),
    ),
    operation(
        "/api/v1/chargers/{id}/data-transfer",
        "`POST` sends data of a vendor (DataTransfer)",
        || post(operations::data_transfer),
    ),
    operation(
        "/api/v1/chargers/{id}/clear-cache",
        "`POST` clears the charger's authorization cache (ClearCache)",
        || post(operations::clear_cache),
    ),
    operation(
        "/api/v1/chargers/{id}/configuration",
        "`POST` reads or changes configuration keys of 1.6 (GetConfiguration, ChangeConfiguration) or variables of 2.x (GetVariables, SetVariables)",
        || post(operations::configuration),
    ),
    operation(
        "/api/v1/transactions/{key}/close",
        "`POST` closes a transaction whose stop will not come",
        || post(closings::close),
    ),
    operation(
        "/api/v1/transactions/{key}/stop",
        "`POST` stops the transaction (RemoteStopTransaction, RequestStopTransaction)",
        || post(operations::stop_transaction),
    ),
    Route {
        path: "/api/v1/commands",
        purpose: "commands to chargers, the newest first",
        parameters: commands::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(commands::list),
    },
    Route {
        path: "/api/v1/commands/{id}",
        purpose: "one command; `DELETE` cancels it while no gateway has it",
        parameters: commands::ONE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(commands::one).delete(commands::cancel),
    },
    Route {
        path: "/api/v1/commands/{id}/report",
        purpose: "the pages of the report that a command asked for",
        parameters: reports::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(reports::list),
    },
    Route {
        path: "/api/v1/pipeline",
        purpose: "where messages are between chargers and the database: parts, processes, watermarks, balance",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(pipeline::overview),
    },
    Route {
        path: "/api/v1/tokens",
        purpose: "tokens by id",
        parameters: tokens::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(tokens::list),
    },
    Route {
        path: "/api/v1/tokens/import",
        purpose: "`POST` adds and changes the tokens of a file, all or none",
        parameters: import::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || post(tokens::import),
    },
    Route {
        path: "/api/v1/tokens/{id}",
        purpose: "one token; `PUT` adds or replaces it, `PATCH` changes it, `DELETE` removes it",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || {
            get(tokens::one)
                .put(tokens::put)
                .patch(tokens::patch)
                .delete(tokens::remove)
        },
    },
    Route {
        path: "/api/v1/unknown-tokens",
        purpose: "tokens that chargers presented and that were not added, the latest first",
        parameters: unknown_tokens::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(unknown_tokens::list),
    },
    Route {
        path: "/api/v1/unknown-tokens/{key}",
        purpose: "`DELETE` dismisses an unknown token",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler: || delete(unknown_tokens::dismiss),
    },
    Route {
        path: "/api/v1/local-lists",
        purpose: "local authorization lists by charger: state, versions, why",
        parameters: local_lists::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(local_lists::list),
    },
    Route {
        path: "/api/v1/local-lists/{charger}",
        purpose: "the local list of one charger; `PUT` sets which tokens are in it, `DELETE` removes the wish",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || {
            get(local_lists::one)
                .put(local_lists::set)
                .delete(local_lists::remove)
        },
    },
    Route {
        path: "/api/v1/local-list-default",
        purpose: "the wish for the lists of all other chargers; `PUT` sets it, `DELETE` removes it",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || {
            get(local_lists::default_wish)
                .put(local_lists::set_default)
                .delete(local_lists::remove_default)
        },
    },
    Route {
        path: "/api/v1/batches",
        purpose: "batches of commands, the newest first; `POST` creates one",
        parameters: batches::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(batches::list).post(batches::create),
    },
    Route {
        path: "/api/v1/batches/{id}",
        purpose: "one batch",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(batches::one),
    },
    Route {
        path: "/api/v1/batches/{id}/items",
        purpose: "the chargers of a batch, each with its command",
        parameters: batches::ITEM_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(batches::items),
    },
    operation(
        "/api/v1/batches/{id}/pause",
        "`POST` pauses a batch",
        || post(batches::pause),
    ),
    operation(
        "/api/v1/batches/{id}/resume",
        "`POST` resumes a batch",
        || post(batches::resume),
    ),
    operation(
        "/api/v1/batches/{id}/cancel",
        "`POST` cancels a batch",
        || post(batches::cancel),
    ),
    Route {
        path: "/api/v1/events",
        purpose: "what has changed, in one order for all readers; also as server-sent events",
        parameters: events::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(events::list),
    },
    Route {
        path: "/api/v1/alerts",
        purpose: "alerts, the newest first",
        parameters: alerts::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(alerts::list),
    },
    Route {
        path: "/api/v1/alerts/{id}",
        purpose: "one alert",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(alerts::one),
    },
    Route {
        path: "/api/v1/alerts/{id}/acknowledge",
        purpose: "`POST` notes who has taken note of an alert",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler: || post(alerts::acknowledge),
    },
    Route {
        path: "/api/v1/alert-rules",
        purpose: "the catalogue of alerts with the times that are set",
        parameters: page::WHOLE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(alerts::list_rules),
    },
    Route {
        path: "/api/v1/silences",
        purpose: "silences of alerts, the newest first; `POST` adds one",
        parameters: page::WHOLE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(alerts::list_silences).post(alerts::create_silence),
    },
    Route {
        path: "/api/v1/silences/{id}",
        purpose: "`DELETE` removes a silence",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler: || delete(alerts::remove_silence),
    },
    Route {
        path: "/api/v1/webhooks",
        purpose: "webhooks, the oldest first; `POST` adds one",
        parameters: page::WHOLE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || get(webhook_routes::list).post(webhook_routes::create),
    },
    Route {
        path: "/api/v1/webhooks/{id}",
        purpose: "one webhook; `PATCH` changes and `DELETE` removes it",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || {
            get(webhook_routes::one)
                .patch(webhook_routes::change)
                .delete(webhook_routes::remove)
        },
    },
    Route {
        path: "/api/v1/webhooks/{id}/rotate",
        purpose: "`POST` makes a new secret",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || post(webhook_routes::rotate),
    },
    Route {
        path: "/api/v1/webhooks/{id}/test",
        purpose: "`POST` sends a test message",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || post(webhook_routes::test),
    },
    Route {
        path: "/api/v1/webhooks/{id}/deliveries",
        purpose: "the latest attempts to deliver events",
        parameters: webhook_routes::DELIVERY_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || get(webhook_routes::deliveries),
    },
    Route {
        path: "/api/v1/webhooks/{id}/redeliver",
        purpose: "`POST` sends events again",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || post(webhook_routes::redeliver),
    },
    Route {
        path: "/api/v1/audit",
        purpose: "who changed what, the newest change first",
        parameters: audit::PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || get(audit::list),
    },
    Route {
        path: "/api/v1/api-keys",
        purpose: "the API keys; `POST` adds one",
        parameters: page::WHOLE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || get(api_keys::list).post(api_keys::create),
    },
    Route {
        path: "/api/v1/api-keys/{name}",
        purpose: "`DELETE` revokes an API key",
        parameters: api_keys::ONE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || delete(api_keys::revoke),
    },
    Route {
        path: "/api/v1/users",
        purpose: "the local users of the dashboard; `POST` adds one",
        parameters: page::WHOLE_PARAMETERS,
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || get(users::list).post(users::create),
    },
    Route {
        path: "/api/v1/users/{name}",
        purpose: "a local user; `PATCH` changes the user or the password, `DELETE` removes one, both with `force`",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || get(users::one).patch(users::modify).delete(users::remove),
    },
    Route {
        path: SESSION,
        purpose: "who uses the API; `POST` signs a browser in to the dashboard, `DELETE` signs it out",
        parameters: &[],
        is_health: false,
        access: Access::Open,
        handler: || {
            get(sessions::show)
                .post(sessions::begin)
                .delete(sessions::end)
        },
    },
    Route {
        path: OWN_PASSWORD,
        purpose: "`PUT` sets another password of the user who has signed in",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || put(sessions::set_password),
    },
    Route {
        path: "/api/v1/version",
        purpose: "what this process was built from: version, commit, schema of the database",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Read),
        handler: || get(version::show),
    },
    Route {
        path: "/api/v1/support-bundle",
        purpose: "what somebody who helps needs to know of this installation, as a file without a secret",
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Admin),
        handler: || get(support_bundle::show),
    },
    Route {
        path: openapi::DOCUMENT,
        purpose: "this API as an OpenAPI 3.1 document",
        parameters: &[],
        is_health: false,
        access: Access::Open,
        handler: || get(openapi::document),
    },
    Route {
        path: openapi::PAGE,
        purpose: "the same document as a page for people",
        parameters: &[],
        is_health: false,
        access: Access::Open,
        handler: || get(openapi::page),
    },
    Route {
        path: openapi::CATALOG,
        purpose: "where the description of this API is (RFC 9727)",
        parameters: &[],
        is_health: false,
        access: Access::Open,
        handler: || get(openapi::catalog),
    },
];

/// A route that sends a command.
const fn operation(
    path: &'static str,
    purpose: &'static str,
    handler: fn() -> MethodRouter<Arc<AppState>>,
) -> Route {
    Route {
        path,
        purpose,
        parameters: &[],
        is_health: false,
        access: Access::Needs(Scope::Operate),
        handler,
    }
}

/// The path of the list of routes.
const INDEX: &str = "/";
/// The path of the metrics.
pub(crate) const METRICS: &str = "/metrics";
/// The path at which browsers sign in.
const SESSION: &str = "/api/v1/session";
/// The only change that each user may make, whatever the scope.
const OWN_PASSWORD: &str = "/api/v1/session/password";

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
    finish(
        dashboard::routes(routes(|_| true)).fallback(no_such_path),
        state,
    )
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
            Arc::clone(&state),
            freshness::dated,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            authenticated,
        ))
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
#[utoipa::path(
    get,
    path = "/",
    responses((status = 200, description = "The routes", body = schema::Index))
)]
pub(crate) async fn index(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if dashboard::wants_page(&headers) {
        return Ok(dashboard::page(&headers));
    }
    Query::read(query.as_deref(), &[])?;
    let body = json!({"name": "Wattpost", "version": state.version, "endpoints": endpoints()});
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
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

/// Refuses a request whose key does not permit it. A path that does not exist needs a key too, so that without
/// a key no client learns which paths exist.
async fn authenticated(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    auth::hide_key(request.headers_mut());
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    let route = ROUTES.iter().find(|route| route.path == path);
    let is_page =
        dashboard::is_route(path) || (path == INDEX && dashboard::wants_page(request.headers()));
    let access = match route {
        _ if is_page => Access::Open,
        Some(_) if path == METRICS && state.metrics_need_key => Access::Needs(Scope::Read),
        Some(route) => route.access,
        None => Access::Needs(Scope::Read),
    };
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_sign_in = path == SESSION;
    if let (Some(keys), Access::Needs(scope)) = (&state.keys, access) {
        let scope = if is_reading || path == OWN_PASSWORD {
            scope
        } else {
            scope.max(Scope::Operate)
        };
        let caller = keys.check(scope, request.headers())?;
        let Caller(actor) = &caller;
        // Only a change is forgeable, so that the cookie of a request that reads is looked up once.
        if !is_reading && actor.name.is_some() {
            let session = keys.session(request.headers(), Timestamp(now_ms()));
            if session.is_some_and(|session| !session.has_csrf_token(request.headers())) {
                return Err(ApiError::csrf_token_missing());
            }
        }
        request.extensions_mut().insert(caller);
    }
    // A name that leads to this machine makes the origin of a web page this one, which only a key prevents.
    let caller = request.extensions().get::<Caller>();
    let is_without_key = caller.is_none_or(|Caller(actor)| actor.name.is_none());
    let is_own_page = match is_sign_in {
        true => sessions::is_same_origin(request.headers()),
        false => sessions::is_page_of_this_machine(request.headers()),
    };
    let is_of_page = request.headers().contains_key(header::ORIGIN);
    if is_without_key && !is_reading && is_of_page && !is_own_page {
        return Err(ApiError::no_key(
            "A web page sends this request, and it has no key",
        ));
    }
    let keys = state.keys.as_ref();
    if is_without_key
        && access == Access::Needs(Scope::Admin)
        && keys.is_some_and(|keys| !keys.may_be_admin_without_key(request.headers()))
    {
        return Err(ApiError::no_key(
            "The header Host does not name this machine, and the request has no key",
        ));
    }
    let quota = match request.extensions().get::<Caller>() {
        Some(Caller(actor)) => quota(&state.rate_limit, actor),
        None => None,
    };
    let mut response = match quota.and_then(|quota| Some((quota, quota.retry_in_s?))) {
        Some((quota, seconds)) => {
            ApiError::too_many_requests(quota.requests, seconds).into_response()
        }
        None => shares::answering(shares::caller(&request), next.run(request)).await,
    };
    if let Some(quota) = quota {
        quota_headers(response.headers_mut(), quota);
    }
    Ok(response)
}

/// Takes a request of a key or a user. One without a key is not counted: it comes from this machine.
fn quota(limit: &RateLimit, actor: &Actor) -> Option<Quota> {
    let name = actor.name.as_deref()?;
    let quota = limit.take(&format!("{:?} {name}", actor.kind))?;
    if quota.retry_in_s.is_some() {
        metrics::counter!("wattpost_api_requests_refused_total", "code" => "too_many_requests")
            .increment(1);
    }
    Some(quota)
}

/// Says what is left (draft-ietf-httpapi-ratelimit-headers).
fn quota_headers(headers: &mut HeaderMap, quota: Quota) {
    let policy = format!("\"default\";q={};w={WINDOW_S}", quota.requests);
    let left = format!("\"default\";r={};t={}", quota.remaining, quota.full_in_s);
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// How many requests a client may make.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// How many of them are left.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Names the request in the answer and in the log; a client may choose it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The client's `X-Request-Id` if it has 1 to 64 letters, digits, `-`, `_` or `.`; else a new one.
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID);
        let given = given.and_then(|value| value.to_str().ok()).filter(|text| {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
                // A key that was sent in the wrong header would get into the log.
                && !text.contains(API_KEY_PREFIX)
        });
        Self(given.map_or_else(|| common::id::new_v7().to_string(), str::to_owned))
    }
}

/// What a client calls the trace to which its request belongs.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The `traceparent` of a request.
#[derive(Debug, Clone)]
pub(crate) struct Traced(pub(crate) Option<TraceParent>);

impl Traced {
    /// The only `traceparent`; one that is malformed, or one of several, is ignored (W3C Trace Context, 3.2 and 4.3).
    fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let only = given.next().filter(|_| given.next().is_none());
        Self(only.and_then(|value| TraceParent::parse(value.to_str().ok()?)))
    }
}

/// What the lines of the log say that a request causes. It is of the highest level, so that no filter removes it from them.
fn span(RequestId(id): &RequestId, Traced(trace): &Traced) -> Span {
    match trace {
        Some(trace) => tracing::error_span!("request", request_id = %id, traceparent = %trace),
        None => tracing::error_span!("request", request_id = %id),
    }
}

/// Whether the client has this answer already: `If-None-Match` names its entity tag (RFC 9110, 13.1.2).
fn is_known(requested: &HeaderMap, response: &Response) -> bool {
    let tag = response.headers().get(header::ETAG);
    let (Some(tag), StatusCode::OK) = (tag, response.status()) else {
        return false;
    };
    etag::is_known(requested.get_all(header::IF_NONE_MATCH), tag)
}

/// Answers chargers that called the wrong port, adds the headers of every answer and the body of every error, and counts
/// the answer. The metrics use the route's pattern, never the path of the request: that would let a client create any
/// number of series.
async fn finished(
    State(wrong_port): State<Arc<WrongPort>>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "none".to_owned(),
    };
    let path = request.uri().path().to_owned();
    let id = RequestId::of(&request);
    let mut known_tags = HeaderMap::new();
    for value in request.headers().get_all(header::IF_NONE_MATCH) {
        known_tags.append(header::IF_NONE_MATCH, value.clone());
    }
    let traced = Traced::of(request.headers());
    let span = span(&id, &traced);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(traced);
    let mut response = match wrong_port.check(&request) {
        Ok(()) => next.run(request).instrument(span).await,
        Err(error) => error.into_response(),
    };
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        *response.body_mut() = Body::from(error.body(&path, &id.0));
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    }
    if is_known(&known_tags, &response) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // An object with an entity tag may be kept, and asked for again.
    let caching = match headers.contains_key(header::ETAG) {
        true => "private, no-cache",
        false => "no-store",
    };
    // The files of the dashboard that never change say so themselves.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static(caching));
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
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

    /// The addresses of the API that a text names, without their queries.
    fn addresses(text: &str) -> impl Iterator<Item = &str> {
        text.match_indices("/api/v1/").map(|(at, _)| {
            let rest = &text[at..];
            let is_part = |c: char| c.is_ascii_alphanumeric() || "/-_{}".contains(c);
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            rest[..end].trim_end_matches('/')
        })
    }

    /// Whether it is the path of a route, or the beginning of one, with anything in place of the parameters.
    fn is_known(address: &str) -> bool {
        ROUTES.iter().any(|route| {
            let mut known = route.path.split('/');
            address.split('/').all(|part| {
                known
                    .next()
                    .is_some_and(|known| known == part || known.starts_with('{'))
            })
        })
    }

    #[test]
    fn texts_for_operators_name_only_routes_that_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut unknown = Vec::new();
        let mut named = 0;
        for dir in ["docs", "docs/adr", "crates/central/src/alert"] {
            for entry in std::fs::read_dir(root.join(dir)).expect("a directory") {
                let path = entry.expect("an entry").path();
                let Ok(text) = std::fs::read_to_string(&path) else {
                    continue;
                };
                for address in addresses(&text) {
                    named += 1;
                    if !is_known(address) {
                        unknown.push(format!("{}: {address}", path.display()));
                    }
                }
            }
        }
        assert!(named > 100, "{named}");
        assert!(unknown.is_empty(), "{unknown:#?}");
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
    fn each_post_keeps_its_idempotency_key_or_is_in_the_list_of_docs() {
        let paths = crate::openapi()["paths"].as_object().expect("paths");
        let ignoring: Vec<&str> = paths
            .iter()
            .filter(|(_, methods)| {
                let parameters = methods["post"]["parameters"].as_array();
                let mut parameters = parameters.into_iter().flatten();
                !methods["post"].is_null()
                    && !parameters.any(|one| one["name"] == "Idempotency-Key")
            })
            .map(|(path, _)| path.as_str())
            .collect();
        let listed: Vec<&str> = PAGE
            .lines()
            .map(str::trim_start)
            .skip_while(|line| !line.starts_with("| ignores `Idempotency-Key`"))
            .skip(2)
            .map_while(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(ignoring, listed, "without the header Idempotency-Key");
    }

    #[test]
    fn docs_list_each_action_of_the_audit_log() {
        let line = PAGE.lines().find(|line| line.starts_with("`action` is `"));
        let listed = line.expect("the line of docs/api.md with the actions");
        let listed = listed.split_once("`. ").map_or(listed, |(first, _)| first);
        let listed: Vec<&str> = listed.split('`').skip(3).step_by(2).collect();
        assert_eq!(listed, central::model::AUDIT_ACTIONS);
    }

    #[test]
    fn docs_have_a_section_for_each_route() {
        // The sections of a large part of the API are on a page of their own.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
        let pages = std::fs::read_dir(folder).expect("the folder of the docs");
        let pages = pages.map(|entry| entry.expect("an entry").path());
        let pages = pages.filter(|path| path.extension().is_some_and(|name| name == "md"));
        let text: String = pages
            .map(|path| std::fs::read_to_string(path).expect("a page") + "\n")
            .collect();
        let mut sections: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim_start_matches('#').strip_prefix(" `"))
            .filter_map(|heading| {
                ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "]
                    .into_iter()
                    .find_map(|method| heading.strip_prefix(method))
            })
            .map(|heading| heading.trim_end_matches('`'))
            .collect();
        let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
        sections.sort_unstable();
        sections.dedup();
        paths.sort_unstable();
        assert_eq!(sections, paths);
    }
}
