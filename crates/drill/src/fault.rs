//! What each scenario does to the installation, and how it is undone.

use super::deployment::{Deployment, Neighbours};
use super::disk::SmallDisk;
use super::lock::Locked;
use super::rot;
use super::scenario::Scenario;
use super::supervisor::Role;
use super::watch::Watch;
use anyhow::{Context, Result, bail};
use simulator::TimestampUs;
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

/// Records that must be seen to wait before the alarm is raised.
const BACKLOG_MIN: f64 = 100.0;
/// With few chargers a backlog takes its time.
const FELT_MAX: Duration = Duration::from_secs(60);
/// Beyond the grace: an alarm takes a second to be raised, and is told at the next publishing.
const DIRECT_MAX: Duration = Duration::from_secs(20);
/// Pieces of conversation with the database that must have been held back.
const DELAYED_MIN: u64 = 20;
const DEPOT_MAX: Duration = Duration::from_secs(180);
const UPKEEP_MAX: Duration = Duration::from_secs(120);

/// Puts every row into the default partitions, and drops the partitions of days.
const NO_PARTITIONS: &str = "DO $$ DECLARE p record; BEGIN
    LOCK TABLE messages, meter_values IN ACCESS EXCLUSIVE MODE;
    FOR p IN SELECT inhrelid::regclass AS part, inhparent::regclass AS parent FROM pg_inherits
        WHERE inhparent IN ('messages_by_day'::regclass, 'meter_values_by_day'::regclass)
            AND inhrelid NOT IN ('messages_default'::regclass, 'meter_values_default'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', p.parent, p.part);
        EXECUTE format('INSERT INTO %s SELECT * FROM %s', p.parent, p.part);
        EXECUTE format('DROP TABLE %s', p.part);
    END LOOP;
END $$";
/// Rows of today that are not in the partition of today.
const ROWS_OF_TODAY: &str = "WITH today AS
    (SELECT floor(extract(epoch FROM now()) / 86400)::bigint * 86400000 AS begins)
    SELECT (SELECT count(*) FROM messages_default, today WHERE received_at >= begins)
        + (SELECT count(*) FROM messages_outside, today WHERE received_at >= begins)
        + (SELECT count(*) FROM meter_values_default, today WHERE at >= begins)
        + (SELECT count(*) FROM meter_values_outside, today WHERE at >= begins)";

/// A fault that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mended {
    /// When the last thing was mended: started again (its start is part of the recovery), let through, given room.
    pub(super) at: TimestampUs,
    /// Whether the fault was felt: a disk that never becomes full proves nothing.
    pub(super) felt: bool,
    /// What did not become of it, though it is promised.
    pub(super) broken: Option<&'static str>,
}

impl Mended {
    fn now() -> Self {
        Self {
            at: TimestampUs::wall_clock(),
            felt: true,
            broken: None,
        }
    }
}

