//! The page `/docs`: the OpenAPI document and the kinds of errors as one page of HTML, without scripts and without
//! anything that a browser would load from elsewhere.

use crate::error::KINDS;
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color-scheme:light dark}code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{overflow-x:auto;padding:.75rem;\
border:1px solid #8886;border-radius:.4rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;\
vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}h2{margin-top:2.5rem}\
h3{margin-top:2rem}:target{outline:2px solid}";

/// The page.
pub(crate) fn html(document: &Value) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut page, document);
    page
}

fn write(page: &mut String, document: &Value) -> std::fmt::Result {
    let version = escaped(text(&document["info"]["version"]));
    write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Wattpost API</title><style>{STYLE}</style><h1>Wattpost API {version}</h1><p>{}</p>\
         <p>This page is made from <a href=\"/api/openapi.json\">/api/openapi.json</a> (OpenAPI 3.1). A request has \
         its key in <code>Authorization: Bearer wp_live_…</code>.</p><h2>Routes</h2>",
        escaped(text(&document["info"]["description"]))
    )?;
    for (path, methods) in members(&document["paths"]) {
        for (method, operation) in members(methods) {
            write_operation(page, path, method, operation)?;
        }
    }
    page.push_str("<h2>Objects</h2>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        write!(
            page,
            "<h3 id=\"schema-{0}\">{0}</h3><p>{1}</p>",
            escaped(name),
            escaped(text(&schema["description"]))
        )?;
        write_members(page, schema)?;
    }
    page.push_str(
        "<h2>Errors</h2><p>Every error is <code>application/problem+json</code> (RFC 9457), a \
         <a href=\"#schema-Problem\">Problem</a>.</p>\
         <table><tr><th>status<th>code<th>when",
    );
    for kind in KINDS {
        write!(
            page,
            "<tr id=\"{0}\"><td>{1}<td><code>{0}</code><td>{2}",
            kind.code,
            kind.status.as_u16(),
            escaped(kind.when)
        )?;
    }
    page.push_str("</table></html>\n");
    Ok(())
}

fn write_operation(
    page: &mut String,
    path: &str,
    method: &str,
    operation: &Value,
) -> std::fmt::Result {
    write!(
        page,
        "<h3><code>{} {}</code></h3><p>{}",
        method.to_uppercase(),
        escaped(path),
        escaped(text(&operation["summary"]))
    )?;
    if let Some(scope) = operation["x-scope"].as_str() {
        write!(page, " (scope <code>{}</code>)", escaped(scope))?;
    }
    page.push_str("</p>");
    let parameters = operation["parameters"].as_array();
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        page.push_str("<table><tr><th>parameter<th>in<th>meaning");
        for parameter in parameters {
            write!(
                page,
                "<tr><td><code>{}</code><td>{}<td>{}",
                escaped(text(&parameter["name"])),
                escaped(text(&parameter["in"])),
                escaped(text(&parameter["description"]))
            )?;
        }
        page.push_str("</table>");
    }
    page.push_str("<table><tr><th>status<th>answer");
    for (status, answer) in members(&operation["responses"]) {
        write!(
            page,
            "<tr><td>{}<td>{}",
            escaped(status),
            escaped(text(&answer["description"]))
        )?;
        // What an error is, is said once at the end: it would make the page half as long again.
        let contents = members(&answer["content"]);
        for (media, content) in contents.filter(|(media, _)| *media != "application/problem+json") {
            write!(page, " <code>{}</code>", escaped(media))?;
            if let Some(name) = reference(&content["schema"]) {
                write!(page, " <a href=\"#schema-{0}\">{0}</a>", escaped(name))?;
            }
        }
    }
    page.push_str("</table>");
    Ok(())
}

fn write_members(page: &mut String, schema: &Value) -> std::fmt::Result {
    let parts = schema["allOf"].as_array();
    let parts = parts.map_or_else(|| vec![schema], |parts| parts.iter().collect());
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("<code>{}</code>", escaped(text(value))))
            .collect();
        return write!(page, "<p>{}</p>", values.join(", "));
    }
    page.push_str("<table><tr><th>member<th>type<th>meaning");
    for part in parts {
        if let Some(name) = reference(part) {
            write!(
                page,
                "<tr><td colspan=3>the members of <a href=\"#schema-{0}\">{0}</a>",
                escaped(name)
            )?;
        }
        for (name, member) in members(&part["properties"]) {
            write!(
                page,
                "<tr><td><code>{}</code><td>{}<td>{}",
                escaped(name),
                kind(member),
                escaped(text(&member["description"]))
            )?;
        }
    }
    page.push_str("</table>");
    Ok(())
}

/// The type of a member as HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escaped(name));
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[several].as_array() {
            let parts: Vec<String> = parts.iter().map(kind).collect();
            return parts.join(" or ");
        }
    }
    let name = match &schema["type"] {
        Value::String(name) if name == "array" => return format!("[{}]", kind(&schema["items"])),
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().map(text).collect();
            names.join(" or ")
        }
        _ => "any".to_owned(),
    };
    match schema["format"].as_str() {
        Some(format) => format!("{} ({})", escaped(&name), escaped(format)),
        None => escaped(&name),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn reference(schema: &Value) -> Option<&str> {
    let reference = schema["$ref"].as_str()?;
    reference.strip_prefix("#/components/schemas/")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_escaped_and_errors_have_anchors() {
        let document = json!({"info": {"version": "1", "description": "<script>\"&"}, "paths": {},
            "components": {"schemas": {}}});
        let page = html(&document);
        assert!(page.contains("&lt;script&gt;&quot;&amp;") && !page.contains("<script"));
        for kind in KINDS {
            assert!(
                page.contains(&format!("id=\"{}\"", kind.code)),
                "{}",
                kind.code
            );
        }
        assert!(!page.contains("http://") && !page.contains("https://"));
    }
}
