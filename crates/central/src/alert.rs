//! The catalogue of alerts: the one source of the rules for Prometheus (`packaging/prometheus/wattpost.rules.yml`), of
//! `docs/alerts.md`, and of the evaluation inside Wattpost, so that a rule and its description never differ.
//!
//! An alert is raised only for what needs a person. Each says what is at stake and what to do. Names of metrics are those
//! of `docs/metrics.md`.
//!
//! [`figures`] keeps what processes report, [`pipeline`], [`chargers`] and [`sites`] find the conditions that hold, and [`machine`]
//! decides which alerts are pending, fire and end, and who is told. None of them does I/O: the process that evaluates
//! hands in what it has read.

#[macro_use]
mod limits;

pub mod charger;
pub mod chargers;
pub mod figures;
pub mod machine;
pub mod pipeline;
mod settings;
pub mod sites;

pub use charger::{CHARGER_ALERTS, ChargerAlert};
pub use settings::{
    COUNTED_TIMES_MAX, OutOfRange, RESTARTS_MAX, RESTARTS_WITHIN_S_MAX, Thresholds,
};

use serde::{Deserialize, Serialize};

use std::fmt::Write as _;

/// How soon a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Now, also at night.
    Page,
    /// Within a working day.
    Ticket,
    /// When somebody looks.
    Info,
}

impl Severity {
    /// The value of the label `severity`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
            Self::Info => "info",
        }
    }

    /// The severity that this word spells.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Page, Self::Ticket, Self::Info]
            .into_iter()
            .find(|severity| severity.word() == word)
    }
}

/// An alert of either catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name. An alert of two severities has two rules.
    pub name: &'static str,
    /// How soon a person is needed.
    pub severity: Severity,
    /// `pipeline` or `chargers`.
    pub about: &'static str,
    /// The condition in words; empty if only Prometheus evaluates it.
    pub condition: &'static str,
    /// When it ends, in words.
    pub clears: &'static str,
    /// The condition as a query of Prometheus, for an alert of the pipeline.
    pub expr: Option<&'static str>,
    /// For how many seconds the condition holds before the alert fires.
    pub for_s: u32,
    /// For how many seconds the condition must not hold before the alert ends.
    pub keep_firing_s: u32,
    /// What is lost or at risk.
    pub at_stake: &'static str,
    /// What to do.
    pub to_do: &'static str,
    /// Whether it is judged only while the database is not late.
    #[serde(skip)]
    pub is_of_charger: bool,
    /// Whether each of its alerts is about one charger, a part of it or one site, so that many are told as one.
    #[serde(skip)]
    pub is_of_subjects: bool,
}

/// All alerts, those of the pipeline first.
pub fn rules() -> impl Iterator<Item = Rule> {
    let pipeline = PIPELINE_ALERTS.iter().map(|alert| Rule {
        name: alert.name,
        severity: alert.severity,
        about: "pipeline",
        condition: alert.condition,
        clears: "the condition has not held for keep_firing_s",
        expr: Some(alert.expr),
        for_s: alert.for_s,
        keep_firing_s: alert.keep_firing_s,
        at_stake: alert.at_stake,
        to_do: alert.to_do,
        is_of_charger: false,
        is_of_subjects: false,
    });
    let chargers = CHARGER_ALERTS.iter().map(|alert| Rule {
        name: alert.name,
        severity: alert.severity,
        about: "chargers",
        condition: alert.condition,
        clears: alert.clears,
        expr: None,
        for_s: alert.for_s,
        keep_firing_s: alert.keep_firing_s,
        at_stake: alert.at_stake,
        to_do: alert.to_do,
        is_of_charger: alert.is_of_charger,
        is_of_subjects: alert.is_of_subjects(),
    });
    pipeline.chain(chargers)
}

/// The alert of this name and severity.
#[must_use]
pub fn rule(name: &str, severity: Severity) -> Option<Rule> {
    rules().find(|rule| rule.name == name && rule.severity == severity)
}

/// The longest time of a rule that can be set, in seconds: 30 days.
pub const RULES_KEEP_S_MAX: u32 = 30 * 24 * 3_600;

