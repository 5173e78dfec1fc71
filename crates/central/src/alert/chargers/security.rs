//! Security events of chargers that need a person.
//!
//! OCPP calls each boot and each change of the clock a critical security event (security whitepaper 1.6; 2.x part 2,
//! appendix 1), which is no news. The events here are those that say that somebody is at the charger, or hides what he has
//! done. One that was queued while the charger was offline counts too: cutting the connection first is what an intruder does.
//! Where each identity is accepted, anybody can invent some and report events: only those of chargers that somebody misses count.

use super::{KEPT_MAX, Recent, UNCERTAIN_MS, is_judged, is_missed};
use crate::Timestamp;
use crate::alert::machine::Finding;
use crate::alert::{Severity, Thresholds};
use crate::model::ChargerKey;
use crate::query::ChargerDetail;
use std::collections::HashMap;

/// The name of the rule.
pub const SECURITY_EVENT: &str = "SecurityEvent";

/// The types, and how soon a person is needed.
const TYPES: [(&str, Severity); 6] = [
    ("TamperDetectionActivated", Severity::Page),
    ("SecurityLogWasCleared", Severity::Ticket),
    ("AttemptedReplayAttacks", Severity::Ticket),
    ("InvalidFirmwareSignature", Severity::Ticket),
    ("InvalidFirmwareSigningCertificate", Severity::Ticket),
    ("MemoryExhaustion", Severity::Ticket),
];
/// Security events that are kept at most. Of more, the oldest of a charger that nobody misses is dropped; where there is none, of
/// those that nobody has added, and then of all, the newest and least urgent: an alert that fires goes on.
const NOTED_MAX: usize = 5_000;
const _: () = assert!(NOTED_MAX < KEPT_MAX);

/// A security event that nobody has taken note of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The charger.
    pub charger_id: String,
    /// How soon a person is needed.
    pub severity: Severity,
    /// What happened, in one sentence.
    pub summary: String,
    /// When Wattpost learnt of it.
    pub at: Timestamp,
}

/// Who misses a charger. One that is rejected or removed is missed by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nobody, as far as is known.
    Stranger,
    /// It has booted and was seen for a while.
    Known,
    /// A person has added it.
    Added,
}

/// A security event, and who misses its charger.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    noted: Noted,
    standing: Standing,
}

impl Kept {
    /// The least is dropped first.
    fn worth(&self) -> (Standing, bool, i64) {
        let at = self.noted.at.0;
        match self.standing {
            Standing::Stranger => (Standing::Stranger, false, at),
            standing => (standing, self.noted.severity == Severity::Page, -at),
        }
    }
}

