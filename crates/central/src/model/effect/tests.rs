//! Tables of effects: each kind with the messages that matter, at each time that matters.

use super::*;
use crate::effect::{ClaimedCommand, EffectIndex, effects};
use crate::model::{
    ChargerKey, Claim, Command, CommandId, CommandProgress, CommandStage, EffectPhase, EffectView,
    Reply, Sent, StoredCommand,
};
use crate::record::{AnswerKind, Epoch, Notes, Record, RecordKind};
use ocpp::Version;
use std::fmt::Write;

/// The command is sent at this time, with record 10; its answer is record 11.
const SENT: i64 = 1_767_225_600_000;

fn gateway() -> GatewayId {
    GatewayId(Uuid::from_u128(9))
}

fn record_id(seq: u64) -> RecordId {
    RecordId {
        gateway: gateway(),
        seq: Seq(seq),
    }
}

/// A message: seconds after the sending, action, payload.
type Said<'a> = (i64, &'a str, &'a str);

/// The effect of a command that was answered one second after the sending, `seconds` after the sending.
fn effect(
    version: Version,
    (action, payload): (&str, &str),
    answer: &str,
    messages: &[Said<'_>],
    seconds: i64,
) -> EffectView {
    effect_by_gateway(0, version, (action, payload), answer, messages, seconds)
}

/// The same with a gateway whose clock is ahead of the database's by this; all times but those of the request and the claim
/// are by the gateway's clock.
fn effect_by_gateway(
    ahead_ms: i64,
    version: Version,
    (action, payload): (&str, &str),
    answer: &str,
    messages: &[Said<'_>],
    seconds: i64,
) -> EffectView {
    let command = Command {
        id: CommandId(Uuid::from_u128(1)),
        charger_id: "CP-1".into(),
        action: action.into(),
        payload: payload.into(),
        answer_within_ms: 30_000,
        send_before: Timestamp(SENT + 5_000 - ahead_ms),
        skips_check: false,
    };
    let claim = Claim {
        gateway: gateway(),
        started: Epoch(1),
        next_seq: Seq(5),
        at: Timestamp(SENT - ahead_ms),
    };
    let records: Vec<_> = (0..)
        .zip(messages)
        .map(|(number, (seconds, action, payload))| {
            // What is said before the sending has a lower number.
            let seq = if *seconds < 0 { 6 } else { 20 } + number;
            // The answer to a start gives its id.
            let answer = match *action {
                "StartTransaction" => match number {
                    0 => r#"{"transactionId":100}"#,
                    1 => r#"{"transactionId":101}"#,
                    _ => r#"{"transactionId":102}"#,
                },
                _ => "{}",
            };
            let record = Record {
                kind: RecordKind::Call,
                charger_id: "cp-1",
                ocpp_version: version,
                message_id: "m",
                action,
                payload,
                answer_kind: AnswerKind::Result,
                answer,
                received_at: Timestamp(SENT + seconds * 1_000),
                epoch: Epoch(1),
                notes: Notes::default(),
                reason: "",
            };
            (record_id(seq), record)
        })
        .collect();
    let claimed = ClaimedCommand {
        id: command.id,
        charger: ChargerKey::of("CP-1"),
        action: action.into(),
        payload: payload.into(),
        claim,
        until: EffectIndex::of(&command).map_or(Timestamp(0), |index| index.until),
    };
    let mut effect = effects(&[claimed], &records)
        .remove(&command.id)
        .unwrap_or_default();
    let wire_ids: Vec<String> = effect.transaction_ids().map(str::to_owned).collect();
    for wire_id in wire_ids {
        effect.add_key("CP-1", &wire_id, &TransactionState::default());
    }
    let progress = CommandProgress {
        sent: Some(Sent {
            at: Timestamp(SENT),
            record: record_id(10),
            version,
            epoch: Epoch(1),
        }),
        reply: Some(Reply {
            at: Timestamp(SENT + 1_000),
            record: record_id(11),
            is_error: false,
            payload: answer.into(),
        }),
        unanswered: None,
    };
    let stored = StoredCommand {
        command,
        created_at: Timestamp(SENT - ahead_ms),
        requested_by: "ops".into(),
        waits_when_offline: false,
        stage: CommandStage::Claimed(claim),
        progress,
        effect,
        repeats: None,
        repeated_by: None,
        traceparent: None,
        charger_is_absent: false,
    };
    stored
        .view(Timestamp(SENT + seconds * 1_000 - ahead_ms))
        .effect
}

const ACCEPTED: &str = r#"{"status":"Accepted"}"#;

fn key_of(wire_id: &str) -> Uuid {
    let views = TransactionState::default().views("CP-1", wire_id);
    views.first().expect("one view").key
}

fn start(connector: i64, tag: &str, seconds: i64) -> String {
    let at = Timestamp(SENT + seconds * 1_000);
    format!(r#"{{"connectorId":{connector},"idTag":"{tag}","meterStart":0,"timestamp":"{at}"}}"#)
}

#[test]
fn a_gateway_whose_clock_is_ten_minutes_off_changes_no_effect() {
    let command = ("TriggerMessage", r#"{"requestedMessage":"Heartbeat"}"#);
    let (expected, seen, not_seen) = (
        EffectPhase::Expected,
        EffectPhase::Seen,
        EffectPhase::NotSeen,
    );
    for ahead_ms in [-600_000, 0, 600_000] {
        for (heard_after, at, wanted) in [
            (None, 60, expected),
            (None, 61, not_seen),
            (Some(2), 9, seen),
            (Some(100), 101, seen),
            // Five minutes after it should have come at the latest, it is another one.
            (Some(390), 3_600, seen),
            (Some(396), 3_600, not_seen),
        ] {
            let heard: Option<Said<'_>> = heard_after.map(|after| (after, "Heartbeat", "{}"));
            let heard = heard.as_slice();
            let shown = effect_by_gateway(ahead_ms, Version::V16, command, ACCEPTED, heard, at);
            assert_eq!(shown.state, wanted, "{ahead_ms} {heard_after:?} at {at}");
        }
    }
}

#[test]
fn a_remote_start_without_an_id_has_the_only_start_that_fits() {
    let command = ("RemoteStartTransaction", r#"{"idTag":"TAG"}"#);
    let shown =
        |messages: &[Said<'_>], seconds| effect(Version::V16, command, ACCEPTED, messages, seconds);
    let other = start(1, "OTHER", 5);
    assert_eq!(
        shown(&[(5, "StartTransaction", &other)], 9).state,
        EffectPhase::Expected
    );
    assert_eq!(
        shown(&[(5, "StartTransaction", &other)], 301).state,
        EffectPhase::NotSeen
    );
    let one = start(1, "tag", 5);
    let seen = shown(&[(5, "StartTransaction", &one)], 301);
    assert_eq!(seen.state, EffectPhase::Seen);
    assert_eq!(seen.transaction, Some(key_of("100")));
    // A second start with the token: which of them it was is not known.
    let two = start(2, "TAG", 60);
    let messages = [
        (5, "StartTransaction", &*one),
        (60, "StartTransaction", &*two),
    ];
    let seen = shown(&messages, 301);
    assert_eq!((seen.state, seen.transaction), (EffectPhase::Seen, None));
    assert_eq!(seen.candidates, [key_of("100"), key_of("101")]);
    assert!(seen.detail.is_some());
}

#[test]
fn a_remote_start_of_a_connector_has_the_first_start_there() {
    let command = (
        "RemoteStartTransaction",
        r#"{"idTag":"TAG","connectorId":2}"#,
    );
    let (other, one, two) = (start(1, "TAG", 4), start(2, "TAG", 5), start(2, "TAG", 60));
    let messages = [
        (4, "StartTransaction", &*other),
        (5, "StartTransaction", &*one),
        (60, "StartTransaction", &*two),
    ];
    let seen = effect(Version::V16, command, ACCEPTED, &messages, 301);
    assert_eq!(seen.transaction, Some(key_of("101")));
    assert!(seen.candidates.is_empty());
}

#[test]
fn a_start_that_waited_in_the_charger_s_queue_is_no_effect_unless_it_is_in_time() {
    let command = ("RemoteStartTransaction", r#"{"idTag":"TAG"}"#);
    // It started an hour before, and arrives after the command.
    let old = start(1, "TAG", -3_600);
    let shown =
        |messages: &[Said<'_>], seconds| effect(Version::V16, command, ACCEPTED, messages, seconds);
    let seen = shown(&[(5, "StartTransaction", &old)], 9);
    assert_eq!(
        (seen.state, seen.transaction),
        (EffectPhase::Expected, None)
    );
    assert_eq!(seen.candidates, [key_of("100")]);
    let seen = shown(&[(5, "StartTransaction", &old)], 400);
    assert_eq!(seen.state, EffectPhase::NotSeen);
    // It started in time, and the charger was offline for an hour.
    let late = start(1, "TAG", 20);
    let messages = [
        (5, "StartTransaction", &*old),
        (3_600, "StartTransaction", &*late),
    ];
    let seen = shown(&messages, 3_700);
    assert_eq!(seen.state, EffectPhase::Seen);
    assert_eq!(seen.transaction, Some(key_of("101")));
}

#[test]
fn nothing_follows_a_command_that_was_rejected() {
    for (action, payload, answer) in [
        (
            "RemoteStartTransaction",
            r#"{"idTag":"TAG"}"#,
            r#"{"status":"Rejected"}"#,
        ),
        (
            "ChangeConfiguration",
            r#"{"key":"k","value":"v"}"#,
            ACCEPTED,
        ),
        ("GetDiagnostics", r#"{"location":"ftp://h"}"#, "{}"),
        ("ClearCache", "{}", ACCEPTED),
        ("CancelReservation", r#"{"reservationId":1}"#, ACCEPTED),
    ] {
        let shown = effect(Version::V16, (action, payload), answer, &[], 9);
        assert_eq!(shown.state, EffectPhase::None, "{action}");
        assert_eq!(shown.expected_by, None);
    }
    let reboot = r#"{"status":"RebootRequired"}"#;
    let command = ("ChangeConfiguration", r#"{"key":"k","value":"v"}"#);
    let shown = effect(Version::V16, command, reboot, &[], 90_000);
    assert_eq!(shown.state, EffectPhase::NotSeen);
    assert!(shown.detail.is_some());
}

#[test]
fn states_of_firmware_count_by_what_was_reported_last() {
    let command = (
        "UpdateFirmware",
        r#"{"requestId":4,"firmware":{"location":"https://u:p@h/f"}}"#,
    );
    let shown = |states: &[(i64, &str)]| {
        let payloads: Vec<String> = states
            .iter()
            .map(|(_, state)| format!(r#"{{"status":"{state}","requestId":4}}"#))
            .collect();
        let messages: Vec<Said<'_>> = states
            .iter()
            .zip(&payloads)
            .map(|((at, _), payload)| (*at, "FirmwareStatusNotification", payload.as_str()))
            .collect();
        effect(Version::V201, command, ACCEPTED, &messages, 100)
    };
    let seen = shown(&[(2, "Downloading"), (3, "DownloadFailed")]);
    assert_eq!(seen.state, EffectPhase::Seen);
    assert_eq!(seen.status.as_deref(), Some("DownloadFailed"));
    assert_eq!(seen.file.as_deref(), Some("https://h/f"));
    // The charger tries again.
    let seen = shown(&[
        (2, "Downloading"),
        (3, "DownloadFailed"),
        (4, "Downloading"),
    ]);
    assert_eq!(seen.state, EffectPhase::Expected);
    assert_eq!(seen.status.as_deref(), Some("Downloading"));
    // After the restart it repeats an older state.
    let seen = shown(&[
        (2, "Installing"),
        (5, "Installed"),
        (6, "Idle"),
        (7, "Installing"),
    ]);
    assert_eq!(seen.state, EffectPhase::Seen);
    assert_eq!(seen.seen_at, Some(Timestamp(SENT + 5_000)));
    assert_eq!(seen.status.as_deref(), Some("Installed"));
    // A state of another request.
    let other = [(
        2,
        "FirmwareStatusNotification",
        r#"{"status":"Installed","requestId":5}"#,
    )];
    let seen = effect(Version::V201, command, ACCEPTED, &other, 100);
    assert_eq!((seen.state, seen.status), (EffectPhase::Expected, None));
}

#[test]
fn a_report_says_which_pages_are_missing() {
    let command = ("GetReport", r#"{"requestId":4}"#);
    let shown = |pages: &[(i64, i64, bool)], seconds| {
        let payloads: Vec<String> = pages
            .iter()
            .map(|(_, number, tbc)| format!(r#"{{"requestId":4,"seqNo":{number},"tbc":{tbc}}}"#))
            .collect();
        let messages: Vec<Said<'_>> = pages
            .iter()
            .zip(&payloads)
            .map(|((at, ..), payload)| (*at, "NotifyReport", payload.as_str()))
            .collect();
        let seen = effect(Version::V201, command, ACCEPTED, &messages, seconds);
        let report = seen.report.expect("it asks for a report");
        let mut text = String::new();
        let _ = write!(text, "{} {:?}", report.pages, report.missing);
        (seen.state, report.complete, text)
    };
    let (expected, not_seen, seen) = (
        EffectPhase::Expected,
        EffectPhase::NotSeen,
        EffectPhase::Seen,
    );
    assert_eq!(shown(&[], 9), (expected, false, "0 []".into()));
    assert_eq!(shown(&[], 122), (not_seen, false, "0 []".into()));
    assert_eq!(shown(&[(2, 0, false)], 9), (seen, true, "1 []".into()));
    let holes = [(2, 1, true), (3, 4, false)];
    assert_eq!(
        shown(&holes, 122),
        (not_seen, false, "2 [(0, 0), (2, 3)]".into())
    );
    // While pages come, it is not late.
    let long = [(2, 0, true), (119, 1, true)];
    assert_eq!(shown(&long, 170), (expected, false, "2 []".into()));
    assert_eq!(shown(&long, 180), (not_seen, false, "2 []".into()));
    // Numbers that no report has are not counted.
    let odd = [(2, -1, true), (2, i64::MAX, false), (2, 10_000, false)];
    assert_eq!(shown(&odd, 9), (expected, false, "0 []".into()));
}

#[test]
fn a_trigger_of_a_connector_is_seen_from_that_connector() {
    let command = (
        "TriggerMessage",
        r#"{"requestedMessage":"StatusNotification","evse":{"id":2,"connectorId":1}}"#,
    );
    let status =
        |evse: i64| format!(r#"{{"evseId":{evse},"connectorId":1,"connectorStatus":"Available"}}"#);
    let shown = |action: &str, payload: &str| {
        effect(Version::V21, command, ACCEPTED, &[(2, action, payload)], 9).state
    };
    assert_eq!(
        shown("StatusNotification", &status(1)),
        EffectPhase::Expected
    );
    assert_eq!(shown("StatusNotification", &status(2)), EffectPhase::Seen);
    let event = |evse: i64| {
        format!(
            r#"{{"eventData":[{{"actualValue":"Available","component":{{"name":"Connector","evse":{{"id":{evse},"connectorId":1}}}},"variable":{{"name":"AvailabilityState"}}}}]}}"#
        )
    };
    assert_eq!(shown("NotifyEvent", &event(1)), EffectPhase::Expected);
    assert_eq!(shown("NotifyEvent", &event(2)), EffectPhase::Seen);
}

#[test]
fn states_of_effects_are_bounded_and_merge_in_any_order() {
    let parts: Vec<EffectState> = (0..200_i64)
        .flat_map(|number| {
            let (at, record) = (Timestamp(number), record_id(number.unsigned_abs()));
            [
                EffectState::of_mark(&format!("mark {number}"), at, record),
                EffectState::of_state("one", at, record),
                EffectState::of_transaction(number.to_string(), at, at, record),
                EffectState::of_page(Some(number * 2), number == 199, at, record),
                EffectState::of_page(None, false, at, record),
            ]
        })
        .collect();
    let mut forward = EffectState::default();
    let mut backward = EffectState::default();
    for (one, other) in parts.iter().zip(parts.iter().rev()) {
        forward.merge(one.clone());
        backward.merge(other.clone());
        backward.merge(other.clone());
    }
    assert_eq!(forward, backward);
    assert_eq!(forward.marks.len(), EffectState::MARKS_MAX);
    assert_eq!(forward.transactions.len(), EffectState::TRANSACTIONS_MAX);
    let json = serde_json::to_string(&forward).expect("it is JSON");
    assert!(json.len() < 60_000, "{}", json.len());
    assert_eq!(
        serde_json::from_str::<EffectState>(&json).ok(),
        Some(forward)
    );
}
