//! `wattpost simulate`: a fleet of chargers against any central system.

use crate::serve::StopSignals;
use anyhow::{Context, Result};
use clap::Args;
use simulator::{Fleet, FleetConfig, ResendIds, Scenario, VersionMix};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `wattpost simulate`.
///
/// Examples:
///   wattpost simulate                                   20 chargers that live a normal life
///   wattpost simulate --speed-up 60 --transactions-per-hour 20      the same, in a hurry
///   wattpost simulate --chargers 500 --scenario meter-flood --duration 30     load
///   wattpost simulate --ledger run.ndjson --duration 60 && wattpost audit --ledger run.ndjson
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SimulateArgs {
    /// Where to connect; `/IDENTITY` is appended
    #[arg(long, default_value = "ws://127.0.0.1:9000/ocpp")]
    url: String,
    /// How many chargers
    #[arg(long, default_value_t = 20, value_name = "N")]
    chargers: u32,
    /// What identities begin with; a number follows
    #[arg(long, default_value = "SIM-")]
    id_prefix: String,
    /// Number of the first charger
    #[arg(long, default_value_t = 1, value_name = "N")]
    first_number: u32,
    /// Basic-auth password of every charger
    #[arg(long, env = "WATTPOST_SIMULATE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Shares of versions, such as `1.6:2,2.0.1:1` or `2.1`
    #[arg(long, default_value_t = VersionMix::default())]
    versions: VersionMix,
    /// steady: a normal life; meter-flood: as much load as answers allow; idle: heartbeats only
    #[arg(long, default_value_t = Scenario::Steady)]
    scenario: Scenario,
    /// Connectors per charger
    #[arg(long, default_value_t = 1, value_name = "N")]
    connectors: u8,
    /// Transactions that begin per hour and connector (steady)
    #[arg(long, default_value_t = 2.0, value_name = "N")]
    transactions_per_hour: f64,
    /// Mean minutes of a transaction (steady)
    #[arg(long, default_value_t = 20.0, value_name = "MINUTES")]
    transaction_minutes: f64,
    /// Seconds between two meter values (steady)
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    meter_interval: f64,
    /// How much faster than life
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    speed_up: f64,
    /// End after this many seconds [default: at Ctrl-C]
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Each charger ends after this many meter values (meter-flood)
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// At most this many meter values per second and charger (meter-flood)
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// A transaction ends after this many meter values (meter-flood); 0: one for the whole run
    #[arg(long, default_value_t = 100, value_name = "N")]
    values_per_transaction: u64,
    /// Chargers that power up per second
    #[arg(long, default_value_t = 50.0, value_name = "N")]
    ramp: f64,
    /// Keep the chargers' queues in this directory, so that a killed simulator goes on where it was
    #[arg(long, value_name = "DIR")]
    queue_dir: Option<PathBuf>,
    /// Failed transmissions until a transaction message is discarded (`TransactionMessageAttempts`)
    #[arg(long, default_value_t = 3, value_name = "N")]
    attempts: u32,
    /// Seconds before a resend, times the failures so far (`TransactionMessageRetryInterval`)
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    retry_interval: f64,
    /// Seconds until a call counts as unanswered
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    answer_timeout: f64,
    /// Message id of a resend: new or same
    #[arg(long, default_value_t = ResendIds::New)]
    resend_ids: ResendIds,
    /// A transmission in flight when the line drops counts as an attempt, as with some firmware
    #[arg(long)]
    lost_line_counts: bool,
    /// `StatusNotification`s overtake queued transaction messages, as with some firmware
    #[arg(long)]
    status_overtakes: bool,
    /// BootNotification at each reconnect, as with some firmware
    #[arg(long)]
    boot_on_reconnect: bool,
    /// 1.6: every StopTransaction carries transactionId -1, as with firmware that lost the id
    #[arg(long)]
    nameless_stops: bool,
    /// Seconds between heartbeats [default: what the answer to BootNotification says]
    #[arg(long, value_name = "SECONDS")]
    heartbeat_interval: Option<f64>,
    /// Seconds before a reconnect: what 1.6 chargers wait, and the least that 2.x chargers wait
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    reconnect: f64,
    /// Write each message with when it was acknowledged to this file, for `wattpost audit`
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// At the end, wait at most so many seconds until every queue is empty
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    drain: f64,
    /// Seed of all dice; 0: a new one each time
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// No live line
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the fleet; exit code 1 when messages stayed in the queues or were discarded.
pub(crate) fn run(args: SimulateArgs) -> Result<ExitCode> {
    let drain = Duration::try_from_secs_f64(args.drain)
        .with_context(|| format!("--drain is {}; give seconds, 0 or more", args.drain))?;
    let quiet = args.quiet;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(simulate(args.into_config(), drain, quiet))
}

async fn simulate(config: FleetConfig, drain: Duration, quiet: bool) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let ledger = config.ledger.clone();
    let fleet = Fleet::start(config).context("start the fleet")?;
    let mut live = LiveLine::new(!quiet);
    let mut earlier = fleet.stats();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.recv() => break,
            () = fleet.finished() => break,
            _ = ticks.tick() => {
                let now = fleet.stats();
                live.show(&now.line_since(&earlier));
                earlier = now;
            }
        }
    }
    live.end();
    if !drain.is_zero() {
        eprintln!(
            "stopping: running transactions end, queues empty (at most {drain:.0?}; Ctrl-C: at once)"
        );
    }
    let report = tokio::select! {
        report = fleet.stop(drain) => report,
        () = stop.recv() => anyhow::bail!("stopped at once; unanswered messages are not in the ledger"),
    };
    println!("{report}");
    if let Some(path) = ledger {
        println!("ledger: {}", path.display());
    }
    let whole = report.drained && report.stats.total().discarded == 0;
    Ok(if whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One line that is written over again on a terminal, and once every ten seconds elsewhere.
struct LiveLine {
    on: bool,
    terminal: bool,
    shown: u64,
}

impl LiveLine {
    fn new(on: bool) -> Self {
        Self {
            on,
            terminal: std::io::stderr().is_terminal(),
            shown: 0,
        }
    }

    fn show(&mut self, line: &str) {
        if !self.on {
            return;
        }
        if self.terminal {
            eprint!("\r\x1b[2K{line}");
        } else if self.shown.is_multiple_of(10) {
            eprintln!("{line}");
        }
        self.shown += 1;
    }

    fn end(&self) {
        if self.on && self.terminal && self.shown > 0 {
            eprintln!();
        }
    }
}

impl SimulateArgs {
    fn into_config(self) -> FleetConfig {
        FleetConfig {
            url: self.url,
            chargers: self.chargers,
            id_prefix: self.id_prefix,
            first_number: self.first_number,
            password: self.password,
            versions: self.versions,
            scenario: self.scenario,
            connectors: self.connectors,
            transactions_per_hour: self.transactions_per_hour,
            transaction_minutes: self.transaction_minutes,
            meter_interval_s: self.meter_interval,
            speed_up: self.speed_up,
            duration_s: self.duration,
            messages_per_charger: self.messages,
            rate_per_charger: self.rate,
            values_per_transaction: self.values_per_transaction,
            ramp_per_s: self.ramp,
            queue_dir: self.queue_dir,
            attempts: self.attempts,
            retry_interval_s: self.retry_interval,
            answer_timeout_s: self.answer_timeout,
            resend_ids: self.resend_ids,
            lost_line_counts: self.lost_line_counts,
            status_overtakes: self.status_overtakes,
            boot_on_reconnect: self.boot_on_reconnect,
            nameless_stops: self.nameless_stops,
            heartbeat_interval_s: self.heartbeat_interval,
            reconnect_s: self.reconnect,
            reconnect_jitter_s: self.reconnect,
            backoff_minimum_s: self.reconnect,
            backoff_range_s: self.reconnect,
            ledger: self.ledger,
            seed: self.seed,
            ..FleetConfig::default()
        }
    }
}
