//! When a charger is asked for the status of its connectors after it has connected.
//!
//! OCPP does not oblige a charger to report its connectors after a reconnect (rules N-2, N-3, N-5), and until it does
//! their status is not known. A charger that has not reported some time after it connected is asked once, with
//! `TriggerMessage` (rule N-6). It is not asked often: some chargers go silent when they are polled (quirk 28), and many do
//! not implement the message.

use crate::model::{CommandView, ConnectorView, UnknownReason};
use crate::query::ChargerDetail;
use crate::record::Epoch;
use crate::time::Timestamp;
use ocpp::Version;
use ocpp::json::Raw;

/// Who requests the commands.
pub const REQUESTED_BY: &str = "wattpost";

/// The action.
pub const ACTION: &str = "TriggerMessage";

/// How many of the charger's latest commands with this action are looked at.
pub const EARLIER_MAX: usize = 40;

/// Connectors that are asked for after one connect, at most: 16.
const CONNECTORS_MAX: usize = 16;

/// A charger is not asked again within 10 minutes, also if it connects again.
const AGAIN_AFTER_MS: i64 = 10 * 60_000;

/// A charger that does not support the message is not asked again for 7 days. After that it may have other firmware.
const UNSUPPORTED_MS: i64 = 7 * 24 * 3_600_000;

/// What to do about a charger that has connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusRequest {
    /// The database does not show this connection yet: look again later.
    NotYet,
    /// Nothing: its status is known, it has another connection, it was asked a short time ago, or it does not support
    /// the message.
    Nothing,
    /// Send commands with these payloads.
    Ask(Vec<String>),
}

/// What to do at `now` about a charger that connected with this epoch. `earlier` are its latest commands with the action
/// [`ACTION`], the newest first.
#[must_use]
pub fn status_request(
    charger: &ChargerDetail,
    epoch: Epoch,
    earlier: &[CommandView],
    now: Timestamp,
) -> StatusRequest {
    let connected_at = Timestamp(i64::try_from(epoch.0).unwrap_or(i64::MAX));
    match charger.charger.connected_at {
        Some(shown) if shown > connected_at => return StatusRequest::Nothing,
        Some(shown) if shown == connected_at => {}
        _ => return StatusRequest::NotYet,
    }
    if !charger.charger.online {
        return StatusRequest::Nothing;
    }
    let was_asked = earlier.iter().any(|command| {
        command.by == REQUESTED_BY && command.created_at.plus_millis(AGAIN_AFTER_MS) > now
    });
    let is_unsupported = earlier.iter().any(|command| {
        command.created_at.plus_millis(UNSUPPORTED_MS) > now && says_unsupported(command)
    });
    if was_asked || is_unsupported {
        return StatusRequest::Nothing;
    }
    let unknown: Vec<&ConnectorView> = charger
        .connectors
        .iter()
        .filter(|connector| {
            connector.unknown_reason == Some(UnknownReason::NotReportedSinceConnect)
        })
        .collect();
    let payloads = match charger.charger.ocpp_version {
        Some(Version::V16) => for_v16(&unknown),
        Some(Version::V201 | Version::V21) => for_v2(&unknown),
        None => Vec::new(),
    };
    match payloads.is_empty() {
        true => StatusRequest::Nothing,
        false => StatusRequest::Ask(payloads),
    }
}

