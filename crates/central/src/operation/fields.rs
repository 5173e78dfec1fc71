//! The members of each operation's body, as data: the check, the OpenAPI document and the documentation use the same
//! table.

use super::Operation;
use crate::query::parameters;
use crate::time::Timestamp;
use ocpp::Version;
use serde_json::{Map, Value, json};

/// A member of a body.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it must be.
    pub kind: Kind,
    /// Whether it must be there.
    pub is_required: bool,
    /// What it means.
    pub about: &'static str,
}

/// What a member must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A text of 1 to this number of characters.
    Text(usize),
    /// A text that may be empty, of this number of characters at most.
    AnyText(usize),
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A number that is not negative.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A time with its offset (RFC 3339).
    Time,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts, with this number of items at most.
    Texts(usize),
    /// A JSON object, as OCPP defines it.
    Object,
    /// Any JSON value.
    Any,
    /// An object whose members are texts, with this number of members at least 1 and at most this.
    Pairs(usize),
    /// A list of objects with these members, with this number of items at most.
    Entries(&'static [Field], usize),
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The member, as a JSON pointer (RFC 6901); empty for the whole body.
    pub pointer: String,
    /// What is wrong, and what to give instead.
    pub detail: String,
}

impl Fault {
    pub(super) fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field {
        name,
        kind,
        is_required: true,
        about,
    }
}

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field {
        name,
        kind,
        is_required: false,
        about,
    }
}

const NUMBER: Kind = Kind::Integer(0, i32::MAX as i64);
const PLACE: Kind = Kind::Integer(1, i32::MAX as i64);
const TOKEN: Kind = Kind::Text(255);
const URL: Kind = Kind::Text(2_000);
const EVSE: Field = may("evse", PLACE, "the EVSE (2.x) or connector (1.6)");
const CONNECTOR: Field = may(
    "connector",
    PLACE,
    "the connector of the EVSE (2.x); 1.6 addresses a connector with `evse` only",
);
const RETRIES: Field = may("retries", NUMBER, "how often the charger tries again");
const RETRY_INTERVAL: Field = may(
    "retry_interval_s",
    NUMBER,
    "seconds between two attempts of the charger",
);
const PURPOSES: &[&str] = &["charger", "default", "transaction"];

const ENTRY: &[Field] = &[
    must("token", TOKEN, "the token"),
    may(
        "token_type",
        Kind::Text(20),
        "its type (2.x); default `ISO14443`",
    ),
    may(
        "status",
        Kind::Text(20),
        "the authorization status, such as `Accepted`; without it a differential list removes the token",
    ),
    may("expires_at", Kind::Time, "until when the entry is valid"),
    may("group", TOKEN, "the group (1.6: parentIdTag)"),
];

