//! The ledger's reading side: what people, programs and exports may ask, page by page.
//!
//! Whoever shows or exports data knows only this port, so the answers are the same on every
//! database. Reading never blocks the one who writes, and a page never holds the database open:
//! a long walk is many short reads, each beginning where the last one ended ([`Cursor`]).
//!
//! Laws, for every adapter: a row that was there when a walk began and does not move is seen exactly
//! once, whatever is added meanwhile; rows added behind the walk's place are seen by the next walk.
//! Messages never move. Transactions are sorted by when they began, which may become known late;
//! only such a transaction can move.

use crate::model::{ChargerView, ConnectorView, TransactionView};
use crate::ports::Unavailable;
use crate::record::{AnswerKind, GatewayId, Notes, RecordId, RecordKind};
use crate::time::Timestamp;
use ocpp::Version;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use uuid::Uuid;

/// Rows on a page when nobody says how many.
pub const PAGE_DEFAULT: usize = 100;
/// More rows than this are never put on one page.
pub const PAGE_MAX: usize = 1_000;

/// Reads what the ledger knows. Calls block; ask from a thread that may.
pub trait Ledger: Send + Sync + 'static {
    /// Chargers by identity, ascending.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is none of this list's.
    fn chargers(
        &self,
        filter: &ChargerFilter,
        page: &PageRequest,
    ) -> Result<Page<ChargerView>, LedgerError>;

    /// One charger with its connectors; `None` when it was never heard of. Case of `id` is ignored.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn charger(&self, id: &str) -> Result<Option<ChargerDetail>, LedgerError>;

    /// Transactions, the latest begun first.
    ///
    /// # Errors
    /// As [`Ledger::chargers`].
    fn transactions(
        &self,
        filter: &TransactionFilter,
        page: &PageRequest,
    ) -> Result<Page<TransactionView>, LedgerError>;

    /// One transaction by its key.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn transaction(&self, key: Uuid) -> Result<Option<TransactionView>, LedgerError>;

    /// Messages by gateway (in the order in which the ledger met them), then journal sequence.
    ///
    /// # Errors
    /// As [`Ledger::chargers`].
    fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<MessageRow>, LedgerError>;

    /// Records that could not be applied, oldest first.
    ///
    /// # Errors
    /// As [`Ledger::chargers`].
    fn dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetterRow>, LedgerError>;

    /// About how many rows a walk with this filter will see, for progress; may be well above.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_messages(&self, filter: &MessageFilter) -> Result<u64, LedgerError>;

    /// About how many rows a walk with this filter will see, for progress; may be well above.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn count_transactions(&self, filter: &TransactionFilter) -> Result<u64, LedgerError>;
}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be read now; ask again later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The cursor was not made by this list; begin without one.
    #[error("the cursor is not one of this list's; begin again without a cursor")]
    BadCursor,
}

/// Which chargers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChargerFilter {
    /// Only those that are (or are not) connected now.
    pub online: Option<bool>,
    /// Only those whose identity contains this, in any case.
    pub search: Option<String>,
}

/// Which transactions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TransactionFilter {
    /// Only those of this charger, in any case.
    pub charger: Option<String>,
    /// Only those still running (or only those ended).
    pub open: Option<bool>,
    /// Only those begun at or after.
    pub from: Option<Timestamp>,
    /// Only those begun before.
    pub to: Option<Timestamp>,
}

/// Which messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageFilter {
    /// Only those of this charger, in any case.
    pub charger: Option<String>,
    /// Only this action, spelled as OCPP does.
    pub action: Option<String>,
    /// Only this kind.
    pub kind: Option<RecordKind>,
    /// Only those received at or after.
    pub from: Option<Timestamp>,
    /// Only those received before.
    pub to: Option<Timestamp>,
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRequest {
    /// Begin behind this place; `None` = at the beginning.
    pub after: Option<Cursor>,
    /// At most so many rows; 0 means [`PAGE_DEFAULT`], more than [`PAGE_MAX`] means [`PAGE_MAX`].
    pub limit: usize,
}

impl PageRequest {
    /// The number of rows that this asks for, within the bounds.
    #[must_use]
    pub const fn rows(&self) -> usize {
        match self.limit {
            0 => PAGE_DEFAULT,
            1..=PAGE_MAX => self.limit,
            _ => PAGE_MAX,
        }
    }
}

/// Some rows of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when there was nothing more at the time of asking.
    /// A page can be short, even empty, and yet have a next one, when matches are rare.
    #[serde(rename = "next_cursor")]
    pub next: Option<Cursor>,
}

/// A charger with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChargerDetail {
    /// The charger itself.
    #[serde(flatten)]
    pub charger: ChargerView,
    /// Its connectors, by EVSE and number.
    pub connectors: Vec<ConnectorView>,
}