impl Recent {
    /// The chargers as they are now. Call it before the first [`Recent::of_security`]: events of other chargers are not found.
    pub fn chargers_are<'a>(
        &mut self,
        details: impl IntoIterator<Item = &'a ChargerDetail>,
        settings: &Thresholds,
    ) {
        let missed = details
            .into_iter()
            .filter(|detail| is_judged(detail) && is_missed(detail, settings));
        self.standings = missed
            .map(|detail| {
                let standing = match detail.settings {
                    Some(_) => Standing::Added,
                    None => Standing::Known,
                };
                (ChargerKey::of(&detail.charger.charger_id), standing)
            })
            .collect();
        for one in self.security.values_mut() {
            one.standing = standing(&self.standings, &one.noted.charger_id);
        }
    }

    /// A charger has reported a security event of this type. The same of a charger is one, with its latest words
    /// until its alert fires; later words are in the events `security.event`.
    pub fn security_event(
        &mut self,
        charger: &str,
        kind: &str,
        tech_info: Option<&str>,
        at: Timestamp,
    ) {
        let Some((name, severity)) = TYPES.iter().find(|(one, _)| one.eq_ignore_ascii_case(kind))
        else {
            return;
        };
        let mut summary = format!("{charger} reports {name}");
        if let Some(words) = tech_info.filter(|words| !words.is_empty()) {
            summary.push_str(": ");
            summary.push_str(words);
        }
        let noted = Noted {
            charger_id: charger.to_owned(),
            severity: *severity,
            summary,
            at,
        };
        self.note_security(format!("{charger} {name}"), noted);
    }

    /// The same of an alert that fires, after a start. `subject` is that of the alert.
    pub fn note_security(&mut self, subject: String, noted: Noted) {
        let standing = standing(&self.standings, &noted.charger_id);
        self.security.insert(subject, Kept { noted, standing });
        if self.security.len() > NOTED_MAX {
            let least = self.security.iter().min_by_key(|(_, one)| one.worth());
            if let Some(least) = least.map(|(subject, _)| subject.clone()) {
                self.security.remove(&least);
            }
        }
    }

    /// A person took note of the alert with this subject at this time.
    pub fn security_noted(&mut self, subject: &str, at: Timestamp) {
        let noted = self.security.get(subject).map(|one| &one.noted);
        if noted.is_some_and(|one| one.at <= at) {
            self.security.remove(subject);
        }
    }

    /// The findings of the security events of chargers that somebody misses.
    pub fn of_security(&self, found: &mut Vec<Finding>) {
        let missed = |one: &&Kept| one.standing != Standing::Stranger;
        for (subject, one) in &self.security {
            let Some(Kept { noted: one, .. }) = Some(one).filter(missed) else {
                continue;
            };
            found.push(Finding {
                charger_id: Some(one.charger_id.clone()),
                since: Some(one.at),
                ..Finding::new(SECURITY_EVENT, one.severity, one.summary.clone()).about(subject)
            });
        }
    }

    pub(super) fn forget_security(&mut self, now: Timestamp) {
        let since = now.plus_millis(-UNCERTAIN_MS);
        self.security.retain(|_, one| one.noted.at >= since);
    }
}

fn standing(standings: &HashMap<ChargerKey, Standing>, charger: &str) -> Standing {
    let known = standings.get(&ChargerKey::of(charger)).copied();
    known.unwrap_or(Standing::Stranger)
}

#[cfg(test)]
mod tests {
    use super::super::tests::detail;
    use super::*;
    use crate::model::{ChargerSettings, Registration};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn found(recent: &Recent) -> Vec<(&'static str, Severity, String, String)> {
        let mut found = Vec::new();
        recent.of_security(&mut found);
        let shown = |one: Finding| (one.name, one.severity, one.subject, one.summary);
        found.into_iter().map(shown).collect()
    }

    /// A charger that has been connected for an hour.
    fn charger(id: &str) -> ChargerDetail {
        let mut charger = detail(true);
        charger.charger.charger_id = id.to_owned();
        charger
    }

    /// The same, and an operator has added it.
    fn added(id: &str, admission: Registration) -> ChargerDetail {
        ChargerDetail {
            settings: Some(ChargerSettings {
                charger_id: id.to_owned(),
                admission,
                has_password: false,
                check: None,
                frame_bytes_max: None,
                label: None,
                site: None,
                group: None,
                close_style: None,
                version: 1,
            }),
            ..charger(id)
        }
    }

    fn recent(details: &[ChargerDetail]) -> Recent {
        let mut recent = Recent::default();
        recent.chargers_are(details, &Thresholds::default());
        recent
    }

