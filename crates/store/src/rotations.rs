//! Rows of password rotations, the same for both databases.

use crate::directory::{optional, to_text};
use crate::refusal::Refusal;
use crate::state::or_leave_out;
use central::Timestamp;
use central::model::{
    Actor, ActorKind, AuditEntry, CommandId, Origin, PasswordRotation, RotationAnswer,
    RotationOutcome, StoredCommand,
};
use serde_json::json;
use uuid::Uuid;

/// The columns of a [`RotationRow`].
pub(crate) const ROTATION_COLUMNS: &str =
    "key, id, new_hash, command, started_at, actor, origin, outcome, ended_at";

/// When a rotation is looked at again whose command says nothing yet: half a second, later 30 seconds.
const LOOK_AGAIN_MS: i64 = 500;
const LOOK_AGAIN_LATE_MS: i64 = 30_000;
/// For how long [`LOOK_AGAIN_MS`] holds.
const SOON_MS: i64 = 120_000;

/// A row of `password_rotations`.
#[derive(Debug)]
pub(crate) struct RotationRow {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) new_hash: Option<String>,
    pub(crate) command: Uuid,
    pub(crate) started_at: i64,
    pub(crate) actor: String,
    pub(crate) origin: String,
    pub(crate) outcome: Option<String>,
    pub(crate) ended_at: Option<i64>,
}

impl RotationRow {
    pub(crate) fn rotation(&self) -> Result<PasswordRotation, Refusal> {
        let outcome: Option<RotationOutcome> =
            optional(self.outcome.as_deref(), "outcome", &self.whose())?;
        let at = Timestamp(self.ended_at.unwrap_or_default());
        Ok(PasswordRotation {
            charger_id: self.id.clone(),
            command: CommandId(self.command),
            started_at: Timestamp(self.started_at),
            by: self.actor()?,
            end: outcome.map(|outcome| (outcome, at)),
        })
    }

    fn actor(&self) -> Result<Actor, Refusal> {
        serde_json::from_str(&self.actor).map_err(|error| {
            Refusal::corrupt(format!(
                "the column actor of {} cannot be read: {error}",
                self.whose()
            ))
        })
    }

    fn whose(&self) -> String {
        format!("the change of the password of charger {}", self.id)
    }

    /// The new hash, while the rotation is not decided.
    pub(crate) fn open_hash(&self) -> Option<&str> {
        self.new_hash.as_deref().filter(|_| self.outcome.is_none())
    }

    /// Who is named in the audit log when a gateway ends the rotation: who requested it.
    /// Wattpost, if that cannot be read: other rotations are ended with this one.
    pub(crate) fn origin_at(&self, now: Timestamp) -> Origin {
        let by = or_leave_out(self.actor(), &self.id);
        Origin {
            at: now,
            by: by.unwrap_or(Actor {
                kind: ActorKind::Wattpost,
                name: None,
            }),
            from: self.origin.clone(),
            request_id: None,
            traceparent: None,
        }
    }

    /// When the command is looked at next.
    pub(crate) fn next_look(&self, now: Timestamp) -> i64 {
        let pause = match now.0 - self.started_at < SOON_MS {
            true => LOOK_AGAIN_MS,
            false => LOOK_AGAIN_LATE_MS,
        };
        now.0 + pause
    }

    /// What its command says. A command that the retention has deleted says nothing.
    pub(crate) fn answer(command: Option<&StoredCommand>) -> RotationAnswer {
        command.map_or(RotationAnswer::Undecided, RotationAnswer::of)
    }
}

/// When a rotation that begins is looked at first.
pub(crate) fn first_look(now: Timestamp) -> i64 {
    now.0 + LOOK_AGAIN_MS
}

/// Who requested it, as it is stored.
pub(crate) fn actor_text(actor: &Actor) -> Result<String, Refusal> {
    serde_json::to_string(actor).map_err(|error| Refusal::Poison(error.to_string()))
}

/// The audit entry of the begin of a rotation.
pub(crate) fn begun_entry(charger_id: &str, command: CommandId, origin: &Origin) -> AuditEntry {
    AuditEntry {
        origin: origin.clone(),
        action: "charger.password_rotation_started".to_owned(),
        subject: charger_id.to_owned(),
        before: None,
        after: Some(json!({ "command_id": command })),
    }
}

/// The audit entry of the end of a rotation.
pub(crate) fn ended_entry(
    rotation: &RotationRow,
    outcome: RotationOutcome,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    Ok(AuditEntry {
        origin: origin.clone(),
        action: "charger.password_rotation_ended".to_owned(),
        subject: rotation.id.clone(),
        before: None,
        after: Some(json!({
            "command_id": CommandId(rotation.command),
            "outcome": to_text(outcome)?,
        })),
    })
}
