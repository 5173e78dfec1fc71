//! One scenario from its first message to its verdict.
//!
//! ```text
//! chargers begin ── 30 % ──▶ fault ── 40 % ──▶ mended ── 30 % ──▶ chargers say the rest ──▶ wait until stored ──▶ audit
//!                                              └─ recovery: until all that was acknowledged by now is stored ─┘
//! ```

use super::DrillArgs;
use super::deployment::{Deployment, Durability, Tuning};
use super::fault::{self, SMALL_JOURNAL, SMALL_SEGMENTS};
use super::measure::{Unseen, longest_quiet, read_ledger};
use super::scenario::Scenario;
use super::verdict::{Measured, Outcome};
use super::watch::{Patience, Watch};
use anyhow::{Context, Result, bail};
use central::Timestamp;
use central::query::QueryStore;
use ocpp::Version;
use serde_json::Value;
use simulator::audit::Report;
use simulator::{Fleet, FleetConfig, TimestampUs, VersionMix};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// The fleet hands its ledger to the system every 200 ms.
const LEDGER_FLUSH: Duration = Duration::from_millis(400);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Who cannot get a turn for so long cannot judge others by the second.
const BUSY: Duration = Duration::from_millis(250);
const DRAIN_MAX: Duration = Duration::from_secs(90);
/// A depot: few chargers with much to say each.
const DEPOT_CHARGERS_MAX: u32 = 20;
/// All acknowledged messages must be stored this soon after the load ended and everything was mended.
const STORED_MAX: Duration = Duration::from_secs(180);

/// Plays `scenario` on `deployment`.
pub(super) fn play(
    scenario: Scenario,
    durability: Durability,
    deployment: &mut Deployment,
    args: &DrillArgs,
    runtime: &Runtime,
    dir: &Path,
    patience: &Patience,
) -> Result<Outcome> {
    let name = format!("{}-{}", scenario.number(), durability.name());
    let disk = prepare(scenario, durability, deployment, dir, patience)?;
    let letters_before = dead_letters(deployment)?;
    let surprises = deployment.supervisor.surprises();
    patience.overslept();
    let begun = TimestampUs::wall_clock();
    let from = Timestamp(i64::try_from(begun.0 / 1_000).unwrap_or(0) - 1_000);

    let ledger = dir.join(format!("ledger-{name}.ndjson"));
    let fleet = {
        let _inside = runtime.enter();
        Fleet::start(chargers(scenario, deployment, args, &name, &ledger))
            .context("start the fleet")?
    };
    let watch = Watch::new(patience, &fleet);
    wait_for_answers(&fleet, &watch)?;
    let answering = TimestampUs::wall_clock();
    watch.pause(args.share(30))?;
    let sessions = args.depot_sessions() * fleet.stats().chargers;
    let mended = fault::play(
        scenario,
        deployment,
        disk.as_ref(),
        args.share(40),
        sessions,
        &watch,
    )?;

    let rotten = usize::from(scenario == Scenario::Rotten);
    let mut recovery = Recovery::begin(&ledger, mended.at, from, rotten, deployment, &watch)?;
    let end = Instant::now() + args.share(30);
    while Instant::now() < end {
        watch.pause(LOOK_EVERY)?;
        recovery.look();
    }
    drop(watch);
    let stopping = TimestampUs::wall_clock();
    patience.say("  chargers say the rest");
    let report = runtime.block_on(async {
        tokio::select! {
            report = fleet.stop(DRAIN_MAX) => Ok(report),
            () = patience.stopped() => bail!("stopped before the end"),
        }
    })?;

    let lines = read_ledger(&ledger)?;
    let deadline = Instant::now() + STORED_MAX;
    let mut unseen = Unseen::new(&lines, TimestampUs(u64::MAX), from);
    patience.say("  waiting until everything acknowledged is stored");
    loop {
        recovery.look();
        let left = unseen.look(&*recovery.database);
        if left <= rotten || Instant::now() > deadline {
            break;
        }
        patience.pause(LOOK_EVERY)?;
    }
    recovery.look();
    let whole = deployment.wait_whole(patience)?;
    let audit = audit(deployment, &ledger, from, dir, &name)?;
    let api_differs = match scenario {
        Scenario::Depot => compare_api(deployment, from, dir, &name, patience)?,
        _ => 0,
    };
    let kept_apart = dead_letters(deployment)?.saturating_sub(letters_before);
    let is_depot_whole = scenario != Scenario::Depot || audit.transactions >= sessions;
    let answer_within = Duration::from_secs_f64(args.answer_within);
    let measured = Measured {
        sent: report.stats.total().sent,
        longest_wait: report.stats.latency.max(),
        longest_quiet: longest_quiet(&lines, answering, stopping),
        recovery: recovery.took,
        unexpected_ends: deployment.supervisor.surprises() - surprises,
        drained: report.drained,
        whole,
        felt: mended.felt && is_depot_whole,
        broken: mended.broken,
        api_differs,
        kept_apart: kept_apart.min(rotten as u64),
    };
    let mut outcome = Outcome::judge(
        scenario,
        deployment.is_embedded(),
        durability.name(),
        &audit,
        measured,
        answer_within,
    );
    let overslept = patience.overslept();
    if overslept >= BUSY {
        outcome.notes.push(format!(
            "the machine was busy with other things: the drill itself once waited {:.1} s for its turn",
            overslept.as_secs_f64()
        ));
    }
    if scenario == Scenario::Rotten {
        outcome.notes.push(format!(
            "records that rotted on the disk and are kept as dead letters, with what is left of them: {}",
            outcome.kept_apart
        ));
        deployment.reopen(durability, None, None, patience)?;
    }
    if scenario == Scenario::DiskFull {
        outcome.notes.push(match &disk {
            Some(_) => "the disk was really full: a small file system of its own".to_owned(),
            None => "without root there is no small disk: the journal was bounded instead, and all behind it away"
                .to_owned(),
        });
        // Everything is stored: back to the usual data directory, before the small disk goes.
        deployment.reopen(durability, None, None, patience)?;
    }
    Ok(outcome)
}

