//! What the services need from outside: contracts, each with its laws. Adapters live in `store` and
//! `broker`; `wattpost` chooses them.

use crate::record::{GatewayId, Record, RecordId};
use crate::{Timestamp, project::Changes};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A future on the heap, so that a port can be used as `Arc<dyn …>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Records on their way, oldest first: one buffer, no copy per record. From a journal they are
/// consecutive and of one gateway; from RabbitMQ they may be of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    gateway: GatewayId,
    bytes: Vec<u8>,
    index: Vec<(RecordId, Range<usize>)>,
    unreadable: Vec<DeadLetter>,
}

impl Batch {
    /// An empty batch of `gateway`.
    #[must_use]
    pub const fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            bytes: Vec::new(),
            index: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Appends the record of the batch's gateway with sequence number `seq`.
    pub fn push(&mut self, seq: u64, record: &[u8]) {
        let id = RecordId {
            gateway: self.gateway,
            seq,
        };
        self.push_with(id, |out| out.extend_from_slice(record));
    }

    /// Appends a record of any gateway, whose bytes `write` puts behind what is there.
    pub fn push_with(&mut self, id: RecordId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.index.push((id, start..self.bytes.len()));
    }

    /// Adds what arrived and is no record: it is kept as a dead letter with the rest of the batch.
    pub fn push_unreadable(&mut self, letter: DeadLetter) {
        self.unreadable.push(letter);
    }

    /// The records, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RecordId, &[u8])> {
        // Ranges were made from this very buffer, which only grows.
        self.index
            .iter()
            .map(|(id, range)| (*id, &self.bytes[range.clone()]))
    }

    /// What arrived and is no record.
    #[must_use]
    pub fn unreadable(&self) -> &[DeadLetter] {
        &self.unreadable
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is neither a record nor anything unreadable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty() && self.unreadable.is_empty()
    }

    /// Bytes of all records.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The sequence number of the last record.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.index.last().map(|(id, _)| id.seq)
    }
}

/// A component outside did not do what was asked. The caller's next step is always the same: keep the
/// work, back off and retry without a limit. The fields are for logs and health.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{component} {kind}: {detail}")]
pub struct Unavailable {
    /// The component that is unavailable: `database`, `RabbitMQ`.
    pub component: &'static str,
    /// The sort of trouble.
    pub kind: UnavailableKind,
    /// The adapter's own words.
    pub detail: String,
}

/// Sorts of trouble that pass, or that a person can cure without losing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnavailableKind {
    /// Held by someone else.
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

/// Where the forwarder delivers what the journal holds.
///
/// Laws: `Ok` means every record of the batch is durable on the other side, or is kept there as a
/// dead letter; the journal may forget it. `Err` promises nothing: any part of the batch may have
/// arrived, and the same batch will be delivered again until it is `Ok`. Delivering a batch twice
/// has the effect of delivering it once. Several batches may be on their way: each delivery is polled
/// once before the next one begins, so that a sink which takes its batch by then keeps their order.
pub trait Sink: Send + Sync + 'static {
    /// Delivers the batch.
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// What waits in this sink, as it was at the last look; `None` while that is not known: no look has
    /// been answered since the sink was reached, or since it refused for an alarm of its own. A sink that
    /// stores at once always says `None`. Whoever decides by it asks for its age ([`Queued::within`]).
    fn queued(&self) -> Option<Queued> {
        None
    }
}

/// How many records wait in a sink, and when that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Records that the sink has taken and that wait in it while somebody is at work on storing them; 0
    /// while nobody is at work: an outage behind the sink is not the chargers' fault.
    pub records: u64,
    /// When the look began that found them.
    pub at: Instant,
}

impl Queued {
    /// The records, if the look was at most `age_max` before `now`. An older look is neither a backlog nor
    /// the lack of one.
    #[must_use]
    pub fn within(self, age_max: Duration, now: Instant) -> Option<u64> {
        (now.saturating_duration_since(self.at) <= age_max).then_some(self.records)
    }
}

/// Where the consumer's records come from: RabbitMQ.
pub trait Source: Send + Sync + 'static {
    /// Begins to consume.
    ///
    /// Fails at once when there is no connection; connecting goes on in the background for ever.
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscription>, Unavailable>>;
}

/// One round of consuming, from its beginning to the first trouble.
///
/// Laws: what was collected and is not acknowledged when the subscription is cancelled, dropped or
/// breaks is delivered again, to this consumer or another. One charger's records arrive in the order in
/// which RabbitMQ took them.
pub trait Subscription: Send {
    /// Waits for a delivery, then takes what else arrives within the bounds. It may be broken off: what
    /// was taken by then is in what the next call gives.
    ///
    /// # Errors
    /// When the road is broken; subscribe again.
    fn collect(&mut self, bounds: CollectBounds) -> BoxFuture<'_, Result<Collected, Unavailable>>;

    /// Acknowledges everything up to [`Collected::upto`]: RabbitMQ may forget it.
    ///
    /// # Errors
    /// When the road is broken; it will be delivered again, which changes nothing.
    fn acknowledge(&mut self, upto: u64) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Stops consuming and gives back what is not acknowledged. Ready when RabbitMQ has it back, or when
    /// the connection is gone, which has the same effect.
    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// How much one [`Subscription::collect`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectBounds {
    /// Records at most.
    pub records_max: usize,
    /// Bytes of records at most; one record may be longer.
    pub bytes_max: usize,
    /// How long after the first delivery others are waited for.
    pub age_max: std::time::Duration,
}

/// What [`Subscription::collect`] took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The records.
    pub batch: Batch,
    /// To be acknowledged once the batch is stored.
    pub upto: u64,
}

/// What gateways publish to each other. Nothing durable depends on it: an event may be lost or late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum ClusterEvent {
    /// A charger has connected to a gateway: an older connection of it elsewhere has ended.
    Connected {
        /// Its identity, as the directory spells it.
        charger_id: String,
        /// Where it is now.
        gateway: GatewayId,
        /// The connection's epoch (milliseconds at its start): the greater one is the newer.
        epoch: u64,
    },
}

/// Carries [`ClusterEvent`] between processes.
pub trait ClusterEvents: Send + Sync + 'static {
    /// Sends the event to all other processes. Never waits; an event that cannot be sent now is dropped.
    fn publish(&self, event: ClusterEvent);

    /// Calls `on_event` for each event of another process from now on, for the life of this value.
    /// `on_event` must not block.
    fn subscribe(&self, on_event: Box<dyn Fn(ClusterEvent) + Send + Sync>);
}

/// A record that can never be applied, kept with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which record.
    pub id: RecordId,
    /// Its bytes, as the journal held them.
    pub bytes: Vec<u8>,
    /// Why.
    pub reason: String,
}

/// The reason of a dead letter whose id belongs to another record already.
pub const ID_USED_TWICE: &str = "another record has this id: two journals used the same gateway id, \
     as when one is restored from an old copy (docs/operations.md, Backup)";

/// What one call of [`Store::apply`] did. A record that is neither became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Records that were new.
    pub new: u64,
    /// Records that were known already (redelivered).
    pub known: u64,
}

/// The ledger's writing side. Calls block; the consumer keeps a thread for them.
///
/// Laws: `apply` is one database transaction: after `Ok` all of it is durable, after `Err` none of
/// it is visible; but where a record of it is refused for ever, parts of it may be, and the next call
/// finds them known. Applying twice equals applying once (record ids are the inbox). Another record under
/// an id that is known is not known: it becomes a dead letter ([`ID_USED_TWICE`]). Changes are merged
/// into what is stored ([`crate::model::Merge`]), so the order of calls does not matter.
pub trait Store: Send + Sync + 'static {
    /// Applies records, the changes that they imply, and dead letters.
    ///
    /// # Errors
    /// When the database refuses; the caller backs off and calls again with the same arguments.
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable>;
}

/// Dead letters for people: look at one, throw one away. Calls block.
pub trait DeadLetters: Send + Sync + 'static {
    /// The dead letter of this record, whole; `None` when there is none.
    ///
    /// # Errors
    /// When the database cannot be asked now.
    fn dead_letter(&self, id: RecordId) -> Result<Option<DeadLetter>, Unavailable>;

    /// Removes the dead letter of this record for good; `false` when there was none.
    ///
    /// # Errors
    /// When the database refuses now.
    fn discard_dead_letter(&self, id: RecordId) -> Result<bool, Unavailable>;
}

/// Whether a charger may take part (BootNotification's `status`, rules B-1 to B-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Takes part.
    Accepted,
    /// May connect and be configured, nothing else.
    Pending,
    /// Refused.
    Rejected,
}

/// What to do with a payload that breaks the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckMode {
    /// Every violation is answered with CALLERROR, except in transaction messages (rule Q-12).
    Strict,
    /// What firmware commonly gets wrong is noted and answered as if right; what cannot be
    /// understood is answered with CALLERROR, except in transaction messages.
    #[default]
    Warn,
    /// Nothing is checked beyond what an answer needs.
    Off,
}

/// What the operator has set for one charger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargerProfile {
    /// Identity, as the operator spells it. Two identities that differ only in case are one (C-3).
    pub charger_id: String,
    /// Whether it may take part.
    pub registration: Registration,
    /// Argon2 hash (PHC string) of its Basic-auth password; `None` = none is asked for.
    pub password_hash: Option<String>,
    /// Schema checks; `None` = the policy's default.
    pub check: Option<CheckMode>,
}

/// How a token stands (idTagInfo / idTokenInfo `status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenStatus {
    /// Welcome.
    Accepted,
    /// Blocked by the operator.
    Blocked,
    /// Past its expiry.
    Expired,
    /// Known to be refused.
    Invalid,
}

