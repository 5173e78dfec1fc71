//! `/api/v1/chargers/{id}/start` and its siblings: operations, which do not depend on the version of OCPP. Each becomes a
//! command, and the answer is that of `POST /api/v1/chargers/{id}/commands`.

use crate::commands::{Incoming, Wanted, expiry, now, ordered_charger, submit};
use crate::error::ApiError;
use crate::page;
use crate::path::{InPath, TransactionKey};
use crate::query::Query;
use crate::state::AppState;
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use central::command_request::CommandRequest;
use central::model::{BatchPlan, BatchWork, CommandId, TransactionView};
use central::operation::{Context, Operation, Request, schema};
use central::query::{ChargerDetail, PageRequest, QueryStore, TransactionFilter};
use central::{Timestamp, model};
use ocpp::Version;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A charger whose open transactions are looked through has this many at most.
const OPEN_MAX: usize = 100;

macro_rules! handlers {
    ($($name:ident => $operation:ident;)*) => {
        $(
            pub(crate) async fn $name(
                state: State<Arc<AppState>>,
                id: InPath<String>,
                request: HttpRequest,
            ) -> Result<Response, ApiError> {
                run(Operation::$operation, state, id, request).await
            }
        )*
    };
}

handlers! {
    start => Start;
    stop => Stop;
    reset => Reset;
    unlock => Unlock;
    availability => Availability;
    trigger => Trigger;
    reserve => Reserve;
    cancel_reservation => CancelReservation;
    limit => Limit;
    charging_profile => ChargingProfile;
    clear_charging_profile => ClearChargingProfile;
    local_list => LocalList;
    diagnostics => Diagnostics;
    firmware => Firmware;
    data_transfer => DataTransfer;
    clear_cache => ClearCache;
    configuration => Configuration;
}

async fn run(
    operation: Operation,
    State(state): State<Arc<AppState>>,
    InPath(charger_id): InPath<String>,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    Query::read(request.uri().query(), &[])?;
    let target = [operation.as_str().as_bytes(), charger_id.as_bytes()];
    let incoming = Incoming::read(&state, request, &target).await?;
    let mut members = body(&incoming.body)?;
    let delivery = Delivery::take(&mut members)?;
    let request = Request::read(operation, members).map_err(|faults| ApiError::invalid(&faults))?;
    submit(&state, incoming, move |store, id| {
        let detail = ordered_charger(store, &charger_id)?;
        command(store, &detail, request, delivery, id)
    })
    .await
}

/// `POST /api/v1/transactions/{key}/stop`
pub(crate) async fn stop_transaction(
    State(state): State<Arc<AppState>>,
    InPath(TransactionKey(key)): InPath<TransactionKey>,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    Query::read(request.uri().query(), &[])?;
    let incoming = Incoming::read(&state, request, &[b"stop", key.as_bytes()]).await?;
    let mut members = body(&incoming.body)?;
    let delivery = Delivery::take(&mut members)?;
    let mut request =
        Request::read(Operation::Stop, members).map_err(|faults| ApiError::invalid(&faults))?;
    if !request.needs_transaction() {
        return Err(ApiError::bad_member(
            "/transaction_id",
            "transaction_id is given, but the address names the transaction; leave it out",
        ));
    }
    submit(&state, incoming, move |store, id| {
        let found = store.transaction(key);
        let found = found.map_err(|error| page::query_error(error, &PageRequest::default()))?;
        let transaction = found.ok_or_else(|| ApiError::unknown_transaction(key))?;
        if !transaction.open {
            return Err(ApiError::transaction_ended(key));
        }
        if transaction.transaction_id.is_empty() {
            return Err(ApiError::no_open_transaction(
                "The charger has not reported the transaction's id, so it cannot be stopped from here",
            ));
        }
        request.set_transaction(&transaction.transaction_id, place(&transaction));
        let detail = ordered_charger(store, &transaction.charger_id)?;
        command(store, &detail, request, delivery, id)
    })
    .await
}