/// The gateway as the scenario needs it, and the small disk that it lives on, if it does.
fn prepare(
    scenario: Scenario,
    durability: Durability,
    deployment: &mut Deployment,
    dir: &Path,
    patience: &Patience,
) -> Result<Option<super::disk::SmallDisk>> {
    let tuning = match scenario {
        // Few records with the consumer, so that many wait in the queues.
        Scenario::BlockedBacklog => Tuning {
            prefetch: Some(20),
            ..Tuning::default()
        },
        Scenario::SlowDatabase => Tuning {
            through_proxy: true,
            ..Tuning::default()
        },
        _ => Tuning::default(),
    };
    deployment.retune(durability, tuning, patience)?;
    if scenario == Scenario::Rotten {
        let data = dir.join(format!("rotten-{}", durability.name()));
        deployment.reopen(durability, Some(&data), Some(SMALL_SEGMENTS), patience)?;
        deployment.wait_whole(patience)?;
    }
    if scenario != Scenario::DiskFull {
        return Ok(None);
    }
    let path = dir.join(format!("small-disk-{}", durability.name()));
    let disk = fault::small_disk(&path);
    match &disk {
        Some(disk) => {
            let data = disk.path().join("data");
            deployment.reopen(durability, Some(&data), Some(SMALL_SEGMENTS), patience)?;
        }
        None => {
            let data = dir.join(format!("small-journal-{}", durability.name()));
            deployment.reopen(durability, Some(&data), Some(SMALL_JOURNAL), patience)?;
        }
    }
    Ok(disk)
}

/// Chargers in a hurry: they come back at once and never give up, so that a run of seconds tells as much as one of
/// days.
fn chargers(
    scenario: Scenario,
    deployment: &Deployment,
    args: &DrillArgs,
    name: &str,
    ledger: &Path,
) -> FleetConfig {
    let usual = usual_chargers(deployment, args, name, ledger);
    if scenario != Scenario::Depot {
        return usual;
    }
    // Sessions of 15 ms, 35 ms apart on the mean, with the energy of a minute; the line is one that can be cut.
    FleetConfig {
        url: format!("ws://{}/ocpp", deployment.depot_line.addr()),
        chargers: args.chargers.min(DEPOT_CHARGERS_MAX),
        versions: VersionMix::only(Version::V16),
        scenario: simulator::Scenario::Steady,
        stops_without_id: true,
        speed_up: 3_600.0,
        transactions_per_hour: 50.0,
        transaction_minutes: 0.9,
        meter_interval_s: 1e9,
        heartbeat_interval_s: Some(1e6),
        retry_interval_s: 3_600.0,
        ..usual
    }
}

