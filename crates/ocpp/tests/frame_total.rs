//! No text causes a panic, every written frame can be read, and an error reports only what the text holds.

use ocpp::frame::{self, Frame, MessageId};
use ocpp::{Version, action, check, json::Raw, meter, timestamp, v2, v16};
use proptest::prelude::*;

/// Calls every function that reads what a charger sends.
fn exercise(text: &str) {
    for version in Version::ALL {
        let parsed = frame::parse_noting(text, version);
        match &parsed.frame {
            Ok(Frame::Call(call)) => payload(version, &call.action, call.payload),
            Ok(Frame::Send(send)) => payload(version, &send.action, send.payload),
            Ok(Frame::CallResult(result)) => {
                payload(version, "BootNotification", result.payload);
            }
            Ok(Frame::CallError(error) | Frame::CallResultError(error)) => {
                let _ = ocpp::ErrorCode::parse(&error.code);
            }
            Err(error) => {
                assert!(text.contains(error.rest));
                let _ = error.to_string();
                if let Some(answer) = error.answer(version) {
                    assert!(frame::parse(&answer, version).is_ok(), "{answer}");
                }
                let action = error.action.as_deref().unwrap_or_default();
                payload(version, action, error.rest);
            }
        }
    }
    let _ = timestamp::read(text);
}

fn payload(version: Version, name: &str, text: &str) {
    let _ = action::lookup(version, name);
    let _ = check::request(version, name, text);
    let _ = check::response(version, name, text);
    views(text);
}

fn views(text: &str) {
    let raw = Raw::new(text);
    let _ = (raw.text(), raw.number(), raw.integer(), raw.boolean());
    let _ = raw.items(|item| drop(item.text()));
    let _ = v16::BootNotification::read(text);
    let _ = v16::StartTransaction::read(text);
    let _ = v16::StopTransaction::read(text);
    if let Ok(view) = v16::MeterValues::read(text) {
        let sampled = |value: &meter::MeterValue<'_>| value.sampled_values.len();
        let _ = view.meter_value.iter().map(sampled).sum::<usize>();
    }
    let _ = v16::StatusNotification::read(text);
    let _ = v2::BootNotification::read(text);
    let _ = v2::TransactionEvent::read(text);
    let _ = v2::NotifyEvent::read(text);
}

const VALID: [&str; 5] = [
    r#"[2,"7f3c","StartTransaction",{"connectorId":1,"idTag":"04AB","timestamp":"2026-01-01T00:00:00Z","meterStart":12}]"#,
    r#"[2,"7f3c","MeterValues",{"connectorId":1,"transactionId":9,"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[{"value":"1.5","unit":"kWh"}]}]}]"#,
    r#"[2,"7f3c","TransactionEvent",{"eventType":"Started","timestamp":"2026-01-01T00:00:00Z","triggerReason":"Authorized","seqNo":0,"transactionInfo":{"transactionId":"t-1"},"idToken":{"idToken":"04AB","type":"ISO14443"},"evse":{"id":1,"connectorId":1}}]"#,
    r#"[3,"7f3c",{"status":"Accepted"}]"#,
    r#"[4,"7f3c","NotSupported","no \"such\" thing",{"a":[1,2,null,true]}]"#,
];

