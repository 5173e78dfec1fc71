//! `wattpost drill`: everything that can die is killed, on this machine, and nothing that was acknowledged is lost.
//!
//! It is a demonstration and a test at once: real servers, real processes, kill -9, and an audit that compares what
//! chargers were told with what is in the database.

mod deployment;
mod disk;
mod fault;
mod http;
mod lock;
mod measure;
mod play;
mod rot;
mod scenario;
mod supervisor;
mod table;
mod verdict;
mod watch;

use anyhow::{Context, Result, ensure};
use central::query::QueryStore;
use clap::{Args, ValueEnum};
use deployment::{Deployment, Durability};
use scenario::Scenario;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use verdict::Outcome;
use watch::Patience;

/// How the drill opens what the processes under test write; the binary passes it in, as only it reads settings.
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
    /// Play only this one, by number or name; may be repeated. `1` stands for 1a to 1d [default: all]
    #[arg(long, value_name = "SCENARIO")]
    scenario: Vec<String>,
    /// Show the scenarios and end
    #[arg(long)]
    list: bool,
    /// What an answer waits for: the gateway's disk, RabbitMQ's confirm, or one drill each
    #[arg(long, value_enum, default_value_t = Wanted::Both)]
    durability: Wanted,
    /// All in one process with SQLite; neither RabbitMQ nor PostgreSQL. Fewer scenarios apply
    #[arg(long)]
    embedded: bool,
    /// Simulated chargers
    #[arg(long, default_value_t = 50, value_name = "N")]
    chargers: u32,
    /// Meter values per second and charger
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    rate: f64,
    /// How long chargers talk in each scenario, in seconds; the fault lasts 40 % of that
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    seconds: f64,
    /// The longest silence allowed where nothing between charger and answer dies
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    answer_within: f64,
    /// Print the outcomes as JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Leave the directory with settings, logs, ledgers and exports behind
    #[arg(long)]
    keep: bool,
    /// Where that directory is made; a disk, not memory, if syncs are to mean anything
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

const MEANING: &str = "\
Examples:
  wattpost drill                                      all scenarios, at both durabilities
  wattpost drill --scenario 2 --scenario database     two of them
  wattpost drill --scenario 5 --chargers 500 --keep   and the logs can be read afterwards
  wattpost drill --embedded                           nothing else need be installed

What happens: a private RabbitMQ and a private PostgreSQL are started from the installed
programs, on spare ports of 127.0.0.1. Gateway, consumer and API run as processes of this
binary, and are started again a second after they end, as systemd would. Chargers send meter
values in transactions of 25, keep what is not answered, and come back within half a second.
In each scenario they talk for a while, then the fault comes, then it is mended, then they go
on. When all have said what they had to say and all that was acknowledged is stored (or three
minutes have passed), the audit compares.

What the columns mean:
  sent             messages that chargers transmitted, each counted once
  acknowledged     of those, answered with a CALLRESULT
  stored           of the acknowledged, found in the database
  lost             acknowledged and not stored, acknowledged starts without their transaction,
                   ended sessions that are listed as open, or given up by a charger
  duplicated       messages or transactions that are stored twice
  out of order     records in another order than the one in which the same charger sent and
                   was answered
  longest without answer
                   the longer of two: from the transmission of a call to its answer, the worst
                   of all answered calls; and between two answers to anybody. Where the gateway
                   itself dies or must not answer, or the chargers are cut off (1a, 1d, 5, 6,
                   9, 12, 14) it holds the time that this lasted
  time to recover  from the moment when the last thing was mended (a killed process or server:
                   when it was started again, so its start counts) until all that had been
                   acknowledged by then was stored

A cross and exit code 1 mean: anything lost, duplicated, out of order or altered; not all
stored in time; a part that is not ready again within three minutes; a process that ended by
itself; a fault that was not felt; or, in 1b, 1c, 2, 3, 4, 7, 8, 10, 11 and 13, more than
--answer-within without an answer. In 10 records must take the direct road while RabbitMQ is
blocked; in 12 every session must be listed as ended with the energy between its meters, in the
API as in the export; in 13 the upkeep must move all rows of today to a new partition of today;
in 14 the damage must be told before it is salvaged, and the one damaged record, kept as a dead
letter, is not counted as lost.

Needs the Debian packages rabbitmq-server and postgresql (not with --embedded). The full disk
(9) is a small file system of its own where that may be mounted (root), with everything behind
the gateway away so that nothing leaves the disk; elsewhere a small bound of the journal.";

/// Which durabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Synced on the gateway's disk.
    Journal,
    /// Confirmed by RabbitMQ.
    Broker,
    /// One after the other.
    Both,
}

impl DrillArgs {
    /// A share of the time that chargers talk, in percent.
    fn share(&self, percent: u32) -> Duration {
        Duration::from_secs_f64(self.seconds * f64::from(percent) / 100.0)
    }

    /// The direct road is to be taken within the outage, however short: half of it, and at most the default.
    fn broker_grace(&self) -> Duration {
        (self.share(40) / 2).clamp(Duration::from_secs(1), Duration::from_secs(10))
    }

    /// Sessions that each charger of the depot brings back (12): hundreds, in the usual length.
    fn depot_sessions(&self) -> u64 {
        (self.seconds * 30.0).clamp(60.0, 600.0) as u64
    }

    fn durabilities(&self) -> &'static [Durability] {
        match self.durability {
            // There is no RabbitMQ to confirm anything.
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
            (0.01..=3_600.0).contains(&self.answer_within),
            "--answer-within is {}; give seconds, above 0",
            self.answer_within
        );
        ensure!(self.chargers > 0, "--chargers is 0; give at least 1");
        ensure!(
            !(self.embedded && self.durability == Wanted::Broker),
            "--durability broker needs RabbitMQ; leave out --embedded"
        );
        Ok(())
    }
}

/// Plays the scenarios; exit code 1 when a promise was broken.
pub fn run(args: &DrillArgs, access: Access) -> Result<ExitCode> {
    if args.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    args.check()?;
    let scenarios = Scenario::choose(&args.scenario, args.embedded)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let patience = Patience::new(&runtime, args.quiet)?;
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

    let played = play_all(&scenarios, args, access, &runtime, dir.path(), &patience);
    if args.keep {
        let _ = dir.keep();
    }
    // What still hangs is a fleet that was interrupted.
    runtime.shutdown_background();
    let outcomes = played?;
    let passed = outcomes.iter().all(Outcome::passed);
    if args.json {
        let all = serde_json::json!({ "passed": passed, "chargers": args.chargers, "outcomes": outcomes });
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
    patience: &Patience,
) -> Result<Vec<Outcome>> {
    let durabilities = args.durabilities();
    let first = durabilities.first().copied().unwrap_or(Durability::Journal);
    let mut deployment = Deployment::start(dir, args, access, first, patience)?;
    let mut outcomes = Vec::new();
    for durability in durabilities {
        for scenario in scenarios {
            let title = if args.embedded {
                scenario.title_embedded()
            } else {
                scenario.title()
            };
            patience.say(&format!(
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
                patience,
            )
            .with_context(|| format!("play scenario {scenario}"))?;
            patience.say(&format!("  {}", one_line(&outcome)));
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
