//! All chargers come back at once: after their network broke, the same while peers guess passwords, and after the gateway
//! was killed while they go on.

use super::super::deployment::Deployment;
use super::super::flood::Flood;
use super::super::memory::{Memory, mib};
use super::super::probe::Probe;
use super::super::watch::Watch;
use super::Repair;
use anyhow::{Context, Result, bail};
use simulator::TimestampUs;
use std::time::{Duration, Instant};

/// All chargers are connected again within this time.
const RETURN_TIMEOUT: Duration = Duration::from_secs(300);
/// With a flood of wrong passwords, chargers may need twice the time of before to come back, and this much more.
const FLOOD_DELAY: Duration = Duration::from_secs(5);
/// The gateway must know the charger whose password is guessed within this time.
const FLOOD_TIMEOUT: Duration = Duration::from_secs(60);
/// The charger whose password is guessed. It never connects.
const GUESSED: &str = "DRILL-GUESSED";
/// Memory that a gateway may need above that of before, whatever the number of chargers: journal, logs, records that wait, and
/// 19 MiB for each password that is checked at the same time. With 20 chargers up to 64 MiB were seen.
const MEMORY_FIXED: u64 = 96 << 20;
/// And for each charger that comes back.
const MEMORY_PER_CHARGER: u64 = 6 << 10;

/// Lines of the log that ask for a person, warnings and errors, in the whole scenario.
const WARNINGS_MAX: usize = 30;

/// What the scenario measures, and what it promises.
struct Storm<'a> {
    deployment: &'a Deployment,
    watch: &'a Watch<'a>,
    probe: Probe,
    repair: Repair,
}

/// `health_within`: the longest time to an answer of `/health/ready` and `/metrics`, above what a thread needs meanwhile that
/// does nothing but answer.
pub(super) fn returning(
    deployment: &Deployment,
    outage: Duration,
    health_within: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    let mut storm = Storm {
        deployment,
        watch,
        probe: Probe::start(deployment.gateway_http())?,
        repair: Repair::now(),
    };
    if !watch.pause_until(RETURN_TIMEOUT, || watch.online() == watch.chargers())? {
        bail!("not all chargers connect before the fault");
    }
    let before = storm.memory()?.now()?;
    storm.note(format!(
        "{} chargers connected; memory of the {} {}",
        watch.chargers(),
        deployment.gateway().name(),
        mib(before)
    ));
    let warnings = storm.warnings();
    let without_flood = storm.network_breaks(before)?;
    watch.pause(outage / 4)?;
    let flood = storm.flood_begins()?;
    let with_flood = storm.network_breaks(before)?;
    storm.judge_flood(without_flood, with_flood, &flood);
    watch.pause(outage / 4)?;
    storm.gateway_is_killed(before)?;
    drop(flood);
    storm.judge_answers(health_within);
    let warnings = storm.warnings() - warnings;
    storm.note(format!(
        "{warnings} lines of the log are warnings or errors"
    ));
    if warnings > WARNINGS_MAX {
        let promise = format!("{warnings} warnings and errors in the log of the gateway");
        storm.repair.broken_promises.push(promise);
    }
    let mut repair = storm.repair;
    repair.at = TimestampUs::wall_clock();
    Ok(repair)
}

