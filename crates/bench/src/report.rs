//! The comparison with the echo server: measures all cells and prints the tables.

use crate::load::Measured;
use crate::process::Server;
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What to measure. The defaults take about four minutes.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Seconds per cell
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Pairs (echo, Wattpost) per row; a row shows the pair with the median ratio
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Numbers of chargers
    #[arg(long, value_delimiter = ',', default_value = "1,50,500,2000")]
    chargers: Vec<u32>,
    /// Idle connections in `memory`
    #[arg(long, default_value_t = 10_000)]
    idle: u32,
    /// Records in the journal in `restart`
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Parts to skip: `speed`, `sustained`, `memory`, `restart`
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
}

pub(crate) fn run(plan: &Plan) -> Result<()> {
    let wanted = |part: &str| !plan.without.iter().any(|name| name == part);
    if wanted("speed") {
        speed(plan)?;
    }
    if wanted("sustained") {
        sustained(plan)?;
    }
    if wanted("memory") {
        memory(plan)?;
    }
    if wanted("restart") {
        restart(plan)?;
    }
    Ok(())
}

struct Pair {
    echo: Measured,
    wattpost: Measured,
    echo_cpu_us: f64,
    wattpost_cpu_us: f64,
    applied_per_second: f64,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.wattpost.per_second() / self.echo.per_second()
    }
}

fn speed(plan: &Plan) -> Result<()> {
    println!(
        "## Acknowledged messages compared with a bare echo server, {} s per cell, median of {} pairs\n",
        plan.seconds, plan.pairs
    );
    println!(
        "| chargers | echo/s | acknowledged/s | **ratio** | all ratios | echo p50 / p99 ms | Wattpost p50 / p99 ms | CPU us per message, echo / Wattpost | stored/s meanwhile |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for &chargers in &plan.chargers {
        let mut pairs = (0..plan.pairs)
            .map(|_| pair(chargers, plan.seconds))
            .collect::<Result<Vec<_>>>()?;
        pairs.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let all: Vec<String> = pairs
            .iter()
            .map(|pair| format!("{:.2}", pair.ratio()))
            .collect();
        let median = &pairs[pairs.len() / 2];
        println!(
            "| {chargers} | {:.0} | {:.0} | **{:.2}** | {} | {:.2} / {:.2} | {:.2} / {:.2} | {:.1} / {:.1} | {:.0} |",
            median.echo.per_second(),
            median.wattpost.per_second(),
            median.ratio(),
            all.join(" "),
            median.echo.p50_us / 1e3,
            median.echo.p99_us / 1e3,
            median.wattpost.p50_us / 1e3,
            median.wattpost.p99_us / 1e3,
            median.echo_cpu_us,
            median.wattpost_cpu_us,
            median.applied_per_second,
        );
    }
    println!();
    Ok(())
}

/// Measures the echo server and Wattpost, each freshly started.
fn pair(chargers: u32, seconds: f64) -> Result<Pair> {
    let echo_server = Server::echo()?;
    let (echo, echo_cpu_us) = with_cpu(&echo_server, || {
        load(echo_server.address, chargers, seconds)
    })?;
    drop(echo_server);
    let data = TempDir::new()?;
    let server = Server::wattpost(data.path())?;
    let stored = server.metric(APPLIED)?;
    let started = Instant::now();
    let (wattpost, wattpost_cpu_us) =
        with_cpu(&server, || load(server.address, chargers, seconds))?;
    let applied_per_second = (server.metric(APPLIED)? - stored) / started.elapsed().as_secs_f64();
    Ok(Pair {
        echo,
        wattpost,
        echo_cpu_us,
        wattpost_cpu_us,
        applied_per_second,
    })
}

const APPLIED: &str = "wattpost_consumer_records_applied_total";

/// Measures after a run of the same length, so that pacing has made the acknowledged rate equal to the stored one.
fn sustained(plan: &Plan) -> Result<()> {
    let seconds = (plan.seconds * 8.0).max(20.0);
    let data = TempDir::new()?;
    let server = Server::wattpost(data.path())?;
    load(server.address, 500, seconds)?; // fills the backlog until pacing begins
    let stored = server.metric(APPLIED)?;
    let started = Instant::now();
    let measured = load(server.address, 500, seconds)?;
    let stored = (server.metric(APPLIED)? - stored) / started.elapsed().as_secs_f64();
    println!(
        "## 500 chargers that send without pause, {seconds} s after a run of the same length\n"
    );
    println!("| acknowledged/s | stored/s | p50 ms | p99 ms |\n| --- | --- | --- | --- |");
    println!(
        "| {:.0} | {stored:.0} | {:.1} | {:.1} |\n",
        measured.per_second(),
        measured.p50_us / 1e3,
        measured.p99_us / 1e3
    );
    Ok(())
}

