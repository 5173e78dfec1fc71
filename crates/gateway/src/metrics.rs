//! The gateway's metrics. All handles are registered once at the start, so that counting a message costs an atomic
//! addition and no look-up by label.

use crate::admission::auth::Share;
use crate::admission::handshake::Status;
use crate::admission::pending::Limit;
use crate::admission::unknown::UnknownShare;
use central::Quirk;
use central::record::{Notes, RecordKind};
use central::station::{RecordMeta, ResendCounts};
use common::metrics::{Metric, Unit};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use ocpp::{Version, action};
use std::time::Duration;

/// Every metric of this crate. A test of the binary holds it equal to the names in the code.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "wattpost_gateway_accept_failures_total",
        Unit::Count,
        "Connections that the operating system did not let the gateway accept",
    ),
    Metric::histogram(
        "wattpost_gateway_answer_seconds",
        Unit::Seconds,
        "Time from a charger's message to the answer",
    ),
    Metric::counter(
        "wattpost_gateway_auth_failures_total",
        Unit::Count,
        "Handshakes refused because of a wrong or missing password",
    ),
    Metric::gauge(
        "wattpost_gateway_backlog_bytes",
        Unit::Bytes,
        "Bytes of the journal that are not delivered yet",
    ),
    Metric::gauge(
        "wattpost_gateway_backlog_records",
        Unit::Count,
        "Records of the journal that are not delivered yet",
    ),
    Metric::gauge(
        "wattpost_gateway_clock_wrong",
        Unit::Bool,
        "Whether the clock is so wrong that chargers are refused",
    ),
    Metric::counter(
        "wattpost_gateway_command_queue_failures_total",
        Unit::Count,
        "Times that the queue of commands could not be used",
    ),
    Metric::counter(
        "wattpost_gateway_commands_claimed_total",
        Unit::Count,
        "Commands claimed from the queue",
    ),
    Metric::counter(
        "wattpost_gateway_commands_refused_total",
        Unit::Count,
        "Claimed commands that are never sent",
    ),
    Metric::counter(
        "wattpost_gateway_commands_released_total",
        Unit::Count,
        "Claimed commands that were given back without being sent",
    ),
    Metric::counter(
        "wattpost_gateway_commands_settled_total",
        Unit::Count,
        "Claims without an outcome that were settled from the journal and the database",
    ),
    Metric::gauge(
        "wattpost_gateway_connections",
        Unit::Count,
        "Chargers connected",
    ),
    Metric::counter(
        "wattpost_gateway_connections_closed_not_durable_total",
        Unit::Count,
        "Connections closed because a record could not be made durable",
    ),
    Metric::counter(
        "wattpost_gateway_connections_replaced_total",
        Unit::Count,
        "Connections closed because the same charger connected again",
    ),
    Metric::counter(
        "wattpost_gateway_deliveries_total",
        Unit::Count,
        "Batches delivered",
    ),
    Metric::counter(
        "wattpost_gateway_delivered_records_total",
        Unit::Count,
        "Records delivered",
    ),
    Metric::counter(
        "wattpost_gateway_delivery_failures_total",
        Unit::Count,
        "Batches that the sink refused",
    ),
    Metric::gauge(
        "wattpost_gateway_directory_age_seconds",
        Unit::Seconds,
        "Time since the database last confirmed which chargers may connect",
    ),
    Metric::gauge(
        "wattpost_gateway_directory_loaded",
        Unit::Bool,
        "Whether it is known which chargers may connect",
    ),
    Metric::gauge(
        "wattpost_gateway_durability_fallback",
        Unit::Bool,
        "Whether answers do not wait for RabbitMQ although they should",
    ),
    Metric::counter(
        "wattpost_gateway_durability_fallbacks_total",
        Unit::Count,
        "Times that answers stopped waiting for RabbitMQ",
    ),
    Metric::counter(
        "wattpost_gateway_handshakes_over_limit_total",
        Unit::Count,
        "Sockets refused or closed at a limit of unfinished handshakes",
    )
    .labels(&["limit", "result"]),
    Metric::counter(
        "wattpost_gateway_handshakes_total",
        Unit::Count,
        "Handshakes by HTTP status (or unfinished); the version only of accepted ones",
    )
    .labels(&["result", "version"]),
    Metric::gauge(
        "wattpost_gateway_handshakes_unfinished",
        Unit::Count,
        "Sockets whose handshake is not finished",
    ),
    Metric::gauge(
        "wattpost_gateway_journal_damaged_places",
        Unit::Count,
        "Places in the journal that are damaged and not delivered",
    ),
    Metric::counter(
        "wattpost_gateway_journal_unreadable_total",
        Unit::Count,
        "Reads of the journal that failed",
    ),
    Metric::counter(
        "wattpost_gateway_linger_refused_total",
        Unit::Count,
        "Closed sockets that were not kept open for their last message because too many were",
    ),
    Metric::gauge(
        "wattpost_gateway_lingering_sockets",
        Unit::Count,
        "Closed sockets kept open so that their last message is read",
    ),
    Metric::counter(
        "wattpost_gateway_messages_total",
        Unit::Count,
        "Records by kind; calls also by OCPP version and action",
    )
    .labels(&["kind", "version", "action"]),
    Metric::gauge(
        "wattpost_gateway_pace_messages_per_second",
        Unit::PerSecond,
        "Messages that may be answered per second while storing does not keep up",
    ),
    Metric::counter(
        "wattpost_gateway_paced_total",
        Unit::Count,
        "Answers held back because storing does not keep up",
    ),
    Metric::counter(
        "wattpost_gateway_password_checks_refused_total",
        Unit::Count,
        "Password checks refused because a queue was full",
    )
    .labels(&["share"]),
    Metric::gauge(
        "wattpost_gateway_queued_records",
        Unit::Count,
        "Records that wait in RabbitMQ, as the gateway knows",
    ),
    Metric::counter(
        "wattpost_gateway_quirks_total",
        Unit::Count,
        "Deviations from OCPP that were tolerated",
    )
    .labels(&["quirk"]),
    Metric::counter(
        "wattpost_gateway_redelivered_records_total",
        Unit::Count,
        "Records that the database lacked at a start and got again from the journal",
    ),
    Metric::counter(
        "wattpost_gateway_resends_total",
        Unit::Count,
        "Messages recognised as resends and answered as the first time: by their content, or by message id and content",
    )
    .labels(&["kind"]),
    Metric::counter(
        "wattpost_gateway_sink_changes_total",
        Unit::Count,
        "Changes between RabbitMQ and direct delivery",
    ),
    Metric::gauge(
        "wattpost_gateway_sink_direct",
        Unit::Bool,
        "Whether records are delivered to the database directly, without RabbitMQ",
    ),
    Metric::counter(
        "wattpost_gateway_sink_records_total",
        Unit::Count,
        "Records delivered, by route",
    )
    .labels(&["route"]),
    Metric::counter(
        "wattpost_gateway_unaccepted_held_total",
        Unit::Count,
        "Messages of chargers that are not accepted and had to wait",
    ),
    Metric::gauge(
        "wattpost_gateway_unfinished_bytes",
        Unit::Bytes,
        "Bytes of messages that are not complete",
    ),
    Metric::counter(
        "wattpost_gateway_unfinished_closed_total",
        Unit::Count,
        "Connections closed because of a message that was not complete",
    )
    .labels(&["reason"]),
    Metric::gauge(
        "wattpost_gateway_unknown_connections",
        Unit::Count,
        "Connections of unregistered chargers: in total, and of the peer address that has the most",
    )
    .labels(&["share"]),
    Metric::counter(
        "wattpost_gateway_unknown_refused_total",
        Unit::Count,
        "Handshakes of unregistered chargers refused at a limit",
    )
    .labels(&["share"]),
    Metric::gauge(
        "wattpost_gateway_waiting_bytes",
        Unit::Bytes,
        "Bytes of messages that wait for their turn",
    ),
    Metric::gauge(
        "wattpost_gateway_waiting_messages",
        Unit::Count,
        "Connections whose message waits for its turn",
    ),
];