/// An alert about the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineAlert {
    /// Its name, in Prometheus with `Wattpost` before it. An alert of two severities has two entries.
    pub name: &'static str,
    /// How soon a person is needed.
    pub severity: Severity,
    /// The condition in words, as Wattpost itself evaluates it; empty if only Prometheus does.
    pub condition: &'static str,
    /// The condition, as a query of Prometheus. It yields one series per alert; the label `instance` names the process, where one is meant.
    pub expr: &'static str,
    /// For how many seconds the condition holds before the alert fires.
    pub for_s: u32,
    /// For how many seconds it goes on firing after the condition has ended, so that a cause that flaps is one alert.
    pub keep_firing_s: u32,
    /// What has happened, in one sentence without a full stop; `{{ $labels.instance }}` and `{{ $value }}` are replaced.
    pub summary: &'static str,
    /// What is lost or at risk, for chargers and for those who use the data.
    pub at_stake: &'static str,
    /// What to do, the most probable cause first.
    pub to_do: &'static str,
}

use Severity::{Info, Page, Ticket};

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;

/// All alerts about the pipeline, the most urgent part first.
pub const PIPELINE_ALERTS: &[PipelineAlert] = &[
    // Messages
    PipelineAlert {
        name: "MessagesMissing",
        severity: Page,
        condition: "acknowledged messages are neither stored, nor waiting, nor dead letters",
        expr: "max(wattpost_pipeline_missing_records) > 0",
        for_s: 2 * MINUTE,
        keep_firing_s: 15 * MINUTE,
        summary: "{{ $value }} acknowledged messages are neither stored, nor waiting, nor dead letters",
        at_stake: "The promise: messages that chargers no longer keep may be lost.",
        to_do: "Stop upgrades and keep all journals. `GET /api/v1/pipeline` shows since when and at which gateway; compare with `wattpost audit`.",
    },
    PipelineAlert {
        name: "StoredTooLate",
        severity: Page,
        condition: "of the messages of the last hour, and of the last 5 minutes, more than 1.44 % were stored later than 10 s after their reception. Not in the first 15 minutes of the evaluation",
        expr: concat!(
            late!(
                "wattpost_consumer_stored_after_seconds",
                "10",
                limit!(burn),
                "1h",
                "5m"
            ),
            "\n",
            after!(limit!(burn_after_s)),
            "\nor ",
            late!(
                "wattpost_consumer_stored_after_seconds",
                "10",
                limit!(burn_slow),
                "6h",
                "30m"
            ),
            "\n",
            after!(3_600)
        ),
        for_s: 0,
        keep_firing_s: 15 * MINUTE,
        summary: "{{ $value | humanizePercentage }} of the messages of the last hour, or of the last 6 hours, were stored later than 10 seconds after their reception",
        at_stake: "At this rate, the month's allowance of late messages (0.1 %) is used up in two days. Nothing is lost.",
        to_do: "The longest bar on the page Pipeline of the dashboard says where messages wait.",
    },
    PipelineAlert {
        name: "StoredTooLateSlow",
        severity: Ticket,
        condition: "",
        expr: late!(
            "wattpost_consumer_stored_after_seconds",
            "10",
            0.001,
            "3d",
            "6h"
        ),
        for_s: 0,
        keep_firing_s: HOUR,
        summary: "{{ $value | humanizePercentage }} of the messages of three days were stored later than 10 seconds after their reception",
        at_stake: "The month's allowance of late messages (0.1 %) is used up before its end. Nothing is lost.",
        to_do: "Storing does not keep up at times: add consumers, or a faster database.",
    },
    PipelineAlert {
        name: "AnsweredTooLate",
        severity: Page,
        condition: "of the answers of the last hour, and of the last 5 minutes, more than 1.44 % took longer than a second. Not in the first 15 minutes of the evaluation",
        expr: concat!(
            late!(
                "wattpost_gateway_answer_seconds",
                "1",
                limit!(burn),
                "1h",
                "5m"
            ),
            "\n",
            after!(limit!(burn_after_s)),
            "\nor ",
            late!(
                "wattpost_gateway_answer_seconds",
                "1",
                limit!(burn_slow),
                "6h",
                "30m"
            ),
            "\n",
            after!(3_600)
        ),
        for_s: 0,
        keep_firing_s: 15 * MINUTE,
        summary: "{{ $value | humanizePercentage }} of the answers of the last hour, or of the last 6 hours, took longer than a second",
        at_stake: "Drivers wait at the chargers; above 30 seconds, chargers send their messages again.",
        to_do: "Look at `wattpost_journal_sync_seconds` (disk) and the CPU of the gateways; `wattpost_gateway_paced_total` that grows means that storing does not keep up.",
    },
    PipelineAlert {
        name: "DeadLetters",
        severity: Page,
        condition: "more than 100 messages became dead letters within 15 minutes",
        expr: concat!(
            "sum(increase(wattpost_store_dead_letters_total[15m])) > ",
            limit!(dead_letters)
        ),
        for_s: 0,
        keep_firing_s: HOUR,
        summary: "{{ $value | humanize }} messages became dead letters within 15 minutes",
        at_stake: "So many at once mean a fault of Wattpost or of a firmware. The messages are kept, and their transactions are incomplete.",
        to_do: "`wattpost deadletters list` shows the causes. After the cure, retry them all.",
    },
    PipelineAlert {
        name: "DeadLetters",
        severity: Ticket,
        condition: "a message became a dead letter within the last 15 minutes",
        expr: "sum(increase(wattpost_store_dead_letters_total[15m])) > 0",
        for_s: 0,
        keep_firing_s: HOUR,
        summary: "{{ $value | humanize }} messages became dead letters within 15 minutes",
        at_stake: "They are kept, and changed nothing: a transaction may lack its end or its energy.",
        to_do: "`wattpost deadletters list` shows the causes. Retry or discard each.",
    },
    // Journal and disk
    PipelineAlert {
        name: "JournalFull",
        severity: Page,
        condition: "the journal of a gateway takes no more messages",
        expr: "wattpost_journal_full == 1",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        summary: "the journal of {{ $labels.instance }} takes no more messages, so the gateway refuses chargers",
        at_stake: "Chargers keep their messages until their own memory is full.",
        to_do: "Bring back what the messages wait for (RabbitMQ or the database), or free disk space; see the part `journal` of `/health`.",
    },
    PipelineAlert {
        name: "NotDurableClosed",
        severity: Page,
        condition: "a gateway has closed connections within the last 15 minutes because messages could not be made durable",
        expr: "increase(wattpost_gateway_connections_closed_not_durable_total[15m]) > 0",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        summary: "{{ $labels.instance }} closed {{ $value | humanize }} connections because messages could not be made durable",
        at_stake: "Chargers keep their messages until their own memory is full.",
        to_do: "The part `journal` of `/health` names the cause: a full journal, a full disk, or a disk error.",
    },
    PipelineAlert {
        name: "JournalFilling",
        severity: Page,
        condition: "the journal of a gateway is half full, or it is a tenth full and at the rate of the last 15 minutes full within 4 hours",
        expr: concat!(
            "wattpost_journal_used_bytes / wattpost_journal_max_bytes > ",
            limit!(journal_share),
            "\nor (\n  predict_linear(wattpost_journal_used_bytes[15m], ",
            limit!(journal_full_in_s),
            ") > wattpost_journal_max_bytes\n  and wattpost_journal_used_bytes / wattpost_journal_max_bytes > ",
            limit!(journal_share_soon),
            "\n)"
        ),
        for_s: 5 * MINUTE,
        keep_firing_s: 10 * MINUTE,
        summary: "messages wait in the journal of {{ $labels.instance }}, and it is half full or will be full within 4 hours",
        at_stake: "When it is full, the gateway refuses chargers.",
        to_do: "Bring back RabbitMQ or the database, whichever is away. `wattpost status` shows both.",
    },
    PipelineAlert {
        name: "JournalOld",
        severity: Page,
        condition: "a message has waited in the journal of a gateway for more than 10 minutes",
        expr: concat!(
            "wattpost_journal_oldest_record_seconds > ",
            limit!(journal_very_old_s)
        ),
        for_s: MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "a message has waited in the journal of {{ $labels.instance }} for {{ $value | humanizeDuration }}",
        at_stake: "What users see is as old. Chargers are answered, and nothing is lost.",
        to_do: "`wattpost status` shows which part is away.",
    },
    PipelineAlert {
        name: "JournalOld",
        severity: Ticket,
        condition: "a message has waited in the journal of a gateway for more than a minute",
        expr: concat!(
            "wattpost_journal_oldest_record_seconds > ",
            limit!(journal_old_s)
        ),
        for_s: MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "a message has waited in the journal of {{ $labels.instance }} for {{ $value | humanizeDuration }}",
        at_stake: "What users see is as old. Chargers are answered, and nothing is lost.",
        to_do: "`wattpost status` shows which part is away, or storing does not keep up: add consumers.",
    },
    PipelineAlert {
        name: "JournalDamaged",
        severity: Page,
        condition: "the journal of a gateway has damaged places",
        expr: "wattpost_gateway_journal_damaged_places > 0",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        summary: "{{ $value }} places in the journal of {{ $labels.instance }} cannot be read, and what lies behind them is not delivered",
        at_stake: "Messages behind the first damaged place wait until a person decides. Chargers are answered.",
        to_do: "Check the disk. Stop the gateway, then `wattpost journal inspect` and `wattpost journal salvage --yes`.",
    },
    PipelineAlert {
        name: "SyncSlow",
        severity: Ticket,
        condition: "of the syncs of a journal in the last 5 minutes, which were 10 or more, more than 1 % took longer than 25 ms",
        expr: concat!(
            "1 - sum by (instance) (rate(wattpost_journal_sync_seconds_bucket{le=\"",
            limit!(sync_bucket),
            "\"}[5m])) / sum by (instance) (rate(wattpost_journal_sync_seconds_count[5m])) > ",
            limit!(sync_share),
            "\nand sum by (instance) (increase(wattpost_journal_sync_seconds_count[5m])) >= ",
            limit!(syncs)
        ),
        for_s: 10 * MINUTE,
        keep_firing_s: 10 * MINUTE,
        summary: "{{ $value | humanizePercentage }} of the syncs of the journal of {{ $labels.instance }} take longer than 25 ms",
        at_stake: "Every answer to a charger waits for a sync.",
        to_do: "Look at the disk: another program writes, the volume is limited, or it is about to fail.",
    },
    PipelineAlert {
        name: "DiskLow",
        severity: Page,
        condition: "less than 5 % of the disk of a process is free",
        expr: concat!(
            "wattpost_process_data_dir_free_bytes / wattpost_process_data_dir_bytes < ",
            limit!(disk_share_page)
        ),
        for_s: 5 * MINUTE,
        keep_firing_s: 10 * MINUTE,
        summary: "{{ $value | humanizePercentage }} of the disk of {{ $labels.instance }} is free",
        at_stake: "When it is full, the gateway refuses chargers.",
        to_do: "Free space, or shorten the retention; see *Disk space* in docs/operations.md.",
    },
    PipelineAlert {
        name: "DiskLow",
        severity: Ticket,
        condition: "less than 15 % of the disk of a process is free, or less than half and at the rate of the last day, or of the time since its start if that is an hour or more, none within a day",
        expr: concat!(
            "wattpost_process_data_dir_free_bytes / wattpost_process_data_dir_bytes < ",
            limit!(disk_share),
            "\nor (\n  wattpost_process_data_dir_full_in_seconds < ",
            limit!(disk_full_in_s),
            "\n  and wattpost_process_data_dir_free_bytes / wattpost_process_data_dir_bytes < ",
            limit!(disk_share_soon),
            "\n)"
        ),
        for_s: 30 * MINUTE,
        keep_firing_s: HOUR,
        summary: "the disk of {{ $labels.instance }} is nearly full, or will be within a day",
        at_stake: "When it is full, the gateway refuses chargers.",
        to_do: "Free space, or shorten the retention; see *Disk space* in docs/operations.md.",
    },
    // RabbitMQ
    PipelineAlert {
        name: "BrokerLost",
        severity: Page,
        condition: "a process has no connection to RabbitMQ",
        expr: "max by (instance) (wattpost_broker_connected) == 0",
        for_s: 15 * MINUTE,
        keep_firing_s: 2 * MINUTE,
        summary: "{{ $labels.instance }} has no connection to RabbitMQ",
        at_stake: "Nothing is lost: gateways deliver to the database directly, or messages wait in their journals.",
        to_do: "Look at RabbitMQ and its log; the part `rabbitmq` of `/health` has the error.",
    },
    PipelineAlert {
        name: "BrokerLost",
        severity: Ticket,
        condition: "a process has no connection to RabbitMQ",
        expr: "max by (instance) (wattpost_broker_connected) == 0",
        for_s: MINUTE,
        keep_firing_s: 2 * MINUTE,
        summary: "{{ $labels.instance }} has no connection to RabbitMQ",
        at_stake: "Nothing is lost: gateways deliver to the database directly, or messages wait in their journals.",
        to_do: "Look at RabbitMQ and its log; the part `rabbitmq` of `/health` has the error.",
    },
    PipelineAlert {
        name: "BrokerBlocked",
        severity: Page,
        condition: "RabbitMQ accepts no messages, because its memory or disk is nearly full",
        expr: "max by (instance) (wattpost_broker_blocked) == 1",
        for_s: MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "RabbitMQ accepts no messages of {{ $labels.instance }}",
        at_stake: "Nothing is lost: gateways deliver to the database directly, or messages wait in their journals.",
        to_do: "Free memory or disk of RabbitMQ; `rabbitmqctl status` names the alarm and the limits.",
    },
    PipelineAlert {
        name: "BrokerRefuses",
        severity: Page,
        condition: "RabbitMQ has refused messages of a process within the last 5 minutes",
        expr: "sum by (instance) (rate(wattpost_broker_refusals_total[5m])) > 0",
        for_s: MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "RabbitMQ refuses messages of {{ $labels.instance }}",
        at_stake: "Messages wait in the journal, or go to the database directly. Nothing is lost.",
        to_do: "A queue is full: start consumers. Or a policy of RabbitMQ limits it.",
    },
    PipelineAlert {
        name: "BrokerQueueDeep",
        severity: Ticket,
        condition: "the queues of RabbitMQ are half full, or they hold more than 10,000 messages and more than 30 minutes ago",
        expr: concat!(
            "max(wattpost_broker_queued_records) > ",
            limit!(queue_share),
            " * max(wattpost_broker_queued_records_max)\nor (\n  max(deriv(wattpost_broker_queued_records[30m])) > 0\n  and max(wattpost_broker_queued_records) > ",
            limit!(queue_records),
            "\n)"
        ),
        for_s: 5 * MINUTE,
        keep_firing_s: 10 * MINUTE,
        summary: "{{ $value | humanize }} messages wait in RabbitMQ, and they do not become fewer",
        at_stake: "What users see grows older.",
        to_do: "Add a consumer, or look why storing is slow: `wattpost_consumer_apply_seconds`.",
    },
    PipelineAlert {
        name: "NoConsumer",
        severity: Page,
        condition: "no running process takes messages from RabbitMQ",
        expr: "sum(wattpost_consumer_consuming) == 0",
        for_s: MINUTE,
        keep_firing_s: MINUTE,
        summary: "no consumer takes messages from RabbitMQ",
        at_stake: "Nothing is stored; messages wait in RabbitMQ.",
        to_do: "Start a consumer. If one runs, its `/health` names what it waits for.",
    },
    PipelineAlert {
        name: "Unroutable",
        severity: Ticket,
        condition: "RabbitMQ had no queue for a message within the last 15 minutes",
        expr: "sum(increase(wattpost_broker_returned_records_total[15m])) >= 1",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        summary: "RabbitMQ had no queue for {{ $value | humanize }} messages",
        at_stake: "Nothing is lost: the gateways keep them and declare the queues again.",
        to_do: "Somebody deletes queues or bindings of Wattpost; see docs/messages.md.",
    },
    PipelineAlert {
        name: "DurabilityFallback",
        severity: Ticket,
        condition: "a gateway answers chargers without waiting for RabbitMQ",
        expr: "wattpost_gateway_durability_fallback == 1",
        for_s: 5 * MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "{{ $labels.instance }} answers chargers without waiting for RabbitMQ",
        at_stake: "What is acknowledged now is only on the disk of this gateway, although `gateway.durability` is \"broker\".",
        to_do: "RabbitMQ is away or too slow for the load.",
    },
    PipelineAlert {
        name: "BypassActive",
        severity: Ticket,
        condition: "a gateway delivers to the database without RabbitMQ",
        expr: "wattpost_gateway_sink_direct == 1",
        for_s: 10 * MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "{{ $labels.instance }} delivers to the database without RabbitMQ",
        at_stake: "Other consumers of the messages get none meanwhile.",
        to_do: "Bring RabbitMQ back; the gateway returns to it by itself.",
    },
    // Storing
    PipelineAlert {
        name: "DatabaseLost",
        severity: Page,
        condition: "no process that stores messages reaches the database, or the API does not reach it",
        expr: "max(wattpost_consumer_database_up) == 0",
        for_s: MINUTE,
        keep_firing_s: MINUTE,
        summary: "the database takes no messages",
        at_stake: "Chargers are answered, and messages wait. Users see old data, and changes of chargers and tokens do not arrive.",
        to_do: "Look at PostgreSQL (or the disk, with SQLite); the part `database` of `/health` has the error.",
    },
    PipelineAlert {
        name: "DatabaseNotDurable",
        severity: Page,
        condition: "PostgreSQL may lose what it has committed",
        expr: "wattpost_store_durable == 0",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        summary: "PostgreSQL may lose what it has committed in a power cut, as {{ $labels.instance }} sees it",
        at_stake: "Stored messages: the journal and RabbitMQ have removed them.",
        to_do: "Turn on `fsync` and `full_page_writes` in PostgreSQL.",
    },
    PipelineAlert {
        name: "Paced",
        severity: Ticket,
        condition: "a gateway has delayed answers within the last 5 minutes because storing does not keep up",
        expr: "rate(wattpost_gateway_paced_total[5m]) > 0",
        for_s: 15 * MINUTE,
        keep_firing_s: 15 * MINUTE,
        summary: "{{ $labels.instance }} delays answers, because storing does not keep up",
        at_stake: "Chargers wait for their answers for up to 20 seconds.",
        to_do: "Add consumers, or a faster database.",
    },
    PipelineAlert {
        name: "MaintenanceOverdue",
        severity: Ticket,
        condition: "the maintenance of the database has not succeeded for a day",
        expr: concat!(
            "time() - max(wattpost_maintenance_last_success_seconds) > ",
            limit!(maintenance_s)
        ),
        for_s: 10 * MINUTE,
        keep_firing_s: 0,
        summary: "the maintenance of the database has not succeeded for {{ $value | humanizeDuration }}",
        at_stake: "Partitions for the next days are not made, and old rows are not deleted.",
        to_do: "The part `maintenance` of `/health` of a consumer has the error.",
    },
    PipelineAlert {
        name: "EventsLate",
        severity: Ticket,
        condition: "10,000 changes or more are not in the log of events",
        expr: concat!("max(wattpost_events_queued) >= ", limit!(events)),
        for_s: 10 * MINUTE,
        keep_firing_s: 10 * MINUTE,
        summary: "10,000 changes or more are not in the log of events yet",
        at_stake: "The dashboard, streams of events and webhooks are late. None misses an event.",
        to_do: "`wattpost_events_failures_total` that grows means that the log cannot be written; otherwise the database is slow.",
    },
    PipelineAlert {
        name: "WebhookSwitchedOff",
        severity: Ticket,
        condition: "a webhook was switched off within the last hour",
        expr: "sum(increase(wattpost_webhooks_switched_off_total[1h])) > 0",
        for_s: 0,
        keep_firing_s: HOUR,
        summary: "{{ $value | humanize }} webhooks were switched off: their receivers failed for 5 days, or answered 410 Gone",
        at_stake: "The receiver gets no events. They are kept for 30 days.",
        to_do: "`wattpost webhook list` names it. After the cure, enable it; it goes on where it was.",
    },
    // Processes
    PipelineAlert {
        name: "PartGone",
        severity: Page,
        condition: "a process has not reported for 20 s, and none of its role has replaced it on its machine; one without a journal is forgotten 10 minutes later",
        expr: "up{job=\"wattpost\"} == 0",
        for_s: MINUTE,
        keep_firing_s: MINUTE,
        summary: "{{ $labels.instance }} does not answer",
        at_stake: "A gateway's chargers connect to another one, if there is one. Messages in its journal wait for its start.",
        to_do: "Look at the log of its supervisor, and start it again.",
    },
    PipelineAlert {
        name: "RestartLoop",
        severity: Page,
        condition: "within `restarts_within_s` (15 minutes), a gateway was restarted more than `restarts` (3) times after it was killed or had failed, or as many processes of another role on one machine have ended so soon after their starts. Neither a take-over nor a stop counts",
        expr: concat!(
            "changes(wattpost_process_start_time_seconds[15m]) > ",
            limit!(restarts)
        ),
        for_s: 0,
        keep_firing_s: 30 * MINUTE,
        summary: "{{ $labels.instance }} was started {{ $value }} times within 15 minutes",
        at_stake: "Each time, the chargers of a gateway reconnect; a consumer stores nothing, and the API does not answer, until it has started.",
        to_do: "The last lines of its log, and whether it is killed for its memory (`dmesg`).",
    },
    PipelineAlert {
        name: "DirectoryUnknown",
        severity: Page,
        condition: "a gateway does not know which chargers there are",
        expr: "wattpost_gateway_directory_loaded == 0",
        for_s: MINUTE,
        keep_firing_s: MINUTE,
        summary: "{{ $labels.instance }} does not know which chargers there are, and refuses all",
        at_stake: "Chargers keep their messages, and drivers cannot charge where the charger needs an answer.",
        to_do: "The gateway has never reached the database: look at `database.url` and the database.",
    },
    PipelineAlert {
        name: "DirectoryOld",
        severity: Ticket,
        condition: "a gateway has not read chargers and tokens for more than 5 minutes",
        expr: concat!(
            "wattpost_gateway_directory_age_seconds > ",
            limit!(directory_age_s)
        ),
        for_s: 5 * MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "{{ $labels.instance }} has known of no change to chargers and tokens for {{ $value | humanizeDuration }}",
        at_stake: "A blocked token may charge, and a new charger is unknown.",
        to_do: "The part `directory` of `/health` has the error of the database.",
    },
    PipelineAlert {
        name: "ClockWrong",
        severity: Page,
        condition: "the clock of a gateway is absurd",
        expr: "wattpost_gateway_clock_wrong == 1",
        for_s: 0,
        keep_firing_s: MINUTE,
        summary: "the clock of {{ $labels.instance }} is wrong, so the gateway refuses chargers",
        at_stake: "Chargers keep their messages.",
        to_do: "Start NTP on the machine.",
    },
    // Chargers together
    PipelineAlert {
        name: "FleetDrop",
        severity: Page,
        condition: "fewer chargers are connected than 80 % of the most of the last 30 minutes, which were 20 or more",
        expr: concat!(
            "100 * sum(wattpost_gateway_connections) < (100 - ",
            limit!(fleet_drop_percent),
            ") * max_over_time(sum(wattpost_gateway_connections)[30m:1m])\nand max_over_time(sum(wattpost_gateway_connections)[30m:1m]) >= ",
            limit!(fleet_min)
        ),
        for_s: 2 * MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "too few chargers are connected: more than a fifth has gone within half an hour",
        at_stake: "Chargers that are offline are not controlled, and their drivers may not be able to charge.",
        to_do: "Look at the load balancer, its certificate and the mobile provider; `wattpost status` for the gateways.",
    },
    PipelineAlert {
        name: "ConnectStorm",
        severity: Ticket,
        condition: "more than 10 % of the handshakes of the last 5 minutes were put off with 503",
        expr: concat!(
            "sum(rate(wattpost_gateway_handshakes_total{result=\"503\"}[5m])) / sum(rate(wattpost_gateway_handshakes_total[5m])) > ",
            limit!(storm_share)
        ),
        for_s: 2 * MINUTE,
        keep_firing_s: 5 * MINUTE,
        summary: "{{ $value | humanizePercentage }} of the handshakes are put off with 503",
        at_stake: "Chargers come back after `Retry-After`: the storm ends by itself.",
        to_do: "Wait. If it stays, a gateway is missing or `/health` of one says why it refuses.",
    },
    PipelineAlert {
        name: "WrongPasswords",
        severity: Info,
        condition: "more than 0.2 handshakes a second of the last 15 minutes had a wrong or no password",
        expr: concat!(
            "sum(rate(wattpost_gateway_auth_failures_total[15m])) > ",
            limit!(wrong_passwords)
        ),
        for_s: 15 * MINUTE,
        keep_firing_s: HOUR,
        summary: "{{ $value | humanize }} handshakes a second have a wrong or no password",
        at_stake: "A charger with a wrong password is offline; or somebody tries passwords, which costs other chargers nothing.",
        to_do: "The page Waiting room (`GET /api/v1/handshakes`) names identities and addresses.",
    },
    PipelineAlert {
        name: "ApiErrors",
        severity: Ticket,
        condition: "of the answers of the API in the last hour, and in the last 5 minutes, more than 1.44 % were errors of the server. Not in the first 15 minutes of the evaluation",
        expr: concat!(
            "sum(rate(wattpost_api_requests_total{status=~\"5..\"}[1h])) / sum(rate(wattpost_api_requests_total[1h])) > ",
            limit!(burn),
            "\nand sum(rate(wattpost_api_requests_total{status=~\"5..\"}[5m])) / sum(rate(wattpost_api_requests_total[5m])) > ",
            limit!(burn),
            "\n",
            after!(limit!(burn_after_s))
        ),
        for_s: 5 * MINUTE,
        keep_firing_s: 15 * MINUTE,
        summary: "{{ $value | humanizePercentage }} of the API's answers of the last hour were errors of the server",
        at_stake: "Programs that use the API must try again. Chargers notice nothing.",
        to_do: "The log of the API processes; 503 `unavailable` means that the database does not answer.",
    },
    // The evaluation itself
    PipelineAlert {
        name: "Watchdog",
        severity: Info,
        condition: "",
        expr: "vector(1)",
        for_s: 0,
        keep_firing_s: 0,
        summary: "this alert fires as long as Prometheus evaluates alerts, so that something outside can notice when it does not arrive",
        at_stake: "Nothing. Without it, nobody is told of any alert.",
        to_do: "Nothing. Let Alertmanager send it every few minutes to a service that pages when it does not come (a dead man's switch), and to nobody else.",
    },
];

