//! `wattpost drill`: tests on this machine that no acknowledged message is lost when something fails.
//!
//! It uses real servers and real processes and kills them with SIGKILL. At the end of each scenario an audit compares the
//! answers that chargers got with the content of the database.

mod damage;
mod deployment;
mod fault;
mod flood;
mod lock;
mod measure;
mod memory;
mod open_files;
mod play;
mod probe;
mod scenario;
mod supervisor;
mod table;
mod verdict;
mod watch;

use anyhow::{Context, Result, bail, ensure};
use central::query::QueryStore;
use clap::{Args, ValueEnum};
use deployment::{Deployment, Durability};
use scenario::Scenario;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use verdict::Outcome;
use watch::Control;

/// Opens the files of the processes under test. The binary provides it, because only the binary reads settings.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// Opens the database that a settings file names.
    pub database: fn(&Path) -> Result<Arc<dyn QueryStore>>,
    /// The journal's directory and options in a settings file.
    pub journal: fn(&Path) -> Result<(PathBuf, journal::Options)>,
}

/// Flags of `wattpost drill`.
#[derive(Debug, Args)]
#[command(after_long_help = MEANING)]
pub struct DrillArgs {
    /// Run only this scenario, by number or name; may be repeated. `1` means 1a to 1d [default: all]
    #[arg(long, value_name = "SCENARIO")]
    scenario: Vec<String>,
    /// List the scenarios and exit
    #[arg(long)]
    list: bool,
    /// gateway.durability: what an answer waits for
    #[arg(long, value_enum, default_value_t = Wanted::Both)]
    durability: Wanted,
    /// Run `serve` with SQLite, without RabbitMQ and PostgreSQL; fewer scenarios are possible
    #[arg(long)]
    embedded: bool,
    /// Number of simulated chargers [default: 50; in the upgrade 5000 and in the storm 10000, or as many as the limit of
    /// open files permits]
    #[arg(long, value_name = "N")]
    chargers: Option<u32>,
    /// Meter values per second and charger [default: 10; in the upgrade and the storm 0.1]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Duration of the load in each scenario, in seconds; the fault lasts 40 % of it
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    seconds: f64,
    /// The longest time without an answer in scenarios in which answers must continue [default: 1; in the
    /// upgrade 0.5]
    #[arg(long, value_name = "SECONDS")]
    answer_within: Option<f64>,
    /// The longest time to an answer of /health/ready and /metrics in the storm, above that of a thread that does nothing
    /// else meanwhile
    #[arg(long, default_value_t = 0.1, value_name = "SECONDS")]
    health_within: f64,
    /// Print the outcomes as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Keep the directory with settings, logs, ledger files and exports
    #[arg(long)]
    keep: bool,
    /// Create that directory here; use a disk, because a sync to a file system in memory proves nothing
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Print no progress
    #[arg(long, short)]
    quiet: bool,
}

const MEANING: &str = "\
Examples:
  wattpost drill                                      all scenarios, with both durabilities
  wattpost drill --scenario 2 --scenario database     two scenarios
  wattpost drill --scenario 5 --chargers 500 --keep   keeps the logs
  wattpost drill --embedded                           needs no other programs
  wattpost drill --scenario upgrade                   5000 chargers, 500 messages a second

How it works: the drill starts a private RabbitMQ and a private PostgreSQL from the installed
programs, on free ports of 127.0.0.1. Gateway, consumer and API run as processes of this
binary; each is restarted one second after it ends, as systemd does. Simulated chargers send
meter values in transactions of 25, queue messages that are not answered, and reconnect within
half a second. In each scenario the load runs for a while, then the fault begins, then it is
repaired, then the load continues. When the chargers' queues are empty and all acknowledged
messages are stored (or three minutes have passed), the audit compares.

Columns:
  sent             messages that chargers sent, each counted once
  acknowledged     of those, answered with a CALLRESULT
  stored           of the acknowledged, found in the database
  lost             acknowledged messages that are not stored, acknowledged starts without a
                   transaction, ended sessions that are listed as open, and messages that a
                   charger discarded
  duplicated       messages or transactions that are stored twice
  out of order     records in another order than the one in which the charger sent them
  longest without answer
                   the longer of: the longest time from a call to its answer, and the longest
                   time in which no charger got an answer, although one waited if no
                   connection was lost; until the load ends, when all chargers end their
                   transactions at once. Where the gateway itself is killed or must not
                   answer, or the chargers have no network (1a, 1d, 5, 6, 9, 12, 14, 15), this
                   includes that time
  time to recover  from the repair (of a killed process or server: its restart) until all
                   messages that were acknowledged by then are stored

