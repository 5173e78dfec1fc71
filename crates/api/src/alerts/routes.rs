//! `/api/v1/alerts`, `/api/v1/alert-rules` and `/api/v1/silences`.

use super::AlertConfig;
use crate::change::{self, Change, Members, with_location};
use crate::commands::now;
use crate::error::ApiError;
use crate::page::{self, ListRequest};
use crate::path::{AlertId, InPath, SilenceId};
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use central::Timestamp;
use central::alert::{Rule, Severity, Thresholds, rules};
use central::model::{
    ALERT_NOTE_CHARS_MAX, Alert, AlertState, AlertView, CHARGER_ID_EXPECTED,
    SILENCE_MATCHER_CHARS_MAX, SILENCE_MS_MAX, SITE_ID_EXPECTED, Silence, SilenceMatcher,
    SilenceView, is_charger_id, is_site_id,
};
use central::ports::{AlertFilter, NotAcknowledged, Once, QueryError, SilenceNotAdded};
use central::query::{Page, PageRequest, parameters};
use serde::Serialize;
use std::sync::Arc;

/// The parameters of the list of alerts.
pub(crate) const PARAMETERS: &[&str] = &[
    "state", "severity", "name", "charger", "site", "cursor", "limit", "fields",
];

/// A rule of the catalogue as this process evaluates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleView {
    /// The rule, with the times that are set.
    #[serde(flatten)]
    pub rule: Rule,
    /// Whether Wattpost evaluates it: it is not switched off, and not for Prometheus only.
    pub evaluated: bool,
}

/// All rules as these settings have them.
#[must_use]
pub fn rule_views(settings: &Thresholds, enabled: bool) -> Vec<RuleView> {
    let seconds = |ms: i64| u32::try_from(ms / 1_000).unwrap_or(u32::MAX);
    rules()
        .map(|rule| RuleView {
            evaluated: enabled && !rule.condition.is_empty() && settings.is_on(rule.name),
            rule: Rule {
                for_s: seconds(settings.for_ms(&rule)),
                keep_firing_s: seconds(settings.keep_ms(&rule)),
                ..rule
            },
        })
        .collect()
}

/// `GET /api/v1/alerts`
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    params(
        ("state" = Option<String>, Query, description = "Only those in this state: `pending`, `firing` or `resolved`"),
        ("severity" = Option<String>, Query, description = "Only those of this severity: `page`, `ticket` or `info`"),
        ("name" = Option<String>, Query, description = "Only those of this rule, such as `ChargerOffline`"),
        ("charger" = Option<String>, Query, description = "Only those of this charger; letter case is ignored"),
        ("site" = Option<String>, Query, description = "Only those of the site with this id, and of its chargers"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before, unchanged"),
        ("limit" = Option<i32>, Query, description = "Items on the page: 1 to 1000; default 100", minimum = 1, maximum = 1000),
        ("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them"),
    ),
    responses((status = 200, description = "A page, the newest alert first", body = schema::Page<schema::Alert>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(PARAMETERS)?;
    let severities = [Severity::Page, Severity::Ticket, Severity::Info];
    let filter = AlertFilter {
        state: query.one_of("state", &AlertState::ALL.map(|one| (one.as_str(), one)))?,
        severity: query.one_of("severity", &severities.map(|one| (one.word(), one)))?,
        name: rule_name(&query)?,
        charger: query.text("charger")?.map(str::to_owned),
        site: query.text("site")?.map(str::to_owned),
    };
    let wanted = request.wanted(&query, "Alert")?;
    let alerts = state.alerts()?.alerts;
    state
        .answer_list(move |_| {
            let page = |page: &PageRequest| -> Result<Page<AlertView>, QueryError> {
                let found = alerts.alerts(&filter, page)?;
                Ok(Page {
                    items: found.items.iter().map(Alert::view).collect(),
                    next: found.next,
                })
            };
            page::collected(wanted, |_| {}, page)?.into_answer()
        })
        .await
}

/// `GET /api/v1/alerts/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/alerts/{id}",
    params(("id" = Uuid, Path, description = "The `id` of the alert")),
    responses((status = 200, description = "The alert", body = schema::Alert))
)]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    InPath(AlertId(id)): InPath<AlertId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    let alerts = state.alerts()?.alerts;
    state
        .answer(move |_| {
            let found = alerts.alert(id);
            let found = found.map_err(|error| ApiError::unavailable(&error))?;
            let found = found.ok_or_else(|| ApiError::unknown_alert(&id.to_string()))?;
            Ok(found.view())
        })
        .await
}

