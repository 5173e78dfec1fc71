//! What is checked in a request for a command: the same rules for the HTTP API and the command line.

use crate::Timestamp;
use crate::model::{Command, CommandId};
use crate::ports::{Idempotency, NewCommand};
use crate::query::parameters;
use ocpp::Version;
use ocpp::check::Violation;
use ocpp::json::Raw;

/// How long a request that does not wait may be queued: the time that a gateway needs to take it.
pub const FAIL_AFTER_MS: i64 = 5_000;
/// How long a request that waits is queued by default: one hour.
pub const WAIT_DEFAULT_MS: i64 = 3_600_000;
/// How long a request may be queued: 30 days.
pub const WAIT_MAX_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// The default time to answer, and its bounds.
pub const ANSWER_WITHIN_DEFAULT_MS: u32 = 30_000;
/// The shortest time to answer.
pub const ANSWER_WITHIN_MS_MIN: u32 = 1_000;
/// The longest time to answer: ten minutes.
pub const ANSWER_WITHIN_MS_MAX: u32 = 600_000;
/// The longest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// A request as a client makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRequest {
    /// The charger, in any letter case.
    pub charger_id: String,
    /// The action, in any letter case.
    pub action: String,
    /// The payload: a JSON object.
    pub payload: String,
    /// Whether it waits for a charger that is not connected.
    pub waits_when_offline: bool,
    /// Until when it waits; only for a request that waits.
    pub expires_at: Option<Timestamp>,
    /// How long the charger may take to answer.
    pub answer_within_ms: Option<u32>,
    /// Whether the payload is sent without a check against the schema, for firmware with members of its own. The action must
    /// still be one of the charger's version, and the payload a JSON object of the permitted length.
    pub skips_check: bool,
}

/// Why a request cannot be a command, whatever the charger is. Each names the member and its cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No charger has this identity.
    #[error("charger_id is empty; give the charger's identity")]
    NoCharger,
    /// OCPP has no such action, or only chargers send it.
    #[error(
        "action is {0:?}, which the central system cannot send in any version of OCPP; give one such as Reset or \
         GetConfiguration"
    )]
    Action(String),
    /// The payload is not a JSON object.
    #[error("payload is not a JSON object: {0}")]
    Payload(String),
    /// The payload is too long.
    #[error("payload has {0} bytes; it may have {PAYLOAD_BYTES_MAX}")]
    PayloadTooLarge(usize),
    /// The time to answer is out of bounds.
    #[error("answer_within_ms is {0}; give {ANSWER_WITHIN_MS_MIN} to {ANSWER_WITHIN_MS_MAX}")]
    AnswerWithin(u32),
    /// The expiry is not in the future, or too far away.
    #[error("expires_at is {0}; give a time in the next 30 days")]
    ExpiresAt(Timestamp),
    /// The charger's version does not have the action.
    #[error("OCPP {version}, which the charger speaks, has no command {action}")]
    NotSupported {
        /// The charger's version.
        version: Version,
        /// The action.
        action: &'static str,
    },
    /// The payload breaks the schema of the charger's version.
    #[error("payload breaks the schema of {action} in OCPP {version}, which the charger speaks: {}", joined(.violations))]
    Violates {
        /// The charger's version.
        version: Version,
        /// The action.
        action: &'static str,
        /// Each place, at most [`VIOLATIONS_MAX`](ocpp::check::VIOLATIONS_MAX).
        violations: Vec<Violation>,
    },
    /// A request that does not wait has no expiry.
    #[error(
        "expires_at is given, but the request does not wait; leave it out, or set when_offline to wait"
    )]
    ExpiresWithoutWaiting,
}

impl RequestError {
    /// The JSON pointer of the member of the request (RFC 6901).
    #[must_use]
    pub const fn pointer(&self) -> &'static str {
        match self {
            Self::NoCharger => "",
            Self::Action(_) | Self::NotSupported { .. } => "/action",
            Self::Payload(_) | Self::PayloadTooLarge(_) | Self::Violates { .. } => "/payload",
            Self::AnswerWithin(_) => "/answer_within_ms",
            Self::ExpiresAt(_) | Self::ExpiresWithoutWaiting => "/expires_at",
        }
    }
}

fn joined(violations: &[Violation]) -> String {
    let words: Vec<String> = violations.iter().map(Violation::to_string).collect();
    words.join("; ")
}

