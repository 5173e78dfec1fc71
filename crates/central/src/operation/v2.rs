//! Operations as commands of OCPP 2.0.1 and 2.1.

use super::fields::{Members, object};
use super::{Context, Operation};
use ocpp::Version;
use serde_json::{Value, json};

pub(super) fn translate(
    operation: Operation,
    body: &mut Members<'_>,
    context: &Context,
) -> (&'static str, Value) {
    let value = |body: &Members<'_>, name| body.value(name).cloned();
    match operation {
        Operation::Start => {
            let payload = object([
                ("idToken", id_token(body, "token", "Central")),
                ("groupIdToken", id_token(body, "group", "Central")),
                ("remoteStartId", Some(context.number.into())),
                ("evseId", value(body, "evse")),
                ("chargingProfile", value(body, "charging_profile")),
            ]);
            ("RequestStartTransaction", payload)
        }
        Operation::Stop => {
            let payload = object([("transactionId", value(body, "transaction_id"))]);
            ("RequestStopTransaction", payload)
        }
        Operation::Reset => {
            let kind = match (body.text("type").unwrap_or("immediate"), body.version) {
                ("when_idle", _) => "OnIdle",
                ("immediate", _) => "Immediate",
                ("resume", Version::V21) => "ImmediateAndResume",
                _ => {
                    body.refuse("type", "give immediate or when_idle");
                    "Immediate"
                }
            };
            let payload = object([("type", Some(kind.into())), ("evseId", value(body, "evse"))]);
            ("Reset", payload)
        }
        Operation::Unlock => {
            if body.value("connector").is_none() {
                body.fault(
                    "connector",
                    "it is missing; OCPP 2.x addresses a connector of an EVSE, such as 1",
                );
            }
            let payload = object([
                ("evseId", value(body, "evse")),
                ("connectorId", value(body, "connector")),
            ]);
            ("UnlockConnector", payload)
        }
        Operation::Availability => {
            let status = match body.value("operative") {
                Some(Value::Bool(true)) => "Operative",
                _ => "Inoperative",
            };
            let payload = object([
                ("operationalStatus", Some(status.into())),
                ("evse", evse(body)),
            ]);
            ("ChangeAvailability", payload)
        }
        Operation::Trigger => {
            let message = match body.text("message").unwrap_or_default() {
                "SignChargePointCertificate" => "SignChargingStationCertificate",
                "DiagnosticsStatusNotification" => {
                    body.refuse("message", "give LogStatusNotification");
                    "LogStatusNotification"
                }
                message => message,
            };
            let payload = object([
                ("requestedMessage", Some(message.into())),
                ("evse", evse(body)),
            ]);
            ("TriggerMessage", payload)
        }
        Operation::Reserve => {
            let id = body.integer("reservation_id");
            let payload = object([
                ("id", Some(json!(id.unwrap_or(context.number.into())))),
                ("expiryDateTime", body.time("until").map(Value::from)),
                ("idToken", id_token(body, "token", "ISO14443")),
                ("groupIdToken", id_token(body, "group", "ISO14443")),
                ("evseId", value(body, "evse")),
                ("connectorType", value(body, "connector_type")),
            ]);
            ("ReserveNow", payload)
        }
        Operation::CancelReservation => {
            let payload = json!({"reservationId": body.integer("reservation_id")});
            ("CancelReservation", payload)
        }
        Operation::Limit => ("SetChargingProfile", limit(body, context)),
        Operation::ChargingProfile => {
            let payload = json!({
                "evseId": body.integer("evse").unwrap_or(0),
                "chargingProfile": body.value("profile"),
            });
            ("SetChargingProfile", payload)
        }
        Operation::ClearChargingProfile => {
            let criteria = object([
                ("evseId", value(body, "evse")),
                (
                    "chargingProfilePurpose",
                    body.text("purpose").map(|text| purpose(text).into()),
                ),
                ("stackLevel", value(body, "stack_level")),
            ]);
            let payload = object([
                ("chargingProfileId", value(body, "profile_id")),
                (
                    "chargingProfileCriteria",
                    (criteria != json!({})).then_some(criteria),
                ),
            ]);
            ("ClearChargingProfile", payload)
        }
        Operation::LocalList => ("SendLocalList", local_list(body)),
        Operation::Diagnostics => {
            let log = object([
                ("remoteLocation", value(body, "url")),
                ("oldestTimestamp", body.time("from").map(Value::from)),
                ("latestTimestamp", body.time("to").map(Value::from)),
            ]);
            let kind = match body.text("log") {
                Some("security") => "SecurityLog",
                _ => "DiagnosticsLog",
            };
            let payload = object([
                ("logType", Some(kind.into())),
                ("requestId", Some(context.number.into())),
                ("log", Some(log)),
                ("retries", value(body, "retries")),
                ("retryInterval", value(body, "retry_interval_s")),
            ]);
            ("GetLog", payload)
        }
        Operation::Firmware => {
            let retrieve_at = body.time("retrieve_at");
            let retrieve_at = retrieve_at.unwrap_or_else(|| context.now.to_string());
            let firmware = object([
                ("location", value(body, "url")),
                ("retrieveDateTime", Some(retrieve_at.into())),
                ("installDateTime", body.time("install_at").map(Value::from)),
                ("signingCertificate", value(body, "signing_certificate")),
                ("signature", value(body, "signature")),
            ]);
            let payload = object([
                ("requestId", Some(context.number.into())),
                ("firmware", Some(firmware)),
                ("retries", value(body, "retries")),
                ("retryInterval", value(body, "retry_interval_s")),
            ]);
            ("UpdateFirmware", payload)
        }
        Operation::DataTransfer => {
            let payload = object([
                ("vendorId", value(body, "vendor_id")),
                ("messageId", value(body, "message_id")),
                ("data", value(body, "data")),
            ]);
            ("DataTransfer", payload)
        }
        Operation::ClearCache => ("ClearCache", json!({})),
        Operation::Configuration => configuration(body),
    }
}

