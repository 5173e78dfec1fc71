//! A backlog of a million records in RabbitMQ: the rate at which they are applied to PostgreSQL, its variation, and the
//! memory of the consumer, compared with a COPY of the same rows into tables of the same schema.

use super::deployment::{Deployment, System, Wattpost};
use super::until;
use crate::report::load_at;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

pub(crate) fn run(deployment: &mut Deployment, records: u64) -> Result<()> {
    let environment = deployment.environment()?;
    let wattpost = Wattpost::of(&environment, System::Journal);
    wattpost.migrate()?;
    let gateway = wattpost.start("gateway")?;
    let mut sent = 0_u64;
    while sent < records {
        let measured = load_at(gateway.address, 500, 10.0, None)?;
        sent += (measured.per_second() * (measured.seconds + 1.0)) as u64;
        eprintln!("{sent} records sent");
    }
    until(Duration::from_secs(600), "an empty journal", || {
        Ok(gateway.metric("wattpost_journal_waiting_records")? == 0.0)
    })?;
    drop(gateway);

    let rabbit = deployment.servers.rabbit.cpu_seconds();
    let postgres = deployment.servers.postgres.cpu_seconds();
    let started = Instant::now();
    let consumer = wattpost.start("consumer")?;
    let mut samples: Vec<(f64, u64, u64)> = Vec::new();
    let mut unchanged = 0;
    while unchanged < 10 {
        std::thread::sleep(Duration::from_millis(500));
        let applied = consumer.metric("wattpost_consumer_records_applied_total")? as u64;
        let before = samples.last().map_or(0, |(_, applied, _)| *applied);
        unchanged = if applied == before && applied > 0 {
            unchanged + 1
        } else {
            0
        };
        samples.push((
            started.elapsed().as_secs_f64(),
            applied,
            consumer.rss_bytes()?,
        ));
        ensure!(
            started.elapsed() < Duration::from_secs(900),
            "timeout while waiting for the records to be applied"
        );
    }
    samples.truncate(samples.len() - unchanged + 1);
    let (took, applied, _) = *samples.last().context("no sample of the consumer")?;
    let cpu = |before: f64, now: f64| (now - before) * 1e6 / applied as f64;
    let consumer_us = consumer.cpu_seconds()? * 1e6 / applied as f64;
    let rabbit_us = cpu(rabbit, deployment.servers.rabbit.cpu_seconds());
    let postgres_us = cpu(postgres, deployment.servers.postgres.cpu_seconds());
    let (slowest, fastest) = slices(&samples);
    let memory = |share: f64| samples[(samples.len() as f64 * share) as usize].2 as f64 / 1048576.0;
    let (early, late) = (memory(0.2), memory(0.9));
    drop(consumer);
    let rows = |table: &str| -> Result<u64> {
        deployment
            .sql(&environment, &format!("SELECT count(*) FROM {table}"))?
            .parse()
            .context("a count")
    };
    let stored = rows("messages")?;

    let rate = applied as f64 / took;
    let copied = copy(deployment, &environment)?;
    println!(
        "## A backlog of {records} records in RabbitMQ, applied to PostgreSQL by one consumer\n"
    );
    println!(
        "| applied | seconds | records/s | slowest / fastest tenth | COPY of the same rows, records/s | **ratio** | consumer's memory MiB at 20 % / 90 % | CPU us per record: consumer / RabbitMQ / PostgreSQL |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    println!(
        "| {stored} | {took:.1} | **{rate:.0}** | {slowest:.0} / {fastest:.0} | {:.0} | **{:.2}** | {early:.0} / {late:.0} | {consumer_us:.0} / {rabbit_us:.0} / {postgres_us:.0} |\n",
        stored as f64 / copied,
        rate / (stored as f64 / copied),
    );
    deployment.clear(&environment)
}

/// Records per second in the slowest and in the fastest tenth of the time.
fn slices(samples: &[(f64, u64, u64)]) -> (f64, f64) {
    let size = (samples.len() / 10).max(1);
    let rates: Vec<f64> = samples
        .windows(size + 1)
        .step_by(size)
        .map(|slice| {
            let (from, to) = (slice[0], slice[size]);
            (to.1 - from.1) as f64 / (to.0 - from.0)
        })
        .collect();
    (
        rates.iter().copied().fold(f64::INFINITY, f64::min),
        rates.iter().copied().fold(0.0, f64::max),
    )
}

/// The seconds that COPY takes for the rows of messages and meter values, into tables with the same indexes and
/// partitions.
fn copy(deployment: &mut Deployment, full: &super::deployment::Environment) -> Result<f64> {
    let empty = deployment.environment()?;
    Wattpost::of(&empty, System::Journal).migrate()?;
    // The first two are not timed; rows of the others refer to theirs.
    let mut seconds = 0.0;
    for (table, is_timed) in [
        ("gateways", false),
        ("chargers", false),
        ("messages", true),
        ("meter_values", true),
    ] {
        let file = full.data_dir.join(format!("{table}.copy"));
        let file = file.to_str().context("a path in UTF-8")?;
        deployment.sql(
            full,
            &format!("\\copy (SELECT * FROM {table}) TO '{file}' (FORMAT binary)"),
        )?;
        let started = Instant::now();
        deployment.sql(
            &empty,
            &format!("\\copy {table} FROM '{file}' (FORMAT binary)"),
        )?;
        if is_timed {
            seconds += started.elapsed().as_secs_f64();
        }
    }
    deployment.clear(&empty)?;
    Ok(seconds)
}
