//! PostgreSQL without the partitions that maintenance should have created.

use super::super::deployment::Deployment;
use super::super::supervisor::Role;
use super::super::watch::Watch;
use super::{Repair, backend, kill};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Maintenance must have moved all rows within this time.
const MAINTENANCE_TIMEOUT: Duration = Duration::from_secs(120);

/// Moves all rows to the default partitions and drops the partitions of days.
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
/// The number of rows of today that are not in the partition of today.
const ROWS_OF_TODAY: &str = "WITH today AS
    (SELECT floor(extract(epoch FROM now()) / 86400)::bigint * 86400000 AS begins)
    SELECT (SELECT count(*) FROM messages_default, today WHERE received_at >= begins)
        + (SELECT count(*) FROM messages_outside, today WHERE received_at >= begins)
        + (SELECT count(*) FROM meter_values_default, today WHERE at >= begins)
        + (SELECT count(*) FROM meter_values_outside, today WHERE at >= begins)";

/// Creates the state after eight days without maintenance: no partition for today or later, all rows in the default
/// partitions. The next maintenance, at the start of a consumer and every hour, must create the partitions and move the
/// rows, while records are stored.
pub(super) fn missed(
    deployment: &mut Deployment,
    outage: Duration,
    watch: &Watch<'_>,
) -> Result<Repair> {
    watch.print("the partitions of today and later are dropped: rows go to the default partitions");
    let postgres = &backend(deployment)?.servers.postgres;
    postgres.psql(NO_PARTITIONS)?;
    watch.pause(outage / 2)?;
    let had_effect = rows_of_today(deployment)?.is_some_and(|rows| rows > 0);
    watch.print("the consumer is killed; it runs maintenance at its next start");
    kill::roles(deployment, &[Role::Consumer], watch)?;
    let begun = Instant::now();
    let mut is_empty = false;
    while !is_empty && begun.elapsed() < MAINTENANCE_TIMEOUT {
        watch.pause(Duration::from_millis(200))?;
        is_empty = rows_of_today(deployment)? == Some(0);
    }
    watch.pause((outage / 2).saturating_sub(begun.elapsed()))?;
    Ok(Repair {
        broken_promises: Repair::broken(
            !is_empty,
            "rows of today are not in the partition of today",
        ),
        ..Repair::with_effect(had_effect)
    })
}

/// How many rows of today are not in the partition of today; none while the tables are locked.
fn rows_of_today(deployment: &mut Deployment) -> Result<Option<u64>> {
    let postgres = &backend(deployment)?.servers.postgres;
    let count = postgres.psql(ROWS_OF_TODAY);
    Ok(count.ok().and_then(|count| count.trim().parse().ok()))
}