/// `POST /api/v1/alerts/{id}/acknowledge`
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/acknowledge",
    params(
        ("id" = Uuid, Path, description = "The `id` of the alert"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours changes nothing again"),
    ),
    request_body = schema::AlertAcknowledgement,
    responses((status = 200, description = "The alert; an earlier note is replaced", body = schema::Alert))
)]
pub(crate) async fn acknowledge(
    State(state): State<Arc<AppState>>,
    InPath(AlertId(id)): InPath<AlertId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let right = text_expected();
    let note = members
        .take_if("note", &right, |note: &String| is_text(note))
        .value();
    members.finish(&["note"])?;
    let alerts = state.alerts()?.alerts;
    let note = note.unwrap_or_default();
    let noted = state.run(move |_| {
        let noted = alerts.acknowledge_alert(id, &note, &request);
        match noted.map_err(|error| ApiError::unavailable(&error))? {
            Once::Done(alert) | Once::Repeated(alert) => Ok(alert.view()),
            Once::Refused(NotAcknowledged::Unknown) => {
                Err(ApiError::unknown_alert(&id.to_string()))
            }
            Once::Refused(NotAcknowledged::NotFiring(state)) => {
                Err(ApiError::alert_not_firing(id, state))
            }
            Once::Mismatch => Err(ApiError::idempotency_mismatch()),
            Once::InUse => Err(ApiError::idempotency_in_use()),
        }
    });
    change::object(StatusCode::OK, &noted.await?, None)
}

/// `GET /api/v1/alert-rules`
#[utoipa::path(
    get,
    path = "/api/v1/alert-rules",
    params(("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them")),
    responses((status = 200, description = "All alerts of the catalogue, with the times that are set", body = schema::AlertRules))
)]
pub(crate) async fn list_rules(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(page::WHOLE_PARAMETERS)?;
    let wanted = request.wanted(&query, "AlertRule")?;
    let AlertConfig { enabled, rules, .. } = &state.alerts()?.config;
    let answer = page::whole(wanted, &rule_views(rules, *enabled))?;
    Ok(answer.with_member("settings", rules)?.into_response())
}

/// `GET /api/v1/silences`
#[utoipa::path(
    get,
    path = "/api/v1/silences",
    params(("fields" = Option<String>, Query, description = "Only these members of each item, with commas between them")),
    responses((status = 200, description = "All silences, the newest first; those that ended are kept for 30 days", body = schema::Page<schema::Silence>))
)]
pub(crate) async fn list_silences(
    State(state): State<Arc<AppState>>,
    request: ListRequest,
) -> Result<Response, ApiError> {
    let query = request.query(page::WHOLE_PARAMETERS)?;
    let wanted = request.wanted(&query, "Silence")?;
    let alerts = state.alerts()?.alerts;
    let found = state.run(move |_| {
        let found = alerts.silences();
        found.map_err(|error| ApiError::unavailable(&error))
    });
    let at = now();
    let items: Vec<SilenceView> = found.await?.iter().map(|one| one.view(at)).collect();
    Ok(page::whole(wanted, &items)?.into_response())
}

/// `POST /api/v1/silences`
#[utoipa::path(
    post,
    path = "/api/v1/silences",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client, unique for this request: its repeat within 72 hours adds no second silence"),
    ),
    request_body = schema::NewSilence,
    responses((status = 201, description = "The silence; `Location` is its address", body = schema::Silence))
)]
pub(crate) async fn create_silence(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let mut members = change.members()?;
    let at = request.origin.at;
    let silence = silence(&mut members, at, request.origin.by.name.clone());
    members.finish(&[
        "name",
        "charger_id",
        "group",
        "site",
        "subject",
        "starts_at",
        "ends_at",
        "comment",
    ])?;
    // Without one, a fault was reported.
    let silence = silence.ok_or_else(ApiError::internal)?;
    let alerts = state.alerts()?.alerts;
    let added = state.run(move |_| {
        let added = alerts.add_silence(&silence, &request);
        match added.map_err(|error| ApiError::unavailable(&error))? {
            Once::Done(silence) | Once::Repeated(silence) => Ok(silence),
            Once::Refused(SilenceNotAdded::TooMany) => Err(ApiError::too_many_silences()),
            Once::Refused(SilenceNotAdded::Removed(id)) => {
                Err(ApiError::unknown_silence(&id.to_string()))
            }
            Once::Mismatch => Err(ApiError::idempotency_mismatch()),
            Once::InUse => Err(ApiError::idempotency_in_use()),
        }
    });
    let added = added.await?;
    let location = format!("/api/v1/silences/{}", added.id);
    let response = change::object(StatusCode::CREATED, &added.view(at), None)?;
    Ok(with_location(response, &location))
}