fn usual_chargers(
    deployment: &Deployment,
    args: &DrillArgs,
    name: &str,
    ledger: &Path,
) -> FleetConfig {
    FleetConfig {
        url: format!("ws://{}/ocpp", deployment.ocpp),
        chargers: args.chargers,
        id_prefix: format!("DRILL-{name}-"),
        scenario: simulator::Scenario::MeterFlood,
        rate_per_charger: Some(args.rate),
        values_per_transaction: 25,
        ramp_per_s: 500.0,
        attempts: 1_000,
        retry_interval_s: 1.0,
        reconnect_s: 0.2,
        reconnect_jitter_s: 0.3,
        backoff_minimum_s: 0.2,
        backoff_range_s: 0.3,
        backoff_doublings: 1,
        ledger: Some(ledger.to_owned()),
        ..FleetConfig::default()
    }
}

fn wait_for_answers(fleet: &Fleet, watch: &Watch<'_>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let stats = fleet.stats();
        // Each charger has booted and said something else.
        if stats.total().acknowledged >= 2 * stats.chargers {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("chargers get no answers: {stats}");
        }
        watch.pause(Duration::from_millis(20))?;
    }
}

/// How long it takes until all that was acknowledged at the fault's end is stored.
struct Recovery {
    database: Arc<dyn QueryStore>,
    unseen: Unseen,
    mended: TimestampUs,
    /// Records that cannot come any more.
    rotten: usize,
    took: Option<Duration>,
}

impl Recovery {
    fn begin(
        ledger: &Path,
        mended: TimestampUs,
        from: Timestamp,
        rotten: usize,
        deployment: &Deployment,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        watch.pause(LEDGER_FLUSH)?;
        let mut recovery = Self {
            database: (deployment.access.database)(&deployment.settings_file())?,
            unseen: Unseen::new(&read_ledger(ledger)?, mended, from),
            mended,
            rotten,
            took: None,
        };
        recovery.look();
        Ok(recovery)
    }

    fn look(&mut self) {
        if self.took.is_none() && self.unseen.look(&*self.database) <= self.rotten {
            self.took = Some(TimestampUs::wall_clock().since(self.mended));
        }
    }
}

/// How many transactions of this run the API shows otherwise than the export, or only one of the two.
fn compare_api(
    deployment: &Deployment,
    from: Timestamp,
    dir: &Path,
    name: &str,
    patience: &Patience,
) -> Result<u64> {
    let ours = format!("DRILL-{name}-");
    let is_ours = |row: &Value| {
        row["charger_id"]
            .as_str()
            .is_some_and(|id| id.starts_with(&ours))
    };
    let export = dir.join(format!("transactions-{name}.ndjson"));
    let text = std::fs::read_to_string(&export).context("read the export of transactions")?;
    let exported = text.lines().map(serde_json::from_str::<Value>);
    let exported = exported.collect::<Result<Vec<_>, _>>()?;
    let list = format!("/api/v1/transactions?from={}", from.0);
    let listed = match deployment.api_list(&list) {
        Ok(listed) => listed,
        Err(error) => {
            patience.say(&format!(
                "  the API does not list the transactions: {error:#}"
            ));
            Vec::new()
        }
    };
    let set = |rows: Vec<Value>| -> BTreeSet<String> {
        let rows = rows.iter().filter(|row| is_ours(row));
        rows.map(Value::to_string).collect()
    };
    let (exported, listed) = (set(exported), set(listed));
    Ok(exported.symmetric_difference(&listed).count() as u64)
}

/// How many dead letters there are.
fn dead_letters(deployment: &Deployment) -> Result<u64> {
    let listed = deployment.run(&["deadletters", "list"])?;
    Ok(listed.lines().count() as u64)
}

/// What `wattpost audit` says, as a person would ask it.
fn audit(
    deployment: &Deployment,
    ledger: &Path,
    from: Timestamp,
    dir: &Path,
    name: &str,
) -> Result<Report> {
    let exported = |what: &str| -> Result<PathBuf> {
        let file = dir.join(format!("{what}-{name}.ndjson"));
        let (from, path) = (from.to_string(), file.display().to_string());
        let arguments = [
            "export", what, "--from", &from, "--output", &path, "--quiet",
        ];
        deployment.run(&arguments)?;
        Ok(file)
    };
    let (messages, transactions) = (exported("messages")?, exported("transactions")?);
    let text = |path: &Path| path.display().to_string();
    let said = deployment.run(&[
        "audit",
        "--json",
        "--ledger",
        &text(ledger),
        "--messages",
        &text(&messages),
        "--transactions",
        &text(&transactions),
    ])?;
    serde_json::from_str(&said).with_context(|| format!("read what the audit said: {said}"))
}
