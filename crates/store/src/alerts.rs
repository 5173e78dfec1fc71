//! Rows of alerts and silences, the same for both databases.

use crate::paging::cut_readable;
use crate::refusal::Refusal;
use crate::state::or_log;
use central::Timestamp;
use central::alert::Severity;
use central::alert::machine::{Stage, Step};
use central::model::{Acknowledged, Alert, AlertState, AuditEntry, Origin, Silence};
use central::ports::{AlertFilter, NotAcknowledged, Once, SilenceNotAdded};
use central::query::{Page, Place};
use serde_json::json;
use uuid::Uuid;

use crate::event_log::Queued;

/// A lease that ends later than this was taken before the clock was set back, and does not count. In milliseconds.
pub(crate) const LEASE_MS_MAX: i64 = 10 * 60_000;
/// Alerts that have ended and are read at most.
pub(crate) const ENDED_READ_MAX: i64 = 5_000;
/// Rows that are deleted at once.
pub(crate) const EXPIRED_ROWS: i64 = 5_000;

/// Body and acknowledgement.
pub(crate) type AlertRow = (String, Option<String>);

/// The alert of a row.
pub(crate) fn read((body, acknowledged): AlertRow) -> Result<Alert, Refusal> {
    let corrupt =
        |error: serde_json::Error| Refusal::corrupt(format!("an alert cannot be read: {error}"));
    let mut alert: Alert = serde_json::from_str(&body).map_err(corrupt)?;
    alert.acknowledged = acknowledged
        .map(|text| serde_json::from_str(&text).map_err(corrupt))
        .transpose()?;
    Ok(alert)
}

/// As [`read`], with others: `None` and a line in the log if it cannot be read.
pub(crate) fn readable(row: AlertRow) -> Option<Alert> {
    or_log(read(row).map_err(Refusal::into_unavailable), &"an alert")
}

/// The acknowledgements of these rows that can be read.
pub(crate) fn readable_acknowledged(
    rows: impl IntoIterator<Item = (Uuid, String)>,
) -> Vec<(Uuid, Acknowledged)> {
    let read = |(id, text): (Uuid, String)| {
        let read = read_acknowledged(&text).map_err(Refusal::into_unavailable);
        Some((id, or_log(read, &format_args!("alert {id}"))?))
    };
    rows.into_iter().filter_map(read).collect()
}

/// The silences of these rows that can be read; one that cannot be silences nothing.
pub(crate) fn readable_silences(rows: &[String]) -> Vec<Silence> {
    let read = |body: &String| {
        let read = read_silence(body).map_err(Refusal::into_unavailable);
        or_log(read, &"a silence")
    };
    rows.iter().filter_map(read).collect()
}

/// A page of alerts, from one row more than requested: their ids, and what can be read of them.
pub(crate) fn page_of(rows: Vec<(Uuid, Option<Alert>)>, limit: usize) -> Page<Alert> {
    let rows = rows
        .into_iter()
        .map(|(id, alert)| (Place::Alert(id), alert));
    cut_readable(rows.collect(), limit)
}

/// The acknowledgement of a row.
fn read_acknowledged(text: &str) -> Result<Acknowledged, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        Refusal::corrupt(format!(
            "the acknowledgement of an alert cannot be read: {error}"
        ))
    })
}

/// The silence of a row.
pub(crate) fn read_silence(body: &str) -> Result<Silence, Refusal> {
    serde_json::from_str(body)
        .map_err(|error| Refusal::corrupt(format!("a silence cannot be read: {error}")))
}

/// JSON for a column.
pub(crate) fn text(value: &impl serde::Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value)
        .map_err(|error| Refusal::Poison(format!("cannot write an alert as JSON: {error}")))
}

/// The columns of an alert.
pub(crate) struct Columns {
    pub(crate) id: Uuid,
    pub(crate) state: i16,
    pub(crate) severity: i16,
    pub(crate) name: String,
    pub(crate) charger_key: Option<String>,
    pub(crate) site: Option<String>,
    pub(crate) at: i64,
    pub(crate) body: String,
}

/// The columns of each alert that a step has changed.
pub(crate) fn columns(step: &Step) -> Result<Vec<Columns>, Refusal> {
    step.changed
        .iter()
        .map(|alert| {
            let stored = Alert {
                acknowledged: None,
                ..alert.clone()
            };
            Ok(Columns {
                id: alert.id,
                state: alert.state.number(),
                severity: severity_number(alert.severity),
                name: alert.name.clone(),
                charger_key: alert.charger_key().map(|key| key.as_str().to_owned()),
                site: alert.site.clone(),
                at: alert.resolved_at.unwrap_or(alert.active_at).0,
                body: text(&stored)?,
            })
        })
        .collect()
}

/// The number of a severity in the database; never change one.
pub(crate) const fn severity_number(severity: Severity) -> i16 {
    match severity {
        Severity::Page => 0,
        Severity::Ticket => 1,
        Severity::Info => 2,
    }
}