impl CommandRequest {
    /// The command to be stored. With the charger's version the payload is checked against that version's schema, unless the
    /// request skips that. Without it, the gateway checks when it sends, and what does not conform is not sent.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn accept(
        &self,
        id: CommandId,
        requested_by: &str,
        version: Option<Version>,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<NewCommand, RequestError> {
        if self.charger_id.is_empty() {
            return Err(RequestError::NoCharger);
        }
        let action = parameters::action(&self.action)
            .filter(|action| can_be_sent(action))
            .ok_or_else(|| RequestError::Action(self.action.clone()))?;
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(RequestError::PayloadTooLarge(self.payload.len()));
        }
        let payload = compact_object(&self.payload)?;
        let answer_within_ms = self.answer_within_ms.unwrap_or(ANSWER_WITHIN_DEFAULT_MS);
        if !(ANSWER_WITHIN_MS_MIN..=ANSWER_WITHIN_MS_MAX).contains(&answer_within_ms) {
            return Err(RequestError::AnswerWithin(answer_within_ms));
        }
        let send_before = match (self.waits_when_offline, self.expires_at) {
            (false, Some(_)) => return Err(RequestError::ExpiresWithoutWaiting),
            (false, None) => now.plus_millis(FAIL_AFTER_MS),
            (true, None) => now.plus_millis(WAIT_DEFAULT_MS),
            (true, Some(at)) if at > now && at <= now.plus_millis(WAIT_MAX_MS) => at,
            (true, Some(at)) => return Err(RequestError::ExpiresAt(at)),
        };
        if let Some(version) = version {
            check(version, action, &payload, self.skips_check)?;
        }
        Ok(NewCommand {
            not_sent: None,
            command: Command {
                id,
                charger_id: self.charger_id.clone(),
                action: action.to_owned(),
                payload,
                answer_within_ms,
                send_before,
                skips_check: self.skips_check,
            },
            created_at: now,
            requested_by: requested_by.to_owned(),
            waits_when_offline: self.waits_when_offline,
            idempotency,
            traceparent: None,
            audit: None,
        })
    }
}

/// Refuses an action that this version does not have, and, unless `skips_check`, a payload that it does not permit.
fn check(
    version: Version,
    action: &'static str,
    payload: &str,
    skips_check: bool,
) -> Result<(), RequestError> {
    let info = ocpp::action::lookup(version, action).filter(|info| info.is_to_charger());
    let info = info.ok_or(RequestError::NotSupported { version, action })?;
    if skips_check {
        return Ok(());
    }
    let violations = info.check_request(payload);
    match violations.is_empty() {
        true => Ok(()),
        false => Err(RequestError::Violates {
            version,
            action,
            violations,
        }),
    }
}

/// Whether the central system may send the action in some version.
fn can_be_sent(action: &str) -> bool {
    Version::ALL.into_iter().any(|version| {
        ocpp::action::lookup(version, action).is_some_and(|info| info.is_to_charger())
    })
}

