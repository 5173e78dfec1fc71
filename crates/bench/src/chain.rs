//! The whole chain: RabbitMQ, PostgreSQL and every role as a process, beside the founding architecture
//! (`bench/baseline-node`) on the same servers, in turns. All of it and the load share this machine's
//! cores, so what counts are the ratios, and where the CPU time goes.

mod backlog;
mod deployment;

use crate::load::Measured;
use crate::report::load_at;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use deployment::{Cpu, Groups, Plant, System};
use std::str::FromStr;
use std::time::{Duration, Instant};

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
    /// Records that wait in RabbitMQ for the figure of applying
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Leave parts out: `closed`, `sustained`, `latency`, `backlog`
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Measure only such cells, for `--seconds` each: system, chargers and messages a second, as in
    /// `journal:200:8000` (no rate: closed loop); systems are `journal`, `broker`, `node-early`, `node`
    #[arg(long, value_delimiter = ',')]
    at: Vec<At>,
}

/// One cell by itself.
#[derive(Debug, Clone, Copy)]
struct At {
    system: System,
    chargers: u32,
    rate: Option<f64>,
}

impl FromStr for At {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let system = match next().unwrap_or_default() {
            "journal" => System::Journal,
            "broker" => System::Broker,
            "node-early" => System::NodeEarly,
            "node" => System::NodeConfirmed,
            other => bail!("`{other}` is none of `journal`, `broker`, `node-early`, `node`"),
        };
        let chargers = next().context("how many chargers?")?.parse()?;
        let rate = next().map(str::parse).transpose()?;
        Ok(Self {
            system,
            chargers,
            rate,
        })
    }
}

pub(crate) fn run(plan: &ChainPlan) -> Result<()> {
    let mut plant = Plant::start()?;
    if !plan.at.is_empty() {
        return cells(&mut plant, plan);
    }
    let wanted = |part: &str| !plan.without.iter().any(|name| name == part);
    if wanted("closed") {
        closed(&mut plant, plan)?;
    }
    if wanted("latency") {
        latency(&mut plant, plan)?;
    }
    if wanted("sustained") {
        sustained(&mut plant, plan)?;
    }
    if wanted("backlog") {
        backlog::run(&mut plant, plan.records)?;
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
    /// Whether some answers did not wait for RabbitMQ though they should.
    fell_back: bool,
    groups: Groups,
}

impl Cell {
    /// What must be known to read its figures.
    fn remark(&self) -> &'static str {
        if self.fell_back {
            " (fell back to the journal at times)"
        } else {
            ""
        }
    }

    /// Messages that were answered in all, the second of warming up included.
    fn answered(&self) -> f64 {
        self.measured.per_second() * self.seconds
    }
}

/// Runs a load against a fresh instance of a system.
fn cell(
    plant: &mut Plant,
    system: System,
    chargers: u32,
    seconds: f64,
    rate: Option<f64>,
) -> Result<Cell> {
    let running = plant.launch(system)?;
    let before = running.cpu(plant)?;
    let begun = Instant::now();
    let measured = load_at(running.ocpp(), chargers, seconds, rate)?;
    let elapsed = begun.elapsed().as_secs_f64();
    let stored_at_end = running.stored(plant)?;
    let mut cpu = running.cpu(plant)?.since(before);
    cpu.load = measured.cpu_seconds;
    Ok(Cell {
        stored_per_second: stored_at_end as f64 / elapsed,
        stored_at_end,
        seconds: elapsed,
        measured,
        cpu,
        fell_back: running.fell_back()?,
        groups: running.groups()?,
    })
}

fn cells(plant: &mut Plant, plan: &ChainPlan) -> Result<()> {
    println!(
        "| chargers | messages/s | system | answered/s | stored/s | p50 / p99 ms | records a sync, a batch to RabbitMQ | CPU us an answered message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for &At {
        system,
        chargers,
        rate,
    } in &plan.at
    {
        let cell = cell(plant, system, chargers, plan.seconds, rate)?;
        println!(
            "| {chargers} | {} | {system}{} | {:.0} | {:.0} | {:.2} / {:.2} | {:.1}, {:.1} | {} |",
            rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            cell.remark(),
            cell.measured.per_second(),
            cell.stored_per_second,
            cell.measured.p50_us / 1e3,
            cell.measured.p99_us / 1e3,
            cell.groups.sync,
            cell.groups.batch,
            cell.cpu.per_message(cell.answered()),
        );
    }
    Ok(())
}

