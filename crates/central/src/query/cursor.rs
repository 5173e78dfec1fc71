//! Positions in a list, as opaque texts that a client sends back to get the next page.

use crate::Quirk;
use crate::model::{ChargerKey, ChargerModel};
use crate::ports::QueryError;
use crate::record::{Epoch, GatewayId, RecordId, Seq};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A position in a list, as an opaque text that needs no escaping in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Wraps a text from a client; it is validated when it is used.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text for the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The decoded cursor: the last row of the previous page. For adapters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the list of chargers: after this one.
    Charger(ChargerKey),
    /// In the list of transactions: after this start and key.
    Transaction(Timestamp, Uuid),
    /// In the list of messages: after this record.
    Message(RecordId),
    /// In a list of messages by time: after this time of reception and record.
    Received(Timestamp, RecordId),
    /// In the list of dead letters: after this number.
    DeadLetter(i64),
    /// In the audit log, which has the newest entry first: after this number.
    Audit(i64),
    /// In the summary of quirks: after this quirk of this kind of charger.
    Quirk(Quirk, ChargerModel),
    /// In the list of commands: before this number.
    Command(i64),
    /// In the list of refused handshakes: before this number.
    Handshake(i64),
    /// In the list of batches: before this number.
    Batch(i64),
    /// In the list of a batch's chargers: after this place.
    BatchItem(i64),
    /// In the list of tokens: after this key.
    Token(String),
    /// In the list of unknown tokens, the latest first: after this time, key and number of the charger.
    UnknownToken(Timestamp, Uuid, i64),
    /// In the list of sites: after this id.
    Site(String),
    /// In the list of a transaction's samples: after so many samples of what follows this time and hash of a row.
    Sample(Timestamp, i64, u32),
    /// In the list of a webhook's attempts: before this number.
    WebhookAttempt(i64),
    /// In the list of alerts: before this one.
    Alert(Uuid),
    /// In the list of a charger's connections: before this one.
    Connection(Epoch, GatewayId),
}

impl Place {
    /// The text form.
    #[must_use]
    pub fn to_cursor(&self) -> Cursor {
        Cursor(match self {
            Self::Charger(key) => format!("c{}", hex(key.as_str())),
            Self::Transaction(at, key) => format!("t{}.{:x}", key.simple(), at.0.cast_unsigned()),
            Self::Message(id) => format!("m{}.{:x}", id.gateway.0.simple(), id.seq.0),
            Self::Received(at, id) => format!(
                "r{:x}.{}.{:x}",
                at.0.cast_unsigned(),
                id.gateway.0.simple(),
                id.seq.0
            ),
            Self::DeadLetter(number) => format!("d{:x}", number.cast_unsigned()),
            Self::Audit(number) => format!("a{:x}", number.cast_unsigned()),
            Self::Quirk(quirk, model) => format!(
                "q{:x}.{}.{}.{}",
                *quirk as u8,
                hex(&model.vendor),
                hex(&model.model),
                hex(&model.firmware)
            ),
            Self::Command(number) => format!("o{:x}", number.cast_unsigned()),
            Self::Handshake(number) => format!("h{:x}", number.cast_unsigned()),
            Self::Batch(number) => format!("b{:x}", number.cast_unsigned()),
            Self::BatchItem(place) => format!("i{:x}", place.cast_unsigned()),
            Self::WebhookAttempt(number) => format!("w{:x}", number.cast_unsigned()),
            Self::Alert(id) => format!("f{}", id.simple()),
            Self::Token(key) => format!("k{}", hex(key)),
            Self::UnknownToken(at, key, charger_no) => format!(
                "u{:x}.{}.{:x}",
                at.0.cast_unsigned(),
                key.simple(),
                charger_no.cast_unsigned()
            ),
            Self::Site(id) => format!("l{}", hex(id)),
            Self::Connection(epoch, gateway) => {
                format!("n{:x}.{}", epoch.0, gateway.0.simple())
            }
            Self::Sample(at, hash, taken) => format!(
                "s{:x}.{:x}.{taken:x}",
                at.0.cast_unsigned(),
                hash.cast_unsigned()
            ),
        })
    }

    /// Decodes a cursor.
    ///
    /// # Errors
    /// [`QueryError::BadCursor`] for every text that [`Place::to_cursor`] does not write.
    pub fn from_cursor(cursor: &Cursor) -> Result<Self, QueryError> {
        let place = read_place(cursor.as_str()).ok_or(QueryError::BadCursor)?;
        // A position has only one valid text, so that no other text works as a cursor.
        if place.to_cursor() == *cursor {
            Ok(place)
        } else {
            Err(QueryError::BadCursor)
        }
    }
}