A scenario fails (❌, exit code 1) if anything is lost, duplicated, out of order or altered; if
not all is stored in time; if a part is not ready again within three minutes; if a process ends
unexpectedly; if the fault had no effect; or if, in 1b, 1c, 2, 3, 4, 7, 8, 10, 11, 13 and 16, there
is no answer for longer than --answer-within (in 18: if no charger gets one for so long). In 10,
records must be delivered through the bypass while RabbitMQ is blocked. In 12, API and export
must list every session as ended, with the energy between its meter readings. In 13, maintenance
must move all rows of today to a new partition. In 14, the damage must be reported before it is salvaged; the damaged record is kept
as a dead letter and not counted as lost. In 15, no outcome of a command may contradict what
the simulated charger received and answered. In 16, the gateway is upgraded five times, twice
after a broken program was installed, and no connection of a charger may be closed. In 17, the
network of all chargers breaks at once, a second time while 16 addresses guess a password, then
the gateway is killed while they go on. All chargers must come back within five minutes, and
with the guesses in twice the time of before and 5 s at most; 99 of 100 messages of those that are back must be answered within 10 s; the
gateway may need 96 MiB and 6 KiB for each charger more memory than before; and /health/ready and
/metrics must be answered within --health-within; the log may have 30 warnings. In 18, two gateways, two consumers and the API
are stopped and started in turn.

Needs the Debian packages rabbitmq-server and postgresql (not with --embedded). The full disk
(9) is a small tmpfs if this user may mount one (root), with RabbitMQ and PostgreSQL
unavailable so that nothing is delivered; otherwise the journal gets a small limit.";

/// The default of `--chargers`.
const CHARGERS: u32 = 50;
/// The default of `--chargers` in the upgrade.
const UPGRADE_CHARGERS: u32 = 5_000;
/// The default of `--chargers` in the storm.
const STORM_CHARGERS: u32 = 10_000;
/// The default of `--rate` in these two: one message of each charger every ten seconds.
const LARGE_FLEET_RATE: f64 = 0.1;
/// Files that a gateway needs apart from one for each charger: the database, RabbitMQ, HTTP, the journal.
const OTHER_FILES: u64 = 1_000;
/// The same in a storm, with unfinished handshakes and lingering sockets.
const STORM_OTHER_FILES: u64 = 6_000;

/// The values of `--durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// An answer waits for the sync of the gateway's journal.
    Journal,
    /// An answer waits for RabbitMQ's confirm.
    Broker,
    /// All scenarios with each of them.
    Both,
}

impl DrillArgs {
    /// A percentage of `--seconds`.
    fn share(&self, percent: u32) -> Duration {
        Duration::from_secs_f64(self.seconds * f64::from(percent) / 100.0)
    }

    /// `gateway.broker_grace_s`: half of the outage, so that the bypass begins during it, and at most the default.
    fn broker_grace(&self) -> Duration {
        (self.share(40) / 2).clamp(Duration::from_secs(1), Duration::from_secs(10))
    }

    /// Sessions of each charger of the depot (12): 600 with the default `--seconds`.
    fn depot_sessions(&self) -> u64 {
        (self.seconds * 30.0).clamp(60.0, 600.0) as u64
    }

    /// The number of chargers in `scenario`.
    ///
    /// # Errors
    /// When the limit of open files does not permit the number that was given.
    fn chargers(&self, scenario: Scenario) -> Result<u32> {
        let (usual, others) = match scenario {
            Scenario::Upgrade => (UPGRADE_CHARGERS, OTHER_FILES),
            Scenario::Storm => (STORM_CHARGERS, STORM_OTHER_FILES),
            _ => return Ok(self.chargers.unwrap_or(CHARGERS)),
        };
        let limit = open_files::raise(u64::from(self.chargers.unwrap_or(usual)) + others);
        let most = limit.saturating_sub(others);
        match self.chargers {
            Some(wanted) if u64::from(wanted) > most => bail!(
                "--chargers is {wanted}, but this process may open only {limit} files, enough for {most} chargers; raise \
                 the limit of open files (ulimit -n) to {}, or lower --chargers",
                u64::from(wanted) + others
            ),
            Some(wanted) => Ok(wanted),
            None => {
                let fitting = u32::try_from(most).unwrap_or(u32::MAX).min(usual);
                ensure!(
                    fitting > 0,
                    "this process may open only {limit} files, too few for scenario {scenario}; raise the limit of open files \
                     (ulimit -n) above {others}"
                );
                Ok(fitting)
            }
        }
    }

    /// Meter values per second and charger in `scenario`.
    fn rate(&self, scenario: Scenario) -> f64 {
        self.rate.unwrap_or(match scenario {
            Scenario::Upgrade | Scenario::Storm => LARGE_FLEET_RATE,
            _ => 10.0,
        })
    }

    fn answer_within(&self, scenario: Scenario) -> Duration {
        Duration::from_secs_f64(self.answer_within.unwrap_or(match scenario {
            Scenario::Upgrade => 0.5,
            _ => 1.0,
        }))
    }

