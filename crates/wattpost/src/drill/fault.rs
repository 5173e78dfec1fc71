//! What each scenario does to the installation, and how it is undone.

use super::deployment::{Deployment, Neighbours};
use super::disk::SmallDisk;
use super::lock::Locked;
use super::scenario::Scenario;
use super::supervisor::Role;
use super::watch::Watch;
use anyhow::{Context, Result, bail};
use simulator::Moment;
use std::path::Path;
use std::time::{Duration, Instant};

/// A supervisor takes a second, a journal some more.
const RESTART_MAX: Duration = Duration::from_secs(30);
/// Chargers send some hundred KB a second; a disk that is full takes so long to be noticed at most.
const REFUSED_MAX: Duration = Duration::from_secs(60);
/// Bounds of the gateway's disk where it is to be full soon.
pub(super) const SMALL_DISK_MIB: u32 = 96;
pub(super) const SMALL_SEGMENTS: &str = "segment_bytes = \"256 KiB\"\nretain_bytes = \"2 MiB\"";
pub(super) const SMALL_JOURNAL: &str = "max_bytes = \"1 MiB\"";

/// A fault that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mended {
    /// When the last thing was mended: started again (its start is part of the recovery), let through, given room.
    pub(super) at: Moment,
    /// Whether the fault was felt: a disk that never becomes full proves nothing.
    pub(super) felt: bool,
}

impl Mended {
    fn now() -> Self {
        Self {
            at: Moment::wall_clock(),
            felt: true,
        }
    }
}

/// Plays the fault of `scenario` for about `outage`, and mends everything.
pub(super) fn play(
    scenario: Scenario,
    deployment: &mut Deployment,
    disk: Option<&SmallDisk>,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Mended> {
    let all = deployment.roles();
    let embedded = deployment.is_embedded();
    match scenario {
        Scenario::Gateway => kill(deployment, &[Role::Gateway], watch),
        Scenario::Consumer => kill(deployment, &[Role::Consumer], watch),
        Scenario::Api => kill(deployment, &[Role::Api], watch),
        Scenario::Ours => kill(deployment, all, watch),
        Scenario::AgainAndAgain => again_and_again(deployment, outage, watch),
        Scenario::Database if embedded => locked(deployment, outage, watch, false),
        Scenario::Everything if embedded => locked(deployment, outage, watch, true),
        Scenario::Rabbit => away(
            deployment,
            Away {
                rabbit: true,
                postgres: false,
            },
            outage,
            watch,
        ),
        Scenario::Database => away(
            deployment,
            Away {
                rabbit: false,
                postgres: true,
            },
            outage,
            watch,
        ),
        Scenario::RabbitAndDatabase => away(
            deployment,
            Away {
                rabbit: true,
                postgres: true,
            },
            outage,
            watch,
        ),
        Scenario::Everything => everything(deployment, watch),
        Scenario::Blocked => {
            watch.say("RabbitMQ raises its memory alarm: publishers are blocked");
            neighbours(deployment)?.rabbit.set_memory_alarm(true)?;
            watch.pause(outage)?;
            watch.say("the alarm is over");
            neighbours(deployment)?.rabbit.set_memory_alarm(false)?;
            Ok(Mended::now())
        }
        Scenario::BlackHole => {
            watch.say("the network between gateway and RabbitMQ swallows everything in silence");
            neighbours(deployment)?.network.black_hole();
            watch.pause(outage)?;
            watch.say("the network is back");
            neighbours(deployment)?.network.restore();
            Ok(Mended::now())
        }
        Scenario::DiskFull => match disk {
            Some(disk) => disk_full(deployment, disk, outage, watch),
            None => journal_full(deployment, outage, watch),
        },
    }
}

fn neighbours(deployment: &mut Deployment) -> Result<&mut Neighbours> {
    deployment
        .neighbours
        .as_mut()
        .context("this scenario needs RabbitMQ and PostgreSQL")
}

fn kill(deployment: &Deployment, roles: &[Role], watch: &Watch<'_>) -> Result<Mended> {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    watch.say(&format!("kill -9 {}", names.join(", ")));
    let killed = Instant::now();
    deployment.supervisor.kill(roles)?;
    wait_restarted(deployment, roles, killed, watch)?;
    watch.say(&format!("{} started again", names.join(", ")));
    Ok(Mended::now())
}

fn wait_restarted(
    deployment: &Deployment,
    roles: &[Role],
    killed: Instant,
    watch: &Watch<'_>,
) -> Result<()> {
    let is_back = |role: &Role| {
        deployment
            .supervisor
            .running_since(*role)
            .is_some_and(|since| since > killed)
    };
    while !roles.iter().all(is_back) {
        if killed.elapsed() > RESTART_MAX {
            bail!("what was killed does not start again");
        }
        watch.pause(Duration::from_millis(20))?;
    }
    Ok(())
}

fn again_and_again(deployment: &Deployment, outage: Duration, watch: &Watch<'_>) -> Result<Mended> {
    let end = Instant::now() + outage;
    // Too short to catch up at leisure.
    let breath = (outage / 4).clamp(Duration::from_millis(500), Duration::from_secs(3));
    loop {
        let mended = kill(deployment, &[deployment.door()], watch)?;
        deployment.wait_ready(watch.patience)?;
        if Instant::now() + breath > end {
            return Ok(mended);
        }
        watch.pause(breath)?;
    }
}

#[derive(Debug, Clone, Copy)]
struct Away {
    rabbit: bool,
    postgres: bool,
}

impl Away {
    const fn names(self) -> &'static str {
        match (self.rabbit, self.postgres) {
            (true, true) => "RabbitMQ and PostgreSQL",
            (true, false) => "RabbitMQ",
            _ => "PostgreSQL",
        }
    }

    fn kill(self, neighbours: &mut Neighbours) -> Result<()> {
        if self.rabbit {
            neighbours.rabbit.kill()?;
        }
        if self.postgres {
            neighbours.postgres.kill()?;
        }
        Ok(())
    }

    fn start_again(self, neighbours: &mut Neighbours) -> Result<()> {
        if self.rabbit {
            neighbours.rabbit.start_again()?;
        }
        if self.postgres {
            neighbours.postgres.start_again()?;
        }
        Ok(())
    }
}