/// The notes that are no quirks and are counted like them.
const NOTES: [(Notes, &str); 3] = [
    (Notes::TOLERATED, "tolerated"),
    (Notes::BASE64, "base64"),
    (Notes::TOKEN_UNVERIFIED, "token_unverified"),
];

/// The handles of all metrics.
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) handshakes_accepted: [Counter; 3],
    handshakes_refused: [Counter; Status::ALL.len()],
    pub(crate) handshakes_unfinished: Counter,
    /// By [`Limit`]: at a bound of unfinished handshakes a silent socket was closed, or a new one refused.
    over_limit: [[Counter; 2]; 2],
    pub(crate) pending_handshakes: Gauge,
    pub(crate) lingering: Gauge,
    pub(crate) accept_failures: Counter,
    pub(crate) auth_failures: Counter,
    /// By [`Share`]: the queue of password checks was full.
    passwords_busy: [Counter; Share::ALL.len()],
    unknown_connections: [Gauge; UnknownShare::ALL.len()],
    unknown_refused: [Counter; UnknownShare::ALL.len()],
    pub(crate) directory_loaded: Gauge,
    pub(crate) directory_age: Gauge,
    pub(crate) replaced: Counter,
    pub(crate) closed_not_durable: Counter,
    pub(crate) clock_wrong: Gauge,
    /// By the index in `action::all`; `None` for actions that no charger sends.
    calls: [Vec<Option<Counter>>; 3],
    calls_unknown: [Counter; 3],
    /// In the order of [`RecordKind::ALL`]; calls are counted above, by action.
    kinds: [Counter; RecordKind::ALL.len()],
    resends_by_content: Counter,
    resends_by_id: Counter,
    /// In the order of [`NOTES`].
    noted: [Counter; NOTES.len()],
    /// In the order of [`Quirk::ALL`].
    quirks: [Counter; Quirk::ALL.len()],
    answer_seconds: Histogram,
    pub(crate) delivered_records: Counter,
    pub(crate) delivery_failures: Counter,
    pub(crate) deliveries: Counter,
    pub(crate) journal_unreadable: Counter,
    pub(crate) journal_damaged_places: Gauge,
    pub(crate) backlog_records: Gauge,
    pub(crate) backlog_bytes: Gauge,
    pub(crate) queued_records: Gauge,
    pub(crate) pace_rate: Gauge,
    pub(crate) paced: Counter,
    pub(crate) waiting_messages: Gauge,
    pub(crate) unaccepted_held: Counter,
    pub(crate) unfinished_timeout: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let quirk = |name: &'static str| counter!("wattpost_gateway_quirks_total", "quirk" => name);
        let refused = |status: Status| counter!("wattpost_gateway_handshakes_total", "result" => status.code());
        Self {
            connections: gauge!("wattpost_gateway_connections"),
            handshakes_accepted: Version::ALL.map(|version| {
                counter!("wattpost_gateway_handshakes_total", "result" => "101", "version" => version.as_str())
            }),
            handshakes_refused: Status::ALL.map(refused),
            handshakes_unfinished: counter!("wattpost_gateway_handshakes_total", "result" => "unfinished"),
            over_limit: ["total", "address"].map(|limit| {
                ["silent_closed", "new_refused"].map(|result| {
                    counter!("wattpost_gateway_handshakes_over_limit_total", "limit" => limit, "result" => result)
                })
            }),
            pending_handshakes: gauge!("wattpost_gateway_handshakes_unfinished"),
            lingering: gauge!("wattpost_gateway_lingering_sockets"),
            accept_failures: counter!("wattpost_gateway_accept_failures_total"),
            auth_failures: counter!("wattpost_gateway_auth_failures_total"),
            passwords_busy: Share::ALL.map(|share| {
                counter!("wattpost_gateway_password_checks_refused_total", "share" => share.as_str())
            }),
            unknown_connections: UnknownShare::ALL.map(|share| {
                gauge!("wattpost_gateway_unknown_connections", "share" => share.as_str())
            }),
            unknown_refused: UnknownShare::ALL.map(|share| {
                counter!("wattpost_gateway_unknown_refused_total", "share" => share.as_str())
            }),
            directory_loaded: gauge!("wattpost_gateway_directory_loaded"),
            directory_age: gauge!("wattpost_gateway_directory_age_seconds"),
            replaced: counter!("wattpost_gateway_connections_replaced_total"),
            closed_not_durable: counter!("wattpost_gateway_connections_closed_not_durable_total"),
            clock_wrong: gauge!("wattpost_gateway_clock_wrong"),
            calls: Version::ALL.map(|version| {
                let call = |action: &'static str| counter!("wattpost_gateway_messages_total", "kind" => "call", "version" => version.as_str(), "action" => action);
                action::all(version).iter().map(|info| info.is_to_central().then(|| call(info.name))).collect()
            }),
            calls_unknown: Version::ALL.map(|version| {
                counter!("wattpost_gateway_messages_total", "kind" => "call", "version" => version.as_str(), "action" => "unknown")
            }),
            kinds: RecordKind::ALL.map(|kind| {
                counter!("wattpost_gateway_messages_total", "kind" => kind.as_str())
            }),
            resends_by_content: counter!("wattpost_gateway_resends_total", "kind" => "content"),
            resends_by_id: counter!("wattpost_gateway_resends_total", "kind" => "id"),
            noted: NOTES.map(|(_, name)| quirk(name)),
            quirks: Quirk::ALL.map(|one| quirk(one.as_str())),
            answer_seconds: histogram!("wattpost_gateway_answer_seconds"),
            delivered_records: counter!("wattpost_gateway_delivered_records_total"),
            delivery_failures: counter!("wattpost_gateway_delivery_failures_total"),
            deliveries: counter!("wattpost_gateway_deliveries_total"),
            journal_unreadable: counter!("wattpost_gateway_journal_unreadable_total"),
            journal_damaged_places: gauge!("wattpost_gateway_journal_damaged_places"),
            backlog_records: gauge!("wattpost_gateway_backlog_records"),
            backlog_bytes: gauge!("wattpost_gateway_backlog_bytes"),
            queued_records: gauge!("wattpost_gateway_queued_records"),
            pace_rate: gauge!("wattpost_gateway_pace_messages_per_second"),
            paced: counter!("wattpost_gateway_paced_total"),
            waiting_messages: gauge!("wattpost_gateway_waiting_messages"),
            unaccepted_held: counter!("wattpost_gateway_unaccepted_held_total"),
            unfinished_timeout: counter!("wattpost_gateway_unfinished_closed_total", "reason" => "time"),
        }
    }

    pub(crate) fn refused(&self, status: Status) {
        let index = Status::ALL.iter().position(|other| *other == status);
        if let Some(counter) = index.and_then(|index| self.handshakes_refused.get(index)) {
            counter.increment(1);
        }
    }

    /// A bound of unfinished handshakes was reached; the new socket was refused, or a silent one closed for it.
    pub(crate) fn over_limit(&self, limit: Limit, is_refused: bool) {
        let limit = match limit {
            Limit::Total => &self.over_limit[0],
            Limit::Address => &self.over_limit[1],
        };
        limit[usize::from(is_refused)].increment(1);
    }

    /// An unknown charger was refused because this share was used up.
    pub(crate) fn unknown_refused(&self, share: UnknownShare) {
        self.unknown_refused[share as usize].increment(1);
    }

    /// In the order of [`UnknownShare::ALL`].
    pub(crate) fn unknown_connections(&self, counts: [usize; UnknownShare::ALL.len()]) {
        for (gauge, count) in self.unknown_connections.iter().zip(counts) {
            gauge.set(count as f64);
        }
    }

    pub(crate) fn password_not_checked(&self, share: Share) {
        self.passwords_busy[share as usize].increment(1);
    }

    /// Counts an appended record.
    pub(crate) fn record(&self, record: RecordMeta) {
        if record.kind == RecordKind::Call {
            let version = record.version as usize;
            record
                .action
                .and_then(|name| {
                    let actions = action::all(record.version);
                    let found = actions.binary_search_by(|info| info.name.cmp(name)).ok()?;
                    self.calls[version].get(found)?.as_ref()
                })
                .unwrap_or(&self.calls_unknown[version])
                .increment(1);
        } else if let Some(counter) = self.kinds.get(record.kind as usize - 1) {
            counter.increment(1);
        }
        if record.notes != Notes::default() {
            for ((note, _), counter) in NOTES.iter().zip(&self.noted) {
                if record.notes.has(*note) {
                    counter.increment(1);
                }
            }
        }
        for quirk in Quirk::of(record.kind, record.notes) {
            self.quirks[quirk.index()].increment(1);
        }
    }

    /// Counts the messages that were recognised as resends.
    pub(crate) fn resent(&self, counts: ResendCounts) {
        for (counter, count) in [
            (&self.resends_by_content, counts.by_content),
            (&self.resends_by_id, counts.by_id),
        ] {
            if count > 0 {
                counter.increment(count.into());
            }
        }
    }

    /// Records the time from reading a message to releasing its answer.
    pub(crate) fn answered(&self, after: Duration) {
        self.answer_seconds.record(after.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use std::sync::Mutex;

    /// Collects the labels `version` and `action` of registered counters.
    #[derive(Default)]
    struct Actions(Mutex<Vec<(String, String)>>);

    impl Recorder for Actions {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let label = |name: &str| {
                let mut labels = key.labels().filter(|label| label.key() == name);
                labels.next().map(|label| label.value().to_owned())
            };
            if let (Some(version), Some(action)) = (label("version"), label("action")) {
                self.0.lock().expect("whole").push((version, action));
            }
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn only_actions_that_a_charger_may_send_are_counted_by_name() {
        let actions = Actions::default();
        metrics::with_local_recorder(&actions, Metrics::new);
        let named = actions.0.into_inner().expect("whole");
        for version in Version::ALL {
            for info in action::all(version) {
                let pair = (version.as_str().to_owned(), info.name.to_owned());
                assert_eq!(named.contains(&pair), info.is_to_central(), "{pair:?}");
            }
        }
    }
}