/// The object without white space between its parts: some chargers search a frame for fixed texts.
fn compact_object(text: &str) -> Result<String, RequestError> {
    let broken = |error: &dyn std::fmt::Display| RequestError::Payload(error.to_string());
    Raw::new(text)
        .members(|_, _| {})
        .map_err(|error| broken(&error))?;
    let json: &serde_json::value::RawValue =
        serde_json::from_str(text).map_err(|error| broken(&error))?;
    if !json.get().starts_with('{') {
        return Err(RequestError::Payload("it is null".to_owned()));
    }
    let mut compact = String::with_capacity(json.get().len());
    let (mut in_string, mut is_escaped) = (false, false);
    for char in json.get().chars() {
        if in_string {
            match char {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => in_string = false,
                _ => {}
            }
        } else if char == '"' {
            in_string = true;
        } else if char.is_ascii_whitespace() {
            continue;
        }
        compact.push(char);
    }
    Ok(compact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn request() -> CommandRequest {
        CommandRequest {
            charger_id: "CP-1".into(),
            action: "reset".into(),
            payload: " { \"type\" :\n\"Soft\" } ".into(),
            waits_when_offline: false,
            expires_at: None,
            answer_within_ms: None,
            skips_check: false,
        }
    }

    fn accept(request: &CommandRequest) -> Result<NewCommand, RequestError> {
        request.accept(CommandId(Uuid::nil()), "ops", Some(Version::V16), None, NOW)
    }

    #[test]
    fn a_request_becomes_a_command_with_the_spelling_of_ocpp_and_compact_json() {
        let new = accept(&request()).unwrap();
        assert_eq!(new.command.action, "Reset");
        assert_eq!(new.command.payload, r#"{"type":"Soft"}"#);
        assert_eq!(new.command.answer_within_ms, ANSWER_WITHIN_DEFAULT_MS);
        assert_eq!(new.command.send_before, NOW.plus_millis(FAIL_AFTER_MS));
        assert_eq!(new.not_sent, None);
        let kept = CommandRequest {
            action: "DataTransfer".into(),
            payload: r#"{"vendorId": "a \" b\\", "data": " { } "}"#.into(),
            ..request()
        };
        assert_eq!(
            accept(&kept).unwrap().command.payload,
            r#"{"vendorId":"a \" b\\","data":" { } "}"#
        );
    }

    #[test]
    fn what_the_charger_s_version_does_not_have_is_refused_with_its_places() {
        let unchecked = |request: &CommandRequest, version| {
            request.accept(CommandId(Uuid::nil()), "ops", version, None, NOW)
        };
        let broken = CommandRequest {
            payload: r#"{"type":"Now"}"#.into(),
            ..request()
        };
        let refusal = accept(&broken).unwrap_err();
        assert!(refusal.to_string().contains("/type: "), "{refusal}");
        assert_eq!(refusal.pointer(), "/payload");
        let other = CommandRequest {
            action: "SetVariables".into(),
            payload: "{}".into(),
            ..request()
        };
        let refusal = accept(&other).unwrap_err();
        let text = "OCPP 1.6, which the charger speaks, has no command SetVariables";
        assert_eq!(refusal.to_string(), text);
        // Without the version it is checked when it is sent.
        for request in [broken, other] {
            assert_eq!(unchecked(&request, None).unwrap().not_sent, None);
        }
    }

    #[test]
    fn without_the_check_the_action_and_the_form_of_the_payload_still_count() {
        let own = CommandRequest {
            payload: r#"{"type":"Now","vendorMember":{"a":[1]}}"#.into(),
            skips_check: true,
            ..request()
        };
        let new = accept(&own).unwrap();
        assert_eq!(new.command.payload, own.payload);
        assert!(new.command.skips_check);
        for (change, pointer) in [
            (("Teleport", "{}".to_owned()), "/action"),
            (("SetVariables", "{}".to_owned()), "/action"),
            (("Reset", "[]".to_owned()), "/payload"),
            (("Reset", "{".to_owned()), "/payload"),
            (
                (
                    "Reset",
                    format!(r#"{{"a":"{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX)),
                ),
                "/payload",
            ),
        ] {
            let refused = CommandRequest {
                action: change.0.into(),
                payload: change.1,
                ..own.clone()
            };
            assert_eq!(accept(&refused).unwrap_err().pointer(), pointer);
        }
    }

    #[test]
    fn a_request_that_no_charger_can_carry_out_is_refused_and_says_what_to_give() {
        let refused = |change: &dyn Fn(&mut CommandRequest)| {
            let mut request = request();
            change(&mut request);
            accept(&request).expect_err("it is refused").to_string()
        };
        for (what, text) in [
            ("charger_id", refused(&|r| r.charger_id.clear())),
            ("action", refused(&|r| r.action = "Heartbeat".into())),
            ("action", refused(&|r| r.action = "Teleport".into())),
            ("payload", refused(&|r| r.payload = "[]".into())),
            ("payload", refused(&|r| r.payload = "null".into())),
            ("payload", refused(&|r| r.payload = "{".into())),
            ("payload", refused(&|r| r.payload = "{} {}".into())),
            (
                "payload",
                refused(&|r| r.payload = "x".repeat(PAYLOAD_BYTES_MAX + 1)),
            ),
            (
                "answer_within_ms",
                refused(&|r| r.answer_within_ms = Some(999)),
            ),
            (
                "answer_within_ms",
                refused(&|r| r.answer_within_ms = Some(600_001)),
            ),
            (
                "expires_at",
                refused(&|r| r.expires_at = Some(NOW.plus_millis(1))),
            ),
        ] {
            assert!(text.starts_with(what), "{text}");
        }
        for at in [NOW, NOW.plus_millis(WAIT_MAX_MS + 1)] {
            let text = refused(&|r| {
                r.waits_when_offline = true;
                r.expires_at = Some(at);
            });
            assert!(text.starts_with("expires_at"), "{text}");
        }
    }
}
