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
/// Bounds of the gateway's disk where it is to be full soon.
pub(super) const SMALL_DISK_MIB: u32 = 96;
pub(super) const SMALL_SEGMENTS: &str = "segment_bytes = \"1 MiB\"\nretain_bytes = \"2 MiB\"";
pub(super) const SMALL_JOURNAL: &str = "max_bytes = \"1 MiB\"";

/// Plays the fault of `scenario` for about `outage`, and mends everything. The moment when the last thing was mended:
/// started again (its start is part of the recovery), let through, given room.
pub(super) fn play(
    scenario: Scenario,
    deployment: &mut Deployment,
    disk: Option<&SmallDisk>,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Moment> {
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
            Ok(Moment::wall_clock())
        }
        Scenario::BlackHole => {
            watch.say("the network between gateway and RabbitMQ swallows everything in silence");
            neighbours(deployment)?.network.black_hole();
            watch.pause(outage)?;
            watch.say("the network is back");
            neighbours(deployment)?.network.restore();
            Ok(Moment::wall_clock())
        }
        Scenario::DiskFull => match disk {
            Some(disk) => disk_full(disk, outage, watch),
            None if embedded => locked(deployment, outage, watch, false),
            None => away(
                deployment,
                Away {
                    rabbit: true,
                    postgres: true,
                },
                outage,
                watch,
            ),
        },
    }
}

fn neighbours(deployment: &mut Deployment) -> Result<&mut Neighbours> {
    deployment
        .neighbours
        .as_mut()
        .context("this scenario needs RabbitMQ and PostgreSQL")
}

fn kill(deployment: &Deployment, roles: &[Role], watch: &Watch<'_>) -> Result<Moment> {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    watch.say(&format!("kill -9 {}", names.join(", ")));
    let killed = Instant::now();
    deployment.supervisor.kill(roles)?;
    wait_restarted(deployment, roles, killed, watch)?;
    watch.say(&format!("{} started again", names.join(", ")));
    Ok(Moment::wall_clock())
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

fn again_and_again(deployment: &Deployment, outage: Duration, watch: &Watch<'_>) -> Result<Moment> {
    let end = Instant::now() + outage;
    // Long enough to come up, too short to catch up at leisure.
    let breath = (outage / 4).clamp(Duration::from_millis(500), Duration::from_secs(3));
    loop {
        let mended = kill(deployment, &[deployment.door()], watch)?;
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
) -> Result<Moment> {
    watch.say(&format!("kill -9 {}", what.names()));
    what.kill(neighbours(deployment)?)?;
    watch.pause(outage)?;
    watch.say(&format!("{} started again", what.names()));
    what.start_again(neighbours(deployment)?)?;
    Ok(Moment::wall_clock())
}

fn everything(deployment: &mut Deployment, watch: &Watch<'_>) -> Result<Moment> {
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
    Ok(Moment::wall_clock())
}

fn locked(
    deployment: &Deployment,
    outage: Duration,
    watch: &Watch<'_>,
    and_killed: bool,
) -> Result<Moment> {
    watch.say("somebody else locks the database");
    let lock = Locked::take(&deployment.database_file())?;
    if and_killed {
        kill(deployment, &[Role::Serve], watch)?;
    }
    watch.pause(outage)?;
    drop(lock);
    watch.say("the lock is gone");
    Ok(Moment::wall_clock())
}

fn disk_full(disk: &SmallDisk, outage: Duration, watch: &Watch<'_>) -> Result<Moment> {
    watch.say("the gateway's disk is full, and stays full");
    let end = Instant::now() + outage;
    while Instant::now() < end {
        // Segments that were kept and given up leave room, which somebody else takes.
        disk.fill_up()?;
        watch.pause(Duration::from_millis(100))?;
    }
    disk.make_room()?;
    watch.say("there is room again");
    Ok(Moment::wall_clock())
}

/// A disk of its own for the gateway, if we may make one.
pub(super) fn small_disk(path: &Path) -> Option<SmallDisk> {
    SmallDisk::mount(path, SMALL_DISK_MIB).ok()
}