pub(super) const fn of(operation: Operation) -> &'static [Field] {
    match operation {
        Operation::Start => {
            const {
                &[
                    must("token", TOKEN, "the token that the transaction is for"),
                    may(
                        "token_type",
                        Kind::Text(20),
                        "its type (2.x); default `Central`",
                    ),
                    EVSE,
                    may("group", TOKEN, "the group of the token (2.x)"),
                    may(
                        "charging_profile",
                        Kind::Object,
                        "a charging profile for the transaction, as the charger's version defines it",
                    ),
                ]
            }
        }
        Operation::Stop => {
            const {
                &[may(
                    "transaction_id",
                    Kind::Text(36),
                    "the transaction's id on the wire; default: the only open transaction of the charger",
                )]
            }
        }
        Operation::Reset => {
            const {
                &[
                    may(
                        "type",
                        Kind::Choice(&["immediate", "when_idle", "hard", "resume"]),
                        "`immediate` (the default: 1.6 Soft, 2.x Immediate), `when_idle` (2.x OnIdle), `hard` (1.6 Hard), `resume` (2.1 ImmediateAndResume)",
                    ),
                    may("evse", PLACE, "only this EVSE (2.x)"),
                ]
            }
        }
        Operation::Unlock => {
            const {
                &[
                    must("evse", PLACE, "the EVSE (2.x) or connector (1.6)"),
                    CONNECTOR,
                ]
            }
        }
        Operation::Availability => {
            const {
                &[
                    must(
                        "operative",
                        Kind::Boolean,
                        "whether it can be used for charging",
                    ),
                    may(
                        "evse",
                        PLACE,
                        "the EVSE (2.x) or connector (1.6); default: the whole charger",
                    ),
                    CONNECTOR,
                ]
            }
        }
        Operation::Trigger => {
            const {
                &[
                    must(
                        "message",
                        Kind::Text(50),
                        "the message, such as `StatusNotification`; `SignChargingStationCertificate` also names 1.6's SignChargePointCertificate",
                    ),
                    EVSE,
                    CONNECTOR,
                ]
            }
        }
        Operation::Reserve => {
            const {
                &[
                    must("token", TOKEN, "the token that the reservation is for"),
                    may(
                        "token_type",
                        Kind::Text(20),
                        "its type (2.x); default `ISO14443`",
                    ),
                    must("until", Kind::Time, "when the reservation ends"),
                    may(
                        "evse",
                        PLACE,
                        "the EVSE (2.x) or connector (1.6); default: any",
                    ),
                    may("connector_type", Kind::Text(20), "the connector type (2.x)"),
                    may(
                        "group",
                        TOKEN,
                        "the group that may use the reservation too (1.6: parentIdTag)",
                    ),
                    may(
                        "reservation_id",
                        NUMBER,
                        "the reservation; one that exists is replaced. Default: a new number, in the payload of the command",
                    ),
                ]
            }
        }
        Operation::CancelReservation => {
            const { &[must("reservation_id", NUMBER, "the reservation")] }
        }
        Operation::Limit => {
            const {
                &[
                    must(
                        "limit",
                        Kind::Number,
                        "the limit, in steps of 0.1; nothing is converted between units",
                    ),
                    must(
                        "unit",
                        Kind::Choice(&["W", "A"]),
                        "watts in total, or amperes per phase",
                    ),
                    may(
                        "phases",
                        Kind::Integer(1, 3),
                        "the number of phases; default: the charger decides",
                    ),
                    may(
                        "purpose",
                        Kind::Choice(PURPOSES),
                        "`charger` (the default: the charger as a whole), `default` (each transaction) or `transaction` (one that is open)",
                    ),
                    may(
                        "evse",
                        PLACE,
                        "the EVSE (2.x) or connector (1.6); not with the purpose `charger`",
                    ),
                    may(
                        "transaction_id",
                        Kind::Text(36),
                        "with the purpose `transaction`: its id on the wire; default: the only open one",
                    ),
                    may(
                        "stack_level",
                        NUMBER,
                        "a higher level takes precedence; default 0",
                    ),
                    may(
                        "profile_id",
                        PLACE,
                        "the id of the profile; default: a new number",
                    ),
                    may(
                        "duration_s",
                        PLACE,
                        "how long it applies, in seconds; default: until it is replaced or cleared",
                    ),
                ]
            }
        }
        Operation::ChargingProfile => {
            const {
                &[
                    must(
                        "profile",
                        Kind::Object,
                        "the profile as the charger's version defines it: csChargingProfiles (1.6), chargingProfile (2.x)",
                    ),
                    may(
                        "evse",
                        PLACE,
                        "the EVSE (2.x) or connector (1.6); default: the whole charger",
                    ),
                ]
            }
        }
        Operation::ClearChargingProfile => {
            const {
                &[
                    may("profile_id", NUMBER, "only the profile with this id"),
                    EVSE,
                    may(
                        "purpose",
                        Kind::Choice(PURPOSES),
                        "only profiles of this purpose, as in `limit`",
                    ),
                    may("stack_level", NUMBER, "only profiles of this level"),
                ]
            }
        }
        Operation::LocalList => {
            const {
                &[
                    must("version", NUMBER, "the version of the list"),
                    must(
                        "update",
                        Kind::Choice(&["full", "differential"]),
                        "whether the entries replace the list or change it",
                    ),
                    may("entries", Kind::Entries(ENTRY, 2_000), "the entries"),
                ]
            }
        }
        Operation::Diagnostics => {
            const {
                &[
                    must("url", URL, "where the charger uploads the file"),
                    may(
                        "log",
                        Kind::Choice(&["diagnostics", "security"]),
                        "which log; default `diagnostics`",
                    ),
                    may("from", Kind::Time, "only entries from this time on"),
                    may("to", Kind::Time, "only entries up to this time"),
                    RETRIES,
                    RETRY_INTERVAL,
                ]
            }
        }
        Operation::Firmware => {
            const {
                &[
                    must("url", URL, "where the charger downloads the firmware"),
                    may(
                        "retrieve_at",
                        Kind::Time,
                        "when it downloads; default: at once",
                    ),
                    may(
                        "install_at",
                        Kind::Time,
                        "when it installs (1.6: only with a signature)",
                    ),
                    may(
                        "signing_certificate",
                        Kind::Text(5_500),
                        "the certificate of the signature, as PEM",
                    ),
                    may("signature", Kind::Text(800), "the signature, as Base64"),
                    RETRIES,
                    RETRY_INTERVAL,
                ]
            }
        }
        Operation::DataTransfer => {
            const {
                &[
                    must("vendor_id", Kind::Text(255), "the vendor"),
                    may("message_id", Kind::Text(50), "the message of the vendor"),
                    may(
                        "data",
                        Kind::Any,
                        "the data: a text in 1.6, any JSON value in 2.x",
                    ),
                ]
            }
        }
        Operation::ClearCache => const { &[] },
        Operation::Configuration => {
            const {
                &[
                    may(
                        "read",
                        Kind::Texts(500),
                        "names to read. 1.6: keys; an empty list reads all. 2.x: `Component.Variable`, with instances as `Component[instance].Variable[instance]`",
                    ),
                    may(
                        "write",
                        Kind::Pairs(500),
                        "names and their new values, which are texts; one name only in 1.6",
                    ),
                    may(
                        "attribute",
                        Kind::Choice(&["Actual", "Target", "MinSet", "MaxSet"]),
                        "which attribute of the variables (2.x); default `Actual`",
                    ),
                    may("evse", PLACE, "the EVSE of the components (2.x)"),
                ]
            }
        }
    }
}

