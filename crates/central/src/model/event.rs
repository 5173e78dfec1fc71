//! Events: what programs that follow the system are told, in one order.
//!
//! An event says that something has changed, and shows the changed object as the API shows it. Events are in a log; the
//! position of an event in the log never changes, and a reader that has all events up to a position has missed none.

use super::audit::AuditView;
use super::rfc3339;
use crate::Timestamp;
use serde::Serialize;
use std::fmt;

/// An event was late if it was recorded more than so many milliseconds after it occurred.
pub const EVENT_LATE_AFTER_MS: i64 = 60_000;

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// An alert fires.
    AlertFiring,
    /// A person has taken note of an alert that fires.
    AlertAcknowledged,
    /// An alert that was told of has ended.
    AlertResolved,
    /// A charger has connected.
    ChargerConnected,
    /// A connection of a charger has ended.
    ChargerDisconnected,
    /// A charger has sent a BootNotification.
    ChargerBooted,
    /// The settings of a charger were added or changed.
    ChargerSet,
    /// The settings of a charger were removed.
    ChargerRemoved,
    /// A connector has another status, or reported its status for the first time on the charger's connection.
    ConnectorStatusChanged,
    /// The start of a transaction is known.
    TransactionStarted,
    /// A transaction has changed in another way.
    TransactionUpdated,
    /// The stop of a transaction is known.
    TransactionEnded,
    /// A transaction without a stop was closed, by a person or by a later one on the same connector.
    TransactionClosed,
    /// The stop of a transaction that was closed has arrived.
    TransactionReconciled,
    /// A command was sent to a charger.
    CommandSent,
    /// A command has an outcome, or another one than before.
    CommandFinished,
    /// Messages of the charger show what the command has effected.
    CommandEffectSeen,
    /// A record could not be applied.
    DeadLetterAdded,
    /// A record that could not be applied is applied now.
    DeadLetterApplied,
    /// A person has discarded a record that could not be applied.
    DeadLetterDiscarded,
    /// A charger was refused that was not in the list of refused handshakes for this reason.
    ChargerRefused,
    /// A charger has reported the state of its firmware.
    FirmwareStatus,
    /// A part of the pipeline has stopped to work.
    PipelinePartDown,
    /// A part of the pipeline works again.
    PipelinePartUp,
    /// A charger has reported a security event.
    SecurityEvent,
    /// A charger presented a token that was refused.
    TokenRefused,
    /// A token was added or changed.
    TokenSet,
    /// A token was removed.
    TokenRemoved,
}

impl EventType {
    /// All types, by name.
    pub const ALL: [Self; 28] = [
        Self::AlertAcknowledged,
        Self::AlertFiring,
        Self::AlertResolved,
        Self::ChargerBooted,
        Self::ChargerConnected,
        Self::ChargerDisconnected,
        Self::ChargerRefused,
        Self::ChargerRemoved,
        Self::ChargerSet,
        Self::CommandEffectSeen,
        Self::CommandFinished,
        Self::CommandSent,
        Self::ConnectorStatusChanged,
        Self::DeadLetterAdded,
        Self::DeadLetterApplied,
        Self::DeadLetterDiscarded,
        Self::FirmwareStatus,
        Self::PipelinePartDown,
        Self::PipelinePartUp,
        Self::SecurityEvent,
        Self::TokenRefused,
        Self::TokenRemoved,
        Self::TokenSet,
        Self::TransactionClosed,
        Self::TransactionEnded,
        Self::TransactionReconciled,
        Self::TransactionStarted,
        Self::TransactionUpdated,
    ];

