//! The retention: deletes what is older than its settings allow, beside a writer that must not wait.
//!
//! What is due is searched on a reading connection. It is deleted in slices, each a short transaction of its own; after
//! each slice the writer has several times as long for itself. A slice that takes long makes the following ones smaller.

use super::SqliteStore;
use super::numbers::{BLOCK_BITS, SEQ_MAX, message_no};
use crate::refusal::Refusal;
use crate::retention::Pace;
use central::ports::Unavailable;
use central::{Seq, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::{Duration, Instant};

const DAY_MILLIS: i64 = 86_400_000;
const SPAN_MILLIS: i64 = 300_000;
/// Values of later days have a wrong time: the day on which they were stored decides.
const FUTURE_DAYS: i64 = 8;
/// Rows of a slice at most.
const ROWS_MAX: usize = 2_000;
/// Rows of a slice where a row may have 10 MiB.
const PARTS_MAX: usize = 64;
/// Bytes of payloads in a slice, since each of their pages is freed. A larger one has a slice of its own.
const SLICE_BYTES_MAX: i64 = 1 << 20;
/// A slice that takes longer is followed by smaller ones.
const SLICE_TIME: Duration = Duration::from_millis(20);
/// The writer has this many times as long for itself as a slice has taken.
const PAUSE_FACTOR: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The name in `settings` of the time up to which the last round has applied the retention.
const CLOCK_NOTE: &str = "retention_clock";

/// Leaves the database to the writer, and adapts the size.
fn pause(pace: &mut Pace, took: Duration) {
    pace.took(took);
    std::thread::sleep((took * PAUSE_FACTOR).min(PAUSE_MAX));
}

/// Deletes with `delete` what `find` has found, until nothing is found. `find` gets the number of rows of a slice.
fn sliced<T>(
    store: &SqliteStore,
    mut find: impl FnMut(&Connection, usize) -> Result<Option<T>, Refusal>,
    mut delete: impl FnMut(&Connection, &T) -> Result<usize, Refusal>,
) -> Result<u64, Unavailable> {
    let mut pace = Pace::new(1..=ROWS_MAX, SLICE_TIME);
    let mut all = 0;
    loop {
        let found = store
            .readers
            .read(|connection| find(connection, pace.rows()))
            .map_err(Refusal::into_unavailable)?;
        let Some(found) = found else {
            return Ok(all);
        };
        let (took, done) = store.transact(|connection, _| {
            let began = Instant::now();
            let done = delete(connection, &found)?;
            Ok((began, done))
        })?;
        all += done as u64;
        pause(&mut pace, took.elapsed());
    }
}

impl SqliteStore {
    /// Applies the retention; returns how many rows were deleted. Slices that were done are kept when a later one fails.
    ///
    /// The time by which it goes is that of [`RoundClock`](crate::retention::RoundClock): a clock that is ahead by much does
    /// not delete everything before somebody can notice, also if the process is started again and again.
    ///
    /// # Errors
    /// Why the database cannot be used.
    pub(super) fn expire(&self, now: Timestamp) -> Result<u64, Unavailable> {
        if self.read_only {
            return Ok(0);
        }
        let now = self.believed(now)?;
        let unknown = self.expire_unknown(now)?;
        if self.retention.is_off() {
            return Ok(unknown);
        }
        let gone = unknown + self.expire_by(now)?;
        // Only now: a round that fails is tried again, and goes by the same time.
        self.note_round(now)?;
        self.round_clock.round_done();
        Ok(gone)
    }

    fn expire_by(&self, now: Timestamp) -> Result<u64, Unavailable> {
        let retention = self.retention;
        let horizon = |days: u32| (days > 0).then(|| now.0 - i64::from(days) * DAY_MILLIS);
        let mut gone = 0;
        if let Some(before) = horizon(retention.records_days) {
            gone += self.expire_messages(before)?;
            gone += self.expire_meter_values(now.0, before)?;
            gone += self.expire_events(before)?;
            for (table, time) in [
                ("dead_letters", "at"),
                ("set_aside", "at"),
                ("discarded_letters", "discarded_at"),
            ] {
                gone += self.expire_numbered(table, time, before)?;
            }
        }
        if let Some(before) = horizon(retention.commands_days) {
            gone += self.expire_commands(before)?;
        }
        if let Some(before) = horizon(retention.transactions_days) {
            gone += self.expire_transactions(before)?;
        }
        if let Some(before) = horizon(retention.audit_days) {
            gone += self.expire_audit(before)?;
        }
        Ok(gone)
    }

    /// The time that this round goes by.
    fn believed(&self, now: Timestamp) -> Result<Timestamp, Unavailable> {
        let last = self.readers.read(|connection| {
            let last: Option<i64> = connection
                .query_row(
                    "SELECT value FROM settings WHERE name = ?1",
                    [CLOCK_NOTE],
                    |row| row.get(0),
                )
                .optional()?;
            // Before the first round there is evidence in the messages only: when the newest block of them was begun. What is
            // stored now, by a clock that may be wrong, is in a block that was begun earlier, up to its end.
            match last {
                Some(last) => Ok(Some(last)),
                None => Ok(connection.query_row(
                    "SELECT max(first_at) FROM message_blocks",
                    [],
                    |row| row.get(0),
                )?),
            }
        });
        let last: Option<i64> = last.map_err(Refusal::into_unavailable)?;
        Ok(self.round_clock.believed(now, last.map(Timestamp)))
    }

    /// Keeps the time of a round that is done. A clock that was behind does not take it back: the retention would stand still
    /// for as many rounds as it was days behind.
    fn note_round(&self, believed: Timestamp) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection.execute(
                "INSERT INTO settings (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), excluded.value)",
                params![CLOCK_NOTE, believed.0],
            )?;
            Ok(())
        })
    }

    /// The newest message of each gateway is kept: by it a start recognises an old copy of the journal.
    fn expire_messages(&self, before: i64) -> Result<u64, Unavailable> {
        let (blocks, newest) = self
            .readers
            .read(|connection| {
                let blocks: Vec<i64> = connection
                    .prepare("SELECT block FROM message_blocks WHERE first_at < ?1 ORDER BY block")?
                    .query_map([before], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                Ok((blocks, newest_messages(connection)?))
            })
            .map_err(Refusal::into_unavailable)?;
        let mut gone = 0;
        for block in blocks {
            let (first, last) = (block << BLOCK_BITS, ((block + 1) << BLOCK_BITS) - 1);
            let kept = newest
                .iter()
                .copied()
                .find(|no| (first..=last).contains(no))
                .unwrap_or(-1);
            let of_block = sliced(
                self,
                |connection, rows| due_messages(connection, (first, last), before, kept, rows),
                |connection, (from, to)| {
                    let done = connection
                        .prepare_cached(
                            "DELETE FROM messages WHERE id BETWEEN ?1 AND ?2 AND received_at < ?3 AND id <> ?4",
                        )?
                        .execute(params![from, to, before, kept])?;
                    connection.execute(
                        "UPDATE message_blocks SET rows = rows - ?2 WHERE block = ?1",
                        params![block, done as i64],
                    )?;
                    Ok(done)
                },
            )?;
            // Also a block of which nothing was left to delete: a round may have ended before its summary was written.
            self.transact(|connection, _| summarize(connection, block, (first, last)))?;
            gone += of_block;
        }
        Ok(gone)
    }

    fn expire_meter_values(&self, now: i64, before: i64) -> Result<u64, Unavailable> {
        type Place = (i64, i64, i64, i64);
        let day = before.div_euclid(DAY_MILLIS);
        let future = (now + FUTURE_DAYS * DAY_MILLIS).div_euclid(SPAN_MILLIS);
        let mut gone = 0;
        // Of a value that a process of an earlier version has stored, the day is 0; only the time of the value tells its age.
        for (from, to, stored_min) in [
            (i64::MIN, before.div_euclid(SPAN_MILLIS) - 1, 0),
            (future + 1, i64::MAX, 1),
        ] {
            // Values that are kept for their day are not walked again by the search of the next slice.
            let mut after = (from, i64::MIN, i64::MIN, i64::MIN);
            gone += sliced(
                self,
                |connection, rows| {
                    let found: Vec<Place> = connection
                        .prepare_cached(
                            "SELECT span, charger_no, at, key_hash FROM meter_values
                             WHERE (span, charger_no, at, key_hash) > (?1, ?2, ?3, ?4) AND span <= ?5
                                 AND stored_on < ?6 AND stored_on >= ?7
                             ORDER BY span, charger_no, at, key_hash LIMIT ?8",
                        )?
                        .query_map(
                            params![
                                after.0, after.1, after.2, after.3, to, day, stored_min,
                                rows as i64
                            ],
                            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                        )?
                        .collect::<Result<_, _>>()?;
                    after = found.last().copied().unwrap_or(after);
                    Ok((!found.is_empty()).then_some(found))
                },
                // By their keys: between two of them may be any number of values that are kept.
                |connection, found| {
                    let mut delete = connection.prepare_cached(
                        "DELETE FROM meter_values
                         WHERE span = ?1 AND charger_no = ?2 AND at = ?3 AND key_hash = ?4 AND stored_on < ?5",
                    )?;
                    let mut done = 0;
                    for (span, charger, at, key) in found {
                        done += delete.execute(params![span, charger, at, key, day])?;
                    }
                    Ok(done)
                },
            )?;
        }
        Ok(gone)
    }

    fn expire_events(&self, before: i64) -> Result<u64, Unavailable> {
        type Place = (i64, i64, i64);
        let day = before.div_euclid(DAY_MILLIS);
        sliced(
            self,
            |connection, rows| {
                // A process of an earlier version, which may still run, does not write the day.
                let found: Vec<Place> = connection
                    .prepare_cached(
                        "SELECT charger_no, at, key_hash FROM events
                         WHERE stored_on < ?1 AND (stored_on > 0 OR at < ?2) ORDER BY stored_on LIMIT ?3",
                    )?
                    .query_map(params![day, before, rows as i64], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })?
                    .collect::<Result<_, _>>()?;
                Ok((!found.is_empty()).then_some(found))
            },
            |connection, found| {
                let mut delete = connection.prepare_cached(
                    "DELETE FROM events WHERE charger_no = ?1 AND at = ?2 AND key_hash = ?3",
                )?;
                let mut done = 0;
                for (charger, at, key) in found {
                    done += delete.execute(params![charger, at, key])?;
                }
                Ok(done)
            },
        )
    }

    /// For a table with few rows: its times have no index.
    fn expire_numbered(&self, table: &str, time: &str, before: i64) -> Result<u64, Unavailable> {
        let find = format!("SELECT no FROM {table} WHERE {time} < ?1 ORDER BY no LIMIT ?2");
        sliced(
            self,
            |connection, rows| {
                // A dead letter may have 10 MiB.
                let rows = rows.min(PARTS_MAX);
                let found: Vec<i64> = connection
                    .prepare_cached(&find)?
                    .query_map(params![before, rows as i64], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                Ok((!found.is_empty()).then_some(found))
            },
            |connection, numbers| {
                let mut delete =
                    connection.prepare_cached(&format!("DELETE FROM {table} WHERE no = ?1"))?;
                let mut done = 0;
                for no in numbers {
                    done += delete.execute([no])?;
                }
                Ok(done)
            },
        )
    }

    fn expire_commands(&self, before: i64) -> Result<u64, Unavailable> {
        let mut after = 0;
        sliced(
            self,
            |connection, rows| due_commands(connection, before, &mut after, rows),
            |connection, commands| {
                let mut delete = connection
                    .prepare_cached("DELETE FROM commands WHERE no = ?1 AND stage <> 0")?;
                let mut progress =
                    connection.prepare_cached("DELETE FROM command_progress WHERE id = ?1")?;
                let mut effects =
                    connection.prepare_cached("DELETE FROM command_effects WHERE id = ?1")?;
                let mut done = 0;
                for (no, id) in commands {
                    if delete.execute([no])? > 0 {
                        done += 1 + progress.execute([id])? + effects.execute([id])?;
                    }
                }
                Ok(done)
            },
        )
    }

    /// Deletes states of which all sessions, and those that they are paired with, have ended and were last heard of before
    /// `before`, with what belongs to them.
    fn expire_transactions(&self, before: i64) -> Result<u64, Unavailable> {
        let mut pace = Pace::new(1..=ROWS_MAX, SLICE_TIME);
        let mut after = (i64::MIN, Vec::new());
        let mut gone = 0;
        loop {
            let rows = pace.rows();
            let found: Vec<(i64, Vec<u8>, i64)> = self
                .readers
                .read(|connection| {
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT began_at, key, transaction_no FROM transaction_views t
                         WHERE (began_at, key) > (?2, ?3) AND began_at < ?1 AND NOT open
                             AND {} ORDER BY began_at, key LIMIT ?4",
                        is_past("t.transaction_no")
                    ))?;
                    let found = statement
                        .query_map(params![before, after.0, after.1, rows as i64], |row| {
                            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                        })?;
                    Ok(found.collect::<Result<_, _>>()?)
                })
                .map_err(Refusal::into_unavailable)?;
            let Some((began_at, key, _)) = found.last() else {
                return Ok(gone);
            };
            after = (*began_at, key.clone());
            let mut numbers: Vec<i64> = found.iter().map(|(.., no)| *no).collect();
            numbers.sort_unstable();
            numbers.dedup();
            let (began, done) = self.transact(|connection, cache| {
                let began = Instant::now();
                let done = delete_transactions(connection, &numbers, before)?;
                cache.clear();
                Ok((began, done))
            })?;
            gone += done as u64;
            pause(&mut pace, began.elapsed());
        }
    }

    fn expire_audit(&self, before: i64) -> Result<u64, Unavailable> {
        sliced(
            self,
            |connection, rows| {
                let first: Option<i64> = connection
                    .query_row("SELECT at FROM audit_log ORDER BY no LIMIT 1", [], |row| {
                        row.get(0)
                    })
                    .optional()?;
                Ok(first.filter(|at| *at < before).map(|_| rows))
            },
            |connection, rows| {
                Ok(connection
                    .prepare_cached(
                        "DELETE FROM audit_log WHERE at < ?1 AND no IN
                             (SELECT no FROM audit_log ORDER BY no LIMIT ?2)",
                    )?
                    .execute(params![before, *rows as i64])?)
            },
        )
    }

    /// When the oldest message that is kept was received.
    pub(super) fn oldest(&self) -> Result<Option<Timestamp>, Unavailable> {
        self.readers
            .read(|connection| {
                let first: Option<i64> = connection.query_row(
                    "SELECT min(first_at) FROM message_blocks",
                    [],
                    |row| row.get(0),
                )?;
                Ok(first.map(Timestamp))
            })
            .map_err(Refusal::into_unavailable)
    }

    /// Bytes of the database, and those of them that hold no rows and are used again before it grows.
    pub(super) fn sizes(&self) -> Result<(u64, u64), Unavailable> {
        self.readers
            .read(|connection| {
                let pages = |pragma| {
                    connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0))
                };
                let (all, free) = (pages("page_count")?, pages("freelist_count")?);
                let bytes: u32 =
                    connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
                Ok((
                    u64::from(all) * u64::from(bytes),
                    u64::from(free) * u64::from(bytes),
                ))
            })
            .map_err(Refusal::into_unavailable)
    }
}