/// A token with its type; the type is the member `token_type`, or else `default`.
fn id_token(body: &mut Members<'_>, name: &str, default: &str) -> Option<Value> {
    let text = body.text(name)?;
    let chars = text.chars().count();
    let chars_max = match body.version {
        Version::V21 => 255,
        Version::V16 | Version::V201 => 36,
    };
    if chars > chars_max {
        let version = body.version;
        body.fault(
            name,
            format!("it has {chars} characters; OCPP {version} permits {chars_max}"),
        );
    }
    let kind = body.text("token_type").unwrap_or(default);
    Some(json!({"idToken": text, "type": kind}))
}

/// The EVSE with its connector.
fn evse(body: &mut Members<'_>) -> Option<Value> {
    if body.value("connector").is_some() && body.value("evse").is_none() {
        body.fault(
            "evse",
            "it is missing; OCPP 2.x addresses a connector of an EVSE",
        );
    }
    let id = body.value("evse")?.clone();
    Some(object([
        ("id", Some(id)),
        ("connectorId", body.value("connector").cloned()),
    ]))
}

fn purpose(text: &str) -> &'static str {
    match text {
        "default" => "TxDefaultProfile",
        "transaction" => "TxProfile",
        _ => "ChargingStationMaxProfile",
    }
}

fn limit(body: &mut Members<'_>, context: &Context) -> Value {
    let wanted = body.text("purpose").unwrap_or("charger");
    if wanted != "transaction" && body.value("transaction_id").is_some() {
        body.fault(
            "transaction_id",
            "give it only with the purpose transaction",
        );
    }
    if wanted == "charger" && body.value("evse").is_some() {
        body.fault(
            "evse",
            "the purpose charger is for the whole charger; leave evse out, or give the purpose default",
        );
    }
    if wanted == "transaction" && body.value("evse").is_none() {
        body.fault("evse", "it is missing; give the EVSE of the transaction");
    }
    let period = object([
        ("startPeriod", Some(0.into())),
        ("limit", body.value("limit").cloned()),
        ("numberPhases", body.value("phases").cloned()),
    ]);
    let schedule = object([
        ("id", Some(context.number.into())),
        ("duration", body.value("duration_s").cloned()),
        ("startSchedule", Some(context.now.to_string().into())),
        ("chargingRateUnit", body.value("unit").cloned()),
        ("chargingSchedulePeriod", Some(json!([period]))),
    ]);
    let profile_id = body.integer("profile_id").unwrap_or(context.number.into());
    let profile = object([
        ("id", Some(profile_id.into())),
        ("transactionId", body.value("transaction_id").cloned()),
        (
            "stackLevel",
            Some(body.integer("stack_level").unwrap_or(0).into()),
        ),
        ("chargingProfilePurpose", Some(purpose(wanted).into())),
        ("chargingProfileKind", Some("Absolute".into())),
        ("chargingSchedule", Some(json!([schedule]))),
    ]);
    json!({"evseId": body.integer("evse").unwrap_or(0), "chargingProfile": profile})
}