/// One message: without a connector it asks for all.
fn for_v16(unknown: &[&ConnectorView]) -> Vec<String> {
    match unknown {
        [] => Vec::new(),
        [one] if one.connector > 0 => vec![format!(
            r#"{{"requestedMessage":"StatusNotification","connectorId":{}}}"#,
            one.connector
        )],
        _ => vec![r#"{"requestedMessage":"StatusNotification"}"#.to_owned()],
    }
}

/// A message for each connector; 2.x needs both numbers.
fn for_v2(unknown: &[&ConnectorView]) -> Vec<String> {
    let connectors = unknown
        .iter()
        .filter(|connector| connector.evse > 0 && connector.connector > 0);
    let payloads = connectors.map(|connector| {
        format!(
            r#"{{"requestedMessage":"StatusNotification","evse":{{"id":{},"connectorId":{}}}}}"#,
            connector.evse, connector.connector
        )
    });
    payloads.take(CONNECTORS_MAX).collect()
}

/// Whether the answer to a trigger of a status, whoever requested it, says that the charger has no such message.
fn says_unsupported(command: &CommandView) -> bool {
    let Some(outcome) = &command.outcome else {
        return false;
    };
    if !command.payload.contains("StatusNotification") {
        return false;
    }
    if outcome.status.as_deref() == Some("NotImplemented") {
        return true;
    }
    let mut code = None;
    let _ = Raw::new(outcome.error.as_deref().unwrap_or("[]")).items(|item| {
        if code.is_none() {
            code = item.text().map(|text| text.into_owned());
        }
    });
    matches!(code.as_deref(), Some("NotImplemented" | "NotSupported"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::sample::{START, charger, connector};
    use crate::model::{
        Command, CommandId, CommandProgress, CommandStage, EffectState, Reply, StoredCommand,
        UNKNOWN,
    };
    use crate::record::{GatewayId, RecordId, Seq};
    use uuid::Uuid;

    const EPOCH: Epoch = Epoch(START.unsigned_abs());
    const NOW: Timestamp = Timestamp(START + 30_000);

    fn unknown(evse: i64, number: i64) -> ConnectorView {
        ConnectorView {
            evse,
            status: UNKNOWN.to_owned(),
            unknown_reason: Some(UnknownReason::NotReportedSinceConnect),
            ..connector("CP-1", number)
        }
    }

    fn detail(version: Version, connectors: Vec<ConnectorView>) -> ChargerDetail {
        let mut charger = charger("CP-1", true);
        charger.ocpp_version = Some(version);
        ChargerDetail {
            charger,
            connectors,
            settings: None,
            removed_at: None,
            removed_by: None,
        }
    }

    fn earlier(by: &str, created_at: Timestamp, is_error: bool, answer: &str) -> CommandView {
        let stored = StoredCommand {
            command: Command {
                id: CommandId(Uuid::nil()),
                charger_id: "CP-1".into(),
                action: ACTION.into(),
                payload: r#"{"requestedMessage":"StatusNotification"}"#.into(),
                answer_within_ms: 30_000,
                send_before: created_at,
                skips_check: false,
            },
            created_at,
            requested_by: by.into(),
            waits_when_offline: false,
            stage: CommandStage::Queued,
            progress: CommandProgress {
                reply: Some(Reply {
                    at: created_at,
                    record: RecordId {
                        gateway: GatewayId(Uuid::nil()),
                        seq: Seq(1),
                    },
                    is_error,
                    payload: answer.into(),
                }),
                ..CommandProgress::default()
            },
            effect: EffectState::default(),
            repeats: None,
            repeated_by: None,
            traceparent: None,
            charger_is_absent: false,
        };
        stored.view(created_at)
    }

    fn ask(payloads: &[&str]) -> StatusRequest {
        StatusRequest::Ask(payloads.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn only_connectors_that_are_unknown_since_the_connect_are_asked_for() {
        let all = r#"{"requestedMessage":"StatusNotification"}"#;
        let second = r#"{"requestedMessage":"StatusNotification","connectorId":2}"#;
        let of_evse =
            r#"{"requestedMessage":"StatusNotification","evse":{"id":2,"connectorId":1}}"#;
        for (version, connectors, want) in [
            (Version::V16, vec![], StatusRequest::Nothing),
            (
                Version::V16,
                vec![connector("CP-1", 1)],
                StatusRequest::Nothing,
            ),
            (
                Version::V16,
                vec![connector("CP-1", 1), unknown(0, 2)],
                ask(&[second]),
            ),
            (
                Version::V16,
                vec![unknown(0, 0), unknown(0, 1)],
                ask(&[all]),
            ),
            (Version::V16, vec![unknown(0, 0)], ask(&[all])),
            (
                Version::V201,
                vec![unknown(2, 1), unknown(2, 0), unknown(0, 0)],
                ask(&[of_evse]),
            ),
            (Version::V21, vec![unknown(2, 1)], ask(&[of_evse])),
        ] {
            let found = status_request(&detail(version, connectors.clone()), EPOCH, &[], NOW);
            assert_eq!(found, want, "{version} {connectors:?}");
        }
        let many: Vec<_> = (1..100).map(|evse| unknown(evse, 1)).collect();
        let found = status_request(&detail(Version::V201, many), EPOCH, &[], NOW);
        assert!(matches!(found, StatusRequest::Ask(payloads) if payloads.len() == CONNECTORS_MAX));
    }

    #[test]
    fn only_the_connection_that_the_database_shows_is_asked() {
        let detail = detail(Version::V16, vec![unknown(0, 1)]);
        let at = |epoch| status_request(&detail, Epoch(epoch), &[], NOW);
        assert_eq!(at(EPOCH.0 + 1), StatusRequest::NotYet);
        assert_eq!(at(EPOCH.0 - 1), StatusRequest::Nothing);
        let mut gone = detail.clone();
        gone.charger.online = false;
        assert_eq!(
            status_request(&gone, EPOCH, &[], NOW),
            StatusRequest::Nothing
        );
    }

    #[test]
    fn a_charger_is_not_asked_often_and_not_if_it_does_not_support_it() {
        let detail = detail(Version::V16, vec![unknown(0, 1)]);
        let is_asked = |command: CommandView| {
            status_request(&detail, EPOCH, &[command], NOW) != StatusRequest::Nothing
        };
        let minutes = |minutes: i64| NOW.plus_millis(-minutes * 60_000);
        let accepted = r#"{"status":"Accepted"}"#;
        assert!(!is_asked(earlier(
            REQUESTED_BY,
            minutes(9),
            false,
            accepted
        )));
        assert!(is_asked(earlier(
            REQUESTED_BY,
            minutes(11),
            false,
            accepted
        )));
        assert!(is_asked(earlier("anna", minutes(1), false, accepted)));
        for (is_error, answer) in [
            (false, r#"{"status":"NotImplemented"}"#),
            (true, r#"["NotImplemented","",{}]"#),
            (true, r#"["NotSupported","",{}]"#),
        ] {
            assert!(!is_asked(earlier("anna", minutes(60), is_error, answer)));
            assert!(!is_asked(earlier(
                REQUESTED_BY,
                minutes(9_000),
                is_error,
                answer
            )));
            assert!(is_asked(earlier(
                REQUESTED_BY,
                minutes(11_000),
                is_error,
                answer
            )));
        }
        let rejected = r#"{"status":"Rejected"}"#;
        assert!(is_asked(earlier(
            REQUESTED_BY,
            minutes(60),
            false,
            rejected
        )));
        assert!(is_asked(earlier(
            REQUESTED_BY,
            minutes(60),
            true,
            r#"["InternalError"]"#
        )));
    }
}
