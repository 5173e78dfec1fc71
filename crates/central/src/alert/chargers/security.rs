//! Security events of chargers that need a person.
//!
//! OCPP calls each boot and each change of the clock a critical security event (security whitepaper 1.6; 2.x part 2,
//! appendix 1), which is no news. The events here are those that say that somebody is at the charger, or hides what he has
//! done. One that was queued while the charger was offline counts too: cutting the connection first is what an intruder does.

use super::{KEPT_MAX, Recent, UNCERTAIN_MS};
use crate::Timestamp;
use crate::alert::Severity;
use crate::alert::machine::Finding;

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
/// Security events that are kept at most: of more, the oldest is dropped.
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

impl Recent {
    /// A charger has reported a security event of this type. The same of a charger is one, with its latest words.
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
        self.security.insert(subject, noted);
        if self.security.len() > NOTED_MAX {
            let oldest = self.security.iter().min_by_key(|(_, one)| one.at);
            if let Some(oldest) = oldest.map(|(subject, _)| subject.clone()) {
                self.security.remove(&oldest);
            }
        }
    }

    /// A person took note of the alert with this subject at this time.
    pub fn security_noted(&mut self, subject: &str, at: Timestamp) {
        if self.security.get(subject).is_some_and(|one| one.at <= at) {
            self.security.remove(subject);
        }
    }

    /// The findings of the security events.
    pub fn of_security(&self, found: &mut Vec<Finding>) {
        for (subject, one) in &self.security {
            found.push(Finding {
                charger_id: Some(one.charger_id.clone()),
                since: Some(one.at),
                ..Finding::new(SECURITY_EVENT, one.severity, one.summary.clone()).about(subject)
            });
        }
    }

    pub(super) fn forget_security(&mut self, now: Timestamp) {
        let since = now.plus_millis(-UNCERTAIN_MS);
        self.security.retain(|_, one| one.at >= since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn found(recent: &Recent) -> Vec<(&'static str, Severity, String, String)> {
        let mut found = Vec::new();
        recent.of_security(&mut found);
        let shown = |one: Finding| (one.name, one.severity, one.subject, one.summary);
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn an_event_that_needs_a_person_is_found_until_somebody_has_taken_note_or_a_day_has_passed() {
        let mut recent = Recent::default();
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
        assert_eq!(found(&recent).len(), 2);
        recent.security_noted(subject, NOW);
        assert_eq!(found(&recent).len(), 1);
        recent.forget(NOW.plus_millis(UNCERTAIN_MS + 1));
        assert_eq!(found(&recent), []);
    }

    #[test]
    fn security_events_have_a_bound() {
        let mut recent = Recent::default();
        for no in 0..NOTED_MAX + 10 {
            let at = NOW.plus_millis(i64::try_from(no).unwrap());
            recent.security_event(&format!("CP-{no}"), "MemoryExhaustion", None, at);
        }
        assert_eq!(recent.security.len(), NOTED_MAX);
        assert!(!recent.security.contains_key("CP-9 MemoryExhaustion"));
    }
}