/// The body as an object; an empty body is one without members.
fn body(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::bad_json(&error.to_string()))
}

/// What a batch sends to each of its chargers.
pub(crate) enum Work {
    Action { action: String, payload: String },
    Operation(Request),
}

impl Work {
    /// The work of a plan, which was checked when its batch was created.
    pub(crate) fn of(plan: &BatchPlan) -> Result<Self, ApiError> {
        Ok(match &plan.work {
            BatchWork::Action { action, payload } => Self::Action {
                action: action.clone(),
                payload: Value::Object(payload.clone()).to_string(),
            },
            BatchWork::Operation {
                operation,
                parameters,
            } => {
                let operation = Operation::from_name(operation).ok_or_else(ApiError::internal)?;
                let request = Request::read(operation, parameters.clone());
                Self::Operation(request.map_err(|faults| ApiError::invalid(&faults))?)
            }
        })
    }

    /// The command of a charger. What its version does not have or cannot express is an error.
    pub(crate) fn command(
        &self,
        store: &dyn QueryStore,
        detail: &ChargerDetail,
        id: CommandId,
    ) -> Result<Wanted, ApiError> {
        let delivery = Delivery {
            waits_when_offline: false,
            expires_at: None,
            answer_within_ms: None,
        };
        let is_online = detail.charger.online;
        let wanted = match self {
            Self::Operation(request) => command(store, detail, request.clone(), delivery, id)?,
            Self::Action { action, payload } => Wanted {
                request: CommandRequest {
                    charger_id: detail.charger.charger_id.clone(),
                    action: action.clone(),
                    payload: payload.clone(),
                    waits_when_offline: false,
                    expires_at: None,
                    answer_within_ms: None,
                    skips_check: false,
                },
                version: detail.charger.ocpp_version.filter(|_| is_online),
                is_online,
                warnings: Vec::new(),
            },
        };
        // Stores nothing: a payload that the version refuses is an error already here.
        let checked = wanted
            .request
            .accept(id, "", detail.charger.ocpp_version, None, now());
        checked.map_err(|error| ApiError::bad_command(&error))?;
        Ok(wanted)
    }
}

/// How a command is delivered: members that the bodies of all operations have.
pub(crate) struct Delivery {
    pub(crate) waits_when_offline: bool,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) answer_within_ms: Option<u32>,
}

impl Delivery {
    /// Takes its members out of a body.
    pub(crate) fn take(members: &mut Map<String, Value>) -> Result<Self, ApiError> {
        let waits_when_offline = match members.remove("when_offline") {
            None => false,
            Some(Value::String(text)) if text == "fail" => false,
            Some(Value::String(text)) if text == "wait" => true,
            Some(_) => {
                return Err(ApiError::bad_member(
                    "/when_offline",
                    "when_offline must be fail or wait",
                ));
            }
        };
        let expires_at = match members.remove("expires_at") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(expiry(&text)?),
            Some(other) => Some(expiry(&other.to_string())?),
        };
        let answer_within_ms = match members.remove("answer_within_ms") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                let wrong = "answer_within_ms must be a whole number from 1000 to 600000";
                Some(number.ok_or_else(|| ApiError::bad_member("/answer_within_ms", wrong))?)
            }
        };
        Ok(Self {
            waits_when_offline,
            expires_at,
            answer_within_ms,
        })
    }
}

