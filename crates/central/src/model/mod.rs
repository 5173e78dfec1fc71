//! The state of the network, as values that can be merged in any order.
//!
//! Each *state* is a join-semilattice: [`Merge::merge`] is commutative, associative and idempotent, so any permutation of
//! a set of records, with repeats, yields the same state. Therefore records that bypass RabbitMQ may overtake records
//! that wait there. A store keeps the whole state as JSON beside the columns that it indexes; a *view* is what the API
//! and exports show.
//!
//! *Rows* (meter values, events) do not change: their identity is (charger, time, content hash), all their values follow
//! from it, and they are inserted once or ignored.

mod alert;
mod api_key;
mod audit;
mod batch;
mod charger;
mod charger_key;
mod close_style;
mod command;
mod connector;
mod effect;
mod event;
mod message;
mod password_rotation;
mod presented_token;
mod process;
mod profile;
mod quirk;
mod ranges;
mod refused_handshake;
mod register;
pub(crate) mod rfc3339;
mod row;
mod site;
mod token;
mod trace_parent;
mod transaction;
pub mod truncate;
mod user;
mod webhook;

pub use alert::{
    ALERT_NOTE_CHARS_MAX, ALERTS_ACTIVE_MAX, ALERTS_OF_CHARGERS_MAX, Acknowledged, Alert,
    AlertState, AlertView, SILENCE_KEPT_MS, SILENCE_MATCHER_CHARS_MAX, SILENCE_MS_MAX,
    SILENCES_MAX, Silence, SilenceMatcher, SilenceView, Told,
};
pub use api_key::{
    API_KEY_NAME_EXPECTED, API_KEY_PREFIX, ApiKey, ApiKeyHash, ApiSecret, Scope, is_api_key_name,
};
pub use audit::{
    AUDIT_ACTIONS, AUDIT_ENTRIES_MAX, Actor, ActorKind, AuditEntry, AuditView, AuditedChange,
    Origin,
};
pub use batch::{
    BATCH_AT_ONCE_DEFAULT, BATCH_AT_ONCE_MAX, BATCH_EXPIRES_DEFAULT_MS, BATCH_ITEMS_MAX,
    BATCH_PER_SECOND_DEFAULT, BATCH_PER_SECOND_MAX, BATCHES_KEPT, BATCHES_OPEN_MAX, BatchChange,
    BatchCounts, BatchId, BatchPlan, BatchState, BatchView, BatchWork, ItemState, ItemView,
    SHARE_NEEDS_FINISHED, WhenOffline, item_command, item_result,
};
pub use charger::{
    Boot, ChargerState, ChargerView, Connection, ConnectionState, GATEWAY_ALIVE_EVERY_MS,
    GATEWAY_SILENT_MS_MAX, GatewayState,
};
pub use charger_key::ChargerKey;
pub use close_style::{CloseRule, CloseStyle};
pub use command::{
    Claim, Command, CommandId, CommandProgress, CommandStage, CommandState, CommandView, NotSent,
    Outcome, OutcomeClass, Recheck, Refusal, Reply, ReportMessages, SILENCE_MAX_MS, Sent,
    StoredCommand, Unanswered, unchecked_entry,
};
pub use connector::{
    ConnectorState, ConnectorStatus, ConnectorView, StatusOrder, UNKNOWN, UnknownReason,
};
pub use effect::{EffectPhase, EffectState, EffectStatus, EffectView, Moment, ReportView};
pub use event::{
    ChangeView, EVENT_LATE_AFTER_MS, Event, EventId, EventType, FirmwareStatusView,
    SecurityEventView,
};
pub use message::{DeadLetterRow, DeadLetterState, Deviation, Discarded, MessageRow, ShownMessage};
pub use password_rotation::{
    Answer as RotationAnswer, PasswordRotation, RotationOutcome, RotationState, RotationView,
};
pub(crate) use presented_token::TokenMembers;
pub use presented_token::{
    Presented, PresentedToken, RefusedTokenView, TOKEN_REFUSED_EVENTS_MAX, TOKEN_REFUSED_EVENTS_MS,
    UNKNOWN_TOKENS_KEPT_MS, UNKNOWN_TOKENS_PER_DAY_MAX, UnknownTokenCount, UnknownTokenCounts,
    UnknownTokenView, unknown_token_key, unknown_tokens_kept_from,
};
pub use process::{
    GATEWAY_SHOWN_MS, GatewayReport, PROCESS_REPORT_EVERY_MS, PROCESS_SHOWN_MS,
    PROCESS_SILENT_MS_MAX, PartError, PartReport, ProcessReport, ProcessRole, QueuesReport,
    RouteReport, report_text,
};
pub use profile::{
    CHARGER_ID_EXPECTED, ChargerProfile, ChargerSettings, CheckMode, FRAME_BYTES_MAX, Registration,
    SettingsPatch, is_charger_id,
};
pub use quirk::{ChargerModel, QuirkCount, QuirkCounts, QuirkOfRecord, QuirkSummary, QuirkView};
pub use ranges::RangeSet;
pub use refused_handshake::{
    REFUSED_EVENTS_MS, REFUSED_EVENTS_PER_ADDRESS_MAX, REFUSED_EVENTS_PER_CALL_MAX,
    REFUSED_HANDSHAKES_MAX, REFUSED_KEPT_MS, REFUSED_PER_ADDRESS_MAX, REFUSED_TEXT_BYTES_MAX,
    RefusedHandshake, RefusedHandshakeView,
};
pub use register::{First, Latest, Stamp};
pub use row::{EventRow, MeterValueRow};
pub use site::{
    ADDRESS_CHARS_MAX, ADDRESS_EXPECTED, LABEL_CHARS_MAX, LABEL_EXPECTED, LATITUDE_EXPECTED,
    LONGITUDE_EXPECTED, SITE_ID_EXPECTED, SITES_MAX, Site, SitePatch, SiteView, TIME_ZONE_EXPECTED,
    is_address, is_label, is_latitude, is_longitude, is_site_id, is_time_zone,
};
pub use token::{
    ConcurrentTransactions, ListedToken, ListedTokenView, Token, TokenStatus, TokenUse, TokenView,
};
pub use trace_parent::TraceParent;
pub(crate) use transaction::READINGS_SPAN_MS;
pub use transaction::{
    Candidate, Closed, ClosedBy, Confidence, ContentKey, Details, EnergyCheck, PAIRING_WINDOW,
    PlaceSession, PlaceStop, READERS_MAX, ReadingContext, Readings, RegisterSource, SUCCESSORS_MAX,
    SessionSource, Start, Stop, TransactionState, TransactionView, ends_readings,
    key_without_start, pair, pair_orphans, reading_times, resolve_sessions, successor,
    unnamed_stop_id, written_id_of_unnamed_stop,
};
pub use webhook::{
    AtText, WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_ATTEMPTS_KEPT, WEBHOOK_ATTEMPTS_KEPT_MS,
    WEBHOOK_CLOCK_AHEAD_MS_MAX, WEBHOOK_DESCRIPTION_CHARS_MAX, WEBHOOK_DUE_IN_MS_MAX,
    WEBHOOK_IDLE_MS_MAX, WEBHOOK_LEASE_MS_MAX, WEBHOOK_SECRET_EXPECTED,
    WEBHOOK_SECRET_OVERLAP_DEFAULT_MS, WEBHOOK_SECRET_OVERLAP_MAX_MS, WEBHOOK_SECRET_PREFIX,
    WEBHOOK_URL_BYTES_MAX, WEBHOOKS_MAX, Webhook, WebhookAttempt, WebhookAttemptView, WebhookId,
    WebhookPatch, WebhookProgress, WebhookRetry, WebhookRetryView, WebhookSecret, WebhookSecrets,
    WebhookSettings, WebhookState, WebhookView,
};

/// Merging two copies of the same state.
pub trait Merge {
    /// Afterwards `self` has everything that either had. Order and repetition do not matter.
    fn merge(&mut self, other: Self);
}
pub use user::{
    USER_NAME_EXPECTED, USER_PASSWORD_EXPECTED, User, UserPasswordHash, is_user_password, user_name,
};
