//! Rows of batches, the same for both databases.

use crate::audit::shown;
use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::Timestamp;
use central::model::{
    AuditEntry, BatchChange, BatchCounts, BatchId, BatchPlan, BatchState, BatchView, ItemState,
    Origin,
};
use central::ports::{BatchNotChanged, BatchNotCreated, Once};
use central::query::Place;
use serde_json::{Value, json};
use uuid::Uuid;

/// The columns of a [`BatchRow`], of the table `batches`.
pub(crate) const COLUMNS: &str = "no, id, created_at, requested_by, plan, state, detail, total, pending, started, succeeded, failed, not_started, ignored_succeeded, ignored_failed";

/// The condition of a batch with nothing left to do: done or cancelled, and every charger has ended.
pub(crate) const IS_FINISHED: &str = "state IN (3, 4) AND pending = 0 AND started = 0";

/// Sets the counts of the batch whose number is parameter 1.
pub(crate) const SET_COUNTS: &str = "UPDATE batches SET
    pending = (SELECT count(*) FROM batch_items i WHERE i.batch = batches.no AND i.state = 0),
    started = (SELECT count(*) FROM batch_items i WHERE i.batch = batches.no AND i.state = 1),
    succeeded = (SELECT count(*) FROM batch_items i WHERE i.batch = batches.no AND i.state = 2),
    failed = (SELECT count(*) FROM batch_items i WHERE i.batch = batches.no AND i.state = 3),
    not_started = (SELECT count(*) FROM batch_items i WHERE i.batch = batches.no AND i.state = 4)
    WHERE no = $1";

/// Why a charger whose queue is full has failed.
pub(crate) const QUEUE_FULL: &str = "too many commands wait for the charger";

/// A batch's row.
#[derive(Debug)]
pub(crate) struct BatchRow {
    pub(crate) no: i64,
    pub(crate) id: Uuid,
    pub(crate) created_at: i64,
    pub(crate) requested_by: String,
    pub(crate) plan: String,
    pub(crate) state: i64,
    pub(crate) detail: String,
    /// Total, pending, started, succeeded, failed, not started, and the succeeded and failed ones that the stop rule
    /// ignores.
    pub(crate) counts: [i64; 8],
}

impl BatchRow {
    /// As [`BatchRow::view`], with others: `None` and a line in the log if it cannot be read.
    pub(crate) fn readable(self) -> Option<BatchView> {
        let whose = format!("batch {}", self.id);
        or_leave_out(self.view(), &whose)
    }

    /// As [`BatchRow::readable`], with its place in the list.
    pub(crate) fn listed(self) -> (Place, Option<BatchView>) {
        (Place::Batch(self.no), self.readable())
    }

    /// The batch as the port returns it.
    pub(crate) fn view(self) -> Result<BatchView, Refusal> {
        let corrupt = |why: &dyn std::fmt::Display| {
            Refusal::corrupt(format!(
                "the row of batch {} cannot be read: {why}",
                self.id
            ))
        };
        let plan: BatchPlan = serde_json::from_str(&self.plan).map_err(|error| corrupt(&error))?;
        let state = BatchState::from_number(self.state);
        let state = state.ok_or_else(|| corrupt(&format_args!("state {}", self.state)))?;
        let counts = self.counts.map(i64::unsigned_abs);
        let [
            total,
            pending,
            started,
            succeeded,
            failed,
            not_started,
            ignored @ ..,
        ] = counts;
        Ok(BatchView {
            id: BatchId(self.id),
            state,
            detail: self.detail,
            plan,
            total,
            counts: BatchCounts {
                pending,
                started,
                succeeded,
                failed,
                not_started,
            },
            ignored,
            created_at: Timestamp(self.created_at),
            by: self.requested_by,
        })
    }
}

/// The audit entry of a batch that was created: what it sends, its pace, and the number of its chargers.
pub(crate) fn created_entry(view: &BatchView, origin: &Origin) -> Result<AuditEntry, Refusal> {
    let mut after = shown(view)?;
    if let Value::Object(members) = &mut after {
        members.retain(|name, _| !matches!(name.as_str(), "counts" | "detail" | "state"));
    }
    Ok(AuditEntry {
        origin: origin.clone(),
        action: "batch.created".to_owned(),
        subject: view.id.to_string(),
        before: None,
        after: Some(after),
    })
}

/// The audit entry of a batch whose state a person has changed.
pub(crate) fn changed_entry(
    before: &BatchView,
    change: BatchChange,
    origin: &Origin,
) -> AuditEntry {
    AuditEntry {
        origin: origin.clone(),
        action: change.audited().to_owned(),
        subject: before.id.to_string(),
        before: Some(json!({"state": before.state, "detail": before.detail})),
        after: Some(json!({"state": change.to(), "detail": ""})),
    }
}

/// What a request for a new batch is answered with: the batch as it is now instead of its id.
pub(crate) fn created(
    once: Once<BatchId, BatchNotCreated>,
    stored: Option<BatchView>,
) -> Result<Once<BatchView, BatchNotCreated>, Refusal> {
    Ok(match (once, stored) {
        (Once::Done(_), Some(view)) => Once::Done(view),
        (Once::Done(_), None) => {
            return Err(Refusal::corrupt("a batch that was inserted is not there"));
        }
        (Once::Repeated(_), Some(view)) => Once::Repeated(view),
        (Once::Repeated(id), None) => Once::Refused(BatchNotCreated::Deleted(id)),
        (Once::Refused(why), _) => Once::Refused(why),
        (Once::Mismatch, _) => Once::Mismatch,
        (Once::InUse, _) => Once::InUse,
    })
}

/// What a request for a change is answered with: the batch as it is now.
pub(crate) fn changed(
    once: Once<(), BatchNotChanged>,
    stored: Option<BatchView>,
) -> Once<BatchView, BatchNotChanged> {
    match (once, stored) {
        (Once::Done(()), Some(view)) => Once::Done(view),
        (Once::Repeated(()), Some(view)) => Once::Repeated(view),
        (Once::Done(()) | Once::Repeated(()), None) => Once::Refused(BatchNotChanged::Unknown),
        (Once::Refused(why), _) => Once::Refused(why),
        (Once::Mismatch, _) => Once::Mismatch,
        (Once::InUse, _) => Once::InUse,
    }
}

/// The plan as it is stored.
pub(crate) fn plan_text(plan: &BatchPlan) -> Result<String, Refusal> {
    serde_json::to_string(plan)
        .map_err(|error| Refusal::Poison(format!("cannot write the plan as JSON: {error}")))
}

/// The state of a charger's item with this number; `None`, with a line in the log, if it is not known.
pub(crate) fn item_state(charger_id: &str, number: i64) -> Option<ItemState> {
    let state = ItemState::from_number(number)
        .ok_or_else(|| Refusal::corrupt(format!("it has the state {number}")));
    or_leave_out(state, &format_args!("charger {charger_id} of a batch"))
}
