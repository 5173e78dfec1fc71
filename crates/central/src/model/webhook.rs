//! Webhooks: URLs to which the events of the log are sent, each webhook in the order of the log.
//!
//! A webhook has a position in the log: all events up to it are delivered, or its filter does not select them. The position
//! moves only after a delivery, so a process that is killed sends an event again and skips none.

use super::event::{EventId, EventType};
use super::rfc3339;
use crate::Timestamp;
use crate::ports::EventFilter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Webhooks that can exist at once.
pub const WEBHOOKS_MAX: usize = 100;

/// Attempts that are kept of each webhook; the oldest are deleted with the insertion of new ones.
pub const WEBHOOK_ATTEMPTS_KEPT: usize = 200;

/// For how many milliseconds an attempt is shown: 30 days.
pub const WEBHOOK_ATTEMPTS_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Bytes of the start of a response, or of an error, that are kept of an attempt at most.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 1_024;

/// The longest time to the next attempt: 24 hours, and an hour for clocks that differ. A webhook that is due later was recorded
/// by a clock that was wrong, and counts as due.
pub const WEBHOOK_DUE_IN_MS_MAX: i64 = 25 * 3_600_000;

/// The longest time to the next attempt while none has failed: a minute. A webhook that is due later was recorded by a clock that
/// was wrong, and counts as due.
pub const WEBHOOK_IDLE_MS_MAX: i64 = 60_000;

/// By how much the clock that has recorded a failed attempt may be ahead: a minute. If it was ahead by more, the clock was set
/// back since, and the webhook counts as due.
pub const WEBHOOK_CLOCK_AHEAD_MS_MAX: i64 = 60_000;

/// The longest lease of a webhook: 5 minutes. One that counts for longer was taken by a clock that was wrong, and does not count.
pub const WEBHOOK_LEASE_MS_MAX: i64 = 300_000;

/// Bytes of a webhook's URL at most.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2_048;

/// Characters of a webhook's description at most.
pub const WEBHOOK_DESCRIPTION_CHARS_MAX: usize = 200;

/// For how many milliseconds the former secret stays valid after a rotation if the request does not say: 24 hours.
pub const WEBHOOK_SECRET_OVERLAP_DEFAULT_MS: i64 = 24 * 3_600_000;

/// For how many milliseconds the former secret can stay valid after a rotation at most: 30 days.
pub const WEBHOOK_SECRET_OVERLAP_MAX_MS: i64 = 30 * 24 * 3_600_000;

/// The id of a webhook, a UUID of version 7: later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookId(pub Uuid);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What people set of a webhook, other than its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSettings {
    /// Where its events are sent.
    pub url: String,
    /// The types of its events, as the parameter `types` of the API names them (`transaction.*`); empty for all.
    pub types: Vec<String>,
    /// Only events of this charger, in any letter case.
    pub charger_id: Option<String>,
    /// The operator's text.
    pub description: String,
    /// Whether events are sent.
    pub enabled: bool,
}

impl WebhookSettings {
    /// Its events; `None` if this program does not know all of its types: a newer one has added it, and this one would
    /// pass events over.
    #[must_use]
    pub fn filter(&self) -> Option<EventFilter> {
        let mut types: Vec<EventType> = Vec::new();
        for name in &self.types {
            let before = types.len();
            types.extend(EventType::named(name));
            if types.len() == before {
                return None;
            }
        }
        Some(EventFilter {
            charger: self.charger_id.clone(),
            types,
        })
    }
}

/// A change of [`WebhookSettings`]; members that are `None` stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookPatch {
    /// The URL.
    pub url: Option<String>,
    /// The types; an empty list for all.
    pub types: Option<Vec<String>>,
    /// The charger; `Some(None)` for all.
    pub charger_id: Option<Option<String>>,
    /// The description.
    pub description: Option<String>,
    /// Whether events are sent.
    pub enabled: Option<bool>,
}

