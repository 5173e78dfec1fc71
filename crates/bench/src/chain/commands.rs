//! Commands to a charger: from the request to the API until its answer, with a process for each role, RabbitMQ and
//! PostgreSQL.

use super::deployment::{Deployment, System};
use super::until;
use crate::load::answer_calls;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The charger.
const IDENTITY: &str = "COMMANDED-1";
/// Commands before the measurement.
const WARM_UP: usize = 50;

/// Sends `count` commands one after another, then a tenth of them with pauses, and prints how long they took.
pub(crate) fn run(deployment: &mut Deployment, count: usize) -> Result<()> {
    ensure!(count > 0, "--commands must be at least 1");
    println!("## Commands: API to charger to API, one charger\n");
    let running = deployment.launch(System::Journal)?;
    let api_process = running.start_api()?;
    let api = api_process.address;
    let server = running.ocpp();
    // It ends with the connection, when the gateway is killed.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(answer_calls(server, IDENTITY))
    });
    let charger = format!("/api/v1/chargers/{IDENTITY}");
    until(Duration::from_secs(30), "the charger is shown", || {
        Ok(testbed::http::get(api, &charger)?.0 == 200)
    })?;
    let target = format!("POST {charger}/commands");
    let mut numbers = 0..;
    let mut send = |count: usize, pause: Duration| -> Result<Vec<f64>> {
        let mut took = Vec::with_capacity(count);
        for number in numbers.by_ref().take(count) {
            std::thread::sleep(pause);
            took.push(milliseconds(api, &target, number)?);
        }
        took.sort_unstable_by(f64::total_cmp);
        Ok(took)
    };
    send(WARM_UP, Duration::ZERO)?;
    println!("| requests | p50 ms | p99 ms | max ms |\n| --- | --- | --- | --- |");
    let spaced = (count / 10).max(1);
    let rows = [
        ("one after another", count, Duration::ZERO),
        ("four a second", spaced, Duration::from_millis(250)),
    ];
    for (name, count, pause) in rows {
        let took = send(count, pause)?;
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        println!("| {name}: {count} | {p50:.1} | {p99:.1} | {max:.1} |");
    }
    println!();
    Ok(())
}

/// Sends one command and returns how long it took until its answer.
fn milliseconds(api: SocketAddr, target: &str, number: usize) -> Result<f64> {
    let headers = format!(
        "Content-Type: application/json\r\nIdempotency-Key: {number}\r\nPrefer: wait=20\r\n"
    );
    let began = Instant::now();
    let body = r#"{"action": "ClearCache"}"#;
    let (status, _, body) = testbed::http::request(api, target, &headers, body)?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let command: serde_json::Value =
        serde_json::from_str(&body).context("read the answer of the API")?;
    ensure!(
        status == 200 && command["outcome"]["status"] == "Accepted",
        "the command was not answered: {body}"
    );
    Ok(ms)
}
