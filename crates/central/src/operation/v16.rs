//! Operations as commands of OCPP 1.6.

use super::fields::{Members, object};
use super::{Context, Operation};
use serde_json::{Value, json};

/// The longest idTag.
const ID_TAG_CHARS_MAX: usize = 20;

pub(super) fn translate(
    operation: Operation,
    body: &mut Members<'_>,
    context: &Context,
) -> (&'static str, Value) {
    let value = |body: &Members<'_>, name| body.value(name).cloned();
    match operation {
        Operation::Start => {
            body.refuse("token_type", "leave it out: an idTag has no type");
            body.refuse("group", "leave it out: the charger asks for the group");
            let payload = object([
                ("idTag", id_tag(body, "token")),
                ("connectorId", value(body, "evse")),
                ("chargingProfile", value(body, "charging_profile")),
            ]);
            ("RemoteStartTransaction", payload)
        }
        Operation::Stop => {
            let payload = json!({"transactionId": transaction_id(body)});
            ("RemoteStopTransaction", payload)
        }
        Operation::Reset => {
            body.refuse(
                "evse",
                "leave it out to restart the charger, or use availability",
            );
            let kind = match body.text("type").unwrap_or("immediate") {
                "hard" => "Hard",
                "immediate" => "Soft",
                _ => {
                    body.refuse("type", "give immediate or hard");
                    "Soft"
                }
            };
            ("Reset", json!({"type": kind}))
        }
        Operation::Unlock => {
            only_connector(body);
            (
                "UnlockConnector",
                json!({"connectorId": body.integer("evse")}),
            )
        }
        Operation::Availability => {
            only_connector(body);
            let payload = json!({
                "connectorId": body.integer("evse").unwrap_or(0),
                "type": match body.value("operative") {
                    Some(Value::Bool(true)) => "Operative",
                    _ => "Inoperative",
                },
            });
            ("ChangeAvailability", payload)
        }
        Operation::Trigger => trigger(body),
        Operation::Reserve => {
            body.refuse("token_type", "leave it out: an idTag has no type");
            body.refuse("connector_type", "give evse");
            let id = body.integer("reservation_id");
            let payload = object([
                (
                    "connectorId",
                    Some(json!(body.integer("evse").unwrap_or(0))),
                ),
                ("expiryDate", body.time("until").map(Value::from)),
                ("idTag", id_tag(body, "token")),
                ("parentIdTag", id_tag(body, "group")),
                (
                    "reservationId",
                    Some(json!(id.unwrap_or(context.number.into()))),
                ),
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
                "connectorId": body.integer("evse").unwrap_or(0),
                "csChargingProfiles": body.value("profile"),
            });
            ("SetChargingProfile", payload)
        }
        Operation::ClearChargingProfile => {
            let payload = object([
                ("id", value(body, "profile_id")),
                ("connectorId", value(body, "evse")),
                (
                    "chargingProfilePurpose",
                    body.text("purpose").map(|text| purpose(text).into()),
                ),
                ("stackLevel", value(body, "stack_level")),
            ]);
            ("ClearChargingProfile", payload)
        }
        Operation::LocalList => ("SendLocalList", local_list(body)),
        Operation::Diagnostics => match body.text("log") {
            Some("security") => {
                let log = object([
                    ("remoteLocation", value(body, "url")),
                    ("oldestTimestamp", body.time("from").map(Value::from)),
                    ("latestTimestamp", body.time("to").map(Value::from)),
                ]);
                let payload = object([
                    ("logType", Some("SecurityLog".into())),
                    ("requestId", Some(context.number.into())),
                    ("log", Some(log)),
                    ("retries", value(body, "retries")),
                    ("retryInterval", value(body, "retry_interval_s")),
                ]);
                ("GetLog", payload)
            }
            _ => {
                let payload = object([
                    ("location", value(body, "url")),
                    ("startTime", body.time("from").map(Value::from)),
                    ("stopTime", body.time("to").map(Value::from)),
                    ("retries", value(body, "retries")),
                    ("retryInterval", value(body, "retry_interval_s")),
                ]);
                ("GetDiagnostics", payload)
            }
        },
        Operation::Firmware => firmware(body, context),
        Operation::DataTransfer => {
            if body.value("data").is_some_and(|data| !data.is_string()) {
                body.fault("data", "OCPP 1.6 transfers a text; give the JSON as a text");
            }
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

/// An idTag; one that is too long is refused.
fn id_tag(body: &mut Members<'_>, name: &str) -> Option<Value> {
    let text = body.text(name)?;
    let chars = text.chars().count();
    if chars > ID_TAG_CHARS_MAX {
        body.fault(
            name,
            format!("it has {chars} characters; OCPP 1.6 permits {ID_TAG_CHARS_MAX}"),
        );
    }
    Some(text.into())
}

fn transaction_id(body: &mut Members<'_>) -> Option<i64> {
    let text = body.text("transaction_id");
    let id = text.and_then(|text| text.parse().ok());
    if id.is_none() {
        body.fault(
            "transaction_id",
            "OCPP 1.6 needs the number of a transaction; give its transaction_id",
        );
    }
    id
}

/// A connector is an EVSE with one connector, number 1.
fn only_connector(body: &mut Members<'_>) {
    if body.integer("connector").is_some_and(|number| number != 1) {
        body.refuse("connector", "give the connector's number as evse");
    }
    if body.value("connector").is_some() && body.value("evse").is_none() {
        body.fault(
            "evse",
            "it is missing; OCPP 1.6 addresses a connector with evse",
        );
    }
}

/// The messages of `TriggerMessage`.
const TRIGGERS: [&str; 6] = [
    "BootNotification",
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "StatusNotification",
];

fn trigger(body: &mut Members<'_>) -> (&'static str, Value) {
    only_connector(body);
    let message = body.text("message").unwrap_or_default();
    let (action, message) = match message {
        "SignChargingStationCertificate" | "SignChargePointCertificate" => {
            ("ExtendedTriggerMessage", "SignChargePointCertificate")
        }
        "LogStatusNotification" => ("ExtendedTriggerMessage", message),
        _ if TRIGGERS.contains(&message) => ("TriggerMessage", message),
        _ => {
            let known = TRIGGERS.join(", ");
            let instead =
                format!("give {known}, LogStatusNotification or SignChargePointCertificate");
            body.refuse("message", &instead);
            ("TriggerMessage", message)
        }
    };
    let payload = object([
        ("requestedMessage", Some(message.into())),
        ("connectorId", body.value("evse").cloned()),
    ]);
    (action, payload)
}

fn purpose(text: &str) -> &'static str {
    match text {
        "default" => "TxDefaultProfile",
        "transaction" => "TxProfile",
        _ => "ChargePointMaxProfile",
    }
}

fn limit(body: &mut Members<'_>, context: &Context) -> Value {
    let wanted = body.text("purpose").unwrap_or("charger");
    let transaction = match wanted {
        "transaction" => transaction_id(body),
        _ => {
            if body.value("transaction_id").is_some() {
                body.fault(
                    "transaction_id",
                    "give it only with the purpose transaction",
                );
            }
            None
        }
    };
    if wanted == "charger" && body.value("evse").is_some() {
        body.fault(
            "evse",
            "the purpose charger is for the whole charger; leave evse out, or give the purpose default",
        );
    }
    if wanted == "transaction" && body.value("evse").is_none() {
        body.fault(
            "evse",
            "it is missing; give the connector of the transaction",
        );
    }
    let period = object([
        ("startPeriod", Some(0.into())),
        ("limit", body.value("limit").cloned()),
        ("numberPhases", body.value("phases").cloned()),
    ]);
    let schedule = object([
        ("duration", body.value("duration_s").cloned()),
        ("startSchedule", Some(context.now.to_string().into())),
        ("chargingRateUnit", body.value("unit").cloned()),
        ("chargingSchedulePeriod", Some(json!([period]))),
    ]);
    let profile_id = body.integer("profile_id").unwrap_or(context.number.into());
    let profile = object([
        ("chargingProfileId", Some(profile_id.into())),
        ("transactionId", transaction.map(Value::from)),
        (
            "stackLevel",
            Some(body.integer("stack_level").unwrap_or(0).into()),
        ),
        ("chargingProfilePurpose", Some(purpose(wanted).into())),
        ("chargingProfileKind", Some("Absolute".into())),
        ("chargingSchedule", Some(schedule)),
    ]);
    json!({"connectorId": body.integer("evse").unwrap_or(0), "csChargingProfiles": profile})
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
        entry.refuse("token_type", "leave it out: an idTag has no type");
        let tag = id_tag(&mut entry, "token");
        let info = match entry.value("status").cloned() {
            None => {
                if is_full || members.len() > 1 {
                    entry.fault("status", "it is missing; only an entry that a differential list removes has no status");
                }
                None
            }
            Some(status) => Some(object([
                ("status", Some(status)),
                ("expiryDate", entry.time("expires_at").map(Value::from)),
                ("parentIdTag", id_tag(&mut entry, "group")),
            ])),
        };
        list.push(object([("idTag", tag), ("idTagInfo", info)]));
        body.faults
            .extend(entry.faults.into_iter().map(|mut fault| {
                fault.pointer = format!("/entries/{at}{}", fault.pointer);
                fault
            }));
    }
    object([
        ("listVersion", body.value("version").cloned()),
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

fn firmware(body: &mut Members<'_>, context: &Context) -> (&'static str, Value) {
    let retrieve_at = body
        .time("retrieve_at")
        .unwrap_or_else(|| context.now.to_string());
    let value = |name| body.value(name).cloned();
    let (certificate, signature) = (value("signing_certificate"), value("signature"));
    let (retries, interval) = (value("retries"), value("retry_interval_s"));
    if certificate.is_none() && signature.is_none() {
        body.refuse(
            "install_at",
            "leave it out, or give signing_certificate and signature (SignedUpdateFirmware)",
        );
        let payload = object([
            ("location", body.value("url").cloned()),
            ("retrieveDate", Some(retrieve_at.into())),
            ("retries", retries),
            ("retryInterval", interval),
        ]);
        return ("UpdateFirmware", payload);
    }
    if certificate.is_none() || signature.is_none() {
        let missing = match certificate {
            None => "signing_certificate",
            Some(_) => "signature",
        };
        body.fault(
            missing,
            "it is missing; give signing_certificate and signature, or neither",
        );
    }
    let firmware = object([
        ("location", body.value("url").cloned()),
        ("retrieveDateTime", Some(retrieve_at.into())),
        ("installDateTime", body.time("install_at").map(Value::from)),
        ("signingCertificate", certificate),
        ("signature", signature),
    ]);
    let payload = object([
        ("requestId", Some(context.number.into())),
        ("firmware", Some(firmware)),
        ("retries", retries),
        ("retryInterval", interval),
    ]);
    ("SignedUpdateFirmware", payload)
}

fn configuration(body: &mut Members<'_>) -> (&'static str, Value) {
    body.refuse("attribute", "leave it out: a key has one value");
    body.refuse("evse", "leave it out: a key is of the whole charger");
    let Some(Value::Object(pairs)) = body.value("write") else {
        let keys = body.value("read").filter(|keys| **keys != json!([]));
        return ("GetConfiguration", object([("key", keys.cloned())]));
    };
    if pairs.len() > 1 {
        body.fault(
            "write",
            "OCPP 1.6 changes one key with each command; make one request for each key",
        );
    }
    let pair = pairs.iter().next();
    let payload = object([
        ("key", pair.map(|(key, _)| key.as_str().into())),
        ("value", pair.map(|(_, value)| value.clone())),
    ]);
    ("ChangeConfiguration", payload)
}
