//! The message format: a record as a JSON object that programs in any language can read, with the charger's own
//! bytes inside. Version 1; documented in `docs/messages.md` and `docs/asyncapi.yaml`.
//!
//! Decoding yields the record byte for byte. Text that cannot be embedded in JSON that way is sent beside it:
//! `payload` contains JSON as it was sent, `payload_text` text that is not JSON or that a strict parser may
//! reject; the same for `answer`.

mod decode;
mod encode;

pub(crate) use decode::{Decoded, decode};
pub(crate) use encode::{encode, encode_bounded, encode_unreadable};

/// The version that is written, and the only one that is read.
pub(crate) const VERSION: u64 = 1;

/// Every member that a message may have, in the order of writing.
pub const FIELDS: [&str; 19] = [
    "v",
    "record_id",
    "gateway_id",
    "seq",
    "charger_id",
    "ocpp_version",
    "kind",
    "message_id",
    "action",
    "received_at",
    "epoch",
    "notes",
    "reason",
    "answer_kind",
    "answer",
    "answer_text",
    "payload",
    "payload_text",
    "record_base64",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use central::ports::Batch;
    use central::record::{AnswerKind, GatewayId, Notes, RecordKind};
    use central::{Epoch, Seq};
    use central::{Record, RecordId, Timestamp};
    use ocpp::Version;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use uuid::Uuid;

    fn there_and_back(id: RecordId, record: &Record<'_>) -> Vec<u8> {
        let mut message = Vec::new();
        encode(id, record, &mut message);
        let json: serde_json::Value = serde_json::from_slice(&message).expect("a strict reader");
        assert_eq!(json["record_id"], id.to_string());
        let mut batch = Batch::new(id.gateway);
        match decode(&message) {
            Decoded::Record(read) => read.put_into(&mut batch),
            other => panic!("{other:?} from {json}"),
        }
        let (read, bytes) = batch.iter().next().unwrap();
        assert_eq!(read, id);
        bytes.to_vec()
    }

    #[test]
    fn a_record_comes_back_byte_for_byte() {
        let record = sample::record();
        assert_eq!(there_and_back(sample::id(), &record), record.encode());
    }

    #[test]
    fn invalid_json_payloads_come_back_byte_for_byte() {
        let deep = "[".repeat(5_000) + &"]".repeat(5_000);
        for payload in [
            "",
            " {}",
            "{}\n",
            "{ \"a\" :\n1 }",
            "[3,\"x\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00 \\u0000\"",
            "1e999",
            "-0.0",
            "12345678901234567890123456789",
            "{\"a\":1,\"a\":2}",
            "null",
            "\u{feff}{}",
            "\u{2028}\u{0}\u{1b}",
            &deep,
        ] {
            let record = Record {
                kind: RecordKind::Unreadable,
                payload,
                answer: payload,
                ..sample::record()
            };
            let back = there_and_back(sample::id(), &record);
            assert_eq!(back, record.encode(), "{payload:?}");
        }
    }

    /// A control character is one byte, and six as an escape of JSON.
    #[test]
    fn the_longest_message_of_a_charger_fits_into_a_message_of_rabbitmq() {
        let escaped = "\u{1}".repeat(8 << 20);
        let base64 = "A".repeat((8 << 20) / 3 * 4 + 4);
        for payload in [&escaped, &base64] {
            let record = Record {
                kind: RecordKind::Unreadable,
                payload,
                ..sample::record()
            };
            let bytes = record.encode();
            let mut message = Vec::new();
            encode_bounded(sample::id(), &record, &bytes, &mut message);
            assert!(message.len() < 16 << 20, "{}", message.len());
            let mut batch = Batch::new(sample::id().gateway);
            match decode(&message) {
                Decoded::Record(read) => read.put_into(&mut batch),
                Decoded::Raw(id, bytes) => batch.push_with(id, |out| out.extend_from_slice(&bytes)),
                Decoded::Unknown(letter) => panic!("{}", letter.reason),
            }
            let (id, read) = batch.iter().next().unwrap();
            assert_eq!(id, sample::id());
            assert!(read == bytes, "other bytes");
        }
    }

    #[test]
    fn unreadable_bytes_come_back() {
        let mut message = Vec::new();
        encode_unreadable(sample::id(), b"\xff\x00any bytes", None, &mut message);
        match decode(&message) {
            Decoded::Raw(id, bytes) => {
                assert_eq!(id, sample::id());
                assert_eq!(bytes, b"\xff\x00any bytes");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unknown_members_are_ignored() {
        let mut message = Vec::new();
        encode(sample::id(), &sample::record(), &mut message);
        let mut json: serde_json::Value = serde_json::from_slice(&message).unwrap();
        json["of_a_later_build"] = serde_json::json!({"deep": [1, 2]});
        let text = serde_json::to_vec(&json).unwrap();
        assert!(matches!(decode(&text), Decoded::Record(_)));
    }

    #[test]
    fn an_unknown_message_has_a_reason_and_one_id() {
        let mut message = Vec::new();
        encode(sample::id(), &sample::record(), &mut message);
        let text = String::from_utf8(message).unwrap();
        let (mut gateways, mut ids) = (HashSet::new(), HashSet::new());
        for (unknown, why) in [
            (text.replace("\"v\":1", "\"v\":2"), "version 2"),
            (text.replace("\"v\":1,", ""), "version"),
            (text.replace("\"call\"", "\"sent_back\""), "kind"),
            (text.replace("\"tolerated\"", "\"shiny\""), "note"),
            (text.replace("\"2.0.1\"", "\"3.0\""), "version 3.0"),
            (text.replace("\"result\"", "\"maybe\""), "answer"),
            (text.replace("received_at", "sent_at"), "received_at"),
            (text.replace("CP.17/ü", &"C".repeat(256)), "charger_id"),
            ("hello".into(), "JSON"),
            ("[1]".into(), "JSON"),
            (String::new(), "JSON"),
        ] {
            let Decoded::Unknown(letter) = decode(unknown.as_bytes()) else {
                panic!("{unknown}");
            };
            assert!(letter.reason.contains(why), "{} / {why}", letter.reason);
            assert_eq!(letter.bytes, unknown.as_bytes());
            assert!(i64::try_from(letter.id.seq.0).is_ok(), "databases hold it");
            gateways.insert(letter.id.gateway);
            ids.insert(letter.id);
            let Decoded::Unknown(again) = decode(unknown.as_bytes()) else {
                panic!();
            };
            assert_eq!(letter, again);
        }
        assert_eq!(gateways.len(), 1, "external messages create no gateways");
        assert!(ids.len() > 8);
    }

    fn kinds() -> impl Strategy<Value = RecordKind> {
        prop::sample::select(RecordKind::ALL.to_vec())
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            any::<String>(),
            "\\PC{0,40}",
            "(\\{\"[a-z]{1,3}\":(-?[0-9]{1,20}|true|\"[^\"\\\\\\p{Cc}]{0,9}\"|\\[\\])\\}){1}",
            "[ \\t\\n]?[\\[\\]{}\",:0-9a-z\\\\]{0,30}[ \\t\\n]?",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_record_comes_back_byte_for_byte(
            kind in kinds(), charger_id in texts(), message_id in texts(), action in texts(),
            payload in texts(), answer in texts(), reason in texts(),
            version in prop::sample::select(vec![Version::V16, Version::V201, Version::V21]),
            answer_kind in prop::sample::select(vec![
                AnswerKind::None, AnswerKind::Result, AnswerKind::Error,
            ]),
            received_at in prop_oneof![any::<i64>(), 0..4_000_000_000_000_i64],
            (epoch, notes, gateway, seq) in (any::<u64>(), any::<u32>(), any::<u128>(), any::<u64>()),
        ) {
            let record = Record {
                kind,
                charger_id: &charger_id,
                ocpp_version: version,
                message_id: &message_id,
                action: &action,
                payload: &payload,
                answer_kind,
                answer: &answer,
                received_at: Timestamp(received_at),
                epoch: Epoch(epoch),
                notes: Notes(notes),
                reason: &reason,
            };
            let id = RecordId { gateway: GatewayId(Uuid::from_u128(gateway)), seq: Seq(seq) };
            prop_assert_eq!(there_and_back(id, &record), record.encode());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