fn read_place(text: &str) -> Option<Place> {
    let (kind, rest) = text.split_at_checked(1)?;
    match kind {
        "c" => Some(Place::Charger(ChargerKey::of(&text_of(rest)?))),
        "t" => {
            let (key, at) = rest.split_once('.')?;
            let at = u64::from_str_radix(at, 16).ok()?.cast_signed();
            Some(Place::Transaction(
                Timestamp(at),
                Uuid::try_parse(key).ok()?,
            ))
        }
        "h" => Some(Place::Handshake(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        "k" => Some(Place::Token(text_of(rest)?)),
        "u" => {
            let (at, rest) = rest.split_once('.')?;
            let (key, charger_no) = rest.split_once('.')?;
            let number = |text| Some(u64::from_str_radix(text, 16).ok()?.cast_signed());
            let key = Uuid::try_parse(key).ok()?;
            Some(Place::UnknownToken(
                Timestamp(number(at)?),
                key,
                number(charger_no)?,
            ))
        }
        "l" => Some(Place::Site(text_of(rest)?)),
        "n" => {
            let (epoch, gateway) = rest.split_once('.')?;
            Some(Place::Connection(
                Epoch(u64::from_str_radix(epoch, 16).ok()?),
                GatewayId(Uuid::try_parse(gateway).ok()?),
            ))
        }
        "s" => {
            let (at, rest) = rest.split_once('.')?;
            let (hash, taken) = rest.split_once('.')?;
            let number = |text| Some(u64::from_str_radix(text, 16).ok()?.cast_signed());
            let taken = u32::from_str_radix(taken, 16).ok()?;
            Some(Place::Sample(Timestamp(number(at)?), number(hash)?, taken))
        }
        "m" => {
            let (gateway, seq) = rest.split_once('.')?;
            Some(Place::Message(RecordId {
                gateway: GatewayId(Uuid::try_parse(gateway).ok()?),
                seq: Seq(u64::from_str_radix(seq, 16).ok()?),
            }))
        }
        "r" => {
            let (at, id) = rest.split_once('.')?;
            let (gateway, seq) = id.split_once('.')?;
            let at = u64::from_str_radix(at, 16).ok()?.cast_signed();
            let id = RecordId {
                gateway: GatewayId(Uuid::try_parse(gateway).ok()?),
                seq: Seq(u64::from_str_radix(seq, 16).ok()?),
            };
            Some(Place::Received(Timestamp(at), id))
        }
        "a" => Some(Place::Audit(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        "d" => Some(Place::DeadLetter(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        "q" => {
            let mut parts = rest.split('.');
            let quirk = u8::from_str_radix(parts.next()?, 16).ok()?;
            let mut text = || text_of(parts.next()?);
            let (vendor, model, firmware) = (text()?, text()?, text()?);
            let kind = ChargerModel {
                vendor,
                model,
                firmware,
            };
            Some(Place::Quirk(Quirk::from_number(quirk)?, kind))
        }
        "b" => Some(Place::Batch(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        "i" => Some(Place::BatchItem(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        "o" => Some(Place::Command(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        "f" => Some(Place::Alert(Uuid::try_parse(rest).ok()?)),
        "w" => Some(Place::WebhookAttempt(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        _ => None,
    }
}

/// The bytes of a text in hexadecimal digits.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The text whose bytes these digits are.
fn text_of(digits: &str) -> Option<String> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let bytes = pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::GatewayId;

    fn gateway() -> GatewayId {
        GatewayId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef))
    }

    #[test]
    fn every_place_is_read_from_its_cursor() {
        let places = [
            Place::Charger(ChargerKey::of("")),
            Place::Charger(ChargerKey::of("cp-17/ü \u{0}")),
            Place::Transaction(Timestamp(0), Uuid::nil()),
            Place::Transaction(Timestamp(-1), Uuid::max()),
            Place::Transaction(Timestamp(i64::MAX), gateway().0),
            Place::Message(RecordId {
                gateway: gateway(),
                seq: Seq(7),
            }),
            Place::Message(RecordId {
                gateway: gateway(),
                seq: Seq(u64::MAX),
            }),
            Place::Received(
                Timestamp(-1),
                RecordId {
                    gateway: gateway(),
                    seq: Seq(7),
                },
            ),
            Place::DeadLetter(0),
            Place::Audit(7),
            Place::DeadLetter(i64::MIN),
            Place::Quirk(Quirk::ByteOrderMark, ChargerModel::default()),
            Place::Quirk(
                Quirk::Conflict,
                ChargerModel {
                    vendor: "Ä.\u{0}".to_owned(),
                    model: String::new(),
                    firmware: "1.2".to_owned(),
                },
            ),
            Place::Command(0),
            Place::Batch(7),
            Place::BatchItem(0),
            Place::WebhookAttempt(7),
            Place::Alert(gateway().0),
            Place::Token("04a1-ü".to_owned()),
            Place::UnknownToken(Timestamp(-1), gateway().0, 7),
            Place::Site("depot-7".to_owned()),
            Place::Connection(Epoch(1_769_860_800_000), gateway()),
            Place::Sample(Timestamp(7), -1, 3),
            Place::Command(i64::MAX),
        ];
        for place in places {
            let cursor = place.to_cursor();
            assert!(
                cursor
                    .as_str()
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'.')
            );
            assert_eq!(Place::from_cursor(&cursor), Ok(place));
        }
    }

    #[test]
    fn a_text_that_is_not_a_cursor_is_refused() {
        for text in [
            "",
            "x",
            "c0",
            "cgg",
            "cff",
            "c4350",
            "c+1",
            "t",
            "t.",
            "m1.2",
            "m",
            "d",
            "d-1",
            "d+1",
            "D1",
            "é1",
            "d01",
            "m0123456789ABCDEF0123456789abcdef.1",
            "m0123456789abcdef0123456789abcdef.01",
            "d10000000000000000",
            "q",
            "q1f...",
            "q0..",
            "q0....",
            "q0.4.4.4",
        ] {
            let cursor = Cursor::from_text(text);
            assert_eq!(
                Place::from_cursor(&cursor),
                Err(QueryError::BadCursor),
                "{text}"
            );
        }
    }
}
