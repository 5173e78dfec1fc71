//! Payloads without the secrets in them.
//!
//! Some commands carry a password to the charger. Whoever may read commands and messages need not know it, so the views
//! of the API and of the command line show `***` in its place. What is stored and exported keeps every byte, because a
//! replay needs it.

use serde_json::Value;

/// What is shown in place of a secret.
pub const HIDDEN: &str = "***";

/// A name with one of these parts names a secret; in small letters. The keys of 1.6, the variables and members of 2.x.
const SECRET_PARTS: [&str; 10] = [
    "authorizationkey",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "privatekey",
    "presharedkey",
    "simpin",
    "vpnkey",
    "vpn.key",
];

/// Members that have the value of the key or variable that the same object names:
/// `ChangeConfiguration` and `GetConfiguration` (1.6); `SetVariables` and `GetVariables`; `NotifyEvent`; `NotifyReport` (2.x).
const VALUES: [&str; 4] = [
    "value",
    "attributeValue",
    "actualValue",
    "variableAttribute",
];

/// Members with the address of a file or of a central system. Its query can be a signature:
/// `GetDiagnostics`, `UpdateFirmware`, `SignedUpdateFirmware`, `PublishFirmware`; `GetLog`; `SetNetworkProfile`; operations.
const ADDRESSES: [&str; 4] = ["location", "remoteLocation", "ocppCsmsUrl", "url"];

/// A payload in which secrets are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// The payload with [`HIDDEN`] in place of each secret. Its members are sorted by name.
    pub payload: String,
    /// What was hidden.
    secrets: Vec<String>,
}

