//! Connectors that stay in a status in which nobody can charge and nobody is to be waited for any longer.
//!
//! The time of a status is when it was first seen here: the charger's clock may be wrong, and a charger that reports its
//! status again every minute has not changed it.

use super::{KEPT_MAX, MINUTE, Recent, SECOND};
use crate::Timestamp;
use crate::alert::machine::Finding;
use crate::alert::{Severity, Thresholds};
use crate::model::{ConnectorView, UNKNOWN};

/// The name of the rule.
const NAME: &str = "ConnectorStuck";

/// A status of a connector, and since when it was seen.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    status: &'static str,
    since: Timestamp,
    pub(super) seen: bool,
}

/// The statuses that are judged, and for how many seconds a connector may have them.
fn allowed_s(settings: &Thresholds) -> [(&'static str, u32); 2] {
    [
        ("Preparing", settings.preparing_s),
        ("Finishing", settings.finishing_s),
    ]
}

impl Recent {
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
