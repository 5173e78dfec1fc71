//! The whole pipeline (RabbitMQ, PostgreSQL, each role as a process) compared with the Node.js baseline
//! (`bench/baseline-node`), in alternation on the same servers. All processes and the load share the cores of this
//! machine, so compare the ratios and the CPU times.

mod backlog;
mod commands;
mod deployment;

use crate::load::Measured;
use crate::report::load_at;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use deployment::{BatchSizes, Cpu, Deployment, System};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Interval at which a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What to measure. The defaults take about half an hour.
#[derive(Debug, Args)]
pub(crate) struct ChainPlan {
    /// Seconds per cell of the closed loop
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Rounds; each measures every system once, and the table shows the median
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of chargers in the closed loop
    #[arg(long, value_delimiter = ',', default_value = "1,50,500,2000")]
    chargers: Vec<u32>,
    /// Seconds for which a sustained rate must hold
    #[arg(long, default_value_t = 60.0)]
    sustained_seconds: f64,
    /// Records in RabbitMQ at the start of `backlog`
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Commands of which the time is measured
    #[arg(long, default_value_t = 1_000)]
    commands: usize,
    /// Parts to skip: `commands`, `closed`, `sustained`, `latency`, `backlog`
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Measure only these cells, `--seconds` each: `SYSTEM:CHARGERS[:RATE]`, such as `journal:200:8000`, with the rate in
    /// messages per second (no rate: closed loop) and one of the systems `journal`, `broker`, `node-early`, `node`
    #[arg(long, value_delimiter = ',')]
    at: Vec<CellSpec>,
}

/// A cell of `--at`.
#[derive(Debug, Clone, Copy)]
struct CellSpec {
    system: System,
    chargers: u32,
    rate: Option<f64>,
}

impl FromStr for CellSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let system = match next().unwrap_or_default() {
            "journal" => System::Journal,
            "broker" => System::Broker,
            "node-early" => System::NodeEarly,
            "node" => System::NodeConfirmed,
            other => {
                bail!("the system is `{other}`; it must be journal, broker, node-early or node")
            }
        };
        let chargers = next()
            .context("the number of chargers is missing: SYSTEM:CHARGERS[:RATE]")?
            .parse()?;
        let rate = next().map(str::parse).transpose()?;
        Ok(Self {
            system,
            chargers,
            rate,
        })
    }
}

pub(crate) fn run(plan: &ChainPlan) -> Result<()> {
    let mut deployment = Deployment::start()?;
    if !plan.at.is_empty() {
        return cells(&mut deployment, plan);
    }
    let wanted = |part: &str| !plan.without.iter().any(|name| name == part);
    if wanted("commands") {
        commands::run(&mut deployment, plan.commands)?;
    }
    if wanted("closed") {
        closed(&mut deployment, plan)?;
    }
    if wanted("latency") {
        latency(&mut deployment, plan)?;
    }
    if wanted("sustained") {
        sustained(&mut deployment, plan)?;
    }
    if wanted("backlog") {
        backlog::run(&mut deployment, plan.records)?;
    }
    Ok(())
}

/// What one cell measured.
struct Cell {
    measured: Measured,
    stored_per_second: f64,
    stored_at_end: u64,
    seconds: f64,
    cpu: Cpu,
    /// Whether the gateway fell back to the journal, so that some answers did not wait for RabbitMQ's confirm.
    fell_back: bool,
    batch_sizes: BatchSizes,
}

impl Cell {
    /// A note for the table.
    fn note(&self) -> &'static str {
        if self.fell_back {
            " (fell back to the journal at times)"
        } else {
            ""
        }
    }

    /// Number of answered messages, including the second of warm-up.
    fn answered(&self) -> f64 {
        self.measured.per_second() * self.seconds
    }
}