/// The number of the newest message of each gateway.
fn newest_messages(connection: &Connection) -> Result<Vec<i64>, Refusal> {
    let gateways: Vec<i64> = connection
        .prepare("SELECT no FROM gateways")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut newest = Vec::new();
    for gateway in gateways {
        let found: Option<i64> = connection
            .prepare_cached(
                "SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1",
            )?
            .query_row(
                [message_no(gateway, Seq(0))?, message_no(gateway, SEQ_MAX)?],
                |row| row.get(0),
            )
            .optional()?;
        newest.extend(found);
    }
    Ok(newest)
}

/// The first and last number of the next slice of a block's messages.
fn due_messages(
    connection: &Connection,
    (first, last): (i64, i64),
    before: i64,
    kept: i64,
    rows: usize,
) -> Result<Option<(i64, i64)>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT id, octet_length(payload) + octet_length(answer) FROM messages
         WHERE id BETWEEN ?1 AND ?2 AND received_at < ?3 AND id <> ?4 ORDER BY id LIMIT ?5",
    )?;
    let mut found = statement.query(params![first, last, before, kept, rows as i64])?;
    let mut range = None;
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let (no, length): (i64, i64) = (row.get(0)?, row.get(1)?);
        bytes += length;
        if range.is_some() && bytes > SLICE_BYTES_MAX {
            break;
        }
        range = Some((range.map_or(no, |(first, _)| first), no));
    }
    Ok(range)
}

