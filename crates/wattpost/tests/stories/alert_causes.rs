//! Which test causes each alert of the catalogue with real parts, and which one sees it end.
//!
//! The conditions themselves, and the queries of Prometheus, have tests on figures (`crates/central/src/alert`, `alert_rules`).
//! A cause that no test can make in its time has a reason here, so that nobody takes the absence of a test for an oversight.

use Severity::{Info, Page, Ticket};
use Shown::{By, Not};
use central::alert::{Severity, rules};
use std::collections::BTreeSet;
use std::path::Path;

/// What shows that an alert fires, or ends.
#[derive(Clone, Copy)]
enum Shown {
    /// A file of the tests, and a function in it that names the alert.
    By(&'static str, &'static str),
    /// Why no test does.
    Not(&'static str),
}

const ALERTS: &str = "stories/alerts.rs";
const OUTAGES: &str = "stories/outages.rs";
const PIPELINE: &str = "parts/pipeline.rs";

const FLAPS: Shown = By(
    ALERTS,
    "flapping_and_a_fault_are_told_once_and_a_silenced_fault_is_not",
);
const IS_LOST: Shown = By(
    ALERTS,
    "a_lost_charger_is_told_once_over_a_restart_and_ends_when_it_is_back",
);
const WRONG: Shown = By(
    ALERTS,
    "boots_clocks_meters_and_transactions_that_go_wrong_are_told_until_they_are_right",
);
const STRANGERS: Shown = By(
    ALERTS,
    "strangers_wrong_passwords_and_a_lost_fleet_are_told_until_they_are_right",
);
const STUCK: Shown = By(
    ALERTS,
    "a_charger_that_is_silent_stuck_or_opened_is_told_until_it_is_not",
);
const SITE: Shown = By(
    ALERTS,
    "a_site_whose_chargers_go_together_is_one_page_and_a_restart_of_ours_is_none",
);
const WEBHOOKS: Shown = By(
    ALERTS,
    "webhooks_get_an_alert_and_its_end_although_their_receivers_failed_at_first",
);
const MAILS: Shown = By(
    ALERTS,
    "mails_of_an_alert_arrive_also_when_the_server_was_down_at_first",
);
const UNCERTAIN: Shown = By(
    ALERTS,
    "a_command_of_which_nobody_knows_whether_it_was_received_is_told_until_somebody_has_looked",
);
const RESTARTS: Shown = By(
    ALERTS,
    "a_loop_of_kills_is_an_alert_and_a_stop_is_no_part_of_it",
);
const FULL_JOURNAL: Shown = By(
    OUTAGES,
    "full_journal_closes_connections_and_refuses_handshakes_until_there_is_space",
);
const FULL_DISK: Shown = By(OUTAGES, "full_disk_loses_nothing_acknowledged");
const EACH_PART: Shown = By(
    PIPELINE,
    "each_part_is_shown_as_down_while_it_fails_and_as_working_after_that",
);
const FULL_QUEUE: Shown = By(
    PIPELINE,
    "a_queue_that_fills_up_without_a_consumer_is_told_and_ends_when_it_is_emptied",
);
const ALARM: Shown = By(
    PIPELINE,
    "a_memory_alarm_of_rabbitmq_is_told_and_ends_with_it",
);
const NO_RECORD: Shown = By(
    "parts/dead_letters.rs",
    "message_that_is_no_record_is_listed_retried_and_discarded",
);

const DAMAGED: Shown = By(
    "stories/damaged.rs",
    "damaged_record_is_reported_at_once_and_all_others_are_delivered",
);

const ONLY_PROMETHEUS: Shown =
    Not("only Prometheus evaluates it; `promtool` does in `alert_rules`");
const QUARTER: Shown = Not(
    "a share is judged after 15 minutes of figures, so that a pause in a young process is none",
);
const TEN_MINUTES: Shown =
    Not("the condition is a time of 5 or 10 minutes, which no setting shortens");
const MINUTE: Shown = Not(
    "the condition is a time of a minute; while the database is away, another alert explains it",
);
const A_DAY: Shown = Not("the condition is a time of a day or more, which no setting shortens");
const SHORT: Shown = Not(
    "with the bypass a gateway leaves the fallback within seconds; `cluster` looks at its figure",
);
const TWICE: Shown = Not(
    "the database falls behind at each start on a slow machine, and what has come twice ends later",
);
const PROMISE: Shown =
    Not("a message that is missing would break the promise; no test can cause it");
const DISK: Shown =
    Not("a disk that is slow or wrong needs a device of its own, which a test has not");
const CLOCK: Shown = Not("the clock of the machine is that of all tests");
const HOURLY: Shown = Not("the maintenance of the database looks once an hour");

/// Name, severity, what shows that it fires, and that it ends.
const CAUSES: &[(&str, Severity, Shown, Shown)] = &[
    ("MessagesMissing", Page, PROMISE, PROMISE),
    ("StoredTooLate", Page, QUARTER, QUARTER),
    (
        "StoredTooLateSlow",
        Ticket,
        ONLY_PROMETHEUS,
        ONLY_PROMETHEUS,
    ),
    ("AnsweredTooLate", Page, QUARTER, QUARTER),
    (
        "DeadLetters",
        Page,
        Not("the condition is that of the ticket with a larger number"),
        Not("the condition is that of the ticket with a larger number"),
    ),
    ("DeadLetters", Ticket, NO_RECORD, NO_RECORD),
    ("JournalFull", Page, FULL_JOURNAL, FULL_JOURNAL),
    ("NotDurableClosed", Page, FULL_JOURNAL, FULL_JOURNAL),
    ("JournalFilling", Page, FULL_JOURNAL, FULL_JOURNAL),
    ("JournalOld", Page, TEN_MINUTES, TEN_MINUTES),
    ("JournalOld", Ticket, MINUTE, MINUTE),
    ("JournalDamaged", Page, DAMAGED, DAMAGED),
    ("SyncSlow", Ticket, DISK, DISK),
    ("DiskLow", Page, FULL_DISK, FULL_DISK),
    ("DiskLow", Ticket, FULL_DISK, FULL_DISK),
    ("BrokerLost", Page, TEN_MINUTES, TEN_MINUTES),
    ("BrokerLost", Ticket, EACH_PART, EACH_PART),
    ("BrokerBlocked", Page, ALARM, ALARM),
    ("BrokerRefuses", Page, FULL_QUEUE, FULL_QUEUE),
    ("BrokerQueueDeep", Ticket, FULL_QUEUE, FULL_QUEUE),
    ("NoConsumer", Page, FULL_QUEUE, FULL_QUEUE),
    (
        "Unroutable",
        Ticket,
        Not(
            "a gateway declares a queue that is missing before RabbitMQ returns a message, except in a race",
        ),
        Not(
            "a gateway declares a queue that is missing before RabbitMQ returns a message, except in a race",
        ),
    ),
    ("DurabilityFallback", Ticket, SHORT, SHORT),
    ("BypassActive", Ticket, ALARM, ALARM),
    ("DatabaseLost", Page, FULL_JOURNAL, FULL_JOURNAL),
    (
        "DatabaseNotDurable",
        Page,
        By("parts/maintenance.rs", "server_with_fsync_off_is_reported"),
        HOURLY,
    ),
    (
        "Paced",
        Ticket,
        Not("how much a gateway delays depends on the speed of the machine"),
        Not("how much a gateway delays depends on the speed of the machine"),
    ),
    ("MaintenanceOverdue", Ticket, A_DAY, A_DAY),
    (
        "EventsLate",
        Ticket,
        Not(
            "10,000 changes would have to wait for a log that cannot be written while the database answers",
        ),
        Not(
            "10,000 changes would have to wait for a log that cannot be written while the database answers",
        ),
    ),
    ("WebhookSwitchedOff", Ticket, WEBHOOKS, WEBHOOKS),
    ("PartGone", Page, EACH_PART, EACH_PART),
    ("RestartLoop", Page, RESTARTS, RESTARTS),
    ("DirectoryUnknown", Page, ALARM, ALARM),
    ("DirectoryOld", Ticket, TEN_MINUTES, TEN_MINUTES),
    ("ClockWrong", Page, CLOCK, CLOCK),
    ("FleetDrop", Page, STRANGERS, STRANGERS),
    ("ConnectStorm", Ticket, FULL_JOURNAL, FULL_JOURNAL),
    ("WrongPasswords", Info, STRANGERS, STRANGERS),
    ("ApiErrors", Ticket, QUARTER, QUARTER),
    ("Watchdog", Info, ONLY_PROMETHEUS, ONLY_PROMETHEUS),
    ("SiteOffline", Page, SITE, SITE),
    ("ChargerOffline", Ticket, IS_LOST, IS_LOST),
    ("ChargersLongOffline", Ticket, A_DAY, A_DAY),
    ("ChargerSilent", Ticket, STUCK, STUCK),
    ("ChargerFlapping", Ticket, FLAPS, FLAPS),
    ("BootLoop", Ticket, WRONG, WRONG),
    ("ConnectorFaulted", Page, FLAPS, FLAPS),
    ("ConnectorFaulted", Ticket, FLAPS, FLAPS),
    ("ConnectorStuck", Ticket, STUCK, STUCK),
    ("TransactionStuck", Ticket, WRONG, WRONG),
    ("MeterNotMoving", Ticket, WRONG, WRONG),
    ("ChargerClockWrong", Info, WRONG, WRONG),
    ("UnknownCharger", Info, STRANGERS, STRANGERS),
    ("WrongPassword", Ticket, STRANGERS, STRANGERS),
    ("ChargersNotJudged", Ticket, FULL_QUEUE, TWICE),
    ("CommandUncertain", Ticket, UNCERTAIN, UNCERTAIN),
    ("SecurityEvent", Page, STUCK, STUCK),
    ("SecurityEvent", Ticket, STUCK, STUCK),
    ("WebhookFailing", Ticket, WEBHOOKS, WEBHOOKS),
    ("NotifierFailing", Page, MAILS, MAILS),
    ("NotifierFailing", Ticket, MAILS, MAILS),
];

/// The text of a function of a file of the tests; `None` if there is none of this name.
fn function(file: &str, name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("a file of the tests");
    let begin = text.find(&format!("fn {name}("))?;
    let end = text[begin..].find("\n}\n")?;
    Some(text[begin..begin + end].to_owned())
}

#[test]
fn each_alert_is_caused_and_ended_by_a_test_or_has_a_reason_why_not() {
    let listed: BTreeSet<(&str, Severity)> = CAUSES
        .iter()
        .map(|(name, severity, ..)| (*name, *severity))
        .collect();
    assert_eq!(listed.len(), CAUSES.len(), "an alert is there twice");
    let all: BTreeSet<(&str, Severity)> = rules().map(|rule| (rule.name, rule.severity)).collect();
    assert_eq!(listed, all, "a row for each alert of the catalogue");
    for (name, _, fires, ends) in CAUSES {
        for shown in [fires, ends] {
            match shown {
                By(file, test) => {
                    let text = function(file, test);
                    let text = text.unwrap_or_else(|| panic!("{file} has no {test}"));
                    assert!(text.contains(name), "{test} in {file} does not name {name}");
                }
                Not(reason) => assert!(reason.len() > 20, "{name}: {reason}"),
            }
        }
    }
}
