//! A batch: one command to many chargers, paced. The chargers are frozen when it is created; each has an item, which
//! gets its command when its turn comes.

use super::{CommandId, CommandView, TraceParent, rfc3339};
use crate::secret;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use uuid::Uuid;

/// Chargers of a batch at most.
pub const BATCH_ITEMS_MAX: usize = 20_000;
/// Batches that are kept: when one is created, the oldest finished ones beyond this number are deleted.
pub const BATCHES_KEPT: usize = 100;
/// Batches that are not finished at most.
pub const BATCHES_OPEN_MAX: usize = 20;
/// Commands of a batch that are under way at once, at most and by default.
pub const BATCH_AT_ONCE_MAX: u32 = 500;
/// Commands of a batch that are under way at once by default.
pub const BATCH_AT_ONCE_DEFAULT: u32 = 20;
/// Commands that a batch starts each second at most.
pub const BATCH_PER_SECOND_MAX: u32 = 200;
/// Commands that a batch starts each second by default.
pub const BATCH_PER_SECOND_DEFAULT: u32 = 20;
/// How long a batch may start commands by default: a day.
pub const BATCH_EXPIRES_DEFAULT_MS: i64 = 24 * 3_600 * 1_000;

/// The id of a batch, a UUID of version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub Uuid);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What each charger of a batch gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BatchWork {
    /// An action with its payload, the same for all.
    Action {
        /// The action, in the spelling of OCPP.
        action: String,
        /// The payload.
        payload: Map<String, Value>,
    },
    /// An operation, which becomes the command of each charger's version.
    Operation {
        /// Its name.
        operation: String,
        /// Its body.
        parameters: Map<String, Value>,
    },
}

/// What is fixed when a batch is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchPlan {
    /// What each charger gets.
    #[serde(flatten)]
    pub work: BatchWork,
    /// Commands that are under way at once, at most.
    pub at_once: u32,
    /// Commands that are started each second, at most.
    pub per_second: u32,
    /// Halts when this number of chargers has failed.
    pub stop_after_failures: Option<u32>,
    /// Halts when this share of the finished chargers has failed, in percent, and at least
    /// [`SHARE_NEEDS_FINISHED`] have finished.
    pub stop_at_failed_percent: Option<u32>,
    /// `fail`: a charger that is not connected when its turn comes has failed; `wait`: its command waits until the batch
    /// expires.
    pub when_offline: WhenOffline,
    /// How long each charger may take to answer.
    pub answer_within_ms: u32,
    /// No command is started or sent at or after this time.
    #[serde(with = "millis")]
    pub expires_at: Timestamp,
    /// The `traceparent` of the request that created the batch, which its commands have.
    #[serde(default)]
    pub traceparent: Option<TraceParent>,
}

mod millis {
    use crate::time::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp)
    }
}

/// What happens to a charger that is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenOffline {
    /// It has failed.
    Fail,
    /// Its command waits.
    Wait,
}

/// Chargers that must have finished before a share of them can halt a batch.
pub const SHARE_NEEDS_FINISHED: u64 = 10;

/// The state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Commands are started.
    Running,
    /// A person has paused it: no command is started until it is resumed.
    Paused,
    /// Its stop rule has paused it.
    Halted,
    /// A person has cancelled it: no command is started any more, and those that no gateway has are cancelled.
    Cancelled,
    /// Every charger has finished, or the batch has expired.
    Done,
}

impl BatchState {
    /// All states, each at the place of its number in the database.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Paused,
        Self::Halted,
        Self::Cancelled,
        Self::Done,
    ];

    /// The name in the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }

    /// The number in the database.
    #[must_use]
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The state with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// What a person can do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchChange {
    /// Start no more commands until it is resumed.
    Pause,
    /// Continue a batch that is paused or halted.
    Resume,
    /// Start no more commands, and cancel those that no gateway has.
    Cancel,
}

impl BatchChange {
    /// The state after it.
    #[must_use]
    pub const fn to(self) -> BatchState {
        match self {
            Self::Pause => BatchState::Paused,
            Self::Resume => BatchState::Running,
            Self::Cancel => BatchState::Cancelled,
        }
    }

    /// Whether it can be done with a batch in this state, or was done with it already.
    #[must_use]
    pub const fn is_possible(self, state: BatchState) -> bool {
        match state {
            BatchState::Running | BatchState::Paused | BatchState::Halted => true,
            BatchState::Cancelled => matches!(self, Self::Cancel),
            BatchState::Done => false,
        }
    }