    fn durabilities(&self) -> &'static [Durability] {
        match self.durability {
            // Without RabbitMQ there is no confirm.
            _ if self.embedded => &[Durability::Journal],
            Wanted::Journal => &[Durability::Journal],
            Wanted::Broker => &[Durability::Broker],
            Wanted::Both => &[Durability::Journal, Durability::Broker],
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(
            (1.0..=86_400.0).contains(&self.seconds),
            "--seconds is {}; give 1 to 86400",
            self.seconds
        );
        ensure!(
            self.answer_within
                .is_none_or(|within| (0.01..=3_600.0).contains(&within)),
            "--answer-within is {}; give 0.01 to 3600 seconds",
            self.answer_within.unwrap_or_default()
        );
        ensure!(self.chargers != Some(0), "--chargers is 0; give at least 1");
        ensure!(
            self.rate.is_none_or(|rate| rate > 0.0 && rate <= 1e6),
            "--rate is {}; give a number above 0, at most 1000000",
            self.rate.unwrap_or_default()
        );
        ensure!(
            (0.001..=3_600.0).contains(&self.health_within),
            "--health-within is {}; give seconds, above 0",
            self.health_within
        );
        ensure!(
            !(self.embedded && self.durability == Wanted::Broker),
            "--durability broker needs RabbitMQ; remove --embedded"
        );
        Ok(())
    }
}

/// Plays the scenarios; exit code 1 if one of them failed.
pub fn run(args: &DrillArgs, access: Access) -> Result<ExitCode> {
    if args.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    args.check()?;
    let scenarios = Scenario::choose(&args.scenario, args.embedded)?;
    for scenario in &scenarios {
        args.chargers(*scenario)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let control = Control::new(&runtime, args.quiet)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix("wattpost-drill-");
    let dir = match &args.work_dir {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
    .context("make the work directory")?;
    if args.keep {
        eprintln!("everything is kept in {}", dir.path().display());
    }

    let played = play_all(&scenarios, args, access, &runtime, dir.path(), &control);
    if args.keep {
        let _ = dir.keep();
    }
    // After Ctrl-C, tasks of the fleet may still run.
    runtime.shutdown_background();
    let outcomes = played?;
    let passed = outcomes.iter().all(Outcome::passed);
    if args.json {
        let all = serde_json::json!({ "passed": passed, "outcomes": outcomes });
        println!("{all}");
    } else {
        println!("{}", table::table(&outcomes));
        println!("{}", summary(&outcomes));
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn play_all(
    scenarios: &[Scenario],
    args: &DrillArgs,
    access: Access,
    runtime: &tokio::runtime::Runtime,
    dir: &Path,
    control: &Control,
) -> Result<Vec<Outcome>> {
    let durabilities = args.durabilities();
    let first = durabilities.first().copied().unwrap_or(Durability::Journal);
    let mut deployment = Deployment::start(dir, args, access, first, control)?;
    let mut outcomes = Vec::new();
    for durability in durabilities {
        for scenario in scenarios {
            let title = if args.embedded {
                scenario.title_embedded()
            } else {
                scenario.title()
            };
            control.print(&format!(
                "scenario {}, durability {}: {title}",
                scenario.number(),
                durability.name()
            ));
            let outcome = play::play(
                *scenario,
                *durability,
                &mut deployment,
                args,
                runtime,
                dir,
                control,
            )
            .with_context(|| format!("play scenario {scenario}"))?;
            control.print(&format!("  {}", one_line(&outcome)));
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

fn one_line(outcome: &Outcome) -> String {
    let verdict = match outcome.passed() {
        true => "✅".to_owned(),
        false => format!("❌ {}", outcome.faults.join(", ")),
    };
    format!(
        "{} sent, {} acknowledged, {} stored, {} lost, {} duplicated {verdict}",
        outcome.sent, outcome.acknowledged, outcome.stored, outcome.lost, outcome.duplicated
    )
}

fn summary(outcomes: &[Outcome]) -> String {
    let acknowledged: u64 = outcomes.iter().map(|outcome| outcome.acknowledged).sum();
    let lost: u64 = outcomes.iter().map(|outcome| outcome.lost).sum();
    let duplicated: u64 = outcomes.iter().map(|outcome| outcome.duplicated).sum();
    format!("{acknowledged} messages acknowledged, {lost} lost, {duplicated} duplicated")
}

fn list() {
    for scenario in Scenario::ALL {
        let embedded = match scenario.applies_embedded() {
            true => "  (with --embedded: ",
            false => "",
        };
        let (name, end) = match scenario.applies_embedded() {
            true => (scenario.title_embedded(), ")"),
            false => ("", ""),
        };
        println!(
            "{:<3} {:<22} {}{embedded}{name}{end}",
            scenario.number(),
            scenario.name(),
            scenario.title()
        );
    }
}