/// A place in a list, as an opaque text that needs no quoting in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Takes in a text that somebody hands back; whether it is a cursor shows when it is used.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to hand out.
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

/// What a cursor means: the last row of the page before. For adapters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the list of chargers: behind this identity (lower case).
    Charger(String),
    /// In the list of transactions: behind this beginning and key.
    Transaction(Timestamp, Uuid),
    /// In the list of messages: behind this record.
    Message(RecordId),
    /// In the list of dead letters: behind this number.
    DeadLetter(i64),
}

impl Place {
    /// The text form.
    #[must_use]
    pub fn to_cursor(&self) -> Cursor {
        Cursor(match self {
            Self::Charger(key) => {
                let mut text = String::from("c");
                for byte in key.as_bytes() {
                    text.push_str(&format!("{byte:02x}"));
                }
                text
            }
            Self::Transaction(at, key) => format!("t{}.{:x}", key.simple(), at.0.cast_unsigned()),
            Self::Message(id) => format!("m{}.{:x}", id.gateway.0.simple(), id.seq),
            Self::DeadLetter(number) => format!("d{:x}", number.cast_unsigned()),
        })
    }

    /// Reads a cursor back.
    ///
    /// # Errors
    /// [`LedgerError::BadCursor`] for every text that [`Place::to_cursor`] does not write.
    pub fn from_cursor(cursor: &Cursor) -> Result<Self, LedgerError> {
        let place = read_place(cursor.as_str()).ok_or(LedgerError::BadCursor)?;
        // One place has one spelling, so that a cursor cannot be bent into another that works too.
        if place.to_cursor() == *cursor {
            Ok(place)
        } else {
            Err(LedgerError::BadCursor)
        }
    }
}

fn read_place(text: &str) -> Option<Place> {
    let (kind, rest) = text.split_at_checked(1)?;
    match kind {
        "c" => {
            let digits = rest.as_bytes();
            let (pairs, []) = digits.as_chunks::<2>() else {
                return None;
            };
            let bytes = pairs
                .iter()
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect::<Option<Vec<u8>>>()?;
            String::from_utf8(bytes).ok().map(Place::Charger)
        }
        "t" => {
            let (key, at) = rest.split_once('.')?;
            let at = u64::from_str_radix(at, 16).ok()?.cast_signed();
            Some(Place::Transaction(
                Timestamp(at),
                Uuid::try_parse(key).ok()?,
            ))
        }
        "m" => {
            let (gateway, seq) = rest.split_once('.')?;
            Some(Place::Message(RecordId {
                gateway: GatewayId(Uuid::try_parse(gateway).ok()?),
                seq: u64::from_str_radix(seq, 16).ok()?,
            }))
        }
        "d" => Some(Place::DeadLetter(
            u64::from_str_radix(rest, 16).ok()?.cast_signed(),
        )),
        _ => None,
    }
}

/// A record as the ledger keeps it. Serialises to one line of `wattpost export messages`: the
/// members named in [`MessageRow::COLUMNS`], in that order. `payload` and `answer` are put in as
/// JSON when they are JSON, else as a string, and are null when empty; an answer that is an array is
/// a CALLERROR's `[code, description, details]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Which record.
    pub id: RecordId,
    /// The charger's identity; empty for what is no charger's.
    pub charger_id: String,
    /// The version its connection spoke.
    pub ocpp_version: Version,
    /// What kind of fact.
    pub kind: RecordKind,
    /// The id of the call; empty where there is none.
    pub message_id: String,
    /// The action; empty where there is none.
    pub action: String,
    /// What the charger sent, byte for byte.
    pub payload: String,
    /// How we answered.
    pub answer_kind: AnswerKind,
    /// What we answered.
    pub answer: String,
    /// When the gateway had read it.
    pub received_at: Timestamp,
    /// The connection's epoch.
    pub epoch: u64,
    /// Marks.
    pub notes: Notes,
    /// What is to be said about the marks, or why a connection ended.
    pub reason: String,
}

impl MessageRow {
    /// The members of an export line, in their order.
    pub const COLUMNS: [&'static str; 14] = [
        "record_id",
        "charger_id",
        "ocpp_version",
        "direction",
        "kind",
        "message_id",
        "action",
        "payload",
        "answer",
        "received_at",
        "gateway_id",
        "seq",
        "notes",
        "reason",
    ];

