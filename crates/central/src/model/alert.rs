//! Alerts as they are stored and shown, and silences. [`crate::alert`] decides about them.

use super::{ChargerKey, rfc3339};
use crate::Timestamp;
use crate::alert::{Severity, rule};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Alerts that are pending or firing at most; what exceeds it is not taken, and counted.
pub const ALERTS_ACTIVE_MAX: usize = 20_000;
/// With so many, no further one begins that names a charger, so that the alerts about the pipeline always have room.
pub const ALERTS_OF_CHARGERS_MAX: usize = 18_000;
/// Silences that are kept at most.
pub const SILENCES_MAX: usize = 500;
/// For how long a silence is kept after its end: 30 days.
pub const SILENCE_KEPT_MS: i64 = 30 * 24 * 3_600_000;
/// The longest silence: 366 days.
pub const SILENCE_MS_MAX: i64 = 366 * 24 * 3_600_000;
/// Characters of a note of an acknowledgement, and of the comment of a silence.
pub const ALERT_NOTE_CHARS_MAX: usize = 500;
/// Characters of a matcher of a silence.
pub const SILENCE_MATCHER_CHARS_MAX: usize = 255;

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Its condition holds, and not for long enough.
    Pending,
    /// It needs a person.
    Firing,
    /// It has ended.
    Resolved,
}

impl AlertState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Firing, Self::Resolved];

    /// The word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// The number in the database; never change one.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Pending => 0,
            Self::Firing => 1,
            Self::Resolved => 2,
        }
    }

    /// The state that this word spells.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// That a person has taken note of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// When.
    #[serde(serialize_with = "rfc3339::always", deserialize_with = "of_text")]
    pub at: Timestamp,
    /// The name of the key or the user; `None` for a request without one.
    pub by: Option<String>,
    /// What they wrote.
    pub note: String,
}

fn of_text<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(text)?;
    let at: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    Ok(at.into())
}

/// Who was told of an alert, and when. Times of the clock of the process that told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Told {
    /// When its firing was recorded as an event.
    #[serde(default)]
    pub firing: Option<Timestamp>,
    /// When the mail of its firing was accepted by the server.
    #[serde(default)]
    pub mailed: Option<Timestamp>,
    /// When the mail of its end was accepted by the server.
    #[serde(default)]
    pub mailed_end: Option<Timestamp>,
}

/// One occurrence of an alert. Its times are those of the clock of the process that evaluates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id.
    pub id: Uuid,
    /// The name of its rule.
    pub name: String,
    /// The severity of its rule.
    pub severity: Severity,
    /// What it is about: a process, a charger, a connector, a transaction, a command, a webhook; empty for all together.
    pub subject: String,
    /// The charger, where it is about one.
    #[serde(default)]
    pub charger_id: Option<String>,
    /// Alerts of one rule with one group are told together: the gateway of a charger.
    #[serde(default)]
    pub group: String,
    /// The id of the site of the charger, or of the site that it is about. Alerts of chargers of one site are told together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Its state.
    pub state: AlertState,
    /// What has happened, in one sentence without a full stop.
    pub summary: String,
    /// Since when the condition has held.
    pub active_at: Timestamp,
    /// When it began to fire.
    #[serde(default)]
    pub fired_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub resolved_at: Option<Timestamp>,
    /// Since when the condition has not held, while it goes on firing.
    #[serde(default)]
    pub clear_since: Option<Timestamp>,
    /// How long the condition must not hold before it ends, in milliseconds. It doubles with each occurrence that follows
    /// another one within an hour.
    #[serde(default)]
    pub hold_ms: i64,
    /// How often the condition has begun to hold, with the occurrences before that followed each other within an hour.
    #[serde(default)]
    pub occurrences: u32,
    /// Who has taken note of it.
    #[serde(default)]
    pub acknowledged: Option<Acknowledged>,
    /// The silence because of which nobody is told.
    #[serde(default)]
    pub silenced_by: Option<Uuid>,
    /// The name of the alert that explains this one, so that nobody is told.
    #[serde(default)]
    pub inhibited_by: Option<String>,
    /// Who was told.
    #[serde(default)]
    pub told: Told,
}

impl Alert {
    /// The charger's identity in lower case.
    #[must_use]
    pub fn charger_key(&self) -> Option<ChargerKey> {
        self.charger_id.as_deref().map(ChargerKey::of)
    }