/// Checks that each member is known and valid and that none is missing.
pub(super) fn check(fields: &[Field], members: &Map<String, Value>) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    check_at("", fields, members, &mut faults);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults),
    }
}

/// Faults that one answer lists at most.
const FAULTS_MAX: usize = 50;

fn check_at(at: &str, fields: &[Field], members: &Map<String, Value>, faults: &mut Vec<Fault>) {
    for name in members.keys() {
        if !fields.iter().any(|field| field.name == name) {
            let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
            let known = known.join(", ");
            faults.push(Fault::new(
                format!("{at}/{}", escaped(name)),
                format!("this member is not known; known here: {known}"),
            ));
        }
    }
    for field in fields {
        if faults.len() >= FAULTS_MAX {
            return;
        }
        let pointer = format!("{at}/{}", field.name);
        match members.get(field.name) {
            None if field.is_required => faults.push(Fault::new(
                pointer,
                format!("it is missing; give {}", field.kind.expected()),
            )),
            None => {}
            Some(value) => check_value(&pointer, field.kind, value, faults),
        }
    }
}

fn check_value(at: &str, kind: Kind, value: &Value, faults: &mut Vec<Fault>) {
    let has_length = |text: &str, min: usize, max: usize| {
        let chars = text.chars().count();
        (min..=max).contains(&chars)
    };
    let is_valid = match (kind, value) {
        (Kind::Text(max), Value::String(text)) => has_length(text, 1, max),
        (Kind::AnyText(max), Value::String(text)) => has_length(text, 0, max),
        (Kind::Integer(min, max), value) => value
            .as_i64()
            .is_some_and(|number| (min..=max).contains(&number)),
        (Kind::Number, value) => value.as_f64().is_some_and(|number| number >= 0.0),
        (Kind::Boolean, Value::Bool(_)) | (Kind::Object, Value::Object(_)) | (Kind::Any, _) => true,
        (Kind::Time, Value::String(text)) => {
            // A number would be read as milliseconds.
            text.contains('T') && parameters::time(text).is_some()
        }
        (Kind::Choice(choices), Value::String(text)) => choices.contains(&text.as_str()),
        (Kind::Texts(max), Value::Array(items)) => {
            items.len() <= max && items.iter().all(|item| item.is_string())
        }
        (Kind::Pairs(max), Value::Object(pairs)) => {
            (1..=max).contains(&pairs.len()) && pairs.values().all(Value::is_string)
        }
        (Kind::Entries(fields, max), Value::Array(items)) if items.len() <= max => {
            for (at_item, item) in items.iter().enumerate() {
                let at = format!("{at}/{at_item}");
                match item {
                    Value::Object(members) => check_at(&at, fields, members, faults),
                    _ => faults.push(Fault::new(at, "it must be a JSON object")),
                }
                if faults.len() >= FAULTS_MAX {
                    return;
                }
            }
            true
        }
        _ => false,
    };
    if !is_valid {
        let expected = kind.expected();
        faults.push(Fault::new(at, format!("it must be {expected}")));
    }
}