fn local_list(body: &mut Members<'_>) -> Value {
    let version = body.version;
    let is_full = body.text("update") == Some("full");
    let entries = body.value("entries").and_then(Value::as_array);
    let mut list = Vec::new();
    for (at, entry) in entries.into_iter().flatten().enumerate() {
        let Value::Object(members) = entry else {
            continue;
        };
        let mut entry = Members::new(members, version);
        let token = id_token(&mut entry, "token", "ISO14443");
        let info = match entry.value("status").cloned() {
            None => {
                let has_more = ["expires_at", "group"]
                    .iter()
                    .any(|name| members.contains_key(*name));
                if is_full || has_more {
                    entry.fault("status", "it is missing; only an entry that a differential list removes has no status");
                }
                None
            }
            Some(status) => Some(object([
                ("status", Some(status)),
                (
                    "cacheExpiryDateTime",
                    entry.time("expires_at").map(Value::from),
                ),
                ("groupIdToken", id_token(&mut entry, "group", "ISO14443")),
            ])),
        };
        list.push(object([("idToken", token), ("idTokenInfo", info)]));
        body.faults
            .extend(entry.faults.into_iter().map(|mut fault| {
                fault.pointer = format!("/entries/{at}{}", fault.pointer);
                fault
            }));
    }
    object([
        ("versionNumber", body.value("version").cloned()),
        (
            "updateType",
            Some(if is_full { "Full" } else { "Differential" }.into()),
        ),
        (
            "localAuthorizationList",
            (!list.is_empty()).then(|| list.into()),
        ),
    ])
}

fn configuration(body: &mut Members<'_>) -> (&'static str, Value) {
    let attribute = body.text("attribute").filter(|name| *name != "Actual");
    let evse = body.value("evse").map(|id| json!({"id": id}));
    let mut faults = Vec::new();
    let mut variable = |at: String, name: &str, value: Option<&Value>| {
        let Some((component, variable)) = parts(name) else {
            faults.push(super::Fault::new(
                at,
                "OCPP 2.x needs a component and a variable, such as OCPPCommCtrlr.HeartbeatInterval",
            ));
            return json!({});
        };
        object([
            (
                "component",
                Some(object([
                    ("name", Some(component.0.into())),
                    ("instance", component.1.map(Value::from)),
                    ("evse", evse.clone()),
                ])),
            ),
            (
                "variable",
                Some(object([
                    ("name", Some(variable.0.into())),
                    ("instance", variable.1.map(Value::from)),
                ])),
            ),
            ("attributeType", attribute.map(Value::from)),
            ("attributeValue", value.cloned()),
        ])
    };
    if let Some(Value::Object(pairs)) = body.value("write") {
        let data: Vec<Value> = pairs
            .iter()
            .map(|(name, value)| {
                let at = format!("/write/{}", name.replace('~', "~0").replace('/', "~1"));
                variable(at, name, Some(value))
            })
            .collect();
        body.faults.append(&mut faults);
        return ("SetVariables", json!({"setVariableData": data}));
    }
    let names = body.value("read").and_then(Value::as_array);
    let data: Vec<Value> = names
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(at, name)| {
            variable(
                format!("/read/{at}"),
                name.as_str().unwrap_or_default(),
                None,
            )
        })
        .collect();
    body.faults.append(&mut faults);
    if data.is_empty() {
        body.fault(
            "read",
            "OCPP 2.x reads variables by name; name them, or send GetBaseReport for all",
        );
    }
    ("GetVariables", json!({"getVariableData": data}))
}

/// A name and its instance.
type Named<'a> = (&'a str, Option<&'a str>);

/// `Component.Variable`, each with an optional instance in brackets.
fn parts(name: &str) -> Option<(Named<'_>, Named<'_>)> {
    let (component, rest) = named(name)?;
    let (variable, rest) = named(rest.strip_prefix('.')?)?;
    rest.is_empty().then_some((component, variable))
}

/// The name at the beginning of the text, and what follows it.
fn named(text: &str) -> Option<(Named<'_>, &str)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    match rest.strip_prefix('[') {
        None => Some(((name, None), rest)),
        Some(rest) => {
            let (instance, rest) = rest.split_once(']')?;
            (!instance.is_empty()).then_some(((name, Some(instance)), rest))
        }
    }
}
