//! Tables of the view: each stage with each progress, at each time that matters.

use super::*;
use crate::record::Seq;

fn record(seq: u64) -> RecordId {
    RecordId {
        gateway: gateway(),
        seq: Seq(seq),
    }
}

fn gateway() -> GatewayId {
    GatewayId(Uuid::from_u128(9))
}

#[test]
fn a_queued_command_that_waits_for_an_absent_charger_says_so() {
    let state = |change: fn(&mut StoredCommand)| {
        let mut command = stored(CommandStage::Queued, CommandProgress::default());
        command.waits_when_offline = true;
        command.charger_is_absent = true;
        change(&mut command);
        command.view(Timestamp(2_000)).state
    };
    assert_eq!(state(|_| {}), CommandState::WaitingForCharger);
    // Its expiry is decided by a database transaction, as that of every queued command.
    assert_eq!(
        state(|one| one.command.send_before = Timestamp(1)),
        CommandState::WaitingForCharger
    );
    assert_eq!(
        state(|one| one.charger_is_absent = false),
        CommandState::Queued
    );
    assert_eq!(
        state(|one| one.waits_when_offline = false),
        CommandState::Queued
    );
    let text = serde_json::to_string(&CommandState::WaitingForCharger).unwrap();
    assert_eq!(text, r#""waiting_for_charger""#);
}

fn stored(stage: CommandStage, progress: CommandProgress) -> StoredCommand {
    StoredCommand {
        command: Command {
            id: CommandId(Uuid::from_u128(1)),
            charger_id: "CP-17".into(),
            action: "Reset".into(),
            payload: r#"{"type":"Soft"}"#.into(),
            answer_within_ms: 30_000,
            send_before: Timestamp(5_000),
            skips_check: false,
        },
        created_at: Timestamp(1_000),
        requested_by: "ops".into(),
        waits_when_offline: false,
        stage,
        progress,
        effect: EffectState::default(),
        repeats: None,
        repeated_by: None,
        traceparent: None,
        charger_is_absent: false,
    }
}

fn claimed() -> CommandStage {
    CommandStage::Claimed(Claim {
        gateway: gateway(),
        started: Epoch(3),
        next_seq: Seq(40),
        at: Timestamp(3_000),
    })
}

fn sent() -> CommandProgress {
    CommandProgress {
        sent: Some(Sent {
            at: Timestamp(3_000),
            record: record(41),
            version: Version::V16,
            epoch: Epoch(7),
        }),
        ..CommandProgress::default()
    }
}

fn replied(is_error: bool, payload: &str) -> CommandProgress {
    CommandProgress {
        reply: Some(Reply {
            at: Timestamp(4_000),
            record: record(42),
            is_error,
            payload: payload.into(),
        }),
        ..sent()
    }
}

fn unanswered() -> CommandProgress {
    CommandProgress {
        unanswered: Some(Unanswered {
            at: Timestamp(33_000),
            record: record(43),
            reason: "no answer in time".into(),
        }),
        ..sent()
    }
}

fn not_sent() -> CommandStage {
    CommandStage::NotSent {
        refusal: Refusal::new(NotSent::Cancelled, ""),
        at: Timestamp(2_000),
    }
}

/// State, class and reason at a time.
fn seen(
    stage: CommandStage,
    progress: CommandProgress,
    at: i64,
) -> (CommandState, Option<OutcomeClass>, Option<String>) {
    let view = stored(stage, progress).view(Timestamp(at));
    let class = view.outcome.as_ref().map(|outcome| outcome.class);
    (
        view.state,
        class,
        view.outcome.and_then(|outcome| outcome.reason),
    )
}

#[test]
fn a_queued_command_is_queued_until_its_end_is_stored() {
    for at in [1_000, 4_999, 5_000, 1_000_000] {
        let (state, outcome, _) = seen(CommandStage::Queued, CommandProgress::default(), at);
        assert_eq!((state, outcome), (CommandState::Queued, None), "at {at}");
    }
}

#[test]
fn a_claim_without_a_record_is_uncertain_after_a_minute() {
    let progress = CommandProgress::default;
    let last = 3_000 + SILENCE_MAX_MS - 1;
    assert_eq!(
        seen(claimed(), progress(), last),
        (CommandState::Claimed, None, None)
    );
    let (state, class, reason) = seen(claimed(), progress(), last + 1);
    assert_eq!(
        (state, class),
        (CommandState::Done, Some(OutcomeClass::Uncertain))
    );
    assert_eq!(
        reason.as_deref(),
        Some("the gateway has not reported the outcome")
    );
}

#[test]
fn a_sent_command_is_uncertain_a_minute_after_its_time_to_answer() {
    let last = 3_000 + 30_000 + SILENCE_MAX_MS - 1;
    assert_eq!(
        seen(claimed(), sent(), last),
        (CommandState::Sent, None, None)
    );
    let (state, class, _) = seen(claimed(), sent(), last + 1);
    assert_eq!(
        (state, class),
        (CommandState::Done, Some(OutcomeClass::Uncertain))
    );
}

/// The claim has the database's time, and the record of sending that of the gateway.
#[test]
fn a_gateway_whose_clock_is_ten_minutes_off_changes_no_outcome() {
    for ahead in [-600_000, 600_000] {
        let progress = || {
            let mut progress = sent();
            if let Some(sent) = &mut progress.sent {
                sent.at = sent.at.plus_millis(ahead);
            }
            progress
        };
        let last = 3_000 + 30_000 + SILENCE_MAX_MS - 1;
        for at in [3_000, last] {
            let (state, ..) = seen(claimed(), progress(), at);
            assert_eq!(state, CommandState::Sent, "{ahead} at {at}");
        }
        let (_, class, _) = seen(claimed(), progress(), last + 1);
        assert_eq!(class, Some(OutcomeClass::Uncertain), "{ahead}");
        // The record of another gateway says nothing of that clock.
        let mut of_other = progress();
        if let Some(sent) = &mut of_other.sent {
            sent.record.gateway = GatewayId(Uuid::from_u128(10));
        }
        let stored = stored(claimed(), of_other);
        assert_eq!(stored.gateway_ahead_ms(), 0);
    }
}

#[test]
fn the_time_that_is_left_is_the_same_by_each_clock() {
    let command = stored(CommandStage::Queued, CommandProgress::default()).command;
    for here in [-600_000, 2_000, 600_000] {
        let moved = command
            .clone()
            .by_clock_of(Timestamp(here), Timestamp(2_000));
        assert_eq!(moved.send_before, Timestamp(here + 3_000));
    }
}

#[test]
fn a_report_is_looked_at_again_by_the_database_s_clock() {
    for ahead in [-600_000, 0, 600_000] {
        let mut progress = replied(false, r#"{"status":"Accepted"}"#);
        for at in [
            progress.sent.as_mut().map(|sent| &mut sent.at),
            progress.reply.as_mut().map(|reply| &mut reply.at),
        ] {
            let at = at.expect("it was sent and answered");
            *at = at.plus_millis(ahead);
        }
        let mut stored = stored(claimed(), progress);
        stored.command.action = "GetReport".into();
        stored.command.payload = r#"{"requestId":4}"#.into();
        // Two minutes after the answer.
        let due = Timestamp(4_000 + 120_000);
        assert_eq!(stored.recheck(Timestamp(5_000)), Recheck::At(due));
        assert!(matches!(stored.recheck(due), Recheck::AskAgain(_)));
    }
}

#[test]
fn records_count_more_than_the_request() {
    for stage in [CommandStage::Queued, claimed(), not_sent()] {
        assert_eq!(seen(stage.clone(), sent(), 3_000).0, CommandState::Sent);
        let (_, class, reason) = seen(stage.clone(), unanswered(), 3_000);
        assert_eq!(class, Some(OutcomeClass::Uncertain));
        assert_eq!(reason.as_deref(), Some("no answer in time"));
        let mut late = unanswered();
        late.merge(replied(false, "{}"));
        assert_eq!(seen(stage, late, 1 << 40).1, Some(OutcomeClass::Answered));
    }
}

#[test]
fn what_was_not_sent_says_why() {
    let stage = CommandStage::NotSent {
        refusal: Refusal::new(NotSent::NotSupportedByCharger, "/type: unknown"),
        at: Timestamp(2_000),
    };
    let view = stored(stage, CommandProgress::default()).view(Timestamp(2_000));
    assert_eq!(view.state, CommandState::Done);
    let outcome = view.outcome.expect("it is done");
    assert_eq!(outcome.class, OutcomeClass::NotSent);
    assert_eq!(outcome.reason.as_deref(), Some("not_supported_by_charger"));
    assert_eq!(outcome.detail.as_deref(), Some("/type: unknown"));
}

#[test]
fn an_answer_shows_the_status_as_the_charger_wrote_it() {
    let outcome = |progress| {
        let view = stored(claimed(), progress).view(Timestamp(4_000));
        view.outcome.expect("it is done")
    };
    let rejected = outcome(replied(
        false,
        r#"{"status":"Rejected","x":{"status":"No"}}"#,
    ));
    assert_eq!(rejected.class, OutcomeClass::Answered);
    assert_eq!(rejected.status.as_deref(), Some("Rejected"));
    assert_eq!(
        rejected.payload.as_deref(),
        Some(r#"{"status":"Rejected","x":{"status":"No"}}"#)
    );
    let error = outcome(replied(true, r#"["NotImplemented","",{}]"#));
    assert_eq!(error.class, OutcomeClass::Answered);
    assert_eq!((error.status, error.payload), (None, None));
    assert_eq!(error.error.as_deref(), Some(r#"["NotImplemented","",{}]"#));
    for odd in ["[]", "7", "{}", r#"{"status":{}}"#] {
        assert_eq!(outcome(replied(false, odd)).status, None, "{odd}");
    }
}

#[test]
fn progress_merges_in_any_order() {
    let parts = [
        sent(),
        replied(false, "{}"),
        replied(true, "[]"),
        unanswered(),
    ];
    let mut forward = CommandProgress::default();
    let mut backward = CommandProgress::default();
    for (a, b) in parts.iter().zip(parts.iter().rev()) {
        forward.merge(a.clone());
        backward.merge(b.clone());
        backward.merge(b.clone());
    }
    assert_eq!(forward, backward);
}

#[test]
fn the_view_is_shown_as_the_api_documents_it() {
    let view = stored(claimed(), replied(false, r#"{"status":"Accepted"}"#)).view(Timestamp(4_000));
    let shown = serde_json::to_string(&view).unwrap();
    assert_eq!(
        shown,
        concat!(
            r#"{"id":"00000000-0000-0000-0000-000000000001","charger_id":"CP-17","action":"Reset","#,
            r#""payload":{"type":"Soft"},"state":"done","outcome":{"class":"answered","status":"Accepted","#,
            r#""payload":{"status":"Accepted"},"error":null,"reason":null,"detail":null},"#,
            r#""effect":{"state":"expected","expected_by":"1970-01-01T00:05:04.000Z","seen_at":null,"status":null,"#,
            r#""statuses":[],"transaction":null,"candidates":[],"file":null,"report":null,"detail":null},"#,
            r#""repeats":null,"safe_to_repeat":false,"when_offline":"fail","check":"on","created_at":"1970-01-01T00:00:01.000Z","#,
            r#""expires_at":"1970-01-01T00:00:05.000Z","answer_within_ms":30000,"#,
            r#""sent_at":"1970-01-01T00:00:03.000Z","answered_at":"1970-01-01T00:00:04.000Z","by":"ops","traceparent":null,"#,
            r#""gateway_id":"00000000-0000-0000-0000-000000000009","#,
            r#""record_ids":["00000000-0000-0000-0000-000000000009/41","00000000-0000-0000-0000-000000000009/42"]}"#
        )
    );
}

#[test]
fn only_a_uuid_as_we_write_it_is_a_command_s_id() {
    let id = CommandId(Uuid::from_u128(0xabc));
    assert_eq!(CommandId::from_message_id(&id.to_string()), Some(id));
    for text in [
        "",
        "1",
        "00000000000000000000000000000abc",
        "00000000-0000-0000-0000-000000000ABC",
    ] {
        assert_eq!(CommandId::from_message_id(text), None, "{text}");
    }
}
