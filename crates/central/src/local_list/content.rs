//! What a list holds, and the messages that bring it to a charger.

use super::Wish;
use crate::Timestamp;
use crate::model::{Token, TokenStatus};
use ocpp::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The longest idTag of 1.6, and the longest idToken of 2.0.1 and 2.1.
const ID_CHARS_MAX: [usize; 3] = [20, 36, 255];
/// The type of a token of 2.x that has none.
const DEFAULT_TYPE: &str = "ISO14443";

/// One token of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentEntry {
    /// Its id.
    pub id: String,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Its group.
    pub group: Option<String>,
    /// Its type (2.x).
    pub token_type: Option<String>,
}

/// The tokens of a list, by their keys, with a digest of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The tokens.
    pub entries: BTreeMap<String, ContentEntry>,
    /// The digest: equal contents have equal ones.
    pub digest: String,
}

impl Content {
    /// The list that a charger of this version should have. Tokens whose id its version cannot send are left out, and so
    /// are groups that are too long.
    #[must_use]
    pub fn wanted<'a>(
        wish: &Wish,
        tokens: impl IntoIterator<Item = (&'a String, &'a Token)>,
        version: Version,
        now: Timestamp,
    ) -> Self {
        let longest = ID_CHARS_MAX[version as usize];
        let fits = |text: &String| text.chars().count() <= longest;
        let group = match wish {
            Wish::Group(group) => Some(Token::key_of(group)),
            Wish::All | Wish::None => None,
        };
        let is_wished = |token: &Token| {
            let of_token = token.group_id.as_deref().map(Token::key_of);
            *wish != Wish::None && (group.is_none() || of_token == group)
        };
        let entries = tokens
            .into_iter()
            .filter(|(_, token)| {
                token.status == TokenStatus::Accepted
                    && token.expires_at.is_none_or(|at| at > now)
                    && fits(&token.id)
                    && is_wished(token)
            })
            .map(|(key, token)| {
                let entry = ContentEntry {
                    id: token.id.clone(),
                    expires_at: token.expires_at,
                    group: token.group_id.clone().filter(fits),
                    token_type: token.token_type.clone().filter(|_| version != Version::V16),
                };
                (key.clone(), entry)
            });
        Self::of(entries.collect())
    }

    /// A list of these entries.
    #[must_use]
    pub fn of(entries: BTreeMap<String, ContentEntry>) -> Self {
        let digest = blake3::hash(&json_of(&entries)).to_hex()[..32].to_owned();
        Self { entries, digest }
    }

    /// The entries as JSON, to be stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        String::from_utf8(json_of(&self.entries)).unwrap_or_default()
    }

    /// A list from its JSON.
    ///
    /// # Errors
    /// When the text is not what [`Content::to_json`] writes.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self::of)
    }

    /// The changes that make `before` this list, in the order of the tokens' keys.
    pub(super) fn changes_from<'a>(&'a self, before: &'a Self) -> Vec<Change<'a>> {
        let mut changes: BTreeMap<&str, Change<'a>> = BTreeMap::new();
        for (key, entry) in &before.entries {
            if !self.entries.contains_key(key) {
                changes.insert(key, Change::Remove(entry));
            }
        }
        for (key, entry) in &self.entries {
            if before.entries.get(key) != Some(entry) {
                changes.insert(key, Change::Set(entry));
            }
        }
        changes.into_values().collect()
    }

    /// All entries as changes of an empty list, in the order of the tokens' keys.
    pub(super) fn all(&self) -> Vec<Change<'_>> {
        self.entries.values().map(Change::Set).collect()
    }
}

fn json_of(entries: &BTreeMap<String, ContentEntry>) -> Vec<u8> {
    // Texts and numbers can always be written as JSON.
    serde_json::to_vec(entries).unwrap_or_default()
}