/// Measures one cell on a fresh instance of a system.
fn cell(
    deployment: &mut Deployment,
    system: System,
    chargers: u32,
    seconds: f64,
    rate: Option<f64>,
) -> Result<Cell> {
    let running = deployment.launch(system)?;
    let before = running.cpu(deployment)?;
    let started = Instant::now();
    let measured = load_at(running.ocpp(), chargers, seconds, rate)?;
    let elapsed = started.elapsed().as_secs_f64();
    let stored_at_end = running.stored(deployment)?;
    let mut cpu = running.cpu(deployment)?.since(before);
    cpu.load = measured.cpu_seconds;
    Ok(Cell {
        stored_per_second: stored_at_end as f64 / elapsed,
        stored_at_end,
        seconds: elapsed,
        measured,
        cpu,
        fell_back: running.fell_back()?,
        batch_sizes: running.batch_sizes()?,
    })
}

fn cells(deployment: &mut Deployment, plan: &ChainPlan) -> Result<()> {
    println!(
        "| chargers | messages/s | system | answered/s | stored/s | p50 / p99 ms | records per sync, per batch to RabbitMQ | CPU us per answered message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for &CellSpec {
        system,
        chargers,
        rate,
    } in &plan.at
    {
        let cell = cell(deployment, system, chargers, plan.seconds, rate)?;
        println!(
            "| {chargers} | {} | {system}{} | {:.0} | {:.0} | {:.2} / {:.2} | {:.1}, {:.1} | {} |",
            rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            cell.note(),
            cell.measured.per_second(),
            cell.stored_per_second,
            cell.measured.p50_us / 1e3,
            cell.measured.p99_us / 1e3,
            cell.batch_sizes.sync,
            cell.batch_sizes.batch,
            cell.cpu.per_message(cell.answered()),
        );
    }
    Ok(())
}

fn closed(deployment: &mut Deployment, plan: &ChainPlan) -> Result<()> {
    println!(
        "## Closed loop: each charger sends as soon as it is answered, {} s per cell, median of {} rounds\n",
        plan.seconds, plan.rounds
    );
    println!(
        "| chargers | system | acknowledged/s | ratio to reply after confirm | stored/s meanwhile | ratio | p50 / p99 ms | CPU us per acknowledged message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for &chargers in &plan.chargers {
        let mut cells: Vec<Vec<Cell>> = System::ALL.map(|_| Vec::new()).into();
        for round in 0..plan.rounds {
            for (of_system, system) in cells.iter_mut().zip(System::ALL) {
                of_system.push(cell(deployment, system, chargers, plan.seconds, None)?);
                eprintln!("{chargers} chargers, round {}: {system}", round + 1);
            }
        }
        let medians: Vec<Cell> = cells.into_iter().map(median).collect();
        let Some(reference) = System::ALL
            .iter()
            .zip(&medians)
            .find_map(|(system, cell)| (*system == System::NodeConfirmed).then_some(cell))
        else {
            continue;
        };
        for (system, cell) in System::ALL.iter().zip(&medians) {
            println!(
                "| {chargers} | {system}{} | {:.0} | **{:.2}** | {:.0} | {:.1} | {:.2} / {:.2} | {} |",
                cell.note(),
                cell.measured.per_second(),
                cell.measured.per_second() / reference.measured.per_second(),
                cell.stored_per_second,
                cell.stored_per_second / reference.stored_per_second,
                cell.measured.p50_us / 1e3,
                cell.measured.p99_us / 1e3,
                cell.cpu.per_message(cell.answered()),
            );
        }
    }
    println!();
    Ok(())
}

fn median(mut cells: Vec<Cell>) -> Cell {
    let fell_back = cells.iter().any(|cell| cell.fell_back);
    cells.sort_by(|a, b| a.measured.per_second().total_cmp(&b.measured.per_second()));
    Cell {
        fell_back,
        ..cells.swap_remove(cells.len() / 2)
    }
}