fn memory(plan: &Plan) -> Result<()> {
    let data = TempDir::new()?;
    let server = Server::wattpost(data.path())?;
    // Some load first, so that memory which is allocated once, such as the database's page cache, is not counted.
    load(server.address, 100, 3.0)?;
    drop(hold(server.address, 100)?);
    let before = server.rss_bytes()?;
    let held = hold(server.address, plan.idle)?;
    let after = settled_rss(&server)?;
    println!("## Memory of an idle charger\n");
    println!(
        "| chargers | MiB before | MiB with them | **KiB per charger** |\n| --- | --- | --- | --- |"
    );
    println!(
        "| {} | {:.1} | {:.1} | **{:.2}** |\n",
        plan.idle,
        before as f64 / 1048576.0,
        after as f64 / 1048576.0,
        (after as f64 - before as f64) / 1024.0 / f64::from(plan.idle)
    );
    drop(held);
    Ok(())
}

/// The minimum within 5 s, because the allocator returns the memory of the handshakes with a delay.
fn settled_rss(server: &Server) -> Result<u64> {
    let mut least = server.rss_bytes()?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(250));
        least = least.min(server.rss_bytes()?);
    }
    Ok(least)
}

fn restart(plan: &Plan) -> Result<()> {
    let data = TempDir::new()?;
    let status = Command::new(std::env::current_exe()?)
        .args(["fill", "--records", &plan.records.to_string(), "--data-dir"])
        .arg(data.path())
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "failed to fill the journal");
    // As after a reboot, the journal is read from disk and not from the page cache. Without the permission to drop the
    // cache, a restart of the process alone is measured.
    let cold = std::fs::write("/proc/sys/vm/drop_caches", "1").is_ok();
    let started = Instant::now();
    let server = Server::wattpost(data.path())?;
    let listens = started.elapsed();
    load(server.address, 1, 0.01)?;
    // The load has a second of warm-up, which is subtracted. Its first message is sent at the beginning of the warm-up.
    let first_answer = started.elapsed().saturating_sub(Duration::from_secs(1));
    println!(
        "## Restart with {} undelivered records in the journal\n",
        plan.records
    );
    println!(
        "| page cache | ms until it listens | ms until the first answer, at most |\n| --- | --- | --- |"
    );
    println!(
        "| {} | {:.0} | {:.0} |\n",
        if cold { "dropped" } else { "kept" },
        listens.as_secs_f64() * 1e3,
        first_answer.as_secs_f64() * 1e3
    );
    Ok(())
}

fn with_cpu(server: &Server, run: impl FnOnce() -> Result<Measured>) -> Result<(Measured, f64)> {
    let before = server.cpu_seconds()?;
    let measured = run()?;
    let spent = server.cpu_seconds()? - before;
    // The CPU time includes the second of warm-up, so it is divided by the estimated answers of the whole run.
    let all = measured.answers as f64 * (measured.seconds + 1.0) / measured.seconds;
    Ok((measured, spent * 1e6 / all))
}

fn load(server: SocketAddr, chargers: u32, seconds: f64) -> Result<Measured> {
    load_at(server, chargers, seconds, None)
}

/// Runs the load in its own process: an open loop with a rate, else a closed loop.
pub(crate) fn load_at(
    server: SocketAddr,
    chargers: u32,
    seconds: f64,
    rate: Option<f64>,
) -> Result<Measured> {
    let prefix = format!("B{:x}-", Instant::now().elapsed().as_nanos());
    let output = Command::new(std::env::current_exe()?)
        .args(["load", "--server", &server.to_string()])
        .args(["--chargers", &chargers.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .args(["--prefix", &prefix])
        .args(rate.map(|rate| format!("--rate={rate}")))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "the load with {chargers} chargers failed"
    );
    serde_json::from_slice(&output.stdout).context("parse the result of the load")
}

/// A process with idle connections. Dropping it kills the process.
struct IdleConnections(std::process::Child);

impl Drop for IdleConnections {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hold(server: SocketAddr, chargers: u32) -> Result<IdleConnections> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["idle", "--server", &server.to_string()])
        .args(["--chargers", &chargers.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("the process has no stdout")?;
    let held = IdleConnections(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(
        line.starts_with("holding"),
        "failed to open the idle connections"
    );
    Ok(held)
}
