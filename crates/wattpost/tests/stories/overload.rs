//! Overload that lasts: 500 chargers send as fast as they are answered, against a small journal, with
//! the database healthy.

use crate::deployment::{Deployment, Fleet, until};
use crate::full_length;
use std::time::{Duration, Instant};

/// Answers slow down smoothly until what is acknowledged equals what is stored; no socket is closed,
/// nothing is lost, p99 stays under 5 s.
#[test]
fn overload_slows_answers_and_closes_no_socket() {
    let seconds = if full_length() { 60 } else { 15 };
    let mut deployment = Deployment::start("[journal]\nmax_bytes = \"16 MiB\"\n");
    let ledger = deployment.path("ledger.ndjson");
    let mut command = deployment.simulate();
    command
        .args([
            "--chargers",
            "500",
            "--scenario",
            "meter-flood",
            "--ramp",
            "1000",
        ])
        .args([
            "--reconnect",
            "0.1",
            "--retry-interval",
            "1",
            "--quiet",
            "--drain",
            "60",
            "--ledger",
        ])
        .arg(&ledger);
    let fleet = Fleet::start(&command, deployment.path("fleet.log"));

    let paced = until(Duration::from_secs(60), || {
        deployment.metric("wattpost_gateway_paced_total") > 0.0
    });
    assert!(
        paced,
        "the load is not enough to need pacing; log:\n{}",
        deployment.log_tail()
    );

    // From here on, what is acknowledged and what is stored must grow alike.
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
    let bound = f64::from(16 << 20);
    println!(
        "acknowledged {:.0}/s, stored {:.0}/s, journal at most {:.0} % full",
        answers / seconds,
        stored / seconds,
        100.0 * fullest / bound
    );
    assert!(
        answers <= stored * 1.1 + 2_000.0,
        "acknowledged {answers}, stored only {stored}"
    );
    assert!(
        fullest < bound * 0.9,
        "the journal came close to its bound: {fullest}"
    );

    let said = fleet.end(Duration::from_secs(90));
    assert!(
        said.contains("500 chargers, 500 connections"),
        "a socket was closed:\n{said}"
    );
    let p99 = p99_seconds(&said);
    assert!(p99 < 5.0, "p99 was {p99} s");
    deployment.stop_when_stored();
    println!("{said}\n{}", deployment.audit(&ledger));
}

/// From "answers p50 1.5ms p99 33.1ms max 1.20s".
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
