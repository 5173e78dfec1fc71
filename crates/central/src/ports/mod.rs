//! The interfaces through which services use databases, brokers and other processes: one per file, each with its laws.
//!
//! Services depend on these traits only. Their adapters are in `store` and `broker`; `wattpost` chooses them.

mod alerts;
mod api_keys;
mod batches;
mod change;
mod charger_admin;
mod clock;
mod closings;
mod cluster;
mod commands;
mod dead_letters;
mod delivery;
mod directory;
mod disconnects;
mod event_log;
mod handshakes;
mod health;
mod local_lists;
mod maintenance;
mod password_rotations;
mod processes;
mod query;
mod sites;
mod store;
mod tokens;
mod transfer;
mod users;
mod webhooks;

pub use crate::model::{ChargerProfile, CheckMode, Registration, Token, TokenStatus};
pub use alerts::{ALERTS_KEPT_MAX, AlertFilter, Alerts, NotAcknowledged, SilenceNotAdded};
pub use api_keys::{API_KEYS_MAX, ApiKeys, KeyNotAdded, KeyNotRevoked};
pub use batches::{BatchNotChanged, BatchNotCreated, Batches, ItemEnd, NewBatch};
pub use change::{ChangeRequest, Condition, NotChanged, Once};
pub use charger_admin::{ChangeKind, ChargerAdmin, ChargerChange};
pub use clock::DatabaseClock;
pub use closings::{
    CLOSING_REASON_CHARS_MAX, CLOSING_SILENT_MS_MIN, CloseRequest, Closing, Closings, NotClosed,
};
pub use cluster::{ClusterEvent, ClusterEvents};
pub use commands::{
    Cancelled, CommandQueue, Commands, Created, IDEMPOTENCY_KEPT_MS, Idempotency, NewCommand,
    OpenClaim, QUEUED_PER_CHARGER_MAX,
};
pub use dead_letters::{
    DISCARD_REASON_CHARS_MAX, DeadLetter, DeadLetters, DiscardRequest, ID_USED_TWICE,
    LETTERS_CHANGED_MAX, LetterRetries, LetterSelection, NotSelected, Retried, StillDead,
};
pub use delivery::{Batch, CollectBounds, Collected, Queued, Sink, Source, Subscription};
pub use directory::{DirectorySnapshot, DirectorySource};
pub use disconnects::{
    DISCONNECT_CODE_DEFAULT, DISCONNECT_CODE_EXPECTED, DISCONNECT_REASON_BYTES_MAX,
    DISCONNECT_REASON_EXPECTED, DISCONNECT_VALID_MS, Disconnect, DisconnectRequest,
    DisconnectState, DisconnectView, Disconnects, Heard, NotConnected, disconnect_seen,
    is_disconnect_code, is_disconnect_reason,
};
pub use event_log::{
    EventBounds, EventFilter, EventLog, EventPage, EventsFound, SEQUENCED_MAX, Sequenced,
};
pub use handshakes::Handshakes;
pub use health::{Figure, Figures, Health, HealthProbe};
pub use local_lists::{LocalListFilter, LocalLists};
pub use maintenance::Maintenance;
pub use password_rotations::{
    NewRotation, PasswordRotations, RotationNotBegun, RotationNotCancelled,
};
pub use processes::{KnownProcess, Processes};
pub use query::{QueryError, QueryStore};
pub use sites::{SiteChange, SiteNotChanged, Sites};
pub use store::{Applied, Store};
pub use tokens::{TokenChange, Tokens};
pub use transfer::{COPIED_ROWS_MAX, CopiedRow, CopiedTable, CopyMode, Holding, Transfer};
pub use users::{USERS_MAX, UserChange, UserNotAdded, UserNotChanged, Users};
pub use webhooks::{
    ClaimedWebhook, NewWebhook, NotRedelivered, RedeliverFrom, StepRecorded, WebhookNotAdded,
    WebhookStep, Webhooks,
};

use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;

/// A future on the heap, so that a port can be used as `Arc<dyn …>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A component is unavailable. Callers always do the same: keep the work, back off and retry without a limit. The fields
/// are for logs and health.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{component} {kind}: {detail}")]
pub struct Unavailable {
    /// The component that is unavailable: `database`, `RabbitMQ`.
    pub component: &'static str,
    /// The kind of fault.
    pub kind: UnavailableKind,
    /// The adapter's error text.
    pub detail: String,
}

/// Kinds of faults that end by themselves, or that an operator can repair without losing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnavailableKind {
    /// Locked by another process or transaction.
    Locked,
    /// No space left.
    Full,
    /// Damaged.
    Corrupt,
    /// Cannot be written.
    ReadOnly,
    /// Not reachable, or anything else.
    Unreachable,
}

impl std::fmt::Display for UnavailableKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Locked => "is locked",
            Self::Full => "has no space left",
            Self::Corrupt => "is damaged",
            Self::ReadOnly => "is read-only",
            Self::Unreachable => "does not answer",
        })
    }
}