/// `DELETE /api/v1/silences/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/silences/{id}",
    params(("id" = Uuid, Path, description = "The `id` of the silence")),
    responses((status = 204, description = "The silence is removed; of what still fires, people are told now"))
)]
pub(crate) async fn remove_silence(
    State(state): State<Arc<AppState>>,
    InPath(SilenceId(id)): InPath<SilenceId>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let request = change.request()?;
    let alerts = state.alerts()?.alerts;
    state
        .run(move |_| {
            let removed = alerts.remove_silence(id, &request);
            match removed.map_err(|error| ApiError::unavailable(&error))? {
                true => Ok(()),
                false => Err(ApiError::unknown_silence(&id.to_string())),
            }
        })
        .await?;
    Ok(change::no_content())
}

/// The silence that the members describe; `None` if a fault was noted.
fn silence(members: &mut Members, now: Timestamp, by: Option<String>) -> Option<Silence> {
    let name = members.take_if(
        "name",
        "the name of an alert, such as \"ChargerOffline\" (`GET /api/v1/alert-rules` lists them)",
        |name: &String| rules().any(|rule| rule.name == name),
    );
    let charger = members.take_if("charger_id", CHARGER_ID_EXPECTED, |id: &String| {
        is_charger_id(id)
    });
    let right = format!("a text of 1 to {SILENCE_MATCHER_CHARS_MAX} characters");
    let group = members.take_if("group", &right, |group: &String| {
        (1..=SILENCE_MATCHER_CHARS_MAX).contains(&group.chars().count())
    });
    let site = members.take_if("site", SITE_ID_EXPECTED, |id: &String| is_site_id(id));
    let right = format!("a text of at most {SILENCE_MATCHER_CHARS_MAX} characters");
    let subject = members.take_if("subject", &right, |subject: &String| {
        subject.chars().count() <= SILENCE_MATCHER_CHARS_MAX
    });
    let starts_at = members
        .take_if("starts_at", parameters::TIME_EXPECTED, |at: &String| {
            parameters::time(at).is_some()
        })
        .value()
        .as_deref()
        .and_then(parameters::time)
        .unwrap_or(now);
    let right = format!(
        "a time after starts_at and after now, at most {} days after starts_at",
        SILENCE_MS_MAX / 86_400_000
    );
    let ends_at = members
        .required("ends_at", &right, |at: &String| {
            parameters::time(at).is_some_and(|at| {
                at > starts_at && at > now && at.0.saturating_sub(starts_at.0) <= SILENCE_MS_MAX
            })
        })
        .as_deref()
        .and_then(parameters::time);
    let right = text_expected();
    let comment = members
        .take_if("comment", &right, |comment: &String| is_text(comment))
        .value()
        .unwrap_or_default();
    let matcher = SilenceMatcher {
        name: name.value(),
        charger_id: charger.value(),
        group: group.value(),
        site: site.value(),
        subject: subject.value(),
    };
    if matcher.is_empty() {
        members.missing(
            "name",
            "given, or charger_id, or group, or site: a silence of every alert is refused",
        );
        return None;
    }
    let ends_at = ends_at?;
    Some(Silence {
        id: common::id::new_v7(),
        matcher,
        starts_at,
        ends_at,
        comment,
        created_by: by,
        created_at: now,
    })
}

fn rule_name(query: &Query) -> Result<Option<String>, ApiError> {
    let Some(name) = query.text("name")? else {
        return Ok(None);
    };
    match rules().any(|rule| rule.name == name) {
        true => Ok(Some(name.to_owned())),
        false => Err(ApiError::bad_parameter(
            "name",
            name,
            "the name of an alert, such as ChargerOffline (/api/v1/alert-rules lists them)",
        )),
    }
}

fn text_expected() -> String {
    format!("a text of at most {ALERT_NOTE_CHARS_MAX} characters")
}

fn is_text(text: &str) -> bool {
    text.chars().count() <= ALERT_NOTE_CHARS_MAX
}