/// What a step tells, for the queue of events.
pub(crate) fn told(step: &Step, now: Timestamp) -> Vec<Queued> {
    step.told
        .iter()
        .map(|(id, stage)| Queued::alert(*id, *stage, now))
        .collect()
}

/// What a step tells of parts of the pipeline, for the queue of events, with what each event shows.
pub(crate) fn told_parts(step: &Step) -> Result<Vec<(Queued, String)>, Refusal> {
    let told = step.parts.iter().map(|change| {
        let text = text(change)?;
        Ok((Queued::part(&text, change.at), text))
    });
    told.collect()
}

/// What a person's acknowledgement tells.
pub(crate) const fn acknowledged(id: Uuid, at: Timestamp) -> Queued {
    Queued::alert(id, Stage::Acknowledged, at)
}

/// What is stored when a person acknowledges this alert, and the entry of the audit log.
pub(crate) fn acknowledgement(
    before: Option<&Alert>,
    note: &str,
    origin: &Origin,
) -> Result<(Acknowledged, AuditEntry), NotAcknowledged> {
    let before = before.ok_or(NotAcknowledged::Unknown)?;
    if before.state != AlertState::Firing {
        return Err(NotAcknowledged::NotFiring(before.state));
    }
    let acknowledged = Acknowledged {
        at: origin.at,
        by: origin.by.name.clone(),
        note: note.to_owned(),
    };
    let shown = |acknowledged: Option<&Acknowledged>| {
        Some(json!({
            "name": before.name,
            "subject": before.subject,
            "charger_id": before.charger_id,
            "note": acknowledged.map(|one| &one.note),
        }))
    };
    let entry = AuditEntry {
        origin: origin.clone(),
        action: "alert.acknowledged".to_owned(),
        subject: before.id.to_string(),
        before: shown(before.acknowledged.as_ref()),
        after: shown(Some(&acknowledged)),
    };
    Ok((acknowledged, entry))
}

/// The entry of the audit log for a silence.
pub(crate) fn silence_entry(silence: &Silence, is_added: bool, origin: &Origin) -> AuditEntry {
    let shown = serde_json::to_value(silence.view(origin.at)).ok();
    let (action, before, after) = match is_added {
        true => ("alert_silence.added", None, shown),
        false => ("alert_silence.removed", shown, None),
    };
    AuditEntry {
        origin: origin.clone(),
        action: action.to_owned(),
        subject: silence.id.to_string(),
        before,
        after,
    }
}

/// The answer to a request for an acknowledgement, with the alert as it is now.
pub(crate) fn answered(
    once: Once<(), NotAcknowledged>,
    stored: Option<Alert>,
) -> Once<Alert, NotAcknowledged> {
    let found = |wrap: fn(Alert) -> Once<Alert, NotAcknowledged>, stored: Option<Alert>| {
        stored.map_or(Once::Refused(NotAcknowledged::Unknown), wrap)
    };
    match once {
        Once::Done(()) => found(Once::Done, stored),
        Once::Repeated(()) => found(Once::Repeated, stored),
        Once::Refused(why) => Once::Refused(why),
        Once::Mismatch => Once::Mismatch,
        Once::InUse => Once::InUse,
    }
}

/// The answer to a request for a silence, with the silence as it is stored.
pub(crate) fn added(
    once: Once<Uuid, SilenceNotAdded>,
    stored: Option<Silence>,
) -> Once<Silence, SilenceNotAdded> {
    match (once, stored) {
        (Once::Done(_), Some(silence)) => Once::Done(silence),
        (Once::Repeated(_), Some(silence)) => Once::Repeated(silence),
        (Once::Done(id) | Once::Repeated(id), None) => Once::Refused(SilenceNotAdded::Removed(id)),
        (Once::Refused(why), _) => Once::Refused(why),
        (Once::Mismatch, _) => Once::Mismatch,
        (Once::InUse, _) => Once::InUse,
    }
}

/// The conditions of a list of alerts. `parameters` are those of state, severity, name, charger and site; of the index that is
/// read, the first of these that the filter has decides: charger, site, name, state.
pub(crate) fn conditions(filter: &AlertFilter, parameters: [&str; 5]) -> String {
    let [state, severity, name, charger, site] = parameters;
    let mut sql = String::new();
    match filter.state {
        // So that the planner finds the partial index.
        Some(AlertState::Resolved) => {
            sql.push_str(&format!(" AND state = 2 AND state = {state}"));
        }
        Some(_) => sql.push_str(&format!(" AND state <> 2 AND state = {state}")),
        None => sql.push_str(&format!(" AND {state} IS NULL")),
    }
    for (is_given, column, parameter) in [
        (filter.severity.is_some(), "severity", severity),
        (filter.name.is_some(), "name", name),
        (filter.charger.is_some(), "charger_key", charger),
        (filter.site.is_some(), "site", site),
    ] {
        match is_given {
            true => sql.push_str(&format!(" AND {column} = {parameter}")),
            false => sql.push_str(&format!(" AND {parameter} IS NULL")),
        }
    }
    sql
}
