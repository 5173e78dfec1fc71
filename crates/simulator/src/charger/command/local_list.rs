//! The local authorization list.

use super::Answer;
use crate::charger::Charger;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Maximum number of entries, and of those of one command.
pub(super) const ENTRIES_MAX: usize = 200;

impl Charger {
    pub(super) fn local_list_version_16(&mut self, _: &Value, _: TimestampUs) -> Answer {
        Answer::Result(json!({"listVersion": self.list_version()}))
    }

    pub(super) fn local_list_version_2(&mut self, _: &Value, _: TimestampUs) -> Answer {
        Answer::Result(json!({"versionNumber": self.list_version()}))
    }

    fn list_version(&self) -> i64 {
        self.kept.as_ref().map_or(0, |kept| kept.list_version)
    }

    pub(super) fn send_local_list_16(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let version = payload["listVersion"].as_i64();
        self.send_local_list(payload, version, |entry| {
            (&entry["idTag"], &entry["idTagInfo"]["status"])
        })
    }

    pub(super) fn send_local_list_2(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let version = payload["versionNumber"].as_i64();
        self.send_local_list(payload, version, |entry| {
            (
                &entry["idToken"]["idToken"],
                &entry["idTokenInfo"]["status"],
            )
        })
    }

    fn send_local_list(
        &mut self,
        payload: &Value,
        version: Option<i64>,
        member: impl for<'a> Fn(&'a Value) -> (&'a Value, &'a Value),
    ) -> Answer {
        let version = version.unwrap_or(0);
        let is_full = payload["updateType"].as_str() == Some("Full");
        // 0 and -1 have other meanings in GetLocalListVersion.
        if version <= 0 {
            return Answer::status("Failed");
        }
        if !is_full && version <= self.list_version() {
            return Answer::status("VersionMismatch");
        }
        let entries = payload["localAuthorizationList"].as_array();
        let entries = entries.map_or(&[][..], Vec::as_slice);
        if entries.len() > ENTRIES_MAX {
            return Answer::status("Failed");
        }
        let mut list = match is_full {
            true => BTreeMap::new(),
            false => self.kept().list.clone(),
        };
        for entry in entries {
            let (token, status) = member(entry);
            let token = token.as_str().unwrap_or_default().to_lowercase();
            // An entry without a status removes the token.
            match status.as_str() {
                Some(status) => {
                    list.insert(token, status.to_owned());
                }
                None => {
                    list.remove(&token);
                }
            }
        }
        let kept = self.kept();
        let before = std::mem::replace(&mut kept.list, list);
        if kept.list.len() > ENTRIES_MAX || !kept.has_room(0, 1, 0) {
            kept.list = before;
            return Answer::status("Failed");
        }
        kept.list_version = version;
        Answer::accepted()
    }
}