impl WebhookPatch {
    /// Changes `settings`.
    pub fn apply(&self, settings: &mut WebhookSettings) {
        if let Some(url) = &self.url {
            settings.url.clone_from(url);
        }
        if let Some(types) = &self.types {
            settings.types.clone_from(types);
        }
        if let Some(charger_id) = &self.charger_id {
            settings.charger_id.clone_from(charger_id);
        }
        if let Some(description) = &self.description {
            settings.description.clone_from(description);
        }
        if let Some(enabled) = self.enabled {
            settings.enabled = enabled;
        }
    }

    /// The settings of a new webhook: all events, no description and enabled, where the patch says nothing else. `None`
    /// without a URL.
    #[must_use]
    pub fn into_settings(self) -> Option<WebhookSettings> {
        Some(WebhookSettings {
            url: self.url?,
            types: self.types.unwrap_or_default(),
            charger_id: self.charger_id.flatten(),
            description: self.description.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
        })
    }
}

/// The prefix of the text of a secret (Standard Webhooks 1.0.0, "Signature scheme").
pub const WEBHOOK_SECRET_PREFIX: &str = "whsec_";

/// How a secret is written, for error messages.
pub const WEBHOOK_SECRET_EXPECTED: &str =
    "whsec_ followed by the Base64 text of 24 to 64 random bytes";

/// The secret with which messages of a webhook are signed. It has no `Display`, and its `Debug` hides it, so that it
/// cannot get into a log by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// The secret that consists of these random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes.to_vec())
    }

    /// The secret that this text spells: see [`WEBHOOK_SECRET_EXPECTED`].
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(WEBHOOK_SECRET_PREFIX)?);
        let bytes = bytes.ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// Its text, which is shown when it is created only.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{WEBHOOK_SECRET_PREFIX}{}", BASE64.encode(&self.0))
    }

    /// The key of the HMAC: 24 to 64 bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl TryFrom<String> for WebhookSecret {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::from_text(&text).ok_or_else(|| format!("expected {WEBHOOK_SECRET_EXPECTED}"))
    }
}

impl From<WebhookSecret> for String {
    fn from(secret: WebhookSecret) -> Self {
        secret.expose()
    }
}

/// The secrets of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSecrets {
    /// The newest one.
    pub newest: WebhookSecret,
    /// The one before, and until when it is valid.
    pub former: Option<(WebhookSecret, Timestamp)>,
}

impl WebhookSecrets {
    /// Only this one.
    #[must_use]
    pub const fn of(secret: WebhookSecret) -> Self {
        Self {
            newest: secret,
            former: None,
        }
    }

    /// Those with which a message is signed at this time: one or two, the newest first.
    #[must_use]
    pub fn valid_at(&self, now: Timestamp) -> Vec<&WebhookSecret> {
        let former = self.former.as_ref().filter(|(_, until)| now < *until);
        std::iter::once(&self.newest)
            .chain(former.map(|(secret, _)| secret))
            .collect()
    }

    /// Makes `secret` the newest one. The one before stays valid until then, and any older one is forgotten.
    #[must_use]
    pub fn rotated(self, secret: WebhookSecret, former_until: Timestamp) -> Self {
        Self {
            newest: secret,
            former: Some((self.newest, former_until)),
        }
    }
}

/// Failed attempts to deliver one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookRetry {
    /// The event.
    pub event: EventId,
    /// Attempts that have failed, at least one.
    pub attempts: u32,
    /// When the first one was made; later if Wattpost was down or its clock was set since. Until the last attempt it is as long
    /// as the receiver was seen to fail.
    pub since: Timestamp,
}

/// How far a webhook is. Its sender computes it, and people change it by a redelivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookProgress {
    /// All events up to this one are delivered or not selected.
    pub cursor: EventId,
    /// The first selected event after the cursor, if attempts to deliver it have failed.
    pub retry: Option<WebhookRetry>,
    /// Not to be claimed before this time.
    pub due_at: Timestamp,
    /// The time of its latest successful attempt.
    pub last_success_at: Option<Timestamp>,
    /// Its latest error, and when.
    pub last_error: Option<(Timestamp, String)>,
}

/// What a webhook does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// Events are sent.
    Active,
    /// The last attempt has failed, and another one follows.
    Retrying,
    /// A person has disabled it.
    Disabled,
    /// Wattpost has disabled it, because its receiver failed for too long or wants no more.
    SwitchedOff,
}

