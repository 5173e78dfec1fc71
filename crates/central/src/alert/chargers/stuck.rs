//! Connectors that stay in a status in which nobody can charge and nobody is to be waited for any longer.
//!
//! The time of a status is when it was first seen here: the charger's clock may be wrong, and a charger that reports its
//! status again every minute has not changed it.

use super::{KEPT_MAX, MINUTE, Recent, SECOND};
use crate::Timestamp;
use crate::alert::machine::Finding;
use crate::alert::{Severity, Thresholds};
use crate::model::{ConnectorView, UNKNOWN};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of the rule.
const NAME: &str = "ConnectorStuck";

/// A status of a connector, and since when it was seen.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    status: &'static str,
    since: Timestamp,
    pub(super) seen: bool,
}

/// Since when connectors have a status that is judged by its time, as it is stored: by the subject of the alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stays(BTreeMap<String, (String, Timestamp)>);

/// Connectors of which the time is stored at most: those with the earliest times. 20,000 are about a megabyte.
const STORED_MAX: usize = 20_000;

/// The statuses that are judged.
const JUDGED: [&str; 2] = ["Preparing", "Finishing"];

/// The statuses that are judged, and for how many seconds a connector may have them.
fn allowed_s(settings: &Thresholds) -> [(&'static str, u32); 2] {
    [
        (JUDGED[0], settings.preparing_s),
        (JUDGED[1], settings.finishing_s),
    ]
}

impl Recent {
    /// Since when connectors have their status, to be stored.
    #[must_use]
    pub fn stays(&self) -> Stays {
        let mut all: Vec<(&String, &Stay)> = self.stays.iter().collect();
        if all.len() > STORED_MAX {
            all.sort_unstable_by_key(|(subject, stay)| (stay.since, *subject));
            all.truncate(STORED_MAX);
        }
        let stored = all.into_iter().map(|(subject, stay)| {
            let stay = (stay.status.to_owned(), stay.since);
            (subject.clone(), stay)
        });
        Stays(stored.collect())
    }

    /// Goes on with what is stored. A time in the future, of a clock that was wrong, is now.
    pub fn restore_stays(&mut self, stored: &Stays, now: Timestamp) {
        for (subject, (status, since)) in &stored.0 {
            let status = JUDGED.into_iter().find(|judged| *judged == status);
            if let Some(status) = status.filter(|_| self.stays.len() < KEPT_MAX) {
                let stay = Stay {
                    status,
                    since: (*since).min(now),
                    seen: true,
                };
                self.stays.insert(subject.clone(), stay);
            }
        }
    }

    /// The finding of a connector. `finding` makes one about its charger.
    pub(super) fn of_stay(
        &mut self,
        connector: &ConnectorView,
        finding: &impl Fn(&'static str, Severity, String) -> Finding,
        settings: &Thresholds,
        now: Timestamp,
        found: &mut Vec<Finding>,
    ) {
        let last = connector.last_status.as_deref();
        let judged = allowed_s(settings)
            .into_iter()
            .find(|(status, _)| Some(*status) == last);
        let Some((status, allowed_s)) = judged else {
            return;
        };
        let place = format!("{}/{}", connector.evse, connector.connector);
        let subject = format!("{} {place}", connector.charger_id);
        if !self.stays.contains_key(&subject) && self.stays.len() >= KEPT_MAX {
            return;
        }
        let received = connector.clock_error_ms.map(|(at, _)| at);
        let stay = self.stays.entry(subject.clone()).or_insert(Stay {
            status,
            since: received.unwrap_or(now).min(now),
            seen: true,
        });
        stay.seen = true;
        if stay.status != status {
            (stay.status, stay.since) = (status, received.unwrap_or(now).min(now));
        }
        let passed = now.0.saturating_sub(stay.since.0);
        if passed < i64::from(allowed_s) * SECOND {
            return;
        }
        let words = format!(
            "connector {place} of {} has been {status} for {} min",
            connector.charger_id,
            passed / MINUTE
        );
        let mut one = finding(NAME, Severity::Ticket, words).about(subject);
        // It said so on an earlier connection, or is not connected.
        one.holds &= connector.status != UNKNOWN;
        found.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{detail, known, names};
    use super::super::{begin_stays, end_stays, of_charger};
    use super::*;
    use crate::query::ChargerDetail;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// What is found of a connector with this status after so many minutes, which it has just reported.
    fn at(recent: &mut Recent, minute: i64, status: &str) -> Vec<(&'static str, Severity, bool)> {
        let now = NOW.plus_millis(minute * MINUTE);
        let mut one: ChargerDetail = detail(true);
        one.connectors[0].last_status = Some(status.trim_start_matches('?').to_owned());
        one.connectors[0].status = match status.starts_with('?') {
            true => UNKNOWN.to_owned(),
            false => status.to_owned(),
        };
        one.connectors[0].clock_error_ms = Some((now, 0));
        one.charger.last_seen_at = Some(now);
        let (mut found, settings) = (Vec::new(), Thresholds::default());
        begin_stays(recent);
        of_charger(
            &one,
            &known(),
            recent,
            |_| false,
            &settings,
            now,
            &mut found,
        );
        end_stays(recent);
        names(&found)
    }

    #[test]
    fn the_time_of_a_status_goes_on_over_a_restart() {
        let mut recent = Recent::default();
        assert_eq!(at(&mut recent, 0, "Preparing"), []);
        let stored = serde_json::to_string(&recent.stays()).expect("JSON");
        let restarted = |now: Timestamp| {
            let mut recent = Recent::default();
            let stays = serde_json::from_str(&stored).expect("what was written can be read");
            recent.restore_stays(&stays, now);
            recent
        };
        let mut recent = restarted(NOW.plus_millis(14 * MINUTE));
        let stuck = [("ConnectorStuck", Severity::Ticket, true)];
        assert_eq!(at(&mut recent, 15, "Preparing"), stuck);
        // What it was when nobody looked is not known: another status begins now.
        let mut recent = restarted(NOW.plus_millis(14 * MINUTE));
        assert_eq!(at(&mut recent, 200, "Finishing"), []);
        // The clock was wrong, and is right now.
        let mut recent = restarted(NOW.plus_millis(-60 * MINUTE));
        assert_eq!(at(&mut recent, -46, "Preparing"), []);
        assert_eq!(at(&mut recent, -45, "Preparing"), stuck);
        assert_eq!(
            serde_json::from_str::<Stays>("{}").unwrap(),
            Stays::default()
        );
    }

    #[test]
    fn of_too_many_connectors_the_earliest_times_are_stored() {
        let mut recent = Recent::default();
        for number in 0..=STORED_MAX {
            let stay = Stay {
                status: JUDGED[0],
                since: Timestamp(number as i64),
                seen: true,
            };
            recent.stays.insert(format!("CP-{number} 0/1"), stay);
        }
        let Stays(stored) = recent.stays();
        assert_eq!(stored.len(), STORED_MAX);
        assert!(!stored.contains_key(&format!("CP-{STORED_MAX} 0/1")));
    }

    #[test]
    fn a_connector_that_stays_in_preparing_or_finishing_is_stuck_however_often_it_says_so() {
        let mut recent = Recent::default();
        let stuck = [("ConnectorStuck", Severity::Ticket, true)];
        for minute in 0..15 {
            assert_eq!(at(&mut recent, minute, "Preparing"), [], "{minute}");
        }
        assert_eq!(at(&mut recent, 15, "Preparing"), stuck);
        // It is connected anew and has not said anything: an alert goes on, and the time too.
        let not_known = [("ConnectorStuck", Severity::Ticket, false)];
        assert_eq!(at(&mut recent, 16, "?Preparing"), not_known);
        assert_eq!(at(&mut recent, 17, "Preparing"), stuck);
        assert_eq!(at(&mut recent, 18, "Finishing"), []);
        assert_eq!(at(&mut recent, 18 + 119, "Finishing"), []);
        assert_eq!(at(&mut recent, 18 + 120, "Finishing"), stuck);
        assert_eq!(at(&mut recent, 200, "Available"), []);
        assert_eq!(recent.stays.len(), 0);
        assert_eq!(at(&mut recent, 201, "Preparing"), []);
    }
}
