//! Alerts and silences.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// One occurrence of an alert.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alert {
    id: Uuid,
    /// The name of its rule.
    name: String,
    /// `page`, `ticket` or `info`.
    severity: String,
    /// `pending`, `firing` or `resolved`.
    state: String,
    /// A process, a charger, a connector, a transaction, a command or a webhook; empty for all together.
    subject: String,
    /// The charger, where it is about one.
    charger_id: Option<String>,
    /// The gateway of the charger, or empty.
    group: String,
    /// The id of the site of the charger, or of the site that it is about.
    site: Option<String>,
    /// What has happened.
    summary: String,
    /// What is lost or at risk.
    at_stake: String,
    /// What to do.
    to_do: String,
    /// Since when the condition has held.
    #[schema(format = DateTime)]
    active_at: String,
    /// When it began to fire.
    #[schema(format = DateTime)]
    fired_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    resolved_at: Option<String>,
    /// How often the condition has begun to hold, with the occurrences before that followed each other within an hour.
    occurrences: u32,
    /// Who has taken note of it.
    acknowledged: Option<AlertAcknowledged>,
    /// The silence because of which nobody is told.
    silenced_by: Option<Uuid>,
    /// The name of the alert that explains this one, so that nobody is told.
    inhibited_by: Option<String>,
    /// When the mail of its firing was accepted by the server.
    #[schema(format = DateTime)]
    mailed_at: Option<String>,
    /// The addresses of the alert, of the charger and of the site.
    links: serde_json::Value,
}

/// That a person has taken note of an alert.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertAcknowledged {
    #[schema(format = DateTime)]
    at: String,
    /// The name of the key or the user; null for a request without one.
    by: Option<String>,
    note: String,
}

/// A note.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertAcknowledgement {
    /// At most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The catalogue.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertRules {
    items: Vec<AlertRule>,
    /// Always null.
    next: Option<String>,
    /// The settings `alerts.rules` of the process that answers.
    settings: serde_json::Value,
    /// For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    as_of: Option<String>,
    /// By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<i64>,
    /// Whether the database is unavailable and this is an earlier answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    stale: Option<bool>,
    /// Why it is stale; null if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_because: Option<String>,
}

/// An alert of the catalogue.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertRule {
    /// An alert of two severities has two rules.
    name: String,
    /// `page`, `ticket` or `info`.
    severity: String,
    /// `pipeline` or `chargers`.
    about: String,
    /// The condition in words; empty if only Prometheus evaluates it.
    condition: String,
    /// When it ends, in words.
    clears: String,
    /// The condition as a query of Prometheus; null for an alert that names chargers.
    expr: Option<String>,
    /// For how many seconds the condition holds before the alert fires, as it is set.
    for_s: u32,
    /// For how many seconds the condition must not hold before the alert ends, as it is set.
    keep_firing_s: u32,
    /// What is lost or at risk.
    at_stake: String,
    /// What to do.
    to_do: String,
    /// Whether Wattpost evaluates it.
    evaluated: bool,
}

/// A time in which nobody is told of some alerts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Silence {
    id: Uuid,
    /// Only alerts of this rule.
    name: Option<String>,
    /// Only those of this charger.
    charger_id: Option<String>,
    /// Only those with this group.
    group: Option<String>,
    /// Only those of this site and of its chargers.
    site: Option<String>,
    /// Only those about this subject; empty: only the one about all together.
    subject: Option<String>,
    /// `waiting`, `active` or `ended`.
    state: String,
    #[schema(format = DateTime)]
    starts_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    comment: String,
    /// The name of the key or the user; null for a request without one.
    created_by: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A silence to be added. It needs one of `name`, `charger_id`, `group` and `site`.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewSilence {
    /// Only alerts of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Only those of this charger; letter case is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    charger_id: Option<String>,
    /// Only those with this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Only those of the site with this id, and of its chargers.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// Only those about this subject, as alerts have it; empty: only the one about all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Default: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    /// After `starts_at`, at most 366 days.
    #[schema(format = DateTime)]
    ends_at: String,
    /// At most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}