    /// Who sent `payload`: `from_charger` for every kind that there is today; `to_charger` is kept
    /// for calls of our own.
    #[must_use]
    pub const fn direction(&self) -> &'static str {
        "from_charger"
    }

    /// The fields as plain texts in the order of [`MessageRow::COLUMNS`], for CSV.
    #[must_use]
    pub fn columns(&self) -> [Cow<'_, str>; 14] {
        [
            self.id.to_string().into(),
            self.charger_id.as_str().into(),
            self.ocpp_version.as_str().into(),
            self.direction().into(),
            self.kind.as_str().into(),
            self.message_id.as_str().into(),
            self.action.as_str().into(),
            self.payload.as_str().into(),
            self.answer.as_str().into(),
            self.received_at.to_string().into(),
            self.id.gateway.to_string().into(),
            self.id.seq.to_string().into(),
            note_names(self.notes).collect::<Vec<_>>().join(" ").into(),
            self.reason.as_str().into(),
        ]
    }
}

impl Serialize for MessageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let payload_is_text = self.notes.has(Notes::BASE64);
        let mut line = serializer.serialize_struct("MessageRow", Self::COLUMNS.len())?;
        line.serialize_field("record_id", &self.id.to_string())?;
        line.serialize_field("charger_id", &self.charger_id)?;
        line.serialize_field("ocpp_version", self.ocpp_version.as_str())?;
        line.serialize_field("direction", self.direction())?;
        line.serialize_field("kind", self.kind.as_str())?;
        line.serialize_field("message_id", &self.message_id)?;
        line.serialize_field("action", &self.action)?;
        line.serialize_field("payload", &Embedded::new(&self.payload, payload_is_text))?;
        line.serialize_field("answer", &Embedded::new(&self.answer, false))?;
        line.serialize_field("received_at", &self.received_at.to_string())?;
        line.serialize_field("gateway_id", &self.id.gateway)?;
        line.serialize_field("seq", &self.id.seq)?;
        line.serialize_field("notes", &NoteNames(self.notes))?;
        line.serialize_field("reason", &self.reason)?;
        line.end()
    }
}

/// A record that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterRow {
    /// Which record, as `GATEWAY-UUID/SEQ`.
    pub record_id: String,
    /// Why it cannot be applied.
    pub reason: String,
    /// When the ledger gave it up, by the ledger's clock.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its bytes, with what is not UTF-8 replaced.
    pub content: String,
}

/// All messages that match, page by page, for exports: between two pages nothing is held.
pub fn all_messages<'a, L: Ledger + ?Sized>(
    ledger: &'a L,
    filter: &'a MessageFilter,
) -> impl Iterator<Item = Result<MessageRow, LedgerError>> + 'a {
    Walk::new(move |page: &PageRequest| ledger.messages(filter, page))
}

/// All transactions that match, page by page, for exports: between two pages nothing is held.
pub fn all_transactions<'a, L: Ledger + ?Sized>(
    ledger: &'a L,
    filter: &'a TransactionFilter,
) -> impl Iterator<Item = Result<TransactionView, LedgerError>> + 'a {
    Walk::new(move |page: &PageRequest| ledger.transactions(filter, page))
}

/// A walk over a list: asks for the next page when the last one is used up; ends at the first error.
struct Walk<T, F> {
    ask: F,
    ready: VecDeque<T>,
    next: Option<PageRequest>,
}

impl<T, F: FnMut(&PageRequest) -> Result<Page<T>, LedgerError>> Walk<T, F> {
    fn new(ask: F) -> Self {
        let first = PageRequest {
            after: None,
            limit: PAGE_MAX,
        };
        Self {
            ask,
            ready: VecDeque::new(),
            next: Some(first),
        }
    }
}

impl<T, F: FnMut(&PageRequest) -> Result<Page<T>, LedgerError>> Iterator for Walk<T, F> {
    type Item = Result<T, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Some(Ok(row));
            }
            let mut request = self.next.take()?;
            match (self.ask)(&request) {
                Ok(page) => {
                    self.ready = page.items.into();
                    self.next = page.next.map(|cursor| {
                        request.after = Some(cursor);
                        request
                    });
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Deeper JSON than this is shown as a string, so that a reader's parser does not choke on it.
const EMBED_DEPTH_MAX: usize = 64;

/// A text from the wire inside our own JSON.
enum Embedded<'a> {
    Nothing,
    Json(&'a RawValue),
    /// JSON of several lines, made one line.
    Joined(Box<RawValue>),
    Text(&'a str),
}

impl<'a> Embedded<'a> {
    fn new(text: &'a str, plain: bool) -> Self {
        if text.is_empty() {
            return Self::Nothing;
        }
        if plain || is_too_deep(text) {
            return Self::Text(text);
        }
        let Ok(json) = serde_json::from_str::<&RawValue>(text) else {
            return Self::Text(text);
        };
        if !json.get().contains(['\n', '\r']) {
            return Self::Json(json);
        }
        // In valid JSON a bare line break is only ever white space; it would break the line in two.
        match RawValue::from_string(json.get().replace(['\n', '\r'], " ")) {
            Ok(joined) => Self::Joined(joined),
            Err(_) => Self::Text(text),
        }
    }
}

impl Serialize for Embedded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Json(json) => json.serialize(serializer),
            Self::Joined(json) => json.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

fn is_too_deep(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > EMBED_DEPTH_MAX {
            return true;
        }
    }
    false
}

/// The names of the marks that are set.
pub fn note_names(notes: Notes) -> impl Iterator<Item = &'static str> {
    const NAMES: [(Notes, &str); 6] = [
        (Notes::QUARANTINED, "quarantined"),
        (Notes::SLOPPY, "sloppy"),
        (Notes::BASE64, "base64"),
        (Notes::UNSOLICITED, "unsolicited"),
        (Notes::TOKEN_UNVERIFIED, "token_unverified"),
        (Notes::CONFLICT, "conflict"),
    ];
    NAMES
        .into_iter()
        .filter_map(move |(note, name)| notes.has(note).then_some(name))
}

struct NoteNames(Notes);

impl Serialize for NoteNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_seq(None)?;
        for name in note_names(self.0) {
            names.serialize_element(name)?;
        }
        names.end()
    }
}

fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> GatewayId {
        GatewayId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef))
    }

    fn row() -> MessageRow {
        MessageRow {
            id: RecordId {
                gateway: gateway(),
                seq: 7,
            },
            charger_id: "CP-17".into(),
            ocpp_version: Version::V16,
            kind: RecordKind::Call,
            message_id: "m-1".into(),
            action: "Heartbeat".into(),
            payload: "{}".into(),
            answer_kind: AnswerKind::Result,
            answer: r#"{"currentTime": "2026-01-01T00:00:00.000Z"}"#.into(),
            received_at: Timestamp(1_767_225_600_000),
            epoch: 7,
            notes: Notes::SLOPPY.with(Notes::CONFLICT),
            reason: "extra member".into(),
        }
    }

    fn line(row: &MessageRow) -> String {
        serde_json::to_string(row).unwrap()
    }

    #[test]
    fn every_place_reads_back_from_its_cursor() {
        let places = [
            Place::Charger(String::new()),
            Place::Charger("cp-17/ü \u{0}".into()),
            Place::Transaction(Timestamp(0), Uuid::nil()),
            Place::Transaction(Timestamp(-1), Uuid::max()),
            Place::Transaction(Timestamp(i64::MAX), gateway().0),
            Place::Message(row().id),
            Place::Message(RecordId {
                gateway: gateway(),
                seq: u64::MAX,
            }),
            Place::DeadLetter(0),
            Place::DeadLetter(i64::MIN),
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
    fn a_text_that_is_no_cursor_is_refused() {
        for text in [
            "",
            "x",
            "c0",
            "cgg",
            "cff",
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
        ] {
            let cursor = Cursor::from_text(text);
            assert_eq!(
                Place::from_cursor(&cursor),
                Err(LedgerError::BadCursor),
                "{text}"
            );
        }
    }

    #[test]
    fn an_export_line_has_the_members_in_their_order() {
        assert_eq!(
            line(&row()),
            r#"{"record_id":"01234567-89ab-cdef-0123-456789abcdef/7","charger_id":"CP-17","ocpp_version":"1.6","direction":"from_charger","kind":"call","message_id":"m-1","action":"Heartbeat","payload":{},"answer":{"currentTime": "2026-01-01T00:00:00.000Z"},"received_at":"2026-01-01T00:00:00.000Z","gateway_id":"01234567-89ab-cdef-0123-456789abcdef","seq":7,"notes":["sloppy","conflict"],"reason":"extra member"}"#
        );
        assert_eq!(row().columns().len(), MessageRow::COLUMNS.len());
    }

    #[test]
    fn a_payload_is_embedded_only_when_it_is_json_that_fits_on_a_line() {
        let show = |payload: &str, notes: Notes| {
            let row = MessageRow {
                payload: payload.into(),
                notes,
                ..row()
            };
            let value: serde_json::Value = serde_json::from_str(&line(&row)).unwrap();
            assert!(!line(&row).contains('\n'), "one line");
            value["payload"].clone()
        };
        let none = Notes::default();
        assert_eq!(show("", none), serde_json::Value::Null);
        assert_eq!(show("{broken", none), "{broken");
        assert_eq!(show("{\"a\":\r\n 1}\n", none), serde_json::json!({"a": 1}));
        assert_eq!(show("1234", Notes::BASE64), "1234");
        assert_eq!(show("1234", none), 1234);
        let deep = "[".repeat(70) + &"]".repeat(70);
        assert_eq!(show(&deep, none), deep.as_str());
        let not_deep = format!("[\"{}\"]", "[".repeat(70));
        assert_eq!(show(&not_deep, none)[0], "[".repeat(70));
    }
}
