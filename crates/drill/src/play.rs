//! One scenario from the first message to the verdict.
//!
//! ```text
//! load begins ── 30 % ──▶ fault ── 40 % ──▶ repaired ── 30 % ──▶ queues are emptied ──▶ wait until stored ──▶ audit
//!                                           └─ recovery: until all messages acknowledged by now are stored ─┘
//! ```

use super::DrillArgs;
use super::deployment::{Deployment, Durability, ScenarioSettings};
use super::fault::{self, SMALL_JOURNAL, SMALL_SEGMENTS};
use super::measure::{
    NotStored, longest_gap, longest_wait, read_commands, read_ledger, share_answered_within,
};
use super::scenario::Scenario;
use super::verdict::{Measured, Outcome};
use super::watch::{Control, Watch};
use anyhow::{Context, Result, bail};
use central::Timestamp;
use central::query::QueryStore;
use ocpp::Version;
use serde_json::Value;
use simulator::audit::Report;
use simulator::ledger::LedgerEntry;
use simulator::{Fleet, FleetConfig, TimestampUs, VersionMix};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testbed::commands::{contradictions, count_by_class};
use tokio::runtime::Runtime;

/// Twice the interval at which the fleet flushes its ledger file.
const LEDGER_FLUSH: Duration = Duration::from_millis(400);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// If the drill itself was stalled for this long, its times are unreliable.
const STALL: Duration = Duration::from_millis(250);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(90);
/// Chargers that power up per second.
const RAMP_PER_S: f64 = 500.0;
/// Addresses that the chargers of a storm connect from at most.
const STORM_ADDRESSES: u32 = 250;
/// In a storm this share of the messages of chargers that are back must be answered within [`STORM_ANSWER_WITHIN`].
const STORM_SHARE: f64 = 0.99;
const STORM_ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The depot has few chargers with many sessions each.
const DEPOT_CHARGERS_MAX: u32 = 20;
/// Longer than the time after which a command without an answer is uncertain.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(150);
const CONTRADICTIONS_PRINTED: usize = 5;
/// All acknowledged messages must be stored within this time after the end of the load.
const STORED_TIMEOUT: Duration = Duration::from_secs(180);