    /// The name in the API, the database and the events themselves.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlertFiring => "alert.firing",
            Self::AlertAcknowledged => "alert.acknowledged",
            Self::AlertResolved => "alert.resolved",
            Self::ChargerConnected => "charger.connected",
            Self::ChargerDisconnected => "charger.disconnected",
            Self::ChargerBooted => "charger.booted",
            Self::ChargerSet => "charger.set",
            Self::ChargerRemoved => "charger.removed",
            Self::ChargerRefused => "charger.refused",
            Self::ConnectorStatusChanged => "connector.status_changed",
            Self::TransactionStarted => "transaction.started",
            Self::TransactionUpdated => "transaction.updated",
            Self::TransactionEnded => "transaction.ended",
            Self::TransactionClosed => "transaction.closed",
            Self::TransactionReconciled => "transaction.reconciled",
            Self::CommandSent => "command.sent",
            Self::CommandEffectSeen => "command.effect_seen",
            Self::CommandFinished => "command.finished",
            Self::DeadLetterAdded => "dead_letter.added",
            Self::DeadLetterApplied => "dead_letter.applied",
            Self::DeadLetterDiscarded => "dead_letter.discarded",
            Self::FirmwareStatus => "firmware.status",
            Self::PipelinePartDown => "pipeline.part_down",
            Self::PipelinePartUp => "pipeline.part_up",
            Self::SecurityEvent => "security.event",
            Self::TokenRefused => "token.refused",
            Self::TokenSet => "token.set",
            Self::TokenRemoved => "token.removed",
        }
    }

    /// The type with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The types that a text selects: one by its name, or with `transaction.*` all that begin so. Empty if there is none.
    #[must_use]
    pub fn named(text: &str) -> Vec<Self> {
        let Some(wanted) = text.strip_suffix(".*") else {
            return Self::from_name(text).into_iter().collect();
        };
        let begins = |kind: &Self| {
            let first = kind.as_str().split_once('.');
            first.is_some_and(|(first, _)| first == wanted)
        };
        Self::ALL.into_iter().filter(begins).collect()
    }

    /// The type of the event for an entry of the audit log with this action; `None` if there is none.
    #[must_use]
    pub fn of_audit(action: &str) -> Option<Self> {
        let kind = Self::from_name(action)?;
        matches!(
            kind,
            Self::ChargerSet
                | Self::ChargerRemoved
                | Self::DeadLetterApplied
                | Self::DeadLetterDiscarded
                | Self::TokenSet
                | Self::TokenRemoved
        )
        .then_some(kind)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of an event: its position in the log and when it was recorded, as `POSITION-MILLISECONDS`. The time shows that
/// a position means the same event as before, also after a database was restored from an older copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The position; the first is 1.
    pub position: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl EventId {
    /// The position before the first event.
    pub const START: Self = Self {
        position: 0,
        recorded_at: Timestamp(0),
    };

    /// The id that this text spells.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (position, recorded_at) = text.split_once('-')?;
        let id = Self {
            position: position.parse().ok()?,
            recorded_at: Timestamp(recorded_at.parse().ok()?),
        };
        (id.to_string() == text && i64::try_from(id.position).is_ok()).then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.position, self.recorded_at.0)
    }
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub kind: EventType,
    /// When it occurred: the charger's time where the charger reported one.
    pub occurred_at: Timestamp,
    /// The charger, in its latest spelling; `None` for an event that concerns none.
    pub charger_id: Option<String>,
    /// What the event is about: the key of a transaction, the id of a command or of a record, a token, or `EVSE/CONNECTOR`.
    pub subject: String,
    /// The object after the change, as JSON.
    pub data: String,
}

impl Event {
    /// Whether it was recorded late: what it says may have changed since.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.id.recorded_at.0 - self.occurred_at.0 > EVENT_LATE_AFTER_MS
    }
}

/// The object of [`EventType::SecurityEvent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecurityEventView {
    /// The charger, in its latest spelling.
    pub charger_id: String,
    /// The type of the security event, such as `FirmwareUpdated`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// When it occurred, by the charger's clock.
    #[serde(serialize_with = "rfc3339::always")]
    pub at: Timestamp,
    /// `techInfo`: the charger's details.
    pub tech_info: Option<String>,
}

/// The object of [`EventType::FirmwareStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirmwareStatusView {
    /// The charger, in its latest spelling.
    pub charger_id: String,
    /// The state, such as `Downloading`, `Installed` or `InstallationFailed`.
    pub status: Option<String>,
    /// When the gateway received the message: it has no time of the charger.
    #[serde(serialize_with = "rfc3339::always")]
    pub at: Timestamp,
}

/// The object of the events for a change by a person or a program: what changed, and who did it.
pub type ChangeView = AuditView;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_and_have_distinct_names() {
        let names: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
        assert!(names.is_sorted());
        for kind in EventType::ALL {
            assert_eq!(EventType::from_name(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = EventId {
            position: 42,
            recorded_at: Timestamp(1_769_860_802_000),
        };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        for wrong in [
            "",
            "42",
            "42-",
            "-1",
            "042-1",
            "42-1 ",
            "+42-1",
            "99999999999999999999-1",
            "18446744073709551615-1",
        ] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }
}
