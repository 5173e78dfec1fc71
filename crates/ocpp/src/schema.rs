//! JSON Schema (draft 2020-12) of payloads, for forms and for clients that check before they send.
//!
//! The official schemas are draft-04 and draft-06 and cannot be embedded in an OpenAPI 3.1 document. These are made from
//! the facts in the generated tables, so they and [`crate::check`] cannot differ: a test compares their verdicts.

use crate::Version;
use crate::action::ActionInfo;
use crate::check::shape::{Format, Object, Shape};
use serde_json::{Map, Value, json};

/// The dialect of the schemas.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of the payload of a request.
#[must_use]
pub fn request(version: Version, info: &ActionInfo) -> Value {
    document(version, &format!("{} request", info.name), info.request)
}

/// The schema of the payload of a response; `None` for a SEND, which has no response (F-3).
#[must_use]
pub fn response(version: Version, info: &ActionInfo) -> Option<Value> {
    let object = info.response?;
    Some(document(
        version,
        &format!("{} response", info.name),
        object,
    ))
}

fn document(version: Version, title: &str, object: &Object) -> Value {
    let mut schema = of_object(object);
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".to_owned(), json!(DIALECT));
        members.insert("title".to_owned(), json!(format!("OCPP {version} {title}")));
    }
    schema
}

fn of_object(object: &Object) -> Value {
    let members = object.members.iter();
    let properties: Map<String, Value> = members
        .map(|member| (member.name.to_owned(), of_shape(&member.shape)))
        .collect();
    let required: Vec<&str> = object
        .members
        .iter()
        .filter(|member| member.required)
        .map(|member| member.name)
        .collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !object.open {
        schema["additionalProperties"] = json!(false);
    }
    schema
}

fn of_shape(shape: &Shape) -> Value {
    match *shape {
        Shape::Any => json!({}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Integer { min, max, .. } => {
            let mut schema = json!({"type": "integer"});
            if min != i64::MIN {
                schema["minimum"] = json!(min);
            }
            if max != i64::MAX {
                schema["maximum"] = json!(max);
            }
            schema
        }
        Shape::Number { min, max, tenths } => {
            let mut schema = json!({"type": "number"});
            if min.is_finite() {
                schema["minimum"] = json!(min);
            }
            if max.is_finite() {
                schema["maximum"] = json!(max);
            }
            if tenths {
                schema["multipleOf"] = json!(0.1);
            }
            schema
        }
        Shape::Text { chars_max, format } => {
            let mut schema = json!({"type": "string"});
            if chars_max != u32::MAX {
                schema["maxLength"] = json!(chars_max);
            }
            match format {
                Format::Free => {}
                Format::DateTime16 | Format::DateTime2 => schema["format"] = json!("date-time"),
                Format::Uri => schema["format"] = json!("uri"),
            }
            schema
        }
        Shape::Choice(values) => json!({"type": "string", "enum": values}),
        Shape::List {
            item,
            items_min,
            items_max,
        } => {
            let mut schema = json!({"type": "array", "items": of_shape(item)});
            if items_min > 0 {
                schema["minItems"] = json!(items_min);
            }
            if items_max != u32::MAX {
                schema["maxItems"] = json!(items_max);
            }
            schema
        }
        Shape::Object(object) => of_object(object),
    }
}
