//! Compares answers with the OpenAPI document.

use super::client::Answer;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// Panics if a documented route answers with a status, a media type or a body that the document does not describe.
pub(crate) fn check_against_openapi(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap_or_default();
    let Some((template, methods)) = described(path) else {
        return;
    };
    let method = match method {
        "HEAD" => "get".to_owned(),
        other => other.to_ascii_lowercase(),
    };
    // A process without a store has only some of the routes.
    if answer.status == 404 && answer.body.contains(r#""code":"not_found""#) {
        return;
    }
    let operation = &methods[&method];
    if operation.is_null() {
        assert_eq!(answer.status, 405, "{method} {target} is not documented");
        return;
    }
    let response = &operation["responses"][answer.status.to_string()];
    assert!(
        response.is_object(),
        "{method} {template}: the status {} is not documented: {}",
        answer.status,
        answer.body
    );
    let media = answer.header("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default();
    let content = &response["content"][media];
    assert!(
        answer.body.is_empty() || content.is_object(),
        "{method} {template}: the media type {media} is not documented"
    );
    // With `fields`, members that the schema requires are left out.
    let is_whole = !target.contains("fields=") || answer.status != 200;
    if !media.ends_with("ndjson") && media.ends_with("json") && is_whole && !answer.body.is_empty()
    {
        check_value(&content["schema"], &answer.value(), target);
    }
}

/// Panics if the value is not one of this schema, or has a member that the schema does not have.
pub(crate) fn check_value(schema: &Value, value: &Value, what: &str) {
    let mut root = schema.clone();
    root["components"] = strict_components().clone();
    let validator: Validator = jsonschema::draft202012::new(&root).expect("a schema");
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(
        faults.is_empty(),
        "{what} is not as crates/api/src/schema/ describes it: {faults:#?}\n{value:#}"
    );
}

/// The path of the document that this path has, and its operations.
fn described(path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = api::openapi()["paths"].as_object().expect("paths");
    let segments: Vec<&str> = path.split('/').collect();
    paths.iter().find_map(|(template, methods)| {
        let parts: Vec<&str> = template.split('/').collect();
        let fits = parts.len() == segments.len()
            && parts.iter().zip(&segments).all(|(part, segment)| {
                part == segment || (part.starts_with('{') && !segment.is_empty())
            });
        fits.then_some((template.as_str(), methods))
    })
}

/// The schemas, which here refuse members that they do not name.
fn strict_components() -> &'static Value {
    static STRICT: OnceLock<Value> = OnceLock::new();
    STRICT.get_or_init(|| {
        let mut components = api::openapi()["components"].clone();
        // A schema that is a part of another one cannot know the other's members.
        let text = components.to_string();
        let schemas = components["schemas"].as_object_mut().expect("schemas");
        for (name, schema) in schemas {
            let is_part = text.contains(&format!(
                "\"allOf\":[{{\"$ref\":\"#/components/schemas/{name}\"}}"
            ));
            if schema["allOf"].is_array() {
                schema["unevaluatedProperties"] = json!(false);
            } else if schema["properties"].is_object() && !is_part {
                schema["additionalProperties"] = json!(false);
            }
        }
        components
    })
}
