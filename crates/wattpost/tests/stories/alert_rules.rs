//! The rules in `packaging/prometheus/` and the queries in `packaging/grafana/` with Prometheus' own tool: each alert fires
//! when its cause begins, and is over after the cause has ended; nothing fires while all works.

use central::alert::machine::INHIBITIONS;
use central::alert::{PIPELINE_ALERTS, Severity, rules_of};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// When the cause of each case begins, in minutes.
const BEGINS: usize = 60;

/// One alert, and series whose values cause it for a while.
struct Case {
    name: &'static str,
    severity: Severity,
    series: Vec<(&'static str, Values)>,
    /// For how many minutes the cause lasts.
    lasts: usize,
    /// How many minutes after the beginning the alert fires.
    fires_after: usize,
    /// How many minutes after the end it is over.
    over_after: usize,
    /// Minutes between two samples and two evaluations.
    step: usize,
}

/// What a series does before, during and after the cause.
#[derive(Clone, Copy)]
enum Values {
    /// A gauge that has one value, then another.
    Gauge(f64, f64),
    /// A gauge that changes by so much each minute during the cause, from a value to which it returns.
    Ramp(f64, f64),
    /// A counter that grows by so much each minute before and after, and by so much during the cause.
    Counter(f64, f64),
}

impl Values {
    fn written(self, case: &Case) -> String {
        let step = case.step as f64;
        let before = BEGINS / case.step;
        let during = case.lasts / case.step;
        let after = (case.over_after + 60) / case.step;
        match self {
            Self::Gauge(usual, meanwhile) => {
                format!(
                    "{usual}x{} {meanwhile}x{} {usual}x{after}",
                    before - 1,
                    during - 1
                )
            }
            Self::Ramp(from, per_minute) => format!(
                "{from}x{} {from}{:+}x{} {from}x{after}",
                before - 1,
                per_minute * step,
                during - 1
            ),
            Self::Counter(usual, meanwhile) => {
                let (usual, meanwhile) = (usual * step, meanwhile * step);
                let at_begin = usual * before as f64;
                let at_end = at_begin + meanwhile * during as f64;
                format!(
                    "0+{usual}x{} {at_begin}+{meanwhile}x{} {at_end}+{usual}x{after}",
                    before - 1,
                    during - 1
                )
            }
        }
    }
}

fn case(name: &'static str, severity: Severity, series: Vec<(&'static str, Values)>) -> Case {
    Case {
        name,
        severity,
        series,
        lasts: 60,
        fires_after: 45,
        over_after: 120,
        step: 1,
    }
}

