//! Lasting overload: 500 chargers send as fast as they are answered, the journal is small, the database is available.

use crate::deployment::{Deployment, until};
use crate::full_length;
use std::time::{Duration, Instant};

/// Answers are slowed until as many messages are acknowledged as are stored. No connection is closed, nothing is lost,
/// and p99 stays below 5 s.
#[test]
fn overload_slows_answers_and_closes_no_connection() {
    let seconds = if full_length() { 60 } else { 15 };
    let mut deployment = Deployment::start_alone("[journal]\nbytes_max = \"16 MiB\"\n");
    let ledger = deployment.path("ledger.ndjson");
    let load = ["--ramp", "1000", "--reconnect", "0.1"];
    let fleet = deployment.meter_flood(&ledger, 500, &load);

    let is_paced = until(Duration::from_secs(60), || {
        deployment.metric("wattpost_gateway_paced_total") > 0.0
    });
    assert!(
        is_paced,
        "the load is too low for pacing; log:\n{}",
        deployment.log_tail()
    );

    // From here on, acknowledged and stored messages must grow at the same rate.
    let answers = deployment.metric("wattpost_gateway_answer_seconds_count");
    let stored = deployment.metric("wattpost_consumer_records_applied_total");
    let begun = Instant::now();
    let mut fullest = 0.0_f64;
    until(Duration::from_secs(seconds), || {
        fullest = fullest.max(deployment.metric("wattpost_journal_used_bytes"));
        false
    });
    let answers = deployment.metric("wattpost_gateway_answer_seconds_count") - answers;
    let stored = deployment.metric("wattpost_consumer_records_applied_total") - stored;
    let seconds = begun.elapsed().as_secs_f64();
    let limit = f64::from(16 << 20);
    println!(
        "acknowledged {:.0}/s, stored {:.0}/s, journal at most {:.0} % full",
        answers / seconds,
        stored / seconds,
        100.0 * fullest / limit
    );
    assert!(
        answers <= stored * 1.1 + 2_000.0,
        "acknowledged {answers}, stored only {stored}"
    );
    assert!(
        fullest < limit * 0.9,
        "the journal came close to its limit: {fullest}"
    );

    let report = fleet.end();
    assert!(
        report.contains("500 chargers, 500 connections"),
        "a connection was closed:\n{report}"
    );
    let p99 = p99_seconds(&report);
    assert!(p99 < 5.0, "p99 was {p99} s");
    deployment.stop_when_stored();
    println!("{report}\n{}", deployment.audit(&ledger));
}

/// The p99 in a report such as "answers p50 1.5ms p99 33.1ms max 1.20s".
fn p99_seconds(report: &str) -> f64 {
    let text = report
        .split_once("p99 ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .expect("a p99 in the report");
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1e-6)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e-3)
    } else {
        (text.trim_end_matches('s'), 1.0)
    };
    number.parse::<f64>().expect("a number") * factor
}
