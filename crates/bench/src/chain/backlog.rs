//! A million records wait in RabbitMQ: how fast are they applied to PostgreSQL, how steady, with how much
//! memory; beside a raw COPY of the very same rows into the very same tables.

use super::deployment::{Plant, System, Wattpost};
use super::until;
use crate::report::load_at;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

pub(crate) fn run(plant: &mut Plant, records: u64) -> Result<()> {
    let place = plant.place()?;
    let wattpost = Wattpost::of(&place, System::Journal);
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

    let rabbit = plant.rabbit.cpu_seconds();
    let postgres = plant.postgres.cpu_seconds();
    let begun = Instant::now();
    let consumer = wattpost.start("consumer")?;
    let mut seen: Vec<(f64, u64, u64)> = Vec::new();
    let mut still = 0;
    while still < 10 {
        std::thread::sleep(Duration::from_millis(500));
        let applied = consumer.metric("wattpost_consumer_records_applied_total")? as u64;
        let before = seen.last().map_or(0, |(_, applied, _)| *applied);
        still = if applied == before && applied > 0 {
            still + 1
        } else {
            0
        };
        seen.push((
            begun.elapsed().as_secs_f64(),
            applied,
            consumer.rss_bytes()?,
        ));
        ensure!(
            begun.elapsed() < Duration::from_secs(900),
            "the records were not applied"
        );
    }
    seen.truncate(seen.len() - still + 1);
    let (took, applied, _) = *seen.last().context("a figure")?;
    let cpu = |before: f64, now: f64| (now - before) * 1e6 / applied as f64;
    let consumer_us = consumer.cpu_seconds()? * 1e6 / applied as f64;
    let rabbit_us = cpu(rabbit, plant.rabbit.cpu_seconds());
    let postgres_us = cpu(postgres, plant.postgres.cpu_seconds());
    let (slowest, fastest) = slices(&seen);
    let memory = |share: f64| seen[(seen.len() as f64 * share) as usize].2 as f64 / 1048576.0;
    let (early, late) = (memory(0.2), memory(0.9));
    drop(consumer);
    let rows = |table: &str| -> Result<u64> {
        plant
            .sql(&place, &format!("SELECT count(*) FROM {table}"))?
            .parse()
            .context("a count")
    };
    let stored = rows("messages")?;

    let rate = applied as f64 / took;
    let copied = copy(plant, &place)?;
    println!(
        "## {records} records that waited in RabbitMQ, applied to PostgreSQL by one consumer\n"
    );
    println!(
        "| applied | seconds | records/s | slowest / fastest tenth | raw COPY of the same rows, records/s | **share** | consumer's memory MiB at 20 % / 90 % | CPU us a record: consumer / RabbitMQ / PostgreSQL |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    println!(
        "| {stored} | {took:.1} | **{rate:.0}** | {slowest:.0} / {fastest:.0} | {:.0} | **{:.2}** | {early:.0} / {late:.0} | {consumer_us:.0} / {rabbit_us:.0} / {postgres_us:.0} |\n",
        stored as f64 / copied,
        rate / (stored as f64 / copied),
    );
    plant.clear(&place)
}

/// Records per second of the slowest and the fastest tenth of the time.
fn slices(seen: &[(f64, u64, u64)]) -> (f64, f64) {
    let size = (seen.len() / 10).max(1);
    let rates: Vec<f64> = seen
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

/// Seconds that COPY takes for the rows of messages and meter values, into tables with the same indexes
/// and partitions.
fn copy(plant: &mut Plant, full: &super::deployment::Place) -> Result<f64> {
    let empty = plant.place()?;
    Wattpost::of(&empty, System::Journal).migrate()?;
    // What rows refer to by number must be there.
    let mut seconds = 0.0;
    for (table, is_timed) in [
        ("gateways", false),
        ("chargers", false),
        ("messages", true),
        ("meter_values", true),
    ] {
        let file = full.data_dir.join(format!("{table}.copy"));
        let file = file.to_str().context("a path in UTF-8")?;
        plant.sql(
            full,
            &format!("\\copy (SELECT * FROM {table}) TO '{file}' (FORMAT binary)"),
        )?;
        let begun = Instant::now();
        plant.sql(
            &empty,
            &format!("\\copy {table} FROM '{file}' (FORMAT binary)"),
        )?;
        if is_timed {
            seconds += begun.elapsed().as_secs_f64();
        }
    }
    plant.clear(&empty)?;
    Ok(seconds)
}