/// Writes the times of a block's summary again after rows were deleted, or deletes the summary of an empty block.
fn summarize(
    connection: &Connection,
    block: i64,
    (first, last): (i64, i64),
) -> Result<(), Refusal> {
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT min(received_at) FROM messages WHERE id BETWEEN ?1 AND ?2")?
        .query_row([first, last], |row| row.get(0))?;
    match oldest {
        Some(oldest) => connection.execute(
            "UPDATE message_blocks SET first_at = ?2 WHERE block = ?1",
            [block, oldest],
        )?,
        None => connection.execute("DELETE FROM message_blocks WHERE block = ?1", [block])?,
    };
    Ok(())
}

/// Commands that are read and kept before the search for due ones ends.
const KEPT_READ_MAX: usize = 1_000;

/// Number and id of a command.
type DueCommand = (i64, Vec<u8>);

/// The next commands to delete after `after`. They are numbered in the order of their requests, so the search ends
/// after some that are kept for their time.
fn due_commands(
    connection: &Connection,
    before: i64,
    after: &mut i64,
    rows: usize,
) -> Result<Option<Vec<DueCommand>>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT no, id, stage, created_at FROM commands WHERE no > ?1 ORDER BY no",
    )?;
    let mut found = statement.query([*after])?;
    let mut due = Vec::new();
    let mut kept = 0;
    while due.len() < rows
        && let Some(row) = found.next()?
    {
        let created_at: i64 = row.get(3)?;
        if created_at >= before {
            // One may have the time of a clock that was ahead, with older ones behind it.
            kept += 1;
            if kept > KEPT_READ_MAX {
                break;
            }
            continue;
        }
        *after = row.get(0)?;
        if row.get::<_, i64>(2)? != 0 {
            due.push((row.get(0)?, row.get(1)?));
        }
    }
    Ok((!due.is_empty()).then_some(due))
}