/// The command of the charger's version.
fn command(
    store: &dyn QueryStore,
    detail: &ChargerDetail,
    mut request: Request,
    delivery: Delivery,
    id: CommandId,
) -> Result<Wanted, ApiError> {
    let charger_id = detail.charger.charger_id.as_str();
    let version = detail.charger.ocpp_version;
    let version = version.ok_or_else(|| ApiError::version_unknown(charger_id))?;
    if request.needs_transaction() {
        let transaction = only_open(store, charger_id, request.evse())?;
        request.set_transaction(&transaction.transaction_id, place(&transaction));
    }
    let context = Context {
        number: id.number(),
        now: now(),
    };
    let translated = request
        .for_version(version, &context)
        .map_err(|faults| ApiError::not_expressible(version, &faults))?;
    let is_online = detail.charger.online;
    Ok(Wanted {
        warnings: warnings(detail, version, request.evse()),
        request: CommandRequest {
            charger_id: charger_id.to_owned(),
            action: translated.action.to_owned(),
            payload: translated.payload.to_string(),
            waits_when_offline: delivery.waits_when_offline,
            expires_at: delivery.expires_at,
            answer_within_ms: delivery.answer_within_ms,
            skips_check: false,
        },
        version: Some(version).filter(|_| is_online),
        is_online,
    })
}

/// The EVSE (2.x) or connector (1.6) of a transaction.
fn place(transaction: &TransactionView) -> Option<i64> {
    match transaction.ocpp_version {
        Some(Version::V16) => transaction.connector,
        _ => transaction.evse,
    }
}

/// The only open transaction of the charger, or of its EVSE.
fn only_open(
    store: &dyn QueryStore,
    charger_id: &str,
    evse: Option<i64>,
) -> Result<TransactionView, ApiError> {
    let filter = TransactionFilter {
        charger: Some(charger_id.to_owned()),
        open: Some(true),
        ..TransactionFilter::default()
    };
    let page = PageRequest {
        limit: OPEN_MAX,
        ..PageRequest::default()
    };
    let found = store.transactions(&filter, &page);
    let mut found = found
        .map_err(|error| page::query_error(error, &page))?
        .items;
    found.retain(|transaction| evse.is_none() || place(transaction) == evse);
    match (found.pop(), found.len()) {
        (None, _) => Err(ApiError::no_open_transaction(
            "The charger has no open transaction that Wattpost knows of",
        )),
        (Some(only), 0) => Ok(only),
        (Some(last), _) => {
            found.push(last);
            let ids: Vec<&str> = found
                .iter()
                .map(|one| one.transaction_id.as_str())
                .take(10)
                .collect();
            Err(ApiError::several_transactions(&ids))
        }
    }
}

/// What is doubtful about the request, as far as the charger's state is known: the charger decides.
fn warnings(detail: &ChargerDetail, version: Version, evse: Option<i64>) -> Vec<String> {
    let place = |connector: &model::ConnectorView| match version {
        Version::V16 => connector.connector,
        Version::V201 | Version::V21 => connector.evse,
    };
    let known: BTreeSet<i64> = detail.connectors.iter().map(place).collect();
    let known: Vec<String> = known
        .into_iter()
        .filter(|number| *number > 0)
        .map(|number| number.to_string())
        .collect();
    match evse.map(|evse| evse.to_string()) {
        Some(evse) if !known.is_empty() && !known.contains(&evse) => {
            let what = match version {
                Version::V16 => "connector",
                Version::V201 | Version::V21 => "EVSE",
            };
            let known = known.join(", ");
            vec![format!(
                "the charger has not reported a {what} {evse}; it has reported {known}"
            )]
        }
        _ => Vec::new(),
    }
}

/// The operations, by their paths, for the OpenAPI document.
pub(crate) fn described() -> impl Iterator<Item = (String, Value)> {
    let operations = Operation::ALL.into_iter().map(|operation| {
        let path = format!("/api/v1/chargers/{{id}}/{}", operation.as_str());
        let id = parameter(
            "id",
            "The identity, percent-encoded; letter case is ignored",
            false,
        );
        (
            path,
            operation_of(operation.as_str(), id, request_schema(operation)),
        )
    });
    let key = parameter("key", "The `key` of the transaction", true);
    let stop = operation_of("stop_transaction", key, with_delivery(schema(&[])));
    let path = "/api/v1/transactions/{key}/stop".to_owned();
    operations.chain([(path, stop)])
}

fn parameter(name: &str, about: &str, is_uuid: bool) -> Value {
    let mut schema = json!({"type": "string"});
    if is_uuid {
        schema["format"] = json!("uuid");
    }
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema})
}