/// What a driver presents, and how it stands. Ids are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// idTag (1.6) or idToken (2.x).
    pub id: String,
    /// How it stands.
    pub status: TokenStatus,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// parentIdTag (1.6) / groupIdToken (2.x).
    pub group_id: Option<String>,
}

/// Chargers and tokens, as the gateway keeps them to answer without asking. Keys are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DirectorySnapshot {
    /// By identity, lower case.
    pub chargers: HashMap<String, ChargerProfile>,
    /// By id, lower case.
    pub tokens: HashMap<String, Token>,
    /// Grows with every change; equal revisions mean equal content.
    pub revision: u64,
}

/// Where the directory comes from. Calls block.
pub trait DirectorySource: Send + Sync + 'static {
    /// The whole directory if its revision is not `known`, else `None`.
    ///
    /// # Errors
    /// When it cannot be asked now; the gateway goes on with what it has.
    fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable>;

    /// One token, asked for when the snapshot does not know it.
    ///
    /// # Errors
    /// When it cannot be asked now; the policy then decides.
    fn token(&self, id: &str) -> Result<Option<Token>, Unavailable>;

    /// The time by the source's own clock; `None` where it has none but this machine's.
    ///
    /// # Errors
    /// When it cannot be asked now.
    fn clock(&self) -> Result<Option<Timestamp>, Unavailable> {
        Ok(None)
    }
}

/// One part's health, for `/health/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `gateway`, `journal`, `database`, …
    pub part: &'static str,
    /// Whether it does its work.
    pub up: bool,
    /// What is wrong, or a few words on how it is.
    pub detail: String,
}

/// Something whose health can be asked at any time, without waiting.
pub trait HealthProbe: Send + Sync + 'static {
    /// How it is now.
    fn health(&self) -> Vec<Health>;
}
