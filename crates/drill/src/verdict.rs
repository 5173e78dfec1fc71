//! The outcome of a scenario, and whether it passed.

use super::scenario::Scenario;
use serde::Serialize;
use simulator::audit::Report;
use std::time::Duration;

/// The outcome of one run of a scenario.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    pub scenario: &'static str,
    pub name: &'static str,
    pub title: &'static str,
    pub durability: &'static str,
    /// Number of simulated chargers.
    pub chargers: u64,
    /// Messages that chargers transmitted at least once.
    pub sent: u64,
    /// Of those, answered with a CALLRESULT.
    pub acknowledged: u64,
    /// Of the acknowledged, found in the database.
    pub stored: u64,
    /// Acknowledged messages and transactions that are missing, and messages that chargers discarded.
    pub lost: u64,
    /// Missing messages that are kept as dead letters because the disk damaged them; not counted as lost.
    pub kept_apart: u64,
    /// Messages and transactions that are stored twice.
    pub duplicated: u64,
    /// Records in another order than the one in which their charger sent them.
    pub out_of_order: u64,
    /// Records with other content than was sent or answered.
    pub altered: u64,
    /// The longest time from a call to its answer, of the calls until the load ends.
    pub longest_wait_s: f64,
    /// The longest time in which no charger got an answer.
    pub longest_gap_s: f64,
    /// From the end of the fault until all messages acknowledged by then were stored; none if that took too long.
    pub recovery_s: Option<f64>,
    /// How often processes ended without being killed.
    pub unexpected_ends: u64,
    /// Whether answers must continue during the fault.
    pub answers_go_on: bool,
    /// Why it failed; empty if it passed.
    pub faults: Vec<String>,
    /// Remarks.
    pub notes: Vec<String>,
    /// The first wrong records that the audit found.
    pub audit_faults: Vec<String>,
}

/// The measurements apart from the audit.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub chargers: u64,
    pub sent: u64,
    pub longest_wait: Duration,
    pub longest_gap: Duration,
    pub recovery: Option<Duration>,
    pub unexpected_ends: u64,
    /// Whether all queues of the chargers were empty in the end.
    pub drained: bool,
    /// Whether every part was ready in the end.
    pub is_ready: bool,
    /// Whether the fault had an effect.
    pub had_effect: bool,
    /// Promises about the fault itself that were broken.
    pub broken_promises: Vec<String>,
    /// Measurements, for [`Outcome::notes`].
    pub notes: Vec<String>,
    /// Transactions that differ between API and export.
    pub api_differs: u64,
    /// Commands whose outcome contradicts what their charger received and answered.
    pub false_outcomes: u64,
    /// Acknowledged messages that the disk damaged before they were stored, and that are kept as dead letters.
    pub kept_apart: u64,
}

impl Outcome {
    /// Compares the result with what is promised. `answer_within`: the longest time without an answer in scenarios in
    /// which answers must continue.
    pub(super) fn judge(
        scenario: Scenario,
        embedded: bool,
        durability: &'static str,
        audit: &Report,
        measured: Measured,
        answer_within: Duration,
    ) -> Self {
        let mut outcome = Self {
            scenario: scenario.number(),
            name: scenario.name(),
            title: if embedded {
                scenario.title_embedded()
            } else {
                scenario.title()
            },
            durability,
            chargers: measured.chargers,
            sent: measured.sent,
            acknowledged: audit.acknowledged,
            stored: audit.acknowledged
                - audit.missing.min(audit.acknowledged)
                - audit.heartbeats_not_kept,
            lost: audit.missing.saturating_sub(measured.kept_apart)
                + audit.missing_transactions
                + audit.unfinished_transactions
                + audit.discarded,
            kept_apart: measured.kept_apart,
            duplicated: audit.duplicates_in_effect + audit.duplicate_transactions,
            out_of_order: audit.out_of_order,
            altered: audit.altered + audit.wrong_answers + audit.wrong_energy,
            longest_wait_s: measured.longest_wait.as_secs_f64(),
            longest_gap_s: measured.longest_gap.as_secs_f64(),
            recovery_s: measured.recovery.map(|recovery| recovery.as_secs_f64()),
            unexpected_ends: measured.unexpected_ends,
            answers_go_on: scenario.answers_go_on(),
            faults: Vec::new(),
            notes: measured.notes,
            audit_faults: audit.faults.clone(),
        };
        let mut faults = Vec::new();
        let mut fault = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        fault(outcome.lost, "lost");
        fault(outcome.duplicated, "duplicated");
        fault(outcome.out_of_order, "out of order");
        fault(outcome.altered, "altered");
        fault(
            measured.api_differs,
            "transactions differ between API and export",
        );
        fault(
            measured.false_outcomes,
            "outcomes of commands contradict what the charger did",
        );
        fault(
            audit.repeated_commands + audit.unrecorded_commands,
            "commands were received twice or have no record",
        );
        fault(outcome.unexpected_ends, "processes ended unexpectedly");
        if outcome.acknowledged == 0 {
            faults.push("no message was answered".to_owned());
        }
        if !measured.drained {
            faults.push("chargers still have queued messages".to_owned());
        }
        if !measured.is_ready {
            faults.push("not every part is ready again".to_owned());
        }
        if !measured.had_effect {
            faults.push("the fault had no effect, so nothing is proved".to_owned());
        }
        faults.extend(measured.broken_promises);
        if outcome.recovery_s.is_none() {
            faults.push("not all stored in time".to_owned());
        }
        if outcome.answers_go_on && outcome.longest_without_answer() > answer_within {
            faults.push(format!(
                "no answer for {:.1} s",
                outcome.longest_without_answer().as_secs_f64()
            ));
        }
        if scenario.some_answers_go_on() && measured.longest_gap > answer_within {
            faults.push(format!(
                "no charger got an answer for {:.1} s",
                measured.longest_gap.as_secs_f64()
            ));
        }
        outcome.faults = faults;
        outcome
    }

