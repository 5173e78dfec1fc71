//! Tokens that chargers presented and that gateways did not know or refused: so that an operator sees which cards to add,
//! and programs are told when a driver is turned away.
//!
//! Unknown tokens are counted by charger, UTC day and token. The bound is by a hash of the token: of one charger and day,
//! the [`UNKNOWN_TOKENS_PER_DAY_MAX`] smallest hashes are kept. A row that is kept was never left out before, so its
//! figures are exact, and the order in which records arrive does not matter; a bound by time would lose figures in some
//! orders. Days are kept apart so that a charger that presents many tokens on one day hides those of that day only, and so
//! that rows that are too old can be deleted day by day, which changes no other row.

use super::ChargerKey;
use crate::model::Token;
use crate::record::{Notes, Record};
use crate::{RecordId, Timestamp};
use ocpp::json::Raw;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Unknown tokens of one charger and UTC day that are kept.
pub const UNKNOWN_TOKENS_PER_DAY_MAX: usize = 50;
/// How long a row of an unknown token is kept after its day: 30 days.
pub const UNKNOWN_TOKENS_KEPT_MS: i64 = 30 * DAY_MS;
/// Refusals of one charger and hour that have the event `token.refused`.
pub const TOKEN_REFUSED_EVENTS_MAX: u64 = 10;
/// That hour.
pub const TOKEN_REFUSED_EVENTS_MS: i64 = 3_600_000;

const DAY_MS: i64 = 86_400_000;
/// Bytes of an id: a longer one cannot be added as a token, so it is not listed.
const ID_BYTES_MAX: usize = 255;
/// Bytes of a type that are kept.
const TYPE_BYTES_MAX: usize = 50;

/// A token as a message presented it, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Presented {
    /// idTag (1.6) or idToken (2.x) as the charger wrote it, cut to 255 bytes; U+2400 in place of U+0000.
    pub id: String,
    /// The type of an idToken of 2.x.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// The connector (1.6) or EVSE (2.x), if the message names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<i64>,
    /// The status in the answer.
    pub status: String,
}

/// What a message says of a token that was not accepted as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedToken {
    /// The message.
    pub record: RecordId,
    /// When the gateway received it: a charger cannot choose the day on which it is counted.
    pub at: Timestamp,
    /// The token and the answer.
    pub presented: Presented,
    /// Whether the gateway may not have known the token: it is counted as unknown. Whether the directory has it is looked
    /// up when the list is read.
    pub may_be_unknown: bool,
}

/// The members of a message that present a token.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenMembers {
    pub(crate) id: Option<String>,
    pub(crate) token_type: Option<String>,
    pub(crate) connector: Option<i64>,
}

impl Presented {
    /// The token that `read` finds in the message, unless the answer accepts it as known. `info` is the member of the answer
    /// with the status.
    pub(crate) fn of(
        record: &Record<'_>,
        info: &str,
        read: impl FnOnce(&str) -> TokenMembers,
    ) -> Option<Self> {
        let mut status = None;
        let _ = Raw::new(record.answer).members(|name, value| {
            if name == info {
                let _ = value.members(|name, value| {
                    if name == "status" {
                        status = value.text();
                    }
                });
            }
        });
        let status = status?;
        if status == ACCEPTED && !record.notes.has(Notes::TOKEN_UNVERIFIED) {
            return None;
        }
        let members = read(record.payload);
        let text = |text: String| text.replace('\0', "\u{2400}");
        let id = members.id.filter(|id| !id.is_empty()).map(text)?;
        Some(Self {
            id,
            token_type: members
                .token_type
                .map(|kind| cut_to(text(kind), TYPE_BYTES_MAX)),
            connector: members.connector,
            status: status.into_owned(),
        })
    }
}

impl PresentedToken {
    pub(crate) fn new(id: RecordId, record: &Record<'_>, mut presented: Presented) -> Self {
        // A gateway writes `Invalid` (1.6) and `Unknown` (2.x) for a token that it does not know.
        let may_be_unknown = record.notes.has(Notes::TOKEN_UNVERIFIED)
            || matches!(presented.status.as_str(), "Invalid" | "Unknown");
        let fits = presented.id.len() <= ID_BYTES_MAX;
        presented.id = cut_to(presented.id, ID_BYTES_MAX);
        Self {
            record: id,
            at: record.received_at,
            presented,
            may_be_unknown: may_be_unknown && fits,
        }
    }

    /// Whether the charger was told that the token is not accepted.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.presented.status != ACCEPTED
    }

    /// The UTC day on which it is counted.
    #[must_use]
    pub const fn day(&self) -> i64 {
        self.at.0.div_euclid(DAY_MS)
    }
}

const ACCEPTED: &str = "Accepted";

