//! A full disk, or a full journal where no small disk can be mounted.

use super::super::deployment::Deployment;
use super::super::lock::Locked;
use super::super::watch::Watch;
use super::kill::Killed;
use super::{Repair, backend};
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};
use testbed::SmallDisk;

/// A full disk must be noticed within this time: chargers send some hundred KB a second.
const REFUSED_TIMEOUT: Duration = Duration::from_secs(60);
const SMALL_DISK_MIB: u32 = 96;
/// Settings of the journal on a small disk.
pub(in super::super) const SMALL_SEGMENTS: &str =
    "segment_bytes = \"256 KiB\"\nretain_bytes = \"2 MiB\"";
/// Settings of a journal that is full soon.
pub(in super::super) const SMALL_JOURNAL: &str = "bytes_max = \"1 MiB\"";

/// A small disk for the gateway; none if it cannot be mounted.
pub(in super::super) fn small_disk(path: &Path) -> Option<SmallDisk> {
    SmallDisk::mount(path, SMALL_DISK_MIB).ok()
}

/// Fills the gateway's disk. That alone has no effect, because delivered segments leave space for new ones. So in the
/// second half RabbitMQ and PostgreSQL are unavailable too, until handshakes are refused.
pub(super) fn disk(
    deployment: &mut Deployment,
    disk: &SmallDisk,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    watch.print("the gateway's disk is full, and stays full");
    disk.fill_up()?;
    watch.pause(outage / 2)?;
    // With `--embedded` the database is on the same disk.
    if let Some(backend) = &mut deployment.backend {
        watch.print("RabbitMQ and PostgreSQL are unavailable too, so that nothing is delivered");
        backend.broker_proxy.black_hole();
        backend.servers.postgres.kill()?;
    }
    // Segments that the journal removes leave space, which is filled again.
    let had_effect = pause_until_refused(outage / 2, watch, || disk.fill_up())?;
    disk.free()?;
    if let Some(backend) = &mut deployment.backend {
        backend.broker_proxy.restore();
        backend.servers.postgres.start_again()?;
    }
    watch.print("the disk has space again");
    Ok(Repair::with_effect(had_effect))
}

/// Without a small disk: the journal has a small limit, and nothing is delivered until it is full.
pub(super) fn journal(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    if deployment.is_embedded() {
        watch.print("another program locks the database until the journal is full");
        let lock = Locked::take(&deployment.database_file())?;
        let had_effect = pause_until_refused(outage, watch, || Ok(()))?;
        drop(lock);
        return Ok(Repair::with_effect(had_effect));
    }
    watch.print("kill -9 RabbitMQ and PostgreSQL until the journal is full");
    Killed::BOTH.kill(backend(deployment)?)?;
    let had_effect = pause_until_refused(outage, watch, || Ok(()))?;
    Killed::BOTH.start_again(backend(deployment)?)?;
    Ok(Repair::with_effect(had_effect))
}

/// Waits for `outage`, and longer if no handshake has been refused with 503 by then; returns whether one was. Calls
/// `meanwhile` at intervals.
fn pause_until_refused(
    outage: Duration,
    watch: &Watch<'_>,
    meanwhile: impl Fn() -> Result<()>,
) -> Result<bool> {
    let begun = Instant::now();
    loop {
        meanwhile()?;
        let is_refused = watch.refusals() > 0;
        if is_refused && begun.elapsed() >= outage {
            return Ok(true);
        }
        if begun.elapsed() >= outage.max(REFUSED_TIMEOUT) {
            return Ok(is_refused);
        }
        watch.pause(Duration::from_millis(100))?;
    }
}