/// One change to a text, at a position in thousandths of its length.
#[derive(Debug, Clone)]
enum Change {
    Cut(usize),
    Insert(usize, String),
    Remove(usize, usize),
    Double(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0..1000_usize;
    prop_oneof![
        place.clone().prop_map(Change::Cut),
        (
            place.clone(),
            r#"[\[\]{},:"\\0-9a-z\x00-\x20]{1,3}|.|\\u[d8-9a-f]{4}"#
        )
            .prop_map(|(at, text)| Change::Insert(at, text)),
        (place.clone(), 1..20_usize).prop_map(|(at, len)| Change::Remove(at, len)),
        (place, 1..40_usize).prop_map(|(at, len)| Change::Double(at, len)),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let chars: Vec<char> = text.chars().collect();
    let place = |thousandths: usize| chars.len() * thousandths / 1000;
    let span = |at: usize, len: usize| place(at)..(place(at) + len).min(chars.len());
    let join = |parts: &[&[char]]| parts.concat().into_iter().collect::<String>();
    match change {
        Change::Cut(at) => join(&[&chars[..place(*at)]]),
        Change::Insert(at, more) => {
            let more: Vec<char> = more.chars().collect();
            join(&[&chars[..place(*at)], &more, &chars[place(*at)..]])
        }
        Change::Remove(at, len) => {
            let span = span(*at, *len);
            join(&[&chars[..span.start], &chars[span.end..]])
        }
        Change::Double(at, len) => {
            let span = span(*at, *len);
            join(&[&chars[..span.end], &chars[span]])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn any_text_of_json_characters_is_read_without_a_panic(
        text in r#"(\[2,"a","(MeterValues|TransactionEvent|X)",)?[\[\]{},:"\\untrfals0-9eE+. \t]{0,60}"#
    ) {
        exercise(&text);
    }

    #[test]
    fn mutated_frames_are_read_without_a_panic(
        which in 0..VALID.len(),
        changes in proptest::collection::vec(change(), 1..5),
    ) {
        let text = changes
            .iter()
            .fold(VALID[which].to_owned(), |text, change| apply(&text, change));
        exercise(&text);
    }

    #[test]
    fn a_frame_is_json_by_the_verdict_of_serde_json(
        which in 0..VALID.len(),
        changes in proptest::collection::vec(change(), 0..3),
    ) {
        let text = changes
            .iter()
            .fold(VALID[which].to_owned(), |text, change| apply(&text, change));
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        let parsed = frame::parse_noting(&text, Version::V21);
        if parsed.frame.is_ok() && !parsed.quirks.has(frame::Quirk::NulAround) {
            prop_assert!(is_json, "{}", text);
        }
        if let Err(error) = &parsed.frame {
            let says_no_json = matches!(
                error.kind,
                frame::FrameErrorKind::NotJson { .. } | frame::FrameErrorKind::Empty
            );
            prop_assert_eq!(says_no_json, !is_json, "{}", text);
        }
    }

    #[test]
    fn every_written_frame_can_be_read(id in any::<String>(), name in any::<String>(), code in any::<String>()) {
        let id = MessageId::new(id);
        let text = frame::write_call(&id, &name, r#"{"a":[1]}"#);
        let Ok(Frame::Call(call)) = frame::parse(&text, Version::V16) else {
            panic!("{text}");
        };
        prop_assert_eq!(&call.id, &id);
        prop_assert_eq!(call.action, name.as_str());
        prop_assert_eq!(call.payload, r#"{"a":[1]}"#);

        let text = frame::write_call_error(&id, &code, "why", "");
        let Ok(Frame::CallError(error)) = frame::parse(&text, Version::V16) else {
            panic!("{text}");
        };
        prop_assert_eq!(&error.id, &id);
        prop_assert_eq!(error.code, code);

        let text = frame::write_send(&id, &name, "");
        let Ok(Frame::Send(send)) = frame::parse(&text, Version::V21) else {
            panic!("{text}");
        };
        prop_assert_eq!((&send.id, &*send.action), (&id, name.as_str()));
    }

    #[test]
    fn a_call_cut_off_after_its_action_can_be_answered(cut in 0..200_usize) {
        let text = VALID[1];
        let from = text.find(",{").expect("a payload");
        let end = (from + cut).min(text.len() - 1);
        let error = frame::parse(&text[..end], Version::V16).expect_err("cut off");
        prop_assert_eq!(error.id, Some("7f3c".into()));
        prop_assert_eq!(error.action.as_deref(), Some("MeterValues"));
    }
}