fn cut_to(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

/// The day before which rows of unknown tokens are deleted at `now`.
#[must_use]
pub const fn unknown_tokens_kept_from(now: Timestamp) -> i64 {
    now.0
        .saturating_sub(UNKNOWN_TOKENS_KEPT_MS)
        .div_euclid(DAY_MS)
}

/// The key of an unknown token: ids that differ only in letter case have the same.
#[must_use]
pub fn unknown_token_key(id: &str) -> Uuid {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] =
        *blake3::hash(Token::key_of(id).as_bytes()).as_bytes();
    Uuid::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}

/// How often a charger presented an unknown token on one day. Adding is commutative and not idempotent: each record must
/// be added once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTokenCount {
    /// The id in lower case.
    pub token_key: String,
    /// The latest one as JSON of a [`Presented`]; of several that were received in one millisecond the greatest text.
    pub latest: String,
    /// When the first one was received.
    pub first_at: Timestamp,
    /// When the latest one was received.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
}

impl UnknownTokenCount {
    /// One message.
    #[must_use]
    pub fn once(token: &PresentedToken) -> Self {
        Self {
            token_key: Token::key_of(&token.presented.id),
            // Texts and numbers can always be written as JSON.
            latest: serde_json::to_string(&token.presented).unwrap_or_default(),
            first_at: token.at,
            last_at: token.at,
            count: 1,
        }
    }

    /// Adds other messages to these.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_at = self.first_at.min(other.first_at);
        if (other.last_at, &other.latest) > (self.last_at, &self.latest) {
            self.last_at = other.last_at;
            self.latest = other.latest;
        }
    }
}

/// The counts of unknown tokens by charger, UTC day and [`unknown_token_key`].
pub type UnknownTokenCounts = BTreeMap<(ChargerKey, i64, Uuid), UnknownTokenCount>;

/// An unknown token at one charger, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownTokenView {
    /// Names the token, also where its id could not be a part of an address.
    pub key: Uuid,
    /// idTag (1.6) or idToken (2.x), in the charger's latest spelling.
    pub id: String,
    /// The type of an idToken of 2.x.
    #[serde(rename = "type")]
    pub token_type: Option<String>,
    /// The charger.
    pub charger_id: String,
    /// The connector (1.6) or EVSE (2.x) of the latest message, if it names one.
    pub connector: Option<i64>,
    /// What the latest message was answered.
    pub answer: String,
    /// When it was first presented there, of the days that are kept.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub first_at: Timestamp,
    /// When it was last presented there.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub last_at: Timestamp,
    /// Messages that presented it there on the days that are kept.
    pub count: u64,
}

impl UnknownTokenView {
    /// The token with these counts at one charger. `None` if `latest` cannot be read.
    #[must_use]
    pub fn of(key: Uuid, charger_id: String, count: UnknownTokenCount) -> Option<Self> {
        let latest: Presented = serde_json::from_str(&count.latest).ok()?;
        Some(Self {
            key,
            id: latest.id,
            token_type: latest.token_type,
            charger_id,
            connector: latest.connector,
            answer: latest.status,
            first_at: count.first_at,
            last_at: count.last_at,
            count: count.count,
        })
    }
}

/// The object of the event `token.refused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedTokenView {
    /// The message that presented the token.
    pub record_id: String,
    /// The charger.
    pub charger_id: String,
    /// The connector (1.6) or EVSE (2.x), if the message names one.
    pub connector: Option<i64>,
    /// idTag (1.6) or idToken (2.x) as the charger wrote it.
    pub token: String,
    /// The type of an idToken of 2.x.
    #[serde(rename = "type")]
    pub token_type: Option<String>,
    /// The status in the answer, such as `Blocked`.
    pub status: String,
    /// The action of the message.
    pub action: String,
    /// When the gateway received it.
    #[serde(serialize_with = "super::rfc3339::always")]
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(at: i64, latest: &str) -> UnknownTokenCount {
        UnknownTokenCount {
            token_key: "t".to_owned(),
            latest: latest.to_owned(),
            first_at: Timestamp(at),
            last_at: Timestamp(at),
            count: 1,
        }
    }

    #[test]
    fn counts_are_the_same_in_any_order() {
        let all = [count(2, "a"), count(2, "b"), count(1, "z")];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
            let mut sum = all[order[0]].clone();
            sum.add(all[order[1]].clone());
            sum.add(all[order[2]].clone());
            let expected = UnknownTokenCount {
                first_at: Timestamp(1),
                count: 3,
                ..count(2, "b")
            };
            assert_eq!(sum, expected, "{order:?}");
        }
    }

    #[test]
    fn rows_are_kept_for_30_days_after_their_day() {
        let now = Timestamp(100 * DAY_MS + 5);
        assert_eq!(unknown_tokens_kept_from(now), 70);
        assert_eq!(
            unknown_tokens_kept_from(Timestamp(i64::MIN)),
            i64::MIN.div_euclid(DAY_MS)
        );
    }

    #[test]
    fn the_key_ignores_letter_case() {
        assert_eq!(unknown_token_key("04aB"), unknown_token_key("04Ab"));
        assert_ne!(unknown_token_key("04AB"), unknown_token_key("04AC"));
    }
}