/// The rules for Prometheus, version 2.42 or later, as YAML.
#[must_use]
pub fn prometheus_rules() -> String {
    rules_of(PIPELINE_ALERTS.iter())
}

/// As [`prometheus_rules`], for some of the alerts.
#[must_use]
pub fn rules_of<'a>(alerts: impl Iterator<Item = &'a PipelineAlert>) -> String {
    let mut text = "# The alerts of Wattpost about the pipeline, for Prometheus 2.42 or later. docs/alerts.md describes them.\n\
         # Generated from crates/central/src/alert.rs by `make alerts-doc`: do not edit.\n\
         groups:\n  - name: wattpost\n    rules:\n"
        .to_owned();
    for alert in alerts {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "      - alert: Wattpost{}", alert.name);
        text.push_str("        expr: |\n");
        for line in alert.expr.lines() {
            let _ = writeln!(text, "          {line}");
        }
        if alert.for_s > 0 {
            let _ = writeln!(text, "        for: {}s", alert.for_s);
        }
        if alert.keep_firing_s > 0 {
            let _ = writeln!(text, "        keep_firing_for: {}s", alert.keep_firing_s);
        }
        let _ = writeln!(
            text,
            "        labels:\n          severity: {}\n        annotations:",
            alert.severity.word()
        );
        for (name, value) in [
            ("summary", alert.summary),
            ("at_stake", alert.at_stake),
            ("to_do", alert.to_do),
        ] {
            let _ = writeln!(text, "          {name}: {}", quoted(value));
        }
    }
    text
}

