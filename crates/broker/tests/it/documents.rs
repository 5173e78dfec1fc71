//! The documents for external programs match the messages.

use broker::{MESSAGE_FIELDS, decode_message, encode_message};
use central::Epoch;
use central::Record;
use central::model::EventType;
use central::ports::{Batch, ClusterEvent};
use central::record::GatewayId;
use serde_json::Value;
use std::collections::BTreeSet;

const ASYNCAPI: &str = include_str!("../../../../docs/asyncapi.yaml");
const EVENTS: &str = include_str!("../../../../docs/events.md");
const MESSAGES: &str = include_str!("../../../../docs/messages.md");

fn asyncapi() -> Value {
    serde_yaml_ng::from_str(ASYNCAPI).expect("YAML")
}

/// Decodes an example like the consumer and encodes it like the gateway: the result is the same.
fn round_trips(example: &Value) {
    let mut batch = Batch::new(GatewayId(uuid::Uuid::nil()));
    decode_message(example.to_string().as_bytes(), &mut batch);
    assert_eq!(batch.unreadable(), [], "{example}");
    let (id, bytes) = batch.iter().next().expect("a record");
    let record = Record::decode(bytes).expect("a record");
    let written: Value = serde_json::from_slice(&encode_message(id, &record)).expect("JSON");
    assert_eq!(&written, example);
}

#[test]
fn examples_are_valid_messages() {
    let document = asyncapi();
    let examples = document["components"]["messages"]["record"]["examples"].clone();
    let examples = examples.as_array().expect("examples");
    assert_eq!(examples.len(), 2);
    for example in examples {
        round_trips(&example["payload"]);
    }
    let json = MESSAGES.split("```json").nth(1).expect("an example");
    let json = json.split("```").next().expect("its end");
    round_trips(&serde_json::from_str(json).expect("JSON"));
}

#[test]
fn the_documented_members_are_those_that_are_sent() {
    let document = asyncapi();
    let described: BTreeSet<&str> = document["components"]["schemas"]["record"]["properties"]
        .as_object()
        .expect("properties")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(described, BTreeSet::from(MESSAGE_FIELDS));
    for member in MESSAGE_FIELDS {
        assert!(
            MESSAGES.contains(&format!("`{member}`")),
            "{member} in messages.md"
        );
    }
}

#[test]
fn the_documented_event_is_the_one_that_is_sent() {
    let event = ClusterEvent::Connected {
        charger_id: "CP-1".to_owned(),
        gateway: GatewayId(uuid::Uuid::nil()),
        epoch: Epoch(1),
    };
    let sent = serde_json::to_value(&event).expect("JSON");
    let sent = sent.as_object().expect("an object");
    let document = asyncapi();
    let payload = &document["components"]["messages"]["event"]["payload"];
    let described = payload["properties"].as_object().expect("properties");
    assert!(described.keys().eq(sent.keys()), "{described:?} {sent:?}");
    let names = payload["properties"]["event"]["enum"].as_array();
    assert_eq!(names, Some(&vec![sent["event"].clone()]));
}

#[test]
fn every_reference_resolves() {
    let document = asyncapi();
    let references: Vec<&str> = ASYNCAPI
        .lines()
        .filter_map(|line| line.trim().strip_prefix("$ref: '#"))
        .map(|rest| rest.trim_end_matches('\''))
        .collect();
    assert!(references.len() >= 4);
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

#[test]
fn the_types_of_events_are_those_of_the_log() {
    let document = asyncapi();
    let described = &document["components"]["schemas"]["loggedEvent"]["properties"]["type"]["enum"];
    let described = described.as_array().expect("types");
    let described: Vec<&str> = described.iter().filter_map(Value::as_str).collect();
    let known = EventType::ALL.map(EventType::as_str);
    assert_eq!(described, known);
    let rows = EVENTS.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<&str> = rows
        .flat_map(|row| row.split(" | ").next().unwrap_or_default().split(", "))
        .map(|name| name.trim_matches('`'))
        .filter(|name| name.contains('.'))
        .collect();
    assert_eq!(listed, BTreeSet::from(known), "the table of docs/events.md");
    for example in document["components"]["messages"]["loggedEvent"]["examples"]
        .as_array()
        .expect("examples")
    {
        let kind = example["payload"]["type"].as_str().expect("a type");
        assert!(EventType::from_name(kind).is_some(), "{kind}");
    }
}