fn operation_of(id: &str, path_parameter: Value, body: Value) -> Value {
    let header = |name: &str, about: &str, is_required: bool| {
        json!({
            "name": name, "in": "header", "required": is_required, "description": about,
            "schema": {"type": "string"},
        })
    };
    let is_required = body.get("required").is_some();
    let command = |about: &str| {
        json!({
            "description": about,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Command"}}},
        })
    };
    json!({"post": {
        "operationId": format!("charger_{}", id.replace('-', "_")),
        "tags": ["operations"],
        "parameters": [
            path_parameter,
            header(
                "Idempotency-Key",
                "A text of the client, unique for this request: its repeat within 72 hours sends nothing again",
                true,
            ),
            header(
                "Prefer",
                "`wait=10`: wait for the outcome, up to 60 seconds. `respond-async`: answer at once, also if the charger is not connected",
                false,
            ),
        ],
        "requestBody": {"required": is_required, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": command("The command with its outcome"),
            "202": command("The command is queued; `Location` is its address"),
        },
    }})
}

fn request_schema(operation: Operation) -> Value {
    with_delivery(schema(operation.fields()))
}

/// Adds the members of [`Delivery`].
fn with_delivery(mut schema: Value) -> Value {
    schema["properties"]["when_offline"] = json!({
        "type": "string", "enum": ["fail", "wait"],
        "description": "`fail` (the default: it is not sent if the charger is not connected) or `wait`",
    });
    schema["properties"]["expires_at"] = json!({
        "type": "string", "format": "date-time",
        "description": "Until when a command waits: within 30 days; default one hour",
    });
    schema["properties"]["answer_within_ms"] = json!({
        "type": "integer", "minimum": 1_000, "maximum": 600_000,
        "description": "How long the charger may take to answer; default 30,000",
    });
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::operation::Kind;

    /// The section of an operation in docs/charger-operations.md.
    fn section(operation: Operation) -> String {
        let mut text = format!(
            "### `POST /api/v1/chargers/{{id}}/{}`\n\n",
            operation.as_str()
        );
        let about = operation.about();
        let (first, rest) = about.split_at(1);
        text += &format!("{}{rest}.\n", first.to_uppercase());
        if !operation.fields().is_empty() {
            text += "\n| member | value | meaning |\n| --- | --- | --- |\n";
        }
        for field in operation.fields() {
            let expected = field.kind.expected();
            let needed = if field.is_required { ", required" } else { "" };
            text += &format!(
                "| `{}` | {expected}{needed} | {} |\n",
                field.name, field.about
            );
            if let Kind::Entries(fields, _) = field.kind {
                for inner in fields {
                    let (expected, about) = (inner.kind.expected(), inner.about);
                    let needed = if inner.is_required { ", required" } else { "" };
                    let name = format!("{}[].{}", field.name, inner.name);
                    text += &format!("| `{name}` | {expected}{needed} | {about} |\n");
                }
            }
        }
        text
    }

    /// With `WATTPOST_UPDATE_DOCS=1` the sections are written.
    #[test]
    fn docs_describe_each_operation_with_its_members() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/charger-operations.md"
        );
        let page = std::fs::read_to_string(path).expect("read docs/charger-operations.md");
        let (head, rest) = page.split_once("## Operations\n").expect("a heading");
        let (_, tail) = rest.split_once("\n## ").expect("a heading after it");
        let sections: Vec<String> = Operation::ALL.into_iter().map(section).collect();
        let wanted = format!("{head}## Operations\n\n{}\n## {tail}", sections.join("\n"));
        if std::env::var_os("WATTPOST_UPDATE_DOCS").is_some() {
            std::fs::write(path, &wanted).expect("write docs/charger-operations.md");
        }
        assert!(
            page == wanted,
            "docs/charger-operations.md differs from the table of operations; run the tests of crate api with \
             WATTPOST_UPDATE_DOCS=1"
        );
    }
}
