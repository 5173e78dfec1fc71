//! All settings without their secrets, for the support bundle.

use super::{Settings, without_password};
use serde_json::Value;

/// What is in the place of a secret.
const HIDDEN: &str = "…";

impl Settings {
    /// The settings as JSON, in the form of the settings' file. URLs are without passwords and queries, and a setting whose
    /// name says that it is a secret has `…` for its value.
    pub(crate) fn without_secrets(&self) -> Value {
        // Numbers, texts, lists and tables with names are what the settings have, and JSON has all of them.
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        hide(&mut value);
        value
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("://") || text.contains('@') => {
            *text = without_password(text);
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(members) => {
            for (name, member) in members {
                match is_secret(name) && !is_empty(member) {
                    true => *member = Value::from(HIDDEN),
                    false => hide(member),
                }
            }
        }
        _ => {}
    }
}

/// Whether a setting of this name is a secret. The path of a file with a secret is none.
fn is_secret(name: &str) -> bool {
    let is_path = ["_file", "_path", "_dir"]
        .iter()
        .any(|end| name.ends_with(end));
    let says_so = ["password", "secret", "credential"]
        .iter()
        .any(|word| name.contains(word));
    !is_path && (says_so || name == "key" || name.ends_with("_key"))
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(_) | Value::Number(_)) || *value == ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_secret_of_a_setting_is_shown() {
        let mut settings = Settings::default();
        settings.database.url = "postgres://u:Xq1secret@h/db?password=Xq2secret".to_owned();
        settings.broker.url = "amqp://u:Xq3secret@h:1/v,amqps://u:Xq4secret@i/v".to_owned();
        let shown = settings.without_secrets();
        assert!(!shown.to_string().contains("secret"), "{shown}");
        assert_eq!(shown["database"]["url"], "postgres://u:…@h/db?…");
        assert_eq!(
            shown["journal"]["segment_bytes"],
            json!(settings.journal.segment_bytes)
        );
    }

    #[test]
    fn a_setting_whose_name_says_that_it_is_a_secret_is_hidden_at_any_depth() {
        let mut value = json!({"mail": [{"smtp_password": "x", "password_file": "/p", "api_key": "y", "password_attempts_max": 3, "secret": ""}]});
        hide(&mut value);
        let expected = json!({"mail": [{"smtp_password": "…", "password_file": "/p", "api_key": "…", "password_attempts_max": 3, "secret": ""}]});
        assert_eq!(value, expected);
    }
}
