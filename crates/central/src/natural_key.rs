//! Natural keys: the members of a transaction message that a charger repeats unchanged when it sends the message again.
//! Resends are recognised by them; transaction ids and keys in the database are derived from them.
//!
//! A member counts as the text that the charger wrote, not as its value: the same firmware writes the same content in the
//! same way, and a change in how Wattpost reads times or numbers cannot change a key that was given out.

use crate::model::ChargerKey;
use ocpp::json::Raw;
use std::hash::Hasher;

/// The natural key of a transaction message (class T). The charger is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NaturalKey<'a> {
    action: &'static str,
    members: [&'a str; 4],
}

impl<'a> NaturalKey<'a> {
    /// The texts of these members, at most four, as written. A payload that lacks one of them, or breaks off, is its
    /// own key as a whole.
    pub(crate) fn of(action: &'static str, payload: &'a str, names: &[&str]) -> Self {
        match members(payload, names) {
            Some(members) => Self { action, members },
            None => Self::whole(action, payload),
        }
    }

    pub(crate) const fn of_members(action: &'static str, members: [&'a str; 4]) -> Self {
        Self { action, members }
    }

    /// The whole payload as its key.
    pub(crate) const fn whole(action: &'static str, payload: &'a str) -> Self {
        Self {
            action,
            members: [payload, "", "", ""],
        }
    }

    /// Whether the key is the whole payload.
    pub(crate) fn is_all_of(&self, payload: &str) -> bool {
        std::ptr::eq(self.members[0], payload)
    }

    /// A hash for tables in memory; may differ from build to build.
    pub(crate) fn quick_hash(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(self.action.as_bytes());
        for member in self.members {
            hasher.write_usize(member.len());
            hasher.write(member.as_bytes());
        }
        hasher.finish()
    }

    /// A hash that never changes, for keys and ids that are stored or sent. `domain` separates its uses.
    pub(crate) fn stable_hash(&self, domain: &'static str, charger: &ChargerKey) -> [u8; 32] {
        let mut hasher = StableHasher::new(domain);
        hasher.add(charger.as_str()).add(self.action);
        for member in self.members {
            hasher.add(member);
        }
        hasher.finish()
    }
}

/// A hash of texts that never changes. Each text is hashed with its length, so that different lists of texts have
/// different hashes.
pub(crate) struct StableHasher(Vec<u8>);

impl StableHasher {
    pub(crate) fn new(domain: &'static str) -> Self {
        let mut hasher = Self(Vec::with_capacity(256));
        hasher.add(domain);
        hasher
    }

    pub(crate) fn add(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        // All at once: for such short inputs a streaming hasher costs more than the hash.
        *blake3::hash(&self.0).as_bytes()
    }

    pub(crate) fn finish_u64(&self) -> u64 {
        first_u64(&self.finish())
    }
}

/// The first eight bytes of a hash, as a number.
pub(crate) fn first_u64(hash: &[u8; 32]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(word)
}

/// The texts of these members of an object, as written; `None` unless all are present. The last of two equal members
/// counts.
pub(crate) fn members<'a>(payload: &'a str, names: &[&str]) -> Option<[&'a str; 4]> {
    let mut found = [""; 4];
    let read = Raw::new(payload).members(|name, value| {
        if let Some(i) = names.iter().position(|wanted| *wanted == name) {
            found[i] = value.as_str();
        }
    });
    let all_there = found.iter().take(names.len()).all(|text| !text.is_empty());
    (read.is_ok() && all_there).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::{self, Repeats};
    use ocpp::Version;

    fn key<'a>(action: &str, payload: &'a str) -> NaturalKey<'a> {
        let row = actions::find(Version::V16, action).expect("an action");
        match row.action.repeats {
            Repeats::NaturalKey(message) => (message.natural_key)(payload),
            other => panic!("{action}: {other:?}"),
        }
    }

    fn start(payload: &str) -> u64 {
        key("StartTransaction", payload).quick_hash()
    }

    #[test]
    fn the_key_of_a_start_is_four_of_its_members() {
        let first =
            r#"{"connectorId":1,"idTag":"A","timestamp":"2026-01-01T00:00:00Z","meterStart":5}"#;
        let same = r#"{ "meterStart":5, "reservationId":7,"idTag":"A","connectorId":1,"timestamp":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(start(first), start(same));
        for (from, to) in [
            ("1,", "2,"),
            ("\"A\"", "\"B\""),
            ("00Z", "01Z"),
            ("5}", "6}"),
        ] {
            assert_ne!(start(first), start(&first.replacen(from, to, 1)), "{from}");
        }
    }

    #[test]
    fn the_key_of_a_broken_message_is_its_whole_text() {
        assert_eq!(start("{\"idTag\":\"A\",,"), start("{\"idTag\":\"A\",,"));
        assert_ne!(start("{\"idTag\":\"A\",,"), start("{\"idTag\":\"A\","));
        assert_ne!(start("{}"), start("{\"idTag\":\"A\"}"));
    }

    #[test]
    fn stops_of_one_transaction_have_one_key_and_stops_without_an_id_have_many() {
        let stop = |id: &str, at: &str| {
            let payload = format!(r#"{{"transactionId":{id},"timestamp":"{at}","meterStop":9}}"#);
            key("StopTransaction", &payload).quick_hash()
        };
        assert_eq!(stop("7", "a"), stop("7", "b"));
        assert_ne!(stop("7", "a"), stop("8", "a"));
        assert_ne!(stop("-1", "a"), stop("-1", "b"));
        assert_eq!(stop("-1", "a"), stop("-1", "a"));
    }
}