    /// The action in the audit log.
    #[must_use]
    pub const fn audited(self) -> &'static str {
        match self {
            Self::Pause => "batch.paused",
            Self::Resume => "batch.resumed",
            Self::Cancel => "batch.cancelled",
        }
    }
}

/// The state of a charger in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Its turn has not come.
    Pending,
    /// Its command is stored; it has no outcome yet.
    Started,
    /// The charger has accepted the command.
    Succeeded,
    /// The charger has refused it, it was not sent, its outcome is uncertain, or no command could be made.
    Failed,
    /// The batch was cancelled or expired before its turn.
    NotStarted,
}

impl ItemState {
    /// All states, each at the place of its number in the database.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::NotStarted,
    ];

    /// The name in the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::NotStarted => "not_started",
        }
    }

    /// The number in the database.
    #[must_use]
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The state with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// How many chargers of a batch are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BatchCounts {
    /// In [`ItemState::Pending`].
    pub pending: u64,
    /// In [`ItemState::Started`].
    pub started: u64,
    /// In [`ItemState::Succeeded`].
    pub succeeded: u64,
    /// In [`ItemState::Failed`].
    pub failed: u64,
    /// In [`ItemState::NotStarted`].
    pub not_started: u64,
}

impl BatchCounts {
    /// The number in this state.
    pub const fn of(&mut self, state: ItemState) -> &mut u64 {
        match state {
            ItemState::Pending => &mut self.pending,
            ItemState::Started => &mut self.started,
            ItemState::Succeeded => &mut self.succeeded,
            ItemState::Failed => &mut self.failed,
            ItemState::NotStarted => &mut self.not_started,
        }
    }

    /// Why the plan's stop rule halts the batch now; `None` if it does not. It ignores the chargers that had succeeded and
    /// failed when the batch was resumed after a halt.
    #[must_use]
    pub fn halts(&self, plan: &BatchPlan, ignored: [u64; 2]) -> Option<String> {
        let succeeded = self.succeeded.saturating_sub(ignored[0]);
        let failed = self.failed.saturating_sub(ignored[1]);
        let finished = succeeded + failed;
        if let Some(most) = plan.stop_after_failures
            && failed >= u64::from(most)
        {
            return Some(format!("{failed} chargers have failed"));
        }
        let percent = u64::from(plan.stop_at_failed_percent?);
        let is_reached = finished >= SHARE_NEEDS_FINISHED && failed * 100 >= percent * finished;
        is_reached.then(|| format!("{failed} of {finished} finished chargers have failed"))
    }
}

/// A batch as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchView {
    /// Its id.
    pub id: BatchId,
    /// Its state.
    pub state: BatchState,
    /// Why it has this state; empty if there is nothing to say.
    pub detail: String,
    /// What is fixed.
    #[serde(flatten, serialize_with = "plan_shown")]
    pub plan: BatchPlan,
    /// The number of its chargers.
    pub total: u64,
    /// How many of them are in each state.
    pub counts: BatchCounts,
    /// How many had succeeded and failed when it was resumed after a halt: the stop rule ignores them.
    #[serde(skip)]
    pub ignored: [u64; 2],
    /// When it was created.
    #[serde(serialize_with = "rfc3339::always")]
    pub created_at: Timestamp,
    /// Who created it.
    pub by: String,
}

fn plan_shown<S: serde::Serializer>(plan: &BatchPlan, to: S) -> Result<S::Ok, S::Error> {
    use serde::Serialize as _;
    use serde::ser::Error as _;
    let mut shown = serde_json::to_value(plan).map_err(S::Error::custom)?;
    for member in ["payload", "parameters"] {
        if let Some(value) = shown.get_mut(member) {
            secret::hide(value);
        }
    }
    shown["expires_at"] = Value::from(plan.expires_at.to_string());
    shown.serialize(to)
}

/// A charger of a batch, with its command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemView {
    /// Its place in the batch, from 0 on.
    #[serde(skip)]
    pub place: u32,
    /// The charger.
    pub charger_id: String,
    /// Its state.
    pub state: ItemState,
    /// Why it has this state; empty if there is nothing to say.
    pub detail: String,
    /// Its command; `None` until its turn has come, or if none could be made.
    pub command: Option<CommandView>,
}