fn closed(plant: &mut Plant, plan: &ChainPlan) -> Result<()> {
    println!(
        "## Closed loop: every charger sends as soon as it is answered, {} s a cell, median of {} rounds\n",
        plan.seconds, plan.rounds
    );
    println!(
        "| chargers | system | acknowledged/s | of reply after confirm | stored/s meanwhile | of its | p50 / p99 ms | CPU us an acknowledged message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for &chargers in &plan.chargers {
        let mut cells: Vec<Vec<Cell>> = System::ALL.map(|_| Vec::new()).into();
        for round in 0..plan.rounds {
            for (of_system, system) in cells.iter_mut().zip(System::ALL) {
                of_system.push(cell(plant, system, chargers, plan.seconds, None)?);
                eprintln!("{chargers} chargers, round {}: {system}", round + 1);
            }
        }
        let medians: Vec<Cell> = cells.into_iter().map(median).collect();
        let Some(yardstick) = System::ALL
            .iter()
            .zip(&medians)
            .find_map(|(system, cell)| (*system == System::NodeConfirmed).then_some(cell))
        else {
            continue;
        };
        for (system, cell) in System::ALL.iter().zip(&medians) {
            println!(
                "| {chargers} | {system}{} | {:.0} | **{:.2}** | {:.0} | {:.1} | {:.2} / {:.2} | {} |",
                cell.remark(),
                cell.measured.per_second(),
                cell.measured.per_second() / yardstick.measured.per_second(),
                cell.stored_per_second,
                cell.stored_per_second / yardstick.stored_per_second,
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

fn latency(plant: &mut Plant, plan: &ChainPlan) -> Result<()> {
    const RATE: f64 = 2_000.0;
    println!("## Open loop: 200 chargers, {RATE:.0} messages a second, 20 s\n");
    println!(
        "| system | answered/s | p50 ms | p99 ms | worst ms | stored at the end of | CPU us a message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for _ in 0..plan.rounds {
        for system in System::ALL {
            let cell = cell(plant, system, 200, 20.0, Some(RATE))?;
            println!(
                "| {system}{} | {:.0} | {:.2} | {:.2} | {:.1} | {:.0} % | {} |",
                cell.remark(),
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

/// Seconds of messages that may be on their way when a sustained rate is looked at: what is in batches,
/// not what piles up.
const ON_THEIR_WAY_S: f64 = 1.0;

/// The highest open-loop rate at which what is acknowledged is also stored.
fn sustained(plant: &mut Plant, plan: &ChainPlan) -> Result<()> {
    println!(
        "## Sustained: the highest rate of 200 chargers at which nothing piles up over {} s\n",
        plan.sustained_seconds
    );
    println!(
        "| system | messages/s | p50 / p99 ms | not stored yet at the end | CPU us a message: {} |",
        Cpu::NAMES
    );
    println!("| --- | --- | --- | --- | --- |");
    for system in [System::Journal, System::Broker, System::NodeConfirmed] {
        let (rate, cell) = highest(plant, system, plan)?;
        println!(
            "| {system}{} | **{rate:.0}** | {:.2} / {:.2} | {:.0} | {} |",
            cell.remark(),
            cell.measured.p50_us / 1e3,
            cell.measured.p99_us / 1e3,
            (cell.answered() - cell.stored_at_end as f64).max(0.0),
            cell.cpu.per_message(cell.answered()),
        );
    }
    println!();
    Ok(())
}

/// Looks with short cells first, then holds the rate for the whole time, a tenth lower until it holds.
fn highest(plant: &mut Plant, system: System, plan: &ChainPlan) -> Result<(f64, Cell)> {
    let short = (plan.sustained_seconds / 4.0).min(15.0);
    let (mut holds, mut fails) = (0.0, f64::INFINITY);
    let mut rate = 2_000.0;
    while fails / holds > 1.1 {
        match holds_at(plant, system, short, rate)? {
            Some(_) => holds = rate,
            None => fails = rate,
        }
        rate = match (holds > 0.0, fails.is_finite()) {
            (true, false) => holds * 1.6,
            (false, _) => fails / 1.6,
            (true, true) => f64::midpoint(holds, fails),
        };
        ensure!(rate > 50.0, "{system} holds no rate at all");
    }
    let mut rate = holds;
    loop {
        if let Some(cell) = holds_at(plant, system, plan.sustained_seconds, rate)? {
            return Ok((rate, cell));
        }
        rate *= 0.9;
        ensure!(rate > 50.0, "{system} holds no rate at all");
    }
}

fn holds_at(plant: &mut Plant, system: System, seconds: f64, rate: f64) -> Result<Option<Cell>> {
    let cell = cell(plant, system, 200, seconds, Some(rate))?;
    let waits = cell.answered() - cell.stored_at_end as f64;
    let holds = cell.measured.per_second() >= 0.98 * rate && waits <= rate * ON_THEIR_WAY_S;
    eprintln!(
        "{system}: {rate:.0}/s for {seconds:.0} s: answered {:.0}/s, p99 {:.1} ms, {waits:.0} not stored yet: {}",
        cell.measured.per_second(),
        cell.measured.p99_us / 1e3,
        if holds { "holds" } else { "piles up" }
    );
    Ok(holds.then_some(cell))
}

/// Waits for a condition that processes of ours bring about.
fn until(deadline: Duration, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + deadline;
    while !so()? {
        ensure!(
            Instant::now() < end,
            "{what} did not come to be within {deadline:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
