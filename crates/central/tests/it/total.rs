//! For any frames, and any order of events: no panic, tickets increase by 1, and every call whose id can be read is
//! answered at most once, after its record, in order.

use crate::common::{TestCharger, setup, vectors};
use central::Record;
use central::model::{Command, CommandId};
use central::station::{CloseReason, Fact, Output, Question, Station, Ticket, TokenAnswer};
use ocpp::Version;
use proptest::prelude::*;
use std::sync::LazyLock;
use uuid::Uuid;

static FRAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let kinds = ["ok", "tolerated", "broken"];
    let all = kinds.into_iter().flat_map(vectors);
    all.map(|(_, _, text)| text).collect()
});

/// An event for a station.
#[derive(Debug, Clone)]
enum Event {
    Text(String),
    Bytes(Vec<u8>),
    Durable(u64),
    Fact(u64),
    Wait(i64),
    Command(u128),
    Reply(u128),
    Drain,
    Close,
}

/// A valid or invalid frame of a charger, possibly with a piece removed or inserted.
fn text() -> impl Strategy<Value = String> {
    let frame = (0..FRAMES.len()).prop_map(|i| FRAMES[i].clone());
    (frame, any::<(u16, u8, bool)>(), ".{0,3}").prop_map(|(frame, (at, len, spoil), piece)| {
        if !spoil {
            return frame;
        }
        let start = frame.floor_char_boundary(usize::from(at) % (frame.len() + 1));
        let end = frame.floor_char_boundary((start + usize::from(len % 8)).min(frame.len()));
        format!("{}{piece}{}", &frame[..start], &frame[end.max(start)..])
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => text().prop_map(Event::Text),
        1 => ".{0,20}".prop_map(Event::Text),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Event::Bytes),
        3 => (0..60_u64).prop_map(Event::Durable),
        3 => (0..12_u64).prop_map(Event::Fact),
        2 => (0..100_000_i64).prop_map(Event::Wait),
        2 => (0..4_u128).prop_map(Event::Command),
        2 => (0..4_u128).prop_map(Event::Reply),
        6 => Just(Event::Drain),
        1 => Just(Event::Close),
    ]
}

fn handle(station: &mut Station, event: &Event, now: &mut central::Timestamp) {
    match event {
        Event::Text(text) => station.handle_text(text, *now),
        Event::Bytes(bytes) => station.handle_binary(bytes, *now),
        Event::Durable(upto) => station.handle_durable(Ticket(*upto), *now),
        Event::Fact(question_id) => {
            let fact = Fact::Token {
                question_id: *question_id,
                answer: TokenAnswer::CannotAsk,
            };
            station.handle_fact(fact, *now);
        }
        Event::Wait(ms) => {
            *now = now.plus_millis(*ms);
            station.handle_timeout(*now);
        }
        Event::Command(number) => {
            let command = Command {
                id: CommandId(Uuid::from_u128(*number)),
                charger_id: "CP-17".to_owned(),
                action: "ClearCache".to_owned(),
                payload: "{}".to_owned(),
                answer_within_ms: 20_000,
                send_before: now.plus_millis(50_000),
                skips_check: false,
            };
            let _ = station.handle_command(&command, *now);
        }
        Event::Reply(number) => {
            let id = CommandId(Uuid::from_u128(*number));
            station.handle_text(&format!(r#"[3,"{id}",{{}}]"#), *now);
        }
        Event::Close => station.handle_closed(CloseReason::Shutdown, *now),
        Event::Drain => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_station_handles_any_events_without_a_panic(events in proptest::collection::vec(event(), 0..60), seed in any::<u8>()) {
        let version = Version::ALL[usize::from(seed % 3)];
        let TestCharger { mut station, mut now, .. } = setup(version).connect();
        let mut appended = 1;
        let mut closed = false;
        for event in &events {
            handle(&mut station, event, &mut now);
            closed |= matches!(event, Event::Close);
            if !matches!(event, Event::Drain) {
                continue;
            }
            while let Some(output) = station.poll_output() {
                match output {
                    Output::Append { ticket, record: bytes, meta } => {
                        appended += 1;
                        prop_assert_eq!(ticket, Ticket(appended));
                        let record = Record::decode(&bytes).expect("a record");
                        prop_assert_eq!(record.charger_id, "CP-17");
                        prop_assert_eq!((meta.kind, meta.notes), (record.kind, record.notes));
                        prop_assert!(meta.action.is_none_or(|name| name == record.action));
                    }
                    Output::Send(text) => {
                        prop_assert!(!closed, "an answer after the end: {}", text);
                        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
                    }
                    Output::Ask(Question::Token { .. }) | Output::Session(_) | Output::Close(_) => {}
                }
            }
        }
    }

    #[test]
    fn every_call_is_answered_once_and_in_order(texts in proptest::collection::vec(text(), 0..20), seed in any::<u8>()) {
        let version = Version::ALL[usize::from(seed % 3)];
        let mut charger = setup(version).connect();
        charger.disk_works = seed % 2 == 0;
        for text in &texts {
            charger.sends(text);
        }
        charger.disk_syncs();
        let mut expected = Vec::new();
        for text in &texts {
            match ocpp::frame::parse(text, version) {
                Ok(ocpp::frame::Frame::Call(call)) => expected.push(call.id.as_str().to_owned()),
                Ok(_) => {}
                Err(error) if error.is_call() => {
                    expected.extend(error.id.map(|id| id.as_str().to_owned()));
                }
                Err(_) => {}
            }
        }
        let received: Vec<String> = charger
            .received
            .iter()
            .filter_map(|text| {
                let frame = ocpp::frame::parse(text, version).expect("a frame of the station");
                let id = frame.id().as_str().to_owned();
                // Answers to frames without an id or a message type are not compared.
                (id != "-1" && expected.contains(&id)).then_some(id)
            })
            .collect();
        prop_assert!(is_subsequence(&expected, &received), "{:?} in {:?}", expected, received);
    }
}

fn is_subsequence(wanted: &[String], all: &[String]) -> bool {
    let mut rest = all.iter();
    wanted
        .iter()
        .all(|id| id == "-1" || rest.any(|received| received == id))
}
