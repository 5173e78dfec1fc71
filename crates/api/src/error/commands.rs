//! Commands, batches and actions of OCPP.

use super::kinds::{
    ALREADY_SENT, BATCH_ENDED, CHARGER_OFFLINE, NO_REPORT, NOT_CONNECTED, NOT_SUPPORTED,
    PAYLOAD_INVALID, QUEUE_FULL, TOO_MANY_BATCHES, UNKNOWN_ACTION, UNKNOWN_BATCH, UNKNOWN_COMMAND,
    VERSION_UNKNOWN,
};
use super::{ApiError, Fault, quoted, shortened};
use central::command_request::RequestError;
use central::model::BATCHES_OPEN_MAX;
use central::model::BatchId;
use central::model::BatchState;

impl ApiError {
    pub(crate) fn unknown_command(id: &str) -> Self {
        Self::new(
            &UNKNOWN_COMMAND,
            format!("No command is known by the id {}.", quoted(id)),
        )
    }

    pub(crate) fn no_report(id: &str, action: &str) -> Self {
        Self::new(
            &NO_REPORT,
            format!("The command {id} is {action}, which asks the charger for no report."),
        )
    }

    pub(crate) fn unknown_batch(id: &str) -> Self {
        Self::new(
            &UNKNOWN_BATCH,
            format!("No batch is known by the id {}.", quoted(id)),
        )
    }

    pub(crate) fn batch_deleted(id: BatchId) -> Self {
        Self::new(
            &UNKNOWN_BATCH,
            format!(
                "The same request created the batch {id} before, which has ended and is no longer kept; use another \
                 Idempotency-Key for a new batch."
            ),
        )
    }

    pub(crate) fn batch_ended(id: &str, state: BatchState) -> Self {
        Self::new(
            &BATCH_ENDED,
            format!(
                "The batch {id} is {}, so it stays as it is.",
                state.as_str()
            ),
        )
    }

    pub(crate) fn too_many_batches() -> Self {
        Self::new(
            &TOO_MANY_BATCHES,
            format!(
                "{BATCHES_OPEN_MAX} batches are not finished; wait until one is, or cancel one."
            ),
        )
        .retry_after_s(60)
    }

    pub(crate) fn unknown_action(version: &str, action: &str) -> Self {
        Self::new(
            &UNKNOWN_ACTION,
            format!(
                "OCPP {} has no action {}; GET /api/v1/actions lists the actions of 1.6, 2.0.1 and 2.1.",
                shortened(version),
                quoted(action)
            ),
        )
    }

    pub(crate) fn charger_offline(charger_id: &str, command: &str) -> Self {
        let mut error = Self::new(
            &CHARGER_OFFLINE,
            format!(
                "The charger {} is not connected, and the command was not sent; set when_offline to \"wait\" to send it when \
                 the charger connects.",
                quoted(charger_id)
            ),
        );
        error.command = Some(command.to_owned());
        error
    }

    pub(crate) fn not_connected(charger_id: &str) -> Self {
        Self::new(
            &NOT_CONNECTED,
            format!(
                "The charger {} is not connected, so there is no connection to close.",
                quoted(charger_id)
            ),
        )
    }

    /// A command that cannot be stored. The places in a payload that breaks its schema are listed one by one.
    pub(crate) fn bad_command(error: &RequestError) -> Self {
        let kind = match error {
            RequestError::NotSupported { .. } => &NOT_SUPPORTED,
            _ => &PAYLOAD_INVALID,
        };
        let faults = match error {
            RequestError::Violates { violations, .. } => violations
                .iter()
                .map(|violation| Fault {
                    pointer: format!("/payload{}", violation.path),
                    code: violation.kind.as_str(),
                    detail: violation.detail.clone(),
                })
                .collect(),
            other => vec![Fault {
                pointer: other.pointer().to_owned(),
                code: kind.code,
                detail: other.to_string(),
            }],
        };
        let mut answer = Self::new(kind, format!("The command is not valid: {error}."));
        answer.faults = faults;
        answer
    }

    pub(crate) fn version_unknown(charger_id: &str) -> Self {
        Self::new(
            &VERSION_UNKNOWN,
            format!(
                "The version of OCPP that the charger {} speaks is not known, because it has sent no message; send a command \
                 with POST /api/v1/chargers/{{id}}/commands, or wait until it has connected.",
                quoted(charger_id)
            ),
        )
    }

    pub(crate) fn already_sent(id: &str) -> Self {
        Self::new(
            &ALREADY_SENT,
            format!(
                "The command {id} cannot be cancelled: a gateway has it, or it is done; GET /api/v1/commands/{id} shows \
                 its state."
            ),
        )
    }

    pub(crate) fn queue_full() -> Self {
        Self::new(
            &QUEUE_FULL,
            "Too many commands wait for this charger; cancel some (GET /api/v1/commands?queued=true), or wait."
                .to_owned(),
        )
        .retry_after_s(60)
    }
}
