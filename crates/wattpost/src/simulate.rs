//! `wattpost simulate`: simulated chargers against any OCPP central system.

use crate::output::print_line;
use crate::serve::StopSignals;
use anyhow::{Context, Result};
use clap::Args;
use simulator::{CommandFault, Fleet, FleetConfig, ResendIds, Scenario, VersionMix};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Command faults (--command-fault):
  reject          not carried out; answered with status Rejected or the like
  error           not carried out; answered with CALLERROR InternalError
  silent          carried out, not answered
  drop            carried out, and the connection is lost before the answer
  delay@SECONDS   carried out and answered later, or not at all if the connection is lost before
  =ACTION,…       for these actions only; :PROBABILITY for this share of the commands only
  Delays add up; of the other faults, the first one that its probability selects is used.

Examples:
  wattpost simulate                                                       20 chargers as in daily use
  wattpost simulate --speed-up 60 --transactions-per-hour 20              the same, 60 times faster
  wattpost simulate --chargers 500 --scenario meter-flood --duration 30   a load test
  wattpost simulate --command-fault drop=Reset                            no answer to Reset
  wattpost simulate --ledger run.ndjson --duration 60 && wattpost audit --ledger run.ndjson";

/// Flags of `wattpost simulate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SimulateArgs {
    /// URL of the central system; `/IDENTITY` is appended
    #[arg(long, default_value = "ws://127.0.0.1:9000/ocpp")]
    url: String,
    /// Number of chargers
    #[arg(long, default_value_t = 20, value_name = "N")]
    chargers: u32,
    /// Prefix of the identities; a number follows
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
    /// steady: as in daily use; meter-flood: each charger sends its next meter value as soon as the last one is
    /// answered; idle: heartbeats only
    #[arg(long, default_value_t = Scenario::Steady)]
    scenario: Scenario,
    /// Connectors per charger
    #[arg(long, default_value_t = 1, value_name = "N")]
    connectors: u8,
    /// Transactions started per hour and connector (steady)
    #[arg(long, default_value_t = 2.0, value_name = "N")]
    transactions_per_hour: f64,
    /// Mean duration of a transaction in minutes (steady)
    #[arg(long, default_value_t = 20.0, value_name = "MINUTES")]
    transaction_minutes: f64,
    /// Seconds between two meter values (steady)
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    meter_interval: f64,
    /// Factor by which all times are shortened
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    speed_up: f64,
    /// End after this many seconds [default: at Ctrl-C]
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Each charger stops after this many meter values (meter-flood)
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// At most this many meter values per second and charger (meter-flood)
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Meter values per transaction (meter-flood); 0: one transaction for the whole run
    #[arg(long, default_value_t = 100, value_name = "N")]
    values_per_transaction: u64,
    /// Chargers started per second
    #[arg(long, default_value_t = 50.0, value_name = "N")]
    ramp: f64,
    /// Keep the chargers' queues in this directory, so that a simulator that was killed continues with them
    #[arg(long, value_name = "DIR")]
    queue_dir: Option<PathBuf>,
    /// Failed attempts before a transaction message is discarded (`TransactionMessageAttempts`)
    #[arg(long, default_value_t = 3, value_name = "N")]
    attempts: u32,
    /// Seconds before a resend, multiplied by the number of failures (`TransactionMessageRetryInterval`)
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    retry_interval: f64,
    /// Seconds until a call counts as unanswered
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    answer_timeout: f64,
    /// Message id of a resend: a new one or the same
    #[arg(long, default_value_t = ResendIds::New)]
    resend_ids: ResendIds,
    /// A call that is unanswered when the connection breaks counts as a failed attempt, as with some firmware
    #[arg(long)]
    count_lost_connections: bool,
    /// StatusNotification is sent before queued transaction messages, as with some firmware
    #[arg(long)]
    status_first: bool,
    /// BootNotification is sent at each reconnect, as with some firmware
    #[arg(long)]
    boot_on_reconnect: bool,
    /// 1.6: every StopTransaction has transactionId -1, as with firmware that lost the id
    #[arg(long)]
    stops_without_id: bool,
    /// Answer commands of the central system badly: `FAULT[=ACTION,…][:PROBABILITY]`, see below; may be repeated
    /// [default: every command of the charger's version is carried out and answered]
    #[arg(long = "command-fault", value_name = "FAULT")]
    command_faults: Vec<CommandFault>,
    /// Seconds between heartbeats [default: interval in the answer to BootNotification]
    #[arg(long, value_name = "SECONDS")]
    heartbeat_interval: Option<f64>,
    /// Seconds before a reconnect (1.6), or the minimum (2.x)
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    reconnect: f64,
    /// Write each message with the time of its acknowledgement, and each command with its answer, to this file, for
    /// `wattpost audit`
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Wait at the end until all queues are empty, at most this long
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    drain: f64,
    /// Seed of the random numbers; 0: a new one each time
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Print no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the fleet; exit code 1 if messages stayed in the queues or were discarded, or if none was acknowledged.
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
    let url = config.url.clone();
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
            "stopping: ending transactions and emptying queues (at most {drain:.0?}; Ctrl-C: at once)"
        );
    }
    let report = tokio::select! {
        report = fleet.stop(drain) => report,
        () = stop.recv() => anyhow::bail!("stopped at once; unanswered messages are missing from the ledger file"),
    };
    print_line!("{report}");
    if let Some(path) = ledger {
        print_line!("ledger: {}", path.display());
    }
    let total = report.stats.total();
    if total.acknowledged == 0 {
        eprintln!("wattpost: no message was acknowledged; does a central system listen at {url}?");
    }
    let is_complete = report.drained && total.discarded == 0 && total.acknowledged > 0;
    Ok(if is_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Progress: on a terminal one line that is overwritten every second, otherwise one line every ten seconds.
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
            count_lost_connections: self.count_lost_connections,
            status_first: self.status_first,
            boot_on_reconnect: self.boot_on_reconnect,
            stops_without_id: self.stops_without_id,
            command_faults: self.command_faults,
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