/// Plays `scenario` on `deployment`.
pub(super) fn play(
    scenario: Scenario,
    durability: Durability,
    deployment: &mut Deployment,
    args: &DrillArgs,
    runtime: &Runtime,
    dir: &Path,
    control: &Control,
) -> Result<Outcome> {
    let name = format!("{}-{}", scenario.number(), durability.name());
    let disk = prepare(scenario, durability, deployment, dir, control)?;
    let dead_letters_before = dead_letters(deployment)?;
    let unexpected_ends = deployment.supervisor.unexpected_ends();
    control.take_oversleep();
    let begun = TimestampUs::wall_clock();
    let from = Timestamp(i64::try_from(begun.0 / 1_000).unwrap_or(0) - 1_000);

    let ledger = dir.join(format!("ledger-{name}.ndjson"));
    let fleet = {
        let _inside = runtime.enter();
        Fleet::start(chargers(scenario, deployment, args, &name, &ledger)?)
            .context("start the fleet")?
    };
    let watch = Watch::new(control, &fleet);
    wait_for_answers(&fleet, &watch)?;
    let answering = TimestampUs::wall_clock();
    watch.pause(args.share(30))?;
    let sessions = args.depot_sessions() * fleet.stats().chargers;
    let mut repair = fault::play(
        scenario,
        deployment,
        disk.as_ref(),
        args.share(40),
        sessions,
        Duration::from_secs_f64(args.health_within),
        &watch,
    )?;

    let damaged = usize::from(scenario == Scenario::Damaged);
    let mut recovery = Recovery::begin(&ledger, repair.at, from, damaged, deployment, &watch)?;
    let end = Instant::now() + args.share(30);
    while Instant::now() < end {
        watch.pause(POLL_INTERVAL)?;
        recovery.poll();
    }
    drop(watch);
    let stopping = TimestampUs::wall_clock();
    control.print("  the chargers empty their queues");
    let report = runtime.block_on(async {
        tokio::select! {
            report = fleet.stop(DRAIN_TIMEOUT) => Ok(report),
            () = control.stopped() => bail!("stopped before the end"),
        }
    })?;

    let lines = read_ledger(&ledger)?;
    let deadline = Instant::now() + STORED_TIMEOUT;
    let mut not_stored = NotStored::new(&lines, TimestampUs(u64::MAX), from);
    control.print("  waiting until all acknowledged messages are stored");
    loop {
        recovery.poll();
        let left = not_stored.count(&*recovery.database);
        if left <= damaged || Instant::now() > deadline {
            break;
        }
        control.pause(POLL_INTERVAL)?;
    }
    recovery.poll();
    let is_ready = deployment.wait_ready(control)?;
    if scenario == Scenario::Rolling {
        deployment.stop_second_roles()?;
    }
    if !repair.storms.is_empty() {
        judge_storms(&lines, &mut repair);
    }
    let audit = audit(deployment, &ledger, from, dir, &name)?;
    let api_differs = match scenario {
        Scenario::Depot => compare_api(deployment, from, dir, &name, control)?,
        _ => 0,
    };
    let false_outcomes = match scenario {
        Scenario::Commands => false_outcomes(deployment, &ledger, &name, control)?,
        _ => 0,
    };
    let kept_apart = dead_letters(deployment)?.saturating_sub(dead_letters_before);
    let has_all_sessions = scenario != Scenario::Depot || audit.transactions >= sessions;
    let answer_within = args.answer_within(scenario);
    // Without a connection a charger sends nothing, so its wait is not in the ledger.
    let all_stayed = report.stats.connections <= report.stats.chargers;
    let measured = Measured {
        chargers: report.stats.chargers,
        sent: report.stats.total().sent,
        longest_wait: longest_wait(&lines, answering, stopping),
        longest_gap: longest_gap(&lines, answering, stopping, all_stayed),
        recovery: recovery.took,
        unexpected_ends: deployment.supervisor.unexpected_ends() - unexpected_ends,
        drained: report.drained,
        is_ready,
        had_effect: repair.had_effect && has_all_sessions,
        broken_promises: repair.broken_promises,
        notes: repair.notes,
        api_differs,
        false_outcomes,
        kept_apart: kept_apart.min(damaged as u64),
    };
    let mut outcome = Outcome::judge(
        scenario,
        deployment.is_embedded(),
        durability.name(),
        &audit,
        measured,
        answer_within,
    );
    let oversleep = control.take_oversleep();
    if oversleep >= STALL {
        outcome.notes.push(format!(
            "the machine was busy: the drill itself was once stalled for {:.1} s, so its times are unreliable",
            oversleep.as_secs_f64()
        ));
    }
    if scenario == Scenario::Damaged {
        outcome.notes.push(format!(
            "damaged records that are kept as dead letters: {}",
            outcome.kept_apart
        ));
        deployment.restart_gateway(durability, None, None, control)?;
    }
    if scenario == Scenario::DiskFull {
        outcome.notes.push(match &disk {
            Some(_) => "the disk was a small file system that was filled up".to_owned(),
            None => "a small disk needs root: instead the journal's limit was small and nothing was delivered"
                .to_owned(),
        });
        // Everything is stored. The gateway must not use the small disk any more when it is unmounted.
        deployment.restart_gateway(durability, None, None, control)?;
    }
    Ok(outcome)
}

/// Chargers that are back must get their answers while the others come back.
fn judge_storms(lines: &[LedgerEntry], repair: &mut fault::Repair) {
    let within = share_answered_within(lines, &repair.storms, STORM_SHARE);
    let Some(within) = within else {
        repair.had_effect = false;
        return;
    };
    repair.notes.push(format!(
        "99 of 100 messages of chargers that were back were answered within {:.2} s",
        within.as_secs_f64()
    ));
    if within > STORM_ANSWER_WITHIN {
        repair.broken_promises.push(format!(
            "99 of 100 messages in the storm were answered only within {:.1} s",
            within.as_secs_f64()
        ));
    }
}