    /// The longer of the longest wait and the longest gap.
    pub(super) fn longest_without_answer(&self) -> Duration {
        Duration::from_secs_f64(self.longest_wait_s.max(self.longest_gap_s))
    }

    pub(super) fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> (Report, Measured) {
        let report = Report {
            messages: 100,
            acknowledged: 98,
            ..Report::default()
        };
        let measured = Measured {
            chargers: 10,
            sent: 100,
            longest_wait: Duration::from_millis(300),
            longest_gap: Duration::from_millis(20),
            recovery: Some(Duration::from_secs(2)),
            unexpected_ends: 0,
            drained: true,
            is_ready: true,
            had_effect: true,
            broken_promises: Vec::new(),
            notes: Vec::new(),
            api_differs: 0,
            false_outcomes: 0,
            kept_apart: 0,
        };
        (report, measured)
    }

    fn judge(scenario: Scenario, report: &Report, measured: Measured) -> Outcome {
        let second = Duration::from_secs(1);
        Outcome::judge(scenario, false, "journal", report, measured, second)
    }

    #[test]
    fn a_clean_run_passes() {
        let (report, measured) = fine();
        let outcome = judge(Scenario::Rabbit, &report, measured);
        assert!(outcome.passed(), "{:?}", outcome.faults);
        assert_eq!(
            (outcome.sent, outcome.acknowledged, outcome.stored),
            (100, 98, 98)
        );
    }

    #[test]
    fn each_broken_promise_fails_the_scenario_and_is_named() {
        type Spoil = fn(&mut Report, &mut Measured);
        let cases: [(Spoil, &str); 20] = [
            (|report, _| report.missing = 3, "3 lost"),
            (|report, _| report.missing_transactions = 1, "1 lost"),
            (|report, _| report.discarded = 2, "2 lost"),
            (|report, _| report.unfinished_transactions = 2, "2 lost"),
            (|report, _| report.wrong_energy = 1, "1 altered"),
            (|report, _| report.duplicates_in_effect = 1, "1 duplicated"),
            (
                |report, _| report.duplicate_transactions = 1,
                "1 duplicated",
            ),
            (|report, _| report.out_of_order = 4, "4 out of order"),
            (|report, _| report.altered = 1, "1 altered"),
            (|report, _| report.wrong_answers = 1, "1 altered"),
            (
                |_, measured| measured.recovery = None,
                "not all stored in time",
            ),
            (
                |_, measured| measured.drained = false,
                "still have queued messages",
            ),
            (|_, measured| measured.is_ready = false, "not every part"),
            (|_, measured| measured.had_effect = false, "no effect"),
            (
                |_, measured| measured.broken_promises.push("no bypass".to_owned()),
                "no bypass",
            ),
            (
                |_, measured| measured.api_differs = 2,
                "2 transactions differ",
            ),
            (
                |_, measured| measured.false_outcomes = 2,
                "2 outcomes of commands",
            ),
            (|report, _| report.repeated_commands = 1, "1 commands"),
            (|report, _| report.unrecorded_commands = 1, "1 commands"),
            (
                |_, measured| measured.longest_gap = Duration::from_millis(1_300),
                "no answer for 1.3 s",
            ),
        ];
        for (spoil, named) in cases {
            let (mut report, mut measured) = fine();
            spoil(&mut report, &mut measured);
            let outcome = judge(Scenario::Database, &report, measured);
            assert!(!outcome.passed());
            let said = outcome.faults.join(", ");
            assert!(said.contains(named), "{said:?} does not contain {named:?}");
        }
    }

    #[test]
    fn missing_messages_are_not_counted_as_stored() {
        let (mut report, measured) = fine();
        report.missing = 3;
        assert_eq!(judge(Scenario::Rabbit, &report, measured).stored, 95);
    }

    #[test]
    fn damaged_record_kept_as_dead_letter_is_not_lost_and_a_second_missing_one_is() {
        let (mut report, mut measured) = fine();
        (report.missing, measured.kept_apart) = (1, 1);
        assert!(judge(Scenario::Damaged, &report, measured.clone()).passed());
        report.missing = 2;
        let outcome = judge(Scenario::Damaged, &report, measured.clone());
        assert_eq!((outcome.lost, outcome.stored), (1, 96));
        measured.kept_apart = 0;
        report.missing = 1;
        assert!(!judge(Scenario::Damaged, &report, measured).passed());
    }

    #[test]
    fn gap_without_answers_is_allowed_if_the_gateway_itself_is_killed() {
        let (report, mut measured) = fine();
        measured.longest_gap = Duration::from_secs(3);
        assert!(judge(Scenario::Everything, &report, measured.clone()).passed());
        assert!(!judge(Scenario::BlackHole, &report, measured.clone()).passed());
        let outcome = judge(Scenario::Rolling, &report, measured.clone());
        assert_eq!(outcome.faults, ["no charger got an answer for 3.0 s"]);
        // One charger may wait longer: its gateway was stopped.
        (measured.longest_gap, measured.longest_wait) = (Duration::ZERO, Duration::from_secs(3));
        assert!(judge(Scenario::Rolling, &report, measured).passed());
    }
}