impl WebhookState {
    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retrying => "retrying",
            Self::Disabled => "disabled",
            Self::SwitchedOff => "switched_off",
        }
    }
}

/// A webhook with everything but its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// What people set.
    pub settings: WebhookSettings,
    /// Increases with each change by a person, and when it is switched off.
    pub version: u64,
    /// When it was added.
    pub created_at: Timestamp,
    /// Until when the secret before the newest one is valid; `None` if there is none.
    pub former_secret_until: Option<Timestamp>,
    /// How far it is.
    pub progress: WebhookProgress,
    /// When and why Wattpost has switched it off.
    pub switched_off: Option<(Timestamp, String)>,
    /// Events of the log after its cursor, whether its filter selects them or not.
    pub waiting: u64,
}

impl Webhook {
    /// What it does.
    #[must_use]
    pub const fn state(&self) -> WebhookState {
        match (self.settings.enabled, &self.switched_off) {
            (false, Some(_)) => WebhookState::SwitchedOff,
            (false, None) => WebhookState::Disabled,
            (true, _) if self.progress.retry.is_some() => WebhookState::Retrying,
            (true, _) => WebhookState::Active,
        }
    }

    /// What is shown of it at this time.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> WebhookView {
        let progress = &self.progress;
        WebhookView {
            id: self.id,
            url: self.settings.url.clone(),
            types: self.settings.types.clone(),
            charger_id: self.settings.charger_id.clone(),
            description: self.settings.description.clone(),
            enabled: self.settings.enabled,
            state: self.state(),
            created_at: self.created_at,
            former_secret_until: self.former_secret_until.filter(|until| now < *until),
            delivered_until: progress.cursor.to_string(),
            waiting: self.waiting,
            retry: progress.retry.map(|retry| WebhookRetryView {
                event_id: retry.event.to_string(),
                attempts: retry.attempts,
                since: retry.since,
                next_at: progress.due_at,
            }),
            last_success_at: progress.last_success_at,
            last_error: progress.last_error.as_ref().map(|(at, error)| AtText {
                at: *at,
                text: error.clone(),
            }),
            switched_off: self.switched_off.as_ref().map(|(at, reason)| AtText {
                at: *at,
                text: reason.clone(),
            }),
        }
    }
}

/// A webhook as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookView {
    /// Its id.
    pub id: WebhookId,
    /// Where its events are sent.
    pub url: String,
    /// The types of its events; empty for all.
    pub types: Vec<String>,
    /// Only events of this charger.
    pub charger_id: Option<String>,
    /// The operator's text.
    pub description: String,
    /// Whether events are sent.
    pub enabled: bool,
    /// What it does.
    pub state: WebhookState,
    /// When it was added.
    #[serde(serialize_with = "rfc3339::always")]
    pub created_at: Timestamp,
    /// Until when the secret before the newest one is valid.
    #[serde(serialize_with = "rfc3339::option")]
    pub former_secret_until: Option<Timestamp>,
    /// All events up to the one with this id are delivered or not selected.
    pub delivered_until: String,
    /// Events of the log after that one, whether they are selected or not.
    pub waiting: u64,
    /// The failed attempts to deliver the next event.
    pub retry: Option<WebhookRetryView>,
    /// The time of its latest successful attempt.
    #[serde(serialize_with = "rfc3339::option")]
    pub last_success_at: Option<Timestamp>,
    /// Its latest error.
    pub last_error: Option<AtText>,
    /// When and why Wattpost has switched it off.
    pub switched_off: Option<AtText>,
}

/// Failed attempts as the API shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookRetryView {
    /// The event.
    pub event_id: String,
    /// Attempts that have failed.
    pub attempts: u32,
    /// When the first one was made.
    #[serde(serialize_with = "rfc3339::always")]
    pub since: Timestamp,
    /// When the next one is made.
    #[serde(serialize_with = "rfc3339::always")]
    pub next_at: Timestamp,
}

/// A text and when it was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtText {
    /// When.
    #[serde(serialize_with = "rfc3339::always")]
    pub at: Timestamp,
    /// The text.
    pub text: String,
}

