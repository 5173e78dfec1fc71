//! The change of a charger's password at the charger, which a crash at any moment must not turn into a charger that can
//! no longer log in (rules S-20 and S-21).
//!
//! The new password's hash is stored before the password is sent. From then on both passwords are accepted. The first
//! log-in with the new one decides, and the old one is dropped; an answer that says that the charger has not taken the
//! new one decides too, and the new one is dropped.

use super::{Actor, CommandId, CommandState, CommandView, OutcomeClass, StoredCommand, rfc3339};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A rotation, as the database has it. It has neither a password nor a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordRotation {
    /// The charger, in the operator's spelling.
    pub charger_id: String,
    /// The command that carries the password.
    pub command: CommandId,
    /// When it was requested.
    pub started_at: Timestamp,
    /// Who requested it.
    pub by: Actor,
    /// How and when it was decided, if it is.
    pub end: Option<(RotationOutcome, Timestamp)>,
}

/// How a rotation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationOutcome {
    /// The charger has logged in with the new password; the old one is no longer accepted.
    Done,
    /// The charger has not taken the new password; the old one stays.
    Refused,
    /// The charger has not received the new password and will not; the old one stays.
    NotSent,
    /// A person gave it up before it was sent; the old password stays.
    Cancelled,
    /// A person set another password, removed it, or removed the charger.
    Replaced,
}

/// The state of a charger's newest rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationState {
    /// There was none.
    None,
    /// The command is not sent yet.
    Waiting,
    /// The command was sent, and the charger has time to answer. Both passwords are accepted.
    Sent,
    /// The charger has accepted, and has not logged in with the new password yet. Both passwords are accepted.
    Accepted,
    /// It is not known whether the charger has the new password. Both passwords are accepted.
    Uncertain,
    /// [`RotationOutcome::Done`].
    Done,
    /// [`RotationOutcome::Refused`].
    Refused,
    /// [`RotationOutcome::NotSent`].
    NotSent,
    /// [`RotationOutcome::Cancelled`].
    Cancelled,
    /// [`RotationOutcome::Replaced`].
    Replaced,
}

/// A charger's newest rotation as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotationView {
    /// The charger, in the operator's spelling.
    pub charger_id: String,
    /// Its state.
    pub state: RotationState,
    /// The command that carries the password; its payload is shown without it.
    pub command_id: Option<CommandId>,
    /// When it was requested.
    #[serde(serialize_with = "rfc3339::option")]
    pub started_at: Option<Timestamp>,
    /// Who requested it.
    pub by: Option<Actor>,
    /// When it was decided.
    #[serde(serialize_with = "rfc3339::option")]
    pub ended_at: Option<Timestamp>,
}

impl RotationView {
    /// What is shown of a charger without a rotation.
    #[must_use]
    pub fn none(charger_id: &str) -> Self {
        Self {
            charger_id: charger_id.to_owned(),
            state: RotationState::None,
            command_id: None,
            started_at: None,
            by: None,
            ended_at: None,
        }
    }
}

impl PasswordRotation {
    /// The rotation as it is shown at `now`; `command` is the stored one, if the retention has not deleted it.
    #[must_use]
    pub fn view(&self, command: Option<&StoredCommand>, now: Timestamp) -> RotationView {
        let state = match self.end {
            Some((RotationOutcome::Done, _)) => RotationState::Done,
            Some((RotationOutcome::Refused, _)) => RotationState::Refused,
            Some((RotationOutcome::NotSent, _)) => RotationState::NotSent,
            Some((RotationOutcome::Cancelled, _)) => RotationState::Cancelled,
            Some((RotationOutcome::Replaced, _)) => RotationState::Replaced,
            None => match command {
                None => RotationState::Uncertain,
                Some(command) => open_state(command, &command.view(now)),
            },
        };
        RotationView {
            charger_id: self.charger_id.clone(),
            state,
            command_id: Some(self.command),
            started_at: Some(self.started_at),
            by: Some(self.by.clone()),
            ended_at: self.end.map(|(_, at)| at),
        }
    }
}

fn open_state(stored: &StoredCommand, view: &CommandView) -> RotationState {
    match Answer::of(stored) {
        Answer::Accepted => return RotationState::Accepted,
        // It ends when that is stored; until then gateways accept both passwords.
        Answer::Ends(RotationOutcome::NotSent) => return RotationState::Waiting,
        Answer::Ends(_) => return RotationState::Sent,
        Answer::Undecided => {}
    }
    let class = view.outcome.as_ref().map(|outcome| outcome.class);
    match (view.state, class) {
        (CommandState::Queued | CommandState::WaitingForCharger | CommandState::Claimed, _) => {
            RotationState::Waiting
        }
        (CommandState::Sent, _) => RotationState::Sent,
        (CommandState::Done, Some(OutcomeClass::NotSent)) => RotationState::Waiting,
        (CommandState::Done, _) => RotationState::Uncertain,
    }
}

/// What the command says of the rotation that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet, or nothing that is proved.
    Undecided,
    /// The charger has the new password, and uses it at its next log-in, or after a restart.
    Accepted,
    /// The old password stays.
    Ends(RotationOutcome),
}

impl Answer {
    /// Of this command. Only an answer that says so ends a rotation: after a CALLERROR that reports a fault of the
    /// charger (`InternalError`, `GenericError`) it may have the new password.
    #[must_use]
    pub fn of(command: &StoredCommand) -> Self {
        let progress = &command.progress;
        let Some(reply) = &progress.reply else {
            let is_not_sent = matches!(command.stage, super::CommandStage::NotSent { .. });
            return match is_not_sent && progress.sent.is_none() && progress.unanswered.is_none() {
                true => Self::Ends(RotationOutcome::NotSent),
                false => Self::Undecided,
            };
        };
        let Ok(payload) = serde_json::from_str::<Value>(&reply.payload) else {
            return Self::Undecided;
        };
        if reply.is_error {
            return match payload.get(0).and_then(Value::as_str) {
                None | Some("InternalError" | "GenericError") => Self::Undecided,
                Some(_) => Self::Ends(RotationOutcome::Refused),
            };
        }
        // ChangeConfiguration (1.6), and SetVariables (2.x) with one variable.
        let status = payload
            .get("status")
            .or_else(|| payload.pointer("/setVariableResult/0/attributeStatus"));
        match status.and_then(Value::as_str) {
            Some("Accepted" | "RebootRequired") => Self::Accepted,
            Some(_) => Self::Ends(RotationOutcome::Refused),
            None => Self::Undecided,
        }
    }
}
