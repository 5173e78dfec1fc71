//! Settings without their secrets, for the support bundle, `wattpost check --show` and errors.

use super::Settings;
use super::url::{HIDDEN, without_password};
use anyhow::{Context, Result};
use figment::error::{Actual, Kind};
use serde_json::Value;

/// Settings with addresses of mail, which are no credentials although they have an `@`.
const MAIL_ADDRESSES: [&str; 2] = ["from", "to"];

impl Settings {
    /// The settings as JSON, in the form of the settings' file. URLs are without passwords and queries, a setting whose name
    /// says that it is a secret has `…` for its value, and so have addresses of mail.
    pub(crate) fn without_secrets(&self) -> Value {
        // Numbers, texts, lists and tables with names are what the settings have, and JSON has all of them.
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        hide(&mut value, &[]);
        value
    }

    /// The settings as TOML, as [`Settings::without_secrets`] but with addresses of mail.
    ///
    /// # Errors
    /// When the settings cannot be written as TOML.
    pub(crate) fn shown(&self) -> Result<String> {
        const WHAT: &str = "write the settings as TOML";
        let mut value = serde_json::to_value(self).context(WHAT)?;
        hide(&mut value, &MAIL_ADDRESSES);
        let settings: Self = serde_json::from_value(value).context(WHAT)?;
        toml::to_string(&settings).context(WHAT)
    }
}

/// The value of the setting `key`, such as `database.url`, for an error about it.
pub(super) fn shown_value(key: &str, mut value: Value) -> Value {
    // A text in the place of a section may be the URL that belongs into it, in any form.
    let is_in_place_of_section = value.is_string() && is_section(key);
    match is_in_place_of_section || key.split('.').any(is_secret) {
        true => Value::from(HIDDEN),
        false => {
            hide_member(key.rsplit('.').next().unwrap_or_default(), &mut value, &[]);
            value
        }
    }
}

fn is_section(key: &str) -> bool {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    defaults
        .pointer(&format!("/{}", key.replace('.', "/")))
        .is_some_and(Value::is_object)
}

/// What is wrong with the value of the setting `key`. Some errors repeat the value, or the line of the file that cannot be
/// read; they are shown without what may be a secret.
pub(super) fn shown_kind(key: &str, kind: &Kind) -> String {
    let without =
        |actual: &Actual| match (actual, shown_value(key, Value::from(actual_text(actual)))) {
            (Actual::Str(_) | Actual::Other(_), Value::String(shown)) => Actual::Str(shown),
            _ => actual.clone(),
        };
    match kind {
        Kind::InvalidType(actual, expected) => {
            Kind::InvalidType(without(actual), expected.clone()).to_string()
        }
        Kind::InvalidValue(actual, expected) => {
            Kind::InvalidValue(without(actual), expected.clone()).to_string()
        }
        Kind::Message(message) => without_quoted_lines(message),
        other => other.to_string(),
    }
}

fn actual_text(actual: &Actual) -> &str {
    match actual {
        Actual::Str(text) | Actual::Other(text) => text,
        _ => "",
    }
}

/// A message of the TOML parser, in which the lines `12 | url = "…` of the file have only the name of the setting.
fn without_quoted_lines(message: &str) -> String {
    let lines = message.lines().map(|line| {
        let Some((number, quoted)) = line.split_once('|') else {
            return line.to_owned();
        };
        let is_number = number.trim().bytes().all(|sign| sign.is_ascii_digit());
        if !is_number || number.trim().is_empty() {
            return line.to_owned();
        }
        match quoted.split_once('=') {
            Some((name, _)) if !name.contains(['"', '\'', '@', ':']) => {
                format!("{number}|{name}= {HIDDEN}")
            }
            _ => format!("{number}| {HIDDEN}"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn hide(value: &mut Value, kept: &[&str]) {
    match value {
        Value::String(text) if text.contains("://") || text.contains('@') => {
            *text = without_password(text);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, kept)),
        Value::Object(members) => {
            for (name, member) in members {
                hide_member(name, member, kept);
            }
        }
        _ => {}
    }
}

fn hide_member(name: &str, member: &mut Value, kept: &[&str]) {
    match member {
        member if is_secret(name) => hide_all(member),
        Value::String(text) if name == "url" => *text = without_password(text),
        member if !kept.contains(&name) => hide(member, kept),
        _ => {}
    }
}

/// Hides each text in the value of a secret.
fn hide_all(value: &mut Value) {
    match value {
        Value::String(text) if !text.is_empty() => *text = HIDDEN.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(hide_all),
        Value::Object(members) => members.values_mut().for_each(hide_all),
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

#[cfg(test)]
mod tests {
    use super::super::Overrides;
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
    fn settings_are_shown_with_addresses_of_mail_and_without_passwords() {
        let mut settings = Settings::default();
        settings.database.url = "postgres://u:Xq1secret@h/db?password=Xq2secret".to_owned();
        settings.broker.url = "amqp://u:Xq3%40secret@h:1/%2f".to_owned();
        settings.alerts.mail.password = "Xq5secret".to_owned();
        settings.alerts.mail.server = "smtp://u:Xq6secret@h".to_owned();
        settings.alerts.mail.to = vec!["a@example.com".to_owned()];
        let shown = settings.shown().unwrap();
        assert!(
            !shown.contains("secret@") && !shown.contains("Xq"),
            "{shown}"
        );
        for line in [
            "url = \"postgres://u:…@h/db?…\"",
            "url = \"amqp://u:…@h:1/%2f\"",
            "password = \"…\"",
            "to = [\"a@example.com\"]",
        ] {
            assert!(shown.contains(line), "{shown} does not contain {line}");
        }
        let default = Settings::default();
        assert_eq!(default.shown().unwrap(), toml::to_string(&default).unwrap());
    }

    #[test]
    fn an_error_about_a_setting_repeats_no_secret() {
        for text in [
            "database = \"postgres://u:Xq1secret@h/db\"",
            "database = \"host=h password=Xq1secret\"",
            "alerts.mail = \"Xq1secret\"",
            "[database]\nurl = [\"postgres://u:Xq1secret@h/db\"]",
            "[database]\nurl = \"host=h password=Xq1secret\"",
            "[database]\nurl = \"postgres://u:Xq1secret@h/db",
            "[database]\nurl = postgres://u:Xq1secret@h/db",
            "postgres://u:Xq1secret@h/db",
            "[database]\npasword = \"Xq1secret\"",
            "[database]\n\"u:Xq1secret\" =",
            "[database]\nconnections_max = \"postgres://u:Xq1secret@h/db\"",
            "[alerts.mail]\npassword = [\"Xq1secret\"]",
            "[alerts.mail]\npassword = {of = \"Xq1secret\"}",
            "[alerts.mail]\npassword = \"Xq1secret",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("wattpost.toml");
            std::fs::write(&file, text).unwrap();
            let error = Settings::load(Some(&file), Overrides::default()).unwrap_err();
            let said = format!("{error:#}");
            assert!(
                !said.contains("secret") && !said.contains("Xq1"),
                "{text}: {said}"
            );
        }
    }

    #[test]
    fn a_setting_whose_name_says_that_it_is_a_secret_is_hidden_at_any_depth() {
        let mut value = json!({"mail": [{"smtp_password": "x", "password_file": "/p", "api_key": "y", "password_attempts_max": 3, "secret": ""}]});
        hide(&mut value, &[]);
        let expected = json!({"mail": [{"smtp_password": "…", "password_file": "/p", "api_key": "…", "password_attempts_max": 3, "secret": ""}]});
        assert_eq!(value, expected);
    }
}