    #[test]
    fn an_event_that_needs_a_person_is_found_until_somebody_has_taken_note_or_a_day_has_passed() {
        let mut recent = recent(&["CP-1", "CP-2"].map(charger));
        for kind in ["StartupOfTheDevice", "SettingSystemTime", "", "x"] {
            recent.security_event("CP-1", kind, None, NOW);
        }
        assert_eq!(found(&recent), []);
        recent.security_event(
            "CP-1",
            "tamperDetectionActivated",
            Some("door\u{1b}[2J"),
            NOW,
        );
        recent.security_event("CP-1", "TamperDetectionActivated", Some("door\nopen"), NOW);
        recent.security_event("CP-2", "SecurityLogWasCleared", None, NOW);
        let subject = "CP-1 TamperDetectionActivated";
        assert_eq!(
            found(&recent),
            [
                (
                    "SecurityEvent",
                    Severity::Page,
                    subject.to_owned(),
                    "CP-1 reports TamperDetectionActivated: door open".to_owned()
                ),
                (
                    "SecurityEvent",
                    Severity::Ticket,
                    "CP-2 SecurityLogWasCleared".to_owned(),
                    "CP-2 reports SecurityLogWasCleared".to_owned()
                ),
            ]
        );
        // One that came after the note stays.
        recent.security_noted(subject, NOW.plus_millis(-1));
        assert_eq!(
            found(&recent).len(),
            2,
            "that of a charger that is known too"
        );
        recent.security_noted(subject, NOW);
        assert_eq!(found(&recent).len(), 1);
        recent.forget(NOW.plus_millis(UNCERTAIN_MS + 1));
        assert_eq!(found(&recent), []);
    }

    /// Where each identity is accepted, anybody can invent some.
    #[test]
    fn strangers_and_chargers_that_are_rejected_or_removed_cause_no_alert() {
        let mut never_booted = charger("CP-1");
        never_booted.charger.booted_at = None;
        let mut young = charger("CP-2");
        young.charger.first_seen_at = Some(NOW.plus_millis(-60_000));
        let rejected = added("CP-3", Registration::Rejected);
        let mut removed = charger("CP-4");
        removed.removed_at = Some(NOW);
        let mut recent = recent(&[never_booted, young.clone(), rejected, removed]);
        for no in 1..=5 {
            let id = format!("CP-{no}");
            recent.security_event(&id, "TamperDetectionActivated", None, NOW);
        }
        assert_eq!(found(&recent), []);
        // It is known after a while, or somebody adds it.
        young.charger.first_seen_at = Some(NOW.plus_millis(-600_000));
        let all = [young, added("cp-5", Registration::Pending)];
        recent.chargers_are(&all, &Thresholds::default());
        let subjects: Vec<String> = found(&recent).into_iter().map(|one| one.2).collect();
        assert_eq!(
            subjects,
            [
                "CP-2 TamperDetectionActivated",
                "CP-5 TamperDetectionActivated"
            ]
        );
    }

    #[test]
    fn security_events_have_a_bound_and_strangers_end_no_alert() {
        let mut details: Vec<ChargerDetail> = vec![charger("CP-known")];
        details
            .extend((0..NOTED_MAX).map(|no| added(&format!("CP-a{no}"), Registration::Accepted)));
        let mut recent = recent(&details);
        let mut now = NOW;
        let mut event = |recent: &mut Recent, charger: &str, kind| {
            now = now.plus_millis(1);
            recent.security_event(charger, kind, None, now);
            assert!(recent.security.len() <= NOTED_MAX);
        };
        event(&mut recent, "CP-known", "TamperDetectionActivated");
        event(&mut recent, "CP-a0", "TamperDetectionActivated");
        for no in 0..NOTED_MAX + 10 {
            event(
                &mut recent,
                &format!("CP-x{no}"),
                "TamperDetectionActivated",
            );
        }
        assert_eq!(found(&recent).len(), 2);
        assert!(
            !recent
                .security
                .contains_key("CP-x9 TamperDetectionActivated")
        );
        // Chargers that were added take the places of others, and a page that of a ticket.
        for no in 0..NOTED_MAX {
            event(&mut recent, &format!("CP-a{no}"), "MemoryExhaustion");
        }
        event(&mut recent, "CP-a1", "TamperDetectionActivated");
        event(&mut recent, "CP-known", "TamperDetectionActivated");
        let kept = found(&recent);
        let pages = kept.iter().filter(|one| one.1 == Severity::Page);
        let pages: Vec<&str> = pages.map(|one| one.2.as_str()).collect();
        let expected = ["CP-a0", "CP-a1"].map(|id| format!("{id} TamperDetectionActivated"));
        assert_eq!(pages, expected);
        assert!(recent.security.contains_key("CP-a0 MemoryExhaustion"));
    }
}