fn latency(deployment: &mut Deployment, plan: &ChainPlan) -> Result<()> {
    const RATE: f64 = 2_000.0;
    println!("## Open loop: 200 chargers, {RATE:.0} messages per second, 20 s\n");
    println!(
        "| system | answered/s | p50 ms | p99 ms | max ms | stored at the end | CPU us per message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for _ in 0..plan.rounds {
        for system in System::ALL {
            let cell = cell(deployment, system, 200, 20.0, Some(RATE))?;
            println!(
                "| {system}{} | {:.0} | {:.2} | {:.2} | {:.1} | {:.0} % | {} |",
                cell.note(),
                cell.measured.per_second(),
                cell.measured.p50_us / 1e3,
                cell.measured.p99_us / 1e3,
                cell.measured.max_us / 1e3,
                100.0 * cell.stored_at_end as f64 / cell.answered(),
                cell.cpu.per_message(cell.answered()),
            );
        }
    }
    println!();
    Ok(())
}

/// A rate counts as sustained if at the end at most this many seconds of messages are not stored yet: those in batches.
const IN_FLIGHT_S: f64 = 1.0;

/// The highest open-loop rate at which all acknowledged messages are also stored.
fn sustained(deployment: &mut Deployment, plan: &ChainPlan) -> Result<()> {
    println!(
        "## Sustained: the highest rate of 200 chargers without a growing backlog over {} s\n",
        plan.sustained_seconds
    );
    println!(
        "| system | messages/s | p50 / p99 ms | not stored yet at the end | CPU us per message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- |");
    for system in [System::Journal, System::Broker, System::NodeConfirmed] {
        let (rate, cell) = highest_rate(deployment, system, plan)?;
        println!(
            "| {system}{} | **{rate:.0}** | {:.2} / {:.2} | {:.0} | {} |",
            cell.note(),
            cell.measured.p50_us / 1e3,
            cell.measured.p99_us / 1e3,
            (cell.answered() - cell.stored_at_end as f64).max(0.0),
            cell.cpu.per_message(cell.answered()),
        );
    }
    println!();
    Ok(())
}

/// Finds the highest sustained rate: a binary search with short cells, then cells of the full duration, each 10 % lower
/// than the last one, until one is sustained.
fn highest_rate(
    deployment: &mut Deployment,
    system: System,
    plan: &ChainPlan,
) -> Result<(f64, Cell)> {
    let short = (plan.sustained_seconds / 4.0).min(15.0);
    let (mut sustained, mut failed) = (0.0, f64::INFINITY);
    let mut rate = 2_000.0;
    while failed / sustained > 1.1 {
        match sustains(deployment, system, short, rate)? {
            Some(_) => sustained = rate,
            None => failed = rate,
        }
        rate = match (sustained > 0.0, failed.is_finite()) {
            (true, false) => sustained * 1.6,
            (false, _) => failed / 1.6,
            (true, true) => f64::midpoint(sustained, failed),
        };
        ensure!(rate > 50.0, "{system} sustains no rate above 50/s");
    }
    let mut rate = sustained;
    loop {
        if let Some(cell) = sustains(deployment, system, plan.sustained_seconds, rate)? {
            return Ok((rate, cell));
        }
        rate *= 0.9;
        ensure!(rate > 50.0, "{system} sustains no rate above 50/s");
    }
}

fn sustains(
    deployment: &mut Deployment,
    system: System,
    seconds: f64,
    rate: f64,
) -> Result<Option<Cell>> {
    let cell = cell(deployment, system, 200, seconds, Some(rate))?;
    let not_stored = cell.answered() - cell.stored_at_end as f64;
    let is_sustained =
        cell.measured.per_second() >= 0.98 * rate && not_stored <= rate * IN_FLIGHT_S;
    eprintln!(
        "{system}: {rate:.0}/s for {seconds:.0} s: answered {:.0}/s, p99 {:.1} ms, {not_stored:.0} not stored yet: {}",
        cell.measured.per_second(),
        cell.measured.p99_us / 1e3,
        if is_sustained {
            "sustained"
        } else {
            "growing backlog"
        }
    );
    Ok(is_sustained.then_some(cell))
}

/// Waits until `condition` holds, at most for `timeout`.
fn until(timeout: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + timeout;
    while !condition()? {
        ensure!(
            Instant::now() < end,
            "timeout of {timeout:?} while waiting for {what}"
        );
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}
