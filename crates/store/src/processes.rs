//! Rows of the table of processes, the same for both databases.

use crate::refusal::Refusal;
use central::model::{AuditEntry, Origin, ProcessReport};
use central::ports::KnownProcess;
use central::{GatewayId, Seq};
use serde_json::json;

/// The columns that are written with a report.
pub(crate) struct ProcessColumns {
    /// The report as JSON.
    pub(crate) report: String,
    /// For how many milliseconds the row is shown after the report; `None` without a limit.
    pub(crate) shown_ms: Option<i64>,
}

impl ProcessColumns {
    pub(crate) fn of(report: &ProcessReport) -> Result<Self, Refusal> {
        let json = serde_json::to_string(report);
        Ok(Self {
            report: json.map_err(|error| {
                Refusal::Poison(format!("cannot write the report as JSON: {error}"))
            })?,
            shown_ms: report.shown_ms(),
        })
    }
}

/// The entry of the audit log for a gateway that an operator has retired.
pub(crate) fn retired_entry(gateway: GatewayId, chargers: u64, origin: &Origin) -> AuditEntry {
    AuditEntry {
        origin: origin.clone(),
        action: "gateway.retired".to_owned(),
        subject: gateway.0.to_string(),
        before: Some(json!({ "connected": chargers })),
        after: Some(json!({ "connected": 0 })),
    }
}

/// Report, age, number up to which all is stored, whether it is retired.
pub(crate) type ProcessRow = (String, i64, i64, bool);

/// The process of a row; `None` if another version has written a report that this one cannot read.
pub(crate) fn known((report, age_ms, all_stored, is_retired): ProcessRow) -> Option<KnownProcess> {
    let report = match serde_json::from_str(&report) {
        Ok(report) => report,
        Err(error) => {
            tracing::debug!(%error, "the report of a process of another version cannot be read");
            return None;
        }
    };
    Some(KnownProcess {
        report,
        age_ms: age_ms.max(0),
        all_stored: Seq(all_stored.cast_unsigned()),
        is_retired,
    })
}