impl Redacted {
    /// A text about the payload, such as an error, without the secrets of the payload.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        let long = self.secrets.iter().filter(|secret| secret.len() >= 4);
        long.fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

/// The payload of a call or an answer without passwords, keys and the credentials of URLs, in any version of OCPP;
/// `None` if it has none. What is not JSON but names a secret is hidden as a whole.
#[must_use]
pub fn redacted(payload: &str) -> Option<Redacted> {
    let has_url = payload.contains("://") || payload.contains('@');
    if !has_url && !payload.contains('\\') && !is_secret(payload) && !payload.contains("vpn") {
        return None;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(payload) else {
        return is_secret(payload).then(|| Redacted {
            payload: format!("\"{HIDDEN}\""),
            secrets: Vec::new(),
        });
    };
    let secrets = hide(&mut value);
    (!secrets.is_empty()).then(|| Redacted {
        payload: value.to_string(),
        secrets,
    })
}

/// Hides the secrets in a payload, and returns them.
pub fn hide(value: &mut Value) -> Vec<String> {
    let mut secrets = Vec::new();
    walk(value, &mut secrets);
    secrets
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
}

fn walk(value: &mut Value, secrets: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, secrets)),
        Value::String(text) => {
            let shown = match text.starts_with(['{', '[']) {
                // The data of a DataTransfer of 1.6 is a text, often one of JSON.
                true => redacted(text).map(|inner| (inner.payload, inner.secrets)),
                false => None,
            };
            if let Some((shown, found)) = shown {
                *text = shown;
                secrets.extend(found);
            } else if let Some(shown) = without_credentials(text) {
                secrets.push(std::mem::replace(text, shown));
            }
        }
        Value::Object(members) => {
            let name = members.get("key").or_else(|| members.get("variable"));
            let name = name.map(|name| name.get("name").unwrap_or(name));
            let names_secret = name.and_then(Value::as_str).is_some_and(is_secret);
            for (name, member) in members {
                let is_value = names_secret && VALUES.contains(&name.as_str());
                if is_value && name == "variableAttribute" {
                    for attribute in member.as_array_mut().into_iter().flatten() {
                        if let Some(value) = attribute.get_mut("value") {
                            replace(value, secrets);
                        }
                    }
                } else if is_value || (is_secret(name) && !member.is_object() && !member.is_array())
                {
                    replace(member, secrets);
                } else if name == "vpn" && member.get("key").is_some() {
                    replace(&mut member["key"], secrets);
                    walk(member, secrets);
                } else if let (true, Value::String(text)) =
                    (ADDRESSES.contains(&name.as_str()), &mut *member)
                {
                    let shown = shown_address(text);
                    if shown != *text {
                        secrets.push(std::mem::replace(text, shown));
                    }
                } else {
                    walk(member, secrets);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn replace(value: &mut Value, secrets: &mut Vec<String>) {
    let secret = match &*value {
        Value::Null | Value::Bool(_) => return,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if secret != HIDDEN {
        secrets.push(secret);
        *value = Value::from(HIDDEN);
    }
}

/// The parts of an address.
pub(crate) struct Address<'a> {
    /// With `://`; empty if there is none.
    pub(crate) scheme: &'a str,
    /// User and password.
    credentials: Option<&'a str>,
    /// Host, port and path.
    pub(crate) place: &'a str,
    /// Query and fragment with their sign; empty if there are none.
    query: &'a str,
}

impl<'a> Address<'a> {
    pub(crate) fn read(address: &'a str) -> Self {
        let start = address.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = address.split_at(start);
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        // A password may contain these signs although it must not: then what follows `:` is no port.
        let is_port = port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit());
        let at = match authority.rfind('@') {
            None if !is_port && after.contains('@') => rest.rfind('@'),
            at => at,
        };
        let (credentials, rest) = match at {
            Some(at) => (rest.get(..at), rest.get(at + 1..).unwrap_or_default()),
            None => (None, rest),
        };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (place, query) = rest.split_at(end);
        Self {
            scheme,
            credentials,
            place,
            query,
        }
    }

    /// The credentials with the password hidden; all of them if there is only a user, who can be a token.
    fn shown_credentials(&self) -> String {
        match self.credentials {
            None => String::new(),
            Some(credentials) => match credentials.split_once(':') {
                Some((user, _)) => format!("{user}:{HIDDEN}@"),
                None => format!("{HIDDEN}@"),
            },
        }
    }
}

fn shown_address(address: &str) -> String {
    let read = Address::read(address);
    let query = match read.query {
        "" => "",
        _ => "?***",
    };
    let credentials = read.shown_credentials();
    format!("{}{credentials}{}{query}", read.scheme, read.place)
}

/// A text without the passwords of the URLs in it; `None` if it has none.
fn without_credentials(text: &str) -> Option<String> {
    let mut shown = String::new();
    for word in text.split_inclusive(|sign: char| sign.is_whitespace() || sign == ',') {
        let read = Address::read(word);
        if read.scheme.is_empty() || read.credentials.is_none() {
            shown.push_str(word);
        } else {
            let credentials = read.shown_credentials();
            shown.push_str(&format!(
                "{}{credentials}{}{}",
                read.scheme, read.place, read.query
            ));
        }
    }
    (shown != text).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-value";

    #[test]
    fn the_secrets_of_each_action_are_hidden_and_the_rest_is_shown() {
        for (action, payload) in [
            (
                "1.6 ChangeConfiguration",
                r#"{"key":"AUTHORIZATIONKEY","value":"§"}"#,
            ),
            (
                "1.6 ChangeConfiguration",
                r#"{"key":"VendorApnPassword","value":"§"}"#,
            ),
            (
                "1.6 ChangeConfiguration",
                r#"{"key":"CentralSystemUrl","value":"wss://u:§@h/ocpp"}"#,
            ),
            (
                "1.6 GetConfiguration, answer",
                r#"{"configurationKey":[{"key":"AuthorizationKey","readonly":false,"value":"§"}]}"#,
            ),
            (
                "1.6 UpdateFirmware",
                r#"{"location":"ftp://u:§@h/f.bin","retrieveDate":"2026-01-01T00:00:00Z"}"#,
            ),
            (
                "1.6 GetDiagnostics",
                r#"{"location":"https://h/x?signature=§"}"#,
            ),
            ("1.6 GetDiagnostics", r#"{"location":"u:§@h/x"}"#),
            (
                "1.6 GetLog",
                r#"{"log":{"remoteLocation":"sftp:\/\/u:§@h/x"}}"#,
            ),
            (
                "1.6 DataTransfer",
                r#"{"vendorId":"v","data":"{\"password\":\"§\"}"}"#,
            ),
            (
                "2.x SetVariables",
                r#"{"setVariableData":[{"attributeValue":"§","component":{"name":"SecurityCtrlr"},"variable":{"name":"basicAuthPassword"}}]}"#,
            ),
            (
                "2.x GetVariables, answer",
                r#"{"getVariableResult":[{"attributeValue":"§","component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"}}]}"#,
            ),
            (
                "2.x NotifyReport",
                r#"{"reportData":[{"component":{"name":"SecurityCtrlr"},"variable":{"name":"BasicAuthPassword"},"variableAttribute":[{"value":"§"}]}]}"#,
            ),
            (
                "2.x NotifyEvent",
                r#"{"eventData":[{"actualValue":"§","variable":{"name":"BasicAuthPassword"}}]}"#,
            ),
            (
                "2.1 SetNetworkProfile",
                r#"{"connectionData":{"basicAuthPassword":"§","ocppCsmsUrl":"wss://h"}}"#,
            ),
            (
                "2.x SetNetworkProfile",
                r#"{"connectionData":{"apn":{"apn":"a","apnPassword":"§","simPin":4711}}}"#,
            ),
            (
                "2.x SetNetworkProfile",
                r#"{"connectionData":{"vpn":{"key":"§","password":"§","user":"u"}}}"#,
            ),
            (
                "2.x UpdateFirmware",
                r#"{"firmware":{"location":"https://u:a/§@h/f"}}"#,
            ),
            ("2.x PublishFirmware", r#"{"location":"https://§@h/f"}"#),
            (
                "operation configuration",
                r#"{"write":{"SecurityCtrlr.BasicAuthPassword":"§"}}"#,
            ),
            (
                "operation diagnostics",
                r#"{"url":"ftp://u:§@h/x","kind":"security"}"#,
            ),
            ("not JSON", r#"{"key":"AuthorizationKey","value":"§""#),
        ] {
            let payload = payload.replace('§', SECRET);
            let shown = redacted(&payload).unwrap_or_else(|| panic!("{action}: {payload}"));
            assert!(
                !shown.payload.contains(SECRET),
                "{action}: {}",
                shown.payload
            );
            assert!(!shown.payload.contains("4711"), "{action}");
            assert!(shown.payload.contains(HIDDEN), "{action}");
            assert_eq!(redacted(&shown.payload).map(|again| again.payload), None);
        }
    }

    #[test]
    fn a_payload_without_a_secret_is_not_changed() {
        for payload in [
            r#"{"type":"Soft"}"#,
            r#"{"key":"HeartbeatInterval","value":"60"}"#,
            r#"{"key":["AuthorizationKey"]}"#,
            r#"{"location":"https://h.example:8443/x@y"}"#,
            r#"{"configurationKey":[{"key":"AuthorizationKey","readonly":false}]}"#,
            r#"{"certificateType":"CSMSRootCertificate","certificate":"a\nb"}"#,
            "",
            "not JSON",
        ] {
            assert_eq!(redacted(payload), None, "{payload}");
        }
    }

    #[test]
    fn an_error_that_repeats_a_secret_is_shown_without_it() {
        let shown = redacted(r#"{"key":"AuthorizationKey","value":"0123456789abcdef"}"#);
        let shown = shown.expect("a secret");
        let error = r#"["FormatViolation","0123456789abcdef is too short",{}]"#;
        assert_eq!(
            shown.hide_in(error),
            r#"["FormatViolation","*** is too short",{}]"#
        );
        assert_eq!(shown.payload, r#"{"key":"AuthorizationKey","value":"***"}"#);
    }
}
