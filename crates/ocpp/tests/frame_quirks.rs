//! Mistakes that firmware makes in frames, each as a test named after its quirk (`docs/quirks.md`). None may lose the
//! message.

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use ocpp::Version::{self, V16, V21, V201};
use ocpp::frame::{
    self, Call, CallError, CallResult, Frame, FrameError, FrameErrorKind, MessageId, Quirk,
};

fn call(text: &str) -> Call<'_> {
    match frame::parse(text, V16) {
        Ok(Frame::Call(call)) => call,
        other => panic!("{text} is read as {other:?}"),
    }
}

fn call_error(text: &str) -> CallError<'_> {
    match frame::parse(text, V16) {
        Ok(Frame::CallError(error)) => error,
        other => panic!("{text} is read as {other:?}"),
    }
}

fn broken(text: &str, version: Version) -> FrameError<'_> {
    frame::parse(text, version).expect_err(text)
}

/// The error of a broken call must hold its id, its action and the rest of its text.
#[track_caller]
fn recovers(text: &str, action: &str, rest: &str) {
    let error = broken(text, V16);
    assert!(error.is_call(), "{text}: {error:?}");
    assert_eq!(error.id, Some(MessageId::new("19")), "{text}");
    assert_eq!(error.action.as_deref(), Some(action), "{text}");
    assert_eq!(error.rest, rest, "{text}");
    assert!(
        matches!(error.kind, FrameErrorKind::NotJson { .. }),
        "{text}"
    );
    let answer = error.answer(V16).expect("a call gets an answer");
    assert!(
        answer.starts_with(r#"[4,"19","FormationViolation","#),
        "{answer}"
    );
}

#[track_caller]
fn notes(text: &str, quirk: Quirk) {
    let quirks = frame::parse_noting(text, V16).quirks;
    assert_eq!(quirks.iter().collect::<Vec<_>>(), [quirk], "{text}");
}

#[test]
fn a_valid_frame_has_no_quirk() {
    for text in [
        r#"[2,"19","Heartbeat",{}]"#,
        r#"[3,"19",{"status":"Accepted"}]"#,
        r#"[4,"19","GenericError","",{}]"#,
    ] {
        let parsed = frame::parse_noting(text, V16);
        assert!(parsed.frame.is_ok() && parsed.quirks.is_empty(), "{text}");
    }
}

#[test]
fn quirk_07_number_as_message_id() {
    for (text, id) in [
        (r#"[2,19,"Heartbeat",{}]"#, "19"),
        (r#"[2,-1,"Heartbeat",{}]"#, "-1"),
        (r#"[2,1.50e3,"Heartbeat",{}]"#, "1.50e3"),
        (
            r#"[2,123456789012345678901234567890,"Heartbeat",{}]"#,
            "123456789012345678901234567890",
        ),
    ] {
        let call = call(text);
        assert!(call.id.is_number());
        assert_eq!(call.id.as_str(), id);
        assert_eq!(
            frame::write_call_result(&call.id, "{}"),
            format!("[3,{id},{{}}]")
        );
        notes(text, Quirk::NumberId);
    }
}

#[test]
fn quirk_07_a_string_id_is_echoed_as_a_string() {
    let call = call(r#"[2,"00\u00319\"","Heartbeat",{}]"#);
    assert_eq!(call.id.as_str(), "0019\"");
    assert_eq!(
        frame::write_call_result(&call.id, "{}"),
        r#"[3,"0019\"",{}]"#
    );
}

#[test]
fn quirk_07_empty_message_id() {
    assert_eq!(call(r#"[2,"","Heartbeat",{}]"#).id.as_str(), "");
}

#[test]
fn quirk_07_message_id_over_36_characters() {
    let id = "x".repeat(5_000);
    let text = format!(r#"[2,"{id}","Heartbeat",{{}}]"#);
    assert_eq!(call(&text).id.as_str(), id);
    notes(&text, Quirk::LongId);
    let umlauts = format!(r#"[2,"{}","Heartbeat",{{}}]"#, "ä".repeat(36));
    assert!(frame::parse_noting(&umlauts, V16).quirks.is_empty());
}

#[test]
fn quirk_08_key_without_value_in_the_payload() {
    recovers(
        r#"[2,"19","StatusNotification",{"connectorId":1,"info":,"status":"Available"}]"#,
        "StatusNotification",
        r#"{"connectorId":1,"info":,"status":"Available"}]"#,
    );
}

#[test]
fn quirk_08_bracket_comma_brace_in_the_payload() {
    recovers(
        r#"[2,"19","MeterValues",{"connectorId":1,"meterValue":[,{"timestamp":"x"}]}]"#,
        "MeterValues",
        r#"{"connectorId":1,"meterValue":[,{"timestamp":"x"}]}]"#,
    );
}

#[test]
fn quirk_08_unescaped_backslash_in_the_payload() {
    recovers(
        r#"[2,"19","BootNotification",{"chargePointModel":"A\C"}]"#,
        "BootNotification",
        r#"{"chargePointModel":"A\C"}]"#,
    );
}

#[test]
fn quirk_08_control_character_in_a_string() {
    recovers(
        "[2,\"19\",\"Authorize\",{\"idTag\":\"AB\u{1}\"}]",
        "Authorize",
        "{\"idTag\":\"AB\u{1}\"}]",
    );
}

#[test]
fn quirk_08_payload_cut_off() {
    recovers(r#"[2,"19","MeterValues",{broken"#, "MeterValues", "{broken");
    recovers(r#"[2,"19","MeterValues","#, "MeterValues", "");
    recovers(r#"[2,"19","Heartbeat",{}"#, "Heartbeat", "{}");
    recovers(r#"[2,"19","Heartbeat""#, "Heartbeat", "");
}

#[test]
fn quirk_08_not_a_number_in_the_payload() {
    recovers(
        r#"[2,"19","StopTransaction",{"meterStop":NaN}]"#,
        "StopTransaction",
        r#"{"meterStop":NaN}]"#,
    );
}

#[test]
fn quirk_08_comma_missing_or_doubled_in_the_frame() {
    recovers(r#"[2,"19","Heartbeat"{}]"#, "Heartbeat", "{}]");
    recovers(r#"[2,"19","Heartbeat",,{}]"#, "Heartbeat", ",{}]");
    recovers(r#"[2,"19","Heartbeat",{},]"#, "Heartbeat", "{},]");
}

#[test]
fn quirk_08_text_after_the_frame() {
    recovers(
        r#"[2,"19","Heartbeat",{}][2,"20","Heartbeat",{}]"#,
        "Heartbeat",
        r#"{}][2,"20","Heartbeat",{}]"#,
    );
}

#[test]
fn quirk_08_bracket_comma_brace_as_a_frame() {
    let error = broken("[,{", V201);
    assert_eq!(error.kind, FrameErrorKind::NotJson { at: 1 });
    assert_eq!(
        (error.message_type, error.id.clone(), error.action.clone()),
        (None, None, None)
    );
    assert_eq!(error.rest, ",{");
}

#[test]
fn quirk_08_pretty_printed() {
    let text = "\r\n[\n  2,\n  \"19\",\n  \"Heartbeat\" ,\n  {\n    \"a\" : [ 1 , 2 ]\n  }\n]\n\t ";
    let call = call(text);
    assert_eq!(call.action, "Heartbeat");
    assert_eq!(call.payload, "{\n    \"a\" : [ 1 , 2 ]\n  }");
}

#[test]
fn quirk_08_empty_text_frame() {
    for text in ["", " ", "\n\n", "\u{feff}", "\0"] {
        for version in Version::ALL {
            assert_eq!(broken(text, version).kind, FrameErrorKind::Empty);
        }
    }
}

#[test]
fn quirk_08_byte_order_mark() {
    let text = "\u{feff}[2,\"19\",\"Heartbeat\",{}]";
    assert_eq!(call(text).action, "Heartbeat");
    notes(text, Quirk::ByteOrderMark);
    let cut = "\u{feff}[2,\"19\",\"Heartbeat\",{";
    assert_eq!(
        broken(cut, V16).kind,
        FrameErrorKind::NotJson { at: cut.len() }
    );
}

#[test]
fn quirk_08_end_of_a_c_string_after_the_frame() {
    let text = "[2,\"19\",\"Heartbeat\",{}]\0";
    assert_eq!(call(text).payload, "{}");
    notes(text, Quirk::NulAround);
}

#[test]
fn quirk_09_null_payload() {
    let text = r#"[2,"19","Heartbeat",null]"#;
    assert_eq!(call(text).payload, "{}");
    notes(text, Quirk::NullPayload);
    let result = frame::parse(r#"[3,"19",null]"#, V16);
    assert!(matches!(
        result,
        Ok(Frame::CallResult(CallResult { payload: "{}", .. }))
    ));
}

#[test]
fn quirk_09_missing_payload() {
    let text = r#"[2,"19","Heartbeat"]"#;
    assert_eq!(call(text).payload, "{}");
    notes(text, Quirk::MissingElements);
    let result = frame::parse(r#"[3,"19"]"#, V16);
    assert!(matches!(
        result,
        Ok(Frame::CallResult(CallResult { payload: "{}", .. }))
    ));
}

#[test]
fn quirk_15_too_many_elements() {
    let text = r#"[2,"19","Heartbeat",{"a":1},{"b":2},3,[4],5,6]"#;
    assert_eq!(call(text).payload, r#"{"a":1}"#);
    notes(text, Quirk::ExtraElements);
}

#[test]
fn message_type_as_a_string_or_with_a_fraction() {
    assert_eq!(call(r#"["2","19","Heartbeat",{}]"#).action, "Heartbeat");
    notes(r#"["2","19","Heartbeat",{}]"#, Quirk::TypeAsText);
    assert_eq!(call(r#"[2.0,"19","Heartbeat",{}]"#).action, "Heartbeat");
    assert!(frame::parse(r#"[2.5,"19","Heartbeat",{}]"#, V16).is_err());
}

#[test]
fn call_error_without_details_description_or_code() {
    let error = call_error(r#"[4,"19","InternalError","oops"]"#);
    assert_eq!(
        (&*error.code, &*error.description, error.details),
        ("InternalError", "oops", "{}")
    );
    let error = call_error(r#"[4,"19","InternalError"]"#);
    assert_eq!((&*error.description, error.details), ("", "{}"));
    let error = call_error(r#"[4,"19"]"#);
    assert_eq!(&*error.code, "");
    let error = call_error(r#"[4,"19","InternalError",null,null]"#);
    assert_eq!((&*error.description, error.details), ("", "{}"));
    let error = call_error(r#"[4,"19",17,{"a":1},"x"]"#);
    assert_eq!(
        (&*error.code, &*error.description, error.details),
        ("17", r#"{"a":1}"#, "\"x\"")
    );
}

#[test]
fn f_01_the_id_is_read_if_the_action_is_not_a_string() {
    for text in [r#"[2,"19"]"#, r#"[2,"19",{}]"#, r#"[2,"19",7,{}]"#] {
        let error = broken(text, V16);
        assert_eq!(error.kind, FrameErrorKind::BadShape("no action"));
        assert_eq!(error.id, Some("19".into()));
        assert!(error.answer(V16).is_some());
    }
    assert_eq!(broken(r#"[2,"19",{"a":1}]"#, V16).rest, r#"{"a":1}]"#);
}

#[test]
fn f_02_and_f_03_the_newer_types_exist_in_2_1_only() {
    let error = r#"[5,"19","FormatViolation","no status",{}]"#;
    let send = r#"[6,"19","NotifyPeriodicEventStream",{"id":1}]"#;
    assert!(matches!(
        frame::parse(error, V21),
        Ok(Frame::CallResultError(CallError { details: "{}", .. }))
    ));
    assert!(matches!(
        frame::parse(send, V21),
        Ok(Frame::Send(frame::Send {
            payload: r#"{"id":1}"#,
            ..
        }))
    ));
    for version in [V16, V201] {
        assert_eq!(
            broken(error, version).kind,
            FrameErrorKind::UnknownMessageType(5)
        );
        assert_eq!(
            broken(send, version).kind,
            FrameErrorKind::UnknownMessageType(6)
        );
    }
}

#[test]
fn f_02_a_broken_result_is_answered_in_2_1_only() {
    let text = r#"[3,"19",{"status":}]"#;
    assert_eq!(broken(text, V16).answer(V16), None);
    assert_eq!(broken(text, V201).answer(V201), None);
    let answer = broken(text, V21).answer(V21).expect("CALLRESULTERROR");
    assert!(
        answer.starts_with(r#"[5,"19","RpcFrameworkError","#),
        "{answer}"
    );
    assert_eq!(broken("[3,{}", V21).answer(V21), None);
}

#[test]
fn f_03_a_broken_send_or_error_is_never_answered() {
    for version in Version::ALL {
        assert_eq!(broken(r#"[6,"19","X",{"a":}]"#, V21).answer(V21), None);
        assert_eq!(
            broken(r#"[4,"19","X",{"a":}]"#, version).answer(version),
            None
        );
    }
}

#[test]
fn f_07_an_unknown_type_is_answered_on_2_0_1_only_and_only_with_an_id() {
    for (text, number) in [
        (r#"[7,"19","X",{}]"#, 7),
        (r#"[0,"19"]"#, 0),
        (r#"[-2,"19"]"#, -2),
    ] {
        for version in Version::ALL {
            let error = broken(text, version);
            assert_eq!(error.kind, FrameErrorKind::UnknownMessageType(number));
            let answer = error.answer(version);
            assert_eq!(answer.is_some(), version == V201, "{text} {version}");
            if let Some(answer) = answer {
                assert!(answer.starts_with(r#"[4,"19","MessageTypeNotSupported","#));
            }
        }
    }
    assert_eq!(broken("[7]", V201).answer(V201), None);
}

#[test]
fn f_08_without_an_id_the_error_has_the_id_minus_one_on_2_x() {
    for text in [
        r#"[2,null,"Heartbeat",{}]"#,
        r#"[2,{},"Heartbeat",{}]"#,
        "[2]",
        "[]",
        "{}",
        "hello",
        "[,{",
    ] {
        assert_eq!(broken(text, V16).answer(V16), None, "{text}");
        for version in [V201, V21] {
            let answer = broken(text, version).answer(version).expect(text);
            assert!(
                answer.starts_with(r#"[4,"-1","RpcFrameworkError","#),
                "{answer}"
            );
            assert!(frame::parse(&answer, version).is_ok());
        }
    }
    let error = broken(r#"[2,null,"Heartbeat",{}]"#, V201);
    assert_eq!(error.kind, FrameErrorKind::NoId);
    assert_eq!(error.action.as_deref(), Some("Heartbeat"));
    assert_eq!(error.rest, "{}]");
}

#[test]
fn a_value_that_is_not_a_list_is_an_error() {
    for text in ["{}", "7", "\"text\"", "null", " true "] {
        assert_eq!(broken(text, V16).kind, FrameErrorKind::NotArray, "{text}");
    }
    assert_eq!(
        broken("[]", V16).kind,
        FrameErrorKind::BadShape("no message type")
    );
}

#[test]
fn deep_nesting_uses_no_stack_and_keeps_the_envelope() {
    for opening in ["[", "{\"a\":"] {
        let deep = opening.repeat(500_000);
        let text = format!("[2,\"19\",\"DataTransfer\",{deep}");
        let error = broken(&text, V16);
        assert!(matches!(error.kind, FrameErrorKind::TooDeep { .. }));
        assert_eq!(error.id, Some("19".into()));
        assert_eq!(error.action.as_deref(), Some("DataTransfer"));
        assert_eq!(error.rest, deep);
    }
    let deepest = frame::MAX_DEPTH as usize - 1;
    let payload = "[".repeat(deepest) + &"]".repeat(deepest);
    let text = format!("[2,\"19\",\"DataTransfer\",{payload}]");
    assert_eq!(call(&text).payload, payload);
}

#[test]
fn surrogate_halves_and_unusual_actions_are_read_as_text() {
    let call = call(r#"[2,"\ud800","\ud83d\ude97 \u0000",{"a":"\udfff"}]"#);
    assert_eq!(call.id.as_str(), r"\ud800");
    assert_eq!(call.action, "🚗 \0");
    assert_eq!(call.payload, r#"{"a":"\udfff"}"#);
}

#[test]
fn an_id_with_half_of_a_surrogate_pair_is_repeated_as_it_was_written() {
    for id in [
        r#""\ud800""#,
        r#""\uD800""#,
        r#""a\"\\\udfff\n\u00e4""#,
        r#""\ud83d\ude97\ud83d""#,
        r#""\ufffd""#,
    ] {
        let text = format!("[2,{id},\"Heartbeat\",{{}}]");
        let read = call(&text);
        let answer = frame::write_call_result(&read.id, "{}");
        assert_eq!(answer, format!("[3,{id},{{}}]"));
        let refusal =
            frame::write_call_error(&read.id.clone().into_owned(), "GenericError", "", "");
        assert_eq!(refusal, format!("[4,{id},\"GenericError\",\"\",{{}}]"));
    }
    // A frame that cannot be read further is answered with the same id.
    let error = broken(r#"[2,"\ud800",7,{}]"#, Version::V16);
    let answer = error.answer(Version::V16).expect("an answer");
    assert!(answer.starts_with(r#"[4,"\ud800","#), "{answer}");
    // U+FFFD that was written as itself, and whole pairs, are text.
    assert_eq!(
        call(r#"[2,"\ud83d\ude97","Heartbeat",{}]"#).id.as_str(),
        "🚗"
    );
    assert_eq!(
        call("[2,\"\u{fffd}\",\"Heartbeat\",{}]").id.as_str(),
        "\u{fffd}"
    );
    // Two halves are two ids.
    let other = call(r#"[2,"\ud801","Heartbeat",{}]"#).id;
    assert_ne!(call(r#"[2,"\ud800","Heartbeat",{}]"#).id, other);
}