/// Whether the state `no` may be deleted: with the time before which it was last heard of as `?1`.
fn is_past(no: &str) -> String {
    let heard = |view: &str| {
        let times = [
            "began_at",
            "start_received_at",
            "heard_at",
            "stopped_at",
            "stop_received_at",
            "successor_at",
            "successor_received_at",
        ];
        let least = i64::MIN + 1;
        let times = times.map(|column| format!("ifnull({view}.{column}, {least})"));
        format!("max({}) >= ?1", times.join(", "))
    };
    format!(
        "NOT EXISTS (SELECT 1 FROM transaction_views v
             LEFT JOIN transaction_views p ON p.transaction_no = v.partner_no
             WHERE v.transaction_no = {no} AND (v.open OR ifnull(p.open, 0) OR {} OR {}))",
        heard("v"),
        heard("p")
    )
}

fn delete_transactions(
    connection: &Connection,
    numbers: &[i64],
    before: i64,
) -> Result<usize, Refusal> {
    // A message may have arrived since the search.
    let mut delete = connection.prepare_cached(&format!(
        "DELETE FROM transactions WHERE no = ?2 AND {}",
        is_past("?2")
    ))?;
    let dependent = [
        "DELETE FROM transaction_closings WHERE key IN (
             SELECT key FROM transaction_views WHERE transaction_no = ?1
             UNION ALL SELECT key FROM transaction_aliases WHERE transaction_no = ?1)",
        "DELETE FROM transaction_aliases WHERE transaction_no = ?1",
        "DELETE FROM transaction_views WHERE transaction_no = ?1",
    ];
    let mut done = 0;
    for no in numbers {
        if delete.execute(params![before, no])? == 0 {
            continue;
        }
        done += 1;
        for sql in dependent {
            done += connection.prepare_cached(sql)?.execute([no])?;
        }
    }
    Ok(done)
}
