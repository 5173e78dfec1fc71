//! What a scenario came to, and whether that is good enough.

use super::scenario::Scenario;
use serde::Serialize;
use simulator::audit::Report;
use std::time::Duration;

/// One scenario, played once.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    pub scenario: &'static str,
    pub name: &'static str,
    pub title: &'static str,
    pub durability: &'static str,
    /// Messages that chargers transmitted at least once.
    pub sent: u64,
    /// Of those, answered with a CALLRESULT.
    pub acknowledged: u64,
    /// Of the acknowledged, in the database.
    pub stored: u64,
    /// Acknowledged messages and transactions that are not there, and messages that chargers gave up.
    pub lost: u64,
    /// Of those that are not there, kept as dead letters because a disk damaged them; not counted as lost.
    pub kept_apart: u64,
    /// Messages and transactions that are there twice.
    pub duplicated: u64,
    /// Records in another order than their charger sent them in.
    pub out_of_order: u64,
    /// Records that hold something else than was sent or answered.
    pub altered: u64,
    /// From a transmission to its answer, at most.
    pub longest_wait_s: f64,
    /// Between two answers to anybody, at most.
    pub longest_quiet_s: f64,
    /// From the end of the fault until all that had been acknowledged by then was stored; none if the deadline came
    /// first.
    pub recovery_s: Option<f64>,
    /// Processes of ours that ended though nobody killed them.
    pub unexpected_ends: u64,
    /// Whether chargers must not notice anything.
    pub answers_go_on: bool,
    /// Empty when all is well.
    pub faults: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The first offenders that the audit found.
    pub offenders: Vec<String>,
}

/// What was measured beside the audit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub sent: u64,
    pub longest_wait: Duration,
    pub longest_quiet: Duration,
    pub recovery: Option<Duration>,
    pub unexpected_ends: u64,
    /// Whether the chargers could say all that they had to say in the end.
    pub drained: bool,
    /// Whether every part said in the end that it can do its work.
    pub whole: bool,
    /// Whether the fault was felt at all.
    pub felt: bool,
    /// What did not become of the fault, though it is promised.
    pub broken: Option<&'static str>,
    /// Transactions that the API shows otherwise than the export, or only one of them.
    pub api_differs: u64,
    /// Acknowledged messages that a disk damaged before they were stored, and that are kept as dead letters.
    pub kept_apart: u64,
}

impl Outcome {
    /// Holds what was found against what was promised. `answer_within`: the longest wait or quiet where chargers must
    /// not notice anything.
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
            longest_quiet_s: measured.longest_quiet.as_secs_f64(),
            recovery_s: measured.recovery.map(|recovery| recovery.as_secs_f64()),
            unexpected_ends: measured.unexpected_ends,
            // A process that is gateway and database at once is another matter than a gateway alone, but a locked
            // database must not be noticed there either.
            answers_go_on: scenario.answers_go_on(),
            faults: Vec::new(),
            notes: Vec::new(),
            offenders: audit.faults.clone(),
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
        fault(measured.api_differs, "transactions otherwise in the API");
        fault(outcome.unexpected_ends, "processes ended by themselves");
        if outcome.acknowledged == 0 {
            faults.push("no answers at all".to_owned());
        }
        if !measured.drained {
            faults.push("chargers could not say everything in the end".to_owned());
        }
        if !measured.whole {
            faults.push("not every part is ready again".to_owned());
        }
        if !measured.felt {
            faults.push("the fault was not felt, so nothing is proved".to_owned());
        }
        faults.extend(measured.broken.map(str::to_owned));
        if outcome.recovery_s.is_none() {
            faults.push("not all stored in time".to_owned());
        }
        if outcome.answers_go_on && outcome.longest_silence() > answer_within {
            faults.push(format!(
                "no answer for {:.1} s",
                outcome.longest_silence().as_secs_f64()
            ));
        }
        outcome.faults = faults;
        outcome
    }

    /// The longest time that anybody was without an answer, in either sense.
    pub(super) fn longest_silence(&self) -> Duration {
        Duration::from_secs_f64(self.longest_wait_s.max(self.longest_quiet_s))
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
            sent: 100,
            longest_wait: Duration::from_millis(300),
            longest_quiet: Duration::from_millis(20),
            recovery: Some(Duration::from_secs(2)),
            unexpected_ends: 0,
            drained: true,
            whole: true,
            felt: true,
            broken: None,
            api_differs: 0,
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
    fn each_broken_promise_fails_and_is_named() {
        type Spoil = fn(&mut Report, &mut Measured);
        let cases: [(Spoil, &str); 17] = [
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
                "could not say everything",
            ),
            (|_, measured| measured.whole = false, "not every part"),
            (|_, measured| measured.felt = false, "not felt"),
            (
                |_, measured| measured.broken = Some("no direct road"),
                "no direct road",
            ),
            (
                |_, measured| measured.api_differs = 2,
                "2 transactions otherwise",
            ),
            (
                |_, measured| measured.longest_quiet = Duration::from_millis(1_300),
                "no answer for 1.3 s",
            ),
        ];
        for (spoil, named) in cases {
            let (mut report, mut measured) = fine();
            spoil(&mut report, &mut measured);
            let outcome = judge(Scenario::Database, &report, measured);
            assert!(!outcome.passed());
            let said = outcome.faults.join(", ");
            assert!(said.contains(named), "{said:?} does not say {named:?}");
        }
    }

    #[test]
    fn what_is_missing_is_not_counted_as_stored() {
        let (mut report, measured) = fine();
        report.missing = 3;
        assert_eq!(judge(Scenario::Rabbit, &report, measured).stored, 95);
    }

    #[test]
    fn a_damaged_record_that_is_kept_is_not_lost_and_a_second_one_is() {
        let (mut report, mut measured) = fine();
        (report.missing, measured.kept_apart) = (1, 1);
        assert!(judge(Scenario::Rotten, &report, measured).passed());
        report.missing = 2;
        let outcome = judge(Scenario::Rotten, &report, measured);
        assert_eq!((outcome.lost, outcome.stored), (1, 96));
        measured.kept_apart = 0;
        report.missing = 1;
        assert!(!judge(Scenario::Rotten, &report, measured).passed());
    }

    #[test]
    fn silence_is_no_fault_where_the_gateway_itself_dies() {
        let (report, mut measured) = fine();
        measured.longest_quiet = Duration::from_secs(3);
        assert!(judge(Scenario::Everything, &report, measured).passed());
        assert!(!judge(Scenario::BlackHole, &report, measured).passed());
    }
}