    /// What is shown of it.
    #[must_use]
    pub fn view(&self) -> AlertView {
        let rule = rule(&self.name, self.severity);
        AlertView {
            id: self.id,
            name: self.name.clone(),
            severity: self.severity,
            state: self.state,
            subject: self.subject.clone(),
            charger_id: self.charger_id.clone(),
            group: self.group.clone(),
            site: self.site.clone(),
            summary: self.summary.clone(),
            at_stake: rule.map_or("", |rule| rule.at_stake),
            to_do: rule.map_or("", |rule| rule.to_do),
            active_at: self.active_at,
            fired_at: self.fired_at,
            resolved_at: self.resolved_at,
            occurrences: self.occurrences,
            acknowledged: self.acknowledged.clone(),
            silenced_by: self.silenced_by,
            inhibited_by: self.inhibited_by.clone(),
            mailed_at: self.told.mailed,
            links: self.links(),
        }
    }

    fn links(&self) -> Value {
        let mut links = json!({ "self": format!("/api/v1/alerts/{}", self.id) });
        if let Some(charger) = &self.charger_id {
            links["charger"] = json!(format!("/api/v1/chargers/{}", escaped(charger)));
        }
        if let Some(site) = &self.site {
            links["site"] = json!(format!("/api/v1/sites/{}", escaped(site)));
        }
        links
    }
}

/// A text as a segment of a path.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An alert as the API and events show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertView {
    /// Its id.
    pub id: Uuid,
    /// The name of its rule.
    pub name: String,
    /// How soon a person is needed.
    pub severity: Severity,
    /// Its state.
    pub state: AlertState,
    /// What it is about.
    pub subject: String,
    /// The charger, where it is about one.
    pub charger_id: Option<String>,
    /// The gateway of the charger, or empty.
    pub group: String,
    /// The id of the site of the charger, or of the site that it is about.
    pub site: Option<String>,
    /// What has happened.
    pub summary: String,
    /// What is lost or at risk.
    pub at_stake: &'static str,
    /// What to do.
    pub to_do: &'static str,
    /// Since when the condition has held.
    #[serde(serialize_with = "rfc3339::always")]
    pub active_at: Timestamp,
    /// When it began to fire.
    #[serde(serialize_with = "rfc3339::option")]
    pub fired_at: Option<Timestamp>,
    /// When it ended.
    #[serde(serialize_with = "rfc3339::option")]
    pub resolved_at: Option<Timestamp>,
    /// How often the condition has begun to hold.
    pub occurrences: u32,
    /// Who has taken note of it.
    pub acknowledged: Option<Acknowledged>,
    /// The silence because of which nobody is told.
    pub silenced_by: Option<Uuid>,
    /// The name of the alert that explains this one.
    pub inhibited_by: Option<String>,
    /// When the mail of its firing was accepted by the server.
    #[serde(serialize_with = "rfc3339::option")]
    pub mailed_at: Option<Timestamp>,
    /// Addresses of the API.
    pub links: Value,
}

/// Which alerts a silence is about: those that have all that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "StoredMatcher", into = "StoredMatcher")]
pub struct SilenceMatcher {
    /// Only alerts of this rule.
    pub name: Option<String>,
    /// Only those of this charger, in any letter case.
    pub charger_id: Option<String>,
    /// Only those with this group.
    pub group: Option<String>,
    /// Only those of the site with this id, and of its chargers.
    pub site: Option<String>,
    /// Only those about this subject, such as one connector; empty: only the one about all together.
    pub subject: Option<String>,
}

/// The group of a stored silence by site. No alert has it, so a program that does not know `site` silences nothing: without
/// it, such a program would silence every alert while two versions run.
const GROUP_OF_NO_ALERT: &str = "\u{1}site";

/// A [`SilenceMatcher`] as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredMatcher {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    charger_id: Option<String>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// The group, where there is a site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group_in_site: Option<String>,
    #[serde(default)]
    subject: Option<String>,
}

impl From<StoredMatcher> for SilenceMatcher {
    fn from(stored: StoredMatcher) -> Self {
        let group = match stored.site {
            Some(_) => stored.group_in_site,
            None => stored.group,
        };
        Self {
            name: stored.name,
            charger_id: stored.charger_id,
            group,
            site: stored.site,
            subject: stored.subject,
        }
    }
}