/// Restarts the roles with the settings of the scenario. Returns the small disk with the gateway's data directory, if the
/// scenario needs one and it can be mounted.
fn prepare(
    scenario: Scenario,
    durability: Durability,
    deployment: &mut Deployment,
    dir: &Path,
    control: &Control,
) -> Result<Option<testbed::SmallDisk>> {
    let settings = match scenario {
        // A small prefetch, so that records wait in the queues and not in the consumer.
        Scenario::BlockedBacklog => ScenarioSettings {
            prefetch: Some(20),
            ..ScenarioSettings::default()
        },
        Scenario::SlowDatabase => ScenarioSettings {
            database_through_proxy: true,
            ..ScenarioSettings::default()
        },
        _ => ScenarioSettings::default(),
    };
    deployment.restart_all(durability, settings, control)?;
    if scenario == Scenario::Damaged {
        let data = dir.join(format!("damaged-{}", durability.name()));
        deployment.restart_gateway(durability, Some(&data), Some(SMALL_SEGMENTS), control)?;
        deployment.wait_ready(control)?;
    }
    if scenario == Scenario::Rolling {
        deployment.start_second_roles(control)?;
    }
    if scenario != Scenario::DiskFull {
        return Ok(None);
    }
    let path = dir.join(format!("small-disk-{}", durability.name()));
    let disk = fault::small_disk(&path);
    match &disk {
        Some(disk) => {
            let data = disk.path().join("data");
            deployment.restart_gateway(durability, Some(&data), Some(SMALL_SEGMENTS), control)?;
        }
        None => {
            let data = dir.join(format!("small-journal-{}", durability.name()));
            deployment.restart_gateway(durability, Some(&data), Some(SMALL_JOURNAL), control)?;
        }
    }
    Ok(disk)
}

/// Chargers that reconnect at once and never discard a message, so that a run of seconds is enough.
fn chargers(
    scenario: Scenario,
    deployment: &Deployment,
    args: &DrillArgs,
    name: &str,
    ledger: &Path,
) -> Result<FleetConfig> {
    let usual = FleetConfig {
        chargers: args.chargers(scenario)?,
        rate_per_charger: Some(args.rate(scenario)),
        ..usual_chargers(deployment, name, ledger)
    };
    if scenario == Scenario::Commands {
        // The scenario cuts their network.
        return Ok(FleetConfig {
            url: format!("ws://{}/ocpp", deployment.depot_proxy.addr()),
            ..usual
        });
    }
    if scenario == Scenario::Storm {
        // Chargers have addresses of their own; a gateway bounds the handshakes of one address.
        return Ok(FleetConfig {
            loopback_addresses: usual.chargers.min(STORM_ADDRESSES),
            ..usual
        });
    }
    if scenario == Scenario::Rolling {
        return Ok(FleetConfig {
            more_urls: vec![format!("ws://{}/ocpp", deployment.second_ocpp)],
            ..usual
        });
    }
    if scenario != Scenario::Depot {
        return Ok(usual);
    }
    // Sessions of 15 ms with the energy of a minute, and 35 ms between them on average.
    Ok(FleetConfig {
        url: format!("ws://{}/ocpp", deployment.depot_proxy.addr()),
        chargers: usual.chargers.min(DEPOT_CHARGERS_MAX),
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
    })
}