/// A string of YAML in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The tables of `docs/alerts.md`.
#[must_use]
pub fn alerts_page() -> String {
    let mut text = "### Of chargers\n\nOnly Wattpost itself evaluates these.\n\n| alert | severity | fires when | for | ends when | what is at stake | what to do |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    for alert in CHARGER_ALERTS {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            alert.name,
            alert.severity.word(),
            alert.condition,
            duration(alert.for_s),
            alert.clears,
            alert.at_stake,
            alert.to_do,
        );
    }
    text.push_str("\n### Of the pipeline, as Wattpost evaluates them\n\nEach ends when its condition has not held for the last column.\n\n| alert | severity | fires when | for | ends after |\n| --- | --- | --- | --- | --- |\n");
    for alert in PIPELINE_ALERTS {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            alert.name,
            alert.severity.word(),
            match alert.condition {
                "" => "only Prometheus evaluates it",
                condition => condition,
            },
            duration(alert.for_s),
            duration(alert.keep_firing_s),
        );
    }
    text.push_str("\n### Of the pipeline, as Prometheus evaluates them\n\n");
    text.push_str(&pipeline_alerts_table());
    text
}

fn pipeline_alerts_table() -> String {
    let mut text = "| alert | severity | fires when | for | what is at stake | what to do |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for alert in PIPELINE_ALERTS {
        let expr = alert.expr.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {} | {} | {} |",
            alert.name,
            alert.severity.word(),
            expr.replace('|', "\\|"),
            duration(alert.for_s),
            alert.at_stake,
            alert.to_do.replace('|', "\\|"),
        );
    }
    text
}

fn duration(seconds: u32) -> String {
    match seconds {
        0 => "at once".to_owned(),
        s if s % HOUR == 0 => format!("{} h", s / HOUR),
        s => format!("{} min", s / MINUTE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_alert_says_what_is_at_stake_and_what_to_do() {
        let mut seen = BTreeSet::new();
        for alert in rules() {
            assert!(
                seen.insert((alert.name, alert.severity)),
                "{} is there twice",
                alert.name
            );
            for words in [alert.at_stake, alert.to_do] {
                assert!(words.ends_with('.'), "{}: {words}", alert.name);
            }
            for words in [alert.condition, alert.clears] {
                assert!(!words.ends_with('.'), "{}: {words}", alert.name);
            }
            assert_eq!(alert.for_s % MINUTE, 0, "{}", alert.name);
        }
        for alert in PIPELINE_ALERTS {
            assert!(!alert.summary.ends_with('.'), "{}", alert.name);
        }
    }

    #[test]
    fn a_text_with_quotes_is_one_string_of_yaml() {
        assert_eq!(
            quoted("the month's {{ $value }}: x"),
            "'the month''s {{ $value }}: x'"
        );
    }
}