/// A case for each entry of the catalogue.
fn cases() -> Vec<Case> {
    use Severity::{Info, Page, Ticket};
    use Values::{Counter, Gauge, Ramp};
    let short = |case: Case| Case {
        lasts: 10,
        fires_after: 8,
        ..case
    };
    vec![
        case(
            "MessagesMissing",
            Page,
            vec![(
                r#"wattpost_pipeline_missing_records{instance="api"}"#,
                Gauge(0.0, 3.0),
            )],
        ),
        case(
            "StoredTooLate",
            Page,
            vec![
                (
                    r#"wattpost_consumer_stored_after_seconds_bucket{instance="c",le="10"}"#,
                    Counter(1000.0, 500.0),
                ),
                (
                    r#"wattpost_consumer_stored_after_seconds_count{instance="c"}"#,
                    Counter(1000.0, 1000.0),
                ),
                (
                    r#"wattpost_process_start_time_seconds{instance="gw"}"#,
                    Gauge(7.0, 7.0),
                ),
            ],
        ),
        // Fewer are late, and for hours.
        Case {
            lasts: 240,
            fires_after: 200,
            ..case(
                "StoredTooLate",
                Page,
                vec![
                    (
                        r#"wattpost_consumer_stored_after_seconds_bucket{instance="c",le="10"}"#,
                        Counter(1000.0, 990.0),
                    ),
                    (
                        r#"wattpost_consumer_stored_after_seconds_count{instance="c"}"#,
                        Counter(1000.0, 1000.0),
                    ),
                    (
                        r#"wattpost_process_start_time_seconds{instance="gw"}"#,
                        Gauge(7.0, 7.0),
                    ),
                ],
            )
        },
        Case {
            lasts: 3 * 1440,
            fires_after: 2 * 1440,
            over_after: 4 * 1440,
            step: 20,
            ..case(
                "StoredTooLateSlow",
                Ticket,
                vec![
                    (
                        r#"wattpost_consumer_stored_after_seconds_bucket{instance="c",le="10"}"#,
                        Counter(1000.0, 990.0),
                    ),
                    (
                        r#"wattpost_consumer_stored_after_seconds_count{instance="c"}"#,
                        Counter(1000.0, 1000.0),
                    ),
                ],
            )
        },
        case(
            "AnsweredTooLate",
            Page,
            vec![
                (
                    r#"wattpost_gateway_answer_seconds_bucket{instance="gw",le="1"}"#,
                    Counter(1000.0, 500.0),
                ),
                (
                    r#"wattpost_gateway_answer_seconds_count{instance="gw"}"#,
                    Counter(1000.0, 1000.0),
                ),
                (
                    r#"wattpost_process_start_time_seconds{instance="gw"}"#,
                    Gauge(7.0, 7.0),
                ),
            ],
        ),
        // Fewer are late, and for hours.
        Case {
            lasts: 240,
            fires_after: 200,
            ..case(
                "AnsweredTooLate",
                Page,
                vec![
                    (
                        r#"wattpost_gateway_answer_seconds_bucket{instance="gw",le="1"}"#,
                        Counter(1000.0, 990.0),
                    ),
                    (
                        r#"wattpost_gateway_answer_seconds_count{instance="gw"}"#,
                        Counter(1000.0, 1000.0),
                    ),
                    (
                        r#"wattpost_process_start_time_seconds{instance="gw"}"#,
                        Gauge(7.0, 7.0),
                    ),
                ],
            )
        },
        case(
            "DeadLetters",
            Page,
            vec![(
                r#"wattpost_store_dead_letters_total{instance="c"}"#,
                Counter(0.0, 20.0),
            )],
        ),
        case(
            "DeadLetters",
            Ticket,
            vec![(
                r#"wattpost_store_dead_letters_total{instance="c"}"#,
                Counter(0.0, 0.1),
            )],
        ),
        short(case(
            "JournalFull",
            Page,
            vec![(r#"wattpost_journal_full{instance="gw"}"#, Gauge(0.0, 1.0))],
        )),
        short(case(
            "NotDurableClosed",
            Page,
            vec![(
                r#"wattpost_gateway_connections_closed_not_durable_total{instance="gw"}"#,
                Counter(0.0, 10.0),
            )],
        )),
        case(
            "JournalFilling",
            Page,
            vec![
                (
                    r#"wattpost_journal_used_bytes{instance="gw"}"#,
                    Gauge(0.0, 600.0),
                ),
                (
                    r#"wattpost_journal_max_bytes{instance="gw"}"#,
                    Gauge(1000.0, 1000.0),
                ),
            ],
        ),
        // It grows fast enough to be full in less than four hours.
        case(
            "JournalFilling",
            Page,
            vec![
                (
                    r#"wattpost_journal_used_bytes{instance="gw"}"#,
                    Ramp(0.0, 7.0),
                ),
                (
                    r#"wattpost_journal_max_bytes{instance="gw"}"#,
                    Gauge(1000.0, 1000.0),
                ),
            ],
        ),
        case(
            "JournalOld",
            Page,
            vec![(
                r#"wattpost_journal_oldest_record_seconds{instance="gw"}"#,
                Ramp(0.0, 60.0),
            )],
        ),
        short(case(
            "JournalOld",
            Ticket,
            vec![(
                r#"wattpost_journal_oldest_record_seconds{instance="gw"}"#,
                Ramp(0.0, 60.0),
            )],
        )),
        short(case(
            "JournalDamaged",
            Page,
            vec![(
                r#"wattpost_gateway_journal_damaged_places{instance="gw"}"#,
                Gauge(0.0, 1.0),
            )],
        )),
        case(
            "SyncSlow",
            Ticket,
            vec![
                (
                    r#"wattpost_journal_sync_seconds_bucket{instance="gw",le="0.025"}"#,
                    Counter(100.0, 98.0),
                ),
                (
                    r#"wattpost_journal_sync_seconds_count{instance="gw"}"#,
                    Counter(100.0, 100.0),
                ),
            ],
        ),
        case(
            "DiskLow",
            Page,
            vec![
                (
                    r#"wattpost_process_data_dir_free_bytes{instance="gw"}"#,
                    Gauge(600.0, 30.0),
                ),
                (
                    r#"wattpost_process_data_dir_bytes{instance="gw"}"#,
                    Gauge(1000.0, 1000.0),
                ),
            ],
        ),
        case(
            "DiskLow",
            Ticket,
            vec![
                (
                    r#"wattpost_process_data_dir_free_bytes{instance="gw"}"#,
                    Gauge(600.0, 140.0),
                ),
                (
                    r#"wattpost_process_data_dir_bytes{instance="gw"}"#,
                    Gauge(1000.0, 1000.0),
                ),
            ],
        ),
        // Nobody would see that it is full in a day from the share that is free.
        case(
            "DiskLow",
            Ticket,
            vec![
                (
                    r#"wattpost_process_data_dir_free_bytes{instance="gw"}"#,
                    Gauge(480.0, 480.0),
                ),
                (
                    r#"wattpost_process_data_dir_bytes{instance="gw"}"#,
                    Gauge(1000.0, 1000.0),
                ),
                (
                    r#"wattpost_process_data_dir_full_in_seconds{instance="gw"}"#,
                    Gauge(400_000.0, 80_000.0),
                ),
            ],
        ),
        case(
            "BrokerLost",
            Page,
            vec![(
                r#"wattpost_broker_connected{instance="gw",role="gateway"}"#,
                Gauge(1.0, 0.0),
            )],
        ),
        short(case(
            "BrokerLost",
            Ticket,
            vec![(
                r#"wattpost_broker_connected{instance="gw",role="gateway"}"#,
                Gauge(1.0, 0.0),
            )],
        )),
        case(
            "BrokerBlocked",
            Page,
            vec![(
                r#"wattpost_broker_blocked{instance="gw",role="gateway"}"#,
                Gauge(0.0, 1.0),
            )],
        ),
        short(case(
            "BrokerRefuses",
            Page,
            vec![(
                r#"wattpost_broker_refusals_total{instance="gw"}"#,
                Counter(0.0, 5.0),
            )],
        )),
        case(
            "BrokerQueueDeep",
            Ticket,
            vec![
                (
                    r#"wattpost_broker_queued_records{instance="c"}"#,
                    Gauge(10.0, 600_000.0),
                ),
                (
                    r#"wattpost_broker_queued_records_max{instance="c"}"#,
                    Gauge(1_000_000.0, 1_000_000.0),
                ),
            ],
        ),
        // It grows, and nothing is near its bound.
        Case {
            lasts: 90,
            fires_after: 80,
            ..case(
                "BrokerQueueDeep",
                Ticket,
                vec![
                    (
                        r#"wattpost_broker_queued_records{instance="c"}"#,
                        Ramp(0.0, 500.0),
                    ),
                    (
                        r#"wattpost_broker_queued_records_max{instance="c"}"#,
                        Gauge(1_000_000.0, 1_000_000.0),
                    ),
                ],
            )
        },
        short(case(
            "NoConsumer",
            Page,
            vec![(
                r#"wattpost_consumer_consuming{instance="c"}"#,
                Gauge(1.0, 0.0),
            )],
        )),
        short(case(
            "Unroutable",
            Ticket,
            vec![(
                r#"wattpost_broker_returned_records_total{instance="gw"}"#,
                Counter(0.0, 1.0),
            )],
        )),
        case(
            "DurabilityFallback",
            Ticket,
            vec![(
                r#"wattpost_gateway_durability_fallback{instance="gw"}"#,
                Gauge(0.0, 1.0),
            )],
        ),
        case(
            "BypassActive",
            Ticket,
            vec![(
                r#"wattpost_gateway_sink_direct{instance="gw"}"#,
                Gauge(0.0, 1.0),
            )],
        ),
        short(case(
            "DatabaseLost",
            Page,
            vec![(
                r#"wattpost_consumer_database_up{instance="c"}"#,
                Gauge(1.0, 0.0),
            )],
        )),
        short(case(
            "DatabaseNotDurable",
            Page,
            vec![(r#"wattpost_store_durable{instance="c"}"#, Gauge(1.0, 0.0))],
        )),
        case(
            "Paced",
            Ticket,
            vec![(
                r#"wattpost_gateway_paced_total{instance="gw"}"#,
                Counter(0.0, 60.0),
            )],
        ),
        // The last success is at the beginning of Unix time, until maintenance succeeds again two days later.
        Case {
            lasts: 2 * 1440,
            fires_after: 1800,
            step: 20,
            ..case(
                "MaintenanceOverdue",
                Ticket,
                vec![(
                    r#"wattpost_maintenance_last_success_seconds{instance="c"}"#,
                    Gauge(180_000.0, 0.0),
                )],
            )
        },
        case(
            "EventsLate",
            Ticket,
            vec![(
                r#"wattpost_events_queued{instance="c"}"#,
                Gauge(3.0, 10_000.0),
            )],
        ),
        case(
            "WebhookSwitchedOff",
            Ticket,
            vec![(
                r#"wattpost_webhooks_switched_off_total{instance="api"}"#,
                Counter(0.0, 0.1),
            )],
        ),
        short(case(
            "PartGone",
            Page,
            vec![(r#"up{job="wattpost",instance="gw"}"#, Gauge(1.0, 0.0))],
        )),
        short(case(
            "RestartLoop",
            Page,
            vec![(
                r#"wattpost_process_start_time_seconds{instance="gw"}"#,
                Ramp(7.0, 60.0),
            )],
        )),
        short(case(
            "DirectoryUnknown",
            Page,
            vec![(
                r#"wattpost_gateway_directory_loaded{instance="gw"}"#,
                Gauge(1.0, 0.0),
            )],
        )),
        case(
            "DirectoryOld",
            Ticket,
            vec![(
                r#"wattpost_gateway_directory_age_seconds{instance="gw"}"#,
                Ramp(2.0, 60.0),
            )],
        ),
        short(case(
            "ClockWrong",
            Page,
            vec![(
                r#"wattpost_gateway_clock_wrong{instance="gw"}"#,
                Gauge(0.0, 1.0),
            )],
        )),
        Case {
            lasts: 20,
            fires_after: 10,
            ..case(
                "FleetDrop",
                Page,
                vec![
                    (
                        r#"wattpost_gateway_connections{instance="gw-1"}"#,
                        Gauge(500.0, 100.0),
                    ),
                    (
                        r#"wattpost_gateway_connections{instance="gw-2"}"#,
                        Gauge(500.0, 500.0),
                    ),
                ],
            )
        },
        case(
            "ConnectStorm",
            Ticket,
            vec![
                (
                    r#"wattpost_gateway_handshakes_total{instance="gw",result="503"}"#,
                    Counter(0.0, 50.0),
                ),
                (
                    r#"wattpost_gateway_handshakes_total{instance="gw",result="101",version="1.6"}"#,
                    Counter(10.0, 100.0),
                ),
            ],
        ),
        case(
            "WrongPasswords",
            Info,
            vec![(
                r#"wattpost_gateway_auth_failures_total{instance="gw"}"#,
                Counter(0.0, 60.0),
            )],
        ),
        case(
            "ApiErrors",
            Ticket,
            vec![
                (
                    r#"wattpost_api_requests_total{instance="api",route="/",status="500"}"#,
                    Counter(0.0, 50.0),
                ),
                (
                    r#"wattpost_api_requests_total{instance="api",route="/",status="200"}"#,
                    Counter(100.0, 100.0),
                ),
                (
                    r#"wattpost_process_start_time_seconds{instance="gw"}"#,
                    Gauge(7.0, 7.0),
                ),
            ],
        ),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs `promtool`, which must succeed.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .output()
        .expect("run promtool: `make setup` installs it");
    assert!(
        output.status.success(),
        "promtool {}:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A test in the format of promtool: whether an alert fires at these minutes.
fn promtool_test(rules: &Path, case: &Case, expected: &[(usize, bool)]) -> String {
    let mut text = format!(
        "rule_files: [{rules:?}]\nevaluation_interval: {step}m\ntests:\n  - interval: {step}m\n    input_series:\n",
        step = case.step
    );
    for (series, values) in &case.series {
        let _ = writeln!(
            text,
            "      - {{series: '{series}', values: '{}'}}",
            values.written(case)
        );
    }
    text.push_str("    promql_expr_test:\n");
    for (minute, fires) in expected {
        let _ = writeln!(
            text,
            "      - {{expr: 'count(ALERTS{{alertname=\"Wattpost{}\",severity=\"{}\",alertstate=\"firing\"}}) or vector(0)', \
             eval_time: {minute}m, exp_samples: [{{labels: '{{}}', value: {}}}]}}",
            case.name,
            case.severity.word(),
            u8::from(*fires),
        );
    }
    text
}

#[test]
fn each_rule_for_prometheus_fires_with_its_cause_and_is_over_after_it() {
    let rules = root().join("packaging/prometheus/wattpost.rules.yml");
    promtool(&["check", "rules", rules.to_str().expect("UTF-8")]);
    let cases = cases();
    let covered: BTreeSet<_> = cases
        .iter()
        .map(|case| (case.name, case.severity))
        .collect();
    let all: BTreeSet<_> = PIPELINE_ALERTS
        .iter()
        .filter(|alert| alert.name != ALWAYS)
        .map(|alert| (alert.name, alert.severity))
        .collect();
    assert_eq!(covered, all, "each alert needs a case");

    let dir = tempfile::tempdir().expect("a directory");
    let mut arguments = vec!["test".to_owned(), "rules".to_owned()];
    for (number, case) in cases.iter().enumerate() {
        let end = BEGINS + case.lasts;
        let quiet_at = BEGINS - case.step;
        let expected = [
            (quiet_at, false),
            (BEGINS + case.fires_after, true),
            (end + case.over_after, false),
        ];
        // Only the rules of this name: all of them for each case would take a quarter of a minute.
        let of_name = PIPELINE_ALERTS
            .iter()
            .filter(|alert| alert.name == case.name);
        let rules = dir.path().join(format!("{number}.rules.yml"));
        std::fs::write(&rules, rules_of(of_name)).expect("write");
        let path = dir.path().join(format!("{number}.yml"));
        std::fs::write(&path, promtool_test(&rules, case, &expected)).expect("write");
        arguments.push(path.to_str().expect("UTF-8").to_owned());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    promtool(&arguments);
}

/// The alert that fires as long as Prometheus evaluates.
const ALWAYS: &str = "Watchdog";

/// The usual values of all series of the cases, together: no alert fires, none is pending, but for [`ALWAYS`].
#[test]
fn no_rule_for_prometheus_fires_while_everything_works() {
    let rules = root().join("packaging/prometheus/wattpost.rules.yml");
    let rules = rules.canonicalize().expect("the rules");
    let mut series = Vec::new();
    let mut seen = BTreeSet::new();
    for case in cases() {
        for (name, values) in case.series {
            let calm = match values {
                Values::Gauge(usual, _) => Values::Gauge(usual, usual),
                Values::Ramp(from, _) => Values::Gauge(from, from),
                Values::Counter(usual, _) => Values::Counter(usual, usual),
            };
            if seen.insert(name) {
                series.push((name, calm));
            }
        }
    }
    let all = Case {
        series,
        ..case("", Severity::Info, Vec::new())
    };
    let text = promtool_test(&rules, &all, &[]);
    let text = format!(
        "{text}      - {{expr: 'count(ALERTS{{alertname!=\"Wattpost{ALWAYS}\"}}) or vector(0)', eval_time: 170m, exp_samples: [{{labels: '{{}}', value: 0}}]}}\n      \
         - {{expr: 'count(ALERTS{{alertname=\"Wattpost{ALWAYS}\",alertstate=\"firing\"}})', eval_time: 1m, exp_samples: [{{labels: '{{}}', value: 1}}]}}\n"
    );
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("calm.yml");
    std::fs::write(&path, text).expect("write");
    promtool(&["test", "rules", path.to_str().expect("UTF-8")]);
}

#[test]
fn the_example_for_alertmanager_has_what_one_alert_explains_of_others() {
    let path = root().join("packaging/prometheus/alertmanager.example.yml");
    let example = std::fs::read_to_string(&path).unwrap();
    let is_rule = |name: &str| PIPELINE_ALERTS.iter().any(|alert| alert.name == name);
    for (cause, explained) in INHIBITIONS {
        let explained: Vec<&str> = explained
            .iter()
            .copied()
            .filter(|name| is_rule(name))
            .collect();
        if explained.is_empty() {
            continue;
        }
        let explained = explained.join("|");
        let expected = format!(
            "  - source_matchers: [alertname = Wattpost{cause}]\n    target_matchers: [alertname =~ \"Wattpost({explained})\"]\n"
        );
        assert!(example.contains(&expected), "missing:\n{expected}");
    }
    // Every name in it is one of a rule.
    for word in example.split(|c: char| !c.is_ascii_alphanumeric()) {
        if let Some(name) = word
            .strip_prefix("Wattpost")
            .filter(|name| !name.is_empty())
        {
            assert!(is_rule(name), "{name}");
        }
    }
}

/// Each query of the dashboard for Grafana is valid, and reads metrics that are exported.
#[test]
fn queries_of_the_dashboard_for_grafana_are_valid() {
    let text = std::fs::read_to_string(root().join("packaging/grafana/wattpost.json"));
    let dashboard: serde_json::Value =
        serde_json::from_str(&text.expect("the dashboard")).expect("JSON");
    let mut rules = "groups:\n  - name: queries\n    rules:\n".to_owned();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().expect("a query");
            // Grafana replaces its variables before it asks Prometheus.
            let expr = expr
                .replace("$__rate_interval", "5m")
                .replace("$instance", ".*");
            let _ = writeln!(
                rules,
                "      - {{record: 'query:{}', expr: '{}'}}",
                queries.len(),
                expr.replace('\'', "''")
            );
            queries.push(expr);
        }
    }
    assert!(queries.len() > 20, "{}", queries.len());
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("queries.yml");
    std::fs::write(&path, rules).expect("write");
    promtool(&["check", "rules", path.to_str().expect("UTF-8")]);
    for query in &queries {
        assert_exported(query);
    }
}

#[test]
fn each_rule_for_prometheus_reads_metrics_that_are_exported() {
    for alert in PIPELINE_ALERTS {
        assert_exported(alert.expr);
    }
}

/// Panics if the query names a metric of Wattpost that docs/metrics.md does not have; a test holds the page equal to what
/// is exported.
fn assert_exported(query: &str) {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).expect("docs/metrics.md");
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    for part in query.split("wattpost_").skip(1) {
        let end = part.find(|char| !is_of_name(char)).unwrap_or(part.len());
        let name = format!("wattpost_{}", &part[..end]);
        let is_described = |name: &str| page.contains(&format!("| `{name}` |"));
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|end| name.strip_suffix(end))
            .any(is_described);
        assert!(
            is_described(&name) || of_histogram,
            "{name} is not exported: {query}"
        );
    }
}