impl From<SilenceMatcher> for StoredMatcher {
    fn from(matcher: SilenceMatcher) -> Self {
        let (group, group_in_site) = match matcher.site {
            Some(_) => (Some(GROUP_OF_NO_ALERT.to_owned()), matcher.group),
            None => (matcher.group, None),
        };
        Self {
            name: matcher.name,
            charger_id: matcher.charger_id,
            group,
            site: matcher.site,
            group_in_site,
            subject: matcher.subject,
        }
    }
}

impl SilenceMatcher {
    /// Whether it selects every alert, which no silence may. A subject alone says nothing: different rules have the same.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.charger_id.is_none()
            && self.group.is_none()
            && self.site.is_none()
    }

    /// Whether it selects this alert.
    #[must_use]
    pub fn has(&self, alert: &Alert) -> bool {
        let key = self.charger_id.as_deref().map(ChargerKey::of);
        self.name.as_ref().is_none_or(|name| *name == alert.name)
            && key.is_none_or(|key| Some(key) == alert.charger_key())
            && self
                .group
                .as_ref()
                .is_none_or(|group| *group == alert.group)
            && (self.site.is_none() || self.site == alert.site)
            && self
                .subject
                .as_ref()
                .is_none_or(|subject| *subject == alert.subject)
    }
}

/// A time in which nobody is told of some alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: Uuid,
    /// Which alerts.
    pub matcher: SilenceMatcher,
    /// Its begin.
    pub starts_at: Timestamp,
    /// Its end.
    pub ends_at: Timestamp,
    /// Why.
    pub comment: String,
    /// Who made it; `None` for a request without a key.
    pub created_by: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

impl Silence {
    /// Whether it counts at this time.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        (self.starts_at..self.ends_at).contains(&now)
    }

    /// What is shown of it at this time.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> SilenceView {
        SilenceView {
            id: self.id,
            name: self.matcher.name.clone(),
            charger_id: self.matcher.charger_id.clone(),
            group: self.matcher.group.clone(),
            site: self.matcher.site.clone(),
            subject: self.matcher.subject.clone(),
            state: match self.is_active(now) {
                true => "active",
                false if now < self.starts_at => "waiting",
                false => "ended",
            },
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            comment: self.comment.clone(),
            created_by: self.created_by.clone(),
            created_at: self.created_at,
        }
    }
}

/// A silence as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilenceView {
    /// Its id.
    pub id: Uuid,
    /// Only alerts of this rule.
    pub name: Option<String>,
    /// Only those of this charger.
    pub charger_id: Option<String>,
    /// Only those with this group.
    pub group: Option<String>,
    /// Only those of this site and of its chargers.
    pub site: Option<String>,
    /// Only those about this subject.
    pub subject: Option<String>,
    /// `waiting`, `active` or `ended`.
    pub state: &'static str,
    /// Its begin.
    #[serde(serialize_with = "rfc3339::always")]
    pub starts_at: Timestamp,
    /// Its end.
    #[serde(serialize_with = "rfc3339::always")]
    pub ends_at: Timestamp,
    /// Why.
    pub comment: String,
    /// Who made it.
    pub created_by: Option<String>,
    /// When.
    #[serde(serialize_with = "rfc3339::always")]
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_by_site_is_one_of_no_alert_for_a_program_that_does_not_know_sites() {
        for group in [None, Some("g".to_owned())] {
            let matcher = SilenceMatcher {
                group,
                site: Some("depot".to_owned()),
                ..SilenceMatcher::default()
            };
            let stored = serde_json::to_value(&matcher).unwrap();
            // What the program before reads, and it reads nothing else of a site.
            assert_eq!(stored["group"], GROUP_OF_NO_ALERT);
            assert_eq!(
                serde_json::from_value::<SilenceMatcher>(stored).unwrap(),
                matcher
            );
        }
        let old =
            serde_json::json!({"name": null, "charger_id": null, "group": "g", "subject": null});
        let read: SilenceMatcher = serde_json::from_value(old.clone()).unwrap();
        assert_eq!(read.group.as_deref(), Some("g"));
        assert_eq!(serde_json::to_value(&read).unwrap(), old);
    }
}