/// A change of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// The token is in the list, with these values.
    Set(&'a ContentEntry),
    /// The token is not in the list.
    Remove(&'a ContentEntry),
}

impl Change<'_> {
    /// The item of `localAuthorizationList`; one without a status removes the token (D01.FR.17; 1.6 6.3).
    pub(super) fn item(self, version: Version) -> Value {
        match version {
            Version::V16 => self.item_16(),
            Version::V201 | Version::V21 => self.item_2(),
        }
    }

    fn item_16(self) -> Value {
        match self {
            Self::Remove(entry) => json!({"idTag": entry.id}),
            Self::Set(entry) => {
                let mut info = json!({"status": "Accepted"});
                if let Some(at) = entry.expires_at {
                    info["expiryDate"] = json!(at.to_string());
                }
                if let Some(group) = &entry.group {
                    info["parentIdTag"] = json!(group);
                }
                json!({"idTag": entry.id, "idTagInfo": info})
            }
        }
    }

    fn item_2(self) -> Value {
        let (Self::Set(entry) | Self::Remove(entry)) = self;
        let kind = entry.token_type.as_deref().unwrap_or(DEFAULT_TYPE);
        let mut item = json!({"idToken": {"idToken": entry.id, "type": kind}});
        if let Self::Set(entry) = self {
            let mut info = json!({"status": "Accepted"});
            if let Some(at) = entry.expires_at {
                info["cacheExpiryDateTime"] = json!(at.to_string());
            }
            if let Some(group) = &entry.group {
                info["groupIdToken"] = json!({"idToken": group, "type": "Central"});
            }
            item["idTokenInfo"] = info;
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> BTreeMap<String, Token> {
        let long = "x".repeat(21);
        let all = [
            Token::accepted("A"),
            Token {
                group_id: Some("Fleet".to_owned()),
                expires_at: Some(Timestamp(10)),
                token_type: Some("Central".to_owned()),
                ..Token::accepted("B")
            },
            Token {
                status: TokenStatus::Blocked,
                ..Token::accepted("C")
            },
            Token::accepted(long),
        ];
        all.into_iter().map(|token| (token.key(), token)).collect()
    }

    fn ids(wish: &Wish, version: Version, now: i64) -> Vec<String> {
        let content = Content::wanted(wish, &tokens(), version, Timestamp(now));
        content.entries.into_keys().collect()
    }

    #[test]
    fn a_list_holds_the_wished_tokens_that_may_charge_and_that_the_version_can_send() {
        assert_eq!(ids(&Wish::All, Version::V16, 0), ["a", "b"]);
        assert_eq!(ids(&Wish::All, Version::V201, 10).len(), 2);
        assert_eq!(
            ids(&Wish::Group("FLEET".to_owned()), Version::V16, 0),
            ["b"]
        );
        assert_eq!(ids(&Wish::None, Version::V16, 0), [""; 0]);
    }

    #[test]
    fn a_stored_list_reads_back_and_equal_lists_have_equal_digests() {
        let content = Content::wanted(&Wish::All, &tokens(), Version::V21, Timestamp(0));
        let back = Content::from_json(&content.to_json());
        assert_eq!(back.ok(), Some(content.clone()));
        let later = Content::wanted(&Wish::All, &tokens(), Version::V21, Timestamp(10));
        assert_ne!(later.digest, content.digest);
    }

    #[test]
    fn a_difference_sets_what_is_new_or_other_and_removes_the_rest() {
        let before = Content::wanted(&Wish::All, &tokens(), Version::V201, Timestamp(0));
        let mut after = before.entries.clone();
        after.remove("a");
        if let Some(entry) = after.get_mut("b") {
            entry.group = None;
        }
        let after = Content::of(after);
        let items: Vec<Value> = after
            .changes_from(&before)
            .into_iter()
            .map(|change| change.item(Version::V201))
            .collect();
        assert_eq!(
            items,
            [
                json!({"idToken": {"idToken": "A", "type": "ISO14443"}}),
                json!({
                    "idToken": {"idToken": "B", "type": "Central"},
                    "idTokenInfo": {
                        "status": "Accepted",
                        "cacheExpiryDateTime": "1970-01-01T00:00:00.010Z",
                    },
                }),
            ]
        );
        let all: Vec<Value> = before
            .all()
            .into_iter()
            .map(|change| change.item(Version::V16))
            .collect();
        assert_eq!(
            all[1],
            json!({"idTag": "B", "idTagInfo": {
                "status": "Accepted",
                "expiryDate": "1970-01-01T00:00:00.010Z",
                "parentIdTag": "Fleet",
            }})
        );
        assert_eq!(before.changes_from(&before), []);
    }
}