/// A name as a step of a JSON pointer, cut to a readable length.
fn escaped(name: &str) -> String {
    let short: String = name.chars().take(100).collect();
    short.replace('~', "~0").replace('/', "~1")
}

impl Kind {
    /// What is valid, in words.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Text(max) => format!("a text of 1 to {max} characters"),
            Self::AnyText(max) => format!("a text of at most {max} characters"),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Number => "a number that is not negative".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Time => "a time with its offset, such as 2026-01-31T12:00:00Z".to_owned(),
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
            Self::Texts(max) => format!("a list of at most {max} texts"),
            Self::Object => "a JSON object".to_owned(),
            Self::Any => "any JSON value".to_owned(),
            Self::Pairs(max) => format!("a JSON object of 1 to {max} texts"),
            Self::Entries(_, max) => format!("a list of at most {max} JSON objects"),
        }
    }

    /// Its JSON Schema (draft 2020-12).
    #[must_use]
    pub fn schema(self) -> Value {
        match self {
            Self::Text(max) => json!({"type": "string", "minLength": 1, "maxLength": max}),
            Self::AnyText(max) => json!({"type": "string", "maxLength": max}),
            Self::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
            Self::Number => json!({"type": "number", "minimum": 0}),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Time => json!({"type": "string", "format": "date-time"}),
            Self::Choice(choices) => json!({"type": "string", "enum": choices}),
            Self::Texts(max) => {
                json!({"type": "array", "items": {"type": "string"}, "maxItems": max})
            }
            Self::Object => json!({"type": "object"}),
            Self::Any => json!({}),
            Self::Pairs(max) => json!({
                "type": "object",
                "additionalProperties": {"type": "string"},
                "minProperties": 1,
                "maxProperties": max,
            }),
            Self::Entries(fields, max) => {
                json!({"type": "array", "items": schema(fields), "maxItems": max})
            }
        }
    }
}

/// The JSON Schema (draft 2020-12) of an object with these members.
#[must_use]
pub fn schema(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = field.kind.schema();
        schema["description"] = json!(field.about);
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.is_required)
        .map(|field| field.name)
        .collect();
    let mut schema =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The members of a valid body, as a translation reads them, and what the version cannot express.
pub(super) struct Members<'a> {
    members: &'a Map<String, Value>,
    pub(super) version: Version,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Members<'a> {
    pub(super) const fn new(members: &'a Map<String, Value>, version: Version) -> Self {
        Self {
            members,
            version,
            faults: Vec::new(),
        }
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).and_then(Value::as_str)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.value(name).and_then(Value::as_i64)
    }

    /// The time as OCPP writes it.
    pub(super) fn time(&self, name: &str) -> Option<String> {
        let at = self.text(name).and_then(parameters::time);
        at.map(|at: Timestamp| at.to_string())
    }

    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(format!("/{name}"), detail));
    }

    /// Refuses a member that the version cannot express.
    pub(super) fn refuse(&mut self, name: &str, instead: &str) {
        if self.members.contains_key(name) {
            let detail = format!("OCPP {} cannot express it; {instead}", self.version);
            self.fault(name, detail);
        }
    }
}

/// An object of the members that are there.
pub(super) fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let present = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect())
}

/// The member of the body that the value at `path` of the payload comes from; empty if it comes from none.
pub(super) fn origin(members: &Map<String, Value>, payload: &Value, path: &str) -> String {
    let mut inner = path;
    loop {
        if let Some(value) = payload.pointer(inner)
            && let Some(found) = find(members, value)
        {
            return format!("{found}{}", &path[inner.len()..]);
        }
        match inner.rfind('/') {
            Some(at) if at > 0 => inner = &inner[..at],
            _ => return String::new(),
        }
    }
}

/// The place of an equal value in the body.
fn find(members: &Map<String, Value>, wanted: &Value) -> Option<String> {
    members.iter().find_map(|(name, value)| {
        let at = format!("/{}", escaped(name));
        if value == wanted {
            return Some(at);
        }
        match value {
            Value::Object(inner) => find(inner, wanted).map(|rest| at + &rest),
            Value::Array(items) => items.iter().enumerate().find_map(|(place, item)| {
                if item == wanted {
                    return Some(format!("{at}/{place}"));
                }
                let rest = find(item.as_object()?, wanted)?;
                Some(format!("{at}/{place}{rest}"))
            }),
            _ => None,
        }
    })
}