fn usual_chargers(deployment: &Deployment, name: &str, ledger: &Path) -> FleetConfig {
    FleetConfig {
        url: format!("ws://{}/ocpp", deployment.ocpp),
        id_prefix: format!("DRILL-{name}-"),
        scenario: simulator::Scenario::MeterFlood,
        values_per_transaction: 25,
        ramp_per_s: RAMP_PER_S,
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
    let ramp = Duration::from_secs_f64(fleet.stats().chargers as f64 / RAMP_PER_S);
    let deadline = Instant::now() + Duration::from_secs(60) + ramp;
    loop {
        let stats = fleet.stats();
        // On average each charger has an answer to BootNotification and to another message.
        if stats.total().acknowledged >= 2 * stats.chargers {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("chargers get no answers: {stats}");
        }
        watch.pause(Duration::from_millis(20))?;
    }
}

/// The time until all messages that were acknowledged at the repair are stored.
struct Recovery {
    database: Arc<dyn QueryStore>,
    not_stored: NotStored,
    repaired: TimestampUs,
    /// Records that are damaged and will never be stored.
    damaged: usize,
    took: Option<Duration>,
}

impl Recovery {
    fn begin(
        ledger: &Path,
        repaired: TimestampUs,
        from: Timestamp,
        damaged: usize,
        deployment: &Deployment,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        watch.pause(LEDGER_FLUSH)?;
        let mut recovery = Self {
            database: (deployment.access.database)(&deployment.settings_file())?,
            not_stored: NotStored::new(&read_ledger(ledger)?, repaired, from),
            repaired,
            damaged,
            took: None,
        };
        recovery.poll();
        Ok(recovery)
    }

    fn poll(&mut self) {
        if self.took.is_none() && self.not_stored.count(&*self.database) <= self.damaged {
            self.took = Some(TimestampUs::wall_clock().since(self.repaired));
        }
    }
}

/// How many transactions of this run differ between API and export, or are missing from one of them.
fn compare_api(
    deployment: &Deployment,
    from: Timestamp,
    dir: &Path,
    name: &str,
    control: &Control,
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
            control.print(&format!(
                "  the API does not list the transactions: {error:#}"
            ));
            Vec::new()
        }
    };
    let set = |rows: Vec<Value>| -> BTreeSet<String> {
        let rows = rows.iter().filter(|row| is_ours(row));
        rows.map(Value::to_string).collect()
    };
    // The API adds addresses, which an export has not.
    let listed = listed.into_iter().map(|mut row| {
        if let Some(row) = row.as_object_mut() {
            row.remove("links");
        }
        row
    });
    let (exported, listed) = (set(exported), set(listed.collect()));
    Ok(exported.symmetric_difference(&listed).count() as u64)
}

/// How many outcomes of commands contradict what the chargers received and answered.
fn false_outcomes(
    deployment: &Deployment,
    ledger: &Path,
    name: &str,
    control: &Control,
) -> Result<u64> {
    control.print("  waiting until every command has an outcome");
    let ours = format!("DRILL-{name}-");
    let deadline = Instant::now() + OUTCOME_TIMEOUT;
    let shown = loop {
        let mut shown = deployment
            .api_list("/api/v1/commands?fields=id,charger_id,action,state,outcome")
            .unwrap_or_default();
        shown.retain(|command| {
            command["charger_id"]
                .as_str()
                .is_some_and(|id| id.starts_with(&ours))
        });
        let is_done = shown.iter().all(|command| command["state"] == "done");
        if (is_done && !shown.is_empty()) || Instant::now() > deadline {
            break shown;
        }
        control.pause(POLL_INTERVAL)?;
    };
    let seen = read_commands(ledger)?;
    for (class, count) in count_by_class(&shown) {
        control.print(&format!("  {count} commands: {class}"));
    }
    let found = contradictions(&shown, &seen);
    for one in found.iter().take(CONTRADICTIONS_PRINTED) {
        control.print(&format!("  {one}"));
    }
    Ok(found.len() as u64)
}

/// The number of dead letters.
fn dead_letters(deployment: &Deployment) -> Result<u64> {
    let listed = deployment.run("deadletters list", &[])?;
    Ok(listed.lines().count() as u64)
}

/// The report of `wattpost audit`.
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
        deployment.run(
            &format!("export {what}"),
            &["--from", &from, "--output", &path, "--quiet"],
        )?;
        Ok(file)
    };
    let (messages, transactions) = (exported("messages")?, exported("transactions")?);
    let text = |path: &Path| path.display().to_string();
    let report = deployment.run(
        "audit",
        &[
            "--json",
            "--ledger",
            &text(ledger),
            "--messages",
            &text(&messages),
            "--transactions",
            &text(&transactions),
        ],
    )?;
    serde_json::from_str(&report)
        .with_context(|| format!("parse the report of the audit: {report}"))
}
