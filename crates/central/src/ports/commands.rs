//! Commands: the database is their queue.
//!
//! A request is a row. A gateway that holds the charger *claims* the row in one database transaction, just before it
//! sends; the claim is exclusive. So one command is sent by one gateway at most, a command follows its charger to another
//! gateway, and cancelling is exact: what is claimed can no longer be cancelled. RabbitMQ carries only a hint that there
//! is something to claim; without it, gateways find the row with their next query.
//!
//! [`Commands`] is for the requesting side, [`CommandQueue`] for the gateways.

use super::{DatabaseClock, QueryError, Unavailable};
use crate::model::{
    AuditEntry, ChargerKey, Claim, Command, CommandId, CommandView, Refusal, Sent, TraceParent,
};
use crate::query::{CommandFilter, Page, PageRequest};
use crate::record::{Epoch, GatewayId, Seq};
use crate::time::Timestamp;

/// A request for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// What is sent.
    pub command: Command,
    /// When it was requested, by [`DatabaseClock::time`].
    pub created_at: Timestamp,
    /// Who requested it: the name of an API key, or of a command line's user.
    pub requested_by: String,
    /// Whether it waits for a charger that is not connected. Only `send_before` limits the time; this selects the
    /// reason that is shown when it has passed.
    pub waits_when_offline: bool,
    /// Why it is not sent at all; for a request that is kept only so that it can be audited.
    pub not_sent: Option<Refusal>,
    /// The requester's key for safe repeats.
    pub idempotency: Option<Idempotency>,
    /// The `traceparent` of the request.
    pub traceparent: Option<TraceParent>,
    /// An entry of the audit log, inserted in the transaction that stores the command. Most commands have none: the
    /// command itself says who requested it.
    pub audit: Option<AuditEntry>,
}

/// Makes the repeat of a request harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The requester's key, unique for `requested_by`.
    pub key: String,
    /// A digest of the request.
    pub digest: [u8; 32],
}

/// The result of [`Commands::create`].
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The command is stored.
    New(CommandView),
    /// The same request was made before under this idempotency key, with this command.
    Repeated(CommandView),
    /// Another request was made before under this idempotency key.
    Mismatch,
    /// As many commands as one charger may have are queued for it ([`QUEUED_PER_CHARGER_MAX`]): nothing is stored.
    QueueFull,
}

/// The result of [`Commands::cancel`].
#[derive(Debug, Clone, PartialEq)]
pub enum Cancelled {
    /// It was queued and is not sent.
    Done(CommandView),
    /// It was claimed, sent or settled before: nothing has changed.
    TooLate(CommandView),
    /// There is no such command.
    Unknown,
}

/// For how long an idempotency key is kept: 72 hours.
pub const IDEMPOTENCY_KEPT_MS: i64 = 72 * 3_600 * 1_000;

/// Commands that may be queued for one charger. Requests at the same moment can exceed it by their number.
pub const QUEUED_PER_CHARGER_MAX: u64 = 1_000;

/// The requesting side. Calls block. Times are of [`DatabaseClock::time`], because a gateway on another machine judges them;
/// `now` is the time for which views are made.
///
/// Laws: `create` stores the command and the idempotency key in one database transaction: after `Ok` it is durable, after
/// `Err` nothing is visible, or it is stored and was not reported; repeating it with the same id or idempotency key stores it
/// once. Of `create` calls with one (`requested_by`, key) within [`IDEMPOTENCY_KEPT_MS`] exactly one stores a command,
/// also if they run at the same time. `cancel` and [`CommandQueue::claim`] of one command exclude each other. Lists have
/// the newest command first.
pub trait Commands: DatabaseClock {
    /// Stores a request.
    ///
    /// # Errors
    /// When the database refuses.
    fn create(&self, new: &NewCommand) -> Result<Created, Unavailable>;

    /// What `create` would return for a request with a key that was used within [`IDEMPOTENCY_KEPT_MS`]: `Repeated` or
    /// `Mismatch`; `None` for a key that was not. A request is asked about before its command is made, because what made
    /// the first one valid may have changed: its transaction may have ended, its `expires_at` may have passed.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn created_before(
        &self,
        requested_by: &str,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Created>, Unavailable>;

    /// Cancels a command that no gateway has claimed.
    ///
    /// # Errors
    /// When the database refuses.
    fn cancel(&self, id: CommandId, now: Timestamp) -> Result<Cancelled, Unavailable>;

    /// One command.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn command(&self, id: CommandId, now: Timestamp) -> Result<Option<CommandView>, Unavailable>;

    /// Commands, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn commands(
        &self,
        filter: &CommandFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<CommandView>, QueryError>;
}

/// The sending side, used by gateways. Calls block. Times are of [`DatabaseClock::time`].
///
/// Laws: a command has one claim at a time. Of one charger the queued command that was created first is claimed first. A
/// command at or after its `send_before` is never claimed, nor one with a record of sending. `release` and `refuse`
/// change a command only while exactly this claim holds it, so a process that was replaced changes nothing; calling them
/// again changes nothing.
pub trait CommandQueue: DatabaseClock {
    /// Chargers with commands that can be claimed at `now`, in the order of their keys, after `after`; at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn waiting(
        &self,
        after: Option<&ChargerKey>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ChargerKey>, Unavailable>;

    /// Claims the first queued command of each of these chargers; chargers without one are missing in the result.
    ///
    /// # Errors
    /// When the database refuses; then nothing is claimed, or the claim was not reported: see
    /// [`CommandQueue::claims`].
    fn claim(&self, claim: Claim, chargers: &[ChargerKey]) -> Result<Vec<Command>, Unavailable>;

    /// Gives commands of a claim back: they were not sent and are queued again, at their old places. Those of a charger that
    /// was removed after their request end instead ([`NotSent::ChargerRemoved`](crate::model::NotSent::ChargerRemoved)).
    ///
    /// # Errors
    /// When the database refuses; the caller tries again.
    fn release(&self, claim: Claim, ids: &[CommandId]) -> Result<(), Unavailable>;

    /// Ends a claimed command that was not sent and never will be.
    ///
    /// # Errors
    /// When the database refuses; the caller tries again.
    fn refuse(
        &self,
        claim: Claim,
        id: CommandId,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Result<(), Unavailable>;

    /// Claims of this gateway by processes that started at or before `started`, whose records in the database show
    /// neither a reply nor an end without one; the oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn claims(
        &self,
        gateway: GatewayId,
        started: Epoch,
        limit: usize,
    ) -> Result<Vec<OpenClaim>, Unavailable>;

    /// Ends queued commands whose `send_before` is at or before `now`; returns how many, at most `limit`.
    ///
    /// # Errors
    /// When the database refuses.
    fn expire(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable>;

    /// Looks at reports of which pages may be missing, and asks for each once more where some are; see
    /// [`StoredCommand::recheck`](crate::model::StoredCommand::recheck). Any process may do that at any time: one of them
    /// creates the command. Returns how many commands were created, of `limit` reports at most.
    ///
    /// # Errors
    /// When the database refuses; then nothing has changed.
    fn ask_again(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable>;

    /// Whether the database has all records of `gateway` with sequence numbers in `from..to`, as messages or as dead
    /// letters.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn has_all(&self, gateway: GatewayId, from: Seq, to: Seq) -> Result<bool, Unavailable>;
}

/// A claim of which the database knows no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClaim {
    /// The claim.
    pub claim: Claim,
    /// The command.
    pub command: Command,
    /// The record of sending, if the database has it.
    pub sent: Option<Sent>,
}