impl Storm<'_> {
    /// The network of all chargers breaks at once; the gateway goes on.
    /// Returns how long the chargers took.
    fn network_breaks(&mut self, before: u64) -> Result<Duration> {
        let memory = self.memory()?;
        memory.forget_peak()?;
        let took = self.all_return("the network of all chargers broke", |storm| {
            storm.watch.cut();
            Ok(())
        })?;
        self.judge_memory(&memory, before)?;
        Ok(took)
    }

    /// Peers begin to guess a password; returns when the gateway checks their guesses.
    fn flood_begins(&mut self) -> Result<Flood> {
        let deployment = self.deployment;
        let password = format!("{:032x}", fastrand::u128(..));
        deployment.run("charger add", &[GUESSED, "--password", &password])?;
        self.watch.print("peers begin to guess a password");
        let flood = Flood::start(deployment.ocpp, GUESSED)?;
        let is_checked = || flood.answered().wrong > 0;
        if !self.watch.pause_until(FLOOD_TIMEOUT, is_checked)? {
            bail!("the gateway refuses no password: {:?}", flood.answered());
        }
        Ok(flood)
    }

    fn judge_flood(&mut self, without: Duration, with: Duration, flood: &Flood) {
        let answered = flood.answered();
        self.note(format!(
            "  meanwhile {} wrong passwords were checked, and {} attempts ended without a check",
            answered.wrong, answered.other
        ));
        if with > without * 2 + FLOOD_DELAY {
            self.repair.broken_promises.push(format!(
                "with a flood of wrong passwords chargers came back after {:.1} s, without it after {:.1} s",
                with.as_secs_f64(),
                without.as_secs_f64()
            ));
        }
    }

    /// kill -9 of the gateway; the supervisor starts it again after a second.
    fn gateway_is_killed(&mut self, before: u64) -> Result<()> {
        self.all_return("kill -9 of the gateway", |storm| {
            let deployment = storm.deployment;
            storm.probe.pause();
            let killed = Instant::now();
            deployment.supervisor.kill(&[deployment.gateway()])?;
            super::kill::wait_restarted(deployment, &[deployment.gateway()], killed, storm.watch)?;
            deployment.wait_answering(storm.watch.control)?;
            storm.probe.resume();
            storm.watch.print("the gateway answers again");
            Ok(())
        })?;
        self.judge_memory(&self.memory()?, before)
    }

    /// Runs `fault` and waits until all chargers are connected again.
    /// Returns how long that took.
    fn all_return(
        &mut self,
        what: &str,
        fault: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Duration> {
        let watch = self.watch;
        let (connections, refusals) = (watch.connections(), watch.refusals());
        watch.print(what);
        let (from, begun) = (TimestampUs::wall_clock(), Instant::now());
        fault(self)?;
        let are_back = || {
            watch.online() == watch.chargers()
                && watch.connections() >= connections + watch.chargers()
        };
        let timeout = RETURN_TIMEOUT.saturating_sub(begun.elapsed());
        if !watch.pause_until(timeout, are_back)? {
            self.repair.broken_promises.push(format!(
                "{} of {} chargers came back",
                watch.online(),
                watch.chargers()
            ));
        }
        let took = begun.elapsed();
        self.repair.storms.push((from, TimestampUs::wall_clock()));
        self.note(format!(
            "{what}: all chargers were back after {:.1} s; {} handshakes got 503 with Retry-After",
            took.as_secs_f64(),
            watch.refusals() - refusals
        ));
        Ok(took)
    }

    fn judge_memory(&mut self, memory: &Memory, before: u64) -> Result<()> {
        let (peak, chargers) = (memory.peak()?, self.watch.chargers());
        let more = peak.saturating_sub(before);
        self.note(format!(
            "  peak of the memory {}, {:.1} KiB for each charger above {}",
            mib(peak),
            more as f64 / 1_024.0 / chargers.max(1) as f64,
            mib(before)
        ));
        if more > MEMORY_FIXED + MEMORY_PER_CHARGER * chargers {
            self.repair
                .broken_promises
                .push(format!("the gateway needed {} more memory", mib(more)));
        }
        Ok(())
    }

    fn judge_answers(&mut self, health_within: Duration) {
        let asked = self.probe.asked();
        self.note(format!(
            "/health/ready and /metrics were answered {} times, within {:.0} ms at most; a thread that does nothing else \
             answered within {:.0} ms",
            asked.answered,
            asked.slowest.as_secs_f64() * 1e3,
            asked.slowest_of_idle.as_secs_f64() * 1e3
        ));
        if asked.failed > 0 || asked.answered == 0 {
            self.repair.broken_promises.push(format!(
                "/health/ready and /metrics were not answered with 200 {} times",
                asked.failed
            ));
        }
        if asked.slowest > health_within + asked.slowest_of_idle {
            self.repair.broken_promises.push(format!(
                "an answer of /health/ready or /metrics took {:.0} ms, that of an idle thread {:.0} ms",
                asked.slowest.as_secs_f64() * 1e3,
                asked.slowest_of_idle.as_secs_f64() * 1e3
            ));
        }
    }

    /// Warnings and errors in the log of the gateway so far.
    fn warnings(&self) -> usize {
        let supervisor = &self.deployment.supervisor;
        let log = std::fs::read_to_string(supervisor.log_file(self.deployment.gateway()));
        let is_one = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
        log.unwrap_or_default().lines().filter(is_one).count()
    }

    fn memory(&self) -> Result<Memory> {
        let deployment = self.deployment;
        let id = deployment.supervisor.process_id(deployment.gateway());
        Ok(Memory::of(id.context("the gateway does not run")?))
    }

    fn note(&mut self, text: String) {
        self.watch.print(&text);
        self.repair.notes.push(text);
    }
}