/// Plays the fault of `scenario` for about `outage`, and mends everything. `sessions`: what all chargers of the depot
/// together must have charged before its line is back.
pub(super) fn play(
    scenario: Scenario,
    deployment: &mut Deployment,
    disk: Option<&SmallDisk>,
    outage: Duration,
    sessions: u64,
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
        Scenario::BlockedBacklog => blocked_backlog(deployment, outage, watch),
        Scenario::SlowDatabase => slow_database(deployment, outage, watch),
        Scenario::Depot => depot(deployment, sessions, watch),
        Scenario::UpkeepMissed => upkeep_missed(deployment, outage, watch),
        Scenario::Rotten => rotten(deployment, outage, watch),
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

/// The alarm comes while records wait in RabbitMQ and a consumer is there: it stands still until the alarm is on, so
/// that the gateway's last look at the queues finds a backlog that somebody works on.
fn blocked_backlog(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Mended> {
    watch.say("the consumer stands still: records wait in RabbitMQ");
    deployment.supervisor.pause(Role::Consumer);
    let sees_backlog = |deployment: &Deployment| {
        let queued = deployment.figure("wattpost_gateway_queued_records");
        queued.is_some_and(|records| records >= BACKLOG_MIN)
    };
    let felt = until(FELT_MAX, watch, || sees_backlog(deployment))?;
    watch.say("RabbitMQ raises its memory alarm on top of it; the consumer goes on");
    let begun = Instant::now();
    neighbours(deployment)?.rabbit.set_memory_alarm(true)?;
    deployment.supervisor.resume(Role::Consumer);
    let is_direct =
        |deployment: &Deployment| deployment.figure("wattpost_gateway_sink_direct") == Some(1.0);
    let direct_within = deployment.broker_grace + DIRECT_MAX;
    let took_road = until(direct_within, watch, || is_direct(deployment))?;
    watch.pause(outage.saturating_sub(begun.elapsed()))?;
    watch.say("the alarm is over");
    neighbours(deployment)?.rabbit.set_memory_alarm(false)?;
    Ok(Mended {
        felt,
        broken: (!took_road).then_some("records did not take the direct road"),
        ..Mended::now()
    })
}

fn slow_database(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Mended> {
    watch.say("every round trip to the database takes 1 to 50 ms longer");
    let network = &neighbours(deployment)?.database_network;
    let before = network.delayed();
    network.delay(Duration::from_millis(1), Duration::from_millis(50));
    watch.pause(outage)?;
    network.delay(Duration::ZERO, Duration::ZERO);
    let felt = network.delayed() - before >= DELAYED_MIN;
    watch.say("the database is quick again");
    Ok(Mended {
        felt,
        ..Mended::now()
    })
}

/// Until each charger has charged so often, with nobody to tell.
fn depot(deployment: &Deployment, sessions: u64, watch: &Watch<'_>) -> Result<Mended> {
    watch.say("the depot loses its line; its chargers go on charging");
    deployment.depot_line.cut();
    // A start and a stop each.
    let felt = until(DEPOT_MAX, watch, || watch.queued() >= sessions * 2)?;
    watch.say(&format!(
        "the line is back, and the chargers with {} messages",
        watch.queued()
    ));
    deployment.depot_line.restore();
    Ok(Mended {
        felt,
        ..Mended::now()
    })
}

/// As if the upkeep had been missed for eight days: no partition of today or later, all rows in the default ones. The
/// next upkeep (at the start of a consumer, and every hour) must make the partitions and move the rows, at work.
fn upkeep_missed(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Mended> {
    watch
        .say("the partitions of today and of the days ahead are gone: rows go to the default ones");
    neighbours(deployment)?.postgres.psql(NO_PARTITIONS)?;
    watch.pause(outage / 2)?;
    let felt = rows_of_today(deployment)?.is_some_and(|rows| rows > 0);
    watch.say("the consumer is killed; its start does the upkeep");
    kill(deployment, &[Role::Consumer], watch)?;
    let begun = Instant::now();
    let mut is_empty = false;
    while !is_empty && begun.elapsed() < UPKEEP_MAX {
        watch.pause(Duration::from_millis(200))?;
        is_empty = rows_of_today(deployment)? == Some(0);
    }
    watch.pause((outage / 2).saturating_sub(begun.elapsed()))?;
    Ok(Mended {
        felt,
        broken: (!is_empty).then_some("rows of today stay outside the partition of today"),
        ..Mended::now()
    })
}

/// One bit of an undelivered record flips while the gateway is down. It must serve chargers all the same and tell of the
/// damage; after `wattpost journal salvage` everything but that record is delivered.
fn rotten(deployment: &mut Deployment, outage: Duration, watch: &Watch<'_>) -> Result<Mended> {
    watch.say("RabbitMQ and PostgreSQL are away: records wait in the journal");
    let away = neighbours(deployment)?;
    away.network.black_hole();
    away.postgres.kill()?;
    watch.pause(outage / 2)?;
    watch.say("the gateway is down, and a bit of one record rots on its disk");
    let seq = deployment.with_door_closed(watch.patience, |deployment| {
        let back = neighbours(deployment)?;
        back.network.restore();
        back.postgres.start_again()?;
        let (dir, options) = (deployment.access.journal)(&deployment.settings_file())?;
        rot::rot_one(&dir, options)
    })?;
    watch.say(&format!("it is back; record {seq} is damaged"));
    let is_told = |deployment: &Deployment| {
        let places = deployment.figure("wattpost_gateway_journal_damaged_places");
        places.is_some_and(|places| places >= 1.0)
    };
    let told = until(FELT_MAX, watch, || is_told(deployment))?;
    watch.pause(outage / 2)?;
    watch.say("wattpost journal salvage --yes");
    let said = deployment.with_door_closed(watch.patience, |deployment| {
        deployment.run(&["journal", "salvage", "--yes"])
    })?;
    Ok(Mended {
        felt: said.contains("salvaged: 1 records cannot be read"),
        broken: (!told).then_some("nobody was told of the damage"),
        ..Mended::now()
    })
}

/// How many rows of today are not in today's partition; none while the tables are locked.
fn rows_of_today(deployment: &mut Deployment) -> Result<Option<u64>> {
    let said = neighbours(deployment)?.postgres.psql(ROWS_OF_TODAY);
    Ok(said.ok().and_then(|said| said.trim().parse().ok()))
}

/// Waits until `holds`, and `longest` at most; whether it came to hold.
fn until(longest: Duration, watch: &Watch<'_>, mut holds: impl FnMut() -> bool) -> Result<bool> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() >= longest {
            return Ok(false);
        }
        watch.pause(Duration::from_millis(100))?;
    }
    Ok(true)
}

/// A disk of its own for the gateway, if we may make one.
pub(super) fn small_disk(path: &Path) -> Option<SmallDisk> {
    SmallDisk::mount(path, SMALL_DISK_MIB).ok()
}
