//! An event as the API shows it: the same in pages and streams.

use crate::links;
use central::model::{Event, EventType};
use serde::Serialize;
use serde_json::value::RawValue;

/// An event as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    occurred_at: String,
    recorded_at: String,
    late: bool,
    charger_id: Option<String>,
    data: Option<Box<RawValue>>,
    links: Links,
}

#[derive(Debug, Serialize)]
struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    charger: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'static str>,
}

impl Shown {
    pub(crate) fn of(event: &Event) -> Self {
        let charger = event.charger_id.as_deref().map(links::charger);
        let (mut transaction, mut command, mut dead_letter, mut alert) = (None, None, None, None);
        let mut pipeline = None;
        match event.kind {
            EventType::TransactionStarted
            | EventType::TransactionUpdated
            | EventType::TransactionEnded
            | EventType::TransactionClosed
            | EventType::TransactionReconciled => {
                transaction = Some(format!("/api/v1/transactions/{}", event.subject));
            }
            EventType::CommandSent | EventType::CommandFinished | EventType::CommandEffectSeen => {
                command = Some(format!("/api/v1/commands/{}", event.subject));
            }
            // One that was applied is no dead letter any more.
            EventType::DeadLetterAdded | EventType::DeadLetterDiscarded => {
                dead_letter = Some(format!("/api/v1/dead-letters/{}", event.subject));
            }
            EventType::AlertFiring | EventType::AlertAcknowledged | EventType::AlertResolved => {
                alert = Some(format!("/api/v1/alerts/{}", event.subject));
            }
            EventType::PipelinePartDown | EventType::PipelinePartUp => {
                pipeline = Some("/api/v1/pipeline");
            }
            EventType::ChargerConnected
            | EventType::ChargerDisconnected
            | EventType::ChargerBooted
            | EventType::ChargerSet
            | EventType::ChargerRefused
            | EventType::ChargerRemoved
            | EventType::ConnectorStatusChanged
            | EventType::DeadLetterApplied
            | EventType::FirmwareStatus
            | EventType::SecurityEvent
            | EventType::TokenRefused
            | EventType::TokenSet
            | EventType::TokenRemoved => {}
        }
        Self {
            id: event.id.to_string(),
            kind: event.kind.as_str(),
            occurred_at: event.occurred_at.to_string(),
            recorded_at: event.id.recorded_at.to_string(),
            late: event.is_late(),
            charger_id: event.charger_id.clone(),
            // A payload of a charger may have line ends between its members; none is in a text.
            data: RawValue::from_string(event.data.replace(['\n', '\r'], " ")).ok(),
            links: Links {
                charger,
                transaction,
                command,
                dead_letter,
                alert,
                pipeline,
            },
        }
    }
}
