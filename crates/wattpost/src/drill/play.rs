//! One scenario from its first message to its verdict.
//!
//! ```text
//! chargers begin ── 30 % ──▶ fault ── 40 % ──▶ mended ── 30 % ──▶ chargers say the rest ──▶ wait until stored ──▶ audit
//!                                              └─ recovery: until all that was acknowledged by now is stored ─┘
//! ```

use super::deployment::{Deployment, Durability};
use super::fault::{self, SMALL_JOURNAL, SMALL_SEGMENTS};
use super::measure::{Unseen, longest_quiet, read_ledger};
use super::scenario::Scenario;
use super::verdict::{Measured, Outcome};
use super::watch::{Patience, Watch};
use super::{DrillArgs, serve_settings};
use crate::database::{self, Database, Use};
use anyhow::{Context, Result, bail};
use central::Timestamp;
use simulator::audit::Report;
use simulator::{Fleet, FleetConfig, Moment};
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
    let surprises = deployment.supervisor.surprises();
    patience.overslept();
    let begun = Moment::wall_clock();
    let from = Timestamp(i64::try_from(begun.0 / 1_000).unwrap_or(0) - 1_000);

    let ledger = dir.join(format!("ledger-{name}.ndjson"));
    let fleet = {
        let _inside = runtime.enter();
        Fleet::start(chargers(deployment, args, &name, &ledger)).context("start the fleet")?
    };
    let watch = Watch::new(patience, &fleet);
    wait_for_answers(&fleet, &watch)?;
    let answering = Moment::wall_clock();
    watch.pause(args.share(30))?;
    let mended = fault::play(scenario, deployment, disk.as_ref(), args.share(40), &watch)?;

    let mut recovery = Recovery::begin(&ledger, mended.at, from, deployment, &watch)?;
    let end = Instant::now() + args.share(30);
    while Instant::now() < end {
        watch.pause(LOOK_EVERY)?;
        recovery.look();
    }
    drop(watch);
    let stopping = Moment::wall_clock();
    patience.say("  chargers say the rest");
    let report = runtime.block_on(async {
        tokio::select! {
            report = fleet.stop(DRAIN_MAX) => Ok(report),
            () = patience.stopped() => bail!("stopped before the end"),
        }
    })?;

    let lines = read_ledger(&ledger)?;
    let deadline = Instant::now() + STORED_MAX;
    let mut unseen = Unseen::new(&lines, Moment(u64::MAX), from);
    patience.say("  waiting until everything acknowledged is stored");
    loop {
        recovery.look();
        let left = unseen.look(&*recovery.database);
        if left == 0 || Instant::now() > deadline {
            break;
        }
        patience.pause(LOOK_EVERY)?;
    }
    recovery.look();
    let whole = deployment.wait_whole(patience)?;
    let audit = audit(deployment, &ledger, from, dir, &name)?;
    let answer_within = Duration::from_secs_f64(args.answer_within);
    let measured = Measured {
        sent: report.stats.total().sent,
        longest_wait: report.stats.latency.max(),
        longest_quiet: longest_quiet(&lines, answering, stopping),
        recovery: recovery.took,
        unexpected_ends: deployment.supervisor.surprises() - surprises,
        drained: report.drained,
        whole,
        felt: mended.felt,
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
    if scenario != Scenario::DiskFull {
        if deployment.durability() != durability {
            deployment.reopen(durability, None, None, patience)?;
        }
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
fn chargers(deployment: &Deployment, args: &DrillArgs, name: &str, ledger: &Path) -> FleetConfig {
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
    database: Arc<dyn Database>,
    unseen: Unseen,
    mended: Moment,
    took: Option<Duration>,
}

impl Recovery {
    fn begin(
        ledger: &Path,
        mended: Moment,
        from: Timestamp,
        deployment: &Deployment,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        watch.pause(LEDGER_FLUSH)?;
        let settings = serve_settings(&deployment.settings_file())?;
        let mut recovery = Self {
            database: database::open(&settings, Use::Serve)?,
            unseen: Unseen::new(&read_ledger(ledger)?, mended, from),
            mended,
            took: None,
        };
        recovery.look();
        Ok(recovery)
    }

    fn look(&mut self) {
        if self.took.is_none() && self.unseen.look(&*self.database) == 0 {
            self.took = Some(Moment::wall_clock().since(self.mended));
        }
    }
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