/// An attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// When it began.
    pub at: Timestamp,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub kind: EventType,
    /// Its number among the attempts for this event; the first is 1.
    pub attempt: u32,
    /// Whether the receiver has accepted the event.
    pub delivered: bool,
    /// The status of the response; `None` without a response.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The start of the response, or the error; cut at [`WEBHOOK_ANSWER_BYTES_MAX`].
    pub answer: String,
}

/// An attempt as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookAttemptView {
    /// When it began.
    #[serde(serialize_with = "rfc3339::always")]
    pub at: Timestamp,
    /// The event.
    pub event_id: String,
    /// The type of the event.
    pub event_type: String,
    /// Its number among the attempts for this event.
    pub attempt: u32,
    /// Whether the receiver has accepted the event.
    pub delivered: bool,
    /// The status of the response; `None` without a response.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The start of the response, or the error.
    pub answer: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> WebhookSecret {
        WebhookSecret::from_random([byte; 32])
    }

    #[test]
    fn a_type_that_this_version_does_not_know_leaves_no_filter() {
        let settings = |types: &[&str]| WebhookSettings {
            url: "https://example.com/hook".to_owned(),
            description: String::new(),
            types: types.iter().map(|&name| name.to_owned()).collect(),
            charger_id: None,
            enabled: true,
        };
        let known = settings(&["charger.booted", "token.*"]).filter();
        assert!(known.is_some_and(|filter| filter.types.len() > 1));
        let all = settings(&[]).filter();
        assert!(all.is_some_and(|filter| filter.types.is_empty()));
        let newer = ["charger.booted", "charger.of_a_newer_version"];
        assert!(settings(&newer).filter().is_none());
    }

    #[test]
    fn a_secret_is_read_as_it_is_written_and_never_shown_by_debug() {
        let one = secret(7);
        assert_eq!(WebhookSecret::from_text(&one.expose()), Some(one.clone()));
        assert_eq!(one.key(), [7; 32]);
        let shown = format!("{:?}", WebhookSecrets::of(one.clone()));
        assert!(
            !shown.contains(&one.expose()) && !shown.contains('7'),
            "{shown}"
        );
        for (length, is_secret) in [(23, false), (24, true), (64, true), (65, false)] {
            let text = format!("whsec_{}", BASE64.encode(vec![1; length]));
            assert_eq!(
                WebhookSecret::from_text(&text).is_some(),
                is_secret,
                "{length}"
            );
        }
        let bare = BASE64.encode([1; 32]);
        for text in [bare.clone(), format!("whsec_{bare}!"), String::new()] {
            assert_eq!(WebhookSecret::from_text(&text), None, "{text}");
        }
    }

    #[test]
    fn a_former_secret_is_valid_until_its_time() {
        let secrets = WebhookSecrets::of(secret(1)).rotated(secret(2), Timestamp(10));
        assert_eq!(secrets.valid_at(Timestamp(9)), [&secret(2), &secret(1)]);
        assert_eq!(secrets.valid_at(Timestamp(10)), [&secret(2)]);
        // The oldest is forgotten by a second rotation.
        let again = secrets.rotated(secret(3), Timestamp(20));
        assert_eq!(again.valid_at(Timestamp(9)), [&secret(3), &secret(2)]);
    }

    #[test]
    fn types_that_this_program_does_not_know_select_nothing() {
        let mut settings = WebhookSettings {
            url: "https://example.com".to_owned(),
            types: Vec::new(),
            charger_id: Some("CP-1".to_owned()),
            description: String::new(),
            enabled: true,
        };
        let all = settings.filter().unwrap();
        assert_eq!((all.types.len(), all.charger), (0, Some("CP-1".to_owned())));
        settings.types = vec!["token.*".to_owned(), "security.event".to_owned()];
        let some = settings.filter().unwrap().types;
        let wanted = [
            EventType::TokenRefused,
            EventType::TokenRemoved,
            EventType::TokenSet,
            EventType::SecurityEvent,
        ];
        assert_eq!(some, wanted);
        settings.types = vec!["weather.changed".to_owned()];
        assert_eq!(settings.filter(), None);
    }
}
