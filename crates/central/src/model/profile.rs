//! The operator's settings for a charger.

use super::CloseStyle;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The values that [`ChargerProfile::frame_bytes_max`] may have: 4 KiB to 8 MiB. As Base64 a message of 8 MiB has 10.7 MiB,
/// so its record fits into the 16 MiB that the journal takes and into the 16 MiB that RabbitMQ 4 accepts by default.
pub const FRAME_BYTES_MAX: RangeInclusive<u32> = 4_096..=8 << 20;

/// The registration status of a charger (`status` in the answer to BootNotification, rules B-1 to B-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Accepted.
    Accepted,
    /// May connect and be configured only.
    Pending,
    /// Refused.
    Rejected,
}

/// How strictly payloads are checked against the schema, and frames against OCPP-J.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckMode {
    /// Every violation is answered with CALLERROR, also one in the frame, and an action of another version. Transaction
    /// messages (rule Q-12), SENDs and replies are kept with a note instead.
    Strict,
    /// Common mistakes of firmware are noted and answered with success; a payload that cannot be understood is answered
    /// with CALLERROR, except in transaction messages.
    #[default]
    Warn,
    /// A payload must only be a JSON object.
    Off,
}

/// The operator's settings for one charger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerProfile {
    /// The identity in the operator's spelling. Identities that differ only in letter case are one charger (C-3).
    pub charger_id: String,
    /// Its registration status.
    pub registration: Registration,
    /// Argon2 hash (PHC string) of its Basic authentication password; `None` if none is required.
    pub password_hash: Option<String>,
    /// How strictly its messages are checked; `None` for the policy's default.
    pub check: Option<CheckMode>,
    /// Bytes of one of its messages at most, within [`FRAME_BYTES_MAX`]; `None` for the gateway's setting. Used from its
    /// next connection on.
    #[serde(default)]
    pub frame_bytes_max: Option<u32>,
    /// The text that people see beside the identity. A gateway's directory has neither it nor the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The id of the site where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The group of chargers to which it belongs, in the operator's spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How the gateway ends its connections; `None` for what the policy's rules say.
    #[serde(default)]
    pub close_style: Option<CloseStyle>,
}

impl ChargerProfile {
    /// A charger that is accepted, without a password, with the checks and the longest message of all others.
    #[must_use]
    pub fn new(charger_id: &str) -> Self {
        Self {
            charger_id: charger_id.to_owned(),
            registration: Registration::Accepted,
            password_hash: None,
            check: None,
            frame_bytes_max: None,
            label: None,
            site: None,
            group: None,
            close_style: None,
        }
    }
}

/// How an identity is bounded, for error messages.
pub const CHARGER_ID_EXPECTED: &str =
    "1 to 255 bytes without '/' and control characters, and neither \".\" nor \"..\"";

/// Whether a charger may have this identity: see [`CHARGER_ID_EXPECTED`]. A gateway refuses every other one.
#[must_use]
pub fn is_charger_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.contains('/')
        && !text.contains(char::is_control)
        && !matches!(text, "." | "..")
}

/// A change of a [`ChargerProfile`]; members that are `None` stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsPatch {
    /// The registration status.
    pub registration: Option<Registration>,
    /// The hash of the password; `Some(None)` removes it.
    pub password_hash: Option<Option<String>>,
    /// How strictly messages are checked; `Some(None)`: as the policy says.
    pub check: Option<Option<CheckMode>>,
    /// Bytes of a message at most; `Some(None)`: the gateway's setting.
    pub frame_bytes_max: Option<Option<u32>>,
    /// The label; `Some(None)` removes it.
    pub label: Option<Option<String>>,
    /// The id of its site; `Some(None)`: of none.
    pub site: Option<Option<String>>,
    /// Its group; `Some(None)`: none.
    pub group: Option<Option<String>>,
    /// How the gateway ends its connections; `Some(None)`: as the policy's rules say.
    pub close_style: Option<Option<CloseStyle>>,
}

impl SettingsPatch {
    /// The patch that makes any profile of this charger equal to `profile`.
    #[must_use]
    pub fn to_profile(profile: &ChargerProfile) -> Self {
        Self {
            registration: Some(profile.registration),
            password_hash: Some(profile.password_hash.clone()),
            check: Some(profile.check),
            frame_bytes_max: Some(profile.frame_bytes_max),
            label: Some(profile.label.clone()),
            site: Some(profile.site.clone()),
            group: Some(profile.group.clone()),
            close_style: Some(profile.close_style),
        }
    }

    /// Changes `profile`.
    pub fn apply(&self, profile: &mut ChargerProfile) {
        if let Some(registration) = self.registration {
            profile.registration = registration;
        }
        if let Some(hash) = &self.password_hash {
            profile.password_hash.clone_from(hash);
        }
        if let Some(check) = self.check {
            profile.check = check;
        }
        if let Some(bytes) = self.frame_bytes_max {
            profile.frame_bytes_max = bytes;
        }
        if let Some(label) = &self.label {
            profile.label.clone_from(label);
        }
        if let Some(site) = &self.site {
            profile.site.clone_from(site);
        }
        if let Some(group) = &self.group {
            profile.group.clone_from(group);
        }
        if let Some(style) = self.close_style {
            profile.close_style = style;
        }
    }
}

/// A [`ChargerProfile`] as it is shown: without its password's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerSettings {
    /// The identity in the operator's spelling.
    pub charger_id: String,
    /// The registration status.
    pub admission: Registration,
    /// Whether it must send a password.
    pub has_password: bool,
    /// How strictly its messages are checked; `None`: as the policy says.
    pub check: Option<CheckMode>,
    /// Bytes of one of its messages at most; `None`: the gateway's setting.
    pub frame_bytes_max: Option<u32>,
    /// The text that people see beside the identity.
    #[serde(default)]
    pub label: Option<String>,
    /// The id of the site where it stands.
    #[serde(default)]
    pub site: Option<String>,
    /// The group of chargers to which it belongs.
    #[serde(default)]
    pub group: Option<String>,
    /// How the gateway ends its connections; `None`: as the policy's rules say.
    pub close_style: Option<CloseStyle>,
    /// Increases with each change.
    pub version: u64,
}

impl ChargerSettings {
    /// What is shown of a profile with this version.
    #[must_use]
    pub fn of(profile: &ChargerProfile, version: u64) -> Self {
        Self {
            charger_id: profile.charger_id.clone(),
            admission: profile.registration,
            has_password: profile.password_hash.is_some(),
            check: profile.check,
            frame_bytes_max: profile.frame_bytes_max,
            label: profile.label.clone(),
            site: profile.site.clone(),
            group: profile.group.clone(),
            close_style: profile.close_style,
            version,
        }
    }
}