/// The id of the command of a charger in a batch: the same each time, so that it cannot be created twice.
#[must_use]
pub fn item_command(batch: BatchId, place: u32) -> CommandId {
    // The time of the batch and its other bits stay; the low bits of the random part are exchanged for the place.
    let mixed = batch.0.as_u128() ^ (u128::from(place) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let kept = !((1_u128 << 62) - 1);
    CommandId(Uuid::from_u128(
        (batch.0.as_u128() & kept) | (mixed & !kept),
    ))
}

/// What a finished command says of its charger; `None` while it has no outcome.
#[must_use]
pub fn item_result(view: &CommandView) -> Option<(ItemState, String)> {
    use super::OutcomeClass;
    let outcome = view.outcome.as_ref()?;
    let reason = outcome.reason.clone().unwrap_or_default();
    Some(match outcome.class {
        OutcomeClass::NotSent => (ItemState::Failed, format!("not sent: {reason}")),
        OutcomeClass::Uncertain => (ItemState::Failed, format!("uncertain: {reason}")),
        OutcomeClass::Answered => match (&outcome.error, outcome.status.as_deref()) {
            (Some(_), _) => (
                ItemState::Failed,
                "the charger answered with an error".to_owned(),
            ),
            (None, Some(status)) if is_refusal(status) => {
                (ItemState::Failed, format!("the charger answered {status}"))
            }
            _ => (ItemState::Succeeded, String::new()),
        },
    })
}

/// Whether a status of an answer says that the command was not, and will not be, carried out.
fn is_refusal(status: &str) -> bool {
    matches!(
        status,
        "Rejected"
            | "Failed"
            | "NotSupported"
            | "NotImplemented"
            | "UnlockFailed"
            | "OngoingAuthorizedTransaction"
            | "UnknownConnector"
            | "UnknownVendorId"
            | "UnknownMessageId"
            | "VersionMismatch"
            | "Faulted"
            | "Occupied"
            | "Unavailable"
            | "InvalidCertificate"
            | "RevokedCertificate"
            | "DuplicateProfile"
            | "NotFound"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_charger_of_a_batch_has_a_command_id_of_its_own_and_always_the_same() {
        let batch = BatchId(Uuid::from_u128(0x0199_f3a2_5c1e_7d43_9a55_2f0c_8b1e_6d77));
        let most = u32::try_from(BATCH_ITEMS_MAX).expect("it fits");
        let ids: BTreeSet<CommandId> = (0..most).map(|place| item_command(batch, place)).collect();
        assert_eq!(ids.len(), BATCH_ITEMS_MAX);
        assert_eq!(item_command(batch, 7), item_command(batch, 7));
        let id = item_command(batch, 7).0;
        assert_eq!(id.get_version_num(), 7);
        assert_ne!(id, batch.0);
    }

    #[test]
    fn a_stop_rule_halts_at_a_number_or_at_a_share_of_failures() {
        let plan = BatchPlan {
            work: BatchWork::Operation {
                operation: "reset".to_owned(),
                parameters: Map::new(),
            },
            at_once: 1,
            per_second: 1,
            stop_after_failures: Some(3),
            stop_at_failed_percent: None,
            when_offline: WhenOffline::Fail,
            answer_within_ms: 30_000,
            expires_at: Timestamp(0),
            traceparent: None,
        };
        let counts = |succeeded, failed| BatchCounts {
            succeeded,
            failed,
            ..BatchCounts::default()
        };
        assert_eq!(counts(0, 2).halts(&plan, [0, 0]), None);
        assert!(counts(100, 3).halts(&plan, [0, 0]).is_some());
        assert_eq!(counts(100, 5).halts(&plan, [90, 3]), None);
        let by_share = BatchPlan {
            stop_after_failures: None,
            stop_at_failed_percent: Some(50),
            ..plan.clone()
        };
        assert_eq!(counts(0, 9).halts(&by_share, [0, 0]), None);
        assert_eq!(counts(6, 5).halts(&by_share, [0, 0]), None);
        assert!(counts(5, 5).halts(&by_share, [0, 0]).is_some());
        let written = serde_json::to_string(&plan).expect("JSON");
        let read: BatchPlan = serde_json::from_str(&written).expect("a plan");
        assert_eq!(read, plan);
        for state in BatchState::ALL {
            assert_eq!(BatchState::from_number(state.number()), Some(state));
        }
        for state in ItemState::ALL {
            assert_eq!(ItemState::from_number(state.number()), Some(state));
        }
    }
}