fn away(
    deployment: &mut Deployment,
    what: Away,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Mended> {
    watch.say(&format!("kill -9 {}", what.names()));
    what.kill(neighbours(deployment)?)?;
    watch.pause(outage)?;
    watch.say(&format!("{} started again", what.names()));
    what.start_again(neighbours(deployment)?)?;
    Ok(Mended::now())
}

fn everything(deployment: &mut Deployment, watch: &Watch<'_>) -> Result<Mended> {
    watch.say("kill -9 everything: RabbitMQ, PostgreSQL, gateway, consumer, API");
    let what = Away {
        rabbit: true,
        postgres: true,
    };
    let roles = deployment.roles();
    let killed = Instant::now();
    deployment.supervisor.kill(roles)?;
    what.kill(neighbours(deployment)?)?;
    wait_restarted(deployment, roles, killed, watch)?;
    what.start_again(neighbours(deployment)?)?;
    watch.say("everything started again");
    Ok(Mended::now())
}

fn locked(
    deployment: &Deployment,
    outage: Duration,
    watch: &Watch<'_>,
    and_killed: bool,
) -> Result<Mended> {
    watch.say("somebody else locks the database");
    let lock = Locked::take(&deployment.database_file())?;
    if and_killed {
        kill(deployment, &[Role::Serve], watch)?;
    }
    watch.pause(outage)?;
    drop(lock);
    watch.say("the lock is gone");
    Ok(Mended::now())
}

/// A full disk alone is not felt: what was delivered leaves room for what comes. So half of the time everything behind
/// the gateway is there, and then nothing is, until chargers are refused.
fn disk_full(
    deployment: &mut Deployment,
    disk: &SmallDisk,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Mended> {
    watch.say("the gateway's disk is full, and stays full");
    disk.fill_up()?;
    watch.pause(outage / 2)?;
    // Embedded, the database is on the same disk.
    if let Some(neighbours) = &mut deployment.neighbours {
        watch.say("now RabbitMQ and PostgreSQL are away too, so that nothing leaves the disk");
        neighbours.network.black_hole();
        neighbours.postgres.kill()?;
    }
    // Segments that were kept and given up leave room, which somebody else takes.
    let felt = until_refused(outage / 2, watch, || disk.fill_up())?;
    disk.make_room()?;
    if let Some(neighbours) = &mut deployment.neighbours {
        neighbours.network.restore();
        neighbours.postgres.start_again()?;
    }
    watch.say("there is room again");
    Ok(Mended {
        felt,
        ..Mended::now()
    })
}

/// Without a small disk: the journal has a small bound, and everything behind it is away until it is full.
fn journal_full(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Mended> {
    if deployment.is_embedded() {
        watch.say("somebody else locks the database until the journal is full");
        let lock = Locked::take(&deployment.database_file())?;
        let felt = until_refused(outage, watch, || Ok(()))?;
        drop(lock);
        return Ok(Mended {
            felt,
            ..Mended::now()
        });
    }
    let what = Away {
        rabbit: true,
        postgres: true,
    };
    watch.say("kill -9 RabbitMQ and PostgreSQL until the journal is full");
    what.kill(neighbours(deployment)?)?;
    let felt = until_refused(outage, watch, || Ok(()))?;
    what.start_again(neighbours(deployment)?)?;
    Ok(Mended {
        felt,
        ..Mended::now()
    })
}

/// Waits for `outage`, and on until chargers are refused with 503; whether they were. Does `meanwhile` now and then.
fn until_refused(
    outage: Duration,
    watch: &Watch<'_>,
    meanwhile: impl Fn() -> Result<()>,
) -> Result<bool> {
    let begun = Instant::now();
    loop {
        meanwhile()?;
        let refused = watch.refusals() > 0;
        if refused && begun.elapsed() >= outage {
            return Ok(true);
        }
        if begun.elapsed() >= outage.max(REFUSED_MAX) {
            return Ok(refused);
        }
        watch.pause(Duration::from_millis(100))?;
    }
}

/// A disk of its own for the gateway, if we may make one.
pub(super) fn small_disk(path: &Path) -> Option<SmallDisk> {
    SmallDisk::mount(path, SMALL_DISK_MIB).ok()
}
